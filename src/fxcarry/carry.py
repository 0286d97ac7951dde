"""Pure carry mathematics: forwards, forward points, implied rates, annual carry and excess return.

Every function takes floats, arrays or Series, alone or mixed, and returns what it was given: a Python float for
scalars, an array or a Series otherwise. Rates are simple annual decimals (0.05 = 5 %), days are calendar days.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np

from fxcarry.errors import BadQuoteError, DataError, MissingDataError
from fxcarry.model import FloatArray

if TYPE_CHECKING:
    import pandas as pd

Numbers: TypeAlias = "float | Decimal | FloatArray | pd.Series[float]"


def forward(
    spot: Numbers,
    base_rate: Numbers,
    quote_rate: Numbers,
    days: Numbers,
    *,
    base_day_count: int = 360,
    quote_day_count: int = 360,
) -> Any:
    """The outright forward by covered interest parity, in quote currency per unit of base.

    ``F = S (1 + r_quote days / D_quote) / (1 + r_base days / D_base)`` (covered interest parity with simple
    interest), where ``days`` are the calendar days from the spot date to the forward date and D is each currency's
    own day count. Raises BadQuoteError on a spot that is not a price, MissingDataError on a missing rate and DataError
    unless ``days`` > 0.
    """
    price, n = _price(spot, "spot"), _days(days)
    return _result(price * _growth(quote_rate, n, quote_day_count, "quote") / _growth(base_rate, n, base_day_count))


def forward_points(spot: Numbers, forward: Numbers, pip: Numbers) -> Any:
    """Forward points in pips, ``(F - S) / pip``: negative where the base currency earns carry.

    ``pip`` is the pair's pip in price units (0.0001, or 0.01 where the quote is JPY). Raises BadQuoteError on anything
    that is not a price.
    """
    return _result((_price(forward, "forward") - _price(spot, "spot")) / _price(pip, "pip"))


def tom_next_points(
    spot: Numbers,
    base_rate: Numbers,
    quote_rate: Numbers,
    days: Numbers,
    *,
    base_day_count: int = 360,
    quote_day_count: int = 360,
) -> Any:
    """Swap points of one roll over ``days`` calendar days, in price units: negative where the base earns carry.

    ``S (1 + r_quote days / D_quote) / (1 + r_base days / D_base) - S``. A roll around a holiday may cover no day at
    all, so ``days`` = 0 is allowed and gives 0. Raises as :func:`forward` does.
    """
    price, n = _price(spot, "spot"), _days(days, zero_allowed=True)
    ratio = _growth(quote_rate, n, quote_day_count, "quote") / _growth(base_rate, n, base_day_count)
    return _result(price * ratio - price)


def carry_ann(spot: Numbers, forward: Numbers, days: Numbers) -> Any:
    """Annual carry of the BASE currency, ``ln(S / F) 365 / days``: > 0 earns.

    This is the annualized log forward discount, roughly ``r_base - r_quote``. Raises BadQuoteError on anything that is
    not a price and DataError unless ``days`` > 0.
    """
    return _result(np.log(_price(spot, "spot") / _price(forward, "forward")) * 365.0 / _days(days))


def implied_quote_rate(
    spot: Numbers,
    forward: Numbers,
    days: Numbers,
    base_rate: Numbers,
    *,
    base_day_count: int = 360,
    quote_day_count: int = 360,
) -> Any:
    """The quote currency's annual rate that a forward implies: the inverse of :func:`forward` in ``quote_rate``.

    The difference to a money-market rate is the cross-currency basis. Raises as :func:`forward` does.
    """
    n = _days(days)
    growth = _price(forward, "forward") / _price(spot, "spot") * _growth(base_rate, n, base_day_count)
    return _result((growth - 1.0) * _day_count(quote_day_count) / n)


@attrs.frozen(eq=False)
class ExcessReturn:
    """What a currency bought forward returned, as decimal fractions: ``total = (1 + spot)(1 + carry) - 1``.

    ``spot`` is the move of the spot price, ``carry`` what the forward paid for holding the currency (> 0 earns),
    ``log`` the continuously compounded total, ``ln(1 + total)``.
    """

    total: Any
    spot: Any
    carry: Any
    log: Any


def excess_return(spot_start: Numbers, forward_start: Numbers, spot_end: Numbers) -> ExcessReturn:
    """The return of buying a currency forward at the start and selling it spot at the end.

    Prices are account currency per one FOREIGN unit: for a USD account, invert USDJPY *before* calling. The total is
    ``S1 / F0 - 1``, spot ``S1 / S0 - 1``, carry ``S0 / F0 - 1`` and log ``ln(S1 / F0)``. Raises BadQuoteError on
    anything that is not a price.
    """
    start, outright = _price(spot_start, "spot_start"), _price(forward_start, "forward_start")
    end = _price(spot_end, "spot_end")
    return ExcessReturn(
        total=_result(end / outright - 1.0),
        spot=_result(end / start - 1.0),
        carry=_result(start / outright - 1.0),
        log=_result(np.log(end / outright)),
    )


def _price(value: Any, name: str) -> Any:
    value = _plain(value)
    _require(
        (value > 0) & (value < np.inf), value, name, BadQuoteError, "is not a price", "a price is finite and positive"
    )
    return value


def _days(value: Any, *, zero_allowed: bool = False) -> Any:
    value = _plain(value)
    least, rule = (value >= 0, "0 or more") if zero_allowed else (value > 0, "more than 0")
    _require(least & (value < np.inf), value, "days", DataError, "is not a period", f"days must be {rule}")
    return value


def _day_count(value: int) -> int:
    _require(0 < value < np.inf, value, "day count", DataError, "is not a year", "use 360, 365 or 252")
    return value


def _growth(rate: Any, days: Any, day_count: int, side: str = "base") -> Any:
    rate, name = _plain(rate), f"{side}_rate"
    hint = "a missing rate is never taken to be zero"
    _require(abs(rate) < np.inf, rate, name, MissingDataError, "is not a rate", hint)
    growth = 1.0 + rate * days / _day_count(day_count)
    _require(growth == growth, growth, name, MissingDataError, "has no partner", "give Series with the same index")
    hint = "rates are annual decimals: 0.05 is 5 %"
    _require(growth > 0, growth, f"growth at {name}", DataError, "leaves nothing of the deposit", hint)
    return growth


def _plain(value: Any) -> Any:
    """A Python float, a Series as it is, or a float array."""
    if isinstance(value, float) or np.ndim(value) == 0:
        return float(value)
    return value if hasattr(value, "to_numpy") else np.asarray(value, float)


def _require(ok: Any, value: Any, name: str, error: type[DataError], problem: str, hint: str) -> None:
    if ok is True or np.all(ok):
        return
    where = ""
    if np.ndim(value):
        position = int(np.flatnonzero(~np.ravel(ok))[0])
        labels = value.index if hasattr(value, "to_numpy") and np.ndim(value) == 1 else range(np.size(value))
        where, value = f" at {labels[position]}", np.ravel(value)[position]
    raise error(f"{name} {value}{where} {problem}", hint=hint, fields={"name": name, "value": float(value)})


def _result(value: Any) -> Any:
    if isinstance(value, float) or np.ndim(value) == 0:
        return float(value)
    if not np.isfinite(np.asarray(value, float)).all():
        raise MissingDataError("the inputs do not match label by label", hint="give Series with the same index")
    return value
