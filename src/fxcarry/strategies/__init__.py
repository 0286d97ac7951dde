"""Strategies: small callables ``(view, account) -> weights``. Any callable of that shape is one.

The built-in ones return arrays in universe order; a user's own may return a mapping or a Series by currency.
"""

from fxcarry.strategies.by_risk import CarryToVolatility, EqualRisk, InverseVolatility, MinimumVariance, Optimized
from fxcarry.strategies.estimates import TRADING_DAYS, tie_order
from fxcarry.strategies.overlays import (
    Blend,
    NetCarry,
    Neutral,
    NoTradeBand,
    Staggered,
    Switch,
    VolatilityTarget,
    net_carry_array,
)
from fxcarry.strategies.rankings import Baseline, Dollar, Linear, Rank, Sign
from fxcarry.strategies.styles import CarryMomentumValue, momentum_array, standard_scores_array, value_array

__all__ = [
    "TRADING_DAYS",
    "Baseline",
    "Blend",
    "CarryMomentumValue",
    "CarryToVolatility",
    "Dollar",
    "EqualRisk",
    "InverseVolatility",
    "Linear",
    "MinimumVariance",
    "NetCarry",
    "Neutral",
    "NoTradeBand",
    "Optimized",
    "Rank",
    "Sign",
    "Staggered",
    "Switch",
    "VolatilityTarget",
    "momentum_array",
    "net_carry_array",
    "standard_scores_array",
    "tie_order",
    "value_array",
]
