"""Prices as a feed: live quotes, candles, and what a feed has to refuse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from fxcarry.errors import ConfigError, DataError, MissingDataError, StaleDataError
from fxcarry.feeds import MemoryFeed
from fxcarry.model import Pair
from fxcarry.testing import market_history
from fxcarry_oanda.feed import OandaFeed
from fxcarry_oanda.testing.suites import client_of

EURUSD, USDJPY = Pair("EUR", "USD"), Pair("USD", "JPY")


@pytest.fixture
def rates() -> MemoryFeed:
    return MemoryFeed(market_history(("EUR", "JPY"), days=60, start=date(2025, 1, 6)), "rates")


@pytest.fixture
def feed(desk: Any, rates: MemoryFeed) -> Iterator[OandaFeed]:
    made = OandaFeed(
        client_of(desk.fake, desk.server, silence=0.5),
        currencies=("EUR", "JPY", "USD"),
        rates=rates,
        clock=lambda: desk.fake.at,
    )
    yield made
    made.close()


def test_a_snapshot_of_now_has_the_quotes_of_now(desk: Any, feed: OandaFeed) -> None:
    desk.next("1.23450")
    snapshot = feed.snapshot(desk.at)
    assert snapshot.quotes.keys() == {EURUSD, USDJPY}
    assert (snapshot.quotes[EURUSD].bid, snapshot.quotes[EURUSD].ask) == (Decimal("1.23440"), Decimal("1.23460"))
    assert snapshot.quotes[EURUSD].as_of <= snapshot.at == desk.at
    assert {"EUR", "JPY", "USD"} <= snapshot.rates.keys()


def test_a_quote_keeps_the_instant_it_is_from(desk: Any, feed: OandaFeed) -> None:
    desk.next(after=timedelta(days=2, hours=7))  # Friday 20:02 UTC
    friday = desk.at
    desk.next(after=timedelta(hours=20))  # Saturday: nothing is quoted anew
    assert feed.snapshot(desk.at).quotes[EURUSD].as_of <= desk.at
    assert friday < desk.at


def test_rows_are_the_closes_of_candles_that_have_ended(desk: Any, feed: OandaFeed) -> None:
    for minute in range(150):
        desk.fake.move_to(desk.snapshot(f"{1.1 + 0.0001 * minute:.5f}", "150.000"))
        desk.at += timedelta(minutes=1)
    desk.at = desk.fake.at
    history = feed.history(None, None)
    assert (history.numeraire, history.currencies, history.interval) == ("USD", ("EUR", "JPY"), timedelta(hours=1))
    ends = [str(t)[11:16] for t in history.times]
    assert ends[-2:] == ["14:00", "15:00"]
    assert history.half_spread is not None
    begun = datetime(2025, 3, 12, 13, 1, tzinfo=UTC)
    last = 1.1 + 0.0001 * ((datetime(2025, 3, 12, 14, 59, tzinfo=UTC) - begun) / timedelta(minutes=1))
    assert history.spot[-1] == pytest.approx([last, 1 / 150], abs=2e-4)
    assert np.isfinite(history.spot[-2:]).all()


def test_a_past_snapshot_is_of_the_candles_that_had_ended_by_then(desk: Any, feed: OandaFeed) -> None:
    desk.next("1.10000", after=timedelta(minutes=10))
    desk.next("1.30000", after=timedelta(hours=3))
    past = datetime(2025, 3, 12, 14, 30, tzinfo=UTC)
    quote = feed.snapshot(past).quotes[EURUSD]
    assert quote.as_of == datetime(2025, 3, 12, 14, tzinfo=UTC)
    assert float(quote.mid) == pytest.approx(1.10)


def test_what_is_known_is_not_read_again(desk: Any, feed: OandaFeed) -> None:
    for hour in range(6):
        desk.next(f"1.1{hour}000", after=timedelta(hours=1))
    feed.history(None, desk.at)
    before = sum("candles" in r.path for r in desk.server.requests)
    feed.history(None, desk.at)
    assert sum("candles" in r.path for r in desk.server.requests) == before
    desk.next("1.20000", after=timedelta(hours=1))
    assert len(feed.history(None, desk.at)) == len(feed.history(None, desk.at - timedelta(hours=1))) + 1
    assert sum("candles" in r.path for r in desk.server.requests) == before + 2  # one a pair


def test_an_end_that_oandas_clock_has_not_reached_is_not_named(desk: Any, feed: OandaFeed) -> None:
    desk.next(after=timedelta(hours=3))
    feed._clock = lambda: desk.at + timedelta(seconds=5)  # ours is fast
    assert len(feed.history(None, desk.at + timedelta(seconds=5)))
    asked = [r.query for r in desk.server.requests if "candles" in r.path]
    assert asked[-1]["count"] == "5000"
    assert "to" not in asked[-1]
    assert all(query["to"] < "2025-03-12T16:01" for query in asked if "to" in query)


def test_the_future_and_a_wrong_clock_are_errors(desk: Any, feed: OandaFeed) -> None:
    with pytest.raises(MissingDataError, match="has not come yet"):
        feed.snapshot(desk.at + timedelta(minutes=5))
    feed._clock = lambda: desk.at - timedelta(minutes=10)
    with pytest.raises(StaleDataError, match="has not come yet"):
        feed.snapshot(desk.at - timedelta(minutes=10))


def test_a_pair_that_is_not_quoted_is_an_error_not_a_hole(desk: Any, rates: MemoryFeed) -> None:
    feed = OandaFeed(
        client_of(desk.fake, desk.server), currencies=("EUR", "XAF"), rates=rates, clock=lambda: desk.fake.at
    )
    with pytest.raises((DataError, ConfigError)):
        feed.snapshot(desk.at)
    feed.close()


@pytest.mark.parametrize("fault", ["failed", "lost", "unavailable", "busy"])
def test_a_feed_that_cannot_be_read_is_a_data_error(desk: Any, feed: OandaFeed, fault: Any) -> None:
    desk.server.fail("GET */pricing", fault, times=9)
    with pytest.raises(DataError, match="cannot be read"):
        feed.snapshot(desk.at)
    desk.server.fail("GET */candles", fault, times=9)
    with pytest.raises(DataError, match="cannot be read"):
        feed.history(None, None)


def test_a_granularity_that_is_none_is_refused(desk: Any, rates: MemoryFeed) -> None:
    with pytest.raises(ConfigError, match="granularity is 'S5'"):
        OandaFeed(client_of(desk.fake, desk.server), currencies=("EUR",), rates=rates, granularity="S5")


def test_the_price_stream_takes_the_place_of_polling(desk: Any, rates: MemoryFeed, soon: Any) -> None:
    feed = OandaFeed(
        client_of(desk.fake, desk.server, silence=0.5),
        currencies=("EUR", "JPY"),
        rates=rates,
        streams=True,
        clock=lambda: desk.fake.at,
    )
    feed.snapshot(desk.at)
    assert feed._stream is not None
    stream = feed._stream
    assert soon(lambda: len(stream.prices()) == 2)
    polled = sum(r.path.endswith("/pricing") for r in desk.server.requests)
    quotes = feed.snapshot(desk.at).quotes
    assert sum(r.path.endswith("/pricing") for r in desk.server.requests) == polled
    assert quotes[EURUSD].bid == Decimal("1.0999")
    feed.close()
