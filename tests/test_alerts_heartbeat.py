"""fxcarry.alerts.heartbeat: another process looks whether the engine still looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from channel import Channel

from fxcarry.alerts import AlertKind, Alerts, AlertSettings, Watch, heartbeat
from fxcarry.errors import JournalError, NotifierError
from fxcarry.journal import MemoryJournal, SqliteJournal
from fxcarry.model import Alert, Transaction

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)  # a Wednesday
MINUTE = timedelta(minutes=1)


def journal(*held: tuple[str, int], ended: str = "") -> MemoryJournal:
    """One whose engine looked last at noon, holds this, and ended so."""
    made = MemoryJournal()
    made.import_transactions(
        Transaction(id=str(i), at=NOON, kind="fill", amount=Decimal(0), currency="USD", instrument=name,
                    units=Decimal(units), price=Decimal(1), conversion=Decimal(1))
        for i, (name, units) in enumerate(held)
    )  # fmt: skip
    made.beat(NOON)
    if ended:
        made.alert(Alert(at=NOON, kind=ended, severity="info", message="it ended"))
    return made


def test_an_engine_that_looked_just_now_is_alive() -> None:
    found = heartbeat(journal(), NOON + 5 * MINUTE, 5)
    assert (found.is_missed, found.silent_minutes, found.last_look) == (False, 5.0, NOON)
    assert found.message == "the engine looked at 2025-03-12 12:00:00 UTC"


@pytest.mark.parametrize("ended", ["", "engine-crash"])
def test_one_that_is_silent_for_longer_is_missed(ended: str) -> None:
    found = heartbeat(journal(("AUDUSD", 5000), ("USDJPY", -2000), ("USDJPY", 2000), ended=ended), NOON + 7 * MINUTE, 5)
    assert (found.is_missed, found.is_stopped) == (True, False)
    assert found.held == {"AUDUSD": 5000}
    assert found.message == (
        "the engine is silent since 2025-03-12 12:00:00 UTC, 7 minutes of open market ago, with +5,000 AUDUSD"
    )


def test_closed_hours_do_not_count() -> None:
    made = journal()
    friday = datetime(2025, 3, 14, 21, tzinfo=UTC)  # 17:00 New York
    made.beat(friday)
    assert not heartbeat(made, friday + timedelta(hours=47, minutes=59), 5).is_missed
    sunday = datetime(2025, 3, 16, 21, tzinfo=UTC)
    assert not heartbeat(made, sunday + 5 * MINUTE, 5).is_missed
    assert heartbeat(made, sunday + 6 * MINUTE, 5).is_missed


def test_one_that_was_stopped_is_missed_only_where_it_left_positions() -> None:
    later = NOON + timedelta(hours=3)
    assert not heartbeat(journal(ended="engine-stop"), later, 5).is_missed
    left = heartbeat(journal(("AUDUSD", 5000), ended="engine-stop"), later, 5)
    assert (left.is_missed, left.is_stopped) == (True, True)
    assert left.message.startswith("the engine was stopped, its last look was at 2025-03-12 12:00:00 UTC, 180 minutes")


def test_one_that_never_looked_and_one_whose_clock_is_ahead_are_not_missed() -> None:
    never = heartbeat(MemoryJournal(), NOON, 5)
    assert (never.is_missed, never.last_look) == (False, None)
    assert never.message == "the engine has not looked at the market yet"
    assert not heartbeat(journal(), NOON - timedelta(days=1), 5).is_missed


def watching(made: MemoryJournal | SqliteJournal, channel: Channel) -> Watch:
    return Watch(Alerts(made, [channel], AlertSettings(heartbeat_minutes=5)))


def test_it_is_told_once_and_once_more_when_it_is_over_whoever_watches() -> None:
    made, channel = journal(("AUDUSD", 5000)), Channel()
    watching(made, channel).look(NOON + 4 * MINUTE)
    assert channel.alerts == []
    for minute in (6, 7, 8):  # a watch anew each time, as a timer starts it
        found = watching(made, channel).look(NOON + minute * MINUTE)
        assert found is not None
        assert found.is_missed
    made.beat(NOON + 9 * MINUTE)
    for minute in (9, 10):
        watching(made, channel).look(NOON + minute * MINUTE)
    assert [(a.kind, a.severity, a.is_over) for a in channel.alerts] == [
        ("heartbeat-missed", "critical", False),
        ("heartbeat-missed", "info", True),
    ]
    assert channel.alerts[0].fields == {"silent_s": 360, "AUDUSD": "5000"}
    assert "no position" not in channel.alerts[0].message
    watching(made, channel).look(NOON + 30 * MINUTE)  # and silent again
    assert len(channel.alerts) == 3


def test_one_that_is_started_after_a_stop_has_as_long_for_its_first_look() -> None:
    """Stopped flat, and started hours later: nobody is woken before it could look."""
    made = journal(ended="engine-stop")
    again = NOON + timedelta(hours=3)
    made.alert(Alert(at=again, kind="engine-start", severity="info", message="it runs"))
    assert not heartbeat(made, again + 5 * MINUTE, 5).is_missed
    late = heartbeat(made, again + 6 * MINUTE, 5)
    assert (late.is_missed, late.is_stopped, late.silent_minutes) == (True, False, 6.0)


def test_one_that_is_started_again_and_again_without_a_look_is_missed() -> None:
    made = journal()
    for minute in range(1, 7):  # killed each time, or hanging
        made.alert(Alert(at=NOON + minute * MINUTE, kind="engine-start", severity="info", message="it runs"))
    assert heartbeat(made, NOON + 6 * MINUTE, 5).is_missed


class Flaky(Channel):
    """One that takes nothing while it is down."""

    is_down = True

    def notify(self, alert: Alert) -> None:
        if self.is_down:
            raise NotifierError("no network", fields={"is_final": True})
        super().notify(alert)


def test_what_no_channel_took_is_told_by_the_next_watch() -> None:
    made, channel = journal(), Flaky()
    watching(made, channel).look(NOON + 6 * MINUTE)
    assert channel.alerts == []
    channel.is_down = False
    for minute in (7, 8, 9):
        watching(made, channel).look(NOON + minute * MINUTE)
    assert [alert.kind for alert in channel.alerts] == ["heartbeat-missed"]


def test_a_stopped_engine_with_positions_is_a_warning() -> None:
    channel = Channel()
    watching(journal(("AUDUSD", 1), ended="engine-stop"), channel).look(NOON + timedelta(hours=1))
    assert [a.severity for a in channel.alerts] == ["warning"]


def test_a_journal_that_cannot_be_read_is_told_too(tmp_path: Path) -> None:
    channel, path = Channel(), tmp_path / "journal.sqlite"
    made = SqliteJournal(path, account_id="A1")
    watch = watching(made, channel)
    path.write_bytes(b"no database, but long enough to look at" * 99)
    assert watch.look(NOON) is None
    assert watch.look(NOON + MINUTE) is None
    [told] = channel.alerts
    assert (told.kind, told.severity) == ("heartbeat-missed", "critical")
    assert told.message.startswith("nobody can see whether the engine runs: ")
    with pytest.raises(JournalError):
        made.last_beat()
    path.unlink()
    made.beat(NOON + MINUTE)
    assert watch.look(NOON + 2 * MINUTE) is not None
    assert channel.alerts[-1].message == "the journal can be read again"


def test_what_the_engine_recovers_is_not_what_the_watch_sends() -> None:
    made, channel = journal(), Channel()
    made.alert(Alert(at=NOON, kind=AlertKind.HEARTBEAT_MISSED, severity="critical", message="silent"))
    alerts = Alerts(made, [channel])
    alerts.recover(NOON)
    assert alerts.settle(5)
    assert channel.alerts == []
