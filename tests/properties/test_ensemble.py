"""Properties of an ensemble's attribution over random parts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry import backtest
from fxcarry.ensemble import attribute_ensemble
from fxcarry.market import MarketView
from fxcarry.model import FloatArray
from fxcarry.strategies import Blend
from fxcarry.testing import market_history

CURRENCIES = ("EUR", "JPY", "AUD", "NOK")
HISTORY = market_history(CURRENCIES, days=90, seed=7)
RUN = partial(backtest, history=HISTORY, universe=CURRENCIES, start="2020-01-08", rules=[])


@attrs.frozen(eq=False)
class Cycling:
    """A few books, one after the other."""

    books: tuple[tuple[float, ...], ...]
    reads_account = False

    def __call__(self, view: MarketView, account: Any) -> FloatArray:
        return np.array(self.books[view.as_of.month % len(self.books)])


weight = st.floats(-1, 1).map(lambda w: round(w, 2))
book = st.tuples(*[weight] * len(CURRENCIES))
part = st.lists(book, min_size=1, max_size=3).map(lambda books: Cycling(tuple(books)))
blends = st.dictionaries(st.sampled_from(["a", "b", "c"]), part, min_size=1, max_size=3)


@given(blends)
@settings(max_examples=15)
def test_lines_add_up_and_netting_saves(parts: Mapping[str, Cycling]) -> None:
    found = attribute_ensemble(Blend(parts, lookback=200), RUN)
    table = found.table
    np.testing.assert_allclose(table.iloc[:-1].sum(), table.loc["total"], atol=1e-14)
    np.testing.assert_allclose(found.daily["total"], found.ensemble.returns, atol=1e-14)
    netting = table.loc["netting"]
    assert netting["carry"] > -1e-4  # interest on open P&L, which counts as exposure, is a basis point either way
    assert netting["cost"] > -1e-5
    if len(parts) == 1:
        np.testing.assert_allclose(netting, 0, atol=1e-12)
