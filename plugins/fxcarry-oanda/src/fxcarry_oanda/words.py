"""From fxcarry's words to OANDA's and back: names, times, and numbers as decimal strings at the venue's precision."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from typing import Any

import attrs

from fxcarry.errors import OrderRejected
from fxcarry.model import Instrument, Order, Pair

_DAYS = {"MONDAY": 0, "TUESDAY": 1, "WEDNESDAY": 2, "THURSDAY": 3, "FRIDAY": 4, "SATURDAY": 5, "SUNDAY": 6}
MOST_ID = 128  # characters of a client id


def venue_name(instrument: str) -> str:
    """``EURUSD`` as OANDA writes it: ``EUR_USD``."""
    return f"{instrument[:3]}_{instrument[3:]}"


def own_name(instrument: str) -> str:
    """``EUR_USD`` as fxcarry writes it: ``EURUSD``."""
    return instrument.replace("_", "")


def instant(text: str) -> datetime:
    """An RFC 3339 instant; nanoseconds are cut to microseconds."""
    return datetime.fromisoformat(text).astimezone(UTC)


def stated(at: datetime) -> str:
    """An instant as RFC 3339 in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


@attrs.frozen(kw_only=True)
class Terms:
    """One instrument as OANDA states it: decimals of a price and of units, margin and financing (annual decimals,
    > 0 received) and the days charged on each weekday (Monday = 0).
    """

    pair: Pair
    price_digits: int
    unit_digits: int
    minimum: Decimal
    margin_rate: Decimal
    long_rate: Decimal | None = None
    short_rate: Decimal | None = None
    days: Mapping[int, int] | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Terms:
        """From an element of ``instruments``."""
        financing = said.get("financing") or {}
        days = financing.get("financingDaysOfWeek")
        return cls(
            pair=Pair.parse(said["name"]),
            price_digits=said["displayPrecision"],
            unit_digits=said["tradeUnitsPrecision"],
            minimum=Decimal(said["minimumTradeSize"]),
            margin_rate=Decimal(said["marginRate"]),
            long_rate=_rate(financing, "longRate"),
            short_rate=_rate(financing, "shortRate"),
            days=None if days is None else {_DAYS[d["dayOfWeek"]]: int(d["daysCharged"]) for d in days},
        )

    @property
    def tick(self) -> Decimal:
        """The smallest step of a price."""
        return Decimal(1).scaleb(-self.price_digits)

    def instrument(self) -> Instrument:
        """As fxcarry knows it."""
        return Instrument(
            name=str(self.pair),
            exposure=self.pair,
            unit_step=Decimal(1).scaleb(-self.unit_digits),
            minimum_units=self.minimum,
            margin_rate=self.margin_rate,
            financing_long=None if self.long_rate is None else float(self.long_rate),
            financing_short=None if self.short_rate is None else float(self.short_rate),
            financing_days=self.days,
        )

    def units(self, units: Decimal) -> str:
        """Signed units, cut to the venue's step; OrderRejected where nothing is left."""
        cut = units.quantize(Decimal(1).scaleb(-self.unit_digits), ROUND_DOWN)
        if not cut:
            raise OrderRejected(f"{units} units of {self.pair} are less than OANDA deals in", hint="trade more")
        return f"{cut:f}"

    def limit(self, price: Decimal, side: int) -> str:
        """A limit price, never worse than it was asked for: a purchase (``side`` 1) is rounded down, a sale up."""
        return f"{price.quantize(self.tick, ROUND_FLOOR if side > 0 else ROUND_CEILING):f}"

    def stop(self, price: Decimal, side: int, entry: Decimal) -> str:
        """The price of a stop behind a long (``side`` 1) or short position entered at ``entry``.

        It is rounded towards the entry, so that no more is lost than was asked for, but never onto or through it.
        """
        nearer, farther = (ROUND_CEILING, ROUND_FLOOR) if side > 0 else (ROUND_FLOOR, ROUND_CEILING)
        rounded = price.quantize(self.tick, nearer)
        if side * (entry - price) > 0 >= side * (entry - rounded):  # an entry less than a step away
            rounded = price.quantize(self.tick, farther)
        if rounded <= 0:
            raise OrderRejected(f"a stop at {price} is no price of {self.pair}")
        return f"{rounded:f}"

    def stop_distance(self, fraction: float, entry: Decimal) -> str:
        """How far from its fill a stop is that may lose ``fraction``: rounded down, at least one step."""
        distance = (Decimal(repr(fraction)) * entry).quantize(self.tick, ROUND_FLOOR)
        return f"{max(distance, self.tick):f}"


def _rate(financing: Mapping[str, Any], name: str) -> Decimal | None:
    return Decimal(financing[name]) if financing.get(name) is not None else None


def order_body(order: Order, terms: Terms, units: Decimal, expected: Decimal | None) -> dict[str, Any]:
    """The body of POST /orders. ``units`` are those to trade; ``expected`` is about where it will fill, for its stop.

    Positions are reduced before others are opened, also on a hedging account; a market order fills whole or not at all.
    """
    if len(order.client_id) > MOST_ID:
        raise OrderRejected(f"the client id has {len(order.client_id)} characters, OANDA takes {MOST_ID}")
    body: dict[str, Any] = {
        "type": order.type.upper(),
        "instrument": venue_name(order.instrument),
        "units": terms.units(units),
        "timeInForce": "FOK",
        "positionFill": "REDUCE_ONLY" if order.is_reducing else "REDUCE_FIRST",
        "clientExtensions": {"id": order.client_id, "tag": "fxcarry"},
    }
    if order.type == "limit":
        if order.limit_price is None:
            raise OrderRejected("a limit order has no price")
        body |= {"timeInForce": "GTC", "price": terms.limit(order.limit_price, 1 if units > 0 else -1)}
    if order.stop_fraction is not None and expected is not None:
        distance = terms.stop_distance(order.stop_fraction, expected)
        body["stopLossOnFill"] = {"distance": distance, "timeInForce": "GTC"}
    return {"order": body}
