"""The risk rules, and the review that merges what they say.

Rules are pure and never enlarge anything. Each sees the original proposal; the most severe action wins, caps merge by
minimum, and the merged result is reviewed once more, so the order of rules has no meaning. Reductions always pass.

Limits are inclusive: a number that reaches its limit breaches it. Comparisons run on float64 with a slack of 1e-9 of the
compared value, far below a cent or a pip, so that a limit met exactly is met whatever the last bit says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

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


def opening_part(held: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Split |weights| into what stays of the held position and what is opened anew, leg by leg.

    A reduction opens nothing; a change of sign keeps nothing and opens all of the new side.
    """
    size = np.abs(weights)
    kept = np.where(weights * held > 0, np.minimum(np.abs(held), size), 0.0)
    return kept, size - kept


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
        size = np.abs(proposal.weights)
        largest = float(size.max()) if len(size) else 0.0
        limit = self.limit
        if proposal.stage == "held":
            limit = self.drift_limit if proposal.is_day_end else np.inf
        caps = None
        if largest > limit * (1 + _SLACK):
            caps = np.where(size > limit * (1 + _SLACK), self.limit, np.inf)
        if proposal.stage != "held":
            net = np.abs(proposal.exposure @ proposal.weights)
            if len(net) and net.max() > self.currency_limit * (1 + _SLACK):
                # Scale every leg that carries an exposed currency; a leg of two such currencies takes the smaller.
                scale = np.minimum(1.0, self.currency_limit / np.maximum(net, 1e-300))
                per_leg = np.where(proposal.exposure != 0, scale[:, None], 1.0).min(0)
                shrunk = np.where(per_leg < 1, size * per_leg, np.inf)
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
        size = np.abs(block.units * block.base_value).max(1)
        return _first((size > self.drift_limit * (1 + _SLACK) * block.nav) & block.is_day_end)


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
        size = np.abs(proposal.weights)
        gross = float(size.sum())
        limit = self.limit
        if proposal.stage == "held":
            limit = self.drift_limit if proposal.is_day_end else self.hard_limit
        if gross <= limit * (1 + _SLACK):
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - gross)
        if proposal.stage == "held":
            caps = size * (self.limit / gross)
        else:
            kept, opened = opening_part(proposal.held, proposal.weights)
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
        gross = block.base_value @ np.abs(block.units)
        limit = np.where(block.is_day_end, self.drift_limit, self.hard_limit)
        return _first(gross > limit * (1 + _SLACK) * block.nav)


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
        net = proposal.exposure @ proposal.weights
        long, short = net > self.threshold, net < -self.threshold
        most = max(int(np.count_nonzero(long)), int(np.count_nonzero(short)))
        if most <= self.limit:
            return Verdict(self.name, Action.ALLOW, headroom=float(self.limit - most))
        drop = np.zeros(len(net), bool)
        for side, sign in ((long, 1.0), (short, -1.0)):
            members = np.flatnonzero(side)
            strength = np.nan_to_num(proposal.signal[members] * sign, nan=-np.inf)
            drop[members[np.argsort(-strength, kind="stable")[self.limit :]]] = True
        carries = (proposal.exposure[drop] != 0).any(0)
        kept, opened = opening_part(proposal.held, proposal.weights)
        caps = np.where(carries, 0.0 if proposal.stage == "target" else kept, np.inf)
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
        if proposal.adverse is not None and len(proposal.adverse):
            worst = np.nan_to_num(proposal.adverse, nan=-np.inf)
            headroom = self.limit - float(worst.max())
            hit = worst >= self.limit - _SLACK
            if hit.any():
                caps = np.where(hit, 0.0, np.inf)
        if proposal.stage == "orders" and state.stopped:
            kept, _ = opening_part(proposal.held, proposal.weights)
            blocked = np.array([(n, int(np.sign(w))) in state.stopped for n, w in zip(proposal.legs, proposal.weights)])
            if blocked.any():
                held_back = np.where(blocked, kept, np.inf)
                caps = held_back if caps is None else np.minimum(caps, held_back)
        if caps is None:
            return Verdict(self.name, Action.ALLOW, headroom=headroom)
        return Verdict(self.name, Action.CLOSE, "STOP_LOSS", caps, headroom, facts={"limit": self.limit})

    def first_breach(self, block: Block) -> int | None:
        """The first tick at which a position is past its stop."""
        if not block.units.any():
            return None
        return _first((block.adverse() >= self.limit - _SLACK).any(1))


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
        kept, _ = opening_part(proposal.held, proposal.weights)
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


def _first(where: FloatArray | np.ndarray) -> int | None:
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

    Returns the weights that may be held (order of the proposal's legs). While the state is REDUCING nothing opens; once
    it is HALTED everything is zero.
    """
    verdicts, action, weights = _ask(proposal, rules, view, account, state)
    if action is not Action.ALLOW:
        again, second, weights = _ask(attrs.evolve(proposal, weights=weights), rules, view, account, state)
        verdicts += [v for v in again if v.action > Action.ALLOW]
        action = max(action, second)
    return Decision(account.at, weights, proposal.legs, tuple(verdicts), _state_after(action, state))


def _ask(
    proposal: Proposal, rules: Sequence[RiskRule], view: MarketView, account: Account, state: RiskState
) -> tuple[list[Verdict], Action, FloatArray]:
    verdicts = [rule(proposal, view, account, state) for rule in rules]
    action = max((v.action for v in verdicts), default=Action.ALLOW)
    weights = proposal.weights
    if action >= Action.FLATTEN_HALT or state.trading is TradingState.HALTED:
        return verdicts, action, np.zeros(len(weights))
    for verdict in verdicts:
        if verdict.caps is not None:
            caps = verdict.caps
            if proposal.stage != "held" and verdict.action < Action.CLOSE:  # a reduction always passes
                kept, opened = opening_part(proposal.held, proposal.weights)
                caps = np.where(opened <= 0, np.inf, caps)
            weights = np.sign(weights) * np.minimum(np.abs(weights), caps)
    if action in (Action.REJECT, Action.HALT_OPENING) or state.trading is TradingState.REDUCING:
        kept, _ = opening_part(proposal.held, weights)
        weights = np.sign(weights) * kept
    return verdicts, action, weights


def _state_after(action: Action, state: RiskState) -> TradingState:
    if action >= Action.FLATTEN_HALT or state.trading is TradingState.HALTED:
        return TradingState.HALTED
    if action is Action.HALT_OPENING or state.trading is TradingState.REDUCING:
        return TradingState.REDUCING
    return TradingState.ACTIVE
