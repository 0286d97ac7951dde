"""The forward-premium puzzle: a published regression on weekly JPY per USD, 1975 to 1989.

Hayashi, Econometrics (2000), chapter 6: 1200 (ln s30 - ln s) on 1200 (ln f - ln s), standard errors robust to
overlapping forecasts (truncated kernel, 4 lags): constant -12.8 (4.01), slope -2.10 (0.738), R² 0.034. Under uncovered
parity the slope is 1; below zero the currency that earns carry tends to gain on top, which is the carry trade.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from fxcarry.carry import carry_ann, excess_return

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "ecdat_yen.csv"
MONTH = 365 / 12  # days, so that 1200 × a monthly log change is an annual per cent

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="ecdat_yen.csv lies outside the project and is not here")


@pytest.fixture(scope="module")
def yen():
    with DATA.open(newline="") as file:
        rows = list(csv.DictReader(file))
    dates = [row["date"] for row in rows]
    return dates, *(np.array([float(row[name]) for row in rows]) for name in ("s", "f", "s30"))


def regression(y, x, lags):
    """Least squares with a constant: coefficients, standard errors with a truncated kernel, R²."""
    design = np.column_stack([np.ones_like(x), x])
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ y
    residual = y - design @ coefficients
    scores = design * residual[:, None]
    middle = scores.T @ scores
    for lag in range(1, lags + 1):
        cross = scores[lag:].T @ scores[:-lag]
        middle += cross + cross.T
    errors = np.sqrt(np.diag(inverse @ middle @ inverse))
    return coefficients, errors, 1 - residual @ residual / ((y - y.mean()) ** 2).sum()


def test_the_sample_is_the_published_one(yen):
    dates, spot, forward, later = yen
    assert len(dates) == 778
    assert (dates[0], dates[-1]) == ("19750103", "19891124")
    assert dates == sorted(set(dates))
    assert all(np.isfinite(series).all() and (series > 100).all() for series in (spot, forward, later))


def test_the_published_regression(yen):
    _, spot, forward, later = yen
    premium = -100 * carry_ann(spot, forward, MONTH)  # the USD's forward premium, annual per cent
    np.testing.assert_allclose(premium, 1200 * np.log(forward / spot), atol=1e-10)
    # Holding JPY forward, in USD: its log excess return is ln f - ln s30, the forward's forecast error turned round.
    yen_return = excess_return(1 / spot, 1 / forward, 1 / later)
    change = premium - 1200 * yen_return.log
    np.testing.assert_allclose(change, 1200 * np.log(later / spot), atol=1e-9)

    (constant, slope), (constant_error, slope_error), fit = regression(change, premium, lags=4)
    assert constant == pytest.approx(-12.8, abs=0.05)
    assert constant_error == pytest.approx(4.01, abs=0.005)
    assert slope == pytest.approx(-2.10, abs=0.005)
    assert slope_error == pytest.approx(0.738, abs=0.0005)
    assert fit == pytest.approx(0.034, abs=0.0005)


def test_the_carry_trade_earned_its_carry_and_more(yen):
    # The USD's excess return (in JPY) on its own carry has slope 1 - (-2.10): holding USD when it earned carry paid.
    _, spot, forward, later = yen
    usd = excess_return(spot, forward, later)
    carry = 100 * carry_ann(spot, forward, MONTH)
    (_, slope), _, _ = regression(1200 * usd.log, carry, lags=4)
    assert slope == pytest.approx(1 + 2.10, abs=0.005)
    np.testing.assert_allclose(usd.total, (1 + usd.spot) * (1 + usd.carry) - 1, atol=1e-12)
