"""fxcarry.preview and Engine.preview / adopt: a plan is what would be done, and only that is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.clock import SteppedClock
from fxcarry.costs import Costs
from fxcarry.engine import Engine
from fxcarry.errors import ConfigError
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import MemoryJournal
from fxcarry.market import MarketHistory, from_ns
from fxcarry.model import Order, Pair, TradingState
from fxcarry.preview import Preview
from fxcarry.risk import default_rules
from fxcarry.simulation import SimBroker
from fxcarry.testing import market_history

UNIVERSE = ("AUD", "EUR", "JPY")
TARGET = {"AUD": 0.25, "EUR": -0.1, "JPY": -0.2}


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    return market_history(UNIVERSE, days=60, seed=2)


class Desk:
    def __init__(self, history: MarketHistory) -> None:
        self.history = history
        self.feed = MemoryFeed(history)
        self.broker = SimBroker(costs=Costs(), financing=BenchmarkFinancing(0.01))
        self.journal = MemoryJournal()
        self.weights: dict[str, float] = dict(TARGET)
        self.engine = self.on(self.broker)
        self.looks = [from_ns(t) for t in SteppedClock.over(history, frequency="weekly").at[3:]]

    def on(self, broker: SimBroker) -> Engine:
        return Engine(
            feed=self.feed,
            broker=broker,
            strategy=lambda view, account: self.weights,
            rules=default_rules(),
            universe=UNIVERSE,
            rebalance="weekly",
            journal=self.journal,
            costs=Costs(),
        )

    def run(self, count: int) -> None:
        for at in self.looks[:count]:
            self.engine.step(at)

    def plan(self, look: int) -> Preview:
        return self.on(self.broker.twin()).preview(self.looks[look])

    def told(self, kind: str) -> list[str]:
        return [a.message for a in self.journal.alerts if a.kind == kind]


@pytest.fixture
def desk(history: MarketHistory) -> Desk:
    return Desk(history)


def test_a_plan_writes_nothing_and_sends_nothing(desk: Desk) -> None:
    desk.run(8)
    before = (desk.broker.state(), list(desk.journal.plans), list(desk.journal.decisions), list(desk.journal.states))
    told = list(desk.journal.alerts)
    desk.plan(9)
    after = (desk.broker.state(), list(desk.journal.plans), list(desk.journal.decisions), list(desk.journal.states))
    assert after == before
    assert desk.journal.alerts == told


def test_a_plan_says_what_a_decision_then_does(desk: Desk) -> None:
    """The target, each order, what it costs and what the book is paid, against the arithmetic by hand."""
    preview = desk.plan(0)
    assert preview.nav == 1_000_000
    assert preview.target_weights == TARGET
    assert preview.held == {}
    mids = preview.mids
    units = {"AUDUSD": 0.25e6 / mids["AUDUSD"], "EURUSD": -0.1e6 / mids["EURUSD"], "USDJPY": 0.2e6}
    assert {o.instrument: o.units for o in preview.orders} == pytest.approx(units, abs=1)
    assert all(not o.is_reducing for o in preview.orders)
    costs = Costs()
    pairs = {"AUDUSD": 0.25e6, "EURUSD": 0.1e6, "USDJPY": 0.2e6}
    expected = sum(n * costs.per_turnover(Pair.parse(p)) for p, n in pairs.items())
    assert preview.cost == pytest.approx(expected, rel=1e-4)
    rates = {c: s.get(preview.at) for c, s in desk.history.rates.items()}
    values = {c: r.value * 365 / r.day_count for c, r in rates.items() if r is not None}
    carry = 0.25e6 * (values["AUD"] - values["USD"]) - 0.1e6 * (values["EUR"] - values["USD"])
    carry += 0.2e6 * (values["USD"] - values["JPY"])
    paid = (carry - 0.01 * 0.55e6) * 7 / 365  # the broker keeps 1 % a year on each side
    assert preview.carry_week == pytest.approx(paid, rel=0.02)
    assert {v["rule"] for v in preview.verdicts} == {rule.name for rule in default_rules()}
    assert preview.trading == "active"


def test_a_plan_is_plain_data_and_its_name_is_its_content(desk: Desk) -> None:
    preview = desk.plan(0)
    again = Preview.from_dict(json.loads(json.dumps(preview.to_dict())))
    assert again == preview
    assert again.id == preview.id
    assert attrs.evolve(preview, nav=1.0).id != preview.id


def test_an_adopted_plan_is_carried_out_at_the_next_step_though_nothing_is_due(desk: Desk) -> None:
    desk.run(8)
    desk.weights = {"AUD": -0.1, "JPY": 0.1}
    at = desk.looks[8]
    assert not SteppedClock.until(desk.history, at, "weekly").is_due[-1]
    preview = desk.plan(8)
    desk.weights = {"AUD": 9.9}  # the strategy is not asked again
    desk.engine.adopt(preview)
    desk.engine.step(at)
    sent = [(o.instrument, float(o.units)) for o in desk.journal.plans[-1]]
    assert sent == [(o.instrument, o.units) for o in preview.orders]
    assert desk.told("operator") == [f"plan {preview.id} is carried out"]
    desk.engine.step(desk.looks[9])
    assert desk.broker.account().current_weights["AUD"] == pytest.approx(-0.1, abs=0.01)


def _older(preview: Preview) -> Preview:
    return attrs.evolve(preview, at=preview.at - timedelta(minutes=16))


def _later(preview: Preview) -> Preview:
    return attrs.evolve(preview, at=preview.at + timedelta(minutes=1))


def _halted(preview: Preview) -> Preview:
    return attrs.evolve(preview, trading="halted")


def _other_book(preview: Preview) -> Preview:
    return attrs.evolve(preview, held={**preview.held, "EURUSD": 17.0})


def _other_price(preview: Preview) -> Preview:
    return attrs.evolve(preview, mids={**preview.mids, "EURUSD": preview.mids["EURUSD"] * 1.003})


def _other_orders(preview: Preview) -> Preview:
    return attrs.evolve(preview, orders=[attrs.evolve(o, units=o.units * 1.02) for o in preview.orders])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_older, "more than 0:15:00 from now"),
        (_later, "more than 0:15:00 from now"),
        (_halted, "trading was halted and is active"),
        (_other_book, "EURUSD: 17 units were held, now"),
        (_other_price, "EURUSD moved from"),
        (_other_orders, "units, the rules now give"),
    ],
)
def test_a_plan_whose_world_has_moved_is_not_carried_out(
    change: Callable[[Preview], Preview], why: str, desk: Desk, history: MarketHistory
) -> None:
    desk.run(8)
    desk.weights = {"AUD": -0.1, "JPY": 0.1}
    plans = len(desk.journal.plans)
    desk.engine.adopt(change(desk.plan(8)))
    desk.engine.step(desk.looks[8])
    assert len(desk.journal.plans) == plans
    [told] = desk.told("plan-refused")
    assert "is not carried out: " in told
    assert why in told
    desk.engine.step(desk.looks[9])
    assert desk.broker.account().current_weights["AUD"] == pytest.approx(0.25, abs=0.02)
    assert desk.told("operator") == []


def test_a_plan_is_not_carried_out_while_an_order_waits(desk: Desk) -> None:
    desk.run(8)
    desk.weights = {"AUD": -0.1}
    preview = desk.plan(8)
    desk.broker.place_limit_order(
        Order(client_id="by-hand", instrument="EURUSD", units=Decimal(1), limit_price=Decimal("0.01"))
    )
    desk.engine.adopt(preview)
    desk.engine.step(desk.looks[8])
    assert desk.told("plan-refused") == [f"plan {preview.id} is not carried out: an order waits at the venue"]


def test_a_plan_in_a_halt_only_closes(desk: Desk) -> None:
    desk.run(8)
    desk.journal.transition(
        desk.looks[7], attrs.evolve(desk.engine.state, trading=TradingState.HALTED, latch="OPERATOR")
    )
    preview = desk.plan(8)
    assert preview.trading == "halted"
    assert preview.planned == {}
    assert all(o.is_reducing for o in preview.orders)
    assert preview.carry_week == 0


def test_a_plan_needs_a_feed(desk: Desk) -> None:
    engine: Any = desk.engine
    engine.feed = None
    with pytest.raises(ConfigError, match="no feed to look at"):
        engine.preview(desk.looks[0])


def test_small_differences_of_orders_are_none() -> None:
    blank = Preview(
        at=from_ns(np.datetime64("2025-01-01", "ns")),
        trading="active",
        nav=1.0,
        held={},
        planned={},
        current_weights={},
        target_weights={},
        orders=[],
        verdicts=[],
        cost=0.0,
        carry_week=0.0,
        mids={},
    )
    assert blank.differs({}) == ""
    assert blank.differs({"EURUSD": Decimal(1)}) == ""
    assert "EURUSD: the plan has +0 units, the rules now give +5" in blank.differs({"EURUSD": Decimal(5)})
