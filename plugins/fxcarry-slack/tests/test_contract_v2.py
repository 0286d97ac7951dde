"""The channel and the fake against Slack's published schema: Prism stands between them, and checks both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import prism
import pytest
import requests

from fxcarry.errors import NotifierError
from fxcarry_slack.channel import SlackNotifier
from fxcarry_slack.testing import FakeSlack
from fxcarry_slack.testing.suites import SlackNotifierSuite, bot

from .conftest import alert

SPEC = "slack_web_openapi_v2.json"
PATHS = ("/chat.postMessage", "/auth.test")
pytestmark = prism.needed(SPEC)


def corrected(spec: dict[str, Any]) -> dict[str, Any]:
    """The two calls that are used. The schema asks for the token in a header of its own; Slack's documentation says
    Authorization, which is what its own clients send. Its errors are those of years ago: any word is one.
    """
    spec["paths"] = {f"/api{path}": spec["paths"][path] for path in PATHS}
    for path in spec["paths"].values():
        for call in path.values():
            call.pop("security", None)
            call["parameters"] = [one for one in call["parameters"] if one["in"] != "header"]
            call["responses"]["default"]["schema"]["properties"]["error"].pop("enum")
            good, bad = (call["responses"][status].pop("schema") for status in ("200", "default"))
            call["responses"] = {"200": {"description": "ok, or not", "schema": {"oneOf": [good, bad]}}}
    spec.pop("security", None)
    spec |= {"host": "127.0.0.1", "basePath": "/", "schemes": ["http"]}
    return spec


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prism.Line]:
    with prism.line(corrected(prism.schema(SPEC)), tmp_path_factory.mktemp("spec"), FakeSlack()) as line:
        yield line


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[requests.Response]]:
    with prism.unbroken(monkeypatch) as answers:
        yield answers


@pytest.fixture
def fake(proxy: prism.Line) -> FakeSlack:
    proxy.fake = FakeSlack()
    return proxy.fake


@pytest.fixture
def channel(proxy: prism.Line, fake: FakeSlack, answers: Any, monkeypatch: pytest.MonkeyPatch) -> SlackNotifier:
    return bot(fake, proxy.url, monkeypatch, timeout=10.0)


def test_messages_and_threads(channel: SlackNotifier, fake: FakeSlack, answers: list[requests.Response]) -> None:
    channel.notify(alert("begins", kind="engine-start", severity="info"))
    channel.notify(alert("NAV −1 % & 日本円 <!channel> 🚨", fields={"nav": 1.0, "currency": "USD"}))
    channel.notify(alert("x" * 10_000, severity="warning"))
    assert [a.json()["ok"] for a in answers] == [True] * 3
    assert [(post.thread == fake.posts[0].ts, post.is_broadcast) for post in fake.posts] == [
        (False, False),
        (True, True),
        (True, False),
    ]


@pytest.mark.parametrize("code", ["not_in_channel", "is_archived", "ratelimited", "fatal_error", "token_revoked"])
def test_refusals(channel: SlackNotifier, fake: FakeSlack, answers: list[requests.Response], code: str) -> None:
    fake.errors = [code]
    with pytest.raises(NotifierError, match=code):
        channel.notify(alert())
    assert [a.json() for a in answers] == [{"ok": False, "error": code}]


def test_check(channel: SlackNotifier, answers: list[requests.Response]) -> None:
    assert channel.check().startswith("the bot is fxcarry in Fake")
    assert [a.status_code for a in answers] == [200]


def test_the_schema_refuses_what_it_should(proxy: prism.Line, fake: FakeSlack) -> None:
    answer = requests.post(f"{proxy.url}/api/chat.postMessage", data={"text": "no channel"}, timeout=10)
    assert answer.status_code == 422
    fake.clock = 7  # an answer whose ts is none
    good = {"channel": fake.channel, "text": "x"}
    headers = {"Authorization": f"Bearer {fake.token}"}
    answer = requests.post(f"{proxy.url}/api/chat.postMessage", data=good, headers=headers, timeout=10)
    assert answer.status_code == 500
    assert "sl-violations" in answer.headers or "ts" in answer.text


class TestSlackNotifierBehindTheProxy(SlackNotifierSuite):
    """The channel passes its suite with the schema between it and the fake."""

    @pytest.fixture
    def fake(self, proxy: prism.Line) -> FakeSlack:
        proxy.fake = FakeSlack()
        return proxy.fake

    @pytest.fixture
    def notifier(
        self, proxy: prism.Line, fake: FakeSlack, answers: Any, monkeypatch: pytest.MonkeyPatch
    ) -> SlackNotifier:
        return bot(fake, proxy.url, monkeypatch, timeout=10.0)
