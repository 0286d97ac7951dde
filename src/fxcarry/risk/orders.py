"""What is sent: no order too large, not too many, none twice."""

from __future__ import annotations

from datetime import timedelta
from statistics import median
from typing import ClassVar

import attrs
import numpy as np

from fxcarry.errors import ConfigError
from fxcarry.market import MarketView
from fxcarry.model import Account, Action, Proposal, RiskState, Stage, Verdict
from fxcarry.risk.shared import SLACK, Code, fraction, next_day_end, positive

_DAY = timedelta(days=1)


@attrs.frozen
class FatFinger:
    """No opening order above ``limit`` of NAV, nor above ``multiple`` times the median order that opened a position.

    One such order is a mistake: nothing of that decision is opened. With fewer than ten positions opened before there
    is no median. Orders that adjust a position do not count in it: they are small and would forbid the next opening.
    """

    limit: float = attrs.field(default=0.30, validator=fraction)
    multiple: float = attrs.field(default=20.0, validator=positive)
    name: str = attrs.field(default="fat-finger", init=False)
    headroom_unit: ClassVar[str] = "% of NAV"
    stages: ClassVar[tuple[Stage, ...]] = ("orders",)

    def _limit(self, proposal: Proposal) -> float:
        sizes = [order.size for order in proposal.recent if order.is_new]
        return min(self.limit, self.multiple * median(sizes)) if len(sizes) >= 10 else self.limit

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """REJECT."""
        if proposal.stage != "orders":
            return Verdict(self.name, Action.ALLOW)
        _, opened = proposal.opening()
        largest, limit = float(opened.max(initial=0.0)), self._limit(proposal)
        if largest <= limit * (1 + SLACK):
            return Verdict(self.name, Action.ALLOW, headroom=limit - largest)
        facts = {"largest": largest, "limit": limit}
        return Verdict(self.name, Action.REJECT, Code.ORDER_TOO_LARGE, headroom=limit - largest, facts=facts)


@attrs.frozen
class OrderRate:
    """At most ``per_minute`` orders in 60 seconds and ``per_day`` since 17:00 New York, no client id twice, and nothing
    more once ``refusals`` plans in a row had an order refused by the venue.

    Reducing orders count and always pass. What is too much for a minute is delayed; what is too much for a day is a
    fault, and nothing opens any more until the next 17:00. After the refusals nothing opens until a person resumes.
    """

    per_minute: int = 10
    per_day: int = 200
    refusals: int = 3
    name: str = attrs.field(default="order-rate", init=False)
    headroom_unit: ClassVar[str] = "orders"
    stages: ClassVar[tuple[Stage, ...]] = ("orders",)

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.per_minute <= self.per_day:
            raise ConfigError(
                f"per_minute is {self.per_minute} and per_day {self.per_day}", hint="1 <= per_minute <= per_day"
            )
        if self.refusals < 1:
            raise ConfigError(f"refusals is {self.refusals}", hint="at least 1")

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """REJECT a duplicate; HALT_OPENING at the day's limit and, latched, after the refusals; RESIZE what has to wait
        a minute to what is held.
        """
        if proposal.stage != "orders":
            return Verdict(self.name, Action.ALLOW)
        if state.rejects >= self.refusals:
            refused = {"refusals": state.rejects, "limit": self.refusals}
            return Verdict(self.name, Action.HALT_OPENING, Code.ORDERS_REFUSED, latch=True, facts=refused)
        new = [order.client_id for order in proposal.orders]
        ids = [*new, *(order.client_id for order in proposal.recent)]
        twice = sorted({i for i in new if ids.count(i) > 1})
        if twice:
            return Verdict(self.name, Action.REJECT, Code.DUPLICATE_ORDER, facts={"client_ids": twice})
        now, day_end = account.at, next_day_end(account.at - timedelta(microseconds=1))
        minute = sum(order.at > now - timedelta(minutes=1) for order in proposal.recent)
        day = sum(order.at > day_end - _DAY for order in proposal.recent)
        kept, opened = proposal.opening()
        reducing = int((kept < np.abs(proposal.held)).sum())
        opening = np.flatnonzero(opened).tolist()
        count = reducing + len(opening)
        headroom = float(min(self.per_minute - minute - count, self.per_day - day - count))
        if headroom >= 0 or not opening:
            return Verdict(self.name, Action.ALLOW, headroom=headroom)
        facts = {"minute": minute, "day": day, "orders": count}
        if day + count > self.per_day:
            return Verdict(
                self.name,
                Action.HALT_OPENING,
                Code.ORDER_RATE,
                headroom=headroom,
                until=next_day_end(now),
                facts={**facts, "limit": self.per_day},
            )
        room = max(self.per_minute - minute - reducing, 0)
        caps = np.full(len(kept), np.inf)
        caps[opening[room:]] = kept[opening[room:]]
        facts["limit"] = self.per_minute
        return Verdict(self.name, Action.RESIZE, Code.ORDER_RATE, caps, headroom, facts=facts, retry=True)
