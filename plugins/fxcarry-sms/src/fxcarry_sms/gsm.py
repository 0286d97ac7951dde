"""The alphabet of text messages (GSM 7 bit, 3GPP TS 23.038), and what a text costs in segments.

A text of that alphabet has 160 units in one message, or 153 in each segment of several; a character of the extension
table takes two units, which stay in one segment. One character from outside makes the whole text UCS-2: 70 units, or
67, and a character beyond U+FFFF takes two.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right

ALPHABET = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet, without the escape to the extension table."""

EXTENSION = frozenset("\f^{}\\[~]|€")
"""Characters that take two units."""

_GSM = ALPHABET | EXTENSION
_WRITTEN = {
    character: text
    for characters, text in {
        "‐‑‒–—―−": "-",
        "“”„‟«»″": '"',
        "‘’‚‛‹›′`´": "'",
        "•·": "*",
        "⁄": "/",
        "×": "x",
        "÷": "/",
        "±": "+/-",
        "≤": "<=",
        "≥": ">=",
        "≠": "<>",
        "≈": "~",
        "→": "->",
        "←": "<-",
        "°": " deg",
        "∞": "inf",
        "μ": "u",
        "©": "(c)",
        "®": "(r)",
        "\t": " ",
        "\u2028\u2029": "\n",
        "ł": "l",
        "Ł": "L",
        "đð": "d",
        "ĐÐ": "D",
        "ħ": "h",
        "Ħ": "H",
        "ı": "i",
        "œ": "oe",
        "Œ": "OE",
        "þ": "th",
        "Þ": "Th",
        "∆": "Δ",
        "₹": "INR",
        "₽": "RUB",
        "₩": "KRW",
        "₺": "TRY",
        "₪": "ILS",
        "฿": "THB",
    }.items()
    for character in characters
}
_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Mc", "Me", "Mn", "Sk", "So"}  # dropped: emoji, and what joins them
_JOINER = "\u200d"


def is_gsm(text: str) -> bool:
    """Whether every character is in the GSM alphabet or its extension table."""
    return _GSM.issuperset(text)


def units(character: str, *, gsm: bool) -> int:
    """What one character takes: septets in GSM, UTF-16 code units in UCS-2."""
    return 1 + (character in EXTENSION if gsm else character > "\uffff")


def segments(text: str) -> int:
    """How many segments ``text`` costs; none is one."""
    gsm = is_gsm(text)
    sizes = [units(character, gsm=gsm) for character in text]
    single, joined = (160, 153) if gsm else (70, 67)
    if sum(sizes) <= single:
        return 1
    count, used = 1, 0
    for size in sizes:
        used += size
        if used > joined:
            count, used = count + 1, size
    return count


def written(text: str) -> str:
    """``text`` in the GSM alphabet where that keeps its meaning, so that it does not cost twice as much.

    Accents that GSM lacks go, − becomes -, an emoji is left out, what cannot be said is "?". Where more than a third of
    the letters could not be said, the text is in another script and stays as it is.
    """
    letters = lost = 0
    said = []
    for character in text:
        is_letter = unicodedata.category(character)[0] == "L"
        one = _one(character)
        letters += is_letter
        lost += is_letter and "?" in one
        said.append(one)
    return text if lost * 3 > letters else "".join(said)


def _one(character: str) -> str:
    """One character in the GSM alphabet; "?" where it cannot be said, nothing where nothing is missed."""
    if character in _GSM:
        return character
    if character in _WRITTEN:
        return _WRITTEN[character]
    parts = unicodedata.normalize("NFKD", character)
    if parts != character:
        said = "".join(map(_one, parts))
        return "?" if "?" in said else said
    return "" if unicodedata.category(character) in _UNSEEN else "?"


def cut(text: str, limit: int, end: str = "") -> str:
    """``text`` and ``end`` in at most ``limit`` segments; where they are more, "..." stands for the end of ``text``.

    It is cut between characters as they are seen, not inside an emoji or before an accent.
    """
    if segments(text + end) <= limit:
        return text + end
    short = range(min(len(text), 160 * limit) + 1)
    length = bisect_right(short, limit, key=lambda length: segments(text[:length].rstrip() + "..." + end)) - 1
    while length > 0 and _is_joined(text, length):
        length -= 1
    return text[: max(length, 0)].rstrip() + "..." + end


def _is_joined(text: str, at: int) -> bool:
    """Whether the characters before and after a place are seen as one."""
    before, after = text[at - 1], text[at : at + 1]
    if before == _JOINER or after == _JOINER or (after and unicodedata.category(after) in ("Mn", "Mc", "Me")):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":  # a tone of skin, a tag
        return True
    run = at
    while run > 0 and "\U0001f1e6" <= text[run - 1] <= "\U0001f1ff":  # a flag is two letters
        run -= 1
    return "\U0001f1e6" <= after <= "\U0001f1ff" and (at - run) % 2 == 1
