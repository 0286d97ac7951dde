"""Whatever the period and the shape: no test day is in train, and every day after the first test day is tested once."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fxcarry.walkforward import at_equal_volatility, windows
from fxcarry.walkforward.result import solvent_returns

DAYS = st.dates(date(1971, 1, 4), date(2030, 12, 31))
SHAPES = st.fixed_dictionaries(
    {
        "train_years": st.integers(1, 12),
        "test_years": st.integers(1, 3),
        "is_expanding": st.booleans(),
        "purge_days": st.integers(0, 120),
        "embargo_days": st.integers(0, 60),
    }
)


def found_in(start: date, length: int, shape: dict[str, Any]) -> tuple[date, Any]:
    end = start + timedelta(length)
    assume(length > 366 * shape["train_years"] + 31)
    return end, windows(start, end, **shape)


@given(start=DAYS, length=st.integers(400, 9000), shape=SHAPES)
@example(
    start=date(2004, 2, 29), length=5000,
    shape={"train_years": 1, "test_years": 1, "is_expanding": False, "purge_days": 0, "embargo_days": 0},
)  # fmt: skip
def test_tests_are_disjoint_and_leave_nothing_out(start, length, shape):
    end, found = found_in(start, length, shape)
    assert found[-1].test_end == end + timedelta(1)
    for one, other in pairwise(found):
        assert one.test_end == other.test_start
    counts = sum((w.test_end - w.test_start).days for w in found)
    assert counts == (end - found[0].test_start).days + 1
    assert all(w.test_start.day == 1 for w in found)


@given(start=DAYS, length=st.integers(400, 9000), shape=SHAPES)
def test_no_test_day_is_in_train_and_the_gap_is_kept(start, length, shape):
    _, found = found_in(start, length, shape)
    gap = shape["purge_days"] + shape["embargo_days"]
    for w in found:
        last_train = w.train_end - timedelta(1)
        assert last_train < w.test_start
        assert w.gap == gap == (w.test_start - last_train).days - 1
        assert start <= w.train_start < w.train_end <= w.test_start < w.test_end
        years = (w.test_start - w.train_start).days / 365.25
        assert years >= shape["train_years"] - 0.03
        if shape["is_expanding"]:
            assert w.train_start == start
        else:
            assert years <= shape["train_years"] + 0.03 or w.train_start == start


@given(start=DAYS, length=st.integers(800, 5000), cut=st.integers(1, 400), shape=SHAPES)
def test_more_data_leave_the_windows_before_as_they_are(start, length, cut, shape):
    end, found = found_in(start, length, shape)
    longer = windows(start, end + timedelta(cut), **shape)
    assert longer[: len(found) - 1] == found[:-1]
    assert (longer[len(found) - 1].train_end, longer[len(found) - 1].test_start) == (
        found[-1].train_end,
        found[-1].test_start,
    )


@given(st.lists(st.floats(-50, 150), min_size=2, max_size=40))
def test_returns_rebuild_the_nav_until_it_is_lost(path):
    nav = np.r_[100.0, np.round(path, 6)]
    nav[np.abs(nav) < 1e-3] = 0.0
    returns = solvent_returns(nav)
    assert (returns >= -1).all()
    assert np.isfinite(returns).all()
    alive = np.logical_and.accumulate(nav > 0)
    assert np.cumprod(1 + returns)[alive[1:]] == pytest.approx(nav[1:][alive[1:]] / 100)
    assert not returns[~alive[:-1]].any()


@settings(max_examples=20)
@given(seed=st.integers(0, 50), factor=st.floats(0.01, 100), cut=st.integers(600, 1400))
def test_equal_volatility_knows_no_level_and_no_future(seed, factor, cut):
    days = pd.bdate_range("2001-01-01", periods=1500)
    returns = pd.Series(np.random.default_rng(seed).normal(0.0001, 0.005, 1500), index=days)
    scaled = at_equal_volatility(returns)
    assert at_equal_volatility(returns * factor).to_numpy() == pytest.approx(scaled.to_numpy(), rel=1e-9)
    part = at_equal_volatility(returns.iloc[:cut])
    assert part.to_numpy() == pytest.approx(scaled.loc[part.index].to_numpy(), rel=1e-12)
    assert part.index.equals(scaled.index[: len(part)])
