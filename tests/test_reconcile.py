"""fxcarry.reconcile: the venue's account against the book its transactions make, and stops against positions."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.model import Account, OrderResult, OrderStatus, Position, Transaction
from fxcarry.reconcile import Difference, Reconciliation, missing_stops

AT = datetime(2025, 3, 12, 21, tzinfo=UTC)


IDS = count()


def fill(name: str, units: int, amount: str = "0") -> Transaction:
    return Transaction(
        id=f"{name}{next(IDS)}", at=AT, kind="fill", amount=Decimal(amount), currency="USD", instrument=name,
        units=Decimal(units),
    )  # fmt: skip


def held(**units: int) -> dict[str, Position]:
    return {n: Position(instrument=n, units=Decimal(u), average_price=Decimal("1.25")) for n, u in units.items()}


def account(**balances: str) -> Account:
    cash = {c: Decimal(b) for c, b in balances.items()}
    return Account(id="A1", at=AT, currency="USD", nav=cash["USD"], balances=cash, positions={})


def test_the_union_of_instruments_is_compared() -> None:
    book = Reconciliation()
    book.book([fill("EURUSD", 1000), fill("EURUSD", -400), fill("AUDUSD", 50), fill("AUDUSD", -50)])
    assert book.differences(held(EURUSD=600)) == []
    assert book.differences({}) == [Difference("EURUSD", Decimal(600), Decimal(0))]
    found = book.differences(held(EURUSD=600, USDJPY=7))
    assert [str(d) for d in found] == ["USDJPY: 0 by the journal, 7 at the venue"]


def test_what_is_told_again_is_booked_once() -> None:
    first, second = fill("EURUSD", 1000, "-0.35"), fill("EURUSD", 1000, "-0.35")
    book = Reconciliation([first])
    assert book.unexplained_cash(account(USD="999.65")) == {}
    book.book([first, second, second])
    book.book([second])
    assert book.differences(held(EURUSD=2000)) == []
    assert book.unexplained_cash(account(USD="999.30")) == {}


@given(st.lists(st.tuples(st.sampled_from(["AUDUSD", "EURUSD"]), st.integers(-9, 9)), max_size=20))
def test_a_book_of_all_fills_never_differs_from_their_sums(fills: list[tuple[str, int]]) -> None:
    book = Reconciliation()
    for name, units in fills:
        book.book([fill(name, units)])
    sums = {n: sum(u for name, u in fills if name == n) for n in ("AUDUSD", "EURUSD")}
    assert book.differences(held(**{n: u for n, u in sums.items() if u})) == []
    assert book.differences(held(EURUSD=sums["EURUSD"] + 1, AUDUSD=sums["AUDUSD"])) != []


def test_cash_that_no_transaction_explains_is_told_once() -> None:
    book = Reconciliation()
    assert book.unexplained_cash(account(USD="1000.00")) == {}  # where it begins
    book.book([fill("EURUSD", 1000, "-0.35")])
    assert book.unexplained_cash(account(USD="999.65")) == {}
    assert book.unexplained_cash(account(USD="899.65", EUR="5.00")) == {
        "EUR": Decimal("5.00"),
        "USD": Decimal("-100.00"),
    }
    assert book.unexplained_cash(account(USD="899.65", EUR="5.00")) == {}


def test_a_fraction_of_a_cent_is_no_difference_of_cash() -> None:
    book = Reconciliation()
    book.unexplained_cash(account(USD="1000.004"))
    assert book.unexplained_cash(account(USD="1000.0")) == {}


def stop(name: str, price: str, status: OrderStatus = OrderStatus.WORKING) -> OrderResult:
    return OrderResult(client_id=f"stop-{name}", instrument=name, status=status, price=Decimal(price))


@pytest.mark.parametrize(
    ("units", "orders", "wanted"),
    [
        (1000, [], "1.1875"),  # 5 % below 1.25
        (-1000, [], "1.3125"),
        (1000, [stop("EURUSD", "1.1875")], None),
        (1000, [stop("EURUSD", "1.2")], None),  # nearer is safer
        (1000, [stop("EURUSD", "1.18")], "1.1875"),  # too far
        (-1000, [stop("EURUSD", "1.33")], "1.3125"),
        (-1000, [stop("EURUSD", "1.30")], None),
        (1000, [stop("EURUSD", "1.1875", OrderStatus.CANCELLED)], "1.1875"),
        (1000, [stop("AUDUSD", "1.1875")], "1.1875"),  # of another position
        (0, [], None),
    ],
)
def test_a_position_without_a_near_enough_stop_wants_one(units: int, orders: list[OrderResult], wanted: str) -> None:
    found = missing_stops(held(EURUSD=units), orders, 0.05)
    assert found == ({} if wanted is None else {"EURUSD": Decimal(wanted)})
