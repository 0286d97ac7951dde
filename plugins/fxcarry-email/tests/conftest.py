"""A fake mail server, and channels to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from fxcarry.model import Alert
from fxcarry_email.notifier import EmailNotifier
from fxcarry_email.testing import FakeMailServer
from fxcarry_email.testing.suites import PASSWORD_VARIABLE, settings_for

NOW = datetime(2025, 3, 12, 13, 6, tzinfo=UTC)

MakeServer = Callable[..., FakeMailServer]
MakeChannel = Callable[..., EmailNotifier]
MakeAlert = Callable[..., Alert]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeServer]:
    """Starts servers; the password of the last is in the environment."""
    with ExitStack() as stack:

        def start(**settings: Any) -> FakeMailServer:
            server = stack.enter_context(FakeMailServer(**settings))
            monkeypatch.setenv(PASSWORD_VARIABLE, server.password)
            return server

        yield start


@pytest.fixture
def server(serve: MakeServer) -> FakeMailServer:
    """A server without TLS and without a login: the quickest."""
    return serve(security="none")


@pytest.fixture
def slept() -> list[float]:
    """The waits that a channel made."""
    return []


@pytest.fixture
def channel(slept: list[float]) -> MakeChannel:
    """Makes channels to a server; what they wait is written down and not waited."""

    def make(server: FakeMailServer, **settings: Any) -> EmailNotifier:
        return EmailNotifier(attrs.evolve(settings_for(server), **settings), sleep=slept.append, now=lambda: NOW)

    return make


@pytest.fixture
def alert() -> MakeAlert:
    """Makes alerts."""

    def make(message: str = "EURUSD is unprotected", **settings: Any) -> Alert:
        given: dict[str, Any] = {
            "at": datetime(2025, 3, 12, 13, 5, tzinfo=UTC),
            "kind": "stop-missing",
            "severity": "warning",
            "message": message,
            **settings,
        }
        return Alert(**given)

    return make
