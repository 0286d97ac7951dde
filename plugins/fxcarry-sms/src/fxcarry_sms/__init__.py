"""Alerts as text messages, by Twilio, for fxcarry. Importing this opens no connection."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from fxcarry.errors import ConfigError
from fxcarry.plugins import Component, hookimpl
from fxcarry.secrets import Secret

if TYPE_CHECKING:
    from fxcarry_sms.channel import SmsNotifier

__all__ = ["SmsConfig", "SmsNotifier", "fxcarry_components"]

MOST_SEGMENTS = 10
"""Ten segments are at most 1,530 characters; Twilio takes 1,600."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SHORT_CODE = re.compile(r"[0-9]{5,6}")
_SENDER_ID = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}")


@attrs.frozen(kw_only=True)
class SmsConfig:
    """Text messages from an account at Twilio.

    ``secret`` is the account's auth token or, where ``api_key`` is given, the secret of that key. Messages come from
    ``sender`` (a number of the account, or a name where the country allows one) or from a ``messaging_service``: one of
    the two. ``to`` are the numbers that are told. ``segments`` is the most that a message may cost, in segments.
    ``timeout`` is in seconds. Raises ConfigError where a setting cannot be.
    """

    account_sid: str
    secret: Secret
    to: tuple[str, ...]
    api_key: str = ""
    sender: str = ""
    messaging_service: str = ""
    segments: int = 2
    timeout: float = 10.0
    url: str = "https://api.twilio.com"

    def __attrs_post_init__(self) -> None:
        _check_sid("account_sid", "AC", self.account_sid)
        if self.api_key:
            _check_sid("api_key", "SK", self.api_key)
        if bool(self.sender) == bool(self.messaging_service):
            given = (
                "both sender and messaging_service are" if self.sender else "neither sender nor messaging_service is"
            )
            raise ConfigError(f"{given} set", hint="a message comes from one of the two")
        if self.messaging_service:
            _check_sid("messaging_service", "MG", self.messaging_service)
        elif not _SHORT_CODE.fullmatch(self.sender) and not _SENDER_ID.fullmatch(self.sender):
            _check_number("sender", self.sender, "or a name of up to 11 letters and digits")
        if not self.to:
            raise ConfigError("to is empty", hint='name who is told: to = ["+41791234567"]')
        for number in self.to:
            _check_number("to", number)
        double = next((number for number in self.to if self.to.count(number) > 1), None)
        if double is not None:
            raise ConfigError(f"to has {double!r} twice", hint="name each number once")
        if not 1 <= self.segments <= MOST_SEGMENTS:
            raise ConfigError(f"segments is {self.segments}", hint=f"from 1 to {MOST_SEGMENTS}; each is paid for")
        if not 0 < self.timeout < float("inf"):
            raise ConfigError(f"timeout is {self.timeout}", hint="seconds, more than 0")


def _check_sid(name: str, prefix: str, value: str) -> None:
    if not re.fullmatch(f"{prefix}[0-9a-fA-F]{{32}}", value):
        raise ConfigError(
            f"{name} is {value!r}", hint=f"{prefix} and 32 hexadecimal digits, as the Twilio console shows it"
        )


def _check_number(name: str, value: str, other: str = "") -> None:
    if _E164.fullmatch(value):
        return
    digits = re.sub(r"[\s().\-/]", "", value)
    meant = f"+{digits[2:]}" if digits.startswith("00") else digits
    hint = f"write {meant}" if _E164.fullmatch(meant) else "write it as +, country code and number: +41791234567"
    raise ConfigError(f"{name} has {value!r}", hint=f"{hint}, {other}" if other else hint)


def _notifier(config: SmsConfig) -> SmsNotifier:
    from fxcarry_sms.channel import SmsNotifier

    return SmsNotifier(config)


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="notifier",
            name="sms",
            config=SmsConfig,
            factory=_notifier,
            summary="alerts as text messages, by Twilio",
            suite="fxcarry_sms.testing.suites:SmsNotifierSuite",
        ),
    ]


def __getattr__(name: str) -> Any:
    if name == "SmsNotifier":
        from fxcarry_sms.channel import SmsNotifier

        return SmsNotifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
