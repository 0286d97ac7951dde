"""Commands that run an engine, control it and check it: ``run``, ``status``, ``pause``, ``flatten``, ``parity``, …"""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxcarry.cli.desk import (
    account_id_option,
    account_lock,
    channels,
    engine_on,
    give,
    journal_path,
    logged_to,
    may_trade,
    open_desk,
    reason_option,
    reloader,
    running,
    state_option,
)
from fxcarry.cli.shared import FOUND, config_option, emit, json_option, load
from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from fxcarry.journal import CommandKind, SqliteJournal


@click.command()
@click.option("--strategy", "name", metavar="NAME", help="NAME or file.py:name. [the only one configured, or baseline]")
@click.option("--replay", "first", metavar="DATE", help="Run on stored history from this trade date on.")
@click.option("--until", metavar="DATE", help="Last trade date of a replay. [the last there is]")
@click.option("--speed", type=click.FloatRange(0, min_open=True), help="Times as fast as the clock. [no waiting]")
@click.option("--every", type=click.IntRange(1, 3600), default=60, show_default=True, help="Seconds between looks.")
@account_id_option
@state_option
@config_option
@json_option
def run(
    name: str | None,
    first: str | None,
    until: str | None,
    speed: float | None,
    every: int,
    account: str | None,
    folder: str,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Run a strategy day and night: look, decide, send, remember - and go on after any interruption.

    With --replay the same loop runs on stored history and needs no key. It may be stopped (Ctrl-C) or killed at any
    moment; started again it goes on where it was, and ends where a backtest ends.
    """
    from fxcarry.daemon import Daemon, replay_instants, wall_instants
    from fxcarry.journal import JournalLock
    from fxcarry.periods import days_of

    settings = load(config_path)
    journal, broker, chosen = open_desk(settings, folder, name)
    may_trade(settings, broker, account)
    if first is not None and settings.mode == "live":
        raise ConfigError('--replay with mode = "live"', hint='stored history is for mode = "paper"')
    engine = engine_on(settings, journal, broker, chosen, in_real_time=first is None)
    daemon = Daemon(
        engine=engine,
        journal=journal,
        lock=JournalLock(journal.path),
        reload=reloader(config_path, name, settings, journal, broker, in_real_time=first is None),
        performance=Path(folder) / "performance_log.csv",
    )
    with journal, account_lock(broker), logged_to(Path(folder) / "trading_system.log", settings):
        if first is None:
            looks = daemon.run(wall_instants(timedelta(seconds=every)), is_live=True)
        else:
            assert engine.feed is not None
            history = engine.feed.history(None, None)
            begin, finish, _ = days_of(history, first, until, needs_rates=True)
            local = history.in_currency(settings.account_currency, engine.universe)
            start, end = (datetime.combine(day, at, UTC) for day, at in ((begin, time(0)), (finish, time(20))))
            looks = daemon.run(replay_instants(local, start, end, settings.rebalance), speed=speed)
    told = {**_status(folder), "looks": looks, "nav": daemon.engine.broker.nav if looks else None}
    if first is not None and not looks:
        click.echo(
            f"nothing to do: the last look was at {told['last_look']}; another replay wants another --state", err=True
        )
    if as_json:
        emit(told)
    else:
        _show(told)


@click.command()
@state_option
@json_option
def status(folder: str, as_json: bool) -> None:
    """What the engine does, running or not: trading state, last look, standing target, commands that wait."""
    told = _status(folder)
    if as_json:
        emit(told)
    else:
        _show(told)


def _status(folder: str) -> dict[str, Any]:
    def known(value: float) -> float | None:  # before the first look there is no NAV
        return value if value == value else None

    from fxcarry.alerts import in_a_line
    from fxcarry.journal import JournalLock, SqliteJournal

    path = journal_path(folder)
    engine = running(JournalLock(path))
    with SqliteJournal.existing(path) as journal:
        state, target = journal.state(), journal.intention()
        last, told = journal.last_beat(), journal.recent_alerts()
        return {
            "account_id": journal.account_id,
            "running": engine is not None,
            "pid": None if engine is None else engine.pid,
            "last_look": None if last is None else last.isoformat(),
            "trading": None if state is None else state.trading.value,
            "latch": None if state is None else state.latch or None,
            "halt_until": None if state is None or state.halt_until is None else state.halt_until.isoformat(),
            "day_start": None if state is None else known(state.day_start),
            "high_water": None if state is None else known(state.high_water),
            "standing_target": None if target is None else dict(target.weights),
            "orders_unresolved": journal.unresolved(),
            "locked": [] if state is None else sorted(state.locked),
            "alerts": [
                f"{alert.at:%Y-%m-%dT%H:%M:%S} {alert.severity}: {alert.kind}: {in_a_line(alert.message)}"
                for alert in [one.alert for one in told if one.alert.severity != "info"][-5:]
            ],
            "alerts_open": [one.number for one in told if one.is_open],
            "alerts_unsent": sum(one.is_unsent for one in told),
            "financing": _financing(journal, last),
            "commands_waiting": [f"{c.kind} by {c.by}" for c in journal.commands()],
        }


def _financing(journal: SqliteJournal, last: datetime | None) -> str | None:
    """The last night and the leak in a line; None where nothing was held or booked yet."""
    from fxcarry.leak import ROLLS, rolls_of

    rolls = [] if last is None else rolls_of(journal, journal.account_currency, last, ROLLS)
    if not rolls:
        return None
    night = [roll for roll in rolls if roll.trade_date == rolls[-1].trade_date]

    def total(amounts: list[Decimal | None]) -> str:
        return "not known" if None in amounts else f"{sum(filter(None, amounts), Decimal(0)):+,.2f}"

    booked = [roll.booked for roll in night]
    known = [roll.difference for roll in rolls if roll.difference is not None]
    leak = f"; booked less expected over the last {ROLLS} rolls {sum(known):+,.2f}" if known else ""
    return (
        f"{night[0].trade_date}: expected {total([roll.expected for roll in night])}, "
        f"booked {'not yet' if None in booked else total(booked)}{leak}"
    )


def _show(told: dict[str, Any]) -> None:
    for key, value in told.items():
        shown = "-" if value in (None, [], {}) else f"{value:,.2f}" if isinstance(value, float) else value
        if isinstance(value, list) and value:
            shown = f"\n{'':19}".join(map(str, value))
        click.echo(f"{key.replace('_', ' '):18} {shown}")


@click.command()
@click.option("--strategy", "name", metavar="NAME", help="NAME or file.py:name. [the only one configured]")
@state_option
@config_option
@json_option
@click.pass_context
def parity(ctx: click.Context, name: str | None, folder: str, config_path: str | None, as_json: bool) -> None:
    """Replay what was recorded in the backtester and compare decisions, fills and financing, to the cent.

    Exit code 8 where they differ. An operator's commands are no part of a backtest: after one, expect differences.
    """
    from fxcarry.backtest import backtest
    from fxcarry.build import the_strategy
    from fxcarry.conventions import trade_date
    from fxcarry.journal import SqliteJournal
    from fxcarry.parity import compare

    settings = load(config_path)
    chosen = name or the_strategy(settings)
    with SqliteJournal.existing(journal_path(folder)) as journal:
        beats = journal.table("heartbeats")
        if not beats:
            raise ConfigError(f"nothing is recorded in {journal.path}", hint="run something first")
        first, last = (datetime.fromisoformat(beats[i]["at"]) - timedelta(microseconds=1) for i in (0, -1))
        recorded = journal.transactions()
        decided = {
            datetime.fromisoformat(row["at"]): dict(zip(json.loads(row["legs"]), json.loads(row["weights"])))
            for row in journal.table("decisions")
            if row["stage"] == "target"
        }
    result = backtest(chosen, config=settings, start=trade_date(first), end=trade_date(last))
    replayed = {
        decision.at: dict(zip(decision.legs, decision.weights.tolist()))
        for stage, decision in result.journal.decisions
        if stage == "target"
    }
    found = compare(recorded, result.journal.log or (), decided, replayed)
    if as_json:
        emit(found.to_dict())
    else:
        click.echo(
            f"{trade_date(first)} to {trade_date(last)}: {found.decided[0]} decisions, {found.recorded} transactions "
            f"recorded, {found.decided[1]}, {found.replayed} in the backtest; carry {found.carry[0]:,} and "
            f"{found.carry[1]:,}; differences: {len(found.differences)}"
        )
        for line in found.differences:
            click.echo(f"  {line}")
    if not found.is_same:
        ctx.exit(FOUND)


@click.command()
@click.argument("target", metavar="DIR")
@state_option
@json_option
def export(target: str, folder: str, as_json: bool) -> None:
    """Write what was traded as CSV into DIR: fills, tax lots, financing, and every rule's verdict of every decision."""
    from fxcarry.journal import FILES
    from fxcarry.journal import export as write

    made = write(journal_path(folder), target)
    if as_json:
        emit({"folder": str(made), "files": list(FILES)})
    else:
        click.echo(f"{', '.join(FILES)} are in {made}")


@click.command()
@click.option("--rolls", type=click.IntRange(1), default=20, show_default=True, help="How many trade dates to show.")
@state_option
@json_option
def financing(rolls: int, folder: str, as_json: bool) -> None:
    """What each night was expected to book and what it did, by instrument, and the leak that adds up.

    Expected: positions held through 17:00 New York, at the rates the venue had published last before, at the mids of
    the last look. > 0 is received.
    """
    from fxcarry.journal import SqliteJournal
    from fxcarry.leak import ROLLS, leaks, rolls_of

    found, warnings = [], []
    with SqliteJournal.existing(journal_path(folder)) as journal:
        until, currency = journal.last_beat(), journal.account_currency
        if until is not None:
            found = rolls_of(journal, currency, until, rolls)
            warnings = [one.message for one in leaks(rolls_of(journal, currency, until, ROLLS), currency, until)]
    told: list[dict[str, Any]] = []
    leak = 0.0
    for roll in found:
        difference = roll.difference
        leak += float(difference or 0)
        told.append(
            {
                "trade_date": roll.trade_date.isoformat(),
                "instrument": roll.instrument,
                "units": float(roll.units),
                "days": roll.days,
                "rate": roll.rate,
                "expected": None if roll.expected is None else float(roll.expected),
                "booked": None if roll.booked is None else float(roll.booked),
                "difference": None if difference is None else float(difference),
                "cumulative": leak,
                "why": roll.why or None,
            }
        )
    if as_json:
        emit({"account_currency": currency, "rolls": told, "leak": leak, "warnings": warnings})
        return
    click.echo(f"amounts in {currency}, > 0 received; sum: the differences so far")
    click.echo("trade date  instrument         units  days  rate %    expected      booked  difference         sum")
    for row in told:
        cells = [f"{'-' if row[k] is None else format(row[k], '+,.2f'):>12}" for k in _AMOUNTS]
        rate = "-" if row["rate"] is None else f"{row['rate'] * 100:+.2f}"
        days = "-" if row["days"] is None else row["days"]
        held = f"{row['instrument']:12} {row['units']:+11,.0f} {days:>5} {rate:>7}"
        click.echo(f"{row['trade_date']}  {held}{''.join(cells)}")
    for why in dict.fromkeys(row["why"] for row in told if row["why"]):
        names = sorted({row["instrument"] for row in told if row["why"] == why})
        click.echo(f"not known for {', '.join(names)}: {why}")
    if not told:
        click.echo("nothing was held through a roll, and nothing is booked")
    for warning in warnings:
        click.echo(warning)


_AMOUNTS = ("expected", "booked", "difference", "cumulative")


def _control(kind: CommandKind, summary: str) -> click.Command:
    @click.command(kind, help=summary)
    @reason_option
    @state_option
    @json_option
    def command(reason: str, folder: str, as_json: bool) -> None:
        from fxcarry.journal import SqliteJournal

        with SqliteJournal.existing(journal_path(folder)) as journal:
            given = give(journal, kind, reason)
        if as_json:
            emit({"command": given.id, "kind": given.kind, "by": given.by, "at": given.at.isoformat()})
        else:
            click.echo(f"{kind}: recorded as command {given.id}; the engine takes it before its next look")

    return command


pause = _control("pause", "Open nothing until somebody resumes; what is held stays and its rules go on.")
reduce = _control("reduce", "Open nothing and only reduce until somebody resumes.")
resume = _control(
    "resume", "Lift a pause or a halt, for a --reason. The day and the drawdown are measured from now on."
)


@click.command()
@reason_option
@click.option(
    "--patience", type=click.FloatRange(0), default=5.0, show_default=True, help="Seconds to wait for a running engine."
)
@state_option
@config_option
@json_option
def flatten(reason: str, patience: float, folder: str, config_path: str | None, as_json: bool) -> None:
    """Emergency: cancel what waits, close everything, and halt until somebody resumes.

    A running engine is asked first. One that does not obey in time, hangs or is gone is shut out, killed if it is still
    there, and everything is closed from here.
    """
    import time as clock

    from fxcarry.alerts import Alerts
    from fxcarry.build import paper_broker
    from fxcarry.daemon import shut_out, take_over
    from fxcarry.errors import JournalLocked
    from fxcarry.journal import JournalLock, SqliteJournal

    settings, path = load(config_path), journal_path(folder)
    lock = JournalLock(path)
    until, given = clock.monotonic() + patience, None
    with SqliteJournal.existing(path) as journal:
        try:
            given = give(journal, "flatten", reason)
            while running(lock) is not None and clock.monotonic() < until:
                if given.id not in {c.id for c in journal.commands()}:
                    _told_of(None, as_json, "the running engine has taken it and closes everything at the next quote")
                    return
                clock.sleep(0.05)
        except JournalLocked:  # it hangs in the middle of a write
            pass
    killed = shut_out(lock)
    with SqliteJournal.existing(path) as journal, logged_to(path.parent / "trading_system.log", settings):
        if given is None:
            give(journal, "flatten", reason)
        broker, alerts = (
            paper_broker(settings, path.parent / "paper.sqlite"),
            Alerts(journal, channels(settings), settings.alerts),
        )
        try:
            done = take_over(journal, lock, broker, datetime.now(UTC), alerts, killed)
        finally:
            alerts.close()
    who = f"engine {done.killed} did not obey and was killed; " if done.killed else ""
    left = ", ".join(f"{name} {units:,}" for name, units in done.open.items()) or "nothing"
    _told_of(done, as_json, f"{who}{len(done.closing)} closing orders; still held until the next quote: {left}")


def _told_of(done: Any, as_json: bool, text: str) -> None:
    if as_json:
        emit(
            {
                "taken_by": "engine" if done is None else "this process",
                "killed": None if done is None else done.killed,
                "closing": [] if done is None else [r.client_id for r in done.closing],
                "open": {} if done is None else {name: str(units) for name, units in done.open.items()},
            }
        )
    else:
        click.echo(f"flatten: {text}")
