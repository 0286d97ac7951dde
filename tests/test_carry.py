"""fxcarry.carry against worked numbers of covered interest parity and of excess returns."""

from __future__ import annotations

import math
from decimal import Decimal

import attrs
import numpy as np
import pandas as pd
import pytest

from fxcarry import carry
from fxcarry.errors import BadQuoteError, DataError, MissingDataError

# pair, S, (r_base, D), (r_quote, D), pip, F, points, ln(S/F) 365/92; all over 92 days
FORWARDS = [
    ("EURUSD", 1.0850, (0.0265, 360), (0.0453, 360), 0.0001, 1.09017776, 51.7776, -0.01888786),
    ("USDJPY", 155.00, (0.0453, 360), (0.0025, 360), 0.01, 153.32404640, -167.5954, 0.04313143),
    ("AUDUSD", 0.6600, (0.0435, 365), (0.0453, 360), 0.0001, 0.66039972, 3.9972, -0.00240209),
]


@pytest.mark.parametrize(("pair", "spot", "base", "quote", "pip", "outright", "points", "ann"), FORWARDS)
def test_forward_points_and_annual_carry(pair, spot, base, quote, pip, outright, points, ann):
    got = carry.forward(spot, base[0], quote[0], 92, base_day_count=base[1], quote_day_count=quote[1])
    assert type(got) is float
    assert got == pytest.approx(outright, abs=1e-8)
    assert carry.forward_points(spot, got, pip) == pytest.approx(points, abs=1e-3)
    assert carry.carry_ann(spot, got, 92) == pytest.approx(ann, abs=1e-8)
    assert carry.tom_next_points(
        spot, base[0], quote[0], 92, base_day_count=base[1], quote_day_count=quote[1]
    ) == pytest.approx(points * pip, abs=1e-3 * pip)
    back = carry.implied_quote_rate(spot, got, 92, base[0], base_day_count=base[1], quote_day_count=quote[1])
    assert back == pytest.approx(quote[0], abs=1e-12)


def test_day_counts_matter():
    # 18 bp of rate differential, 24 bp of carry: the rest is 365 against 360.
    same = carry.forward(0.66, 0.0435, 0.0453, 92)
    assert carry.carry_ann(0.66, same, 92) == pytest.approx(-0.0018, abs=5e-5)
    own = carry.forward(0.66, 0.0435, 0.0453, 92, base_day_count=365)
    assert carry.carry_ann(0.66, own, 92) == pytest.approx(-0.00240209, abs=1e-8)


def test_implied_quote_rate():
    assert carry.implied_quote_rate(155.0, 153.32, 92, 0.0453) == pytest.approx(0.00239666, abs=1e-8)
    on_365 = carry.implied_quote_rate(155.0, 153.32, 92, 0.0453, quote_day_count=365)
    assert on_365 == pytest.approx(0.00239666 * 365 / 360, abs=1e-8)


def test_forward_agrees_with_quantlib_discounting():
    ql = pytest.importorskip("QuantLib")
    today = ql.Date(10, 3, 2025)
    end = today + 92

    def discount(rate, day_count):
        return ql.FlatForward(today, rate, day_count, ql.Simple).discount(end)

    expected = 0.66 * discount(0.0435, ql.Actual365Fixed()) / discount(0.0453, ql.Actual360())
    assert carry.forward(0.66, 0.0435, 0.0453, 92, base_day_count=365) == pytest.approx(expected, abs=1e-12)


def test_tom_next_over_a_weekend_and_over_no_day():
    # USDJPY, three days: 155 * ((1 + .0025/120) / (1 + .0453/120) - 1), worked out by hand.
    assert carry.tom_next_points(155.0, 0.0453, 0.0025, 3) == pytest.approx(-0.0552625, abs=1e-6)
    assert carry.tom_next_points(155.0, 0.0453, 0.0025, 0) == 0.0
    with pytest.raises(DataError, match="days -1"):
        carry.tom_next_points(155.0, 0.0453, 0.0025, -1)


def test_excess_return_of_a_pair_quoted_in_account_currency():
    aud = carry.excess_return(0.6600, 0.65985, 0.6725)
    assert aud.spot == pytest.approx(0.018939393939, abs=1e-12)
    assert aud.carry == pytest.approx(0.000227324392, abs=1e-12)
    assert aud.total == pytest.approx(0.019171023718, abs=1e-12)
    assert aud.log == pytest.approx(0.018989575013, abs=1e-12)
    assert aud.total - aud.spot - aud.carry == pytest.approx(4.305386e-06, abs=1e-12)
    assert {type(v) for v in attrs.asdict(aud).values()} == {float}


def test_excess_return_of_an_inverted_pair():
    jpy = carry.excess_return(1 / 155.00, 1 / 153.32, 1 / 151.00)
    assert jpy.total == pytest.approx(+0.015364238411, abs=1e-12)
    assert jpy.spot == pytest.approx(+0.026490066225, abs=1e-12)
    assert jpy.carry == pytest.approx(-0.010838709677, abs=1e-12)
    assert jpy.log == pytest.approx(0.015247403697, abs=1e-12)


def test_excess_return_is_frozen():
    record = carry.excess_return(1.0, 1.0, 1.1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        record.total = 0.0


def test_arrays_in_arrays_out():
    spot = np.array([row[1] for row in FORWARDS[:2]])
    base = np.array([row[2][0] for row in FORWARDS[:2]])
    quote = np.array([row[3][0] for row in FORWARDS[:2]])
    got = carry.forward(spot, base, quote, 92)
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got, [1.09017776, 153.32404640], atol=1e-8)
    np.testing.assert_allclose(carry.carry_ann(spot, got, 92), [-0.01888786, 0.04313143], atol=1e-8)
    one_spot = carry.forward(1.0850, 0.0265, 0.0453, np.array([30, 92]))
    assert one_spot.shape == (2,)
    start, outright, end = np.array([[0.66, 0.65985, 0.6725], [1 / 155, 1 / 153.32, 1 / 151]]).T
    record = carry.excess_return(start, outright, end)
    np.testing.assert_allclose(record.total, [0.019171023718, 0.015364238411], atol=1e-12)


def test_series_in_series_out():
    spot = pd.Series({"EUR": 1.0850, "GBP": 1.2700})
    outright = carry.forward(spot, pd.Series({"EUR": 0.0265, "GBP": 0.0453}), 0.0453, 92)
    assert list(outright.index) == ["EUR", "GBP"]
    assert outright["EUR"] == pytest.approx(1.09017776, abs=1e-8)
    assert outright["GBP"] == pytest.approx(1.2700)
    assert isinstance(carry.excess_return(spot, outright, spot).carry, pd.Series)
    assert isinstance(carry.forward_points(spot, outright, 0.0001), pd.Series)


def test_decimals_and_integers_are_numbers_too():
    assert carry.forward_points(Decimal("155"), Decimal("153.32"), Decimal("0.01")) == pytest.approx(-168.0)
    assert carry.carry_ann(1, 2, 365) == pytest.approx(-math.log(2))
    assert type(carry.carry_ann(np.float64(1.0), np.float64(2.0), 365)) is float


@pytest.mark.parametrize("bad", [0.0, -1.1, math.nan, math.inf])
def test_what_is_not_a_price(bad):
    with pytest.raises(BadQuoteError, match=r"spot .* is not a price"):
        carry.forward(bad, 0.01, 0.02, 30)
    with pytest.raises(BadQuoteError, match="forward"):
        carry.carry_ann(1.1, bad, 30)
    with pytest.raises(BadQuoteError, match="forward"):
        carry.forward_points(1.1, bad, 0.0001)
    with pytest.raises(BadQuoteError, match="pip"):
        carry.forward_points(1.1, 1.1, bad)
    with pytest.raises(BadQuoteError, match="forward"):
        carry.implied_quote_rate(1.1, bad, 30, 0.01)
    for position, name in enumerate(("spot_start", "forward_start", "spot_end")):
        prices = [1.1, 1.1, 1.1]
        prices[position] = bad
        with pytest.raises(BadQuoteError, match=name):
            carry.excess_return(*prices)


def test_the_error_says_which_and_where():
    with pytest.raises(BadQuoteError) as caught:
        carry.carry_ann(pd.Series({"EUR": 1.1, "JPY": -0.5}), pd.Series({"EUR": 1.1, "JPY": 0.5}), 30)
    assert "spot -0.5 at JPY" in str(caught.value)
    assert caught.value.fields == {"name": "spot", "value": -0.5}
    with pytest.raises(BadQuoteError, match="nan at 1"):
        carry.carry_ann(np.array([1.1, np.nan]), 1.1, 30)


@pytest.mark.parametrize("days", [0, -3, math.nan, math.inf])
def test_what_is_not_a_period(days):
    for call in (
        lambda: carry.forward(1.1, 0.01, 0.02, days),
        lambda: carry.carry_ann(1.1, 1.1, days),
        lambda: carry.implied_quote_rate(1.1, 1.1, days, 0.02),
    ):
        with pytest.raises(DataError, match="days"):
            call()


@pytest.mark.parametrize("rate", [math.nan, math.inf])
def test_a_missing_rate_is_an_error(rate):
    with pytest.raises(MissingDataError, match="base_rate"):
        carry.forward(1.1, rate, 0.02, 30)
    with pytest.raises(MissingDataError, match="quote_rate"):
        carry.forward(1.1, 0.02, rate, 30)
    with pytest.raises(MissingDataError, match="base_rate"):
        carry.implied_quote_rate(1.1, 1.1, 30, rate)


def test_impossible_rates_and_day_counts():
    with pytest.raises(DataError, match="leaves nothing"):
        carry.forward(1.1, -13.0, 0.02, 30)
    with pytest.raises(DataError, match="day count 0"):
        carry.forward(1.1, 0.01, 0.02, 30, base_day_count=0)
    with pytest.raises(DataError, match="day count -360"):
        carry.implied_quote_rate(1.1, 1.1, 30, 0.02, quote_day_count=-360)


def test_series_that_do_not_match_are_an_error_and_not_a_gap():
    spot, other = pd.Series({"EUR": 1.1, "GBP": 1.3}), pd.Series({"EUR": 1.1, "AUD": 0.66})
    with pytest.raises(MissingDataError, match="label by label"):
        carry.carry_ann(spot, other, 30)
    with pytest.raises(MissingDataError, match="label by label"):
        carry.forward(spot, other / 100, 0.02, 30)
    with pytest.raises(MissingDataError, match="has no partner"):
        carry.forward(spot, spot / 100, 0.02, other * 30)
