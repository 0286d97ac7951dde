"""The feed passes the suite of the core."""

from __future__ import annotations

import pytest

from fxcarry.protocols import DataFeed
from fxcarry.testing import FeedSuite
from fxcarry_ecb import EcbFeed


class TestEcbFeed(FeedSuite):
    @pytest.fixture
    def feed(self) -> DataFeed:
        return EcbFeed()
