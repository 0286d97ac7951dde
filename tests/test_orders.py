"""fxcarry.orders: weights to whole units, and what takes one book to another."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.model import Instrument, Pair
from fxcarry.orders import Book, Lot, Plan, client_id, market_pairs, plan, whole

AT = datetime(2025, 3, 31, 21, tzinfo=UTC)


def book_of(currencies: Sequence[str], account: str = "USD", step: str = "1", minimum: str = "1") -> Book:
    pairs = market_pairs(currencies, account)
    return Book.of(
        currencies,
        account,
        {
            str(p): Instrument(name=str(p), exposure=p, unit_step=Decimal(step), minimum_units=Decimal(minimum))
            for p in pairs
        },
    )


def lot(book: Book, units: Sequence[float], price: Sequence[float], average: Sequence[float] | None = None) -> Lot:
    """``price`` is quote per base of each instrument, one side of which is the account currency."""
    base = [1.0 if not h.is_base else p for h, p in zip(book.holdings, price)]
    conversion = [1.0 if h.is_base else 1 / p for h, p in zip(book.holdings, price)]
    return Lot(list(units), list(average or price), base, conversion)


def exposures(book: Book, held: Lot) -> list[float]:
    """Net exposure of each currency in account currency: what is owned at market less what is owed at cost."""
    return [
        units * base if holding.is_base else -units * average * conversion
        for holding, units, average, base, conversion in zip(book.holdings, *held)
    ]


# --- the book --------------------------------------------------------------------------------------------------------


def test_a_currency_is_traded_in_its_market_pair() -> None:
    assert [str(p) for p in market_pairs(("EUR", "USD", "JPY", "NOK"), "USD")] == ["EURUSD", "USDJPY", "USDNOK"]
    assert [str(p) for p in market_pairs(("USD", "GBP", "JPY"), "EUR")] == ["EURUSD", "EURGBP", "EURJPY"]
    assert [str(p) for p in market_pairs(("USD", "EUR"), "JPY")] == ["USDJPY", "EURJPY"]


def test_a_book_knows_the_side_of_each_currency() -> None:
    book = book_of(("EUR", "USD", "JPY"))
    assert book.names == ("EURUSD", "USDJPY")
    assert book.column.tolist() == [0, 2]
    assert book.side.tolist() == [1.0, -1.0]
    np.testing.assert_array_equal(book.exposure, [[1, 0], [0, 0], [0, -1]])
    assert [h.is_base for h in book.holdings] == [True, False]


def test_an_instrument_may_be_called_anything() -> None:
    book = Book.of(("EUR",), "USD", {"FXE": Instrument(name="FXE", exposure=Pair("EUR", "USD"))})
    assert book.names == ("FXE",)


def test_a_currency_without_an_instrument_is_an_error() -> None:
    with pytest.raises(ConfigError, match="USDNOK") as caught:
        Book.of(("NOK",), "USD", {})
    assert "NOK" in caught.value.hint


# --- whole units -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "step", "wanted"),
    [
        (45_454.54, 1, 45_454),
        (-45_454.54, 1, -45_454),
        (0.9, 1, 0),
        (1_999.0, 1_000, 1_000),
        (-1_999.0, 1_000, -1_000),
        (0.3, 0.1, 0.3),
        (2.9999999999, 1, 3),
        (2.99, 1, 2),
        (0.0, 1, 0),
    ],
)
def test_units_are_rounded_towards_zero(units: float, step: float, wanted: float) -> None:
    assert whole([units], [step]) == pytest.approx([wanted], abs=1e-12)


@pytest.mark.parametrize("units", [40_000_001.0, 3_000_000_007.0])
def test_the_last_bit_of_a_large_number_is_no_unit(units: float) -> None:
    assert whole([float(np.nextafter(units, 0)), units - 0.01], [1, 1]) == [units, units - 1]


def test_allowed_weights_scale_units_and_never_enlarge() -> None:
    book = book_of(("EUR", "AUD", "GBP"))
    units, weights = [1000.7, -2000.2, 500.0], np.array([0.2, -0.4, 0.1])
    assert book.allowed_units(units, weights, weights) == [1000, -2000, 500]
    assert book.allowed_units(units, weights, np.array([0.1, -0.3, 0.0])) == [500, -1500, 0]
    assert book.allowed_units(units, weights, np.array([0.4, -0.8, 0.1])) == [1000, -2000, 500]


def test_a_closed_leg_of_weight_zero_stays_zero() -> None:
    book = book_of(("EUR",))
    assert book.allowed_units([0.0], np.array([0.0]), np.array([0.0])) == [0]


# --- target units ----------------------------------------------------------------------------------------------------


def test_weights_become_units_at_the_price_of_the_decision() -> None:
    book = book_of(("AUD", "JPY"))
    held = lot(book, [0, 0], [0.66, 155.0])
    units = book.target_units(np.array([0.3, 0.3]), 100_000, held)
    assert units == pytest.approx([30_000 / 0.66, -30_000])  # long yen is short dollars
    short = book.target_units(np.array([-0.3, -0.3]), 100_000, held)
    assert short == pytest.approx([-30_000 / 0.66, 30_000])


def test_open_profit_in_the_quote_currency_is_exposure_to_it() -> None:
    # A million dollars bought at 150: 150 million yen owed, worth 937,500 at 160.
    book = book_of(("JPY",))
    held = lot(book, [1_000_000], [160.0], [150.0])
    assert exposures(book, held) == pytest.approx([-937_500])
    nav = 1_062_500.0
    same = np.array([-937_500 / nav])
    assert book.target_units(same, nav, held) == pytest.approx([1_000_000])
    half = book.target_units(same / 2, nav, held)
    assert half == pytest.approx([500_000])  # what is reduced gives back its share of the cost
    more = book.target_units(same * 1.1, nav, held)
    assert more == pytest.approx([1_093_750])  # what is added trades at market


@pytest.mark.parametrize("wanted", [-0.5, -0.1, 0.0, 0.1, 0.2, 0.5])
@pytest.mark.parametrize(("price", "average"), [(1.1, 1.3), (1.1, 0.9), (1.1, 1.1)])
@pytest.mark.parametrize("currency", ["EUR", "CHF"])
def test_the_target_is_reached_whatever_is_held(wanted: float, price: float, average: float, currency: str) -> None:
    book = book_of((currency,))
    held = lot(book, [20_000.0], [price], [average])
    nav = 100_000.0
    (target,) = book.target_units(np.array([wanted]), nav, held)
    (before,) = held.units
    entry = average if abs(target) <= before and target * before >= 0 else price
    if target > before:
        entry = (average * before + price * (target - before)) / target
    after = Lot([target], [entry], held.base_value, held.conversion)
    assert exposures(book, after) == pytest.approx([wanted * nav])


def test_a_weight_without_a_price_is_an_error_and_zero_is_not() -> None:
    book = book_of(("EUR", "NOK"))
    held = Lot([0.0, 0.0], [0.0, 0.0], [1.1, 0.0], [1.0, 0.0])
    assert book.target_units(np.array([0.1, 0.0]), 1000, held)[1] == 0.0
    with pytest.raises(MissingDataError, match="USDNOK"):
        book.target_units(np.array([0.1, 0.1]), 1000, held)


# --- plans -----------------------------------------------------------------------------------------------------------


def legs(target: Sequence[float], held: Sequence[float], minimum: str = "1") -> list[tuple[str, float, str, bool]]:
    names = ("EUR", "AUD", "GBP", "NZD", "JPY")[: len(target)]
    return [leg[1:] for leg in plan(book_of(names, minimum=minimum), target, held)]


def test_reductions_come_first() -> None:
    assert legs([100, 50, 0, -30, 0], [0, 80, 20, -10, 0]) == [
        ("AUDUSD", -30, "reduce", True),
        ("GBPUSD", -20, "reduce", True),
        ("EURUSD", 100, "open", False),
        ("NZDUSD", -20, "open", False),
    ]


def test_a_change_of_sign_is_two_orders() -> None:
    assert legs([-40], [60]) == [("EURUSD", -60, "close", True), ("EURUSD", -40, "open", False)]


def test_nothing_to_do_is_no_order() -> None:
    assert legs([10, -5, 0], [10, -5, 0]) == []


def test_less_than_the_minimum_is_left_alone_unless_it_closes() -> None:
    assert legs([1500, 1501], [1000, 1000], "501") == [("AUDUSD", 501, "open", False)]
    assert legs([0, 900], [400, 1000], "501") == [("EURUSD", -400, "reduce", True)]


def test_the_legs_take_the_book_to_its_target() -> None:
    target, held = [5.0, -3.0, 0.0, 8.0, -9.0], [2.0, 4.0, 7.0, 8.0, -20.0]
    reached = list(held)
    for column, _, units, _, _ in plan(book_of(("EUR", "AUD", "GBP", "NZD", "JPY")), target, held):
        reached[column] += units
    assert reached == target


# --- ids -------------------------------------------------------------------------------------------------------------


def test_the_same_decision_derives_the_same_id_and_anything_else_another() -> None:
    one = client_id("A1", AT, "EURUSD", "open", 0)
    assert one == client_id("A1", AT, "EURUSD", "open", 0)
    others = {
        client_id("A2", AT, "EURUSD", "open", 0),
        client_id("A1", AT + timedelta(days=1), "EURUSD", "open", 0),
        client_id("A1", AT, "GBPUSD", "open", 0),
        client_id("A1", AT, "EURUSD", "close", 0),
        client_id("A1", AT, "EURUSD", "open", 1),
    }
    assert one not in others
    assert len(others) == 5
    assert len(one) <= 32
    assert one.isalnum()


def test_a_plan_is_a_sequence_of_orders() -> None:
    made = Plan(
        [(0, "EURUSD", -10.0, "close", True), (0, "EURUSD", 2.5, "open", False)],
        account_id="A1",
        at=AT,
        reason="rebalance",
        stop_fraction=0.05,
    )
    assert len(made) == 2
    close, open_ = made
    assert (close.units, close.is_reducing, close.stop_fraction) == (Decimal(-10), True, None)
    assert str(close.units) == "-10"
    assert (open_.units, open_.is_reducing, open_.stop_fraction) == (Decimal("2.5"), False, 0.05)
    assert close.client_id != open_.client_id
    assert close.client_id == client_id("A1", AT, "EURUSD", "close", 0)
    assert made[:1] == [close]
    assert {order.reason for order in made} == {"rebalance"}
