"""Alpha Vantage's USD rates as a point-in-time series."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Literal

from fxcarry.conventions import CALENDAR_START, holidays_of, session_end
from fxcarry.market import RateSeries
from fxcarry_alphavantage.client import Client, NoCallsLeft
from fxcarry_alphavantage.store import Store
from fxcarry_alphavantage.words import DAY, Bar, values

UsdRate = Literal["federal-funds", "3month"]
_PAUSE = timedelta(hours=6)  # until what is not there yet is asked for again
_MIDNIGHT = time(tzinfo=UTC)
_SERIES = {
    "federal-funds": ("FEDERAL_FUNDS_RATE", {"interval": "daily"}, 360, "overnight"),
    "3month": ("TREASURY_YIELD", {"interval": "daily", "maturity": "3month"}, 365, "3 months"),
}


def usd_rate(client: Client, store: Store, kind: UsdRate, now: datetime) -> RateSeries:
    """The effective federal funds rate (ACT/360) or the yield of three-month Treasuries (ACT/365), annual decimals.

    A value is for its date and known at 17:00 New York of the next business day: the Federal Reserve publishes it that
    morning or afternoon. Values of weekends repeat Friday's and are left out, and so are those before December 1998,
    where the built-in calendar of holidays begins. What is stored is asked for again when a newer value should be out.
    """
    function, params, day_count, tenor = _SERIES[kind]
    span, asked = store.span(function), store.asked(function)
    newest = None if span is None else span[1].date()
    is_due = newest is None or published(next_business_day(newest)) <= now
    if is_due and (asked is None or now - asked >= _PAUSE):
        try:
            found = values(client.ask(function, params, "data"))
            store.keep(function, _kept(found))
            store.note(function, now)
        except NoCallsLeft:
            if span is None:
                raise
    days = [(ended.date(), float(value) / 100) for ended, value in store.bars(function)]
    return RateSeries.of(
        "USD",
        [(session_end(day), published(day), value) for day, value in days if published(day) <= now],
        day_count=day_count,
        tenor=tenor,
        source=f"Alpha Vantage {function}",
    )


def published(day: date) -> datetime:
    """When the value of a date is known: 17:00 New York of the business day after."""
    return session_end(next_business_day(day))


def next_business_day(day: date) -> date:
    """The first day after ``day`` that is no weekend and no holiday of the Federal Reserve."""
    day += DAY
    while day.weekday() > 4 or day in holidays_of("USD"):
        day += DAY
    return day


def _kept(rows: Mapping[date, Decimal]) -> list[Bar]:
    return [
        (datetime.combine(day, _MIDNIGHT), value)
        for day, value in rows.items()
        if day.weekday() < 5 and day >= CALENDAR_START
    ]
