"""Lots of one position, first in first out: what a close realises, and what is left at which price.

Open profit and loss does not depend on how lots are matched: what first-in-first-out realises more than the average
price would is open profit less, until the position is flat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Generic, Literal, TypeVar, cast

Number = TypeVar("Number", float, Decimal)

Matching = Literal["average", "fifo"]
"""What a partial close realises its profit against: the average entry of the position, or its oldest lots."""

MATCHINGS: tuple[Matching, ...] = ("average", "fifo")


class OpenLots(Generic[Number]):
    """The lots of one instrument as (signed units, price), oldest first; all of one sign.

    Exact where units are whole numbers or Decimal.
    """

    def __init__(self, lots: Iterable[tuple[Number, Number]] = ()) -> None:
        self._lots: deque[tuple[Number, Number]] = deque(lots)

    def __len__(self) -> int:
        return len(self._lots)

    def __iter__(self) -> Iterator[tuple[Number, Number]]:
        return iter(self._lots)

    def trade(self, units: Number, price: Number) -> Number:
        """Close the oldest lots of the other sign against signed ``units`` and open a lot with what is left of them.

        Returns the profit realised, in quote currency: (price − entry) × units of each lot closed, by its sign.
        """
        lots, left, realized = self._lots, units, units * 0
        while left and lots and lots[0][0] * left < 0:
            held, entry = lots[0]
            if abs(held) <= abs(left):
                part = held
                lots.popleft()
            else:
                part = -left
                lots[0] = (held - part, entry)
            realized += (price - entry) * part
            left += part
        if left:
            lots.append((left, price))
        return realized

    @property
    def cost(self) -> Number:
        """Σ units × price, in quote currency; < 0 of what was sold."""
        return cast(Number, sum(units * price for units, price in self._lots))

    @property
    def average(self) -> Number:
        """The average price of what is open; ZeroDivisionError where nothing is."""
        return self.cost / sum(units for units, _ in self._lots)
