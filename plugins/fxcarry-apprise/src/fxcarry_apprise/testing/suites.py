"""The notifier cases of the core on a fake, over a socket: what ``fxcarry conformance notifier apprise`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from fxcarry.secrets import Secret
from fxcarry.testing import NotifierSuite, WireServer
from fxcarry_apprise.notifier import AppriseNotifier
from fxcarry_apprise.testing.fake import FakePeer

URL_VARIABLE = "FXCARRY_FAKE_APPRISE_URL"
"""Where the address of the fake is for as long as a suite runs."""


class AppriseNotifierSuite(NotifierSuite):
    """The notifier cases, to the service ``service`` of the fake."""

    service = "json"

    @pytest.fixture
    def peer(self) -> FakePeer:
        """The fake."""
        return FakePeer()

    @pytest.fixture
    def server(self, peer: FakePeer) -> Iterator[WireServer]:
        """The fake behind a socket."""
        with peer.serve() as server:
            yield server

    @pytest.fixture
    def notifier(self, peer: FakePeer, server: WireServer, monkeypatch: pytest.MonkeyPatch) -> AppriseNotifier:
        """The channel, with its address in the environment."""
        monkeypatch.setenv(URL_VARIABLE, peer.url(server, self.service, "a-key-of-its-own"))
        return AppriseNotifier([Secret("env", URL_VARIABLE)], timeout=2.0)

    @pytest.fixture
    def delivered(self, peer: FakePeer) -> Callable[[], Sequence[str]]:
        """Title and text of what arrived."""
        return lambda: [f"{one.title}\n{one.text}" for one in peer.messages]
