"""What a person should know: collected while the engine works, then kept in the journal, logged and handed to channels.

Nothing here stops the engine: a channel that fails is a record in the journal and a line in the log.
"""

from fxcarry.alerts.console import ConsoleNotifier
from fxcarry.alerts.heartbeat import Heartbeat, Watch, heartbeat
from fxcarry.alerts.kinds import AlertKind, Severity
from fxcarry.alerts.outbox import DeliveryState, Outbox
from fxcarry.alerts.routing import AlertSettings, Channel, Digest, Occasions, Rollover, Route
from fxcarry.alerts.telling import Alerts
from fxcarry.alerts.words import Words, in_a_line, one_line, printable, words

__all__ = [
    "AlertKind",
    "AlertSettings",
    "Alerts",
    "Channel",
    "ConsoleNotifier",
    "DeliveryState",
    "Digest",
    "Heartbeat",
    "Occasions",
    "Outbox",
    "Rollover",
    "Route",
    "Severity",
    "Watch",
    "Words",
    "heartbeat",
    "in_a_line",
    "one_line",
    "printable",
    "words",
]
