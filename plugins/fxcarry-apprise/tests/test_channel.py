"""What an alert looks like to a service, and what became of it when something goes wrong."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from fxcarry.errors import ConfigError, DeliveryUnknown, NotifierError
from fxcarry.model import Alert
from fxcarry.plugins import load
from fxcarry.secrets import Secret
from fxcarry.testing import WireServer
from fxcarry_apprise import AppriseConfig
from fxcarry_apprise.channel import AppriseNotifier
from fxcarry_apprise.testing import FakePeer

AT = datetime(2025, 3, 12, 13, 5, tzinfo=UTC)


def alert(message: str = "order b-17 timed out", **facts: Any) -> Alert:
    given: dict[str, Any] = {"kind": "order-unknown", "severity": "critical", "at": AT, **facts}
    return Alert(message=message, **given)


@attrs.define
class Line:
    peer: FakePeer
    server: WireServer
    patch: pytest.MonkeyPatch

    def channel(self, *urls: str, timeout: float = 0.4) -> AppriseNotifier:
        names = [f"PEER_{i}" for i in range(len(urls or "1"))]
        for name, url in zip(names, urls or (self.peer.json_url(self.server),)):
            self.patch.setenv(name, url)
        return AppriseNotifier(AppriseConfig(urls=tuple(Secret("env", n) for n in names), timeout=timeout))

    @property
    def nobody(self) -> str:
        """An address where nobody listens."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return f"json://127.0.0.1:{free.getsockname()[1]}/{self.peer.token}"


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    with ExitStack() as stack:
        peer = FakePeer()
        yield Line(peer, stack.enter_context(peer.serve()), monkeypatch)


# --- what arrives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "is_over", "urgency"),
    [("info", False, "info"), ("warning", False, "warning"), ("critical", False, "failure"), ("info", True, "success")],
)
def test_title_body_and_urgency(line: Line, severity: str, is_over: bool, urgency: str) -> None:
    line.channel().notify(alert(severity=severity, is_over=is_over, fields={"nav": 1234.5, "currency": "USD"}))
    [message] = line.peer.messages
    assert message.title == f"fxcarry {severity}: order-unknown: order b-17 timed out"
    assert message.body.startswith("2025-03-12 13:05:00 UTC\n\norder b-17 timed out")
    assert message.body.endswith("nav: 1,234.50 USD")
    assert ("What you may do: " in message.body) is not is_over
    assert message.urgency == urgency


@pytest.mark.parametrize("service", ["json_url", "ntfy_url", "gotify_url"])
def test_a_text_of_every_kind_arrives_as_it_is(line: Line, service: str) -> None:
    text = "a <b>bold</b> & *star* _under_ {brace} 日本 🏦 \\n %s"
    line.channel(getattr(line.peer, service)(line.server)).notify(alert(text))
    [message] = line.peer.messages
    assert text in message.body


def test_nothing_breaks_a_title(line: Line) -> None:
    line.channel().notify(alert("x\r\nBcc: you@example.com\x1b[31m\x00\u202e"))
    [message] = line.peer.messages
    assert message.title.isprintable()
    assert "\x1b" not in message.text
    assert "\x00" not in message.text


def test_a_long_text_is_one_message_with_its_beginning(line: Line) -> None:
    line.channel(line.peer.ntfy_url(line.server)).notify(alert("begin " + "0123456789" * 1024))
    [message] = line.peer.messages
    assert "begin 0123456789" in message.body
    assert len(message.body) <= 7800


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "is_final"), [(400, True), (401, True), (404, True), (429, False)])
def test_a_refusal_is_certain(line: Line, status: int, is_final: bool) -> None:
    line.peer.status = status
    with pytest.raises(NotifierError, match=rf"service 1 \(json\): .*error={status}") as caught:
        line.channel().notify(alert())
    assert not isinstance(caught.value, DeliveryUnknown)
    assert caught.value.fields["is_final"] is is_final


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_failing_server_may_have_taken_it(line: Line, status: int) -> None:
    line.peer.status = status
    with pytest.raises(DeliveryUnknown, match=f"error={status}"):
        line.channel().notify(alert())
    assert len(line.server.requests) == 1


@pytest.mark.parametrize("fault", ["hangs", "reset", "unanswered"])
def test_no_answer_is_no_refusal_and_nothing_is_repeated(line: Line, fault: Any) -> None:
    line.server.fail("POST *", fault)
    began = time.monotonic()
    with pytest.raises(DeliveryUnknown):
        line.channel(f"{line.peer.json_url(line.server)}?retry=3").notify(alert())
    assert time.monotonic() - began < 3.0
    assert len(line.server.requests) == 1


def test_no_connection_is_certain(line: Line) -> None:
    with pytest.raises(NotifierError) as caught:
        line.channel(line.nobody).notify(alert())
    assert not isinstance(caught.value, DeliveryUnknown)
    assert not caught.value.fields["is_final"]


def test_one_service_that_fails_keeps_the_others_from_nothing(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    channel = line.channel(line.nobody, line.peer.ntfy_url(line.server))
    channel.notify(alert())
    assert [message.service for message in line.peer.messages] == ["ntfy"]
    assert "1 of 2 services were not told: service 1 (json): " in caplog.text


def test_none_for_certain_and_one_perhaps_is_a_doubt(line: Line) -> None:
    line.server.fail("POST *", "hangs")
    with pytest.raises(DeliveryUnknown, match=r"service 1 \(json\).*; service 2 \(gotify\)"):
        line.channel(line.nobody, line.peer.gotify_url(line.server)).notify(alert())


def test_no_part_of_an_address_is_shown(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "wr0ngT0kenF0rThis"
    channel = line.channel(line.peer.gotify_url(line.server, wrong), line.nobody)
    with pytest.raises(NotifierError) as caught:
        channel.notify(alert())
    for text in (str(caught.value), repr(caught.value), repr(channel), caplog.text):
        assert wrong not in text
        assert line.peer.token not in text


@pytest.mark.parametrize("url", ["nothing", "bogus://secrettoken/x", "tgram://not-a-token-at-all/1"])
def test_an_address_that_is_none_is_named_by_its_place(line: Line, url: str) -> None:
    channel = line.channel(line.peer.json_url(line.server), url)
    for call in (channel.check, lambda: channel.notify(alert())):
        with pytest.raises(ConfigError, match=r"service 2.*in env 'PEER_1', is no address") as caught:
            call()
        assert url.partition("://")[2] not in str(caught.value) or "://" not in url


def test_what_others_log_of_apprise_meanwhile_is_heard(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    def other() -> None:
        logging.getLogger("apprise").warning("from another thread")

    line.server.fail("POST *", "hangs")
    thread = threading.Timer(0.1, other)
    thread.start()
    with pytest.raises(DeliveryUnknown):
        line.channel().notify(alert())
    thread.join()
    assert "from another thread" in caplog.text
    assert "Connection error" not in caplog.text
    assert logging.getLogger("apprise").level != logging.DEBUG


# --- settings and checks ----------------------------------------------------------------------------------------------


def test_a_check_names_the_services_and_sends_nothing(line: Line) -> None:
    channel = line.channel(line.peer.ntfy_url(line.server), line.peer.gotify_url(line.server))
    assert channel.check() == "ntfy, Gotify: understood; they are asked only by an alert"
    assert line.server.requests == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"urls": ()}, "urls is empty"),
        ({"urls": (Secret("env", "A"), Secret("file", "A"), Secret("env", "A"))}, "urls has env 'A' twice"),
        ({"timeout": 0.0}, "timeout is 0.0"),
        ({"timeout": float("nan")}, "timeout is nan"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AppriseConfig(**{"urls": (Secret("env", "A"),), **settings})


def test_a_secret_that_is_missing_is_named(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = line.channel()
    monkeypatch.delenv("PEER_0")
    with pytest.raises(ConfigError, match="'PEER_0' is missing"):
        channel.notify(alert())


def test_the_component_loads_no_library() -> None:
    component = load().get("notifier", "apprise")
    assert component.config is AppriseConfig
    probe = "import sys, fxcarry_apprise; fxcarry_apprise.fxcarry_components(); print('apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
