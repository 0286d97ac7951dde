"""Alerts over apprise: one channel, some hundred services. Importing this loads neither apprise nor a connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from fxcarry.errors import ConfigError
from fxcarry.plugins import Component, hookimpl
from fxcarry.secrets import Secret

if TYPE_CHECKING:
    from fxcarry_apprise.notifier import AppriseNotifier

__all__ = ["AppriseConfig", "AppriseNotifier", "fxcarry_components"]


def _some(config: AppriseConfig, attribute: attrs.Attribute[Any], value: tuple[Secret, ...]) -> None:
    if not value:
        raise ConfigError(f"{attribute.name} is empty: nobody would be told", hint='urls = [{ env = "ALERT_URL" }]')


def _positive(config: AppriseConfig, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value <= 3600:
        raise ConfigError(f"{attribute.name} is {value:g} seconds", hint="above 0 and at most 3600; 10 is usual")


@attrs.frozen(kw_only=True)
class AppriseConfig:
    """Alerts to every address in ``urls``, each an address of apprise and a secret as a whole.

    ``timeout`` is seconds to connect, and from one byte of an answer to the next; a call ends after three of them.
    """

    urls: tuple[Secret, ...] = attrs.field(validator=_some)
    timeout: float = attrs.field(default=10.0, validator=_positive)


def _notifier(config: AppriseConfig) -> AppriseNotifier:
    from fxcarry_apprise.notifier import AppriseNotifier

    return AppriseNotifier(config.urls, timeout=config.timeout)


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="notifier",
            name="apprise",
            config=AppriseConfig,
            factory=_notifier,
            summary="alerts over apprise: Telegram, Discord, PagerDuty, ntfy, Pushover and some hundred others",
            suite="fxcarry_apprise.testing.suites:AppriseNotifierSuite",
        ),
    ]


def __getattr__(name: str) -> Any:
    if name == "AppriseNotifier":
        from fxcarry_apprise.notifier import AppriseNotifier

        return AppriseNotifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
