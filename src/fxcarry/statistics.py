"""Performance metrics and the inference that says how much of them is luck.

``returns`` are simple returns per period, net of flows (0.01 = 1 %), as a sequence, array or Series; ``periods`` is
the number of periods in a year (12 monthly, about 260 daily in FX). A return that is not a number raises
MissingDataError, fewer than two raise DataError. A ratio whose denominator is zero (no volatility, no loss, no
drawdown) is NaN. A Sharpe ratio passed in is per period, and the kurtosis of a normal distribution is 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.model import FloatArray

if TYPE_CHECKING:
    import pandas as pd

Returns: TypeAlias = "Sequence[float] | FloatArray | pd.Series[float]"

_NORMAL = NormalDist()


# Return and risk


def annual_return(returns: Returns, periods: float) -> float:
    """Arithmetic annual return: the mean return × ``periods``."""
    return _mean(_clean(returns)) * _per_year(periods)


def cagr(returns: Returns, periods: float) -> float:
    """Compound annual growth rate of NAV; -1 if NAV ever fell to zero or below."""
    growth = np.cumprod(1.0 + _clean(returns))
    if growth.min() <= 0:
        return -1.0
    return math.pow(growth[-1], _per_year(periods) / len(growth)) - 1.0


def volatility(returns: Returns, periods: float) -> float:
    """Annual volatility: the sample standard deviation (n - 1) × √``periods``."""
    return _deviation(_clean(returns)) * math.sqrt(_per_year(periods))


def skewness(returns: Returns) -> float:
    """Population skewness (third standardized moment, no small-sample correction); NaN without volatility."""
    return _moments(_clean(returns))[0]


def kurtosis(returns: Returns) -> float:
    """Population kurtosis (fourth standardized moment, 3 for a normal distribution); NaN without volatility."""
    return _moments(_clean(returns))[1]


def sharpe(returns: Returns, periods: float) -> float:
    """Annual Sharpe ratio, ``mean / sd × √periods`` with the sample sd (n - 1); NaN without volatility.

    Excess returns are expected: subtract the cash rate first if the account earns one. ``periods`` = 1 gives the Sharpe
    ratio per period.
    """
    return _sharpe(_clean(returns)) * math.sqrt(_per_year(periods))


def sortino(returns: Returns, periods: float) -> float:
    """Annual Sortino ratio, ``mean / √mean(min(r, 0)²) × √periods`` over all periods; NaN without a loss."""
    r = _clean(returns)
    losses = np.minimum(r, 0.0)
    return _ratio(_mean(r), math.sqrt(float(losses @ losses) / len(r))) * math.sqrt(_per_year(periods))


# Drawdown


def max_drawdown(returns: Returns) -> float:
    """The deepest fall of NAV below its highest value so far, the starting value included; ≤ 0."""
    return float(_drawdown(_clean(returns)).min())


def calmar(returns: Returns, periods: float) -> float:
    """CAGR over the size of the maximum drawdown of the same returns; NaN without a drawdown."""
    return _ratio(cagr(returns, periods), -max_drawdown(returns))


def ulcer(returns: Returns) -> float:
    """Ulcer index: the root mean square of the drawdown at the end of each period; ≥ 0 (Martin 1987)."""
    drawdown = _drawdown(_clean(returns))
    return math.sqrt(float(drawdown @ drawdown) / len(drawdown))


def periods_under_water(returns: Returns) -> int:
    """In how many periods NAV ended below its highest value so far."""
    return int(np.count_nonzero(_is_under_water(returns)))


def longest_under_water(returns: Returns) -> int:
    """The longest run of periods in which NAV ended below its highest value so far."""
    dry = np.flatnonzero(~np.r_[False, _is_under_water(returns), False])
    return int(np.diff(dry).max()) - 1


# Wins, losses and tails


def hit_ratio(returns: Returns) -> float:
    """Share of periods with a return above zero. This is not the win rate of closed round trips."""
    r = _clean(returns)
    return int(np.count_nonzero(r > 0)) / len(r)


def profit_factor(returns: Returns) -> float:
    """Sum of the gains over the sum of the losses; NaN without a loss."""
    r = _clean(returns)
    gains = float(np.add.reduce(np.maximum(r, 0.0)))
    return _ratio(gains, gains - float(np.add.reduce(r)) if r.min() < 0 else 0.0)


def win_loss_ratio(returns: Returns) -> float:
    """Average gain over the size of the average loss; NaN without a gain or without a loss."""
    r = _clean(returns)
    wins, losses = r[r > 0], r[r < 0]
    return _ratio(_mean(wins), -_mean(losses)) if len(wins) and len(losses) else math.nan


def value_at_risk(
    returns: Returns, level: float, method: Literal["historical", "gaussian", "cornish-fisher"] = "historical"
) -> float:
    """The loss not exceeded with confidence ``level`` (0.95), per period, as a positive number.

    Historical: the k-th worst return, k = ⌈(1 - level) n⌉. Gaussian: ``-(mean + z sd)`` with the sample sd.
    Cornish-Fisher: z adjusted for population skewness and kurtosis (Cornish & Fisher 1938); do not trust it where
    \\|skewness\\| > 1 or kurtosis > 8. Raises ConfigError unless 0 < level < 1.
    """
    r = _clean(returns)
    if method == "historical":
        count = _tail_count(level, len(r))
        return -float(np.partition(r, count - 1)[count - 1])
    z = _quantile(1.0 - level)
    if method == "cornish-fisher":
        skew, kurt = _moments(r)
        z += (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * (kurt - 3) / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
    elif method != "gaussian":
        raise _unknown_method(method, "historical", "gaussian", "cornish-fisher")
    return -(_mean(r) + z * _deviation(r))


def expected_shortfall(
    returns: Returns, level: float, method: Literal["historical", "gaussian"] = "historical"
) -> float:
    """The mean loss in the worst ``1 - level`` of periods, per period, as a positive number.

    Historical: the mean of the k worst returns, k = ⌈(1 - level) n⌉. Gaussian: ``sd φ(z) / (1 - level) - mean`` with
    the sample sd. Raises ConfigError unless 0 < level < 1.
    """
    r = _clean(returns)
    if method == "historical":
        count = _tail_count(level, len(r))
        return -_mean(np.partition(r, count - 1)[:count])
    if method != "gaussian":
        raise _unknown_method(method, "historical", "gaussian")
    return _deviation(r) * _NORMAL.pdf(_quantile(level)) / (1.0 - level) - _mean(r)


# How sure is the Sharpe ratio


def sharpe_standard_error(returns: Returns, method: Literal["iid", "mertens"] = "iid") -> float:
    """Standard error of the Sharpe ratio PER PERIOD; multiply by √periods for the annual one.

    ``iid``: ``√((1 + SR²/2) / n)``, independent normal returns (Lo 2002). ``mertens``: ``√((1 - γ3 SR + (γ4 - 1)/4
    SR²) / n)`` with population skewness γ3 and kurtosis γ4 (Mertens 2002). NaN without volatility.
    """
    if method not in ("iid", "mertens"):
        raise _unknown_method(method, "iid", "mertens")
    r = _clean(returns)
    skew, kurt = _moments(r) if method == "mertens" else (0.0, 3.0)
    return math.sqrt(_sharpe_variance(_sharpe(r), skew, kurt) / len(r))


def autocorrelation_adjusted_sharpe(returns: Returns, periods: float, lags: int) -> float:
    """Annual Sharpe ratio that allows for autocorrelation: SR × η(q), q = ``periods`` (Lo 2002).

    ``η(q) = q / √(q + 2 Σ (q - k) ρ_k)`` over k = 1 … min(lags, q - 1); ``lags`` = 0 gives :func:`sharpe`. NaN without
    volatility or where the estimated variance is not positive. Raises ConfigError unless 0 ≤ lags < n.
    """
    r, q = _clean(returns), _per_year(periods)
    ratio = _sharpe(r)
    if math.isnan(ratio):
        return math.nan
    covariances = _autocovariances(r, lags)
    k = np.arange(1, len(covariances))
    scaled = q + 2.0 * float(np.maximum(q - k, 0.0) @ covariances[1:]) / covariances[0]
    return ratio * q / math.sqrt(scaled) if scaled > 0 else math.nan


def newey_west_t(returns: Returns, lags: int | None = None) -> float:
    """t statistic of the mean return with a Bartlett-weighted long-run variance (Newey & West 1987).

    ``lags`` = None takes ⌊4 (n / 100)^(2/9)⌋. No small-sample correction. NaN without volatility. Raises ConfigError
    unless 0 ≤ lags < n.
    """
    r = _clean(returns)
    if lags is None:
        lags = min(int(4 * (len(r) / 100) ** (2 / 9)), len(r) - 1)
    if math.isnan(_sharpe(r)):
        return math.nan
    covariances = _autocovariances(r, lags)
    weights = 2.0 * (1.0 - np.arange(lags + 1) / (lags + 1.0))
    weights[0] = 1.0
    return _mean(r) / math.sqrt(float(weights @ covariances) / len(r))


def stationary_bootstrap_standard_error(returns: Returns, mean_block: float) -> float:
    """Standard error of the MEAN return under the stationary bootstrap, in closed form: no simulation, no seed.

    Blocks start anywhere, wrap round the end and have geometric lengths of mean ``mean_block`` periods. With circular
    autocovariances C_k the variance of the resampled mean is ``(C_0 + 2 Σ (1 - k/n)(1 - 1/mean_block)^k C_k) / n``
    (Politis & Romano 1994, lemma 1). Raises ConfigError unless 1 ≤ mean_block ≤ n.
    """
    r = _clean(returns)
    n = len(r)
    if not 1 <= mean_block <= n:
        raise ConfigError(f"mean_block {mean_block} is not between 1 and the {n} returns", hint="try n ** (1 / 3)")
    spectrum = np.fft.rfft(r - _mean(r))
    covariances = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, n) / n
    lag = np.arange(n)
    weights = 2.0 * (1.0 - lag / n) * (1.0 - 1.0 / mean_block) ** lag
    weights[0] = 1.0
    return math.sqrt(max(float(weights @ covariances), 0.0) / n)


# How much of it is selection


def probabilistic_sharpe(sharpe: float, n: int, skew: float, kurtosis: float, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds ``benchmark``, given ``n`` observations.

    ``Φ((SR - SR*) √(n - 1) / √(1 - γ3 SR + (γ4 - 1)/4 SR²))``; ``sharpe`` and ``benchmark`` per period, ``kurtosis`` 3
    for a normal distribution (Bailey & López de Prado 2012). Raises DataError for moments no sample can have.
    """
    if not (n >= 2 and math.isfinite(benchmark)):
        raise DataError(f"n {n}, benchmark {benchmark}: two or more observations and a number are needed")
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt((n - 1) / _checked_variance(sharpe, skew, kurtosis)))


def deflated_sharpe(sharpe: float, n: int, skew: float, kurtosis: float, trials: int, trial_variance: float) -> float:
    """Probability that the true Sharpe ratio is above zero although it is the best of ``trials`` tried.

    :func:`probabilistic_sharpe` against :func:`expected_maximum_sharpe`. ``trial_variance`` is the variance of the
    trials' Sharpe ratios per period: divide an annual one by the periods in a year (Bailey & López de Prado 2014).
    """
    return probabilistic_sharpe(sharpe, n, skew, kurtosis, expected_maximum_sharpe(trials, trial_variance))


def expected_maximum_sharpe(trials: int, trial_variance: float) -> float:
    """The Sharpe ratio that the best of ``trials`` worthless strategies is expected to show, per period.

    ``√V ((1 - γ) Φ⁻¹(1 - 1/N) + γ Φ⁻¹(1 - 1/(N e)))``, γ = 0.5772 (Bailey & López de Prado 2014); 0 for one trial.
    Raises DataError unless ``trials`` ≥ 1 and ``trial_variance`` ≥ 0.
    """
    if not (1 <= trials < math.inf and 0 <= trial_variance < math.inf):
        raise DataError(
            f"trials {trials}, trial_variance {trial_variance}: not a count and a variance",
            hint="count every configuration ever tried, the chosen one included",
        )
    if trials == 1:
        return 0.0
    first, second = _NORMAL.inv_cdf(1 - 1 / trials), _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(trial_variance) * ((1 - np.euler_gamma) * first + np.euler_gamma * second)


def min_track_record_length(sharpe: float, skew: float, kurtosis: float, benchmark: float, confidence: float) -> float:
    """How many observations it takes to be ``confidence`` (0.95) sure that the Sharpe ratio exceeds ``benchmark``.

    ``1 + (1 - γ3 SR + (γ4 - 1)/4 SR²) (z / (SR - SR*))²``, both ratios per period (Bailey & López de Prado 2012);
    infinite where ``sharpe`` ≤ ``benchmark``. Raises DataError for moments no sample can have and ConfigError unless
    0.5 ≤ confidence < 1.
    """
    if not 0.5 <= confidence < 1:
        raise ConfigError(f"confidence {confidence} is not between 0.5 and 1", hint="0.95 is usual")
    if not math.isfinite(benchmark):
        raise DataError(f"benchmark {benchmark} is not a Sharpe ratio")
    variance = _checked_variance(sharpe, skew, kurtosis)
    if sharpe <= benchmark:
        return math.inf
    return 1.0 + variance * (_quantile(confidence) / (sharpe - benchmark)) ** 2


def probability_of_backtest_overfitting(returns: FloatArray | pd.DataFrame, blocks: int) -> float:
    """Share of splits in which the trial that was best in sample ends in the lower half out of sample.

    ``returns`` is periods × trials. The periods are cut into ``blocks`` (even; 10 to 16 is usual) runs of equal length,
    the first ones a period longer where they do not divide; every choice of half of the blocks is in sample once, the
    rest out of sample. With the winner's out-of-sample rank ω = rank / (trials + 1) the result is the share of splits
    with logit(ω) ≤ 0 (combinatorially symmetric cross-validation: Bailey, Borwein, López de Prado & Zhu 2017).

    Trials are ranked by Sharpe ratio to twelve decimals. Of equal winners the first column wins; equal ranks are
    averaged; a half without volatility ranks first, last, or as zero, by the sign of its mean. Raises DataError for
    fewer than two trials, four periods or one period a block, MissingDataError for a gap and ConfigError unless
    ``blocks`` is an even number from 2 to 20.
    """
    if blocks % 2 or not 2 <= blocks <= 20:
        raise ConfigError(f"blocks {blocks} is not an even number from 2 to 20", hint="use 10 to 16")
    x = np.asarray(returns, float)
    if x.ndim != 2 or x.shape[1] < 2 or len(x) < max(blocks, 4):
        raise DataError(
            f"returns of shape {x.shape} cannot be split into {blocks} blocks",
            hint="give periods × trials: two or more trials, one or more periods a block, four in all",
        )
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise MissingDataError(f"trial {column} is {x[row, column]} in period {row}", hint="a gap is never zero")
    size, extra = divmod(len(x), blocks)
    counts = np.full(blocks, float(size))
    counts[:extra] += 1
    starts = np.r_[0, np.cumsum(counts)[:-1]].astype(int)
    sums, squares = np.add.reduceat(x, starts), np.add.reduceat(x * x, starts)

    def ratios(half: FloatArray) -> Any:
        """Sharpe ratio of each trial (columns) over each choice of blocks (rows of zeros and ones)."""
        count = (half @ counts)[:, None]
        mean, square = half @ sums / count, half @ squares / count
        variance = np.maximum(square - mean * mean, 0.0) * count / (count - 1)
        flat = variance <= 1e-14 * square
        safe = np.sqrt(np.where(flat, 1.0, variance))
        return np.round(np.where(flat, np.where(mean == 0, 0.0, np.copysign(np.inf, mean)), mean / safe), 12)

    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    trials, overfit = x.shape[1], 0
    for part in np.array_split(chosen, 1 + len(chosen) * trials // 1_000_000):
        half = np.zeros((len(part), blocks))
        np.put_along_axis(half, part, 1.0, axis=1)
        outcome = ratios(1.0 - half)
        winner = np.take_along_axis(outcome, ratios(half).argmax(1)[:, None], axis=1)
        rank = (outcome < winner).sum(1) + ((outcome == winner).sum(1) + 1) / 2
        overfit += int(np.count_nonzero(rank <= (trials + 1) / 2))
    return overfit / len(chosen)


# Shared pieces


def _clean(returns: Any) -> FloatArray:
    """The returns as a float vector without gaps, two or more."""
    r: FloatArray = np.asarray(returns, float)
    if r.ndim != 1 or len(r) < 2:
        raise DataError(f"returns of shape {r.shape} are too few", hint="give two or more returns of one strategy")
    if not np.isfinite(r).all():
        where = int(np.flatnonzero(~np.isfinite(r))[0])
        labels: Any = returns.index if hasattr(returns, "to_numpy") else range(len(r))
        raise MissingDataError(
            f"the return at {labels[where]} is {r[where]}",
            hint="drop or explain the period; a missing return is never taken to be zero",
            fields={"at": labels[where]},
        )
    return r


def _per_year(periods: float) -> float:
    if not 0 < periods < math.inf:
        raise ConfigError(f"{periods} periods a year", hint="12 for monthly returns, about 260 for daily FX")
    return periods


def _mean(r: FloatArray) -> float:
    return float(np.add.reduce(r)) / len(r)


def _deviation(r: FloatArray) -> float:
    """Sample standard deviation (n - 1); exactly zero where only rounding differs."""
    mean = _mean(r)
    d = r - mean
    sd = math.sqrt(float(d @ d) / (len(r) - 1))
    return sd if sd > 1e-13 * abs(mean) else 0.0


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def _sharpe(r: FloatArray) -> float:
    return _ratio(_mean(r), _deviation(r))


def _moments(r: FloatArray) -> tuple[float, float]:
    """Population skewness and kurtosis (normal = 3)."""
    d = r - _mean(r)
    square = d * d
    variance = float(d @ d) / len(r) if _deviation(r) else 0.0
    return (
        _ratio(float(square @ d) / len(r), variance**1.5),
        _ratio(float(square @ square) / len(r), variance**2),
    )


def _drawdown(r: FloatArray) -> FloatArray:
    """NAV at the end of each period relative to its highest value so far, the start included; ≤ 0."""
    nav = np.cumprod(1.0 + r)
    drawdown: FloatArray = nav / np.maximum(np.maximum.accumulate(nav), 1.0) - 1.0
    return drawdown


def _is_under_water(returns: Returns) -> Any:
    return _drawdown(_clean(returns)) < -1e-12


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ConfigError(f"level {level} is not between 0 and 1", hint="0.95 is 95 %")
    return _NORMAL.inv_cdf(level)


def _tail_count(level: float, n: int) -> int:
    """k = ⌈(1 - level) n⌉, forgiving the rounding of ``1 - level``; at least one."""
    if not 0 < level < 1:
        raise ConfigError(f"level {level} is not between 0 and 1", hint="0.95 is 95 %")
    return max(1, math.ceil((1.0 - level) * n - 1e-9))


def _autocovariances(r: FloatArray, lags: int) -> FloatArray:
    """Σ d[t] d[t-k] / n for k = 0 … lags."""
    if not 0 <= lags < len(r):
        raise ConfigError(f"lags {lags} is not between 0 and {len(r) - 1}", hint="use fewer lags than returns")
    d = r - _mean(r)
    return np.array([d[k:] @ d[: len(d) - k] for k in range(lags + 1)]) / len(r)


def _sharpe_variance(ratio: float, skew: float, kurt: float) -> float:
    return 1.0 - skew * ratio + (kurt - 1.0) / 4.0 * ratio * ratio


def _checked_variance(ratio: float, skew: float, kurt: float) -> float:
    """n × the variance of the Sharpe ratio; refuses moments that no sample can have."""
    if not (math.isfinite(ratio) and math.isfinite(kurt) and kurt >= skew * skew + 1.0 - 1e-9):
        raise DataError(
            f"sharpe {ratio}, skew {skew}, kurtosis {kurt} are not the moments of any sample",
            hint="kurtosis is at least 1 + skew², and 3 for a normal distribution: add 3 to an excess kurtosis",
        )
    variance = _sharpe_variance(ratio, skew, kurt)
    if variance <= 0:
        raise DataError(f"sharpe {ratio}, skew {skew}, kurtosis {kurt} leave no uncertainty", hint="check the moments")
    return variance


def _unknown_method(method: str, *known: str) -> ConfigError:
    return ConfigError(f"unknown method {method!r}", hint=f"use {' or '.join(known)}")
