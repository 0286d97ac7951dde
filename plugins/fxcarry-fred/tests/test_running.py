"""An engine day after day on the feed: FRED is away and comes back, a rate grows too old, the key is revoked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from channel import Channel

from fxcarry.conventions import session_end
from fxcarry.costs import Costs
from fxcarry.daemon import Daemon
from fxcarry.engine import Engine
from fxcarry.errors import ConfigError
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import JournalLock, SqliteJournal
from fxcarry.simulation import SimBroker
from fxcarry.strategies import Sign
from fxcarry.testing import WireServer
from fxcarry_fred.feed import FredFeed
from fxcarry_fred.testing import FakeFred, world

LOOKS = [session_end(date(2025, 6, 2) + timedelta(days=n)) for n in range(12) if n % 7 < 5]
"""17:00 New York of two weeks."""


@attrs.define
class Running:
    """An engine on a fake FRED whose day is that of the look."""

    fake: FakeFred
    server: WireServer
    feed: FredFeed
    daemon: Daemon
    told: Channel
    at: datetime

    def run(self, before: Callable[[int], None] | None = None, seen: Callable[[int], None] | None = None) -> int:
        def instants() -> Iterator[datetime]:
            for number, at in enumerate(LOOKS):
                self.at, self.fake.today = at, at.date()
                if before is not None:
                    before(number)
                yield at

        return self.daemon.run(instants(), told=lambda at, engine: seen and seen(LOOKS.index(at)))

    def alerts(self, kind: str) -> list[str]:
        return [alert.message for alert in self.told.alerts if alert.kind == kind]


@pytest.fixture
def running(serve: Any, make_feed: Any, tmp_path: Path) -> Iterator[Running]:
    fake = world(LOOKS[-1].date(), since=date(2025, 2, 3), currencies=("AUD", "EUR"))
    server = serve(fake)
    holder: list[Running] = []
    feed = make_feed(fake, "AUD", "EUR", server=server, now=lambda: holder[0].at)
    journal = SqliteJournal(tmp_path / "journal.sqlite", account_id="simulated")
    told = Channel()
    engine = Engine(
        feed=feed,
        broker=SimBroker(costs=Costs(), financing=BenchmarkFinancing(0.01)),
        strategy=Sign(),
        rules=(),
        universe=("AUD", "EUR"),
        rebalance="daily",
        journal=journal,
        notifiers=[told],
    )
    daemon = Daemon(engine=engine, journal=journal, lock=JournalLock(tmp_path / "journal.sqlite"))
    holder.append(Running(fake, server, feed, daemon, told, LOOKS[0]))
    yield holder[0]
    journal.close()


def test_two_weeks_of_looks(running: Running) -> None:
    assert running.run() == len(LOOKS)
    held = running.daemon.engine.broker.get_positions()
    assert all(held[name].units for name in ("AUDUSD", "EURUSD"))
    assert not running.alerts("feed-error")


def test_fred_is_away_for_days_and_the_engine_goes_on_with_what_it_has(running: Running) -> None:
    notes: dict[int, bool] = {}

    def before(number: int) -> None:
        running.server.clear()
        if 2 <= number <= 4:
            running.server.fail("*", "unavailable", times=1000)

    def seen(number: int) -> None:
        notes[number] = any("Not the newest" in note for note in running.feed.history(None, None).notes)

    assert running.run(before, seen) == len(LOOKS)
    assert [number for number, is_old in notes.items() if is_old] == [2, 3, 4]
    assert not running.alerts("feed-error")


def test_fred_is_away_at_first_and_the_looks_succeed_once_it_is_there(running: Running) -> None:
    def before(number: int) -> None:
        running.server.clear()
        if number < 3:
            running.server.fail("*", "unavailable", times=1000)

    assert running.run(before) == len(LOOKS) - 3
    assert "FRED cannot be read (DEXUSAL)" in running.alerts("feed-error")[0]
    assert any("looks succeed again" in message for message in running.alerts("feed-error"))


def test_a_revoked_key_ends_it_with_what_to_do(running: Running) -> None:
    def before(number: int) -> None:
        if number == 3:
            running.fake.revoke()

    with pytest.raises(ConfigError, match="FRED refused the key in env"):
        running.run(before)
    assert all(running.fake.key not in alert.message for alert in running.told.alerts)


def test_a_rate_that_grows_too_old_is_told_and_never_made_up(running: Running) -> None:
    for series in ("IR3TIB01AUM156N", "IRSTCI01AUM156N"):
        running.fake.remove(series)
    for month, released in ((1, "2025-02-17"), (2, "2025-03-17")):  # February is good until 2025-06-08
        running.fake.release("IR3TIB01AUM156N", date(2025, month, 1), "9.00", on=date.fromisoformat(released))
    running.fake.release("IR3TIB01AUM156N", date(2025, 4, 1), "9.00", on=date(2025, 6, 12))
    looked: list[int] = []
    assert running.run(seen=looked.append) == 7
    assert looked == [0, 1, 2, 3, 4, 8, 9]  # not from Monday the 9th to Wednesday the 11th
    told = running.alerts("feed-error")
    assert told[0].startswith("no look at 2025-06-09 21:00:00 UTC: no rates for AUD in the snapshot")
    assert told[-1].startswith("looks succeed again")
