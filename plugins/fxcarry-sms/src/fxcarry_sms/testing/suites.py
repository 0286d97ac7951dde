"""The notifier cases of the core on the fake Twilio, over a socket: what ``fxcarry conformance notifier sms`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from fxcarry.secrets import Secret
from fxcarry.testing import NotifierSuite, WireServer
from fxcarry_sms import SmsConfig
from fxcarry_sms.channel import SmsNotifier
from fxcarry_sms.testing.fake import FakeTwilio

SECRET_VARIABLE = "FXCARRY_FAKE_TWILIO_SECRET"
"""Where the secret of the fake is for as long as a suite runs."""


def channel_of(fake: FakeTwilio, server: WireServer, **settings: Any) -> SmsNotifier:
    """A channel to the fake; its secret is in the environment."""
    given = {"to": ("+41791234567",), "sender": "+15005550006", "timeout": 2.0, **settings}
    return SmsNotifier(
        SmsConfig(
            account_sid=fake.account_sid,
            api_key=fake.api_key,
            secret=Secret("env", SECRET_VARIABLE),
            url=server.url,
            **given,
        )
    )


class SmsNotifierSuite(NotifierSuite):
    """The notifier cases on one number."""

    @pytest.fixture
    def fake(self, monkeypatch: pytest.MonkeyPatch) -> FakeTwilio:
        """A fake Twilio, whose secret is in the environment."""
        fake = FakeTwilio()
        monkeypatch.setenv(SECRET_VARIABLE, fake.secret)
        return fake

    @pytest.fixture
    def server(self, fake: FakeTwilio) -> Iterator[WireServer]:
        """Where it is served."""
        with fake.serve() as server:
            yield server

    @pytest.fixture
    def notifier(self, fake: FakeTwilio, server: WireServer) -> Iterator[SmsNotifier]:
        """The channel."""
        channel = channel_of(fake, server)
        yield channel
        channel.close()

    @pytest.fixture
    def delivered(self, fake: FakeTwilio) -> Callable[[], Sequence[str]]:
        """The texts that Twilio took."""
        return lambda: [text.body for text in fake.texts]
