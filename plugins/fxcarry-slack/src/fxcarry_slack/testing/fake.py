"""A Slack that keeps what it was sent, and refuses what Slack refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import attrs

from fxcarry.testing import WireServer
from fxcarry.testing.wire import Reply, Request

_HEADER, _SECTION, _FIELD = 150, 3000, 2000
_BLOCKS, _CONTAINER = 13_200, 110  # all blocks as JSON, and what a block counts besides: seen, not documented
_STATUS = {"channel_is_archived": 410, "invalid_token": 403, "action_prohibited": 403, "team_disabled": 403,
           "no_service": 404, "no_active_hooks": 404, "rollup_error": 500}  # fmt: skip


@attrs.frozen
class Post:
    """A message that was posted: when by Slack's clock (``ts``), in which ``thread`` ("" = none), whether the channel
    was shown it too.
    """

    ts: str
    text: str
    blocks: Sequence[Mapping[str, Any]]
    thread: str = ""
    is_broadcast: bool = False

    @property
    def shown(self) -> str:
        """Every text of it, as one."""
        return "\n".join([self.text, *_texts(self.blocks)])


class FakeSlack:
    """The Web API below ``/api`` and one webhook at ``hook``. ``posts`` are what was posted, in order.

    ``errors`` are given in their order to the next calls, instead of what they ask for; ``scopes`` are the bot's. Where
    ``is_unthreading``, a reply is posted beside its thread, and only the answer shows it.
    """

    token = "xoxb-1-2-fakeFAKEfake"
    channel = "C0123456789"
    hook = "/services/T0FAKE/B0FAKE/fakeFAKEfakeFAKE"

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.errors: list[str] = []
        self.scopes = "chat:write,chat:write.public"
        self.is_unthreading = False
        self.clock = 1741784700

    def serve(self) -> WireServer:
        """The server, while in its ``with`` block."""
        return WireServer(self.answer)

    def answer(self, request: Request) -> Reply:
        """What Slack answers to a request."""
        if request.path.startswith("/services/"):
            return self._hook(request)
        method = request.path.removeprefix("/api/")
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _refusal("invalid_auth" if request.headers.get("authorization") else "not_authed")
        if self.errors:
            return _refusal(self.errors.pop(0))
        if method == "auth.test":
            facts = {"ok": True, "url": "https://fake.slack.com/", "team": "Fake", "user": "fxcarry",
                     "team_id": "T0FAKE0001", "user_id": "U0FAKE0001", "bot_id": "B0FAKE0001"}  # fmt: skip
            return Reply.json(facts, headers={"X-OAuth-Scopes": self.scopes})
        if method == "chat.postMessage" and request.method == "POST":
            return self._post(dict(parse_qsl(request.body.decode(), keep_blank_values=True)))
        return _refusal("unknown_method")

    def _post(self, form: Mapping[str, str]) -> Reply:
        if form.get("channel") not in (self.channel, "#alerts"):
            return _refusal("channel_not_found")
        thread = form.get("thread_ts", "")
        if thread and thread not in [post.ts for post in self.posts if not post.thread]:
            return _refusal("thread_not_found")
        try:
            blocks = json.loads(form.get("blocks", "[]"))
        except ValueError:
            return _refusal("invalid_blocks_format")
        problem = _problem(form.get("text", ""), blocks)
        if problem:
            return _refusal(problem)
        if self.is_unthreading:
            thread = ""
        post = self._keep(form["text"], blocks, thread, form.get("reply_broadcast") == "true")
        shown = {"type": "message", "text": post.text, "ts": post.ts, "user": "U0FAKE0001", "team": "T0FAKE0001"}
        if thread:
            shown["thread_ts"] = thread
        return Reply.json({"ok": True, "channel": self.channel, "ts": post.ts, "message": shown})

    def _hook(self, request: Request) -> Reply:
        if request.path != self.hook:
            return _words("no_service", 404)
        if self.errors:
            code = self.errors.pop(0)
            return _words(code, _STATUS.get(code, 400))
        try:
            found = request.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            return _words("invalid_payload", 400)
        problem = _problem(found.get("text", ""), found.get("blocks", []))
        if problem:
            return _words(problem, 400)
        self._keep(found["text"], found.get("blocks", []))
        return _words("ok", 200)

    def _keep(self, text: str, blocks: Sequence[Any], thread: str = "", is_broadcast: bool = False) -> Post:
        self.clock += 1
        post = Post(f"{self.clock}.000100", text, blocks, thread, is_broadcast)
        self.posts.append(post)
        return post


def _refusal(code: str) -> Reply:
    return Reply.json({"ok": False, "error": code})


def _words(text: str, status: int) -> Reply:
    return Reply(status, text.encode(), {"Content-Type": "text/html"})


def _problem(text: str, blocks: Any) -> str:
    """The error of a message that Slack does not take, "" where it does."""
    if not text and not blocks:
        return "no_text"
    if not isinstance(blocks, list) or len(blocks) > 50 or any(not _is_block(block) for block in blocks):
        return "invalid_blocks"
    if len(json.dumps(blocks)) + _CONTAINER * len(blocks) > _BLOCKS:
        return "msg_blocks_too_long"
    return "msg_too_long" if len(text) > 40_000 else ""


def _is_block(block: Any) -> bool:
    kind = block.get("type")
    if kind == "header":
        return block["text"]["type"] == "plain_text" and 0 < len(block["text"]["text"]) <= _HEADER
    if kind == "section":
        text, fields = block.get("text"), block.get("fields", [])
        is_text = text is None or 0 < len(text["text"]) <= _SECTION
        return (
            is_text
            and (text is not None or bool(fields))
            and len(fields) <= 10
            and all(0 < len(field["text"]) <= _FIELD for field in fields)
        )
    return kind == "context" and 0 < len(block["elements"]) <= 10


def _texts(part: Any) -> list[str]:
    if isinstance(part, Mapping):
        own = [part["text"]] if isinstance(part.get("text"), str) else []
        return [*own, *(text for value in part.values() if not isinstance(value, str) for text in _texts(value))]
    return [text for item in part for text in _texts(item)] if isinstance(part, list | tuple) else []
