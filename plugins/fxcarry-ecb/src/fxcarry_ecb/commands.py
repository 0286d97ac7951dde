"""The command ``fxcarry rates``: how old the policy rates are, and what newer files say."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import click

from fxcarry.errors import ConfigError
from fxcarry_ecb.refresh import Change, Refresh, age, compare, default_path, read_later, read_series, write_later


@click.command()
@click.option(
    "--file", "files", metavar="PATH", multiple=True, help="Levels: currency,date,rate_pct or of FRED; may be repeated."
)
@click.option("--apply", "is_applied", is_flag=True, help="Write what the files say beyond the table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rates(files: tuple[str, ...], is_applied: bool, as_json: bool) -> None:
    """How old the built-in policy rates are, and what files of later levels say beyond them.

    Nothing is asked for over the network. Without --apply nothing is written.
    """
    if is_applied and not files:
        raise ConfigError("--apply without --file", hint="name the files that say what is new")
    today, path = _today(), default_path()
    later = read_later(path)
    series: dict[str, dict[date, Decimal]] = {}
    for name in files:
        for key, levels in read_series(Path(name)).items():
            series.setdefault(key, {}).update(levels)
    found = compare(series, later, today)
    if is_applied:
        write_later(path, found, later)
        later = read_later(path)
    if as_json:
        click.echo(json.dumps(_plain(found, path, is_applied, age(later, today)), indent=2))
        return
    click.echo(f"{age(later, today)}; later changes are in {path}" if later else age(later, today))
    for currency, until in sorted(found.verified.items()):
        click.echo(f"  {currency}  known to {until}")
    for change in found.changes:
        click.echo(f"{change.currency}  {change.day}  {change.before} -> {change.after}")
    for remark in found.remarks:
        click.echo(remark)
    if files and not found.changes:
        click.echo("no change is new")
    if is_applied:
        click.echo(f"written to {path}")
    elif files:
        click.echo(f"nothing is written; --apply writes to {path}")


def _today() -> date:
    return datetime.now(UTC).date()


def _plain(found: Refresh, path: Path, is_applied: bool, text: str) -> dict[str, object]:
    def row(change: Change) -> dict[str, str]:
        return {
            "currency": change.currency,
            "date": str(change.day),
            "before": str(change.before),
            "after": str(change.after),
        }

    return {
        "age": text,
        "path": str(path),
        "written": is_applied,
        "verified": {currency: str(day) for currency, day in sorted(found.verified.items())},
        "changes": [row(change) for change in found.changes],
        "remarks": list(found.remarks),
    }
