"""The channel passes the suite of the core, over a socket against the fake Slack, in both its ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fxcarry.testing import WireServer
from fxcarry_slack.channel import SlackNotifier
from fxcarry_slack.testing import FakeSlack
from fxcarry_slack.testing.suites import SlackNotifierSuite, hook


class TestBot(SlackNotifierSuite):
    pass


class TestWebhook(SlackNotifierSuite):
    @pytest.fixture
    def notifier(self, fake: FakeSlack, server: WireServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackNotifier]:
        channel = hook(fake, server.url, monkeypatch)
        yield channel
        channel.close()
