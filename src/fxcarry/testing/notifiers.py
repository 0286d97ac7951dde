"""What every notifier has to do, as test cases N01 to N12."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from fxcarry.errors import NotifierError
from fxcarry.model import Alert
from fxcarry.protocols import Notifier
from fxcarry.testing import Suite, signature_problems

_AT = datetime(2025, 3, 12, 13, 5, tzinfo=UTC)
_SECRET = re.compile(r"(?i)(token|password|secret|api_?key|webhook)\w*['\"]?\s*[=:]\s*['\"](?!\*+['\"]|['\"])")
_LONG = "0123456789" * 1024

Delivered = Callable[[], Sequence[str]]


def _alert(message: str = "the account is flat", kind: str = "trading-state", severity: Any = "warning") -> Alert:
    return Alert(at=_AT, kind=kind, severity=severity, message=message, fields={"pair": "EURUSD"})


class NotifierSuite(Suite):
    """Required fixture: ``notifier``, a channel to a place made for tests.

    Optional: ``delivered``, a callable that gives the texts that arrived so far, one a message, oldest first. Without
    it, cases that read what arrived are skipped.
    """

    @pytest.fixture
    def delivered(self) -> Delivered | None:
        """What arrived; None = cannot be seen."""
        return None

    @pytest.fixture
    def arrived(self, notifier: Notifier, delivered: Delivered | None) -> Delivered:
        """What arrived, for cases that need to see it."""
        if delivered is None:
            pytest.skip("no fixture shows what was delivered")
        return delivered

    def test_N01_it_has_a_name(self, notifier: Notifier) -> None:
        """A name to report."""
        assert isinstance(notifier.name, str), f"name is {notifier.name!r}, expected a text"
        assert notifier.name.strip(), "name is empty"

    def test_N02_its_methods_have_the_signatures_of_the_protocol(self, notifier: Notifier) -> None:
        """The engine calls them by these arguments."""
        problems = signature_problems(Notifier, notifier)
        assert not problems, "; ".join(problems)

    def test_N03_an_alert_is_delivered_with_kind_severity_and_message(
        self, notifier: Notifier, arrived: Delivered
    ) -> None:
        """Each of the three severities; a reader has to know how bad it is and what it is about."""
        for number, severity in enumerate(("info", "warning", "critical"), 1):
            notifier.notify(_alert(f"message {number}", "order-unknown", severity))
            found = list(arrived())
            assert len(found) == number, f"{len(found)} messages arrived of {number}"
            for part in (severity, "order-unknown", f"message {number}"):
                assert part in found[-1].lower(), f"{part!r} is not in {found[-1]!r}"

    def test_N04_two_alerts_are_two_messages(self, notifier: Notifier, arrived: Delivered) -> None:
        """In the order they were given, also where they say the same; nothing waits for a later one."""
        for number, message in enumerate(("first", "second", "second"), 1):
            notifier.notify(_alert(message))
            found = list(arrived())
            assert len(found) == number, f"{number} alerts were given, {len(found)} messages arrived"
            assert message in found[-1], f"the last message is {found[-1]!r}, expected {message!r}"

    @pytest.mark.parametrize(
        "text",
        [
            "line one\nline two\r\n\tthree",
            "bell \a, escape \x1b[31m, null \x00, delete \x7f",
            "{not} {a.format} %s %(field)d $HOME ${x}",
            "<b>&amp; \"quoted\" 'single' \\ `code` *bold* _under_ @channel </b>",
            "🏦 ¥ € −1 ½ 日本円 עברית \u202e",
            "",
        ],
        ids=["lines", "control", "braces", "markup", "unicode", "empty"],
    )
    def test_N05_any_text_can_be_said(self, notifier: Notifier, text: str) -> None:
        """Line breaks, control characters, braces, markup, emoji, nothing: no error but a NotifierError."""
        try:
            notifier.notify(_alert(text))
        except NotifierError:
            return
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error}, expected a delivery or a NotifierError")

    def test_N06_a_long_text_arrives(self, notifier: Notifier, arrived: Delivered) -> None:
        """Ten kilobytes: whole, or cut with its beginning kept."""
        notifier.notify(_alert(f"begins here {_LONG}"))
        text = "".join(arrived())
        assert "begins here 0123456789" in text, f"of 10 kB arrived {text[:200]!r}"

    def test_N07_braces_are_text(self, notifier: Notifier, arrived: Delivered) -> None:
        """A message is never a template."""
        notifier.notify(_alert("weights {EUR: 0.3} at %s of 100 %"))
        assert "{EUR: 0.3} at %s of 100 %" in arrived()[-1], f"arrived as {arrived()[-1]!r}"

    def test_N08_it_changes_nothing_of_the_alert(self, notifier: Notifier) -> None:
        """Other channels are given the same one."""
        alert = _alert()
        before = repr(attrs.asdict(alert))
        notifier.notify(alert)
        assert repr(attrs.asdict(alert)) == before, f"the alert is now {alert!r}"

    def test_N09_it_keeps_nothing(self, notifier: Notifier) -> None:
        """No alert stays in it: what has to be remembered is in the journal."""
        marks = [f"mark-{n:04}" for n in range(3)]
        for mark in marks:
            notifier.notify(_alert(mark))
        kept = [mark for mark in marks if mark in _inside(notifier)]
        assert not kept, f"{kept[0]!r} is still in it after it was delivered"

    def test_N10_its_repr_shows_no_secret(self, notifier: Notifier) -> None:
        """A repr goes to logs and error reports."""
        found = _SECRET.search(repr(notifier))
        assert found is None, f"repr() shows {found[1] if found else ''}"

    def test_N11_a_check_says_what_was_found_and_sends_nothing(
        self, notifier: Notifier, delivered: Delivered | None
    ) -> None:
        """``fxcarry check`` asks a channel that has ``check()``; it answers in a line, and nobody is told anything."""
        check = getattr(notifier, "check", None)
        if check is None:
            pytest.skip("it has no check()")
        before = [] if delivered is None else list(delivered())
        said = check()
        assert isinstance(said, str), f"check() returned {said!r}, expected a text"
        assert said.strip(), "check() says nothing"
        assert said.isprintable(), f"check() says more than a line: {said!r}"
        arrived = [] if delivered is None else list(delivered())
        assert arrived == before, f"check() sent {arrived[-1]!r}"

    def test_N12_an_end_reads_otherwise_than_its_beginning(self, notifier: Notifier, arrived: Delivered) -> None:
        """A condition that is over is told with ``is_over``, whatever its message; facts of any kind can be told."""
        fields = {"nav": 1.5, "currency": "USD", "units": {"AUDUSD": -3}, "days": [1, 2], "at": _AT, "none": None}
        alert = attrs.evolve(_alert("the feed"), key="feed", fields=fields)
        notifier.notify(alert)
        notifier.notify(attrs.evolve(alert, is_over=True))
        first, second = arrived()
        assert first != second, f"beginning and end are both {first!r}"


def _inside(part: object, depth: int = 3) -> str:
    """What can be read in an object: its attributes, and what they hold, some levels down."""
    if depth == 0 or isinstance(part, str | bytes | int | float):
        return repr(part)
    if isinstance(part, dict):
        return "".join(_inside(value, depth - 1) for item in part.items() for value in item)
    if isinstance(part, list | tuple | set | frozenset):
        return "".join(_inside(value, depth - 1) for value in part)
    return repr(part) + _inside(vars(part), depth) if hasattr(part, "__dict__") else repr(part)
