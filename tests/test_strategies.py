"""fxcarry.strategies: the built-in strategies, by hand and against their definitions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.engine import Engine
from fxcarry.errors import ConfigError, FxCarryError
from fxcarry.financing import BenchmarkFinancing
from fxcarry.market import MarketHistory, MarketView, RateSeries, from_ns
from fxcarry.simulation import SimBroker
from fxcarry.strategies import (
    Baseline,
    Blend,
    CarryMomentumValue,
    CarryToVolatility,
    Dollar,
    EqualRisk,
    InverseVolatility,
    Linear,
    MinimumVariance,
    NetCarry,
    Neutral,
    NoTradeBand,
    Optimized,
    Rank,
    Sign,
    Staggered,
    Switch,
    VolatilityTarget,
    momentum_array,
    net_carry_array,
    standard_scores_array,
    tie_order,
    value_array,
)
from fxcarry.testing import account, market_history, view_at

BUILT_IN: list[Any] = [
    Baseline(), Baseline(k=1), Sign(), Rank(), Linear(), Dollar(), Optimized(), Optimized(lookback=60, k=2),
    CarryToVolatility(), InverseVolatility(), EqualRisk(), MinimumVariance(lookback=100), CarryMomentumValue(),
]  # fmt: skip
OVERLAYS: list[Any] = [
    VolatilityTarget(Sign(), lookback=100), NoTradeBand(Rank()), Staggered(Rank()), Neutral(Dollar()),
    NetCarry(Linear()), Blend({"rank": Rank(), "dollar": Dollar()}, lookback=100),
    Switch({"a": Rank(), "b": Sign()}, lambda view: {"a": 0.5, "b": 0.25}),
    NoTradeBand(VolatilityTarget(Neutral(NetCarry(Staggered(Sign()))), lookback=60), 0.2),
]  # fmt: skip
BUILT_IN += OVERLAYS
RATES = {
    "NOK": 0.0450, "USD": 0.0433, "GBP": 0.0425, "AUD": 0.0385, "NZD": 0.0325,
    "CAD": 0.0275, "EUR": 0.0200, "SEK": 0.0200, "JPY": 0.0050, "CHF": 0.0000,
}  # fmt: skip


def with_rates(rates: Mapping[str, float], days: int = 300, seed: int = 3) -> MarketHistory:
    """A random market in which every currency pays a constant rate."""
    history = market_history(tuple(c for c in rates if c != "USD"), days, seed)
    known = np.array(["2019-01-01"], "datetime64[ns]")
    return attrs.evolve(history, rates={c: RateSeries(c, known, known, np.array([r])) for c, r in rates.items()})


def view_of(
    rates: Mapping[str, float], currencies: Sequence[str] | None = None, *, account_currency: str = "USD", **about: Any
) -> MarketView:
    return view_at(with_rates(rates, **about), account_currency=account_currency, currencies=currencies)


def decide(strategy: Any, view: MarketView, held: Mapping[str, float] | None = None) -> dict[str, float]:
    weights = strategy(view, account(at=view.as_of, weights=held, currency=view.account_currency))
    assert isinstance(weights, np.ndarray)
    return dict(zip(view.currencies, weights.tolist()))


# --- baseline --------------------------------------------------------------------------------------------------------


def test_three_by_three_with_ties_by_iso_code() -> None:
    view = view_of(RATES, tuple(RATES))
    weights = decide(Baseline(), view)
    third = pytest.approx(1 / 3)
    assert {c: w for c, w in weights.items() if w} == {
        "NOK": third, "USD": third, "GBP": third,
        "SEK": pytest.approx(-1 / 3), "JPY": pytest.approx(-1 / 3), "CHF": pytest.approx(-1 / 3),
    }  # fmt: skip
    assert sum(weights[c] * RATES[c] for c in RATES) == pytest.approx(0.035267, abs=1e-6)


def test_the_order_of_the_universe_decides_nothing() -> None:
    view = view_of(RATES, tuple(RATES))
    backwards = view_of(RATES, tuple(reversed(RATES)))
    for strategy in (Baseline(), Baseline(k=2), Baseline(k=4), Sign(), Rank()):
        assert decide(strategy, view) == pytest.approx(decide(strategy, backwards))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_k_a_side(k: int) -> None:
    weights = decide(Baseline(k=k), view_of(RATES))
    assert sorted(weights.values())[:k] == pytest.approx([-1 / k] * k)
    assert sorted(weights.values())[-k:] == pytest.approx([1 / k] * k)
    assert sum(weights.values()) == pytest.approx(0)
    assert sum(w != 0 for w in weights.values()) == 2 * k


def test_of_equal_carries_the_earlier_code_ranks_higher() -> None:
    rates = {"USD": 0.0, "SEK": 0.02, "EUR": 0.02, "JPY": 0.0, "CHF": 0.0}
    weights = decide(Baseline(k=1), view_of(rates))
    assert weights == {"SEK": 0, "EUR": 1.0, "JPY": -1.0, "CHF": 0}
    assert tie_order(("SEK", "EUR", "JPY", "CHF")).tolist() == [3, 1, 2, 0]


def test_a_currency_without_a_price_or_a_rate_is_not_ranked() -> None:
    history = with_rates(RATES)
    spot = history.spot.copy()
    spot[:, history.currencies.index("NOK")] = np.nan
    late = np.array([history.times[-1] + np.timedelta64(30, "D")])
    rates = {**history.rates, "GBP": RateSeries("GBP", late, late, np.array([0.09]))}
    view = view_at(attrs.evolve(history, spot=spot, rates=rates))
    weights = decide(Baseline(), view)
    assert weights["NOK"] == weights["GBP"] == 0
    assert {c for c, w in weights.items() if w > 0} == {"AUD", "NZD", "CAD"}
    assert not np.isnan(list(decide(Sign(), view).values())).any()
    assert not np.isnan(list(decide(Rank(), view).values())).any()


# --- sign and rank ---------------------------------------------------------------------------------------------------


def test_sign_is_one_over_n_by_the_sign_of_carry() -> None:
    weights = decide(Sign(), view_of({**RATES, "EUR": 0.0433}))
    n = len(RATES) - 1
    assert weights == pytest.approx(
        {c: float(np.sign(RATES[c] - RATES["USD"])) / n * (c != "EUR") for c in RATES if c != "USD"}
    )


def test_rank() -> None:
    weights = decide(Rank(), view_of(RATES, tuple(RATES)))
    wanted = {
        "NOK": 0.36, "USD": 0.28, "GBP": 0.20, "AUD": 0.12, "NZD": 0.04,
        "CAD": -0.04, "EUR": -0.16, "SEK": -0.16, "JPY": -0.28, "CHF": -0.36,
    }  # fmt: skip
    assert weights == pytest.approx(wanted)
    assert sum(weights[c] * RATES[c] for c in RATES) == pytest.approx(0.033844, abs=1e-6)


# --- linear and dollar -----------------------------------------------------------------------------------------------


def test_linear_is_carry_less_its_mean() -> None:
    """By hand: carries 3, 1, 0, −2 (percent, against 1): mean 0.5, distances 2.5, 0.5, −0.5, −2.5, Σ|·| = 6."""
    weights = decide(Linear(), view_of({"USD": 0.01, "AUD": 0.04, "NZD": 0.02, "EUR": 0.01, "JPY": -0.01}))
    assert weights == pytest.approx({"AUD": 5 / 6, "NZD": 1 / 6, "EUR": -1 / 6, "JPY": -5 / 6})


@pytest.mark.parametrize(("usd", "side"), [(0.0, 1.0), (0.05, -1.0)])
def test_dollar_is_all_on_one_side(usd: float, side: float) -> None:
    weights = decide(Dollar(), view_of({**RATES, "USD": usd}))
    assert weights == pytest.approx({c: side / 9 for c in RATES if c != "USD"})


def test_dollar_counts_the_currencies_that_can_be_held() -> None:
    history = with_rates({**RATES, "USD": 0.0})
    spot = history.spot.copy()
    spot[:, history.currencies.index("NOK")] = np.nan
    weights = decide(Dollar(), view_at(attrs.evolve(history, spot=spot), currencies=tuple(RATES)))
    assert weights == pytest.approx({c: 0.0 if c in ("NOK", "USD") else 1 / 8 for c in RATES})


# --- by risk ---------------------------------------------------------------------------------------------------------


def moving(volatility: Mapping[str, float], rates: Mapping[str, float], days: int = 300) -> MarketHistory:
    """Daily returns of exactly the given annual volatility, orthogonal to one another over the last 256 rows."""
    history = with_rates(rates, days=days)
    signs = np.array([[1, 1], [1, -1]])
    hadamard = np.array([[1]])
    for _ in range(8):
        hadamard = np.kron(hadamard, signs)
    rows = np.resize(hadamard[:, 1 : len(history.currencies) + 1], (days, len(history.currencies)))
    daily = np.array([volatility[c] for c in history.currencies]) / np.sqrt(260)
    return attrs.evolve(history, spot=np.exp(np.cumsum(rows * daily, axis=0)))


FOUR = {"USD": 0.0, "AUD": 0.05, "NZD": 0.04, "EUR": 0.01, "JPY": 0.005}


def test_carry_to_volatility_ranks_carry_per_volatility() -> None:
    """Per unit of volatility NZD (0.04/0.05) is above AUD (0.05/0.10), and JPY (0.005/0.04: floored) above EUR."""
    history = moving({"AUD": 0.10, "NZD": 0.05, "EUR": 0.10, "JPY": 0.001}, FOUR)
    weights = decide(CarryToVolatility(k=1), view_at(history))
    assert weights == {"AUD": 0, "NZD": 1.0, "EUR": -1.0, "JPY": 0}


def test_inverse_volatility_shares_each_side_by_one_over_volatility() -> None:
    history = moving({"AUD": 0.10, "NZD": 0.05, "EUR": 0.08, "JPY": 0.16}, FOUR)
    weights = decide(InverseVolatility(k=2, lookback=256), view_at(history))
    assert weights == pytest.approx({"AUD": 1 / 3, "NZD": 2 / 3, "EUR": -2 / 3, "JPY": -1 / 3}, abs=0.02)  # shrunk


def test_equal_risk_contributes_the_same_to_its_side() -> None:
    view = view_of(RATES, seed=11)
    weights = decide(EqualRisk(), view)
    returns = np.diff(np.log(view.spot_rows(251)), axis=0)
    from fxcarry.covariance import ledoit_wolf

    covariance = ledoit_wolf(returns)[0]
    for sign in (1, -1):
        side = [i for i, c in enumerate(view.currencies) if weights[c] * sign > 0]
        w = np.array([weights[view.currencies[i]] for i in side])
        shares = w * (covariance[np.ix_(side, side)] @ w)
        assert len(side) == 3
        assert shares == pytest.approx([shares.mean()] * 3, rel=1e-6)
        assert w.sum() * sign == pytest.approx(1.0)


def test_minimum_variance_has_the_highest_ratio_of_carry_to_volatility() -> None:
    view = view_of(RATES, seed=5)
    weights = np.array(list(decide(MinimumVariance(), view).values()))
    returns = np.diff(np.log(view.spot_rows(251)), axis=0)
    from fxcarry.covariance import ledoit_wolf

    covariance, carry = ledoit_wolf(returns)[0] * 260, view.tradable_carry
    best = weights @ carry / np.sqrt(weights @ covariance @ weights)
    random = np.random.default_rng(1)
    for other in [*np.eye(9), *random.normal(size=(200, 9))]:
        assert abs(other @ carry) / np.sqrt(other @ covariance @ other) <= best + 1e-12
    assert np.sqrt(weights @ covariance @ weights) <= 0.08 + 1e-12
    assert np.abs(weights).sum() <= 2.0 + 1e-12


def test_minimum_variance_does_not_lever_up_when_differentials_vanish() -> None:
    near = {c: 0.02 + 1e-5 * i for i, c in enumerate(RATES)}
    weights = decide(MinimumVariance(), view_of(near))
    assert 0 < sum(map(abs, weights.values())) <= 2.0 + 1e-12


# --- degenerate markets ----------------------------------------------------------------------------------------------


def pegged(history: MarketHistory, *currencies: str) -> MarketHistory:
    spot = history.spot.copy()
    spot[:, [history.currencies.index(c) for c in currencies]] = 1.0
    return attrs.evolve(history, spot=spot)


def alike(history: MarketHistory) -> MarketHistory:
    """Every currency moves as the first does: the sample covariance has rank one."""
    return attrs.evolve(history, spot=np.repeat(history.spot[:, :1], len(history.currencies), axis=1))


def even(history: MarketHistory) -> MarketHistory:
    """Every currency moves by one percent up and down in turn: nothing to shrink, and the covariance is singular."""
    steps = np.where(np.arange(len(history)) % 2, 1.0, 1.01)
    return attrs.evolve(history, spot=np.repeat(steps[:, None], len(history.currencies), axis=1))


DEGENERATE = {
    "one currency": lambda: with_rates({"USD": 0.01, "AUD": 0.04}),
    "two currencies": lambda: with_rates({"USD": 0.01, "AUD": 0.04, "JPY": 0.0}),
    "all carries equal": lambda: with_rates(dict.fromkeys(RATES, 0.03)),
    "no carry but the account's": lambda: with_rates({**dict.fromkeys(RATES, 0.03), "USD": 0.05}),
    "one peg": lambda: pegged(with_rates(RATES), "NOK"),
    "all pegged": lambda: pegged(with_rates(RATES), *(c for c in RATES if c != "USD")),
    "all alike": lambda: alike(with_rates(RATES)),
    "five rows": lambda: with_rates(RATES, days=5),
    "all alike and even": lambda: even(with_rates(RATES)),
}


def named(strategy: object) -> str:
    """The same in every process: a function's repr has its address."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(strategy))


@pytest.mark.parametrize("market", DEGENERATE)
@pytest.mark.parametrize("strategy", BUILT_IN, ids=named)
def test_a_degenerate_market_gives_finite_weights_or_an_error_of_ours(strategy: Any, market: str) -> None:
    view = view_at(DEGENERATE[market]())
    refused: FxCarryError | None = None
    try:
        weights = strategy(view, account(at=view.as_of))
    except FxCarryError as error:
        refused = error
    if refused is not None:
        assert refused.hint
        assert market in {"all pegged", "all alike", "all alike and even", "one peg"}  # the rest has an answer
        return
    assert np.isfinite(weights).all()
    assert np.abs(weights).sum() <= 2.5


# --- momentum and value ----------------------------------------------------------------------------------------------


def test_momentum_is_the_change_of_spot_and_the_carry() -> None:
    """A view at the run's first tick: 260 rows of spot, and one carry, known, for the year."""
    history = with_rates(RATES, days=400)
    view = view_at(history)
    change = np.log(history.spot[-1] / history.spot[-261])
    carry = np.array([RATES[c] - RATES["USD"] for c in history.currencies])
    np.testing.assert_allclose(momentum_array(view), change + carry)
    half = np.log(history.spot[-1] / history.spot[-131])
    np.testing.assert_allclose(momentum_array(view, 6), half + carry / 2)
    assert np.isnan(momentum_array(view_at(history.between(None, from_ns(history.times[260]))))).all()


def test_value_is_the_fall_over_five_years() -> None:
    history = with_rates(RATES, days=1400)
    np.testing.assert_allclose(value_array(view_at(history)), -np.log(history.spot[-1] / history.spot[-1301]))
    np.testing.assert_allclose(value_array(view_at(history), 2), -np.log(history.spot[-1] / history.spot[-521]))
    assert np.isnan(value_array(view_at(history.between(None, from_ns(history.times[1300]))))).all()


def test_standard_scores() -> None:
    scores = standard_scores_array(np.array([1.0, 2.0, np.nan, 3.0]))
    np.testing.assert_allclose(scores, [-np.sqrt(1.5), 0.0, np.nan, np.sqrt(1.5)])
    np.testing.assert_array_equal(standard_scores_array(np.array([2.0, 2.0, np.nan])), [0.0, 0.0, np.nan])
    assert np.isnan(standard_scores_array(np.full(3, np.nan))).all()


def test_carry_momentum_value_is_carry_alone_without_history() -> None:
    view = view_of(RATES, days=100)
    assert decide(CarryMomentumValue(), view) == pytest.approx(decide(Linear(), view))


def test_carry_momentum_value_weighs_the_three_alike() -> None:
    view = view_at(with_rates(RATES, days=1400))
    scores = [standard_scores_array(s) for s in (view.tradable_carry, momentum_array(view), value_array(view))]
    mean = np.mean(scores, axis=0)
    limit = 2 * mean.std()
    clipped = np.clip(mean - mean.mean(), -limit, limit)
    clipped -= clipped.mean()
    wanted = dict(zip(view.currencies, 2 * clipped / np.abs(clipped).sum()))
    assert decide(CarryMomentumValue(), view) == pytest.approx(wanted)


# --- overlays --------------------------------------------------------------------------------------------------------


def always(**weights: float) -> Any:
    class Fixed:
        reads_account = False

        def __call__(self, view: MarketView, account: Any) -> dict[str, float]:
            return weights

    return Fixed()


def test_a_volatility_target_scales_up_and_down() -> None:
    history = moving({"AUD": 0.10, "NZD": 0.10, "EUR": 0.10, "JPY": 0.10}, FOUR)
    view = view_at(history)
    book = np.sqrt(2) * 0.10 * 0.3  # two legs of 30 %, orthogonal, of 10 % each
    weights = decide(VolatilityTarget(always(AUD=0.3, JPY=-0.3), 0.08, lookback=256), view)
    assert weights["AUD"] == -weights["JPY"] == pytest.approx(0.3 * 0.08 / book, rel=0.02)
    weights = decide(VolatilityTarget(always(AUD=3.0), 0.08, lookback=256), view)
    assert weights["AUD"] == pytest.approx(0.8, rel=0.02)
    weights = decide(VolatilityTarget(always(AUD=0.1, JPY=-0.1), 0.9, gross_cap=1.5, lookback=256), view)
    assert weights["AUD"] == pytest.approx(0.75)
    assert not any(decide(VolatilityTarget(always(AUD=0.3), lookback=500), view).values())
    assert not any(decide(VolatilityTarget(always()), view).values())


def test_a_peg_is_not_levered_up_as_if_it_could_not_break() -> None:
    """EUR has not moved at all. It counts as 4 % a year, so beside a currency of 10 % the shares are as 10 to 4."""
    history = pegged(moving({"AUD": 0.10, "NZD": 0.10, "EUR": 0.10, "JPY": 0.10}, FOUR), "EUR")
    view = view_at(history)
    weights = decide(VolatilityTarget(always(EUR=0.3), 0.03, lookback=256), view)
    assert weights["EUR"] == pytest.approx(0.03 / 0.04, rel=0.02)
    blend = Blend({"peg": always(EUR=1.0), "aussie": always(AUD=1.0)}, lookback=256)
    weights = decide(blend, view)
    assert weights["EUR"] == pytest.approx(0.10 / 0.14, rel=0.02)
    assert weights["AUD"] == pytest.approx(0.04 / 0.14, rel=0.04)


def test_a_band_leaves_alone_what_is_near() -> None:
    view = view_of(RATES)
    held = {"AUD": 0.32, "JPY": -0.20, "EUR": 0.05}
    weights = decide(NoTradeBand(always(AUD=0.30, JPY=-0.30), 0.10), view, held)
    assert {c: w for c, w in weights.items() if w} == {"AUD": pytest.approx(0.32), "JPY": -0.30}


def weekly(strategy: Any, history: MarketHistory) -> dict[datetime, np.ndarray]:
    """What a strategy says at each weekly decision of a run."""
    made: dict[datetime, np.ndarray] = {}

    def spy(view: Any, account: Any) -> Any:
        made[view.as_of] = strategy(view, account)
        return made[view.as_of]

    engine = Engine(
        feed=None, broker=SimBroker(), strategy=spy, rules=(), universe=history.currencies, rebalance="weekly"
    )
    engine.run(history=history)
    return made


def prices(view: MarketView, account: Any) -> np.ndarray:
    """Weights that differ every day: the spot prices."""
    return np.array(view.values("spot"))


prices.reads_account = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("inside", [CarryToVolatility(k=2, lookback=20), prices])
def test_staggered_is_the_mean_of_the_last_four_weeks(inside: Any) -> None:
    history = market_history(days=330, seed=2)  # New York's clocks change in March and November
    each = list(weekly(inside, history).values())
    staggered = list(weekly(Staggered(inside), history).values())
    assert len(each) == len(staggered) > 60
    for n in range(len(each)):
        np.testing.assert_allclose(staggered[n], np.sum(each[max(0, n - 3) : n + 1], axis=0) / 4, atol=1e-15)
    assert len({tuple(w.round(9)) for w in staggered}) >= len({tuple(w.round(9)) for w in each})


def test_a_strategy_that_reads_the_account_cannot_be_staggered() -> None:
    for reader in (Optimized(), NoTradeBand(Sign()), lambda view, account: {}):
        with pytest.raises(ConfigError, match="may not read the account"):
            Staggered(reader)


def test_neutral_sums_to_zero() -> None:
    weights = decide(Neutral(always(AUD=0.5, JPY=-0.2)), view_of(RATES))
    assert weights == pytest.approx({c: {"AUD": 0.5, "JPY": -0.2}.get(c, 0.0) - 0.3 / 9 for c in RATES if c != "USD"})
    neutral = decide(Neutral(Sign()), view_of(RATES, tuple(RATES)))
    assert neutral["USD"] == 0
    assert sum(neutral.values()) == pytest.approx(0)
    assert not any(decide(Neutral(always()), view_of(RATES)).values())


def test_neutral_and_staggered_hold_what_has_a_price_and_no_rate() -> None:
    """A strategy of spot alone needs no rates: its weights sum to zero, over what it holds."""
    history = with_rates(RATES, days=60)
    view = view_at_spot_only(history)
    assert np.isnan(view.tradable_carry).all()
    weights = decide(Neutral(always(AUD=0.5, JPY=-0.1)), view)
    assert {c: w for c, w in weights.items() if w} == pytest.approx({"AUD": 0.3, "JPY": -0.3})
    assert decide(Staggered(always(AUD=0.5)), view)["AUD"] == pytest.approx(0.5)
    late = np.array([history.times[-1] + np.timedelta64(30, "D")])
    one = attrs.evolve(history, rates={**history.rates, "AUD": RateSeries("AUD", late, late, np.array([0.09]))})
    weights = decide(Neutral(always(AUD=0.5, JPY=-0.2)), view_at(one))
    assert sum(weights.values()) == pytest.approx(0, abs=1e-15)


def view_at_spot_only(history: MarketHistory) -> MarketView:
    """The last view of a run without rates and without financing."""
    engine = Engine(feed=None, broker=SimBroker(), strategy=Sign(), rules=(), universe=history.currencies)
    engine.prepare(history=attrs.evolve(history, rates={}))
    return MarketView(engine.columns, len(engine.clock) - 1)


def financed(markup: float | None, rates: Mapping[str, float], days: int = 60) -> MarketView:
    history = with_rates(rates, days=days)
    engine = Engine(
        feed=None,
        broker=SimBroker(financing=None if markup is None else BenchmarkFinancing(markup)),
        strategy=Sign(),
        rules=(),
        universe=history.currencies,
    )
    engine.prepare(history=history)
    return MarketView(engine.columns, len(engine.clock) - 1)


def test_net_carry_refuses_what_pays_to_be_held() -> None:
    """EUR is 0.5 % above the dollar, less than the mark-up of 1 %: both sides pay. AUD earns long, JPY short."""
    view = financed(0.01, {"USD": 0.02, "EUR": 0.025, "AUD": 0.05, "JPY": 0.0})
    long, short = net_carry_array(view)
    near = 5e-4  # 365 days on a year of 360
    assert dict(zip(view.currencies, long)) == pytest.approx({"EUR": -0.005, "AUD": 0.02, "JPY": -0.03}, abs=near)
    assert dict(zip(view.currencies, short)) == pytest.approx({"EUR": -0.015, "AUD": -0.04, "JPY": 0.01}, abs=near)
    weights = decide(NetCarry(always(EUR=0.2, AUD=0.3, JPY=-0.3)), view)
    assert weights == {"EUR": 0, "AUD": 0.3, "JPY": -0.3}
    assert decide(NetCarry(always(EUR=-0.2, AUD=-0.3, JPY=0.3)), view) == {"EUR": 0, "AUD": 0, "JPY": 0}


def test_net_carry_is_carry_where_no_financing_is_known() -> None:
    view = financed(None, {"USD": 0.02, "EUR": 0.025, "AUD": 0.05, "JPY": 0.0})
    assert np.isnan(view.values("financing_long")).all()
    long, short = net_carry_array(view)
    np.testing.assert_array_equal(long, view.tradable_carry)
    np.testing.assert_array_equal(short, -view.tradable_carry)
    assert decide(NetCarry(always(EUR=0.2, AUD=0.3, JPY=0.3)), view) == {"EUR": 0.2, "AUD": 0.3, "JPY": 0}


# --- several strategies ----------------------------------------------------------------------------------------------


def test_a_blend_takes_equal_risk_of_each() -> None:
    """AUD at 5 % and JPY at 10 % volatility: two thirds of the one, one third of the other."""
    view = view_at(moving({"AUD": 0.05, "NZD": 0.10, "EUR": 0.10, "JPY": 0.10}, FOUR))
    blend = Blend({"aussie": always(AUD=1.0), "yen": always(JPY=-1.0)}, lookback=256)
    weights = decide(blend, view)
    assert weights == pytest.approx({"AUD": 2 / 3, "NZD": 0, "EUR": 0, "JPY": -1 / 3}, abs=0.01)
    twice = decide(attrs.evolve(blend, budgets={"aussie": 1.0, "yen": 2.0}), view)
    assert twice == pytest.approx({"AUD": 0.5, "NZD": 0, "EUR": 0, "JPY": -0.5}, abs=0.01)


def test_a_blend_nets_its_parts_and_says_who_wanted_what() -> None:
    view = view_of(RATES)
    blend = Blend({"rank": Rank(), "sign": Sign(), "flat": always()})
    parts = blend.parts(view, account(at=view.as_of))
    np.testing.assert_array_equal(np.sum(list(parts.values()), axis=0), blend(view, account(at=view.as_of)))
    assert not parts["flat"].any()
    net = sum(abs(sum(part[i] for part in parts.values())) for i in range(9))
    assert net < sum(np.abs(part).sum() for part in parts.values())


def test_a_blend_of_one_is_that_one() -> None:
    view = view_of(RATES)
    assert decide(Blend({"rank": Rank()}), view) == pytest.approx(decide(Rank(), view))
    assert not any(decide(Blend({"a": always(), "b": always()}), view).values())


def test_a_blend_without_history_takes_the_budgets() -> None:
    view = view_of(RATES, days=50)
    weights = decide(Blend({"a": always(AUD=1.0), "b": always(JPY=-1.0)}, {"a": 3.0, "b": 1.0}), view)
    assert (weights["AUD"], weights["JPY"]) == (0.75, -0.25)


def test_a_switch_follows_its_schedule() -> None:
    view = view_of(RATES)
    both = {"rank": Rank(), "sign": Sign()}
    assert decide(Switch(both, lambda view: "sign"), view) == decide(Sign(), view)
    mixed = decide(Switch(both, lambda view: {"rank": 0.25, "sign": 0.5}), view)
    rank, sign = decide(Rank(), view), decide(Sign(), view)
    assert mixed == pytest.approx({c: 0.25 * rank[c] + 0.5 * sign[c] for c in rank})
    assert not any(decide(Switch(both, lambda view: {}), view).values())


@pytest.mark.parametrize(
    "choice",
    ["calm", {"rank": 0.5, "calm": 0.5}, {"rank": 0.7, "sign": 0.7}, {"rank": -0.1}, {"rank": float("nan")}, None, 0.5],
)
def test_a_switch_that_chooses_nonsense_is_an_error(choice: Any) -> None:
    view = view_of(RATES)
    with pytest.raises(ConfigError, match="a switch chose"):
        decide(Switch({"rank": Rank(), "sign": Sign()}, lambda view: choice), view)


def test_overlays_read_the_account_where_what_is_inside_does() -> None:
    for overlay in (VolatilityTarget, Neutral, NetCarry):
        assert overlay(Sign()).reads_account is False
        assert overlay(Optimized()).reads_account is True
    assert Staggered(Sign()).reads_account is False
    assert getattr(NoTradeBand(Sign()), "reads_account", True) is True
    assert Blend({"a": Sign(), "b": Rank()}).reads_account is False
    assert Blend({"a": Sign(), "b": Optimized()}).reads_account is True
    assert Switch({"a": Sign(), "b": Optimized()}, lambda view: "a").reads_account is True


# --- optimized -------------------------------------------------------------------------------------------------------


def optimized_weights() -> list[dict[str, float]]:
    return [
        decide(Optimized(), view_of(RATES, seed=seed), held)
        for seed in range(12)
        for held in (None, {"AUD": 0.3, "JPY": -0.3, "NOK": 0.2})
    ]


def test_optimized_keeps_the_caps() -> None:
    for weights in optimized_weights():
        sizes = [abs(w) for w in weights.values()]
        assert max(sizes) <= 0.30 + 1e-9
        assert sum(sizes) <= 2.0 + 1e-9
        assert sum(w > 1e-9 for w in weights.values()) <= 3
        assert sum(w < -1e-9 for w in weights.values()) <= 3
        assert any(sizes)


def test_optimized_does_not_exceed_its_volatility() -> None:
    for seed in range(6):
        view = view_of(RATES, seed=seed)
        weights = np.array(list(decide(Optimized(target_volatility=0.02), view).values()))
        returns = np.diff(np.log(view.spot_rows(251)), axis=0)
        volatility = float((returns @ weights).std(ddof=1) * np.sqrt(260))
        assert volatility == pytest.approx(0.02, rel=0.15)  # shrinkage is the difference


def test_optimized_needs_250_returns() -> None:
    history = with_rates(RATES, days=300)
    flat = view_at(history.between(None, from_ns(history.times[250])))
    assert len(flat.spot_rows(1000)) == 250
    assert set(decide(Optimized(), flat).values()) == {0.0}
    assert any(decide(Optimized(), view_at(history.between(None, from_ns(history.times[251])))).values())


def test_optimized_leaves_a_leg_within_its_band_alone() -> None:
    view = view_of(RATES, seed=4)
    target = decide(Optimized(band=0.0), view)
    held = {c: w * 1.04 if abs(w) < 0.28 else w * 0.96 for c, w in target.items() if w}
    again = decide(Optimized(), view, held)
    assert {c: again[c] for c in held} == pytest.approx(held, rel=0.06)
    assert any(again[c] == held[c] for c in held)


def test_optimized_trades_less_where_trading_costs_more() -> None:
    view = view_of(RATES, seed=4)
    held = {"AUD": 0.1, "JPY": -0.1, "CHF": -0.1}

    def turnover(strategy: Optimized) -> float:
        new = decide(strategy, view, held)
        return sum(abs(new[c] - held.get(c, 0.0)) for c in new)

    free = Optimized(band=0.0, rebalances_per_year=1, target_volatility=0.005)
    dear = Optimized(band=0.0, rebalances_per_year=200, target_volatility=0.005)
    assert turnover(dear) <= turnover(free) + 1e-6


def test_optimized_holds_nothing_that_the_markup_eats() -> None:
    rates = dict.fromkeys(RATES, 0.02) | {"AUD": 0.025, "JPY": 0.015}
    view = view_at(with_rates(rates), markup=0.02)
    assert set(decide(Optimized(), view).values()) == {0.0}


def test_optimized_with_crosses_plans_with_half_the_markup() -> None:
    """±0.75 % around the dollar: a mark-up of 1 % on each leaves nothing, one of 1 % on the pair leaves 0.5 %."""
    view = financed(0.01, {"USD": 0.02, "AUD": 0.0275, "JPY": 0.0125}, days=300)
    assert not any(decide(Optimized(), view).values())
    weights = decide(Optimized(crosses=True), view)
    assert weights["AUD"] > 0.05
    assert weights["AUD"] == pytest.approx(-weights["JPY"], rel=1e-6)


def test_optimized_leaves_out_what_lacks_history_and_the_account_currency() -> None:
    history = with_rates(RATES)
    spot = history.spot.copy()
    spot[:150, history.currencies.index("NOK")] = np.nan
    view = view_at(attrs.evolve(history, spot=spot), currencies=tuple(RATES))
    weights = decide(Optimized(), view)
    assert weights["NOK"] == weights["USD"] == 0.0


def test_optimized_runs_where_the_broker_books_no_financing() -> None:
    history = with_rates(RATES)
    broker = SimBroker()
    engine = Engine(feed=None, broker=broker, strategy=Optimized(), rules=(), universe=history.currencies)
    engine.run(history=history)
    assert broker.get_positions()


@pytest.mark.parametrize("account_currency", ["EUR", "JPY"])
def test_optimized_in_another_account_currency(account_currency: str) -> None:
    currencies = tuple(c for c in RATES if c != account_currency)
    weights = decide(Optimized(), view_of(RATES, currencies, account_currency=account_currency))
    assert 0 < sum(map(abs, weights.values())) <= 2.0 + 1e-9


# --- all -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", BUILT_IN, ids=named)
def test_the_size_of_the_account_changes_no_weight(strategy: Any) -> None:
    view = view_of(RATES)
    small, large = (strategy(view, account(nav, at=view.as_of)) for nav in (1_000, 10**9))
    np.testing.assert_array_equal(small, large)


@pytest.mark.parametrize("strategy", BUILT_IN, ids=named)
@pytest.mark.parametrize("cut", [255, 261, 290, 333])
def test_the_future_changes_no_decision_to_the_bit(strategy: Any, cut: int) -> None:
    full = market_history(days=360, seed=8)
    at = datetime.fromtimestamp(full.times[cut].astype(np.int64) / 1e9 + 120, UTC)
    other = attrs.evolve(full, spot=np.concatenate([full.spot[: cut + 1], full.spot[cut + 1 :][::-1] * 2]))
    short = full.between(None, from_ns(full.times[cut + 1]))
    answers = []
    for history in (short, full, other):
        view = view_at(history, at)
        answers.append(strategy(view, account(at=view.as_of)))
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


@pytest.mark.parametrize("strategy", BUILT_IN, ids=named)
def test_a_run_over_a_shorter_history_makes_the_same_decisions_to_the_bit(strategy: Any) -> None:
    full = market_history(days=330, seed=9)

    def decisions(history: MarketHistory) -> dict[datetime, list[float]]:
        made: dict[datetime, list[float]] = {}

        def spy(view: Any, account: Any) -> Any:
            made[view.as_of] = (weights := strategy(view, account)).tolist()
            return weights

        broker = SimBroker(financing=BenchmarkFinancing(0.01))
        engine = Engine(feed=None, broker=broker, strategy=spy, rules=(), universe=history.currencies)
        engine.run(from_ns(history.times[2]), history=history)
        return made

    whole = decisions(full)
    for cut in (120, 275, 299, 316):
        part = decisions(full.between(None, from_ns(full.times[cut])))
        assert part
        assert set(part) <= set(whole)
        assert all(whole[at] == weights for at, weights in part.items())


@pytest.mark.parametrize(
    "made",
    [
        lambda: Baseline(k=0),
        lambda: Baseline(k=-1),
        lambda: Optimized(lookback=0),
        lambda: Optimized(position_cap=0.0),
        lambda: Optimized(target_volatility=float("nan")),
        lambda: Optimized(risk_aversion=-1.0),
        lambda: VolatilityTarget(Sign(), target=0.0),
        lambda: Staggered(Sign(), tranches=0),
        lambda: Staggered(Sign(), tranches=2.5),  # type: ignore[arg-type]
        lambda: Baseline(k=1.5),  # type: ignore[arg-type]
        lambda: CarryToVolatility(lookback=1),
        lambda: VolatilityTarget(Sign(), lookback=1),
        lambda: CarryMomentumValue(momentum_months=0.5),  # type: ignore[arg-type]
        lambda: Optimized(band=-0.1),
        lambda: NoTradeBand(Sign(), band=1.0),  # a flat leg would never be opened
        lambda: NoTradeBand(Sign(), band=float("nan")),
        lambda: Blend({}),
        lambda: Blend({"a": Sign()}, {"b": 1.0}),
        lambda: Blend({"a": Sign()}, {"a": 0.0}),
    ],
)
def test_bad_settings(made: Any) -> None:
    with pytest.raises(ConfigError):
        made()


def test_strategies_are_records() -> None:
    assert Baseline() == Baseline(k=3)
    assert Optimized() != Optimized(k=2)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Baseline().k = 2  # type: ignore[misc]
