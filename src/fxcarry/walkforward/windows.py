"""Train and test windows: half-open, purged, in order of time."""

from __future__ import annotations

from datetime import date, timedelta

import attrs

from fxcarry.errors import ConfigError

_FIRST_WEEK = 7


@attrs.frozen(kw_only=True)
class Window:
    """One train window and the test window after it. Both are half-open: the end is the first day not in it.

    A daily return belongs to a window by its trade date. The days from ``train_end`` to ``test_start`` are in neither.
    """

    train_start: date
    train_end: date
    test_start: date
    test_end: date

    @property
    def gap(self) -> int:
        """Calendar days between train and test."""
        return (self.test_start - self.train_end).days

    def __str__(self) -> str:
        return f"train {self.train_start} to {self.train_end}, test {self.test_start} to {self.test_end}"


def windows(
    start: date,
    end: date,
    *,
    train_years: int = 10,
    test_years: int = 1,
    is_expanding: bool = True,
    purge_days: int = 31,
    embargo_days: int = 0,
) -> tuple[Window, ...]:
    """The windows of a walk-forward over the trade dates ``start`` to ``end``, both inclusive.

    The first test starts ``train_years`` after ``start`` on the first of a month: of the month of ``start`` where that
    is in its first week, else of the next month. Each test is ``test_years`` long and the next one starts where it
    ends, so the tests are disjoint and leave no day out; the last is cut at ``end``.

    Train begins at ``start`` (``is_expanding``) or ``train_years`` before the test (rolling). It ends ``purge_days`` +
    ``embargo_days`` before the test. The purge is the horizon of what a training day is judged by: a position decided
    at a month's end is held for up to 31 days, so a day closer to the test than that shares its outcome. The embargo is
    more of the same, for what is remembered longer (López de Prado 2018, chapter 7).

    Raises ConfigError for years that are not whole numbers of one or more, negative days, a gap that leaves no training
    year, or a period without a test.
    """
    for name, years in (("train_years", train_years), ("test_years", test_years)):
        if isinstance(years, bool) or not isinstance(years, int) or years < 1:
            raise ConfigError(f"{name} is {years!r}", hint="a whole number of years, one or more")
    for name, days in (("purge_days", purge_days), ("embargo_days", embargo_days)):
        if isinstance(days, bool) or not isinstance(days, int) or days < 0:
            raise ConfigError(f"{name} is {days!r}", hint="a whole number of calendar days, zero or more")
    gap = timedelta(purge_days + embargo_days)
    if gap.days > 365 * (train_years - 1) + 183:
        raise ConfigError(
            f"a gap of {gap.days} days leaves too little of {train_years} training years", hint="train longer"
        )
    month = date(start.year, start.month, 1)
    anchor = month if start.day <= _FIRST_WEEK else _next_month(month)
    found: list[Window] = []
    test_start = _later(anchor, train_years)
    while test_start <= end:
        test_end = min(_later(test_start, test_years), end + timedelta(1))
        train_start = start if is_expanding else max(start, _later(test_start, -train_years))
        found.append(
            Window(train_start=train_start, train_end=test_start - gap, test_start=test_start, test_end=test_end)
        )
        test_start = test_end
    if not found:
        raise ConfigError(
            f"{start} to {end} has no test after {train_years} years of training",
            hint=f"the first test would start on {test_start}: use more data or fewer train_years",
        )
    return tuple(found)


def _next_month(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


def _later(first: date, years: int) -> date:
    """The same first of a month, some years later."""
    return first.replace(year=first.year + years)
