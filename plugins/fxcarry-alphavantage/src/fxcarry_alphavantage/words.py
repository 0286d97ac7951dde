"""Alpha Vantage's answers as numbers and instants. What does not read as one is a DataError, never left out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fxcarry.conventions import session_end
from fxcarry.errors import BadQuoteError, DataError
from fxcarry.model import Pair, Quote

DAY = timedelta(days=1)
_LATE = timedelta(hours=1)  # how old the last price of a day may be for the day to count as told
_SATURDAY = 5

Bar = tuple[datetime, Decimal]
"""The instant a bar ended, and its close."""


def quote(said: Mapping[str, Any], pair: Pair) -> Quote:
    """An exchange rate; bid and ask are the rate itself where none are given."""
    stated = (_field(said, "1. From_Currency Code"), _field(said, "3. To_Currency Code"))
    if stated != pair:
        raise DataError(f"asked for {pair}, Alpha Vantage answered {''.join(map(str, stated))}")
    as_of = instant(_field(said, "6. Last Refreshed"), zone(_field(said, "7. Time Zone")))
    sides = [said.get("8. Bid Price"), said.get("9. Ask Price")]
    if None in sides or "-" in sides:
        sides = [_field(said, "5. Exchange Rate")] * 2
    bid, ask = (number(side) for side in sides)
    return Quote(bid, ask, as_of)


def daily_bars(said: Mapping[str, Any], asked_at: datetime) -> list[Bar]:
    """The days that were over when they were asked for, oldest first, each at its end in the zone of the answer.

    A bar carries the date at whose start it begins and is known when that date ends, which is 24:00 of the stated zone:
    no price in it is later. Saturdays and Sundays are left out. The newest day is left out too where the answer says
    that its last price is over an hour older than the end of that day's session: the server is behind.
    """
    meta, series = _field(said, "Meta Data"), _rows(said["Time Series FX (Daily)"], Mapping)
    where = zone(_field(meta, "6. Time Zone"))
    refreshed = str(_field(meta, "5. Last Refreshed"))
    bars: list[Bar] = []
    newest = max(series, default="")
    for text, row in series.items():
        day = _day(text)
        end = datetime(day.year, day.month, day.day, tzinfo=where) + DAY  # wall time: the next midnight there
        end = end.astimezone(UTC)
        if end > asked_at or day.weekday() >= _SATURDAY:
            continue
        if text == newest and len(refreshed) > 10:
            is_told = instant(refreshed, where) >= min(end, session_end(day)) - _LATE
            if not is_told:
                continue
        bars.append((end, _close(row, text)))
    return sorted(bars)


def intraday_bars(said: Mapping[str, Any], interval: str, asked_at: datetime) -> list[Bar]:
    """The bars that were over when they were asked for, oldest first; a bar is stamped with its start."""
    meta, step = _field(said, "Meta Data"), timedelta(minutes=int(interval.removesuffix("min")))
    where = zone(_field(meta, "7. Time Zone"))
    rows = _rows(said[f"Time Series FX ({interval})"], Mapping)
    ends = {text: instant(text, where) + step for text in rows}
    return sorted((end, _close(rows[text], text)) for text, end in ends.items() if end <= asked_at)


def values(said: Mapping[str, Any]) -> dict[date, Decimal]:
    """Percent a year by date, as published; "." is no value."""
    if said.get("unit") != "percent":
        raise DataError(f"{said.get('name')!r} is in {said.get('unit')!r}, expected percent")
    rows = {_day(_field(row, "date")): _field(row, "value") for row in _rows(said["data"], list)}
    return {day: number(text) for day, text in rows.items() if text != "."}


def zone(text: Any) -> ZoneInfo:
    """A time zone by its name."""
    try:
        return ZoneInfo(str(text).strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(f"Alpha Vantage states its times in {text!r}, which is no time zone") from None


def instant(text: Any, where: ZoneInfo) -> datetime:
    """A time as the answers write it, in UTC."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S").replace(tzinfo=where).astimezone(UTC)
    except ValueError:
        raise DataError(f"Alpha Vantage states {text!r} as a time", hint="expected YYYY-MM-DD HH:MM:SS") from None


def number(text: Any) -> Decimal:
    """A finite number, exactly."""
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise DataError(f"Alpha Vantage states {text!r} as a number")
    return value


def _close(row: Any, text: str) -> Decimal:
    close = number(_field(row, "4. close"))
    if close <= 0:
        raise BadQuoteError(f"the close of {text} is {close}", hint="a price is > 0; nothing of the answer is kept")
    return close


def _rows(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise DataError("an answer of Alpha Vantage has no rows where they belong", hint="it is asked again later")
    return value


def _field(row: Any, name: str) -> Any:
    if not isinstance(row, Mapping) or name not in row:
        raise DataError(f"an answer of Alpha Vantage lacks {name!r}")
    return row[name]


def _day(text: Any) -> date:
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise DataError(f"Alpha Vantage states {text!r} as a date") from None
