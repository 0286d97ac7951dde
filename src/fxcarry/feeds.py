"""Feeds over stored data: :class:`MemoryFeed` serves a MarketHistory, :class:`FileFeed` reads one from CSV or Parquet.

A date without a time means one fixed instant everywhere in this module: a price of that date was observed at 16:59
New York (the last quote before the 17:00 roll), a rate of that date was in force and known at 17:00 New York.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.conventions import day_count, session_end
from fxcarry.errors import BadQuoteError, ConfigError, DataError, MissingDataError
from fxcarry.market import LEAST_DAY, MarketHistory, RateSeries, TimeArray, from_ns, to_ns
from fxcarry.model import FloatArray, Pair, Quote, Snapshot, check_currency, to_decimal

if TYPE_CHECKING:
    import pandas as pd

_LAST_QUOTE = timedelta(minutes=-1)  # from the end of the session, 17:00 New York
_AT_THE_END = timedelta(0)
_BLANKS = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>", "nat"})
_RateRow = tuple[int, str, np.datetime64, np.datetime64, float]  # row, then the columns of the long form
_LONG_COLUMNS = ("currency", "as_of", "available_at", "value")


class MemoryFeed:
    """A DataFeed over a :class:`~fxcarry.market.MarketHistory` held in memory."""

    def __init__(self, history: MarketHistory, name: str = "memory") -> None:
        self.name = name
        self.interval = history.interval
        self._history = history

    @classmethod
    def from_frames(
        cls,
        spot: pd.DataFrame,
        rates: pd.DataFrame | Mapping[str, RateSeries] | None = None,
        *,
        numeraire: str = "USD",
        name: str = "memory",
    ) -> MemoryFeed:
        """A feed from pandas frames.

        ``spot`` is indexed by time, oldest first. A column is a currency (``"EUR"``: numeraire per unit) or a pair
        that contains the numeraire, as the market quotes it (``"USDJPY"``; inverted where the numeraire is the base).
        Times with a zone are instants; midnights without one are dates, observed at 16:59 New York. An empty cell
        means there was no quote.

        ``rates`` are annual decimals (0.05 = 5 %): a frame indexed by date with a column a currency (known and in
        force from 17:00 New York of that date, an empty cell is no row), a frame with the columns currency, as_of,
        available_at, value (every vintage a row), or RateSeries by currency. Day counts are the market's.

        Raises DataError or BadQuoteError with the row, the column and the value.
        """
        prices = _Table("spot", spot, range(1, len(spot) + 1))
        if rates is None or isinstance(rates, Mapping):
            series = dict(rates or {})
        else:
            series = _rate_series(_Table("rates", rates, range(1, len(rates) + 1)), in_percent=False, source=name)
        return cls(_price_history(prices, series, numeraire, source=name), name)

    def snapshot(self, at: datetime) -> Snapshot:
        """The last quote of every currency at or before ``at``, as CURRENCY/numeraire, and the rates known then.

        Each quote carries the instant it was observed, so one that stopped is seen to be old; a currency not quoted
        yet is absent, and so is one without a known rate. Raises MissingDataError before the first row.
        """
        history = self._history
        row = int(np.searchsorted(history.times, to_ns(at), "right")) - 1
        if row < 0:
            span = f"{history.start:%Y-%m-%d} to {history.end:%Y-%m-%d}" if len(history) else "no row"
            raise MissingDataError(
                f"feed {self.name!r} has no quote at or before {at:%Y-%m-%d %H:%M %Z}",
                hint=f"it has {span}",
                fields={"at": at},
            )
        quotes = {
            Pair(currency, history.numeraire): self._quote(int(last), column)
            for column, (currency, last) in enumerate(zip(history.currencies, self._last_quoted[row]))
            if last >= 0
        }
        known = {currency: series.get(at) for currency, series in history.rates.items()}
        return Snapshot(at, quotes, {currency: rate for currency, rate in known.items() if rate is not None})

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """Rows with start <= time < end and rates available before ``end``; MissingDataError where there are none."""
        rows = self._history.between(start, end)
        if not len(rows):
            reach = (
                f"{self._history.start:%Y-%m-%d} to {self._history.end:%Y-%m-%d}" if len(self._history) else "nothing"
            )
            raise MissingDataError(f"{self.name} has no prices from {start} to {end}", hint=f"it has {reach}")
        return rows

    def close(self) -> None:
        """Nothing is held open."""

    @cached_property
    def _last_quoted(self) -> NDArray[np.int64]:
        """For each row and column, the row of the last quote up to there, -1 where there is none."""
        spot = self._history.spot
        rows = np.where(np.isfinite(spot), np.arange(len(spot))[:, None], -1)
        last: NDArray[np.int64] = np.maximum.accumulate(rows, axis=0)
        return last

    def _quote(self, row: int, column: int) -> Quote:
        history = self._history
        mid, half = to_decimal(history.spot[row, column]), Decimal(0)
        if history.half_spread is not None:
            relative = history.half_spread[row, column]
            if not np.isfinite(relative):
                raise MissingDataError(
                    f"{history.currencies[column]} at {str(history.times[row])[:19]} has a price but no half_spread",
                    hint="give both, or half_spread=None for mid prices",
                )
            half = to_decimal(relative)
        return Quote(mid * (1 - half), mid * (1 + half), from_ns(history.times[row]))


class FileFeed:
    """A DataFeed over files of prices and rates, CSV or Parquet by suffix, read on first use.

    The time is the column ``date``, else the first. Prices have a column a currency (numeraire per unit) or a pair
    with the numeraire in it; rates have a column a currency, or the columns currency, as_of, available_at, value (every
    vintage a row). The meaning of dates, times and empty cells is that of :meth:`MemoryFeed.from_frames`. Rates are
    annual decimals unless ``rates_in_percent``.

    Raises ConfigError where a file cannot be opened, DataError with row (the header is row 1), column and value where
    its content cannot be used.
    """

    name = "file"

    def __init__(
        self,
        prices: str | Path,
        rates: str | Path | None = None,
        numeraire: str = "USD",
        rates_in_percent: bool = False,
    ) -> None:
        for path in (prices, rates):
            if path is not None and Path(path).suffix.lower() not in {".csv", ".parquet"}:
                raise ConfigError(f"{path}: suffix {Path(path).suffix!r} is not known", hint="use .csv or .parquet")
        self._prices = Path(prices)
        self._rates = None if rates is None else Path(rates)
        self._numeraire = check_currency(numeraire, "numeraire")
        self._in_percent = rates_in_percent

    @property
    def interval(self) -> timedelta:
        """The usual step between two rows."""
        return self._stored.interval

    def snapshot(self, at: datetime) -> Snapshot:
        """See :meth:`MemoryFeed.snapshot`."""
        return self._stored.snapshot(at)

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """See :meth:`MemoryFeed.history`."""
        return self._stored.history(start, end)

    def close(self) -> None:
        """Nothing is held open."""

    @cached_property
    def _stored(self) -> MemoryFeed:
        series = {}
        if self._rates is not None:
            series = _rate_series(_read(self._rates), in_percent=self._in_percent, source=self._rates.name)
        prices = _price_history(_read(self._prices), series, self._numeraire, source=str(self._prices))
        return MemoryFeed(prices, self.name)


@attrs.frozen
class Coverage:
    """What a history holds of one currency: the first and last quote and how many.

    ``gaps`` are the holes of more than five business days, each as (last quote before, first quote after). ``first``
    and ``last`` are None where there is no quote at all.
    """

    currency: str
    first: datetime | None
    last: datetime | None
    quotes: int
    gaps: tuple[tuple[datetime, datetime], ...]


def coverage(history: MarketHistory, currencies: Collection[str] | None = None) -> dict[str, Coverage]:
    """What a history holds of its currencies (or of some), for errors that say from when to when there is data."""
    found = {}
    seen = np.isfinite(history.spot)
    whole: Coverage | None = None
    for column, currency in enumerate(history.currencies):
        if currencies is not None and currency not in currencies:
            continue
        if seen[:, column].all():
            whole = whole or _coverage(currency, history.times)
            found[currency] = attrs.evolve(whole, currency=currency)
        else:
            found[currency] = _coverage(currency, history.times[seen[:, column]])
    return found


def _coverage(currency: str, times: TimeArray) -> Coverage:
    days = times.astype("datetime64[D]")
    far = np.flatnonzero(np.diff(days) > np.timedelta64(7, "D"))  # any closer, and no week of weekdays is missing
    holes = far[np.busday_count(days[far], days[far + 1]) - 1 > 5]
    return Coverage(
        currency,
        from_ns(times[0]) if len(times) else None,
        from_ns(times[-1]) if len(times) else None,
        len(times),
        tuple((from_ns(times[i]), from_ns(times[i + 1])) for i in holes),
    )


@attrs.frozen
class _Table:
    """Cells as given, and the number of each row in its source, so that an error can point at it."""

    origin: str
    frame: pd.DataFrame
    numbers: Sequence[int]

    def where(self, row: int, column: Any = None) -> str:
        place = f"{self.origin}, row {self.numbers[row]}"
        return place if column is None else f"{place}, column {column}"


def _price_history(table: _Table, rates: Mapping[str, RateSeries], numeraire: str, *, source: str) -> MarketHistory:
    numeraire = check_currency(numeraire, "numeraire")
    times = _times(table, table.frame.index, _LAST_QUOTE)
    _check_order(table, times)
    values = _numbers(table)
    bad = np.argwhere(values <= 0)
    if len(bad):
        row, column = bad[0]
        raise BadQuoteError(
            f"{table.where(row, table.frame.columns[column])}: {values[row, column]} is not a price",
            hint="a price is > 0; leave a missing one empty",
        )
    columns: dict[str, FloatArray] = {}
    for label, prices in zip(table.frame.columns, values.T):
        currency, is_inverse = _price_column(table, str(label), numeraire)
        if currency in columns:
            raise DataError(f"{table.origin}, column {label}: a second column for {currency}", hint="keep one of them")
        columns[currency] = 1.0 / prices if is_inverse else prices
    return MarketHistory(
        times=times,
        currencies=tuple(columns),
        spot=np.stack(list(columns.values()), 1),
        numeraire=numeraire,
        rates=rates,
        interval=_interval(times),
        source=source,
    )


def _price_column(table: _Table, label: str, numeraire: str) -> tuple[str, bool]:
    """The currency a column is about, and whether it is quoted in that currency per numeraire."""
    place = f"{table.origin}, column {label!r}"
    try:
        pair = Pair(check_currency(label), numeraire) if len(label) == 3 else Pair.parse(label)
    except ConfigError as error:
        raise DataError(
            f"{place} is neither a currency nor a pair", hint='name it like "EUR" or "EURUSD", or remove it'
        ) from error
    if pair.base == pair.quote or numeraire not in pair:
        raise DataError(
            f"{place} does not price a currency in {numeraire}",
            hint=f"every column is a currency other than {numeraire} or a pair with {numeraire} in it",
        )
    return (pair.base, False) if pair.quote == numeraire else (pair.quote, True)


def _rate_series(table: _Table, *, in_percent: bool, source: str) -> dict[str, RateSeries]:
    is_long = set(_LONG_COLUMNS) <= set(table.frame.columns)
    series: dict[str, dict[tuple[np.datetime64, np.datetime64], float]] = {}
    for row, currency, as_of, available_at, value in _long_rates(table) if is_long else _wide_rates(table):
        known = series.setdefault(currency, {})
        if (as_of, available_at) in known:
            raise DataError(f"{table.where(row)}: a second {currency} rate of the same dates", hint="keep one of them")
        known[as_of, available_at] = value / 100 if in_percent else value
    typical = np.median([abs(value) for known in series.values() for value in known.values()] or [0.0])
    if typical > 1:
        raise DataError(
            f"{table.origin}: the median rate is {typical:.2%} a year",
            hint="rates are annual decimals, 0.05 = 5 %; files in percent need rates_in_percent",
        )
    return {
        currency: RateSeries(
            currency,
            np.array([as_of for as_of, _ in known], "datetime64[ns]"),
            np.array([available_at for _, available_at in known], "datetime64[ns]"),
            np.array(list(known.values()), float),
            day_count=day_count(currency),
            source=source,
        )
        for currency, known in series.items()
    }


def _wide_rates(table: _Table) -> Iterator[_RateRow]:
    times = _times(table, table.frame.index, _AT_THE_END)
    _check_order(table, times)
    values = _numbers(table)
    for column, label in enumerate(table.frame.columns):
        currency = _rate_currency(f"{table.origin}, column {label}", label)
        for row in np.flatnonzero(~np.isnan(values[:, column])):
            yield int(row), currency, times[row], times[row], values[row, column]


def _long_rates(table: _Table) -> Iterator[_RateRow]:
    frame = table.frame
    extra = [c for c in frame.columns if c not in _LONG_COLUMNS]
    if extra:
        raise DataError(
            f"{table.origin}: unknown column {extra[0]!r}", hint=f"rates by row have {', '.join(_LONG_COLUMNS)}"
        )
    as_of = _times(table, frame["as_of"], _AT_THE_END, "as_of")
    available_at = _times(table, frame["available_at"], _AT_THE_END, "available_at")
    values = _numbers(attrs.evolve(table, frame=frame[["value"]]))[:, 0]
    for row, code in enumerate(frame["currency"]):
        currency = _rate_currency(table.where(row, "currency"), code)
        if not np.isnan(values[row]):
            yield row, currency, as_of[row], available_at[row], values[row]


def _rate_currency(place: str, code: Any) -> str:
    try:
        return check_currency(code)
    except ConfigError as error:
        raise DataError(f"{place}: {code!r} is not a currency", hint='name it like "EUR", or remove it') from error


def _times(table: _Table, values: Any, offset: timedelta, column: str = "date") -> TimeArray:
    """Instants; a date without a time is taken at its 17:00 New York plus ``offset``."""
    import pandas as pd

    if not len(values):
        raise DataError(f"{table.origin} has no rows")
    if isinstance(values, pd.DatetimeIndex) and values.tz is not None and not values.hasnans:
        return values.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[ns]")
    return np.array([_instant(table, i, v, offset, column) for i, v in enumerate(values)], "datetime64[ns]")


def _instant(table: _Table, row: int, value: Any, offset: timedelta, column: str) -> np.datetime64:
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if not (isinstance(moment, date) and 1900 <= moment.year <= 2200):  # the year of a missing time is NaN
            raise ValueError(f"{value!r} is not a date between 1900 and 2200")
    except ValueError as error:
        raise DataError(
            f"{table.where(row, column)}: {value!r} is not a date", hint="write it like 2024-01-31"
        ) from error
    if not isinstance(moment, datetime):
        return to_ns(session_end(moment) + offset)
    if moment.tzinfo is not None:
        return to_ns(moment)
    if moment.time() != time():
        raise DataError(
            f"{table.where(row, column)}: {value} has no time zone", hint="write it like 2024-01-31T21:00:00+00:00"
        )
    return to_ns(session_end(moment.date()) + offset)


def _check_order(table: _Table, times: TimeArray) -> None:
    steps = np.diff(times)
    bad = np.flatnonzero(steps <= np.timedelta64(0, "ns"))
    if len(bad):
        row = int(bad[0]) + 1
        kind = "is there twice" if times[row] == times[row - 1] else "is out of order"
        raise DataError(
            f"{table.where(row)}: {table.frame.index[row]} {kind}", hint="sort the rows oldest first, one for each time"
        )


def _numbers(table: _Table) -> FloatArray:
    """The cells as floats, NaN where empty."""
    frame = table.frame
    if not len(frame.columns):
        raise DataError(f"{table.origin} has no column but the time")
    values = np.empty(frame.shape)
    for column, label in enumerate(frame.columns):
        cells = frame.iloc[:, column]
        if cells.dtype.kind in "fiu":
            values[:, column] = cells.to_numpy(float, na_value=np.nan)
            continue
        for row, cell in enumerate(cells):
            text = str(cell).strip()
            try:
                values[row, column] = np.nan if text.lower() in _BLANKS else float(text)
            except ValueError as error:
                raise DataError(
                    f"{table.where(row, label)}: {text!r} is not a number", hint="leave a missing value empty"
                ) from error
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        row, column = infinite[0]
        raise DataError(
            f"{table.where(row, frame.columns[column])}: {values[row, column]} is not a finite number",
            hint="leave a missing value empty",
        )
    return values


def _interval(times: TimeArray) -> timedelta:
    """The usual step between rows, in whole days from 20 hours on; one day where there is only one row."""
    if len(times) < 2:
        return timedelta(days=1)
    step = timedelta(seconds=float(np.median(np.diff(times).astype(np.int64))) / 1e9)
    return step if step < LEAST_DAY else timedelta(days=round(step / timedelta(days=1)))


def _read(path: Path) -> _Table:
    """A file as a table indexed by its time column, or as it is where it holds rates by row."""
    import pandas as pd

    try:
        table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}", hint="check the path") from error
    frame = table.frame
    if isinstance(frame.index, pd.DatetimeIndex) or set(_LONG_COLUMNS) <= set(frame.columns):
        return table
    time_column = "date" if "date" in frame.columns else frame.columns[0]
    return attrs.evolve(table, frame=frame.set_index(time_column))


def _read_csv(path: Path) -> _Table:
    import pandas as pd

    rows: list[list[str]] = []
    numbers: list[int] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            for row in reader:
                if len(row) != len(header) and row:
                    raise DataError(
                        f"{path}, row {reader.line_num}: {len(row)} fields, the header has {len(header)}",
                        hint="the file is cut off or not separated by commas",
                    )
                if row:
                    rows.append(row)
                    numbers.append(reader.line_num)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}, row {reader.line_num + 1}: not a CSV file in UTF-8: {error}") from error
    if len(header) > 2 and not header[-1] and not any(row[-1].strip() for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]  # every line ends in a comma
    if len(set(header)) != len(header):
        raise DataError(f"{path}, row 1: a column name is there twice", hint=f"the header is {', '.join(header)}")
    if not header:
        raise DataError(f"{path} is empty")
    return _Table(str(path), pd.DataFrame(rows, columns=header, dtype=object), numbers)


def _read_parquet(path: Path) -> _Table:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading Parquet needs pyarrow", hint="pip install 'fxcarry[parquet]', or use CSV"
        ) from error
    except ValueError as error:  # pyarrow's own errors are ValueErrors
        raise DataError(f"{path}: not a Parquet file: {error}") from error
    return _Table(str(path), frame, range(1, len(frame) + 1))
