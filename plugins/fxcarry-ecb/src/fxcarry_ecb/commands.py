"""The command ``fxcarry rates``: how old the policy rates are, and what newer files say."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import click

from fxcarry.errors import ConfigError
from fxcarry.secrets import Secret
from fxcarry_ecb.refresh import Change, Refresh, age, compare, default_path, fetch, read_later, read_series, write_later


@click.command()
@click.option(
    "--file", "files", metavar="PATH", multiple=True, help="Levels: currency,date,rate_pct or of FRED; may be repeated."
)
@click.option("--fetch", "is_fetched", is_flag=True, help="Ask FRED, with the key in FRED_API_KEY.")
@click.option("--apply", "is_applied", is_flag=True, help="Write what is new beyond the table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rates(files: tuple[str, ...], is_fetched: bool, is_applied: bool, as_json: bool) -> None:
    """How old the built-in policy rates are, and what FRED or files of later levels say beyond them.

    Without --fetch nothing is asked for over the network, without --apply nothing is written.
    """
    if is_applied and not (files or is_fetched):
        raise ConfigError("--apply without --file or --fetch", hint="name the files that say what is new, or ask FRED")
    today, path = _today(), default_path()
    later = read_later(path)
    series: dict[str, dict[date, Decimal]] = fetch(Secret("env", "FRED_API_KEY")) if is_fetched else {}
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
    if (files or is_fetched) and not found.changes:
        click.echo("no change is new")
    if is_applied:
        click.echo(f"written to {path}")
    elif files or is_fetched:
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
