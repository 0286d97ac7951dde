"""Two clients that others wrote talk to the fake venue, and read in it what plain HTTP reads."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from plain_oanda import HOUR, Client, snapshot
from plain_oanda import client as client
from plain_oanda import fake as fake
from plain_oanda import serve as serve

from fxcarry_oanda.testing import FakeOanda

v20 = pytest.importorskip("v20")
oandapyV20 = pytest.importorskip("oandapyV20")
endpoints = pytest.importorskip("oandapyV20.endpoints")
for _name in ("accounts", "orders", "positions", "pricing", "trades", "transactions"):
    pytest.importorskip(f"oandapyV20.endpoints.{_name}")


@pytest.fixture
def official(fake: FakeOanda, client: Client) -> Iterator[Any]:
    """OANDA's own client."""
    address = urlsplit(client.root)
    context = v20.Context(
        address.hostname, address.port, ssl=False, token=fake.token, decimal_number_as_float=False, application="tests"
    )
    yield context
    context._session.close()


@pytest.fixture
def other(fake: FakeOanda, client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The client most people use."""
    hosts = {"api": client.root, "stream": client.root}
    monkeypatch.setitem(oandapyV20.oandapyV20.TRADING_ENVIRONMENTS, "practice", hosts)
    with oandapyV20.API(access_token=fake.token) as api:
        yield api


def test_the_official_client_trades_and_reads(fake: FakeOanda, client: Client, official: Any) -> None:
    told = official.order.market(
        fake.account_id,
        instrument="EUR_USD",
        units="1000",
        stopLossOnFill={"price": "1.05"},
        clientExtensions={"id": "a"},
    )
    assert told.status == 201
    fill = told.get("orderFillTransaction", 201)
    assert (fill.price, fill.tradeOpened.units, fill.clientOrderID) == ("1.10010", "1000", "a")
    assert official.order.limit(fake.account_id, instrument="USD_JPY", units="5", price="140").status == 201
    refused = official.order.market(fake.account_id, instrument="EUR_USD", units="1.5")
    assert (refused.status, refused.get("errorCode", 400)) == (400, "UNITS_PRECISION_EXCEEDED")
    fake.move_to(snapshot(33 * HOUR, EURUSD="1.2"))

    account = official.account.get(fake.account_id).get("account", 200)
    plain = client.get("")["account"]
    for name in ("balance", "NAV", "unrealizedPL", "marginUsed", "financing", "lastTransactionID"):
        assert str(getattr(account, name)) == plain[name], name
    assert [t.id for t in account.trades] == [t["id"] for t in plain["trades"]]
    assert [p.long.units for p in account.positions] == ["1000"]
    assert [o.type for o in account.orders] == ["STOP_LOSS", "LIMIT"]

    since = official.transaction.since(fake.account_id, id="3").get("transactions", 200)
    assert [(t.id, t.type) for t in since] == [(t["id"], t["type"]) for t in fake.transactions[3:]]
    (one, two) = [t for t in since if t.type == "DAILY_FINANCING"]
    assert Decimal(one.financing) + Decimal(two.financing) == Decimal(plain["financing"])
    assert one.positionFinancings[0].openTradeFinancings[0].financing == one.financing

    (price,) = official.pricing.get(fake.account_id, instruments="EUR_USD").get("prices", 200)
    assert (price.bids[0].price, price.asks[0].price, price.tradeable) == ("1.19990", "1.20010", True)
    found = official.account.instruments(fake.account_id, instruments="USD_JPY").get("instruments", 200)
    assert (found[0].displayPrecision, found[0].marginRate) == (3, "0.0333")
    candle = official.instrument.candles("EUR_USD", granularity="D", price="M").get("candles", 200)[0]
    assert candle.mid.c == client.get("/instruments/EUR_USD/candles", granularity="D")["candles"][0]["mid"]["c"]

    closed = official.position.close(fake.account_id, "EUR_USD", longUnits="ALL")
    assert closed.get("longOrderFillTransaction", 200).pl == "99.8000"
    assert fake.positions == {}


def test_the_official_client_hears_the_streams(fake: FakeOanda, client: Client, official: Any) -> None:
    fake.streams.interval = 0.02
    official.set_convert_decimal_number_to_native(False) if hasattr(
        official, "set_convert_decimal_number_to_native"
    ) else 0
    parts = official.pricing.stream(fake.account_id, instruments="EUR_USD").parts()
    kinds = [next(parts)[0] for _ in range(2)]
    assert kinds == ["pricing.ClientPrice", "pricing.PricingHeartbeat"]
    parts.close()
    heard = official.transaction.stream(fake.account_id).parts()
    kind, beat = next(heard)
    assert (kind, beat.lastTransactionID) == ("transaction.TransactionHeartbeat", "3")
    client.market("1")
    told = [part for _ in range(12) if (part := next(heard)[1]).type != "HEARTBEAT"]
    assert [(t.id, t.type) for t in told] == [("4", "MARKET_ORDER"), ("5", "ORDER_FILL")]
    heard.close()


def test_the_other_client_trades_and_reads(fake: FakeOanda, client: Client, other: Any) -> None:
    order = {"order": {"type": "MARKET", "instrument": "EUR_JPY", "units": "-2000", "timeInForce": "FOK"}}
    told = other.request(endpoints.orders.OrderCreate(fake.account_id, data=order))
    trade = told["orderFillTransaction"]["tradeOpened"]["tradeID"]
    stop = {"stopLoss": {"price": "170.000", "timeInForce": "GTC"}}
    other.request(endpoints.trades.TradeCRCDO(fake.account_id, tradeID=trade, data=stop))
    fake.move_to(snapshot(9 * HOUR))
    assert other.request(endpoints.accounts.AccountSummary(fake.account_id)) == client.get("/summary")
    assert other.request(endpoints.accounts.AccountDetails(fake.account_id)) == client.get("")
    assert other.request(endpoints.positions.OpenPositions(fake.account_id)) == client.get("/openPositions")
    assert other.request(endpoints.trades.OpenTrades(fake.account_id)) == client.get("/openTrades")
    assert other.request(endpoints.orders.OrdersPending(fake.account_id)) == client.get("/pendingOrders")
    told = other.request(endpoints.transactions.TransactionsSinceID(fake.account_id, params={"id": "1"}))
    assert told["transactions"] == fake.transactions[1:]
    told = other.request(endpoints.pricing.PricingInfo(fake.account_id, params={"instruments": "EUR_JPY"}))
    assert told == client.get("/pricing", instruments="EUR_JPY")
    other.request(endpoints.positions.PositionClose(fake.account_id, instrument="EUR_JPY", data={"shortUnits": "ALL"}))
    assert fake.positions == {}
    with pytest.raises(oandapyV20.exceptions.V20Error, match="CLOSEOUT_POSITION_DOESNT_EXIST") as refused:
        other.request(
            endpoints.positions.PositionClose(fake.account_id, instrument="EUR_JPY", data={"shortUnits": "ALL"})
        )
    assert refused.value.code == 404


def test_the_other_client_hears_the_streams(fake: FakeOanda, client: Client, other: Any) -> None:
    fake.streams.interval = 0.02
    lines = other.request(endpoints.pricing.PricingStream(fake.account_id, params={"instruments": "EUR_USD"}))
    assert [next(lines)["type"] for _ in range(2)] == ["PRICE", "HEARTBEAT"]
    lines.close()
