"""What holds for every text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fxcarry_sms.channel import message
from fxcarry_sms.gsm import ALPHABET, EXTENSION, cut, is_gsm, segments, written

from .conftest import alert

TEXTS = st.text(max_size=400) | st.text(st.sampled_from("ab {}€日😀−é\u200d\U0001f1e8\U0001f3fd"), max_size=900)
GSM = st.text(st.sampled_from(sorted(ALPHABET | EXTENSION)), max_size=900)


def naive(text: str) -> int:
    """Segments, one character after the other put into lists of units."""
    is_seven = all(c in ALPHABET or c in EXTENSION for c in text)
    pieces = [["esc", c] if is_seven and c in EXTENSION else [c] for c in text]
    if not is_seven:
        pieces = [
            [c[i : i + 2] for i in range(0, len(c), 2)] for c in (x.encode("utf-16-be", "surrogatepass") for x in text)
        ]
    if sum(map(len, pieces)) <= (160 if is_seven else 70):
        return 1
    parts: list[list[object]] = [[]]
    for piece in pieces:
        if len(parts[-1]) + len(piece) > (153 if is_seven else 67):
            parts.append([])
        parts[-1] += piece
    return len(parts)


@given(TEXTS | GSM)
def test_segments_are_those_of_the_plain_way(text: str) -> None:
    assert segments(text) == naive(text)


@given(TEXTS, st.integers(1, 10))
def test_what_is_cut_fits_and_begins_as_before(text: str, limit: int) -> None:
    end = "\n2025-03-12 13:05:09 UTC"
    short = cut(text, limit, end)
    assert segments(short) <= limit
    assert len(short) <= 1600
    assert short.endswith(end)
    if short != text + end:
        assert segments(text + end) > limit
        assert text.startswith(short.removesuffix(f"...{end}"))


@given(GSM)
def test_what_is_in_the_alphabet_stays(text: str) -> None:
    assert written(text) == text


@given(TEXTS)
def test_written_is_in_the_alphabet_or_as_it_was(text: str) -> None:
    said = written(text)
    assert is_gsm(said) or said == text
    assert written(said) == said


@given(TEXTS, st.sampled_from(["info", "warning", "critical"]), st.integers(1, 10), st.booleans())
def test_every_alert_is_a_message_that_can_be_sent(text: str, severity: str, limit: int, is_over: bool) -> None:
    said = message(alert(text, severity=severity, is_over=is_over), limit)
    assert segments(said) <= limit
    assert said.startswith(f"fxcarry {severity.upper()} order-unknown")
    assert said.endswith("\n2025-03-12 13:05:09 UTC")
    said.encode("utf-16-be")
