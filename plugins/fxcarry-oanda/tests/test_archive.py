"""The broker's financing rates of each day, kept on the disk."""

from __future__ import annotations

import csv
import logging
from datetime import date
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from fxcarry.model import Pair
from fxcarry_oanda.archive import Archive
from fxcarry_oanda.words import Terms

MONDAY, TUESDAY = date(2025, 3, 10), date(2025, 3, 11)
EURUSD = Terms(
    pair=Pair("EUR", "USD"),
    price_digits=5,
    unit_digits=0,
    minimum=Decimal(1),
    margin_rate=Decimal("0.02"),
    long_rate=Decimal("-0.0321"),
    short_rate=Decimal("0.0105"),
    days={0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 0, 6: 0},
)
USDJPY = attrs.evolve(EURUSD, pair=Pair("USD", "JPY"), long_rate=Decimal("1E-7"), short_rate=None, days=None)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_day_is_kept_once_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rates.csv"
    Archive(path).keep(MONDAY, [EURUSD, USDJPY])
    changed = attrs.evolve(EURUSD, long_rate=Decimal(9))
    again = Archive(path)
    again.keep(MONDAY, [changed])
    again.keep(MONDAY, [changed])
    again.keep(TUESDAY, [EURUSD])
    assert rows(path) == [
        {
            "trade_date": "2025-03-10",
            "instrument": "EURUSD",
            "long_rate": "-0.0321",
            "short_rate": "0.0105",
            "days_charged": "1 1 3 1 1 0 0",
        },
        {
            "trade_date": "2025-03-10",
            "instrument": "USDJPY",
            "long_rate": "0.0000001",
            "short_rate": "",
            "days_charged": "",
        },
        {
            "trade_date": "2025-03-11",
            "instrument": "EURUSD",
            "long_rate": "-0.0321",
            "short_rate": "0.0105",
            "days_charged": "1 1 3 1 1 0 0",
        },
    ]


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    archive = Archive(tmp_path / "file" / "rates.csv")
    with caplog.at_level(logging.ERROR, "fxcarry.oanda"):
        archive.keep(MONDAY, [EURUSD])
    assert "2025-03-10 are not kept" in caplog.text
    (tmp_path / "file").unlink()
    archive.keep(MONDAY, [EURUSD])
    assert len(rows(tmp_path / "file" / "rates.csv")) == 1
