"""Services on loopback: apprise's own JSON, ntfy and Gotify."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import attrs

from fxcarry.testing import Reply, Request, WireServer


@attrs.frozen
class Message:
    """A message that arrived: at which ``service``, under which ``key`` (path, topic or token)."""

    service: str
    key: str
    title: str
    text: str
    severity: str = ""
    """What apprise's JSON calls ``type``: info, success, warning or failure."""


class FakePeer:
    """A JSON hook, a ntfy and a Gotify at one address, that keep what they were sent.

    ::

        peer = FakePeer()
        with peer.serve() as server:
            server.fail("POST /gotify/message", "busy")
            ...  # alerts to peer.url(server, "json", "a-token") arrive in peer.messages
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refused: dict[str, int] = {}
        """The status by key with which it is refused."""

    def serve(self) -> WireServer:
        """Itself behind a socket, for a ``with`` block."""
        return WireServer(self.answer)

    @staticmethod
    def url(server: WireServer, service: str, key: str) -> str:
        """The address for apprise; ``service`` is ``json``, ``ntfy`` or ``gotify``."""
        host = server.url.removeprefix("http://")
        return f"{service}://{host}/{'gotify/' if service == 'gotify' else ''}{quote(key, safe='')}"

    def answer(self, request: Request) -> Reply:
        """The answer to a request."""
        sent: dict[str, Any] = request.json()
        if request.path == "/gotify/message":
            message = Message("gotify", request.headers.get("x-gotify-key", ""), sent["title"], sent["message"])
        elif request.path == "/":
            message = Message("ntfy", sent["topic"], sent.get("title", ""), sent["message"])
        else:
            message = Message("json", request.path.strip("/"), sent["title"], sent["message"], sent["type"])
        if message.key in self.refused:
            status = self.refused[message.key]
            return Reply.json({"error": "refused", "key": message.key}, status)
        self.messages.append(message)
        return Reply.json({"id": len(self.messages)})
