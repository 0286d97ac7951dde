"""Which strategy is recommended: the rule of docs/concepts/choosing-the-default.md, run as it was written down.

Selection looks at nothing after 2014. The years from 2015 on are computed once, for what was chosen and the baseline.
"""

import fxcarry
from fxcarry.build import feed_of
from fxcarry.costs import Costs
from fxcarry.report import PERIODS
from fxcarry.statistics import sharpe, sharpe_difference, sharpe_standard_error
from fxcarry.venues import venues
from fxcarry.walkforward import at_equal_volatility

CANDIDATES = [
    *("baseline", "sign", "rank", "linear", "carry-to-volatility", "inverse-volatility", "equal-risk"),
    *("minimum-variance", "dollar", "optimized", "carry-momentum-value"),
]
history = feed_of(None).history(None, None)


def scaled(strategy, venue, end=None):
    """Daily net returns at 8 % volatility, each year scaled by the years before: so from 2001 on."""
    run = fxcarry.backtest(strategy, history=history, end=end, rules=[], costs=Costs(), venue=venue)
    return at_equal_volatility(run.returns, 0.08)


def told(returns):
    return f"{sharpe(returns, PERIODS):5.2f} ± {sharpe_standard_error(returns, 'mertens') * PERIODS**0.5:.2f}"


print("selection: net Sharpe ratio 2001 to 2014 at equal volatility, by the venue's financing")
print(f"{'':21}" + "".join(f"{name:>14}" for name in venues()) + f"{'score':>9}")
lowest = {}
for name in CANDIDATES:
    by_venue = {venue: scaled(name, venue, "2014-12-31") for venue in venues()}
    lowest[name] = min(by_venue.values(), key=lambda returns: sharpe(returns, PERIODS))
    cells = "".join(f"{told(returns):>14}" for returns in by_venue.values())
    print(f"{name:21}{cells}{sharpe(lowest[name], PERIODS):9.2f}")
score = {name: sharpe(returns, PERIODS) for name, returns in lowest.items()}
best = max(score, key=score.get)
print(f"\nthe best score is {score[best]:.2f}, of {best}; less each simpler one:")
recommended = None
for name in CANDIDATES:
    found = name == best
    if not found:
        gap = sharpe_difference(lowest[best], lowest[name], PERIODS, 21, draws=2000, seed=1)
        found = gap.difference <= gap.standard_error
        print(f"{name:21}{gap.difference:5.2f} ± {gap.standard_error:.2f}  {'within' if found else 'beyond'} one error")
    if found:
        recommended = name
        break
if score[best] <= 0:
    print("\nno strategy is recommended: carry did not pay after costs up to 2014")
else:
    print(f"\nrecommended: {recommended}\n\nconfirmation: 2015 to the end of the data, computed once, changes nothing")
    for name in dict.fromkeys((recommended, "baseline")):
        cells = "".join(f"{told(scaled(name, venue).loc['2015':]):>14}" for venue in venues())
        print(f"{name:21}{cells}")
print("\nPast results promise nothing. For education only, no advice.")
