"""Weights from carry and from how currencies move: by volatility, by equal risk, by mean and variance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import numpy as np

from fxcarry import allocation
from fxcarry.market import MarketView
from fxcarry.model import Account, FloatArray
from fxcarry.strategies.estimates import (
    annual_covariance,
    annual_volatility,
    at_least_two,
    floored_covariance,
    fraction,
    positive,
    tie_order,
    whole,
)


@attrs.frozen
class CarryToVolatility:
    """Long the ``k`` currencies of highest carry per unit of volatility, short the ``k`` of lowest, ±1/k each.

    Volatility is that of the last ``lookback`` daily returns, at least 4 % a year: a peg that has not moved would
    otherwise rank first. Flat until there are as many returns.
    """

    k: int = attrs.field(default=3, validator=whole)
    lookback: int = attrs.field(default=60, validator=at_least_two)
    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        ratio = view.tradable_carry / annual_volatility(view, self.lookback)
        return allocation.high_minus_low_array(ratio, self.k, tie_order(view.currencies))


def _sides(view: MarketView, k: int, lookback: int, share: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """The ``k`` highest and ``k`` lowest carries, each side summing to 1 with the shares of its covariance."""
    carry = view.tradable_carry
    weights = np.zeros(len(carry))
    usable, covariance = floored_covariance(view, lookback, np.isfinite(carry))
    if not usable.any():
        return weights
    side = allocation.high_minus_low_array(np.where(usable, carry, np.nan), k, tie_order(view.currencies))[usable]
    found = np.zeros(len(side))
    for sign in (1.0, -1.0):
        members = np.flatnonzero(side * sign > 0)
        if len(members):
            found[members] = sign * share(covariance[np.ix_(members, members)])
    weights[usable] = found
    return weights


@attrs.frozen
class InverseVolatility:
    """The names of ``baseline``, each side shared out in proportion to 1/volatility: the calm ones are larger.

    Σ of each side is 1. Volatility from ``lookback`` daily returns, shrunk and at least 4 % a year; flat until there
    are as many.
    """

    k: int = attrs.field(default=3, validator=whole)
    lookback: int = attrs.field(default=250, validator=at_least_two)
    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        return _sides(view, self.k, self.lookback, allocation.inverse_volatility_array)


@attrs.frozen
class EqualRisk:
    """The names of ``baseline``, each side shared out so that every name contributes the same risk to its side.

    Equal risk contribution (Spinu 2013). Σ of each side is 1. Covariance from ``lookback`` daily returns, shrunk, no
    volatility below 4 % a year; flat until there are as many.
    """

    k: int = attrs.field(default=3, validator=whole)
    lookback: int = attrs.field(default=250, validator=at_least_two)
    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        return _sides(view, self.k, self.lookback, allocation.equal_risk_contribution_array)


@attrs.frozen(kw_only=True)
class MinimumVariance:
    """The direction Σ⁻¹c of most carry per unit of variance, scaled to ``target_volatility`` within ``gross_cap``.

    Ackermann, Pohl and Schmedders (2017) scale to a carry target instead; when differentials compress, that leverage
    explodes, and this does not. Covariance from ``lookback`` daily returns, shrunk, no volatility below 4 % a year;
    flat until there are as many, and where no currency has any carry. Raises DataError where currencies move exactly
    alike, for then the direction is not determined.
    """

    target_volatility: float = attrs.field(default=0.08, validator=positive)
    gross_cap: float = attrs.field(default=2.0, validator=positive)
    lookback: int = attrs.field(default=250, validator=at_least_two)
    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        carry = view.tradable_carry
        weights = np.zeros(len(carry))
        usable, covariance = floored_covariance(view, self.lookback, np.isfinite(carry))
        if usable.any() and carry[usable].any():
            direction = allocation.minimum_variance_array(covariance, carry[usable], 1.0)
            weights[usable] = allocation.scale_to_volatility_array(
                direction, covariance, self.target_volatility, self.gross_cap
            )
        return weights


@attrs.frozen(kw_only=True)
class Optimized:
    """Mean–variance on carry with shrunk covariance, costs in the objective, and a volatility target.

    Maximizes carry − (γ/2)·variance − trading cost − mark-up over at most ``k`` names a side, each up to
    ``position_cap`` of NAV and ``gross_cap`` in all; the expected return of a currency is its carry, no mean is
    estimated. The result is scaled to ``target_volatility`` within the caps, and a leg closer than ``band`` to its
    target is left alone. Needs ``lookback`` daily returns: it stays flat until there are as many.

    With ``crosses`` the mark-up in the objective is that of a book held in the cheapest pairs (``routing =
    "least-cost"``), where one pair serves two currencies: positions that two mark-ups would eat are worth opening. It
    is exact where every pair has the same mark-up, else their mean stands for all.

    A venue that books no financing keeps no mark-up. Carry, variance, trading cost (of one rebalance, times
    ``rebalances_per_year``) and mark-up are annual.
    """

    k: int = attrs.field(default=3, validator=whole)
    risk_aversion: float = attrs.field(default=8.0, validator=positive)
    position_cap: float = attrs.field(default=0.30, validator=positive)
    gross_cap: float = attrs.field(default=2.0, validator=positive)
    target_volatility: float = attrs.field(default=0.08, validator=positive)
    lookback: int = attrs.field(default=250, validator=at_least_two)
    band: float = attrs.field(default=0.10, validator=fraction)
    rebalances_per_year: int = attrs.field(default=12, validator=positive)
    crosses: bool = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        carry = view.tradable_carry
        weights = np.zeros(len(carry))
        usable, covariance = annual_covariance(view, self.lookback, np.isfinite(carry))
        if not usable.any():
            return weights
        held = np.array([account.current_weights.get(c, 0.0) for c in view.currencies])[usable]
        markup = -(view.values("financing_long") + view.values("financing_short"))[usable] / 2
        markup = np.where(np.isnan(markup), 0.0, np.maximum(markup, 0.0))
        order = tie_order(view.currencies)[usable]
        lower, upper = allocation.side_bounds_array(carry[usable], self.k, self.position_cap, order)
        problem: dict[str, Any] = {
            "risk_aversion": self.risk_aversion,
            "trading_cost": view.values("trading_cost")[usable] * self.rebalances_per_year,
            "lower": lower,
            "upper": upper,
            "gross": self.gross_cap,
        }
        if self.crosses:
            best = allocation.routed_mean_variance_array(
                carry[usable], covariance, held, markup=float(markup.mean()), **problem
            )
        else:
            best = allocation.mean_variance_array(carry[usable], covariance, held, markup=markup, **problem)
        scaled = allocation.scale_to_volatility_array(
            best, covariance, self.target_volatility, self.gross_cap, self.position_cap
        )
        near = (np.abs(scaled - held) < self.band * np.abs(scaled)) & (np.abs(held) <= self.position_cap)
        weights[usable] = np.where(near, held, scaled)
        return weights
