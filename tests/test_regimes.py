"""fxcarry.regimes: states by hand, oracles for what is fitted, and no model that knows what came after."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest

from fxcarry import backtest
from fxcarry.errors import ConfigError, DataError, MissingDataError, PluginError
from fxcarry.lookahead import find_look_ahead
from fxcarry.market import MarketHistory, from_ns
from fxcarry.regimes import (
    HiddenMarkov,
    LogisticRegime,
    MarkovSwitching,
    Scaled,
    VolatilityRegime,
    crash_table,
    realised_volatility,
)
from fxcarry.regimes.events import falls
from fxcarry.regimes.models import (
    basket_returns,
    features_of,
    mean_correlation,
    purged,
    turbulent,
)
from fxcarry.strategies import Baseline, Optimized, Sign
from fxcarry.testing import StrategySuite, account, factories, view_at

NAMES = ("AUD", "CHF", "JPY", "NZD")


def needs_package(name: str) -> Any:
    return pytest.importorskip(name, reason=f'{name} comes with the extra: pip install "fxcarry[ml]"')


def moody_market(days: int = 900, seed: int = 1, currencies: tuple[str, ...] = NAMES) -> MarketHistory:
    """A made-up market whose moves are three times as large in every second stretch of 150 days."""
    history = factories.market_history(currencies, days, seed)
    moves = np.diff(np.log(history.spot), axis=0, prepend=np.log(history.spot[:1]))
    size = np.where(np.arange(days) // 150 % 2 == 1, 3.0, 1.0)[:, None]
    rates = {c: attrs.evolve(r, available_at=r.as_of) for c, r in history.rates.items()}
    return attrs.evolve(history, spot=np.exp(np.cumsum(moves * size, axis=0)), rates=rates)


def cut_at(history: MarketHistory, rows: int) -> MarketHistory:
    return history.between(None, from_ns(history.times[rows]))


def with_spot(spot: Any, currencies: tuple[str, ...] = ("AUD",)) -> MarketHistory:
    prices = np.asarray(spot, float).reshape(len(spot), len(currencies))
    return attrs.evolve(factories.market_history(currencies, len(prices)), spot=prices)


# --- realised volatility ---------------------------------------------------------------------------------------------


def test_volatility_of_moves_of_one_size_is_that_size():
    spot = np.exp(0.01 * np.array([0, 1, 0, 1, 0, 1]))[:, None]
    assert realised_volatility(spot, 3) == pytest.approx([np.nan] * 3 + [0.01 * 260**0.5] * 3, nan_ok=True)


def test_volatility_is_the_mean_over_currencies_from_when_each_has_the_rows():
    one = np.exp(0.01 * np.array([0, 1, 0, 1, 0]))
    two = np.exp(0.03 * np.array([np.nan, np.nan, 0, 1, 0]))
    found = realised_volatility(np.column_stack([one, two]), 2)
    assert found == pytest.approx(np.array([np.nan, np.nan, 0.01, 0.01, 0.02]) * 260**0.5, nan_ok=True)


def test_volatility_against_pandas():
    spot = moody_market(300).spot
    squares = pd.DataFrame(spot).apply(np.log).diff() ** 2
    expected = (squares.rolling(21).mean() * 260).pow(0.5).mean(axis=1)
    assert realised_volatility(spot, 21) == pytest.approx(expected.to_numpy(), nan_ok=True)


def test_too_few_rows_have_no_volatility():
    assert np.isnan(realised_volatility(np.ones((5, 2)), 5)).all()


def test_the_entries_of_a_prefix_are_those_of_the_whole_to_the_last_bit():
    spot = moody_market(400).spot
    whole = realised_volatility(spot, 21)
    for rows in (50, 137, 399):
        assert np.array_equal(realised_volatility(spot[:rows], 21), whole[:rows], equal_nan=True)


# --- the volatility regime -------------------------------------------------------------------------------------------


def states(regime: VolatilityRegime, path: list[float]) -> str:
    """T for turbulent and . for calm, at the end of every prefix of the path, each asked of a new object."""
    return "".join("T" if attrs.evolve(regime).is_turbulent(np.array(path[: n + 1])) else "." for n in range(len(path)))


def test_hysteresis_by_hand():
    """After the days 1 to 10: above 8 of 10 begins, above 5 of 10 goes on, 2 ends."""
    regime = VolatilityRegime(enter=0.8, leave=0.4, min_hold=1, warmup=10)
    calm = [float(n) for n in range(1, 11)]
    # shares of calmer days: 8.5 → 8/10, not above; 9.5 → 10/11 begins; 6.5 → 6/12 goes on; 2.5 → 2/13 ends
    assert states(regime, [*calm, 8.5, 9.5, 6.5, 2.5, 6.6]) == "." * 11 + "TT.."
    without = attrs.evolve(regime, leave=0.8)
    assert states(without, [*calm, 8.5, 9.5, 6.5, 2.5, 6.6]) == "." * 11 + "T..."


def test_a_state_lasts_its_minimum():
    regime = VolatilityRegime(enter=0.8, leave=0.7, min_hold=3, warmup=4)
    assert states(regime, [1, 2, 3, 4, 9, 0.1, 0.1, 0.1, 9.5, 9.6, 9.7, 9.8]) == "....TTT...TT"


def test_warmup_counts_as_calm():
    path = [1.0, 1.0, 1.0, 5.0, 5.0]
    assert states(VolatilityRegime(warmup=3, min_hold=1), path)[3] == "T"
    assert states(VolatilityRegime(warmup=4, min_hold=1), path)[3] == "."


def test_days_without_a_volatility_are_passed_over():
    regime = VolatilityRegime(warmup=3, min_hold=1)
    assert regime.is_turbulent(np.array([np.nan, 1, 1, np.nan, 1, 5, np.nan]))


def test_a_peg_is_never_turbulent():
    assert VolatilityRegime(window=5, warmup=5)(view_at(with_spot(np.ones(60)))) == 1.0


@pytest.mark.parametrize("exposure", [0.0, 0.5, 1.0])
def test_the_exposure_of_a_made_market(exposure):
    """Moves of 1 % a day, then of 3 %: turbulent from the first large one."""
    step = np.concatenate([np.full(40, 0.01), np.full(10, 0.03)]) * np.where(np.arange(50) % 2, 1, -1)
    history = with_spot(np.exp(np.cumsum(step)))
    regime = VolatilityRegime(window=5, warmup=20, exposure=exposure)
    assert regime(view_at(history, from_ns(history.times[39]))) == 1.0
    assert regime(view_at(history, from_ns(history.times[41]))) == exposure


def test_the_account_currency_has_no_volatility():
    history = moody_market(500)
    with_usd = view_at(history, currencies=[*NAMES, "USD"])
    assert VolatilityRegime(warmup=100)(with_usd) == VolatilityRegime(warmup=100)(view_at(history))
    rows = realised_volatility(view_at(history).spot_rows(500), 63)
    assert VolatilityRegime(warmup=100).is_turbulent(rows) == (VolatilityRegime(warmup=100)(with_usd) < 1)


def test_the_order_of_the_questions_changes_no_answer():
    history = moody_market()
    views = [view_at(history, from_ns(history.times[n])) for n in range(300, 900, 37)]
    other = view_at(moody_market(seed=2))
    fresh = [VolatilityRegime(warmup=100)(view) for view in views]
    assert set(fresh) == {0.5, 1.0}
    regime = VolatilityRegime(warmup=100)
    assert [regime(view) for view in views] == fresh
    assert [regime(view) for view in reversed(views)] == fresh[::-1]
    mixed = []
    for view in views:
        regime(other)
        mixed.append(regime(view))
    assert mixed == fresh


@pytest.mark.parametrize(
    "wrong",
    [
        *({"window": 1}, {"window": 5.0}, {"enter": 1.2}, {"leave": -0.1}, {"leave": 0.9}, {"exposure": 2.0}),
        *({"min_hold": 0}, {"warmup": 0}, {"enter": float("nan")}),
    ],
)
def test_wrong_settings(wrong):
    with pytest.raises(ConfigError) as error:
        VolatilityRegime(**wrong)
    assert error.value.hint


# --- around a strategy -----------------------------------------------------------------------------------------------


def test_weights_are_scaled_and_nothing_else():
    view = view_at(moody_market(300))
    held = account(at=view.as_of)
    plain = Sign()(view, held)
    assert Scaled(Sign(), lambda view: 0.25)(view, held) == pytest.approx(0.25 * plain)
    assert Scaled(lambda view, account: {"AUD": 0.4}, lambda view: 0.5)(view, held).tolist() == [0.2, 0, 0, 0]


def test_it_reads_the_account_if_the_strategy_does():
    assert Scaled(Baseline(), VolatilityRegime()).reads_account is False
    assert Scaled(Optimized(), VolatilityRegime()).reads_account is True
    assert Scaled(lambda view, account: {}, VolatilityRegime()).reads_account is True


@pytest.mark.parametrize("exposure", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_regime_may_only_shrink(exposure):
    view = view_at(moody_market(300))
    with pytest.raises(DataError, match="exposure") as error:
        Scaled(Sign(), lambda view: exposure)(view, account(at=view.as_of))
    assert "0 (hold nothing)" in error.value.hint


class TestScaledStrategy(StrategySuite):
    @pytest.fixture
    def strategy(self):
        return Scaled(Sign(), VolatilityRegime(window=21, warmup=60, enter=0.6, leave=0.5))


def test_a_block_run_a_stepped_run_and_a_later_start_agree():
    history = moody_market()
    run = {"history": history, "universe": NAMES, "rules": [], "rebalance": "weekly"}
    whole = backtest(Scaled(Sign(), VolatilityRegime(warmup=100)), **run)
    later = backtest(Scaled(Sign(), VolatilityRegime(warmup=100)), start="2022-01-03", **run)
    stepped = Scaled(Sign(), VolatilityRegime(warmup=100))
    asked = backtest(lambda view, account: stepped(view, account), **run)  # reads the account: asked tick by tick
    assert (asked.nav == whole.nav).all()
    days = later.weights.index[20:]
    assert later.weights.loc[days].to_numpy() == pytest.approx(whole.weights.loc[days].to_numpy(), abs=0.01)


# --- nothing knows what came after -----------------------------------------------------------------------------------

MODELS: dict[str, Callable[[MarketHistory], Any]] = {
    "volatility": lambda history: VolatilityRegime(window=21, warmup=100),
    "markov": lambda history: MarkovSwitching(warmup=520, refit=130),
    "hidden": lambda history: HiddenMarkov(warmup=520, refit=130),
    "logistic": lambda history: LogisticRegime(rates=history.rates, warmup=520, refit=130, threshold=0.45, k=1),
}
PACKAGES = {"markov": "statsmodels", "hidden": "hmmlearn", "logistic": "sklearn"}


@pytest.mark.parametrize("name", MODELS)
def test_the_future_changes_no_answer(name):
    if name in PACKAGES:
        needs_package(PACKAGES[name])
    history = moody_market(800)
    report = find_look_ahead(
        factory=lambda data: Scaled(Sign(), MODELS[name](data)),
        history=history, universe=NAMES, start="2022-01-03", every=1 if name == "volatility" else 5,
    )  # fmt: skip
    assert report.is_clean, report.to_text()
    assert report.decisions >= 3


@pytest.mark.parametrize("name", MODELS)
def test_every_model_reaches_both_answers_and_repeats_them(name):
    """A test of truncation says nothing of a regime that is always calm."""
    if name in PACKAGES:
        needs_package(PACKAGES[name])
    history = moody_market(800)
    views = [view_at(history, from_ns(history.times[n])) for n in range(540, 800, 26)]
    regime = MODELS[name](history)
    first = [regime(view) for view in views]
    assert set(first) == {0.5, 1.0}
    assert [regime(view) for view in reversed(views)] == first[::-1]
    one = views[5]
    assert MODELS[name](history)(one) == first[5]


def test_a_smoothed_model_is_caught():
    """``predict_proba`` over the whole series knows, in the middle, how it went on."""
    hmm = needs_package("hmmlearn.hmm")

    def cheat(history: MarketHistory) -> Any:
        returns = basket_returns(history.spot)
        data = np.column_stack([returns, np.log(np.abs(returns) + 0.05)])
        model = hmm.GaussianHMM(2, "diag", n_iter=10, random_state=1).fit(data)
        known = model.predict_proba(data)[:, turbulent([c[0, 0] for c in model.covars_])]

        def regime(view: Any) -> float:
            weeks = (len(view.spot_rows(10**6)) - 1) // 5
            return float(1 - known[min(weeks, len(known)) - 1])

        return Scaled(Sign(), regime)

    report = find_look_ahead(factory=cheat, history=moody_market(800), universe=NAMES, start="2022-01-03", every=5)
    assert not report.is_clean
    assert {f.kind for f in report.findings} == {"look-ahead"}


# --- fitted models ---------------------------------------------------------------------------------------------------


def test_the_basket_by_hand():
    spot = np.array([[1.0, 2.0], [9, 9], [1.1, 2.0], [9, 9], [1.1, np.nan], [9, 9]])
    assert basket_returns(spot, 2) == pytest.approx([100 * np.log(1.1) / 2, 0.0])
    assert len(basket_returns(np.full((9, 1), np.nan), 2)) == 0


def test_the_state_of_the_larger_variance_is_turbulent_whatever_its_number():
    assert (turbulent([1.0, 4.0]), turbulent([4.0, 1.0])) == (1, 0)


def test_markov_switching_gives_the_filtered_probability_of_the_prefix():
    """statsmodels itself, fitted on the weeks before the cut and filtered up to now."""
    needs_package("statsmodels")
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    history = cut_at(moody_market(800), 700)
    spot = view_at(history).spot_rows(10**6)
    weeks = 100 * np.diff(np.log(spot[::5]), axis=0).mean(1)

    def model(returns: Any) -> Any:
        return MarkovRegression(returns, k_regimes=2, trend="c", switching_variance=True)

    at_cut = 100 * np.diff(np.log(spot[:650:5]), axis=0).mean(1)
    fitted = model(at_cut).fit(disp=False)
    state = int(np.argmax([fitted.params[-2], fitted.params[-1]]))
    filtered = model(weeks).filter(fitted.params).filtered_marginal_probabilities[-1, state]
    found = MarkovSwitching(warmup=520, refit=130).probability(view_at(history))
    assert found == pytest.approx(filtered, abs=2e-3)
    assert 0.0 < found < 1.0


def forward_probability(model: Any, data: Any) -> Any:
    """The filtered probabilities of a Gaussian hidden Markov model, by the forward recursion."""
    from scipy.stats import norm

    deviations = np.sqrt(np.array([np.diag(c) for c in model.covars_]))
    likelihood = np.array([norm.pdf(data, m, s).prod(1) for m, s in zip(model.means_, deviations)]).T
    known = model.startprob_ * likelihood[0]
    known = known / known.sum()
    for row in likelihood[1:]:
        known = (known @ model.transmat_) * row
        known = known / known.sum()
    return known


def test_hidden_markov_keeps_the_last_row_which_is_filtered():
    needs_package("hmmlearn")
    regime = HiddenMarkov(warmup=520, refit=130)
    spot = view_at(cut_at(moody_market(800), 700)).spot_rows(10**6)
    past, weeks = basket_returns(spot[:650]), basket_returns(spot)
    model = regime._fit(past)
    known = forward_probability(model, regime._features(weeks))
    state = turbulent([c[0, 0] for c in model.covars_])
    assert regime.probability(view_at(cut_at(moody_market(800), 700))) == pytest.approx(known[state], abs=1e-9)


def test_swapping_the_states_changes_nothing(monkeypatch):
    needs_package("hmmlearn")
    view = view_at(moody_market(800))
    expected = HiddenMarkov(warmup=520).probability(view)
    monkeypatch.setattr(HiddenMarkov, "_order", staticmethod(lambda calm, wild: (wild, calm)))
    assert HiddenMarkov(warmup=520).probability(view) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("model", "package"), [(MarkovSwitching, "statsmodels"), (HiddenMarkov, "hmmlearn")])
def test_a_state_model_tells_the_wild_stretch_from_the_calm_one(model, package):
    needs_package(package)
    history = moody_market(900)
    calm, wild = (model(warmup=520).probability(view_at(cut_at(history, rows))) for rows in (740, 890))
    assert calm < 0.2 < 0.8 < wild


@pytest.mark.parametrize("model", [MarkovSwitching, HiddenMarkov])
def test_before_the_first_cut_and_on_a_peg_the_book_is_whole(model):
    assert model()(view_at(moody_market(900))) == 1.0
    assert model(warmup=520)(view_at(with_spot(np.ones(600)))) == 1.0


def test_a_model_is_fitted_once_a_cut(monkeypatch):
    fits = []
    monkeypatch.setattr(HiddenMarkov, "_fit", lambda self, past: fits.append(len(past)) or SimpleNamespace())
    monkeypatch.setattr(HiddenMarkov, "_filter", lambda self, fitted, returns: 0.3)
    regime = HiddenMarkov(warmup=520)
    history = moody_market(900)
    for rows in (500, 530, 600, 700, 790, 850, 600):
        regime(view_at(cut_at(history, rows)))
    assert fits == [103, 155]


def test_a_fit_that_comes_to_nothing_is_an_error(monkeypatch):
    monkeypatch.setattr(HiddenMarkov, "_fit", lambda self, past: None)
    monkeypatch.setattr(HiddenMarkov, "_filter", lambda self, fitted, returns: float("nan"))
    with pytest.raises(DataError, match="HiddenMarkov found no two states"):
        HiddenMarkov(warmup=520)(view_at(moody_market(900)))


@pytest.mark.parametrize(
    ("model", "package"),
    [
        ("markov", "statsmodels.tsa.regime_switching.markov_regression"),
        ("hidden", "hmmlearn.hmm"),
        ("logistic", "sklearn.linear_model"),
    ],
)
def test_a_missing_package_says_what_to_install(model, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    history = moody_market(800)
    with pytest.raises(PluginError, match="is not installed") as error:
        MODELS[model](history)(view_at(history))
    assert error.value.hint == 'pip install "fxcarry[ml]"'


@pytest.mark.parametrize("model", [MarkovSwitching, HiddenMarkov])
@pytest.mark.parametrize("wrong", [{"threshold": 1.5}, {"exposure": -1.0}, {"refit": 2}, {"warmup": 100}])
def test_wrong_settings_of_a_model(model, wrong):
    with pytest.raises(ConfigError):
        model(**wrong)


# --- the logistic regime ---------------------------------------------------------------------------------------------


def test_mean_correlation_against_numpy():
    returns = np.random.default_rng(1).normal(size=(63, 4)) @ np.random.default_rng(2).normal(size=(4, 4))
    z = returns / np.sqrt((returns**2).mean(0))
    matrix = z.T @ z / 63
    assert mean_correlation(returns) == pytest.approx(matrix[np.triu_indices(4, 1)].mean())
    assert mean_correlation(np.column_stack([returns[:, 0], -returns[:, 0]])) == pytest.approx(-1.0)
    assert np.isnan(mean_correlation(returns[:, :1]))


def test_labels_are_over_by_the_cut():
    assert purged(64).tolist() == [0, 21, 42]
    assert purged(63).tolist() == [0, 21]
    assert purged(10).tolist() == []


def test_the_carry_book_by_hand():
    """Long the higher carry, short the lower, by the carry of the row before; interest for one day of 260."""
    spot = np.exp(np.array([[0.0, 0.0], [0.01, 0.02], [0.01, 0.0]]))
    carry = np.array([[0.052, 0.0], [0.0, 0.026], [0.0, 0.0]])
    _, book = features_of(spot, carry, 1, np.array([2]))
    assert np.diff(book).tolist() == pytest.approx([0.01 - 0.02 + 0.052 / 260, -0.02 - 0.0 + 0.026 / 260])


def test_features_by_hand():
    history = moody_market(400)
    spot = history.spot
    carry = np.tile([0.01, 0.02, 0.03, 0.06], (400, 1))
    [row], book = features_of(spot, carry, 1, np.array([399]))
    daily = pd.DataFrame(np.diff(np.log(spot), axis=0))
    slow, fast = ((daily.tail(n) ** 2).mean().pow(0.5).mean() * 260**0.5 for n in (63, 21))
    assert row[0] == pytest.approx(slow)
    assert row[1] == pytest.approx(fast / slow - 1)
    assert row[2] == pytest.approx(mean_correlation(daily.tail(63).to_numpy()))
    assert row[3] == pytest.approx(np.std([0.01, 0.02, 0.03, 0.06]))
    assert row[4] == pytest.approx(book[-1] - book[-260:].max())


def test_the_logistic_probability_is_that_of_scikit_learn():
    linear = needs_package("sklearn.linear_model")
    history = cut_at(moody_market(800), 700)
    view = view_at(history)
    spot = view.spot_rows(10**6)
    carry = history.rate_matrix(history.times, NAMES) - history.rate_matrix(history.times, ["USD"])
    days = np.arange(63, 650 - 21, 21)
    features, book = features_of(spot, carry, 1, days)
    label = book[days + 21] < book[days]
    center, scale = features.mean(0), features.std(0)
    model = linear.LogisticRegression(C=0.5).fit((features - center) / scale, label)
    [now], _ = features_of(spot, carry, 1, np.array([len(spot) - 1]))
    expected = model.predict_proba([(now - center) / scale])[0, 1]
    regime = LogisticRegime(rates=history.rates, warmup=520, refit=130, k=1, c=0.5)
    assert regime.probability(view) == pytest.approx(expected, abs=1e-4)


def test_without_a_loss_or_with_only_losses_nothing_is_fitted():
    rising = attrs.evolve(moody_market(700), spot=np.exp(1e-4 * np.arange(700)[:, None] * np.ones((1, 4))))
    low = {c: attrs.evolve(r, value=np.full(len(r.value), n / 100)) for n, (c, r) in enumerate(rising.rates.items())}
    history = attrs.evolve(rising, rates=low)
    assert LogisticRegime(rates=history.rates, warmup=520).probability(view_at(history)) == 0.0


def test_rates_of_every_currency_are_needed():
    history = moody_market(700)
    some = {c: r for c, r in history.rates.items() if c != "JPY"}
    with pytest.raises(MissingDataError, match="no rates for JPY"):
        LogisticRegime(rates=some, warmup=520)(view_at(history))
    assert LogisticRegime(rates={})(view_at(history)) == 1.0  # before the first cut nothing is asked
    with pytest.raises(ConfigError, match="c is 0"):
        LogisticRegime(rates={}, c=0)


# --- crashes ---------------------------------------------------------------------------------------------------------


def result(nav: list[float], gross: list[float]) -> Any:
    days = pd.date_range("2020-01-06", periods=len(nav), freq="B", tz=UTC).tz_localize(None)
    return SimpleNamespace(
        nav=pd.Series(nav, days), weights=pd.DataFrame({"AUD": gross, "JPY": [0.0] * len(nav)}, days)
    )


def test_falls_by_hand():
    assert falls(np.array([100, 110, 99, 95, 97, 105, 104]), 0.10) == [(1, 3)]
    assert falls(np.array([100, 91, 100]), 0.10) == []
    assert falls(np.array([100, 80, 70]), 0.10) == [(0, 2)]  # not over yet
    assert falls(np.array([100, 80, 90, 70, 80, 60]), 0.10) == [(0, 1), (2, 3), (4, 5)]
    assert falls(np.array([]), 0.10) == []


def test_the_table_by_hand():
    """A crash with half the book (dodged), one with the whole (missed), and a spell of half without one."""
    plain = result([100, 80, 88, 96.8, 87.12, 95, 99.75], [2, 2, 2, 2, 2, 2, 2])
    scaled = result([100, 90, 94.5, 103.95, 93.555, 102, 104.55], [1, 1, 2, 2, 2, 1, 2])
    table = crash_table(plain, scaled, fall=0.09)
    assert table.events.verdict.tolist() == ["dodged", "missed", "false alarm"]
    first, second, third = table.events.to_dict("records")
    assert (first["start"], first["end"]) == (datetime(2020, 1, 6), datetime(2020, 1, 7))
    assert (first["plain"], first["scaled"], first["exposure"]) == pytest.approx((-0.2, -0.1, 0.5))
    assert first["saved"] == pytest.approx(np.log(0.9 / 0.8))
    assert (second["plain"], second["exposure"], second["saved"]) == pytest.approx((-0.1, 1.0, 0.0))
    assert (third["plain"], third["scaled"]) == pytest.approx((0.05, 0.025))
    assert table.saved_in_crashes == pytest.approx(np.log(0.9 / 0.8))
    total = np.log(104.55 / 100) - np.log(99.75 / 100)
    assert table.saved_in_crashes - table.cost_outside == pytest.approx(total)
    assert table.share_reduced == pytest.approx(3 / 6)
    lines = table.to_text().splitlines()
    assert len(lines) == 5
    assert lines[1].startswith("dodged       2020-01-06 2020-01-07   -20.0%   -10.0%     0.50  +11.8%")
    assert "reduced on 50% of days" in lines[-1]


def test_a_flat_book_is_not_reduced():
    assert crash_table(result([100, 100, 100], [0, 0, 0]), result([100, 100, 100], [0, 0, 0])).events.empty


def test_results_of_other_days_and_wrong_parts_are_refused():
    one = result([100, 101], [1, 1])
    with pytest.raises(DataError, match="not of the same days"):
        crash_table(one, result([100, 101, 102], [1, 1, 1]))
    for wrong in ({"fall": 0.0}, {"dodged": 1.0}, {"reduced": float("nan")}):
        with pytest.raises(ConfigError):
            crash_table(one, one, **wrong)


def test_the_table_of_two_backtests_adds_up():
    run = {"history": moody_market(), "universe": NAMES, "rules": []}
    plain = backtest(Baseline(k=1), **run)
    scaled = backtest(Scaled(Baseline(k=1), VolatilityRegime(warmup=100)), **run)
    table = crash_table(plain, scaled, fall=0.05)
    assert {"dodged", "missed"} & set(table.events.verdict)
    difference = np.log(scaled.nav.iloc[-1] / plain.nav.iloc[-1])
    assert table.saved_in_crashes - table.cost_outside == pytest.approx(difference)
    assert 0 < table.share_reduced < 1
