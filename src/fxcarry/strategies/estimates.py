"""What several strategies read off a view: who can be ranked, how volatile, how they move together."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxcarry.covariance import ledoit_wolf
from fxcarry.errors import ConfigError
from fxcarry.market import MarketView
from fxcarry.model import FloatArray

TRADING_DAYS = 260
VOLATILITY_FLOOR = 0.04
"""The least annual volatility a currency is taken to have: a peg has none until the day it breaks."""

Mask = NDArray[np.bool_]


def positive(instance: object, attribute: Any, value: float) -> None:
    """An attrs validator: a finite number > 0."""
    if not (np.isfinite(value) and value > 0):
        raise ConfigError(f"{attribute.name} is {value}", hint="a number > 0")


def whole(instance: object, attribute: Any, value: int) -> None:
    """An attrs validator: a whole number of one or more."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise ConfigError(f"{attribute.name} is {value!r}", hint="a whole number: 1, 2, 3, …")


def at_least_two(instance: object, attribute: Any, value: int) -> None:
    """An attrs validator: a whole number of two or more, for a volatility needs two returns."""
    if not isinstance(value, int | np.integer) or value < 2:
        raise ConfigError(f"{attribute.name} is {value!r}", hint="a whole number of daily returns, two or more")


def fraction(instance: object, attribute: Any, value: float) -> None:
    """An attrs validator: a number from 0 to below 1."""
    if not 0 <= value < 1:
        raise ConfigError(f"{attribute.name} is {value}", hint="a number from 0 to below 1, such as 0.10")


@lru_cache(maxsize=64)
def tie_order(currencies: tuple[str, ...]) -> NDArray[np.int64]:
    """The alphabetical place of each currency: of equal carries the earlier ISO code ranks higher."""
    place = np.argsort(np.argsort(currencies))
    place.setflags(write=False)
    return place


def traded(view: MarketView) -> Mask:
    """Which currencies of the universe are not the account's own."""
    return np.array([c != view.account_currency for c in view.currencies])


def annual_covariance(view: MarketView, lookback: int, wanted: Mask) -> tuple[Mask, FloatArray]:
    """Which of the ``wanted`` currencies have ``lookback`` daily returns, and their shrunk annual covariance.

    Log returns, Ledoit and Wolf (2004); the account currency has none. Without enough rows nobody has.
    """
    spot = view.spot_rows(lookback + 1)
    usable = np.isfinite(spot).all(0) & wanted & traded(view)
    if len(spot) <= lookback or not usable.any():
        return np.zeros(len(usable), bool), np.empty((0, 0))
    returns = np.diff(np.log(spot[:, usable]), axis=0)
    return usable, ledoit_wolf(returns)[0] * TRADING_DAYS


def floored_covariance(view: MarketView, lookback: int, wanted: Mask) -> tuple[Mask, FloatArray]:
    """:func:`annual_covariance` with no volatility below :data:`VOLATILITY_FLOOR`."""
    usable, covariance = annual_covariance(view, lookback, wanted)
    diagonal = np.einsum("ii->i", covariance)
    diagonal[:] = np.maximum(diagonal, VOLATILITY_FLOOR**2)
    return usable, covariance


def annual_volatility(view: MarketView, lookback: int) -> FloatArray:
    """Annual volatility of each currency's last ``lookback`` daily log returns, floored; NaN without as many."""
    spot = view.spot_rows(lookback + 1)
    volatility = np.full(len(view.currencies), np.nan)
    if len(spot) <= lookback:
        return volatility
    usable = np.isfinite(spot).all(0) & traded(view)
    deviation = np.diff(np.log(spot[:, usable]), axis=0).std(axis=0, ddof=1) * np.sqrt(TRADING_DAYS)
    volatility[usable] = np.maximum(deviation, VOLATILITY_FLOOR)
    return volatility
