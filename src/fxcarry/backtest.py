"""``backtest()``: an Engine over stored history with a simulated broker, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry import statistics
from fxcarry.clock import Frequency
from fxcarry.costs import Costs
from fxcarry.engine import Engine, Progress, no_progress
from fxcarry.errors import DataError, MissingDataError
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import MemoryJournal
from fxcarry.ledger import Attribution, Columns, Ledger, attribute
from fxcarry.market import MarketHistory
from fxcarry.model import (
    Action,
    FloatArray,
    Pair,
    RiskState,
    TradingState,
    Transaction,
    check_currency,
    minor_digits,
    to_decimal,
)
from fxcarry.periods import Day, period_of
from fxcarry.protocols import DataFeed, RiskRule, Strategy
from fxcarry.report import PERIODS, write_html
from fxcarry.risk import default_rules
from fxcarry.routing import LeastCost, routing_of
from fxcarry.simulation import SimBroker
from fxcarry.tape import LinearFinancing
from fxcarry.universe import UniverseLike, universe_of
from fxcarry.venues import Venue, venues
from fxcarry.venues import venue as venue_called

if TYPE_CHECKING:
    import pandas as pd

    from fxcarry.config import Config

RETAIL = Costs()
DEFAULT_MARKUP = 0.01
DEFAULT_CASH = 1_000_000
Routing = Literal["direct", "least-cost"]


@attrs.frozen(kw_only=True, eq=False)
class BacktestResult:
    """What a backtest did: money from the venue's books, attributed to the cent.

    ``nav`` and ``returns`` are by trade date (17:00 New York); ``weights`` are the net exposures held then, open P&L
    included, as fractions of NAV; ``trades`` are the fills; ``ledger`` the double-entry books; ``attribution`` is each
    day's ΔNAV in account currency with the columns spot, carry, cost, translation and rounding; ``stats`` the summary.
    ``venue`` is the name of the cost profile, None where none was chosen; ``markup`` what the venue keeps on each side,
    None where that is not one number. ``notes`` name what a reader must know.
    """

    strategy: str
    universe: tuple[str, ...]
    account_currency: str
    venue: str | None
    markup: float | None
    costs: Costs | None
    rules: tuple[RiskRule, ...]
    cash: float
    rebalance: Frequency
    routing: Routing
    columns: Columns
    books: Attribution
    exposure: FloatArray
    journal: MemoryJournal
    state: RiskState
    notes: tuple[str, ...]

    @cached_property
    def _dates(self) -> pd.DatetimeIndex:
        import pandas as pd

        return pd.DatetimeIndex(self.books.day.astype("datetime64[ns]"), name="date")

    @cached_property
    def nav(self) -> pd.Series:
        """NAV at the end of each trade date."""
        import pandas as pd

        return pd.Series(self.books.nav, index=self._dates, name="nav")

    @cached_property
    def returns(self) -> pd.Series:
        """Simple daily returns of NAV; excess returns, since account cash earns nothing."""
        import pandas as pd

        return pd.Series(self._returns, index=self._dates[1:], name="return")

    @property
    def _returns(self) -> FloatArray:
        return self.books.nav[1:] / self.books.nav[:-1] - 1

    @cached_property
    def attribution(self) -> pd.DataFrame:
        """Each day's ΔNAV by source, in account currency; a cost paid is negative. Rows sum to ΔNAV."""
        import pandas as pd

        return pd.DataFrame({term: getattr(self.books, term) for term in Attribution.TERMS}, index=self._dates)

    @cached_property
    def weights(self) -> pd.DataFrame:
        """Net exposure held at the end of each trade date, as a fraction of NAV, by currency."""
        import pandas as pd

        marks, by_tick = self._marks, self.columns
        owned = by_tick.units[marks] * by_tick.base_value[marks]
        owed = by_tick.units[marks] * by_tick.average[marks] * by_tick.conversion[marks]
        base, quote = np.maximum(self.exposure, 0), np.maximum(-self.exposure, 0)
        held = (owned @ base.T - owed @ quote.T) / by_tick.nav[marks][:, None]
        return pd.DataFrame(held, index=self._dates, columns=list(self.universe))

    @property
    def _marks(self) -> Any:
        marks = np.flatnonzero(self.columns.is_day_end)
        last = len(self.columns.at) - 1
        return marks if len(marks) and marks[-1] == last else np.append(marks, last)

    @cached_property
    def trades(self) -> pd.DataFrame:
        """Every fill: when, what, how many units, at what price against which mid, and what it realized and cost."""
        import pandas as pd

        log = self.journal.log
        assert log is not None
        scale = 10 ** minor_digits(log.account_currency)
        rows = [
            {
                "at": pd.Timestamp(f.at, tz="UTC"),
                "instrument": log.names[f.instrument],
                "units": f.units,
                "price": f.price,
                "mid": f.mid,
                "conversion": f.conversion,
                "cost": abs(f.price - f.mid) * abs(f.units) * f.conversion - f.commission,
                "realized": f.posted / scale,
                "reason": f.order.reason,
                "client_id": f.order.client_id,
            }
            for f in log.fills
        ]
        names = ["at", "instrument", "units", "price", "mid", "conversion", "cost", "realized", "reason", "client_id"]
        return pd.DataFrame(rows, columns=names)

    @cached_property
    def ledger(self) -> Ledger:
        """The run's double-entry books: every transaction posted, balanced in every currency.

        Cash begins with the opening deposit and ends with the venue's own balance.
        """
        log = self.journal.log
        assert log is not None
        books = Ledger(log.account_currency, log.lots)
        opening = datetime.combine(self.books.day[0].astype("datetime64[D]").item(), time(0), UTC)
        books.post(
            Transaction(
                id="opening", at=opening, kind="transfer", amount=to_decimal(self.cash), currency=log.account_currency
            )
        )
        for transaction in log:
            books.post(transaction)
        return books

    @cached_property
    def round_trips(self) -> FloatArray:
        """P&L of each closed round trip in account currency, financing and cost included.

        A round trip runs in one instrument from flat (or a change of sign) to flat (or the next change of sign).
        """
        return self._round_trips[1]

    @property
    def round_trip_days(self) -> NDArray[np.datetime64]:
        """The trade date on which each of ``round_trips`` was closed."""
        days: NDArray[np.datetime64] = self.columns.day[self._round_trips[0]].astype("datetime64[D]")
        return days

    @cached_property
    def _round_trips(self) -> tuple[NDArray[np.int64], FloatArray]:
        """The tick at which each round trip was closed, and its P&L."""
        log = self.journal.log
        assert log is not None
        scale = 10 ** minor_digits(log.account_currency)
        booked = self.columns.posted if self.columns.allocated is None else self.columns.allocated
        financing = np.vstack([np.zeros((1, len(log.names))), booked.cumsum(0)]) / scale
        units = [0.0] * len(log.names)
        profit = [0.0] * len(log.names)
        opened = [0] * len(log.names)
        closed: list[float] = []
        ticks: list[int] = []
        for f in log.fills:
            j = f.instrument
            now = units[j] + f.units
            now = 0.0 if abs(now) < 1e-9 else now
            profit[j] += (f.posted + f.charged) / scale
            if units[j] == 0:
                opened[j] = f.tick
            elif now == 0 or now * units[j] < 0:
                closed.append(profit[j] + float(financing[f.tick, j] - financing[opened[j], j]))
                ticks.append(f.tick)
                profit[j], opened[j] = 0.0, f.tick
            units[j] = now
        return np.array(ticks, np.int64), np.array(closed)

    @cached_property
    def stats(self) -> dict[str, Any]:
        """The summary: annual figures are decimals per year (260 days), not percent."""
        returns = self._returns
        if len(returns) < 2:
            raise DataError(
                f"the period has {len(returns) + 1} trading days", hint="choose a longer one: statistics need three"
            )
        before = self.books.nav[:-1]
        trips = self.round_trips

        def annual(term: str) -> float:
            return float((getattr(self.books, term)[1:] / before).mean()) * PERIODS

        years = len(returns) / PERIODS
        return {
            "strategy": self.strategy,
            "start": str(self.books.day[0]),
            "end": str(self.books.day[-1]),
            "universe": list(self.universe),
            "account_currency": self.account_currency,
            "cash": self.cash,
            "venue": self.venue,
            "markup": self.markup,
            "costs": None if self.costs is None or self.costs.is_free else attrs.asdict(self.costs),
            "rules": [r.name for r in self.rules],
            "rule_changes": self.rule_changes,
            "rebalance": self.rebalance,
            "routing": self.routing,
            "annual_return": statistics.annual_return(returns, PERIODS),
            "cagr": statistics.cagr(returns, PERIODS),
            "volatility": statistics.volatility(returns, PERIODS),
            "sharpe": _none_if_nan(statistics.sharpe(returns, PERIODS)),
            "sharpe_se": _none_if_nan(self._sharpe_error(returns)),
            "max_drawdown": statistics.max_drawdown(returns),
            "win_rate": float((trips > 0).mean()) if len(trips) else None,
            "round_trips": len(trips),
            "turnover": self._turnover() / years,
            "spot": annual("spot"),
            "carry": annual("carry"),
            "cost": annual("cost"),
            "translation": annual("translation"),
            "rounding": annual("rounding"),
            "final_nav": float(self.books.nav[-1]),
            "halted": self.halted,
            "notes": list(self.notes),
        }

    @staticmethod
    def _sharpe_error(returns: FloatArray) -> float:
        if not returns.any():
            return float("nan")
        return statistics.sharpe_standard_error(returns, "mertens") * float(np.sqrt(PERIODS))

    def _turnover(self) -> float:
        """½ Σ |Δw| of every fill, summed over the run (weights at the NAV of the day before)."""
        log = self.journal.log
        assert log is not None
        nav = self.columns.nav
        return 0.5 * sum(abs(f.units) * f.mid * f.conversion / float(nav[max(f.tick - 1, 0)]) for f in log.fills)

    @property
    def halted(self) -> str | None:
        """When and why trading was halted for good, or None."""
        for at, state in self.journal.states:
            if state.trading is TradingState.HALTED:
                return f"{at:%Y-%m-%d} {state.latch}"
        return None

    @cached_property
    def rule_changes(self) -> dict[str, Any]:
        """How far the rules made another portfolio of what the strategy wanted.

        ``targets`` that were reviewed, how many of them were ``changed``, and ``by_rule`` in how many each rule had its
        part.
        """
        reviewed = [decision.findings for stage, decision in self.journal.decisions if stage == "target"]
        demands = [{v.rule for v in findings if v.action > Action.ALLOW} for findings in reviewed]
        by_rule = Counter(name for names in demands for name in sorted(names))
        return {"targets": len(reviewed), "changed": sum(map(bool, demands)), "by_rule": dict(by_rule.most_common())}

    def to_html(self, path: str | Path, *, card: Mapping[str, Any] | None = None) -> Path:
        """Write one self-contained HTML report; ``card`` is its :func:`~fxcarry.evidence.report_card`, if wanted."""
        return write_html([self], Path(path), cards={self.strategy: card})


def backtest(
    strategy: str | Strategy,
    *,
    start: Day | None = None,
    end: Day | None = None,
    universe: UniverseLike | None = None,
    feed: DataFeed | None = None,
    rules: Sequence[RiskRule] | None = None,
    costs: Costs | None = RETAIL,
    markup: float | None = None,
    cash: float | None = None,
    account_currency: str | None = None,
    rebalance: Frequency | None = None,
    financing: LinearFinancing | Literal["benchmark"] | None = "benchmark",
    venue: str | Venue | None = None,
    config: Config | str | Path | None = None,
    history: MarketHistory | None = None,
    routing: LeastCost | Routing | None = None,
    progress: Progress | None = None,
) -> BacktestResult:
    """Run a strategy over stored history, with the engine that trades live.

    Args:
        strategy: the name of a strategy, ``path/to/file.py:name`` or ``module:name`` of your own, or any callable
            ``(view, account) -> weights by currency``.
        start, end: first and last trade date, both inclusive; default: all there is with verified rates.
        universe: the currencies to rank and hold: codes, a name (``"g10"``, ``"em"``, ``"all"``), a
            :class:`~fxcarry.universe.Universe` or a path to a file of memberships; default: the nine other G10
            currencies.
        feed: prices and rates; default: ECB fixings and G10 policy rates (``fxcarry-ecb``).
        rules: risk rules; ``None`` = the default set, ``[]`` = none.
        costs: spread, slippage, commission; ``None`` = no trading costs; default: typical retail spreads.
        markup: annual decimal the broker keeps on each side's financing; default: 0.01.
        cash: opening balance in account currency; it earns nothing, so NAV returns are excess returns; default:
            1,000,000.
        account_currency: the currency of the account, ranked only if listed in ``universe``; default: USD.
        rebalance: "monthly" (default), "weekly" or "daily": the last weekday of the period decides, the next quote
            fills.
        financing: a model of your own; ``None`` leaves interest out (for comparison: it is not what anyone earns).
        venue: a cost profile or its name (see :mod:`fxcarry.venues`), which sets ``costs`` and ``financing``. An
        argument given beside it wins: ``costs``, ``financing``, and ``markup``, which books the benchmark less that in
        place of the venue's financing (``markup=0.0``: :meth:`~fxcarry.venues.Venue.without_markup`). The default
        costs cannot be told from costs not given: for those, write ``costs=Costs()``.
        config: a configuration (or its path) whose settings apply where no argument is given.
        history: a history read before, so that several runs share it.
        routing: "direct" (default) holds each currency in its market pair against the account currency; "least-cost",
            or a :class:`~fxcarry.routing.LeastCost`, holds the same exposures in the pairs that cost least, crosses
            included.
        progress: called with (ticks done, ticks in all).

    Raises ConfigError for a bad argument, DataError for prices or rates that cannot be used, LedgerError if the books
    do not balance to the cent on every day.
    """
    chosen: Any = strategy
    other: Config | None = None
    broker_settings: dict[str, Any] = {}
    if config is not None or isinstance(strategy, str) or (feed is None and history is None):
        from fxcarry.build import feed_of, resolve

        parts = resolve(config, strategy)
        chosen, other, broker_settings = parts.strategy, parts.config, dict(parts.venue)
        rules = parts.rules if rules is None else rules
        if history is None and feed is None:
            feed = feed_of(other)
    if other is not None:
        if universe is None and account_currency in (None, other.account_currency):
            universe = other.universe
        if venue is None:
            venue = other.venue
            costs = other.costs if costs is RETAIL else costs
            markup = other.markup if markup is None else markup
    profile = venue_called(venue) if isinstance(venue, str) else venue
    changed: list[str] = []
    if profile is None:
        usual: LinearFinancing = BenchmarkFinancing(DEFAULT_MARKUP if markup is None else markup)
    else:
        costs = profile.costs if costs is RETAIL else costs
        usual = profile.financing if markup is None else BenchmarkFinancing(markup)
        changed += ["costs"] * (costs != profile.costs)
        changed += ["financing"] * (usual != profile.financing or financing != "benchmark")
    cash = _first(cash, broker_settings.pop("cash", None), other and other.cash, DEFAULT_CASH)
    account_currency = _first(account_currency, other and other.account_currency, "USD")
    rebalance = _first(rebalance, other and other.rebalance, "monthly")
    account_currency = check_currency(account_currency, "account_currency")
    members = universe_of(universe, account_currency)
    active = default_rules() if rules is None else tuple(rules)
    if history is None:
        assert feed is not None
        history = feed.history(None, None)
    first, last, members, notes = period_of(
        history, start, end, members, account_currency, needs_rates=financing == "benchmark"
    )
    if profile is not None and changed:
        notes.append(f"not the {' and '.join(changed)} of venue {profile.name}: others were given in their place")
    model = usual if financing == "benchmark" else financing
    broker = SimBroker(cash=cash, account_currency=account_currency, costs=costs, financing=model, **broker_settings)
    journal = MemoryJournal()
    engine = Engine(
        feed=feed,
        broker=broker,
        strategy=chosen,
        rules=active,
        universe=members,
        rebalance=rebalance,
        costs=costs,
        financing=usual if model is None and account_currency in history.rates else model,
        routing=routing_of(_first(routing, other and other.routing, "direct")),
        journal=journal,
    )
    engine.run(
        first,
        last,
        history=history.in_currency(account_currency, members.currencies),
        progress=progress or no_progress,
    )
    columns = broker.log.columns()
    return BacktestResult(
        strategy=strategy if isinstance(strategy, str) else getattr(strategy, "__name__", type(strategy).__name__),
        universe=members.currencies,
        account_currency=account_currency,
        venue=None if profile is None else profile.name,
        markup=_markup_kept(usual, broker.maker.pairs) if financing == "benchmark" else None,
        costs=costs,
        rules=active,
        cash=float(cash),
        rebalance=rebalance,
        routing="direct" if engine.routing is None else "least-cost",
        columns=columns,
        books=attribute(broker.log, columns),
        exposure=engine.book.exposure,
        journal=journal,
        state=engine.state,
        notes=(*history.notes, *notes, *refusals(engine)),
    )


def _markup_kept(financing: LinearFinancing, pairs: Sequence[Pair]) -> float | None:
    """The annual decimal kept on each side of every pair, None where it is not the same for all."""
    kept = {financing.markup_of(pair) for pair in pairs} if isinstance(financing, BenchmarkFinancing) else set()
    return kept.pop() if len(kept) == 1 else None


def _first(*values: Any) -> Any:
    """The first that is not None."""
    return next(value for value in values if value is not None)


def variants(
    run: Callable[..., BacktestResult], result: BacktestResult, hindsight: MarketHistory | None = None
) -> dict[str, BacktestResult]:
    """The same strategy with one thing changed: ``no_rules``, ``routed`` (the same exposures in the cheapest pairs),
    ``gross`` (no mark-up), ``spot_only`` (no interest), and with a ``hindsight``, a history whose rates are as they
    were revised later, ``revised``: how much knowing them would have flattered the result.

    ``run`` makes a result from keyword changes to the first run. All are run without rules, as ``no_rules`` is, so that
    what differs is the interest and not the day a rule stepped in; but for ``routed``, all hold what the first run
    holds: pairs against the account currency, or the cheapest ones.
    """
    found = {
        "no_rules": result if not result.rules else run(rules=[]),
        "routed": run(rules=[], routing="least-cost"),
        "gross": run(rules=[], markup=0.0),
        "spot_only": run(rules=[], financing=None),
    }
    return found if hindsight is None else {**found, "revised": run(rules=[], history=hindsight)}


def by_venue(run: Callable[..., BacktestResult]) -> dict[str, BacktestResult]:
    """The same strategy without rules on the terms of each venue: ``oanda:direct`` in pairs against the account
    currency, ``oanda:routed`` in the cheapest pairs, and so on.

    ``run`` makes a result from keyword changes to the first run. A venue is left out if it has no spread or no mark-up
    for some currency.
    """
    found: dict[str, BacktestResult] = {}
    for name in venues():
        terms = {"rules": [], "venue": name, "costs": RETAIL, "markup": None}
        with suppress(MissingDataError):
            direct, routed = (run(**terms, routing=way) for way in ("direct", "least-cost"))
            found |= {f"{name}:direct": direct, f"{name}:routed": routed}
    return found


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def refusals(engine: Engine) -> list[str]:
    """A note where the strategy wanted what was no member of the universe."""
    refused = sorted(engine.columns.refused)
    if not refused:
        return []
    return [
        f"the strategy wanted {', '.join(refused)} while outside the universe: such a weight is taken as 0 "
        "(view.is_member says who may be held)"
    ]
