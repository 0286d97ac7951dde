"""The feed passes the suite of the core."""

from __future__ import annotations

import pytest
from fxcarry_ecb import EcbFeed

from fxcarry.protocols import DataFeed
from fxcarry.testing import FeedSuite


class TestEcbFeed(FeedSuite):
    @pytest.fixture
    def feed(self) -> DataFeed:
        return EcbFeed()
