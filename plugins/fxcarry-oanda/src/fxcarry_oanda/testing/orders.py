"""What an order is, and what the fake venue refuses before it takes one."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from fxcarry_oanda.testing.log import Record
from fxcarry_oanda.testing.market import Market, moment, plain, stamp

INVALID = "oanda::rest::core::InvalidParameterException"
_DECIMAL = re.compile(r"-?\d+(\.\d+)?")
_COMMON = {"type", "timeInForce", "gtdTime", "clientExtensions"}
_FIELDS = {
    "MARKET": _COMMON
    | {"instrument", "units", "priceBound", "positionFill", "stopLossOnFill", "tradeClientExtensions"} - {"gtdTime"},
    "LIMIT": _COMMON
    | {"instrument", "units", "price", "positionFill", "triggerCondition", "stopLossOnFill", "tradeClientExtensions"},
    "STOP_LOSS": _COMMON | {"tradeID", "clientTradeID", "price", "distance", "triggerCondition", "guaranteed"},
}
_NUMBERS = ("units", "price", "priceBound", "distance")
_DEFAULTS = {
    "MARKET": {"timeInForce": "FOK", "positionFill": "DEFAULT"},
    "LIMIT": {"timeInForce": "GTC", "positionFill": "DEFAULT", "triggerCondition": "DEFAULT"},
    "STOP_LOSS": {"timeInForce": "GTC", "triggerCondition": "DEFAULT"},
}
_IN_FORCE = {
    "MARKET": {"FOK", "IOC"},
    "LIMIT": {"GTC", "GTD", "GFD", "FOK", "IOC"},
    "STOP_LOSS": {"GTC", "GTD", "GFD"},
}
_FILLS = {"DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY"}
_LONGEST_ID = 128

MESSAGES = {
    "CLIENT_ORDER_ID_INVALID": "The client Order ID specified is invalid",
    "CLOSEOUT_POSITION_DOESNT_EXIST": "The Position requested to be closed out does not exist",
    "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE": "The units to close out exceed the size of the Position",
    "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE": "The units to close exceed the size of the Trade",
    "INSTRUMENT_NOT_TRADEABLE": "The Order's instrument is not tradeable by the Account",
    "INSUFFICIENT_MARGIN": "The Account does not have enough margin available",
    "ORDER_DOESNT_EXIST": "The Order specified does not exist",
    "NO_SUCH_ORDER": "The order ID specified does not exist",
    "NO_SUCH_TRADE": "The trade ID specified does not exist",
    "NO_SUCH_POSITION": "The Position specified does not exist",
    "PRICE_PRECISION_EXCEEDED": "The Order price specified exceeds the instrument's precision",
    "TIME_IN_FORCE_INVALID": "The Order's time in force is invalid",
    "TRADE_DOESNT_EXIST": "The Trade specified does not exist",
    "UNITS_INVALID": "Order units specified are invalid",
    "UNITS_LIMIT_EXCEEDED": "Order units exceed the maximum for the instrument",
    "UNITS_MIMIMUM_NOT_MET": "Order units are below the minimum for the instrument",
    "UNITS_PRECISION_EXCEEDED": "The Order units specified exceed the instrument's precision",
}
"""The venue's words for its codes, from memory; a client should read the code."""


def message(code: str) -> str:
    """The text that goes with a code."""
    return MESSAGES.get(code, code.replace("_", " ").capitalize())


@attrs.define
class Ticket:
    """An order that was taken: ``facts`` as its transaction states them, ``left`` what is still to be dealt.

    ``trades`` are those it may close and nothing else; None where it trades the instrument.
    """

    id: str
    type: str
    facts: Record
    created_at: datetime
    instrument: str
    left: Decimal
    trades: list[str] | None = None
    state: str = "PENDING"
    outcome: Record = attrs.field(factory=dict)

    @property
    def client_id(self) -> str | None:
        """The client's own id, which names it only while it is pending."""
        extensions = self.facts.get("clientExtensions") or {}
        return extensions.get("id")

    @property
    def price(self) -> Decimal:
        """The price of a limit or a stop."""
        return Decimal(self.facts["price"])

    @property
    def expires_at(self) -> datetime | None:
        """When a good-till-date order ends."""
        return moment(self.facts["gtdTime"]) if self.facts["timeInForce"] == "GTD" else None


def malformed(order: Any, market: Market) -> str | None:
    """What makes an order none, such as an unknown instrument: refused without a transaction; None where it is one."""
    if not isinstance(order, dict):
        return "The request was malformed: it has no order"
    kind = order.get("type")
    if kind not in _FIELDS:
        return "Invalid value specified for 'order.type'"
    if unknown := sorted(order.keys() - _FIELDS[kind]):
        return f"Unrecognized field 'order.{unknown[0]}'"
    for name in _NUMBERS:
        if name in order and not is_number(order[name]):
            return f"Invalid value specified for 'order.{name}'"
    if kind != "STOP_LOSS" and order.get("instrument") not in market.terms:
        return "Invalid value specified for 'order.instrument'"
    if kind != "STOP_LOSS" and "units" not in order:
        return "Required value missing for 'order.units'"
    if kind == "STOP_LOSS" and not isinstance(order.get("tradeID"), str):
        return "Required value missing for 'order.tradeID'"
    stop = order.get("stopLossOnFill")
    if stop is not None and not (
        isinstance(stop, dict) and all(is_number(stop[name]) for name in ("price", "distance") if name in stop)
    ):
        return "Invalid value specified for 'order.stopLossOnFill'"
    try:
        moment(order.get("gtdTime", "0"))
    except (TypeError, ValueError):
        return "Invalid value specified for 'order.gtdTime'"
    return None


def is_number(value: Any) -> bool:
    """Whether it is a decimal number in a string, as the venue wants every number."""
    return isinstance(value, str) and _DECIMAL.fullmatch(value) is not None


def complete(order: Record) -> Record:
    """The order with the venue's defaults, its numbers and times as the venue writes them."""
    facts: Record = {name: value for name, value in order.items() if name != "type"}
    facts |= {name: value for name, value in _DEFAULTS[order["type"]].items() if name not in facts}
    for name in _NUMBERS:
        if name in facts:
            facts[name] = plain(Decimal(facts[name]))
    if "gtdTime" in facts:
        facts["gtdTime"] = stamp(moment(facts["gtdTime"]))
    if "stopLossOnFill" in facts:
        facts["stopLossOnFill"] = {"timeInForce": "GTC", **facts["stopLossOnFill"]}
    return {**facts, "reason": "CLIENT_ORDER"}


def refusal(kind: str, facts: Record, instrument: str, market: Market) -> str | None:
    """The reason a well-formed order is rejected for; None where it is taken."""
    terms = market.terms[instrument]
    if not terms.is_tradeable:
        return "INSTRUMENT_NOT_TRADEABLE"
    if facts["timeInForce"] not in _IN_FORCE[kind]:
        return "TIME_IN_FORCE_INVALID"
    if facts["timeInForce"] == "GTD":
        if "gtdTime" not in facts:
            return "TIME_IN_FORCE_GTD_TIMESTAMP_MISSING"
        if moment(facts["gtdTime"]) <= market.at:
            return "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST"
    if len((facts.get("clientExtensions") or {}).get("id", "")) > _LONGEST_ID:
        return "CLIENT_ORDER_ID_INVALID"
    if kind == "STOP_LOSS":
        return stop_refusal(facts, terms.display_precision, "STOP_LOSS_ORDER", "")
    units = Decimal(facts["units"])
    if not units:
        return "UNITS_INVALID"
    if _digits(facts["units"]) > terms.units_precision:
        return "UNITS_PRECISION_EXCEEDED"
    if abs(units) < terms.minimum_units:
        return "UNITS_MIMIMUM_NOT_MET"
    if abs(units) > terms.maximum_units:
        return "UNITS_LIMIT_EXCEEDED"
    if facts["positionFill"] not in _FILLS:
        return "ORDER_FILL_POSITION_ACTION_INVALID"
    if kind == "LIMIT" and "price" not in facts:
        return "PRICE_MISSING"
    for name, word in (("price", "PRICE"), ("priceBound", "PRICE_BOUND")):
        if name in facts and Decimal(facts[name]) <= 0:
            return f"{word}_INVALID"
        if name in facts and _digits(facts[name]) > terms.display_precision:
            return f"{word}_PRECISION_EXCEEDED"
    if "stopLossOnFill" in facts:
        return stop_refusal(facts["stopLossOnFill"], terms.display_precision, "STOP_LOSS_ON_FILL", "STOP_LOSS_ON_FILL_")
    return None


def stop_refusal(stop: Record, precision: int, both: str, prefix: str) -> str | None:
    """The reason a stop is rejected for: it has one of price and distance, positive and at the venue's precision."""
    if "price" in stop and "distance" in stop:
        return f"{both}_PRICE_AND_DISTANCE_BOTH_SPECIFIED"
    for name, word in (("price", "PRICE"), ("distance", "DISTANCE" if prefix else "PRICE_DISTANCE")):
        if name in stop:
            if Decimal(stop[name]) <= 0:
                return f"{prefix}{word}_INVALID"
            return f"{prefix}{word}_PRECISION_EXCEEDED" if _digits(stop[name]) > precision else None
    return f"{both}_PRICE_AND_DISTANCE_BOTH_MISSING"


def _digits(number: str) -> int:
    """Decimal places that are written, zeros at the end not counted."""
    return max(-int(Decimal(number).normalize().as_tuple().exponent), 0)
