"""fxcarry.parity: what was booked against what a backtest books."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs

from fxcarry.model import Transaction
from fxcarry.parity import compare

AT = datetime(2024, 1, 31, 22, tzinfo=UTC)
DAY = timedelta(days=1)


def fill(**about: Any) -> Transaction:
    facts: dict[str, Any] = {
        "id": "1", "at": AT, "kind": "fill", "amount": Decimal("0.00"), "currency": "USD", "instrument": "EURUSD",
        "units": Decimal(1000), "price": Decimal("1.0812345678901234"),
    }  # fmt: skip
    return Transaction(**{**facts, **about})


def roll(amount: str, **about: Any) -> Transaction:
    return fill(
        kind="financing", amount=Decimal(amount), price=None, trade_date=date(2024, 1, 31), days=1, id="2", **about
    )


def test_the_same_is_the_same_whatever_the_ids_and_the_last_digit_of_a_price() -> None:
    ours = [fill(), roll("-1.25")]
    theirs = [roll("-1.25"), fill(id="77", price=Decimal("1.0812345678901239"))]
    found = compare(ours, theirs)
    assert found.is_same
    assert (found.recorded, found.replayed) == (2, 2)
    assert found.carry == (Decimal("-1.25"), Decimal("-1.25"))
    assert found.to_dict()["differences"] == []


def test_a_cent_of_interest_is_a_difference() -> None:
    found = compare([roll("-1.25")], [roll("-1.26")])
    assert not found.is_same
    assert found.differences == ("2024-01-31 22:00 financing EURUSD: amount -1.25 recorded, -1.26 in the backtest",)


def test_what_is_on_one_side_only() -> None:
    found = compare([fill()], [roll("1.00"), fill(instrument="AUDUSD")])
    assert found.differences == (
        "2024-01-31 22:00 fill EURUSD: recorded, but not in the backtest",
        "2024-01-31 22:00 fill AUDUSD: in the backtest, but not recorded",
        "2024-01-31 22:00 financing EURUSD: in the backtest, but not recorded",
    )


def test_two_fills_of_one_instant_are_matched_whatever_their_order() -> None:
    """A change of sign is two fills: one closes, one opens."""
    close, open_ = fill(units=Decimal(-500)), fill(units=Decimal(-1000), id="9")
    assert compare([close, open_], [open_, close]).is_same
    found = compare([close, open_], [open_, attrs.evolve(close, units=Decimal(-499))])
    assert found.differences == ("2024-01-31 22:00 fill EURUSD: units -500 recorded, -499 in the backtest",)


def test_twice_is_once_too_often() -> None:
    found = compare([fill(), fill(id="3")], [fill()])
    assert found.differences == ("2024-01-31 22:00 fill EURUSD: recorded, but not in the backtest",)


def test_decisions_are_compared_by_instant_and_instrument() -> None:
    ours = {AT: {"EURUSD": 0.3, "USDJPY": -0.2}, AT + DAY: {"EURUSD": 0.1}}
    theirs = {AT: {"USDJPY": -0.2, "EURUSD": 0.3 + 1e-12}, AT + DAY: {"EURUSD": 0.1}}
    found = compare([], [], ours, theirs)
    assert found.is_same
    assert found.to_dict()["decisions_recorded"] == found.to_dict()["decisions_replayed"] == 2
    theirs[AT] = {"EURUSD": 0.31, "USDJPY": -0.2}
    theirs[AT + 2 * DAY] = theirs.pop(AT + DAY)
    assert compare([], [], ours, theirs).differences == (
        "2024-01-31 22:00 target EURUSD: weight 0.300000000 recorded, 0.310000000 in the backtest",
        "2024-02-01 22:00 target: recorded, but not in the backtest",
        "2024-02-02 22:00 target: decided in the backtest, but not recorded",
    )
