"""fxcarry.journal: what a journal in memory keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from fxcarry.journal import MemoryJournal
from fxcarry.ledger import TransactionLog
from fxcarry.model import Action, Decision, Order, OrderResult, OrderStatus, RiskState, TradingState, Verdict

AT = datetime(2025, 3, 12, 21, tzinfo=UTC)


def order(client_id: str) -> Order:
    return Order(client_id=client_id, instrument="EURUSD", units=Decimal(10))


def test_it_starts_empty() -> None:
    journal = MemoryJournal()
    for kept in (journal.decisions, journal.plans, journal.states, journal.orders):
        assert len(kept) == 0
    assert list(journal.results) == []
    assert journal.log is None


def test_orders_are_kept_in_the_order_of_intention() -> None:
    journal = MemoryJournal()
    journal.intend([order("a"), order("b")])
    journal.intend([])
    journal.intend([order("c")])
    assert [o.client_id for o in journal.orders] == ["a", "b", "c"]
    assert len(journal.plans) == 3


def test_decisions_are_kept_with_their_stage_and_verdicts() -> None:
    verdict = Verdict("rule", Action.REJECT, "NO")
    decision = Decision(AT, np.zeros(1), ("EURUSD",), [verdict], TradingState.ACTIVE, [lambda: verdict])
    journal = MemoryJournal()
    journal.decide("target", decision)
    journal.decide("orders", decision)
    assert [stage for stage, _ in journal.decisions] == ["target", "orders"]
    assert journal.decisions[0][1].verdicts == [verdict]


def test_states_are_kept_with_their_instant() -> None:
    journal = MemoryJournal()
    state = RiskState(day_start=1.0, high_water=2.0, trading=TradingState.HALTED, latch="DRAWDOWN")
    journal.transition(AT, state)
    assert journal.states == [(AT, state)]


def test_results_are_what_the_venue_says_of_the_orders_intended() -> None:
    said = {
        "a": OrderResult(client_id="a", instrument="EURUSD", status=OrderStatus.FILLED),
        "x": OrderResult(client_id="x", instrument="EURUSD", status=OrderStatus.FILLED),
    }

    def find(ids: Collection[str]) -> Mapping[str, OrderResult]:
        return {c: said[c] for c in ids if c in said}

    journal = MemoryJournal()
    log = TransactionLog("USD", 1_000.0)
    journal.follow(log, find)
    assert journal.log is log
    assert list(journal.results) == []
    journal.intend([order("a"), order("b")])
    assert [r.client_id for r in journal.results] == ["a"]
    said["b"] = OrderResult(client_id="b", instrument="EURUSD", status=OrderStatus.WORKING)
    assert [r.status for r in journal.results] == [OrderStatus.FILLED, OrderStatus.WORKING]


def test_two_journals_share_nothing() -> None:
    one, other = MemoryJournal(), MemoryJournal()
    one.intend([order("a")])
    one.transition(AT, RiskState(day_start=1.0, high_water=1.0))
    assert not other.orders
    assert not other.states
