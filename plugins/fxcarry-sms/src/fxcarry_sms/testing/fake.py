"""Twilio's messages, account and balance, with its error bodies."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import attrs

from fxcarry.testing import Reply, Request, WireServer
from fxcarry_sms.gsm import segments

ACCOUNT = "AC" + "0123456789abcdef" * 2
SECRET = "fake-secret-of-32-characters-0000"
_API = "/2010-04-01/Accounts"
_MOST = 1600  # characters of a body
_REFUSALS: Mapping[int, tuple[int, str]] = {
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    21211: (400, "The 'To' number {to} is not a valid phone number."),
    21212: (400, "The 'From' number {sender} is not a valid phone number, shortcode, or alphanumeric sender ID."),
    21408: (400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {to}."),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21606: (400, "The From phone number {sender} is not a valid, SMS-capable inbound phone number for your account."),
    21608: (400, "The number {to} is unverified. Trial accounts cannot send messages to unverified numbers."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21611: (429, "This 'From' number has exceeded the maximum number of queued messages"),
    21614: (400, "'To' number {to} is not a valid mobile number"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21659: (400, "{sender} is not a Twilio phone number or Short Code country mismatch"),
}


@attrs.frozen
class Text:
    """A message that was taken. ``sender`` is a number, a name or a messaging service."""

    sid: str
    to: str
    sender: str
    body: str
    at: datetime
    status: str = "queued"


class FakeTwilio:
    """One account. ``texts`` are the messages it took, oldest first.

    ``is_blind`` says that its list does not show new messages, as a list that lags does. ``fate`` is the status of
    those it takes from now on.
    """

    def __init__(self, *, account_sid: str = ACCOUNT, api_key: str = "", secret: str = SECRET) -> None:
        self.account_sid, self.api_key, self.secret = account_sid, api_key, secret
        self.texts: list[Text] = []
        self.status, self.type = "active", "Full"
        self.balance: str | None = "20.00"
        self.is_blind = False
        self.fate = "queued"
        self._refused: dict[str, tuple[int, str]] = {}

    def refuse(self, number: str, code: int, message: str = "") -> None:
        """From now on this number is refused, with one of Twilio's error codes."""
        self._refused[number] = code, message

    def serve(self) -> WireServer:
        """A server of it, to be used as a context manager."""
        return WireServer(self.answer)

    def answer(self, request: Request) -> Reply:
        """What Twilio answers."""
        pair = b64encode(f"{self.api_key or self.account_sid}:{self.secret}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {pair}":
            return _refusal(20003)
        account = f"{_API}/{self.account_sid}"
        routes = {
            ("POST", f"{account}/Messages.json"): self._send,
            ("GET", f"{account}/Messages.json"): self._list,
            ("GET", f"{account}.json"): self._account,
            ("GET", f"{account}/Balance.json"): self._balance,
        }
        route = routes.get((request.method, request.path))
        return _refusal(20404) if route is None else route(request)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _send(self, request: Request) -> Reply:
        form = dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))
        to, body = form.get("To", ""), form.get("Body", "")
        sender = form.get("MessagingServiceSid") or form.get("From", "")
        missing = next((code for code, value in ((21604, to), (21603, sender), (21602, body)) if not value), 0)
        if missing:
            return _refusal(missing)
        if to in self._refused:
            code, message = self._refused[to]
            return _refusal(code, message, to=to, sender=sender)
        if len(body) > _MOST:
            return _refusal(21617)
        text = Text(f"SM{len(self.texts) + 1:032x}", to, sender, body, datetime.now(UTC), self.fate)
        self.texts.append(text)
        return Reply.json(self._shown(text), 201)

    def _list(self, request: Request) -> Reply:
        query = request.query
        size = int(query.get("PageSize", 50))
        found = [] if self.is_blind else [t for t in reversed(self.texts) if query.get("To", t.to) == t.to][:size]
        path = f"{request.path}?{urlencode({**query, 'PageSize': size, 'Page': 0})}"
        page = {"page": 0, "page_size": size, "start": 0, "end": max(len(found) - 1, 0)}
        links = {"uri": path, "first_page_uri": path, "next_page_uri": None, "previous_page_uri": None}
        return Reply.json({**page, **links, "messages": [self._shown(text) for text in found]})

    def _account(self, request: Request) -> Reply:
        if self.api_key:  # a standard key may not
            return _refusal(20003)
        created = format_datetime(datetime(2025, 1, 2, tzinfo=UTC))
        return Reply.json(
            {
                "auth_token": self.secret,
                "date_created": created,
                "date_updated": created,
                "friendly_name": "fake",
                "owner_account_sid": self.account_sid,
                "sid": self.account_sid,
                "status": self.status,
                "subresource_uris": {"messages": f"{_API}/{self.account_sid}/Messages.json"},
                "type": self.type,
                "uri": request.path,
            }
        )

    def _balance(self, request: Request) -> Reply:
        if self.balance is None:
            return _refusal(20404)
        return Reply.json({"account_sid": self.account_sid, "balance": self.balance, "currency": "USD"})

    def _shown(self, text: Text) -> dict[str, Any]:
        is_service = text.sender.startswith("MG")
        path = f"{_API}/{self.account_sid}/Messages/{text.sid}"
        at = format_datetime(text.at)
        return {
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": text.body,
            "date_created": at,
            "date_sent": None,
            "date_updated": at,
            "direction": "outbound-api",
            "error_code": 30003 if text.status == "undelivered" else None,
            "error_message": None,
            "from": None if is_service else text.sender,
            "messaging_service_sid": text.sender if is_service else None,
            "num_media": "0",
            "num_segments": "0" if is_service else str(segments(text.body)),
            "price": None,
            "price_unit": "USD",
            "sid": text.sid,
            "status": "accepted" if is_service and text.status == "queued" else text.status,
            "subresource_uris": {"media": f"{path}/Media.json"},
            "to": text.to,
            "uri": f"{path}.json",
        }


def _refusal(code: int, message: str = "", **names: str) -> Reply:
    status, said = _REFUSALS[code]
    page = f"https://www.twilio.com/docs/errors/{code}"
    body = {"code": code, "message": message or said.format(**names), "more_info": page, "status": status}
    return Reply.json(body, status, {"WWW-Authenticate": 'Basic realm="Twilio API"'} if status == 401 else None)
