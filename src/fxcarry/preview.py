"""A plan: what a decision would do now, as one record that a person may look at and have carried out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs

MAX_AGE = timedelta(minutes=15)
"""A plan older than this is not carried out."""

MAX_MOVE = 0.0025
"""Nor one of which a price moved by more than this fraction since, ..."""

MAX_CHANGE = 0.01
"""... nor one of which an order would now be larger or smaller by more than this fraction."""


@attrs.frozen(kw_only=True)
class PlannedOrder:
    """One order of a plan: signed ``units``; ``notional`` and expected ``cost`` (both >= 0) in account currency."""

    instrument: str
    units: float
    is_reducing: bool
    notional: float
    cost: float


@attrs.frozen(kw_only=True)
class Preview:
    """What a decision ``at`` would do.

    ``held`` and ``planned`` are signed units by instrument, before and after the orders; ``current_weights`` and
    ``target_weights`` net exposures by currency as fractions of NAV, the second as the strategy wants them;
    ``verdicts`` what every rule says, with code and headroom; ``cost`` of the orders and ``carry_week``, what the
    planned book is expected to be paid in the seven days after (> 0 received), in account currency; ``mids`` are the
    prices.
    """

    at: datetime
    trading: str
    nav: float
    held: Mapping[str, float]
    planned: Mapping[str, float]
    current_weights: Mapping[str, float]
    target_weights: Mapping[str, float]
    orders: Sequence[PlannedOrder]
    verdicts: Sequence[Mapping[str, Any]]
    cost: float
    carry_week: float
    mids: Mapping[str, float]

    @property
    def id(self) -> str:
        """A name for exactly this plan."""
        text = json.dumps(self.to_dict(), sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As plain data; :meth:`from_dict` reads it."""
        values = attrs.asdict(self)
        return {**values, "at": self.at.isoformat()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preview:
        """The plan that :meth:`to_dict` wrote."""
        orders = [PlannedOrder(**order) for order in values["orders"]]
        return cls(**{**values, "at": datetime.fromisoformat(values["at"]), "orders": orders})

    def moved(self, at: datetime, trading: str, held: Mapping[str, float], mids: Mapping[str, float]) -> str:
        """What is no longer as it was when the plan was made, "" where nothing is."""
        if not timedelta(0) <= at - self.at <= MAX_AGE:
            return f"it was made at {self.at:%Y-%m-%d %H:%M:%S} UTC, more than {MAX_AGE} from now"
        if trading != self.trading:
            return f"trading was {self.trading} and is {trading}"
        for name in sorted({*held, *self.held}):
            was, now = self.held.get(name, 0.0), held.get(name, 0.0)
            if was != now:
                return f"{name}: {was:,.0f} units were held, now {now:,.0f}"
        for name, was in self.mids.items():
            now = mids.get(name, float("nan"))
            if not abs(now / was - 1) <= MAX_MOVE:
                return f"{name} moved from {was:.6g} to {now:.6g}"
        return ""

    def differs(self, orders: Mapping[str, Decimal]) -> str:
        """In what the orders of now are not the plan's, "" where they are."""
        wanted: dict[str, float] = {}
        for order in self.orders:
            wanted[order.instrument] = wanted.get(order.instrument, 0.0) + order.units
        for name in sorted({*wanted, *orders}):
            was, now = wanted.get(name, 0.0), float(orders.get(name, Decimal(0)))
            if abs(now - was) > max(MAX_CHANGE * abs(was), 1.0):
                return f"{name}: the plan has {was:+,.0f} units, the rules now give {now:+,.0f}"
        return ""
