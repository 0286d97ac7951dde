"""``plan`` and ``apply``: what a decision would do now, and that it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fxcarry.cli.desk import (
    account_id_option,
    account_lock,
    engine_on,
    give,
    instant_of,
    journal_path,
    logged_to,
    may_trade,
    open_desk,
    running,
    state_option,
)
from fxcarry.cli.shared import FOUND, config_option, emit, json_option, load
from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from fxcarry.preview import Preview

_at_option = click.option("--at", metavar="INSTANT", help="As of this trade date's 17:00 New York, or instant. [now]")


@click.command()
@click.option("--strategy", "name", metavar="NAME", help="NAME or file.py:name. [the only one configured]")
@_at_option
@state_option
@config_option
@json_option
def plan(name: str | None, at: str | None, folder: str, config_path: str | None, as_json: bool) -> None:
    """What a decision would do now: target, orders, each rule's verdict, cost, next week's carry. Nothing is sent.

    The plan is kept under its name; `fxcarry apply NAME` carries it out.
    """
    from fxcarry.simulation import SimBroker

    settings = load(config_path)
    journal, broker, strategy = open_desk(settings, folder, name)
    with journal:
        to_try = broker.twin() if isinstance(broker, SimBroker) else broker
        engine = engine_on(settings, journal, to_try, strategy, is_told=False, in_real_time=at is None)
        preview = engine.preview(instant_of(at))
        journal.keep_plan(preview.id, preview.at, preview.to_dict())
    if as_json:
        emit({"plan": preview.id, **preview.to_dict()})
    else:
        _show(preview)


def _show(preview: Preview) -> None:
    click.echo(f"plan {preview.id} of {preview.at:%Y-%m-%d %H:%M} UTC; trading is {preview.trading}")
    click.echo(f"NAV {preview.nav:,.2f}")
    click.echo(f"{'':10}{'now':>10}{'target':>10}")
    for currency in sorted({*preview.current_weights, *preview.target_weights}):
        now, target = preview.current_weights.get(currency, 0.0), preview.target_weights.get(currency, 0.0)
        if now or target:
            click.echo(f"{currency:10}{now:>10.2%}{target:>10.2%}")
    click.echo(f"{'orders':10}{'units':>16}{'notional':>16}{'cost':>12}")
    for order in preview.orders:
        kind = "  reduces" if order.is_reducing else ""
        click.echo(f"{order.instrument:10}{order.units:>+16,.0f}{order.notional:>16,.2f}{order.cost:>12,.2f}{kind}")
    if not preview.orders:
        click.echo("none")
    click.echo("rules")
    for said in preview.verdicts:
        room = "" if said["headroom"] is None else f"  headroom {said['headroom']:.4g}"
        click.echo(f"  {said['rule']:26}{said['action']:14}{said['code']}{room}")
    click.echo(f"cost {preview.cost:,.2f}; carry of the book in the week after {preview.carry_week:+,.2f}")
    click.echo(f"carry it out within 15 minutes with: fxcarry apply {preview.id}")


@click.command()
@click.argument("plan_id", metavar="PLAN")
@click.option("--strategy", "name", metavar="NAME", help="NAME or file.py:name. [the only one configured]")
@_at_option
@account_id_option
@state_option
@config_option
@json_option
@click.pass_context
def apply(
    ctx: click.Context,
    plan_id: str,
    name: str | None,
    at: str | None,
    account: str | None,
    folder: str,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Carry out a plan, only this, and only if the world has not moved since. Exit code 8 where it has.

    A running engine does it before its next look; where none runs, it is done here.
    """
    from fxcarry.daemon import Daemon
    from fxcarry.journal import JournalLock, SqliteJournal

    settings, path = load(config_path), journal_path(folder)
    engine = running(JournalLock(path))
    with SqliteJournal.existing(path) as known:
        if known.plan_of(plan_id) is None:
            raise ConfigError(f"there is no plan {plan_id!r} in {path}", hint="make one with: fxcarry plan")
        if engine is None:
            journal, broker, strategy = open_desk(settings, folder, name)
            may_trade(settings, broker, account)
        given = give(known, "apply", plan_id)
    told: dict[str, Any] = {"plan": plan_id, "command": given.id, "by": "engine", "carried_out": None, "why": None}
    if engine is None:
        with journal, account_lock(broker), logged_to(path.parent / "trading_system.log", settings):
            daemon = Daemon(
                engine=engine_on(settings, journal, broker, strategy, in_real_time=at is None),
                journal=journal,
                lock=JournalLock(path),
            )
            before = len(journal.table("alerts"))
            daemon.run([instant_of(at)])
            said = [row["message"] for row in journal.table("alerts")[before:] if f"plan {plan_id}" in row["message"]]
        why = next((text for text in said if "is not carried out" in text), None)
        told |= {"by": "this process", "carried_out": bool(said) and why is None, "why": why}
    if as_json:
        emit(told)
    elif told["carried_out"] is None:
        click.echo(f"plan {plan_id}: the running engine carries it out before its next look; see fxcarry status")
    else:
        click.echo(told["why"] or f"plan {plan_id} is carried out" if said else f"plan {plan_id}: no look was made")
    if told["carried_out"] is False:
        ctx.exit(FOUND)
