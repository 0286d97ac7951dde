"""fxcarry.market: rates as they were known, a store that refuses nonsense, a view that ends at its instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.errors import BadQuoteError, DataError, MissingDataError
from fxcarry.market import MarketColumns, MarketHistory, MarketView, RateSeries, from_ns, to_ns


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def instants(*texts: str) -> np.ndarray:
    return np.array([to_ns(utc(t)) for t in texts], "datetime64[ns]")


def test_instants_are_utc() -> None:
    tokyo = datetime(2025, 3, 12, 9, tzinfo=timezone(timedelta(hours=9)))
    assert to_ns(tokyo) == np.datetime64("2025-03-12T00:00", "ns")
    assert from_ns(to_ns(tokyo)) == tokyo
    assert from_ns(to_ns(tokyo)).tzinfo is UTC
    with pytest.raises(DataError, match="time zone"):
        to_ns(datetime(2025, 3, 12))


# --- rates -----------------------------------------------------------------------------------------------------------

INTERBANK = RateSeries.of(
    "usd",
    [
        (utc("2025-01-01"), utc("2025-02-14"), 0.0420),
        (utc("2025-03-01"), utc("2025-05-15"), 0.0407),  # a revision
        (utc("2025-02-01"), utc("2025-03-17"), 0.0410),
        (utc("2025-03-01"), utc("2025-04-15"), 0.0405),
    ],
    day_count=360,
    tenor="3M",
    source="a monthly series",
)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("2025-02-14", 0.0420),
        ("2025-03-16", 0.0420),
        ("2025-03-16T23:59:59", 0.0420),
        ("2025-03-17", 0.0410),
        ("2025-04-14", 0.0410),
        ("2025-04-15", 0.0405),
        ("2025-04-30", 0.0405),
        ("2025-05-14", 0.0405),
        ("2025-05-15", 0.0407),
        ("2030-01-01", 0.0407),
    ],
)
def test_a_rate_is_known_from_its_release_on(at: str, value: float) -> None:
    rate = INTERBANK.get(utc(at))
    assert rate is not None
    assert rate.value == value
    assert rate.available_at <= utc(at)
    assert INTERBANK.values(instants(at)).tolist() == [value]


def test_a_rate_carries_its_own_conventions() -> None:
    rate = INTERBANK.get(utc("2025-04-30"))
    assert rate is not None
    assert (rate.day_count, rate.tenor, rate.source) == (360, "3M", "a monthly series")
    assert (rate.as_of, rate.available_at) == (utc("2025-03-01"), utc("2025-04-15"))
    assert INTERBANK.currency == "USD"


def test_before_the_first_release_there_is_no_rate() -> None:
    assert INTERBANK.get(utc("2025-02-13")) is None
    assert np.isnan(INTERBANK.values(instants("2025-01-31", "2025-02-14"))).tolist() == [True, False]
    empty = RateSeries.of("USD", [])
    assert empty.get(utc("2025-01-01")) is None
    assert np.isnan(empty.values(instants("2025-01-01"))).all()


def test_a_rate_announced_ahead_waits_until_it_is_in_force() -> None:
    policy = RateSeries.of(
        "EUR", [(utc("2025-01-01"), utc("2024-12-12"), 0.03), (utc("2025-03-12"), utc("2025-03-06"), 0.025)]
    )
    known = policy.values(instants("2024-12-20", "2025-01-01", "2025-03-11", "2025-03-12"))
    np.testing.assert_array_equal(known, [np.nan, 0.03, 0.03, 0.025])


def test_a_late_revision_of_an_old_value_does_not_replace_a_newer_one() -> None:
    series = RateSeries.of(
        "USD",
        [
            (utc("2025-01-01"), utc("2025-02-01"), 0.01),
            (utc("2025-02-01"), utc("2025-03-01"), 0.02),
            (utc("2025-01-01"), utc("2025-04-01"), 0.09),
        ],
    )
    assert series.values(instants("2025-02-15", "2025-03-15", "2025-04-15")).tolist() == [0.01, 0.02, 0.02]


def test_history_of_rates_forgets_what_was_not_known_yet() -> None:
    cut = INTERBANK.before(to_ns(utc("2025-05-15")))
    assert cut.values(instants("2030-01-01")).tolist() == [0.0405]
    assert INTERBANK.before(to_ns(utc("2025-02-14"))).get(utc("2030-01-01")) is None


AGING = RateSeries.of(
    "usd",
    [
        (utc("2025-01-01"), utc("2025-02-14"), 0.0420),
        (utc("2025-02-01"), utc("2025-03-17"), 0.0410),
        (utc("2025-06-01"), utc("2025-07-15"), 0.0400),
    ],
)
AGING = attrs.evolve(AGING, until=instants("2025-05-10", "2025-06-08", "2025-10-08"))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("2025-02-13", None),
        ("2025-02-14", 0.0420),
        ("2025-05-20", 0.0410),  # the end of the first row is no matter once there is a second
        ("2025-06-07T23:59:59", 0.0410),
        ("2025-06-08", None),
        ("2025-07-14", None),
        ("2025-07-15", 0.0400),
        ("2025-10-08", None),
    ],
)
def test_a_rate_that_is_too_old_is_missing_until_a_newer_one_comes(at: str, value: float | None) -> None:
    found = AGING.get(utc(at))
    assert (None if found is None else found.value) == value
    one = AGING.values(instants(at))[0]
    assert (None if np.isnan(one) else one) == value


def test_an_age_is_kept_with_its_row_in_any_order_and_in_a_part() -> None:
    turned = RateSeries("USD", AGING.as_of[::-1], AGING.available_at[::-1], AGING.value[::-1], until=AGING.until[::-1])
    at = instants("2025-10-09", "2025-06-09", "2025-06-07", "2025-02-20", "2025-01-01")
    assert np.array_equal(turned.values(at), [np.nan, np.nan, 0.0410, 0.0420, np.nan], equal_nan=True)
    part = AGING.before(to_ns(utc("2025-07-15")))
    assert np.isnan(part.values(instants("2025-06-08", "2025-08-01"))).all()
    none = AGING.before(to_ns(utc("2025-01-15")))
    assert np.isnan(none.values(at)).all()
    assert none.get(utc("2025-08-01")) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_rate_that_is_not_a_number_is_an_error(value: float) -> None:
    with pytest.raises(MissingDataError, match="USD rate for 2025-02-01"):
        RateSeries.of("USD", [(utc("2025-02-01"), utc("2025-03-01"), value)])


# --- the store -------------------------------------------------------------------------------------------------------

TIMES = ("2025-03-10T20:00", "2025-03-11T20:00", "2025-03-12T20:00", "2025-03-13T20:00")
SPOT = np.array([[1.08, 0.0067], [1.09, 0.0068], [np.nan, 0.0069], [1.11, 0.0070]])


def store(**changes: Any) -> MarketHistory:
    values: dict[str, Any] = {
        "times": instants(*TIMES),
        "currencies": ("EUR", "JPY"),
        "spot": SPOT.copy(),
        "numeraire": "USD",
        "rates": {"USD": INTERBANK},
        "source": "a test",
    }
    return MarketHistory(**{**values, **changes})


def test_a_store() -> None:
    history = store()
    assert len(history) == 4
    assert (history.start, history.end) == (utc(TIMES[0]), utc(TIMES[-1]))


def test_the_shape_has_to_fit() -> None:
    with pytest.raises(DataError, match="shape"):
        store(spot=SPOT[:, :1])


@pytest.mark.parametrize(("order", "kind"), [([0, 1, 1, 2], "repeated"), ([0, 2, 1, 3], "out of order")])
def test_rows_are_in_order_and_once(order: list[int], kind: str) -> None:
    with pytest.raises(DataError, match=f"row 3 .*{kind}"):
        store(times=instants(*TIMES)[order])


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf])
def test_a_price_is_positive(bad: float) -> None:
    spot = SPOT.copy()
    spot[2, 1] = bad
    with pytest.raises(BadQuoteError, match="JPY at 2025-03-12T20:00:00"):
        store(spot=spot)


def test_a_part_of_the_store_starts_there_and_ends_before() -> None:
    part = store(half_spread=np.full((4, 2), 1e-4)).between(utc(TIMES[1]), utc(TIMES[3]))
    assert part.times.tolist() == instants(*TIMES[1:3]).tolist()
    np.testing.assert_array_equal(part.spot, SPOT[1:3])
    assert part.half_spread is not None
    assert part.half_spread.shape == (2, 2)
    everything = store().between(None, None)
    assert len(everything) == 4


def test_a_part_of_the_store_knows_no_later_rate() -> None:
    data = store()
    assert data.between(None, utc("2025-03-11")).rates["USD"].get(utc("2030-01-01")).value == 0.0420  # type: ignore[union-attr]
    assert data.between(None, None).rates["USD"] is INTERBANK


def test_in_another_currency() -> None:
    euro = store().in_currency("EUR", ("JPY", "USD", "EUR"))
    assert euro.numeraire == "EUR"
    assert euro.currencies == ("JPY", "USD", "EUR")
    np.testing.assert_allclose(euro.spot[0], [0.0067 / 1.08, 1 / 1.08, 1.0], rtol=1e-15)
    assert np.isnan(euro.spot[2]).all()  # no euro quote: nothing has a price in euro
    same = store().in_currency("USD", ("JPY",))
    np.testing.assert_array_equal(same.spot[:, 0], SPOT[:, 1])
    assert store().in_currency("USD", ()).spot.shape == (4, 0)


@pytest.mark.parametrize(("account", "currencies"), [("GBP", ("EUR",)), ("USD", ("EUR", "GBP"))])
def test_a_currency_without_prices_is_named(account: str, currencies: tuple[str, ...]) -> None:
    with pytest.raises(MissingDataError, match="no prices for GBP in a test") as error:
        store().in_currency(account, currencies)
    assert error.value.fields == {"currency": "GBP"}
    assert "EUR, JPY, USD" in error.value.hint


def test_spreads_in_the_numeraire() -> None:
    data = store(half_spread=np.tile([1e-4, 3e-4], (4, 1)))
    half = data.in_currency("USD", ("JPY", "EUR", "USD")).half_spread
    assert half is not None
    np.testing.assert_allclose(half[0], [3e-4, 1e-4, 0.0])
    assert store().in_currency("USD", ("JPY",)).half_spread is None


def test_spreads_in_another_currency_keep_the_leg_of_that_currency() -> None:
    # Yen against euro goes through the dollar, and dollars are bought with euro: neither is free of the euro's spread.
    half = store(half_spread=np.tile([1e-4, 3e-4], (4, 1))).in_currency("EUR", ("JPY", "USD")).half_spread
    assert half is not None
    np.testing.assert_allclose(half[0], [4e-4, 1e-4])


def test_rates_by_instant_and_currency() -> None:
    matrix = store().rate_matrix(instants("2025-01-31", "2025-03-17"), ("USD", "USD"))
    np.testing.assert_array_equal(matrix, [[np.nan, np.nan], [0.0410, 0.0410]])
    assert store().rate_matrix(instants("2025-03-17"), ()).shape == (1, 0)
    with pytest.raises(MissingDataError, match="no rates for EUR"):
        store().rate_matrix(instants("2025-03-17"), ("USD", "EUR"))


# --- the view --------------------------------------------------------------------------------------------------------


def columns(spot: np.ndarray = SPOT) -> MarketColumns:
    ticks = instants("2025-03-10T21:00", "2025-03-11T21:00", "2025-03-12T21:00", "2025-03-13T21:00")
    table = np.arange(8.0).reshape(4, 2) / 100
    return MarketColumns(
        currencies=("EUR", "JPY"),
        account_currency="USD",
        times=instants(*TIMES),
        quoted=spot.copy(),
        at=ticks,
        row=np.array([0, 1, 2, 3]),
        rates=table.copy(),
        carry=table - 0.02,
        financing=lambda: (table - 0.03, 0.01 - table),
        trading_cost=np.array([1e-4, 2e-4]),
    )


def test_what_a_view_shows() -> None:
    view = MarketView(columns(), 1)
    assert view.as_of == utc("2025-03-11T21:00")
    assert view.currencies == ("EUR", "JPY")
    assert view.account_currency == "USD"
    assert view.spot.to_dict() == {"EUR": 1.09, "JPY": 0.0068}
    assert view.rates.to_dict() == {"EUR": 0.02, "JPY": 0.03}
    assert view.carry.to_dict() == pytest.approx({"EUR": 0.0, "JPY": 0.01})
    assert view.financing_long.to_dict() == pytest.approx({"EUR": -0.01, "JPY": 0.0})
    assert view.financing_short.to_dict() == pytest.approx({"EUR": -0.01, "JPY": -0.02})
    assert view.trading_cost.to_dict() == {"EUR": 1e-4, "JPY": 2e-4}
    for name in ("spot", "rates", "carry", "financing_long", "financing_short", "trading_cost"):
        np.testing.assert_array_equal(view.values(name), getattr(view, name))
    assert "2025-03-11 21:00" in repr(view)


def test_history_ends_at_the_view() -> None:
    view = MarketView(columns(), 1)
    frame = view.history(10)
    assert frame.index.tolist() == [utc(TIMES[0]), utc(TIMES[1])]
    assert list(frame.columns) == ["EUR", "JPY"]
    np.testing.assert_array_equal(frame, SPOT[:2])
    assert view.history(1).index.tolist() == [utc(TIMES[1])]
    assert len(view.spot_rows(1)) == 1


def test_returns_are_simple_and_by_row() -> None:
    view = MarketView(columns(), 3)
    returns = view.returns(3)
    assert returns.index.tolist() == [utc(t) for t in TIMES[1:]]
    np.testing.assert_allclose(returns["JPY"], [68 / 67 - 1, 69 / 68 - 1, 70 / 69 - 1])
    np.testing.assert_allclose(returns["EUR"], [1.09 / 1.08 - 1, np.nan, np.nan])
    assert len(view.returns(1)) == 1
    assert len(MarketView(columns(), 0).returns(5)) == 0


def test_a_view_is_the_same_whatever_comes_after() -> None:
    for tick in range(3):
        later = SPOT.copy()
        later[tick + 1 :] *= 3
        one, other = MarketView(columns(), tick), MarketView(columns(later), tick)
        assert one.history(10).equals(other.history(10))
        assert one.spot.equals(other.spot)
        assert one.returns(10).equals(other.returns(10))


def test_a_strategy_cannot_write_on_the_market() -> None:
    view = MarketView(columns(), 2)
    for array in (view.values("carry"), view.values("spot"), view.spot_rows(2), view.values("trading_cost")):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    mine = view.spot
    mine["EUR"] = 5.0
    assert view.spot["EUR"] != 5.0
    frame = view.history(2)
    frame.iloc[:] = 5.0
    assert view.spot["JPY"] == 0.0069


def test_spot_is_the_last_quote_where_the_last_row_has_none() -> None:
    assert MarketView(columns(), 2).spot.to_dict() == {"EUR": 1.09, "JPY": 0.0069}
