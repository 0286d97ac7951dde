"""The notifier cases of the core on the fake mail server: what ``fxcarry conformance notifier email`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from fxcarry.secrets import Secret
from fxcarry.testing import NotifierSuite
from fxcarry_email import EmailConfig
from fxcarry_email.notifier import EmailNotifier
from fxcarry_email.testing.fake import FakeMailServer

PASSWORD_VARIABLE = "FXCARRY_FAKE_MAIL_PASSWORD"
"""Where the password of the fake is for as long as a suite runs."""


def settings_for(server: FakeMailServer) -> EmailConfig:
    """Settings of a channel to the fake; its password is in the environment."""
    return EmailConfig(
        host=server.host,
        port=server.port,
        security=server.security,
        user=server.user,
        password=Secret("env", PASSWORD_VARIABLE) if server.user else None,
        ca_file=server.ca_file,
        sender="fxcarry <ops@example.com>",
        to=("me@example.com",),
        timeout=2.0,
    )


class EmailNotifierSuite(NotifierSuite):
    """The notifier cases over STARTTLS with a login."""

    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMailServer]:
        """A fake mail server."""
        with FakeMailServer(user="ops@example.com", password="fake-password") as server:
            monkeypatch.setenv(PASSWORD_VARIABLE, server.password)
            yield server

    @pytest.fixture
    def notifier(self, server: FakeMailServer) -> EmailNotifier:
        """The channel to it."""
        return EmailNotifier(settings_for(server), sleep=lambda seconds: None)

    @pytest.fixture
    def delivered(self, server: FakeMailServer) -> Callable[[], Sequence[str]]:
        """Subject and text of what it took."""
        return server.texts
