"""Strategies: small callables ``(view, account) -> weights``. Any callable of that shape is one.

The built-in ones return arrays in universe order; a user's own may return a mapping or a Series by currency.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry import allocation
from fxcarry.covariance import ledoit_wolf
from fxcarry.errors import ConfigError
from fxcarry.market import MarketView
from fxcarry.model import Account, FloatArray

TRADING_DAYS = 260


def _positive(instance: object, attribute: Any, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ConfigError(f"{attribute.name} is {value}", hint="a number > 0")


@attrs.frozen
class Baseline:
    """Long the ``k`` currencies of highest carry, short the ``k`` of lowest, ±1/k each, rebalanced when due."""

    k: int = attrs.field(default=3, validator=_positive)
    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        return allocation.high_minus_low_array(view.tradable_carry, self.k, tie_order(view.currencies))


@attrs.frozen
class Sign:
    """±1/N by the sign of carry: long what pays more than the account currency, short what pays less."""

    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        return allocation.sign_weights_array(view.tradable_carry)


@attrs.frozen
class Rank:
    """Weights linear in the rank of carry, Σ|w| = 2: no cliff between the third and the fourth currency."""

    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        return allocation.rank_weights_array(view.tradable_carry)


@attrs.frozen(kw_only=True)
class Optimized:
    """Mean–variance on carry with shrunk covariance, costs in the objective, and a volatility target.

    Maximizes carry − (γ/2)·variance − trading cost − mark-up over at most ``k`` names a side, each up to
    ``position_cap`` of NAV and ``gross_cap`` in all; the expected return of a currency is its carry, no mean is
    estimated. The result is scaled to ``target_volatility`` within the caps, and a leg closer than ``band`` to its
    target is left alone. Needs ``lookback`` daily returns: it stays flat until there are as many.

    A venue that books no financing keeps no mark-up. Carry, variance, trading cost (of one rebalance, times
    ``rebalances_per_year``) and mark-up are annual.
    """

    k: int = attrs.field(default=3, validator=_positive)
    risk_aversion: float = attrs.field(default=8.0, validator=_positive)
    position_cap: float = attrs.field(default=0.30, validator=_positive)
    gross_cap: float = attrs.field(default=2.0, validator=_positive)
    target_volatility: float = attrs.field(default=0.08, validator=_positive)
    lookback: int = attrs.field(default=250, validator=_positive)
    band: float = attrs.field(default=0.10, validator=attrs.validators.ge(0))
    rebalances_per_year: int = attrs.field(default=12, validator=_positive)

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        carry = view.tradable_carry
        spot = view.spot_rows(self.lookback + 1)
        weights = np.zeros(len(carry))
        usable = np.isfinite(spot).all(0) & np.isfinite(carry)
        usable &= np.array([c != view.account_currency for c in view.currencies])
        if len(spot) <= self.lookback or not usable.any():
            return weights
        returns = np.diff(np.log(spot[:, usable]), axis=0)
        covariance = ledoit_wolf(returns)[0] * TRADING_DAYS
        held = np.array([account.current_weights.get(c, 0.0) for c in view.currencies])[usable]
        markup = -(view.values("financing_long") + view.values("financing_short"))[usable] / 2
        markup = np.where(np.isnan(markup), 0.0, np.maximum(markup, 0.0))
        order = tie_order(view.currencies)[usable]
        lower, upper = allocation.side_bounds_array(carry[usable], self.k, self.position_cap, order)
        best = allocation.mean_variance_array(
            carry[usable],
            covariance,
            held,
            risk_aversion=self.risk_aversion,
            trading_cost=view.values("trading_cost")[usable] * self.rebalances_per_year,
            markup=markup,
            lower=lower,
            upper=upper,
            gross=self.gross_cap,
        )
        scaled = allocation.scale_to_volatility_array(
            best, covariance, self.target_volatility, self.gross_cap, self.position_cap
        )
        near = (np.abs(scaled - held) < self.band * np.abs(scaled)) & (np.abs(held) <= self.position_cap)
        weights[usable] = np.where(near, held, scaled)
        return weights


@lru_cache(maxsize=64)
def tie_order(currencies: tuple[str, ...]) -> NDArray[np.int64]:
    """The alphabetical place of each currency: of equal carries the earlier ISO code ranks higher."""
    place = np.argsort(np.argsort(currencies))
    place.setflags(write=False)
    return place
