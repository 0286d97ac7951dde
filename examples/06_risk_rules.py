"""What the risk rules do to a carry trade, and what leaving one of them out would have done."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import fxcarry
from fxcarry.risk import Drawdown, StopLoss, default_rules

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
period = {"start": "2003-01-02", "end": "2012-12-31"}
sets = {
    "no rules": [],
    "default": default_rules(),
    "no drawdown halt": [r for r in default_rules() if not isinstance(r, Drawdown)],
    "no stop-loss": [r for r in default_rules() if not isinstance(r, StopLoss)],
    "halt at 25 %": [Drawdown(limit=0.25)],
}

print(f"{'rules':18} {'return':>8} {'worst fall':>10} {'final NAV':>12}   halted")
results = {}
for name, rules in sets.items():
    results[name] = result = fxcarry.backtest("baseline", rules=rules, **period)
    s = result.stats
    halted = s["halted"] or "-"
    print(f"{name:18} {s['annual_return']:+8.2%} {s['max_drawdown']:+10.1%} {s['final_nav']:12,.0f}   {halted}")

result = results["default"]
bites = Counter((v.rule, v.code, v.action.name) for _, decision in result.journal.decisions for v in decision.findings)
print("\nwhat the default rules said, and how often")
for (rule, code, action), count in bites.most_common():
    print(f"{rule:26} {code:22} {action:14} {count:5}")

print("\nwhy positions were traded")
print(result.trades["reason"].value_counts().to_string())

result.trades.to_csv(folder / "trades.csv", index=False)
print(f"\nevery fill: {folder / 'trades.csv'}")
print("\nA halt that no one lifts is flat to the end: that is a fact about the rule, not a forecast.")
