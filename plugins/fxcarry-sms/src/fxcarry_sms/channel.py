"""The channel: one call to Twilio for each number, and what became of it.

Twilio knows no key that makes a call harmless to repeat. A call that brought no answer is never made again; Twilio's
own list is asked once whether it has the message, and where it does not say so nobody knows.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from fxcarry.alerts.words import one_line, words
from fxcarry.errors import DeliveryUnknown, NotifierError
from fxcarry.http import Answer, Http, NoAnswer, NotSent
from fxcarry.model import Alert
from fxcarry_sms import SmsConfig
from fxcarry_sms.gsm import cut, segments, written

_LOG = logging.getLogger("fxcarry.sms")
_API = "/2010-04-01/Accounts"
_FAILED = {"failed", "undelivered", "canceled"}
_SKEW = timedelta(minutes=2)  # between this clock and Twilio's
_LOW = Decimal(5)  # of the account's currency
_REMEMBERED = 200  # messages that Twilio said it took
_SHOWN = 200  # characters of an error that are repeated

_CODES: Mapping[int, tuple[bool, str]] = {
    20003: (True, "check account_sid, api_key and secret in the Twilio console; is the account active?"),
    20404: (True, "check account_sid and url"),
    20429: (False, "too many calls: it is tried again later"),
    21211: (True, "correct the number in to"),
    21212: (True, "sender must be a number, short code or name of this account"),
    21408: (True, "allow the country under Messaging, Settings, Geo permissions"),
    21606: (True, "sender must be a number of this account that can send text messages there"),
    21608: (True, "a trial account sends to verified numbers only: verify it, or upgrade the account"),
    21610: (True, "the number has opted out with STOP: its owner must send START"),
    21611: (False, "the sender's queue is full: it is tried again later"),
    21614: (True, "the number in to is no mobile number"),
    21617: (True, "lower segments"),
    21659: (True, "sender must be a number or short code of this account"),
}
"""Of an error code of Twilio's whether trying again is in vain, and what to do."""


class SmsNotifier:
    """Alerts as text messages. Every number is told, whatever became of the others.

    ``notify`` returns when Twilio has taken the message for one number at least; that another was not told is in the
    log. It raises NotifierError where it took none, and DeliveryUnknown where it took none for certain and nobody knows
    of some.
    """

    name = "sms"

    def __init__(self, config: SmsConfig) -> None:
        self._config = config
        self._http = Http(
            config.url,
            basic=(config.api_key or config.account_sid, config.secret),
            connect_timeout=min(5.0, config.timeout),
            timeout=config.timeout,
            attempts=3,
            patience=config.timeout,
            deadline=2.5 * config.timeout,
        )
        self._messages = f"{_API}/{config.account_sid}/Messages.json"
        self._taken: deque[str] = deque(maxlen=_REMEMBERED)

    def __repr__(self) -> str:
        return f"SmsNotifier({self._config.account_sid}, {self._numbers()})"

    def notify(self, alert: Alert) -> None:
        """Tell every number; see the class for what is raised."""
        text = message(alert, self._config.segments)
        give_up = time.monotonic() + 3 * self._config.timeout
        failed: list[NotifierError] = []
        self._http.close()  # a connection left from the last alert may be dead without a sign: it would lose this one
        for number in self._config.to:
            try:
                if time.monotonic() > give_up:
                    raise NotifierError(f"{_short(number)} was not tried: Twilio is too slow", hint="it is tried later")
                self._tell(number, text)
            except NotifierError as error:
                failed.append(error)
        if not failed:
            return
        what = "; ".join(error.message for error in failed)
        hint = "; ".join(dict.fromkeys(error.hint for error in failed if error.hint))
        if len(failed) < len(self._config.to):
            _LOG.warning("%d of %d numbers were not told: %s (%s)", len(failed), len(self._config.to), what, hint)
        elif any(isinstance(error, DeliveryUnknown) for error in failed):
            raise DeliveryUnknown(what, hint=hint)
        else:
            waits = [float(error.fields["retry_after"]) for error in failed if error.fields.get("retry_after")]
            fields: dict[str, Any] = {"is_final": all(error.fields.get("is_final") for error in failed)}
            raise NotifierError(what, hint=hint, fields=fields | ({"retry_after": max(waits)} if waits else {}))

    def check(self) -> str:
        """Ask for the account, and send nothing. Says who would be told, and what is left of the balance."""
        account = f"{_API}/{self._config.account_sid}"
        if self._config.api_key:  # a standard key may not read the account itself
            self._read(self._messages, {"PageSize": 1})
            said = "the key may read messages"
        else:
            facts = self._read(f"{account}.json")
            status = str(facts.get("status"))
            if status != "active":
                raise NotifierError(
                    f"the Twilio account is {one_line(status)}",
                    hint="the Twilio console says why",
                    fields={"is_final": True},
                )
            said = "the account is active"
            if facts.get("type") == "Trial":
                said += " (a trial: verified numbers only)"
        return f"{said}; {self._balance(account)}would tell {self._numbers()}"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # -- one number ------------------------------------------------------------------------------------------------

    def _tell(self, number: str, text: str) -> None:
        begin = datetime.now(UTC) - _SKEW
        form = {"To": number, "Body": text}
        if self._config.messaging_service:
            form["MessagingServiceSid"] = self._config.messaging_service
        else:
            form["From"] = self._config.sender
        try:
            answer = self._http.send("POST", self._messages, form=form)
            taken = _object(answer) if answer.is_good else {}
            if answer.is_good and not taken.get("sid"):
                raise NoAnswer(f"an answer without a sid: {answer.text(_SHOWN)!r}", hint="is there a proxy?")
        except NotSent as error:
            raise self._not_taken(number, error) from None
        except NoAnswer as error:
            found = self._find(number, text, begin)
            if found is None:
                raise DeliveryUnknown(
                    self._masked(f"{_short(number)} may have been told: {error.message}"),
                    hint="it is not sent again; the message log in the Twilio console shows it",
                ) from None
            taken = found
        else:
            if not answer.is_good:
                raise self._refused(answer, _short(number))
        self._taken.append(str(taken["sid"]))
        if taken.get("status") in _FAILED:
            code = taken.get("error_code")
            raise NotifierError(
                f"{_short(number)} was not told: the message is {taken['status']}, with error {code}",
                hint=_page(code or 0, 400),
                fields={"is_final": False, "code": code},
            )
        _LOG.debug("Twilio took %s for %s: %s segments", taken["sid"], _short(number), segments(text))

    def _find(self, number: str, text: str, begin: datetime) -> Mapping[str, Any] | None:
        """The message in Twilio's list. It is not asked by the date of sending: what waits to be sent has none."""
        try:
            listed = self._read(self._messages, {"To": number, "PageSize": 20}).get("messages")
        except NotifierError as error:
            _LOG.debug("Twilio's list cannot be read: %s", error.message)
            return None
        for one in listed if isinstance(listed, list) else []:
            if (
                isinstance(one, dict)
                and one.get("sid")
                and one["sid"] not in self._taken
                and (one.get("to"), one.get("body")) == (number, text)
                and self._is_ours(one)
                and _instant(one.get("date_created")) >= begin
            ):
                return one
        return None

    def _is_ours(self, one: Mapping[str, Any]) -> bool:
        if self._config.messaging_service:
            return one.get("messaging_service_sid") == self._config.messaging_service
        return one.get("from") == self._config.sender

    # -- calls -----------------------------------------------------------------------------------------------------

    def _read(self, path: str, params: Mapping[str, str | int] | None = None) -> Mapping[str, Any]:
        """An object that Twilio answers with; NotifierError where it does not."""
        try:
            answer = self._http.send("GET", path, params=params)
            if answer.is_good:
                return _object(answer)
        except (NotSent, NoAnswer) as error:
            raise NotifierError(self._masked(error.message), hint=error.hint) from None
        raise self._refused(answer, "Twilio")

    def _balance(self, account: str) -> str:
        """What is left, as a clause; nothing where it cannot be read: an account below another has none."""
        try:
            facts = self._read(f"{account}/Balance.json")
            left = Decimal(str(facts.get("balance")))
            low = f", which is below {_LOW}: top it up" if left < _LOW else ""
        except (NotifierError, InvalidOperation):
            return ""
        return f"the balance is {left:.2f} {one_line(str(facts.get('currency') or ''))}{low}; "

    # -- what went wrong -------------------------------------------------------------------------------------------

    def _not_taken(self, number: str, error: NotSent) -> NotifierError:
        wait = error.fields.get("retry_after")
        fields = {"is_final": False} | ({"retry_after": wait} if wait is not None else {})
        return NotifierError(
            self._masked(f"{_short(number)} was not told: {error.message}"), hint=error.hint, fields=fields
        )

    def _refused(self, answer: Answer, whom: str) -> NotifierError:
        try:
            facts = _object(answer)
        except NoAnswer:
            facts = {}
        return self._error(whom, facts.get("code"), str(facts.get("message") or answer.text(_SHOWN)), answer.status)

    def _error(self, whom: str, code: Any, said: str, status: int) -> NotifierError:
        """A refusal in words. One that is not in the table is final unless its status says to come again."""
        number = code if isinstance(code, int) else 0
        is_final, hint = _CODES.get(number, (status not in (408, 409, 425), _page(number, status)))
        if number == 0 and status in (401, 403):
            is_final, hint = _CODES[20003]
        what = f"{whom}: Twilio refused with {number or status}: {one_line(said)[:_SHOWN]}"
        return NotifierError(self._masked(what), hint=hint, fields={"is_final": is_final, "code": number})

    def _masked(self, text: str) -> str:
        """``text`` without the secret, and with the numbers shortened."""
        for number in self._config.to:
            for spelling in (number, quote(number, safe="")):
                text = text.replace(spelling, _short(number))
        return self._http.masked(text)

    def _numbers(self) -> str:
        return ", ".join(map(_short, self._config.to))


def message(alert: Alert, limit: int) -> str:
    """An alert in at most ``limit`` segments: what happened and when; what the reader may do where that fits too."""
    said = words(alert)
    over = " over" if alert.is_over else ""
    head = f"fxcarry {one_line(alert.severity).upper()} {one_line(alert.kind)}{over}: "
    head, body, title, may = (_close(written(part)) for part in (head, said.happened, said.title, said.may))
    told, end = f"{head} {body or title}", f"\n{said.at}"
    whole = f"{told}\n{may}{end}"
    return whole if may and segments(whole) <= limit else cut(told, limit, end)


def _close(text: str) -> str:
    """``text`` without the spaces and empty lines that nobody wants to pay for."""
    return "\n".join(filter(None, (re.sub(" +", " ", line).strip() for line in text.split("\n"))))


def _object(answer: Answer) -> Mapping[str, Any]:
    facts = answer.json()
    if not isinstance(facts, dict):
        raise NoAnswer(f"expected an object, got {answer.text(_SHOWN)!r}", hint="is there a proxy?")
    return facts


def _instant(text: Any) -> datetime:
    """A time as Twilio writes it; long ago where it is none."""
    try:
        return parsedate_to_datetime(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)


def _short(number: str) -> str:
    """A number that can be told from others, and not be called."""
    return f"{number[:3]}…{number[-3:]}"


def _page(code: int, status: int) -> str:
    if code:
        return f"see https://www.twilio.com/docs/api/errors/{code}"
    return "is url Twilio's?" if status < 400 or status == 404 else "the Twilio console says more"
