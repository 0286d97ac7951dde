"""From the vintages of several series to one rate as it was known: when each value was known, how long it may be used,
and which series serves when.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.conventions import day_count, session_end, session_ends
from fxcarry.market import RateSeries, TimeArray, from_ns, to_ns
from fxcarry.model import FloatArray
from fxcarry_fred.client import Observation
from fxcarry_fred.series import RateSource, simple_yield

MONTHLY_LAG = timedelta(days=45)
"""From the end of a month to the release of its average, where FRED does not say when it was."""

DAILY_LAG = 2
"""Weekdays from the day of a daily rate to its release, where FRED does not say when it was."""


@attrs.frozen(eq=False)
class KnownRates:
    """The values of one series (annual decimals in ``day_count``), in the order in which they became the last known.

    ``at`` is when each did so, ``observed`` the date FRED gives it, ``until`` from when it is too old to be used.
    ``first_vintage`` is the first release that FRED remembers, None where it remembers none. ``revision`` is how far
    the last vintage of a value is from its first, on average and as a distance (percentage points).
    """

    source: RateSource
    at: TimeArray
    observed: NDArray[np.datetime64]
    until: TimeArray
    value: FloatArray
    first_vintage: date | None = None
    revision: float = 0.0

    @classmethod
    def of(
        cls, currency: str, source: RateSource, rows: Sequence[Observation], fetched: date, *, is_revised: bool = False
    ) -> KnownRates:
        """From the vintages of a series as FRED gave them on ``fetched``.

        A value is known from 17:00 New York of its release, and not before its own day. One that FRED withdrew later
        stays what was known. The release of what is in the first vintage is not known
        (the series began before FRED kept it): it is 45 days after the end of a monthly value's month, two weekdays
        after a daily value's day, or the first vintage if that was before. So it is where there is no vintage but the
        day of the fetch, which then does not count.

        ``is_revised`` takes the last vintage of each value as known from the first: research only.
        """
        first = min((row.released for row in rows), default=fetched)
        has_vintages = first < fetched - timedelta(days=1)  # FRED's day is Chicago's
        known, revised = [], []
        for observed, vintages in groupby(rows, key=lambda row: row.observed):
            own = [
                (_release(source, observed, row.released, first, has_vintages), row.value)
                for row in vintages
                if row.value is not None
            ]
            if own:
                revised.append(abs(own[-1][1] - own[0][1]))
            if own and (is_revised or not has_vintages):
                own = [(own[0][0], own[-1][1])]
            known += [(at, observed, value) for at, value in own]
        known.sort()
        last: list[tuple[datetime, date, float]] = []
        for row in known:  # what comes after a newer observation was never the last known
            if not last or row[1] >= last[-1][1]:
                last.append(row)
        ends = [source.last_day(observed) + source.budget for _, observed, _ in last]
        rate = np.array([value for _, _, value in last], float) / 100
        rate = simple_yield(rate) if source.is_discount else rate * (day_count(currency) / source.basis)
        return cls(
            source,
            np.array([to_ns(at) for at, _, _ in last], "datetime64[ns]"),
            np.array([observed for _, observed, _ in last], "datetime64[D]"),
            session_ends(np.array(ends, "datetime64[D]")),
            rate,
            first if has_vintages else None,
            float(np.mean(revised)) if revised else 0.0,
        )

    def rows(self, at: TimeArray) -> NDArray[np.int64]:
        """The row that is known and not too old at each instant, -1 where there is none."""
        row = np.searchsorted(self.at, at, "right") - 1
        if not len(self.at):
            return row
        return np.where((row >= 0) & (at < self.until[row]), row, -1)

    def refusal(self, at: datetime) -> str:
        """Why the series cannot be used at an instant."""
        row = int(np.searchsorted(self.at, to_ns(at), "right")) - 1
        if row < 0:
            return f"{self.source.id} has no value that was known yet"
        return (
            f"{self.source.id} stops at {self.observed[row]}: its budget of {self.source.budget.days} days ended "
            f"{from_ns(self.until[row]):%Y-%m-%d}"
        )


def _release(source: RateSource, observed: date, released: date, first: date, has_vintages: bool) -> datetime:
    if released > first and has_vintages:
        return session_end(max(released, observed))
    if source.frequency == "monthly":
        late = source.last_day(observed) + MONTHLY_LAG
    else:
        late = date.fromisoformat(str(np.busday_offset(str(observed), DAILY_LAG, roll="forward")))
    return session_end(min(late, released) if has_vintages else late)


@attrs.frozen
class Resolution:
    """What stands for a currency's rate at one instant.

    ``series`` is the series of FRED, "" where none can be used; ``observed`` the date of its value; ``refused`` says
    of each candidate before it, in order, why it was not taken.
    """

    currency: str
    series: str
    observed: date | None
    refused: tuple[str, ...]

    def __str__(self) -> str:
        found = f"{self.series} of {self.observed}" if self.series else "no rate"
        return f"{self.currency}: {found}" + (f" ({'; '.join(self.refused)})" if self.refused else "")


@attrs.frozen(eq=False)
class ResolvedRates:
    """A currency's candidates in order, and what comes of them: ``series``, in which the first usable one counts.

    ``missing`` says why a candidate could not be read at all. ``spans`` are the places where another candidate begins
    to serve: (from when, its number or -1 for none).
    """

    currency: str
    candidates: tuple[KnownRates, ...]
    missing: tuple[str, ...]
    series: RateSeries
    spans: tuple[tuple[datetime, int], ...]

    @classmethod
    def of(cls, currency: str, candidates: Sequence[KnownRates], missing: Sequence[str] = ()) -> ResolvedRates:
        """Splice the candidates: at each instant the first that has a value which is known and not too old.

        A value that takes another's place is in force from then on, or from its own date if that is later.
        """
        edges = [array for c in candidates for array in (c.at, c.until)]
        grid = np.unique(np.concatenate([np.array([], "datetime64[ns]"), *edges]))
        served, row = np.full(len(grid), -1), np.full(len(grid), -1)
        for number, candidate in reversed(list(enumerate(candidates))):
            own = candidate.rows(grid)
            served, row = np.where(own >= 0, number, served), np.where(own >= 0, own, row)
        turns = np.flatnonzero(np.diff(served, prepend=-1))
        changes = np.flatnonzero((served >= 0) & ((np.diff(served, prepend=-1) != 0) | (np.diff(row, prepend=-1) != 0)))
        picked = [(candidates[served[i]], row[i]) for i in changes]
        as_of = session_ends(np.array([c.observed[i] for c, i in picked], "datetime64[D]"))
        names = ", ".join(dict.fromkeys(candidates[served[i]].source.id for i in turns if served[i] >= 0))
        return cls(
            currency,
            tuple(candidates),
            tuple(missing),
            RateSeries(
                currency,
                np.maximum.accumulate(as_of) if len(as_of) else as_of,
                grid[changes],
                np.array([c.value[i] for c, i in picked], float),
                day_count=day_count(currency),
                tenor=candidates[0].source.tenor if candidates else "",
                source=f"FRED {names}".strip(),
                until=np.array([c.until[i] for c, i in picked], "datetime64[ns]"),
            ),
            tuple((from_ns(grid[i]), int(served[i])) for i in turns),
        )

    def at(self, at: datetime) -> tuple[KnownRates, int] | None:
        """The candidate that serves at an instant, and its row."""
        for candidate in self.candidates:
            row = int(candidate.rows(np.array([to_ns(at)]))[0])
            if row >= 0:
                return candidate, row
        return None

    def resolution(self, at: datetime) -> Resolution:
        """What serves at an instant, and why what comes before it does not."""
        found = self.at(at)
        before = self.candidates if found is None else self.candidates[: self.candidates.index(found[0])]
        refused = (*self.missing, *(candidate.refusal(at) for candidate in before))
        if found is None:
            return Resolution(self.currency, "", None, refused or ("FRED has no rate of it that is kept up",))
        return Resolution(self.currency, found[0].source.id, found[0].observed[found[1]].item(), refused)

    def name(self, number: int) -> str:
        """What serves in a span: a series, or none."""
        return self.candidates[number].source.id if number >= 0 else "none (too old)"


_SHOWN = 8  # changes of series that a note tells one by one


def span_notes(resolved: Mapping[str, ResolvedRates], end: datetime) -> Iterator[str]:
    """What a reader of a history up to ``end`` should know: which series served when, and where there is none."""
    throughout = []
    for currency, rates in resolved.items():
        spans = [(at, rates.name(number)) for at, number in rates.spans if at < end]
        if not spans:
            yield f"No rate of {rates.resolution(end)}."
        elif len(spans) == 1 and not rates.missing:
            throughout.append(f"{currency} {spans[0][1]}")
        else:
            parts = [f"{name} from {at:%Y-%m-%d}" for at, name in spans]
            if len(parts) > _SHOWN:
                parts[2:-2] = [f"{len(parts) - 4} more changes"]
            yield f"{currency} rates: {', '.join([*parts, *rates.missing])}."
    if throughout:
        yield f"Rates of one series throughout: {', '.join(throughout)}."


def vintage_notes(resolved: Mapping[str, ResolvedRates]) -> Iterator[str]:
    """What a reader should know of values whose release FRED does not tell, of the series that serve at some time."""
    found = [rates.candidates[i] for rates in resolved.values() for i in sorted({i for _, i in rates.spans} - {-1})]
    lag = f"{MONTHLY_LAG.days} days after the month (monthly) or {DAILY_LAG} weekdays (daily)"
    none = [c.source.id for c in found if c.first_vintage is None]
    if none:
        yield f"FRED has no vintages of {', '.join(none)}: values count from a publication lag of {lag}."
    some = [f"{c.source.id} {c.first_vintage}" for c in found if c.first_vintage is not None]
    if some:
        yield f"What is older than the first vintage stands as that has it, with a lag of {lag}: {', '.join(some)}."


def revision_note(resolved: Mapping[str, ResolvedRates]) -> str:
    """How far revised rates are from those first released, by series."""
    found = [c for rates in resolved.values() for c in rates.candidates if c.revision]
    told = ", ".join(f"{c.source.id} {c.revision:.2f}" for c in found) or "none"
    return f"Revised rates are from the first released, on average and in percentage points: {told}."
