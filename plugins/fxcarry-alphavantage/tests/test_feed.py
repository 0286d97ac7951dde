"""Quotes and bars: which instant each is of, what is asked for, and what is kept."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import fxcarry
from fxcarry.errors import BadQuoteError, ConfigError, DataError, MissingDataError, StaleDataError
from fxcarry.model import Pair
from fxcarry_alphavantage.words import daily_bars, quote

EURUSD, USDJPY = Pair("EUR", "USD"), Pair("USD", "JPY")
DAY = timedelta(days=1)
FRIDAY = datetime(2026, 1, 23, 15, 30, tzinfo=UTC)  # where the fake server's clock begins


# -- quotes of now ----------------------------------------------------------------------------------------------------


def test_a_snapshot_of_now_has_bid_and_ask_in_the_market_s_direction(desk: Any) -> None:
    snapshot = desk.feed().snapshot(FRIDAY)
    assert desk.fake.calls == ["CURRENCY_EXCHANGE_RATE EUR USD", "CURRENCY_EXCHANGE_RATE USD JPY"]
    assert snapshot.quotes.keys() == {EURUSD, USDJPY}
    euro, yen = snapshot.quotes[EURUSD], snapshot.quotes[USDJPY]
    assert euro.mid == desk.fake.price("EUR", "USD", FRIDAY)
    assert (euro.ask - euro.bid, yen.ask - yen.bid) == (Decimal("0.0001"), Decimal("0.03"))
    assert euro.as_of == yen.as_of == FRIDAY
    assert {"EUR", "JPY", "USD"} <= snapshot.rates.keys()


def test_a_quote_keeps_the_time_it_is_from_at_the_weekend_and_where_the_server_is_behind(desk: Any) -> None:
    desk.fake.behind = timedelta(minutes=7)
    assert desk.feed().snapshot(FRIDAY).quotes[EURUSD].as_of == FRIDAY - timedelta(minutes=7)
    desk.fake.behind, desk.fake.at = timedelta(0), FRIDAY + DAY
    saturday = desk.feed().snapshot(desk.fake.at)
    assert saturday.quotes[EURUSD].as_of == datetime(2026, 1, 23, 21, 59, 59, tzinfo=UTC)


def test_without_bid_and_ask_both_are_the_rate(desk: Any) -> None:
    desk.fake.has_bid = False
    euro = desk.feed().snapshot(FRIDAY).quotes[EURUSD]
    assert euro.bid == euro.ask == desk.fake.price("EUR", "USD", FRIDAY)


def test_a_quote_s_time_is_in_the_zone_it_states() -> None:
    said = {"1. From_Currency Code": "EUR", "3. To_Currency Code": "USD", "5. Exchange Rate": "1.1"}
    said |= {"6. Last Refreshed": "2026-07-01 11:00:00", "7. Time Zone": "US/Eastern"}
    assert quote(said, EURUSD).as_of == datetime(2026, 7, 1, 15, tzinfo=UTC)  # New York is at -4 in summer
    assert quote({**said, "6. Last Refreshed": "2026-01-01 11:00:00"}, EURUSD).as_of.hour == 16
    for wrong, match in [
        ({"7. Time Zone": "Mars/North"}, "no time zone"),
        ({"6. Last Refreshed": "yesterday"}, "as a time"),
        ({"5. Exchange Rate": "None"}, "as a number"),
        ({"5. Exchange Rate": "NaN"}, "as a number"),
        ({"5. Exchange Rate": "0.0"}, "is not a quote"),
        ({"3. To_Currency Code": "JPY"}, "asked for EURUSD"),
    ]:
        with pytest.raises(DataError, match=match):
            quote({**said, **wrong}, EURUSD)
    with pytest.raises(DataError, match=r"lacks '6\. Last Refreshed'"):
        quote({k: v for k, v in said.items() if k[0] != "6"}, EURUSD)


def test_a_look_soon_after_asks_for_nothing_and_one_after_the_pace_does(desk: Any) -> None:
    feed = desk.feed(calls_a_day=25)
    assert feed.pace == DAY * 2 / 23
    first = feed.snapshot(desk.fake.at)
    desk.new_calls()
    desk.fake.at += feed.pace - timedelta(minutes=2)
    assert feed.snapshot(desk.fake.at).quotes[EURUSD] == first.quotes[EURUSD]
    assert desk.feed(calls_a_day=25).snapshot(desk.fake.at).quotes == first.quotes  # after a restart too
    assert not desk.new_calls()
    desk.fake.at += timedelta(minutes=2)
    assert feed.snapshot(desk.fake.at).quotes[EURUSD].as_of == desk.fake.at.replace(microsecond=0)
    assert len(desk.new_calls()) == 2


@pytest.mark.parametrize(
    ("count", "calls", "hours"), [(9, 25, 13.5), (3, 25, 72 / 22), (9, 9, 24), (9, 2500, 216 / 2491)]
)
def test_the_day_s_calls_are_spread_evenly(desk: Any, count: int, calls: int, hours: float) -> None:
    currencies = ("EUR", "JPY", "GBP", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK")[:count]
    assert desk.feed(calls, currencies=currencies).pace / timedelta(hours=1) == pytest.approx(hours)


def test_the_newest_of_quote_and_close_is_what_is_known(desk: Any) -> None:
    feed = desk.feed(calls_a_day=8)
    feed.snapshot(desk.fake.at)
    feed.history(None, None)
    desk.fake.at += 3 * DAY + timedelta(hours=9)  # Tuesday 00:30 UTC: the bar of Monday is over
    feed.history(desk.fake.at - 30 * DAY, None)
    desk.fake.is_revoked = True  # no quote is asked for
    feed.pace = timedelta(days=9)
    quotes = feed.snapshot(desk.fake.at).quotes
    assert {q.as_of for q in quotes.values()} == {datetime(2026, 1, 27, tzinfo=UTC)}
    assert str(quotes[EURUSD].mid) == desk.fake._close("EUR", "USD", date(2026, 1, 26))


def test_the_future_and_a_wrong_clock_are_errors(desk: Any) -> None:
    feed = desk.feed()
    with pytest.raises(MissingDataError, match="has not come yet"):
        feed.snapshot(FRIDAY + timedelta(minutes=5))
    feed._clock = lambda: FRIDAY - timedelta(minutes=10)
    with pytest.raises(StaleDataError, match="has not come yet"):
        feed.snapshot(FRIDAY - timedelta(minutes=10))
    assert feed._store.quote(EURUSD) is None


# -- daily bars -------------------------------------------------------------------------------------------------------


def body(rows: dict[str, str], refreshed: str = "2026-01-23 15:30:00", zone: str = "UTC") -> dict[str, Any]:
    return {
        "Meta Data": {"5. Last Refreshed": refreshed, "6. Time Zone": zone},
        "Time Series FX (Daily)": {day: {"4. close": close} for day, close in rows.items()},
    }


def test_a_daily_bar_is_known_at_the_end_of_its_date_and_not_before() -> None:
    rows = {"2026-01-23": "1.3", "2026-01-22": "1.2", "2026-01-21": "1.1"}
    bars = daily_bars(body(rows), FRIDAY)
    assert bars == [
        (datetime(2026, 1, 22, tzinfo=UTC), Decimal("1.1")),
        (datetime(2026, 1, 23, tzinfo=UTC), Decimal("1.2")),
    ]
    end = datetime(2026, 1, 24, tzinfo=UTC)
    told = body(rows, refreshed="2026-01-23 21:59:00")
    assert daily_bars(told, end - timedelta(microseconds=1)) == bars
    assert daily_bars(told, end) == [*bars, (end, Decimal("1.3"))]


def test_a_date_ends_where_the_stated_zone_says() -> None:
    asked = datetime(2026, 3, 12, tzinfo=UTC)
    bars = daily_bars(body({"2026-03-09": "1.2", "2026-03-06": "1.1"}, "2026-03-11 09:00:00", "US/Eastern"), asked)
    # the clocks went forward on March 8, 2026
    assert [ended for ended, _ in bars] == [datetime(2026, 3, 7, 5, tzinfo=UTC), datetime(2026, 3, 10, 4, tzinfo=UTC)]
    with pytest.raises(DataError, match="no time zone"):
        daily_bars(body({"2026-03-09": "1.2"}, zone="GMT+25"), asked)


def test_bars_of_weekends_are_dropped_and_a_day_the_server_has_not_told_to_its_end() -> None:
    monday = datetime(2026, 1, 26, 9, tzinfo=UTC)
    rows = {"2026-01-25": "1.5", "2026-01-24": "1.4", "2026-01-23": "1.3"}
    assert [str(close) for _, close in daily_bars(body(rows), monday)] == ["1.3"]
    late = {"2026-01-22": "1.2", "2026-01-21": "1.1"}
    friday = datetime(2026, 1, 23, 0, 1, tzinfo=UTC)
    assert len(daily_bars(body(late, refreshed="2026-01-22 23:55:00"), friday)) == 2
    assert len(daily_bars(body(late, refreshed="2026-01-22 12:00:00"), friday)) == 1
    assert len(daily_bars(body(late, refreshed="2026-01-22"), friday)) == 2  # nothing says that it is behind


@pytest.mark.parametrize("close", ["0.0", "-1.1"])
def test_a_close_that_is_no_price_is_an_error_and_nothing_is_kept(desk: Any, close: str) -> None:
    desk.fake.closes["EUR", "USD", date(2026, 1, 20)] = close
    with pytest.raises(BadQuoteError, match="the close of 2026-01-20 is"):
        desk.feed().history(None, None)
    desk.fake.closes.clear()
    assert len(desk.feed().history(None, None))


def test_the_history_is_the_closes_of_weekdays_in_usd(desk: Any) -> None:
    desk.fake.closes["USD", "JPY", date(2026, 1, 22)] = "160.00000"
    history = desk.feed().history(None, None)
    assert (history.numeraire, history.currencies, history.interval) == ("USD", ("EUR", "JPY"), DAY)
    assert history.end == datetime(2026, 1, 23, tzinfo=UTC)
    assert history.start == datetime(2024, 7, 2, tzinfo=UTC)
    assert history.spot[-1] == pytest.approx([float(desk.fake._close("EUR", "USD", date(2026, 1, 22))), 1 / 160])
    assert len(history) == np.busday_count("2024-07-01", "2026-01-23")
    assert np.isfinite(history.spot).all()
    assert "24:00 UTC, mid" in history.notes[0]


def test_a_past_snapshot_is_of_the_last_bar_that_was_over(desk: Any) -> None:
    feed = desk.feed()
    for at, day in [
        (datetime(2026, 1, 20, 23, 59, tzinfo=UTC), date(2026, 1, 19)),
        (datetime(2026, 1, 21, tzinfo=UTC), date(2026, 1, 20)),
        (datetime(2026, 1, 18, 12, tzinfo=UTC), date(2026, 1, 16)),  # Sunday: Friday's
        (datetime(2026, 1, 16, 23, 30, tzinfo=UTC), date(2026, 1, 15)),  # Friday's is not over in UTC
    ]:
        quote = feed.snapshot(at).quotes[EURUSD]
        assert (quote.as_of, str(quote.mid)) == (
            datetime(day.year, day.month, day.day, tzinfo=UTC) + DAY,
            desk.fake._close("EUR", "USD", day),
        )


def test_only_what_is_missing_is_asked_for(desk: Any) -> None:
    feed = desk.feed()
    feed.history(FRIDAY - 60 * DAY, None)
    assert desk.new_calls() == ["FX_DAILY EUR USD compact", "FX_DAILY USD JPY compact"]
    feed.history(FRIDAY - 60 * DAY, None)
    assert not desk.new_calls()
    feed.history(None, None)  # further back than is known
    assert desk.new_calls() == ["FX_DAILY EUR USD full", "FX_DAILY USD JPY full"]
    with pytest.raises(MissingDataError):
        feed.history(datetime(1990, 1, 1, tzinfo=UTC), datetime(1990, 2, 1, tzinfo=UTC))
    assert not desk.new_calls()
    desk.fake.at += 2 * DAY  # Sunday: one more bar, Friday's
    assert feed.history(None, None).end == datetime(2026, 1, 24, tzinfo=UTC)
    assert desk.new_calls() == ["FX_DAILY EUR USD compact", "FX_DAILY USD JPY compact"]
    desk.fake.at += DAY  # Monday: none
    feed.history(None, None)
    assert not desk.new_calls()
    desk.fake.at += 130 * DAY  # the newest 100 bars do not reach back to what is known
    again = desk.feed().history(None, None)
    assert desk.new_calls() == ["FX_DAILY EUR USD full", "FX_DAILY USD JPY full"]
    assert len(again) == np.busday_count("2024-07-01", desk.fake.at.date())


def test_what_is_not_there_is_not_asked_for_at_every_look(desk: Any) -> None:
    feed = desk.feed()
    feed.history(None, None)
    desk.fake.at = datetime(2026, 1, 24, 0, 5, tzinfo=UTC)
    desk.fake.behind = timedelta(hours=8)  # Friday's bar is not told yet
    desk.new_calls()
    for _ in range(5):
        assert feed.history(None, None).end == datetime(2026, 1, 23, tzinfo=UTC)
        desk.fake.at += timedelta(minutes=10)
    assert len(desk.new_calls()) == 2
    desk.fake.behind = timedelta(0)
    desk.fake.at += timedelta(hours=6)
    assert feed.history(None, None).end == datetime(2026, 1, 24, tzinfo=UTC)


def test_a_plan_without_the_whole_history_begins_with_the_newest_bars_and_says_so(desk: Any) -> None:
    desk.fake.has_full = False
    feed = desk.feed()
    history = feed.history(None, None)
    assert 60 <= len(history) <= 100
    assert "not in the plan" in history.notes[-1]
    assert desk.fake.refused == ["FX_DAILY EUR USD full"]
    assert len(desk.feed().history(None, None)) == len(history)  # after a restart
    assert desk.fake.refused == ["FX_DAILY EUR USD full"], "it is asked for again within the week"
    desk.fake.at += 8 * DAY
    desk.fake.has_full = True
    assert len(feed.history(None, None)) > 300
    assert len(feed.history(None, None).notes) == 1


def test_a_close_that_is_kept_is_not_changed_later(desk: Any) -> None:
    feed, day = desk.feed(), date(2026, 1, 22)
    before = feed.history(FRIDAY - 30 * DAY, None).spot[-1]
    desk.fake.closes["EUR", "USD", day] = "9.99990"
    desk.fake.at += 2 * DAY
    after = feed.history(FRIDAY - 30 * DAY, None)
    assert desk.new_calls()[-1] == "FX_DAILY USD JPY compact"
    assert np.array_equal(after.spot[-2], before)


def test_a_currency_that_alpha_vantage_lacks_is_an_error_not_a_hole(desk: Any) -> None:
    for ask in (lambda feed: feed.snapshot(FRIDAY), lambda feed: feed.history(None, None)):
        with pytest.raises(MissingDataError, match="XAF"):
            ask(desk.feed(currencies=("EUR", "XAF")))


def test_two_feeds_share_what_was_asked(desk: Any) -> None:
    desk.feed().history(None, None)
    desk.new_calls()
    assert len(desk.feed().history(None, None)) > 400
    assert not desk.new_calls()


def test_settings_that_are_none_are_refused(desk: Any) -> None:
    with pytest.raises(ConfigError, match="interval is '2min'"):
        desk.feed(interval="2min")
    with pytest.raises(ConfigError, match="none besides USD"):
        desk.feed(currencies=("USD",))


def test_a_cache_that_is_no_database_says_what_to_do(desk: Any) -> None:
    (desk.folder / "cache.sqlite").write_bytes(b"something else entirely" * 50)
    with pytest.raises(ConfigError, match=r"the cache .* cannot be used: .*may be deleted"):
        desk.feed().history(None, None)


def test_a_backtest_runs_on_the_history(desk: Any) -> None:
    history = desk.feed(currencies=("EUR", "JPY", "USD")).history(None, None)
    result = fxcarry.backtest("sign", history=history, universe=("EUR", "JPY"), markup=0.0)
    nav = result.nav
    assert len(nav) > 350
    assert nav.iloc[-1] != nav.iloc[0]


# -- bars within the day ----------------------------------------------------------------------------------------------


def test_bars_within_the_day_are_closes_at_their_ends(desk: Any) -> None:
    desk.fake.at = datetime(2026, 1, 22, 14, 7, tzinfo=UTC)
    feed = desk.feed(interval="5min", currencies=("EUR",))
    history = feed.history(desk.fake.at - timedelta(hours=2), None)
    assert feed.interval == history.interval == timedelta(minutes=5)
    assert history.end == datetime(2026, 1, 22, 14, 5, tzinfo=UTC)
    assert len(history) == 24
    assert history.spot[-1, 0] == pytest.approx(float(desk.fake.price("EUR", "USD", history.end)))
    assert desk.new_calls() == ["FX_INTRADAY EUR USD 5min compact"]
    desk.fake.at += timedelta(minutes=2)  # 14:09: none is over
    feed.history(None, None)
    assert desk.new_calls() == ["FX_INTRADAY EUR USD 5min full"]
    desk.fake.at += timedelta(minutes=2)
    assert feed.history(None, None).end == datetime(2026, 1, 22, 14, 10, tzinfo=UTC)
    assert desk.new_calls() == ["FX_INTRADAY EUR USD 5min compact"]


def test_at_the_weekend_no_bar_within_the_day_is_missing(desk: Any) -> None:
    desk.fake.at = datetime(2026, 1, 23, 22, 30, tzinfo=UTC)  # Friday, 30 minutes after the close
    feed = desk.feed(interval="60min", currencies=("EUR",))
    feed.history(None, None)
    desk.new_calls()
    desk.fake.at += DAY
    feed.history(None, None)
    assert not desk.new_calls()


def test_bars_within_the_day_are_a_matter_of_the_plan(desk: Any) -> None:
    desk.fake.has_intraday = False
    with pytest.raises(ConfigError, match=r"FX_INTRADAY EUR USD compact 5min is not in this key's plan"):
        desk.feed(interval="5min").history(None, None)
