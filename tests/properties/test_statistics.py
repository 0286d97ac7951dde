"""What fxcarry.statistics must keep whatever the returns are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fxcarry import statistics as stats

# Returns on a grid of a hundredth of a basis point: no denormals, no near-constant series.
returns = arrays(np.int64, st.integers(2, 60), elements=st.integers(-300_000, 300_000)).map(lambda a: a / 1e6)
varied = returns.filter(lambda r: np.ptp(r) > 1e-4)
scale = st.floats(0.1, 2.0)
ratio = st.floats(-0.5, 0.5)
level = st.floats(0.5, 0.995)


@st.composite
def moments(draw):
    """A skewness and a kurtosis that some distribution has."""
    skew = draw(st.floats(-3, 3))
    return skew, 1 + skew**2 + draw(st.floats(0.5, 20))


@given(varied, scale)
def test_ratios_do_not_depend_on_leverage(r, factor):
    for metric in (stats.sharpe, stats.sortino):
        assert metric(factor * r, 12) == pytest.approx(metric(r, 12), nan_ok=True, abs=1e-9)
    for metric in (stats.skewness, stats.kurtosis, stats.hit_ratio, stats.profit_factor, stats.newey_west_t):
        assert metric(factor * r) == pytest.approx(metric(r), nan_ok=True, rel=1e-7, abs=1e-7)
    assert stats.volatility(factor * r, 12) == pytest.approx(factor * stats.volatility(r, 12))
    assert stats.value_at_risk(factor * r, 0.9) == pytest.approx(factor * stats.value_at_risk(r, 0.9))


@given(varied)
def test_shorting_mirrors(r):
    assert stats.sharpe(-r, 12) == pytest.approx(-stats.sharpe(r, 12))
    assert stats.skewness(-r) == pytest.approx(-stats.skewness(r), abs=1e-9)
    assert stats.kurtosis(-r) == pytest.approx(stats.kurtosis(r))
    assert stats.annual_return(-r, 12) == pytest.approx(-stats.annual_return(r, 12))


@given(returns)
def test_drawdown_is_bounded_and_ordered(r):
    depth = stats.max_drawdown(r)
    assert -1 <= depth <= 0
    assert depth <= min(r.min(), 0) + 1e-12
    assert -1e-12 <= stats.ulcer(r) <= -depth + 1e-12
    assert stats.longest_under_water(r) <= stats.periods_under_water(r) <= len(r)
    assert (stats.periods_under_water(r) > 0) == (depth < -1e-12)


@given(returns)
def test_drawdown_by_a_loop(r):
    nav = peak = 1.0
    path = []
    for value in r:
        nav *= 1 + value
        peak = max(peak, nav)
        path.append(nav / peak - 1)
    assert stats.max_drawdown(r) == pytest.approx(min(path), abs=1e-12)
    assert stats.ulcer(r) == pytest.approx(math.sqrt(sum(d * d for d in path) / len(path)), abs=1e-12)
    assert (1 + stats.cagr(r, 12)) ** (len(r) / 12) == pytest.approx(nav)


@given(returns, level)
def test_shortfall_is_no_less_than_value_at_risk(r, confidence):
    at_risk = stats.value_at_risk(r, confidence)
    assert stats.expected_shortfall(r, confidence) >= at_risk - 1e-12
    assert -r.max() <= at_risk <= -r.min()
    assert np.count_nonzero(-r > at_risk) <= (1 - confidence) * len(r) + 1e-9


@given(varied)
def test_kurtosis_is_possible(r):
    assert stats.kurtosis(r) >= stats.skewness(r) ** 2 + 1 - 1e-9
    assert stats.sharpe_standard_error(r, "mertens") >= 0
    # What the metrics say of a sample is what the inference accepts.
    assume(abs(stats.sharpe(r, 1)) < 0.5)
    chance = stats.probabilistic_sharpe(stats.sharpe(r, 1), len(r), stats.skewness(r), stats.kurtosis(r))
    assert 0 <= chance <= 1
    assert (chance > 0.5) == (r.mean() > 0) or chance == pytest.approx(0.5)


@given(ratio, st.integers(2, 5000), moments(), st.integers(1, 1000), st.floats(0, 0.1))
def test_selection_never_raises_confidence(sharpe, n, shape, trials, variance):
    plain = stats.probabilistic_sharpe(sharpe, n, *shape)
    assert stats.deflated_sharpe(sharpe, n, *shape, trials, variance) <= plain + 1e-12
    more = stats.deflated_sharpe(sharpe, n, *shape, trials + 1, variance)
    assert more <= stats.deflated_sharpe(sharpe, n, *shape, trials, variance) + 1e-12


@given(st.floats(0.05, 0.5), moments(), st.floats(0.55, 0.99))
def test_the_track_record_is_just_long_enough(sharpe, shape, confidence):
    needed = stats.min_track_record_length(sharpe, *shape, 0.0, confidence)
    assume(needed >= 2)
    assert stats.probabilistic_sharpe(sharpe, needed, *shape) == pytest.approx(confidence, abs=1e-9)


@given(varied)
def test_without_lags_the_adjustments_vanish(r):
    n = len(r)
    plain = r.mean() / (r.std() / math.sqrt(n))
    assert stats.newey_west_t(r, 0) == pytest.approx(plain)
    assert stats.autocorrelation_adjusted_sharpe(r, 12, 0) == pytest.approx(stats.sharpe(r, 12))
    assert stats.stationary_bootstrap_standard_error(r, 1) == pytest.approx(r.std() / math.sqrt(n))


@given(varied, st.floats(1, 60), st.integers(0, 59))
def test_the_bootstrap_wraps_round(r, mean_block, shift):
    assume(mean_block <= len(r))
    error = stats.stationary_bootstrap_standard_error(r, mean_block)
    assert stats.stationary_bootstrap_standard_error(np.roll(r, shift), mean_block) == pytest.approx(error, abs=1e-9)
    assert stats.stationary_bootstrap_standard_error(r[::-1], mean_block) == pytest.approx(error, abs=1e-9)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from([2, 4, 6]), st.floats(0.1, 10))
def test_overfitting_does_not_depend_on_leverage_or_order(seed, trials, blocks, factor):
    rng = np.random.default_rng(seed)
    x = rng.normal(0.001, 0.02, (24, trials))
    share = stats.probability_of_backtest_overfitting(x, blocks)
    assert 0 <= share <= 1
    assert stats.probability_of_backtest_overfitting(x * factor, blocks) == share
    assert stats.probability_of_backtest_overfitting(x[:, rng.permutation(trials)], blocks) == share


@given(varied, st.integers(2, 60))
def test_rolling_sharpe_ends_as_the_sharpe_of_the_last_window(r, window):
    rolled = stats.rolling_sharpe(r, 12, window)
    assert len(rolled) == len(r)
    assert np.isnan(rolled[: window - 1]).all()
    if window <= len(r):
        expected = stats.sharpe(r[-window:], 12)
        assert rolled[-1] == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)


@given(returns, st.integers(1, 70))
def test_no_other_period_is_worse_than_the_worst(r, count):
    worst = stats.worst_periods(r, count)
    assert len(worst) == len(set(worst.tolist())) == min(count, len(r))
    assert (np.diff(r[worst]) >= 0).all()
    rest = np.delete(r, worst)
    assert not len(rest) or rest.min() >= r[worst].max()


@settings(max_examples=40)
@given(varied, st.floats(1, 20), scale, st.integers(0, 1000))
def test_an_interval_does_not_depend_on_leverage_and_mirrors(r, mean_block, factor, seed):
    assume(mean_block <= len(r))
    about = {"mean_block": mean_block, "draws": 200, "seed": seed}
    low, high = stats.sharpe_interval(r, 12, **about)
    assume(np.isfinite(low) and max(-low, high) < 50)  # a resample all but flat is all rounding
    assert low <= high
    assert stats.sharpe_interval(factor * r, 12, **about) == pytest.approx((low, high), rel=1e-4, abs=1e-6)
    assert stats.sharpe_interval(-r, 12, **about) == pytest.approx((-high, -low), rel=1e-4, abs=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(30, 200), st.floats(1, 20))
def test_a_difference_turned_round(seed, n, mean_block):
    a, b = np.random.default_rng(seed).normal(0.001, 0.02, (2, n))
    there = stats.sharpe_difference(a, b, 12, mean_block, 200, seed)
    back = stats.sharpe_difference(b, a, 12, mean_block, 200, seed)
    assert there.difference == -back.difference
    assert there.standard_error == pytest.approx(back.standard_error)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.low <= there.high
    assert there.p_value == back.p_value
    assert 0 < there.p_value <= 1
