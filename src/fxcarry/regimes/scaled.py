"""A strategy with a regime around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from fxcarry.answers import ask
from fxcarry.errors import DataError
from fxcarry.market import MarketView
from fxcarry.model import Account, FloatArray
from fxcarry.protocols import Strategy

Regime: TypeAlias = Callable[[MarketView], float]
"""``view -> exposure``: the part of the book to hold, 0 (none) to 1 (all), as known at ``view.as_of``."""


@attrs.frozen
class Scaled:
    """``strategy`` with every weight times the exposure that ``regime`` allows.

    Raises DataError where the regime answers with anything but a number from 0 to 1: it may shrink a book, never
    enlarge or turn it. A strategy that reads the account is shown what is held, which is the scaled book.
    """

    strategy: Strategy
    regime: Regime

    @property
    def reads_account(self) -> bool:
        """What the strategy inside says of itself; a regime reads the view alone."""
        return bool(getattr(self.strategy, "reads_account", True))

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        """Weights in universe order."""
        exposure = float(self.regime(view))
        if not 0.0 <= exposure <= 1.0:
            raise DataError(
                f"the regime's exposure at {view.as_of:%Y-%m-%d} is {exposure}",
                hint="a number from 0 (hold nothing) to 1 (hold what the strategy wants)",
                fields={"exposure": exposure},
            )
        return ask(self.strategy, view, account) * exposure
