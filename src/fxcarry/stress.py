"""What a book loses in a crash: a library of scenarios, and a simulated venue that is shown the prices after one.

A scenario is a gap: one price before, one after, nothing tradable between. Its moves are those of each currency against
USD. Money is linear in prices, so the plain re-mark is exact::

    ΔNAV = Σ exposure_c · ((1 + m_c) / (1 + m_account) − 1)

with the exposure of each currency in account currency, a position's base at market and its quote at cost, as in
``Account.current_weights``. What the venue does next (stops, margin close-out) is left to :class:`SimBroker`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np

from fxcarry.backtest import DEFAULT_CASH, DEFAULT_MARKUP, RETAIL, BacktestResult, backtest
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, DataError, FxCarryError, MissingDataError
from fxcarry.market import MarketHistory, MarketView
from fxcarry.model import Account, Order, Pair, Position, Quote, Snapshot, check_currency, to_decimal
from fxcarry.orders import Lot, net_exposures
from fxcarry.periods import Day
from fxcarry.protocols import Strategy
from fxcarry.risk import StopLoss
from fxcarry.scenarios import SCENARIOS
from fxcarry.scenarios import Scenario as Scenario
from fxcarry.scenarios import scenario as scenario
from fxcarry.scenarios import scenarios as scenarios
from fxcarry.simulation import SimBroker
from fxcarry.universe import UniverseLike

if TYPE_CHECKING:
    import pandas as pd

Missing = Literal["report", "zero"]
_NOON = datetime(2025, 1, 15, 17, tzinfo=UTC)  # any open minute away from 17:00 New York: no roll lies in a gap


@attrs.frozen(kw_only=True)
class StressRow:
    """One scenario's outcome, money in account currency. All figures are None where it is not computable.

    ``pnl`` is the plain re-mark, ``change`` the same as a fraction of NAV and ``by_currency`` its parts, which sum to
    it; ``margin_used``, ``margin_available`` and ``margin_ratio`` (NAV / required margin, None without positions) are
    those of the whole book at the moved prices. Then the venue acts: ``stops`` filled at the gap, ``is_closed_out``
    says whether the margin close-out took the rest, ``nav_after`` is what is left and ``remaining`` the units still
    open, by instrument. ``missing`` names currencies the scenario has no move for, ``assumed_zero`` those taken as
    unmoved because that was asked for.
    """

    scenario: Scenario
    pnl: float | None = None
    change: float | None = None
    by_currency: Mapping[str, float] = attrs.field(factory=dict)
    margin_used: float | None = None
    margin_available: float | None = None
    margin_ratio: float | None = None
    stops: tuple[str, ...] = ()
    is_closed_out: bool = False
    nav_after: float | None = None
    remaining: Mapping[str, float] = attrs.field(factory=dict)
    missing: tuple[str, ...] = ()
    assumed_zero: tuple[str, ...] = ()

    @property
    def is_computable(self) -> bool:
        """Whether the scenario has a move for all that the book holds."""
        return not self.missing

    @property
    def worst_currency(self) -> str | None:
        """The currency that loses most, None where none loses."""
        losing = [(pnl, c) for c, pnl in self.by_currency.items() if pnl < 0]
        return min(losing)[1] if losing else None

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON types."""
        s = self.scenario
        figures = attrs.asdict(self, filter=lambda field, _: field.name != "scenario", recurse=False)
        return {
            "scenario": s.name,
            "start": s.start and s.start.isoformat(),
            "end": s.end and s.end.isoformat(),
            "is_hypothetical": s.is_hypothetical,
            "note": s.note,
            "is_computable": self.is_computable,
            "worst_currency": self.worst_currency,
        } | {k: dict(v) if isinstance(v, Mapping) else list(v) if isinstance(v, tuple) else v
             for k, v in figures.items()}  # fmt: skip


@attrs.frozen(kw_only=True)
class StressReport:
    """The rows of a stress test, lowest NAV after first, those not computable last."""

    nav: float
    account_currency: str
    rows: tuple[StressRow, ...]
    assumptions: tuple[str, ...]

    @property
    def worst(self) -> StressRow:
        """The row with the lowest NAV after; MissingDataError where no scenario is computable."""
        if not (self.rows and self.rows[0].is_computable):
            raise MissingDataError("no scenario is computable for this book", hint="give one with moves for it")
        return self.rows[0]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return {
            "nav": self.nav,
            "account_currency": self.account_currency,
            "rows": [row.to_dict() for row in self.rows],
            "assumptions": list(self.assumptions),
        }

    def to_text(self, width: int = 100) -> str:
        """A table, one line a scenario, and what it assumes; no line is longer than ``width`` (at least 100)."""
        from textwrap import wrap

        width = max(width, 100)
        head = f"{'scenario':18} {'dates':22} {'P&L':>8} {'worst':>13} {'stops':>5} {'closed':>6} {'NAV after':>14}"
        lines = [f"{head} {'ratio':>6}"]
        for row in self.rows:
            start = f"{row.scenario.name[:18]:18} {row.scenario.dates:22}"
            if row.change is None or row.nav_after is None:
                lines.append(f"{start} not computable: no move for {', '.join(row.missing)}"[:width])
                continue
            worst = row.worst_currency
            name = f"{worst} {row.by_currency[worst] / self.nav:+.1%}" if worst else "-"
            ratio = "-" if row.margin_ratio is None else f"{row.margin_ratio:.1f}"
            closed = "yes" if row.is_closed_out else "no"
            mark = "*" if row.assumed_zero else " "
            lines.append(
                f"{start} {row.change:+8.1%}{mark}{name:>13} {len(row.stops):5} {closed:>6} {row.nav_after:14,.0f} "
                f"{ratio:>6}"
            )
        zero = sorted({c for row in self.rows for c in row.assumed_zero})
        notes = [*self.assumptions, *([f"* no move known for {', '.join(zero)}: taken as unmoved."] if zero else [])]
        return "\n".join([*lines, "", *(line for note in notes for line in wrap(note, width))])


@attrs.frozen(kw_only=True)
class _Book:
    """Positions to be stressed: ``value`` is account currency per unit of each currency before the shock."""

    account_currency: str
    nav: float
    pairs: tuple[Pair, ...]
    units: tuple[float, ...]
    average: tuple[float, ...]
    value: Mapping[str, float]

    @classmethod
    def of(
        cls,
        book: Mapping[str, float] | Mapping[str, Position] | pd.Series,
        prices: Mapping[str, float] | pd.Series | None,
        nav: float,
        account_currency: str,
    ) -> _Book:
        entries: dict[str, Any] = dict(book)
        held = {k: p for k, p in entries.items() if isinstance(p, Position)}
        if held and len(held) < len(entries):
            raise ConfigError("the book mixes weights and positions", hint="give one or the other")
        known = {} if prices is None else {check_currency(c, "prices"): float(p) for c, p in dict(prices).items()}
        for currency, price in known.items():
            if not (math.isfinite(price) and price > 0):
                raise ConfigError(f"the price of {currency} is {price}", hint="account currency per unit, > 0")
        known[account_currency] = 1.0
        legs: list[tuple[Pair, float, float | None]] = []
        if held:
            for name, position in held.items():
                units, average = float(position.units), float(position.average_price)
                if not (math.isfinite(units) and math.isfinite(average) and average > 0):
                    raise ConfigError(f"{name} holds {units} units at {average}", hint="finite, and a price > 0")
                if units:
                    legs.append((Pair.parse(name), units, average))
        else:
            for name, weight in entries.items():
                currency, size = check_currency(name, "weights"), _number(weight, f"the weight of {name}")
                if currency == account_currency or not size:
                    continue  # the account currency is the residual
                if prices is None:
                    known[currency] = 1.0  # a book of weights moves by fractions: the level of prices has no meaning
                pair = Pair.market(currency, account_currency)
                side = size if pair.base == currency else -size
                legs.append((pair, side * nav / _price(known, pair.base), None))
        pairs = tuple(pair for pair, _, _ in legs)
        if len(set(pairs)) < len(pairs):
            raise ConfigError("the book lists an instrument twice", hint="one entry an instrument or currency")
        for currency in (c for pair in pairs for c in pair):
            _price(known, currency)
        average_prices = tuple(known[p.base] / known[p.quote] if a is None else a for p, _, a in legs)
        return cls(
            account_currency=account_currency,
            nav=nav,
            pairs=pairs,
            units=tuple(units for _, units, _ in legs),
            average=average_prices,
            value=known,
        )

    def exposures(self) -> dict[str, float]:
        """Net exposure by currency in account currency: base at market, quote at cost; the account's own left out."""
        values, conversions = ([self.value[p[side]] for p in self.pairs] for side in (0, 1))
        return net_exposures(
            self.pairs, Lot(list(self.units), list(self.average), values, conversions), self.account_currency
        )

    def open_profit(self) -> float:
        """Unrealized P&L before the shock, at mid."""
        return sum(
            u * (self.value[p.base] - a * self.value[p.quote]) for p, u, a in zip(self.pairs, self.units, self.average)
        )

    def gross(self, value: Mapping[str, float]) -> float:
        """The sum of all position sizes at these values."""
        return sum(abs(units) * value[pair.base] for pair, units in zip(self.pairs, self.units))

    def snapshot(self, minute: int, value: Mapping[str, float], half: Callable[[Pair], float] | None) -> Snapshot:
        """Quotes of all pairs at these values (at their entries where ``half`` is None), and every conversion."""
        at, own = _NOON + timedelta(minutes=minute), self.account_currency
        quotes = {}
        for pair, average in zip(self.pairs, self.average):
            mid, spread = (average, 0.0) if half is None else (value[pair.base] / value[pair.quote], half(pair))
            quotes[pair] = Quote(to_decimal(mid * (1 - spread)), to_decimal(mid * (1 + spread)), at)
        for currency in {c for pair in self.pairs for c in pair} - {own}:
            if not {Pair(currency, own), Pair(own, currency)} & quotes.keys():
                price = to_decimal(float(value[currency]))
                quotes[Pair(currency, own)] = Quote(price, price, at)
        return Snapshot(at, quotes)


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{what} is {value!r}", hint="a finite number")
    return number


def _price(known: Mapping[str, float], currency: str) -> float:
    if currency not in known:
        raise MissingDataError(
            f"no price for {currency}", hint=f"add {currency} to prices: account currency per unit of it"
        )
    return known[currency]


def _shifts(
    shock: Scenario, exposure: Mapping[str, float], account_currency: str, missing: Missing
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Each currency's move against the account currency, and the currencies the scenario has no move for."""
    if shock.by_side is not None:
        long, short = shock.by_side
        return {c: long if e > 0 else short if e < 0 else 0.0 for c, e in exposure.items()}, ()
    needed = {*exposure, account_currency} if exposure else set()
    known = {**shock.moves, "USD": 0.0}
    unknown = tuple(sorted(needed - known.keys()))
    if unknown and missing == "report":
        return {}, unknown
    own = 1 + known.get(account_currency, 0.0)
    return {c: (1 + known.get(c, 0.0)) / own - 1 for c in exposure}, unknown


def stress(
    book: Mapping[str, float] | Mapping[str, Position] | pd.Series,
    *,
    prices: Mapping[str, float] | pd.Series | None = None,
    nav: float = DEFAULT_CASH,
    account_currency: str = "USD",
    scenarios: Sequence[Scenario] | None = None,
    costs: Costs | None = RETAIL,
    margin_rate: float = 1 / 30,
    closeout_level: float = 0.5,
    stop: float | None = 0.05,
    missing: Missing = "report",
) -> StressReport:
    """What each scenario would do to a book held now.

    Args:
        book: weights by currency (signed fractions of NAV, entered at the prices of now), or a
            :class:`~fxcarry.model.Position` by pair name, with its own average entry price.
        prices: account currency per unit of each currency; needed for positions only, since weights are fractions.
        nav: NAV before the shock, open P&L included, in account currency, > 0.
        scenarios: default: all built-in ones.
        costs: half spread (times the scenario's multiplier), slippage and commission of whatever is closed after the
            gap, all taken in its price; None = closed at mid.
        margin_rate, closeout_level: margin / notional, and the share of the required margin at which the venue closes
            everything.
        stop: the native stops' distance from each average entry as a fraction, None = no stops. A gap fills them at
            the price after it, which is worse than their level: on one gap a stop saves nothing.
        missing: what to do where a scenario has no move for a currency of the book or the account: "report" the row as
            not computable, or take the currency as unmoved against USD ("zero") and say so.

    Raises ConfigError for a bad argument and for a book that is at its close-out level already, MissingDataError for a
    currency without a price or without a spread.
    """
    account_currency = check_currency(account_currency, "account_currency")
    nav = _number(nav, "nav")
    if nav <= 0:
        raise ConfigError(f"nav is {nav}", hint="account currency, > 0")
    if not 0 < _number(margin_rate, "margin_rate") <= 1:
        raise ConfigError(f"margin_rate is {margin_rate}", hint="margin / notional, such as 1/30")
    if _number(closeout_level, "closeout_level") < 0:
        raise ConfigError(f"closeout_level is {closeout_level}", hint="a share of the required margin, such as 0.5")
    if stop is not None and not 0 < _number(stop, "stop") < 1:
        raise ConfigError(f"stop is {stop}", hint="a fraction such as 0.05, or None for no stops")
    if missing not in ("report", "zero"):
        raise ConfigError(f"missing is {missing!r}", hint='"report" or "zero"')
    held = _Book.of(book, prices, nav, account_currency)
    required = held.gross(held.value) * margin_rate
    if required and nav <= closeout_level * required:
        raise ConfigError(
            f"the book is at its close-out level already: NAV {nav:,.2f} is {nav / required:.2f} of its margin",
            hint="a venue would have closed it; stress a smaller book",
        )
    if nav - held.open_profit() <= 0:
        raise ConfigError(
            f"the book's open profit of {held.open_profit():,.2f} is not below NAV {nav:,.2f}",
            hint="the simulated account needs cash > 0; check nav, prices and average prices",
        )
    chosen = SCENARIOS if scenarios is None else tuple(scenarios)
    terms = (costs or Costs.none(), margin_rate, closeout_level, stop)
    rows = [_row(held, shock, missing, *terms) for shock in chosen]
    rows.sort(key=lambda row: (math.inf if row.nav_after is None else row.nav_after, row.scenario.name))
    closing = "at mid, free of cost" if costs is None or costs.is_free else "on the closing side, costs included"
    stops = "No stops." if stop is None else f"Stops {stop:.1%} from entry fill at the price after the gap."
    return StressReport(
        nav=nav,
        account_currency=account_currency,
        rows=tuple(rows),
        assumptions=(
            f"NAV before {nav:,.2f} {account_currency}. Every scenario is one gap with nothing tradable between; moves "
            "are against USD; no interest is booked. P&L: the whole book re-marked, before the venue acts.",
            f"{stops} Margin {margin_rate:.2%} of notional, close-out at NAV <= {closeout_level:.0%} of it. "
            f"What closes is closed {closing}. ratio: NAV / required margin at the moved prices. NAV below 0 is owed.",
        ),
    )


def _row(
    book: _Book,
    shock: Scenario,
    missing: Missing,
    costs: Costs,
    margin_rate: float,
    closeout_level: float,
    stop: float | None,
) -> StressRow:
    exposure = book.exposures()
    shifts, unknown = _shifts(shock, exposure, book.account_currency, missing)
    if unknown and missing == "report":
        return StressRow(scenario=shock, missing=unknown)
    by_currency = {c: e * shifts[c] for c, e in exposure.items()}
    pnl = sum(by_currency.values())
    moved = {c: v * (1 + shifts.get(c, 0.0)) for c, v in book.value.items()}
    margin = book.gross(moved) * margin_rate
    after, is_closed_out = book.nav, False
    stops: tuple[str, ...] = ()
    remaining: dict[str, float] = {}
    if book.pairs:

        def half(pair: Pair) -> float:
            charges = (costs.slippage_bps + costs.commission_bps) * 1e-4
            share = costs.half_spread(pair) * shock.spread_multiplier + charges
            if share >= 1:
                raise ConfigError(
                    f"{pair} would be closed {share:.0%} below mid in scenario {shock.name}",
                    hint="lower spread_bps or spread_multiplier",
                )
            return share

        broker = _opened(book, margin_rate)
        for pair, units, average in zip(book.pairs, book.units, book.average):
            if stop is not None:
                broker.set_stop(str(pair), to_decimal(average * (1 - stop if units > 0 else 1 + stop)))
        broker.closeout_level = closeout_level
        broker.sync(book.snapshot(2, moved, half))
        after = broker.nav
        stops = tuple(name for name, kind, _ in broker.events if kind == "stop")
        is_closed_out = any(kind == "margin close-out" for _, kind, _ in broker.events)
        remaining = {name: float(p.units) for name, p in broker.get_positions().items()}
    return StressRow(
        scenario=shock,
        pnl=pnl,
        change=pnl / book.nav,
        by_currency=by_currency,
        margin_used=margin,
        margin_available=book.nav + pnl - margin,
        margin_ratio=(book.nav + pnl) / margin if margin else None,
        stops=stops,
        is_closed_out=is_closed_out,
        nav_after=after,
        remaining=remaining,
        assumed_zero=unknown,
    )


def _opened(book: _Book, margin_rate: float) -> SimBroker:
    """A venue that holds the book at its entry prices and stands at the prices before the shock, without stops yet."""
    broker = SimBroker(
        cash=book.nav - book.open_profit(),
        account_currency=book.account_currency,
        margin_rate=margin_rate,
        closeout_level=0.0,
    )
    broker.get_instruments(book.pairs)
    for pair, units in zip(book.pairs, book.units):
        broker.place_market_order(Order(client_id=f"open-{pair}", instrument=str(pair), units=to_decimal(units)))
    broker.sync(book.snapshot(0, book.value, None))
    broker.sync(book.snapshot(1, book.value, lambda pair: 0.0))
    return broker


def stress_of(
    source: BacktestResult | str | Strategy,
    *,
    history: MarketHistory | None = None,
    universe: UniverseLike | None = None,
    account_currency: str | None = None,
    start: Day | None = None,
    end: Day | None = None,
    scenarios: Sequence[Scenario] | None = None,
    margin_rate: float = 1 / 30,
    closeout_level: float = 0.5,
    stop: float | None = 0.05,
    missing: Missing = "report",
) -> StressReport:
    """Stress the book held at the end of a backtest, at its own entry prices, NAV and costs.

    ``source`` is a :class:`BacktestResult`, or a strategy (a name or a callable), which is then run over ``history``
    (default: the configured feed) from ``start`` to ``end`` for ``universe`` without risk rules: what it would hold,
    not what a halt has left of it. The other arguments are those of :func:`stress`.
    """
    if isinstance(source, BacktestResult):
        if any(given is not None for given in (history, universe, account_currency, start, end)):
            raise ConfigError("a result has its own history, universe, currency and period", hint="leave them out")
        result = source
    else:
        result = backtest(
            source, history=history, universe=universe, account_currency=account_currency, start=start, end=end,
            rules=[],
        )  # fmt: skip
    ticks, log = result.columns, result.journal.log
    assert log is not None
    prices: dict[str, float] = {}
    held: dict[str, Position] = {}
    for j, name in enumerate(log.names):
        pair, units = Pair.parse(name), float(ticks.units[-1, j])
        if units:
            prices |= {pair.base: float(ticks.base_value[-1, j]), pair.quote: float(ticks.conversion[-1, j])}
            average = to_decimal(float(ticks.average[-1, j]))
            held[name] = Position(instrument=name, units=to_decimal(units), average_price=average)
    return stress(
        held,
        prices=prices,
        nav=float(ticks.nav[-1]),
        account_currency=result.account_currency,
        scenarios=scenarios,
        costs=result.costs,
        margin_rate=margin_rate,
        closeout_level=closeout_level,
        stop=stop,
        missing=missing,
    )


def crash_panel(
    result: BacktestResult, no_rules: BacktestResult | None = None, scenarios: Sequence[Scenario] | None = None
) -> dict[str, Any]:
    """:func:`stress_of` the book at the end of a run as plain JSON: a halted run, which is flat, is told by
    ``no_rules``, the same run without rules.

    Keys: ``strategy``, ``date``, ``has_rules``, ``weights`` (fractions of NAV, only what is held), and those of
    :meth:`StressReport.to_dict`; or, where the book cannot be stressed, a reason as ``missing``, else None.
    """
    chosen = result if no_rules is None or result.weights.iloc[-1].any() else no_rules
    panel = {
        "strategy": chosen.strategy,
        "date": str(chosen.books.day[-1]),
        "has_rules": bool(chosen.rules),
        "weights": {str(c): float(w) for c, w in chosen.weights.iloc[-1].items() if w},
        "missing": None,
    }
    try:
        return {**panel, **stress_of(chosen, scenarios=scenarios).to_dict()}
    except FxCarryError as error:
        return {**panel, "missing": error.message}


@attrs.frozen(kw_only=True, eq=False)
class Replay:
    """A book held through a past scenario on the real daily path, beside the one-gap number.

    ``weights`` were entered at the prices of ``result``'s second day; ``change`` is the P&L until the scenario's end as
    a fraction of the opening NAV, with ``spot``, ``carry`` and ``cost`` its parts (translation and rounding are the
    rest); ``lowest`` is the lowest end-of-day NAV on the way as a fraction of the opening one, less 1; ``stops`` are
    the instruments stopped out; ``gap`` is the same book in one gap.
    """

    scenario: Scenario
    weights: Mapping[str, float]
    change: float
    spot: float
    carry: float
    cost: float
    lowest: float
    stops: tuple[str, ...]
    is_closed_out: bool
    gap: StressRow
    result: BacktestResult


class _EnterOnce:
    """Ask for the weights until they are held, then for whatever is held: what is stopped out stays out."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights
        self.entered: set[str] = set()

    def __call__(self, view: MarketView, account: Account) -> dict[str, float]:
        held = account.current_weights
        self.entered |= held.keys() & self.weights.keys()
        return {c: held.get(c, 0.0) if c in self.entered else w for c, w in self.weights.items()}


def replay(
    book: Mapping[str, float] | pd.Series | str | Strategy,
    scenario: Scenario,
    history: MarketHistory,
    *,
    universe: UniverseLike | None = None,
    nav: float = DEFAULT_CASH,
    account_currency: str = "USD",
    costs: Costs | None = RETAIL,
    markup: float = DEFAULT_MARKUP,
    stop: float | None = 0.05,
    missing: Missing = "report",
) -> Replay:
    """Hold a book through a past scenario on the quotes of ``history``, with interest, costs and native stops.

    ``book`` is weights by currency, or a strategy: then it is what the strategy held on the weekday before the
    scenario's start, run without rules over ``universe`` for the 70 days before. The book is decided on that weekday,
    filled at the next quote and never rebalanced. The venue is that of :func:`~fxcarry.backtest.backtest` (margin 1/30,
    close-out at half).

    Raises ConfigError for a scenario that never happened and for an empty book, DataError or MissingDataError where the
    history does not cover the scenario or lacks a price or rate.
    """
    if scenario.start is None or scenario.end is None:
        raise ConfigError(f"scenario {scenario.name} has no dates to replay", hint="choose a past one, or use stress()")
    eve = date.fromisoformat(str(np.busday_offset(scenario.start, -1, roll="forward")))  # the weekday before
    if isinstance(book, str) or callable(book):
        start = eve - timedelta(days=70)
        before = backtest(
            book, history=history, universe=universe, start=start, end=eve, costs=costs, markup=markup, cash=nav,
            account_currency=account_currency, rules=[],
        )  # fmt: skip
        entries: dict[Any, Any] = before.weights.iloc[-1].to_dict()
    else:
        entries = dict(book)
    weights = {check_currency(c, "weights"): _number(w, f"the weight of {c}") for c, w in entries.items()}
    weights = {c: w for c, w in weights.items() if w and c != account_currency}
    if not weights:
        raise ConfigError(f"there is no position to replay {scenario.name} with", hint="give weights that are not zero")
    result = backtest(
        _EnterOnce(weights), history=history, universe=tuple(weights), start=eve, end=scenario.end, costs=costs,
        markup=markup, cash=nav, account_currency=account_currency, rebalance="daily",
        rules=[] if stop is None else [StopLoss(stop)],
    )  # fmt: skip
    reasons = result.trades[["instrument", "reason"]].to_numpy().tolist()
    if not reasons:
        raise DataError(f"{scenario.name} cannot be replayed: no quote filled the book", hint="check the history")
    parts = result.attribution.sum() / nav
    path = result.nav / nav - 1
    gap = stress(
        weights, nav=nav, account_currency=account_currency, scenarios=[scenario], costs=costs, stop=stop,
        missing=missing,
    )  # fmt: skip
    return Replay(
        scenario=scenario,
        weights=weights,
        change=float(path.iloc[-1]),
        spot=float(parts["spot"]),
        carry=float(parts["carry"]),
        cost=float(parts["cost"]),
        lowest=float(path.min()),
        stops=tuple(name for name, reason in reasons if reason in ("stop", "stop loss")),
        is_closed_out=any(reason == "margin close-out" for _, reason in reasons),
        gap=gap.rows[0],
        result=result,
    )
