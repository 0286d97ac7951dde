"""Candles made of the prices the fake venue went through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from fxcarry_oanda.testing.log import Record
from fxcarry_oanda.testing.market import NEW_YORK, Price, plain, stamp

_UNITS = {"S": timedelta(seconds=1), "M": timedelta(minutes=1), "H": timedelta(hours=1)}
GRANULARITIES = (
    *("S5", "S10", "S15", "S30", "M1", "M2", "M4", "M5", "M10", "M15", "M30"),
    *("H1", "H2", "H3", "H4", "H6", "H8", "H12", "D", "W", "M"),
)
_FRIDAY = 4


def candles(
    ticks: Sequence[Price], granularity: str, *, prices: str, now: datetime, alignment: int, precision: int
) -> list[Record]:
    """Every candle with a price in it, oldest first; ``prices`` are letters of M, B and A.

    Days and what is longer begin at ``alignment`` hours New York, weeks on Friday, as the venue's do by default.
    """
    found: dict[datetime, list[Price]] = {}
    for tick in ticks:
        found.setdefault(begin(tick.at, granularity, alignment), []).append(tick)
    rows = []
    for start, group in sorted(found.items()):
        row: Record = {"time": stamp(start), "volume": len(group)}
        row["complete"] = end(start, granularity, alignment) <= now
        for letter, name in (("B", "bid"), ("M", "mid"), ("A", "ask")):
            if letter in prices:
                row[name] = _bar([getattr(tick, name) for tick in group], precision)
        rows.append(row)
    return rows


def begin(at: datetime, granularity: str, alignment: int = 17) -> datetime:
    """The start of the candle that a moment is in."""
    if (step := _step(granularity)) is not None:
        midnight = datetime.combine(at.astimezone(UTC).date(), time(0), UTC)
        return midnight + (at - midnight) // step * step
    day = (at.astimezone(NEW_YORK) - timedelta(hours=alignment)).date()
    if granularity == "W":
        day -= timedelta(days=(day.weekday() - _FRIDAY) % 7)
    elif granularity == "M":
        day = day.replace(day=1)
    return datetime.combine(day, time(alignment), NEW_YORK).astimezone(UTC)


def end(start: datetime, granularity: str, alignment: int = 17) -> datetime:
    """The end of the candle that begins at ``start``."""
    if (step := _step(granularity)) is not None:
        return start + step
    days = {"D": 1, "W": 7, "M": 32}[granularity]
    return begin(start + timedelta(days=days, hours=2), granularity, alignment)


def _step(granularity: str) -> timedelta | None:
    """The length of a candle within a day; None for days and what is longer."""
    if len(granularity) == 1:
        return None
    return _UNITS[granularity[0]] * int(granularity[1:])


def _bar(values: Iterable[Decimal], precision: int) -> Record:
    tick = Decimal(1).scaleb(-precision)
    each = list(values)
    bar = {"o": each[0], "h": max(each), "l": min(each), "c": each[-1]}
    return {name: plain(value.quantize(tick)) for name, value in bar.items()}
