"""What the tests of the fake OANDA share: quotes by level, and a client that speaks plain HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests

from fxcarry.model import Pair, Quote, Snapshot
from fxcarry_oanda.testing import FakeOanda

BEGIN = datetime(2025, 3, 12, 13, tzinfo=UTC)  # a Wednesday; 17:00 New York is 21:00
HOUR = timedelta(hours=1)
LEVELS = {"EURUSD": "1.1", "USDJPY": "150", "GBPUSD": "1.3"}


def snapshot(after: timedelta = timedelta(0), half_spread: str = "0.0001", **levels: str) -> Snapshot:
    """Quotes ``half_spread`` (in price; a hundred times that for JPY) around these mids, at BEGIN + ``after``."""
    quotes = {}
    for name, level in (LEVELS | levels).items():
        mid, half = Decimal(level), Decimal(half_spread) * (100 if name.endswith("JPY") else 1)
        quotes[Pair.parse(name)] = Quote(mid - half, mid + half, BEGIN + after)
    return Snapshot(BEGIN + after, quotes)


class Client:
    """Talks to a fake in plain HTTP."""

    def __init__(self, url: str, fake: FakeOanda) -> None:
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {fake.token}"
        self.root = url
        self.url = f"{url}/v3/accounts/{fake.account_id}"

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        url = self.root + path if path.startswith("/v3") else self.url + path
        return self.session.request(method, url, json=body, timeout=20, **options)

    def get(self, path: str, *, status: int = 200, **params: str) -> Any:
        answer = self.call("GET", path, params=params)
        assert answer.status_code == status, answer.text
        return answer.json()

    def put(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = self.call("PUT", path, body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def order(self, *, status: int = 201, **facts: Any) -> Any:
        answer = self.call("POST", "/orders", {"order": facts})
        assert answer.status_code == status, answer.text
        return answer.json()

    def market(self, units: str, instrument: str = "EUR_USD", *, status: int = 201, **facts: Any) -> Any:
        return self.order(type="MARKET", instrument=instrument, units=units, status=status, **facts)

    def limit(self, units: str, price: str, instrument: str = "EUR_USD", *, status: int = 201, **facts: Any) -> Any:
        return self.order(type="LIMIT", instrument=instrument, units=units, price=price, status=status, **facts)


@pytest.fixture
def serve() -> Iterator[Callable[..., Client]]:
    """Makes a client of a fake that is served, at the first snapshot."""
    with ExitStack() as stack:

        def served(fake: FakeOanda, **levels: str) -> Client:
            server = stack.enter_context(fake.serve())
            fake.move_to(snapshot(**levels))
            client = Client(server.url, fake)
            stack.enter_context(client.session)
            return client

        yield served


@pytest.fixture
def fake() -> FakeOanda:
    """An account that nets, in USD."""
    return FakeOanda()


@pytest.fixture
def client(fake: FakeOanda, serve: Callable[..., Client]) -> Client:
    """A client of that account."""
    return serve(fake)
