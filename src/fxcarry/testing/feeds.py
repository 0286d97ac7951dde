"""What every feed has to do, as test cases F01 to F12."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from fxcarry.errors import DataError, MissingDataError, StaleDataError
from fxcarry.market import MarketHistory, from_ns, to_ns
from fxcarry.protocols import DataFeed
from fxcarry.testing import Suite, signature_problems

_TOO_EARLY = datetime(1950, 1, 2, tzinfo=UTC)
_SPAN = 120  # intervals of history the cases look at
_INSTANT = timedelta(microseconds=1)


class FeedSuite(Suite):
    """Required fixture: ``feed``, a DataFeed. Optional: ``at``, an instant with some 60 intervals of data before it.

    ``at`` defaults to three quarters through everything the feed has, which an on-line feed may not want to give. The
    fixture ``feed`` may be shared only between cases that do not close it: F12 does.
    """

    @pytest.fixture
    def at(self, feed: DataFeed) -> datetime:
        """An instant with data before it."""
        times = feed.history(None, None).times
        return from_ns(times[len(times) * 3 // 4])

    def test_F01_it_has_a_name_and_a_positive_interval(self, feed: DataFeed) -> None:
        """A name to report and an interval for staleness budgets."""
        assert isinstance(feed.name, str), f"name is {feed.name!r}, expected a text"
        assert feed.name.strip(), "name is empty"
        assert isinstance(feed.interval, timedelta), f"interval is {feed.interval!r}, expected a timedelta"
        assert feed.interval > timedelta(0), f"interval is {feed.interval}, expected > 0"

    def test_F02_its_methods_have_the_signatures_of_the_protocol(self, feed: DataFeed) -> None:
        """The engine calls them by these arguments."""
        problems = signature_problems(DataFeed, feed)
        assert not problems, "; ".join(problems)

    def test_F03_history_is_sorted_positive_and_ends_before_the_end(self, feed: DataFeed, at: datetime) -> None:
        """Rows with start <= time < end, also where ``end`` is the time of a row."""
        history = _history(feed, at)
        assert isinstance(history, MarketHistory), f"history() gave {type(history).__name__}, expected a MarketHistory"
        assert len(history), f"no row in the {_SPAN} intervals before {at}"
        times = history.times
        assert (times[1:] > times[:-1]).all(), "rows are not strictly sorted by time"
        quoted = history.spot[np.isfinite(history.spot)]
        assert (quoted > 0).all(), "a price is not positive"
        assert not np.isinf(history.spot).any(), "a price is infinite"
        assert quoted.size, "there is no price at all"
        start = at - _SPAN * feed.interval
        assert start <= history.start, f"a row of {history.start} is before the start {start}"
        for end in (at, history.end):
            found = feed.history(start, end)
            late = found.times[found.times >= to_ns(end)]
            assert not len(late), f"history(end={end}) has a row of {late[:1]}"

    def test_F04_rates_are_those_available_before_the_end(self, feed: DataFeed, at: datetime) -> None:
        """A rate published at or after ``end`` is not in the history."""
        rates = _history(feed, at).rates
        assert rates, "history() has no rates"
        for currency, series in rates.items():
            assert len(series.available_at) == len(series.value), f"{currency}: rates without available_at"
            assert (series.available_at < to_ns(at)).all(), f"{currency}: a rate was published at or after {at}"

    def test_F05_a_longer_history_does_not_change_the_past(self, feed: DataFeed, at: datetime) -> None:
        """Rows and rates known at an earlier end are the same when asked for later."""
        long = _history(feed, at)
        cut = from_ns(long.times[len(long) // 2])
        short = feed.history(at - _SPAN * feed.interval, cut)
        same = long.between(None, cut)
        assert short.currencies == same.currencies, "the currencies depend on the end"
        assert np.array_equal(short.times, same.times), "the rows before an end depend on the end"
        assert np.array_equal(short.spot, same.spot, equal_nan=True), "the prices before an end depend on the end"
        assert short.rates.keys() <= long.rates.keys(), "a rate disappears later"
        for currency, series in short.rates.items():
            later = long.rates[currency].values(short.times)
            assert np.array_equal(series.values(short.times), later, equal_nan=True), (
                f"{currency}: the rates known at {cut} were other ones when asked at {at}"
            )

    def test_F06_a_snapshot_holds_nothing_from_after_its_instant(self, feed: DataFeed, at: datetime) -> None:
        """Nothing observed, in force or known after ``at``."""
        snapshot = feed.snapshot(at)
        assert snapshot.at == at, f"snapshot({at}) says it is of {snapshot.at}"
        assert snapshot.quotes, f"snapshot({at}) has no quote"
        for pair, quote in snapshot.quotes.items():
            assert quote.as_of <= at, f"{pair} was observed {quote.as_of}, after {at}"
        for currency, rate in snapshot.rates.items():
            assert max(rate.as_of, rate.available_at) <= at, f"the {currency} rate was not in force and known at {at}"

    def test_F07_a_snapshot_agrees_with_the_history(self, feed: DataFeed, at: datetime) -> None:
        """Equal to the row of the same instant; of the same size, and no older, where the quote is a newer one."""
        history = feed.history(at - _SPAN * feed.interval, at + _INSTANT)
        snapshot = feed.snapshot(at)
        column = {c: history.spot[:, i] for i, c in enumerate(history.currencies)}
        column[history.numeraire] = np.ones(len(history))
        compared = 0
        for pair, quote in snapshot.quotes.items():
            if not {*pair} <= column.keys():
                continue
            prices = column[pair.base] / column[pair.quote]
            rows = np.flatnonzero(np.isfinite(prices) & (history.times <= to_ns(at)))
            if not len(rows):
                continue
            row, compared = rows[-1], compared + 1
            assert quote.as_of >= from_ns(history.times[row]), (
                f"{pair}: the history has a newer price than the snapshot"
            )
            tolerance = 1e-6 if quote.as_of == from_ns(history.times[row]) else 0.2
            assert float(quote.mid) == pytest.approx(prices[row], rel=tolerance), f"{pair} differs from the history"
        assert compared, "no pair of the snapshot is in the history"
        for currency, rate in snapshot.rates.items():
            known = history.rates[currency].get(at) if currency in history.rates else None
            assert known is None or rate.value == pytest.approx(known.value), f"{currency}: another rate in the history"

    def test_F08_naive_instants_are_refused(self, feed: DataFeed, at: datetime) -> None:
        """Without a time zone it is not known which instant is meant: a DataError."""
        naive = at.replace(tzinfo=None)
        earlier = at - _SPAN * feed.interval
        _refuses(lambda: feed.snapshot(naive), "snapshot() takes an instant without time zone")
        _refuses(lambda: feed.history(naive, at), "history() takes a start without time zone")
        _refuses(lambda: feed.history(earlier, naive), "history() takes an end without time zone")

    def test_F09_a_snapshot_before_all_data_is_an_error(self, feed: DataFeed) -> None:
        """MissingDataError (or StaleDataError), not a snapshot without quotes."""
        _refuses(
            lambda: feed.snapshot(_TOO_EARLY),
            "a snapshot before all data is a success",
            (MissingDataError, StaleDataError),
        )

    def test_F10_a_history_without_rows_is_an_error(self, feed: DataFeed, at: datetime) -> None:
        """MissingDataError, not an empty success: for a span before all data and for an empty one."""
        for start, end in ((_TOO_EARLY, _TOO_EARLY + timedelta(days=7)), (at, at)):
            _refuses(
                lambda start=start, end=end: feed.history(start, end),  # type: ignore[misc]  # bound in the loop
                f"history({start:%Y-%m-%d}, {end:%Y-%m-%d}) has no rows and is a success",
                (MissingDataError,),
            )

    def test_F11_asking_twice_gives_the_same(self, feed: DataFeed, at: datetime) -> None:
        """A question about the past has one answer."""
        one, other = _history(feed, at), _history(feed, at)
        assert np.array_equal(one.times, other.times), "the rows differ from call to call"
        assert np.array_equal(one.spot, other.spot, equal_nan=True), "the prices differ from call to call"
        assert feed.snapshot(at) == feed.snapshot(at), "the snapshots differ from call to call"

    def test_F12_closing_twice_does_no_harm(self, feed: DataFeed) -> None:
        """The engine closes what it was given, and so may the caller."""
        feed.close()
        feed.close()


def _history(feed: DataFeed, at: datetime) -> MarketHistory:
    return feed.history(at - _SPAN * feed.interval, at)


def _refuses(call: Callable[[], object], message: str, errors: tuple[type[DataError], ...] = (DataError,)) -> None:
    try:
        call()
    except errors:
        return
    pytest.fail(message)
