"""What arrives, what a failure means, and that no part of an address is ever shown."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable

import pytest

from fxcarry.errors import ConfigError, DeliveryUnknown, FxCarryError, NotifierError
from fxcarry.model import Alert
from fxcarry.secrets import Secret
from fxcarry.testing import WireServer
from fxcarry_apprise import AppriseNotifier
from fxcarry_apprise.testing import FakePeer

Channel = Callable[..., AppriseNotifier]
MakeAlert = Callable[..., Alert]

KEY = "Tok3n-of-the-hook"
SLACK = 3.0  # seconds that a busy machine may be late


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def failure(notifier: AppriseNotifier, alert: Alert) -> FxCarryError:
    with pytest.raises(FxCarryError) as caught:
        notifier.notify(alert)
    return caught.value


# -- what arrives -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "is_over", "sign"),
    [
        ("info", False, "info"),
        ("warning", False, "warning"),
        ("critical", False, "failure"),
        ("info", True, "success"),
    ],
)
def test_a_message_has_title_text_and_the_sign_of_its_severity(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert, severity: str, is_over: bool, sign: str
) -> None:
    notifier = channel(peer.url(server, "json", KEY))
    notifier.notify(alert(severity=severity, is_over=is_over, key="AUDUSD", fields={"nav": 1000.0, "currency": "USD"}))
    [message] = peer.messages
    title = "Over: a stop-loss was triggered" if is_over else "A stop-loss was triggered"
    assert (message.service, message.key, message.severity) == ("json", KEY, sign)
    assert message.title == f"fxcarry {severity}: {title}"
    assert message.text.startswith(f"fxcarry {severity}: stop-loss: AUDUSD was closed at 0.6512\n")
    assert "nav: 1,000.00 USD" in message.text


def test_every_address_is_told_once(peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert) -> None:
    channel(*(peer.url(server, service, KEY) for service in ("json", "ntfy", "gotify"))).notify(alert())
    assert sorted((m.service, m.key) for m in peer.messages) == [("gotify", KEY), ("json", KEY), ("ntfy", KEY)]


def test_what_an_address_asks_for_is_not_done_where_it_would_send_twice(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert
) -> None:
    server.fail("*", "busy", times=9)
    url = peer.url(server, "json", KEY) + "?retry=3&wait=0.1&optional=yes"
    assert isinstance(failure(channel(url), alert()), NotifierError)
    assert len(server.requests) == 1


def test_a_long_message_is_one_message_with_its_beginning(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert
) -> None:
    url = peer.url(server, "json", KEY) + "?overflow=split&emojis=yes"
    channel(url).notify(alert("now :warning: " + "x" * 40_000))
    [message] = peer.messages
    assert "now :warning: xxx" in message.text
    assert len(message.text) <= 32_768


def test_markup_and_escapes_are_text(peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert) -> None:
    said = r"<b>no</b> *bold* \n \t {x} ${HOME} :smile: &amp;"
    channel(peer.url(server, "ntfy", KEY)).notify(alert(said))
    assert said in peer.messages[0].text


# -- what a failure means -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["json", "ntfy", "gotify"])
@pytest.mark.parametrize(
    ("status", "kind", "is_final"),
    [
        (401, NotifierError, True),
        (403, NotifierError, True),
        (404, NotifierError, True),
        (429, NotifierError, False),
        (500, DeliveryUnknown, None),
        (502, DeliveryUnknown, None),
    ],
)
def test_a_status_is_a_refusal_or_an_open_question(
    peer: FakePeer,
    server: WireServer,
    channel: Channel,
    alert: MakeAlert,
    service: str,
    status: int,
    kind: type[NotifierError],
    is_final: bool | None,
) -> None:
    peer.refused[KEY] = status
    error = failure(channel(peer.url(server, service, KEY)), alert())
    assert type(error) is kind
    assert error.fields.get("is_final") is is_final
    assert f"address 1 of urls ({service})" in error.message
    assert str(status) in error.message
    assert peer.messages == []


@pytest.mark.parametrize("service", ["json", "ntfy", "gotify"])
@pytest.mark.parametrize("fault", ["lost", "unanswered", "hangs", "failed"])
def test_without_an_answer_nobody_knows(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert, service: str, fault: str
) -> None:
    server.fail("*", fault)  # type: ignore[arg-type]
    began = time.monotonic()
    error = failure(channel(peer.url(server, service, KEY) + "?rto=600&cto=600", timeout=0.5), alert())
    assert type(error) is DeliveryUnknown
    assert len(server.requests) == 1
    assert time.monotonic() - began < 1.5 + SLACK


def test_a_busy_service_may_be_asked_again(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert
) -> None:
    server.fail("*", "busy")
    notifier = channel(peer.url(server, "json", KEY))
    error = failure(notifier, alert())
    assert type(error) is NotifierError
    assert error.fields["is_final"] is False
    notifier.notify(alert())
    assert len(peer.messages) == 1


def test_where_nobody_listens_nothing_was_sent(channel: Channel, alert: MakeAlert) -> None:
    error = failure(channel(f"json://127.0.0.1:{free_port()}/{KEY}"), alert())
    assert type(error) is NotifierError
    assert error.fields["is_final"] is False
    assert "A Connection error occurred" in error.message


def test_an_answer_that_trickles_is_not_waited_for(channel: Channel, alert: MakeAlert) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        is_over = threading.Event()

        def trickle() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not is_over.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        began = time.monotonic()
        error = failure(channel(f"json://127.0.0.1:{listening.getsockname()[1]}/{KEY}", timeout=0.5), alert())
        assert 1.4 < time.monotonic() - began < 1.5 + SLACK
        assert type(error) is DeliveryUnknown
        assert error.message == "address 1 of urls (json): no end after 1.5 seconds"
        is_over.set()
        thread.join()


def test_an_address_with_two_targets_that_fails_may_have_reached_one(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apprise.plugins.base.NotifyBase.request_rate_per_sec", 0)  # else it waits 5.5 s
    peer.refused["second"] = 403
    url = peer.url(server, "ntfy", "first") + "/second"
    error = failure(channel(url), alert())
    assert type(error) is DeliveryUnknown
    assert [m.key for m in peer.messages] == ["first"]
    assert "each target an address of its own" in (error.hint or "")


def test_an_exception_of_apprise_is_an_open_question(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> bool:
        raise RuntimeError(f"no such thing: {KEY}")

    notifier = channel(peer.url(server, "json", KEY))
    monkeypatch.setattr("apprise.Apprise.notify", broken)
    error = failure(notifier, alert())
    assert type(error) is DeliveryUnknown
    assert "RuntimeError: no such thing: ********" in error.message


def test_a_failure_without_a_word_is_an_open_question(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apprise.Apprise.notify", lambda *_, **__: False)
    error = failure(channel(peer.url(server, "json", KEY)), alert())
    assert type(error) is DeliveryUnknown
    assert "did not say why" in error.message


# -- several addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1])
def test_one_that_fails_keeps_no_other_from_being_told(
    peer: FakePeer,
    server: WireServer,
    channel: Channel,
    alert: MakeAlert,
    caplog: pytest.LogCaptureFixture,
    first: int,
) -> None:
    peer.refused["refused-key"] = 403
    urls = [peer.url(server, "ntfy", "refused-key"), peer.url(server, "json", KEY)]
    channel(*(urls if first == 0 else reversed(urls))).notify(alert())
    assert [m.key for m in peer.messages] == [KEY]
    [record] = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert f"address {first + 1} of urls (ntfy)" in record.getMessage()
    assert "refused-key" not in caplog.text


def test_one_that_is_not_understood_keeps_no_other_from_being_told(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert, caplog: pytest.LogCaptureFixture
) -> None:
    channel("nonsense-that-is-secret", peer.url(server, "json", KEY)).notify(alert())
    assert [m.key for m in peer.messages] == [KEY]
    assert "address 1 of urls (no scheme) is none that apprise understands" in caplog.text
    assert "nonsense" not in caplog.text


def test_one_that_hangs_keeps_no_other_from_being_told(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail("POST /slow", "hangs")
    began = time.monotonic()
    channel(peer.url(server, "json", "slow"), peer.url(server, "json", KEY), timeout=0.5).notify(alert())
    assert time.monotonic() - began < 1.5 + SLACK
    assert "address 1 of urls (json)" in caplog.text
    assert KEY in [m.key for m in peer.messages]


@pytest.mark.parametrize(
    ("statuses", "kind", "is_final"),
    [
        ((403, 404), NotifierError, True),
        ((403, 429), NotifierError, False),
        ((403, 500), DeliveryUnknown, None),
    ],
)
def test_where_all_fail_the_least_certain_counts(
    peer: FakePeer,
    server: WireServer,
    channel: Channel,
    alert: MakeAlert,
    statuses: tuple[int, int],
    kind: type[NotifierError],
    is_final: bool | None,
) -> None:
    peer.refused.update(zip(("key-one", "key-two"), statuses, strict=True))
    error = failure(channel(*(peer.url(server, "json", key) for key in peer.refused)), alert())
    assert type(error) is kind
    assert error.fields.get("is_final") is is_final
    assert "address 1 of urls" in error.message
    assert "address 2 of urls" in error.message


def test_where_apprise_understands_none_the_configuration_is_wrong(channel: Channel, alert: MakeAlert) -> None:
    error = failure(channel("nonsense", "tgramm://12345:secret/1"), alert())
    assert type(error) is ConfigError
    assert "address 1 of urls (no scheme) is none" in error.message
    assert "address 2 of urls (tgramm) is none" in error.message
    assert "secret" not in str(error)


# -- check --------------------------------------------------------------------------------------------------------


def test_the_check_names_the_services_and_sends_nothing(peer: FakePeer, server: WireServer, channel: Channel) -> None:
    telegram = "tgram://123456789:abcdefghijklmnopqrstuvwxyzabcdefghi/12345"
    found = channel(telegram, peer.url(server, "ntfy", KEY)).check()
    assert found == "Telegram, ntfy: understood; nothing was sent, apprise cannot ask"
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["nonsense", "tgram://", "foo://s3cret-part", "discord://only-one-part", "https://example.invalid/s3cret"]
)
def test_the_check_names_the_address_that_is_wrong_by_number_and_scheme(
    peer: FakePeer, server: WireServer, channel: Channel, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match="address 2 of urls") as caught:
        channel(peer.url(server, "json", KEY), url).check()
    for part in ("s3cret", "only-one-part", "nonsense", "example"):
        assert part not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_an_address_that_is_missing_is_named_by_where_it_is_kept(alert: MakeAlert) -> None:
    notifier = AppriseNotifier([Secret("env", "NOT_SET_ANYWHERE")])
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        notifier.check()
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        notifier.notify(alert())


# -- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["busy", "hangs", "lost", "failed", None])
@pytest.mark.parametrize("service", ["json", "ntfy", "gotify"])
def test_no_part_of_an_address_is_shown(
    peer: FakePeer,
    server: WireServer,
    channel: Channel,
    alert: MakeAlert,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    service: str,
    fault: str | None,
) -> None:
    caplog.set_level(1)
    if fault is None:
        peer.refused[KEY] = 403  # and the answer repeats the key
    else:
        server.fail("*", fault)  # type: ignore[arg-type]
    url = peer.url(server, service, KEY).replace("://", "://user-name:pass%2Dw0rd@")
    notifier = channel(url, timeout=0.5)
    error = failure(notifier, alert())
    out, err = capsys.readouterr()
    shown = "".join(traceback.format_exception(error)) + repr(notifier) + caplog.text + out + err + repr(error.fields)
    for part in (KEY, "user-name", "pass-w0rd", "pass%2Dw0rd"):
        assert part.lower() not in shown.lower()


def test_records_of_others_still_reach_the_log(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert, caplog: pytest.LogCaptureFixture
) -> None:
    channel(peer.url(server, "json", KEY)).notify(alert())
    logging.getLogger("apprise").warning("somebody else uses it")
    assert "somebody else uses it" in caplog.text


def test_a_log_that_is_set_to_errors_hides_no_reason(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert
) -> None:
    peer.refused[KEY] = 403
    log = logging.getLogger("apprise")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        error = failure(channel(peer.url(server, "json", KEY)), alert())
    finally:
        log.setLevel(before)
    assert error.fields["is_final"] is True


def test_the_fake_answers_as_the_services_are_asked(
    peer: FakePeer, server: WireServer, channel: Channel, alert: MakeAlert
) -> None:
    channel(peer.url(server, "ntfy", KEY)).notify(alert())
    [request] = server.requests
    assert (request.method, request.path, json.loads(request.body)["topic"]) == ("POST", "/", KEY)
