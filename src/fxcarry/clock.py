"""Ticks over a rebalance schedule.

Every 17:00 New York is a tick: it ends a trading day, books its financing and is when a daily decision is made. An
intraday history adds a tick at each of its own rows. On a day without a quote (a TARGET holiday, say) the tick is still
there: the last quote stands, financing accrues.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.conventions import session_ends, trade_dates
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.market import MarketHistory, TimeArray, to_ns

Frequency: TypeAlias = str
"""When a strategy is asked: ``monthly`` (the last weekday of the month), ``weekly``, ``daily``, or a cron line in New
York time, such as ``0 17 15 3,6,9,12 *``. Its minute and hour are always ``0 17``, when the day ends; a day that is no
weekday moves to the next one.
"""

_CRON = ((1, 31), (1, 12), (0, 7))  # day of the month, month, day of the week: Sunday is 0 and 7


def check_frequency(frequency: str) -> str:
    """The frequency itself; ConfigError where it is none."""
    if frequency not in ("monthly", "weekly", "daily"):
        _cron(frequency)
    return frequency


def _cron(text: str) -> tuple[list[set[int]], tuple[bool, bool]]:
    """Days, months and weekdays of a cron line, and whether days and weekdays are restricted."""
    fields = text.split()
    hint = (
        "monthly, weekly, daily, or a cron line such as 0 17 15 * *: day, month and weekday may be *, 1,15, 1-7 or */2"
    )
    if len(fields) != 5:
        raise ConfigError(f"rebalance is {text!r}", hint=hint)
    if fields[:2] != ["0", "17"]:
        raise ConfigError(f"rebalance is {text!r}: decisions are made at 17:00 New York", hint="begin it with 0 17")
    found = []
    for field, (least, most) in zip(fields[2:], _CRON):
        values: set[int] = set()
        for part in field.split(","):
            match = re.fullmatch(r"(\*|\d+(?:-\d+)?)(?:/(\d+))?", part)
            if match is None:
                raise ConfigError(f"rebalance is {text!r}: {part!r} is no field", hint=hint)
            first, _, last = (f"{least}-{most}" if match[1] == "*" else match[1]).partition("-")
            low, high, step = int(first), int(last or first), int(match[2] or 1)
            if not (least <= low <= high <= most and step):
                raise ConfigError(f"rebalance is {text!r}: {part!r} is not within {least} to {most}", hint=hint)
            values |= set(range(low, high + 1, step))
        found.append(values)
    found[2] = {day % 7 for day in found[2]}
    return found, (not fields[2].startswith("*"), not fields[4].startswith("*"))


def _is_due_by_cron(days: NDArray[np.datetime64], text: str) -> NDArray[np.bool_]:
    """Whether the cron line names each weekday, or a day of the weekend before it.

    As cron has it, a day matches either of the day of the month and the weekday where both are restricted.
    """
    (month_days, months, weekdays), (by_day, by_weekday) = _cron(text)

    def is_named(day: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        month = day.astype("datetime64[M]")
        on_day = np.isin((day - month).astype(int) + 1, list(month_days))
        on_weekday = np.isin((day.astype(int) + 4) % 7, list(weekdays))
        on = on_day | on_weekday if by_day and by_weekday else on_day & on_weekday
        return np.asarray(on & np.isin(month.astype(int) % 12 + 1, list(months)))

    days = days.astype("datetime64[D]")
    is_monday = (days.astype(int) + 4) % 7 == 1
    due: NDArray[np.bool_] = is_named(days) | (is_monday & (is_named(days - 1) | is_named(days - 2)))
    return due


def is_due(days: NDArray[np.datetime64], frequency: Frequency) -> NDArray[np.bool_]:
    """Whether each trade date (datetime64[D], weekdays) is a decision day."""
    following: NDArray[np.datetime64] = np.busday_offset(days, 1, roll="forward")
    if frequency == "monthly":
        return np.asarray(following.astype("datetime64[M]") != days.astype("datetime64[M]"))
    if frequency == "weekly":
        return np.asarray((following - days).astype(int) > 1)
    if frequency == "daily":
        return np.ones(len(days), bool)
    return _is_due_by_cron(days, frequency)


def just_before(at: TimeArray) -> TimeArray:
    """One nanosecond earlier: a 17:00:00 then falls into the trade date it ends."""
    return np.asarray(at - np.timedelta64(1, "ns"), "datetime64[ns]")


@attrs.frozen(eq=False)
class SteppedClock:
    """The ticks of a stored history. All arrays are parallel.

    ``at`` is the instant, ``day`` the trade date it belongs to (a tick at 17:00:00 ends its day), ``row`` the last
    history row observed by then, ``is_fresh`` whether that row is new since the tick before, ``is_day_end`` whether
    the tick is a 17:00 New York, ``is_due`` whether a strategy is asked.
    """

    at: TimeArray
    day: NDArray[np.datetime64]
    row: NDArray[np.int64]
    is_fresh: NDArray[np.bool_]
    is_day_end: NDArray[np.bool_]
    is_due: NDArray[np.bool_]

    @classmethod
    def over(
        cls,
        history: MarketHistory,
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: Frequency = "monthly",
    ) -> SteppedClock:
        """Ticks for ``history`` on the trade dates of ``start`` to ``end``, or all of it.

        The last tick is the 17:00 that ends the trade date of ``end`` (or of the last row, where that is earlier); an
        ``end`` at a weekend means the Friday before.
        """
        times = history.times
        if not len(times):
            raise MissingDataError("the history is empty", hint="check the dates and the source")
        first = times[0] if start is None else max(times[0], to_ns(start))
        last = times[-1] if end is None else min(times[-1], to_ns(end))
        days = trade_dates(just_before(np.array([first, last])))
        if last <= session_ends(days[1:] - np.timedelta64(1, "D"))[0]:  # the market was closed: the session before it
            days[1] = np.busday_offset(days[1], -1)
        weekdays = np.arange(days[0], days[1] + 1)
        day = weekdays[np.is_busday(weekdays)]
        at = session_ends(day)
        is_day_end = np.ones(len(at), bool)
        is_daily = history.is_daily
        if not is_daily:
            ends = at
            at = np.union1d(ends, times[(times >= first) & (times <= last)])
            day, is_day_end = trade_dates(just_before(at)), np.isin(at, ends)
        row = np.searchsorted(times, at, "right") - 1
        if len(row) and row[0] < 0:
            known = row >= 0
            at, row, day, is_day_end = at[known], row[known], day[known], is_day_end[known]
        before = np.searchsorted(times, at[:1] - np.timedelta64(1, "D"), "right") - 1 if is_daily else row[:1] - 1
        return cls(
            at=at,
            day=day,
            row=row,
            is_fresh=np.diff(row, prepend=before) > 0,
            is_day_end=is_day_end,
            is_due=is_day_end & is_due(day, frequency),
        )

    @classmethod
    def until(cls, history: MarketHistory, at: datetime, frequency: Frequency = "monthly") -> SteppedClock:
        """Every 17:00 New York on a weekday from the first row of ``history`` to ``at``, and ``at`` itself, last.

        A live look at the market: ``at`` may be any instant; it is a decision's only where it is a 17:00 that is due.
        """
        times, now = history.times, to_ns(at)
        if not len(times) or times[0] > now:
            raise MissingDataError(f"the history has no row up to {at:%Y-%m-%d %H:%M} UTC", hint="check the source")
        first, last = trade_dates(just_before(np.array([times[0], now])))
        weekdays = np.arange(first, last + 1)
        ends = session_ends(weekdays[np.is_busday(weekdays)])
        ticks = np.union1d(ends[(ends >= times[0]) & (ends <= now)], np.array([now], ends.dtype))
        row = np.searchsorted(times, ticks, "right") - 1
        day, is_day_end = trade_dates(just_before(ticks)), np.isin(ticks, ends)
        return cls(
            at=ticks,
            day=day,
            row=row,
            is_fresh=np.diff(row, prepend=-1) > 0,
            is_day_end=is_day_end,
            is_due=is_day_end & is_due(day, frequency),
        )

    def last(self) -> SteppedClock:
        """The last tick alone."""
        return SteppedClock(*(getattr(self, a.name)[-1:] for a in attrs.fields(SteppedClock)))

    def __len__(self) -> int:
        return len(self.at)
