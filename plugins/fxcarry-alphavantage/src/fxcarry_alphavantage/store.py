"""What was asked, in a SQLite file that processes share: closes, quotes and rates, and when each was asked for.

A close that is stored is not changed by a later answer, so that a question about the past keeps its answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from fxcarry.errors import ConfigError
from fxcarry.market import TimeArray
from fxcarry.model import FloatArray, Pair, Quote
from fxcarry_alphavantage.words import Bar

_TABLES = """
CREATE TABLE IF NOT EXISTS bars (series TEXT, ended INTEGER, close TEXT NOT NULL, PRIMARY KEY (series, ended));
CREATE TABLE IF NOT EXISTS asked (what TEXT PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS quotes (pair TEXT PRIMARY KEY, bid TEXT, ask TEXT, as_of INTEGER, asked INTEGER);
"""


class Store:
    """The file ``path``; its folder is made when it is first used."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def bars(self, series: str, first: datetime | None = None, last: datetime | None = None) -> list[Bar]:
        """The bars of a series that ended from ``first`` to before ``last``, oldest first."""
        return [(_at(ended), Decimal(close)) for ended, close in self._rows(series, first, last)]

    def closes(self, series: str, first: datetime | None, last: datetime | None) -> tuple[TimeArray, FloatArray]:
        """As :meth:`bars`, the ends and the closes as arrays."""
        rows = self._rows(series, first, last)
        ends = np.array([ended for ended, _ in rows], "datetime64[us]").astype("datetime64[ns]")
        return ends, np.array([close for _, close in rows], float)

    def _rows(self, series: str, first: datetime | None, last: datetime | None) -> list[tuple[int, str]]:
        low, high = (-(2**62) if first is None else _us(first)), (2**62 if last is None else _us(last))
        query = "SELECT ended, close FROM bars WHERE series = ? AND ended >= ? AND ended < ? ORDER BY ended"
        with self._open() as file:
            return file.execute(query, (series, low, high)).fetchall()

    def span(self, series: str) -> tuple[datetime, datetime] | None:
        """The first and the last end of a bar."""
        with self._open() as file:
            row = file.execute("SELECT min(ended), max(ended) FROM bars WHERE series = ?", (series,)).fetchone()
        return None if row[0] is None else (_at(row[0]), _at(row[1]))

    def keep(self, series: str, bars: Iterable[Bar]) -> None:
        """Add the bars that are not there yet."""
        with self._open() as file:
            rows = [(series, _us(ended), str(close)) for ended, close in bars]
            file.executemany("INSERT OR IGNORE INTO bars VALUES (?, ?, ?)", rows)

    def asked(self, what: str) -> datetime | None:
        """When something was last asked for."""
        with self._open() as file:
            row = file.execute("SELECT at FROM asked WHERE what = ?", (what,)).fetchone()
        return None if row is None else _at(row[0])

    def note(self, what: str, at: datetime) -> None:
        """Something was asked for."""
        with self._open() as file:
            file.execute("INSERT OR REPLACE INTO asked VALUES (?, ?)", (what, _us(at)))

    def quote(self, pair: Pair) -> tuple[Quote, datetime] | None:
        """The last quote of a pair, and when it was asked for."""
        with self._open() as file:
            row = file.execute("SELECT bid, ask, as_of, asked FROM quotes WHERE pair = ?", (str(pair),)).fetchone()
        return None if row is None else (Quote(Decimal(row[0]), Decimal(row[1]), _at(row[2])), _at(row[3]))

    def keep_quote(self, pair: Pair, quote: Quote, asked: datetime) -> None:
        """The last quote of a pair takes the place of the one before."""
        row = (str(pair), str(quote.bid), str(quote.ask), _us(quote.as_of), _us(asked))
        with self._open() as file:
            file.execute("INSERT OR REPLACE INTO quotes VALUES (?, ?, ?, ?, ?)", row)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=10)) as file:
                file.executescript(_TABLES)
                with file:
                    yield file
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"the cache {self.path} cannot be used: {error}", hint="may it be written? It may be deleted"
            ) from error


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _us(at: datetime) -> int:
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _at(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
