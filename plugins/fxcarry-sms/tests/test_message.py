"""An alert as a text message."""

from __future__ import annotations

import pytest

from fxcarry_sms.channel import message
from fxcarry_sms.gsm import is_gsm, segments

from .conftest import alert

AT = "\n2025-03-12 13:05:09 UTC"
HEAD = "fxcarry CRITICAL order-unknown:"
MAY = "\nLook at the venue's own page; do not send it by hand. It clears by itself."


def test_what_happened_what_you_may_do_and_when() -> None:
    assert message(alert(), 2) == f"{HEAD} order b-17 timed out{MAY}{AT}"


def test_what_you_may_do_is_left_out_where_it_does_not_fit() -> None:
    long = "x" * (160 - len(HEAD) - 1 - len(AT))
    assert message(alert(long), 1) == f"{HEAD} {long}{AT}"
    assert segments(message(alert(long), 1)) == 1
    assert message(alert(f"{long}x"), 1) == f"{HEAD} {long[:-3]}...{AT}"
    assert MAY in message(alert(long), 2)


def test_over_says_so_and_has_nothing_to_do() -> None:
    said = message(alert("the venue answered", is_over=True, severity="info"), 2)
    assert said == f"fxcarry INFO order-unknown over: the venue answered{AT}"


def test_without_a_message_its_title() -> None:
    for nothing in ("", " \n ", "🚨"):
        assert f"{HEAD} Nobody knows what became of an order" in message(alert(nothing), 2)


def test_spaces_and_empty_lines_are_not_paid_for() -> None:
    assert f"{HEAD} one two\nthree\nfour\n" in message(alert(" one   two \n\n\r\n\tthree\n 🚨 \nfour  "), 2)


def test_ten_kilobytes_are_cut_and_the_time_stays() -> None:
    said = message(alert("begins here " + "0123456789" * 1024), 3)
    assert said.startswith(f"{HEAD} begins here 0123456789")
    assert said.endswith(f"...{AT}")
    assert (segments(said), len(said)) == (3, 459)
    assert len(message(alert("0123456789" * 1024), 10)) == 1530


def test_one_emoji_or_minus_does_not_double_the_price() -> None:
    said = message(alert("🚨 NAV −3.2 % … " + "x" * 200), 2)
    assert "NAV -3.2 % ... xxx" in said
    assert is_gsm(said)
    assert segments(said) == 2


def test_another_script_is_sent_as_it_is() -> None:
    said = message(alert("注文の結果が不明です"), 2)
    assert "注文の結果が不明です" in said
    assert segments(said) <= 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bell \a, escape \x1b[31m, null \x00", r"bell \x07, escape \x1b[31m, null \x00"),
        ("X-Injected: 1\r\nTo: +15005550009", "X-Injected: 1\nTo: +15005550009"),
        ("turn \u202e around", r"turn \u202e around"),
        ("lone \ud800 half", r"lone \ud800 half"),
        ("{a.format} %s %(field)d $HOME {{x}}", "{a.format} %s %(field)d $HOME {{x}}"),
    ],
)
def test_nothing_steers_and_nothing_is_a_template(text: str, shown: str) -> None:
    assert message(alert(text), 3).startswith(f"{HEAD} {shown}\n")


def test_a_kind_of_somebody_elses_is_one_line() -> None:
    assert message(alert("m", kind="my\nkind"), 2) == f"fxcarry CRITICAL my kind: m{AT}"
