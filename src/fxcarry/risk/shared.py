"""What the rules share: their codes, and how a limit is compared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs
import numpy as np

from fxcarry.conventions import session_end, trade_date
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.model import FloatArray, Proposal

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
    CURRENCY_TOO_LARGE = "CURRENCY_TOO_LARGE"
    BLOC_TOO_LARGE = "BLOC_TOO_LARGE"
    PEGGED_CURRENCY = "PEGGED_CURRENCY"
    MARGIN_NEAR_CLOSEOUT = "MARGIN_NEAR_CLOSEOUT"
    SHORTFALL_TOO_LARGE = "SHORTFALL_TOO_LARGE"
    HISTORY_TOO_SHORT = "HISTORY_TOO_SHORT"
    STRESS_LOSS = "STRESS_LOSS"
    WEEKEND_EXPOSURE = "WEEKEND_EXPOSURE"
    WEEKEND_OPENING = "WEEKEND_OPENING"
    PRICE_NOT_CONFIRMED = "PRICE_NOT_CONFIRMED"
    SPREAD_WIDE = "SPREAD_WIDE"
    ROLLOVER_WINDOW = "ROLLOVER_WINDOW"
    FINANCING_NEGATIVE = "FINANCING_NEGATIVE"
    ORDER_TOO_LARGE = "ORDER_TOO_LARGE"
    ORDER_RATE = "ORDER_RATE"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    ORDERS_REFUSED = "ORDERS_REFUSED"


def fraction(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    """A validator: a finite number above zero."""
    if not (np.isfinite(value) and value > 0):
        raise ConfigError(f"{attribute.name} is {value}", hint="a fraction of NAV > 0, such as 0.30 for 30 %")


def positive(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    """A validator: a finite number above zero that is no fraction of NAV."""
    if not (np.isfinite(value) and value > 0):
        raise ConfigError(f"{attribute.name} is {value}", hint="a finite number > 0")


def pro_rata(proposal: Proposal, limit: float, measure: Sequence[float] | None = None) -> FloatArray:
    """Caps that scale what is opened, all legs alike, so that Σ size × ``measure`` is at most ``limit``.

    What is held already stays; ``measure`` None is 1 for every leg.
    """
    kept, opened = proposal.opening()
    each = np.ones(len(kept)) if measure is None else np.array(measure)
    opening = float(opened @ each)
    room = max(limit - float(kept @ each), 0.0)
    caps: FloatArray = kept + opened * (min(room / opening, 1.0) if opening > 0 else 1.0)
    return caps


def held_up(proposal: Proposal, is_hit: Any) -> FloatArray | None:
    """Caps that open nothing in the legs that are hit (one truth value a leg, or one for all); None where they open
    nothing anyway.
    """
    kept, opened = proposal.opening()
    is_opening = np.asarray(is_hit) & (opened > 0)
    return np.where(is_opening, kept, np.inf) if is_opening.any() else None


def scaled_legs(proposal: Proposal, groups: FloatArray, limits: FloatArray) -> FloatArray | None:
    """Caps that bring the net exposure of each group of currencies (groups × currencies) down to its limit.

    Every leg that carries a group past its limit is scaled; a leg of two such groups takes the smaller. None where no
    group is past its limit.
    """
    net = np.abs(groups @ np.array(proposal.net))
    over = net > limits * (1 + SLACK)
    if not over.any():
        return None
    scale = np.where(over, limits / np.where(over, net, 1.0), 1.0)
    per_leg = np.where(groups @ proposal.exposure != 0, scale[:, None], 1.0).min(0)
    caps: FloatArray = np.where(per_leg < 1, np.array(proposal.sizes) * per_leg, np.inf)
    return caps


def codes_of(proposal: Proposal) -> Sequence[str]:
    """The currencies of a proposal's exposures; MissingDataError where they are not named."""
    if len(proposal.currencies) != len(proposal.exposure):
        raise MissingDataError(
            f"the proposal names {len(proposal.currencies)} of {len(proposal.exposure)} currencies",
            hint="give Proposal(currencies=…) in the order of the rows of exposure",
        )
    return proposal.currencies


def first(where: Any) -> int | None:
    """The place of the first True, None where there is none."""
    at = int(where.argmax()) if len(where) else 0
    return at if len(where) and where[at] else None


def next_day_end(at: datetime) -> datetime:
    """The first 17:00 New York strictly after ``at``."""
    return session_end(trade_date(at))
