"""A book of currency exposures held in the pairs that cost least.

Long AUD against short JPY is one position in AUDJPY or two through the dollar. A venue that charges its financing
mark-up on every pair charges the second book twice. :func:`least_cost` finds the pair positions that give the wanted
net exposure to every currency at the least spread on what is traded and the least mark-up on what is then held.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fxcarry.errors import ConfigError, DataError
from fxcarry.model import FloatArray

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
    held = np.asarray(current, float).tolist()
    position = [p if h >= m else 0.0 for p, h, m in zip(held, trade.tolist(), hold.tolist())]
    excess = wanted.tolist()
    for (base, quote), amount in zip(edges, position):
        excess[base] -= amount
        excess[quote] += amount
    price, room = np.full((nodes, nodes), np.inf), np.zeros((nodes, nodes))
    which = {pair: k for k, edge in enumerate(edges) for pair in (edge, edge[::-1])}

    def reprice(k: int) -> None:
        """What one more unit of pair k costs, up and down, and how far that price holds."""
        base, quote = edges[k]
        p, start, h, m = position[k], held[k], float(trade[k]), float(hold[k])
        for sign, one, other in ((1.0, base, quote), (-1.0, quote, base)):
            away = sign * (p - start) > -near
            larger = sign * p > -near
            price[one, other] = (h if away else -h) + (m if larger else -m)
            ahead = [sign * (stop - p) for stop in (0.0, start) if sign * (stop - p) > near]
            room[one, other] = min(ahead, default=np.inf)

    for k in range(len(edges)):
        reprice(k)
    for source in range(nodes):
        while excess[source] > near:
            distance, via = _paths(price, source)
            ends = [n for n in range(nodes) if excess[n] < -near and distance[n] < np.inf]
            if not ends:
                raise DataError("no pairs lead to a wanted exposure", hint="offer a pair for every currency")
            sink = min(ends, key=distance.__getitem__)
            path = [sink]
            while path[-1] != source:
                path.append(int(via[path[-1]]))
            steps = list(zip(path[1:], path))
            amount = min(excess[source], -excess[sink], *(float(room[step]) for step in steps))
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


def _paths(price: FloatArray, source: int) -> tuple[FloatArray, FloatArray]:
    """Least cost from ``source`` to every node, and the node before each (Bellman–Ford; prices may be below zero)."""
    nodes = len(price)
    distance, via = np.full(nodes, np.inf), np.full(nodes, source)
    distance[source] = 0.0
    for _ in range(nodes):
        through = distance[:, None] + price
        best = through.argmin(0)
        reached = through[best, np.arange(nodes)]
        shorter = reached < distance - 1e-15
        if not shorter.any():
            break
        distance = np.where(shorter, reached, distance)
        via = np.where(shorter, best, via)
    return distance, via
