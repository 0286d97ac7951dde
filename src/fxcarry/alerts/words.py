"""Alerts in words that a person can act on: what happened, what the engine did, what the reader may do.

Every channel writes an alert with :func:`words`, so that all of them say the same. A message is text, never a template,
and nothing in it can break a line of a header or steer a terminal.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import attrs

from fxcarry.alerts.kinds import AlertKind
from fxcarry.model import Alert

_LONGEST = 150  # characters of a subject
_STEERING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINS = {"\u200c", "\u200d", "\ufe0e", "\ufe0f"}  # parts of emoji and of words in some scripts
_UNITS = {"_bps": " bps", "_pips": " pips", "_pct": " %", "_ann": " a year", "_s": " s"}
_MONEY = frozenset(
    (
        "nav",
        "spot",
        "carry",
        "cost",
        "pnl",
        "profit",
        "financing",
        "commission",
        "notional",
        "tonight",
        "cash",
        "high_water",
        "day_start",
    )
)

_SAID_IN_FULL = frozenset(
    {
        AlertKind.TRADE_EXECUTED,
        AlertKind.POSITION_CLOSED,
        AlertKind.ROLLOVER_TONIGHT,
        AlertKind.MILESTONE,
        AlertKind.DIGEST,
    }
)
"""Kinds whose message has every number of their fields."""

_WORDS: Mapping[str, tuple[str, str, str]] = {
    AlertKind.ENGINE_START: ("The engine runs", "It took up what the journal remembers and looks at the market.", ""),
    AlertKind.ENGINE_STOP: (
        "The engine stopped as asked",
        "It finished the look in hand. Stops at the venue stay; nothing is decided until it runs again.",
        "Start it again with: fxcarry run",
    ),
    AlertKind.ENGINE_CRASH: (
        "The engine ended with an error",
        "Nothing is sent any more. Stops at the venue stay, positions stay open.",
        "Read trading_system.log, mend the cause, start it again: it recovers. To be out: fxcarry flatten",
    ),
    AlertKind.HEARTBEAT_MISSED: (
        "The engine is silent",
        "Nobody looks at the market. Stops at the venue stay, positions stay open.",
        "fxcarry status says what it last did; start it again, or be out with: fxcarry flatten",
    ),
    AlertKind.OPERATOR: (
        "An operator changed something",
        "A command, plan or configuration was taken, or refused with the reason above.",
        "If it was not you: fxcarry pause, and find out who has access.",
    ),
    AlertKind.TRADE_EXECUTED: ("Trades were executed", "They are in the book.", ""),
    AlertKind.POSITION_CLOSED: ("A position was closed", "It is out of the book.", ""),
    AlertKind.TRADING_STATE: (
        "The trading state changed",
        "Reducing opens nothing, halted closes everything; stops go on.",
        "fxcarry status says why. What a person must lift: fxcarry resume --reason …",
    ),
    AlertKind.STOP_LOSS: (
        "A stop-loss was triggered",
        "The position was closed; its pair and side stay out until the next rebalance.",
        "Nothing need be done.",
    ),
    AlertKind.STOP_MISSING: (
        "A position had no stop at the venue",
        "The stop was placed again, or is tried again at every look.",
        "Where it could not be placed, place one at the venue yourself.",
    ),
    AlertKind.RISK_LIMIT: (
        "A risk limit holds something up",
        "Orders that break it are reduced or wait; stops and closing go on.",
        "fxcarry plan shows every rule with its headroom.",
    ),
    AlertKind.FEED_ERROR: (
        "Market data fails",
        "Nothing opens on prices that cannot be trusted; stops at the venue stay; it tries again at every look.",
        "fxcarry check --only feed says which source and why.",
    ),
    AlertKind.BROKER_ERROR: (
        "The venue cannot be reached",
        "Nothing is sent; stops at the venue stay; it tries again at every look.",
        "fxcarry check --only broker says where it fails. Meanwhile use the venue's own platform or phone.",
    ),
    AlertKind.ORDER_REJECTED: (
        "The venue refused an order",
        "It decides anew at the next look; after three refusals in a row it gives up what it wanted.",
        "Read the reason: margin, size and permissions are yours to change.",
    ),
    AlertKind.ORDER_WAITING: (
        "An order waits at the venue",
        "It stays there; nothing is sent in its place.",
        "Cancel it at the venue if you no longer want it.",
    ),
    AlertKind.LATE_FILL: (
        "An order was filled after it was over",
        "It is in the book; the next decision counts with it.",
        "Nothing need be done, unless it comes again: then ask the venue.",
    ),
    AlertKind.ORDER_UNKNOWN: (
        "Nobody knows what became of an order",
        "Nothing is sent in its pair until the venue has said what became of it, so there is no second order.",
        "Look at the venue's own page; do not send it by hand. It clears by itself.",
    ),
    AlertKind.RECONCILIATION_BREAK: (
        "Journal and venue disagree",
        "A pair that differs is locked: nothing opens in it until they agree. Cash that differs is only told.",
        "Did somebody trade or move cash by hand? fxcarry status names what is locked.",
    ),
    AlertKind.FINANCING_LEAK: (
        "Less carry was booked than expected",
        "Nothing: what was booked is booked.",
        "fxcarry financing sets expected and booked side by side; ask the venue about the difference.",
    ),
    AlertKind.ROLLOVER_TONIGHT: (
        "Positions roll tonight",
        "They stay open over 17:00 New York.",
        "fxcarry carry shows what each of them earns.",
    ),
    AlertKind.MILESTONE: (
        "A milestone of performance",
        "",
        "fxcarry export books writes every trade and every night's financing.",
    ),
    AlertKind.DIGEST: ("Digest", "", ""),
    AlertKind.CLOCK_JUMP: (
        "The clock jumped",
        "Back: nothing is done until it has passed the last look. Forward: no look in between was made.",
        "Set the clock right and keep it so (NTP); keep the machine from sleeping. Stops at the venue stay.",
    ),
    AlertKind.LIQUIDATION: (
        "The account is being closed",
        "Trading is halted, orders are cancelled, positions closed. A venue out of reach is asked for half a minute.",
        "Not closed? fxcarry flatten again, or close at the venue. To trade again: fxcarry resume --reason …",
    ),
    AlertKind.PLAN_REFUSED: (
        "A plan was not carried out",
        "Nothing of it was sent.",
        "Make another: fxcarry plan, then fxcarry apply.",
    ),
    AlertKind.PERFORMANCE_LOG: (
        "A day is missing in the performance log",
        "Trading goes on; the journal has the day.",
        "Is the disk full, or the file changed? fxcarry export books writes what was traded that day.",
    ),
    AlertKind.HELD_BACK: (
        "Alerts were not sent one by one",
        "They came faster than this channel may be told; each is in the journal.",
        "fxcarry alerts list shows them.",
    ),
    AlertKind.SELF_TEST: ("This channel works", "", ""),
}
"""Of each kind its title, what the engine does about it, and what the reader may do."""


@attrs.frozen(kw_only=True)
class Words:
    """An alert in words. ``subject`` is one printable line that names severity and kind; ``facts`` are labels with
    values that carry their units. ``did`` and ``may`` are empty where there is nothing to say.
    """

    subject: str
    title: str
    happened: str
    did: str
    may: str
    facts: tuple[tuple[str, str], ...]
    at: str

    def text(self) -> str:
        """All of it as plain text, a paragraph each."""
        parts = [self.subject, self.at, self.happened]
        parts += [f"{label}: {said}" for label, said in self.answers if said]
        parts += ["\n".join(f"{label}: {value}" for label, value in self.facts)]
        return "\n\n".join(part for part in parts if part)

    @property
    def answers(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """What the engine did and what the reader may do, each with its label."""
        return ("What the engine does", self.did), ("What you may do", self.may)


def words(alert: Alert) -> Words:
    """An alert in words."""
    title, did, may = _WORDS.get(alert.kind, (alert.kind, "", ""))
    if alert.is_over:
        title, did, may = f"Over: {title[:1].lower()}{title[1:]}", "", ""
    happened = printable(alert.message, lines=True)
    first = happened.strip().partition("\n")[0] or title
    subject = one_line(f"fxcarry {alert.severity}: {alert.kind}: {first}")
    if len(subject) > _LONGEST:
        subject = f"{subject[: _LONGEST - 1]}…"
    return Words(
        subject=subject,
        title=one_line(title),
        happened=happened,
        did=did,
        may=may,
        facts=() if alert.kind in _SAID_IN_FULL else tuple(_facts(alert.fields)),
        at=f"{alert.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
    )


def printable(text: str, *, lines: bool = False) -> str:
    """``text`` with everything that breaks a line, steers a terminal or turns the direction of writing written as an
    escape (``\\x1b``); ``lines``: line breaks stay.
    """
    if lines:
        text = text.replace("\r\n", "\n").replace("\t", "    ")
    return "".join(c if _is_plain(c) or (lines and c == "\n") else _escaped(c) for c in text)


def one_line(text: str) -> str:
    """``text`` as one printable line: breaks become spaces."""
    return printable(" ".join(text.split()))


def in_a_line(message: str) -> str:
    """The lines of a message as one printable line, with | between them."""
    return printable(" | ".join(message.split("\n")))


def _is_plain(character: str) -> bool:
    return character in _JOINS or unicodedata.category(character) not in _STEERING


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode()


def _facts(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and value of each field; money has the currency that the field ``currency`` names."""
    currency = fields.get("currency", "")
    unit = f" {currency}" if isinstance(currency, str) and currency else ""
    return [
        (one_line(_label(name)), printable(_value(value, unit if name in _MONEY else _unit(name))))
        for name, value in fields.items()
        if name != "currency" or not any(other in _MONEY for other in fields)
    ]


def _label(name: str) -> str:
    suffix = next((end for end in _UNITS if name.endswith(end)), "")
    return name.removesuffix(suffix).replace("_", " ")


def _unit(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _value(value: Any, unit: str) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{_label(str(key))} {_value(one, _unit(str(key)) or unit)}" for key, one in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return "; ".join(_value(one, unit) for one in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unknown"}[value]
    if isinstance(value, datetime):
        return f"{value if value.tzinfo is None else value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:,f}{unit}" if value.is_finite() else "unknown"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "unknown"
        return f"{value:,.2f}{unit}" if unit and abs(value) >= 0.005 else f"{value:,.6g}{unit}"
    if isinstance(value, int):
        return f"{value:,}{unit}"
    return f"{value}{unit}"
