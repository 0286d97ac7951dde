"""fxcarry.alerts.outbox: sent in the background, once, by whoever takes it; nothing waits for a channel."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fxcarry.alerts import AlertKind, Alerts, AlertSettings, Channel, Outbox, Route, Severity, outbox
from fxcarry.errors import ConfigError, DeliveryUnknown, JournalError, NotifierError
from fxcarry.journal import Journal, MemoryJournal, SqliteJournal
from fxcarry.model import Alert

pytestmark = pytest.mark.in_background

AT = datetime(2025, 3, 12, 21, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Peer:
    """A channel that keeps what it took; ``do`` is done before, with how many calls there were."""

    def __init__(self, name: str, do: Callable[[int], None] | None = None, per_hour: int | None = None) -> None:
        self.name, self.do, self.per_hour = name, do, per_hour
        self.calls, self.taken = 0, list[Alert]()

    def notify(self, alert: Alert) -> None:
        self.calls += 1
        if self.do is not None:
            self.do(self.calls)
        self.taken.append(alert)

    @property
    def messages(self) -> list[str]:
        return [alert.message for alert in self.taken]


class Local(Peer):
    """One that wakes nobody, as the console."""

    is_local = True


def fails(error: Exception, times: int = 10**9) -> Callable[[int], None]:
    def do(call: int) -> None:
        if call <= times:
            raise error

    return do


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """A channel that waits for it hangs until the test is over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that failed is left alone for a moment only."""
    monkeypatch.setattr(outbox, "_WAITS", (0.05, 0.1))
    monkeypatch.setattr(outbox, "_SOON", 0.1)


def send(
    alerts: Alerts, *messages: str, severity: Severity = "critical", kind: AlertKind = AlertKind.BROKER_ERROR
) -> None:
    for message in messages:
        alerts.tell(AT, kind, severity, message)
    alerts.flush()


def states(journal: Journal, message: str) -> dict[str, str]:
    [one] = [one for one in journal.recent_alerts(AT - timedelta(days=9)) if one.alert.message == message]
    return one.states


def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it does not come about"
        time.sleep(0.005)


# --- who is told ------------------------------------------------------------------------------------------------------


def test_each_channel_is_told_once_and_it_is_on_record(journal: Journal) -> None:
    one, two = Peer("one"), Peer("two")
    alerts = Alerts(journal, [one, two])
    send(alerts, "a", "b", "c", severity="info")
    assert alerts.settle(5)
    assert one.messages == two.messages == ["a", "b", "c"]
    assert states(journal, "b") == {"one": "delivered", "two": "delivered"}
    assert alerts.close()


def test_a_channel_that_fails_for_good_hands_a_critical_alert_to_the_next(journal: Journal) -> None:
    dead, other, third = Peer("dead", fails(NotifierError("401", fields={"is_final": True}))), Peer("other"), Peer("3")
    route = Route(to=("dead",), then=("other", "3"))
    alerts = Alerts(journal, [dead, other, third], AlertSettings(routes=(route,)))
    send(alerts, "fire")
    send(alerts, "smoke", severity="info")
    assert alerts.settle(5)
    assert (dead.calls, other.messages, third.messages) == (2, ["fire", "smoke"], [])
    assert states(journal, "fire") == {"dead": "failed", "other": "delivered"}
    alerts.close()


def test_without_a_ladder_only_a_critical_alert_goes_to_the_other_channels(journal: Journal) -> None:
    dead, other = Peer("dead", fails(NotifierError("401", fields={"is_final": True}))), Peer("other")
    alerts = Alerts(journal, [dead, other], AlertSettings(routes=(Route(to=("dead",)),)))
    send(alerts, "fire")
    send(alerts, "smoke", severity="warning")
    assert alerts.settle(5)
    assert other.messages == ["fire"]
    assert states(journal, "smoke") == {"dead": "failed"}
    alerts.close()


def test_what_was_certainly_not_delivered_is_tried_again(journal: Journal) -> None:
    weak = Peer("weak", fails(NotifierError("503"), times=2))
    alerts = Alerts(journal, [weak])
    send(alerts, "smoke", severity="info")
    until(lambda: weak.messages == ["smoke"])
    assert weak.calls == 3
    alerts.close()
    assert states(journal, "smoke") == {"weak": "delivered"}


def test_an_alert_that_is_not_critical_is_given_up_and_a_critical_one_never(journal: Journal) -> None:
    dead = Peer("dead", fails(NotifierError("503"), times=9))
    alerts = Alerts(journal, [dead])
    send(alerts, "smoke", severity="info")
    until(lambda: dead.calls == 3)
    time.sleep(0.3)
    assert dead.calls == 3
    send(alerts, "fire")
    until(lambda: dead.messages == ["fire"])
    assert dead.calls == 10
    alerts.close()


def test_a_channel_that_says_how_long_is_left_alone_so_long(journal: Journal) -> None:
    times: list[float] = []

    def busy(call: int) -> None:
        times.append(time.monotonic())
        if call == 1:
            raise NotifierError("429", fields={"retry_after": 0.5})

    peer = Peer("busy", busy)
    alerts = Alerts(journal, [peer])
    send(alerts, "fire")
    until(lambda: peer.messages == ["fire"])
    assert times[1] - times[0] >= 0.5
    alerts.close()


def test_what_may_have_been_delivered_is_never_sent_again_there(journal: Journal) -> None:
    unsure, other = Peer("unsure", fails(DeliveryUnknown("no answer"))), Peer("other")
    alerts = Alerts(journal, [unsure, other], AlertSettings(routes=(Route(to=("unsure",)),)))
    send(alerts, "fire")
    send(alerts, "smoke", severity="info")
    until(lambda: unsure.calls == 2)
    time.sleep(0.2)
    assert (unsure.calls, other.messages) == (2, ["fire"])
    assert states(journal, "fire") == {"unsure": "unknown", "other": "delivered"}
    alerts.close()


@pytest.mark.parametrize("error", [OSError("boom"), RuntimeError("a bug"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_channel_raises_the_others_are_told_and_it_is_told_the_next(error: BaseException) -> None:
    def do(call: int) -> None:
        if call == 1:
            raise error

    journal, mad, other = MemoryJournal(), Peer("mad", do), Peer("other")
    alerts = Alerts(journal, [mad, other])
    send(alerts, "one", "two")
    until(lambda: mad.messages == ["two"])
    assert other.messages == ["one", "two"]
    alerts.close()
    assert states(journal, "one") == {"mad": "unknown", "other": "delivered"}


def test_a_secret_that_is_missing_is_a_failure_and_not_a_doubt() -> None:
    journal, peer = MemoryJournal(), Peer("mail", fails(ConfigError("the secret in env 'X' is missing")))
    alerts = Alerts(journal, [peer, Local("console")])
    send(alerts, "fire")
    assert alerts.settle(5)
    assert states(journal, "fire") == {"mail": "failed", "console": "delivered"}
    alerts.close()


def test_a_console_wakes_nobody_so_the_other_channel_is_tried_until_it_takes_it() -> None:
    journal, weak = MemoryJournal(), Peer("weak", fails(NotifierError("no network"), times=6))
    alerts = Alerts(journal, [Local("console"), weak])
    send(alerts, "fire")
    until(lambda: weak.messages == ["fire"])
    alerts.close()


# --- channels that hang -----------------------------------------------------------------------------------------------


def test_a_channel_that_hangs_delays_nobody(gate: threading.Event, journal: Journal) -> None:
    hanging, other = Peer("hanging", lambda call: gate.wait() and None), Peer("other")
    alerts = Alerts(journal, [hanging, other])
    began = time.monotonic()
    for n in range(200):
        send(alerts, f"m {n}", severity="info")
    assert time.monotonic() - began < 2.0
    until(lambda: len(other.taken) == 200)
    assert not alerts.close(0.2)


def test_what_waits_behind_a_slow_channel_goes_to_the_next(gate: threading.Event) -> None:
    journal = MemoryJournal()
    hanging, other = Peer("hanging", lambda call: gate.wait() and None), Peer("other")
    alerts = Alerts(journal, [hanging, other], AlertSettings(routes=(Route(to=("hanging",), then=("other",)),)))
    send(alerts, "one", "two", "three")
    until(lambda: other.messages == ["two", "three"])  # what became of the first nobody knows yet
    gate.set()
    until(lambda: hanging.messages == ["one"])
    time.sleep(0.1)
    assert hanging.messages == ["one"]  # and what somebody knows is not sent late
    alerts.close()


def test_what_is_critical_goes_before_what_is_not(gate: threading.Event, journal: Journal) -> None:
    slack = Peer("slack", lambda call: bool(call > 1 or gate.wait(5)))
    alerts = Alerts(journal, [slack], AlertSettings(routes=(Route(to=("slack",), then=()),)))
    send(alerts, "trade 1", severity="info")
    until(lambda: slack.calls == 1)
    send(alerts, "trade 2", "trade 3", severity="info")
    send(alerts, "fire", "smoke")
    until(lambda: states(journal, "smoke") == {"slack": "waiting"})
    gate.set()
    assert alerts.settle(5)
    assert slack.messages == ["trade 1", "fire", "smoke", "trade 2", "trade 3"]


def test_what_is_tried_again_keeps_its_place(journal: Journal) -> None:
    slack = Peer("slack", fails(NotifierError("busy"), times=1))
    alerts = Alerts(journal, [slack], AlertSettings(routes=(Route(to=("slack",), then=()),)))
    send(alerts, "trade 1", "trade 2", severity="info")
    send(alerts, "fire")
    until(lambda: len(slack.taken) == 3)
    assert slack.messages == ["fire", "trade 1", "trade 2"]


def test_one_that_hangs_for_good_has_possibly_delivered_and_says_so_when_it_comes_back(gate: threading.Event) -> None:
    journal = MemoryJournal()
    hanging, other = Peer("hanging", lambda call: gate.wait() and None), Peer("other")
    settings = AlertSettings(routes=(Route(to=("hanging",), then=("other",)),))
    box = Outbox(journal, [Channel.of(hanging), Channel.of(other)], settings, patience=0.1)
    alert = Alert(at=AT, kind="broker-error", severity="critical", message="fire")
    box.hand(journal.alert(alert), alert)
    until(lambda: other.messages == ["fire"])
    assert box.settle(5)  # it is not waited for
    assert states(journal, "fire") == {"hanging": "unknown", "other": "delivered"}
    gate.set()
    until(lambda: states(journal, "fire")["hanging"] == "delivered")
    box.hand(None, alert)
    until(lambda: hanging.messages == ["fire", "fire"])
    box.close()


# --- floods -----------------------------------------------------------------------------------------------------------


def test_one_that_says_after_a_long_while_that_it_did_not_take_it_is_tried_again(gate: threading.Event) -> None:
    def late(call: int) -> None:
        if call == 1:
            gate.wait(5)
            raise NotifierError("452 no room")

    mail = Peer("mail", late)
    alerts = Alerts(MemoryJournal(), [mail])
    alerts._outbox._patience = 0.1
    send(alerts, "fire")
    until(lambda: alerts._outbox._lines["mail"].is_hanging)
    gate.set()
    until(lambda: mail.messages == ["fire"])


def test_a_dead_channel_with_a_thousand_alerts_keeps_no_other_from_being_told() -> None:
    console, sms = Local("console"), Peer("sms", fails(NotifierError("no network")))
    alerts = Alerts(MemoryJournal(), [console, sms])
    send(alerts, *(f"fire {n}" for n in range(400)))
    until(lambda: len(console.taken) == 400)
    until(lambda: alerts._outbox._lines["sms"].is_sick)
    for first in range(400, 1500, 100):
        send(alerts, *(f"fire {n}" for n in range(first, first + 100)))
        until(lambda first=first: len(console.taken) == first + 100)  # type: ignore[misc]
    line = alerts._outbox._lines["sms"]
    assert len(line.waiting) <= 1001
    assert line.held["broker-error"] >= 490
    alerts.close(0.1)


def test_half_an_emoji_ends_nothing(journal: Journal) -> None:
    hook = Peer("hook", fails(NotifierError("it said \ud83d", fields={"is_final": True})))
    mail = Peer("mail")
    alerts = Alerts(journal, [hook, mail], AlertSettings(routes=(Route(to=("hook",), then=("mail",)),)))
    alerts.tell(AT, AlertKind.FEED_ERROR, "critical", "rate limited \ud83d", fields={"said": "\ud83d"}, key="\ud83d")
    alerts.flush()
    assert alerts.settle(5)
    assert mail.messages == ["rate limited \\ud83d"]
    [one] = journal.recent_alerts()
    assert one.states == {"hook": "failed", "mail": "delivered"}


def test_what_could_not_be_recorded_is_recorded_when_it_can_be(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_locked = threading.Event()
    is_locked.set()
    real = type(journal).delivery

    def delivery(self: Any, *args: Any, **named: Any) -> None:
        if is_locked.is_set():
            raise JournalError("locked")
        real(self, *args, **named)

    monkeypatch.setattr(type(journal), "delivery", delivery)
    mail = Peer("mail")
    alerts = Alerts(journal, [mail])
    send(alerts, "fire")
    until(lambda: mail.messages == ["fire"])
    assert not alerts.settle(0.2)
    is_locked.clear()
    assert alerts.settle(5)
    assert states(journal, "fire") == {"mail": "delivered"}


def test_more_than_a_channel_may_be_told_is_counted_and_told_in_one_line(journal: Journal) -> None:
    peer = Peer("sms", per_hour=5)
    alerts = Alerts(journal, [peer], AlertSettings(held_back_minutes=0.005))
    for n in range(20):
        send(alerts, f"m {n}", severity="info", kind=AlertKind.FEED_ERROR)
    send(alerts, "w", severity="warning", kind=AlertKind.RISK_LIMIT)
    send(alerts, "fire")
    until(lambda: any(a.kind == "held-back" for a in peer.taken))
    assert alerts.settle(5)
    assert [m for m in peer.messages if m.startswith("m ")] == [f"m {n}" for n in range(5)]
    assert "fire" in peer.messages  # critical ones are always told
    summed = [a for a in peer.taken if a.kind == "held-back"]
    total = Counter[str]()
    for alert in summed:
        total.update({kind: count for kind, count in alert.fields.items() if kind != "count"})
    assert total == {"feed-error": 15, "risk-limit": 1}
    assert summed[-1].severity == "warning"
    assert "not sent here one by one since 2025-03-12 21:00 UTC: " in summed[0].message
    assert states(journal, "m 19") == {"sms": "held-back"}
    alerts.close()


def test_what_was_held_back_is_told_at_the_end() -> None:
    journal, peer = MemoryJournal(), Peer("sms", per_hour=1)
    alerts = Alerts(journal, [peer])
    send(alerts, "a", "b", "c", severity="info")
    assert alerts.close()
    assert peer.messages[0] == "a"
    assert peer.messages[1].startswith("2 alerts were not sent here one by one since")
    assert [a.kind for a in journal.alerts].count("held-back") == 1


def test_a_limit_fills_up_again_in_the_course_of_an_hour() -> None:
    now = [0.0]
    journal, peer = MemoryJournal(), Peer("sms", per_hour=2)
    box = Outbox(journal, [Channel.of(peer)], AlertSettings(), clock=lambda: now[0])

    def hand(message: str) -> None:
        alert = Alert(at=AT, kind="operator", severity="info", message=message)
        box.hand(journal.alert(alert), alert)
        assert box.settle(5)

    for n in range(4):
        hand(f"now {n}")
    now[0] = 1801.0  # half an hour: one more
    hand("later 0")
    hand("later 1")
    assert peer.messages == ["now 0", "now 1", "later 0"]
    box.close()


def test_ten_thousand_alerts_with_one_channel_hanging_and_one_failing(gate: threading.Event, tmp_path: Path) -> None:
    hanging = Peer("hanging", lambda call: gate.wait() and None, per_hour=60)
    failing = Peer("failing", fails(NotifierError("503")), per_hour=60)
    good = Peer("good", per_hour=60)
    routes = (Route(severities=("critical",), to=("hanging", "failing"), then=("good",)), Route(to=("good",)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with SqliteJournal(tmp_path / "journal.sqlite", account_id="A1") as journal:
        alerts = Alerts(journal, [hanging, failing, good], AlertSettings(routes=routes))
        for look in range(100):
            for n in range(100):
                is_critical = n == 0
                alerts.tell(
                    AT + look * SECOND,
                    AlertKind.ORDER_UNKNOWN if is_critical else AlertKind.FEED_ERROR,
                    "critical" if is_critical else "info",
                    f"look {look}, alert {n}",
                )
            alerts.flush()
        until(lambda: sum(a.severity == "critical" for a in good.taken) == 100, 30.0)
        alerts.close(0.5)
        assert len({a.message for a in good.taken if a.severity == "critical"}) == 100
        [summary] = [a for a in good.taken if a.kind == "held-back"]
        assert summary.fields["feed-error"] == 9900 - sum(a.kind == "feed-error" for a in good.taken)
        assert len(journal.table("alerts")) == 10_000 + 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_what_does_not_fit_into_memory_waits_in_the_journal(
    gate: threading.Event, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_WAITING", 20)
    slow = Peer("slow", lambda call: gate.wait() and None if call == 1 else None)
    alerts = Alerts(journal, [slow])
    for n in range(300):
        send(alerts, f"m {n}")
    box = alerts._outbox
    assert box is not None
    assert len(box._handed) <= 20
    assert all(len(line.waiting) <= 20 for line in box._lines.values())
    gate.set()
    until(lambda: len(slow.taken) == 300, 20.0)
    assert slow.messages == [f"m {n}" for n in range(300)]
    alerts.close()


def test_a_dead_channel_does_not_fill_the_memory_that_others_need(
    gate: threading.Event, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_WAITING", 100)
    monkeypatch.setattr(outbox, "_IN_LINE", 20)
    hanging, good = Peer("hanging", lambda call: gate.wait() and None), Peer("good")
    alerts = Alerts(journal, [hanging, good])
    for n in range(500):
        send(alerts, f"m {n}")
    until(lambda: len(good.taken) == 500, 20.0)
    assert good.messages == [f"m {n}" for n in range(500)]
    gate.set()
    alerts.close(20.0)
    assert "alerts were not sent here one by one" in hanging.messages[-1]
    told = sum(message.startswith("m ") for message in hanging.messages)
    assert sum(a.fields["count"] for a in hanging.taken if a.kind == "held-back") == 500 - told


def test_a_journal_that_cannot_be_read_stops_no_ladder() -> None:
    class Unreadable(MemoryJournal):
        def is_acknowledged(self, alert: int) -> bool:
            raise JournalError("the disk is gone")

    mail, sms, phone = Peer("mail"), Peer("sms"), Peer("phone")
    alerts = Alerts(Unreadable(), [mail, sms, phone], LADDER)
    send(alerts, "fire")
    until(lambda: phone.calls > 0)
    send(alerts, "more fire")
    until(lambda: "more fire" in mail.messages)
    alerts.close(0.1)


def test_a_journal_that_is_full_drops_only_what_memory_cannot_hold(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(MemoryJournal):
        def alert(self, alert: Alert) -> int:
            raise JournalError("the disk is full")

    monkeypatch.setattr(outbox, "_WAITING", 5)
    slow = Peer("slow", lambda call: gate.wait() and None if call == 1 else None)
    alerts = Alerts(Full(), [slow])
    for n in range(40):
        send(alerts, f"m {n}")
    gate.set()
    until(lambda: len(slow.taken) >= 5)
    assert alerts.settle(5)
    assert slow.messages[0] == "m 0"
    assert "is dropped, too many wait" in caplog.text
    alerts.close()


# --- until somebody answers -------------------------------------------------------------------------------------------

LADDER = AlertSettings(routes=(Route(to=("mail",), then=("sms", "phone"), escalate_minutes=0.003),))


def test_a_critical_alert_that_nobody_acknowledges_goes_up_the_ladder_again_and_again(journal: Journal) -> None:
    mail, sms, phone = Peer("mail"), Peer("sms"), Peer("phone")
    alerts = Alerts(journal, [mail, sms, phone], LADDER)
    send(alerts, "fire")
    send(alerts, "smoke", severity="warning")
    until(lambda: len(phone.taken) >= 3)
    assert mail.messages == ["fire", "smoke"]
    assert sms.messages == ["not acknowledged for 0.003 minutes: fire"]
    assert phone.messages[0] == "not acknowledged for 0.006 minutes: fire"
    assert len(set(phone.messages)) == len(phone.messages), "a mail server drops what it knows"
    assert mail.taken[0].fields["acknowledge"] == "fxcarry alerts ack 1"
    assert sms.taken[0].fields["acknowledge"] == "fxcarry alerts ack 1"
    assert journal.acknowledge(1, by="ann", at=AT)
    alerts.settle(5)
    time.sleep(0.25)
    calls = phone.calls
    time.sleep(0.5)
    assert phone.calls == calls
    alerts.close()


def test_a_channel_that_is_down_is_escalated_to_once_and_not_after_somebody_has_seen_it(journal: Journal) -> None:
    down = threading.Event()
    down.set()
    sms = Peer("sms", lambda call: (down.is_set() and fails(NotifierError("no network"))(call)) or None)
    mail = Peer("mail")
    route = Route(to=("mail",), then=("sms",), escalate_minutes=0.001)
    alerts = Alerts(journal, [mail, sms], AlertSettings(routes=(route,)))
    send(alerts, "fire")
    until(lambda: sms.calls >= 5)
    line = alerts._outbox._lines["sms"]
    assert len(line.waiting) + (line.busy is not None) <= 1
    journal.acknowledge(1, by="ann", at=AT)
    time.sleep(0.2)
    down.clear()
    assert alerts.settle(5)
    time.sleep(0.3)
    assert sms.messages == []


def test_what_nobody_is_sure_of_goes_up_the_ladder_too(journal: Journal) -> None:
    mail, sms = (Peer(name, fails(DeliveryUnknown("no answer"))) for name in ("mail", "sms"))
    route = Route(to=("mail",), then=("sms",), escalate_minutes=0.001)
    alerts = Alerts(journal, [mail, sms], AlertSettings(routes=(route,)))
    send(alerts, "fire")
    until(lambda: sms.calls >= 3)
    assert mail.calls == 1


def test_a_process_that_ends_again_and_again_goes_up_the_ladder(tmp_path: Path) -> None:
    mail, sms = Peer("mail"), Peer("sms")
    route, now = Route(to=("mail",), then=("sms",), escalate_minutes=10), datetime.now(UTC)
    told: list[int] = []
    for minutes in (5, 11, 14):
        with SqliteJournal(tmp_path / f"{minutes}.sqlite", account_id="A1") as journal:
            journal.alert(
                Alert(at=now - timedelta(minutes=minutes), kind="broker-error", severity="critical", message="fire")
            )
            journal.delivery(1, "mail", now, "delivered")
            if minutes == 14:
                journal.delivery(1, "sms", now, "delivered")  # the rung above knows: the next one is due at 20
            alerts = Alerts(journal, [mail, sms], AlertSettings(routes=(route,)))
            alerts.recover(now)
            time.sleep(0.1)
            assert alerts.settle(5)
            alerts.close()
        told.append(len(sms.taken))
    assert told == [0, 1, 1]


def test_a_condition_that_is_over_goes_no_further_up(journal: Journal) -> None:
    mail, sms, phone = Peer("mail"), Peer("sms"), Peer("phone")
    route = Route(to=("mail",), then=("sms", "phone"), escalate_minutes=0.02)
    alerts = Alerts(journal, [mail, sms, phone], AlertSettings(routes=(route,)))
    alerts.tell(AT, AlertKind.FEED_ERROR, "critical", "silent", key="feed")
    alerts.flush()
    assert alerts.settle(5)
    alerts.end(AT, AlertKind.FEED_ERROR, "feed", "it talks")
    alerts.flush()
    time.sleep(1.6)
    assert (mail.messages, sms.calls, phone.calls) == (["silent", "it talks"], 0, 0)
    alerts.close()


# --- after a crash ----------------------------------------------------------------------------------------------------


def crashed(path: Path, rows: list[tuple[Severity, str, dict[str, list[str]]]]) -> SqliteJournal:
    """A journal as a process left it: alerts with what was recorded of each at every channel."""
    with SqliteJournal(path, account_id="A1") as journal:
        for severity, message, became in rows:
            number = journal.alert(Alert(at=AT, kind="broker-error", severity=severity, message=message))
            for channel, told in became.items():
                for state in told:
                    journal.delivery(number, channel, AT, state)
    return SqliteJournal(path, account_id="A1")


def test_what_a_crash_left_is_sent_once_or_marked(tmp_path: Path) -> None:
    mail, sms = Peer("mail"), Peer("sms")
    left: list[tuple[Severity, str, dict[str, list[str]]]] = [
        ("critical", "delivered", {"mail": ["waiting", "sending", "delivered"]}),
        ("critical", "waited", {"mail": ["waiting"]}),
        ("critical", "in the middle", {"mail": ["waiting", "sending"]}),
        ("critical", "failed", {"mail": ["sending", "failed"]}),
        ("critical", "half", {"mail": ["sending", "delivered"], "sms": ["waiting"]}),
        ("info", "not urgent", {"mail": ["waiting"]}),
        ("critical", "seen by nobody", {}),
        ("warning", "seen by nobody either", {}),
    ]
    for start in range(3):
        with crashed(tmp_path / "journal.sqlite", left if start == 0 else []) as journal:
            alerts = Alerts(journal, [mail, sms], AlertSettings(routes=(Route(to=("mail",), then=("sms",)),)))
            alerts.recover(AT + timedelta(hours=1))
            assert alerts.settle(5)
            alerts.close()
            if start == 0:
                assert states(journal, "in the middle") == {"mail": "unknown", "sms": "delivered"}
                assert states(journal, "not urgent") == {"mail": "held-back"}
    assert mail.messages[:3] == ["waited", "failed", "seen by nobody"]
    assert mail.messages[3].startswith("2 alerts were not sent here one by one since 2025-03-12 21:00 UTC")
    assert len(mail.messages) == 4
    assert sms.messages == ["in the middle"]


def test_a_crash_takes_a_critical_alert_from_none_of_those_who_are_told_and_no_count(tmp_path: Path) -> None:
    mail, sms = Peer("mail"), Peer("sms")
    left: list[tuple[Severity, str, dict[str, list[str]]]] = [
        ("critical", "half", {"mail": ["sending", "delivered"], "sms": ["waiting"]}),
        ("critical", "half in doubt", {"mail": ["sending", "delivered"], "sms": ["waiting", "sending"]}),
    ]
    with crashed(tmp_path / "journal.sqlite", left) as journal:
        counts = [
            journal.alert(Alert(at=AT, kind="held-back", severity="info", message=f"{n} alerts were not sent here"))
            for n in (7, 8)
        ]
        for number, state in zip(counts, ("waiting", "sending")):
            journal.delivery(number, "mail", AT, state)
        for _ in range(2):
            alerts = Alerts(journal, [mail, sms], AlertSettings(routes=(Route(to=("mail", "sms")),)))
            alerts.recover(AT + timedelta(hours=1))
            assert alerts.settle(5)
            alerts.close()
    assert sms.messages == ["half"]
    assert mail.messages == ["7 alerts were not sent here"]


def test_what_a_watch_told_meanwhile_hides_no_alert_that_was_not_sent(tmp_path: Path) -> None:
    peer = Peer("mail")
    with crashed(tmp_path / "journal.sqlite", [("critical", "fire", {})]) as journal:
        told = journal.alert(Alert(at=AT, kind="heartbeat-missed", severity="critical", message="silent"))
        journal.delivery(told, "mail", AT, "delivered")
        alerts = Alerts(journal, [peer])
        alerts.recover(AT + timedelta(hours=1))
        assert alerts.settle(5)
        alerts.close()
    assert peer.messages == ["fire"]


def test_news_of_last_month_and_other_processes_alerts_are_not_sent(tmp_path: Path) -> None:
    peer = Peer("mail")
    with crashed(tmp_path / "journal.sqlite", [("critical", "old", {})]) as journal:
        journal.alert(Alert(at=AT + timedelta(days=30), kind="heartbeat-missed", severity="critical", message="watch"))
        alerts = Alerts(journal, [peer])
        alerts.recover(AT + timedelta(days=30))
        assert alerts.settle(5)
        alerts.close()
    assert peer.messages == []


def test_what_nobody_acknowledged_before_a_restart_goes_up_the_ladder_after_it(tmp_path: Path) -> None:
    mail, sms, phone = Peer("mail"), Peer("sms"), Peer("phone")
    left: list[tuple[Severity, str, dict[str, list[str]]]] = [
        ("critical", "open", {"mail": ["delivered"], "sms": ["delivered"]}),
        ("critical", "seen", {"mail": ["delivered"]}),
    ]
    with crashed(tmp_path / "journal.sqlite", left) as journal:
        journal.acknowledge(2, by="ann", at=AT)
        alerts = Alerts(journal, [mail, sms, phone], LADDER)
        alerts.recover(AT)
        until(lambda: phone.calls > 0)
        alerts.close(0.1)
    assert phone.messages[0] == "not acknowledged for 0.003 minutes: open"
    assert all(message.endswith(" minutes: open") for message in phone.messages)
    assert (mail.calls, sms.calls) == (0, 0)


CHILD = """
    import sys, threading, time
    from datetime import UTC, datetime
    from fxcarry.alerts import AlertKind, Alerts, AlertSettings, Route
    from fxcarry.journal import SqliteJournal

    class File:
        name = "file"
        def notify(self, alert):
            with open(sys.argv[2], "a") as file:
                file.write(alert.message + "\\n")
            if "slow" in alert.message:
                time.sleep(60)

    journal = SqliteJournal(sys.argv[1], account_id="A1")
    alerts = Alerts(journal, [File()])
    alerts.recover(datetime(2025, 3, 12, 22, tzinfo=UTC))
    for line in sys.stdin:
        alerts.tell(datetime(2025, 3, 12, 21, tzinfo=UTC), AlertKind.ORDER_UNKNOWN, "critical", line.strip())
        alerts.flush()
        print("told", flush=True)
    alerts.close()
"""


def child(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(folder / "journal.sqlite"), str(folder / "sent")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_process_that_is_killed_loses_no_critical_alert_and_sends_none_twice(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    first = child(tmp_path)
    assert first.stdin is not None
    assert first.stdout is not None
    for n, message in enumerate(["one", "slow two", "three", "four"]):
        first.stdin.write(f"{message}\n")
        first.stdin.flush()
        assert first.stdout.readline() == "told\n"
        if n == 1:
            until(lambda: sent.exists() and "slow two" in sent.read_text("utf-8"), 20)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert sent.read_text("utf-8").split("\n") == ["one", "slow two", ""]
    second = child(tmp_path)
    second.communicate(timeout=60)
    assert sent.read_text("utf-8").split("\n") == ["one", "slow two", "three", "four", ""]
    with SqliteJournal.existing(tmp_path / "journal.sqlite") as journal:
        became = {one.alert.message: one.deliveries["file"] for one in journal.recent_alerts(AT)}
    assert became == {
        "one": ("delivered", ""),
        "slow two": ("unknown", "the process ended while it was sent"),
        "three": ("delivered", ""),
        "four": ("delivered", ""),
    }


def test_a_script_that_ends_says_what_it_had_to_say(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(CHILD).replace("alerts.close()", ""),
            str(tmp_path / "j"),
            str(tmp_path / "s"),
        ],
        input="one\ntwo\n",
        text=True,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert "Traceback" not in done.stderr
    assert (tmp_path / "s").read_text("utf-8") == "one\ntwo\n"


def test_fields_of_an_alert_that_waited_in_the_journal_are_still_there(tmp_path: Path) -> None:
    peer: Any = Peer("mail")
    with SqliteJournal(tmp_path / "journal.sqlite", account_id="A1") as journal:
        fields = {"nav": 1.5, "currency": "USD", "at": AT, "units": {"AUDUSD": 1000}}
        journal.alert(Alert(at=AT, kind="digest", severity="critical", message="m", fields=fields, key="k"))
        alerts = Alerts(journal, [peer])
        alerts.recover(AT)
        assert alerts.settle(5)
        alerts.close()
    [alert] = peer.taken
    assert json.loads(json.dumps(alert.fields)) == {**fields, "at": "2025-03-12T21:00:00.000000+00:00"}
    assert (alert.at, alert.key, alert.is_over) == (AT, "k", False)
