"""Realised volatility against its own past: the regime to beat before anything cleverer is believed."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any

import attrs
import numpy as np

from fxcarry.errors import ConfigError
from fxcarry.market import MarketView
from fxcarry.model import FloatArray

TRADING_DAYS = 260
ALL_ROWS = 1 << 40
"""More rows than any history has: ``view.spot_rows(ALL_ROWS)`` is all that is known."""


def fraction(instance: object, attribute: Any, value: float) -> None:
    """An attrs validator: from 0 to 1."""
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{attribute.name} is {value}", hint="a number from 0 to 1")


def at_least(least: int) -> Any:
    """An attrs validator: a whole number not below ``least``."""

    def check(instance: object, attribute: Any, value: int) -> None:
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"{attribute.name} is {value!r}", hint=f"a whole number >= {least}")

    return check


def foreign_rows(view: MarketView) -> FloatArray:
    """All rows of spot up to the view, oldest first, without the column of the account currency."""
    rows = view.spot_rows(ALL_ROWS)
    if view.account_currency in view.currencies:
        return np.delete(rows, view.currencies.index(view.account_currency), axis=1)
    return rows


def realised_volatility(spot: FloatArray, window: int) -> FloatArray:
    """Annual realised volatility of FX: the mean over currencies of √(260 · mean of r²) of the last ``window`` rows.

    ``spot`` has a row a day, oldest first; r are log returns, whose daily mean is taken to be zero. The answer has an
    entry a row, NaN until some currency has ``window`` returns; a currency counts from when it has. A row's entry is
    the same to the last bit whether or not rows follow it.
    """
    answer = np.full(len(spot), np.nan)
    if len(spot) <= window:
        return answer
    squares = np.diff(np.log(spot), axis=0) ** 2
    is_known = np.isfinite(squares)
    nothing = np.zeros((1, spot.shape[1]))
    # cumsum adds in order of time, so that an entry cannot depend on what comes later, not even by rounding
    total = np.vstack([nothing, np.cumsum(np.where(is_known, squares, 0.0), axis=0)])
    count = np.vstack([nothing, np.cumsum(is_known, axis=0)])
    is_full = count[window:] - count[:-window] == window
    variance = np.maximum(total[window:] - total[:-window], 0.0) * (TRADING_DAYS / window)
    members = is_full.sum(1)
    volatility = np.where(is_full, np.sqrt(variance), 0.0).sum(1)
    answer[window:] = np.divide(volatility, members, out=np.full(len(members), np.nan), where=members > 0)
    return answer


@attrs.define
class _Walk:
    """How far the walk over volatilities has come: enough to go on, never needed to answer."""

    path: FloatArray
    past: list[float]
    is_turbulent: bool
    held: int


@attrs.frozen(kw_only=True, eq=False)
class VolatilityRegime:
    """``exposure`` while realised FX volatility is high for its own past, 1 otherwise.

    Each day's :func:`realised_volatility` over ``window`` rows is ranked among all days before it: the share of them
    that were calmer. The turbulent state begins when the share is above ``enter`` and ends when it is below ``leave``,
    and a state lasts at least ``min_hold`` rows. Until there are ``warmup`` days to compare with the market counts as
    calm.

    The state is found by walking the view's rows from the first, so it is a function of the data alone; what an object
    remembers of the last walk only saves time, and is used where the rows are the same.
    """

    window: int = attrs.field(default=63, validator=at_least(2))
    enter: float = attrs.field(default=0.80, validator=fraction)
    leave: float = attrs.field(default=0.70, validator=fraction)
    exposure: float = attrs.field(default=0.5, validator=fraction)
    min_hold: int = attrs.field(default=21, validator=at_least(1))
    warmup: int = attrs.field(default=TRADING_DAYS, validator=at_least(1))
    _last: list[_Walk] = attrs.field(init=False, factory=list, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.leave > self.enter:
            raise ConfigError(
                f"leave is {self.leave}, above enter, {self.enter}",
                hint="it ends below where it begins: leave <= enter",
            )

    def __call__(self, view: MarketView) -> float:
        """The exposure to hold."""
        return self.exposure if self.is_turbulent(realised_volatility(foreign_rows(view), self.window)) else 1.0

    def is_turbulent(self, volatility: FloatArray) -> bool:
        """The state at the end of a path of volatilities, oldest first; NaN are passed over."""
        path = volatility[np.isfinite(volatility)]
        walk = self._walk_so_far(path)
        for value in path[len(walk.path) :].tolist():
            walk.held += 1
            if len(walk.past) >= self.warmup and walk.held >= self.min_hold:
                calmer = bisect_left(walk.past, value) / len(walk.past)
                if calmer < self.leave if walk.is_turbulent else calmer > self.enter:
                    walk.is_turbulent, walk.held = not walk.is_turbulent, 0
            insort(walk.past, value)
        walk.path = path
        self._last[:] = [walk]
        return walk.is_turbulent

    def _walk_so_far(self, path: FloatArray) -> _Walk:
        """The walk made last where this path goes on from it, else one from the start, free to switch at once."""
        for last in self._last:
            if len(last.path) <= len(path) and np.array_equal(last.path, path[: len(last.path)]):
                return attrs.evolve(last, past=list(last.past))
        return _Walk(path[:0], [], False, self.min_hold)
