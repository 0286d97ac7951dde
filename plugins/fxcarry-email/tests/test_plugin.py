"""What the distribution adds, and the settings it takes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import fxcarry_email
from fxcarry.config import load_config
from fxcarry.errors import ConfigError
from fxcarry.plugins import load
from fxcarry.secrets import Secret
from fxcarry_email import EmailConfig

GIVEN = {"host": "smtp.example.com", "sender": "fxcarry <ops@example.com>", "to": ("me@example.com",)}
LOGIN = {"user": "ops", "password": Secret("env", "NOT_SET")}


def config(**settings: Any) -> EmailConfig:
    return EmailConfig(**{**GIVEN, **settings})


def test_it_adds_one_notifier_with_a_suite() -> None:
    (component,) = fxcarry_email.fxcarry_components()
    assert (component.kind, component.name, component.config) == ("notifier", "email", EmailConfig)
    assert component.suite == "fxcarry_email.testing.suites:EmailNotifierSuite"
    assert component.demanded == ("host", "sender", "to")


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("ssl", 465), ("none", 25)])
def test_the_port_follows_from_the_security(security: Any, port: int) -> None:
    assert config(security=security).used_port == port
    assert config(security=security, port=2525).used_port == 2525


def test_settings_have_the_defaults_that_are_documented() -> None:
    made = config()
    assert (made.port, made.security, made.user, made.password, made.ca_file) == (None, "starttls", "", None, "")
    assert made.timeout == 10.0


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"host": ""}, "host ''"),
        ({"host": "smtp.example.com\r\n"}, "no name of a mail server"),
        ({"host": "smtps://smtp.example.com"}, "no name of a mail server"),
        ({"host": "bücher.example"}, "no name of a mail server"),
        ({"port": 0}, "port 0"),
        ({"port": 65536}, "port 65536"),
        ({"security": "tls"}, "security 'tls'"),
        ({"timeout": 0}, "timeout 0"),
        ({"timeout": float("nan")}, "timeout nan"),
        ({"timeout": float("inf")}, "timeout inf"),
        ({"sender": "ops"}, "sender: 'ops'"),
        ({"to": ()}, "nobody to write to"),
        ({"to": ("me@example.com", "you")}, "to: 'you'"),
        ({"user": "ops"}, "a user and no password"),
        ({"password": Secret("env", "X")}, "a password and no user"),
        ({**LOGIN, "user": "ops\r\nRSET"}, "has a character no user has"),
        ({**LOGIN, "security": "none"}, "for everybody to read"),
        ({**LOGIN, "security": "none", "host": "10.0.0.1"}, "for everybody to read"),
        ({**LOGIN, "security": "none", "host": "localhost.example.com"}, "for everybody to read"),
    ],
)
def test_wrong_settings_are_named_with_what_to_do(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        config(**settings)
    assert error.value.hint


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.3.2.1", "::1"])
def test_a_login_in_clear_text_stays_on_this_machine(host: str) -> None:
    assert config(security="none", host=host, **LOGIN).host == host


def test_without_a_login_there_may_be_no_encryption() -> None:
    assert config(security="none").user == ""


def test_the_example_of_the_readme_is_a_configuration(tmp_path: Any) -> None:
    import re
    from pathlib import Path

    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(\[\[notifiers\]\].*?)```", text, re.DOTALL)
    path = tmp_path / "fxcarry.toml"
    path.write_text(example, "utf-8")
    registry = load({})
    if ("notifier", "email") not in registry.components:
        pytest.skip("fxcarry-email is not installed")
    (section,) = load_config(path, registry, {}).notifiers
    assert section.settings == config(
        user="ops@example.com",
        password=Secret("env", "SMTP_PASSWORD"),
        to=("me@example.com", "desk@example.com"),
    )


def test_importing_it_loads_no_smtp_and_no_template() -> None:
    code = "import sys, fxcarry_email; print([m for m in ('jinja2', 'smtplib', 'aiosmtpd') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        fxcarry_email.Other  # noqa: B018
