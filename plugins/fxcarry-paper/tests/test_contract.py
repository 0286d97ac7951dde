"""The paper account passes the suite of the core."""

from __future__ import annotations

from pathlib import Path

import pytest

from fxcarry import plugins
from fxcarry.financing import BenchmarkFinancing
from fxcarry.frictions import Frictions
from fxcarry.protocols import Broker
from fxcarry.testing import BrokerSuite
from fxcarry.testing.conformance import conformance
from fxcarry_paper import PaperBroker
from fxcarry_paper.testing import PaperSuite


class TestPaperBroker(PaperSuite):
    """On the fixtures that are shipped."""


class TestPaperBrokerWithHours(BrokerSuite):
    """Orders that wait for the open, and fees, change nothing of what a broker has to do."""

    @pytest.fixture
    def broker(self, tmp_path: Path) -> Broker:
        frictions = Frictions(closed_market="wait", conversion_fee=0.005, rollover_spread=5.0)
        return PaperBroker(tmp_path / "paper.sqlite", financing=BenchmarkFinancing(0.01), frictions=frictions)


def test_the_installed_plugin_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = conformance(plugins.load().get("broker", "paper"))
    assert str(result) == "20 passed, 0 skipped, 0 failed"
    assert not list(tmp_path.iterdir())
