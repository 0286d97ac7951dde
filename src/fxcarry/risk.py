"""The risk rules, and the review that merges what they say.

Rules are pure and never enlarge anything. Each sees the original proposal; the most severe action wins, caps merge by
minimum, and the merged result is reviewed once more, so the order of rules has no meaning. Reductions always pass.

Limits are inclusive: a number that reaches its limit breaches it. Comparisons run on float64 with a slack of 1e-9 of
the compared value, far below a cent or a pip, so that a limit met exactly is met whatever the last bit says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import attrs
import numpy as np

from fxcarry.conventions import session_end, trade_date
from fxcarry.errors import ConfigError
from fxcarry.market import MarketView
from fxcarry.model import (
    Account,
    Action,
    Decision,
    FloatArray,
    Proposal,
    RiskState,
    Stage,
    TradingState,
    Verdict,
)
from fxcarry.protocols import RiskRule
from fxcarry.tape import Block

_SLACK = 1e-9

RATE_BUDGET = timedelta(days=7)
"""How long after its ``rates_verified_until`` a table of policy rates still counts as fresh."""


def _fraction(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ConfigError(f"{attribute.name} is {value}", hint="a fraction of NAV > 0, such as 0.30 for 30 %")


@attrs.frozen
class MaxPosition:
    """No position above ``limit`` of NAV, no currency's net exposure above ``currency_limit``.

    A position that has drifted past ``drift_limit`` is trimmed to ``limit`` at the end of the day.
    """

    limit: float = attrs.field(default=0.30, validator=_fraction)
    currency_limit: float = attrs.field(default=0.60, validator=_fraction)
    drift_limit: float = attrs.field(default=0.33, validator=_fraction)
    name: str = attrs.field(default="max-position", init=False)
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def _limit(self, proposal: Proposal) -> float:
        if proposal.stage != "held":
            return self.limit * (1 + _SLACK)
        return self.drift_limit * (1 + _SLACK) if proposal.is_day_end else np.inf

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        if proposal.largest > self._limit(proposal):
            return False
        net = self.currency_limit * (1 + _SLACK)
        return proposal.stage == "held" or -net <= min(proposal.net, default=0) <= max(proposal.net, default=0) <= net

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE what is too large."""
        sizes, largest, limit = proposal.sizes, proposal.largest, self._limit(proposal)
        caps = None
        if largest > limit:
            caps = np.array([self.limit if size > limit else np.inf for size in sizes])
        if proposal.stage != "held":
            net = proposal.net
            if max(max(net, default=0.0), -min(net, default=0.0)) > self.currency_limit * (1 + _SLACK):
                # Scale every leg that carries an exposed currency; a leg of two such currencies takes the smaller.
                scale = np.minimum(1.0, self.currency_limit / np.maximum(np.abs(net), 1e-300))
                per_leg = np.where(proposal.exposure != 0, scale[:, None], 1.0).min(0)
                shrunk = np.where(per_leg < 1, np.array(sizes) * per_leg, np.inf)
                caps = shrunk if caps is None else np.minimum(caps, shrunk)
        if caps is None:
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - largest)
        return Verdict(
            self.name,
            Action.RESIZE,
            "POSITION_TOO_LARGE",
            caps,
            self.limit - largest,
            facts={"largest": largest, "limit": self.limit},
        )

    def first_breach(self, block: Block) -> int | None:
        """The first end of day at which a position has drifted past ``drift_limit``."""
        limit = self.drift_limit * (1 + _SLACK)
        if block.size_bound <= limit * block.nav_min:
            return None
        return _first((block.size.max(1) > limit * block.nav) & block.is_day_end)


@attrs.frozen
class MaxExposure:
    """Gross exposure (the sum of all position sizes) at most ``limit`` times NAV.

    Opening parts are scaled pro rata, not first come first served. Passive drift is trimmed pro rata at the end of the
    day past ``drift_limit`` and at once past ``hard_limit``.
    """

    limit: float = attrs.field(default=2.0, validator=_fraction)
    drift_limit: float = attrs.field(default=2.2, validator=_fraction)
    hard_limit: float = attrs.field(default=2.5, validator=_fraction)
    name: str = attrs.field(default="max-exposure", init=False)
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        limit = self.limit
        if proposal.stage == "held":
            limit = self.drift_limit if proposal.is_day_end else self.hard_limit
        return proposal.gross <= limit * (1 + _SLACK)

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE opening parts pro rata."""
        gross = proposal.gross
        if self.is_quiet(proposal, state):
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - gross)
        if proposal.stage == "held":
            caps = np.array(proposal.sizes) * (self.limit / gross)
        else:
            kept, opened = proposal.opening()
            opening = float(opened.sum())
            room = max(self.limit - float(kept.sum()), 0.0)
            caps = kept + opened * (min(room / opening, 1.0) if opening > 0 else 1.0)
        return Verdict(
            self.name,
            Action.RESIZE,
            "EXPOSURE_TOO_LARGE",
            caps,
            self.limit - gross,
            facts={"gross": gross, "limit": self.limit},
        )

    def first_breach(self, block: Block) -> int | None:
        """The first tick at which gross has drifted past its limit for that tick."""
        if block.gross_bound <= self.drift_limit * (1 + _SLACK) * block.nav_min:
            return None
        limit = np.where(block.is_day_end, self.drift_limit, self.hard_limit)
        return _first(block.gross > limit * (1 + _SLACK) * block.nav)


@attrs.frozen
class MaxCurrenciesPerSide:
    """At most ``limit`` currencies net long and ``limit`` net short, counting exposures above ``threshold`` of NAV.

    The currencies with the weakest carry for their side are dropped; between rebalances those held come first, so that
    one more is not opened.
    """

    limit: int = 3
    threshold: float = attrs.field(default=0.01, validator=_fraction)
    name: str = attrs.field(default="max-currencies-per-side", init=False)
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def __attrs_post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError(f"limit is {self.limit}", hint="at least one currency a side")

    def _most(self, proposal: Proposal) -> int:
        """How many currencies the fuller side has."""
        above, below = self.threshold, -self.threshold
        long = short = 0
        for exposure in proposal.net:
            if exposure > above:
                long += 1
            elif exposure < below:
                short += 1
        return max(long, short)

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        return proposal.stage == "held" or self._most(proposal) <= self.limit

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE to zero the weakest of a side with too many."""
        if proposal.stage == "held":
            return Verdict(self.name, Action.ALLOW)
        most = self._most(proposal)
        if most <= self.limit:
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - most)
        net = np.array(proposal.net)
        held = proposal.exposure @ proposal.held
        names = [min([leg for leg, e in zip(proposal.legs, row) if e], default="") for row in proposal.exposure]
        drop: set[int] = set()
        for sign in (1.0, -1.0):
            members = np.flatnonzero(sign * net > self.threshold).tolist()

            def strength(i: int, sign: float = sign) -> tuple[bool, float, str]:
                carry = proposal.signal[i] * sign
                is_kept = not proposal.is_due and held[i] * sign > self.threshold
                return (not is_kept, -carry if carry == carry else np.inf, names[i])

            drop.update(sorted(members, key=strength)[self.limit :])
        caps = np.where((proposal.exposure[sorted(drop)] != 0).any(0), 0.0, np.inf)
        return Verdict(
            self.name,
            Action.RESIZE,
            "TOO_MANY_CURRENCIES",
            caps,
            float(self.limit - most),
            facts={"count": most, "limit": self.limit},
        )

    def first_breach(self, block: Block) -> int | None:
        """Never: a constant book gains no currency."""
        return None


@attrs.frozen
class StopLoss:
    """Close a position whose closing price is ``limit`` worse than its average entry, financing left aside.

    As after any CLOSE, the pair is then blocked in that direction until the next scheduled rebalance. Where the venue
    keeps native stops, one is placed at the same price when an order fills, and this rule is the second line.
    """

    limit: float = attrs.field(default=0.05, validator=_fraction)
    name: str = attrs.field(default="stop-loss", init=False)
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        return proposal.worst < self.limit - _SLACK

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """CLOSE what has moved too far against its entry."""
        caps = None
        headroom = self.limit - proposal.worst if proposal.worst > -np.inf else None
        if proposal.worst >= self.limit - _SLACK:
            caps = np.array([0.0 if move >= self.limit - _SLACK else np.inf for move in proposal.adverse])
        if caps is None:
            return Verdict(self.name, Action.ALLOW, headroom=headroom)
        return Verdict(self.name, Action.CLOSE, "STOP_LOSS", caps, headroom, facts={"limit": self.limit})

    def first_breach(self, block: Block) -> int | None:
        """The first tick at which a position is past its stop."""
        return block.first_adverse(self.limit - _SLACK)


@attrs.frozen
class DailyLoss:
    """Open nothing more once NAV has lost ``limit`` since the last 17:00 New York; ends at the next one."""

    limit: float = attrs.field(default=0.03, validator=_fraction)
    name: str = attrs.field(default="daily-loss", init=False)
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        return 1 - proposal.nav / state.day_start < self.limit - _SLACK

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """HALT_OPENING until the next 17:00 New York after the breach was seen."""
        nav = proposal.nav
        lost = 1 - nav / state.day_start
        if lost < self.limit - _SLACK:
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - lost)
        return Verdict(
            self.name,
            Action.HALT_OPENING,
            "DAILY_LOSS",
            headroom=self.limit - lost,
            until=next_day_end(account.at),
            facts={"nav": nav, "day_start": state.day_start, "limit": self.limit},
        )

    def first_breach(self, block: Block) -> int | None:
        """The first tick with a daily loss at the limit."""
        if block.nav_min > max(block.nav_max, block.day_start) * (1 - self.limit + _SLACK):
            return None
        start = np.empty(len(block.nav))
        start[0] = block.day_start
        start[1:] = block.nav[:-1]
        if not block.is_day_end[:-1].all():  # several ticks a day: carry the last day end's NAV forward
            last = np.maximum.accumulate(np.where(block.is_day_end, np.arange(1, len(start) + 1), 0))[:-1]
            start[1:] = np.concatenate([[block.day_start], block.nav])[last]
        return _first(block.nav <= start * (1 - self.limit + _SLACK))


@attrs.frozen
class Drawdown:
    """Close everything and halt once NAV is ``limit`` below its high-water mark. A person has to resume."""

    limit: float = attrs.field(default=0.15, validator=_fraction)
    name: str = attrs.field(default="drawdown", init=False)
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        return 1 - proposal.nav / state.high_water < self.limit - _SLACK

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """FLATTEN_HALT, latched."""
        nav = proposal.nav
        down = 1 - nav / state.high_water
        if down < self.limit - _SLACK:
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - down)
        return Verdict(
            self.name,
            Action.FLATTEN_HALT,
            "DRAWDOWN",
            headroom=self.limit - down,
            latch=True,
            facts={"nav": nav, "high_water": state.high_water, "limit": self.limit},
        )

    def first_breach(self, block: Block) -> int | None:
        """The first tick that far below the highest NAV so far."""
        if block.nav_min > max(block.nav_max, block.high_water) * (1 - self.limit + _SLACK):
            return None
        peak = np.maximum.accumulate(np.maximum(block.nav, block.high_water))
        return _first(block.nav <= peak * (1 - self.limit + _SLACK))


@attrs.frozen
class Staleness:
    """Open nothing in an instrument whose quote is older than its budget; nothing at all once half the book is stale.

    A quote as old as the budget is stale. What is held is left alone. The budget is ``minutes`` of open market time, or
    the feed's own interval where that is longer.
    """

    minutes: float = attrs.field(default=60.0, validator=_fraction)
    name: str = attrs.field(default="staleness", init=False)
    stages: ClassVar[tuple[Stage, ...]] = ("target",)

    def budget(self, interval: timedelta) -> float:
        """Open-market minutes a quote may be old."""
        return max(self.minutes, interval.total_seconds() / 60)

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        return proposal.stage != "target" or proposal.is_stale is None or not proposal.is_stale.any()

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """Cap stale legs at what is held; HALT_OPENING where more than half of the held book is stale."""
        stale = proposal.is_stale
        if stale is None or proposal.stage != "target" or not stale.any():
            return Verdict(self.name, Action.ALLOW)
        held = np.abs(proposal.held)
        book = float(held.sum())
        kept, _ = proposal.opening()
        halt = book > 0 and float(held[stale].sum()) > 0.5 * book
        return Verdict(
            self.name,
            Action.HALT_OPENING if halt else Action.RESIZE,
            "QUOTE_STALE",
            np.where(stale, kept, np.inf),
            facts={"stale": [leg for leg, is_stale in zip(proposal.legs, stale.tolist()) if is_stale]},
        )

    def first_breach(self, block: Block) -> int | None:
        """Never: age blocks openings only, and a block opens nothing."""
        return None


def _first(where: Any) -> int | None:
    at = int(where.argmax()) if len(where) else 0
    return at if len(where) and where[at] else None


def default_rules() -> tuple[RiskRule, ...]:
    """Position 30 %, 5 % stop, 3 currencies a side, exposure 2×, daily loss 3 %, drawdown 15 %, age 60 minutes."""
    return (
        MaxPosition(),
        StopLoss(),
        MaxCurrenciesPerSide(),
        MaxExposure(),
        DailyLoss(),
        Drawdown(),
        Staleness(),
    )


def next_day_end(at: datetime) -> datetime:
    """The first 17:00 New York strictly after ``at``."""
    return session_end(trade_date(at))


def review(
    proposal: Proposal, rules: Sequence[RiskRule], view: MarketView, account: Account, state: RiskState
) -> Decision:
    """Ask every rule, merge, and ask once more about the merged result.

    Returns the weights that may be held (order of the proposal's legs); the very array of the proposal where nothing
    was cut. While the state is REDUCING nothing opens; once it is HALTED everything is zero.
    """
    findings = _findings(proposal, rules, view, account, state)
    if not findings and state.trading is TradingState.ACTIVE and not state.stopped:
        weights, action = proposal.weights, Action.ALLOW
    else:
        weights, action = _merged(proposal, findings, state)
        if weights is not proposal.weights:
            again = proposal.reweighted(weights)
            more = _findings(again, rules, view, account, state)
            if more:
                weights, second = _merged(again, more, state)
                action, findings = max(action, second), findings + more

    asked = (proposal, view, account, state)
    return Decision(account.at, weights, proposal.legs, findings, _state_after(action, state), rules, asked)


def _findings(
    proposal: Proposal, rules: Sequence[RiskRule], view: MarketView, account: Account, state: RiskState
) -> list[Verdict]:
    """The verdicts that demand something. A rule that offers ``is_quiet`` is asked only where it is not."""
    findings = []
    for rule in rules:
        is_quiet = getattr(rule, "is_quiet", None)
        if is_quiet is not None and is_quiet(proposal, state):
            continue
        verdict = rule(proposal, view, account, state)
        if verdict.action is not Action.ALLOW:
            findings.append(verdict)
    return findings


def _merged(proposal: Proposal, findings: Sequence[Verdict], state: RiskState) -> tuple[FloatArray, Action]:
    """Weights after every cap and the most severe action; the proposal's own array where nothing was cut."""
    action = max((v.action for v in findings), default=Action.ALLOW)
    if action >= Action.FLATTEN_HALT or state.trading is TradingState.HALTED:
        return np.zeros(len(proposal.weights)), action
    is_held = proposal.stage == "held"
    opens_nothing = action in (Action.REJECT, Action.HALT_OPENING) or state.trading is TradingState.REDUCING
    capping = [(v.action >= Action.CLOSE, v.caps.tolist()) for v in findings if v.caps is not None]
    weights: list[float] = []
    is_cut = False
    for i, (weight, held, size) in enumerate(zip(proposal.weights.tolist(), proposal.held.tolist(), proposal.sizes)):
        allowed = size
        keeps = abs(held) if weight * held > 0 else 0.0
        is_reduction = 0 < size <= keeps
        for is_closing, caps in capping:
            cap = caps[i] if caps[i] > 0 else 0.0  # a cap that is no number lets nothing through
            if is_held or is_closing or not cap or not is_reduction:  # but for these a reduction always passes
                allowed = min(allowed, cap)
        if not is_held and (opens_nothing or (state.stopped and (proposal.legs[i], _sign(weight)) in state.stopped)):
            allowed = min(allowed, keeps)
        is_cut = is_cut or allowed < size
        weights.append(allowed if weight > 0 else -allowed)
    return (np.array(weights) if is_cut else proposal.weights), action


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _state_after(action: Action, state: RiskState) -> TradingState:
    if action >= Action.FLATTEN_HALT or state.trading is TradingState.HALTED:
        return TradingState.HALTED
    if action is Action.HALT_OPENING or state.trading is TradingState.REDUCING:
        return TradingState.REDUCING
    return TradingState.ACTIVE
