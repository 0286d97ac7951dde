"""fxcarry.covariance against scikit-learn, a loop and worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from fxcarry.covariance import ewma_volatility, ledoit_wolf
from fxcarry.errors import ConfigError, DataError, MissingDataError


def sample(periods, n, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(n, n)) * 0.3 + np.eye(n)
    return rng.standard_t(5, (periods, n)) @ mix * 0.006 + 0.0002


@pytest.mark.parametrize(("periods", "n"), [(2, 3), (20, 30), (60, 9), (250, 9), (1260, 9), (40, 2), (30, 1)])
def test_ledoit_wolf_agrees_with_scikit_learn(periods, n):
    oracle = pytest.importorskip("sklearn.covariance").LedoitWolf()
    x = sample(periods, n)
    before = x.copy()
    oracle.fit(x)
    covariance, shrinkage = ledoit_wolf(x)
    assert type(covariance) is np.ndarray
    assert type(shrinkage) is float
    np.testing.assert_allclose(covariance, oracle.covariance_, rtol=0, atol=1e-12 * np.abs(oracle.covariance_).max())
    assert shrinkage == pytest.approx(oracle.shrinkage_, abs=1e-12)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(covariance, covariance.T)


def test_ledoit_wolf_by_the_letter_of_the_paper():
    x = sample(50, 4)
    t, n = x.shape
    d = x - x.mean(0)
    s = d.T @ d / t
    m = np.trace(s) / n
    distance = ((s - m * np.eye(n)) ** 2).sum() / n
    noise = sum(((np.outer(row, row) - s) ** 2).sum() / n for row in d) / t**2
    share = min(noise, distance) / distance
    covariance, shrinkage = ledoit_wolf(x)
    assert shrinkage == pytest.approx(share, abs=1e-12)
    np.testing.assert_allclose(covariance, share * m * np.eye(n) + (1 - share) * s, atol=1e-16)


def test_ledoit_wolf_makes_a_singular_sample_invertible():
    covariance, shrinkage = ledoit_wolf(sample(10, 20))
    assert 0 < shrinkage <= 1
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_ledoit_wolf_without_anything_to_shrink():
    covariance, shrinkage = ledoit_wolf(np.zeros((5, 3)))
    assert shrinkage == 0.0
    np.testing.assert_array_equal(covariance, np.zeros((3, 3)))


def test_ledoit_wolf_keeps_labels():
    x = sample(100, 3)
    frame = pd.DataFrame(x, columns=["AUD", "EUR", "JPY"])
    covariance, shrinkage = ledoit_wolf(frame)
    assert isinstance(covariance, pd.DataFrame)
    assert list(covariance.index) == list(covariance.columns) == ["AUD", "EUR", "JPY"]
    plain, same = ledoit_wolf(x)
    assert shrinkage == pytest.approx(same)
    np.testing.assert_allclose(covariance.to_numpy(), plain)


@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_a_gap_names_its_column_and_row(gap):
    index = pd.date_range("2025-01-01", periods=100)
    frame = pd.DataFrame(sample(100, 3), columns=["AUD", "EUR", "JPY"], index=index)
    frame.iloc[7, 2] = gap
    with pytest.raises(MissingDataError, match="column JPY") as caught:
        ledoit_wolf(frame)
    assert caught.value.fields == {"column": "JPY", "row": index[7]}
    with pytest.raises(MissingDataError, match=r"column 2 is .* at 7"):
        ledoit_wolf(frame.to_numpy())
    with pytest.raises(MissingDataError, match="column JPY"):
        ewma_volatility(frame)
    with pytest.raises(MissingDataError, match="at 2025-01-08"):
        ewma_volatility(frame["JPY"])


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (5, 0), (5,), (2, 2, 2)])
def test_shapes_without_a_covariance(shape):
    with pytest.raises(DataError, match="no covariance"):
        ledoit_wolf(np.zeros(shape))


def test_returns_too_large_to_square():
    with pytest.raises(DataError, match="too large"):
        ledoit_wolf(np.array([[1e200, 1.0], [-1e200, 2.0], [0.0, 0.0]]))


R = [0.01, -0.02, 0.015, -0.005]


def test_ewma_volatility():
    daily = ewma_volatility(R)
    assert type(daily) is float
    assert daily == pytest.approx(0.0108836942, abs=1e-10)
    assert daily * math.sqrt(252) == pytest.approx(0.1727732896, abs=1e-10)
    assert ewma_volatility(np.array([0.03])) == pytest.approx(0.03)


@pytest.mark.parametrize("decay", [0.94, 0.97, 0.5])
def test_ewma_volatility_is_the_recursion(decay):
    x = sample(700, 2)
    variance = x[0] ** 2
    for row in x[1:]:
        variance = decay * variance + (1 - decay) * row**2
    np.testing.assert_allclose(ewma_volatility(x, decay), np.sqrt(variance), rtol=1e-12)


def test_ewma_volatility_keeps_labels():
    frame = pd.DataFrame({"EUR": R, "JPY": [2 * r for r in R]})
    got = ewma_volatility(frame)
    assert list(got.index) == ["EUR", "JPY"]
    assert got["EUR"] == pytest.approx(0.0108836942, abs=1e-10)
    assert got["JPY"] == pytest.approx(2 * 0.0108836942, abs=1e-10)
    assert ewma_volatility(frame["EUR"]) == pytest.approx(got["EUR"])


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, 94, math.nan])
def test_decay_is_a_fraction(decay):
    with pytest.raises(ConfigError, match="decay"):
        ewma_volatility(R, decay)


def test_no_returns_no_volatility():
    with pytest.raises(DataError, match="no volatility"):
        ewma_volatility([])
