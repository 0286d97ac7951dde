"""One address of apprise: what it is, one message to it, and why that failed.

apprise answers with true or false and writes why to its log. Its records are taken from there while a call is under
way, and go nowhere else: they can hold parts of an address.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote, unquote_plus

import attrs

from fxcarry.alerts.words import one_line, words
from fxcarry.errors import ConfigError, DeliveryUnknown, NotifierError
from fxcarry.model import Alert
from fxcarry.secrets import Secret

if TYPE_CHECKING:
    from apprise import NotifyType
    from apprise.plugins.base import NotifyBase

_MASK = "********"
_SHOWN = 300  # characters of a reason
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://")
_STATUS = re.compile(r"error\s*[=:]\s*(\d{3})\b")
_IN_VAIN = {400, 401, 403, 404, 410}
_QUIET = ("apprise", "urllib3.connectionpool")  # urllib3 logs the path of every call, and it can hold a token


@attrs.frozen
class _Heard:
    """A warning of apprise, and whether it was about an answer, a call that never left, or one without an answer."""

    text: str
    means: Literal["answered", "not sent", "unknown"]


_hearing: ContextVar[list[_Heard] | None] = ContextVar("fxcarry_apprise_hearing", default=None)


class Delivery:
    """Messages to one address, the ``number``-th of the list."""

    def __init__(self, number: int, url: Secret, *, timeout: float) -> None:
        self.number = number
        self._url = url
        self._timeout = timeout

    def scheme(self) -> str:
        """What stands before ``://``; no other part of an address is ever shown."""
        found = _SCHEME.match(self._url.reveal().strip())
        return found[1].lower() if found else "no scheme"

    def where(self) -> str:
        """How a text names the address."""
        return f"address {self.number} of urls ({self.scheme()})"

    def send(self, service: NotifyBase, alert: Alert) -> None:
        """One message to what :meth:`service` gave, sent once. Raises NotifierError or DeliveryUnknown."""
        from apprise import Apprise, NotifyFormat

        said = words(alert)
        is_taken, crash = False, ""
        with _listening() as heard:
            try:
                is_taken = bool(
                    Apprise(service, asset=service.asset).notify(
                        body=said.text(),
                        title=one_line(f"fxcarry {alert.severity}: {said.title}"),
                        notify_type=_type(alert),
                        body_format=NotifyFormat.TEXT,
                        interpret_escapes=False,
                    )
                )
            except Exception as error:  # raised below, so that no error chain holds the address
                crash = f"{type(error).__name__}: {error}"
        if not is_taken:
            raise self._failure(heard, crash, targets=len(service))

    def service(self) -> NotifyBase:
        """What is at the address, made to send once, in one piece, within the time-outs. The first one loads apprise.

        Raises ConfigError where apprise does not understand the address.
        """
        from apprise import Apprise, AppriseAsset, OverflowMode

        url = self._url.reveal().strip()
        asset = AppriseAsset(app_id="fxcarry", async_mode=False, interpret_escapes=False, interpret_emojis=False)
        asset._service_timeout = 0.0  # unknown before apprise 2; its own wait is in a thread that outlives it
        with _listening():
            service = Apprise.instantiate(url, asset=asset)
        if service is None:
            raise ConfigError(
                f"{self.where()} is none that apprise understands",
                hint="write it as apprise's page of the service says; what is in an address is percent-encoded",
                fields={"number": self.number},
            )
        service.socket_connect_timeout = service.socket_read_timeout = self._timeout
        service.overflow_mode = OverflowMode.TRUNCATE
        service.retry = 0
        service.optional = False
        return service

    def _failure(self, heard: list[_Heard], crash: str, *, targets: int) -> NotifierError:
        why = "; ".join(one.text for one in heard) or crash or "apprise did not say why"
        why = one_line(_masked(why, self._url.reveal()))[:_SHOWN]
        statuses = [int(status) for one in heard for status in _STATUS.findall(one.text)]
        is_unknown = any(one.means == "unknown" for one in heard) or any(status >= 500 for status in statuses)
        if crash or not heard or is_unknown or targets > len(heard):
            return DeliveryUnknown(
                f"{self.where()}: {why}",
                hint="it may have been delivered: look there"
                + ("; give each target an address of its own" if targets > 1 else ""),
            )
        is_final = bool(statuses) and all(status in _IN_VAIN for status in statuses)
        hint = "check the address, its key and what it may do" if is_final else "it was not delivered; try again later"
        return NotifierError(f"{self.where()}: {why}", hint=hint, fields={"is_final": is_final})


class _Listener(logging.Filter):
    """Takes the records of a call under way for itself; others pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        heard = _hearing.get()
        if heard is not None and record.name == "apprise" and record.levelno >= logging.WARNING:
            heard.append(_Heard(record.getMessage(), _meaning(sys.exc_info()[1])))
        return heard is None


_LISTENER = _Listener()


@contextmanager
def _listening() -> Iterator[list[_Heard]]:
    """What apprise warns of in this context; nothing of it is logged."""
    for name in _QUIET:
        logging.getLogger(name).addFilter(_LISTENER)  # once, however often
    log = logging.getLogger("apprise")
    if not log.isEnabledFor(logging.WARNING):
        log.setLevel(logging.WARNING)
    heard: list[_Heard] = []
    token = _hearing.set(heard)
    try:
        yield heard
    finally:
        _hearing.reset(token)


def _meaning(error: BaseException | None) -> Literal["answered", "not sent", "unknown"]:
    """What the exception that apprise is about to swallow says of the call."""
    from fxcarry.http import is_unsent

    if error is None:
        return "answered"
    return "not sent" if is_unsent(error) else "unknown"


def _masked(text: str, url: str) -> str:
    """``text`` without any part of an address but its scheme."""
    parts = re.split(r"[/:@?&=,#]+", _SCHEME.sub("", url, count=1))
    spelled = {spell(part) for part in parts for spell in (str, unquote, unquote_plus, lambda p: quote(p, safe=""))}
    for part in sorted((p for p in spelled if p.strip()), key=len, reverse=True):
        pattern = re.escape(part) if len(part) > 3 else rf"(?<!\w){re.escape(part)}(?!\w)"
        text = re.sub(pattern, _MASK, text, flags=re.IGNORECASE)
    return text


def _type(alert: Alert) -> NotifyType:
    """The colour and sign that services give a message."""
    from apprise import NotifyType

    if alert.is_over:
        return NotifyType.SUCCESS
    return {"info": NotifyType.INFO, "warning": NotifyType.WARNING, "critical": NotifyType.FAILURE}[alert.severity]
