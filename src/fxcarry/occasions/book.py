"""What the transactions of an account make, and where its results of days came from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

import attrs

from fxcarry.conventions import NEW_YORK, session_end
from fxcarry.errors import MissingDataError
from fxcarry.gap import price_of
from fxcarry.journal.books import conversion
from fxcarry.model import Pair, Transaction, minor_digits

_LOG = logging.getLogger("fxcarry")
_DAY = timedelta(days=1)
_NOTHING = Decimal(0)

Mids = Mapping[Pair, Decimal]


@attrs.frozen(kw_only=True)
class Split:
    """Where a change of NAV came from, in account currency, to the minor unit; ``pnl`` is the change less ``flows``.

    ``other`` is what is left: rounding, and where the venue values a position otherwise than at mid. The parts add up
    to ``pnl`` exactly.
    """

    pnl: Decimal
    spot: Decimal
    carry: Decimal
    cost: Decimal
    translation: Decimal
    other: Decimal
    flows: Decimal

    def __add__(self, more: Split) -> Split:
        return Split(**{a.name: getattr(self, a.name) + getattr(more, a.name) for a in attrs.fields(Split)})


@attrs.frozen(kw_only=True)
class Day:
    """A finished trade date: measured at the look ``at``, ``nav`` then, the value of a ``unit`` then and at the
    measurement before (``was``), and the split of what came between the two. None where a price is missing.
    """

    date: date
    began: datetime
    at: datetime
    nav: Decimal
    unit: float
    was: float
    split: Split | None
    through: str


def last_finished(at: datetime) -> date:
    """The last trade date that has ended by ``at``."""
    day = at.astimezone(NEW_YORK).date()
    while day.weekday() > 4 or session_end(day) > at:
        day -= _DAY
    return day


class Book:
    """What the transactions make, and what came of it since it was last measured."""

    def __init__(self, currency: str, quotes: Callable[[datetime], Mids]) -> None:
        self.currency, self._quotes = currency, quotes
        self._minor = Decimal(1).scaleb(-minor_digits(currency))
        self.opening = _NOTHING  # cash that is in no transaction
        self.units: dict[str, Decimal] = {}
        self.opened_after: dict[str, str | None] = {}  # the last transaction while an instrument was flat
        self.through: str | None = None
        self._paid: dict[str, Decimal] = {}  # what is open of each instrument has cost, in quote currency
        self._cash: dict[str, Decimal] = {}
        self._factor, self._base = 1.0, _NOTHING  # a unit at the last flow, and NAV after it; 0 = not known
        self._is_untouched = True
        self._began: datetime | None = None
        self._nav = _NOTHING
        self._unit = 1.0
        self._held: dict[str, Decimal] = {}  # units when it was measured last, and their mid and conversion
        self._before: dict[str, tuple[Decimal, Decimal]] = {}
        self._paid_before: dict[str, Decimal] = {}
        self._priced: tuple[Mids, dict[str, tuple[Decimal, Decimal]]] = ({}, {})  # prices, and what was read of them
        self._fills: list[Transaction] = []
        self._booked: list[Transaction] = []

    def start(self, opening: Decimal) -> None:
        """Begin with cash that is in none of the transactions to come."""
        self.opening = self._base = self._nav = opening

    def add(self, t: Transaction) -> bool:
        """Book one; True where it takes a position to zero or to the other side."""
        is_closing = False
        if t.kind == "transfer":
            self._flow(t)
        self._cash[t.currency] = self._cash.get(t.currency, _NOTHING) + t.amount
        if t.kind == "fill" and t.price is not None:
            name, held = t.instrument, self.units.get(t.instrument, _NOTHING)
            now = held + t.units
            is_closing = bool(held) and held * now <= 0
            if not held:
                self.opened_after[name] = self.through
            realised = self._realised(t, held)
            self.units[name] = now
            self._paid[name] = self._paid.get(name, _NOTHING) + t.price * t.units + realised
            self._fills.append(t)
        elif t.kind != "fill":
            self._booked.append(t)
        self._is_untouched = self._is_untouched and t.kind == "transfer"
        self.through = t.id
        return is_closing

    def _realised(self, fill: Transaction, held: Decimal) -> Decimal:
        """The profit a fill booked, in quote currency: that of the average entry, of which the booking is the rounding;
        else the booking, where the venue matches lots in another way.
        """
        if not fill.amount:
            return _NOTHING
        per_quote = self._conversion_of(fill)
        if fill.price is not None and held * fill.units < 0:
            closed = max(-abs(held), -abs(fill.units)).copy_sign(held)
            exact = fill.price * closed - self._paid[fill.instrument] / held * closed
            if abs(exact * per_quote - fill.amount) <= self._minor * Decimal("0.501"):
                return exact
        return fill.amount / per_quote

    def _conversion_of(self, t: Transaction) -> Decimal:
        """Account currency per unit of the quote currency of a fill; its amount is in account currency."""
        if t.conversion is not None:
            return t.conversion
        return conversion(Pair.parse(t.instrument).quote, self.currency, self._quotes(t.at))

    def _flow(self, t: Transaction) -> None:
        """A deposit or withdrawal: the value of a unit stays, their number changes."""
        try:
            amount = t.amount * conversion(t.currency, self.currency, self._quotes(t.at))
            if self._is_untouched:
                self._base += amount
                self._nav += amount if self._began is None else 0
                return
            before = self.value(self._quotes(t.at))
        except MissingDataError:
            self._factor, self._base = 1.0, _NOTHING
            return
        if before > 0 and self._base > 0 and before + amount > 0:
            self._factor *= float(before / self._base)
            self._base = before + amount
        else:
            self._factor, self._base = 1.0, max(before + amount, _NOTHING)

    def value(self, mids: Mids) -> Decimal:
        """NAV at these prices, not rounded."""
        total = self.opening
        for currency, amount in self._cash.items():
            if amount:
                total += amount * conversion(currency, self.currency, mids)
        for name, units in self.units.items():
            if units:
                mid, per_quote = self._prices(name, mids)
                total += (units * mid - self._paid[name]) * per_quote
        return total

    def _prices(self, name: str, mids: Mids) -> tuple[Decimal, Decimal]:
        if self._priced[0] is not mids:
            self._priced = mids, {}
        known = self._priced[1]
        if name not in known:
            pair = Pair.parse(name)
            known[name] = price_of(pair, mids), conversion(pair.quote, self.currency, mids)
        return known[name]

    def unit(self, nav: Decimal) -> float:
        """The value of a unit of NAV."""
        if self._base * 100 <= nav:  # not known: what is left of nothing is the difference of two valuations
            self._factor, self._base = 1.0, nav
        return self._factor * float(nav / self._base)

    def measure(self, day: date, at: datetime, nav: Decimal, mids: Mids) -> Day:
        """What came since the last measurement, and begin anew."""
        began, unit = self._began or at, self.unit(nav)
        try:
            split = self._split(nav, mids)
        except MissingDataError as error:
            _LOG.warning("the result of %s cannot be split: %s", day, error)
            split = None
        found = Day(
            date=day, began=began, at=at, nav=nav, unit=unit, was=self._unit, split=split, through=self.through or ""
        )
        self.begin(at, nav, mids)
        return found

    def begin(self, at: datetime, nav: Decimal, mids: Mids) -> None:
        """Measure from here."""
        self._began, self._nav, self._unit = at, nav, self.unit(nav)
        self._held = {name: units for name, units in self.units.items() if units}
        self._before.clear()
        for name in self._held:
            try:
                self._before[name] = self._prices(name, mids)
            except MissingDataError:
                continue
        self._paid_before = dict(self._paid)
        self._fills.clear()
        self._booked.clear()

    def _split(self, nav: Decimal, mids: Mids) -> Split:
        parts = {"spot": _NOTHING, "carry": _NOTHING, "cost": _NOTHING, "translation": _NOTHING, "flows": _NOTHING}
        of_kind = {"financing": "carry", "commission": "cost", "fee": "cost", "transfer": "flows"}
        for t in self._booked:
            if t.kind in of_kind:
                parts[of_kind[t.kind]] += t.amount * conversion(t.currency, self.currency, mids)
        traded = {t.instrument for t in self._fills}
        for name in sorted(traded | self._held.keys()):
            mid, per_quote = self._prices(name, mids)
            moved, units = _NOTHING, self._held.get(name, _NOTHING)
            if units:
                if name not in self._before:
                    raise MissingDataError(f"no price of {name} at the beginning", hint="it is known from now on")
                mid_before, per_quote_before = self._before[name]
                moved = (mid - mid_before) * units
                open_before = units * mid_before - self._paid_before[name]
                parts["translation"] += open_before * (per_quote - per_quote_before)
            for t in self._fills:
                if t.instrument == name and t.price is not None:
                    at_mid = t.price if t.mid is None else t.mid
                    moved += (mid - at_mid) * t.units
                    parts["cost"] -= (t.price - at_mid) * t.units * per_quote
                    if t.amount:
                        parts["translation"] += t.amount * (1 - per_quote / self._conversion_of(t))
            parts["spot"] += moved * per_quote
        exact = {name: amount.quantize(self._minor) for name, amount in parts.items()}
        pnl = (nav - self._nav).quantize(self._minor) - exact["flows"]
        other = pnl - sum((exact[name] for name in parts if name != "flows"), _NOTHING)
        return Split(pnl=pnl, other=other, **exact)
