"""The HTML page: what to say about each run, for ``template.html`` to lay out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from fxcarry import statistics
from fxcarry.errors import ConfigError
from fxcarry.ledger import Attribution
from fxcarry.model import Action, FloatArray, TradingState
from fxcarry.report import text
from fxcarry.report.card import sentences, worst_days
from fxcarry.report.charts import Days, bar_chart, line_chart, weight_chart

if TYPE_CHECKING:
    from jinja2 import Environment

    from fxcarry.backtest import BacktestResult

_PARTS = ("spot", "carry", "cost", "other")
_COLORS = 8


def page(
    results: Sequence[BacktestResult],
    others: Mapping[str, Mapping[str, BacktestResult]],
    cards: Mapping[str, Mapping[str, Any] | None],
    crashes: Mapping[str, Mapping[str, Any] | None],
) -> str:
    """The page about ``results``, their variants, report cards and crash panels.

    Everything that is not a chart is escaped.
    """
    if not results:
        raise ConfigError("there is no result to report", hint="run at least one strategy")
    template = environment().get_template("template.html")
    sections = [
        _section(r, others.get(r.strategy, {}), cards.get(r.strategy), crashes.get(r.strategy)) for r in results
    ]
    return template.render(
        title=f"{sections[0]['name']}: carry backtest" if len(sections) == 1 else f"{len(sections)} carry strategies",
        sections=sections,
        overview=_overview(results) if len(results) > 1 else None,
        definitions=text.definitions(),
        notes=list(dict.fromkeys(note for r in results for note in r.notes)),
        disclaimer=text.DISCLAIMER,
    )


@cache
def environment() -> Environment:
    """What lays out a page: it finds ``template.html``, whose blocks ``title`` and ``main`` another page may replace,
    and escapes everything that is not a chart. There is one, for it compiles a template once."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    found = Environment(
        loader=FunctionLoader(lambda name: files("fxcarry.report").joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["pct"] = _percent
    found.filters["minus"] = _minus
    return found


def _overview(results: Sequence[BacktestResult]) -> dict[str, Any]:
    lines = {f"c{i % _COLORS} n{i}": (r.books.day, _growth(r)) for i, r in enumerate(results)}
    legend = [(name, text.printable(r.strategy), _growth(r)[-1]) for name, r in zip(lines, results)]
    return {"chart": _markup(line_chart(lines, label="Change of NAV of each strategy")), "legend": legend}


def _section(
    result: BacktestResult,
    others: Mapping[str, BacktestResult],
    card: Mapping[str, Any] | None,
    crash: Mapping[str, Any] | None,
) -> dict[str, Any]:
    one = text.summary(result, others)
    effect = text.interest_effect(one)
    return {
        "name": text.printable(result.strategy),
        "one": one,
        "period": text.period(one),
        "effect": effect,
        "cards": _cards(one),
        "rows": [(label, text.figures(run), run["halted"]) for label, run in text.runs(one)],
        "venues": list(one["venues"]),
        "venue_rows": [
            (
                label.strip(),
                [
                    (_minus(text.percent(r["annual_return"])), _minus(text.ratio(r["sharpe"], r["sharpe_se"])))
                    if r
                    else ("n/a", "")
                    for r in by
                ],
            )
            for label, by in text.venue_rows(one)
        ],
        **_charts(result, others),
        "months": _months(result),
        "instruments": _instruments(result),
        "worst": [day for day in worst_days(result) if day["return"] < 0],
        "events": _events(result),
        "verdicts": _verdicts(result),
        "evidence": [] if card is None else [(label, _minus_signs(line)) for label, line in sentences(card)],
        "crash": crash,
        "bad_times": _bad_times(result),
        "settings": [
            ("Venue", text.venue(one)),
            ("Costs", text.costs(one)),
            ("Interest", text.interest(one)),
            ("Cash", text.cash(one)),
            ("Rules", text.rules(one)),
        ],
    }


def _cards(one: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Headline figures: (name, value, what else to know)."""
    figures = text.figures(one)
    if one["sharpe"] is None:
        likely = "no volatility, so no ratio"
    else:
        low, high = (one["sharpe"] + side * 1.96 * one["sharpe_se"] for side in (-1, 1))
        likely = _minus(f"95% range {low:.2f} to {high:.2f}")
    currency = one["account_currency"]
    return [
        ("Return a year", _minus(figures["return"]), f"compound {_percent(one['cagr'])}"),
        ("Sharpe ± SE", _minus(figures["sharpe"]), likely),
        ("Max drawdown", _minus(figures["max_drawdown"]), f"volatility {figures['volatility']} a year"),
        ("Final NAV", f"{one['final_nav']:,.0f} {currency}", f"from {one['cash']:,.0f} {currency}"),
        ("Spot", _minus(figures["spot"]), "a year, from prices"),
        ("Carry", _minus(figures["carry"]), "a year, interest booked"),
        ("Cost", _minus(figures["cost"]), f"a year; turnover {figures['turnover']}× NAV"),
        ("Win rate", figures["win_rate"], f"of {one['round_trips']:,} closed round trips"),
    ]


def _charts(result: BacktestResult, others: Mapping[str, BacktestResult]) -> dict[str, Any]:
    days = result.books.day
    hidden = () if result.rules else ("no_rules",)  # it is the run itself
    shown = {"net": result, **{k: others[k] for k in text.VARIANTS if k in others and k not in hidden}}
    growth = {name: (r.books.day, _growth(r)) for name, r in shown.items()}
    falls = {name: (r.books.day, _drawdown(r)) for name, r in shown.items() if name in ("net", "no_rules")}
    halts = [
        (np.datetime64(f"{at:%Y-%m-%d}"), f"halted {at:%Y-%m-%d} {state.latch}")
        for at, state in result.journal.states
        if state.trading is TradingState.HALTED
    ][:1]
    parts = _parts(result)
    total = {"total": (days, np.sum(list(parts.values()), 0).cumsum() / result.cash)}
    sums = {name: (days, column.cumsum() / result.cash) for name, column in parts.items()}
    years, starts = _periods(days, "Y")
    opening = _opening(result, starts)
    yearly = {name: np.add.reduceat(column, starts) / opening for name, column in parts.items()}

    names = text.VARIANTS | {"net": "with rules" if result.rules else "without rules"}

    def legend(lines: Mapping[str, tuple[Days, FloatArray]], worst: bool = False) -> list[tuple[str, str, float]]:
        return [(n, names.get(n, n), float(v.min() if worst else v[-1])) for n, (_, v) in lines.items()]

    return {
        "equity": _markup(line_chart(growth, label="Change of NAV since the start", marks=halts)),
        "equity_legend": legend(growth),
        "drawdown": _markup(line_chart(falls, label="Drawdown of NAV", height=190, is_filled=True)),
        "drawdown_legend": legend(falls, worst=True),
        "sources": _markup(line_chart(total | sums, label="Cumulative spot, carry, cost and other", marks=halts)),
        "sources_legend": legend(total | sums),
        "yearly": _markup(bar_chart([str(y) for y in years], yearly, label="Spot, carry, cost and other by year")),
        "yearly_legend": [(name, name, None) for name in _PARTS],
        "weights": _markup(
            weight_chart(days, result.weights.to_numpy(), result.universe, label="Net exposure by currency over time")
        ),
        "largest_weight": float(np.abs(result.weights.to_numpy()).max()),
    }


def _months(result: BacktestResult) -> dict[str, Any]:
    """Monthly returns, a row a year: (year, twelve returns or None, the year's return)."""
    nav = result.books.nav
    months, starts = _periods(result.books.day, "M")
    returns = nav[np.r_[starts[1:], len(nav)] - 1] / _opening(result, starts) - 1
    years, first = _periods(result.books.day, "Y")
    totals = nav[np.r_[first[1:], len(nav)] - 1] / _opening(result, first) - 1
    known = {int(m.astype(int)): float(r) for m, r in zip(months, returns)}
    rows = [
        (str(y), [known.get(12 * int(y.astype(int)) + m) for m in range(12)], float(total))
        for y, total in zip(years, totals)
    ]
    return {"rows": rows, "largest": float(np.abs(returns).max()) or 1.0}


def _instruments(result: BacktestResult) -> dict[str, Any]:
    """Money by instrument: (currency, instrument, fills, spot, carry, cost, total), the best first."""
    books = result.books
    fills = Counter(result.trades["instrument"])
    rows: list[tuple[Any, ...]] = []
    for j, name in enumerate(books.names):
        money = [float(c[j]) for c in (books.spot_by_instrument, books.carry_by_instrument, books.cost_by_instrument)]
        currency = "/".join(result.universe[i] for i in np.flatnonzero(result.exposure[:, j]))
        rows.append((currency, name, fills[name], *money, sum(money)))
    rows.sort(key=lambda row: -row[-1])
    total = [sum(row[i] for row in rows) for i in range(2, 7)]
    return {"rows": rows, "total": total}


def _events(result: BacktestResult) -> list[tuple[str, str, str]]:
    """What the risk rules did to the run: (date, kind, what), in order of time."""
    events, trading = [], TradingState.ACTIVE
    for at, state in result.journal.states:
        if state.trading is not trading:
            trading = state.trading
            until = f" until {state.halt_until:%Y-%m-%d %H:%M} UTC" if state.halt_until else ""
            what = {
                TradingState.ACTIVE: "trading again",
                TradingState.REDUCING: f"no new positions{until}",
                TradingState.HALTED: f"halted for good: {state.latch}; flat from then on",
            }[trading]
            events.append((f"{at:%Y-%m-%d}", "halt" if trading is not TradingState.ACTIVE else "resume", what))
    closed: dict[tuple[str, str], list[str]] = {}
    trades = result.trades
    for at, instrument, reason in zip(trades["at"], trades["instrument"], trades["reason"]):
        if reason != "rebalance":
            closed.setdefault((f"{at:%Y-%m-%d}", reason), []).append(instrument)
    events += [(day, reason, ", ".join(dict.fromkeys(names))) for (day, reason), names in closed.items()]
    return sorted(events, key=lambda event: event[0])


def _verdicts(result: BacktestResult) -> list[tuple[str, str, str, int]]:
    """How many reviews each rule changed: (rule, code, action, reviews)."""
    bites: Counter[tuple[str, str, str]] = Counter()
    for _, decision in result.journal.decisions:
        bites.update({(v.rule, v.code, v.action.name) for v in decision.verdicts if v.action > Action.ALLOW})
    return [(*key, count) for key, count in bites.most_common()]


def _bad_times(result: BacktestResult) -> list[tuple[str, str, str]]:
    """How bad bad times look: (name, value, what it means)."""
    nav = result.books.nav
    returns = nav[1:] / nav[:-1] - 1
    if not returns.any():
        return []
    rows = [
        ("Sortino ratio", _number(statistics.sortino(returns, text.PERIODS)), "return over downside deviation"),
        ("Calmar ratio", _number(statistics.calmar(returns, text.PERIODS)), "compound return over max drawdown"),
        ("Longest time under water", f"{statistics.longest_under_water(returns):,} days", "trading days below a high"),
        (
            "Expected shortfall 99%",
            _percent(-statistics.expected_shortfall(returns, 0.99)),
            "mean of the worst 1% of days",
        ),
    ]
    return [(name, _minus(value), note) for name, value, note in rows]


def _parts(result: BacktestResult) -> dict[str, FloatArray]:
    """Each day's ΔNAV in account currency by the parts shown; other = translation + rounding."""
    columns = {term: getattr(result.books, term) for term in Attribution.TERMS}
    return {p: columns[p] for p in _PARTS[:3]} | {"other": columns["translation"] + columns["rounding"]}


def _growth(result: BacktestResult) -> FloatArray:
    growth: FloatArray = result.books.nav / result.cash - 1
    return growth


def _drawdown(result: BacktestResult) -> FloatArray:
    nav = result.books.nav
    drawdown: FloatArray = nav / np.maximum(np.maximum.accumulate(nav), result.cash) - 1
    return drawdown


def _periods(days: Days, unit: str) -> tuple[Any, Any]:
    """The years ("Y") or months ("M") of ``days`` and the index of the first day in each."""
    return np.unique(days.astype(f"datetime64[{unit}]"), return_index=True)


def _opening(result: BacktestResult, starts: Any) -> FloatArray:
    """NAV before each of the days ``starts``."""
    opening: FloatArray = np.r_[result.cash, result.books.nav][starts]
    return opening


def _percent(value: float | None, digits: int = 2, signed: bool = True) -> str:
    return _minus(text.percent(value, digits, signed=signed))


def _minus(number: str) -> str:
    return number.replace("-", "−")


def _minus_signs(sentence: str) -> str:
    """Numbers below zero; a date and a hyphen stay what they are."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", sentence)


def _number(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.2f}"


def _markup(svg: str) -> Any:
    """A chart for the template; charts escape what they are given."""
    from markupsafe import Markup

    return Markup(svg)
