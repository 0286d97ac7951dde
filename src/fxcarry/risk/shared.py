"""What the rules share: their codes, and how a limit is compared."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs
import numpy as np

from fxcarry.conventions import session_end, trade_date
from fxcarry.errors import ConfigError

SLACK = 1e-9
"""A number counts as at its limit from this much (relative) before it on."""


class Code(StrEnum):
    """Why a rule says what it says: ``Verdict.code``."""

    OK = "OK"
    POSITION_TOO_LARGE = "POSITION_TOO_LARGE"
    STOP_LOSS = "STOP_LOSS"
    TOO_MANY_CURRENCIES = "TOO_MANY_CURRENCIES"
    EXPOSURE_TOO_LARGE = "EXPOSURE_TOO_LARGE"
    DAILY_LOSS = "DAILY_LOSS"
    DRAWDOWN = "DRAWDOWN"
    QUOTE_STALE = "QUOTE_STALE"
    MARGIN_CLOSEOUT = "MARGIN_CLOSEOUT"


def fraction(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    """A validator: a finite number above zero."""
    if not (np.isfinite(value) and value > 0):
        raise ConfigError(f"{attribute.name} is {value}", hint="a fraction of NAV > 0, such as 0.30 for 30 %")


def first(where: Any) -> int | None:
    """The place of the first True, None where there is none."""
    at = int(where.argmax()) if len(where) else 0
    return at if len(where) and where[at] else None


def next_day_end(at: datetime) -> datetime:
    """The first 17:00 New York strictly after ``at``."""
    return session_end(trade_date(at))
