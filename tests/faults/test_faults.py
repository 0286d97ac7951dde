"""What the disk, the clock and the feed can do to a running engine: it ends in a stated state, with an alert."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from channel import Channel

import fxcarry.daemon
from fxcarry.alerts import words
from fxcarry.costs import Costs
from fxcarry.daemon import Daemon, wall_instants
from fxcarry.engine import Engine
from fxcarry.errors import BadQuoteError, JournalError, JournalLocked, MissingDataError, StaleDataError
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import JournalLock, SqliteJournal
from fxcarry.live import _fall as fall
from fxcarry.market import MarketHistory, RateSeries
from fxcarry.model import Action, Alert, Quote, Snapshot, TradingState, Verdict
from fxcarry.protocols import Notifier
from fxcarry.risk import DailyLoss, Drawdown, PriceSanity, Staleness, StopLoss
from fxcarry.simulation import SimBroker

pytest.importorskip("fxcarry_paper", reason="the paper account is a plugin")

from fxcarry_paper import PaperBroker

DECISION = datetime(2024, 1, 31, 22, tzinfo=UTC)  # 17:00 New York of a Wednesday, the month's last
FIRST = DECISION - timedelta(hours=5)
CURRENCIES = ("AUD", "JPY")


def minutes(until: timedelta = timedelta(hours=8)) -> MarketHistory:
    """A row a minute that always moves a little."""
    count = int((DECISION - FIRST + until) / timedelta(minutes=1)) + 1
    times = np.datetime64(FIRST.replace(tzinfo=None), "ns") + np.arange(count) * np.timedelta64(60, "s")
    wave = 1 + 1e-5 * np.sin(np.arange(count))
    known = np.array(["2020-01-01"], "datetime64[ns]")
    rates = {c: RateSeries(c, known, known, np.array([r])) for c, r in (("AUD", 0.04), ("JPY", 0.0), ("USD", 0.05))}
    spot = np.column_stack([0.66 * wave, 0.0068 * wave])
    return MarketHistory(times, CURRENCIES, spot, "USD", rates, interval=timedelta(minutes=1))


class Feed(MemoryFeed):
    """Minutes of a market; ``change`` is done to each snapshot."""

    def __init__(self, history: MarketHistory | None = None) -> None:
        super().__init__(history or minutes())
        self.change: Callable[[Snapshot], Snapshot] = lambda snapshot: snapshot

    def snapshot(self, at: datetime) -> Snapshot:
        return self.change(super().snapshot(at))


class Desk:
    """A daemon on a paper account, made anew by each :meth:`start`, as a process is."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "journal.sqlite"
        self.feed, self.channel = Feed(), Channel()
        self.others: list[Notifier] = []
        self.rules: tuple[Any, ...] = (Staleness(), DailyLoss(), Drawdown())

    def start(self) -> Daemon:
        self.journal = SqliteJournal(self.path, account_id="paper")
        self.broker = PaperBroker(
            self.folder / "paper.sqlite", costs=Costs(), financing=BenchmarkFinancing(0.01), account_id="paper"
        )
        self.engine = Engine(
            feed=self.feed,
            broker=self.broker,
            strategy=lambda view, account: {"AUD": 0.25, "JPY": -0.2},
            rules=self.rules,
            universe=CURRENCIES,
            journal=self.journal,
            costs=Costs(),
            notifiers=[*self.others, self.channel],
        )
        return Daemon(engine=self.engine, journal=self.journal, lock=JournalLock(self.path))

    def stop(self) -> None:
        self.journal.close()
        self.broker.close()

    def held(self) -> dict[str, float]:
        return {n: round(float(p.units)) for n, p in self.broker.get_positions().items()}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.start()
    yield made
    made.stop()


def looks(first: int, last: int) -> list[datetime]:
    """Looks at these minutes around the decision."""
    return [DECISION + timedelta(minutes=m) for m in range(first, last + 1)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, float], float]:
    """Ten minutes in which nothing goes wrong."""
    made = Desk(tmp_path_factory.mktemp("whole"))
    made.start().run(looks(-3, 6))
    held, nav = made.held(), made.broker.nav
    made.stop()
    assert held.keys() == {"AUDUSD", "USDJPY"}
    return held, nav


# -- the disk ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_ends_the_engine_with_nothing_sent_and_it_goes_on_when_there_is_room(
    desk: Desk, whole: Any
) -> None:
    daemon = desk.start()
    daemon.run(looks(-90, -90))
    assert desk.journal._db is not None
    [(pages,)] = desk.journal._db.execute("PRAGMA page_count")
    desk.journal._db.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite is told of the room on a disk
    with pytest.raises(JournalError, match="full"):
        daemon.run(looks(-89, 6))
    [told] = desk.channel.said("engine-crash", "critical")
    assert "the disk is full; nothing was written" in told
    assert desk.broker.get_orders() == []
    assert desk.held() == {}
    desk.stop()
    assert 0 < desk.start().run(looks(-89, 6)) < 96  # there is room again; what was done is not done twice
    assert (desk.held(), desk.broker.nav) == whole


def test_a_read_only_disk_ends_the_engine_with_nothing_sent(desk: Desk, whole: Any) -> None:
    daemon = desk.start()
    daemon.run(looks(-3, -1))
    assert desk.journal._db is not None
    desk.journal._db.execute("PRAGMA query_only = 1")
    with pytest.raises(JournalError, match="readonly"):
        daemon.run(looks(0, 6))
    assert desk.channel.said("engine-crash", "critical")
    assert desk.held() == {}
    desk.stop()
    desk.start().run(looks(0, 6))
    assert (desk.held(), desk.broker.nav) == whole


def test_a_journal_that_another_program_holds_ends_the_engine_with_nothing_sent(desk: Desk, whole: Any) -> None:
    daemon = desk.start()
    daemon.run(looks(-3, -1))
    other = sqlite3.connect(desk.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalLocked, match="locked by another process"):
        daemon.run(looks(0, 6))
    other.execute("ROLLBACK")
    other.close()
    assert "locked by another process" in desk.channel.said("engine-crash", "critical")[0]
    assert desk.held() == {}
    desk.stop()
    desk.start().run(looks(0, 6))
    assert (desk.held(), desk.broker.nav) == whole


def test_a_damaged_journal_is_not_traded_on(desk: Desk) -> None:
    desk.start().run(looks(-3, 3))
    held = desk.held()
    desk.stop()
    data = bytearray(desk.path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 2000] = b"\xff" * 2000
    desk.path.write_bytes(bytes(data))
    with pytest.raises(JournalError, match="damaged"):
        desk.start().run(looks(4, 6))
    assert desk.channel.said("engine-crash", "critical")
    assert desk.held() == held
    assert "put it aside and restore a copy" in desk.channel.said("engine-crash", "critical")[0]


def test_a_paper_account_that_cannot_be_written_loses_no_target(desk: Desk, whole: Any) -> None:
    """The venue is out of reach while the orders are sent, and while it is looked at."""
    daemon = desk.start()
    daemon.run(looks(-3, -1))
    is_down = True
    send, sync = desk.broker.place_plan, desk.broker.sync

    def refuse(plan: Any) -> Any:
        if is_down:
            raise desk.broker._unavailable(sqlite3.OperationalError("disk I/O error"))
        return send(plan)

    desk.broker.place_plan = refuse  # type: ignore[method-assign]
    daemon.run(looks(0, 0))
    assert desk.channel.said("broker-error", "critical")
    assert desk.journal.intention() is not None  # the target stands, also over a restart

    def away(snapshot: Snapshot) -> Any:
        raise desk.broker._unavailable(sqlite3.OperationalError("disk I/O error"))

    desk.broker.sync = away  # type: ignore[method-assign]
    assert daemon.run(looks(1, 2)) == 0
    assert "cannot be used now" in desk.channel.said("broker-error", "warning")[0]
    is_down = False
    desk.broker.sync = sync  # type: ignore[method-assign]
    daemon.run(looks(3, 6))
    assert desk.held().keys() == whole[0].keys()
    ids = [order.client_id for order in desk.journal.orders]
    assert len(ids) == len(set(ids)) == 4


# -- the clock ---------------------------------------------------------------------------------------------------------


def test_a_clock_that_went_back_waits_for_its_last_look_and_says_so(desk: Desk) -> None:
    daemon = desk.start()
    ahead = datetime.now(UTC) + timedelta(hours=1)
    desk.journal.beat(ahead)
    soon = datetime.now(UTC)
    assert daemon.run([soon, soon + timedelta(seconds=0.1)], is_live=True) == 0
    [told] = desk.channel.said("clock-jump", "critical")
    assert told.startswith("the clock went back by 1:00:00")
    assert "nothing is done until it has passed the last look" in told
    assert desk.journal.last_beat() == ahead


@pytest.mark.parametrize(("jump", "severity"), [(3600.0, "warning"), (-3600.0, "critical")])
def test_a_jump_of_the_clock_while_waiting_is_told(
    jump: float, severity: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = desk.start()
    calls: list[float] = []

    def wall() -> float:
        calls.append(0.0)
        return 1e9 + (jump if len(calls) > 1 else 0.0)

    monkeypatch.setattr(fxcarry.daemon, "time", wall)
    timer = threading.Timer(0.3, daemon.stop)
    timer.start()
    assert daemon._wait(0.2) is (jump < 0)  # forward: the look is due; back: it is an hour off
    timer.join()
    [told] = desk.channel.said("clock-jump", severity)
    assert "1:00:00" in told


def test_an_instant_that_is_over_when_the_wait_ends_is_not_looked_at(desk: Desk) -> None:
    daemon = desk.start()
    assert daemon.run([datetime.now(UTC) - timedelta(hours=1)], is_live=True) == 0
    assert desk.journal.last_beat() is None


def test_looks_that_lie_in_the_past_after_a_sleep_are_left_out() -> None:
    now = [datetime(2025, 1, 8, 12, 0, 30, tzinfo=UTC)]
    instants = wall_instants(timedelta(minutes=1), lambda: now[0])
    assert next(instants) == datetime(2025, 1, 8, 12, 1, tzinfo=UTC)
    now[0] = datetime(2025, 1, 8, 15, 30, 10, tzinfo=UTC)
    assert next(instants) == datetime(2025, 1, 8, 15, 31, tzinfo=UTC)
    now[0] = datetime(2025, 1, 8, 14, 0, tzinfo=UTC)  # back
    assert next(instants) == datetime(2025, 1, 8, 15, 32, tzinfo=UTC)


def test_a_decision_that_fell_due_while_nobody_looked_is_made_at_the_next_look(desk: Desk) -> None:
    desk.start().run(looks(-3, -2))
    desk.stop()
    desk.start().run(looks(5, 7))  # down over 17:00 of the month's last day
    assert desk.held().keys() == {"AUDUSD", "USDJPY"}
    state = desk.journal.state()
    assert state is not None
    assert state.day_start == pytest.approx(1_000_000)


# -- the feed ----------------------------------------------------------------------------------------------------------


def silent(snapshot: Snapshot) -> Snapshot:
    raise StaleDataError("no quote for 7 minutes")


def crossed(snapshot: Snapshot) -> Snapshot:
    [quote, *_] = snapshot.quotes.values()
    Quote(quote.ask * 2, quote.bid, snapshot.at)
    raise AssertionError("a crossed quote was made")


def negative(snapshot: Snapshot) -> Snapshot:
    [quote, *_] = snapshot.quotes.values()
    Quote(-quote.bid, quote.ask, snapshot.at)
    raise AssertionError("a negative quote was made")


@pytest.mark.parametrize(
    ("change", "error"), [(silent, StaleDataError), (crossed, BadQuoteError), (negative, BadQuoteError)]
)
def test_a_feed_that_is_silent_or_talks_nonsense_is_told_once_and_loses_no_decision(
    change: Any, error: type[Exception], desk: Desk, whole: Any
) -> None:
    daemon = desk.start()
    daemon.run(looks(-3, -1))
    with pytest.raises(error):
        change(desk.feed.snapshot(DECISION))
    desk.feed.change = change
    assert daemon.run(looks(0, 6)) == 0
    assert desk.held() == {}
    assert desk.engine.state.trading is TradingState.ACTIVE
    assert len(desk.channel.said("feed-error", "warning")) == 1
    assert "nothing is sent, stops at the venue stay" in desk.channel.said("feed-error", "warning")[0]
    assert len(desk.channel.said("feed-error", "critical")) == 1  # after five minutes of it
    desk.feed.change = lambda snapshot: snapshot
    assert daemon.run(looks(7, 10)) == 4
    assert "looks succeed again, after 0:07:00 without" in desk.channel.said("feed-error", "info")[0]
    assert desk.held().keys() == whole[0].keys()  # the decision of 17:00 was made late, not lost


def test_a_feed_frozen_on_one_price_counts_as_stale_although_it_says_it_is_fresh(desk: Desk) -> None:
    flat = minutes()
    rows = np.full_like(flat.spot, 1.0) * flat.spot[0]
    desk.feed = Feed(MarketHistory(flat.times, flat.currencies, rows, "USD", flat.rates, interval=timedelta(minutes=1)))
    daemon = desk.start()
    daemon.run(looks(-61, 2))  # the market is open: an hour of one price
    assert desk.held() == {}
    assert len(desk.channel.said("feed-error", "critical")) == 1
    assert "no price of memory has moved since" in desk.channel.said("feed-error", "critical")[0]
    assert desk.channel.said("risk-limit") == ["staleness: QUOTE_STALE"]
    assert desk.journal.intention() is not None  # tried again when the prices move
    desk.feed = desk.engine.feed = Feed()  # type: ignore[assignment]
    daemon.run(looks(3, 6))
    assert desk.held().keys() == {"AUDUSD", "USDJPY"}
    assert desk.channel.said("feed-error", "info") == ["the prices of memory move again"]


def test_a_spike_opens_nothing_until_further_quotes_confirm_it(desk: Desk) -> None:
    desk.rules = (PriceSanity(), Staleness(), DailyLoss(), Drawdown())
    calm = minutes()
    at = int((DECISION - FIRST) / timedelta(minutes=1))
    spiked = calm.spot.copy()
    spiked[at, 0] *= 1.05  # one quote, at the very minute of the decision
    desk.feed = Feed(MarketHistory(calm.times, CURRENCIES, spiked, "USD", calm.rates, interval=timedelta(minutes=1)))
    daemon = desk.start()
    daemon.run(looks(-3, 1))
    assert "AUDUSD" not in desk.held()
    assert "price-sanity: PRICE_NOT_CONFIRMED" in desk.channel.said("risk-limit")
    assert desk.journal.intention() is not None
    daemon.run(looks(2, 8))
    assert desk.held()["AUDUSD"] == pytest.approx(0.25e6 / 0.66, rel=0.001)  # at the price that is true


def test_a_feed_that_has_nothing_yet_is_an_error_that_passes(desk: Desk) -> None:
    early = FIRST - timedelta(minutes=5)
    with pytest.raises(MissingDataError):
        desk.feed.snapshot(early)
    daemon = desk.start()
    assert daemon.run([early, *looks(-3, 3)]) == 7
    assert desk.channel.said("feed-error", "warning")
    assert desk.held().keys() == {"AUDUSD", "USDJPY"}


def test_a_stop_at_a_look_that_fails_is_not_forgotten(desk: Desk) -> None:
    """The strategy lacks a rate at the very look at which the venue has stopped a position out."""
    calm = minutes()
    fallen = calm.spot.copy()
    fallen[int((DECISION - FIRST) / timedelta(minutes=1)) + 3 :, 0] *= 0.9
    desk.feed = Feed(MarketHistory(calm.times, CURRENCIES, fallen, "USD", calm.rates, interval=timedelta(minutes=1)))
    desk.rules = (StopLoss(0.05),)
    daemon = desk.start()
    daemon.run(looks(-3, 2))
    assert desk.held().keys() == {"AUDUSD", "USDJPY"}
    decide = desk.engine.decide

    def lacking(*_: Any, **__: Any) -> Any:
        raise MissingDataError("no rate for AUD")

    desk.engine.decide = lacking  # type: ignore[method-assign]
    assert daemon.run(looks(3, 3)) == 0
    assert desk.held().keys() == {"USDJPY"}
    desk.engine.decide = decide  # type: ignore[method-assign]
    daemon.run(looks(4, 6))
    assert desk.engine.state.stopped == {("AUDUSD", 1)}
    state = desk.journal.state()
    assert state is not None
    assert state.stopped == {("AUDUSD", 1)}
    assert desk.held().keys() == {"USDJPY"}


def test_a_bug_in_a_strategy_ends_the_engine_with_an_alert(desk: Desk) -> None:
    daemon = desk.start()

    def wrong(view: Any, account: Any) -> Any:
        return {"AUD": 1 / 0}

    desk.engine.strategy = wrong
    with pytest.raises(ZeroDivisionError):
        daemon.run(looks(-3, 3))
    [told] = desk.channel.said("engine-crash", "critical")
    assert "ZeroDivisionError" in told
    assert daemon.lock.holder() is None


def test_a_channel_that_fails_is_a_record_and_stops_nothing(desk: Desk, whole: Any) -> None:
    class Dead:
        name = "dead"

        def notify(self, alert: Alert) -> None:
            raise ConnectionError("no route to host")

    desk.others = [Dead()]
    daemon = desk.start()
    daemon.run(looks(-3, 6))
    assert (desk.held(), desk.broker.nav) == whole
    rows = desk.journal.table("deliveries")
    assert {(r["channel"], r["state"], r["error"]) for r in rows} == {
        ("dead", "sending", ""),
        ("dead", "unknown", "ConnectionError: no route to host"),
        ("dead", "waiting", ""),
        ("pager", "sending", ""),
        ("pager", "delivered", ""),
    }
    assert isinstance(desk.broker, SimBroker)


# -- the week ----------------------------------------------------------------------------------------------------------


def friday(prices: dict[int, float]) -> MarketHistory:
    """A row every 10 minutes from Thursday 29 February 2024, 20:00 UTC, to Monday; ``prices`` of AUD from such rows on.

    17:00 New York is 22:00 UTC. There is no row from Friday 22:00 to Sunday 22:00.
    """
    start = np.datetime64("2024-02-29T20:00", "ns")
    times = start + np.arange(6 * 24 * 4 + 12) * np.timedelta64(10, "m")
    closed = (times > np.datetime64("2024-03-01T22:00")) & (times < np.datetime64("2024-03-03T22:00"))
    spot = np.full(len(times), 0.66)
    for row, price in prices.items():
        spot[row:] = price
    spot *= 1 + 1e-6 * np.sin(np.arange(len(times)))
    known = np.array(["2020-01-01"], "datetime64[ns]")
    rates = {c: RateSeries(c, known, known, np.array([r])) for c, r in (("AUD", 0.04), ("USD", 0.05))}
    kept = ~closed
    return MarketHistory(times[kept], ("AUD",), spot[kept, None], "USD", rates, interval=timedelta(minutes=10))


def at_row(row: int) -> datetime:
    return datetime(2024, 2, 29, 20, tzinfo=UTC) + timedelta(minutes=10 * row)


class Week(Desk):
    """Long one NAV of AUD, decided on Thursday at 17:00 New York."""

    def start(self) -> Daemon:
        super().start()
        self.engine = Engine(
            feed=self.feed,
            broker=self.broker,
            strategy=lambda view, account: {"AUD": 1.0},
            rules=self.rules,
            universe=("AUD",),
            journal=self.journal,
            costs=Costs.none(),
            notifiers=[self.channel],
        )
        return Daemon(engine=self.engine, journal=self.journal, lock=JournalLock(self.path))

    def looks_through(self, first: int, last: int) -> list[datetime]:
        return [at for at in map(at_row, range(first, last + 1)) if not FRIDAY_CLOSE < at <= SUNDAY_OPEN]


FRIDAY_CLOSE, SUNDAY_OPEN = datetime(2024, 3, 1, 22, tzinfo=UTC), datetime(2024, 3, 3, 22, tzinfo=UTC)
FALL = 80  # Friday 09:20 UTC


@pytest.fixture
def week(tmp_path: Path) -> Iterator[Week]:
    made = Week(tmp_path)
    yield made
    made.stop()


def test_a_daily_loss_of_friday_halts_survives_a_restart_and_lapses_at_friday_17_new_york(week: Week) -> None:
    week.feed = Feed(friday({FALL: 0.66 * 0.9699}))
    week.rules = (Staleness(), DailyLoss(0.03))
    week.start().run(week.looks_through(10, FALL - 1))
    assert week.engine.state.trading is TradingState.ACTIVE
    assert week.held().keys() == {"AUDUSD"}
    week.stop()
    week.start().run(week.looks_through(FALL, FALL + 5))
    assert week.engine.state.trading is TradingState.REDUCING
    assert week.engine.state.halt_until == FRIDAY_CLOSE
    week.stop()
    week.start().run(week.looks_through(FALL + 6, FALL + 10))  # a new process
    assert (week.engine.state.trading, week.engine.state.halt_until) == (TradingState.REDUCING, FRIDAY_CLOSE)
    week.start().run([at for at in week.looks_through(FALL + 11, 200) if at < FRIDAY_CLOSE])
    assert week.engine.state.trading is TradingState.REDUCING
    week.stop()
    week.start().run([FRIDAY_CLOSE])
    assert week.engine.state.trading is TradingState.ACTIVE
    assert week.engine.state.day_start == pytest.approx(week.broker.nav)
    reducing, active = [a for a in week.channel.alerts if a.kind == "trading-state"]
    first, second = reducing.message.splitlines()
    assert first == "trading is reducing until 2024-03-01 22:00 UTC: DAILY_LOSS"
    nav, start = (reducing.fields[name] for name in ("nav", "day_start"))
    assert 0.03 <= 1 - nav / start < 0.032
    assert second == (
        f"NAV {nav:,.2f} USD is {100 * (1 - nav / start):.2f} % below where the day began, {start:,.2f} USD;"
        " the limit is 3 %"
    )
    assert "day start: " + f"{start:,.2f} USD" in words(reducing).text()
    assert active.message == "trading is active"


def test_a_drawdown_halt_of_friday_holds_on_monday_after_a_restart(week: Week) -> None:
    week.feed = Feed(friday({FALL: 0.66 * 0.84, FALL + 90: 0.66 * 1.2}))  # and the price comes back at once
    week.rules = (Staleness(), Drawdown(0.15))
    week.start().run(week.looks_through(10, FALL + 12))
    assert (week.engine.state.trading, week.engine.state.latch) == (TradingState.HALTED, "DRAWDOWN")
    assert week.held() == {}
    week.stop()
    monday = [at for at in week.looks_through(FALL + 13, 6 * 24 * 4) if at > SUNDAY_OPEN]
    week.start().run(monday)
    assert (week.engine.state.trading, week.engine.state.latch) == (TradingState.HALTED, "DRAWDOWN")
    assert week.held() == {}
    assert week.engine.state.high_water == pytest.approx(1_000_000, rel=1e-3)
    [told] = week.channel.said("trading-state", "critical")
    assert re.fullmatch(
        r"trading is halted \(DRAWDOWN\)\nNAV 8[0-4]\d,\d{3}\.\d\d USD is 1[5-9]\.\d\d % below its high of "
        r"1,000,\d{3}\.\d\d USD; the limit is 15 %",
        told,
    )


def test_facts_of_somebody_elses_rule_are_no_reason_to_fail() -> None:
    """The alert that everything is closed is the last one that may end in an error."""
    others: list[dict[str, object]] = [
        {"high_water": 1.0},
        {"day_start": "x", "nav": 1.0, "limit": 0.1},
        {"high_water": 0.0, "nav": 9.0, "limit": 0.1},
    ]
    said = [Verdict("own", Action.FLATTEN_HALT, "X", facts=facts) for facts in others]
    assert fall(said, "USD") == ("", {})
    said.append(Verdict("drawdown", Action.FLATTEN_HALT, "X", facts={"high_water": 100.0, "nav": 90.0, "limit": 0.05}))
    line = "NAV 90 JPY is 10.00 % below its high of 100 JPY; the limit is 5 %"
    assert fall(said, "JPY") == (f"\n{line}", {"high_water": 100.0})


def test_a_margin_close_out_through_the_engine_at_the_price_of_the_worked_example(tmp_path: Path) -> None:
    """V13: 200,000 EURUSD at 1.1000 on 10,000 and a margin of 1/30 are closed at 1.067796610, not above it."""
    times = np.datetime64("2025-01-31T22:00", "ns") + np.arange(6) * np.timedelta64(10, "m")  # Friday 17:00 decides
    times[1:] += np.timedelta64(2, "D")
    for last, is_open in ((1.067797, True), (1.0677966, False)):
        prices = np.array([1.1, 1.1, 1.1, 1.1, last, last])
        known = np.array(["2020-01-01"], "datetime64[ns]")
        rates = {c: RateSeries(c, known, known, np.array([0.0])) for c in ("EUR", "USD")}
        broker = PaperBroker(tmp_path / f"{is_open}.sqlite", cash=10_000, account_id="paper")
        engine = Engine(
            feed=Feed(MarketHistory(times, ("EUR",), prices[:, None], "USD", rates, interval=timedelta(minutes=10))),
            broker=broker,
            strategy=lambda view, account: {"EUR": 22.0},
            rules=(),
            universe=("EUR",),
            journal=SqliteJournal(tmp_path / f"{is_open}.journal", account_id="paper"),
        )
        for at in times:
            engine.step(at.astype("datetime64[us]").item().replace(tzinfo=UTC))
        assert bool(broker.get_positions()) is is_open
        if not is_open:
            assert (engine.state.trading, engine.state.latch) == (TradingState.HALTED, "MARGIN_CLOSEOUT")
            assert broker.nav == pytest.approx(3559.322, abs=0.1)
        broker.close()
        engine.journal.close()  # type: ignore[attr-defined]
