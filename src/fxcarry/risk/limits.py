"""How much may be held: by position, by currency, in all, and in how many currencies."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from fxcarry.conventions import G10
from fxcarry.errors import ConfigError
from fxcarry.market import MarketView
from fxcarry.model import Account, Action, Proposal, RiskState, Stage, Verdict
from fxcarry.risk.shared import SLACK, Code, codes_of, first, fraction, scaled_legs
from fxcarry.tape import Block
from fxcarry.universe import peg_of


@attrs.frozen
class MaxPosition:
    """No position above ``limit`` of NAV, no currency's net exposure above ``currency_limit``.

    A position that has drifted past ``drift_limit`` is trimmed to ``limit`` at the end of the day.
    """

    limit: float = attrs.field(default=0.30, validator=fraction)
    currency_limit: float = attrs.field(default=0.60, validator=fraction)
    drift_limit: float = attrs.field(default=0.33, validator=fraction)
    name: str = attrs.field(default="max-position", init=False)
    headroom_unit: ClassVar[str] = "% of NAV"
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def _limit(self, proposal: Proposal) -> float:
        if proposal.stage != "held":
            return self.limit * (1 + SLACK)
        return self.drift_limit * (1 + SLACK) if proposal.is_day_end else np.inf

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        if proposal.largest > self._limit(proposal):
            return False
        net = self.currency_limit * (1 + SLACK)
        return proposal.stage == "held" or -net <= min(proposal.net, default=0) <= max(proposal.net, default=0) <= net

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE what is too large."""
        sizes, largest, limit = proposal.sizes, proposal.largest, self._limit(proposal)
        caps = None
        if largest > limit:
            caps = np.array([self.limit if size > limit else np.inf for size in sizes])
        if proposal.stage != "held":
            net = proposal.net
            if max(max(net, default=0.0), -min(net, default=0.0)) > self.currency_limit * (1 + SLACK):
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
            Code.POSITION_TOO_LARGE,
            caps,
            self.limit - largest,
            facts={"largest": largest, "limit": self.limit},
        )

    def first_breach(self, block: Block) -> int | None:
        """The first end of day at which a position has drifted past ``drift_limit``."""
        limit = self.drift_limit * (1 + SLACK)
        if block.size_bound <= limit * block.nav_min:
            return None
        return first((block.size.max(1) > limit * block.nav) & block.is_day_end)


@attrs.frozen
class MaxExposure:
    """Gross exposure (the sum of all position sizes) at most ``limit`` times NAV.

    Opening parts are scaled pro rata, not first come first served. Passive drift is trimmed pro rata at the end of the
    day past ``drift_limit`` and at once past ``hard_limit``.
    """

    limit: float = attrs.field(default=2.0, validator=fraction)
    drift_limit: float = attrs.field(default=2.2, validator=fraction)
    hard_limit: float = attrs.field(default=2.5, validator=fraction)
    name: str = attrs.field(default="max-exposure", init=False)
    headroom_unit: ClassVar[str] = "% of NAV"
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        limit = self.limit
        if proposal.stage == "held":
            limit = self.drift_limit if proposal.is_day_end else self.hard_limit
        return proposal.gross <= limit * (1 + SLACK)

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
            Code.EXPOSURE_TOO_LARGE,
            caps,
            self.limit - gross,
            facts={"gross": gross, "limit": self.limit},
        )

    def first_breach(self, block: Block) -> int | None:
        """The first tick at which gross has drifted past its limit for that tick."""
        if block.gross_bound <= self.drift_limit * (1 + SLACK) * block.nav_min:
            return None
        limit = np.where(block.is_day_end, self.drift_limit, self.hard_limit)
        return first(block.gross > limit * (1 + SLACK) * block.nav)


@attrs.frozen
class MaxCurrenciesPerSide:
    """At most ``limit`` currencies net long and ``limit`` net short, counting exposures above ``threshold`` of NAV.

    The currencies with the weakest carry for their side are dropped; between rebalances those held come first, so that
    one more is not opened.
    """

    limit: int = 3
    threshold: float = attrs.field(default=0.01, validator=fraction)
    name: str = attrs.field(default="max-currencies-per-side", init=False)
    headroom_unit: ClassVar[str] = "currencies"
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
            Code.TOO_MANY_CURRENCIES,
            caps,
            float(self.limit - most),
            facts={"count": most, "limit": self.limit},
        )

    def first_breach(self, block: Block) -> int | None:
        """Never: a constant book gains no currency."""
        return None


BLOCS = {"commodity": ("AUD", "NZD", "CAD", "NOK"), "Europe": ("EUR", "CHF", "SEK")}
"""Currencies that move together. What is not of the G10 is a bloc too, ``emerging``."""


@attrs.frozen
class MaxCurrencyExposure:
    """No currency's net exposure above ``limit`` of NAV, and no bloc's of currencies that move together above
    ``bloc_limit``; the account currency left out.
    """

    limit: float = attrs.field(default=0.60, validator=fraction)
    bloc_limit: float = attrs.field(default=1.00, validator=fraction)
    name: str = attrs.field(default="max-currency-exposure", init=False)
    headroom_unit: ClassVar[str] = "% of NAV"
    stages: ClassVar[tuple[Stage, ...]] = ("target",)

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE every leg that carries a currency or a bloc past its limit."""
        if proposal.stage != "target":
            return Verdict(self.name, Action.ALLOW)
        codes = codes_of(proposal)
        blocs = {name: [c in members for c in codes] for name, members in BLOCS.items()}
        blocs["emerging"] = [c not in G10 for c in codes]
        groups = np.vstack([np.eye(len(codes)), np.array(list(blocs.values()), float)])
        limits = np.array([self.limit] * len(codes) + [self.bloc_limit] * len(blocs))
        net = groups @ np.array(proposal.net)
        worst = int((np.abs(net) - limits).argmax())
        headroom = float(limits[worst] - abs(net[worst]))
        caps = scaled_legs(proposal, groups, limits)
        if caps is None:
            return Verdict(self.name, Action.ALLOW, headroom=headroom)
        return Verdict(
            self.name,
            Action.RESIZE,
            Code.CURRENCY_TOO_LARGE if worst < len(codes) else Code.BLOC_TOO_LARGE,
            caps,
            headroom,
            facts={
                "worst": [*codes, *blocs][worst],
                "net": float(net[worst]),
                "limit": self.limit,
                "bloc_limit": self.bloc_limit,
            },
        )


def _share(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (np.isfinite(value) and value >= 0):
        raise ConfigError(f"{attribute.name} is {value}", hint="a fraction of NAV, 0 to hold none")


@attrs.frozen
class PegLimit:
    """A currency that is pegged, capped or managed on the day, and each of ``also``, at most ``limit`` of NAV, net.

    Such prices hardly move until they move by 20 % and more at once. ``limit`` 0 holds none. The dates are those of
    :data:`fxcarry.universe.FLAGS`.
    """

    limit: float = attrs.field(default=0.10, validator=_share)
    also: tuple[str, ...] = attrs.field(default=("TRY",), converter=tuple)
    name: str = attrs.field(default="peg-limit", init=False)
    headroom_unit: ClassVar[str] = "% of NAV"
    stages: ClassVar[tuple[Stage, ...]] = ("target",)

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE every leg that carries such a currency past the limit."""
        if proposal.stage != "target":
            return Verdict(self.name, Action.ALLOW)
        codes, day = codes_of(proposal), account.at.date()
        listed = [i for i, c in enumerate(codes) if c in self.also or peg_of(c, day)]
        if not listed:
            return Verdict(self.name, Action.ALLOW)
        headroom = self.limit - max(abs(proposal.net[i]) for i in listed)
        caps = scaled_legs(proposal, np.eye(len(codes))[listed], np.full(len(listed), self.limit))
        if caps is None:
            return Verdict(self.name, Action.ALLOW, headroom=headroom)
        facts = {"net": {codes[i]: proposal.net[i] for i in listed}, "limit": self.limit}
        return Verdict(self.name, Action.RESIZE, Code.PEGGED_CURRENCY, caps, headroom, facts=facts)
