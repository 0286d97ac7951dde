"""A mail server on your machine, to test against without an account and without a network.

::

    with FakeMailServer(user="ops", password="right") as server:
        server.fail("RCPT", "451 4.7.1 come back later", times=1)
        ...  # write to server.host, server.port, trusting server.ca_file
        assert server.texts() == [...]

It needs ``pip install 'fxcarry-email[testing]'``.
"""

from __future__ import annotations

from fxcarry_email.testing.fake import FakeMailServer, Mail

__all__ = ["FakeMailServer", "Mail"]
