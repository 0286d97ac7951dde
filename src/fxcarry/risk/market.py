"""Whether the market can be traded now: the age, sense and spread of quotes, the hour, what holding costs."""

from __future__ import annotations

import sys
from datetime import datetime, time, timedelta
from typing import ClassVar

import attrs
import numpy as np

from fxcarry.conventions import NEW_YORK, open_minutes_array, session_ends, trade_dates
from fxcarry.errors import ConfigError
from fxcarry.market import MarketView, TimeArray
from fxcarry.model import Account, Action, FloatArray, Proposal, RiskState, Stage, Verdict
from fxcarry.risk.shared import SLACK, Code, first, fraction, held_up, positive, pro_rata
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
            retry=True,
            facts={"stale": [leg for leg, is_stale in zip(proposal.legs, stale.tolist()) if is_stale]},
        )

    def first_breach(self, block: Block) -> int | None:
        """Never: age blocks openings only, and a block opens nothing."""
        return None


@attrs.frozen
class PriceSanity:
    """Open nothing on a price that has jumped until further quotes have confirmed it.

    A jump is a move from one quote to the next of more than ``sigmas`` standard deviations, or more than ``jump``, of
    15 minutes; over a longer time (a day's bar, say) both grow with its square root. A new level holds once
    ``confirmations`` quotes in a row are at it. The deviation is that of the last ``window`` moves; with fewer than 20
    only ``jump`` counts. Crossed and zero quotes never get this far: :class:`~fxcarry.model.Quote` refuses them.
    """

    sigmas: float = attrs.field(default=6.0, validator=positive)
    jump: float = attrs.field(default=0.03, validator=fraction)
    confirmations: int = 3
    window: int = 100
    name: str = attrs.field(default="price-sanity", init=False)
    stages: ClassVar[tuple[Stage, ...]] = ("target",)

    def __attrs_post_init__(self) -> None:
        if self.confirmations < 2 or self.window < 20:
            raise ConfigError(
                f"confirmations is {self.confirmations} and window {self.window}", hint="at least 2 and at least 20"
            )

    def _jump(self, prices: FloatArray, open_time: FloatArray) -> float | None:
        """The largest move not yet confirmed, None where there is none; ``open_time`` in minutes."""
        is_new = np.isfinite(prices)  # a quote that stands is not seen twice
        is_new[1:] &= prices[1:] != prices[:-1]
        seen, when = prices[is_new], open_time[is_new]
        moves, minutes = np.abs(np.log(seen[1:] / seen[:-1])), when[1:] - when[:-1]
        recent = slice(max(len(moves) - self.confirmations + 1, 0), None)
        earlier, elapsed = moves[: recent.start], minutes[: recent.start]
        limit = self.jump
        if len(earlier) >= 20 and elapsed.sum() > 0:
            limit = min(limit, self.sigmas * float(np.sqrt(earlier @ earlier / elapsed.sum() * 15)))
        jumps = moves[recent][moves[recent] > limit * np.sqrt(np.maximum(minutes[recent] / 15, 1)) * (1 + SLACK)]
        return float(jumps.max()) if len(jumps) else None

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE the legs of such a price to what is held of them."""
        if proposal.stage != "target":
            return Verdict(self.name, Action.ALLOW)
        _, opened = proposal.opening()
        touched = np.flatnonzero((proposal.exposure[:, opened > 0] != 0).any(1)).tolist()
        if not touched:
            return Verdict(self.name, Action.ALLOW)
        count = self.window + self.confirmations
        rows, times = view.spot_rows(count), view.row_times(count)
        open_time = np.asarray(open_minutes_array(times[0], times))
        found = {i: self._jump(rows[:, i], open_time) for i in touched}
        jumped = {i: move for i, move in found.items() if move is not None}
        caps = held_up(proposal, (proposal.exposure[list(jumped)] != 0).any(0))
        if caps is None:
            return Verdict(self.name, Action.ALLOW)
        moves = {view.currencies[i]: move for i, move in jumped.items()}
        facts = {"moves": moves, "sigmas": self.sigmas, "jump": self.jump}
        return Verdict(self.name, Action.RESIZE, Code.PRICE_NOT_CONFIRMED, caps, facts=facts, retry=True)


@attrs.frozen
class SpreadGuard:
    """Open nothing in an instrument whose spread is above ``multiple`` times its usual one.

    That is the median of the ``days`` days before within half an hour of this time of day in New York. Without at least
    five such quotes, and where the source has mid prices only, there is nothing to say.
    """

    multiple: float = attrs.field(default=4.0, validator=positive)
    days: int = 20
    name: str = attrs.field(default="spread-guard", init=False)
    headroom_unit: ClassVar[str] = "times the usual spread"
    stages: ClassVar[tuple[Stage, ...]] = ("target",)

    def __attrs_post_init__(self) -> None:
        if self.days < 5:
            raise ConfigError(f"days is {self.days}", hint="at least 5")

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE the legs of a wide spread to what is held of them."""
        times = view.row_times(sys.maxsize)
        count = len(times) - int(np.searchsorted(times, times[-1] - np.timedelta64(self.days * 7 // 5 + 1, "D")))
        half = view.half_spread_rows(count)
        if proposal.stage != "target" or half is None:
            return Verdict(self.name, Action.ALLOW)
        ratios = self._ratios(half, times[-count:], proposal.exposure)
        widest = max([r for r in ratios if r == r], default=np.nan)
        headroom = self.multiple - widest if widest == widest else None
        caps = held_up(proposal, [r > self.multiple * (1 + SLACK) for r in ratios])
        if caps is None:
            return Verdict(self.name, Action.ALLOW, headroom=headroom)
        wide = {leg: r for leg, r in zip(proposal.legs, ratios) if r > self.multiple}
        facts = {"times_usual": wide, "limit": self.multiple}
        return Verdict(self.name, Action.RESIZE, Code.SPREAD_WIDE, caps, headroom, facts=facts, retry=True)

    def _ratios(self, half: FloatArray, times: TimeArray, exposure: FloatArray) -> list[float]:
        """Each leg's spread over its usual one, NaN where either is not known."""
        until_end = session_ends(trade_dates(times)) - times  # time of day in New York
        is_near = np.abs(until_end - until_end[-1]) <= np.timedelta64(30, "m")
        is_near[-1] = False
        ratios = []
        for carried in (exposure != 0).T:
            quoted = half[:, carried]
            spread = np.where((quoted > 0).all(1), quoted.sum(1), np.nan)
            before = spread[is_near & np.isfinite(spread)]
            ratios.append(float(spread[-1] / np.median(before)) if len(before) >= 5 else np.nan)
        return ratios


def _wall(at: datetime) -> datetime:
    return at.astimezone(NEW_YORK)


@attrs.frozen
class Weekend:
    """Gross exposure at most ``limit`` over a weekend, and nothing opened from Friday 16:00 to Sunday 18:00 New York.

    From ``lead_hours`` before Friday 16:00 on, the book is trimmed pro rata to ``limit``; what is trimmed is not bought
    back before the next rebalance. The default, 23, is the tick of Thursday 17:00 for a book that is looked at once a
    day; 1 will do on live quotes. Once a day, an order decided on Friday is filled on Monday, and nothing is held up.
    """

    limit: float = attrs.field(default=1.5, validator=fraction)
    lead_hours: float = attrs.field(default=23.0, validator=positive)
    name: str = attrs.field(default="weekend", init=False)
    headroom_unit: ClassVar[str] = "% of NAV"
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def _is_near(self, at: datetime) -> bool:
        """Whether a Friday 17:00 is less than ``lead_hours`` and an hour away."""
        wall = _wall(at)
        if wall.weekday() > 4:
            return False
        close = datetime.combine(wall.date() + timedelta(days=4 - wall.weekday()), time(17), NEW_YORK)
        return close - timedelta(hours=self.lead_hours + 1) <= wall < close

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say, whatever the time."""
        return proposal.stage == "orders" or (
            proposal.gross <= self.limit * (1 + SLACK) and (proposal.stage == "held" or proposal.is_daily)
        )

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE what is opened, CLOSE pro rata what is held too much of."""
        if self.is_quiet(proposal, state):
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - proposal.gross)
        kept, _ = proposal.opening()
        gross = proposal.gross
        headroom, facts = self.limit - gross, {"gross": gross, "limit": self.limit}
        is_over = gross > self.limit * (1 + SLACK) and self._is_near(account.at)
        if is_over and float(kept.sum()) > self.limit * (1 + SLACK):
            caps = np.array(proposal.sizes) * (self.limit / gross)
            return Verdict(self.name, Action.CLOSE, Code.WEEKEND_EXPOSURE, caps, headroom, facts=facts)
        is_shut = proposal.stage == "target" and not proposal.is_daily and _is_weekend(account.at)
        waits = held_up(proposal, is_shut)
        if waits is not None:
            return Verdict(self.name, Action.RESIZE, Code.WEEKEND_OPENING, waits, facts=facts, retry=True)
        if is_over:
            caps = pro_rata(proposal, self.limit)
            return Verdict(self.name, Action.RESIZE, Code.WEEKEND_EXPOSURE, caps, headroom, facts=facts)
        return Verdict(self.name, Action.ALLOW, headroom=headroom)

    def first_breach(self, block: Block) -> int | None:
        """The first tick before a weekend with more than ``limit``."""
        limit = self.limit * (1 + SLACK)
        if block.gross_bound <= limit * block.nav_min:
            return None
        at = block.tape.at[block.ticks]
        day = trade_dates(at)
        weekday = (day.astype(np.int64) + 3) % 7
        until_close = (session_ends(day + (4 - weekday)) - at) / np.timedelta64(1, "h")
        is_near = (until_close > 0) & (until_close <= self.lead_hours + 1)
        return first(is_near & (block.gross > limit * block.nav))


def _is_weekend(at: datetime) -> bool:
    """Friday 16:00 to Sunday 18:00 New York, the start included."""
    wall = _wall(at)
    day, hour = wall.weekday(), wall.time()
    return (day == 4 and hour >= time(16)) or day == 5 or (day == 6 and hour < time(18))


@attrs.frozen
class RolloverWindow:
    """Open nothing from ``before`` minutes before to ``after`` minutes after 17:00 New York, when spreads are widest.

    What was decided then is tried again at the next tick. Once a day an order goes out with the next day's quote, and
    this rule has nothing to say.
    """

    before: float = attrs.field(default=15.0, validator=positive)
    after: float = attrs.field(default=30.0, validator=positive)
    name: str = attrs.field(default="rollover-window", init=False)
    stages: ClassVar[tuple[Stage, ...]] = ("target",)

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say, whatever the time."""
        return proposal.stage != "target" or proposal.is_daily

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE to what is held."""
        wall = _wall(account.at)
        minutes = (wall - wall.replace(hour=17, minute=0, second=0, microsecond=0)) / timedelta(minutes=1)
        if self.is_quiet(proposal, state) or not -self.before <= minutes < self.after:
            return Verdict(self.name, Action.ALLOW)
        caps = held_up(proposal, True)
        if caps is None:
            return Verdict(self.name, Action.ALLOW)
        facts = {"minutes": minutes, "before": self.before, "after": self.after}
        return Verdict(self.name, Action.RESIZE, Code.ROLLOVER_WINDOW, caps, facts=facts, retry=True)


@attrs.frozen
class FinancingFlip:
    """At a rebalance hold nothing whose financing, the broker's mark-up taken off, is paid and not received.

    A cross is given up where both of its sides cost. Financing that is not known says nothing.
    """

    name: str = attrs.field(default="financing-flip", init=False)
    stages: ClassVar[tuple[Stage, ...]] = ("target",)

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE to zero what costs."""
        if proposal.stage != "target" or not proposal.gross:
            return Verdict(self.name, Action.ALLOW)
        side = proposal.exposure * np.sign(proposal.weights)
        long, short = (view.values(f"financing_{held}")[:, None] for held in ("long", "short"))
        received = np.where(side > 0, long, short)
        costs = (side != 0).any(0) & ((side == 0) | (received < 0)).all(0)
        if not costs.any():
            return Verdict(self.name, Action.ALLOW)
        facts = {
            "received": {
                leg: float(received[side[:, j] != 0, j].sum()) for j, leg in enumerate(proposal.legs) if costs[j]
            }
        }
        caps = np.where(costs, 0.0, np.inf)
        return Verdict(self.name, Action.RESIZE, Code.FINANCING_NEGATIVE, caps, facts=facts)
