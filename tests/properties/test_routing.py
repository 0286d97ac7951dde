"""Routed books hold the exposures of plain ones, for no more money."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.costs import Costs
from fxcarry.model import Instrument
from fxcarry.orders import Book, Lot, all_pairs, net_exposures, whole
from fxcarry.routing import RoutedBook

CURRENCIES = ("AUD", "CHF", "EUR", "JPY", "NOK")
NAV = 1_000_000.0
PAIRS = all_pairs(CURRENCIES, "USD")


def routed_book(markup: float, spreads: list[float]) -> RoutedBook:
    costs = Costs(spread_bps=dict(zip((*CURRENCIES, "USD"), [*spreads, 0.0])))
    plain = Book.of(CURRENCIES, "USD", {str(p): Instrument(name=str(p), exposure=p) for p in PAIRS})
    trading = np.array([costs.per_turnover(i.exposure) for i in plain.instruments])
    return RoutedBook.over(plain, trading, np.full(len(trading), markup / 4))


def traded(held: Lot, target: list[float]) -> Lot:
    averages = []
    for have, entry, want, base, conversion in zip(held.units, held.average, target, held.base_value, held.conversion):
        mid = base / conversion
        same, more = have * want > 0, abs(want) > abs(have)
        kept = (entry * have + mid * (want - have)) / want if same and more else entry if same else mid
        averages.append(kept if want else 0.0)
    return Lot(target, averages, held.base_value, held.conversion)


def net(held: Lot) -> np.ndarray:
    found = net_exposures(PAIRS, held, "USD")
    return np.array([found.get(c, 0.0) for c in CURRENCIES])


@st.composite
def situations(draw: Any) -> tuple[RoutedBook, np.ndarray, Lot]:
    """A book with random costs, wanted weights, and holdings bought at other prices than today's."""
    few = st.floats(0.0, 20.0)
    book = routed_book(draw(st.sampled_from([0.0, 0.002, 0.01, 0.04])), [draw(few) for _ in CURRENCIES])
    values = [draw(st.floats(0.005, 1.5)) for _ in CURRENCIES] + [1.0]
    worth = dict(zip((*CURRENCIES, "USD"), values))
    base = [worth[p.base] for p in PAIRS]
    conversion = [worth[p.quote] for p in PAIRS]
    sizes = st.one_of(st.just(0.0), st.floats(-0.4, 0.4))
    units = whole([draw(sizes) * NAV / b for b in base], [1.0] * len(base))
    entries = [b / c * (1 + draw(st.floats(-0.15, 0.15))) if u else 0.0 for b, c, u in zip(base, conversion, units)]
    weights = np.array([draw(sizes) for _ in CURRENCIES])
    return book, weights, Lot(units, entries, base, conversion)


@given(situations())
@settings(max_examples=150, deadline=None)
def test_exposures_are_those_asked_for_to_the_unit_step(case: tuple[RoutedBook, np.ndarray, Lot]) -> None:
    book, weights, held = case
    target = whole(book.target_units(weights, NAV, held), book.steps)
    unit = np.array([held.base_value[j] for j in range(len(CURRENCIES))])  # of each currency's market pair
    assert (np.abs(net(traded(held, target)) - weights * NAV) <= 1.2 * unit + 1e-6).all()


@given(situations())
@settings(max_examples=150, deadline=None)
def test_it_never_costs_more_than_the_pairs_against_the_account_currency(
    case: tuple[RoutedBook, np.ndarray, Lot],
) -> None:
    book, weights, held = case
    assert book.cost(book.target_units(weights, NAV, held), held) <= book.cost(
        Book.target_units(book, weights, NAV, held), held
    )
