"""fxcarry.daemon: when the loop looks, how it stops, and what it does with commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from fxcarry.conventions import is_open, session_end
from fxcarry.costs import Costs
from fxcarry.daemon import Daemon, replay_instants, wall_instants
from fxcarry.engine import Engine
from fxcarry.errors import JournalLocked
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import JournalLock, SqliteJournal
from fxcarry.market import MarketHistory
from fxcarry.model import TradingState
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
