"""A fake Twilio behind a socket, and channels to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from fxcarry.model import Alert
from fxcarry.testing import WireServer
from fxcarry_sms.channel import SmsNotifier
from fxcarry_sms.testing import FakeTwilio
from fxcarry_sms.testing.suites import SECRET_VARIABLE, channel_of

FIRST, SECOND = "+41791234567", "+14155550123"


def alert(message: str = "order b-17 timed out", **facts: Any) -> Alert:
    """An alert of an order that nobody knows of."""
    given = {"kind": "order-unknown", "severity": "critical", **facts}
    return Alert(at=datetime(2025, 3, 12, 13, 5, 9, tzinfo=UTC), message=message, **given)


@attrs.define
class Line:
    """A fake and where it is served; ``channel`` makes channels to it."""

    fake: FakeTwilio
    server: WireServer
    stack: ExitStack

    def channel(self, *to: str, **settings: Any) -> SmsNotifier:
        channel = channel_of(self.fake, self.server.url, to=to or (FIRST,), **{"timeout": 10.0, **settings})
        self.stack.callback(channel.close)
        return channel

    def bodies(self, number: str = FIRST) -> list[str]:
        """What Twilio took for a number."""
        return [text.body for text in self.fake.texts if text.to == number]

    def calls(self, method: str) -> int:
        """How many requests of a method the server has received."""
        return sum(request.method == method for request in self.server.requests)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    fake = FakeTwilio()
    monkeypatch.setenv(SECRET_VARIABLE, fake.secret)
    with ExitStack() as stack:
        server = stack.enter_context(fake.serve())
        server.retry_after = 0
        yield Line(fake, server, stack)
