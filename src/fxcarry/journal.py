"""What the engine decided and sent, append-only. Reports are made from this, never from the engine's own state."""

from __future__ import annotations

from collections.abc import Sequence

from fxcarry.ledger import TransactionLog
from fxcarry.model import Decision, Order, OrderResult, RiskState


class MemoryJournal:
    """A journal that lives as long as the process.

    ``decisions`` are (decision, stage); ``orders`` what was intended, in the order of intention; ``results``
    what became of them; ``states`` every change of the risk state; ``log`` the venue's transactions.
    """

    def __init__(self) -> None:
        self.decisions: list[tuple[str, Decision]] = []
        self.plans: list[Sequence[Order]] = []
        self.results: list[OrderResult] = []
        self.states: list[tuple[object, RiskState]] = []
        self.log: TransactionLog | None = None

    def decide(self, stage: str, decision: Decision) -> None:
        """Record a decision with every rule's verdict."""
        self.decisions.append((stage, decision))

    def intend(self, orders: Sequence[Order]) -> None:
        """Record orders before they are sent."""
        self.plans.append(orders)

    @property
    def orders(self) -> list[Order]:
        """Every order intended."""
        return [order for plan in self.plans for order in plan]

    def record(self, results: Sequence[OrderResult]) -> None:
        """Record what the venue said."""
        self.results.extend(results)

    def transition(self, at: object, state: RiskState) -> None:
        """Record a change of the risk state."""
        self.states.append((at, state))
