"""What every risk rule has to do, as test cases R01 to R13, on made-up books of six pairs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, get_args

import attrs
import numpy as np
import pytest

from fxcarry.clock import SteppedClock
from fxcarry.costs import Costs
from fxcarry.errors import FxCarryError
from fxcarry.market import MarketView
from fxcarry.model import (
    Account,
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
from fxcarry.risk import review
from fxcarry.tape import Block, TapeMaker
from fxcarry.testing import Suite, signature_problems
from fxcarry.testing.factories import account, market_history, view_at

_LEGS = ("EURUSD", "AUDUSD", "GBPUSD", "NZDUSD", "USDJPY", "USDCHF")
_CURRENCIES = ("EUR", "AUD", "GBP", "NZD", "JPY", "CHF")
_NOON = datetime(2020, 7, 8, 16, tzinfo=UTC)  # a Wednesday
_MOMENTS = [_NOON + timedelta(hours=h) for h in (0, 5, 28, 50, 52, 53, 70, 98, 102)]  # up to and over a weekend
_NAV = 1_000_000.0
_NAVS = (1.0, 0.97, 0.85, 0.5, 1.1)  # of the NAV the day began with
_SIZES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.30, 0.31, 0.34, 0.6, 0.7, 1.5)
_SAMPLES = 30  # books a stage
_CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
_SLACK = 1e-9  # as fxcarry.risk: a limit met exactly is met whatever the last bit says


@attrs.frozen(kw_only=True)
class _Question:
    """What a rule is asked: the four arguments of a call."""

    proposal: Proposal
    view: MarketView
    account: Account
    state: RiskState

    def put_to(self, rule: RiskRule) -> Verdict:
        """The rule's answer."""
        return rule(self.proposal, self.view, self.account, self.state)

    def weights(self, rule: RiskRule) -> FloatArray:
        """What a review with this rule alone lets through."""
        return review(self.proposal, (rule,), self.view, self.account, self.state).weights

    def about(self, **changes: Any) -> _Question:
        """The same question of a changed proposal."""
        return attrs.evolve(self, proposal=attrs.evolve(self.proposal, **changes))

    def __str__(self) -> str:
        weights = {leg: round(w, 4) for leg, w in zip(self.proposal.legs, self.proposal.weights.tolist()) if w}
        return f"at stage {self.proposal.stage!r} on {weights}"


class RuleSuite(Suite):
    """Required fixture: ``rule``, a risk rule. It is asked many times, in any order, about books it never saw."""

    def test_R01_it_has_a_name_and_known_stages(self, rule: RiskRule) -> None:
        """A name to report; ``stages``, where given, are some of "target", "held" and "orders"."""
        assert isinstance(rule.name, str), f"name is {rule.name!r}, expected a text"
        assert rule.name.strip(), "name is empty"
        stages = _stages(rule)
        assert stages, "stages is empty: it is never asked"
        unknown = [stage for stage in stages if stage not in get_args(Stage)]
        assert not unknown, f"{unknown[0]!r} is no stage"

    def test_R02_its_call_has_the_signature_of_the_protocol(self, rule: RiskRule) -> None:
        """The engine calls it by these arguments."""
        problems = signature_problems(RiskRule, rule)
        assert not problems, "; ".join(problems)

    def test_R03_the_answer_is_a_verdict_with_a_code(self, rule: RiskRule) -> None:
        """By its own name, with a code like POSITION_TOO_LARGE where it demands something, and facts to keep."""
        for question in _questions():
            verdict = question.put_to(rule)
            assert isinstance(verdict, Verdict), f"the answer is a {type(verdict).__name__}, expected a Verdict"
            assert verdict.rule == rule.name, f"the verdict is of rule {verdict.rule!r}, not {rule.name!r}"
            assert isinstance(verdict.action, Action), f"the action is {verdict.action!r}"
            assert _CODE.fullmatch(verdict.code), f"the code is {verdict.code!r}, write it like POSITION_TOO_LARGE"
            is_quiet = verdict.action is Action.ALLOW
            assert is_quiet == (verdict.code == "OK"), f"the code of {verdict.action.name} is {verdict.code}"
            assert not (is_quiet and (verdict.caps is not None or verdict.latch)), "ALLOW with caps or a latch"
            assert isinstance(verdict.facts, Mapping), f"facts are a {type(verdict.facts).__name__}"
            json.dumps(dict(verdict.facts), default=str)

    def test_R04_it_is_pure(self, rule: RiskRule) -> None:
        """Asked again, in another order, it says the same; and what it was asked about is as it was."""
        first = [_text(question.put_to(rule)) for question in _questions()]
        for n, question in reversed([*enumerate(_questions())]):
            before = _text(question)
            again = _text(question.put_to(rule))
            assert again == first[n], f"asked again it says {again}, not {first[n]}"
            assert _text(question) == before, f"it changes what it is asked about, {question}"

    def test_R05_caps_are_sizes(self, rule: RiskRule) -> None:
        """One a leg, zero or more; infinity is no cap, NaN would close the leg."""
        for question in _questions():
            caps = question.put_to(rule).caps
            if caps is None:
                continue
            legs = len(question.proposal.legs)
            assert isinstance(caps, np.ndarray), f"caps are a {type(caps).__name__}, expected an array"
            assert caps.shape == (legs,), f"caps have shape {caps.shape}, the proposal has {legs} legs"
            assert (caps >= 0).all(), f"caps are {caps.tolist()}, expected numbers >= 0"

    def test_R06_it_only_shrinks(self, rule: RiskRule) -> None:
        """What the review lets through is never larger, nor of another sign, and no halt is lifted."""
        for question in _questions():
            wanted, allowed = question.proposal.weights, question.weights(rule)
            assert (np.abs(allowed) <= np.abs(wanted)).all(), f"larger than proposed: {allowed.tolist()}, {question}"
            assert (allowed * wanted >= 0).all(), f"turned around: {allowed.tolist()}, {question}"

    def test_R07_an_empty_and_a_flat_book_pass(self, rule: RiskRule) -> None:
        """On a calm day, with nothing lost, there is nothing to say of them."""
        for stage in get_args(Stage):
            for legs in (_LEGS, ()):
                verdict = _flat(stage, legs).put_to(rule)
                assert verdict.action is Action.ALLOW, (
                    f"{verdict.action.name} ({verdict.code}) at stage {stage!r} on a book of {len(legs)} legs, all flat"
                )

    def test_R08_it_fails_closed(self, rule: RiskRule) -> None:
        """A loss it acts on is not overlooked where NAV is no number; an error of fxcarry will do."""
        for question in _questions():
            good = question.about(nav=_NAV)
            if good.put_to(rule).action is not Action.ALLOW:
                continue
            if question.about(nav=_NAV / 2).put_to(rule).action is Action.ALLOW:
                continue
            try:
                verdict = question.about(nav=math.nan).put_to(rule)
            except FxCarryError:
                continue
            assert verdict.action is not Action.ALLOW, f"NAV is not known, and it allows what it would not, {question}"

    def test_R09_headroom_is_negative_where_it_acts(self, rule: RiskRule) -> None:
        """The distance to the limit: past it where something is demanded; None where there is no such number."""
        for question in _questions():
            verdict = question.put_to(rule)
            if verdict.headroom is None:
                continue
            assert not math.isnan(verdict.headroom), f"headroom is NaN, {question}"
            assert verdict.action is Action.ALLOW or verdict.headroom <= _SLACK, (
                f"{verdict.action.name} with a headroom of {verdict.headroom}, {question}"
            )

    def test_R10_a_halt_that_ends_ends_later(self, rule: RiskRule) -> None:
        """``until`` is an instant with a time zone after now, and a halt that ends by itself is not latched."""
        for question in _questions():
            verdict = question.put_to(rule)
            if verdict.until is None:
                continue
            assert verdict.until.tzinfo is not None, f"until {verdict.until} has no time zone"
            assert verdict.until > question.account.at, f"at {question.account.at} it halts until {verdict.until}"
            assert not verdict.latch, "it ends by itself, and it waits for a person"

    def test_R11_outside_its_stages_it_has_nothing_to_add(self, rule: RiskRule) -> None:
        """``stages`` is a promise: the engine does not ask at the others. Of orders it is enough that they are of a
        target the rule let through.
        """
        if not hasattr(rule, "stages"):
            pytest.skip("the rule is asked at every stage")
        for question in _questions():
            stage = question.proposal.stage
            if stage == "target" and "target" in rule.stages and "orders" not in rule.stages:
                allowed = question.weights(rule)
                again = question.about(stage="orders", weights=allowed).weights(rule)
                assert np.allclose(again, allowed), (
                    f"of a target it let {allowed.tolist()} through, of its orders {again.tolist()}, {question}"
                )
            elif stage != "orders" and stage not in rule.stages:
                verdict = question.put_to(rule)
                assert verdict.action is Action.ALLOW, f"{verdict.action.name} ({verdict.code}), {question}"

    def test_R12_where_it_is_quiet_it_allows(self, rule: RiskRule) -> None:
        """``is_quiet`` is a promise: the engine does not ask then."""
        is_quiet: Callable[[Proposal, RiskState], bool] | None = getattr(rule, "is_quiet", None)
        if is_quiet is None:
            pytest.skip("the rule has no is_quiet")
        for question in _questions():
            if is_quiet(question.proposal, question.state):
                verdict = question.put_to(rule)
                assert verdict.action is Action.ALLOW, f"quiet, and {verdict.action.name} ({verdict.code}), {question}"

    def test_R13_before_its_first_breach_it_allows(self, rule: RiskRule) -> None:
        """``first_breach`` is a promise: the engine does not ask at the ticks before it."""
        first_breach: Callable[[Block], int | None] | None = getattr(rule, "first_breach", None)
        if first_breach is None:
            pytest.skip("the rule has no first_breach, and is asked at every tick")
        for block in _blocks():
            found = first_breach(block)
            assert found is None or 0 <= found < len(block), f"the first breach of {len(block)} ticks is {found}"
            for tick, question in enumerate(_ticks(block)):
                if found is not None and tick >= found:
                    break
                verdict = question.put_to(rule)
                assert verdict.action is Action.ALLOW, (
                    f"{verdict.action.name} ({verdict.code}) at tick {tick}, its first breach is {found}, {question}"
                )


def _stages(rule: RiskRule) -> tuple[str, ...]:
    return tuple(getattr(rule, "stages", get_args(Stage)))


def _text(value: _Question | Verdict) -> str:
    """What tells two answers, or a question before and after, apart."""
    proposal = value.proposal if isinstance(value, _Question) else value
    facts = {name: fact.tolist() if isinstance(fact, np.ndarray) else fact for name, fact in _facts(proposal)}
    if isinstance(value, _Question):
        facts |= {"state": value.state, "held by the account": dict(value.account.current_weights)}
        facts |= {"spot": value.view.values("spot").tolist()}
    return repr(facts)


def _facts(record: Any) -> Iterator[tuple[str, Any]]:
    return ((field.name, getattr(record, field.name)) for field in attrs.fields(type(record)))


@cache
def _view() -> MarketView:
    return view_at(market_history(_CURRENCIES, days=130))


@cache
def _exposure() -> FloatArray:
    instruments = {name: Instrument(name=name, exposure=Pair.parse(name)) for name in _LEGS}
    exposure = Book.of(_CURRENCIES, "USD", instruments).exposure
    exposure.setflags(write=False)
    return exposure


def _questions() -> Iterator[_Question]:
    """The same questions every time: books of all sizes at every stage, losses, stale quotes, orders sent before."""
    view, exposure = _view(), _exposure()
    for number in range(_SAMPLES):
        for stage in get_args(Stage):
            yield _question(np.random.default_rng([number, *stage.encode()]), stage, view, exposure)


def _question(random: np.random.Generator, stage: Stage, view: MarketView, exposure: FloatArray) -> _Question:
    count = len(_LEGS)
    weights = random.choice(_SIZES, count) * random.choice([1.0, -1.0], count)
    held = weights if stage == "held" else weights * random.choice([0.0, 0.5, 1.0, 1.2, -1.0], count)
    at = _MOMENTS[random.integers(len(_MOMENTS))]
    ago = -np.sort(-random.integers(1, 90_000, random.integers(25)))
    sent = zip(ago.tolist(), random.choice(_SIZES, len(ago)).tolist())
    proposal = Proposal(
        stage=stage,
        nav=_NAV * float(random.choice(_NAVS)),
        legs=_LEGS,
        weights=weights,
        held=held,
        exposure=exposure,
        signal=random.choice([-0.02, 0.0, 0.01, 0.03, np.nan], count),
        adverse=tuple(np.where(held == 0, np.nan, random.choice([-0.02, 0.0, 0.04, 0.05, 0.2], count)).tolist()),
        is_stale=random.random(count) < 0.3 if random.random() < 0.5 else None,
        is_day_end=bool(random.integers(2)),
        is_due=bool(random.integers(2)) and stage != "held",
        currencies=_CURRENCIES,
        closeout=[float(random.choice([0.005, 1 / 60, 0.1, 0.25]))] * count,
        is_daily=bool(random.integers(2)),
        orders=[Order(client_id=f"n{i}", instrument=_LEGS[i], units=Decimal(1)) for i in range(random.integers(count))],
        recent=[SentOrder(at - timedelta(seconds=s), f"o{i}", of, bool(i % 2)) for i, (s, of) in enumerate(sent)],
    )
    state = RiskState(
        trading=TradingState.REDUCING if random.random() < 0.2 else TradingState.ACTIVE,
        day_start=_NAV,
        high_water=_NAV * float(random.choice([1.0, 1.2])),
        rejects=int(random.integers(5)),
    )
    exposures = dict(zip(_CURRENCIES, (exposure @ held).tolist()))
    return _Question(proposal=proposal, view=view, account=account(proposal.nav, at=at, weights=exposures), state=state)


def _flat(stage: Stage, legs: tuple[str, ...]) -> _Question:
    zero = np.zeros(len(legs))
    proposal = Proposal(
        stage=stage,
        nav=_NAV,
        legs=legs,
        weights=zero,
        held=zero.copy(),
        exposure=_exposure()[:, : len(legs)],
        signal=np.full(len(_CURRENCIES), 0.01),
        adverse=(math.nan,) * len(legs),
        currencies=_CURRENCIES,
        closeout=[1 / 60] * len(legs),
    )
    state = RiskState(day_start=_NAV, high_water=_NAV)
    return _Question(proposal=proposal, view=_view(), account=account(_NAV, at=_NOON), state=state)


@cache
def _blocks() -> tuple[Block, ...]:
    """Positions held over 60 days: small and large, in a calm market, one that falls and one that jumps."""
    blocks = []
    for number, (volatility, size) in enumerate([(1.0, 0.02), (1.0, 0.3), (1.0, 0.36), (4.0, 0.3), (4.0, 0.6)]):
        calm = market_history(_CURRENCIES, days=60, seed=number, start=date(2020, 1, 30))
        history = attrs.evolve(calm, spot=calm.spot[0] * (calm.spot / calm.spot[0]) ** volatility)
        pairs = tuple(Pair.parse(leg) for leg in _LEGS)
        maker = TapeMaker(pairs=pairs, account_currency="USD", costs=Costs.none(), financing=None, scale=100)
        tape = maker.of_history(history, SteppedClock.over(history))
        side = np.where(np.arange(len(_LEGS)) % 2, -1.0, 1.0)
        units = side * size * _NAV / tape.base_value[0]
        nav = _NAV + ((tape.mid - tape.mid[0]) * tape.conversion) @ units
        last = int(np.argmax(np.append(nav <= 0.1 * _NAV, True)))
        average, closeout = tape.mid[0].tolist(), [1 / 60] * len(_LEGS)
        blocks.append(Block(tape, 0, nav[:last], units.tolist(), average, _NAV, _NAV, closeout))
    return tuple(blocks)


def _ticks(block: Block) -> Iterator[_Question]:
    """What a rule would be asked tick by tick."""
    view, exposure, units = _view(), _exposure(), np.array(block.units)
    state = RiskState(day_start=block.day_start, high_water=block.high_water)
    for tick, nav in enumerate(block.nav.tolist()):
        here = block.first + tick
        weights = units * block.tape.base_value[here] / nav
        bid, ask = block.tape.closing[here, : len(units)], -block.tape.closing[here, len(units) :]
        proposal = Proposal(
            stage="held",
            nav=nav,
            legs=_LEGS,
            weights=weights,
            held=weights,
            exposure=exposure,
            signal=np.zeros(len(_CURRENCIES)),
            adverse=np.where(units > 0, 1 - bid / block.average, ask / block.average - 1).tolist(),
            is_day_end=bool(block.tape.is_day_end[here]),
            currencies=_CURRENCIES,
            closeout=block.closeout,
            is_daily=True,
        )
        yield _Question(proposal=proposal, view=view, account=account(nav, at=block.tape.instant(here)), state=state)
        if proposal.is_day_end:
            state = state.at_day_end(nav, nav)
