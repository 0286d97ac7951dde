"""Flat records as plain values that JSON can hold, and back, exactly.

A :class:`~decimal.Decimal` becomes its text, an instant its ISO text in UTC, a date its ISO text. A float stays a
float: Python writes the shortest text that reads back as the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, get_args, get_type_hints

import attrs


def to_plain(record: attrs.AttrsInstance) -> dict[str, Any]:
    """The fields of a flat record by name."""
    return {field.name: _written(getattr(record, field.name)) for field in attrs.fields(type(record)) if field.init}


def from_plain(cls: type, values: Mapping[str, Any]) -> Any:
    """The record of class ``cls`` that :func:`to_plain` made ``values`` of."""
    readers = _readers(cls)
    return cls(
        **{name: value if value is None else readers[name](value) for name, value in values.items() if name in readers}
    )


def _written(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.isoformat() if isinstance(value, date) else value


def _itself(value: Any) -> Any:
    return value


@cache
def _readers(cls: type) -> dict[str, Callable[[Any], Any]]:
    kinds: dict[type, Callable[[Any], Any]] = {
        Decimal: Decimal,
        datetime: datetime.fromisoformat,
        date: date.fromisoformat,
    }
    readers = {}
    for name, hint in get_type_hints(cls).items():
        kind = next((h for h in (hint, *get_args(hint)) if isinstance(h, type)), object)
        readers[name] = kind if issubclass(kind, Enum) else kinds.get(kind, _itself)
    return {field.name: readers[field.name] for field in attrs.fields(cls) if field.init}


def whole(text: str) -> str:
    """``text`` with half an emoji, which a text of another program may end with, as an escape: no file takes one."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
