"""What the looks of an engine bring besides what goes wrong, told from the journal."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs

from fxcarry.alerts import AlertKind, Alerts, Digest, Occasions
from fxcarry.conventions import holidays_of, next_weekday, session_end, trade_date
from fxcarry.errors import MissingDataError
from fxcarry.journal.books import conversion, tax_lots
from fxcarry.journal.records import Journal
from fxcarry.model import Pair, Snapshot, Transaction, minor_digits
from fxcarry.occasions.book import Book, Day, Mids, Split, last_finished
from fxcarry.occasions.page import percent, room_text, units_text

_LOG = logging.getLogger("fxcarry")
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_NOTHING = Decimal(0)
_SLACK = 1e-9  # of a return, so that a level that is reached exactly counts as reached


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
    headroom: Callable[[], Mapping[str, tuple[float, str]]]
    next_rebalance: Callable[[date], date | None]


class Teller:
    """Tells, through ``alerts``, what the looks of one engine bring besides what goes wrong."""

    def __init__(self, journal: Journal, alerts: Alerts, currency: str, wanted: Occasions) -> None:
        self.journal, self.alerts, self.currency, self.wanted = journal, alerts, currency, wanted
        self._minor = Decimal(1).scaleb(-minor_digits(currency))
        self._book: Book | None = None
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

    def _all_mids(self, book: Book, at: datetime, mids: Mids) -> Mids:
        """The mids of a look, with those on record for what it does not quote, where the book needs them."""
        try:
            book.value(mids)
        except MissingDataError:
            return {**self._quotes(at), **mids}
        return mids

    def _read(self, look: Look, nav: Decimal, mids: Mids) -> tuple[Book, dict[str, str | None]]:
        """The book as of this look, measured at each day's end of this month and of this week that was looked at; and
        of the instruments of which a position was closed at this look, the last transaction while they were flat.
        """
        transactions = self.journal.transactions()
        known = Book(self.currency, self._quotes)
        for t in transactions:
            known.add(t)
        book = Book(self.currency, self._quotes)
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
            text = f"{'bought' if t.units > 0 else 'sold'} {units_text(abs(t.units))} {t.instrument} at {t.price:.6g}"
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
            f"{'long' if units > 0 else 'short'} {units_text(abs(units))} {name} closed: {self._say(total)} ({split})\n"
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
                said.append(f"{'up' if reached > self._level else 'down'} past {percent(reached)}")
                self._level = fields["level"] = reached
        high = self.wanted.new_high_step
        if high and day.unit >= self._high * (1 + high) - _SLACK:
            said.append("a new high")
            self._high = fields["high"] = day.unit
        if said:
            said = [
                f"{' and '.join(said)}: {percent(gain)} since the start, NAV {self._amount(day.nav)} {self.currency}"
            ]
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
        return [f"{over}: {percent(gain)}, {self._split_text(fields)}"]

    def _parts(self, split: Split | None) -> dict[str, float | None]:
        names = ("pnl", "spot", "carry", "cost", "translation", "other", "flows")
        return {name: None if split is None else float(getattr(split, name)) for name in names}

    def _split_text(self, parts: Mapping[str, Any]) -> str:
        """The change, and where it came from: all of it, so that the parts add up."""
        if parts["pnl"] is None:
            return "where it came from is not known, a price is missing"
        shown = [f"{name} {self._say(parts[name], unit=False)}" for name in ("spot", "carry", "cost")]
        rest = self._money(parts["translation"] + parts["other"])
        shown += [f"translation and rounding {self._say(rest, unit=False)}"] if rest else []
        besides = f"; deposits less withdrawals {self._say(parts['flows'], unit=False)}" if parts["flows"] else ""
        return f"{self._say(parts['pnl'])}: {', '.join(shown)}{besides}"

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
            f"{n.instrument} {units_text(n.units)}: {self._maybe(n.amount)}, "
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
        rooms = {rule: room for rule, room in look.headroom().items() if math.isfinite(room[0])}
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
            "headroom": {rule: room for rule, (room, _) in rooms.items()},
            "headroom_units": {rule: unit for rule, (_, unit) in rooms.items()},
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
        message = self._digest_text(fields, nights)
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

    def _digest_text(self, fields: Mapping[str, Any], nights: Sequence[Night]) -> str:
        span = {"daily": "today", "weekly": "this week"}[fields["period"]]
        count = len(nights)
        held = f"{count} position{'s' if count != 1 else ''}" if count else "no position"
        ahead = (
            f"; next roll {fields['roll_date']} {self._maybe(fields['tonight'], unit=False)} for {_days_text(nights)}"
            if nights
            else ""
        )
        lines = [
            f"{fields['date']}: NAV {self._amount(fields['nav'])} {self.currency}, {percent(fields['return'])} {span}, "
            f"{self._split_text(fields)}; {held}{ahead}"
        ]
        for one in fields.get("days", ()):
            weekday = date.fromisoformat(one["date"])
            lines.append(f"{weekday:%a} {weekday}: {percent(one['return'])}, {self._split_text(one)}")
        lines += [
            f"{n.instrument} {units_text(n.units)}: {self._say(n.value)}, next roll {self._maybe(n.amount, unit=False)}"
            for n in nights
        ]
        units = fields["headroom_units"]
        room = ", ".join(f"{rule} {room_text(room, units[rule])}" for rule, room in fields["headroom"].items())
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


def _span(held: timedelta) -> str:
    if held < 2 * _DAY:
        return f"{held / _HOUR:.1f} hours"
    return f"{held / _DAY:.1f} days"
