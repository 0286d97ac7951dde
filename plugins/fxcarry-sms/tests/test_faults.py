"""What goes wrong between the channel and Twilio: nobody is told twice, everybody is told, and no secret is told."""

from __future__ import annotations

import logging
import time
import traceback
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import attrs
import pytest

from fxcarry.errors import ConfigError, DeliveryUnknown, NotifierError
from fxcarry.testing import Reply, Request, WireServer
from fxcarry.testing.wire import WireFault
from fxcarry_sms.testing.suites import SECRET_VARIABLE, channel_of

from .conftest import FIRST, SECOND, Line, alert

SEND = "POST *"
SERVICE = "MG" + "1" * 32


def test_one_call_says_it_all(line: Line) -> None:
    line.channel().notify(alert("NAV −1 % & more = +"))
    (request,) = line.server.requests
    assert request.path == f"/2010-04-01/Accounts/{line.fake.account_sid}/Messages.json"
    form = dict(parse_qsl(request.body.decode()))
    assert form == {"To": FIRST, "From": "+15005550006", "Body": line.bodies()[0]}
    assert "NAV -1 % & more = +" in form["Body"]
    pair = b64encode(f"{line.fake.account_sid}:{line.fake.secret}".encode()).decode()
    assert request.headers["authorization"] == f"Basic {pair}"


def test_an_api_key_takes_the_place_of_the_account(line: Line) -> None:
    line.fake.api_key = "SK" + "2" * 32
    line.channel().notify(alert())
    assert len(line.bodies()) == 1
    assert f"/{line.fake.account_sid}/" in line.server.requests[0].path


def test_a_messaging_service_takes_the_place_of_a_sender(line: Line) -> None:
    line.server.fail(SEND, "unanswered")
    line.channel(messaging_service=SERVICE).notify(alert())
    form = dict(parse_qsl(line.server.requests[0].body.decode()))
    assert (form["MessagingServiceSid"], "From" in form) == (SERVICE, False)
    assert [text.sender for text in line.fake.texts] == [SERVICE]


def test_each_alert_has_a_connection_of_its_own(line: Line) -> None:
    channel = line.channel(FIRST, SECOND)
    channel.notify(alert())
    dead = channel._http._session
    dead.request = None  # whoever uses it fails
    channel.notify(alert("another"))
    assert channel._http._session is not dead
    assert len(line.fake.texts) == 4


def test_an_injected_header_is_text(line: Line) -> None:
    line.channel().notify(alert("x\r\nHost: evil\r\n\r\nTo=%2B15005550009&To=+15005550009"))
    (text,) = line.fake.texts
    assert text.to == FIRST
    assert "x\nHost: evil\nTo=%2B15005550009&To=+15005550009" in text.body


# -- nothing was taken: it may be sent again -------------------------------------------------------------------------


def test_too_many_calls_and_then_fine(line: Line) -> None:
    line.server.fail(SEND, "busy", times=2)
    line.channel().notify(alert())
    assert (line.calls("POST"), len(line.bodies())) == (3, 1)


def test_too_many_calls_for_long(line: Line) -> None:
    line.server.retry_after = 77
    line.server.fail(SEND, "busy", times=9)
    with pytest.raises(NotifierError, match=r"\+41…567 was not told: .*429") as told:
        line.channel().notify(alert())
    assert not isinstance(told.value, DeliveryUnknown)
    assert (told.value.fields["is_final"], told.value.fields["retry_after"]) == (False, 77.0)
    assert (line.calls("POST"), line.bodies()) == (1, [])


def test_nobody_listens(line: Line) -> None:
    channel = line.channel()
    with line.server.refuse(), pytest.raises(NotifierError, match=r"was not told.*refused") as told:
        channel.notify(alert())
    assert not isinstance(told.value, DeliveryUnknown)
    assert told.value.fields["is_final"] is False
    channel.notify(alert())
    assert len(line.bodies()) == 1


# -- no answer: it is never sent again, and the list is asked ----------------------------------------------------------


def patience(fault: WireFault) -> float:
    """A time-out that a slow machine keeps, except where a server that hangs is waited for."""
    return 0.5 if fault == "hangs" else 10.0


@pytest.mark.parametrize("fault", ["unanswered", "hangs", "reset", "failed", "garbled"])
def test_taken_without_an_answer_and_found_in_the_list(line: Line, fault: WireFault) -> None:
    line.server.fail(SEND, fault)
    line.channel(timeout=patience(fault)).notify(alert())
    assert (line.calls("POST"), line.calls("GET"), len(line.bodies())) == (1, 1, 1)
    assert line.server.requests[1].query == {"To": FIRST, "PageSize": "20"}


@pytest.mark.parametrize("fault", ["unanswered", "hangs", "reset", "failed", "garbled"])
def test_taken_and_not_in_the_list_yet(line: Line, fault: WireFault) -> None:
    line.fake.is_blind = True
    line.server.fail(SEND, fault)
    with pytest.raises(DeliveryUnknown, match=r"\+41…567 may have been told") as told:
        line.channel(timeout=patience(fault)).notify(alert())
    assert "not sent again" in told.value.hint
    assert (line.calls("POST"), line.calls("GET"), len(line.bodies())) == (1, 1, 1)


@pytest.mark.parametrize("fault", ["lost", "unavailable"])
def test_lost_on_the_way_and_nobody_can_tell(line: Line, fault: WireFault) -> None:
    line.server.fail(SEND, fault)
    with pytest.raises(DeliveryUnknown):
        line.channel().notify(alert())
    assert (line.calls("POST"), line.bodies()) == (1, [])


@pytest.mark.parametrize("fault", ["lost", "hangs", "failed", "garbled", "busy"])
def test_the_list_does_not_answer_either(line: Line, fault: WireFault) -> None:
    line.server.fail(SEND, "unanswered")
    line.server.fail("GET *", fault, times=9)
    with pytest.raises(DeliveryUnknown):
        line.channel(timeout=patience(fault)).notify(alert())
    assert (line.calls("POST"), len(line.bodies())) == (1, 1)


def test_the_same_text_from_before_is_another_message(line: Line) -> None:
    channel = line.channel()
    channel.notify(alert())
    line.server.fail(SEND, "lost")
    with pytest.raises(DeliveryUnknown):
        channel.notify(alert())
    line.server.fail(SEND, "unanswered")
    channel.notify(alert())
    line.server.fail(SEND, "lost")
    with pytest.raises(DeliveryUnknown):
        channel.notify(alert())
    assert len(line.bodies()) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "+15005550007"},
        {"body": "something else"},
        {"to": SECOND},
        {"at": datetime.now(UTC) - timedelta(minutes=5)},
    ],
)
def test_what_is_not_the_same_is_not_it(line: Line, change: dict[str, object]) -> None:
    channel = line.channel()
    channel.notify(alert())
    line.fake.texts[:] = [attrs.evolve(line.fake.texts[0], sid="SM" + "f" * 32, **change)]  # type: ignore[arg-type]
    line.server.fail(SEND, "lost")
    with pytest.raises(DeliveryUnknown):
        channel.notify(alert())


@pytest.mark.parametrize("fault", ["unanswered", None])
@pytest.mark.parametrize("fate", ["failed", "undelivered", "canceled"])
def test_taken_and_failed_at_once_is_not_delivered(line: Line, fate: str, fault: WireFault | None) -> None:
    line.fake.fate = fate
    if fault:
        line.server.fail(SEND, fault)
    with pytest.raises(NotifierError, match=f"was not told: the message is {fate}") as told:
        line.channel().notify(alert())
    assert not isinstance(told.value, DeliveryUnknown)


@pytest.mark.parametrize("body", [{"status": "queued"}, [], None, "x"])
def test_an_answer_that_says_nothing_is_none(line: Line, body: object) -> None:
    with (
        WireServer(lambda request: Reply.json(body, 201)) as server,
        pytest.raises(DeliveryUnknown, match="may have been told"),
    ):
        channel_of(line.fake, server.url).notify(alert())


def test_an_answer_that_trickles_is_left(line: Line) -> None:
    def drops() -> Iterator[bytes]:
        while True:
            yield b" "
            time.sleep(0.05)

    def answer(request: Request) -> Reply:
        said = line.fake.answer(request)
        return Reply(201, drops()) if request.method == "POST" else said

    with WireServer(answer) as server:
        channel = channel_of(line.fake, server.url, timeout=0.4)
        began = time.monotonic()
        channel.notify(alert())  # it is in the list
        assert time.monotonic() - began < 5.0
        line.fake.is_blind = True
        with pytest.raises(DeliveryUnknown, match="did not end"):
            channel.notify(alert("another"))
    assert len(line.bodies()) == 2


def test_what_was_left_is_not_sent_again_behind_our_back(line: Line) -> None:
    ended: list[float] = []

    def late() -> Iterator[bytes]:
        for _ in range(7):
            time.sleep(0.1)
            yield b" "
        ended.append(time.monotonic())

    def answer(request: Request) -> Reply:
        return Reply(429, late(), {"Retry-After": "0"}) if request.method == "POST" else line.fake.answer(request)

    with WireServer(answer) as server:
        with pytest.raises(DeliveryUnknown, match="did not end"):
            channel_of(line.fake, server.url, timeout=0.2).notify(alert())
        while not ended:
            time.sleep(0.01)
        time.sleep(0.3)
        assert sum(request.method == "POST" for request in server.requests) == 1


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "is_final", "hint"),
    [
        (21211, True, "correct the number"),
        (21212, True, "sender must be"),
        (21408, True, "Geo permissions"),
        (21606, True, "sender must be"),
        (21608, True, "verified numbers only"),
        (21610, True, "START"),
        (21614, True, "no mobile number"),
        (21617, True, "lower segments"),
        (21659, True, "sender must be"),
    ],
)
def test_refused_for_good(line: Line, code: int, is_final: bool, hint: str) -> None:
    line.fake.refuse(FIRST, code)
    with pytest.raises(NotifierError, match=rf"^\+41…567: Twilio refused with {code}: ") as told:
        line.channel().notify(alert())
    assert not isinstance(told.value, DeliveryUnknown)
    assert told.value.fields["is_final"] is is_final
    assert hint in told.value.hint
    assert FIRST not in str(told.value)
    assert (line.calls("POST"), line.calls("GET")) == (1, 0)


def test_the_queue_is_full(line: Line) -> None:
    line.fake.refuse(FIRST, 21611)
    with pytest.raises(NotifierError, match="maximum number of queued") as told:
        line.channel().notify(alert())
    assert told.value.fields["is_final"] is False


@pytest.mark.parametrize(
    ("reply", "is_final", "said", "hint"),
    [
        (Reply.json({"code": 99999, "message": "odd"}, 400), True, "99999: odd", "docs/api/errors/99999"),
        (Reply.json({"code": 20429, "message": "slow down"}, 400), False, "20429: slow", "tried again"),
        (Reply.json({"code": 21611, "message": "full"}, 400), False, "21611: full", "tried again"),
        (Reply.json({"message": "busy", "code": None}, 409), False, "409: busy", "console"),
        (Reply(403, b"<html>no</html>"), True, "403: <html>no</html>", "account_sid, api_key and secret"),
        (Reply(404, b""), True, "404", "is url"),
        (Reply(302, b"", {"Location": "http://127.0.0.1:9/"}), True, "302", "is url"),
    ],
)
def test_refused_in_another_way(line: Line, reply: Reply, is_final: bool, said: str, hint: str) -> None:
    with WireServer(lambda request: reply) as server, pytest.raises(NotifierError) as told:
        channel_of(line.fake, server.url).notify(alert())
    assert not isinstance(told.value, DeliveryUnknown)
    assert told.value.fields["is_final"] is is_final
    assert said in told.value.message
    assert hint in told.value.hint


def test_the_secret_is_wrong(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "not-the-secret-at-all")
    with pytest.raises(NotifierError, match="20003") as told:
        line.channel().notify(alert())
    assert told.value.fields["is_final"] is True
    assert "api_key and secret" in told.value.hint


def test_the_secret_is_missing(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE)
    with pytest.raises(ConfigError, match=SECRET_VARIABLE):
        line.channel().notify(alert())
    assert line.server.requests == []


def test_a_secret_that_twilio_repeats_is_masked(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    line.fake.refuse(FIRST, 21211, f"bad {line.fake.secret} for\n{FIRST}")
    channel = line.channel(FIRST, SECOND)
    channel.notify(alert())
    line.fake.refuse(SECOND, 21211, f"bad {line.fake.secret} for\n{SECOND}")
    with pytest.raises(NotifierError, match=r"bad \*{8} for \+41…567; \+14…123: .* bad \*{8} for \+14…123") as told:
        channel.notify(alert())
    everything = caplog.text + "".join(traceback.format_exception(told.value)) + repr(channel) + repr(told.value.fields)
    pair = b64encode(f"{line.fake.account_sid}:{line.fake.secret}".encode()).decode()
    for secret in (line.fake.secret, pair, FIRST, SECOND):
        assert secret not in everything


def test_numbers_and_secret_are_in_no_text_of_a_call_that_fails(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fxcarry")
    line.server.fail("*", "lost", times=99)
    with pytest.raises(DeliveryUnknown) as told:
        line.channel(FIRST, SECOND).notify(alert())
    everything = caplog.text + "".join(traceback.format_exception(told.value))
    for secret in (line.fake.secret, FIRST, FIRST[1:], SECOND[1:]):
        assert secret not in everything


# -- several numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [FIRST, SECOND])
def test_one_that_refuses_keeps_nobody_from_being_told(line: Line, bad: str, caplog: pytest.LogCaptureFixture) -> None:
    line.fake.refuse(bad, 21610)
    line.channel(FIRST, SECOND).notify(alert())
    assert [text.to for text in line.fake.texts] == [SECOND if bad == FIRST else FIRST]
    (record,) = [r for r in caplog.records if r.name == "fxcarry.sms"]
    assert record.levelname == "WARNING"
    assert "1 of 2 numbers were not told" in record.getMessage()
    assert "21610" in record.getMessage()


def test_one_of_whom_nobody_knows_beside_one_who_was_told(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    line.server.fail(SEND, "lost")
    line.channel(FIRST, SECOND).notify(alert())
    assert [text.to for text in line.fake.texts] == [SECOND]
    assert "may have been told" in caplog.text


def test_one_of_whom_nobody_knows_beside_one_who_was_not_told(line: Line) -> None:
    line.fake.refuse(SECOND, 21610)
    line.server.fail(SEND, "lost")
    with pytest.raises(DeliveryUnknown, match=r"\+41…567 may have been told.*\+14…123: Twilio refused with 21610"):
        line.channel(FIRST, SECOND).notify(alert())


def test_it_is_final_where_it_is_for_everybody(line: Line) -> None:
    line.fake.refuse(FIRST, 21610)
    line.fake.refuse(SECOND, 21611)
    with pytest.raises(NotifierError) as told:
        line.channel(FIRST, SECOND).notify(alert())
    assert told.value.fields["is_final"] is False
    line.fake.refuse(SECOND, 21614)
    with pytest.raises(NotifierError) as told:
        line.channel(FIRST, SECOND).notify(alert())
    assert told.value.fields["is_final"] is True


def test_ten_numbers_and_a_twilio_that_hangs_end_within_some_timeouts(line: Line) -> None:
    line.server.fail("*", "hangs", times=99)
    channel = line.channel(*(f"+4179123456{n}" for n in range(10)), timeout=0.2)
    began = time.monotonic()
    with pytest.raises(DeliveryUnknown, match=r"\+41…569 was not tried"):
        channel.notify(alert())
    assert time.monotonic() - began < 9 * 0.2
    assert 2 <= line.calls("POST") <= 4
