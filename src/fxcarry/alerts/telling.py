"""What a person should know: collected while the engine works, then kept in the journal, logged and handed to channels.

Nothing here stops the engine: a channel that fails is a record in the journal and a line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from fxcarry.alerts.kinds import AlertKind, Severity
from fxcarry.errors import JournalError
from fxcarry.model import Alert
from fxcarry.protocols import Notifier

if TYPE_CHECKING:
    from fxcarry.journal import Journal

_LOG = logging.getLogger("fxcarry")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


class Alerts:
    """Alerts of one engine.

    :meth:`tell` collects and :meth:`flush` delivers, so that no channel is waited for, and nothing is told that is
    taken back, in the middle of a step. A condition that lasts is told once: give it a ``key``, and :meth:`end` it.
    """

    def __init__(self, journal: Journal, notifiers: Iterable[Notifier] = ()) -> None:
        self.journal = journal
        self.notifiers = tuple(notifiers)
        self.mask: Callable[[str], str] = str  # what a secret is taken out with
        self._waiting: list[Alert] = []
        self._lasting: set[str] = set()

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
        """Collect an alert, unless one with that ``key`` was told and has not ended."""
        if key:
            if key in self._lasting:
                return
            self._lasting.add(key)
        self._waiting.append(Alert(at=at, kind=kind, severity=severity, message=message, fields=fields or {}, key=key))

    def end(self, at: datetime, kind: AlertKind, key: str, message: str) -> None:
        """Say that a condition is over, if it was told."""
        if key in self._lasting:
            self._lasting.discard(key)
            self._waiting.append(Alert(at=at, kind=kind, severity="info", message=message, key=key, is_over=True))

    def flush(self) -> None:
        """Deliver what was collected: to the journal, the log and every channel. Raises nothing."""
        waiting, self._waiting = self._waiting, []
        for alert in waiting:
            alert = attrs.evolve(alert, message=self.mask(alert.message))
            _LOG.log(_LEVELS[alert.severity], "%s: %s", alert.kind, alert.message)
            number: int | None = None
            try:
                number = self.journal.alert(alert)
            except JournalError as error:  # the channels are told all the more
                _LOG.error("an alert could not be recorded: %s", error)
            for channel in self.notifiers:
                self._hand_to(channel, alert, number)

    def _hand_to(self, channel: Notifier, alert: Alert, number: int | None) -> None:
        failure = ""
        try:
            channel.notify(alert)
        except Exception as error:  # a channel never stops the engine
            failure = self.mask(f"{type(error).__name__}: {error}")
            _LOG.error("%s did not take the alert %s: %s", channel.name, alert.kind, failure)
        if number is not None:
            try:
                self.journal.delivered(number, channel.name, alert.at, failure)
            except JournalError as error:
                _LOG.error("a delivery could not be recorded: %s", error)
