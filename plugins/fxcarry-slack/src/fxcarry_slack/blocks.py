"""An alert as Slack shows it: blocks, within their limits, in which nothing of an alert can mention or link."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fxcarry.alerts import Words, one_line, words
from fxcarry.model import Alert

HEADER, SECTION, FIELD, FIELDS, TEXT = 150, 3000, 2000, 10, 4000
"""Characters of a header, a section and a field, fields of a section, characters of a message's text."""

_FACTS, _ROOM = 100, 8000  # facts of a message, and their characters: far from what Slack calls too long


def escaped(text: str) -> str:
    """``text`` for a place where Slack reads marks: no mention, no link, no entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def message(alert: Alert, mentions: str = "") -> dict[str, Any]:
    """``text``, which notifications show, and ``blocks``; ``mentions`` are told in a critical alert."""
    said = words(alert)
    called = mentions if alert.severity == "critical" and not alert.is_over else ""
    over = "over: " if alert.is_over else ""
    text = _cut(f"{called} {over}{escaped(said.subject)}".strip(), TEXT)
    return {"text": text, "blocks": list(_blocks(alert, said, called)), "unfurl_links": False, "unfurl_media": False}


def _blocks(alert: Alert, said: Words, called: str) -> Iterator[dict[str, Any]]:
    yield {"type": "header", "text": _plain(f"{alert.severity}: {said.title}", HEADER)}
    if called:
        yield {"type": "section", "text": {"type": "mrkdwn", "text": called}}
    if said.happened.strip():
        yield {"type": "section", "text": _plain(said.happened, SECTION)}
    for label, answer in said.answers:
        if answer:
            yield {"type": "section", "text": _plain(f"{label}: {answer}", SECTION)}
    facts = list(_fields(said))
    for i in range(0, len(facts), FIELDS):
        yield {"type": "section", "fields": facts[i : i + FIELDS]}
    yield {"type": "context", "elements": [_plain(f"{said.at} · {one_line(alert.kind)} · fxcarry", SECTION)]}


def _plain(text: str, most: int) -> dict[str, Any]:
    """Text in which Slack reads no marks."""
    return {"type": "plain_text", "text": _cut(text, most), "emoji": False}


def _fields(said: Words) -> Iterator[dict[str, Any]]:
    """The facts; those that there is no room for are counted."""
    room = _ROOM
    for i, (label, value) in enumerate(said.facts):
        field = _plain(f"{label}\n{value}", FIELD)
        room -= _length(field["text"])
        if room < 0 or i == _FACTS:
            yield _plain(f"… and {len(said.facts) - i} more", FIELD)
            return
        yield field


def _cut(text: str, most: int) -> str:
    """The beginning of ``text`` where it is longer, and …; an emoji counts as two, as Slack counts."""
    if _length(text) <= most:
        return text
    kept = text[: most - 1]
    while _length(kept) > most - 1:
        kept = kept[: len(kept) - max(1, (_length(kept) - most + 1) // 2)]
    return f"{kept}…"


def _length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
