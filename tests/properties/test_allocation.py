"""What holds for every cross-section, covariance and book."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry import allocation

CODES = ["AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK", "TRY"]
RANKINGS = [
    allocation.high_minus_low,
    allocation.sign_weights,
    allocation.rank_weights,
    allocation.linear_weights,
]

CALM = settings(deadline=None, max_examples=60)  # a shared machine may pause

# Multiples of 5 bp tie often, like policy rates; None is a currency not available.
score = st.one_of(st.none(), st.integers(-40, 400).map(lambda n: n * 5e-4))


@st.composite
def cross_sections(draw: st.DrawFn) -> pd.Series:
    codes = draw(st.permutations(CODES).flatmap(lambda c: st.integers(0, len(c)).map(lambda n: c[:n])))
    return pd.Series([draw(score) for _ in codes], index=codes, dtype=float)


@st.composite
def books(draw: st.DrawFn) -> dict[str, Any]:
    """A solvable mean–variance problem; ``gross`` leaves room for what the bounds require."""
    n = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    roots = np.diag(rng.uniform(0.05, 0.3, n)) @ (np.eye(n) + draw(st.floats(0, 1)) * rng.standard_normal((n, n)))
    spread = st.floats(0, 0.05)
    lower = np.array([draw(st.sampled_from([-np.inf, -0.5, -0.1, 0.0, 0.05])) for _ in range(n)])
    upper = np.array([draw(st.sampled_from([0.05, 0.1, 0.5, np.inf])) for _ in range(n)])
    return {
        "carry": np.array([draw(st.floats(-0.1, 0.1)) for _ in range(n)]),
        "cov": roots @ roots.T + 1e-4 * np.eye(n),
        "previous": np.array([draw(st.sampled_from([-0.4, -0.1, 0.0, 0.05, 0.3])) for _ in range(n)]),
        "risk_aversion": draw(st.floats(0.5, 20.0)),
        "trading_cost": np.array([draw(spread) for _ in range(n)]),
        "markup": np.array([draw(spread) for _ in range(n)]),
        "lower": lower,
        "upper": upper,
        "gross": float(np.clip(lower, 0, None).sum()) + draw(st.sampled_from([0.0, 0.05, 0.3, 1.0, np.inf])),
    }


@pytest.mark.parametrize("weigh", RANKINGS)
@given(carry=cross_sections(), scale=st.sampled_from([0.25, 2.0, 64.0]))
@CALM
def test_rankings_keep_labels_scale_and_order(weigh: Any, carry: pd.Series, scale: float) -> None:
    weights = weigh(carry)
    assert list(weights.index) == list(carry.index)
    assert np.isfinite(weights).all()
    assert (weights[carry.isna()] == 0).all()
    pd.testing.assert_series_equal(weigh(carry * scale), weights)
    pd.testing.assert_series_equal(weigh(carry[::-1])[::-1], weights)
    pd.testing.assert_series_equal(weigh(carry.dropna()), weights[carry.notna()])
    ranked = carry.dropna().sort_values()
    assert (np.diff(weights[ranked.index][ranked.diff().fillna(1) > 0]) >= -1e-12).all() or weigh is RANKINGS[0]
    assert weights @ carry.fillna(0) >= -1e-12


@given(cross_sections(), st.integers(1, 5))
@CALM
def test_high_minus_low_holds_the_extremes_on_equal_sides(carry: pd.Series, k: int) -> None:
    weights = allocation.high_minus_low(carry, k)
    side = min(k, int(carry.notna().sum()) // 2)
    ranked = sorted(carry.dropna().index, key=lambda code: (-carry[code], code))
    assert set(weights.index[weights > 0]) == set(ranked[:side])
    assert set(weights.index[weights < 0]) == set(ranked[::-1][:side])
    assert weights.abs().sum() == pytest.approx(2.0 if side else 0.0)
    lower, upper = allocation.side_bounds(carry, k, 0.3)
    assert ((upper > 0) == (weights > 0)).all()
    assert ((lower < 0) == (weights < 0)).all()


@given(cross_sections())
@CALM
def test_demeaned_weights_are_dollar_neutral_and_fully_used(carry: pd.Series) -> None:
    for weigh in (allocation.rank_weights, allocation.linear_weights):
        weights = weigh(carry)
        assert weights.sum() == pytest.approx(0, abs=1e-12)
        assert weights.abs().sum() == pytest.approx(2.0 if carry.nunique() > 1 else 0.0)
    known = carry.dropna()
    ranks = known.rank() - known.rank().mean()
    expected = 2 * ranks / (ranks.abs().sum() or 1)
    assert allocation.rank_weights(carry)[known.index].tolist() == pytest.approx(expected.tolist(), abs=1e-12)


@given(books(), st.floats(0.01, 100.0))
@CALM
def test_risk_parity_is_long_only_and_does_not_see_the_scale(book: dict[str, Any], scale: float) -> None:
    cov = book["cov"]
    for weigh in (allocation.inverse_volatility_array, allocation.equal_risk_contribution_array):
        weights = weigh(cov)
        assert weights.min() > 0
        assert weights.sum() == pytest.approx(1)
        assert weigh(cov * scale) == pytest.approx(weights, rel=1e-9)
    contribution = weights * (cov @ weights)
    assert contribution / contribution.sum() == pytest.approx(np.full(len(cov), 1 / len(cov)), abs=1e-10)


@given(books(), st.floats(-0.2, 0.2))
@CALM
def test_minimum_variance_meets_its_target_along_the_only_direction(book: dict[str, Any], target: float) -> None:
    carry, cov = book["carry"], book["cov"]
    if abs(carry).max() < 1e-6:
        return
    weights = allocation.minimum_variance_array(cov, carry, target)
    assert weights @ carry == pytest.approx(target, abs=1e-9)
    # every currency's marginal risk is the same multiple of its carry
    marginal = cov @ weights
    assert marginal * (carry @ carry) == pytest.approx(carry * (marginal @ carry), abs=1e-9)


@given(books(), st.floats(0.01, 0.5), st.floats(0.1, 5.0), st.one_of(st.none(), st.floats(0.05, 1.0)))
@CALM
def test_scaling_respects_every_limit_and_meets_one(
    book: dict[str, Any], target: float, gross_cap: float, position_cap: float | None
) -> None:
    weights, cov = book["previous"], book["cov"]
    scaled = allocation.scale_to_volatility_array(weights, cov, target, gross_cap, position_cap)
    if not weights.any():
        assert not scaled.any()
        return
    used = [np.sqrt(scaled @ cov @ scaled) / target, abs(scaled).sum() / gross_cap]
    used.append(abs(scaled).max() / position_cap if position_cap else 0.0)
    assert max(used) == pytest.approx(1.0)
    assert (np.sign(scaled) == np.sign(weights)).all()
    again = allocation.scale_to_volatility_array(scaled, cov, target, gross_cap, position_cap)
    assert again == pytest.approx(scaled, rel=1e-9)


def value(book: dict[str, Any], w: Any) -> float:
    utility = book["carry"] @ w - book["risk_aversion"] / 2 * w @ book["cov"] @ w
    return float(utility - book["trading_cost"] @ abs(w - book["previous"]) - book["markup"] @ abs(w))


@given(books(), st.integers(0, 2**32 - 1))
@CALM
def test_no_feasible_book_beats_mean_variance(book: dict[str, Any], seed: int) -> None:
    w = allocation.mean_variance_array(**book)
    assert np.isfinite(w).all()
    assert (w >= book["lower"]).all()
    assert (w <= book["upper"]).all()
    assert abs(w).sum() <= book["gross"] + 1e-11
    best = value(book, w)
    rng = np.random.default_rng(seed)
    nearest = np.clip(0.0, book["lower"], book["upper"])
    for size in (1.0, 1e-2, 1e-4):
        for _ in range(10):
            other = np.clip(w + size * rng.standard_normal(len(w)), book["lower"], book["upper"])
            over = abs(other).sum() - book["gross"]
            if over > 0:  # back towards the least the bounds require, which is feasible
                spare = abs(other).sum() - abs(nearest).sum()
                other = nearest + (other - nearest) * max(0.0, 1 - over / spare)
            if abs(other).sum() <= book["gross"] + 1e-12:
                assert value(book, other) <= best + 1e-12


@given(books())
@CALM
def test_mean_variance_is_symmetric_and_stays_where_it_is_best(book: dict[str, Any]) -> None:
    w = allocation.mean_variance_array(**book)
    mirror = book | {x: -book[x] for x in ("carry", "previous")}
    mirror |= {"lower": -book["upper"], "upper": -book["lower"]}
    assert allocation.mean_variance_array(**mirror) == pytest.approx(-w, abs=1e-9)
    # once there, nothing more is traded
    assert allocation.mean_variance_array(**book | {"previous": w}) == pytest.approx(w, abs=1e-9)
