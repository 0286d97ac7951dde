"""A digest as a page of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from fxcarry.errors import ConfigError
from fxcarry.model import minor_digits

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:52em;margin:2em auto;padding:0 1em;color:#1a1a1a}
h1{font-size:1.3em}h2{font-size:1.05em;margin-top:1.6em}table{border-collapse:collapse;width:100%}
th,td{text-align:right;padding:.25em .6em;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}td{white-space:nowrap}
</style></head><body><h1>{{ title }}</h1>
{% for heading, head, rows in tables %}<h2>{{ heading }}</h2><table>
{% if head %}<thead><tr>{% for cell in head %}<th>{{ cell }}</th>{% endfor %}</tr></thead>{% endif %}
<tbody>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
{% endfor %}<p>For education only, no advice; you can lose all of your money and more.</p></body></html>
"""


def report_html(fields: Mapping[str, Any]) -> str:
    """A digest as a page of its own, from the fields of its alert: nothing is loaded, nothing runs.

    A part that is not known says so. ConfigError for what are not the fields of a digest.
    """
    from jinja2 import Environment

    if not {"period", "nav", "currency"} <= fields.keys():
        raise ConfigError("these are not the fields of a digest", hint="give Alert.fields of an alert digest")

    currency, parts = str(fields["currency"]), ("spot", "carry", "cost", "translation", "other")
    digits = minor_digits(currency)

    def money(value: Any) -> str:
        return "not known" if value is None else f"{value + 0.0:+,.{digits}f}"

    result = [("change", money(fields.get("pnl")), percent(fields["return"]))]
    result += [(part, money(fields.get(part)), "") for part in parts]
    result += [("deposits less withdrawals", money(fields.get("flows")), "")]
    positions = [
        (p["instrument"], units_text(p["units"]), money(p["value"]), percent(p["weight"])) for p in fields["positions"]
    ]
    tonight = [("expected", f"{money(fields.get('tonight'))} {currency}")]
    tonight += [
        (name, "days not known" if days is None else f"{days} day{'s' if days != 1 else ''}")
        for name, days in fields.get("roll_days", {}).items()
    ]
    rooms, units = fields.get("headroom", {}), fields.get("headroom_units", {})
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = [
        (f"Result in {currency}", (), result),
        ("Positions", ("instrument", "units", f"value {currency}", "of NAV"), positions),
        (f"Roll of {fields.get('roll_date', '')}", (), tonight),
        ("Headroom", (), [(rule, room_text(room, units.get(rule, ""))) for rule, room in rooms.items()]),
        ("Ahead", (), [(what.replace("_", " "), str(when)) for what, when in fields.get("next", {}).items()]),
    ]
    if fields.get("days"):
        shown = ["pnl", *parts, *(["flows"] if any(day["flows"] for day in fields["days"]) else [])]
        rows = [(d["date"], percent(d["return"]), *(money(d[part]) for part in shown)) for d in fields["days"]]
        names = {"pnl": "change", "flows": "deposits less withdrawals"}
        tables.insert(1, ("Days", ("date", "return", *(names.get(part, part) for part in shown)), rows))
    title = f"{fields['period']} digest {fields['date']}: NAV {fields['nav']:,.{digits}f} {currency}"
    template = Environment(autoescape=True).from_string(_PAGE)
    return template.render(title=title, tables=[table for table in tables if table[2]])


def units_text(units: Any) -> str:
    """Units without zeros at the end, thousands apart."""
    return f"{Decimal(str(units)).normalize() + 0:,f}"


def room_text(room: float, unit: str) -> str:
    """The headroom of a rule with its unit: a fraction in percent where that begins with %."""
    return f"{100 * room:.2f} {unit}" if unit.startswith("%") else f"{room:.4g} {unit}".rstrip()


def percent(fraction: float) -> str:
    """A fraction in percent, with its sign."""
    return f"{100 * fraction + 0.0:+.2f} %"
