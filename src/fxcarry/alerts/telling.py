"""Alerts as the engine tells them: collected during a step, said once, recorded, and handed to the outbox."""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from fxcarry.alerts.kinds import AlertKind, Severity
from fxcarry.alerts.outbox import NOT_OURS, Outbox
from fxcarry.alerts.routing import AlertSettings, Channel
from fxcarry.errors import ConfigError, JournalError
from fxcarry.model import Alert
from fxcarry.plain import whole
from fxcarry.protocols import Notifier

if TYPE_CHECKING:
    from fxcarry.journal import Journal

_LOG = logging.getLogger("fxcarry")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}
_RECENT = timedelta(days=7)  # what is older is news no more
_KEPT = 1000  # different words that are remembered to have been said
_NEWS = frozenset(
    {
        AlertKind.ENGINE_START,
        AlertKind.ENGINE_STOP,
        AlertKind.OPERATOR,
        AlertKind.TRADING_STATE,
        AlertKind.TRADE_EXECUTED,
        AlertKind.POSITION_CLOSED,
        AlertKind.STOP_LOSS,
        AlertKind.LIQUIDATION,
        AlertKind.PLAN_REFUSED,
        AlertKind.MILESTONE,
        AlertKind.DIGEST,
    }
)
"""What happens anew each time, whatever the words."""

_RUNS = (AlertKind.ENGINE_START, AlertKind.ENGINE_CRASH)
"""What one process after another says in the same words."""


@attrs.define
class _Said:
    """Words that were said, and how often again since."""

    alert: Alert
    last: datetime
    again: int = 0

    def summary(self) -> Alert:
        """What is told of the repetitions."""
        first, last = f"{self.alert.at:%H:%M:%S}", f"{self.last:%H:%M:%S}"
        times = "once more" if self.again == 1 else f"{self.again:,} times more"
        message = f"{self.alert.message} ({times} between {first} and {last} UTC)"
        return attrs.evolve(
            self.alert,
            at=self.last,
            message=message,
            fields={**self.alert.fields, "count": self.again},
        )


class Alerts:
    """Alerts of one engine.

    :meth:`tell` collects and :meth:`flush` records and hands over, so that nothing is told that is taken back in the
    middle of a step; the :class:`~fxcarry.alerts.Outbox` sends in the background. A condition that lasts is told once:
    give it a ``key``, and :meth:`end` it. The same words again are counted.

    Raises ConfigError where two notifiers have one name, or a route names one that there is none of.
    """

    def __init__(
        self, journal: Journal, notifiers: Iterable[Notifier] = (), settings: AlertSettings | None = None
    ) -> None:
        self.journal, self.settings = journal, settings or AlertSettings()
        channels = [Channel.of(notifier) for notifier in notifiers]
        names = [channel.name for channel in channels]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise ConfigError(f"two channels are called {twice!r}", hint="give one of them another name")
        for path, problem in self.settings.problems(names):
            raise ConfigError(f"{path}: {problem}")
        self.remote = {channel.name for channel in channels if not channel.is_local}
        """The channels that reach somebody who is not there."""
        self._outbox = Outbox(journal, channels, self.settings)
        if channels:
            weakref.finalize(self, self._outbox.close, 2.0)  # also when the interpreter ends
        self._waiting: list[Alert] = []
        self._lasting: dict[str, int] = {}
        self._left: set[str] = set()  # keys that an earlier process told, and did not end
        self._said: OrderedDict[tuple[str, str, str], _Said] = OrderedDict()

    @property
    def mask(self) -> Callable[[str], str]:
        """What secrets are taken out of a text with."""
        return self._outbox.mask

    @mask.setter
    def mask(self, mask: Callable[[str], str]) -> None:
        self._outbox.mask = mask

    def tell(
        self,
        at: datetime,
        kind: AlertKind,
        severity: Severity,
        message: str,
        *,
        key: str = "",
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Collect an alert, unless one with that ``key`` was told and has not ended, or the same words were said within
        the window of the settings.
        """
        self._forget(at)
        if key:
            if key in self._lasting:
                self._lasting[key] += 1
                return
            self._lasting[key] = 0
            self._left.discard(key)
        alert = Alert(at=at, kind=kind, severity=severity, message=message, fields=fields or {}, key=key)
        said = None if key else self._said.get((kind, severity, message))
        if said is not None:
            said.again, said.last = said.again + 1, at
            return
        if not key and kind not in _NEWS:
            self._said[kind, severity, message] = _Said(alert, at)
        self._waiting.append(alert)

    def end(self, at: datetime, kind: AlertKind, key: str, message: str) -> None:
        """Say that a condition is over, if it was told, by an earlier process too."""
        count = self._lasting.pop(key, 0 if key in self._left else None)
        self._left.discard(key)
        if count is not None:
            fields = {"count": count} if count else {}
            over = Alert(at=at, kind=kind, severity="info", message=message, fields=fields, key=key, is_over=True)
            self._waiting.append(over)

    def remember(self, key: str) -> None:
        """Count a condition as told, by an earlier process: only its end is news."""
        self._lasting.setdefault(key, 0)

    def flush(self) -> None:
        """Record what was collected and hand it over. Raises nothing and waits for no channel."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        clean = [
            attrs.evolve(alert, message=self._said_as(alert.message), fields=self._clean(alert.fields))
            for alert in waiting
        ]
        numbers: list[int | None] = [None] * len(clean)
        try:
            with self.journal.atomic():
                numbers = [self.journal.alert(alert) for alert in clean]
        except Exception as error:  # the channels are told all the more
            numbers = [None] * len(clean)
            _LOG.error("alerts could not be recorded: %s", error)
        for number, alert in zip(numbers, clean):
            _LOG.log(_LEVELS[alert.severity], "%s: %s", alert.kind, alert.message)
            self._outbox.hand(number, alert)

    def recover(self, at: datetime) -> None:
        """Take up what an earlier process said and could not send; for who holds the lock of the journal, before the
        first alert.
        """
        try:
            recent = self.journal.recent_alerts(at - _RECENT, and_unsent=True)
        except JournalError as error:  # nobody is kept from starting, or from closing the account, by this
            _LOG.error("alerts of an earlier process cannot be read: %s", error)
            return
        self._recognize_crashes([one.alert for one in recent])
        last = {one.alert.key: one.alert for one in recent if one.alert.key and one.alert.kind not in NOT_OURS}
        self._left = {key for key, alert in last.items() if not alert.is_over}
        self._outbox.recover(recent)

    def _recognize_crashes(self, recent: Iterable[Alert]) -> None:
        """A crash again and again is told once, and so is the start after it."""
        starts: dict[tuple[str, str, str], _Said] = {}
        is_crashing = False
        for alert in recent:
            words = alert.kind, alert.severity, alert.message
            if alert.kind == AlertKind.ENGINE_CRASH:
                self._said.pop(words, None)
                self._said[words] = _Said(alert, alert.at)
            if alert.kind in (AlertKind.ENGINE_CRASH, AlertKind.ENGINE_STOP):
                is_crashing, starts = alert.kind == AlertKind.ENGINE_CRASH, {}
            elif alert.kind == AlertKind.ENGINE_START and is_crashing:
                starts[words] = _Said(alert, alert.at)
        self._said |= starts

    def settle(self, seconds: float = 10.0) -> bool:
        """Wait until every channel has been asked; False where that takes longer."""
        return self._outbox.settle(seconds)

    def close(self, seconds: float = 10.0) -> bool:
        """Tell what was counted, and wait until it is sent, at most so long; False where it was not.

        What is not sent then is in the journal, and a critical alert among it is sent at the next start.
        """
        self._waiting += [said.summary() for said in self._said.values() if said.again and said.alert.kind not in _RUNS]
        self._said.clear()
        self.flush()
        return self._outbox.close(seconds)

    def _forget(self, at: datetime) -> None:
        """Words whose window is over may be said again; how often they were repeated is told."""
        window = timedelta(minutes=self.settings.dedupe_minutes)
        while self._said:
            key, said = next(iter(self._said.items()))
            if at - said.alert.at < window and len(self._said) <= _KEPT:
                return
            del self._said[key]
            if said.again:
                self._waiting.append(said.summary())

    def _clean(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._said_as(value) if isinstance(value, str) else value for name, value in fields.items()}

    def _said_as(self, text: str) -> str:
        return whole(self.mask(text))
