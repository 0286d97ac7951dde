"""fxcarry.alerts: told after the step, once for what lasts, and never in the way."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from channel import Channel

from fxcarry.alerts import AlertKind, Alerts, AlertSettings
from fxcarry.errors import ConfigError
from fxcarry.journal import MemoryJournal, SqliteJournal
from fxcarry.model import Alert

AT = datetime(2025, 3, 12, 21, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_nothing_leaves_before_the_flush_and_everything_with_it(caplog: pytest.LogCaptureFixture) -> None:
    journal, channel = MemoryJournal(), Channel()
    alerts = Alerts(journal, [channel])
    alerts.tell(AT, AlertKind.FEED_ERROR, "warning", "silent", fields={"minutes": 5})
    assert (journal.alerts, channel.alerts) == ([], [])
    with caplog.at_level(logging.INFO, "fxcarry"):
        alerts.flush()
    [alert] = journal.alerts
    assert (alert.at, alert.kind, alert.severity, alert.message) == (AT, "feed-error", "warning", "silent")
    assert alert.fields == {"minutes": 5}
    assert channel.alerts == [alert]
    assert journal.deliveries == [(1, "pager", "sending", ""), (1, "pager", "delivered", "")]
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [("WARNING", "feed-error: silent")]
    alerts.flush()
    assert len(channel.alerts) == 1


def test_what_lasts_is_told_once_and_its_end_too_with_how_often_it_came() -> None:
    channel = Channel()
    alerts = Alerts(MemoryJournal(), [channel])
    for minute in range(3):
        alerts.tell(AT + minute * MINUTE, AlertKind.FEED_ERROR, "warning", "silent", key="feed")
    for _ in range(2):
        alerts.end(AT + 3 * MINUTE, AlertKind.FEED_ERROR, "feed", "it talks")
    alerts.end(AT, AlertKind.BROKER_ERROR, "never told", "over")
    alerts.tell(AT + 4 * MINUTE, AlertKind.FEED_ERROR, "warning", "silent again", key="feed")
    alerts.end(AT + 5 * MINUTE, AlertKind.FEED_ERROR, "feed", "it talks again")
    alerts.flush()
    assert [(a.severity, a.message, a.key, a.is_over, a.fields) for a in channel.alerts] == [
        ("warning", "silent", "feed", False, {}),
        ("info", "it talks", "feed", True, {"count": 2}),
        ("warning", "silent again", "feed", False, {}),
        ("info", "it talks again", "feed", True, {}),
    ]


def test_a_condition_that_an_earlier_process_told_is_not_told_again_but_its_end_is() -> None:
    channel = Channel()
    alerts = Alerts(MemoryJournal(), [channel])
    alerts.remember("feed")
    alerts.tell(AT, AlertKind.FEED_ERROR, "warning", "silent", key="feed")
    alerts.end(AT, AlertKind.FEED_ERROR, "feed", "it talks")
    alerts.flush()
    assert [a.message for a in channel.alerts] == ["it talks"]


# --- the same words again ---------------------------------------------------------------------------------------------


def test_the_same_words_within_the_window_are_counted_and_told_in_one_line() -> None:
    channel = Channel()
    alerts = Alerts(MemoryJournal(), [channel], AlertSettings(dedupe_minutes=10))
    for minute in (0, 1, 4, 9):
        alerts.tell(AT + minute * MINUTE, AlertKind.ORDER_REJECTED, "warning", "no margin", fields={"pair": "AUDUSD"})
        alerts.flush()
    assert [a.message for a in channel.alerts] == ["no margin"]
    alerts.tell(AT + 10 * MINUTE, AlertKind.ORDER_REJECTED, "warning", "no margin")
    alerts.flush()
    assert [a.message for a in channel.alerts] == [
        "no margin",
        "no margin (3 times more between 21:00:00 and 21:09:00 UTC)",
        "no margin",
    ]
    assert channel.alerts[1].fields == {"pair": "AUDUSD", "count": 3}
    assert channel.alerts[1].at == AT + 9 * MINUTE


def test_other_words_another_kind_or_another_severity_are_not_the_same() -> None:
    channel = Channel()
    alerts = Alerts(MemoryJournal(), [channel])
    alerts.tell(AT, AlertKind.ORDER_REJECTED, "warning", "no margin")
    alerts.tell(AT, AlertKind.ORDER_REJECTED, "warning", "no margin in AUDUSD")
    alerts.tell(AT, AlertKind.BROKER_ERROR, "warning", "no margin")
    alerts.tell(AT, AlertKind.ORDER_REJECTED, "critical", "no margin")
    alerts.flush()
    assert len(channel.alerts) == 4


def test_what_happens_anew_each_time_is_never_the_same() -> None:
    channel = Channel()
    alerts = Alerts(MemoryJournal(), [channel])
    for what in ("halted", "active", "halted"):
        alerts.tell(AT, AlertKind.TRADING_STATE, "critical", f"trading is {what}")
        alerts.tell(AT, AlertKind.TRADE_EXECUTED, "info", "bought 1,000 AUDUSD at 0.66")
    alerts.flush()
    assert channel.said("trading-state") == ["trading is halted", "trading is active", "trading is halted"]
    assert len(channel.said("trade-executed")) == 3


def test_what_was_counted_is_told_at_the_end() -> None:
    channel = Channel()
    alerts = Alerts(MemoryJournal(), [channel])
    for _ in range(2):
        alerts.tell(AT, AlertKind.ORDER_REJECTED, "warning", "no margin")
    assert alerts.close()
    assert channel.said("order-rejected") == ["no margin", "no margin (once more between 21:00:00 and 21:00:00 UTC)"]


def test_words_that_are_remembered_are_bounded() -> None:
    journal = MemoryJournal()
    alerts = Alerts(journal)
    for n in range(3000):
        alerts.tell(AT, AlertKind.ORDER_REJECTED, "warning", f"order {n}")
        alerts.flush()
    assert len(journal.alerts) == 3000
    alerts.tell(AT, AlertKind.ORDER_REJECTED, "warning", "order 0")  # forgotten
    alerts.tell(AT, AlertKind.ORDER_REJECTED, "warning", "order 2999")  # remembered
    alerts.flush()
    assert len(journal.alerts) == 3001


def test_an_engine_that_crashes_again_and_again_tells_it_once_an_hour(tmp_path: Path) -> None:
    told = []
    for start in range(5):
        channel = Channel()
        with SqliteJournal(tmp_path / "journal.sqlite", account_id="A1") as journal:
            alerts = Alerts(journal, [channel], AlertSettings(dedupe_minutes=60))
            at = AT + start * 20 * MINUTE
            alerts.recover(at)
            alerts.tell(at, AlertKind.ENGINE_CRASH, "critical", "ZeroDivisionError")
            alerts.flush()
            alerts.close()
        told.append(len(channel.alerts))
    assert told == [1, 0, 0, 1, 0]


def lives(path: Path, *ends: str, apart: timedelta = 10 * MINUTE) -> list[list[str]]:
    """What is told by processes one after another that each start, and end as is said."""
    told = []
    for number, end in enumerate(ends):
        channel, at = Channel(), AT + number * apart
        with SqliteJournal(path / "journal.sqlite", account_id="A1") as journal:
            alerts = Alerts(journal, [channel], AlertSettings(dedupe_minutes=60))
            alerts.recover(at)
            alerts.tell(at, AlertKind.ENGINE_START, "info", "the engine runs")
            alerts.flush()
            if end == "stop":
                alerts.tell(at, AlertKind.ENGINE_STOP, "info", "the engine stopped")
            elif end != "killed":
                alerts.tell(at, AlertKind.ENGINE_CRASH, "critical", end)
            alerts.flush()
            alerts.close()
        told.append([alert.kind.removeprefix("engine-") for alert in channel.alerts])
    return told


def test_the_start_after_a_crash_is_told_once_too(tmp_path: Path) -> None:
    found = lives(tmp_path, "crash", "crash", "crash", "killed", "crash", "crash", "crash", "crash")
    assert found[:6] == [["start", "crash"], ["start"], [], [], [], []]
    assert found[6:] == [["crash"], ["start"]], "an hour is over"


def test_other_words_and_a_stop_begin_anew(tmp_path: Path) -> None:
    found = lives(tmp_path, "one", "one", "two", "one", "stop", "one", "killed", "killed")
    assert found[:4] == [["start", "crash"], ["start"], ["crash"], ["start"]]
    assert found[4:] == [["stop"], ["start"], ["start"], ["start"]]


def test_without_a_crash_every_start_is_told(tmp_path: Path) -> None:
    told = lives(tmp_path, "killed", "killed", "stop", "stop")
    assert told == [["start"], ["start"], ["start", "stop"], ["start", "stop"]]


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_channel_that_fails_is_recorded_and_the_next_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Dead:
        name = "dead"

        def notify(self, alert: Alert) -> None:
            raise TimeoutError("token s3cret: no answer")

    journal, channel = MemoryJournal(), Channel()
    alerts = Alerts(journal, [Dead(), channel])
    alerts.mask = lambda text: text.replace("s3cret", "***")
    alerts.tell(AT, AlertKind.OPERATOR, "info", "the key is s3cret", fields={"why": "s3cret", "n": 1})
    alerts.flush()
    assert [(a.message, a.fields) for a in channel.alerts] == [("the key is ***", {"why": "***", "n": 1})]
    assert sorted(journal.deliveries) == [
        (1, "dead", "sending", ""),
        (1, "dead", "unknown", "TimeoutError: token ***: no answer"),
        (1, "pager", "delivered", ""),
        (1, "pager", "sending", ""),
    ]
    assert "s3cret" not in caplog.text


def test_a_journal_that_cannot_be_written_keeps_no_channel_from_being_told(tmp_path: Path) -> None:
    channel = Channel()
    alerts = Alerts(SqliteJournal(tmp_path / "gone" / "journal.sqlite", account_id="A1"), [channel])
    alerts.tell(AT, AlertKind.ENGINE_CRASH, "critical", "the disk is full")
    alerts.flush()
    assert [a.message for a in channel.alerts] == ["the disk is full"]


def test_a_journal_that_cannot_be_read_keeps_nobody_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    channel = Channel()
    alerts = Alerts(SqliteJournal(tmp_path / "gone" / "journal.sqlite", account_id="A1"), [channel])
    alerts.recover(AT)
    assert "alerts of an earlier process cannot be read" in caplog.text
    alerts.tell(AT, AlertKind.LIQUIDATION, "critical", "the account is flat")
    alerts.flush()
    assert channel.said("liquidation") == ["the account is flat"]


def test_two_channels_of_one_name_and_a_route_to_nobody_are_refused() -> None:
    with pytest.raises(ConfigError, match="two channels are called 'pager'"):
        Alerts(MemoryJournal(), [Channel(), Channel()])
    from fxcarry.alerts import Route

    with pytest.raises(ConfigError, match=r"routes\[0\]\.to: there is no channel 'slak' \(pager configured"):
        Alerts(MemoryJournal(), [Channel()], AlertSettings(routes=(Route(to=("slak",)),)))


@pytest.mark.in_background
def test_who_is_forgotten_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    channel = Channel()
    alerts = Alerts(MemoryJournal(), [channel])
    alerts.tell(AT, AlertKind.OPERATOR, "info", "hello")
    alerts.flush()
    assert alerts.settle(5)
    gone = weakref.ref(alerts)
    del alerts
    gc.collect()
    assert gone() is None
    for thread in threading.enumerate():
        if thread.name.startswith(("fxcarry-alerts", "alerts-pager")):
            thread.join(5)
    assert threading.active_count() <= before


@pytest.mark.in_background
def test_after_it_was_closed_it_can_go_on() -> None:
    channel = Channel()
    alerts = Alerts(MemoryJournal(), [channel])
    for n in range(3):
        alerts.tell(AT, AlertKind.OPERATOR, "info", f"run {n}")
        alerts.flush()
        assert alerts.close()
    assert channel.said("operator") == ["run 0", "run 1", "run 2"]


def test_without_channels_alerts_are_kept_all_the_same() -> None:
    journal = MemoryJournal()
    alerts = Alerts(journal)
    alerts.recover(AT)
    alerts.tell(AT, AlertKind.OPERATOR, "info", "hello")
    alerts.flush()
    assert alerts.settle()
    assert alerts.close()
    assert [attrs.asdict(a)["message"] for a in journal.alerts] == ["hello"]
    assert journal.deliveries == []


def test_kinds_are_kebab_case_and_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "howto" / "operate.md").read_text("utf-8")
    for kind in AlertKind:
        assert kind == kind.lower().replace("_", "-")
        assert f"`{kind}`" in page, kind
