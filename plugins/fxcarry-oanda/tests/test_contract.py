"""Broker and feed pass the suites of the core, over a socket against the fake account."""

from __future__ import annotations

from fxcarry_oanda.testing.suites import OandaBrokerSuite, OandaFeedSuite, OandaHedgingSuite


class TestOandaBroker(OandaBrokerSuite):
    pass


class TestOandaHedgingAccount(OandaHedgingSuite):
    pass


class TestOandaFeed(OandaFeedSuite):
    pass
