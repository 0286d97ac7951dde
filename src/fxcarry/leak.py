"""Was the financing booked that was expected? Roll by roll, from what a journal keeps and nothing else.

Expected is what the positions held through 17:00 New York were to be paid at the rates that the venue had published
last before, at the mids of the last look by then (:func:`fxcarry.gap.overnight_in`). Booked is what the venue's own
transactions say for that trade date. Amounts are in account currency, > 0 received; the leak is booked less expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

import attrs

from fxcarry.conventions import next_weekday, session_end, trade_date
from fxcarry.errors import MissingDataError
from fxcarry.gap import days_charged, overnight_in
from fxcarry.journal.books import conversion
from fxcarry.journal.records import Journal
from fxcarry.model import Instrument, Pair, Transaction, minor_digits

ROLLS = 5
"""Over how many trade dates a leak is measured."""

SHARE = Decimal("0.10")
"""The leak that is tolerated over :data:`ROLLS`, as a share of what was expected, paid and received alike."""

LEAST = Decimal(1)
"""The leak that is tolerated in any case, in account currency."""

NOT_KNOWN = "no rate of it was on record before the roll"
NOT_PUBLISHED = "the venue publishes no rate for it"
_MOMENT = timedelta(microseconds=1)


@attrs.frozen(kw_only=True)
class Roll:
    """One instrument at the end of one trade date, in account currency and not rounded; > 0 received.

    ``units`` were held through it, ``rate`` is that of their side. ``expected`` is None where it cannot be known, and
    ``why`` says so; ``booked`` is None where the venue has booked nothing although there was something to book.
    """

    trade_date: date
    instrument: str
    units: Decimal
    days: int | None = None
    rate: float | None = None
    expected: Decimal | None = None
    booked: Decimal | None = None
    why: str = ""

    @property
    def difference(self) -> Decimal | None:
        """Booked less expected, None where either is not known."""
        return None if self.expected is None or self.booked is None else self.booked - self.expected


@attrs.frozen
class Leak:
    """What is wrong with the financing of an instrument. ``key`` is its name, as long as it lasts."""

    key: str
    message: str


def rolls_of(journal: Journal, account_currency: str, until: datetime, count: int | None = None) -> list[Roll]:
    """Every roll that was over by ``until``, oldest first; only the last ``count`` trade dates where that is given.

    There is a row for what was held and for what was booked. The account is taken to have been empty before its first
    transaction. What is missing makes a row with a reason, never a zero.
    """
    published, transactions = journal.published(), journal.transactions()
    begins = [at for at, _ in published[:1]] + [t.at for t in transactions]
    if not begins:
        return []
    first = trade_date(min(begins))
    if count is None:
        days = _weekdays(first, until)
    else:
        days = _weekdays(max(first, trade_date(until) - timedelta(7 * (count // 5 + 2))), until)[-count:]
    fills = sorted((t for t in transactions if t.kind == "fill"), key=lambda t: t.at)
    booked: dict[date, dict[str, list[Transaction]]] = {}
    for t in transactions:
        if t.kind == "financing":
            booked.setdefault(t.trade_date or trade_date(t.at - _MOMENT), {}).setdefault(t.instrument, []).append(t)
    held: dict[str, Decimal] = {}
    known: dict[str, Instrument] = {}
    place, rates, rows = 0, 0, []
    for day in days:
        end = session_end(day)
        while place < len(fills) and fills[place].at < end:  # what is filled at 17:00 sharp is not rolled
            fill, place = fills[place], place + 1
            held[fill.instrument] = held.get(fill.instrument, Decimal(0)) + fill.units
        while rates < len(published) and published[rates][0] < end:
            known[published[rates][1].name] = published[rates][1]
            rates += 1
        here = booked.get(day, {})
        names = sorted({name for name, units in held.items() if units} | here.keys())
        if names:
            mids = {pair: quote.mid for pair, quote in journal.quotes(by=end).items()}
            rows += [
                _roll(day, name, held.get(name, Decimal(0)), known.get(name), here.get(name), mids, account_currency)
                for name in names
            ]
    return rows


def _weekdays(first: date, until: datetime) -> list[date]:
    found, day = [], first
    while session_end(day) <= until:
        if day.weekday() < 5:
            found.append(day)
        day += timedelta(1)
    return found


def _roll(
    day: date,
    name: str,
    units: Decimal,
    instrument: Instrument | None,
    bookings: Sequence[Transaction] | None,
    mids: dict[Pair, Decimal],
    currency: str,
) -> Roll:
    row = Roll(trade_date=day, instrument=name, units=units)
    if bookings is not None:
        try:
            total = sum((_converted(t, currency, mids) for t in bookings), Decimal(0))
        except MissingDataError as error:
            return attrs.evolve(row, why=f"what was booked cannot be converted: {error.message}")
        row = attrs.evolve(row, booked=total)
    if instrument is None:
        return attrs.evolve(row, why=NOT_KNOWN)
    rate = instrument.financing_long if units > 0 else instrument.financing_short
    if not units:
        return attrs.evolve(row, expected=Decimal(0))
    if rate is None:
        return attrs.evolve(row, why=NOT_PUBLISHED)
    try:
        expected = overnight_in(currency, instrument, units, mids, day)
        days = days_charged(instrument, day)
    except MissingDataError as error:
        return attrs.evolve(row, rate=rate, why=error.message)
    is_nothing = abs(expected) < Decimal("0.5").scaleb(-minor_digits(currency))  # rounded there is nothing to book
    booked = Decimal(0) if row.booked is None and is_nothing else row.booked
    return attrs.evolve(row, rate=rate, days=days, expected=expected, booked=booked)


def _converted(t: Transaction, currency: str, mids: dict[Pair, Decimal]) -> Decimal:
    return t.amount if t.currency == currency else t.amount * conversion(t.currency, currency, mids)


def leaks(rolls: Sequence[Roll], account_currency: str, at: datetime) -> list[Leak]:
    """What a person should know of these rolls at ``at``, of each instrument:

    - a roll of which nothing is booked when the next one is over;
    - one that was booked with the other sign, both amounts beyond two minor units (0.02, or 2 JPY);
    - a leak over the rolls that were booked: less was received, or more charged, than expected by more than
      :data:`SHARE` of all that was expected and more than :data:`LEAST`.

    Give the last :data:`ROLLS` trade dates. What is not expected for want of a rate is not judged.
    """
    found = []
    trifle = Decimal(2).scaleb(-minor_digits(account_currency))
    for roll in rolls:
        if roll.expected is None:
            continue
        where = f"{roll.instrument} {roll.trade_date}"
        what = f"{roll.expected:+,.2f} {account_currency} were expected for the roll of {where}"
        if roll.booked is None:
            if at >= session_end(next_weekday(roll.trade_date)):
                found.append(Leak(f"missing {where}", f"{what}, and nothing is booked"))
        elif roll.expected * roll.booked < 0 and min(abs(roll.expected), abs(roll.booked)) > trifle:
            found.append(Leak(f"sign {where}", f"{what}, and {roll.booked:+,.2f} are booked"))
    for name in sorted({roll.instrument for roll in rolls}):
        both = [r for r in rolls if r.instrument == name and r.difference is not None]
        size = sum((abs(r.expected) for r in both if r.expected is not None), Decimal(0))
        leak = sum((r.difference for r in both if r.difference is not None), Decimal(0))
        if -leak > max(LEAST, SHARE * size):
            message = (
                f"the financing of {name} is {-leak:,.2f} {account_currency} less than expected over "
                f"{len(both)} rolls, of {size:,.2f} in all"
            )
            found.append(Leak(f"leak {name}", message))
    return found
