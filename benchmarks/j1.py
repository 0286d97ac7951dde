"""J1: a daily carry backtest, 9 pairs from 1999, monthly 3 long / 3 short, NAV every day. One JSON line a mode.

    python benchmarks/j1.py [--reference] [--repeats N]

Modes, all with ledger and attribution to the cent and financing booked every night:

- ``rules``: the reference's own job (±1/3 legs, held until the next month end) with all seven risk rules asked at every
  decision and screening every day, their limits wide enough not to change the job;
- ``brief-limits``: the default limits, which cut every leg to 30 % and stop positions out at 5 % (the drawdown limit at
  90 %, so that the run is not flat from 2008 on): another and longer job;
- ``no-rules``: the reference's job without rules.

``wall`` is everything from prices and rates in memory to the attributed result, in a warm process; reading the data is
apart. ``--reference`` adds a plain loop of one numpy step a row on the same prices and rates, which books no financing,
rounds nothing, checks no rule and keeps no record; the modes are timed alternately and ``ratio`` is the median of
wall / reference, pair by pair.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time

started = time.perf_counter()

import numpy as np  # noqa: E402

from fxcarry import __version__  # noqa: E402
from fxcarry.backtest import BacktestResult, backtest  # noqa: E402
from fxcarry.conventions import G10  # noqa: E402
from fxcarry.costs import Costs  # noqa: E402
from fxcarry.market import MarketHistory  # noqa: E402
from fxcarry.protocols import RiskRule  # noqa: E402
from fxcarry.risk import (  # noqa: E402
    DailyLoss,
    Drawdown,
    MaxCurrenciesPerSide,
    MaxExposure,
    MaxPosition,
    Staleness,
    StopLoss,
    default_rules,
)
from fxcarry.strategies import Baseline  # noqa: E402
from fxcarry_ecb import EcbFeed  # noqa: E402

import_s = time.perf_counter() - started
UNIVERSE = tuple(c for c in G10 if c != "USD")
FEE = 1e-4
RULES: dict[str, list[RiskRule]] = {
    "rules": [
        MaxPosition(limit=0.9, currency_limit=0.9, drift_limit=0.9),
        StopLoss(limit=0.9),
        MaxCurrenciesPerSide(),
        MaxExposure(limit=4.0, drift_limit=4.0, hard_limit=4.0),
        DailyLoss(limit=0.9),
        Drawdown(limit=0.9),
        Staleness(),
    ],
    "brief-limits": [Drawdown(limit=0.9) if isinstance(rule, Drawdown) else rule for rule in default_rules()],
    "no-rules": [],
}


def run(history: MarketHistory, mode: str) -> BacktestResult:
    costs = Costs(spread_multiplier=0.0, commission_bps=FEE * 1e4)
    return backtest(Baseline(), history=history, universe=UNIVERSE, rules=RULES[mode], costs=costs, markup=0.0)


def three_a_side(signal: np.ndarray) -> np.ndarray:
    """±1/3 on the three highest and lowest of the currencies that have a signal."""
    weights, order = np.zeros(len(signal)), np.argsort(signal, kind="stable")
    known = len(order) - int(np.isnan(signal).sum())
    weights[order[:3]] = -1 / 3
    weights[order[known - 3 : known]] = 1 / 3
    return weights


def row_loop(spot: np.ndarray, carry: np.ndarray, is_month_end: list[bool]) -> float:
    """One numpy step a row: mark, and at a month end trade at once to ±1/3, counting orders."""
    units, cash, navs, orders = np.zeros(spot.shape[1]), 1_000_000.0, [], 0
    for price, signal, due in zip(spot, carry, is_month_end):
        nav = cash + units @ price
        if due:
            target = three_a_side(signal) * (nav / price)
            change = target - units
            fee = FEE * np.abs(change * price).sum()
            cash -= change @ price + fee
            nav -= fee
            units = target
            orders += np.count_nonzero(change)
        navs.append(nav)
    return float(navs[-1])


def timed(work) -> float:
    begun = time.perf_counter()
    result = work()  # kept until the clock has stopped: giving the result back is not part of making it
    elapsed = time.perf_counter() - begun
    del result
    return elapsed


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--reference", action="store_true")
    options.add_argument("--repeats", type=int, default=15)
    chosen = options.parse_args()
    load_s = time.perf_counter()
    history = EcbFeed().history(None, None)
    load_s = time.perf_counter() - load_s
    market = history.in_currency("USD", UNIVERSE)
    month = market.times.astype("datetime64[M]")
    due = np.append(month[1:] != month[:-1], False).tolist()
    carry = market.rate_matrix(market.times, UNIVERSE) - market.rate_matrix(market.times, ["USD"])
    walls: dict[str, list[float]] = {mode: [] for mode in (*RULES, "reference")}
    outcome: dict[str, tuple[int, float]] = {}
    for mode in RULES:
        result = run(history, mode)
        outcome[mode] = len(result.journal.orders), round(float(result.books.nav[-1]), 2)
    del result
    final = row_loop(market.spot, carry, due)
    for _ in range(chosen.repeats):
        for mode in RULES:
            walls[mode].append(timed(lambda mode=mode: run(history, mode)))
        if chosen.reference:
            walls["reference"].append(timed(lambda: row_loop(market.spot, carry, due)))
    common = {"job": "J1", "kind": "daily", "n": len(UNIVERSE), "rows": len(market), "bars": market.spot.size}
    rss = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    for mode, (orders, nav) in outcome.items():
        line = {
            "peer": "fxcarry",
            "version": __version__,
            **common,
            "mode": mode,
            "wall": round(statistics.median(walls[mode]), 6),
            "import_s": round(import_s, 4),
            "load_s": round(load_s, 4),
            "decisions": sum(due),
            "orders": orders,
            "nav": nav,
            "rss_mib": rss,
        }
        if chosen.reference:
            pairs = zip(walls[mode], walls["reference"])
            line["ratio"] = round(statistics.median(wall / reference for wall, reference in pairs), 2)
        print(json.dumps(line))
    if chosen.reference:
        wall = round(statistics.median(walls["reference"]), 6)
        print(
            json.dumps({"peer": "numpy-row-loop", **common, "mode": "reference", "wall": wall, "nav": round(final, 2)})
        )


if __name__ == "__main__":
    main()
