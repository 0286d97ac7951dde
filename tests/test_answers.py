"""fxcarry.answers: what a strategy may answer."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fxcarry.answers import as_weights, ask
from fxcarry.errors import DataError, FxCarryError
from fxcarry.testing import account, market_history, view_at

NAN = float("nan")
UNIVERSE = ("EUR", "AUD", "USD")
AT = datetime(2024, 1, 31, 22, tzinfo=UTC)
ASKED: Any = SimpleNamespace(currencies=UNIVERSE, as_of=AT)  # all of a view that an answer is checked against


@pytest.mark.parametrize(
    "answer",
    [
        {"AUD": -0.2, "EUR": 0.1},
        pd.Series({"AUD": -0.2, "EUR": 0.1}),
        pd.Series([0.0, -0.2, 0.1], index=["USD", "AUD", "EUR"]),
        np.array([0.1, -0.2, 0.0]),
        {"AUD": np.float32(-0.2), "EUR": 0.1},
        {"AUD": -0.2, "EUR": 0.1, "USD": 0},
    ],
)
def test_a_mapping_a_series_and_an_array_mean_the_same(answer: Any) -> None:
    assert as_weights(answer, ASKED) == pytest.approx([0.1, -0.2, 0.0])


def test_nothing_is_flat() -> None:
    assert as_weights({}, ASKED).tolist() == [0, 0, 0]
    assert as_weights(pd.Series(dtype=float), ASKED).tolist() == [0, 0, 0]


def test_the_answer_is_copied() -> None:
    answer = np.array([0.1, 0.2, 0.3])
    as_weights(answer, ASKED)[:] = 9
    assert answer.tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"EUR": NAN}, "EUR"),
        ({"AUD": float("inf")}, "AUD"),
        (np.array([0.1, NAN, 0.0]), "AUD"),
        (pd.Series({"AUD": NAN}), "AUD"),
        (np.array([0.1, 0.2]), "shape"),
        (np.zeros((3, 1)), "shape"),
        ([0.1, 0.2, 0.3], "list"),
        (None, "NoneType"),
        (0.5, "float"),
    ],
)
def test_a_number_that_is_none_or_a_wrong_shape_is_an_error(answer: Any, named: str) -> None:
    with pytest.raises(DataError, match=named) as caught:
        as_weights(answer, ASKED)
    assert "2024-01-31" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("answer", [{"EUR": None}, {"EUR": "much"}, {"EUR": [0.1, 0.2]}])
def test_a_weight_that_is_no_number_is_an_error_of_ours(answer: Any) -> None:
    with pytest.raises(FxCarryError, match="EUR"):
        as_weights(answer, ASKED)


@pytest.mark.parametrize("answer", [{"NOK": 0.1}, pd.Series({"NOK": 0.1, "EUR": 0.2}), {"eur": 0.1}, {0: 0.1}])
def test_an_unknown_currency_is_an_error(answer: Any) -> None:
    with pytest.raises(FxCarryError, match="2024-01-31") as caught:
        as_weights(answer, ASKED)
    assert "EUR, AUD, USD" in caught.value.hint


def test_a_series_with_a_currency_twice_is_an_error() -> None:
    with pytest.raises(FxCarryError):
        as_weights(pd.Series([0.1, 0.2], index=["EUR", "EUR"]), ASKED)


def test_the_account_currency_has_no_weight_of_its_own() -> None:
    view = view_at(market_history(days=40), currencies=("EUR", "USD", "JPY"))
    asked = ask(lambda view, account: {"EUR": 0.3, "USD": 0.5}, view, account(at=view.as_of))
    assert asked.tolist() == [0.3, 0.0, 0.0]
