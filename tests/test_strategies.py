"""fxcarry.strategies: the built-in strategies, by hand and against their definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.engine import Engine
from fxcarry.errors import ConfigError
from fxcarry.financing import BenchmarkFinancing
from fxcarry.market import MarketHistory, MarketView, RateSeries, from_ns
from fxcarry.simulation import SimBroker
from fxcarry.strategies import Baseline, Optimized, Rank, Sign, tie_order
from fxcarry.testing import account, market_history, view_at

BUILT_IN: list[Any] = [Baseline(), Baseline(k=1), Sign(), Rank(), Optimized(), Optimized(lookback=60, k=2)]
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


@pytest.mark.parametrize("strategy", BUILT_IN, ids=repr)
def test_the_size_of_the_account_changes_no_weight(strategy: Any) -> None:
    view = view_of(RATES)
    small, large = (strategy(view, account(nav, at=view.as_of)) for nav in (1_000, 10**9))
    np.testing.assert_array_equal(small, large)


@pytest.mark.parametrize("strategy", BUILT_IN, ids=repr)
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


@pytest.mark.parametrize("strategy", BUILT_IN, ids=repr)
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
    ],
)
def test_bad_settings(made: Any) -> None:
    with pytest.raises(ConfigError):
        made()


def test_a_negative_band_is_refused() -> None:
    with pytest.raises((ConfigError, ValueError)):
        Optimized(band=-0.1)


def test_strategies_are_records() -> None:
    assert Baseline() == Baseline(k=3)
    assert Optimized() != Optimized(k=2)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Baseline().k = 2  # type: ignore[misc]
