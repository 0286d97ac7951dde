"""The built-in feeds, broker, strategies, rules and notifier pass the suites that a plugin's author runs."""

from __future__ import annotations

import pytest

from fxcarry import plugins
from fxcarry.feeds import MemoryFeed
from fxcarry.plugins import Kind
from fxcarry.protocols import DataFeed, RiskRule, Strategy
from fxcarry.testing import FeedSuite, RuleSuite, StrategySuite, market_history
from fxcarry.testing.builtin import (
    CompositeSuite,
    ConsoleSuite,
    FileFeedSuite,
    RecorderSuite,
    SimulatedSuite,
    StoreSuite,
)

STRATEGIES = (
    "baseline", "carry-momentum-value", "carry-to-volatility", "dollar", "ensemble", "equal-risk",
    "inverse-volatility", "linear", "minimum-variance", "optimized", "overlaid", "rank", "sign",
)  # fmt: skip
RULES = (
    "daily-loss", "drawdown", "expected-shortfall", "fat-finger", "financing-flip", "margin-distance",
    "max-currencies-per-side", "max-currency-exposure", "max-exposure", "max-position", "order-rate", "peg-limit",
    "price-sanity", "rollover-window", "spread-guard", "staleness", "stop-loss", "stress-loss", "weekend",
)  # fmt: skip


class TestMemoryFeed(FeedSuite):
    @pytest.fixture
    def feed(self) -> DataFeed:
        return MemoryFeed(market_history(days=120))


class TestFileFeed(FileFeedSuite):
    """On the files that are shipped."""


class TestCompositeFeed(CompositeSuite):
    """On the two sources that are shipped."""


class TestStoredFeed(StoreSuite):
    """On the store that is shipped."""


class TestRecordingFeed(RecorderSuite):
    """On the recorder that is shipped."""


class TestSimBroker(SimulatedSuite):
    """On the account that is shipped."""


class TestConsole(ConsoleSuite):
    """On the stream that is shipped."""


@pytest.mark.parametrize(("kind", "names"), [("strategy", STRATEGIES), ("rule", RULES), ("notifier", ("console",))])
def test_every_built_in_one_is_here(kind: Kind, names: tuple[str, ...]) -> None:
    assert tuple(c.name for c in _builtins().of(kind)) == names


def _builtins() -> plugins.Registry:
    return plugins.load({"FXCARRY_PLUGINS": "off"})


@pytest.mark.parametrize("name", STRATEGIES)
class TestStrategies(StrategySuite):
    @pytest.fixture
    def strategy(self, name: str) -> Strategy:
        component = _builtins().get("strategy", name)
        made: Strategy = component.factory(component.config())
        return made


@pytest.mark.parametrize("name", RULES)
class TestRules(RuleSuite):
    @pytest.fixture
    def rule(self, name: str) -> RiskRule:
        component = _builtins().get("rule", name)
        made: RiskRule = component.factory(component.config())
        return made
