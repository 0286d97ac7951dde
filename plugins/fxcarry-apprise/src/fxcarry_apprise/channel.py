"""The channel: an alert to each service, and what became of it.

Apprise answers yes or no, and says why in its log. What it says there is read, in the thread of the call: whether the
service refused, could not be reached, or may have taken the alert all the same.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fxcarry.alerts import one_line, words
from fxcarry.errors import ConfigError, DeliveryUnknown, NotifierError
from fxcarry.model import Alert
from fxcarry_apprise import AppriseConfig

_LOG = logging.getLogger("fxcarry.apprise")
_SCHEME = re.compile(r"([A-Za-z0-9]{1,20})://")
_STATUS = re.compile(r"error=(\d{3})")
_NOT_CONNECTED = (
    "Failed to establish a new connection",
    "NewConnectionError",
    "ConnectTimeoutError",
    "NameResolutionError",
    "SSLError",
    "ProxyError",
)
_SHOWN = 200  # characters of what Apprise says
_TOKEN = 6  # characters from which on a part of an address may be a secret
_MASK = "********"


class AppriseNotifier:
    """Alerts through Apprise. Every service is told, whatever became of the others.

    ``notify`` returns when one service at least has taken the alert; that another has not is in the log. It raises
    NotifierError where none took it, and DeliveryUnknown where none took it for certain and nobody knows of some.
    """

    name = "apprise"

    def __init__(self, config: AppriseConfig) -> None:
        self._config = config

    def __repr__(self) -> str:
        return f"AppriseNotifier({len(self._config.urls)} services)"

    def notify(self, alert: Alert) -> None:
        """Tell every service; see the class for what is raised."""
        failed: list[NotifierError] = []
        for i in self._places():
            try:
                self._tell(i, alert)
            except NotifierError as error:
                failed.append(error)
        if not failed:
            return
        what = "; ".join(error.message for error in failed)
        hint = "; ".join(dict.fromkeys(error.hint for error in failed if error.hint))
        if len(failed) < len(self._config.urls):
            _LOG.warning("%d of %d services were not told: %s (%s)", len(failed), len(self._config.urls), what, hint)
        elif any(isinstance(error, DeliveryUnknown) for error in failed):
            raise DeliveryUnknown(what, hint=hint)
        else:
            is_final = all(error.fields.get("is_final") for error in failed)
            raise NotifierError(what, hint=hint, fields={"is_final": is_final})

    def check(self) -> str:
        """Read every address and name its service. Apprise has no way to ask a service that tells nobody."""
        names = [str(self._service(i, self._config.urls[i].reveal().strip()).service_name) for i in self._places()]
        return one_line(f"{', '.join(names)}: understood; they are asked only by an alert")

    # -- one service -----------------------------------------------------------------------------------------------

    def _places(self) -> range:
        return range(len(self._config.urls))

    def _tell(self, i: int, alert: Alert) -> None:
        import apprise

        url = self._config.urls[i].reveal().strip()
        service, said = self._service(i, url), words(alert)
        kinds = {"info": apprise.NotifyType.INFO, "warning": apprise.NotifyType.WARNING}
        kind = apprise.NotifyType.SUCCESS if alert.is_over else kinds.get(alert.severity, apprise.NotifyType.FAILURE)
        with _heard() as lines:
            is_good = service.notify(  # of the service itself: Apprise's own would do it in another thread
                title=said.subject,
                body=said.text().removeprefix(said.subject).strip() or said.title,
                notify_type=kind,
                body_format=apprise.NotifyFormat.TEXT,
            )
        if not is_good:
            raise self._failure(self._called(i, url), url, lines)

    def _service(self, i: int, url: str) -> Any:
        """The service of an address, made anew: nothing is kept between two alerts. ConfigError where there is none."""
        import apprise

        asset = apprise.AppriseAsset(async_mode=False, interpret_escapes=False, app_id="fxcarry", app_desc="fxcarry")
        with _heard():
            service = apprise.Apprise.instantiate(url, asset=asset)
        if service is None:
            where = self._config.urls[i]
            raise ConfigError(
                f"{self._called(i, url)}, in {where.source} {where.where!r}, is no address that Apprise understands",
                hint="the Apprise documentation has the form of each service",
            )
        service.socket_connect_timeout = min(5.0, self._config.timeout)
        service.socket_read_timeout = self._config.timeout
        service.overflow_mode = apprise.OverflowMode.TRUNCATE  # one alert is one message
        service.retry = 0  # it would repeat what may have arrived
        return service

    def _called(self, i: int, url: str) -> str:
        """A service by its number and scheme; an address is never shown."""
        scheme = _SCHEME.match(url)
        return f"service {i + 1}" + (f" ({scheme[1].lower()})" if scheme else "")

    def _failure(self, who: str, url: str, lines: list[str]) -> NotifierError:
        told = " ".join(lines)
        status = next((int(found[1]) for found in _STATUS.finditer(told)), 0)
        said = _without(url, one_line("; ".join(line for line in lines if "Exception" not in line)))[:_SHOWN]
        what = f"{who}: {said or 'not delivered, and Apprise does not say why'}"
        if status == 429 or any(sign in told for sign in _NOT_CONNECTED):
            hint = "too many messages: it is tried again later" if status else "check the network and the address"
            return NotifierError(what, hint=hint, fields={"is_final": False})
        if 400 <= status < 500:
            return NotifierError(what, hint="check the token and the target in the address", fields={"is_final": True})
        return DeliveryUnknown(what, hint="it may have arrived, and is not sent again")


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What Apprise logs meanwhile in this thread, which nobody else hears: it may hold parts of an address."""
    lines: list[str] = []
    me, log = threading.get_ident(), logging.getLogger("apprise")

    class Ear(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            if record.thread != me:
                return True
            text = record.getMessage()
            if record.levelno >= logging.WARNING or "Exception" in text:
                lines.append(text)
            return False

    ear, level = Ear(), log.level
    log.addFilter(ear)
    log.setLevel(logging.DEBUG)  # why there was no connection is said there
    try:
        yield lines
    finally:
        log.setLevel(level)
        log.removeFilter(ear)


def _without(url: str, text: str) -> str:
    """``text`` without the parts of an address that may be secret."""
    parts = {part for part in re.split(r"[/:@?&=,#]+", url.partition("://")[2]) if len(part) >= _TOKEN}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, _MASK)
    return text
