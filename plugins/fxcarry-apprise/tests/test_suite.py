"""The notifier cases of the core, to three services: one without a format of its own, and two that people use."""

from __future__ import annotations

from fxcarry_apprise.testing.suites import AppriseNotifierSuite


class TestJson(AppriseNotifierSuite):
    """apprise's own JSON."""


class TestNtfy(AppriseNotifierSuite):
    """ntfy on a server of one's own."""

    service = "ntfy"


class TestGotify(AppriseNotifierSuite):
    """Gotify, below a path."""

    service = "gotify"
