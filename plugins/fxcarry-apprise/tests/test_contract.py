"""The channel passes the suite of the core, over a socket, by Apprise's own JSON and by two services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fxcarry.secrets import Secret
from fxcarry_apprise import AppriseConfig
from fxcarry_apprise.channel import AppriseNotifier
from fxcarry_apprise.testing import FakePeer
from fxcarry_apprise.testing.suites import VARIABLE, AppriseNotifierSuite


class TestJson(AppriseNotifierSuite):
    pass


class TestNtfy(AppriseNotifierSuite):
    @pytest.fixture
    def notifier(self, peer: FakePeer, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppriseNotifier]:
        with peer.serve() as server:
            monkeypatch.setenv(VARIABLE, peer.ntfy_url(server))
            yield AppriseNotifier(AppriseConfig(urls=(Secret("env", VARIABLE),), timeout=2.0))


class TestGotify(AppriseNotifierSuite):
    @pytest.fixture
    def notifier(self, peer: FakePeer, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppriseNotifier]:
        with peer.serve() as server:
            monkeypatch.setenv(VARIABLE, peer.gotify_url(server))
            yield AppriseNotifier(AppriseConfig(urls=(Secret("env", VARIABLE),), timeout=2.0))
