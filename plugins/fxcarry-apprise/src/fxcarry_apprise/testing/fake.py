"""A server that speaks three of the protocols of Apprise and keeps what it was sent."""

from __future__ import annotations

import json

import attrs

from fxcarry.testing import WireServer
from fxcarry.testing.wire import Reply, Request

_TOKEN = "Aq1w2e3r4t5y6u7"


@attrs.frozen
class Message:
    """What a service took: by which protocol, its title, body, and how urgent it said it is."""

    service: str
    title: str
    body: str
    urgency: str

    @property
    def text(self) -> str:
        """Title and body."""
        return f"{self.title}\n{self.body}"


class FakePeer:
    """Takes messages as Apprise's own JSON, as ntfy and as Gotify; one with another token is refused with 401.

    ``messages`` are those that were taken, in order; ``status`` other than 200 is what every call is answered with.
    """

    token = _TOKEN

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.status = 200

    def serve(self) -> WireServer:
        """The server, while in its ``with`` block."""
        return WireServer(self.answer)

    def json_url(self, server: WireServer, token: str = _TOKEN) -> str:
        """The Apprise address of its JSON protocol."""
        return f"json://{_host(server)}/{token}"

    def ntfy_url(self, server: WireServer) -> str:
        """The Apprise address of its ntfy protocol."""
        return f"ntfy://{_host(server)}/alerts"

    def gotify_url(self, server: WireServer, token: str = _TOKEN) -> str:
        """The Apprise address of its Gotify protocol."""
        return f"gotify://{_host(server)}/{token}"

    def answer(self, request: Request) -> Reply:
        """What the peer answers to a request."""
        if self.status != 200:
            return Reply.json({"error": "told to fail"}, self.status)
        if request.method != "POST":
            return Reply.json({"error": "POST only"}, 405)
        found = json.loads(request.body)
        if request.path == "/message":
            if request.headers.get("x-gotify-key") != self.token:
                return Reply.json({"error": "Unauthorized", "errorCode": 401}, 401)
            took = Message("gotify", found["title"], found["message"], str(found["priority"]))
        elif "topic" in found:
            took = Message("ntfy", found.get("title", ""), found["message"], ",".join(found.get("tags", ())))
        elif request.path == f"/{self.token}":
            took = Message("json", found["title"], found["message"], found["type"])
        else:
            return Reply.json({"error": f"no such hook {request.path}"}, 401)
        self.messages.append(took)
        return Reply.json({"id": len(self.messages)})


def _host(server: WireServer) -> str:
    return server.url.removeprefix("http://")
