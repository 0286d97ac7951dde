"""A columnar store of the market (times × currencies) and the window on it that a strategy sees.

Spot is stored as units of a *numeraire* currency per one unit of each currency, so a rising number always means the
currency gains, whichever way the market quotes it. Rates are point in time: a value is visible only once it was
published (``available_at``) and in force (``as_of``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.conventions import trade_dates
from fxcarry.errors import BadQuoteError, DataError, MissingDataError
from fxcarry.model import FloatArray, Rate, check_currency

if TYPE_CHECKING:
    import pandas as pd

TimeArray = NDArray[np.datetime64]
LEAST_DAY = timedelta(hours=20)
"""Rows at least this far apart are one a day: a day with a clock change or an early close is short of 24 hours."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ns(at: datetime) -> np.datetime64:
    """An aware datetime as UTC nanoseconds; a naive one is an error."""
    if at.tzinfo is None:
        raise DataError(f"{at!r} has no time zone", hint="use an aware UTC datetime")
    return np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "ns")


def from_ns(at: np.datetime64 | int) -> datetime:
    """UTC nanoseconds (or their number) as an aware datetime (microseconds)."""
    return _EPOCH + timedelta(microseconds=int(at if isinstance(at, int) else at.view(np.int64)) // 1000)


def forward_filled(values: FloatArray) -> FloatArray:
    """Each column's last number so far; NaN before its first."""
    if np.isfinite(values).all():
        return values
    rows = np.where(np.isfinite(values), np.arange(len(values))[:, None], 0)
    np.maximum.accumulate(rows, axis=0, out=rows)
    return np.take_along_axis(values, rows, axis=0)


@attrs.frozen(eq=False)
class RateSeries:
    """The published history of one currency's rate, with every vintage.

    Columns are parallel and sorted by the instant a value became usable: ``as_of`` (what the value is for),
    ``available_at`` (when it was known), ``value`` (annual decimal). Revisions are rows with the same ``as_of``.
    ``until`` (None = no end) is from when a row is too old to be used: the rate is missing from there, until a newer
    row.
    """

    currency: str
    as_of: TimeArray
    available_at: TimeArray
    value: FloatArray
    day_count: int = 360
    tenor: str = "overnight"
    source: str = ""
    until: TimeArray | None = None
    _usable: TimeArray = attrs.field(init=False, repr=False)
    _best: NDArray[np.int64] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        usable = np.maximum(self.as_of, self.available_at)
        order = np.lexsort((self.available_at, self.as_of, usable))
        for name in ("as_of", "available_at", "value"):
            object.__setattr__(self, name, getattr(self, name)[order])
        if self.until is not None:
            object.__setattr__(self, "until", self.until[order])
        if not np.isfinite(self.value).all():
            bad = int(np.flatnonzero(~np.isfinite(self.value))[0])
            raise MissingDataError(
                f"{self.currency} rate for {str(self.as_of[bad])[:10]} is {self.value[bad]}",
                hint="leave a missing rate out; it is never taken to be zero",
            )
        # The row in force after each row became usable: the latest as_of, then the latest vintage of it.
        by_rank = np.lexsort((self.available_at, self.as_of))
        rank = np.empty(len(usable), np.int64)
        rank[by_rank] = np.arange(len(usable))
        best = by_rank[np.maximum.accumulate(rank)]
        object.__setattr__(self, "_usable", usable[order])
        object.__setattr__(self, "_best", best)

    @classmethod
    def of(
        cls,
        currency: str,
        rows: Iterable[tuple[datetime, datetime, float]],
        *,
        day_count: int = 360,
        tenor: str = "overnight",
        source: str = "",
    ) -> RateSeries:
        """From (as_of, available_at, value) rows."""
        table = list(rows)
        return cls(
            check_currency(currency),
            np.array([to_ns(r[0]) for r in table], "datetime64[ns]"),
            np.array([to_ns(r[1]) for r in table], "datetime64[ns]"),
            np.array([r[2] for r in table], float),
            day_count,
            tenor,
            source,
        )

    def values(self, at: TimeArray) -> FloatArray:
        """The rate known and in force at each instant, NaN before the first and where the last is too old."""
        known = np.concatenate([[np.nan], self.value[self._best]])
        if self.until is not None:
            place = np.searchsorted(self._usable, at, "right")
            ends = np.concatenate([self.until[:1], self.until[self._best]])  # before the first row it is NaN anyway
            return np.where(at < ends[place], known[place], np.nan) if len(ends) > 1 else np.full(at.shape, np.nan)
        if at.ndim == 1 and (at[1:] >= at[:-1]).all():  # a rate changes seldom: place the changes among the instants
            edges = np.searchsorted(at, self._usable, "left")
            return np.repeat(known, np.diff(edges, prepend=0, append=len(at)))
        return np.asarray(known[np.searchsorted(self._usable, at, "right")])

    def get(self, at: datetime) -> Rate | None:
        """The rate known and in force at one instant, or None before the first and where the last is too old."""
        position = int(np.searchsorted(self._usable, to_ns(at), "right")) - 1
        if position < 0:
            return None
        row = self._best[position]
        if self.until is not None and to_ns(at) >= self.until[row]:
            return None
        return Rate(
            value=float(self.value[row]),
            day_count=self.day_count,
            as_of=from_ns(self.as_of[row]),
            available_at=from_ns(self.available_at[row]),
            tenor=self.tenor,
            source=self.source,
        )

    def before(self, end: np.datetime64) -> RateSeries:
        """The same series without anything that became available at or after ``end``."""
        keep = self.available_at < end
        if keep.all():
            return self
        until = None if self.until is None else self.until[keep]
        return attrs.evolve(
            self, as_of=self.as_of[keep], available_at=self.available_at[keep], value=self.value[keep], until=until
        )


@attrs.frozen(eq=False)
class MarketHistory:
    """Spot (times × currencies, numeraire per unit, NaN where there was no quote) and the rates that were known.

    ``times`` are when each row was observed (UTC, strictly increasing). ``half_spread`` is a relative half bid/ask
    spread of the same shape, or None where the source gives mid prices only. ``rates_verified_until`` is the date up
    to which a change-point rate table is known to be complete. ``notes`` name what a reader should know of the data.
    """

    times: TimeArray
    currencies: tuple[str, ...]
    spot: FloatArray
    numeraire: str
    rates: Mapping[str, RateSeries] = attrs.field(factory=dict)
    interval: timedelta = timedelta(days=1)
    half_spread: FloatArray | None = None
    rates_verified_until: datetime | None = None
    calendar: str = ""
    notes: tuple[str, ...] = ()
    source: str = ""

    def __attrs_post_init__(self) -> None:
        if self.spot.shape != (len(self.times), len(self.currencies)):
            raise DataError(f"spot has shape {self.spot.shape}, expected {(len(self.times), len(self.currencies))}")
        step = np.diff(self.times.astype("datetime64[ns]").astype(np.int64))
        if (step <= 0).any():
            at = int(np.flatnonzero(step <= 0)[0]) + 1
            kind = "repeated" if step[at - 1] == 0 else "out of order"
            raise DataError(
                f"row {at + 1} ({str(self.times[at])[:19]}) is {kind}",
                hint="sort the rows by time and keep one of each",
            )
        with np.errstate(invalid="ignore"):
            bad = (self.spot <= 0) | np.isinf(self.spot)
        if bad.any():
            row, column = (int(x[0]) for x in np.nonzero(bad))
            raise BadQuoteError(
                f"{self.currencies[column]} at {str(self.times[row])[:19]} is {self.spot[row, column]}",
                hint="a price is finite and > 0; leave a missing one empty",
            )

    def __len__(self) -> int:
        return len(self.times)

    @property
    def start(self) -> datetime:
        """When the first row was observed."""
        return from_ns(self.times[0])

    @property
    def end(self) -> datetime:
        """When the last row was observed."""
        return from_ns(self.times[-1])

    @property
    def is_daily(self) -> bool:
        """Whether there is one row a day (or fewer): 20 hours or more between rows."""
        return self.interval >= LEAST_DAY

    def between(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """Rows with start <= time < end, and rates available before ``end``."""
        first = 0 if start is None else int(np.searchsorted(self.times, to_ns(start), "left"))
        last = len(self) if end is None else int(np.searchsorted(self.times, to_ns(end), "left"))
        rates = self.rates if end is None else {c: r.before(to_ns(end)) for c, r in self.rates.items()}
        return attrs.evolve(
            self,
            times=self.times[first:last],
            spot=self.spot[first:last],
            half_spread=None if self.half_spread is None else self.half_spread[first:last],
            rates=rates,
        )

    def in_currency(self, account_currency: str, currencies: Sequence[str]) -> MarketHistory:
        """The same market as account currency per unit, with columns in the order of ``currencies``.

        The account currency itself may be listed: its spot is 1. Raises MissingDataError for a currency without a
        column.
        """
        for currency in (account_currency, *currencies):
            if currency != self.numeraire and currency not in self.currencies:
                raise MissingDataError(
                    f"no prices for {currency} in {self.source or 'this history'}",
                    hint=f"it has {', '.join(sorted({*self.currencies, self.numeraire}))}",
                    fields={"currency": currency},
                )
        column = {c: self.spot[:, i] for i, c in enumerate(self.currencies)}
        column.setdefault(self.numeraire, np.ones(len(self)))
        account = column[account_currency]
        spot = np.stack([column[c] / account for c in currencies], 1) if currencies else np.empty((len(self), 0))
        half = None
        if self.half_spread is not None:
            spread = {c: self.half_spread[:, i] for i, c in enumerate(self.currencies)}
            none = np.zeros(len(self))
            own = spread.get(account_currency, none)  # the account currency's own leg, paid against every other
            half = np.stack([none if c == account_currency else spread.get(c, none) + own for c in currencies], 1)
        return attrs.evolve(self, currencies=tuple(currencies), spot=spot, numeraire=account_currency, half_spread=half)

    def rate_matrix(self, at: TimeArray, currencies: Sequence[str]) -> FloatArray:
        """The rate of each currency known at each instant (annual decimals, instants × currencies, NaN = none yet)."""
        for currency in currencies:
            if currency not in self.rates:
                raise MissingDataError(
                    f"no rates for {currency} in {self.source or 'this history'}",
                    hint=f"there are rates for {', '.join(sorted(self.rates)) or 'no currency'}; "
                    "a missing rate is never taken to be zero",
                    fields={"currency": currency},
                )
        if not currencies:
            return np.empty((len(at), 0))
        return np.stack([self.rates[c].values(at) for c in currencies], 1)


class MarketView:
    """What is known at ``as_of``: a window on the store that ends there. It cannot express a look into the future.

    Vectors are in universe order. ``spot`` is account currency per unit; ``carry`` is the annual rate differential to
    the account currency of holding each currency (> 0 earns); ``financing_long`` and ``financing_short`` are what the
    broker pays for holding or owing it (annual, > 0 received); ``trading_cost`` is what moving a weight by 1 costs, as
    a fraction of NAV.
    """

    __slots__ = ("_columns", "_row", "_tick", "account_currency", "currencies")

    def __init__(self, columns: MarketColumns, tick: int) -> None:
        self._columns = columns
        self._tick = tick
        self._row = int(columns.row[tick])
        self.currencies = columns.currencies
        self.account_currency = columns.account_currency

    @property
    def as_of(self) -> datetime:
        """The instant up to which everything is known."""
        return from_ns(self._columns.at[self._tick])

    @property
    def is_member(self) -> NDArray[np.bool_]:
        """Whether each currency may be held now, in universe order: it has entered the universe and not left it."""
        members = self._columns.members
        return np.ones(len(self.currencies), bool) if members is None else members[self._tick]

    @property
    def tradable_carry(self) -> FloatArray:
        """Carry in universe order, NaN for a currency that lacks a price or a rate or is no member now."""
        array: FloatArray = self._columns.tradable_carry[self._tick]
        return array

    def values(self, name: str) -> FloatArray:
        """One of the vectors by name (``"spot"``, ``"carry"``, …) as a read-only array, without making a Series."""
        if name == "spot":
            spot: FloatArray = self._columns.spot[self._row]
            return spot
        if name == "trading_cost":
            return self._columns.trading_cost
        array: FloatArray = getattr(self._columns, name)[self._tick]
        return array

    def among_members(self, weights: FloatArray) -> FloatArray:
        """The weights with 0 for every currency that is no member now; a run's notes name those it happened to."""
        members = self._columns.members
        if members is None:
            return weights
        here = members[self._tick]
        self._columns.refused.update(self.currencies[i] for i in np.flatnonzero(~here & (weights != 0)))
        return np.where(here, weights, 0.0)

    def _series(self, name: str) -> pd.Series:
        return self._columns.to_series(self.values(name))

    @property
    def spot(self) -> pd.Series:
        """Account currency per unit of each currency: the last quote at or before ``as_of``."""
        return self._series("spot")

    @property
    def rates(self) -> pd.Series:
        """Annual interest rate of each currency (decimal), as known and in force at ``as_of``."""
        return self._series("rates")

    @property
    def carry(self) -> pd.Series:
        """Annual rate differential to the account currency (decimal, > 0 earns), rates as quoted; NaN for no member."""
        return self._series("carry")

    @property
    def financing_long(self) -> pd.Series:
        """Annual financing of being long each currency against the account currency (> 0 received)."""
        return self._series("financing_long")

    @property
    def financing_short(self) -> pd.Series:
        """Annual financing of being short each currency against the account currency (> 0 received)."""
        return self._series("financing_short")

    @property
    def trading_cost(self) -> pd.Series:
        """What moving each currency's weight by 1 costs, as a fraction of NAV (>= 0)."""
        return self._series("trading_cost")

    def earlier(self, at: datetime) -> MarketView | None:
        """The view as it was at the last tick at or before ``at``; None before the run's first.

        It goes back only: ``at`` after ``as_of`` is this view. With it a strategy that depends on what it would have
        said before needs no memory, and answers the same after a restart.
        """
        tick = int(np.searchsorted(self._columns.at[: self._tick + 1], to_ns(at), "right")) - 1
        return None if tick < 0 else MarketView(self._columns, tick)

    def spot_rows(self, n: int) -> FloatArray:
        """The last ``n`` rows of spot as a read-only array (fewer near the start), newest last.

        The last quote stands where a row has none; NaN before a currency's first.
        """
        rows: FloatArray = self._columns.spot[max(0, self._row + 1 - n) : self._row + 1]
        return rows

    def row_times(self, n: int) -> TimeArray:
        """When the rows of :meth:`spot_rows` were observed (UTC)."""
        return self._columns.times[max(0, self._row + 1 - n) : self._row + 1]

    def half_spread_rows(self, n: int) -> FloatArray | None:
        """The relative half spreads quoted in the rows of :meth:`spot_rows`, None where the source has mid prices only.

        A row without a quote has NaN or 0.
        """
        known = self._columns.half_spread
        return None if known is None else known[max(0, self._row + 1 - n) : self._row + 1]

    def day_rows(self, n: int) -> FloatArray:
        """The last row of spot of each of the last ``n`` trading days that have one, the newest row last.

        The same as :meth:`spot_rows` where there is one row a day.
        """
        ends, row = self._columns.day_ends, self._row
        last = int(np.searchsorted(ends, row))  # day ends before this row
        rows: FloatArray = self._columns.spot[[*ends[max(0, last + 1 - n) : last], row]]
        return rows

    def _raw_rows(self, n: int) -> FloatArray:
        rows: FloatArray = self._columns.quoted[max(0, self._row + 1 - n) : self._row + 1]
        return rows

    def history(self, n: int) -> pd.DataFrame:
        """The last ``n`` rows of spot, newest last, NaN where there was no quote."""
        return self._columns.to_frame(self._raw_rows(n), self._row)

    def returns(self, n: int) -> pd.DataFrame:
        """The last ``n`` simple spot returns from row to row, newest last, NaN where a quote is missing."""
        spot = self._raw_rows(n + 1)
        return self._columns.to_frame(spot[1:] / spot[:-1] - 1.0, self._row)

    def __repr__(self) -> str:
        return f"MarketView(as_of={self.as_of:%Y-%m-%d %H:%M}, currencies={', '.join(self.currencies)})"


@attrs.define(eq=False)
class MarketColumns:
    """The arrays behind the views, in universe order: ``quoted`` and ``half_spread`` by history row, the rest by tick.

    ``spot`` is ``quoted`` with the last quote standing where a row has none. ``financing()`` makes the financing of
    being long and short, a year's worth, for every tick.

    ``members`` (None = all, always) says who may be held: the carry of the others is NaN, their prices and rates stay
    to be seen. ``row[tick]`` is the last row observed by that tick. Entries up to a tick are complete before its view
    is handed out; nothing after them is reachable through a view.
    """

    currencies: tuple[str, ...]
    account_currency: str
    times: TimeArray
    quoted: FloatArray
    at: TimeArray
    row: NDArray[np.int64]
    rates: FloatArray
    carry: FloatArray
    financing: Callable[[], tuple[FloatArray, FloatArray]]
    trading_cost: FloatArray
    members: NDArray[np.bool_] | None = None
    half_spread: FloatArray | None = None
    refused: set[str] = attrs.field(init=False, factory=set)
    spot: FloatArray = attrs.field(init=False)
    tradable_carry: FloatArray = attrs.field(init=False)
    _made: tuple[FloatArray, FloatArray] | None = attrs.field(init=False, default=None)
    _day_ends: NDArray[np.intp] | None = attrs.field(init=False, default=None)
    _index: Any = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.spot = forward_filled(self.quoted)
        if self.members is not None:
            self.carry = np.where(self.members, self.carry, np.nan)
            self.members.setflags(write=False)
        self.tradable_carry = self.carry
        if not np.isfinite(self.spot).all():
            self.tradable_carry = np.where(np.isfinite(self.spot[self.row]), self.carry, np.nan)
        for array in (self.spot, self.quoted, self.rates, self.carry, self.tradable_carry, self.trading_cost):
            array.setflags(write=False)

    @property
    def financing_long(self) -> FloatArray:
        """Annual financing of being long each currency; made when first asked for."""
        return self._made_financing()[0]

    @property
    def financing_short(self) -> FloatArray:
        """Annual financing of being short each currency; made when first asked for."""
        return self._made_financing()[1]

    @property
    def day_ends(self) -> NDArray[np.intp]:
        """The rows that are the last of their trading day, the very last row included; made when first asked for."""
        if self._day_ends is None:
            days = trade_dates(self.times - np.timedelta64(1, "ns"))  # a 17:00 ends its day
            self._day_ends = np.flatnonzero(np.append(days[1:] != days[:-1], True))
        return self._day_ends

    def _made_financing(self) -> tuple[FloatArray, FloatArray]:
        if self._made is None:
            self._made = self.financing()
            for array in self._made:
                array.setflags(write=False)
        return self._made

    def to_series(self, values: FloatArray) -> pd.Series:
        """A labeled copy of one vector."""
        import pandas as pd

        if self._index is None:
            self._index = pd.Index(self.currencies)
        return pd.Series(values.copy(), index=self._index)

    def to_frame(self, values: FloatArray, row: int) -> pd.DataFrame:
        """A labeled copy of rows that end at ``row``."""
        import pandas as pd

        index = pd.DatetimeIndex(self.times[row + 1 - len(values) : row + 1], tz="UTC")
        return pd.DataFrame(values.copy(), index=index, columns=list(self.currencies))
