"""The HTML of a mail: whatever facts come, they are there, escaped, and nothing is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.model import Alert
from fxcarry_email.page import alert_html

MakeAlert = Callable[..., Alert]


class Reader(HTMLParser):
    """Tables of a page as lists of rows of texts; complains where tags do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "br"):
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag == "td":
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["td"]:
            self.tables[-1][-1][-1] += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader._open
    return reader


def test_facts_are_a_table(alert: MakeAlert) -> None:
    fields = {"currency": "USD", "nav": 100_250.5, "units": {"AUDUSD": 1000, "NZDUSD": -5}, "pairs": ["A", "B"]}
    assert read(alert_html(alert(fields=fields))).tables == [
        [["nav", "100,250.50 USD"], ["units", "AUDUSD 1,000; NZDUSD -5"], ["pairs", "A; B"]]
    ]


def test_no_facts_no_table(alert: MakeAlert) -> None:
    assert read(alert_html(alert())).tables == []


def test_it_stands_alone_and_knows_dark_screens(alert: MakeAlert) -> None:
    page = alert_html(alert("over https://example.com", fields={"a": {"b": 1}}))
    assert not re.search(r"(?i)(src|href)\s*=|url\(|@import|<(script|img|link|iframe)", page)
    assert "prefers-color-scheme: dark" in page
    assert '<meta name="viewport"' in page
    assert page.count("<html") == page.count("</html>") == 1


@pytest.mark.parametrize(
    ("severity", "colour"), [("info", "#0a5bb5"), ("warning", "#9a5300"), ("critical", "#b42318"), ("odd", "#9a5300")]
)
def test_the_colour_of_its_severity_is_dark_enough_for_white(alert: MakeAlert, severity: str, colour: str) -> None:
    assert f"background: {colour}" in alert_html(alert(severity=severity))
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]  # WCAG 2, 1.4.3
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) > 4.5


plain = st.text(max_size=8) | st.integers() | st.floats() | st.booleans() | st.none()
nested = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(fields=st.dictionaries(st.text(max_size=8), nested, max_size=5))
@settings(max_examples=60, deadline=None)
def test_whatever_facts_come_it_is_a_page(fields: dict[str, Any]) -> None:
    from datetime import UTC, datetime

    told = Alert(at=datetime(2025, 3, 12, tzinfo=UTC), kind="risk-limit", severity="info", message="", fields=fields)
    page = alert_html(told)
    read(page)
    for value in fields.values():
        if isinstance(value, int) and not isinstance(value, bool):
            assert f"{value:,}" in unescape(page)
