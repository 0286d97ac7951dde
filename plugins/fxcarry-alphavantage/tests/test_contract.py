"""The feed passes the suite of the core, over a socket against the fake server."""

from __future__ import annotations

from fxcarry_alphavantage.testing.suites import AlphaVantageFeedSuite, AlphaVantageIntradaySuite


class TestAlphaVantageFeed(AlphaVantageFeedSuite):
    pass


class TestAlphaVantageIntraday(AlphaVantageIntradaySuite):
    pass
