"""A fake Twilio over a real socket, to test against without an account and without a network.

::

    fake = FakeTwilio()
    fake.refuse("+41791234567", 21610)
    with fake.serve() as server:
        server.fail("POST *", "busy")
        ...  # drive a channel at server.url with fake.account_sid and fake.secret
    print(fake.texts)
"""

from __future__ import annotations

from fxcarry_sms.testing.fake import FakeTwilio, Text

__all__ = ["FakeTwilio", "Text"]
