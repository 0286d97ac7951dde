"""The fake mail server, seen by the client of the standard library."""

from __future__ import annotations

import importlib
import smtplib
import ssl
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from fxcarry.errors import ConfigError
from fxcarry_email.testing import FakeMailServer

MakeServer = Callable[..., FakeMailServer]
MAIL = "Subject: hello\r\nContent-Type: text/plain\r\n\r\none\r\n..two\r\n"


def client_of(server: FakeMailServer) -> smtplib.SMTP:
    if server.security == "ssl":
        context = ssl.create_default_context(cafile=server.ca_file)
        return smtplib.SMTP_SSL(server.host, server.port, "[127.0.0.1]", timeout=5, context=context)
    client = smtplib.SMTP(server.host, server.port, "[127.0.0.1]", timeout=5)
    if server.security == "starttls":
        client.starttls(context=ssl.create_default_context(cafile=server.ca_file))
    return client


@pytest.mark.parametrize("security", ["starttls", "ssl", "none"])
def test_it_keeps_what_it_is_sent(serve: MakeServer, security: str) -> None:
    server = serve(security=security, user="me", password="right")
    with client_of(server) as client:
        with pytest.raises(smtplib.SMTPSenderRefused, match="530"):
            client.sendmail("a@example.com", ["b@example.com"], MAIL)
        with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
            client.login("me", "wrong")
        client.login("me", "right")
        client.sendmail("a@example.com", ["b@example.com", "c@example.com"], MAIL)
    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("a@example.com", ("b@example.com", "c@example.com"))
    assert mail.data.decode() == MAIL
    assert server.texts() == ["hello\none\n..two\n"]
    assert mail.html == ""


def test_a_fault_is_there_for_as_often_as_it_is_said(serve: MakeServer) -> None:
    server = serve(security="none")
    server.fail("MAIL", "451 busy", times=1)
    server.fail("RCPT", "550 no", only="<b@")
    with client_of(server) as client:
        client.ehlo()
        assert client.mail("a@example.com") == (451, b"busy")
        assert client.mail("a@example.com")[0] == 250
        assert client.rcpt("b@example.com") == (550, b"no")
        assert client.rcpt("c@example.com")[0] == 250
        server.heal()
        assert client.rcpt("b@example.com")[0] == 250


def test_it_says_and_keeps_its_size(serve: MakeServer) -> None:
    with client_of(serve(security="none", size=1000)) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "1000"
        with pytest.raises(smtplib.SMTPSenderRefused, match="552"):
            client.sendmail("a@example.com", ["b@example.com"], MAIL + "x" * 80 + "\r\n" * 600)


def test_its_authority_is_gone_with_it() -> None:
    with FakeMailServer() as server:
        assert Path(server.ca_file).read_text("utf-8").startswith("-----BEGIN CERTIFICATE-----")
    assert not Path(server.ca_file).exists()
    with pytest.raises(ConnectionRefusedError):
        client_of(server)


@pytest.mark.parametrize("missing", ["aiosmtpd.smtp", "trustme"])
def test_what_it_needs_is_said(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    usual = importlib.import_module

    def without(name: str) -> ModuleType:
        if name == missing:
            raise ImportError(name)
        return usual(name)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ConfigError, match=f"the fake mail server needs {missing.partition('.')[0]}") as error:
        FakeMailServer()
    assert error.value.hint == "pip install 'fxcarry-email[testing]'"
