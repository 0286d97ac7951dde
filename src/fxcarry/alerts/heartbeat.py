"""The dead man's switch: another process looks whether the engine still looks at the market."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import attrs

from fxcarry.alerts.kinds import AlertKind, Severity
from fxcarry.alerts.telling import Alerts
from fxcarry.conventions import open_minutes
from fxcarry.errors import JournalError
from fxcarry.journal import Journal
from fxcarry.model import Alert
from fxcarry.reconcile import Reconciliation

_KEY = "heartbeat"
_LONG_AGO = timedelta(days=30)


@attrs.frozen(kw_only=True)
class Heartbeat:
    """When the engine looked last, how many minutes of open market ago, and whether that is too long.

    ``is_stopped`` says that it ended as asked; ``held`` are the units it left by instrument where it is silent.
    """

    last_look: datetime | None
    silent_minutes: float
    is_missed: bool
    is_stopped: bool
    held: dict[str, Decimal]

    @property
    def message(self) -> str:
        """What a person is told."""
        if self.last_look is None:
            return "the engine has not looked at the market yet"
        last = f"{self.last_look:%Y-%m-%d %H:%M:%S} UTC"
        if not self.is_missed:
            return f"the engine looked at {last}"
        held = ", ".join(f"{units.normalize():+,f} {name}" for name, units in self.held.items()) or "no position"
        what = "the engine was stopped, its last look was at" if self.is_stopped else "the engine is silent since"
        return f"{what} {last}, {self.silent_minutes:,.0f} minutes of open market ago, with {held}"


def heartbeat(journal: Journal, now: datetime, minutes: float) -> Heartbeat:
    """How the engine of a journal does at ``now``: missed after so many ``minutes`` of open market without a look.

    One that was stopped as asked is missed only where it left positions; when it is started again it has as long for
    its first look. The market's closed hours do not count.
    """
    last = journal.last_beat()
    if last is None:
        return Heartbeat(last_look=None, silent_minutes=0.0, is_missed=False, is_stopped=False, held={})
    silent = open_minutes(last, now) if now > last else 0.0
    ends = (AlertKind.ENGINE_START, AlertKind.ENGINE_STOP, AlertKind.ENGINE_CRASH)
    recent = journal.recent_alerts(last) if silent > minutes else []
    since = [one.alert for one in recent if one.alert.kind in ends]
    for before, after in pairwise(since):
        if (before.kind, after.kind) == (AlertKind.ENGINE_STOP, AlertKind.ENGINE_START) and after.at < now:
            silent = open_minutes(max(last, after.at), now)
    if silent <= minutes:
        return Heartbeat(last_look=last, silent_minutes=silent, is_missed=False, is_stopped=False, held={})
    is_stopped = bool(since) and since[-1].kind == AlertKind.ENGINE_STOP
    held = {name: units for name, units in Reconciliation(journal.transactions()).units.items() if units}
    return Heartbeat(
        last_look=last,
        silent_minutes=silent,
        is_missed=bool(held) or not is_stopped,
        is_stopped=is_stopped,
        held=held,
    )


class Watch:
    """Tells when the engine falls silent, once, and when it is back. What was told is in the journal: a watch that is
    started again, or runs once a minute, does not repeat it.
    """

    def __init__(self, alerts: Alerts) -> None:
        self.alerts = alerts

    def look(self, now: datetime) -> Heartbeat | None:
        """One look at the journal; None where it cannot be read, which is told too."""
        kind, alerts = AlertKind.HEARTBEAT_MISSED, self.alerts
        try:
            found = heartbeat(alerts.journal, now, alerts.settings.heartbeat_minutes)
            told = [alert for alert in alerts.journal.alerts_of(kind) if alert.at >= now - _LONG_AGO]
            is_told = bool(told) and not told[-1].is_over and self._has_reached(told[-1])
        except JournalError as error:
            self.tell_blind(now, error)
            return None
        if is_told:
            alerts.remember(_KEY)
        if found.is_missed:
            severity: Severity = "warning" if found.is_stopped else "critical"
            fields = {"silent_s": round(found.silent_minutes * 60), **{n: str(u) for n, u in found.held.items()}}
            alerts.tell(now, kind, severity, found.message, key=_KEY, fields=fields)
        else:
            alerts.end(now, kind, _KEY, found.message)
            alerts.end(now, kind, kind, "the journal can be read again")
        alerts.flush()
        return found

    def tell_blind(self, now: datetime, error: Exception) -> None:
        """Tell that the journal cannot be read, once."""
        kind = AlertKind.HEARTBEAT_MISSED
        self.alerts.tell(now, kind, "critical", f"nobody can see whether the engine runs: {error}", key=kind)
        self.alerts.flush()

    def _has_reached(self, told: Alert) -> bool:
        """Whether somebody was, or may have been, told: not by a line on a screen alone where there are channels."""
        *_, states = [one.states for one in self.alerts.journal.recent_alerts(told.at) if one.alert.kind == told.kind]
        asked = states.keys() & self.alerts.remote or states.keys()
        if not asked:  # it ended before it could ask any
            return not self.alerts.remote
        return any(states[name] in ("delivered", "unknown", "sending", "held-back") for name in asked)
