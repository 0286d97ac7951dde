"""fxcarry.regimes on random paths: no prefix knows what follows it, and every sum adds up."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.regimes import VolatilityRegime, crash_table, realised_volatility
from fxcarry.regimes.events import falls
from fxcarry.regimes.models import features_of

paths = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=60)
settings_of = st.fixed_dictionaries(
    {"min_hold": st.integers(1, 10), "warmup": st.integers(1, 20), "enter": st.floats(0.5, 1.0)}
)


def plain_walk(path: list[float], regime: VolatilityRegime) -> bool:
    """The definition, from the start and without memory."""
    state, since = False, regime.min_hold
    for n, value in enumerate(path):
        since += 1
        share = bisect_left(sorted(path[:n]), value) / max(n, 1)
        ready = n >= regime.warmup and since >= regime.min_hold
        if ready and (share < regime.leave if state else share > regime.enter):
            state, since = not state, 0
    return state


@settings(deadline=None, derandomize=True, max_examples=60)
@given(path=paths, about=settings_of, cuts=st.lists(st.integers(0, 60), max_size=8))
def test_a_state_is_that_of_the_definition_in_whatever_order_it_is_asked(path, about, cuts):
    regime = VolatilityRegime(leave=0.4, **about)
    for cut in [*cuts, len(path), *cuts]:
        assert regime.is_turbulent(np.array(path[:cut])) is plain_walk(path[:cut], regime)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(path=paths, other=paths, about=settings_of)
def test_an_object_asked_about_two_markets_mixes_nothing(path, other, about):
    regime = VolatilityRegime(leave=0.4, **about)
    for one in (path, other, path, path + other, other):
        assert regime.is_turbulent(np.array(one)) is plain_walk(one, regime)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(path=paths, about=settings_of)
def test_a_state_lasts_at_least_its_minimum(path, about):
    regime = VolatilityRegime(leave=0.4, **about)
    states = [regime.is_turbulent(np.array(path[: n + 1])) for n in range(len(path))]
    switches = np.flatnonzero(np.diff(np.array(states, int)))
    assert (np.diff(switches) >= regime.min_hold).all()


def prices(seed: int, rows: int) -> Any:
    return np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, (rows, 3)), axis=0))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 10_000), cut=st.integers(70, 299))
def test_volatility_and_features_of_a_prefix_are_those_of_the_whole(seed, cut):
    spot = prices(seed, 300)
    carry = np.random.default_rng(seed + 1).normal(0, 0.02, spot.shape)
    assert np.array_equal(realised_volatility(spot[:cut], 21), realised_volatility(spot, 21)[:cut], equal_nan=True)
    one, book = features_of(spot[:cut], carry[:cut], 1, np.array([cut - 1]))
    other, whole = features_of(spot, carry, 1, np.array([cut - 1]))
    assert np.array_equal(one, other, equal_nan=True)
    assert np.array_equal(book, whole[:cut])


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 10_000), size=st.floats(0.5, 20), fall=st.floats(0.01, 0.5))
def test_falls_are_apart_deep_enough_and_all_there_are(seed, size, fall):
    nav = np.exp(np.cumsum(np.random.default_rng(seed).normal(0, size / 1000, 200)))
    found = falls(nav, fall)
    assert all(nav[trough] <= nav[peak] * (1 - fall) for peak, trough in found)
    assert all(nav[trough] == nav[peak : trough + 1].min() for peak, trough in found)
    assert all(nav[peak] == nav[peak : trough + 1].max() for peak, trough in found)
    assert all(one[1] < other[0] for one, other in pairwise(found))
    outside = np.ones(len(nav), bool)
    for peak, trough in found:
        outside[peak : trough + 1] = False
    for start, end in zip(*(np.flatnonzero(np.diff(np.r_[0, outside, 0]) == d) for d in (1, -1))):
        calm = nav[start:end]  # between two falls there is no third of that depth
        assert (calm > np.maximum.accumulate(calm) * (1 - fall)).all()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 10_000), fall=st.floats(0.02, 0.3))
def test_what_is_saved_and_what_it_cost_is_all_the_difference(seed, fall):
    random = np.random.default_rng(seed)
    moves, exposure = random.normal(0, 0.01, 200), random.choice([0.5, 1.0], 201)
    days = pd.date_range("2020-01-06", periods=201, freq="B")
    navs = [np.cumprod(np.r_[1, 1 + moves * part]) for part in (1.0, exposure[:-1])]
    results: list[Any] = [
        SimpleNamespace(nav=pd.Series(nav, days), weights=pd.DataFrame({"AUD": part}, days))
        for nav, part in zip(navs, (np.ones(201), exposure))
    ]
    table = crash_table(*results, fall=fall)
    assert table.saved_in_crashes - table.cost_outside == pytest.approx(np.log(navs[1][-1] / navs[0][-1]))
    crashes = table.events[table.events.verdict != "false alarm"]
    assert crashes.saved.sum() == pytest.approx(table.saved_in_crashes)
    assert table.events.exposure.between(0.5, 1.0).all()
