"""Market data in a file: written once with who told it, served as it was known, checked, safe when processes die."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.composite import CompositeFeed
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.feeds import MemoryFeed
from fxcarry.market import MarketHistory, RateSeries, from_ns
from fxcarry.model import Pair, Quote, Rate, Snapshot
from fxcarry.store import RecordingFeed, Store, StoredFeed
from fxcarry.testing import market_history

EURUSD, USDJPY = Pair("EUR", "USD"), Pair("USD", "JPY")
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
T0 = datetime(2024, 1, 9, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def day(n: int, hour: int = 21) -> datetime:
    """Weekdays from Monday, 2024-01-01, an hour before the end of the session."""
    return datetime(2024, 1, 1, hour, tzinfo=UTC) + timedelta(days=n // 5 * 7 + n % 5)


def daily(count: int = 30, skip: tuple[int, ...] = (), currency: str = "EUR", **fields: Any) -> MarketHistory:
    days = [n for n in range(1, count) if n not in skip]
    times = np.array([np.datetime64(day(n).replace(tzinfo=None), "ns") for n in days])
    spot = np.array([[1.1 + n / 1000] for n in days])
    rates = fields.pop(
        "rates",
        {"EUR": RateSeries.of("EUR", [(day(1), day(1), 0.03)]), "USD": RateSeries.of("USD", [(day(1), day(1), 0.05)])},
    )
    return MarketHistory(times, (currency,), spot, "USD", rates, **fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "market.sqlite"


@pytest.fixture
def store(path: Path) -> Any:
    made = Store(path, now=lambda: NOW)
    yield made
    made.close()


def rows(path: Path, query: str) -> list[Any]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def snapshot(
    at: datetime, mid: str, as_of: datetime | None = None, pair: Pair = EURUSD, rate: Rate | None = None
) -> Snapshot:
    quotes = {pair: Quote(Decimal(mid), Decimal(mid) + Decimal("0.0002"), as_of or at)}
    return Snapshot(at, quotes, {} if rate is None else {"EUR": rate})


def rate(value: float, as_of: datetime, known: datetime | None = None) -> Rate:
    return Rate(value=value, as_of=as_of, available_at=known or as_of, source="a bank")


# --- what is written -------------------------------------------------------------------------------------------------


def test_each_price_is_written_once_with_who_told_it_and_when(store, path):
    feed = MemoryFeed(daily(), "acme")
    assert store.record(snapshot(T0, "1.1", T0 - MINUTE, rate=rate(0.03, day(1))), feed) == 2
    assert store.record(snapshot(T0 + MINUTE, "1.1", T0 - MINUTE, rate=rate(0.03, day(1))), feed) == 0
    assert store.record(snapshot(T0 + 2 * MINUTE, "1.2", T0 + 2 * MINUTE), feed) == 1
    store.close()
    assert rows(path, "SELECT pair, bid, ask, inverse FROM prices") == [
        ("EURUSD", "1.1", "1.1002", 0),
        ("EURUSD", "1.2", "1.2002", 0),
    ]
    fetches = rows(path, "SELECT kind, source, asked, fetched_at FROM fetches")
    ns = [int(at.timestamp() * 1e9) for at in (T0, T0 + 2 * MINUTE, NOW)]
    assert fetches == [("snapshot", "acme", ns[0], ns[2]), ("snapshot", "acme", ns[1], ns[2])]
    [(version,)] = rows(path, "SELECT DISTINCT version FROM fetches")
    assert version == __import__("fxcarry").__version__


def test_the_source_behind_a_composite_is_the_one_that_is_noted(store, path):
    first = MemoryFeed(daily(), "first")
    second = MemoryFeed(daily(currency="JPY"), "second")
    composite = CompositeFeed([first, second])
    store.record(composite.snapshot(day(5)), composite)
    found = rows(path, "SELECT pair, source FROM prices JOIN fetches ON id = fetch ORDER BY pair")
    assert found == [("EURUSD", "first"), ("USDJPY", "second")]


def test_a_snapshot_read_back_is_the_one_that_was_told_to_the_digit(store, path):
    told = Snapshot(
        T0,
        {
            EURUSD: Quote(Decimal("1.10000"), Decimal("1.10013"), T0),
            Pair("JPY", "USD"): Quote(Decimal("0.0068123456789012345"), Decimal("0.0069"), T0 - MINUTE),
            Pair("EUR", "GBP"): Quote(Decimal("0.85"), Decimal("0.851"), T0),
        },
        {"EUR": rate(0.03, day(1), day(2))},
    )
    store.record(told, MemoryFeed(daily(), "acme"))
    feed = StoredFeed(path)
    assert feed.snapshot(T0) == told
    assert feed.snapshot(T0 + timedelta(days=3)).quotes == told.quotes
    history = feed.history(None, None)
    assert history.numeraire == "USD"
    assert history.currencies == ("EUR", "JPY")  # EURGBP is in no column
    assert history.spot[1, 0] == pytest.approx(1.100065)
    assert history.half_spread[1, 0] == pytest.approx(0.000065 / 1.100065)
    feed.close()


def test_a_history_read_back_is_the_one_that_was_told(store, path):
    source = market_history(days=120)
    added = store.update(MemoryFeed(source, "acme"), from_ns(source.times[-1]) + MINUTE)
    assert sum(added.prices.values()) == int(np.isfinite(source.spot).sum())
    feed = StoredFeed(path)
    found = feed.history(None, None)
    order = [source.currencies.index(c) for c in found.currencies]
    assert sorted(found.currencies) == sorted(source.currencies)
    np.testing.assert_array_equal(found.times, source.times)
    np.testing.assert_allclose(found.spot, source.spot[:, order], rtol=1e-15)
    assert (found.numeraire, found.interval, found.calendar) == (source.numeraire, source.interval, source.calendar)
    assert found.rates_verified_until == source.rates_verified_until
    for currency, series in source.rates.items():
        np.testing.assert_array_equal(found.rates[currency].values(source.times), series.values(source.times))
        assert found.rates[currency].day_count == series.day_count
    feed.close()


def test_a_table_of_changes_keeps_to_when_it_is_verified(store, path):
    source = daily(rates_verified_until=day(40), calendar="EUR", notes=("One.", "Two."))
    store.update(MemoryFeed(source), day(29))
    found = StoredFeed(path).history(None, None)
    assert (found.rates_verified_until, found.calendar, found.notes) == (day(40), "EUR", ("One.", "Two."))


# --- updates ---------------------------------------------------------------------------------------------------------


class Counting(MemoryFeed):
    """Which starts it was asked for."""

    def __init__(self, history: MarketHistory, name: str = "acme") -> None:
        super().__init__(history, name)
        self.starts: list[datetime | None] = []

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        self.starts.append(start)
        return super().history(start, end)


def test_an_update_asks_for_what_is_new_and_says_what_was_added(store):
    feed = Counting(daily())
    first = store.update(feed, day(10))
    assert (dict(first.prices), dict(first.rates), first.retold, first.source) == (
        {"EUR": 9},
        {"EUR": 1, "USD": 1},
        0,
        "acme",
    )
    again = store.update(feed, day(10))
    assert again.is_empty
    later = store.update(feed, day(15))
    assert (dict(later.prices), dict(later.rates)) == ({"EUR": 5}, {})
    assert feed.starts == [None, day(9) - timedelta(days=7), day(9) - timedelta(days=7)]


def test_a_currency_that_is_new_is_fetched_from_its_beginning(store):
    store.update(Counting(daily()), day(10))
    both = daily()
    spot = np.column_stack([both.spot, both.spot * 0.006])
    feed = Counting(MarketHistory(both.times, ("EUR", "JPY"), spot, "USD", both.rates))
    added = store.update(feed, day(15))
    assert dict(added.prices) == {"EUR": 5, "JPY": 14}
    assert feed.starts[-1] is None


def test_a_price_that_is_told_otherwise_later_does_not_change_what_is_served(store, path):
    store.update(MemoryFeed(daily(), "acme"), day(10))
    changed = daily()
    changed.spot[8, 0] = 1.5
    added = store.update(MemoryFeed(changed, "acme"), day(12))
    assert added.retold == 1
    assert store.update(MemoryFeed(changed, "acme"), day(12)).is_empty
    assert StoredFeed(path).history(None, None).spot[8, 0] == pytest.approx(1.109)
    wrong, told = store.verify()
    assert wrong == []
    assert told == ["1 prices were told otherwise later; the first is served"]


def test_a_recorded_price_and_the_same_in_a_history_are_one(store, path):
    """Also where one says JPYUSD and the other USDJPY."""
    feed = MemoryFeed(daily(currency="JPY"), "acme")
    store.update(feed, day(10))
    same = feed.snapshot(day(9))
    assert store.record(same, feed) == 0
    [(pair, quote)] = same.quotes.items()
    turned = Snapshot(day(9), {pair.inverse: Quote(1 / quote.ask, 1 / quote.bid, quote.as_of)})
    assert store.record(turned, feed) == 0
    assert rows(path, "SELECT count(*) FROM retold") == [(0,)]


def test_a_rate_that_is_changed_without_a_word_is_known_from_then_on_only(store, path):
    def told(value: float) -> MemoryFeed:
        return MemoryFeed(daily(rates={"EUR": RateSeries.of("EUR", [(day(1), day(2), value)])}))

    store.update(told(0.03), day(10))
    store.update(told(0.04), day(20))
    series = StoredFeed(path).history(None, None).rates["EUR"]
    assert [series.get(at).value for at in (day(2), day(19), day(20))] == [0.03, 0.03, 0.04]
    assert store.update(told(0.04), day(21)).rates == {}


def test_a_rate_that_comes_late_was_not_known_before(store, path):
    """The source dates it day 5, but said nothing of it on day 10."""
    first = [(day(1), day(2), 0.03)]
    store.update(MemoryFeed(daily(rates={"EUR": RateSeries.of("EUR", first)})), day(10))
    before = StoredFeed(path).history(None, day(11)).rates["EUR"]
    late = RateSeries.of("EUR", [*first, (day(4), day(5), 0.04), (day(11), day(12), 0.05)])
    store.update(MemoryFeed(daily(rates={"EUR": late})), day(20))
    after = StoredFeed(path).history(None, None).rates["EUR"]
    assert before.get(day(10)).value == after.get(day(10)).value == 0.03
    assert after.get(day(12)).value == 0.05  # published after day 10, when it could not be told
    assert "1 rates came late or were changed; they are known from when they were fetched" in store.verify()[1]


def test_true_vintages_are_kept_as_they_are(store, path):
    vintages = RateSeries.of("EUR", [(day(1), day(3), 0.03), (day(1), day(8), 0.031), (day(5), day(9), 0.04)])
    store.update(MemoryFeed(daily(rates={"EUR": vintages})), day(20))
    found = StoredFeed(path).history(None, None).rates["EUR"]
    times = np.array([np.datetime64(day(n).replace(tzinfo=None), "ns") for n in range(1, 20)])
    np.testing.assert_array_equal(found.values(times), vintages.values(times))
    assert store.verify() == ([], [])


def test_a_rate_that_is_too_old_at_its_source_is_too_old_here(store, path):
    series = RateSeries.of("EUR", [(day(1), day(1), 0.03), (day(9), day(9), 0.04)])
    ends = np.array([np.datetime64(day(n).replace(tzinfo=None), "ns") for n in (5, 14)])
    first, whole = RateSeries.of("EUR", [(day(1), day(1), 0.03)]), attrs.evolve(series, until=ends)
    store.update(MemoryFeed(daily(8, rates={"EUR": first})), day(8))  # nobody said so yet
    assert StoredFeed(path).snapshot(day(6)).rates["EUR"].value == 0.03
    feed = StoredFeed(path)
    feed.history(None, None)  # it reads on from here
    store.update(MemoryFeed(daily(20, rates={"EUR": whole})), day(20))
    for one in (feed, StoredFeed(path)):
        found = one.history(None, None).rates["EUR"]
        known = [found.get(day(n)) for n in (4, 6, 10, 15)]
        assert [None if rate is None else rate.value for rate in known] == [0.03, None, 0.04, None]


def test_rates_in_two_day_counts_are_served_in_the_last_ones(store, path):
    for n, days, value in ((2, 365, 0.0365), (6, 360, 0.04)):
        series = RateSeries.of("GBP", [(day(n), day(n), value)], day_count=days)
        store.update(MemoryFeed(daily(rates={"GBP": series})), day(n + 1))
    found = StoredFeed(path).history(None, None).rates["GBP"]
    assert found.day_count == 360
    assert found.get(day(2)).value == pytest.approx(0.036)  # 3.65 % of 365 days is 3.6 % of 360
    assert found.get(day(6)).value == 0.04


def test_a_feed_without_any_row_changes_nothing(store):
    with pytest.raises(MissingDataError):
        store.update(MemoryFeed(daily()), day(0))
    assert store.read("SELECT count(*) FROM fetches") == [(0,)]


# --- the feed --------------------------------------------------------------------------------------------------------


def test_a_stored_feed_sees_what_is_written_meanwhile(store, path):
    source = MemoryFeed(daily())
    store.update(source, day(5))
    feed = StoredFeed(path)
    assert len(feed.history(None, None)) == 4
    store.update(source, day(10))
    assert len(feed.history(None, None)) == 9
    assert feed.snapshot(day(9)).quotes[EURUSD].as_of == day(9)
    feed.close()
    assert len(feed.history(None, None)) == 9


def test_it_says_what_it_has_where_it_has_nothing(store, path):
    store.update(MemoryFeed(daily()), day(5))
    feed = StoredFeed(path)
    with pytest.raises(MissingDataError, match="begins 2024-01-02"):
        feed.snapshot(day(0))
    with pytest.raises(MissingDataError, match="2024-01-02 to 2024-01-05"):
        feed.history(day(20), None)


def test_an_empty_store_says_so(store, path):
    store.read("SELECT 1")
    for call in (lambda: StoredFeed(path).snapshot(T0), lambda: StoredFeed(path).history(None, None)):
        with pytest.raises(MissingDataError, match="it is empty"):
            call()


def test_a_backtest_over_the_store_is_the_one_over_its_source(store, path):
    import fxcarry

    source = MemoryFeed(market_history(days=200))
    store.update(source, from_ns(source.history(None, None).times[-1]) + MINUTE)
    one, other = (
        fxcarry.backtest("sign", feed=feed, start="2020-01-07", rules=[]) for feed in (source, StoredFeed(path))
    )
    assert other.stats["final_nav"] == pytest.approx(one.stats["final_nav"], abs=0.05)
    assert other.stats["carry"] == pytest.approx(one.stats["carry"], abs=0.05)


# --- the recorder ----------------------------------------------------------------------------------------------------


def test_a_recorder_is_its_feed(path):
    source = MemoryFeed(daily(), "acme")
    feed = RecordingFeed(source, path)
    assert (feed.name, feed.interval) == ("acme", source.interval)
    assert feed.snapshot(day(5)) == source.snapshot(day(5))
    assert len(feed.history(None, None)) == 29
    feed.close()
    assert StoredFeed(path).snapshot(day(6)).quotes == source.snapshot(day(5)).quotes


def test_a_recorder_that_cannot_write_does_not_stop_the_feed_and_says_so_once(path, caplog):
    path.mkdir()
    feed = RecordingFeed(MemoryFeed(daily(), "acme"), path)
    for n in range(3, 6):
        assert feed.snapshot(day(n)).quotes
    assert len([r for r in caplog.records if r.levelno == logging.ERROR and "not recorded" in r.getMessage()]) == 1
    path.rmdir()
    feed.snapshot(day(5))
    assert "recorded again" in caplog.text
    feed.close()
    assert len(rows(path, "SELECT * FROM prices")) == 1


# --- the file --------------------------------------------------------------------------------------------------------


def test_another_file_is_not_touched(path, tmp_path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(ConfigError, match="no store of market data"):
        Store(path).read("SELECT 1")
    text = tmp_path / "notes.txt"
    text.write_text("hello " * 1000)
    with pytest.raises(DataError, match=r"notes\.txt cannot be read"):
        Store(text).read("SELECT 1")
    assert text.read_text() == "hello " * 1000


def test_a_newer_file_is_refused(store, path):
    store.read("SELECT 1")
    store.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match="newer fxcarry"):
        Store(path).read("SELECT 1")


def test_reading_makes_no_file(path):
    with pytest.raises(ConfigError, match="no store"):
        StoredFeed(path).snapshot(T0)
    assert not path.exists()


_WRITER = """
import sys
from datetime import timedelta
from test_store import T0, daily, snapshot
from fxcarry.feeds import MemoryFeed
from fxcarry.store import Store
store, feed = Store(sys.argv[1]), MemoryFeed(daily(), sys.argv[2])
first, count = int(sys.argv[3]), int(sys.argv[4])
for n in range(first, first + count):
    store.record(snapshot(T0 + timedelta(seconds=n), "1.1"), feed)
    print(n, flush=True)
"""


def writer(path: Path, *arguments: object) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-c", _WRITER, str(path), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_two_processes_write_at_once_and_nothing_is_lost(path):
    both = [writer(path, "one", 0, 40), writer(path, "two", 20, 40)]
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert rows(path, "SELECT count(*), count(DISTINCT as_of) FROM prices") == [(60, 60)]
    assert Store(path).verify()[0] == []


def test_what_was_written_survives_a_kill(path):
    process = writer(path, "one", 0, 100_000)
    assert process.stdout is not None
    done = [int(process.stdout.readline()) for _ in range(25)][-1]
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.stdout.close()
    [(count,)] = rows(path, "SELECT count(*) FROM prices")
    assert count >= done + 1
    assert rows(path, "SELECT count(*) FROM fetches") == [(count,)]
    assert Store(path).verify()[0] == []


def test_a_failure_in_the_middle_of_a_fetch_leaves_nothing_of_it(store, path, monkeypatch):
    store.update(MemoryFeed(daily()), day(5))
    monkeypatch.setattr(Store, "_add_rates", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.update(MemoryFeed(daily()), day(9))
    assert rows(path, "SELECT count(*) FROM prices") == [(4,)]
    monkeypatch.undo()
    assert dict(store.update(MemoryFeed(daily()), day(9)).prices) == {"EUR": 4}


# --- looking and checking --------------------------------------------------------------------------------------------


def test_what_is_held_of_each_currency(store):
    store.update(MemoryFeed(daily(skip=(7, 8, 15)), "acme"), day(29))
    euro, dollar = store.held(day(28) + timedelta(hours=1))
    assert (euro.currency, euro.prices, euro.first, euro.last) == ("EUR", 25, day(1), day(28))
    assert euro.age == 60
    assert euro.sources == ("acme",)
    assert euro.gaps == (("2024-01-10", "2024-01-11"), ("2024-01-22", "2024-01-22"))
    assert (euro.rates, euro.rate, euro.rate_as_of, euro.rate_known) == (1, 0.03, day(1), day(1))
    assert (dollar.currency, dollar.prices, dollar.last, dollar.gaps, dollar.rate) == ("USD", 0, None, (), 0.05)


def test_holidays_of_the_calendar_and_days_without_a_session_are_no_gaps(store):
    """Easter 2024 is 29 March and 1 April: days 64 and 65. Christmas 2024 is a day without a session."""
    store.update(MemoryFeed(daily(70, skip=(64, 65), calendar="EUR")), day(80))
    assert store.verify() == ([], [])
    assert str(day(64).date()) == "2024-03-29"


def test_a_day_on_which_the_market_was_open_is_a_gap_without_a_calendar(store):
    store.update(MemoryFeed(daily(70, skip=(64, 65))), day(80))
    assert store.verify()[0] == ["EUR: no price on 2024-03-29 to 2024-04-01"]
    assert store.verify(["JPY"]) == ([], ["EUR: no price on 2024-03-29 to 2024-04-01"])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE prices SET bid = '-1' WHERE rowid_ = 0", "bid -1 / ask 1.101 is not a price"),
        ("UPDATE prices SET bid = 'nan'", "23 more prices are none"),
        ("UPDATE prices SET bid = '9'", "EURUSD at 2024-01-02 21:00:00: bid 9 / ask 1.101 is not a price"),
        ("UPDATE fetches SET asked = asked - 86400000000001", "EURUSD: 1 price is dated after it was asked for"),
        ("UPDATE rates SET value = 5", "the median rate is 500% a year: they are decimals, 0.05 = 5 %"),
        ("DELETE FROM fetches", "28 prices have no provenance"),
    ],
)
def test_what_is_wrong_is_found(store, path, change, found):
    store.update(MemoryFeed(daily()), day(29))
    store.close()
    db = sqlite3.connect(path)
    db.execute(change.replace("WHERE rowid_ = 0", "WHERE as_of = (SELECT min(as_of) FROM prices)"))
    db.commit()
    db.close()
    wrong, _ = store.verify()
    assert any(found in line for line in wrong), wrong


def test_an_empty_store_is_wrong(store):
    assert store.verify() == (["there is no price"], [])


def test_a_damaged_file_is_found(store, path):
    store.update(MemoryFeed(daily(400)), day(399))
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 4096)
    wrong, _ = store.verify()
    assert wrong
    assert "damaged" in wrong[0]
