"""A persistent paper account as a broker for fxcarry. Importing this opens no file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal

import attrs

from fxcarry.builtins import SimulatedConfig
from fxcarry.plugins import Component, hookimpl

if TYPE_CHECKING:
    from fxcarry_paper.broker import PaperBroker

__all__ = ["PaperBroker", "PaperConfig", "fxcarry_components"]


@attrs.frozen(kw_only=True)
class PaperConfig(SimulatedConfig):
    """The paper account in the file ``path``, and the frictions of its venue: :class:`~fxcarry.frictions.Frictions`
    says what they mean. ``latency`` is in seconds.
    """

    path: str = "paper.sqlite"
    account_id: str = "paper"
    latency: float = 0.0
    largest_fill: float | None = None
    reject_rate: float = 0.0
    seed: int = 0
    closed_market: Literal["trade", "wait", "reject"] = "trade"
    conversion_fee: float = 0.0
    rollover_spread: float = 1.0
    sunday_spread: float = 1.0
    crisis_spread: float = 1.0
    crises: tuple[tuple[date, date], ...] = ()

    def venue(self) -> dict[str, Any]:
        """The arguments of the simulated venue, also of one that a backtest runs on."""
        from fxcarry.frictions import Frictions

        names = [field.name for field in attrs.fields(Frictions) if field.name != "latency"]
        terms = {name: getattr(self, name) for name in names}
        return {**super().venue(), "frictions": Frictions(latency=timedelta(seconds=self.latency), **terms)}

    def broker(self, terms: Mapping[str, Any]) -> PaperBroker:
        """The account, on these terms besides its own; no file is opened yet."""
        from fxcarry_paper.broker import PaperBroker

        return PaperBroker(self.path, **self.arguments(terms))


def _build(config: PaperConfig) -> PaperBroker:
    from fxcarry.costs import Costs

    return config.broker({"costs": Costs()})


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="broker",
            name="paper",
            config=PaperConfig,
            factory=_build,
            summary="a paper account in a file that survives crashes, on the fills of the simulated broker",
            suite="fxcarry_paper.testing:PaperSuite",
        )
    ]


def __getattr__(name: str) -> object:
    if name == "PaperBroker":
        from fxcarry_paper.broker import PaperBroker

        return PaperBroker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
