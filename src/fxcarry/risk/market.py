"""Whether the market can be traded: the age of quotes."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

import attrs
import numpy as np

from fxcarry.market import MarketView
from fxcarry.model import Account, Action, Proposal, RiskState, Stage, Verdict
from fxcarry.risk.shared import Code, fraction
from fxcarry.tape import Block


@attrs.frozen
class Staleness:
    """Open nothing in an instrument whose quote is older than its budget; nothing at all once half the book is stale.

    A quote as old as the budget is stale. What is held is left alone. The budget is ``minutes`` of open market time, or
    the feed's own interval where that is longer.
    """

    minutes: float = attrs.field(default=60.0, validator=fraction)
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
            Code.QUOTE_STALE,
            np.where(stale, kept, np.inf),
            facts={"stale": [leg for leg, is_stale in zip(proposal.legs, stale.tolist()) if is_stale]},
        )

    def first_breach(self, block: Block) -> int | None:
        """Never: age blocks openings only, and a block opens nothing."""
        return None
