"""fxcarry.statistics against worked numbers, published examples, scipy, loops and simulation with a fixed seed."""

from __future__ import annotations

import inspect
import math
import time
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from fxcarry import statistics as stats
from fxcarry.errors import ConfigError, DataError, MissingDataError

R = [0.012, -0.008, 0.015, 0.004, -0.031, 0.009, 0.011, -0.004, 0.018, -0.052, 0.021, 0.007]

WORKED = [
    (stats.annual_return, (12,), 0.0020000000),
    (stats.volatility, (12,), 0.0216284044 * math.sqrt(12)),
    (stats.sharpe, (12,), 0.0266940759),
    (stats.sortino, (12,), 0.0326816583),
    (stats.cagr, (12,), -0.0006244848),
    (stats.max_drawdown, (), -0.052),
    (stats.calmar, (12,), -0.0120093222),
    (stats.ulcer, (), 0.0228556240),
    (stats.periods_under_water, (), 8),
    (stats.longest_under_water, (), 4),
    (stats.hit_ratio, (), 8 / 12),
    (stats.profit_factor, (), 1.0210526316),
    (stats.win_loss_ratio, (), 0.5105263158),
    (stats.skewness, (), -1.4160347012),
    (stats.kurtosis, (), 3.9582760446),
    (stats.value_at_risk, (0.95,), 0.052),
    (stats.expected_shortfall, (0.95,), 0.052),
    (stats.value_at_risk, (0.90,), 0.031),
    (stats.expected_shortfall, (0.90,), 0.0415),
    (stats.value_at_risk, (0.95, "gaussian"), 0.0354088928),
    (stats.expected_shortfall, (0.95, "gaussian"), 0.0444465202),
    (stats.value_at_risk, (0.95, "cornish-fisher"), 0.0428818775),
]


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series], ids=lambda k: k.__name__)
@pytest.mark.parametrize(("metric", "arguments", "expected"), WORKED, ids=lambda v: getattr(v, "__name__", None))
def test_worked_numbers(metric, arguments, expected, kind):
    got = metric(kind(R), *arguments)
    assert type(got) in (float, int)
    assert got == pytest.approx(expected, abs=1e-8)


ON_RETURNS = [
    (stats.annual_return, (12,)),
    (stats.cagr, (12,)),
    (stats.volatility, (12,)),
    (stats.skewness, ()),
    (stats.kurtosis, ()),
    (stats.sharpe, (12,)),
    (stats.sortino, (12,)),
    (stats.max_drawdown, ()),
    (stats.calmar, (12,)),
    (stats.ulcer, ()),
    (stats.periods_under_water, ()),
    (stats.longest_under_water, ()),
    (stats.hit_ratio, ()),
    (stats.profit_factor, ()),
    (stats.win_loss_ratio, ()),
    (stats.value_at_risk, (0.95,)),
    (stats.expected_shortfall, (0.95,)),
    (stats.sharpe_standard_error, ()),
    (stats.rolling_sharpe, (12, 2)),
    (stats.tail_ratio, ()),
    (stats.worst_periods, ()),
    (stats.sharpe_interval, (12, 0.95, 1)),
    (stats.autocorrelation_adjusted_sharpe, (12, 0)),
    (stats.newey_west_t, ()),
    (stats.stationary_bootstrap_standard_error, (1,)),
]


def test_no_metric_of_returns_is_left_out_below():
    takes_returns = {
        name
        for name, function in inspect.getmembers(stats, inspect.isfunction)
        if "returns" in inspect.signature(function).parameters
    }
    tested = {function.__name__ for function, _ in ON_RETURNS}
    assert takes_returns - tested == {"probability_of_backtest_overfitting"}


def test_all_names_everything_public():
    public = {name for name, value in vars(stats).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert set(stats.__all__) == public
    assert len(public) == 33


@pytest.mark.parametrize(("metric", "arguments"), ON_RETURNS, ids=lambda v: getattr(v, "__name__", None))
def test_unusable_returns_are_errors(metric, arguments):
    dates = pd.date_range("2025-01-01", periods=3)
    with pytest.raises(MissingDataError, match=r"2025-01-02 .* is nan"):
        metric(pd.Series([0.01, np.nan, 0.02], index=dates), *arguments)
    with pytest.raises(MissingDataError, match="return at 2 is inf"):
        metric([0.01, 0.02, np.inf], *arguments)
    for few in ([], [0.01], np.zeros((3, 2))):
        with pytest.raises(DataError, match="too few"):
            metric(few, *arguments)


@pytest.mark.parametrize("metric", [stats.sharpe, stats.sortino, stats.cagr, stats.volatility, stats.annual_return])
@pytest.mark.parametrize("periods", [0, -12, math.nan, math.inf])
def test_periods_a_year(metric, periods):
    with pytest.raises(ConfigError, match="periods a year"):
        metric(R, periods)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, -0.5, math.nan])
def test_levels_are_fractions(level):
    for method in ("historical", "gaussian"):
        with pytest.raises(ConfigError, match="level"):
            stats.value_at_risk(R, level, method)
        with pytest.raises(ConfigError, match="level"):
            stats.expected_shortfall(R, level, method)


def test_methods_that_do_not_exist():
    with pytest.raises(ConfigError, match="historical or gaussian or cornish-fisher"):
        stats.value_at_risk(R, 0.95, "normal")
    with pytest.raises(ConfigError, match="historical or gaussian"):
        stats.expected_shortfall(R, 0.95, "cornish-fisher")
    with pytest.raises(ConfigError, match="iid or mertens"):
        stats.sharpe_standard_error(R, "hac")


@pytest.mark.parametrize("constant", [0.0, 0.01, -0.003, 1 / 3, 1e-9])
def test_without_volatility_ratios_are_nan(constant):
    flat = [constant] * 37
    assert stats.volatility(flat, 12) == 0.0
    for value in (
        stats.sharpe(flat, 12),
        stats.skewness(flat),
        stats.kurtosis(flat),
        stats.sharpe_standard_error(flat),
        stats.sharpe_standard_error(flat, "mertens"),
        stats.autocorrelation_adjusted_sharpe(flat, 12, 3),
        stats.newey_west_t(flat),
    ):
        assert math.isnan(value)


def test_without_a_loss_ratios_are_nan():
    gains = [0.01, 0.0, 0.02]
    for value in (
        stats.sortino(gains, 12),
        stats.calmar(gains, 12),
        stats.profit_factor(gains),
        stats.win_loss_ratio(gains),
        stats.win_loss_ratio([-0.01, -0.02]),
    ):
        assert math.isnan(value)
    assert stats.profit_factor([-0.01, -0.02]) == 0.0
    assert stats.max_drawdown(gains) == 0.0
    assert stats.ulcer(gains) == 0.0
    assert stats.periods_under_water(gains) == stats.longest_under_water(gains) == 0


def test_drawdown_counts_the_starting_value():
    assert stats.max_drawdown([-0.10, 0.05]) == pytest.approx(-0.10)
    assert stats.periods_under_water([-0.10, 0.05]) == 2
    assert stats.longest_under_water([-0.10, 0.05]) == 2
    assert stats.periods_under_water([-0.2, 0.25, 0.1]) == 1  # back at the start is not under water


def test_losing_everything():
    ruined = [0.05, -1.0, 0.0]
    assert stats.cagr(ruined, 12) == -1.0
    assert stats.max_drawdown(ruined) == -1.0
    assert stats.calmar(ruined, 12) == -1.0
    beyond = [0.05, -1.2, 0.0]  # a gap through the margin: the account owes money
    assert stats.cagr(beyond, 12) == -1.0
    assert stats.max_drawdown(beyond) == pytest.approx(-1.2)


def test_the_tail_has_the_size_its_level_says():
    # (1 - 0.95) * 100 is 5.000000000000004 in floating point, and still five returns.
    r = -np.arange(1, 101) / 1000
    assert stats.value_at_risk(r, 0.95) == pytest.approx(0.096)
    assert stats.expected_shortfall(r, 0.95) == pytest.approx(0.098)
    assert stats.value_at_risk(r[:99], 0.95) == pytest.approx(0.095)  # 4.95 rounds up
    assert stats.value_at_risk(r[:3], 0.99) == pytest.approx(0.003)
    assert stats.value_at_risk([0.01, 0.02, 0.03], 0.95) == pytest.approx(-0.01)  # the worst period was a gain


def test_moments_agree_with_scipy():
    scipy_stats = pytest.importorskip("scipy.stats")
    r = np.random.default_rng(1).standard_t(4, 500) * 0.01
    assert stats.skewness(r) == pytest.approx(scipy_stats.skew(r), abs=1e-12)
    assert stats.kurtosis(r) == pytest.approx(scipy_stats.kurtosis(r, fisher=False), abs=1e-12)


# Rolling, tails, worst periods


@pytest.mark.parametrize("window", [2, 5, 12])
def test_rolling_sharpe_is_the_sharpe_of_each_window(window):
    rolled = stats.rolling_sharpe(R, 12, window)
    assert len(rolled) == 12
    assert np.isnan(rolled[: window - 1]).all()
    for end in range(window, 13):
        assert rolled[end - 1] == pytest.approx(stats.sharpe(R[end - window : end], 12), rel=1e-10)
    by_pandas = pd.Series(R).rolling(window).mean() / pd.Series(R).rolling(window).std() * math.sqrt(12)
    np.testing.assert_allclose(rolled, by_pandas.to_numpy(), rtol=1e-9)


def test_rolling_sharpe_that_is_never_full_or_flat():
    assert np.isnan(stats.rolling_sharpe(R, 12, 13)).all()
    rolled = stats.rolling_sharpe([0.1, 0.1, 0.1, 0.2], 1, 2)
    assert np.isnan(rolled[:3]).all()
    assert rolled[3] == pytest.approx(0.15 / math.sqrt(0.005))
    for window in (1, 0, -3, 2.5):
        with pytest.raises(ConfigError, match="window"):
            stats.rolling_sharpe(R, 12, window)


def test_tail_ratio_by_hand():
    r = [-0.04, *[0.0] * 9, 0.02, *[0.0] * 8, 0.06, -0.02]  # 21 returns: the 5 % quantile is the second lowest
    assert stats.tail_ratio(r) == pytest.approx(1.0)
    assert stats.tail_ratio([2 * x if x > 0 else x for x in r]) == pytest.approx(2.0)
    assert stats.tail_ratio(R, 0.9) == pytest.approx(np.quantile(R, 0.9) / -np.quantile(R, 0.1))


def test_tail_ratio_that_does_not_exist():
    assert math.isnan(stats.tail_ratio([0.01, 0.02, 0.03]))
    assert math.isnan(stats.tail_ratio([-0.01, -0.02, -0.03]))
    for level in (0.5, 0.05, 1.0, 95, math.nan):
        with pytest.raises(ConfigError, match="level"):
            stats.tail_ratio(R, level)


def test_worst_periods_in_order():
    assert stats.worst_periods(R, 3).tolist() == [9, 4, 1]
    assert [R[i] for i in stats.worst_periods(R, 2)] == [-0.052, -0.031]
    assert stats.worst_periods([0.0, -0.01, 0.02, -0.01], 2).tolist() == [1, 3]  # of equal ones the earlier first
    assert len(stats.worst_periods(R, 99)) == 12
    with pytest.raises(ConfigError, match="count"):
        stats.worst_periods(R, 0)


# Standard errors


def test_sharpe_standard_error_by_hand():
    ratio = 0.0001666667 / 0.0216284044
    assert stats.sharpe_standard_error(R) == pytest.approx(math.sqrt((1 + ratio**2 / 2) / 12), abs=1e-8)
    variance = 1 + 1.4160347012 * ratio + 2.9582760446 / 4 * ratio**2
    assert stats.sharpe_standard_error(R, "mertens") == pytest.approx(math.sqrt(variance / 12), abs=1e-8)


def test_sharpe_standard_error_of_fifteen_years():
    # Monthly returns with an annual Sharpe ratio near zero: 1/√15 = 0.258 a year.
    r = np.tile([0.01, -0.01], 90) + 0.0001
    assert stats.sharpe_standard_error(r) * math.sqrt(12) == pytest.approx(0.258, abs=5e-4)


@pytest.mark.parametrize(
    ("method", "draw", "skew", "kurt"),
    [
        ("iid", lambda rng, size: rng.normal(0.3, 1.0, size), 0, 3),
        ("mertens", lambda rng, size: rng.gamma(4.0, 0.5, size) - 1.7, 1.0, 4.5),
    ],
)
def test_sharpe_standard_error_is_the_spread_of_sharpe_ratios(method, draw, skew, kurt):
    samples = draw(np.random.default_rng(7), (4000, 240))
    ratios = samples.mean(1) / samples.std(1, ddof=1)
    ratio = 0.3
    expected = math.sqrt((1 - skew * ratio + (kurt - 1) / 4 * ratio**2) / 240)
    assert ratios.std() == pytest.approx(expected, rel=0.04)
    typical = np.mean([stats.sharpe_standard_error(row, method) for row in samples[:300]])
    assert typical == pytest.approx(ratios.std(), rel=0.04)


def autocorrelation(r, k):
    mean = sum(r) / len(r)
    top = sum((r[t] - mean) * (r[t - k] - mean) for t in range(k, len(r)))
    return top / sum((x - mean) ** 2 for x in r)


@pytest.mark.parametrize("lags", [0, 1, 3, 11])
def test_autocorrelation_adjusted_sharpe(lags):
    r = list(np.convolve(np.random.default_rng(3).normal(0.004, 0.02, 200), [0.7, 0.4], "valid"))
    q = 12
    total = sum((q - k) * autocorrelation(r, k) for k in range(1, lags + 1))
    expected = stats.sharpe(r, 1) * q / math.sqrt(q + 2 * total)
    assert stats.autocorrelation_adjusted_sharpe(r, q, lags) == pytest.approx(expected, rel=1e-10)


def test_autocorrelation_lowers_the_sharpe_of_smoothed_returns():
    r = np.convolve(np.random.default_rng(3).normal(0.004, 0.02, 600), [0.5, 0.5], "valid")
    assert stats.autocorrelation_adjusted_sharpe(r, 12, 1) < stats.sharpe(r, 12)
    assert stats.autocorrelation_adjusted_sharpe(r, 12, 0) == pytest.approx(stats.sharpe(r, 12))
    # Lags of a year or more carry no weight in a year's return.
    eleven = stats.autocorrelation_adjusted_sharpe(r, 12, 11)
    assert stats.autocorrelation_adjusted_sharpe(r, 12, 40) == pytest.approx(eleven)


def test_an_impossible_variance_is_nan():
    assert math.isnan(stats.autocorrelation_adjusted_sharpe([0.02, -0.01] * 6, 12, 1))


@pytest.mark.parametrize("lags", [-1, 12, 100])
def test_lags_fit_the_sample(lags):
    with pytest.raises(ConfigError, match="between 0 and 11"):
        stats.autocorrelation_adjusted_sharpe(R, 12, lags)
    with pytest.raises(ConfigError, match="between 0 and 11"):
        stats.newey_west_t(R, lags)


@pytest.mark.parametrize("lags", [0, 1, 4])
def test_newey_west_t(lags):
    r = list(np.random.default_rng(5).normal(0.003, 0.02, 150))
    n, mean = len(r), sum(r) / len(r)
    variance = sum((x - mean) ** 2 for x in r) / n
    for k in range(1, lags + 1):
        cross = sum((r[t] - mean) * (r[t - k] - mean) for t in range(k, n)) / n
        variance += 2 * (1 - k / (lags + 1)) * cross
    assert stats.newey_west_t(r, lags) == pytest.approx(mean / math.sqrt(variance / n), rel=1e-10)
    assert stats.newey_west_t(r) == pytest.approx(stats.newey_west_t(r, 4))  # ⌊4 · 1.5^(2/9)⌋


def test_newey_west_t_of_two_returns():
    assert stats.newey_west_t([0.01, 0.03]) == pytest.approx(0.02 / math.sqrt(0.0001 * (1 - 0.5) / 2))


# Stationary bootstrap


def stationary_bootstrap_means(r, mean_block, draws, seed):
    """Politis and Romano's resampling itself: jump with probability 1/mean_block, else take the next return."""
    rng = np.random.default_rng(seed)
    n = len(r)
    at = rng.integers(n, size=draws)
    total = r[at].copy()
    for _ in range(n - 1):
        at = np.where(rng.random(draws) < 1 / mean_block, rng.integers(n, size=draws), (at + 1) % n)
        total += r[at]
    return total / n


@pytest.mark.parametrize("mean_block", [1, 4, 12])
def test_stationary_bootstrap_against_simulation(mean_block):
    r = np.convolve(np.random.default_rng(11).normal(0.002, 0.02, 64), [0.6, 0.3, 0.1], "valid")
    means = stationary_bootstrap_means(r, mean_block, 40_000, seed=2)
    assert stats.stationary_bootstrap_standard_error(r, mean_block) == pytest.approx(means.std(), rel=0.015)


@pytest.mark.parametrize("mean_block", [1, 2.5, 6, 12])
def test_stationary_bootstrap_by_the_letter_of_the_paper(mean_block):
    n, mean, p = len(R), sum(R) / len(R), 1 / mean_block

    def covariance(k):
        return sum((R[i] - mean) * (R[i + k] - mean) for i in range(n - k)) / n

    variance = covariance(0)
    for k in range(1, n):
        variance += 2 * ((1 - k / n) * (1 - p) ** k + k / n * (1 - p) ** (n - k)) * covariance(k)
    expected = math.sqrt(variance / n)
    assert stats.stationary_bootstrap_standard_error(R, mean_block) == pytest.approx(expected, abs=1e-12)


def test_stationary_bootstrap_of_single_periods_is_the_iid_error():
    assert stats.stationary_bootstrap_standard_error(R, 1) == pytest.approx(np.std(R) / math.sqrt(12))
    assert stats.stationary_bootstrap_standard_error([0.01] * 5, 2) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("mean_block", [0, 0.5, 13, math.nan])
def test_mean_block_fits_the_sample(mean_block):
    with pytest.raises(ConfigError, match="mean_block"):
        stats.stationary_bootstrap_standard_error(R, mean_block)


# Intervals and differences


def smoothed(seed, n):
    """Returns with some dependence, as a bootstrap of blocks wants them."""
    return np.convolve(np.random.default_rng(seed).standard_t(5, n + 2) * 0.01 + 0.0008, [0.6, 0.3, 0.1], "valid")


@pytest.mark.parametrize("mean_block", [1, 8, 40])
def test_sharpe_interval_against_arch(mean_block):
    bootstrap = pytest.importorskip("arch.bootstrap")
    r = smoothed(1, 400)
    draws = bootstrap.StationaryBootstrap(mean_block, r, seed=3).apply(lambda x: x.mean() / x.std(ddof=1), 8000)
    expected = np.quantile(draws, [0.05, 0.95]) * math.sqrt(260)
    got = stats.sharpe_interval(r, 260, 0.9, mean_block, draws=8000)
    # Both ends are quantiles of 8,000 draws: their own standard error is about 2 % of the width.
    np.testing.assert_allclose(got, expected, atol=0.06 * (expected[1] - expected[0]))
    assert got[0] < stats.sharpe(r, 260) < got[1]


def test_sharpe_interval_block_by_block():
    """The running sums against the resamples written out, drawn with the same numbers."""
    r = smoothed(2, 50)
    starts, stops = next(stats.inference._blocks(50, 6, 300, np.random.default_rng(1)))
    ratios = []
    for first, last in zip(starts, stops):
        drawn = np.concatenate([r[np.arange(a, b) % 50] for a, b in zip(first, last)])
        assert len(drawn) == 50
        ratios.append(drawn.mean() / drawn.std(ddof=1))
    low, high = np.quantile(ratios, [0.025, 0.975]) * math.sqrt(12)
    assert stats.sharpe_interval(r, 12, mean_block=6, draws=300) == pytest.approx((low, high), rel=1e-9)


def test_blocks_have_the_lengths_and_starts_of_the_paper():
    starts, stops = next(stats.inference._blocks(1000, 20, 400, np.random.default_rng(0)))
    lengths = stops - starts
    assert (lengths.sum(1) == 1000).all()
    full = lengths[:, :20]  # far from the end, where the last block is cut
    assert full.mean() == pytest.approx(20, rel=0.05)
    assert (full == 1).mean() == pytest.approx(1 / 20, abs=0.01)
    assert (full > 20).mean() == pytest.approx((1 - 1 / 20) ** 20, abs=0.02)
    assert starts.mean() == pytest.approx(499.5, rel=0.02)
    assert (starts.min(), starts.max()) == (0, 999)


def test_short_blocks_are_drawn_again_until_the_sample_is_full():
    short = np.random.default_rng(0)
    short_first = [np.full((3, 100), 1), np.full((3, 100), 1)]

    class Stingy:
        """Blocks of a single period where far longer ones were expected."""

        def geometric(self, p, size):
            return short_first.pop() if short_first else short.geometric(p, size)

        integers = short.integers

    starts, stops = next(stats.inference._blocks(300, 4, 3, Stingy()))
    assert ((stops - starts).sum(1) == 300).all()


def test_sharpe_interval_covers_as_often_as_it_says():
    random, true, inside = np.random.default_rng(9), 0.1, 0
    for _ in range(300):
        low, high = stats.sharpe_interval(random.normal(true, 1.0, 250), 1, 0.9, mean_block=1, draws=300)
        inside += low <= true <= high
    assert inside / 300 == pytest.approx(0.9, abs=0.05)


def test_sharpe_interval_widens_with_the_level_and_with_dependence():
    r = smoothed(4, 2000)
    inner, outer = stats.sharpe_interval(r, 260, 0.5), stats.sharpe_interval(r, 260, 0.99)
    assert outer[0] < inner[0] < inner[1] < outer[1]
    alone = stats.sharpe_interval(r, 260, mean_block=1)
    kept = stats.sharpe_interval(r, 260, mean_block=21)
    assert kept[1] - kept[0] > 1.15 * (alone[1] - alone[0])  # neighbors move together: fewer independent returns
    assert stats.sharpe_interval(r, 260) == kept  # repeatable
    assert stats.sharpe_interval(r, 260, seed=2) != kept


def test_what_cannot_be_resampled():
    for call in (
        lambda **about: stats.sharpe_interval(R, 12, **about),
        lambda **about: stats.sharpe_difference(R, R[::-1], 12, **about),
    ):
        with pytest.raises(ConfigError, match="mean_block 21 is not between 1 and the 12 returns"):
            call()
        for draws in (0, 99, 100.5):
            with pytest.raises(ConfigError, match="draws"):
                call(mean_block=2, draws=draws)
    for level in (0, 1, 95, math.nan):
        with pytest.raises(ConfigError, match="level"):
            stats.sharpe_interval(R, 12, level, 2)
    assert all(map(math.isnan, stats.sharpe_interval([0.01] * 30, 12)))
    assert all(map(math.isnan, stats.sharpe_interval([0.0] * 30, 12)))


def test_a_resample_without_volatility_is_left_out():
    low, high = stats.sharpe_interval([0.01, 0.02, -0.01], 1, mean_block=1)  # one in nine has only one value
    assert math.isfinite(low)
    assert math.isfinite(high)
    ratios = [np.mean(x) / np.std(x, ddof=1) for x in product([0.01, 0.02, -0.01], repeat=3) if len(set(x)) > 1]
    assert min(ratios) - 1e-9 <= low < high <= max(ratios) + 1e-9


def memmel(a, b):
    """Standard error of the difference of two Sharpe ratios, iid normal (Jobson & Korkie 1981, Memmel 2003)."""
    one, other, rho = stats.sharpe(a, 1), stats.sharpe(b, 1), np.corrcoef(a, b)[0, 1]
    return math.sqrt((2 - 2 * rho + (one**2 + other**2 - 2 * one * other * rho**2) / 2) / len(a))


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.8, 0.98])
def test_sharpe_difference_against_memmel(rho):
    x, y = np.random.default_rng(6).normal(0.0, 0.01, (2, 3000))
    a, b = x + 0.002, rho * x + math.sqrt(1 - rho**2) * y + 0.0015
    got = stats.sharpe_difference(a, b, 12, mean_block=1, draws=4000)
    assert got.difference == pytest.approx(stats.sharpe(a, 12) - stats.sharpe(b, 12))
    assert got.standard_error == pytest.approx(memmel(a, b) * math.sqrt(12), rel=0.05)
    z = got.difference / got.standard_error
    assert got.p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), abs=0.03)
    assert got.low == pytest.approx(got.difference - 1.96 * got.standard_error, abs=0.15 * got.standard_error)
    assert got.high == pytest.approx(got.difference + 1.96 * got.standard_error, abs=0.15 * got.standard_error)


def test_sharpe_difference_against_arch():
    bootstrap = pytest.importorskip("arch.bootstrap")
    a = smoothed(7, 600)
    b = 0.7 * a + smoothed(8, 600) / 2

    def difference(x, y):
        return x.mean() / x.std(ddof=1) - y.mean() / y.std(ddof=1)

    draws = bootstrap.StationaryBootstrap(21, a, b, seed=1).apply(difference, 6000)[:, 0] * math.sqrt(260)
    got = stats.sharpe_difference(a, b, 260, draws=6000)
    assert got.standard_error == pytest.approx(draws.std(ddof=1), rel=0.05)
    np.testing.assert_allclose((got.low, got.high), np.quantile(draws, [0.025, 0.975]), atol=0.12 * draws.std())
    as_far = np.mean(np.abs(draws - got.difference) >= abs(got.difference))
    assert got.p_value == pytest.approx(as_far, abs=0.03)


def test_pairing_is_what_makes_a_difference_known():
    a = smoothed(3, 1500)
    b = a + np.random.default_rng(5).normal(0.0, 0.001, 1500)
    paired = stats.sharpe_difference(a, b, 260)
    alone = stats.sharpe_interval(a, 260)
    assert paired.high - paired.low < 0.2 * (alone[1] - alone[0])


def test_sharpe_difference_rejects_as_often_as_it_says():
    random, rejected = np.random.default_rng(12), 0
    for _ in range(300):
        common = random.normal(0.0, 1.0, 200)
        a, b = common + random.normal(0.05, 1.0, 200), common + random.normal(0.05, 1.0, 200)
        rejected += stats.sharpe_difference(a, b, 1, mean_block=1, draws=200).p_value < 0.1
    assert rejected / 300 == pytest.approx(0.1, abs=0.045)


def test_sharpe_difference_of_the_same_strategy():
    r = smoothed(1, 300)
    assert stats.sharpe_difference(r, r, 260) == stats.Difference(
        difference=0.0, standard_error=0.0, low=0.0, high=0.0, p_value=1.0
    )
    levered = stats.sharpe_difference(r, 3 * r, 260)
    assert levered.difference == pytest.approx(0.0, abs=1e-12)
    assert levered.p_value == 1.0  # rounding is not evidence


def test_sharpe_difference_without_volatility():
    got = stats.sharpe_difference(R, [0.01] * 12, 12, mean_block=2)
    assert all(math.isnan(getattr(got, a.name)) for a in got.__attrs_attrs__)


def test_returns_that_cannot_be_compared():
    with pytest.raises(DataError, match="12 returns against 11"):
        stats.sharpe_difference(R, R[1:], 12, mean_block=2)
    one = pd.Series(R, pd.date_range("2024-01-01", periods=12))
    other = pd.Series(R, pd.date_range("2024-01-02", periods=12))
    with pytest.raises(DataError, match="different dates"):
        stats.sharpe_difference(one, other, 12, mean_block=2)
    assert stats.sharpe_difference(one, np.array(R), 12, mean_block=2).difference == 0
    with pytest.raises(MissingDataError, match=r"2024-01-03 .* is nan"):
        stats.sharpe_difference(one, one.where(one != 0.015), 12)
    with pytest.raises(ConfigError, match="periods a year"):
        stats.sharpe_difference(one, one, 0)


def test_two_thousand_draws_of_27_years_take_about_a_second():
    r = np.random.default_rng(0).normal(0.0001, 0.005, (2, 7100))
    before = time.process_time()
    stats.sharpe_difference(*r, 260)
    assert time.process_time() - before < 3.0  # 0.1 s on an idle core


# Selection


def test_probabilistic_sharpe_published():
    # Bailey & López de Prado (2012): two years of monthly returns with a Sharpe ratio of 0.458 a month.
    assert stats.probabilistic_sharpe(0.458, 24, 0.0, 3.0) == pytest.approx(0.982, abs=5e-4)
    assert stats.probabilistic_sharpe(0.458, 24, -2.448, 10.164) == pytest.approx(0.913, abs=5e-4)
    assert stats.probabilistic_sharpe(0.1, 100, -1.0, 6.0, 0.1) == 0.5


def test_deflated_sharpe_published():
    # Bailey & López de Prado (2014): 2.5 a year on 1250 days of 250 a year, trials' variance 0.5 a year.
    ratio, variance = 2.5 / math.sqrt(250), 0.5 / 250
    assert stats.deflated_sharpe(ratio, 1250, -3, 10, 100, variance) == pytest.approx(0.9004, abs=5e-5)
    assert stats.deflated_sharpe(ratio, 1250, -3, 10, 46, variance) == pytest.approx(0.9505, abs=5e-5)
    assert stats.expected_maximum_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)


def test_deflated_sharpe_of_a_single_trial_is_probabilistic():
    assert stats.expected_maximum_sharpe(1, 0.3) == 0.0
    plain = stats.probabilistic_sharpe(0.1, 120, -1.0, 5.0)
    assert stats.deflated_sharpe(0.1, 120, -1.0, 5.0, 1, 0.3) == plain
    assert stats.deflated_sharpe(0.1, 120, -1.0, 5.0, 50, 0.0) == plain


def test_expected_maximum_sharpe_against_simulation():
    best = np.random.default_rng(4).normal(0.0, 0.2, (20_000, 50)).max(1).mean()
    assert stats.expected_maximum_sharpe(50, 0.04) == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize(("trials", "variance"), [(0, 0.1), (-3, 0.1), (10, -0.1), (10, math.nan), (math.inf, 0.1)])
def test_trials_that_cannot_be(trials, variance):
    with pytest.raises(DataError, match="trials"):
        stats.deflated_sharpe(0.1, 100, 0.0, 3.0, trials, variance)


@pytest.mark.parametrize(("periods", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_min_track_record_length_published(periods, years):
    # Bailey & López de Prado (2012): a Sharpe ratio of 2 a year against 1, normal returns, 95 %.
    root = math.sqrt(periods)
    needed = stats.min_track_record_length(2 / root, 0.0, 3.0, 1 / root, 0.95)
    assert needed / periods == pytest.approx(years, abs=0.005)


def test_min_track_record_length_that_never_comes():
    assert stats.min_track_record_length(0.1, 0.0, 3.0, 0.1, 0.95) == math.inf
    assert stats.min_track_record_length(-0.1, 0.0, 3.0, 0.0, 0.95) == math.inf
    for confidence in (0.4, 1.0, 95):
        with pytest.raises(ConfigError, match="confidence"):
            stats.min_track_record_length(0.1, 0.0, 3.0, 0.0, confidence)
    with pytest.raises(DataError, match="benchmark"):
        stats.min_track_record_length(0.1, 0.0, 3.0, math.nan, 0.95)


@pytest.mark.parametrize(
    ("ratio", "skew", "kurt"), [(0.1, 0.0, 0.0), (0.1, -3.0, 9.9), (math.nan, 0, 3), (0.1, math.nan, 3), (1, 2, 5)]
)
def test_excess_kurtosis_and_other_impossible_moments_are_refused(ratio, skew, kurt):
    with pytest.raises(DataError, match="moments"):
        stats.probabilistic_sharpe(ratio, 100, skew, kurt)
    with pytest.raises(DataError, match="moments"):
        stats.min_track_record_length(ratio, skew, kurt, 0.0, 0.95)


def test_probabilistic_sharpe_needs_observations_and_a_benchmark():
    for n, benchmark in ((1, 0.0), (100, math.nan)):
        with pytest.raises(DataError, match="two or more"):
            stats.probabilistic_sharpe(0.1, n, 0.0, 3.0, benchmark)


# Overfitting


def overfitting_by_brute_force(x, blocks):
    """Combinatorially symmetric cross-validation, split by split and trial by trial."""
    pieces = np.array_split(np.arange(len(x)), blocks)
    trials = x.shape[1]
    logits = []
    for choice in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([pieces[b] for b in choice])
        outside = np.concatenate([pieces[b] for b in range(blocks) if b not in choice])
        scores_in = [x[inside, j].mean() / x[inside, j].std(ddof=1) for j in range(trials)]
        scores_out = [x[outside, j].mean() / x[outside, j].std(ddof=1) for j in range(trials)]
        winner = scores_in.index(max(scores_in))
        rank = sorted(scores_out).index(scores_out[winner]) + 1
        share = rank / (trials + 1)
        logits.append(math.log(share / (1 - share)))
    return sum(logit <= 1e-12 for logit in logits) / len(logits)


@pytest.mark.parametrize(("periods", "trials", "blocks"), [(48, 5, 4), (60, 8, 6), (50, 7, 8), (33, 2, 2), (16, 3, 8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_overfitting_against_brute_force(periods, trials, blocks, seed):
    x = np.random.default_rng(seed).normal(0.001, 0.02, (periods, trials))
    expected = overfitting_by_brute_force(x, blocks)
    assert stats.probability_of_backtest_overfitting(x, blocks) == pytest.approx(expected, abs=1e-12)
    assert stats.probability_of_backtest_overfitting(pd.DataFrame(x), blocks) == pytest.approx(expected, abs=1e-12)


def test_overfitting_by_hand():
    # Trial 0 wins the first half and loses the second, trial 1 the other way round: the winner always loses.
    a, b = [0.02, 0.01], [-0.02, -0.01]
    x = np.array([a + b, b + a]).T
    assert stats.probability_of_backtest_overfitting(x, 2) == 1.0
    # A trial that is better in every block is never overfit.
    rng = np.random.default_rng(0)
    good = rng.normal(0.0, 0.001, (40, 1)) + 0.05
    assert stats.probability_of_backtest_overfitting(np.hstack([rng.normal(0, 0.02, (40, 6)), good]), 10) == 0.0


def test_overfitting_of_pure_noise_is_about_a_half():
    x = np.random.default_rng(8).normal(0.0, 0.01, (1000, 60))
    assert type(stats.probability_of_backtest_overfitting(x, 12)) is float
    assert 0.2 < stats.probability_of_backtest_overfitting(x, 12) < 0.8


def test_overfitting_with_ties_and_without_volatility():
    one = np.random.default_rng(0).normal(0.001, 0.01, (32, 1))
    # Copies share the middle rank, (N + 1) / 2, which is not above the middle.
    assert stats.probability_of_backtest_overfitting(np.hstack([one] * 5), 8) == 1.0
    # Cash that earns a constant return wins both halves of every split; a dead trial counts as zero.
    cash, dead = np.full((32, 1), 0.0001), np.zeros((32, 1))
    assert stats.probability_of_backtest_overfitting(np.hstack([one, cash, dead, -one]), 8) == 0.0
    assert stats.probability_of_backtest_overfitting(np.hstack([-cash, dead]), 8) == 0.0


def test_what_cannot_be_cross_validated():
    x = np.random.default_rng(0).normal(0.0, 0.01, (40, 3))
    for blocks in (0, 1, 3, 22, -2):
        with pytest.raises(ConfigError, match="blocks"):
            stats.probability_of_backtest_overfitting(x, blocks)
    for bad in (x[:, :1], x[:9], x[:, 0], x[:3]):
        with pytest.raises(DataError, match="cannot be split"):
            stats.probability_of_backtest_overfitting(bad, 10)
    x[4, 2] = np.nan
    with pytest.raises(MissingDataError, match="trial 2 is nan in period 4"):
        stats.probability_of_backtest_overfitting(x, 4)
