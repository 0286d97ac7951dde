"""The channel passes the suite of the core, over a socket with TLS against the fake mail server."""

from __future__ import annotations

from fxcarry_email.testing.suites import EmailNotifierSuite


class TestEmailNotifier(EmailNotifierSuite):
    pass
