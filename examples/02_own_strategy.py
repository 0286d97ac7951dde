"""A strategy of your own in twenty lines: any function of what is known and what is held."""

import fxcarry


def carry_to_risk(view, account):
    """Long the two best and short the two worst by carry over volatility, smaller when markets are restless."""
    volatility = view.returns(250).std() * 260**0.5
    restless = view.returns(20).std().mean() / view.returns(250).std().mean()
    score = (view.carry / volatility).dropna().sort_values()
    if len(score) < 4:
        return {}
    size = 0.4 / max(1.0, restless)
    return {**dict.fromkeys(score.index[:2], -size), **dict.fromkeys(score.index[-2:], size)}


if __name__ == "__main__":
    period = {"start": "2002-01-02", "end": "2011-12-30", "rules": []}
    print(f"{'strategy':15} {'return':>8} {'volatility':>10} {'Sharpe ± SE':>14} {'worst fall':>10}")
    for strategy in ("baseline", "sign", carry_to_risk):
        result = fxcarry.backtest(strategy, **period)
        s = result.stats
        print(
            f"{s['strategy']:15} {s['annual_return']:+8.2%} {s['volatility']:10.2%} "
            f"{s['sharpe']:7.2f} ± {s['sharpe_se']:.2f} {s['max_drawdown']:+10.1%}"
        )
    print("\nlast weights of the last one:")
    print(result.weights.iloc[-1].round(3).to_string())
    print("\nThe differences are smaller than their standard errors. Past results promise nothing.")
