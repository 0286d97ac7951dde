"""Who is told what: channels by kind, severity and time of day, who is told next, how often, and on what occasions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, time
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from fxcarry.alerts.kinds import AlertKind, Severity
from fxcarry.errors import ConfigError
from fxcarry.model import Alert
from fxcarry.protocols import Notifier

Digest = Literal["daily", "weekly"]
Rollover = Literal["notable", "every", "off"]
PER_HOUR = 60
"""How many alerts an hour a channel is told at most that does not say otherwise; critical ones are not counted."""


@attrs.frozen(kw_only=True)
class Channel:
    """A notifier as routes name it. ``per_hour`` is how many alerts an hour it is told at most, None = all; critical
    ones are always told.
    """

    notifier: Notifier
    name: str
    per_hour: int | None

    @classmethod
    def of(cls, notifier: Notifier, name: str = "", per_hour: int | None = None) -> Channel:
        """By its own name and its own limit, unless these are given."""
        if isinstance(notifier, cls):
            return notifier
        own: int | None = getattr(notifier, "per_hour", PER_HOUR)
        return cls(notifier=notifier, name=name or notifier.name, per_hour=own if per_hour is None else per_hour)

    @property
    def is_local(self) -> bool:
        """Whether it wakes nobody, as a console does not: what it took may still not be known to anybody."""
        return bool(getattr(self.notifier, "is_local", False))

    def notify(self, alert: Alert) -> None:
        """Hand the alert to the notifier."""
        self.notifier.notify(alert)


def _check_names(_: object, attribute: attrs.Attribute[Any], value: Sequence[str] | None) -> None:
    for i, name in enumerate(value or ()):
        if name in (value or ())[:i]:
            raise ConfigError(f"{attribute.name}: {name!r} is listed twice")


def _check_kinds(_: object, attribute: attrs.Attribute[Any], value: Sequence[str]) -> None:
    for kind in value:
        if kind not in AlertKind.__members__.values():
            raise ConfigError(f"there is no kind of alert {kind!r}", hint=f"one of {', '.join(AlertKind)}")


def _check_severities(_: object, attribute: attrs.Attribute[Any], value: Sequence[str]) -> None:
    for severity in value:
        if severity not in get_args(Severity):
            raise ConfigError(f"there is no severity {severity!r}", hint=f"one of {', '.join(get_args(Severity))}")


def _check_hours(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if value:
        _hours(value)


def _hours(text: str) -> tuple[time, time]:
    try:
        first, last = (datetime.strptime(part.strip(), "%H:%M").time() for part in text.split("-"))
    except ValueError:
        raise ConfigError(f"{text!r} are no hours", hint='write "22:00-07:00"') from None
    if first == last:
        raise ConfigError(f"{text!r} is no time at all", hint="leave hours out for the whole day")
    return first, last


def _check_minutes(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 < value < float("inf"):
        raise ConfigError(f"{attribute.name}: expected minutes > 0, got {value}")


@attrs.frozen(kw_only=True)
class Route:
    """Alerts of some ``kinds`` and ``severities`` (empty = all), within ``hours`` ("22:00-07:00", the end not included;
    empty = the whole day), and who is told.

    ``to`` are told at once, all of them; nobody where it is empty: the journal and the log have the alert. ``then`` are
    told in their order: the next one where those before did not take it, and, with ``escalate_minutes``, where nobody
    acknowledged a critical alert for so long. None = for a critical alert every other channel, else nobody.
    """

    to: tuple[str, ...] = attrs.field(validator=_check_names)
    then: tuple[str, ...] | None = attrs.field(default=None, validator=_check_names)
    kinds: tuple[str, ...] = attrs.field(default=(), validator=_check_kinds)
    severities: tuple[Severity, ...] = attrs.field(default=(), validator=_check_severities)
    hours: str = attrs.field(default="", validator=_check_hours)
    escalate_minutes: float | None = attrs.field(default=None, validator=_check_minutes)

    def is_for(self, alert: Alert, zone: ZoneInfo) -> bool:
        """Whether it is for that alert."""
        if (self.kinds and alert.kind not in self.kinds) or (self.severities and alert.severity not in self.severities):
            return False
        if not self.hours:
            return True
        (first, last), now = _hours(self.hours), alert.at.astimezone(zone).time()
        return first <= now < last if first < last else now >= first or now < last

    def ladder(self, severity: str, channels: Sequence[str]) -> Sequence[str]:
        """Who is told after ``to``, in their order."""
        if self.then is not None:
            return self.then
        return [name for name in channels if name not in self.to] if severity == "critical" else []

    def next_after(self, tried: Collection[str], severity: str, channels: Sequence[str]) -> str | None:
        """The next one to be told where those that were ``tried`` did not take it, None where there is nobody left."""
        return next((name for name in self.ladder(severity, channels) if name not in tried), None)


def _check_zone(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"there is no time zone {value!r}", hint='write it like "Europe/Zurich"; without, UTC'
        ) from None


def _check_fraction(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not 0 <= value < 10:
        raise ConfigError(f"{attribute.name} is {value!r}", hint="a fraction such as 0.05 for 5 %; 0 switches it off")


def _check_digests(_: object, attribute: attrs.Attribute[Any], value: Sequence[str] | None) -> None:
    for one in value or ():
        if one not in get_args(Digest):
            raise ConfigError(f"there is no digest {one!r}", hint="daily, weekly, both or none")


def _check_rollover(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if value not in get_args(Rollover):
        raise ConfigError(f"rollover is {value!r}", hint=f"one of {', '.join(get_args(Rollover))}")


@attrs.frozen(kw_only=True)
class Occasions:
    """What a person is told besides what goes wrong (:mod:`fxcarry.occasions`).

    Args:
        digest: which digests: ``daily``, ``weekly``; empty = neither. None = both in real time, neither in a replay.
        milestone_step: tell of every so much of return since the start, up and down; 0 = none.
        new_high_step: tell of a new high at a day's end that is at least so much above the last one told; 0 = none.
        month_end: tell of each month's return when it is over.
        rollover: tell of tonight's roll, within the hour before: where it is ``notable`` (some position rolls for more
            than one day, or the sum costs money or is not known), ``every`` night something is held, or ``off``.
    """

    digest: tuple[Digest, ...] | None = attrs.field(default=None, validator=_check_digests)
    milestone_step: float = attrs.field(default=0.05, validator=_check_fraction)
    new_high_step: float = attrs.field(default=0.01, validator=_check_fraction)
    month_end: bool = True
    rollover: Rollover = attrs.field(default="notable", validator=_check_rollover)


@attrs.frozen(kw_only=True)
class AlertSettings(Occasions):
    """How alerts are handled, and what is told besides what goes wrong.

    Args:
        routes: asked in their order; the first that is for an alert says who is told. Without one, every channel.
        time_zone: what the hours of routes are in.
        dedupe_minutes: the same words again within so long are counted, and told in one line at its end.
        held_back_minutes: how long alerts that a channel is not told one by one are counted before it is told how many.
        heartbeat_minutes: minutes of open market without a look after which ``fxcarry alerts watch`` raises an alert.
    """

    routes: tuple[Route, ...] = ()
    time_zone: str = attrs.field(default="UTC", validator=_check_zone)
    dedupe_minutes: float = attrs.field(default=60.0, validator=_check_minutes)
    held_back_minutes: float = attrs.field(default=60.0, validator=_check_minutes)
    heartbeat_minutes: float = attrs.field(default=5.0, validator=_check_minutes)

    def route(self, alert: Alert, channels: Sequence[str]) -> Route:
        """The route of an alert."""
        zone = ZoneInfo(self.time_zone)
        return next((route for route in self.routes if route.is_for(alert, zone)), Route(to=tuple(channels)))

    def problems(self, channels: Collection[str]) -> list[tuple[str, str]]:
        """Where a route names a channel that there is none of, and what is wrong."""
        known = ", ".join(channels) or "none"
        return [
            (f"routes[{i}].{part}", f"there is no channel {name!r} ({known} configured under [[notifiers]])")
            for i, route in enumerate(self.routes)
            for part, names in (("to", route.to), ("then", route.then or ()))
            for name in names
            if name not in channels
        ]
