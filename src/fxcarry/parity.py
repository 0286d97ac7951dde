"""Does a backtest of the same days do what the engine did? Decision by decision, fill by fill, roll by roll, to the
cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import attrs

from fxcarry.model import Transaction

_PRICE = Decimal("1e-9")  # of the price: two ways of making one cross rate differ in the last digits of a float
_WEIGHT = 1e-9  # of NAV, for the same reason
Decisions = Mapping[datetime, Mapping[str, float]]
"""What may be held by instrument, as fractions of NAV, at each instant at which a target was decided."""

_FACTS = ("units", "price", "amount", "currency", "trade_date", "days")  # of two at the same place


@attrs.frozen(kw_only=True)
class Parity:
    """``recorded`` and ``replayed`` transactions, and the ``differences`` between them, a sentence each.

    ``carry`` is (recorded, replayed) financing in all, in account currency; ``decided`` how many targets were decided.
    """

    recorded: int
    replayed: int
    carry: tuple[Decimal, Decimal]
    decided: tuple[int, int]
    differences: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether there is no difference."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "recorded": self.recorded,
            "replayed": self.replayed,
            "carry_recorded": float(self.carry[0]),
            "carry_replayed": float(self.carry[1]),
            "decisions_recorded": self.decided[0],
            "decisions_replayed": self.decided[1],
            "differences": list(self.differences),
        }


def compare(
    recorded: Iterable[Transaction],
    replayed: Iterable[Transaction],
    decided: Decisions = MappingProxyType({}),
    decided_there: Decisions = MappingProxyType({}),
) -> Parity:
    """What the engine decided and the venue booked against what a backtest of the same days does, by instant and
    instrument.

    Ids are the venue's own and are not compared; prices and weights to nine digits, money to the cent.
    """
    ours, theirs = (sorted(found, key=_place) for found in (recorded, replayed))
    left: dict[Any, list[Transaction]] = {}
    for one in theirs:
        left.setdefault(_place(one), []).append(one)
    odd = []
    for one in ours:  # first those that have a twin, then what is left of the same instant and instrument
        twin = next((t for t in left.get(_place(one), []) if not _differ(one, t)), None)
        if twin is None:
            odd.append(one)
        else:
            left[_place(one)].remove(twin)
    differences: list[str] = []
    for one in odd:
        others = left.get(_place(one), [])
        if others:
            twin = others.pop(0)
            facts = [
                f"{name} {getattr(one, name)} recorded, {getattr(twin, name)} in the backtest"
                for name in _differ(one, twin)
            ]
            differences.append(f"{_told(one)}: {', '.join(facts)}")
        else:
            differences.append(f"{_told(one)}: recorded, but not in the backtest")
    differences += [f"{_told(one)}: in the backtest, but not recorded" for others in left.values() for one in others]
    differences = [*_between(decided, decided_there), *differences]
    carry = tuple(sum((t.amount for t in found if t.kind == "financing"), Decimal(0)) for found in (ours, theirs))
    return Parity(
        recorded=len(ours),
        replayed=len(theirs),
        carry=(carry[0], carry[1]),
        decided=(len(decided), len(decided_there)),
        differences=tuple(differences),
    )


def _between(ours: Decisions, theirs: Decisions) -> Iterator[str]:
    for at in sorted({*ours, *theirs}):
        when = f"{at:%Y-%m-%d %H:%M} target"
        if at not in theirs or at not in ours:
            yield f"{when}: {'recorded, but not' if at in ours else 'decided'} in the backtest" + (
                "" if at in ours else ", but not recorded"
            )
            continue
        for name in sorted({*ours[at], *theirs[at]}):
            one, other = ours[at].get(name, 0.0), theirs[at].get(name, 0.0)
            if not abs(one - other) <= _WEIGHT:
                yield f"{when} {name}: weight {one:.9f} recorded, {other:.9f} in the backtest"


def _place(one: Transaction) -> tuple[Any, ...]:
    return one.at, one.kind, one.instrument or ""


def _differ(one: Transaction, other: Transaction) -> Sequence[str]:
    found = []
    for name in _FACTS:
        a, b = getattr(one, name), getattr(other, name)
        near = name == "price" and a is not None and b is not None and abs(a - b) <= _PRICE * abs(a)
        if a != b and not near:
            found.append(name)
    return found


def _told(one: Transaction) -> str:
    return f"{one.at:%Y-%m-%d %H:%M} {one.kind} {one.instrument or ''}".rstrip()
