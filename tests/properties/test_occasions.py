"""What holds of fxcarry.occasions for every book: parts are the whole, flows earn nothing, restarts change nothing."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.alerts import Alerts, Occasions
from fxcarry.conventions import next_weekday, session_end
from fxcarry.journal import MemoryJournal, nav_from
from fxcarry.model import Pair, Quote, Snapshot, Transaction
from fxcarry.occasions import Look, Teller
from fxcarry.occasions.teller import _reached

quick = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
restarts = st.sets(st.integers(1, 24), max_size=4)
CENT = Decimal("0.01")
OPENING = Decimal(100_000)
EVERYTHING = Occasions(digest=("daily", "weekly"))


def transactions(
    random: np.random.Generator, at: Any, held: dict[str, list[Decimal]], mids: Mapping[str, Decimal], first: int
) -> list[Transaction]:
    """What a venue books at one instant: some fills with their commissions, a night, now and then a deposit."""
    made: list[Transaction] = []

    def book(kind: Any, amount: Decimal, instrument: str = "", **facts: Any) -> None:
        identity = f"{first + len(made):05}"
        made.append(
            Transaction(id=identity, at=at, kind=kind, amount=amount, currency="USD", instrument=instrument, **facts)
        )

    if random.random() < 0.15:
        book("transfer", Decimal(int(random.integers(-20_000, 40_000))))
    for name in mids:
        if random.random() < 0.6:
            continue
        mid, per_quote = mids[name], 1 / mids["USDJPY"] if name.endswith("JPY") else Decimal(1)
        delta = Decimal(int(random.choice([-1, 1]) * random.integers(1, 9) * 1000))
        price = mid * (1 + Decimal("0.0001") * (1 if delta > 0 else -1))
        units, cost = held.setdefault(name, [Decimal(0), Decimal(0)])
        realised = Decimal(0)
        if units * delta < 0:
            closed = min(abs(units), abs(delta)).copy_sign(units)
            realised = (price - cost / units) * closed
        held[name] = [units + delta, cost + price * delta + realised]
        if not held[name][0]:
            held[name][1] = Decimal(0)
        amount = (realised * per_quote).quantize(CENT)
        book("fill", amount, name, units=delta, price=price, mid=mid, conversion=per_quote, client_id=f"c{first}{name}")
        book("commission", Decimal("-0.07"), name, client_id=f"c{first}{name}")
        if random.random() < 0.5:
            book("financing", Decimal(int(random.integers(-300, 300))) * CENT, name, days=1)
    return made


def lived(seed: int, stops: Collection[int]) -> MemoryJournal:
    """A journal of twelve days of two looks each; before the looks ``stops`` another process begins."""
    random, journal = np.random.default_rng(seed), MemoryJournal()
    mids = {"EURUSD": Decimal("1.10"), "USDJPY": Decimal(150), "EURJPY": Decimal(165)}
    held: dict[str, list[Decimal]] = {}
    alerts = Alerts(journal)
    teller, since, day, count = Teller(journal, alerts, "USD", EVERYTHING), None, date(2025, 3, 20), 0
    for number in range(24):
        is_end = bool(number % 2)
        at = session_end(day) - timedelta(hours=0 if is_end else 5)
        mids = {name: (mid * Decimal(str(1 + random.normal(0, 0.01)))).quantize(CENT**3) for name, mid in mids.items()}
        fresh = transactions(random, at, held, mids, count) if number else []
        count += len(fresh)
        snapshot = Snapshot(at, {Pair.parse(name): Quote(mid, mid, at) for name, mid in mids.items()})
        if number in stops:
            teller = Teller(journal, alerts, "USD", EVERYTHING)
        journal.import_transactions(fresh)
        journal.observe(snapshot)
        nav = nav_from(journal, "USD", mids={p: q.mid for p, q in snapshot.quotes.items()}, opening=OPENING)
        look = Look(
            at=at,
            since=since,
            nav=float(nav),
            snapshot=snapshot,
            fresh=fresh,
            nights=lambda day: (),
            headroom=dict,
            next_rebalance=lambda day: None,
        )
        teller.look(look, is_day_over=is_end)
        alerts.flush()
        since, day = at, next_weekday(day) if is_end else day
    return journal


def exact(fields: Mapping[str, Any], *names: str) -> list[Decimal]:
    return [Decimal(str(fields[name])) for name in names]


PARTS = ("spot", "carry", "cost", "translation", "other")


def said(journal: MemoryJournal, kind: str) -> Sequence[Any]:
    return [a.fields for a in journal.alerts if a.kind == kind]


@quick
@given(seeds)
def test_the_parts_are_the_change_of_nav_and_what_is_left_is_rounding(seed: int) -> None:
    journal = lived(seed, ())
    digests = said(journal, "digest")
    daily = [f for f in digests if f["period"] == "daily"]
    assert len(daily) == 12
    before = OPENING
    for fields in daily:
        pnl, flows, nav = exact(fields, "pnl", "flows", "nav")
        assert sum(exact(fields, *PARTS)) == pnl
        assert before + pnl + flows == nav
        assert abs(fields["other"]) <= 0.05
        if not flows:
            assert fields["return"] == pytest.approx(float(pnl / before), abs=1e-9)
        before = nav
    booked = journal.transactions()
    for name, kinds in (("carry", {"financing"}), ("flows", {"transfer"})):
        assert sum(exact(f, name)[0] for f in daily) == sum(t.amount for t in booked if t.kind in kinds)
    [week] = [f for f in digests if f["period"] == "weekly" and f["date"] == "2025-03-28"]
    of_week = [f for f in daily if "2025-03-24" <= f["date"] <= "2025-03-28"]
    assert exact(week, "pnl", *PARTS) == [sum(exact(f, name)[0] for f in of_week) for name in ("pnl", *PARTS)]
    growth = np.prod([1 + f["return"] for f in of_week])
    assert week["return"] == pytest.approx(growth - 1, abs=1e-12)


@quick
@given(seeds, restarts)
def test_restarts_change_nothing(seed: int, stops: set[int]) -> None:
    one, two = lived(seed, ()), lived(seed, stops)
    assert [(a.kind, a.message) for a in two.alerts] == [(a.kind, a.message) for a in one.alerts]


@quick
@given(seeds)
def test_what_came_of_closed_positions_adds_up(seed: int) -> None:
    journal = lived(seed, ())
    closed = said(journal, "position-closed")
    assert all(sum(exact(f, "spot", "carry", "cost")) == exact(f, "profit")[0] for f in closed)
    held: dict[str, Decimal] = {}
    ended = 0
    for t in journal.transactions():
        if t.kind == "fill":
            before = held.get(t.instrument, Decimal(0))
            held[t.instrument] = before + t.units
            ended += bool(before and before * held[t.instrument] <= 0)
    assert len(closed) == ended


@quick
@given(st.lists(st.floats(-0.4, 0.6), min_size=1, max_size=40), st.sampled_from([0.01, 0.05, 0.1]))
def test_a_level_is_told_again_only_after_its_neighbour(gains: list[float], step: float) -> None:
    level, told = 0.0, [0]
    for gain in gains:
        reached = _reached(gain, level, step)
        if reached != level:
            told.append(round(reached / step))
        level = reached
        assert abs(gain - level) < step + 1e-8
    assert all(a != b for a, b in itertools.pairwise(told))
