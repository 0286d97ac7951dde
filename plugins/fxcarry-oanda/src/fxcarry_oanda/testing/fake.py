"""The fake venue: one account that speaks OANDA v20."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from threading import Condition, RLock
from typing import Literal, get_args

from fxcarry.errors import ConfigError
from fxcarry.model import Snapshot
from fxcarry.testing import Reply, Request, WireServer
from fxcarry_oanda.testing.books import Books
from fxcarry_oanda.testing.desk import Desk, Happening
from fxcarry_oanda.testing.log import Log, Record
from fxcarry_oanda.testing.market import LONG_AGO, Market, Terms, cents, closings, default_rates, is_open, plain
from fxcarry_oanda.testing.routes import Api
from fxcarry_oanda.testing.streams import Streams
from fxcarry_oanda.testing.views import Views

FinancingMode = Literal["daily", "second-by-second"]


class FakeOanda:
    """An account at a venue that speaks OANDA v20, moved on by :meth:`move_to`.

    ``is_hedging``: both sides of an instrument can be open, and DEFAULT opens. ``is_fifo``: of the trades of an
    instrument the oldest has to be closed first. ``financing_mode``: "daily" charges whole days at 17:00 New York,
    those of the weekend on Wednesday; "second-by-second" charges the time a trade was open, at 17:00 New York and when
    it is closed. ``conversion_fee`` is the fraction of the mid price the venue keeps when it converts P&L and financing
    into the account's currency.

    Change it while it runs: ``terms`` (by instrument), ``rates`` ((longRate, shortRate) by instrument), ``liquidity``
    (units that can be dealt at once, by instrument), ``halted`` (instruments that are not dealt), ``clock_skew`` (added
    to every time it states), ``streams`` (their heartbeats and faults), ``has_financing_rates`` (False = an instrument
    does not state its rates) and ``pages_host`` (the host in the addresses of pages of transactions).

    Not modelled: take-profit, trailing and entry stop orders, changes of an order, several accounts, dividends. How
    the venue calls the cancel of a reduce-only order that finds nothing to reduce is not known; here it is
    POSITION_CLOSEOUT_FAILED, and one that is too large closes what there is.
    """

    def __init__(
        self,
        *,
        account_id: str = "101-004-1234567-001",
        token: str = "practice-token-0123456789abcdef",
        currency: str = "USD",
        balance: str = "1000000",
        is_hedging: bool = False,
        is_fifo: bool = False,
        financing_mode: FinancingMode = "daily",
        conversion_fee: str = "0.005",
    ) -> None:
        if financing_mode not in get_args(FinancingMode):
            raise ConfigError(f"{financing_mode!r} is no financing mode", hint='"daily" or "second-by-second"')
        self.account_id = account_id
        self.token = token
        self.rates = default_rates()
        self.has_financing_rates = True
        self.pages_host = "https://api-fxpractice.oanda.com"
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._market = Market(currency, Decimal(conversion_fee))
        self._log = Log(account_id)
        self._books = Books(
            self._market,
            self._log,
            self.rates,
            balance=cents(Decimal(balance)),
            is_hedging=is_hedging,
            is_continuous=financing_mode == "second-by-second",
        )
        self._desk = Desk(self._market, self._books, self._log, is_fifo=is_fifo)
        self._views = Views(self._desk, account_id, "fake")
        self._is_revoked = False
        self.streams = Streams(self._changed)
        self._found(currency)
        self._api = Api(self, self._desk, self._views, self._lock, self._changed)

    def _found(self, currency: str) -> None:
        site, division, user, number = map(int, self.account_id.split("-"))
        ids = {"divisionID": division, "siteID": site, "accountUserID": user, "accountNumber": number}
        self._log.begin("1")
        self._log.add("CREATE", LONG_AGO, {"homeCurrency": currency, **ids})
        self._log.add("CLIENT_CONFIGURE", LONG_AGO, {"alias": "fake"})
        balance = plain(self._books.balance)
        self._log.begin("2")
        funding = {"amount": balance, "fundingReason": "CLIENT_FUNDING", "accountBalance": balance}
        self._log.add("TRANSFER_FUNDS", LONG_AGO, funding)

    # -- serving ---------------------------------------------------------------------------------------------------

    def serve(self) -> WireServer:
        """The server of this account, for a ``with`` block; REST and streams are at the same address."""
        return WireServer(self.answer)

    def answer(self, request: Request) -> Reply:
        """The answer to one request, for a server of your own."""
        return self._api.answer(request)

    # -- the market and the clock ----------------------------------------------------------------------------------

    def move_to(self, snapshot: Snapshot) -> None:
        """Let the market and the venue's clock go on to a snapshot; one that is not later changes nothing.

        In this order: what falls due on the way (good-till dates, financing at every 17:00 New York) at the prices
        before; the new prices; then orders that were late, stops, limits and the margin close-out at these.
        """
        with self._changed:
            if snapshot.at <= self._market.at:
                return
            self._pass_time(snapshot.at)
            self._market.quote(snapshot)
            if is_open(snapshot.at):
                self._desk.react()
            self._changed.notify_all()

    def _pass_time(self, until: datetime) -> None:
        """What falls due by ``until``. Until the first prices there is nothing that could."""
        if not self._market.prices:
            return
        due = {at: day for day, at in closings(self._market.at, until)}
        for at in sorted({*due, *self._desk.expiries(until)}):
            self._market.at = max(at, self._market.at)
            self._desk.expire(at, is_closing=at in due)
            if at in due:
                self._log.begin()
                self._books.post_financing(due[at], at, at + self.clock_skew)

    @property
    def at(self) -> datetime:
        """The time at the venue, without its skew."""
        return self._market.at

    @property
    def clock_skew(self) -> timedelta:
        """What the venue's clock is fast by."""
        return self._desk.skew

    @clock_skew.setter
    def clock_skew(self, skew: timedelta) -> None:
        self._desk.skew = skew

    # -- knobs -----------------------------------------------------------------------------------------------------

    @property
    def terms(self) -> dict[str, Terms]:
        """What can be traded, by instrument."""
        return self._market.terms

    @property
    def halted(self) -> set[str]:
        """Instruments whose orders are cancelled with MARKET_HALTED."""
        return self._market.halted

    @property
    def liquidity(self) -> dict[str, int]:
        """Units that can be dealt at once, by instrument; what is not in it has no end."""
        return self._market.liquidity

    def next_order(self, happening: Happening, reason: str = "") -> None:
        """Script the next order that is placed; ``reason`` is the one it is cancelled or rejected for.

        Orders that close a trade or a position are not scripted. Raises ConfigError on an unknown happening.
        """
        if happening not in get_args(Happening):
            raise ConfigError(f"{happening!r} is no happening", hint=f"one of {', '.join(get_args(Happening))}")
        with self._lock:
            self._desk.script.append((happening, reason))

    def transfer(self, amount: str) -> None:
        """Pay money in (> 0) or out."""
        with self._changed:
            self._log.begin()
            self._books.balance += cents(Decimal(amount))
            funding = {"amount": amount, "fundingReason": "CLIENT_FUNDING"}
            balance = plain(self._books.balance)
            self._log.add("TRANSFER_FUNDS", self.at + self.clock_skew, {**funding, "accountBalance": balance})
            self._changed.notify_all()

    def revoke(self) -> None:
        """From now on no token is good."""
        self._is_revoked = True
        self.streams.stop()

    def is_authorized(self, token: str) -> bool:
        """Whether a token is good."""
        return token == self.token and not self._is_revoked

    def stop_streams(self) -> None:
        """Cut every stream that is open; a client may open another."""
        self.streams.stop()

    def restart(self) -> None:
        """The venue goes down and comes back: streams are cut, what was scripted is forgotten, the account stays."""
        with self._lock:
            self._desk.script.clear()
        self.streams.stop()

    # -- what there is, for tests ----------------------------------------------------------------------------------

    @property
    def balance(self) -> Decimal:
        """Money in the account."""
        return self._books.balance

    @property
    def nav(self) -> Decimal:
        """Balance and unrealised P&L."""
        with self._lock:
            return self._books.nav()

    @property
    def positions(self) -> dict[str, Decimal]:
        """Net units by instrument, of what is open."""
        with self._lock:
            return {name: self._books.units(name) for name in self._books.instruments()}

    @property
    def transactions(self) -> list[Record]:
        """Every transaction as it is served."""
        with self._lock:
            return list(self._log.records)

    @property
    def orders(self) -> list[Record]:
        """Every order that was taken, whatever became of it, as it is served."""
        with self._lock:
            return [self._views.order(ticket) for ticket in self._desk.tickets.values()]

    @property
    def trades(self) -> list[Record]:
        """Every trade, as it is served."""
        with self._lock:
            return [self._views.trade(trade) for trade in self._books.trades.values()]
