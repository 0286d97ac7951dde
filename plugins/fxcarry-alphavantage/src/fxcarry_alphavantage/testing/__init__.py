"""A fake of Alpha Vantage's API over a real socket, to test against without a key and without a network.

::

    fake = FakeAlphaVantage()
    with fake.serve() as server:
        fake.say("note")          # the next call is answered with this failure
        ...                       # ask a client at server.url with fake.key
    assert fake.calls == ["CURRENCY_EXCHANGE_RATE EUR USD"]
"""

from __future__ import annotations

from fxcarry_alphavantage.testing.fake import FakeAlphaVantage

__all__ = ["FakeAlphaVantage"]
