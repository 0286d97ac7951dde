"""The alphabet and the arithmetic of 3GPP TS 23.038 and 23.040, on counts known from there."""

from __future__ import annotations

import pytest

from fxcarry_sms.gsm import ALPHABET, EXTENSION, cut, is_gsm, segments, written

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
THUMB = "\U0001f44d\U0001f3fd"
SWISS = "\U0001f1e8\U0001f1ed"


def test_the_alphabet_has_the_size_of_the_standard() -> None:
    assert len(ALPHABET) == 128 - 1  # septets, less the escape
    assert len(EXTENSION) == 10  # nine signs and the page break
    assert not ALPHABET & EXTENSION


@pytest.mark.parametrize("character", "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà\n\r 09AZaz^{}\\[~]|€")
def test_in_the_alphabet(character: str) -> None:
    assert is_gsm(character)


@pytest.mark.parametrize("character", "çáíóúÀêëΑ`´−–…“”’•½日ł\t\x1b\u00a0😀")
def test_not_in_the_alphabet(character: str) -> None:
    assert not is_gsm(character)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 1530, 10),
        ("a" * 1531, 11),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("€" * 152, 2),  # 153 septets hold 76 of them: a pair is not torn
        ("€" * 153, 3),
        ("a" * 159 + "{", 2),
        ("a" * 158 + "{", 1),
        ("a" * 152 + "{" + "a" * 151, 2),  # one septet stays empty
        ("a" * 152 + "{" + "a" * 152, 3),  # 306 septets, and yet three
        ("日" * 70, 1),
        ("日" * 71, 2),
        ("日" * 134, 2),
        ("日" * 135, 3),
        ("😀" * 35, 1),  # 70 code units
        ("😀" * 36, 2),
        ("😀" * 70, 3),  # 33 in each: a surrogate pair is not torn
        ("😀" * 66, 2),
        ("😀" * 67, 3),
        ("a" * 69 + "−", 1),
        ("a" * 70 + "−", 2),  # one minus sign, and 71 letters cost two
    ],
)
def test_segments(text: str, expected: int) -> None:
    assert segments(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("−1.5 % … “quoted” ‘it’ – done", "-1.5 % ... \"quoted\" 'it' - done"),
        ("café à Zürich: Ç, ç, Š, š", "café à Zürich: Ç, c, S, s"),
        ("Łódź, Đà Nẵng, Reykjavík, Tromsø, œuvre", "Lódz, Dà Nang, Reykjavik, Tromsø, oeuvre".replace("ó", "o")),
        ("€ 5 × 3 ≤ ±2 → ok ½", "€ 5 x 3 <= +/-2 -> ok 1/2"),
        ("a\u00a0b\u2009c\u202fd", "a b c d"),
        ("ﬁne ² ™ µ", "fine 2 TM u"),
        ("🚨 down 👍🏽 " + FAMILY + SWISS, " down  "),
        ("price in ₹ and ฿", "price in INR and THB"),
        ("the pair 日元 is out", "the pair ?? is out"),
        ("weights {EUR: 0.3} [a|b] ~^\\", "weights {EUR: 0.3} [a|b] ~^\\"),
        ("", ""),
    ],
)
def test_what_is_written(text: str, expected: str) -> None:
    assert written(text) == expected
    assert is_gsm(expected)


@pytest.mark.parametrize("text", ["日本円の注文", "order: הזמנה לא ידועה", "ордер неизвестен", "order 가나다라"])
def test_another_script_stays(text: str) -> None:
    assert written(text) == text
    assert not is_gsm(text)


def test_a_third_of_the_letters_may_be_lost_and_no_more() -> None:
    assert written("ab日") == "ab?"
    assert written("a日") == "a日"


def test_what_fits_is_whole() -> None:
    assert cut("a" * 150, 1, "\n123456789") == "a" * 150 + "\n123456789"
    assert cut("a" * 151, 1, "\n123456789") == "a" * 147 + "...\n123456789"


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("a" * 161, 1, "a" * 157 + "..."),
        ("a" * 307, 2, "a" * 303 + "..."),
        ("{" * 81, 1, "{" * 78 + "..."),  # 156 septets and three
        ("日" * 71, 1, "日" * 67 + "..."),
        ("😀" * 36, 1, "😀" * 33 + "..."),  # 66 code units and three; 68 would be one too many
        ("a" * 150 + " " * 5 + "b" * 20, 1, "a" * 150 + "  " + "   bb..."),
        ("a" * 150 + " " * 20 + "b" * 20, 1, "a" * 150 + "..."),  # no space before the dots
        ("日" * 62 + FAMILY * 2, 1, "日" * 62 + "..."),
        ("日" * 64 + THUMB * 2, 1, "日" * 64 + "..."),
        ("日" * 64 + SWISS * 2, 1, "日" * 64 + "..."),
        ("日" * 60 + SWISS * 4, 1, "日" * 60 + SWISS + "..."),
        ("日" * 66 + "e\u0301" * 3, 1, "日" * 66 + "..."),
    ],
)
def test_what_is_cut(text: str, limit: int, expected: str) -> None:
    assert cut(text, limit) == expected
    assert segments(expected) == limit
