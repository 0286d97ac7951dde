"""A fake Slack over a real socket, to test against without a workspace and without a network.

::

    fake = FakeSlack()
    with fake.serve() as server:
        server.fail("POST *", "busy")
        ...  # drive a channel at f"{server.url}/api" with fake.token, or at f"{server.url}{fake.hook}"
    print(fake.posts)
"""

from __future__ import annotations

from fxcarry_slack.testing.fake import FakeSlack, Post

__all__ = ["FakeSlack", "Post"]
