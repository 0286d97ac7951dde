"""fxcarry.alerts.routing: who is told what, by kind, severity and time of day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.alerts import AlertSettings, Channel, ConsoleNotifier, Route, Severity
from fxcarry.errors import ConfigError
from fxcarry.model import Alert

CHANNELS = ("mail", "sms", "console")
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


def alert(severity: Severity = "warning", kind: str = "feed-error", at: str = "2025-03-12 21:00") -> Alert:
    return Alert(at=datetime.fromisoformat(at).replace(tzinfo=UTC), kind=kind, severity=severity, message="m")


def test_without_a_route_every_channel_is_told() -> None:
    assert AlertSettings().route(alert(), CHANNELS) == Route(to=CHANNELS)


def test_the_first_route_that_is_for_an_alert_says_who_is_told() -> None:
    settings = AlertSettings(
        routes=(
            Route(kinds=("trade-executed", "digest"), to=("mail",)),
            Route(severities=("info",), to=()),
            Route(severities=("critical",), to=("sms",), then=("mail",)),
        )
    )

    def told(severity: Severity, kind: str = "feed-error") -> tuple[str, ...]:
        return settings.route(alert(severity, kind), CHANNELS).to

    assert told("info", "digest") == ("mail",)
    assert told("info") == ()
    assert told("critical") == ("sms",)
    assert told("warning") == CHANNELS


@pytest.mark.parametrize(
    ("zone", "hours", "at", "is_in"),
    [
        ("UTC", "22:00-07:00", "2025-03-12 21:59", False),
        ("UTC", "22:00-07:00", "2025-03-12 22:00", True),
        ("UTC", "22:00-07:00", "2025-03-12 06:59", True),
        ("UTC", "22:00-07:00", "2025-03-12 07:00", False),
        ("UTC", "09:00-17:30", "2025-03-12 17:29", True),
        ("UTC", "09:00-17:30", "2025-03-12 17:30", False),
        ("UTC", "09:00-17:30", "2025-03-12 08:59", False),
        ("Europe/Zurich", "22:00-07:00", "2025-03-12 21:00", True),  # winter: 22:00 there
        ("Europe/Zurich", "22:00-07:00", "2025-03-12 20:59", False),
        ("Europe/Zurich", "22:00-07:00", "2025-07-12 20:00", True),  # summer: 22:00 there
        ("America/New_York", "17:00-18:00", "2025-03-12 21:00", True),  # a week before Europe changes its clocks
        ("America/New_York", "17:00-18:00", "2025-03-05 21:00", False),
    ],
)
def test_hours_are_those_of_the_time_zone(zone: str, hours: str, at: str, is_in: bool) -> None:
    settings = AlertSettings(routes=(Route(to=("sms",), hours=hours),), time_zone=zone)
    assert (settings.route(alert(at=at), CHANNELS).to == ("sms",)) is is_in


@given(
    st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    st.integers(0, 1439),
)
def test_every_minute_is_in_a_stretch_of_hours_or_in_its_complement(first: Any, last: Any, minute: int) -> None:
    at = (datetime(2025, 3, 12) + timedelta(minutes=minute)).isoformat(" ")
    if first == last:
        with pytest.raises(ConfigError, match="no time at all"):
            Route(to=(), hours=f"{first:%H:%M}-{last:%H:%M}")
        return
    one, other = (
        AlertSettings(routes=(Route(to=("sms",), hours=f"{a:%H:%M}-{b:%H:%M}"),))
        for a, b in ((first, last), (last, first))
    )
    assert {settings.route(alert(at=at), CHANNELS).to == ("sms",) for settings in (one, other)} == {True, False}


@pytest.mark.parametrize(
    ("route", "tried", "severity", "found"),
    [
        (Route(to=("mail",), then=("sms", "console")), {"mail"}, "info", "sms"),
        (Route(to=("mail",), then=("sms", "console")), {"mail", "sms"}, "info", "console"),
        (Route(to=("mail",), then=("sms",)), {"mail", "sms"}, "critical", None),
        (Route(to=("mail",), then=()), {"mail"}, "critical", None),
        (Route(to=("mail",)), {"mail"}, "critical", "sms"),
        (Route(to=("mail",)), {"mail"}, "warning", None),
        (Route(to=CHANNELS), set(CHANNELS), "critical", None),
    ],
)
def test_who_is_told_next(route: Route, tried: set[str], severity: str, found: str | None) -> None:
    assert route.next_after(tried, severity, CHANNELS) == found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"to": ("sms", "sms")}, "to: 'sms' is listed twice"),
        ({"to": (), "then": ("a", "b", "a")}, "then: 'a' is listed twice"),
        ({"to": (), "kinds": ("feed-eror",)}, "there is no kind of alert 'feed-eror'"),
        ({"to": (), "severities": ("fatal",)}, "there is no severity 'fatal'"),
        ({"to": (), "hours": "22-7"}, "'22-7' are no hours"),
        ({"to": (), "hours": "22:00"}, "'22:00' are no hours"),
        ({"to": (), "hours": "22:00Z-07:00Z"}, "'22:00Z-07:00Z' are no hours"),
        ({"to": (), "hours": "22:00-07:00+01:00"}, "are no hours"),
        ({"to": (), "hours": "22:00-25:00"}, "'22:00-25:00' are no hours"),
        ({"to": (), "escalate_minutes": 0}, "escalate_minutes: expected minutes > 0, got 0"),
        ({"to": (), "escalate_minutes": float("nan")}, "got nan"),
    ],
)
def test_a_route_that_means_nothing_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Route(**values)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../etc/passwd", "x" * 300])
def test_a_time_zone_that_there_is_none_of_is_refused(zone: str) -> None:
    with pytest.raises(ConfigError, match="there is no time zone"):
        AlertSettings(time_zone=zone)


@pytest.mark.parametrize("name", ["dedupe_minutes", "held_back_minutes", "heartbeat_minutes"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_minutes_are_more_than_none(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected minutes > 0"):
        AlertSettings(**{name: value})  # type: ignore[arg-type]  # the name is one of three


def test_a_route_to_nobody_that_is_configured_is_told_with_its_place() -> None:
    settings = AlertSettings(routes=(Route(to=("mail",)), Route(to=("sms",), then=("fax",))))
    assert settings.problems(["mail"]) == [
        ("routes[1].to", "there is no channel 'sms' (mail configured under [[notifiers]])"),
        ("routes[1].then", "there is no channel 'fax' (mail configured under [[notifiers]])"),
    ]
    assert settings.problems(["mail", "sms", "fax"]) == []


def test_a_channel_has_the_name_and_limit_it_is_given_or_its_own() -> None:
    class Pager:
        name = "pager"
        per_hour = 7

        def notify(self, alert: Alert) -> None: ...

    class Plain:
        name = "plain"

        def notify(self, alert: Alert) -> None: ...

    assert (Channel.of(Pager()).name, Channel.of(Pager()).per_hour) == ("pager", 7)
    given_both = Channel.of(Pager(), "night", 3)
    assert (given_both.name, given_both.per_hour, given_both.is_local) == ("night", 3, False)
    assert Channel.of(given_both) is given_both
    assert Channel.of(Plain()).per_hour == 60
    console = Channel.of(ConsoleNotifier())
    assert (console.per_hour, console.is_local) == (None, True)
