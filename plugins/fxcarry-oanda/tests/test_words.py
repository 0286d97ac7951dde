"""Prices and units at the venue's precision, and stops that protect."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.errors import OrderRejected
from fxcarry.model import Order, Pair
from fxcarry_oanda.words import Terms, instant, order_body, own_name, stated, venue_name

EURUSD = Terms(pair=Pair("EUR", "USD"), price_digits=5, unit_digits=0, minimum=Decimal(1), margin_rate=Decimal("0.02"))
USDJPY = Terms(pair=Pair("USD", "JPY"), price_digits=3, unit_digits=0, minimum=Decimal(1), margin_rate=Decimal("0.04"))
FINE = Terms(
    pair=Pair("EUR", "HUF"), price_digits=3, unit_digits=1, minimum=Decimal("0.1"), margin_rate=Decimal("0.05")
)

terms = st.sampled_from([EURUSD, USDJPY, FINE])
sides = st.sampled_from([1, -1])


def prices(low: str = "0.5", high: str = "250") -> Any:
    return st.decimals(low, high, places=9, allow_nan=False, allow_infinity=False)


def is_at_precision(text: str, digits: int) -> bool:
    _, point, decimals = text.partition(".")
    return "E" not in text.upper() and len(decimals) == digits and bool(point) is bool(digits)


@given(terms, sides, prices(), prices("0.000000001", "0.4"))
def test_a_stop_neither_passes_its_entry_nor_leaves_more_at_risk_than_a_step(
    of: Terms, side: int, entry: Decimal, fraction: Decimal
) -> None:
    wanted = entry * (1 - side * fraction)
    text = of.stop(wanted, side, entry)
    stop = Decimal(text)
    assert is_at_precision(text, of.price_digits)
    assert side * (entry - stop) > 0, "the stop is on or through the entry"
    assert abs(stop - wanted) < of.tick, "the stop is a step or more from where it was asked for"
    if side * (entry - wanted) >= of.tick:  # there is room for it
        assert side * (stop - wanted) >= 0, "the stop was rounded away from protection"


@given(terms, sides, prices(), prices("0.000000001", "0.4"))
def test_a_stop_that_locks_a_gain_in_is_rounded_towards_more_of_it(
    of: Terms, side: int, entry: Decimal, fraction: Decimal
) -> None:
    wanted = entry * (1 + side * fraction)
    stop = Decimal(of.stop(wanted, side, entry))
    assert 0 <= side * (stop - wanted) < of.tick


@given(terms, prices(), st.floats(1e-6, 0.5))
def test_a_stop_on_fill_loses_no_more_than_its_fraction_and_is_at_least_a_step_away(
    of: Terms, entry: Decimal, fraction: float
) -> None:
    text = of.stop_distance(fraction, entry)
    distance = Decimal(text)
    assert is_at_precision(text, of.price_digits)
    assert distance >= of.tick
    assert distance == of.tick or distance <= Decimal(repr(fraction)) * entry
    assert distance > Decimal(repr(fraction)) * entry - of.tick


@given(terms, sides, prices())
def test_a_limit_is_never_worse_than_it_was_asked_for(of: Terms, side: int, price: Decimal) -> None:
    text = of.limit(price, side)
    assert is_at_precision(text, of.price_digits)
    assert 0 <= side * (price - Decimal(text)) < of.tick


@given(terms, st.decimals("-1e8", "1e8", places=4, allow_nan=False, allow_infinity=False))
def test_units_are_cut_towards_zero_at_the_venues_step(of: Terms, units: Decimal) -> None:
    step = Decimal(1).scaleb(-of.unit_digits)
    if abs(units) < step:
        with pytest.raises(OrderRejected, match="less than OANDA deals in"):
            of.units(units)
        return
    text = of.units(units)
    assert is_at_precision(text, of.unit_digits)
    assert 0 <= abs(units) - abs(Decimal(text)) < step
    assert (Decimal(text) > 0) is (units > 0)


@pytest.mark.parametrize(
    ("of", "price", "side", "entry", "text"),
    [
        (EURUSD, "1.045", 1, "1.1", "1.04500"),
        (EURUSD, "1.0450049", 1, "1.1", "1.04501"),
        (EURUSD, "1.1549951", -1, "1.1", "1.15499"),
        (EURUSD, "1.099999", 1, "1.1", "1.09999"),  # up would be the entry itself
        (EURUSD, "1.100001", -1, "1.1", "1.10001"),
        (USDJPY, "149.9996", 1, "150", "149.999"),
        (USDJPY, "142.5004", 1, "150", "142.501"),
        (USDJPY, "157.4996", -1, "150", "157.499"),
        (USDJPY, "0.9681", 1, "1.02", "0.969"),  # once rounded to 0.97 and beyond by a tick of a hundredth
    ],
)
def test_stops_by_hand(of: Terms, price: str, side: int, entry: str, text: str) -> None:
    assert of.stop(Decimal(price), side, Decimal(entry)) == text


def test_a_stop_that_is_no_price_is_refused() -> None:
    with pytest.raises(OrderRejected, match="is no price"):
        EURUSD.stop(Decimal("-0.1"), 1, Decimal("1.1"))


@given(st.floats(1.0, 1.5), st.integers(1, 10**8), sides)
def test_what_goes_out_are_decimal_strings(price: float, units: int, side: int) -> None:
    order = Order(
        client_id="a",
        instrument="EURUSD",
        units=Decimal(side * units),
        type="limit",
        limit_price=Decimal(repr(price)),
        stop_fraction=0.05,
    )
    body = order_body(order, EURUSD, order.units, Decimal(repr(price)))["order"]
    assert body["units"] == str(side * units)
    for text in (body["price"], body["stopLossOnFill"]["distance"]):
        assert is_at_precision(text, 5)


def test_the_body_of_a_market_order() -> None:
    order = Order(client_id="8f", instrument="USDJPY", units=Decimal("-1500.7"), stop_fraction=0.1)
    assert order_body(order, USDJPY, order.units, Decimal("150.005")) == {
        "order": {
            "type": "MARKET",
            "instrument": "USD_JPY",
            "units": "-1500",
            "timeInForce": "FOK",
            "positionFill": "REDUCE_FIRST",
            "clientExtensions": {"id": "8f", "tag": "fxcarry"},
            "stopLossOnFill": {"distance": "15.000", "timeInForce": "GTC"},
        }
    }
    reducing = Order(client_id="8f", instrument="USDJPY", units=Decimal(10), is_reducing=True)
    body = order_body(reducing, USDJPY, Decimal(10), None)["order"]
    assert body["positionFill"] == "REDUCE_ONLY"
    assert "stopLossOnFill" not in body


def test_orders_that_cannot_be_written_are_refused() -> None:
    long = Order(client_id="x" * 129, instrument="EURUSD", units=Decimal(1))
    with pytest.raises(OrderRejected, match="129 characters"):
        order_body(long, EURUSD, long.units, None)
    bare = Order(client_id="x", instrument="EURUSD", units=Decimal(1), type="limit")
    with pytest.raises(OrderRejected, match="has no price"):
        order_body(bare, EURUSD, bare.units, None)


SAID = {
    "name": "AUD_JPY",
    "type": "CURRENCY",
    "displayPrecision": 3,
    "pipLocation": -2,
    "tradeUnitsPrecision": 0,
    "minimumTradeSize": "1",
    "marginRate": "0.05",
    "financing": {
        "longRate": "0.0252",
        "shortRate": "-0.0473",
        "financingDaysOfWeek": [
            {"dayOfWeek": day, "daysCharged": charged}
            for day, charged in [("MONDAY", 1), ("TUESDAY", 1), ("WEDNESDAY", 3), ("SATURDAY", 0)]
        ],
    },
}


def test_terms_are_read_as_oanda_states_them() -> None:
    of = Terms.of(SAID)
    assert of.days == {0: 1, 1: 1, 2: 3, 5: 0}
    found = of.instrument()
    assert (found.name, found.exposure) == ("AUDJPY", Pair("AUD", "JPY"))
    assert (found.unit_step, found.minimum_units, found.margin_rate) == (1, 1, Decimal("0.05"))
    assert (found.financing_long, found.financing_short) == (0.0252, -0.0473)


def test_terms_without_financing_have_none_rather_than_zero() -> None:
    of = Terms.of({key: value for key, value in SAID.items() if key != "financing"})
    assert (of.long_rate, of.short_rate, of.days) == (None, None, None)
    assert of.instrument().financing_long is None


def test_names_and_instants() -> None:
    assert (venue_name("EURUSD"), own_name("EUR_USD")) == ("EUR_USD", "EURUSD")
    at = datetime(2025, 3, 12, 21, 0, 0, 123456, tzinfo=UTC)
    assert instant("2025-03-12T21:00:00.123456789Z") == at
    assert stated(at) == "2025-03-12T21:00:00.123456000Z"
    assert instant(stated(at)) == at
