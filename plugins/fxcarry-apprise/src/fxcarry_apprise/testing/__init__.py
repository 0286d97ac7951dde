"""A peer that several services of Apprise can be pointed at, over a real socket, with no account and no network.

::

    peer = FakePeer()
    with peer.serve() as server:
        server.fail("POST *", "hangs")
        ...  # drive a channel at peer.json_url(server)
    print(peer.messages)
"""

from __future__ import annotations

from fxcarry_apprise.testing.fake import FakePeer, Message

__all__ = ["FakePeer", "Message"]
