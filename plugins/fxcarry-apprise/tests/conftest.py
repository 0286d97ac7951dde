"""A fake behind a socket, and channels to it."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from fxcarry.model import Alert
from fxcarry.secrets import Secret
from fxcarry.testing import WireServer
from fxcarry_apprise import AppriseNotifier
from fxcarry_apprise.testing import FakePeer

Channel = Callable[..., AppriseNotifier]
MakeAlert = Callable[..., Alert]


@pytest.fixture(scope="session", autouse=True)
def _loaded() -> None:
    """All services of apprise; one imports what Python deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert importlib.import_module("apprise").Apprise.instantiate("json://127.0.0.1")


@pytest.fixture
def peer() -> FakePeer:
    return FakePeer()


@pytest.fixture
def server(peer: FakePeer) -> Iterator[WireServer]:
    with peer.serve() as server:
        server.retry_after = 0
        yield server


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Channel:
    """Makes a channel to addresses, each kept in the environment."""

    def make(*urls: str, timeout: float = 2.0) -> AppriseNotifier:
        for number, url in enumerate(urls, 1):
            monkeypatch.setenv(f"ALERT_URL_{number}", url)
        return AppriseNotifier([Secret("env", f"ALERT_URL_{n}") for n in range(1, len(urls) + 1)], timeout=timeout)

    return make


@pytest.fixture
def alert() -> MakeAlert:
    def make(message: str = "AUDUSD was closed at 0.6512", **fields: object) -> Alert:
        settings = {
            "at": datetime(2025, 3, 12, 13, 5, tzinfo=UTC),
            "kind": "stop-loss",
            "severity": "warning",
            "message": message,
            **fields,
        }
        return Alert(**settings)  # type: ignore[arg-type]

    return make
