"""An engine and a venue in another process: stopped at every write and every call, and every way a venue can fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxcarry.alerts import Alerts
from fxcarry.conventions import session_ends
from fxcarry.costs import Costs
from fxcarry.daemon import Daemon, take_over
from fxcarry.engine import Engine
from fxcarry.errors import BrokerUnavailable, ConfigError
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import JournalLock, SqliteJournal
from fxcarry.market import MarketHistory, RateSeries
from fxcarry.model import Order, Pair, TradingState
from fxcarry.reconcile import Reconciliation
from fxcarry.remote import Remote
from fxcarry.risk import DailyLoss, Drawdown, MaxPosition, OrderRate, StopLoss
from fxcarry.testing import FakeBroker, FakeVenue, serve

CURRENCIES = ("AUD", "JPY")
DECISION = datetime(2024, 1, 31, 22, tzinfo=UTC)  # 17:00 New York of a Wednesday, the month's last
LOOKS = (
    DECISION - timedelta(days=1),
    DECISION,
    DECISION + timedelta(seconds=20),
    DECISION + timedelta(seconds=90),
    DECISION + timedelta(seconds=150),
    DECISION + timedelta(days=1),
)


def market() -> MarketHistory:
    days = np.busday_offset("2024-01-02", np.arange(30), roll="forward")
    spot = np.column_stack([0.66 + 0.0001 * np.arange(30), 0.0068 + 0.000001 * np.arange(30)])
    known = np.array(["2020-01-01"], "datetime64[ns]")
    rates = {c: RateSeries(c, known, known, np.array([r])) for c, r in (("AUD", 0.04), ("JPY", 0.0), ("USD", 0.05))}
    times = session_ends(days) - np.timedelta64(1, "m")
    return MarketHistory(times.astype("datetime64[ns]"), CURRENCIES, spot, "USD", rates)


def engine_on(broker: FakeBroker, journal: SqliteJournal, strategy: Any = None) -> Engine:
    return Engine(
        feed=MemoryFeed(market()),
        broker=broker,
        strategy=strategy or (lambda view, account: {"AUD": 0.25, "JPY": -0.2}),
        rules=(MaxPosition(), StopLoss(0.05), DailyLoss(0.03), Drawdown(0.15)),
        universe=CURRENCIES,
        journal=journal,
        costs=Costs(),
        financing=BenchmarkFinancing(0.01),
    )


class Points:
    """Where a process is stopped: at its n-th write or call."""

    def __init__(self, last: int | None) -> None:
        self.last = last
        self.names: list[str] = []

    def reach(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


class CountingJournal(SqliteJournal):
    points: Points

    @contextmanager
    def atomic(self) -> Iterator[None]:
        is_outermost = not self._is_inside
        with super().atomic():
            yield
            if is_outermost:
                self.points.reach("written, not committed")
        if is_outermost:
            self.points.reach("committed")


class CountingBroker(FakeBroker):
    points: Points

    def _call(self, method: str, *arguments: Any) -> Any:
        self.points.reach(f"before {method}")
        answer = super()._call(method, *arguments)
        self.points.reach(f"after {method}")
        return answer


def live(address: Any, path: Path, is_unique: bool, points: Points) -> None:
    broker = CountingBroker(address, takes_an_id_once=is_unique)
    journal = CountingJournal(path, account_id="fake")
    broker.points = journal.points = points
    with journal:
        engine = engine_on(broker, journal)
        done = journal.last_beat()
        engine.recover(done)
        for at in LOOKS:
            if done is None or at > done:
                engine.step(at)


def in_a_process(work: Callable[[], None]) -> bool:
    """Run ``work`` in a child; whether it came to its end, False where it was killed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def points_of_a_run(folder: Path, is_unique: bool) -> list[str]:
    points = Points(None)
    with serve(FakeVenue(takes_an_id_once=is_unique)) as address:
        live(address, folder / "whole.sqlite", is_unique, points)
    return points.names


@pytest.mark.parametrize("is_unique", [True, False], ids=["an id once", "ids say nothing"])
def test_stopped_at_every_write_and_every_call_there_is_one_order_and_the_book_is_the_venues(
    is_unique: bool, tmp_path: Path
) -> None:
    names = points_of_a_run(tmp_path, is_unique)
    assert names.count("before place_market_order") == 2
    assert len(names) >= 60
    for last, name in enumerate(names, 1):
        path = tmp_path / f"{last}.sqlite"
        with serve(FakeVenue(takes_an_id_once=is_unique)) as address:
            assert not in_a_process(partial(live, address, path, is_unique, Points(last))), name
            assert in_a_process(partial(live, address, path, is_unique, Points(None))), name
            broker = FakeBroker(address, takes_an_id_once=is_unique)
            accepted, positions, booked = broker.accepted(), broker.get_positions(), broker.transactions(None)
            broker.close()
        where = f"killed at point {last}, {name}"
        assert set(accepted.values()) == {1}, where
        with SqliteJournal.existing(path) as journal:
            orders = {order.client_id: order for order in journal.orders}
            assert journal.unresolved() == [], where
            assert [t.id for t in journal.transactions()] == [t.id for t in booked], where
            state = journal.state()
            assert state is not None
            assert not state.locked, where
        filled = [orders[i] for i in accepted]
        assert sorted(o.instrument for o in filled) == ["AUDUSD", "USDJPY"], where
        assert {n: p.units for n, p in positions.items()} == {o.instrument: o.units for o in filled}, where
        assert len([t for t in booked if t.kind == "fill"]) == 2, where


# -- what a venue can do -----------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[FakeBroker, Engine, SqliteJournal]]:
    with (
        serve(FakeVenue(takes_an_id_once=False)) as address,
        SqliteJournal(tmp_path / "j", account_id="fake") as journal,
    ):
        broker = FakeBroker(address, takes_an_id_once=False)
        engine = engine_on(broker, journal)
        engine.recover()
        yield broker, engine, journal
        broker.close()


def units(broker: FakeBroker) -> dict[str, int]:
    return {name: int(p.units) for name, p in broker.get_positions().items()}


def alerts(journal: SqliteJournal, kind: str) -> list[str]:
    return [row["message"] for row in journal.table("alerts") if row["kind"] == kind]


def outcomes(journal: SqliteJournal) -> list[tuple[str, str]]:
    return [(r.instrument, r.status.value) for r in journal.results]


TARGET = {"AUDUSD": 377_700, "USDJPY": 200_000}  # a quarter of a million at 0.6619, a fifth in dollars
NEAR = 0.01


def is_target(held: dict[str, int]) -> bool:
    return held.keys() == TARGET.keys() and all(abs(held[n] / TARGET[n] - 1) < NEAR for n in held)


@pytest.mark.parametrize("fault", ["unanswered", "failed"])
def test_an_accepted_order_that_was_not_answered_is_unknown_blocks_its_pair_and_is_never_sent_again(
    fault: Any, desk: tuple[FakeBroker, Engine, SqliteJournal]
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    broker.fail("place_market_order", fault)
    engine.step(DECISION)
    assert outcomes(journal)[0] == ("AUDUSD", "unknown")
    assert any("nobody knows what became of an order in AUDUSD" in text for text in alerts(journal, "order-unknown"))
    for at in LOOKS[2:]:
        engine.step(at)
    assert is_target(units(broker))
    assert set(broker.accepted().values()) == {1}
    assert len(broker.accepted()) == 2
    assert journal.unresolved() == []
    assert alerts(journal, "order-unknown")[-1] == "the venue has answered about AUDUSD"


def test_an_order_lost_on_the_way_blocks_its_pair_for_a_minute_and_is_then_decided_anew(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    broker.fail("place_market_order", "lost")
    engine.step(DECISION)
    engine.step(DECISION + timedelta(seconds=20))
    assert units(broker).keys() == {"USDJPY"}
    assert len(journal.orders) == 2  # nothing was sent in the blocked pair
    assert journal.intention() is not None or engine._blocked == {"AUDUSD"}
    engine.step(DECISION + timedelta(seconds=90))
    assert ("AUDUSD", "cancelled") in outcomes(journal)  # it never reached the venue
    engine.step(DECISION + timedelta(seconds=150))
    assert is_target(units(broker))
    assert set(broker.accepted().values()) == {1}
    ids = [o.client_id for o in journal.orders if o.instrument == "AUDUSD"]
    assert len(ids) == len(set(ids)) == 2  # a true second attempt has another id


def test_a_venue_down_for_an_hour_is_told_loses_nothing_and_is_traded_again(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    daemon = Daemon(engine=engine, journal=journal, lock=JournalLock(journal.path))
    daemon.run([LOOKS[0], DECISION])
    held = units(broker)
    broker.fail("*", "unavailable", 60)
    assert daemon.run([DECISION + timedelta(minutes=minute) for minute in range(1, 61)]) == 0
    told = [(row["severity"], row["message"]) for row in journal.table("alerts") if row["kind"] == "broker-error"]
    assert [severity for severity, _ in told] == ["warning", "critical"]  # once, and once more after five minutes
    assert "503: the venue is down for maintenance; nothing is sent, stops at the venue stay" in told[0][1]
    assert daemon.run([DECISION + timedelta(minutes=61)]) == 1
    assert "looks succeed again, after 1:00:00 without" in alerts(journal, "broker-error")[-1]
    assert units(broker) == held
    assert is_target(held)
    assert engine.state.trading is TradingState.ACTIVE
    assert journal.last_beat() == DECISION + timedelta(minutes=61)


def test_a_venue_that_is_down_when_orders_are_sent_gets_them_at_the_next_look_under_new_ids(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    broker.fail("place_market_order", "unavailable")
    engine.step(DECISION)
    assert outcomes(journal) == [("AUDUSD", "cancelled"), ("USDJPY", "cancelled")]
    assert alerts(journal, "broker-error")
    assert units(broker) == {}
    engine.step(DECISION + timedelta(seconds=20))
    assert is_target(units(broker))
    assert len({o.client_id for o in journal.orders}) == 4


def test_refused_orders_are_tried_again_and_given_up_after_the_third_time_with_an_alert(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    broker.fail("place_market_order", "rejected", 99)
    for at in LOOKS[1:]:
        engine.step(at)
    assert engine.state.rejects == 3
    assert len(journal.orders) == 6  # two legs, three times
    assert units(broker) == {}
    assert journal.intention() is None
    assert journal.table("intentions")[-1]["why"] == "given up: refused 3 times"
    critical = [row for row in journal.table("alerts") if row["severity"] == "critical"]
    assert {row["kind"] for row in critical} == {"order-rejected"}


def test_an_answer_without_positions_locks_the_pairs_liquidates_nothing_and_heals(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    engine.step(DECISION)
    held, sent = units(broker), len(journal.orders)
    for fault in ("sync", "get_positions"):
        broker.fail(fault, "empty")
    engine.step(DECISION + timedelta(minutes=5))
    assert engine.state.locked == {"AUDUSD", "USDJPY"}
    found = alerts(journal, "reconciliation-break")
    assert len(found) == 2
    assert "AUDUSD: 377," in found[0]
    assert "0 at the venue; nothing opens in it until they agree" in found[0]
    state = journal.state()
    assert state is not None
    assert state.locked == {"AUDUSD", "USDJPY"}  # a restart keeps the locks
    engine.step(DECISION + timedelta(minutes=10))
    assert engine.state.locked == frozenset()
    assert (units(broker), len(journal.orders)) == (held, sent)
    assert alerts(journal, "reconciliation-break")[-1] == "USDJPY: journal and venue agree again"


def test_a_locked_pair_opens_nothing_and_gets_its_target_when_it_heals(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, _ = desk
    engine.step(LOOKS[0])
    stranger = market_order("by-hand", "AUDUSD", 1000)
    broker.place_market_order(stranger)  # it is in the venue's transactions, so this is no difference ...
    engine.step(DECISION - timedelta(hours=1))
    assert engine.state.locked == frozenset()
    for method in ("sync", "get_positions"):  # ... and this is one
        broker.fail(method, "empty")
    engine.step(DECISION)
    assert engine.state.locked == {"AUDUSD"}
    assert units(broker).keys() == {"AUDUSD", "USDJPY"}
    assert units(broker)["AUDUSD"] == 1000
    engine.step(DECISION + timedelta(minutes=5))
    assert is_target(units(broker))


def test_half_a_fill_and_then_silence_waits_and_is_replaced_at_the_next_decision(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    broker.fail("place_market_order", "partial")
    for at in LOOKS[1:]:
        engine.step(at)
    assert ("AUDUSD", "partial") in outcomes(journal)
    assert journal.unresolved() == [journal.orders[0].client_id]  # not forgotten
    assert len(journal.orders) == 2  # nor sent a second time
    assert units(broker)["AUDUSD"] == int(journal.orders[0].units) // 2
    [told] = alerts(journal, "order-waiting")
    assert "AUDUSD are not filled after 1 day" in told
    engine.command("flatten", LOOKS[-1])
    for minute in (1, 2, 3):
        engine.step(LOOKS[-1] + timedelta(minutes=minute))
    assert units(broker) == {}
    assert journal.unresolved() == []
    assert alerts(journal, "order-waiting")[-1] == "the order in AUDUSD waits no longer"


def test_a_fill_that_comes_after_the_cancel_is_seen_before_anything_is_sent(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    broker.fail("place_market_order", "rests")
    broker.fail("cancel_order", "fills-late")
    engine.step(DECISION)
    assert units(broker).keys() == {"USDJPY"}
    engine.command("pause", DECISION)  # what would open is cancelled
    for minute in (1, 2, 3):
        engine.step(DECISION + timedelta(minutes=minute))
    assert int(journal.orders[0].units) == units(broker)["AUDUSD"]  # filled all the same
    assert engine.state.locked == frozenset()  # and booked
    [told] = alerts(journal, "late-fill")
    assert told.endswith("AUDUSD were filled after the order was cancelled; they are in the book")
    engine.command("resume", DECISION)
    engine.step(DECISION + timedelta(minutes=4))
    assert is_target(units(broker))  # bought once


def test_a_position_without_its_stop_gets_it_back_and_somebody_is_told(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    engine.step(DECISION)
    stops = {r.instrument: r.price for r in broker.get_orders()}
    assert stops.keys() == TARGET.keys()
    broker.set_stop("AUDUSD", None)
    engine.step(DECISION + timedelta(minutes=1))
    again = {r.instrument: r.price for r in broker.get_orders()}
    assert float(again["AUDUSD"]) == pytest.approx(float(stops["AUDUSD"]), rel=1e-9)
    assert alerts(journal, "stop-missing") == [
        f"the position in AUDUSD had no stop within 5.0%; it is at {again['AUDUSD']:.6g} now"
    ]
    for name in ("AUDUSD", "USDJPY"):  # the first of them again, before it was seen to be kept
        broker.set_stop(name, None)
    broker.fail("set_stop", "unavailable", times=2)
    engine.step(DECISION + timedelta(minutes=2))
    critical = [a.message for a in journal.alerts_of("stop-missing") if a.severity == "critical"]
    assert len(critical) == 2
    for name, told in zip(("AUDUSD", "USDJPY"), sorted(critical)):
        assert name in told
        assert "gets none: 503" in told


def test_a_stop_that_the_venue_filled_blocks_the_pair_also_after_a_crash(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    engine.step(DECISION)
    price = journal.quotes()
    [aud] = [q for pair, q in price.items() if str(pair) == "AUDUSD"]
    broker.set_stop("AUDUSD", aud.bid * 2)  # hit at the next quote
    again = engine_on(broker, journal)  # a new process, which has seen nothing of it
    again.recover()
    again.step(DECISION + timedelta(days=1))
    assert units(broker).keys() == {"USDJPY"}
    assert again.state.stopped == {("AUDUSD", 1)}
    assert "the long position in AUDUSD was stopped out" in alerts(journal, "stop-loss")[0]


def test_an_account_in_another_currency_and_a_run_over_history_are_refused(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, _ = desk
    with pytest.raises(ConfigError, match="cannot be run over stored history"):
        engine.run()
    other = Remote(broker, account_currency="EUR")
    other.get_instruments([Pair("AUD", "USD")])
    with pytest.raises(ConfigError, match="is kept in USD, not in EUR"):
        other.sync(MemoryFeed(market()).snapshot(LOOKS[0]))


def market_order(client_id: str, instrument: str, amount: int) -> Order:
    return Order(client_id=client_id, instrument=instrument, units=Decimal(amount))


def test_with_the_order_rate_rule_refusals_halt_until_a_person_resumes(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, _, journal = desk
    engine = Engine(
        feed=MemoryFeed(market()),
        broker=broker,
        strategy=lambda view, account: {"AUD": 0.25},
        rules=(OrderRate(),),
        universe=CURRENCIES,
        journal=journal,
        rebalance="daily",
        costs=Costs(),
    )
    broker.fail("place_market_order", "rejected", 3)
    for minute in range(-5, 5):
        engine.step(DECISION - timedelta(days=1) + timedelta(minutes=minute))
    assert engine.state.rejects == 3
    engine.step(DECISION)  # the next decision
    assert (engine.state.trading, engine.state.latch) == (TradingState.REDUCING, "ORDERS_REFUSED")
    assert units(broker) == {}
    engine.step(DECISION + timedelta(hours=30))
    assert engine.state.trading is TradingState.REDUCING  # it does not lapse
    engine.command("resume", DECISION + timedelta(hours=30))
    engine.step(DECISION + timedelta(hours=31))
    assert units(broker).keys() == {"AUDUSD"}
    assert engine.state.rejects == 0


def test_flatten_from_another_process_asks_a_venue_that_is_down_again_and_closes_the_largest_first(
    desk: tuple[FakeBroker, Engine, SqliteJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    engine.step(DECISION)
    waits: list[float] = []
    monkeypatch.setattr("fxcarry.daemon.sleep", waits.append)
    broker.fail("close_all_positions", "unavailable", 2)
    lock, alerted = JournalLock(journal.path), Alerts(journal)
    done = take_over(journal, lock, broker, DECISION + timedelta(minutes=1), alerted, None)
    assert waits == [1, 2]
    assert done.open == {} == units(broker)
    assert [r.instrument for r in done.closing] == ["AUDUSD", "USDJPY"]  # 250,000 before 200,000
    state = journal.state()
    assert state is not None
    assert (state.trading, state.latch) == (TradingState.HALTED, "OPERATOR")
    told = alerts(journal, "liquidation")
    assert told[0].startswith("the account cannot be closed: 503")
    assert told[-1] == "the account is flat"
    broker.fail("close_all_positions", "unavailable", 99)
    with pytest.raises(BrokerUnavailable):
        take_over(journal, lock, broker, DECISION + timedelta(minutes=2), alerted, None)
    assert sum(waits[2:]) == 31
    again = engine_on(broker, journal)
    again.recover()
    again.step(DECISION + timedelta(minutes=3))
    assert units(broker) == {}  # halted stays halted


def test_a_halted_engine_closes_the_largest_margin_first(desk: tuple[FakeBroker, Engine, SqliteJournal]) -> None:
    broker, engine, journal = desk
    engine.strategy = lambda view, account: {"AUD": 0.1, "JPY": -0.2}
    engine.step(LOOKS[0])
    engine.step(DECISION)
    engine.command("flatten", DECISION)
    engine.step(DECISION + timedelta(minutes=1))
    assert units(broker) == {}
    assert [o.instrument for o in journal.orders] == ["AUDUSD", "USDJPY", "USDJPY", "AUDUSD"]


# -- what a venue tells ------------------------------------------------------------------------------------------------


def assert_books_agree(broker: FakeBroker, engine: Engine, journal: SqliteJournal) -> None:
    """Positions, cash and transactions, each entry once, are the venue's; nothing is locked, nothing unexplained."""
    booked = broker.transactions(None)
    assert [t.id for t in journal.transactions()] == [t.id for t in booked]
    held = {name: p.units for name, p in broker.get_positions().items()}
    assert {n: u for n, u in Reconciliation(journal.transactions()).units.items() if u} == held
    assert broker.get_account_balance() == 1_000_000 + sum(t.amount for t in journal.transactions())
    assert engine.state.locked == frozenset()
    assert alerts(journal, "reconciliation-break") == []


def test_transactions_that_come_twice_are_booked_once(desk: tuple[FakeBroker, Engine, SqliteJournal]) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    broker.fail("transactions", "twice", 99)
    for at in LOOKS[1:]:
        engine.step(at)
    assert is_target(units(broker))
    broker.restart()  # and says everything once again
    broker.close()
    assert_books_agree(broker, engine, journal)


def test_a_venue_that_repeats_what_it_told_long_ago_is_booked_once(
    desk: tuple[FakeBroker, Engine, SqliteJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, engine, journal = desk
    everything = FakeBroker.transactions
    monkeypatch.setattr(FakeBroker, "transactions", lambda self, since: everything(self, None))
    for at in LOOKS:
        engine.step(at)
    assert is_target(units(broker))
    assert_books_agree(broker, engine, journal)


def test_postings_of_the_venue_are_booked_and_explain_its_cash(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    for at in LOOKS[:3]:
        engine.step(at)
    broker.post("financing", Decimal("-3.07"), "AUDUSD", 1)
    broker.post("fee", Decimal("-20"))
    broker.fail("transactions", "twice")
    for at in LOOKS[3:]:
        engine.step(at)
    broker.post("financing", Decimal("1.11"), "USDJPY", 1)
    engine.step(LOOKS[-1] + timedelta(minutes=1))
    assert {t.id for t in journal.transactions()} >= {"posted-1", "posted-2", "posted-3"}
    assert_books_agree(broker, engine, journal)


def test_on_stale_quotes_nothing_fills_and_the_target_is_reached_when_they_move_again(
    desk: tuple[FakeBroker, Engine, SqliteJournal],
) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    broker.fail("sync", "stale")
    engine.step(DECISION)
    assert units(broker) == {}
    assert outcomes(journal) == [("AUDUSD", "cancelled"), ("USDJPY", "cancelled")]
    for at in LOOKS[2:]:
        engine.step(at)
    assert is_target(units(broker))
    assert set(broker.accepted().values()) == {1}
    assert_books_agree(broker, engine, journal)


def test_a_busy_venue_gets_the_orders_at_the_next_look(desk: tuple[FakeBroker, Engine, SqliteJournal]) -> None:
    broker, engine, journal = desk
    engine.step(LOOKS[0])
    broker.fail("place_market_order", "busy")
    for at in LOOKS[1:]:
        engine.step(at)
    assert is_target(units(broker))
    assert set(broker.accepted().values()) == {1}
    assert any("429" in text for text in alerts(journal, "broker-error"))
    assert_books_agree(broker, engine, journal)


@pytest.mark.parametrize("method", ["sync", "transactions", "get_positions", "place_market_order", "*"])
def test_connections_that_are_cut_after_an_answer_leave_one_order_and_the_venues_book(
    method: str, desk: tuple[FakeBroker, Engine, SqliteJournal]
) -> None:
    broker, engine, journal = desk
    daemon = Daemon(engine=engine, journal=journal, lock=JournalLock(journal.path))
    daemon.run([LOOKS[0]])
    broker.fail(method, "disconnects", 2)
    daemon.run([*LOOKS[1:], LOOKS[-1] + timedelta(minutes=1)])
    assert is_target(units(broker))
    assert set(broker.accepted().values()) == {1}
    assert_books_agree(broker, engine, journal)


def test_a_venue_that_starts_anew_is_traded_on(desk: tuple[FakeBroker, Engine, SqliteJournal]) -> None:
    broker, engine, journal = desk
    daemon = Daemon(engine=engine, journal=journal, lock=JournalLock(journal.path))
    daemon.run([LOOKS[0]])
    broker.restart()
    daemon.run(LOOKS[1:3])
    broker.restart()
    daemon.run([*LOOKS[3:], LOOKS[-1] + timedelta(minutes=1)])
    assert is_target(units(broker))
    assert set(broker.accepted().values()) == {1}
    assert_books_agree(broker, engine, journal)
