"""What has been lost: by a position, in a day, from the highest NAV."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from fxcarry.market import MarketView
from fxcarry.model import Account, Action, Proposal, RiskState, Stage, Verdict
from fxcarry.risk.shared import SLACK, Code, first, fraction, next_day_end
from fxcarry.tape import Block


@attrs.frozen
class StopLoss:
    """Close a position whose closing price is ``limit`` worse than its average entry, financing left aside.

    As after any CLOSE, the pair is then blocked in that direction until the next scheduled rebalance. Where the venue
    keeps native stops, one is placed at the same price when an order fills, and this rule is the second line.
    """

    limit: float = attrs.field(default=0.05, validator=fraction)
    name: str = attrs.field(default="stop-loss", init=False)
    headroom_unit: ClassVar[str] = "% of the entry price"
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        return proposal.worst < self.limit - SLACK

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """CLOSE what has moved too far against its entry."""
        caps = None
        headroom = self.limit - proposal.worst if proposal.worst > -np.inf else None
        if proposal.worst >= self.limit - SLACK:
            caps = np.array([0.0 if move >= self.limit - SLACK else np.inf for move in proposal.adverse])
        if caps is None:
            return Verdict(self.name, Action.ALLOW, headroom=headroom)
        return Verdict(self.name, Action.CLOSE, Code.STOP_LOSS, caps, headroom, facts={"limit": self.limit})

    def first_breach(self, block: Block) -> int | None:
        """The first tick at which a position is past its stop."""
        return block.first_adverse(self.limit - SLACK)


@attrs.frozen
class DailyLoss:
    """Open nothing more once NAV has lost ``limit`` since the last 17:00 New York; ends at the next one.

    ``flatten`` closes everything as well, which in a spike sells at its worst price.
    """

    limit: float = attrs.field(default=0.03, validator=fraction)
    flatten: bool = False
    name: str = attrs.field(default="daily-loss", init=False)
    headroom_unit: ClassVar[str] = "% of NAV"
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        return 1 - proposal.nav / state.day_start < self.limit - SLACK

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """HALT_OPENING until the next 17:00 New York after the breach was seen."""
        nav = proposal.nav
        lost = 1 - nav / state.day_start
        if lost < self.limit - SLACK:
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - lost)
        return Verdict(
            self.name,
            Action.HALT_OPENING,
            Code.DAILY_LOSS,
            np.zeros(len(proposal.sizes)) if self.flatten else None,
            headroom=self.limit - lost,
            until=next_day_end(account.at),
            facts={"nav": nav, "day_start": state.day_start, "limit": self.limit},
        )

    def first_breach(self, block: Block) -> int | None:
        """The first tick with a daily loss at the limit."""
        if block.nav_min > max(block.nav_max, block.day_start) * (1 - self.limit + SLACK):
            return None
        start = np.empty(len(block.nav))
        start[0] = block.day_start
        start[1:] = block.nav[:-1]
        if not block.is_day_end[:-1].all():  # several ticks a day: carry the last day end's NAV forward
            last = np.maximum.accumulate(np.where(block.is_day_end, np.arange(1, len(start) + 1), 0))[:-1]
            start[1:] = np.concatenate([[block.day_start], block.nav])[last]
        return first(block.nav <= start * (1 - self.limit + SLACK))


@attrs.frozen
class Drawdown:
    """Close everything and halt once NAV is ``limit`` below its high-water mark. A person has to resume."""

    limit: float = attrs.field(default=0.15, validator=fraction)
    name: str = attrs.field(default="drawdown", init=False)
    headroom_unit: ClassVar[str] = "% of NAV"
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        return 1 - proposal.nav / state.high_water < self.limit - SLACK

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """FLATTEN_HALT, latched."""
        nav = proposal.nav
        down = 1 - nav / state.high_water
        if down < self.limit - SLACK:
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - down)
        return Verdict(
            self.name,
            Action.FLATTEN_HALT,
            Code.DRAWDOWN,
            headroom=self.limit - down,
            latch=True,
            facts={"nav": nav, "high_water": state.high_water, "limit": self.limit},
        )

    def first_breach(self, block: Block) -> int | None:
        """The first tick that far below the highest NAV so far."""
        if block.nav_min > max(block.nav_max, block.high_water) * (1 - self.limit + SLACK):
            return None
        peak = np.maximum.accumulate(np.maximum(block.nav, block.high_water))
        return first(block.nav <= peak * (1 - self.limit + SLACK))
