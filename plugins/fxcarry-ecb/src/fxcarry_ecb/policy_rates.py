"""The policy rates of the ten G10 currencies since 1999: the table ``policy_rates.csv`` as point-in-time series.

A row is in force and known from 17:00 New York of its date. That is late rather than early: a decision announced in the
morning is used from the evening on, and a change of which only the month is known counts from the last weekday of that
month (no central bank decides on a weekend, so a month-end level is known by then).
The deposit (forward-implied) day count of each currency is taken for its policy rate.
"""

from __future__ import annotations

import csv
from datetime import date, datetime, timedelta
from pathlib import Path

from fxcarry.conventions import day_count, session_end
from fxcarry.market import RateSeries

VERIFIED_UNTIL = session_end(date(2026, 8, 31))
"""The table holds every change up to here."""


def read_policy_rates() -> dict[str, RateSeries]:
    """The policy rate of each G10 currency (annual decimals), with the instant from which each level was known."""
    rows: dict[str, list[tuple[datetime, datetime, float]]] = {}
    with Path(__file__).with_name("policy_rates.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            rows.setdefault(row["currency"], []).append(
                (_known(row["effective_date"]), _known(row["available_at"]), float(row["rate_pct"]) / 100)
            )
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
