"""Which strategy of an ensemble earned what, and what trading one netted book saved.

Each strategy's share of the ensemble is run as a book of its own, sized on the ensemble's NAV, so that its spot and
carry are those of its part of the one book. Kept apart, the books pay more: they trade against each other and bear the
mark-up on both sides. The difference is a line of its own, ``netting``, and the lines add up to the ensemble.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import attrs
import numpy as np

from fxcarry.backtest import BacktestResult
from fxcarry.errors import ConfigError, DataError
from fxcarry.market import MarketView
from fxcarry.model import Account, FloatArray
from fxcarry.protocols import Strategy
from fxcarry.report import PERIODS

if TYPE_CHECKING:
    import pandas as pd

NETTING, TOTAL = "netting", "total"
_SOURCES = ("spot", "carry", "cost", "other")


class Ensemble(Protocol):
    """A strategy that can say what each of several contributes to its weights, such as a ``Blend``."""

    def parts(self, view: MarketView, account: Account) -> Mapping[str, FloatArray]:
        """Weights in universe order by strategy; their sum is the ensemble's answer."""
        ...


@attrs.frozen(kw_only=True, eq=False)
class EnsembleAttribution:
    """The ensemble's run, and by strategy that of its share as a book of its own."""

    ensemble: BacktestResult
    books: Mapping[str, BacktestResult]

    @cached_property
    def table(self) -> pd.DataFrame:
        """Annual figures (decimals, 260 days) by strategy, then ``netting`` and ``total``, the ensemble itself.

        ``return`` = spot + carry + cost + other; a cost paid is negative. All are fractions of the ensemble's NAV the
        day before, so every column adds up to its total. What netting saved in trading cost is its ``cost``, in mark-up
        its ``carry``. Its ``spot`` and its ``other`` (translation and rounding) are small and offset one another: P&L
        in a foreign currency, which counts as exposure to it, is realized at other times in books kept apart.
        """
        import pandas as pd

        annual = {name: days.mean(0) * PERIODS for name, days in self._lines.items()}
        frame = pd.DataFrame.from_dict(annual, orient="index", columns=list(_SOURCES))
        frame["return"] = frame.sum(axis=1)
        return frame

    @cached_property
    def daily(self) -> pd.DataFrame:
        """What each line added to the ensemble's return on each day; the row sum over strategies and netting is it."""
        import pandas as pd

        return pd.DataFrame(
            {name: days.sum(1) for name, days in self._lines.items()}, index=self.ensemble.returns.index
        )

    @cached_property
    def _lines(self) -> dict[str, FloatArray]:
        """Days × sources by line, as fractions of the ensemble's NAV the day before."""
        before = self.ensemble.books.nav[:-1, None]
        total = _sources(self.ensemble) / before
        lines = {name: _sources(book) / before for name, book in self.books.items()}
        return {**lines, NETTING: total - sum(lines.values()), TOTAL: total}


def attribute_ensemble(ensemble: Ensemble, run: Callable[[Strategy], BacktestResult]) -> EnsembleAttribution:
    """Run an ensemble, and each strategy's share of it as a book of its own, and say who earned what.

    ``run`` is a backtest of one strategy with everything else fixed, and without rules, which act on the one book and
    not on a share of it::

        run = functools.partial(fxcarry.backtest, history=history, start="2001-01-02", rules=[])
        attribute_ensemble(Blend({"rank": Rank(), "dollar": Dollar()}), run).table

    The shares are those of the ensemble's own decisions, so a strategy that reads the account sees the ensemble's. An
    overlay around a blend is not an ensemble: what it made of the sum belongs to none of the strategies.

    Raises ConfigError if there are no ``parts``, if ``run`` has rules, or a strategy is called ``netting`` or
    ``total``; DataError if the ensemble or a share of it is closed out by the venue.
    """
    if not callable(getattr(ensemble, "parts", None)):
        raise ConfigError(f"{type(ensemble).__name__} has no parts", hint="pass a Blend, without an overlay around it")
    recorder = _Recorder(ensemble)
    result = run(recorder)
    if result.rules:
        raise ConfigError(
            f"the run has the rules {', '.join(rule.name for rule in result.rules)}",
            hint="pass rules=[]: rules act on the one book, and no share of it",
        )
    _refuse_halted("the ensemble", result)
    names = dict.fromkeys(name for parts, _ in recorder.decisions.values() for name in parts)
    for name in names:
        if name in (NETTING, TOTAL):
            raise ConfigError(f"a strategy is called {name!r}", hint="call it something else: it is a line of its own")
    books = {}
    for name in names:
        books[name] = run(_Share(name, recorder.decisions))
        _refuse_halted(f"the share of {name}, as a book of its own,", books[name])
        if not np.array_equal(books[name].books.day, result.books.day):
            raise ConfigError("the runs cover different days", hint="run has to do the same each time it is called")
    return EnsembleAttribution(
        ensemble=attrs.evolve(result, strategy=type(ensemble).__name__),
        books={name: attrs.evolve(book, strategy=name) for name, book in books.items()},
    )


Decisions = dict[datetime, tuple[Mapping[str, FloatArray], float]]


@attrs.frozen(eq=False)
class _Recorder:
    """The ensemble; it keeps its parts and the NAV at each decision."""

    ensemble: Ensemble
    decisions: Decisions = attrs.field(factory=dict)

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        parts = self.ensemble.parts(view, account)
        self.decisions[view.as_of] = parts, float(account.nav)
        total: FloatArray = np.sum(list(parts.values()), axis=0)
        return total


@attrs.frozen(eq=False)
class _Share:
    """One strategy's share, as fractions of the NAV of its own book, which is not the ensemble's."""

    name: str
    decisions: Decisions

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        if view.as_of not in self.decisions:
            raise ConfigError(
                f"the ensemble was not asked at {view.as_of:%Y-%m-%d %H:%M}",
                hint="run has to do the same each time it is called",
            )
        parts, nav = self.decisions[view.as_of]
        return parts[self.name] * (nav / float(account.nav))


def _refuse_halted(what: str, result: BacktestResult) -> None:
    if result.halted or not result.books.nav.min() > 0:
        raise DataError(
            f"{what} lost too much to go on: {result.halted or 'no NAV is left'}",
            hint="attribute a shorter period, or a smaller book",
        )


def _sources(result: BacktestResult) -> FloatArray:
    """Days × sources, in account currency, without the first day, which has no day before."""
    books = result.books
    return np.stack([books.spot, books.carry, books.cost, books.translation + books.rounding], 1)[1:]
