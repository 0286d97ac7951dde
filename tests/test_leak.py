"""fxcarry.leak: what the nights of a journal were to book, by hand, and what is said where others were booked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.journal import Journal, MemoryJournal
from fxcarry.leak import LEAST, NOT_KNOWN, NOT_PUBLISHED, SHARE, Roll, leaks, rolls_of
from fxcarry.model import Instrument, Pair, Quote, Snapshot, Transaction

MONDAY = date(2025, 3, 10)
HOUR = timedelta(hours=1)
EURUSD = Instrument(name="EUR_USD", exposure=Pair("EUR", "USD"), financing_long=-0.03, financing_short=0.01)
AUDJPY = Instrument(name="AUD_JPY", exposure=Pair("AUD", "JPY"), financing_long=0.0185, financing_short=-0.0345)


def end(day: int) -> datetime:
    """17:00 New York of a day of that week of March (summer time from the 9th on)."""
    return datetime(2025, 3, day, 21, tzinfo=UTC)


class Book:
    """Writes a journal as an engine would."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.count = journal, 0

    def quote(self, at: datetime, **mids: str) -> None:
        quotes = {Pair.parse(p): Quote(Decimal(m), Decimal(m), at) for p, m in mids.items()}
        self.journal.observe(Snapshot(at, quotes))

    def booked(self, kind: Any, at: datetime, instrument: str, **facts: Any) -> None:
        self.count += 1
        amount = Decimal(facts.pop("amount", "0"))
        t = Transaction(
            id=str(self.count), at=at, kind=kind, amount=amount, currency=facts.pop("currency", "USD"),
            instrument=instrument, **facts,
        )  # fmt: skip
        self.journal.import_transactions([t])

    def fill(self, at: datetime, instrument: str, units: int) -> None:
        self.booked("fill", at, instrument, units=Decimal(units), price=Decimal(1), conversion=Decimal(1))

    def paid(self, day: int, instrument: str, amount: str, **facts: Any) -> None:
        at = end(day) + timedelta(minutes=5)
        self.booked("financing", at, instrument, amount=amount, trade_date=date(2025, 3, day), **facts)


@pytest.fixture
def book(journal: Journal) -> Book:
    """A long in EUR/USD of Monday morning, at a rate that was known before."""
    made = Book(journal)
    journal.publish([EURUSD], end(10) - 8 * HOUR)
    made.quote(end(10) - 7 * HOUR, EURUSD="1.10")
    made.fill(end(10) - 6 * HOUR, "EUR_USD", 100_000)
    return made


def test_a_night_by_hand(book: Book, journal: Journal) -> None:
    """OANDA's published example: 100,000 EUR/USD long at 1.15826 and -3 % are -9.52 a day."""
    book.quote(end(10) - HOUR, EURUSD="1.15826")
    book.quote(end(10) + HOUR, EURUSD="1.20")  # after the roll: another night's price
    book.paid(10, "EUR_USD", "-9.52")
    [row] = rolls_of(journal, "USD", end(10) + 2 * HOUR)
    assert row.expected is not None
    assert round(row.expected, 4) == Decimal("-9.5199")
    assert (row.trade_date, row.instrument, row.units, row.days, row.rate) == (MONDAY, "EUR_USD", 100_000, 1, -0.03)
    assert row.booked == Decimal("-9.52")
    assert row.difference == Decimal("-9.52") - row.expected
    assert row.why == ""


def test_nothing_is_over_before_17_new_york(book: Book, journal: Journal) -> None:
    assert rolls_of(journal, "USD", end(10) - timedelta(microseconds=1)) == []
    assert len(rolls_of(journal, "USD", end(10))) == 1
    assert rolls_of(MemoryJournal(), "USD", end(10)) == []


def test_a_wednesday_in_another_currency_is_three_days_at_its_conversion(journal: Journal) -> None:
    book = Book(journal)
    journal.publish([AUDJPY], end(12) - 8 * HOUR)
    book.fill(end(12) - 6 * HOUR, "AUD_JPY", -100_000)
    book.quote(end(12) - HOUR, AUDJPY="97.50", USDJPY="155.00")
    book.paid(12, "AUD_JPY", "-2765", currency="JPY")
    [row] = rolls_of(journal, "USD", end(12))
    assert float(row.expected or 0) == pytest.approx(-17.836942, abs=1e-6)
    assert row.days == 3
    assert float(row.booked or 0) == pytest.approx(-2765 / 155)


def test_what_is_opened_at_17_sharp_is_not_rolled_and_what_is_closed_then_is(book: Book, journal: Journal) -> None:
    book.fill(end(10), "EUR_USD", -100_000)
    book.fill(end(11), "EUR_USD", 5_000)
    assert [row.units for row in rolls_of(journal, "USD", end(12))] == [100_000, 5_000]
    assert [row.trade_date.day for row in rolls_of(journal, "USD", end(12))] == [10, 12]


def test_the_rate_is_the_last_before_the_roll(book: Book, journal: Journal) -> None:
    journal.publish([attrs.evolve(EURUSD, financing_long=-0.04)], end(11) - HOUR)
    journal.publish([attrs.evolve(EURUSD, financing_long=-0.05)], end(11))  # known too late
    assert [row.rate for row in rolls_of(journal, "USD", end(12))] == [-0.03, -0.04, -0.05]


def test_a_venues_own_days_are_kept_with_its_rates(book: Book, journal: Journal) -> None:
    days = {0: 1, 1: 1, 2: 1, 3: 1, 4: 3}
    journal.publish([attrs.evolve(EURUSD, financing_days=days)], end(12) - HOUR)
    assert [row.days for row in rolls_of(journal, "USD", end(14) + HOUR)] == [1, 1, 1, 1, 3]


def test_only_the_last_trade_dates_are_looked_at_where_that_is_asked(book: Book, journal: Journal) -> None:
    days = [row.trade_date.day for row in rolls_of(journal, "USD", end(17), 3)]
    assert days == [13, 14, 17]  # no roll on a weekend
    assert rolls_of(journal, "USD", end(17), 3) == rolls_of(journal, "USD", end(17))[-3:]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda b: b.journal.publish([attrs.evolve(EURUSD, financing_long=None)], end(10) - HOUR), NOT_PUBLISHED),
        (lambda b: b.fill(end(10) - HOUR, "USD_JPY", 1), NOT_KNOWN),
        (
            lambda b: b.journal.publish([attrs.evolve(EURUSD, financing_days={4: 3})], end(10) - HOUR),
            "EUR_USD has no days of financing for a Monday",
        ),
    ],
)
def test_what_cannot_be_expected_says_why_and_is_not_judged(
    change: Callable[[Book], None], why: str, book: Book, journal: Journal
) -> None:
    change(book)
    rows = rolls_of(journal, "USD", end(10))
    told = {row.instrument: row for row in rows}
    row = told.get("USD_JPY", told["EUR_USD"])
    assert (row.expected, row.difference, row.why) == (None, None, why)
    assert leaks([row], "USD", end(20)) == []


def test_without_a_price_nothing_is_expected(journal: Journal) -> None:
    book = Book(journal)
    journal.publish([EURUSD], end(10) - 8 * HOUR)
    book.fill(end(10) - 6 * HOUR, "EUR_USD", 1000)
    book.quote(end(10) + HOUR, EURUSD="1.10")
    [row] = rolls_of(journal, "USD", end(10))
    assert row.expected is None
    assert row.why.startswith("no price of EURUSD")


def test_what_is_booked_in_a_currency_without_a_price_is_not_taken_for_anything(book: Book, journal: Journal) -> None:
    book.paid(10, "EUR_USD", "-9", currency="CHF")
    [row] = rolls_of(journal, "USD", end(10))
    assert (row.booked, row.expected) == (None, None)
    assert "cannot be converted" in row.why


def test_what_is_booked_and_not_held_is_a_row_too(book: Book, journal: Journal) -> None:
    book.fill(end(10) - HOUR, "EUR_USD", -100_000)
    book.paid(10, "EUR_USD", "-3")
    book.paid(10, "JPY", "-5")  # interest on a balance
    euro, yen = rolls_of(journal, "USD", end(10))
    assert (euro.units, euro.expected, euro.difference) == (0, 0, -3)
    assert (yen.instrument, yen.expected, yen.booked, yen.why) == ("JPY", None, -5, NOT_KNOWN)


def test_several_bookings_of_a_night_add_up_and_a_night_without_days_books_nothing(
    book: Book, journal: Journal
) -> None:
    book.paid(10, "EUR_USD", "-4")
    book.paid(10, "EUR_USD", "-5.04")
    journal.publish([attrs.evolve(EURUSD, financing_days={1: 0})], end(11) - HOUR)
    first, second = rolls_of(journal, "USD", end(11))
    assert first.booked == Decimal("-9.04")
    assert (second.expected, second.booked, second.difference) == (0, 0, 0)
    assert not any(leak.key.startswith("missing") for leak in leaks([second], "USD", end(14)))


# --- what is said of them --------------------------------------------------------------------------------------------


def rolls(*pairs: tuple[str, str | None], name: str = "EURUSD") -> list[Roll]:
    days = [MONDAY + timedelta(i) for i in range(len(pairs))]
    return [
        Roll(
            trade_date=day,
            instrument=name,
            units=Decimal(1),
            expected=Decimal(expected),
            booked=None if booked is None else Decimal(booked),
        )
        for day, (expected, booked) in zip(days, pairs)
    ]


def test_a_night_that_is_booked_within_a_day_is_not_missing() -> None:
    [late] = rolls(("-9.5", None))
    assert leaks([late], "USD", end(11) - timedelta(microseconds=1)) == []
    [found] = leaks([late], "USD", end(11))
    assert found.key == "missing EURUSD 2025-03-10"
    assert found.message == "-9.50 USD were expected for the roll of EURUSD 2025-03-10, and nothing is booked"


def test_a_friday_has_until_monday() -> None:
    friday = attrs.evolve(rolls(("-9.5", None))[0], trade_date=date(2025, 3, 14))
    assert leaks([friday], "USD", end(16) + HOUR) == []
    assert [leak.key for leak in leaks([friday], "USD", end(17))] == ["missing EURUSD 2025-03-14"]


@pytest.mark.parametrize(
    ("expected", "booked", "is_wrong"),
    [("5", "-5", True), ("-0.5", "0.03", True), ("-0.5", "0.02", False), ("0.01", "-9", False), ("5", "0", False)],
)
def test_the_other_sign_is_told_beyond_a_trifle(expected: str, booked: str, is_wrong: bool) -> None:
    keys = [leak.key for leak in leaks(rolls((expected, booked)), "USD", end(10))]
    assert ("sign EURUSD 2025-03-10" in keys) == is_wrong


def test_a_trifle_in_yen_is_two_yen() -> None:
    assert not [x for x in leaks(rolls(("-2", "9")), "JPY", end(10)) if x.key.startswith("sign")]
    assert [x.key for x in leaks(rolls(("-3", "9")), "JPY", end(10))] == ["sign EURUSD 2025-03-10"]


@pytest.mark.parametrize(
    ("nights", "is_told"),
    [
        ([("-10", "-11")] * 5, False),  # 5 of 50: not more than a tenth
        ([("-10", "-11.01")] * 5, True),
        ([("-1", "-1.19")] * 5, False),  # more than a tenth, but less than one dollar
        ([("-1", "-1.21")] * 5, True),
        ([("10", "8.9")] * 5, True),  # less received
        ([("-10", "-8")] * 5, False),  # less charged
        ([("10", "8"), ("-10", "-8"), ("10", "8"), ("-10", "-8")], False),  # they make up for each other
        ([("-10", "-12.5"), ("-10", None)], True),  # what is not booked yet is not counted
        ([("-10", None)] * 5, False),
    ],
)
def test_a_leak_is_told_beyond_a_tenth_and_one_unit(nights: list[tuple[str, str | None]], is_told: bool) -> None:
    keys = [leak.key for leak in leaks(rolls(*nights), "USD", end(10))]
    assert ("leak EURUSD" in keys) == is_told


def test_a_leak_names_the_money_and_one_pair_does_not_hide_another() -> None:
    both = [*rolls(*[("-10", "-12")] * 5), *rolls(*[("-10", "-2")] * 5, name="AUDUSD")]
    [found] = leaks(both, "USD", end(14))
    assert found.message == "the financing of EURUSD is 10.00 USD less than expected over 5 rolls, of 50.00 in all"


@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(-100, 100)), min_size=1, max_size=5))
def test_no_leak_below_the_tolerance_and_always_one_above(amounts: list[tuple[int, int]]) -> None:
    found = leaks(rolls(*[(str(e), str(b)) for e, b in amounts]), "USD", end(10))
    short = sum(e - b for e, b in amounts)
    expected = short > max(LEAST, SHARE * sum(abs(e) for e, _ in amounts))
    assert any(leak.key == "leak EURUSD" for leak in found) == expected
