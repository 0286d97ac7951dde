"""What ``fxcarry check`` prints of a check-up."""

from __future__ import annotations

import sys
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

import click

from fxcarry.cli.shared import width

if TYPE_CHECKING:
    from fxcarry.checkup import CheckUp

_MARKS = {"pass": "✓", "fail": "✗", "warn": "!", "skip": "-"}
_PLAIN = {"pass": "+", "fail": "x", "warn": "!", "skip": "-"}  # for an output that cannot write the others


def show(report: CheckUp) -> None:
    """A table by component, with what to do under what is not right, and the counts at the end."""
    across, marks = width(), _MARKS if _is_written("".join(_MARKS.values())) else _PLAIN
    for component, checks in groupby(report.checks, key=lambda one: one.component):
        click.echo(component)
        for one in checks:
            lines = [
                part for line in one.detail.splitlines() or [""] for part in textwrap.wrap(line, across - 32) or [""]
            ]
            name = textwrap.wrap(one.name, 25) or [""]
            for i in range(max(len(lines), len(name))):
                mark = marks[one.status] if i == 0 else " "
                left, right = (column[i] if i < len(column) else "" for column in (name, lines))
                click.echo(f"  {mark} {left:27} {right}".rstrip())
            for i, line in enumerate(one.advice.splitlines()):
                first = " " * 8 + ("-> " if i == 0 else "   ")
                click.echo(textwrap.fill(line, across, initial_indent=first, subsequent_indent=" " * 11))
        click.echo("")
    counts = report.counts
    told = f"{counts['pass']} passed, {counts['warn']} warnings, {counts['fail']} failed, {counts['skip']} skipped"
    click.echo(told)


def _is_written(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
