"""How sure is the Sharpe ratio, and the difference of two."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.errors import ConfigError, DataError
from fxcarry.model import FloatArray
from fxcarry.statistics.sample import (
    Returns,
    clean,
    mean,
    moments,
    newey_west_lags,
    per_period_sharpe,
    per_year,
    sharpe_variance,
    unknown_method,
)


def sharpe_standard_error(returns: Returns, method: Literal["iid", "mertens"] = "iid") -> float:
    """Standard error of the Sharpe ratio PER PERIOD; multiply by √periods for the annual one.

    ``iid``: ``√((1 + SR²/2) / n)``, independent normal returns (Lo 2002). ``mertens``: ``√((1 - γ3 SR + (γ4 - 1)/4
    SR²) / n)`` with population skewness γ3 and kurtosis γ4 (Mertens 2002). NaN without volatility.
    """
    if method not in ("iid", "mertens"):
        raise unknown_method(method, "iid", "mertens")
    r = clean(returns)
    skew, kurt = moments(r) if method == "mertens" else (0.0, 3.0)
    return math.sqrt(sharpe_variance(per_period_sharpe(r), skew, kurt) / len(r))


def autocorrelation_adjusted_sharpe(returns: Returns, periods: float, lags: int) -> float:
    """Annual Sharpe ratio that allows for autocorrelation: SR × η(q), q = ``periods`` (Lo 2002).

    ``η(q) = q / √(q + 2 Σ (q - k) ρ_k)`` over k = 1 … min(lags, q - 1); ``lags`` = 0 gives :func:`sharpe`. NaN without
    volatility or where the estimated variance is not positive. Raises ConfigError unless 0 ≤ lags < n.
    """
    r, q = clean(returns), per_year(periods)
    ratio = per_period_sharpe(r)
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
    r = clean(returns)
    if lags is None:
        lags = newey_west_lags(len(r))
    if math.isnan(per_period_sharpe(r)):
        return math.nan
    covariances = _autocovariances(r, lags)
    weights = 2.0 * (1.0 - np.arange(lags + 1) / (lags + 1.0))
    weights[0] = 1.0
    return mean(r) / math.sqrt(float(weights @ covariances) / len(r))


def stationary_bootstrap_standard_error(returns: Returns, mean_block: float) -> float:
    """Standard error of the MEAN return under the stationary bootstrap, in closed form: no simulation, no seed.

    Blocks start anywhere, wrap round the end and have geometric lengths of mean ``mean_block`` periods. With circular
    autocovariances C_k the variance of the resampled mean is ``(C_0 + 2 Σ (1 - k/n)(1 - 1/mean_block)^k C_k) / n``
    (Politis & Romano 1994, lemma 1). Raises ConfigError unless 1 ≤ mean_block ≤ n.
    """
    r = clean(returns)
    n = len(r)
    _check_block(mean_block, n)
    spectrum = np.fft.rfft(r - mean(r))
    covariances = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, n) / n
    lag = np.arange(n)
    weights = 2.0 * (1.0 - lag / n) * (1.0 - 1.0 / mean_block) ** lag
    weights[0] = 1.0
    return math.sqrt(max(float(weights @ covariances), 0.0) / n)


def sharpe_interval(
    returns: Returns, periods: float, level: float = 0.95, mean_block: float = 21, draws: int = 2000, seed: int = 1
) -> tuple[float, float]:
    """Interval (low, high) of the annual Sharpe ratio at confidence ``level``, from the stationary bootstrap.

    The percentile interval of the Sharpe ratios of ``draws`` resamples. Each is as long as ``returns`` and made of
    blocks that start anywhere, wrap round the end and have geometric lengths of mean ``mean_block`` periods, so that
    the dependence within a block is kept (Politis & Romano 1994). A resample without volatility is left out. The same
    arguments give the same interval. (NaN, NaN) without volatility. Raises ConfigError unless 0 < level < 1,
    1 ≤ mean_block ≤ n and draws ≥ 100.
    """
    r, root = clean(returns), math.sqrt(per_year(periods))
    if not 0 < level < 1:
        raise ConfigError(f"level {level} is not between 0 and 1", hint="0.95 is 95 %")
    drawn = _resampled_sharpes([r], mean_block, draws, seed)[0]
    if math.isnan(per_period_sharpe(r)) or not len(drawn):
        return math.nan, math.nan
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low * root, high * root


@attrs.frozen(kw_only=True)
class Difference:
    """One annual Sharpe ratio less another, how sure that is, and the chance of as much if they were equal.

    ``standard_error`` is the spread of the resampled differences, ``low`` and ``high`` their 2.5 % and 97.5 %
    quantiles, ``p_value`` two-sided. All NaN where one of the two has no volatility.
    """

    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float


def sharpe_difference(
    one: Returns, other: Returns, periods: float, mean_block: float = 21, draws: int = 2000, seed: int = 1
) -> Difference:
    """The Sharpe ratio of ``one`` less that of ``other``, both annual, from a paired stationary bootstrap.

    Both series are resampled with the same blocks of the same periods, so what moves both cancels: the difference of
    two similar strategies is far better known than either ratio. ``p_value`` = (1 + how many |d* - d| ≥ |d|) / (1 +
    resamples), d the difference and d* a resampled one. Blocks, draws and seed as in :func:`sharpe_interval`.

    Raises DataError unless both have a return for the same periods: Series by index, others by length.
    """
    a, b, root = clean(one), clean(other), math.sqrt(per_year(periods))
    if len(a) != len(b):
        raise DataError(f"{len(a)} returns against {len(b)}", hint="compare the same periods")
    dated: list[Any] = [r for r in (one, other) if hasattr(r, "to_numpy")]
    if len(dated) == 2 and not dated[0].index.equals(dated[1].index):
        raise DataError("the two series have different dates", hint="keep the dates that both have")
    difference = (per_period_sharpe(a) - per_period_sharpe(b)) * root
    first, second = _resampled_sharpes([a, b], mean_block, draws, seed)
    drawn = (first - second) * root
    if math.isnan(difference) or len(drawn) < 2:
        return Difference(difference=math.nan, standard_error=math.nan, low=math.nan, high=math.nan, p_value=math.nan)
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    as_far = int(np.count_nonzero(np.abs(drawn - difference) >= abs(difference) - 1e-9))  # rounding is not evidence
    return Difference(
        difference=difference,
        standard_error=float(drawn.std(ddof=1)),
        low=low,
        high=high,
        p_value=(1 + as_far) / (1 + len(drawn)),
    )


# Shared pieces


def _resampled_sharpes(series: list[FloatArray], mean_block: float, draws: int, seed: int) -> list[FloatArray]:
    """Sharpe ratios per period of the same resamples of each series; a resample that leaves one flat is left out.

    A block's sums come from running sums over the series twice in a row (blocks wrap round), so the work grows with
    the number of blocks and not of periods.
    """
    n = len(series[0])
    _check_block(mean_block, n)
    if draws != int(draws) or draws < 100:
        raise ConfigError(f"draws {draws} is not a whole number of 100 or more", hint="2000 is usual")
    centers = [mean(r) for r in series]
    sums, squares = [], []
    for r, center in zip(series, centers):
        d = np.tile(r - center, 2)  # centered: the running sums of squares stay small
        sums.append(np.r_[0.0, np.cumsum(d)])
        squares.append(np.r_[0.0, np.cumsum(d * d)])
    drawn: list[list[FloatArray]] = [[] for _ in series]
    for start, stop in _blocks(n, mean_block, int(draws), np.random.default_rng(seed)):
        ratios = []
        for center, total, square in zip(centers, sums, squares):
            average = (total[stop] - total[start]).sum(1) / n
            variance = ((square[stop] - square[start]).sum(1) - n * average**2) / (n - 1)
            floor = max(1e-12 * square[n] / n, 1e-26 * center**2)  # what rounding leaves of no variance at all
            sd = np.sqrt(np.where(variance > floor, variance, np.nan))
            ratios.append((center + average) / sd)
        kept = np.isfinite(ratios).all(0)
        for parts, found in zip(drawn, ratios):
            parts.append(found[kept])
    return [np.concatenate(parts) for parts in drawn]


def _blocks(
    n: int, mean_block: float, draws: int, random: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Where the blocks of each draw (rows) start and stop; a stop beyond n is a block that wraps round, and a block
    that is not needed to fill n periods is empty."""
    expected = n / mean_block
    width = int(expected + 4 * math.sqrt(expected)) + 4  # nearly always enough; more are drawn where it is not
    rows = max(1, 2_000_000 // width)
    for done in range(0, draws, rows):
        count = min(rows, draws - done)
        lengths = random.geometric(1 / mean_block, (count, width)).clip(max=n)
        ends = np.cumsum(lengths, 1)
        while int(ends[:, -1].min()) < n:
            more = random.geometric(1 / mean_block, (count, width)).clip(max=n)
            ends = np.hstack([ends, ends[:, -1:] + np.cumsum(more, 1)])
        ends = np.minimum(ends, n)
        start = random.integers(n, size=ends.shape)
        yield start, start + np.diff(ends, axis=1, prepend=0)


def _check_block(mean_block: float, n: int) -> None:
    if not 1 <= mean_block <= n:
        raise ConfigError(f"mean_block {mean_block} is not between 1 and the {n} returns", hint="try n ** (1 / 3)")


def _autocovariances(r: FloatArray, lags: int) -> FloatArray:
    """Σ d[t] d[t-k] / n for k = 0 … lags."""
    if not 0 <= lags < len(r):
        raise ConfigError(f"lags {lags} is not between 0 and {len(r) - 1}", hint="use fewer lags than returns")
    d = r - mean(r)
    return np.array([d[k:] @ d[: len(d) - k] for k in range(lags + 1)]) / len(r)
