"""The broker suite on a paper account in a temporary file: ``fxcarry conformance broker paper``. It needs pytest."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from fxcarry.financing import BenchmarkFinancing
from fxcarry.protocols import Broker
from fxcarry.testing import BrokerSuite
from fxcarry_paper.broker import PaperBroker


class PaperSuite(BrokerSuite):
    """A paper account with a mark-up of 1 % on financing. It is unavailable while somebody else writes to its file."""

    @pytest.fixture
    def broker(self, tmp_path: Path) -> Broker:
        """A new account in a file of its own."""
        return PaperBroker(tmp_path / "paper.sqlite", financing=BenchmarkFinancing(0.01))

    @pytest.fixture
    def unavailable(self, tmp_path: Path, broker: PaperBroker) -> Callable[[], AbstractContextManager[None]]:
        """Hold the lock of the file, and have the account not wait for it."""

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
