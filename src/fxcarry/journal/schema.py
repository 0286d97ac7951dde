"""The tables of a journal on disk, which only grow, and how values are written into them.

Money, units and prices are exact text, instants ISO text in UTC with microseconds (which sorts), numbers without a unit
of money REAL, and what has a shape of its own JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np

from fxcarry.errors import DataError
from fxcarry.model import Verdict

SCHEMA = 4
"""The version this code writes, kept in ``PRAGMA user_version``."""

APPLICATION = 0x66784361
"""What marks a file as a journal (``PRAGMA application_id``): "fxCa"."""

TABLES: Mapping[str, tuple[str, str]] = {
    "account": ("account_id TEXT NOT NULL, currency TEXT NOT NULL", ""),
    "runs": ("started TEXT NOT NULL, version TEXT NOT NULL, config TEXT NOT NULL, pid INTEGER, host TEXT", ""),
    "decisions": (
        "run INTEGER NOT NULL, at TEXT NOT NULL, stage TEXT NOT NULL, state TEXT NOT NULL, legs TEXT NOT NULL, "
        "weights TEXT NOT NULL, findings TEXT NOT NULL, verdicts TEXT NOT NULL",
        "",
    ),
    "intents": (
        "run INTEGER NOT NULL, client_id TEXT NOT NULL, instrument TEXT NOT NULL, units TEXT NOT NULL, "
        "type TEXT NOT NULL, limit_price TEXT, is_reducing INTEGER NOT NULL, stop_fraction REAL, reason TEXT NOT NULL, "
        "attempt INTEGER NOT NULL, planned_at TEXT",
        "client_id",
    ),
    "results": (
        "run INTEGER NOT NULL, client_id TEXT NOT NULL, instrument TEXT NOT NULL, status TEXT NOT NULL, "
        "filled_units TEXT NOT NULL, price TEXT, reason TEXT NOT NULL, at TEXT",
        "",
    ),
    "transactions": (
        "run INTEGER NOT NULL, id TEXT NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL, amount TEXT NOT NULL, "
        "currency TEXT NOT NULL, instrument TEXT NOT NULL, units TEXT NOT NULL, price TEXT, mid TEXT, conversion TEXT, "
        "trade_date TEXT, days INTEGER NOT NULL, client_id TEXT NOT NULL",
        "id",
    ),
    "states": (
        "run INTEGER NOT NULL, at TEXT NOT NULL, trading TEXT NOT NULL, day_start TEXT NOT NULL, "
        "high_water TEXT NOT NULL, halt_until TEXT, halted_at TEXT, latch TEXT NOT NULL, stopped TEXT NOT NULL, "
        "locked TEXT NOT NULL DEFAULT '[]', rejects INTEGER NOT NULL DEFAULT 0",
        "",
    ),
    "intentions": (
        "run INTEGER NOT NULL, at TEXT NOT NULL, weights TEXT, attempt INTEGER, why TEXT NOT NULL, "
        "rest TEXT NOT NULL DEFAULT '[]'",
        "",
    ),
    "quotes": (
        "run INTEGER NOT NULL, pair TEXT NOT NULL, bid TEXT NOT NULL, ask TEXT NOT NULL, as_of TEXT NOT NULL, "
        "used_at TEXT NOT NULL",
        "",
    ),
    "financing_rates": (
        "run INTEGER NOT NULL, at TEXT NOT NULL, instrument TEXT NOT NULL, pair TEXT NOT NULL, long REAL, short REAL, "
        "days TEXT",
        "",
    ),
    "heartbeats": ("run INTEGER NOT NULL, at TEXT NOT NULL", ""),
    "commands": ("kind TEXT NOT NULL, who TEXT NOT NULL, at TEXT NOT NULL, reason TEXT NOT NULL", ""),
    "taken": ("run INTEGER NOT NULL, command INTEGER NOT NULL, at TEXT NOT NULL", "command"),
    "alerts": (
        "run INTEGER NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL, message TEXT NOT NULL, "
        "fields TEXT NOT NULL, key TEXT NOT NULL DEFAULT '', is_over INTEGER NOT NULL DEFAULT 0",
        "",
    ),
    "deliveries": (
        "run INTEGER NOT NULL, alert INTEGER NOT NULL, channel TEXT NOT NULL, at TEXT NOT NULL, error TEXT NOT NULL, "
        "state TEXT NOT NULL DEFAULT ''",
        "",
    ),
    "acknowledgements": ("alert INTEGER NOT NULL, who TEXT NOT NULL, at TEXT NOT NULL, reason TEXT NOT NULL", "alert"),
    "plans": ("plan TEXT NOT NULL, at TEXT NOT NULL, content TEXT NOT NULL", "plan"),
    "confirmations": ("what TEXT NOT NULL, who TEXT NOT NULL, at TEXT NOT NULL, reason TEXT NOT NULL", ""),
}
"""Each table's columns, and the one that must be unique."""

_INDEXES = {
    "results (client_id)": 1,
    "decisions (at)": 1,
    "quotes (pair, used_at)": 1,
    "alerts (at)": 4,
    "deliveries (alert)": 4,
}
"""Since which version an index is there."""

_SINCE = {
    **dict.fromkeys(("alerts", "deliveries", "plans", "confirmations"), 2),
    "financing_rates": 3,
    "acknowledgements": 4,
}
"""Since which version a table is there, where it is not since the first."""


def statements(version: int = 0) -> Iterator[str]:
    """The statements that make the tables of an empty file, or bring one of an earlier ``version`` up to this one."""
    if version == 1:
        yield "ALTER TABLE states ADD COLUMN locked TEXT NOT NULL DEFAULT '[]'"
        yield "ALTER TABLE states ADD COLUMN rejects INTEGER NOT NULL DEFAULT 0"
        yield "ALTER TABLE intentions ADD COLUMN rest TEXT NOT NULL DEFAULT '[]'"
    if version in (1, 2):  # it had the pair alone
        yield "DROP INDEX quotes_index"
        yield "CREATE INDEX quotes_index ON quotes (pair, used_at)"
    if version in (2, 3):
        yield "ALTER TABLE alerts ADD COLUMN key TEXT NOT NULL DEFAULT ''"
        yield "ALTER TABLE alerts ADD COLUMN is_over INTEGER NOT NULL DEFAULT 0"
        yield "ALTER TABLE deliveries ADD COLUMN state TEXT NOT NULL DEFAULT ''"
    for name, (columns, unique) in TABLES.items():
        if version >= _SINCE.get(name, 1):
            continue
        kept = [f"typeof({c}) IN ('text', 'null')" for c in _exact(columns)]
        checks = "".join(f", CHECK ({check})" for check in kept)
        key = f", UNIQUE ({unique})" if unique else ""
        yield f"CREATE TABLE {name} (seq INTEGER PRIMARY KEY, {columns}{checks}{key})"
        for change in ("UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER {name}_no_{change.lower()} BEFORE {change} ON {name} "
                f"BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
            )
        same = f"seq = NEW.seq OR {unique} = NEW.{unique}" if unique else "seq = NEW.seq"
        yield (
            f"CREATE TRIGGER {name}_no_replace BEFORE INSERT ON {name} WHEN EXISTS (SELECT 1 FROM {name} WHERE {same}) "
            f"BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
        )
    for columns, since in _INDEXES.items():
        if version < since:
            yield f"CREATE INDEX {columns.split(' ')[0]}_index ON {columns}"
    yield f"PRAGMA application_id = {APPLICATION}"
    yield f"PRAGMA user_version = {SCHEMA}"


def _exact(columns: str) -> list[str]:
    """The columns of money, units and prices, whatever their number form: text or nothing."""
    money = {"units", "limit_price", "filled_units", "price", "amount", "mid", "conversion", "bid", "ask"}
    money |= {"day_start", "high_water"}
    return [name for name in (c.split()[0] for c in columns.split(", ")) if name in money]


def instant(at: datetime) -> str:
    """ISO text in UTC with microseconds; a naive datetime is an error."""
    if at.tzinfo is None:
        raise DataError(f"{at!r} has no time zone", hint="use an aware UTC datetime")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text: str | None) -> datetime | None:
    """The datetime of :func:`instant`."""
    return None if text is None else datetime.fromisoformat(text)


def exact(value: Decimal | None) -> str | None:
    """A decimal number's own text, every digit of it."""
    return None if value is None else str(value)


def decimal(text: str | None) -> Decimal | None:
    """The number of :func:`exact`."""
    return None if text is None else Decimal(text)


def to_json(value: object) -> str:
    """Compact JSON. A decimal, a date and a number that is not finite become text; arrays become lists."""
    return json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def verdicts_json(verdicts: Iterable[Verdict]) -> str:
    """Every verdict with its code, inputs, limit and headroom."""
    return to_json(
        [
            {
                "rule": v.rule,
                "action": v.action.name,
                "code": v.code,
                "headroom": v.headroom,
                "limit": v.facts.get("limit"),
                "latch": v.latch,
                "until": v.until,
                "caps": v.caps,
                "inputs": v.facts,
            }
            for v in verdicts
        ]
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return str(value)
