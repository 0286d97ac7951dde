"""fxcarry.risk: the limits at their exact values, what is never blocked, and how verdicts merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.conventions import open_minutes
from fxcarry.errors import ConfigError
from fxcarry.model import Action, Decision, Instrument, Order, Pair, Proposal, RiskState, Stage, TradingState, Verdict
from fxcarry.orders import Book, Lot, market_pairs
from fxcarry.protocols import RiskRule
from fxcarry.risk import (
    DailyLoss,
    Drawdown,
    MaxCurrenciesPerSide,
    MaxExposure,
    MaxPosition,
    Staleness,
    StopLoss,
    default_rules,
    next_day_end,
    review,
)
from fxcarry.testing import account as account_of

NOON = datetime(2025, 3, 12, 16, 0, tzinfo=UTC)  # a Wednesday, 12:00 New York
EQUITY = 100_000.0
STATE = RiskState(day_start=EQUITY, high_water=EQUITY)
ACCOUNT = account_of(EQUITY, at=NOON)
VIEW: Any = None  # none of the built-in rules reads it


def propose(
    weights: Mapping[str, float],
    held: Mapping[str, float] | None = None,
    *,
    stage: Stage = "target",
    nav: float = EQUITY,
    signal: Sequence[float] | None = None,
    **about: Any,
) -> Proposal:
    """Legs named by their market pair against USD; weights and holdings are signed fractions of NAV by pair."""
    legs = tuple(weights)
    currencies = [p.replace("USD", "") for p in legs]
    exposure = np.zeros((len(legs), len(legs)))
    for i, (leg, currency) in enumerate(zip(legs, currencies)):
        exposure[i, i] = 1.0 if leg.startswith(currency) else -1.0
    target = np.array([weights[leg] for leg in legs])
    before = target if stage == "held" and held is None else np.array([(held or {}).get(leg, 0.0) for leg in legs])
    return Proposal(
        stage=stage,
        nav=nav,
        legs=legs,
        weights=target,
        held=before,
        exposure=exposure,
        signal=np.array(signal if signal is not None else np.zeros(len(legs))),
        **about,
    )


def judge(proposal: Proposal, *rules: RiskRule, state: RiskState = STATE) -> Decision:
    return review(proposal, rules, VIEW, ACCOUNT, state)


def ask(rule: RiskRule, proposal: Proposal, state: RiskState = STATE) -> Verdict:
    return rule(proposal, VIEW, ACCOUNT, state)


def allowed(decision: Decision) -> dict[str, float]:
    return dict(zip(decision.legs, decision.weights.tolist()))


@attrs.frozen
class Says:
    """A third party's rule: says the same of everything, with no optional member."""

    name: str
    action: Action
    caps: Any = None
    until: datetime | None = None

    def __call__(self, proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        return Verdict(self.name, self.action, self.name.upper(), self.caps, until=self.until)


# --- max position ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "units", "price", "value", "wanted"),
    [
        ("AUDUSD", 60_000, 0.66, 0.66, 45_454),
        ("USDJPY", 40_000, 155.0, 1.0, 30_000),
        ("EURUSD", 30_000, 1.085, 1.085, 27_649),
        ("AUDUSD", -60_000, 0.66, 0.66, -45_454),
    ],
)
def test_an_order_above_30_percent_is_resized_to_whole_units(
    pair: str, units: int, price: float, value: float, wanted: int
) -> None:
    currency = pair.replace("USD", "")
    instruments = {pair: Instrument(name=pair, exposure=Pair.parse(pair))}
    book = Book.of((currency,), "USD", instruments)
    proposal = propose({pair: units * value / EQUITY})
    decision = judge(proposal, *default_rules())
    assert [v.code for v in decision.findings][:1] == ["POSITION_TOO_LARGE"]
    assert book.allowed_units([units], proposal.weights, decision.weights) == [wanted]


def test_all_three_orders_of_one_batch_are_resized_each_on_its_own() -> None:
    currencies = ("AUD", "JPY", "EUR")
    pairs = market_pairs(currencies, "USD")
    book = Book.of(currencies, "USD", {str(p): Instrument(name=str(p), exposure=p) for p in pairs})
    units = [60_000.0, 40_000.0, 30_000.0]
    held = Lot([0.0] * 3, [0.0] * 3, [0.66, 1.0, 1.085], [1.0, 1 / 155, 1.0])
    weights = np.array([u * v / EQUITY for u, v in zip(units, held.base_value)])
    proposal = propose(dict(zip(book.names, weights)))
    decision = judge(proposal, MaxPosition())
    assert book.allowed_units(units, proposal.weights, decision.weights) == [45_454, 30_000, 27_649]


def test_exactly_30_percent_stays_and_nothing_is_copied() -> None:
    proposal = propose({"AUDUSD": 0.30, "EURUSD": -0.30})
    decision = judge(proposal, MaxPosition())
    assert decision.weights is proposal.weights
    assert not decision.findings
    assert judge(propose({"AUDUSD": 0.30001}), MaxPosition()).weights == pytest.approx([0.30])


@pytest.mark.parametrize(("size", "wanted"), [(0.33, 0.33), (0.3301, 0.30), (0.40, 0.30)])
def test_drift_is_trimmed_to_30_past_33_percent_at_the_end_of_the_day(size: float, wanted: float) -> None:
    at_end = propose({"AUDUSD": -size}, stage="held", is_day_end=True)
    assert allowed(judge(at_end, MaxPosition())) == {"AUDUSD": pytest.approx(-wanted)}


def test_drift_is_left_alone_during_the_day() -> None:
    proposal = propose({"AUDUSD": 0.45}, stage="held")
    assert judge(proposal, MaxPosition()).weights is proposal.weights


def test_net_exposure_of_a_currency_is_at_most_60_percent() -> None:
    # AUDJPY and NZDJPY, 0.4 each: JPY is 0.8 short; both legs shrink by 0.6 / 0.8.
    exposure = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    proposal = Proposal(
        stage="target",
        nav=EQUITY,
        legs=("AUDJPY", "NZDJPY"),
        weights=np.array([0.4, 0.4]),
        held=np.zeros(2),
        exposure=exposure,
        signal=np.zeros(3),
    )
    rule = MaxPosition(limit=0.5)
    assert not rule.is_quiet(proposal, STATE)
    decision = judge(proposal, rule)
    assert decision.weights == pytest.approx([0.3, 0.3])
    assert max(abs(exposure @ decision.weights)) == pytest.approx(0.6)
    even = attrs.evolve(proposal, weights=np.array([0.3, 0.3]))
    assert judge(even, rule).weights is even.weights


# --- max exposure ----------------------------------------------------------------------------------------------------


def test_opening_orders_are_scaled_alike() -> None:
    # Gross 1.9 already; 10,000 and 20,000 more: a third of each.
    held = {"EURUSD": 1.0, "AUDUSD": -0.9}
    proposal = propose({**held, "GBPUSD": 0.10, "NZDUSD": -0.20}, held)
    decision = judge(proposal, MaxExposure())
    assert allowed(decision) == {
        "EURUSD": pytest.approx(1.0),
        "AUDUSD": pytest.approx(-0.9),
        "GBPUSD": pytest.approx(0.0333333333),
        "NZDUSD": pytest.approx(-0.0666666667),
    }
    pairs = {n: Instrument(name=n, exposure=Pair.parse(n)) for n in proposal.legs}
    book = Book.of(("EUR", "AUD", "GBP", "NZD"), "USD", pairs)
    # The two orders in dollars (prices of 1).
    units = book.allowed_units((proposal.weights * EQUITY).tolist(), proposal.weights, decision.weights)
    assert units[2:] == [3_333, -6_666]


def test_exactly_twice_nav_is_within_the_limit() -> None:
    proposal = propose({"EURUSD": 1.0, "AUDUSD": -1.0})
    assert judge(proposal, MaxExposure()).weights is proposal.weights
    over = judge(propose({"EURUSD": 1.0, "AUDUSD": -1.001}), MaxExposure())
    assert np.abs(over.weights).sum() == pytest.approx(2.0)


def test_enlarging_a_held_position_counts_only_what_is_added() -> None:
    held = {"EURUSD": 1.5}
    decision = judge(propose({"EURUSD": 2.0, "AUDUSD": 0.5}, held), MaxExposure())
    assert allowed(decision) == {"EURUSD": pytest.approx(1.75), "AUDUSD": pytest.approx(0.25)}


@pytest.mark.parametrize(
    ("gross", "is_day_end", "wanted"),
    [(2.2, True, 2.2), (2.21, True, 2.0), (2.21, False, 2.21), (2.5, False, 2.5), (2.51, False, 2.0)],
)
def test_drift_of_exposure(gross: float, is_day_end: bool, wanted: float) -> None:
    held = {"EURUSD": gross * 0.75, "AUDUSD": -gross * 0.25}
    decision = judge(propose(held, stage="held", is_day_end=is_day_end), MaxExposure())
    assert np.abs(decision.weights).sum() == pytest.approx(wanted)
    assert decision.weights[0] / decision.weights[1] == pytest.approx(-3.0)


# --- currencies a side -----------------------------------------------------------------------------------------------


LONGS = ("AUDUSD", "NZDUSD", "GBPUSD", "EURUSD")


def test_the_weakest_of_four_is_dropped_at_a_rebalance() -> None:
    proposal = propose(dict.fromkeys(LONGS, 0.2), signal=[0.04, 0.01, 0.03, 0.02], is_due=True)
    assert allowed(judge(proposal, MaxCurrenciesPerSide())) == {
        "AUDUSD": 0.2,
        "NZDUSD": 0.0,
        "GBPUSD": 0.2,
        "EURUSD": 0.2,
    }


def test_the_weakest_short_is_the_one_that_pays_most() -> None:
    legs = {"EURUSD": -0.2, "USDJPY": 0.2, "USDCHF": 0.2, "USDSEK": 0.2}  # long dollars is short the other
    proposal = propose(legs, signal=[-0.01, -0.05, -0.04, -0.02], is_due=True)
    assert allowed(judge(proposal, MaxCurrenciesPerSide())) == {**legs, "EURUSD": 0.0}


def test_a_currency_of_unknown_carry_is_the_weakest() -> None:
    proposal = propose(dict.fromkeys(LONGS, 0.2), signal=[0.04, -0.01, np.nan, 0.02], is_due=True)
    assert allowed(judge(proposal, MaxCurrenciesPerSide()))["GBPUSD"] == 0.0


def test_at_any_other_time_the_fourth_is_not_opened() -> None:
    held = dict.fromkeys(LONGS[:3], 0.2)
    proposal = propose({**held, "EURUSD": 0.2}, held, signal=[0.01, 0.02, 0.03, 0.09])
    decision = judge(proposal, MaxCurrenciesPerSide())
    long = [leg for leg, weight in allowed(decision).items() if weight > 0.01]
    assert long == list(LONGS[:3])


def test_one_percent_does_not_count_as_a_side() -> None:
    proposal = propose({**dict.fromkeys(LONGS[:3], 0.2), "EURUSD": 0.01, "USDJPY": 0.2})
    assert judge(proposal, MaxCurrenciesPerSide()).weights is proposal.weights
    assert judge(propose({**dict.fromkeys(LONGS[:3], 0.2), "EURUSD": 0.0101}), MaxCurrenciesPerSide()).findings


def test_a_fourth_is_not_opened_while_the_weakest_is_being_reduced() -> None:
    # Three are held; the target keeps them, the weakest a little smaller, and adds a stronger one.
    held = dict.fromkeys(LONGS[:3], 0.12)
    target = {"AUDUSD": 0.11, "NZDUSD": 0.12, "GBPUSD": 0.12, "EURUSD": 0.11}
    proposal = propose(target, held, signal=[0.01, 0.03, 0.03, 0.04], is_due=True)
    decision = judge(proposal, MaxCurrenciesPerSide())
    assert int((decision.weights > 0.01).sum()) <= 3


def test_which_of_equal_currencies_goes_does_not_depend_on_the_order_of_legs() -> None:
    kept = set()
    for legs in permutations(LONGS):
        decision = judge(propose(dict.fromkeys(legs, 0.2), signal=[0.02] * 4, is_due=True), MaxCurrenciesPerSide())
        kept.add(frozenset(leg for leg, weight in allowed(decision).items() if weight))
    assert len(kept) == 1


# --- stop loss -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sign", "average", "closing", "is_stopped"),
    [
        (1, 97.52, 92.6441, False),
        (1, 97.52, 92.644, True),
        (-1, 1.0850, 1.13924, False),
        (-1, 1.0850, 1.13925, True),
        (1, 1.2010, 1.0300, True),
    ],
)
def test_five_percent_against_the_entry_closes(sign: int, average: float, closing: float, is_stopped: bool) -> None:
    adverse = sign * (1 - closing / average)
    proposal = propose({"EURUSD": sign * 0.2, "AUDUSD": 0.1}, stage="held", adverse=(adverse, np.nan))
    decision = judge(proposal, StopLoss())
    assert allowed(decision) == {"EURUSD": pytest.approx(0.0 if is_stopped else sign * 0.2), "AUDUSD": 0.1}
    assert [v.action for v in decision.findings[:1]] == [Action.CLOSE] * is_stopped


def test_what_was_stopped_is_not_reopened_in_that_direction() -> None:
    state = attrs.evolve(STATE, stopped=frozenset({("EURUSD", 1)}))
    assert allowed(judge(propose({"EURUSD": 0.2, "AUDUSD": 0.2}), StopLoss(), state=state)) == {
        "EURUSD": 0.0,
        "AUDUSD": 0.2,
    }
    other_way = propose({"EURUSD": -0.2, "AUDUSD": 0.2})
    assert judge(other_way, StopLoss(), state=state).weights is other_way.weights


# --- daily loss and drawdown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("nav", "is_halted"), [(97_000.01, False), (97_000.00, True), (96_000.0, True)])
def test_daily_loss(nav: float, is_halted: bool) -> None:
    proposal = propose({"EURUSD": 0.2}, nav=nav)
    decision = judge(proposal, *default_rules())
    assert decision.state is (TradingState.REDUCING if is_halted else TradingState.ACTIVE)
    assert allowed(decision) == {"EURUSD": 0.0 if is_halted else 0.2}
    verdict = ask(DailyLoss(), proposal)
    assert verdict.action is (Action.HALT_OPENING if is_halted else Action.ALLOW)
    assert verdict.until == (datetime(2025, 3, 12, 21, tzinfo=UTC) if is_halted else None)


def test_the_next_day_starts_from_its_own_nav() -> None:
    state = STATE.at_day_end(97_500.0, 97_500.0)
    assert (state.day_start, state.high_water) == (97_500.0, 100_000.0)
    assert ask(DailyLoss(), propose({}, nav=97_500.0), state).action is Action.ALLOW
    assert ask(DailyLoss(), propose({}, nav=94_575.0), state).action is Action.HALT_OPENING


def test_a_deposit_changes_neither_the_days_return_nor_the_drawdown() -> None:
    state = RiskState(day_start=100_000.0, high_water=100_000.0).after_flow(97_500.0, 10_000.0)
    assert state.high_water == pytest.approx(110_256.41, abs=0.005)
    assert 107_500 / state.day_start - 1 == pytest.approx(-0.025)
    assert 107_500 / state.high_water - 1 == pytest.approx(-0.025)
    assert ask(DailyLoss(), propose({}, nav=107_500.0), state).headroom == pytest.approx(0.005)
    back = state.after_flow(107_500.0, -10_000.0)
    assert back.day_start == pytest.approx(100_000.0)
    assert back.high_water == pytest.approx(100_000.0)


@pytest.mark.parametrize(("nav", "is_halted"), [(88_400.01, False), (88_400.00, True)])
def test_drawdown(nav: float, is_halted: bool) -> None:
    state = RiskState(day_start=nav, high_water=104_000.0)
    held = propose({"EURUSD": 0.2, "USDJPY": -0.3}, stage="held", nav=nav)
    decision = judge(held, *default_rules(), state=state)
    assert decision.state is (TradingState.HALTED if is_halted else TradingState.ACTIVE)
    assert (decision.weights == 0).all() == is_halted
    verdict = ask(Drawdown(), held, state)
    assert verdict.latch is is_halted
    assert verdict.until is None


def test_the_end_of_the_day_is_17_new_york() -> None:
    assert next_day_end(NOON) == datetime(2025, 3, 12, 21, tzinfo=UTC)
    assert next_day_end(datetime(2025, 3, 12, 21, tzinfo=UTC)) == datetime(2025, 3, 13, 21, tzinfo=UTC)
    assert next_day_end(datetime(2025, 3, 14, 21, tzinfo=UTC)) == datetime(2025, 3, 17, 21, tzinfo=UTC)


# --- staleness -------------------------------------------------------------------------------------------------------


def test_age_counts_open_minutes_only() -> None:
    friday = datetime(2025, 3, 14, 20, 59, 30, tzinfo=UTC)  # 16:59:30 New York
    sunday = datetime(2025, 3, 16, 21, tzinfo=UTC)  # 17:00 New York
    assert open_minutes(friday, sunday + timedelta(minutes=30)) == pytest.approx(30.5)
    assert open_minutes(friday, sunday + timedelta(minutes=60)) == pytest.approx(60.5)


@pytest.mark.parametrize(
    ("minutes", "interval", "budget"),
    [(60, timedelta(minutes=5), 60), (60, timedelta(days=1), 1440), (90, timedelta(hours=1), 90)],
)
def test_the_budget_is_never_shorter_than_the_feeds_interval(minutes: int, interval: timedelta, budget: int) -> None:
    assert Staleness(minutes).budget(interval) == budget


def test_a_stale_leg_is_not_opened() -> None:
    held = {"EURUSD": 0.1, "AUDUSD": 0.3}
    target = {"EURUSD": 0.2, "AUDUSD": 0.4, "GBPUSD": 0.1}
    decision = judge(propose(target, held, is_stale=np.array([True, False, True])), Staleness())
    assert allowed(decision) == {"EURUSD": pytest.approx(0.1), "AUDUSD": 0.4, "GBPUSD": 0.0}
    assert decision.state is TradingState.ACTIVE
    assert decision.findings[0].facts["stale"] == ["EURUSD", "GBPUSD"]


def test_with_more_than_half_the_book_stale_nothing_opens() -> None:
    held = {"EURUSD": 0.31, "AUDUSD": 0.3}
    target = {"EURUSD": 0.2, "AUDUSD": 0.4}
    decision = judge(propose(target, held, is_stale=np.array([True, False])), Staleness())
    assert allowed(decision) == {"EURUSD": 0.2, "AUDUSD": pytest.approx(0.3)}
    assert decision.state is TradingState.REDUCING
    half = judge(propose(target, {"EURUSD": 0.3, "AUDUSD": 0.3}, is_stale=np.array([True, False])), Staleness())
    assert half.state is TradingState.ACTIVE


def test_nothing_stale_is_quiet() -> None:
    for stale in (None, np.zeros(1, bool)):
        proposal = propose({"EURUSD": 0.2}, is_stale=stale)
        assert Staleness().is_quiet(proposal, STATE)
        assert ask(Staleness(), proposal).action is Action.ALLOW


# --- what always passes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nav", [97_000.0, 96_000.0])
def test_a_reduction_passes_a_daily_loss_halt(nav: float) -> None:
    decision = judge(propose({"EURUSD": 0.1, "AUDUSD": 0.2}, {"EURUSD": 0.3}, nav=nav), *default_rules())
    assert allowed(decision) == {"EURUSD": 0.1, "AUDUSD": 0.0}


def test_a_reduction_passes_staleness_and_every_cap() -> None:
    stale = propose({"EURUSD": 0.1}, {"EURUSD": 0.3}, is_stale=np.array([True]))
    assert allowed(judge(stale, *default_rules())) == {"EURUSD": 0.1}
    over = propose({"EURUSD": 0.8, "AUDUSD": 1.5}, {"EURUSD": 0.9, "AUDUSD": 1.6})
    assert judge(over, *default_rules()).weights is over.weights


def test_a_change_of_sign_is_split() -> None:
    # Halted: the closing part goes through, the other side is not opened.
    halted = propose({"EURUSD": -0.2}, {"EURUSD": 0.3}, nav=97_000.0)
    assert allowed(judge(halted, *default_rules())) == {"EURUSD": 0.0}
    # Over the cap: the opening part is checked.
    large = propose({"EURUSD": -0.5}, {"EURUSD": 0.3})
    assert allowed(judge(large, *default_rules())) == {"EURUSD": pytest.approx(-0.3)}


@pytest.mark.parametrize("trading", [TradingState.REDUCING, TradingState.HALTED])
def test_the_states_hold_without_any_rule(trading: TradingState) -> None:
    state = attrs.evolve(STATE, trading=trading)
    proposal = propose({"EURUSD": 0.2, "AUDUSD": 0.1, "GBPUSD": -0.3}, {"EURUSD": 0.1, "AUDUSD": 0.2, "GBPUSD": 0.1})
    decision = review(proposal, (), VIEW, ACCOUNT, state)
    wanted = [0.1, 0.1, 0.0] if trading is TradingState.REDUCING else [0.0, 0.0, 0.0]
    np.testing.assert_array_equal(np.abs(decision.weights), wanted)
    assert decision.state is trading


# --- merging ---------------------------------------------------------------------------------------------------------


def test_caps_merge_by_minimum_and_the_result_is_reviewed_once_more() -> None:
    one = Says("one", Action.RESIZE, np.array([0.2, np.inf, 0.05]))
    two = Says("two", Action.RESIZE, np.array([0.3, 0.1, np.inf]))
    proposal = propose({"EURUSD": 0.5, "AUDUSD": -0.5, "GBPUSD": 0.5})
    decision = judge(proposal, one, two)
    assert decision.weights.tolist() == [0.2, -0.1, 0.05]
    assert [v.rule for v in decision.findings] == ["one", "two", "one", "two"]


def test_the_second_look_can_cut_further() -> None:
    # Dropping one currency brings gross under its limit; a rule that then objects is heard.
    def late(proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        if proposal.weights[1] == 0:
            return Verdict("late", Action.RESIZE, "LATE", np.array([0.1, np.inf]))
        return Verdict("late", Action.ALLOW)

    late.name = "late"  # type: ignore[attr-defined]
    decision = judge(propose({"EURUSD": 0.2, "AUDUSD": 0.2}), Says("first", Action.RESIZE, np.array([1, 0.0])), late)  # type: ignore[arg-type]
    assert decision.weights.tolist() == [0.1, 0.0]


SEVERITIES = [Action.RESIZE, Action.REJECT, Action.CLOSE, Action.HALT_OPENING, Action.FLATTEN_HALT, Action.KILL]


@pytest.mark.parametrize("action", SEVERITIES)
def test_the_most_severe_action_wins(action: Action) -> None:
    proposal = propose({"EURUSD": 0.2, "AUDUSD": 0.1}, {"AUDUSD": 0.15})
    caps = np.array([0.05, 0.05])
    decision = judge(proposal, Says("a", Action.RESIZE, np.array([0.19, 1.0])), Says("b", action, caps))
    wanted = {
        Action.RESIZE: [0.05, 0.1],
        Action.REJECT: [0.0, 0.1],
        Action.CLOSE: [0.05, 0.05],
        Action.HALT_OPENING: [0.0, 0.05],
        Action.FLATTEN_HALT: [0.0, 0.0],
        Action.KILL: [0.0, 0.0],
    }
    assert decision.weights[0] == wanted[action][0]
    if action is not Action.HALT_OPENING:  # its caps at severity >= CLOSE may or may not cut a reduction further
        assert decision.weights.tolist() == wanted[action]
    state = {Action.HALT_OPENING: TradingState.REDUCING}.get(
        action, TradingState.HALTED if action >= Action.FLATTEN_HALT else TradingState.ACTIVE
    )
    assert decision.state is state


@pytest.mark.parametrize("stage", ["target", "orders"])
@pytest.mark.parametrize("other", [Action.RESIZE, Action.REJECT, Action.CLOSE, Action.HALT_OPENING])
def test_a_more_severe_action_does_not_let_through_what_another_rule_rejects(other: Action, stage: Stage) -> None:
    # One rule closes AUDUSD, which says nothing about EURUSD; the other lets nothing open.
    proposal = propose({"EURUSD": 0.2, "AUDUSD": 0.15}, {"AUDUSD": 0.15}, stage=stage)
    closing = Says("closes", other, np.array([np.inf, 0.0]))
    for rules in permutations([Says("rejects", Action.REJECT), closing]):
        assert judge(proposal, *rules).weights.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("action", [Action.FLATTEN_HALT, Action.KILL])
def test_flatten_and_kill_close_a_held_book(action: Action) -> None:
    decision = judge(propose({"EURUSD": 0.2, "USDJPY": -0.1}, stage="held"), Says("stop", action))
    assert (decision.weights == 0).all()
    assert decision.state is TradingState.HALTED


def test_the_order_of_rules_has_no_meaning() -> None:
    rules = (*default_rules()[:4], Says("third party", Action.RESIZE, np.array([0.12, 0.5, 0.5, 0.5, 0.5])))
    held = {"EURUSD": 0.1}
    target = {"EURUSD": 0.4, "AUDUSD": 0.5, "GBPUSD": 0.6, "NZDUSD": 0.7, "USDJPY": 0.8}
    proposal = propose(target, held, signal=[0.01, 0.04, 0.03, 0.02, -0.03], is_due=True)
    results = {tuple(judge(proposal, *order).weights.tolist()) for order in permutations(rules)}
    assert len(results) == 1


@pytest.mark.parametrize("cap", [1.0, np.inf, 0.2000001])
def test_no_rule_can_enlarge(cap: float) -> None:
    proposal = propose({"EURUSD": 0.2})
    assert judge(proposal, Says("generous", Action.RESIZE, np.array([cap]))).weights is proposal.weights


def test_a_cap_that_is_no_number_fails_closed() -> None:
    try:
        decision = judge(propose({"EURUSD": 0.2}), Says("broken", Action.RESIZE, np.array([np.nan])))
    except Exception:
        return  # an error is as good
    assert decision.weights.tolist() == [0.0]


def test_a_negative_cap_never_turns_a_position_round() -> None:
    try:
        decision = judge(propose({"EURUSD": 0.2}), Says("broken", Action.RESIZE, np.array([-0.1])))
    except Exception:
        return
    assert decision.weights.tolist() == [0.0]


def test_a_rule_that_raises_lets_nothing_through() -> None:
    def broken(proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        raise ZeroDivisionError("broken rule")

    broken.name = "broken"  # type: ignore[attr-defined]
    try:
        decision = judge(propose({"EURUSD": 0.2}), broken)  # type: ignore[arg-type]
    except ZeroDivisionError:
        return
    assert (decision.weights == 0).all()


# --- records ---------------------------------------------------------------------------------------------------------


def test_a_decision_tells_what_every_rule_says() -> None:
    proposal = propose({"EURUSD": 0.5, "AUDUSD": 0.2}, adverse=(0.02, np.nan))
    decision = judge(proposal, *default_rules())
    verdicts = {v.rule: v for v in decision.verdicts}
    assert set(verdicts) == {r.name for r in default_rules()}
    assert verdicts["max-position"].headroom == pytest.approx(-0.2)
    assert verdicts["max-position"].facts == {"largest": 0.5, "limit": 0.3}
    assert verdicts["max-exposure"].headroom == pytest.approx(1.3)
    assert verdicts["max-currencies-per-side"].headroom == 1
    assert verdicts["stop-loss"].headroom == pytest.approx(0.03)
    assert verdicts["daily-loss"].headroom == pytest.approx(0.03)
    assert verdicts["drawdown"].headroom == pytest.approx(0.15)
    assert decision.at == NOON


def test_the_default_limits_are_those_of_the_brief() -> None:
    position, stop, count, exposure, daily, drawdown, stale = default_rules()
    assert isinstance(position, MaxPosition)
    assert (position.limit, position.currency_limit, position.drift_limit) == (0.30, 0.60, 0.33)
    assert isinstance(stop, StopLoss)
    assert stop.limit == 0.05
    assert isinstance(count, MaxCurrenciesPerSide)
    assert (count.limit, count.threshold) == (3, 0.01)
    assert isinstance(exposure, MaxExposure)
    assert (exposure.limit, exposure.drift_limit, exposure.hard_limit) == (2.0, 2.2, 2.5)
    assert isinstance(daily, DailyLoss)
    assert daily.limit == 0.03
    assert isinstance(drawdown, Drawdown)
    assert drawdown.limit == 0.15
    assert isinstance(stale, Staleness)
    assert stale.minutes == 60


@pytest.mark.parametrize("rule", [MaxPosition, MaxExposure, StopLoss, DailyLoss, Drawdown, Staleness])
@pytest.mark.parametrize("limit", [0.0, -0.1, float("nan"), float("inf")])
def test_a_limit_has_to_be_a_number_above_zero(rule: Any, limit: float) -> None:
    with pytest.raises(ConfigError):
        rule(limit)


def test_at_least_one_currency_a_side() -> None:
    with pytest.raises(ConfigError):
        MaxCurrenciesPerSide(0)


def test_exposures_of_a_book_of_crosses() -> None:
    # Long 100,000 AUDJPY, short 50,000 EURUSD, long 80,000 USDJPY, short 40,000 GBPUSD, in dollars.
    legs = ("AUDJPY", "EURUSD", "USDJPY", "GBPUSD")
    currencies = ("AUD", "JPY", "EUR", "GBP")
    exposure = np.array(
        [[(c == leg[:3]) * 1.0 - (c == leg[3:]) for leg in legs] for c in currencies],
    )
    dollars = np.array([66_000, -54_250, 80_000, -50_800.0])
    proposal = Proposal(
        stage="held",
        nav=EQUITY,
        legs=legs,
        weights=dollars / EQUITY,
        held=dollars / EQUITY,
        exposure=exposure,
        signal=np.zeros(4),
    )
    assert proposal.gross * EQUITY == pytest.approx(251_050, abs=1e-6)
    net = np.array(proposal.net) * EQUITY
    assert net == pytest.approx([66_000, -146_000, -54_250, -50_800], abs=1e-6)
    assert np.abs(net).sum() == pytest.approx(317_050, abs=1e-6)
    assert -net.sum() == pytest.approx(185_050, abs=1e-6)  # what is left is the dollars
    assert proposal.largest * EQUITY == pytest.approx(80_000)


def test_an_orders_proposal_carries_the_orders() -> None:
    order = Order(client_id="1", instrument="EURUSD", units=Pair.parse("EURUSD").pip * 10_000)
    seen = []

    def look(proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        seen.append((proposal.stage, list(proposal.orders)))
        return Verdict("look", Action.ALLOW)

    look.name = "look"  # type: ignore[attr-defined]
    judge(propose({"EURUSD": 0.2}, stage="orders", orders=[order]), look)  # type: ignore[arg-type]
    assert seen == [("orders", [order])]
