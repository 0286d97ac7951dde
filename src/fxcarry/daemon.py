"""The loop that runs an engine for months: one look at a time, commands in between, and a clean stop.

Everything that must survive is in the journal and at the venue. Started again, the loop goes on after the last look it
finished (:meth:`fxcarry.live.Live.recover`); a replay of stored history, killed and started again as often as you
like, ends with the same account to the cent.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event
from time import monotonic, sleep, time
from types import FrameType

import attrs

from fxcarry.alerts import AlertKind, Alerts, Severity
from fxcarry.clock import Frequency, SteppedClock
from fxcarry.conventions import is_open, session_end, trade_date
from fxcarry.engine import Engine
from fxcarry.errors import BrokerError, BrokerUnavailable, DataError, FxCarryError
from fxcarry.journal import Command, JournalLock, SqliteJournal, append_performance
from fxcarry.live import nothing
from fxcarry.market import MarketHistory, from_ns
from fxcarry.model import OrderResult, RiskState, TradingState, to_decimal
from fxcarry.preview import Preview
from fxcarry.protocols import Broker

_LOG = logging.getLogger("fxcarry")
_MOMENT = timedelta(microseconds=1)
Told = Callable[[datetime, Engine], None]


def replay_instants(
    history: MarketHistory, start: datetime | None, until: datetime | None, rebalance: Frequency
) -> list[datetime]:
    """The looks of a replay: the ticks a backtest of the same period has."""
    return [from_ns(at) for at in SteppedClock.over(history, start, until, rebalance).at]


def wall_instants(every: timedelta, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[datetime]:
    """The looks of a live engine, without end: one each ``every`` while the market is open, counted from midnight UTC,
    so that 17:00 New York is among them. What lies in the past when it is asked for (the machine slept) is left out;
    where the clock went back, the next look is after the last all the same.
    """
    at = now()
    while True:
        at = max(at, now())
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        at = midnight + ((at - midnight) // every + 1) * every
        if is_open(at - _MOMENT):  # 17:00 of a Friday belongs to the session it ends
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


def take_over(
    journal: SqliteJournal, lock: JournalLock, broker: Broker, at: datetime, alerts: Alerts, killed: int | None = None
) -> Liquidation:
    """Close everything from this process, after :func:`shut_out`, which says whom it ``killed``.

    The account is ours: the journal says halted (``OPERATOR``, until a person resumes), so that the next engine goes on
    closing; working orders are cancelled, every position gets a closing order, the largest margin first, and the venue
    is read again. A venue out of reach is asked again, for half a minute in all; then BrokerUnavailable is raised.
    """
    with lock:
        alerts.recover(at)
        with journal.atomic():
            state = journal.state() or RiskState(day_start=math.nan, high_water=math.nan)
            halted = attrs.evolve(state, trading=TradingState.HALTED, latch="OPERATOR", halt_until=None, halted_at=None)
            journal.transition(at, halted)
            for command in journal.commands():
                if command.kind == "flatten":
                    journal.take(command, at)
        for wait in (1, 2, 4, 8, 16, 0):
            try:
                broker.connect()
                closing = tuple(broker.close_all_positions())
                journal.record(closing, at)
                held = {name: position.units for name, position in broker.get_positions().items()}
                break
            except BrokerUnavailable as error:
                message = f"the account cannot be closed: {error}"
                alerts.tell(at, AlertKind.LIQUIDATION, "critical", message, key="unreachable")
                alerts.flush()
                if not wait:
                    raise
                sleep(wait)
        left = ", ".join(f"{name} {units:,f}" for name, units in held.items())
        message = (
            f"everything is being closed; still open until the next quote: {left}" if left else "the account is flat"
        )
        if left and not is_open(at):
            message += "; the market is closed, the orders wait for it to open"
        alerts.tell(at, AlertKind.LIQUIDATION, "critical", message)
        alerts.flush()
    return Liquidation(killed=killed, closing=closing, open=held)


_JUMP = 30.0  # seconds between the clock on the wall and the one that only counts
_SLICE = 1.0  # seconds of waiting before the clocks are compared and the watchdog is told
_LONG = timedelta(minutes=5)
"""How long looks may fail before the alert about it is critical."""


@attrs.define(kw_only=True, eq=False)
class Daemon:
    """An engine with its journal and its lock.

    ``engine`` must have been made with ``journal``. SIGTERM and SIGINT let the look in hand finish and stop. SIGHUP
    asks ``reload`` for another engine on the same account, which takes over after the look in hand; where that raises
    ConfigError the old one stays. ``performance`` is the file of the performance log, a line a day.
    """

    engine: Engine
    journal: SqliteJournal
    lock: JournalLock
    reload: Callable[[], Engine] | None = None
    performance: Path | None = None
    _is_stopped: Event = attrs.field(factory=Event, init=False)
    _is_to_reload: bool = attrs.field(default=False, init=False)
    _is_recovered: bool = attrs.field(default=False, init=False)
    _failing_since: datetime | None = attrs.field(default=None, init=False)
    _reported: str | None = attrs.field(default=None, init=False)
    _at: datetime | None = attrs.field(default=None, init=False)

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

        A look that fails for want of data or because the venue cannot be reached is told once and tried again at the
        next instant: nothing is sent, stops at the venue stay. Whatever else goes wrong, the journal first of all, ends
        the loop with an alert and is raised: JournalLocked where another engine has the account, or takes it over.
        """
        looks = 0
        with self.lock, self._signals():
            self.engine.before_send = self.lock.check
            self._at, is_ahead = None, False
            try:
                done = last = self.journal.last_beat()
                for at in instants:
                    if done is not None and at <= done:
                        if is_live and not is_ahead:
                            self._tell_clock(done - datetime.now(UTC))
                            is_ahead = True
                        continue
                    seconds = 0.0
                    if is_live:
                        seconds = (at - datetime.now(UTC)).total_seconds()
                    elif speed is not None and looks and last is not None:
                        seconds = (at - last).total_seconds() / speed
                    if self._at is None:
                        self._at = min(at, datetime.now(UTC)) if is_live else at
                        self._started(self._at)
                    if self._wait(max(seconds, 0.0)):
                        break
                    self._at = at
                    if is_live and datetime.now(UTC) - at > timedelta(seconds=_JUMP):
                        continue  # the machine slept: an instant that is over is not looked at
                    if self._is_to_reload:
                        self._reload(at)
                    if self._look(at, at if is_live else done):
                        looks, last = looks + 1, at
                        if told is not None:
                            told(at, self.engine)
                if self._at is not None:
                    self._tell(self._at, AlertKind.ENGINE_STOP, "info", f"the engine stopped after {looks} looks")
                elif done is not None:  # nothing to look at; what an earlier process left is sent
                    self.engine.alerts.recover(done)
            except BaseException as error:
                self._crashed(error)
                raise
            finally:
                self.engine.before_send = nothing
                if not self.engine.alerts.close():
                    _LOG.warning("not all alerts are sent yet; fxcarry alerts list shows what became of them")
        return looks

    def stop(self) -> None:
        """End after the look in hand."""
        self._is_stopped.set()

    def _look(self, at: datetime, now: datetime | None) -> bool:
        """One look; False where it failed in a way that may pass."""
        try:
            if not self._is_recovered:
                self.engine.recover(now)
                self._is_recovered = True
            for command in self.journal.commands():
                self._obey(command, at)
            self.lock.check()
            self.engine.step(at)
        except (DataError, BrokerError, OSError) as error:
            self._failed(at, error)
            return False
        since, self._failing_since = self._failing_since, None
        message = "looks succeed again" + (f", after {at - since} without" if since is not None else "")
        for kind in (AlertKind.FEED_ERROR, AlertKind.BROKER_ERROR):
            for key in ("failing", "failing long"):
                self.engine.alerts.end(at, kind, f"{kind} {key}", message)
        self.engine.alerts.flush()
        self._report(at)
        _notify("WATCHDOG=1")
        return True

    def _failed(self, at: datetime, error: Exception) -> None:
        self._failing_since = self._failing_since or at
        kind = AlertKind.FEED_ERROR if isinstance(error, DataError) else AlertKind.BROKER_ERROR
        message = f"no look at {at:%Y-%m-%d %H:%M:%S} UTC: {error}; nothing is sent, stops at the venue stay"
        self.engine.alerts.tell(at, kind, "warning", message, key=f"{kind} failing")
        if at - self._failing_since >= _LONG:
            message = f"no look since {self._failing_since:%Y-%m-%d %H:%M:%S} UTC: {error}"
            self.engine.alerts.tell(at, kind, "critical", message, key=f"{kind} failing long")
        self.engine.alerts.flush()

    def _report(self, at: datetime) -> None:
        """A line of the performance log for a day that ended at this look."""
        if self.performance is None or session_end(trade_date(at - _MOMENT)) != at:
            return
        try:
            nav = to_decimal(round(self.engine.broker.nav, 2))
            append_performance(self.performance, self.journal, trade_date(at - _MOMENT), nav, since=self._reported)
        except FxCarryError as error:  # it can be made again from the journal
            self._tell(at, AlertKind.PERFORMANCE_LOG, "warning", str(error))
        else:
            self._reported = self.journal.last_transaction_id()

    def _obey(self, command: Command, at: datetime) -> None:
        with self.journal.atomic():
            if self.journal.take(command, at):
                plan = self.journal.plan_of(command.reason) if command.kind == "apply" else None
                if command.kind != "apply":
                    self.engine.command(command.kind, at)
                elif plan is not None:
                    self.engine.adopt(Preview.from_dict(plan))
        why = f": {command.reason}" if command.reason else ""
        self._tell(at, AlertKind.OPERATOR, "warning", f"{command.kind}, by {command.by}{why}")

    def _reload(self, at: datetime) -> None:
        self._is_to_reload = False
        if self.reload is None:
            return
        try:
            engine = self.reload()
        except FxCarryError as error:
            self._tell(at, AlertKind.OPERATOR, "warning", f"the new configuration is not taken: {error}")
            return
        engine.before_send = self.lock.check
        self.engine.alerts.close(2.0)
        self.engine, self._is_recovered = engine, False
        engine.alerts.recover(at)
        self._tell(at, AlertKind.OPERATOR, "info", "the new configuration is in force")

    def _started(self, at: datetime) -> None:
        self.engine.alerts.recover(at)
        self._tell(at, AlertKind.ENGINE_START, "info", f"the engine runs on {self.engine.broker.name}")
        _notify("READY=1")

    def _crashed(self, error: BaseException) -> None:
        at = self._at or datetime.now(UTC)
        self._tell(at, AlertKind.ENGINE_CRASH, "critical", f"the engine ended: {type(error).__name__}: {error}")

    def _tell(self, at: datetime, kind: AlertKind, severity: Severity, message: str) -> None:
        self.engine.alerts.tell(at, kind, severity, message)
        self.engine.alerts.flush()

    # -- time ------------------------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> bool:
        """Wait, and say whether to stop. A clock that jumps meanwhile is told; a jump forward ends the wait."""
        ends = monotonic() + seconds
        while (left := ends - monotonic()) > 0:
            wall, counted = time(), monotonic()
            if self._is_stopped.wait(min(left, _SLICE)):
                return True
            jump = (time() - wall) - (monotonic() - counted)
            if abs(jump) > _JUMP:
                self._tell_clock(timedelta(seconds=-jump))
                if jump > 0:
                    break
                ends -= jump  # the same instant is later now
            _notify("WATCHDOG=1")
        return self._is_stopped.is_set()

    def _tell_clock(self, back: timedelta) -> None:
        """Say that the clock on the wall went ``back`` by so much (< 0: forward), if it is worth saying."""
        now, back = datetime.now(UTC), timedelta(seconds=round(back.total_seconds()))
        if back > timedelta(seconds=_JUMP):
            message = f"the clock went back by {back}: nothing is done until it has passed the last look"
            self._tell(now, AlertKind.CLOCK_JUMP, "critical", message)
        elif -back > timedelta(seconds=_JUMP):
            message = f"the clock went forward by {-back}, or the machine slept: no look in between was made"
            self._tell(now, AlertKind.CLOCK_JUMP, "warning", message)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the loop, SIGHUP reloads; what they did before is restored at the end."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.stop()

        def reload(number: int, frame: FrameType | None) -> None:
            self._is_to_reload = True

        wanted = {signal.SIGTERM: stop, signal.SIGINT: stop}
        if hasattr(signal, "SIGHUP"):
            wanted[signal.SIGHUP] = reload
        try:
            before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        except ValueError:  # not in the main thread: whoever runs us there calls stop()
            before = {}
        try:
            yield
        finally:
            _notify("STOPPING=1")
            for number, handler in before.items():
                signal.signal(number, handler)


def _notify(state: str) -> None:
    """Tell systemd, where it started us as a service of Type=notify (sd_notify(3)); elsewhere do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            line.sendall(state.encode())
    except OSError as error:
        _LOG.warning("the service manager cannot be told %s: %s", state, error)
