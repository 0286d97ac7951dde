"""Trading costs: one object that the simulator charges and the optimizer plans with.

Default spreads are typical full retail spreads in basis points of price (a dealing desk's published averages); they are
assumptions to be replaced by your own, and every report states them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.model import FloatArray, Pair

_RETAIL = {
    "USD": 0.0, "EUR": 1.3, "JPY": 1.3, "GBP": 1.6, "AUD": 2.0, "CAD": 1.8, "CHF": 2.0, "NZD": 2.8, "SEK": 8.0,
    "NOK": 8.0, "DKK": 3.0, "SGD": 4.0, "CNH": 5.0, "CNY": 5.0, "MXN": 10.0, "ZAR": 18.0, "PLN": 12.0, "HUF": 14.0,
    "CZK": 14.0, "ILS": 18.0, "TRY": 60.0, "HKD": 3.0, "THB": 18.0,
}  # fmt: skip


def _check(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (np.isfinite(value) and value >= 0):
        raise ConfigError(f"costs.{attribute.name} is {value}", hint="basis points, >= 0")


@attrs.frozen(kw_only=True)
class Costs:
    """Half bid/ask spread, slippage and commission, all >= 0 and in basis points of notional.

    ``spread_bps`` is the *full* spread of each currency against USD; a cross pays both legs. A currency without a
    spread is an error, not free.
    """

    spread_bps: Mapping[str, float] = attrs.field(factory=lambda: dict(_RETAIL))
    slippage_bps: float = attrs.field(default=0.0, validator=_check)
    commission_bps: float = attrs.field(default=0.0, validator=_check)
    spread_multiplier: float = attrs.field(default=1.0, validator=_check)

    def __attrs_post_init__(self) -> None:
        for currency, spread in self.spread_bps.items():
            if not (np.isfinite(spread) and spread >= 0):
                raise ConfigError(f"costs.spread_bps.{currency} is {spread}", hint="full spread in basis points, >= 0")

    @classmethod
    def none(cls) -> Costs:
        """Trading is free: fills at mid, no commission."""
        return cls(spread_multiplier=0.0)

    @property
    def is_free(self) -> bool:
        """True where nothing is charged."""
        return not (self.spread_multiplier or self.slippage_bps or self.commission_bps)

    def half_spread(self, pair: Pair) -> float:
        """Half the spread of ``pair``, as a fraction of the mid price."""
        if not self.spread_multiplier:
            return 0.0
        for currency in pair:
            if currency not in self.spread_bps:
                raise MissingDataError(
                    f"no spread for {currency} in the cost model",
                    hint=f"add {currency} to spread_bps (full spread in basis points), or use costs=None",
                )
        full = self.spread_bps[pair.base] + self.spread_bps[pair.quote]
        return full / 2 * self.spread_multiplier * 1e-4

    def per_turnover(self, pair: Pair) -> float:
        """What trading ``pair`` costs as a fraction of the notional traded: half its spread, slippage, commission."""
        return self.half_spread(pair) + (self.slippage_bps + self.commission_bps) * 1e-4

    def trading_cost(self, currencies: Sequence[str], account_currency: str) -> FloatArray:
        """Cost of moving each currency's weight by 1 against the account currency, as a fraction of NAV."""
        own = account_currency
        return np.array([0.0 if c == own else self.per_turnover(Pair(c, own)) for c in currencies])
