"""Every series of the table with made-up values, ended where the real ones were seen to end in 2026."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta

import numpy as np

from fxcarry_fred.series import TABLE, RateSource, Spot
from fxcarry_fred.testing.fake import FakeFred

_ENDS = {
    "IR3TIB01GBM156N": date(2026, 1, 1),
    "IR3TIB01SEM156N": date(2025, 8, 1),
    "IR3TIB01TRM156N": date(2008, 4, 1),
    "IRSTCI01NZM156N": date(2024, 12, 1),
}
"""Dates of the last observation, of series that have stopped."""

_LEVELS = {"JPY": 150.0, "KRW": 1350.0, "INR": 84.0, "GBP": 1.28, "AUD": 0.66, "NZD": 0.61, "EUR": 1.08}
_RELEASE = 15  # days after the end of a month


def world(today: date, *, since: date = date(2024, 1, 1), currencies: Collection[str] = tuple(TABLE)) -> FakeFred:
    """A fake FRED as it is ``today``, with the series of ``currencies`` and USD from ``since`` on.

    The first vintage is that of the first observation; every third monthly value is revised a month after its release.
    """
    fake = FakeFred(today=today)
    for currency in sorted({*currencies, "USD"}):
        own = TABLE[currency]
        if own.spot is not None:
            _add_spot(fake, own.spot, currency, since)
        for source in own.candidates("3m"):
            _add_rates(fake, source, since)
    return fake


def _random(name: str) -> np.random.Generator:
    return np.random.default_rng([*name.encode()])


def _add_spot(fake: FakeFred, spot: Spot, currency: str, since: date) -> None:
    fake.add(spot.id, title=f"{currency} spot, H.10", units="Currency Units", frequency="D")
    days = [day for day in _days(since, fake.today) if day.weekday() < 5]
    level = _LEVELS.get(currency, 8.0)
    values = level * np.exp(np.cumsum(_random(spot.id).normal(0, 0.005, len(days))))
    for day, value in zip(days, values):
        monday = day + timedelta(days=7 - day.weekday())
        holiday = day.month == 12 and day.day == 25
        fake.release(spot.id, day, "." if holiday else f"{value:.4f}", on=monday)


def _add_rates(fake: FakeFred, source: RateSource, since: date) -> None:
    fake.add(source.id, title=f"{source.id}, a rate", frequency="M" if source.frequency == "monthly" else "D")
    random = _random(source.id)
    level, last = random.uniform(1.0, 5.0), _ENDS.get(source.id, fake.today)
    days = _days(min(since, last.replace(day=1) - timedelta(days=90)), last)
    if source.frequency == "daily":
        for day in days:
            if day.weekday() < 5:
                level += random.normal(0, 0.01)
                fake.release(source.id, day, f"{level:.2f}", on=_weekday(day + timedelta(days=1)))
        return
    for number, day in enumerate(day for day in days if day.day == 1):
        level += random.normal(0, 0.1)
        released = _weekday(source.last_day(day) + timedelta(days=_RELEASE))
        fake.release(source.id, day, f"{level:.4f}", on=released)
        if number % 3 == 0:
            fake.release(source.id, day, f"{level + 0.05:.4f}", on=_weekday(released + timedelta(days=30)))


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=i) for i in range((last - first).days + 1)]


def _weekday(day: date) -> date:
    return day + timedelta(days=max(0, 7 - day.weekday()) % 7 if day.weekday() > 4 else 0)
