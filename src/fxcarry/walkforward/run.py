"""``walk_forward()``: choose on the past, trade the year after, and so on to the end of the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from fxcarry import statistics
from fxcarry.backtest import RETAIL, BacktestResult, Routing, backtest
from fxcarry.clock import Frequency
from fxcarry.costs import Costs
from fxcarry.engine import Progress, no_progress
from fxcarry.errors import DataError
from fxcarry.evidence import configuration_of, report_card
from fxcarry.market import MarketHistory
from fxcarry.model import FloatArray, check_currency
from fxcarry.periods import Day, days_of, period_of
from fxcarry.protocols import RiskRule, Strategy
from fxcarry.report import PERIODS
from fxcarry.routing import LeastCost
from fxcarry.trials import TrialRegistry, family_of
from fxcarry.universe import Universe, UniverseLike, universe_of
from fxcarry.venues import Venue
from fxcarry.walkforward.result import Stitched, WalkForwardResult, WindowResult, plain, solvent_returns
from fxcarry.walkforward.saved import Saved, Track, key_of
from fxcarry.walkforward.schedule import Scheduled, candidates
from fxcarry.walkforward.windows import Window, windows

if TYPE_CHECKING:
    from fxcarry.config import Config

_BLOCKS = 16
_CONTINUOUS = (
    "Test windows are one account: a configuration starts from what the one before held, and pays for the change."
)
_NO_RULES = (
    "Configurations are scored net of costs and mark-up, without risk rules: a halt of the past is no parameter."
)
_CUT = "The account starts afresh, flat, after each window that failed; its NAV goes on from where it was."
_GRID_ONLY = "one configuration, so nothing was chosen"


def net_sharpe(returns: FloatArray) -> float:
    """The default score: annual Sharpe ratio of daily returns after costs and mark-up; NaN without volatility."""
    return statistics.sharpe(returns, PERIODS)


def walk_forward(
    strategy: str | Strategy | Callable[..., Strategy],
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    score: Callable[[FloatArray], float] = net_sharpe,
    start: Day | None = None,
    end: Day | None = None,
    train_years: int = 10,
    test_years: int = 1,
    is_expanding: bool = True,
    purge_days: int = 31,
    embargo_days: int = 0,
    universe: UniverseLike | None = None,
    rules: Sequence[RiskRule] | None = None,
    costs: Costs | None = RETAIL,
    markup: float | None = None,
    cash: float | None = None,
    account_currency: str | None = None,
    rebalance: Frequency | None = None,
    routing: LeastCost | Routing | None = None,
    venue: str | Venue | None = None,
    config: Config | str | Path | None = None,
    history: MarketHistory | None = None,
    trials: TrialRegistry | None = None,
    resume: str | Path | None = None,
    name: str | None = None,
    progress: Progress = no_progress,
) -> WalkForwardResult:
    """Choose a configuration on each train window, trade it on the test window after it, and report the test days only.

    Each candidate of the ``grid`` is run once over the whole period, without risk rules, and scored on the days of each
    train window: a backtest sees no future, so its first years are the same whether or not the later ones are run. With
    rolling windows a candidate has been trading before the window starts, where a run of the window alone would be flat
    up to its first decision. The best score wins, of equal ones the first; a score that is not a number never wins.

    The test windows are then traded as one continuous account by :class:`Scheduled`, which sees all history before each
    decision. It opens flat with ``cash`` at the end of the day before the first test; what is decided then is held from
    the first test day on (with a weekly schedule, from the first week's end on). The same choices are run without
    rules, in the cheapest pairs, without the mark-up and without interest.

    A window whose prices or rates fail (DataError), in test or for any candidate in train, is reported with its reason
    and left out; the account then starts afresh in the next one. Every configuration run, and the result itself, is
    recorded in ``trials``; the account in the cheapest pairs is not, since it holds the same, nor are those without
    mark-up and without interest, since nobody can earn them.

    Args:
        strategy: the name of a strategy, a strategy, or with a ``grid`` a callable that makes one from keywords.
        grid: values to try by the name of a setting; every combination is a candidate. None = one configuration.
        score: what is best in train: a callable of daily net returns, higher is better; default: the Sharpe ratio.
        start, end: first and last trade date, both inclusive; default: all there is with verified rates.
        train_years, test_years, is_expanding, purge_days, embargo_days: see :func:`windows`.
        universe, rules, costs, markup, cash, account_currency, rebalance, routing, venue, config, history:
            as in
            :func:`fxcarry.backtest.backtest`.
        trials: where configurations are recorded; default: ``TrialRegistry()``.
        resume: a file in which each candidate's run is kept, and of the run on its way what the strategy answered,
            window by window, to go on after an interruption; it is made if need be, and refused if it belongs to
            another run. Not for plain functions, which may have changed since.
        name: what the strategy is called in the result.
        progress: called with (runs done, runs in all).

    Raises ConfigError for a bad argument, DataError if every window fails, and whatever else a strategy raises.
    """
    settings: dict[str, Any] = {
        "universe": universe,
        "rules": rules,
        "costs": costs,
        "markup": markup,
        "cash": cash,
        "account_currency": account_currency,
        "rebalance": rebalance,
        "routing": routing,
        "venue": venue,
        "config": config,
    }
    chosen: Any = strategy
    other: Config | None = None
    if config is not None or isinstance(strategy, str) or history is None:
        from fxcarry.build import feed_of, resolve

        parts = resolve(config, strategy)
        chosen, other = parts.strategy, parts.config
        settings["config"] = other
        settings["rules"] = parts.rules if rules is None else rules
        history = feed_of(other).history(None, None) if history is None else history
    tried = candidates(chosen, grid)
    currency = check_currency(account_currency or (other and other.account_currency) or "USD", "account_currency")
    if universe is None and other is not None and account_currency in (None, other.account_currency):
        universe = other.universe
    members = universe_of(universe, currency)
    begin, finish, _ = days_of(history, start, end, needs_rates=history.numeraire in history.rates)
    shape = {
        "train_years": train_years,
        "test_years": test_years,
        "is_expanding": is_expanding,
        "purge_days": purge_days,
        "embargo_days": embargo_days,
    }
    planned = windows(begin, finish, **shape)  # type: ignore[arg-type]
    key = ""
    if resume is not None:
        told: dict[str, Any] = {"strategy": [s for _, s in tried], "score": None if score is net_sharpe else score}
        told |= {**settings, "config": other and _costs_and_such(other), "start": str(begin), "end": str(finish)}
        key = key_of(told, history)
    walk = _Walk(
        name=str(
            name or (strategy if isinstance(strategy, str) else getattr(chosen, "__name__", type(chosen).__name__))
        ),
        tried=tried,
        score=score,
        begin=begin,
        finish=finish,
        planned=planned,
        members=members,
        currency=currency,
        settings=settings,
        history=history,
        registry=TrialRegistry() if trials is None else trials,
        saved=Saved(None if resume is None else Path(resume), key),
        shape=shape,
        progress=progress,
    )
    return walk.result()


def _costs_and_such(config: Config) -> dict[str, Any]:
    """The settings of a configuration that a backtest without rules reads; its strategy and rules are known apart."""
    venue = None if config.broker is None else config.broker.settings
    return {
        "costs": config.costs,
        "markup": config.markup,
        "cash": config.cash,
        "account_currency": config.account_currency,
        "rebalance": config.rebalance,
        "routing": config.routing,
        "profile": config.venue,
        "universe": config.universe,
        "venue": venue,
    }


@attrs.define(kw_only=True, eq=False)
class _Walk:
    """One walk-forward on its way."""

    name: str
    tried: list[tuple[dict[str, Any], Strategy]]
    score: Callable[[FloatArray], float]
    begin: date
    finish: date
    planned: tuple[Window, ...]
    members: Universe
    currency: str
    settings: dict[str, Any]
    history: MarketHistory
    registry: TrialRegistry
    saved: Saved
    shape: dict[str, Any]
    progress: Progress
    failed: dict[int, DataError] = attrs.field(factory=dict, init=False)
    done: int = attrs.field(default=0, init=False)
    total: int = attrs.field(default=0, init=False)

    def result(self) -> WalkForwardResult:
        """Choose, trade, record, report."""
        has_choice = len(self.tried) > 1
        self.total = (len(self.tried) if has_choice else 0) + 5
        scores = self._scores() if has_choice else [() for _ in self.planned]
        choices = [self._choose(i, own) for i, own in enumerate(scores)]
        traded = self._trade(choices)
        runs = {kind: Stitched.of(parts) for kind, parts in traded.items()}
        main = traded["traded"]
        for kind in ("traded", "no_rules"):
            self._record(traded[kind], runs[kind])
        card = report_card(main[0], trials=self.registry) if len(main) == 1 else None
        if card is not None:
            card["strategy"] = self.name
        pbo, why = self._overfitting() if has_choice else (None, _GRID_ONLY)
        notes = [_CONTINUOUS, *([_NO_RULES] if has_choice else []), *([_CUT] if len(main) > 1 else [])]
        notes += [note for part in main for note in part.notes]
        family = family_of({"universe": self.members.currencies, "account_currency": self.currency})
        return WalkForwardResult(
            strategy=self.name,
            universe=self.members.currencies,
            account_currency=self.currency,
            rebalance=main[0].rebalance,
            cash=main[0].cash,
            markup=main[0].markup,
            venue=main[0].venue,
            routing=main[0].routing,
            rules=tuple(rule.name for rule in main[0].rules),
            candidates=tuple(setting for setting, _ in self.tried),
            windows=tuple(
                WindowResult(window=window, setting=None, scores=own, error=self.failed[i].message)
                if i in self.failed
                else WindowResult(
                    window=window,
                    setting=self.tried[choices[i]][0],
                    scores=own,
                    figures=runs["traded"].figures(window),
                    without_rules=runs["no_rules"].figures(window),
                )
                for i, (window, own) in enumerate(zip(self.planned, scores))
            ),
            runs=runs,
            card=card,
            trials=self.registry.count(family),
            pbo=pbo,
            pbo_reason=why,
            notes=tuple(dict.fromkeys(notes)),
        )

    # -- choosing --------------------------------------------------------------------------------------------------

    def _scores(self) -> list[tuple[float | None, ...]]:
        """The train score of every candidate, by window."""
        by_candidate = []
        for number in range(len(self.tried)):
            by_candidate.append([self._score(number, i) for i in range(len(self.planned))])
            self._tick()
        return [tuple(own) for own in zip(*by_candidate)]

    def _score(self, number: int, place: int) -> float | None:
        """One candidate on one train window. Where the whole period cannot be run, the window alone is."""
        window = self.planned[place]
        try:
            try:
                track = self._track(number, self.begin, self.finish)
            except DataError:
                until = window.train_end - timedelta(1)
                track = self._track(number, window.train_start, until)
            first, end = np.datetime64(window.train_start, "D"), np.datetime64(window.train_end, "D")
            value = float(self.score(track.returns[(track.day >= first) & (track.day < end)]))
        except DataError as error:
            self.failed.setdefault(place, error)
            return None
        return value if math.isfinite(value) else None

    def _track(self, number: int, first: date, last: date) -> Track:
        def run() -> Track:
            setting, strategy = self.tried[number]
            asked = self.saved.remembered(f"{number} {first} {last}", strategy, self.planned)
            result = self._backtest(asked, first, last, rules=[])
            returns = solvent_returns(result.books.nav)
            configuration = configuration_of(result, strategy)
            configuration["strategy"] = self._told(configuration["strategy"], setting)
            self.registry.record(configuration, returns, PERIODS, name=self.name)
            return Track(result.books.day[1:].astype("datetime64[D]"), returns)

        return self.saved.get(f"{number} {first} {last}", run)

    @staticmethod
    def _told(told: Any, setting: Mapping[str, Any]) -> Any:
        """A strategy of which only the name is known, with the setting it was made from."""
        return {"type": told, **plain(setting)} if isinstance(told, str) and setting else told

    def _choose(self, place: int, scores: Sequence[float | None]) -> int:
        """The best candidate, of equal ones the first; a window without any fails."""
        if place in self.failed or not scores:
            return 0
        known = [(value, -number) for number, value in enumerate(scores) if value is not None]
        if not known:
            self.failed[place] = DataError("no configuration has a score in train", hint="none of them traded then")
            return 0
        return -max(known)[1]

    def _overfitting(self) -> tuple[float | None, str | None]:
        """Probability of backtest overfitting over the candidates' daily returns, or why there is none."""
        try:
            tracks = [self._track(n, self.begin, self.finish) for n in range(len(self.tried))]
            matrix = np.stack([track.returns for track in tracks], 1)
            return statistics.probability_of_backtest_overfitting(matrix, _BLOCKS), None
        except DataError as error:
            return None, error.message

    # -- trading ---------------------------------------------------------------------------------------------------

    def _trade(self, choices: Sequence[int]) -> dict[str, list[BacktestResult]]:
        """The stretches of windows that did not fail, in each kind of account."""
        for i, window in enumerate(self.planned):
            if i not in self.failed:
                self._check(i, window)
        done = self.done
        while True:
            stretches = self._stretches()
            if not stretches:
                raise self.failed[min(self.failed)]
            self.done, before = done, len(self.failed)
            found: dict[str, list[BacktestResult]] = {}
            kinds: dict[str, dict[str, Any]] = {
                "traded": {},
                "no_rules": {"rules": []},
                "routed": {"rules": [], "routing": "least-cost"},
                "gross": {"rules": [], "markup": 0.0},
                "spot_only": {"rules": [], "financing": None},
            }
            for kind, changes in kinds.items():
                if kind == "no_rules" and not found["traded"][0].rules:
                    found[kind] = found["traded"]
                else:
                    found[kind] = [r for s in stretches if (r := self._stretch(kind, s, choices, changes)) is not None]
                if len(self.failed) > before:
                    break
                self._tick()
            else:
                return found

    def _stretches(self) -> list[list[int]]:
        """Runs of windows in a row that did not fail."""
        found: list[list[int]] = []
        for i in range(len(self.planned)):
            if i not in self.failed:
                if found and found[-1][-1] == i - 1:
                    found[-1].append(i)
                else:
                    found.append([i])
        return found

    def _stretch(
        self, kind: str, places: Sequence[int], choices: Sequence[int], changes: Mapping[str, Any]
    ) -> BacktestResult | None:
        """One account through some windows in a row; None where one of them failed on the way."""
        scheduled = Scheduled(
            starts=tuple(self.planned[i].test_start for i in places),
            strategies=tuple(self.tried[choices[i]][1] for i in places),
            name=self.name,
        )
        opening = _day_before(self.planned[places[0]].test_start)
        try:
            asked = self.saved.remembered(f"{kind} {opening}", scheduled, self.planned)
            return self._backtest(asked, opening, self.planned[places[-1]].test_end - timedelta(1), **changes)
        except DataError as error:
            self.failed[places[scheduled.failed[-1] if scheduled.failed else 0]] = error
            return None

    def _check(self, place: int, window: Window) -> None:
        """Whether there are prices and rates for a test window and the decision before it."""
        try:
            period_of(
                self.history,
                _day_before(window.test_start),
                window.test_end - timedelta(1),
                self.members,
                self.currency,
                needs_rates=True,
            )
        except DataError as error:
            self.failed[place] = error

    def _backtest(self, strategy: Strategy, first: date, last: date, **changes: Any) -> BacktestResult:
        return backtest(strategy, start=first, end=last, history=self.history, **{**self.settings, **changes})

    def _record(self, parts: Sequence[BacktestResult], run: Stitched) -> None:
        """The walk-forward itself is a trial too: the strategy, or where there was a choice the way of choosing."""
        own = [configuration_of(parts[0], strategy)["strategy"] for _, strategy in self.tried]
        told = [self._told(one, setting) for one, (setting, _) in zip(own, self.tried)]
        chosen = told[0]
        if len(told) > 1:
            score = getattr(self.score, "__qualname__", type(self.score).__qualname__)
            chosen = {"type": "walk-forward", "candidates": told, "score": score, **self.shape}
        self.registry.record(
            {**configuration_of(parts[0]), "strategy": chosen},
            run.returns,
            PERIODS,
            name=f"{self.name}, walked forward",
        )

    def _tick(self) -> None:
        self.done += 1
        self.progress(self.done, self.total)


def _day_before(day: date) -> date:
    """The weekday before a day."""
    before: Any = np.busday_offset(np.datetime64(day, "D"), -1, roll="forward")
    found: date = before.item()
    return found
