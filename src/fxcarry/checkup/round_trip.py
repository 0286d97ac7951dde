"""The smallest order there is, dealt and closed again on an account of no real money."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

import attrs

from fxcarry.checkup.records import Sheet
from fxcarry.conventions import is_open
from fxcarry.errors import BrokerError, ConfigError, OrderOutcomeUnknown
from fxcarry.journal import JournalLock
from fxcarry.model import Account, Instrument, Order, OrderResult, OrderStatus, Snapshot
from fxcarry.protocols import Broker, Capability
from fxcarry.simulation import SimBroker

STOP = 0.10
"""How far the order's stop is, as a fraction of the price: it is there to be seen, not to be hit."""

_LOOKS = 5  # how often an order that waits is asked for
_OPEN = (OrderStatus.WORKING, OrderStatus.PARTIAL, OrderStatus.UNKNOWN)


def look_at_round_trip(
    sheet: Sheet,
    component: str,
    broker: SimBroker | Broker,
    instruments: Mapping[str, Instrument],
    account: Account | None,
    snapshot: Snapshot | None,
    now: datetime,
    folder: Path,
) -> None:
    """Buy the least of an instrument that is not held, with a far stop; find it, see it held, close it, see it booked.

    Refused on real money, and while an engine trades the account. Of a simulated account it is the copy in memory.
    """
    note, name = sheet.about(component), "round trip"
    is_simulated = isinstance(broker, SimBroker)
    with sheet.asked(component, name):
        if not is_simulated and getattr(broker, "is_practice", False) is not True:
            raise ConfigError(
                "refused: this account is real money, or does not say that it is not",
                hint="--round-trip is for practice accounts; nothing was sent",
            )
        if account is None or snapshot is None:
            note(name, "skip", "nothing is sent without an account and prices")
            return
        if not is_simulated and not is_open(now):
            note(name, "skip", "the market is closed; try again from Sunday 17:00 New York on")
            return
        taken = {*broker.get_positions(), *(order.instrument for order in broker.get_orders())}
        free = [one for one in instruments.values() if one.name not in taken]
        if not free:
            note(name, "skip", "every instrument is held or has an order: nothing is mixed with what is yours")
            return
        with JournalLock(folder / "journal.sqlite") if folder.is_dir() and not is_simulated else nullcontext():
            _Trip(sheet, component, broker, free[0], snapshot).go()


class _Trip:
    """One round trip in an instrument of which nothing is held."""

    def __init__(
        self, sheet: Sheet, component: str, broker: SimBroker | Broker, instrument: Instrument, snapshot: Snapshot
    ) -> None:
        self._sheet, self._component, self._note = sheet, component, sheet.about(component)
        self._broker, self._snapshot, self._name = broker, snapshot, instrument.name
        self._id = f"check-{datetime.now(UTC):%Y%m%d%H%M%S%f}"
        steps = (instrument.minimum_units / instrument.unit_step).to_integral_value(ROUND_CEILING)
        self._is_dealt = False
        self._units = max(steps, Decimal(1)) * instrument.unit_step

    def go(self) -> None:
        """Every step is a check. Whatever fails once the order is sent, the position is closed."""
        booked = self._broker.transactions(None)
        last = booked[-1].id if booked else None
        try:
            with self._sheet.asked(self._component, "round trip: order"):
                self._open()
            if self._is_dealt:
                with self._sheet.asked(self._component, "round trip: position"):
                    self._see_it_held()
        finally:
            by_hand = f"close {self._name} at the broker by hand, and look at its orders"
            with self._sheet.asked(self._component, "round trip: closed", by_hand):
                self._close()
        if self._is_dealt:
            with self._sheet.asked(self._component, "round trip: transactions"):
                self._see_it_booked(last)

    def _open(self) -> None:
        order = Order(client_id=self._id, instrument=self._name, units=self._units, stop_fraction=STOP)
        result = self._deal(order)
        self._is_dealt = True
        self._note(
            "round trip: order", "pass", f"{self._units:+f} {self._name} filled at {result.price}, found by its own id"
        )

    def _deal(self, order: Order) -> OrderResult:
        """Send an order once; what the venue says of it when it is asked by its client id."""
        with suppress(OrderOutcomeUnknown):  # the venue is asked below
            self._broker.place_market_order(order)
        found = None
        for _ in range(_LOOKS):
            found = self._broker.find_orders([order.client_id]).get(order.client_id)
            if found is not None and found.status not in _OPEN:
                break
            self._look()
        if found is None or found.status is not OrderStatus.FILLED:
            said = "not known there" if found is None else f"{found.status.value}: {found.reason or 'no reason given'}"
            raise BrokerError(f"order {order.client_id}, {order.units:+f} {order.instrument}, is {said}")
        return found

    def _look(self) -> None:
        """Let time go on: a simulated account fills at the next quote, a second later at the same price."""
        at = self._snapshot.at + timedelta(seconds=1)
        quotes = {pair: attrs.evolve(quote, as_of=at) for pair, quote in self._snapshot.quotes.items()}
        self._snapshot = Snapshot(at, quotes, self._snapshot.rates)
        self._broker.sync(self._snapshot)

    def _see_it_held(self) -> None:
        position = self._broker.get_positions().get(self._name)
        held = Decimal(0) if position is None else position.units
        if held != self._units:
            raise BrokerError(f"{held:+f} {self._name} is held, {self._units:+f} was bought")
        stops = [one for one in self._broker.get_orders() if one.client_id == f"stop-{self._name}"]
        if Capability.NATIVE_STOPS in self._broker.capabilities and not stops:
            raise BrokerError(f"there is no stop behind {self._name}", hint="do not trade with stops on this account")
        behind = f", its stop at {stops[0].price}" if stops else ""
        self._note("round trip: position", "pass", f"{held:+f} {self._name} is held{behind}")

    def _close(self) -> None:
        order = self._broker.find_orders([self._id]).get(self._id)
        if order is not None and order.status in _OPEN:
            self._broker.cancel_order(self._id)
        position = self._broker.get_positions().get(self._name)
        if position is not None:
            self._deal(
                Order(client_id=f"{self._id}-close", instrument=self._name, units=-position.units, is_reducing=True)
            )
        left = self._broker.get_positions().get(self._name)
        orders = [one.client_id for one in self._broker.get_orders() if one.instrument == self._name]
        if left is not None or orders:
            held = "nothing" if left is None else f"{left.units:+f}"
            raise BrokerError(f"{held} is held of {self._name} still, orders at work: {', '.join(orders) or 'none'}")
        self._note("round trip: closed", "pass", f"nothing of {self._name} is held or waits, as before")

    def _see_it_booked(self, last: str | None) -> None:
        fills = [t for t in self._broker.transactions(last) if t.kind == "fill" and t.instrument == self._name]
        units = [t.units for t in fills]
        if sum(units) or max(units, default=0) != self._units:
            raise BrokerError(f"the account's transactions have fills of {self._name} of {[str(u) for u in units]}")
        cost = sum((t.amount for t in fills), Decimal(0))
        self._note(
            "round trip: transactions", "pass", f"{len(fills)} fills booked, {cost:+f} {fills[0].currency} in all"
        )
