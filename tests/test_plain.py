"""fxcarry.plain: a record read back is the record."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.model import Order, OrderResult, OrderStatus, Rate, Transaction
from fxcarry.plain import from_plain, to_plain

AT = datetime(2025, 3, 12, 21, 0, 0, 123456, tzinfo=UTC)
numbers = st.decimals(allow_nan=False, allow_infinity=False)


def test_what_is_written() -> None:
    result = OrderResult(
        client_id="a",
        instrument="EURUSD",
        status=OrderStatus.FILLED,
        filled_units=Decimal("1E+3"),
        price=Decimal("1.10"),
    )
    assert json.loads(json.dumps(to_plain(result))) == {
        "client_id": "a",
        "instrument": "EURUSD",
        "status": "filled",
        "filled_units": "1E+3",
        "price": "1.10",
        "reason": "",
    }


@pytest.mark.parametrize(
    "record",
    [
        Order(client_id="a", instrument="EURUSD", units=Decimal(-3), stop_fraction=0.1, is_reducing=True),
        Order(client_id="b", instrument="USDJPY", units=Decimal(7), type="limit", limit_price=Decimal("150.10")),
        OrderResult(client_id="a", instrument="EURUSD", status=OrderStatus.UNKNOWN, reason="time-out"),
        Rate(value=0.1 + 0.2, day_count=365, as_of=AT, available_at=AT, tenor="1M", source="a bank"),
        Transaction(id="1", at=AT, kind="fee", amount=Decimal("-0.10"), currency="USD"),
        Transaction(
            id="2", at=AT, kind="financing", amount=Decimal(0), currency="USD", trade_date=date(2025, 3, 12), days=3
        ),
    ],
)
def test_a_record_comes_back_as_it_was(record: Order | OrderResult | Rate | Transaction) -> None:
    read = from_plain(type(record), json.loads(json.dumps(to_plain(record))))
    assert read == record
    assert repr(read) == repr(record)


def test_an_instant_elsewhere_is_the_same_instant() -> None:
    tokyo = AT.astimezone(timezone(timedelta(hours=9)))
    values = to_plain(Rate(value=0.0, as_of=tokyo, available_at=tokyo))
    assert values["as_of"] == "2025-03-12T21:00:00.123456+00:00"
    assert from_plain(Rate, values).as_of == tokyo


def test_a_field_of_a_later_version_is_left_out() -> None:
    values = {**to_plain(Order(client_id="a", instrument="EURUSD", units=Decimal(1))), "colour": "red"}
    assert from_plain(Order, values).client_id == "a"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(numbers, st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_every_digit(money: Decimal, rate: float) -> None:
    booked = Transaction(id="1", at=AT, kind="fee", amount=money, currency="USD")
    assert str(from_plain(Transaction, json.loads(json.dumps(to_plain(booked)))).amount) == str(money)
    known = Rate(value=rate, as_of=AT, available_at=AT)
    assert from_plain(Rate, json.loads(json.dumps(to_plain(known)))).value.hex() == rate.hex()
