"""fxcarry.gap: a broker's two rates beside the interbank differential, by hand and by the published examples."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.conventions import roll_days
from fxcarry.errors import MissingDataError
from fxcarry.gap import days_charged, gap_of, overnight, overnight_in, price_of
from fxcarry.model import Instrument, Pair, Rate

AUDJPY = Instrument(name="AUD_JPY", exposure=Pair("AUD", "JPY"), financing_long=0.0185, financing_short=-0.0345)
EURUSD = Instrument(name="EUR_USD", exposure=Pair("EUR", "USD"), financing_long=-0.03, financing_short=0.005)
WEDNESDAY, TUESDAY = date(2025, 3, 12), date(2025, 3, 11)
MIDS = {Pair("AUD", "JPY"): Decimal("97.50"), Pair("USD", "JPY"): Decimal("155.00")}


def rate(value: float, day_count: int = 360) -> Rate:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    return Rate(value=value, day_count=day_count, as_of=at, available_at=at)


def test_a_brokers_two_rates_are_a_middle_and_a_mark_up() -> None:
    gap = gap_of(AUDJPY, {"AUD": rate(0.0435, 365), "JPY": rate(0.005)})
    assert gap.middle == pytest.approx(0.0265)
    assert gap.markup == pytest.approx(0.0080)
    assert gap.differential == pytest.approx(0.0435 - 0.005 * 365 / 360)  # AUD counts 365 days, JPY 360
    assert gap.gap_long == pytest.approx(0.0185 - 0.0384305556)
    assert gap.gap_short == pytest.approx(-0.0345 + 0.0384305556)
    assert (gap.instrument, gap.pair) == ("AUD_JPY", Pair("AUD", "JPY"))


@given(
    middle=st.floats(-0.5, 0.5),
    markup=st.floats(0, 0.05),
    base=st.floats(-0.01, 0.5),
    quote=st.floats(-0.01, 0.5),
)
def test_the_two_gaps_take_the_mark_up_twice_whatever_the_banks_pay(
    middle: float, markup: float, base: float, quote: float
) -> None:
    instrument = attrs.evolve(EURUSD, financing_long=middle - markup, financing_short=-middle - markup)
    gap = gap_of(instrument, {"EUR": rate(base, 365), "USD": rate(quote)})
    assert gap.gap_long is not None
    assert gap.gap_short is not None
    assert gap.gap_long + gap.gap_short == pytest.approx(-2 * markup, abs=1e-12)
    assert gap.markup == pytest.approx(markup, abs=1e-12)
    assert gap.middle == pytest.approx(middle, abs=1e-12)


def test_what_is_not_published_is_not_zero() -> None:
    rates = {"EUR": rate(0.02), "USD": rate(0.04)}
    none = gap_of(attrs.evolve(EURUSD, financing_long=None, financing_short=None), rates)
    assert (none.middle, none.markup, none.gap_long, none.gap_short) == (None, None, None, None)
    assert none.differential == pytest.approx(-0.02 * 365 / 360)
    one = gap_of(attrs.evolve(EURUSD, financing_short=None), rates)
    assert (one.middle, one.markup, one.gap_short) == (None, None, None)
    assert one.gap_long == pytest.approx(-0.03 + 0.02 * 365 / 360)
    blind = gap_of(EURUSD, {"USD": rate(0.04)})
    assert (blind.differential, blind.gap_long, blind.gap_short) == (None, None, None)
    assert blind.markup == pytest.approx(0.0125)


def test_a_night_is_booked_as_the_broker_publishes_it() -> None:
    """OANDA's published example, and one at three days by hand."""
    night = overnight(EURUSD, Decimal(100_000), Decimal("1.15826"), TUESDAY)
    assert round(night, 4) == Decimal("-9.5199")
    assert round(overnight(AUDJPY, Decimal(100_000), Decimal("97.50"), WEDNESDAY), 6) == Decimal("1482.534247")
    assert round(overnight(AUDJPY, Decimal(-100_000), Decimal("97.50"), WEDNESDAY), 6) == Decimal("-2764.726027")


def test_it_is_converted_at_the_mid() -> None:
    long = overnight_in("USD", AUDJPY, Decimal(100_000), MIDS, WEDNESDAY)
    short = overnight_in("USD", AUDJPY, Decimal(-100_000), MIDS, WEDNESDAY)
    assert float(long) == pytest.approx(9.564737, abs=1e-6)
    assert float(short) == pytest.approx(-17.836942, abs=1e-6)
    with pytest.raises(MissingDataError, match="no price"):
        overnight_in("CHF", AUDJPY, Decimal(100_000), MIDS, WEDNESDAY)


def test_a_pair_without_a_price_of_its_own_is_priced_through_a_third() -> None:
    fixings = {Pair("AUD", "EUR"): Decimal("0.60"), Pair("JPY", "EUR"): Decimal("0.006")}
    assert price_of(Pair("AUD", "JPY"), fixings) == 100
    assert price_of(Pair("JPY", "AUD"), {Pair("AUD", "JPY"): Decimal(100)}) == Decimal("0.01")
    with pytest.raises(MissingDataError, match="USDJPY"):
        price_of(Pair("USD", "JPY"), fixings)


def test_the_side_that_is_held_needs_its_rate() -> None:
    half = attrs.evolve(EURUSD, financing_short=None)
    assert overnight(half, Decimal(1000), Decimal(1), TUESDAY) < 0
    with pytest.raises(MissingDataError, match="no financing rate for EUR_USD"):
        overnight(half, Decimal(-1000), Decimal(1), TUESDAY)


def test_the_days_are_the_rolls_or_the_venues_own() -> None:
    assert days_charged(EURUSD, WEDNESDAY) == roll_days("EURUSD", WEDNESDAY) == 3
    own = attrs.evolve(EURUSD, financing_days={0: 1, 1: 1, 2: 1, 3: 1, 4: 3})
    assert [days_charged(own, date(2025, 3, day)) for day in range(10, 15)] == [1, 1, 1, 1, 3]
    once = overnight(own, Decimal(1000), Decimal(1), WEDNESDAY)
    assert overnight(EURUSD, Decimal(1000), Decimal(1), WEDNESDAY) == 3 * once
    with pytest.raises(MissingDataError, match="a Wednesday"):
        days_charged(attrs.evolve(EURUSD, financing_days={0: 1}), WEDNESDAY)
