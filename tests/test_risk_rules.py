"""fxcarry.risk: what a professional adds, each rule at its limit, against numbers from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from fxcarry import build
from fxcarry.conventions import session_ends
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.market import MarketColumns, MarketView, from_ns
from fxcarry.model import Action, Order, Pair, Proposal, RiskState, SentOrder, Stage, TradingState, Verdict
from fxcarry.plugins import load
from fxcarry.risk import (
    Code,
    DailyLoss,
    ExpectedShortfall,
    FatFinger,
    FinancingFlip,
    MarginDistance,
    MaxCurrencyExposure,
    OrderRate,
    PegLimit,
    PriceSanity,
    RolloverWindow,
    SpreadGuard,
    StressLoss,
    Weekend,
    default_rules,
    professional_rules,
    review,
    shortfalls,
)
from fxcarry.scenarios import SCENARIOS
from fxcarry.stress import stress
from fxcarry.testing import account as account_of

NAV = 100_000.0
STATE = RiskState(day_start=NAV, high_water=NAV)
NOON = datetime(2025, 3, 12, 16, tzinfo=UTC)  # a Wednesday, 12:00 New York
VIEW: Any = None


def propose(
    weights: Mapping[str, float],
    held: Mapping[str, float] | None = None,
    *,
    stage: Stage = "target",
    account: str = "USD",
    **about: Any,
) -> Proposal:
    """Positions by pair, as signed fractions of NAV; the currencies are those of the pairs but the account's."""
    legs = tuple(weights)
    pairs = [Pair.parse(leg) for leg in legs]
    codes = tuple(sorted({c for pair in pairs for c in pair} - {account}))
    exposure = np.array([[(c == p.base) * 1.0 - (c == p.quote) for p in pairs] for c in codes])
    target = np.array([weights[leg] for leg in legs])
    before = target if stage == "held" else np.array([(held or {}).get(leg, 0.0) for leg in legs])
    return Proposal(**{
        "stage": stage, "nav": NAV, "legs": legs, "weights": target, "held": before, "exposure": exposure,
        "signal": np.zeros(len(codes)), "currencies": codes, **about,
    })  # fmt: skip


def judge(rule: Any, proposal: Proposal, *, view: Any = VIEW, at: datetime = NOON, currency: str = "USD") -> Any:
    return review(proposal, [rule], view, account_of(NAV, at=at, currency=currency), STATE)


def weights_of(decision: Any) -> dict[str, float]:
    return dict(zip(decision.legs, decision.weights.tolist()))


def finding(decision: Any) -> Verdict:
    """The first look's."""
    return decision.findings[0]  # type: ignore[no-any-return]


def view_of(
    prices: Mapping[str, Sequence[float]],
    *,
    minutes: int | None = None,
    financing: tuple[Sequence[float], Sequence[float]] | None = None,
) -> MarketView:
    """The view after the last price: one a weekday at 16:59 New York, or every ``minutes`` from a Monday on."""
    count = len(next(iter(prices.values())))
    if minutes is None:
        days = np.busday_offset("2023-01-02", np.arange(count), roll="forward")
        times = session_ends(days) - np.timedelta64(1, "m")
    else:
        times = np.datetime64("2025-03-10T12:00", "ns") + np.arange(count) * np.timedelta64(minutes, "m")
    size = len(prices)
    nothing = np.zeros((1, size))
    long, short = (np.full(size, np.nan),) * 2 if financing is None else map(np.array, financing)
    columns = MarketColumns(
        currencies=tuple(prices),
        account_currency="USD",
        times=times.astype("datetime64[ns]"),
        quoted=np.array(list(prices.values()), float).T,
        at=times[-1:].astype("datetime64[ns]"),
        row=np.array([count - 1]),
        rates=nothing,
        carry=nothing.copy(),
        financing=lambda: (long[None, :].copy(), short[None, :].copy()),
        trading_cost=np.zeros(size),
    )
    return MarketView(columns, 0)


# --- currencies and blocs --------------------------------------------------------------------------------------------


def test_a_currency_over_several_pairs_is_at_most_60_percent() -> None:
    decision = judge(MaxCurrencyExposure(), propose({"EURUSD": 0.5, "EURGBP": 0.3, "AUDUSD": 0.4}))
    assert finding(decision).code == Code.CURRENCY_TOO_LARGE
    assert finding(decision).headroom == pytest.approx(-0.2)
    assert finding(decision).facts["worst"] == "EUR"
    assert weights_of(decision) == pytest.approx({"EURUSD": 0.375, "EURGBP": 0.225, "AUDUSD": 0.4})
    assert judge(MaxCurrencyExposure(), propose({"EURUSD": 0.6})).findings == []


def test_a_bloc_is_at_most_100_percent_and_what_is_held_against_it_counts() -> None:
    rule = MaxCurrencyExposure()
    decision = judge(rule, propose({"AUDUSD": 0.5, "NZDUSD": 0.3, "USDCAD": -0.45}))  # long 1.25 of the bloc
    assert finding(decision).code == Code.BLOC_TOO_LARGE
    assert weights_of(decision) == pytest.approx({"AUDUSD": 0.4, "NZDUSD": 0.24, "USDCAD": -0.36})
    assert judge(rule, propose({"AUDUSD": 0.5, "NZDUSD": 0.3, "USDCAD": -0.2})).findings == []
    assert judge(rule, propose({"AUDUSD": 0.6, "NZDUSD": 0.6, "USDCAD": 0.3})).findings == []  # short CAD
    assert judge(rule, propose({"AUDNZD": 0.6, "EURUSD": 0.6, "USDJPY": 0.6})).findings == []


def test_what_is_not_of_the_g10_is_a_bloc() -> None:
    decision = judge(MaxCurrencyExposure(), propose({"USDMXN": -0.5, "USDZAR": -0.5, "USDBRL": -0.25, "GBPUSD": 0.5}))
    wanted = {"USDMXN": -0.4, "USDZAR": -0.4, "USDBRL": -0.2, "GBPUSD": 0.5}
    assert weights_of(decision) == pytest.approx(wanted)
    assert finding(decision).facts["worst"] == "emerging"


def test_currencies_without_names_are_an_error() -> None:
    for rule in (MaxCurrencyExposure(), PegLimit(), StressLoss()):
        with pytest.raises(MissingDataError, match="0 of 1 currencies"):
            judge(rule, propose({"EURUSD": 0.1}, currencies=()))


@pytest.mark.parametrize(
    ("pair", "at", "wanted"),
    [
        ("USDCHF", datetime(2014, 6, 2, 12, tzinfo=UTC), 0.1),  # under the floor against the euro
        ("USDCHF", datetime(2015, 1, 16, 12, tzinfo=UTC), 0.3),
        ("USDDKK", NOON, 0.1),
        ("USDHKD", NOON, 0.1),
        ("USDCNH", NOON, 0.1),
        ("USDTRY", NOON, 0.1),
        ("USDTRY", datetime(2010, 6, 2, 12, tzinfo=UTC), 0.1),
        ("USDSEK", NOON, 0.3),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_pegged_on_the_day_is_at_most_10_percent(pair: str, at: datetime, wanted: float, sign: int) -> None:
    decision = judge(PegLimit(), propose({pair: sign * 0.3, "GBPUSD": 0.3}), at=at)
    assert weights_of(decision) == pytest.approx({pair: sign * wanted, "GBPUSD": 0.3})


def test_a_limit_of_zero_holds_no_peg_and_the_list_is_yours() -> None:
    assert weights_of(judge(PegLimit(limit=0.0), propose({"USDHKD": 0.05, "GBPUSD": 0.3}))) == {
        "USDHKD": 0.0,
        "GBPUSD": 0.3,
    }
    assert judge(PegLimit(also=()), propose({"USDTRY": 0.3})).findings == []
    assert weights_of(judge(PegLimit(also=("GBP",)), propose({"GBPUSD": 0.3}))) == pytest.approx({"GBPUSD": 0.1})
    assert judge(PegLimit(), propose({"USDHKD": 0.10})).findings == []


# --- margin ----------------------------------------------------------------------------------------------------------

HALF_OF_A_THIRTIETH = [1 / 60]


def test_a_leverage_of_22_may_not_be_opened() -> None:
    # NAV 10,000, long 200,000 EURUSD at 1.1000, margin 1/30, close-out at half of it: 10,000 / 3,666.67.
    rule = MarginDistance()
    decision = judge(rule, propose({"EURUSD": 22.0}, closeout=HALF_OF_A_THIRTIETH))
    assert finding(decision).code == Code.MARGIN_NEAR_CLOSEOUT
    assert finding(decision).action is Action.RESIZE
    assert finding(decision).facts["multiple"] == pytest.approx(10_000 / 3_666.666667)
    assert weights_of(decision) == pytest.approx({"EURUSD": 20.0})
    held = propose({"EURUSD": 22.0}, stage="held", closeout=HALF_OF_A_THIRTIETH)
    assert judge(rule, held).weights is held.weights


@pytest.mark.parametrize(("price", "wanted"), [(1.076924, None), (1.076922, 20.0)])
def test_below_one_and_a_half_times_the_level_it_is_closed_pro_rata(price: float, wanted: float | None) -> None:
    # (10,000 + 200,000 (P - 1.1)) = 1.5 · 200,000 P / 60 at P = 210 / 195 = 1.0769230769.
    leverage = 200_000 * price / (10_000 + 200_000 * (price - 1.1))
    held = propose({"EURUSD": leverage}, stage="held", closeout=HALF_OF_A_THIRTIETH)
    decision = judge(MarginDistance(), held)
    assert weights_of(decision) == pytest.approx({"EURUSD": wanted or leverage})
    assert [v.action for v in decision.findings[:1]] == ([] if wanted is None else [Action.CLOSE])
    target = propose({"EURUSD": leverage}, {"EURUSD": leverage}, closeout=HALF_OF_A_THIRTIETH)
    assert weights_of(judge(MarginDistance(), target)) == pytest.approx({"EURUSD": wanted or leverage})


def test_what_is_opened_is_scaled_alike_and_margin_rates_differ() -> None:
    proposal = propose({"EURUSD": 10.0, "USDTRY": 3.0, "AUDUSD": 6.0}, {"EURUSD": 10.0}, closeout=[1 / 60, 0.1, 1 / 60])
    # A third of NAV in all: 10/60 is taken, 0.3 + 0.1 is wanted for 10/60 that is left.
    share = (1 / 3 - 1 / 6) / 0.4
    wanted = {"EURUSD": 10.0, "USDTRY": 3 * share, "AUDUSD": 6 * share}
    assert weights_of(judge(MarginDistance(), proposal)) == pytest.approx(wanted)


def test_an_account_below_zero_is_closed_and_margin_not_known_is_an_error() -> None:
    under = propose({"EURUSD": -0.5}, stage="held", closeout=HALF_OF_A_THIRTIETH, nav=-1.0)
    assert weights_of(judge(MarginDistance(), under)) == {"EURUSD": 0.0}
    with pytest.raises(MissingDataError, match="closes out"):
        judge(MarginDistance(), propose({"EURUSD": 1.0}))
    with pytest.raises(ConfigError, match="closing"):
        MarginDistance(opening=1.5, closing=1.5)


# --- expected shortfall ----------------------------------------------------------------------------------------------


def test_a_gaussian_tail() -> None:
    returns = np.tile([0.01, -0.01], 100)  # a constant volatility, which the filter leaves alone
    estimates = shortfalls(returns)
    assert estimates["gaussian"] == pytest.approx(-stats.norm.expect(lambda x: x, ub=stats.norm.ppf(0.01)))
    assert estimates["gaussian"] == pytest.approx(0.0266521422)
    assert estimates["historical"] == pytest.approx(0.01)


def test_cornish_fisher_is_the_mean_of_its_quantiles() -> None:
    returns = np.random.default_rng(3).gamma(9.0, 1.0, 600) * -0.001 + 0.009
    skew, excess = stats.skew(returns), stats.kurtosis(returns)
    assert -1 < skew < -0.4

    def quantile(u: float) -> float:
        z = stats.norm.ppf(u)
        return float(z + (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * excess / 24 - (2 * z**3 - 5 * z) * skew**2 / 36)

    mean, _ = integrate.quad(quantile, 1e-14, 0.01, limit=400)
    wanted = -np.sqrt((returns**2).mean()) * mean / 0.01
    assert shortfalls(returns)["cornish-fisher"] == pytest.approx(wanted, rel=1e-4)


def test_the_historical_tail_is_filtered_to_the_volatility_of_now() -> None:
    returns = np.random.default_rng(8).normal(0, 1, 500) * np.repeat([0.004, 0.012], 250)
    squares = pd.Series([(returns**2).mean(), *returns**2])
    variance = squares.ewm(alpha=0.06, adjust=False).mean().to_numpy()
    filtered = np.sort(returns / np.sqrt(variance[:-1]) * np.sqrt(variance[-1]))
    assert shortfalls(returns)["historical"] == pytest.approx(-filtered[:5].mean())
    assert shortfalls(returns)["gaussian"] == pytest.approx(np.sqrt(variance[-1]) * 2.665214220345808)
    assert shortfalls(returns[::-1])["historical"] < shortfalls(returns)["historical"] / 2


@pytest.mark.parametrize("returns", [[-0.05] + [0.001] * 199, [0.02, -0.02] + [0.001, -0.001] * 99])
def test_cornish_fisher_is_left_out_where_it_does_not_hold(returns: list[float]) -> None:
    assert abs(stats.skew(returns)) > 1 or stats.kurtosis(returns, fisher=False) > 8
    assert set(shortfalls(np.array(returns))) == {"historical", "gaussian"}


def test_the_target_is_scaled_to_a_shortfall_of_3_percent() -> None:
    random = np.random.default_rng(4)
    prices = {c: np.exp(random.normal(0, 0.01, 501).cumsum()).tolist() for c in ("AUD", "JPY")}
    view = view_of(prices)
    target = propose({"AUDUSD": 1.5, "USDJPY": 1.2})
    decision = judge(ExpectedShortfall(), target, view=view)
    moves = pd.DataFrame(prices).pct_change().dropna().to_numpy()
    estimates = shortfalls(moves @ [1.5, -1.2])
    assert finding(decision).code == Code.SHORTFALL_TOO_LARGE
    assert finding(decision).facts == {**estimates, "limit": 0.03}
    assert max(estimates.values()) > 0.03
    assert max(shortfalls(moves @ (decision.weights * [1, -1])).values()) == pytest.approx(0.03)
    assert decision.weights[0] / decision.weights[1] == pytest.approx(1.5 / 1.2)
    small = propose({"AUDUSD": 0.3, "USDJPY": 0.3})
    assert judge(ExpectedShortfall(), small, view=view).weights is small.weights


def test_a_young_currency_is_not_opened_and_the_others_are_still_measured() -> None:
    random = np.random.default_rng(4)
    prices = {c: np.exp(random.normal(0, 0.01, 200).cumsum()) for c in ("AUD", "JPY")}
    prices["JPY"][:141] = np.nan  # 58 moves
    view = view_of({c: p.tolist() for c, p in prices.items()})
    decision = judge(ExpectedShortfall(), propose({"AUDUSD": 0.3, "USDJPY": 0.3}, {"USDJPY": 0.1}), view=view)
    assert weights_of(decision) == pytest.approx({"AUDUSD": 0.3, "USDJPY": 0.1})
    assert finding(decision).code == Code.HISTORY_TOO_SHORT
    assert finding(decision).facts["young"] == ["JPY"]
    large = judge(ExpectedShortfall(), propose({"AUDUSD": 3.0, "USDJPY": 0.3}), view=view)
    assert weights_of(large)["AUDUSD"] < 2.0
    assert judge(ExpectedShortfall(minimum=58), propose({"AUDUSD": 0.0, "USDJPY": 0.3}), view=view).findings == []


def test_a_price_that_never_moves_has_no_shortfall() -> None:
    view = view_of({"SAR": [0.266] * 100})
    assert judge(ExpectedShortfall(), propose({"USDSAR": 5.0}), view=view).findings == []


# --- stress ----------------------------------------------------------------------------------------------------------

BOOK = {"AUD": 0.3, "NZD": 0.3, "NOK": 0.3, "JPY": -0.3, "CHF": -0.3, "SEK": -0.3}


def pairs_of(book: Mapping[str, float]) -> dict[str, float]:
    pairs = {c: Pair.market(c, "USD") for c in book}
    return {str(pairs[c]): w if pairs[c].base == c else -w for c, w in book.items()}


@pytest.mark.parametrize("name", [s.name for s in SCENARIOS if not s.by_side and s.moves.get("AUD")])
def test_the_loss_in_a_scenario_is_that_of_the_stress_test(name: str) -> None:
    (shock,) = (s for s in SCENARIOS if s.name == name)
    change = stress(BOOK, scenarios=[shock], costs=None, stop=None).rows[0].change
    assert change is not None
    verdict = StressLoss(limit=0.001, scenarios=(name,))(propose(pairs_of(BOOK)), VIEW, account_of(NAV, at=NOON), STATE)
    if change < -0.001:
        assert verdict.facts["loss"] == pytest.approx(-change)
        assert verdict.headroom == pytest.approx(0.001 + change)
    else:
        assert (verdict.action, verdict.headroom) == (Action.ALLOW, pytest.approx(0.001 + change))


def test_the_worst_scenario_costs_at_most_15_percent() -> None:
    decision = judge(StressLoss(), propose(pairs_of(BOOK)))
    assert finding(decision).facts["scenario"] == "carry-gap"
    assert finding(decision).facts["loss"] == pytest.approx(0.36)  # 20 % of 1.8
    assert np.abs(decision.weights).sum() == pytest.approx(0.75)
    autumn = judge(StressLoss(scenarios=("crash-month-2008",)), propose({"AUDUSD": 1.0}))
    assert weights_of(autumn) == pytest.approx({"AUDUSD": 0.15 / 0.157})
    assert judge(StressLoss(scenarios=("crash-month-2008",)), propose({"AUDUSD": 0.95})).findings == []


def test_moves_are_against_the_account_currency() -> None:
    # October 2008 in euro: AUD -15.7 %, EUR -9.7 % against the dollar.
    rule = StressLoss(scenarios=("crash-month-2008",), limit=0.05)
    decision = judge(rule, propose({"EURAUD": -1.0, "EURUSD": 0.5}, account="EUR"), currency="EUR")
    assert finding(decision).facts["loss"] == pytest.approx(1 - (1 - 0.157) / 0.903 + 0.5 * (1 / 0.903 - 1))
    with pytest.raises(MissingDataError, match="no scenario knows TRY"):
        judge(StressLoss(scenarios=("crash-quarter-2008",)), propose({"USDTRY": 1.0}, account="TRY"), currency="TRY")


def test_an_unknown_scenario_is_an_error_at_once() -> None:
    with pytest.raises(ConfigError, match="franc-2015"):
        StressLoss(scenarios=("frank-2015",))


# --- the hour --------------------------------------------------------------------------------------------------------


def new_york(text: str) -> datetime:
    return pd.Timestamp(text, tz="America/New_York").tz_convert("UTC").to_pydatetime()


@pytest.mark.parametrize(
    ("when", "is_blocked"),
    [
        ("2025-03-07 15:59:59", False),
        ("2025-03-07 16:00", True),
        ("2025-03-08 12:00", True),
        ("2025-03-09 17:59", True),  # summer time began this morning
        ("2025-03-09 18:00", False),
        ("2025-10-31 16:00", True),
        ("2025-11-02 17:59", True),
        ("2025-11-02 18:00", False),
        ("2025-03-12 16:30", False),
    ],
)
def test_nothing_opens_from_friday_16_to_sunday_18(when: str, is_blocked: bool) -> None:
    target = propose({"EURUSD": 0.3, "AUDUSD": 0.1, "GBPUSD": -0.2}, {"EURUSD": 0.2, "AUDUSD": 0.2, "GBPUSD": 0.1})
    decision = judge(Weekend(), target, at=new_york(when))
    wanted = {"EURUSD": 0.2, "AUDUSD": 0.1, "GBPUSD": 0.0} if is_blocked else {"EURUSD": 0.3, "GBPUSD": -0.2}
    assert weights_of(decision) == pytest.approx({"AUDUSD": 0.1, **wanted})
    assert [(v.code, v.retry) for v in decision.findings[:1]] == [(Code.WEEKEND_OPENING, True)] * is_blocked
    assert judge(Weekend(), attrs.evolve(target, is_daily=True), at=new_york(when)).findings == []


@pytest.mark.parametrize(
    ("when", "lead", "is_near"),
    [
        ("2025-03-06 16:59", 23, False),
        ("2025-03-06 17:00", 23, True),
        ("2025-03-07 14:59", 1, False),
        ("2025-03-07 15:00", 1, True),
        ("2025-03-07 16:59", 1, True),
        ("2025-03-07 17:00", 23, False),
        ("2025-03-09 18:00", 23, False),
    ],
)
def test_a_book_is_trimmed_to_one_and_a_half_before_a_weekend(when: str, lead: float, is_near: bool) -> None:
    book, at = {"EURUSD": 1.2, "USDJPY": -0.6}, new_york(when)
    rule = Weekend(lead_hours=lead)
    trimmed = judge(rule, propose(book, stage="held"), at=at)
    assert weights_of(trimmed) == pytest.approx({"EURUSD": 1.0, "USDJPY": -0.5} if is_near else book)
    assert [v.code for v in trimmed.findings[:1]] == [Code.WEEKEND_EXPOSURE] * is_near
    daily = propose(book, book, is_daily=True)
    assert weights_of(judge(rule, daily, at=at)) == weights_of(trimmed)
    opened = propose(book, {"EURUSD": 1.2}, is_daily=True)
    assert weights_of(judge(rule, opened, at=at)) == pytest.approx({"EURUSD": 1.2, "USDJPY": -0.3} if is_near else book)


@pytest.mark.parametrize(
    ("when", "is_blocked"),
    [
        ("2025-03-12 16:44:59", False),
        ("2025-03-12 16:45", True),
        ("2025-03-12 17:00", True),
        ("2025-03-12 17:29:59", True),
        ("2025-03-12 17:30", False),
        ("2025-01-15 16:45", True),
    ],
)
def test_nothing_opens_around_the_rollover(when: str, is_blocked: bool) -> None:
    target = propose({"EURUSD": 0.3, "AUDUSD": 0.1}, {"AUDUSD": 0.2})
    decision = judge(RolloverWindow(), target, at=new_york(when))
    assert weights_of(decision) == {"EURUSD": 0.0 if is_blocked else 0.3, "AUDUSD": 0.1}
    assert all(v.retry and v.code == Code.ROLLOVER_WINDOW for v in decision.findings)
    assert judge(RolloverWindow(), attrs.evolve(target, is_daily=True), at=new_york(when)).findings == []


# --- quotes ----------------------------------------------------------------------------------------------------------


def calm(count: int, size: float = 0.0005) -> list[float]:
    """A price that goes up and down by ``size``."""
    return (1 + size * (np.arange(count) % 2)).tolist()


@pytest.mark.parametrize(
    ("after", "is_sane"),
    [
        ([1.0029], True),  # 5.8 deviations
        ([1.0031], False),
        ([0.9968], False),
        ([1.0100, 1.0105], False),
        ([1.0100, 1.0105, 1.0100], True),  # the third quote in a row at the new level
        ([1.0100, 1.0005], False),
        ([1.0100, 1.0005, 1.0], False),
        ([1.0100, 1.0005, 1.0, 1.0005], True),
        ([1.0100, 1.0100, 1.0100], False),  # one quote that stands is no confirmation
    ],
)
def test_a_price_six_deviations_away_needs_three_quotes(after: list[float], is_sane: bool) -> None:
    view = view_of({"EUR": [*calm(101), *after], "AUD": calm(101 + len(after))}, minutes=15)
    target = propose({"EURUSD": 0.3, "AUDUSD": 0.3}, {"EURUSD": 0.1})
    # The proposal's currencies are in alphabetical order, the view's are not.
    view = view_of({"AUD": calm(101 + len(after)), "EUR": [*calm(101), *after]}, minutes=15)
    decision = judge(PriceSanity(), target, view=view)
    assert weights_of(decision) == pytest.approx({"EURUSD": 0.3 if is_sane else 0.1, "AUDUSD": 0.3})
    assert [(v.code, v.retry) for v in decision.findings[:1]] == [(Code.PRICE_NOT_CONFIRMED, True)] * (not is_sane)


@pytest.mark.parametrize(("price", "is_sane"), [(1.0299, True), (1.0311, False), (0.97, False)])
def test_three_percent_is_too_much_however_wild_the_price(price: float, is_sane: bool) -> None:
    for before in (calm(101, 0.02), [1.0001, 1.0]):  # also with no history to speak of
        start = before[-1]
        decision = judge(
            PriceSanity(), propose({"EURUSD": 0.3}), view=view_of({"EUR": [*before, price * start]}, minutes=5)
        )
        assert weights_of(decision) == {"EURUSD": 0.3 if is_sane else 0.0}


@pytest.mark.parametrize(("move", "is_sane"), [(0.028, True), (0.032, False), (0.19, False)])
def test_a_day_is_judged_by_the_deviations_of_days(move: float, is_sane: bool) -> None:
    view = view_of({"CHF": [*calm(101, 0.005), 1 + move]})
    decision = judge(PriceSanity(), propose({"USDCHF": 0.3}), view=view)
    assert weights_of(decision) == {"USDCHF": 0.3 if is_sane else 0.0}


def test_a_first_quote_has_nothing_to_be_compared_with() -> None:
    assert (
        judge(PriceSanity(), propose({"EURUSD": 0.3}), view=view_of({"EUR": [np.nan, 1.1]}, minutes=5)).findings == []
    )
    with pytest.raises(ConfigError, match="confirmations"):
        PriceSanity(confirmations=1)


def spread_view(eur: Sequence[float], *, aud: float = 1e-4) -> MarketView:
    """Two rows a weekday, noon and 16:59 New York, over the change of clocks; half spreads of EUR as given."""
    count = len(eur)
    days = session_ends(np.busday_offset("2025-03-03", np.arange(count // 2 + 1), roll="forward"))
    times = np.sort((days[:, None] - np.array([1, 300], "timedelta64[m]")).ravel())[:count]
    one = np.ones(2)
    columns = MarketColumns(
        currencies=("AUD", "EUR"),
        account_currency="USD",
        times=times.astype("datetime64[ns]"),
        quoted=np.ones((count, 2)),
        half_spread=np.column_stack([np.full(count, aud), eur]),
        at=times[-1:].astype("datetime64[ns]"),
        row=np.array([count - 1]),
        rates=one[None],
        carry=np.zeros((1, 2)),
        financing=lambda: (one[None], one[None]),
        trading_cost=np.zeros(2),
    )
    return MarketView(columns, 0)


NOONS_AND_CLOSES = [1e-4, 5e-4] * 6


@pytest.mark.parametrize(
    ("eur", "is_wide"),
    [
        ([*NOONS_AND_CLOSES, 4.0e-4], False),
        ([*NOONS_AND_CLOSES, 4.01e-4], True),
        ([*NOONS_AND_CLOSES, 1e-4, 19.9e-4], False),  # the close is dearer every day
        ([*NOONS_AND_CLOSES, 1e-4, 20.1e-4], True),
        ([*NOONS_AND_CLOSES, np.nan], False),
        ([*NOONS_AND_CLOSES[:8], 9e-4], False),  # four noons before it
        ([*NOONS_AND_CLOSES[:10], 9e-4], True),
    ],
)
def test_a_spread_four_times_the_usual_at_this_time_holds_up_its_leg(eur: list[float], is_wide: bool) -> None:
    view = spread_view(eur)
    decision = judge(SpreadGuard(), propose({"EURUSD": 0.3, "AUDUSD": 0.3}, {"EURUSD": 0.1}), view=view)
    assert weights_of(decision) == {"EURUSD": pytest.approx(0.1) if is_wide else 0.3, "AUDUSD": 0.3}
    assert [(v.code, v.retry) for v in decision.findings] == [(Code.SPREAD_WIDE, True)] * is_wide
    reducing = propose({"EURUSD": 0.1, "AUDUSD": 0.0}, {"EURUSD": 0.3, "AUDUSD": 0.1})
    assert judge(SpreadGuard(), reducing, view=view).weights.tolist() == [0.1, 0.0]


def test_the_spread_of_a_cross_is_that_of_both_sides() -> None:
    view = spread_view([*NOONS_AND_CLOSES, 8e-4], aud=1e-4)  # 9 against 2
    decision = judge(SpreadGuard(), propose({"EURAUD": 0.3}), view=view)
    assert finding(decision).facts["times_usual"] == {"EURAUD": pytest.approx(4.5)}
    assert finding(decision).headroom == pytest.approx(-0.5)
    assert judge(SpreadGuard(multiple=4.6), propose({"EURAUD": 0.3}), view=view).findings == []
    only_mid = view_of({"AUD": [1.0] * 9, "EUR": [1.0] * 9})
    assert judge(SpreadGuard(), propose({"EURAUD": 0.3}), view=only_mid).findings == []
    with pytest.raises(ConfigError, match="days"):
        SpreadGuard(days=4)


# --- financing -------------------------------------------------------------------------------------------------------


def test_what_costs_after_the_mark_up_is_not_held_at_a_rebalance() -> None:
    prices = {"AUD": [1.0], "EUR": [1.0], "JPY": [1.0], "NZD": [1.0]}
    view = view_of(prices, financing=([0.01, -0.02, -0.05, -0.001], [-0.03, 0.005, 0.03, -0.02]))
    target = propose({"AUDUSD": 0.3, "EURUSD": -0.3, "USDJPY": -0.2, "NZDUSD": 0.3}, {"USDJPY": -0.3, "NZDUSD": 0.3})
    decision = judge(FinancingFlip(), target, view=view)
    assert weights_of(decision) == {"AUDUSD": 0.3, "EURUSD": -0.3, "USDJPY": 0.0, "NZDUSD": 0.0}
    assert finding(decision).facts["received"] == {"USDJPY": -0.05, "NZDUSD": -0.001}
    held = attrs.evolve(target, stage="held")
    assert judge(FinancingFlip(), held, view=view).weights is held.weights
    assert judge(FinancingFlip(), target, view=view_of(prices)).findings == []  # not known: nothing to say


def test_a_cross_is_given_up_where_both_sides_cost() -> None:
    view = view_of({"AUD": [1.0], "JPY": [1.0]}, financing=([0.01, -0.05], [-0.03, -0.01]))
    assert judge(FinancingFlip(), propose({"AUDJPY": 0.3}), view=view).findings == []
    assert weights_of(judge(FinancingFlip(), propose({"AUDJPY": -0.3}), view=view)) == {"AUDJPY": 0.0}


# --- orders ----------------------------------------------------------------------------------------------------------


def sent(*sizes: float, ago: float = 3600.0, is_new: bool = True) -> list[SentOrder]:
    return [SentOrder(NOON - timedelta(seconds=ago), f"old-{i}", size, is_new) for i, size in enumerate(sizes)]


@pytest.mark.parametrize(("size", "is_rejected"), [(0.30, False), (0.301, True)])
def test_an_order_above_30_percent_is_a_mistake(size: float, is_rejected: bool) -> None:
    orders = propose({"EURUSD": size, "AUDUSD": 0.1, "GBPUSD": 0.1}, {"GBPUSD": 0.5}, stage="orders")
    decision = judge(FatFinger(), orders)
    assert weights_of(decision) == {
        "EURUSD": 0.0 if is_rejected else size,
        "AUDUSD": 0.1 * (not is_rejected),
        "GBPUSD": 0.1,
    }
    assert [(v.action, v.code) for v in decision.findings[:1]] == [(Action.REJECT, Code.ORDER_TOO_LARGE)] * is_rejected


def test_a_reduction_of_any_size_is_no_mistake() -> None:
    closing = propose({"EURUSD": 0.0, "AUDUSD": -0.1}, {"EURUSD": 0.9, "AUDUSD": 0.9}, stage="orders")
    assert judge(FatFinger(), closing).weights is closing.weights


def test_an_order_twenty_times_the_usual_is_a_mistake() -> None:
    usual = [0.005, 0.010, 0.020] * 4
    for size, is_rejected in ((0.2, False), (0.201, True)):
        orders = propose({"EURUSD": size}, stage="orders", recent=sent(*usual))
        assert bool(judge(FatFinger(), orders).findings) is is_rejected
    few = propose({"EURUSD": 0.25}, stage="orders", recent=sent(*usual[:9]))
    assert judge(FatFinger(), few).findings == []
    adjusting = propose({"EURUSD": 0.25}, stage="orders", recent=sent(*usual, is_new=False))
    assert judge(FatFinger(), adjusting).findings == []


LEGS = ("EURUSD", "AUDUSD", "GBPUSD", "NZDUSD")


def test_ten_orders_a_minute_and_reductions_pass() -> None:
    # 7 a moment ago, 5 more than a minute ago; one reduction and three openings now: two openings fit.
    recent = [*sent(*[0.1] * 5, ago=60.0), *sent(*[0.1] * 7, ago=59.9)]
    target = dict(zip(LEGS, (0.1, 0.2, 0.2, 0.2)))
    decision = judge(OrderRate(), propose(target, {"EURUSD": 0.2}, stage="orders", recent=recent))
    assert weights_of(decision) == {**target, "NZDUSD": 0.0}
    assert (finding(decision).code, finding(decision).retry, finding(decision).headroom) == (Code.ORDER_RATE, True, -1)
    assert decision.state is TradingState.ACTIVE
    full = [*recent, *sent(*[0.1] * 5, ago=1.0)]
    turned = propose({"EURUSD": -0.2, "AUDUSD": 0.1}, {"EURUSD": 0.2, "AUDUSD": 0.3}, stage="orders", recent=full)
    assert judge(OrderRate(), turned).weights.tolist() == [0.0, 0.1]


def test_two_hundred_orders_a_day() -> None:
    yesterday = sent(*[0.1] * 150, ago=19.01 * 3600)  # before 17:00 New York
    today = sent(*[0.1] * 198, ago=18.9 * 3600)
    orders = propose(dict.fromkeys(LEGS[:2], 0.1), stage="orders", recent=[*yesterday, *today])
    assert judge(OrderRate(), orders).findings == []
    over = judge(OrderRate(), attrs.evolve(orders, recent=[*yesterday, *today, *sent(0.1, ago=7200.0)]))
    assert over.state is TradingState.REDUCING
    assert finding(over).until == datetime(2025, 3, 12, 21, tzinfo=UTC)
    assert over.weights.tolist() == [0.0, 0.0]


def test_no_client_id_twice() -> None:
    orders = [Order(client_id=c, instrument="EURUSD", units=Decimal(1)) for c in ("a", "old-0")]
    for recent, new in ((sent(0.1), orders[1:]), ([], [orders[0], orders[0]])):
        decision = judge(OrderRate(), propose({"EURUSD": 0.1}, stage="orders", orders=new, recent=recent))
        assert (finding(decision).action, finding(decision).code) == (Action.REJECT, Code.DUPLICATE_ORDER)
    assert judge(OrderRate(), propose({"EURUSD": 0.1}, stage="orders", orders=orders, recent=[])).findings == []
    with pytest.raises(ConfigError, match="per_minute"):
        OrderRate(per_minute=300)


# --- the set ---------------------------------------------------------------------------------------------------------


def test_a_daily_loss_may_flatten() -> None:
    held = propose({"EURUSD": 0.2, "USDJPY": -0.1}, stage="held", nav=96_999.0)
    flat = judge(DailyLoss(flatten=True), held)
    assert flat.weights.tolist() == [0.0, 0.0]
    assert flat.state is TradingState.REDUCING
    assert judge(DailyLoss(), held).weights.tolist() == [0.2, -0.1]


def test_the_set_is_the_default_one_and_twelve_more() -> None:
    rules = professional_rules()
    assert rules[:7] == default_rules()
    names = [rule.name for rule in rules]
    assert len(set(names)) == len(names) == 19
    assert {c.name for c in load({}).components.values() if c.kind == "rule"} >= set(names)


def test_whatever_has_headroom_says_in_what() -> None:
    without = [rule.name for rule in professional_rules() if not getattr(rule, "headroom_unit", "")]
    assert without == ["staleness", "price-sanity", "rollover-window", "financing-flip"], "these have none"


def test_the_limits_are_those_of_the_brief() -> None:
    limits = {rule.name: attrs.asdict(rule) for rule in professional_rules()[7:]}  # type: ignore[call-overload]
    for name in limits:
        limits[name].pop("name")
    assert limits == {
        "max-currency-exposure": {"limit": 0.60, "bloc_limit": 1.00},
        "peg-limit": {"limit": 0.10, "also": ("TRY",)},
        "margin-distance": {"opening": 3.0, "closing": 1.5},
        "expected-shortfall": {"limit": 0.03, "days": 500, "minimum": 60},
        "stress-loss": {"limit": 0.15, "scenarios": ()},
        "weekend": {"limit": 1.5, "lead_hours": 23.0},
        "price-sanity": {"sigmas": 6.0, "jump": 0.03, "confirmations": 3, "window": 100},
        "spread-guard": {"multiple": 4.0, "days": 20},
        "rollover-window": {"before": 15.0, "after": 30.0},
        "financing-flip": {},
        "fat-finger": {"limit": 0.30, "multiple": 20.0},
        "order-rate": {"per_minute": 10, "per_day": 200, "refusals": 3},
    }


@pytest.mark.parametrize("rule", [r for r in professional_rules()[7:] if attrs.fields(type(r))[0].type == "float"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_limit_has_to_be_a_number_above_zero(rule: Any, value: float) -> None:
    with pytest.raises(ConfigError):
        attrs.evolve(rule, **{attrs.fields(type(rule))[0].name: value})


def test_the_rules_of_a_configuration(tmp_path: Any) -> None:
    path = tmp_path / "fxcarry.toml"
    path.write_text(
        '[[rules]]\nuse = "stress-loss"\nscenarios = ["yen-2024"]\n[[rules]]\nuse = "peg-limit"\nalso = []\n'
        '[[rules]]\nuse = "order-rate"\nper_minute = 5\n[[rules]]\nuse = "daily-loss"\nflatten = true\n',
        encoding="utf-8",
    )
    wanted = (StressLoss(scenarios=("yen-2024",)), PegLimit(also=()), OrderRate(5), DailyLoss(flatten=True))
    assert build(path).rules == wanted


def test_a_day_has_one_row_in_a_view() -> None:
    prices = np.arange(1.0, 301.0).tolist()
    view = view_of({"EUR": prices}, minutes=60)  # 12 days of 24 rows and half a day, at weekends too
    times = pd.DatetimeIndex(view.row_times(300)).tz_localize("UTC")
    assert from_ns(view.row_times(1)[0]) == view.as_of
    days = (times.tz_convert("America/New_York") + pd.Timedelta(hours=7) - pd.Timedelta(1, "ns")).normalize()
    by_day = pd.Series(prices, index=days)
    by_day.index = by_day.index.map(lambda d: d + pd.offsets.BusinessDay(0))
    wanted = by_day.groupby(level=0).last()
    assert view.day_rows(500)[:, 0].tolist() == wanted.tolist()
    assert view.day_rows(3)[:, 0].tolist() == wanted.tolist()[-3:]
    daily = view_of({"EUR": prices})
    assert daily.day_rows(7).tolist() == daily.spot_rows(7).tolist()
