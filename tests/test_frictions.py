"""fxcarry.frictions and what the simulated venue makes of them, by worked numbers.

Instants are UTC in the second week of March 2025, when 17:00 New York is 21:00 UTC; Wednesday is the 12th.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from fxcarry.costs import Costs
from fxcarry.errors import ConfigError
from fxcarry.financing import PairRateFinancing
from fxcarry.frictions import Frictions
from fxcarry.ledger import attribute
from fxcarry.model import Order, OrderResult, OrderStatus, Pair, Quote, Snapshot, Transaction
from fxcarry.orders import Plan
from fxcarry.simulation import SimBroker


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"2025-03-{text}").replace(tzinfo=UTC)


def snapshot(when: str, prices: Mapping[str, str], *, as_of: str | None = None) -> Snapshot:
    seen = utc(as_of or when)
    return Snapshot(utc(when), {Pair.parse(n): Quote(Decimal(p), Decimal(p), seen) for n, p in prices.items()})


def venue(*pairs: str, costs: Costs | None = None, financing: Any = None, **frictions: Any) -> SimBroker:
    broker = SimBroker(costs=costs, financing=financing, frictions=Frictions(**frictions))
    broker.get_instruments([Pair.parse(p) for p in pairs or ("EURUSD",)])
    return broker


def order(units: int, client_id: str = "a", **about: Any) -> Order:
    return Order(client_id=client_id, instrument=about.pop("instrument", "EURUSD"), units=Decimal(units), **about)


def fills(broker: SimBroker) -> list[tuple[str, int, float]]:
    """(client id, units, price) of every fill."""
    found: list[Transaction] = [t for t in broker.transactions(None) if t.kind == "fill"]
    return [(t.client_id, int(t.units), float(t.price or 0)) for t in found]


def result(broker: SimBroker, client_id: str = "a") -> OrderResult:
    return broker.find_orders([client_id])[client_id]


def restored(broker: SimBroker) -> SimBroker:
    other = SimBroker(frictions=broker.frictions)
    other.restore(json.loads(json.dumps(broker.state(), allow_nan=False)))
    return other


# --- latency ---------------------------------------------------------------------------------------------------------


def test_an_order_fills_at_the_first_quote_late_enough() -> None:
    broker = venue(latency=timedelta(seconds=90))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))
    broker.place_market_order(order(1000))
    broker.place_plan(Plan([(0, "EURUSD", 50.0, "open", False)], account_id="x", at=utc("12 14:00"), reason=""))
    broker.sync(snapshot("12 14:01", {"EURUSD": "1.11"}))
    assert fills(broker) == []
    broker = restored(broker)
    broker.sync(snapshot("12 14:01:29", {"EURUSD": "1.12"}))
    assert fills(broker) == []
    broker.sync(snapshot("12 14:01:30", {"EURUSD": "1.13"}))
    assert [(units, price) for _, units, price in fills(broker)] == [(1000, 1.13), (50, 1.13)]


def test_latency_does_not_delay_a_stop() -> None:
    broker = venue(latency=timedelta(minutes=10))
    broker.place_market_order(order(1000, stop_fraction=0.05))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))  # placed before any quote: there is nothing to count from
    broker.sync(snapshot("12 14:01", {"EURUSD": "1.00"}))
    assert [(units, price) for _, units, price in fills(broker)] == [(1000, 1.10), (-1000, 1.00)]


# --- partial fills ---------------------------------------------------------------------------------------------------


def test_a_large_order_fills_in_parts() -> None:
    broker = venue(largest_fill=10_000.0)
    broker.place_market_order(order(20_000, stop_fraction=0.5))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.10"}))  # 10,000 / 1.10 = 9,090.9
    assert fills(broker) == [("a", 9090, 1.10)]
    assert (result(broker).status, result(broker).filled_units) == (OrderStatus.PARTIAL, 9090)
    assert broker.waiting() == {"EURUSD": 10910}
    assert [(r.client_id, r.status) for r in broker.get_orders()] == [
        ("a", OrderStatus.PARTIAL),
        ("stop-EURUSD", OrderStatus.WORKING),
    ]
    broker = restored(broker)
    broker.sync(snapshot("12 14:01", {"EURUSD": "1.10"}, as_of="12 14:00"))
    assert fills(broker) == []  # no new quote
    broker.sync(snapshot("12 14:02", {"EURUSD": "1.25"}))  # 8,000
    broker.sync(snapshot("12 14:03", {"EURUSD": "1.00"}))  # the last 2,910
    assert fills(broker) == [("a", 8000, 1.25), ("a", 2910, 1.00)]
    done = result(broker)
    assert (done.status, done.filled_units) == (OrderStatus.FILLED, 20_000)
    assert float(done.price or 0) == pytest.approx((9090 * 1.10 + 8000 * 1.25 + 2910 * 1.00) / 20_000, rel=1e-12)
    assert [r.client_id for r in broker.get_orders()] == ["stop-EURUSD"]
    assert broker.get_positions()["EURUSD"].average_price == pytest.approx(done.price)


def test_what_is_left_of_a_partial_fill_can_be_cancelled() -> None:
    broker = venue(largest_fill=10_000.0)
    broker.place_market_order(order(20_000))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.00"}))
    cancelled = broker.cancel_order("a")
    assert (cancelled.status, cancelled.filled_units, cancelled.price) == (OrderStatus.CANCELLED, 10_000, 1)
    broker.sync(snapshot("12 14:01", {"EURUSD": "1.00"}))
    assert len(fills(broker)) == 1
    assert result(broker) == cancelled


def test_a_reduction_in_parts_never_goes_through_zero() -> None:
    broker = venue(largest_fill=10_000.0)
    broker.place_market_order(order(9_000))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.00"}))
    broker.place_market_order(order(-50_000, "close", is_reducing=True))
    broker.sync(snapshot("12 14:01", {"EURUSD": "1.50"}))  # 6,666 a quote
    broker.sync(snapshot("12 14:02", {"EURUSD": "1.50"}))
    broker.sync(snapshot("12 14:03", {"EURUSD": "1.50"}))
    assert fills(broker)[1:] == [("close", -6666, 1.5), ("close", -2334, 1.5)]
    assert (result(broker, "close").status, broker.get_positions()) == (OrderStatus.FILLED, {})


def test_a_large_reduction_of_nothing_is_cancelled_whole() -> None:
    broker = venue(largest_fill=10_000.0)
    broker.place_market_order(order(50_000, is_reducing=True))
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.00"}))
    assert (result(broker).status, broker.waiting()) == (OrderStatus.CANCELLED, {})
    broker.place_market_order(order(-3_000, "short"))
    broker.place_market_order(order(50_000, "close", is_reducing=True))
    broker.sync(snapshot("12 14:01", {"EURUSD": "1.00"}))
    assert fills(broker) == [("short", -3000, 1.0), ("close", 3000, 1.0)]  # what the same quote has opened
    assert (result(broker, "close").status, broker.waiting()) == (OrderStatus.FILLED, {})


def test_one_unit_fills_however_little_a_quote_takes() -> None:
    broker = venue(largest_fill=0.5)
    broker.place_market_order(order(2))
    for minute in range(3):
        broker.sync(snapshot(f"12 14:0{minute}", {"EURUSD": "1.00"}))
    assert fills(broker) == [("a", 1, 1.0), ("a", 1, 1.0)]


# --- refusals --------------------------------------------------------------------------------------------------------


def test_the_share_refused_follows_from_seed_and_id_alone() -> None:
    ids = [f"order-{n}" for n in range(2000)]
    refused = {i for i in ids if Frictions(reject_rate=0.1).refuses(i)}
    assert 140 < len(refused) < 260  # 200 ± 4.5 deviations
    assert refused == {i for i in reversed(ids) if Frictions(reject_rate=0.1, latency=timedelta(1)).refuses(i)}
    assert refused != {i for i in ids if Frictions(reject_rate=0.1, seed=1).refuses(i)}
    assert refused < {i for i in ids if Frictions(reject_rate=0.2).refuses(i)}
    assert not any(Frictions().refuses(i) for i in ids)


def test_a_refused_order_is_known_and_stays_refused() -> None:
    broker = venue(reject_rate=0.5)
    plan = Plan([(0, "EURUSD", 7.0, leg, False) for leg in "abcdefgh"], account_id="x", at=utc("12 14:00"), reason="")
    for n in range(20):
        broker.place_market_order(order(1, f"{n}"))
    broker.place_plan(plan)
    known = broker.find_orders([*map(str, range(20)), *(o.client_id for o in plan)])
    refused = {i for i, r in known.items() if r.status is OrderStatus.REJECTED}
    assert refused == {i for i in known if broker.frictions.refuses(i)}
    assert 0 < len(refused) < len(known) == 28
    one = min(refused)
    assert broker.place_market_order(order(1, one)).reason == "refused by the venue"
    assert restored(broker).find_orders([one]) == {one: known[one]}
    broker.sync(snapshot("12 14:00", {"EURUSD": "1.00"}))
    assert {client_id for client_id, _, _ in fills(broker)} == known.keys() - refused


# --- market hours ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("closed_market", "filled_at"), [("trade", [1.10]), ("wait", [1.40]), ("reject", [])])
def test_an_order_on_saturday(closed_market: str, filled_at: list[float]) -> None:
    broker = venue(closed_market=closed_market)
    broker.sync(snapshot("15 12:00", {"EURUSD": "1.00"}))
    answer = broker.place_market_order(order(1000))
    broker.sync(snapshot("15 13:00", {"EURUSD": "1.10"}))
    broker.sync(snapshot("16 20:59:59", {"EURUSD": "1.20"}))
    broker.sync(snapshot("16 21:05", {"EURUSD": "1.30"}, as_of="16 20:59:59"))  # open, but the quote is the old one
    broker.sync(snapshot("16 21:10", {"EURUSD": "1.40"}))
    assert [price for _, _, price in fills(broker)] == filled_at
    assert (answer.status is OrderStatus.REJECTED) == (closed_market == "reject")
    assert result(broker).reason == ("the market is closed" if closed_market == "reject" else "")


def test_a_stop_waits_for_the_open_and_pays_the_gap() -> None:
    broker = venue(closed_market="wait")
    broker.place_market_order(order(1000, stop_fraction=0.05))
    broker.sync(snapshot("14 20:00", {"EURUSD": "1.00"}))
    broker.sync(snapshot("15 12:00", {"EURUSD": "0.94"}))
    assert len(fills(broker)) == 1
    broker.sync(snapshot("16 21:00", {"EURUSD": "0.90"}))
    assert fills(broker)[1][1:] == (-1000, 0.90)


def test_the_close_of_the_week_is_still_open_and_new_year_is_not() -> None:
    instants = ["2025-03-14T21:00", "2025-03-14T21:00:01", "2025-03-16T20:59", "2025-03-16T21:00", "2025-01-01T15:00"]
    deals = Frictions(closed_market="wait").deals(np.array(instants, "datetime64[ns]"))
    assert deals is not None
    assert deals.tolist() == [True, False, False, True, False]
    assert Frictions().deals(np.array(instants, "datetime64[ns]")) is None


# --- conversion ------------------------------------------------------------------------------------------------------


def test_financing_is_converted_at_a_fee_on_either_side() -> None:
    """100,000 AUDJPY on a Wednesday: USD 9.564737 less 0.5 % = 9.516913; short −17.836942 more 0.5 % = −17.926127."""
    for side, wanted, booked in ((1, 9.516913, "9.52"), (-1, -17.926127, "-17.93")):
        broker = venue("AUDJPY", financing=PairRateFinancing("0.0185", "-0.0345"), conversion_fee=0.005)
        prices = {"AUDJPY": "97.50", "USDJPY": "155.00"}
        broker.place_market_order(order(side * 100_000, instrument="AUDJPY"))
        broker.sync(snapshot("12 14:00", prices))
        broker.sync(snapshot("12 22:00", prices))
        assert [t.amount for t in broker.transactions(None) if t.kind == "financing"] == [Decimal(booked)]
        assert attribute(broker.log).carry.sum() == pytest.approx(wanted, abs=1e-6)


def test_profit_and_loss_are_converted_at_a_fee() -> None:
    broker = venue("USDJPY", "EURUSD", conversion_fee=0.01)
    prices = {"USDJPY": "100", "EURUSD": "1.00"}
    broker.place_market_order(order(10_000, "yen", instrument="USDJPY"))
    broker.place_market_order(order(10_000, "euro"))
    broker.sync(snapshot("12 14:00", prices))
    broker.place_market_order(order(-10_000, "yen-out", instrument="USDJPY"))
    broker.place_market_order(order(-10_000, "euro-out"))
    broker.sync(snapshot("12 15:00", {"USDJPY": "80", "EURUSD": "1.10"}))
    # −200,000 yen are −2,500 dollars at 80, and 1 % of that; dollars need no conversion
    charged = [(t.client_id, t.amount) for t in broker.transactions(None) if t.kind == "commission"]
    assert charged == [("yen-out", Decimal("-25.00"))]
    assert broker.get_account_balance() == 1_000_000 - 2500 - 25 + 1000
    assert attribute(broker.log).cost.sum() == pytest.approx(-25)


# --- spreads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "multiple"),
    [
        ("2025-03-12T20:44:59", 1),
        ("2025-03-12T20:45", 5),
        ("2025-03-12T21:00", 5),
        ("2025-03-12T21:29:59", 5),
        ("2025-03-12T21:30", 1),
        ("2025-03-14T20:59", 5),
        ("2025-03-15T12:00", 1),  # closed
        ("2025-03-16T21:00", 5),  # the larger of 5 and 3
        ("2025-03-16T21:45", 3),
        ("2025-03-16T22:00", 1),
        ("2025-01-15T21:50", 5),  # winter: 17:00 New York is 22:00
        ("2025-04-09T12:00", 2),
        ("2025-04-09T20:50", 10),
        ("2025-04-10T21:50", 1),  # the trade date of the 11th
    ],
)
def test_spreads_are_wider_around_the_roll_on_sunday_and_in_a_crisis(at: str, multiple: float) -> None:
    frictions = Frictions(
        rollover_spread=5.0,
        sunday_spread=3.0,
        crisis_spread=2.0,
        crises=((date(2025, 4, 3), date(2025, 4, 10)), (date(2020, 3, 9), date(2020, 3, 20))),
    )
    found = frictions.spread_multiple(np.array([at], "datetime64[ns]"))
    assert found is not None
    assert found.tolist() == [multiple]
    assert Frictions().spread_multiple(np.array([at], "datetime64[ns]")) is None


def test_only_the_spread_of_the_cost_model_is_multiplied() -> None:
    costs = Costs(spread_bps={"EUR": 2.0, "USD": 0.0}, slippage_bps=0.5)
    for when, price in (("12 14:00", 1.00015), ("12 21:00", 1.00055)):  # half of 2 bp once or 5 times, and 0.5
        broker = venue(costs=costs, rollover_spread=5.0)
        broker.place_market_order(order(1000))
        broker.sync(snapshot(when, {"EURUSD": "1"}))
        assert fills(broker) == [("a", 1000, pytest.approx(price, abs=1e-12))]
    broker = venue(costs=costs, rollover_spread=5.0)
    broker.place_market_order(order(1000))
    quote = Quote(Decimal("0.999"), Decimal("1.001"), utc("12 21:00"))
    broker.sync(Snapshot(utc("12 21:00"), {Pair("EUR", "USD"): quote}))
    assert fills(broker) == [("a", 1000, pytest.approx(1.001 + 0.00005, abs=1e-12))]


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"latency": timedelta(seconds=-1)}, "latency is -1 day"),
        ({"largest_fill": 0.0}, "largest_fill is 0.0"),
        ({"largest_fill": float("nan")}, "largest_fill is nan"),
        ({"reject_rate": 1.0}, "reject_rate is 1.0"),
        ({"conversion_fee": -0.1}, "conversion_fee is -0.1"),
        ({"closed_market": "sleep"}, "closed_market is 'sleep'"),
        ({"rollover_spread": 0.5}, "rollover_spread is 0.5"),
        ({"crisis_spread": float("inf")}, "crisis_spread is inf"),
        ({"crises": ((date(2025, 1, 2), date(2025, 1, 1)),)}, "ends before it begins"),
    ],
)
def test_what_makes_no_sense_is_refused(about: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Frictions(**about)
