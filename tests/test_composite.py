"""Several feeds as one: who serves, what is held back, what comes back, and what a history shows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.builtins import CompositeConfig
from fxcarry.composite import Checks, CompositeFeed
from fxcarry.errors import BadQuoteError, ConfigError, DataError, MissingDataError
from fxcarry.feeds import MemoryFeed
from fxcarry.market import MarketHistory, RateSeries
from fxcarry.model import Pair, Quote, Snapshot

T0 = datetime(2024, 1, 9, 12, tzinfo=UTC)  # a Tuesday
MINUTE = timedelta(minutes=1)
EURUSD, USDJPY = Pair("EUR", "USD"), Pair("USD", "JPY")


def quote(mid: str | float, as_of: datetime) -> Quote:
    return Quote(Decimal(str(mid)), Decimal(str(mid)), as_of)


class Hand:
    """A feed whose every answer is made by ``say``; calls are counted. It moves a little by itself."""

    def __init__(self, name: str, mid: float = 1.10, interval: timedelta = MINUTE) -> None:
        self.name, self.interval, self.mid, self.calls, self.closed = name, interval, mid, 0, 0
        self.pairs: tuple[Pair, ...] = (EURUSD,)
        self.say: Callable[[datetime], dict[Pair, Quote]] = self.usual

    def usual(self, at: datetime) -> dict[Pair, Quote]:
        wave = 1 + 1e-5 * ((at.minute * 7) % 10 - 5)
        return {pair: quote(round((self.mid if pair == EURUSD else 145.0) * wave, 6), at) for pair in self.pairs}

    def snapshot(self, at: datetime) -> Snapshot:
        self.calls += 1
        return Snapshot(at, self.say(at))

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        raise MissingDataError(f"{self.name} keeps no history")

    def close(self) -> None:
        self.closed += 1


def fails(error: Exception) -> Callable[[datetime], Any]:
    def say(at: datetime) -> Any:
        raise error

    return say


def served(feed: CompositeFeed) -> dict[str, tuple[str, ...]]:
    return {record.name: record.prices for record in feed.health()}


def the(feed: CompositeFeed, name: str) -> Any:
    return next(record for record in feed.health() if record.name == name)


@pytest.fixture
def one() -> Hand:
    return Hand("one")


@pytest.fixture
def two() -> Hand:
    return Hand("two", mid=1.1001)


@pytest.fixture
def feed(one: Hand, two: Hand) -> CompositeFeed:
    return CompositeFeed([one, two])


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


# --- who serves ------------------------------------------------------------------------------------------------------


def test_the_first_source_serves_and_the_second_is_asked_only_where_it_is_wanted(feed, one, two):
    for minute in range(5):
        at = T0 + minute * MINUTE
        assert feed.snapshot(at).quotes == one.usual(at)
    assert (one.calls, two.calls) == (5, 1)  # once, to learn what it has
    assert served(feed) == {"one": ("EURUSD",), "two": ()}
    assert the(feed, "one").last_success == T0 + 4 * MINUTE
    assert the(feed, "one").is_healthy


def test_each_pair_comes_from_the_first_that_has_it(feed, one, two):
    two.pairs = (EURUSD, USDJPY)
    quotes = feed.snapshot(T0).quotes
    assert quotes == {EURUSD: one.usual(T0)[EURUSD], USDJPY: two.usual(T0)[USDJPY]}
    assert served(feed) == {"one": ("EURUSD",), "two": ("USDJPY",)}


def test_pairs_are_in_market_order_whatever_a_source_calls_them(one, two):
    two.say = lambda at: {USDJPY.inverse: Quote(Decimal("0.005"), Decimal("0.008"), at)}
    found = CompositeFeed([one, two]).snapshot(T0).quotes[USDJPY]
    assert (found.bid, found.ask) == (Decimal(125), Decimal(200))


def test_a_source_quoted_in_a_third_currency_is_crossed_into_the_numeraire(one):
    eurjpy = Pair("EUR", "JPY")
    one.say = lambda at: {
        EURUSD: Quote(Decimal("1.00"), Decimal("1.25"), at - MINUTE),
        eurjpy: Quote(Decimal(100), Decimal(125), at),
    }
    found = CompositeFeed([one]).snapshot(T0).quotes
    # USD per JPY between 1.00/125 and 1.25/100: USDJPY between 80 and 125, as old as the older leg
    assert found[USDJPY] == Quote(Decimal(80), Decimal(125), T0 - MINUTE)
    assert found.keys() == {EURUSD, eurjpy, USDJPY}


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        MissingDataError("no answer"),
        BadQuoteError("bid NaN"),
        OSError("connection reset"),
        ValueError("not JSON"),
        KeyError("prices"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_source_that_fails_is_replaced_told_once_and_comes_back_by_itself(feed, one, two, caplog, error):
    feed.snapshot(T0)
    one.say = fails(error)
    down = [T0 + n * MINUTE for n in range(1, 20)]
    for at in down:
        assert feed.snapshot(at).quotes == two.usual(at)
    record = the(feed, "one")
    assert record.failures == 5  # at minutes 1, 2, 4, 8, 16
    assert record.paused_until == down[15] + 16 * MINUTE
    assert str(error.args[0]) in record.reason
    assert record.last_success == T0
    assert [m for m in warnings(caplog) if "prices of one: not used" in m] == warnings(caplog)[:1]
    assert warnings(caplog)[1:] == ["prices of EURUSD are from two now, no longer from one"]
    caplog.clear()
    one.say = one.usual
    back = [T0 + n * MINUTE for n in range(20, 40)]
    sources = [served(feed)["one"] for at in back if feed.snapshot(at)]
    assert sources == [()] * 12 + [("EURUSD",)] * 8  # asked again at minute 32, as it said
    assert warnings(caplog) == [
        "prices of one: in use again after 5 failures",
        "prices of EURUSD are from one now, no longer from two",
    ]
    assert the(feed, "one").reason == ""


def test_a_pause_is_never_longer_than_the_longest(one, two):
    feed = CompositeFeed([one, two], checks=Checks(pause=60, longest_pause=300))
    one.say = fails(OSError("down"))
    for n in range(200):
        feed.snapshot(T0 + n * MINUTE)
    assert one.calls == 3 + (200 - 7) // 5 + 1  # at minutes 0, 1, 3, then 7, 12, 17…


def test_a_crossed_or_nan_quote_is_a_failure_of_the_source(feed, one, two):
    for bid, ask in (("1.2", "1.1"), ("NaN", "1.1"), ("0", "1")):
        one.say = lambda at, b=bid, a=ask: {EURUSD: Quote(Decimal(b), Decimal(a), at)}
        one.say, at = one.say, T0
        assert CompositeFeed([one, two]).snapshot(at).quotes == two.usual(at)


def test_a_quote_from_the_future_is_not_used(feed, one, two):
    one.say = lambda at: one.usual(at + MINUTE)
    assert feed.snapshot(T0).quotes == two.usual(T0)
    assert the(feed, "one").reason == "no quote"


def test_a_stale_source_is_replaced_within_its_budget_of_open_minutes(feed, one, two):
    feed.snapshot(T0)
    one.say = lambda at: one.usual(T0)
    assert feed.snapshot(T0 + 60 * MINUTE).quotes == one.usual(T0)  # 60 minutes old: within
    assert feed.snapshot(T0 + 61 * MINUTE).quotes == two.usual(T0 + 61 * MINUTE)
    assert "the newest quote is of 2024-01-09 12:00" in the(feed, "one").reason


def test_a_weekend_makes_nothing_stale(one, two):
    friday, sunday = datetime(2024, 1, 12, 21, 59, tzinfo=UTC), datetime(2024, 1, 14, 22, 30, tzinfo=UTC)
    feed = CompositeFeed([one, two])
    feed.snapshot(friday)
    one.say = lambda at: one.usual(friday)
    assert feed.snapshot(sunday).quotes == one.usual(friday)  # 31 minutes of open market


def test_a_pair_may_have_its_own_budget(one, two):
    one.pairs = two.pairs = (EURUSD, USDJPY)
    feed = CompositeFeed([one, two], checks=Checks(pair_minutes={"JPYUSD": 5}))
    feed.snapshot(T0)
    one.say = lambda at: one.usual(T0)
    at = T0 + 6 * MINUTE
    assert feed.snapshot(at).quotes == {EURUSD: one.usual(T0)[EURUSD], USDJPY: two.usual(at)[USDJPY]}


def test_a_daily_source_may_be_a_day_old(two):
    daily = Hand("daily", interval=timedelta(days=1))
    daily.say = lambda at: daily.usual(T0)
    feed = CompositeFeed([daily, two])
    assert feed.snapshot(T0 + timedelta(days=1)).quotes == daily.usual(T0)
    assert served(feed)["two"] == ()


def test_a_slower_source_does_not_take_a_price_back(one):
    """The broker has been down for minutes: its last price is better than a fixing of this morning."""
    daily = Hand("daily", mid=1.1003, interval=timedelta(days=1))
    daily.say = lambda at: daily.usual(T0 - timedelta(hours=5))
    feed = CompositeFeed([one, daily])
    feed.snapshot(T0)
    one.say = fails(OSError("down"))
    for at in (T0 + MINUTE, T0 + 90 * MINUTE):
        assert feed.snapshot(at).quotes == one.usual(T0)
    noon = T0 + 100 * MINUTE
    daily.say = lambda at: daily.usual(noon)
    assert feed.snapshot(T0 + 120 * MINUTE).quotes == daily.usual(noon)


def test_where_all_are_old_the_newest_stands_with_its_age(feed, one, two):
    feed.snapshot(T0)
    one.say, two.say = (lambda at: one.usual(T0)), (lambda at: two.usual(T0 + MINUTE))
    for at in (T0 + 90 * MINUTE, T0 + 91 * MINUTE, T0 + 300 * MINUTE):
        assert feed.snapshot(at).quotes == two.usual(T0 + MINUTE)


def test_a_frozen_source_is_replaced_although_it_says_it_is_fresh(feed, one, two):
    one.say = lambda at: {EURUSD: quote("1.1", at)}
    for n in range(60):
        feed.snapshot(T0 + n * MINUTE)
    assert served(feed)["one"] == ("EURUSD",)
    at = T0 + 60 * MINUTE
    assert feed.snapshot(at).quotes == two.usual(at)
    assert the(feed, "one").reason == "no price has moved since 2024-01-09 12:00 UTC"
    one.say = one.usual
    for n in range(61, 64):
        feed.snapshot(T0 + n * MINUTE)
    assert served(feed)["one"] == ("EURUSD",)


def test_where_all_fail_the_error_names_each_and_the_next_look_resumes(feed, one, two):
    feed.snapshot(T0)
    one.say, two.say = fails(OSError("no route")), fails(MissingDataError("quota is used up"))
    at = T0 + MINUTE
    with pytest.raises(MissingDataError, match=r"one: OSError: no route; two: quota is used up") as caught:
        feed.snapshot(at)
    assert caught.value.fields == {"one": "OSError: no route", "two": "quota is used up"}
    one.say = one.usual
    assert feed.snapshot(at + 2 * MINUTE).quotes == one.usual(at + 2 * MINUTE)


def test_while_nobody_serves_all_are_asked_again_after_the_first_pause(feed, one, two):
    one.say = two.say = fails(OSError("down"))
    for n in range(60):
        with pytest.raises(MissingDataError):
            feed.snapshot(T0 + n * 20 * timedelta(seconds=1))
    assert (one.calls, two.calls) == (20, 20)  # once a minute for twenty minutes
    two.say = two.usual
    assert feed.snapshot(T0 + 20 * MINUTE).quotes == two.usual(T0 + 20 * MINUTE)
    one.say = one.usual
    feed.snapshot(T0 + 21 * MINUTE)
    assert served(feed)["two"] == ("EURUSD",)  # the first has its whole pause now


def test_a_pair_that_nobody_has_is_absent(feed, one, two):
    one.pairs = (EURUSD, USDJPY)
    feed.snapshot(T0)
    one.say = fails(OSError("down"))
    quotes = feed.snapshot(T0 + MINUTE).quotes
    assert quotes[EURUSD] == two.usual(T0 + MINUTE)[EURUSD]
    assert quotes[USDJPY].as_of == T0  # the last one served, as old as it is


# --- spikes ----------------------------------------------------------------------------------------------------------


def jumped(hand: Hand, since: datetime, factor: float) -> Callable[[datetime], dict[Pair, Quote]]:
    """Its usual quotes, times ``factor`` from ``since`` on."""

    def say(at: datetime) -> dict[Pair, Quote]:
        usual = hand.usual(at)
        return {p: quote(round(float(q.mid) * (factor if at >= since else 1), 6), at) for p, q in usual.items()}

    return say


def test_a_spike_is_not_served_and_the_second_source_is(feed, one, two, caplog):
    feed.snapshot(T0)
    one.say = jumped(one, T0, 1.05)
    at = T0 + MINUTE
    assert feed.snapshot(at).quotes == two.usual(at)
    held = [m for m in warnings(caplog) if "held back" in m]
    assert held == ["EURUSD 1.155023 of one is held back until it is confirmed"]


def test_a_spike_of_one_tick_alone_leaves_the_last_price(one):
    feed = CompositeFeed([one])
    feed.snapshot(T0)
    one.say = jumped(one, T0, 1.05)
    assert feed.snapshot(T0 + MINUTE).quotes == one.usual(T0)
    one.say = one.usual
    assert feed.snapshot(T0 + 2 * MINUTE).quotes == one.usual(T0 + 2 * MINUTE)


def test_three_ticks_of_the_same_source_confirm_a_jump_and_one_tick_seen_twice_does_not(one):
    feed = CompositeFeed([one])
    feed.snapshot(T0)
    one.say = jumped(one, T0, 1.05)
    ticks = [T0 + n * MINUTE for n in (1, 1, 1, 2, 3)]
    as_of = [feed.snapshot(at).quotes[EURUSD].as_of for at in ticks]
    assert as_of == [T0, T0, T0, T0, ticks[-1]]


def test_ticks_that_do_not_agree_with_each_other_confirm_nothing(one):
    feed = CompositeFeed([one])
    feed.snapshot(T0)
    for n in range(1, 10):
        one.say = jumped(one, T0, 1 + 0.1 * (n % 2 + 1))
        assert feed.snapshot(T0 + n * MINUTE).quotes[EURUSD].as_of == T0


def test_a_second_source_confirms_a_jump_at_once(feed, one, two):
    feed.snapshot(T0)
    one.say, two.say = jumped(one, T0, 0.85), jumped(two, T0, 0.85)  # the franc in 2015
    at = T0 + MINUTE
    assert feed.snapshot(at).quotes == one.say(at)


@pytest.mark.parametrize(("off", "is_confirmed"), [(1.0049, True), (1.0052, False)])
def test_the_second_source_confirms_within_the_tolerance(off, is_confirmed):
    one, two = Hand("one"), Hand("two")
    feed = CompositeFeed([one, two], checks=Checks(tolerance=0.005))
    feed.snapshot(T0)
    one.say, two.say = jumped(one, T0, 0.85), jumped(two, T0, 0.85 * off)
    assert (feed.snapshot(T0 + MINUTE).quotes[EURUSD].as_of > T0) is is_confirmed


def test_the_limit_is_a_multiple_of_recent_volatility_once_it_is_known(one):
    """20 moves of 1e-4 a minute: 15 minutes have a deviation of 3.87e-4, six of them are 2.32e-3."""
    one.say = lambda at: {EURUSD: quote(round(1.1 * (1 + 1e-4 * (at.minute % 2)), 8), at)}
    for move, is_served in ((0.0022, True), (0.0024, False)):
        fresh = CompositeFeed([one], checks=Checks(tolerance=0.001))
        for n in range(21):
            fresh.snapshot(T0 + n * MINUTE)
        usual, at = one.say, T0 + 21 * MINUTE
        one.say = lambda at, m=move: {EURUSD: quote(round(1.1 * (1 + m), 8), at)}
        assert (fresh.snapshot(at).quotes[EURUSD].as_of == at) is is_served, move
        one.say = usual


def test_the_limit_grows_with_the_square_root_of_open_time(one):
    """3 % in 15 minutes is 6 % in an hour."""
    for move, is_served in ((1.055, True), (1.065, False)):
        feed = CompositeFeed([one])
        one.say = one.usual
        feed.snapshot(T0)
        at = T0 + 60 * MINUTE
        one.say = lambda at, m=move: {EURUSD: quote(round(1.1 * m, 6), at)}
        assert (feed.snapshot(at).quotes[EURUSD].as_of == at) is is_served


def test_sources_that_differ_at_the_very_first_look_serve_nothing_until_one_is_confirmed(one, two):
    one.mid = 11.0
    feed = CompositeFeed([one, two])
    with pytest.raises(MissingDataError, match="confirmed"):
        feed.snapshot(T0)
    with pytest.raises(MissingDataError, match="confirmed"):
        feed.snapshot(T0 + MINUTE)
    one.mid = 1.1
    assert feed.snapshot(T0 + 2 * MINUTE).quotes == one.usual(T0 + 2 * MINUTE)


def test_an_earlier_instant_starts_anew(feed, one, two):
    one.say = fails(OSError("down"))
    feed.snapshot(T0)
    one.say = one.usual
    earlier = T0 - MINUTE
    assert feed.snapshot(earlier).quotes == one.usual(earlier)
    assert the(feed, "one").is_healthy


# --- history ---------------------------------------------------------------------------------------------------------


def rows(
    *cells: tuple[int, float | None], currency: str = "EUR", interval: timedelta = MINUTE, **other: Any
) -> MarketHistory:
    """A history of one currency with cells (minutes after T0, price)."""
    times = np.array([np.datetime64((T0 + n * MINUTE).replace(tzinfo=None), "ns") for n, _ in cells])
    spot = np.array([[np.nan if price is None else price] for _, price in cells])
    return MarketHistory(times, (currency,), spot, other.pop("numeraire", "USD"), interval=interval, **other)


def shown(history: MarketHistory, column: int = 0) -> list[tuple[int, float]]:
    minutes = (history.times - np.datetime64(T0.replace(tzinfo=None), "ns")) // np.timedelta64(1, "m")
    return [(int(m), round(float(p), 9)) for m, p in zip(minutes, history.spot[:, column]) if np.isfinite(p)]


def test_rows_are_those_of_the_first_source_that_had_a_fresh_price_at_each_instant():
    first = MemoryFeed(rows((0, 1.1), (10, 1.11), (100, 1.12)), "first")
    second = MemoryFeed(rows((0, 2.1), (5, 2.2), (70, 2.3), (71, 2.4), (99, 2.5), (130, 2.6)), "second")
    feed = CompositeFeed([first, second])
    found = feed.history(None, None)
    # the row of minute 10 is 60 minutes old at 70: within its budget; at 71 it is not
    assert shown(found) == [(0, 1.1), (10, 1.11), (71, 2.4), (99, 2.5), (100, 1.12)]
    assert found.notes[0] == "Rows from second, where no source before it had a fresh price: EUR 2."
    assert found.source == "composite of first, second"
    assert found.interval == MINUTE


def test_a_start_does_not_change_who_serves():
    first = MemoryFeed(rows((0, 1.1), (10, 1.11), (100, 1.12)), "first")
    second = MemoryFeed(rows((60, 2.2), (71, 2.4), (99, 2.5), (130, 2.6)), "second")
    feed = CompositeFeed([first, second])
    assert shown(feed.history(T0 + 50 * MINUTE, None)) == [(71, 2.4), (99, 2.5), (100, 1.12)]


def test_a_frozen_stretch_of_rows_is_not_fresh():
    first = MemoryFeed(rows(*((n, 1.1) for n in range(0, 200, 10)), (200, 1.2)), "first")
    second = MemoryFeed(rows(*((n, 1.1 + n / 1e6) for n in range(5, 200, 60))), "second")
    found = shown(CompositeFeed([first, second]).history(None, None))
    # nothing moves after minute 0: from 60 on the first counts for nothing, and its row of 50 is fresh until 110
    assert found == [*((n, 1.1) for n in range(0, 60, 10)), (125, 1.100125), (185, 1.100185), (200, 1.2)]


def test_a_source_in_another_currency_is_crossed():
    euro = rows((0, 0.8), currency="USD", numeraire="EUR")
    assert shown(CompositeFeed([MemoryFeed(euro)]).history(None, None)) == [(0, 1.25)]


def test_a_spread_is_kept_where_every_source_has_one():
    half = np.array([[0.001]])
    with_spread = MemoryFeed(rows((0, 1.1), half_spread=half), "a")
    assert CompositeFeed([with_spread]).history(None, None).half_spread.tolist() == [[0.001]]
    found = CompositeFeed([with_spread, MemoryFeed(rows((0, 1.1)), "b")]).history(None, None)
    assert found.half_spread is None
    assert any("mid prices" in note for note in found.notes)


class Moody(MemoryFeed):
    """A feed that can be told to fail."""

    error: Exception | None = None
    calls = 0

    def snapshot(self, at: datetime) -> Snapshot:
        if self.error:
            raise self.error
        return super().snapshot(at)

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        self.calls += 1
        if self.error:
            raise self.error
        return super().history(start, end)


def test_a_source_that_goes_down_keeps_the_rows_it_gave():
    first = Moody(rows(*((n, 1.1 + n / 1e5) for n in range(200))), "first")
    second = MemoryFeed(rows(*((n, 2.1) for n in range(200))), "second")
    feed = CompositeFeed([first, second])
    before = feed.history(None, T0 + 100 * MINUTE)
    first.error = OSError("down")
    after = feed.history(None, T0 + 150 * MINUTE)
    assert shown(after)[: len(before)] == shown(before)
    assert [price for _, price in shown(after)[len(before) :]] == []  # the row of 99 is fresh until 159
    later = feed.history(None, T0 + 170 * MINUTE)
    assert shown(later)[len(before) :] == []  # and then the second has frozen rows only


def test_a_source_without_rows_is_named_in_the_notes():
    feed = CompositeFeed([Hand("one"), MemoryFeed(rows((0, 1.1)), "two")])
    assert feed.history(None, None).notes[0] == "No prices of one: one keeps no history."


def test_a_history_of_nobody_is_an_error_with_each_reason():
    feed = CompositeFeed([Hand("one"), Hand("two")])
    with pytest.raises(MissingDataError, match="one: one keeps no history; two: two keeps no history"):
        feed.history(None, T0)


def test_a_failed_history_is_asked_for_again_after_its_pause():
    first = Moody(rows((0, 1.1)), "first")
    feed = CompositeFeed([first, MemoryFeed(rows((0, 1.1)), "second")])
    first.error = OSError("down")
    for n in range(1, 4):
        feed.history(None, T0 + n * MINUTE)
    assert first.calls == 2  # at minutes 1 and 2
    assert the(feed, "first").failures == 2


def test_naive_instants_are_refused(feed):
    for call in (
        lambda: feed.snapshot(datetime(2024, 1, 9)),
        lambda: feed.history(datetime(2024, 1, 9), None),
        lambda: feed.history(None, datetime(2024, 1, 9)),
    ):
        with pytest.raises(DataError, match="time zone"):
            call()


# --- rates -----------------------------------------------------------------------------------------------------------


def day(n: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=n)


def rate_feed(
    name: str, verified: datetime | None = None, days: int = 300, **series: list[tuple[int, int, float]]
) -> MemoryFeed:
    """A daily feed with rates (as_of, available_at, value), in days of 2024."""
    times = np.datetime64("2024-01-01", "ns") + np.arange(days) * np.timedelta64(1, "D")
    rates = {
        c: RateSeries.of(c, [(day(a), day(k), v) for a, k, v in table], day_count=360) for c, table in series.items()
    }
    spot = 1.1 + 1e-4 * np.arange(days)[:, None]
    return MemoryFeed(MarketHistory(times, ("EUR",), spot, "USD", rates, rates_verified_until=verified), name)


def test_each_currency_has_the_rate_of_the_first_source_within_its_budget(caplog):
    monthly = [(30 * n, 30 * n + 10, 0.02 + n / 1000) for n in range(3)]  # and then it stops
    first = rate_feed("first", EUR=monthly, USD=[(30 * n, 30 * n, 0.05) for n in range(10)])
    second = rate_feed("second", EUR=[(n, n + 1, 0.04) for n in range(300)])
    feed = CompositeFeed([first], [first, second])
    got = {n: feed.snapshot(day(n)).rates for n in (5, 20, 60, 120, 121, 200)}
    assert {n: (r["EUR"].value, r["EUR"].source) for n, r in got.items()} == {
        5: (0.04, "second"),  # the first is not published yet
        20: (0.02, "first"),
        60: (0.021, "first"),
        120: (0.022, "first"),  # known since day 70, 50 days ago
        121: (0.04, "second"),
        200: (0.04, "second"),
    }
    assert (got[20]["EUR"].as_of, got[20]["EUR"].available_at) == (day(0), day(10))  # older than what was served
    assert "rates of EUR are from second now, no longer from first" in warnings(caplog)
    assert {r.name: r.rates for r in feed.health()} == {"first": ("USD",), "second": ("EUR",)}
    notes = feed.history(None, day(200)).notes
    assert "EUR rate: second, then first from 2024-01-11; second from 2024-04-30." in notes


def test_no_rate_is_carried_forward_silently(caplog):
    feed = CompositeFeed([rate_feed("only", EUR=[(0, 0, 0.02)], USD=[(30 * n, 30 * n, 0.05) for n in range(10)])])
    assert feed.snapshot(day(50)).rates.keys() == {"EUR", "USD"}
    assert feed.snapshot(day(51)).rates.keys() == {"USD"}
    assert "rates of EUR: no source has one within its budget" in warnings(caplog)
    history = feed.history(None, day(52))
    last = "EUR rate: none now, no source has one within its budget; the last, of only, was of 2024-01-01."
    assert last in history.notes
    euro = history.rates["EUR"]
    assert [euro.get(day(n)) is None for n in (0, 50, 51, 200)] == [False, False, True, True]
    assert np.isnan(euro.values(np.array(["2024-03-01"], "datetime64[ns]"))).all()


def test_a_rate_whose_source_says_it_is_too_old_is_the_next_ones():
    series = RateSeries.of("EUR", [(day(0), day(0), 0.02)])
    ends = attrs.evolve(series, until=np.array(["2024-01-11"], "datetime64[ns]"))
    first = rate_feed("first")
    first._history = attrs.evolve(first._history, rates={"EUR": ends})
    second = rate_feed("second", EUR=[(1, 1, 0.03)])
    feed = CompositeFeed([first], [first, second])
    assert [feed.snapshot(day(n)).rates["EUR"].value for n in (9, 10, 51)] == [0.02, 0.03, 0.03]
    assert "EUR" not in feed.snapshot(day(52)).rates
    euro = feed.history(None, day(60)).rates["EUR"]
    known = [euro.get(day(n)) for n in (9, 10, 51, 52)]
    assert [None if rate is None else rate.value for rate in known] == [0.02, 0.03, 0.03, None]


def test_a_source_of_rates_that_is_down_is_told_and_what_it_gave_stands_within_its_budget(caplog):
    class Down(MemoryFeed):
        is_down = False
        calls = 0

        def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
            self.calls += 1
            if self.is_down:
                raise MissingDataError("fred does not answer")
            return super().history(start, end)

    prices = rate_feed("prices")
    rates = Down(rate_feed("fred", EUR=[(0, 0, 0.02)])._history, "fred")
    feed = CompositeFeed([prices], [rates])
    assert feed.snapshot(day(10)).rates["EUR"].value == 0.02
    rates.is_down = True
    for second in range(30):
        assert feed.snapshot(day(11) + timedelta(seconds=second)).rates["EUR"].value == 0.02
    assert rates.calls == 2  # it is paused
    assert (the(feed, "fred").failures, the(feed, "fred").reason) == (1, "fred does not answer")
    assert [m for m in warnings(caplog) if "fred" in m] == ["history of fred: not used: fred does not answer"]
    assert feed.snapshot(day(51)).rates == {}
    rates.is_down = False
    feed.snapshot(day(52))
    assert the(feed, "fred").is_healthy


def test_a_source_of_rates_that_never_answered_is_told(caplog):
    feed = CompositeFeed([rate_feed("prices")], [Hand("fred")])
    assert feed.snapshot(day(10)).rates == {}
    assert warnings(caplog) == ["history of fred: not used: fred keeps no history"]


def test_a_table_of_changes_is_as_old_as_the_day_it_is_verified_to():
    feed = CompositeFeed([rate_feed("table", verified=day(200), EUR=[(0, 0, 0.02)])], checks=Checks(rate_days=7))
    assert feed.snapshot(day(207)).rates.keys() == {"EUR"}
    assert feed.snapshot(day(208)).rates.keys() == set()
    assert feed.history(None, day(207)).rates_verified_until == day(200)


def test_a_source_of_rates_may_have_its_own_budget():
    checks = Checks(source_rate_days={"slow": 100})
    feed = CompositeFeed([rate_feed("slow", EUR=[(0, 0, 0.02)])], checks=checks)
    assert feed.snapshot(day(100)).rates.keys() == {"EUR"}
    assert feed.snapshot(day(101)).rates.keys() == set()


def test_rates_are_in_the_currencys_own_day_count():
    feed = CompositeFeed([rate_feed("a", GBP=[(0, 0, 0.036)])])
    rate = feed.snapshot(day(1)).rates["GBP"]
    assert (rate.day_count, rate.value) == (365, pytest.approx(0.0365))  # 0.036 a year of 360 days


def test_vintages_of_the_serving_source_stay_as_they_were_known():
    feed = CompositeFeed([rate_feed("a", EUR=[(0, 10, 0.02), (0, 40, 0.021), (30, 40, 0.03)])])
    series = feed.history(None, day(45)).rates["EUR"]
    assert series.get(day(39)).value == 0.02
    assert (series.get(day(40)).value, series.get(day(40)).as_of) == (0.03, day(30))


def test_the_history_of_rates_ends_before_the_end():
    feed = CompositeFeed([rate_feed("a", EUR=[(0, 10, 0.02), (30, 40, 0.03)])])
    assert feed.history(None, day(40)).rates["EUR"].value.tolist() == [0.02]
    assert feed.history(None, day(5)).rates == {}


# --- settings --------------------------------------------------------------------------------------------------------


def test_sources_of_one_name_are_told_apart_and_one_feed_is_one_source():
    one, other = Hand("same"), Hand("same")
    feed = CompositeFeed([one, other], [one])
    assert [record.name for record in feed.health()] == ["same", "same #2"]
    feed.close()
    assert (one.closed, other.closed) == (1, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CompositeFeed([]), "no source of prices"),
        (lambda: CompositeFeed([Hand("a")], checks=Checks(source_rate_days={"b": 3})), "'b'.*sources of rates are a"),
        (lambda: Checks(minutes=0), "minutes is 0"),
        (lambda: Checks(jump=float("nan")), "jump is nan"),
        (lambda: Checks(pair_minutes={"EURUSD": -1}), "EURUSD is -1"),
        (lambda: Checks(pair_minutes={"EUR": 5}), "'EUR' is not a currency pair"),
        (lambda: Checks(source_rate_days={"a": 0}), "a is 0"),
        (lambda: CompositeFeed([Hand("a")], numeraire="DOLLAR"), "DOLLAR"),
    ],
)
def test_a_wrong_setting_says_so(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def configured(text: str) -> Any:
    import tomllib

    from fxcarry import plugins
    from fxcarry.config import structure

    return structure(tomllib.loads(text), plugins.load({}))


def test_a_configuration_makes_it_and_a_table_that_is_there_twice_is_one_feed():
    from fxcarry.build import feed_of

    one, other = ('use = "file"\nprices = "a.csv"\n', 'use = "file"\nprices = "b.csv"\n')
    config = configured(
        '[feed]\nuse = "composite"\nnumeraire = "EUR"\nminutes = 5\npair_minutes = { USDTRY = 240 }\n'
        f"[[feed.prices]]\n{one}[[feed.prices]]\n{other}[[feed.rates]]\n{other}"
    )
    feed: Any = feed_of(config)
    assert [record.name for record in feed.health()] == ["file", "file #2"]
    assert feed._rates == feed._prices[1:]
    assert feed.checks == Checks(minutes=5, pair_minutes={"USDTRY": 240})
    assert feed.numeraire == "EUR"


def test_wrong_checks_in_a_configuration_are_told_with_their_place():
    source = '[[feed.prices]]\nuse = "file"\nprices = "a.csv"\n'
    with pytest.raises(ConfigError, match=r"feed\.composite: minutes is -1"):
        configured(f'[feed]\nuse = "composite"\nminutes = -1\n{source}')
    with pytest.raises(ConfigError, match=r"feed\.composite: no source of prices"):
        configured('[feed]\nuse = "composite"\nprices = []\n')
    with pytest.raises(ConfigError, match=r"feed\.composite\.prices: required"):
        configured('[feed]\nuse = "composite"\n')


def test_the_defaults_of_the_configuration_are_those_of_the_checks():
    own = {a.name: a.default for a in attrs.fields(Checks) if isinstance(a.default, float)}
    told = {a.name: a.default for a in attrs.fields(CompositeConfig)}
    assert own == {name: told[name] for name in own}
    assert len(own) == 7
