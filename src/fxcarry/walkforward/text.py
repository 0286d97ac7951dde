"""Walk-forward results as plain text, and the sentences the HTML page shares with it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fxcarry.errors import ConfigError
from fxcarry.report import PERIODS
from fxcarry.report.text import DISCLAIMER, percent, printable, ratio
from fxcarry.walkforward.compare import compare
from fxcarry.walkforward.result import WalkForwardResult, WindowResult

_NARROWEST = 80
_COLUMNS = (("return", 9), ("vol", 7), ("Sharpe ± SE", 14), ("max DD", 8), ("win rate", 9))


def render(results: Sequence[WalkForwardResult], width: int = 100) -> str:
    """Results as plain text, no line longer than ``width`` (80 or more) columns: accounts, windows, inference, notes.

    Two or more are also compared with the first, the baseline. Raises ConfigError without results or for a narrower
    page.
    """
    if not results:
        raise ConfigError("there is no result to report", hint="walk at least one strategy forward")
    if width < _NARROWEST:
        raise ConfigError(f"width is {width}", hint=f"{_NARROWEST} columns or more")
    lines: list[str] = []
    for result in results:
        lines += [*_accounts(result, width), "", *_windows(result, width), ""]
        for sentence in inference(result):
            lines += _wrapped(sentence, width)
        lines.append("")
    for sentence in comparison(results):
        lines += _wrapped(sentence, width)
    for sentence in definitions(results):
        lines += _wrapped(sentence, width)
    return "\n".join([*lines, ""])


def title(result: WalkForwardResult) -> str:
    """Name and test days."""
    row = result.table()[0]
    return f"{printable(result.strategy)}, out of sample {row['start']} to {row['end']}"


def cells(figures: Mapping[str, Any] | None) -> list[str]:
    """Return, volatility, Sharpe ± SE, maximum drawdown and win rate of one row."""
    if figures is None:
        return ["n/a"] * len(_COLUMNS)
    return [
        percent(figures["annual_return"]),
        percent(figures["volatility"], 1, signed=False),
        ratio(figures["sharpe"], figures["sharpe_se"]),
        percent(figures["max_drawdown"], 1),
        percent(figures["win_rate"], 0, signed=False),
    ]


def bare(window: WindowResult) -> str:
    """Sharpe ± SE of a window without rules."""
    return cells(window.without_rules)[2]


def headings() -> list[str]:
    """The columns of :func:`cells`."""
    return [name for name, _ in _COLUMNS]


def told(setting: Mapping[str, Any] | None) -> str:
    """A setting in one line."""
    return ", ".join(f"{printable(str(k))}={printable(str(v))}" for k, v in (setting or {}).items())


def chosen(window: WindowResult) -> str:
    """What was chosen and its score in train, or why the window failed."""
    if window.error is not None:
        return f"failed: {printable(window.error)}"
    known = "" if window.score is None else f" (train score {window.score:.2f})"
    return f"{told(window.setting)}{known}"


def inference(result: WalkForwardResult) -> Iterator[str]:
    """How far to trust the account as traded, a sentence or two each."""
    row, card = result.table()[0], result.card
    years = row["days"] / PERIODS
    if row["sharpe"] is None:
        yield f"Sharpe ratio: n/a, {row['reason']}."
    elif card is None or card["interval"] is None:
        yield f"Sharpe ratio {ratio(row['sharpe'], row['sharpe_se'])} from {years:.1f} years of test days."
    else:
        low, high = card["interval"]
        yield (
            f"Sharpe ratio {ratio(row['sharpe'], row['sharpe_se'])} from {years:.1f} years of test days; "
            f"{percent(card['interval_level'], 0, signed=False)} interval {low:.2f} to {high:.2f} (stationary "
            "bootstrap)."
        )
        if card["psr"] is not None:
            yield f"Chance that the true ratio is above zero, had nothing else ever been tried: {_chance(card['psr'])}."
        if card["dsr"] is not None:
            yield (
                f"As the best of {card['trials']} trials recorded for this universe (deflated Sharpe ratio): "
                f"{_chance(card['dsr'])}."
            )
        else:
            yield f"Not deflated: {card['reasons']['dsr']}."
    if card is None:
        yield "No report card: a failed window cuts the account in two."
    tried = len(result.candidates)
    if result.pbo is not None:
        yield (
            f"Probability of overfitting over the {tried} configurations: {100 * result.pbo:.0f}% of the splits in "
            "which the best in one half was not above the middle in the other (CSCV); 50% is chance."
        )
    else:
        yield f"Probability of overfitting: n/a, {result.pbo_reason}."
    if row["halted"]:
        yield f"The risk rules halted it for good on {row['halted']}, and it was flat from then on."
    if result.rules:
        yield f"Rules: {printable(', '.join(result.rules))}."


def comparison(results: Sequence[WalkForwardResult]) -> Iterator[str]:
    """Each result against the first."""
    if len(results) < 2 or len({r.account_currency for r in results}) > 1:
        return
    for row in compare(results):
        label = f"{printable(row['strategy'])} less {printable(row['against'])}"
        yield f"{label}, Sharpe ratio: {_difference(row)}."
        yield (
            f"{label}, both scaled to {percent(row['target_volatility'], 0, signed=False)} volatility by the years "
            f"before: {_difference(row['equal'])}."
        )


def definitions(results: Sequence[WalkForwardResult]) -> Iterator[str]:
    """How the figures are made, what the data are, and the risk."""
    yield (
        f"Figures are per year of {PERIODS} trading days, from test days only. Sharpe ± SE: one standard error "
        "(Mertens 2002). Win rate: share of round trips closed that made money, interest and cost included."
    )
    if any(len(result.candidates) > 1 for result in results):
        yield "A train score is the best of those tried, so it is too high to expect it again."
    yield "Train and test are half-open: the end is the first day that does not belong to it."
    yield from dict.fromkeys(f"Note: {printable(note)}" for result in results for note in result.notes)
    yield DISCLAIMER


def _accounts(result: WalkForwardResult, width: int) -> list[str]:
    lines = [title(result)[:width]]
    space = max(width - sum(size for _, size in _COLUMNS), 30)
    lines.append(" " * space + "".join(name.rjust(size) for name, size in _COLUMNS))
    for row in result.table():
        first, *rest = textwrap.wrap(row["label"], space - 2) or [""]
        text = "".join(cell.rjust(size) for cell, (_, size) in zip(cells(row), _COLUMNS))
        lines.append(f"  {first}".ljust(space) + text)
        lines += [f"    {line}" for line in rest]
    return lines


def _windows(result: WalkForwardResult, width: int) -> list[str]:
    """A line a window, and what was chosen below it where there was a choice."""
    lines = ["train".ljust(22) + "test".ljust(22) + "return".rjust(9) + "Sharpe ± SE".rjust(15) + "max DD".rjust(8)]
    lines[0] += "no rules".rjust(14) if result.rules and width >= 90 else ""
    for one in result.windows:
        window = one.window
        shown = cells(one.figures)
        dates = f"{window.train_start} {window.train_end}".ljust(22) + f"{window.test_start} {window.test_end}".ljust(
            22
        )
        lines.append(dates + shown[0].rjust(9) + shown[2].rjust(15) + shown[3].rjust(8))
        lines[-1] += bare(one).rjust(14) if result.rules and width >= 90 else ""
        if text := chosen(one):
            lines += textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="      ")
    return lines


def _difference(row: Mapping[str, Any]) -> str:
    if row["difference"] is None:
        return f"n/a, {row['reason']}"
    return (
        f"{ratio(row['difference'], row['standard_error'])}, 95% interval {row['low']:.2f} to {row['high']:.2f}, "
        f"p = {row['p_value']:.3f} (paired bootstrap, {row['days']:,} days)"
    )


def _chance(probability: float) -> str:
    """Never 0 % or 100 %: nothing here is certain."""
    if probability > 0.999:
        return "over 99.9%"
    return "under 0.1%" if probability < 0.001 else f"{100 * probability:.1f}%"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)
