"""The notifier cases of the core on the fake Slack, over a socket: what ``fxcarry conformance notifier slack`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from fxcarry.secrets import Secret
from fxcarry.testing import NotifierSuite, WireServer
from fxcarry_slack import SlackConfig
from fxcarry_slack.channel import SlackNotifier
from fxcarry_slack.testing.fake import FakeSlack

TOKEN_VARIABLE, WEBHOOK_VARIABLE = "FXCARRY_FAKE_SLACK_TOKEN", "FXCARRY_FAKE_SLACK_WEBHOOK"
"""Where the secrets of the fake are for as long as a suite runs."""


def bot(
    fake: FakeSlack, url: str, patch: pytest.MonkeyPatch, *, mention: tuple[str, ...] = (), timeout: float = 2.0
) -> SlackNotifier:
    """A bot in the fake where it is served; its token is in the environment."""
    patch.setenv(TOKEN_VARIABLE, fake.token)
    token = Secret("env", TOKEN_VARIABLE)
    return SlackNotifier(
        SlackConfig(token=token, channel=fake.channel, mention=mention, timeout=timeout, url=f"{url}/api")
    )


def hook(
    fake: FakeSlack, url: str, patch: pytest.MonkeyPatch, *, mention: tuple[str, ...] = (), timeout: float = 2.0
) -> SlackNotifier:
    """A channel to the webhook of the fake; its address is in the environment."""
    patch.setenv(WEBHOOK_VARIABLE, f"{url}{fake.hook}")
    return SlackNotifier(SlackConfig(webhook=Secret("env", WEBHOOK_VARIABLE), mention=mention, timeout=timeout))


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
        channel = bot(fake, server.url, monkeypatch)
        yield channel
        channel.close()

    @pytest.fixture
    def delivered(self, fake: FakeSlack) -> Callable[[], Sequence[str]]:
        """Every text of each message."""
        return lambda: [post.shown for post in fake.posts]
