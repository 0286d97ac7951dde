"""fxcarry.routing against books worked by hand and a general solver."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import attrs
import numpy as np
import pytest

from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.model import Instrument
from fxcarry.orders import Book, Lot, all_pairs, net_exposures, whole
from fxcarry.routing import LeastCost, RoutedBook, least_cost, routing_of

AUD, JPY, USD = 0, 1, 2
EDGES = [(AUD, USD), (USD, JPY), (AUD, JPY)]
SPREAD = [1e-4, 1e-4, 2e-4]
MARKUP = [0.01 / 12] * 3


def solve(
    exposure: Sequence[float],
    current: Sequence[float] = (0.0, 0.0, 0.0),
    trading: Sequence[float] = SPREAD,
    holding: Sequence[float] = MARKUP,
    edges: Sequence[tuple[int, int]] = EDGES,
) -> list[float]:
    found = least_cost(np.array(exposure), edges, np.array(current), np.array(trading), np.array(holding))
    return found.round(12).tolist()


def net(edges: Sequence[tuple[int, int]], position: Sequence[float], nodes: int) -> np.ndarray:
    total = np.zeros(nodes)
    for (base, quote), amount in zip(edges, position):
        total[base] += amount
        total[quote] -= amount
    return total


def by_solver(
    exposure: np.ndarray, edges: Sequence[tuple[int, int]], current: np.ndarray, h: np.ndarray, m: np.ndarray
) -> float:
    """The least cost as a linear program: positions and trades split into their two signs."""
    k, nodes = len(edges), len(exposure)
    flow = np.array([net(edges, unit, nodes) for unit in np.eye(k)]).T
    one, none = np.eye(k), np.zeros((nodes, 2 * k))
    equal = np.vstack([np.hstack([flow, -flow, none]), np.hstack([one, -one, -one, one])])
    linprog = pytest.importorskip("scipy.optimize").linprog
    found = linprog(np.r_[m, m, h, h], A_eq=equal, b_eq=np.r_[exposure, current], bounds=(0, None))
    assert found.status == 0
    return float(found.fun)


def test_long_aud_against_short_jpy_is_one_position() -> None:
    assert solve([0.3, -0.3, 0.0]) == [0.0, 0.0, 0.3]


def test_a_cross_that_costs_more_than_both_legs_is_left_alone() -> None:
    assert solve([0.3, -0.3, 0.0], trading=[1e-4, 1e-4, 1e-2]) == [0.3, 0.3, 0.0]


def test_what_has_no_other_side_goes_through_the_account_currency() -> None:
    assert solve([0.5, -0.2, -0.3]) == [0.3, 0.0, 0.2]


def test_a_held_detour_stays_while_changing_it_costs_more_than_it_saves() -> None:
    held = [0.3, 0.3, 0.0]
    dear, cheap = [5e-4, 5e-4, 1e-3], [1e-5, 1e-5, 2e-5]  # 20 or 0.4 bp to move; a mark-up saves 8.3 bp a month
    assert solve([0.3, -0.3, 0.0], held, dear) == held
    assert solve([0.3, -0.3, 0.0], held, cheap) == [0.0, 0.0, 0.3]


def test_nothing_wanted_is_nothing_held() -> None:
    assert solve([0.0, 0.0, 0.0]) == [0.0, 0.0, 0.0]
    assert solve([0.0, 0.0, 0.0], [0.2, 0.0, 0.0]) == [0.0, 0.0, 0.0]
    assert least_cost(np.zeros(1), [], np.zeros(0), np.zeros(0), np.zeros(0)).tolist() == []


@pytest.mark.parametrize("seed", range(60))
def test_the_cost_is_that_of_a_general_solver_and_the_exposures_are_met(seed: int) -> None:
    random = np.random.default_rng(seed)
    nodes = int(random.integers(2, 8))
    edges = [(a, b) for a in range(nodes) for b in range(a + 1, nodes) if b == nodes - 1 or random.random() < 0.6]
    edges = [edge if random.random() < 0.5 else edge[::-1] for edge in edges]
    exposure = random.normal(size=nodes) * (random.random(nodes) < 0.8)
    exposure = exposure.round() if seed % 3 == 0 else exposure
    exposure[-1] = -exposure[:-1].sum()
    current, h, m = (random.random((3, len(edges))) * (random.random((3, len(edges))) < 0.8)).copy()
    current = current * random.choice([-1, 1], len(edges))
    position = least_cost(exposure, edges, current, h, m)
    np.testing.assert_allclose(net(edges, position, nodes), exposure, atol=1e-9)
    cost = float(h @ np.abs(position - current) + m @ np.abs(position))
    assert cost == pytest.approx(by_solver(exposure, edges, current, h, m), abs=1e-7)
    direct = np.array([0.0 if nodes - 1 not in edge else 1.0 for edge in edges])
    legs = [exposure[e[0]] if e[1] == nodes - 1 else -exposure[e[1]] for e in edges] * direct
    assert cost <= h @ np.abs(legs - current) + m @ np.abs(legs) + 1e-9  # never dearer than the account currency's legs


def test_turning_the_book_round_turns_the_positions_round() -> None:
    exposure = [0.4, -0.1, -0.3]
    assert solve([-e for e in exposure]) == [-p for p in solve(exposure)]


def test_mistakes_are_told() -> None:
    with pytest.raises(DataError, match=r"sum to 0\.1"):
        solve([0.3, -0.2, 0.0])
    with pytest.raises(DataError, match="not a number"):
        solve([np.nan, 0.0, 0.0])
    with pytest.raises(ConfigError, match="below zero"):
        solve([0.3, -0.3, 0.0], trading=[1e-4, -1e-4, 2e-4])
    with pytest.raises(ConfigError, match="listed twice"):
        solve([0.3, -0.3, 0.0], edges=[(AUD, USD), (USD, AUD), (AUD, JPY)])
    with pytest.raises(DataError, match="no pairs lead"):
        least_cost(np.array([0.3, 0.0, -0.3]), [(AUD, JPY)], np.zeros(1), np.zeros(1), np.zeros(1))


# -- books -------------------------------------------------------------------------------------------------------------

CURRENCIES = ("AUD", "EUR", "JPY", "NOK")
PRICE = {"AUD": 0.65, "EUR": 1.1, "JPY": 0.0068, "NOK": 0.094, "USD": 1.0}
NAV = 1_000_000.0


def book(
    markup: float = 0.01, step: str = "1", currencies: Sequence[str] = CURRENCIES, account: str = "USD"
) -> RoutedBook:
    pairs = all_pairs(currencies, account)
    plain = Book.of(
        currencies, account, {str(p): Instrument(name=str(p), exposure=p, unit_step=Decimal(step)) for p in pairs}
    )
    costs = np.array([Costs().per_turnover(i.exposure) for i in plain.instruments])
    return RoutedBook.over(plain, costs, np.full(len(costs), markup / 4))


def plain_of(routed: RoutedBook) -> Book:
    return Book(**{field.name: getattr(routed, field.name) for field in attrs.fields(Book)})


def lot(routed: Book, units: Sequence[float], moved: Sequence[float] | None = None) -> Lot:
    """A lot at today's prices whose entries were ``moved`` (a fraction each) away from them."""
    mids = [PRICE[i.exposure.base] / PRICE[i.exposure.quote] for i in routed.instruments]
    entries = [m * (1 + x) if u else 0.0 for m, u, x in zip(mids, units, moved or [0.0] * len(mids))]
    return Lot(
        list(map(float, units)),
        entries,
        [PRICE[i.exposure.base] for i in routed.instruments],
        [PRICE[i.exposure.quote] for i in routed.instruments],
    )


def traded(held: Lot, target: Sequence[float]) -> Lot:
    """The lot after trading to ``target`` at mid: average entry as an account keeps it."""
    averages = []
    for have, entry, want, base, conversion in zip(held.units, held.average, target, held.base_value, held.conversion):
        mid = base / conversion
        if have * want <= 0:
            averages.append(mid if want else 0.0)
        elif abs(want) > abs(have):
            averages.append((entry * have + mid * (want - have)) / want)
        else:
            averages.append(entry)
    return Lot(list(target), averages, held.base_value, held.conversion)


def exposures(routed: Book, held: Lot) -> list[float]:
    net = net_exposures([i.exposure for i in routed.instruments], held, routed.account_currency)
    return [net.get(c, 0.0) for c in routed.currencies]


def by_name(routed: Book, units: Sequence[float]) -> dict[str, float]:
    return {name: u for name, u in zip(routed.names, units) if u}


def test_a_book_long_aud_and_short_jpy_holds_audjpy_alone() -> None:
    routed = book()
    target = routed.target_units(np.array([0.3, 0.0, -0.3, 0.0]), NAV, lot(routed, [0] * len(routed.names)))
    assert by_name(routed, whole(target, routed.steps)) == {"AUDJPY": 461538.0}  # 300,000 / 0.65


def test_the_account_currency_takes_the_rest() -> None:
    routed = book()
    target = routed.target_units(np.array([0.3, 0.0, -0.2, 0.0]), NAV, lot(routed, [0] * len(routed.names)))
    assert by_name(routed, whole(target, routed.steps)) == {"AUDJPY": 307692.0, "AUDUSD": 153846.0}


def test_without_a_mark_up_nothing_is_routed() -> None:
    """Spreads of a cross are those of its legs: there is nothing to gain, and the plain book stays."""
    routed = book(markup=0.0)
    held = lot(routed, [0] * len(routed.names))
    weights = np.array([0.3, 0.1, -0.3, -0.1])
    assert routed.target_units(weights, NAV, held) == plain_of(routed).target_units(weights, NAV, held)


def test_a_gain_in_a_cross_is_an_exposure_to_its_quote_currency() -> None:
    """AUDJPY bought 10 % lower: its yen are owed at cost, so less yen are short than AUD are long."""
    routed = book()
    units = [461538.0 if n == "AUDJPY" else 0.0 for n in routed.names]
    held = lot(routed, units, [-0.10] * len(units))
    assert exposures(routed, held) == pytest.approx([299999.7, 0.0, -0.9 * 299999.7, 0.0])
    weights = np.array([0.3, 0.0, -0.3, 0.0])
    after = traded(held, routed.target_units(weights, NAV, held))
    assert exposures(routed, after) == pytest.approx([300e3, 0, -300e3, 0], abs=1.0)


def test_a_currency_without_a_price_cannot_have_a_weight() -> None:
    routed = book()
    known = lot(routed, [0] * len(routed.names))
    gone = [0.0 if "NOK" in name else base for name, base in zip(routed.names, known.base_value)]
    held = known._replace(base_value=gone)
    target = routed.target_units(np.array([0.3, 0.0, -0.3, 0.0]), NAV, held)
    assert by_name(routed, whole(target, routed.steps)) == {"AUDJPY": 461538.0}
    with pytest.raises(MissingDataError, match="no price for USDNOK"):
        routed.target_units(np.array([0.3, 0.0, -0.2, -0.1]), NAV, held)


def test_a_choice_of_routing() -> None:
    assert routing_of("direct") is None
    assert routing_of("least-cost") == LeastCost(0.25)
    assert routing_of(LeastCost(horizon=1.0)) == LeastCost(1.0)
    with pytest.raises(ConfigError, match="routing is 'cheap'"):
        routing_of("cheap")
    with pytest.raises(ConfigError, match="horizon is 0"):
        LeastCost(horizon=0)
