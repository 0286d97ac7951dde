"""fxcarry.evidence: every figure of a report card recomputed, and placebos that are the same book elsewhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest

from fxcarry import backtest, statistics
from fxcarry.backtest import BacktestResult
from fxcarry.conventions import session_ends
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, DataError
from fxcarry.evidence import Placebo, _Shuffled, card_text, configuration_of, placebo_percentile, report_card
from fxcarry.financing import PairRateFinancing
from fxcarry.market import MarketHistory, RateSeries
from fxcarry.model import Action, Verdict
from fxcarry.risk import Drawdown
from fxcarry.strategies import Baseline, Optimized, Sign
from fxcarry.testing import account, market_history, view_at
from fxcarry.trials import TrialRegistry, family_of

START = {"start": "2020-01-08", "rules": []}
SIX = ("AUD", "CAD", "CHF", "EUR", "JPY", "NZD")
FIGURES = (
    "sharpe", "se_iid", "se", "autocorrelation_adjusted_sharpe", "interval", "newey_west_t", "skew", "kurtosis", "psr",
    "dsr", "min_track_record_years", "annual_return", "spot", "carry", "cost", "other", "carry_capture",
)  # fmt: skip


def flat(view: Any, account: Any) -> Mapping[str, float]:
    return {}


def carry_market(days: int = 520, drift: float = 0.0) -> MarketHistory:
    """Six currencies whose rates, -2 % to 8 %, never change; prices are a random walk plus ``drift`` × rate a year."""
    rates = np.array([0.08, 0.06, 0.00, -0.01, -0.02, 0.07])
    random = np.random.default_rng(4)
    steps = random.normal(0.0, 0.004, (days, 6)) + drift * rates / 260
    ends = session_ends(np.busday_offset(np.datetime64(date(2020, 1, 6)), np.arange(days), roll="forward"))
    known = np.array(["2019-01-01"], "datetime64[ns]")
    table = {**dict(zip(SIX, rates)), "USD": 0.02}
    return MarketHistory(
        (ends - np.timedelta64(60, "s")).astype("datetime64[ns]"),
        SIX,
        np.exp(np.cumsum(steps, 0)),
        "USD",
        {c: RateSeries(c, known, known, np.array([r])) for c, r in table.items()},
    )


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    return market_history(days=780, seed=3)


@pytest.fixture(scope="module")
def result(history: MarketHistory) -> BacktestResult:
    return backtest(Baseline(), history=history, **START)


@pytest.fixture(scope="module")
def other(history: MarketHistory) -> BacktestResult:
    return backtest(Sign(), history=history, **START)


@pytest.fixture(scope="module")
def nothing(history: MarketHistory) -> BacktestResult:
    return backtest(flat, history=history, **START)


@pytest.fixture
def registry(tmp_path) -> TrialRegistry:
    return TrialRegistry(tmp_path / "trials.jsonl")


def assert_json(card: dict[str, Any]) -> None:
    """No NaN, nothing but plain JSON, and a reason for each figure that is None."""
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    for key in FIGURES:
        assert (card[key] is None) == (key in card["reasons"]), key
    assert all(card["reasons"].values())


# --- figures ---------------------------------------------------------------------------------------------------------


def test_every_figure_is_the_statistic_it_names(result):
    card = report_card(result)
    assert_json(card)
    r, root = result.returns, math.sqrt(260)
    daily, skew, kurt = statistics.sharpe(r, 1), statistics.skewness(r), statistics.kurtosis(r)
    lags = math.floor(4 * (len(r) / 100) ** (2 / 9))
    expected = {
        "sharpe": daily * root,
        "se_iid": math.sqrt((1 + daily**2 / 2) / len(r)) * root,
        "se": math.sqrt((1 - skew * daily + (kurt - 1) / 4 * daily**2) / len(r)) * root,
        "autocorrelation_adjusted_sharpe": statistics.autocorrelation_adjusted_sharpe(r, 260, lags),
        "newey_west_t": statistics.newey_west_t(r),
        "skew": skew,
        "kurtosis": kurt,
        "psr": statistics.probabilistic_sharpe(daily, len(r), skew, kurt),
        "annual_return": r.mean() * 260,
    }
    for key, value in expected.items():
        assert card[key] == pytest.approx(value, rel=1e-12), key
    assert card["interval"] == list(statistics.sharpe_interval(r, 260, 0.95, 21))
    assert (card["interval_level"], card["mean_block"], card["lags"]) == (0.95, 21, lags)
    assert (card["days"], card["track_record_years"]) == (len(r), len(r) / 260)
    assert (card["start"], card["end"]) == (str(result.nav.index[0].date()), str(result.nav.index[-1].date()))
    assert card["sharpe"] == result.stats["sharpe"]
    assert card["se"] == pytest.approx(result.stats["sharpe_se"])


def test_the_money_is_that_of_the_summary(result):
    card = report_card(result)
    for key in ("spot", "carry", "cost", "annual_return"):
        assert card[key] == pytest.approx(result.stats[key], abs=1e-15)
    assert card["spot"] + card["carry"] + card["cost"] + card["other"] == pytest.approx(card["annual_return"])


def test_the_worst_days_are_split(result):
    days = report_card(result)["worst_days"]
    lowest = result.returns.sort_values().head(10)
    assert [d["date"] for d in days] == [str(day.date()) for day in lowest.index]
    for day, (at, value) in zip(days, lowest.items()):
        assert day["return"] == value
        row = result.attribution.loc[at] / result.nav.shift().loc[at]
        assert day["spot"] == pytest.approx(row["spot"])
        assert day["carry"] == pytest.approx(row["carry"], abs=1e-12)
        assert day["cost"] == pytest.approx(row["cost"], abs=1e-12)
        assert day["spot"] + day["carry"] + day["cost"] + day["other"] == pytest.approx(day["return"])


def test_a_losing_strategy_is_never_long_enough(history):
    loser = next(
        r
        for r in (backtest(lambda view, account, s=s: {"EUR": s}, history=history, **START) for s in (1.0, -1.0))
        if r.returns.mean() < 0
    )
    card = report_card(loser)
    assert_json(card)
    assert card["min_track_record_years"] is None
    assert "zero or less" in card["reasons"]["min_track_record_years"]
    assert card["psr"] < 0.5


def test_min_track_record_in_years():
    winner = backtest(Baseline(k=2), history=carry_market(drift=2.0), universe=SIX, **START)
    card = report_card(winner)
    daily = card["sharpe"] / math.sqrt(260)
    variance = 1 - card["skew"] * daily + (card["kurtosis"] - 1) / 4 * daily**2
    assert card["min_track_record_years"] == pytest.approx((1 + variance * (1.6448536 / daily) ** 2) / 260, rel=1e-6)


@pytest.mark.parametrize(("currency", "markup"), [("USD", 0.01), ("EUR", 0.005), ("USD", 0.0)])
def test_carry_capture_against_a_run_without_the_markup(currency, markup):
    about = {**START, "history": carry_market(), "account_currency": currency, "costs": None}
    universe = ("AUD", "CAD", "CHF", "JPY", "NZD")
    net = backtest(Baseline(k=2), universe=universe, markup=markup, **about)
    gross = backtest(Baseline(k=2), universe=universe, markup=0.0, **about)
    expected = (net.books.carry[1:] / net.books.nav[:-1]).sum() / (gross.books.carry[1:] / gross.books.nav[:-1]).sum()
    assert report_card(net)["carry_capture"] == pytest.approx(expected, abs=0.005)


def test_carry_capture_that_cannot_be_known(history, nothing):
    model = PairRateFinancing(0.01, -0.02)
    own = report_card(backtest(Baseline(), history=history, financing=model, **START))
    assert own["carry_capture"] is None
    assert "mark-up is not known" in own["reasons"]["carry_capture"]
    assert report_card(nothing)["carry_capture"] is None


# --- selection -------------------------------------------------------------------------------------------------------


def test_without_a_registry_nothing_is_deflated(result):
    card = report_card(result)
    assert (card["dsr"], card["trials"], card["trial_variance"]) == (None, 1, None)
    assert card["reasons"]["dsr"].startswith("1 trial: no trial registry")


def test_deflated_by_the_trials_of_the_family(result, other, registry):
    random = np.random.default_rng(0)
    family = {"universe": list(result.universe), "account_currency": "USD"}
    for k in range(8):
        registry.record({**family, "k": k}, random.normal(0.0, 0.01, 400), 260)
    registry.record({**family, "monthly": True}, random.normal(0.0, 0.01, 40), 12)
    registry.record({"universe": ["EUR"], "account_currency": "USD"}, random.normal(0.0, 0.01, 400), 260)
    registry.record({**family, "k": "dead"}, [0.0] * 10, 260)
    before = registry.path.read_bytes()
    card = report_card(result, trials=registry)
    assert_json(card)
    daily = statistics.sharpe(result.returns, 1)
    ratios = [*registry.sharpes(260, family_of(family)), daily]
    assert len(ratios) == 10
    assert card["trials"] == 11
    assert card["trial_variance"] == pytest.approx(np.var(ratios, ddof=1))
    assert card["dsr"] == pytest.approx(
        statistics.deflated_sharpe(daily, card["days"], card["skew"], card["kurtosis"], 11, card["trial_variance"])
    )
    assert card["dsr"] < card["psr"]
    assert registry.path.read_bytes() == before  # a card records nothing

    registry.record(configuration_of(result, Baseline()), result.returns, 260)
    again = report_card(result, trials=registry)  # the same one, now in the registry
    assert again["trials"] == 11
    assert again["trial_variance"] == pytest.approx(card["trial_variance"])
    assert report_card(other, trials=registry)["trials"] == 12


def test_one_trial_in_the_registry(result, registry):
    for _ in range(2):
        card = report_card(result, trials=registry)
        assert_json(card)
        assert (card["dsr"], card["trials"]) == (None, 1)
        assert card["reasons"]["dsr"].startswith("1 trial: this one")
        registry.record(configuration_of(result), result.returns, 260)


def test_trials_that_never_moved_are_counted_and_have_no_variance(result, registry):
    family = {"universe": list(result.universe), "account_currency": "USD"}
    registry.record({**family, "k": 0}, [0.0] * 10, 260)
    card = report_card(result, trials=registry)
    assert (card["dsr"], card["trials"]) == (None, 2)
    assert "fewer than two" in card["reasons"]["dsr"]


def test_a_registry_that_was_cut_off_is_noted(result, registry):
    registry.path.write_text('{"key"')
    card = report_card(result, trials=registry)
    assert "unfinished" in card["notes"][-1]
    assert "unfinished" in card_text(card)


def test_what_makes_a_configuration(history, result, registry):
    plain = configuration_of(result, Baseline())
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["strategy"] == {"type": "Baseline", "k": 3}
    assert plain["costs"]["spread_bps"]["EUR"] == 1.3
    assert family_of(plain) == "USD: AUD,CAD,CHF,EUR,GBP,JPY,NOK,NZD,SEK"
    assert configuration_of(result)["strategy"] == "Baseline"
    assert configuration_of(result, flat)["strategy"] == "flat"
    longer = backtest(Baseline(), history=history, start="2020-02-03", rules=[])
    assert configuration_of(longer, Baseline()) == plain  # the same trial on other data
    different = [
        backtest(Baseline(), history=history, start="2020-01-08", rules=[Drawdown(0.2)]),
        backtest(Baseline(), history=history, start="2020-01-08", rules=[Drawdown(0.1)]),
        backtest(Baseline(), history=history, costs=Costs(spread_multiplier=2.0), **START),
        backtest(Baseline(), history=history, costs=None, **START),
        backtest(Baseline(), history=history, markup=0.02, **START),
        backtest(Baseline(), history=history, rebalance="weekly", **START),
    ]
    for run in (result, *different):
        registry.record(configuration_of(run, Baseline()), run.returns, 260)
    for strategy in (Baseline(k=2), Optimized(), Optimized(risk_aversion=4.0)):
        registry.record(configuration_of(result, strategy), result.returns, 260)
    assert registry.count() == 10


def test_a_setting_that_is_no_json_becomes_its_name():
    class Rule:
        name = "mine"

        def __call__(self, proposal, view, account, state):
            return Verdict(rule=self.name, action=Action.ALLOW)

    @attrs.frozen
    class Wrapped:
        inner: Any
        since: date
        table: Mapping[str, float]
        members: frozenset[str]
        pair: tuple[int, float]

    wrapped = Wrapped(Sign(), date(2020, 1, 2), {"EUR": 1.0}, frozenset("ba"), (1, 2.5))
    result = backtest(flat, history=market_history(days=40), rules=[Rule()], start="2020-01-08")
    plain = configuration_of(result, wrapped)  # type: ignore[arg-type]
    assert plain["rules"] == ["mine"]
    assert plain["strategy"] == {
        "type": f"{Wrapped.__qualname__}",
        "inner": {"type": "Sign"},
        "since": "2020-01-02",
        "table": {"EUR": 1.0},
        "members": ["a", "b"],
        "pair": [1, 2.5],
    }


# --- degenerate runs -------------------------------------------------------------------------------------------------


def test_a_run_that_never_held_anything(nothing, registry):
    card = report_card(nothing, trials=registry, against=nothing)
    assert_json(card)
    zero = ("annual_return", "spot", "carry", "cost", "other")
    assert [card[key] for key in zero] == [0.0] * 5
    missing = set(FIGURES) - set(zero)
    assert all(card[key] is None for key in missing)
    assert {card["reasons"][key] for key in missing - {"carry_capture"}} == {"the returns have no volatility"}
    assert card["worst_days"] == []
    assert card["against"]["difference"] is None
    assert "never moved" in card["reasons"]["against"]
    text = card_text(card)
    assert "Sharpe ratio      n/a: the returns have no volatility" in text
    assert "nan" not in text


@pytest.mark.parametrize(("end", "returns"), [("2020-01-08", 0), ("2020-01-09", 1), ("2020-01-10", 2)])
def test_fewer_than_three_returns(history, registry, end, returns):
    short = backtest(Baseline(), history=history, start="2020-01-08", end=end, rules=[])
    card = report_card(short, trials=registry, against=short)
    assert_json(card)
    assert card["days"] == returns
    assert all(card[key] is None for key in FIGURES)
    assert {card["reasons"][key] for key in FIGURES} == {f"too few returns: {returns}, and three are needed"}
    assert card["worst_days"] == []
    assert "nan" not in card_text(card)


def test_three_returns_are_enough(history):
    card = report_card(backtest(lambda v, a: {"EUR": 1.0}, history=history, start="2020-01-29", end="2020-02-05"))
    assert_json(card)
    assert card["sharpe"] is not None
    assert card["mean_block"] == card["days"] == 5


def test_an_account_that_lost_everything(result):
    nav = result.books.nav.copy()
    nav[400:] = -1.0
    ruined = attrs.evolve(result, books=attrs.evolve(result.books, nav=nav))
    card = report_card(ruined, against=ruined)
    assert_json(card)
    assert {card["reasons"][key] for key in FIGURES} == {"the account lost everything"}
    assert card["against"]["difference"] is None
    assert "lost everything" in card_text(card)


# --- compared --------------------------------------------------------------------------------------------------------


def test_compared_with_a_baseline(result, other):
    card = report_card(result, against=other)
    assert_json(card)
    found = statistics.sharpe_difference(result.returns, other.returns, 260)
    assert card["against"] == {"strategy": "Sign", "days": card["days"], **attrs.asdict(found)}
    assert card["against"]["difference"] == pytest.approx(result.stats["sharpe"] - other.stats["sharpe"])
    assert f"{found.difference:.2f} ± {found.standard_error:.2f}" in card_text(card)


def test_compared_on_the_days_both_have(history, result):
    later = backtest(Sign(), history=history, start="2021-01-04", end="2022-03-31", rules=[])
    shared = result.returns.index.intersection(later.returns.index)
    card = report_card(result, against=later)
    found = statistics.sharpe_difference(result.returns[shared], later.returns[shared], 260)
    assert (card["against"]["days"], card["against"]["difference"]) == (len(shared), found.difference)
    before = backtest(Sign(), history=history, start="2020-01-08", end="2020-06-30", rules=[])
    apart = report_card(before, against=later)
    assert_json(apart)
    assert (apart["against"]["days"], apart["against"]["p_value"]) == (0, None)


def test_another_account_currency_is_not_comparable(history, result):
    euro = backtest(
        Sign(), history=history, account_currency="EUR", universe=("USD", "JPY", "AUD"), start="2020-01-08", rules=[]
    )
    with pytest.raises(ConfigError, match="USD returns cannot be compared with EUR returns"):
        report_card(result, against=euro)


# --- placebo ---------------------------------------------------------------------------------------------------------


def test_a_placebo_holds_the_same_book_in_other_currencies():
    view = view_at(market_history(days=60))
    money = account(at=view.as_of)
    true = Baseline()(view, money)
    seen = set()
    for draw in range(20):
        weights = _Shuffled(Baseline(), 1, draw)(view, money)
        assert sorted(weights) == sorted(true)
        seen.add(tuple(weights))
        assert (_Shuffled(Baseline(), 1, draw)(view, money) == weights).all()
    assert len(seen) > 15
    assert not (_Shuffled(Baseline(), 2, 0)(view, money) == _Shuffled(Baseline(), 1, 0)(view, money)).all()


def test_a_draw_keeps_its_permutation_from_one_decision_to_the_next():
    history = market_history(days=300)
    views = [view_at(history, datetime(2020, month, 20, tzinfo=UTC)) for month in (3, 7, 12)]

    def numbered(view, account):
        return np.arange(1.0, 10.0) / 10

    for draw in range(5):
        books = [_Shuffled(numbered, 1, draw)(view, account(at=view.as_of)) for view in views]
        assert (books[0] == books[1]).all()
        assert (books[0] == books[2]).all()


def test_a_currency_that_cannot_be_held_takes_no_part():
    history = market_history(("EUR", "JPY", "GBP", "AUD"), days=60)
    spot = history.spot.copy()
    spot[:, 2] = np.nan
    gap = MarketHistory(history.times, history.currencies, spot, "USD", history.rates)
    view = view_at(gap, currencies=("EUR", "JPY", "GBP", "AUD", "USD"))

    def by_name(view, account):
        return {"EUR": 0.5, "JPY": -0.5, "AUD": 0.25}

    for draw in range(10):
        weights = _Shuffled(by_name, 1, draw)(view, account(at=view.as_of))
        assert weights[2] == weights[4] == 0  # GBP has no price, USD is the account's own
        assert sorted(weights[[0, 1, 3]]) == [-0.5, 0.25, 0.5]


def test_a_strategy_that_reads_the_account_sees_its_own_names():
    view = view_at(market_history(days=60))
    own = dict(zip(view.currencies, (np.arange(9) / 20).tolist()))
    seen = []

    def wants(view, account):
        seen.append(dict(account.current_weights))
        return own

    placebo = _Shuffled(wants, 1, 3)
    assert placebo.reads_account
    held = dict(zip(view.currencies, placebo(view, account(at=view.as_of)).tolist()))
    assert held != own
    placebo(view, account(at=view.as_of, weights={**held, "PLN": 0.01}))
    assert seen[1] == {**own, "PLN": 0.01}
    assert not _Shuffled(Baseline(), 1, 3).reads_account


def test_a_placebo_bears_financing_and_costs(history):
    about = {"history": history, **START}
    free = placebo_percentile(Baseline(), draws=4, costs=None, markup=0.0, **about)
    dear = placebo_percentile(Baseline(), draws=4, costs=Costs(spread_multiplier=20.0), markup=0.03, **about)
    assert all(d < f for d, f in zip(dear.sharpes, free.sharpes))
    by_hand = backtest(_Shuffled(Baseline(), 1, 2), costs=None, markup=0.0, **about).stats["sharpe"]
    assert free.sharpes[2] == by_hand
    assert free.sharpe == backtest(Baseline(), costs=None, markup=0.0, **about).stats["sharpe"]


def test_a_placebo_of_a_strategy_that_reads_the_account_in_a_real_run():
    """It trades toward its own targets: what it asks for is the true book, whatever stands in the account."""
    about = {"history": carry_market(), "universe": SIX, "costs": None, "markup": 0.0, **START}
    asked: dict[str, list[Any]] = {"true": [], "placebo": []}

    def follow(kind):
        def strategy(view, account):
            own = {c: account.current_weights.get(c, 0.0) for c in SIX}
            book = dict(zip(SIX, Baseline(k=2)(view, account).tolist()))
            moved = {c: own[c] + 0.5 * (book[c] - own[c]) for c in SIX}  # half way from what is held
            asked[kind].append(moved)
            return moved

        return strategy

    backtest(follow("true"), **about)
    backtest(_Shuffled(follow("placebo"), 1, 0), **about)
    assert len(asked["true"]) == len(asked["placebo"]) > 20
    for true, placebo in zip(asked["true"], asked["placebo"]):
        # Half of what was held has drifted with other prices, which moves a weight by a percent or two.
        assert list(placebo.values()) == pytest.approx(list(true.values()), abs=0.05)
    optimized = placebo_percentile(Optimized(lookback=60), draws=3, **{**about, "costs": Costs()})
    assert optimized.sharpe == backtest(Optimized(lookback=60), **{**about, "costs": Costs()}).stats["sharpe"]
    assert len({optimized.sharpe, *optimized.sharpes}) == 4


def test_where_carry_pays_the_strategy_beats_its_placebos():
    about = {"history": carry_market(drift=1.0), "universe": SIX, "draws": 40, "costs": None, **START}
    carry = placebo_percentile(Baseline(k=2), **about)
    assert carry.percentile > 90
    assert carry.p_value < 0.1

    def upside_down(view, account):
        return -Baseline(k=2)(view, account)

    against = placebo_percentile(upside_down, **about)
    assert against.percentile < 10
    assert against.p_value > 0.9


def test_draws_repeat_with_their_seed_and_tell_how_far_they_are(history):
    told: list[tuple[int, int]] = []
    about = {"history": history, "end": "2020-06-30", **START}
    one = placebo_percentile(Sign(), draws=3, progress=lambda done, total: told.append((done, total)), **about)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert one == placebo_percentile(Sign(), draws=3, **about)
    assert one.sharpes[:2] == placebo_percentile(Sign(), draws=2, **about).sharpes
    assert one.sharpes != placebo_percentile(Sign(), draws=3, seed=2, **about).sharpes


def test_percentile_and_p_value_by_hand():
    placebo = Placebo(sharpe=0.5, sharpes=(0.1, 0.5, 0.9, None, -0.2))
    assert placebo.percentile == pytest.approx(100 * 3.5 / 5)
    assert placebo.p_value == pytest.approx(3 / 6)


def test_what_cannot_be_shuffled(history):
    for draws in (0, -1, 2.5):
        with pytest.raises(ConfigError, match="draws"):
            placebo_percentile(Baseline(), history=history, draws=draws)
    with pytest.raises(ConfigError, match="pass the strategy itself"):
        placebo_percentile("baseline", history=history)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="never held anything"):
        placebo_percentile(flat, history=history, draws=1, **START)


# --- what else was run


def test_the_probability_of_overfitting_is_that_of_the_candidates(result, other):
    card = report_card(result, candidates=[result, other])
    table = np.column_stack([result.returns, other.returns])
    assert card["pbo"] == statistics.probability_of_backtest_overfitting(table, 16)
    assert card["candidates"] == ["Baseline", "Sign"]
    assert "best of Baseline, Sign in one half is in their lower half" in " ".join(card_text(card).split())
    # two copies: whichever wins ranks in the middle, which counts as the lower half
    assert report_card(result, candidates=[result, result])["pbo"] == 1


def test_the_probability_of_overfitting_is_of_the_days_all_have(history, result):
    early = backtest(Sign(), history=history, start="2020-01-08", end="2020-12-31", rules=[])
    shared = result.returns.index.intersection(early.returns.index)
    table = np.column_stack([result.returns[shared], early.returns[shared]])
    assert report_card(result, candidates=[result, early])["pbo"] == (
        statistics.probability_of_backtest_overfitting(table, 16)
    )


def test_where_nothing_was_chosen_nothing_is_overfitted(history, result):
    card = report_card(result, candidates=[result])
    assert card["pbo"] is None
    assert card["reasons"]["pbo"] == "there was nothing to choose from: fewer than two candidates"
    assert "PBO" not in card_text(card)
    brief = [backtest(s, history=history, start="2020-01-08", end="2020-01-20", rules=[]) for s in (Baseline(), Sign())]
    card = report_card(brief[0], candidates=brief)
    assert card["pbo"] is None
    assert_json(card)


def test_the_other_runs_of_a_strategy_stand_beside_it(history, result):
    gross = backtest(Baseline(), history=history, start="2020-01-08", rules=[], markup=0.0)
    card = report_card(result, variants={"no_rules": result, "gross": gross})
    assert_json(card)
    assert set(card["variants"]) == {"no_rules", "gross"}
    assert card["variants"]["gross"] == {
        key: gross.stats[key] for key in ("annual_return", "sharpe", "sharpe_se", "halted")
    }
    words = " ".join(card_text(card).split())
    assert (
        f"without rules, no mark-up: {100 * gross.stats['annual_return']:+.2f}% a year, "
        f"Sharpe ratio {gross.stats['sharpe']:.2f} ± {gross.stats['sharpe_se']:.2f}"
    ) in words
    assert report_card(result)["variants"] is None


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full(result, other, tmp_path_factory) -> dict[str, Any]:
    registry = TrialRegistry(tmp_path_factory.mktemp("trials") / "trials.jsonl")
    for run, strategy in ((result, Baseline()), (other, Sign())):
        registry.record(configuration_of(run, strategy), run.returns, 260)
    placebo = Placebo(sharpe=result.stats["sharpe"], sharpes=tuple(np.linspace(-1, 0.5, 20).tolist()))
    card = report_card(result, trials=registry, against=other, placebo=placebo)
    assert_json(card)
    assert card["placebo"]["draws"] == 20
    assert card["placebo"]["median"] == pytest.approx(-0.25)
    return card


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_card_fits_its_width(full, width):
    text = card_text(full, width)
    assert max(map(len, text.splitlines())) <= width
    assert text.endswith("\n")
    words = " ".join(text.split())
    assert f"{full['sharpe']:.2f} ± {full['se']:.2f} a year" in words
    assert f"interval {full['interval'][0]:.2f} to {full['interval'][1]:.2f}" in words
    assert "best of 2 tried on the same market (DSR)" in words
    assert f"better than {full['placebo']['percentile']:.0f}% of 20 books" in words
    assert words.count("Worst 10 days") == 1
    assert full["worst_days"][0]["date"] in words


def test_a_sharpe_ratio_never_stands_alone(full):
    words = " ".join(card_text(full).split("Placebo")[0].split())
    bare = f"{full['sharpe']:.2f}"
    assert words.count(f"{bare} ") == words.count(f"{bare} ±") > 0
    adjusted = full["autocorrelation_adjusted_sharpe"]
    error = full["se"] * adjusted / full["sharpe"]
    assert f"{adjusted:.2f} ± {error:.2f} allowing for autocorrelation" in words


def test_nothing_is_certain(full):
    sure, hopeless = card_text({**full, "psr": 1.0, "dsr": 0.0}), card_text({**full, "psr": 0.99949, "dsr": 0.5})
    assert "over 99.9% likely" in sure
    assert "under 0.1% likely" in sure
    assert "100.0%" not in sure
    assert "50.0% likely" in hopeless


def test_a_card_too_narrow_and_a_name_with_control_characters(full):
    with pytest.raises(ConfigError, match="60 columns or more"):
        card_text(full, 59)
    assert card_text({**full, "strategy": "a\x1b[31m\nb"}).splitlines()[0] == "Report card of a?[31m?b"


def test_a_card_survives_a_file(full):
    assert card_text(json.loads(json.dumps(full))) == card_text(full)


@pytest.mark.ecb
def test_real_history_in_a_moment():
    from fxcarry_ecb import EcbFeed

    run = backtest("baseline", history=EcbFeed().history(None, None), start="2001-01-02", end="2014-12-31", rules=[])
    card = report_card(run)
    assert_json(card)
    assert card["days"] == len(run.returns) == 3651
    assert card["se_iid"] == pytest.approx(1 / math.sqrt(card["track_record_years"]), abs=0.001)
    worst = pd.Timestamp(card["worst_days"][0]["date"])
    assert worst.year == 2008
    assert card["skew"] < 0
    assert card["kurtosis"] > 3
