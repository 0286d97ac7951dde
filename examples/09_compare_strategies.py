"""Compare strategies: by venue, in two kinds of pairs, and with the paired difference from the baseline."""

import fxcarry
from fxcarry.build import feed_of
from fxcarry.report import PERIODS
from fxcarry.statistics import sharpe_difference
from fxcarry.strategies import Blend, Dollar, NetCarry, Neutral, Rank

STRATEGIES = {
    "baseline": "baseline",
    "rank": "rank",
    "rank, net carry": NetCarry(Rank()),
    "optimized": "optimized",
    "neutral and dollar": Blend({"neutral": Neutral(Rank()), "dollar": Dollar()}),
}
period = {"history": feed_of(None).history(None, None), "end": "2014-12-31", "rules": []}

for venue in ("oanda", "ib"):
    print(f"\n{venue:20} {'return':>8} {'Sharpe ± SE':>13} {'less baseline ± SE':>20} {'cheapest pairs':>16}")
    baseline = None
    for name, strategy in STRATEGIES.items():
        run = fxcarry.backtest(strategy, venue=venue, **period)
        routed = fxcarry.backtest(strategy, venue=venue, routing="least-cost", **period)
        baseline = run if baseline is None else baseline
        one, other = run.stats, routed.stats
        gap = "" if run is baseline else sharpe_difference(run.returns, baseline.returns, PERIODS, draws=500)
        told = gap and f"{gap.difference:+.2f} ± {gap.standard_error:.2f}"
        print(
            f"{name:20} {one['annual_return']:+8.2%} {one['sharpe']:6.2f} ± {one['sharpe_se']:.2f} {told:>20} "
            f"{other['sharpe']:9.2f} ± {other['sharpe_se']:.2f}"
        )

print("\nNet of a retail mark-up. Differences within two errors say nothing.")
print("Past results promise nothing. For education only, no advice.")
