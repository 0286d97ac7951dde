"""Does a strategy know the future, and how much past does it need? Two checks that ask it again with other data.

A :class:`~fxcarry.market.MarketView` ends at its instant, so a strategy that looks ahead reads something besides it: a
history it holds, a model fitted on all of it, a monthly average before its release. :func:`find_look_ahead` takes that
future away and compares; :func:`check_warmup` takes the past away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal

import attrs
import numpy as np

from fxcarry.answers import ask
from fxcarry.backtest import DEFAULT_MARKUP, RETAIL
from fxcarry.clock import Frequency
from fxcarry.conventions import trade_date
from fxcarry.engine import Engine, Progress, no_progress
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.financing import BenchmarkFinancing
from fxcarry.market import MarketHistory, MarketView, forward_filled, from_ns, to_ns
from fxcarry.model import Account, FloatArray, check_currency
from fxcarry.periods import Day, as_day, period_of
from fxcarry.protocols import Strategy
from fxcarry.simulation import SimBroker
from fxcarry.universe import UniverseLike, universe_of

Factory = Callable[[MarketHistory], Strategy]
"""Makes a strategy from the history it may read."""

Kind = Literal["look-ahead", "unstable", "error"]

TOLERANCE = 1e-9
"""Two weights (fractions of NAV) closer than this are the same."""

_LENGTHS = (60, 125, 250, 500, 1000)
_NAMED = 3  # currencies a message names
_JUST_AFTER = timedelta(microseconds=1)
_MIRROR = 0.03171  # rates around half of it swap places; no rate is its own mirror image, as 0.02 would be in 0.04
_NOT_CUT = "Only the view was cut. A strategy that holds data of its own is tested with factory=, which cuts that too."


@attrs.frozen(kw_only=True)
class Finding:
    """What is wrong with one decision.

    ``weights`` has the currencies that differ, each with two weights (fractions of NAV): of a ``"look-ahead"`` knowing
    the future and not knowing it, of an ``"unstable"`` asked once and asked again. Of an ``"error"``, raised only where
    the future is cut off, there are none. ``message`` says the same in words.
    """

    at: datetime
    kind: Kind
    weights: Mapping[str, tuple[float, float]]
    message: str


@attrs.frozen(kw_only=True)
class LookAheadReport:
    """What :func:`find_look_ahead` found: ``decisions`` were tested, ``findings`` has at most one of each, in order.

    ``notes`` name what a reader must know of the test itself.
    """

    strategy: str
    decisions: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """True where nothing was found."""
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """The earliest finding."""
        return self.findings[0] if self.findings else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, instants in ISO format."""
        return {
            "strategy": self.strategy,
            "decisions": self.decisions,
            "is_clean": self.is_clean,
            "findings": [
                {
                    "at": finding.at.isoformat(),
                    "kind": finding.kind,
                    "weights": {currency: list(both) for currency, both in finding.weights.items()},
                    "message": finding.message,
                }
                for finding in self.findings
            ],
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """A line for each kind of finding with its first date, and the notes."""
        told: dict[Kind, tuple[str, str]] = {
            "look-ahead": ("looks ahead", "differ"),
            "unstable": ("answers differently when asked again with the same data", "are unstable"),
            "error": ("fails where the future is cut off", "fail"),
        }
        lines = []
        for kind, (what, how_many) in told.items():
            found = [finding for finding in self.findings if finding.kind == kind]
            if found:
                lines.append(
                    f"{self.strategy}: {what}. First at {found[0].at:%Y-%m-%d}: {found[0].message}. "
                    f"{len(found)} of {self.decisions} decisions {how_many}."
                )
        if not lines:
            asked = f"{self.decisions} decision{'s' if self.decisions != 1 else ''} asked twice"
            lines = [f"{self.strategy}: {asked}, with and without the future: no difference."]
        return "\n".join([*lines, *self.notes])


@attrs.frozen(kw_only=True)
class WarmupAnswer:
    """The weights of one decision made with the last ``rows`` rows of history, or what it raised instead."""

    at: datetime
    rows: int
    weights: Mapping[str, float]
    error: str = ""


@attrs.frozen(kw_only=True)
class WarmupReport:
    """What :func:`check_warmup` found.

    ``needed`` is, by currency, the least of ``lengths`` from which on the weight stays within ``tolerance`` of the one
    made with all rows up to the decision, at every date asked; None where it never does. ``answers`` are in order of
    date and rows, and the last of each date is the one with all rows.
    """

    strategy: str
    lengths: tuple[int, ...]
    tolerance: float
    needed: Mapping[str, int | None]
    answers: tuple[WarmupAnswer, ...]

    @property
    def is_settled(self) -> bool:
        """True where every currency's weight settles."""
        return None not in self.needed.values()

    @property
    def rows(self) -> int | None:
        """The rows after which no weight changes any more, None where one never settles."""
        found = [rows for rows in self.needed.values() if rows is not None]
        return max(found) if self.is_settled else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, instants in ISO format."""
        return {
            "strategy": self.strategy,
            "lengths": list(self.lengths),
            "tolerance": self.tolerance,
            "is_settled": self.is_settled,
            "rows": self.rows,
            "needed": dict(self.needed),
            "answers": [
                {"at": a.at.isoformat(), "rows": a.rows, "weights": dict(a.weights), "error": a.error}
                for a in self.answers
            ],
        }

    def to_text(self) -> str:
        """The verdict, and how far each length is from the answer with all rows."""
        if self.is_settled:
            lines = [f"{self.strategy}: the weights no longer change from {self.rows} rows of history on."]
        else:
            never = ", ".join(c for c, rows in self.needed.items() if rows is None)
            lines = [f"{self.strategy}: the weights never settle within {self.lengths[-1]} rows of history: {never}."]
        whole = {a.at: a for a in self.answers}  # the last of each date
        for at, full in whole.items():
            flat = "" if any(full.weights.values()) else "; it holds nothing there, which says little"
            lines.append(f"{at:%Y-%m-%d}, against all {full.rows} rows{flat}:")
            for answer in self.answers:
                if answer.at != at or answer is full:
                    continue
                told = answer.error and f"raises {answer.error}"
                if not told:
                    far, currency = max((abs(w - full.weights[c]), c) for c, w in answer.weights.items())
                    told = f"off by {far:.6f} ({currency})" if far > self.tolerance else "the same"
                lines.append(f"{answer.rows:>7} rows: {told}")
        return "\n".join(lines)


def find_look_ahead(
    strategy: Strategy | None = None,
    *,
    factory: Factory | None = None,
    history: MarketHistory,
    start: Day | None = None,
    end: Day | None = None,
    universe: UniverseLike | None = None,
    account_currency: str = "USD",
    rebalance: Frequency = "monthly",
    markup: float = DEFAULT_MARKUP,
    every: int = 1,
    progress: Progress | None = None,
) -> LookAheadReport:
    """Ask for every decision again without the future, and with another one; the weights must stay the same.

    The whole ``history`` is run once, without risk rules and with default costs. Each decision of that run is then made
    again (i) from the rows observed and the rates available by then and nothing more, (ii) with all that came later,
    prices and rates, replaced by something else. The account is the same each time: that of the run at that date. A
    decision that is not even the same when asked again with the same data is "unstable", not a look-ahead.

    Args:
        strategy: a strategy. Its view is cut, but data it holds itself cannot be.
        factory: instead of a strategy, a callable that makes one from the history it may read. It is given the cut one
            for each decision. This finds a peek at data the strategy holds, or a model fitted on all of it; not one
            that ignores what the factory was given and reads a file.
        history: prices and rates, as ``feed.history(None, None)`` gives them.
        start: first trade date, inclusive; default: the first there is. The account opens flat there.
        end: last trade date, inclusive; default: the last with verified rates. What comes later is future.
        universe: the currencies the strategy sees; default: the other G10.
        account_currency: the currency of the account.
        rebalance: when the strategy is asked.
        markup: annual decimal the broker keeps on each side's financing.
        every: 3 tests each third decision; the run itself makes all of them.
        progress: called with (decisions tested, decisions in all).

    Raises ConfigError for a bad argument, DataError for prices or rates that cannot be used, and whatever the strategy
    raises with the whole history at hand.
    """
    if not isinstance(every, int) or every < 1:
        raise ConfigError(f"every is {every!r}", hint="a whole number >= 1: 3 tests each third decision")
    probe = _Probe(strategy, factory, history, start, end, universe, account_currency, rebalance, markup)
    show = progress or no_progress
    tested = probe.decisions[::every]
    findings = []
    for number, decision in enumerate(tested, 1):
        finding = _test(probe, decision)
        if finding is not None:
            findings.append(finding)
        show(number, len(tested))
    notes = [] if strategy is None else [_NOT_CUT]
    if probe.missed:
        notes.append(
            f"The account was wiped out after {probe.decisions[-1].at:%Y-%m-%d}: {probe.missed} later decisions were "
            "not made and not tested."
        )
    return LookAheadReport(strategy=probe.name, decisions=len(tested), findings=tuple(findings), notes=tuple(notes))


def check_warmup(
    strategy: Strategy | None = None,
    *,
    factory: Factory | None = None,
    history: MarketHistory,
    lengths: Sequence[int] = _LENGTHS,
    at: Day | Sequence[Day] | None = None,
    start: Day | None = None,
    universe: UniverseLike | None = None,
    account_currency: str = "USD",
    rebalance: Frequency = "monthly",
    markup: float = DEFAULT_MARKUP,
    tolerance: float = 1e-6,
) -> WarmupReport:
    """Make a decision with ever more rows of history, up to all of them, and see from where on it stays the same.

    Only rows of prices are left out: the rates in force are known however short the history is. The account is the same
    each time: that of a run over the whole history, without risk rules, at that date. What a strategy raises with few
    rows is noted; what it raises with all of them is raised.

    Args:
        strategy: a strategy. Data it holds itself is not shortened.
        factory: instead of a strategy, a callable that makes one from the history it may read, given the short one.
        history: prices and rates, as ``feed.history(None, None)`` gives them.
        lengths: the numbers of rows to try.
        at: one or more dates; the last decision on or before each is tested; default: the last decision there is.
        start: first trade date of the run that gives the account; default: the first there is. Rows before it count.
        universe: the currencies the strategy sees; default: the other G10.
        account_currency: the currency of the account.
        rebalance: when the strategy is asked.
        markup: annual decimal the broker keeps on each side's financing.
        tolerance: weights (fractions of NAV) no further apart than this are the same.

    Raises ConfigError for a bad argument, MissingDataError for a date with no more rows before it than the longest of
    ``lengths``, and DataError for prices or rates that cannot be used.
    """
    if not lengths or not all(isinstance(n, int) and n >= 1 for n in lengths):
        raise ConfigError(f"lengths is {lengths!r}", hint="whole numbers of rows, each >= 1")
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise ConfigError(f"tolerance is {tolerance}", hint="a fraction of NAV, >= 0")
    tried = tuple(sorted(set(lengths)))
    given: Sequence[Day] = () if at is None else [at] if isinstance(at, date | str) else at
    if at is not None and not given:
        raise ConfigError("at is empty", hint="one or more dates, or None for the last decision")
    days = sorted({as_day(day, "at") for day in given})
    end = days[-1] if days else None
    probe = _Probe(strategy, factory, history, start, end, universe, account_currency, rebalance, markup)
    needed: dict[str, int | None] = dict.fromkeys(probe.members, 0)
    answers: list[WarmupAnswer] = []
    for decision in probe.last_decisions(days):
        own = _answers(probe, decision, tried)
        answers.extend(own)
        for currency, rows in _settled(own, tolerance).items():
            before = needed[currency]
            needed[currency] = None if before is None or rows is None else max(before, rows)
    return WarmupReport(strategy=probe.name, lengths=tried, tolerance=tolerance, needed=needed, answers=tuple(answers))


# --- asking again ----------------------------------------------------------------------------------------------------


@attrs.frozen(eq=False)
class _Decision:
    """What a run asked and was told: the tick's place, its instant, the account then, weights in universe order."""

    tick: int
    at: datetime
    account: Account
    weights: FloatArray


class _Probe:
    """A run over the whole history, and the means to make each of its decisions again from other data."""

    def __init__(
        self,
        strategy: Strategy | None,
        factory: Factory | None,
        history: MarketHistory,
        start: Day | None,
        end: Day | None,
        universe: UniverseLike | None,
        account_currency: str,
        rebalance: Frequency,
        markup: float,
    ) -> None:
        subject = factory if strategy is None else strategy
        if subject is None or (strategy is not None and factory is not None):
            raise ConfigError("give either a strategy or factory=", hint="a factory makes a strategy from a history")
        if not callable(subject):
            raise ConfigError(
                f"{subject!r} cannot be called", hint="a strategy is a callable (view, account) -> weights"
            )
        if not isinstance(history, MarketHistory):
            raise ConfigError(f"history is a {type(history).__name__}", hint="use feed.history(None, None)")
        self.name: str = getattr(subject, "__name__", type(subject).__name__)
        self.history = history
        self._strategy, self._factory = strategy, factory
        self._currency = check_currency(account_currency, "account_currency")
        first, last, members, _ = period_of(
            history, start, end, universe_of(universe, self._currency), self._currency, needs_rates=True
        )
        self.members = members.currencies
        self.strategy = self.make(history)
        self.decisions: list[_Decision] = []
        # Closed out only when nothing is left: a decision that was never made cannot be tested.
        broker = SimBroker(
            account_currency=self._currency,
            costs=RETAIL,
            financing=BenchmarkFinancing(markup),
            closeout_level=0.0,
        )
        self._engine = Engine(
            feed=None,
            broker=broker,
            strategy=self._record,
            rules=(),
            universe=members,
            rebalance=rebalance,
            costs=RETAIL,
        )
        self._engine.run(first, last, history=history.in_currency(self._currency, self.members))
        self.missed = int(self._engine.clock.is_due.sum()) - len(self.decisions)
        if not self.decisions:
            raise MissingDataError(
                f"no {rebalance} decision from {trade_date(first)} to {trade_date(last)}", hint="choose a longer period"
            )

    def _record(self, view: MarketView, account: Account) -> FloatArray:
        weights = ask(self.strategy, view, account)
        tick = int(np.searchsorted(self._engine.clock.at, to_ns(view.as_of)))
        self.decisions.append(_Decision(tick, view.as_of, account, weights))
        return weights

    def make(self, data: MarketHistory) -> Strategy:
        """The strategy that may read ``data``."""
        if self._factory is None:
            assert self._strategy is not None
            return self._strategy
        made = self._factory(data)
        if not callable(made):
            raise ConfigError(
                f"{self.name} made {made!r}, which cannot be called",
                hint="a factory returns a strategy, which is called as (view, account)",
            )
        return made

    def again(self, decision: _Decision, strategy: Strategy) -> FloatArray:
        """The decision made again, as the run made it."""
        return ask(strategy, MarketView(self._engine.columns, decision.tick), decision.account)

    def ask(self, decision: _Decision, data: MarketHistory) -> FloatArray:
        """The decision made from ``data`` by a strategy that may read ``data``."""
        local = data.in_currency(self._currency, self.members)
        clock = self._engine.clock
        row = np.searchsorted(local.times, clock.at[: decision.tick + 1], "right") - 1
        known = slice(int(np.searchsorted(row, 0)), decision.tick + 1)  # the ticks before the first row have no view
        ticks = attrs.evolve(
            clock,
            at=clock.at[known],
            day=clock.day[known],
            row=row[known],
            is_fresh=clock.is_fresh[known],
            is_day_end=clock.is_day_end[known],
            is_due=clock.is_due[known],
        )
        view = MarketView(self._engine.columns_of(local, ticks), len(ticks) - 1)  # the columns a run is made of
        return ask(self.make(data), view, decision.account)

    def weights(self, one: FloatArray, other: FloatArray) -> dict[str, tuple[float, float]]:
        """The currencies whose weights differ, the furthest first, with both."""
        far = np.abs(one - other)
        order = np.argsort(-far, kind="stable")
        return {self.members[i]: (float(one[i]), float(other[i])) for i in order if far[i] > TOLERANCE}

    def last_decisions(self, days: Sequence[date]) -> list[_Decision]:
        """The last decision of the run up to each day, each once; without days, the last of all."""
        if not days:
            return self.decisions[-1:]
        found: dict[int, _Decision] = {}
        for day in days:
            before = [d for d in self.decisions if trade_date(d.at - _JUST_AFTER) <= day]
            if not before:
                raise MissingDataError(
                    f"no decision on or before {day}", hint=f"the first is at {self.decisions[0].at:%Y-%m-%d}"
                )
            found[before[-1].tick] = before[-1]
        return list(found.values())


def _test(probe: _Probe, decision: _Decision) -> Finding | None:
    """What is wrong with one decision, or None."""

    def finding(kind: Kind, message: str, weights: Mapping[str, tuple[float, float]] | None = None) -> Finding:
        return Finding(at=decision.at, kind=kind, weights=weights or {}, message=message)

    def unstable(one: FloatArray, other: FloatArray) -> Finding | None:
        differ = probe.weights(one, other)
        return finding("unstable", _told(differ, "asked once", "asked again"), differ) if differ else None

    again = unstable(decision.weights, probe.again(decision, probe.strategy))
    if again is not None:
        return again
    cut = decision.at + _JUST_AFTER
    worlds: list[tuple[str, str, Callable[[], MarketHistory]]] = [
        ("knowing the future", "without", lambda: probe.history.between(None, cut)),
        ("with the true future", "with another", lambda: _another_future(probe.history, cut)),
    ]
    failure: Finding | None = None
    for known, unknown, world in worlds:
        data = world()
        try:
            weights = probe.ask(decision, data)
        except Exception as error:  # whatever a strategy raises is what is to be reported
            failure = failure or finding("error", f"{type(error).__name__}: {error}")
            continue
        differ = probe.weights(decision.weights, weights)
        if differ:  # chance or the future? A strategy made anew must give both answers again
            chance = unstable(decision.weights, probe.again(decision, probe.make(probe.history)))
            chance = chance or unstable(weights, probe.ask(decision, data))
            return chance or finding("look-ahead", _told(differ, known, unknown), differ)
    return failure


def _told(differ: Mapping[str, tuple[float, float]], one: str, other: str) -> str:
    named = []
    for currency, (first, second) in differ.items():
        digits = next((n for n in (3, 6) if f"{first:.{n}f}" != f"{second:.{n}f}"), 9)  # so that they look different
        named.append(f"{currency} {first:+.{digits}f} {one}, {second:+.{digits}f} {other}")
    more = [f"{len(named) - _NAMED} more"] if len(named) > _NAMED else []
    return "; ".join([*named[:_NAMED], *more])


def _another_future(history: MarketHistory, cut: datetime) -> MarketHistory:
    """The same past, but every later move is reversed and doubled (log spot), and later rates are ranked backwards."""
    moment = to_ns(cut)
    row = int(np.searchsorted(history.times, moment, "left"))
    last = forward_filled(history.spot[:row])[-1]
    last = np.where(np.isfinite(last), last, 1.0)  # not quoted yet: any price will do
    spot = history.spot.copy()
    spot[row:] = last * (last / spot[row:]) ** 2
    rates = {
        c: attrs.evolve(r, value=np.where(r.available_at >= moment, _MIRROR - r.value, r.value))
        for c, r in history.rates.items()
    }
    return attrs.evolve(history, spot=spot, rates=rates)


def _answers(probe: _Probe, decision: _Decision, lengths: tuple[int, ...]) -> list[WarmupAnswer]:
    """One decision made with each number of rows, then with all of them."""
    known = probe.history.between(None, decision.at + _JUST_AFTER)
    if len(known) <= lengths[-1]:  # as many rows as there are would be compared with themselves
        raise MissingDataError(
            f"there are {len(known)} rows up to {decision.at:%Y-%m-%d}, not more than {lengths[-1]}",
            hint="choose a later date or shorter lengths",
        )
    found = []
    for rows in (*lengths, None):
        data = known if rows is None else known.between(from_ns(known.times[-rows]), None)
        weights: dict[str, float] = {}
        trouble = ""
        try:
            weights = dict(zip(probe.members, probe.ask(decision, data).tolist()))
        except Exception as error:
            if rows is None:
                raise
            trouble = f"{type(error).__name__}: {error}"
        found.append(WarmupAnswer(at=decision.at, rows=len(data), weights=weights, error=trouble))
    return found


def _settled(answers: Sequence[WarmupAnswer], tolerance: float) -> dict[str, int | None]:
    """For each currency the least rows from which on every answer is that of the last one, which has all rows."""
    *short, full = answers
    needed: dict[str, int | None] = {}
    for currency, weight in full.weights.items():
        needed[currency] = None
        for answer in reversed(short):
            if answer.error or abs(answer.weights[currency] - weight) > tolerance:
                break
            needed[currency] = answer.rows
    return needed
