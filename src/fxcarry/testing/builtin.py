"""The suites of built-in components that are not tested on their defaults; ``fxcarry conformance`` runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fxcarry.alerts import ConsoleNotifier
from fxcarry.builtins import FileFeedConfig, SimulatedConfig
from fxcarry.feeds import FileFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.protocols import Broker, DataFeed, Notifier
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
