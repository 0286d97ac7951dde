"""The books of the fake venue by numbers worked out by hand: P&L, financing, margin, trades first in first out."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from plain_oanda import BEGIN, HOUR, Client, snapshot
from plain_oanda import client as client
from plain_oanda import fake as fake
from plain_oanda import serve as serve

from fxcarry.errors import ConfigError
from fxcarry.model import Pair, Quote, Snapshot
from fxcarry_oanda.testing import FakeOanda
from fxcarry_oanda.testing.market import closings, is_open, moment

Serve = Callable[..., Client]


def last(fake: FakeOanda, kind: str = "ORDER_FILL") -> dict[str, Any]:
    return [record for record in fake.transactions if record["type"] == kind][-1]


# --- P&L -------------------------------------------------------------------------------------------------------------


def test_a_pair_quoted_in_account_currency(fake: FakeOanda, client: Client) -> None:
    told = client.market("1000")["orderFillTransaction"]
    assert (told["price"], told["pl"], told["accountBalance"]) == ("1.10010", "0.0000", "1000000.0000")
    assert told["halfSpreadCost"] == "0.1000"
    fake.move_to(snapshot(HOUR, EURUSD="1.15"))
    assert fake.nav == Decimal("1000049.8000")  # 1000 × (1.1499 − 1.1001)
    told = client.market("-1000")["orderFillTransaction"]
    assert (told["price"], told["pl"], told["accountBalance"]) == ("1.14990", "49.8000", "1000049.8000")
    assert (fake.balance, fake.positions) == (Decimal("1000049.8"), {})


@pytest.mark.parametrize(
    ("level", "yen", "pl"), [("151.5", "14800.000", "97.2013"), ("148.5", "-15200.000", "-102.8687")]
)
def test_yen_are_converted_at_mid_less_the_fee(fake: FakeOanda, client: Client, level: str, yen: str, pl: str) -> None:
    """Bought at 150.01. +1.48 × 10,000 JPY at 0.0066006601 × 0.995, −1.52 × 10,000 at 0.0067340068 × 1.005.

    0.0066006601 is the mid of 1/151.51 and 1/151.49, 0.0067340068 that of 1/148.51 and 1/148.49. The first is
    14,800 × 0.0065676568 = 97.2013; the second −15,200 × 0.0067676768 = −102.8687.
    """
    client.market("10000", "USD_JPY")
    fake.move_to(snapshot(HOUR, USDJPY=level))
    told = client.market("-10000", "USD_JPY")["orderFillTransaction"]
    assert (told["quotePL"], told["pl"]) == (yen, pl)


def test_a_cross_nobody_quoted_is_dealt_across_the_dollar(serve: Serve) -> None:
    """EURGBP: bid 1.0999 / 1.3001 = 0.84601, ask 1.1001 / 1.2999 = 0.84630."""
    fake = FakeOanda(conversion_fee="0")
    client = serve(fake)
    told = client.market("1000", "EUR_GBP")["orderFillTransaction"]
    assert (told["price"], told["fullPrice"]["closeoutBid"]) == ("0.84630", "0.84601")
    fake.move_to(snapshot(HOUR, EURUSD="1.13"))  # bid 1.1299 / 1.3001 = 0.86909
    told = client.market("-1000", "EUR_GBP")["orderFillTransaction"]
    assert (told["quotePL"], told["gainQuoteHomeConversionFactor"]) == ("22.79000", "1.3000000000")
    assert told["pl"] == "29.6270"


def test_quotes_the_other_way_round_are_turned(fake: FakeOanda) -> None:
    at = BEGIN
    quotes = {Pair("USD", "EUR"): Quote(Decimal("0.9"), Decimal("0.91"), at)}
    fake.move_to(Snapshot(at, {**quotes, Pair("JPY", "USD"): Quote(Decimal("0.00665"), Decimal("0.00667"), at)}))
    with fake.serve() as server, Client(server.url, fake).session as session:
        client = Client(server.url, fake)
        client.session = session
        sides = {p["instrument"]: (p["closeoutBid"], p["closeoutAsk"]) for p in prices(client, "EUR_USD,USD_JPY")}
    assert sides == {"EUR_USD": ("1.09890", "1.11111"), "USD_JPY": ("149.925", "150.376")}


def prices(client: Client, names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/pricing", instruments=names)["prices"]
    return found


# --- trades ----------------------------------------------------------------------------------------------------------


def test_the_oldest_trade_goes_first(fake: FakeOanda, client: Client) -> None:
    """100 at 1.1001 and 200 at 1.2001; 150 sold at 1.2999: 100 × 0.1998 + 50 × 0.0998 = 19.98 + 4.99."""
    one = client.market("100")["orderFillTransaction"]["tradeOpened"]["tradeID"]
    fake.move_to(snapshot(HOUR, EURUSD="1.2"))
    two = client.market("200")["orderFillTransaction"]["tradeOpened"]["tradeID"]
    fake.move_to(snapshot(2 * HOUR, EURUSD="1.3"))
    told = client.market("-150")["orderFillTransaction"]
    (closed,), reduced = told["tradesClosed"], told["tradeReduced"]
    assert (closed["tradeID"], closed["units"], closed["realizedPL"]) == (one, "-100", "19.9800")
    assert (reduced["tradeID"], reduced["units"], reduced["realizedPL"]) == (two, "-50", "4.9900")
    assert told["pl"] == "24.9700"
    long = client.get("/openPositions")["positions"][0]["long"]
    assert (long["units"], long["averagePrice"], long["tradeIDs"]) == ("150", "1.20010", [two])
    assert client.get(f"/trades/{one}")["trade"]["averageClosePrice"] == "1.29990"


def test_through_zero_the_rest_is_a_new_trade(fake: FakeOanda, client: Client) -> None:
    client.market("100")
    told = client.market("-250")["orderFillTransaction"]
    assert (told["units"], told["tradesClosed"][0]["units"], told["tradeOpened"]["units"]) == ("-250", "-100", "-150")
    assert fake.positions == {"EUR_USD": Decimal(-150)}


def test_a_hedging_account_opens_both_sides_and_reduces_when_told(serve: Serve) -> None:
    fake = FakeOanda(is_hedging=True)
    client = serve(fake)
    client.market("100")
    client.market("-40")
    position = client.get("/positions/EUR_USD")["position"]
    assert (position["long"]["units"], position["short"]["units"]) == ("100", "-40")
    assert position["marginUsed"] == "3.6630"  # of the larger side: 100 × 1.1 × 0.0333
    client.market("-30", positionFill="REDUCE_FIRST")
    position = client.get("/positions/EUR_USD")["position"]
    assert (position["long"]["units"], position["short"]["units"]) == ("70", "-40")
    client.market("-500", positionFill="REDUCE_ONLY")
    assert fake.positions == {"EUR_USD": Decimal(-40)}
    assert client.get("/summary")["account"]["hedgingEnabled"] is True


# --- margin ----------------------------------------------------------------------------------------------------------


def test_margin_is_of_the_net_units_at_mid(serve: Serve) -> None:
    fake = FakeOanda(balance="4000")
    client = serve(fake)
    client.market("100000")
    account = client.get("/summary")["account"]
    assert (account["marginUsed"], account["positionValue"]) == ("3663.0000", "110000.0000")
    assert (account["unrealizedPL"], account["NAV"], account["marginAvailable"]) == (
        "-20.0000",
        "3980.0000",
        "317.0000",
    )
    assert account["marginCloseoutPercent"] == "0.46018"  # 3663 / 2 / 3980
    cancelled = client.market("9000")["orderCancelTransaction"]
    assert cancelled["reason"] == "INSUFFICIENT_MARGIN"  # 109,000 × 1.1 × 0.0333 = 3992.67 > 3980
    assert "orderFillTransaction" in client.market("8000")
    assert client.market("-200000")["orderFillTransaction"]["units"] == "-200000"


def test_everything_is_closed_where_nav_is_half_of_the_margin(serve: Serve) -> None:
    fake = FakeOanda(balance="4000")
    client = serve(fake)
    client.market("100000", stopLossOnFill={"price": "0.9"})
    fake.move_to(snapshot(HOUR, EURUSD="1.0785"))  # NAV 4000 − 2170 = 1830 > 3591.41 / 2
    assert fake.positions == {"EUR_USD": Decimal(100_000)}
    fake.move_to(snapshot(2 * HOUR, EURUSD="1.078"))  # NAV 1780 < 3589.74 / 2
    assert (fake.positions, fake.balance) == ({}, Decimal("1780.0000"))
    order, fill, cancel = fake.transactions[-3:]
    assert (order["reason"], fill["reason"], cancel["reason"]) == (
        "MARGIN_CLOSEOUT",
        "MARKET_ORDER_MARGIN_CLOSEOUT",
        "LINKED_TRADE_CLOSED",
    )


# --- financing -------------------------------------------------------------------------------------------------------


def test_daily_financing_of_a_week(fake: FakeOanda, client: Client) -> None:
    """10,000 EUR × −0.0365 / 365 = −1 EUR a day, at 1.1 × 1.005; three days on Wednesday."""
    fake.rates["EUR_USD"] = ("-0.0365", "0.0146")
    client.market("10000")
    fake.move_to(snapshot(8 * HOUR - timedelta(seconds=1)))
    assert last(fake)["type"] == fake.transactions[-1]["type"]  # nothing before 17:00
    fake.move_to(snapshot(timedelta(days=7)))
    rows = [record for record in fake.transactions if record["type"] == "DAILY_FINANCING"]
    assert [(r["time"][:16], r["financing"]) for r in rows] == [
        ("2025-03-12T21:00", "-3.3165"),
        ("2025-03-13T21:00", "-1.1055"),
        ("2025-03-14T21:00", "-1.1055"),
        ("2025-03-17T21:00", "-1.1055"),
        ("2025-03-18T21:00", "-1.1055"),
    ]
    assert rows[0]["accountFinancingMode"] == "DAILY"
    (position,) = rows[0]["positionFinancings"]
    assert Decimal(position["baseFinancing"]) == -3
    assert position["openTradeFinancings"][0]["financing"] == "-3.3165"
    assert fake.balance == Decimal("999992.2615") == Decimal(rows[-1]["accountBalance"])
    assert client.get("/summary")["account"]["financing"] == "-7.7385"


def test_the_short_side_has_its_own_rate_and_gain_is_less_the_fee(fake: FakeOanda, client: Client) -> None:
    fake.rates["EUR_USD"] = ("-0.0365", "0.0146")
    client.market("-10000")
    fake.move_to(snapshot(8 * HOUR, EURUSD="1.2"))  # at the price before: 1.1
    assert last(fake, "DAILY_FINANCING")["financing"] == "1.3134"  # 10,000 × 0.0146 × 3 / 365 × 1.0945


def test_financing_by_the_second_is_paid_daily_and_at_the_close(serve: Serve) -> None:
    """8 of 24 hours until 17:00, then 2 hours until the close: −1 EUR a day at 1.1055."""
    fake = FakeOanda(financing_mode="second-by-second")
    client = serve(fake)
    fake.rates["EUR_USD"] = ("-0.0365", "0.0146")
    client.market("10000")
    fake.move_to(snapshot(10 * HOUR))
    row = last(fake, "DAILY_FINANCING")
    assert (row["financing"], row["accountFinancingMode"]) == ("-0.3685", "SECOND_BY_SECOND")
    told = client.market("-10000")["orderFillTransaction"]
    assert (told["financing"], told["pl"]) == ("-0.0921", "-2.0000")
    assert fake.balance == Decimal("1000000") - Decimal("2.4606") == Decimal(told["accountBalance"])


def test_financing_at_17_new_york_follows_its_clock() -> None:
    winter, summer = BEGIN - timedelta(days=10), BEGIN
    assert [f"{at:%d %H}" for _, at in closings(winter, summer)][-4:] == ["08 22", "09 21", "10 21", "11 21"]


def test_the_week_ends_on_friday_and_begins_on_sunday_at_17_new_york() -> None:
    friday = BEGIN + timedelta(days=2, hours=8)
    tick = timedelta(seconds=1)
    assert [is_open(at) for at in (friday - tick, friday, friday + timedelta(days=1))] == [True, False, False]
    assert [is_open(friday + timedelta(days=2) + part) for part in (-tick, 0 * tick)] == [False, True]


@pytest.mark.parametrize("text", ["2025-03-12T13:00:00.250000000Z", "1741784400.25", "1741784400.250000000"])
def test_times_are_read_in_both_spellings(text: str) -> None:
    assert moment(text) == BEGIN + timedelta(milliseconds=250)


def test_a_time_without_a_zone_is_none() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        moment("2025-03-12T13:00:00")


def test_what_is_no_financing_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="no financing mode"):
        FakeOanda(financing_mode="weekly")  # type: ignore[arg-type]


# --- the whole -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"is_hedging": True}, {"financing_mode": "second-by-second"}])
def test_transactions_alone_give_the_balance_and_the_positions(serve: Serve, options: dict[str, Any]) -> None:
    """A random walk with orders, stops and closes; everything is worked out again from the log."""
    dice = random.Random(7)
    fake = FakeOanda(balance="100000", **options)
    client = serve(fake)
    level = {"EURUSD": 1.1, "USDJPY": 150.0, "GBPUSD": 1.3}
    for step in range(120):
        name = dice.choice(["EUR_USD", "USD_JPY", "GBP_JPY", "EUR_GBP"])
        units = str(dice.choice([-1, 1]) * dice.randint(1, 20_000))
        client.market(units, name, positionFill=dice.choice(["DEFAULT", "REDUCE_FIRST", "REDUCE_ONLY"]))
        if dice.random() < 0.3:
            trades = client.get("/openTrades")["trades"]
            if trades and trades[0]["instrument"] != "EUR_GBP":
                client.call("PUT", f"/trades/{trades[0]['id']}/orders", {"stopLoss": {"distance": "0.012"}})
        if dice.random() < 0.1 and fake.positions:
            held, side = dice.choice(sorted(fake.positions.items()))
            client.call("PUT", f"/positions/{held}/close", {"longUnits" if side > 0 else "shortUnits": "ALL"})
        level = {pair: mid * (1 + dice.gauss(0, 0.004)) for pair, mid in level.items()}
        fake.move_to(snapshot((step + 1) * 5 * HOUR, **{pair: f"{mid:.5f}" for pair, mid in level.items()}))

    balance = Decimal(0)
    held: dict[str, Decimal] = defaultdict(Decimal)
    open_units: dict[str, Decimal] = {}
    opened_at: dict[str, Decimal] = {}
    kinds = set()
    for record in fake.transactions:
        kinds.add(record["type"])
        for part in ("amount", "pl", "financing"):
            balance += Decimal(record.get(part, "0"))
        if "accountBalance" in record:
            assert Decimal(record["accountBalance"]) == balance, record
        if record["type"] == "ORDER_FILL":
            held[record["instrument"]] += Decimal(record["units"])
            gain, loss = record["gainQuoteHomeConversionFactor"], record["lossQuoteHomeConversionFactor"]
            parts = [*record.get("tradesClosed", []), *filter(None, [record.get("tradeReduced")])]
            for part in parts:
                moved = (Decimal(part["price"]) - opened_at[part["tradeID"]]) * -Decimal(part["units"])
                worth = moved * Decimal(gain if moved > 0 else loss)
                assert abs(worth - Decimal(part["realizedPL"])) <= Decimal("0.00005")
                open_units[part["tradeID"]] += Decimal(part["units"])
            if (part := record.get("tradeOpened")) is not None:
                open_units[part["tradeID"]] = Decimal(part["units"])
                opened_at[part["tradeID"]] = Decimal(part["price"])
            total = sum(Decimal(p["realizedPL"]) for p in parts)
            assert total == Decimal(record["pl"])
    assert {"ORDER_CANCEL", "STOP_LOSS_ORDER", "DAILY_FINANCING"} < kinds
    assert balance == fake.balance
    assert {name: units for name, units in held.items() if units} == fake.positions != {}
    assert {t["id"]: Decimal(t["currentUnits"]) for t in fake.trades} == open_units
    account = client.get("")["account"]
    assert Decimal(account["NAV"]) == balance + sum(Decimal(t["unrealizedPL"]) for t in account["trades"])
    assert Decimal(account["pl"]) + Decimal(account["financing"]) + 100_000 == balance
