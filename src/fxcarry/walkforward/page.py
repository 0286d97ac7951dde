"""Walk-forward results as one self-contained HTML page, in the style of a backtest's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fxcarry.errors import ConfigError
from fxcarry.report import write_page
from fxcarry.report.charts import line_chart
from fxcarry.report.page import environment
from fxcarry.report.text import DISCLAIMER, percent, printable
from fxcarry.walkforward import text
from fxcarry.walkforward.result import WalkForwardResult

if TYPE_CHECKING:
    from jinja2 import Template

_COLORS = 8


def write_html(results: Sequence[WalkForwardResult], path: str | Path) -> Path:
    """Write one self-contained HTML page about one or more walk-forwards and return its path.

    It needs no script and no other file, follows the reader's light or dark theme, and appears complete or not at all.
    Raises ConfigError without results or where the file cannot be written.
    """
    return write_page(page(results), path)


def page(results: Sequence[WalkForwardResult]) -> str:
    """The page. Everything that is not a chart is escaped."""
    if not results:
        raise ConfigError("there is no result to report", hint="walk at least one strategy forward")
    *sentences, disclaimer = text.definitions(results)
    assert disclaimer == DISCLAIMER
    return _template().render(
        title="Walk-forward: " + ", ".join(printable(r.strategy) for r in results),
        overview=_overview(results) if len(results) > 1 else None,
        differences=list(text.comparison(results)),
        headings=text.headings(),
        sections=[_section(result) for result in results],
        definitions=sentences,
        disclaimer=disclaimer,
    )


@cache
def _template() -> Template:
    return environment().from_string(files(__package__).joinpath("template.html").read_text("utf-8"))


def _overview(results: Sequence[WalkForwardResult]) -> dict[str, Any]:
    lines = {
        f"c{i % _COLORS} n{i}": (r.runs["traded"].day, r.runs["traded"].nav / r.cash - 1) for i, r in enumerate(results)
    }
    return {
        "chart": _markup(line_chart(lines, label="Change of NAV of each strategy, out of sample")),
        "legend": [(name, printable(r.strategy), float(lines[name][1][-1])) for name, r in zip(lines, results)],
    }


def _section(result: WalkForwardResult) -> dict[str, Any]:
    labels = result.labels()
    names = {kind: "net" if kind == "traded" else kind for kind in labels}
    lines = {names[kind]: (result.runs[kind].day, result.runs[kind].nav / result.cash - 1) for kind in labels}
    nav = result.runs["traded"].nav
    fall = nav / np.maximum.accumulate(nav) - 1
    rows = result.table()
    return {
        "name": printable(result.strategy),
        "title": text.title(result),
        "cards": _cards(result, rows[0]),
        "chart": _markup(line_chart(lines, label="Change of NAV, test days only")),
        "legend": [(names[kind], label, float(lines[names[kind]][1][-1])) for kind, label in labels.items()],
        "drawdown": _markup(
            line_chart({"net": (result.runs["traded"].day, fall)}, label="Drawdown", height=190, is_filled=True)
        ),
        "rows": [(row["label"], text.cells(row), row["halted"]) for row in rows],
        "has_rules": bool(result.rules),
        "has_choice": len(result.candidates) > 1,
        "windows": [
            (
                f"{w.window.train_start} to {w.window.train_end}",
                f"{w.window.test_start} to {w.window.test_end}",
                text.cells(w.figures),
                text.bare(w),
                text.chosen(w),
                w.error is not None,
            )
            for w in result.windows
        ],
        "inference": list(text.inference(result)),
        "candidates": [text.told(c) for c in result.candidates if c],
    }


def _cards(result: WalkForwardResult, row: dict[str, Any]) -> list[tuple[str, str, str]]:
    shown = dict(zip(text.headings(), text.cells(row)))
    card = result.card
    dsr = None if card is None else card["dsr"]
    return [
        ("Sharpe ± SE", shown["Sharpe ± SE"], "out of sample, a year"),
        ("Return a year", shown["return"], f"volatility {shown['vol']}"),
        ("Max drawdown", shown["max DD"], f"win rate {shown['win rate']} of {row['round_trips']:,} round trips"),
        ("Deflated Sharpe", percent(dsr, 0, signed=False), f"of {result.trials} trials recorded"),
    ]


def _markup(svg: str) -> Any:
    """A chart for the template; charts escape what they are given."""
    from markupsafe import Markup

    return Markup(svg)
