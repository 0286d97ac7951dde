"""What the account's own transactions say of orders and of money; transactions by hand, as the API states them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from fxcarry.errors import BrokerUnavailable, ConfigError
from fxcarry.model import OrderStatus
from fxcarry_oanda.log import Log, Orders, booked

WEDNESDAY = "2025-03-12T21:00:00.000000000Z"


def placed(number: int, client_id: str = "a", units: str = "1000", kind: str = "MARKET_ORDER") -> dict[str, Any]:
    extensions = {"id": client_id} if client_id else {}
    return one(number, kind, instrument="EUR_USD", units=units, clientExtensions=extensions)


def filled(number: int, order: int, units: str = "1000", price: str = "1.10011", **more: Any) -> dict[str, Any]:
    facts = {"orderID": str(order), "instrument": "EUR_USD", "units": units, "price": price, "reason": "MARKET_ORDER"}
    return one(number, "ORDER_FILL", **{"pl": "0.0000", "financing": "0.0000", "commission": "0.0000", **facts, **more})


def cancelled(number: int, order: int, reason: str) -> dict[str, Any]:
    return one(number, "ORDER_CANCEL", orderID=str(order), reason=reason)


def one(number: int, kind: str, **facts: Any) -> dict[str, Any]:
    return {"id": str(number), "type": kind, "time": "2025-03-12T13:00:00.000000000Z", **facts}


# -- orders ----------------------------------------------------------------------------------------------------------


def test_a_created_order_is_not_a_filled_one() -> None:
    result = Orders([placed(7)]).result("a")
    assert result is not None
    assert (result.status, result.filled_units, result.price) == (OrderStatus.WORKING, 0, None)


def test_a_fill_is_one_at_its_price() -> None:
    result = Orders([placed(7), filled(8, 7)]).result("a")
    assert result is not None
    assert (result.status, result.filled_units) == (OrderStatus.FILLED, 1000)
    assert result.price == Decimal("1.10011")
    assert result.instrument == "EURUSD"


@pytest.mark.parametrize("reason", ["MARKET_HALTED", "INSUFFICIENT_LIQUIDITY", "BOUNDS_VIOLATION", "CLIENT_REQUEST"])
def test_a_201_that_is_a_cancel_is_cancelled(reason: str) -> None:
    result = Orders([placed(7), cancelled(8, 7, reason)]).result("a")
    assert result is not None
    assert (result.status, result.filled_units, result.reason) == (OrderStatus.CANCELLED, 0, reason)


@pytest.mark.parametrize("reason", ["INSUFFICIENT_MARGIN", "FIFO_VIOLATION", "ACCOUNT_LOCKED", "SOMETHING_NEW"])
def test_a_cancel_that_would_come_again_is_a_refusal(reason: str) -> None:
    result = Orders([placed(7), cancelled(8, 7, reason)]).result("a")
    assert result is not None
    assert (result.status, result.reason) == (OrderStatus.REJECTED, reason)


def test_a_reject_is_found_by_its_client_id() -> None:
    told = placed(7, kind="MARKET_ORDER_REJECT") | {"rejectReason": "UNITS_LIMIT_EXCEEDED"}
    result = Orders([told]).result("a")
    assert result is not None
    assert (result.status, result.reason) == (OrderStatus.REJECTED, "UNITS_LIMIT_EXCEEDED")


def test_a_part_then_a_cancel_keeps_the_part() -> None:
    orders = Orders([placed(7), filled(8, 7, "400"), cancelled(9, 7, "INSUFFICIENT_LIQUIDITY")])
    result = orders.result("a")
    assert result is not None
    assert (result.status, result.filled_units) == (OrderStatus.CANCELLED, 400)


def test_a_limit_order_is_partial_until_it_is_whole() -> None:
    limit = {"reason": "LIMIT_ORDER"}
    told = [placed(7, kind="LIMIT_ORDER"), filled(8, 7, "400", "1.1", **limit), filled(9, 7, "600", "1.2", **limit)]
    some, whole = Orders(told[:2]).result("a"), Orders(told).result("a")
    assert some is not None
    assert whole is not None
    assert (some.status, some.filled_units) == (OrderStatus.PARTIAL, 400)
    assert (whole.status, whole.filled_units, whole.price) == (OrderStatus.FILLED, 1000, Decimal("1.16"))


def test_one_client_id_on_two_orders_is_both() -> None:
    result = Orders([placed(7), filled(8, 7), placed(9), filled(10, 9, price="1.20011")]).result("a")
    assert result is not None
    assert (result.status, result.filled_units, result.price) == (OrderStatus.FILLED, 2000, Decimal("1.15011"))


def test_an_order_from_before_the_log_is_known_by_its_fill() -> None:
    result = Orders([filled(8, 3, clientOrderID="old")]).result("old")
    assert result is not None
    assert (result.status, result.filled_units) == (OrderStatus.FILLED, 1000)


def test_stops_and_orders_of_others_are_nobodys() -> None:
    orders = Orders([one(7, "STOP_LOSS_ORDER", tradeID="5"), filled(8, 7), placed(9, ""), cancelled(10, 99, "X")])
    assert orders.result("") is None
    assert orders.result("7") is None


# -- money -----------------------------------------------------------------------------------------------------------


def bookings(told: Mapping[str, Any]) -> list[Any]:
    return list(booked(told, "USD", lambda instrument, weekday: {2: 3}.get(weekday, 1)))


def test_a_fill_books_its_profit_commission_fee_and_financing_apart() -> None:
    told = filled(
        8,
        7,
        "-1000",
        pl="-12.3456",
        commission="0.50",
        guaranteedExecutionFee="0.25",
        financing="-0.0345",
        clientOrderID="a",
        fullVWAP="1.10009",
        fullPrice={"bids": [{"price": "1.10009"}], "asks": [{"price": "1.10021"}]},
        gainQuoteHomeConversionFactor="0.995",
        lossQuoteHomeConversionFactor="1.005",
    )
    fill, commission, fee, financing = bookings(told)
    assert (fill.id, fill.kind, fill.amount, fill.units) == ("8", "fill", Decimal("-12.3456"), -1000)
    assert (fill.price, fill.mid, fill.conversion) == (Decimal("1.10009"), Decimal("1.10015"), 1)
    assert (commission.id, commission.kind, commission.amount) == ("8/commission", "commission", Decimal("-0.50"))
    assert (fee.id, fee.kind, fee.amount) == ("8/guaranteedExecutionFee", "fee", Decimal("-0.25"))
    assert (financing.id, financing.kind, financing.amount) == ("8/financing", "financing", Decimal("-0.0345"))
    assert financing.trade_date == date(2025, 3, 12)
    assert {t.currency for t in (fill, commission, fee, financing)} == {"USD"}


def test_daily_financing_is_booked_by_instrument_for_the_day_that_ended() -> None:
    told = one(
        9,
        "DAILY_FINANCING",
        financing="-2.5000",
        positionFinancings=[
            {"instrument": "EUR_USD", "financing": "1.2000"},
            {"instrument": "USD_JPY", "financing": "-3.6500"},
        ],
    ) | {"time": WEDNESDAY}
    first, second, rest = bookings(told)
    assert (first.id, first.instrument, first.amount) == ("9", "EURUSD", Decimal("1.2000"))
    assert (second.id, second.instrument, second.amount) == ("9/1", "USDJPY", Decimal("-3.6500"))
    assert (rest.id, rest.amount) == ("9/rest", Decimal("-0.0500"))
    assert {t.trade_date for t in (first, second, rest)} == {date(2025, 3, 12)}
    assert (first.days, second.days) == (3, 3)


@pytest.mark.parametrize(
    ("reason", "begin"),
    [
        ("STOP_LOSS_ORDER", "stop-EURUSD-7"),
        ("TRAILING_STOP_LOSS_ORDER", "stop-EURUSD-7"),
        ("MARKET_ORDER_MARGIN_CLOSEOUT", "margin-close-out-EURUSD-7"),
        ("MARKET_ORDER_TRADE_CLOSE", ""),
    ],
)
def test_what_the_venue_did_of_its_own_accord_is_seen(reason: str, begin: str) -> None:
    assert bookings(filled(8, 7, reason=reason))[0].client_id == begin


def test_transfers_and_adjustments_are_cash() -> None:
    [transfer] = bookings(one(3, "TRANSFER_FUNDS", amount="-250.00"))
    assert (transfer.kind, transfer.amount) == ("transfer", Decimal("-250.00"))
    [fee] = bookings(one(4, "DIVIDEND_ADJUSTMENT", instrument="EUR_USD", dividendAdjustment="-0.10"))
    assert (fee.kind, fee.amount) == ("fee", Decimal("-0.10"))
    assert bookings(placed(7)) == bookings(cancelled(8, 7, "X")) == []


# -- the log ---------------------------------------------------------------------------------------------------------


class Account:
    """The two calls a log makes, on a list of transactions; ``most`` are given at once."""

    def __init__(self, count: int = 0, most: int = 1000) -> None:
        self.told = [one(n, "TRANSFER_FUNDS", amount=str(n)) for n in range(1, count + 1)]
        self.most = most
        self.asked: list[str] = []
        self.claims: int | None = None

    def read(self, path: str, params: Mapping[str, str]) -> tuple[Mapping[str, Any], datetime | None]:
        self.asked.append(f"{path} {params}")
        if path.endswith("idrange"):
            found = [t for t in self.told if int(params["from"]) <= int(t["id"]) <= int(params["to"])]
        else:
            found = [t for t in self.told if int(t["id"]) > int(params["id"])][: self.most]
        return {"transactions": found, "lastTransactionID": str(self.claims or len(self.told))}, None


def log_of(account: Any, last: int = 0) -> Log:
    log = Log(account, lambda instrument, weekday: 1)
    log.open("USD", last)
    return log


def test_a_log_reads_each_transaction_once() -> None:
    account = Account(3)
    log = log_of(account, 3)
    account.told += [one(4, "TRANSFER_FUNDS", amount="4"), one(5, "TRANSFER_FUNDS", amount="5")]
    log.catch_up()
    log.catch_up()
    log.hear(account.told[-1])
    assert [t.id for t in log.after("3")] == ["4", "5"]
    assert log.last == 5


def test_a_log_reads_on_until_it_is_at_the_end() -> None:
    account = Account(25, most=10)
    log = log_of(account)
    log.catch_up()
    assert (log.last, len(account.asked)) == (25, 3)


def test_a_log_that_is_not_complete_is_not_taken_for_one() -> None:
    account = Account(3)
    log = log_of(account)
    account.claims = 9
    with pytest.raises(BrokerUnavailable, match="ends at 3, its last transaction is 9"):
        log.catch_up()


def test_what_came_before_the_log_is_read_when_it_is_asked_for() -> None:
    account = Account(1200)
    log = log_of(account, 1200)
    assert log.after(None)[0].id == "1"
    assert len(log.after(None)) == 1200
    assert len(account.asked) == 3  # 500 at once, and once only
    assert [t.id for t in log.after("1198")] == ["1199", "1200"]


def test_after_a_part_of_a_transaction_come_its_other_parts() -> None:
    account = Account()
    account.told = [
        one(1, "TRANSFER_FUNDS", amount="1"),
        filled(2, 1, commission="1", financing="-1"),
        one(3, "TRANSFER_FUNDS", amount="3"),
    ]
    log = log_of(account, 3)
    every = [t.id for t in log.after(None)]
    assert every == ["1", "2", "2/commission", "2/financing", "3"]
    for place, since in enumerate(every):
        assert [t.id for t in log.after(since)] == every[place + 1 :]


def test_a_stream_with_a_gap_is_filled_from_the_log() -> None:
    account = Account(2)
    log = log_of(account, 2)
    account.told += [one(n, "TRANSFER_FUNDS", amount=str(n)) for n in (3, 4, 5)]
    log.hear(account.told[2])
    assert account.asked == []
    log.hear(account.told[4])  # 4 was not heard
    assert [t.id for t in log.after("2")] == ["3", "4", "5"]
    log.hear(account.told[3])  # late
    assert [t.id for t in log.after("2")] == ["3", "4", "5"]


def test_a_heartbeat_tells_of_what_was_not_heard() -> None:
    account = Account(2)
    log = log_of(account, 2)
    log.hear({"type": "HEARTBEAT", "lastTransactionID": "2"})
    assert account.asked == []
    account.told.append(one(3, "TRANSFER_FUNDS", amount="3"))
    log.hear({"type": "HEARTBEAT", "lastTransactionID": "3"})
    assert [t.id for t in log.after("2")] == ["3"]


def test_a_log_that_was_not_opened_says_so() -> None:
    account: Any = Account(2)
    with pytest.raises(ConfigError, match=r"call connect\(\) first"):
        Log(account, lambda instrument, weekday: 1).catch_up()
