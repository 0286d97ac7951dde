"""The built-in feeds, broker and strategies pass the suites that a plugin's author runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fxcarry import plugins
from fxcarry.feeds import FileFeed, MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.protocols import Broker, DataFeed, Strategy
from fxcarry.simulation import SimBroker
from fxcarry.testing import BrokerSuite, FeedSuite, StrategySuite, market_history

STRATEGIES = (
    "baseline", "carry-momentum-value", "carry-to-volatility", "dollar", "ensemble", "equal-risk",
    "inverse-volatility", "linear", "minimum-variance", "optimized", "overlaid", "rank", "sign",
)  # fmt: skip


class TestMemoryFeed(FeedSuite):
    @pytest.fixture
    def feed(self) -> DataFeed:
        return MemoryFeed(market_history(days=120))


class TestFileFeed(FeedSuite):
    @pytest.fixture
    def feed(self, tmp_path: Path) -> DataFeed:
        days = pd.bdate_range("2024-01-01", periods=120).strftime("%Y-%m-%d")
        drift = [1 + 0.001 * n for n in range(len(days))]
        prices = pd.DataFrame({"date": days, "EURUSD": drift, "USDJPY": [150 / d for d in drift]})
        prices.to_csv(tmp_path / "prices.csv", index=False)
        rates = pd.DataFrame({"date": [days[0], days[60]], "EUR": [0.02, 0.03], "JPY": [0.0, 0.001], "USD": 0.05})
        rates.to_csv(tmp_path / "rates.csv", index=False)
        return FileFeed(tmp_path / "prices.csv", tmp_path / "rates.csv")


class TestSimBroker(BrokerSuite):
    @pytest.fixture
    def broker(self) -> Broker:
        return SimBroker(financing=BenchmarkFinancing(0.01))


def test_every_built_in_strategy_is_here() -> None:
    registry = plugins.load({"FXCARRY_PLUGINS": "off"})
    assert tuple(c.name for c in registry.of("strategy")) == STRATEGIES


@pytest.mark.parametrize("name", STRATEGIES)
class TestStrategies(StrategySuite):
    @pytest.fixture
    def strategy(self, name: str) -> Strategy:
        component = plugins.load({"FXCARRY_PLUGINS": "off"}).get("strategy", name)
        made: Strategy = component.factory(component.config())
        return made
