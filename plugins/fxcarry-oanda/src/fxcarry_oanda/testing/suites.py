"""The conformance suites of the core on the fake account, over a socket: what ``fxcarry conformance`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fxcarry.feeds import MemoryFeed
from fxcarry.model import Account, Pair, Quote, Snapshot
from fxcarry.secrets import Secret
from fxcarry.testing import BrokerSuite, FeedSuite, WireServer, market_history
from fxcarry_oanda.broker import OandaBroker
from fxcarry_oanda.client import Client
from fxcarry_oanda.feed import OandaFeed
from fxcarry_oanda.testing import FakeOanda

TOKEN_VARIABLE = "FXCARRY_FAKE_OANDA_TOKEN"
"""Where the token of the fake account is for as long as a suite runs."""


def client_of(fake: FakeOanda, server: WireServer, *, silence: float = 10.0, timeout: float = 2.0) -> Client:
    """A client of the fake account, without waits; its token is in the environment."""
    return Client(
        account=fake.account_id,
        token=Secret("env", TOKEN_VARIABLE),
        url=server.url,
        stream_url=server.url,
        timeout=timeout,
        silence=silence,
        per_second=10_000,
        sleep=lambda seconds: None,
    )


class DrivenBroker(OandaBroker):
    """The broker on a fake account whose market is where the snapshots given to :meth:`sync` are."""

    def __init__(
        self, fake: FakeOanda, client: Client, *, is_hedging: bool = False, archive: Path | None = None
    ) -> None:
        super().__init__(client, is_practice=True, is_hedging=is_hedging, archive=archive, clock=lambda: fake.at)
        self.fake = fake

    def sync(self, snapshot: Snapshot) -> Account:
        """Move the market on, and read the account."""
        self.fake.move_to(snapshot)
        return super().sync(snapshot)


class OandaBrokerSuite(BrokerSuite):
    """The broker cases on an account that nets."""

    is_hedging = False

    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeOanda, WireServer]]:
        """A fake account and the server it is behind."""
        fake = FakeOanda(is_hedging=self.is_hedging)
        monkeypatch.setenv(TOKEN_VARIABLE, fake.token)
        with fake.serve() as server:
            yield fake, server

    @pytest.fixture
    def broker(self, server: tuple[FakeOanda, WireServer], tmp_path: Path) -> Any:
        """The broker, driven by the snapshots of the cases."""
        return DrivenBroker(
            server[0], client_of(*server), is_hedging=self.is_hedging, archive=tmp_path / "financing.csv"
        )

    @pytest.fixture
    def unavailable(self, server: tuple[FakeOanda, WireServer]) -> Callable[[], AbstractContextManager[Any]]:
        """Nobody listens."""
        return server[1].refuse


class OandaHedgingSuite(OandaBrokerSuite):
    """The broker cases on a hedging account, driven as if it netted."""

    is_hedging = True


class OandaFeedSuite(FeedSuite):
    """The feed cases on four weeks of hourly prices."""

    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeOanda, WireServer]]:
        """A fake account and the server it is behind."""
        fake = FakeOanda()
        monkeypatch.setenv(TOKEN_VARIABLE, fake.token)
        with fake.serve() as server:
            yield fake, server

    @pytest.fixture
    def feed(self, server: tuple[FakeOanda, WireServer]) -> Iterator[OandaFeed]:
        """The feed over the account, which has seen the weeks."""
        fake, _ = server
        for at, quotes in _weeks():
            fake.move_to(Snapshot(at, quotes))
        rates = MemoryFeed(market_history(("EUR", "JPY"), days=30, start=date(2025, 2, 3)), "rates")
        feed = OandaFeed(client_of(*server), currencies=("EUR", "JPY"), rates=rates, days=40, clock=lambda: fake.at)
        yield feed
        feed.close()


def _weeks() -> Iterator[tuple[datetime, dict[Pair, Quote]]]:
    random = np.random.default_rng(5)
    at, euro, yen = datetime(2025, 2, 10, tzinfo=UTC), 1.05, 150.0
    while at < datetime(2025, 3, 8, tzinfo=UTC):
        euro, yen = euro * np.exp(random.normal(0, 0.001)), yen * np.exp(random.normal(0, 0.001))
        sides = {Pair("EUR", "USD"): (euro, 5), Pair("USD", "JPY"): (yen, 3)}
        quotes = {}
        for pair, (mid, digits) in sides.items():
            tick = Decimal(1).scaleb(-digits)
            bid = Decimal(repr(float(mid))).quantize(tick)
            quotes[pair] = Quote(bid, bid + 12 * tick, at)
        yield at, quotes
        at += timedelta(minutes=30)
