"""fxcarry.lookahead on random markets: what cheats is found where a brute-force count says, what does not passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.lookahead import check_warmup, find_look_ahead
from fxcarry.market import MarketHistory, to_ns
from fxcarry.testing import market_history

PAIR = ("AUD", "JPY")


def market(seed: int) -> MarketHistory:
    history = market_history(PAIR, 150, seed)
    return attrs.evolve(history, rates={c: attrs.evolve(r, available_at=r.as_of) for c, r in history.rates.items()})


def in_rows(ahead: int) -> Callable[[MarketHistory], Callable[[Any, Any], dict[str, float]]]:
    """Makes a strategy whose weight is AUD's price ``ahead`` rows on, or the last there is."""

    def factory(data: MarketHistory) -> Callable[[Any, Any], dict[str, float]]:
        def strategy(view: Any, account: Any) -> dict[str, float]:
            row = int(np.searchsorted(data.times, to_ns(view.as_of), "right")) - 1
            return {"AUD": 0.1 * float(data.spot[min(row + ahead, len(data) - 1), 0])}

        return strategy

    return factory


@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=st.integers(0, 10_000), ahead=st.integers(1, 40))
def test_both_weights_of_a_peek_are_the_prices_then_and_now(seed, ahead):
    history = market(seed)
    report = find_look_ahead(factory=in_rows(ahead), history=history, universe=PAIR)
    day = history.times.astype("datetime64[D]")
    spot = history.spot[:, 0]
    ends = [i for i in range(len(day)) if i + 1 == len(day) or day[i].astype("M8[M]") != day[i + 1].astype("M8[M]")]
    expected = {str(day[i]): (0.1 * spot[min(i + ahead, len(day) - 1)], 0.1 * spot[i]) for i in ends[:-1]}
    assert report.decisions == len(ends)
    assert {f"{f.at:%Y-%m-%d}": f.weights["AUD"] for f in report.findings} == expected


@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 60), behind=st.integers(0, 40))
def test_what_uses_only_the_past_passes_and_needs_the_rows_it_uses(seed, rows, behind):
    history = market(seed)

    def momentum(view: Any, account: Any) -> dict[str, float]:
        return dict(zip(view.currencies, view.values("spot") / view.spot_rows(rows)[0] - 1))

    assert find_look_ahead(momentum, history=history, universe=PAIR).is_clean
    assert find_look_ahead(factory=in_rows(-behind), history=history, universe=PAIR, start="2020-04-01").is_clean
    report = check_warmup(momentum, history=history, universe=PAIR, lengths=range(1, 70))
    assert report.rows == rows
