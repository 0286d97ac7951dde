"""Identities of fxcarry.carry that hold for every market."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry import carry

price = st.floats(1e-4, 1e5)
near = st.floats(0.5, 2.0)  # a forward or a later price relative to spot
rate = st.floats(-0.05, 0.6)
days = st.integers(1, 730)
day_count = st.sampled_from([360, 365])


@given(price, near, near)
def test_total_is_spot_times_carry(spot, forward, end):
    result = carry.excess_return(spot, spot * forward, spot * end)
    assert result.total == pytest.approx((1 + result.spot) * (1 + result.carry) - 1, abs=1e-12)
    assert result.log == pytest.approx(math.log1p(result.total), abs=1e-12)


@given(price, rate, rate, days, day_count, day_count)
def test_the_implied_rate_inverts_the_forward(spot, base, quote, n, base_count, quote_count):
    counts = {"base_day_count": base_count, "quote_day_count": quote_count}
    outright = carry.forward(spot, base, quote, n, **counts)
    assert carry.implied_quote_rate(spot, outright, n, base, **counts) == pytest.approx(quote, abs=1e-10)
    assert outright - spot == pytest.approx(carry.tom_next_points(spot, base, quote, n, **counts), abs=1e-9 * spot)


@given(price, rate, rate, days)
def test_quoting_the_pair_the_other_way_round_mirrors_it(spot, base, quote, n):
    outright = carry.forward(spot, base, quote, n)
    inverse = carry.forward(1 / spot, quote, base, n)
    assert outright * inverse == pytest.approx(1.0)
    assert carry.carry_ann(spot, outright, n) == pytest.approx(-carry.carry_ann(1 / spot, inverse, n), abs=1e-9)


@given(price, rate, rate, days)
def test_the_currency_with_the_higher_rate_earns_carry(spot, base, quote, n):
    ann = carry.carry_ann(spot, carry.forward(spot, base, quote, n), n)
    assert ann == pytest.approx(0.0, abs=1e-9) or (ann > 0) == (base > quote)


@given(st.lists(st.tuples(price, rate, rate, days), min_size=1, max_size=6))
def test_arrays_are_elementwise(rows):
    spot, base, quote, n = (np.array(column) for column in zip(*rows))
    one_by_one = [carry.forward(*row) for row in rows]
    np.testing.assert_allclose(carry.forward(spot, base, quote, n), one_by_one, rtol=1e-14)
