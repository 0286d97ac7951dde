"""Where the money came from: the same trades with interest, after a mark-up, and on spot prices alone."""

import fxcarry

period = {"start": "1999-01-04", "end": "2026-08-31", "rules": []}
runs = {
    "spot only": fxcarry.backtest("baseline", financing=None, **period),
    "with interest": fxcarry.backtest("baseline", markup=0.0, **period),
    "mark-up 0.5 %": fxcarry.backtest("baseline", markup=0.005, **period),
    "mark-up 1.0 %": fxcarry.backtest("baseline", markup=0.01, **period),
}

print("percent a year            return    spot   carry    cost   other   Sharpe ± SE")
for name, result in runs.items():
    s = result.stats
    parts = [100 * s[k] for k in ("annual_return", "spot", "carry", "cost")]
    parts.append(100 * (s["translation"] + s["rounding"]))
    print(f"{name:22}" + "".join(f"{p:+8.2f}" for p in parts) + f"    {s['sharpe']:.2f} ± {s['sharpe_se']:.2f}")

result = runs["mark-up 1.0 %"]
print("\nmark-up 1.0 %, by year, thousands of USD")
by_year = result.attribution.groupby(result.attribution.index.year).sum() / 1000
print(by_year.assign(total=by_year.sum(axis=1)).round(1).iloc[::3].to_string())

# The five parts are no estimates: they add up to the change of NAV on every single day.
gap = (result.nav.diff() - result.attribution.sum(axis=1)).abs().max()
print(f"\nlargest unexplained change of NAV on any of {len(result.nav):,} days: {gap:.6f} USD")
