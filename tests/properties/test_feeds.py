"""Properties of feeds over stored data."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.errors import MissingDataError
from fxcarry.feeds import FileFeed, MemoryFeed
from fxcarry.market import MarketHistory, RateSeries

START = datetime(2024, 1, 1, 12, tzinfo=UTC)
PRICES = st.one_of(st.just(float("nan")), st.floats(1e-6, 1e6))
DAYS = st.integers(0, 30)


@st.composite
def histories(draw: st.DrawFn) -> MarketHistory:
    days = sorted(draw(st.sets(DAYS, min_size=1, max_size=8)))
    rows = draw(st.lists(st.tuples(PRICES, PRICES), min_size=len(days), max_size=len(days)))
    vintages = draw(st.lists(st.tuples(DAYS, DAYS, st.floats(-0.05, 0.2)), max_size=6))
    when = [START + timedelta(days=d) for d in range(31)]
    return MarketHistory(
        times=np.array([when[d].replace(tzinfo=None) for d in days], "datetime64[ns]"),
        currencies=("EUR", "JPY"),
        spot=np.array(rows),
        numeraire="USD",
        rates={"USD": RateSeries.of("USD", [(when[a], when[b], v) for a, b, v in vintages])},
    )


@given(histories(), st.integers(0, 31 * 24))
def test_a_snapshot_is_the_same_whether_or_not_the_future_is_stored(history: MarketHistory, hours: int) -> None:
    at = START + timedelta(hours=hours)
    past = history.between(None, at + timedelta(microseconds=1))
    if not len(past):
        for known in (history, past):
            try:
                MemoryFeed(known).snapshot(at)
            except MissingDataError:
                continue
            raise AssertionError("a snapshot before the first row")
        return
    assert MemoryFeed(history).snapshot(at) == MemoryFeed(past).snapshot(at)


@given(histories(), st.integers(0, 31 * 24))
def test_nothing_in_a_snapshot_is_younger_than_it(history: MarketHistory, hours: int) -> None:
    at = max(START + timedelta(hours=hours), history.start)
    snapshot = MemoryFeed(history).snapshot(at)
    assert all(quote.as_of <= at for quote in snapshot.quotes.values())
    assert all(rate.as_of <= at and rate.available_at <= at for rate in snapshot.rates.values())


@given(histories())
def test_a_pair_and_its_inverse_give_the_same_market(history: MarketHistory) -> None:
    index = pd.DatetimeIndex(history.times, tz="UTC")
    direct = pd.DataFrame(history.spot, index=index, columns=["EURUSD", "JPYUSD"])
    inverse = pd.DataFrame(1.0 / history.spot, index=index, columns=["USDEUR", "USDJPY"])
    one, other = (MemoryFeed.from_frames(f).history(None, None) for f in (direct, inverse))
    assert one.currencies == other.currencies == ("EUR", "JPY")
    np.testing.assert_array_equal(one.times, history.times)
    np.testing.assert_allclose(one.spot, other.spot, rtol=1e-15)


@given(histories())
def test_a_file_gives_back_what_was_written(history: MarketHistory) -> None:
    index = pd.DatetimeIndex(history.times, tz="UTC", name="time")
    frame = pd.DataFrame(history.spot, index=index, columns=list(history.currencies))
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(Path(folder, "prices.csv"))
        frame.to_parquet(Path(folder, "prices.parquet"))
        for name in ("prices.csv", "prices.parquet"):
            read = FileFeed(Path(folder, name)).history(None, None)
            np.testing.assert_array_equal(read.times, history.times)
            np.testing.assert_array_equal(read.spot, history.spot)
