"""The notifier cases of the core against a peer on loopback: what ``fxcarry conformance notifier apprise`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from fxcarry.secrets import Secret
from fxcarry.testing import NotifierSuite
from fxcarry_apprise import AppriseConfig
from fxcarry_apprise.channel import AppriseNotifier
from fxcarry_apprise.testing.fake import FakePeer

VARIABLE = "FXCARRY_FAKE_APPRISE_URL"
"""Where the address of the peer is for as long as a suite runs."""


class AppriseNotifierSuite(NotifierSuite):
    """The notifier cases on one service."""

    @pytest.fixture
    def peer(self) -> FakePeer:
        """The peer."""
        return FakePeer()

    @pytest.fixture
    def notifier(self, peer: FakePeer, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppriseNotifier]:
        """The channel to it."""
        with peer.serve() as server:
            monkeypatch.setenv(VARIABLE, peer.json_url(server))
            yield AppriseNotifier(AppriseConfig(urls=(Secret("env", VARIABLE),), timeout=2.0))

    @pytest.fixture
    def delivered(self, peer: FakePeer) -> Callable[[], Sequence[str]]:
        """The texts that the peer took."""
        return lambda: [message.text for message in peer.messages]
