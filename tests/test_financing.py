"""fxcarry.financing: published examples of brokers, the sign of every posting, and who posts twice."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from fxcarry.errors import ConfigError, FxCarryError, MissingDataError
from fxcarry.financing import (
    BenchmarkFinancing,
    CurrencyBalanceFinancing,
    FinancingBook,
    PairRateFinancing,
    RollInputs,
    carry_and_markup,
)
from fxcarry.model import Account, Pair, Position, Quote, Rate, Snapshot

MONDAY, WEDNESDAY, THURSDAY, FRIDAY = (date(2025, 3, d) for d in (10, 12, 13, 14))
AT = datetime(2025, 3, 12, 21, tzinfo=UTC)
CENTS = Decimal("0.01")


def account(positions: dict[str, int] | None = None, **about: Any) -> Account:
    held = {
        name: Position(instrument=name, units=Decimal(units), average_price=Decimal(1))
        for name, units in (positions or {}).items()
    }
    values: dict[str, Any] = {"nav": Decimal(1_000_000), "balances": {"USD": Decimal(1_000_000)}, **about}
    return Account(id="demo", at=AT, currency="USD", positions=held, **values)


def snapshot(quotes: dict[str, str], rates: dict[str, tuple[float, int]] | None = None) -> Snapshot:
    return Snapshot(
        AT,
        {Pair.parse(name): Quote(Decimal(price), Decimal(price), AT) for name, price in quotes.items()},
        {
            c: Rate(value=value, day_count=basis, as_of=AT, available_at=AT)
            for c, (value, basis) in (rates or {}).items()
        },
    )


# --- model A: a rate per pair and side -------------------------------------------------------------------------------


def test_published_example_of_a_pair_rate() -> None:
    amount = PairRateFinancing("-0.03", "0.01").accrue(100_000, "1.15826", 1)
    assert float(amount) == pytest.approx(-9.5199, abs=5e-5)
    assert amount.quantize(CENTS) == Decimal("-9.52")


AUDJPY = PairRateFinancing(0.0185, -0.0345)


@pytest.mark.parametrize(
    ("units", "yen", "dollars"), [(100_000, 1482.534247, 9.564737), (-100_000, -2764.726027, -17.836942)]
)
def test_three_days_of_audjpy(units: int, yen: float, dollars: float) -> None:
    amount = AUDJPY.accrue(units, 97.50, 3)
    assert float(amount) == pytest.approx(yen, abs=1e-6)
    assert float(amount / 155) == pytest.approx(dollars, abs=1e-6)


def test_the_same_by_way_of_the_base_currency() -> None:
    aud = AUDJPY.accrue(100_000, 1, 3)
    assert float(aud) == pytest.approx(15.205479, abs=1e-6)
    assert float(aud * Decimal("97.50") / 155) == pytest.approx(9.564737, abs=1e-6)


def test_a_conversion_fee_of_half_a_percent_on_the_credit() -> None:
    assert float(AUDJPY.accrue(100_000, 97.50, 3) / 155 * Decimal("0.995")) == pytest.approx(9.516913, abs=1e-6)


def test_mid_carry_and_markup() -> None:
    carry, markup = carry_and_markup(0.0185, -0.0345)
    assert carry == pytest.approx(0.0265, abs=1e-15)
    assert markup == pytest.approx(0.0080, abs=1e-15)


def test_numbers_are_read_by_their_text() -> None:
    exact = Decimal(100_000) * Decimal("97.5") * Decimal("0.0185") * 3 / 365
    for units, price in ((100_000, 97.5), ("100000", "97.5"), (100_000.0, Decimal("97.5")), (np.float64(1e5), 97.5)):
        assert AUDJPY.accrue(units, price, 3) == exact
    assert isinstance(AUDJPY.accrue(1, 1, 1), Decimal)
    assert AUDJPY.accrue(0, 97.5, 3) == 0
    assert AUDJPY.accrue(100_000, 97.5, 0) == 0


@pytest.mark.parametrize(
    ("units", "long_rate", "short_rate", "sign"),
    [
        (1000, 0.02, -0.03, 1),
        (-1000, 0.02, -0.03, -1),
        (1000, -0.03, 0.02, -1),
        (-1000, -0.03, 0.02, 1),
        (1000, -0.01, -0.01, -1),
        (-1000, -0.01, -0.01, -1),
    ],
)
def test_a_positive_pair_rate_is_a_credit_on_both_sides(
    units: int, long_rate: float, short_rate: float, sign: int
) -> None:
    amount = PairRateFinancing(long_rate, short_rate).accrue(units, "1.1", 1)
    assert (amount > 0) - (amount < 0) == sign


def test_one_posting_a_position() -> None:
    book = account({"AUDJPY": 100_000, "EURUSD": -50_000})
    postings = PairRateFinancing({"AUDJPY": 0.0185, "EURUSD": -0.03}, {"AUDJPY": -0.0345, "EURUSD": "0.011"}).postings(
        book, snapshot({"AUDJPY": "97.50", "EURUSD": "1.085"}), WEDNESDAY
    )
    audjpy, eurusd = postings
    assert (audjpy.instrument, audjpy.side, audjpy.days, audjpy.currency) == ("AUDJPY", "long", 3, "JPY")
    assert (audjpy.account_id, audjpy.trade_date, audjpy.units) == ("demo", WEDNESDAY, Decimal(100_000))
    assert audjpy.rate == Decimal("0.0185")
    assert float(audjpy.amount) == pytest.approx(1482.534247, abs=1e-6)
    assert (eurusd.side, eurusd.days, eurusd.currency) == ("short", 3, "USD")
    assert float(eurusd.amount) == pytest.approx(50_000 * 1.085 * 0.011 * 3 / 365, abs=1e-9)


@pytest.mark.parametrize(
    ("pair", "day", "days"),
    [
        ("EURUSD", MONDAY, 1),
        ("EURUSD", WEDNESDAY, 3),
        ("EURUSD", THURSDAY, 1),
        ("EURUSD", FRIDAY, 1),
        ("USDCAD", WEDNESDAY, 1),
        ("USDCAD", THURSDAY, 3),
        ("USDCAD", FRIDAY, 1),
        ("EURUSD", date(2025, 1, 15), 4),  # Monday the 20th is a US holiday
        ("EURUSD", date(2025, 1, 16), 0),
        ("AUDJPY", date(2025, 1, 15), 4),
        ("AUDJPY", date(2025, 1, 16), 0),
        ("USDCAD", date(2025, 1, 16), 4),
        ("USDCAD", date(2025, 1, 17), 0),
    ],
)
def test_postings_cover_the_days_between_value_dates(pair: str, day: date, days: int) -> None:
    (posting,) = PairRateFinancing(0.02, -0.03).postings(account({pair: 1000}), snapshot({pair: "2"}), day)
    assert posting.days == days
    assert float(posting.amount) == pytest.approx(1000 * 2 * 0.02 * days / 365, abs=1e-12)


def test_a_quote_the_other_way_round_will_do() -> None:
    (posting,) = AUDJPY.postings(account({"AUDJPY": 100_000}), snapshot({"JPYAUD": "0.01"}), MONDAY)
    assert posting.amount == AUDJPY.accrue(100_000, 100, 1)


def test_a_flat_book_posts_nothing() -> None:
    assert AUDJPY.postings(account(), snapshot({}), MONDAY) == []


def test_without_a_price_nothing_is_posted_as_zero() -> None:
    with pytest.raises(MissingDataError, match=r"AUDJPY price.*2025-03-10"):
        AUDJPY.postings(account({"AUDJPY": 1}), snapshot({"EURUSD": "1.1"}), MONDAY)


def test_without_a_rate_nothing_is_posted_as_zero() -> None:
    partial = PairRateFinancing({"EURUSD": 0.01}, {"EURUSD": 0.01})
    with pytest.raises(MissingDataError, match="AUDJPY"):
        partial.postings(account({"AUDJPY": 1}), snapshot({"AUDJPY": "97.5"}), MONDAY)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), {"AUDJPY": float("nan")}])
def test_a_rate_that_is_not_a_number_is_an_error(rate: Any) -> None:
    with pytest.raises(FxCarryError):
        PairRateFinancing(rate, rate).accrue(100_000, 97.5, 1, instrument="AUDJPY")


# --- model C: benchmark less a mark-up -------------------------------------------------------------------------------

SHORT_STERLING = {"GBP": (0.00613, 360), "USD": (0.005, 360)}  # a differential of 0.113 %


def test_published_example_of_a_benchmark() -> None:
    book, market = account({"GBPUSD": -20_000}), snapshot({"GBPUSD": "1.43232"}, SHORT_STERLING)
    (posting,) = BenchmarkFinancing(markup=0.01, year_days=360).postings(book, market, MONDAY)
    assert posting.days == 1
    assert float(posting.amount) == pytest.approx(-0.88565, abs=5e-6)
    assert posting.amount.quantize(CENTS) == Decimal("-0.89")
    assert posting.rate == Decimal("-0.01113")  # the broker prints +1.113 % and charges it; here > 0 is received
    assert (posting.side, posting.currency) == ("short", "USD")
    (other,) = BenchmarkFinancing(markup=0.01, year_days=365).postings(book, market, MONDAY)
    assert other.amount.quantize(CENTS) == Decimal("-0.87")


def test_each_currency_accrues_on_its_own_day_count_and_the_markup_on_365() -> None:
    market = snapshot({"GBPUSD": "1.25"}, {"GBP": (0.045, 365), "USD": (0.043, 360)})
    for units in (100_000, -100_000):
        (posting,) = BenchmarkFinancing(markup=0.01).postings(account({"GBPUSD": units}), market, WEDNESDAY)
        wanted = units * 1.25 * 3 * (0.045 / 365 - 0.043 / 360) - abs(units) * 1.25 * 3 * 0.01 / 365
        assert float(posting.amount) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("units", "base", "quote", "markup", "sign"),
    [
        (1000, 0.05, 0.01, 0.0, 1),
        (-1000, 0.05, 0.01, 0.0, -1),
        (1000, 0.01, 0.05, 0.0, -1),
        (-1000, 0.01, 0.05, 0.0, 1),
        (1000, -0.005, 0.01, 0.0, -1),
        (1000, 0.01, -0.005, 0.0, 1),
        (1000, 0.05, 0.01, 0.01, 1),
        (-1000, 0.01, 0.05, 0.01, 1),
        (1000, 0.02, 0.02, 0.01, -1),
        (-1000, 0.02, 0.02, 0.01, -1),
        (1000, 0.025, 0.02, 0.01, -1),  # positive carry, eaten by the mark-up
        (1000, 0.0, 0.0, 0.0, 0),
    ],
)
def test_who_pays_whom(units: int, base: float, quote: float, markup: float, sign: int) -> None:
    market = snapshot({"AUDJPY": "97.5"}, {"AUD": (base, 365), "JPY": (quote, 365)})
    (posting,) = BenchmarkFinancing(markup=markup).postings(account({"AUDJPY": units}), market, MONDAY)
    assert (posting.amount > 0) - (posting.amount < 0) == sign
    assert (posting.rate > 0) - (posting.rate < 0) == sign


@pytest.mark.parametrize("missing", ["AUD", "JPY"])
def test_a_missing_benchmark_is_an_error_never_zero(missing: str) -> None:
    rates = {"AUD": (0.04, 365), "JPY": (0.005, 365)}
    del rates[missing]
    with pytest.raises(MissingDataError, match=f"no {missing} rate for the roll of 2025-03-10") as error:
        BenchmarkFinancing().postings(account({"AUDJPY": 1}), snapshot({"AUDJPY": "97.5"}, rates), MONDAY)
    assert error.value.fields == {"currency": missing, "trade_date": MONDAY}
    rates[missing] = (float("nan"), 365)
    with pytest.raises(MissingDataError, match=missing):
        BenchmarkFinancing().postings(account({"AUDJPY": 1}), snapshot({"AUDJPY": "97.5"}, rates), MONDAY)


def test_a_missing_price_is_an_error_here_too() -> None:
    with pytest.raises(MissingDataError, match="GBPUSD price"):
        BenchmarkFinancing().postings(account({"GBPUSD": 1}), snapshot({}, SHORT_STERLING), MONDAY)


@pytest.mark.parametrize("markup", [-0.01, float("nan"), float("inf")])
def test_a_markup_is_not_negative(markup: float) -> None:
    with pytest.raises(ConfigError, match="markup"):
        BenchmarkFinancing(markup=markup)


# --- whole backtests at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        BenchmarkFinancing(markup=0.01),
        BenchmarkFinancing(markup=0.0075, year_days=360),
        PairRateFinancing({"AUDJPY": 0.0185, "GBPUSD": -0.004}, {"AUDJPY": -0.0345, "GBPUSD": -0.006}),
    ],
)
def test_arrays_and_postings_agree(model: BenchmarkFinancing | PairRateFinancing) -> None:
    prices, rates = {"AUDJPY": "97.5", "GBPUSD": "1.25"}, {c: (r, d) for c, r, d in RATES}
    market = snapshot(prices, rates)
    names = tuple(prices)
    days = (MONDAY, WEDNESDAY)
    rolls = RollInputs(
        names=names,
        price=np.array([[97.5, 1.25]] * 2),
        days=np.array([[1.0, 1.0], [3.0, 3.0]]),
        base_rate=np.array([[0.041, 0.045]] * 2),
        quote_rate=np.array([[0.005, 0.043]] * 2),
        base_day_count=np.array([365.0, 365.0]),
        quote_day_count=np.array([360.0, 360.0]),
    )
    long, short = model.per_unit(rolls)
    assert long.shape == short.shape == (2, 2)
    for n, day in enumerate(days):
        for units, per_unit in ((1000, long), (-1000, short)):
            postings = model.postings(account(dict.fromkeys(names, units)), market, day)
            np.testing.assert_allclose(1000 * per_unit[n], [float(p.amount) for p in postings], rtol=1e-12)


RATES = [("AUD", 0.041, 365), ("JPY", 0.005, 360), ("GBP", 0.045, 365), ("USD", 0.043, 360)]


# --- model B: interest on currency balances --------------------------------------------------------------------------

BALANCES = CurrencyBalanceFinancing(credit_spread=0.005, debit_spread=0.015, free_balance=10_000, full_rate_nav=100_000)
MARKET = snapshot(
    {"EURUSD": "1.25", "USDJPY": "160", "GBPUSD": "1.25"},
    {"USD": (0.043, 360), "EUR": (0.025, 360), "JPY": (0.003, 365), "GBP": (0.045, 365)},
)


def interest(day: date = MONDAY, nav: int = 200_000, market: Snapshot = MARKET, **balances: int) -> dict[str, float]:
    book = account(nav=Decimal(nav), balances={c: Decimal(b) for c, b in balances.items()})
    return {p.currency: float(p.amount) for p in BALANCES.postings(book, market, day)}


def test_credit_is_paid_above_the_free_balance_only() -> None:
    assert interest(USD=50_000)["USD"] == pytest.approx(40_000 * 0.038 / 360, abs=1e-9)
    assert interest(USD=10_000)["USD"] == 0
    assert interest(USD=4_000)["USD"] == 0


def test_the_free_balance_is_in_account_currency() -> None:
    assert interest(EUR=50_000)["EUR"] == pytest.approx((50_000 - 10_000 / 1.25) * 0.02 / 360, abs=1e-9)
    assert interest(JPY=1_000_000)["JPY"] == 0  # 6,250 USD
    assert interest(GBP=8_000)["GBP"] == 0  # exactly 10,000 USD


def test_credit_is_scaled_down_on_a_small_account() -> None:
    full = interest(USD=50_000, nav=100_000)["USD"]
    assert full == pytest.approx(40_000 * 0.038 / 360, abs=1e-9)
    assert interest(USD=50_000, nav=150_000)["USD"] == pytest.approx(full)
    assert interest(USD=50_000, nav=25_000)["USD"] == pytest.approx(full / 4)


def test_debit_is_charged_in_full() -> None:
    assert interest(EUR=-50_000)["EUR"] == pytest.approx(-50_000 * 0.04 / 360, abs=1e-9)
    assert interest(EUR=-50_000, nav=25_000)["EUR"] == pytest.approx(-50_000 * 0.04 / 360, abs=1e-9)
    assert interest(EUR=-1)["EUR"] < 0


def test_each_currency_has_its_own_day_count() -> None:
    assert interest(GBP=-50_000)["GBP"] == pytest.approx(-50_000 * 0.06 / 365, abs=1e-9)
    assert interest(JPY=-5_000_000)["JPY"] == pytest.approx(-5_000_000 * 0.018 / 365, abs=1e-9)


def test_friday_pays_three_days() -> None:
    for day, days in ((MONDAY, 1), (WEDNESDAY, 1), (THURSDAY, 1), (FRIDAY, 3)):
        assert interest(day, USD=-50_000)["USD"] == pytest.approx(-50_000 * 0.058 * days / 360, abs=1e-9)
    with pytest.raises(ConfigError, match="2025-03-15"):
        interest(date(2025, 3, 15), USD=1)


def test_a_credit_never_costs() -> None:
    assert interest(JPY=50_000_000)["JPY"] == 0  # 0.3 % less 0.5 %
    negative = snapshot({"USDCHF": "0.9"}, {"CHF": (-0.0075, 360)})
    assert interest(market=negative, CHF=50_000)["CHF"] == 0
    assert interest(market=negative, CHF=-50_000)["CHF"] == pytest.approx(-50_000 * 0.0075 / 360, abs=1e-9)
    assert "never below zero" in " ".join((CurrencyBalanceFinancing.__doc__ or "").split())


def test_a_credit_never_costs_on_an_account_under_water() -> None:
    assert interest(USD=50_000, nav=-20_000)["USD"] >= 0


def test_balances_are_the_settled_ones_whatever_the_positions() -> None:
    book = account({"EURUSD": 100_000}, balances={"USD": Decimal(50_000), "EUR": Decimal(0)}, nav=Decimal(200_000))
    (posting,) = BALANCES.postings(book, MARKET, MONDAY)
    assert (posting.instrument, posting.side, posting.units, posting.days) == ("USD", "long", Decimal(50_000), 1)
    assert posting.rate == Decimal("0.038")
    assert "settled" in (CurrencyBalanceFinancing.postings.__doc__ or "")


def test_nothing_missing_is_zero() -> None:
    with pytest.raises(MissingDataError, match="no SEK rate"):
        interest(SEK=-1)
    with pytest.raises(MissingDataError, match="NOKUSD price"):
        interest(market=snapshot({}, {"NOK": (0.045, 360)}), NOK=100_000)


def test_a_position_and_its_mirror_cost_two_spreads() -> None:
    # Retail round trip: what a credit earns and a debit costs differ by the two spreads.
    posted = interest(EUR=-100_000, USD=135_000, nav=200_000)
    assert posted["EUR"] == pytest.approx(-100_000 * (0.025 + 0.015) / 360)
    assert posted["USD"] == pytest.approx(125_000 * (0.043 - 0.005) / 360)


# --- once ------------------------------------------------------------------------------------------------------------


def test_the_job_run_twice_posts_once() -> None:
    market = snapshot({"AUDJPY": "97.5", "EURUSD": "1.1"})
    book = FinancingBook()
    postings = AUDJPY.postings(account({"AUDJPY": 1000}), market, MONDAY)
    assert book.new(postings) == postings
    assert book.new(postings) == []
    both = AUDJPY.postings(account({"AUDJPY": 2000, "EURUSD": 1}), market, MONDAY)
    assert [p.instrument for p in book.new(both)] == ["EURUSD"]
    flipped = AUDJPY.postings(account({"AUDJPY": -1000}), market, MONDAY)
    assert book.new(flipped) == flipped  # the other side of a hedged book is its own posting
    later = AUDJPY.postings(account({"AUDJPY": 1000}), market, WEDNESDAY)
    assert book.new(later) == later


def test_what_was_posted_before_a_restart_stays_posted() -> None:
    postings = AUDJPY.postings(account({"AUDJPY": 1000}), snapshot({"AUDJPY": "97.5"}), MONDAY)
    assert FinancingBook({p.key for p in postings}).new(postings) == []


def test_the_same_posting_twice_in_one_batch_counts_once() -> None:
    postings = AUDJPY.postings(account({"AUDJPY": 1000}), snapshot({"AUDJPY": "97.5"}), MONDAY)
    assert FinancingBook().new(postings * 2) == postings
