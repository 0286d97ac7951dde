"""The feed: H.10 spot and the rates that were known, from FRED."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs
import numpy as np

from fxcarry.conventions import NEW_YORK, holidays_of, session_ends
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.feeds import MemoryFeed
from fxcarry.market import MarketHistory, TimeArray, to_ns
from fxcarry.model import Rate, Snapshot, check_currency
from fxcarry_fred.cache import Cache, Kept
from fxcarry_fred.client import Client, Observation
from fxcarry_fred.rates import KnownRates, Resolution, ResolvedRates, revision_note, span_notes, vintage_notes
from fxcarry_fred.series import Kind, Spot, series_of

_LOG = logging.getLogger("fxcarry.fred")
_CHICAGO = ZoneInfo("America/Chicago")  # where FRED's day is
_FRESH = timedelta(hours=6)  # what was read is not read again for so long
_AGAIN = timedelta(minutes=10)  # after a failure, what is at hand is kept for so long
_LATE = timedelta(days=1)  # H.10 is not called late before
_AHEAD = timedelta(seconds=30)  # how far the two clocks may differ
_NOON = np.timedelta64(5, "h")  # before the end of the session, 17:00 New York
_NOTES = (
    "Spot is the Federal Reserve's H.10: noon buying rates in New York, not prices anyone can trade at. They are "
    "observed at noon and published on the Monday after, at 16:15 New York.",
    "Rates count from 17:00 New York of the day of their release, and are missing where every series is too old.",
)
_REVISED = (
    "RESEARCH ONLY: revised data was used. Every rate has the last value that FRED has of it, which nobody knew on the "
    "day of its first release."
)


def _now() -> datetime:
    return datetime.now(UTC)


def h10_release(day: date) -> datetime:
    """When H.10 publishes the rate of a day: the Monday after, 16:15 New York, or Tuesday where that is a holiday."""
    monday = day + timedelta(days=7 - day.weekday())
    if monday in holidays_of("USD"):
        monday += timedelta(days=1)
    return datetime(monday.year, monday.month, monday.day, 16, 15, tzinfo=NEW_YORK).astimezone(UTC)


@attrs.frozen
class _Loaded:
    until: datetime
    stored: MemoryFeed
    rates: dict[str, ResolvedRates]
    notes: tuple[str, ...]


class FredFeed:
    """Spot against USD from the H.10 release, and interest rates as they were known.

    Args:
        client: what talks to FRED.
        currencies: which are served, each against USD; USD's own rate is always there.
        rates: which rates are tried first, "3m" or "overnight".
        cache: a folder that observations are kept in.
        is_revised: use the last value of every rate in place of the one that was known. For research only: the notes
            of every history say so.
        now: the clock.

    Rows are stamped noon New York, when the market was there. H.10 publishes a week's rates on the Monday after
    (:func:`h10_release`), so the last row is up to ten days old: for backtests, and a check on other feeds, not to
    trade by. Everything is read on first use, and again after six hours; where that fails what is at hand is kept and
    the notes say so.
    """

    name = "fred"
    interval = timedelta(days=1)

    def __init__(
        self,
        client: Client,
        *,
        currencies: Sequence[str],
        rates: Kind = "3m",
        cache: str | Path | None = None,
        is_revised: bool = False,
        now: Callable[[], datetime] = _now,
    ) -> None:
        named = [check_currency(c, "currencies") for c in currencies]
        self._currencies = tuple(dict.fromkeys(c for c in named if c != "USD"))
        self._spots = {c: spot for c in self._currencies if (spot := series_of(c).spot) is not None}
        if not self._spots:
            raise ConfigError(
                f"H.10 has no spot of {', '.join(self._currencies) or 'no currency'}", hint="add EUR to currencies"
            )
        if rates not in ("3m", "overnight"):
            raise ConfigError(f"rates is {rates!r}", hint='"3m" or "overnight"')
        self._client, self._kind, self._is_revised, self._now = client, rates, is_revised, now
        self._cache = Cache(cache) if cache else None
        self._read: dict[str, Kept] = {}
        self._loaded: _Loaded | None = None
        self._absent: frozenset[str] = frozenset()

    def snapshot(self, at: datetime) -> Snapshot:
        """The last H.10 rate of every currency at or before ``at`` (as CURRENCY/USD), and the rates known then.

        A currency whose every series is too old has no rate; :meth:`series` says why, and the log. Raises
        MissingDataError before the first quote, for an instant that has not come, and where no currency has a rate.
        """
        to_ns(at)  # an instant has a zone
        if at > self._now() + _AHEAD:
            raise MissingDataError(
                f"{at:%Y-%m-%d %H:%M:%S} UTC has not come yet", hint="is this machine's clock right?"
            )
        loaded = self._load()
        quotes = loaded.stored.snapshot(at).quotes
        rates = {c: rate for c in loaded.rates if (rate := _rate(loaded.rates[c], at)) is not None}
        absent = frozenset(loaded.rates) - frozenset(rates)
        reasons = {c: str(loaded.rates[c].resolution(at)) for c in sorted(absent)}
        if not rates:
            raise MissingDataError(
                f"no rate is known at {at:%Y-%m-%d %H:%M} UTC: {'; '.join(reasons.values())}",
                hint="a missing rate is never taken to be zero",
            )
        for currency in sorted(absent - self._absent):
            _LOG.warning("at %s: %s", at.isoformat(), reasons[currency])
        self._absent = absent
        return Snapshot(at, quotes, rates)

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """H.10 rates with start <= time < end, and rates known before ``end``; MissingDataError where there are none.

        The notes say which series served when, which currency has none, and where a release is not known.
        """
        loaded = self._load()
        rows = loaded.stored.history(start, end)
        now = self._now()
        until = now if end is None else min(end, now)
        later = to_ns(now) + np.timedelta64(1, "ns")  # what would serve one day, if nothing came, is not known
        known = {c: series.before(later) for c, series in rows.rates.items()}
        rates = {c: series for c, series in known.items() if len(series.value)}
        return attrs.evolve(rows, rates=rates, notes=(*rows.notes, *span_notes(loaded.rates, until), *loaded.notes))

    def series(self, at: datetime | None = None) -> dict[str, Resolution]:
        """Which series stands for each currency's rate at an instant (None = now), and why others do not."""
        instant = self._now() if at is None else at
        return {c: rates.resolution(instant) for c, rates in self._load().rates.items()}

    def rate(self, currency: str, at: datetime) -> Rate:
        """One currency's rate at an instant; MissingDataError, which says why of every series, where there is none."""
        rates = self._load().rates.get(currency)
        if rates is None:
            raise MissingDataError(f"this feed has no {currency}", hint="add it to currencies under [feed]")
        found = _rate(rates, at)
        if found is None:
            raise MissingDataError(
                f"no rate at {at:%Y-%m-%d}: {rates.resolution(at)}", hint="a missing rate is never taken to be zero"
            )
        return found

    def revised(self) -> FredFeed:
        """The same with the last value of every rate, which nobody knew in time. What was read is shared."""
        other = FredFeed(self._client, currencies=self._currencies, rates=self._kind, is_revised=True, now=self._now)
        other._cache, other._read = self._cache, self._read
        return other

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._client.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _load(self) -> _Loaded:
        now = self._now()
        if self._loaded is None or now >= self._loaded.until:
            self._loaded = self._loaded_at(now)
        return self._loaded

    def _loaded_at(self, now: datetime) -> _Loaded:
        """Everything that FRED has, composed."""
        failures: list[str] = []
        spot = {c: self._spot(s, self._rows(s.id, now, failures).rows) for c, s in self._spots.items()}
        rates = {c: self._resolved(c, now, failures) for c in (*self._currencies, "USD")}
        days = np.array(sorted({day for own in spot.values() for day in own}), "datetime64[D]")
        columns = [[own.get(day, np.nan) for day in days.tolist()] for own in spot.values()]
        history = MarketHistory(
            times=session_ends(days) - _NOON,
            currencies=tuple(spot),
            spot=np.array(columns, float).T.reshape(len(days), len(spot)),
            numeraire="USD",
            rates={c: own.series for c, own in rates.items()},
            interval=self.interval,
            calendar="USD",
            notes=(*([_REVISED] if self._is_revised else []), *_NOTES, *self._unpriced()),
            source="Board of Governors of the Federal Reserve System, H.10; interest rates from FRED",
        )
        revision = [revision_note(rates)] if self._is_revised else []
        notes = (
            *revision,
            *vintage_notes(rates),
            *_late(days, now),
            *([f"Not the newest: {failures[0]}"] if failures else []),
        )
        return _Loaded(now + (_AGAIN if failures else _FRESH), MemoryFeed(history, self.name), rates, notes)

    def _unpriced(self) -> list[str]:
        without = [c for c in self._currencies if c not in self._spots]
        return [f"H.10 has no spot of {', '.join(without)}: there are rates only."] if without else []

    def _spot(self, series: Spot, rows: Sequence[Observation]) -> dict[date, float]:
        """USD per unit by day."""
        found = {}
        for row in rows:
            if row.value is not None:
                if row.value <= 0:
                    raise DataError(f"FRED's {series.id} of {row.observed} is {row.value}", hint="a price is > 0")
                found[row.observed] = row.value if series.is_usd_per_unit else 1 / row.value
        return found

    def _resolved(self, currency: str, now: datetime, failures: list[str]) -> ResolvedRates:
        candidates, missing = [], []
        for source in series_of(currency).candidates(self._kind):
            try:
                kept = self._rows(source.id, now, failures, has_vintages=True)
            except MissingDataError as error:  # the next candidate is there for this
                missing.append(error.message)
                continue
            day = kept.fetched.astimezone(_CHICAGO).date()
            candidates.append(KnownRates.of(currency, source, kept.rows, day, is_revised=self._is_revised))
        return ResolvedRates.of(currency, candidates, missing)

    def _rows(self, series: str, now: datetime, failures: list[str], *, has_vintages: bool = False) -> Kept:
        """A series from memory or the cache where that is fresh, else from FRED, else whatever is at hand."""
        kept = self._read.get(series) or (self._cache.get(series) if self._cache else None)
        is_fresh = kept is not None and timedelta(0) <= now - kept.fetched < _FRESH
        if kept is None or not (is_fresh or failures):  # one failure is enough: FRED is asked again in ten minutes
            try:
                rows = self._client.vintages(series) if has_vintages else self._client.latest(series)
            except MissingDataError:
                raise
            except DataError as error:
                if kept is None:
                    raise
                failures.append(f"values of {kept.fetched:%Y-%m-%d %H:%M} UTC are used, for {error.message}")
                _LOG.warning("%s is of %s: %s", series, kept.fetched.isoformat(), error)
            else:
                kept = Kept(now, tuple(rows))
                if self._cache:
                    self._cache.put(series, now, rows)
        self._read[series] = kept
        return kept


def _late(days: TimeArray, now: datetime) -> list[str]:
    """Whether the release that follows the last row should have been there since yesterday."""
    if not len(days):
        return []
    last = days[-1].item()
    due = h10_release(last + timedelta(days=7))
    return [f"H.10 is late: its last row is of {last}, the next was due {due:%Y-%m-%d}."] if now > due + _LATE else []


def _rate(rates: ResolvedRates, at: datetime) -> Rate | None:
    """The rate at an instant, with the series it is of."""
    known, found = rates.series.get(at), rates.at(at)
    if known is None or found is None:
        return None
    return attrs.evolve(known, source=f"FRED {found[0].source.id}", tenor=found[0].source.tenor)
