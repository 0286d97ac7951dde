"""The REST interface of the fake venue: which address does what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from threading import Condition, RLock
from typing import Any, Protocol
from urllib.parse import urlencode

from fxcarry.testing import Reply, Request
from fxcarry_oanda.testing.candles import GRANULARITIES, candles
from fxcarry_oanda.testing.desk import Answer, Desk
from fxcarry_oanda.testing.log import Record, fits
from fxcarry_oanda.testing.market import LONG_AGO, moment, stamp
from fxcarry_oanda.testing.orders import INVALID, is_number, message
from fxcarry_oanda.testing.streams import Streams
from fxcarry_oanda.testing.views import Views

_ACCOUNT = "/v3/accounts/(?P<account>[^/]+)"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
_PAGE = "<html><head><title>504 Gateway Time-out</title></head><body><h1>504 Gateway Time-out</h1></body></html>"
_MOST_CANDLES = 5000
_MOST_A_PAGE = 1000


class _Refused(Exception):
    """An answer other than the one asked for."""

    def __init__(self, status: int, text: str, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.body = {"errorMessage": text, **({"errorCode": code} if code else {})}


class _Venue(Protocol):
    """What the addresses need to know of the venue itself."""

    account_id: str
    pages_host: str
    has_financing_rates: bool
    streams: Streams

    def is_authorized(self, token: str) -> bool:
        """Whether a token is good."""


class Api:
    """Answers requests, one at a time."""

    def __init__(self, venue: _Venue, desk: Desk, views: Views, lock: RLock, changed: Condition) -> None:
        self._venue = venue
        self._desk = desk
        self._views = views
        self._lock = lock
        self._changed = changed
        self._count = 0
        routes: dict[str, Callable[..., Answer | Reply]] = {
            "GET /v3/accounts": self._accounts,
            f"GET {_ACCOUNT}": self._account,
            f"GET {_ACCOUNT}/summary": self._summary,
            f"GET {_ACCOUNT}/instruments": self._instruments,
            f"GET {_ACCOUNT}/changes": self._changes,
            f"GET {_ACCOUNT}/pricing": self._pricing,
            f"GET {_ACCOUNT}/pricing/stream": self._pricing_stream,
            f"GET {_ACCOUNT}/positions": self._positions,
            f"GET {_ACCOUNT}/openPositions": self._open_positions,
            f"GET {_ACCOUNT}/positions/(?P<instrument>[^/]+)": self._position,
            f"PUT {_ACCOUNT}/positions/(?P<instrument>[^/]+)/close": self._close_position,
            f"GET {_ACCOUNT}/trades": self._trades,
            f"GET {_ACCOUNT}/openTrades": self._open_trades,
            f"GET {_ACCOUNT}/trades/(?P<trade>[^/]+)": self._trade,
            f"PUT {_ACCOUNT}/trades/(?P<trade>[^/]+)/close": self._close_trade,
            f"PUT {_ACCOUNT}/trades/(?P<trade>[^/]+)/orders": self._trade_orders,
            f"POST {_ACCOUNT}/orders": self._place,
            f"GET {_ACCOUNT}/orders": self._orders,
            f"GET {_ACCOUNT}/pendingOrders": self._pending,
            f"GET {_ACCOUNT}/orders/(?P<order>[^/]+)": self._order,
            f"PUT {_ACCOUNT}/orders/(?P<order>[^/]+)/cancel": self._cancel,
            f"GET {_ACCOUNT}/transactions": self._pages,
            f"GET {_ACCOUNT}/transactions/sinceid": self._since,
            f"GET {_ACCOUNT}/transactions/idrange": self._range,
            f"GET {_ACCOUNT}/transactions/stream": self._transaction_stream,
            f"GET {_ACCOUNT}/transactions/(?P<transaction>[^/]+)": self._transaction,
            f"GET {_ACCOUNT}/instruments/(?P<instrument>[^/]+)/candles": self._candles,
            "GET /v3/instruments/(?P<instrument>[^/]+)/candles": self._candles,
        }
        self._routes = [
            (call.partition(" ")[0], re.compile(call.partition(" ")[2]), answer) for call, answer in routes.items()
        ]

    def answer(self, request: Request) -> Reply:
        """The answer to a request."""
        with self._changed:
            self._count += 1
            number = f"{42_000_000_000_000_000 + self._count}"
            try:
                answer = self._answer(request, request.headers.get("clientrequestid", number))
            except _Refused as refused:
                answer = refused.status, refused.body
            self._changed.notify_all()
            if isinstance(answer, Reply):
                return answer
            status, body = answer
            if body is None:
                return Reply(status, _PAGE.encode(), {"Content-Type": "text/html"})
            if request.headers.get("accept-datetime-format", "").upper() == "UNIX":
                body = _in_seconds(body)
            dated = format_datetime(self._desk.market.at + self._desk.skew, usegmt=True)
            headers = {"RequestID": number, "Date": dated}
            if status == 201:
                order = next(iter(body.values()))["id"]
                headers["Location"] = f"{self._venue.pages_host}/v3/accounts/{self._venue.account_id}/orders/{order}"
            return Reply.json(body, status, headers)

    def _answer(self, request: Request, number: str) -> Answer | Reply:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not self._venue.is_authorized(token):
            raise _Refused(401, "Insufficient authorization to perform request.")
        found = [(method, m, answer) for method, path, answer in self._routes if (m := path.fullmatch(request.path))]
        for method, match, answer in found:
            if method == request.method:
                names = match.groupdict()
                account = names.pop("account", self._venue.account_id)
                if not re.fullmatch(r"\d+-\d+-\d+-\d+", account):
                    raise _Refused(400, "Invalid value specified for 'accountID'", INVALID)
                if account != self._venue.account_id:
                    raise _Refused(403, "The provided request was forbidden.")
                instrument = names.get("instrument")
                if instrument is not None and instrument not in self._desk.market.terms:
                    raise _Refused(400, "Invalid value specified for 'instrument'", INVALID)
                return answer(request.query if request.method == "GET" else _Call(request, number), **names)
        if found:
            raise _Refused(405, "The HTTP method is not supported for the endpoint")
        raise _Refused(404, "The endpoint does not exist")

    def _told(self, body: Record) -> Answer:
        return 200, {**body, "lastTransactionID": self._desk.log.last_id}

    # -- account and market ----------------------------------------------------------------------------------------

    def _accounts(self, query: Mapping[str, str]) -> Answer:
        return 200, {"accounts": [{"id": self._venue.account_id, "tags": []}]}

    def _account(self, query: Mapping[str, str]) -> Answer:
        return self._told({"account": self._views.account()})

    def _summary(self, query: Mapping[str, str]) -> Answer:
        return self._told({"account": self._views.summary()})

    def _instruments(self, query: Mapping[str, str]) -> Answer:
        terms = self._desk.market.terms
        names = self._names(query) if "instruments" in query else list(terms)
        has_rates = self._venue.has_financing_rates
        rows = [self._views.instrument(terms[name], with_financing=has_rates) for name in names]
        return self._told({"instruments": rows})

    def _changes(self, query: Mapping[str, str]) -> Answer:
        since = self._number(query, "sinceTransactionID")
        return self._told({"changes": self._views.changes(since), "state": self._views.changing()})

    def _pricing(self, query: Mapping[str, str]) -> Answer:
        names = self._names(query)
        body: Record = {"prices": [self._views.price(name) for name in names]}
        if query.get("includeHomeConversions", "").lower() == "true":
            body["homeConversions"] = self._views.conversions(names)
        return self._told({**body, "time": self._now()})

    def _candles(self, query: Mapping[str, str], instrument: str) -> Answer:
        granularity, prices = query.get("granularity", "S5"), query.get("price", "M")
        if granularity not in GRANULARITIES:
            raise _Refused(400, "Invalid value specified for 'granularity'", INVALID)
        if not prices or set(prices) - set("MBA"):
            raise _Refused(400, "Invalid value specified for 'price'", INVALID)
        if {"from", "to", "count"} <= query.keys():
            raise _Refused(400, "'count' cannot be specified when 'to' and 'from' are also set", INVALID)
        count = self._number(query, "count", 500)
        if not 0 < count <= _MOST_CANDLES:
            raise _Refused(400, "Maximum value for 'count' exceeded", INVALID)
        market = self._desk.market
        rows = candles(
            market.ticks.get(instrument, []),
            granularity,
            prices=prices,
            now=market.at,
            alignment=self._number(query, "dailyAlignment", 17),
            precision=market.terms[instrument].display_precision,
        )
        first, last = self._moment(query, "from"), self._moment(query, "to")
        if first is not None:
            rows = [row for row in rows if moment(row["time"]) >= first]
            if query.get("includeFirst", "true").lower() == "false":
                rows = [row for row in rows if moment(row["time"]) > first]
        if last is not None:
            rows = [row for row in rows if moment(row["time"]) < last]
        if first is not None and last is not None:
            if len(rows) > _MOST_CANDLES:
                raise _Refused(400, "Maximum value for 'count' exceeded", INVALID)
        else:
            rows = rows[:count] if first is not None else rows[-count:]
        return 200, {"instrument": instrument, "granularity": granularity, "candles": rows}

    # -- positions and trades --------------------------------------------------------------------------------------

    def _positions(self, query: Mapping[str, str]) -> Answer:
        return self._told({"positions": [self._views.position(name) for name in self._desk.books.tallies]})

    def _open_positions(self, query: Mapping[str, str]) -> Answer:
        return self._told({"positions": [self._views.position(name) for name in self._desk.books.instruments()]})

    def _position(self, query: Mapping[str, str], instrument: str) -> Answer:
        if instrument not in self._desk.books.tallies:
            raise _Refused(404, message("NO_SUCH_POSITION"), "NO_SUCH_POSITION")
        return self._told({"position": self._views.position(instrument)})

    def _close_position(self, call: _Call, instrument: str) -> Answer:
        for side in ("long", "short"):
            wanted = call.body.get(f"{side}Units", "ALL")
            if wanted not in ("ALL", "NONE") and not is_number(wanted):
                raise _Refused(400, f"Invalid value specified for '{side}Units'", INVALID)
        return self._desk.close_position(instrument, call.body, call.number)

    def _trades(self, query: Mapping[str, str]) -> Answer:
        state, ids = query.get("state", "OPEN"), query["ids"].split(",") if "ids" in query else None
        rows = [
            self._views.trade(trade)
            for trade in reversed(self._desk.books.trades.values())
            if (state == "ALL" or trade.is_open == (state == "OPEN"))
            and query.get("instrument", trade.instrument) == trade.instrument
            and (ids is None or trade.id in ids)
            and int(trade.id) < self._number(query, "beforeID", int(trade.id) + 1)
        ]
        return self._told({"trades": rows[: self._number(query, "count", 50)]})

    def _open_trades(self, query: Mapping[str, str]) -> Answer:
        return self._told({"trades": [self._views.trade(t) for t in reversed(self._desk.books.open_trades())]})

    def _trade(self, query: Mapping[str, str], trade: str) -> Answer:
        found = self._desk.books.trades.get(trade)
        if found is None:
            raise _Refused(404, message("NO_SUCH_TRADE"), "NO_SUCH_TRADE")
        return self._told({"trade": self._views.trade(found)})

    def _close_trade(self, call: _Call, trade: str) -> Answer:
        units = call.body.get("units", "ALL")
        if units != "ALL" and not is_number(units):
            raise _Refused(400, "Invalid value specified for 'units'", INVALID)
        return self._desk.close_trade(trade, units, call.number)

    def _trade_orders(self, call: _Call, trade: str) -> Answer:
        found = self._desk.books.trades.get(trade)
        if found is None or not found.is_open:
            raise _Refused(404, message("NO_SUCH_TRADE"), "NO_SUCH_TRADE")
        if unknown := sorted(call.body.keys() - {"stopLoss"}):
            raise _Refused(400, f"Invalid value specified for '{unknown[0]}': the fake venue has stop losses only")
        if "stopLoss" not in call.body:
            return self._told({"relatedTransactionIDs": []})
        stop = call.body["stopLoss"]
        if stop is not None and not isinstance(stop, dict):
            raise _Refused(400, "Invalid value specified for 'stopLoss'", INVALID)
        return self._desk.set_stop(found, stop, call.number)

    # -- orders ----------------------------------------------------------------------------------------------------

    def _place(self, call: _Call) -> Answer:
        return self._desk.place(call.body.get("order"), call.number)

    def _orders(self, query: Mapping[str, str]) -> Answer:
        state, ids = query.get("state", "PENDING"), query["ids"].split(",") if "ids" in query else None
        rows = [
            self._views.order(ticket)
            for ticket in reversed(self._desk.tickets.values())
            if (ids is not None or state in ("ALL", ticket.state))
            and query.get("instrument", ticket.instrument) == ticket.instrument
            and (ids is None or ticket.id in ids)
            and int(ticket.id) < self._number(query, "beforeID", int(ticket.id) + 1)
        ]
        return self._told({"orders": rows[: self._number(query, "count", 50)]})

    def _pending(self, query: Mapping[str, str]) -> Answer:
        return self._told({"orders": [self._views.order(ticket) for ticket in reversed(self._desk.pending())]})

    def _order(self, query: Mapping[str, str], order: str) -> Answer:
        ticket = self._desk.find(order)
        if ticket is None:
            raise _Refused(404, message("NO_SUCH_ORDER"), "NO_SUCH_ORDER")
        return self._told({"order": self._views.order(ticket)})

    def _cancel(self, call: _Call, order: str) -> Answer:
        return self._desk.cancel(order, call.number)

    # -- transactions ----------------------------------------------------------------------------------------------

    def _transaction(self, query: Mapping[str, str], transaction: str) -> Answer:
        found = self._desk.log.find(transaction)
        if found is None:
            raise _Refused(404, "The transaction ID specified does not exist", "NO_SUCH_TRANSACTION")
        return self._told({"transaction": found})

    def _since(self, query: Mapping[str, str]) -> Answer:
        log = self._desk.log
        since = self._number(query, "id")
        if since > len(log.records):
            raise _Refused(416, "The transaction ID specified is beyond the last one", "INVALID_TRANSACTION_ID")
        return self._told({"transactions": log.between(since + 1, len(log.records), _kinds(query))})

    def _range(self, query: Mapping[str, str]) -> Answer:
        first, last = self._number(query, "from"), self._number(query, "to")
        if first > last:
            raise _Refused(416, "The range of transaction IDs is invalid", "INVALID_TRANSACTION_ID_RANGE")
        return self._told({"transactions": self._desk.log.between(first, last, _kinds(query))})

    def _pages(self, query: Mapping[str, str]) -> Answer:
        size = self._number(query, "pageSize", 100)
        if not 0 < size <= _MOST_A_PAGE:
            raise _Refused(400, "Invalid value specified for 'pageSize'", "INVALID_PAGESIZE")
        first = self._moment(query, "from") or LONG_AGO
        last = self._moment(query, "to") or self._desk.market.at + self._desk.skew
        kinds = _kinds(query)
        within = [r for r in self._desk.log.records if first <= moment(r["time"]) <= last]
        pages = []
        for i in range(0, len(within), size):
            ends = {"from": within[i]["id"], "to": within[i : i + size][-1]["id"]}
            more = {"type": ",".join(kinds)} if kinds else {}
            address = f"{self._venue.pages_host}/v3/accounts/{self._venue.account_id}/transactions/idrange"
            pages.append(f"{address}?{urlencode({**ends, **more}, safe=',')}")
        body: Record = {"from": stamp(first), "to": stamp(last), "pageSize": size, "pages": pages}
        if kinds:
            body["type"] = list(kinds)
        return self._told({**body, "count": sum(not kinds or fits(r["type"], kinds) for r in within)})

    # -- streams ---------------------------------------------------------------------------------------------------

    def _pricing_stream(self, query: Mapping[str, str]) -> Reply:
        names = self._names(query)
        told: dict[str, Record] = {}
        if query.get("snapshot", "true").lower() == "false":
            told = {name: self._views.price(name) for name in names}

        def news() -> list[Record]:
            rows = [row for name in names if (row := self._views.price(name)) != told.get(name)]
            told.update({row["instrument"]: row for row in rows})
            return rows

        return self._stream(self._venue.streams.lines(news, lambda: {"type": "HEARTBEAT", "time": self._now()}))

    def _transaction_stream(self, query: Mapping[str, str]) -> Reply:
        log, seen = self._desk.log, [len(self._desk.log.records)]

        def news() -> list[Record]:
            rows = log.records[seen[0] :]
            seen[0] = len(log.records)
            return [row for row in rows for _ in range(1 + self._venue.streams.is_repeating)]

        def heartbeat() -> Record:
            return {"type": "HEARTBEAT", "lastTransactionID": log.last_id, "time": self._now()}

        return self._stream(self._venue.streams.lines(news, heartbeat))

    def _stream(self, lines: Iterator[bytes]) -> Reply:
        return Reply(200, lines, {"Content-Type": "application/octet-stream", "RequestID": str(self._count)})

    # -- arguments -------------------------------------------------------------------------------------------------

    def _now(self) -> str:
        return stamp(self._desk.market.at + self._desk.skew)

    def _names(self, query: Mapping[str, str]) -> list[str]:
        names = list(filter(None, query.get("instruments", "").split(",")))
        if not names or any(name not in self._desk.market.terms for name in names):
            raise _Refused(400, "Invalid value specified for 'instruments'", INVALID)
        return names

    def _number(self, query: Mapping[str, str], name: str, default: int | None = None) -> int:
        text = query.get(name, "" if default is None else str(default))
        if not text.isdigit():
            raise _Refused(400, f"Invalid value specified for '{name}'", INVALID)
        return int(text)

    def _moment(self, query: Mapping[str, str], name: str) -> datetime | None:
        try:
            return moment(query[name]) if name in query else None
        except ValueError:
            raise _Refused(400, f"Invalid value specified for '{name}'", INVALID) from None


class _Call:
    """A request that changes something: its body, and the id it is booked under."""

    def __init__(self, request: Request, number: str) -> None:
        self.number = number
        try:
            body: Any = request.json() if request.body else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise _Refused(400, "Unable to parse the body of the request as JSON")
        self.body: Record = body


def _kinds(query: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(filter(None, query.get("type", "").split(",")))


def _in_seconds(value: Any) -> Any:
    """The same answer with UNIX seconds for times."""
    if isinstance(value, dict):
        return {name: _in_seconds(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_in_seconds(part) for part in value]
    if isinstance(value, str) and _TIME.fullmatch(value):
        seconds = int((datetime.fromisoformat(value[:19]).replace(tzinfo=UTC)).timestamp())
        return f"{seconds}.{value[20:29]}"
    return value
