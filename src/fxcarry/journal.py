"""What the engine decided and sent, append-only. Reports are made from this, never from the engine's own state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from fxcarry.ledger import TransactionLog
from fxcarry.model import Decision, Order, OrderResult, RiskState


class MemoryJournal:
    """A journal that lives as long as the process.

    ``decisions`` are (stage, decision); ``plans`` the orders intended, one sequence a decision; ``states`` every change
    of the risk state and when; ``log`` the venue's transactions.
    """

    def __init__(self) -> None:
        self.decisions: list[tuple[str, Decision]] = []
        self.plans: list[Sequence[Order]] = []
        self.states: list[tuple[datetime, RiskState]] = []
        self.log: TransactionLog | None = None
        self._find: Callable[[Collection[str]], Mapping[str, OrderResult]] | None = None

    def follow(self, log: TransactionLog, find: Callable[[Collection[str]], Mapping[str, OrderResult]]) -> None:
        """Keep the venue's transactions, and a way to ask what became of orders."""
        self.log, self._find = log, find

    def decide(self, stage: str, decision: Decision) -> None:
        """Record a decision with every rule's verdict."""
        self.decisions.append((stage, decision))

    def intend(self, orders: Sequence[Order]) -> None:
        """Record orders before they are sent."""
        self.plans.append(orders)

    def transition(self, at: datetime, state: RiskState) -> None:
        """Record a change of the risk state."""
        self.states.append((at, state))

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
