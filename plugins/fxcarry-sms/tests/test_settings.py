"""What the distribution adds, and the settings it takes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import fxcarry_sms
from fxcarry.errors import ConfigError
from fxcarry.secrets import Secret
from fxcarry_sms import SmsConfig, SmsNotifier

SID = "AC" + "0a" * 16
GOOD: dict[str, Any] = {
    "account_sid": SID,
    "secret": Secret("env", "NOT_SET_ANYWHERE"),
    "to": ("+41791234567",),
    "sender": "+15005550006",
}


def test_it_adds_one_notifier_with_a_suite() -> None:
    (component,) = fxcarry_sms.fxcarry_components()
    assert (component.kind, component.name, component.config) == ("notifier", "sms", SmsConfig)
    assert component.suite == "fxcarry_sms.testing.suites:SmsNotifierSuite"
    channel = component.factory(SmsConfig(**GOOD))  # nothing is opened, no secret is read
    assert isinstance(channel, SmsNotifier)
    assert repr(channel) == f"SmsNotifier({SID}, +41…567)"


def test_the_defaults_are_those_that_are_documented() -> None:
    config = SmsConfig(**GOOD)
    assert (config.api_key, config.messaging_service, config.segments) == ("", "", 2)
    assert (config.timeout, config.url) == (10.0, "https://api.twilio.com")


@pytest.mark.parametrize("sender", ["+41791234567", "fxcarry", "FX Carry 1", "A&B-C_D+E", "12345", "123456"])
def test_senders(sender: str) -> None:
    assert SmsConfig(**{**GOOD, "sender": sender}).sender == sender


def test_a_messaging_service_in_place_of_a_sender() -> None:
    service = "MG" + "1" * 32
    assert SmsConfig(**{**GOOD, "sender": "", "messaging_service": service}).messaging_service == service


@pytest.mark.parametrize(
    ("changed", "message", "hint"),
    [
        ({"account_sid": "AC123"}, "account_sid is 'AC123'", "AC and 32 hexadecimal digits"),
        ({"account_sid": "SK" + "0" * 32}, "account_sid is 'SK0", "AC and 32"),
        ({"account_sid": SID + "\n"}, "account_sid is", "AC and 32"),
        ({"api_key": SID}, "api_key is 'AC0a", "SK and 32"),
        ({"sender": ""}, "neither sender nor messaging_service is set", "one of the two"),
        ({"messaging_service": "MG" + "1" * 32}, "both sender and messaging_service are set", "one of the two"),
        ({"sender": "", "messaging_service": "MG1"}, "messaging_service is 'MG1'", "MG and 32"),
        ({"sender": "twelve chars"}, "sender has 'twelve chars'", "a name of up to 11"),
        ({"sender": "0041791234567"}, "sender has '0041791234567'", "write +41791234567"),
        ({"sender": "fx\r\nTo"}, "sender has 'fx\\r\\nTo'", "write it as +"),
        ({"to": ()}, "to is empty", 'to = ["+41791234567"]'),
        ({"to": ("0041 79 123 45 67",)}, "to has '0041 79 123 45 67'", "write +41791234567"),
        ({"to": ("+41 79 123-45-67",)}, "to has '+41 79 123-45-67'", "write +41791234567"),
        ({"to": ("079 123 45 67",)}, "to has '079 123 45 67'", "country code"),
        ({"to": ("+0791234567",)}, "to has '+0791234567'", "country code"),
        ({"to": ("+4179123456789012",)}, "to has '+4179123456789012'", "country code"),
        ({"to": ("+41791234567\n",)}, "to has '+41791234567\\n'", "write +41791234567"),
        ({"to": ("+41791234567", "+14155550123", "+41791234567")}, "to has '+41791234567' twice", "once"),
        ({"segments": 0}, "segments is 0", "from 1 to 10"),
        ({"segments": 11}, "segments is 11", "from 1 to 10"),
        ({"timeout": 0.0}, "timeout is 0.0", "more than 0"),
        ({"timeout": float("nan")}, "timeout is nan", "more than 0"),
        ({"timeout": float("inf")}, "timeout is inf", "more than 0"),
    ],
)
def test_what_cannot_be_is_said_at_once(changed: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as told:
        SmsConfig(**{**GOOD, **changed})
    assert message in told.value.message
    assert hint in told.value.hint


def test_importing_it_loads_no_requests() -> None:
    code = "import sys, fxcarry_sms; print([m for m in ('requests', 'fxcarry_sms.channel') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        fxcarry_sms.Other  # noqa: B018
