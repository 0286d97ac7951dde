"""The days of a run: which of those asked for the data can carry, and what a reader must know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from fxcarry.conventions import holidays_of, trade_date
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.feeds import Coverage, coverage
from fxcarry.market import MarketHistory, from_ns
from fxcarry.risk import RATE_BUDGET
from fxcarry.universe import Universe, universe_of

Day = date | datetime | str
_NEW_YORK = ZoneInfo("America/New_York")


def as_day(value: Day, name: str) -> date:
    """A date from a date, a datetime or ISO text; ConfigError names the argument."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError:
        raise ConfigError(f"{name} {value!r} is not a date", hint="write it like 2007-06-29") from None


def _trades_between(first: date, before: date) -> bool:
    """Whether a weekday other than 25 December and 1 January lies from ``first`` to the day before ``before``."""
    days = np.arange(np.datetime64(first, "D"), np.datetime64(before, "D"))
    closed = {(12, 25), (1, 1)}
    return any(day.weekday() < 5 and (day.month, day.day) not in closed for day in days.tolist())


def days_of(
    history: MarketHistory, start: Day | None, end: Day | None, *, needs_rates: bool
) -> tuple[date, date, list[str]]:
    """First and last trade date of a run over ``history``, and notes; ConfigError or DataError outside it."""
    if not len(history):
        raise MissingDataError("the history is empty", hint="check the source")
    first_day, last_day = (t.astimezone(_NEW_YORK).date() for t in (history.start, history.end))
    notes: list[str] = []
    verified = history.rates_verified_until
    good = last_day
    if verified is not None and needs_rates:
        good = min(last_day, (verified + RATE_BUDGET).date())
    begin = first_day if start is None else as_day(start, "start")
    finish = good if end is None else as_day(end, "end")
    span = f"prices run from {first_day} to {last_day}"
    if begin <= finish:  # days on which nobody trades are not missing: 1999-01-01 means 1999-01-04
        if begin < first_day and not _trades_between(begin, first_day):
            begin = first_day
        if finish > last_day and not _trades_between(last_day + timedelta(1), finish + timedelta(1)):
            finish = last_day
    outside = [day for day in (begin, finish) if not first_day <= day <= last_day]
    if outside and not (start is not None and end is not None and begin > finish):
        raise DataError(
            f"{outside[0]} is outside the data: {span}", hint="choose dates inside", fields={"date": outside[0]}
        )
    if begin > finish:
        raise ConfigError(f"start {begin} is after end {finish}", hint=f"swap them; {span}")
    if verified is not None and needs_rates:
        if finish > good:
            notes.append(
                f"rates are verified only until {verified:%Y-%m-%d}: after {good} they are the last known ones, and "
                "the staleness rule opens nothing"
            )
        elif good < last_day and end is None:
            notes.append(f"prices go on to {last_day}, but rates are verified only until {verified:%Y-%m-%d}")
    return begin, finish, notes


def period_of(
    history: MarketHistory,
    start: Day | None,
    end: Day | None,
    universe: Universe,
    account_currency: str,
    *,
    needs_rates: bool,
) -> tuple[datetime, datetime, Universe, list[str]]:
    """First and last instant of the run, the universe without who is never in it then, and notes.

    Clear errors where the data cannot carry it: a price and a rate are needed while a currency is a member.
    """
    begin, finish, notes = days_of(history, start, end, needs_rates=needs_rates)
    known = coverage(history)
    if start is None and needs_rates:
        late = _without_rate(history, known, (*universe.currencies, account_currency), begin)
        if late is not None and late[1] <= finish:
            notes.append(f"prices begin on {begin}, the rates of {late[0]} on {late[1]}: so does the run")
            begin = late[1]
    last_day = history.end.astimezone(_NEW_YORK).date()
    universe = universe_of(universe.between(begin, finish), account_currency)
    everyone = tuple(dict.fromkeys((*universe.currencies, account_currency)))
    for currency in everyone:
        if currency == history.numeraire:
            continue
        if currency not in known:
            raise MissingDataError(
                f"no prices for {currency} in {history.source or 'the feed'}",
                hint=f"it has {', '.join(sorted({*history.currencies, history.numeraire}))}",
                fields={"currency": currency},
            )
        reach = known[currency]
        if reach.first is None or reach.last is None:
            raise MissingDataError(f"{currency} has no price at all", hint=f"leave {currency} out")
        starts, ends = reach.first.date(), reach.last.date()
        spans = universe.spans(currency) or ((date.min, date.max),)
        if ends < min(finish, last_day) and ends < _last_quote_day(spans[-1][1], history.calendar):
            leaves = "" if spans[-1][1] == date.max else f", but leaves the universe only on {spans[-1][1]}"
            raise MissingDataError(
                f"{currency} has no price after {ends}{leaves}",
                hint=f"end by {ends}, or leave {currency} out",
                fields={"currency": currency},
            )
        for before, after in reach.gaps:
            inside = any(after.date() > since and before.date() < until - timedelta(1) for since, until in spans)
            if after.date() > begin and before.date() < finish and inside:
                raise MissingDataError(
                    f"{currency} has no price between {before.date()} and {after.date()}",
                    hint=f"choose a period outside the gap, or leave {currency} out",
                    fields={"currency": currency},
                )
        if starts > begin:
            notes.append(f"{currency} enters on {starts}: there is no price before")
    if needs_rates:
        lacking = [c for c in everyone if c not in history.rates]
        if lacking:
            raise MissingDataError(
                f"no rates for {', '.join(lacking)} in {history.source or 'the feed'}",
                hint=f"there are rates for {', '.join(sorted(history.rates)) or 'no currency'}; a missing rate is "
                "never taken to be zero: give your own, FileFeed(prices, rates='rates.csv'), or leave them out",
                fields={"currency": lacking[0], "currencies": tuple(lacking)},
            )
    notes += universe.notes(begin, finish)
    return (
        datetime.combine(begin, time(0), _NEW_YORK).astimezone(UTC),
        datetime.combine(finish, time(16, 59, 59), _NEW_YORK).astimezone(UTC),
        universe,
        notes,
    )


def _without_rate(
    history: MarketHistory, known: Mapping[str, Coverage], currencies: Sequence[str], begin: date
) -> tuple[str, date] | None:
    """Of those with a price on the first day, the currency whose rates begin last, and the day; None where none is
    missing then.
    """
    first = {
        currency: trade_date(from_ns(np.maximum(series.as_of, series.available_at).min()) - timedelta(microseconds=1))
        for currency in currencies
        if (series := history.rates.get(currency)) is not None and len(series.value)
        if currency == history.numeraire or ((r := known.get(currency)) and r.first and r.first.date() <= begin)
    }
    last = max(first, key=lambda currency: first[currency], default=None)
    return None if last is None or first[last] <= begin else (last, first[last])


def _last_quote_day(leaves: date, calendar: str) -> date:
    """The last day before a currency leaves on which its source publishes a price."""
    closed = holidays_of(calendar) if calendar else ()
    day = leaves - timedelta(1)
    while leaves < date.max and (day.weekday() > 4 or day in closed or (day.month, day.day) in {(12, 25), (1, 1)}):
        day -= timedelta(1)
    return day
