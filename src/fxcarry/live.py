"""Live looks: one instant at a time, against a venue that may be elsewhere and a journal that outlives the process.

What is learned, decided and about to be sent is one write before anything is sent; every start is a recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.alerts import AlertKind, Alerts, AlertSettings, Severity
from fxcarry.clock import SteppedClock
from fxcarry.clock import is_due as due_days
from fxcarry.conventions import open_minutes
from fxcarry.deciding import REFUSALS, REMEMBERED, UNFILLED, Decider
from fxcarry.errors import BrokerUnavailable, ConfigError, DataError, MissingDataError, OrderOutcomeUnknown
from fxcarry.gap import days_charged
from fxcarry.journal import CommandKind, MemoryJournal
from fxcarry.leak import ROLLS, leaks, rolls_of
from fxcarry.market import MarketHistory, to_ns
from fxcarry.model import (
    Account,
    Action,
    FloatArray,
    Order,
    OrderResult,
    OrderStatus,
    RiskState,
    Snapshot,
    TradingState,
    Transaction,
    Verdict,
    minor_digits,
)
from fxcarry.occasions import Look, Night, Teller
from fxcarry.orders import Plan
from fxcarry.preview import PlannedOrder, Preview
from fxcarry.protocols import Capability, DataFeed, Notifier
from fxcarry.reconcile import Reconciliation, missing_stops
from fxcarry.remote import Remote, at_venue_rates

_SETTLED = timedelta(seconds=60)  # from then on an order that the venue does not know never arrived
_LONG = timedelta(minutes=5)  # an order that waits at a venue elsewhere is told from then on
_FROZEN = 60.0  # open-market minutes
_TOLD = frozenset({"QUOTE_STALE", "PRICE_NOT_CONFIRMED", "MARGIN_NEAR_CLOSEOUT", "ORDER_TOO_LARGE", "DUPLICATE_ORDER"})
"""Codes of findings that a person should know of although they close nothing."""


def nothing() -> None:
    """What is done before an order is sent, unless somebody says otherwise."""


def _units(orders: Iterable[Order]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for order in orders:
        total[order.instrument] = total.get(order.instrument, Decimal(0)) + order.units
    return total


def _fall(findings: Iterable[Verdict], currency: str) -> tuple[str, dict[str, float]]:
    """How far NAV fell, as a line to add, where a rule found that it is too far; and from what."""
    digits = minor_digits(currency)
    for facts in [verdict.facts for verdict in findings]:
        for name, what in (("high_water", "its high of"), ("day_start", "where the day began,")):
            nav, before, limit = (facts.get(key) for key in ("nav", name, "limit"))
            if isinstance(nav, float) and isinstance(before, float) and isinstance(limit, float) and before > 0:
                amounts = f"NAV {nav:,.{digits}f} {currency} is {100 * (1 - nav / before):.2f} % below {what}"
                return f"\n{amounts} {before:,.{digits}f} {currency}; the limit is {100 * limit:g} %", {name: before}
    return "", {}


def _mids(snapshot: Snapshot) -> dict[str, float]:
    return {str(pair): float(quote.mid) for pair, quote in snapshot.quotes.items()}


class Live(Decider):
    """The part of an :class:`~fxcarry.engine.Engine` that looks at a market as it comes."""

    feed: DataFeed | None

    def _begin_live(self, feed: DataFeed | None, notifiers: Sequence[Notifier], alerting: AlertSettings | None) -> None:
        """What live looks know."""
        self.feed = feed
        self.alerts = Alerts(self.journal, notifiers, alerting)
        self._teller = Teller(self.journal, self.alerts, self.broker.account_currency, self.alerts.settings)
        self.before_send: Callable[[], None] = nothing
        self._is_open = False  # the book is opened at the first
        self._is_unsure = False  # the last step failed: memory may be ahead of the journal
        self._long_waiting: dict[str, str] = {}  # instruments of the orders that were told to wait, by client id
        self._leaking: set[str] = set()  # what is told of financing
        self._looked: datetime | None = None  # the last look that was finished
        self._adopted: Preview | None = None  # a plan to be carried out at the next
        self._reconciliation: Reconciliation | None = None
        self._same_since: tuple[dict[Any, Any], datetime] | None = None  # the prices, and since when

    def step(self, at: datetime) -> Account:
        """One look at the market at ``at``, later than the one before: sync the venue, decide, send what is decided.

        The strategy is asked where a 17:00 New York that is due has come since the last look, the rules at every step.
        The feed gives the quotes and, for views, every row known by ``at``. Steps at the ticks of a stored history make
        the run that :meth:`run` makes of it, to the cent.

        What the feed, the venue or the journal raises is raised, with nothing half written; the next step begins with
        what the journal remembers.
        """
        if self.feed is None:
            raise ConfigError("the engine has no feed to look at", hint="pass feed=")
        if self._is_unsure:
            self.recover(at)
        self._is_unsure = True
        account = self._look(self.feed, at)
        self._is_unsure, self._looked = False, at
        self.alerts.flush()
        return account

    def _see(self, feed: DataFeed, at: datetime) -> tuple[Snapshot, MarketHistory]:
        """Read the market, and make ``at`` the last tick of the clock."""
        snapshot = feed.snapshot(at)
        self._watch_sources(feed, at)
        known = feed.history(None, at + timedelta(microseconds=1))
        history = known.in_currency(self.broker.account_currency, self.universe)
        self.clock = SteppedClock.until(history, at, self.rebalance)
        if not self._is_open:
            self._open_book(self.broker.account_currency)
            self.journal.follow(self.broker.log, self.broker.find_orders)
            self._is_open = True
        if isinstance(self.broker, Remote):
            self.broker.read_financing(at)
        self._is_daily = history.is_daily
        self.columns = self.columns_of(history, self.clock, is_now=True)
        stale = self._stale_ticks(history, self.clock.last())
        if self._is_frozen(feed, snapshot):
            stale = np.ones((1, len(self.book.names)), bool)
        self._stale = None if stale is None else np.broadcast_to(stale, (len(self.clock), stale.shape[1]))
        return snapshot, history

    def _look(self, feed: DataFeed, at: datetime) -> Account:
        snapshot, history = self._see(feed, at)
        tick, since = len(self.clock) - 1, self._looked
        passed = np.arange(tick + 1) == tick if since is None else self.clock.at > to_ns(since)
        journal, broker = self.journal, self.broker
        account = broker.sync(snapshot)
        fresh = list(dict.fromkeys(broker.transactions(journal.last_transaction_id())))  # one told twice is one
        told, missed = self._ask_about_orders(at)
        before, events = self.state, list(broker.events)
        try:
            with journal.atomic():  # what is learned, decided, remembered and will be sent: all of it or nothing
                journal.import_transactions(fresh)
                journal.record(told, at)
                journal.observe(snapshot)
                if isinstance(broker, Remote):
                    journal.publish(broker.published(), at)
                orders = self._take_in(account, fresh, missed, snapshot, tick, passed)
                journal.beat(at)
        except BaseException:
            broker.events = events  # what the venue did of its own accord is learned at the next look
            raise
        if isinstance(broker, Remote):
            journal.record(broker.cancel_marked(), at)
        self._tell(at, before)
        is_day_over = bool((self.clock.is_day_end & passed).any())
        if orders is not None:
            self._carry_out(orders, at)
        self._watch_stops(at)
        self._tell_besides(history, snapshot, fresh, is_day_over)
        if is_day_over or any(t.kind == "financing" for t in fresh):
            self._watch_financing(at)
        return account

    def _take_in(
        self,
        account: Account,
        fresh: Sequence[Transaction],
        missed: set[str],
        snapshot: Snapshot,
        tick: int,
        passed: NDArray[np.bool_],
    ) -> Plan | None:
        """Take in what the venue tells, decide at ``tick``, and remember it; ``passed`` are the ticks since the last
        look.
        """
        broker, intended = self.broker, self._intention
        if self._begin_at(broker.nav):
            self._transition(self.state)
        if isinstance(broker, Remote):
            broker.note(fresh)
            self._tell_of_late_fills(fresh, snapshot.at)
        if broker.events:
            self._note_events()
        self._stand_again(missed - {name for name, _ in self.state.stopped})
        self._reconcile(account, fresh)
        if (self.clock.is_day_end & passed)[:tick].any():  # nobody looked at 17:00: the day begins here
            self._end_day()
        is_due, adopted = bool((self.clock.is_due & passed).any()), self._adopted
        is_adopting = adopted is not None and self._may_carry_out(adopted, tick, snapshot)
        orders = self.decide(tick, is_due, asks=is_adopting)
        self._adopted, self._wishes = None, {}
        self._remember(snapshot.at, intended)
        if self.clock.is_day_end[tick]:  # the next day is measured from here
            self._end_day()
        return orders

    def _end_day(self) -> None:
        nav = self.broker.nav
        self._transition(self.state.at_day_end(nav, max(self.state.high_water, nav)))

    def adopt(self, preview: Preview) -> None:
        """Carry out this plan at the next step, and only this: where the world or what the rules say of it has moved,
        nothing of it is sent and an alert says why.
        """
        self._adopted = preview

    def _may_carry_out(self, adopted: Preview, tick: int, snapshot: Snapshot) -> bool:
        """Whether a plan may be carried out at this look; if so, its target is what the strategy will have said."""
        held = {n: u for n, u in zip(self.book.names, self.broker.lot().units) if u}
        why = adopted.moved(snapshot.at, self.state.trading.value, held, _mids(snapshot))
        if not why and self.broker.has_waiting:
            why = "an order waits at the venue"
        if not why:
            self._wishes = {tick: np.array([adopted.target_weights.get(c, 0.0) for c in self.universe])}
            orders, _, _ = self._rehearse(tick)
            why = adopted.differs(_units(orders))
        if why:
            self._wishes = {}
            message = f"plan {adopted.id} is not carried out: {why}"
            self.alerts.tell(snapshot.at, AlertKind.PLAN_REFUSED, "warning", message)
        else:
            self.alerts.tell(snapshot.at, AlertKind.OPERATOR, "info", f"plan {adopted.id} is carried out")
        return not why

    def _rehearse(self, tick: int) -> tuple[Sequence[Order], MemoryJournal, FloatArray | None]:
        """A decision out of turn of which nothing is kept: its orders, what was noted of it, and the target."""
        kept, noted = dict(self.__dict__), MemoryJournal()
        self.journal, self._unsendable, self._asked = noted, set(), None
        try:
            orders = self.decide(tick, False, asks=True) or ()
            return orders, noted, self._asked
        finally:
            self.__dict__.update(kept)

    def preview(self, at: datetime) -> Preview:
        """What a decision at ``at`` would do, were the strategy asked then. Nothing is sent and nothing written.

        The broker is synced, as a look does: give a simulated one in memory (:meth:`SimBroker.twin`), or one elsewhere,
        which is only read from then on. Raises MissingDataError where the financing of the planned book is not known.
        """
        if self.feed is None:
            raise ConfigError("the engine has no feed to look at", hint="pass feed=")
        self.take_up()
        snapshot, history = self._see(self.feed, at)
        account = self.broker.sync(snapshot)
        self._begin_at(self.broker.nav)
        if isinstance(self.broker, Remote):
            self.broker.is_dry = True
        orders, noted, asked = self._rehearse(len(self.clock) - 1)
        said = {v.rule: v for _, decision in noted.decisions for v in decision.verdicts}
        held, planned = self.broker.lot(), dict(zip(self.book.names, self.broker.lot().units))
        value = dict(zip(self.book.names, held.base_value))
        pairs = {i.name: i.exposure for i in self.book.instruments}
        legs = []
        for order in orders:
            notional = abs(float(order.units)) * value[order.instrument]
            planned[order.instrument] += float(order.units)
            legs.append(
                PlannedOrder(
                    instrument=order.instrument,
                    units=float(order.units),
                    is_reducing=order.is_reducing,
                    notional=notional,
                    cost=notional * self.costs.per_turnover(pairs[order.instrument]),
                )
            )
        target = np.zeros(len(self.universe)) if asked is None else asked
        return Preview(
            at=at,
            trading=self.state.trading.value,
            nav=self.broker.nav,
            held={n: u for n, u in zip(self.book.names, held.units) if u},
            planned={n: u for n, u in planned.items() if u},
            current_weights=dict(account.current_weights),
            target_weights=dict(zip(self.universe, target.tolist())),
            orders=legs,
            verdicts=[
                {"rule": v.rule, "action": v.action.name, "code": v.code, "headroom": v.headroom} for v in said.values()
            ],
            cost=sum(leg.cost for leg in legs),
            carry_week=self._carry_of(planned, value, history, 7 / 365),
            mids=_mids(snapshot),
        )

    def _carry_of(
        self, units: Mapping[str, float], value: Mapping[str, float], history: MarketHistory, years: float
    ) -> float:
        """Financing a book is expected to be paid, at the rates known now; > 0 received."""
        total = 0.0
        for name, a_year in self._annual_of(units, value, history).items():
            if a_year != a_year:
                raise MissingDataError(f"the financing of {name} is not known", hint="is a rate missing?")
            total += a_year * years
        return total

    def _annual_of(
        self, units: Mapping[str, float], value: Mapping[str, float], history: MarketHistory
    ) -> dict[str, float]:
        """What each position earns in 365 days at the rates known now; NaN where a rate is missing."""
        maker = attrs.evolve(self.broker.maker, financing=self.financing)
        published = self.broker.published() if isinstance(self.broker, Remote) else ()
        sides = at_venue_rates(maker.annual(history, self.clock.at[-1:]), published)
        both = zip(self.book.names, *(side[-1].tolist() for side in sides))
        rates = {name: long if units[name] > 0 else short for name, long, short in both if units[name]}
        return {name: abs(units[name]) * value[name] * rate for name, rate in rates.items()}

    def _tell_besides(
        self, history: MarketHistory, snapshot: Snapshot, fresh: Sequence[Transaction], is_day_over: bool
    ) -> None:
        """Alerts of what went well: :mod:`fxcarry.occasions`."""

        def nights(day: date) -> list[Night]:
            held = self.broker.lot()
            units, value = dict(zip(self.book.names, held.units)), dict(zip(self.book.names, held.base_value))
            earns = self._annual_of(units, value, history)
            own = self.broker.published() if isinstance(self.broker, Remote) else ()
            found, instruments = [], {i.name: i for i in (*self.book.instruments, *own)}
            for name, a_year in earns.items():
                try:
                    days: int | None = days_charged(instruments[name], day)
                except DataError:  # no calendar
                    days = None
                amount = None if days is None or a_year != a_year else a_year * days / 365
                found.append(
                    Night(
                        instrument=name,
                        units=units[name],
                        value=units[name] * value[name],
                        days=days,
                        amount=amount,
                    )
                )
            return found

        def next_rebalance(day: date) -> date | None:
            weekdays = np.busday_offset(np.datetime64(day), np.arange(300), roll="forward")
            due = weekdays[due_days(weekdays, self.rebalance)]
            return due[0].item() if len(due) else None

        def headroom() -> dict[str, tuple[float, str]]:
            verdicts = () if self._decision is None else self._decision.verdicts
            units = {rule.name: getattr(rule, "headroom_unit", "") for rule in self.rules}
            return {v.rule: (v.headroom, units.get(v.rule, "")) for v in verdicts if v.headroom is not None}

        look = Look(
            at=snapshot.at,
            since=self._looked,
            nav=self.broker.nav,
            snapshot=snapshot,
            fresh=fresh,
            nights=nights,
            headroom=headroom,
            next_rebalance=next_rebalance,
        )
        self._teller.look(look, is_day_over=is_day_over)

    def recover(self, now: datetime | None = None) -> None:
        """Take up what the journal remembers, before the first step: halts, day start and high water, locked and
        blocked pairs, the standing target, and orders that were intended and of which the outcome is not known.

        What the venue knows of these orders is read at the first step. One it does not know is sent again, under the
        same id, where the venue takes an id once and the order is not older than a minute by ``now`` (default: the last
        look); else its pair is blocked until the venue has answered.
        """
        self.take_up()
        journal, broker = self.journal, self.broker
        unresolved = journal.unresolved()
        if unresolved and Capability.UNIQUE_CLIENT_IDS in broker.capabilities:
            known = broker.find_orders(unresolved)
            lost = journal.intended([c for c in unresolved if c not in known])
            self._send([order for planned, order in lost if now is None or now - planned <= _SETTLED])

    def take_up(self) -> None:
        """Take up what the journal remembers, as :meth:`recover` does; nothing is sent."""
        journal = self.journal
        self.broker.connect()
        state, target = journal.state(), journal.standing()
        if state is not None:
            self.state = state
        self._intention = self._target = None
        if target is not None:
            self._target, self._attempt = np.array([target.weights.get(c, 0.0) for c in self.universe]), target.attempt
            still = journal.intention()
            self._intention = self._target if still is not None else None
            self._rest = still.rest or None if still is not None else None
        self._looked = journal.last_beat()
        self._teller.forget()
        self._reconciliation = Reconciliation(journal.transactions())
        if self._rules["orders"]:
            self._sent, ids = [], [order.client_id for order in journal.orders[-REMEMBERED:]]
            self._unsized = journal.intended(ids)

    def _is_frozen(self, feed: DataFeed, snapshot: Snapshot) -> bool:
        """Whether no price of a feed that should move has moved for an hour of open market."""
        prices = {pair: (quote.bid, quote.ask) for pair, quote in snapshot.quotes.items()}
        if self._same_since is None or self._same_since[0] != prices:
            self._same_since = prices, snapshot.at
        interval = feed.interval / timedelta(minutes=1)
        is_frozen = interval < 1440 and open_minutes(self._same_since[1], snapshot.at) >= max(_FROZEN, interval)
        kind, key = AlertKind.FEED_ERROR, "frozen"
        if is_frozen:
            since = f"{self._same_since[1]:%H:%M} UTC"
            message = f"no price of {feed.name} has moved since {since}: all of them count as stale"
            self.alerts.tell(snapshot.at, kind, "critical", message, key=key)
        else:
            self.alerts.end(snapshot.at, kind, key, f"the prices of {feed.name} move again")
        return is_frozen

    def _watch_sources(self, feed: DataFeed, at: datetime) -> None:
        """Alerts of the sources behind a feed that tells how they do: one when a source fails, one when it is back."""
        health = getattr(feed, "health", None)
        for source in health() if callable(health) else ():
            kind, key = AlertKind.FEED_ERROR, f"source {source.name}"
            if source.failures:
                message = f"{source.name} is not used: {source.reason}; {feed.name} goes on without it"
                self.alerts.tell(at, kind, "warning", message, key=key)
            else:
                self.alerts.end(at, kind, key, f"{source.name} is in use again")

    def _ask_about_orders(self, at: datetime) -> tuple[Sequence[OrderResult], set[str]]:
        """What became of orders without a final outcome, and the instruments where one for the target ended unfilled.

        The pairs of those that nobody can tell of are blocked. An order that the venue does not know a minute after it
        was decided never arrived.
        """
        journal, broker = self.journal, self.broker
        unresolved = journal.unresolved()
        found = dict(broker.find_orders(unresolved)) if unresolved else {}
        unknown = {r.instrument for r in found.values() if r.status is OrderStatus.UNKNOWN}
        for planned, order in journal.intended([c for c in unresolved if c not in found]):
            if at - planned >= _SETTLED:
                found[order.client_id] = OrderResult.unfilled(
                    order, OrderStatus.CANCELLED, "it never reached the venue"
                )
            else:
                unknown.add(order.instrument)
        for name in sorted(unknown):
            message = f"an order in {name} may exist at the venue: nothing is sent in {name} until it has answered"
            self.alerts.tell(at, AlertKind.ORDER_UNKNOWN, "critical", message, key=f"unknown {name}")
        for name in sorted(self._blocked - unknown):
            self.alerts.end(at, AlertKind.ORDER_UNKNOWN, f"unknown {name}", f"the venue has answered about {name}")
        self._blocked = frozenset(unknown)
        if isinstance(broker, Remote):
            self._tell_of_waiting(found, at)
        ended = UNFILLED if isinstance(broker, Remote) else {OrderStatus.REJECTED}
        lost = [c for c, result in found.items() if result.status in ended]
        missed = {order.instrument for _, order in journal.intended(lost) if order.reason == "rebalance"}
        return list(found.values()), missed

    def _tell_of_waiting(self, found: Mapping[str, OrderResult], at: datetime) -> None:
        """Alerts of orders that a venue elsewhere has not filled for minutes; what is left of them stays there."""
        waiting = {c for c, result in found.items() if result.status in (OrderStatus.WORKING, OrderStatus.PARTIAL)}
        for planned, order in self.journal.intended(waiting):
            if at - planned >= _LONG:
                left = (order.units - found[order.client_id].filled_units).normalize()
                message = f"{left:+,f} of {order.units:+,f} {order.instrument} are not filled after {at - planned}"
                self.alerts.tell(at, AlertKind.ORDER_WAITING, "warning", message, key=f"waiting {order.client_id}")
                self._long_waiting[order.client_id] = order.instrument
        for client_id in self._long_waiting.keys() - waiting:
            message = f"the order in {self._long_waiting.pop(client_id)} waits no longer"
            self.alerts.end(at, AlertKind.ORDER_WAITING, f"waiting {client_id}", message)

    def _tell_of_late_fills(self, fresh: Sequence[Transaction], at: datetime) -> None:
        """Alerts of fills of orders that were over, as far as the venue had told."""
        fills = [t for t in fresh if t.kind == "fill" and t.client_id]
        known = self.journal.outcomes({t.client_id for t in fills}) if fills else {}
        for t in fills:
            if t.client_id in known and known[t.client_id].status in UNFILLED:
                what = known[t.client_id].status
                message = f"{t.units:+,f} {t.instrument} were filled after the order was {what}; they are in the book"
                self.alerts.tell(at, AlertKind.LATE_FILL, "warning", message)

    def _reconcile(self, account: Account, fresh: Sequence[Transaction]) -> None:
        """Compare the venue's account with the book its transactions make; a pair that differs opens nothing."""
        if self._reconciliation is None:
            self._reconciliation = Reconciliation(self.journal.transactions())
        else:
            self._reconciliation.book(fresh)
        at, kind = account.at, AlertKind.RECONCILIATION_BREAK
        found = {d.instrument: d for d in self._reconciliation.differences(account.positions)}
        if found:  # a fill between two answers of the venue is no difference
            again = {d.instrument for d in self._reconciliation.differences(self.broker.get_positions())}
            found = {name: difference for name, difference in found.items() if name in again}
        for name, difference in found.items():
            message = f"{difference}; nothing opens in it until they agree"
            self.alerts.tell(at, kind, "critical", message, key=f"differs {name}")
        for name in sorted(self.state.locked - found.keys()):
            self.alerts.end(at, kind, f"differs {name}", f"{name}: journal and venue agree again")
        if found.keys() != self.state.locked:
            self._transition(attrs.evolve(self.state, locked=frozenset(found)))
        for currency, gap in self._reconciliation.unexplained_cash(account).items():
            message = f"{gap:+,f} {currency} of cash that no transaction explains"
            self.alerts.tell(at, kind, "warning", message)

    def _carry_out(self, orders: Plan, at: datetime) -> None:
        """Send the orders of a plan that is intended, and record what is known of them at once."""
        results = self._send(orders)
        with self.journal.atomic():
            self.journal.record(results, at)
            if results or self.state.rejects:
                self._note_sent(orders, results)
                if self._intention is not None:
                    self._remember(at, None)
                elif self.state.rejects >= REFUSALS:
                    self.journal.end_intention(at, f"given up: refused {self.state.rejects} times")
        for result in results:
            told = f"{result.instrument}: {result.reason}"
            if result.status is OrderStatus.REJECTED:
                severity: Severity = "critical" if self.state.rejects >= REFUSALS else "warning"
                self.alerts.tell(at, AlertKind.ORDER_REJECTED, severity, f"the venue refused an order in {told}")
            elif result.status is OrderStatus.UNKNOWN:
                self._blocked |= {result.instrument}
                message = f"nobody knows what became of an order in {told}; nothing is sent in it until the venue says"
                key = f"unknown {result.instrument}"
                self.alerts.tell(at, AlertKind.ORDER_UNKNOWN, "critical", message, key=key)
            elif result.status is OrderStatus.CANCELLED:
                message = f"an order in {told}; it is decided anew at the next look"
                self.alerts.tell(at, AlertKind.BROKER_ERROR, "critical", message)

    def _send(self, orders: Sequence[Order]) -> Sequence[OrderResult]:
        """Send orders; what is known of them at once. An order not in the answer waits at the venue."""
        broker = self.broker
        if isinstance(broker, Remote):
            return broker.send(orders, self.before_send)
        self.before_send()
        try:
            if isinstance(orders, Plan):
                return broker.place_plan(orders)
            return [broker.place_market_order(order) for order in orders]
        except BrokerUnavailable as error:
            status, reason = OrderStatus.CANCELLED, f"not sent: {error.message}"
        except OrderOutcomeUnknown as error:
            status, reason = OrderStatus.UNKNOWN, error.message
        return [OrderResult.unfilled(order, status, reason) for order in orders]

    def _watch_financing(self, at: datetime) -> None:
        """Compare the financing of the last rolls with what was expected, where the venue says what it pays."""
        if not isinstance(self.broker, Remote) or not self.broker.publishes:
            return
        currency, kind = self.broker.account_currency, AlertKind.FINANCING_LEAK
        found = {leak.key: leak for leak in leaks(rolls_of(self.journal, currency, at, ROLLS), currency, at)}
        for key, leak in found.items():
            self._leaking.add(key)
            self.alerts.tell(at, kind, "warning", leak.message, key=key)
        for key in sorted(self._leaking - found.keys()):
            self._leaking.discard(key)
            self.alerts.end(at, kind, key, f"{key}: over, or more than {ROLLS} rolls ago")

    def _watch_stops(self, at: datetime) -> None:
        """Every open position has a live stop at the venue of the size of the position, or gets it, or it is told."""
        broker = self.broker
        if self._stop_fraction is None or not broker.is_open or Capability.NATIVE_STOPS not in broker.capabilities:
            return
        positions = {n: p for n, p in broker.get_positions().items() if n in self.book.names}
        wanted = missing_stops(positions, broker.get_orders(), self._stop_fraction)
        for name, price in wanted.items():
            key, what = f"stop {name}", f"the position in {name} had no stop within {self._stop_fraction:.1%}"
            try:
                broker.set_stop(name, price)
            except Exception as error:
                message = f"{what} and gets none: {error}"
                self.alerts.tell(at, AlertKind.STOP_MISSING, "critical", message, key=key)
            else:
                self.alerts.end(at, AlertKind.STOP_MISSING, key, f"{name} has a stop again")
                message = f"{what}; it is at {price:.6g} now"
                self.alerts.tell(at, AlertKind.STOP_MISSING, "warning", message, key=f"{key} put back")
        for name in self.book.names:
            if name not in wanted:
                for key in (f"stop {name}", f"stop {name} put back"):
                    self.alerts.end(at, AlertKind.STOP_MISSING, key, f"the stop in {name} is kept")

    def _tell(self, at: datetime, before: RiskState) -> None:
        """Alerts for what changed in the risk state at a step, and for findings that a person should know of."""
        now, tell = self.state, self.alerts.tell
        if now.trading is not before.trading:
            severity: Severity = "critical" if now.trading is TradingState.HALTED else "warning"
            why = f" ({now.latch})" if now.latch else ""
            until = f" until {now.halt_until:%Y-%m-%d %H:%M} UTC" if now.halt_until else ""
            if now.trading is TradingState.ACTIVE:
                severity, why, until = "info", "", ""
            codes = ", ".join(sorted({v.code for v in self._findings if v.action >= Action.CLOSE} - {now.latch}))
            because = f": {codes}" if codes else ""
            message, currency = f"trading is {now.trading}{why}{until}{because}", self.broker.account_currency
            fall, level = ("", {}) if severity == "info" else _fall(self._findings, currency)
            fields = {"nav": self.broker.nav, **level, "currency": currency}
            tell(at, AlertKind.TRADING_STATE, severity, message + fall, fields=fields)
        for name, side in sorted(now.stopped - before.stopped):
            message = f"the {'long' if side > 0 else 'short'} position in {name} was stopped out"
            tell(at, AlertKind.STOP_LOSS, "warning", f"{message}; it is not opened again before the next rebalance")
        codes_now = {v.code: v for v in self._findings if v.code in _TOLD}
        for code, verdict in codes_now.items():
            tell(at, AlertKind.RISK_LIMIT, "warning", f"{verdict.rule}: {code}", key=code, fields=verdict.facts)
        for code in _TOLD - codes_now.keys():
            self.alerts.end(at, AlertKind.RISK_LIMIT, code, f"{code} is over")

    def command(self, kind: CommandKind, at: datetime) -> None:
        """An operator's command that changes the trading state, before the look at ``at``.

        ``pause`` and ``reduce`` open nothing until somebody resumes; ``flatten`` closes everything at the next look and
        halts; ``resume`` lifts any halt and measures the day and the drawdown from NAV as it is now on, else it would
        halt again at once.
        """
        state, nav = attrs.evolve(self.state, halt_until=None, halted_at=None), self.broker.nav
        if kind == "resume":
            state = attrs.evolve(state, trading=TradingState.ACTIVE, latch="", day_start=nav, high_water=nav, rejects=0)
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
            rest = () if now is None or self._rest is None else self._rest
            self.journal.keep_intention(at, dict(zip(self.universe, target.tolist())), self._attempt, why, rest)
        if now is None and (target is not None or before is not None):
            self.journal.end_intention(at, "acted on" if self.state.trading is TradingState.ACTIVE else "given up")
