"""A fake OANDA v20 venue over a real socket, to test against without an account and without a network.

::

    fake = FakeOanda(balance="100000")
    with fake.serve() as server:
        fake.move_to(snapshot)
        server.fail("POST /v3/accounts/*/orders", "unanswered")
        ...  # drive a client at server.url with fake.token
    assert fake.positions == {"EUR_USD": Decimal(1000)}

It keeps its own books and shares nothing with the simulated broker of fxcarry, so it can be held against them. What is
known of the real venue only from memory or not at all is named where it is done.
"""

from __future__ import annotations

from fxcarry_oanda.testing.fake import FakeOanda

__all__ = ["FakeOanda"]
