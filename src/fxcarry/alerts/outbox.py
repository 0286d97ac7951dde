"""Alerts on their way: a background worker that nothing waits for, with a thread for each channel.

The worker alone decides and writes to the journal; a channel's thread does nothing but hand over one alert at a time.
What it is about to do is written before it is done: an alert that a crash interrupted was possibly delivered, and is
not sent to that channel again. Memory is bounded: what comes faster than it can be handed over waits in the journal.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import takewhile
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal

import attrs

from fxcarry.alerts.kinds import AlertKind, Severity
from fxcarry.alerts.routing import AlertSettings, Channel, Route
from fxcarry.errors import DeliveryUnknown, FxCarryError, NotifierError
from fxcarry.model import Alert
from fxcarry.plain import whole

if TYPE_CHECKING:
    from fxcarry.journal import AlertRecord, Journal

_LOG = logging.getLogger("fxcarry")
DeliveryState = Literal["waiting", "sending", "delivered", "failed", "unknown", "held-back"]
"""What is on record of an alert and a channel. ``unknown``: possibly delivered. ``sending`` and nothing after it: the
process ended in the middle."""

NOT_OURS = frozenset({AlertKind.HELD_BACK, AlertKind.HEARTBEAT_MISSED, AlertKind.SELF_TEST})
"""Kinds that are never taken from the journal: who raises them also sends them, in its own process."""

_WAITING = 1000  # alerts in memory
_IN_LINE = 250  # for one channel, before what is known elsewhere is only counted
_KEPT = 10_000  # rows that wait for a journal that cannot be written
_WAITS = (5.0, 30.0, 120.0, 600.0)  # seconds that a channel that failed is left alone
_SOON = 5.0  # seconds that a critical alert waits behind another before the next channel is told
_TRIES = 3  # for what is not critical, or has reached somebody elsewhere


@attrs.define(eq=False)
class _Sent:
    """An alert on its way to everybody who is told."""

    number: int | None  # in the journal; None where it could not be written
    alert: Alert
    route: Route
    tried: set[str] = attrs.field(factory=set)
    is_known: bool = False  # it reached somebody
    is_escalated: bool = False  # told again, for nobody acknowledged it

    @property
    def is_critical(self) -> bool:
        return self.alert.severity == "critical"


@attrs.define(eq=False)
class _Job:
    """An alert on its way to one channel."""

    sent: _Sent
    is_fallback: bool = False
    tries: int = 0
    is_passed_on: bool = False
    is_noted: bool = False  # that it waits is on record


@attrs.define(eq=False)
class _Outcome:
    state: DeliveryState
    error: str = ""
    is_final: bool = False
    retry_after: float | None = None


class _Line:
    """The way to one channel: what waits for it, and how it does."""

    def __init__(self, channel: Channel, now: float) -> None:
        self.channel, self.name = channel, channel.name
        self.waiting: deque[_Job] = deque()
        self.slot: SimpleQueue[_Job | None] = SimpleQueue()
        self.busy: _Job | None = None
        self.since = now
        self.is_hanging = self.is_sick = False
        self.failures = 0
        self.closed_until = 0.0
        self.thread: threading.Thread | None = None
        self._free, self._seen = float(channel.per_hour or 0), now
        self.held: Counter[str] = Counter()
        self.held_severity: Severity = "info"
        self.held_since: tuple[float, datetime] | None = None
        self.held_last: datetime | None = None

    def put(self, job: _Job, *, is_again: bool = False) -> None:
        """Let it wait: what is critical before what is not, what is tried again before its equals."""
        critical = sum(1 for _ in takewhile(lambda other: other.sent.is_critical, self.waiting))
        if is_again:
            self.waiting.insert(0 if job.sent.is_critical else critical, job)
        else:
            self.waiting.insert(critical if job.sent.is_critical else len(self.waiting), job)

    def load(self) -> int:
        """What waits, as far as others wait for it: not for a channel that fails, or has not caught up since."""
        if self.is_sick and not self.failures and not self.is_hanging and len(self.waiting) <= _IN_LINE:
            self.is_sick = False
        return 0 if self.is_sick else len(self.waiting)

    def may_tell(self, now: float) -> bool:
        """Whether one more alert is within the limit; counts it."""
        most = self.channel.per_hour
        if most is None:
            return True
        self._free = min(float(most), self._free + (now - self._seen) * most / 3600)
        self._seen = now
        if self._free < 1:
            return False
        self._free -= 1
        return True

    def hold(self, alert: Alert, now: float) -> None:
        """Count an alert that is not told by itself."""
        self.held[str(alert.kind)] += 1
        if alert.severity != "info":
            self.held_severity = "warning"
        self.held_last = alert.at
        if self.held_since is None:
            self.held_since = now, alert.at

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """Leave it alone for a while, longer each time."""
        wait = _WAITS[min(self.failures, len(_WAITS) - 1)]
        self.failures += 1
        self.is_sick = True
        self.closed_until = now + max(wait, retry_after or 0.0)

    def is_open(self, now: float) -> bool:
        """Whether it may be given something now."""
        return self.busy is None and now >= self.closed_until

    def is_down(self, now: float) -> bool:
        """Whether it is left alone, or does not come back."""
        return self.is_hanging or now < self.closed_until


@attrs.define(eq=False)
class _Escalation:
    sent: _Sent
    due: float
    times: int = 0


class Outbox:
    """Sends alerts to channels in the background.

    Args:
        journal: what is delivered is recorded there; the worker uses a connection of its own.
        channels: whom routes may name.
        settings: the routes and limits.
        patience: seconds after which a channel that does not come back counts as hanging.
    """

    def __init__(
        self,
        journal: Journal,
        channels: Sequence[Channel],
        settings: AlertSettings,
        *,
        patience: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.mask: Callable[[str], str] = str
        """What secrets are taken out of a text with."""
        self._journal, self._own = journal, journal
        self._patience, self._clock = patience, clock
        self._lines = {channel.name: _Line(channel, clock()) for channel in channels}
        self._names = tuple(self._lines)
        self._lock = threading.Lock()
        self._handed: deque[tuple[int | None, Alert]] = deque()
        self._behind: int | None = None  # from this number on alerts wait in the journal
        self._last = 0
        self._done: SimpleQueue[tuple[_Line, _Job, _Outcome]] = SimpleQueue()
        self._escalations: list[_Escalation] = []
        self._wake, self._idle = threading.Event(), threading.Event()
        self._idle.set()
        self._is_ending = False
        self._left: list[AlertRecord] = []
        self._worker: threading.Thread | None = None
        self._rows: list[tuple[int, str, DeliveryState, str]] = []
        self._is_unwritten = False  # the journal could not be written at the last turn

    # -- what the engine calls: none of it waits for a channel -------------------------------------------------------

    def hand(self, number: int | None, alert: Alert) -> None:
        """Give an alert to the worker; one that does not fit into memory waits in the journal under its number."""
        if not self._lines:
            return
        with self._lock:
            if self._behind is None and len(self._handed) < _WAITING:
                self._handed.append((number, alert))
            elif number is None:
                _LOG.error("an alert that could not be recorded is dropped, too many wait: %s", alert.message)
            elif self._behind is None:
                self._behind = number
            self._last = number or self._last
            self._idle.clear()
        self._start()

    def recover(self, left: list[AlertRecord]) -> None:
        """Take up what an earlier process left in the journal."""
        if not (self._lines and left):
            return
        with self._lock:
            self._left = left
            self._idle.clear()
        self._start()

    def settle(self, seconds: float) -> bool:
        """Wait until nothing can be done at once; False where that takes longer. A channel that is left alone for a
        while is not waited for.
        """
        self._wake.set()
        return self._idle.wait(seconds)

    def close(self, seconds: float = 10.0) -> bool:
        """Say what was held back, wait for what is on its way, and end the worker. What is not delivered by then stays
        in the journal for the next start; False where there is such a thing.
        """
        if self._worker is None:
            return True
        self._is_ending = True
        self._idle.clear()
        is_settled = self.settle(seconds)
        worker, self._worker = self._worker, None
        self._wake.set()
        worker.join(1.0)
        for line in self._lines.values():
            if line.thread is not None and line.busy is None:
                line.slot.put(None)
                line.thread = None
        self._is_ending = False
        return is_settled

    def _start(self) -> None:
        if self._worker is None or not self._worker.is_alive():  # a fork has no threads but its own
            beside = self._journal.beside()
            self._worker = threading.Thread(target=self._work, args=(beside,), name="fxcarry-alerts", daemon=True)
            self._worker.start()
        self._wake.set()

    # -- the worker --------------------------------------------------------------------------------------------------

    def _work(self, beside: AbstractContextManager[Journal]) -> None:
        me = threading.current_thread()
        with beside as self._own:
            while self._worker is me:
                self._wake.clear()
                wait = 1.0
                try:
                    wait = self._turn()
                except Exception:  # a bug here must not silence every alert after it
                    _LOG.exception("the worker of alerts goes on after an error")
                self._wake.wait(wait)

    def _turn(self) -> float:
        """Everything that can be done now; seconds until there is something to do by itself."""
        now = self._clock()
        with self._lock:
            left, self._left = self._left, []
        self._take_up(left, now)
        self._collect(now)
        self._take_in(now)
        self._watch(now)
        self._escalate(now)
        self._sum_up(now)
        starting = [(line, job) for line in self._lines.values() if (job := self._next(line, now)) is not None]
        for line, job in starting:
            self._note(job.sent, line.name, "sending")
        for line in self._lines.values():
            for job in line.waiting:
                if not job.is_noted:
                    job.is_noted = True
                    self._note(job.sent, line.name, "waiting")
        self._write()
        for line, job in starting:
            self._begin(line, job, now)
        with self._lock:
            is_behind = bool(self._handed) or self._behind is not None
            can_go_on = any(line.waiting and line.is_open(now) for line in self._lines.values())
            is_busy = any(line.busy is not None and not line.is_hanging for line in self._lines.values())
            has_counts = self._is_ending and any(
                line.held_since is not None and not line.is_down(now) for line in self._lines.values()
            )
            has_work = is_behind or can_go_on or is_busy or has_counts or self._left or self._rows
            if not has_work and self._done.empty():
                self._idle.set()
        if can_go_on or (is_behind and self._room() > 0):
            return 0.0
        return max(0.01, min(self._due(now), 0.5 if self._rows else 60.0))

    def _due(self, now: float) -> float:
        moments = [one.due for one in self._escalations]
        for line in self._lines.values():
            if line.busy is not None and not line.is_hanging:
                moments += [line.since + self._patience, *([line.since + _SOON] if line.waiting else [])]
            if line.waiting and line.busy is None:
                moments.append(line.closed_until)
            if line.held_since is not None:
                moments.append(line.held_since[0] + self.settings.held_back_minutes * 60)
        return min(moments, default=now + 60.0) - now

    def _room(self) -> int:
        return _WAITING - sum(line.load() for line in self._lines.values())

    def _take_in(self, now: float) -> None:
        with self._lock:
            fresh = [self._handed.popleft() for _ in range(min(len(self._handed), max(self._room(), 0)))]
            behind = self._behind if not self._handed else None
        for number, alert in fresh:
            self._route(number, alert, now)
        if behind is None or self._room() <= 0:
            return
        try:
            found = self._own.alerts_from(behind, min(self._room(), 500))
        except FxCarryError as error:
            _LOG.error("alerts that wait cannot be read: %s", error)
            return
        for number, alert in found:
            if alert.kind not in NOT_OURS:
                self._route(number, alert, now)
        with self._lock:
            self._behind = found[-1][0] + 1 if found else behind
            if self._behind > self._last or not found:
                self._behind = None

    def _route(self, number: int | None, alert: Alert, now: float) -> None:
        sent = _Sent(number, alert, self.settings.route(alert, self._names))
        for name in sent.route.to:
            line = self._lines[name]
            if sent.is_critical:
                has_room = not line.is_sick or len(line.waiting) < _WAITING
            else:
                has_room = len(line.waiting) < _IN_LINE and line.may_tell(now)
            if has_room:
                line.put(_Job(sent))
            else:
                line.hold(alert, now)
                self._note(sent, name, "held-back")
                if sent.is_critical:
                    sent.tried.add(name)
                    self._pass_on(_Job(sent))

    def _next(self, line: _Line, now: float) -> _Job | None:
        while line.waiting and line.is_open(now):
            job = line.waiting.popleft()
            sent = job.sent
            if sent.is_known and (job.is_fallback or job.is_passed_on):
                continue
            if sent.is_escalated and sent.number is not None and self._is_answered(sent.alert, sent.number):
                continue
            return job
        return None

    def _begin(self, line: _Line, job: _Job, now: float) -> None:
        if line.thread is None or not line.thread.is_alive():
            line.thread = threading.Thread(target=self._send, args=(line,), name=f"alerts-{line.name}", daemon=True)
            line.thread.start()
        job.tries, job.is_noted = job.tries + 1, True
        job.sent.tried.add(line.name)
        line.busy, line.since = job, now
        line.slot.put(job)

    def _send(self, line: _Line) -> None:
        """The thread of one channel."""
        while (job := line.slot.get()) is not None:
            self._done.put((line, job, self._handed_over(line.channel, self._worded(job.sent))))
            self._wake.set()

    def _handed_over(self, channel: Channel, alert: Alert) -> _Outcome:
        try:
            channel.notify(alert)
        except DeliveryUnknown as error:
            return _Outcome("unknown", self._text(error))
        except NotifierError as error:
            after = error.fields.get("retry_after")
            is_final = bool(error.fields.get("is_final"))
            return _Outcome("failed", self._text(error), is_final, None if after is None else float(after))
        except FxCarryError as error:  # a secret that is missing, for one: nothing was sent
            return _Outcome("failed", self._text(error), is_final=True)
        except BaseException as error:  # whatever a channel does, nobody else notices
            return _Outcome("unknown", self._text(error))
        return _Outcome("delivered")

    def _text(self, error: BaseException) -> str:
        return whole(self.mask(f"{type(error).__name__}: {error}"))

    def _worded(self, sent: _Sent) -> Alert:
        if sent.number is None or not (sent.is_critical and sent.route.escalate_minutes):
            return sent.alert
        how = {"acknowledge": f"fxcarry alerts ack {sent.number}"}
        return attrs.evolve(sent.alert, fields={**sent.alert.fields, **how})

    def _collect(self, now: float) -> None:
        while not self._done.empty():
            line, job, outcome = self._done.get()
            was_hanging, line.is_hanging = line.is_hanging, False
            line.busy = None
            self._note(job.sent, line.name, outcome.state, outcome.error)
            if outcome.state == "delivered":
                line.failures, line.closed_until = 0, 0.0
                self._reached(line, job, now)
            elif not was_hanging:  # else it was passed on when it began to hang
                self._missed(line, job, outcome, now)
            elif outcome.state == "failed" and not outcome.is_final:
                line.failed(now, outcome.retry_after)
                if job.sent.is_critical and not job.sent.is_known:
                    line.put(job, is_again=True)

    def _reached(self, line: _Line, job: _Job, now: float) -> None:
        sent = job.sent
        if not line.channel.is_local:
            sent.is_known = True
        self._expect_answer(sent, now)

    def _expect_answer(self, sent: _Sent, now: float, past: float = 0.0) -> None:
        """Escalate a critical alert in due time, where its route says so; ``past`` seconds of it are over."""
        minutes = sent.route.escalate_minutes
        if any(one.sent is sent for one in self._escalations):
            return
        if minutes and sent.is_critical and sent.number is not None and not sent.is_escalated:
            self._escalations.append(_Escalation(sent, now + max(minutes * 60 - past, 0.0)))

    def _missed(self, line: _Line, job: _Job, outcome: _Outcome, now: float) -> None:
        """Go on after an alert was not, or not certainly, delivered."""
        _LOG.error("%s did not take the alert %s: %s", line.name, job.sent.alert.kind, outcome.error)
        if not outcome.is_final:
            line.failed(now, outcome.retry_after)
        self._pass_on(job)
        if outcome.state == "unknown":
            self._expect_answer(job.sent, now)
        if outcome.state == "failed" and not outcome.is_final:
            is_urgent = job.sent.is_critical and not job.sent.is_known
            if is_urgent or job.tries < _TRIES:
                line.put(job, is_again=True)

    def _pass_on(self, job: _Job) -> None:
        """Tell the next channel, unless somebody knows already."""
        sent = job.sent
        if sent.is_known or job.is_passed_on:
            return
        name = sent.route.next_after(sent.tried, sent.alert.severity, self._names)
        if name is not None:
            job.is_passed_on = True
            sent.tried.add(name)
            self._lines[name].put(_Job(sent, is_fallback=True))

    def _watch(self, now: float) -> None:
        """Channels that do not come back, and critical alerts that wait for one that is left alone or slow."""
        for line in self._lines.values():
            if line.busy is not None and not line.is_hanging and now - line.since >= self._patience:
                line.is_hanging = line.is_sick = True
                error = f"no answer for {self._patience:g} s"
                self._note(line.busy.sent, line.name, "unknown", error)
                self._missed(line, line.busy, _Outcome("unknown", error), now)
            if line.is_down(now) or (line.busy is not None and now - line.since >= _SOON):
                for job in list(line.waiting):
                    if job.sent.is_critical:
                        self._pass_on(job)
            if len(line.waiting) > _IN_LINE:
                self._thin_out(line, now)

    def _thin_out(self, line: _Line, now: float) -> None:
        """What waits for a channel that does not keep up, and has reached somebody elsewhere, is only counted."""
        known = [job for job in line.waiting if job.sent.is_known]
        line.waiting = deque(job for job in line.waiting if not job.sent.is_known)
        for job in known:
            if not (job.is_fallback or job.is_passed_on):
                line.hold(job.sent.alert, now)
                self._note(job.sent, line.name, "held-back")

    def _escalate(self, now: float) -> None:
        for one in [one for one in self._escalations if one.due <= now]:
            sent = one.sent
            assert sent.number is not None
            assert sent.route.escalate_minutes is not None
            if self._is_answered(sent.alert, sent.number):
                self._escalations.remove(one)
                continue
            ladder = sent.route.ladder(sent.alert.severity, self._names)
            name = next((n for n in ladder if n not in sent.tried), ladder[-1] if ladder else sent.route.to[-1])
            since = sent.route.escalate_minutes
            one.times += 1  # each says something else, or a mail server would drop it as known
            message = f"not acknowledged for {since * one.times:g} minutes: {sent.alert.message}"
            again = _Sent(sent.number, attrs.evolve(sent.alert, message=message), sent.route, {name}, is_escalated=True)
            sent.tried.add(name)
            line = self._lines[name]
            waiting = [job.sent for job in (*line.waiting, line.busy) if job is not None]
            if not any(other.is_escalated and other.number == sent.number for other in waiting):
                line.put(_Job(again))
            one.due = now + since * 60

    def _past(self, sent: _Sent) -> float:
        """How many seconds of the time to acknowledge are over, by the clock on the wall: a process that ends again and
        again goes up the ladder too, but does not tell its top rung at each start.
        """
        period = (sent.route.escalate_minutes or 0.0) * 60
        elapsed = (datetime.now(UTC) - sent.alert.at).total_seconds()
        if not period or elapsed < 0:
            return 0.0
        ladder = sent.route.ladder(sent.alert.severity, self._names)
        return elapsed % period if sent.tried & {*ladder} else elapsed

    def _is_answered(self, alert: Alert, number: int) -> bool:
        """Whether somebody has seen an alert, or what it tells of has ended; not, where the journal cannot be read."""
        try:
            is_over = bool(alert.key) and self._own.is_over(alert.kind, alert.key, number)
            return is_over or self._own.is_acknowledged(number)
        except FxCarryError as error:
            _LOG.error("nobody can tell whether an alert is acknowledged: %s", error)
            return False

    def _sum_up(self, now: float) -> None:
        """Tell a channel how many alerts it was not told."""
        for line in self._lines.values():
            if line.held_since is None or line.is_down(now):
                continue
            since, at = line.held_since
            if not self._is_ending and now - since < self.settings.held_back_minutes * 60:
                continue
            kinds = ", ".join(f"{count} {kind}" for kind, count in line.held.most_common())
            many = "1 alert was" if line.held.total() == 1 else f"{line.held.total():,} alerts were"
            alert = Alert(
                at=line.held_last or at,
                kind=AlertKind.HELD_BACK,
                severity=line.held_severity,
                message=f"{many} not sent here one by one since {at:%Y-%m-%d %H:%M} UTC: {kinds}",
                fields={"count": line.held.total(), **line.held},
            )
            line.held, line.held_since, line.held_severity = Counter(), None, "info"
            sent = _Sent(self._record(alert), alert, Route(to=(line.name,), then=()))
            line.put(_Job(sent))

    # -- the journal -------------------------------------------------------------------------------------------------

    def _record(self, alert: Alert) -> int | None:
        try:
            return self._own.alert(alert)
        except FxCarryError as error:
            _LOG.error("an alert could not be recorded: %s", error)
            return None

    def _note(self, sent: _Sent, channel: str, state: DeliveryState, error: str = "") -> None:
        if sent.number is not None:
            self._rows.append((sent.number, channel, state, error))

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            with self._own.atomic():
                for number, channel, state, error in rows:
                    self._own.delivery(number, channel, datetime.now(UTC), state, error)
        except Exception as error:  # the channels are told all the more
            if not self._is_unwritten:
                _LOG.error("deliveries could not be recorded, and will be as soon as they can: %s", error)
            self._rows, self._is_unwritten = [*rows, *self._rows][:_KEPT], True
        else:
            self._is_unwritten = False

    def _count_again(self, one: AlertRecord) -> None:
        """A count that was not sent is sent as it is."""
        for name, state in one.states.items():
            if state == "waiting" and name in self._lines:
                sent = _Sent(one.number, one.alert, Route(to=(name,), then=()))
                self._lines[name].put(_Job(sent, is_noted=True))

    def _take_up(self, recent: list[AlertRecord], now: float) -> None:
        """What an earlier process left. Critical alerts that reached nobody are sent, those that nobody acknowledged
        are escalated, the others are counted; one that was being sent was possibly delivered.
        """
        routed = max((one.number for one in recent if one.states and one.alert.kind not in NOT_OURS), default=0)
        for one in recent:
            if one.alert.kind == AlertKind.HELD_BACK:
                self._count_again(one)
            if one.alert.kind in NOT_OURS:
                continue
            sent = _Sent(one.number, one.alert, self.settings.route(one.alert, self._names))
            states = dict(one.states)
            for name in [name for name, state in states.items() if state == "sending"]:
                self._note(sent, name, "unknown", "the process ended while it was sent")
                states[name] = "unknown"
            open_at = [name for name in self._names if states.get(name) in ("waiting", "failed")]
            if one.number > routed:
                open_at += [name for name in sent.route.to if name not in states]
            sent.tried = states.keys() - set(open_at)
            sent.is_known = any(
                state == "delivered" and not (name in self._lines and self._lines[name].channel.is_local)
                for name, state in states.items()
            )
            if not sent.is_critical:
                for name in open_at:
                    self._lines[name].hold(one.alert, now)
                    self._note(sent, name, "held-back")
            elif sent.is_known:
                if not one.acknowledged_by:
                    self._expect_answer(sent, now, self._past(sent))
                for name in sent.route.to:
                    if states.get(name) == "waiting":
                        self._lines[name].put(_Job(sent, is_noted=True))
            elif open_at:
                for name in open_at:
                    self._lines[name].put(_Job(sent, is_noted=True))
            elif "unknown" in states.values():
                self._pass_on(_Job(sent))
                if not one.acknowledged_by:
                    self._expect_answer(sent, now, self._past(sent))
