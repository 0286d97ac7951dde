"""A channel of alerts that keeps what it was given."""

from __future__ import annotations

from fxcarry.model import Alert


class Channel:
    """Every alert, in order."""

    name = "pager"

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def notify(self, alert: Alert) -> None:
        """Keep it."""
        self.alerts.append(alert)

    def said(self, kind: str, severity: str | None = None) -> list[str]:
        """The messages of a kind."""
        return [a.message for a in self.alerts if a.kind == kind and severity in (None, a.severity)]
