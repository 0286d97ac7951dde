"""One decision: strategy → review of the target → units → review of the orders → what to send. And what it leaves
standing: the risk state, and the part of a target that is not reached yet.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime, timedelta

import attrs
import numpy as np

from fxcarry.answers import ask
from fxcarry.clock import Frequency, SteppedClock
from fxcarry.conventions import holidays_of, open_minutes_array, trade_dates
from fxcarry.costs import Costs
from fxcarry.journal import Journal, MemoryJournal
from fxcarry.market import MarketColumns, MarketHistory, MarketView, to_ns
from fxcarry.model import (
    Account,
    Action,
    Decision,
    FloatArray,
    Order,
    OrderResult,
    OrderStatus,
    Proposal,
    RiskState,
    SentOrder,
    Stage,
    TradingState,
    Verdict,
)
from fxcarry.orders import Book, Leg, Lot, Plan, all_pairs, market_pairs, plan
from fxcarry.protocols import Broker, RiskRule, Strategy
from fxcarry.remote import Remote, at_venue_rates
from fxcarry.risk import RATE_BUDGET, Staleness, StopLoss, next_day_end, review
from fxcarry.routing import LeastCost, RoutedBook
from fxcarry.simulation import SimBroker
from fxcarry.tape import LinearFinancing
from fxcarry.universe import Universe

REFUSALS = 3
"""Refusals in a row after which a target is given up."""

UNFILLED = frozenset({OrderStatus.REJECTED, OrderStatus.CANCELLED})
_STAGES: tuple[Stage, ...] = ("target", "held", "orders")
REMEMBERED = 1000
"""How many of the orders sent before the rules of orders are told of."""


class Decider:
    """What an engine decides with, at one tick of ``clock`` whose market is in ``columns``; :class:`Engine` says when.

    The arguments are those of :class:`~fxcarry.engine.Engine`.
    """

    clock: SteppedClock
    columns: MarketColumns

    def __init__(
        self,
        *,
        broker: SimBroker | Broker,
        strategy: Strategy,
        rules: Sequence[RiskRule],
        universe: Sequence[str] | Universe,
        rebalance: Frequency,
        journal: Journal | None,
        costs: Costs | None,
        financing: LinearFinancing | None,
        routing: LeastCost | None,
        account_currency: str,
    ) -> None:
        self.broker: SimBroker | Remote = (
            broker
            if isinstance(broker, SimBroker)
            else Remote(broker, account_currency=account_currency, costs=costs, financing=financing)
        )
        self.strategy = strategy
        self.rules = tuple(rules)
        self._membership = universe if isinstance(universe, Universe) else None
        self.universe = universe.currencies if isinstance(universe, Universe) else tuple(universe)
        self.rebalance: Frequency = rebalance
        self.journal: Journal = journal or MemoryJournal()
        self.costs = costs or Costs.none()
        self.financing = financing or self.broker.financing
        self.routing = routing
        self.state = RiskState(day_start=np.nan, high_water=np.nan)  # until the account is known
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
        self._sent: list[SentOrder] = []  # what rules of orders are told
        self._findings: Sequence[Verdict] = ()
        self._decision: Decision | None = None  # the last one
        self._unsized: list[tuple[datetime, Order]] = []  # orders sent before a restart
        self._blocked: frozenset[str] = frozenset()  # instruments with an order of unknown outcome
        self._rest: frozenset[str] | None = None  # the instruments an open intention is left for, None = all
        self._unsendable: set[str] = set()  # instruments in which nothing could be sent at this look
        self._stale: np.ndarray | None = None  # ticks × instruments whose quote is past its budget
        self._is_daily = True
        self._closeout: list[float] = []

    def _begin_at(self, nav: float) -> bool:
        """Measure the first day and the drawdown from here, where nothing is remembered, and say whether it is so."""
        is_first = self.state.day_start != self.state.day_start
        if is_first:
            self.state = attrs.evolve(self.state, day_start=nav, high_water=nav)
        return is_first

    def _note_sent(self, orders: Plan, results: Sequence[OrderResult]) -> None:
        """What it means that orders of a plan were refused or not sent: the target they were for stands again, until
        it was refused too often.
        """
        is_refused = any(r.status is OrderStatus.REJECTED for r in results)
        is_lost = any(r.status in UNFILLED for r in results)
        rejects = self.state.rejects + 1 if is_refused else 0
        if rejects != self.state.rejects:
            self._transition(attrs.evolve(self.state, rejects=rejects))
        if is_lost and orders.reason == "rebalance":
            if rejects < REFUSALS:
                self._stand_again({r.instrument for r in results if r.status in UNFILLED})
            else:
                self._intention = None

    def _stand_again(self, names: Set[str]) -> None:
        """What the last target wants in these instruments is tried again at the next tick, under new ids."""
        if names and self._target is not None and self.state.trading is not TradingState.HALTED:
            if self._intention is None:
                self._rest = frozenset(names)
            elif self._rest is not None:
                self._rest |= names
            self._intention = self._target
            self._attempt += 1

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

    def columns_of(self, history: MarketHistory, clock: SteppedClock, *, is_now: bool = False) -> MarketColumns:
        """What views at the ticks of a clock are cut from; ``history`` is in account currency.

        Financing is what is expected of the venue. ``is_now``: the last tick is the present, and a venue elsewhere that
        publishes what it pays is believed there; ticks before it do not know what it says today.
        """
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
        published = broker.published() if is_now and isinstance(broker, Remote) else ()

        def financing() -> tuple[FloatArray, FloatArray]:  # without ``self``: columns outlive no engine
            long, short = np.full(carry.shape, np.nan), np.full(carry.shape, np.nan)
            if book.names:
                sides = at_venue_rates(maker.annual(history, clock.at), published)
                pair_long, pair_short = (side[:, : len(book.holdings)] for side in sides)
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

    def _note_events(self) -> None:
        """Stops the venue filled and close-outs it made, as the rules must know of them."""
        events, self.broker.events = self.broker.events, []
        stopped = {(name, side) for name, kind, side in events if kind == "stop"}
        if stopped:
            self._transition(attrs.evolve(self.state, stopped=self.state.stopped | stopped))
        if any(kind == "margin close-out" for _, kind, _ in events):
            self._transition(attrs.evolve(self.state, trading=TradingState.HALTED, latch="MARGIN_CLOSEOUT"))

    def decide(self, tick: int, is_due: bool, asks: bool = False) -> Plan | None:
        """What to send at this tick, recorded as intended; None = nothing. The strategy is asked where the tick
        ``is_due``, and where somebody ``asks`` out of turn.
        """
        self._findings, asks = (), asks or is_due
        is_idle = not asks and self._intention is None and self.state.trading is TradingState.ACTIVE
        if is_idle and not self.rules:
            return None
        broker, book = self.broker, self.book
        view, account = MarketView(self.columns, tick), broker.account()
        if self.state.halt_until is not None or (is_due and self.state.stopped):
            self._lapse(account, is_due)
        if self.state.trading is TradingState.HALTED:
            self._intention = None
            if not broker.is_open and not broker.has_waiting:
                return None
        elif asks:
            wish = self._wishes.get(tick)
            self._intention = self._target = ask(self.strategy, view, account) if wish is None else wish
            self._asked = self._target
            self._attempt, self._rest = 0, None
        held, nav = broker.lot(), broker.nav
        if self._unsized:
            self._sent, self._unsized = [_resized(at, one, book, held, nav) for at, one in self._unsized], []
        notional = held.fractions(held.units, nav)
        wanted, reason = held.units, "risk"
        if self._intention is not None:
            wanted, reason = book.target_units(self._intention, nav, held), "rebalance"
            if self._rest is not None:
                wanted = [w if n in self._rest else u for n, w, u in zip(book.names, wanted, held.units)]

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
            is_due=asks,
            currencies=self.universe,
            closeout=self._closeout,
            is_daily=self._is_daily,
        )
        decision = self._decision = review(proposal, self._rules[proposal.stage], view, account, self.state)
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
        self._findings = findings
        if findings:
            self._apply(findings, proposal, account)
            reason = reason if self._intention is not None else _why(findings)
        if self.state.trading is TradingState.HALTED:  # the largest margin first
            margin = [float(i.margin_rate) * value for i, value in zip(book.instruments, held.base_value)]
            legs = sorted(legs, key=lambda leg: -abs(leg[2]) * margin[leg[0]])
        if broker.has_waiting:
            legs = self._unsent(legs)
        if self._blocked:
            self._unsendable |= {leg[1] for leg in legs} & self._blocked
            legs = [leg for leg in legs if leg[1] not in self._blocked]
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
                self._sent = [*self._sent, *sent][-REMEMBERED:]
        if self._intention is not None:
            self._keep_intention(findings)
        return orders

    def _unsent(self, legs: list[Leg]) -> list[Leg]:
        """What is left to send where orders still wait for a quote.

        A new decision replaces all that waits. A rule's reduction is sent only where what waits would leave more. While
        nothing may open, what would open is cancelled, and the standing target is tried again once it may.
        """
        broker = self.broker
        if isinstance(broker, Remote):
            return self._unsent_there(broker, legs)
        if self._intention is not None:
            broker.drop("replaced")
            return legs
        if self.state.trading is not TradingState.ACTIVE:
            dropped = broker.drop("opening is halted", opening_only=True)
            if dropped and self.state.trading is TradingState.REDUCING:
                self._intention, self._rest = self._target, None
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

    def _unsent_there(self, broker: Remote, legs: list[Leg]) -> list[Leg]:
        """The same where a cancelled order may still be filled: what replaces it is sent at a later look.

        An order that waits stays where it leads to what is wanted.
        """
        waiting, held = broker.waiting(), broker.lot().units
        wants = dict(zip(self.book.names, held))
        for _, name, units, _, _ in legs:
            wants[name] += units
        for j, name in enumerate(self.book.names):
            if name not in waiting:
                continue
            left = held[j] + waiting[name]
            is_wanted = abs(left - wants[name]) < self.book.minimums[j]
            if self._intention is None and self.state.trading is TradingState.ACTIVE:
                is_wanted = is_wanted or not (left * held[j] > 0 and abs(left) > abs(wants[name]) < abs(held[j]))
            if not is_wanted:
                broker.mark(name, "replaced")
                self._unsendable.add(name)
        return [leg for leg in legs if leg[1] not in waiting]

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
        left, self._unsendable = self._unsendable | self.state.locked, set()
        if held_back or self.state.trading is TradingState.REDUCING:
            self._attempt += 1
        elif left:
            self._attempt += 1
            self._rest = frozenset(left) if self._rest is None else self._rest & left
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


def _resized(at: datetime, order: Order, book: Book, held: Lot, nav: float) -> SentOrder:
    """An order from before a restart, as large as it would be now."""
    value = held.base_value[book.names.index(order.instrument)] if order.instrument in book.names else 0.0
    return SentOrder(at, order.client_id, abs(float(order.units)) * value / nav, not order.is_reducing)


def _why(findings: Sequence[Verdict]) -> str:
    worst = max(findings, key=lambda v: v.action)
    return worst.code.lower().replace("_", " ")
