"""What every strategy has to do, as test cases S01 to S09, on a made-up G10 market."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.market import MarketHistory, MarketView, from_ns
from fxcarry.testing import Suite
from fxcarry.testing.factories import account, last_tick, market_history, view_at

_DAYS = 400
_CUTS = (280, 320, 360)  # rows after which the cases ask for a decision
_TOLERANCE = 1e-5

Decide = Callable[[Any, Any], Any]


class StrategySuite(Suite):
    """Required fixture: ``strategy``, a callable (view, account) -> weights. It is asked many times, in any order."""

    def test_S01_it_takes_a_view_and_an_account(self, strategy: Decide) -> None:
        """Two arguments by position, and no coroutine."""
        assert callable(strategy), f"{strategy!r} cannot be called"
        is_async = inspect.iscoroutinefunction(strategy) or inspect.iscoroutinefunction(type(strategy).__call__)
        assert not is_async, "it is a coroutine; fxcarry is synchronous"
        try:
            inspect.signature(strategy).bind(None, None)
        except TypeError as error:
            pytest.fail(f"it cannot be called as (view, account): {error}")

    def test_S02_weights_are_finite_and_of_known_currencies(self, strategy: Decide) -> None:
        """A mapping or Series by currency, or an array in universe order."""
        for history in _histories():
            _decide(strategy, history)

    def test_S03_the_same_view_gives_the_same_weights(self, strategy: Decide) -> None:
        """No randomness, clock or memory decides."""
        histories = _histories()
        first = [_decide(strategy, history) for history in histories]
        again = [_decide(strategy, history) for history in reversed(histories)]
        for one, other in zip(first, reversed(again)):
            _assert_same(one, other, "asked again")

    def test_S04_the_order_of_currencies_has_no_meaning(self, strategy: Decide) -> None:
        """The weight of a currency does not depend on its column."""
        for history in _histories():
            reverse = tuple(reversed(history.currencies))
            _assert_same(_decide(strategy, history), _decide(strategy, history, reverse), "with the columns reversed")

    def test_S05_the_future_changes_no_past_decision(self, strategy: Decide) -> None:
        """Decided with nothing after the tick, with the true future, and with another one: the same weights."""
        full = market_history(days=_DAYS)
        for history in _histories():
            rows = len(history)
            at = last_tick(history)
            other = attrs.evolve(full, spot=np.concatenate([full.spot[:rows], 3.0 * full.spot[rows:][::-1]]))
            decided = _decide(strategy, history)
            _assert_same(decided, _decide(strategy, full, at=at), f"at {at:%Y-%m-%d} knowing what came next")
            _assert_same(decided, _decide(strategy, other, at=at), f"at {at:%Y-%m-%d} with another future")

    def test_S06_the_size_of_the_account_does_not_change_the_weights(self, strategy: Decide) -> None:
        """Weights are fractions of NAV."""
        for history in _histories():
            small, large = (_decide(strategy, history, nav=nav) for nav in (10_000, 10_000_000))
            _assert_same(small, large, "with a thousand times the NAV")

    def test_S07_a_currency_without_data_gets_no_weight(self, strategy: Decide) -> None:
        """A currency not quoted yet (a column of NaN) is left out; the others are still decided."""
        for history in _histories():
            spot = history.spot.copy()
            spot[:, 0] = np.nan
            weights = _decide(strategy, attrs.evolve(history, spot=spot))
            missing = history.currencies[0]
            assert not weights[missing], f"{missing} has no price and gets weight {weights[missing]}"

    def test_S08_what_is_held_is_no_obstacle(self, strategy: Decide) -> None:
        """It decides with positions open as well, also in a currency outside the universe."""
        for history in _histories():
            _decide(strategy, history, held={"EUR": 0.5, "JPY": -0.5, "MXN": 0.1})

    def test_S09_a_strategy_that_reads_no_account_gives_the_same_on_any(self, strategy: Decide) -> None:
        """With ``reads_account = False`` a run may ask it ahead, before anything is held."""
        if getattr(strategy, "reads_account", True):
            pytest.skip("the strategy reads the account")
        for history in _histories():
            empty, full = _decide(strategy, history), _decide(strategy, history, nav=5_000, held={"EUR": 0.5})
            _assert_same(empty, full, "on another account")


def _histories() -> list[MarketHistory]:
    full = market_history(days=_DAYS)
    return [full.between(None, from_ns(full.times[cut])) for cut in _CUTS]


def _decide(
    strategy: Decide,
    history: MarketHistory,
    currencies: tuple[str, ...] | None = None,
    *,
    at: datetime | None = None,
    nav: int = 1_000_000,
    held: Mapping[str, float] | None = None,
) -> dict[str, float]:
    view = view_at(history, at, currencies=currencies)
    return _weights(strategy(view, account(nav, at=view.as_of, weights=held)), view)


def _weights(answer: Any, view: MarketView) -> dict[str, float]:
    """A strategy's answer as a weight for each currency of the universe."""
    if isinstance(answer, np.ndarray):
        assert answer.shape == (len(view.currencies),), f"weights have shape {answer.shape}, one a currency is expected"
        given = dict(zip(view.currencies, answer))
    else:
        assert hasattr(answer, "items"), f"weights are a {type(answer).__name__}, expected a mapping, Series or array"
        given = dict(answer.items())
    unknown = sorted(str(c) for c in given if c not in view.currencies)
    assert not unknown, f"weights of {', '.join(unknown)}, which the view does not have"
    bad = [c for c, w in given.items() if not np.isfinite(float(w))]
    assert not bad, f"the weight of {', '.join(bad)} is not a finite number"
    return {c: float(given.get(c, 0.0)) for c in view.currencies}


def _assert_same(one: Mapping[str, float], other: Mapping[str, float], when: str) -> None:
    for currency, weight in one.items():
        assert weight == pytest.approx(other[currency], abs=_TOLERANCE), (
            f"{currency} gets {weight:.6f}, but {other[currency]:.6f} {when}"
        )
