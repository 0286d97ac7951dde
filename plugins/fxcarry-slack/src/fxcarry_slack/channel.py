"""The channel: one call to Slack for each alert, and what became of it.

Slack knows no key that makes a call harmless to repeat: what brought no answer is never sent again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from fxcarry.alerts import AlertKind, one_line
from fxcarry.errors import DeliveryUnknown, NotifierError
from fxcarry.http import Answer, Bucket, Http, NoAnswer, NotSent
from fxcarry.model import Alert
from fxcarry_slack import SlackConfig
from fxcarry_slack.blocks import message

_LOG = logging.getLogger("fxcarry.slack")
_SHOWN = 200  # characters of what Slack says
_PATIENCE = 5.0  # seconds that a message waits for its turn
_BURST = 4  # messages at once; then about one a second, as Slack asks
_INSTALL = "install the app again: in its settings under OAuth & Permissions, with the scope chat:write"
_REPORT = "please report it: the message was refused as it is"
_HINTS: Mapping[str, str] = {
    "invalid_auth": "check the token: it begins with xoxb-",
    "not_authed": "check the token: it begins with xoxb-",
    "token_revoked": _INSTALL,
    "token_expired": _INSTALL,
    "account_inactive": _INSTALL,
    "missing_scope": _INSTALL,
    "no_permission": _INSTALL,
    "channel_not_found": "check channel; the bot has to be in it: /invite it there",
    "not_in_channel": "/invite the bot to the channel",
    "is_archived": "the channel is archived: choose another, or unarchive it",
    "restricted_action": "an administrator of the workspace has to allow posting there",
    "invalid_token": "the webhook is revoked: make another under Incoming Webhooks in the app's settings",
    "no_service": "the webhook is gone: make another under Incoming Webhooks in the app's settings",
    "no_team": "the webhook is wrong: copy it again",
    "channel_is_archived": "the channel is archived: unarchive it, or make a webhook for another",
    "action_prohibited": "an administrator of the workspace has to allow posting there",
    "no_active_hooks": "the webhook is switched off: in the app's settings, turn Incoming Webhooks on",
    "team_disabled": "the workspace is closed: make a webhook in another",
    "invalid_payload": _REPORT,
    "invalid_blocks": _REPORT,
    "msg_blocks_too_long": _REPORT,
    "msg_too_long": _REPORT,
    "user_not_found": "the webhook is of a user who is gone: make another",
}
_THREAD_GONE = {
    "thread_not_found",
    "message_not_found",
    "cannot_reply_to_message",
    "invalid_thread_ts",
    "restricted_action_thread_locked",
    "restricted_action_non_threadable_channel",
}
_BUSY = {"ratelimited", "rate_limited", "message_limit_exceeded"}
_UNSURE = {"fatal_error", "internal_error", "service_unavailable", "request_timeout", "rollup_error"}
_ASKED = {"no_text", "invalid_payload", "missing_text_or_fallback_or_attachments"}
_FINAL = {400, 403, 404, 410}  # what a webhook answers where it will not take a message, now or later
_PROXY = "is there a proxy or a login page?"
_TWICE = f"it is not sent again, or it could be there twice; {_PROXY}"
_PAUSE = 30.0  # seconds until the next try where Slack says that it is busy and not for how long


class SlackNotifier:
    """Alerts to one channel of Slack.

    As a bot (``token``) the first alert of a process, and each ``engine-start``, begins a thread; what follows is in
    it, and critical alerts are shown in the channel too. A webhook knows no threads.
    """

    name = "slack"

    def __init__(self, config: SlackConfig) -> None:
        self._config = config
        self._thread: str | None = None
        self._http = Http(
            config.url if config.webhook is None else config.webhook,
            bearer=config.token,
            connect_timeout=min(5.0, config.timeout),
            timeout=config.timeout,
            attempts=3,
            patience=config.timeout,
            deadline=_PATIENCE + 3 * config.timeout,
            limits=[Bucket(_BURST, float(_BURST), patience=_PATIENCE)],
        )

    def __repr__(self) -> str:
        return f"SlackNotifier({self._config.channel or 'webhook'})"

    def notify(self, alert: Alert) -> None:
        """Post the alert. Raises NotifierError where Slack did not take it, DeliveryUnknown where nobody knows."""
        said = message(alert, self._config.mentions)
        self._http.close()  # a connection that was dropped while nothing was said would lose this one
        try:
            if self._config.webhook is not None:
                self._hook(said)
            else:
                self._speak(said, alert)
        except NoAnswer as error:
            raise DeliveryUnknown(f"Slack may have posted it: {error.message}", hint=_TWICE) from None

    def check(self) -> str:
        """Ask whether Slack would take an alert, and post none. Raises NotifierError where it would not."""
        try:
            return self._whoami() if self._config.webhook is None else self._knock()
        except NoAnswer as error:
            fields = {"is_final": False}
            raise NotifierError(f"Slack does not say: {error.message}", hint=error.hint, fields=fields) from None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # -- calls: NotifierError where nothing was posted, NoAnswer where nobody knows --------------------------------

    def _hook(self, said: Mapping[str, Any]) -> None:
        answer = self._answered(lambda: self._http.send("POST", "", said))
        text = one_line(answer.text(_SHOWN))
        if answer.is_good and text != "ok":
            raise NoAnswer(f"it answered {text!r}, not ok", hint=_PROXY)
        if not answer.is_good:
            raise self._refused(text, answer.status)

    def _knock(self) -> str:
        answer = self._answered(lambda: self._http.send("POST", "", {}))
        said = one_line(answer.text(_SHOWN))
        if answer.status == 400 and said in _ASKED:
            return "the webhook is known to Slack (it refused an empty message, as it should)"
        raise self._refused(said, answer.status)

    def _speak(self, said: Mapping[str, Any], alert: Alert) -> None:
        if alert.kind == AlertKind.ENGINE_START:
            self._thread = None
        try:
            self._post(said, alert)
        except _Gone:
            self._thread = None
            self._post(said, alert)

    def _post(self, said: Mapping[str, Any], alert: Alert) -> None:
        form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in said.items()}
        form["channel"] = self._config.channel
        if self._thread is not None:
            form["thread_ts"] = self._thread
            if alert.severity == "critical":
                form["reply_broadcast"] = "true"
        _, facts = self._called(lambda: self._http.send("POST", "/chat.postMessage", form=form))
        posted = facts.get("message")
        is_reply = self._thread is not None and not (isinstance(posted, dict) and "thread_ts" not in posted)
        if not is_reply and isinstance(facts.get("ts"), str):  # the first, or Slack put it beside a thread that is gone
            self._thread = facts["ts"]

    def _whoami(self) -> str:
        answer, facts = self._called(lambda: self._http.get("/auth.test"))
        scopes = answer.headers.get("x-oauth-scopes")
        if scopes is not None and "chat:write" not in [scope.strip() for scope in scopes.split(",")]:
            raise self._refused("missing_scope", answer.status)
        who = one_line(f"{facts.get('user')} in {facts.get('team')}")
        return f"the bot is {who}; would post to {self._config.channel}, which Slack does not say before it is done"

    def _answered(self, call: Callable[[], Answer]) -> Answer:
        """The answer of a call."""
        try:
            return call()
        except NotSent as error:
            wait = error.fields.get("retry_after") or error.fields.get("wait")
            fields = {"is_final": False} | ({} if wait is None else {"retry_after": wait})
            raise NotifierError(f"Slack did not take it: {error.message}", hint=error.hint, fields=fields) from None

    def _called(self, call: Callable[[], Answer]) -> tuple[Answer, Mapping[str, Any]]:
        """The good answer of a method of the Web API, which says itself whether it is one."""
        answer = self._answered(call)
        facts = answer.json()
        if isinstance(facts, dict) and facts.get("ok") is True:
            return answer, facts
        if isinstance(facts, dict) and facts.get("ok") is False:
            raise self._refused(str(facts.get("error")), answer.status)
        raise NoAnswer(f"{answer.text(_SHOWN)!r} is no answer of Slack's", hint=_PROXY)

    def _refused(self, said: str, status: int) -> NotifierError | NoAnswer:
        """What a refusal is: of the alert, or of the thread, or none that is certain."""
        code = self._http.masked(one_line(said))[:_SHOWN]
        what = f"Slack refused with {code or status}"
        if said in _UNSURE:
            return NoAnswer(f"it failed with {code}", hint="try it again, and see whether Slack has trouble")
        if said in _THREAD_GONE:
            return _Gone(what)
        if said in _BUSY:
            fields = {"is_final": False, "retry_after": _PAUSE}
            return NotifierError(what, hint="too many messages: it is tried again later", fields=fields)
        hint = _HINTS.get(said, "see the errors of chat.postMessage and of incoming webhooks in Slack's documentation")
        return NotifierError(what, hint=hint, fields={"is_final": said in _HINTS or status in _FINAL})


class _Gone(NotifierError):
    """The thread is gone; nothing was posted."""
