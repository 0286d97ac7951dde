"""How much of a Sharpe ratio is selection."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.model import FloatArray
from fxcarry.statistics.sample import NORMAL, quantile, sharpe_variance

if TYPE_CHECKING:
    import pandas as pd


def probabilistic_sharpe(sharpe: float, n: int, skew: float, kurtosis: float, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds ``benchmark``, given ``n`` observations.

    ``Φ((SR - SR*) √(n - 1) / √(1 - γ3 SR + (γ4 - 1)/4 SR²))``; ``sharpe`` and ``benchmark`` per period, ``kurtosis`` 3
    for a normal distribution (Bailey & López de Prado 2012). Raises DataError for moments no sample can have.
    """
    if not (n >= 2 and math.isfinite(benchmark)):
        raise DataError(f"n {n}, benchmark {benchmark}: two or more observations and a number are needed")
    return NORMAL.cdf((sharpe - benchmark) * math.sqrt((n - 1) / _checked_variance(sharpe, skew, kurtosis)))


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
    first, second = NORMAL.inv_cdf(1 - 1 / trials), NORMAL.inv_cdf(1 - 1 / (trials * math.e))
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
    return 1.0 + variance * (quantile(confidence) / (sharpe - benchmark)) ** 2


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


def _checked_variance(ratio: float, skew: float, kurt: float) -> float:
    """n × the variance of the Sharpe ratio; refuses moments that no sample can have."""
    if not (math.isfinite(ratio) and math.isfinite(kurt) and kurt >= skew * skew + 1.0 - 1e-9):
        raise DataError(
            f"sharpe {ratio}, skew {skew}, kurtosis {kurt} are not the moments of any sample",
            hint="kurtosis is at least 1 + skew², and 3 for a normal distribution: add 3 to an excess kurtosis",
        )
    variance = sharpe_variance(ratio, skew, kurt)
    if variance <= 0:
        raise DataError(f"sharpe {ratio}, skew {skew}, kurtosis {kurt} leave no uncertainty", hint="check the moments")
    return variance
