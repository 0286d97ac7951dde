"""The built-in feeds, broker and strategies pass the suites that a plugin's author runs."""

from __future__ import annotations

import pytest

from fxcarry import plugins
from fxcarry.feeds import MemoryFeed
from fxcarry.protocols import DataFeed, Strategy
from fxcarry.testing import FeedSuite, StrategySuite, market_history
from fxcarry.testing.builtin import FileFeedSuite, SimulatedSuite

STRATEGIES = (
    "baseline", "carry-momentum-value", "carry-to-volatility", "dollar", "ensemble", "equal-risk",
    "inverse-volatility", "linear", "minimum-variance", "optimized", "overlaid", "rank", "sign",
)  # fmt: skip


class TestMemoryFeed(FeedSuite):
    @pytest.fixture
    def feed(self) -> DataFeed:
        return MemoryFeed(market_history(days=120))


class TestFileFeed(FileFeedSuite):
    """On the files that are shipped."""


class TestSimBroker(SimulatedSuite):
    """On the account that is shipped."""


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
