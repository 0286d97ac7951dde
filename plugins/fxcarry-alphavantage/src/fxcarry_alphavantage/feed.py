"""Alpha Vantage's exchange rates as a feed: few calls a day, so what is known is kept and asked for once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np

from fxcarry.conventions import open_minutes
from fxcarry.errors import ConfigError, MissingDataError, StaleDataError
from fxcarry.market import MarketHistory, RateSeries, TimeArray, to_ns
from fxcarry.model import FloatArray, Pair, Quote, Snapshot, check_currency
from fxcarry.protocols import DataFeed
from fxcarry_alphavantage.client import Client, NoCallsLeft, PremiumOnly, now
from fxcarry_alphavantage.rates import UsdRate, usd_rate
from fxcarry_alphavantage.store import Store
from fxcarry_alphavantage.words import DAY, Bar, daily_bars, intraday_bars, quote

_LOG = logging.getLogger("fxcarry.alphavantage")
Interval = Literal["daily", "1min", "5min", "15min", "30min", "60min"]
INTERVALS = ("daily", "1min", "5min", "15min", "30min", "60min")
_LATELY = timedelta(minutes=1)  # an instant that is over no longer than this is now
_AHEAD = timedelta(seconds=30)  # how far the two clocks may differ
_LOOK_BACK = timedelta(days=14)  # how old the bar of a past snapshot may be
_COMPACT = 90  # intervals that the newest 100 bars reach back over for sure, weekend bars and all
_NEVER = datetime.min.replace(tzinfo=UTC)
_REFUSED = "full history refused"
_ANEW = timedelta(days=7)  # until what the plan did not include is asked for again


class AlphaVantageFeed:
    """Prices of currencies against USD from Alpha Vantage, with the interest rates of the feed ``rates``.

    A row of the history is the close of a bar at the instant it ended, a mid price; daily bars end at 24:00 UTC. Bars
    are kept in the file ``cache`` and only those that are missing are asked for.

    A snapshot of now has quotes asked for no longer ago than the day's calls allow: with nine currencies and 25 calls,
    of which nine are for the day's bars, 13.5 hours. Where no call is left it has the last that is known, each with its
    own ``as_of``. An earlier one is of the last bars that had ended by then.

    ``usd`` takes Alpha Vantage's own series for USD instead of that of ``rates``.
    """

    name = "alphavantage"

    def __init__(
        self,
        client: Client,
        *,
        currencies: Sequence[str],
        rates: DataFeed,
        cache: Path,
        interval: Interval = "daily",
        usd: UsdRate | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        if interval not in INTERVALS:
            raise ConfigError(f"interval is {interval!r}", hint=f"one of {', '.join(INTERVALS)}")
        self._currencies = tuple(check_currency(c, "currencies") for c in currencies if c.upper() != "USD")
        if not self._currencies:
            raise ConfigError("currencies names none besides USD", hint="name at least one")
        self.interval = DAY if interval == "daily" else timedelta(minutes=int(interval.removesuffix("min")))
        self._client, self._rates, self._store, self._clock = client, rates, Store(cache), clock
        self._step, self._usd = interval, usd
        self._pairs = {c: Pair.market(c, "USD") for c in self._currencies}
        count = len(self._pairs)
        kept_back = count + (usd is not None)  # calls a day for the bars and the rate
        self.pace = DAY * count / max(client.quota.calls - kept_back, count)
        self._is_short = False  # the plan does not include the whole history

    def snapshot(self, at: datetime) -> Snapshot:
        """The quotes at ``at`` and the rates known then; raises MissingDataError where a currency has none."""
        to_ns(at)  # an instant has a zone
        moment = self._clock()
        if at > moment + _AHEAD:
            raise MissingDataError(
                f"{at:%Y-%m-%d %H:%M:%S} UTC has not come yet", hint="is this machine's clock right?"
            )
        rates = dict(self._rates.snapshot(at).rates)
        if self._usd is not None:
            rate = self._usd_series().get(at)
            if rate is None:
                raise MissingDataError(f"Alpha Vantage has no USD rate that was known at {at:%Y-%m-%d}")
            rates["USD"] = rate
        if moment - at <= _LATELY:
            return Snapshot(at, self._live(at), rates)
        first, end = at - _LOOK_BACK, at + timedelta(microseconds=1)
        self._update(first, end)
        quotes = {}
        for pair in self._pairs.values():
            bars = self._store.bars(self._series(pair), first, end)
            if not bars:
                raise MissingDataError(
                    f"Alpha Vantage has no {pair} in the 14 days before {at:%Y-%m-%d %H:%M} UTC",
                    hint=f"leave {pair} out of currencies, or ask about another time",
                )
            quotes[pair] = _of(bars[-1])
        return Snapshot(at, quotes, rates)

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """Closes with start <= time < end, and the rates available before ``end``; MissingDataError where there are
        none. ``start`` None is as far back as there are any.
        """
        for given in (start, end):
            if given is not None:
                to_ns(given)  # it has a zone
        last = min(end or self._clock(), self._clock())
        columns: list[tuple[TimeArray, FloatArray]] = []
        if start is None or start < last:
            self._update(start, last)
            columns = [self._store.closes(self._series(pair), start, last) for pair in self._pairs.values()]
        times = np.unique(np.concatenate([np.empty(0, "datetime64[ns]"), *(ends for ends, _ in columns)]))
        if not len(times):
            raise MissingDataError(
                f"Alpha Vantage has no prices from {start} to {last}", hint="was the market open then?"
            )
        spot = np.full((len(times), len(self._pairs)), np.nan)
        for column, (pair, (ends, closes)) in enumerate(zip(self._pairs.values(), columns)):
            rows = np.searchsorted(times, ends)
            spot[rows, column] = closes if pair.quote == "USD" else 1 / closes
        rates, verified = self._known_rates(last)
        return MarketHistory(
            times=times,
            currencies=self._currencies,
            spot=spot,
            numeraire="USD",
            rates=rates,
            interval=self.interval,
            rates_verified_until=verified,
            notes=self._notes(),
            source="Alpha Vantage",
        )

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        self._client.close()
        self._rates.close()

    # -- quotes of now ---------------------------------------------------------------------------------------------

    def _live(self, at: datetime) -> dict[Pair, Quote]:
        """The quotes at this moment, each the newest of what was just asked for and what is kept."""
        known = {pair: self._store.quote(pair) for pair in self._pairs.values()}
        refusal = None
        for pair, kept in sorted(known.items(), key=lambda item: _NEVER if item[1] is None else item[1][1]):
            if (kept is None or self._clock() - kept[1] >= self.pace) and refusal is None:
                try:
                    known[pair] = self._ask_quote(pair, at)
                except NoCallsLeft as error:
                    refusal = error
                    _LOG.warning("no call left; quotes stay as old as they are: %s", error)
        quotes = {}
        for pair, kept in known.items():
            candidates = [] if kept is None else [kept[0]]
            candidates += [_of(bar) for bar in self._store.bars(self._series(pair), at - _LOOK_BACK, at)[-1:]]
            if not candidates:
                assert refusal is not None
                raise refusal
            newest = max(candidates, key=lambda q: q.as_of)
            quotes[pair] = Quote(newest.bid, newest.ask, min(newest.as_of, at))
        return quotes

    def _ask_quote(self, pair: Pair, at: datetime) -> tuple[Quote, datetime]:
        params = {"from_currency": pair.base, "to_currency": pair.quote}
        data = "Realtime Currency Exchange Rate"
        found, moment = quote(self._client.ask("CURRENCY_EXCHANGE_RATE", params, data)[data], pair), self._clock()
        if found.as_of > max(at, moment) + _AHEAD:
            raise StaleDataError(
                f"{pair} was quoted at {found.as_of:%Y-%m-%d %H:%M:%S} UTC, which has not come yet",
                hint="set this machine's clock (NTP)",
            )
        self._store.keep_quote(pair, found, moment)
        return found, moment

    # -- bars ------------------------------------------------------------------------------------------------------

    def _series(self, pair: Pair) -> str:
        return f"{pair} {self._step}"

    def _update(self, first: datetime | None, last: datetime) -> None:
        """Ask for the bars from ``first`` to before ``last`` that are missing; without a call left, keep what is."""
        last = min(last, self._clock())
        asked = {pair: self._store.asked(self._series(pair)) or _NEVER for pair in self._pairs.values()}
        for pair in sorted(asked, key=lambda pair: asked[pair]):  # with few calls, each has its turn
            try:
                self._update_pair(pair, first, last)
            except NoCallsLeft as error:
                if any(self._store.span(self._series(other)) is None for other in self._pairs.values()):
                    raise  # a currency of which nothing is known is no hole to be passed over
                _LOG.warning("no call left; the history ends where it did: %s", error)
                return

    def _update_pair(self, pair: Pair, first: datetime | None, last: datetime) -> None:
        series, moment = self._series(pair), self._clock()
        span, asked = self._store.span(series), self._store.asked(series)
        is_whole = self._store.asked(f"{series} full") is not None
        from_here = moment - _COMPACT * self.interval
        is_short = span is None or (not is_whole and (first is None or first < span[0]))
        if is_short and (first is None or first < from_here) and self._ask_all(pair):
            return
        if span is None:
            self._ask_bars(pair, "compact")
            return
        is_due = self._is_missing(span[1], last) and (asked is None or moment - asked >= self.interval / 4)
        if is_due and (span[1] >= from_here or not self._ask_all(pair)):
            self._ask_bars(pair, "compact")

    def _ask_all(self, pair: Pair) -> bool:
        """Ask for the whole history; False where the plan does not include it."""
        if self._is_refused(self._clock()):
            return False
        try:
            self._ask_bars(pair, "full")
        except PremiumOnly as error:
            _LOG.warning("the whole history is not in the plan: %s", error)
            self._store.note(_REFUSED, self._clock())
            self._is_short = True
            return False
        return True

    def _is_refused(self, moment: datetime) -> bool:
        """Whether the whole history was refused, not long ago."""
        refused = self._store.asked(_REFUSED)
        self._is_short = refused is not None and moment - refused < _ANEW
        return self._is_short

    def _is_missing(self, newest: datetime, last: datetime) -> bool:
        """Whether a bar should have ended after ``newest`` and before ``last``."""
        if self.interval < DAY:
            return open_minutes(newest, last) * timedelta(minutes=1) > self.interval
        ends = (newest + days * DAY for days in range(1, 5))  # of the next days; a bar of a weekend is none
        following = next(end for end in ends if (end - DAY / 2).weekday() < 5)
        return following < last

    def _ask_bars(self, pair: Pair, size: Literal["compact", "full"]) -> None:
        series, asked = self._series(pair), self._clock()
        params = {"from_symbol": pair.base, "to_symbol": pair.quote, "outputsize": size}
        if self._step == "daily":
            said = self._client.ask("FX_DAILY", params, "Time Series FX (Daily)")
            bars = daily_bars(said, asked)
        else:
            data = f"Time Series FX ({self._step})"
            said = self._client.ask("FX_INTRADAY", {**params, "interval": self._step}, data)
            bars = intraday_bars(said, self._step, asked)
        if not bars:
            raise MissingDataError(f"Alpha Vantage has no bars of {pair}", hint=f"leave {pair} out of currencies")
        self._store.keep(series, bars)
        self._store.note(series, asked)
        if size == "full":
            self._store.note(f"{series} full", asked)

    # -- rates -----------------------------------------------------------------------------------------------------

    def _usd_series(self) -> RateSeries:
        assert self._usd is not None
        return usd_rate(self._client, self._store, self._usd, self._clock())

    def _known_rates(self, end: datetime) -> tuple[Mapping[str, RateSeries], datetime | None]:
        history = self._rates.history(None, end)
        wanted = {*self._currencies, "USD"}
        rates = {c: series for c, series in history.rates.items() if c in wanted}
        if self._usd is not None:
            rates["USD"] = self._usd_series().before(to_ns(end))
        return rates, history.rates_verified_until

    def _notes(self) -> tuple[str, ...]:
        what = "daily bars, at 24:00 UTC" if self._step == "daily" else f"{self._step} bars, at their ends"
        usd = f" and Alpha Vantage's {self._usd} for USD" if self._usd else ""
        notes = [f"Prices are the closes of Alpha Vantage's {what}, mid; rates are those of {self._rates.name}{usd}."]
        if self._is_short:
            notes.append(
                "The whole history is not in the plan of the key: only the newest 100 bars of a pair can be had. It "
                "begins with those of the first time it was asked and has a hole where it was not asked for longer."
            )
        return tuple(notes)


def _of(bar: Bar) -> Quote:
    ended, close = bar
    return Quote(close, close, ended)
