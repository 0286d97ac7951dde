"""The paper account: the simulated venue in a file, whatever happens to the process."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.clock import SteppedClock
from fxcarry.costs import Costs
from fxcarry.errors import BrokerUnavailable, ConfigError, MissingDataError, OrderOutcomeUnknown, OrderRejected
from fxcarry.financing import BenchmarkFinancing
from fxcarry.frictions import Frictions
from fxcarry.market import MarketHistory, to_ns
from fxcarry.model import Account, Order, OrderStatus, Pair, Quote, Rate, Snapshot, Transaction
from fxcarry.orders import Plan
from fxcarry.simulation import SimBroker
from fxcarry_paper import PaperBroker

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the child only writes the file

PAIRS = [Pair.parse(p) for p in ("EURUSD", "USDJPY", "AUDJPY")]
LEVEL = {"EURUSD": 1.1, "USDJPY": 150.0, "AUDUSD": 0.65}
ABOUT: dict[str, Any] = {"cash": 100_000, "costs": Costs(commission_bps=0.2), "financing": BenchmarkFinancing(0.01)}
BEGIN = datetime(2025, 3, 10, 11, tzinfo=UTC)  # a Monday; 17:00 New York is 21:00
ROUGH = Frictions(latency=timedelta(hours=6), largest_fill=9_000, reject_rate=0.2, seed=3, conversion_fee=0.005)
TERMS: list[dict[str, Any]] = [
    {},
    {"frictions": ROUGH},
    {"lots": "fifo", "margin_rates": {"EURUSD": 0.2, "USD/JPY": 0.1}},
]


def market(count: int) -> list[Snapshot]:
    """Random quotes every five hours, three rolls a day's worth apart, with rates."""
    draw = random.Random(7)
    price, found = dict(LEVEL), []
    for n in range(count):
        at = BEGIN + n * timedelta(hours=5)
        price = {p: v * (1 + draw.gauss(0, 0.01)) for p, v in price.items()}
        quotes = {Pair.parse(p): Quote(Decimal(f"{v:.6f}"), Decimal(f"{v * 1.0002:.6f}"), at) for p, v in price.items()}
        rates = {c: Rate(value=r, as_of=BEGIN, available_at=BEGIN) for c, r in
                 {"EUR": 0.02, "USD": 0.05, "JPY": 0.001, "AUD": 0.04}.items()}  # fmt: skip
        found.append(Snapshot(at, quotes, rates))
    return found


def orders(n: int) -> list[Order]:
    """What is ordered after snapshot ``n``, the same whenever it is asked."""
    draw = random.Random(n + 1)
    return [
        Order(
            client_id=f"{n}-{pair}",
            instrument=str(pair),
            units=Decimal(draw.choice([-30_000, -7_000, 9_000, 25_000])),
            is_reducing=draw.random() < 0.2,
            stop_fraction=0.02 if draw.random() < 0.5 else None,
        )
        for pair in PAIRS
        if draw.random() < 0.4
    ]


def go_on(broker: SimBroker, snapshots: list[Snapshot]) -> None:
    """Work through the market from where the account stands, as an engine that was restarted does."""
    broker.get_instruments(PAIRS)
    at = broker.account().at
    done = [n for n, snapshot in enumerate(snapshots) if snapshot.at <= at]
    for n in range(max(len(done) - 1, 0), len(snapshots)):
        broker.sync(snapshots[n])
        for order in orders(n):
            broker.place_market_order(order)
        if n % 5 == 4:
            broker.place_plan(
                Plan([(0, "EURUSD", 1000.0, "open", False)], account_id="a", at=BEGIN, reason="", attempt=n)
            )


def facts(account: Account) -> tuple[Any, ...]:
    return (
        account.at, account.nav, account.balances, dict(account.positions), account.current_weights,
        account.margin_used, list(account.working_orders),
    )  # fmt: skip


def outcome(broker: SimBroker, count: int) -> tuple[Any, list[Transaction], dict[str, Any]]:
    ids = [order.client_id for n in range(count) for order in orders(n)]
    return facts(broker.account()), list(broker.transactions(None)), dict(broker.find_orders(ids))


def paper(path: Path, **about: Any) -> PaperBroker:
    return PaperBroker(path, **{**ABOUT, **about})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper.sqlite"


@pytest.fixture
def broker(path: Path) -> Iterator[PaperBroker]:
    made = paper(path)
    made.get_instruments(PAIRS)
    yield made
    made.close()


def whole(count: int, **about: Any) -> tuple[Any, list[Transaction], dict[str, Any]]:
    """The same by the simulated venue, which is never stopped."""
    simulated = SimBroker(**{**ABOUT, **about}, account_id="paper")
    go_on(simulated, market(count))
    return outcome(simulated, count)


# --- the same as the simulated venue ---------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", TERMS)
def test_it_is_the_simulated_venue_to_the_bit(broker: PaperBroker, path: Path, terms: dict[str, Any]) -> None:
    broker.close()
    made = paper(path.with_name("other"), **terms)
    go_on(made, market(40))
    assert outcome(made, 40) == whole(40, **terms)
    assert len(made.transactions(None)) > 30
    made.close()


@pytest.mark.parametrize("terms", TERMS)
def test_stopped_and_started_at_every_snapshot_it_is_still_the_same(path: Path, terms: dict[str, Any]) -> None:
    for count in range(1, 31):
        made = paper(path, **terms)
        go_on(made, market(count))
        made.close()
    made = paper(path, **terms)
    assert outcome(made, 30) == whole(30, **terms)
    made.close()


def test_terms_change_what_they_should() -> None:
    (_, plain, _), (_, own, _) = whole(40), whole(40, **TERMS[2])
    assert [t.units for t in plain if t.kind == "fill"] != [t.units for t in own if t.kind == "fill"]  # closed out
    (_, average, _), (_, fifo, _) = whole(40), whole(40, lots="fifo")
    assert [t.amount for t in average] != [t.amount for t in fifo]


@pytest.mark.parametrize("lots", ["average", "fifo"])
def test_a_file_from_before_there_were_lots_goes_on(path: Path, lots: str) -> None:
    made = paper(path)
    go_on(made, market(8))
    made.close()
    file = sqlite3.connect(path)
    (text,) = file.execute("SELECT state FROM account").fetchone()
    state = json.loads(text)
    del state["lots"]
    file.execute("UPDATE account SET state = ?", (json.dumps({**state, "version": 1}),))
    file.commit()
    file.close()
    made = paper(path, lots=lots)
    go_on(made, market(20))
    if lots == "average":
        assert outcome(made, 20) == whole(20)
    else:
        held = {name: p.units for name, p in made.get_positions().items()}
        assert {n: sum(size for size, _ in own) for n, own in made.state()["lots"].items() if own} == held != {}
    made.close()


# --- processes that die ----------------------------------------------------------------------------------------------


def in_a_process(work: Callable[[], None]) -> int:
    """Start ``work`` in a process of its own and return its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def ended_well(child: int) -> bool:
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


@pytest.mark.parametrize("frictions", [None, ROUGH])
def test_killed_at_random_moments_nothing_is_lost_and_nothing_doubled(path: Path, frictions: Frictions | None) -> None:
    count, draw, killed = 100, random.Random(1), 0
    snapshots = market(count)
    for _ in range(300):
        child = in_a_process(lambda: go_on(paper(path, frictions=frictions), snapshots))
        if killed < 25:
            time.sleep(draw.uniform(0.002, 0.02))
            os.kill(child, signal.SIGKILL)
        if ended_well(child):
            break
        killed += 1
    assert killed >= 20
    made = paper(path, frictions=frictions)
    assert outcome(made, count) == whole(count, frictions=frictions)
    made.close()


def test_killed_before_every_single_statement_it_goes_on_as_if_never_stopped(path: Path) -> None:
    count, total = 3, 0
    snapshots, wanted = market(count), whole(count)

    def run(file: Path, last: int) -> None:
        made, seen = paper(file), 0

        def count_statements(statement: str) -> None:
            nonlocal seen
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

        made.connect()
        assert made._file is not None
        made._file.set_trace_callback(count_statements)
        go_on(made, snapshots)

    for last in range(1, 1000):
        file = path.with_name(f"{last}.sqlite")
        has_ended = ended_well(in_a_process(lambda file=file, last=last: run(file, last)))  # type: ignore[misc]
        made = paper(file)
        go_on(made, snapshots)
        assert outcome(made, count) == wanted, last
        made.close()
        if has_ended:
            break
        total = last
    assert total > 30
    assert {t.kind for t in wanted[1]} == {"fill", "commission", "financing"}


# --- two processes on one account ------------------------------------------------------------------------------------


def test_each_sees_what_the_other_did(broker: PaperBroker, path: Path) -> None:
    other = paper(path)
    snapshots = market(4)
    broker.sync(snapshots[0])
    broker.place_market_order(Order(client_id="a", instrument="EURUSD", units=Decimal(1000)))
    assert [r.client_id for r in other.get_orders()] == ["a"]
    other.sync(snapshots[1])
    assert broker.get_positions()["EURUSD"].units == 1000
    assert broker.find_orders(["a"])["a"].status is OrderStatus.FILLED
    other.place_market_order(Order(client_id="a", instrument="EURUSD", units=Decimal(1000)))
    assert [r.client_id for r in other.close_all_positions()] == ["flatten-EURUSD-1"]
    broker.sync(snapshots[2])
    assert other.get_positions() == broker.get_positions() == {}
    assert [t.client_id for t in broker.transactions(None) if t.kind == "fill"] == ["a", "flatten-EURUSD-1"]
    other.close()


def test_a_file_that_is_held_is_unavailable_and_nothing_was_accepted(
    broker: PaperBroker, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.sync(market(1)[0])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert broker._file is not None
    broker._file.execute("PRAGMA busy_timeout = 10")
    order = Order(client_id="a", instrument="EURUSD", units=Decimal(1000))
    with pytest.raises(BrokerUnavailable, match="locked"):
        broker.place_market_order(order)
    assert broker.find_orders(["a"]) == {}  # reading goes on
    holder.execute("ROLLBACK")
    holder.close()
    assert broker.place_market_order(order).status is OrderStatus.WORKING


# --- what cannot be done ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "said"),
    [({"account_id": "mine"}, "of account 'paper' in USD, not of 'mine'"), ({"account_currency": "EUR"}, "in EUR")],
)
def test_a_file_of_another_account_is_refused(
    broker: PaperBroker, path: Path, about: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        paper(path, **about).connect()


def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("not a database, but long enough to be taken for one" * 40)
    with pytest.raises(ConfigError, match="no paper account"):
        paper(path).connect()
    assert path.read_text().startswith("not a database")
    other = sqlite3.connect(path.with_name("other.sqlite"))
    other.execute("CREATE TABLE account (id)")
    other.commit()
    other.close()
    with pytest.raises(ConfigError, match="no paper account of this version"):
        paper(path.with_name("other.sqlite")).connect()
    with pytest.raises(ConfigError, match="cannot be opened"):
        paper(path / "nowhere" / "x.sqlite").connect()


def test_the_opening_balance_is_that_of_the_file(broker: PaperBroker, path: Path) -> None:
    assert paper(path, cash=5).get_account_balance() == 100_000


def test_a_pair_that_is_held_cannot_leave_the_book(broker: PaperBroker, path: Path) -> None:
    snapshots = market(3)
    broker.place_market_order(Order(client_id="a", instrument="EURUSD", units=Decimal(1000)))
    broker.sync(snapshots[0])
    other = paper(path)
    with pytest.raises(ConfigError, match="holds or waits for EURUSD"):
        other.get_instruments(PAIRS[1:])
    other.get_instruments([Pair.parse("AUDUSD"), *reversed(PAIRS)])
    assert other.names == ("AUDUSD", "AUDJPY", "USDJPY", "EURUSD")
    other.place_market_order(Order(client_id="b", instrument="AUDUSD", units=Decimal(500)))
    other.sync(snapshots[1])
    assert {n: int(p.units) for n, p in other.get_positions().items()} == {"AUDUSD": 500, "EURUSD": 1000}
    other.close()


def test_stored_history_is_not_for_a_paper_account(broker: PaperBroker) -> None:
    history = MarketHistory(np.array([to_ns(BEGIN)]), ("EUR",), np.array([[1.1]]), "USD", {})
    with pytest.raises(ConfigError, match="stored history"):
        broker.prepare(history, SteppedClock.over(history))


def test_a_snapshot_that_cannot_be_used_changes_nothing(broker: PaperBroker) -> None:
    snapshots = market(8)
    broker.place_market_order(Order(client_id="a", instrument="EURUSD", units=Decimal(1000)))
    broker.sync(snapshots[0])
    before = facts(broker.account())
    without = Snapshot(snapshots[7].at, snapshots[7].quotes, {})
    with pytest.raises(MissingDataError, match="no rates for AUD"):
        broker.sync(without)
    assert facts(broker.account()) == before
    with pytest.raises(OrderRejected, match="unknown instrument"):
        broker.place_market_order(Order(client_id="b", instrument="EURCHF", units=Decimal(1)))
    assert broker.find_orders(["a", "b"]).keys() == {"a"}


def test_a_plan_is_accepted_whole_or_not_at_all(broker: PaperBroker) -> None:
    plan = Plan(
        [(0, "EURUSD", 5.0, "open", False), (1, "XXXYYY", 5.0, "open", False)], account_id="p", at=BEGIN, reason=""
    )
    with pytest.raises(OrderRejected):
        broker.place_plan(plan)
    assert broker.get_orders() == []


class Failing:
    """A connection on which one kind of statement fails, as on a full disk."""

    def __init__(self, file: sqlite3.Connection, verb: str) -> None:
        self.file, self.verb = file, verb

    def execute(self, statement: str, *values: Any) -> Any:
        if statement.startswith(self.verb):
            raise sqlite3.OperationalError("database or disk is full")
        return self.file.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize(
    ("verb", "error"), [("BEGIN", BrokerUnavailable), ("UPDATE", BrokerUnavailable), ("COMMIT", OrderOutcomeUnknown)]
)
def test_a_full_disk_says_whether_the_order_may_exist(
    broker: PaperBroker, monkeypatch: pytest.MonkeyPatch, verb: str, error: type[Exception]
) -> None:
    broker.sync(market(1)[0])
    file = broker._file
    assert file is not None
    monkeypatch.setattr(broker, "_file", Failing(file, verb))
    order = Order(client_id="a", instrument="EURUSD", units=Decimal(1000))
    with pytest.raises(error, match="disk is full"):
        broker.place_market_order(order)
    if verb != "BEGIN":
        with pytest.raises(BrokerUnavailable):
            broker.sync(market(2)[1])
    monkeypatch.setattr(broker, "_file", file)
    assert broker.find_orders(["a"]) == {}  # what was in memory only is gone
    assert broker.account().at == BEGIN
    broker.place_market_order(order)
    broker.sync(market(2)[1])
    assert broker.get_positions()["EURUSD"].units == 1000


# --- the rest of the protocol ----------------------------------------------------------------------------------------


def test_stops_limits_and_cancels_are_kept(broker: PaperBroker, path: Path) -> None:
    snapshots = market(3)
    broker.place_market_order(Order(client_id="a", instrument="EURUSD", units=Decimal(1000)))
    broker.sync(snapshots[0])
    broker.set_stop("EURUSD", Decimal("9"))  # far above: hit at the next quote
    broker.place_limit_order(Order(client_id="l", instrument="USDJPY", units=Decimal(10), limit_price=Decimal(1)))
    broker.place_market_order(Order(client_id="c", instrument="USDJPY", units=Decimal(10)))
    assert broker.cancel_order("c").status is OrderStatus.CANCELLED
    other = paper(path)
    assert [r.client_id for r in other.get_orders()] == ["l", "stop-EURUSD"]
    other.sync(snapshots[1])
    assert other.get_positions() == {}
    assert other.events == [("EURUSD", "stop", 1)]
    assert other.drop("enough") == 1
    assert {i: r.status.value for i, r in broker.find_orders(["a", "c", "l"]).items()} == {
        "a": "filled",
        "c": "cancelled",
        "l": "cancelled",
    }
    other.close()


def test_transactions_since_an_id_are_those_after_it(broker: PaperBroker, path: Path) -> None:
    go_on(broker, market(20))
    booked = broker.transactions(None)
    assert [t.id for t in booked] == sorted({t.id for t in booked})
    for n in (0, 5, len(booked) - 1):
        assert broker.transactions(booked[n].id) == booked[n + 1 :]
    rows = sqlite3.connect(path).execute("SELECT id, record FROM transactions ORDER BY id").fetchall()
    assert [i for i, _ in rows] == [t.id for t in booked]
    assert sum(Decimal(json.loads(r)["amount"]) for _, r in rows) + 100_000 == broker.get_account_balance()


def test_an_account_does_not_go_back(broker: PaperBroker, path: Path) -> None:
    snapshots = market(4)
    broker.sync(snapshots[2])
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"is at 2025-03-10 21:00 UTC already, and this look is at 2025-03-10 16:00"):
        broker.sync(snapshots[1])
    nearly = attrs.evolve(snapshots[2], at=snapshots[2].at - timedelta(minutes=5))
    assert broker.sync(nearly).nav == 100_000
    assert broker.at == snapshots[2].at
    assert path.read_bytes() == before


def test_closed_it_opens_again_by_itself(broker: PaperBroker) -> None:
    broker.close()
    broker.close()
    assert broker.get_account_balance() == 100_000
