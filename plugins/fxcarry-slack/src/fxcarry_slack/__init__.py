"""Alerts to Slack, for fxcarry. Importing this opens no connection."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from fxcarry.errors import ConfigError
from fxcarry.plugins import Component, hookimpl
from fxcarry.secrets import Secret

if TYPE_CHECKING:
    from fxcarry_slack.channel import SlackNotifier

__all__ = ["SlackConfig", "SlackNotifier", "fxcarry_components"]

_CHANNEL = re.compile(r"[CGD][A-Z0-9]{8,}|#[^\s#@,]{1,80}")
_USER = re.compile(r"[UW][A-Z0-9]{8,}")
_GROUPS = ("here", "channel")


@attrs.frozen(kw_only=True)
class SlackConfig:
    """Where alerts go: to the place of an incoming ``webhook``, or, with the ``token`` of a bot, to a ``channel``.

    ``mention`` are users (``U024BE7LH``), "here" or "channel", who are mentioned in critical alerts. ``timeout`` is in
    seconds, from one byte of an answer to the next. Raises ConfigError where a setting cannot be.
    """

    webhook: Secret | None = None
    token: Secret | None = None
    channel: str = ""
    mention: tuple[str, ...] = ()
    timeout: float = 10.0
    url: str = "https://slack.com/api"

    def __attrs_post_init__(self) -> None:
        if (self.webhook is None) == (self.token is None):
            given = "both webhook and token are" if self.token else "neither webhook nor token is"
            raise ConfigError(f"{given} set", hint='one of them: webhook = { env = "SLACK_WEBHOOK" }')
        if self.token is not None and not _CHANNEL.fullmatch(self.channel):
            raise ConfigError(f"channel is {self.channel!r}", hint='with a token, its id "C0123456789" or "#name"')
        if self.webhook is not None and self.channel:
            raise ConfigError(f"channel is {self.channel!r}, with a webhook", hint="a webhook has its own channel")
        for one in self.mention:
            if one not in _GROUPS and not _USER.fullmatch(one):
                raise ConfigError(f"mention has {one!r}", hint='a member id like "U024BE7LH", "here" or "channel"')
        if not 0 < self.timeout < float("inf"):
            raise ConfigError(f"timeout is {self.timeout}", hint="seconds, more than 0")

    @property
    def mentions(self) -> str:
        """Who is mentioned, as Slack writes it."""
        return " ".join(f"<!{one}>" if one in _GROUPS else f"<@{one}>" for one in self.mention)


def _notifier(config: SlackConfig) -> SlackNotifier:
    from fxcarry_slack.channel import SlackNotifier

    return SlackNotifier(config)


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="notifier",
            name="slack",
            config=SlackConfig,
            factory=_notifier,
            summary="alerts to Slack, by webhook or as a bot with a thread for each run",
            suite="fxcarry_slack.testing.suites:SlackNotifierSuite",
        ),
    ]


def __getattr__(name: str) -> Any:
    if name == "SlackNotifier":
        from fxcarry_slack.channel import SlackNotifier

        return SlackNotifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
