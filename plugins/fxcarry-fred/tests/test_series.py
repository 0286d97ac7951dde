"""Units, quoting direction and day count of every series; the table's promises; discounts by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.conventions import G10, day_count, session_end
from fxcarry.errors import ConfigError
from fxcarry.model import Pair
from fxcarry_fred.client import Observation
from fxcarry_fred.feed import FredFeed
from fxcarry_fred.rates import KnownRates
from fxcarry_fred.series import TABLE, RateSource, series_of, simple_yield
from fxcarry_fred.testing import FakeFred

MakeFeed = Callable[..., FredFeed]
README = Path(__file__).parents[1] / "README.md"

# H.10 as published by the Federal Reserve: the currencies that it starred as USD per unit, and the others.
USD_PER_UNIT = {"DEXUSEU": "EUR", "DEXUSUK": "GBP", "DEXUSAL": "AUD", "DEXUSNZ": "NZD"}
UNITS_PER_USD = {
    "DEXJPUS": "JPY",
    "DEXSZUS": "CHF",
    "DEXCAUS": "CAD",
    "DEXNOUS": "NOK",
    "DEXSDUS": "SEK",
    "DEXDNUS": "DKK",
    "DEXMXUS": "MXN",
    "DEXSFUS": "ZAR",
    "DEXBZUS": "BRL",
    "DEXINUS": "INR",
    "DEXKOUS": "KRW",
    "DEXCHUS": "CNY",
    "DEXSIUS": "SGD",
    "DEXHKUS": "HKD",
    "DEXTHUS": "THB",
    "DEXTAUS": "TWD",
    "DEXMAUS": "MYR",
}


def test_every_spot_series_is_of_its_currency_in_its_direction(make_feed: MakeFeed) -> None:
    fake = FakeFred(today=date(2025, 2, 10))
    both = {**USD_PER_UNIT, **UNITS_PER_USD}
    for series in both:
        fake.release(series, date(2025, 2, 3), "8.0000", on=date(2025, 2, 10))
    for day in (3, 4, 5, 6, 7):
        fake.release("DTB3", date(2025, 2, day), "4.20", on=date(2025, 2, 8))
    feed = make_feed(fake, *both.values())
    quotes = feed.snapshot(session_end(date(2025, 2, 10))).quotes
    assert {pair: float(quote.mid) for pair, quote in quotes.items()} == {
        **{Pair(c, "USD"): 8.0 for c in USD_PER_UNIT.values()},
        **{Pair(c, "USD"): 0.125 for c in UNITS_PER_USD.values()},
    }
    assert {s.spot.id for s in TABLE.values() if s.spot is not None} == set(both)


def test_spot_is_observed_at_noon_new_york_in_winter_and_summer(make_feed: MakeFeed) -> None:
    fake = FakeFred(today=date(2025, 3, 17))
    for day, value in (("2025-03-07", "1.0800"), ("2025-03-10", "."), ("2025-03-11", "1.0900")):
        fake.release("DEXUSEU", date.fromisoformat(day), value, on=date(2025, 3, 17))
    history = make_feed(fake, "EUR").history(None, None)
    assert [str(t)[:16] for t in history.times] == ["2025-03-07T17:00", "2025-03-11T16:00"]
    assert history.spot[:, 0].tolist() == [1.08, 1.09]
    assert history.numeraire == "USD"


def test_a_day_that_one_currency_lacks_is_empty_for_it(make_feed: MakeFeed) -> None:
    fake = FakeFred(today=date(2025, 3, 17))
    fake.release("DEXUSEU", date(2025, 3, 7), "1.0800", on=date(2025, 3, 10))
    fake.release("DEXUSEU", date(2025, 3, 10), "1.0900", on=date(2025, 3, 17))
    fake.release("DEXJPUS", date(2025, 3, 7), "150.00", on=date(2025, 3, 10))
    fake.release("DEXJPUS", date(2025, 3, 10), ".", on=date(2025, 3, 17))
    history = make_feed(fake, "EUR", "JPY").history(None, None)
    assert history.currencies == ("EUR", "JPY")
    assert history.spot[0].tolist() == [1.08, 1 / 150]
    assert history.spot[1, 0] == 1.09
    assert np.isnan(history.spot[1, 1])


def test_a_bank_discount_becomes_a_simple_yield() -> None:
    # 5 % discount on 91 days: price 1 - 0.05*91/360 = 0.98736111; (1/0.98736111 - 1)*360/91 = 0.05064003
    assert simple_yield(0.05) == pytest.approx(0.05064003, abs=5e-9)
    assert simple_yield(0.0) == 0.0


@given(st.floats(-0.02, 0.25))
def test_a_bill_at_the_yield_costs_what_it_costs_at_the_discount(discount: float) -> None:
    price = 1 - discount * 91 / 360
    assert price * (1 + simple_yield(discount) * 91 / 360) == pytest.approx(1.0, abs=1e-12)


def test_the_dollars_rate_is_the_yield_of_the_bill(make_feed: MakeFeed) -> None:
    fake = FakeFred(today=date(2025, 2, 10))
    for day, value in (("2025-02-05", "5.00"), ("2025-02-06", "4.20")):
        fake.release("DTB3", date.fromisoformat(day), value, on=date.fromisoformat(day))
        fake.release("DEXUSEU", date.fromisoformat(day), "1.08", on=date(2025, 2, 10))
    rate = make_feed(fake, "EUR").rate("USD", session_end(date(2025, 2, 6)))
    # 4.2 % on 91 days: 0.042/(1 - 0.042*91/360) = 0.04245070
    assert (rate.value, rate.day_count) == (pytest.approx(0.0424507, abs=5e-8), 360)
    assert (rate.source, rate.tenor) == ("FRED DTB3", "3m")


@pytest.mark.parametrize(
    ("currency", "source", "percent", "value", "days"),
    [
        ("GBP", "IUDSOIA", "4.75", 0.0475, 365),
        ("EUR", "ECBDFR", "-0.50", -0.005, 360),
        ("USD", "DGS3MO", "3.65", 0.036, 360),  # ACT/365: 3.65 % of 365 days are 0.01 % a day, 3.60 % of 360
        ("JPY", "IRSTCI01JPM156N", "0.73", 0.0072, 360),
        ("JPY", "IR3TIB01JPM156N", "0.72", 0.0072, 360),
        ("AUD", "IR3TIB01AUM156N", "4.10", 0.041, 365),
        ("NZD", "IR3TIB01NZM156N", "4.10", 0.041, 365),
        ("CAD", "IR3TIB01CAM156N", "4.10", 0.041, 365),
        ("ZAR", "IR3TIB01ZAM156N", "7.30", 0.073, 365),
        ("CHF", "IR3TIB01CHM156N", "0.40", 0.004, 360),
        ("NOK", "IR3TIB01NOM156N", "4.60", 0.046, 360),
        ("SEK", "IRSTCI01SEM156N", "2.10", 0.021, 360),
    ],
)
def test_percent_become_decimals_in_the_currencys_day_count(
    currency: str, source: str, percent: str, value: float, days: int
) -> None:
    candidates = {s.id: s for s in series_of(currency).candidates("3m")}
    rows = [Observation(date(2025, 1, 1), date(2025, 2, 14), float(percent))]
    known = KnownRates.of(currency, candidates[source], rows, date(2025, 6, 2))
    assert known.value.tolist() == pytest.approx([value], abs=1e-12)
    assert day_count(currency) == days


def test_a_month_ends_on_its_last_day() -> None:
    monthly = RateSource("X", "monthly", "3m", 360)
    ends = [monthly.last_day(date(2024, month, 1)) for month in (1, 2, 4, 12)]
    assert ends == [date(2024, 1, 31), date(2024, 2, 29), date(2024, 4, 30), date(2024, 12, 31)]
    assert RateSource("X", "daily", "3m", 360).last_day(date(2024, 1, 5)) == date(2024, 1, 5)


def test_the_kind_that_is_asked_for_is_tried_first_and_the_other_after_it() -> None:
    assert [s.id for s in series_of("EUR").candidates("3m")] == ["IR3TIB01EZM156N", "ECBESTRVOLWGTTRMDMNRT", "ECBDFR"]
    assert [s.id for s in series_of("GBP").candidates("overnight")] == ["IUDSOIA", "IR3TIB01GBM156N"]
    assert [s.id for s in series_of("BRL").candidates("3m")] == ["IRSTCI01BRM156N"]
    assert all(TABLE[c].three_month and TABLE[c].overnight for c in G10)


def test_no_dead_family_is_used() -> None:
    ids = [s.id for own in TABLE.values() for s in own.candidates("3m")]
    assert len(ids) == len(set(ids))
    assert not [i for i in ids if re.match("IRSTCB01|INTDSR|BOERUKM|.*MTD156N|TEDRATE|IR3TBB01", i)]


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(ConfigError, match="no series of FRED is known for XAU"):
        series_of("XAU")


def test_the_readme_shows_every_series() -> None:
    rows = [line for line in README.read_text("utf-8").splitlines() if re.match(r"\| [A-Z]{3} \|", line)]
    shown = {cells[1]: cells[2:5] for cells in ([cell.strip() for cell in row.split("|")] for row in rows)}
    assert shown.keys() == TABLE.keys()
    for currency, own in TABLE.items():
        spot, *rates = shown[currency]
        assert spot.startswith(own.spot.id if own.spot else ("–" if currency == "USD" else "none"))
        if own.spot is not None:
            assert spot.endswith(f"USD per {currency}" if own.spot.is_usd_per_unit else f"{currency} per USD")
        for text, sources in zip(rates, (own.three_month, own.overnight)):
            said = [f"{s.id} ({s.frequency[0]}, ACT/{s.basis})" for s in sources]
            assert text == (", ".join(said) or "none")
