"""The notifier cases of the core on the fake Slack, over a socket: what ``fxcarry conformance notifier slack`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from fxcarry.secrets import Secret
from fxcarry.testing import NotifierSuite, WireServer
from fxcarry_slack import SlackConfig
from fxcarry_slack.channel import SlackNotifier
from fxcarry_slack.testing.fake import FakeSlack

TOKEN_VARIABLE, WEBHOOK_VARIABLE = "FXCARRY_FAKE_SLACK_TOKEN", "FXCARRY_FAKE_SLACK_WEBHOOK"
"""Where the secrets of the fake are for as long as a suite runs."""


def bot(fake: FakeSlack, server: WireServer, patch: pytest.MonkeyPatch, **settings: Any) -> SlackNotifier:
    """A bot in the fake; its token is in the environment."""
    patch.setenv(TOKEN_VARIABLE, fake.token)
    given = {"channel": fake.channel, "timeout": 2.0, "url": f"{server.url}/api", **settings}
    return SlackNotifier(SlackConfig(token=Secret("env", TOKEN_VARIABLE), **given))


def hook(fake: FakeSlack, server: WireServer, patch: pytest.MonkeyPatch, **settings: Any) -> SlackNotifier:
    """A channel to the webhook of the fake; its address is in the environment."""
    patch.setenv(WEBHOOK_VARIABLE, f"{server.url}{fake.hook}")
    return SlackNotifier(SlackConfig(webhook=Secret("env", WEBHOOK_VARIABLE), **{"timeout": 2.0, **settings}))


class SlackNotifierSuite(NotifierSuite):
    """The notifier cases as a bot."""

    @pytest.fixture
    def fake(self) -> FakeSlack:
        """A fake Slack."""
        return FakeSlack()

    @pytest.fixture
    def server(self, fake: FakeSlack) -> Iterator[WireServer]:
        """Where it is served."""
        with fake.serve() as server:
            yield server

    @pytest.fixture
    def notifier(self, fake: FakeSlack, server: WireServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackNotifier]:
        """The channel."""
        channel = bot(fake, server, monkeypatch)
        yield channel
        channel.close()

    @pytest.fixture
    def delivered(self, fake: FakeSlack) -> Callable[[], Sequence[str]]:
        """Every text of each message."""
        return lambda: [post.shown for post in fake.posts]
