"""What holds of fxcarry.engine for every market, strategy, schedule, account currency and set of rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fxcarry.clock import SteppedClock
from fxcarry.conventions import session_ends
from fxcarry.costs import Costs
from fxcarry.engine import Engine
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.ledger import attribute
from fxcarry.market import MarketHistory, RateSeries, from_ns
from fxcarry.model import Account, Action, Proposal, RiskState, Verdict, minor_digits
from fxcarry.protocols import RiskRule
from fxcarry.risk import (
    DailyLoss,
    Drawdown,
    ExpectedShortfall,
    FatFinger,
    MarginDistance,
    MaxCurrenciesPerSide,
    MaxCurrencyExposure,
    MaxExposure,
    MaxPosition,
    OrderRate,
    PegLimit,
    PriceSanity,
    RolloverWindow,
    SpreadGuard,
    Staleness,
    StopLoss,
    StressLoss,
    Weekend,
    default_rules,
    professional_rules,
)
from fxcarry.routing import LeastCost
from fxcarry.simulation import SimBroker
from fxcarry.strategies import Baseline, Optimized, Rank, Sign

quick = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
accounts = st.sampled_from(["USD", "EUR", "JPY"])
schedules = st.sampled_from(["monthly", "weekly", "daily"])

LEVEL = {"EUR": 1.1, "JPY": 0.0067, "GBP": 1.25, "AUD": 0.65, "CAD": 0.7, "NOK": 0.095, "SEK": 0.1}
CASH = {"USD": 1_000_000, "EUR": 1_000_000, "JPY": 150_000_000}


def make_history(seed: int, *, volatility: float, holes: bool, intraday: bool, days: int) -> MarketHistory:
    """Random walks with jumps; rates that change; holes by row and by currency; one currency that starts late."""
    random = np.random.default_rng(seed)
    start = np.datetime64("2015-01-01") + int(random.integers(0, 3000))
    ends = session_ends(np.busday_offset(start, np.arange(days), roll="forward"))
    if intraday:
        ends = ends[: days // 2]
        minutes = np.array([0, 60, 300, 700][random.integers(2) :], "timedelta64[m]")
        times = np.sort((ends[:, None] - minutes).ravel())
    else:
        times = ends - np.timedelta64(int(random.choice([0, 1, 480])), "m")
    shape = (len(times), len(LEVEL))
    steps = random.normal(0, volatility, shape) + random.choice([-0.06, 0.06], shape) * (random.random(shape) < 0.01)
    spot = np.array(list(LEVEL.values())) * np.exp(steps.cumsum(0))
    if holes:
        spot[3:][random.random(len(spot) - 3) < 0.08] = np.nan
        spot[3:][random.random((len(spot) - 3, len(LEVEL))) < 0.02] = np.nan
        spot[: int(random.integers(0, 20)), int(random.integers(2, len(LEVEL)))] = np.nan
    known = np.array([times[0] - np.timedelta64(400, "D"), times[len(times) // 2]], "datetime64[ns]")
    rates = {
        c: RateSeries(c, known, known, random.uniform(-0.01, 0.08, 2).round(4), int(random.choice([360, 365])))
        for c in (*LEVEL, "USD")
    }
    return MarketHistory(
        times.astype("datetime64[ns]"),
        tuple(LEVEL),
        spot,
        "USD",
        rates,
        interval=timedelta(hours=5) if intraday else timedelta(days=1),
    )


@attrs.frozen
class Fickle:
    """Weights that depend on nothing but the seed and the day; sometimes far beyond every limit."""

    seed: int
    size: float

    def __call__(self, view: Any, account: Any) -> dict[str, float]:
        random = np.random.default_rng([self.seed, view.as_of.toordinal()])
        usable = [c for c in view.currencies if np.isfinite(view.carry[c]) and np.isfinite(view.spot[c])]
        return {c: float(random.normal(0, self.size)) for c in usable if random.random() < 0.7}


STRATEGIES: dict[str, Callable[[int], Any]] = {
    "baseline": lambda seed: Baseline(k=1 + seed % 3),
    "sign": lambda seed: Sign(),
    "rank": lambda seed: Rank(),
    "optimized": lambda seed: Optimized(lookback=25, k=2),
    "small": lambda seed: Fickle(seed, 0.15),
    "large": lambda seed: Fickle(seed, 0.6),
    "reckless": lambda seed: Fickle(seed, 6.0),
}
TIGHT = (
    MaxPosition(limit=0.2, currency_limit=0.3, drift_limit=0.205),
    StopLoss(limit=0.015),
    MaxCurrenciesPerSide(2),
    MaxExposure(limit=0.8, drift_limit=0.82, hard_limit=0.84),
    DailyLoss(0.006),
    Drawdown(0.06),
    Staleness(),
)
RULES: dict[str, tuple[RiskRule, ...]] = {
    "none": (),
    "default": default_rules(),
    "tight": TIGHT,
    "wide": (MaxExposure(limit=9.0, drift_limit=9.5, hard_limit=10.0), Drawdown(0.5), DailyLoss(0.1)),
    "stops": (StopLoss(limit=0.01), DailyLoss(0.004)),
    "professional": professional_rules(),
    "professional, tight": (
        MaxCurrencyExposure(limit=0.2, bloc_limit=0.3),
        PegLimit(also=("NOK",)),
        MarginDistance(opening=90.0, closing=60.0),
        ExpectedShortfall(limit=0.004, minimum=20),
        StressLoss(limit=0.1, scenarios=("crash-month-2008",)),
        Weekend(limit=0.5, lead_hours=30.0),
        PriceSanity(sigmas=2.5),
        SpreadGuard(multiple=1.01),
        RolloverWindow(after=1.0),
        FatFinger(limit=0.25),
        OrderRate(per_minute=3, per_day=8),
        DailyLoss(0.01, flatten=True),
    ),
}


@attrs.frozen
class Case:
    """Everything that determines a run."""

    seed: int
    account: str
    schedule: Any
    strategy: str
    rules: str
    volatility: float
    holes: bool
    intraday: bool
    routed: bool = False
    days: int = 50

    def run(
        self,
        *,
        stepped: bool = False,
        rules: Sequence[RiskRule] | None = None,
        cash: float = 1.0,
        until: int | None = None,
        strategy: Any = None,
        live: bool = False,
    ) -> Engine:
        """``until`` cuts the history after that many rows; ``live`` looks at the feed tick by tick."""
        history = make_history(
            self.seed, volatility=self.volatility, holes=self.holes, intraday=self.intraday, days=self.days
        )
        universe = tuple(c for c in (*LEVEL, "USD") if c != self.account)
        if until is not None:
            history = history.between(None, from_ns(history.times[until]))
        engine = Engine(
            feed=MemoryFeed(history) if live else None,
            broker=SimBroker(
                cash=CASH[self.account] * cash,
                account_currency=self.account,
                costs=Costs(commission_bps=0.2),
                financing=BenchmarkFinancing(0.01),
            ),
            strategy=strategy or STRATEGIES[self.strategy](self.seed),
            rules=RULES[self.rules] if rules is None else rules,
            universe=universe,
            rebalance=self.schedule,
            costs=Costs(),
            routing=LeastCost() if self.routed else None,
        )
        if live:
            for at in SteppedClock.over(history, frequency=self.schedule).at:
                engine.step(from_ns(at))
        else:
            engine.run(history=history.in_currency(self.account, universe), stepped=stepped)
        return engine


cases = st.builds(
    Case,
    seed=seeds,
    account=accounts,
    schedule=schedules,
    strategy=st.sampled_from(sorted(STRATEGIES)),
    rules=st.sampled_from(sorted(RULES)),
    volatility=st.sampled_from([0.002, 0.007, 0.02]),
    holes=st.booleans(),
    intraday=st.booleans(),
    routed=st.booleans(),
)


def trades(engine: Engine) -> list[tuple[Any, ...]]:
    log = engine.broker.log
    return [
        (f.at, log.names[f.instrument], f.units, f.price, f.posted, f.charged, f.order.reason, f.order.client_id)
        for f in log.fills
    ]


def assert_same(one: Engine, other: Engine) -> None:
    """The same run to the bit, as far as money goes; NAV to a thousandth of a minor unit."""
    a, b = one.broker.log.columns(), other.broker.log.columns()
    plain = [t[:-1] for t in trades(one)]
    assert plain == [t[:-1] for t in trades(other)]
    np.testing.assert_array_equal(a.units, b.units)
    np.testing.assert_array_equal(a.posted, b.posted)
    np.testing.assert_allclose(a.nav, b.nav, rtol=1e-11, atol=1e-5)
    for name in ("day_start", "high_water"):
        assert getattr(one.state, name) == pytest.approx(getattr(other.state, name), rel=1e-11)
    assert attrs.evolve(one.state, day_start=0.0, high_water=0.0) == attrs.evolve(
        other.state, day_start=0.0, high_water=0.0
    )
    weights, wanted = (x.units * x.base_value / x.nav[:, None] for x in (a, b))
    np.testing.assert_allclose(weights, wanted, rtol=1e-9, atol=1e-12)


# --- blocks ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, derandomize=True)
@given(cases)
@example(Case(2130, "JPY", "monthly", "reckless", "wide", 0.02, holes=False, intraday=False, days=70))
def test_blocks_and_steps_are_the_same_run(case: Case) -> None:
    block, stepped = case.run(), case.run(stepped=True)
    assert_same(block, stepped)
    assert trades(block) == trades(stepped)
    assert block.state.latch == stepped.state.latch


@settings(max_examples=12, deadline=None, derandomize=True)
@given(cases)
def test_looking_tick_by_tick_at_a_feed_is_the_same_run(case: Case) -> None:
    """What a live engine does with snapshots is what a backtest does with arrays, to the cent."""
    case = attrs.evolve(case, holes=False)  # a snapshot has no gaps: it holds each last quote
    block, live = case.run(), case.run(live=True)
    for one, other in zip(trades(block), trades(live), strict=True):
        assert (*one[:3], *one[4:]) == (*other[:3], *other[4:])
        assert one[3] == pytest.approx(other[3], rel=1e-14)  # a cross price may be made in another order
    assert block.broker.get_account_balance() == live.broker.get_account_balance()
    assert block.broker.nav == pytest.approx(live.broker.nav, rel=1e-11)
    assert (block.state.trading, block.state.latch, block.state.stopped) == (
        live.state.trading,
        live.state.latch,
        live.state.stopped,
    )


# --- optional members of a strategy ---------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seeds, st.sampled_from(["baseline", "sign", "rank"]), st.sampled_from(sorted(RULES)), st.booleans())
def test_asked_ahead_and_asked_when_due_are_the_same_run(seed: int, name: str, rules: str, holes: bool) -> None:
    case = Case(seed, "USD", "weekly", name, rules, 0.007, holes=holes, intraday=False)
    ahead = STRATEGIES[name](seed)
    asked: list[Any] = []

    def when_due(view: Any, account: Any) -> Any:
        asked.append((view.as_of, account.at))
        return ahead(view, account)

    assert ahead.reads_account is False
    one = case.run()
    other = case.run(strategy=when_due)
    assert_same(one, other)
    assert trades(one) == trades(other)
    assert asked
    assert all(as_of == at for as_of, at in asked)


# --- optional members of a rule --------------------------------------------------------------------------------------


class Hidden:
    """An attribute that is not there, whatever the class below says."""

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError


@attrs.frozen
class Delegate:
    """A third party's rule with nothing but a name and a call."""

    inner: RiskRule

    @property
    def name(self) -> str:
        return self.inner.name

    def __call__(self, proposal: Proposal, view: Any, account: Account, state: RiskState) -> Verdict:
        return self.inner(proposal, view, account, state)


class BareStop(StopLoss):
    """The engine places native stops for a StopLoss, so this stays one; it offers no optional member."""

    is_quiet = Hidden()
    first_breach = Hidden()
    stages = Hidden()


class BareStaleness(Staleness):
    """As above: the engine dates quotes for a Staleness."""

    is_quiet = Hidden()
    first_breach = Hidden()
    stages = Hidden()


def bare(rule: RiskRule) -> RiskRule:
    if isinstance(rule, StopLoss):
        return BareStop(rule.limit)
    if isinstance(rule, Staleness):
        return BareStaleness(rule.minutes)
    return Delegate(rule)


def test_a_bare_rule_has_no_optional_member() -> None:
    for rule in default_rules():
        for name in ("is_quiet", "first_breach", "stages"):
            assert hasattr(rule, name)
            assert not hasattr(bare(rule), name)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(cases)
@example(Case(267548, "JPY", "weekly", "large", "default", 0.02, holes=True, intraday=True, days=70))
def test_the_optional_members_make_a_run_faster_never_different(case: Case) -> None:
    rules = RULES[case.rules]
    assert_same(case.run(), case.run(rules=[bare(rule) for rule in rules]))


@quick
@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_rules_has_no_meaning(case: Case, shuffler: Any) -> None:
    rules = list(RULES[case.rules])
    shuffler.shuffle(rules)
    assert_same(case.run(), case.run(rules=rules))


@quick
@given(cases)
def test_a_rule_that_allows_everything_changes_nothing(case: Case) -> None:
    def silent(proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        return Verdict("silent", Action.ALLOW)

    silent.name = "silent"  # type: ignore[attr-defined]
    without, along = case.run(), case.run(rules=[*RULES[case.rules], silent])  # type: ignore[list-item]
    assert [t[:-1] for t in trades(without)] == [t[:-1] for t in trades(along)]
    assert without.broker.nav == pytest.approx(along.broker.nav, rel=1e-11)


# --- time ------------------------------------------------------------------------------------------------------------


@quick
@given(cases, st.floats(0.3, 0.95))
def test_cutting_off_the_future_changes_no_past_trade(case: Case, share: float) -> None:
    full = case.run()
    rows = int(share * len(full.columns.times))
    short = case.run(until=rows)
    count = len(short.broker.log.columns().nav)
    # The last tick of the cut history may lack a quote that the full one has by then.
    same = int(np.searchsorted(full.columns.row, rows))
    same = min(same, count)
    a, b = full.broker.log.columns(), short.broker.log.columns()
    np.testing.assert_array_equal(a.units[:same], b.units[:same])
    np.testing.assert_array_equal(a.posted[:same], b.posted[:same])
    np.testing.assert_allclose(a.nav[:same], b.nav[:same], rtol=1e-11)
    last = a.at[same - 1]
    assert [t for t in trades(full) if t[0] <= last] == [t for t in trades(short) if t[0] <= last]


@quick
@given(cases)
def test_no_order_fills_at_or_before_its_decision(case: Case) -> None:
    engine = case.run()
    sent = {}
    for plan in engine.journal.plans:
        for order in plan:
            sent[order.client_id] = plan.at  # type: ignore[attr-defined]
    for fill in engine.broker.log.fills:
        if fill.order.client_id in sent:
            assert from_ns(fill.at) > sent[fill.order.client_id]


@quick
@given(cases)
def test_client_ids_are_unique(case: Case) -> None:
    ids = [order.client_id for order in case.run().journal.orders]
    assert len(ids) == len(set(ids))


# --- money -----------------------------------------------------------------------------------------------------------


@quick
@given(cases)
def test_the_identity_holds_to_the_cent(case: Case) -> None:
    engine = case.run()
    books = attribute(engine.broker.log)  # raises LedgerError otherwise
    parts = sum(getattr(books, term) for term in books.TERMS)
    change = np.diff(books.nav, prepend=float(CASH[case.account]))
    assert np.abs(change - parts).max() < 0.5 / 10 ** minor_digits(case.account)


@quick
@given(cases)
def test_ten_times_the_account_trades_ten_times_the_units(case: Case) -> None:
    if case.rules not in ("none", "default", "wide"):  # a limit between two roundings may fall either way
        case = attrs.evolve(case, rules="default")
    if case.strategy == "optimized":  # its no-trade band compares what is held
        case = attrs.evolve(case, strategy="baseline")
    case = attrs.evolve(case, routed=False)  # of two routes that cost the same a rounding may choose
    one, ten = case.run(), case.run(cash=10.0)
    a, b = one.broker.log.columns(), ten.broker.log.columns()
    np.testing.assert_allclose(b.nav / 10, a.nav, rtol=2e-5)
    assert np.abs(b.units / 10 - a.units).max() <= 25


# --- limits ----------------------------------------------------------------------------------------------------------


@quick
@given(cases)
def test_after_a_halt_for_good_nothing_opens(case: Case) -> None:
    engine = case.run()
    halts = [at for at, state in engine.journal.states if state.trading.value == "halted"]
    if not halts:
        return
    columns = engine.broker.log.columns()
    after = np.array([from_ns(at) > halts[0] for at in columns.at])
    sizes = np.abs(columns.units[after])
    assert (np.diff(sizes, axis=0) <= 0).all()
