"""What a regime did in the crashes: which it dodged, which it missed, and what the time out of the market cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from fxcarry.errors import ConfigError, DataError
from fxcarry.model import FloatArray

if TYPE_CHECKING:
    import pandas as pd

    from fxcarry.backtest import BacktestResult


@attrs.frozen(kw_only=True, eq=False)
class CrashTable:
    """The crashes of a plain strategy and the false alarms of a regime around it.

    ``events`` has a row each, in order of time: ``verdict`` ("dodged", "missed" or "false alarm"), ``start`` (the last
    day before), ``end``, ``plain`` and ``scaled`` (the return of either from start to end), ``exposure`` (mean part of
    the plain book that was held) and ``saved`` (log return of scaled over plain: > 0 is saved, < 0 was given up).

    ``saved_in_crashes`` adds up ``saved`` over all crashes, ``cost_outside`` is what the scaled book lost against the
    plain one on all other days (> 0 is a cost); the first minus the second is the whole difference in log return.
    ``share_reduced`` is the part of days with reduced exposure.
    """

    events: pd.DataFrame
    saved_in_crashes: float
    cost_outside: float
    share_reduced: float

    def to_text(self) -> str:
        """A line for each event, and what it comes to."""
        lines = [f"{'verdict':12} {'from':10} {'to':10} {'plain':>8} {'scaled':>8} {'exposure':>8} {'saved':>7}"]
        for event in self.events.itertuples():
            lines.append(
                f"{event.verdict:12} {event.start:%Y-%m-%d} {event.end:%Y-%m-%d} {event.plain:+8.1%} "
                f"{event.scaled:+8.1%} {event.exposure:8.2f} {event.saved:+7.1%}"
            )
        lines.append(
            f"saved in crashes {self.saved_in_crashes:+.1%}, cost of being out at other times {self.cost_outside:+.1%} "
            f"(log returns); exposure was reduced on {self.share_reduced:.0%} of days"
        )
        return "\n".join(lines)


def crash_table(
    plain: BacktestResult,
    scaled: BacktestResult,
    *,
    fall: float = 0.08,
    dodged: float = 0.25,
    reduced: float = 0.90,
) -> CrashTable:
    """Compare a strategy with the same strategy scaled by a regime, crash by crash.

    Args:
        plain: the strategy alone.
        scaled: the strategy inside :class:`~fxcarry.regimes.Scaled`, over the same days.
        fall: a crash is a fall of the plain NAV of at least this part of a peak. It runs from the peak to the lowest
            NAV reached before the NAV has risen by the same part from it; from then on the next peak counts.
        dodged: a crash is dodged if the scaled book was spared at least this part of the loss (of log return).
        reduced: exposure below this is reduced. A spell of it that touches no crash is a false alarm.

    The exposure is the gross book held over the plain gross book, at most 1, at the end of each day; it earns the
    return of the next. Raises ConfigError for a part that is not between 0 and 1, DataError where the days differ.
    """
    for name, value in (("fall", fall), ("dodged", dodged), ("reduced", reduced)):
        if not 0.0 < value < 1.0:
            raise ConfigError(f"{name} is {value}", hint="a number between 0 and 1")
    if not plain.nav.index.equals(scaled.nav.index):
        raise DataError("the two results are not of the same days", hint="run both over the same period")
    return _table(plain.nav, scaled.nav, _exposure(plain, scaled), fall, dodged, reduced)


def _exposure(plain: BacktestResult, scaled: BacktestResult) -> FloatArray:
    whole, held = (result.weights.abs().sum(axis=1).to_numpy() for result in (plain, scaled))
    ratio = np.divide(held, whole, out=np.ones(len(whole)), where=whole > 1e-9)
    return np.asarray(np.minimum(ratio, 1.0))


def _table(
    plain: pd.Series, scaled: pd.Series, exposure: FloatArray, fall: float, dodged: float, reduced: float
) -> CrashTable:
    import pandas as pd

    days = plain.index
    one, other = np.log(plain.to_numpy()), np.log(scaled.to_numpy())
    held = exposure[:-1]  # what the return from a day to the next was earned with

    def event(verdict: str, start: int, end: int) -> dict[str, Any]:
        returned, kept = one[end] - one[start], other[end] - other[start]
        if verdict == "crash":
            verdict = "dodged" if kept - returned >= -dodged * returned else "missed"
        return {
            "verdict": verdict,
            "start": days[start],
            "end": days[end],
            "plain": np.expm1(returned),
            "scaled": np.expm1(kept),
            "exposure": held[start:end].mean(),
            "saved": kept - returned,
        }

    is_crash = np.zeros(len(held), bool)
    rows = []
    for start, end in falls(plain.to_numpy(), fall):
        is_crash[start:end] = True
        rows.append(event("crash", start, end))
    is_reduced = held < reduced
    rows += [event("false alarm", *spell) for spell in _spells(is_reduced) if not is_crash[slice(*spell)].any()]
    saved = np.diff(other) - np.diff(one)
    names = ["verdict", "start", "end", "plain", "scaled", "exposure", "saved"]
    return CrashTable(
        events=pd.DataFrame(rows, columns=names).sort_values("start", ignore_index=True),
        saved_in_crashes=float(saved[is_crash].sum()),
        cost_outside=float(-saved[~is_crash].sum()),
        share_reduced=float(is_reduced.mean()) if len(held) else 0.0,
    )


def falls(nav: FloatArray, fall: float) -> list[tuple[int, int]]:
    """Peak and trough (positions) of every fall of at least ``fall``, as :func:`crash_table` defines them."""
    found: list[tuple[int, int]] = []
    peak = trough = 0
    for i, value in enumerate(nav.tolist()):
        if value < nav[trough]:
            trough = i
        is_crash = nav[trough] <= nav[peak] * (1 - fall)
        if is_crash and value >= nav[trough] * (1 + fall):
            found.append((peak, trough))
            peak = trough = i
        elif not is_crash and value > nav[peak]:
            peak = trough = i
    if len(nav) and nav[trough] <= nav[peak] * (1 - fall):
        found.append((peak, trough))
    return found


def _spells(is_set: Any) -> list[tuple[int, int]]:
    """Where each unbroken run of True begins, and where it has ended."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_set.astype(int), [0]])))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2])]
