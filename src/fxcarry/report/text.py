"""Plain text: the comparison table, what its figures mean, and the summary they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fxcarry.errors import ConfigError
from fxcarry.venues import venues

if TYPE_CHECKING:
    from rich.table import Table

    from fxcarry.backtest import BacktestResult

PERIODS = 260
"""Trading days a year: every weekday has a NAV, and 260 is what annual figures are made with."""

VARIANTS = {
    "no_rules": "without rules",
    "routed": "without rules, cheapest pairs",
    "gross": "without rules, no mark-up",
    "spot_only": "without rules, spot only (no interest)",
    "revised": "without rules, revised rates (hindsight)",
}
"""The runs a result is compared with, by their key in a summary: each label says what was left out."""

DISCLAIMER = (
    "Past results promise nothing. For education only, no advice. "
    "Trading FX on margin can lose all of your money, and more than you deposited."
)


def summary(
    result: BacktestResult, others: Mapping[str, BacktestResult], card: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """``result.stats``, and the same figures of each other run: :func:`fxcarry.backtest.variants` under ``variants``,
    :func:`fxcarry.backtest.by_venue` under ``venues`` by venue and way (``direct``, ``routed``).

    ``card`` is the :func:`~fxcarry.evidence.report_card`, None where none was made. Annual figures are decimals per
    year, not percent; a figure that does not exist is None.
    """
    keep = (
        "annual_return", "volatility", "sharpe", "sharpe_se", "max_drawdown", "win_rate", "turnover", "spot", "carry",
        "cost", "translation", "rounding", "final_nav", "halted",
    )  # fmt: skip
    figures = {name: {k: r.stats[k] for k in keep} for name, r in others.items()}
    variants = {name: one for name, one in figures.items() if name in VARIANTS}
    at: dict[str, dict[str, Any]] = {}
    for name, one in figures.items():
        place, colon, way = name.partition(":")
        if colon:
            at.setdefault(place, {})[way] = one
    return {**result.stats, "variants": variants, "venues": at, "card": card}


def comparison_table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """One table over all strategies: a row as traded, then a row for each variant under ``variants``.

    Returns and their parts are percent a year, signed; spot + carry + cost + other = return. A Sharpe ratio always
    comes with its standard error. Rows that a rule halted for good are marked and explained below. It fits 100 columns.
    Raises ConfigError if there is nothing to show.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    _check_any(summaries)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False, caption_justify="left", show_edge=False)
    table.add_column("strategy", overflow="fold")
    heads = ("return", "vol", "Sharpe ± SE", "max DD", "win\nrate", "turn-\nover", "spot", "carry", "cost", "other")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True, vertical="top")
    halts = []
    for n, one in enumerate(summaries):
        if n:
            table.add_row()
        name = printable(str(one["strategy"]))
        table.add_row(Text(name, style="bold"))
        for label, run in runs(one):
            if run["halted"]:
                halts.append(f"* {name}, {label}: halted {run['halted']}, flat from then on")
            cell = label.replace(" (", "\n(") + (" *" if run["halted"] else "")
            table.add_row(Text(cell), *figures(run).values())
    if halts:
        table.caption = Text("\n".join(halts))
    return table


def render(summaries: Sequence[Mapping[str, Any]], width: int = 100) -> str:
    """The comparison table and its footer as plain text, no line longer than ``width`` (80 or more) columns."""
    import textwrap
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=width, color_system=None, force_terminal=False, legacy_windows=False)
    console.print(comparison_table(summaries))
    table = "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]
    wrapped = [textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False) for line in footer(summaries)]
    return "\n".join([table, "", *_venue_table(summaries), *wrapped, ""])


def _venue_table(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return and Sharpe ratio on the terms of each venue, a line for each strategy and way of holding it."""
    places = list(dict.fromkeys(place for one in summaries for place in one.get("venues", {})))
    if not places:
        return []
    lines = ["By venue, no rules".ljust(20) + "".join(place.rjust(20) for place in places)]
    for one in summaries:
        for label, by in venue_rows(one):
            cells = (f"{percent(r['annual_return'])} {ratio(r['sharpe'], r['sharpe_se'])}" if r else "n/a" for r in by)
            lines.append(label[:20].ljust(20) + "".join(cell.rjust(20) for cell in cells))
    return [*lines, ""]


def venue_rows(one: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any] | None]]]:
    """The rows of one strategy by venue: as it is, and in the cheapest pairs."""
    at = one.get("venues", {})
    ways = {"direct": printable(str(one["strategy"])), "routed": "  cheapest pairs"}
    return [(label, [by.get(way) for by in at.values()]) for way, label in ways.items()] if at else []


def footer(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the table must know, a sentence or two a line: period, costs, definitions, halts, data, risk.

    Where strategies differ in a setting, each is named with its own. Raises ConfigError if there is nothing to show.
    """
    _check_any(summaries)

    def shared(text: Callable[[Mapping[str, Any]], str]) -> str:
        texts = [text(s) for s in summaries]
        if len(set(texts)) == 1:
            return texts[0]
        return " | ".join(f"{printable(str(s['strategy']))}: {t}" for s, t in zip(summaries, texts))

    lines = [
        f"Run: {shared(period)}.",
        *([f"Venue: {shared(venue)}."] if any(s.get("venue") for s in summaries) else []),
        f"Costs: {shared(costs)}.",
        f"Interest: {shared(interest)}.",
        f"Cash: {shared(cash)}.",
        f"Rules: {shared(rules)}.",
        *definitions(),
    ]
    for one in summaries:
        told = [
            interest_effect(one),
            rule_effect(one),
            f"Its rules halted it for good: {one['halted']}." if one["halted"] else "",
        ]
        if any(told):
            lines.append(f"{printable(str(one['strategy']))}: {' '.join(filter(None, told))}")
    notes = dict.fromkeys(note for s in summaries for note in s["notes"])
    return [*lines, *(f"Data: {note}" for note in notes), DISCLAIMER]


# The sentences; the HTML page says the same


def runs(one: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The rows of one strategy: (label, figures), as traded first."""
    has_rules = bool(one["rules"])
    rows: list[tuple[str, Mapping[str, Any]]] = [("with rules" if has_rules else "without rules", one)]
    variants = one.get("variants", {})
    return rows + [
        (label, variants[key])
        for key, label in VARIANTS.items()
        if key in variants and (has_rules or key != "no_rules")
    ]


def figures(run: Mapping[str, Any]) -> dict[str, str]:
    """The figures of one row, formatted, by column."""
    return {
        "return": percent(run["annual_return"]),
        "volatility": percent(run["volatility"], 1, signed=False),
        "sharpe": ratio(run["sharpe"], run["sharpe_se"]),
        "max_drawdown": percent(run["max_drawdown"], 1),
        "win_rate": percent(run["win_rate"], 0, signed=False),
        "turnover": f"{run['turnover']:.2f}",
        "spot": percent(run["spot"]),
        "carry": percent(run["carry"]),
        "cost": percent(run["cost"]),
        "other": percent(run["translation"] + run["rounding"]),
    }


def period(one: Mapping[str, Any]) -> str:
    """From when to when, of what, in which currency."""
    return (
        f"{one['start']} to {one['end']}, rebalanced {one['rebalance']}; universe {', '.join(one['universe'])}; "
        f"account currency {one['account_currency']}"
    )


def costs(one: Mapping[str, Any]) -> str:
    """The trading costs in basis points, for the currencies of the universe."""
    model = one["costs"]
    if model is None:
        return "none, every fill is at mid"
    spreads = [f"{c} {model['spread_bps'][c]:g}" for c in one["universe"] if model["spread_bps"].get(c)]
    times = "" if model["spread_multiplier"] == 1 else f", times {model['spread_multiplier']:g}"
    return (
        f"full spread against USD in basis points {', '.join(spreads) or 'none'}{times} (a fill pays half; a cross "
        f"pays both legs); slippage {model['slippage_bps']:g} bp, commission {model['commission_bps']:g} bp of notional"
    )


def venue(one: Mapping[str, Any]) -> str:
    """The cost profile and where its numbers come from."""
    name = one.get("venue")
    if name is None:
        return "none chosen"
    if name not in venues():
        return printable(str(name))
    profile = venues()[name]
    sources = "; ".join(f"{what}: {source}" for what, source in profile.sources.items())
    return f"{name}, {profile.summary}. Sources: {sources}"


def interest(one: Mapping[str, Any]) -> str:
    """What financing books."""
    if one["markup"] is not None:
        return (
            f"booked each night on what is held, at the rates of the data; the broker keeps a mark-up of "
            f"{percent(one['markup'], signed=False)} a year on each side"
        )
    if one["carry"] == 0:
        return "not booked"
    return "booked as the venue does" if one.get("venue") else "booked by a financing model of its own"


def cash(one: Mapping[str, Any]) -> str:
    """The opening balance, and that it earns nothing."""
    return f"{one['cash']:,.0f} {one['account_currency']} at the start; it earns nothing, so returns are excess returns"


def rules(one: Mapping[str, Any]) -> str:
    """The names of the risk rules in force."""
    return printable(", ".join(one["rules"])) or "none"


def definitions() -> list[str]:
    """How the figures are made."""
    return [
        f"Annual figures: return is the mean daily change of NAV (17:00 New York) × {PERIODS} weekdays a year, "
        f"volatility (vol) its standard deviation × √{PERIODS}. Max DD is the deepest fall of NAV below its highest "
        "value so far.",
        "Sharpe ± SE: return / volatility with one standard error (Mertens 2002: allows for skew and fat tails).",
        "Win rate: share of closed round trips that made money, financing and cost included. "
        "Turnover: ½ Σ|Δw| a year, in multiples of NAV.",
        "Cheapest pairs: the same exposures, held in crosses where one pair pays the mark-up that two would.",
        "Spot + carry + cost + other = return. Carry is interest booked, after the mark-up. Other is translation (open "
        "profit held in a foreign currency) and rounding to the cent.",
    ]


def rule_effect(one: Mapping[str, Any]) -> str:
    """How often the rules changed what the strategy wanted; empty without rules."""
    changes = one.get("rule_changes")
    if not one["rules"] or not changes or not changes["targets"]:
        return ""
    if not changes["changed"]:
        return f"The rules changed none of {changes['targets']} targets."
    share = ", ".join(f"{printable(name)} {count}" for name, count in changes["by_rule"].items())
    return (
        f"The rules changed {changes['changed']} of {changes['targets']} targets ({share}): with rules it is another "
        "portfolio."
    )


def interest_effect(one: Mapping[str, Any]) -> str:
    """How much leaving interest out changes the result; empty where that was not run."""
    variants = one.get("variants", {})
    if not {"gross", "spot_only"} <= variants.keys():
        return ""
    full, bare = variants["gross"]["annual_return"], variants["spot_only"]["annual_return"]
    steps = []
    if one["markup"]:
        net = variants["no_rules"]["annual_return"] if "no_rules" in variants else one["annual_return"]
        steps.append(f"after the mark-up it is {percent(net)}")
    if one["rules"]:
        steps.append(f"with the rules {percent(one['annual_return'])}")
    rest = f" With interest, {', '.join(steps)}." if steps else ""
    return f"Leaving interest out turns {percent(full)} a year into {percent(bare)} (no rules, no mark-up).{rest}"


# Numbers and names


def percent(value: float | None, digits: int = 2, *, signed: bool = True) -> str:
    """``0.0114`` as ``+1.14%``; zero has no sign, None is ``n/a``."""
    if value is None:
        return "n/a"
    text = f"{100 * value:+.{digits}f}"
    if float(text) == 0:
        return f"{0:.{digits}f}%"
    return f"{text if signed else text.removeprefix('+')}%"


def ratio(value: float | None, error: float | None) -> str:
    """A Sharpe ratio, never without its standard error: ``0.29 ± 0.19``."""
    return "n/a" if value is None or error is None else f"{value:.2f} ± {error:.2f}"


def printable(text: str) -> str:
    """A name as one line without control characters: a strategy's name is somebody's input."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _check_any(summaries: Sequence[Any]) -> None:
    if not summaries:
        raise ConfigError("there is no result to report", hint="run at least one strategy")
