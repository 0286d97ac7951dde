"""Volatility and shrunk covariance of currency returns. Nothing here annualizes: that is the caller's to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.model import FloatArray

if TYPE_CHECKING:
    import pandas as pd

Matrix = TypeVar("Matrix", FloatArray, "pd.DataFrame")


def ledoit_wolf(returns: Matrix) -> tuple[Matrix, float]:
    """Covariance shrunk towards a scaled identity, and the shrinkage (0 = sample covariance, 1 = identity).

    ``returns`` is periods × currencies, an array or a DataFrame; the covariance is n × n per period, labeled where the
    returns were. The sample covariance divides by the number of periods. Source: Ledoit & Wolf (2004), "A
    well-conditioned estimator for large-dimensional covariance matrices". Raises DataError for fewer than two periods
    or a wrong shape and MissingDataError, naming the column, for a return that is not a number.
    """
    x = np.asarray(returns, float)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise DataError(f"returns of shape {x.shape} have no covariance", hint="give two or more periods × currencies")
    periods, n = x.shape
    with np.errstate(invalid="ignore", over="ignore"):  # a gap shows in the norm and is named there
        x = x - np.full(periods, 1.0 / periods) @ x
        covariance = x.T @ x / periods
        squares = (x * x) @ np.ones(n)  # squared length of each period's deviation
        flat = covariance.ravel()
        norm = float(flat @ flat)
    if not norm < np.inf:
        _refuse_gaps(returns)
    mean_variance = float(np.add.reduce(flat[:: n + 1])) / n
    noise = (float(squares @ squares) / periods - norm) / periods
    distance = norm - n * mean_variance * mean_variance
    shrinkage = max(0.0, min(noise, distance)) / distance if distance > 0 else 0.0
    covariance *= 1.0 - shrinkage
    flat[:: n + 1] += shrinkage * mean_variance
    labeled: Matrix = _relabel(covariance, returns)
    return labeled, shrinkage


@overload
def ewma_volatility(returns: pd.DataFrame, decay: float = 0.94) -> pd.Series: ...
@overload
def ewma_volatility(returns: FloatArray | pd.Series, decay: float = 0.94) -> Any: ...
def ewma_volatility(returns: Any, decay: float = 0.94) -> Any:
    """Exponentially weighted volatility after the last return, per period (not annualized).

    ``v[0] = r[0]**2`` and ``v[t] = decay v[t-1] + (1 - decay) r[t]**2``; the result is ``sqrt(v[-1])`` (RiskMetrics
    1996, means taken to be zero). One column (sequence, array, Series) gives a float, periods × currencies an array
    and a DataFrame a Series by column. Raises DataError when there are no returns, MissingDataError for one that is
    not a number and ConfigError unless 0 < decay < 1.
    """
    if not 0 < decay < 1:
        raise ConfigError(f"decay {decay} is not between 0 and 1", hint="0.94 is usual for daily returns")
    r = np.asarray(returns, float)
    if r.ndim not in (1, 2) or not r.size:
        raise DataError(f"returns of shape {r.shape} have no volatility", hint="give one or more periods")
    if not np.isfinite(r).all():
        _refuse_gaps(returns)
    weights = decay ** np.arange(len(r) - 1.0, -1.0, -1.0)
    weights[1:] *= 1.0 - decay
    volatility = np.sqrt(weights @ (r * r))
    if r.ndim == 1:
        return float(volatility)
    if not hasattr(returns, "columns"):
        return volatility
    import pandas as pd

    return pd.Series(volatility, index=returns.columns)


def _relabel(matrix: FloatArray, source: Any) -> Any:
    if not hasattr(source, "columns"):
        return matrix
    import pandas as pd

    return pd.DataFrame(matrix, index=source.columns, columns=source.columns)


def _refuse_gaps(table: Any) -> None:
    """Raise for the first entry that is not a number, by column and row."""
    values = np.atleast_2d(np.asarray(table, float).T).T
    bad = np.argwhere(~np.isfinite(values))
    if not len(bad):
        raise DataError("returns are too large to square", hint="returns are decimal fractions: 0.01 is 1 %")
    row, column = (int(i) for i in bad[0])
    name = table.columns[column] if hasattr(table, "columns") else column
    label = table.index[row] if hasattr(table, "to_numpy") else row
    raise MissingDataError(
        f"column {name} is {values[row, column]} at {label}",
        hint="choose a window in which every currency is quoted; a gap is never taken to be zero",
        fields={"column": name, "row": label},
    )
