"""An account at Acme as a broker. Each method says what it promises to the engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from fxcarry.model import (
    Account,
    Instrument,
    Order,
    OrderResult,
    OrderStatus,
    Pair,
    Position,
    Snapshot,
    Transaction,
)
from fxcarry.protocols import Capability
from fxcarry.secrets import Secret
from fxcarry_acme.calls import Calls


class AcmeBroker:
    """One account. Nothing is sent before :meth:`connect`, and no call is kept open between two others."""

    name = "acme"
    # What is claimed here is tested. UNIQUE_CLIENT_IDS lets the engine send an order again under its id: claim it only
    # where the venue refuses, or answers with, an order that it knows already.
    capabilities = frozenset(
        {Capability.NATIVE_STOPS, Capability.PARTIAL_FILLS, Capability.SPOT_FX, Capability.FINANCING}
    )

    def __init__(self, *, url: str, account: str, token: Secret, timeout: float = 10.0) -> None:
        self.account_id = account
        self._home = f"/v1/accounts/{quote(account, safe='')}"
        self._calls = Calls(url, token, timeout)

    def connect(self) -> None:
        """Fail early: a wrong token or account is an error now, not at the first order."""
        self._calls.read(self._home)

    def close(self) -> None:
        """Release the connections. Called twice it does no harm, and the next call opens others."""
        self._calls.close()

    # -- reads: the truth or BrokerUnavailable; an empty answer always means flat ------------------------------------

    def sync(self, snapshot: Snapshot) -> Account:
        """The account as the venue states it now. The snapshot is for brokers that simulate; a venue has its own."""
        said = self._calls.read(self._home)
        nav = Decimal(said["nav"])
        return Account(
            id=said["id"],
            at=datetime.fromisoformat(said["at"]),
            currency=said["currency"],
            nav=nav,
            balances={currency: Decimal(amount) for currency, amount in said["balances"].items()},
            positions={one["instrument"]: _position(one) for one in said["positions"]},
            # Net exposure by currency as a fraction of NAV: base at market, quote at cost, the account's own left out.
            # Where a venue does not state it, compute it from positions and quotes.
            current_weights={currency: float(Decimal(amount) / nav) for currency, amount in said["exposures"].items()},
            working_orders=[_order(one) for one in said["orders"]],
            margin_used=Decimal(said["margin_used"]),
        )

    def get_account_balance(self) -> Decimal:
        """Cash in account currency, without open profit."""
        said = self._calls.read(self._home)
        return Decimal(said["balances"][said["currency"]])

    def get_positions(self) -> Mapping[str, Position]:
        """Open positions by instrument, read now: never a copy kept from before."""
        return {one["instrument"]: _position(one) for one in self._calls.read(f"{self._home}/positions")}

    def get_orders(self) -> Sequence[OrderResult]:
        """What waits. A stop is a WORKING result whose client id begins with ``stop-``, with its price: the engine
        compares these with the positions at every look and tells where one is missing.
        """
        return [_result(one) for one in self._calls.read(f"{self._home}/orders")]

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        """Steps, minimum and margin of the pairs asked for. Orders are rounded to ``unit_step`` before they come."""
        said = self._calls.read(f"{self._home}/instruments", {"pairs": ",".join(map(str, pairs))})
        return {one["name"]: _instrument(one) for one in said}

    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """What the venue knows of these orders: how an unknown outcome ends. What it does not know is left out, and an
        answer that is not complete is BrokerUnavailable: never guess.
        """
        if not client_ids:
            return {}
        said = self._calls.read(f"{self._home}/orders", {"ids": ",".join(client_ids)})
        return {one["client_id"]: _result(one) for one in said}

    def transactions(self, since: str | None) -> Sequence[Transaction]:
        """Everything booked after ``since``, oldest first, each under the venue's own id: the engine books each id
        once, so financing is neither lost nor booked twice. A fill of a stop has a client id ``stop-…``.
        """
        said = self._calls.read(f"{self._home}/transactions", {} if since is None else {"since": since})
        return [_transaction(one) for one in said]

    # -- changes: asked for once; OrderOutcomeUnknown where they may have been done ----------------------------------

    def place_market_order(self, order: Order) -> OrderResult:
        """Deal now. Three errors, three meanings: BrokerUnavailable = nothing was accepted, it may be sent again;
        OrderRejected = refused for good; OrderOutcomeUnknown = it may exist, and is never sent again before
        :meth:`find_orders` has answered.
        """
        return self._place(order)

    def place_limit_order(self, order: Order) -> OrderResult:
        """Deal at ``order.limit_price`` or better, now or later."""
        return self._place(order)

    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        """Put the stop of the whole position at ``price``, or remove it. Asked for twice it is the same stop."""
        body = {"price": None if price is None else str(price)}
        return _result(self._calls.change("PUT", f"{self._home}/stops/{quote(instrument, safe='')}", body))

    def cancel_order(self, client_id: str) -> OrderResult:
        """Cancel an order that waits; one that is over keeps its outcome."""
        return _result(self._calls.change("DELETE", f"{self._home}/orders/{quote(client_id, safe='')}"))

    def close_all_positions(self) -> Sequence[OrderResult]:
        """Cancel what waits, then close everything. What is left is seen by reading again."""
        return [_result(one) for one in self._calls.change("POST", f"{self._home}/close-all")]

    def _place(self, order: Order) -> OrderResult:
        body = {
            "client_id": order.client_id,
            "instrument": order.instrument,
            "units": str(order.units),  # money, units and prices are text on the wire: no float rounds them
            "type": order.type,
            "limit_price": None if order.limit_price is None else str(order.limit_price),
            "is_reducing": order.is_reducing,
            "stop_fraction": None if order.stop_fraction is None else str(order.stop_fraction),
        }
        return _result(self._calls.change("POST", f"{self._home}/orders", body))


def _number(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _position(said: Mapping[str, Any]) -> Position:
    return Position(
        instrument=said["instrument"],
        units=Decimal(said["units"]),
        average_price=Decimal(said["average_price"]),
    )


def _order(said: Mapping[str, Any]) -> Order:
    return Order(
        client_id=said["client_id"],
        instrument=said["instrument"],
        units=Decimal(said["units"]),
        type=said["type"],
        limit_price=_number(said["limit_price"]),
    )


def _result(said: Mapping[str, Any]) -> OrderResult:
    return OrderResult(
        client_id=said["client_id"],
        instrument=said["instrument"],
        status=OrderStatus(said["status"]),
        filled_units=Decimal(said["filled_units"]),
        price=_number(said["price"]),
        reason=said["reason"],
    )


def _instrument(said: Mapping[str, Any]) -> Instrument:
    return Instrument(
        name=said["name"],
        exposure=Pair.parse(said["exposure"]),
        unit_step=Decimal(said["unit_step"]),
        minimum_units=Decimal(said["minimum_units"]),
        margin_rate=Decimal(said["margin_rate"]),
    )


def _transaction(said: Mapping[str, Any]) -> Transaction:
    return Transaction(
        id=said["id"],
        at=datetime.fromisoformat(said["at"]),
        kind=said["kind"],
        amount=Decimal(said["amount"]),
        currency=said["currency"],
        instrument=said["instrument"],
        units=Decimal(said["units"]),
        price=_number(said["price"]),
        mid=_number(said["mid"]),
        conversion=_number(said["conversion"]),
        trade_date=None if said["trade_date"] is None else date.fromisoformat(said["trade_date"]),
        days=said["days"],
        client_id=said["client_id"],
    )
