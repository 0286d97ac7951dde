"""The policy rates of the ten G10 currencies since 1999: the table ``policy_rates.csv`` as point-in-time series.

A row is in force and known from 17:00 New York of its date. That is late rather than early: a decision announced in the
morning is used from the evening on, and a change of which only the month is known counts from the last weekday of that
month (no central bank decides on a weekend, so a month-end level is known by then).
The deposit (forward-implied) day count of each currency is taken for its policy rate.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from fxcarry.conventions import day_count, session_end
from fxcarry.market import RateSeries

TABLE_UNTIL = date(2026, 8, 31)
"""The date up to which the built-in table holds every change."""
VERIFIED_UNTIL = session_end(TABLE_UNTIL)
"""The table holds every change up to here."""
CURRENCIES = ("AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK", "USD")
"""What it has rates of."""


def read_changes() -> list[tuple[str, str, str, Decimal]]:
    """The rows of the table: currency, effective date, date it was known, percent; oldest first in each currency."""
    with Path(__file__).with_name("policy_rates.csv").open(newline="", encoding="utf-8") as file:
        return [
            (row["currency"], row["effective_date"], row["available_at"], Decimal(row["rate_pct"]))
            for row in csv.DictReader(line for line in file if not line.startswith("#"))
        ]


def read_policy_rates(later: Mapping[str, Mapping[date, Decimal]] | None = None) -> dict[str, RateSeries]:
    """The policy rate of each G10 currency (annual decimals), with the instant from which each level was known.

    ``later`` are levels in percent by currency and date that go on from the table (:mod:`fxcarry_ecb.refresh`).
    """
    rows: dict[str, list[tuple[datetime, datetime, float]]] = {}
    for currency, effective, available, percent in read_changes():
        rows.setdefault(currency, []).append((_known(effective), _known(available), float(percent) / 100))
    for currency, levels in (later or {}).items():
        for day, percent in levels.items():
            known = session_end(day + timedelta((7 - day.weekday()) % 7 if day.weekday() > 4 else 0))
            rows[currency].append((known, known, float(percent) / 100))
    return {
        currency: RateSeries.of(
            currency,
            own,
            day_count=day_count(currency),
            tenor="policy",
            source="central-bank announcements, cross-checked with BIS statistics",
        )
        for currency, own in rows.items()
    }


def _known(day: str) -> datetime:
    on = date.fromisoformat(day)
    return session_end(on - timedelta(max(on.weekday() - 4, 0)))
