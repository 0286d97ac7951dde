"""fxcarry.walkforward: what is chosen is known by then, test days are traded once, and nothing tried goes uncounted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pandas as pd
import pytest

from fxcarry import backtest, statistics
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.market import MarketHistory, MarketView
from fxcarry.model import Account
from fxcarry.risk import Drawdown
from fxcarry.strategies import Baseline, Optimized, Sign
from fxcarry.testing import account, market_history, view_at
from fxcarry.trials import TrialRegistry
from fxcarry.walkforward import (
    Scheduled,
    WalkForwardResult,
    Window,
    at_equal_volatility,
    candidates,
    compare,
    render,
    walk_forward,
    windows,
    write_html,
)
from fxcarry.walkforward import run as running
from fxcarry.walkforward.page import page
from fxcarry.walkforward.result import Stitched, WindowResult, solvent_returns

FOUR = ("EUR", "JPY", "GBP", "AUD")
START = "2010-01-06"  # the rates of the made-up market are known from then on
SHAPE: dict[str, Any] = {"train_years": 2, "universe": FOUR, "rules": [], "start": START}


@attrs.frozen
class Hold:
    """Holds one currency, always."""

    currency: str = "EUR"
    size: float = 0.5

    def __call__(self, view: MarketView, account: Account) -> Mapping[str, float]:
        return {self.currency: self.size}


@attrs.frozen
class Breaks:
    """Holds EUR and raises in June of one year."""

    year: int
    error: type[Exception] = DataError

    def __call__(self, view: MarketView, account: Account) -> Mapping[str, float]:
        if (view.as_of.year, view.as_of.month) == (self.year, 6):
            raise self.error("no signal today")
        return {"EUR": 0.5}


@attrs.frozen
class Flip:
    """Long EUR against JPY in odd months, short in even ones."""

    reads_account: ClassVar[bool] = False

    def __call__(self, view: MarketView, account: Account) -> Mapping[str, float]:
        side = 0.4 if view.as_of.month % 2 else -0.4
        return {"EUR": side, "JPY": -side}


def flat(view: Any, account: Any) -> Mapping[str, float]:
    return {}


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    """Six years, 2010 to 2015."""
    return market_history(FOUR, days=1564, seed=5, start=date(2010, 1, 4))


@pytest.fixture
def registry(tmp_path) -> TrialRegistry:
    return TrialRegistry(tmp_path / "trials.jsonl")


@pytest.fixture(scope="module")
def chosen(history: MarketHistory, tmp_path_factory) -> WalkForwardResult:
    trials = TrialRegistry(tmp_path_factory.mktemp("chosen") / "trials.jsonl")
    grid = {"currency": FOUR}
    return walk_forward(Hold(), grid=grid, history=history, trials=trials, **{**SHAPE, "rules": None})


@pytest.fixture(scope="module")
def fixed(history: MarketHistory, tmp_path_factory) -> WalkForwardResult:
    trials = TrialRegistry(tmp_path_factory.mktemp("fixed") / "trials.jsonl")
    return walk_forward(Flip(), history=history, trials=trials, **SHAPE)


def with_gap(history: MarketHistory, first: str, last: str) -> MarketHistory:
    """The history without a price for EUR from one day to another."""
    spot = history.spot.copy()
    days = history.times.astype("datetime64[D]")
    spot[(days >= np.datetime64(first)) & (days <= np.datetime64(last)), 0] = np.nan
    return attrs.evolve(history, spot=spot)


# --- windows ---------------------------------------------------------------------------------------------------------


def test_the_windows_of_1999_to_2012_by_hand():
    found = windows(date(1999, 1, 4), date(2011, 3, 31))
    assert found == (
        Window(
            train_start=date(1999, 1, 4),
            train_end=date(2008, 12, 1),
            test_start=date(2009, 1, 1),
            test_end=date(2010, 1, 1),
        ),
        Window(
            train_start=date(1999, 1, 4),
            train_end=date(2009, 12, 1),
            test_start=date(2010, 1, 1),
            test_end=date(2011, 1, 1),
        ),
        Window(
            train_start=date(1999, 1, 4),
            train_end=date(2010, 12, 1),
            test_start=date(2011, 1, 1),
            test_end=date(2011, 4, 1),  # cut: the 31st of March is the last day in it
        ),
    )
    assert [w.gap for w in found] == [31, 31, 31]
    assert str(found[0]) == "train 1999-01-04 to 2008-12-01, test 2009-01-01 to 2010-01-01"


def test_rolling_windows_forget_and_an_embargo_widens_the_gap():
    found = windows(
        date(2000, 1, 3), date(2006, 12, 29), train_years=3, is_expanding=False, purge_days=31, embargo_days=5
    )
    assert [(w.train_start, w.train_end) for w in found] == [
        (date(2000, 1, 3), date(2002, 11, 26)),  # not before there are data
        (date(2001, 1, 1), date(2003, 11, 26)),
        (date(2002, 1, 1), date(2004, 11, 26)),
        (date(2003, 1, 1), date(2005, 11, 26)),
    ]
    assert {w.gap for w in found} == {36}


@pytest.mark.parametrize(("day", "first"), [(7, date(2002, 12, 1)), (8, date(2003, 1, 1))])
def test_tests_start_on_the_first_of_a_month(day, first):
    assert windows(date(2000, 12, day), date(2005, 1, 1), train_years=2)[0].test_start == first


def test_two_test_years_step_by_two():
    found = windows(date(2000, 1, 3), date(2007, 6, 30), train_years=2, test_years=2)
    assert [w.test_start.year for w in found] == [2002, 2004, 2006]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train_years": 0}, "train_years is 0"),
        ({"train_years": 1.5}, "train_years is 1.5"),
        ({"test_years": True}, "test_years is True"),
        ({"purge_days": -1}, "purge_days is -1"),
        ({"embargo_days": 2.5}, "embargo_days is 2.5"),
        ({"train_years": 1, "purge_days": 184}, "leaves too little"),
        ({"train_years": 40}, "first test would start on 2040-01-01"),
    ],
)
def test_windows_that_make_no_sense_are_refused(changes, says):
    with pytest.raises(ConfigError) as caught:
        windows(date(2000, 1, 3), date(2010, 1, 1), **changes)
    assert says in f"{caught.value.message} {caught.value.hint}"


# --- candidates and the schedule -------------------------------------------------------------------------------------


def test_every_combination_is_a_candidate_in_order():
    found = candidates(Hold(), {"currency": ["EUR", "JPY"], "size": [0.1, 0.2]})
    assert found == [
        ({"currency": c, "size": s}, Hold(c, s)) for c, s in [("EUR", 0.1), ("EUR", 0.2), ("JPY", 0.1), ("JPY", 0.2)]
    ]
    assert candidates(Hold, {"size": [0.3]}) == [({"size": 0.3}, Hold(size=0.3))]
    assert candidates(flat, None) == [({}, flat)]


def test_what_a_strategy_refuses_is_refused():
    with pytest.raises(ConfigError, match="k is 0"):
        candidates(Baseline(), {"k": [3, 0]})


@pytest.mark.parametrize(
    ("strategy", "grid", "says"),
    [
        (Baseline(), {"q": [1]}, "Baseline has no setting q"),
        (Baseline(), {"k": []}, r"grid\['k'\]"),
        (Baseline(), {"k": [2, 2]}, "k"),
        (Hold(), {"currency": "EUR"}, "EUR"),
        (flat, {"k": [1]}, "no strategy can be made"),
        (lambda k: k, {"k": [1]}, "cannot be called"),
        (3, None, "strategy is 3"),
    ],
)
def test_a_bad_grid_is_refused(strategy, grid, says):
    with pytest.raises(ConfigError, match=says):
        candidates(strategy, grid)


def test_the_schedule_goes_by_the_day_on_which_orders_fill(history):
    scheduled = Scheduled((date(2011, 1, 1), date(2012, 1, 1)), (Hold("EUR"), Hold("JPY")))
    told = {}
    for day in ("2010-12-30", "2010-12-31", "2011-06-30", "2011-12-29", "2011-12-30", "2012-02-01"):
        at = pd.Timestamp(f"{day} 17:00", tz="America/New_York").to_pydatetime()
        view = view_at(history, at)
        told[day] = scheduled(view, account(at=at))
    assert not told.pop("2010-12-30").any()  # fills on the 31st: before the first window
    assert [next(iter(w)) for w in told.values()] == ["EUR", "EUR", "EUR", "JPY", "JPY"]


def test_the_schedule_says_whether_a_strategy_reads_the_account():
    assert not Scheduled((date(2011, 1, 1),), (Baseline(),)).reads_account
    assert Scheduled((date(2011, 1, 1), date(2012, 1, 1)), (Baseline(), Hold())).reads_account


# --- choosing --------------------------------------------------------------------------------------------------------


def test_train_scores_are_those_of_runs_that_stop_where_train_ends(history, chosen):
    """The whole run, cut, is the same as a run that never saw the rest."""
    for result in chosen.windows:
        stop = result.window.train_end - pd.Timedelta(days=1)
        for score, currency in zip(result.scores, FOUR):
            alone = backtest(Hold(currency), history=history, universe=FOUR, rules=[], start=START, end=stop)
            r = alone.returns.to_numpy()
            assert alone.returns.index[-1] < pd.Timestamp(result.window.train_end)
            assert score == pytest.approx(r.mean() / r.std(ddof=1) * math.sqrt(260), rel=1e-12)
        assert result.setting == {"currency": FOUR[int(np.argmax(result.scores))]}
        assert result.score == max(result.scores)


def test_a_later_end_changes_nothing_before(history, chosen, registry):
    short = walk_forward(
        Hold(), grid={"currency": FOUR}, history=history, trials=registry, end="2013-12-31", **{**SHAPE, "rules": None}
    )
    assert len(short.windows) == 2
    assert [w.to_dict() for w in short.windows] == [w.to_dict() for w in chosen.windows[:2]]
    assert short.runs["gross"].nav.tolist() == chosen.runs["gross"].nav[: len(short.nav)].tolist()


def test_another_future_changes_nothing_before(history, chosen, registry):
    spot = history.spot.copy()
    late = history.times >= np.datetime64("2014-01-01")
    spot[late] = spot[late][::-1] * 1.3
    other = walk_forward(
        Hold(),
        grid={"currency": FOUR},
        history=attrs.evolve(history, spot=spot),
        trials=registry,
        **{**SHAPE, "rules": None},
    )
    assert [w.to_dict() for w in other.windows[:2]] == [w.to_dict() for w in chosen.windows[:2]]
    assert other.windows[-1].scores != chosen.windows[-1].scores


def test_of_equal_scores_the_first_wins_and_what_is_no_number_never_does(history, registry):
    same = walk_forward(
        Hold(), grid={"size": [0.1, 0.2]}, score=lambda r: 1.0, history=history, trials=registry, **SHAPE
    )
    assert {w.setting["size"] for w in same.windows} == {0.1}
    scores = iter([math.nan, math.inf, -3.0] * 9)
    by_candidate = {}

    def score(returns: Any) -> float:
        return by_candidate.setdefault(round(float(np.std(returns)), 12), next(scores))

    odd = walk_forward(
        Hold(), grid={"size": [0.1, 0.2, 0.3]}, score=score, history=history, trials=registry, end="2012-12-31", **SHAPE
    )
    [window] = odd.windows
    assert (window.scores, window.setting) == ((None, None, -3.0), {"size": 0.3})


def test_a_window_in_which_nothing_has_a_score_fails(history, registry):
    def score(returns: Any) -> float:
        return math.nan if len(returns) < 600 else float(np.mean(returns))

    result = walk_forward(Hold(), grid={"size": [0.1, 0.2]}, score=score, history=history, trials=registry, **SHAPE)
    assert [w.error is not None for w in result.windows] == [True, False, False, False]
    assert "no configuration has a score" in str(result.windows[0].error)
    assert result.runs["traded"].day[0] == np.datetime64("2012-12-31")


def test_rolling_windows_are_scored_on_their_own_days(history, registry):
    seen: list[int] = []

    def score(returns: Any) -> float:
        seen.append(len(returns))
        return 0.0

    walk_forward(
        Hold(), grid={"size": [0.1, 0.2]}, score=score, is_expanding=False, history=history, trials=registry, **SHAPE
    )
    days = pd.bdate_range("2010-01-07", "2015-12-31")  # the first day has no return

    def count(first: str, end: str) -> int:
        return int(((days >= first) & (days < end)).sum())

    expected = [
        count("2010-01-06", "2011-12-01"),
        count("2011-01-01", "2012-12-01"),
        count("2012-01-01", "2013-12-01"),
        count("2013-01-01", "2014-12-01"),
    ]
    assert seen == expected * 2


# --- trading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [Flip(), Optimized(k=2, lookback=60)], ids=["flip", "optimized"])
def test_without_a_grid_it_is_the_backtest_of_the_test_days(history, registry, strategy):
    result = walk_forward(strategy, history=history, trials=registry, **SHAPE)
    plain = backtest(strategy, history=history, universe=FOUR, rules=[], start="2011-12-30")
    assert result.nav.tolist() == plain.nav.tolist()
    assert result.nav.index.equals(plain.nav.index)
    assert result.nav.iloc[0] == result.cash == 1_000_000
    assert result.returns.index[0] == pd.Timestamp("2012-01-02")
    assert result.returns.iloc[0] != 0 or result.returns.iloc[1] != 0  # invested from the first day on
    [row] = [r for r in result.table() if r["kind"] == "traded"]
    for name in ("sharpe", "sharpe_se", "annual_return", "max_drawdown", "win_rate", "round_trips"):
        assert row[name] == (plain.stats[name] and pytest.approx(plain.stats[name], rel=1e-12)), name
    assert [w.scores for w in result.windows] == [()] * 4


def test_a_switch_is_traded_and_paid_for(history):
    """EUR in 2012, JPY in 2013: one account, and the change fills on the first quote of the year."""
    switched = Scheduled((date(2012, 1, 1), date(2013, 1, 1)), (Hold("EUR"), Hold("JPY")))
    run = backtest(switched, history=history, universe=FOUR, rules=[], start="2011-12-30", end="2013-12-31")
    trades = run.trades
    day = trades["at"].dt.tz_convert("America/New_York").dt.date
    opened = trades[(day == date(2013, 1, 1)) | (day == date(2013, 1, 2))]
    assert set(opened["instrument"]) == {"EURUSD", "USDJPY"}
    assert (opened["cost"] > 0).all()
    before = trades[day < date(2013, 1, 1)]
    assert set(before["instrument"]) == {"EURUSD"}


def test_the_choices_are_what_is_traded(history, chosen):
    starts = tuple(w.window.test_start for w in chosen.windows)
    held = tuple(Hold(w.setting["currency"]) for w in chosen.windows if w.setting)
    run = backtest(Scheduled(starts, held), history=history, universe=FOUR, rules=[], start="2011-12-30")
    assert chosen.runs["no_rules"].nav.tolist() == run.nav.tolist()
    assert len({w.setting["currency"] for w in chosen.windows if w.setting}) > 1, "nothing was switched"


def test_the_four_accounts_differ_by_what_they_leave_out(chosen):
    assert [r["kind"] for r in chosen.table()] == ["traded", "no_rules", "routed", "gross", "spot_only"]
    returns = {r["kind"]: r["annual_return"] for r in chosen.table()}
    assert returns["gross"] - returns["no_rules"] == pytest.approx(0.01 * 0.5, rel=0.1)  # 1 % of half of NAV
    assert returns["spot_only"] != returns["gross"]
    assert chosen.table()[0]["label"] == "with rules"


def test_without_rules_there_is_no_second_row_of_them(fixed):
    assert [r["kind"] for r in fixed.table()] == ["traded", "routed", "gross", "spot_only"]
    assert fixed.table()[0]["label"] == "without rules"
    assert fixed.runs["no_rules"].nav.tolist() == fixed.runs["traded"].nav.tolist()


def test_windows_are_slices_of_the_account(fixed):
    returns, trips = [], 0
    for w in fixed.windows:
        own = fixed.returns[(fixed.returns.index >= str(w.window.test_start))]
        own = own[own.index < str(w.window.test_end)].to_numpy()
        returns.extend(own.tolist())
        trips += w.figures["round_trips"]
        assert w.figures["days"] == len(own)
        assert w.figures["annual_return"] == pytest.approx(own.mean() * 260)
        assert w.figures["sharpe"] == pytest.approx(own.mean() / own.std(ddof=1) * math.sqrt(260))
        path = np.r_[1.0, np.cumprod(1 + own)]
        assert w.figures["max_drawdown"] == pytest.approx((path / np.maximum.accumulate(path) - 1).min())
        assert w.figures["sharpe_se"] == pytest.approx(
            statistics.sharpe_standard_error(own, "mertens") * math.sqrt(260)
        )
    assert returns == fixed.returns.tolist()
    assert trips == fixed.table()[0]["round_trips"] > 0


def test_round_trips_close_on_their_days(history):
    run = backtest(Flip(), history=history, universe=FOUR, rules=[], start=START)
    fills = set(run.trades["at"].dt.tz_convert("America/New_York").dt.date)
    assert len(run.round_trip_days) == len(run.round_trips) > 3
    assert {d.item() for d in run.round_trip_days} <= fills
    assert (np.diff(run.round_trip_days).astype(int) >= 0).all()


def test_a_halt_is_shown_and_does_not_silence_the_choices(history, registry):
    result = walk_forward(Hold(size=2.0), history=history, trials=registry, **{**SHAPE, "rules": [Drawdown(0.02)]})
    row, bare, *_ = result.table()
    assert row["halted"]
    assert not bare["halted"]
    last = result.windows[-1]
    assert last.figures["sharpe"] is None
    assert last.figures["reason"] == "the returns have no volatility"
    assert last.without_rules["sharpe"] is not None
    assert "halted it for good" in render([result])


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_window_without_prices_is_shown_and_left_out(history, registry):
    broken = with_gap(history, "2013-03-01", "2013-09-30")
    result = walk_forward(Hold("JPY"), history=broken, trials=registry, **SHAPE)
    assert [w.error is None for w in result.windows] == [True, False, True, True]
    failed = result.windows[1]
    assert "EUR has no price between" in failed.error
    assert (failed.setting, failed.figures) == (None, None)
    days = result.returns.index.year
    assert set(days) == {2012, 2014, 2015}
    assert result.card is None
    alone = backtest(Hold("JPY"), history=broken, universe=FOUR, rules=[], start="2013-12-31")
    assert result.returns[days > 2013].to_numpy() == pytest.approx(alone.returns.to_numpy(), abs=1e-14)
    growth = float(np.prod(1 + result.returns))
    assert result.nav.iloc[-1] == pytest.approx(result.cash * growth, rel=1e-12)
    text = render([result])
    assert "failed: EUR has no price between" in text
    assert "starts afresh" in text
    assert "failed: EUR" in page([result])
    json.dumps(result.to_dict(), allow_nan=False)


def test_candidates_that_cannot_run_through_a_gap_are_run_on_each_window(history, registry):
    broken = with_gap(history, "2010-06-01", "2010-12-15")
    grid = {"currency": ("JPY", "GBP")}
    result = walk_forward(Hold(), grid=grid, history=broken, trials=registry, is_expanding=False, **SHAPE)
    assert [w.error is None for w in result.windows] == [False, True, True, True]
    assert result.pbo is None
    assert "no price" in str(result.pbo_reason)
    window = result.windows[1].window
    alone = backtest(
        Hold("GBP"), history=broken, universe=FOUR, rules=[], start=window.train_start,
        end=window.train_end - pd.Timedelta(days=1),
    )  # fmt: skip
    assert result.windows[1].scores[1] == pytest.approx(statistics.sharpe(alone.returns, 260))


def test_a_strategy_without_a_signal_fails_its_window_only(history, registry):
    result = walk_forward(Breaks(2013), history=history, trials=registry, **SHAPE)
    assert [w.error for w in result.windows] == [None, "no signal today", None, None]


def test_any_other_exception_is_raised(history, registry):
    with pytest.raises(ZeroDivisionError, match="no signal"):
        walk_forward(Breaks(2013, ZeroDivisionError), history=history, trials=registry, **SHAPE)


def test_if_every_window_fails_that_is_an_error(history, registry):
    with pytest.raises(MissingDataError, match="no prices for CHF"):
        walk_forward(Hold(), history=history, trials=registry, **{**SHAPE, "universe": ("EUR", "CHF")})


# --- trials and evidence ---------------------------------------------------------------------------------------------


def test_everything_tried_is_counted_once(history, registry):
    run: dict[str, Any] = {"history": history, "trials": registry, **SHAPE}
    first = walk_forward(Hold(), grid={"size": [0.1, 0.2, 0.3]}, **run)
    assert first.trials == registry.count() == 4  # three candidates, and choosing among them
    assert first.card["trials"] == 4
    assert first.card["dsr"] <= first.card["psr"]
    again = walk_forward(Hold(), grid={"size": [0.1, 0.2, 0.3]}, **run)
    assert again.trials == 4
    wider = walk_forward(Hold(), grid={"size": [0.1, 0.2, 0.3, 0.4]}, **run)
    assert wider.trials == 6  # one more size, and another way of choosing
    assert {t.n for t in registry.trials()} == {1561, 1044}


def test_a_function_is_counted_with_its_setting(history, registry):
    def make(size: float) -> Any:
        def strategy(view: Any, account: Any) -> Mapping[str, float]:
            return {"EUR": size}

        return strategy

    result = walk_forward(make, grid={"size": [0.1, 0.2]}, history=history, trials=registry, **SHAPE)
    assert result.trials == 3


def test_one_configuration_is_one_trial(fixed):
    assert fixed.trials == fixed.card["trials"] == 1
    assert fixed.card["dsr"] is None
    assert "1 trial" in render([fixed])
    assert fixed.pbo is None
    assert "nothing was chosen" in fixed.pbo_reason


def test_rules_make_another_trial(history, registry):
    result = walk_forward(Hold(), history=history, trials=registry, **{**SHAPE, "rules": [Drawdown(0.5)]})
    assert result.trials == 2


def test_the_default_registry_is_used(history, tmp_path, monkeypatch):
    monkeypatch.setenv("FXCARRY_TRIALS", str(tmp_path / "mine.jsonl"))
    walk_forward(Hold(), history=history, **SHAPE)
    assert TrialRegistry(tmp_path / "mine.jsonl").count() == 1


def test_the_card_is_of_the_test_days(chosen):
    row = chosen.table()[0]
    assert chosen.card["sharpe"] == pytest.approx(row["sharpe"], rel=1e-12)
    assert chosen.card["se"] == pytest.approx(row["sharpe_se"], rel=1e-12)
    assert chosen.card["start"] == "2011-12-30"  # where the opening cash stands
    assert chosen.card["days"] == len(chosen.returns) == row["days"]


def test_overfitting_is_that_of_the_candidates_runs(history, chosen):
    run = {"history": history, "universe": FOUR, "rules": [], "start": START}
    runs = [backtest(Hold(c), **run).returns.to_numpy() for c in FOUR]
    assert chosen.pbo == statistics.probability_of_backtest_overfitting(np.stack(runs, 1), 16)


def test_nothing_traded_leaves_no_number_that_is_none(history, registry):
    result = walk_forward(flat, history=history, trials=registry, **SHAPE)
    told = result.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert all(row["sharpe"] is None and row["reason"] for row in told["table"])
    assert told["table"][0]["win_rate"] is None
    assert "n/a, the returns have no volatility" in render([result])
    assert "n/a" in page([result])


def test_what_is_lost_is_lost():
    nav = np.array([100.0, 110.0, 55.0, -5.0, 20.0])
    assert solvent_returns(nav) == pytest.approx([0.1, -0.5, -1.0, 0.0])


def test_a_short_window_has_no_figures_but_a_reason():
    days = np.array(["2020-01-31", "2020-02-03", "2020-02-04"], "datetime64[D]")
    run = Stitched(day=days, nav=np.array([1.0, 1.1, 1.2]), trip_days=days[:0], trips=np.array([]), halted=None)
    figures = run.figures()
    assert (figures["sharpe"], figures["days"]) == (None, 2)
    assert "too few returns: 2" in figures["reason"]


# --- interrupted -----------------------------------------------------------------------------------------------------


def interrupted(after: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_run_goes_on_where_it_stopped(history, tmp_path, monkeypatch):
    ran: list[str] = []

    def counted(strategy: Any, **settings: Any) -> Any:
        ran.append(type(getattr(strategy, "inner", strategy)).__name__)
        return backtest(strategy, **settings)

    monkeypatch.setattr(running, "backtest", counted)

    def run(name: str, **more: Any) -> WalkForwardResult:
        trials = TrialRegistry(tmp_path / f"{name}.jsonl")
        return walk_forward(Hold(), grid={"currency": FOUR}, history=history, trials=trials, **SHAPE, **more)

    whole = run("whole")
    assert ran == ["Hold"] * 4 + ["Scheduled"] * 4
    ran.clear()
    file = tmp_path / "walk.json"
    with pytest.raises(KeyboardInterrupt):
        run("parts", resume=file, progress=interrupted(2))
    assert ran == ["Hold"] * 2
    seen: list[tuple[int, int]] = []
    ran.clear()
    resumed = run("parts", resume=file, progress=lambda *at: seen.append(at))
    assert ran == ["Hold"] * 2 + ["Scheduled"] * 4
    assert resumed.to_dict() == whole.to_dict()
    assert resumed.nav.tolist() == whole.nav.tolist()
    assert seen == [(n, 9) for n in range(1, 10)]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    ran.clear()
    assert run("parts", resume=file).to_dict() == whole.to_dict()
    assert ran == ["Scheduled"] * 4


@attrs.frozen
class Costly:
    """Flips every month, and is interrupted at its ``limit``-th question."""

    asked: ClassVar[list[Any]] = []
    limit: ClassVar[float] = math.inf
    reads_account: ClassVar[bool] = False

    def __call__(self, view: Any, account: Any) -> Mapping[str, float]:
        if len(self.asked) >= Costly.limit:
            raise KeyboardInterrupt
        self.asked.append(view.as_of)
        return {"EUR": 0.3 if view.as_of.month % 2 else -0.3}


def test_within_a_run_it_goes_on_from_the_window_that_was_not_finished(history, tmp_path, registry, monkeypatch):
    """One configuration, four test years: interrupted in the third, the decisions of two are not asked again."""
    from fxcarry.walkforward.saved import Saved

    monkeypatch.setattr(Saved, "seconds", 0.0)
    run: dict[str, Any] = {"history": history, "trials": registry, "rules": [], **SHAPE}
    monkeypatch.setattr(Costly, "asked", [])
    whole = walk_forward(Costly(), **run)
    count = len(Costly.asked) // 4  # four accounts: as traded, cheapest pairs, no mark-up, spot only
    assert len(whole.windows) == 4
    assert count >= 48
    monkeypatch.setattr(Costly, "asked", [])
    monkeypatch.setattr(Costly, "limit", 30)
    with pytest.raises(KeyboardInterrupt):
        walk_forward(Costly(), resume=tmp_path / "walk.json", **run)
    monkeypatch.setattr(Costly, "asked", [])
    monkeypatch.setattr(Costly, "limit", math.inf)
    resumed = walk_forward(Costly(), resume=tmp_path / "walk.json", **run)
    # Of one account, from December 2011 to January 2014: kept with the first decision after the second year's end.
    assert len(Costly.asked) == 4 * count - 26
    assert resumed.to_dict() == whole.to_dict()
    assert resumed.nav.tolist() == whole.nav.tolist()


def test_a_failed_candidate_is_remembered_too(history, tmp_path, registry):
    broken = with_gap(history, "2010-06-01", "2010-12-15")
    run: dict[str, Any] = {"history": broken, "trials": registry, "is_expanding": False, **SHAPE}
    file = tmp_path / "walk.json"
    grid = {"currency": ("JPY", "GBP")}
    one = walk_forward(Hold(), grid=grid, resume=file, **run)
    assert walk_forward(Hold(), grid=grid, resume=file, **run).to_dict() == one.to_dict()


@pytest.fixture(scope="module")
def kept(history: MarketHistory, tmp_path_factory) -> bytes:
    """The file of a run over EUR and JPY."""
    folder = tmp_path_factory.mktemp("kept")
    trials, grid = TrialRegistry(folder / "trials.jsonl"), {"currency": ("EUR", "JPY")}
    with pytest.raises(KeyboardInterrupt):
        walk_forward(
            Hold(), grid=grid, history=history, trials=trials, resume=folder / "walk.json", progress=interrupted(2),
            **SHAPE,
        )  # fmt: skip
    return (folder / "walk.json").read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"markup": 0.02},
        {"grid": {"currency": ("EUR", "GBP")}},
        {"end": "2015-06-30"},
        {"universe": ("EUR", "JPY", "GBP")},
        {"rebalance": "weekly"},
        {"data": True},
        {"ages": True},
    ],
    ids=lambda c: next(iter(c)),
)
def test_the_file_of_another_run_is_refused(history, kept, tmp_path, registry, changes):
    file = tmp_path / "walk.json"
    file.write_bytes(kept)
    changed = {"grid": {"currency": ("EUR", "JPY")}, "history": history, "trials": registry, **SHAPE, **changes}
    if changed.pop("data", False):
        spot = history.spot.copy()
        spot[-1, 0] *= 1.0001
        changed["history"] = attrs.evolve(history, spot=spot)
    if changed.pop("ages", False):  # the same rates, that may be used for longer than any of the data
        ages = {c: attrs.evolve(r, until=r.as_of + np.timedelta64(36500, "D")) for c, r in history.rates.items()}
        changed["history"] = attrs.evolve(history, rates=ages)
    with pytest.raises(ConfigError, match="belongs to another run"):
        walk_forward(Hold(), resume=file, **changed)
    assert file.read_bytes() == kept


def test_other_windows_may_use_the_same_file(history, tmp_path, registry):
    """What is kept are runs by their dates: those over the whole period, which windows do not change, and others."""
    broken = with_gap(history, "2010-06-01", "2010-12-15")
    run: dict[str, Any] = {"grid": {"currency": ("JPY", "GBP")}, "history": broken, "trials": registry, **SHAPE}
    run["is_expanding"] = False
    walk_forward(Hold(), resume=tmp_path / "walk.json", **run)
    longer = run | {"train_years": 3, "end": "2015-12-31"}
    again = walk_forward(Hold(), resume=str(tmp_path / "walk.json"), **longer)
    fresh = walk_forward(Hold(), **longer)
    assert [w.scores for w in again.windows] == [w.scores for w in fresh.windows]
    assert [w.error is None for w in again.windows] == [False, True, True]


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"key": "x"}', '{"key": "x", "tracks": 1}'])
def test_what_is_no_such_file_is_refused(history, tmp_path, registry, text):
    file = tmp_path / "walk.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"walk\.json is not a file"):
        walk_forward(Hold(), grid={"size": [0.1, 0.2]}, history=history, trials=registry, resume=file, **SHAPE)
    assert file.read_text() == text


def test_a_file_that_cannot_be_written_is_named(history, tmp_path, registry):
    (tmp_path / "file").write_text("")
    run: dict[str, Any] = {"grid": {"size": [0.1, 0.2]}, "history": history, "trials": registry, **SHAPE}
    with pytest.raises(ConfigError, match="cannot be"):
        walk_forward(Hold(), resume=tmp_path / "file" / "walk.json", **run)
    with pytest.raises(ConfigError, match="cannot be read"):
        walk_forward(Hold(), resume=tmp_path, **run)


@pytest.mark.parametrize(
    ("strategy", "score"), [(flat, running.net_sharpe), (Hold(), lambda r: 0.0)], ids=["strategy", "score"]
)
def test_what_may_have_changed_since_cannot_be_resumed(history, tmp_path, registry, strategy, score):
    run: dict[str, Any] = {"history": history, "trials": registry, "resume": tmp_path / "walk.json", **SHAPE}
    with pytest.raises(ConfigError, match="cannot be known whether it has changed"):
        walk_forward(strategy, score=score, **run)


def test_a_class_without_source_cannot_be_resumed(history, tmp_path, registry):
    made = attrs.make_class("Made", {"k": attrs.field(default=0)}, bases=(Hold,))
    with pytest.raises(ConfigError, match="source of Made"):
        walk_forward(made(k=1), history=history, trials=registry, resume=tmp_path / "walk.json", **SHAPE)


# --- comparing -------------------------------------------------------------------------------------------------------


def test_equal_volatility_by_hand():
    days = pd.DatetimeIndex(["2010-01-04", "2010-01-05", "2011-01-03", "2011-01-04", "2012-01-02", "2013-01-01"])
    returns = pd.Series([0.01, -0.01, 0.02, -0.02, 0.03, 0.04], index=days)
    scaled = at_equal_volatility(returns, 0.08)
    before = math.sqrt((2 * 0.01**2 + 2 * 0.02**2) / 3 * 260)  # mean zero, four days
    assert scaled.index.year.tolist() == [2012, 2013]
    assert scaled.iloc[0] == pytest.approx(0.03 * 0.08 / before)
    assert scaled.iloc[1] == pytest.approx(0.04 * 0.08 / (np.std(returns[:5], ddof=1) * math.sqrt(260)))


def test_equal_volatility_of_nothing_is_nothing():
    days = pd.bdate_range("2010-01-04", periods=800)
    assert not len(at_equal_volatility(pd.Series(0.0, index=days)))
    with pytest.raises(ConfigError, match="target 0"):
        at_equal_volatility(pd.Series(0.01, index=days), 0)


def test_a_comparison_is_the_paired_bootstrap(fixed, chosen):
    [row] = compare([fixed, chosen])
    expected = statistics.sharpe_difference(chosen.returns, fixed.returns, 260, 21)
    assert row["difference"] == expected.difference
    assert (row["low"], row["high"], row["p_value"]) == (expected.low, expected.high, expected.p_value)
    assert (row["strategy"], row["against"]) == ("Hold", "Flip")
    one, other = at_equal_volatility(chosen.returns), at_equal_volatility(fixed.returns)
    assert row["equal"]["days"] == len(one) == len(other) == int((chosen.returns.index.year >= 2014).sum())
    assert row["equal"]["difference"] == pytest.approx(statistics.sharpe(one, 260) - statistics.sharpe(other, 260))
    assert "Hold less Flip" in render([fixed, chosen])


def test_the_same_twice_differs_by_nothing(fixed):
    [row] = compare([fixed, fixed])
    assert row["difference"] == 0
    assert row["p_value"] == 1


def test_what_cannot_be_compared_is_refused(fixed, history, registry):
    with pytest.raises(ConfigError, match="1 result"):
        compare([fixed])
    euro = walk_forward(
        Hold("GBP"), history=history, trials=registry, **{**SHAPE, "universe": ("GBP", "JPY")}, account_currency="EUR"
    )
    with pytest.raises(ConfigError, match="EUR and USD"):
        compare([fixed, euro])
    assert "less Flip" not in render([fixed, euro])
    nothing = walk_forward(flat, history=history, trials=registry, **SHAPE)
    [row] = compare([fixed, nothing])
    assert row["difference"] is None
    assert row["reason"] == "one of the two never moved"
    json.dumps(row, allow_nan=False)


# --- showing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 140])
def test_text_fits_its_width_and_a_sharpe_is_never_bare(fixed, chosen, width):
    text = render([fixed, chosen], width)
    assert max(map(len, text.splitlines())) <= width
    for result in (fixed, chosen):
        for row in result.table():
            assert f"{row['sharpe']:.2f} ± {row['sharpe_se']:.2f}" in text
        for window in result.windows:
            assert f"{window.window.test_start} {window.window.test_end}" in text
    assert f"currency={chosen.windows[0].setting['currency']}" in text
    assert "As the best of 6 trials" in text


def test_text_needs_results_and_room(fixed):
    with pytest.raises(ConfigError, match="no result"):
        render([])
    with pytest.raises(ConfigError, match="no result"):
        page([])
    with pytest.raises(ConfigError, match="width is 79"):
        render([fixed], 79)


def test_the_page_stands_alone(fixed, chosen, tmp_path):
    path = write_html([fixed, chosen], tmp_path / "new" / "walk.html")
    text = path.read_text("utf-8")
    assert not re.search(r"<script|<link|<img|https?://|url\(", text)
    assert text.count("<svg") == 5  # both together, then growth and drawdown of each
    assert "prefers-color-scheme: dark" in text
    assert text.count("<h1>") == 1
    for window in chosen.windows:
        assert f"{window.window.test_start} to {window.window.test_end}" in text
    assert "nan" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL).lower().split()
    single = write_html([fixed], tmp_path / "one.html").read_text("utf-8")
    assert "Side by side" not in single
    assert "Sharpe, no rules" not in single


def test_a_name_is_somebody_elses_input(history, registry):
    result = walk_forward(Hold(), history=history, trials=registry, name="<b>x\x1b[1m", **SHAPE)
    assert "&lt;b&gt;x?[1m" in page([result])
    assert "\x1b" not in render([result])


def test_a_setting_that_is_not_plain_is_shown_by_its_repr(fixed):
    window = fixed.windows[0].window
    told = WindowResult(window=window, setting={"a": (1, 2), "b": np.int64(3), "c": math.inf}, scores=()).to_dict()
    assert told["setting"] == {"a": "(1, 2)", "b": 3, "c": "inf"}
    assert told["sharpe"] is None


# --- by name and from a configuration --------------------------------------------------------------------------------


def test_a_strategy_by_name_with_a_grid(history, registry):
    result = walk_forward("baseline", grid={"k": [1, 2]}, history=history, trials=registry, **SHAPE)
    assert result.strategy == "baseline"
    assert [dict(c) for c in result.candidates] == [{"k": 1}, {"k": 2}]


def test_a_configuration_gives_what_is_not_said(history, registry, tmp_path):
    path = tmp_path / "fxcarry.toml"
    path.write_text('universe = ["EUR", "JPY", "GBP"]\nmarkup = 0.03\ncash = 5000\nrebalance = "weekly"\n')
    result = walk_forward(
        Sign(),
        config=path,
        history=history,
        trials=registry,
        train_years=2,
        start=START,
        rules=[],
        resume=tmp_path / "walk.json",
    )
    assert result.universe == ("EUR", "JPY", "GBP")
    assert (result.markup, result.cash, result.rebalance) == (0.03, 5000, "weekly")
    assert Path(registry.path).exists()


@pytest.mark.ecb
def test_the_default_data_are_those_of_a_backtest(registry):
    result = walk_forward("baseline", rules=[], end="2005-12-30", train_years=6, trials=registry)
    plain = backtest("baseline", rules=[], start="2004-12-31", end="2005-12-30")
    assert result.nav.tolist() == plain.nav.tolist()
