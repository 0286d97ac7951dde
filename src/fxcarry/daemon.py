"""The loop that runs an engine for months: one look at a time, commands in between, and a clean stop.

Everything that must survive is in the journal and at the venue. Started again, the loop goes on after the last look it
finished (:meth:`fxcarry.engine.Engine.recover`); a replay of stored history, killed and started again as often as you
like, ends with the same account to the cent.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Event
from time import sleep
from types import FrameType

import attrs

from fxcarry.clock import Frequency, SteppedClock
from fxcarry.conventions import is_open
from fxcarry.engine import Engine
from fxcarry.journal import Command, JournalLock, SqliteJournal
from fxcarry.market import MarketHistory, from_ns
from fxcarry.model import OrderResult, TradingState
from fxcarry.protocols import Broker

_LOG = logging.getLogger("fxcarry")
Told = Callable[[datetime, Engine], None]


def replay_instants(
    history: MarketHistory, start: datetime | None, until: datetime | None, rebalance: Frequency
) -> list[datetime]:
    """The looks of a replay: the ticks a backtest of the same period has."""
    return [from_ns(at) for at in SteppedClock.over(history, start, until, rebalance).at]


def wall_instants(every: timedelta, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[datetime]:
    """The looks of a live engine, without end: one each ``every`` while the market is open, counted from midnight UTC,
    so that 17:00 New York is always among them.
    """
    at = now()
    while True:
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        at = midnight + ((at - midnight) // every + 1) * every
        if is_open(at - timedelta(microseconds=1)):  # 17:00 of a Friday belongs to the session it ends
            yield at


@attrs.frozen(kw_only=True)
class Liquidation:
    """What an emergency did: ``killed`` is the pid of an engine that did not obey, ``closing`` the orders that close,
    ``open`` what the venue still holds by instrument, read again afterwards: it fills at the next quote.
    """

    killed: int | None
    closing: tuple[OrderResult, ...]
    open: Mapping[str, Decimal]


def shut_out(lock: JournalLock) -> int | None:
    """Raise the fence, so that an engine that wakes up sends nothing, and kill one that is still alive; its pid."""
    lock.seize()
    holder = lock.holder()
    if holder is None or not holder.kill():
        return None
    while holder.is_alive():
        sleep(0.01)
    return holder.pid


def take_over(journal: SqliteJournal, lock: JournalLock, broker: Broker, at: datetime) -> Liquidation:
    """Close everything from this process, whatever the engine is doing.

    The fence is raised first, so that an engine that wakes up sends nothing; one that is still alive is killed, since
    it may hang in the middle of a write. Then the account is ours: the journal says halted (``OPERATOR``, until a
    person resumes), working orders are cancelled, every position gets a closing order, and the venue is read again.
    """
    killed = shut_out(lock)
    with lock:
        with journal.atomic():
            state = journal.state()
            if state is not None:
                halted = attrs.evolve(
                    state, trading=TradingState.HALTED, latch="OPERATOR", halt_until=None, halted_at=None
                )
                journal.transition(at, halted)
            for command in journal.commands():
                if command.kind == "flatten":
                    journal.take(command, at)
        broker.connect()
        closing = tuple(broker.close_all_positions())
        journal.record(closing, at)
        held = {name: position.units for name, position in broker.get_positions().items()}
    return Liquidation(killed=killed, closing=closing, open=held)


@attrs.define(kw_only=True, eq=False)
class Daemon:
    """An engine with its journal and its lock.

    ``engine`` must have been made with ``journal``. A signal (SIGTERM, SIGINT) lets the look in hand finish.
    """

    engine: Engine
    journal: SqliteJournal
    lock: JournalLock
    _is_stopped: Event = attrs.field(factory=Event, init=False)

    def run(
        self,
        instants: Iterable[datetime],
        *,
        speed: float | None = None,
        is_live: bool = False,
        told: Told | None = None,
    ) -> int:
        """Look at each of the ``instants`` that is later than the last one finished; return how many looks there were.

        ``is_live``: each instant is waited for. A replay does not wait, or with ``speed`` runs so many times as fast as
        the clock on the wall. ``told`` is called after each look.

        Raises JournalLocked where another engine has the account, or takes it over (then nothing more is sent).
        """
        looks = 0
        with self.lock, self._signals():
            done = self.journal.last_beat()
            self.engine.recover()
            last: datetime | None = None
            for at in instants:
                if done is not None and at <= done:
                    continue
                seconds = 0.0
                if is_live:
                    seconds = (at - datetime.now(UTC)).total_seconds()
                elif speed is not None and last is not None:
                    seconds = (at - last).total_seconds() / speed
                if self._is_stopped.wait(max(seconds, 0.0)):
                    break
                for command in self.journal.commands():
                    self._obey(command, at)
                self.lock.check()
                self.engine.step(at)
                looks, last = looks + 1, at
                if told is not None:
                    told(at, self.engine)
        if self._is_stopped.is_set():
            _LOG.info("stopped after the look at %s", last)
        return looks

    def stop(self) -> None:
        """End after the look in hand."""
        self._is_stopped.set()

    def _obey(self, command: Command, at: datetime) -> None:
        with self.journal.atomic():
            if self.journal.take(command, at):
                self.engine.command(command.kind, at)
                _LOG.warning("%s, by %s%s", command.kind, command.by, f": {command.reason}" if command.reason else "")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the loop; what they did before is restored at the end."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.stop()

        try:
            before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:  # not in the main thread: whoever runs us there calls stop()
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
