"""A fake account behind a socket, and brokers on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from fxcarry.model import Account, Order, OrderResult, Pair, Quote, Snapshot
from fxcarry.testing import WireServer
from fxcarry_oanda.testing import FakeOanda
from fxcarry_oanda.testing.suites import TOKEN_VARIABLE, DrivenBroker, client_of

WEDNESDAY = datetime(2025, 3, 12, 13, tzinfo=UTC)


@attrs.define
class Desk:
    """A fake account, its server, a broker on it, and where the market is."""

    fake: FakeOanda
    server: WireServer
    broker: DrivenBroker
    at: datetime = WEDNESDAY

    def next(self, euro: str = "1.10000", *, after: timedelta = timedelta(minutes=1), yen: str = "150.000") -> Account:
        """The account when the market has moved on: EURUSD and USDJPY at these mids."""
        self.at += after
        return self.broker.sync(self.snapshot(euro, yen))

    def snapshot(self, euro: str = "1.10000", yen: str = "150.000") -> Snapshot:
        mids = {Pair("EUR", "USD"): (euro, "0.00010"), Pair("USD", "JPY"): (yen, "0.010")}
        quotes = {
            pair: Quote(Decimal(mid) - Decimal(half), Decimal(mid) + Decimal(half), self.at)
            for pair, (mid, half) in mids.items()
        }
        return Snapshot(self.at, quotes)

    def buy(self, units: int, client_id: str = "a", instrument: str = "EURUSD", **more: Any) -> OrderResult:
        order = Order(client_id=client_id, instrument=instrument, units=Decimal(units), **more)
        return self.broker.place_limit_order(order) if order.type == "limit" else self.broker.place_market_order(order)

    def held(self) -> dict[str, int]:
        """What the venue's own books say is held."""
        return {name: int(units) for name, units in self.fake.positions.items() if units}

    def posts(self, path: str = "/orders") -> int:
        """How many requests to change something there the server has received."""
        return sum(r.method in ("POST", "PUT") and path in r.path for r in self.server.requests)


MakeDesk = Callable[..., Desk]


@pytest.fixture
def soon() -> Callable[[Callable[[], Any]], Any]:
    """Waits until something holds; the last it said."""

    def wait(holds: Callable[[], Any]) -> Any:
        until = time.monotonic() + 5.0
        while not (found := holds()) and time.monotonic() < until:
            time.sleep(0.01)
        return found

    return wait


@pytest.fixture
def make_desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeDesk]:
    """Makes desks, each on an account of its own."""
    opened: list[Desk] = []

    def make(
        *,
        timeout: float = 10.0,
        is_hedging: bool = False,
        archive: Any = None,
        at: datetime = WEDNESDAY,
        **account: Any,
    ) -> Desk:
        fake = FakeOanda(is_hedging=is_hedging, **account)
        fake.streams.interval = 0.05
        monkeypatch.setenv(TOKEN_VARIABLE, fake.token)
        server = fake.serve().__enter__()
        server.retry_after = 0
        client = client_of(fake, server, timeout=timeout)
        desk = Desk(fake, server, DrivenBroker(fake, client, is_hedging=is_hedging, archive=archive), at)
        opened.append(desk)
        desk.broker.fake.move_to(desk.snapshot())
        desk.broker.connect()
        desk.next()
        return desk

    yield make
    for desk in opened:
        desk.broker.close()
        desk.server.__exit__(None, None, None)


@pytest.fixture
def desk(make_desk: MakeDesk, request: pytest.FixtureRequest) -> Desk:
    """A desk on a netting account in USD. It soon gives up in a test in which the server hangs, and in no other."""
    return make_desk(timeout=0.5 if "hangs" in request.node.name else 10.0)
