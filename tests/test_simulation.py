"""fxcarry.simulation: the simulated venue against worked numbers, quote by quote.

All instants are UTC in the second week of March 2025, when 17:00 New York is 21:00 UTC; Wednesday is the 12th.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from fxcarry.clock import SteppedClock
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, FxCarryError, LedgerError, MissingDataError, OrderRejected
from fxcarry.financing import BenchmarkFinancing, PairRateFinancing
from fxcarry.ledger import Ledger, attribute
from fxcarry.market import MarketHistory, RateSeries, to_ns
from fxcarry.model import Order, OrderStatus, Pair, Quote, Rate, Snapshot, Transaction
from fxcarry.orders import Plan
from fxcarry.protocols import Broker, Capability
from fxcarry.simulation import SimBroker, closeout_price
from fxcarry.tape import Block
from fxcarry.testing import signature_problems

Prices = Mapping[str, str | tuple[str, str]]
LONG_AGO = datetime(2025, 1, 2, tzinfo=UTC)


def utc(text: str) -> datetime:
    """``"12 14:00"`` is 2025-03-12T14:00 UTC; a whole date is taken as it is."""
    return datetime.fromisoformat(text if len(text) > 11 else f"2025-03-{text}").replace(tzinfo=UTC)


def snapshot(
    when: str,
    prices: Prices,
    rates: Mapping[str, float] | None = None,
    *,
    as_of: str | None = None,
    known: datetime = LONG_AGO,
) -> Snapshot:
    """Quotes (a mid, or bid and ask) observed at the snapshot's own instant unless ``as_of`` says otherwise."""
    at, seen = utc(when), utc(as_of or when)
    quotes = {
        Pair.parse(name): Quote(Decimal(p), Decimal(p), seen)
        if isinstance(p, str)
        else Quote(Decimal(p[0]), Decimal(p[1]), seen)
        for name, p in prices.items()
    }
    table = {
        c: Rate(value=r, day_count=365 if c in ("AUD", "GBP", "CAD") else 360, as_of=known, available_at=known)
        for c, r in (rates or {}).items()
    }
    return Snapshot(at, quotes, table)


def venue(*pairs: str, **about: Any) -> SimBroker:
    broker = SimBroker(**about)
    broker.get_instruments([Pair.parse(p) for p in pairs])
    return broker


def order(units: float | str, instrument: str = "EURUSD", **about: Any) -> Order:
    about.setdefault("client_id", f"{instrument}{units}")
    return Order(instrument=instrument, units=Decimal(units), **about)


def opened(units: int, price: str | tuple[str, str], pair: str = "EURUSD", **about: Any) -> SimBroker:
    """A venue that holds ``units``, filled Wednesday 14:00."""
    stop = about.pop("stop_fraction", None)
    broker = venue(pair, **about)
    broker.place_market_order(order(units, pair, client_id="open", stop_fraction=stop))
    broker.sync(snapshot("12 14:00", {pair: price}))
    return broker


def of_kind(broker: SimBroker, kind: str) -> list[Transaction]:
    return [t for t in broker.transactions(None) if t.kind == kind]


def last_reason(broker: SimBroker) -> str:
    client_id = of_kind(broker, "fill")[-1].client_id
    return broker.find_orders([client_id])[client_id].reason


def units(broker: SimBroker) -> dict[str, int]:
    return {name: int(p.units) for name, p in broker.get_positions().items()}


# --- a whole ledger over a Wednesday roll ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audjpy() -> SimBroker:
    """Long 100,000 AUDJPY in a dollar account from Wednesday to Thursday."""
    broker = venue("AUDJPY", cash=1_000_000, financing=PairRateFinancing("0.0185", "-0.0345"))
    broker.sync(snapshot("12 13:00", {"AUDJPY": ("97.40", "97.44"), "USDJPY": "155.10"}))
    broker.place_market_order(order(100_000, "AUDJPY"))
    broker.sync(snapshot("12 14:00", {"AUDJPY": ("97.48", "97.52"), "USDJPY": "155.10"}))
    account = broker.sync(snapshot("12 21:00", {"AUDJPY": ("97.58", "97.62"), "USDJPY": "155.20"}))
    assert float(account.nav) == pytest.approx(1_000_000 + 51.546392 + 9.56, abs=1e-6)  # open: 8,000 yen
    assert account.cash == Decimal("1000009.56")
    broker.place_market_order(order(-100_000, "AUDJPY"))
    broker.sync(snapshot("13 14:00", {"AUDJPY": ("97.83", "97.87"), "USDJPY": "154.80"}))
    broker.sync(snapshot("13 21:00", {"AUDJPY": ("97.90", "97.94"), "USDJPY": "154.80"}))
    return broker


def test_fills_are_at_the_real_bid_and_ask(audjpy: SimBroker) -> None:
    buy, sell = of_kind(audjpy, "fill")
    assert (buy.units, sell.units) == (Decimal(100_000), Decimal(-100_000))
    assert buy.price is not None
    assert sell.price is not None
    assert float(buy.price) == pytest.approx(97.52, abs=1e-9)
    assert float(sell.price) == pytest.approx(97.83, abs=1e-9)
    assert buy.amount == 0
    assert float(31_000 / Decimal("154.80")) == pytest.approx(200.258398, abs=1e-6)
    assert sell.amount == Decimal("200.26")


def test_financing_is_three_days_at_the_price_of_the_roll(audjpy: SimBroker) -> None:
    (roll,) = of_kind(audjpy, "financing")
    assert (roll.instrument, roll.trade_date, roll.days) == ("AUDJPY", date(2025, 3, 12), 3)
    assert (roll.amount, roll.currency) == (Decimal("9.56"), "USD")
    assert roll.at == utc("12 21:00")
    assert attribute(audjpy.log).carry.sum() == pytest.approx(9.562209, abs=1e-6)


def test_total(audjpy: SimBroker) -> None:
    assert audjpy.get_account_balance() == Decimal("1000209.82")
    assert dict(audjpy.get_positions()) == {}


def test_attribution(audjpy: SimBroker) -> None:
    books = attribute(audjpy.log)
    assert [str(d) for d in books.day] == ["2025-03-12", "2025-03-13"]
    np.testing.assert_allclose(books.spot, [64.432990, 161.498708], atol=1e-6)
    np.testing.assert_allclose(books.cost, [-12.886598, -12.919897], atol=1e-6)
    np.testing.assert_allclose(books.carry, [9.562209, 0.0], atol=1e-6)
    np.testing.assert_allclose(books.translation, [0.0, 0.133195], atol=1e-6)
    parts = sum(getattr(books, term).sum() for term in ("spot", "carry", "cost", "translation"))
    assert parts == pytest.approx(209.820607, abs=1e-6)
    assert parts + books.rounding.sum() == pytest.approx(209.82, abs=1e-6)
    assert (np.abs(books.rounding) <= 0.005 * 2).all()
    np.testing.assert_allclose(books.nav, [1_000_061.106392, 1_000_209.82], atol=1e-6)
    # Posted to cents, the four parts leave one cent for the rounding line.
    cents = [round(float(getattr(books, t).sum()), 2) for t in ("spot", "cost", "translation", "carry")]
    assert cents == [225.93, -25.81, 0.13, 9.56]


def test_totals_by_instrument(audjpy: SimBroker) -> None:
    books = attribute(audjpy.log)
    assert list(books.names) == ["AUDJPY"]
    assert books.carry_by_instrument[0] == pytest.approx(9.562209, abs=1e-6)
    assert books.cost_by_instrument[0] == pytest.approx(-25.806495, abs=1e-6)
    assert books.spot_by_instrument[0] == pytest.approx(225.931698 + 0.133195, abs=1e-6)


def test_the_same_trade_in_double_entry(audjpy: SimBroker) -> None:
    ledger = Ledger("USD")
    for transaction in audjpy.transactions(None):
        ledger.post(transaction)
    assert ledger.balance("Cash:USD") == Decimal("209.82")
    assert ledger.balance("Position:AUDJPY", "AUD") == 0
    assert float(ledger.balance("Position:AUDJPY", "JPY")) == pytest.approx(0, abs=1e-9)
    assert float(ledger.balance("Income:Trading", "JPY")) == pytest.approx(-31_000, abs=1e-6)
    assert ledger.balance("Income:Financing") == Decimal("-9.56")


def test_after_each_transaction_come_the_others(audjpy: SimBroker) -> None:
    every = list(audjpy.transactions(None))
    assert len({t.at for t in every}) >= 3  # booked in several looks
    for count, last in enumerate(every, 1):
        assert audjpy.transactions(last.id) == every[count:]


# --- exposures -------------------------------------------------------------------------------------------------------


def test_net_exposures_add_up_to_nothing() -> None:
    book = {"AUDJPY": 100_000, "EURUSD": -50_000, "USDJPY": 80_000, "GBPUSD": -40_000}
    broker = venue(*book, cash=1_000_000)
    for name, size in book.items():
        broker.place_market_order(order(size, name))
    account = broker.sync(
        snapshot("12 14:00", {"EURUSD": "1.0850", "USDJPY": "155.0", "AUDUSD": "0.6600", "GBPUSD": "1.27"})
    )
    exposure = {c: w * float(account.nav) for c, w in account.current_weights.items()}
    assert set(exposure) == {"AUD", "JPY", "EUR", "GBP"}
    for currency, dollars in {"AUD": 66_000, "JPY": -146_000, "EUR": -54_250, "GBP": -50_800}.items():
        assert exposure[currency] == pytest.approx(dollars, abs=1e-6)
    assert sum(exposure.values()) + 185_050 == pytest.approx(0, abs=1e-6)
    assert sum(map(abs, exposure.values())) == pytest.approx(317_050, abs=1e-6)
    gross = sum(abs(float(p.units)) * v for p, v in zip(account.positions.values(), (0.66, 1.085, 1.0, 1.27)))
    assert gross == pytest.approx(251_050, abs=1e-6)
    assert float(account.margin_used) == pytest.approx(251_050 / 30, abs=1e-6)


def test_open_profit_in_a_foreign_currency_is_exposure_to_it() -> None:
    broker = opened(1_000_000, "150", "USDJPY")  # a million dollars bought, 150 million yen owed
    account = broker.sync(snapshot("12 15:00", {"USDJPY": "160"}))
    assert account.current_weights["JPY"] * float(account.nav) == pytest.approx(-150e6 / 160)
    assert float(account.nav) == pytest.approx(1_000_000 + 10e6 / 160)


# --- margin ----------------------------------------------------------------------------------------------------------


def test_closeout_price() -> None:
    assert closeout_price(10_000, 200_000, 1.10, 1 / 30) == pytest.approx(1.067796610, abs=1e-9)
    assert closeout_price(10_000, 200_000, 1.10, 1 / 30) / 1.10 - 1 == pytest.approx(-0.02927581, abs=1e-8)
    assert closeout_price(10_000, 200_000, 1.10, 1 / 30, closeout_level=1.0) == pytest.approx(1.086206897, abs=1e-9)


def test_closeout_price_of_a_short() -> None:
    price = closeout_price(10_000, -200_000, 1.10, 1 / 30)
    assert price > 1.10
    assert 10_000 - 200_000 * (price - 1.10) == pytest.approx(0.5 / 30 * 200_000 * price, abs=1e-6)


def test_an_emergency_closes_the_largest_margin_first_not_the_largest_position() -> None:
    """100,000 EURUSD at 1.10 and 1/30 bind 3,666.67; 20,000 GBPUSD at 1.25 and a quarter 6,250."""
    broker = SimBroker(cash=10_000, margin_rates={"GBP/USD": 0.25})
    broker.get_instruments([Pair("EUR", "USD"), Pair("GBP", "USD")])
    quotes = {"EURUSD": "1.10", "GBPUSD": "1.25"}
    broker.sync(snapshot("12 14:00", quotes))
    broker.place_market_order(order(100_000, client_id="e"))
    broker.place_market_order(order(20_000, "GBPUSD", client_id="g"))
    broker.sync(snapshot("12 14:01", quotes))
    assert [r.instrument for r in broker.close_all_positions()] == ["GBPUSD", "EURUSD"]


def test_everything_is_closed_at_half_the_margin() -> None:
    broker = opened(200_000, "1.1000", cash=10_000)
    account = broker.account()
    assert float(account.margin_used) == pytest.approx(7_333.333333, abs=1e-6)
    assert float(account.margin_available) == pytest.approx(2_666.666667, abs=1e-6)
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.0677967"}))
    assert units(broker) == {"EURUSD": 200_000}
    assert float(broker.account().nav) == pytest.approx(3_559.34, abs=0.005)
    account = broker.sync(snapshot("12 16:00", {"EURUSD": "1.0677966"}))
    assert units(broker) == {}
    assert account.nav == account.cash == Decimal("3559.32")
    assert account.margin_used == 0
    assert last_reason(broker) == "margin close-out"


def test_liquidation_at_the_whole_margin() -> None:
    broker = opened(200_000, "1.1000", cash=10_000, closeout_level=1.0)
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.086207"}))
    assert units(broker) == {"EURUSD": 200_000}
    broker.sync(snapshot("12 16:00", {"EURUSD": "1.086206"}))
    assert units(broker) == {}


def test_a_close_out_cancels_what_waits_and_closes_every_position() -> None:
    broker = venue("EURUSD", "GBPUSD", cash=10_000)
    broker.place_market_order(order(100_000, "EURUSD"))
    broker.place_market_order(order(80_000, "GBPUSD"))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10", "GBPUSD": "1.25"}))
    waiting = broker.place_limit_order(order(1000, limit_price=Decimal("0.9"), type="limit", client_id="wait"))
    assert waiting.status is OrderStatus.WORKING
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.05", "GBPUSD": "1.20"}))
    assert units(broker) == {}
    assert broker.find_orders(["wait"])["wait"].status is OrderStatus.CANCELLED
    assert broker.get_account_balance() == 10_000 - 5_000 - 4_000


def test_one_pair_at_its_own_margin_and_another_at_the_usual() -> None:
    # 200,000 EURUSD at 1/30 and 50,000 USDJPY at 5 %: 7,333.33 + 2,500. Closed out where
    # 10,000 + 200,000 (P − 1.1) = (200,000 P / 30 + 2,500) / 2: P = 211,250 / 196,666.67 = 1.07415254.
    def held(**about: Any) -> SimBroker:
        broker = venue("EURUSD", "USDJPY", cash=10_000, **about)
        broker.place_market_order(order(200_000, "EURUSD"))
        broker.place_market_order(order(50_000, "USDJPY"))
        broker.sync(snapshot("12 14:00", {"EURUSD": "1.1000", "USDJPY": "155"}))
        return broker

    broker = held(margin_rates={"usd/jpy": 0.05})
    assert float(broker.account().margin_used) == pytest.approx(9_833.333333, abs=1e-6)
    instruments = broker.get_instruments(list(map(Pair.parse, ("EURUSD", "USDJPY"))))
    assert [float(i.margin_rate) for i in instruments.values()] == [pytest.approx(1 / 30), 0.05]
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.0741526", "USDJPY": "155"}))
    assert units(broker) == {"EURUSD": 200_000, "USDJPY": 50_000}
    broker.sync(snapshot("12 16:00", {"EURUSD": "1.0741525", "USDJPY": "155"}))
    assert units(broker) == {}
    assert broker.get_account_balance() == Decimal("4830.50")
    one_rate = held()  # closed out at 210,833.33 / 196,666.67 = 1.07203390
    one_rate.sync(snapshot("12 15:00", {"EURUSD": "1.0720340", "USDJPY": "155"}))
    assert units(one_rate) == {"EURUSD": 200_000, "USDJPY": 50_000}
    one_rate.sync(snapshot("12 16:00", {"EURUSD": "1.0720338", "USDJPY": "155"}))
    assert units(one_rate) == {}


@pytest.mark.parametrize("name", ["EURUSD", "eur_usd", "USD/EUR"])
def test_margin_rates_take_any_spelling_and_either_way_round(name: str) -> None:
    broker = opened(200_000, "1.10", margin_rates={name: 0.1, "USDTRY": 1.0})
    assert float(broker.account().margin_used) == pytest.approx(22_000)
    assert broker.margin_rate_of(Pair("EUR", "USD")) == 0.1
    assert broker.margin_rate_of(Pair("GBP", "USD")) == broker.margin_rate == 1 / 30


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"margin_rate": 0}, "margin_rate is 0"),
        ({"margin_rate": float("nan")}, "margin_rate is nan"),
        ({"margin_rates": {"EURUSD": 5}}, "margin_rates.EURUSD is 5"),
        ({"margin_rates": {"EURO": 0.05}}, "'EURO' is not a currency pair"),
        ({"margin_rates": {"EURUSD": 0.05, "USD/EUR": 0.1}}, "names USDEUR twice"),
        ({"lots": "lifo"}, "lots is 'lifo'"),
    ],
)
def test_terms_that_make_no_sense(about: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SimBroker(**about)


def test_a_position_closed_out_at_1700_was_open_at_1700() -> None:
    # What is filled at the very instant of the roll does not take part in it, whether by an order or by the venue.
    financing = PairRateFinancing("-0.03", "-0.03")
    ordered = opened(200_000, "1.10", cash=10_000, financing=financing)
    ordered.place_market_order(order(-200_000))
    ordered.sync(snapshot("12 21:00", {"EURUSD": "1.06"}))
    forced = opened(200_000, "1.10", cash=10_000, financing=financing)
    forced.sync(snapshot("12 21:00", {"EURUSD": "1.06"}))
    assert units(ordered) == units(forced) == {}
    assert [t.amount for t in of_kind(ordered, "financing")] == [Decimal("-52.27")]
    assert [t.amount for t in of_kind(forced, "financing")] == [Decimal("-52.27")]
    assert forced.get_account_balance() == ordered.get_account_balance()


# --- stops -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "size", "entry", "held", "stopped"),
    [
        ("AUDJPY", 100_000, ("97.48", "97.52"), ("92.645", "92.685"), ("92.644", "92.684")),
        ("EURUSD", -100_000, ("1.0850", "1.0851"), ("1.13914", "1.13924"), ("1.13915", "1.13925")),
    ],
)
def test_a_stop_of_five_percent_is_on_the_closing_side(
    pair: str, size: int, entry: tuple[str, str], held: tuple[str, str], stopped: tuple[str, str]
) -> None:
    # Long from 97.52: bid at or below 92.644. Short from 1.0850: ask at or above 1.13925.
    quote = pair[3:]
    broker = opened(size, entry, pair, account_currency=quote, cash=100_000_000, stop_fraction=0.05)
    broker.sync(snapshot("12 15:00", {pair: held}))
    assert units(broker) == {pair: size}
    broker.sync(snapshot("12 16:00", {pair: stopped}))
    assert units(broker) == {}
    fill = of_kind(broker, "fill")[-1]
    assert fill.price is not None
    assert float(fill.price) == pytest.approx(float(stopped[0] if size > 0 else stopped[1]), rel=1e-12)
    assert last_reason(broker) == "stop"


def test_a_stop_fills_at_the_next_quote_not_at_its_price() -> None:
    broker = opened(100_000, "1.2010", "EURCHF", account_currency="CHF", cash=1_000_000, stop_fraction=0.05)
    account = broker.sync(snapshot("12 15:00", {"EURCHF": "1.0300"}))
    assert units(broker) == {}
    fill = of_kind(broker, "fill")[-1]
    assert fill.price == Decimal("1.03")
    assert fill.amount == -17_100
    assert account.nav == 982_900
    assert float(fill.amount) / 120_100 == pytest.approx(-0.14238, abs=5e-6)


def test_a_quote_already_seen_triggers_nothing() -> None:
    broker = opened(100_000, "1.10", stop_fraction=0.05)
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.00"}, as_of="12 14:00"))
    assert units(broker) == {"EURUSD": 100_000}


def test_a_stop_follows_the_average_entry() -> None:
    broker = opened(100_000, "1.00", stop_fraction=0.05)
    broker.place_market_order(order(100_000, client_id="more"))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.10"}))  # average 1.05, stop 0.9975
    broker.sync(snapshot("12 16:00", {"EURUSD": "0.9976"}))
    assert units(broker) == {"EURUSD": 200_000}
    broker.sync(snapshot("12 17:00", {"EURUSD": "0.9975"}))
    assert units(broker) == {}


def test_a_stop_set_by_price_and_taken_away() -> None:
    broker = opened(100_000, "1.10")
    assert broker.set_stop("EURUSD", Decimal("1.09")).status is OrderStatus.WORKING
    assert broker.set_stop("EURUSD", None).status is OrderStatus.CANCELLED
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.08"}))
    assert units(broker) == {"EURUSD": 100_000}
    broker.set_stop("EURUSD", Decimal("1.07"))
    broker.sync(snapshot("12 16:00", {"EURUSD": "1.07"}))
    assert units(broker) == {}


def test_a_stop_dies_with_its_position() -> None:
    broker = opened(100_000, "1.10", stop_fraction=0.05)
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.00"}))
    broker.place_market_order(order(100_000, client_id="again"))
    broker.sync(snapshot("12 16:00", {"EURUSD": "1.00"}))
    broker.sync(snapshot("12 17:00", {"EURUSD": "0.95"}))
    assert units(broker) == {"EURUSD": 100_000}


def test_the_stop_of_a_long_does_not_stop_the_short_that_follows() -> None:
    broker = opened(100_000, "1.10")
    broker.set_stop("EURUSD", Decimal("1.05"))
    broker.place_market_order(order(-200_000, client_id="turn"))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.10"}))
    assert units(broker) == {"EURUSD": -100_000}
    broker.sync(snapshot("12 16:00", {"EURUSD": "1.10"}))
    assert units(broker) == {"EURUSD": -100_000}


def test_a_stop_cancels_the_orders_that_wait_for_the_same_instrument() -> None:
    broker = opened(100_000, "1.10", stop_fraction=0.05)
    broker.place_market_order(order(50_000, client_id="add"))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.00"}))
    assert units(broker) == {}
    assert broker.find_orders(["add"])["add"].status is OrderStatus.CANCELLED


def test_no_stop_on_an_unknown_instrument() -> None:
    with pytest.raises(FxCarryError, match="GBPUSD"):
        venue("EURUSD").set_stop("GBPUSD", Decimal(1))


# --- rolls -----------------------------------------------------------------------------------------------------------

CREDIT = PairRateFinancing("0.0365", "-0.0365")  # a dollar earns a cent in a hundred days
DAY = Decimal("11.00")  # of 100,000 EURUSD at 1.10


def financed(**about: Any) -> SimBroker:
    return venue("EURUSD", financing=CREDIT, **about)


@pytest.mark.parametrize(("filled", "days"), [("12 20:59:59", [3]), ("12 21:00:00", []), ("12 21:00:01", [])])
def test_who_opens_before_1700_takes_part(filled: str, days: list[int]) -> None:
    broker = financed()
    broker.sync(snapshot("12 20:00", {"EURUSD": "1.10"}))
    broker.place_market_order(order(100_000))
    broker.sync(snapshot(filled, {"EURUSD": "1.10"}))
    broker.sync(snapshot("12 22:00", {"EURUSD": "1.10"}))
    assert units(broker) == {"EURUSD": 100_000}
    assert [t.days for t in of_kind(broker, "financing")] == days
    assert broker.get_account_balance() == 1_000_000 + DAY * sum(days)


@pytest.mark.parametrize(("filled", "days"), [("12 20:59:59", []), ("12 21:00:00", [3]), ("12 21:00:01", [3])])
def test_who_closes_before_1700_does_not(filled: str, days: list[int]) -> None:
    broker = financed()
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("12 20:00", {"EURUSD": "1.10"}))
    broker.place_market_order(order(-100_000))
    broker.sync(snapshot(filled, {"EURUSD": "1.10"}))
    broker.sync(snapshot("12 22:00", {"EURUSD": "1.10"}))
    assert units(broker) == {}
    assert [t.days for t in of_kind(broker, "financing")] == days


def test_1700_new_york_is_an_hour_later_in_winter() -> None:
    broker = financed()
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("05 20:00", {"EURUSD": "1.10"}))
    broker.sync(snapshot("05 21:59:59", {"EURUSD": "1.10"}))
    assert of_kind(broker, "financing") == []
    broker.sync(snapshot("05 22:00", {"EURUSD": "1.10"}))
    assert [t.days for t in of_kind(broker, "financing")] == [3]


@pytest.mark.parametrize(
    ("pair", "days"),
    [("EURUSD", [1, 1, 3, 1, 1]), ("USDCAD", [1, 1, 1, 3, 1])],
)
def test_a_plain_week(pair: str, days: list[int]) -> None:
    broker = venue(pair, financing=CREDIT)
    broker.place_market_order(order(100_000, pair))
    broker.sync(snapshot("10 14:00", {pair: "1.10"}))
    for day in range(10, 15):
        broker.sync(snapshot(f"{day} 21:00", {pair: "1.10"}))
    rolls = of_kind(broker, "financing")
    assert [t.days for t in rolls] == days
    assert [t.trade_date for t in rolls] == [date(2025, 3, d) for d in range(10, 15)]


def test_a_us_holiday() -> None:
    broker = financed()
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("2025-01-13T15:00", {"EURUSD": "1.10"}))
    for day in (13, 14, 15, 16, 17, 20):
        broker.sync(snapshot(f"2025-01-{day}T22:00", {"EURUSD": "1.10"}))
    # Thursday's roll is of no days: nothing is posted.
    assert [(t.trade_date, t.days) for t in of_kind(broker, "financing")] == [
        (date(2025, 1, d), n) for d, n in ((13, 1), (14, 1), (15, 4), (17, 1), (20, 1))
    ]
    assert broker.get_account_balance() == 1_000_000 + 8 * DAY


# Value dates by hand. Christmas 2024: no euro on 25 and 26 December, no dollar on the 25th, neither on 1 January. So
# the 20th deals for the 24th, the 23rd for the 27th, the 24th to the 26th for the 30th, the 27th for the 31st, the 30th
# for 2 January. Golden Week 2024: no yen on 29 April, 3 and 6 May. So 24 April deals for the 26th, the 25th for the
# 30th, the 26th for 1 May, 30 April for 7 May.
CHRISTMAS = {"12-20": 3, "12-23": 3, "12-24": 0, "12-25": 0, "12-26": 1, "12-27": 2, "12-30": 1}
GOLDEN_WEEK = {
    "04-23": 1, "04-24": 4, "04-25": 1, "04-26": 0, "04-29": 1, "04-30": 5,
    "05-01": 1, "05-02": 0, "05-03": 0, "05-06": 1, "05-07": 1, "05-08": 3,
}  # fmt: skip


@pytest.mark.parametrize("step", [1, 3, 100])
@pytest.mark.parametrize(("pair", "days", "close"), [("EURUSD", CHRISTMAS, "22:00"), ("USDJPY", GOLDEN_WEEK, "21:00")])
def test_holidays_are_in_the_days_of_a_roll(pair: str, days: dict[str, int], close: str, step: int) -> None:
    # Whether a quote comes twice a day or none for a week, each trade date's days are booked, and once.
    broker = venue(pair, financing=CREDIT)
    broker.place_market_order(order(100_000, pair))
    dates = [f"2024-{day}" for day in days]
    broker.sync(snapshot(f"{dates[0]}T14:00", {pair: "1.10"}))
    for day in dates[step - 1 :: step]:
        broker.sync(snapshot(f"{day}T{close}", {pair: "1.10"}))
        broker.sync(snapshot(f"{day}T{close}:30", {pair: "1.10"}))
    broker.sync(snapshot(f"{dates[-1]}T23:30", {pair: "1.10"}))
    booked = [(str(t.trade_date), t.days) for t in of_kind(broker, "financing")]
    assert booked == [(f"2024-{day}", n) for day, n in days.items() if n]


@pytest.mark.parametrize(("pair", "days"), [("EURUSD", CHRISTMAS), ("USDJPY", GOLDEN_WEEK)])
def test_holidays_in_stored_history(pair: str, days: dict[str, int]) -> None:
    times = np.array([to_ns(utc(f"2024-{day}T15:00")) for day in days], "datetime64[ns]")
    other = pair.replace("USD", "")
    history = MarketHistory(times, (other,), np.full((len(days), 1), 1.1), "USD", {})
    broker, clock = venue(pair, financing=CREDIT), SteppedClock.over(history)
    broker.prepare(history, clock)
    broker.place_market_order(order(100_000, pair))
    assert broker.advance(len(clock)) == len(clock)  # one block
    booked = [(str(t.trade_date), t.days) for t in of_kind(broker, "financing")]
    assert booked == [(f"2024-{day}", n) for day, n in days.items() if n]


def test_a_first_snapshot_at_1700_ends_its_day_too() -> None:
    broker = financed()
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("12 21:00", {"EURUSD": "1.10"}, as_of="12 20:59"))  # dealt at 16:59, so it takes part
    assert broker.log.columns().is_day_end.tolist() == [True]
    assert [t.days for t in of_kind(broker, "financing")] == [3]


def test_after_a_gap_each_missed_roll_is_booked_once() -> None:
    broker = financed()
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("07 15:00", {"EURUSD": "1.10"}))  # a Friday; Wednesday's answer comes after three rolls
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    assert [(t.trade_date, t.days) for t in of_kind(broker, "financing")] == [
        (date(2025, 3, 7), 1),
        (date(2025, 3, 10), 1),
        (date(2025, 3, 11), 1),
    ]
    broker.sync(snapshot("14 21:00", {"EURUSD": "1.10"}))
    assert [t.days for t in of_kind(broker, "financing")] == [1, 1, 1, 3, 1, 1]
    assert broker.get_account_balance() == 1_000_000 + 8 * DAY
    assert [str(d) for d in attribute(broker.log).day] == [f"2025-03-{d:02}" for d in (7, 10, 11, 12, 13, 14)]


def test_the_weekend_has_no_roll() -> None:
    broker = financed()
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("14 15:00", {"EURUSD": "1.10"}))
    broker.sync(snapshot("14 21:00", {"EURUSD": "1.10"}))
    for when in ("15 12:00", "16 20:00", "16 23:00", "17 20:59"):
        broker.sync(snapshot(when, {"EURUSD": "1.10"}))
    assert [t.trade_date for t in of_kind(broker, "financing")] == [date(2025, 3, 14)]


@pytest.mark.parametrize("when", ["12 21:00", "12 22:00", "12 20:59:59"])
def test_the_same_instant_twice_books_once(when: str) -> None:
    broker = financed()
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.10"}))
    once = broker.sync(snapshot(when, {"EURUSD": "1.10"}))
    again = broker.sync(snapshot(when, {"EURUSD": "1.10"}))
    broker.sync(snapshot(when, {"EURUSD": "1.10"}))
    assert again.nav == once.nav
    broker.sync(snapshot("12 23:00", {"EURUSD": "1.10"}))
    assert [t.days for t in of_kind(broker, "financing")] == [3]


def test_a_snapshot_that_arrives_late_does_not_book_a_roll_again() -> None:
    broker = financed()
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.10"}))
    broker.sync(snapshot("12 22:00", {"EURUSD": "1.10"}))
    with suppress(FxCarryError):  # refusing it is one way
        broker.sync(snapshot("12 20:00", {"EURUSD": "1.10"}))
    broker.sync(snapshot("12 23:00", {"EURUSD": "1.10"}))
    assert [t.trade_date for t in of_kind(broker, "financing")] == [date(2025, 3, 12)]


def test_a_roll_is_booked_at_the_last_price_before_it() -> None:
    # As over stored history: on a 17:00 without a quote the last one stands, not the one that comes afterwards.
    broker = financed()
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("12 20:30", {"EURUSD": "1.10"}))
    broker.sync(snapshot("12 21:30", {"EURUSD": "1.21"}))
    assert [t.amount for t in of_kind(broker, "financing")] == [3 * DAY]


def test_a_rate_published_after_the_roll_does_not_lock_the_account() -> None:
    broker = venue("EURUSD", financing=BenchmarkFinancing())
    broker.place_market_order(order(1_000_000))
    rates = {"EUR": 0.025, "USD": 0.043}
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}, rates))
    morning = utc("13 08:00")  # new fixings, in force and known since this morning
    broker.sync(snapshot("13 14:00", {"EURUSD": "1.10"}, {"EUR": 0.026, "USD": 0.044}, known=morning))
    (roll,) = of_kind(broker, "financing")  # at the rates known at the roll
    assert float(roll.amount) == pytest.approx(1_100_000 * (0.025 - 0.043) * 3 / 360, abs=0.005)


# --- orders ----------------------------------------------------------------------------------------------------------


def test_an_order_fills_at_the_next_quote_never_at_the_one_it_was_decided_on() -> None:
    broker = venue("EURUSD")
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    placed = broker.place_market_order(order(100_000, client_id="a"))
    assert placed.status is OrderStatus.WORKING
    assert [r.client_id for r in broker.get_orders()] == ["a"]
    assert [o.client_id for o in broker.account().working_orders] == ["a"]
    broker.sync(snapshot("12 14:05", {"EURUSD": "1.10"}, as_of="12 14:00"))
    assert units(broker) == {}
    broker.sync(snapshot("12 14:10", {"EURUSD": ("1.1099", "1.1101")}))
    result = broker.find_orders(["a", "never"])["a"]
    assert (result.status, result.filled_units) == (OrderStatus.FILLED, Decimal(100_000))
    assert result.price is not None
    assert float(result.price) == pytest.approx(1.1101, rel=1e-12)
    assert broker.get_orders() == []


def test_an_order_is_never_filled_twice() -> None:
    broker = venue("EURUSD")
    first = broker.place_market_order(order(100_000, client_id="a"))
    assert broker.place_market_order(order(100_000, client_id="a")) == first
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    assert broker.place_market_order(order(100_000, client_id="a")).status is OrderStatus.FILLED
    broker.sync(snapshot("12 14:05", {"EURUSD": "1.10"}))
    assert units(broker) == {"EURUSD": 100_000}
    assert len(of_kind(broker, "fill")) == 1


def test_a_plan_sent_twice_is_filled_once() -> None:
    def decided() -> Plan:
        return Plan([(0, "EURUSD", 1000.0, "open", False)], account_id="a", at=utc("12 13:00"), reason="rebalance")

    broker = venue("EURUSD")
    broker.place_plan(decided())
    broker.place_plan(decided())
    assert broker.place_market_order(decided()[0]).status is OrderStatus.WORKING
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    assert units(broker) == {"EURUSD": 1000}


@pytest.mark.parametrize("size", ["0", "NaN", "Infinity"])
def test_what_cannot_be_traded_is_rejected(size: str) -> None:
    with pytest.raises(OrderRejected):
        venue("EURUSD").place_market_order(order(size))


def test_an_unknown_instrument_is_rejected() -> None:
    with pytest.raises(OrderRejected, match="GBPUSD"):
        venue("EURUSD").place_market_order(order(1, "GBPUSD"))


@pytest.mark.parametrize(("held", "asked", "left"), [(100, -40, 60), (100, -100, 0), (100, -250, 0), (-100, 250, 0)])
def test_a_reducing_order_never_turns_a_position(held: int, asked: int, left: int) -> None:
    broker = opened(held, "1.10")
    broker.place_market_order(order(asked, client_id="less", is_reducing=True))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.10"}))
    assert units(broker) == ({"EURUSD": left} if left else {})
    assert broker.find_orders(["less"])["less"].filled_units == left - held


@pytest.mark.parametrize(("held", "asked"), [(100, 50), (-100, -50)])
def test_a_reducing_order_never_adds(held: int, asked: int) -> None:
    broker = opened(held, "1.10")
    broker.place_market_order(order(asked, client_id="less", is_reducing=True))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.10"}))
    assert units(broker) == {"EURUSD": held}
    assert broker.find_orders(["less"])["less"].status is OrderStatus.CANCELLED


def test_average_price_and_realized_profit() -> None:
    broker = opened(100_000, "1.10")
    for n, (size, price) in enumerate(((100_000, "1.12"), (-50_000, "1.13"), (-250_000, "1.10"))):
        broker.place_market_order(order(size, client_id=f"o{n}"))
        broker.sync(snapshot(f"12 {15 + n}:00", {"EURUSD": price}))
    assert [t.amount for t in of_kind(broker, "fill")] == [0, 0, 1000, -1500]  # average 1.11; the last one turns
    position = broker.get_positions()["EURUSD"]
    assert (position.units, position.average_price) == (Decimal(-100_000), Decimal("1.1"))
    assert broker.get_account_balance() == 999_500


def through(broker: SimBroker, *trades: tuple[int, str | tuple[str, str], str]) -> SimBroker:
    """Trades in AUDJPY, each at its own quote and USDJPY, an hour apart from Wednesday 14:00."""
    for n, (size, price, dollar) in enumerate(trades):
        broker.place_market_order(order(size, "AUDJPY", client_id=f"o{n}"))
        broker.sync(snapshot(f"12 {14 + n}:00", {"AUDJPY": price, "USDJPY": dollar}))
    return broker


PART = [(100_000, ("97.48", "97.52"), "155.10"), (50_000, ("97.98", "98.02"), "155.00"),
        (-60_000, ("97.83", "97.87"), "154.80")]  # fmt: skip
REST = (-90_000, ("98.00", "98.04"), "155.00")


def test_first_in_first_out_realises_the_oldest_lot() -> None:
    # Yen: fifo 60,000 × (97.83 − 97.52) = 18,600; average 60,000 × (97.83 − 97.686667) = 8,600; what the one realised
    # more is open profit less. At 154.80: 120.155 and 55.556 dollars.
    fifo, average = (through(venue("AUDJPY", lots=lots), *PART) for lots in ("fifo", "average"))
    assert [t.amount for t in of_kind(fifo, "fill")] == [0, 0, Decimal("120.16")]
    assert [t.amount for t in of_kind(average, "fill")] == [0, 0, Decimal("55.56")]
    kept = fifo.get_positions()["AUDJPY"]
    assert kept.units == 90_000
    assert float(kept.average_price) == pytest.approx((40_000 * 97.52 + 50_000 * 98.02) / 90_000, abs=1e-9)
    assert float(average.get_positions()["AUDJPY"].average_price) == pytest.approx(97.686667, abs=1e-6)
    assert fifo.nav == pytest.approx(1_000_000 + 120.16 + 4_700 / 154.80, abs=1e-6)
    assert average.nav == pytest.approx(1_000_000 + 55.56 + 14_700 / 154.80, abs=1e-6)
    assert abs(fifo.nav - average.nav) <= 0.01


def test_in_the_end_both_realise_the_same_but_for_the_conversion() -> None:
    # 36,800 yen both; fifo had 10,000 of them converted at 154.80 and not at 155.
    fifo, average = (through(venue("AUDJPY", lots=lots), *PART, REST) for lots in ("fifo", "average"))
    assert of_kind(fifo, "fill")[-1].amount == Decimal("117.42")  # 40,000 × 0.48 − 50,000 × 0.02 = 18,200 yen
    assert of_kind(average, "fill")[-1].amount == Decimal("181.94")
    gained = fifo.get_account_balance() - average.get_account_balance()
    assert float(gained) == pytest.approx(10_000 * (1 / 154.80 - 1 / 155), abs=0.01)
    assert fifo.get_positions() == average.get_positions() == {}
    parts, same = attribute(fifo.log), attribute(average.log)
    for term in ("spot", "cost", "carry"):
        assert getattr(parts, term).sum() == pytest.approx(getattr(same, term).sum(), abs=1e-6)


def test_double_entry_first_in_first_out() -> None:
    broker = through(venue("AUDJPY", lots="fifo"), *PART)
    books = Ledger("USD", broker.log.lots)
    for transaction in broker.log:
        books.post(transaction)
    assert float(books.balance("Income:Trading", "JPY")) == pytest.approx(-18_600, abs=1e-6)
    assert float(books.balance("Position:AUDJPY", "JPY")) == pytest.approx(-8_801_800, abs=1e-6)
    assert books.balance("Cash:USD") == Decimal("120.16")
    assert abs(books.balance("Rounding")) <= Decimal("0.005")


def test_a_turn_closes_every_lot_and_opens_one() -> None:
    broker = through(venue("AUDJPY", lots="fifo"), *PART[:2], (-250_000, ("97.80", "97.84"), "155.00"))
    # 100,000 × 0.28 − 50,000 × 0.22 = 17,000 yen
    assert [t.amount for t in of_kind(broker, "fill")] == [0, 0, Decimal("109.68")]
    position = broker.get_positions()["AUDJPY"]
    assert (position.units, float(position.average_price)) == (Decimal(-100_000), pytest.approx(97.80))


@pytest.mark.parametrize("sizes", [("0.6", "0.7", "0.7", "-2.0"), ("0.7", "0.4", "0.7", "-1.8")])
def test_fractions_of_a_unit_leave_lots_as_the_position_is(sizes: tuple[str, ...]) -> None:
    # As floats the first end at −2e-16 with every lot closed, the second at nothing with −1e-16 left of a lot.
    broker = venue("EURUSD", lots="fifo")
    for n, size in enumerate((*sizes, "1000")):
        broker.place_market_order(order(size, client_id=f"o{n}"))
        broker.sync(snapshot(f"12 {14 + n}:00", {"EURUSD": "1.10" if size != "1000" else "1.20"}))
        if n == 3:
            held = float(broker.get_positions()["EURUSD"].units) if broker.get_positions() else 0.0
            assert sum(size for size, _ in broker.state()["lots"]["EURUSD"]) == held == pytest.approx(0, abs=1e-12)
    assert float(broker.get_positions()["EURUSD"].average_price) == pytest.approx(1.20)
    assert broker.nav == pytest.approx(1_000_000)


def test_a_stop_follows_the_entry_of_the_lots_that_remain() -> None:
    def reduced(lots: str) -> SimBroker:
        broker = venue("EURUSD", lots=lots)
        for n, (size, price) in enumerate(((100, "1.10"), (100, "1.20"), (-100, "1.20"))):
            stop = 0.05 if size > 0 else None
            broker.place_market_order(order(size, client_id=f"o{n}", stop_fraction=stop))
            broker.sync(snapshot(f"12 {14 + n}:00", {"EURUSD": price}))
        return broker

    fifo, average = reduced("fifo"), reduced("average")  # entries 1.20 and 1.15, stops at 1.14 and 1.0925
    for when, price, left in (
        ("17:00", "1.1401", (100, 100)),
        ("18:00", "1.1399", (0, 100)),
        ("19:00", "1.09", (0, 0)),
    ):
        for broker, size in zip((fifo, average), left):
            broker.sync(snapshot(f"12 {when}", {"EURUSD": price}))
            assert units(broker) == ({"EURUSD": size} if size else {})


@pytest.mark.parametrize("lots", ["average", "fifo"])
@pytest.mark.parametrize("side", [1, -1])
def test_an_opposite_order_reduces_first_and_opens_no_second_position(lots: str, side: int) -> None:
    broker = opened(100 * side, "1.10", lots=lots)
    for n, (size, left) in enumerate(((-40, 60), (-60, 0), (30, 30), (-100, -70), (-10, -80))):
        broker.place_market_order(order(size * side, client_id=f"o{n}"))
        broker.sync(snapshot(f"12 15:{n:02}", {"EURUSD": "1.10"}))
        assert units(broker) == ({"EURUSD": left * side} if left else {})
        gross = abs(left) * 1.10
        assert float(broker.account().margin_used) == pytest.approx(gross / 30)
    # And of two orders at once the second meets what the first left.
    broker.place_market_order(order(100 * side, client_id="buy"))
    broker.place_market_order(order(-50 * side, client_id="sell"))
    broker.sync(snapshot("12 16:00", {"EURUSD": "1.10"}))
    assert units(broker) == {"EURUSD": -30 * side}
    assert broker.get_account_balance() == 1_000_000


def test_limit_orders() -> None:
    broker = venue("EURUSD")
    broker.place_limit_order(order(1000, type="limit", limit_price=Decimal("1.0900"), client_id="buy"))
    broker.place_limit_order(order(-3000, type="limit", limit_price=Decimal("1.1100"), client_id="sell"))
    broker.sync(snapshot("12 14:00", {"EURUSD": ("1.0899", "1.0901")}))
    assert units(broker) == {}
    broker.sync(snapshot("12 15:00", {"EURUSD": ("1.0897", "1.0899")}))
    assert units(broker) == {"EURUSD": 1000}
    broker.sync(snapshot("12 16:00", {"EURUSD": ("1.1101", "1.1103")}))
    assert units(broker) == {"EURUSD": -2000}
    bought, sold = of_kind(broker, "fill")
    assert bought.price is not None
    assert sold.price is not None
    assert float(bought.price) == pytest.approx(1.0899, rel=1e-12)
    assert float(sold.price) == pytest.approx(1.1101, rel=1e-12)


def test_a_limit_is_kept_whatever_the_order_says_it_is() -> None:
    broker = venue("EURUSD")
    broker.place_limit_order(order(1000, limit_price=Decimal("1.00")))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    assert units(broker) == {}


@pytest.mark.parametrize("limit", [None, Decimal(0), Decimal(-1)])
def test_a_limit_order_needs_a_limit(limit: Decimal | None) -> None:
    with pytest.raises(OrderRejected, match="limit price"):
        venue("EURUSD").place_limit_order(order(1000, type="limit", limit_price=limit))


def test_cancelling() -> None:
    broker = venue("EURUSD")
    broker.place_market_order(order(1000, client_id="a"))
    assert broker.cancel_order("a").status is OrderStatus.CANCELLED
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    assert units(broker) == {}
    broker.place_market_order(order(1000, client_id="b"))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.10"}))
    assert broker.cancel_order("b").status is OrderStatus.FILLED
    with pytest.raises(OrderRejected, match="nothing"):
        broker.cancel_order("nothing")


def test_closing_everything() -> None:
    broker = venue("EURUSD", "USDJPY")
    broker.place_market_order(order(1000, "EURUSD"))
    broker.place_market_order(order(-2000, "USDJPY"))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10", "USDJPY": "150"}))
    broker.place_market_order(order(5000, "EURUSD", client_id="late"))
    assert [r.status for r in broker.close_all_positions()] == [OrderStatus.WORKING] * 2
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.10", "USDJPY": "150"}))
    assert units(broker) == {}
    assert broker.find_orders(["late"])["late"].status is OrderStatus.CANCELLED
    assert list(broker.close_all_positions()) == []


def test_closing_everything_twice_closes_everything() -> None:
    broker = opened(1000, "1.10")
    broker.close_all_positions()
    broker.close_all_positions()
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.10"}))
    assert units(broker) == {}


def test_transactions_since() -> None:
    broker = financed(costs=Costs(spread_multiplier=0.0, commission_bps=0.2))
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    broker.sync(snapshot("12 21:00", {"EURUSD": "1.10"}))
    everything = list(broker.transactions(None))
    assert [t.kind for t in everything] == ["fill", "commission", "financing"]
    assert [t.amount for t in everything] == [0, Decimal("-2.20"), 3 * DAY]
    ids = [t.id for t in everything]
    assert ids == sorted(set(ids))
    for n, known in enumerate(ids):
        assert list(broker.transactions(known)) == everything[n + 1 :]
    assert broker.get_account_balance() == 1_000_000 + sum(t.amount for t in everything)


def test_a_log_is_as_long_as_what_it_holds() -> None:
    broker = financed(costs=Costs(spread_multiplier=0.0, commission_bps=0.2))
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    broker.sync(snapshot("12 21:00", {"EURUSD": "1.10"}))
    assert len(broker.log) == len(list(broker.log)) == 3


# --- prices ----------------------------------------------------------------------------------------------------------


def test_a_cross_fills_at_its_own_quote() -> None:
    broker = venue("AUDJPY")
    broker.place_market_order(order(100_000, "AUDJPY"))
    broker.sync(
        snapshot("12 14:00", {"AUDJPY": ("97.48", "97.52"), "USDJPY": ("155.08", "155.12"), "AUDUSD": ("0.62", "0.63")})
    )
    price = of_kind(broker, "fill")[0].price
    assert price is not None
    assert float(price) == pytest.approx(97.52, rel=1e-9)


def test_a_cross_without_a_quote_is_made_of_its_legs() -> None:
    broker = venue("AUDJPY")
    broker.place_market_order(order(100_000, "AUDJPY"))
    broker.sync(snapshot("12 14:00", {"AUDUSD": "0.66", "USDJPY": "155"}))
    price = of_kind(broker, "fill")[0].price
    assert price is not None
    assert float(price) == pytest.approx(0.66 * 155, rel=1e-12)


def test_costs_stand_in_where_a_feed_has_mid_prices_only() -> None:
    costs = Costs(spread_bps={"USD": 0.0, "EUR": 2.0}, slippage_bps=0.5, commission_bps=0.1)
    broker = venue("EURUSD", costs=costs)
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    fill, commission = broker.transactions(None)
    assert fill.price is not None
    assert float(fill.price) == pytest.approx(1.10 * (1 + 1.5e-4), rel=1e-12)
    assert commission.amount == Decimal("-1.10")


def test_slippage_comes_on_top_of_a_real_spread() -> None:
    costs = Costs(spread_bps={"USD": 0.0, "EUR": 2.0}, slippage_bps=10.0)
    broker = venue("EURUSD", costs=costs)
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("12 14:00", {"EURUSD": ("1.0990", "1.1010")}))
    price = of_kind(broker, "fill")[0].price
    assert price is not None
    assert float(price) == pytest.approx(1.1010 + 1.10 * 10e-4, abs=2e-6)


def test_a_missing_quote_is_an_error_never_zero() -> None:
    broker = opened(100_000, "1.10")
    with pytest.raises(MissingDataError, match="EUR") as error:
        broker.sync(snapshot("12 15:00", {"GBPUSD": "1.25"}))
    assert error.value.fields == {"currency": "EUR"}
    assert float(broker.sync(snapshot("12 16:00", {"EURUSD": "1.11"})).nav) == pytest.approx(1_001_000)


def test_a_missing_conversion_is_an_error_never_one() -> None:
    broker = venue("AUDJPY")
    with pytest.raises(MissingDataError, match="to USD"):
        broker.sync(snapshot("12 14:00", {"AUDJPY": "97.5"}))
    with pytest.raises(MissingDataError, match="to USD"):
        broker.sync(snapshot("12 14:00", {"AUDJPY": "97.5", "EURGBP": "0.84"}))


@pytest.mark.parametrize("missing", ["EUR", "USD"])
def test_a_missing_rate_is_an_error_never_zero(missing: str) -> None:
    rates = {"EUR": 0.025, "USD": 0.043}
    broker = venue("EURUSD", financing=BenchmarkFinancing())
    broker.place_market_order(order(100_000))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}, rates))
    del rates[missing]
    with pytest.raises(MissingDataError, match=missing):
        broker.sync(snapshot("12 21:00", {"EURUSD": "1.10"}, rates))


def test_a_missing_pair_rate_is_an_error_never_zero() -> None:
    broker = venue("EURUSD", "GBPUSD", financing=PairRateFinancing({"EURUSD": 0.01}, {"EURUSD": 0.01}))
    with pytest.raises(MissingDataError, match="GBPUSD"):
        broker.sync(snapshot("12 14:00", {"EURUSD": "1.10", "GBPUSD": "1.25"}))


def test_nothing_can_be_read_from_a_market_without_quotes() -> None:
    broker = venue("EURUSD")
    with pytest.raises(MissingDataError, match="no quote"):
        broker.advance(1)


# --- the account -----------------------------------------------------------------------------------------------------


def test_an_account_once_read_does_not_change() -> None:
    broker = opened(100_000, "1.10")
    before = broker.account()
    position, weights = before.positions["EURUSD"], dict(before.current_weights)
    broker.place_market_order(order(50_000, client_id="more"))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.20"}))
    assert before.positions["EURUSD"] == position
    assert before.current_weights == weights
    assert broker.account().positions["EURUSD"].units == 150_000


def test_before_the_first_quote() -> None:
    account = SimBroker(cash=Decimal("12345.67")).account()
    assert (account.nav, account.cash, account.margin_used) == (Decimal("12345.67"), Decimal("12345.67"), Decimal(0))
    assert dict(account.positions) == {}
    assert account.at.tzinfo is not None


def test_yen_are_posted_whole() -> None:
    broker = opened(1_234_567, "150.013", "USDJPY", account_currency="JPY", cash=100_000_000, financing=CREDIT)
    broker.sync(snapshot("12 21:00", {"USDJPY": "150.013"}))
    (roll,) = of_kind(broker, "financing")
    assert roll.amount == round(1_234_567 * Decimal("150.013") * Decimal("0.0365") * 3 / 365)
    assert roll.amount == roll.amount.to_integral_value()
    assert broker.get_account_balance() == 100_000_000 + roll.amount


@pytest.mark.parametrize("cash", [0, -1, float("nan"), float("inf")])
def test_an_account_opens_with_money(cash: float) -> None:
    with pytest.raises(ConfigError, match="cash"):
        SimBroker(cash=cash)


def test_instruments() -> None:
    broker = SimBroker(margin_rate=0.02)
    pairs = [Pair.parse("EURUSD"), Pair.parse("USDJPY")]
    instruments = broker.get_instruments(pairs)
    assert list(instruments) == ["EURUSD", "USDJPY"]
    assert instruments["EURUSD"].exposure == pairs[0]
    assert instruments["EURUSD"].margin_rate == Decimal("0.02")
    assert list(broker.get_instruments(pairs[1:])) == ["USDJPY"]
    with pytest.raises(ConfigError, match="GBPUSD"):
        broker.get_instruments([Pair.parse("GBPUSD")])


def test_it_is_a_broker() -> None:
    broker = SimBroker()
    assert isinstance(broker, Broker)
    assert signature_problems(Broker, broker) == []
    assert Capability.NATIVE_STOPS in broker.capabilities
    broker.connect()
    broker.close()


# --- stored history --------------------------------------------------------------------------------------------------


def stored(prices: list[float], *, hour: str = "14:00", **about: Any) -> tuple[SimBroker, SteppedClock, MarketHistory]:
    """EURUSD on the weekdays from Monday, 10 March."""
    days = [d for d in range(10, 10 + 2 * len(prices)) if date(2025, 3, d).weekday() < 5][: len(prices)]
    times = np.array([to_ns(utc(f"{d} {hour}")) for d in days], "datetime64[ns]")
    rates = {
        "EUR": RateSeries.of("EUR", [(LONG_AGO, LONG_AGO, 0.025)]),
        "USD": RateSeries.of("USD", [(LONG_AGO, LONG_AGO, 0.043)]),
    }
    history = MarketHistory(times, ("EUR",), np.array(prices)[:, None], "USD", rates)
    keep = np.isfinite(history.spot[:, 0])
    history = MarketHistory(times[keep], ("EUR",), history.spot[keep], "USD", rates)
    clock = SteppedClock.over(history)
    broker = venue("EURUSD", **about)
    broker.prepare(history, clock)
    return broker, clock, history


def test_a_day_without_a_fixing_still_accrues_on_the_last_one() -> None:
    broker, clock, _ = stored([1.10, 1.10, float("nan"), 1.21, 1.21], financing=CREDIT)
    assert len(clock) == 5
    broker.place_market_order(order(100_000))
    broker.advance(len(clock))
    assert [(t.days, t.amount) for t in of_kind(broker, "financing")] == [
        (1, DAY),
        (1, DAY),
        (3, 3 * DAY),
        (1, Decimal("12.10")),
        (1, Decimal("12.10")),
    ]


def test_an_order_waits_over_a_day_without_a_fixing() -> None:
    broker, _, _ = stored([1.10, float("nan"), 1.21])
    broker.advance(1)
    broker.place_market_order(order(100_000))
    broker.advance(2)
    assert units(broker) == {}
    broker.advance(3)
    assert float(broker.get_positions()["EURUSD"].average_price) == 1.21


@pytest.mark.parametrize(("hour", "takes_part"), [("20:59:59", True), ("21:00:00", False)])
def test_a_fixing_at_1700_is_filled_after_its_roll(hour: str, takes_part: bool) -> None:
    broker, clock, _ = stored([1.10] * 4, hour=hour, financing=CREDIT)
    broker.place_market_order(order(100_000))
    broker.advance(len(clock))
    filled, first_roll = of_kind(broker, "fill")[0].at.date(), of_kind(broker, "financing")[0].trade_date
    assert (first_roll == filled) is takes_part


def test_rates_that_were_not_known_yet_are_an_error() -> None:
    _, clock, history = stored([1.10, 1.10, 1.10])
    late = utc("11 12:00")
    unknown = MarketHistory(
        history.times,
        history.currencies,
        history.spot,
        "USD",
        {**history.rates, "EUR": RateSeries.of("EUR", [(LONG_AGO, late, 0.025)])},
    )
    broker = venue("EURUSD", financing=BenchmarkFinancing())
    with pytest.raises(MissingDataError, match="EURUSD at the roll of 2025-03-10"):
        broker.prepare(unknown, clock)


def test_a_screen_sees_blocks_and_stops_the_market() -> None:
    broker, clock, _ = stored([1.10, 1.09, 1.08, 1.07, 1.06, 1.05])
    broker.place_market_order(order(100_000))
    seen: list[int] = []

    def screen(block: Block) -> int | None:
        seen.append(len(block.nav))
        low = np.flatnonzero(block.nav <= 998_000)
        return int(low[0]) if len(low) else None

    assert broker.advance(len(clock), screen) == 3  # ticks 0, 1, 2 are done
    assert seen == [6]
    assert float(broker.account().nav) == pytest.approx(998_000)
    assert broker.account().at == utc("12 21:00")
    assert broker.adverse() == pytest.approx([1 - 1.08 / 1.10])
    assert broker.advance(5) == 5
    assert float(broker.account().nav) == pytest.approx(996_000)
    assert broker.account().at - utc("12 21:00") == timedelta(days=2)


def test_a_stop_at_the_first_quote_after_the_entry() -> None:
    broker, clock, _ = stored([1.10, 1.04, 1.10, 1.03])
    broker.place_market_order(order(100_000, stop_fraction=0.05))
    broker.advance(len(clock))
    assert [f.price for f in of_kind(broker, "fill")] == [Decimal("1.1"), Decimal("1.04")]


def test_a_stop_inside_a_block() -> None:
    broker, clock, _ = stored([1.10, 1.09, 1.04, 1.10, 1.12])
    broker.place_market_order(order(100_000, stop_fraction=0.05))
    assert broker.advance(len(clock)) == 3  # it stops after the tick of the event
    assert broker.events == [("EURUSD", "stop", 1)]
    broker.events.clear()
    broker.advance(len(clock))
    fills = of_kind(broker, "fill")
    assert [(f.at.day, f.price) for f in fills] == [(10, Decimal("1.1")), (12, Decimal("1.04"))]
    assert broker.get_account_balance() == 994_000
    np.testing.assert_allclose(broker.log.columns().nav, [1e6, 999e3, 994e3, 994e3, 994e3])


def test_a_close_out_inside_a_block() -> None:
    broker, clock, _ = stored([1.10, 1.09, 1.06, 1.20], cash=10_000)
    broker.place_market_order(order(200_000))
    assert broker.advance(len(clock)) == 3
    broker.events.clear()
    broker.advance(len(clock))
    assert units(broker) == {}
    np.testing.assert_allclose(broker.log.columns().nav, [10_000, 8_000, 2_000, 2_000])
    attribute(broker.log)


def test_a_close_out_inside_a_block_at_the_margin_of_the_pair() -> None:
    # 10 % of 200,000 × 1.09 is 21,800, half of it 10,900; NAV is 13,000 there and 7,000 at 1.06, below 10,600.
    broker, clock, _ = stored([1.10, 1.09, 1.06, 1.20], cash=15_000, margin_rates={"EURUSD": 0.1})
    broker.place_market_order(order(200_000))
    assert broker.advance(len(clock)) == 3
    broker.events.clear()
    broker.advance(len(clock))
    np.testing.assert_allclose(broker.log.columns().nav, [15_000, 13_000, 7_000, 7_000])


def test_the_account_is_as_of_the_last_tick() -> None:
    broker, clock, _ = stored([1.10, 1.11])
    for tick, at in enumerate(clock.at):
        broker.advance(tick + 1)
        assert to_ns(broker.account().at) == at


# --- stopping and going on -------------------------------------------------------------------------------------------


def anew(broker: SimBroker, *pairs: str, **about: Any) -> SimBroker:
    """Another venue that goes on from the text of the state of this one."""
    other = SimBroker(**about)
    other.restore(json.loads(json.dumps(broker.state(), allow_nan=False)), [Pair.parse(p) for p in pairs] or None)
    return other


def test_a_snapshot_is_processed_to_its_end_whatever_happens_in_it() -> None:
    about: dict[str, Any] = {"financing": PairRateFinancing("0.01", "0.01")}
    broker = venue("EURUSD", "GBPUSD", **about)
    broker.place_market_order(order(1000, "EURUSD", stop_fraction=0.01))
    broker.place_market_order(order(1000, "GBPUSD"))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10", "GBPUSD": "1.25"}))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.05", "GBPUSD": "1.25"}))
    assert broker.events == [("EURUSD", "stop", 1)]  # and nobody has read it yet
    broker.sync(snapshot("14 15:00", {"EURUSD": "1.05", "GBPUSD": "1.25"}))
    assert [t.trade_date for t in of_kind(broker, "financing")] == [date(2025, 3, 12), date(2025, 3, 13)]
    assert broker.at == utc("14 15:00")


def test_a_restored_venue_keeps_positions_stops_and_what_waits() -> None:
    broker = opened(1000, "1.10", stop_fraction=0.05)
    broker.place_limit_order(order(500, client_id="later", limit_price=Decimal("1.08")))
    other = anew(broker)
    assert other.account() is not broker.account()
    assert other.get_positions() == broker.get_positions()
    assert other.account().nav == broker.account().nav == 1_000_000
    assert [(r.client_id, r.price) for r in other.get_orders()] == [("later", None), ("stop-EURUSD", Decimal("1.045"))]
    assert other.find_orders(["open", "later", "never"]) == broker.find_orders(["open", "later"])
    assert other.place_market_order(order(1000, client_id="open")).status is OrderStatus.FILLED
    assert other.transactions(None) == []  # what was booked before is kept elsewhere
    for one in (broker, other):
        one.sync(snapshot("12 15:00", {"EURUSD": "1.04"}))
    assert other.get_positions() == {}
    assert other.transactions(None) == broker.transactions("00000000-F000")
    assert [t.id for t in other.transactions(None)] == ["00000001-F000"]


def test_a_restored_venue_keeps_its_lots() -> None:
    broker = through(venue("AUDJPY", lots="fifo"), *PART)
    state = json.loads(json.dumps(broker.state()))
    assert state["lots"] == {"AUDJPY": [[40_000.0, pytest.approx(97.52)], [50_000.0, pytest.approx(98.02)]]}
    other = anew(broker, lots="fifo")
    for one in (broker, other):
        one.place_market_order(order(-50_000, "AUDJPY", client_id="less"))
        one.sync(snapshot("12 17:00", {"AUDJPY": "98.02", "USDJPY": "155"}))
        assert of_kind(one, "fill")[-1].amount == Decimal("129.03")  # 40,000 × 0.50 = 20,000 yen
        assert float(one.get_positions()["AUDJPY"].average_price) == pytest.approx(98.02)
    assert anew(broker, "EURUSD", "AUDJPY", lots="fifo").state()["lots"] == {
        "EURUSD": [], "AUDJPY": [[40_000.0, pytest.approx(98.02)]]
    }  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
def test_a_state_without_lots_is_one_lot_at_the_average(version: int) -> None:
    state = {**through(venue("AUDJPY"), *PART[:2]).state(), "version": version}
    if version == 1:
        del state["lots"]
    other = SimBroker(lots="fifo")
    other.restore(state)
    ((size, price),) = other.state()["lots"]["AUDJPY"]
    assert (size, price) == (150_000, pytest.approx(97.686667, abs=1e-6))
    plain = SimBroker()
    plain.restore(state)
    for one in (other, plain):
        one.place_market_order(order(-60_000, "AUDJPY", client_id="less"))
        one.sync(snapshot("12 16:00", {"AUDJPY": "97.83", "USDJPY": "154.80"}))
        assert of_kind(one, "fill")[-1].amount == Decimal("55.56")


def test_lots_may_be_given_up_for_the_average() -> None:
    broker = through(venue("AUDJPY", lots="fifo"), *PART)
    other = anew(broker)
    assert other.get_positions() == broker.get_positions()
    assert other.state()["lots"] == {}


def test_the_pairs_of_a_restored_venue_may_be_others_in_another_order() -> None:
    broker = venue("EURUSD", "AUDUSD", "GBPUSD")
    broker.place_market_order(order(1000, "GBPUSD", stop_fraction=0.1))
    prices = {"EURUSD": "1.10", "AUDUSD": "0.60", "GBPUSD": "1.25", "NZDUSD": "0.50"}
    broker.sync(snapshot("12 14:00", prices))
    other = anew(broker, "GBPUSD", "NZDUSD", "EURUSD")
    assert other.names == ("GBPUSD", "NZDUSD", "EURUSD")
    assert units(other) == {"GBPUSD": 1000}
    assert other.account().current_weights == {"GBP": pytest.approx(1250 / 1_000_000)}
    other.place_market_order(order(200, "NZDUSD"))
    other.sync(snapshot("12 15:00", {**prices, "GBPUSD": "1.12"}))
    assert units(other) == {"NZDUSD": 200}  # the stop of the pound at 1.125 moved with it
    assert float(other.account().nav) == pytest.approx(1_000_000 - 130)


def test_a_state_that_does_not_fit_is_refused() -> None:
    broker = opened(1000, "1.10")
    for about, pairs, said in (
        ({"account_id": "other"}, (), "of account 'simulated' in USD, not of 'other' in USD"),
        ({"account_currency": "EUR"}, (), "not of 'simulated' in EUR"),
        ({}, ("GBPUSD",), "holds or waits for EURUSD"),
    ):
        with pytest.raises(ConfigError, match=said):
            anew(broker, *pairs, **about)
    broker.place_market_order(order(-1000, client_id="close"))
    broker.sync(snapshot("12 15:00", {"EURUSD": "1.10"}))
    assert anew(broker, "GBPUSD").names == ("GBPUSD",)
    with pytest.raises(ConfigError, match="version 0"):
        SimBroker().restore({**broker.state(), "version": 0})


def test_a_venue_that_never_saw_a_quote_can_be_kept() -> None:
    broker = venue("EURUSD")
    broker.place_market_order(order(1000))
    other = anew(broker)
    account = other.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    assert (account.nav, units(other)) == (1_000_000, {"EURUSD": 1000})


def test_what_is_forgotten_changes_nothing_to_come() -> None:
    broker, other = opened(1000, "1.10"), opened(1000, "1.10")
    first = other.transactions(None)
    other.forget()
    assert other.transactions(None) == []
    for one in (broker, other):
        one.place_market_order(order(-400, client_id="less"))
        one.sync(snapshot("12 15:00", {"EURUSD": "1.20"}))
    assert [*first, *other.transactions(None)] == broker.transactions(None)
    assert other.find_orders(["open", "less"]) == broker.find_orders(["open", "less"])
    assert [o.client_id for o in other.accepted()] == ["open", "less"]
    assert [o.client_id for o in other.accepted(1)] == ["less"]
    with pytest.raises(LedgerError, match="begins after 1 ticks"):
        attribute(other.log)


def test_a_run_over_stored_history_is_not_kept() -> None:
    broker = venue("EURUSD")
    at = [to_ns(utc(f"{day} 20:59")) for day in (12, 13)]
    history = MarketHistory(np.array(at), ("EUR",), np.array([[1.1], [1.2]]), "USD", {})
    broker.prepare(history, SteppedClock.over(history))
    with pytest.raises(ConfigError, match="stored history"):
        broker.state()


def test_a_twin_is_laid_out_for_what_is_asked_and_leaves_the_account_alone() -> None:
    quotes = {"EURUSD": "1.10", "GBPUSD": "1.25", "AUDUSD": "0.66"}
    broker = venue("EURUSD", "GBPUSD")
    broker.sync(snapshot("12 14:00", quotes))
    broker.place_market_order(order(1000))
    broker.place_market_order(order(-300, "GBPUSD"))
    broker.sync(snapshot("12 14:01", quotes))
    before = broker.state()
    twin = broker.twin()
    twin.get_instruments([Pair.parse(p) for p in ("AUDUSD", "GBPUSD", "EURUSD")])
    assert twin.names == ("AUDUSD", "GBPUSD", "EURUSD")
    assert dict(twin.get_positions()) == dict(broker.get_positions())
    assert twin.lot().units == [0.0, -300.0, 1000.0]
    twin.close_all_positions()
    twin.sync(snapshot("12 14:02", quotes))
    assert not twin.get_positions()
    assert broker.state() == before
    with pytest.raises(ConfigError, match="holds or waits for EURUSD"):
        broker.twin().get_instruments([Pair.parse("GBPUSD")])
