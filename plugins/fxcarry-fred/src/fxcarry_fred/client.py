"""The calls of FRED's API, and what their failures mean.

A call that fails says one of three things: ConfigError, the key is wrong and no repetition helps; MissingDataError,
there is no such series; DataError, FRED could not be read now. There is no argument for ``vintage_date``: it is no
parameter of the observations, and FRED answers a call that has it with the values of today.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from math import isfinite
from typing import Any

import attrs

from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.http import Bucket, Http, NoAnswer, NotSent
from fxcarry.secrets import Secret

URL = "https://api.stlouisfed.org"
_FIRST, _LAST = "1776-07-04", "9999-12-31"  # the whole of real time, as FRED writes it
_MOST = 100_000  # observations in one answer
_MOST_DATES = 10_000  # vintage dates in one answer
_WINDOW = 2000  # vintage dates in one real-time period
_TOO_MANY = "maximum number of vintage dates"
_NOT_KEPT = "does not exist in ALFRED"


@attrs.frozen
class Observation:
    """A value of a series in percent, or in its own units: of ``observed``, as it stood from ``released`` on.

    ``value`` is None where FRED has "." for it. ``released`` is the first day of its real-time period.
    """

    observed: date
    released: date
    value: float | None


class Client:
    """FRED's API over one keep-alive session, at most ``per_second`` calls a second of the two that FRED allows."""

    def __init__(
        self,
        key: Secret,
        *,
        url: str = URL,
        timeout: float = 20.0,
        per_second: int = 2,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._key = key
        self._http = Http(
            url,
            params={"api_key": key, "file_type": "json"},
            timeout=timeout,
            patience=60.0,
            limits=[Bucket(per_second, 1.0)],
            sleep=sleep,
        )

    def __repr__(self) -> str:
        return f"Client({self._http.url!r})"

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        self._http.close()

    def latest(self, series: str) -> list[Observation]:
        """The observations of a series as they stand today, oldest first."""
        return self._observations(series, {})

    def vintages(self, series: str) -> list[Observation]:
        """Every value that an observation of a series ever had, by date and then by release.

        A value that a later release repeats is there once. More than 2000 vintages are read in several periods, as
        FRED demands. A series of which FRED keeps none is given as it stands, every value released today.
        """
        try:
            rows = self._observations(series, {"realtime_start": _FIRST, "realtime_end": _LAST})
        except _NoVintages:
            rows = self._observations(series, {})
        except _TooManyVintages:
            days, rows = self._vintage_dates(series), []
            for first in range(0, len(days), _WINDOW):
                following = first + _WINDOW
                end = str(date.fromisoformat(days[following]) - _DAY) if following < len(days) else _LAST
                rows += self._observations(series, {"realtime_start": days[first], "realtime_end": end})
        rows.sort(key=lambda row: (row.observed, row.released))
        return [
            row
            for before, row in zip([None, *rows], rows)
            if before is None or (before.observed, before.value) != (row.observed, row.value)
        ]

    def _observations(self, series: str, params: Mapping[str, str]) -> list[Observation]:
        rows: list[Observation] = []
        while True:
            paging: dict[str, str | int] = {"limit": _MOST, "offset": len(rows), "sort_order": "asc", "output_type": 1}
            said = self._read(series, "/fred/series/observations", {**params, **paging})
            page = self._part(said, "observations", series)
            try:
                rows += [_observation(row) for row in page]
                count = int(said["count"])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"FRED's observations of {series} cannot be read: {type(error).__name__}: {error}",
                    hint="has FRED's API changed?",
                ) from None
            if len(rows) >= count:
                return rows
            if not page:
                raise DataError(f"FRED gave {len(rows)} of {count} observations of {series}", hint="try again later")

    def _vintage_dates(self, series: str) -> list[str]:
        days: list[str] = []
        while True:
            paging: dict[str, str | int] = {"limit": _MOST_DATES, "offset": len(days), "sort_order": "asc"}
            said = self._read(series, "/fred/series/vintagedates", paging)
            page = self._part(said, "vintage_dates", series)
            days += page
            if len(page) < _MOST_DATES:
                return days

    def _part(self, said: Mapping[str, Any], name: str, series: str) -> list[Any]:
        part = said.get(name) if isinstance(said, dict) else None
        if not isinstance(part, list):
            raise DataError(f"FRED's answer about {series} has no {name}", hint="has FRED's API changed?")
        return part

    def _read(self, series: str, path: str, params: Mapping[str, str | int]) -> Mapping[str, Any]:
        try:
            answer = self._http.get(path, {"series_id": series, **params})
            said = answer.json()
        except (NotSent, NoAnswer) as error:
            raise DataError(f"FRED cannot be read ({series}): {error.message}", hint=error.hint) from None
        if answer.is_good:
            found: Mapping[str, Any] = said
            return found
        told = self._http.masked(str(said.get("error_message", "") if isinstance(said, dict) else said))[:300]
        if "api_key" in told:
            raise ConfigError(
                f"FRED refused the key in {self._key.source} {self._key.where!r}: {told}",
                hint="a key has 32 lower-case letters and digits; they are at fredaccount.stlouisfed.org/apikeys",
            )
        if _NOT_KEPT in told:
            raise _NoVintages(told)
        if "does not exist" in told:
            raise MissingDataError(f"FRED has no series {series}", hint="has it been renamed or removed?")
        if _TOO_MANY in told:
            raise _TooManyVintages(told)
        raise DataError(f"FRED refused to answer about {series} ({answer.status}): {told}")


class _NoVintages(DataError):
    """FRED keeps no vintages of a series: it says that it does not exist in ALFRED."""


class _TooManyVintages(DataError):
    """A real-time period has more vintage dates than FRED answers at once."""


_DAY = timedelta(days=1)


def _observation(row: Mapping[str, str]) -> Observation:
    value = None if row["value"] == "." else float(row["value"])
    if value is not None and not isfinite(value):
        raise ValueError(f"{row['value']!r} on {row['date']} is not a number")
    return Observation(date.fromisoformat(row["date"]), date.fromisoformat(row["realtime_start"]), value)
