"""The transactions of the fake account: everything that ever happened, numbered from 1."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from fxcarry_oanda.testing.market import stamp

Record = dict[str, Any]

_GROUPS = {
    "ORDER": ("MARKET_ORDER", "LIMIT_ORDER", "STOP_LOSS_ORDER", "ORDER_FILL", "ORDER_CANCEL"),
    "FUNDING": ("TRANSFER_FUNDS",),
    "ADMIN": ("CREATE", "CLIENT_CONFIGURE"),
}


class Log:
    """Transactions as they are served. Those made together share a batch, which is the id of its first."""

    def __init__(self, account_id: str) -> None:
        self.records: list[Record] = []
        self._account_id = account_id
        self._batch: str | None = None
        self._request = ""

    @property
    def last_id(self) -> str:
        """The id of the newest transaction."""
        return str(len(self.records))

    def begin(self, request: str = "") -> int:
        """Start a new batch, made by a request or by the venue itself; the answer marks its place for :meth:`ids`."""
        self._batch, self._request = None, request
        return len(self.records)

    def ids(self, mark: int) -> list[str]:
        """The ids of what was booked since :meth:`begin` gave this mark."""
        return [record["id"] for record in self.records[mark:]]

    def add(self, kind: str, at: datetime, facts: Record) -> Record:
        """Book a transaction; facts that are None are left out."""
        number = str(len(self.records) + 1)
        self._batch = self._batch or number
        record = {
            "id": number,
            "time": stamp(at),
            "userID": int(self._account_id.split("-")[2]),
            "accountID": self._account_id,
            "batchID": self._batch,
            **({"requestID": self._request} if self._request else {}),
            "type": kind,
            **{name: value for name, value in facts.items() if value is not None},
        }
        self.records.append(record)
        return record

    def find(self, number: str) -> Record | None:
        """One transaction by its id."""
        return self.records[int(number) - 1] if number.isdigit() and 0 < int(number) <= len(self.records) else None

    def between(self, first: int, last: int, kinds: Collection[str] = ()) -> list[Record]:
        """Transactions with ids from ``first`` to ``last``, both included, of these types or groups (none = all)."""
        found = self.records[max(first, 1) - 1 : max(last, 0)]
        return [record for record in found if not kinds or fits(record["type"], kinds)]


def fits(kind: str, kinds: Collection[str]) -> bool:
    """Whether a type is among types and groups of types (``ORDER``, ``FUNDING``, ``ADMIN``)."""
    wanted: set[str] = set()
    for name in kinds:
        members: Sequence[str] = _GROUPS.get(name, (name,))
        wanted |= {*members, *(f"{member}_REJECT" for member in members if name in _GROUPS)}
    return kind in wanted
