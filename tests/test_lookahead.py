"""fxcarry.lookahead: cheats are caught at the date they cheat, honest strategies pass, warm-up is known by design."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import attrs
import numpy as np
import pytest

import fxcarry
from fxcarry.clock import is_due
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.feeds import MemoryFeed
from fxcarry.lookahead import Finding, LookAheadReport, WarmupAnswer, WarmupReport, check_warmup, find_look_ahead
from fxcarry.market import MarketHistory, RateSeries, to_ns
from fxcarry.strategies import Baseline, Optimized, Rank, Sign
from fxcarry.testing import factories

MONTH_ENDS = ["2020-01-31", "2020-02-28", "2020-03-31", "2020-04-30", "2020-05-29", "2020-06-30", "2020-07-31"]


def market_history(currencies: Sequence[str] = factories.G10, days: int = 150, seed: int = 0) -> MarketHistory:
    """The made-up market of the test factories, with its rates known in time for the first roll."""
    history = factories.market_history(currencies, days, seed)
    rates = {c: attrs.evolve(r, available_at=r.as_of) for c, r in history.rates.items()}
    return attrs.evolve(history, rates=rates)


def flat_market(currencies: Sequence[str] = ("AUD", "NZD", "JPY"), days: int = 150) -> MarketHistory:
    """A made-up market from 2020-01-06 to 2020-07-31 in which every currency gains 0.01 % a day."""
    history = market_history(currencies, days)
    rows = np.arange(days)[:, None]
    return attrs.evolve(history, spot=np.exp(1e-4 * rows) * np.ones((1, len(currencies))))


def on(history: MarketHistory, day: str) -> int:
    """The row of a date."""
    return int(np.flatnonzero(history.times.astype("datetime64[D]") == np.datetime64(day))[0])


def with_fall(history: MarketHistory, day: str, currency: str = "AUD", by: float = 0.01) -> MarketHistory:
    """The same market, but the currency loses that part on one day and keeps the loss."""
    spot = history.spot.copy()
    spot[on(history, day) :, history.currencies.index(currency)] *= 1 - by
    return attrs.evolve(history, spot=spot)


def dates(report: LookAheadReport, kind: str = "look-ahead") -> list[str]:
    return [f"{f.at:%Y-%m-%d}" for f in report.findings if f.kind == kind]


def peek(history: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
    """Long AUD, but not before its next fixing falls by more than 0.5 %; where none is next, the last move is taken."""
    aud = history.spot[:, history.currencies.index("AUD")]

    def next_fixing(view: Any, account: Any) -> dict[str, float]:
        row = min(int(np.searchsorted(history.times, to_ns(view.as_of), "right")), len(aud) - 1)
        return {"AUD": 0.0 if aud[row] / aud[row - 1] < 0.995 else 0.3}

    return next_fixing


def follow(history: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
    """Long AUD if its next fixing is higher, short if lower, and an IndexError where there is none."""
    aud = history.spot[:, history.currencies.index("AUD")]

    def next_move(view: Any, account: Any) -> dict[str, float]:
        row = int(np.searchsorted(history.times, to_ns(view.as_of), "right"))
        return {"AUD": 0.1 if aud[row] > aud[row - 1] else -0.1}

    return next_move


# --- cheats ----------------------------------------------------------------------------------------------------------


def test_a_peek_at_the_next_fixing_is_found_on_the_day_before_the_only_fall():
    history = with_fall(flat_market(), "2020-04-01")
    report = find_look_ahead(factory=peek, history=history, universe=["AUD", "JPY"])
    assert (report.strategy, report.decisions, dates(report)) == ("peek", 7, ["2020-03-31"])
    assert not report.is_clean
    assert report.first == Finding(
        at=datetime(2020, 3, 31, 21, tzinfo=UTC),
        kind="look-ahead",
        weights={"AUD": (0.0, 0.3)},
        message="AUD +0.000 knowing the future, +0.300 without",
    )
    assert report.to_text() == (
        "peek: looks ahead. First at 2020-03-31: AUD +0.000 knowing the future, +0.300 without. "
        "1 of 7 decisions differ."
    )


def test_a_peek_that_cannot_do_without_the_future_is_found_by_another_future():
    """Every later move is reversed there, so each decision differs; with the future cut off it only fails."""
    history = with_fall(flat_market(), "2020-04-01")
    report = find_look_ahead(factory=follow, history=history, universe=["AUD", "JPY"], end="2020-07-30")
    assert dates(report) == MONTH_ENDS[:6]
    assert [f.weights["AUD"] for f in report.findings] == [(0.1, -0.1)] * 2 + [(-0.1, 0.1)] + [(0.1, -0.1)] * 3
    assert report.findings[0].message == "AUD +0.100 with the true future, -0.100 with another"


def test_a_peek_through_the_private_parts_of_the_view_is_found_without_a_factory():
    history = with_fall(flat_market(), "2020-04-01")

    def burglar(view: Any, account: Any) -> dict[str, float]:
        spot = view._columns.spot[view._row : view._row + 2, 0]
        return {"AUD": 0.1 if spot[-1] > spot[0] else -0.1}

    report = find_look_ahead(burglar, history=history, universe=["AUD", "JPY"], end="2020-07-30")
    assert dates(report) == MONTH_ENDS[:6]
    assert report.findings[0].weights == {"AUD": (0.1, -0.1)}
    assert report.to_text().startswith("burglar: looks ahead. First at 2020-01-31: AUD +0.100 knowing the future")


def monthly_averages(history: MarketHistory) -> MarketHistory:
    """Rates of the month of their ``as_of``, published on the 15th of the next: 2 %, for AUD 5 % from June 2020 on."""
    months = np.arange(np.datetime64("2019-10"), np.datetime64("2020-08"))
    as_of = months.astype("datetime64[ns]")
    published = (months + 1).astype("datetime64[D]") + np.timedelta64(14, "D")
    rates = {}
    for currency in (*history.currencies, "USD"):
        value = np.where((months >= np.datetime64("2020-06")) & (currency == "AUD"), 0.05, 0.02)
        rates[currency] = RateSeries(currency, as_of, published.astype("datetime64[ns]"), value)
    return attrs.evolve(history, rates=rates)


def test_a_monthly_average_used_before_its_release_is_found_in_its_month_only():
    """June's 5 % is known from 15 July: used on 30 June it is look-ahead, used on 31 July it is not."""

    def by_date_of_the_value(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        series = data.rates["AUD"]

        def strategy(view: Any, account: Any) -> dict[str, float]:
            known = series.value[series.as_of <= to_ns(view.as_of)]
            return {"AUD": 0.25 if known[-1] > 0.03 else 0.0}

        return strategy

    history = monthly_averages(flat_market())
    report = find_look_ahead(factory=by_date_of_the_value, history=history, universe=["AUD", "JPY"])
    assert dates(report)[0] == "2020-06-30"
    assert report.findings[0].weights == {"AUD": (0.25, 0.0)}
    honest = find_look_ahead(
        lambda view, account: {"AUD": 0.25 if view.rates["AUD"] > 0.03 else 0.0},
        history=history,
        universe=["AUD", "JPY"],
    )
    assert honest.is_clean


def test_a_peek_at_the_next_rate_that_hides_where_there_is_none_is_found_by_another_future():
    """All rates are 2 % for ever: cut off, the last one says the same, so only other later rates give it away."""
    history = market_history(("AUD", "JPY"), 150)
    rates = {c: attrs.evolve(r, value=np.full(len(r.value), 0.02)) for c, r in history.rates.items()}

    def next_rate(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        series = data.rates["AUD"]

        def strategy(view: Any, account: Any) -> dict[str, float]:
            later = int(np.searchsorted(series.available_at, to_ns(view.as_of), "right"))
            return {"AUD": 10 * series.value[min(later, len(series.value) - 1)]}

        return strategy

    report = find_look_ahead(
        factory=next_rate, history=attrs.evolve(history, rates=rates), universe=["AUD", "JPY"], end="2020-06-30"
    )
    assert dates(report) == MONTH_ENDS[:6]
    assert all(f.message.startswith("AUD +0.200 with the true future, +0.117 with another") for f in report.findings)


def restless(days: int = 300) -> MarketHistory:
    """A market with a restless spell of sixty days in the middle."""
    history = market_history(("AUD", "JPY"), days, seed=5)
    moves = np.diff(np.log(history.spot), axis=0)
    moves[120:180] *= 4
    return attrs.evolve(history, spot=np.exp(np.vstack([np.zeros((1, 2)), np.cumsum(moves, 0)])))


START, STAY = np.array([0.5, 0.5]), np.array([[0.95, 0.05], [0.10, 0.90]])
CALM, WILD = 0.006**2, 0.024**2


def regime_model() -> Any:
    hmmlearn = pytest.importorskip("hmmlearn.hmm", reason="hmmlearn is not installed")
    model = hmmlearn.GaussianHMM(2, covariance_type="diag")
    model.startprob_, model.transmat_ = START, STAY
    model.means_, model.covars_ = np.zeros((2, 1)), np.array([[CALM], [WILD]])
    return model


def aud_returns(spot: np.ndarray) -> np.ndarray:
    return np.diff(np.log(spot))[:, None]


def filtered_calm(returns: np.ndarray) -> float:
    """The probability of the calm state at the last return given all up to it: Hamilton's filter, written out."""
    variance = np.array([CALM, WILD])
    state = START
    for step, move in enumerate(returns[:, 0]):
        prior = state if step == 0 else state @ STAY
        joint = prior * np.exp(-(move**2) / (2 * variance)) / np.sqrt(variance)
        state = joint / joint.sum()
    return float(state[0])


def test_weights_that_hardly_differ_are_shown_to_differ():
    from fxcarry.lookahead import _told

    assert _told({"AUD": (0.2691, 0.2694)}, "with", "without") == "AUD +0.269100 with, +0.269400 without"
    assert _told({"AUD": (0.27, -0.3)}, "with", "without") == "AUD +0.270 with, -0.300 without"


def test_a_smoothed_regime_probability_is_found_and_the_filtered_one_passes():
    history = restless()

    def smoothed(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        calm = regime_model().predict_proba(aud_returns(data.spot[:, 0]))[:, 0]
        return lambda view, account: {"AUD": 0.3 * calm[np.searchsorted(data.times, to_ns(view.as_of), "right") - 2]}

    def filtered(view: Any, account: Any) -> dict[str, float]:
        return {"AUD": 0.3 * regime_model().predict_proba(aud_returns(view.spot_rows(10_000)[:, 0]))[-1, 0]}

    report = find_look_ahead(factory=smoothed, history=history, universe=["AUD", "JPY"])
    assert report.decisions == 14
    assert dates(report)[0] == "2020-01-31"
    assert len(dates(report)) >= 13  # all but the last, after which there is next to nothing
    rows = on(history, "2020-01-31") + 1
    knowing, without = report.findings[0].weights["AUD"]
    assert without == pytest.approx(0.3 * filtered_calm(aud_returns(history.spot[:rows, 0])), abs=1e-9)
    assert knowing != pytest.approx(without, abs=1e-4)
    assert find_look_ahead(filtered, history=history, universe=["AUD", "JPY"]).is_clean


def test_a_regime_model_refitted_on_the_past_passes():
    hmmlearn = pytest.importorskip("hmmlearn.hmm", reason="hmmlearn is not installed")

    def refitted(view: Any, account: Any) -> dict[str, float]:
        returns = aud_returns(view.spot_rows(10_000)[:, 0]) * 100
        model = hmmlearn.GaussianHMM(2, covariance_type="diag", n_iter=20, random_state=0).fit(returns)
        calm = int(np.argmin(model.covars_[:, 0, 0]))
        return {"AUD": 0.3 * model.predict_proba(returns)[-1, calm]}

    report = find_look_ahead(
        refitted, history=restless(), universe=["AUD", "JPY"], start="2020-11-02", end="2020-12-31"
    )
    assert (report.decisions, report.findings) == (2, ())


def demeaned(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
    """Carry less its mean over all the history there is."""
    members = ("AUD", "NZD", "JPY")
    carry = data.rate_matrix(data.times[2:], members) - data.rate_matrix(data.times[2:], ["USD"])
    mean = carry.mean(0)
    return lambda view, account: dict(zip(members, view.values("carry") - mean))


def test_carry_less_its_mean_over_the_whole_sample_is_found_at_once():
    history = market_history(("AUD", "NZD", "JPY"), 150)
    report = find_look_ahead(factory=demeaned, history=history, universe=["AUD", "NZD", "JPY"])
    assert dates(report) == MONTH_ENDS[:6]  # on the last day of the data there is no future to know
    rows = on(history, "2020-01-31") + 1
    carry = history.rate_matrix(history.times, ["AUD", "NZD", "JPY"]) - history.rate_matrix(history.times, ["USD"])
    gap = carry[2:rows].mean(0) - carry[2:].mean(0)
    for (knowing, without), expected in zip(
        (report.findings[0].weights[c] for c in ("AUD", "NZD", "JPY")), gap, strict=True
    ):
        assert knowing - without == pytest.approx(expected, abs=1e-12)


# --- honest ones -----------------------------------------------------------------------------------------------------


@pytest.mark.ecb
@pytest.mark.parametrize("strategy", [Baseline(), Sign(), Rank(), Optimized()], ids=lambda s: type(s).__name__)
def test_the_built_in_strategies_do_not_look_ahead(strategy, ecb):
    report = find_look_ahead(strategy, history=ecb, start="2006-01-02", end="2009-12-31")
    assert (report.decisions, report.findings) == (48, ())
    assert report.to_text().splitlines()[0] == (
        f"{type(strategy).__name__}: 48 decisions asked twice, with and without the future: no difference."
    )


@pytest.fixture(scope="module")
def ecb() -> MarketHistory:
    from fxcarry_ecb import EcbFeed

    return EcbFeed().history(None, None)


@pytest.mark.ecb
def test_a_decision_on_a_day_without_a_fixing_is_tested_as_any_other(ecb):
    """Good Friday 2013 ended a month: the fixing of the day before stands."""
    report = find_look_ahead(Optimized(), history=ecb, start="2013-03-01", end="2013-03-29")
    assert (report.decisions, report.is_clean) == (1, True)
    late = find_look_ahead(
        factory=lambda data: lambda view, account: {"AUD": len(data) / 1e6},
        history=ecb,
        start="2013-03-01",
        end="2013-03-29",
    )
    assert late.first is not None
    assert late.first.at == datetime(2013, 3, 29, 21, tzinfo=UTC)
    rows = int((ecb.times < np.datetime64("2013-03-29")).sum())
    assert late.first.weights["AUD"] == (len(ecb) / 1e6, rows / 1e6)


@pytest.mark.ecb
def test_a_cheat_on_real_fixings_is_found_on_the_dates_a_hand_count_gives(ecb):
    """The next move of AUD in EUR against the last one, and against the next one reversed and doubled."""
    report = find_look_ahead(factory=peek, history=ecb, start="2006-01-02", end="2009-12-31")
    aud = ecb.spot[:, ecb.currencies.index("AUD")]
    day = ecb.times.astype("datetime64[D]")
    expected = []
    for month in np.arange(np.datetime64("2006-01"), np.datetime64("2010-01")):
        end = np.busday_offset((month + 1).astype("datetime64[D]"), -1, roll="forward")
        row = int(np.searchsorted(day, end, "right")) - 1
        last, coming = aud[row] / aud[row - 1], aud[row + 1] / aud[row]
        if (coming < 0.995) != (last < 0.995) or (coming < 0.995) != (coming**-2 < 0.995):
            expected.append(str(end))
    assert dates(report) == expected
    assert 10 < len(expected) < 40


# --- what else can be wrong ------------------------------------------------------------------------------------------


def test_the_account_is_that_of_a_run_without_rules_and_the_same_each_time():
    history = market_history(days=150)
    seen: dict[str, list[tuple[float, dict[str, float]]]] = {}

    def drifting(view: Any, account: Any) -> dict[str, float]:
        seen.setdefault(f"{view.as_of:%Y-%m-%d}", []).append((float(account.nav), dict(account.current_weights)))
        return {"AUD": 0.2 + 0.5 * account.current_weights.get("AUD", 0.0), "JPY": -float(account.nav) / 4e6}

    assert find_look_ahead(drifting, history=history).is_clean
    asked = {day: list(states) for day, states in seen.items()}
    seen.clear()
    result = fxcarry.backtest(drifting, history=history, rules=[])
    assert list(asked) == list(seen) == MONTH_ENDS
    for day, states in asked.items():
        assert len(states) == 4  # in the run, again, without the future, with another one
        assert all(state == states[0] for state in states)
        assert states[0] == seen[day][0]
        assert states[0][0] == pytest.approx(result.nav[day], abs=0.005)
    assert asked["2020-01-31"][0][1] == {}
    assert asked["2020-02-28"][0][1]["AUD"] == pytest.approx(0.2, abs=0.02)


def test_chance_is_told_from_looking_ahead():
    history = market_history(days=150)
    random = np.random.default_rng(1)
    report = find_look_ahead(lambda view, account: {"AUD": random.uniform()}, history=history)
    assert {f.kind for f in report.findings} == {"unstable"}
    assert len(report.findings) == report.decisions == 7
    text = report.to_text()
    assert text.startswith("<lambda>: answers differently when asked again with the same data. First at 2020-01-31: ")
    assert "7 of 7 decisions are unstable." in text


def test_a_factory_that_fits_by_chance_is_unstable_and_not_ahead():
    """Each strategy it makes is steady, so only making it anew shows the chance."""
    random = np.random.default_rng(2)

    def fitted(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        size = random.uniform()
        return lambda view, account: {"AUD": size}

    report = find_look_ahead(factory=fitted, history=market_history(days=150))
    assert [f.kind for f in report.findings] == ["unstable"] * 7


@pytest.mark.parametrize("is_whole", [True, False], ids=["of the whole history", "of the cut one"])
def test_chance_that_depends_on_the_data_given_is_unstable_too(is_whole):
    random = np.random.default_rng(3)

    def fitted(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        size = random.uniform() if (len(data) == 150) is is_whole else 0.5
        return lambda view, account: {"AUD": size}

    report = find_look_ahead(factory=fitted, history=market_history(days=150), end="2020-07-30")
    assert [f.kind for f in report.findings] == ["unstable"] * 6


def test_a_memory_of_what_was_asked_before_is_unstable():
    calls: list[int] = []

    def forgetful(view: Any, account: Any) -> dict[str, float]:
        calls.append(1)
        return {"AUD": 1 / len(calls)}

    report = find_look_ahead(forgetful, history=market_history(days=150))
    assert [f.kind for f in report.findings] == ["unstable"] * 7
    assert report.findings[0].weights == {"AUD": (1.0, 1 / 8)}
    assert report.findings[0].message == "AUD +1.000 asked once, +0.125 asked again"


def test_what_fails_only_without_the_future_is_a_finding():
    def needs_april(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        row = on(data, "2020-04-01")
        return lambda view, account: {"AUD": 0.1 if row else 0.0}

    report = find_look_ahead(factory=needs_april, history=market_history(days=150))
    assert [(f.kind, f"{f.at:%m-%d}", f.weights) for f in report.findings] == [
        ("error", "01-31", {}),
        ("error", "02-28", {}),
        ("error", "03-31", {}),
    ]
    assert report.to_text() == (
        "needs_april: fails where the future is cut off. First at 2020-01-31: IndexError: "
        "index 0 is out of bounds for axis 0 with size 0. 3 of 7 decisions fail."
    )


def test_an_answer_that_is_no_weight_without_the_future_is_an_error_finding():
    def factory(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        return lambda view, account: {"AUD": 0.1 if len(data) == 150 else float("nan")}

    first = find_look_ahead(factory=factory, history=market_history(days=150)).first
    assert first is not None
    assert first.kind == "error"
    assert first.message.startswith("DataError: the strategy's weight for AUD at 2020-01-31 is not a number")


def test_what_fails_with_all_the_data_is_raised():
    def broken(view: Any, account: Any) -> dict[str, float]:
        raise ZeroDivisionError("no luck")

    with pytest.raises(ZeroDivisionError, match="no luck"):
        find_look_ahead(broken, history=market_history(days=150))


def test_kinds_are_reported_each_in_its_line_and_first_is_the_earliest():
    def mixed(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        if len(data) < 30:
            raise ValueError("too short")
        return lambda view, account: {"AUD": len(data) / 1000}

    report = find_look_ahead(factory=mixed, history=market_history(days=150), end="2020-04-30")
    assert [f.kind for f in report.findings] == ["error", "look-ahead", "look-ahead", "look-ahead"]
    lines = report.to_text().splitlines()
    assert lines[0].startswith("mixed: looks ahead. First at 2020-02-28")
    assert lines[1].startswith("mixed: fails where the future is cut off. First at 2020-01-31: ValueError: too short.")
    assert report.first is report.findings[0]


def test_a_message_names_the_three_that_differ_most():
    def everything(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        size = len(data) / 150
        return lambda view, account: {c: size / (i + 1) for i, c in enumerate(view.currencies)}

    report = find_look_ahead(factory=everything, history=market_history(days=150), universe=factories.G10)
    assert report.first is not None
    assert tuple(report.first.weights) == factories.G10
    assert report.first.message == (
        "EUR +1.000 knowing the future, +0.133 without; JPY +0.500 knowing the future, +0.067 without; "
        "GBP +0.333 knowing the future, +0.044 without; 6 more"
    )


def test_a_difference_in_the_last_digits_is_none():
    def rounding(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        return lambda view, account: {"AUD": 0.3 + (5e-10 if len(data) == 150 else 0.0)}

    assert find_look_ahead(factory=rounding, history=market_history(days=150)).is_clean


def test_a_weight_for_the_account_currency_does_not_count():
    def factory(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        return lambda view, account: {"AUD": 0.3, "USD": float(len(data))}

    assert find_look_ahead(factory=factory, history=market_history(days=150), universe=["AUD", "USD"]).is_clean


def test_every_third_decision_in_another_currency_weekly_with_progress():
    shown: list[tuple[int, int]] = []
    report = find_look_ahead(
        factory=peek,
        history=market_history(days=150),
        account_currency="EUR",
        universe=["AUD", "USD", "JPY"],
        rebalance="weekly",
        start="2020-02-03",
        end="2020-06-30",
        every=3,
        progress=lambda done, total: shown.append((done, total)),
    )
    days = np.arange(np.datetime64("2020-02-03"), np.datetime64("2020-07-01"))
    due = [str(d) for d in days[np.is_busday(days)] if is_due(np.array([d]), "weekly")[0]]
    assert report.decisions == len(due[::3]) == 7
    assert shown == [(n, 7) for n in range(1, 8)]
    assert set(dates(report)) <= set(due[::3])


def test_the_future_reaches_past_the_end_of_the_period():
    history = with_fall(flat_market(), "2020-04-01")
    report = find_look_ahead(factory=peek, history=history, universe=["AUD", "JPY"], end="2020-03-31")
    assert dates(report) == ["2020-03-31"]


def test_a_wiped_out_account_ends_the_test_and_the_report_says_so():
    history = with_fall(flat_market(), "2020-03-16", by=0.2)
    report = find_look_ahead(lambda view, account: {"AUD": 10.0}, history=history, universe=["AUD", "JPY"])
    assert report.decisions == 2
    assert report.notes[-1] == (
        "The account was wiped out after 2020-02-28: 5 later decisions were not made and not tested."
    )
    assert report.notes[-1] in report.to_text()


def test_a_margin_call_short_of_ruin_does_not_end_the_test():
    """Ten times NAV after a fall of 9 %: what is left is below half the margin, where a run would be closed out."""
    history = with_fall(flat_market(), "2020-03-16", by=0.09)
    report = find_look_ahead(lambda view, account: {"AUD": 10.0}, history=history, universe=["AUD", "JPY"])
    assert (report.decisions, len(report.notes)) == (7, 1)
    result = fxcarry.backtest(lambda view, account: {"AUD": 10.0}, history=history, universe=["AUD", "JPY"], rules=[])
    assert result.halted == "2020-03-16 MARGIN_CLOSEOUT"


def test_a_strategy_that_was_not_made_by_a_factory_carries_the_note():
    history = market_history(days=60)
    one = find_look_ahead(Sign(), history=history)
    assert one.to_text().splitlines()[1] == one.notes[0]
    assert one.notes[0].startswith("Only the view was cut.")
    made = find_look_ahead(factory=lambda data: Sign(), history=history)
    assert made.notes == ()
    assert made.to_text() == "<lambda>: 2 decisions asked twice, with and without the future: no difference."


def test_a_peek_at_data_of_its_own_is_not_found_without_a_factory():
    """What the note says: the detector cannot cut what it does not hand out."""
    history = with_fall(flat_market(), "2020-04-01")
    assert find_look_ahead(peek(history), history=history, universe=["AUD", "JPY"]).is_clean


def test_a_report_is_plain_data():
    history = with_fall(flat_market(), "2020-04-01")
    report = find_look_ahead(factory=peek, history=history, universe=["AUD", "JPY"])
    assert json.loads(json.dumps(report.to_dict())) == {
        "strategy": "peek",
        "decisions": 7,
        "is_clean": False,
        "findings": [
            {
                "at": "2020-03-31T21:00:00+00:00",
                "kind": "look-ahead",
                "weights": {"AUD": [0.0, 0.3]},
                "message": "AUD +0.000 knowing the future, +0.300 without",
            }
        ],
        "notes": [],
    }
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        report.decisions = 8  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ConfigError, "either a strategy or factory="),
        ({"strategy": Sign(), "factory": peek}, ConfigError, "either a strategy or factory="),
        ({"strategy": "sign"}, ConfigError, "'sign' cannot be called"),
        ({"factory": lambda data: None}, ConfigError, "<lambda> made None, which cannot be called"),
        ({"strategy": Sign(), "every": 0}, ConfigError, "every is 0"),
        ({"strategy": Sign(), "every": 1.5}, ConfigError, "every is 1.5"),
        ({"strategy": Sign(), "rebalance": "hourly"}, ConfigError, "rebalance is 'hourly'"),
        ({"strategy": Sign(), "start": "soon"}, ConfigError, "start 'soon' is not a date"),
        ({"strategy": Sign(), "universe": ["USD"]}, ConfigError, "no currency to trade"),
        ({"strategy": Sign(), "universe": ["XAU"]}, MissingDataError, "no prices for XAU"),
        ({"strategy": Sign(), "start": "2020-02-03", "end": "2020-02-14"}, MissingDataError, "no monthly decision"),
        ({"strategy": Sign(), "history": MemoryFeed(market_history(days=30))}, ConfigError, "history is a MemoryFeed"),
    ],
)
def test_bad_arguments_are_errors(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        find_look_ahead(**{"history": market_history(days=60), **arguments})
    assert caught.value.hint


def test_a_currency_without_rates_is_an_error():
    history = market_history(days=60)
    rates = {c: r for c, r in history.rates.items() if c != "AUD"}
    with pytest.raises(MissingDataError, match="no rates for AUD"):
        find_look_ahead(Sign(), history=attrs.evolve(history, rates=rates))


# --- warm-up ---------------------------------------------------------------------------------------------------------


def average(windows: dict[str, int]) -> Callable[[Any, Any], dict[str, float]]:
    """Spot over its average of a currency's own number of rows."""

    def averages(view: Any, account: Any) -> dict[str, float]:
        return {
            c: float(view.values("spot")[i] / view.spot_rows(windows[c])[:, i].mean() - 1)
            for i, c in enumerate(view.currencies)
        }

    return averages


def test_a_moving_average_needs_its_window_and_not_a_row_less():
    report = check_warmup(
        average({"AUD": 50, "JPY": 80}),
        history=market_history(days=150),
        universe=["AUD", "JPY"],
        lengths=[81, 49, 50, 51, 79, 80],
    )
    assert report.lengths == (49, 50, 51, 79, 80, 81)
    assert report.needed == {"AUD": 50, "JPY": 80}
    assert (report.is_settled, report.rows) == (True, 80)
    assert [(a.rows, a.error) for a in report.answers] == [(n, "") for n in (49, 50, 51, 79, 80, 81, 150)]
    lines = report.to_text().splitlines()
    assert lines[0] == "averages: the weights no longer change from 80 rows of history on."
    assert lines[1] == "2020-07-31, against all 150 rows:"
    assert [line.split(":")[1].strip()[:7] for line in lines[2:]] == ["off by "] * 4 + ["the sam"] * 2


def test_a_weight_that_remembers_everything_never_settles():
    report = check_warmup(
        average({"AUD": 10_000, "JPY": 60}),
        history=market_history(days=150),
        universe=["AUD", "JPY"],
        lengths=(60, 90, 120),
    )
    assert report.needed == {"AUD": None, "JPY": 60}
    assert (report.is_settled, report.rows) == (False, None)
    assert report.to_text().startswith("averages: the weights never settle within 120 rows of history: AUD.")


def test_an_exponential_average_settles_where_its_tail_is_below_the_tolerance():
    """Against n rows the tail of weight decay**n is lost; the moves in it are a number the test computes."""
    history = market_history(("AUD", "JPY"), 150)
    decay, tolerance = 0.8, 1e-6

    def smoothed(moves: np.ndarray) -> float:
        return float((1 - decay) * (decay ** np.arange(len(moves))[::-1] * moves).sum())

    def exponential(view: Any, account: Any) -> dict[str, float]:
        return {"AUD": smoothed(np.diff(np.log(view.spot_rows(10_000)[:, 0])))}

    lengths = tuple(range(10, 100, 5))
    report = check_warmup(exponential, history=history, universe=["AUD", "JPY"], lengths=lengths, tolerance=tolerance)
    moves = np.diff(np.log(history.spot[:, 0]))
    far = [n for n in lengths if abs(smoothed(moves[-(n - 1) :]) - smoothed(moves)) > tolerance]
    assert report.needed["AUD"] == max(far) + 5
    assert report.needed["JPY"] == 10
    assert 20 < max(far) < 60


def test_too_few_rows_may_fail_and_rates_are_not_shortened():
    def careful(view: Any, account: Any) -> dict[str, float]:
        if len(view.spot_rows(100)) < 100:
            raise ValueError("a hundred rows, please")
        return {"AUD": float(view.rates["AUD"])}

    history = market_history(("AUD", "JPY"), 150)
    first = float(history.rates["AUD"].value[-1])
    report = check_warmup(
        careful, history=history, universe=["AUD", "JPY"], lengths=(1, 99, 100), start="2020-06-01",
    )  # fmt: skip
    assert [a.error for a in report.answers] == ["ValueError: a hundred rows, please"] * 2 + ["", ""]
    assert report.needed == {"AUD": 100, "JPY": 100}
    assert report.answers[-1].weights == {"AUD": first, "JPY": 0.0}
    assert "      1 rows: raises ValueError: a hundred rows, please" in report.to_text()
    one = check_warmup(Sign(), history=history, universe=["AUD", "JPY"], lengths=(1,))
    assert one.answers[0].weights == one.answers[1].weights != {"AUD": 0.0, "JPY": 0.0}


def test_an_answer_that_comes_right_by_accident_has_not_settled():
    def lucky(view: Any, account: Any) -> dict[str, float]:
        return {"AUD": 0.1 if 20 <= len(view.spot_rows(1000)) < 40 else 0.2}

    report = check_warmup(lucky, history=market_history(days=150), lengths=(10, 30, 50, 60))
    assert report.needed["AUD"] == 50


def test_a_factory_is_given_the_short_history():
    lengths: list[int] = []

    def counting(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        lengths.append(len(data))
        return lambda view, account: {"AUD": len(data) / 1000}

    report = check_warmup(factory=counting, history=market_history(days=150), at="2020-06-30", lengths=(20, 40))
    rows = on(market_history(days=150), "2020-06-30") + 1
    assert lengths == [150, 20, 40, rows]
    assert report.needed["AUD"] is None
    assert report.answers[0].weights["AUD"] == 0.02


def test_several_dates_need_what_the_worst_of_them_needs():
    """At the end of March only ten rows decide, at the end of June thirty."""

    def changing(view: Any, account: Any) -> dict[str, float]:
        rows = 10 if view.as_of.month < 6 else 30
        return {"AUD": float(view.spot_rows(rows)[:, 0].mean())}

    history = market_history(("AUD", "JPY"), 150)
    common: dict[str, Any] = {"history": history, "universe": ["AUD", "JPY"], "lengths": (5, 10, 30, 40)}
    assert check_warmup(changing, at="2020-04-15", **common).needed["AUD"] == 10
    both = check_warmup(changing, at=[date(2020, 6, 30), "2020-04-15", "2020-04-29"], **common)
    assert both.needed["AUD"] == 30
    assert sorted({f"{a.at:%Y-%m-%d}" for a in both.answers}) == ["2020-03-31", "2020-06-30"]
    assert len(both.answers) == 10


@pytest.mark.ecb
def test_the_optimizer_needs_its_lookback_and_one_row(ecb):
    report = check_warmup(Optimized(), history=ecb, lengths=(60, 250, 251, 500), at=["2009-12-31", "2013-03-29"])
    assert report.rows == 251  # 250 returns need 251 rows
    assert not any(report.answers[1].weights.values())
    assert any(report.answers[2].weights.values())
    assert check_warmup(Baseline(), history=ecb, at="2009-12-31").rows == 60


def test_the_answer_where_nothing_is_held_is_marked():
    report = check_warmup(Optimized(), history=market_history(days=150), lengths=(60, 100))
    assert report.rows == 60
    assert "2020-07-31, against all 150 rows; it holds nothing there, which says little:" in report.to_text()


def test_a_warmup_report_is_plain_data():
    at = datetime(2020, 7, 31, 21, tzinfo=UTC)
    report = WarmupReport(
        strategy="x",
        lengths=(5,),
        tolerance=1e-6,
        needed={"AUD": None},
        answers=(
            WarmupAnswer(at=at, rows=5, weights={}, error="ValueError: no"),
            WarmupAnswer(at=at, rows=9, weights={"AUD": 0.1}),
        ),
    )
    assert json.loads(json.dumps(report.to_dict())) == {
        "strategy": "x",
        "lengths": [5],
        "tolerance": 1e-6,
        "is_settled": False,
        "rows": None,
        "needed": {"AUD": None},
        "answers": [
            {"at": "2020-07-31T21:00:00+00:00", "rows": 5, "weights": {}, "error": "ValueError: no"},
            {"at": "2020-07-31T21:00:00+00:00", "rows": 9, "weights": {"AUD": 0.1}, "error": ""},
        ],
    }


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lengths": ()}, ConfigError, r"lengths is \(\)"),
        ({"lengths": (0, 10)}, ConfigError, r"lengths is \(0, 10\)"),
        ({"lengths": (10.5,)}, ConfigError, "lengths is"),
        ({"lengths": (150,)}, MissingDataError, "there are 150 rows up to 2020-07-31, not more than 150"),
        ({}, MissingDataError, "not more than 1000"),
        ({"tolerance": float("nan")}, ConfigError, "tolerance is nan"),
        ({"tolerance": -1.0}, ConfigError, "tolerance is -1.0"),
        ({"at": []}, ConfigError, "at is empty"),
        ({"at": "later"}, ConfigError, "at 'later' is not a date"),
        ({"at": ["2020-01-15", "2020-07-31"]}, MissingDataError, "no decision on or before 2020-01-15"),
        ({"at": "2020-01-15"}, MissingDataError, "no monthly decision from 2020-01-06 to 2020-01-15"),
    ],
)
def test_bad_arguments_of_the_warmup_are_errors(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        check_warmup(Sign(), history=market_history(days=150), **arguments)
    assert caught.value.hint


def test_with_all_the_rows_a_failure_is_raised():
    def fails_late(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        if len(data) == on(market_history(days=150), "2020-06-30") + 1:
            raise ZeroDivisionError("at the end of June")
        return Sign()

    with pytest.raises(ZeroDivisionError, match="at the end of June"):
        check_warmup(factory=fails_late, history=market_history(days=150), at="2020-06-30", lengths=(5,))
