"""Half the book in restless markets: which carry crashes a regime dodges, which it misses, and what being out costs."""

import fxcarry_ecb
from fxcarry import backtest
from fxcarry.lookahead import find_look_ahead
from fxcarry.regimes import Scaled, VolatilityRegime, crash_table
from fxcarry.statistics import sharpe_difference
from fxcarry.strategies import Baseline

if __name__ == "__main__":
    history = fxcarry_ecb.EcbFeed().history(None, None)
    run = {"history": history, "start": "1999-02-01", "end": "2014-12-31", "rules": []}
    halved = Scaled(Baseline(), VolatilityRegime(window=63, enter=0.80, leave=0.70, exposure=0.5))
    plain, scaled = backtest(Baseline(), **run), backtest(halved, **run)

    print(f"{'':9} {'return':>8} {'volatility':>10} {'Sharpe ± SE':>14} {'worst fall':>10}")
    for name, result in (("plain", plain), ("scaled", scaled)):
        s = result.stats
        print(
            f"{name:9} {s['annual_return']:+8.2%} {s['volatility']:10.2%} "
            f"{s['sharpe']:7.2f} ± {s['sharpe_se']:.2f} {s['max_drawdown']:+10.1%}"
        )
    gain = sharpe_difference(scaled.returns, plain.returns, 260)
    print(f"Sharpe ratio of scaled less plain: {gain.difference:+.2f} ± {gain.standard_error:.2f}\n")

    print(crash_table(plain, scaled).to_text(), "\n")

    print(find_look_ahead(halved, history=history, start="2006-01-02", end="2009-12-31").to_text())
