"""Does the venue's account agree with the book that its own transactions make? Positions over the union of instruments,
and cash by currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import attrs

from fxcarry.model import Account, OrderResult, OrderStatus, Position, Transaction, minor_digits

STOP = "stop-"
"""What the client id of a protective stop, and of the fill it made, begins with."""


@attrs.frozen
class Difference:
    """One instrument in which the book and the venue do not agree, in signed units."""

    instrument: str
    booked: Decimal
    held: Decimal

    def __str__(self) -> str:
        return f"{self.instrument}: {self.booked:,f} by the journal, {self.held:,f} at the venue"


class Reconciliation:
    """The book of one account, kept from its transactions, those it begins with and those given to :meth:`book`, in
    their order. One that is told again, by its id, is not booked again.
    """

    def __init__(self, transactions: Iterable[Transaction] = ()) -> None:
        self.units: dict[str, Decimal] = {}
        self._booked: set[str] = set()
        self._moved: dict[str, Decimal] = {}  # cash booked since the last look at balances
        self._balances: Mapping[str, Decimal] | None = None
        self.book(transactions)

    def book(self, transactions: Iterable[Transaction]) -> None:
        """Add transactions to the book."""
        for one in transactions:
            if one.id in self._booked:
                continue
            self._booked.add(one.id)
            if one.kind == "fill":
                self.units[one.instrument] = self.units.get(one.instrument, Decimal(0)) + one.units
            self._moved[one.currency] = self._moved.get(one.currency, Decimal(0)) + one.amount

    def differences(self, positions: Mapping[str, Position]) -> list[Difference]:
        """Where the venue's positions are not the book's, by name."""
        names = sorted({*self.units, *positions})
        none = Decimal(0)
        both = [(n, self.units.get(n, none), positions[n].units if n in positions else none) for n in names]
        return [Difference(name, booked, held) for name, booked, held in both if booked != held]

    def unexplained_cash(self, account: Account) -> dict[str, Decimal]:
        """By currency: how much each balance moved since the last call beyond what was booked; only what is not zero.

        The first call only remembers. What is unexplained is told once: the next call measures from there.
        """
        before, moved = self._balances, self._moved
        self._balances, self._moved = dict(account.balances), {}
        if before is None:
            return {}
        found = {}
        for currency in sorted({*before, *account.balances, *moved}):
            none = Decimal(0)
            gap = account.balances.get(currency, none) - before.get(currency, none) - moved.get(currency, none)
            if abs(gap) >= Decimal(1).scaleb(-minor_digits(currency)):
                found[currency] = gap
        return found


def missing_stops(
    positions: Mapping[str, Position], orders: Sequence[OrderResult], fraction: float
) -> dict[str, Decimal]:
    """The price at which each open position wants a stop that it does not have.

    A position has its stop where an order whose client id begins with ``stop-`` works at a price at most ``fraction``
    (and a thousandth of it) from the average entry, on the losing side.
    """
    kept: dict[str, Decimal] = {
        o.instrument: o.price
        for o in orders
        if o.client_id.startswith(STOP) and o.status is OrderStatus.WORKING and o.price is not None
    }
    wanted = {}
    for name, position in positions.items():
        if not position.units:
            continue
        side = 1 if position.units > 0 else -1
        level = position.average_price * (1 - side * Decimal(str(fraction)))
        slack = position.average_price * Decimal(str(fraction)) / 1000
        if name not in kept or side * (level - kept[name]) > slack:
            wanted[name] = level
    return wanted
