"""The dealing desk of the fake venue: takes orders, deals or cancels them, keeps those that wait."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from fxcarry_oanda.testing.books import ZERO, Books, Trade, full_price
from fxcarry_oanda.testing.log import Log, Record
from fxcarry_oanda.testing.market import Market, cents, plain
from fxcarry_oanda.testing.orders import INVALID, Ticket, complete, malformed, message, refusal

Happening = Literal["cancelled", "rejected", "partial", "fills-late", "arrives-late"]
"""What the venue does with the next order. ``cancelled``: it is taken, and cancelled at once. ``rejected``: it is
refused. ``partial``: there is liquidity for half of it. ``fills-late``: it is taken, and dealt when the market has
moved on. ``arrives-late``: nobody knows of it before the market has moved on; the answer is a gateway's time-out.
"""

Answer = tuple[int, Record | None]
"""Status and body; no body where a gateway answers instead of the venue."""

_SIDES: tuple[tuple[Literal["long", "short"], int], ...] = (("long", 1), ("short", -1))
_FILL_REASONS = {
    "CLIENT_ORDER": "MARKET_ORDER",
    "TRADE_CLOSE": "MARKET_ORDER_TRADE_CLOSE",
    "POSITION_CLOSEOUT": "MARKET_ORDER_POSITION_CLOSEOUT",
    "MARGIN_CLOSEOUT": "MARKET_ORDER_MARGIN_CLOSEOUT",
}


class Desk:
    """Orders of one account. Every call runs at the prices and the time the market stands at."""

    def __init__(self, market: Market, books: Books, log: Log, *, is_fifo: bool) -> None:
        self.market = market
        self.books = books
        self.log = log
        self.is_fifo = is_fifo
        self.skew = market.at - market.at
        self.tickets: dict[str, Ticket] = {}
        self.script: list[tuple[Happening, str]] = []
        self._late: list[Ticket] = []
        self._on_the_way: list[tuple[Record, str]] = []

    # -- what a client asks for ------------------------------------------------------------------------------------

    def place(self, order: Any, request: str = "") -> Answer:
        """Take, reject or refuse an order: 201, 400 with a reject transaction, or 400 without."""
        if (problem := malformed(order, self.market)) is not None:
            return 400, {"errorMessage": problem, "errorCode": INVALID}
        happening, reason = self.script.pop(0) if self.script else ("", "")
        if happening == "arrives-late":
            self._on_the_way.append((order, request))
            return 504, None
        mark = self.log.begin(request)
        kind, facts = order["type"], complete(order)
        trade = self.books.trades.get(order.get("tradeID", ""))
        if kind == "STOP_LOSS" and (trade is None or not trade.is_open):
            return self._reject(mark, kind, facts, "TRADE_DOESNT_EXIST", status=404)
        instrument = trade.instrument if trade is not None else order["instrument"]
        why = refusal(kind, facts, instrument, self.market)
        if why is None and kind == "STOP_LOSS" and trade is not None and trade.stop_id is not None:
            why = "STOP_LOSS_ORDER_ALREADY_EXISTS"
        if why is None and happening == "rejected":
            why = reason or "INSUFFICIENT_MARGIN"
        if why is not None:
            return self._reject(mark, kind, facts, why)
        if kind == "STOP_LOSS":
            assert trade is not None
            ticket = self._stop(trade, facts)
        else:
            ticket = self._take(kind, facts, instrument, Decimal(facts["units"]))
        if happening == "cancelled":
            self._cancel(ticket, reason or "INSUFFICIENT_LIQUIDITY")
        elif happening == "fills-late":
            self._late.append(ticket)
        else:
            self._try(ticket, liquidity=int(abs(ticket.left)) // 2 if happening == "partial" else None)
        return 201, self._told(mark, {f"order{name}Transaction": record for name, record in self._steps(mark)})

    def close_position(self, instrument: str, wanted: Record, request: str = "") -> Answer:
        """Close the long side, the short side or both, by ``longUnits`` and ``shortUnits``."""
        mark = self.log.begin(request)
        body: Record = {}
        asked = {side: wanted.get(f"{side}Units", "ALL" if not wanted else "NONE") for side, _ in _SIDES}
        for side, sign in _SIDES:
            if asked[side] == "NONE":
                continue
            held = self.books.units(instrument, sign)
            units = abs(held) if asked[side] == "ALL" else Decimal(asked[side])
            facts = self._closing_facts("POSITION_CLOSEOUT", instrument, -sign * units)
            facts[f"{side}PositionCloseout"] = {"instrument": instrument, "units": asked[side]}
            facts["clientExtensions"] = wanted.get(f"{side}ClientExtensions")
            if not held or units > abs(held):
                code = "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE" if held else "CLOSEOUT_POSITION_DOESNT_EXIST"
                status = 400 if self.books.open_trades(instrument) else 404
                return self._reject(mark, "MARKET", facts, code, status=status, name=f"{side}OrderReject")
            before = len(self.log.records)
            trades = [trade.id for trade in self.books.open_trades(instrument, sign)]
            self._try(self._take("MARKET", facts, instrument, -sign * units, trades))
            body |= {f"{side}Order{name}Transaction": record for name, record in self._steps(before)}
        return 200, self._told(mark, body)

    def close_trade(self, number: str, wanted: str, request: str = "") -> Answer:
        """Close a trade, or part of it."""
        mark = self.log.begin(request)
        trade = self.books.trades.get(number)
        if trade is None or not trade.is_open:
            facts = {"tradeClose": {"tradeID": number, "units": wanted}, "reason": "TRADE_CLOSE"}
            return self._reject(mark, "MARKET", facts, "TRADE_DOESNT_EXIST", status=404)
        sign = 1 if trade.units > 0 else -1
        units = abs(trade.units) if wanted == "ALL" else Decimal(wanted)
        facts = self._closing_facts("TRADE_CLOSE", trade.instrument, -sign * units)
        facts["tradeClose"] = {"tradeID": number, "units": wanted}
        if not 0 < units <= abs(trade.units):
            return self._reject(mark, "MARKET", facts, "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE")
        ticket = self._take("MARKET", facts, trade.instrument, -sign * units, [number])
        if self.is_fifo and self.books.open_trades(trade.instrument, sign)[0] is not trade:
            self._cancel(ticket, "FIFO_VIOLATION")
        else:
            self._try(ticket)
        return 200, self._told(mark, {f"order{name}Transaction": record for name, record in self._steps(mark)})

    def set_stop(self, trade: Trade, stop: Record | None, request: str = "") -> Answer:
        """Give a trade a stop, another one in place of its own, or none."""
        mark = self.log.begin(request)
        body: Record = {}
        old = self.tickets[trade.stop_id] if trade.stop_id is not None else None
        if stop is None:
            if old is None:
                return 404, {"errorCode": "NO_SUCH_ORDER", "errorMessage": message("NO_SUCH_ORDER")}
            body["stopLossOrderCancelTransaction"] = self._cancel(old, "CLIENT_REQUEST")
            return 200, self._told(mark, body)
        order = {"type": "STOP_LOSS", "tradeID": trade.id, **stop}
        if (problem := malformed(order, self.market)) is not None:
            return 400, {"errorMessage": problem.replace("order.", "stopLoss."), "errorCode": INVALID}
        facts = complete(order)
        facts["reason"] = "CLIENT_ORDER" if old is None else "REPLACEMENT"
        if (why := refusal("STOP_LOSS", facts, trade.instrument, self.market)) is not None:
            return self._reject(mark, "STOP_LOSS", facts, why, name="stopLossOrderReject")
        if old is not None:
            number = str(len(self.log.records) + 2)
            facts |= {"replacesOrderID": old.id, "cancellingTransactionID": str(len(self.log.records) + 1)}
            body["stopLossOrderCancelTransaction"] = self._cancel(old, "CLIENT_REQUEST_REPLACED", replaced_by=number)
        ticket = self._stop(trade, facts)
        body["stopLossOrderTransaction"] = self.log.records[-1]
        self._try(ticket)
        if ticket.state == "FILLED":
            body["stopLossOrderFillTransaction"] = self.log.find(ticket.outcome["fillingTransactionID"])
        return 200, self._told(mark, body)

    def cancel(self, specifier: str, request: str = "") -> Answer:
        """Cancel an order that waits, by its id or its client's."""
        mark = self.log.begin(request)
        ticket = self.find(specifier)
        if ticket is None or ticket.state != "PENDING":
            name, number = ("clientOrderID", specifier[1:]) if specifier.startswith("@") else ("orderID", specifier)
            facts = {name: number, "rejectReason": "ORDER_DOESNT_EXIST"}
            record = self.log.add("ORDER_CANCEL_REJECT", self._now, facts)
            error = {"errorCode": "ORDER_DOESNT_EXIST", "errorMessage": message("ORDER_DOESNT_EXIST")}
            return 404, self._told(mark, {"orderCancelRejectTransaction": record, **error})
        return 200, self._told(mark, {"orderCancelTransaction": self._cancel(ticket, "CLIENT_REQUEST")})

    def find(self, specifier: str) -> Ticket | None:
        """An order by its id, or one that waits by its client's id (@…)."""
        if specifier.startswith("@"):
            return next((t for t in self.pending() if t.client_id == specifier[1:]), None)
        return self.tickets.get(specifier)

    def pending(self) -> list[Ticket]:
        """Orders that wait, oldest first."""
        return [ticket for ticket in self.tickets.values() if ticket.state == "PENDING"]

    # -- what happens by itself ------------------------------------------------------------------------------------

    def expire(self, at: datetime, *, is_closing: bool) -> None:
        """Cancel what was good until ``at``, and at 17:00 New York what was good for the day."""
        for ticket in self.pending():
            is_over = ticket.expires_at is not None and ticket.expires_at <= at
            if is_over or (is_closing and ticket.facts["timeInForce"] == "GFD"):
                self.log.begin()
                self._cancel(ticket, "TIME_IN_FORCE_EXPIRED")

    def expiries(self, until: datetime) -> Iterator[datetime]:
        """When orders that wait are over, up to ``until``."""
        for ticket in self.pending():
            if ticket.expires_at is not None and ticket.expires_at <= until:
                yield ticket.expires_at

    def react(self) -> None:
        """Deal at the new prices: what was late, stops, limits, and the margin close-out."""
        for order, request in self._on_the_way:
            self.place(order, request)
        self._on_the_way = []
        late, self._late = self._late, []
        for ticket in late:
            self.log.begin()
            self._try(ticket)
        for kind in ("STOP_LOSS", "LIMIT"):
            for ticket in self.pending():
                if ticket.type == kind and ticket.state == "PENDING" and self.market.is_tradeable(ticket.instrument):
                    self.log.begin()
                    self._try(ticket)
        if self.books.closeout_percent() >= 1:
            self._close_out()

    def _close_out(self) -> None:
        for instrument in self.books.instruments():
            for _, sign in _SIDES:
                trades = self.books.open_trades(instrument, sign)
                if trades and self.market.is_tradeable(instrument):
                    self.log.begin()
                    units = -self.books.units(instrument, sign)
                    facts = self._closing_facts("MARGIN_CLOSEOUT", instrument, units)
                    facts["marginCloseout"] = {"reason": "MARGIN_CHECK_VIOLATION"}
                    self._try(self._take("MARKET", facts, instrument, units, [trade.id for trade in trades]))

    # -- dealing ---------------------------------------------------------------------------------------------------

    @property
    def _now(self) -> datetime:
        return self.market.at + self.skew

    def _closing_facts(self, reason: str, instrument: str, units: Decimal) -> Record:
        facts = {"instrument": instrument, "units": plain(units), "timeInForce": "FOK", "positionFill": "REDUCE_ONLY"}
        return {**facts, "reason": reason}

    def _take(
        self, kind: str, facts: Record, instrument: str, units: Decimal, trades: list[str] | None = None
    ) -> Ticket:
        facts = {name: value for name, value in facts.items() if value is not None}
        record = self.log.add(f"{kind}_ORDER", self._now, facts)
        ticket = Ticket(record["id"], kind, facts, self._now, instrument, units, trades)
        self.tickets[ticket.id] = ticket
        return ticket

    def _stop(self, trade: Trade, facts: Record) -> Ticket:
        """A stop of a trade; a distance becomes a price."""
        if "distance" in facts:
            price = self.market.prices[trade.instrument]
            near = price.bid if trade.units > 0 else price.ask
            base = trade.price if facts["reason"] == "ON_FILL" else near
            level = base - Decimal(facts["distance"]) * (1 if trade.units > 0 else -1)
            facts = {**facts, "price": plain(self.market.terms[trade.instrument].rounded(level))}
        ticket = self._take("STOP_LOSS", facts, trade.instrument, -trade.units, [trade.id])
        trade.stop_id = ticket.id
        return ticket

    def _try(self, ticket: Ticket, liquidity: int | None = None) -> None:
        """Deal what can be dealt of an order now; it waits, is filled or is cancelled."""
        in_force = ticket.facts["timeInForce"]
        is_waiting = ticket.type != "MARKET" and in_force not in ("FOK", "IOC")
        if ticket.type == "STOP_LOSS":
            ticket.left = -self.books.trades[ticket.facts["tradeID"]].units
        if not self.market.is_tradeable(ticket.instrument):
            if not is_waiting:
                self._cancel(ticket, "MARKET_HALTED")
            return
        quote = self.market.prices[ticket.instrument]
        price = quote.ask if ticket.left > 0 else quote.bid
        if ticket.type != "MARKET" and not self._is_reached(ticket, price):
            if not is_waiting:
                self._cancel(ticket, "TIME_IN_FORCE_EXPIRED")
            return
        available = self.market.liquidity.get(ticket.instrument) if liquidity is None else liquidity
        units = ticket.left
        if available is not None and abs(units) > available and ticket.trades is None:
            if is_waiting:
                return
            units = Decimal(available) if units > 0 else Decimal(-available)
            if in_force == "FOK" or not units:
                self._cancel(ticket, "INSUFFICIENT_LIQUIDITY")
                return
        closing, opening = self._plan(ticket, units)
        if (why := self._obstacle(ticket, price, closing, opening)) is not None:
            self._cancel(ticket, why)
            return
        self._deal(ticket, price, closing, opening)
        if units != ticket.left:  # good for what could be dealt at once, and no more
            self._cancel(ticket, "INSUFFICIENT_LIQUIDITY")

    def _is_reached(self, ticket: Ticket, price: Decimal) -> bool:
        """Whether the dealing side is at the limit or better, or at the stop or worse."""
        is_below = price <= ticket.price
        is_above = price >= ticket.price
        return is_below if (ticket.left > 0) == (ticket.type == "LIMIT") else is_above

    def _plan(self, ticket: Ticket, units: Decimal) -> tuple[list[tuple[Trade, Decimal]], Decimal]:
        """Which trades are closed by how much (signed as the trade is), oldest first, and what is opened."""
        side = 1 if units > 0 else -1
        mode = ticket.facts.get("positionFill", "REDUCE_ONLY")
        if mode == "DEFAULT":
            mode = "OPEN_ONLY" if self.books.is_hedging else "REDUCE_FIRST"
        left = abs(units)
        closing = []
        if mode != "OPEN_ONLY":
            for trade in self.books.open_trades(ticket.instrument, -side):
                if left and (ticket.trades is None or trade.id in ticket.trades):
                    part = min(left, abs(trade.units))
                    closing.append((trade, -side * part))
                    left -= part
        return closing, ZERO if mode == "REDUCE_ONLY" else side * left

    def _obstacle(
        self, ticket: Ticket, price: Decimal, closing: list[tuple[Trade, Decimal]], opening: Decimal
    ) -> str | None:
        """Why an order that could be dealt is cancelled instead."""
        bound = ticket.facts.get("priceBound")
        if bound is not None and (price - Decimal(bound)) * ticket.left > 0:
            return "BOUNDS_VIOLATION"
        if not closing and not opening:
            return "POSITION_CLOSEOUT_FAILED"  # what the venue calls it is not known
        if opening:
            side = 1 if opening > 0 else -1
            if not self.books.is_hedging and not closing and self.books.open_trades(ticket.instrument, -side):
                return "FIFO_VIOLATION"  # OPEN_ONLY against a position, where there is no hedging
            others = sum((self.books.margin(n) for n in self.books.instruments() if n != ticket.instrument), ZERO)
            change = {side: abs(opening), -side: -sum((abs(units) for _, units in closing), ZERO)}
            if others + self.books.margin(ticket.instrument, change[1], change[-1]) > self.books.nav():
                return "INSUFFICIENT_MARGIN"
            if (stop := ticket.facts.get("stopLossOnFill")) is not None:
                quote = self.market.prices[ticket.instrument]
                near = quote.bid if opening > 0 else quote.ask
                level = Decimal(stop["price"]) if "price" in stop else price - side * Decimal(stop["distance"])
                if (near - level) * side <= 0:
                    return "STOP_LOSS_ON_FILL_LOSS"
        return None

    def _deal(self, ticket: Ticket, price: Decimal, closing: list[tuple[Trade, Decimal]], opening: Decimal) -> None:
        """Book a fill, and what it brings along: stops of closed trades go, a stop on fill comes."""
        at, terms = self._now, self.market.terms[ticket.instrument]
        number = str(len(self.log.records) + 1)
        reduced = [self.books.reduce(trade, units, price, number, self.market.at) for trade, units in closing]
        opened = None
        if opening:
            extensions = ticket.facts.get("tradeClientExtensions")
            opened = self.books.open(number, ticket.instrument, opening, price, self.market.at, extensions)
        closed_parts = [part for part, (trade, _) in zip(reduced, closing) if not trade.is_open]
        open_parts = [part for part, (trade, _) in zip(reduced, closing) if trade.is_open]
        units = opening - sum((units for _, units in closing), ZERO)
        gain, loss = self.market.factors(terms.quote)
        base_gain, base_loss = self.market.factors(terms.base)
        parts = [*reduced, *([opened] if opened else [])]
        reason = _FILL_REASONS[ticket.facts["reason"]] if ticket.type == "MARKET" else f"{ticket.type}_ORDER"
        facts: Record = {
            "orderID": ticket.id,
            "clientOrderID": ticket.client_id,
            "instrument": ticket.instrument,
            "units": plain(units),
            "requestedUnits": plain(ticket.left),
            "gainQuoteHomeConversionFactor": plain(gain),
            "lossQuoteHomeConversionFactor": plain(loss),
            "homeConversionFactors": {
                "gainQuoteHome": {"factor": plain(gain)},
                "lossQuoteHome": {"factor": plain(loss)},
                "gainBaseHome": {"factor": plain(base_gain)},
                "lossBaseHome": {"factor": plain(base_loss)},
            },
            "price": plain(price),
            "fullVWAP": plain(price),
            "fullPrice": full_price(self.market.prices[ticket.instrument]),
            "reason": reason,
            "pl": plain(_sum(parts, "realizedPL")),
            "quotePL": plain(sum((Decimal(part["quotePL"]) for part in reduced), ZERO)),
            "financing": plain(_sum(parts, "financing")),
            "commission": "0.0000",
            "guaranteedExecutionFee": "0.0000",
            "accountBalance": plain(self.books.balance),
            "halfSpreadCost": plain(_sum(parts, "halfSpreadCost")),
            "tradeOpened": opened,
            "tradesClosed": closed_parts or None,
            "tradeReduced": open_parts[0] if open_parts else None,
        }
        self.log.add("ORDER_FILL", at, facts)
        self.books.last_fill_at = at
        ticket.state = "FILLED"
        ticket.outcome |= {"fillingTransactionID": number, "filledTime": at}
        if opened:
            ticket.outcome["tradeOpenedID"] = number
        if open_parts:
            ticket.outcome["tradeReducedID"] = open_parts[0]["tradeID"]
        if closed_parts:
            ticket.outcome["tradeClosedIDs"] = [part["tradeID"] for part in closed_parts]
        for trade, _ in closing:
            if not trade.is_open and trade.stop_id not in (None, ticket.id):
                self._cancel(self.tickets[str(trade.stop_id)], "LINKED_TRADE_CLOSED")
            elif not trade.is_open:
                trade.stop_id = None
        if opened and "stopLossOnFill" in ticket.facts:
            stop = {**ticket.facts["stopLossOnFill"], "tradeID": number, "reason": "ON_FILL"}
            stop |= {"triggerCondition": "DEFAULT", "orderFillTransactionID": number}
            self._stop(self.books.trades[number], stop)

    def _cancel(self, ticket: Ticket, reason: str, replaced_by: str | None = None) -> Record:
        facts = {
            "orderID": ticket.id,
            "clientOrderID": ticket.client_id,
            "reason": reason,
            "replacedByOrderID": replaced_by,
        }
        record = self.log.add("ORDER_CANCEL", self._now, facts)
        ticket.state = "CANCELLED"
        ticket.outcome |= {"cancellingTransactionID": record["id"], "cancelledTime": self._now}
        if replaced_by is not None:
            ticket.outcome["replacedByOrderID"] = replaced_by
        if ticket.type == "STOP_LOSS":
            self.books.trades[ticket.facts["tradeID"]].stop_id = None
        return record

    # -- answers ---------------------------------------------------------------------------------------------------

    def _reject(
        self, mark: int, kind: str, facts: Record, code: str, *, status: int = 400, name: str = "orderReject"
    ) -> Answer:
        record = self.log.add(f"{kind}_ORDER_REJECT", self._now, {**facts, "rejectReason": code})
        error = {"errorCode": code, "errorMessage": message(code)}
        return status, self._told(mark, {f"{name}Transaction": record, **error})

    def _steps(self, mark: int) -> Iterator[tuple[str, Record]]:
        """The first order, its fill and its cancel among what was booked since ``mark``, by the names of an answer."""
        records = self.log.records[mark:]
        yield "Create", records[0]
        for record in records[1:]:
            if record.get("orderID") == records[0]["id"]:
                yield {"ORDER_FILL": "Fill", "ORDER_CANCEL": "Cancel"}[record["type"]], record

    def _told(self, mark: int, body: Record) -> Record:
        return {**body, "relatedTransactionIDs": self.log.ids(mark), "lastTransactionID": self.log.last_id}


def _sum(parts: list[Record], name: str) -> Decimal:
    return cents(sum((Decimal(part.get(name, "0")) for part in parts), ZERO))
