"""fxcarry.costs: spreads, slippage and commission."""

from __future__ import annotations

import numpy as np
import pytest

from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.model import Pair

EURUSD, AUDJPY = Pair.parse("EURUSD"), Pair.parse("AUDJPY")
OWN = {"USD": 0.0, "EUR": 2.0, "AUD": 3.0, "JPY": 1.0}


def test_half_of_the_full_spread() -> None:
    costs = Costs(spread_bps=OWN)
    assert costs.half_spread(EURUSD) == pytest.approx(1e-4)
    assert costs.half_spread(EURUSD.inverse) == pytest.approx(1e-4)


def test_a_cross_pays_both_legs() -> None:
    assert Costs(spread_bps=OWN).half_spread(AUDJPY) == pytest.approx((3.0 + 1.0) / 2 * 1e-4)


def test_slippage_comes_on_top_and_the_multiplier_is_of_the_spread() -> None:
    costs = Costs(spread_bps=OWN, slippage_bps=0.5, spread_multiplier=10.0)
    assert costs.half_spread(EURUSD) == pytest.approx(10.0 * 1e-4)
    assert costs.trading_cost(["EUR"], "USD") == pytest.approx([(10.0 + 0.5) * 1e-4])


def test_commission_is_not_in_the_spread_but_in_the_trading_cost() -> None:
    costs = Costs(spread_bps=OWN, commission_bps=0.2)
    assert costs.half_spread(EURUSD) == pytest.approx(1e-4)
    cost = costs.trading_cost(["EUR", "USD", "JPY"], "USD")
    np.testing.assert_allclose(cost, [1.2e-4, 0.0, 0.7e-4], rtol=1e-12)


def test_trading_cost_is_against_the_account_currency() -> None:
    cost = Costs(spread_bps=OWN).trading_cost(["AUD", "USD", "JPY"], "JPY")
    np.testing.assert_allclose(cost, [2e-4, 0.5e-4, 0.0], rtol=1e-12)


def test_free_trading_needs_no_spreads() -> None:
    free = Costs.none()
    assert free.is_free
    assert free.half_spread(Pair.parse("USDXXX")) == 0.0
    assert free.trading_cost(["XXX"], "USD").tolist() == [0.0]


def test_one_charge_is_not_free() -> None:
    assert not Costs().is_free
    assert not Costs(spread_multiplier=0.0, slippage_bps=1.0).is_free
    assert not Costs(spread_multiplier=0.0, commission_bps=1.0).is_free


@pytest.mark.parametrize("pair", ["USDXXX", "XXXUSD", "EURXXX"])
def test_a_missing_spread_is_an_error_never_zero(pair: str) -> None:
    with pytest.raises(MissingDataError, match="XXX") as error:
        Costs().half_spread(Pair.parse(pair))
    assert "spread_bps" in error.value.hint


@pytest.mark.parametrize("name", ["slippage_bps", "commission_bps", "spread_multiplier"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_costs_are_not_negative(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        Costs(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-2.0, float("nan"), float("inf")])
def test_spreads_are_not_negative(value: float) -> None:
    with pytest.raises(ConfigError, match="EUR"):
        Costs(spread_bps={"USD": 0.0, "EUR": value}).half_spread(EURUSD)


def test_defaults_are_not_shared() -> None:
    assert Costs().spread_bps is not Costs().spread_bps
    assert Costs() == Costs()
    assert all(v >= 0 for v in Costs().spread_bps.values())
    assert Costs().spread_bps["USD"] == 0.0
