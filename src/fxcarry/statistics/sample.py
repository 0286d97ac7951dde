"""What every statistic begins with: checked returns, their moments, and what is not a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.model import FloatArray

if TYPE_CHECKING:
    import pandas as pd

Returns: TypeAlias = "Sequence[float] | FloatArray | pd.Series[float]"

NORMAL = NormalDist()


def clean(returns: Any) -> FloatArray:
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


def per_year(periods: float) -> float:
    """``periods`` itself, a positive number."""
    if not 0 < periods < math.inf:
        raise ConfigError(f"{periods} periods a year", hint="12 for monthly returns, about 260 for daily FX")
    return periods


def mean(r: FloatArray) -> float:
    """The arithmetic mean."""
    return float(np.add.reduce(r)) / len(r)


def deviation(r: FloatArray) -> float:
    """Sample standard deviation (n - 1); exactly zero where only rounding differs."""
    average = mean(r)
    d = r - average
    sd = math.sqrt(float(d @ d) / (len(r) - 1))
    return sd if sd > 1e-13 * abs(average) else 0.0


def ratio(numerator: float, denominator: float) -> float:
    """The quotient; NaN unless the denominator is positive."""
    return numerator / denominator if denominator > 0 else math.nan


def per_period_sharpe(r: FloatArray) -> float:
    """Sharpe ratio per period; NaN without volatility."""
    return ratio(mean(r), deviation(r))


def moments(r: FloatArray) -> tuple[float, float]:
    """Population skewness and kurtosis (normal = 3)."""
    d = r - mean(r)
    square = d * d
    variance = float(d @ d) / len(r) if deviation(r) else 0.0
    return (
        ratio(float(square @ d) / len(r), variance**1.5),
        ratio(float(square @ square) / len(r), variance**2),
    )


def quantile(level: float) -> float:
    """The normal quantile of a level between 0 and 1."""
    if not 0 < level < 1:
        raise ConfigError(f"level {level} is not between 0 and 1", hint="0.95 is 95 %")
    return NORMAL.inv_cdf(level)


def newey_west_lags(n: int) -> int:
    """The usual number of lags for ``n`` returns: ⌊4 (n / 100)^(2/9)⌋, fewer than n (Newey & West 1994)."""
    return max(min(int(4 * (n / 100) ** (2 / 9)), n - 1), 0)


def sharpe_variance(ratio: float, skew: float, kurt: float) -> float:
    """n × the variance of a Sharpe ratio per period (Mertens 2002)."""
    return 1.0 - skew * ratio + (kurt - 1.0) / 4.0 * ratio * ratio


def unknown_method(method: str, *known: str) -> ConfigError:
    """The error for a method that does not exist."""
    return ConfigError(f"unknown method {method!r}", hint=f"use {' or '.join(known)}")
