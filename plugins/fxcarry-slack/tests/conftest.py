"""A fake Slack behind a socket, and channels to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from fxcarry.model import Alert
from fxcarry.testing import WireServer
from fxcarry_slack.channel import SlackNotifier
from fxcarry_slack.testing import FakeSlack
from fxcarry_slack.testing.suites import bot, hook


def alert(message: str = "order b-17 timed out", **facts: Any) -> Alert:
    """An alert of an order that nobody knows of."""
    given = {"kind": "order-unknown", "severity": "critical", **facts}
    return Alert(at=datetime(2025, 3, 12, 13, 5, 9, tzinfo=UTC), message=message, **given)


@attrs.define
class Line:
    """A fake and where it is served, and the two ways to it."""

    fake: FakeSlack
    server: WireServer
    stack: ExitStack
    patch: pytest.MonkeyPatch

    def bot(self, **settings: Any) -> SlackNotifier:
        return self._closed(bot(self.fake, self.server.url, self.patch, **{"timeout": 10.0, **settings}))

    def hook(self, **settings: Any) -> SlackNotifier:
        return self._closed(hook(self.fake, self.server.url, self.patch, **{"timeout": 10.0, **settings}))

    def _closed(self, channel: SlackNotifier) -> SlackNotifier:
        self.stack.callback(channel.close)
        return channel


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    fake = FakeSlack()
    with ExitStack() as stack:
        server = stack.enter_context(fake.serve())
        server.retry_after = 0
        yield Line(fake, server, stack, monkeypatch)
