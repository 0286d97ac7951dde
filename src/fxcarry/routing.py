"""A book of currency exposures held in the pairs that cost least.

Long AUD against short JPY is one position in AUDJPY or two through the dollar. A venue that charges its financing
mark-up on every pair charges the second book twice. :func:`least_cost` finds the pair positions that give the wanted
net exposure to every currency at the least spread on what is traded and the least mark-up on what is then held;
:class:`RoutedBook` is a book that holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import inf
from typing import Any

import attrs
import numpy as np

from fxcarry.errors import ConfigError, DataError
from fxcarry.model import FloatArray
from fxcarry.orders import Book, Lot, whole

_CLOSE = 1e-12  # of the largest amount: smaller amounts are rounding


def least_cost(
    exposure: FloatArray,
    edges: Sequence[tuple[int, int]],
    current: FloatArray,
    trading_cost: FloatArray,
    holding_cost: FloatArray,
) -> FloatArray:
    """The pair positions p that minimize Σ trading_cost·|p − current| + Σ holding_cost·|p|.

    Subject to net exposure: of every node, what is long as base less what is short as quote equals ``exposure``, which
    sums to zero (the account currency is a node and carries the residual). ``edges`` are the (base, quote) nodes of
    each pair, at most one pair between two nodes; positions, exposures and ``current`` are amounts in one currency,
    signed; the costs are per unit of amount, >= 0: half the spread and commission, and the mark-up for as long as the
    position is expected to be held.

    A minimum-cost flow with convex costs, solved exactly by successive shortest paths (Ahuja, Magnanti and Orlin 1993,
    chapter 14): every pair starts where it alone would cost least, and what exposures then lack is sent along the paths
    of least marginal cost. Among equally cheap books the earlier pairs are preferred. Raises ConfigError for a cost
    below zero or a repeated pair, DataError for exposures that are not finite or do not sum to zero, or cannot be
    reached through the pairs given.
    """
    wanted = np.asarray(exposure, float)
    size = float(np.abs(wanted).max(initial=0.0)) + float(np.abs(current).max(initial=0.0))
    if not np.isfinite(size):
        raise DataError("an exposure or a position is not a number", hint="leave the currency out")
    if abs(float(wanted.sum())) > 1e-9 * max(size, 1e-300):
        raise DataError(f"the exposures sum to {wanted.sum():g}, not to zero", hint="the account currency is the rest")
    trade, hold = (np.asarray(cost, float) for cost in (trading_cost, holding_cost))
    if not (np.isfinite(trade) & np.isfinite(hold) & (trade >= 0) & (hold >= 0)).all():
        raise ConfigError("a cost of a pair is below zero or not a number", hint="costs are fractions, >= 0")
    if len({frozenset(edge) for edge in edges}) != len(edges):
        raise ConfigError("a pair is listed twice", hint="one pair between two currencies")
    nodes, near = len(wanted), _CLOSE * size
    trading, holding = trade.tolist(), hold.tolist()
    held = np.asarray(current, float).tolist()
    position = [p if h >= m else 0.0 for p, h, m in zip(held, trading, holding)]
    excess = wanted.tolist()
    for (base, quote), amount in zip(edges, position):
        excess[base] -= amount
        excess[quote] += amount
    price, room = [[inf] * nodes for _ in range(nodes)], [[0.0] * nodes for _ in range(nodes)]
    which = {pair: k for k, edge in enumerate(edges) for pair in (edge, edge[::-1])}

    def reprice(k: int) -> None:
        """What one more unit of pair k costs, up and down, and how far that price holds."""
        base, quote = edges[k]
        p, start, h, m = position[k], held[k], trading[k], holding[k]
        moved = p - start
        price[base][quote] = (h if moved > -near else -h) + (m if p > -near else -m)
        price[quote][base] = (h if moved < near else -h) + (m if p < near else -m)
        up, down = inf, inf
        for distance in (-p, -moved):  # to zero, and back to where it was
            if near < distance < up:
                up = distance
            elif near < -distance < down:
                down = -distance
        room[base][quote], room[quote][base] = up, down

    for k in range(len(edges)):
        reprice(k)
    for source in range(nodes):
        while excess[source] > near:
            distance, via = _paths(price, source)
            ends = [n for n in range(nodes) if excess[n] < -near and distance[n] < inf]
            if not ends:
                raise DataError("no pairs lead to a wanted exposure", hint="offer a pair for every currency")
            sink = min(ends, key=distance.__getitem__)
            path = [sink]
            while path[-1] != source:
                path.append(via[path[-1]])
            steps = list(zip(path[1:], path))
            amount = min(excess[source], -excess[sink], *(room[one][other] for one, other in steps))
            for step in steps:
                k = which[step]
                position[k] += amount if edges[k] == step else -amount
                for stop in (0.0, held[k]):  # land on a corner exactly, so that its other side is priced next
                    if abs(position[k] - stop) <= near:
                        position[k] = stop
                reprice(k)
            excess[source] -= amount
            excess[sink] += amount
    return np.array(position)


def _positive(instance: object, attribute: Any, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ConfigError(f"{attribute.name} is {value}", hint="years, > 0: 0.25 is a quarter")


@attrs.frozen
class LeastCost:
    """Hold exposures in the pairs, crosses included, that cost least.

    ``horizon`` is how long a position is expected to be held, in years: a spread is paid once, a mark-up for as long as
    that. A longer horizon moves more of what is held into crosses.
    """

    horizon: float = attrs.field(default=0.25, validator=_positive)


def routing_of(choice: LeastCost | str) -> LeastCost | None:
    """``"least-cost"`` or a LeastCost of your own; ``"direct"`` is None. ConfigError for anything else."""
    if isinstance(choice, LeastCost):
        return choice
    if choice not in ("direct", "least-cost"):
        raise ConfigError(f"routing is {choice!r}", hint='"direct" or "least-cost"')
    return LeastCost() if choice == "least-cost" else None


@attrs.frozen(eq=False)
class RoutedBook(Book):
    """A book that holds each set of currency weights in the pairs that cost least.

    ``trading_cost`` and ``holding_cost`` are by instrument, as fractions of its notional: half the spread and
    commission, and the mark-up over the horizon. Net exposures are those of a plain :class:`~fxcarry.orders.Book`, to
    the unit step.
    """

    trading_cost: FloatArray = attrs.field(kw_only=True)
    holding_cost: FloatArray = attrs.field(kw_only=True)

    @classmethod
    def over(cls, book: Book, trading_cost: FloatArray, holding_cost: FloatArray) -> RoutedBook:
        """The same instruments, routed."""
        fields = {a.name: getattr(book, a.name) for a in attrs.fields(Book)}
        return cls(**fields, trading_cost=trading_cost, holding_cost=holding_cost)

    @cached_property
    def _edges(self) -> list[tuple[int, int]]:
        """Base and quote of every instrument by place in the universe; the account currency stands after it."""
        places = {c: i for i, c in enumerate(self.currencies)}
        places[self.account_currency] = len(self.currencies)
        return [(places[i.exposure.base], places[i.exposure.quote]) for i in self.instruments]

    def target_units(self, weights: FloatArray, nav: float, held: Lot) -> list[float]:
        """Signed units of each instrument for currency weights; those of crosses in whole steps.

        What a position has gained or lost against its entry is an exposure to its quote currency as well, and stays one
        until the position is closed. How much stays depends on the route, so the route is found again until that does
        not change. The pairs against the account currency take what the crosses leave; where those alone would cost
        less after all, nothing is routed.
        """
        units, average, base_value, conversion = map(np.array, held)
        value = units * base_value
        profit = value - units * average * conversion
        priced = np.flatnonzero((base_value > 0) & (conversion > 0))
        base, quote = (np.array(side, np.intp) for side in zip(*self._edges))
        nodes = len(self.currencies) + 1
        reached = np.bincount(np.concatenate([base[priced], quote[priced]]), minlength=nodes) > 0
        wanted = np.where(reached, np.append(weights * nav, 0.0), 0.0)
        edges = [self._edges[k] for k in priced.tolist()]
        costs = self.trading_cost[priced], self.holding_cost[priced]
        target, kept = np.zeros(len(units)), profit
        for _ in range(_ROUNDS):
            flow: FloatArray = wanted - np.bincount(quote, kept, nodes).astype(float)
            flow[-1] -= flow.sum()
            target[priced] = least_cost(flow, edges, value[priced], *costs)
            before, kept = kept, profit * _part(target, value)
            if np.abs(kept - before).max(initial=0.0) <= 1e-10 * nav:
                break
        first = len(self.holdings)
        crosses = whole(
            (target[first:] / np.where(base_value > 0, base_value, 1.0)[first:]).tolist(), self.steps[first:]
        )
        amount = np.array(crosses) * base_value[first:]
        kept = profit[first:] * _part(np.array(crosses), units[first:])
        taken = np.bincount(base[first:], amount, nodes) - np.bincount(quote[first:], amount - kept, nodes)
        routed = [*super().target_units(weights - taken[:-1] / nav, nav, held)[:first], *crosses]
        plain = super().target_units(weights, nav, held)
        return routed if self.cost(routed, held) < self.cost(plain, held) * (1 - 1e-6) else plain

    def cost(self, target: Sequence[float], held: Lot) -> float:
        """What going from ``held`` to ``target`` units costs at once, and holding them over the horizon costs after,
        in account currency.
        """
        units, traded, base = np.array(target), np.array(target) - np.array(held.units), np.array(held.base_value)
        return float((self.trading_cost * np.abs(traded) + self.holding_cost * np.abs(units)) @ base)


def _part(target: FloatArray, held: FloatArray) -> FloatArray:
    """Which part of each position held is still there at the target."""
    part: FloatArray = np.divide(target, held, out=np.zeros(len(held)), where=held != 0).clip(0.0, 1.0)
    return part


_ROUNDS = 8  # a route that has not settled by then is completed in the pairs against the account currency


def _paths(price: list[list[float]], source: int) -> tuple[list[float], list[int]]:
    """Least cost from ``source`` to every node, and the node before each (Bellman–Ford; prices may be below zero)."""
    nodes = range(len(price))
    distance, via = [inf] * len(price), [source] * len(price)
    distance[source] = 0.0
    changed = [source]
    for _ in nodes:
        before, nearer = distance.copy(), set()
        for node in changed:
            here = before[node]
            for other, cost in enumerate(price[node]):
                if here + cost < distance[other] - 1e-15:
                    distance[other], via[other] = here + cost, node
                    nearer.add(other)
        if not nearer:
            break
        changed = sorted(nearer)
    return distance, via
