"""What the broker makes of an account: positions, stops, exposures, money; netting, hedging and FIFO."""

from __future__ import annotations

import csv
import logging
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fxcarry import plugins
from fxcarry.config import load_config
from fxcarry.errors import ConfigError, OrderRejected
from fxcarry.model import Order, OrderStatus, Pair
from fxcarry.protocols import Capability
from fxcarry_oanda import OandaBroker, OandaFeed


def raw(desk: Any, units: str, instrument: str = "EUR_USD", fill: str = "DEFAULT") -> None:
    """An order that was placed in another program."""
    body = {"type": "MARKET", "instrument": instrument, "units": units, "timeInForce": "FOK", "positionFill": fill}
    assert desk.broker._client.change("POST", "/orders", {"order": body})[0] == 201


def test_an_account_is_read_as_it_is_stated(desk: Any) -> None:
    desk.buy(100_000)
    desk.buy(-50_000, "yen", "USDJPY")
    desk.buy(700, "later", type="limit", limit_price=Decimal("1.05"))
    account = desk.next("1.11000")
    assert (account.id, account.currency) == (desk.fake.account_id, "USD")
    assert (account.nav, account.cash) == (desk.fake.nav, desk.fake.balance)
    assert account.positions["EURUSD"].units == 100_000
    assert account.positions["EURUSD"].average_price == Decimal("1.1001")
    assert account.positions["USDJPY"].units == -50_000
    assert account.working_orders == [
        Order(client_id="later", instrument="EURUSD", units=Decimal(700), type="limit", limit_price=Decimal("1.05000"))
    ]
    # 2 % of 100,000 EUR at mid, and of 50,000 USD at 4 %
    margin = sum(desk.fake._books.margin(name) for name in ("EUR_USD", "USD_JPY"))
    assert account.margin_used == margin
    # base at market, quote at cost: 100,000 EUR at 1.11; 50,000 USD sold for yen at 149.99, worth 1/150 each
    nav = float(account.nav)
    assert account.current_weights["EUR"] == pytest.approx(111_000 / nav, rel=1e-6)
    assert account.current_weights["JPY"] == pytest.approx(50_000 * 149.99 / 150 / nav, rel=1e-4)
    assert account.current_weights.keys() == {"EUR", "JPY"}


def test_an_account_in_another_currency_leaves_that_one_out(make_desk: Any) -> None:
    desk = make_desk(currency="EUR", conversion_fee="0")
    desk.buy(-110_000, "yen", "USDJPY")
    account = desk.next()
    assert account.currency == "EUR"
    nav = float(account.nav)
    # 110,000 USD at 1.1 USD a euro are 100,000 euro; the yen they were sold for are worth as much, less the spread
    assert account.current_weights["USD"] == pytest.approx(-100_000 / nav, rel=1e-6)
    assert account.current_weights["JPY"] == pytest.approx(100_000 * 149.99 / 150 / nav, rel=1e-6)
    assert account.current_weights.keys() == {"USD", "JPY"}
    assert {t.currency for t in desk.broker.transactions(None)} == {"EUR"}


def test_a_client_id_of_any_characters_is_one_address(desk: Any) -> None:
    odd = "a b c@d?e=f"
    desk.buy(700, odd, type="limit", limit_price=Decimal("1.05"))
    again = type(desk.broker)(desk.fake, desk.broker._client)
    again.connect()
    assert again.find_orders([odd])[odd].status is OrderStatus.WORKING
    assert desk.broker.cancel_order(odd).status is OrderStatus.CANCELLED


def test_financing_is_booked_by_instrument_and_adds_up(desk: Any) -> None:
    desk.buy(100_000)
    desk.buy(-50_000, "yen", "USDJPY")
    desk.next(after=timedelta(hours=9))  # over 17:00 New York of a Wednesday
    paid = [t for t in desk.broker.transactions(None) if t.kind == "financing"]
    assert [(t.instrument, t.trade_date) for t in paid] == [
        ("EURUSD", date(2025, 3, 12)),
        ("USDJPY", date(2025, 3, 12)),
    ]
    assert {t.days for t in paid} == {3}
    [told] = [t for t in desk.fake.transactions if t["type"] == "DAILY_FINANCING"]
    assert sum(t.amount for t in paid) == Decimal(told["financing"]) != 0
    total = sum((t.amount for t in desk.broker.transactions(None)), Decimal(0))
    assert total == desk.broker.get_account_balance() == desk.fake.balance


def test_an_account_charged_by_the_second_realises_financing_at_the_close(make_desk: Any) -> None:
    desk = make_desk(financing_mode="second-by-second")
    desk.buy(1_000_000)
    desk.next(after=timedelta(hours=3))
    desk.buy(-1_000_000, "close", is_reducing=True)
    *_, fill, financing = desk.broker.transactions(None)
    assert (fill.kind, financing.kind, financing.id) == ("fill", "financing", f"{fill.id}/financing")
    assert financing.amount < 0
    assert fill.amount + financing.amount == desk.fake.balance - 1_000_000


def test_adding_to_a_position_moves_every_stop_to_where_the_average_wants_it(desk: Any) -> None:
    desk.buy(1000, stop_fraction=0.05)
    desk.next("1.20000")
    desk.buy(1000, "more", stop_fraction=0.05)
    average = (Decimal("1.1001") + Decimal("1.2001")) / 2
    assert desk.broker.get_positions()["EURUSD"].average_price == average
    [stop] = desk.broker.get_orders()
    assert (stop.client_id, stop.price) == ("stop-EURUSD", Decimal("1.09260"))  # 1.1501 x 0.95 = 1.092595, up
    desk.next("1.09000")
    assert desk.held() == {}
    assert {t.client_id.partition("-")[0] for t in desk.broker.transactions(None)[-2:]} == {"stop"}


def test_a_position_of_which_one_trade_has_no_stop_has_none(desk: Any) -> None:
    desk.buy(1000, stop_fraction=0.05)
    raw(desk, "500")
    assert desk.broker.get_orders() == []
    desk.broker.set_stop("EURUSD", Decimal("1.05"))
    assert [o.price for o in desk.broker.get_orders()] == [Decimal("1.05000")]
    desk.broker.set_stop("EURUSD", None)
    assert desk.broker.get_orders() == []


def test_a_stop_of_nothing_is_refused_and_its_removal_is_done(desk: Any) -> None:
    with pytest.raises(OrderRejected, match="no position in EURUSD"):
        desk.broker.set_stop("EURUSD", Decimal("1.05"))
    assert desk.broker.set_stop("EURUSD", None).status is OrderStatus.CANCELLED
    with pytest.raises(OrderRejected, match="does not trade 'XXXYYY'"):
        desk.broker.set_stop("XXXYYY", Decimal(1))


def test_yen_prices_have_three_decimals_on_the_wire(desk: Any) -> None:
    desk.buy(1000, "yen", "USDJPY", stop_fraction=0.0123456)
    desk.broker.set_stop("USDJPY", Decimal("148.12345"))
    desk.buy(1000, "later", "USDJPY", type="limit", limit_price=Decimal("140.98765"))
    bodies = [r.json() for r in desk.server.requests if r.method in ("POST", "PUT")]
    assert bodies[0]["order"]["stopLossOnFill"]["distance"] == "1.851"  # 150.01 x 0.0123456 = 1.85196, down
    assert bodies[1]["stopLoss"]["price"] == "148.124"
    assert (bodies[2]["order"]["price"], bodies[2]["order"]["units"]) == ("140.987", "1000")


def test_a_reduction_is_no_larger_than_what_is_held(desk: Any) -> None:
    desk.buy(1000)
    assert desk.buy(-5000, "all", is_reducing=True).filled_units == -1000
    result = desk.buy(-1, "none", is_reducing=True)
    assert (result.status, result.reason) == (OrderStatus.CANCELLED, "there is nothing to reduce")
    assert desk.broker.find_orders(["none"]) == {}


def test_a_hedging_account_is_driven_as_if_it_netted(make_desk: Any) -> None:
    desk = make_desk(is_hedging=True)
    assert Capability.HEDGING in desk.broker.capabilities
    desk.buy(1000)
    desk.buy(-400, "less")
    assert desk.held() == {"EUR_USD": 600}
    assert [t["state"] for t in desk.fake.trades] == ["OPEN"]
    desk.buy(-1000, "turn")
    assert desk.broker.get_positions()["EURUSD"].units == -400


def test_a_book_with_both_sides_is_reported_and_closed(make_desk: Any, caplog: pytest.LogCaptureFixture) -> None:
    desk = make_desk(is_hedging=True)
    raw(desk, "1000", fill="OPEN_ONLY")
    raw(desk, "-300", fill="OPEN_ONLY")
    with caplog.at_level(logging.WARNING, "fxcarry.oanda"):
        assert desk.broker.get_positions()["EURUSD"].units == 700
    assert "EURUSD is held on both sides: +1000 and -300; it counts as +700" in caplog.text
    desk.broker.set_stop("EURUSD", Decimal("1.05"))
    stops = [o for o in desk.fake.orders if o["type"] == "STOP_LOSS"]
    assert len(stops) == 1  # of the side that counts
    results = desk.broker.close_all_positions()
    assert [r.filled_units for r in results] == [-1000, 300]
    assert [t for t in desk.fake.trades if t["state"] == "OPEN"] == []


def test_a_fifo_account_closes_the_oldest_first(make_desk: Any) -> None:
    desk = make_desk(is_fifo=True)
    desk.buy(1000, "one")
    desk.buy(500, "two")
    desk.buy(-1200, "less", is_reducing=True)
    assert desk.held() == {"EUR_USD": 300}
    assert [t["state"] for t in desk.fake.trades] == ["CLOSED", "OPEN"]
    desk.fake.next_order("cancelled", "FIFO_VIOLATION")
    result = desk.buy(100, "three")
    assert (result.status, result.reason) == (OrderStatus.REJECTED, "FIFO_VIOLATION")


def test_an_order_that_is_dealt_in_part_keeps_the_rest_cancelled(desk: Any) -> None:
    desk.fake.liquidity["EUR_USD"] = 400
    result = desk.buy(1000)
    assert (result.status, result.reason) == (OrderStatus.CANCELLED, "INSUFFICIENT_LIQUIDITY")
    assert desk.held() == {}


def test_what_a_person_does_at_oanda_is_in_the_book(desk: Any) -> None:
    raw(desk, "250", "USD_JPY")
    desk.fake.transfer("-1000")
    fill, transfer = desk.broker.transactions(None)[-2:]
    assert (fill.instrument, fill.units, fill.client_id) == ("USDJPY", 250, "")
    assert (transfer.kind, transfer.amount) == ("transfer", -1000)


def test_a_resting_order_from_before_is_found(desk: Any) -> None:
    desk.buy(700, "later", type="limit", limit_price=Decimal("1.05"))
    again = type(desk.broker)(desk.fake, desk.broker._client)
    again.connect()
    assert again.find_orders(["later", "never"]).keys() == {"later"}
    desk.next("1.04000")
    assert again.find_orders(["later"])["later"].status is OrderStatus.FILLED


def test_instruments_have_todays_rates_and_a_day_is_kept_in_the_archive(make_desk: Any, tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    desk = make_desk(archive=path)
    pairs = [Pair("EUR", "USD"), Pair("USD", "JPY"), Pair("XAF", "USD")]
    found = desk.broker.get_instruments(pairs)
    assert found.keys() == {"EURUSD", "USDJPY"}
    assert found["EURUSD"].financing_long == float(desk.fake.rates["EUR_USD"][0])
    assert found["EURUSD"].financing_days == {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 0, 6: 0}
    first = desk.fake.rates["EUR_USD"][0]
    desk.fake.rates["EUR_USD"] = ("-0.0400", "0.0200")
    desk.next(after=timedelta(days=1))
    assert desk.broker.get_instruments(pairs)["EURUSD"].financing_long == -0.04
    with path.open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["instrument"] == "EURUSD"]
    assert [(r["trade_date"], r["long_rate"]) for r in rows] == [
        ("2025-03-12", first),
        ("2025-03-13", "-0.0400"),
    ]


def test_rates_that_are_not_published_are_not_known(desk: Any) -> None:
    desk.fake.has_financing_rates = False
    found = desk.broker.get_instruments([Pair("EUR", "USD")])["EURUSD"]
    assert (found.financing_long, found.financing_short, found.financing_days) == (None, None, None)


# -- made from a configuration -----------------------------------------------------------------------------------------

TOML = """
mode = "paper"
[broker]
use = "oanda"
account = "101-004-1234567-001"
token = { env = "OANDA_TOKEN" }
archive = ""
[feed]
use = "oanda"
account = "101-004-1234567-001"
token = { env = "OANDA_TOKEN" }
currencies = ["EUR", "JPY"]
rates = "simple-rates"
"""


def made(tmp_path: Path, text: str, kind: str) -> Any:
    (tmp_path / "fxcarry.toml").write_text(text, "utf-8")
    section = getattr(load_config(tmp_path / "fxcarry.toml", plugins.load(), {}), kind)
    return section.component.factory(section.settings)


def test_a_broker_is_made_from_a_configuration_without_a_call(tmp_path: Path) -> None:
    broker = made(tmp_path, TOML, "broker")
    assert isinstance(broker, OandaBroker)
    assert (broker.is_practice, broker.account_id) == (True, "101-004-1234567-001")
    assert "https://api-fxpractice.oanda.com" in repr(broker)
    live = TOML.replace("archive", 'environment = "live"\nhedging = true\nstream = true\narchive')
    broker = made(tmp_path, live, "broker")
    assert (broker.is_practice, Capability.HEDGING in broker.capabilities) == (False, True)
    assert "https://api-fxtrade.oanda.com" in repr(broker)


def test_a_feed_takes_its_rates_from_another_feed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="simple-rates"):
        made(tmp_path, TOML, "feed")
    with pytest.raises(ConfigError, match="feed 'file' cannot be made without settings: prices"):
        made(tmp_path, TOML.replace("simple-rates", "file"), "feed")
    if ("feed", "ecb") in plugins.load().components:
        assert isinstance(made(tmp_path, TOML.replace("simple-rates", "ecb"), "feed"), OandaFeed)


def test_a_token_written_into_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    text = TOML.replace('{ env = "OANDA_TOKEN" }', '"abcdef-0123456789"', 1)
    with pytest.raises(ConfigError, match=r"broker\.oanda\.token") as told:
        made(tmp_path, text, "broker")
    assert "abcdef-0123456789" not in str(told.value)
