"""An engine day after day on the fake account: a revoked token, a wrong clock, a leak, and no token anywhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from channel import Channel

from fxcarry.checkup.records import Sheet
from fxcarry.checkup.round_trip import look_at_round_trip
from fxcarry.daemon import Daemon
from fxcarry.engine import Engine
from fxcarry.errors import ConfigError
from fxcarry.feeds import MemoryFeed
from fxcarry.journal import JournalLock, SqliteJournal
from fxcarry.leak import rolls_of
from fxcarry.model import Pair, Quote, Snapshot
from fxcarry.risk import DailyLoss, StopLoss
from fxcarry.strategies import Sign
from fxcarry.testing import market_history

UNIVERSE = ("AUD", "EUR", "JPY")
HISTORY = market_history(UNIVERSE, days=120, seed=2, start=date(2024, 9, 2))
LOOKS = [datetime(2025, 1, 6, 22, 30, tzinfo=UTC) + timedelta(days=n) for n in range(14) if n % 7 < 4]
"""17:30 New York from Monday to Thursday of two weeks."""
AFTER = LOOKS[-1] + timedelta(hours=1)
"""A look at which nothing is decided, but what the last one did is learned."""


@attrs.define
class Running:
    """A desk, the engine on it, its journal and what it told."""

    desk: Any
    told: Channel
    daemon: Daemon
    journal: SqliteJournal
    folder: Path

    def run(self, looks: list[datetime] = LOOKS, before: Callable[[datetime], None] | None = None) -> int:
        """Look at these instants; ``before`` is called with each."""

        def instants() -> Iterator[datetime]:
            for at in looks:
                if before is not None:
                    before(at)
                yield at

        return self.daemon.run(instants())

    def alerts(self) -> list[tuple[str, str]]:
        return [(alert.kind, alert.message) for alert in self.told.alerts]


@pytest.fixture
def start(make_desk: Any, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts engines, each on an account of its own."""
    journals = []

    def begin(**account: Any) -> Running:
        desk = make_desk(at=LOOKS[0] - timedelta(days=1), archive=tmp_path / "rates.csv", **account)
        journal = SqliteJournal(tmp_path / "journal.sqlite", account_id=desk.fake.account_id, account_currency="USD")
        journals.append(journal)
        told = Channel()
        engine = Engine(
            feed=MemoryFeed(HISTORY),
            broker=desk.broker,
            strategy=Sign(),
            rules=(StopLoss(0.05), DailyLoss()),
            universe=UNIVERSE,
            rebalance="daily",
            journal=journal,
            notifiers=[told],
        )
        daemon = Daemon(engine=engine, journal=journal, lock=JournalLock(tmp_path / "journal.sqlite"))
        return Running(desk, told, daemon, journal, tmp_path)

    yield begin
    for journal in journals:
        journal.close()


def test_two_weeks_end_with_the_venues_books(start: Callable[..., Running]) -> None:
    running = start()
    assert running.run([*LOOKS, AFTER]) == len(LOOKS) + 1
    booked = running.journal.transactions()
    assert sum((t.amount for t in booked), Decimal(0)) == running.desk.fake.balance
    assert len(running.desk.held()) == 3
    rolls = rolls_of(running.journal, "USD", AFTER)
    known = [roll for roll in rolls if roll.difference is not None]
    assert len(known) >= 3 * 7
    for roll in known:  # the venue converts at 0.5 % from the middle
        assert roll.expected is not None
        assert abs(roll.difference or 0) <= Decimal("0.01") + abs(roll.expected) * Decimal("0.006")
    assert "financing-leak" not in dict(running.alerts())


def test_a_venue_that_pays_less_than_it_publishes_is_told(start: Callable[..., Running]) -> None:
    running = start(conversion_fee="0.3")
    running.run()
    leaks = [message for kind, message in running.alerts() if kind == "financing-leak"]
    assert leaks
    assert "less than expected" in leaks[0]


def test_a_token_revoked_in_mid_run_ends_it_and_leaves_the_stops(start: Callable[..., Running]) -> None:
    running = start()
    fake = running.desk.fake

    def revoke(at: datetime) -> None:
        if at == LOOKS[4]:
            fake.revoke()

    with pytest.raises(ConfigError, match="refused the token") as told:
        running.run(before=revoke)
    assert told.value.exit_code == 2
    orders = len([t for t in fake.transactions if t["type"] == "MARKET_ORDER"])
    kind, message = running.alerts()[-1]
    assert kind == "engine-crash"
    assert "refused the token" in message
    assert running.journal.last_beat() == LOOKS[3]
    open_trades = [t for t in fake.trades if t["state"] == "OPEN"]
    stops = {o["tradeID"] for o in fake.orders if o["type"] == "STOP_LOSS" and o["state"] == "PENDING"}
    assert stops == {t["id"] for t in open_trades} != set()
    with pytest.raises(ConfigError, match="refused the token"):
        running.run()  # started again it does not trade either
    assert len([t for t in fake.transactions if t["type"] == "MARKET_ORDER"]) == orders


def test_while_the_clocks_differ_nothing_is_sent(start: Callable[..., Running]) -> None:
    running = start()
    fake = running.desk.fake
    sent: dict[datetime, int] = {}

    def skewed(at: datetime) -> None:
        sent[at] = len([t for t in fake.transactions if t["type"] == "MARKET_ORDER"])
        fake.clock_skew = timedelta(minutes=3) if LOOKS[1] <= at < LOOKS[4] else timedelta(0)

    assert running.run([*LOOKS, AFTER], before=skewed) == len(LOOKS) - 3 + 1
    assert sent[LOOKS[1]] == sent[LOOKS[4]]
    kinds = dict(running.alerts())
    assert "broker-error" in kinds
    assert any("clock says" in message for _, message in running.alerts())
    assert sum((t.amount for t in running.journal.transactions()), Decimal(0)) == fake.balance


def test_the_token_is_nowhere(start: Callable[..., Running], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    running = start(timeout=0.5)
    desk = running.desk
    faults = iter(("hangs", "failed", "reset", "busy", "garbled", "unavailable", "lost", "unanswered"))

    def fail(at: datetime) -> None:
        fault = next(faults, None)
        if fault is not None:
            desk.server.fail("*", fault)
            desk.server.fail("POST */orders", fault)

    running.run(before=fail)
    desk.server.clear()
    desk.fake.revoke()
    with pytest.raises(ConfigError) as told:
        running.run([LOOKS[-1] + timedelta(days=1)])
    token = desk.fake.token
    files = {path: path.read_bytes() for path in running.folder.rglob("*") if path.is_file()}
    assert running.folder / "journal.sqlite" in files
    assert running.folder / "rates.csv" in files
    for path, content in files.items():
        assert token.encode() not in content, path
    shown = [caplog.text, repr(desk.broker), repr(vars(told.value)), str(told.value), repr(desk.broker._client)]
    shown += [repr(alert) for alert in running.told.alerts]
    assert len(caplog.records) > 100
    assert [text for text in shown if token in text] == []


def test_a_round_trip_of_a_check_between_two_looks_disturbs_nothing(start: Callable[..., Running]) -> None:
    running = start()
    running.run(LOOKS[:4])
    broker, held, at = running.desk.broker, running.desk.held(), LOOKS[3] + timedelta(minutes=10)
    quotes = {pair: attrs.evolve(quote, as_of=at) for pair, quote in MemoryFeed(HISTORY).snapshot(at).quotes.items()}
    pound = Pair("GBP", "USD")
    snapshot, sheet = Snapshot(at, {**quotes, pound: Quote(Decimal("1.2500"), Decimal("1.2502"), at)}), Sheet()
    account, instruments = broker.sync(snapshot), broker.get_instruments([pound])
    look_at_round_trip(sheet, "broker", broker, instruments, account, snapshot, at, running.folder)
    assert [check.status for check in sheet.checks] == ["pass"] * 4
    assert running.desk.held() == held
    before = len(running.alerts())
    assert running.run([*LOOKS[4:], AFTER]) == len(LOOKS) - 3
    usual = {"engine-start", "engine-stop", "performance-log", "trade-executed", "position-closed", "milestone"}
    assert {kind for kind, _ in running.alerts()[before:]} <= usual
    fills = [t for t in running.journal.transactions() if t.kind == "fill" and t.instrument == "GBPUSD"]
    assert [t.units for t in fills] == [1, -1]
