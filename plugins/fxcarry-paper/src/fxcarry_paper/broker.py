"""The simulated venue with its account in one SQLite file.

Every call that can change the account is one write transaction: the file is locked, what another process wrote
meanwhile is read, the venue does its work in memory, and account, orders and transactions are written together and
committed to the disk before the call returns. So a process that dies at any moment loses nothing that was answered,
and the next one goes on with the same account, order and transaction ids.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from fxcarry.clock import SteppedClock
from fxcarry.costs import Costs
from fxcarry.errors import BrokerUnavailable, ConfigError, OrderOutcomeUnknown
from fxcarry.frictions import Frictions
from fxcarry.lots import Matching
from fxcarry.market import MarketHistory
from fxcarry.model import (
    Account,
    Instrument,
    Order,
    OrderResult,
    OrderStatus,
    Pair,
    Position,
    Snapshot,
    Transaction,
)
from fxcarry.orders import Plan
from fxcarry.plain import from_plain, to_plain
from fxcarry.simulation import SimBroker
from fxcarry.tape import LinearFinancing, Tape

_MADE_BY, _VERSION = 0x66786361, 1  # "fxca" in the header of the file
_SCHEMA = f"""
    CREATE TABLE account (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL);
    CREATE TABLE orders (
        place INTEGER PRIMARY KEY, client_id TEXT NOT NULL UNIQUE, "order" TEXT NOT NULL, result TEXT NOT NULL
    );
    CREATE TABLE transactions (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
    PRAGMA application_id = {_MADE_BY};
    PRAGMA user_version = {_VERSION};
"""
_OPEN = (OrderStatus.WORKING, OrderStatus.PARTIAL)
_PATIENCE = 5.0  # seconds to wait for another process that writes
_BACK = timedelta(minutes=10)  # that a clock may be set back between two looks


class PaperBroker(SimBroker):
    """A paper account in a file, with the fills, financing, margin and stops of the simulated venue.

    Args:
        path: the SQLite file; made by :meth:`connect`, or by the first call that needs it, where there is none. Then
            ``cash`` is its opening balance; a file that exists keeps the account it has.

    The other arguments are those of the simulated venue. Several processes may use one file; each call sees what the
    others did. Raises ConfigError where the file is of another account or currency, or is none of this kind;
    BrokerUnavailable where it cannot be read or written now: then nothing was accepted; OrderOutcomeUnknown where
    writing failed so late that it may have been.
    """

    name = "paper"

    def __init__(
        self,
        path: str | Path,
        *,
        cash: float | Decimal = 1_000_000,
        account_currency: str = "USD",
        costs: Costs | None = None,
        financing: LinearFinancing | None = None,
        margin_rate: float = 1 / 30,
        closeout_level: float = 0.5,
        account_id: str = "paper",
        frictions: Frictions | None = None,
        margin_rates: Mapping[str, float] | None = None,
        lots: Matching = "average",
    ) -> None:
        super().__init__(
            cash=cash,
            account_currency=account_currency,
            costs=costs,
            financing=financing,
            margin_rate=margin_rate,
            closeout_level=closeout_level,
            account_id=account_id,
            frictions=frictions,
            margin_rates=margin_rates,
            lots=lots,
        )
        self.path = Path(path)
        self._file: sqlite3.Connection | None = None
        self._seen = -1  # the version of the file's content that is in memory
        self._kept = 0  # orders in the file
        self._unsettled: dict[str, OrderResult] = {}  # those of them that were not final when written
        self._is_laid_out = self._is_inside = False

    # -- the file --------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open the file, or make it, and read the account."""
        if self._file is not None:
            return
        try:
            file = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path} cannot be opened: {error}", hint="does its folder exist?") from error
        try:
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")
            file.execute("BEGIN IMMEDIATE")
            made_by, version = (
                file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            is_new = not file.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if is_new:
                for statement in _SCHEMA.split(";"):
                    file.execute(statement)
                file.execute("INSERT INTO account VALUES (1, ?)", (self._text(),))
            elif (made_by, version) != (_MADE_BY, _VERSION):
                raise ConfigError(f"{self.path} is no paper account of this version", hint="name another file")
            file.execute("COMMIT")
            self._file = file
            self._read()
        except BaseException as error:
            self._file = None
            file.close()
            if isinstance(error, sqlite3.OperationalError):
                raise self._unavailable(error) from error
            if isinstance(error, sqlite3.DatabaseError):
                raise ConfigError(f"{self.path} is no paper account: {error}", hint="name another file") from error
            raise

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._seen = -1

    def _unavailable(self, error: Exception) -> BrokerUnavailable:
        return BrokerUnavailable(
            f"the paper account {self.path} cannot be used now: {error}",
            hint="nothing was accepted; is the disk full or read-only, or does another process hold the file?",
        )

    def _opened(self) -> sqlite3.Connection:
        self.connect()
        assert self._file is not None
        return self._file

    def _read(self) -> None:
        """Take over the account as the file has it."""
        file = self._opened()
        (version,) = file.execute("PRAGMA data_version").fetchone()
        (text,) = file.execute("SELECT state FROM account").fetchone()
        self.restore(json.loads(text), self._pairs if self._is_laid_out else None)
        self._unsettled, self._kept = {}, 0
        for order, result in file.execute('SELECT "order", result FROM orders ORDER BY place'):
            known, outcome = from_plain(Order, json.loads(order)), from_plain(OrderResult, json.loads(result))
            self.remember(known, outcome)
            self._kept += 1
            if outcome.status in _OPEN:
                self._unsettled[known.client_id] = outcome
        self._seen = version

    def _refresh_from_file(self) -> None:
        file = self._opened()
        if file.execute("PRAGMA data_version").fetchone()[0] != self._seen:
            self._read()

    def _text(self) -> str:
        return json.dumps(self.state(with_orders=False), allow_nan=False)

    def _write(self) -> None:
        """Put what changed into the open transaction."""
        file = self._opened()
        fresh = self.accepted(self._kept)
        results = super().find_orders([*self._unsettled, *(order.client_id for order in fresh)])
        for order in fresh:
            result = results[order.client_id]
            file.execute(
                'INSERT INTO orders (client_id, "order", result) VALUES (?, ?, ?)',
                (order.client_id, json.dumps(to_plain(order)), json.dumps(to_plain(result))),
            )
        changed = [(i, results[i]) for i, before in self._unsettled.items() if results[i] != before]
        file.executemany(
            "UPDATE orders SET result = ? WHERE client_id = ?",
            [(json.dumps(to_plain(result)), client_id) for client_id, result in changed],
        )
        file.executemany(
            "INSERT INTO transactions VALUES (?, ?)",
            [(t.id, json.dumps(to_plain(t))) for t in super().transactions(None)],
        )
        file.execute("UPDATE account SET state = ?", (self._text(),))
        self._kept += len(fresh)
        self._unsettled = {i: result for i, result in results.items() if result.status in _OPEN}

    @contextmanager
    def _written(self, *, is_order: bool = False) -> Iterator[None]:
        """Do what is inside on the account as the file has it, and write it; all of it or nothing."""
        if self._is_inside:  # a call within a call is part of it
            yield
            return
        file = self._opened()
        try:
            file.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        self._is_inside, is_committing = True, False
        try:
            self._refresh_from_file()
            yield
            self._write()
            is_committing = True
            file.execute("COMMIT")
            self.forget()
        except BaseException as error:
            self._seen = -1  # memory may be ahead of the file
            if file.in_transaction:
                file.execute("ROLLBACK")
            if not isinstance(error, sqlite3.Error):
                raise
            if is_committing and is_order:
                raise OrderOutcomeUnknown(
                    f"the paper account {self.path} could not be committed: {error}",
                    hint="ask with find_orders once the file can be written again",
                ) from error
            raise self._unavailable(error) from error
        finally:
            self._is_inside = False

    @contextmanager
    def _current(self) -> Iterator[sqlite3.Connection]:
        """Read what is inside from the account as the file has it."""
        try:
            if not self._is_inside:
                self._refresh_from_file()
            yield self._opened()
        except sqlite3.Error as error:
            self._seen = -1
            raise self._unavailable(error) from error

    # -- the Broker protocol ---------------------------------------------------------------------------------------

    def prepare(self, history: MarketHistory, clock: SteppedClock) -> Tape:
        """A paper account lives on quotes as they come; a run over stored history is the simulated broker's."""
        raise ConfigError("a paper account cannot be advanced over stored history", hint="use the simulated broker")

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        """An instrument per pair. The first call of a process lays its book out, in this order; ConfigError where the
        account holds or waits for another pair.
        """
        wanted = tuple(pairs)
        if not self._is_laid_out:
            with self._written():
                if wanted != self._pairs:
                    self.restore(self.state(), wanted)
            self._is_laid_out = True
        return super().get_instruments(wanted)

    def sync(self, snapshot: Snapshot) -> Account:
        """Advance to a snapshot as the simulated venue does; the account is on the disk when this returns.

        Nothing happens at a snapshot of the same time or of some minutes before; ConfigError at one of long before.
        """
        with self._written():
            known = self._snapshot
            if known is not None and known.at - snapshot.at > _BACK:
                raise ConfigError(
                    f"the paper account {self.path} is at {known.at:%Y-%m-%d %H:%M} UTC already, and this look is at"
                    f" {snapshot.at:%Y-%m-%d %H:%M}",
                    hint="it does not go back: another replay wants another path; is this machine's clock right?",
                )
            return super().sync(snapshot)

    def twin(self) -> SimBroker:
        """A simulated broker in memory with the same terms and account, to try things on."""
        with self._current():
            return super().twin()

    def account(self) -> Account:
        """The account as of the last snapshot."""
        with self._current():
            return super().account()

    def get_account_balance(self) -> Decimal:
        """Cash in account currency, to the minor unit."""
        with self._current():
            return super().get_account_balance()

    def get_positions(self) -> Mapping[str, Position]:
        """Open positions by instrument."""
        with self._current():
            return super().get_positions()

    def get_orders(self) -> Sequence[OrderResult]:
        """Orders waiting for a quote, and the stop behind each position."""
        with self._current():
            return super().get_orders()

    def place_plan(self, plan: Plan) -> Sequence[OrderResult]:
        """Accept the orders of a plan, all or none, and return those that are refused. None is accepted twice."""
        with self._written(is_order=True):
            placed = [super(PaperBroker, self).place_market_order(order) for order in plan]
        return [result for result in placed if result.status is OrderStatus.REJECTED]

    def place_market_order(self, order: Order) -> OrderResult:
        """Accept an order; it fills at the next fresh quote. The same client id again returns the first outcome."""
        with self._written(is_order=True):
            return super().place_market_order(order)

    def place_limit_order(self, order: Order) -> OrderResult:
        """Accept a limit order; it fills at the first fresh quote at the limit or better."""
        with self._written(is_order=True):
            return super().place_limit_order(order)

    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        """Set or remove (None) the stop of the whole position."""
        with self._written(is_order=True):
            return super().set_stop(instrument, price)

    def cancel_order(self, client_id: str) -> OrderResult:
        """Cancel a waiting order; an order already final keeps its outcome."""
        with self._written(is_order=True):
            return super().cancel_order(client_id)

    def drop(self, reason: str, *, instrument: str | None = None, opening_only: bool = False) -> int:
        """Cancel waiting orders (of one instrument, or only those that open) and say how many."""
        with self._written(is_order=True):
            return super().drop(reason, instrument=instrument, opening_only=opening_only)

    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """The known ones among these orders: every order that the account ever accepted or refused is known."""
        with self._current():
            return super().find_orders(client_ids)

    def transactions(self, since: str | None) -> Sequence[Transaction]:
        """Fills and financing after ``since``, of the whole life of the account."""
        with self._current() as file:
            rows = file.execute("SELECT record FROM transactions WHERE id > ? ORDER BY id", (since or "",))
            return [from_plain(Transaction, json.loads(record)) for (record,) in rows]

    def close_all_positions(self) -> Sequence[OrderResult]:
        """Cancel what waits and place a closing order for each position, to be filled at the next fresh quote."""
        with self._written(is_order=True):
            return super().close_all_positions()
