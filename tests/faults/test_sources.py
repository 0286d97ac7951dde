"""A composite feed under an engine: sources fail one by one, then all; it goes on, says so, and makes nothing up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from channel import Channel

from fxcarry.composite import CompositeFeed
from fxcarry.costs import Costs
from fxcarry.daemon import Daemon
from fxcarry.engine import Engine
from fxcarry.errors import FxCarryError, MissingDataError
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.http import Http
from fxcarry.journal import JournalLock, SqliteJournal
from fxcarry.market import MarketHistory, RateSeries
from fxcarry.model import Pair, Quote, Snapshot
from fxcarry.risk import PriceSanity, Staleness
from fxcarry.store import RecordingFeed, StoredFeed
from fxcarry.testing.wire import Reply, Request, WireServer

pytest.importorskip("fxcarry_paper", reason="the paper account is a plugin")

from fxcarry_paper import PaperBroker

DECISION = datetime(2024, 1, 31, 22, tzinfo=UTC)  # 17:00 New York of the month's last day
FIRST = DECISION - timedelta(hours=5)
MINUTE = timedelta(minutes=1)
SOURCES = ("first", "second")
AUDUSD = Pair("AUD", "USD")


def minutes(factor: float = 1.0) -> MarketHistory:
    """Ten hours of minutes that always move a little."""
    times = np.datetime64(FIRST.replace(tzinfo=None), "ns") + np.arange(600) * np.timedelta64(60, "s")
    wave = 1 + 1e-5 * np.sin(np.arange(600))
    known = np.array(["2024-01-20"], "datetime64[ns]")
    rates = {c: RateSeries(c, known, known, np.array([r])) for c, r in (("AUD", 0.04), ("JPY", 0.0), ("USD", 0.05))}
    spot = np.column_stack([0.66 * factor * wave, 0.0068 * wave])
    return MarketHistory(times, ("AUD", "JPY"), spot, "USD", rates, interval=MINUTE)


class Source(MemoryFeed):
    """A feed of minutes; ``fault`` is done to each answer, with the instant it was asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(minutes(), name)
        self.fault: Callable[[Snapshot], Snapshot] | None = None
        self.is_away = False

    def snapshot(self, at: datetime) -> Snapshot:
        if self.is_away:
            raise MissingDataError(f"{self.name} has no route to its host")
        snapshot = super().snapshot(at)
        return snapshot if self.fault is None else self.fault(snapshot)

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        if self.is_away:
            raise OSError("no route to host")
        return super().history(start, end)


class Desk:
    """A daemon on a paper account over two sources."""

    def __init__(self, folder: Path) -> None:
        self.sources = [Source(name) for name in SOURCES]
        self.feed: Any = CompositeFeed(self.sources)
        self.channel = Channel()
        self.journal = SqliteJournal(folder / "journal.sqlite", account_id="paper")
        self.broker = PaperBroker(
            folder / "paper.sqlite", costs=Costs(), financing=BenchmarkFinancing(0.01), account_id="paper"
        )
        self.lock = JournalLock(folder / "journal.sqlite")

    @cached_property
    def daemon(self) -> Daemon:
        engine = Engine(
            feed=self.feed,
            broker=self.broker,
            strategy=lambda view, account: {"AUD": 0.25, "JPY": -0.2},
            rules=(Staleness(), PriceSanity()),
            universe=("AUD", "JPY"),
            journal=self.journal,
            costs=Costs(),
            notifiers=[self.channel],
        )
        return Daemon(engine=engine, journal=self.journal, lock=self.lock)

    def run(self, first: int, last: int) -> int:
        """Looks at these minutes around the decision."""
        return self.daemon.run([DECISION + m * MINUTE for m in range(first, last + 1)])

    @property
    def held(self) -> dict[str, float]:
        return {n: round(float(p.units)) for n, p in self.broker.get_positions().items()}

    def stop(self) -> None:
        self.journal.close()
        self.broker.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """What is held when nothing goes wrong."""
    made = Desk(tmp_path_factory.mktemp("whole"))
    made.run(-3, 6)
    made.stop()
    assert made.channel.said("feed-error") == []
    return made.held


def changed(change: Callable[[Quote], Quote]) -> Callable[[Snapshot], Snapshot]:
    def fault(snapshot: Snapshot) -> Snapshot:
        return Snapshot(snapshot.at, {p: change(q) for p, q in snapshot.quotes.items()}, snapshot.rates)

    return fault


def nan(quote: Quote) -> Quote:
    return Quote(Decimal("NaN"), quote.ask, quote.as_of)


def crossed(quote: Quote) -> Quote:
    return Quote(quote.ask * 2, quote.bid, quote.as_of)


def early(quote: Quote) -> Quote:
    return Quote(quote.bid, quote.ask, quote.as_of + timedelta(hours=1))


def late(quote: Quote) -> Quote:
    return Quote(quote.bid, quote.ask, quote.as_of - timedelta(hours=2))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (nan, "bid NaN"),
        (crossed, "is not a quote"),
        (early, "no quote"),
        (late, "the newest quote is of 2024-01-31 19:5"),
    ],
)
def test_a_first_source_of_no_use_costs_nothing_and_is_told_once(
    change: Callable[[Quote], Quote], why: str, desk: Desk, whole: dict[str, float]
) -> None:
    desk.run(-10, -5)
    desk.sources[0].fault = changed(change)
    assert desk.run(-4, 6) == 11
    assert desk.held == whole
    [told] = desk.channel.said("feed-error", "warning")
    assert told.startswith("first is not used: ")
    assert why in told
    desk.sources[0].fault = None
    desk.run(7, 30)
    assert desk.channel.said("feed-error")[1:] == ["first is in use again"]
    assert desk.feed.health()[0].prices == ("AUDUSD", "USDJPY")


def test_a_first_source_that_is_away_costs_nothing(desk: Desk, whole: dict[str, float]) -> None:
    desk.run(-3, -1)
    desk.sources[0].is_away = True
    desk.run(0, 6)
    assert desk.held == whole
    assert [r.name for r in desk.feed.health() if r.prices] == ["second"]


def test_a_spike_of_the_first_source_is_never_traded_on(desk: Desk, whole: dict[str, float]) -> None:
    desk.run(-10, -1)
    desk.sources[0].fault = changed(lambda q: Quote(q.bid * 2, q.ask * 2, q.as_of))
    desk.run(0, 1)
    assert desk.held == whole
    seen = {q.mid for q in desk.journal.quotes().values()}
    assert max(seen) < 160  # USDJPY is 147: the doubled one was not even noted


def test_a_frozen_first_source_is_left_before_the_decision(desk: Desk, whole: dict[str, float]) -> None:
    frozen = desk.sources[0].snapshot(DECISION - timedelta(hours=2)).quotes
    desk.sources[0].fault = lambda s: Snapshot(s.at, {p: Quote(q.bid, q.ask, s.at) for p, q in frozen.items()}, s.rates)
    desk.run(-90, 6)
    assert "first is not used: no price has moved since 2024-01-31 20:30 UTC" in desk.channel.said("feed-error")[0]
    assert desk.held == whole


def test_with_both_away_the_engine_keeps_what_it_has_and_goes_on_by_itself(desk: Desk, whole: dict[str, float]) -> None:
    desk.run(-3, 6)
    before = desk.journal.quotes()
    for source in desk.sources:
        source.is_away = True
    assert desk.run(7, 12) == 0
    [told, *_] = desk.channel.said("feed-error", "warning")
    assert "first: first has no route to its host; second: second has no route to its host" in told
    assert len(desk.channel.said("feed-error", "warning")) == 1
    assert len(desk.channel.said("feed-error", "critical")) == 1  # after five minutes without a look
    assert desk.held == whole
    assert desk.journal.quotes() == before  # nothing was made up
    for source in desk.sources:
        source.is_away = False
    assert desk.run(13, 30) == 18  # at once
    assert desk.held == whole
    assert desk.journal.quotes()[AUDUSD].as_of == DECISION + 30 * MINUTE


def test_a_decision_that_falls_into_the_failure_is_made_up_for(desk: Desk, whole: dict[str, float]) -> None:
    desk.run(-3, -1)
    for source in desk.sources:
        source.is_away = True
    desk.run(0, 3)
    assert desk.held == {}
    for source in desk.sources:
        source.is_away = False
    desk.run(4, 20)
    assert desk.held.keys() == whole.keys()


def test_what_was_served_is_what_was_recorded(desk: Desk, tmp_path: Path, whole: dict[str, float]) -> None:
    desk.feed = RecordingFeed(desk.feed, tmp_path / "market.sqlite")
    desk.run(-3, 0)
    desk.sources[0].is_away = True
    desk.run(1, 6)
    assert desk.held == whole
    assert desk.channel.said("feed-error", "warning")[0].startswith("first is not used")
    stored = StoredFeed(tmp_path / "market.sqlite")
    for minute in range(-3, 7):
        at = DECISION + minute * MINUTE
        source = MemoryFeed(minutes())
        assert stored.snapshot(at).quotes[AUDUSD] == source.snapshot(at).quotes[AUDUSD]
        assert len(stored.history(None, at + MINUTE)) == minute + 4
    found = stored._store.read("SELECT DISTINCT source FROM fetches")
    assert sorted(found) == [("first",), ("second",)]
    stored.close()


# -- behind a socket ---------------------------------------------------------------------------------------------------


class Wire:
    """A feed whose quotes come over HTTP."""

    interval = MINUTE

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self.name = "wire"
        self._http = Http(url, timeout=timeout, attempts=1)

    def snapshot(self, at: datetime) -> Snapshot:
        answer = self._http.get("/quote", {"at": at.isoformat()}).json()
        return Snapshot(at, {AUDUSD: Quote(Decimal(answer["bid"]), Decimal(answer["ask"]), at)})

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        raise MissingDataError("quotes only")

    def close(self) -> None:
        self._http.close()


def quoted(request: Request) -> Reply:
    minute = datetime.fromisoformat(request.query["at"]).minute
    body = json.dumps({"bid": f"0.66{minute:02}", "ask": f"0.67{minute:02}"})
    return Reply(200, body.encode(), {"Content-Type": "application/json"})


@pytest.mark.parametrize("fault", ["lost", "unanswered", "hangs", "reset", "failed", "unavailable", "busy", "garbled"])
def test_whatever_the_wire_does_the_second_serves_until_it_is_well(fault: Any) -> None:
    at = DECISION - timedelta(hours=1)
    second = MemoryFeed(minutes(), "second")
    with WireServer(quoted) as server:
        wire = Wire(server.url, timeout=0.5 if fault == "hangs" else 10.0)
        feed = CompositeFeed([wire, second])
        assert feed.snapshot(at).quotes[AUDUSD].bid == Decimal("0.6600")
        server.fail("GET /quote*", fault)
        got = feed.snapshot(at + MINUTE).quotes[AUDUSD]
        assert float(got.mid) == pytest.approx(0.66, rel=1e-4)
        record = feed.health()[0]
        assert (record.failures, record.prices) == (1, ())
        assert record.reason
        back = feed.snapshot(at + 2 * MINUTE).quotes[AUDUSD]
        assert back.bid == Decimal("0.6602")
        assert feed.health()[0].is_healthy
        feed.close()


def test_an_error_of_the_wire_is_one_of_ours() -> None:
    with WireServer(quoted) as server:
        url = server.url
    wire = Wire(url)
    with pytest.raises(FxCarryError):
        wire.snapshot(DECISION)
    wire.close()
