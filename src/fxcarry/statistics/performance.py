"""Return and risk, drawdown, wins, losses and tails of a series of returns."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fxcarry.errors import ConfigError
from fxcarry.model import FloatArray
from fxcarry.statistics.sample import (
    NORMAL,
    Returns,
    clean,
    deviation,
    mean,
    moments,
    per_period_sharpe,
    per_year,
    quantile,
    ratio,
    unknown_method,
)

# Return and risk


def annual_return(returns: Returns, periods: float) -> float:
    """Arithmetic annual return: the mean return × ``periods``."""
    return mean(clean(returns)) * per_year(periods)


def cagr(returns: Returns, periods: float) -> float:
    """Compound annual growth rate of NAV; -1 if NAV ever fell to zero or below."""
    growth = np.cumprod(1.0 + clean(returns))
    if growth.min() <= 0:
        return -1.0
    return math.pow(growth[-1], per_year(periods) / len(growth)) - 1.0


def volatility(returns: Returns, periods: float) -> float:
    """Annual volatility: the sample standard deviation (n - 1) × √``periods``."""
    return deviation(clean(returns)) * math.sqrt(per_year(periods))


def skewness(returns: Returns) -> float:
    """Population skewness (third standardized moment, no small-sample correction); NaN without volatility."""
    return moments(clean(returns))[0]


def kurtosis(returns: Returns) -> float:
    """Population kurtosis (fourth standardized moment, 3 for a normal distribution); NaN without volatility."""
    return moments(clean(returns))[1]


def sharpe(returns: Returns, periods: float) -> float:
    """Annual Sharpe ratio, ``mean / sd × √periods`` with the sample sd (n - 1); NaN without volatility.

    Excess returns are expected: subtract the cash rate first if the account earns one. ``periods`` = 1 gives the Sharpe
    ratio per period.
    """
    return per_period_sharpe(clean(returns)) * math.sqrt(per_year(periods))


def rolling_sharpe(returns: Returns, periods: float, window: int) -> FloatArray:
    """Annual Sharpe ratio of the last ``window`` returns, at the end of each period, in the order of ``returns``.

    NaN until the window is full, and where its returns have no volatility. Raises ConfigError unless ``window`` is a
    whole number of two or more.
    """
    r, root = clean(returns), math.sqrt(per_year(periods))
    if window != int(window) or window < 2:
        raise ConfigError(
            f"window {window} is not a whole number of two or more", hint="260 is a year of daily returns"
        )
    rolled = np.full(len(r), math.nan)
    if window <= len(r):
        windows = np.lib.stride_tricks.sliding_window_view(r, int(window))
        average, sd = windows.mean(1), windows.std(1, ddof=1)
        has_volatility = sd > 1e-13 * np.abs(average)  # as deviation() decides it
        np.divide(average * root, sd, out=rolled[int(window) - 1 :], where=has_volatility)
    return rolled


def sortino(returns: Returns, periods: float) -> float:
    """Annual Sortino ratio, ``mean / √mean(min(r, 0)²) × √periods`` over all periods; NaN without a loss."""
    r = clean(returns)
    losses = np.minimum(r, 0.0)
    return ratio(mean(r), math.sqrt(float(losses @ losses) / len(r))) * math.sqrt(per_year(periods))


# Drawdown


def max_drawdown(returns: Returns) -> float:
    """The deepest fall of NAV below its highest value so far, the starting value included; ≤ 0."""
    return float(_drawdown(clean(returns)).min())


def calmar(returns: Returns, periods: float) -> float:
    """CAGR over the size of the maximum drawdown of the same returns; NaN without a drawdown."""
    return ratio(cagr(returns, periods), -max_drawdown(returns))


def ulcer(returns: Returns) -> float:
    """Ulcer index: the root mean square of the drawdown at the end of each period; ≥ 0 (Martin 1987)."""
    drawdown = _drawdown(clean(returns))
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
    r = clean(returns)
    return int(np.count_nonzero(r > 0)) / len(r)


def profit_factor(returns: Returns) -> float:
    """Sum of the gains over the sum of the losses; NaN without a loss."""
    r = clean(returns)
    gains = float(np.add.reduce(np.maximum(r, 0.0)))
    return ratio(gains, gains - float(np.add.reduce(r)) if r.min() < 0 else 0.0)


def win_loss_ratio(returns: Returns) -> float:
    """Average gain over the size of the average loss; NaN without a gain or without a loss."""
    r = clean(returns)
    wins, losses = r[r > 0], r[r < 0]
    return ratio(mean(wins), -mean(losses)) if len(wins) and len(losses) else math.nan


def tail_ratio(returns: Returns, level: float = 0.95) -> float:
    """The return exceeded in ``1 - level`` of periods over the size of the return undercut in as many.

    Above 1 the good days are larger than the bad ones. Quantiles are interpolated. NaN unless the upper one is a gain
    and the lower one a loss. Raises ConfigError unless 0.5 < level < 1.
    """
    r = clean(returns)
    if not 0.5 < level < 1:
        raise ConfigError(f"level {level} is not between 0.5 and 1", hint="0.95 compares the best and worst 5 %")
    low, high = np.quantile(r, [1.0 - level, level]).tolist()
    return ratio(high, -low) if high > 0 else math.nan


def worst_periods(returns: Returns, count: int = 10) -> NDArray[np.intp]:
    """Where the ``count`` lowest returns are, the lowest first, as positions in ``returns``; fewer if there are fewer.

    Of equal returns the earlier comes first. Raises ConfigError unless ``count`` ≥ 1.
    """
    r = clean(returns)
    if count < 1:
        raise ConfigError(f"count {count} is less than one", hint="10 is usual")
    return np.argsort(r, kind="stable")[:count]


def value_at_risk(
    returns: Returns, level: float, method: Literal["historical", "gaussian", "cornish-fisher"] = "historical"
) -> float:
    """The loss not exceeded with confidence ``level`` (0.95), per period, as a positive number.

    Historical: the k-th worst return, k = ⌈(1 - level) n⌉. Gaussian: ``-(mean + z sd)`` with the sample sd.
    Cornish-Fisher: z adjusted for population skewness and kurtosis (Cornish & Fisher 1938); do not trust it where
    \\|skewness\\| > 1 or kurtosis > 8. Raises ConfigError unless 0 < level < 1.
    """
    r = clean(returns)
    if method == "historical":
        count = _tail_count(level, len(r))
        return -float(np.partition(r, count - 1)[count - 1])
    z = quantile(1.0 - level)
    if method == "cornish-fisher":
        skew, kurt = moments(r)
        z += (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * (kurt - 3) / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
    elif method != "gaussian":
        raise unknown_method(method, "historical", "gaussian", "cornish-fisher")
    return -(mean(r) + z * deviation(r))


def expected_shortfall(
    returns: Returns, level: float, method: Literal["historical", "gaussian"] = "historical"
) -> float:
    """The mean loss in the worst ``1 - level`` of periods, per period, as a positive number.

    Historical: the mean of the k worst returns, k = ⌈(1 - level) n⌉. Gaussian: ``sd φ(z) / (1 - level) - mean`` with
    the sample sd. Raises ConfigError unless 0 < level < 1.
    """
    r = clean(returns)
    if method == "historical":
        count = _tail_count(level, len(r))
        return -mean(np.partition(r, count - 1)[:count])
    if method != "gaussian":
        raise unknown_method(method, "historical", "gaussian")
    return deviation(r) * NORMAL.pdf(quantile(level)) / (1.0 - level) - mean(r)


# Shared pieces


def _drawdown(r: FloatArray) -> FloatArray:
    """NAV at the end of each period relative to its highest value so far, the start included; ≤ 0."""
    nav = np.cumprod(1.0 + r)
    drawdown: FloatArray = nav / np.maximum(np.maximum.accumulate(nav), 1.0) - 1.0
    return drawdown


def _is_under_water(returns: Returns) -> Any:
    return _drawdown(clean(returns)) < -1e-12


def _tail_count(level: float, n: int) -> int:
    """k = ⌈(1 - level) n⌉, forgiving the rounding of ``1 - level``; at least one."""
    if not 0 < level < 1:
        raise ConfigError(f"level {level} is not between 0 and 1", hint="0.95 is 95 %")
    return max(1, math.ceil((1.0 - level) * n - 1e-9))
