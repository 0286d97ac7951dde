"""An engine day after day on the feed: no call left, nobody listening, the key revoked; and the key is nowhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from channel import Channel

from fxcarry.daemon import Daemon
from fxcarry.engine import Engine
from fxcarry.errors import ConfigError
from fxcarry.journal import JournalLock, SqliteJournal
from fxcarry.risk import Staleness
from fxcarry.simulation import SimBroker
from fxcarry.strategies import Sign

LOOKS = [datetime(2026, 1, 5, 22, 30, tzinfo=UTC) + timedelta(days=n) for n in range(14) if n % 7 < 4]
"""17:30 New York from Monday to Thursday of two weeks."""


@attrs.define
class Running:
    """The engine on the feed, its journal, and what it told."""

    desk: Any
    told: Channel
    daemon: Daemon
    journal: SqliteJournal

    def run(self, looks: list[datetime] = LOOKS, before: Callable[[datetime], None] | None = None) -> int:
        """Look at these instants; ``before`` is called with each, when the server's clock is there."""

        def instants() -> Iterator[datetime]:
            for at in looks:
                self.desk.fake.at = at
                if before is not None:
                    before(at)
                yield at

        return self.daemon.run(instants())

    def orders(self) -> int:
        return sum(one.kind == "fill" for one in self.journal.transactions())


@pytest.fixture
def start(desk: Any) -> Iterator[Callable[[], Running]]:
    journals = []

    def begin() -> Running:
        path, told = desk.folder / "journal.sqlite", Channel()
        journal = SqliteJournal(path, account_id="simulated", account_currency="USD")
        journals.append(journal)
        engine = Engine(
            feed=desk.feed(25),
            broker=SimBroker(cash=Decimal(1_000_000)),
            strategy=Sign(),
            rules=(Staleness(),),
            universe=("EUR", "JPY"),
            rebalance="daily",
            journal=journal,
            notifiers=[told],
        )
        return Running(desk, told, Daemon(engine=engine, journal=journal, lock=JournalLock(path)), journal)

    yield begin
    for journal in journals:
        journal.close()


def test_two_weeks_within_the_day_s_calls(start: Callable[[], Running]) -> None:
    running = start()
    assert running.run() == len(LOOKS)
    assert running.orders() > 4
    assert not running.desk.fake.refused
    by_look = len(running.desk.fake.calls) / len(LOOKS)
    assert by_look <= 4, "a look asks for more than a quote and a bar a currency"


def test_without_calls_it_keeps_what_it_has_and_goes_on_when_there_are_some(start: Callable[[], Running]) -> None:
    running, seen = start(), {}
    quota = running.desk.client(25).quota

    def starve(at: datetime) -> None:
        seen[at] = running.orders(), len(running.desk.fake.calls)
        if LOOKS[2] <= at < LOOKS[5]:  # another process has used them all
            while quota.left():
                quota.take()

    assert running.run(before=starve) == len(LOOKS), "a look fails"
    calls = {at: count for at, (_, count) in seen.items()}
    assert calls[LOOKS[2]] == calls[LOOKS[5]] < calls[LOOKS[6]]
    assert seen[LOOKS[3]][0] == seen[LOOKS[5]][0], "it trades on prices that are days old"
    assert running.orders() > seen[LOOKS[6]][0], "it does not go on"


@pytest.mark.parametrize("fault", ["refuse", "failed", "garbled", "unavailable", "lost"])
def test_looks_that_cannot_be_made_are_told_and_made_again(start: Callable[[], Running], fault: Any) -> None:
    running = start()
    server = running.desk.server
    assert running.run(LOOKS[:3]) == 3
    before = running.orders()
    if fault == "refuse":
        with server.refuse():
            assert running.run(LOOKS[3:5]) == 0
    else:
        server.fail("*", fault, times=40)
        assert running.run(LOOKS[3:5]) == 0
        server.clear()
    assert running.orders() == before
    assert "feed-error" in [alert.kind for alert in running.told.alerts]
    assert running.run(LOOKS[5:]) == len(LOOKS) - 5
    assert any("looks succeed again" in alert.message for alert in running.told.alerts)
    assert running.orders() > before


def test_a_key_revoked_in_mid_run_ends_it_and_is_nowhere(
    start: Callable[[], Running], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    running = start()
    fake, folder = running.desk.fake, running.desk.folder

    def revoke(at: datetime) -> None:
        fake.is_revoked = at >= LOOKS[4]

    with pytest.raises(ConfigError, match="refused the key from env"):
        running.run(before=revoke)
    crash = running.told.alerts[-1]
    assert (crash.kind, running.journal.last_beat()) == ("engine-crash", LOOKS[3])
    files: dict[Path, bytes] = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {"journal.sqlite", "calls.sqlite", "cache.sqlite"} <= {path.name for path in files}
    for path, content in files.items():
        assert fake.key.encode() not in content, path
    shown = [caplog.text, str(crash), *(repr(alert) for alert in running.told.alerts)]
    assert "********" in crash.message
    assert [text for text in shown if fake.key in text] == []
