"""An alert as Slack shows it: blocks, within their limits, in which nothing of an alert can mention or link."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from fxcarry.alerts import Words, one_line, words
from fxcarry.model import Alert

HEADER, SECTION, FIELD, FIELDS, TEXT = 150, 3000, 2000, 10, 4000
"""Characters of a header, a section and a field, fields of a section, characters of a message's text."""

BLOCKS = 11_000
"""Characters of all blocks as JSON. Slack documents no limit; it was seen to refuse (``msg_blocks_too_long``) from
about 13,200 on, to which each block adds about 110 of Slack's own.
"""

_HAPPENED, _ANSWER, _FACT, _LINE = 5000, 1200, 2500, 900  # of them: what happened, an answer, a fact, a line
_FACTS = 100
_ROW = len('{"type": "section", "fields": []}, ')


def escaped(text: str) -> str:
    """``text`` for a place where Slack reads marks: no mention, no link, no entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def message(alert: Alert, mentions: str = "") -> dict[str, Any]:
    """``text``, which notifications show, and ``blocks``; ``mentions`` are told in a critical alert."""
    said = words(alert)
    called = mentions if alert.severity == "critical" and not alert.is_over else ""
    over = "over: " if alert.is_over else ""
    text = _cut(f"{called} {over}{escaped(said.subject)}".strip(), TEXT)
    return {"text": text, "blocks": _blocks(alert, said, called), "unfurl_links": False, "unfurl_media": False}


def _blocks(alert: Alert, said: Words, called: str) -> list[dict[str, Any]]:
    top: list[dict[str, Any]] = [{"type": "header", "text": _plain(f"{alert.severity}: {said.title}", HEADER, _LINE)}]
    if called:
        top.append({"type": "section", "text": {"type": "mrkdwn", "text": called}})
    if said.happened.strip():
        top.append({"type": "section", "text": _plain(said.happened, SECTION, _HAPPENED)})
    for label, answer in said.answers:
        if answer:
            top.append({"type": "section", "text": _plain(f"{label}: {answer}", SECTION, _ANSWER)})
    end = {"type": "context", "elements": [_plain(f"{said.at} · {one_line(alert.kind)} · fxcarry", HEADER, _LINE)]}
    facts = list(_fields(said, BLOCKS - _weight([*top, end])))
    rows = [{"type": "section", "fields": facts[i : i + FIELDS]} for i in range(0, len(facts), FIELDS)]
    return [*top, *rows, end]


def _plain(text: str, most: int, heaviest: int = BLOCKS) -> dict[str, Any]:
    """Text in which Slack reads no marks, of ``most`` characters and of ``heaviest`` as JSON."""
    return {"type": "plain_text", "text": _cut(_cut(text, most), heaviest, _weight), "emoji": False}


def _fields(said: Words, room: int) -> Iterator[dict[str, Any]]:
    """The facts that there is ``room`` for, as JSON; the others are counted."""
    room -= _weight(_more(len(said.facts))) + _ROW
    for i, (label, value) in enumerate(said.facts):
        field = _plain(f"{label}\n{value}", FIELD, _FACT)
        room -= _weight(field) + len(", ") + (_ROW if i % FIELDS == 0 else 0)
        if room < 0 or i == _FACTS:
            yield _more(len(said.facts) - i)
            return
        yield field


def _more(count: int) -> dict[str, Any]:
    return _plain(f"… and {count} more", FIELD)


def _length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _weight(part: Any) -> int:
    """Characters as JSON, in which every sign beyond ASCII has six or twelve: nobody counts it as longer."""
    return len(json.dumps(part))


def _cut(text: str, most: int, size: Callable[[str], int] = _length) -> str:
    """The beginning of ``text`` where it is longer, and …; an emoji counts as two, as Slack counts."""
    if size(text) <= most:
        return text
    room = most - (size(f"{text}…") - size(text))
    return text[: bisect_right(range(len(text) + 1), room, key=lambda end: size(text[:end])) - 1] + "…"
