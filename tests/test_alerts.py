"""fxcarry.alerts: told after the step, once for what lasts, and never in the way."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fxcarry.alerts import AlertKind, Alerts, ConsoleNotifier
from fxcarry.journal import MemoryJournal, SqliteJournal
from fxcarry.model import Alert
from fxcarry.protocols import Notifier

AT = datetime(2025, 3, 12, 21, tzinfo=UTC)


class Channel:
    name = "pager"

    def __init__(self) -> None:
        self.taken: list[Alert] = []

    def notify(self, alert: Alert) -> None:
        self.taken.append(alert)


def test_nothing_leaves_before_the_flush_and_everything_with_it(caplog: pytest.LogCaptureFixture) -> None:
    journal, channel = MemoryJournal(), Channel()
    alerts = Alerts(journal, [channel])
    alerts.tell(AT, AlertKind.FEED_ERROR, "warning", "silent", fields={"minutes": 5})
    assert (journal.alerts, channel.taken) == ([], [])
    with caplog.at_level(logging.INFO, "fxcarry"):
        alerts.flush()
    [alert] = journal.alerts
    assert (alert.at, alert.kind, alert.severity, alert.message) == (AT, "feed-error", "warning", "silent")
    assert alert.fields == {"minutes": 5}
    assert channel.taken == [alert]
    assert journal.deliveries == [(1, "pager", "")]
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [("WARNING", "feed-error: silent")]
    alerts.flush()
    assert len(channel.taken) == 1


def test_what_lasts_is_told_once_and_its_end_too() -> None:
    channel = Channel()
    alerts = Alerts(MemoryJournal(), [channel])
    for minute in range(3):
        alerts.tell(AT + timedelta(minutes=minute), AlertKind.FEED_ERROR, "warning", "silent", key="feed")
    for _ in range(2):
        alerts.end(AT + timedelta(minutes=3), AlertKind.FEED_ERROR, "feed", "it talks")
    alerts.end(AT, AlertKind.BROKER_ERROR, "never told", "over")
    alerts.tell(AT + timedelta(minutes=4), AlertKind.FEED_ERROR, "warning", "silent again", key="feed")
    alerts.flush()
    assert [(a.severity, a.message) for a in channel.taken] == [
        ("warning", "silent"),
        ("info", "it talks"),
        ("warning", "silent again"),
    ]


def test_a_channel_that_fails_is_recorded_and_the_next_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Dead:
        name = "dead"

        def notify(self, alert: Alert) -> None:
            raise TimeoutError("token s3cret: no answer")

    journal, channel = MemoryJournal(), Channel()
    alerts = Alerts(journal, [Dead(), channel])
    alerts.mask = lambda text: text.replace("s3cret", "***")
    alerts.tell(AT, AlertKind.OPERATOR, "info", "the key is s3cret")
    alerts.flush()
    assert [a.message for a in channel.taken] == ["the key is ***"]
    assert journal.deliveries == [(1, "dead", "TimeoutError: token ***: no answer"), (1, "pager", "")]
    assert "s3cret" not in caplog.text


def test_a_journal_that_cannot_be_written_keeps_no_channel_from_being_told(tmp_path: Path) -> None:
    channel = Channel()
    alerts = Alerts(SqliteJournal(tmp_path / "gone" / "journal.sqlite", account_id="A1"), [channel])
    alerts.tell(AT, AlertKind.ENGINE_CRASH, "critical", "the disk is full")
    alerts.flush()
    assert [a.message for a in channel.taken] == ["the disk is full"]


def test_the_console_is_a_channel(capsys: pytest.CaptureFixture[str]) -> None:
    console = ConsoleNotifier()
    assert isinstance(console, Notifier)
    console.notify(Alert(at=AT, kind="stop-loss", severity="warning", message="AUDUSD"))
    assert capsys.readouterr().err == "2025-03-12 21:00:00 warning: stop-loss: AUDUSD\n"


def test_kinds_are_kebab_case_and_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "howto" / "operate.md").read_text("utf-8")
    for kind in AlertKind:
        assert kind == kind.lower().replace("_", "-")
        assert f"`{kind}`" in page, kind


def test_the_console_writes_one_line_whatever_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    message = "a\nb\x1b[31m \u202e {x} € 🏦"
    ConsoleNotifier().notify(Alert(at=AT, kind="operator", severity="info", message=message))
    assert capsys.readouterr().err == r"2025-03-12 21:00:00 info: operator: a\nb\x1b[31m \u202e {x} € 🏦" + "\n"
