"""The paper account passes the suite of the core."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from fxcarry.financing import BenchmarkFinancing
from fxcarry.frictions import Frictions
from fxcarry.protocols import Broker
from fxcarry.testing import BrokerSuite
from fxcarry_paper import PaperBroker


class TestPaperBroker(BrokerSuite):
    @pytest.fixture
    def broker(self, tmp_path: Path) -> Broker:
        return PaperBroker(tmp_path / "paper.sqlite", financing=BenchmarkFinancing(0.01))

    @pytest.fixture
    def unavailable(self, tmp_path: Path, broker: PaperBroker) -> Callable[[], AbstractContextManager[None]]:
        @contextmanager
        def held() -> Iterator[None]:
            assert broker._file is not None
            broker._file.execute("PRAGMA busy_timeout = 1")
            other = sqlite3.connect(tmp_path / "paper.sqlite", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
            other.close()

        return held


class TestPaperBrokerWithHours(BrokerSuite):
    """Orders that wait for the open, and fees, change nothing of what a broker has to do."""

    @pytest.fixture
    def broker(self, tmp_path: Path) -> Broker:
        frictions = Frictions(closed_market="wait", conversion_fee=0.005, rollover_spread=5.0)
        return PaperBroker(tmp_path / "paper.sqlite", financing=BenchmarkFinancing(0.01), frictions=frictions)
