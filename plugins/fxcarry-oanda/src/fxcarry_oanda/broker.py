"""An OANDA v20 account as a broker.

OANDA does not take a client id once: an order sent twice is dealt twice. So an order is sent once, after the account's
log was read to its end; where no answer comes, the log tells what became of it, and nothing else does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fxcarry.conventions import trade_date
from fxcarry.errors import BrokerError, BrokerUnavailable, ConfigError, OrderOutcomeUnknown, OrderRejected
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
from fxcarry_oanda.archive import Archive
from fxcarry_oanda.client import Client
from fxcarry_oanda.log import Log, Orders
from fxcarry_oanda.streams import TransactionStream
from fxcarry_oanda.words import Terms, order_body, own_name, venue_name

_LOG = logging.getLogger("fxcarry.oanda")
_TRADES = frozenset({"MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED"})  # orders that open or reduce; the rest are stops
_SKEW = timedelta(seconds=30)
_ROUNDS = 3  # how often something is asked for that may be asked for again


def _now() -> datetime:
    return datetime.now(UTC)


class OandaBroker:
    """One account, practice or live.

    Args:
        client: what talks to the account.
        is_practice: whether it trades no real money.
        is_hedging: whether the account is meant to be one that holds both sides; ConfigError at :meth:`connect` where
            it is of the other kind. A hedging account is driven as if it netted: orders reduce before they open.
        streams: listen to the account's transactions between looks.
        archive: the file that each day's financing rates are added to; None = none.
        clock: what the venue's clock is compared with; BrokerUnavailable where they are 30 seconds apart.
    """

    name = "oanda"

    def __init__(
        self,
        client: Client,
        *,
        is_practice: bool,
        is_hedging: bool = False,
        streams: bool = False,
        archive: str | Path | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.account_id = client.account
        self.is_practice = is_practice
        self._client, self._is_hedging, self._clock = client, is_hedging, clock
        own = {Capability.HEDGING} if is_hedging else set()
        self.capabilities = frozenset({Capability.NATIVE_STOPS, Capability.SPOT_FX, Capability.FINANCING, *own})
        self._terms: dict[str, Terms] = {}
        self._terms_of: date | None = None  # the trade date they were read on
        self._log = Log(client, self._days)
        self._archive = None if archive is None else Archive(Path(archive))
        self._stream = TransactionStream(client, self._log) if streams else None
        self._prices: dict[str, tuple[Decimal, Decimal]] = {}  # bid and ask at the last look
        self._is_connected = False
        self._at = datetime.min.replace(tzinfo=UTC)  # the last look

    def __repr__(self) -> str:
        return f"OandaBroker({self._client!r})"

    def connect(self) -> None:
        """Check the token, the account and its kind; ConfigError where one is not as it was said to be."""
        known = self._client.accounts()
        if self.account_id not in known:
            raise ConfigError(
                f"the token does not give access to account {self.account_id!r}",
                hint=f"it does to {', '.join(known) or 'none'}",
            )
        said, _ = self._client.read("/summary")
        is_hedging = bool(said["account"].get("hedgingEnabled"))
        if is_hedging is not self._is_hedging:
            kinds = ("one that nets positions", "a hedging account")
            raise ConfigError(
                f"account {self.account_id} is {kinds[is_hedging]}, the configuration says it is "
                f"{kinds[self._is_hedging]}",
                hint=f"set hedging = {str(is_hedging).lower()} under [broker], or name another account",
            )
        self._log.open(said["account"]["currency"], int(said["lastTransactionID"]))
        self._is_connected = True
        if self._stream is not None:
            self._stream.start()

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        if self._stream is not None:
            self._stream.stop()
        self._client.close()

    # -- reading ---------------------------------------------------------------------------------------------------

    def sync(self, snapshot: Snapshot) -> Account:
        """The account as OANDA states it now. The snapshot is the caller's: its instant is the account's, and its
        prices say about where an order would fill.
        """
        account, venue_clock = self._read()
        if venue_clock is not None and abs(venue_clock - self._clock()) > _SKEW:
            raise BrokerUnavailable(
                f"OANDA's clock says {venue_clock:%Y-%m-%d %H:%M:%S} UTC, this machine's {self._clock():%H:%M:%S}",
                hint="set this machine's clock (NTP): ages of prices and orders are measured with it",
            )
        if snapshot.at > self._at:
            self._at = snapshot.at
            self._prices = {str(pair): (quote.bid, quote.ask) for pair, quote in snapshot.quotes.items()}
        if self._terms and self._terms_of != trade_date(self._clock()):
            self._read_terms()
        positions = _positions(account)
        return Account(
            id=self.account_id,
            at=self._at,
            currency=account["currency"],
            nav=Decimal(account["NAV"]),
            balances={account["currency"]: Decimal(account["balance"])},
            positions=positions,
            current_weights=self._weights(positions, Decimal(account["NAV"]), account["currency"]),
            working_orders=[_order(one) for one in account["orders"] if one["type"] in _TRADES],
            margin_used=Decimal(account["marginUsed"]),
        )

    def get_account_balance(self) -> Decimal:
        """Cash in account currency."""
        return Decimal(self._client.read("/summary")[0]["account"]["balance"])

    def get_positions(self) -> Mapping[str, Position]:
        """Open positions by instrument, read now; both sides of a hedging account are one, their net."""
        return _positions(self._read()[0])

    def get_orders(self) -> Sequence[OrderResult]:
        """Orders that wait, and one stop for each position all of which has one: the farthest of its trades' stops."""
        account, _ = self._read()
        waiting = [one for one in account["orders"] if one["type"] in _TRADES]
        found = [
            OrderResult(
                client_id=_order(one).client_id,
                instrument=own_name(one["instrument"]),
                status=OrderStatus.WORKING,
                price=Decimal(one["price"]) if one.get("price") else None,
            )
            for one in waiting
        ]
        for name, position in _positions(account).items():
            side = 1 if position.units > 0 else -1
            prices = [_stop_of(trade, account) for trade in _trades(account, name, side)]
            kept = [price for price in prices if price is not None]
            if kept and len(kept) == len(prices):
                price = min(kept) if side > 0 else max(kept)
                found.append(_stop_result(name, OrderStatus.WORKING, price))
        return found

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        """Steps, minimum, margin and today's financing rates; a pair that the account does not trade is left out."""
        self._read_terms()
        return {str(pair): self._terms[str(pair)].instrument() for pair in pairs if str(pair) in self._terms}

    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """What the account's log, read to its end, says of these orders; one it does not name never arrived."""
        if not client_ids:
            return {}
        self._log.catch_up()
        found = self._log.find(client_ids)
        for client_id in client_ids:
            if client_id not in found:  # placed before the log began, and waiting since
                said = self._client.find(_at(client_id))
                if said is not None:
                    order = _order(said["order"])
                    found[client_id] = OrderResult.unfilled(order, OrderStatus.WORKING, "")
        return found

    def transactions(self, since: str | None) -> Sequence[Transaction]:
        """Fills, commissions, financing and transfers after ``since`` (None: since the account was opened)."""
        self._log.catch_up()
        return self._log.after(since)

    # -- changing --------------------------------------------------------------------------------------------------

    def place_market_order(self, order: Order) -> OrderResult:
        """Deal now, all of it or nothing. A client id that the account knows already is not sent again."""
        return self._place(order)

    def place_limit_order(self, order: Order) -> OrderResult:
        """Deal at the limit or better, good until cancelled."""
        return self._place(order)

    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        """Put the stop of every open trade of the position at ``price``, rounded towards the entry; None removes them.

        At OANDA a stop is a trade's, not a position's. Asked for twice it is the same stop, so that one that was not
        answered is asked for again.
        """
        terms = self._terms_for(instrument)
        last: BrokerError | None = None
        for _ in range(_ROUNDS):
            account, _ = self._read()
            position = _positions(account).get(instrument)
            if position is None:
                if price is None:
                    return _stop_result(instrument, OrderStatus.CANCELLED, None)
                raise OrderRejected(f"there is no position in {instrument} to put a stop behind")
            side = 1 if position.units > 0 else -1
            wanted = None if price is None else terms.stop(price, side, position.average_price)
            level = None if wanted is None else Decimal(wanted)
            wrong = [t for t in _trades(account, instrument, side) if _stop_of(t, account) != level]
            if not wrong:
                status = OrderStatus.CANCELLED if level is None else OrderStatus.WORKING
                return _stop_result(instrument, status, level)
            stop = None if wanted is None else {"price": wanted, "timeInForce": "GTC"}
            for trade in wrong:
                try:
                    status_code, said = self._client.change("PUT", f"/trades/{trade['id']}/orders", {"stopLoss": stop})
                except OrderOutcomeUnknown as error:
                    last = error
                    continue
                if status_code >= 400 and status_code != 404:  # 404: the trade is gone
                    raise OrderRejected(f"OANDA refused a stop of {instrument} at {wanted}: {_refusal(said)}")
        raise last or OrderOutcomeUnknown(f"the stop of {instrument} is not where it was put", hint="it is read again")

    def cancel_order(self, client_id: str) -> OrderResult:
        """Cancel an order that waits; one already over keeps its outcome. OrderRejected where there is none."""
        last: BrokerError | None = None
        for _ in range(_ROUNDS):
            found = self.find_orders([client_id]).get(client_id)
            if found is None:
                raise OrderRejected(f"OANDA knows no order {client_id}")
            if found.status not in (OrderStatus.WORKING, OrderStatus.PARTIAL):
                return found
            try:
                self._client.change("PUT", f"{_at(client_id)}/cancel")
            except OrderOutcomeUnknown as error:  # a cancel may be asked for again
                last = error
        raise last or OrderOutcomeUnknown(f"order {client_id} is not cancelled yet", hint="it is read again")

    def close_all_positions(self) -> Sequence[OrderResult]:
        """Cancel what waits, close both sides of everything, and read again until it is flat.

        "ALL" closes what is there and opens nothing, so that a close that was not answered is asked for again after
        another look. What cannot be closed, in a closed market for one, is CANCELLED or REJECTED with OANDA's reason.
        """
        closing: dict[str, str] = {}  # client ids by instrument and side
        failed: BrokerError | None = None
        for _ in range(_ROUNDS):
            account, _clock = self._read()
            held = sorted(account["positions"], key=lambda p: -Decimal(p.get("marginUsed") or 0))
            sides = [(_name(p), side) for p in held for side in ("long", "short") if _side(p, side)]
            calls = [
                partial(self._client.change, "PUT", f"/orders/{one['id']}/cancel")
                for one in account["orders"]
                if one["type"] in _TRADES
            ]
            failed = None
            if not calls and not sides:
                break
            for name, side in sides:
                client_id = closing[f"{name} {side}"] = f"close-all-{name}-{side}-{account['lastTransactionID']}"
                extensions = {"id": client_id, "tag": "fxcarry"}
                body = {f"{side}Units": "ALL", f"{side}ClientExtensions": extensions}
                calls.append(partial(self._client.change, "PUT", f"/positions/{venue_name(name)}/close", body))
            for call in calls:
                try:
                    call()
                except BrokerError as error:  # the others are closed all the same
                    failed = error
        results = self.find_orders(list(closing.values()))
        if failed is not None:
            raise failed
        return [results[client_id] for client_id in closing.values() if client_id in results]

    # -- inside ----------------------------------------------------------------------------------------------------

    def _place(self, order: Order) -> OrderResult:
        terms = self._terms_for(order.instrument)
        known = self.find_orders([order.client_id]).get(order.client_id)  # and the log is at its end before we send
        if known is not None:
            return known
        units, before = order.units, self.get_positions().get(order.instrument) if order.is_reducing else None
        if order.is_reducing:
            held = Decimal(0) if before is None else before.units
            if held * units >= 0:
                return OrderResult.unfilled(order, OrderStatus.CANCELLED, "there is nothing to reduce")
            units = max(units, -held) if units < 0 else min(units, -held)
        body = order_body(order, terms, units, self._expected(order))
        status, said = self._client.change("POST", "/orders", body)
        if status >= 400:
            raise OrderRejected(f"OANDA refused the order: {_refusal(said)}", fields={"status": status})
        result = Orders(_transactions(said)).result(order.client_id)
        if result is None:
            raise OrderOutcomeUnknown(f"OANDA's answer {status} names no order {order.client_id}")
        if order.stop_fraction is not None and result.status is OrderStatus.FILLED:
            self._align_stops(order.instrument, order.stop_fraction)
        return result

    def _align_stops(self, instrument: str, fraction: float) -> None:
        """Where an order added to a position, put the stops of all its trades where the average entry wants them."""
        try:
            account, _ = self._read()
            position = _positions(account).get(instrument)
            if position is None:
                return
            side = 1 if position.units > 0 else -1
            if len(_trades(account, instrument, side)) > 1:
                self.set_stop(instrument, position.average_price * (1 - side * Decimal(repr(fraction))))
        except BrokerError as error:  # the order is filled and has its own stop: that is what the caller must hear
            _LOG.warning("the stops of %s are not aligned: %s", instrument, error)

    def _expected(self, order: Order) -> Decimal | None:
        """About where an order will fill."""
        if order.limit_price is not None:
            return order.limit_price
        if order.instrument in self._prices:
            bid, ask = self._prices[order.instrument]
        else:
            said, _ = self._client.read("/pricing", {"instruments": venue_name(order.instrument)})
            quoted = said["prices"][0]
            bid, ask = Decimal(quoted["closeoutBid"]), Decimal(quoted["closeoutAsk"])
        return ask if order.units > 0 else bid

    def _read(self) -> tuple[Mapping[str, Any], datetime | None]:
        """Account, positions, trades and orders, all of one instant, and the venue's clock."""
        if not self._is_connected:
            self.connect()
        said, clock = self._client.read("")
        return said["account"], clock

    def _read_terms(self) -> None:
        said, _ = self._client.read("/instruments")
        day = trade_date(self._clock())
        terms = [Terms.of(one) for one in said["instruments"] if one.get("type", "CURRENCY") == "CURRENCY"]
        self._terms, self._terms_of = {str(one.pair): one for one in terms}, day
        if self._archive is not None:
            self._archive.keep(day, terms)

    def _terms_for(self, instrument: str) -> Terms:
        if not self._terms:
            self._read_terms()
        if instrument not in self._terms:
            raise OrderRejected(f"account {self.account_id} does not trade {instrument!r}")
        return self._terms[instrument]

    def _days(self, instrument: str, weekday: int) -> int:
        """Days that a roll covers, as OANDA states them for the weekday; 0 where it does not."""
        terms = self._terms.get(instrument)
        return 0 if terms is None or terms.days is None else terms.days.get(weekday, 0)

    def _weights(self, positions: Mapping[str, Position], nav: Decimal, currency: str) -> dict[str, float]:
        """Net exposure by currency as a fraction of NAV: base at OANDA's own price, quote at cost."""
        if not positions:
            return {}
        names = ",".join(venue_name(name) for name in positions)
        said, _ = self._client.read("/pricing", {"instruments": names, "includeHomeConversions": "true"})
        worth = {one["currency"]: Decimal(one["positionValue"]) for one in said["homeConversions"]}
        net: dict[str, Decimal] = {}
        for name, position in positions.items():
            base, quote = Pair.parse(name)
            net[base] = net.get(base, Decimal(0)) + position.units * worth[base]
            net[quote] = net.get(quote, Decimal(0)) - position.units * position.average_price * worth[quote]
        net.pop(currency, None)
        return {of: float(amount / nav) for of, amount in net.items()}


def _at(client_id: str) -> str:
    """Where an order that waits is, by its client id."""
    return f"/orders/@{quote(client_id, safe='')}"


def _transactions(said: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The transactions an answer carries, in their order."""
    found = [value for key, value in said.items() if key.endswith("Transaction") and isinstance(value, Mapping)]
    return sorted(found, key=lambda one: int(one["id"]))


def _refusal(said: Mapping[str, Any]) -> str:
    """Why OANDA refused, in its own words."""
    reasons = [str(one["rejectReason"]) for one in _transactions(said) if one.get("rejectReason")]
    return ": ".join([*reasons[:1], str(said.get("errorMessage") or said.get("errorCode") or "no reason given")])


def _side(position: Mapping[str, Any], side: str) -> Decimal:
    return Decimal((position.get(side) or {}).get("units") or 0)


def _name(position: Mapping[str, Any]) -> str:
    return own_name(position["instrument"])


def _positions(account: Mapping[str, Any]) -> dict[str, Position]:
    """Net positions by instrument; a book with both sides is told."""
    found = {}
    for one in account["positions"]:
        long, short = _side(one, "long"), _side(one, "short")
        units = long + short
        if long and short:
            both = f"{long:+f} and {short:+f}; it counts as {units:+f}"
            _LOG.warning("%s is held on both sides: %s", _name(one), both)
        if units:
            average = Decimal(one["long" if units > 0 else "short"]["averagePrice"])
            found[_name(one)] = Position(instrument=_name(one), units=units, average_price=average)
    return found


def _trades(account: Mapping[str, Any], instrument: str, side: int) -> list[Mapping[str, Any]]:
    """Open trades of one side of an instrument."""
    return [
        trade
        for trade in account["trades"]
        if own_name(trade["instrument"]) == instrument and Decimal(trade["currentUnits"]) * side > 0
    ]


def _stop_of(trade: Mapping[str, Any], account: Mapping[str, Any]) -> Decimal | None:
    """The price of a trade's stop, None where it has none."""
    for order in account["orders"]:
        if order["type"].endswith("STOP_LOSS") and order["tradeID"] == trade["id"]:
            return Decimal(order["price"])
    return None


def _stop_result(instrument: str, status: OrderStatus, price: Decimal | None) -> OrderResult:
    return OrderResult(client_id=f"stop-{instrument}", instrument=instrument, status=status, price=price)


def _order(one: Mapping[str, Any]) -> Order:
    """A waiting order; one that was not placed by a client has OANDA's own id."""
    return Order(
        client_id=(one.get("clientExtensions") or {}).get("id") or f"oanda-{one['id']}",
        instrument=own_name(one["instrument"]),
        units=Decimal(one["units"]),
        type="limit",
        limit_price=Decimal(one["price"]) if one.get("price") else None,
        is_reducing=one.get("positionFill") == "REDUCE_ONLY",
    )
