"""Golden weights, independent optima (scipy, a brute-force grid, a split-variable QP) and every refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fxcarry import allocation
from fxcarry.allocation import (
    equal_risk_contribution,
    high_minus_low,
    inverse_volatility,
    linear_weights,
    mean_variance,
    mean_variance_array,
    minimum_variance,
    rank_weights,
    routed_mean_variance_array,
    scale_to_volatility,
    side_bounds,
    sign_weights,
)
from fxcarry.errors import ConfigError, DataError, MissingDataError

RATES = pd.Series(
    {
        "NOK": 0.0450,
        "USD": 0.0433,
        "GBP": 0.0425,
        "AUD": 0.0385,
        "NZD": 0.0325,
        "CAD": 0.0275,
        "EUR": 0.0200,
        "SEK": 0.0200,
        "JPY": 0.0050,
        "CHF": 0.0000,
    }
)
VOLS = np.array([0.10, 0.12, 0.09])
CORR = np.array([[1.0, 0.6, -0.2], [0.6, 1.0, -0.3], [-0.2, -0.3, 1.0]])
NAMES = ["AUD", "NZD", "CHF"]
COV = pd.DataFrame(np.outer(VOLS, VOLS) * CORR, index=NAMES, columns=NAMES)
CARRY = pd.Series([0.02, 0.035, -0.015], index=NAMES)
NAN, INF = float("nan"), float("inf")


def volatility_of(weights: pd.Series) -> float:
    w = weights.to_numpy()
    return float(np.sqrt(w @ COV.to_numpy() @ w))


def series(**values: float) -> pd.Series:
    return pd.Series(values)


# --- rankings --------------------------------------------------------------------------------------------------------


def test_high_minus_low_of_ten_currencies() -> None:
    weights = high_minus_low(RATES)
    third = 1 / 3
    expected = {"NOK": third, "USD": third, "GBP": third, "SEK": -third, "JPY": -third, "CHF": -third}
    assert weights.to_dict() == pytest.approx({c: expected.get(c, 0.0) for c in RATES.index}, abs=1e-12)
    assert weights.to_numpy() @ RATES.to_numpy() == pytest.approx(0.035267, abs=1e-6)


@pytest.mark.parametrize("order", [["SEK", "EUR", "NOK", "CAD"], ["CAD", "EUR", "NOK", "SEK"]])
def test_of_equal_carries_the_earlier_code_ranks_higher_wherever_it_stands(order: list[str]) -> None:
    tied = pd.Series({"SEK": 0.02, "EUR": 0.02, "NOK": 0.02, "CAD": 0.02})[order]
    assert high_minus_low(tied, 1)[["CAD", "EUR", "NOK", "SEK"]].tolist() == [1, 0, 0, -1]
    assert high_minus_low(tied, 2)[["CAD", "EUR", "NOK", "SEK"]].tolist() == [0.5, 0.5, -0.5, -0.5]


def test_array_form_takes_tie_order_or_position() -> None:
    carry = np.array([0.02, 0.02, 0.01])
    assert allocation.high_minus_low_array(carry, 1).tolist() == [1, 0, -1]
    assert allocation.high_minus_low_array(carry, 1, np.array([2, 0, 1])).tolist() == [0, 1, -1]


def test_an_unavailable_currency_has_no_weight_and_is_not_ranked() -> None:
    carry = series(AUD=0.04, EUR=NAN, JPY=0.0, NZD=0.03, CHF=NAN)
    assert high_minus_low(carry, 1).to_dict() == {"AUD": 1, "EUR": 0, "JPY": -1, "NZD": 0, "CHF": 0}
    assert sign_weights(carry).tolist() == pytest.approx([1 / 3, 0, 0, 1 / 3, 0])
    assert rank_weights(carry).tolist() == pytest.approx([1, 0, -1, 0, 0])
    # mean .07/3; deviations 5/3, −7/3, 2/3 in units of .01, absolute sum 14/3
    assert linear_weights(carry).tolist() == pytest.approx([5 / 7, 0, -1, 2 / 7, 0])


@pytest.mark.parametrize(("available", "side"), [(6, 3), (5, 2), (3, 1), (2, 1), (1, 0), (0, 0)])
def test_too_few_currencies_shrink_both_sides_alike(available: int, side: int) -> None:
    carry = RATES.iloc[:6].copy()
    carry.iloc[available:] = NAN
    weights = high_minus_low(carry, 3)
    assert (weights > 0).sum() == (weights < 0).sum() == side
    assert weights.abs().sum() == pytest.approx(2.0 if side else 0.0)


def test_sign_weights_share_the_book_between_all_available() -> None:
    assert sign_weights(series(A=0.02, B=-0.01, C=0.0, D=0.5)).tolist() == [0.25, -0.25, 0, 0.25]


def test_rank_weights_of_ten_currencies() -> None:
    expected = [0.36, 0.28, 0.20, 0.12, 0.04, -0.04, -0.16, -0.16, -0.28, -0.36]
    weights = rank_weights(RATES)
    assert weights.tolist() == pytest.approx(expected, abs=1e-12)
    assert weights.to_numpy() @ RATES.to_numpy() == pytest.approx(0.033844, abs=1e-6)


def test_linear_weights_winsorize_one_high_rate() -> None:
    carry = series(A=0.00, B=0.01, C=0.02, D=0.03, E=0.04, F=0.05, G=0.06, TRY=0.60)
    mean, sd = float(np.mean(carry)), float(np.std(carry))
    assert carry["TRY"] > mean + 2 * sd
    clipped = carry.clip(mean - 2 * sd, mean + 2 * sd)
    demeaned = clipped - clipped.mean()
    expected = 2 * demeaned / demeaned.abs().sum()
    weights = linear_weights(carry)
    pd.testing.assert_series_equal(weights, expected)
    assert weights["TRY"] < (carry["TRY"] - mean) * 2 / (carry - mean).abs().sum()


@pytest.mark.parametrize("weigh", [rank_weights, linear_weights])
def test_equal_carries_give_no_position(weigh: Any) -> None:
    # the mean of ten 0.1 differs from 0.1 by rounding, which must not be scaled up to a book
    assert weigh(pd.Series(0.1, index=RATES.index)).tolist() == [0.0] * 10
    assert weigh(series(A=0.3 - 0.1, B=0.2, C=NAN)).abs().sum() == pytest.approx(0.0 if weigh is linear_weights else 2)
    assert weigh(series(A=0.02, B=NAN)).tolist() == [0, 0]
    assert weigh(series(A=NAN, B=NAN)).tolist() == [0, 0]
    assert weigh(pd.Series([], dtype=float)).empty


@pytest.mark.parametrize("weigh", [high_minus_low, sign_weights, rank_weights, linear_weights])
@pytest.mark.parametrize("bad", [INF, -INF])
def test_infinite_carry_is_refused_by_name(weigh: Any, bad: float) -> None:
    with pytest.raises(DataError, match=r"EUR is -?inf"):
        weigh(series(AUD=0.02, EUR=bad, JPY=0.0))


@pytest.mark.parametrize("weigh", ["high_minus_low_array", "sign_weights_array", "rank_weights_array"])
def test_infinite_carry_in_an_array_is_refused_by_position(weigh: str) -> None:
    for bad in (INF, -INF):
        with pytest.raises(DataError, match="position 1"):
            getattr(allocation, weigh)(np.array([0.1, bad, 0.2]))


def test_a_currency_listed_twice_is_refused() -> None:
    with pytest.raises(DataError, match="EUR is listed twice"):
        sign_weights(pd.Series([0.1, 0.2], index=["EUR", "EUR"]))


@pytest.mark.parametrize("k", [0, -1, 1.5])
def test_k_is_a_positive_integer(k: Any) -> None:
    with pytest.raises(ConfigError, match="k is"):
        high_minus_low(RATES, k)


def test_side_bounds_open_the_best_up_and_the_worst_down() -> None:
    lower, upper = side_bounds(RATES, 3, 0.3)
    assert upper[upper > 0].to_dict() == {"NOK": 0.3, "USD": 0.3, "GBP": 0.3}
    assert lower[lower < 0].to_dict() == {"SEK": -0.3, "JPY": -0.3, "CHF": -0.3}
    assert not np.signbit(lower[lower == 0]).any()
    with pytest.raises(ConfigError, match="cap is"):
        side_bounds(RATES, 3, 0.0)


def test_integers_and_nullable_floats_are_numbers() -> None:
    assert sign_weights(pd.Series([1, -1], index=["A", "B"]).astype(object)).tolist() == [0.5, -0.5]
    assert sign_weights(pd.Series([1.0, None], index=["A", "B"], dtype="Float64")).tolist() == [1, 0]


# --- risk ------------------------------------------------------------------------------------------------------------


def test_inverse_volatility() -> None:
    expected = (1 / VOLS) / (1 / VOLS).sum()
    assert inverse_volatility(COV).to_dict() == pytest.approx(dict(zip(NAMES, expected)), abs=1e-15)


def random_cov(n: int, seed: int, scale: float = 0.1) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((3 * n, n)) @ np.diag(rng.uniform(0.3, 2.0, n))
    mixed = factors + rng.standard_normal((3 * n, 1))
    return scale**2 * np.atleast_2d(np.cov(mixed.T))


@pytest.mark.parametrize(("n", "seed"), [(2, 1), (3, 2), (9, 3), (25, 4)])
def test_equal_risk_contribution_agrees_with_scipy(n: int, seed: int) -> None:
    from scipy.optimize import minimize

    cov = random_cov(n, seed)
    weights = allocation.equal_risk_contribution_array(cov)
    contribution = weights * (cov @ weights)
    share = contribution / contribution.sum()
    assert weights.min() > 0
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert share == pytest.approx(np.full(n, 1 / n), abs=1e-10)
    # another formulation: least variance for a given Σ ln w, rescaled (Maillard, Roncalli, Teïletche 2010)
    unit = cov / np.trace(cov) * n
    result = minimize(
        lambda w: 0.5 * w @ unit @ w,
        np.ones(n),
        jac=lambda w: unit @ w,
        method="SLSQP",
        bounds=[(1e-4, None)] * n,
        constraints={"type": "ineq", "fun": lambda w: np.log(w).sum(), "jac": lambda w: 1 / w},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert weights == pytest.approx(result.x / result.x.sum(), abs=1e-6)


def test_equal_risk_contribution_of_two_is_inverse_volatility() -> None:
    pair = COV.loc[["AUD", "CHF"], ["AUD", "CHF"]]
    pd.testing.assert_series_equal(equal_risk_contribution(pair), inverse_volatility(pair), rtol=1e-12)


@pytest.mark.parametrize("rho", [1.0, 1 - 1e-12, -1 + 1e-6, 0.0])
def test_equal_risk_contribution_survives_near_singular_covariances(rho: float) -> None:
    cov = np.array([[1.0, rho], [rho, 1.0]]) * np.outer([1e-6, 10.0], [1e-6, 10.0])
    weights = allocation.equal_risk_contribution_array(cov)
    assert weights * [1e-6, 10.0] == pytest.approx([weights[0] * 1e-6] * 2, rel=1e-9)


def test_equal_risk_contribution_refuses_a_book_without_risk() -> None:
    with pytest.raises(DataError, match="no book has equal risk"):
        allocation.equal_risk_contribution_array(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    with pytest.raises(DataError, match="positive semi-definite"):
        allocation.equal_risk_contribution_array(np.array([[1.0, 2.0], [2.0, 1.0]]))


@pytest.mark.parametrize("weigh", [inverse_volatility, equal_risk_contribution])
def test_a_covariance_must_make_sense(weigh: Any) -> None:
    flat = COV.copy()
    flat.loc["NZD"] = flat["NZD"] = 0.0
    with pytest.raises(DataError, match="variance of NZD is 0"):
        weigh(flat)
    hole = COV.copy()
    hole.loc["NZD", "NZD"] = NAN
    with pytest.raises(DataError, match="covariance of NZD is not finite"):
        weigh(hole)
    lopsided = COV.copy()
    lopsided.loc["NZD", "AUD"] = 0.5
    with pytest.raises(DataError, match="not symmetric"):
        weigh(lopsided)
    with pytest.raises(DataError, match="rows and columns differ"):
        weigh(COV.iloc[:2])
    with pytest.raises(DataError, match="variance of position 0"):
        getattr(allocation, f"{weigh.__name__}_array")(np.zeros((2, 2)))


def test_minimum_variance_for_five_percent_carry() -> None:
    weights = minimum_variance(COV, CARRY, 0.05)
    assert weights.tolist() == pytest.approx([0.195947, 1.095454, -0.516012], abs=1e-6)
    volatility = volatility_of(weights)
    assert volatility == pytest.approx(0.164131, abs=1e-6)
    assert 0.05 / volatility == pytest.approx(0.304635, abs=1e-6)


def test_minimum_variance_aligns_labels_and_leaves_out_the_unavailable() -> None:
    carry = series(CHF=-0.015, SEK=NAN, AUD=0.02, NZD=0.035)
    weights = minimum_variance(COV, carry, 0.05)
    assert weights.to_dict() == pytest.approx({**minimum_variance(COV, CARRY, 0.05).to_dict(), "SEK": 0.0})
    assert list(weights.index) == list(carry.index)


def test_minimum_variance_refusals() -> None:
    with pytest.raises(DataError, match="no currency has any carry"):
        minimum_variance(COV, CARRY * 0, 0.05)
    assert minimum_variance(COV, CARRY * 0, 0.0).tolist() == [0, 0, 0]
    with pytest.raises(ConfigError, match="target_carry"):
        minimum_variance(COV, CARRY, NAN)
    with pytest.raises(MissingDataError, match="lacks SEK"):
        minimum_variance(COV, series(AUD=0.02, SEK=0.01), 0.05)
    twins = pd.DataFrame(1.0, index=["AUD", "NZD"], columns=["AUD", "NZD"])
    with pytest.raises(DataError, match="covariance of AUD, NZD is singular"):
        minimum_variance(twins, series(AUD=0.02, NZD=0.01), 0.05)


def test_scale_to_volatility_takes_the_tightest_limit() -> None:
    weights = pd.Series([0.5, 0.5, -1.0], index=NAMES)
    volatility = volatility_of(weights)
    free = scale_to_volatility(weights, COV, 0.08, 10.0)
    assert free.tolist() == pytest.approx((weights * 0.08 / volatility).tolist())
    assert scale_to_volatility(weights, COV, 0.8, 3.0).abs().sum() == pytest.approx(3.0)
    assert scale_to_volatility(weights, COV, 0.8, 3.0, 0.3).tolist() == pytest.approx([0.15, 0.15, -0.3])


def test_scale_to_volatility_of_nothing_is_nothing_and_of_no_history_an_error() -> None:
    flat = pd.Series(0.0, index=NAMES)
    assert scale_to_volatility(flat, COV * NAN, 0.08, 2.0).tolist() == [0, 0, 0]
    with pytest.raises(DataError, match="variance of the weights is 0"):
        scale_to_volatility(flat + 1, COV * 0, 0.08, 2.0)
    with pytest.raises(DataError, match="variance of the weights is nan"):
        scale_to_volatility(series(AUD=0.5, NZD=NAN), COV, 0.08, 2.0)
    with pytest.raises(MissingDataError, match="lacks SEK"):
        scale_to_volatility(series(AUD=0.5, SEK=0.5), COV, 0.08, 2.0)
    assert scale_to_volatility(series(AUD=0.5, SEK=0.0), COV, 0.05, 2.0).tolist() == pytest.approx([0.5, 0])
    # a perfect hedge has no volatility but rounding
    with pytest.raises(DataError, match="variance of the weights"):
        allocation.scale_to_volatility_array(
            np.array([0.3, -0.1]), np.outer([0.1, 0.3], [0.1, 0.3]), target=0.08, gross_cap=2.0
        )


@pytest.mark.parametrize("limits", [(0.0, 2.0, None), (0.08, 0.0, None), (0.08, 2.0, 0.0), (NAN, 2.0, None)])
def test_scale_to_volatility_needs_positive_limits(limits: tuple[float, float, float | None]) -> None:
    with pytest.raises(ConfigError, match="target is"):
        scale_to_volatility(CARRY, COV, *limits)


# --- mean–variance ---------------------------------------------------------------------------------------------------

Problem = dict[str, Any]


def problem(n: int, seed: int, gross: float = INF) -> Problem:
    """A random book: some previous weights outside the bounds, some zero costs, some currencies pinned to 0."""
    rng = np.random.default_rng(seed)
    lower, upper = -rng.uniform(0.0, 0.5, n), rng.uniform(0.0, 0.5, n)
    one_sided = rng.random(n)
    lower[one_sided < 0.3] = 0.0
    upper[(one_sided > 0.2) & (one_sided < 0.5)] = 0.0
    return {
        "carry": rng.normal(0.0, 0.03, n),
        "cov": random_cov(n, seed + 1000),
        "previous": rng.normal(0.0, 0.3, n) * (rng.random(n) < 0.8),
        "risk_aversion": float(rng.uniform(1.0, 10.0)),
        "trading_cost": rng.uniform(0.0, 0.01, n) * (rng.random(n) < 0.8),
        "markup": rng.uniform(0.0, 0.01, n) * (rng.random(n) < 0.8),
        "lower": lower,
        "upper": upper,
        "gross": gross,
    }


def objective(p: Problem, w: Any) -> float:
    utility = p["carry"] @ w - p["risk_aversion"] / 2 * w @ p["cov"] @ w
    return float(utility - p["trading_cost"] @ abs(w - p["previous"]) - p["markup"] @ abs(w))


def split_qp(p: Problem) -> Any:
    """The same optimum as a smooth QP in (w, t, a): t ≥ |w − previous|, a ≥ |w|, Σa ≤ gross, by an outside solver."""
    import piqp

    n = len(p["carry"])
    eye, zero = np.eye(n), np.zeros((n, n))
    matrix = np.zeros((3 * n, 3 * n))
    matrix[:n, :n] = p["risk_aversion"] * p["cov"]
    linear = np.r_[-p["carry"], p["trading_cost"], p["markup"]]
    rows = np.block([[eye, -eye, zero], [-eye, -eye, zero], [eye, zero, -eye], [-eye, zero, -eye]])
    rows = np.vstack([rows, np.r_[np.zeros(2 * n), np.ones(n)]])
    limit = np.r_[p["previous"], -p["previous"], np.zeros(2 * n), min(p["gross"], 1e3)]
    solver = piqp.DenseSolver()
    solver.settings.eps_abs = solver.settings.eps_duality_gap_abs = 1e-13
    solver.settings.eps_rel = solver.settings.eps_duality_gap_rel = 1e-13
    solver.setup(
        np.asfortranarray(matrix),
        linear,
        None,
        None,
        np.asfortranarray(rows),
        np.full(len(limit), -1e30),
        limit,
        np.r_[p["lower"], np.full(2 * n, -1e30)],
        np.r_[p["upper"], np.full(2 * n, 1e30)],
    )
    solver.solve()
    return np.asarray(solver.result.x[:n])


def check_feasible(p: Problem, w: Any) -> None:
    assert (w >= p["lower"]).all()
    assert (w <= p["upper"]).all()
    assert abs(w).sum() <= p["gross"] + 1e-11


@pytest.mark.parametrize("n", [1, 3, 9, 20])
@pytest.mark.parametrize("tightness", [INF, 0.7, 0.2, 0.0])
def test_mean_variance_is_the_optimum_of_an_independent_solver(n: int, tightness: float) -> None:
    bound = 0
    for seed in range(12):
        p = problem(n, 100 * n + seed)
        loose = mean_variance_array(**p)
        if tightness < INF:
            p["gross"] = tightness * float(abs(loose).sum())
        w = mean_variance_array(**p)
        check_feasible(p, w)
        other = split_qp(p)
        assert w == pytest.approx(other, abs=1e-7)
        assert objective(p, w) >= objective(p, np.clip(other, p["lower"], p["upper"])) - 1e-9
        bound += abs(w).sum() > p["gross"] - 1e-10
    assert tightness == INF or bound == 12


@pytest.mark.parametrize("tightness", [INF, 0.5])
@pytest.mark.parametrize("markup", [0.0, 0.002, 0.01, 0.05])
def test_routed_mean_variance_is_the_optimum_of_an_independent_solver(markup: float, tightness: float) -> None:
    """As above with one more row: s ≥ |Σw|, the account currency's own weight, and half the mark-up on each."""
    import piqp

    nets = []
    for seed in range(20):
        p = {**problem(9, 500 + seed), "markup": markup}
        if tightness < INF:
            p["gross"] = tightness * float(abs(routed_mean_variance_array(**p)).sum())
        w = routed_mean_variance_array(**p)
        check_feasible(p, w)
        nets.append(abs(float(w.sum())))
        n = 9
        eye, zero, none = np.eye(n), np.zeros((n, n)), np.zeros((n, 1))
        matrix = np.zeros((3 * n + 1, 3 * n + 1))
        matrix[:n, :n] = p["risk_aversion"] * p["cov"]
        linear = np.r_[-p["carry"], p["trading_cost"], np.full(n + 1, markup / 2)]
        rows = np.block([[eye, -eye, zero, none], [-eye, -eye, zero, none], [eye, zero, -eye, none]])
        rows = np.vstack([rows, np.hstack([-eye, zero, -eye, none])])
        total = np.r_[np.ones(n), np.zeros(2 * n), -1.0]
        rows = np.vstack([rows, total, total * np.r_[-np.ones(n), np.ones(2 * n + 1)]])
        rows = np.vstack([rows, np.r_[np.zeros(2 * n), np.ones(n), 0.0]])
        limit = np.r_[p["previous"], -p["previous"], np.zeros(2 * n + 2), min(p["gross"], 1e3)]
        solver = piqp.DenseSolver()
        solver.settings.eps_abs = solver.settings.eps_duality_gap_abs = 1e-13
        solver.settings.eps_rel = solver.settings.eps_duality_gap_rel = 1e-13
        solver.setup(
            np.asfortranarray(matrix),
            linear,
            None,
            None,
            np.asfortranarray(rows),
            np.full(len(limit), -1e30),
            limit,
            np.r_[p["lower"], np.full(2 * n + 1, -1e30)],
            np.r_[p["upper"], np.full(2 * n + 1, 1e30)],
        )
        solver.solve()
        assert w == pytest.approx(np.asarray(solver.result.x[:n]), abs=1e-6)
    if markup == 0.01:  # all three cases are met: long, short and without the account currency
        assert min(nets) < 1e-12 < max(nets)


def test_routed_mean_variance_opens_what_two_mark_ups_would_eat() -> None:
    """1.5 % between the two, 0.75 % each to the account currency: less than a mark-up of 1 %, more than half of it."""
    cov = np.diag([0.01, 0.01])
    about = {"risk_aversion": 1.0, "trading_cost": 0.0, "markup": 0.01, "lower": -1.0, "upper": 1.0, "gross": INF}
    carry = np.array([0.0075, -0.0075])
    assert not mean_variance_array(carry, cov, np.zeros(2), **about).any()
    assert routed_mean_variance_array(carry, cov, np.zeros(2), **about) == pytest.approx([0.25, -0.25])


def test_mean_variance_beats_scipy_on_the_nine_currency_book() -> None:
    from scipy.optimize import minimize

    p = problem(9, 7, gross=0.8)
    w = mean_variance_array(**p)

    def loss(z: Any) -> float:  # w = buys − sells on either side of 0, trades on either side of previous
        return -objective(p, z[:9] - z[9:])

    result = minimize(
        loss,
        np.r_[np.clip(w, 0, None), np.clip(-w, 0, None)] * 0.9,
        method="SLSQP",
        bounds=[(max(lo, 0), max(hi, 0)) for lo, hi in zip(p["lower"], p["upper"])]
        + [(max(-hi, 0), max(-lo, 0)) for lo, hi in zip(p["lower"], p["upper"])],
        constraints={"type": "ineq", "fun": lambda z: p["gross"] - z.sum()},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert objective(p, w) >= -result.fun - 1e-10
    assert objective(p, w) == pytest.approx(-result.fun, abs=1e-5)


def test_mean_variance_beats_every_point_of_a_grid() -> None:
    axis = np.linspace(-0.5, 0.5, 201)
    for seed, gross in [(1, INF), (2, 0.3), (3, 0.1)]:
        p = problem(2, seed, gross) | {"lower": np.array([-0.5, -0.5]), "upper": np.array([0.5, 0.5])}
        best = objective(p, mean_variance_array(**p))
        a, b = (g.ravel() for g in np.meshgrid(axis, axis))
        points = np.column_stack([a, b])[abs(a) + abs(b) <= gross + 1e-12]
        values = [objective(p, point) for point in points]
        assert best >= max(values) - 1e-14
        assert best == pytest.approx(max(values), abs=1e-4)


@pytest.mark.parametrize("rho", [0.9999999, -0.9999999])
def test_mean_variance_solves_highly_correlated_books(rho: float) -> None:
    p = problem(2, 5) | {
        "cov": np.array([[1, rho], [rho, 1]]) * 0.01,
        "lower": np.full(2, -INF),
        "upper": np.full(2, INF),
    }
    p |= {"trading_cost": np.zeros(2), "markup": np.zeros(2)}
    expected = np.linalg.solve(p["risk_aversion"] * p["cov"], p["carry"])
    assert mean_variance_array(**p) == pytest.approx(expected, rel=1e-6)
    p["gross"] = 1.0
    w = mean_variance_array(**p)
    check_feasible(p, w)
    assert abs(w).sum() == pytest.approx(1.0, abs=1e-7)


def test_costs_hold_the_book_still_and_mark_ups_hold_it_at_nothing() -> None:
    rules: Problem = {"risk_aversion": 8.0, "lower": -1.0, "upper": 1.0, "gross": 2.0}
    before = series(NZD=0.2)
    still = mean_variance(CARRY, COV, before, trading_cost=1.0, markup=0.0, **rules)
    assert still.to_dict() == {"AUD": 0.0, "NZD": 0.2, "CHF": 0.0}
    nothing = mean_variance(CARRY, COV, before, trading_cost=0.0, markup=0.1, **rules)
    assert nothing.tolist() == [0, 0, 0]
    plain = mean_variance(CARRY, COV, before, trading_cost=0.0, markup=0.0, **rules)
    assert plain.tolist() == pytest.approx(np.linalg.solve(8 * COV, CARRY).tolist(), abs=1e-12)


def test_mean_variance_aligns_labels() -> None:
    rules: Problem = {"risk_aversion": 8.0, "markup": 0.001, "gross": 0.9}
    before = series(CHF=-0.4, AUD=0.1)
    cost = series(CHF=0.001, AUD=0.002, NZD=0.003, SEK=0.5)
    upper = series(AUD=0.3, CHF=0.2, NZD=0.4)
    direct = mean_variance_array(
        np.array(CARRY.tolist()),
        COV.to_numpy(),
        np.array([0.1, 0.0, -0.4]),
        trading_cost=np.array([0.002, 0.003, 0.001]),
        lower=-0.5,
        upper=np.array([0.3, 0.4, 0.2]),
        **rules,
    )
    shuffled = CARRY[["CHF", "AUD", "NZD"]]
    weights = mean_variance(shuffled, COV, before, trading_cost=cost, lower=-0.5, upper=upper, **rules)
    assert weights[NAMES].tolist() == pytest.approx(direct.tolist(), abs=1e-12)
    assert list(weights.index) == ["CHF", "AUD", "NZD"]


def test_mean_variance_leaves_out_the_unavailable() -> None:
    rules: Problem = {"risk_aversion": 8.0, "trading_cost": 0.001, "markup": 0.0, "gross": 2.0}
    carry = pd.concat([CARRY, series(SEK=NAN, NOK=0.05)])
    upper = pd.Series([0.3, 0.3, 0.3, 0.3, 0.0], index=carry.index)
    lower = pd.Series([-0.3, -0.3, -0.3, -0.3, 0.0], index=carry.index)
    weights = mean_variance(carry, COV, series(SEK=0.2), lower=lower, upper=upper, **rules)
    alone = mean_variance(CARRY, COV, series(), lower=-0.3, upper=0.3, **rules)
    assert weights.to_dict() == pytest.approx({**alone.to_dict(), "SEK": 0.0, "NOK": 0.0})


def test_a_required_holding_is_kept_under_the_cap() -> None:
    p = problem(3, 3, 0.5) | {"lower": np.array([0.2, -1, -1]), "upper": np.array([0.2, 1, 1])}
    w = mean_variance_array(**p)
    assert w[0] == 0.2
    assert abs(w).sum() <= 0.5 + 1e-12
    assert w == pytest.approx(split_qp(p), abs=1e-7)
    with pytest.raises(ConfigError, match=r"bounds need a gross of 0\.2, above 0\.1"):
        mean_variance_array(**p | {"gross": 0.1})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"risk_aversion": 0.0}, ConfigError, "risk_aversion is 0"),
        ({"risk_aversion": NAN}, ConfigError, "risk_aversion is nan"),
        ({"gross": -1.0}, ConfigError, "gross is -1"),
        ({"gross": NAN}, ConfigError, "gross is nan"),
        ({"lower": 0.2, "upper": 0.1}, ConfigError, r"AUD: bounds \[0.2, 0.1\]"),
        ({"lower": NAN}, ConfigError, "AUD: bounds"),
        ({"lower": INF, "upper": INF}, ConfigError, "AUD: bounds"),
        ({"trading_cost": -0.1}, ConfigError, "AUD: trading_cost -0.1"),
        ({"markup": np.array([0.0, NAN, 0.0])}, ConfigError, "NZD: trading_cost 0.001, markup nan"),
        ({"markup": np.zeros(2)}, ConfigError, r"shape \(2,\) for 3 currencies"),
        ({"upper": series(AUD=0.3, NZD=0.3)}, MissingDataError, "lacks CHF"),
        ({"previous": series(SEK=0.1)}, DataError, "SEK is held but has no carry"),
        ({"previous": series(NZD=NAN)}, DataError, "NZD: carry 0.035, previous weight nan"),
        ({"carry": CARRY * INF}, DataError, "AUD is inf"),
        ({"carry": series(AUD=NAN, NZD=0.1), "lower": 0.1}, ConfigError, "AUD: bounds .* but no carry"),
        ({"cov": COV * 0}, DataError, "covariance of AUD, NZD, CHF is singular"),
        ({"cov": COV * 0 + 0.01}, DataError, "singular"),
        ({"cov": -COV}, DataError, "singular"),
        ({"cov": COV * NAN}, DataError, "covariance of AUD is not finite"),
        ({"cov": COV.iloc[:2, :2]}, MissingDataError, "lacks CHF"),
    ],
)
def test_mean_variance_refuses_what_has_no_answer(change: Problem, error: type[Exception], message: str) -> None:
    usual: Problem = {
        "risk_aversion": 8.0,
        "trading_cost": 0.001,
        "markup": 0.0,
        "lower": -0.3,
        "upper": 0.3,
        "gross": 2.0,
    }
    given = {"carry": CARRY, "cov": COV, "previous": series(), **usual} | change
    with pytest.raises(error, match=message):
        mean_variance(**given)


def test_array_form_refuses_holes_and_wrong_shapes_too() -> None:
    p = problem(3, 1)
    hole = p["cov"].copy()
    hole[0, 1] = NAN
    with pytest.raises(DataError, match="position 0"):
        mean_variance_array(**p | {"cov": hole, "lower": -1.0, "upper": 1.0})
    with pytest.raises(DataError, match="position 2: carry inf"):
        mean_variance_array(**p | {"carry": np.array([0.0, 0.0, INF])})
    with pytest.raises(ConfigError, match=r"covariance of shape \(2, 2\)"):
        mean_variance_array(**p | {"cov": np.eye(2)})


def test_nothing_that_may_be_held_is_nothing_held() -> None:
    p = problem(3, 1) | {"lower": 0.0, "upper": 0.0, "cov": np.full((3, 3), NAN)}
    assert mean_variance_array(**p).tolist() == [0, 0, 0]
