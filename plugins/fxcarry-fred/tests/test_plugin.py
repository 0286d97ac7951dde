"""What the distribution adds, and the settings it takes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta

import pytest

import fxcarry_fred
from fxcarry.conventions import G10
from fxcarry.secrets import Secret
from fxcarry.testing import WireServer
from fxcarry_fred import FredConfig, FredFeed
from fxcarry_fred.client import Client
from fxcarry_fred.testing import FakeFred, world
from fxcarry_fred.testing.suites import KEY_VARIABLE

KEY = Secret("env", KEY_VARIABLE)


def test_it_adds_one_feed_with_a_suite() -> None:
    (component,) = fxcarry_fred.fxcarry_components()
    assert (component.kind, component.name, component.config) == ("feed", "fred", FredConfig)
    assert component.suite == "fxcarry_fred.testing.suites:FredFeedSuite"


def test_settings_have_the_defaults_that_are_documented() -> None:
    config = FredConfig(key=KEY)
    assert {*config.currencies, "USD"} == set(G10)
    assert (config.rates, config.cache, config.revised, config.url) == ("3m", "", False, "")
    assert FredConfig().key == Secret("env", "FRED_API_KEY")
    with pytest.raises(ValueError, match="timeout"):
        FredConfig(key=KEY, timeout=0)


@pytest.mark.parametrize("is_revised", [False, True])
def test_the_feed_is_as_the_settings_say(serve: Callable[[FakeFred], WireServer], is_revised: bool) -> None:
    (component,) = fxcarry_fred.fxcarry_components()
    today = date.today()
    fake = world(today, since=today - timedelta(days=200), currencies=("GBP",))
    url = serve(fake).url
    settings = FredConfig(key=KEY, currencies=("GBP",), rates="overnight", url=url, revised=is_revised)
    feed = component.factory(settings)
    assert isinstance(feed, FredFeed)
    feed._client._http._limits = ()  # two calls a second are no matter here
    history = feed.history(None, None)
    assert history.currencies == ("GBP",)
    assert feed.series()["GBP"].series == "IUDSOIA"
    assert any("RESEARCH ONLY" in note for note in history.notes) == is_revised
    feed.close()


def test_calls_are_two_a_second(serve: Callable[[FakeFred], WireServer]) -> None:
    today = date.today()
    client = Client(KEY, url=serve(world(today, since=today - timedelta(days=10), currencies=("GBP",))).url)
    began = time.monotonic()
    for _ in range(3):
        client.latest("DEXUSUK")
    assert 0.45 < time.monotonic() - began < 2.0  # two at once, and the third half a second later
    client.close()


def test_importing_it_loads_neither_numpy_nor_requests() -> None:
    code = (
        "import sys, fxcarry_fred; print([m for m in ('numpy', 'requests', 'fxcarry_fred.feed') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        fxcarry_fred.Other  # noqa: B018
