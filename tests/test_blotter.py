"""fxcarry.blotter: what was accepted, what waits, and what became of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from fxcarry.blotter import Blotter
from fxcarry.ledger import TransactionLog
from fxcarry.model import Order, OrderResult, OrderStatus
from fxcarry.orders import Plan

AT = datetime(2025, 3, 12, 14, tzinfo=UTC)


def order(client_id: str, units: int = 100, **about: Any) -> Order:
    return Order(client_id=client_id, instrument="EURUSD", units=Decimal(units), **about)


def plan(*units: float, attempt: int = 0) -> Plan:
    legs = [(n, f"P{n}", size, "open", False) for n, size in enumerate(units)]
    return Plan(legs, account_id="a", at=AT, reason="rebalance", attempt=attempt)


class Desk:
    """A blotter and the log that fills are booked in."""

    def __init__(self, *, in_parts: bool = False) -> None:
        self.log = TransactionLog("USD", 1000.0)
        self.blotter = Blotter(self.log, in_parts=in_parts)

    def place(self, *orders: Order) -> None:
        for one in orders:
            self.blotter.accept((one,))
            self.blotter.wait((one,))

    def fill(self, units: float, price: float) -> None:
        """Fill the first that waits, and let the rest of it wait."""
        orders, places, _ = self.blotter.pending.pop(0)
        whole = orders[places[0]]
        at = np.datetime64("2025-03-12T14:00", "ns")
        self.log.book_fill((0, 0, units, price, price, 1.0, 0.0, 0, 0.0, 0, at, orders, places[0]))
        if float(whole.units) != units:
            rest = Order(client_id=whole.client_id, instrument="EURUSD", units=whole.units - Decimal(units))
            self.blotter.wait((rest,))

    def result(self, client_id: str) -> OrderResult:
        return self.blotter.find([client_id])[client_id]


def test_an_order_waits_fills_and_is_final() -> None:
    desk = Desk()
    desk.place(order("a"), order("b", reason="carry"))
    assert [o.client_id for o in desk.blotter.waiting()] == ["a", "b"]
    assert (desk.result("b").status, desk.result("b").reason) == (OrderStatus.WORKING, "carry")
    desk.fill(100.0, 1.1)
    assert [o.client_id for o in desk.blotter.waiting()] == ["b"]
    done = desk.result("a")
    assert (done.status, done.filled_units, done.price) == (OrderStatus.FILLED, Decimal(100), Decimal("1.1"))
    assert desk.blotter.find(["a", "never"]) == {"a": done}
    assert [o.client_id for o in desk.blotter.since(0)] == ["a", "b"]
    assert [o.client_id for o in desk.blotter.since(1)] == ["b"]


def test_parts_add_up_to_one_result_at_the_average_price() -> None:
    desk = Desk(in_parts=True)
    desk.place(order("a"))
    desk.fill(25.0, 1.1)
    part = desk.result("a")
    assert (part.status, part.filled_units, part.price) == (OrderStatus.PARTIAL, Decimal(25), Decimal("1.1"))
    desk.fill(75.0, 1.3)
    whole = desk.result("a")
    assert (whole.status, whole.filled_units, whole.price) == (OrderStatus.FILLED, Decimal(100), Decimal("1.25"))
    assert desk.blotter.waiting() == []


def test_what_was_filled_of_an_order_outlives_its_cancel() -> None:
    desk = Desk(in_parts=True)
    desk.place(order("a"), order("b"))
    desk.fill(25.0, 1.1)
    assert desk.blotter.cancel(lambda o: o.client_id == "a", "enough") == 1
    gone = desk.result("a")
    assert (gone.status, gone.filled_units, gone.reason) == (OrderStatus.CANCELLED, Decimal(25), "enough")
    assert [o.client_id for o in desk.blotter.waiting()] == ["b"]


def test_cancelling_takes_only_what_applies_even_out_of_a_plan() -> None:
    desk = Desk()
    several = plan(10.0, -20.0, 30.0)
    assert desk.blotter.accept(several)
    desk.blotter.wait(several, range(3))
    assert desk.blotter.cancel(lambda o: o.units < 0, "no shorts") == 1
    assert [o.units for o in desk.blotter.waiting()] == [10, 30]
    assert desk.blotter.cancel(lambda o: o.units < 0, "no shorts") == 0
    statuses = [desk.result(o.client_id).status for o in several]
    assert statuses == [OrderStatus.WORKING, OrderStatus.CANCELLED, OrderStatus.WORKING]


def test_a_plan_is_taken_down_once_and_another_attempt_is_another() -> None:
    desk = Desk()
    assert desk.blotter.accept(plan(10.0))
    assert not desk.blotter.accept(plan(10.0))
    assert desk.blotter.accept(plan(10.0, attempt=1))


@pytest.mark.parametrize("with_orders", [True, False])
def test_it_goes_on_from_its_text(with_orders: bool) -> None:
    desk = Desk(in_parts=True)
    desk.place(order("a"), order("b", limit_price=Decimal("1.05"), type="limit"), order("c"))
    desk.blotter.accept(plan(10.0))
    desk.fill(40.0, 1.1)
    desk.blotter.resolve(order("d"), OrderStatus.REJECTED, "closed")
    earliest = np.datetime64("2025-03-12T15:00", "ns")
    desk.blotter.wait((order("late"),), earliest=earliest)
    state = json.loads(json.dumps(desk.blotter.state(with_orders=with_orders)))
    other = Desk(in_parts=True).blotter
    other.restore(state)
    assert json.loads(json.dumps(other.state(with_orders=with_orders))) == state
    assert other.waiting() == desk.blotter.waiting()
    assert [e for _, _, e in other.pending] == [None, None, None, earliest]
    assert not other.accept(plan(10.0))
    assert other.find(["a", "c"]) == (desk.blotter.find(["a", "c"]) if with_orders else {})


def test_what_is_remembered_is_known_and_final_unless_it_works() -> None:
    blotter = Desk().blotter
    done = OrderResult(client_id="a", instrument="EURUSD", status=OrderStatus.FILLED, filled_units=Decimal(100))
    blotter.remember(order("a"), done)
    blotter.remember(order("b"), OrderResult.unfilled(order("b"), OrderStatus.WORKING, ""))
    assert blotter.find(["a", "b"])["a"] == done
    assert blotter.find(["b"])["b"].status is OrderStatus.WORKING
    assert [o.client_id for o in blotter.since(0)] == ["a", "b"]


def test_fills_are_noted_before_the_log_lets_go_of_them() -> None:
    desk = Desk()
    desk.place(order("a"), order("b"))
    desk.fill(100.0, 1.1)
    desk.blotter.forget_fills()
    desk.log.begin_at(1)
    assert desk.result("a").status is OrderStatus.FILLED
    desk.fill(100.0, 1.2)
    assert desk.result("b").price == Decimal("1.2")
