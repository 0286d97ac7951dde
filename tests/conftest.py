"""What holds for every test: no network but loopback, no settings from the environment, repeatable examples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_socket
from hypothesis import settings

from fxcarry.alerts import Alerts
from fxcarry.journal import MemoryJournal, SqliteJournal

settings.register_profile("fxcarry", derandomize=True, deadline=None)
settings.load_profile("fxcarry")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "in_background: flushing alerts does not wait until they are delivered")
    config.addinivalue_line("markers", "ecb: runs on the data of the plugin fxcarry-ecb, and is skipped without it")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("ecb") and find_spec("fxcarry_ecb") is None:
        pytest.skip("the plugin fxcarry-ecb is not installed")


@pytest.fixture(autouse=True)
def _no_network() -> None:
    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _alerts_arrive(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test looks at after a step has been told: the worker is waited for, where the test is not about that."""
    if request.node.get_closest_marker("in_background"):
        return
    flush = Alerts.flush

    def flush_and_wait(alerts: Alerts) -> None:
        flush(alerts)
        alerts.settle(5.0)

    monkeypatch.setattr(Alerts, "flush", flush_and_wait)


@pytest.fixture(params=["memory", "disk"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A new journal of either kind."""
    if request.param == "memory":
        yield MemoryJournal()
        return
    with SqliteJournal(tmp_path / "journal.sqlite", account_id="A1") as made:
        yield made


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No FXCARRY_* variable reaches a test, and nothing a test (or a .env file) sets outlives it. Trials are recorded
    in a file of the test's own, and the policy rates are those that are shipped."""
    for name in [name for name in os.environ if name.upper().startswith("FXCARRY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FXCARRY_TRIALS", str(tmp_path_factory.getbasetemp() / f"{uuid4().hex}.jsonl"))
    monkeypatch.setenv("FXCARRY_POLICY_RATES", os.devnull)
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
