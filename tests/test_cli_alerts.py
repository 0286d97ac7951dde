"""``fxcarry alerts``: list, ack, test and watch, as they are typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fxcarry.alerts import Channel
from fxcarry.cli import alerting, cli
from fxcarry.errors import ConfigError, DeliveryUnknown, NotifierError
from fxcarry.journal import SqliteJournal
from fxcarry.model import Alert

AT = datetime(2025, 3, 12, 21, tzinfo=UTC)


class Peer:
    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name, self.error, self.taken = name, error, list[Alert]()

    def notify(self, alert: Alert) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append(alert)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def journal(folder: Path) -> SqliteJournal:
    """Three alerts: an old one that was delivered, a critical one that failed, one that nobody was told."""
    (folder / "fxcarry-state").mkdir()
    made = SqliteJournal(folder / "fxcarry-state" / "journal.sqlite", account_id="A1", account_currency="USD")
    with made:
        made.alert(Alert(at=AT, kind="engine-start", severity="info", message="the engine runs on paper"))
        made.alert(
            Alert(at=AT, kind="order-unknown", severity="critical", message="nobody\nknows", key="unknown AUDUSD")
        )
        made.alert(Alert(at=AT, kind="feed-error", severity="critical", message="silent", fields={"count": 3}))
        made.delivery(1, "console", AT, "delivered")
        made.delivery(2, "mail", AT, "failed", "NotifierError: 535")
        made.delivery(2, "sms", AT, "unknown", "no answer")
        made.acknowledge(3, by="ann", at=AT)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["alerts", *arguments])


def shown(*arguments: str, code: int = 0) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.mark.usefixtures("journal")
def test_the_list_tells_what_became_of_each() -> None:
    assert run("list").stdout.splitlines() == [
        "     1 2025-03-12 21:00:00 info     engine-start: the engine runs on paper",
        "       console delivered",
        "     2 2025-03-12 21:00:00 critical order-unknown: nobody | knows",
        "       mail failed (NotifierError: 535); sms unknown (no answer)",
        "     3 2025-03-12 21:00:00 critical feed-error: silent",
        "       acknowledged by ann",
    ]
    found = shown("list", "--limit", "2")
    assert [one["number"] for one in found] == [2, 3]
    assert found[0]["deliveries"] == {
        "mail": {"state": "failed", "error": "NotifierError: 535"},
        "sms": {"state": "unknown", "error": "no answer"},
    }
    assert (found[0]["key"], found[0]["acknowledged_by"]) == ("unknown AUDUSD", None)
    assert (found[1]["fields"], found[1]["acknowledged_by"]) == ({"count": 3}, "ann")
    assert [one["number"] for one in shown("list", "--severity", "info")] == [1]
    assert [one["number"] for one in shown("list", "--open")] == [2]


def test_a_journal_without_alerts_and_no_journal_at_all(folder: Path) -> None:
    assert isinstance(run("list").exception, ConfigError)
    (folder / "fxcarry-state").mkdir()
    with SqliteJournal(folder / "fxcarry-state" / "journal.sqlite", account_id="A1"):
        pass
    assert run("list").stdout == "no alerts\n"


def test_an_acknowledgement_is_on_record_once(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    assert shown("ack", "2", "--reason", "I call the broker") == {"acknowledged": [2], "by": "bob", "already": {}}
    assert shown("ack", "2", "1", "3") == {"acknowledged": [1], "by": "bob", "already": {"2": "bob", "3": "ann"}}
    assert run("ack", "3").stdout.splitlines() == ["0 acknowledged by bob", "3 was acknowledged before, by ann"]
    assert [(one["acknowledged_by"], one["reason"]) for one in shown("list")][1:] == [
        ("bob", "I call the broker"), ("ann", None),
    ]  # fmt: skip
    assert "; acknowledged by bob: I call the broker" in run("list").stdout
    assert [one["number"] for one in shown("list", "--open")] == []
    rows = [(row["alert"], row["who"], row["reason"]) for row in journal.table("acknowledgements")]
    assert rows == [(3, "ann", ""), (2, "bob", "I call the broker"), (1, "bob", "")]


@pytest.mark.usefixtures("journal")
def test_all_of_them_are_the_critical_ones_that_nobody_has_seen() -> None:
    assert shown("ack", "--all")["acknowledged"] == [2]
    assert run("ack", "--all").stdout.startswith("0 acknowledged by ")


@pytest.mark.parametrize(
    ("arguments", "message"), [((), "which alerts"), (("1", "--all"), "which"), (("9",), "no alert 9")]
)
@pytest.mark.usefixtures("journal")
def test_an_acknowledgement_of_nothing_is_refused(arguments: tuple[str, ...], message: str) -> None:
    result = run("ack", *arguments)
    assert isinstance(result.exception, ConfigError)
    assert message in result.exception.message
    assert [one["number"] for one in shown("list", "--open")] == [2]


# --- test -------------------------------------------------------------------------------------------------------------


def with_channels(monkeypatch: pytest.MonkeyPatch, *peers: Peer) -> None:
    monkeypatch.setattr(alerting, "channels", lambda settings: [Channel.of(peer) for peer in peers])


def test_the_console_is_there_without_any_configuration() -> None:
    result = run("test")
    assert (result.exit_code, result.stdout) == (0, "console          delivered\ndid they arrive?\n")
    assert "info: self-test: a test of the channels of fxcarry; nothing has happened" in result.stderr


def test_every_channel_is_tried_and_what_it_said_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad, unsure = (
        Peer("mail"),
        Peer("sms", NotifierError("20003", hint="a new token")),
        Peer("x", DeliveryUnknown("?")),
    )
    with_channels(monkeypatch, good, bad, unsure)
    told = shown("test", code=8)
    assert told["channels"] == {
        "mail": {"state": "delivered", "error": ""},
        "sms": {"state": "failed", "error": "NotifierError: 20003 (a new token)"},
        "x": {"state": "unknown", "error": "DeliveryUnknown: ?"},
    }
    assert not told["ok"]
    [alert] = good.taken
    assert (alert.kind, alert.severity) == ("self-test", "info")
    assert shown("test", "--channel", "mail")["channels"] == {"mail": {"state": "delivered", "error": ""}}
    assert "sms              failed: NotifierError: 20003 (a new token)" in run("test").stdout


def test_a_kind_and_severity_go_where_the_routes_say(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "fxcarry.toml").write_text(
        '[[notifiers]]\nuse = "console"\nname = "mail"\n[[notifiers]]\nuse = "console"\nname = "sms"\n'
        '[[alerts.routes]]\nseverities = ["critical"]\nto = ["sms"]\nthen = ["mail"]\nescalate_minutes = 15\n'
        '[[alerts.routes]]\nkinds = ["digest"]\nto = []\n',
        encoding="utf-8",
    )
    mail, sms = Peer("mail"), Peer("sms")
    with_channels(monkeypatch, mail, sms)
    told = shown("test", "--severity", "critical")
    assert (told["to"], told["then"], told["escalate_minutes"]) == (["sms"], ["mail"], 15)
    assert (len(mail.taken), len(sms.taken)) == (0, 1)
    assert "acknowledge" not in sms.taken[0].fields, "its number would be that of a real alert"
    assert shown("test", "--severity", "warning")["to"] == ["mail", "sms"]
    result = run("test", "--kind", "digest")
    assert (result.exit_code, result.stdout) == (
        0,
        "nobody is told of such an alert: it is kept in the journal and the log\n",
    )


def test_a_channel_or_kind_that_there_is_none_of_is_refused() -> None:
    kind = run("test", "--kind", "order-unknow").exception
    assert isinstance(kind, ConfigError)
    assert "order-unknown" in kind.hint
    result = run("test", "--channel", "fax")
    assert isinstance(result.exception, ConfigError)
    assert result.exception.message == "there is no channel 'fax'"
    assert result.exception.hint == "configured: console"


# --- watch ------------------------------------------------------------------------------------------------------------


def test_one_look_says_whether_the_engine_looks(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    with_channels(monkeypatch, peer := Peer("mail"))
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert shown("watch", "--once")["last_look"] is None
    with journal:
        journal.beat(datetime.now(UTC) - timedelta(days=9))
    told = shown("watch", "--once", code=8)
    assert told["is_missed"]
    assert told["silent_minutes"] > 60
    assert run("watch", "--once").stdout.startswith("the engine is silent since ")
    assert [a.kind for a in peer.taken] == ["heartbeat-missed"]
    with journal:
        journal.beat(datetime.now(UTC))
    assert not shown("watch", "--once")["is_missed"]
    assert [a.is_over for a in peer.taken] == [False, True]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_watch_runs_until_it_is_told_to_stop(journal: SqliteJournal, folder: Path) -> None:
    with journal:
        journal.beat(datetime.now(UTC) - timedelta(days=9))
    watch = subprocess.Popen(
        [sys.executable, "-c", "from fxcarry.cli import main; main()", "alerts", "watch", "--every", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    ends = time.monotonic() + 30
    while not any(row["kind"] == "heartbeat-missed" for row in journal.table("alerts")):
        assert time.monotonic() < ends
        time.sleep(0.05)
    os.kill(watch.pid, signal.SIGTERM)
    out, err = watch.communicate(timeout=30)
    assert watch.returncode == 8, err
    assert "critical: heartbeat-missed: the engine is silent since" in err
    assert out.startswith("the engine is silent since")
    assert "heartbeat-missed" in (folder / "fxcarry-state" / "watch.log").read_text("utf-8")


def test_a_watch_of_a_damaged_journal_tells_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "fxcarry-state").mkdir(exist_ok=True)
    (folder / "fxcarry-state" / "journal.sqlite").write_bytes(b"no database, but long enough to look at" * 99)
    peer = Peer("mail")
    with_channels(monkeypatch, peer)
    found = shown("watch", "--once", code=8)
    assert found == {"is_missed": True, "is_readable": False}
    [told] = peer.taken
    assert told.message.startswith("nobody can see whether the engine runs: ")


def test_who_has_no_name_is_a_number(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 54321)
    assert shown("ack", "2")["by"] == "uid 54321"
    assert run("ack", str(2**63)).exit_code == 2
