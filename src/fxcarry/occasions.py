"""What a person is told besides what goes wrong: trades, closed positions, milestones, tonight's roll, digests.

All of it is made from the journal and the look in hand, so that a restart forgets nothing and tells nothing twice.
Amounts are in account currency, > 0 received: a cost that was paid is below zero. A period's change of NAV is split as
:func:`fxcarry.ledger.attribute` splits a backtest's, and its parts add up to the change to the cent.

Performance is that of a unit of NAV: it starts at 1, and a deposit or withdrawal changes the number of units, not
their value (the time-weighted return of the GIPS standards, valued at each flow).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs

from fxcarry.alerts import AlertKind, Alerts, Digest, Occasions
from fxcarry.conventions import NEW_YORK, holidays_of, session_end, trade_date
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.gap import price_of
from fxcarry.journal.books import conversion, tax_lots
from fxcarry.journal.records import Journal
from fxcarry.model import Pair, Snapshot, Transaction, minor_digits

_LOG = logging.getLogger("fxcarry")
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_NOTHING = Decimal(0)
_SLACK = 1e-9  # of a return, so that a level that is reached exactly counts as reached

Mids = Mapping[Pair, Decimal]


@attrs.frozen(kw_only=True)
class Night:
    """A position and the next 17:00 New York it is held over.

    ``value`` is its signed notional in account currency, ``days`` the days of financing, ``amount`` what it is expected
    to be paid, > 0 received. None = not known.
    """

    instrument: str
    units: float
    value: float
    days: int | None
    amount: float | None


@attrs.frozen(kw_only=True)
class Look:
    """A look that is over and written: what can be told from it.

    ``since`` is the look before, None at the first of the journal; ``fresh`` are the transactions imported at this one.
    What takes time is a function that is called where it is needed: ``nights`` gives what is held and what the end of a
    trade date is expected to pay, ``headroom`` the distance of each risk rule to its limit at the last decision,
    ``next_rebalance`` the first decision day from a trade date on.
    """

    at: datetime
    since: datetime | None
    nav: float
    snapshot: Snapshot
    fresh: Sequence[Transaction]
    nights: Callable[[date], Sequence[Night]]
    headroom: Callable[[], Mapping[str, float]]
    next_rebalance: Callable[[date], date | None]


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


def next_weekday(day: date) -> date:
    """The trade date after one."""
    day += _DAY
    while day.weekday() > 4:
        day += _DAY
    return day


class _Book:
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


class Teller:
    """Tells, through ``alerts``, what the looks of one engine bring besides what goes wrong."""

    def __init__(self, journal: Journal, alerts: Alerts, currency: str, wanted: Occasions) -> None:
        self.journal, self.alerts, self.currency, self.wanted = journal, alerts, currency, wanted
        self._minor = Decimal(1).scaleb(-minor_digits(currency))
        self._book: _Book | None = None
        self._days: list[Day] = []  # of this month, and of this week
        self._told: set[tuple[str, str]] = set()  # what a period was told of: (what, its last day)
        self._high, self._level = 1.0, 0.0
        self._roll: tuple[datetime, datetime] | None = None  # the hour before the next roll

    def forget(self) -> None:
        """Read the journal again at the next look: memory may be ahead of it."""
        self._book = None

    def look(self, look: Look, *, is_day_over: bool) -> None:
        """Tell what this look brings; ``is_day_over``: a 17:00 New York has come since the look before.

        Nothing is raised: what cannot be told is a line in the log.
        """
        if self._book is not None and not look.fresh and not is_day_over and not self._is_rolling(look.at):
            return
        try:
            self._look(look, is_day_over)
        except Exception as error:  # what is told never stops the engine
            _LOG.exception("what happened at %s could not be told: %s", look.at, error)
            self.forget()

    def _is_rolling(self, at: datetime) -> bool:
        if self._roll is None or at >= self._roll[1]:
            end = session_end(trade_date(at))
            self._roll = end - _HOUR, end
        return self.wanted.rollover != "off" and self._roll[0] <= at

    def _look(self, look: Look, is_day_over: bool) -> None:
        mids: Mids = {pair: quote.mid for pair, quote in look.snapshot.quotes.items()}
        nav = self._money(look.nav)
        if self._book is None:
            book, closed = self._read(look, nav, mids)
        else:
            book, closed = self._book, {}
            for t in look.fresh:
                if book.add(t):
                    closed.setdefault(t.instrument, book.opened_after[t.instrument])
        if look.since is not None:  # what comes with the first look is the past of the account
            self._tell_trades(look, mids)
            for name, since in sorted(closed.items()):
                self._tell_closed(look, name, since)
        finished = last_finished(look.at)
        if is_day_over:
            self._keep(book.measure(finished, look.at, nav, self._all_mids(book, look.at, mids)))
        if self._days and self._days[-1].date == finished:
            self._tell_day(look, self._days[-1])
        if self._is_rolling(look.at):
            self._tell_roll(look)

    # -- from the journal ------------------------------------------------------------------------------------------

    def _quotes(self, by: datetime) -> Mids:
        return {pair: quote.mid for pair, quote in self.journal.quotes(by=by).items()}

    def _all_mids(self, book: _Book, at: datetime, mids: Mids) -> Mids:
        """The mids of a look, with those on record for what it does not quote, where the book needs them."""
        try:
            book.value(mids)
        except MissingDataError:
            return {**self._quotes(at), **mids}
        return mids

    def _read(self, look: Look, nav: Decimal, mids: Mids) -> tuple[_Book, dict[str, str | None]]:
        """The book as of this look, measured at each day's end of this month and of this week that was looked at; and
        of the instruments of which a position was closed at this look, the last transaction while they were flat.
        """
        transactions = self.journal.transactions()
        known = _Book(self.currency, self._quotes)
        for t in transactions:
            known.add(t)
        book = _Book(self.currency, self._quotes)
        mids = self._all_mids(known, look.at, mids)
        book.start(self._money(Decimal(str(look.nav)) - known.value(mids)))
        self._remember()
        self._days, self._book = [], book
        places, ids = {t.id: n for n, t in enumerate(transactions, 1)}, {t.id for t in look.fresh}
        place, is_begun, closed = 0, False, dict[str, str | None]()

        def add_until(end: int) -> None:
            nonlocal place
            for t in transactions[place:end]:
                if book.add(t) and t.id in ids:
                    closed.setdefault(t.instrument, book.opened_after[t.instrument])
            place = max(place, end)

        for day, at, stated, through in self._marks(look.since):
            late = (n for n, t in enumerate(transactions[place:], place) if t.at > at)
            add_until(next(late, len(transactions)) if through is None else places.get(through, 0))
            then = self._quotes(at)
            if not then:  # before the first look: what was traded by then is the account's past
                traded = next((t for t in transactions[place:] if t.kind != "transfer"), None)
                if traded is not None and not self._quotes(traded.at):
                    continue
            try:
                worth = self._money(book.value(then)) if stated is None else stated
            except MissingDataError:
                continue
            if then and is_begun and day is not None:
                self._keep(book.measure(day, at, worth, then))
            elif not (is_begun and day is None):
                book.begin(at, worth, then)
            is_begun = True
        add_until(len(transactions))
        if not is_begun:
            book.begin(look.at, nav, mids)
        return book, closed

    def _marks(self, since: datetime | None) -> list[tuple[date | None, datetime, Decimal | None, str | None]]:
        """The day ends by ``since``, from the last before the month that its week begins in: when they were measured,
        and NAV and the last transaction counted where they were told; then ``since`` itself, without a date, to begin
        from where there was no price before.
        """
        if since is None:
            return []
        told = {
            alert.fields["date"]: alert
            for alert in self.journal.alerts_of(AlertKind.DIGEST)
            if alert.fields.get("period") == "daily" and alert.at <= since
        }
        last = last_finished(since)
        first = (last - last.weekday() * _DAY).replace(day=1) - _DAY
        while first.weekday() > 4:
            first -= _DAY
        found: list[tuple[date | None, datetime, Decimal | None, str | None]] = []
        day = first
        while day <= last:
            alert = told.get(day.isoformat())
            if alert is None:
                found.append((day, session_end(day), None, None))
            else:
                found.append((day, alert.at, self._money(alert.fields["nav"]), str(alert.fields["through"])))
            day = next_weekday(day)
        return [*found, (None, since, None, None)]

    def _remember(self) -> None:
        """What was told, as the journal has it."""
        self._high, self._level = 1.0, 0.0
        self._told = set()
        for alert in self.journal.alerts_of(AlertKind.MILESTONE):
            self._high = max(self._high, float(alert.fields.get("high") or 0.0))
            self._level = float(alert.fields.get("level", self._level))
            self._told.add(("month", str(alert.fields.get("month"))))
        for alert in self.journal.alerts_of(AlertKind.DIGEST):
            self._told.add((str(alert.fields.get("period")), str(alert.fields.get("date"))))
        for alert in self.journal.alerts_of(AlertKind.ROLLOVER_TONIGHT):
            self._told.add(("roll", str(alert.fields.get("roll_date"))))

    def _is_first(self, what: str, when: str) -> bool:
        """Whether it was not told yet; from now on it was."""
        is_first = (what, when) not in self._told
        self._told.add((what, when))
        return is_first

    def _keep(self, day: Day) -> None:
        first = (day.date.replace(day=1) - _DAY).replace(day=1)  # the month before, whose end nobody may have looked at
        self._days = [*(one for one in self._days if one.date >= first), day]

    def _money(self, amount: Any) -> Decimal:
        return Decimal(str(amount)).quantize(self._minor)

    # -- trades ----------------------------------------------------------------------------------------------------

    def _tell_trades(self, look: Look, mids: Mids) -> None:
        fills = [t for t in look.fresh if t.kind == "fill" and t.price is not None]
        if not fills:
            return
        lines, trades, notional, cost, unknown = [], [], _NOTHING, _NOTHING, 0
        for t in fills:
            assert t.price is not None
            per_quote = t.conversion
            if per_quote is None:
                per_quote = conversion(Pair.parse(t.instrument).quote, self.currency, mids)
            notional += abs(t.units) * t.price * per_quote
            text = f"{'bought' if t.units > 0 else 'sold'} {_units(abs(t.units))} {t.instrument} at {t.price:.6g}"
            if t.mid is None:
                unknown += 1
                text += ", cost against the mid not known"
            else:
                paid = -(t.price - t.mid) * t.units * per_quote
                cost += paid
                text += f", cost {self._say(paid)}"
            lines.append(text)
            trades.append({"instrument": t.instrument, "units": float(t.units), "price": float(t.price)})
        fields = {
            "trades": trades,
            "notional": self._number(notional),
            "cost": None if unknown else self._number(cost),
            "currency": self.currency,
        }
        if len(lines) > 1:
            total = f", cost {self._say(cost)}" if not unknown else ""
            lines.insert(0, f"{len(lines)} trades, {self._amount(notional)} {self.currency} notional{total}")
        self.alerts.tell(look.at, AlertKind.TRADE_EXECUTED, "info", "\n".join(lines), fields=fields)

    def _tell_closed(self, look: Look, name: str, since: str | None) -> None:
        """What came of the lots of an instrument that were closed at this look, first in first out; ``since`` is the
        last transaction while it was flat.
        """
        here = [self._converted(t) for t in self.journal.transactions(since) if t.instrument == name]
        by_id = {t.id: t for t in here}
        ids = {t.id for t in look.fresh}
        lots = [lot for lot in tax_lots(here).lots if lot.close_id in ids]
        if not lots:
            return
        spot = carry = cost = _NOTHING
        is_known = True
        for lot in lots:
            first, last = by_id[lot.open_id], by_id[lot.close_id]
            carry += lot.financing
            spread = _NOTHING
            if first.mid is None or last.mid is None or last.conversion is None:
                is_known = False
            else:
                at_mid = (last.mid - first.mid) * lot.units * last.conversion
                spread = lot.realised - at_mid
            spot += lot.realised - spread
            cost += spread + lot.commission
        parts = {"spot": self._money(spot), "carry": self._money(carry), "cost": self._money(cost)}
        total = sum(parts.values(), _NOTHING)
        units = sum((lot.units for lot in lots), _NOTHING)
        opened = min(lot.opened_at for lot in lots)
        held = look.at - opened
        split = ", ".join(f"{what} {self._say(amount, unit=False)}" for what, amount in parts.items())
        note = "" if is_known else "; a mid is not known, so that its spread is in spot"
        message = (
            f"{'long' if units > 0 else 'short'} {_units(abs(units))} {name} closed: {self._say(total)} ({split})\n"
            f"held {_span(held)}, since {opened.astimezone(UTC):%Y-%m-%d %H:%M} UTC{note}"
        )
        fields = {
            "instrument": name,
            "units": float(units),
            "opened": opened,
            "held": _span(held),
            "profit": float(total),
            **{what: float(amount) for what, amount in parts.items()},
            "currency": self.currency,
        }
        self.alerts.tell(look.at, AlertKind.POSITION_CLOSED, "info", message, fields=fields)

    def _converted(self, t: Transaction) -> Transaction:
        """A booking in account currency, at the prices of its instant."""
        if t.currency == self.currency or t.kind == "fill":
            return t
        return attrs.evolve(t, amount=t.amount * conversion(t.currency, self.currency, self._quotes(t.at)))

    # -- a day is over ---------------------------------------------------------------------------------------------

    def _tell_day(self, look: Look, day: Day) -> None:
        self._tell_milestones(look, day)
        for period in self.wanted.digest or ():
            if period == "weekly" and day.date.weekday() != 4:
                continue
            if self._is_first(period, day.date.isoformat()):
                self._tell_digest(look, day, period)

    def _tell_milestones(self, look: Look, day: Day) -> None:
        said: list[str] = []
        fields: dict[str, Any] = {}
        gain, step = day.unit - 1, self.wanted.milestone_step
        if step:
            reached = _reached(gain, self._level, step)
            if reached != self._level:
                said.append(f"{'up' if reached > self._level else 'down'} past {_pct(reached)}")
                self._level = fields["level"] = reached
        high = self.wanted.new_high_step
        if high and day.unit >= self._high * (1 + high) - _SLACK:
            said.append("a new high")
            self._high = fields["high"] = day.unit
        if said:
            said = [f"{' and '.join(said)}: {_pct(gain)} since the start, NAV {self._amount(day.nav)} {self.currency}"]
            fields["return"] = gain
        if self.wanted.month_end:
            said += self._month(day, fields)
        if said:
            fields |= {"date": day.date.isoformat(), "nav": float(day.nav), "currency": self.currency}
            self.alerts.tell(look.at, AlertKind.MILESTONE, "info", "\n".join(said), fields=fields)

    def _month(self, day: Day, fields: dict[str, Any]) -> list[str]:
        """The month that ends with this day; else the one before, where nobody looked at its end."""
        this = f"{day.date:%Y-%m}"
        known = {f"{one.date:%Y-%m}" for one in self._days}
        over = this if f"{next_weekday(day.date):%Y-%m}" != this else max(known - {this}, default="")
        if not over or not self._is_first("month", over):
            return []
        days = [one for one in self._days if f"{one.date:%Y-%m}" == over]
        gain, total = days[-1].unit / days[0].was - 1, _sum(days)
        fields |= {"month": over, "month_return": gain, **self._parts(total)}
        return [f"{over}: {_pct(gain)}: {self._split_text(total)}"]

    def _parts(self, split: Split | None) -> dict[str, float | None]:
        names = ("pnl", "spot", "carry", "cost", "translation", "other", "flows")
        return {name: None if split is None else float(getattr(split, name)) for name in names}

    def _split_text(self, split: Split | None) -> str:
        if split is None:
            return "where it came from is not known, a price is missing"
        shown = [f"{name} {self._say(getattr(split, name), unit=False)}" for name in ("spot", "carry", "cost")]
        rest = split.translation + split.other
        shown += [f"translation and rounding {self._say(rest, unit=False)}"] if rest else []
        shown += [f"deposits less withdrawals {self._say(split.flows, unit=False)}"] if split.flows else []
        return ", ".join(shown)

    # -- tonight ---------------------------------------------------------------------------------------------------

    def _tell_roll(self, look: Look) -> None:
        day = trade_date(look.at)
        if ("roll", day.isoformat()) in self._told:
            return
        nights = look.nights(day)
        if not nights:
            return
        self._told.add(("roll", day.isoformat()))
        self._roll = session_end(day), session_end(day)  # nothing more before it
        total = _total(nights)
        is_notable = total is None or total < 0 or any(n.days is None or n.days > 1 for n in nights)
        if self.wanted.rollover == "notable" and not is_notable:
            return
        lines = [f"tonight's roll: {self._maybe(total)} for {_days_text(nights)}"]
        lines += [
            f"{n.instrument} {_units(n.units)}: {self._maybe(n.amount)}, "
            + ("days not known" if n.days is None else f"{n.days} day{'s' if n.days != 1 else ''}")
            for n in nights
        ]
        fields = {
            "roll_date": day.isoformat(),
            "roll_days": {n.instrument: n.days for n in nights},
            "tonight": None if total is None else self._number(total),
            "amount": {n.instrument: None if n.amount is None else self._number(n.amount) for n in nights},
            "currency": self.currency,
        }
        self.alerts.tell(look.at, AlertKind.ROLLOVER_TONIGHT, "info", "\n".join(lines), fields=fields)

    # -- digests ---------------------------------------------------------------------------------------------------

    def _tell_digest(self, look: Look, day: Day, period: Digest) -> None:
        monday = day.date - day.date.weekday() * _DAY
        days = [day] if period == "daily" else [one for one in self._days if one.date >= monday]
        split, gain = _sum(days), day.unit / days[0].was - 1
        coming = trade_date(look.at)
        nights = look.nights(coming)
        total = _total(nights)
        fields: dict[str, Any] = {
            "period": period,
            "date": day.date.isoformat(),
            "start": days[0].began,
            "end": day.at,
            "nav": float(day.nav),
            **self._parts(split),
            "return": gain,
            "return_since_start": day.unit - 1,
            "positions": [
                {
                    "instrument": n.instrument,
                    "units": n.units,
                    "value": self._number(n.value),
                    "weight": n.value / look.nav,
                }
                for n in nights
            ],
            "headroom": {rule: room for rule, room in look.headroom().items() if math.isfinite(room)},
            "tonight": None if nights and total is None else self._number(total or 0.0),
            "roll_date": coming.isoformat(),
            "roll_days": {n.instrument: n.days for n in nights},
            "next": self._next(look, coming, nights),
            "currency": self.currency,
            "through": day.through,
        }
        if period == "weekly":
            fields["days"] = [
                {
                    "date": one.date.isoformat(),
                    "nav": float(one.nav),
                    "return": one.unit / one.was - 1,
                    **self._parts(one.split),
                }
                for one in days
            ]
        message = self._digest_text(fields, split, nights)
        self.alerts.tell(look.at, AlertKind.DIGEST, "info", message, fields=fields)

    def _next(self, look: Look, coming: date, nights: Sequence[Night]) -> dict[str, Any]:
        """The dates ahead: next decision, next roll of more than a day, next holiday of a held currency, weekend."""
        found: dict[str, Any] = {}
        due = look.next_rebalance(coming)
        if due is not None:
            found["rebalance"] = due.isoformat()
        if nights:
            day = coming
            for _ in range(10):
                ahead = nights if day == coming else look.nights(day)
                if any(n.days is not None and n.days > 1 for n in ahead):
                    found["multi_day_roll"] = day.isoformat()
                    break
                day = next_weekday(day)
            held = sorted({c for n in nights for c in Pair.parse(n.instrument)})
            closed = []
            for currency in held:
                try:
                    closed += [(d, currency) for d in holidays_of(currency) if coming <= d <= coming + 7 * _DAY]
                except MissingDataError:
                    continue
            if closed:
                first = min(closed)[0]
                found["holiday"] = f"{first} {', '.join(c for d, c in sorted(closed) if d == first)}"
        friday = coming + (4 - coming.weekday()) * _DAY
        found["weekend_close"] = f"{session_end(friday):%Y-%m-%d %H:%M} UTC"
        return found

    def _digest_text(self, fields: Mapping[str, Any], split: Split | None, nights: Sequence[Night]) -> str:
        span = {"daily": "today", "weekly": "this week"}[fields["period"]]
        count = len(nights)
        held = f"{count} position{'s' if count != 1 else ''}" if count else "no position"
        ahead = (
            f"; next roll {fields['roll_date']} {self._maybe(fields['tonight'], unit=False)} for {_days_text(nights)}"
            if nights
            else ""
        )
        lines = [
            f"{fields['date']}: NAV {self._amount(fields['nav'])} {self.currency}, {_pct(fields['return'])} {span}: "
            f"{self._split_text(split)}; {held}{ahead}"
        ]
        for one in fields.get("days", ()):
            known = [name for name in ("pnl", "spot", "carry", "cost") if one[name] is not None]
            parts = ", ".join(f"{name} {self._say(one[name], unit=False)}" for name in known)
            weekday = date.fromisoformat(one["date"])
            lines.append(f"{weekday:%a} {weekday}: {_pct(one['return'])}: {parts or 'not known'}")
        lines += [
            f"{n.instrument} {_units(n.units)}: {self._say(n.value)}, next roll {self._maybe(n.amount, unit=False)}"
            for n in nights
        ]
        room = ", ".join(f"{rule} {value:.4g}" for rule, value in fields["headroom"].items())
        lines += [f"headroom: {room}"] if room else []
        labels = {
            "rebalance": "next rebalance",
            "multi_day_roll": "next roll of more than a day",
            "holiday": "holiday",
            "weekend_close": "closes for the weekend",
        }
        lines.append("; ".join(f"{labels[name]} {value}" for name, value in fields["next"].items()))
        return "\n".join(lines)

    # -- words -----------------------------------------------------------------------------------------------------

    def _number(self, amount: Any) -> float:
        return float(self._money(amount))

    def _amount(self, amount: Any) -> str:
        return f"{self._money(amount):,f}"

    def _say(self, amount: Any, *, unit: bool = True) -> str:
        said = f"{self._money(amount) + 0:+,f}"
        return f"{said} {self.currency}" if unit else said

    def _maybe(self, amount: Any, *, unit: bool = True) -> str:
        return "an amount that is not known" if amount is None else self._say(amount, unit=unit)


def _sum(days: Sequence[Day]) -> Split | None:
    splits = [day.split for day in days if day.split is not None]
    if len(splits) < len(days):
        return None
    total = splits[0]
    for split in splits[1:]:
        total += split
    return total


def _total(nights: Sequence[Night]) -> float | None:
    """The sum, None where a part of it is not known."""
    amounts = [n.amount for n in nights if n.amount is not None]
    return None if len(amounts) < len(nights) else math.fsum(amounts)


def _days_text(nights: Sequence[Night]) -> str:
    days = {n.days for n in nights}
    if None in days:
        return "days that are not all known"
    least, most = min(d for d in days if d is not None), max(d for d in days if d is not None)
    return f"{most} day{'s' if most != 1 else ''}" if least == most else f"{least} to {most} days"


def _reached(gain: float, level: float, step: float) -> float:
    """The multiple of ``step`` that counts as reached at a return of ``gain``, where ``level`` was the last one told.

    It is told again only after the one above or below it was, so that a return that swings about it says nothing.
    """
    place = round(level / step)
    if gain >= (place + 1) * step - _SLACK:
        return math.floor(gain / step + _SLACK) * step
    if gain <= (place - 1) * step + _SLACK:
        return math.ceil(gain / step - _SLACK) * step
    return level


def _units(units: Any) -> str:
    return f"{Decimal(str(units)).normalize() + 0:,f}"


def _pct(fraction: float) -> str:
    return f"{100 * fraction + 0.0:+.2f} %"


def _span(held: timedelta) -> str:
    if held < 2 * _DAY:
        return f"{held / _HOUR:.1f} hours"
    return f"{held / _DAY:.1f} days"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;color:#1a1a1a}
h1{font-size:1.3em}h2{font-size:1.05em;margin-top:1.6em}table{border-collapse:collapse;width:100%}
th,td{text-align:right;padding:.25em .6em;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}
</style></head><body><h1>{{ title }}</h1>
{% for heading, head, rows in tables %}<h2>{{ heading }}</h2><table>
{% if head %}<thead><tr>{% for cell in head %}<th>{{ cell }}</th>{% endfor %}</tr></thead>{% endif %}
<tbody>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
{% endfor %}<p>For education only, no advice; you can lose all of your money and more.</p></body></html>
"""


def report_html(fields: Mapping[str, Any]) -> str:
    """A digest as a page of its own, from the fields of its alert: nothing is loaded, nothing runs.

    A part that is not known says so. ConfigError for what are not the fields of a digest.
    """
    from jinja2 import Environment

    if not {"period", "nav", "currency"} <= fields.keys():
        raise ConfigError("these are not the fields of a digest", hint="give Alert.fields of an alert digest")

    currency, parts = str(fields["currency"]), ("spot", "carry", "cost", "translation", "other")
    digits = minor_digits(currency)

    def money(value: Any) -> str:
        return "not known" if value is None else f"{value + 0.0:+,.{digits}f}"

    result = [("change", money(fields.get("pnl")), _pct(fields["return"]))]
    result += [(part, money(fields.get(part)), "") for part in parts]
    result += [("deposits less withdrawals", money(fields.get("flows")), "")]
    positions = [
        (p["instrument"], _units(p["units"]), money(p["value"]), _pct(p["weight"])) for p in fields["positions"]
    ]
    tonight = [("expected", f"{money(fields.get('tonight'))} {currency}")]
    tonight += [
        (name, "days not known" if days is None else f"{days} day{'s' if days != 1 else ''}")
        for name, days in fields.get("roll_days", {}).items()
    ]
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = [
        (f"Result in {currency}", (), result),
        ("Positions", ("instrument", "units", f"value {currency}", "of NAV"), positions),
        (f"Roll of {fields.get('roll_date', '')}", (), tonight),
        ("Headroom", (), [(rule, f"{room:.4g}") for rule, room in fields.get("headroom", {}).items()]),
        ("Ahead", (), [(what.replace("_", " "), str(when)) for what, when in fields.get("next", {}).items()]),
    ]
    if fields.get("days"):
        rows = [
            (d["date"], _pct(d["return"]), *(money(d[part]) for part in ("pnl", "spot", "carry", "cost")))
            for d in fields["days"]
        ]
        tables.insert(1, ("Days", ("date", "return", "change", "spot", "carry", "cost"), rows))
    title = f"{fields['period']} digest {fields['date']}: NAV {fields['nav']:,.{digits}f} {currency}"
    template = Environment(autoescape=True).from_string(_PAGE)
    return template.render(title=title, tables=[table for table in tables if table[2]])
