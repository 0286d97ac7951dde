"""Alerts through Apprise, for fxcarry: a hundred services by an address each. Importing this opens no connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from fxcarry.errors import ConfigError
from fxcarry.plugins import Component, hookimpl
from fxcarry.secrets import Secret

if TYPE_CHECKING:
    from fxcarry_apprise.channel import AppriseNotifier

__all__ = ["AppriseConfig", "AppriseNotifier", "fxcarry_components"]


@attrs.frozen(kw_only=True)
class AppriseConfig:
    """Services by their Apprise addresses, ``tgram://token/chat`` for one. Each address is a secret: it has the token.

    ``timeout`` is in seconds, for a connection and from one byte of an answer to the next. Raises ConfigError where
    there is no address or the time-out is none.
    """

    urls: tuple[Secret, ...]
    timeout: float = 10.0

    def __attrs_post_init__(self) -> None:
        if not self.urls:
            raise ConfigError("urls is empty", hint='name a service: urls = [{ env = "APPRISE_URL" }]')
        double = next((url for i, url in enumerate(self.urls) if url in self.urls[:i]), None)
        if double is not None:
            raise ConfigError(f"urls has {double.source} {double.where!r} twice", hint="name each service once")
        if not 0 < self.timeout < float("inf"):
            raise ConfigError(f"timeout is {self.timeout}", hint="seconds, more than 0")


def _notifier(config: AppriseConfig) -> AppriseNotifier:
    from fxcarry_apprise.channel import AppriseNotifier

    return AppriseNotifier(config)


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="notifier",
            name="apprise",
            config=AppriseConfig,
            factory=_notifier,
            summary="alerts through Apprise: Telegram, Discord, PagerDuty, ntfy and a hundred others",
            suite="fxcarry_apprise.testing.suites:AppriseNotifierSuite",
        ),
    ]


def __getattr__(name: str) -> Any:
    if name == "AppriseNotifier":
        from fxcarry_apprise.channel import AppriseNotifier

        return AppriseNotifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
