"""USD rates: percent as decimals, known the business day after, and nothing filled in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fxcarry.errors import DataError, MissingDataError
from fxcarry_alphavantage.client import NoCallsLeft
from fxcarry_alphavantage.rates import published, usd_rate
from fxcarry_alphavantage.store import Store
from fxcarry_alphavantage.words import values

FED = {
    date(2026, 1, 14): "3.64",
    date(2026, 1, 15): "3.65",
    date(2026, 1, 16): "3.66",  # Friday
    date(2026, 1, 17): "3.66",
    date(2026, 1, 18): "3.66",
    date(2026, 1, 19): ".",  # Martin Luther King's day
    date(2026, 1, 20): "3.70",
    date(2026, 1, 21): "3.71",
}


@pytest.mark.parametrize(
    ("day", "known"),
    [
        (date(2026, 1, 14), datetime(2026, 1, 15, 22, tzinfo=UTC)),  # 17:00 New York in winter
        (date(2026, 1, 16), datetime(2026, 1, 20, 22, tzinfo=UTC)),  # over the weekend and the holiday
        (date(2026, 7, 2), datetime(2026, 7, 3, 21, tzinfo=UTC)),  # open on the Friday before a holiday on a Saturday
        (date(2025, 7, 3), datetime(2025, 7, 7, 21, tzinfo=UTC)),
    ],
)
def test_a_value_is_known_on_the_business_day_after(day: date, known: datetime) -> None:
    assert published(day) == known


def test_federal_funds_are_decimals_known_the_day_after(desk: Any) -> None:
    desk.fake.values["FEDERAL_FUNDS_RATE"] = FED
    series = usd_rate(desk.client(), Store(desk.folder / "cache.sqlite"), "federal-funds", desk.fake.at)
    assert (series.currency, series.day_count, series.tenor) == ("USD", 360, "overnight")
    assert [float(v) for v in series.value] == pytest.approx([0.0364, 0.0365, 0.0366, 0.0370, 0.0371])

    def known(*at: int) -> float:
        rate = series.get(datetime(2026, 1, *at, tzinfo=UTC))
        assert rate is not None
        return round(rate.value, 6)

    assert known(20, 21, 59) == 0.0365  # Friday's comes on Tuesday at 17:00 New York, after the holiday
    assert known(20, 22) == 0.0366
    assert known(21, 22) == 0.0370
    assert series.get(datetime(2026, 1, 15, 21, tzinfo=UTC)) is None
    assert desk.fake.calls == ["FEDERAL_FUNDS_RATE daily"]


def test_treasuries_are_of_365_days(desk: Any) -> None:
    desk.fake.values["TREASURY_YIELD"] = {date(2026, 1, 20): "3.60"}
    series = usd_rate(desk.client(), Store(desk.folder / "cache.sqlite"), "3month", desk.fake.at)
    assert (series.day_count, series.tenor, float(series.value[0])) == (365, "3 months", pytest.approx(0.036))
    assert desk.fake.calls == ["TREASURY_YIELD daily 3month"]


def test_a_dot_is_no_value_and_another_unit_no_rate() -> None:
    said = {"name": "x", "unit": "percent", "data": [{"date": "2026-01-19", "value": "."}]}
    assert values(said) == {}
    assert values({**said, "data": [{"date": "2026-01-20", "value": "0.07"}]}) == {date(2026, 1, 20): Decimal("0.07")}
    for wrong, match in [
        ({"unit": "index"}, "expected percent"),
        ({"data": [{"date": "soon", "value": "1"}]}, "as a date"),
        ({"data": [{"date": "2026-01-20", "value": ""}]}, "as a number"),
        ({"data": [{"date": "2026-01-20"}]}, "lacks 'value'"),
        ({"data": {"date": "2026-01-20"}}, "no rows where they belong"),
    ]:
        with pytest.raises(DataError, match=match):
            values({**said, **wrong})


def test_it_is_asked_for_when_a_newer_value_should_be_out(desk: Any) -> None:
    desk.fake.values["FEDERAL_FUNDS_RATE"] = dict(FED)
    store, client = Store(desk.folder / "cache.sqlite"), desk.client()
    for _ in range(3):
        usd_rate(client, store, "federal-funds", desk.fake.at)
    assert len(desk.new_calls()) == 1  # the value of the 22nd will be out on the 23rd at 22:00
    desk.fake.values["FEDERAL_FUNDS_RATE"][date(2026, 1, 22)] = "3.72"
    desk.fake.at += timedelta(hours=7)
    series = usd_rate(client, store, "federal-funds", desk.fake.at)
    assert float(series.value[-1]) == pytest.approx(0.0372)
    assert len(desk.new_calls()) == 1


def test_without_a_call_left_the_series_stays_and_nothing_is_made_up(desk: Any) -> None:
    desk.fake.values["FEDERAL_FUNDS_RATE"] = FED
    store = Store(desk.folder / "cache.sqlite")
    before = usd_rate(desk.client(), store, "federal-funds", desk.fake.at)
    desk.fake.at += timedelta(days=5)
    desk.fake.say("information")
    after = usd_rate(desk.client(), store, "federal-funds", desk.fake.at)
    assert list(after.value) == list(before.value)
    desk.fake.say("information")
    with pytest.raises(NoCallsLeft):
        usd_rate(desk.client(), Store(desk.folder / "other.sqlite"), "federal-funds", desk.fake.at)


def test_the_feed_takes_it_for_usd_and_says_so(desk: Any) -> None:
    desk.fake.values["FEDERAL_FUNDS_RATE"] = FED
    feed = desk.feed(usd="federal-funds")
    snapshot = feed.snapshot(desk.fake.at)
    assert snapshot.rates["USD"].value == pytest.approx(0.0371)
    assert snapshot.rates["USD"].source == "Alpha Vantage FEDERAL_FUNDS_RATE"
    history = feed.history(None, None)
    assert history.rates["USD"].get(desk.fake.at).value == pytest.approx(0.0371)  # type: ignore[union-attr]
    assert "Alpha Vantage's federal-funds for USD" in history.notes[0]
    early = feed.history(None, datetime(2026, 1, 20, 12, tzinfo=UTC)).rates["USD"]
    assert [float(v) for v in early.value] == pytest.approx([0.0364, 0.0365])
    with pytest.raises(MissingDataError, match="no USD rate that was known at 2026-01-14"):
        feed.snapshot(datetime(2026, 1, 14, 12, tzinfo=UTC))
