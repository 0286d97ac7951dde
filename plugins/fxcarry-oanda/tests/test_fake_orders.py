"""What the fake venue does with orders: fills, cancels, rejects, stops, what waits, and what it is told to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from plain_oanda import HOUR, Client, snapshot
from plain_oanda import client as client
from plain_oanda import fake as fake
from plain_oanda import serve as serve

from fxcarry.errors import ConfigError
from fxcarry_oanda.testing import FakeOanda

Serve = Callable[..., Client]
MINUTE = timedelta(minutes=1)


def kinds(fake: FakeOanda, after: int = 3) -> list[str]:
    return [record["type"] for record in fake.transactions[after:]]


# --- 201 is no fill --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "facts", "prepare"),
    [
        ("MARKET_HALTED", {}, lambda fake: fake.halted.add("EUR_USD")),
        ("MARKET_HALTED", {}, lambda fake: fake.move_to(snapshot(timedelta(days=3)))),  # Saturday
        ("INSUFFICIENT_MARGIN", {"units": "90000000"}, lambda fake: None),
        ("INSUFFICIENT_LIQUIDITY", {}, lambda fake: fake.liquidity.update(EUR_USD=999)),
        ("INSUFFICIENT_LIQUIDITY", {"timeInForce": "IOC"}, lambda fake: fake.liquidity.update(EUR_USD=0)),
        ("BOUNDS_VIOLATION", {"priceBound": "1.10009"}, lambda fake: None),
        ("BOUNDS_VIOLATION", {"units": "-1000", "priceBound": "1.09991"}, lambda fake: None),
        ("STOP_LOSS_ON_FILL_LOSS", {"stopLossOnFill": {"price": "1.0999"}}, lambda fake: None),
        ("STOP_LOSS_ON_FILL_LOSS", {"stopLossOnFill": {"distance": "0.0002"}}, lambda fake: None),
        ("POSITION_CLOSEOUT_FAILED", {"positionFill": "REDUCE_ONLY"}, lambda fake: None),
        ("ACCOUNT_LOCKED", {}, lambda fake: fake.next_order("cancelled", "ACCOUNT_LOCKED")),
    ],
)
def test_an_order_is_taken_and_cancelled(
    fake: FakeOanda, client: Client, reason: str, facts: dict[str, Any], prepare: Callable[[FakeOanda], Any]
) -> None:
    prepare(fake)
    told = client.order(**{"type": "MARKET", "instrument": "EUR_USD", "units": "1000", **facts})
    cancel = told["orderCancelTransaction"]
    assert cancel["reason"] == reason
    assert cancel["orderID"] == told["orderCreateTransaction"]["id"] == cancel["batchID"]
    assert "orderFillTransaction" not in told
    assert told["relatedTransactionIDs"] == ["4", "5"]
    assert (fake.positions, fake.orders[0]["state"]) == ({}, "CANCELLED")


def test_at_the_bound_it_is_dealt(fake: FakeOanda, client: Client) -> None:
    client.market("1000", priceBound="1.1001")
    assert fake.positions == {"EUR_USD": Decimal(1000)}


def test_open_only_against_a_position_is_cancelled_where_there_is_no_hedging(client: Client) -> None:
    client.market("1000")
    assert client.market("-1", positionFill="OPEN_ONLY")["orderCancelTransaction"]["reason"] == "FIFO_VIOLATION"


def test_the_younger_trade_cannot_be_closed_first_where_that_is_the_rule(serve: Serve) -> None:
    fake = FakeOanda(is_fifo=True)
    client = serve(fake)
    first, second = (client.market("100")["orderFillTransaction"]["id"] for _ in range(2))
    told = client.put(f"/trades/{second}/close")
    assert told["orderCancelTransaction"]["reason"] == "FIFO_VIOLATION"
    told = client.put(f"/trades/{first}/close")
    assert told["orderFillTransaction"]["reason"] == "MARKET_ORDER_TRADE_CLOSE"


# --- rejects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "facts"),
    [
        ("UNITS_INVALID", {"units": "0"}),
        ("UNITS_PRECISION_EXCEEDED", {"units": "10.5"}),
        ("UNITS_MIMIMUM_NOT_MET", {"units": "9"}),
        ("UNITS_LIMIT_EXCEEDED", {"units": "-100000001"}),
        ("TIME_IN_FORCE_INVALID", {"timeInForce": "GTC"}),
        ("PRICE_BOUND_INVALID", {"priceBound": "0"}),
        ("PRICE_BOUND_PRECISION_EXCEEDED", {"priceBound": "1.100001"}),
        ("ORDER_FILL_POSITION_ACTION_INVALID", {"positionFill": "SOMEHOW"}),
        ("CLIENT_ORDER_ID_INVALID", {"clientExtensions": {"id": "x" * 129}}),
        ("STOP_LOSS_ON_FILL_PRICE_PRECISION_EXCEEDED", {"stopLossOnFill": {"price": "1.000001"}}),
        ("STOP_LOSS_ON_FILL_DISTANCE_INVALID", {"stopLossOnFill": {"distance": "-0.1"}}),
        ("STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_MISSING", {"stopLossOnFill": {}}),
        ("STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_SPECIFIED", {"stopLossOnFill": {"price": "1", "distance": "1"}}),
        ("PRICE_MISSING", {"type": "LIMIT"}),
        ("PRICE_PRECISION_EXCEEDED", {"type": "LIMIT", "price": "1.000001"}),
        ("TIME_IN_FORCE_GTD_TIMESTAMP_MISSING", {"type": "LIMIT", "price": "1", "timeInForce": "GTD"}),
        (
            "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST",
            {"type": "LIMIT", "price": "1", "timeInForce": "GTD", "gtdTime": "2025-03-12T13:00:00Z"},
        ),
    ],
)
def test_an_order_is_rejected_with_a_transaction(
    fake: FakeOanda, client: Client, code: str, facts: dict[str, Any]
) -> None:
    fake.terms["EUR_USD"].minimum_units = Decimal(10)
    order = {"type": "MARKET", "instrument": "EUR_USD", "units": "1000", **facts}
    told = client.order(status=400, **order)
    assert (told["errorCode"], told["orderRejectTransaction"]["rejectReason"]) == (code, code)
    assert kinds(fake) == [f"{order['type']}_ORDER_REJECT"]
    assert (fake.orders, fake.positions, told["lastTransactionID"]) == ([], {}, "4")


def test_units_may_be_written_with_zeros_at_the_end(fake: FakeOanda, client: Client) -> None:
    client.market("10.0")
    assert fake.positions == {"EUR_USD": Decimal(10)}


def test_what_the_account_may_not_trade_is_rejected(fake: FakeOanda, client: Client) -> None:
    fake.terms["EUR_USD"].is_tradeable = False
    assert client.market("1", status=400)["errorCode"] == "INSTRUMENT_NOT_TRADEABLE"
    fake.terms["EUR_USD"].is_tradeable = True
    fake.next_order("rejected")
    assert client.market("1", status=400)["errorCode"] == "INSUFFICIENT_MARGIN"


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (None, "no order"),
        ({"type": "TRAILING"}, "order.type"),
        ({"type": "MARKET", "instrument": "XXX_YYY", "units": "1"}, "order.instrument"),
        ({"type": "MARKET", "instrument": "EUR_USD"}, "order.units"),
        ({"type": "MARKET", "instrument": "EUR_USD", "units": 1}, "order.units"),
        ({"type": "MARKET", "instrument": "EUR_USD", "units": "1e3"}, "order.units"),
        ({"type": "MARKET", "instrument": "EUR_USD", "units": "1", "wish": "1"}, "order.wish"),
        ({"type": "MARKET", "instrument": "EUR_USD", "units": "1", "stopLossOnFill": "1"}, "order.stopLossOnFill"),
        ({"type": "LIMIT", "instrument": "EUR_USD", "units": "1", "price": "1", "gtdTime": "soon"}, "order.gtdTime"),
        ({"type": "STOP_LOSS", "price": "1"}, "order.tradeID"),
    ],
)
def test_what_is_no_order_leaves_no_transaction(fake: FakeOanda, client: Client, order: Any, field: str) -> None:
    answer = client.call("POST", "/orders", {"order": order})
    assert (answer.status_code, kinds(fake)) == (400, [])
    assert field in answer.json()["errorMessage"]


# --- client ids ------------------------------------------------------------------------------------------------------


def test_a_client_id_is_no_key(fake: FakeOanda, client: Client) -> None:
    for _ in range(2):
        told = client.market("100", clientExtensions={"id": "same"})
        assert told["orderFillTransaction"]["clientOrderID"] == "same"
    assert fake.positions == {"EUR_USD": Decimal(200)}
    assert client.get("/orders/@same", status=404)["errorCode"] == "NO_SUCH_ORDER"  # only what waits is found by it
    assert client.get("/orders/4")["order"]["state"] == "FILLED"


# --- what waits ------------------------------------------------------------------------------------------------------


def test_a_limit_is_dealt_at_its_price_or_better(fake: FakeOanda, client: Client) -> None:
    client.limit("1000", "1.05", clientExtensions={"id": "low"})
    client.limit("-1000", "1.15")
    assert client.get("/orders/@low")["order"]["state"] == "PENDING"
    fake.move_to(snapshot(MINUTE, EURUSD="1.05"))  # the ask is 1.0501
    assert fake.positions == {}
    fake.move_to(snapshot(2 * MINUTE, EURUSD="1.04"))
    fill = fake.transactions[-1]
    assert (fill["reason"], fill["price"], fill["clientOrderID"]) == ("LIMIT_ORDER", "1.04010", "low")
    fake.move_to(snapshot(3 * MINUTE, EURUSD="1.1502"))
    assert (fake.positions, fake.transactions[-1]["price"]) == ({}, "1.15010")


def test_a_limit_that_is_reached_is_dealt_at_once(client: Client) -> None:
    assert client.limit("1000", "1.2")["orderFillTransaction"]["price"] == "1.10010"
    told = client.limit("1000", "1.0", timeInForce="FOK")
    assert told["orderCancelTransaction"]["reason"] == "TIME_IN_FORCE_EXPIRED"


def test_good_till_date_and_good_for_the_day_end(fake: FakeOanda, client: Client) -> None:
    client.limit("1", "1.05", timeInForce="GTD", gtdTime="2025-03-12T15:00:00.000000000Z")
    client.limit("2", "1.05", timeInForce="GFD")
    client.limit("3", "1.05")
    fake.move_to(snapshot(10 * HOUR, EURUSD="1.0"))  # past both, and far below all three
    cancels = [(r["orderID"], r["time"][11:16]) for r in fake.transactions if r["type"] == "ORDER_CANCEL"]
    assert cancels == [("4", "15:00"), ("5", "21:00")]
    assert fake.positions == {"EUR_USD": Decimal(3)}


def test_an_order_that_waits_is_cancelled_once(fake: FakeOanda, client: Client) -> None:
    client.limit("1000", "1.05", clientExtensions={"id": "a"})
    assert client.put("/orders/@a/cancel")["orderCancelTransaction"]["reason"] == "CLIENT_REQUEST"
    for name in ("@a", "4"):
        told = client.put(f"/orders/{name}/cancel", status=404)
        assert told["errorCode"] == "ORDER_DOESNT_EXIST"
    fake.move_to(snapshot(MINUTE, EURUSD="1.0"))
    assert fake.positions == {}
    assert client.get("/orders")["orders"] == [] == client.get("/pendingOrders")["orders"]
    assert [o["state"] for o in client.get("/orders", state="ALL")["orders"]] == ["CANCELLED"]


def test_a_limit_waits_until_there_is_enough(fake: FakeOanda, client: Client) -> None:
    fake.liquidity["EUR_USD"] = 10
    client.limit("1000", "1.2")
    assert fake.positions == {}
    del fake.liquidity["EUR_USD"]
    fake.move_to(snapshot(MINUTE))
    assert fake.positions == {"EUR_USD": Decimal(1000)}


# --- stops -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("units", "stop", "near", "through", "price"), [
    ("1000", "1.05", "1.0502", "1.02", "1.01990"),
    ("-1000", "1.15", "1.1498", "1.18", "1.18010"),
])  # fmt: skip
def test_a_stop_on_fill_is_dealt_at_the_quote_that_went_through(
    fake: FakeOanda, client: Client, units: str, stop: str, near: str, through: str, price: str
) -> None:
    told = client.market(units, stopLossOnFill={"price": stop, "clientExtensions": {"id": "mine"}})
    trade = told["orderFillTransaction"]["tradeOpened"]["tradeID"]
    shown = client.get(f"/trades/{trade}")["trade"]["stopLossOrder"]
    assert (shown["price"], shown["tradeID"], shown["state"]) == (stop, trade, "PENDING")
    fake.move_to(snapshot(MINUTE, EURUSD=near))
    assert fake.positions == {"EUR_USD": Decimal(units)}
    fake.move_to(snapshot(2 * MINUTE, EURUSD=through))
    fill = fake.transactions[-1]
    assert (fake.positions, fill["reason"], fill["price"]) == ({}, "STOP_LOSS_ORDER", price)
    assert (fill["clientOrderID"], fill["orderID"]) == ("mine", shown["id"])


def test_a_distance_is_measured_from_the_fill(fake: FakeOanda, client: Client) -> None:
    client.market("1000", stopLossOnFill={"distance": "0.05"})
    assert fake.orders[-1]["price"] == "1.05010"
    client.market("-1000", "USD_JPY", stopLossOnFill={"distance": "2.5"})
    assert fake.orders[-1]["price"] == "152.490"  # 149.99 + 2.5


def test_a_stop_is_set_replaced_and_removed(fake: FakeOanda, client: Client) -> None:
    trade = client.market("1000")["orderFillTransaction"]["id"]
    one = client.put(f"/trades/{trade}/orders", {"stopLoss": {"price": "1.05"}})["stopLossOrderTransaction"]
    told = client.put(f"/trades/{trade}/orders", {"stopLoss": {"price": "1.06"}})
    cancel, two = told["stopLossOrderCancelTransaction"], told["stopLossOrderTransaction"]
    assert (cancel["orderID"], cancel["reason"]) == (one["id"], "CLIENT_REQUEST_REPLACED")
    assert (cancel["replacedByOrderID"], two["replacesOrderID"]) == (two["id"], one["id"])
    assert (two["reason"], two["cancellingTransactionID"]) == ("REPLACEMENT", cancel["id"])
    assert [o["id"] for o in client.get("/orders")["orders"]] == [two["id"]]
    told = client.order(type="STOP_LOSS", tradeID=trade, price="1.04", status=400)
    assert told["errorCode"] == "STOP_LOSS_ORDER_ALREADY_EXISTS"
    told = client.put(f"/trades/{trade}/orders", {"stopLoss": None})
    assert told["stopLossOrderCancelTransaction"]["reason"] == "CLIENT_REQUEST"
    client.put(f"/trades/{trade}/orders", {"stopLoss": None}, status=404)
    client.put("/trades/999/orders", {"stopLoss": None}, status=404)
    client.put(f"/trades/{trade}/orders", {"stopLoss": {"price": 1.05}}, status=400)
    told = client.put(f"/trades/{trade}/orders", {"stopLoss": {"price": "1.050001"}}, status=400)
    assert told["stopLossOrderRejectTransaction"]["rejectReason"] == "PRICE_PRECISION_EXCEEDED"
    client.order(type="STOP_LOSS", tradeID=trade, price="1.04")
    assert client.order(type="STOP_LOSS", tradeID="999", price="1", status=404)["errorCode"] == "TRADE_DOESNT_EXIST"


def test_a_stop_beyond_the_market_is_dealt_at_once(fake: FakeOanda, client: Client) -> None:
    trade = client.market("1000")["orderFillTransaction"]["id"]
    told = client.put(f"/trades/{trade}/orders", {"stopLoss": {"price": "1.2"}})
    assert told["stopLossOrderFillTransaction"]["price"] == "1.09990"
    assert fake.positions == {}


def test_the_stop_goes_with_its_trade(fake: FakeOanda, client: Client) -> None:
    client.market("1000", stopLossOnFill={"price": "1.05"})
    client.market("-1000")
    assert fake.transactions[-1]["reason"] == "LINKED_TRADE_CLOSED"
    client.market("1000")
    fake.move_to(snapshot(MINUTE, EURUSD="1.0"))
    assert fake.positions == {"EUR_USD": Decimal(1000)}


def test_a_stop_of_a_trade_that_was_reduced_closes_what_is_left(fake: FakeOanda, client: Client) -> None:
    client.market("1000", stopLossOnFill={"price": "1.05"})
    client.market("-400")
    fake.move_to(snapshot(MINUTE, EURUSD="1.0"))
    assert (fake.transactions[-1]["units"], fake.positions) == ("-600", {})


def test_stops_wait_for_the_market_to_open(fake: FakeOanda, client: Client) -> None:
    client.market("1000", stopLossOnFill={"price": "1.05"})
    fake.move_to(snapshot(timedelta(days=3), EURUSD="1.0"))  # Saturday
    assert fake.positions != {}
    fake.move_to(snapshot(timedelta(days=5), EURUSD="0.99"))  # Monday
    assert (fake.positions, fake.transactions[-1]["price"]) == ({}, "0.98990")


# --- closing ---------------------------------------------------------------------------------------------------------


def test_only_the_side_that_is_there_is_closed(fake: FakeOanda, client: Client) -> None:
    client.market("1000")
    told = client.put("/positions/EUR_USD/close", {"shortUnits": "ALL"}, status=400)
    assert told["shortOrderRejectTransaction"]["rejectReason"] == "CLOSEOUT_POSITION_DOESNT_EXIST"
    told = client.put("/positions/EUR_USD/close", {"longUnits": "300", "longClientExtensions": {"id": "c"}})
    assert told["longOrderFillTransaction"]["clientOrderID"] == "c"
    assert fake.positions == {"EUR_USD": Decimal(700)}
    client.put("/positions/EUR_USD/close", {"longUnits": "701"}, status=400)
    client.put("/positions/EUR_USD/close", {"longUnits": "some"}, status=400)
    told = client.put("/positions/EUR_USD/close", {"longUnits": "ALL"})
    assert told["longOrderFillTransaction"]["reason"] == "MARKET_ORDER_POSITION_CLOSEOUT"
    told = client.put("/positions/EUR_USD/close", {"longUnits": "ALL"}, status=404)
    assert told["errorCode"] == "CLOSEOUT_POSITION_DOESNT_EXIST"


def test_closing_in_a_halted_market_is_a_cancel(fake: FakeOanda, client: Client) -> None:
    client.market("1000")
    fake.halted.add("EUR_USD")
    told = client.put("/positions/EUR_USD/close", {"longUnits": "ALL"})
    assert told["longOrderCancelTransaction"]["reason"] == "MARKET_HALTED"
    assert fake.positions == {"EUR_USD": Decimal(1000)}


# --- scripted --------------------------------------------------------------------------------------------------------


def test_immediate_or_cancel_takes_what_there_is(fake: FakeOanda, client: Client) -> None:
    fake.next_order("partial")
    told = client.market("1001", timeInForce="IOC")
    fill, cancel = told["orderFillTransaction"], told["orderCancelTransaction"]
    assert (fill["units"], fill["requestedUnits"], cancel["reason"]) == ("500", "1001", "INSUFFICIENT_LIQUIDITY")
    assert (fake.positions, fake.orders[0]["state"]) == ({"EUR_USD": Decimal(500)}, "CANCELLED")
    fake.next_order("partial")
    assert "orderFillTransaction" not in client.market("1000")  # fill or kill


def test_an_order_may_be_dealt_later(fake: FakeOanda, client: Client) -> None:
    fake.next_order("fills-late")
    told = client.market("1000", clientExtensions={"id": "late"})
    assert told.keys() == {"orderCreateTransaction", "relatedTransactionIDs", "lastTransactionID"}
    assert (fake.positions, client.get("/orders/@late")["order"]["state"]) == ({}, "PENDING")
    fake.move_to(snapshot(MINUTE, EURUSD="1.2"))
    assert fake.positions == {"EUR_USD": Decimal(1000)}
    assert fake.transactions[-1]["price"] == "1.20010"


def test_an_order_may_arrive_later(fake: FakeOanda, client: Client) -> None:
    fake.next_order("arrives-late")
    answer = client.call("POST", "/orders", {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}})
    assert (answer.status_code, kinds(fake)) == (504, [])
    fake.move_to(snapshot(MINUTE))
    assert kinds(fake) == ["MARKET_ORDER", "ORDER_FILL"]


def test_what_is_no_happening_is_refused(fake: FakeOanda) -> None:
    with pytest.raises(ConfigError, match="'explodes' is no happening"):
        fake.next_order("explodes")  # type: ignore[arg-type]


def test_after_a_restart_the_account_is_as_it_was(fake: FakeOanda, client: Client) -> None:
    client.market("1000")
    before = fake.transactions
    fake.next_order("rejected")
    fake.restart()
    assert (fake.transactions, fake.positions) == (before, {"EUR_USD": Decimal(1000)})
    client.market("1000")


def test_money_comes_and_goes(fake: FakeOanda, client: Client) -> None:
    fake.transfer("-250.5")
    assert (fake.balance, fake.transactions[-1]["amount"]) == (Decimal("999749.5"), "-250.5")
