"""fxcarry.daemon: when the loop looks, how it stops, and what it does with commands."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from fxcarry.alerts import AlertKind, Alerts
from fxcarry.conventions import is_open, session_end
from fxcarry.costs import Costs
from fxcarry.daemon import Daemon, replay_instants, wall_instants
from fxcarry.engine import Engine
from fxcarry.errors import ConfigError, JournalLocked, MissingDataError, NotifierError
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import JournalLock, SqliteJournal
from fxcarry.market import MarketHistory
from fxcarry.model import Alert, TradingState
from fxcarry.simulation import SimBroker
from fxcarry.strategies import Sign
from fxcarry.testing import market_history

UNIVERSE = ("AUD", "EUR", "JPY")


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    return market_history(UNIVERSE, days=60, seed=2)


@pytest.fixture
def daemon(history: MarketHistory, tmp_path: Path) -> Iterator[Daemon]:
    journal = SqliteJournal(tmp_path / "journal.sqlite", account_id="simulated")
    engine = Engine(
        feed=MemoryFeed(history),
        broker=SimBroker(costs=Costs(), financing=BenchmarkFinancing(0.01)),
        strategy=Sign(),
        rules=(),
        universe=UNIVERSE,
        rebalance="weekly",
        journal=journal,
        costs=Costs(),
    )
    yield Daemon(engine=engine, journal=journal, lock=JournalLock(tmp_path / "journal.sqlite"))
    journal.close()


def looks(history: MarketHistory) -> list[datetime]:
    return replay_instants(history.in_currency("USD", UNIVERSE), None, None, "weekly")[3:]


# -- when -------------------------------------------------------------------------------------------------------------


def test_a_replay_looks_where_a_backtest_does(history: MarketHistory) -> None:
    instants = looks(history)
    assert all(session_end(at.date()) == at for at in instants)  # 17:00 New York, every weekday
    assert len(instants) == 57


def test_the_wall_is_looked_at_each_minute_while_the_market_is_open() -> None:
    friday = datetime(2025, 1, 10, 21, 58, 12, tzinfo=UTC)
    assert list(islice(wall_instants(timedelta(minutes=1), lambda: friday), 4)) == [
        datetime(2025, 1, 10, 21, 59, tzinfo=UTC),
        datetime(2025, 1, 10, 22, 0, tzinfo=UTC),  # 17:00 of Friday ends the week
        datetime(2025, 1, 12, 22, 1, tzinfo=UTC),  # and the first minute after 17:00 of Sunday begins the next
        datetime(2025, 1, 12, 22, 2, tzinfo=UTC),
    ]


def test_the_week_begins_an_hour_earlier_once_clocks_have_changed() -> None:
    """V14: Friday 2025-03-07 ends at 22:00 UTC, Sunday 2025-03-09 opens at 21:00."""
    friday = datetime(2025, 3, 7, 21, 59, 30, tzinfo=UTC)
    assert list(islice(wall_instants(timedelta(minutes=1), lambda: friday), 2)) == [
        datetime(2025, 3, 7, 22, 0, tzinfo=UTC),
        datetime(2025, 3, 9, 21, 1, tzinfo=UTC),
    ]


@pytest.mark.parametrize("every", [timedelta(seconds=7), timedelta(minutes=1), timedelta(hours=1)])
def test_the_looks_at_the_wall_are_in_order_and_in_open_hours(every: timedelta) -> None:
    found = list(islice(wall_instants(every, lambda: datetime(2025, 3, 7, 20, tzinfo=UTC)), 200))
    assert all(b > a for a, b in pairwise(found))
    assert all(is_open(at - timedelta(microseconds=1)) for at in found)


# -- how --------------------------------------------------------------------------------------------------------------


def test_it_looks_at_each_instant_once(daemon: Daemon, history: MarketHistory) -> None:
    seen: list[datetime] = []
    assert daemon.run(looks(history)[:20], told=lambda at, engine: seen.append(at)) == 20
    assert seen == looks(history)[:20]
    assert daemon.journal.last_beat() == seen[-1]
    assert daemon.run(looks(history)[:22]) == 2  # the others are done


def test_stop_ends_after_the_look_in_hand(daemon: Daemon, history: MarketHistory) -> None:
    def third(at: datetime, engine: Engine) -> None:
        if at == looks(history)[2]:
            daemon.stop()

    assert daemon.run(looks(history), told=third) == 3
    assert daemon.lock.holder() is None


def test_a_wait_ends_when_it_is_stopped(daemon: Daemon, history: MarketHistory) -> None:
    """A day a minute would take an hour; it is stopped while it waits for the second look."""
    timer = threading.Timer(0.3, daemon.stop)
    timer.start()
    began = time.monotonic()
    assert daemon.run(looks(history), speed=1440.0) == 1
    assert time.monotonic() - began < 20
    timer.join()


def test_another_process_that_takes_the_account_stops_it(daemon: Daemon, history: MarketHistory) -> None:
    sent: list[Any] = []

    def seized(at: datetime, engine: Engine) -> None:
        sent.append(at)
        if len(sent) == 2:
            JournalLock(daemon.journal.path).seize()

    with pytest.raises(JournalLocked, match="took over"):
        daemon.run(looks(history), told=seized)
    assert len(sent) == 2


def test_the_lock_is_given_back_after_an_error(daemon: Daemon, history: MarketHistory) -> None:
    def broken(at: datetime, engine: Engine) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        daemon.run(looks(history), told=broken)
    with JournalLock(daemon.journal.path):
        pass


# -- commands ---------------------------------------------------------------------------------------------------------


def give(daemon: Daemon, kind: Any, reason: str = "test") -> None:
    daemon.journal.command(kind, by="me", at=datetime(2025, 1, 1, tzinfo=UTC), reason=reason)


def test_flatten_closes_everything_and_halts(daemon: Daemon, history: MarketHistory) -> None:
    daemon.run(looks(history)[:12])
    assert daemon.engine.broker.get_positions()
    give(daemon, "flatten")
    daemon.run(looks(history)[:20])
    state = daemon.journal.state()
    assert state is not None
    assert (state.trading, state.latch) == (TradingState.HALTED, "OPERATOR")
    assert not daemon.engine.broker.get_positions()
    assert daemon.journal.commands() == []


def test_resume_lifts_a_halt_and_measures_from_now(daemon: Daemon, history: MarketHistory) -> None:
    daemon.run(looks(history)[:12])
    give(daemon, "flatten")
    daemon.run(looks(history)[:16])
    give(daemon, "resume", "back")
    daemon.run(looks(history)[:17])
    assert daemon.engine.state.trading is TradingState.ACTIVE
    assert daemon.engine.state.high_water == pytest.approx(daemon.engine.broker.nav, rel=0.01)
    daemon.run(looks(history)[:40])
    assert daemon.engine.broker.get_positions()


def test_a_pause_keeps_what_is_held_and_opens_nothing(daemon: Daemon, history: MarketHistory) -> None:
    daemon.run(looks(history)[:12])
    held = {name: p.units for name, p in daemon.engine.broker.get_positions().items()}
    give(daemon, "pause")
    daemon.run(looks(history)[:40])
    now = {name: p.units for name, p in daemon.engine.broker.get_positions().items()}
    assert (daemon.engine.state.trading, daemon.engine.state.latch) == (TradingState.REDUCING, "PAUSE")
    assert now.keys() <= held.keys()
    assert all(abs(now[name]) <= abs(held[name]) for name in now)


def test_a_halt_is_not_softened_by_a_pause(daemon: Daemon, history: MarketHistory) -> None:
    daemon.run(looks(history)[:6])
    give(daemon, "flatten")
    give(daemon, "pause")
    daemon.run(looks(history)[:8])
    assert (daemon.engine.state.trading, daemon.engine.state.latch) == (TradingState.HALTED, "OPERATOR")


# -- what runs beside it ----------------------------------------------------------------------------------------------


def test_sighup_takes_another_engine_after_the_look_in_hand(daemon: Daemon, history: MarketHistory) -> None:
    first, second = daemon.engine, another(daemon.engine)

    def hang_up(at: datetime, engine: Engine) -> None:
        if at == looks(history)[2]:
            os.kill(os.getpid(), signal.SIGHUP)

    daemon.reload = lambda: second
    before = signal.getsignal(signal.SIGHUP)
    assert daemon.run(looks(history)[:12], told=hang_up) == 12
    assert daemon.engine is second is not first
    assert signal.getsignal(signal.SIGHUP) is before
    told = [row["message"] for row in daemon.journal.table("alerts") if row["kind"] == "operator"]
    assert told == ["the new configuration is in force"]
    assert second.broker.get_positions()


def test_a_configuration_that_is_wrong_leaves_the_engine_as_it_is(daemon: Daemon, history: MarketHistory) -> None:
    first = daemon.engine

    def wrong() -> Engine:
        raise ConfigError("universe changed", hint="that needs a restart of the engine")

    daemon.reload = wrong
    assert daemon.run(looks(history)[:6], told=lambda at, engine: os.kill(os.getpid(), signal.SIGHUP)) == 6
    assert daemon.engine is first
    told = {row["message"] for row in daemon.journal.table("alerts") if row["kind"] == "operator"}
    assert told == {"the new configuration is not taken: universe changed (that needs a restart of the engine)"}


def another(engine: Engine) -> Engine:
    """Another engine on the same account."""
    return Engine(
        feed=engine.feed,
        broker=engine.broker,  # type: ignore[arg-type]
        strategy=engine.strategy,
        rules=engine.rules,
        universe=UNIVERSE,
        rebalance="weekly",
        journal=engine.journal,
        costs=Costs(),
    )


def test_the_service_manager_is_told_of_the_start_each_look_and_the_end(
    daemon: Daemon, history: MarketHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = f"/tmp/fxcarry-notify-{os.getpid()}"
        manager.bind(path)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        try:
            daemon.run(looks(history)[:3])
            assert [manager.recv(99).decode() for _ in range(5)] == ["READY=1", *["WATCHDOG=1"] * 3, "STOPPING=1"]
        finally:
            os.unlink(path)


def test_a_service_manager_that_is_gone_is_a_line_in_the_log(
    daemon: Daemon, history: MarketHistory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    assert daemon.run(looks(history)[:2]) == 2
    assert "the service manager cannot be told READY=1" in caplog.text


def test_the_performance_log_has_a_line_a_day_also_over_restarts(
    daemon: Daemon, history: MarketHistory, tmp_path: Path
) -> None:
    daemon.performance = tmp_path / "performance_log.csv"
    daemon.run(looks(history)[:10])
    again = Daemon(
        engine=another(daemon.engine), journal=daemon.journal, lock=daemon.lock, performance=daemon.performance
    )
    again.run(looks(history)[:20])
    lines = daemon.performance.read_text("utf-8").splitlines()
    assert lines[0] == "date,nav,realised,financing,costs,flows,state"
    assert [line.split(",")[0] for line in lines[1:]] == [str(at.date()) for at in looks(history)[:20]]
    booked = sum(t.amount for t in daemon.journal.transactions() if t.kind == "financing")
    assert sum(Decimal(line.split(",")[3]) for line in lines[1:]) == booked != 0
    assert float(lines[-1].split(",")[1]) == pytest.approx(daemon.engine.broker.nav, abs=0.005)


def test_a_performance_log_that_cannot_be_written_is_told_and_stops_nothing(
    daemon: Daemon, history: MarketHistory, tmp_path: Path
) -> None:
    daemon.performance = tmp_path / "gone" / "performance_log.csv"
    assert daemon.run(looks(history)[:3]) == 3
    told = [row["message"] for row in daemon.journal.table("alerts") if row["kind"] == "performance-log"]
    assert len(told) == 3
    assert "cannot be written" in told[0]


class Pager:
    """A channel that keeps what it is told, unless it is away."""

    name = "pager"

    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away, self.told = is_away, list[tuple[str, str]]()

    def notify(self, alert: Alert) -> None:
        if self.is_away:
            raise NotifierError("away")
        self.told.append((str(alert.kind), alert.message))


@pytest.mark.in_background
def test_a_replay_that_has_nothing_to_look_at_sends_what_was_left(daemon: Daemon, history: MarketHistory) -> None:
    engine, at = daemon.engine, looks(history)[:5]
    engine.alerts = Alerts(daemon.journal, [Pager(is_away=True)])
    assert daemon.run(at) == 5
    engine.alerts.tell(at[0], AlertKind.RISK_LIMIT, "critical", "fire")
    engine.alerts.flush()
    engine.alerts.close(0.5)
    pager = Pager()
    engine.alerts = Alerts(daemon.journal, [pager])
    assert daemon.run(at) == 0
    assert ("risk-limit", "fire") in pager.told
    assert not [message for kind, message in pager.told if kind in ("engine-start", "engine-stop")]


@pytest.mark.in_background
def test_an_engine_whose_last_look_is_not_over_yet_starts_when_it_is(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock went back, or it was started twice within a minute."""
    now, pager = datetime.now(UTC), Pager()
    daemon.engine.alerts = Alerts(daemon.journal, [pager])
    monkeypatch.setattr(daemon.journal, "last_beat", lambda: now)
    daemon.run([now - timedelta(minutes=1), now, now + timedelta(seconds=0.3)], is_live=True)
    assert [kind for kind, _ in pager.told if kind.startswith("engine-")] == ["engine-start", "engine-stop"]


@pytest.mark.in_background
def test_what_is_told_while_it_waits_for_the_first_look_is_dated_now(daemon: Daemon) -> None:
    """Started on a Saturday, the first look is on Sunday evening."""
    daemon.engine.alerts = Alerts(daemon.journal, [Pager()])
    began = datetime.now(UTC)
    ender = threading.Timer(0.3, daemon.stop)
    ender.start()
    assert daemon.run([began + timedelta(days=2)], is_live=True) == 0
    ender.join()
    told = {one.alert.kind: one.alert.at for one in daemon.journal.recent_alerts()}
    assert told.keys() == {"engine-start", "engine-stop"}
    assert all(began <= at <= datetime.now(UTC) for at in told.values())


@pytest.mark.in_background
def test_looks_that_failed_before_a_restart_are_over_after_it(
    daemon: Daemon, history: MarketHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = looks(history)[:8]
    with monkeypatch.context() as patch:
        patch.setattr(daemon.engine, "step", lambda at: (_ for _ in ()).throw(MissingDataError("vendor is down")))
        daemon.run(at[:4])
    pager = Pager()
    daemon.engine.alerts = Alerts(daemon.journal, [pager])  # another process
    again = Daemon(engine=daemon.engine, journal=daemon.journal, lock=daemon.lock)
    again.run(at[4:])
    over = [one.alert for one in daemon.journal.recent_alerts() if one.alert.is_over]
    assert {alert.key for alert in over} == {"feed-error failing", "feed-error failing long"}
    assert ("feed-error", "looks succeed again") in pager.told
