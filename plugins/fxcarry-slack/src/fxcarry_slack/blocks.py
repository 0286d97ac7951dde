"""An alert as Slack shows it: blocks, within their limits, in which nothing of an alert can mention or link."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fxcarry.alerts import Words, one_line, words
from fxcarry.model import Alert

HEADER, SECTION, FIELD, FIELDS, BLOCKS, TEXT = 150, 3000, 2000, 10, 50, 4000
"""Characters of a header, a section and a field, fields of a section, blocks of a message; characters of its text."""

_COUNTED = BLOCKS - 8  # for facts: what else there is, is less than eight


def escaped(text: str) -> str:
    """``text`` for a place where Slack reads marks: no mention, no link, no entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def message(alert: Alert, mentions: str = "") -> dict[str, Any]:
    """``text``, which notifications show, and ``blocks``; ``mentions`` are told in a critical alert."""
    said = words(alert)
    called = mentions if alert.severity == "critical" and not alert.is_over else ""
    text = _cut(f"{called} {escaped(said.subject)}".strip(), TEXT)
    return {"text": text, "blocks": list(_blocks(alert, said, called))}


def _blocks(alert: Alert, said: Words, called: str) -> Iterator[dict[str, Any]]:
    yield {"type": "header", "text": _plain(f"{alert.severity}: {said.title}", HEADER)}
    if called:
        yield {"type": "section", "text": {"type": "mrkdwn", "text": called}}
    if said.happened.strip():
        yield {"type": "section", "text": _plain(said.happened, SECTION)}
    for label, answer in said.answers:
        if answer:
            yield {"type": "section", "text": _plain(f"{label}: {answer}", SECTION)}
    facts = [_plain(f"{label}\n{value}", FIELD) for label, value in said.facts]
    for i in range(0, min(len(facts), _COUNTED * FIELDS), FIELDS):
        yield {"type": "section", "fields": facts[i : i + FIELDS]}
    yield {"type": "context", "elements": [_plain(f"{said.at} · {one_line(alert.kind)} · fxcarry", SECTION)]}


def _plain(text: str, most: int) -> dict[str, Any]:
    """Text in which Slack reads no marks."""
    return {"type": "plain_text", "text": _cut(text, most), "emoji": False}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
