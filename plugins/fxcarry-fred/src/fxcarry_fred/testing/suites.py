"""The feed cases of the core on the fake FRED, over a socket: what ``fxcarry conformance feed fred`` runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest

from fxcarry.secrets import Secret
from fxcarry.testing import FeedSuite, WireServer
from fxcarry_fred.client import Client
from fxcarry_fred.feed import FredFeed
from fxcarry_fred.testing import FakeFred, world

KEY_VARIABLE = "FXCARRY_FAKE_FRED_KEY"
"""Where the key of the fake is for as long as a suite runs."""


def client_of(server: WireServer, *, timeout: float = 2.0) -> Client:
    """A client of the fake, without waits; its key is in the environment."""
    return Client(
        Secret("env", KEY_VARIABLE),
        url=server.url,
        timeout=timeout,
        per_second=10_000,
        sleep=lambda seconds: None,
    )


def evening(fake: FakeFred) -> datetime:
    """The end of the fake's day."""
    return datetime.combine(fake.today, time(), UTC) + timedelta(hours=23, minutes=30)


class FredFeedSuite(FeedSuite):
    """The feed cases on a year and a half of three currencies."""

    @pytest.fixture
    def feed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FredFeed]:
        """The feed over a fake FRED, with a cache."""
        fake = world(date(2025, 6, 2), since=date(2024, 1, 1), currencies=("EUR", "GBP", "JPY"))
        monkeypatch.setenv(KEY_VARIABLE, fake.key)
        with fake.serve() as server:
            feed = FredFeed(
                client_of(server),
                currencies=("EUR", "GBP", "JPY"),
                cache=tmp_path / "fred",
                now=lambda: evening(fake),
            )
            yield feed
            feed.close()
