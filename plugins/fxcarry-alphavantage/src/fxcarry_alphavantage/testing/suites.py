"""The conformance suite of the core on the fake server, over a socket: what ``fxcarry conformance`` runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest

from fxcarry.feeds import MemoryFeed
from fxcarry.secrets import Secret
from fxcarry.testing import FeedSuite, WireServer, market_history
from fxcarry_alphavantage.client import Client
from fxcarry_alphavantage.feed import AlphaVantageFeed, Interval
from fxcarry_alphavantage.rates import UsdRate
from fxcarry_alphavantage.testing.fake import FakeAlphaVantage

KEY_VARIABLE = "FXCARRY_FAKE_ALPHAVANTAGE_KEY"
"""Where the key of the fake server is for as long as a suite runs."""


def client_of(
    fake: FakeAlphaVantage, server: WireServer, folder: Path, *, calls_a_day: int = 10_000, timeout: float = 2.0
) -> Client:
    """A client of the fake server, without waits; its key is in the environment."""
    return Client(
        key=Secret("env", KEY_VARIABLE),
        quota=folder / "calls.sqlite",
        url=server.url,
        calls_a_day=calls_a_day,
        calls_a_minute=100_000,
        per_second=10_000,
        timeout=timeout,
        clock=lambda: fake.at,
        sleep=lambda seconds: None,
    )


def feed_of(
    fake: FakeAlphaVantage,
    client: Client,
    folder: Path,
    *,
    currencies: tuple[str, ...] = ("EUR", "JPY"),
    interval: Interval = "daily",
    usd: UsdRate | None = None,
) -> AlphaVantageFeed:
    """A feed on the fake server's clock, with made-up interest rates."""
    return AlphaVantageFeed(
        client,
        currencies=currencies,
        rates=MemoryFeed(market_history(("EUR", "JPY"), days=430, start=date(2024, 7, 1)), "rates"),
        cache=folder / "cache.sqlite",
        interval=interval,
        usd=usd,
        clock=lambda: fake.at,
    )


class AlphaVantageFeedSuite(FeedSuite):
    """The feed cases on a year and a half of daily bars."""

    interval: Interval = "daily"

    @pytest.fixture
    def feed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AlphaVantageFeed]:
        """The feed over a fake server."""
        fake = FakeAlphaVantage()
        monkeypatch.setenv(KEY_VARIABLE, fake.key)
        with fake.serve() as server:
            feed = feed_of(fake, client_of(fake, server, tmp_path), tmp_path, interval=self.interval)
            yield feed
            feed.close()


class AlphaVantageIntradaySuite(AlphaVantageFeedSuite):
    """The feed cases on a month of hourly bars."""

    interval: Interval = "60min"

    @pytest.fixture
    def at(self, feed: AlphaVantageFeed) -> datetime:
        """A Thursday afternoon."""
        return datetime.fromisoformat("2026-01-22T14:00:00+00:00")
