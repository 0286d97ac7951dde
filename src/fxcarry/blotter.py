"""The orders of a simulated venue: which it accepted, which wait for a quote, and what became of each.

Fills are read off the transaction log when somebody asks, so that a run that asks nothing pays nothing for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
import numpy as np

from fxcarry.ledger import TransactionLog
from fxcarry.market import from_ns, to_ns
from fxcarry.model import Order, OrderResult, OrderStatus, to_decimal
from fxcarry.orders import Plan
from fxcarry.plain import from_plain, to_plain

Waiting = tuple[Sequence[Order], Sequence[int], np.datetime64 | None]
"""Orders by their places in a sequence, and the first instant they may fill at (None = any)."""


class Blotter:
    """Every order a venue accepted or refused, each once, by its client id.

    ``log`` is where its fills are booked. ``in_parts`` says whether an order may fill in parts; what is left of it then
    waits under the same client id. ``pending`` is what waits, in the order it was placed; the venue takes from it what
    it fills.
    """

    def __init__(self, log: TransactionLog, *, in_parts: bool) -> None:
        self.pending: list[Waiting] = []
        self._log = log
        self._in_parts = in_parts
        self._accepted: list[Sequence[Order]] = []
        self._known: dict[str, Order] = {}
        self._final: dict[str, OrderResult] = {}
        self._planned: set[tuple[datetime, int]] = set()
        self._known_batches = self._settled = 0  # how much of what was accepted and of what was filled is known

    def accept(self, orders: Sequence[Order]) -> bool:
        """Take orders down; False where they are a plan that was taken down before."""
        self._accepted.append(orders)
        if not isinstance(orders, Plan):
            return True
        known = len(self._planned)
        self._planned.add((orders.at, orders.attempt))  # what client ids are derived from, besides instrument and leg
        return len(self._planned) > known

    def wait(
        self, orders: Sequence[Order], places: Sequence[int] = (0,), earliest: np.datetime64 | None = None
    ) -> None:
        """Let the orders at ``places`` wait for a quote, not before ``earliest``."""
        self.pending.append((orders, places, earliest))

    def waiting(self) -> list[Order]:
        """What waits for a quote."""
        return [orders[place] for orders, places, _ in self.pending for place in places]

    def cancel(self, applies: Callable[[Order], bool], reason: str) -> int:
        """Cancel the waiting orders for which ``applies`` holds, and say how many."""
        kept: list[Waiting] = []
        cancelled = 0
        for orders, places, earliest in self.pending:
            still = []
            for place in places:
                if applies(orders[place]):
                    self.resolve(orders[place], OrderStatus.CANCELLED, reason)
                    cancelled += 1
                else:
                    still.append(place)
            if still:
                kept.append((orders, still, earliest))
        self.pending = kept
        return cancelled

    def resolve(self, order: Order, status: OrderStatus, reason: str) -> None:
        """Say what became of an order that will not fill any further."""
        result = OrderResult.unfilled(order, status, reason)
        if self._in_parts:
            self.known()
            if order.client_id in self._final:  # some of it was filled
                result = attrs.evolve(self._final[order.client_id], status=status, reason=reason)
        self._final[order.client_id] = result

    def result(self, order: Order) -> OrderResult:
        """What became of an order that was accepted, as far as that is :meth:`known`."""
        if order.client_id in self._final:
            return self._final[order.client_id]
        return OrderResult.unfilled(order, OrderStatus.WORKING, order.reason)

    def find(self, client_ids: Collection[str]) -> dict[str, OrderResult]:
        """What became of those among these orders that were accepted."""
        known = self.known()
        return {c: self.result(known[c]) for c in client_ids if c in known}

    def known(self) -> dict[str, Order]:
        """Every accepted order by id, after noting the fills booked since this was last asked."""
        fills = self._log.fills_since(self._settled)
        self._settled += len(fills)
        for fill in fills:
            order = fill.order
            units, price = to_decimal(fill.units), to_decimal(fill.price)
            before = self._final.get(order.client_id)
            if before is not None and before.price is not None:
                whole = before.filled_units + units
                units, price = whole, (before.filled_units * before.price + units * price) / whole
            self._final[order.client_id] = OrderResult(
                client_id=order.client_id,
                instrument=order.instrument,
                status=OrderStatus.FILLED,
                filled_units=units,
                price=price,
                reason=order.reason,
            )
        if fills and self._in_parts:
            for order in self.waiting():
                if order.client_id in self._final:
                    partial = attrs.evolve(self._final[order.client_id], status=OrderStatus.PARTIAL)
                    self._final[order.client_id] = partial
        for orders in self._accepted[self._known_batches :]:
            self._known.update((order.client_id, order) for order in orders)
        self._known_batches = len(self._accepted)
        return self._known

    def since(self, count: int) -> list[Order]:
        """The orders accepted after the first ``count`` of them."""
        return list(itertools.islice(self.known().values(), count, None))

    def remember(self, order: Order, result: OrderResult) -> None:
        """Know an order that was accepted in an earlier life, and what became of it."""
        self._known[order.client_id] = order
        if result.status is not OrderStatus.WORKING:
            self._final[order.client_id] = result

    def forget_fills(self) -> None:
        """Note the fills of a log that is about to let go of them."""
        self.known()
        self._accepted.clear()
        self._known_batches = self._settled = 0

    def state(self, *, with_orders: bool = True) -> dict[str, Any]:
        """What waits, what became of each order (unless it is kept elsewhere), and which plans are known, as plain
        values for :meth:`restore`.
        """
        known = self.known()
        return {
            "waiting": [
                [to_plain(orders[place]), None if earliest is None else from_ns(earliest).isoformat()]
                for orders, places, earliest in self.pending
                for place in places
            ],
            "orders": [[to_plain(o), to_plain(self.result(o))] for o in known.values()] if with_orders else [],
            "planned": sorted([at.isoformat(), attempt] for at, attempt in self._planned),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self.pending = [
            ((from_plain(Order, order),), (0,), None if earliest is None else to_ns(datetime.fromisoformat(earliest)))
            for order, earliest in state["waiting"]
        ]
        for plain_order, plain_result in state["orders"]:
            self.remember(from_plain(Order, plain_order), from_plain(OrderResult, plain_result))
        self._planned = {(datetime.fromisoformat(at), attempt) for at, attempt in state["planned"]}
