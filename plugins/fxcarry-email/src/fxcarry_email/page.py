"""An alert as a page of HTML that stands alone: nothing is loaded from anywhere, everything said in it is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import attrs

from fxcarry.alerts import one_line, words
from fxcarry.model import Alert

if TYPE_CHECKING:
    from jinja2 import Template

_COLOURS = {"info": "#0a5bb5", "warning": "#9a5300", "critical": "#b42318"}  # white on each is at least 5:1


@attrs.frozen
class Table:
    """Rows of a page, under a heading and names of columns where there are any."""

    heading: str
    rows: Sequence[Sequence[str]]
    columns: Sequence[str] = ()


def alert_html(alert: Alert) -> str:
    """An alert as the HTML of a mail: what happened, what the engine does, what the reader may do, and the facts."""
    facts = words(alert).facts
    return _page(alert, [Table("", facts)] if facts else [], width=600)


def report_html(alert: Alert) -> str:
    """An alert as a page of its own, to keep: facts within facts are tables."""
    return _page(alert, list(_tables(alert)), width=960)


def _page(alert: Alert, tables: Sequence[Table], width: int) -> str:
    return _template().render(
        said=words(alert),
        severity=alert.severity,
        kind=one_line(alert.kind),
        colour=_COLOURS.get(alert.severity, _COLOURS["warning"]),
        tables=tables,
        width=width,
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    source = files("fxcarry_email").joinpath("page.html").read_text("utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        source
    )


def _tables(alert: Alert) -> Iterator[Table]:
    """The plain facts first, then one table for each fact that has facts within."""
    nested = {name: value for name, value in alert.fields.items() if _is_nested(value)}
    plain = {name: value for name, value in alert.fields.items() if name not in nested}
    if plain:
        yield Table("", _facts(alert, plain))
    for name, value in nested.items():
        (heading, _) = _facts(alert, {name: ""})[0]
        if isinstance(value, Mapping):
            if all(isinstance(row, Mapping) and row for row in value.values()):
                yield _matrix(alert, heading, value.items())
            else:
                yield Table(heading, _facts(alert, value))
        else:
            yield _matrix(alert, heading, enumerate(value, 1))


def _is_nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(v, Mapping) and v for v in value)


def _matrix(alert: Alert, heading: str, rows: Iterable[tuple[Any, Mapping[Any, Any]]]) -> Table:
    """A row for each mapping, a column for each key that one of them has."""
    read = [(one_line(str(name)), dict(_facts(alert, row))) for name, row in rows]
    columns = list(dict.fromkeys(label for _, facts in read for label in facts))
    return Table(
        heading, [[name, *(facts.get(column, "") for column in columns)] for name, facts in read], ["", *columns]
    )


def _facts(alert: Alert, fields: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """Facts in the words of every channel; money is in the currency of the alert where they name none."""
    named = {str(name): value for name, value in fields.items()}
    currency = alert.fields.get("currency")
    if "currency" in named or currency is None:
        return list(words(attrs.evolve(alert, fields=named)).facts)
    facts = words(attrs.evolve(alert, fields={**named, "currency": currency})).facts
    return list(facts[: len(named)])
