"""The loop. It composes a feed, a broker, a strategy and risk rules, and knows nothing of files or plugins.

At a due tick: strategy → review of the target → units → review of the orders → intent → send. At any other tick the
held book is reviewed by the same rules. Over stored history and a simulated venue whole blocks of ticks are advanced at
once, stopping where a rule might bite; :meth:`Engine.run` with ``stepped=True`` asks at every tick instead, with the
same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np

from fxcarry.alerts import AlertSettings
from fxcarry.answers import ask
from fxcarry.clock import Frequency, SteppedClock
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.journal import Journal
from fxcarry.live import Live
from fxcarry.market import MarketHistory, MarketView
from fxcarry.model import (
    TradingState,
)
from fxcarry.protocols import Broker, DataFeed, Notifier, RiskRule, Strategy
from fxcarry.risk import StopLoss
from fxcarry.routing import LeastCost
from fxcarry.simulation import SimBroker
from fxcarry.tape import Block, LinearFinancing, extremes
from fxcarry.universe import Universe

Progress = Callable[[int, int], None]


def _always(block: Block) -> int:
    """The screen of a rule that has none: every tick may be a breach."""
    return 0


def no_progress(done: int, total: int) -> None:
    """Show nothing."""


class Engine(Live):
    """One strategy on one account.

    Args:
        feed: prices and rates; None where every run is given its history.
        broker: the simulated venue, or any object that follows the Broker protocol.
        strategy: any callable ``(view, account) -> weights``.
        rules: risk rules; an empty sequence switches them off.
        universe: the currencies the strategy sees, in the order of its arrays; a Universe says when each may be held.
        rebalance: when the strategy is asked.
        journal: where decisions and orders are written.
        costs: what trading is expected to cost, shown to the strategy.
        financing: the financing shown to the strategy; default: what the broker books.
        routing: hold exposures in the cheapest pairs, crosses included; default: in the pairs against the account
            currency.
        notifiers: channels that live steps send alerts to, in the background.
        alerting: which of them are told what, and how often; and what besides what goes
            wrong; default: all of everything, within limits.
        account_currency: of a broker that is not simulated.
    """

    def __init__(
        self,
        *,
        feed: DataFeed | None,
        broker: SimBroker | Broker,
        strategy: Strategy,
        rules: Sequence[RiskRule],
        universe: Sequence[str] | Universe,
        rebalance: Frequency = "monthly",
        journal: Journal | None = None,
        costs: Costs | None = None,
        financing: LinearFinancing | None = None,
        routing: LeastCost | None = None,
        notifiers: Sequence[Notifier] = (),
        alerting: AlertSettings | None = None,
        account_currency: str = "USD",
    ) -> None:
        super().__init__(
            broker=broker,
            strategy=strategy,
            rules=rules,
            universe=universe,
            rebalance=rebalance,
            journal=journal,
            costs=costs,
            financing=financing,
            routing=routing,
            account_currency=account_currency,
        )
        self._begin_live(feed, notifiers, alerting)
        # Every order carries the stop of the tightest StopLoss, which the venue keeps on the same quotes the rule sees,
        # and acts first: there is nothing to screen for that rule.
        self._screens: list[Callable[[Block], int | None]] = [
            getattr(rule, "first_breach", _always) for rule in self._rules["held"] if type(rule) is not StopLoss
        ]
        self._seen: float | None = None  # NAV at a day's end that the risk state does not know yet
        self._needs_look = False

    # -- running over stored history -------------------------------------------------------------------------------

    def prepare(
        self, start: datetime | None = None, end: datetime | None = None, *, history: MarketHistory | None = None
    ) -> None:
        """Load stored history: the ticks, the broker's tape and the columns that views are cut from."""
        currency = self.broker.account_currency
        if history is None:
            if self.feed is None:
                raise ConfigError("the engine has neither a feed nor a history")
            history = self.feed.history(None, None).in_currency(currency, self.universe)
        clock = self.clock = SteppedClock.over(history, start, end, self.rebalance)
        if not len(clock):
            raise MissingDataError("no trading day in the period", hint="choose a longer one")
        if not isinstance(self.broker, SimBroker):
            raise ConfigError(f"{self.broker.name} cannot be run over stored history", hint="use the simulated broker")
        self._open_book(currency)
        self._begin_at(float(self.broker.get_account_balance()))
        self.tape = self.broker.prepare(history, clock)
        self.columns = self.columns_of(history, clock)
        self._stale = self._stale_ticks(history, clock)
        self.journal.follow(self.broker.log, self.broker.find_orders)
        self._is_daily = history.is_daily

    def run(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        history: MarketHistory | None = None,
        stepped: bool = False,
        progress: Progress = no_progress,
    ) -> None:
        """Run from ``start`` to ``end`` over the feed's history (or ``history``, already in account currency)."""
        self.prepare(start, end, history=history)
        clock, broker = self.clock, self.broker
        assert isinstance(broker, SimBroker)
        due = np.flatnonzero(clock.is_due).tolist()
        self._wishes = {}
        if not getattr(self.strategy, "reads_account", True):
            opening = broker.account()
            self._wishes = {at: ask(self.strategy, MarketView(self.columns, at), opening) for at in due}
        total, tick, upcoming = len(clock), 0, 0
        while tick < total:
            while upcoming < len(due) and due[upcoming] < tick:
                upcoming += 1
            stop = due[upcoming] + 1 if upcoming < len(due) else total
            if stepped or self._intention is not None:
                stop = tick + 1
            tick = broker.advance(stop, self._screen if self.rules else None)
            last = tick - 1
            if broker.events:
                self._note_events()
            is_due = upcoming < len(due) and due[upcoming] == last
            if is_due or stepped or self._needs_look or self._intention is not None:
                orders = self.decide(last, is_due)
                if orders is not None:
                    refused = broker.place_plan(orders)
                    if refused or self.state.rejects:
                        self._note_sent(orders, refused)
            if is_due:
                progress(tick, total)
        if not self.rules:
            navs = broker.log.day_end_navs()
            self.state = self.state.at_day_end(float(navs[-1]), float(navs.max()))
        progress(total, total)

    def _screen(self, block: Block) -> int | None:
        """The first tick of the block that needs a look, after remembering what came before it."""
        state = self.state
        start, peak = state.day_start, state.high_water
        if self._seen is not None:  # the last tick ended a day, and its own decision has been made
            start, peak = self._seen, max(peak, self._seen)
        block.day_start, block.high_water, block.closeout = start, peak, self._closeout
        first: int | None = None
        if state.halt_until is not None or state.trading is TradingState.REDUCING:
            first = 0
        elif state.trading is not TradingState.HALTED or self.broker.is_open or self.broker.has_waiting:
            for screen in self._screens:
                at = screen(block)
                if at is not None and (first is None or at < first):
                    first = at
        self._needs_look = first is not None
        committed = len(block) if first is None else first + 1
        if committed > 1:
            nav = block.nav[: committed - 1]
            if not self._is_daily:
                nav = nav[block.is_day_end[: committed - 1]]
            if len(nav):
                start, peak = nav.item(-1), max(peak, extremes(nav)[1])
        self.state = state.at_day_end(start, peak)
        ends_day = self._is_daily or bool(block.is_day_end[committed - 1])
        self._seen = float(block.nav[committed - 1]) if ends_day else None
        return first

    # -- deciding --------------------------------------------------------------------------------------------------
