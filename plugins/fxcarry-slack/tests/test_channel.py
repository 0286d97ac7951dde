"""What Slack is sent, in which thread, and what became of it when something goes wrong."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.errors import ConfigError, DeliveryUnknown, NotifierError
from fxcarry.plugins import load
from fxcarry.secrets import Secret
from fxcarry.testing import Reply, WireServer
from fxcarry_slack import SlackConfig
from fxcarry_slack import channel as channels
from fxcarry_slack.blocks import message
from fxcarry_slack.testing.fake import _problem
from fxcarry_slack.testing.suites import bot, hook

from .conftest import Line, alert

# --- what is sent -----------------------------------------------------------------------------------------------------


def test_a_message_says_what_happened_and_what_to_do(line: Line) -> None:
    line.bot().notify(alert(fields={"nav": 1234.5, "currency": "USD", "spread_bps": 2.0}))
    [post] = line.fake.posts
    assert post.text == "fxcarry critical: order-unknown: order b-17 timed out"
    kinds = [block["type"] for block in post.blocks]
    assert kinds == ["header", "section", "section", "section", "section", "context"]
    header, happened, did, may, facts, context = post.blocks
    assert header["text"]["text"] == "critical: Nobody knows what became of an order"
    assert happened["text"] == {"type": "plain_text", "text": "order b-17 timed out", "emoji": False}
    assert did["text"]["text"].startswith("What the engine does: ")
    assert may["text"]["text"].startswith("What you may do: ")
    assert [field["text"] for field in facts["fields"]] == ["nav\n1,234.50 USD", "spread\n2.00 bps"]
    assert context["elements"][0]["text"] == "2025-03-12 13:05:09 UTC · order-unknown · fxcarry"


def test_nothing_in_an_alert_mentions_or_links(line: Line) -> None:
    text = "<!channel> <@U024BE7LH> <https://example.com|click> & *bold* `code`"
    line.bot().notify(alert(text, fields={"who": "<!here>"}))
    [post] = line.fake.posts
    assert post.text.endswith(
        "&lt;!channel&gt; &lt;@U024BE7LH&gt; &lt;https://example.com|click&gt; &amp; *bold* `code`"
    )
    assert post.blocks[1]["text"] == {"type": "plain_text", "text": text, "emoji": False}
    assert all(
        part["type"] == "plain_text"
        for block in post.blocks
        for part in [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]
        if part is not None
    )


@pytest.mark.parametrize(
    ("severity", "is_over", "is_called"),
    [("critical", False, True), ("warning", False, False), ("critical", True, False)],
)
def test_people_are_called_in_critical_alerts_only(line: Line, severity: str, is_over: bool, is_called: bool) -> None:
    channel = line.hook(mention=("U024BE7LH", "here"))
    channel.notify(alert(severity=severity, is_over=is_over))
    [post] = line.fake.posts
    assert post.text.startswith("<@U024BE7LH> <!here> fxcarry critical") is is_called
    called = [b for b in post.blocks if b.get("text", {}).get("type") == "mrkdwn"]
    assert called == ([{"type": "section", "text": {"type": "mrkdwn", "text": "<@U024BE7LH> <!here>"}}] * is_called)


def test_a_long_message_keeps_its_beginning_and_says_that_it_was_cut(line: Line) -> None:
    line.hook().notify(alert("begin " + "0123456789" * 1024))
    [post] = line.fake.posts
    text = post.blocks[1]["text"]["text"]
    assert (len(text), text[:16], text[-1]) == (3000, "begin 0123456789", "…")


values = st.text(max_size=3000) | st.floats() | st.integers() | st.none() | st.dictionaries(st.text(), st.floats())


@given(
    st.text(max_size=4000),
    st.dictionaries(st.text(max_size=300), values, max_size=30),
    st.sampled_from(["order-unknown", "digest", "x" * 500, "a\nb"]),
)
def test_slack_takes_whatever_an_alert_says(text: str, fields: dict[str, Any], kind: str) -> None:
    said = message(alert(text, fields=fields, kind=kind), "<!here>")
    assert _problem(said["text"], said["blocks"]) == ""


def test_very_many_facts_are_within_the_limit_of_blocks() -> None:
    said = message(alert("x", fields={f"fact {n}": n for n in range(1000)}))
    assert _problem(said["text"], said["blocks"]) == ""
    assert len(said["blocks"]) <= 50
    assert said["blocks"][-2]["fields"][-1]["text"] == "… and 900 more"


@pytest.mark.parametrize("sign", ["x", "é", "本", "🏦", '"', "\n", "\x07"])
def test_long_words_leave_less_room_for_facts(sign: str) -> None:
    said = message(
        alert(sign * 10_000, kind=sign * 500, fields={f"fact {n}": sign * 90 for n in range(100)}), "<!here>"
    )
    assert _problem(said["text"], said["blocks"]) == ""
    weight = len(json.dumps(said["blocks"]))
    assert 9_000 < weight <= 11_000, "there is room left"
    fields = [field for block in said["blocks"] for field in block.get("fields", ())]
    assert re.fullmatch(r"… and \d+ more", fields[-1]["text"])
    assert int(fields[-1]["text"].split()[2]) + len(fields) - 1 == 100
    assert said["blocks"][-1]["type"] == "context"


def test_a_long_fact_is_cut_and_not_left_out() -> None:
    said = message(alert("x", fields={"who": "本" * 5000, "units": "-17"}))
    [facts] = [block["fields"] for block in said["blocks"] if "fields" in block]
    who, units = (field["text"] for field in facts)
    assert who.startswith("who\n本本本")
    assert who.endswith("本…")
    assert units == "units\n-17"


def test_the_fake_refuses_blocks_that_are_too_long(line: Line) -> None:
    blocks = [{"type": "section", "text": {"type": "plain_text", "text": "x" * 2900}}] * 5
    channel = line.hook()
    assert channel._http.send("POST", "", {"text": "x", "blocks": blocks}).body == b"msg_blocks_too_long"
    assert channel._http.send("POST", "", ["x"]).body == b"invalid_payload"
    assert line.fake.posts == []


def test_an_emoji_counts_as_two() -> None:
    header, happened = message(alert("🏦" * 2000, kind="🏦" * 200))["blocks"][:2]
    assert header["text"]["text"] == f"critical: {'🏦' * 69}…"
    assert happened["text"]["text"] == "🏦" * ((5000 - len(json.dumps("…"))) // len(r"\ud83c\udfe6")) + "…"


def test_a_refusal_that_nobody_knows_is_tried_again(line: Line) -> None:
    channel = line.bot()
    line.fake.errors = ["a_new_error"]
    with pytest.raises(NotifierError, match="a_new_error") as caught:
        channel.notify(alert())
    assert caught.value.fields == {"is_final": False}


# --- threads ----------------------------------------------------------------------------------------------------------


def test_a_run_is_a_thread_and_critical_alerts_are_shown_besides(line: Line) -> None:
    channel = line.bot()
    channel.notify(alert("runs", kind="engine-start", severity="info"))
    channel.notify(alert("trade", severity="info"))
    channel.notify(alert("fire", severity="critical"))
    channel.notify(alert("runs again", kind="engine-start", severity="info"))
    channel.notify(alert("smoke", severity="warning"))
    first, _, _, second, _ = line.fake.posts
    assert [(post.thread, post.is_broadcast) for post in line.fake.posts] == [
        ("", False), (first.ts, False), (first.ts, True), ("", False), (second.ts, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "thread_not_found", "message_not_found", "cannot_reply_to_message",
        "restricted_action_thread_locked", "restricted_action_non_threadable_channel",
    ],
)  # fmt: skip
def test_a_thread_that_is_gone_is_begun_anew(line: Line, code: str) -> None:
    channel = line.bot()
    channel.notify(alert("one"))
    line.fake.errors = [code]
    channel.notify(alert("two"))
    channel.notify(alert("three"))
    _, two, three = line.fake.posts
    assert (two.thread, three.thread) == ("", two.ts)


def test_a_reply_that_slack_puts_beside_its_thread_begins_another(line: Line) -> None:
    channel = line.bot()
    channel.notify(alert("one"))
    channel.notify(alert("two"))
    line.fake.is_unthreading = True
    channel.notify(alert("three"))
    line.fake.is_unthreading = False
    channel.notify(alert("four"))
    one, two, three, four = line.fake.posts
    assert [post.thread for post in (two, three, four)] == [one.ts, "", three.ts]


def test_a_webhook_knows_no_threads(line: Line) -> None:
    channel = line.hook()
    channel.notify(alert("one"))
    channel.notify(alert("two"))
    assert [post.thread for post in line.fake.posts] == ["", ""]


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "code", "hint"),
    [
        ("bot", "not_in_channel", "/invite"), ("bot", "channel_not_found", "/invite"),
        ("bot", "is_archived", "archived"),
        ("bot", "token_revoked", "install"), ("bot", "msg_too_long", "report"),
        ("hook", "invalid_payload", "report"), ("hook", "invalid_token", "make another"),
        ("hook", "no_service", "make another"), ("hook", "channel_is_archived", "unarchive"),
        ("hook", "action_prohibited", "administrator"), ("hook", "no_active_hooks", "switched off"),
        ("hook", "team_disabled", "closed"), ("hook", "msg_blocks_too_long", "report"),
        ("bot", "msg_blocks_too_long", "report"), ("hook", "a_new_error", "documentation"),
    ],
)  # fmt: skip
def test_a_refusal_is_final_and_says_what_to_do(line: Line, way: str, code: str, hint: str) -> None:
    channel = getattr(line, way)()
    line.fake.errors = [code]
    with pytest.raises(NotifierError, match=f"Slack refused with {code}") as caught:
        channel.notify(alert())
    assert not isinstance(caught.value, DeliveryUnknown)
    assert caught.value.fields == {"is_final": True}
    assert hint in caught.value.hint
    assert (line.fake.posts, len(line.server.requests)) == ([], 1)


def test_a_wrong_token_and_a_wrong_webhook_are_refused(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    for channel, variable, value, code in (
        (line.bot(), "FXCARRY_FAKE_SLACK_TOKEN", "xoxb-wrongWRONGwrong", "invalid_auth"),
        (line.hook(), "FXCARRY_FAKE_SLACK_WEBHOOK", f"{line.server.url}/services/T1/B1/wrongWRONG", "no_service"),
    ):
        monkeypatch.setenv(variable, value)
        for call in (lambda channel=channel: channel.notify(alert()), channel.check):
            with pytest.raises(NotifierError, match=code) as caught:
                call()
            assert caught.value.fields["is_final"]
            assert "wrongWRONG" not in str(caught.value)


@pytest.mark.parametrize("way", ["bot", "hook"])
def test_a_busy_slack_is_waited_for(line: Line, way: str) -> None:
    channel = getattr(line, way)()
    line.server.fail("POST *", "busy")
    channel.notify(alert())
    assert (len(line.fake.posts), len(line.server.requests)) == (1, 2)


@pytest.mark.parametrize("way", ["bot", "hook"])
def test_one_that_asks_for_longer_than_there_is_patience_is_left_to_later(line: Line, way: str) -> None:
    channel = getattr(line, way)()
    line.server.retry_after = 30
    line.server.fail("POST *", "busy")
    with pytest.raises(NotifierError) as caught:
        channel.notify(alert())
    assert not isinstance(caught.value, DeliveryUnknown)
    assert caught.value.fields == {"is_final": False, "retry_after": 30.0}


@pytest.mark.parametrize("code", ["ratelimited", "rate_limited"])
def test_a_limit_that_is_said_in_words_is_no_end(line: Line, code: str) -> None:
    channel = line.bot()
    line.fake.errors = [code]
    with pytest.raises(NotifierError, match=code) as caught:
        channel.notify(alert())
    assert caught.value.fields == {"is_final": False, "retry_after": 30.0}


@pytest.mark.parametrize("way", ["bot", "hook"])
@pytest.mark.parametrize("fault", ["hangs", "reset", "unanswered", "failed", "unavailable", "lost", "garbled"])
def test_no_answer_is_no_refusal_and_nothing_is_sent_again(line: Line, way: str, fault: Any) -> None:
    channel = getattr(line, way)(timeout=0.5 if fault == "hangs" else 10.0)
    line.server.fail("POST *", fault)
    began = time.monotonic()
    with pytest.raises(DeliveryUnknown):
        channel.notify(alert())
    assert time.monotonic() - began < 5.0
    assert len(line.server.requests) == 1
    channel.notify(alert("the next one"))
    assert line.fake.posts[-1].shown.count("the next one") > 0


@pytest.mark.parametrize(("way", "code"), [("bot", "fatal_error"), ("bot", "internal_error"), ("hook", "rollup_error")])
def test_a_slack_that_fails_may_have_posted_it(line: Line, way: str, code: str) -> None:
    channel = getattr(line, way)()
    line.fake.errors = [code]
    with pytest.raises(DeliveryUnknown):
        channel.notify(alert())


@pytest.mark.parametrize("body", [b'{"status": 404}', b"[]", b"<html>", b""])
def test_what_is_no_answer_of_slacks_is_a_doubt(line: Line, body: bytes) -> None:
    with WireServer(lambda request: Reply(200, body)) as proxy:
        for channel in (bot(line.fake, proxy.url, line.patch), hook(line.fake, proxy.url, line.patch)):
            with pytest.raises(DeliveryUnknown, match="proxy"):
                channel.notify(alert())
            channel.close()


def test_an_answer_that_trickles_is_left_behind(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def bytes_for_ever() -> Iterator[bytes]:
        while not is_over.wait(0.05):
            yield b" "

    is_over = threading.Event()
    monkeypatch.setattr(channels, "_PATIENCE", 0.2)
    with WireServer(lambda request: Reply(200, bytes_for_ever())) as slow:
        channel = hook(line.fake, slow.url, line.patch, timeout=0.5)
        began = time.monotonic()
        with pytest.raises(DeliveryUnknown, match="did not end"):
            channel.notify(alert())
        assert time.monotonic() - began < 5.0
        is_over.set()


def test_no_connection_is_certain(line: Line) -> None:
    for channel in (line.bot(), line.hook()):
        with line.server.refuse(), pytest.raises(NotifierError) as caught:
            channel.notify(alert())
        assert not isinstance(caught.value, DeliveryUnknown)
        assert not caught.value.fields["is_final"]


def test_no_secret_is_told(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for channel, secret in (
        (line.bot(timeout=1.0), line.fake.token),
        (line.hook(timeout=1.0), "fakeFAKEfakeFAKE"),
    ):
        line.fake.errors = [f"the token {secret} is bad", f"the token {secret} is bad"]
        with pytest.raises(NotifierError) as caught:
            channel.notify(alert())
        line.server.fail("POST *", "hangs")
        with pytest.raises(DeliveryUnknown) as unsure:
            channel.notify(alert())
        for text in (str(caught.value), str(unsure.value), repr(channel), caplog.text):
            assert secret not in text
        line.fake.errors = []


# --- settings and checks ----------------------------------------------------------------------------------------------


def test_a_check_asks_and_posts_nothing(line: Line) -> None:
    assert line.bot().check().startswith("the bot is fxcarry in Fake; would post to C0123456789")
    assert line.hook().check().startswith("the webhook is known to Slack")
    assert line.fake.posts == []


@pytest.mark.parametrize("way", ["bot", "hook"])
@pytest.mark.parametrize("fault", ["hangs", "reset", "unanswered", "failed", "unavailable", "garbled", "error"])
def test_a_check_that_fails_speaks_of_no_message(line: Line, way: str, fault: Any) -> None:
    channel = getattr(line, way)(timeout=0.5 if fault == "hangs" else 10.0)
    if fault == "error":
        line.fake.errors = ["fatal_error"] * 9
    else:
        line.server.fail("*", fault, times=9)
    with pytest.raises(NotifierError) as caught:
        channel.check()
    assert not isinstance(caught.value, DeliveryUnknown)
    assert not caught.value.fields["is_final"]
    assert "posted" not in str(caught.value)
    assert caught.value.hint


def test_a_scope_that_is_missing_is_found(line: Line) -> None:
    line.fake.scopes = "channels:read,users:read"
    with pytest.raises(NotifierError, match="missing_scope") as caught:
        line.bot().check()
    assert "chat:write" in caught.value.hint


TOKEN, HOOK = Secret("env", "T"), Secret("env", "W")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "neither webhook nor token is set"),
        ({"token": TOKEN, "webhook": HOOK, "channel": "#a"}, "both webhook and token are set"),
        ({"token": TOKEN}, "channel is ''"),
        ({"token": TOKEN, "channel": "alerts"}, "channel is 'alerts'"),
        ({"token": TOKEN, "channel": "#two words"}, "channel is '#two words'"),
        ({"webhook": HOOK, "channel": "#alerts"}, "with a webhook"),
        ({"webhook": HOOK, "mention": ("ann",)}, "mention has 'ann'"),
        ({"webhook": HOOK, "timeout": 0.0}, "timeout is 0.0"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SlackConfig(**settings)


def test_a_webhook_that_is_no_address_is_not_repeated(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = line.hook()
    monkeypatch.setenv("FXCARRY_FAKE_SLACK_WEBHOOK", "hooks.slack.com/services/sEcReT")
    with pytest.raises(ConfigError, match="is no address") as caught:
        channel.notify(alert())
    assert "sEcReT" not in str(caught.value)


def test_the_component() -> None:
    component = load().get("notifier", "slack")
    assert component.config is SlackConfig
    assert SlackConfig(token=TOKEN, channel="#alerts").mentions == ""
