"""fxcarry.alerts.words: every alert in words that a person can act on, whatever it says; and the console."""

from __future__ import annotations

import contextlib
import io
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.alerts import AlertKind, ConsoleNotifier, one_line, printable, words
from fxcarry.cli import cli
from fxcarry.model import Alert
from fxcarry.protocols import Notifier

AT = datetime(2025, 3, 12, 21, tzinfo=UTC)


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \u05e9\u05dc\u05d5\u05dd 日本円 Müller"


def alert(message: str = "it broke", **facts: Any) -> Alert:
    given: dict[str, Any] = {"at": AT, "kind": "feed-error", "severity": "warning", **facts}
    return Alert(message=message, **given)


# --- every kind -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(AlertKind))
def test_every_kind_has_words(kind: AlertKind) -> None:
    said = words(alert(kind=kind))
    assert said.title
    assert said.title == said.title.strip().rstrip(".")
    assert said.subject == f"fxcarry warning: {kind}: it broke"
    assert len(said.title) < 60
    for text in (said.did, said.may):
        assert len(text) < 120
        assert text == "" or text[-1].isalnum() or text[-1] in ".…"


def critical_kinds() -> list[str]:
    """As the page for those who operate it says."""
    page = (Path(__file__).parents[1] / "docs" / "howto" / "operate.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|.*\| ([a-z,; ]+) \|$", page, re.MULTILINE)
    kinds = [kind for named, severity in rows if "critical" in severity for kind in re.findall(r"`([a-z-]+)`", named)]
    assert len(kinds) >= 11
    return kinds


@pytest.mark.parametrize("kind", critical_kinds())
def test_what_can_be_critical_says_what_the_engine_does_and_what_to_do(kind: str) -> None:
    said = words(alert(kind=kind, severity="critical"))
    assert said.did
    assert said.may


def test_every_command_in_the_words_is_one() -> None:
    named: set[str] = set()
    for kind in AlertKind:
        said = words(alert(kind=kind))
        named |= set(re.findall(r"fxcarry ([a-z]+(?: [a-z]+)?)", f"{said.did} {said.may}"))
    assert len(named) > 8
    for text in named:
        first, *rest = text.split()
        command = cli.commands.get(first)
        assert command is not None, text
        if isinstance(command, click.Group):
            assert rest
            assert rest[0] in command.commands, text


def test_an_end_says_so_and_gives_no_advice() -> None:
    said = words(alert("prices move again", severity="info", is_over=True))
    assert said.title == "Over: market data fails"
    assert (said.did, said.may) == ("", "")
    assert "What you may do" not in said.text()


def test_a_kind_of_somebody_elses_is_said_too() -> None:
    said = words(alert(kind="my-own"))
    assert (said.title, said.did, said.may, said.subject) == ("my-own", "", "", "fxcarry warning: my-own: it broke")


def test_the_text_has_all_of_it_a_paragraph_each() -> None:
    said = words(alert("no price\nfor an hour", kind="feed-error", severity="critical", fields={"minutes": 60}))
    assert said.text().split("\n\n") == [
        "fxcarry critical: feed-error: no price",
        "2025-03-12 21:00:00 UTC",
        "no price\nfor an hour",
        f"What the engine does: {said.did}",
        f"What you may do: {said.may}",
        "minutes: 60",
    ]


# --- facts carry their units ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"nav": 1234567.891, "currency": "USD"}, [("nav", "1,234,567.89 USD")]),
        ({"nav": 5}, [("nav", "5")]),
        ({"currency": "USD", "rule": "drawdown"}, [("currency", "USD"), ("rule", "drawdown")]),
        ({"gap_bps": 2.5, "loss_pct": -3.0}, [("gap", "2.50 bps"), ("loss", "-3.00 %")]),
        ({"silent_s": 300}, [("silent", "300 s")]),
        ({"limit": 0.033333333}, [("limit", "0.0333333")]),
        ({"x": float("nan"), "y": float("inf")}, [("x", "unknown"), ("y", "unknown")]),
        ({"x": Decimal("NaN"), "y": Decimal("sNaN"), "z": Decimal("-Infinity")},
         [("x", "unknown"), ("y", "unknown"), ("z", "unknown")]),
        ({"z": None}, [("z", "unknown")]),
        ({"is_ours": True, "is_late": False}, [("is ours", "yes"), ("is late", "no")]),
        ({"price": Decimal("1.10"), "units": 12000}, [("price", "1.10"), ("units", "12,000")]),
        ({"at": AT, "day": date(2025, 3, 12)}, [("at", "2025-03-12 21:00:00 UTC"), ("day", "2025-03-12")]),
        ({"at": AT.astimezone(timezone(timedelta(hours=-5)))}, [("at", "2025-03-12 21:00:00 UTC")]),
        ({"quote": {"age_s": 90, "spread_bps": 1.5}}, [("quote", "age 90 s; spread 1.50 bps")]),
        ({"nav": Decimal("1234.50"), "currency": "EUR"}, [("nav", "1,234.50 EUR")]),
        ({"units": {"AUDUSD": 1000, "USDJPY": -5}}, [("units", "AUDUSD 1,000; USDJPY -5")]),
        ({"pairs": ["AUDUSD", "USDJPY"]}, [("pairs", "AUDUSD; USDJPY")]),
        ({"carry": {"AUDUSD": 1.5}, "currency": "CHF"}, [("carry", "AUDUSD 1.50 CHF")]),
        ({}, []),
    ],
)  # fmt: skip
def test_facts_in_words(fields: dict[str, Any], facts: list[tuple[str, str]]) -> None:
    assert list(words(alert(fields=fields)).facts) == facts


@pytest.mark.parametrize("kind", ["digest", "trade-executed", "position-closed", "milestone", "rollover-tonight"])
def test_what_the_message_says_in_full_is_not_said_again(kind: str) -> None:
    assert words(alert(kind=kind, fields={"nav": 1.0})).facts == ()


# --- whatever is said -------------------------------------------------------------------------------------------------


@given(
    st.text(max_size=400), st.text(max_size=80), st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=3)
)
def test_nothing_breaks_a_subject_or_steers_a_terminal(message: str, kind: str, fields: dict[str, str]) -> None:
    said = words(alert(message, kind=kind, fields=fields))
    assert len(said.subject) <= 150
    for text in (said.subject, said.title, *(part for fact in said.facts for part in fact)):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", said.text())
    said.text().encode("utf-8")


JOINS = "\u200c\u200d\ufe0e\ufe0f"
ANY = st.text(st.characters(), max_size=400)  # halves of characters too


@given(ANY, ANY, st.booleans())
def test_every_subject_is_one_printable_line(message: str, kind: str, is_over: bool) -> None:
    said = words(alert(message, kind=kind, is_over=is_over))
    for line in (said.subject, said.title):
        assert all(c.isprintable() or c in JOINS for c in line)
        assert len(line.splitlines()) <= 1
    assert said.subject.startswith("fxcarry warning: ")
    assert len(said.subject) <= 150
    assert said.title.startswith("Over:") or not is_over
    (said.text() + said.title).encode("utf-8")


@pytest.mark.parametrize("name", ["note\r\nBcc: x", "nav"])
def test_a_fact_is_one_line_whatever_its_name_value_and_currency(name: str) -> None:
    said = words(alert(fields={name: "1\r\nBcc: x\x1b[2J", "currency": "USD\r\nBcc: y"}))
    assert said.text().count("\n") == said.text().count("\n\n") * 2 + len(said.facts) - 1
    assert "\r" not in said.text()
    assert "\x1b" not in said.text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ok\r\nBcc: you@example.com", "ok Bcc: you@example.com"),
        ("red \x1b[31m bell \a null \x00", r"red \x1b[31m bell \x07 null \x00"),
        ("money \u202e\u2066 turned", r"money \u202e\u2066 turned"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("half an emoji \ud83c", r"half an emoji \ud83c"),
        (FAMILY, FAMILY),
        ("{not} %s {a.format}", "{not} %s {a.format}"),
    ],
)  # fmt: skip
def test_one_line_of_any_text(text: str, expected: str) -> None:
    assert one_line(text) == expected
    assert words(alert(text)).subject.isprintable() or text == FAMILY


def test_lines_stay_where_they_may() -> None:
    assert printable("a\r\nb\tc\rd", lines=True) == "a\nb    c\\rd"


def test_a_long_message_and_none() -> None:
    said = words(alert("0123456789" * 1024))
    assert (len(said.subject), said.subject[-1]) == (150, "…")
    assert len(said.happened) == 10_240
    assert words(alert("")).subject == "fxcarry warning: feed-error: Market data fails"


# --- the console ------------------------------------------------------------------------------------------------------


def test_the_console_is_a_channel(capsys: pytest.CaptureFixture[str]) -> None:
    console = ConsoleNotifier()
    assert isinstance(console, Notifier)
    console.notify(alert("AUDUSD", kind="stop-loss"))
    console.notify(alert("they move", severity="info", is_over=True))
    assert capsys.readouterr().err.splitlines() == [
        "2025-03-12 21:00:00 warning: stop-loss: AUDUSD",
        "2025-03-12 21:00:00 info: feed-error is over: they move",
    ]


def test_the_console_writes_one_line_whatever_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleNotifier().notify(alert("a\nb\x1b[31m \u202e {x} € 🏦", kind="operator", severity="info"))
    assert capsys.readouterr().err == r"2025-03-12 21:00:00 info: operator: a | b\x1b[31m \u202e {x} € 🏦" + "\n"


@given(ANY, ANY)
def test_the_console_writes_one_line_of_anything(message: str, kind: str) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as written:
        ConsoleNotifier().notify(alert(message, kind=kind))
    line = written.getvalue()
    assert line.startswith("2025-03-12 21:00:00 warning: ")
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    line.encode("utf-8")
