"""``fxcarry check``: is everything in place, may the account trade for real, and what a person vouches for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fxcarry.cli.desk import journal_path, person, reason_option, state_option
from fxcarry.cli.shared import FOUND, config_option, emit, json_option, load, width
from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fxcarry.config import Config
    from fxcarry.golive import GoLiveReport
    from fxcarry.model import Instrument


@click.command()
@click.option("--only", metavar="COMPONENT", multiple=True, help="Look at this component only; may be repeated.")
@click.option("--round-trip", is_flag=True, help="Deal the smallest order on a practice account and close it again.")
@click.option("--send", is_flag=True, help="Try every channel of alerts with one, not only the console.")
@click.option("--go-live", "is_go_live", is_flag=True, help="May this account trade for real? From the journal alone.")
@click.option(
    "--confirm", "what", metavar="NAME", help="Vouch for backup-connection, broker-contact or limits, with a --reason."
)
@reason_option
@state_option
@config_option
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    only: tuple[str, ...],
    round_trip: bool,
    send: bool,
    is_go_live: bool,
    what: str | None,
    reason: str,
    folder: str,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Is everything in place? Machine, environment, plugins, configuration, feed, broker, notifiers and journal.

    What was found of each, and what to do. Nothing is traded without --round-trip. Exit code 8 where anything failed.

    With --go-live: has paper trading earned real money? What no program can see, a person confirms: --confirm NAME
    --reason TEXT.
    """
    if reason and what is None:
        raise ConfigError("--reason without --confirm", hint="say what is confirmed: --confirm backup-connection")
    if not is_go_live and what is None:
        _check_up(ctx, only, round_trip, send, folder, config_path, as_json)
        return
    if only or round_trip or send:
        raise ConfigError("--only, --round-trip and --send do not go with --go-live and --confirm")
    from fxcarry.golive import check_go_live, confirm
    from fxcarry.journal import SqliteJournal

    settings, path, now = load(config_path), journal_path(folder), datetime.now(UTC)
    with SqliteJournal.existing(path) as journal:
        if what is not None:
            who = person()
            confirm(journal, what, by=who, at=now, reason=reason)
            if not is_go_live:
                _confirmed(what, who, now, reason, as_json)
                return
        report = check_go_live(
            journal,
            costs=settings.costs,
            instruments=_instruments(settings, path, now),
            capital_fraction=settings.live.capital_fraction,
            intended_capital=settings.live.intended_capital,
            now=now,
        )
    if as_json:
        emit(report.to_dict())
    else:
        _show(report)
    if not report.is_ready:
        ctx.exit(FOUND)


def _check_up(
    ctx: click.Context,
    only: tuple[str, ...],
    round_trip: bool,
    send: bool,
    folder: str,
    config_path: str | None,
    as_json: bool,
) -> None:
    from fxcarry.checkup import check_up
    from fxcarry.cli.checkup import show

    report = check_up(config_path, folder=folder, only=only, round_trip=round_trip, send=send)
    if as_json:
        emit(report.to_dict())
    else:
        show(report)
    if not report.is_good:
        ctx.exit(FOUND)


def _confirmed(what: str, who: str, at: datetime, reason: str, as_json: bool) -> None:
    if as_json:
        emit({"confirmed": what, "by": who, "at": at.isoformat(), "reason": reason})
    else:
        click.echo(f"{what}: confirmed by {who}; it is kept in the journal")


def _instruments(settings: Config, path: Path, now: datetime) -> Mapping[str, Instrument]:
    """What the configured broker trades of the universe as it is today, without touching the account."""
    from fxcarry.build import paper_broker
    from fxcarry.orders import all_pairs, market_pairs
    from fxcarry.simulation import SimBroker
    from fxcarry.universe import universe_of

    members = universe_of(settings.universe, settings.account_currency).members_at(now.date())
    pairs = (all_pairs if settings.routing == "least-cost" else market_pairs)(members, settings.account_currency)
    broker = paper_broker(settings, path.parent / "paper.sqlite")
    if isinstance(broker, SimBroker):
        fresh = SimBroker(account_currency=broker.account_currency, margin_rate=broker.margin_rate)
        return fresh.get_instruments(pairs)
    broker.connect()
    try:
        return broker.get_instruments(pairs)
    finally:
        broker.close()


def _show(report: GoLiveReport) -> None:
    import textwrap

    across = width() - 30
    halves = (across * 3 // 5, across - across * 3 // 5 - 2)
    click.echo(f"account {report.account_id} as of {report.at:%Y-%m-%d %H:%M} UTC\n")
    click.echo(f"{'':6}{'requirement':24}{'found':{halves[0]}}  needed")
    for one in report.requirements:
        columns = [textwrap.wrap(text, size) for text, size in zip((one.found, one.needed), halves)]
        for i in range(max(map(len, columns))):
            found, needed = (column[i] if i < len(column) else "" for column in columns)
            head = f"{'pass' if one.is_met else 'FAIL':6}{one.name:24}" if i == 0 else " " * 30
            click.echo(f"{head}{found:{halves[0]}}  {needed}".rstrip())
        if one.what_to_do:
            click.echo(
                textwrap.fill(f"-> {one.what_to_do}", width(), initial_indent=" " * 6, subsequent_indent=" " * 9)
            )
    missing, count = len(report.missing), len(report.requirements)
    click.echo(
        f"\n{missing} of {count} are missing" if missing else f"\nall {count} are met; whether to begin is for you"
    )
