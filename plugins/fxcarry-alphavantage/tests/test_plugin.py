"""What the distribution offers, and what its settings become."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import fxcarry_alphavantage
from fxcarry.feeds import MemoryFeed
from fxcarry.plugins import Component
from fxcarry.secrets import Secret
from fxcarry.testing import market_history
from fxcarry_alphavantage import AlphaVantageConfig
from fxcarry_alphavantage.feed import INTERVALS, AlphaVantageFeed


@attrs.frozen
class _NoSettings:
    pass


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Builds the feed from settings, in a home of its own, with made-up rates behind the name ``ecb``."""

    def rates(config: Any) -> MemoryFeed:
        return MemoryFeed(market_history(days=5), "ecb")

    other = Component(kind="feed", name="ecb", config=_NoSettings, factory=rates, summary="made-up rates")

    class Registry:
        def get(self, kind: str, name: str) -> Any:
            assert (kind, name) == ("feed", "ecb")
            return other

    monkeypatch.setattr("fxcarry.plugins.load", Registry)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    [component] = fxcarry_alphavantage.fxcarry_components()
    return lambda **settings: component.factory(AlphaVantageConfig(key=Secret("env", "NONE"), **settings))


def test_the_defaults_are_a_daily_feed_of_nine_currencies_within_25_calls(build: Any, tmp_path: Path) -> None:
    feed = build()
    assert isinstance(feed, AlphaVantageFeed)
    assert (feed.name, feed.interval.days, len(feed._pairs), feed._usd) == ("alphavantage", 1, 9, None)
    assert feed._client.quota.calls == 25
    assert feed._client.quota.path == tmp_path / ".fxcarry" / "alphavantage-calls.sqlite"
    assert feed._store.path == tmp_path / ".fxcarry" / "alphavantage.sqlite"
    assert repr(feed._client) == "Client('https://www.alphavantage.co')"
    assert not list(tmp_path.iterdir()), "building it writes something"
    feed.close()


def test_every_setting_arrives(build: Any, tmp_path: Path) -> None:
    feed = build(
        currencies=("EUR", "MXN"),
        interval="15min",
        usd_rate="3month",
        calls_a_day=500,
        cache=str(tmp_path / "here"),
        quota=str(tmp_path / "there.sqlite"),
        url="http://127.0.0.1:9/",
    )
    assert (feed.interval.seconds, list(feed._pairs), feed._usd) == (900, ["EUR", "MXN"], "3month")
    assert (feed._client.quota.calls, feed._client.quota.path) == (500, tmp_path / "there.sqlite")
    assert feed._store.path == tmp_path / "here" / "alphavantage.sqlite"
    assert repr(feed._client) == "Client('http://127.0.0.1:9')"


def test_the_intervals_of_the_settings_are_those_of_the_feed() -> None:
    from typing import get_args, get_type_hints

    assert get_args(get_type_hints(AlphaVantageConfig)["interval"]) == INTERVALS


@pytest.mark.parametrize("wrong", [{"calls_a_day": 0}, {"calls_a_minute": -1}, {"timeout": 0.0}])
def test_limits_are_positive(wrong: Any) -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        AlphaVantageConfig(key=Secret("env", "NONE"), **wrong)


def test_the_package_gives_its_feed_and_loads_nothing_before() -> None:
    assert fxcarry_alphavantage.AlphaVantageFeed is AlphaVantageFeed
    with pytest.raises(AttributeError, match="no attribute 'Feed'"):
        fxcarry_alphavantage.Feed  # noqa: B018 - the access is what is tested
    code = "import sys, fxcarry_alphavantage; print(sorted({'numpy', 'requests', 'sqlite3'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
