"""Which series serves when: budgets, the next candidate, and never a value carried on."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fxcarry
from fxcarry.conventions import G10, session_end
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.market import from_ns
from fxcarry_fred.client import Observation
from fxcarry_fred.feed import FredFeed, h10_release
from fxcarry_fred.rates import KnownRates, ResolvedRates, span_notes
from fxcarry_fred.series import TABLE, RateSource
from fxcarry_fred.testing import FakeFred, world
from fxcarry_fred.testing.suites import evening

MakeFeed = Callable[..., FredFeed]
NOW = date(2026, 11, 25)


@pytest.fixture(scope="module")
def everything() -> FakeFred:
    """All series of the table as they were seen to be in 2026."""
    return world(NOW, since=date(2025, 1, 1))


def test_every_g10_currency_and_each_other_one_resolves_to_a_series_or_a_reason(
    everything: FakeFred, make_feed: MakeFeed
) -> None:
    found = make_feed(everything, *TABLE).series()
    assert found.keys() == TABLE.keys()
    served = {currency: resolution.series for currency, resolution in found.items()}
    assert served == {
        "USD": "DTB3",
        "EUR": "IR3TIB01EZM156N",
        "GBP": "IUDSOIA",
        "SEK": "IRSTCI01SEM156N",
        "TRY": "IRSTCI01TRM156N",
        "BRL": "IRSTCI01BRM156N",
        "INR": "IRSTCI01INM156N",
        **{c: f"IR3TIB01{c[:2]}M156N" for c in ("JPY", "CHF", "AUD", "NZD", "CAD", "NOK", "DKK", "MXN", "ZAR")},
        **{c: f"IR3TIB01{c[:2]}M156N" for c in ("KRW", "CNY", "PLN", "HUF", "CZK", "ILS", "CLP")},
        **dict.fromkeys(("SGD", "HKD", "THB", "TWD", "MYR"), ""),
    }
    for currency, resolution in found.items():
        assert resolution.series or resolution.refused, currency
        assert resolution.series == "" or resolution.observed is not None, currency
    assert all(found[c].series for c in G10)
    assert str(found["SGD"]) == "SGD: no rate (FRED has no rate of it that is kept up)"


def test_a_frozen_series_is_refused_by_its_budget_and_the_next_one_serves_visibly(
    everything: FakeFred, make_feed: MakeFeed
) -> None:
    feed = make_feed(everything, "GBP", "SEK")
    # British January 2026 ends on the 31st, Swedish August 2025 too: 100 days later they are refused.
    for currency, first, last, dead, alive in (
        ("GBP", "2026-01-01", date(2026, 5, 11), "IR3TIB01GBM156N", "IUDSOIA"),
        ("SEK", "2025-08-01", date(2025, 12, 9), "IR3TIB01SEM156N", "IRSTCI01SEM156N"),
    ):
        end = session_end(last)
        before, after = feed.series(end - timedelta(seconds=1))[currency], feed.series(end)[currency]
        assert (before.series, str(before.observed)) == (dead, first)
        assert after.series == alive
        assert after.refused == (f"{dead} stops at {first}: its budget of 100 days ended {last}",)
        assert feed.rate(currency, end).source == f"FRED {alive}"
        assert feed.rate(currency, end).value != feed.rate(currency, end - timedelta(seconds=1)).value
        (note,) = (n for n in feed.history(None, None).notes if n.startswith(f"{currency} rates: "))
        assert f"{dead} from " in note
        assert note.endswith(f", {alive} from {last}.")
        assert not any(f"{alive} from {last}" in n for n in feed.history(None, end).notes)


def test_the_notes_name_the_series_of_every_currency(everything: FakeFred, make_feed: MakeFeed) -> None:
    history = make_feed(everything, "JPY", "CHF", "SEK").history(None, None)
    assert "Rates of one series throughout: JPY IR3TIB01JPM156N, CHF IR3TIB01CHM156N, USD DTB3." in history.notes
    assert history.rates["JPY"].source == "FRED IR3TIB01JPM156N"
    assert history.rates["SEK"].source == "FRED IR3TIB01SEM156N, IRSTCI01SEM156N"


def test_many_changes_of_series_are_counted_in_the_notes() -> None:
    daily = []
    for i in range(12):  # a daily value that is good for ten days, every twenty
        day = date(2024, 1, 1) + timedelta(days=20 * i)
        daily.append(Observation(day, day, 1.0 + i))
    monthly = [Observation(date(2024, m, 1), date(2024, m, 28), 5.0) for m in range(1, 10)]
    candidates = [KnownRates.of("EUR", s, rows, NOW) for s, rows in ((DAILY, daily), (MONTHLY, monthly))]
    rates = ResolvedRates.of("EUR", candidates)
    (note,) = span_notes({"EUR": rates}, datetime(2024, 8, 1, tzinfo=UTC))
    assert note.startswith("EUR rates: DAILY from 2024-01-01, none (too old) from 2024-01-11, ")
    assert re.search(r", \d+ more changes, \w+ from 2024-07-\d+, \w+ from 2024-07-\d+\.$", note)


def test_where_nothing_is_left_the_rate_is_missing_not_the_last_one(
    make_feed: MakeFeed, caplog: pytest.LogCaptureFixture
) -> None:
    fake = world(NOW, since=date(2026, 1, 1), currencies=("EUR", "TRY"))
    fake.remove("IRSTCI01TRM156N")
    for series in ("IR3TIB01EZM156N", "ECBESTRVOLWGTTRMDMNRT", "ECBDFR"):
        fake.remove(series)
    fake.release("IR3TIB01EZM156N", date(2026, 3, 1), "2.00", on=date(2026, 4, 15))
    feed = make_feed(fake, "EUR", "TRY")
    good, late = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 10, tzinfo=UTC)
    assert feed.snapshot(good).rates["EUR"].value == pytest.approx(0.02)
    with caplog.at_level(logging.WARNING, "fxcarry.fred"):
        snapshot = feed.snapshot(late)
        feed.snapshot(late)
    assert set(snapshot.rates) == {"USD"}
    told = [record.getMessage() for record in caplog.records if "EUR" in record.getMessage()]
    assert len(told) == 1
    assert "IR3TIB01EZM156N stops at 2026-03-01: its budget of 100 days ended 2026-07-09" in told[0]
    with pytest.raises(MissingDataError, match=r"FRED has no series ECBDFR.*IR3TIB01EZM156N stops at 2026-03-01"):
        feed.rate("EUR", late)
    with pytest.raises(MissingDataError, match="IR3TIB01TRM156N stops at 2008-04-01"):
        feed.rate("TRY", late)
    with pytest.raises(MissingDataError, match="this feed has no CHF"):
        feed.rate("CHF", late)
    history = feed.history(None, None)
    at = np.array(["2026-07-01", "2026-07-10", "2026-11-25"], "datetime64[ns]")
    assert np.isnan(history.rates["EUR"].values(at)).tolist() == [False, True, True]
    assert any("none (too old) from 2026-07-09" in note for note in history.notes)


def test_a_snapshot_without_any_rate_is_an_error_with_every_reason(make_feed: MakeFeed) -> None:
    fake = FakeFred(today=date(2025, 3, 17))
    fake.release("DEXUSEU", date(2025, 3, 10), "1.08", on=date(2025, 3, 17))
    fake.release("DTB3", date(2025, 1, 10), "4.20", on=date(2025, 1, 13))
    feed = make_feed(fake, "EUR")
    with pytest.raises(
        MissingDataError, match=r"EUR: no rate \(FRED has no series .*USD: no rate .*DTB3 stops at 2025-01-10"
    ):
        feed.snapshot(evening(fake))
    history = feed.history(None, None)
    with pytest.raises(MissingDataError, match="no rates for EUR"):
        history.rate_matrix(history.times, ("EUR",))


def test_a_backtest_stops_rather_than_book_a_rate_that_is_too_old(make_feed: MakeFeed) -> None:
    fake = world(date(2026, 11, 25), since=date(2025, 6, 1), currencies=("EUR", "TRY"))
    for series in ("ECBESTRVOLWGTTRMDMNRT", "ECBDFR"):
        fake.remove(series)
    fake.remove("IR3TIB01EZM156N")
    for month in range(6, 10):
        fake.release("IR3TIB01EZM156N", date(2025, month, 1), "2.00", on=date(2025, month + 1, 15))
    feed = make_feed(fake, "EUR")

    def hold(view: fxcarry.MarketView, account: object) -> dict[str, float]:
        return {"EUR": 0.5}

    run = {"feed": feed, "universe": ("EUR",), "rules": [], "start": "2025-09-01", "rebalance": "weekly"}
    fine = fxcarry.backtest(hold, end="2026-01-05", **run)  # 100 days after 2025-09-30 are 2026-01-08
    assert fine.weights["EUR"].iloc[-1] == pytest.approx(0.5, abs=0.05)
    with pytest.raises(MissingDataError, match="EUR"):
        fxcarry.backtest(hold, end="2026-02-27", **run)


def test_no_quote_comes_from_before_the_first_one_or_from_a_currency_without_spot(
    everything: FakeFred, make_feed: MakeFeed
) -> None:
    feed = make_feed(everything, "EUR", "PLN", "SGD")
    history = feed.history(None, None)
    assert history.currencies == ("EUR", "SGD")
    assert set(history.rates) == {"EUR", "PLN", "USD"}
    assert "H.10 has no spot of PLN: there are rates only." in history.notes
    assert "No rate of SGD: no rate (FRED has no rate of it that is kept up)." in history.notes
    for currencies in (("PLN",), ("USD",)):
        with pytest.raises(ConfigError, match=r"H\.10 has no spot of"):
            make_feed(everything, *currencies)
    with pytest.raises(ConfigError, match="no series of FRED is known for XAU"):
        make_feed(everything, "EUR", "XAU")
    with pytest.raises(ConfigError, match="rates is '6m'"):
        make_feed(everything, "EUR", rates="6m")


def test_a_rate_that_is_released_this_very_moment_is_in_snapshot_and_history_alike(make_feed: MakeFeed) -> None:
    fake = world(date(2025, 6, 2), since=date(2025, 1, 1), currencies=("EUR",))
    moment = session_end(date(2025, 6, 2))  # Monday: Friday's bill rate is released
    feed = make_feed(fake, "EUR", now=lambda: moment)
    known = feed.history(None, None).rates["USD"].get(moment)
    assert known is not None
    assert (known.value, str(known.as_of)[:10]) == (feed.snapshot(moment).rates["USD"].value, "2025-05-30")


def test_a_history_has_no_row_of_a_series_that_would_serve_only_later(make_feed: MakeFeed) -> None:
    fake = world(date(2025, 6, 2), since=date(2025, 1, 1), currencies=("EUR",))
    series = make_feed(fake, "EUR").history(None, datetime(2030, 1, 1, tzinfo=UTC)).rates["USD"]
    assert series.available_at[-1] == np.datetime64("2025-06-02T21:00")


def test_the_future_has_not_come(everything: FakeFred, make_feed: MakeFeed) -> None:
    with pytest.raises(MissingDataError, match="has not come yet"):
        make_feed(everything, "EUR").snapshot(evening(everything) + timedelta(minutes=1))


def test_h10_comes_on_the_monday_after_and_on_tuesday_after_a_holiday() -> None:
    assert h10_release(date(2025, 3, 3)) == datetime(2025, 3, 10, 20, 15, tzinfo=UTC)  # daylight saving since the 9th
    assert h10_release(date(2025, 3, 7)) == datetime(2025, 3, 10, 20, 15, tzinfo=UTC)
    assert h10_release(date(2025, 1, 17)) == datetime(2025, 1, 21, 21, 15, tzinfo=UTC)  # Martin Luther King's day
    assert h10_release(date(2025, 3, 10)) == datetime(2025, 3, 17, 20, 15, tzinfo=UTC)


def test_the_notes_say_when_h10_is_late(make_feed: MakeFeed) -> None:
    fake = world(date(2025, 6, 2), since=date(2025, 3, 1), currencies=("EUR",))
    feed = make_feed(fake, "EUR")
    assert not any("late" in note and "H.10" in note for note in feed.history(None, None).notes)
    clock = [evening(fake)]
    feed = make_feed(fake, "EUR", now=lambda: clock[0])
    clock[0] = datetime(2025, 6, 11, 12, tzinfo=UTC)  # the rows of the week to 2025-06-06 were due on Monday the 9th
    assert "H.10 is late: its last row is of 2025-05-30, the next was due 2025-06-09." in feed.history(None, None).notes


DAILY = RateSource("DAILY", "daily", "overnight", 360)
MONTHLY = RateSource("MONTHLY", "monthly", "3m", 360)
_days = st.dates(date(2024, 1, 1), date(2025, 12, 31))


@st.composite
def _vintages(draw: st.DrawFn, source: RateSource) -> KnownRates:
    observed = draw(st.lists(_days, max_size=12))
    if source.frequency == "monthly":
        observed = [day.replace(day=1) for day in observed]
    rows = [
        Observation(day, source.last_day(day) + timedelta(days=draw(st.integers(1, 60))), draw(st.floats(-1, 20)))
        for day in observed
    ]
    rows = list({(row.observed, row.released): row for row in rows}.values())
    return KnownRates.of("EUR", source, sorted(rows, key=lambda r: (r.observed, r.released)), date(2026, 6, 1))


@settings(max_examples=50)
@given(_vintages(MONTHLY), _vintages(DAILY), st.datetimes(datetime(2023, 12, 1), datetime(2026, 5, 1)))
def test_the_spliced_series_is_at_every_instant_the_first_candidate_that_can_be_used(
    monthly: KnownRates, daily: KnownRates, instant: datetime
) -> None:
    rates = ResolvedRates.of("EUR", (monthly, daily))
    moments = [instant, *(from_ns(t).replace(tzinfo=None) for c in (monthly, daily) for t in (*c.at, *c.until))]
    for moment in moments:
        at = moment.replace(tzinfo=UTC)
        expected = None
        for candidate in (monthly, daily):  # one by one, without any of the arrays' help
            known = [i for i, t in enumerate(candidate.at) if from_ns(t) <= at]
            if known and at < from_ns(candidate.until[known[-1]]):
                expected = float(candidate.value[known[-1]])
                break
        got = rates.series.get(at)
        assert (None if got is None else got.value) == expected
        assert got is None or (got.as_of <= at and got.available_at <= at)
        one = rates.series.values(np.array([moment], "datetime64[ns]"))[0]
        assert (None if np.isnan(one) else one) == expected
        assert (rates.resolution(at).series != "") == (expected is not None)


@settings(max_examples=50)
@given(_vintages(MONTHLY), _vintages(DAILY), st.datetimes(datetime(2023, 12, 1), datetime(2026, 5, 1)))
def test_what_came_later_changes_nothing_of_what_was_known(
    monthly: KnownRates, daily: KnownRates, instant: datetime
) -> None:
    series = ResolvedRates.of("EUR", (monthly, daily)).series
    end = np.datetime64(instant, "ns")
    at = np.sort(np.concatenate([series.available_at, monthly.until, daily.until, [end - np.timedelta64(1, "ns")]]))
    at = at[at < end]
    assert np.array_equal(series.before(end).values(at), series.values(at), equal_nan=True)
