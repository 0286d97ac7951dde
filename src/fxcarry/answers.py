"""Asking a strategy, and what an answer may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fxcarry.errors import ConfigError, DataError
from fxcarry.market import MarketView
from fxcarry.model import Account, FloatArray
from fxcarry.protocols import Strategy


def ask(strategy: Strategy, view: MarketView, account: Account) -> FloatArray:
    """What a strategy wants, in universe order. The account currency is the residual and has no weight of its own; nor
    has a currency that is no member of the universe now.
    """
    weights = view.among_members(as_weights(strategy(view, account), view))
    if view.account_currency in view.currencies:
        weights[view.currencies.index(view.account_currency)] = 0.0
    return weights


def as_weights(weights: Any, view: MarketView) -> FloatArray:
    """A strategy's answer to a view as an array in universe order. An unknown currency or a number that is not finite
    is an error.
    """
    universe = view.currencies
    if isinstance(weights, np.ndarray):
        if weights.shape != (len(universe),):
            raise DataError(
                f"the strategy returned weights of shape {weights.shape} at {view.as_of:%Y-%m-%d}",
                hint=f"an array has one number for each of {', '.join(universe)}",
            )
        result = np.array(weights, float)
    else:
        if hasattr(weights, "to_dict"):
            if not weights.index.is_unique:
                raise DataError(
                    f"the strategy returned a currency twice at {view.as_of:%Y-%m-%d}", hint="one weight a currency"
                )
            weights = weights.to_dict()
        if not isinstance(weights, Mapping):
            raise DataError(
                f"the strategy returned {type(weights).__name__} at {view.as_of:%Y-%m-%d}",
                hint="return a mapping or Series of weights by currency",
            )
        unknown = [c for c in weights if c not in universe]
        if unknown:
            raise ConfigError(
                f"the strategy returned a weight for {unknown[0]!r} at {view.as_of:%Y-%m-%d}",
                hint=f"the universe is {', '.join(universe)}",
            )
        numbers = []
        for currency in universe:
            try:
                numbers.append(float(weights.get(currency, 0.0)))
            except (TypeError, ValueError):
                raise DataError(
                    f"the strategy's weight for {currency} at {view.as_of:%Y-%m-%d} is {weights[currency]!r}",
                    hint="a number",
                ) from None
        result = np.array(numbers)
    if not math.isfinite(sum(result.tolist())):
        bad = universe[int(np.flatnonzero(~np.isfinite(result))[0])]
        raise DataError(
            f"the strategy's weight for {bad} at {view.as_of:%Y-%m-%d} is not a number", hint="leave it out, or 0"
        )
    return result
