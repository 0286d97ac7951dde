"""OANDA's prices as a feed: live quotes, and a history of candles. Interest rates are another feed's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from fxcarry.errors import BrokerUnavailable, ConfigError, DataError, MissingDataError, StaleDataError
from fxcarry.market import MarketHistory, RateSeries, from_ns, to_ns
from fxcarry.model import Pair, Quote, Snapshot, check_currency
from fxcarry.protocols import DataFeed
from fxcarry_oanda.client import Client
from fxcarry_oanda.streams import PriceStream
from fxcarry_oanda.words import instant, own_name, stated, venue_name

_STEPS = {
    "M1": timedelta(minutes=1),
    "M5": timedelta(minutes=5),
    "M15": timedelta(minutes=15),
    "M30": timedelta(minutes=30),
    "H1": timedelta(hours=1),
    "H2": timedelta(hours=2),
    "H4": timedelta(hours=4),
    "D": timedelta(days=1),
}
_MOST = 5000  # candles in one answer
_LATELY = timedelta(minutes=1)  # an instant that is over no longer than this is now
_AHEAD = timedelta(seconds=30)  # how far the two clocks may differ
_Row = tuple[Decimal, Decimal]  # closing bid and ask


def _now() -> datetime:
    return datetime.now(UTC)


class OandaFeed:
    """Prices of currencies against USD from OANDA, with the interest rates of the feed ``rates``.

    A row of the history is the close of a candle, at the instant it ended; a candle that has not ended is none. The
    history reaches ``days`` days back from the first instant that was asked about. A snapshot of now is of the quotes
    at this moment; an earlier one is of the last candles that had ended by then.
    """

    name = "oanda"

    def __init__(
        self,
        client: Client,
        *,
        currencies: Sequence[str],
        rates: DataFeed,
        granularity: str = "H1",
        days: int = 400,
        streams: bool = False,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        if granularity not in _STEPS:
            raise ConfigError(f"granularity is {granularity!r}", hint=f"one of {', '.join(_STEPS)}")
        self.interval = _STEPS[granularity]
        self._client, self._granularity, self._rates, self._clock = client, granularity, rates, clock
        self._currencies = tuple(check_currency(c, "currencies") for c in currencies if c.upper() != "USD")
        self._pairs = {c: Pair.market(c, "USD") for c in self._currencies}
        self._names = [venue_name(str(pair)) for pair in self._pairs.values()]
        self._length = timedelta(days=days)
        self._candles: dict[str, dict[np.datetime64, _Row]] = {name: {} for name in self._names}
        self._known: tuple[datetime, datetime] | None = None  # from when to when the candles were read
        self._stream = PriceStream(client, self._names) if streams else None

    def snapshot(self, at: datetime) -> Snapshot:
        """The quotes at ``at`` and the rates known then; raises MissingDataError where a currency has none."""
        to_ns(at)  # an instant has a zone
        now = self._clock()
        if at > now + _AHEAD:
            raise MissingDataError(
                f"{at:%Y-%m-%d %H:%M:%S} UTC has not come yet", hint="is this machine's clock right?"
            )
        rates = self._rates.snapshot(at).rates
        if now - at <= _LATELY:
            return Snapshot(at, self._live(at), rates)
        history = self.history(at - self._length, at + timedelta(microseconds=1))
        return Snapshot(at, self._at_row(history), rates)

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """Closes with start <= time < end, and the rates available before ``end``; MissingDataError where there are
        none.
        """
        for given in (start, end):
            if given is not None:
                to_ns(given)  # it has a zone
        last = min(end or self._clock(), self._clock())
        first = last - self._length if start is None else start
        if first < last:
            self._read(first, last)
        times = sorted({at for rows in self._candles.values() for at in rows if to_ns(first) <= at < to_ns(last)})
        if not times:
            raise MissingDataError(f"OANDA has no prices from {first} to {last}", hint="was the market open then?")
        spot, half = (np.full((len(times), len(self._currencies)), np.nan) for _ in range(2))
        place = {at: row for row, at in enumerate(times)}
        for column, (pair, name) in enumerate(zip(self._pairs.values(), self._names)):
            for at, (bid, ask) in self._candles[name].items():
                row = place.get(at)
                if row is not None:
                    mid = float(bid + ask) / 2
                    spot[row, column] = mid if pair.quote == "USD" else 1 / mid
                    half[row, column] = float(ask - bid) / 2 / mid
        rates, verified = self._known_rates(last)
        return MarketHistory(
            times=np.array(times, "datetime64[ns]"),
            currencies=self._currencies,
            spot=spot,
            numeraire="USD",
            rates=rates,
            interval=self.interval,
            half_spread=half,
            rates_verified_until=verified,
            notes=(
                f"Prices are the closes of OANDA's {self._granularity} candles; rates are those of {self._rates.name}.",
            ),
            source="OANDA",
        )

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        if self._stream is not None:
            self._stream.stop()
        self._client.close()
        self._rates.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _live(self, at: datetime) -> dict[Pair, Quote]:
        """The quotes at this moment. One that is a moment younger than ``at`` is said to be of ``at``."""
        prices: Mapping[str, tuple[Decimal, Decimal, datetime]] = {}
        if self._stream is not None:
            self._stream.start()
            prices = self._stream.prices()
        if len(prices) < len(self._names):
            prices = self._polled()
        quotes = {}
        for pair in self._pairs.values():
            if str(pair) not in prices:
                raise MissingDataError(f"OANDA quotes no {pair}", hint=f"leave {pair} out of currencies under [feed]")
            bid, ask, as_of = prices[str(pair)]
            if as_of > at + _LATELY + _AHEAD:
                raise StaleDataError(
                    f"{pair} was quoted at {as_of:%Y-%m-%d %H:%M:%S} UTC, which has not come yet",
                    hint="set this machine's clock (NTP)",
                )
            quotes[pair] = Quote(bid, ask, min(as_of, at))
        return quotes

    def _polled(self) -> dict[str, tuple[Decimal, Decimal, datetime]]:
        try:
            said, _ = self._client.read("/pricing", {"instruments": ",".join(self._names)})
        except BrokerUnavailable as error:
            raise DataError(error.message, hint=error.hint) from None
        found = {}
        for one in said["prices"]:
            bids, asks = one.get("bids") or (), one.get("asks") or ()
            bid = bids[0]["price"] if bids else one.get("closeoutBid")  # a closed market may quote no sizes
            ask = asks[0]["price"] if asks else one.get("closeoutAsk")
            if bid is not None and ask is not None:
                found[own_name(one["instrument"])] = Decimal(bid), Decimal(ask), instant(one["time"])
        return found

    def _at_row(self, history: MarketHistory) -> dict[Pair, Quote]:
        """The last close of every pair in a history."""
        quotes = {}
        for column, (currency, pair) in enumerate(self._pairs.items()):
            rows = np.flatnonzero(np.isfinite(history.spot[:, column]))
            if not len(rows):
                raise MissingDataError(f"OANDA has no {pair} up to {history.end}", hint=f"leave {currency} out")
            at = history.times[rows[-1]]
            bid, ask = self._candles[venue_name(str(pair))][at]
            quotes[pair] = Quote(bid, ask, from_ns(at))
        return quotes

    def _read(self, first: datetime, last: datetime) -> None:
        """Read the candles from ``first`` to ``last`` that are not known yet."""
        begin, end = self._known or (first, first)
        is_beside = first <= end and last >= begin
        wanted = [(first, min(begin, last)), (max(end, first), last)] if is_beside else [(first, last)]
        for span in wanted:
            if span[0] < span[1]:
                for name in self._names:
                    self._read_candles(name, *span)
        if is_beside:
            self._known = min(begin, first), max(end, last)

    def _read_candles(self, name: str, first: datetime, last: datetime) -> None:
        params = {"granularity": self._granularity, "price": "BA"}
        params |= {"dailyAlignment": "17", "alignmentTimezone": "America/New_York"}
        begin, rows = first - self.interval, self._candles[name]
        while begin < last:
            end = min(begin + self.interval * (_MOST - 1), last)
            asked = {**params, "from": stated(begin)}
            # an end that OANDA's clock has not reached would be refused, so one of just now is not named
            asked |= {"count": str(_MOST)} if self._clock() - end < _LATELY else {"to": stated(end)}
            try:
                candles = self._client.candles(name, asked)
            except BrokerUnavailable as error:
                raise DataError(error.message, hint=error.hint) from None
            for one in candles:
                if one["complete"]:
                    ended = to_ns(instant(one["time"]) + self.interval)
                    rows[ended] = Decimal(one["bid"]["c"]), Decimal(one["ask"]["c"])
            begin = end

    def _known_rates(self, end: datetime) -> tuple[Mapping[str, RateSeries], datetime | None]:
        history = self._rates.history(None, end)
        wanted = {*self._currencies, "USD"}
        return {c: series for c, series in history.rates.items() if c in wanted}, history.rates_verified_until
