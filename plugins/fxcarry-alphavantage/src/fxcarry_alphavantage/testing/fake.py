"""The fake server: prices of its own, every documented answer, and the limits of a free key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Literal, get_args

import numpy as np

from fxcarry.errors import ConfigError
from fxcarry.testing.wire import Reply, Request, WireServer

Failure = Literal[
    "echo", "note", "information", "burst", "premium", "demo", "invalid", "bad-key", "empty", "unknown", "list", "login"
]
"""What the next call is answered with. ``note``, ``information``, ``echo`` and ``burst`` are limits: the old text, the
one of the day, the same with the key in it, and the one of the second. ``unknown`` is a text nobody has seen yet,
``list`` JSON of another shape, ``login`` a page of HTML.
"""

_DAY = timedelta(days=1)
_LEVELS = {"EUR": 1.08, "GBP": 1.27, "AUD": 0.66, "NZD": 0.61, "JPY": 150.0, "CHF": 0.88, "CAD": 1.36, "SEK": 10.4}
_BURST = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more sparingly (1 request "
    "per second). You may subscribe to any of the premium plans at https://www.alphavantage.co/premium/ to lift the "
    "free key rate limit (25 requests per day), raise the per-second burst limit, and unlock all premium endpoints"
)
_CALL = (
    "Invalid API call. Please retry or visit the documentation (https://www.alphavantage.co/documentation/) for {0}."
)


class FakeAlphaVantage:
    """Alpha Vantage as a key of the free plan sees it. ``at`` is its clock; move it by setting it.

    ``has_bid`` is whether exchange rates have bid and ask, ``has_full`` whether the whole daily history is in the plan,
    ``has_intraday`` whether bars within the day are. ``weekends`` adds the bars of Saturday and Sunday that it is known
    to send. A closing price that a test needs goes into ``closes`` by pair and date. ``calls`` are those that were
    answered with data, ``refused`` those that were not.
    """

    def __init__(
        self,
        *,
        at: datetime = datetime(2026, 1, 23, 15, 30, tzinfo=UTC),
        key: str = "FAKE7KEYQ2ZX9WPL",
        calls_a_day: int = 10_000,
        calls_a_minute: int = 10_000,
        first: date = date(2024, 7, 1),
        seed: int = 3,
    ) -> None:
        self.at, self.key, self.first, self.seed = at, key, first, seed
        self.calls_a_day, self.calls_a_minute = calls_a_day, calls_a_minute
        self.has_bid = self.has_full = self.has_intraday = self.weekends = True
        self.is_revoked = False
        self.behind = timedelta(0)
        self.time_zone = "UTC"
        self.closes: dict[tuple[str, str, date], str] = {}
        self.values: dict[str, dict[date, str]] = {"FEDERAL_FUNDS_RATE": {}, "TREASURY_YIELD": {}}
        self.calls: list[str] = []
        self.refused: list[str] = []
        self._times: list[datetime] = []
        self._script: list[Failure] = []

    def serve(self) -> WireServer:
        """A server of it, for a ``with`` block."""
        return WireServer(self.answer)

    def say(self, failure: Failure, times: int = 1) -> None:
        """The next ``times`` calls are answered with this; ConfigError where it is none of them."""
        if failure not in get_args(Failure):
            raise ConfigError(f"{failure!r} is no failure", hint=f"one of {', '.join(get_args(Failure))}")
        self._script += [failure] * times

    def price(self, base: str, quote: str, at: datetime) -> Decimal:
        """The mid price of a pair at an instant: between the close before and the close of its day."""
        start = datetime(at.year, at.month, at.day, tzinfo=UTC)
        before, after = (float(self._close(base, quote, day)) for day in (start.date() - _DAY, start.date()))
        return Decimal(f"{before + (after - before) * ((at - start) / _DAY):.5f}")

    # -- answers ---------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Reply:
        """The answer to one request, counted against the limits."""
        query = request.query
        named = ("from_currency", "to_currency", "from_symbol", "to_symbol", "interval", "maturity", "outputsize")
        call = " ".join([query.get("function", ""), *(query[name] for name in named if name in query)])
        failure = self._script.pop(0) if self._script else self._refusal(query)
        found: Any = None
        if failure is None:
            self._times.append(self.at)
            found = self._found(query)
            failure = "invalid" if found is None else None
        if failure is not None:
            self.refused.append(call)
            return self._failed(failure, query.get("apikey", ""), query.get("function", ""))
        self.calls.append(call)
        return Reply.json(found)

    def _refusal(self, query: Mapping[str, str]) -> Failure | None:
        if query.get("apikey") != self.key or self.is_revoked:
            return "bad-key"
        if sum(at.date() == self.at.date() for at in self._times) >= self.calls_a_day:
            return "information"
        if sum(self.at - at < timedelta(minutes=1) for at in self._times) >= self.calls_a_minute:
            return "note"
        if query.get("function") == "FX_INTRADAY" and not self.has_intraday:
            return "premium"
        return "premium" if query.get("outputsize") == "full" and not self.has_full else None

    def _found(self, query: Mapping[str, str]) -> Any:
        function = query.get("function")
        if function == "CURRENCY_EXCHANGE_RATE":
            return self._rate(query.get("from_currency", ""), query.get("to_currency", ""))
        if function in ("FX_DAILY", "FX_INTRADAY"):
            pair = query.get("from_symbol", ""), query.get("to_symbol", "")
            if not self._is_known(*pair):
                return None
            size = query.get("outputsize", "compact")
            return (
                self._daily(*pair, size) if function == "FX_DAILY" else self._intraday(*pair, size, query["interval"])
            )
        if function in self.values and query.get("interval") == "daily":
            rows = sorted(self.values[function].items(), reverse=True)
            data = [{"date": str(day), "value": value} for day, value in rows if day < self.at.date()]
            return {"name": function, "interval": "daily", "unit": "percent", "data": data}
        return None

    def _rate(self, base: str, quote: str) -> Any:
        if not self._is_known(base, quote):
            return None
        told = _last_open(self.at - self.behind)
        mid = self.price(base, quote, told)
        half = Decimal("0.015") if "JPY" in (base, quote) else Decimal("0.00005")
        zone_time = told if self.time_zone == "UTC" else told.astimezone(_zone(self.time_zone))
        return {
            "Realtime Currency Exchange Rate": {
                "1. From_Currency Code": base,
                "2. From_Currency Name": base.title(),
                "3. To_Currency Code": quote,
                "4. To_Currency Name": quote.title(),
                "5. Exchange Rate": f"{mid:.8f}",
                "6. Last Refreshed": f"{zone_time:%Y-%m-%d %H:%M:%S}",
                "7. Time Zone": self.time_zone,
                "8. Bid Price": f"{mid - half:.8f}" if self.has_bid else "-",
                "9. Ask Price": f"{mid + half:.8f}" if self.has_bid else "-",
            }
        }

    def _daily(self, base: str, quote: str, size: str) -> Any:
        told = self.at - self.behind
        refreshed = _last_open(told)
        days = [told.date() - n * _DAY for n in range((told.date() - self.first).days + 1)]
        days = [day for day in days if day.weekday() < 5 or (self.weekends and day < told.date())]
        rows = {}
        for day in days[: 100 if size == "compact" else None]:
            is_over = day < told.date()
            close = self._close(base, quote, day) if is_over else str(self.price(base, quote, refreshed))
            rows[str(day)] = {"1. open": close, "2. high": close, "3. low": close, "4. close": close}
        return {
            "Meta Data": {
                "1. Information": "Forex Daily Prices (open, high, low, close)",
                "2. From Symbol": base,
                "3. To Symbol": quote,
                "4. Output Size": "Compact" if size == "compact" else "Full size",
                "5. Last Refreshed": f"{refreshed:%Y-%m-%d %H:%M:%S}",
                "6. Time Zone": self.time_zone,
            },
            "Time Series FX (Daily)": rows,
        }

    def _intraday(self, base: str, quote: str, size: str, interval: str) -> Any:
        step = timedelta(minutes=int(interval.removesuffix("min")))
        begin = datetime(self.at.year, self.at.month, self.at.day, tzinfo=UTC)
        begin += (self.at - begin) // step * step
        rows: dict[str, Any] = {}
        earliest = max(self.at - timedelta(days=30), datetime.combine(self.first, datetime.min.time(), UTC))
        while len(rows) < (100 if size == "compact" else 50_000) and begin > earliest:
            if _last_open(begin) == begin:
                close = str(self.price(base, quote, min(begin + step, self.at)))
                rows[f"{begin:%Y-%m-%d %H:%M:%S}"] = {"1. open": close, "2. high": close, "3. low": close} | {
                    "4. close": close
                }
            begin -= step
        return {
            "Meta Data": {
                "1. Information": f"FX Intraday ({interval}) Time Series",
                "2. From Symbol": base,
                "3. To Symbol": quote,
                "4. Last Refreshed": max(rows),
                "5. Interval": interval,
                "6. Output Size": "Compact" if size == "compact" else "Full size",
                "7. Time Zone": "UTC",
            },
            f"Time Series FX ({interval})": rows,
        }

    def _failed(self, failure: Failure, key: str, function: str) -> Reply:
        daily = f"our standard API rate limit is {self.calls_a_day} requests per day. Please subscribe to a plan"
        bodies: dict[str, Any] = {
            "note": {
                "Note": "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and "
                "500 calls per day. Please visit https://www.alphavantage.co/premium/ for a higher call frequency."
            },
            "information": {"Information": f"Thank you for using Alpha Vantage! {daily.capitalize()}"},
            "echo": {"Information": f"We have detected your API key as {key} and {daily}"},
            "burst": {"Information": _BURST},
            "premium": {
                "Information": "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to "
                "any of the premium plans at https://www.alphavantage.co/premium/ to instantly unlock all of them"
            },
            "demo": {
                "Information": "The **demo** API key is for demo purposes only. Please claim your free API key at "
                "(https://www.alphavantage.co/support/#api-key) to explore our full API offerings."
            },
            "invalid": {"Error Message": _CALL.format(function)},
            "bad-key": {
                "Error Message": f"the parameter apikey is invalid or missing ({key}). Please claim your free API "
                "key on (https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds."
            },
            "empty": {},
            "unknown": {"Message": f"Something else, {key.lower()}."},
            "list": [{"apikey": key}],
        }
        if failure == "login":
            page = f"<html><body>Sign in to go on<!-- {key} --></body></html>"
            return Reply(200, page.encode(), {"Content-Type": "text/html"})
        return Reply.json(bodies[failure])

    # -- prices ----------------------------------------------------------------------------------------------------

    def _is_known(self, base: str, quote: str) -> bool:
        return {base, quote} <= {"USD", "NOK", *_LEVELS} and base != quote

    def _close(self, base: str, quote: str, day: date) -> str:
        given = self.closes.get((base, quote, day))
        if given is not None:
            return given
        level = _LEVELS.get(quote if base == "USD" else base, 10.6)
        walk = _walk(self.seed, f"{base}{quote}", self.first)
        return f"{level * walk[(day - self.first).days % len(walk)]:.5f}"


@cache
def _walk(seed: int, name: str, first: date) -> list[float]:
    random = np.random.default_rng([seed, *name.encode(), first.toordinal()])
    walk: list[float] = np.exp(np.cumsum(random.normal(0.0, 0.004, 4000))).tolist()
    return walk


def _last_open(at: datetime) -> datetime:
    """``at``, or where that is in the weekend (22:00 UTC on both ends) the last second of Friday's session."""
    start = datetime(at.year, at.month, at.day, tzinfo=UTC)
    since_friday = (start.weekday() - 4) % 7
    close = start - since_friday * _DAY + timedelta(hours=21, minutes=59, seconds=59)
    is_shut = close < at < close + timedelta(days=2, seconds=1)
    return close if is_shut else at


def _zone(name: str) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
