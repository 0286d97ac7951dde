"""A first backtest: long the three G10 currencies that pay most, short the three that pay least, since 1999.

Run it with ``python examples/01_first_backtest.py [folder for the report]``. It needs no key and no network.
"""

import sys
import tempfile
from pathlib import Path

import fxcarry

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

result = fxcarry.backtest("baseline")
stats = result.stats

print(f"{stats['strategy']}, {stats['start']} to {stats['end']}, {', '.join(stats['universe'])} against USD")
print(f"return       {stats['annual_return']:+7.2%} a year")
print(f"volatility   {stats['volatility']:7.2%} a year")
print(f"Sharpe       {stats['sharpe']:7.2f} ± {stats['sharpe_se']:.2f} (one standard error)")
print(f"max drawdown {stats['max_drawdown']:7.2%}")
print(f"halted       {stats['halted'] or 'never'}")

print("\nwhere the return came from, a year")
for source in ("spot", "carry", "cost", "translation"):
    print(f"{source:12} {stats[source]:+7.2%}")

report = result.to_html(folder / "baseline.html")
print(f"\nreport: {report}")
print("Past results promise nothing. For education only, no advice.")
