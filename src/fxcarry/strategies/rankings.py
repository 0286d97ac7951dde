"""Weights from the order, the sign or the size of carry alone."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from fxcarry import allocation
from fxcarry.market import MarketView
from fxcarry.model import Account, FloatArray
from fxcarry.strategies.estimates import tie_order, traded, whole


@attrs.frozen
class Baseline:
    """Long the ``k`` currencies of highest carry, short the ``k`` of lowest, ±1/k each, rebalanced when due."""

    k: int = attrs.field(default=3, validator=whole)
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


@attrs.frozen
class Linear:
    """Weights linear in carry itself, Σ|w| = 2, after pulling outliers in to two cross-sectional deviations."""

    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        return allocation.linear_weights_array(view.tradable_carry)


@attrs.frozen
class Dollar:
    """1/N of every currency, all long or all short: long where they pay more than the account currency on average.

    The dollar carry of Lustig, Roussanov and Verdelhan (2014), with the account currency in the place of the dollar.
    """

    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        carry = view.tradable_carry
        here = np.isfinite(carry) & traded(view)
        weights = np.zeros(len(carry))
        if here.any():
            weights[here] = np.sign(carry[here].mean()) / here.sum()
        return weights
