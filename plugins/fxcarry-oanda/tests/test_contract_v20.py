"""The fake venue against the official schema: Prism stands between a client and the fake, and checks both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import prism
import pytest
import requests

from fxcarry.model import Pair, Quote, Snapshot
from fxcarry_oanda.testing import FakeOanda
from fxcarry_oanda.testing.suites import TOKEN_VARIABLE, OandaBrokerSuite, OandaFeedSuite

SPEC = "oanda_v20_strict.json"
pytestmark = prism.needed(SPEC)

BEGIN = datetime(2025, 3, 12, 13, tzinfo=UTC)  # a Wednesday
QUOTES = {"EURUSD": "1.1", "USDJPY": "150", "GBPUSD": "1.3", "AUDUSD": "0.65"}


def snapshot(after: timedelta, **changed: str) -> Snapshot:
    """Quotes 2 in 10,000 wide around these levels."""
    quotes = {}
    for name, level in (QUOTES | changed).items():
        mid = Decimal(level)
        quotes[Pair.parse(name)] = Quote(mid * Decimal("0.9999"), mid * Decimal("1.0001"), BEGIN + after)
    return Snapshot(BEGIN + after, quotes)


class Client:
    """Talks to the fake through the proxy. ``good`` insists that neither side broke the contract."""

    def __init__(self, url: str, fake: FakeOanda) -> None:
        self.fake = fake
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {fake.token}"
        self.root = url
        self.url = f"{url}/v3/accounts/{fake.account_id}"

    def call(self, method: str, path: str, body: Any = None, **params: str) -> requests.Response:
        url = self.root + path if path.startswith("/v3") else self.url + path
        return self.session.request(method, url, params=params, json=body, timeout=20)

    def good(self, method: str, path: str, body: Any = None, *, status: int = 200, **params: str) -> Any:
        answer = self.call(method, path, body, **params)
        assert "sl-violations" not in answer.headers, answer.headers["sl-violations"]
        assert answer.status_code == status, answer.text
        assert answer.headers["RequestID"].isdigit()
        return answer.json()

    def order(self, *, status: int = 201, **facts: Any) -> Any:
        return self.good("POST", "/orders", {"order": facts}, status=status)

    def market(self, units: str, instrument: str = "EUR_USD", **facts: Any) -> Any:
        return self.order(type="MARKET", instrument=instrument, units=units, **facts)


def corrected(spec: dict[str, Any]) -> dict[str, Any]:
    """The schema without two slips of its own. It takes the id that a client gives its order for one of the venue's;
    and a null stop, which the text of the documentation says removes one, is not in it.
    """
    for name in ("OrderCancelTransaction", "OrderCancelRejectTransaction"):
        del spec["components"]["schemas"][name]["properties"]["clientOrderID"]["pattern"]
    orders = spec["paths"]["/v3/accounts/{accountID}/trades/{tradeSpecifier}/orders"]["put"]
    stop = orders["requestBody"]["content"]["application/json"]["schema"]["properties"]
    stop["stopLoss"] = {"nullable": True, "allOf": [stop["stopLoss"]]}
    return spec


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prism.Line]:
    with prism.line(corrected(prism.schema(SPEC)), tmp_path_factory.mktemp("spec"), FakeOanda()) as line:
        yield line


@pytest.fixture(scope="module")
def client(line: prism.Line) -> Client:
    line.fake.move_to(snapshot(timedelta(0)))
    return Client(line.url, line.fake)


def test_account(client: Client) -> None:
    assert [a["id"] for a in client.good("GET", "/v3/accounts")["accounts"]] == [client.fake.account_id]
    client.market("1000")
    client.order(type="LIMIT", instrument="EUR_USD", units="1000", price="0.9")
    assert client.good("GET", "")["account"]["openTradeCount"] == 1
    assert client.good("GET", "/summary")["account"]["pendingOrderCount"] == 1


def test_market(client: Client) -> None:
    assert len(client.good("GET", "/instruments")["instruments"]) == 68
    found = client.good("GET", "/instruments", instruments="EUR_USD,USD_JPY")["instruments"]
    assert [i["displayPrecision"] for i in found] == [5, 3]
    priced = client.good("GET", "/pricing", instruments="EUR_USD,EUR_JPY,USD_TRY", includeHomeConversions="true")
    assert [p["status"] for p in priced["prices"]] == ["tradeable", "tradeable", "invalid"]
    for prefix in ("", "/v3"):
        path = f"{prefix}/instruments/EUR_USD/candles"
        assert len(client.good("GET", path, granularity="D", price="MBA", count="5")["candles"]) == 1


def test_orders(client: Client) -> None:
    stop = {"price": "1.05"}
    told = client.market("1000", stopLossOnFill=stop, clientExtensions={"id": "fxc-1", "tag": "t", "comment": "c"})
    assert told["orderFillTransaction"]["tradeOpened"]["units"] == "1000"
    client.market("-400", timeInForce="IOC", positionFill="REDUCE_FIRST", priceBound="1.0")
    client.market("-3000", stopLossOnFill={"distance": "0.05"})
    assert client.market("1000", priceBound="1.0")["orderCancelTransaction"]["reason"] == "BOUNDS_VIOLATION"
    assert client.market("90000000")["orderCancelTransaction"]["reason"] == "INSUFFICIENT_MARGIN"
    client.order(type="LIMIT", instrument="USD_JPY", units="100", price="140", clientExtensions={"id": "wait"})
    client.order(
        type="LIMIT",
        instrument="USD_JPY",
        units="100",
        price="140.5",
        timeInForce="GTD",
        gtdTime="2025-03-13T00:00:00.000000000Z",
        clientExtensions={"id": "gtd"},
    )
    for state in ("PENDING", "FILLED", "CANCELLED", "ALL"):
        assert client.good("GET", "/orders", state=state)["orders"]
    assert len(client.good("GET", "/pendingOrders")["orders"]) >= 3
    assert client.good("GET", "/orders/@wait")["order"]["state"] == "PENDING"
    client.good("PUT", "/orders/@wait/cancel")
    client.good("GET", "/orders/@wait", status=404)
    told = client.good("PUT", "/orders/@wait/cancel", status=404)
    assert told["orderCancelRejectTransaction"]["clientOrderID"] == "wait"
    assert told["errorCode"] == "ORDER_DOESNT_EXIST" == told["orderCancelRejectTransaction"]["rejectReason"]
    told = client.good("PUT", "/orders/999/cancel", status=404)
    assert told["orderCancelRejectTransaction"]["orderID"] == "999"


@pytest.mark.parametrize(
    ("code", "facts"),
    [
        ("UNITS_INVALID", {"units": "0"}),
        ("UNITS_PRECISION_EXCEEDED", {"units": "1.5"}),
        ("UNITS_LIMIT_EXCEEDED", {"units": "100000001"}),
        ("PRICE_BOUND_PRECISION_EXCEEDED", {"units": "1", "priceBound": "1.123456"}),
        ("CLIENT_ORDER_ID_INVALID", {"units": "1", "clientExtensions": {"id": "x" * 129}}),
        ("STOP_LOSS_ON_FILL_PRICE_PRECISION_EXCEEDED", {"units": "1", "stopLossOnFill": {"price": "1.123456"}}),
    ],
)
def test_rejects(client: Client, code: str, facts: dict[str, Any]) -> None:
    told = client.order(type="MARKET", instrument="EUR_USD", status=400, **facts)
    assert told["errorCode"] == code == told["orderRejectTransaction"]["rejectReason"]


def test_refused_without_a_transaction(client: Client) -> None:
    last = client.good("GET", "/summary")["lastTransactionID"]
    told = client.order(type="MARKET", instrument="XXX_YYY", units="1", status=400)
    assert "orderRejectTransaction" not in told
    assert client.good("GET", "/summary")["lastTransactionID"] == last


def test_trades_and_positions(client: Client) -> None:
    trade = client.market("500", "AUD_USD")["orderFillTransaction"]["tradeOpened"]["tradeID"]
    client.good("PUT", f"/trades/{trade}/orders", {"stopLoss": {"price": "0.6", "timeInForce": "GTC"}})
    told = client.good("PUT", f"/trades/{trade}/orders", {"stopLoss": {"price": "0.61"}})
    assert {"stopLossOrderCancelTransaction", "stopLossOrderTransaction"} <= told.keys()
    told = client.good("PUT", f"/trades/{trade}/orders", {"stopLoss": {"price": "0.6123456"}}, status=400)
    assert told["stopLossOrderRejectTransaction"]["rejectReason"] == "PRICE_PRECISION_EXCEEDED"
    client.order(type="STOP_LOSS", tradeID=trade, price="0.6", status=400)
    assert client.good("GET", f"/trades/{trade}")["trade"]["stopLossOrder"]["price"] == "0.61"
    client.good("PUT", f"/trades/{trade}/close", {"units": "100"})
    client.good("PUT", f"/trades/{trade}/close", {"units": "1000"}, status=400)
    client.good("PUT", "/trades/99999/close", {"units": "ALL"}, status=404)
    assert client.good("GET", "/openTrades")["trades"][0]["currentUnits"] == "400"
    assert client.good("GET", "/openPositions")["positions"]
    client.good("PUT", "/positions/AUD_USD/close", {"shortUnits": "ALL"}, status=400)
    told = client.good("PUT", "/positions/AUD_USD/close", {"longUnits": "ALL"})
    assert told["longOrderFillTransaction"]["units"] == "-400"
    client.good("PUT", "/positions/AUD_USD/close", {"longUnits": "ALL"}, status=404)
    assert client.good("GET", "/positions/AUD_USD")["position"]["long"]["units"] == "0"
    client.good("GET", "/positions/NZD_USD", status=404)
    assert client.good("GET", "/positions")["positions"]
    for state in ("OPEN", "CLOSED", "ALL"):
        assert client.good("GET", "/trades", state=state)["trades"]
    client.good("GET", "/trades/99999", status=404)


def test_transactions(client: Client) -> None:
    client.fake.move_to(snapshot(timedelta(hours=30), EURUSD="1.2"))
    every = client.good("GET", "/transactions/sinceid", id="0")["transactions"]
    kinds = {record["type"] for record in every}
    assert {"CREATE", "TRANSFER_FUNDS", "MARKET_ORDER", "LIMIT_ORDER", "STOP_LOSS_ORDER", "ORDER_FILL"} <= kinds
    assert {"ORDER_CANCEL", "DAILY_FINANCING", "MARKET_ORDER_REJECT", "ORDER_CANCEL_REJECT"} <= kinds
    assert client.good("GET", "/transactions/idrange", **{"from": "1", "to": "3"})["transactions"] == every[:3]
    some = client.good("GET", "/transactions/idrange", **{"from": "1", "to": "500", "type": "DAILY_FINANCING"})
    assert len(some["transactions"]) == 1
    paged = client.good("GET", "/transactions", **{"from": "2025-01-01T00:00:00Z", "pageSize": "5"})
    assert len(paged["pages"]) == -(-len([r for r in every if r["time"] > "2025"]) // 5)
    client.good("GET", "/transactions", type="ORDER_FILL,DAILY_FINANCING")
    for record in every:
        assert client.good("GET", f"/transactions/{record['id']}")["transaction"] == record
    client.good("GET", "/transactions/99999", status=404)
    assert client.good("GET", "/changes", sinceTransactionID="3")["changes"]["tradesOpened"]


def test_times_in_seconds(client: Client) -> None:
    client.session.headers["Accept-Datetime-Format"] = "UNIX"
    try:
        told = client.good("GET", "/pricing", instruments="EUR_USD")
    finally:
        del client.session.headers["Accept-Datetime-Format"]
    assert told["time"] == f"{int(client.fake.at.timestamp())}.000000000"


def test_a_token_that_is_not_good(client: Client) -> None:
    client.session.headers["Authorization"] = "Bearer wrong"
    try:
        told = client.good("GET", "/summary", status=401)
    finally:
        client.session.headers["Authorization"] = f"Bearer {client.fake.token}"
    assert told == {"errorMessage": "Insufficient authorization to perform request."}


@pytest.mark.parametrize(
    "order",
    [
        {"type": "MARKET", "instrument": "EUR_USD", "units": 100},
        {"type": "MARKET", "instrument": "EUR_USD", "units": "100", "timeInForce": "GTC"},
        {"type": "LIMIT", "instrument": "EUR_USD", "units": "100"},
        {"type": "MARKET", "instrument": "EURUSD", "units": "100"},
        {"type": "MARKET", "instrument": "EUR_USD", "units": "100", "leverage": "3"},
        {"type": "STOP_LOSS", "price": "1.1"},
        {"type": "WISH", "instrument": "EUR_USD", "units": "100"},
    ],
)
def test_the_schema_and_the_fake_refuse_the_same_requests(
    client: Client, line: prism.Line, order: dict[str, Any]
) -> None:
    before = client.fake.positions
    answer = client.call("POST", "/orders", {"order": order})
    assert answer.status_code == 422, "the schema has nothing against it"
    assert answer.json()["validation"]
    direct = Client(line.server.url, client.fake).call("POST", "/orders", {"order": order})
    assert direct.status_code == 400
    assert client.fake.positions == before


@pytest.fixture
def noted(
    line: prism.Line, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[tuple[FakeOanda, prism.Line]]:
    """A new account behind the proxy; of what the plugin was answered, nothing may break the contract."""
    line.fake = FakeOanda()
    monkeypatch.setenv(TOKEN_VARIABLE, line.fake.token)
    answers = prism.heard(monkeypatch)
    yield line.fake, line
    case = request.node.name[5:8]
    assert answers or case in ("B01", "B02", "F01", "F02", "F09", "F12"), "nothing went through the proxy"
    assert [a.text for a in answers if a.status_code == 422 or "sl-violations" in a.headers] == []
    outage = {500} if case == "B19" else set()  # nobody listens behind the proxy
    assert {a.status_code for a in answers} - outage <= {200, 201, 400, 404}


class TestOandaBrokerBehindTheProxy(OandaBrokerSuite):
    """The broker passes its suite with the schema between it and the fake."""

    @pytest.fixture
    def server(self, noted: tuple[FakeOanda, Any]) -> tuple[FakeOanda, Any]:
        return noted

    @pytest.fixture
    def unavailable(self, line: prism.Line) -> Callable[[], AbstractContextManager[Any]]:
        return line.server.refuse


class TestOandaFeedBehindTheProxy(OandaFeedSuite):
    """And so does the feed."""

    @pytest.fixture
    def server(self, noted: tuple[FakeOanda, Any]) -> tuple[FakeOanda, Any]:
        return noted
