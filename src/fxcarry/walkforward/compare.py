"""Walk-forward results of several strategies against the first of them, on the same days."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from fxcarry import statistics
from fxcarry.errors import ConfigError
from fxcarry.report import PERIODS
from fxcarry.walkforward.result import WalkForwardResult

if TYPE_CHECKING:
    import pandas as pd

_MEAN_BLOCK = 21
_YEARS_BEFORE = 2
_FIGURES = tuple(a.name for a in attrs.fields(statistics.Difference))


def at_equal_volatility(returns: pd.Series, target: float = 0.08) -> pd.Series:
    """Daily returns scaled, year by year, by ``target`` over the annual volatility of the years before (two or more).

    Calendar years without two before them, or with no volatility before them, are left out. Nothing of a year is used
    to scale it. Raises ConfigError unless ``target`` > 0.
    """
    if not 0 < target < math.inf:
        raise ConfigError(f"target {target} is not a volatility", hint="0.08 is 8 % a year")
    years = returns.index.year  # type: ignore[attr-defined]
    scale = np.full(len(returns), np.nan)
    for year in sorted(set(years))[_YEARS_BEFORE:]:
        before = returns.to_numpy()[years < year]
        volatility = statistics.volatility(before, PERIODS)
        if volatility > 0:
            scale[years == year] = target / volatility
    scaled: pd.Series = (returns * scale)[np.isfinite(scale)]
    return scaled


def compare(results: Sequence[WalkForwardResult], target: float = 0.08) -> list[dict[str, Any]]:
    """Each result against the first, as traded: the difference of annual Sharpe ratios from a paired bootstrap.

    Both are resampled with the same blocks (21 trading days on average) of the days that both have. ``equal`` is the
    same after :func:`at_equal_volatility`, so that neither looks better for the years in which it took more risk. Rows
    are ready for JSON; a figure that does not exist is None, and ``reason`` says why. Raises ConfigError for fewer than
    two results or for results in different account currencies.
    """
    if len(results) < 2:
        raise ConfigError(f"{len(results)} result cannot be compared", hint="pass two or more, the baseline first")
    currencies = sorted({r.account_currency for r in results})
    if len(currencies) > 1:
        raise ConfigError(f"returns in {' and '.join(currencies)} cannot be compared", hint="run all in one currency")
    first = results[0]
    return [
        {
            "strategy": other.strategy,
            "against": first.strategy,
            **_difference(other.returns, first.returns),
            "equal": _difference(
                at_equal_volatility(other.returns, target), at_equal_volatility(first.returns, target)
            ),
            "target_volatility": target,
        }
        for other in results[1:]
    ]


def _difference(one: pd.Series, other: pd.Series) -> dict[str, Any]:
    shared = one.index.intersection(other.index)
    values: dict[str, Any] = dict.fromkeys(_FIGURES)
    reason: str | None = f"{len(shared)} days in common are too few"
    if len(shared) >= 3:
        found = statistics.sharpe_difference(one[shared], other[shared], PERIODS, min(_MEAN_BLOCK, len(shared)))
        reason = "one of the two never moved"
        if all(map(math.isfinite, attrs.astuple(found))):
            values, reason = attrs.asdict(found), None
    return {"days": len(shared), **values, "reason": reason}
