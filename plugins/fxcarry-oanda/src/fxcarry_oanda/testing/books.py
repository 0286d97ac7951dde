"""Trades, balance, margin and financing of the fake account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import attrs

from fxcarry_oanda.testing.log import Log, Record
from fxcarry_oanda.testing.market import LONG_AGO, Market, Price, cents, plain, stamp

ZERO = Decimal(0)
_CLOSEOUT_LEVEL = Decimal("0.5")  # all is closed where NAV falls to half of the margin
_YEAR = Decimal(365)
_DAY_SECONDS = Decimal(86_400)
DAYS_CHARGED = (1, 1, 3, 1, 1, 0, 0)
"""Days of financing charged at 17:00 New York from Monday to Sunday: those of the weekend on Wednesday."""


@attrs.define
class Trade:
    """One trade: ``units`` are what is left of it, > 0 long, bought or sold at ``price``."""

    id: str
    instrument: str
    units: Decimal
    initial_units: Decimal
    price: Decimal
    opened_at: datetime
    initial_margin: Decimal
    accrued_until: datetime
    extensions: Record | None = None
    realized: Decimal = ZERO
    financing: Decimal = ZERO
    closing_ids: list[str] = attrs.field(factory=list)
    closed_at: datetime | None = None
    close_value: Decimal = ZERO
    stop_id: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything is left of it."""
        return self.closed_at is None

    @property
    def average_close_price(self) -> Decimal | None:
        """What its closed units were closed at; None before any."""
        closed = self.initial_units - self.units
        return self.close_value / closed if closed else None


@attrs.define
class Tally:
    """What was realised in one instrument, by side (1 = long, -1 = short)."""

    realized: dict[int, Decimal] = attrs.field(factory=lambda: {1: ZERO, -1: ZERO})
    financing: dict[int, Decimal] = attrs.field(factory=lambda: {1: ZERO, -1: ZERO})


class Books:
    """The account. ``realized`` and ``financing`` are lifetime sums in account currency; ``balance`` holds both."""

    def __init__(
        self,
        market: Market,
        log: Log,
        rates: Mapping[str, tuple[str, str]],
        *,
        balance: Decimal,
        is_hedging: bool,
        is_continuous: bool,
    ) -> None:
        self.market = market
        self.log = log
        self.rates = rates
        self.balance = balance
        self.is_hedging = is_hedging
        self.is_continuous = is_continuous
        self.realized = ZERO
        self.financing = ZERO
        self.trades: dict[str, Trade] = {}
        self._open: dict[str, Trade] = {}
        self.tallies: dict[str, Tally] = {}
        self.last_fill_at = LONG_AGO

    # -- what is held ----------------------------------------------------------------------------------------------

    def open_trades(self, instrument: str | None = None, side: int = 0) -> list[Trade]:
        """Open trades, oldest first; of one instrument, of one side (1 = long, -1 = short)."""
        return [
            trade
            for trade in self._open.values()
            if instrument in (None, trade.instrument) and (not side or trade.units * side > 0)
        ]

    def instruments(self) -> list[str]:
        """Instruments with an open trade."""
        return sorted({trade.instrument for trade in self.open_trades()})

    def units(self, instrument: str, side: int = 0) -> Decimal:
        """Net units, or those of one side."""
        return sum((trade.units for trade in self.open_trades(instrument, side)), ZERO)

    # -- what it is worth ------------------------------------------------------------------------------------------

    def unrealized(self, trade: Trade) -> Decimal:
        """P&L if the trade were closed now, in account currency."""
        price = self.market.prices[trade.instrument]
        closing = price.bid if trade.units > 0 else price.ask
        quote = self.market.terms[trade.instrument].quote
        return cents(self.market.into_home(trade.units * (closing - trade.price), quote))

    def total_unrealized(self, trades: Sequence[Trade] | None = None) -> Decimal:
        """P&L if these trades (None = all that are open) were closed now."""
        return sum((self.unrealized(t) for t in (self.open_trades() if trades is None else trades)), ZERO)

    def nav(self) -> Decimal:
        """Balance and unrealised P&L."""
        return self.balance + self.total_unrealized()

    def margin(self, instrument: str, more_long: Decimal = ZERO, more_short: Decimal = ZERO) -> Decimal:
        """Margin of a position, or of one with so many more units on either side: of the net units, in a hedging
        account of the larger side.
        """
        terms = self.market.terms[instrument]
        long, short = self.units(instrument, 1) + more_long, more_short - self.units(instrument, -1)
        size = max(long, short) if self.is_hedging else abs(long - short)
        return cents(size * self.market.value(terms.base) * terms.margin_rate)

    def margin_used(self) -> Decimal:
        """Margin of all positions."""
        return sum((self.margin(name) for name in self.instruments()), ZERO)

    def position_value(self) -> Decimal:
        """Notional of all positions in account currency."""
        values = (abs(self.units(n)) * self.market.value(self.market.terms[n].base) for n in self.instruments())
        return cents(sum(values, ZERO))

    def closeout_percent(self) -> Decimal:
        """From 1 on, everything is closed."""
        used, nav = self.margin_used(), self.nav()
        if not used:
            return ZERO
        return used * _CLOSEOUT_LEVEL / nav if nav > 0 else Decimal(100)

    # -- what is booked --------------------------------------------------------------------------------------------

    def reduce(self, trade: Trade, units: Decimal, price: Decimal, number: str, at: datetime) -> Record:
        """Close ``units`` (signed as the trade is) of a trade; the answer is its part of the fill."""
        terms = self.market.terms[trade.instrument]
        quote_pl = units * (price - trade.price)
        pl = cents(self.market.into_home(quote_pl, terms.quote))
        due = self.accrued(trade, at) * units / trade.units if self.is_continuous else ZERO
        financing = cents(due)
        side = 1 if trade.units > 0 else -1
        trade.units -= units
        trade.realized += pl
        trade.financing += financing
        trade.close_value += units * price
        trade.closing_ids.append(number)
        if not trade.units:
            trade.closed_at = at
            del self._open[trade.id]
        tally = self.tallies[trade.instrument]
        tally.realized[side] += pl
        tally.financing[side] += financing
        self.realized += pl
        self.financing += financing
        self.balance += pl + financing
        return {
            "tradeID": trade.id,
            "units": plain(-units),
            "price": plain(price),
            "realizedPL": plain(pl),
            "quotePL": plain(quote_pl),
            "financing": plain(financing),
            "guaranteedExecutionFee": "0.0000",
            "halfSpreadCost": plain(self.half_spread(trade.instrument, units)),
        }

    def open(
        self, number: str, instrument: str, units: Decimal, price: Decimal, at: datetime, extensions: Record | None
    ) -> Record:
        """Open a trade; the answer is its part of the fill."""
        terms = self.market.terms[instrument]
        margin = cents(abs(units) * self.market.value(terms.base) * terms.margin_rate)
        trade = Trade(number, instrument, units, units, price, at, margin, at, extensions)
        self.trades[number] = self._open[number] = trade
        self.tallies.setdefault(instrument, Tally())
        opened = {
            "tradeID": number,
            "units": plain(units),
            "price": plain(price),
            "guaranteedExecutionFee": "0.0000",
            "halfSpreadCost": plain(self.half_spread(instrument, units)),
            "initialMarginRequired": plain(margin),
        }
        return {**opened, "clientExtensions": extensions} if extensions else opened

    def half_spread(self, instrument: str, units: Decimal) -> Decimal:
        """What these units cost against mid, in account currency."""
        price = self.market.prices[instrument]
        quote = self.market.terms[instrument].quote
        return cents(abs(units) * (price.ask - price.bid) / 2 * self.market.value(quote))

    # -- financing -------------------------------------------------------------------------------------------------

    def rate(self, trade: Trade) -> Decimal:
        """The annual rate of the side the trade is on, > 0 received."""
        long, short = self.rates[trade.instrument]
        return Decimal(long if trade.units > 0 else short)

    def charged(self, trade: Trade, days: Decimal) -> tuple[Decimal, Decimal]:
        """Financing of a number of days in base and in account currency: units × rate × days / 365, not rounded."""
        base = abs(trade.units) * self.rate(trade) * days / _YEAR
        return base, self.market.into_home(base, self.market.terms[trade.instrument].base)

    def accrued(self, trade: Trade, at: datetime) -> Decimal:
        """Financing of a trade that is charged by the second and not booked yet, not rounded."""
        seconds = Decimal(int((at - trade.accrued_until).total_seconds()))
        return self.charged(trade, seconds / _DAY_SECONDS)[1]

    def post_financing(self, day: date, at: datetime, stated: datetime) -> None:
        """Book the financing due at 17:00 New York of ``day`` on everything open, at the prices before."""
        rows: list[Record] = []
        for instrument in self.instruments():
            parts: list[Record] = [
                row for trade in self.open_trades(instrument) if (row := self._finance(trade, day, at))
            ]
            if parts:
                gain, loss = self.market.factors(self.market.terms[instrument].base)
                rows.append(
                    {
                        "instrument": instrument,
                        "financing": plain(sum((Decimal(p["financing"]) for p in parts), ZERO)),
                        "baseFinancing": plain(sum((Decimal(p["baseFinancing"]) for p in parts), ZERO)),
                        "homeConversionFactors": {
                            "gainBaseHome": {"factor": plain(gain)},
                            "lossBaseHome": {"factor": plain(loss)},
                        },
                        "openTradeFinancings": parts,
                    }
                )
        if rows:
            total = sum((Decimal(row["financing"]) for row in rows), ZERO)
            self.financing += total
            self.balance += total
            facts = {
                "financing": plain(total),
                "accountBalance": plain(self.balance),
                "accountFinancingMode": "SECOND_BY_SECOND" if self.is_continuous else "DAILY",
                "positionFinancings": rows,
            }
            self.log.add("DAILY_FINANCING", stated, facts)

    def _finance(self, trade: Trade, day: date, at: datetime) -> Record | None:
        if self.is_continuous:
            days = Decimal(int((at - trade.accrued_until).total_seconds())) / _DAY_SECONDS
        else:
            days = Decimal(DAYS_CHARGED[day.weekday()])
        trade.accrued_until = at
        if not days:
            return None
        base, home = self.charged(trade, days)
        amount = cents(home)
        trade.financing += amount
        self.tallies[trade.instrument].financing[1 if trade.units > 0 else -1] += amount
        return {
            "tradeID": trade.id,
            "financing": plain(amount),
            "baseFinancing": plain(base.quantize(Decimal("1E-14"))),
            "financingRate": plain(self.rate(trade)),
        }


def full_price(price: Price) -> Record:
    """The prices a fill was dealt at."""
    bid, ask = plain(price.bid), plain(price.ask)
    return {
        "closeoutBid": bid,
        "closeoutAsk": ask,
        "timestamp": stamp(price.at),
        "bids": [{"price": bid, "liquidity": 10_000_000}],
        "asks": [{"price": ask, "liquidity": 10_000_000}],
    }
