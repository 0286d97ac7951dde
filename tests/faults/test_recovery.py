"""An engine that dies at any point of a step goes on as if it had not: one order, one fill, no halt forgotten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxcarry.clock import SteppedClock
from fxcarry.costs import Costs
from fxcarry.engine import Engine
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import SqliteJournal
from fxcarry.market import MarketHistory, from_ns
from fxcarry.model import Account, OrderResult, Snapshot, TradingState, Transaction
from fxcarry.orders import Plan
from fxcarry.risk import DailyLoss, Drawdown, MaxExposure, MaxPosition, StopLoss
from fxcarry.simulation import SimBroker
from fxcarry.strategies import Baseline
from fxcarry.testing import market_history

UNIVERSE = ("AUD", "EUR", "GBP", "JPY", "NOK", "NZD")
RULES = (MaxPosition(), MaxExposure(), StopLoss(0.02), DailyLoss(0.008), Drawdown(0.05))
FIRST = 3  # rates are known from the second day on
POINTS = ("synced", "kept", "deciding", "decided", "placed", "saved")


class Killed(BaseException):
    """The process is gone."""


class Store:
    """What outlives the process: the venue's own file, and where the next process is killed."""

    def __init__(self) -> None:
        self.state: str | None = None
        self.transactions: list[Transaction] = []
        self.point, self.every, self.reached = "", 0, 0

    def reach(self, point: str) -> None:
        if point == self.point:
            self.reached += 1
            if self.reached % self.every == 0:
                raise Killed


class Venue(SimBroker):
    """A simulated venue that keeps itself after each change, and dies where it is told to."""

    def __init__(self, store: Store) -> None:
        super().__init__(costs=Costs(), financing=BenchmarkFinancing(0.01))
        self.store = store
        if store.state is not None:
            self.restore(json.loads(store.state))
        self.count = 0

    def keep(self) -> None:
        fresh = list(self.log)[self.count :]
        self.count += len(fresh)
        self.store.state, self.store.transactions = json.dumps(self.state()), [*self.store.transactions, *fresh]

    def sync(self, snapshot: Snapshot) -> Account:
        account = super().sync(snapshot)
        self.store.reach("synced")
        self.keep()
        self.store.reach("kept")
        return account

    def place_plan(self, plan: Plan) -> Sequence[OrderResult]:
        self.store.reach("decided")
        refused = super().place_plan(plan)
        self.store.reach("placed")
        self.keep()
        self.store.reach("saved")
        return refused

    def place_market_order(self, order: Any) -> OrderResult:
        result = super().place_market_order(order)
        self.keep()
        return result

    def transactions(self, since: str | None) -> Sequence[Transaction]:
        ids = [t.id for t in self.store.transactions]
        return self.store.transactions[0 if since is None else ids.index(since) + 1 :]


class Journal(SqliteJournal):
    def beat(self, at: datetime) -> None:
        super().beat(at)
        self.store.reach("deciding")  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    return market_history(UNIVERSE, days=100, seed=5)


def live(history: MarketHistory, store: Store, path: Path) -> Engine:
    """Steps from where the journal ends to the end of the history, as one process."""
    journal = Journal(path, account_id="simulated")
    journal.store = store  # type: ignore[attr-defined]
    engine = Engine(
        feed=MemoryFeed(history),
        broker=Venue(store),
        strategy=Baseline(k=2),
        rules=RULES,
        universe=UNIVERSE,
        rebalance="weekly",
        journal=journal,
        costs=Costs(),
    )
    done = journal.last_beat()
    engine.recover()
    try:
        for tick in SteppedClock.over(history, frequency="weekly").at[FIRST:]:
            at = from_ns(tick)
            if done is None or at > done:
                engine.step(at)
    finally:
        journal.close()
    return engine


def books(store: Store, engine: Engine) -> Any:
    told = [(t.id, t.kind, t.at, t.instrument, t.amount, t.units, t.price) for t in store.transactions]
    return told, engine.broker.get_account_balance(), engine.broker.nav, engine.state


@pytest.fixture(scope="module")
def whole(history: MarketHistory, tmp_path_factory: pytest.TempPathFactory) -> Any:
    store = Store()
    path = tmp_path_factory.mktemp("whole") / "journal.sqlite"
    engine = live(history, store, path)
    kinds = {t.kind for t in store.transactions}
    assert {"fill", "financing"} <= kinds
    with SqliteJournal.existing(path) as journal:
        states = {state.trading for _, state in journal.states}
    assert TradingState.REDUCING in states or TradingState.HALTED in states  # halts are part of what must survive
    return books(store, engine)


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_in_a_step_it_goes_on_to_the_cent(
    point: str, history: MarketHistory, whole: Any, tmp_path: Path
) -> None:
    """Killed again and again at one point of a step, each time with a new process after it."""
    store, path, killed = Store(), tmp_path / "journal.sqlite", 0
    store.point, store.every = point, 7 if point in ("synced", "kept", "deciding") else 2
    while True:
        try:
            engine = live(history, store, path)
            break
        except Killed:
            killed += 1
    assert killed >= 5
    told, cash, nav, state = books(store, engine)
    assert told == whole[0]
    assert (cash, nav) == (whole[1], whole[2])
    assert state == whole[3]
    with SqliteJournal.existing(path) as journal:
        ids = [order.client_id for order in journal.orders]
        assert len(set(ids)) == len(ids)
        assert [t.id for t in journal.transactions()] == [t.id for t in store.transactions]
        assert len({t.id for t in store.transactions}) == len(store.transactions)


def test_a_halt_of_friday_holds_on_monday_after_a_restart(history: MarketHistory, tmp_path: Path) -> None:
    """The state is restored before the first order, whatever the market did meanwhile."""
    store, path = Store(), tmp_path / "journal.sqlite"
    journal = Journal(path, account_id="simulated")
    journal.store = store  # type: ignore[attr-defined]
    friday = next(t for t in map(from_ns, SteppedClock.over(history).at) if t.weekday() == 4)
    with journal:
        from fxcarry.model import RiskState

        journal.transition(
            friday, RiskState(trading=TradingState.HALTED, day_start=9e5, high_water=1.1e6, latch="DRAWDOWN")
        )
        journal.beat(friday)
    engine = live(history, store, path)
    assert (engine.state.trading, engine.state.latch) == (TradingState.HALTED, "DRAWDOWN")
    assert not any(t.kind == "fill" for t in store.transactions)
    assert np.isclose(engine.state.high_water, 1.1e6)
    assert friday + timedelta(days=3) <= from_ns(history.times[-1])
