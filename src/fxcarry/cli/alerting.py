"""Commands about alerts: ``alerts list``, ``alerts ack``, ``alerts test``, ``alerts watch``."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fxcarry.cli.desk import channels, journal_path, logged_to, person, state_option
from fxcarry.cli.shared import FOUND, config_option, emit, json_option, load
from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from fxcarry.alerts import Heartbeat, Severity
    from fxcarry.journal import AlertRecord

_PATIENCE = 90.0  # seconds that a channel is waited for
_severities = click.Choice(["info", "warning", "critical"])


@click.group()
def alerts() -> None:
    """What a person was told: list it, acknowledge it, try the channels, and watch the engine from outside."""


@alerts.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, the last ones.")
@click.option("--severity", type=_severities, help="Only these.")
@click.option("--open", "is_open", is_flag=True, help="Only critical ones that nobody has acknowledged.")
@state_option
@json_option
def list_alerts(limit: int, severity: str | None, is_open: bool, folder: str, as_json: bool) -> None:
    """The last alerts: number, when, what, and what became of each at every channel.

    A channel is `delivered`, `failed`, `waiting`, `held-back` (counted, told in a summary) or `unknown`: possibly
    delivered, the channel cannot tell.
    """
    from fxcarry.journal import SqliteJournal

    with SqliteJournal.existing(journal_path(folder)) as journal:
        found = journal.recent_alerts()
    chosen = [
        one for one in found if (severity is None or one.alert.severity == severity) and (not is_open or one.is_open)
    ][-limit:]
    if as_json:
        emit([_as_dict(one) for one in chosen])
        return
    for one in chosen:
        click.echo(_line(one))
    if not chosen:
        click.echo("no alerts")


def _as_dict(one: AlertRecord) -> dict[str, Any]:
    alert = one.alert
    return {
        "number": one.number,
        "at": alert.at.isoformat(),
        "severity": alert.severity,
        "kind": alert.kind,
        "message": alert.message,
        "key": alert.key,
        "is_over": alert.is_over,
        "fields": dict(alert.fields),
        "deliveries": {name: {"state": state, "error": error} for name, (state, error) in one.deliveries.items()},
        "acknowledged_by": one.acknowledged_by or None,
        "reason": one.reason or None,
    }


def _line(one: AlertRecord) -> str:
    from fxcarry.alerts import in_a_line, one_line

    became = [f"{name} {state}{f' ({error})' if error else ''}" for name, (state, error) in one.deliveries.items()]
    if one.acknowledged_by:
        became.append(f"acknowledged by {one.acknowledged_by}{f': {one.reason}' if one.reason else ''}")
    alert = one.alert
    told = f"{one.number:>6} {alert.at:%Y-%m-%d %H:%M:%S} {alert.severity:8} {alert.kind}: {in_a_line(alert.message)}"
    return f"{told}\n{'':7}{one_line('; '.join(became))}" if became else told


@alerts.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(1, 2**63 - 1), metavar="[NUMBER]...")
@click.option("--all", "is_all", is_flag=True, help="Every critical one that nobody has acknowledged.")
@click.option("--reason", default="", help="What is done about it; kept in the journal.")
@state_option
@json_option
def ack(numbers: tuple[int, ...], is_all: bool, reason: str, folder: str, as_json: bool) -> None:
    """Say that you have seen an alert: it goes no further up the ladder of channels."""
    from fxcarry.journal import SqliteJournal

    if bool(numbers) == is_all:
        raise ConfigError("which alerts?", hint="their numbers, or --all; fxcarry alerts list --open shows them")
    who = person()
    with SqliteJournal.existing(journal_path(folder)) as journal:
        if is_all:
            numbers = tuple(one.number for one in journal.recent_alerts() if one.is_open)
        with journal.atomic():
            done = [n for n in numbers if journal.acknowledge(n, by=who, at=datetime.now(UTC), reason=reason)]
        again = {*numbers} - {*done}
        known = journal.recent_alerts() if again else []
        before = {one.number: one.acknowledged_by for one in known if one.number in again}
    if as_json:
        emit({"acknowledged": done, "by": who, "already": before})
        return
    click.echo(f"{len(done)} acknowledged by {who}" + (f": {', '.join(map(str, done))}" if done else ""))
    for number, by in before.items():
        click.echo(f"{number} was acknowledged before, by {by}")


@alerts.command()
@click.option("--channel", "names", multiple=True, metavar="NAME", help="Only this channel; may be repeated.")
@click.option("--kind", metavar="KIND", help="Send as the routes say of this kind, order-unknown for one.")
@click.option("--severity", type=_severities, help="Send as the routes say of this severity.")
@config_option
@json_option
@click.pass_context
def test(
    ctx: click.Context,
    names: tuple[str, ...],
    kind: str | None,
    severity: Severity | None,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Send a test alert through every channel, or, with --kind or --severity, as the routes say of such an alert.

    Exit code 8 where a channel did not take it.
    """
    import attrs

    from fxcarry.alerts import AlertKind, Alerts, AlertSettings, Channel
    from fxcarry.journal import MemoryJournal
    from fxcarry.model import Alert
    from fxcarry.secrets import SecretFilter

    if kind is not None and kind not in AlertKind.__members__.values():
        raise ConfigError(f"there is no kind of alert {kind!r}", hint=f"one of {', '.join(AlertKind)}")
    settings = load(config_path)
    found = [Channel.of(channel) for channel in channels(settings)]
    known = [channel.name for channel in found]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"there is no channel {unknown[0]!r}", hint=f"configured: {', '.join(known)}")
    now, journal = datetime.now(UTC), MemoryJournal()
    chosen, level = AlertKind(kind or AlertKind.SELF_TEST), severity or "info"
    routing = settings.alerts if kind or severity else AlertSettings()
    text = "a test of the channels of fxcarry; nothing has happened"
    route = routing.route(Alert(at=now, kind=chosen, severity=level, message=text), known)
    routes = () if names else tuple(attrs.evolve(one, escalate_minutes=None) for one in routing.routes)
    told = Alerts(
        journal,
        [channel for channel in found if not names or channel.name in names],
        attrs.evolve(routing, routes=routes),  # nobody is to acknowledge a test: its number is another alert's
    )
    told.mask = SecretFilter(settings.secrets).redact
    logging.getLogger("fxcarry").addHandler(logging.NullHandler())  # what came of it is shown below
    told.tell(now, chosen, level, text)
    told.flush()
    is_settled = told.settle(_PATIENCE)
    told.close(0.0)
    [one] = journal.recent_alerts()[:1]
    became = one.deliveries
    is_good = is_settled and all(state == "delivered" for state, _ in became.values())
    if as_json:
        emit(
            {
                "ok": is_good,
                "to": list(names or route.to),
                "then": list(route.then or ()),
                "escalate_minutes": route.escalate_minutes,
                "channels": {name: {"state": state, "error": error} for name, (state, error) in became.items()},
            }
        )
    else:
        for name, (state, error) in became.items():
            click.echo(f"{name:16} {'no answer yet' if state == 'sending' else state}{f': {error}' if error else ''}")
        if not became:
            click.echo("nobody is told of such an alert: it is kept in the journal and the log")
        elif is_good:
            click.echo("did they arrive?")
    ctx.exit(0 if is_good else FOUND)


@alerts.command()
@click.option("--once", is_flag=True, help="Look once; exit code 8 where the engine is silent.")
@click.option("--every", type=click.IntRange(1, 3600), default=60, show_default=True, help="Seconds between looks.")
@state_option
@config_option
@json_option
@click.pass_context
def watch(ctx: click.Context, once: bool, every: int, folder: str, config_path: str | None, as_json: bool) -> None:
    """The dead man's switch: raise an alert when the engine has not looked at the market for some minutes.

    Run it as a process of its own, beside `fxcarry run` on the same machine; closed hours of the market do not count.
    """
    import signal

    from fxcarry.alerts import Alerts, Watch
    from fxcarry.errors import JournalError
    from fxcarry.journal import Journal, MemoryJournal, SqliteJournal
    from fxcarry.secrets import SecretFilter

    def alerts_on(journal: Journal) -> Alerts:
        told = Alerts(journal, channels(settings), settings.alerts)
        told.mask = SecretFilter(settings.secrets).redact
        return told

    settings, path = load(config_path), journal_path(folder)
    ended = threading.Event()
    before = {n: signal.signal(n, lambda *_: ended.set()) for n in (signal.SIGTERM, signal.SIGINT)}
    found, blind = None, None
    try:
        while not ended.is_set():
            try:
                with SqliteJournal.existing(path) as journal, logged_to(path.parent / "watch.log", settings):
                    told = alerts_on(journal)
                    try:
                        found = Watch(told).look(datetime.now(UTC))
                        while not once and not ended.wait(every):
                            found = Watch(told).look(datetime.now(UTC))
                    finally:
                        told.close()
                break
            except JournalError as error:  # it cannot even be opened: that is told once, and it is tried again
                blind = blind or alerts_on(MemoryJournal())
                Watch(blind).tell_blind(datetime.now(UTC), error)
                if once or ended.wait(every):
                    break
    finally:
        if blind is not None:
            blind.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    if as_json:
        emit(_beat(found))
    else:
        click.echo("the journal cannot be read" if found is None else found.message)
    ctx.exit(FOUND if found is None or found.is_missed else 0)


def _beat(found: Heartbeat | None) -> dict[str, Any]:
    if found is None:
        return {"is_missed": True, "is_readable": False}
    return {
        "is_missed": found.is_missed,
        "is_readable": True,
        "is_stopped": found.is_stopped,
        "last_look": None if found.last_look is None else found.last_look.isoformat(),
        "silent_minutes": found.silent_minutes,
        "held": {name: str(units) for name, units in found.held.items()},
    }
