"""The notifier cases of the core on the fake Twilio, over a socket: what ``fxcarry conformance notifier sms`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from fxcarry.secrets import Secret
from fxcarry.testing import NotifierSuite, WireServer
from fxcarry_sms import SmsConfig
from fxcarry_sms.channel import SmsNotifier
from fxcarry_sms.testing.fake import FakeTwilio

SECRET_VARIABLE = "FXCARRY_FAKE_TWILIO_SECRET"
"""Where the secret of the fake is for as long as a suite runs."""


def channel_of(
    fake: FakeTwilio,
    url: str,
    *,
    to: tuple[str, ...] = ("+41791234567",),
    sender: str = "+15005550006",
    messaging_service: str = "",
    segments: int = 2,
    timeout: float = 2.0,
) -> SmsNotifier:
    """A channel to the fake where it is served; its secret is in the environment."""
    config = SmsConfig(
        account_sid=fake.account_sid,
        api_key=fake.api_key,
        secret=Secret("env", SECRET_VARIABLE),
        to=to,
        sender="" if messaging_service else sender,
        messaging_service=messaging_service,
        segments=segments,
        timeout=timeout,
        url=url,
    )
    return SmsNotifier(config)


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
        channel = channel_of(fake, server.url)
        yield channel
        channel.close()

    @pytest.fixture
    def delivered(self, fake: FakeTwilio) -> Callable[[], Sequence[str]]:
        """The texts that Twilio took."""
        return lambda: [text.body for text in fake.texts]
