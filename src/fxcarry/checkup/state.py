"""The channels of alerts, and the journal."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from fxcarry.alerts import AlertKind, ConsoleNotifier
from fxcarry.build import make
from fxcarry.checkup.records import Sheet
from fxcarry.config import Config
from fxcarry.conventions import open_minutes
from fxcarry.errors import JournalError
from fxcarry.journal import JournalLock, SqliteJournal
from fxcarry.journal.schema import APPLICATION, SCHEMA
from fxcarry.model import Alert, TradingState
from fxcarry.protocols import Notifier

_SILENT = 10.0  # open-market minutes without a look after which an engine that holds the lock hangs
_AHEAD = timedelta(minutes=5)


def look_at_notifiers(sheet: Sheet, settings: Config, now: datetime, *, send: bool) -> None:
    """Every channel of alerts is made and asked whether it would take one, and tried with an alert: the console always,
    the others with ``send``.
    """
    if not settings.notifiers:
        advice = "name a channel that reaches a person under [[notifiers]]: nobody watches a console at night"
        sheet.note("notifier", "configured", "warn", "none: alerts go to the console", advice)
    for section in settings.notifiers or [None]:
        component = f"notifier {ConsoleNotifier.name if section is None else section.name}"
        with sheet.asked(component, "alert"):
            channel: Notifier = ConsoleNotifier() if section is None else make(section)
            ask = getattr(channel, "check", None)
            if callable(ask):
                with sheet.asked(component, "connection"):
                    sheet.note(component, "connection", "pass", ask())
            if not (send or isinstance(channel, ConsoleNotifier)):
                sheet.note(component, "alert", "skip", "made; no alert was sent", "fxcarry alerts test sends one")
                continue
            channel.notify(
                Alert(at=now, kind=AlertKind.SELF_TEST, severity="info", message="fxcarry check: this channel works")
            )
            sheet.note(component, "alert", "pass", "the self-test alert was taken; did it arrive?")


def look_at_journal(sheet: Sheet, settings: Config | None, folder: Path, now: datetime) -> None:
    """The journal in the state folder, read only: what it is, whether it is sound, who trades on it, what is open."""
    note, path = sheet.about("journal"), folder / "journal.sqlite"
    if not path.exists():
        note("file", "skip", f"there is no {path} yet; fxcarry run makes it")
        return
    version = None
    with sheet.asked("journal", "file", "put it aside and restore a copy, or name another folder with --state"):
        version = _integrity(path)
        note("file", "pass", f"{path}, schema {version}, every page is sound")
    engine = JournalLock(path).holder()
    is_running = engine is not None and engine.is_alive()
    if engine is None:
        note("lock", "pass", "no engine runs")
    elif is_running:
        note("lock", "pass", f"an engine runs: process {engine.pid} on {engine.host}")
    else:
        note("lock", "warn", f"process {engine.pid} on {engine.host} has it and is not seen here", "did it crash?")
    if version is None:
        return
    if version != SCHEMA:
        note("records", "skip", f"of schema {version}; fxcarry run brings them to {SCHEMA}", "keep a copy first")
        return
    with sheet.asked("journal", "records"), SqliteJournal.existing(path) as journal:
        _records(sheet, journal, settings, now, is_running=is_running)


def _integrity(path: Path) -> int:
    """The schema of a sound journal; JournalError for anything else."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            [(application,)] = file.execute("PRAGMA application_id")
            [(version,)] = file.execute("PRAGMA user_version")
            problems = [row[0] for row in file.execute("PRAGMA integrity_check(5)")]
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be read: {error}") from error
    if application != APPLICATION:
        raise JournalError(f"{path} is no journal")
    if version > SCHEMA:
        raise JournalError(f"{path} is of schema {version}, this fxcarry knows {SCHEMA}", hint="upgrade fxcarry")
    if problems != ["ok"]:
        raise JournalError(f"{path} is damaged: {'; '.join(problems)}", hint="do not trade on it")
    return int(version)


def _records(sheet: Sheet, journal: SqliteJournal, settings: Config | None, now: datetime, *, is_running: bool) -> None:
    note, currency = sheet.about("journal"), journal.account_currency
    is_ours = settings is None or settings.account_currency == currency
    note(
        "account",
        "pass" if is_ours else "fail",
        f"of account {journal.account_id} in {currency}",
        "" if is_ours else "name another folder with --state: one journal per account",
    )
    beat = journal.last_beat()
    if beat is None:
        note("last look", "skip", "no engine has looked yet")
    elif beat > now + _AHEAD:
        note(
            "last look",
            "warn",
            f"{beat:%Y-%m-%d %H:%M} UTC, which has not come yet",
            "set this machine's clock (NTP), unless a replay wrote it",
        )
    else:
        is_hanging = is_running and open_minutes(beat, now) > _SILENT
        advice = "the engine may hang: fxcarry status, and the runbook" if is_hanging else ""
        note("last look", "fail" if is_hanging else "pass", f"{beat:%Y-%m-%d %H:%M} UTC", advice)
    state = journal.state()
    if state is not None:
        is_halted = state.trading is not TradingState.ACTIVE
        advice = 'find out why; then: fxcarry resume --reason "…"' if is_halted else ""
        note("trading", "warn" if is_halted else "pass", f"{state.trading.value} {state.latch}".strip(), advice)
    waiting = journal.unresolved()
    if waiting:
        advice = "fxcarry run asks the venue what became of them before it sends anything"
        note("orders", "warn", f"{len(waiting)} without an outcome: {', '.join(waiting[:5])}", advice)
    else:
        note("orders", "pass", "every order has an outcome")
