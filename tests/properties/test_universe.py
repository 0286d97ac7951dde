"""Membership for any table and any days: it never needs what comes later, and a leaver is out in time."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import attrs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.clock import Frequency, is_due
from fxcarry.testing import market_history
from fxcarry.universe import ALWAYS, Membership, Universe, exit_days

HISTORY = market_history(("EUR", "JPY", "NZD"), days=600, seed=9)
DAYS = HISTORY.times.astype("datetime64[D]")
dates = st.dates(date(2020, 1, 1), date(2022, 6, 30))
frequencies = st.sampled_from(["monthly", "weekly", "daily"])


@st.composite
def stays(draw: st.DrawFn, currency: str) -> Membership:
    enters = draw(st.none() | st.just(ALWAYS) | dates)
    length = draw(st.none() | st.integers(1, 500))
    begin = date(2020, 1, 1) if enters in (None, ALWAYS) else enters
    assert begin is not None
    return Membership(currency, enters, None if length is None else begin + timedelta(length))


universes = st.builds(lambda *m: Universe("any", m), stays("EUR"), stays("JPY"), stays("NZD"))


@given(universes, frequencies, st.integers(1, 599))
def test_membership_is_the_same_with_nothing_after_the_day(table: Universe, how: Frequency, cut: int) -> None:
    whole = table.mask(HISTORY, DAYS[:cut], how)
    short = attrs.evolve(
        HISTORY,
        times=HISTORY.times[:cut],
        spot=HISTORY.spot[:cut],
        rates={c: s.before(HISTORY.times[cut]) for c, s in HISTORY.rates.items()},
    )
    known = table.mask(short, DAYS[:cut], how)
    if whole is None:
        assert known is None
        assert not table.is_dated
    else:
        assert known is not None
        assert whole.tolist() == known.tolist()


@given(universes, frequencies)
def test_whoever_may_be_held_can_be_closed_by_the_next_decision_before_it_leaves(
    table: Universe, how: Frequency
) -> None:
    mask = table.mask(HISTORY, DAYS, how)
    if mask is None:
        return
    due = np.flatnonzero(is_due(DAYS, how))
    for j, member in enumerate(table.members):
        held = mask[:, j]
        if member.enters not in (None, ALWAYS):
            assert not held[np.datetime64(member.enters) > DAYS].any()
        if member.enters is None:
            assert not held[np.datetime64("2021-01-06") > DAYS].any()
        if member.leaves is None:
            assert held[-1] or (member.enters or ALWAYS) > DAYS[-1].item()
            continue
        assert not held[np.datetime64(member.leaves) <= DAYS].any()
        for this, following in pairwise(due):
            if held[this] and following + 1 < len(DAYS):
                assert DAYS[following + 1] < np.datetime64(member.leaves)


@given(st.lists(dates, min_size=1, max_size=20), frequencies)
def test_exit_days_do_not_depend_on_the_days_around(days: list[date], how: Frequency) -> None:
    together = exit_days(np.array(sorted(days), "datetime64[D]"), how)
    alone = [exit_days(np.array([day], "datetime64[D]"), how)[0] for day in sorted(days)]
    assert together.tolist() == [day.item() for day in alone]
    assert (together > np.array(sorted(days), "datetime64[D]")).all()
