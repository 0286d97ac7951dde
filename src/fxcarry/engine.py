"""The loop. It composes a feed, a broker, a strategy and risk rules, and knows nothing of files or plugins.

At a due tick: strategy → review of the target → units → review of the orders → intent → send. At any other tick the
held book is reviewed by the same rules. Over stored history and a simulated venue whole blocks of ticks are advanced at
once, stopping where a rule might bite; :meth:`Engine.run` with ``stepped=True`` asks at every tick instead, with the
same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import attrs
import numpy as np

from fxcarry.answers import ask
from fxcarry.clock import Frequency, SteppedClock
from fxcarry.conventions import holidays_of, open_minutes_array, trade_dates
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.journal import CommandKind, Journal, MemoryJournal
from fxcarry.market import MarketColumns, MarketHistory, MarketView, to_ns
from fxcarry.model import (
    Account,
    Action,
    FloatArray,
    Proposal,
    RiskState,
    SentOrder,
    Stage,
    TradingState,
    Verdict,
)
from fxcarry.orders import Book, Leg, Plan, all_pairs, market_pairs, plan
from fxcarry.protocols import DataFeed, RiskRule, Strategy
from fxcarry.risk import RATE_BUDGET, Staleness, StopLoss, next_day_end, review
from fxcarry.routing import LeastCost, RoutedBook
from fxcarry.simulation import SimBroker
from fxcarry.tape import Block, LinearFinancing, extremes
from fxcarry.universe import Universe

Progress = Callable[[int, int], None]
_STAGES: tuple[Stage, ...] = ("target", "held", "orders")
_REMEMBERED = 1000  # orders


def _always(block: Block) -> int:
    """The screen of a rule that has none: every tick may be a breach."""
    return 0


def no_progress(done: int, total: int) -> None:
    """Show nothing."""


class Engine:
    """One strategy on one account.

    Args:
        feed: prices and rates; None where every run is given its history.
        broker: the simulated venue.
        strategy: any callable ``(view, account) -> weights``.
        rules: risk rules; an empty sequence switches them off.
        universe: the currencies the strategy sees, in the order of its arrays; a Universe says when each may be held.
        rebalance: when the strategy is asked.
        journal: where decisions and orders are written.
        costs: what trading is expected to cost, shown to the strategy.
        financing: the financing shown to the strategy; default: what the broker books.
        routing: hold exposures in the cheapest pairs, crosses included; default: in the pairs against the account
            currency.
    """

    def __init__(
        self,
        *,
        feed: DataFeed | None,
        broker: SimBroker,
        strategy: Strategy,
        rules: Sequence[RiskRule],
        universe: Sequence[str] | Universe,
        rebalance: Frequency = "monthly",
        journal: Journal | None = None,
        costs: Costs | None = None,
        financing: LinearFinancing | None = None,
        routing: LeastCost | None = None,
    ) -> None:
        self.feed = feed
        self.broker = broker
        self.strategy = strategy
        self.rules = tuple(rules)
        self._membership = universe if isinstance(universe, Universe) else None
        self.universe = universe.currencies if isinstance(universe, Universe) else tuple(universe)
        self.rebalance: Frequency = rebalance
        self.journal: Journal = journal or MemoryJournal()
        self.costs = costs or Costs.none()
        self.financing = financing or broker.financing
        self.routing = routing
        nav = float(broker.get_account_balance())
        self.state = RiskState(day_start=nav, high_water=nav)
        self._intention: FloatArray | None = None
        self._target: FloatArray | None = None
        self._asked: FloatArray | None = None  # what the strategy said at this step
        self._attempt = 0
        self._wishes: dict[int, FloatArray] = {}  # weights by tick, of a strategy that was asked ahead
        stops = [r.limit for r in self.rules if isinstance(r, StopLoss)]
        self._stop_fraction = min(stops) if stops else None
        self._rules: dict[Stage, list[RiskRule]] = {
            stage: [rule for rule in self.rules if stage in getattr(rule, "stages", _STAGES)] for stage in _STAGES
        }
        # Every order carries the stop of the tightest StopLoss, which the venue keeps on the same quotes the rule sees,
        # and acts first: there is nothing to screen for that rule.
        self._screens: list[Callable[[Block], int | None]] = [
            getattr(rule, "first_breach", _always) for rule in self._rules["held"] if type(rule) is not StopLoss
        ]
        self._sent: list[SentOrder] = []  # what rules of orders are told
        self._seen: float | None = None  # NAV at a day's end that the risk state does not know yet
        self._needs_look = False
        self._is_open = False  # for live steps: the book is opened at the first

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
        self._open_book(currency)
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
        clock = self.clock
        due = np.flatnonzero(clock.is_due).tolist()
        self._wishes = {}
        if not getattr(self.strategy, "reads_account", True):
            opening = self.broker.account()
            self._wishes = {at: ask(self.strategy, MarketView(self.columns, at), opening) for at in due}
        total, tick, upcoming = len(clock), 0, 0
        while tick < total:
            while upcoming < len(due) and due[upcoming] < tick:
                upcoming += 1
            stop = due[upcoming] + 1 if upcoming < len(due) else total
            if stepped or self._intention is not None:
                stop = tick + 1
            tick = self.broker.advance(stop, self._screen if self.rules else None)
            last = tick - 1
            if self.broker.events:
                self._note_events()
            is_due = upcoming < len(due) and due[upcoming] == last
            if is_due or stepped or self._needs_look or self._intention is not None:
                orders = self._decide(last, is_due)
                if orders is not None:
                    self.broker.place_plan(orders)
            if is_due:
                progress(tick, total)
        if not self.rules:
            navs = self.broker.log.day_end_navs()
            self.state = self.state.at_day_end(float(navs[-1]), float(navs.max()))
        progress(total, total)

    # -- running live ----------------------------------------------------------------------------------------------

    def step(self, at: datetime) -> Account:
        """One look at the market at ``at``, later than the one before: sync the venue, decide, send what is decided.

        The strategy is asked where ``at`` is a 17:00 New York that is due; the rules are asked at every step. The feed
        gives the quotes and, for views, every row known by ``at``. Steps at the ticks of a stored history make the run
        that :meth:`run` makes of it, to the cent.
        """
        if self.feed is None:
            raise ConfigError("the engine has no feed to look at", hint="pass feed=")
        snapshot = self.feed.snapshot(at)
        known = self.feed.history(None, at + timedelta(microseconds=1))
        history = known.in_currency(self.broker.account_currency, self.universe)
        self.clock = SteppedClock.until(history, at, self.rebalance)
        if not self._is_open:
            self._open_book(self.broker.account_currency)
            self.journal.follow(self.broker.log, self.broker.find_orders)
            self._is_open = True
        self._is_daily = history.is_daily
        self.columns = self.columns_of(history, self.clock)
        stale = self._stale_ticks(history, self.clock.last())
        tick = len(self.clock) - 1
        self._stale = None if stale is None else np.broadcast_to(stale, (tick + 1, stale.shape[1]))
        account = self.broker.sync(snapshot)
        journal = self.journal
        journal.import_transactions(self.broker.transactions(journal.last_transaction_id()))
        journal.record(self.broker.find_orders(journal.unresolved()).values(), at)
        with journal.atomic():  # what is decided, what is remembered and what will be sent: all of it or nothing
            journal.observe(snapshot)
            if self.broker.events:
                self._note_events()
            before = self._intention
            orders = self._decide(tick, bool(self.clock.is_due[tick]))
            self._remember(at, before)
            if self.clock.is_day_end[tick]:  # the next day is measured from here
                nav = self.broker.nav
                self.state = self.state.at_day_end(nav, max(self.state.high_water, nav))
                journal.transition(at, self.state)
            journal.beat(at)
        if orders is not None:
            self.broker.place_plan(orders)
        return account

    def recover(self) -> None:
        """Take up what the journal remembers, before the first step: halts, day start and high water, blocked pairs,
        the standing target, and orders that were intended and of which the outcome is not known.

        An order that the venue knows is recorded as the venue tells it; one it does not know was never sent, and is
        sent now under the same client id.
        """
        journal, broker = self.journal, self.broker
        state, target = journal.state(), journal.standing()
        if state is not None:
            self.state = state
        if target is not None:
            weights = np.array([target.weights.get(c, 0.0) for c in self.universe])
            self._target, self._attempt = weights, target.attempt
            self._intention = weights if journal.intention() is not None else None
        journal.import_transactions(broker.transactions(journal.last_transaction_id()))
        unresolved = journal.unresolved()
        known = broker.find_orders(unresolved)
        journal.record(known.values())
        lost = set(unresolved) - known.keys()
        for order in journal.orders:
            if order.client_id in lost:
                journal.record([broker.place_market_order(order)])

    def command(self, kind: CommandKind, at: datetime) -> None:
        """An operator's command, before the look at ``at``.

        ``pause`` and ``reduce`` open nothing until somebody resumes; ``flatten`` closes everything at the next look and
        halts; ``resume`` lifts any halt and measures the day and the drawdown from NAV as it is now on, else it would
        halt again at once.
        """
        state, nav = attrs.evolve(self.state, halt_until=None, halted_at=None), self.broker.nav
        if kind == "resume":
            state = attrs.evolve(state, trading=TradingState.ACTIVE, latch="", day_start=nav, high_water=nav)
        elif kind == "flatten":
            state = attrs.evolve(state, trading=TradingState.HALTED, latch="OPERATOR")
        elif state.trading is not TradingState.HALTED:
            state = attrs.evolve(state, trading=TradingState.REDUCING, latch=state.latch or kind.upper())
        self.state = state
        self.journal.transition(at, state)

    def _remember(self, at: datetime, before: FloatArray | None) -> None:
        """Record what became of the standing target at this step."""
        now, asked, self._asked = self._intention, self._asked, None
        target = asked if now is None else now
        if target is not None:
            why = "decided" if asked is not None else "held back"
            self.journal.keep_intention(at, dict(zip(self.universe, target.tolist())), self._attempt, why)
        if now is None and (target is not None or before is not None):
            self.journal.end_intention(at, "acted on" if self.state.trading is TradingState.ACTIVE else "given up")

    def _open_book(self, currency: str) -> None:
        """What exposures are held in: the market pairs against the account currency, or all pairs, routed."""
        of = market_pairs if self.routing is None else all_pairs
        book = Book.of(self.universe, currency, self.broker.get_instruments(of(self.universe, currency)))
        if self.routing is not None:
            trading = np.array([self.costs.per_turnover(i.exposure) for i in book.instruments])
            holding = attrs.evolve(self.broker.maker, financing=self.financing).markup() * self.routing.horizon
            book = RoutedBook.over(book, trading, holding)
        self.book: Book = book
        self._closeout = [float(i.margin_rate) * self.broker.closeout_level for i in book.instruments]

    def columns_of(self, history: MarketHistory, clock: SteppedClock) -> MarketColumns:
        """What views at the ticks of a clock are cut from; ``history`` is in account currency."""
        broker, book, account = self.broker, self.book, self.broker.account_currency
        rates = carry = np.full((len(clock), len(self.universe)), np.nan)
        if any(c in history.rates for c in self.universe):
            unknown = np.full(len(clock), np.nan)
            known = {
                c: series.values(clock.at) for c, series in history.rates.items() if c in {*self.universe, account}
            }
            rates = np.stack([known.get(c, unknown) for c in self.universe], 1)
            carry = rates - known.get(account, unknown)[:, None]

        maker = attrs.evolve(broker.maker, financing=self.financing)

        def financing() -> tuple[FloatArray, FloatArray]:  # without ``self``: columns outlive no engine
            long, short = np.full(carry.shape, np.nan), np.full(carry.shape, np.nan)
            if book.names:
                pair_long, pair_short = (side[:, : len(book.holdings)] for side in maker.annual(history, clock.at))
                is_base = book.side > 0
                long[:, book.column] = np.where(is_base, pair_long, pair_short)
                short[:, book.column] = np.where(is_base, pair_short, pair_long)
            return long, short

        return MarketColumns(
            currencies=self.universe,
            account_currency=account,
            times=history.times,
            quoted=history.spot,
            half_spread=history.half_spread,
            at=clock.at,
            row=clock.row,
            rates=rates,
            carry=carry,
            financing=financing,
            trading_cost=self.costs.trading_cost(self.universe, account),
            members=None if self._membership is None else self._membership.mask(history, clock.day, self.rebalance),
        )

    def _stale_ticks(self, history: MarketHistory, clock: SteppedClock) -> np.ndarray | None:
        """Ticks × instruments whose quote is past its budget, None where no rule asks or none is."""
        budgets = [r.budget(history.interval) for r in self.rules if isinstance(r, Staleness)]
        if not budgets or not len(self.book.names):
            return None
        known = np.isfinite(history.spot)
        seen = history.times[clock.row][:, None]
        if not known.all():
            observed = np.where(known, np.arange(len(history))[:, None], 0)
            np.maximum.accumulate(observed, axis=0, out=observed)
            known_at = history.times[observed[clock.row]]
            seen = np.stack([known_at[:, row != 0].min(1) for row in self.book.exposure.T], 1)
        budget = min(budgets)
        stale = clock.at[:, None] - seen >= np.timedelta64(
            int(budget * 60e9), "ns"
        )  # on the clock, before what is closed
        ticks, _ = np.nonzero(stale)
        minutes = np.asarray(open_minutes_array(seen[stale], clock.at[ticks]))
        if history.calendar:  # the source publishes nothing on its holidays: they do not age a quote
            closed = np.array(sorted(holidays_of(history.calendar)), "datetime64[D]")
            until, since = (np.searchsorted(closed, d, "right") for d in (clock.day[ticks], trade_dates(seen[stale])))
            minutes = minutes - (until - since) * 1440
        stale[stale] = minutes >= budget
        if history.rates_verified_until is not None:
            limit = to_ns(history.rates_verified_until + RATE_BUDGET)
            stale |= (clock.at > limit)[:, None]
        return np.broadcast_to(stale, (len(clock), len(self.book.names))) if stale.any() else None

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

    def _note_events(self) -> None:
        """Stops the venue filled and close-outs it made, as the rules must know of them."""
        events, self.broker.events = self.broker.events, []
        stopped = {(name, side) for name, kind, side in events if kind == "stop"}
        if stopped:
            self._transition(attrs.evolve(self.state, stopped=self.state.stopped | stopped))
        if any(kind == "margin close-out" for _, kind, _ in events):
            self._transition(attrs.evolve(self.state, trading=TradingState.HALTED, latch="MARGIN_CLOSEOUT"))

    def _decide(self, tick: int, is_due: bool) -> Plan | None:
        """What to send at this tick, recorded as intended; None = nothing."""
        if not self.rules and not is_due and self.state.trading is TradingState.ACTIVE:
            return None
        broker, book = self.broker, self.book
        view, account = MarketView(self.columns, tick), broker.account()
        if self.state.halt_until is not None or (is_due and self.state.stopped):
            self._lapse(account, is_due)
        if self.state.trading is TradingState.HALTED:
            self._intention = None
            if not broker.is_open and not broker.has_waiting:
                return None
        elif is_due:
            wish = self._wishes.get(tick)
            self._intention = self._target = ask(self.strategy, view, account) if wish is None else wish
            self._asked = self._target
            self._attempt = 0
        held, nav = broker.lot(), broker.nav
        notional = held.fractions(held.units, nav)
        wanted, reason = held.units, "risk"
        if self._intention is not None:
            wanted, reason = book.target_units(self._intention, nav, held), "rebalance"

        proposal = Proposal(
            stage="held" if self._intention is None else "target",
            nav=nav,
            legs=book.names,
            weights=notional if wanted is held.units else held.fractions(wanted, nav),
            held=notional,
            exposure=book.exposure,
            signal=self.columns.carry[tick],
            adverse=broker.adverse() if self.rules else (),
            is_stale=None if self._stale is None else self._stale[tick],
            is_day_end=bool(self.clock.is_day_end[tick]),
            is_due=is_due,
            currencies=self.universe,
            closeout=self._closeout,
            is_daily=self._is_daily,
        )
        decision = review(proposal, self._rules[proposal.stage], view, account, self.state)
        self.journal.decide(proposal.stage, decision)
        findings = decision.findings
        target = book.allowed_units(wanted, proposal.weights, decision.weights)
        legs = plan(book, target, held.units)
        if legs and self._rules["orders"]:
            after = attrs.evolve(
                proposal,
                stage="orders",
                weights=held.fractions(target, nav),
                orders=self._plan(legs, account, reason),
                recent=self._sent,
            )
            final = review(after, self._rules["orders"], view, account, self.state)
            self.journal.decide("orders", final)
            if final.findings:
                findings = [*findings, *final.findings]
                legs = plan(book, book.allowed_units(target, after.weights, final.weights), held.units)
        if findings:
            self._apply(findings, proposal, account)
            reason = reason if self._intention is not None else _why(findings)
        if broker.has_waiting:
            legs = self._unsent(legs)
        orders = None
        if legs:
            orders = self._plan(legs, account, reason)
            self.journal.intend(orders)
            if self._rules["orders"]:
                sent = [
                    SentOrder(
                        account.at,
                        order.client_id,
                        abs(units) * held.base_value[j] / nav,
                        not is_reducing and held.units[j] * units <= 0,
                    )
                    for order, (j, _, units, _, is_reducing) in zip(orders, legs)
                ]
                self._sent = [*self._sent, *sent][-_REMEMBERED:]
        if self._intention is not None:
            self._keep_intention(findings)
        return orders

    def _unsent(self, legs: list[Leg]) -> list[Leg]:
        """What is left to send where orders still wait for a quote.

        A new decision replaces all that waits. A rule's reduction is sent only where what waits would leave more. While
        nothing may open, what would open is cancelled, and the standing target is tried again once it may.
        """
        broker = self.broker
        if self._intention is not None:
            broker.drop("replaced")
            return legs
        if self.state.trading is not TradingState.ACTIVE:
            dropped = broker.drop("opening is halted", opening_only=True)
            if dropped and self.state.trading is TradingState.REDUCING:
                self._intention = self._target
        waiting = broker.waiting()
        held = broker.lot().units
        fresh = []
        for leg in legs:
            column, name, units, _, _ = leg
            have, want = held[column], held[column] + units
            left = have + waiting.get(name, 0.0)  # what the waiting orders would leave
            if left * have > 0 and abs(left) > abs(want):
                broker.drop("replaced", instrument=name)
                fresh.append(leg)
        return fresh

    def _plan(self, legs: Sequence[Leg], account: Account, reason: str) -> Plan:
        return Plan(
            legs,
            account_id=account.id,
            at=account.at,
            reason=reason,
            stop_fraction=self._stop_fraction,
            attempt=self._attempt,
        )

    def _keep_intention(self, findings: Sequence[Verdict]) -> None:
        """An intention ends when it was acted on; one that a halt held back is tried again at the next tick."""
        held_back = any(v.retry or v.action in (Action.HALT_OPENING, Action.REJECT) for v in findings)
        if held_back or self.state.trading is TradingState.REDUCING:
            self._attempt += 1
        else:
            self._intention = None

    def _lapse(self, account: Account, is_due: bool) -> None:
        """End a halt whose time is up, and the blocks of stopped pairs at a rebalance."""
        state = self.state
        if state.halt_until is not None and account.at >= state.halt_until and not state.latch:
            # The day that ends now was counted if the halt began in it: the new one starts from here.
            began = next_day_end((state.halted_at or account.at) - timedelta(microseconds=1))
            start = self.broker.nav if began == state.halt_until else state.day_start
            state = attrs.evolve(state, trading=TradingState.ACTIVE, halt_until=None, halted_at=None, day_start=start)
        if is_due and state.stopped:
            state = attrs.evolve(state, stopped=frozenset())
        if state is not self.state:
            self._transition(state)

    def _apply(self, findings: Sequence[Verdict], proposal: Proposal, account: Account) -> None:
        """Turn what the rules demand into the trading state and into blocked pairs."""
        state = self.state
        worst = max(findings, key=lambda v: v.action)
        if worst.action >= Action.FLATTEN_HALT:
            if state.trading is not TradingState.HALTED:
                self._transition(attrs.evolve(state, trading=TradingState.HALTED, latch=worst.code, halt_until=None))
            return
        halts = [v for v in findings if v.action is Action.HALT_OPENING]
        if halts and state.trading is not TradingState.HALTED:
            until = max([v.until or next_day_end(account.at) for v in halts])
            latch = state.latch or next((v.code for v in halts if v.latch), "")
            if state.halt_until is None or until > state.halt_until or latch != state.latch:
                state = attrs.evolve(
                    state, trading=TradingState.REDUCING, halt_until=until, halted_at=account.at, latch=latch
                )
        closed = {
            (leg, 1 if held > 0 else -1)
            for v in findings
            if v.action is Action.CLOSE and v.caps is not None
            for leg, held, cap in zip(proposal.legs, proposal.held.tolist(), v.caps.tolist())
            if held and not cap > 0
        }
        if not closed <= state.stopped:
            state = attrs.evolve(state, stopped=state.stopped | closed)
        if state is not self.state:
            self._transition(state)

    def _transition(self, state: RiskState) -> None:
        self.state = state
        self.journal.transition(self.broker.at, state)


def _why(findings: Sequence[Verdict]) -> str:
    worst = max(findings, key=lambda v: v.action)
    return worst.code.lower().replace("_", " ")
