"""A journal as CSV files, for tax, for audit and for other programs; and the performance log, a line a day."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fxcarry.conventions import trade_date
from fxcarry.errors import ConfigError, DataError
from fxcarry.journal.books import tax_lots
from fxcarry.journal.records import Journal
from fxcarry.journal.schema import instant
from fxcarry.journal.sqlite import SqliteJournal
from fxcarry.model import Transaction

FILES = ("trades.csv", "lots.csv", "financing.csv", "decisions.csv")
"""What :func:`export` writes."""

PERFORMANCE = ("date", "nav", "realised", "financing", "costs", "flows", "state")
"""The columns of the performance log."""

_TRADES = ("at", "id", "instrument", "units", "price", "mid", "conversion", "cost", "commission", "realised", "reason")
_LOTS = (
    "instrument",
    "units",
    "opened_at",
    "open_id",
    "open_price",
    "closed_at",
    "close_id",
    "close_price",
    "realised",
)
_FINANCING = ("at", "id", "trade_date", "days", "instrument", "units", "mid", "conversion", "amount", "currency")
_DECISIONS = ("decision", "at", "stage", "state", "legs", "weights", "rule", "action", "code", "headroom", "limit")


def export(journal_path: str | Path, folder: str | Path) -> Path:
    """Write a journal as CSV into ``folder``, which is made if need be, and return it.

    ``trades.csv``: the fills, with what each cost against the mid (account currency, > 0 a loss), its commission
    (<= 0) and the P&L the broker booked. ``lots.csv``: realised P&L, financing and commission of each tax lot, first in
    first out, in account currency; what belongs to no lot follows without units, so that the sums are the broker's.
    ``financing.csv``: every posting. ``decisions.csv``: a line for every rule's verdict of every decision, with its
    inputs. Numbers are exact. Everything is made before anything is moved in. ConfigError where that is not possible.
    """
    target = Path(folder)
    with SqliteJournal.existing(journal_path) as journal:
        transactions = journal.transactions()
        reasons = {order.client_id: order.reason for order in journal.orders}
        tables: dict[str, tuple[Sequence[str], Iterable[Sequence[object]]]] = {
            "trades.csv": ((*_TRADES, "client_id"), _trades(transactions, reasons)),
            "lots.csv": ((*_LOTS, "financing", "commission"), _lots(transactions)),
            "financing.csv": (_FINANCING, _financing(transactions)),
            "decisions.csv": ((*_DECISIONS, "until", "is_finding", "inputs"), _decisions(journal)),
        }
        try:
            target.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=".export-", dir=target) as staging:
                for name in FILES:
                    (Path(staging) / name).write_text(_csv([tables[name][0], *tables[name][1]]), encoding="utf-8")
                for name in FILES:
                    os.replace(Path(staging) / name, target / name)
        except OSError as error:
            raise ConfigError(
                f"the export cannot be written to {target}: {error.strerror}", hint="choose a folder you may write to"
            ) from error
    return target


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value


def _trades(transactions: Sequence[Transaction], reasons: dict[str, str]) -> Iterator[Sequence[object]]:
    charged: dict[tuple[str, str], Decimal] = {}
    for t in transactions:
        if t.kind == "commission":
            charged[t.client_id, instant(t.at)] = charged.get((t.client_id, instant(t.at)), Decimal(0)) + t.amount
    for t in transactions:
        if t.kind == "fill":
            cost: Decimal | str = ""
            if t.price is not None and t.mid is not None and t.conversion is not None:
                cost = (t.price - t.mid) * t.units * t.conversion
            commission = charged.pop((t.client_id, instant(t.at)), Decimal(0))
            yield (
                *(instant(t.at), t.id, t.instrument, t.units, t.price, t.mid, t.conversion, cost, commission, t.amount),
                *(reasons.get(t.client_id, ""), t.client_id),
            )


def _lots(transactions: Sequence[Transaction]) -> Iterator[Sequence[object]]:
    found = tax_lots(transactions)
    for lot in found.lots:
        yield (
            *(lot.instrument, lot.units, instant(lot.opened_at), lot.open_id, lot.open_price),
            "" if lot.closed_at is None else instant(lot.closed_at),
            *(lot.close_id, lot.close_price, lot.realised, lot.financing, lot.commission),
        )
    for t in found.unallocated:
        is_financing = t.kind == "financing"
        amounts = (t.amount, 0) if is_financing else (0, t.amount)
        yield (t.instrument, "", instant(t.at), t.id, "", "", "", "", 0, *amounts)


def _financing(transactions: Sequence[Transaction]) -> Iterator[Sequence[object]]:
    for t in transactions:
        if t.kind == "financing":
            yield (
                *(instant(t.at), t.id, t.trade_date, t.days, t.instrument, t.units, t.mid, t.conversion, t.amount),
                t.currency,
            )


def _decisions(journal: SqliteJournal) -> Iterator[Sequence[object]]:
    for row in journal.table("decisions"):
        head = (row["seq"], row["at"], row["stage"], row["state"], row["legs"], row["weights"])
        findings, verdicts = json.loads(row["findings"]), json.loads(row["verdicts"])
        said: list[tuple[dict[str, Any], bool]] = [(v, v in findings) for v in verdicts]
        said += [(v, True) for v in findings if v not in verdicts]  # of the second look, at what the first left
        for v, is_finding in said:
            inputs = json.dumps(v["inputs"], separators=(",", ":"), ensure_ascii=False)
            yield (
                *head,
                *(v["rule"], v["action"], v["code"], v["headroom"], v["limit"], v["until"], int(is_finding), inputs),
            )
        if not said:
            yield (*head, *[""] * 8)


def append_performance(
    path: str | Path, journal: Journal, day: date, nav: Decimal, *, since: str | None = None
) -> bool:
    """Append the day that ended at 17:00 New York to a performance log; False where it is there already.

    ``realised``, ``financing``, ``costs`` (commissions and fees, <= 0) and ``flows`` are the sums of the journal's
    transactions of that trade date in the account's currency; ``state`` is the trading state. A line that a crash left
    unfinished is replaced. ``since``: a transaction that is known to be of an earlier day, so that only later ones need
    be read. Raises DataError for a file that is no such log, or a day before its last; ConfigError where
    it cannot be written.
    """
    path = Path(path)
    sums = dict.fromkeys(("fill", "financing", "commission", "fee", "transfer"), Decimal(0))
    currencies = set()
    for t in journal.transactions(since):
        if _day_of(t) == day:
            sums[t.kind] += t.amount
            currencies.add(t.currency)
    if len(currencies) > 1:
        raise DataError(f"the transactions of {day} are in {', '.join(sorted(currencies))}", hint="convert them first")
    state = journal.state()
    line = (
        *(day.isoformat(), nav, sums["fill"], sums["financing"], sums["commission"] + sums["fee"], sums["transfer"]),
        "" if state is None else state.trading.value,
    )
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        rows = list(csv.reader(io.StringIO(whole)))
        if rows and tuple(rows[0]) != PERFORMANCE:
            raise DataError(f"{path} is no performance log: it begins with {rows[0]}", hint="choose another file")
        last = rows[-1][0] if len(rows) > 1 else ""
        if last > day.isoformat():
            raise DataError(f"{path} ends with {last}, after {day}", hint="days are appended in order")
        if last == day.isoformat():
            return False
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            end = len(whole.encode())
            data = _csv([line] if rows else [PERFORMANCE, line]).encode()
            os.ftruncate(file, end)
            os.lseek(file, end, os.SEEK_SET)
            if os.write(file, data) != len(data):
                os.ftruncate(file, end)
                raise OSError(0, "the disk is full")
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise ConfigError(
            f"the performance log {path} cannot be written: {error.strerror}", hint="check its folder and the disk"
        ) from error
    return True


def _day_of(t: Transaction) -> date:
    """The trade date of a booking; one at 17:00 New York sharp belongs to the day that ends there."""
    return t.trade_date or trade_date(t.at - timedelta(microseconds=1))
