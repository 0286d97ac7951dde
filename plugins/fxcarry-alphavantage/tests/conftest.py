"""A fake server behind a socket, and a feed on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from fxcarry.testing import WireServer
from fxcarry_alphavantage.client import Client
from fxcarry_alphavantage.feed import AlphaVantageFeed
from fxcarry_alphavantage.testing import FakeAlphaVantage
from fxcarry_alphavantage.testing.suites import KEY_VARIABLE, client_of, feed_of


@attrs.define
class Desk:
    """A fake server, where it is served, and what a user has of it.

    Nobody gives up on a machine that is only slow, for a repeated call is one call more of the quota; a test in which
    the server hangs sets ``timeout``.
    """

    fake: FakeAlphaVantage
    server: WireServer
    folder: Path
    timeout: float = 30.0

    def client(self, calls_a_day: int = 10_000) -> Client:
        return client_of(self.fake, self.server, self.folder, calls_a_day=calls_a_day, timeout=self.timeout)

    def feed(self, calls_a_day: int = 10_000, **settings: Any) -> AlphaVantageFeed:
        return feed_of(self.fake, self.client(calls_a_day), self.folder, **settings)

    def new_calls(self) -> list[str]:
        """The calls that were answered since this was last asked."""
        found, self.fake.calls = self.fake.calls, []
        return found


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Desk]:
    fake = FakeAlphaVantage()
    monkeypatch.setenv(KEY_VARIABLE, fake.key)
    with fake.serve() as server:
        server.retry_after = 0
        yield Desk(fake, server, tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], bytes]:
    """Everything that is on the disk."""
    return lambda: b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
