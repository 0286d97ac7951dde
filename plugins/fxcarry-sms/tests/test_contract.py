"""The channel passes the suite of the core, over a socket against the fake Twilio."""

from __future__ import annotations

from fxcarry_sms.testing.suites import SmsNotifierSuite


class TestSmsNotifier(SmsNotifierSuite):
    pass
