"""The feed passes the suite of the core, over a socket against the fake FRED."""

from __future__ import annotations

from fxcarry_fred.testing.suites import FredFeedSuite


class TestFredFeed(FredFeedSuite):
    pass
