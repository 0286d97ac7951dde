"""The risk rules, and the review that merges what they say.

Rules are pure and never enlarge anything. Each sees the original proposal; the most severe action wins, caps merge by
minimum, and the merged result is reviewed once more, so the order of rules has no meaning. Reductions always pass.

Limits are inclusive: a number that reaches its limit breaches it. Comparisons run on float64 with a slack of 1e-9 of the
compared value, far below a cent or a pip, so that a limit met exactly is met whatever the last bit says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

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
    TradingState,
    Verdict,
)
from fxcarry.protocols import RiskRule
from fxcarry.simulation import Block

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

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE what is too large."""
        sizes = proposal.sizes
        largest = max(sizes, default=0.0)
        limit = self.limit
        if proposal.stage == "held":
            limit = self.drift_limit if proposal.is_day_end else np.inf
        caps = None
        if largest > limit * (1 + _SLACK):
            caps = np.array([self.limit if size > limit * (1 + _SLACK) else np.inf for size in sizes])
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
        if float(np.maximum.reduce(block.size, axis=None)) <= limit * block.nav_min:
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

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE opening parts pro rata."""
        gross = sum(proposal.sizes)
        limit = self.limit
        if proposal.stage == "held":
            limit = self.drift_limit if proposal.is_day_end else self.hard_limit
        if gross <= limit * (1 + _SLACK):
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
        if block.gross_max <= self.drift_limit * (1 + _SLACK) * block.nav_min:
            return None
        limit = np.where(block.is_day_end, self.drift_limit, self.hard_limit)
        return _first(block.gross > limit * (1 + _SLACK) * block.nav)


@attrs.frozen
class MaxCurrenciesPerSide:
    """At most ``limit`` currencies net long and ``limit`` net short, counting exposures above ``threshold`` of NAV.

    The currencies with the weakest carry for their side are dropped from a target; an order that would add one more
    is refused.
    """

    limit: int = 3
    threshold: float = attrs.field(default=0.01, validator=_fraction)
    name: str = attrs.field(default="max-currencies-per-side", init=False)

    def __attrs_post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError(f"limit is {self.limit}", hint="at least one currency a side")

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE to zero the weakest of a side with too many."""
        if proposal.stage == "held":
            return Verdict(self.name, Action.ALLOW)
        long = short = 0
        for exposure in proposal.net:
            if exposure > self.threshold:
                long += 1
            elif exposure < -self.threshold:
                short += 1
        most = max(long, short)
        if most <= self.limit:
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - most)
        net = np.array(proposal.net)
        drop = np.zeros(len(net), bool)
        for sign in (1.0, -1.0):
            members = np.flatnonzero(sign * net > self.threshold)
            strength = np.nan_to_num(proposal.signal[members] * sign, nan=-np.inf)
            drop[members[np.argsort(-strength, kind="stable")[self.limit :]]] = True
        carries = drop if proposal.stage == "target" else (proposal.exposure[drop] != 0).any(0)
        caps = np.where(carries, 0.0 if proposal.stage == "target" else proposal.opening()[0], np.inf)
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

    The pair is then blocked in that direction until the next scheduled rebalance. Where the venue keeps native stops,
    one is placed at the same price when an order fills, and this rule is the second line.
    """

    limit: float = attrs.field(default=0.05, validator=_fraction)
    name: str = attrs.field(default="stop-loss", init=False)

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """CLOSE what has moved too far against its entry; hold closed what was stopped since the last rebalance."""
        caps = None
        headroom = None
        if proposal.adverse is not None:
            worst = max((move for move in proposal.adverse if move == move), default=-np.inf)
            headroom = self.limit - worst
            if worst >= self.limit - _SLACK:
                caps = np.array([0.0 if move >= self.limit - _SLACK else np.inf for move in proposal.adverse])
        if proposal.stage == "orders" and state.stopped:
            kept, _ = proposal.opening()
            blocked = np.array([(n, int(np.sign(w))) in state.stopped for n, w in zip(proposal.legs, proposal.weights)])
            if blocked.any():
                held_back = np.where(blocked, kept, np.inf)
                caps = held_back if caps is None else np.minimum(caps, held_back)
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

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """HALT_OPENING until the next 17:00 New York after the breach was seen."""
        nav = float(account.nav)
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

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """FLATTEN_HALT, latched."""
        nav = float(account.nav)
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

    The budget is ``minutes`` of open market time, or the feed's own interval where that is longer.
    """

    minutes: float = attrs.field(default=60.0, validator=_fraction)
    name: str = attrs.field(default="staleness", init=False)

    def budget(self, interval: timedelta) -> float:
        """Open-market minutes a quote may be old."""
        return max(self.minutes, interval.total_seconds() / 60)

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """Cap stale legs at what is held; HALT_OPENING where more than half of the held book is stale."""
        stale = proposal.is_stale
        if stale is None or not stale.any():
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
    """Position 30 %, 5 % stop, 3 currencies a side, exposure 2×, daily loss 3 %, drawdown 15 %, staleness 60 minutes."""
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

    Returns the weights that may be held (order of the proposal's legs); the very array of the proposal where nothing was
    cut. While the state is REDUCING nothing opens; once it is HALTED everything is zero.
    """
    verdicts, action, weights = _ask(proposal, rules, view, account, state)
    if weights is not proposal.weights:
        again, second, weights = _ask(proposal.reweighted(weights), rules, view, account, state)
        verdicts += [v for v in again if v.action is not Action.ALLOW]
        action = max(action, second)
    return Decision(account.at, weights, proposal.legs, verdicts, _state_after(action, state))


def _ask(
    proposal: Proposal, rules: Sequence[RiskRule], view: MarketView, account: Account, state: RiskState
) -> tuple[list[Verdict], Action, FloatArray]:
    verdicts = [rule(proposal, view, account, state) for rule in rules]
    action = Action.ALLOW
    cutting = []
    for verdict in verdicts:
        if verdict.action is not Action.ALLOW:
            action = max(action, verdict.action)
            if verdict.caps is not None:
                cutting.append(verdict)
    weights = proposal.weights
    if action >= Action.FLATTEN_HALT or state.trading is TradingState.HALTED:
        return verdicts, action, np.zeros(len(weights))
    for verdict in cutting:
        caps = verdict.caps
        assert caps is not None
        if proposal.stage != "held" and verdict.action < Action.CLOSE:  # a reduction always passes
            caps = np.where(proposal.opening()[1] <= 0, np.inf, caps)
        weights = np.copysign(np.minimum(np.abs(weights), caps), weights)
    if action in (Action.REJECT, Action.HALT_OPENING) or state.trading is TradingState.REDUCING:
        weights = np.copysign(np.minimum(np.abs(weights), proposal.opening()[0]), weights)
    return verdicts, action, weights


def _state_after(action: Action, state: RiskState) -> TradingState:
    if action >= Action.FLATTEN_HALT or state.trading is TradingState.HALTED:
        return TradingState.HALTED
    if action is Action.HALT_OPENING or state.trading is TradingState.REDUCING:
        return TradingState.REDUCING
    return TradingState.ACTIVE
