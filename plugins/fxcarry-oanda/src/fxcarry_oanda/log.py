"""The account's own log of transactions: read once each, in their order, and what they say of orders and of money."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs

from fxcarry.conventions import trade_date
from fxcarry.errors import BrokerUnavailable, ConfigError
from fxcarry.model import OrderResult, OrderStatus, Transaction, TransactionKind
from fxcarry_oanda.client import Client
from fxcarry_oanda.words import instant, own_name

_PAGE = 500  # transactions asked for at once
_BEFORE_ROLL = timedelta(hours=6)  # financing of a day is booked at 17:00 New York or soon after
_PLACED = frozenset({"MARKET_ORDER", "LIMIT_ORDER", "STOP_ORDER", "MARKET_IF_TOUCHED_ORDER", "FIXED_PRICE_ORDER"})
_OWN = {
    "STOP_LOSS_ORDER": "stop-",
    "GUARANTEED_STOP_LOSS_ORDER": "stop-",
    "TRAILING_STOP_LOSS_ORDER": "stop-",
    "MARKET_ORDER_MARGIN_CLOSEOUT": "margin-close-out-",
}
"""Reasons of a fill of the venue's own accord, and how its client id begins."""

_PASSING = frozenset(
    {
        "MARKET_HALTED",
        "INSUFFICIENT_LIQUIDITY",
        "BOUNDS_VIOLATION",
        "TIME_IN_FORCE_EXPIRED",
        "CLIENT_REQUEST",
        "CLIENT_REQUEST_REPLACED",
        "LINKED_TRADE_CLOSED",
        "INTERNAL_SERVER_ERROR",
    }
)
"""Reasons of a cancel that another time may not have; any other is a refusal."""


@attrs.define
class _Known:
    """What the log says of one order: its client id, units filled, their value, and how it ended, if it did."""

    client_id: str
    instrument: str
    filled: Decimal = Decimal(0)
    value: Decimal = Decimal(0)
    wanted: Decimal | None = None
    ended: OrderStatus | None = None
    reason: str = ""


class Orders:
    """Orders as transactions tell of them, by client id. The same id on two orders is both of them together."""

    def __init__(self, told: Iterable[Mapping[str, Any]] = ()) -> None:
        self._by_order: dict[str, _Known] = {}
        self._by_client: dict[str, list[_Known]] = {}
        for one in told:
            self.add(one)

    def add(self, one: Mapping[str, Any]) -> None:
        """Take in one transaction."""
        kind: str = one.get("type", "")
        extensions = one.get("clientExtensions") or {}
        if kind.endswith("_ORDER_REJECT") and extensions.get("id"):
            known = self._new(f"reject {one['id']}", extensions["id"], one)
            known.ended, known.reason = OrderStatus.REJECTED, one.get("rejectReason", "")
        elif kind in _PLACED and extensions.get("id"):
            self._new(one["id"], extensions["id"], one).wanted = Decimal(one["units"])
        elif kind == "ORDER_FILL" and (filled := self._found(one)) is not None:
            units, price = Decimal(one["units"]), price_of(one)
            filled.filled, filled.value = filled.filled + units, filled.value + units * price
            if filled.wanted is None or filled.filled == filled.wanted or one["reason"] == "MARKET_ORDER":
                filled.ended = OrderStatus.FILLED
        elif kind == "ORDER_CANCEL" and (ended := self._found(one)) is not None:
            ended.reason = one["reason"]
            passes = ended.reason in _PASSING or ended.filled != 0
            ended.ended = OrderStatus.CANCELLED if passes else OrderStatus.REJECTED

    def result(self, client_id: str) -> OrderResult | None:
        """Where the order with this client id stands; None where the log has none."""
        orders = self._by_client.get(client_id)
        if not orders:
            return None
        filled = sum((o.filled for o in orders), Decimal(0))
        value = sum((o.value for o in orders), Decimal(0))
        waiting = [o for o in orders if o.ended is None]
        status = orders[-1].ended or OrderStatus.WORKING
        if waiting:
            status = OrderStatus.PARTIAL if filled else OrderStatus.WORKING
        elif any(o.ended is OrderStatus.FILLED for o in orders):
            status = OrderStatus.FILLED
        return OrderResult(
            client_id=client_id,
            instrument=orders[0].instrument,
            status=status,
            filled_units=filled,
            price=value / filled if filled else None,
            reason=orders[-1].reason,
        )

    def _new(self, order_id: str, client_id: str, one: Mapping[str, Any]) -> _Known:
        known = _Known(client_id, own_name(one.get("instrument", "")))
        self._by_order[order_id] = known
        self._by_client.setdefault(client_id, []).append(known)
        return known

    def _found(self, one: Mapping[str, Any]) -> _Known | None:
        """The order a fill or cancel is of; one from before the log began is known by the client id it repeats. None
        for an order without a client id, a stop for one.
        """
        known = self._by_order.get(one["orderID"])
        if known is None and one.get("clientOrderID"):
            known = self._new(one["orderID"], one["clientOrderID"], one)
        return known


def price_of(fill: Mapping[str, Any]) -> Decimal:
    """The volume-weighted price of an ORDER_FILL."""
    return Decimal(fill.get("fullVWAP") or fill["price"])


def booked(one: Mapping[str, Any], currency: str, days: Callable[[str, int], int]) -> Iterator[Transaction]:
    """The bookings of one v20 transaction, in account currency. ``days(instrument, weekday)`` a roll covers.

    The first has the venue's id, others of the same transaction that id and a suffix.
    """
    kind, at = one.get("type", ""), instant(one["time"])

    def entry(of: TransactionKind, amount: object, suffix: str = "", instrument: str = "") -> Transaction:
        return Transaction(
            id=f"{one['id']}{suffix}",
            at=at,
            kind=of,
            amount=Decimal(str(amount)),
            currency=currency,
            instrument=own_name(instrument or one.get("instrument", "")),
        )

    if kind == "ORDER_FILL":
        price = price_of(one)
        yield attrs.evolve(
            entry("fill", one.get("pl") or 0),
            units=Decimal(one["units"]),
            price=price,
            mid=_mid(one) or price,
            conversion=_conversion(one),
            client_id=_client_id(one),
        )
        for field, of, sign in (("commission", "commission", -1), ("guaranteedExecutionFee", "fee", -1)):
            amount = sign * Decimal(one.get(field) or 0)
            if amount:
                yield attrs.evolve(entry(of, amount, f"/{field}"), client_id=_client_id(one))  # type: ignore[arg-type]  # both are kinds
        financing = Decimal(one.get("financing") or 0)
        if financing:
            yield attrs.evolve(entry("financing", financing, "/financing"), trade_date=trade_date(at))
    elif kind == "DAILY_FINANCING":
        day = trade_date(at - _BEFORE_ROLL)
        rest = Decimal(one.get("financing") or 0)
        for place, position in enumerate(one.get("positionFinancings") or ()):
            name, amount = position["instrument"], Decimal(position["financing"])
            rest -= amount
            yield attrs.evolve(
                entry("financing", amount, f"/{place}" if place else "", name),
                trade_date=day,
                days=days(own_name(name), day.weekday()),
            )
        if rest:
            yield attrs.evolve(entry("financing", rest, "/rest"), trade_date=day)
    elif kind == "TRANSFER_FUNDS":
        yield entry("transfer", one["amount"])
    elif kind == "DIVIDEND_ADJUSTMENT":
        yield entry("fee", one.get("dividendAdjustment") or 0)


def _client_id(fill: Mapping[str, Any]) -> str:
    prefix = _OWN.get(fill.get("reason", ""))
    if prefix is not None:
        return f"{prefix}{own_name(fill['instrument'])}-{fill['orderID']}"
    return fill.get("clientOrderID") or ""


def _mid(fill: Mapping[str, Any]) -> Decimal | None:
    quoted = fill.get("fullPrice") or {}
    if not (quoted.get("bids") and quoted.get("asks")):
        return None
    return (Decimal(quoted["bids"][0]["price"]) + Decimal(quoted["asks"][0]["price"])) / 2


def _conversion(fill: Mapping[str, Any]) -> Decimal | None:
    gain, loss = fill.get("gainQuoteHomeConversionFactor"), fill.get("lossQuoteHomeConversionFactor")
    return None if gain is None or loss is None else (Decimal(gain) + Decimal(loss)) / 2


class Log:
    """The transactions after ``begin``, each once, kept up by reading what came after the last one seen.

    Thread-safe: a stream may feed it too.
    """

    def __init__(self, client: Client, days: Callable[[str, int], int]) -> None:
        self._client, self._days = client, days
        self._lock = threading.RLock()
        self._currency = ""
        self._begin: int | None = None
        self._told: list[Mapping[str, Any]] = []
        self._orders = Orders()

    def open(self, currency: str, last: int) -> None:
        """Begin after the transaction ``last``, unless the log has begun already."""
        with self._lock:
            self._currency = currency
            if self._begin is None:
                self._begin = last

    @property
    def last(self) -> int:
        """The id of the last transaction seen."""
        with self._lock:
            if self._told:
                return int(self._told[-1]["id"])
            if self._begin is None:
                raise ConfigError("the account has not been connected", hint="call connect() first")
            return self._begin

    def catch_up(self) -> None:
        """Read everything that came after the last transaction seen, up to the last there is."""
        with self._lock:
            while True:
                said, _ = self._client.read("/transactions/sinceid", {"id": str(self.last)})
                self._take(said["transactions"])
                newest = int(said["lastTransactionID"])
                if self.last >= newest:
                    return
                if not said["transactions"]:
                    raise BrokerUnavailable(
                        f"OANDA's log ends at {self.last}, its last transaction is {newest}", hint="it is asked again"
                    )

    def hear(self, one: Mapping[str, Any]) -> None:
        """Take a line of the transaction stream: a transaction, or a heartbeat with the id of the last one.

        Where something is missing between the last one seen and this, it is read.
        """
        with self._lock:
            newest = int(one["lastTransactionID"] if one["type"] == "HEARTBEAT" else one["id"])
            if one["type"] != "HEARTBEAT" and newest == self.last + 1:
                self._take([one])
            elif newest > self.last:
                self.catch_up()

    def find(self, client_ids: Collection[str]) -> dict[str, OrderResult]:
        """What the log says of these orders."""
        with self._lock:
            found = {client_id: self._orders.result(client_id) for client_id in client_ids}
        return {client_id: result for client_id, result in found.items() if result is not None}

    def after(self, since: str | None) -> Sequence[Transaction]:
        """Bookings after the one with the id ``since`` (None = all there ever were), in the venue's order."""
        number = 0 if since is None else int(since.partition("/")[0])
        with self._lock:
            self._reach_back(number if since is None else number - 1)
            told = self._told[bisect_left(self._told, number, key=_number) :]
        entries = [entry for one in told for entry in booked(one, self._currency, self._days)]
        ids = [entry.id for entry in entries]
        if since is not None and since in ids:
            return entries[ids.index(since) + 1 :]
        return [entry for entry in entries if since is None or int(entry.id.partition("/")[0]) > number]

    def _reach_back(self, begin: int) -> None:
        """Read what the log lacks before its beginning, so that it begins after ``begin`` or earlier."""
        assert self._begin is not None
        begin = max(begin, 0)
        earlier: list[Mapping[str, Any]] = []
        for first in range(begin + 1, self._begin + 1, _PAGE):
            last = min(first + _PAGE - 1, self._begin)
            said, _ = self._client.read("/transactions/idrange", {"from": str(first), "to": str(last)})
            earlier += said["transactions"]
        if earlier or begin < self._begin:
            self._told, self._begin = earlier + self._told, min(begin, self._begin)
            self._orders = Orders(self._told)

    def _take(self, fresh: Iterable[Mapping[str, Any]]) -> None:
        for one in sorted(fresh, key=_number):
            if _number(one) > self.last:
                self._told.append(one)
                self._orders.add(one)


def _number(one: Mapping[str, Any]) -> int:
    return int(one["id"])
