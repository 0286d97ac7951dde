"""What a walk-forward found: each window, the account through all of them, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry import statistics
from fxcarry.backtest import BacktestResult
from fxcarry.model import FloatArray
from fxcarry.report import PERIODS
from fxcarry.report.text import VARIANTS
from fxcarry.walkforward.windows import Window

if TYPE_CHECKING:
    import pandas as pd

Days = NDArray[np.datetime64]
_NAMES = ("annual_return", "volatility", "sharpe", "sharpe_se", "max_drawdown")


@attrs.frozen(kw_only=True, eq=False)
class Stitched:
    """One account over the test windows: NAV by trade date with the opening cash in front, and closed round trips.

    ``trip_days`` are the trade dates on which round trips closed, ``trips`` their P&L in account currency; ``halted``
    when and why the rules halted it for good.
    """

    day: Days
    nav: FloatArray
    trip_days: Days
    trips: FloatArray
    halted: str | None

    @classmethod
    def of(cls, parts: Sequence[BacktestResult]) -> Stitched:
        """The accounts of one or more stretches end to end; each stretch begins with what the one before left."""
        days, navs, scale = [parts[0].books.day[:1]], [parts[0].books.nav[:1]], 1.0
        for part in parts:
            days.append(part.books.day[1:])
            navs.append(part.books.nav[1:] * scale)
            scale *= float(part.books.nav[-1] / part.books.nav[0])
        return cls(
            day=np.concatenate(days).astype("datetime64[D]"),
            nav=np.concatenate(navs),
            trip_days=np.concatenate([p.round_trip_days for p in parts]),
            trips=np.concatenate([p.round_trips for p in parts]),
            halted=next((p.halted for p in parts if p.halted), None),
        )

    @property
    def returns(self) -> FloatArray:
        """Simple daily returns; -1 on the day everything was lost, and 0 from then on."""
        return solvent_returns(self.nav)

    def figures(self, window: Window | None = None) -> dict[str, Any]:
        """Annual figures of all days or of one test window; None where one does not exist, and ``reason`` why."""
        returns, trips = self.returns, self.trips
        if window is not None:
            first, end = np.datetime64(window.test_start, "D"), np.datetime64(window.test_end, "D")
            returns = returns[(self.day[1:] >= first) & (self.day[1:] < end)]
            trips = trips[(self.trip_days >= first) & (self.trip_days < end)]
        return {
            **_performance(returns),
            "days": len(returns),
            "win_rate": float((trips > 0).mean()) if len(trips) else None,
            "round_trips": len(trips),
        }


def solvent_returns(nav: FloatArray) -> FloatArray:
    """Simple returns of NAV; -1 where it falls to zero or below, 0 after that."""
    alive = np.logical_and.accumulate(nav > 0)
    before = np.where(alive[:-1], nav[:-1], 1.0)
    return np.where(alive[:-1], np.maximum(nav[1:], 0.0) / before - 1.0, 0.0)


def _performance(returns: FloatArray) -> dict[str, Any]:
    if len(returns) < 3:
        return {**dict.fromkeys(_NAMES), "reason": f"too few returns: {len(returns)}, and three are needed"}
    sharpe = statistics.sharpe(returns, PERIODS)
    reason = None if math.isfinite(sharpe) else "the returns have no volatility"
    error = None if reason else statistics.sharpe_standard_error(returns, "mertens") * math.sqrt(PERIODS)
    return {
        "annual_return": statistics.annual_return(returns, PERIODS),
        "volatility": statistics.volatility(returns, PERIODS),
        "sharpe": None if reason else sharpe,
        "sharpe_se": error,
        "max_drawdown": statistics.max_drawdown(returns),
        "reason": reason,
    }


@attrs.frozen(kw_only=True)
class WindowResult:
    """One window: what was chosen on its train days, and what that did on its test days.

    ``setting`` is the chosen point of the grid (empty without one), ``scores`` the train score of every candidate in
    the order of the grid, None for one that has none. ``figures`` are those of the account as traded (see
    :meth:`Stitched.figures`), ``without_rules`` those of the one without rules, which a halt does not silence. A window
    that failed has an ``error`` and neither setting nor figures.
    """

    window: Window
    setting: Mapping[str, Any] | None
    scores: tuple[float | None, ...]
    figures: Mapping[str, Any] | None = None
    without_rules: Mapping[str, Any] | None = None
    error: str | None = None

    @property
    def score(self) -> float | None:
        """The train score of what was chosen: the best there was."""
        known = [s for s in self.scores if s is not None]
        return max(known) if known and self.error is None else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: no NaN, None where a figure does not exist."""
        names = (*_NAMES, "reason", "days", "win_rate", "round_trips")
        return {
            **{name: str(day) for name, day in attrs.asdict(self.window).items()},
            "gap": self.window.gap,
            "setting": None if self.setting is None else plain(self.setting),
            "train_score": self.score,
            "train_scores": list(self.scores),
            **(dict.fromkeys(names) if self.figures is None else self.figures),
            "without_rules": None if self.without_rules is None else dict(self.without_rules),
            "error": self.error,
        }


@attrs.frozen(kw_only=True, eq=False)
class WalkForwardResult:
    """A strategy walked forward.

    ``windows`` are in order of time. ``runs`` are the stitched accounts by kind: ``traded`` (with the rules, after
    costs and mark-up), ``no_rules``, ``gross`` (no rules, no mark-up) and ``spot_only`` (no rules, no interest).
    ``candidates`` are the settings tried. ``card`` is :func:`fxcarry.evidence.report_card` of the account as traded,
    None where a failed window cuts it in two. ``pbo`` is the probability of backtest overfitting over the candidates,
    or None and ``pbo_reason``. ``notes`` name what a reader must know.
    """

    strategy: str
    universe: tuple[str, ...]
    account_currency: str
    rebalance: str
    cash: float
    markup: float | None
    venue: str | None
    routing: str
    rules: tuple[str, ...]
    candidates: tuple[Mapping[str, Any], ...]
    windows: tuple[WindowResult, ...]
    runs: Mapping[str, Stitched]
    card: Mapping[str, Any] | None
    trials: int
    pbo: float | None
    pbo_reason: str | None
    notes: tuple[str, ...]

    @cached_property
    def nav(self) -> pd.Series:
        """NAV as traded at the end of each test day, with the opening cash in front."""
        import pandas as pd

        run = self.runs["traded"]
        return pd.Series(run.nav, index=pd.DatetimeIndex(run.day.astype("datetime64[ns]"), name="date"), name="nav")

    @cached_property
    def returns(self) -> pd.Series:
        """Simple daily returns as traded, on test days only."""
        return self.series("traded")

    def series(self, kind: str) -> pd.Series:
        """Simple daily returns of one of the ``runs``, on test days only."""
        import pandas as pd

        run = self.runs[kind]
        days = pd.DatetimeIndex(run.day[1:].astype("datetime64[ns]"), name="date")
        return pd.Series(run.returns, index=days, name="return")

    def labels(self) -> dict[str, str]:
        """The kinds of account there are, and how they are called; without rules ``no_rules`` is the same as traded."""
        kinds = {"traded": "with rules" if self.rules else "without rules", **VARIANTS}
        return {k: label for k, label in kinds.items() if k in self.runs and (self.rules or k != "no_rules")}

    def table(self) -> list[dict[str, Any]]:
        """A row for each kind of account, as traded first, ready for JSON: figures are annual decimals, not percent.

        A Sharpe ratio stands with its standard error (Mertens 2002); a figure that does not exist is None and
        ``reason`` says why. The win rate is that of closed round trips.
        """
        return [
            {
                "strategy": self.strategy,
                "kind": kind,
                "label": label,
                "start": str(self.runs[kind].day[1]),
                "end": str(self.runs[kind].day[-1]),
                **self.runs[kind].figures(),
                "halted": self.runs[kind].halted,
            }
            for kind, label in self.labels().items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON: no NaN, None where a figure does not exist."""
        return {
            "strategy": self.strategy,
            "universe": list(self.universe),
            "account_currency": self.account_currency,
            "rebalance": self.rebalance,
            "cash": self.cash,
            "markup": self.markup,
            "venue": self.venue,
            "routing": self.routing,
            "rules": list(self.rules),
            "candidates": [plain(c) for c in self.candidates],
            "table": self.table(),
            "windows": [w.to_dict() for w in self.windows],
            "trials": self.trials,
            "pbo": self.pbo,
            "pbo_reason": self.pbo_reason,
            "card": None if self.card is None else dict(self.card),
            "notes": list(self.notes),
        }


def plain(setting: Mapping[str, Any]) -> dict[str, Any]:
    """A setting for JSON; a value that is not plain by its ``repr``."""

    def one(value: Any) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
            return value
        return repr(value)

    return {name: one(value) for name, value in setting.items()}
