"""What the commands of a running account share: the state folder, its journal, and the engine on it."""

from __future__ import annotations

import getpass
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from fxcarry.config import Config
    from fxcarry.engine import Engine
    from fxcarry.journal import Command, CommandKind, Holder, JournalLock, SqliteJournal
    from fxcarry.protocols import Broker, Notifier
    from fxcarry.simulation import SimBroker

STATE = "fxcarry-state"
state_option = click.option(
    "--state", "folder", metavar="DIR", default=STATE, show_default=True, help="Where the journal is."
)
account_id_option = click.option(
    "--account", metavar="ID", help="The third key to live trading: the account id that the broker reports."
)
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; kept in the journal.")


def journal_path(folder: str) -> Path:
    """The journal in a state folder."""
    return Path(folder) / "journal.sqlite"


def open_desk(settings: Config, folder: str, name: str | None) -> tuple[SqliteJournal, SimBroker | Broker, str]:
    """The journal in ``folder`` (made at its first use), the account, and the strategy's name."""
    from fxcarry.build import paper_broker, the_strategy
    from fxcarry.config import effective, to_toml
    from fxcarry.journal import SqliteJournal

    path = journal_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    broker = paper_broker(settings, path.parent / "paper.sqlite")
    journal = SqliteJournal(
        path,
        account_id=getattr(broker, "account_id", broker.name),
        account_currency=settings.account_currency,
        config=to_toml(effective(settings)),
        secrets=settings.secrets,
    )
    return journal, broker, name or the_strategy(settings)


def may_trade(settings: Config, broker: SimBroker | Broker, account: str | None) -> None:
    """Raise ConfigError unless the mode and the broker are of a kind: paper is a simulated account, or one at a venue
    that deals no real money and says so (``is_practice``); live is any other, and its three keys
    (:func:`fxcarry.golive.check_live_keys`).
    """
    from fxcarry.build import feed_of
    from fxcarry.golive import check_live_keys
    from fxcarry.simulation import SimBroker

    is_simulated = isinstance(broker, SimBroker)
    is_practice = getattr(broker, "is_practice", False) is True  # unsaid, or said in another way: real money
    if settings.mode != "live":
        if not (is_simulated or is_practice):
            hint = (
                'use = "paper" under [broker], a practice account of that broker, or mode = "live" and its three keys'
            )
            raise ConfigError(
                f"the broker {broker.name} is not simulated, its account is not for practice, and mode is "
                f'"{settings.mode}"',
                hint=hint,
            )
        return
    if is_simulated:
        raise ConfigError(
            f'mode = "live" on the {broker.name} broker', hint='name a broker that deals, or mode = "paper"'
        )
    if is_practice:
        raise ConfigError(
            f'mode = "live" on a practice account of the broker {broker.name}',
            hint='mode = "paper" trades it without keys; real money needs the broker\'s account for it',
        )
    broker.connect()
    reported = broker.sync(feed_of(settings).snapshot(datetime.now(UTC))).id
    check_live_keys(mode=settings.mode, environ=os.environ, account_id=account, broker_account_id=reported)


def channels(settings: Config) -> Sequence[Notifier]:
    """Where alerts go: the configured channels, or the console."""
    from fxcarry.alerts import ConsoleNotifier
    from fxcarry.build import channels_of

    return channels_of(settings) or [ConsoleNotifier()]


def engine_on(
    settings: Config,
    journal: SqliteJournal,
    broker: SimBroker | Broker,
    strategy: str,
    *,
    is_told: bool = True,
    in_real_time: bool = False,
) -> Engine:
    """The engine on an account; its alerts go to the configured channels (``is_told``), or to the console.

    In real time a decision of 17:00 New York is not dealt into the widest spreads of the day: where there are rules,
    :class:`~fxcarry.risk.RolloverWindow` is one of them.
    """
    import attrs

    from fxcarry.build import build
    from fxcarry.risk import RolloverWindow
    from fxcarry.secrets import SecretFilter

    engine = build(
        settings,
        strategy=strategy,
        journal=journal,
        broker=broker,
        notifiers=channels(settings) if is_told else (),
        alerting=attrs.evolve(settings.alerts, digest=("daily", "weekly"))
        if in_real_time and settings.alerts.digest is None
        else None,
        beside=(RolloverWindow(),) if in_real_time else (),
    )
    engine.alerts.mask = SecretFilter(settings.secrets).redact
    return engine


def reloader(
    config_path: str | None,
    name: str | None,
    settings: Config,
    journal: SqliteJournal,
    broker: SimBroker | Broker,
    *,
    in_real_time: bool,
) -> Callable[[], Engine]:
    """Makes the engine of the configuration as it is then; ConfigError where what changed needs a restart."""
    from fxcarry.build import the_strategy
    from fxcarry.cli.shared import load
    from fxcarry.config import effective, to_toml

    fixed = ("mode", "account_currency", "universe", "cash", "markup", "venue", "feed", "broker")

    def again() -> Engine:
        found = load(config_path)
        before, now = effective(settings), effective(found)
        changed = [key for key in fixed if before.get(key) != now.get(key)]
        if changed:
            raise ConfigError(f"{', '.join(changed)} changed", hint="that needs a restart of the engine")
        engine = engine_on(found, journal, broker, name or the_strategy(found), in_real_time=in_real_time)
        journal.begin_run(to_toml(now), found.secrets)
        return engine

    return again


def account_lock(broker: SimBroker | Broker) -> AbstractContextManager[Any]:
    """A lock beside the file of an account that is one: two state folders may name the same account."""
    from fxcarry.journal import JournalLock

    path: Path | None = getattr(broker, "path", None)
    return nullcontext() if path is None else JournalLock(path)


def running(lock: JournalLock) -> Holder | None:
    """The engine that holds the lock and is alive."""
    holder = lock.holder()
    return holder if holder is not None and holder.is_alive() else None


def give(journal: SqliteJournal, kind: CommandKind, reason: str) -> Command:
    """Record a command of whoever is logged in, now."""
    return journal.command(kind, by=person(), at=datetime.now(UTC), reason=reason)


def instant_of(text: str | None) -> datetime:
    """``2009-03-31`` (17:00 New York of that trade date) or an ISO instant with its offset; None is now."""
    from fxcarry.conventions import session_end

    if text is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--at {text!r} is no date or instant", hint="write it like 2009-03-31") from None
    if found.tzinfo is not None:
        return found.astimezone(UTC)
    if found.time() != time(0):
        raise ConfigError(f"--at {text!r} has no offset", hint="write it like 2009-03-31T21:00:00+00:00")
    return session_end(found.date())


def person() -> str:
    """Who is at the keyboard: the name of the user, or its number where it has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


class JsonLines(logging.Formatter):
    """A record as one line of JSON: at, level, logger, message, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "logger": record.name}
        told["message"] = record.getMessage()
        if record.exc_info:
            told["trace"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


@contextmanager
def logged_to(path: Path, settings: Config) -> Iterator[None]:
    """Meanwhile what the package logs from INFO up goes into one file, a line of JSON a record, secrets masked; full
    ones are put aside, five kept.
    """
    from logging.handlers import RotatingFileHandler

    from fxcarry.secrets import SecretFilter

    handler = RotatingFileHandler(path, maxBytes=5_000_000, backupCount=5, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(JsonLines())
    handler.addFilter(SecretFilter(settings.secrets))
    log = logging.getLogger("fxcarry")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()
