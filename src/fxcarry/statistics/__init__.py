"""Performance metrics and the inference that says how much of them is luck.

``returns`` are simple returns per period, net of flows (0.01 = 1 %), as a sequence, array or Series; ``periods`` is
the number of periods in a year (12 monthly, about 260 daily in FX). A return that is not a number raises
MissingDataError, fewer than two raise DataError. A ratio whose denominator is zero (no volatility, no loss, no
drawdown) is NaN. A Sharpe ratio passed in is per period, and the kurtosis of a normal distribution is 3.
"""

from fxcarry.statistics.inference import (
    Difference,
    autocorrelation_adjusted_sharpe,
    newey_west_t,
    sharpe_difference,
    sharpe_interval,
    sharpe_standard_error,
    stationary_bootstrap_standard_error,
)
from fxcarry.statistics.performance import (
    annual_return,
    cagr,
    calmar,
    expected_shortfall,
    hit_ratio,
    kurtosis,
    longest_under_water,
    max_drawdown,
    periods_under_water,
    profit_factor,
    rolling_sharpe,
    sharpe,
    skewness,
    sortino,
    tail_ratio,
    ulcer,
    value_at_risk,
    volatility,
    win_loss_ratio,
    worst_periods,
)
from fxcarry.statistics.sample import Returns
from fxcarry.statistics.selection import (
    deflated_sharpe,
    expected_maximum_sharpe,
    min_track_record_length,
    probabilistic_sharpe,
    probability_of_backtest_overfitting,
)

__all__ = [
    "Difference",
    "Returns",
    "annual_return",
    "autocorrelation_adjusted_sharpe",
    "cagr",
    "calmar",
    "deflated_sharpe",
    "expected_maximum_sharpe",
    "expected_shortfall",
    "hit_ratio",
    "kurtosis",
    "longest_under_water",
    "max_drawdown",
    "min_track_record_length",
    "newey_west_t",
    "periods_under_water",
    "probabilistic_sharpe",
    "probability_of_backtest_overfitting",
    "profit_factor",
    "rolling_sharpe",
    "sharpe",
    "sharpe_difference",
    "sharpe_interval",
    "sharpe_standard_error",
    "skewness",
    "sortino",
    "stationary_bootstrap_standard_error",
    "tail_ratio",
    "ulcer",
    "value_at_risk",
    "volatility",
    "win_loss_ratio",
    "worst_periods",
]
