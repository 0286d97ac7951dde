"""The talk with the server: what is delivered, what is tried again, what is given up, and what nobody knows."""

from __future__ import annotations

import logging
import socket
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fxcarry.errors import ConfigError, DeliveryUnknown, NotifierError
from fxcarry.model import Alert
from fxcarry.secrets import Secret
from fxcarry_email import EmailConfig
from fxcarry_email.notifier import EmailNotifier
from fxcarry_email.testing import FakeMailServer
from fxcarry_email.testing.suites import PASSWORD_VARIABLE, settings_for

MakeServer = Callable[..., FakeMailServer]
MakeChannel = Callable[..., EmailNotifier]
MakeAlert = Callable[..., Alert]
SLACK = 3.0  # seconds that a busy machine may be late
LOGIN = {"user": "ops@example.com", "password": "right-password"}


@pytest.mark.parametrize("security", ["starttls", "ssl", "none"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_mail_is_delivered_and_a_check_says_how(
    serve: MakeServer, channel: MakeChannel, alert: MakeAlert, security: str, mechanism: str
) -> None:
    server = serve(security=security, mechanisms=[mechanism], **LOGIN)
    notifier = channel(server)
    notifier.notify(alert())
    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("ops@example.com", ("me@example.com",))
    assert "EURUSD is unprotected" in mail.text
    how = {"starttls": "STARTTLS (TLSv1.3)", "ssl": "TLS (TLSv1.3)", "none": "not encrypted"}[security]
    assert notifier.check() == f"127.0.0.1:{server.port}, {how}, logged in as ops@example.com"
    assert len(server.mails) == 1  # a check sends none


def test_letters_beyond_ascii_are_sent_in_a_password(serve: MakeServer, channel: MakeChannel, alert: MakeAlert) -> None:
    server = serve(user="ops", password="pässwörd€")
    channel(server).notify(alert())
    assert len(server.mails) == 1


def test_a_server_without_a_login_is_written_to(server: FakeMailServer, channel: MakeChannel, alert: MakeAlert) -> None:
    notifier = channel(server)
    notifier.notify(alert())
    assert len(server.mails) == 1
    assert notifier.check() == f"127.0.0.1:{server.port}, not encrypted, no login"


def test_making_a_channel_makes_no_connection(server: FakeMailServer, channel: MakeChannel) -> None:
    channel(server)
    assert server.connections == 0


def test_a_certificate_that_ends_soon_is_said(serve: MakeServer) -> None:
    server = serve(days=5.5)
    said = EmailNotifier(settings_for(server)).check()
    assert "its certificate ends in 5 days" in said or "its certificate ends in 6 days" in said
    early = EmailNotifier(settings_for(server), now=lambda: datetime.now(UTC) - timedelta(days=60)).check()
    assert "certificate" not in early


# -- busy: certainly not delivered, tried again ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("connect", 421),
        ("EHLO", 421),
        ("STARTTLS", 454),
        ("AUTH", 454),
        ("MAIL", 451),
        ("RCPT", 421),
        ("RCPT", 450),
        ("DATA", 451),
        ("end", 452),
        ("end", 421),
    ],
)
def test_a_busy_server_is_tried_again(
    serve: MakeServer, channel: MakeChannel, alert: MakeAlert, slept: list[float], step: Any, code: int
) -> None:
    server = serve(**LOGIN) if step in ("STARTTLS", "AUTH") else serve(security="none")
    server.fail(step, f"{code} 4.3.0 come back", times=2)
    channel(server).notify(alert())
    assert len(server.mails) == 1
    assert slept == [0.5, 1.0]


def test_a_server_that_stays_busy_is_given_up_after_three_tries(
    server: FakeMailServer, channel: MakeChannel, alert: MakeAlert, slept: list[float]
) -> None:
    server.fail("end", "451 4.3.0 greylisted \x1b[31m")
    with pytest.raises(NotifierError, match=r"refused the mail: 451 4\.3\.0 greylisted \\x1b") as error:
        channel(server).notify(alert())
    assert type(error.value) is NotifierError
    assert "is_final" not in error.value.fields
    assert (server.connections, server.mails, slept) == (3, [], [0.5, 1.0])


def test_a_long_refusal_is_cut(server: FakeMailServer, channel: MakeChannel, alert: MakeAlert) -> None:
    server.fail("MAIL", "\r\n".join([*["550-" + "x" * 500] * 50, "550 end"]))
    with pytest.raises(NotifierError, match="550 xxx") as error:
        channel(server).notify(alert())
    assert len(str(error.value)) < 500


# -- refused: certainly not delivered, final ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        ("connect", "554 no service"),
        ("MAIL", "550 5.7.1 not you"),
        ("RCPT", "550 5.1.1 no such user"),
        ("DATA", "554 no"),
        ("end", "554 5.7.1 spam"),
        ("end", "552 5.3.4 too large"),
    ],
)
def test_a_refusal_is_final_and_not_tried_again(
    server: FakeMailServer, channel: MakeChannel, alert: MakeAlert, step: Any, reply: str
) -> None:
    server.fail(step, reply)
    with pytest.raises(NotifierError, match=reply) as error:
        channel(server).notify(alert())
    assert type(error.value) is NotifierError
    assert error.value.fields["is_final"] is True
    assert (server.connections, server.mails) == (1, [])


def test_a_wrong_password_is_final_and_says_app_password(
    serve: MakeServer, channel: MakeChannel, alert: MakeAlert, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(**LOGIN)
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong-password")
    for call in (channel(server).check, lambda: channel(server).notify(alert())):
        with pytest.raises(NotifierError, match="535") as error:
            call()
        assert error.value.fields["is_final"] is True
        assert "app password" in error.value.hint
        assert "wrong-password" not in str(error.value)


def test_a_server_that_wants_a_login_says_so(serve: MakeServer, channel: MakeChannel, alert: MakeAlert) -> None:
    server = serve(**LOGIN)
    with pytest.raises(NotifierError, match=r"refused the sender .*: 530") as error:
        channel(server, user="", password=None).notify(alert())
    assert error.value.fields["is_final"] is True
    assert "set user and password" in error.value.hint


def test_a_missing_password_is_a_config_error_that_names_its_place(
    serve: MakeServer, channel: MakeChannel, alert: MakeAlert, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(**LOGIN)
    monkeypatch.delenv(PASSWORD_VARIABLE)
    with pytest.raises(ConfigError, match=PASSWORD_VARIABLE):
        channel(server).notify(alert())
    assert server.connections == 0


def test_a_login_that_is_not_known_is_said(serve: MakeServer, channel: MakeChannel, alert: MakeAlert) -> None:
    server = serve(mechanisms=[], **LOGIN)
    with pytest.raises(NotifierError, match="offers no login") as error:
        channel(server).notify(alert())
    assert error.value.fields["is_final"] is True


@pytest.mark.parametrize("step", ["AUTH", "MAIL", "end"])
def test_a_password_that_the_server_repeats_is_masked(
    serve: MakeServer, channel: MakeChannel, alert: MakeAlert, step: Any
) -> None:
    server = serve(**LOGIN)
    user, password = LOGIN["user"], LOGIN["password"]
    forms = [password, b64encode(password.encode()).decode(), b64encode(f"\0{user}\0{password}".encode()).decode()]
    server.fail(step, f"535 bad: {' '.join(forms)}")
    with pytest.raises(NotifierError) as error:
        channel(server).notify(alert())
    assert str(error.value).count("********") == 3
    assert not [form for form in forms if form in str(error.value) + repr(error.value)]
    assert error.value.__cause__ is None
    assert password not in repr(channel(server))


# -- recipients --------------------------------------------------------------------------------------------------------


def test_a_recipient_that_is_refused_is_a_warning_where_another_is_served(
    server: FakeMailServer, channel: MakeChannel, alert: MakeAlert, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail("RCPT", "550 5.1.1 no such user", only="gone@example.com")
    with caplog.at_level(logging.WARNING, "fxcarry.email"):
        channel(server, to=("gone@example.com", "me@example.com")).notify(alert())
    (mail,) = server.mails
    assert mail.recipients == ("me@example.com",)
    assert "not for gone@example.com: 550 5.1.1 no such user" in caplog.text


def test_all_refused_is_an_error_that_names_each(
    server: FakeMailServer, channel: MakeChannel, alert: MakeAlert
) -> None:
    server.fail("RCPT", "550 5.1.1 no such user")
    with pytest.raises(NotifierError, match=r"a@example\.com: 550 .*; b@example\.com: 550") as error:
        channel(server, to=("a@example.com", "b@example.com")).notify(alert())
    assert error.value.fields["is_final"] is True


def test_one_that_is_busy_among_refused_ones_is_tried_again(
    server: FakeMailServer, channel: MakeChannel, alert: MakeAlert, slept: list[float]
) -> None:
    server.fail("RCPT", "550 5.1.1 no such user", only="a@example.com")
    server.fail("RCPT", "450 4.2.0 greylisted", only="b@example.com", times=1)
    channel(server, to=("a@example.com", "b@example.com")).notify(alert())
    assert [mail.recipients for mail in server.mails] == [("b@example.com",)]
    assert slept == [0.5]


# -- nobody knows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "how"), [("body", "drop"), ("end", "drop"), ("end", "hang"), ("end", "999 what")])
def test_where_nobody_knows_it_is_sent_once_more_with_the_same_id(
    server: FakeMailServer, channel: MakeChannel, alert: MakeAlert, step: Any, how: str
) -> None:
    server.fail(step, how, times=1)
    channel(server, timeout=0.5).notify(alert())
    expected = 1 if step == "body" else 2
    assert len(server.mails) == expected
    assert len({mail.message["Message-ID"] for mail in server.mails}) == 1


@pytest.mark.parametrize(("step", "how"), [("body", "drop"), ("end", "drop"), ("end", "hang"), ("end", "trickle")])
def test_where_nobody_knows_twice_it_is_unknown(
    server: FakeMailServer, channel: MakeChannel, alert: MakeAlert, step: Any, how: str
) -> None:
    server.fail(step, how)
    began = time.monotonic()
    with pytest.raises(DeliveryUnknown, match="did not say whether it took the mail"):
        channel(server, timeout=0.5).notify(alert())
    assert time.monotonic() - began < 0.5 * 5 + SLACK


def test_what_is_unknown_stays_so_where_the_repeat_is_refused(
    server: FakeMailServer, channel: MakeChannel, alert: MakeAlert
) -> None:
    server.fail("end", "drop", times=1)
    server.fail("end", "554 5.7.1 twice")
    with pytest.raises(DeliveryUnknown, match=r"and then: .*554 5\.7\.1 twice"):
        channel(server).notify(alert())
    assert len(server.mails) == 1


answers = st.one_of(
    st.text(max_size=40),
    st.builds("{}{}{}".format, st.integers(0, 1000), st.sampled_from(["", " ", "-", "\r\n250 "]), st.text(max_size=9)),
)


@given(step=st.sampled_from(["connect", "EHLO", "MAIL", "RCPT", "DATA", "end", "QUIT"]), how=answers)
@settings(max_examples=60, deadline=None)
def test_whatever_is_answered_not_delivered_is_true(step: Any, how: str) -> None:
    assume(how not in ("drop", "hang", "trickle"))
    alert = Alert(at=datetime(2025, 3, 12, tzinfo=UTC), kind="self-test", severity="info", message="x")
    with FakeMailServer(security="none") as server:
        server.fail(step, how, times=1)
        config = attrs.evolve(settings_for(server), timeout=0.2)
        try:
            EmailNotifier(config, sleep=lambda seconds: None).notify(alert)
        except DeliveryUnknown:
            pass
        except NotifierError:
            assert server.mails == []
        else:
            assert server.mails
            assert len({mail.message["Message-ID"] for mail in server.mails}) == 1


# -- no way through: certainly not delivered ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["connect", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("how", ["drop", "hang", "trickle"])
def test_what_breaks_before_the_mail_is_not_delivered_and_ends_in_time(
    server: FakeMailServer, channel: MakeChannel, alert: MakeAlert, step: Any, how: str
) -> None:
    server.fail(step, how)
    began = time.monotonic()
    with pytest.raises(NotifierError) as error:
        channel(server, timeout=0.1).notify(alert())
    assert type(error.value) is NotifierError
    assert "is_final" not in error.value.fields
    assert f"127.0.0.1:{server.port}" in error.value.message
    assert time.monotonic() - began < 0.1 * 5 + SLACK
    assert server.mails == []


@pytest.mark.parametrize("how", ["hang", "trickle", "drop"])
@pytest.mark.parametrize("step", ["STARTTLS", "AUTH"])
def test_what_breaks_while_it_encrypts_or_logs_in_is_not_delivered(
    serve: MakeServer, channel: MakeChannel, alert: MakeAlert, step: Any, how: str
) -> None:
    server = serve(**LOGIN)
    server.fail(step, how)
    began = time.monotonic()
    with pytest.raises(NotifierError, match=step):
        channel(server, timeout=0.5).notify(alert())
    assert time.monotonic() - began < 0.5 * 5 + SLACK


def test_nobody_listens(channel: MakeChannel, alert: MakeAlert, server: FakeMailServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(NotifierError, match=f"127.0.0.1:{port} cannot be reached: Connection refused"):
        channel(server, port=port).notify(alert())


def test_a_name_that_cannot_be_resolved(
    channel: MakeChannel, server: FakeMailServer, alert: MakeAlert, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*args: Any, **settings: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(NotifierError, match=r"the name mail\.invalid cannot be resolved: Name or service"):
        channel(server, host="mail.invalid").notify(alert())


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_a_certificate_that_is_not_trusted_ends_it_before_the_password(
    serve: MakeServer, channel: MakeChannel, alert: MakeAlert, security: str
) -> None:
    server = serve(security=security, **LOGIN)
    with pytest.raises(NotifierError, match=r"is not trusted: .*unable to get local issuer") as error:
        channel(server, ca_file="").notify(alert())
    assert "ca_file" in error.value.hint
    assert server.mails == []


def test_a_certificate_of_another_name_is_not_trusted(
    serve: MakeServer, channel: MakeChannel, alert: MakeAlert
) -> None:
    server = serve()
    with pytest.raises(NotifierError, match=r"127\.0\.0\.2"):
        channel(server, host="127.0.0.2", port=_forward(server.port)).notify(alert())


def _forward(port: int) -> int:
    """The same port is not listened at on 127.0.0.2: a socket there hands one connection on."""
    import threading

    listening = socket.create_server(("127.0.0.2", 0))

    def carry(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def run() -> None:
        with listening:
            client, _ = listening.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=carry, args=(server, client))
            back.start()
            carry(client, server)
            back.join()

    threading.Thread(target=run, daemon=True).start()
    return int(listening.getsockname()[1])


def test_a_server_without_starttls_is_not_written_to_in_clear_text(
    server: FakeMailServer, channel: MakeChannel, alert: MakeAlert
) -> None:
    server.security = "starttls"
    with pytest.raises(NotifierError, match="offers no STARTTLS; nothing is sent unencrypted"):
        channel(server).notify(alert())
    assert server.mails == []


def test_tls_to_a_server_that_speaks_none(server: FakeMailServer, channel: MakeChannel, alert: MakeAlert) -> None:
    with pytest.raises(NotifierError, match="found no encryption") as error:
        channel(server, security="ssl").notify(alert())
    assert "465" in error.value.hint


def test_a_ca_file_that_cannot_be_used_is_a_config_error(server: FakeMailServer, channel: MakeChannel) -> None:
    for path in (__file__, "/nowhere.pem"):
        with pytest.raises(ConfigError, match=r"ca_file .* cannot be used"):
            channel(server, ca_file=path)


def test_a_server_that_is_silent_instead_of_encrypting(
    channel: MakeChannel, server: FakeMailServer, alert: MakeAlert
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(NotifierError, match=r"found no encryption.*timed out"):
            channel(server, security="ssl", port=silent.getsockname()[1], timeout=0.5).notify(alert())
        assert time.monotonic() - began < 0.5 * 5 + SLACK


@pytest.mark.parametrize("how", ["drop", "hang", "trickle", "550 stay"])
def test_the_goodbye_changes_nothing(server: FakeMailServer, channel: MakeChannel, alert: MakeAlert, how: str) -> None:
    server.fail("QUIT", how)
    began = time.monotonic()
    channel(server, timeout=5.0).notify(alert())
    assert time.monotonic() - began < 2.0
    assert len(server.mails) == 1


@pytest.mark.parametrize("banner", ["220", "220-one\r\n220 two", "220 " + "x" * 5000])
def test_a_strange_greeting_is_read(
    server: FakeMailServer, channel: MakeChannel, banner: str, alert: MakeAlert
) -> None:
    server.fail("connect", banner)  # and closes
    with pytest.raises(NotifierError, match=r"did not get through (EHLO|MAIL)"):
        channel(server).notify(alert())


@pytest.mark.parametrize(
    "banner",
    ["HTTP/1.1 400 Bad Request", "", "22", "2200 x", "220x", "220 " + "x" * 9000, "\r\n".join(["220-x"] * 101)],
)
def test_what_is_no_greeting_is_an_error(
    server: FakeMailServer, channel: MakeChannel, banner: str, alert: MakeAlert
) -> None:
    server.fail("connect", banner)
    with pytest.raises(NotifierError, match="did not get through greeting"):
        channel(server).notify(alert())


def test_authorities_are_read_anew_for_each_mail(serve: MakeServer, channel: MakeChannel, alert: MakeAlert) -> None:
    first, second = serve(), serve()
    notifier = channel(second, ca_file=first.ca_file)
    with pytest.raises(NotifierError, match="is not trusted"):
        notifier.notify(alert())
    Path(first.ca_file).write_bytes(Path(second.ca_file).read_bytes())
    notifier.notify(alert())
    Path(first.ca_file).write_text("nothing", "utf-8")
    with pytest.raises(ConfigError, match="cannot be used"):
        notifier.notify(alert())


# -- size --------------------------------------------------------------------------------------------------------------


def test_a_mail_larger_than_the_server_says_is_not_begun(
    serve: MakeServer, channel: MakeChannel, alert: MakeAlert
) -> None:
    server = serve(security="none", size=5_000)
    with pytest.raises(NotifierError, match="takes mails of 5,000 bytes at most, this one has") as error:
        channel(server).notify(alert("x" * 10_000))
    assert error.value.fields["is_final"] is True
    server.size = 1_000_000
    channel(server).notify(alert("x" * 10_000))
    assert len(server.mails) == 1


def test_lines_that_begin_with_a_dot_arrive(server: FakeMailServer, channel: MakeChannel, alert: MakeAlert) -> None:
    channel(server).notify(alert("a\n.\n..b\n.c\r\n."))
    assert "a\n.\n..b\n.c\n." in server.mails[0].text


def test_a_proper_config_makes_a_channel_by_the_component() -> None:
    import fxcarry_email

    (component,) = fxcarry_email.fxcarry_components()
    settings = EmailConfig(
        host="smtp.example.com", sender="a@b.example", to=("c@d.example",), user="u", password=Secret("env", "NOT_SET")
    )
    notifier = component.factory(settings)
    assert isinstance(notifier, fxcarry_email.EmailNotifier)
    assert notifier.name == component.name == "email"
