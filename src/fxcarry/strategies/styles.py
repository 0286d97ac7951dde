"""Signals beside carry, momentum and value, and their combination with it."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

import attrs
import numpy as np

from fxcarry import allocation
from fxcarry.market import MarketView
from fxcarry.model import Account, FloatArray
from fxcarry.strategies.estimates import TRADING_DAYS, whole

_MONTH = timedelta(days=30)


def momentum_array(view: MarketView, months: int = 12) -> FloatArray:
    """Excess return of each currency over the last ``months``: its log change against the account currency, and carry.

    A month is 30 days of the calendar for carry and a twelfth of 260 rows for spot. Carry is the mean of what was known
    every 30 days as far back as the run goes: in its first year, of fewer months. NaN for a currency without a price
    that long ago, or without a rate on one of these days.
    """
    count = round(months * TRADING_DAYS / 12)
    rows = view.spot_rows(count + 1)
    if len(rows) <= count:
        return np.full(len(view.currencies), np.nan)
    known = [view.tradable_carry]
    for month in range(1, months):
        before = view.earlier(view.as_of - month * _MONTH)
        if before is None:
            break
        known.append(before.tradable_carry)
    change: FloatArray = np.log(rows[-1] / rows[0])
    carry: FloatArray = np.mean(known, axis=0) * months / 12
    return change + carry


def value_array(view: MarketView, years: int = 5) -> FloatArray:
    """How far each currency has fallen over ``years``: minus the log change against the account currency.

    Nominal, where the literature takes real exchange rates (Asness, Moskowitz and Pedersen 2013): no inflation data is
    needed, and among the G10 the two are close. NaN for a currency without a price that long ago.
    """
    rows = view.spot_rows(years * TRADING_DAYS + 1)
    if len(rows) <= years * TRADING_DAYS:
        return np.full(len(view.currencies), np.nan)
    change: FloatArray = -np.log(rows[-1] / rows[0])
    return np.where(np.isfinite(view.tradable_carry), change, np.nan)


def standard_scores_array(signal: FloatArray) -> FloatArray:
    """Each signal less the cross-sectional mean, over the cross-sectional deviation; 0 where all are equal."""
    scores = np.full(len(signal), np.nan)
    here = np.isfinite(signal)
    if here.any():
        centred = signal[here] - signal[here].mean()
        deviation = centred.std()
        is_spread = deviation > 1e-12 * max(1.0, float(np.abs(signal[here]).max()))
        scores[here] = centred / deviation if is_spread else 0.0
    return scores


@attrs.frozen(kw_only=True)
class CarryMomentumValue:
    """Weights linear in the mean standard score of carry, momentum and value, Σ|w| = 2.

    A signal counts for a currency once it has its history: carry alone in the first year, value from the fifth on.
    """

    momentum_months: int = attrs.field(default=12, validator=whole)
    value_years: int = attrs.field(default=5, validator=whole)
    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        carry = view.tradable_carry
        signals = (carry, momentum_array(view, self.momentum_months), value_array(view, self.value_years))
        scores = np.array([standard_scores_array(np.where(np.isfinite(carry), s, np.nan)) for s in signals])
        known = np.isfinite(scores)
        counted = known.sum(0)
        total = np.where(known, scores, 0.0).sum(0)
        mean = np.divide(total, counted, out=np.full(len(carry), np.nan), where=counted > 0)
        return allocation.linear_weights_array(mean)
