"""What a simulated venue does to orders and spreads beyond the quote. Every default changes nothing."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.clock import just_before
from fxcarry.conventions import is_open, session_ends, trade_dates
from fxcarry.errors import ConfigError
from fxcarry.market import TimeArray, from_ns
from fxcarry.model import FloatArray

_CLOSED_MARKET = ("trade", "wait", "reject")
_BEFORE, _AFTER = np.timedelta64(15, "m"), np.timedelta64(30, "m")  # the rollover window around 17:00 New York
_FIRST_HOUR, _DAY = np.timedelta64(1, "h"), np.timedelta64(24, "h")


@attrs.frozen(kw_only=True)
class Frictions:
    """The terms on which a simulated venue fills.

    Args:
        latency: an order fills at the first quote at least this much later than the last one it was placed after.
        largest_fill: account currency of notional that one quote fills of an order; the rest waits for the next quote.
            None = all of it.
        reject_rate: the share of orders refused, 0 to 1. Which ones follows from ``seed`` and the order's own id, so a
            restart or another sequence of orders refuses the same ones. Stops and close-outs are never refused.
        seed: see ``reject_rate``.
        closed_market: what a quote is worth from Friday to Sunday 17:00 New York and on 25 December and 1 January:
            ``trade`` as any other; ``wait``: nothing fills and no stop triggers before a quote of the open market;
            ``reject``: as wait, and an order placed meanwhile is refused.
        conversion_fee: the share kept of P&L and financing that are converted to the account currency, 0.005 = 0.5 %:
            a gain is that much smaller, a loss that much larger. On P&L it is booked with the commission of the fill.
        rollover_spread: spreads from 16:45 to 17:30 New York, as a multiple of the cost model's.
        sunday_spread: the same for the first hour of the week; the larger of the two counts.
        crisis_spread: the same, on top, on the trade dates of ``crises``.
        crises: (first, last) trade dates, both included.

    Spreads that quotes carry themselves are never multiplied.
    """

    latency: timedelta = timedelta(0)
    largest_fill: float | None = None
    reject_rate: float = 0.0
    seed: int = 0
    closed_market: Literal["trade", "wait", "reject"] = "trade"
    conversion_fee: float = 0.0
    rollover_spread: float = 1.0
    sunday_spread: float = 1.0
    crisis_spread: float = 1.0
    crises: tuple[tuple[date, date], ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.latency < timedelta(0):
            raise ConfigError(f"latency is {self.latency}", hint="a time >= 0")
        if self.largest_fill is not None and not (np.isfinite(self.largest_fill) and self.largest_fill > 0):
            raise ConfigError(
                f"largest_fill is {self.largest_fill}", hint="account currency > 0, or none for all of it"
            )
        if self.closed_market not in _CLOSED_MARKET:
            raise ConfigError(f"closed_market is {self.closed_market!r}", hint=f"one of {', '.join(_CLOSED_MARKET)}")
        for name in ("reject_rate", "conversion_fee"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", hint="a share >= 0 and < 1: 0.01 is 1 %")
        for name in ("rollover_spread", "sunday_spread", "crisis_spread"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 1):
                raise ConfigError(f"{name} is {getattr(self, name)}", hint="a multiple of the usual spread, >= 1")
        for first, last in self.crises:
            if last < first:
                raise ConfigError(f"a crisis from {first} to {last} ends before it begins")

    def refuses(self, client_id: str) -> bool:
        """Whether the venue refuses the order of that id, once and for all."""
        if not self.reject_rate:
            return False
        digest = hashlib.blake2b(f"{self.seed}|{client_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self.reject_rate * 2.0**64

    def deals(self, at: TimeArray) -> NDArray[np.bool_] | None:
        """Whether a quote of each instant can be dealt on; None where every one can. A close itself is still open."""
        if self.closed_market == "trade":
            return None
        return np.array([is_open(from_ns(t)) or is_open(from_ns(b)) for t, b in zip(at, at - np.timedelta64(1, "us"))])

    def spread_multiple(self, at: TimeArray) -> FloatArray | None:
        """How many times its usual size a spread is at each instant; None where it never changes."""
        if self.rollover_spread == self.sunday_spread == self.crisis_spread == 1.0:
            return None
        day = trade_dates(just_before(at))
        ends = session_ends(day)
        since, left = at - (ends - _DAY), ends - at
        has_begun = since >= np.timedelta64(0)
        is_roll = (left <= _BEFORE) | (has_begun & (since < _AFTER))
        is_monday = (day.astype("datetime64[D]").astype(int) + 3) % 7 == 0
        is_sunday = has_begun & (since < _FIRST_HOUR) & is_monday
        multiple: FloatArray = np.maximum(
            np.where(is_roll, self.rollover_spread, 1.0), np.where(is_sunday, self.sunday_spread, 1.0)
        )
        within = np.zeros(len(at), bool)
        for first, last in self.crises:
            within |= (day >= np.datetime64(first)) & (day <= np.datetime64(last))
        return np.where(within, multiple * self.crisis_spread, multiple)
