"""Wrappers around any strategy, and combinations of several. Each is a strategy itself, so they nest.

None keeps a memory: what an overlay needs of the past it asks of :meth:`~fxcarry.market.MarketView.earlier`, so that a
block run, a stepped run and a restart decide the same.

A strategy inside that reads the account sees the whole account: what the overlay made of its answer, or the blended
book, and not what it would hold alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import attrs
import numpy as np

from fxcarry import allocation
from fxcarry.answers import ask
from fxcarry.conventions import session_end, trade_date
from fxcarry.errors import ConfigError
from fxcarry.market import MarketView
from fxcarry.model import Account, FloatArray
from fxcarry.protocols import Strategy
from fxcarry.strategies.estimates import at_least_two, floored_covariance, fraction, positive, traded, whole


def _reads_account(*strategies: Any) -> bool:
    return any(getattr(strategy, "reads_account", True) for strategy in strategies)


def _as_what_is_inside(overlay: Any) -> bool:
    """Whether the answer depends on the account: it does if that of the wrapped strategy does."""
    return _reads_account(overlay.strategy)


@attrs.frozen
class VolatilityTarget:
    """A strategy's weights scaled to ``target`` annual volatility, up or down, within ``gross_cap`` of Σ|w|.

    Volatility is that of the book under the shrunk covariance of ``lookback`` daily returns, with no currency below 4 %
    a year. Flat until every currency held has as many.
    """

    strategy: Strategy
    target: float = attrs.field(default=0.08, validator=positive)
    gross_cap: float = attrs.field(default=2.0, validator=positive)
    lookback: int = attrs.field(default=250, validator=at_least_two)
    reads_account = property(_as_what_is_inside)

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        weights = ask(self.strategy, view, account)
        held = weights != 0
        usable, covariance = floored_covariance(view, self.lookback, held)
        scaled = np.zeros(len(weights))
        if held.any() and usable[held].all():
            scaled[usable] = allocation.scale_to_volatility_array(
                weights[usable], covariance, self.target, self.gross_cap
            )
        return scaled


@attrs.frozen
class NoTradeBand:
    """A strategy's weights, but a leg already within ``band`` (a share of its target) is left as it is."""

    strategy: Strategy
    band: float = attrs.field(default=0.10, validator=fraction)

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        weights = ask(self.strategy, view, account)
        current = account.current_weights
        held = np.array([0.0 if c == view.account_currency else current.get(c, 0.0) for c in view.currencies])
        return np.where(np.abs(weights - held) < self.band * np.abs(weights), held, weights)


@attrs.frozen
class Staggered:
    """The mean of what a strategy said at this and the last ``tranches`` − 1 weeks: a part of the book moves each week.

    Rebalance weekly with it. Where the run does not reach back so far, the missing tranches are flat. The wrapped
    strategy may not read the account, whose past is not known: ConfigError if it does.
    """

    strategy: Strategy
    tranches: int = attrs.field(default=4, validator=whole)
    reads_account = property(_as_what_is_inside)

    def __attrs_post_init__(self) -> None:
        if _reads_account(self.strategy):
            raise ConfigError(
                "a staggered strategy may not read the account, whose earlier state is not known",
                hint="stagger what is inside (a ranking, say), and put the band or the optimizer around it; a class "
                "whose answer depends on the view alone says so with reads_account = False",
            )

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        total = ask(self.strategy, view, account)
        day = trade_date(view.as_of - timedelta(microseconds=1))  # 17:00 sharp ends its day
        for week in range(1, self.tranches):
            # By trade date: seven days of 24 hours end a session early or late where New York's clocks change.
            before = view.earlier(session_end(day - timedelta(weeks=week)))
            if before is None:
                break
            total += ask(self.strategy, before, account)
        return total / self.tranches


@attrs.frozen
class Neutral:
    """A strategy's weights less their mean: they sum to zero, and the account currency is neither long nor short.

    The mean is over the currencies that can be held, so one that the strategy left out gets a weight too. Not scaled
    back to the gross it had. With and without are two different bets: report both (Daniel, Hodrick and Lu 2017).
    """

    strategy: Strategy
    reads_account = property(_as_what_is_inside)

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        weights = ask(self.strategy, view, account)
        if not weights.any():
            return weights
        here = (weights != 0) | (np.isfinite(view.tradable_carry) & traded(view))
        return np.where(here, weights - weights.sum() / here.sum(), 0.0)


@attrs.frozen
class NetCarry:
    """A strategy without the positions that pay to be held: the broker's financing of their side is not above zero.

    Where the mark-up is larger than the rate differential both sides of a pair pay, and the currency is refused
    whichever way it is wanted. A currency whose financing is not known (no financing at all) is judged by its carry.
    """

    strategy: Strategy
    reads_account = property(_as_what_is_inside)

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        weights = ask(self.strategy, view, account)
        long, short = net_carry_array(view)
        earned = np.where(weights > 0, long, short)
        return np.where(earned > 0, weights, 0.0)


def net_carry_array(view: MarketView) -> tuple[FloatArray, FloatArray]:
    """What being long and being short each currency earns in a year after the mark-up; ± carry where not known."""
    carry = view.tradable_carry
    long, short = view.values("financing_long"), view.values("financing_short")
    known = np.isfinite(long) & np.isfinite(short) & np.isfinite(carry)
    return np.where(known, long, carry), np.where(known, short, -carry)


@attrs.frozen
class Blend:
    """Several strategies in one book, by risk budget; they are netted before anything is traded.

    Each strategy gets a share of NAV proportional to its budget over the volatility of its book (covariance of
    ``lookback`` daily returns, shrunk, no currency below 4 % a year), so equal budgets take equal risk; shares sum to
    1. Trailing results play no part. A strategy that is flat takes no share; while a book lacks history, shares are
    the budgets.
    """

    strategies: Mapping[str, Strategy]
    budgets: Mapping[str, float] | None = None
    lookback: int = attrs.field(default=250, validator=at_least_two)

    def __attrs_post_init__(self) -> None:
        if not self.strategies:
            raise ConfigError("a blend needs strategies", hint="name at least one")
        if self.budgets is not None:
            if self.budgets.keys() != self.strategies.keys():
                raise ConfigError(
                    f"budgets are for {', '.join(self.budgets)}", hint=f"one for each of {', '.join(self.strategies)}"
                )
            for name, budget in self.budgets.items():
                if not (np.isfinite(budget) and budget > 0):
                    raise ConfigError(f"the budget of {name} is {budget}", hint="a number > 0; budgets are relative")

    @property
    def reads_account(self) -> bool:
        """Whether the answer depends on the account."""
        return _reads_account(*self.strategies.values())

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        total: FloatArray = np.sum(list(self.parts(view, account).values()), axis=0)
        return total

    def parts(self, view: MarketView, account: Account) -> dict[str, FloatArray]:
        """What each strategy contributes to the weights, its share taken; the sum is the blend."""
        wanted = {name: ask(strategy, view, account) for name, strategy in self.strategies.items()}
        active = {name: weights for name, weights in wanted.items() if weights.any()}
        shares = {name: 1.0 if self.budgets is None else self.budgets[name] for name in active}
        risks = {name: self._volatility(view, weights) for name, weights in active.items()}
        if all(risk > 0 for risk in risks.values()):
            shares = {name: share / risks[name] for name, share in shares.items()}
        total = sum(shares.values())
        return {name: weights * (shares.get(name, 0.0) / total if total else 0.0) for name, weights in wanted.items()}

    def _volatility(self, view: MarketView, weights: FloatArray) -> float:
        """The annual volatility of a book; 0 where a currency of it lacks history, or its legs offset one another."""
        held = weights != 0
        usable, covariance = floored_covariance(view, self.lookback, held)
        if not usable[held].all():
            return 0.0
        variance = float(weights[usable] @ covariance @ weights[usable])
        return math.sqrt(max(variance, 0.0))


@attrs.frozen
class Switch:
    """One of several strategies, or a mixture, as ``choose`` says at each decision: a schedule, or a regime.

    ``choose(view)`` gives the name of a strategy, or a share of NAV (>= 0, at most 1 in all) for each; what it leaves
    out is not held.
    """

    strategies: Mapping[str, Strategy]
    choose: Callable[[MarketView], str | Mapping[str, float]]

    @property
    def reads_account(self) -> bool:
        """Whether the answer depends on the account."""
        return _reads_account(*self.strategies.values())

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        choice = self.choose(view)
        if not isinstance(choice, str | Mapping):
            raise ConfigError(
                f"a switch chose {choice!r} at {view.as_of:%Y-%m-%d}", hint="a name, or a mapping of shares by name"
            )
        shares = {choice: 1.0} if isinstance(choice, str) else dict(choice)
        unknown = [name for name in shares if name not in self.strategies]
        if unknown:
            raise ConfigError(
                f"a switch chose {unknown[0]!r} at {view.as_of:%Y-%m-%d}", hint=f"one of {', '.join(self.strategies)}"
            )
        if not all(share >= 0 for share in shares.values()) or sum(shares.values()) > 1 + 1e-9:
            raise ConfigError(
                f"a switch chose the shares {shares} at {view.as_of:%Y-%m-%d}", hint="each >= 0, at most 1 in all"
            )
        total = np.zeros(len(view.currencies))
        for name, share in shares.items():
            if share:
                total += share * ask(self.strategies[name], view, account)
        return total
