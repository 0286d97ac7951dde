"""What a journal keeps besides the records of :mod:`fxcarry.model`, and the protocol every journal follows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Literal, Protocol, get_args, runtime_checkable

import attrs

from fxcarry.errors import ConfigError
from fxcarry.ledger import TransactionLog
from fxcarry.model import (
    Alert,
    Decision,
    Instrument,
    Order,
    OrderResult,
    OrderStatus,
    Pair,
    Quote,
    RiskState,
    Snapshot,
    Transaction,
)

CommandKind = Literal["pause", "reduce", "resume", "flatten", "apply"]

FINAL = frozenset({OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.CANCELLED})
"""What nothing can follow. An order that is UNKNOWN, WORKING or filled in part is not resolved."""


@attrs.frozen
class Intention:
    """A target not yet reached: ``weights`` by currency, decided ``at``, in its n-th ``attempt``, and ``why`` it
    stands. ``rest`` are the instruments in which it is not reached, none = all.
    """

    at: datetime
    weights: Mapping[str, float]
    attempt: int
    why: str
    rest: frozenset[str] = frozenset()


@attrs.frozen
class Command:
    """A control written by another process: what, ``by`` whom, when and why."""

    id: int
    kind: CommandKind
    by: str
    at: datetime
    reason: str = ""


UNSENT = ("waiting", "sending")
"""What is on record of an alert and a channel that is not done with it."""


@attrs.frozen
class AlertRecord:
    """An alert with its number, what was last recorded of it for each channel (state, and an error or ""), and who
    acknowledged it ("" = nobody), for what ``reason``.
    """

    number: int
    alert: Alert
    deliveries: Mapping[str, tuple[str, str]]
    acknowledged_by: str = ""
    reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is critical and nobody has acknowledged it."""
        return self.alert.severity == "critical" and not self.acknowledged_by

    @property
    def is_unsent(self) -> bool:
        """Whether it waits for a channel, or is being sent."""
        return any(state in UNSENT for state, _ in self.deliveries.values())

    @property
    def states(self) -> dict[str, str]:
        """The state at each channel: waiting, sending, delivered, failed, unknown or held-back."""
        return {channel: state for channel, (state, _) in self.deliveries.items()}


def check_command(kind: str, by: str, reason: str) -> None:
    """Raise ConfigError unless this is a command; to resume needs a reason, and every command somebody."""
    if kind not in get_args(CommandKind):
        raise ConfigError(f"{kind!r} is not a command", hint=f"one of {', '.join(get_args(CommandKind))}")
    if not by.strip():
        raise ConfigError(f"nobody is named for the command {kind}", hint="say who gives it")
    if kind == "resume" and not reason.strip():
        raise ConfigError("resume needs a reason", hint="say why trading may go on; it is kept in the journal")


def check_acknowledgement(alert: int, is_there: bool, by: str) -> None:
    """Raise ConfigError for an alert that is not there, or where nobody is named."""
    if not is_there:
        raise ConfigError(f"there is no alert {alert}", hint="fxcarry alerts list shows their numbers")
    if not by.strip():
        raise ConfigError(f"nobody is named for the acknowledgement of alert {alert}", hint="say who has seen it")


@runtime_checkable
class Journal(Protocol):
    """What the engine writes to, and what recovery reads from."""

    # -- writing ---------------------------------------------------------------------------------------------------

    def atomic(self) -> AbstractContextManager[None]:
        """All writes inside are kept together or not at all, and are durable when the block ends."""
        ...

    def follow(self, log: TransactionLog | None, find: Callable[[Collection[str]], Mapping[str, OrderResult]]) -> None:
        """Keep a simulated venue's log at hand, and a way to ask what became of orders."""
        ...

    def observe(self, snapshot: Snapshot) -> None:
        """Record the quotes that are used."""
        ...

    def publish(self, instruments: Iterable[Instrument], at: datetime) -> None:
        """Record what the venue says it pays. What it has said already is not repeated."""
        ...

    def decide(self, stage: str, decision: Decision) -> None:
        """Record a decision with every rule's verdict."""
        ...

    def intend(self, orders: Sequence[Order]) -> None:
        """Record orders before they are sent. An order is intended once."""
        ...

    def record(self, results: Iterable[OrderResult], at: datetime | None = None) -> None:
        """Record what the venue said of orders. What it has said already is not repeated."""
        ...

    def import_transactions(self, transactions: Iterable[Transaction]) -> int:
        """Record the venue's own transactions, each once; returns how many were new."""
        ...

    def transition(self, at: datetime, state: RiskState) -> None:
        """Record a change of the risk state."""
        ...

    def keep_intention(
        self, at: datetime, weights: Mapping[str, float], attempt: int, why: str, rest: Collection[str] = ()
    ) -> None:
        """Record the standing target, in place of any before it."""
        ...

    def end_intention(self, at: datetime, why: str) -> None:
        """Record that the standing target was reached or given up."""
        ...

    def beat(self, at: datetime) -> None:
        """Record that the engine is alive."""
        ...

    def command(self, kind: CommandKind, *, by: str, at: datetime, reason: str = "") -> Command:
        """Record a control for the engine to take. Raises ConfigError for what is no command."""
        ...

    def take(self, command: Command, at: datetime) -> bool:
        """Record that a command is carried out; False where it was taken before."""
        ...

    def alert(self, alert: Alert) -> int:
        """Record an alert and return its number."""
        ...

    def delivery(self, alert: int, channel: str, at: datetime, state: str, error: str = "") -> None:
        """Record how far the alert of that number has come at a channel, and with which ``error``."""
        ...

    def acknowledge(self, alert: int, *, by: str, at: datetime, reason: str = "") -> bool:
        """Record that somebody has seen an alert; False where that is on record. ConfigError where there is none of
        that number.
        """
        ...

    # -- reading ---------------------------------------------------------------------------------------------------

    def state(self) -> RiskState | None:
        """The last risk state recorded."""
        ...

    def intention(self) -> Intention | None:
        """The standing target, if one is open."""
        ...

    def standing(self) -> Intention | None:
        """The last target that was decided, whether or not it has been reached."""
        ...

    @property
    def orders(self) -> list[Order]:
        """Every order intended, in the order of intention."""
        ...

    def intended(self, client_ids: Collection[str]) -> list[tuple[datetime, Order]]:
        """These orders with the instant of their decision, in the order of intention."""
        ...

    def outcomes(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """What was recorded last of these orders, of those of which anything was."""
        ...

    def unresolved(self) -> list[str]:
        """Client ids intended without a final result, in the order of intention."""
        ...

    def transactions(self, since: str | None = None) -> list[Transaction]:
        """Transactions after the one with id ``since`` (None = all), in the order they were imported."""
        ...

    def last_transaction_id(self) -> str | None:
        """The id of the transaction imported last."""
        ...

    def has_decided(self, at: datetime) -> bool:
        """Whether a target was decided at that instant."""
        ...

    def commands(self) -> list[Command]:
        """Commands not taken yet, oldest first."""
        ...

    def last_beat(self) -> datetime | None:
        """When the engine last said that it is alive."""
        ...

    def quotes(self, by: datetime | None = None) -> dict[Pair, Quote]:
        """The latest quote of each pair that was used, by an instant where one is given."""
        ...

    def published(self) -> list[tuple[datetime, Instrument]]:
        """What :meth:`publish` has recorded, oldest first: name, pair and financing of instruments."""
        ...

    def alerts_from(self, number: int, limit: int) -> list[tuple[int, Alert]]:
        """Alerts from that number on, in their order, ``limit`` at most."""
        ...

    def recent_alerts(self, since: datetime | None = None, *, and_unsent: bool = False) -> list[AlertRecord]:
        """Alerts at ``since`` or later (None = all) with what became of them, in their order; ``and_unsent``: and older
        ones that still wait for a channel, or were being sent.
        """
        ...

    def is_acknowledged(self, alert: int) -> bool:
        """Whether somebody has seen the alert of that number."""
        ...

    def is_over(self, kind: str, key: str, after: int) -> bool:
        """Whether an alert after that number says that the condition of this kind and key has ended."""
        ...

    def beside(self) -> AbstractContextManager[Journal]:
        """The same journal for another thread, which ends its use of it with the block."""
        ...

    def alerts_of(self, kind: str) -> list[Alert]:
        """The alerts of one kind, oldest first: at, severity, message and fields, which may have become plain JSON."""
        ...
