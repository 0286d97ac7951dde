"""The journal on disk: one SQLite file, append-only, durable when a method returns."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import fxcarry
from fxcarry.errors import ConfigError, JournalError, JournalLocked
from fxcarry.journal.memory import changed, financing_of
from fxcarry.journal.records import (
    FINAL,
    UNSENT,
    AlertRecord,
    Command,
    CommandKind,
    Intention,
    check_acknowledgement,
    check_command,
)
from fxcarry.journal.schema import (
    APPLICATION,
    SCHEMA,
    decimal,
    exact,
    instant,
    moment,
    statements,
    to_json,
    verdicts_json,
)
from fxcarry.ledger import TransactionLog
from fxcarry.model import (
    Alert,
    Decision,
    Instrument,
    Order,
    OrderResult,
    OrderStatus,
    Pair,
    Quote,
    RiskState,
    Snapshot,
    TradingState,
    Transaction,
)
from fxcarry.orders import Plan
from fxcarry.plain import whole
from fxcarry.secrets import Secret, SecretFilter

_PATIENCE = 2.0  # seconds to wait for another process's write


class SqliteJournal:
    """A journal that outlives the process, in the file ``path`` (with ``-wal`` and ``-shm`` beside it while open).

    Nothing is opened before the first use. Every method that writes returns when the record is on disk, or raises
    :class:`~fxcarry.errors.JournalError` with nothing written. Several processes may have the journal open; which of
    them may trade is for :class:`~fxcarry.journal.JournalLock`. Not to be shared between threads.

    Args:
        path: the file; made at the first use if it is not there. Its folder must exist, on a local disk.
        account_id: whose journal it is. Another account's is refused with ConfigError.
        account_currency: the currency of that account.
        config: the configuration in force as text, secrets as references (:func:`fxcarry.config.effective`); kept with
            every run.
        secrets: what these have revealed is masked in every text that is kept.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        account_id: str,
        account_currency: str = "USD",
        config: str = "",
        secrets: Collection[Secret] = (),
    ) -> None:
        self.path = Path(path)
        self.account_id = account_id
        self.account_currency = account_currency
        self.log: TransactionLog | None = None
        self._config = config
        self._mask = SecretFilter(secrets).redact
        self._is_new_allowed = True
        self._db: sqlite3.Connection | None = None
        self._run: int | None = None
        self._is_inside = False
        self._is_broken = False
        self._is_sound = False  # somebody has checked the file
        self._seen: dict[Pair, Quote] | None = None
        self._said: dict[str, Instrument] | None = None

    @classmethod
    def existing(cls, path: str | Path) -> Self:
        """The journal that is at ``path``, whoever's it is; ConfigError where there is none."""
        journal = cls(path, account_id="", account_currency="")
        journal._is_new_allowed = False
        journal.open()
        return journal

    # -- the file --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file, or make it, and check that it is sound, of this version and of this account."""
        deadline = time.monotonic() + _PATIENCE
        while self._db is None:
            try:
                with self._explained("opened"):
                    self._db = self._connect()
            except JournalLocked:  # the first and the last to have a file open ask for it alone, without waiting
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)

    def close(self) -> None:
        """Close the file; the next use opens it again, as another run."""
        db, self._db, self._run = self._db, None, None
        if db is not None:
            with self._explained("closed"):
                db.close()

    def begin_run(self, config: str, secrets: Collection[Secret]) -> None:
        """Another configuration is in force from here: what is written next is of another run."""
        self._config, self._mask, self._run = config, SecretFilter(secrets).redact, None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> sqlite3.Connection:
        if self._is_new_allowed:
            with contextlib.suppress(
                FileExistsError
            ):  # never open a file that is there: closing it ends SQLite's locks
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        elif not self.path.is_file():
            raise ConfigError(f"there is no journal {self.path}", hint="check the path")
        db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        try:
            self._check_kind(db)
            if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                raise JournalError(f"{self.path} cannot have a write-ahead log", hint="keep it on a local disk")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA fullfsync = 1")  # macOS: to the disk, not only to its cache
            if db.execute("PRAGMA user_version").fetchone() != (SCHEMA,):
                self._make(db)
            if not self._is_sound:
                [(found,)] = db.execute("PRAGMA quick_check(1)")
                if found != "ok":
                    raise self._damaged(found)
            [(account, currency)] = db.execute("SELECT account_id, currency FROM account")
        except BaseException:
            db.close()
            raise
        if not self._is_new_allowed:
            self.account_id, self.account_currency = account, currency
        if (account, currency) != (self.account_id, self.account_currency):
            db.close()
            raise ConfigError(
                f"{self.path} is the journal of account {account!r} in {currency}, "
                f"not of {self.account_id!r} in {self.account_currency}",
                hint="one journal per account: choose another file",
                fields={"path": str(self.path), "account": account},
            )
        return db

    def _check_kind(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN")  # one look, while another process may be making the tables
        [(tables,)] = db.execute("SELECT count(*) FROM sqlite_master")
        [(application,)] = db.execute("PRAGMA application_id")
        [(version,)] = db.execute("PRAGMA user_version")
        db.execute("COMMIT")
        if application != APPLICATION and (tables or not self._is_new_allowed):
            raise ConfigError(f"{self.path} is no journal", hint="choose another file")
        if version > SCHEMA:
            raise JournalError(
                f"{self.path} was written by a newer fxcarry (schema {version}, this one knows {SCHEMA})",
                hint="upgrade fxcarry",
                fields={"path": str(self.path), "schema": version},
            )

    def _make(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        [(version,)] = db.execute("PRAGMA user_version")
        if version != SCHEMA:  # else another process was first
            for statement in statements(version):
                db.execute(statement)
        if not version:
            db.execute(
                "INSERT INTO account (account_id, currency) VALUES (?, ?)", (self.account_id, self.account_currency)
            )
        db.execute("COMMIT")

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._typed(error, done) from error
        except OSError as error:
            raise JournalError(
                f"the journal {self.path} cannot be {done}: {error.strerror}",
                hint="check the folder and its permissions",
                fields={"path": str(self.path)},
            ) from error

    def _typed(self, error: sqlite3.Error, done: str) -> JournalError:
        name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_")
        where: dict[str, Any] = {"path": str(self.path), "code": name}
        if name.startswith(("BUSY", "LOCKED")):
            return JournalLocked(
                f"the journal {self.path} is locked by another process for more than {_PATIENCE:g} s",
                hint="find who has it open; nothing was written",
                fields=where,
            )
        if name.startswith(("CORRUPT", "NOTADB")):
            return self._damaged(str(error))
        hint = "nothing was written; check the disk and the file's permissions"
        if name == "FULL":
            hint = "the disk is full; nothing was written: make room and start again"
        elif name.startswith(("READONLY", "CANTOPEN", "PERM", "AUTH")):
            hint = "it and its folder must be there and writable; nothing was written"
        elif name.startswith("CONSTRAINT"):
            hint = "records are never changed; nothing was written"
        return JournalError(f"the journal {self.path} cannot be {done}: {error}", hint=hint, fields=where)

    def _damaged(self, what: str) -> JournalError:
        return JournalError(
            f"the journal {self.path} is damaged: {what}",
            hint="put it aside and restore a copy; do not trade on it",
            fields={"path": str(self.path)},
        )

    # -- writing ---------------------------------------------------------------------------------------------------

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """All writes inside are kept together or not at all, and are durable when the block ends."""
        if self._is_inside:
            try:
                yield
            except BaseException:
                self._is_broken = True
                raise
            return
        self.open()
        assert self._db is not None
        run = self._run
        with self._explained("written"):
            self._db.execute("BEGIN IMMEDIATE")
        self._is_inside, self._is_broken = True, False
        try:
            yield
            if self._is_broken:
                raise JournalError(f"a write to {self.path} failed and was passed over", hint="nothing was written")
            with self._explained("written"):
                self._db.execute("COMMIT")
        except BaseException:
            self._run, self._seen, self._said = run, None, None
            with contextlib.suppress(sqlite3.Error):  # it may have been rolled back already
                self._db.execute("ROLLBACK")
            raise
        finally:
            self._is_inside = False

    def _insert(self, table: str, **values: object) -> int:
        if self._db is None or not self._is_inside:
            raise AssertionError(f"{table} written outside of a transaction")
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        with self._explained("written"):
            stored = tuple(whole(value) if isinstance(value, str) else value for value in values.values())
            cursor = self._db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", stored)
        return int(cursor.lastrowid or 0)

    def _write(self, table: str, **values: object) -> int:
        """A record of this run, which begins with its first."""
        with self.atomic():
            return self._insert(table, run=self._current_run(), **values)

    def _current_run(self) -> int:
        if self._run is None:
            self._run = self._insert(
                "runs",
                started=instant(datetime.now(UTC)),
                version=fxcarry.__version__,
                config=self._mask(self._config),
                pid=os.getpid(),
                host=socket.gethostname(),
            )
        return self._run

    def follow(self, log: TransactionLog | None, find: Callable[[Collection[str]], Mapping[str, OrderResult]]) -> None:
        """Keep a simulated venue's log at hand; what the journal tells comes from the journal alone."""
        self.log = log

    def observe(self, snapshot: Snapshot) -> None:
        """Record the quotes that are used; one that is on record already is not repeated."""
        with self.atomic():
            if self._seen is None:
                self._seen = self.quotes()
            for pair, quote in snapshot.quotes.items():
                if self._seen.get(pair) != quote:
                    self._seen[pair] = quote
                    self._write(
                        "quotes",
                        pair=str(pair),
                        bid=exact(quote.bid),
                        ask=exact(quote.ask),
                        as_of=instant(quote.as_of),
                        used_at=instant(snapshot.at),
                    )

    def publish(self, instruments: Iterable[Instrument], at: datetime) -> None:
        """Record what the venue says it pays. What it has said already is not repeated."""
        with self.atomic():
            if self._said is None:
                self._said = {one.name: one for _, one in self.published()}
            for one in map(financing_of, instruments):
                if self._said.get(one.name) != one:
                    self._said[one.name] = one
                    self._write(
                        "financing_rates",
                        at=instant(at),
                        instrument=one.name,
                        pair=str(one.exposure),
                        long=one.financing_long,
                        short=one.financing_short,
                        days=None if one.financing_days is None else to_json(one.financing_days),
                    )

    def decide(self, stage: str, decision: Decision) -> None:
        """Record a decision with every rule's verdict."""
        self._write(
            "decisions",
            at=instant(decision.at),
            stage=stage,
            state=decision.state.value,
            legs=to_json(decision.legs),
            weights=to_json(decision.weights),
            findings=self._mask(verdicts_json(decision.findings)),
            verdicts=self._mask(verdicts_json(decision.verdicts)),
        )

    def intend(self, orders: Sequence[Order]) -> None:
        """Record orders before they are sent: all or none. JournalError for a client id that was intended before."""
        plan = orders if isinstance(orders, Plan) else None
        with self.atomic():
            for order in orders:
                if self._rows("SELECT 1 FROM intents WHERE client_id = ?", order.client_id):
                    raise JournalError(
                        f"order {order.client_id} ({order.units} {order.instrument}) was intended before",
                        hint="ask the venue what became of it; do not send it again",
                        fields={"client_id": order.client_id},
                    )
                self._write(
                    "intents",
                    client_id=order.client_id,
                    instrument=order.instrument,
                    units=exact(order.units),
                    type=order.type,
                    limit_price=exact(order.limit_price),
                    is_reducing=int(order.is_reducing),
                    stop_fraction=order.stop_fraction,
                    reason=self._mask(order.reason),
                    attempt=0 if plan is None else plan.attempt,
                    planned_at=None if plan is None else instant(plan.at),
                )

    def record(self, results: Iterable[OrderResult], at: datetime | None = None) -> None:
        """Record what the venue said of orders, and when. What it has said already is not repeated."""
        with self.atomic():
            for result in results:
                values = (
                    result.client_id,
                    result.instrument,
                    result.status.value,
                    str(result.filled_units),
                    exact(result.price),
                    self._mask(result.reason),
                )
                last = self._rows(
                    f"SELECT {_RESULT} FROM results WHERE client_id = ? ORDER BY seq DESC LIMIT 1",
                    result.client_id,
                )
                if last != [values]:
                    names = ("client_id", "instrument", "status", "filled_units", "price", "reason")
                    self._write("results", **dict(zip(names, values)), at=None if at is None else instant(at))

    def import_transactions(self, transactions: Iterable[Transaction]) -> int:
        """Record the venue's own transactions, each once, all or none; returns how many were new.

        Raises LedgerError for one that is on record with another content.
        """
        count = 0
        with self.atomic():
            for transaction in transactions:
                known = self._rows(f"SELECT {_TRANSACTION} FROM transactions WHERE id = ?", transaction.id)
                if not known:
                    self._write("transactions", **_transaction_row(transaction))
                    count += 1
                elif known[0] != tuple(_transaction_row(transaction).values()):
                    raise changed(_transaction(known[0]), transaction)
        return count

    def transition(self, at: datetime, state: RiskState) -> None:
        """Record a change of the risk state, every field of it."""
        self._write(
            "states",
            at=instant(at),
            trading=state.trading.value,
            day_start=repr(float(state.day_start)),
            high_water=repr(float(state.high_water)),
            halt_until=None if state.halt_until is None else instant(state.halt_until),
            halted_at=None if state.halted_at is None else instant(state.halted_at),
            latch=state.latch,
            stopped=to_json(sorted(state.stopped)),
            locked=to_json(sorted(state.locked)),
            rejects=state.rejects,
        )

    def keep_intention(
        self, at: datetime, weights: Mapping[str, float], attempt: int, why: str, rest: Collection[str] = ()
    ) -> None:
        """Record the standing target, in place of any before it: decided ``at``, in its n-th ``attempt``."""
        target = {currency: float(weight) for currency, weight in weights.items()}
        self._write(
            "intentions",
            at=instant(at),
            weights=to_json(target),
            attempt=attempt,
            why=self._mask(why),
            rest=to_json(sorted(rest)),
        )

    def end_intention(self, at: datetime, why: str) -> None:
        """Record that the standing target was reached or given up."""
        self._write("intentions", at=instant(at), why=self._mask(why))

    def beat(self, at: datetime) -> None:
        """Record that the engine is alive."""
        self._write("heartbeats", at=instant(at))

    def command(self, kind: CommandKind, *, by: str, at: datetime, reason: str = "") -> Command:
        """Record a control for the engine to take, from any process."""
        check_command(kind, by, reason)
        reason = self._mask(reason)
        with self.atomic():
            number = self._insert("commands", kind=kind, who=by, at=instant(at), reason=reason)
        return Command(number, kind, by, at, reason)

    def take(self, command: Command, at: datetime) -> bool:
        """Record that a command is carried out; False where it was taken before."""
        with self.atomic():
            if not self._rows("SELECT 1 FROM commands WHERE seq = ?", command.id):
                raise JournalError(f"there is no command {command.id} in {self.path}")
            if self._rows("SELECT 1 FROM taken WHERE command = ?", command.id):
                return False
            self._write("taken", command=command.id, at=instant(at))
        return True

    def alert(self, alert: Alert) -> int:
        """Record an alert and return its number."""
        return self._write(
            "alerts",
            at=instant(alert.at),
            kind=alert.kind,
            severity=alert.severity,
            message=self._mask(alert.message),
            fields=self._mask(to_json(alert.fields)),
            key=self._mask(alert.key),
            is_over=alert.is_over,
        )

    def delivery(self, alert: int, channel: str, at: datetime, state: str, error: str = "") -> None:
        """Record how far the alert of that number has come at a channel, and with which ``error``."""
        self._write("deliveries", alert=alert, channel=channel, at=instant(at), error=self._mask(error), state=state)

    def acknowledge(self, alert: int, *, by: str, at: datetime, reason: str = "") -> bool:
        """Record that somebody has seen an alert, from any process; False where that is on record."""
        with self.atomic():
            check_acknowledgement(alert, bool(self._rows("SELECT 1 FROM alerts WHERE seq = ?", alert)), by)
            if self.is_acknowledged(alert):
                return False
            self._insert("acknowledgements", alert=alert, who=by, at=instant(at), reason=self._mask(reason))
        return True

    def keep_plan(self, plan: str, at: datetime, content: Mapping[str, Any]) -> None:
        """Record a plan that an operator may have carried out, from any process; the same plan again is the same."""
        with self.atomic():
            if not self._rows("SELECT 1 FROM plans WHERE plan = ?", plan):
                self._insert("plans", plan=plan, at=instant(at), content=self._mask(to_json(content)))

    def confirm(self, what: str, *, by: str, at: datetime, reason: str) -> None:
        """Record that somebody vouches for what no program can see, from any process."""
        with self.atomic():
            self._insert("confirmations", what=what, who=by, at=instant(at), reason=self._mask(reason))

    # -- reading ---------------------------------------------------------------------------------------------------

    def plan_of(self, plan: str) -> dict[str, Any] | None:
        """A plan that was kept, None where there is none of that name."""
        rows = self._rows("SELECT content FROM plans WHERE plan = ?", plan)
        return json.loads(rows[0][0]) if rows else None

    def _rows(self, query: str, *values: object) -> list[Any]:
        self.open()
        assert self._db is not None
        with self._explained("read"):
            return self._db.execute(query, values).fetchall()

    def state(self) -> RiskState | None:
        """The last risk state recorded."""
        rows = self._rows(
            "SELECT trading, day_start, high_water, halt_until, halted_at, latch, stopped, locked, rejects "
            "FROM states ORDER BY seq DESC LIMIT 1"
        )
        return _state(rows[0]) if rows else None

    @property
    def states(self) -> list[tuple[datetime, RiskState]]:
        """Every risk state recorded, and when."""
        rows = self._rows(
            "SELECT at, trading, day_start, high_water, halt_until, halted_at, latch, stopped, locked, rejects "
            "FROM states ORDER BY seq"
        )
        return [(datetime.fromisoformat(at), _state(rest)) for at, *rest in rows]

    def intention(self) -> Intention | None:
        """The standing target, if one is open."""
        return self._target("SELECT at, weights, attempt, why, rest FROM intentions ORDER BY seq DESC LIMIT 1")

    def standing(self) -> Intention | None:
        """The last target that was decided, whether or not it has been reached."""
        return self._target(
            "SELECT at, weights, attempt, why, rest FROM intentions WHERE weights IS NOT NULL ORDER BY seq DESC LIMIT 1"
        )

    def _target(self, query: str) -> Intention | None:
        rows = self._rows(query)
        if not rows or rows[0][1] is None:
            return None
        [(at, weights, attempt, why, rest)] = rows
        target = {c: float(w) for c, w in json.loads(weights).items()}
        return Intention(datetime.fromisoformat(at), target, attempt, why, frozenset(json.loads(rest)))

    def unresolved(self) -> list[str]:
        """Client ids intended without a final result, in the order of intention."""
        final = sorted(status.value for status in FINAL)
        rows = self._rows(
            "SELECT client_id FROM intents AS i WHERE NOT EXISTS (SELECT 1 FROM results AS r WHERE "
            f"r.client_id = i.client_id AND r.status IN ({', '.join('?' * len(final))})) ORDER BY seq",
            *final,
        )
        return [client_id for (client_id,) in rows]

    def transactions(self, since: str | None = None) -> list[Transaction]:
        """Transactions after the one with id ``since`` (None = all), in the order they were imported."""
        after = 0
        if since is not None:
            rows = self._rows("SELECT seq FROM transactions WHERE id = ?", since)
            if not rows:
                raise JournalError(f"there is no transaction {since!r} in {self.path}")
            [(after,)] = rows
        rows = self._rows(f"SELECT {_TRANSACTION} FROM transactions WHERE seq > ? ORDER BY seq", after)
        return [_transaction(row) for row in rows]

    def last_transaction_id(self) -> str | None:
        """The id of the transaction imported last."""
        rows = self._rows("SELECT id FROM transactions ORDER BY seq DESC LIMIT 1")
        return rows[0][0] if rows else None

    def has_decided(self, at: datetime) -> bool:
        """Whether a target was decided at that instant."""
        return bool(self._rows("SELECT 1 FROM decisions WHERE at = ? AND stage = 'target' LIMIT 1", instant(at)))

    def commands(self) -> list[Command]:
        """Commands not taken yet, oldest first."""
        rows = self._rows(
            "SELECT seq, kind, who, at, reason FROM commands WHERE seq NOT IN (SELECT command FROM taken) ORDER BY seq"
        )
        return [Command(seq, kind, who, datetime.fromisoformat(at), reason) for seq, kind, who, at, reason in rows]

    def last_beat(self) -> datetime | None:
        """When the engine last said that it is alive."""
        rows = self._rows("SELECT at FROM heartbeats ORDER BY seq DESC LIMIT 1")
        return moment(rows[0][0]) if rows else None

    def quotes(self, by: datetime | None = None) -> dict[Pair, Quote]:
        """The latest quote of each pair that was used, by an instant where one is given."""
        if by is None:
            rows = self._rows(
                "SELECT pair, bid, ask, as_of FROM quotes WHERE seq IN (SELECT max(seq) FROM quotes GROUP BY pair)"
            )
        else:  # each step is one look into the index, however long the journal is
            rows = self._rows(
                "WITH RECURSIVE known (pair) AS (SELECT min(pair) FROM quotes UNION ALL "
                "SELECT (SELECT min(pair) FROM quotes WHERE pair > known.pair) FROM known WHERE pair IS NOT NULL) "
                "SELECT quotes.pair, bid, ask, as_of FROM known JOIN quotes ON seq = (SELECT seq FROM quotes AS other "
                "WHERE other.pair = known.pair AND used_at <= ? ORDER BY used_at DESC, seq DESC LIMIT 1)",
                instant(by),
            )
        return {
            Pair.parse(pair): Quote(Decimal(bid), Decimal(ask), datetime.fromisoformat(as_of))
            for pair, bid, ask, as_of in rows
        }

    def published(self) -> list[tuple[datetime, Instrument]]:
        """What :meth:`publish` has recorded, oldest first."""
        return [
            (
                datetime.fromisoformat(at),
                Instrument(
                    name=name,
                    exposure=Pair.parse(pair),
                    financing_long=long,
                    financing_short=short,
                    financing_days=None if days is None else {int(k): v for k, v in json.loads(days).items()},
                ),
            )
            for at, name, pair, long, short, days in self._rows(
                "SELECT at, instrument, pair, long, short, days FROM financing_rates ORDER BY seq"
            )
        ]

    def alerts_of(self, kind: str) -> list[Alert]:
        """The alerts of one kind, oldest first; the numbers, texts and lists of their fields are as JSON keeps them."""
        return [_alert(row) for row in self._rows(f"SELECT {_ALERT} FROM alerts WHERE kind = ? ORDER BY seq", kind)]

    @property
    def orders(self) -> list[Order]:
        """Every order intended, in the order of intention."""
        return [_order(row) for row in self._rows(f"SELECT {_ORDER} FROM intents ORDER BY seq")]

    def intended(self, client_ids: Collection[str]) -> list[tuple[datetime, Order]]:
        """These orders with the instant of their decision, in the order of intention."""
        chosen = sorted(client_ids)
        if not chosen:
            return []
        rows = self._rows(
            f"SELECT planned_at, {_ORDER} FROM intents WHERE planned_at IS NOT NULL "
            f"AND client_id IN ({', '.join('?' * len(chosen))}) ORDER BY seq",
            *chosen,
        )
        return [(datetime.fromisoformat(at), _order(row)) for at, *row in rows]

    @property
    def results(self) -> list[OrderResult]:
        """Everything the venue said of orders, oldest first."""
        return [_result(row) for row in self._rows(f"SELECT {_RESULT} FROM results ORDER BY seq")]

    def outcomes(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """What was recorded last of these orders, of those of which anything was."""
        chosen = sorted(client_ids)
        rows = self._rows(
            f"SELECT {_RESULT} FROM results WHERE client_id IN ({', '.join('?' * len(chosen))}) ORDER BY seq", *chosen
        )
        return {result.client_id: result for result in map(_result, rows)}

    def alerts_from(self, number: int, limit: int) -> list[tuple[int, Alert]]:
        """Alerts from that number on, in their order, ``limit`` at most."""
        rows = self._rows(f"SELECT seq, {_ALERT} FROM alerts WHERE seq >= ? ORDER BY seq LIMIT ?", number, limit)
        return [(seq, _alert(row)) for seq, *row in rows]

    def recent_alerts(self, since: datetime | None = None, *, and_unsent: bool = False) -> list[AlertRecord]:
        """Alerts at ``since`` or later (None = all) with what became of them, in their order; ``and_unsent``: and older
        ones that still wait for a channel, or were being sent.
        """
        chosen, first = "a.at >= ?", ["" if since is None else instant(since)]
        if and_unsent:  # the state of the row with the highest number
            latest = "SELECT alert, state, MAX(seq) FROM deliveries GROUP BY alert, channel"
            chosen = f"({chosen} OR a.seq IN (SELECT alert FROM ({latest}) WHERE state IN (?, ?)))"
            first += UNSENT
        found: dict[int, dict[str, tuple[str, str]]] = {}
        for number, channel, state, error in self._rows(
            "SELECT d.alert, d.channel, d.state, d.error FROM alerts AS a JOIN deliveries AS d ON d.alert = a.seq "
            f"WHERE {chosen} ORDER BY d.seq",
            *first,
        ):  # before version 4 there was no state: an error or none
            found.setdefault(number, {})[channel] = (state or ("failed" if error else "delivered"), error)
        rows = self._rows(
            f"SELECT a.seq, k.who, k.reason, {_ALERT} FROM alerts AS a "
            "LEFT JOIN (SELECT alert, who, reason FROM acknowledgements) AS k "
            f"ON k.alert = a.seq WHERE {chosen} ORDER BY a.seq",
            *first,
        )
        return [AlertRecord(seq, _alert(row), found.get(seq, {}), who or "", why or "") for seq, who, why, *row in rows]

    def is_acknowledged(self, alert: int) -> bool:
        """Whether somebody has seen the alert of that number."""
        return bool(self._rows("SELECT 1 FROM acknowledgements WHERE alert = ?", alert))

    def is_over(self, kind: str, key: str, after: int) -> bool:
        """Whether an alert after that number says that the condition of this kind and key has ended."""
        query = "SELECT 1 FROM alerts WHERE seq > ? AND is_over AND kind = ? AND key = ? LIMIT 1"
        return bool(self._rows(query, after, kind, key))

    def beside(self) -> AbstractContextManager[SqliteJournal]:
        """The same journal, and the same run, for another thread; closed at the end of its block."""
        with contextlib.suppress(JournalError), self.atomic():  # what cannot be written now, the other tries again
            self._current_run()
        other = copy(self)
        other._db, other._is_inside, other._is_sound = None, False, True
        other._is_new_allowed, other._seen, other._said = False, None, None
        return contextlib.closing(other)

    def table(self, name: str) -> list[dict[str, Any]]:
        """A table as it is kept, oldest first: for exports and audits."""
        self.open()
        assert self._db is not None
        with self._explained("read"):
            cursor = self._db.execute(f"SELECT * FROM {name} ORDER BY seq")
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor]


_ALERT = "at, kind, severity, message, fields, key, is_over"


def _alert(row: Sequence[Any]) -> Alert:
    """The alert of the columns ``_ALERT``."""
    at, kind, severity, message, fields, key, is_over = row
    return Alert(
        at=datetime.fromisoformat(at),
        kind=kind,
        severity=severity,
        message=message,
        fields=json.loads(fields),
        key=key,
        is_over=bool(is_over),
    )


_ORDER = "client_id, instrument, units, type, limit_price, is_reducing, stop_fraction, reason"


def _order(row: Sequence[Any]) -> Order:
    """The order of the columns ``_ORDER``."""
    client_id, instrument, units, kind, limit, is_reducing, stop, reason = row
    return Order(
        client_id=client_id,
        instrument=instrument,
        units=Decimal(units),
        type=kind,
        limit_price=decimal(limit),
        is_reducing=bool(is_reducing),
        stop_fraction=stop,
        reason=reason,
    )


_RESULT = "client_id, instrument, status, filled_units, price, reason"


def _result(row: Sequence[Any]) -> OrderResult:
    """The result of the columns ``_RESULT``."""
    client_id, instrument, status, filled, price, reason = row
    return OrderResult(
        client_id=client_id,
        instrument=instrument,
        status=OrderStatus(status),
        filled_units=Decimal(filled),
        price=decimal(price),
        reason=reason,
    )


_TRANSACTION = "id, at, kind, amount, currency, instrument, units, price, mid, conversion, trade_date, days, client_id"


def _transaction_row(transaction: Transaction) -> dict[str, object]:
    """The columns of ``_TRANSACTION`` in their order."""
    return {
        "id": transaction.id,
        "at": instant(transaction.at),
        "kind": transaction.kind,
        "amount": exact(transaction.amount),
        "currency": transaction.currency,
        "instrument": transaction.instrument,
        "units": exact(transaction.units),
        "price": exact(transaction.price),
        "mid": exact(transaction.mid),
        "conversion": exact(transaction.conversion),
        "trade_date": None if transaction.trade_date is None else transaction.trade_date.isoformat(),
        "days": transaction.days,
        "client_id": transaction.client_id,
    }


def _transaction(row: Sequence[Any]) -> Transaction:
    identity, at, kind, amount, currency, instrument, units, price, mid, conversion, trade_date, days, client_id = row
    return Transaction(
        id=identity,
        at=datetime.fromisoformat(at),
        kind=kind,
        amount=Decimal(amount),
        currency=currency,
        instrument=instrument,
        units=Decimal(units),
        price=decimal(price),
        mid=decimal(mid),
        conversion=decimal(conversion),
        trade_date=None if trade_date is None else date.fromisoformat(trade_date),
        days=days,
        client_id=client_id,
    )


def _state(row: Sequence[Any]) -> RiskState:
    trading, day_start, high_water, halt_until, halted_at, latch, stopped, locked, rejects = row
    return RiskState(
        trading=TradingState(trading),
        day_start=float(day_start),
        high_water=float(high_water),
        halt_until=moment(halt_until),
        halted_at=moment(halted_at),
        latch=latch,
        stopped=frozenset((name, side) for name, side in json.loads(stopped)),
        locked=frozenset(json.loads(locked)),
        rejects=rejects,
    )
