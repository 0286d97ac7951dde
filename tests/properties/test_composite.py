"""Whatever the sources have, a composite shows a past that does not change and nothing that no source said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.composite import Checks, CompositeFeed
from fxcarry.errors import MissingDataError
from fxcarry.feeds import MemoryFeed
from fxcarry.market import MarketHistory, RateSeries, from_ns, to_ns
from fxcarry.store import Store, StoredFeed

T0 = datetime(2024, 1, 9, 12, tzinfo=UTC)
CODES = ("EUR", "JPY")


def instant(minutes: int) -> datetime:
    return T0 + timedelta(minutes=minutes)


@st.composite
def sources(draw: Any, name: str) -> MemoryFeed:
    """A feed with some rows of some currencies, all prices different from those of others, and some vintages."""
    minutes = sorted(draw(st.sets(st.integers(0, 400), min_size=1, max_size=12)))
    cells = draw(st.lists(st.booleans(), min_size=2 * len(minutes), max_size=2 * len(minutes)))
    has = np.array(cells).reshape(len(minutes), 2)
    level = float(ord(name[0]) - ord("a") + 1)
    spot = np.where(has, level + 1e-3 * np.arange(1, 2 * len(minutes) + 1).reshape(-1, 2), np.nan)
    rates = {}
    for code in CODES:
        rows = draw(
            st.lists(
                st.tuples(st.integers(0, 400), st.integers(0, 60), st.integers(1, 9)),
                max_size=4,
                unique_by=lambda r: (r[0], r[1]),
            )
        )
        if rows:
            rates[code] = RateSeries.of(
                code, [(instant(a), instant(a + lag), level / 10 + v / 1000) for a, lag, v in rows]
            )
    times = np.array([to_ns(instant(m)) for m in minutes])
    return MemoryFeed(MarketHistory(times, CODES, spot, "USD", rates, interval=timedelta(minutes=1)), name)


CHECKS = Checks(rate_days=60 / 1440)  # an hour
feeds = st.tuples(sources("a"), sources("b"), sources("c"))
ends = st.integers(1, 500)


def history(feed: Any, end: int) -> MarketHistory | None:
    try:
        found: MarketHistory = feed.history(None, instant(end))
    except MissingDataError:
        return None
    return found


@settings(deadline=None, max_examples=50)
@given(feeds, ends, ends)
def test_the_past_does_not_depend_on_the_end(made: tuple[MemoryFeed, ...], one: int, other: int) -> None:
    early, late = sorted((one, other))
    short, long = (history(CompositeFeed(made, checks=CHECKS), end) for end in (early, late))
    if short is None or long is None:
        assert short is None or long is not None
        return
    same = long.between(None, instant(early))
    assert np.array_equal(short.times, same.times)
    assert np.array_equal(short.spot, same.spot, equal_nan=True)
    for code, series in short.rates.items():
        assert np.array_equal(series.values(short.times), long.rates[code].values(short.times), equal_nan=True)
        assert (series.available_at < to_ns(instant(early))).all()


@settings(deadline=None, max_examples=40)
@given(feeds, ends)
def test_every_price_is_one_that_a_source_gave_then(made: tuple[MemoryFeed, ...], end: int) -> None:
    found = history(CompositeFeed(made, checks=CHECKS), end)
    if found is None:
        assert all(history(feed, end) is None or not np.isfinite(history(feed, end).spot).any() for feed in made)  # type: ignore[union-attr]
        return
    told = set()
    for feed in made:
        own = history(feed, end)
        if own is not None:
            for row, time in enumerate(own.times):
                told |= {(time, code, own.spot[row, n]) for n, code in enumerate(CODES)}
    for row, time in enumerate(found.times):
        for n, code in enumerate(found.currencies):
            if np.isfinite(found.spot[row, n]):
                assert (time, code, found.spot[row, n]) in told


@settings(deadline=None, max_examples=50)
@given(feeds, st.integers(1, 400))
def test_a_rate_is_the_first_sources_that_has_one_no_older_than_its_budget(
    made: tuple[MemoryFeed, ...], minute: int
) -> None:
    at = instant(minute)
    whole = [feed._history.rates for feed in made]
    rows = MemoryFeed(MarketHistory(np.array([to_ns(T0)]), ("EUR",), np.array([[1.0]]), "USD"), "rows")
    rated = [
        MemoryFeed(MarketHistory(np.array([to_ns(T0)]), ("EUR",), np.array([[1.0]]), "USD", r), f"s{n}")
        for n, r in enumerate(whole)
    ]
    got = CompositeFeed([rows], rated, checks=CHECKS).snapshot(at).rates
    for code in CODES:
        expected = None
        for rates in whole:
            rate = rates[code].get(at) if code in rates else None
            if rate is not None and at - max(rate.as_of, rate.available_at) <= timedelta(hours=1):
                expected = rate.value
                break
        found = got[code].value if code in got else None
        assert (found is None) == (expected is None)
        if expected is not None:
            assert found is not None
            assert abs(found - expected) < 1e-12


@settings(deadline=None, max_examples=20)
@given(sources("a"), st.lists(st.integers(1, 500), min_size=1, max_size=4))
def test_a_store_filled_in_steps_is_its_source(feed: MemoryFeed, steps: list[int]) -> None:
    last = max(steps)
    with TemporaryDirectory() as folder:
        store = Store(Path(folder) / "market.sqlite")
        for until in sorted(steps):
            try:
                store.update(feed, instant(until))
            except MissingDataError:
                continue
        wanted, stored = history(feed, last), StoredFeed(store.path)
        if wanted is None or not np.isfinite(wanted.spot).any():
            store.close()
            stored.close()
            return
        found = stored.history(None, instant(last))
        for n, code in enumerate(CODES):
            told = np.isfinite(wanted.spot[:, n])
            if told.any():
                column = found.spot[:, found.currencies.index(code)]
                assert [from_ns(t) for t in found.times[np.isfinite(column)]] == [
                    from_ns(t) for t in wanted.times[told]
                ]
                assert np.array_equal(column[np.isfinite(column)], wanted.spot[told, n])
        grid = np.array([to_ns(instant(m)) for m in range(0, last, 7)])
        for code, series in wanted.rates.items():
            known = series.values(grid)
            if code in found.rates:
                assert np.array_equal(found.rates[code].values(grid), known, equal_nan=True)
            else:
                assert np.isnan(known).all()
        stored.close()
        store.close()
