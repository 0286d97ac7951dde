"""What the distribution adds, and the settings it takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fxcarry_apprise
from fxcarry.errors import ConfigError
from fxcarry.protocols import Notifier
from fxcarry.secrets import Secret
from fxcarry_apprise import AppriseConfig, AppriseNotifier

URL = Secret("env", "ALERT_URL")


def test_it_adds_one_notifier_with_a_suite() -> None:
    (component,) = fxcarry_apprise.fxcarry_components()
    assert (component.kind, component.name, component.config) == ("notifier", "apprise", AppriseConfig)
    assert component.suite == "fxcarry_apprise.testing.suites:AppriseNotifierSuite"
    notifier = component.factory(AppriseConfig(urls=(URL, URL), timeout=3.0))
    assert isinstance(notifier, Notifier)
    assert isinstance(notifier, AppriseNotifier)
    assert repr(notifier) == "AppriseNotifier(2 addresses, timeout=3)"


def test_settings_have_the_defaults_that_are_documented() -> None:
    assert AppriseConfig(urls=(URL,)).timeout == 10.0


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), 3601.0])
def test_a_timeout_is_some_seconds(timeout: float) -> None:
    with pytest.raises(ConfigError, match="timeout is"):
        AppriseConfig(urls=(URL,), timeout=timeout)


def test_without_addresses_nobody_would_be_told() -> None:
    with pytest.raises(ConfigError, match="urls is empty"):
        AppriseConfig(urls=())


def test_importing_and_making_it_loads_no_apprise() -> None:
    code = """
import sys, fxcarry_apprise
from fxcarry.secrets import Secret
assert "fxcarry_apprise.notifier" not in sys.modules
(component,) = fxcarry_apprise.fxcarry_components()
component.factory(fxcarry_apprise.AppriseConfig(urls=(Secret("env", "NOWHERE"),)))
print([m for m in ("apprise", "requests", "urllib3") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        fxcarry_apprise.Other  # noqa: B018
