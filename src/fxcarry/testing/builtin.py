"""The suites of built-in components that are not tested on their defaults; ``fxcarry conformance`` runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from fxcarry.alerts import ConsoleNotifier
from fxcarry.builtins import FileFeedConfig, SimulatedConfig
from fxcarry.composite import CompositeFeed
from fxcarry.feeds import FileFeed, MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.market import MarketHistory, RateSeries, from_ns
from fxcarry.protocols import Broker, DataFeed, Notifier
from fxcarry.store import RecordingFeed, Store, StoredFeed
from fxcarry.testing import market_history
from fxcarry.testing.brokers import BrokerSuite
from fxcarry.testing.feeds import FeedSuite
from fxcarry.testing.notifiers import NotifierSuite


class SimulatedSuite(BrokerSuite):
    """The simulated broker with a mark-up of 1 % on financing; it has no venue that could be unavailable."""

    @pytest.fixture
    def broker(self) -> Broker:
        """A new account."""
        made: Broker = SimulatedConfig().broker({"financing": BenchmarkFinancing(0.01)})
        return made


class FileFeedSuite(FeedSuite):
    """The file feed on 120 days of EURUSD and USDJPY and two rates a currency."""

    @pytest.fixture
    def feed(self, tmp_path: Path) -> DataFeed:
        """The files, and the feed that reads them."""
        import numpy as np

        days = [str(day) for day in np.busday_offset("2024-01-01", np.arange(120), roll="forward")]
        prices = [f"{day},{1 + 0.001 * n},{150 / (1 + 0.001 * n)}" for n, day in enumerate(days)]
        (tmp_path / "prices.csv").write_text("\n".join(["date,EURUSD,USDJPY", *prices]), encoding="utf-8")
        rates = ["date,EUR,JPY,USD", f"{days[0]},0.02,0.0,0.05", f"{days[60]},0.03,0.001,0.05"]
        (tmp_path / "rates.csv").write_text("\n".join(rates), encoding="utf-8")
        config = FileFeedConfig(prices=str(tmp_path / "prices.csv"), rates=str(tmp_path / "rates.csv"))
        return FileFeed(config.prices, config.rates)


class CompositeSuite(FeedSuite):
    """The composite of two feeds of minutes: the first stops for a third of the time, and has no rate for JPY."""

    @pytest.fixture
    def feed(self) -> DataFeed:
        """The first feed lacks its middle third; the second is a little off it, and is a minute later."""
        import numpy as np

        minute = np.timedelta64(60, "s")
        times = np.datetime64("2024-01-09T12:00:00", "ns") + np.arange(600) * minute
        wave = np.sin(np.arange(600) / 50)
        spot = np.column_stack([1.1 + 0.001 * wave, 0.0068 + 1e-5 * wave])
        known = np.array(["2024-01-01", "2024-01-09T16:00"], "datetime64[ns]")
        rates = {
            currency: RateSeries(currency, known, known, np.array([first, first + 0.0025]))
            for currency, first in (("EUR", 0.02), ("USD", 0.05), ("JPY", 0.001))
        }
        has_rows = (np.arange(600) < 200) | (np.arange(600) >= 400)
        own = {c: r for c, r in rates.items() if c != "JPY"}
        interval = timedelta(minutes=1)
        one = MarketHistory(times[has_rows], ("EUR", "JPY"), spot[has_rows], "USD", own, interval=interval)
        other = MarketHistory(times + minute, ("EUR", "JPY"), spot * 1.0001, "USD", rates, interval=interval)
        return CompositeFeed([MemoryFeed(one, "one"), MemoryFeed(other, "other")])


class StoreSuite(FeedSuite):
    """A store that an update has filled with half of what there is, and a recorder with the rest."""

    @pytest.fixture
    def feed(self, tmp_path: Path) -> DataFeed:
        """120 days, the last 20 of them from snapshots."""
        source = MemoryFeed(market_history(days=120))
        times = [from_ns(time) for time in source.history(None, None).times]
        path = tmp_path / "market.sqlite"
        store = Store(path)
        store.update(source, times[100])
        store.close()
        recorder = RecordingFeed(source, path)
        for at in times[100:]:
            recorder.snapshot(at)
        recorder.close()
        return StoredFeed(path)


class RecorderSuite(FeedSuite):
    """A feed of 120 days that is recorded."""

    @pytest.fixture
    def feed(self, tmp_path: Path) -> DataFeed:
        """The recorded feed."""
        return RecordingFeed(MemoryFeed(market_history(days=120)), tmp_path / "market.sqlite")


class ConsoleSuite(NotifierSuite):
    """The console: what was written to the standard error stream, line by line."""

    @pytest.fixture
    def notifier(self) -> Notifier:
        """The channel."""
        return ConsoleNotifier()

    @pytest.fixture
    def delivered(self, capsys: pytest.CaptureFixture[str]) -> Callable[[], Sequence[str]]:
        """The lines so far."""
        lines: list[str] = []

        def read() -> list[str]:
            lines.extend(capsys.readouterr().err.splitlines())
            return lines

        return read
