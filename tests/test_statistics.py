"""fxcarry.statistics against worked numbers, published examples, scipy, loops and simulation with a fixed seed."""

from __future__ import annotations

import inspect
import math
from itertools import combinations

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
    (stats.autocorrelation_adjusted_sharpe, (12, 0)),
    (stats.newey_west_t, ()),
    (stats.stationary_bootstrap_standard_error, (1,)),
]


def test_no_metric_of_returns_is_left_out_below():
    takes_returns = {
        name
        for name, function in inspect.getmembers(stats, inspect.isfunction)
        if function.__module__ == stats.__name__ and "returns" in inspect.signature(function).parameters
    }
    tested = {function.__name__ for function, _ in ON_RETURNS}
    private = {name for name in takes_returns if name.startswith("_")}
    assert takes_returns - private - tested == {"probability_of_backtest_overfitting"}


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
