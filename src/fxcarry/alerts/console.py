"""The channel that is always there."""

from __future__ import annotations

import sys

from fxcarry.alerts.words import in_a_line, one_line
from fxcarry.model import Alert


class ConsoleNotifier:
    """Alerts as lines on the standard error stream; what breaks one or steers a terminal is written as ``\\x1b``."""

    name = "console"
    per_hour = None  # it costs nothing
    is_local = True

    def notify(self, alert: Alert) -> None:
        """Print one line."""
        text, over = in_a_line(alert.message), " is over" if alert.is_over else ""
        sys.stderr.write(f"{alert.at:%Y-%m-%d %H:%M:%S} {alert.severity}: {one_line(alert.kind)}{over}: {text}\n")
