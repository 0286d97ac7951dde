"""fxcarry.ledger: where the money came from, and that every entry balances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.costs import Costs
from fxcarry.errors import FxCarryError, LedgerError
from fxcarry.financing import PairRateFinancing
from fxcarry.ledger import Attribution, Ledger, attribute
from fxcarry.model import Order, Pair, Quote, Snapshot, Transaction
from fxcarry.simulation import SimBroker

AT = datetime(2025, 3, 12, 14, tzinfo=UTC)
Prices = Mapping[str, str | tuple[str, str]]


def snapshot(day: int, hour: int, prices: Prices) -> Snapshot:
    at = datetime(2025, 3, day, hour, tzinfo=UTC)
    sides = {n: (p, p) if isinstance(p, str) else p for n, p in prices.items()}
    return Snapshot(at, {Pair.parse(n): Quote(Decimal(b), Decimal(a), at) for n, (b, a) in sides.items()})


def traded(
    steps: Iterable[tuple[int, int, Prices, dict[str, int]]],
    pairs: tuple[str, ...],
    **about: Any,
) -> SimBroker:
    """A venue after (day, hour, quotes, orders filled there)."""
    broker = SimBroker(**about)
    broker.get_instruments([Pair.parse(p) for p in pairs])
    for day, hour, prices, orders in steps:
        for name, units in orders.items():
            broker.place_market_order(Order(client_id=f"{name}-{day}-{hour}", instrument=name, units=Decimal(units)))
        broker.sync(snapshot(day, hour, prices))
    return broker


# --- attribution -----------------------------------------------------------------------------------------------------


def test_a_spot_gain_is_spot() -> None:
    broker = traded(
        [
            (10, 14, {"EURUSD": "1.10"}, {"EURUSD": 100_000}),
            (10, 21, {"EURUSD": "1.11"}, {}),
            (11, 14, {"EURUSD": "1.13"}, {"EURUSD": -100_000}),
            (11, 21, {"EURUSD": "1.20"}, {}),
        ],
        ("EURUSD",),
    )
    books = attribute(broker.log)
    np.testing.assert_allclose(books.spot, [1000, 2000], atol=1e-6)
    for term in ("carry", "cost", "translation", "rounding"):
        np.testing.assert_allclose(getattr(books, term), 0, atol=1e-6)
    np.testing.assert_allclose(books.nav, [1_001_000, 1_003_000])


def test_a_round_trip_within_a_day_costs_the_spread() -> None:
    quote = {"EURUSD": ("1.0999", "1.1001")}
    broker = traded(
        [(10, 14, quote, {"EURUSD": 100_000}), (10, 15, quote, {"EURUSD": -100_000}), (10, 21, quote, {})],
        ("EURUSD",),
        costs=Costs(spread_multiplier=0.0, commission_bps=0.1),
    )
    books = attribute(broker.log)
    np.testing.assert_allclose(books.cost, [-20 - 1.1 * 2], atol=0.01)
    np.testing.assert_allclose(books.spot, [0.0], atol=1e-6)
    assert broker.get_account_balance() == 1_000_000 - Decimal("22.20")


def test_profit_kept_in_a_foreign_currency_is_translated() -> None:
    # 1,000 euro of gain against sterling are worth more dollars when sterling rises.
    broker = traded(
        [
            (10, 14, {"EURUSD": "1.00", "GBPUSD": "1.25"}, {"EURGBP": 100_000}),
            (10, 21, {"EURUSD": "1.01", "GBPUSD": "1.25"}, {}),
            (11, 21, {"EURUSD": "1.0504", "GBPUSD": "1.30"}, {}),  # EURGBP stays at 0.808
        ],
        ("EURGBP",),
    )
    books = attribute(broker.log)
    np.testing.assert_allclose(books.spot, [1000, 0], atol=1e-6)
    np.testing.assert_allclose(books.translation, [0, 800 * 0.05], atol=1e-6)
    np.testing.assert_allclose(books.nav, [1_001_000, 1_001_040])


def test_profit_converted_during_the_day_is_translated_too() -> None:
    broker = traded(
        [
            (10, 14, {"USDJPY": "150"}, {"USDJPY": 100_000}),
            (10, 15, {"USDJPY": "160"}, {"USDJPY": -100_000}),  # a million yen, sold at 160
            (10, 21, {"USDJPY": "125"}, {}),
        ],
        ("USDJPY",),
    )
    books = attribute(broker.log)
    assert books.spot[0] == pytest.approx(1_000_000 / 125)
    assert books.translation[0] == pytest.approx(1_000_000 / 160 - 1_000_000 / 125)
    assert books.nav[0] == pytest.approx(1_006_250)


def test_carry_is_what_was_booked_for_each_day() -> None:
    steps: list[Any] = [(10, 14, {"EURUSD": "1.10"}, {"EURUSD": -100_000})]
    steps += [(d, 21, {"EURUSD": "1.10"}, {}) for d in (10, 11, 12, 13, 14)]
    books = attribute(traded(steps, ("EURUSD",), financing=PairRateFinancing("-0.05", "0.0365")).log)
    np.testing.assert_allclose(books.carry, [11, 11, 33, 11, 11], atol=1e-9)
    assert books.carry_by_instrument.tolist() == pytest.approx([77])


def test_rounding_has_its_own_line() -> None:
    broker = traded(
        [(10, 14, {"EURUSD": "1.10"}, {"EURUSD": 1000}), (10, 21, {"EURUSD": "1.10"}, {})],
        ("EURUSD",),
        financing=PairRateFinancing("0.0100", "0.0100"),
    )
    books = attribute(broker.log)
    exact = 1000 * 1.10 * 0.01 / 365  # 0.030137
    assert books.carry[0] == pytest.approx(exact)
    assert books.rounding[0] == pytest.approx(0.03 - exact, abs=1e-9)


def test_a_day_that_is_not_over_is_the_last_row() -> None:
    broker = traded(
        [
            (10, 14, {"EURUSD": "1.10"}, {"EURUSD": 100_000}),
            (10, 21, {"EURUSD": "1.11"}, {}),
            (10, 23, {"EURUSD": "1.12"}, {}),
        ],
        ("EURUSD",),
    )
    books = attribute(broker.log)
    assert [str(d) for d in books.day] == ["2025-03-10", "2025-03-11"]
    np.testing.assert_allclose(books.spot, [1000, 1000], atol=1e-6)


def test_a_flat_book_earns_nothing() -> None:
    books = attribute(traded([(10, 21, {"EURUSD": "1.10"}, {}), (11, 21, {"EURUSD": "1.2"}, {})], ("EURUSD",)).log)
    for term in Attribution.TERMS:
        assert not getattr(books, term).any()


def test_a_log_without_a_tick_says_so() -> None:
    broker = SimBroker()
    broker.get_instruments([Pair.parse("EURUSD")])
    with pytest.raises(FxCarryError):
        attribute(broker.log)


@pytest.fixture
def broker() -> SimBroker:
    return traded(
        [
            (10, 14, {"EURUSD": "1.10"}, {"EURUSD": 100_000}),
            (10, 21, {"EURUSD": "1.11"}, {}),
            (11, 21, {"EURUSD": "1.12"}, {}),
            (12, 21, {"EURUSD": "1.13"}, {}),
        ],
        ("EURUSD",),
        financing=PairRateFinancing("0.0365", "-0.0365"),
    )


def test_a_cent_too_much_stops_the_report(broker: SimBroker) -> None:
    columns = broker.log.columns()
    attribute(broker.log, columns)
    nav = columns.nav.copy()
    nav[2:] += 0.01
    with pytest.raises(LedgerError, match="2025-03-11") as error:
        attribute(broker.log, attrs.evolve(columns, nav=nav))
    assert error.value.fields["day"] == "2025-03-11"
    assert error.value.fields["gap"] == pytest.approx(0.01)
    assert error.value.exit_code == 7


def test_a_nav_that_is_not_a_number_stops_the_report(broker: SimBroker) -> None:
    columns = broker.log.columns()
    nav = columns.nav.copy()
    nav[3] = np.nan
    with pytest.raises(LedgerError):
        attribute(broker.log, attrs.evolve(columns, nav=nav))


def test_rounding_may_not_hide_money(broker: SimBroker) -> None:
    columns = broker.log.columns()
    posted, nav = columns.posted.copy(), columns.nav.copy()
    posted[2] += 2  # two cents more than was earned
    nav[2:] += 0.02
    with pytest.raises(LedgerError, match="rounding on 2025-03-11"):
        attribute(broker.log, attrs.evolve(columns, posted=posted, nav=nav))


def test_a_commission_too_small_to_charge_is_rounding() -> None:
    # A profit of 0.6 cents is posted as 1, a commission of 0.4 cents as 0: two roundings, each below half a cent.
    broker = traded(
        [
            (10, 14, {"EURUSD": "1.00000"}, {"EURUSD": 200}),
            (10, 15, {"EURUSD": "1.00003"}, {"EURUSD": -200}),
            (10, 21, {"EURUSD": "1.00003"}, {}),
        ],
        ("EURUSD",),
        costs=Costs(spread_multiplier=0.0, commission_bps=0.2),
    )
    books = attribute(broker.log)
    assert broker.get_account_balance() == Decimal("1000000.01")
    assert books.spot[0] == pytest.approx(0.006)
    assert books.cost[0] == pytest.approx(-0.008, abs=1e-6)
    assert books.rounding[0] == pytest.approx(0.01 - 0.006 + 0.008, abs=1e-6)


# --- double entry ----------------------------------------------------------------------------------------------------


def fill(n: int, units: int, price: str, conversion: str = "1", amount: str = "0", pair: str = "EURUSD") -> Transaction:
    return Transaction(
        id=f"{n:04}",
        at=AT,
        kind="fill",
        amount=Decimal(amount),
        currency="USD",
        instrument=pair,
        units=Decimal(units),
        price=Decimal(price),
        conversion=Decimal(conversion),
    )


def cash(kind: Any, amount: str, currency: str = "USD") -> Transaction:
    return Transaction(id=f"{kind}{amount}", at=AT, kind=kind, amount=Decimal(amount), currency=currency)


def balanced(ledger: Ledger) -> bool:
    """Every transaction, and so the whole, sums to zero in every currency."""
    for _, entries in ledger.entries:
        for currency in {e.currency for e in entries}:
            if abs(sum((e.amount for e in entries if e.currency == currency), Decimal(0))) > Decimal("1e-12"):
                return False
    return True


def test_cash_against_its_reason() -> None:
    ledger = Ledger("USD")
    for kind, amount in (
        ("transfer", "1000"),
        ("financing", "-2.50"),
        ("financing", "1.25"),
        ("commission", "-0.40"),
        ("fee", "-1"),
    ):
        ledger.post(cash(kind, amount))
    assert ledger.balance("Cash:USD") == Decimal("997.35")
    assert ledger.balance("Equity:Deposits") == -1000
    assert ledger.balance("Income:Financing") == Decimal("1.25")
    assert ledger.balance("Expense:Commission") == Decimal("0.40")
    assert ledger.balance("Expense:Fee") == 1
    assert sum(ledger.balances.values()) == 0
    assert balanced(ledger)
    assert len(ledger.entries) == 5


def test_cash_in_another_currency_stays_there() -> None:
    ledger = Ledger("USD")
    ledger.post(cash("financing", "1482.53", "JPY"))
    assert ledger.balance("Cash:JPY", "JPY") == Decimal("1482.53")
    assert ledger.balance("Cash:USD") == 0
    assert ledger.balance("nothing") == 0


def test_opening_a_position_earns_nothing() -> None:
    ledger = Ledger("USD")
    ledger.post(fill(1, 100_000, "97.52", "0.00645", pair="AUDJPY"))
    assert ledger.balance("Position:AUDJPY", "AUD") == 100_000
    assert ledger.balance("Position:AUDJPY", "JPY") == -9_752_000
    assert ledger.balance("Trading:AUDJPY", "AUD") == -100_000
    assert ledger.balance("Income:Trading", "JPY") == 0
    assert ledger.balance("Cash:USD") == 0
    assert balanced(ledger)


def test_adding_averages_and_reducing_realizes() -> None:
    ledger = Ledger("USD")
    ledger.post(fill(1, 100, "1.10"))
    ledger.post(fill(2, 100, "1.12"))
    ledger.post(fill(3, -50, "1.13", amount="1.00"))
    assert ledger.balance("Position:EURUSD", "EUR") == 150
    assert ledger.balance("Position:EURUSD") == -150 * Decimal("1.11")
    assert ledger.balance("Income:Trading") == -1
    assert ledger.balance("Cash:USD") == 1
    assert balanced(ledger)


@pytest.mark.parametrize("side", [1, -1])
def test_a_turn_closes_and_opens(side: int) -> None:
    ledger = Ledger("USD")
    ledger.post(fill(1, 100 * side, "1.10"))
    ledger.post(fill(2, -250 * side, "1.20", amount=f"{10 * side}.00"))
    assert ledger.balance("Position:EURUSD", "EUR") == -150 * side
    assert ledger.balance("Position:EURUSD") == 150 * side * Decimal("1.20")
    assert ledger.balance("Cash:USD") == 10 * side
    ledger.post(fill(3, 150 * side, "1.10", amount=f"{15 * side}.00"))
    assert ledger.balance("Position:EURUSD", "EUR") == ledger.balance("Position:EURUSD") == 0
    assert ledger.balance("Cash:USD") == 25 * side
    assert ledger.balance("Rounding") == 0
    assert balanced(ledger)


def test_a_conversion_goes_through_its_own_account() -> None:
    ledger = Ledger("USD")
    ledger.post(fill(1, 100_000, "97.52", "0.0064", pair="AUDJPY"))
    ledger.post(fill(2, -100_000, "97.83", str(1 / Decimal("154.80")), "200.26", pair="AUDJPY"))
    assert ledger.balance("Income:Trading", "JPY") == -31_000
    assert ledger.balance("FXTrading:JPY", "JPY") == 31_000
    assert float(ledger.balance("FXTrading:JPY")) == pytest.approx(-200.258398, abs=1e-6)
    assert ledger.balance("Cash:USD") == Decimal("200.26")
    assert float(ledger.balance("Rounding")) == pytest.approx(200.258398 - 200.26, abs=1e-6)
    assert abs(ledger.balance("Rounding")) <= Decimal("0.005")
    assert balanced(ledger)


@pytest.mark.parametrize(
    "broken", [attrs.evolve(fill(1, 100, "1.10"), price=None), attrs.evolve(fill(1, 100, "1.10"), conversion=None)]
)
def test_a_fill_without_a_price_or_conversion_cannot_be_posted(broken: Transaction) -> None:
    ledger = Ledger("USD")
    with pytest.raises(LedgerError, match="0001"):
        ledger.post(broken)
    assert ledger.entries == []
    assert ledger.balances == {}


def test_the_log_of_a_venue_posts_to_its_cash(broker: SimBroker) -> None:
    ledger = Ledger("USD")
    ledger.post(cash("transfer", "1000000"))
    for transaction in broker.log:
        ledger.post(transaction)
    assert ledger.balance("Cash:USD") == broker.get_account_balance()
    assert ledger.balance("Position:EURUSD", "EUR") == 100_000
    assert float(ledger.balance("Position:EURUSD")) == pytest.approx(-110_000)
    assert balanced(ledger)
