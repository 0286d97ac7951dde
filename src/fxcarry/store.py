"""Market data in one SQLite file: a recorder that fills it from a live feed, updates from a history, a feed over it.

Every price and rate is written once, with who told it and when. What was told first is what a feed over the store
serves: a price that is told otherwise later is kept aside and not served, and a rate that is told otherwise, or late,
is known from the instant it was fetched. So an answer about the past does not change as the store grows.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from fxcarry.composite import SourceHealth
from fxcarry.conventions import holidays_of, is_open, open_minutes, session_end, trade_dates
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.feeds import coverage
from fxcarry.market import MarketHistory, RateSeries, from_ns, to_ns
from fxcarry.model import Pair, Quote, Snapshot, to_decimal
from fxcarry.protocols import DataFeed

_LOG = logging.getLogger("fxcarry")
_APPLICATION = 0x66785374  # "fxSt"
_SCHEMA = 1
_PATIENCE = 10.0  # seconds to wait for another process's write
_NEVER = 2**63 - 1  # nanoseconds: a rate of which nobody said from when it is too old
_OVERLAP = timedelta(days=7)  # asked for again at every update: what came late, or is told otherwise
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE fetches (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, source TEXT NOT NULL,
  version TEXT NOT NULL, asked INTEGER NOT NULL, fetched_at INTEGER NOT NULL);
CREATE TABLE pairs (pair TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE prices (pair TEXT NOT NULL, as_of INTEGER NOT NULL, bid TEXT NOT NULL, ask TEXT NOT NULL,
  inverse INTEGER NOT NULL, fetch INTEGER NOT NULL, PRIMARY KEY (pair, as_of)) WITHOUT ROWID;
CREATE INDEX prices_fetch ON prices (fetch);
CREATE TABLE retold (pair TEXT NOT NULL, as_of INTEGER NOT NULL, bid TEXT NOT NULL, ask TEXT NOT NULL,
  inverse INTEGER NOT NULL, fetch INTEGER NOT NULL, PRIMARY KEY (pair, as_of, bid, ask)) WITHOUT ROWID;
CREATE TABLE rates (currency TEXT NOT NULL, as_of INTEGER NOT NULL, available_at INTEGER NOT NULL,
  told_at INTEGER NOT NULL, value REAL NOT NULL, day_count INTEGER NOT NULL, tenor TEXT NOT NULL, source TEXT NOT NULL,
  until INTEGER, fetch INTEGER NOT NULL, PRIMARY KEY (currency, as_of, available_at, told_at)) WITHOUT ROWID;
CREATE TABLE marks (currency TEXT PRIMARY KEY, asked INTEGER NOT NULL) WITHOUT ROWID;
"""
_RateRow = tuple[str, int, int, float, int, str, str, int | None]
"""Currency, as_of, told_at, value, day count, tenor, source, and from when it is too old, None where nobody said so."""

_PriceRow = tuple[str, int, str, str, int]  # market pair, as_of, bid, ask, whether they are of the inverse


@attrs.frozen
class Added:
    """What an update brought: new prices and rates by currency, and prices that are told otherwise than before."""

    source: str
    until: datetime
    prices: Mapping[str, int]
    rates: Mapping[str, int]
    retold: int

    @property
    def is_empty(self) -> bool:
        """Whether the store had all of it."""
        return not (self.prices or self.rates or self.retold)


@attrs.frozen
class Held:
    """What a store has of one currency. ``age`` is in minutes of open market since its last price; times are None and
    counts 0 where there is nothing. ``gaps`` are the trade dates without a price, as (first, last).
    """

    currency: str
    prices: int
    first: datetime | None
    last: datetime | None
    age: float | None
    sources: tuple[str, ...]
    gaps: tuple[tuple[str, str], ...]
    rates: int
    rate: float | None
    rate_as_of: datetime | None
    rate_known: datetime | None
    rate_source: str


def _version_of(feed: object) -> str:
    name = type(feed).__module__.split(".")[0].replace("_", "-")
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _ns(at: datetime) -> int:
    return int(to_ns(at).astype(np.int64))


class Store:
    """The file, with ``-wal`` and ``-shm`` beside it while it is open. Writes are on disk when a method returns, all of
    one fetch or nothing; several processes may write. Not to be shared between threads.

    ConfigError where the file is something else or cannot be opened, DataError where it is damaged.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        is_new_allowed: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = Path(path).expanduser()
        self._is_new_allowed, self._now = is_new_allowed, now
        self._open_db: sqlite3.Connection | None = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open_db is None:
            self._open_db = self._opened()
        return self._open_db

    def _opened(self) -> sqlite3.Connection:
        if not self._is_new_allowed and not self.path.is_file():
            raise ConfigError(f"there is no store {self.path}", hint="fxcarry data update makes one")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"the store {self.path} cannot be opened: {error}", hint="check the path") from error
        try:
            [(application,)] = db.execute("PRAGMA application_id")
            [(tables,)] = db.execute("SELECT count(*) FROM sqlite_master")
            if application != _APPLICATION and tables:
                raise ConfigError(f"{self.path} is no store of market data", hint="choose another file")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE" if application != _APPLICATION else "BEGIN")
            [(known,)] = db.execute("PRAGMA user_version")
            if known > _SCHEMA:
                raise ConfigError(f"{self.path} was written by a newer fxcarry", hint="upgrade fxcarry")
            if not known:  # else another process was first
                for statement in _TABLES.strip().split(";\n"):
                    db.execute(statement.rstrip(";"))
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {_SCHEMA}")
            db.execute("COMMIT")
        except sqlite3.Error as error:
            db.close()
            raise self._damaged(error) from error
        except BaseException:
            db.close()
            raise
        return db

    def _damaged(self, error: object) -> DataError:
        return DataError(f"the store {self.path} cannot be read or written: {error}", hint="fxcarry data verify")

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._open_db is not None:
            self._open_db.close()
            self._open_db = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def facts(self) -> dict[str, str]:
        """What is known of the data as a whole: numeraire, interval, calendar, notes, verified_until."""
        return dict(self.read("SELECT name, value FROM facts"))

    # --- writing -----------------------------------------------------------------------------------------------------

    def record(self, snapshot: Snapshot, feed: DataFeed) -> int:
        """Write what is new in a snapshot; how many prices and rates that is."""
        serving: Mapping[Pair, str] = getattr(feed, "serving", {})
        quotes: dict[str, list[_PriceRow]] = {}
        for pair, quote in snapshot.quotes.items():
            row = _price_row(pair, quote)
            quotes.setdefault(serving.get(Pair.market(*pair), feed.name), []).append(row)
        rates: list[_RateRow] = [
            (c, _ns(r.as_of), _ns(r.available_at), r.value, r.day_count, r.tenor, r.source, None)
            for c, r in snapshot.rates.items()
        ]
        asked = _ns(snapshot.at)
        count = 0
        with self._writing() as db:
            for source in quotes or {feed.name: []}:
                fetch = self._fetch(db, "snapshot", source, feed, asked)
                count += sum(self._add_prices(db, quotes.get(source, ()), fetch)[0].values())
                if rates:
                    count += sum(self._add_rates(db, rates, fetch, asked, self._asked_by_row(db)).values())
                    rates = []
                self._forget_if_empty(db, fetch)
            self._set(db, interval=str(feed.interval.total_seconds()))
            if "numeraire" not in dict(db.execute("SELECT name, value FROM facts")):
                self._set(db, numeraire=_usual(list(snapshot.quotes)))
        return count

    def update(self, feed: DataFeed, until: datetime) -> Added:
        """Write what a feed's history has up to ``until`` and the store has not: the last week before its last price
        is asked for again, and everything where a currency is new.
        """
        [(last,)] = self.read("SELECT max(as_of) FROM prices")
        start = None if last is None else from_ns(last) - _OVERLAP
        try:
            history = feed.history(start, until)
        except MissingDataError:
            if start is None:
                raise
            history = feed.history(None, until)
        known = {currency for (pair,) in self.read("SELECT pair FROM pairs") for currency in (pair[:3], pair[3:])}
        if start is not None and not {*history.currencies} <= known:
            history = feed.history(None, until)
        asked = _ns(until)
        with self._writing() as db:
            fetch = self._fetch(db, "history", feed.name, feed, asked)
            prices, retold = self._add_prices(db, _price_rows(history), fetch)
            marks = dict(db.execute("SELECT currency, asked FROM marks"))
            rates = self._add_rates(db, _rate_rows(history), fetch, asked, marks)
            db.executemany(
                "INSERT INTO marks VALUES (?, ?) ON CONFLICT (currency) DO UPDATE SET asked = max(asked, ?)",
                [(currency, asked, asked) for currency in history.rates],
            )
            self._forget_if_empty(db, fetch)
            facts = dict(db.execute("SELECT name, value FROM facts"))
            self._set(
                db,
                interval=str(feed.interval.total_seconds()),
                numeraire=facts.get("numeraire", history.numeraire),
                calendar=history.calendar,
                notes="\n".join(n.replace("\n", " ") for n in history.notes),
                verified_until=str(history.rates_verified_until or ""),
            )
        by_currency: dict[str, int] = {}
        for pair, count in prices.items():
            currency = pair[:3] if pair[3:] == history.numeraire else pair[3:]
            by_currency[currency] = by_currency.get(currency, 0) + count
        return Added(feed.name, until, by_currency, rates, retold)

    def _fetch(self, db: sqlite3.Connection, kind: str, source: str, feed: object, asked: int) -> int:
        row = (kind, source, _version_of(feed), asked, _ns(self._now()))
        made = db.execute("INSERT INTO fetches (kind, source, version, asked, fetched_at) VALUES (?, ?, ?, ?, ?)", row)
        assert made.lastrowid is not None
        return made.lastrowid

    def _forget_if_empty(self, db: sqlite3.Connection, fetch: int) -> None:
        [(used,)] = db.execute(
            "SELECT EXISTS (SELECT 1 FROM prices WHERE fetch = :f) OR EXISTS (SELECT 1 FROM rates WHERE fetch = :f) "
            "OR EXISTS (SELECT 1 FROM retold WHERE fetch = :f)",
            {"f": fetch},
        )
        if not used:
            db.execute("DELETE FROM fetches WHERE id = ?", (fetch,))

    def _set(self, db: sqlite3.Connection, **facts: str) -> None:
        known = dict(db.execute("SELECT name, value FROM facts"))
        changed = [(name, value) for name, value in facts.items() if known.get(name) != value]
        db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", changed)

    def _add_prices(self, db: sqlite3.Connection, rows: Sequence[_PriceRow], fetch: int) -> tuple[dict[str, int], int]:
        """How many are new by pair, and how many are told otherwise."""
        if not rows:
            return {}, 0
        known: dict[tuple[str, int], tuple[str, str, int]] = {}
        if len(rows) > 200:
            first, last = min(r[1] for r in rows), max(r[1] for r in rows)
            found = db.execute(
                "SELECT pair, as_of, bid, ask, inverse FROM prices WHERE as_of BETWEEN ? AND ?", (first, last)
            )
            known = {(p, t): (b, a, i) for p, t, b, a, i in found}
        else:
            for pair, as_of, *_ in rows:
                for b, a, i in db.execute(
                    "SELECT bid, ask, inverse FROM prices WHERE pair = ? AND as_of = ?", (pair, as_of)
                ):
                    known[pair, as_of] = b, a, i
        new: list[_PriceRow] = []
        counts: dict[str, int] = {}
        retold = 0
        for row in rows:
            before = known.get(row[:2])
            if before is None:
                new.append(row)
                known[row[:2]] = row[2:]
                counts[row[0]] = counts.get(row[0], 0) + 1
            elif not _same(before, row[2:]):
                made = db.execute("INSERT OR IGNORE INTO retold VALUES (?, ?, ?, ?, ?, ?)", (*row, fetch))
                retold += made.rowcount
        db.executemany("INSERT OR IGNORE INTO pairs VALUES (?)", [(pair,) for pair in counts])
        db.executemany("INSERT INTO prices VALUES (?, ?, ?, ?, ?, ?)", [(*row, fetch) for row in new])
        return counts, retold

    def _asked_by_row(self, db: sqlite3.Connection) -> dict[str, int]:
        """When each currency's rate was last new in a snapshot: what was known before that would have been in it."""
        return dict(
            db.execute(
                "SELECT currency, max(asked) FROM rates JOIN fetches ON fetches.id = rates.fetch "
                "WHERE kind = 'snapshot' GROUP BY currency"
            )
        )

    def _add_rates(
        self, db: sqlite3.Connection, rows: Iterable[_RateRow], fetch: int, asked: int, marks: Mapping[str, int]
    ) -> dict[str, int]:
        """How many are new by currency. One the source kept to itself when asked before is known from now on only."""
        counts: dict[str, int] = {}
        for row in rows:
            currency, as_of, told_at, value, days, tenor, source, until = row
            before = db.execute(
                "SELECT value, day_count, until, available_at FROM rates "
                "WHERE currency = ? AND as_of = ? AND told_at = ? ORDER BY available_at DESC LIMIT 1",
                (currency, as_of, told_at),
            ).fetchone()
            if before is not None and before[:2] == (value, days):
                if until is not None and before[2] != until:  # a snapshot does not say it, or it has changed
                    db.execute(
                        "UPDATE rates SET until = ?, fetch = ? "
                        "WHERE currency = ? AND as_of = ? AND told_at = ? AND available_at = ?",
                        (until, fetch, currency, as_of, told_at, before[3]),
                    )
                continue
            is_late = before is not None or told_at < marks.get(currency, told_at)
            available_at = max(told_at, asked) if is_late else told_at
            db.execute(
                "INSERT OR REPLACE INTO rates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (currency, as_of, available_at, told_at, value, days, tenor, source, until, fetch),
            )
            counts[currency] = counts.get(currency, 0) + 1
        return counts

    # --- looking -----------------------------------------------------------------------------------------------------

    def held(self, at: datetime) -> list[Held]:
        """What is there of each currency, as of ``at``."""
        found = StoredFeed(self.path)
        try:
            history = _or_none(found)
        finally:
            found.close()
        sources = self._sources_by_pair()
        last_rates: dict[str, Any] = {}
        counts: dict[str, int] = {}
        if history is not None:
            last_rates = {c: series.get(at) for c, series in history.rates.items()}
            counts = {c: len(series.value) for c, series in history.rates.items()}
        spans = {} if history is None else coverage(history)
        result = []
        for currency in sorted({*spans, *last_rates}):
            span, rate = spans.get(currency), last_rates.get(currency)
            gaps = [] if history is None or span is None else _gaps(history, currency)
            names = {n for pair, own in sources.items() if currency in (pair[:3], pair[3:]) for n in own}
            last = None if span is None else span.last
            result.append(
                Held(
                    currency=currency,
                    prices=0 if span is None else span.quotes,
                    first=None if span is None else span.first,
                    last=last,
                    age=None if last is None else open_minutes(last, at),
                    sources=tuple(sorted(names)) if span is not None else (),
                    gaps=tuple(gaps),
                    rates=counts.get(currency, 0),
                    rate=None if rate is None else rate.value,
                    rate_as_of=None if rate is None else rate.as_of,
                    rate_known=None if rate is None else rate.available_at,
                    rate_source="" if rate is None else rate.source,
                )
            )
        return result

    def _sources_by_pair(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for pair, source in self.read(
            "SELECT DISTINCT pair, source FROM prices JOIN fetches ON fetches.id = prices.fetch"
        ):
            found.setdefault(pair, set()).add(source)
        return found

    def verify(self, currencies: Collection[str] | None = None) -> tuple[list[str], list[str]]:
        """What is wrong with the data, and what a reader should know although it is not wrong.

        Wrong are a damaged file, a price that is none, a price or rate dated after it was asked for, rates that look
        like percent, and trade dates without a price of these ``currencies`` (None = all) between its first and last.
        """
        try:
            found = [text for (text,) in self.read("PRAGMA integrity_check") if text != "ok"]
        except DataError as error:
            found = [error.message]
        wrong = [f"the file is damaged: {text}" for text in found]
        if wrong:
            return wrong, []
        told: list[str] = []
        bad = 0
        for pair, as_of, bid, ask in self._db.execute("SELECT pair, as_of, bid, ask FROM prices"):
            if not _is_price(bid, ask):
                bad += 1
                if bad <= 5:
                    wrong.append(f"{pair} at {from_ns(as_of):%Y-%m-%d %H:%M:%S}: bid {bid} / ask {ask} is not a price")
        if bad > 5:
            wrong.append(f"{bad - 5} more prices are none")
        for what, name, count in self.read(
            "SELECT 'price', pair, count(*) FROM prices JOIN fetches ON id = fetch WHERE as_of > asked GROUP BY pair "
            "UNION ALL SELECT 'rate', currency, count(*) FROM rates JOIN fetches ON id = fetch "
            "WHERE told_at > asked GROUP BY currency"
        ):
            wrong.append(f"{name}: {count} {what}{'s are' if count > 1 else ' is'} dated after it was asked for")
        for table in ("prices", "rates"):
            [(lost,)] = self.read(f"SELECT count(*) FROM {table} WHERE fetch NOT IN (SELECT id FROM fetches)")
            if lost:
                wrong.append(f"{lost} {table} have no provenance")
        values = [abs(value) for (value,) in self.read("SELECT value FROM rates")]
        if values and not all(isfinite(v) for v in values):
            wrong.append("a rate is not a finite number")
        elif values and float(np.median(values)) > 1:
            wrong.append(f"the median rate is {float(np.median(values)):.0%} a year: they are decimals, 0.05 = 5 %")
        [(retold,)] = self.read("SELECT count(*) FROM retold")
        if retold:
            told.append(f"{retold} prices were told otherwise later; the first is served")
        [(late,)] = self.read("SELECT count(*) FROM rates WHERE available_at > told_at")
        if late:
            told.append(f"{late} rates came late or were changed; they are known from when they were fetched")
        if bad:
            return wrong, told
        if not self.read("SELECT 1 FROM prices LIMIT 1"):
            return [*wrong, "there is no price"], told
        for held in self.held(self._now()):
            if held.gaps:
                shown = ", ".join(a if a == b else f"{a} to {b}" for a, b in held.gaps[:3])
                more = f" and {len(held.gaps) - 3} more" if len(held.gaps) > 3 else ""
                line = f"{held.currency}: no price on {shown}{more}"
                (wrong if currencies is None or held.currency in currencies else told).append(line)
        return wrong, told


def _is_price(bid: str, ask: str) -> bool:
    try:
        low, high = float(bid), float(ask)
    except ValueError:
        return False
    return isfinite(low) and isfinite(high) and 0 < low <= high


def _same(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    """Whether two are the same price: to the last digit, or one the inverse of the other as far as floats go."""
    if one == other:
        return True
    bid, ask, inverse = float(one[0]), float(one[1]), one[2]
    if inverse != other[2]:
        bid, ask = 1 / ask, 1 / bid
    elif (Decimal(one[0]), Decimal(one[1])) != (Decimal(other[0]), Decimal(other[1])):
        return False
    return bool(np.allclose([bid, ask], [float(other[0]), float(other[1])], rtol=1e-12, atol=0))


def _price_row(pair: Pair, quote: Quote) -> _PriceRow:
    market = Pair.market(*pair)
    return str(market), _ns(quote.as_of), str(quote.bid), str(quote.ask), int(market != pair)


def _price_rows(history: MarketHistory) -> list[_PriceRow]:
    times = history.times.astype("datetime64[ns]").astype(np.int64)
    rows: list[_PriceRow] = []
    for column, currency in enumerate(history.currencies):
        pair = Pair(currency, history.numeraire)
        market = Pair.market(*pair)
        name, inverse = str(market), int(market != pair)
        for row in np.flatnonzero(np.isfinite(history.spot[:, column])).tolist():
            bid = ask = to_decimal(history.spot[row, column])
            if history.half_spread is not None and np.isfinite(history.half_spread[row, column]):
                half = to_decimal(history.half_spread[row, column])
                bid, ask = bid * (1 - half), ask * (1 + half)
            rows.append((name, int(times[row]), str(bid), str(ask), inverse))
    return rows


def _rate_rows(history: MarketHistory) -> Iterator[_RateRow]:
    for currency, series in history.rates.items():
        as_of = series.as_of.astype("datetime64[ns]").astype(np.int64).tolist()
        known = series.available_at.astype("datetime64[ns]").astype(np.int64).tolist()
        until: Sequence[int | None] = [None] * len(known)
        if series.until is not None:
            until = series.until.astype("datetime64[ns]").astype(np.int64).tolist()
        for day, at, value, end in zip(as_of, known, series.value.tolist(), until):
            yield currency, day, at, value, series.day_count, series.tenor, series.source, end


def _usual(pairs: Sequence[Pair]) -> str:
    """The currency most pairs have in them; the one quoted in where that is not clear."""
    counts = {c: sum(c in pair for pair in pairs) for pair in pairs for c in pair}
    return max(counts, key=lambda c: (counts[c], c == "USD", sum(pair.quote == c for pair in pairs), c))


def _gaps(history: MarketHistory, currency: str) -> list[tuple[str, str]]:
    """The trade dates without a price between the first and the last, those of the calendar's holidays left out."""
    column = history.currencies.index(currency)
    seen = history.times[np.isfinite(history.spot[:, column])]
    days = np.unique(trade_dates(seen - np.timedelta64(1, "ns")))  # a 17:00 ends its day
    if len(days) < 2:
        return []
    closed = holidays_of(history.calendar) if history.calendar else frozenset[date]()
    wanted = np.arange(days[0], days[-1] + np.timedelta64(1, "D"))
    due = wanted[np.is_busday(wanted)]
    order = {day: n for n, day in enumerate(d for d in due.tolist() if d not in closed and _is_session(d))}
    missing = [d for d in np.setdiff1d(due, days).tolist() if d in order]
    runs: list[list[Any]] = []
    for day in missing:
        if runs and order[day] == order[runs[-1][1]] + 1:
            runs[-1][1] = day
        else:
            runs.append([day, day])
    return [(str(first), str(last)) for first, last in runs]


def _is_session(day: date) -> bool:
    return is_open(session_end(day) - timedelta(hours=1))


def _or_none(feed: StoredFeed) -> MarketHistory | None:
    try:
        return feed.history(None, None)
    except MissingDataError:
        return None


class StoredFeed:
    """A DataFeed over the file of a :class:`Store`: what was told first, as it was known at each instant.

    It sees what other processes write. ``name`` is "store". Quotes keep the form in which they were told; columns are
    currencies against the store's numeraire. Prices are known when they were observed, also those of an update that
    filled a gap; rates from when they were published, or fetched where that was found out late.
    """

    name = "store"

    def __init__(self, path: str | Path) -> None:
        self._store = Store(path, is_new_allowed=False)
        self._loaded = -1
        self._prices: list[tuple[str, int, str, str, int]] = []
        self._rates: list[tuple[Any, ...]] = []
        self._history: MarketHistory | None = None

    @property
    def interval(self) -> timedelta:
        """That of the feed that filled it last."""
        return timedelta(seconds=float(self._store.facts().get("interval", "86400")))

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def snapshot(self, at: datetime) -> Snapshot:
        """The last quote of every pair at or before ``at``, and the rates known then."""
        until = _ns(at)
        quotes = {}
        for (name,) in self._store.read("SELECT pair FROM pairs"):
            for as_of, bid, ask, inverse in self._store.read(
                "SELECT as_of, bid, ask, inverse FROM prices WHERE pair = ? AND as_of <= ? ORDER BY as_of DESC LIMIT 1",
                name,
                until,
            ):
                pair = Pair.parse(name)
                quotes[pair.inverse if inverse else pair] = Quote(Decimal(bid), Decimal(ask), from_ns(as_of))
        if not quotes:
            [(first,)] = self._store.read("SELECT min(as_of) FROM prices")
            has = "it is empty" if first is None else f"it begins {from_ns(first):%Y-%m-%d}"
            raise MissingDataError(f"{self._store.path} has no price at or before {at:%Y-%m-%d %H:%M %Z}", hint=has)
        known = {currency: series.get(at) for currency, series in self._all().rates.items()}
        return Snapshot(at, quotes, {currency: rate for currency, rate in known.items() if rate is not None})

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """Rows with start <= time < end and rates available before ``end``; MissingDataError where there are none."""
        found = self._all()
        rows = found.between(start, end)
        if not len(rows):
            has = f"it has {found.start:%Y-%m-%d} to {found.end:%Y-%m-%d}" if len(found) else "it is empty"
            raise MissingDataError(f"{self._store.path} has no prices from {start} to {end}", hint=has)
        return rows

    def _all(self) -> MarketHistory:
        """Everything that is in the file now; only what is new is read."""
        [(newest,)] = self._store.read("SELECT coalesce(max(id), 0) FROM fetches")
        if self._history is None or newest != self._loaded:
            self._prices += self._store.read(
                "SELECT pair, as_of, bid, ask, inverse FROM prices WHERE fetch > ? AND fetch <= ?", self._loaded, newest
            )
            self._rates += self._store.read(
                "SELECT currency, as_of, available_at, value, day_count, tenor, source, until FROM rates "
                "WHERE fetch > ? AND fetch <= ? ORDER BY currency, fetch",
                self._loaded,
                newest,
            )
            self._loaded = newest
            self._history = self._made()
        return self._history

    def _made(self) -> MarketHistory:
        facts = self._store.facts()
        numeraire = facts.get("numeraire", "USD")
        names = {row[0] for row in self._prices if numeraire in (row[0][:3], row[0][3:])}
        column = {name: n for n, name in enumerate(sorted(names, key=lambda name: _other(name, numeraire)))}
        rows = [row for row in self._prices if row[0] in column]
        which = np.array([column[row[0]] for row in rows], np.int64)
        bid, ask = np.array([row[2] for row in rows], float), np.array([row[3] for row in rows], float)
        is_per_numeraire = np.array([(row[0][:3] == numeraire) != bool(row[4]) for row in rows], bool)
        low, high = np.where(is_per_numeraire, 1 / ask, bid), np.where(is_per_numeraire, 1 / bid, ask)
        mid = (low + high) / 2
        times, at = np.unique(np.array([row[1] for row in rows], np.int64), return_inverse=True)
        spot, half = np.full((len(times), len(column)), np.nan), np.full((len(times), len(column)), np.nan)
        spot[at, which], half[at, which] = mid, (high - low) / (2 * mid)
        verified = facts.get("verified_until", "")
        return MarketHistory(
            times=times.astype("datetime64[ns]"),
            currencies=tuple(_other(name, numeraire) for name in column),
            spot=spot,
            numeraire=numeraire,
            rates=self._series(),
            interval=self.interval,
            half_spread=half if (high > low).any() else None,
            rates_verified_until=datetime.fromisoformat(verified) if verified else None,
            calendar=facts.get("calendar", ""),
            notes=tuple(note for note in facts.get("notes", "").split("\n") if note),
            source=f"store {self._store.path.name}",
        )

    def _series(self) -> dict[str, RateSeries]:
        by_currency: dict[str, list[tuple[Any, ...]]] = {}
        for currency, *row in self._rates:
            by_currency.setdefault(currency, []).append(tuple(row))
        series = {}
        for currency, rows in by_currency.items():
            *_, days, tenor, source, _ = rows[-1]
            ends = [row[6] for row in rows]
            until = np.array([_NEVER if end is None else end for end in ends], np.int64).astype("datetime64[ns]")
            series[currency] = RateSeries(
                currency,
                np.array([row[0] for row in rows], np.int64).astype("datetime64[ns]"),
                np.array([row[1] for row in rows], np.int64).astype("datetime64[ns]"),
                np.array([row[2] if row[3] == days else row[2] * days / row[3] for row in rows]),
                days,
                tenor,
                source,
                until=None if all(end is None for end in ends) else until,
            )
        return series


def _other(pair: str, currency: str) -> str:
    """The other currency of a pair."""
    return pair[3:] if pair[:3] == currency else pair[:3]


class RecordingFeed:
    """A feed that writes what another one says into a :class:`Store`, and is that feed otherwise.

    A store that cannot be written does not stop the feed: it is logged once, and once when it can be again.
    """

    def __init__(self, feed: DataFeed, path: str | Path) -> None:
        self.feed = feed
        self.store = Store(path)
        self._told: tuple[object, object] | None = None
        self._is_failing = False

    @property
    def name(self) -> str:
        """That of the feed."""
        return self.feed.name

    @property
    def interval(self) -> timedelta:
        """That of the feed."""
        return self.feed.interval

    def snapshot(self, at: datetime) -> Snapshot:
        """What the feed says, and what is new in it is on disk."""
        snapshot = self.feed.snapshot(at)
        told = snapshot.quotes, snapshot.rates
        if told == self._told:
            return snapshot
        try:
            self.store.record(snapshot, self.feed)
        except (ConfigError, DataError) as error:
            if not self._is_failing:
                _LOG.error("quotes are not recorded: %s", error)
            self._is_failing = True
            return snapshot
        if self._is_failing:
            _LOG.warning("quotes are recorded again in %s", self.store.path)
        self._is_failing, self._told = False, told
        return snapshot

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """That of the feed; ``fxcarry data update`` writes it."""
        return self.feed.history(start, end)

    def health(self) -> tuple[SourceHealth, ...]:
        """How the sources behind the feed do, where it tells."""
        health = getattr(self.feed, "health", None)
        return tuple(health()) if callable(health) else ()

    def close(self) -> None:
        """Close the feed and the file."""
        self.feed.close()
        self.store.close()
