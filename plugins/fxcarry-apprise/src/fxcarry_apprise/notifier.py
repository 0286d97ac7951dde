"""The channel: one alert to every address, each told whatever becomes of the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fxcarry.errors import ConfigError, DeliveryUnknown, FxCarryError, NotifierError
from fxcarry.model import Alert
from fxcarry.secrets import Secret
from fxcarry_apprise.delivery import Delivery

if TYPE_CHECKING:
    from apprise.plugins.base import NotifyBase

_log = logging.getLogger("fxcarry.apprise")
_TIMEOUTS = 3  # a call ends after so many
_LOOK = "it may have been delivered: look there"


class AppriseNotifier:
    """Alerts to ``urls`` over apprise, to all at once.

    An alert is delivered when one address has taken it: those that did not are named in the log, and it is not sent
    again. ``timeout`` is seconds to connect and between two bytes of an answer; a call ends after three of them.
    """

    name = "apprise"

    def __init__(self, urls: Sequence[Secret], *, timeout: float = 10.0) -> None:
        self._urls = tuple(urls)
        self._timeout = timeout

    def check(self) -> str:
        """The services of the addresses; ConfigError names the first that apprise does not understand."""
        services = ", ".join(str(one.service().service_name) for one in self._deliveries())
        return f"{services}: understood; nothing was sent, apprise cannot ask"

    def notify(self, alert: Alert) -> None:
        """Tell every address once.

        Where none has taken it: DeliveryUnknown if one of them may have, ConfigError if apprise understands none,
        else NotifierError.
        """
        deliveries = self._deliveries()
        outcomes: dict[int, FxCarryError | None] = {}
        threads = []
        for one in deliveries:
            try:
                service = one.service()
            except ConfigError as error:
                outcomes[one.number] = error
            else:
                settings = (one, service, alert, outcomes)
                threads.append(threading.Thread(target=_send, args=settings, name="apprise", daemon=True))
        for thread in threads:
            thread.start()
        end = time.monotonic() + _TIMEOUTS * self._timeout
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        late = f"no end after {_TIMEOUTS * self._timeout:g} seconds"
        done = dict(outcomes)  # a thread that comes too late adds to the other one
        failures = [
            done[one.number] if one.number in done else DeliveryUnknown(f"{one.where()}: {late}", hint=_LOOK)
            for one in deliveries
        ]
        errors = [error for error in failures if error is not None]
        if errors and len(errors) < len(deliveries):
            for missed in errors:
                _log.warning("an alert reached other addresses, but not this one: %s", missed)
        elif errors:
            raise _all_in_one(errors)

    def _deliveries(self) -> list[Delivery]:
        return [Delivery(number, url, timeout=self._timeout) for number, url in enumerate(self._urls, 1)]

    def __repr__(self) -> str:
        return f"AppriseNotifier({len(self._urls)} addresses, timeout={self._timeout:g})"


def _send(delivery: Delivery, service: NotifyBase, alert: Alert, outcomes: dict[int, FxCarryError | None]) -> None:
    """What became of one delivery, in a thread of its own."""
    try:
        delivery.send(service, alert)
        outcomes[delivery.number] = None
    except FxCarryError as error:
        outcomes[delivery.number] = error


def _all_in_one(errors: Sequence[FxCarryError]) -> FxCarryError:
    """The failure of a call of which no address took the alert."""
    if len(errors) == 1:
        return errors[0]
    what = "; ".join(error.message for error in errors)
    hint = "; ".join(dict.fromkeys(error.hint for error in errors if error.hint))
    if any(isinstance(error, DeliveryUnknown) for error in errors):
        return DeliveryUnknown(what, hint=hint)
    if all(isinstance(error, ConfigError) for error in errors):
        return ConfigError(what, hint=hint)
    is_final = all(isinstance(error, ConfigError) or error.fields.get("is_final", False) for error in errors)
    return NotifierError(what, hint=hint, fields={"is_final": is_final})
