"""The journal of a backtest: everything in lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from threading import Lock

from fxcarry.errors import JournalError, LedgerError
from fxcarry.journal.records import (
    FINAL,
    AlertRecord,
    Command,
    CommandKind,
    Intention,
    check_acknowledgement,
    check_command,
)
from fxcarry.ledger import TransactionLog
from fxcarry.model import (
    Alert,
    Decision,
    Instrument,
    Order,
    OrderResult,
    Pair,
    Quote,
    RiskState,
    Snapshot,
    Transaction,
)
from fxcarry.orders import Plan


class MemoryJournal:
    """A journal that lives as long as the process.

    ``decisions`` are (stage, decision); ``plans`` the orders intended, one sequence a decision; ``states`` every change
    of the risk state and when; ``log`` the venue's transactions; ``recorded`` what was recorded of orders; ``alerts``
    those raised, ``deliveries`` (number of the alert, channel, state, error).
    """

    def __init__(self) -> None:
        self.decisions: list[tuple[str, Decision]] = []
        self.plans: list[Sequence[Order]] = []
        self.states: list[tuple[datetime, RiskState]] = []
        self.recorded: list[OrderResult] = []
        self.log: TransactionLog | None = None
        self._find: Callable[[Collection[str]], Mapping[str, OrderResult]] | None = None
        self._said: dict[str, OrderResult] = {}
        self._final: set[str] = set()
        self._transactions: dict[str, Transaction] = {}
        self._intention: Intention | None = None
        self._standing: Intention | None = None
        self._quotes: dict[Pair, Quote] = {}
        self._used: list[tuple[datetime, Pair, Quote]] = []
        self._published: list[tuple[datetime, Instrument]] = []
        self._commands: list[Command] = []
        self._taken: set[int] = set()
        self._beat: datetime | None = None
        self.alerts: list[Alert] = []
        self.deliveries: list[tuple[int, str, str, str]] = []
        self._acknowledged: dict[int, tuple[str, str]] = {}
        self._alerting = Lock()

    def atomic(self) -> AbstractContextManager[None]:
        """Nothing outlives the process, so there is nothing to keep together."""
        return nullcontext()

    def follow(self, log: TransactionLog | None, find: Callable[[Collection[str]], Mapping[str, OrderResult]]) -> None:
        """Keep the venue's transactions, and a way to ask what became of orders."""
        self.log, self._find = log, find

    def observe(self, snapshot: Snapshot) -> None:
        """Keep the quotes that are used, each once."""
        for pair, quote in snapshot.quotes.items():
            if self._quotes.get(pair) != quote:
                self._quotes[pair] = quote
                self._used.append((snapshot.at, pair, quote))

    def publish(self, instruments: Iterable[Instrument], at: datetime) -> None:
        """Record what the venue says it pays. What it has said already is not repeated."""
        said = {one.name: one for _, one in self._published}
        self._published += [(at, one) for one in map(financing_of, instruments) if said.get(one.name) != one]

    def decide(self, stage: str, decision: Decision) -> None:
        """Record a decision with every rule's verdict."""
        self.decisions.append((stage, decision))

    def intend(self, orders: Sequence[Order]) -> None:
        """Record orders before they are sent."""
        self.plans.append(orders)

    def record(self, results: Iterable[OrderResult], at: datetime | None = None) -> None:
        """Record what the venue said of orders. What it has said already is not repeated."""
        for result in results:
            if self._said.get(result.client_id) != result:
                self._said[result.client_id] = result
                self.recorded.append(result)
                if result.status in FINAL:
                    self._final.add(result.client_id)

    def import_transactions(self, transactions: Iterable[Transaction]) -> int:
        """Record the venue's own transactions, each once; returns how many were new."""
        before = len(self._transactions)
        fresh = dict(self._transactions)
        for transaction in transactions:
            known = fresh.setdefault(transaction.id, transaction)
            if known != transaction:
                raise changed(known, transaction)
        self._transactions = fresh
        return len(fresh) - before

    def transition(self, at: datetime, state: RiskState) -> None:
        """Record a change of the risk state."""
        self.states.append((at, state))

    def keep_intention(
        self, at: datetime, weights: Mapping[str, float], attempt: int, why: str, rest: Collection[str] = ()
    ) -> None:
        """Record the standing target, in place of any before it."""
        self._intention = self._standing = Intention(at, dict(weights), attempt, why, frozenset(rest))

    def end_intention(self, at: datetime, why: str) -> None:
        """Record that the standing target was reached or given up."""
        self._intention = None

    def beat(self, at: datetime) -> None:
        """Record that the engine is alive."""
        self._beat = at

    def command(self, kind: CommandKind, *, by: str, at: datetime, reason: str = "") -> Command:
        """Record a control for the engine to take."""
        check_command(kind, by, reason)
        self._commands.append(Command(len(self._commands) + 1, kind, by, at, reason))
        return self._commands[-1]

    def take(self, command: Command, at: datetime) -> bool:
        """Record that a command is carried out; False where it was taken before."""
        if not any(known.id == command.id for known in self._commands):
            raise JournalError(f"there is no command {command.id}")
        is_first = command.id not in self._taken
        self._taken.add(command.id)
        return is_first

    def alert(self, alert: Alert) -> int:
        """Record an alert and return its number."""
        with self._alerting:
            self.alerts.append(alert)
            return len(self.alerts)

    def delivery(self, alert: int, channel: str, at: datetime, state: str, error: str = "") -> None:
        """Record how far the alert of that number has come at a channel, and with which ``error``."""
        self.deliveries.append((alert, channel, state, error))

    def acknowledge(self, alert: int, *, by: str, at: datetime, reason: str = "") -> bool:
        """Record that somebody has seen an alert; False where that is on record."""
        check_acknowledgement(alert, 1 <= alert <= len(self.alerts), by)
        is_first = alert not in self._acknowledged
        self._acknowledged.setdefault(alert, (by, reason))
        return is_first

    def alerts_from(self, number: int, limit: int) -> list[tuple[int, Alert]]:
        """Alerts from that number on, in their order, ``limit`` at most."""
        return list(enumerate(self.alerts[number - 1 : number - 1 + limit], number))

    def recent_alerts(self, since: datetime | None = None, *, and_unsent: bool = False) -> list[AlertRecord]:
        """Alerts at ``since`` or later (None = all) with what became of them, in their order; ``and_unsent``: and older
        ones that still wait for a channel, or were being sent.
        """
        found: dict[int, dict[str, tuple[str, str]]] = {}
        for number, channel, state, error in list(self.deliveries):
            found.setdefault(number, {})[channel] = (state, error)
        records = [
            AlertRecord(number, alert, found.get(number, {}), *self._acknowledged.get(number, ("", "")))
            for number, alert in enumerate(list(self.alerts), 1)
        ]
        return [one for one in records if since is None or one.alert.at >= since or (and_unsent and one.is_unsent)]

    def is_acknowledged(self, alert: int) -> bool:
        """Whether somebody has seen the alert of that number."""
        return alert in self._acknowledged

    def is_over(self, kind: str, key: str, after: int) -> bool:
        """Whether an alert after that number says that the condition of this kind and key has ended."""
        return any(a.is_over and (a.kind, a.key) == (kind, key) for a in self.alerts[after:])

    def beside(self) -> AbstractContextManager[MemoryJournal]:
        """Itself: what other threads do is to append."""
        return nullcontext(self)

    def state(self) -> RiskState | None:
        """The last risk state recorded."""
        return self.states[-1][1] if self.states else None

    def intention(self) -> Intention | None:
        """The standing target, if one is open."""
        return self._intention

    def standing(self) -> Intention | None:
        """The last target that was decided, whether or not it has been reached."""
        return self._standing

    def intended(self, client_ids: Collection[str]) -> list[tuple[datetime, Order]]:
        """These orders with the instant of their decision, in the order of intention."""
        plans = [(plan.at, plan) for plan in self.plans if isinstance(plan, Plan)]
        return [(at, order) for at, plan in plans for order in plan if order.client_id in client_ids]

    def outcomes(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """What was recorded last of these orders, of those of which anything was."""
        return {i: self._said[i] for i in client_ids if i in self._said}

    def unresolved(self) -> list[str]:
        """Client ids intended without a final result, in the order of intention."""
        return [order.client_id for order in self.orders if order.client_id not in self._final]

    def transactions(self, since: str | None = None) -> list[Transaction]:
        """Transactions after the one with id ``since`` (None = all), in the order they were imported."""
        found = list(self._transactions.values())
        if since is None:
            return found
        if since not in self._transactions:
            raise JournalError(f"there is no transaction {since!r}")
        return found[list(self._transactions).index(since) + 1 :]

    def last_transaction_id(self) -> str | None:
        """The id of the transaction imported last."""
        return next(reversed(self._transactions), None)

    def has_decided(self, at: datetime) -> bool:
        """Whether a target was decided at that instant."""
        return any(stage == "target" and decision.at == at for stage, decision in self.decisions)

    def commands(self) -> list[Command]:
        """Commands not taken yet, oldest first."""
        return [command for command in self._commands if command.id not in self._taken]

    def last_beat(self) -> datetime | None:
        """When the engine last said that it is alive."""
        return self._beat

    def quotes(self, by: datetime | None = None) -> dict[Pair, Quote]:
        """The latest quote of each pair that was used, by an instant where one is given."""
        return dict(self._quotes) if by is None else {p: quote for at, p, quote in self._used if at <= by}

    def published(self) -> list[tuple[datetime, Instrument]]:
        """What :meth:`publish` has recorded, oldest first."""
        return list(self._published)

    def alerts_of(self, kind: str) -> list[Alert]:
        """The alerts of one kind, oldest first."""
        return [alert for alert in self.alerts if alert.kind == kind]

    @property
    def orders(self) -> list[Order]:
        """Every order intended, in the order of intention."""
        return [order for plan in self.plans for order in plan]

    @property
    def results(self) -> list[OrderResult]:
        """What the venue says of every order intended."""
        if self._find is None:
            return []
        return list(self._find([order.client_id for order in self.orders]).values())


def financing_of(instrument: Instrument) -> Instrument:
    """What a journal keeps of an instrument: its name, its pair and its financing."""
    return Instrument(
        name=instrument.name,
        exposure=instrument.exposure,
        financing_long=instrument.financing_long,
        financing_short=instrument.financing_short,
        financing_days=None if instrument.financing_days is None else dict(instrument.financing_days),
    )


def changed(known: Transaction, now: Transaction) -> LedgerError:
    """The error for a transaction that the venue tells differently than before."""
    return LedgerError(
        f"transaction {known.id} was {known.kind} {known.amount} {known.currency} at {known.at:%Y-%m-%d %H:%M:%S}, "
        f"and is now {now.kind} {now.amount} {now.currency} at {now.at:%Y-%m-%d %H:%M:%S}",
        hint="the books of the past do not change: ask the broker",
        fields={"id": known.id},
    )
