"""Later changes of policy rates: a file of the user's own that goes on where the built-in table ends.

The file is CSV with the columns ``currency,date,rate_pct``: from ``date`` on the rate was ``rate_pct`` percent, and
there was no other change up to the currency's last row, which repeats the level where nothing changed. A level counts
from 17:00 New York of its date, on a weekend from that of the Monday after. Rows up to the day to which the built-in
table is complete are not used: the past stays as it is shipped.

:func:`compare` finds the changes in files of FRED (CSV or JSON as downloaded) or of the same three columns, and
:func:`fetch` reads the series of FRED that are understood from there.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import attrs

from fxcarry.errors import ConfigError, DataError
from fxcarry.http import Bucket, Http, HttpError
from fxcarry.secrets import Secret, read_text
from fxcarry_ecb.policy_rates import CURRENCIES, TABLE_UNTIL, read_changes

Levels = Mapping[str, Mapping[date, Decimal]]
"""Percent by date, by currency or series."""

_COLUMNS = ["currency", "date", "rate_pct"]
_SAME = {"ECBDFR": "EUR", "DFEDTAR": "USD"}
_RANGE = ("DFEDTARL", "DFEDTARU")
_BESIDE = {"IUDSOIA": "GBP", "ECBESTRVOLWGTTRMDMNRT": "EUR", "EFFR": "USD", "SOFR": "USD"}
"""Overnight rates that follow a policy rate without being it: they show that it has moved, and are not written."""
SERIES = ("ECBDFR", *_RANGE, *_BESIDE)
"""The FRED series that are understood."""
FRED = "https://api.stlouisfed.org/fred"
_OVERLAP = timedelta(days=30)  # before the table's end: a series has to say there what the table says
_NEAR = Decimal("0.10")  # percentage points by which a market rate may wander without a change of the policy rate
_LARGE = Decimal(1)


def default_path() -> Path:
    """The file named by the environment variable ``FXCARRY_POLICY_RATES``, else ``~/.fxcarry/policy-rates.csv``."""
    named = os.environ.get("FXCARRY_POLICY_RATES", "").strip()
    return Path(named).expanduser() if named else Path.home() / ".fxcarry" / "policy-rates.csv"


@attrs.frozen
class Change:
    """A policy rate that moved: percent before and from ``day`` on."""

    currency: str
    day: date
    before: Decimal
    after: Decimal


@attrs.frozen
class Refresh:
    """What files say beyond the table: changes, the last date each currency is known to, and what to mind."""

    changes: tuple[Change, ...]
    verified: Mapping[str, date]
    remarks: tuple[str, ...]


def read_later(path: Path | None = None) -> dict[str, dict[date, Decimal]]:
    """The rows of the user's file that are later than the built-in table, by currency; none where there is no file.

    Raises ConfigError or DataError, with the line, where a row does not read.
    """
    path = default_path() if path is None else path
    if not path.is_file():
        return {}
    found = _own_rows(path, read_text(path, "the file of later policy rates"))
    return {c: rows for c, own in found.items() if (rows := {d: v for d, v in own.items() if d > TABLE_UNTIL})}


def verified_until(later: Levels) -> dict[str, date]:
    """The date up to which each currency is known to be complete."""
    return {c: max(later.get(c, {}), default=TABLE_UNTIL) for c in CURRENCIES}


def read_series(path: Path) -> dict[str, dict[date, Decimal]]:
    """The levels of a file, by currency or FRED series: CSV with ``currency,date,rate_pct``, or FRED's CSV or JSON.

    "." and an empty cell are no level. FRED's JSON does not name its series: the file is named after it.
    """
    text = read_text(path, "the file of policy rates")
    if text.lstrip().startswith("{"):
        name = path.stem.upper()
        if name not in SERIES:
            raise ConfigError(
                f"{path.name} does not say which series it is", hint=f"name it like ECBDFR.json; {_understood()}"
            )
        return {name: _observations(path, text)}
    header = next(csv.reader(text.splitlines()), [])
    first = next((line for line in text.splitlines() if line and not line.startswith("#")), "")
    if [name.strip() for name in first.split(",")] == _COLUMNS:
        return _own_rows(path, text)
    if len(header) < 2 or header[0].strip().lower() not in ("date", "observation_date"):
        raise ConfigError(
            f"{path.name} begins with {','.join(header)!r}", hint=f"expected {','.join(_COLUMNS)}, or a file of FRED"
        )
    unknown = [name for name in header[1:] if name not in SERIES]
    if unknown:
        raise ConfigError(f"{path.name} has the series {unknown[0]!r}, which is no policy rate", hint=_understood())
    table = list(csv.reader(text.splitlines()))[1:]
    return {
        name: _levels(path, [(row[0], row[column]) for row in table if len(row) > column])
        for column, name in enumerate(header[1:], 1)
    }


def fetch(key: Secret, url: str = FRED) -> dict[str, dict[date, Decimal]]:
    """The levels of :data:`SERIES` from FRED, by series, from a month before the table ends on.

    Raises DataError where FRED cannot be reached or does not answer with them, ConfigError where it refuses the key.
    """
    since = str(TABLE_UNTIL - _OVERLAP)
    with closing(Http(url, params={"api_key": key, "file_type": "json"}, limits=[Bucket(120, 60.0)])) as http:
        return {name: _fetched(http, name, since) for name in SERIES}


def _fetched(http: Http, name: str, since: str) -> dict[date, Decimal]:
    """The levels of one series from a day on."""
    offline = f"{age(read_later(), date.today())}; --file reads what you have downloaded"
    try:
        answer = http.get("/series/observations", {"series_id": name, "observation_start": since})
    except HttpError as error:
        raise DataError(f"FRED cannot be reached: {error.message}", hint=offline) from None
    if "api_key" in answer.text(500):
        raise ConfigError(f"FRED refuses the key: {answer.text(200)}", hint="set FRED_API_KEY to a key of your own")
    if not answer.is_good:
        raise DataError(f"FRED has no {name} ({answer.status}): {answer.text(200)}", hint=offline)
    return _observations(Path(name), answer.text())


def compare(series: Levels, later: Levels, today: date) -> Refresh:
    """What the levels of files say that the table with its ``later`` rows does not.

    A FRED series goes on from the table only where both say the same on the last date that is known: else it is another
    rate, or something lies in between, and it is left out with a remark. Dates after ``today`` are left out.
    """
    verified, changes, remarks = verified_until(later), [], []
    levels = {currency: _level(currency, later) for currency in CURRENCIES}
    for name, rows in {**series, **_middle(series)}.items():
        if name in _RANGE:
            continue
        past = {day: value for day, value in sorted(rows.items()) if day <= today}
        currency = _SAME.get(name, _BESIDE.get(name, name))
        known, level = verified[currency], levels[currency]
        if not past or max(past) <= known:
            remarks.append(f"{name}: nothing later than {known}")
        elif name in _BESIDE:
            remarks += _moved(name, currency, past, known, level)
        elif name in _SAME and (before := [day for day in past if day <= known]) == []:
            remarks.append(f"{name}: begins on {min(past)}; what was between {known} and then is not known")
        elif name in _SAME and past[before[-1]] != level:
            remarks.append(
                f"{name}: is {past[before[-1]]} on {before[-1]}, the table's {currency} {level}: another rate?"
            )
        else:
            for day, value in past.items():
                if day > known and value != level:
                    changes.append(Change(currency, day, level, value))
                    if abs(value - level) > _LARGE:
                        remarks.append(f"{currency}: a change of {value - level:+} on {day}: is it in percent?")
                    level = value
            verified[currency], levels[currency] = max(past), level
    return Refresh(tuple(changes), verified, tuple(remarks))


def write_later(path: Path, refresh: Refresh, later: Levels) -> None:
    """Write the user's file anew: the rows it had, the changes, and for each currency the last date it is known to."""
    rows = {c: dict(own) for c, own in later.items()}
    for change in refresh.changes:
        rows.setdefault(change.currency, {})[change.day] = change.after
    lines = [
        "# Policy rates after the built-in table: percent from the date on; a last row says up to when it is known."
    ]
    lines.append(",".join(_COLUMNS))
    for currency, until in sorted(refresh.verified.items()):
        if until <= TABLE_UNTIL:
            continue
        level = _level(currency, {})
        for day, value in sorted(rows.get(currency, {}).items()):
            if value != level:
                lines.append(f"{currency},{day},{value}")
                level = value
        if not lines[-1].startswith(f"{currency},{until},"):
            lines.append(f"{currency},{until},{level}")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text("\n".join([*lines, ""]), "utf-8")
    beside.replace(path)


def age(later: Levels, today: date) -> str:
    """How old the table is, in one line."""
    until = min(verified_until(later).values())
    days = (today - until).days
    return (
        f"policy rates are complete to {until}, {days} days ago"
        if days > 0
        else f"policy rates are complete to {until}"
    )


def _level(currency: str, later: Levels) -> Decimal:
    """The last level there is."""
    rows = later.get(currency)
    if rows:
        return rows[max(rows)]
    return [percent for own, _, _, percent in read_changes() if own == currency][-1]


def _middle(series: Levels) -> dict[str, dict[date, Decimal]]:
    """The middle of the range of the Federal Reserve, as the table has it."""
    given = [name for name in _RANGE if name in series]
    if not given:
        return {}
    if len(given) == 1:
        raise ConfigError(
            f"{given[0]} is one side of the range", hint=f"give {' and '.join(_RANGE)}: the rate is the middle"
        )
    low, high = (series[name] for name in _RANGE)
    return {"DFEDTAR": {day: (low[day] + high[day]) / 2 for day in low.keys() & high.keys()}}


def _moved(name: str, currency: str, past: Mapping[date, Decimal], known: date, level: Decimal) -> Collection[str]:
    """What a market rate shows of its policy rate."""
    before = [value for day, value in past.items() if day <= known]
    last = past[max(past)]
    if before and abs(last - before[-1]) <= _NEAR:
        return [f"{name}: moved {last - before[-1]:+} since {known}: {currency} seems unchanged at {level}"]
    moved = f"moved {last - before[-1]:+} since {known}" if before else f"is {last}"
    return [f"{name}: {moved}: look up the {currency} policy rate ({level} in the table) and give it in a file"]


def _observations(path: Path, text: str) -> dict[date, Decimal]:
    """The levels of one series as FRED's API answers."""
    try:
        rows = [(row["date"], row["value"]) for row in json.loads(text)["observations"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.name} is no answer of FRED: {error!r}", hint="download it again") from None
    return _levels(path, rows)


def _own_rows(path: Path, text: str) -> dict[str, dict[date, Decimal]]:
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not lines or [name.strip() for name in lines[0][1].split(",")] != _COLUMNS:
        raise ConfigError(f"{path}: the columns are not {','.join(_COLUMNS)}", hint="write them in the first line")
    found: dict[str, dict[date, Decimal]] = {}
    for number, line in lines[1:]:
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 3 or cells[0] not in CURRENCIES:
            raise ConfigError(
                f"{path}, line {number}: {line!r} is no row of {','.join(_COLUMNS)}",
                hint=f"a currency is one of {', '.join(sorted(CURRENCIES))}",
            )
        levels = _levels(path, [(cells[1], cells[2])], number)
        if not levels or levels.keys() & found.get(cells[0], {}).keys():
            raise DataError(
                f"{path}, line {number}: {line!r} has no rate, or a date that was there", hint="one row a date"
            )
        found.setdefault(cells[0], {}).update(levels)
    return found


def _levels(path: Path, rows: Iterable[tuple[Any, Any]], number: int = 0) -> dict[date, Decimal]:
    levels = {}
    for day, value in rows:
        if str(value).strip() in ("", "."):
            continue
        try:
            levels[date.fromisoformat(str(day).strip())] = _percent(str(value))
        except (ValueError, InvalidOperation):
            where = f"{path.name}, line {number}" if number else path.name
            raise DataError(f"{where}: {day!r}, {value!r} is no date and rate", hint="YYYY-MM-DD and percent") from None
    return levels


def _percent(text: str) -> Decimal:
    value = Decimal(text.strip())
    if not value.is_finite():
        raise ValueError(text)
    return value


def _understood() -> str:
    return f"understood are {', '.join(SERIES)}"
