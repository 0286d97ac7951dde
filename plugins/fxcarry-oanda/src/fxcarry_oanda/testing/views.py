"""The account as the fake venue states it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from fxcarry_oanda.testing.books import DAYS_CHARGED, ZERO, Tally, Trade
from fxcarry_oanda.testing.desk import Desk
from fxcarry_oanda.testing.log import Record
from fxcarry_oanda.testing.market import LONG_AGO, Terms, cents, plain, stamp
from fxcarry_oanda.testing.orders import Ticket

_WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_SHOWN_LIQUIDITY = 10_000_000


class Views:
    """Reads a desk; changes nothing."""

    def __init__(self, desk: Desk, account_id: str, alias: str) -> None:
        self.desk = desk
        self.books = desk.books
        self.market = desk.market
        self.account_id = account_id
        self.alias = alias

    # -- account ---------------------------------------------------------------------------------------------------

    def state(self) -> Record:
        """What depends on prices."""
        books = self.books
        balance, unrealized, used = books.balance, books.total_unrealized(), books.margin_used()
        nav = balance + unrealized
        free, value = max(nav - used, ZERO), books.position_value()
        return {
            "unrealizedPL": plain(unrealized),
            "NAV": plain(nav),
            "marginUsed": plain(used),
            "marginAvailable": plain(free),
            "positionValue": plain(value),
            "marginCloseoutUnrealizedPL": plain(unrealized),
            "marginCloseoutNAV": plain(nav),
            "marginCloseoutMarginUsed": plain(used),
            "marginCloseoutPercent": plain(books.closeout_percent().quantize(Decimal("0.00001"))),
            "marginCloseoutPositionValue": plain(value),
            "withdrawalLimit": plain(min(free, max(balance, ZERO))),
            "marginCallMarginUsed": plain(used),
            "marginCallPercent": plain((used / nav if nav > 0 else ZERO).quantize(Decimal("0.00001"))),
        }

    def summary(self) -> Record:
        """The account without what is in it."""
        books = self.books
        return {
            "id": self.account_id,
            "alias": self.alias,
            "currency": self.market.home,
            "balance": plain(cents(books.balance)),
            "createdByUserID": int(self.account_id.split("-")[2]),
            "createdTime": stamp(LONG_AGO),
            "guaranteedStopLossOrderMode": "DISABLED",
            "pl": plain(books.realized),
            "resettablePL": plain(books.realized),
            "resettablePLTime": "0",
            "financing": plain(books.financing),
            "commission": "0.0000",
            "guaranteedExecutionFees": "0.0000",
            "marginRate": "0.02",
            "openTradeCount": len(books.open_trades()),
            "openPositionCount": len(books.instruments()),
            "pendingOrderCount": len(self.desk.pending()),
            "hedgingEnabled": books.is_hedging,
            "lastOrderFillTimestamp": stamp(books.last_fill_at),
            **self.state(),
            "lastTransactionID": self.desk.log.last_id,
        }

    def account(self) -> Record:
        """The account with its trades, positions and pending orders."""
        return {
            **self.summary(),
            "trades": [self.trade(trade, is_summary=True) for trade in self.books.open_trades()],
            "positions": [self.position(name) for name in self.books.tallies],
            "orders": [self.order(ticket) for ticket in self.desk.pending()],
        }

    # -- positions and trades --------------------------------------------------------------------------------------

    def position(self, instrument: str) -> Record:
        """Both sides of an instrument that was ever traded."""
        tally = self.books.tallies[instrument]
        long, short = self._side(instrument, tally, 1), self._side(instrument, tally, -1)

        def both(name: str) -> str:
            return plain(Decimal(long[name]) + Decimal(short[name]))

        return {
            "instrument": instrument,
            "pl": both("pl"),
            "resettablePL": both("pl"),
            "financing": both("financing"),
            "commission": "0.0000",
            "guaranteedExecutionFees": "0.0000",
            "unrealizedPL": both("unrealizedPL"),
            "marginUsed": plain(self.books.margin(instrument)) if long["units"] != short["units"] else "0.0000",
            "long": long,
            "short": short,
        }

    def _side(self, instrument: str, tally: Tally, side: int) -> Record:
        trades = self.books.open_trades(instrument, side)
        units = sum((trade.units for trade in trades), ZERO)
        held: Record = {}
        if trades:
            average = sum((trade.units * trade.price for trade in trades), ZERO) / units
            held = {
                "averagePrice": plain(self.market.terms[instrument].rounded(average)),
                "tradeIDs": [trade.id for trade in trades],
            }
        return {
            "units": plain(units),
            **held,
            "pl": plain(tally.realized[side]),
            "resettablePL": plain(tally.realized[side]),
            "financing": plain(tally.financing[side]),
            "guaranteedExecutionFees": "0.0000",
            "unrealizedPL": plain(self.books.total_unrealized(trades)),
        }

    def trade(self, trade: Trade, *, is_summary: bool = False) -> Record:
        """A trade with its stop, or with the id of its stop."""
        shown: Record = {
            "id": trade.id,
            "instrument": trade.instrument,
            "price": plain(trade.price),
            "openTime": stamp(trade.opened_at + self.desk.skew),
            "initialUnits": plain(trade.initial_units),
            "initialMarginRequired": plain(trade.initial_margin),
            "state": "OPEN" if trade.is_open else "CLOSED",
            "currentUnits": plain(trade.units),
            "realizedPL": plain(trade.realized),
            "financing": plain(trade.financing),
        }
        if trade.extensions:
            shown["clientExtensions"] = trade.extensions
        if trade.closing_ids:
            average = trade.average_close_price
            shown["closingTransactionIDs"] = list(trade.closing_ids)
            if average is not None:
                shown["averageClosePrice"] = plain(self.market.terms[trade.instrument].rounded(average))
        if trade.closed_at is not None:
            return {**shown, "closeTime": stamp(trade.closed_at + self.desk.skew)}
        terms = self.market.terms[trade.instrument]
        margin = cents(abs(trade.units) * self.market.value(terms.base) * terms.margin_rate)
        shown |= {"unrealizedPL": plain(self.books.unrealized(trade)), "marginUsed": plain(margin)}
        if trade.stop_id is not None:
            stop = self.desk.tickets[trade.stop_id]
            shown |= {"stopLossOrderID": stop.id} if is_summary else {"stopLossOrder": self.order(stop)}
        return shown

    # -- orders ----------------------------------------------------------------------------------------------------

    def order(self, ticket: Ticket) -> Record:
        """An order and what became of it."""
        facts = {name: value for name, value in ticket.facts.items() if name not in _NOT_OF_AN_ORDER}
        outcome = {name: stamp(v) if isinstance(v, datetime) else v for name, v in ticket.outcome.items()}
        created = {"id": ticket.id, "createTime": stamp(ticket.created_at), "state": ticket.state}
        return {**created, "type": ticket.type, **facts, **outcome}

    # -- market ----------------------------------------------------------------------------------------------------

    def instrument(self, terms: Terms, *, with_financing: bool) -> Record:
        """What can be traded."""
        digits = terms.display_precision
        shown: Record = {
            "name": terms.name,
            "type": "CURRENCY",
            "displayName": terms.name.replace("_", "/"),
            "pipLocation": 1 - digits,
            "displayPrecision": digits,
            "tradeUnitsPrecision": terms.units_precision,
            "minimumTradeSize": plain(terms.minimum_units),
            "maximumTrailingStopDistance": plain(Decimal(1).scaleb(5 - digits).quantize(_tick(digits))),
            "minimumTrailingStopDistance": plain(Decimal(50).scaleb(-digits).quantize(_tick(digits))),
            "maximumPositionSize": "0",
            "maximumOrderUnits": plain(terms.maximum_units),
            "marginRate": plain(terms.margin_rate),
            "guaranteedStopLossOrderMode": "DISABLED",
            "tags": [{"type": "ASSET_CLASS", "name": "CURRENCY"}],
        }
        if with_financing:
            long, short = self.books.rates[terms.name]
            days = [{"dayOfWeek": day, "daysCharged": n} for day, n in zip(_WEEKDAYS, DAYS_CHARGED)]
            shown["financing"] = {"longRate": long, "shortRate": short, "financingDaysOfWeek": days}
        return shown

    def price(self, name: str) -> Record:
        """The price of an instrument; without one where nothing was ever quoted."""
        price = self.market.prices.get(name)
        is_tradeable = self.market.is_tradeable(name)
        shown: Record = {"type": "PRICE", "instrument": name, "tradeable": is_tradeable}
        if price is None:
            now = stamp(self.market.at + self.desk.skew)
            return {**shown, "time": now, "status": "invalid", "bids": [], "asks": []}
        depth = self.market.liquidity.get(name, _SHOWN_LIQUIDITY)
        bid, ask = plain(price.bid), plain(price.ask)
        shown |= {
            "time": stamp(price.at + self.desk.skew),
            "status": "tradeable" if is_tradeable else "non-tradeable",
            "bids": [{"price": bid, "liquidity": depth}],
            "asks": [{"price": ask, "liquidity": depth}],
            "closeoutBid": bid,
            "closeoutAsk": ask,
        }
        if self.market.can_value(name[4:]):
            gain, loss = self.market.factors(name[4:])
            shown["quoteHomeConversionFactors"] = {"positiveUnits": plain(gain), "negativeUnits": plain(loss)}
        return shown

    def conversions(self, names: list[str]) -> list[Record]:
        """Factors into account currency of every currency in these instruments."""
        rows = []
        for currency in sorted({c for name in names for c in (name[:3], name[4:])} | {self.market.home}):
            if self.market.can_value(currency):
                gain, loss = self.market.factors(currency)
                value = self.market.value(currency)
                rows.append(
                    {
                        "currency": currency,
                        "accountGain": plain(gain),
                        "accountLoss": plain(loss),
                        "positionValue": plain(value),
                    }
                )
        return rows

    # -- changes ---------------------------------------------------------------------------------------------------

    def changes(self, since: int) -> Record:
        """What transactions after ``since`` did to orders and trades."""
        records = self.desk.log.records[since:]
        orders: dict[str, list[Record]] = {name: [] for name in ("Created", "Cancelled", "Filled", "Triggered")}
        trades: dict[str, list[Record]] = {name: [] for name in ("Opened", "Reduced", "Closed")}
        touched: dict[str, Any] = {}
        for record in records:
            if record["id"] in self.desk.tickets:
                orders["Created"].append(self.order(self.desk.tickets[record["id"]]))
            elif record["type"] in ("ORDER_FILL", "ORDER_CANCEL"):
                outcome = "Filled" if record["type"] == "ORDER_FILL" else "Cancelled"
                orders[outcome].append(self.order(self.desk.tickets[record["orderID"]]))
            for name, parts in (
                ("Opened", [record.get("tradeOpened")]),
                ("Reduced", [record.get("tradeReduced")]),
                ("Closed", record.get("tradesClosed", [])),
            ):
                for part in filter(None, parts):
                    trade = self.books.trades[part["tradeID"]]
                    touched[trade.instrument] = None
                    trades[name].append(self.trade(trade, is_summary=True))
        return {
            **{f"orders{name}": rows for name, rows in orders.items()},
            **{f"trades{name}": rows for name, rows in trades.items()},
            "positions": [self.position(name) for name in touched],
            "transactions": records,
        }

    def changing(self) -> Record:
        """What depends on prices, of the account and of all that is open."""
        rows = []
        for trade in self.books.open_trades():
            shown = self.trade(trade)
            rows.append({name: shown[name] for name in ("id", "unrealizedPL", "marginUsed")})
        positions = []
        for name in self.books.instruments():
            shown = self.position(name)
            positions.append(
                {
                    "instrument": name,
                    "netUnrealizedPL": shown["unrealizedPL"],
                    "longUnrealizedPL": shown["long"]["unrealizedPL"],
                    "shortUnrealizedPL": shown["short"]["unrealizedPL"],
                    "marginUsed": shown["marginUsed"],
                }
            )
        return {**self.state(), "orders": [], "trades": rows, "positions": positions}


_NOT_OF_AN_ORDER = frozenset({"reason", "cancellingTransactionID", "orderFillTransactionID"})


def _tick(digits: int) -> Decimal:
    return Decimal(1).scaleb(-digits)
