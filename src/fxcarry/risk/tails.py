"""What could be lost: the distance to the margin close-out, the expected shortfall, the worst scenario."""

from __future__ import annotations

from statistics import NormalDist
from typing import ClassVar

import attrs
import numpy as np

from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.market import MarketView
from fxcarry.model import Account, Action, FloatArray, Proposal, RiskState, Stage, Verdict
from fxcarry.risk.shared import SLACK, Code, codes_of, first, fraction, positive, pro_rata
from fxcarry.scenarios import SCENARIOS, Scenario, scenario
from fxcarry.tape import Block

_NORMAL = NormalDist()
_DECAY = 0.94


@attrs.frozen
class MarginDistance:
    """Keep NAV a multiple of the NAV at which the venue closes everything.

    Nothing opens that would leave less than ``opening`` times the close-out level; below ``closing`` times the book is
    closed pro rata until it is back at ``opening`` times. The level is the margin rate of each instrument × the venue's
    close-out level × its notional.
    """

    opening: float = attrs.field(default=3.0, validator=positive)
    closing: float = attrs.field(default=1.5, validator=positive)
    name: str = attrs.field(default="margin-distance", init=False)
    headroom_unit: ClassVar[str] = "times the close-out level"
    stages: ClassVar[tuple[Stage, ...]] = ("target", "held")

    def __attrs_post_init__(self) -> None:
        if not 1 < self.closing < self.opening:
            raise ConfigError(
                f"closing is {self.closing} and opening {self.opening}",
                hint="1 < closing < opening: at 1 the venue closes everything itself",
            )

    def _level(self, proposal: Proposal) -> float:
        """The close-out level as a fraction of NAV."""
        if len(proposal.closeout) != len(proposal.sizes):
            raise MissingDataError(
                "the proposal does not say at which NAV the venue closes out",
                hint="give Proposal(closeout=…): margin rate × close-out level of each leg",
            )
        level = sum(size * each for size, each in zip(proposal.sizes, proposal.closeout))
        return level if proposal.nav > 0 or not level else np.inf

    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        """Whether there is nothing to say."""
        if proposal.stage == "orders":
            return True
        return self._level(proposal) * (self.opening if proposal.stage == "target" else self.closing) <= 1 + SLACK

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """CLOSE pro rata what is too near; RESIZE what would be opened."""
        if proposal.stage == "orders":
            return Verdict(self.name, Action.ALLOW)
        level = self._level(proposal)
        multiple = 1 / level if level else np.inf
        needed = self.opening if proposal.stage == "target" else self.closing
        headroom = multiple - needed
        if self.is_quiet(proposal, state):
            return Verdict(self.name, Action.ALLOW, headroom=headroom)
        kept, _ = proposal.opening()
        if float(kept @ np.array(proposal.closeout)) * self.closing > 1 + SLACK or proposal.nav <= 0:
            action, caps = Action.CLOSE, np.array(proposal.sizes) / (level * self.opening)
        else:
            action, caps = Action.RESIZE, pro_rata(proposal, 1 / self.opening, proposal.closeout)
        return Verdict(
            self.name,
            action,
            Code.MARGIN_NEAR_CLOSEOUT,
            caps,
            headroom,
            facts={"multiple": multiple, "opening": self.opening, "closing": self.closing},
        )

    def first_breach(self, block: Block) -> int | None:
        """The first tick at which NAV is below ``closing`` times the close-out level."""
        bound = block.gross_bound * max(block.closeout, default=0.0) * self.closing
        if bound <= block.nav_min:
            return None
        return first(block.weighted(block.closeout) * self.closing > block.nav * (1 + SLACK))


def _days(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 20:
        raise ConfigError(f"{attribute.name} is {value}", hint="a tail needs at least 20 days")


@attrs.frozen
class ExpectedShortfall:
    """The mean loss in the worst 1 % of days at most ``limit`` of NAV: the largest of three estimates for the target.

    All three take the daily moves of the currencies over the last ``days`` days as the book would have felt them, with
    means of zero: the historical one filtered to the volatility of now, the Gaussian one at that volatility (EWMA,
    decay 0.94), and Cornish and Fisher's, which is left out where the skewness is beyond ±1 or the kurtosis above 8. A
    currency with fewer than ``minimum`` known days is not opened.
    """

    limit: float = attrs.field(default=0.03, validator=fraction)
    days: int = attrs.field(default=500, validator=_days)
    minimum: int = attrs.field(default=60, validator=_days)
    name: str = attrs.field(default="expected-shortfall", init=False)
    headroom_unit: ClassVar[str] = "% of NAV"
    stages: ClassVar[tuple[Stage, ...]] = ("target",)

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE the whole target, which keeps its shape."""
        if proposal.stage != "target" or not proposal.gross:
            return Verdict(self.name, Action.ALLOW)
        spot = view.day_rows(self.days + 1)
        moves = spot[1:] / spot[:-1] - 1
        is_known = np.isfinite(moves)
        touched = (proposal.exposure[:, proposal.weights != 0] != 0).any(1)
        young = touched & (is_known.sum(0) < self.minimum)
        old = touched & ~young
        felt = moves[is_known[:, old].all(1)][:, old] @ np.array(proposal.net)[old]
        if old.any() and len(felt) < self.minimum:  # each has a history, but not together
            young, felt = touched, felt[:0]
        estimates = shortfalls(felt) if old.any() and len(felt) else {}
        worst = max(estimates.values(), default=0.0)
        headroom = self.limit - worst
        facts: dict[str, object] = {**estimates, "limit": self.limit}
        caps, code = np.full(len(proposal.sizes), np.inf), Code.SHORTFALL_TOO_LARGE
        if young.any():
            kept, _ = proposal.opening()
            caps, code = np.where((proposal.exposure[young] != 0).any(0), kept, np.inf), Code.HISTORY_TOO_SHORT
            facts["young"] = [c for c, is_young in zip(view.currencies, young) if is_young]
        if worst > self.limit * (1 + SLACK):
            caps, code = np.minimum(caps, np.array(proposal.sizes) * (self.limit / worst)), Code.SHORTFALL_TOO_LARGE
        elif not young.any():
            return Verdict(self.name, Action.ALLOW, headroom=headroom)
        return Verdict(self.name, Action.RESIZE, code, caps, headroom, facts=facts)


def shortfalls(returns: FloatArray, tail: float = 0.01) -> dict[str, float]:
    """The expected shortfall of daily returns by estimate, as a positive number; ``tail`` is the share of worst days.

    ``historical``: each day divided by its volatility and multiplied by that of now (Hull & White 1998), the mean of
    the worst ⌈tail·n⌉. ``gaussian``: σ φ(z) / tail. ``cornish-fisher``: the mean of their quantiles beyond z (Maillard
    2012), σ φ(z) / tail · (1 + z s/6 + (z² − 1) k/24 − (2 z² − 1) s²/36) with skewness s and excess kurtosis k; only
    where |s| ≤ 1 and k ≤ 5. Volatilities are EWMA of squares, begun at their mean over all days.
    """
    squares = returns * returns
    mean = float(squares.mean())
    if not mean:
        return {"historical": 0.0, "gaussian": 0.0}
    variance, variances = mean, []
    for square in squares.tolist():
        variances.append(variance)
        variance = _DECAY * variance + (1 - _DECAY) * square
    now = variance**0.5
    filtered = returns / np.sqrt(variances) * now
    count = int(np.ceil(tail * len(returns) - 1e-9))
    z = _NORMAL.inv_cdf(tail)
    density = _NORMAL.pdf(z) / tail
    estimates = {
        "historical": max(-float(np.partition(filtered, count - 1)[:count].mean()), 0.0),
        "gaussian": now * density,
    }
    deviations = returns - returns.mean()
    moments = [float((deviations**k).mean()) for k in (2, 3, 4)]
    if moments[0] > 1e-12 * mean:
        skew, excess = moments[1] / moments[0] ** 1.5, moments[2] / moments[0] ** 2 - 3
        if abs(skew) <= 1 and excess <= 5:
            tilt = 1 + z * skew / 6 + (z * z - 1) * excess / 24 - (2 * z * z - 1) * skew**2 / 36
            estimates["cornish-fisher"] = mean**0.5 * density * tilt
    return estimates


@attrs.frozen
class StressLoss:
    """The loss in the worst scenario of :mod:`fxcarry.scenarios` at most ``limit`` of NAV, by plain re-mark.

    ``scenarios`` are names; none = all built-in ones. A currency a scenario has no move for counts as unmoved in it; a
    scenario that does not know the account currency is left out.
    """

    limit: float = attrs.field(default=0.15, validator=fraction)
    scenarios: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    name: str = attrs.field(default="stress-loss", init=False)
    headroom_unit: ClassVar[str] = "% of NAV"
    stages: ClassVar[tuple[Stage, ...]] = ("target",)

    def __attrs_post_init__(self) -> None:
        self._shocks()

    def _shocks(self) -> tuple[Scenario, ...]:
        return tuple(map(scenario, self.scenarios)) or SCENARIOS

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """RESIZE the whole target, which keeps its shape."""
        if proposal.stage != "target" or not proposal.gross:
            return Verdict(self.name, Action.ALLOW)
        codes = codes_of(proposal)
        losses = {s.name: _loss(s, dict(zip(codes, proposal.net)), account.currency) for s in self._shocks()}
        known = {name: loss for name, loss in losses.items() if loss is not None}
        if not known:
            raise MissingDataError(
                f"no scenario knows {account.currency}", hint="name scenarios that have a move of the account currency"
            )
        worst = max(known, key=known.__getitem__)
        loss = known[worst]
        if loss <= self.limit * (1 + SLACK):
            return Verdict(self.name, Action.ALLOW, headroom=self.limit - loss)
        return Verdict(
            self.name,
            Action.RESIZE,
            Code.STRESS_LOSS,
            np.array(proposal.sizes) * (self.limit / loss),
            self.limit - loss,
            facts={"scenario": worst, "loss": loss, "limit": self.limit},
        )


def _loss(shock: Scenario, net: dict[str, float], account_currency: str) -> float | None:
    """What net exposures (fractions of NAV) lose in a scenario, > 0 lost; None where it cannot be said."""
    if shock.by_side is not None:
        long, short = shock.by_side
        return -sum(e * (long if e > 0 else short) for e in net.values())
    moves = {**shock.moves, "USD": 0.0}
    if account_currency not in moves:
        return None
    own = 1 + moves[account_currency]
    return -sum(e * ((1 + moves[c]) / own - 1) for c, e in net.items() if c in moves)
