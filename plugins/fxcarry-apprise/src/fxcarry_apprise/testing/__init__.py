"""A fake of services that apprise knows, over a real socket, to test against without a key and without a network."""

from __future__ import annotations

from fxcarry_apprise.testing.fake import FakePeer, Message

__all__ = ["FakePeer", "Message"]
