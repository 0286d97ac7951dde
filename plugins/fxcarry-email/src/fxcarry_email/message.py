"""An alert as a mail."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage

from fxcarry.alerts import AlertKind, words
from fxcarry.errors import ConfigError
from fxcarry.model import Alert
from fxcarry.occasions import report_html
from fxcarry_email.page import alert_html

_POLICY = policy.SMTP.clone(cte_type="7bit")  # every server takes it


def compose(alert: Alert, sender: Address, to: Sequence[Address], now: datetime) -> EmailMessage:
    """The mail of an alert: text, and the same as HTML; a digest has its report attached.

    Its Message-ID follows from the alert, so that a repeat is known as one. Alerts with a key refer to an id of kind
    and key, so that a condition and its end are one thread.
    """
    said = words(alert)
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = tuple(to)
    message["Subject"] = said.subject.replace("=?", "= ?")  # else it is decoded, to line breaks too
    message["Date"] = now
    message["Message-ID"] = _id(
        sender, alert.at.isoformat(), alert.kind, alert.severity, alert.key, str(alert.is_over), alert.message
    )
    if alert.key:
        thread = _id(sender, alert.kind, alert.key)
        message["In-Reply-To"] = thread
        message["References"] = thread
    message["Auto-Submitted"] = "auto-generated"
    if alert.severity == "critical":
        message["X-Priority"] = "1"
        message["Importance"] = "high"
    message.set_content(said.text() + "\n")
    message.add_alternative(alert_html(alert), subtype="html")
    if alert.kind == AlertKind.DIGEST:
        with suppress(ConfigError):  # a digest of somebody else's has no report
            report = report_html(alert.fields)
            message.add_attachment(report, subtype="html", filename=_filename(alert))
    return message


def _filename(alert: Alert) -> str:
    """``fxcarry-2025-03-14-weekly.html``: the trade date a digest is of, and its period."""
    day = alert.fields.get("date", f"{alert.at.astimezone(UTC):%Y-%m-%d}")
    return f"fxcarry-{day}-{alert.fields['period']}.html"


def _id(sender: Address, *parts: str) -> str:
    said = json.dumps([sender.addr_spec, *parts])
    return f"<{hashlib.sha256(said.encode('ascii')).hexdigest()[:40]}@{sender.domain}>"
