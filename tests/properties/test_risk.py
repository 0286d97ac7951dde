"""What holds of fxcarry.risk for every book, every rule and every block of ticks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fxcarry.clock import SteppedClock
from fxcarry.conventions import session_ends
from fxcarry.costs import Costs
from fxcarry.engine import Engine
from fxcarry.market import MarketHistory, RateSeries
from fxcarry.model import (
    Action,
    FloatArray,
    Instrument,
    Order,
    Pair,
    Proposal,
    RiskState,
    SentOrder,
    Stage,
    TradingState,
    Verdict,
)
from fxcarry.orders import Book
from fxcarry.protocols import RiskRule
from fxcarry.risk import (
    Code,
    DailyLoss,
    Drawdown,
    FinancingFlip,
    MarginDistance,
    MaxCurrenciesPerSide,
    MaxExposure,
    MaxPosition,
    Staleness,
    StopLoss,
    Weekend,
    default_rules,
    professional_rules,
    review,
)
from fxcarry.simulation import SimBroker
from fxcarry.tape import Block
from fxcarry.testing import account as account_of
from fxcarry.testing import market_history, view_at

quick = settings(max_examples=100, deadline=None, derandomize=True)
AT = datetime(2025, 3, 12, 21, tzinfo=UTC)
ACCOUNT = account_of(1_000_000, at=AT)
LEGS = ("EURUSD", "AUDUSD", "GBPUSD", "USDJPY", "USDCHF", "NZDUSD")
CURRENCIES = ("EUR", "AUD", "GBP", "JPY", "CHF", "NZD")
BOOK = Book.of(CURRENCIES, "USD", {name: Instrument(name=name, exposure=Pair.parse(name)) for name in LEGS})

VIEW = view_at(market_history(CURRENCIES, days=130))
SEEDS = st.integers(0, 2**32 - 1)
# Values at, just below and just above the limits come up often.
SIZES = [0.0, 0.01, 0.0101, 0.05, 0.1, 0.2, 0.30, 0.3000001, 0.33, 0.331, 0.5, 0.6, 0.601, 1.0]
NAVS = [970_000.0, 970_000.01, 969_999.99, 850_000.0, 850_000.01, 1_000_000.0, 1_100_000.0, 1_020_000.0]


def random_weights(random: np.random.Generator) -> FloatArray:
    size = random.choice(SIZES, 6) if random.random() < 0.7 else random.uniform(0, 2, 6).round(6)
    return np.asarray(size * random.choice([1.0, -1.0], 6))


def make_proposal(seed: int, stage: Stage | None = None) -> Proposal:
    random = np.random.default_rng(seed)
    chosen: Stage = (["target", "held", "orders"][random.integers(3)]) if stage is None else stage  # type: ignore[assignment]
    target = random_weights(random)
    held = random_weights(random) if random.random() < 0.7 else target * random.choice([0.5, 1.0, 1.1], 6)
    if chosen == "held":
        held = target
    return Proposal(
        stage=chosen,
        nav=float(random.choice(NAVS)),
        legs=LEGS,
        weights=target,
        held=held,
        exposure=BOOK.exposure,
        signal=random.choice([-0.02, 0.0, 0.01, 0.03, np.nan], 6),
        adverse=tuple(np.where(held == 0, np.nan, random.choice([-0.02, 0.0, 0.0499999, 0.05, 0.2], 6)).tolist()),
        is_stale=random.random(6) < 0.4 if random.random() < 0.5 else None,
        is_day_end=bool(random.integers(2)),
        is_due=bool(random.integers(2)) and chosen != "held",
        currencies=CURRENCIES,
        closeout=(random.choice([0.005, 1 / 60, 0.1, 0.25]) * np.ones(6)).tolist(),
        is_daily=bool(random.integers(2)),
        orders=[Order(client_id=str(i), instrument=LEGS[i], units=Decimal(1)) for i in range(random.integers(7))],
        recent=[
            SentOrder(AT - timedelta(seconds=int(s)), str(s + 3), float(random.choice(SIZES)), bool(s % 2))
            for s in np.sort(random.integers(0, 100_000 if random.random() < 0.5 else 90, random.integers(30)))[::-1]
        ],
    )


def make_state(seed: int) -> RiskState:
    random = np.random.default_rng([seed, 1])
    stopped = {(LEGS[random.integers(6)], int(random.choice([1, -1]))) for _ in range(random.integers(3))}
    return RiskState(
        trading=list(TradingState)[max(int(random.integers(5)) - 2, 0)],
        day_start=float(random.choice([1_000_000.0, 970_000.0, 1_030_000.0])),
        high_water=float(random.choice([1_000_000.0, 1_200_000.0])),
        stopped=frozenset(stopped),
    )


def proposals(stage: Stage | None = None) -> st.SearchStrategy[Proposal]:
    return SEEDS.map(lambda seed: make_proposal(seed, stage))


navs = st.sampled_from(NAVS)
risk_states = SEEDS.map(make_state)
default = st.sampled_from(default_rules())
rules = st.sampled_from(professional_rules())
MOMENTS = [  # at 17:00, at noon, and before, in and after a weekend
    AT + timedelta(hours=h) for h in (0, 19, 24, 24.5, 30, 46.99, 47, 48, 70, 96, 97, 100)
]
accounts = st.sampled_from(MOMENTS).map(lambda at: account_of(1_000_000, at=at))


@attrs.frozen
class Third:
    """A third party's rule that says the same of everything."""

    verdict: Verdict

    @property
    def name(self) -> str:
        return self.verdict.rule

    def __call__(self, proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        return self.verdict


def make_third(seed: int) -> Third:
    random = np.random.default_rng([seed, 2])
    caps = np.where(random.random(6) < 0.5, np.inf, random.uniform(0, 1, 6)) if random.random() < 0.8 else None
    return Third(Verdict("third", Action(int(random.integers(7))), "THIRD", caps))


third_parties = SEEDS.map(make_third)
sets_of_rules = st.lists(st.one_of(rules, third_parties), max_size=5)
simple_sets = st.lists(st.one_of(default, third_parties), max_size=5)


def judge(proposal: Proposal, rules: Sequence[RiskRule], state: RiskState) -> Any:
    return review(proposal, rules, VIEW, ACCOUNT, state)


# --- one rule --------------------------------------------------------------------------------------------------------


@settings(max_examples=250, deadline=None, derandomize=True)
@given(rules, proposals(), risk_states, accounts)
def test_a_quiet_rule_allows(rule: Any, proposal: Proposal, state: RiskState, account: Any) -> None:
    verdict = rule(proposal, VIEW, account, state)
    assert verdict.rule == rule.name
    if hasattr(rule, "is_quiet") and rule.is_quiet(proposal, state):
        assert verdict.action is Action.ALLOW
    if proposal.stage not in rule.stages:
        assert verdict.action is Action.ALLOW or rule in default_rules()
    assert verdict.code == Code.OK or verdict.action is not Action.ALLOW
    assert verdict.code in set(Code)
    json.dumps([verdict.headroom, dict(verdict.facts)])  # plain types: a journal writes them down


@quick
@given(rules, proposals(), risk_states)
def test_a_rule_is_pure(rule: Any, proposal: Proposal, state: RiskState) -> None:
    before = proposal.weights.copy(), proposal.held.copy(), list(proposal.sizes)
    one, other = (rule(proposal, VIEW, ACCOUNT, state) for _ in range(2))
    assert (one.action, one.code, one.latch, one.until) == (other.action, other.code, other.latch, other.until)
    assert (one.caps is None) == (other.caps is None)
    if one.caps is not None:
        np.testing.assert_array_equal(one.caps, other.caps)
        assert one.caps.shape == proposal.weights.shape
        assert (one.caps >= 0).all()
    for now, then in zip((proposal.weights, proposal.held, proposal.sizes), before):
        np.testing.assert_array_equal(now, then)


# --- the review ------------------------------------------------------------------------------------------------------


@quick
@given(proposals(), sets_of_rules, risk_states)
def test_nothing_is_enlarged_or_turned_round(proposal: Proposal, rules: Any, state: RiskState) -> None:
    decision = judge(proposal, rules, state)
    assert (np.abs(decision.weights) <= np.abs(proposal.weights) + 1e-15).all()
    assert (decision.weights * proposal.weights >= 0).all()


@quick
@given(proposals("target"), sets_of_rules, risk_states)
def test_reductions_are_never_blocked(proposal: Proposal, rules: Any, state: RiskState) -> None:
    decision = judge(proposal, rules, state)
    smaller = (proposal.weights * proposal.held > 0) & (np.abs(proposal.weights) <= np.abs(proposal.held))
    # What is to shrink shrinks at least that far, and what is to be given up is given up.
    assert (np.abs(decision.weights[smaller]) <= np.abs(proposal.weights[smaller])).all()
    assert (decision.weights[proposal.weights == 0] == 0).all()
    # A change of sign closes at least.
    turned = proposal.weights * proposal.held < 0
    assert (decision.weights[turned] * proposal.held[turned] <= 0).all()


@quick
@given(proposals("target"), risk_states)
def test_a_reduction_is_taken_as_it_is_unless_something_closes(proposal: Proposal, state: RiskState) -> None:
    assume(state.trading is not TradingState.HALTED)
    calm = attrs.evolve(proposal, adverse=())
    closing = (StopLoss, Drawdown, MarginDistance, Weekend, FinancingFlip, MaxCurrenciesPerSide)
    decision = judge(calm, [rule for rule in professional_rules() if not isinstance(rule, closing)], state)
    smaller = (proposal.weights * proposal.held > 0) & (np.abs(proposal.weights) <= np.abs(proposal.held))
    np.testing.assert_array_equal(decision.weights[smaller], proposal.weights[smaller])


@quick
@given(proposals(), sets_of_rules, risk_states, st.randoms(use_true_random=False))
def test_the_order_of_rules_has_no_meaning(proposal: Proposal, rules: Any, state: RiskState, shuffler: Any) -> None:
    other = list(rules)
    shuffler.shuffle(other)
    one, two = judge(proposal, rules, state), judge(proposal, other, state)
    np.testing.assert_array_equal(one.weights, two.weights)
    assert one.state is two.state
    assert sorted(v.rule + v.code for v in one.findings) == sorted(v.rule + v.code for v in two.findings)


@quick
@given(proposals(), simple_sets, third_parties, risk_states)
@example(make_proposal(0), [make_third(31)], make_third(2002), make_state(0))  # CLOSE beside REJECT
def test_one_rule_more_never_allows_more(proposal: Proposal, rules: Any, more: Any, state: RiskState) -> None:
    assume(more.verdict.action is not Action.ALLOW)
    assume(not any(isinstance(r, MaxExposure | MaxCurrenciesPerSide) for r in rules))  # their caps depend on the whole
    without, along = judge(proposal, rules, state), judge(proposal, [*rules, more], state)
    assert (np.abs(along.weights) <= np.abs(without.weights) + 1e-15).all()


@quick
@given(proposals("target"), sets_of_rules)
def test_reducing_opens_nothing_and_halted_holds_nothing(proposal: Proposal, rules: Any) -> None:
    state = RiskState(day_start=proposal.nav, high_water=proposal.nav)
    reducing = judge(proposal, rules, attrs.evolve(state, trading=TradingState.REDUCING))
    same_side = reducing.weights * proposal.held > 0
    assert (np.abs(reducing.weights[same_side]) <= np.abs(proposal.held[same_side])).all()
    assert (reducing.weights[~same_side] == 0).all()
    halted = judge(proposal, rules, attrs.evolve(state, trading=TradingState.HALTED))
    assert (halted.weights == 0).all()
    assert halted.state is TradingState.HALTED


@quick
@given(proposals("target"))
def test_from_flat_the_result_is_within_every_limit(proposal: Proposal) -> None:
    state = RiskState(day_start=proposal.nav, high_water=proposal.nav)
    flat = attrs.evolve(proposal, held=np.zeros(6), adverse=(), is_due=True)
    decision = judge(flat, default_rules(), state)
    allowed = decision.weights
    net = BOOK.exposure @ allowed
    assert np.abs(allowed).max() <= 0.30 * (1 + 1e-9)
    assert np.abs(allowed).sum() <= 2.0 * (1 + 1e-9)
    assert int((net > 0.01 + 1e-12).sum()) <= 3
    assert int((net < -0.01 - 1e-12).sum()) <= 3


@quick
@given(proposals("target"))
def test_whatever_is_held_a_rebalance_leaves_at_most_three_currencies_a_side(proposal: Proposal) -> None:
    # From a book that keeps the rule to any target.
    held = proposal.held.copy()
    for sign in (1, -1):
        members = np.flatnonzero(BOOK.exposure.sum(0) * held * sign > 0.01)
        held[members[3:]] = 0.0
    moved = attrs.evolve(proposal, held=held, adverse=(), is_due=True, is_stale=None)
    decision = judge(moved, [MaxCurrenciesPerSide()], RiskState(day_start=1e6, high_water=1e6))
    net = BOOK.exposure @ decision.weights
    assert int((net > 0.01 + 1e-12).sum()) <= 3
    assert int((net < -0.01 - 1e-12).sum()) <= 3


@quick
@given(proposals(), st.lists(rules, max_size=4, unique_by=lambda r: r.name), risk_states)
def test_a_decision_nobody_objects_to_is_the_proposal_itself(proposal: Proposal, rules: Any, state: RiskState) -> None:
    assume(state.trading is TradingState.ACTIVE and not state.stopped)
    decision = judge(proposal, rules, state)
    if all(v.action is Action.ALLOW for v in decision.verdicts):
        assert decision.weights is proposal.weights
        assert not decision.findings
    else:
        assert decision.findings


@quick
@given(SEEDS, st.floats(1.0, 1e4))
def test_allowed_units_never_exceed_the_allowed_weight(seed: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    wanted, cut = random_weights(random), random_weights(random)
    allowed = np.sign(wanted) * np.minimum(np.abs(wanted), np.abs(cut))
    units = (wanted * scale).tolist()
    whole = np.array(BOOK.allowed_units(units, wanted, allowed))
    assert (whole == np.rint(whole)).all()
    assert (np.abs(whole) <= np.abs(allowed * scale) + 1e-6).all()
    assert (np.abs(whole) >= np.abs(allowed * scale) - 1 - 1e-6).all()


# --- flows -----------------------------------------------------------------------------------------------------------


@quick
@given(navs, st.floats(-500_000, 5_000_000), navs, navs)
def test_a_flow_changes_no_return(nav: float, flow: float, start: float, peak: float) -> None:
    state = RiskState(day_start=start, high_water=max(start, peak))
    after = state.after_flow(nav, flow)
    np.testing.assert_allclose((nav + flow) / after.day_start, nav / state.day_start)
    np.testing.assert_allclose((nav + flow) / after.high_water, nav / state.high_water)
    assert after.trading is state.trading


# --- blocks ----------------------------------------------------------------------------------------------------------


def held_book(seed: int, volatility: float, intraday: bool, days: int) -> Engine:
    """An engine that holds a random book over a random market, no rules, all in one block."""
    random = np.random.default_rng(seed)
    ends = session_ends(np.busday_offset("2020-01-30", np.arange(days), roll="forward"))
    minutes = np.array([0, 60, 300] if intraday else [1], "timedelta64[m]")
    times = np.sort((ends[:, None] - minutes).ravel())
    spot = np.exp(random.normal(0, volatility, (len(times), len(CURRENCIES))).cumsum(0))
    if random.random() < 0.5:
        spot[5:][random.random(len(spot) - 5) < 0.1] = np.nan
    known = np.array(["2019-01-01"], "datetime64[ns]")
    history = MarketHistory(
        times.astype("datetime64[ns]"),
        CURRENCIES,
        spot,
        "USD",
        {c: RateSeries(c, known, known, np.zeros(1)) for c in (*CURRENCIES, "USD")},
        interval=timedelta(hours=2) if intraday else timedelta(days=1),
    )
    book = dict(zip(CURRENCIES, random.normal(0, 0.4, len(CURRENCIES)).tolist()))
    asked: list[object] = []

    def once(view: Any, account: Any) -> Any:
        asked.append(view)
        return book if len(asked) == 1 else dict(account.current_weights)

    engine = Engine(
        feed=None,
        broker=SimBroker(costs=Costs.none(), closeout_level=1e-9),
        strategy=once,
        rules=(),
        universe=CURRENCIES,
    )
    engine.run(history=history)
    return engine


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.002, 0.01, 0.03]),
    st.booleans(),
    st.sampled_from(
        [
            MaxPosition(),
            MaxPosition(limit=0.3, drift_limit=0.45),
            MaxExposure(),
            MaxExposure(limit=1.5, drift_limit=1.6, hard_limit=1.7),
            MaxCurrenciesPerSide(),
            StopLoss(),
            StopLoss(0.02),
            DailyLoss(),
            DailyLoss(0.005),
            Drawdown(),
            Drawdown(0.02),
            Staleness(),
            MarginDistance(),
            MarginDistance(opening=1.3, closing=1.1),
            Weekend(),
            Weekend(limit=0.5, lead_hours=1.0),
            Weekend(limit=0.2, lead_hours=40.0),
        ]
    ),
)
def test_what_first_breach_passes_over_stepping_finds_quiet(
    seed: int, volatility: float, intraday: bool, rule: Any
) -> None:
    engine = held_book(seed, volatility, intraday, 18)
    log, tape = engine.broker.log, engine.tape
    columns = log.columns()
    ticks = np.flatnonzero((columns.units != 0).any(1))
    first, last = int(ticks[0]), int(ticks[-1]) + 1
    units, average = columns.units[first], columns.average[first]
    same = int(np.argmax(np.append((columns.units[first:last] != units).any(1), True)))
    nav = columns.nav[first : first + same]
    state = RiskState(day_start=1_000_000.0, high_water=1_000_000.0)
    block = Block(tape, first, nav, units.tolist(), average.tolist(), np.inf)
    block.day_start, block.high_water, block.closeout = state.day_start, state.high_water, [0.25] * len(units)
    found = rule.first_breach(block)
    assert found is None or 0 <= found < len(nav)
    for tick in range(len(nav) if found is None else found):
        here = first + tick
        held = units * tape.base_value[here] / nav[tick]
        with np.errstate(invalid="ignore", divide="ignore"):
            bid, ask = tape.closing[here, : len(units)], -tape.closing[here, len(units) :]
            adverse = np.where(units > 0, 1 - bid / average, ask / average - 1)
        proposal = Proposal(
            stage="held",
            nav=float(nav[tick]),
            legs=engine.book.names,
            weights=held,
            held=held,
            exposure=engine.book.exposure,
            signal=np.zeros(len(CURRENCIES)),
            adverse=tuple(np.where(units == 0, np.nan, adverse).tolist()),
            is_day_end=bool(tape.is_day_end[here]),
            closeout=block.closeout,
        )
        account = account_of(float(nav[tick]), at=tape.instant(here))
        assert rule(proposal, VIEW, account, state).action is Action.ALLOW, (tick, found, len(nav))
        if tape.is_day_end[here]:
            state = state.at_day_end(float(nav[tick]), float(nav[tick]))


def test_the_ticks_of_a_held_book_are_those_of_its_clock() -> None:
    engine = held_book(1, 0.01, True, 6)
    assert isinstance(engine.clock, SteppedClock)
    assert len(engine.broker.log.columns().nav) == len(engine.clock)
