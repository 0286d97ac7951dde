"""A made-up Acme behind a real socket, and the suites on it: ``fxcarry conformance broker acme``. It needs pytest.

:class:`AcmeServer` writes what :class:`fxcarry.testing.FakeVenue` does in Acme's own words; keep it true to the
venue's documentation, because what the suites prove is that the broker and this server agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest

from fxcarry import MemoryFeed
from fxcarry.errors import BrokerUnavailable, DataError, OrderRejected
from fxcarry.market import MarketHistory
from fxcarry.model import Account, Order, Pair, Snapshot
from fxcarry.protocols import Broker, DataFeed
from fxcarry.secrets import Secret
from fxcarry.testing import BrokerSuite, FakeVenue, FeedSuite, Reply, Request, WireServer, market_history
from fxcarry_acme.broker import AcmeBroker
from fxcarry_acme.feed import AcmeFeed

ACCOUNT, TOKEN, VARIABLE = "fake", "only-for-tests", "ACME_TEST_TOKEN"


class AcmeServer:
    """One account and one history, served in its ``with`` block. ``venue`` and ``wire`` go wrong on command."""

    def __init__(self) -> None:
        self.venue = FakeVenue(takes_an_id_once=False)  # True where the venue takes a client id only once
        self.feed = MemoryFeed(market_history(["EUR", "JPY"], days=120))
        self.wire = WireServer(self.answer)

    def __enter__(self) -> AcmeServer:
        self.wire.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.wire.__exit__(*error)

    def answer(self, request: Request) -> Reply:
        """One call of the API."""
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply.json({"reason": "unknown token"}, 401)
        if request.path == "/v1/history":
            return Reply.json(self._history(request.query))
        home = f"/v1/accounts/{ACCOUNT}"
        if not request.path.startswith(home):
            return Reply.json({"reason": "no such account"}, 403)
        what, _, which = request.path.removeprefix(home).lstrip("/").partition("/")
        try:
            return Reply.json(_written(self._call(request, what, which)))
        except BrokerUnavailable as error:
            return Reply.json({"reason": error.message}, 503)
        except OrderRejected as error:
            return Reply.json({"reason": error.message}, 422)

    def _call(self, request: Request, what: str, which: str) -> Any:
        query = request.query
        match request.method, what:
            case "GET", "":
                return self._venue("account")
            case "GET", "positions":
                return list(self._venue("get_positions").values())
            case "GET", "orders" if "ids" in query:
                return list(self._venue("find_orders", query["ids"].split(",")).values())
            case "GET", "orders":
                return self._venue("get_orders")
            case "GET", "instruments":
                return list(self._venue("get_instruments", [Pair.parse(p) for p in query["pairs"].split(",")]).values())
            case "GET", "transactions":
                return self._venue("transactions", query.get("since"))
            case "POST", "orders":
                order = _ordered(request.json())
                return self._venue(f"place_{order.type}_order", order)
            case "PUT", "stops":
                price = request.json()["price"]
                return self._venue("set_stop", which, None if price is None else Decimal(price))
            case "DELETE", "orders":
                return self._venue("cancel_order", which)
            case "POST", "close-all":
                return self._venue("close_all_positions")
        raise OrderRejected(f"there is no {request.method} {request.path}")

    def _venue(self, method: str, *arguments: Any) -> Any:
        return self.venue.answer(method, arguments, self.venue.next_fault(method))

    def _history(self, query: Mapping[str, str]) -> Any:
        start, end = (datetime.fromisoformat(query[k]) if k in query else None for k in ("start", "end"))
        try:
            found = self.feed.history(start, end)
        except DataError:
            return {"times": []}
        return _written(found)


def _ordered(said: Mapping[str, Any]) -> Order:
    limit, stop = said["limit_price"], said["stop_fraction"]
    return Order(
        client_id=said["client_id"],
        instrument=said["instrument"],
        units=Decimal(said["units"]),
        type=said["type"],
        limit_price=None if limit is None else Decimal(limit),
        is_reducing=said["is_reducing"],
        stop_fraction=None if stop is None else float(stop),
    )


def _written(value: Any) -> Any:
    """Records as Acme writes them: every number of money, units or price as text."""
    if isinstance(value, list | tuple):
        return [_written(one) for one in value]
    if isinstance(value, Account):
        return {
            "id": value.id,
            "at": value.at.isoformat(),
            "currency": value.currency,
            "nav": str(value.nav),
            "balances": {currency: str(amount) for currency, amount in value.balances.items()},
            "positions": _written(list(value.positions.values())),
            "exposures": {c: str(Decimal(repr(w)) * value.nav) for c, w in value.current_weights.items()},
            "orders": _written(list(value.working_orders)),
            "margin_used": str(value.margin_used),
        }
    if isinstance(value, MarketHistory):
        return {
            "times": [str(at) for at in value.times],
            "currencies": list(value.currencies),
            "numeraire": value.numeraire,
            "spot": [[None if price != price else repr(price) for price in row] for row in value.spot.tolist()],
            "rates": {
                currency: {
                    "as_of": [str(at) for at in series.as_of],
                    "available_at": [str(at) for at in series.available_at],
                    "value": [repr(one) for one in series.value.tolist()],
                }
                for currency, series in value.rates.items()
            },
        }
    facts = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return {
        name: str(fact)
        if isinstance(fact, Decimal | Pair)
        else fact.isoformat()
        if hasattr(fact, "isoformat")
        else fact
        for name, fact in facts.items()
    }


class _MovedBroker(AcmeBroker):
    """The broker of the suite: the made-up market of the cases is the server's too."""

    def __init__(self, server: AcmeServer) -> None:
        super().__init__(url=server.wire.url, account=ACCOUNT, token=Secret("env", VARIABLE), timeout=1.0)
        self._venue = server.venue

    def sync(self, snapshot: Snapshot) -> Account:
        self._venue.sync(snapshot)
        return super().sync(snapshot)


class _Served:
    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[AcmeServer]:
        """A new server."""
        monkeypatch.setenv(VARIABLE, TOKEN)
        with AcmeServer() as server:
            yield server


class AcmeBrokerSuite(_Served, BrokerSuite):
    """The broker on a new account of the made-up Acme."""

    @pytest.fixture
    def broker(self, server: AcmeServer) -> Iterator[Broker]:
        """The broker, its market moved by the cases."""
        broker = _MovedBroker(server)
        yield broker
        broker.close()

    @pytest.fixture
    def unavailable(self, server: AcmeServer) -> Callable[[], AbstractContextManager[Any]]:
        """Nobody listens at the server's port."""
        return server.wire.refuse


class AcmeFeedSuite(_Served, FeedSuite):
    """The feed on the made-up Acme's history."""

    @pytest.fixture
    def feed(self, server: AcmeServer) -> Iterator[DataFeed]:
        """The feed."""
        feed = AcmeFeed(url=server.wire.url, token=Secret("env", VARIABLE), timeout=1.0)
        yield feed
        feed.close()
