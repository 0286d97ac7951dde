"""fxcarry.backtest: its arguments, what it returns, and every number of it recomputed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest

from fxcarry import MemoryFeed, backtest
from fxcarry.backtest import BacktestResult, by_venue, variants
from fxcarry.conventions import session_ends
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, DataError, FxCarryError, MissingDataError, PluginError
from fxcarry.financing import PairRateFinancing
from fxcarry.market import MarketHistory, RateSeries, from_ns
from fxcarry.model import Action, TradingState, Verdict
from fxcarry.periods import as_day
from fxcarry.risk import Drawdown, MaxPosition, default_rules
from fxcarry.strategies import Baseline, Optimized, Sign
from fxcarry.testing import market_history
from fxcarry.universe import universe_of

NAN = float("nan")
START = date(2024, 1, 30)
G9 = ("EUR", "JPY", "GBP", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK")


def market(
    prices: Mapping[str, Sequence[float]], *, rates: Mapping[str, float] | None = None, start: date = START
) -> MarketHistory:
    """USD per unit, one price a weekday at 16:59 New York; constant rates, zero where not said."""
    count = len(next(iter(prices.values())))
    ends = session_ends(np.busday_offset(np.datetime64(start), np.arange(count), roll="forward"))
    known = np.array(["2020-01-01"], "datetime64[ns]")
    table = {**dict.fromkeys((*prices, "USD"), 0.0), **(rates or {})}
    return MarketHistory(
        (ends - np.timedelta64(60, "s")).astype("datetime64[ns]"),
        tuple(prices),
        np.array(list(prices.values()), float).T,
        "USD",
        {c: RateSeries(c, known, known, np.array([r])) for c, r in table.items()},
    )


def by_month(*books: Mapping[str, float]) -> Any:
    seen: list[datetime] = []

    def strategy(view: Any, account: Any) -> Mapping[str, float]:
        seen.append(view.as_of)
        return books[min(len(seen), len(books)) - 1]

    return strategy


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    return market_history(days=780, seed=3)


def run(history: MarketHistory, strategy: Any = None, **about: Any) -> BacktestResult:
    return backtest(Baseline() if strategy is None else strategy, history=history, **{"start": "2020-01-08", **about})


@pytest.fixture(scope="module")
def result(history: MarketHistory) -> BacktestResult:
    return run(history)


@pytest.fixture(scope="module", params=["USD", "EUR", "JPY"])
def any_result(request: pytest.FixtureRequest, history: MarketHistory) -> BacktestResult:
    cash = 150_000_000 if request.param == "JPY" else 1_000_000
    universe = tuple(c for c in (*G9, "USD") if c != request.param)
    return run(history, universe=universe, account_currency=request.param, cash=cash, rules=[])


@pytest.fixture(scope="module")
def ecb() -> MarketHistory:
    from fxcarry_ecb import EcbFeed

    return EcbFeed().history(None, None)


# --- what is returned ------------------------------------------------------------------------------------------------


def test_nav_and_returns_are_by_trade_date(result: BacktestResult, history: MarketHistory) -> None:
    assert isinstance(result.nav.index, pd.DatetimeIndex)
    assert result.nav.index.is_monotonic_increasing
    assert result.nav.index.is_unique
    assert set(result.nav.index.day_of_week) == set(range(5))
    assert str(result.nav.index[0].date()) == "2020-01-08"
    assert result.nav.iloc[0] == 1_000_000
    pd.testing.assert_series_equal(result.returns, result.nav.pct_change().iloc[1:], check_names=False)
    assert len(result.nav) == len(history) - 2


def test_weights_have_a_column_a_currency_and_a_row_a_day(result: BacktestResult) -> None:
    assert tuple(result.weights.columns) == result.universe
    assert set(result.universe) == set(G9)
    pd.testing.assert_index_equal(result.weights.index, result.nav.index)
    assert (result.weights.iloc[0] == 0).all()
    assert result.weights.notna().all().all()


def test_attribution_explains_every_day(any_result: BacktestResult) -> None:
    table = any_result.attribution
    assert list(table.columns) == ["spot", "carry", "cost", "translation", "rounding"]
    pd.testing.assert_index_equal(table.index, any_result.nav.index)
    change = any_result.nav.diff().fillna(any_result.nav.iloc[0] - any_result.cash)
    cent = 1.0 if any_result.account_currency == "JPY" else 0.01
    assert (table.sum(axis=1) - change).abs().max() < cent / 2
    assert (table["cost"] <= 0).all()


def test_trades_recompute_the_positions(any_result: BacktestResult) -> None:
    trades = any_result.trades
    assert list(trades.columns) == [
        "at", "instrument", "units", "price", "mid", "conversion", "cost", "realized", "reason", "client_id",
    ]  # fmt: skip
    assert trades["at"].is_monotonic_increasing
    assert str(trades["at"].dt.tz) == "UTC"
    assert trades["client_id"].is_unique
    assert (trades["units"] == trades["units"].round()).all()
    held = trades.groupby("instrument")["units"].sum()
    last = dict(zip(any_result.journal.log.names, any_result.columns.units[-1]))  # type: ignore[union-attr]
    assert all(held.get(name, 0.0) == units for name, units in last.items())


def test_trades_recompute_the_money(any_result: BacktestResult) -> None:
    trades = any_result.trades
    assert trades["cost"].sum() == pytest.approx(-any_result.attribution["cost"].sum(), rel=1e-3)
    cash = any_result.cash + trades["realized"].sum() + any_result.attribution["carry"].sum()
    last = any_result.columns
    market_value = last.units[-1] @ last.base_value[-1] - last.units[-1] * last.average[-1] @ last.conversion[-1]
    tolerance = 60.0 * (100 if any_result.account_currency == "JPY" else 1)  # carry here is not rounded day by day
    assert cash + market_value == pytest.approx(any_result.nav.iloc[-1], abs=tolerance)


@pytest.mark.parametrize(("account", "digits"), [("KRW", 0), ("JPY", 0), ("SEK", 2)])
def test_realized_money_is_in_units_of_the_account_currency(account: str, digits: int) -> None:
    # One account unit per EUR becomes two; a third of the account was in euros.
    prices = {"EUR": [1.0, 1.0, 1.0, 1.0, 2.0] + [2.0] * 30, account: [1.0] * 35}
    outcome = backtest(
        by_month({"EUR": 0.3}, {}),
        history=market(prices),
        universe=["EUR"],
        account_currency=account,
        cash=1_000_000,
        rules=[],
        costs=None,
        markup=0,
    )
    assert outcome.nav.iloc[-1] == 1_300_000
    assert outcome.trades["realized"].tolist() == [0.0, 300_000.0]
    assert outcome.round_trips.tolist() == [300_000.0]
    assert outcome.attribution["rounding"].abs().max() <= 10.0**-digits


def test_weights_recompute_from_prices(history: MarketHistory) -> None:
    outcome = run(history, lambda view, account: {"EUR": 0.2, "JPY": -0.3}, rules=[])
    weights, columns = outcome.weights, outcome.columns
    names = list(outcome.journal.log.names)  # type: ignore[union-attr]
    eur = columns.units[:, names.index("EURUSD")] * columns.mid[:, names.index("EURUSD")] / columns.nav
    np.testing.assert_allclose(weights["EUR"], eur)
    j = names.index("USDJPY")
    jpy = -columns.units[:, j] * columns.average[:, j] / columns.mid[:, j] / columns.nav  # what is owed in yen
    np.testing.assert_allclose(weights["JPY"], jpy)
    assert (weights.drop(columns=["EUR", "JPY"]) == 0).all().all()


# --- statistics ------------------------------------------------------------------------------------------------------

KEYS = {
    "strategy", "start", "end", "universe", "account_currency", "markup", "costs", "rules", "annual_return",
    "volatility", "sharpe", "sharpe_se", "max_drawdown", "win_rate", "turnover", "spot", "carry", "cost",
}  # fmt: skip


def test_stats_have_the_promised_keys(result: BacktestResult) -> None:
    assert set(result.stats) >= KEYS
    assert result.stats["strategy"] == "Baseline"
    assert (result.stats["start"], result.stats["end"]) == ("2020-01-08", str(result.nav.index[-1].date()))
    assert result.stats["universe"] == list(result.universe)
    assert result.stats["account_currency"] == "USD"
    assert result.stats["markup"] == 0.01
    assert result.stats["rules"] == [rule.name for rule in default_rules()]
    assert result.stats["final_nav"] == result.nav.iloc[-1]


def test_stats_are_plain_data(any_result: BacktestResult) -> None:
    import json

    assert json.loads(json.dumps(any_result.stats)) == any_result.stats


def test_stats_recomputed_with_pandas(any_result: BacktestResult) -> None:
    stats, returns, nav = any_result.stats, any_result.nav.pct_change().dropna(), any_result.nav
    assert stats["annual_return"] == pytest.approx(returns.mean() * 260)
    assert stats["volatility"] == pytest.approx(returns.std(ddof=1) * 260**0.5)
    assert stats["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * 260**0.5)
    assert stats["cagr"] == pytest.approx((nav.iloc[-1] / nav.iloc[0]) ** (260 / len(returns)) - 1)
    assert stats["max_drawdown"] == pytest.approx((nav / nav.cummax() - 1).min())
    sharpe = returns.mean() / returns.std(ddof=1)
    skew = ((returns - returns.mean()) ** 3).mean() / returns.std(ddof=0) ** 3
    kurtosis = ((returns - returns.mean()) ** 4).mean() / returns.std(ddof=0) ** 4
    error = ((1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2) / len(returns)) ** 0.5
    assert stats["sharpe_se"] == pytest.approx(error * 260**0.5, rel=1e-3)
    parts = any_result.attribution.iloc[1:].div(nav.shift(1).iloc[1:], axis=0).mean() * 260
    for term in ("spot", "carry", "cost", "translation", "rounding"):
        assert stats[term] == pytest.approx(parts[term], abs=1e-12)
    assert sum(parts) == pytest.approx(stats["annual_return"], abs=1e-9)


def test_turnover_is_half_of_what_is_traded_a_year(any_result: BacktestResult) -> None:
    trades = any_result.trades
    before = any_result.nav.shift(1)
    day = pd.DatetimeIndex((trades["at"] - pd.Timedelta(hours=12)).dt.date)
    traded = trades["units"].abs() * trades["mid"] * trades["conversion"] / before.loc[day].to_numpy()
    years = (len(any_result.nav) - 1) / 260
    assert any_result.stats["turnover"] == pytest.approx(0.5 * traded.sum() / years, rel=1e-9)


def scripted() -> BacktestResult:
    """EUR: bought February 1st at 1.00, turned short March 1st at 1.10, closed April 1st at 1.12. AUD: one trip."""
    eur = [1.0] * 3 + [1.05] * 20 + [1.10] + [1.12] * 40
    aud = [1.0] * 64
    return backtest(
        by_month({"EUR": 0.5, "AUD": 0.2}, {"EUR": -0.5}, {}),
        history=market({"EUR": eur, "AUD": aud}),
        universe=["EUR", "AUD"],
        rules=[],
        costs=None,
        markup=0.0,
        cash=1_000_000,
    )


def test_win_rate_by_hand() -> None:
    outcome = scripted()
    trades = [(str(t.at)[:10], t.instrument, t.units) for t in outcome.trades.itertuples()]
    assert trades[:2] == [("2024-02-01", "EURUSD", 500_000), ("2024-02-01", "AUDUSD", 200_000)]
    # Half of 1,025,000 at the 1.05 of February 29th, sold at 1.10.
    assert sorted(trades[2:]) == [
        ("2024-03-01", "AUDUSD", -200_000),
        ("2024-03-01", "EURUSD", -500_000),
        ("2024-03-01", "EURUSD", -488_095),
        ("2024-04-01", "EURUSD", 488_095),
    ]
    # Three round trips: EUR long +50,000, AUD nothing, EUR short a loss.
    first, *rest = sorted(outcome.round_trips.tolist(), reverse=True)
    assert first == pytest.approx(50_000)
    assert rest[0] == 0
    assert rest[1] == pytest.approx(-488_095 * 0.02, abs=0.1)
    assert outcome.stats["round_trips"] == 3
    assert outcome.stats["win_rate"] == pytest.approx(1 / 3)


def test_turnover_by_hand() -> None:
    outcome = scripted()
    # Half of: 0.7 in; 0.7 out and 0.5 in at prices a little higher than decided on; 0.5 out.
    nav = [1_000_000, 1_025_000, outcome.nav.loc["2024-03-28"]]
    traded = [700_000 / nav[0], (500_000 * 1.1 + 200_000 + 488_095 * 1.1) / nav[1], 488_095 * 1.12 / nav[2]]
    years = (len(outcome.nav) - 1) / 260
    assert outcome.stats["turnover"] == pytest.approx(0.5 * sum(traded) / years, rel=1e-5)


def test_financing_counts_in_a_round_trip() -> None:
    outcome = backtest(
        by_month({"EUR": 0.5}, {}),
        history=market({"EUR": [1.0] * 40}, rates={"EUR": 0.036, "USD": 0.0}),
        universe=["EUR"],
        rules=[],
        costs=None,
        markup=0.0,
    )
    # Value dates February 5th to March 5th, 29 days at 3.6 % on 500,000.
    assert outcome.round_trips.tolist() == [pytest.approx(500_000 * 0.036 * 29 / 360, abs=0.2)]
    assert outcome.stats["win_rate"] == 1.0
    assert outcome.attribution["carry"].sum() == pytest.approx(500_000 * 0.036 * 29 / 360, abs=1e-6)
    assert outcome.attribution["spot"].abs().max() == 0


def test_a_run_that_does_nothing_has_stats_without_ratios() -> None:
    outcome = backtest(lambda view, account: {}, history=market({"EUR": [1.0] * 10}), universe=["EUR"])
    stats = outcome.stats
    assert (stats["annual_return"], stats["volatility"], stats["max_drawdown"], stats["turnover"]) == (0, 0, 0, 0)
    assert (stats["sharpe"], stats["sharpe_se"], stats["win_rate"]) == (None, None, None)
    assert stats["round_trips"] == 0
    assert outcome.trades.empty
    assert len(outcome.trades.columns) == 10
    assert stats["halted"] is None


def test_a_halt_is_named_with_its_day() -> None:
    prices = {"EUR": [1.0] * 4 + [0.7] * 30}
    for rules in ([Drawdown()], [*default_rules()[5:6]]):
        outcome = backtest(lambda v, a: {"EUR": 1.0}, history=market(prices), universe=["EUR"], rules=rules)
        assert outcome.halted == outcome.stats["halted"] == "2024-02-05 DRAWDOWN"
        assert outcome.state.trading is TradingState.HALTED


def test_a_margin_close_out_is_named_with_its_day() -> None:
    prices = {"EUR": [1.0] * 4 + [0.9] * 30}
    outcome = backtest(lambda v, a: {"EUR": 20.0}, history=market(prices), universe=["EUR"], rules=[])
    assert outcome.halted == "2024-02-05 MARGIN_CLOSEOUT"


# --- dates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "day", ["2021-03-03", date(2021, 3, 3), datetime(2021, 3, 3, 15, tzinfo=UTC), pd.Timestamp("2021-03-03")]
)
def test_dates_may_be_text_dates_or_datetimes(history: MarketHistory, day: Any) -> None:
    outcome = run(history, start=day, end="2021-06-30")
    assert str(outcome.nav.index[0].date()) == "2021-03-03"
    assert str(outcome.nav.index[-1].date()) == "2021-06-30"
    ends = run(history, start="2021-01-04", end=day)
    assert str(ends.nav.index[-1].date()) == "2021-03-03"


@pytest.mark.parametrize("text", ["", "yesterday", "2021-13-01", "03/03/2021", 3, None])
def test_what_is_no_date(text: Any) -> None:
    with pytest.raises(ConfigError, match="start"):
        as_day(text, "start")


def test_both_ends_are_inclusive_and_a_weekend_ends_on_its_friday(history: MarketHistory) -> None:
    for end in ("2021-01-15", "2021-01-16", "2021-01-17"):
        outcome = run(history, start="2021-01-02", end=end)
        assert [str(d.date()) for d in outcome.nav.index[[0, -1]]] == ["2021-01-04", "2021-01-15"]


def test_start_after_end(history: MarketHistory) -> None:
    with pytest.raises(ConfigError, match="2021-05-01 is after end 2021-03-01") as caught:
        run(history, start="2021-05-01", end="2021-03-01")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("start", "end", "named"),
    [
        ("2019-01-01", "2020-06-30", "2019-01-01"),
        ("2020-03-02", "2030-01-01", "2030-01-01"),
        ("2031-01-01", "2032-01-01", "2031-01-01"),
        ("2031-01-01", None, "2031-01-01"),
        (None, "2010-01-01", "2010-01-01"),
    ],
)
def test_dates_outside_the_data(history: MarketHistory, start: Any, end: Any, named: str) -> None:
    with pytest.raises(DataError, match=named) as caught:
        run(history, start=start, end=end)
    assert "prices run from 2020-01-06" in caught.value.message


def test_a_weekend_is_no_period(history: MarketHistory) -> None:
    with pytest.raises(FxCarryError):
        run(history, start="2021-01-16", end="2021-01-17")


def test_a_single_day_has_a_nav(history: MarketHistory) -> None:
    outcome = run(history, start="2021-01-14", end="2021-01-14")
    assert outcome.nav.tolist() == [1_000_000]
    with pytest.raises(DataError):  # there is no return to speak of
        _ = outcome.stats


# --- strategy, universe, currencies ----------------------------------------------------------------------------------


def test_a_strategy_by_name(history: MarketHistory, result: BacktestResult) -> None:
    named = run(history, "baseline")
    pd.testing.assert_series_equal(named.nav, result.nav)
    assert named.stats["strategy"] == "baseline"


def test_a_function_is_called_by_its_name(history: MarketHistory) -> None:
    def my_carry(view: Any, account: Any) -> Any:
        return view.carry.rank() * 0.01

    outcome = run(history, my_carry)
    assert outcome.stats["strategy"] == "my_carry"
    assert not outcome.trades.empty


@pytest.mark.parametrize(("wrong", "right"), [("baselin", "baseline"), ("optimised", "optimized"), ("singn", "sign")])
def test_an_unknown_strategy_suggests_the_nearest(history: MarketHistory, wrong: str, right: str) -> None:
    with pytest.raises((ConfigError, PluginError), match=wrong) as caught:
        run(history, wrong)
    assert right in str(caught.value)


def test_universe(history: MarketHistory) -> None:
    assert set(run(history, universe=["eur", "JPY"]).universe) == {"EUR", "JPY"}
    assert run(history, universe="EUR, JPY").universe == ("EUR", "JPY")
    assert universe_of(None, "EUR") == universe_of(None, "eur".upper())
    assert "USD" in universe_of(None, "EUR").currencies
    assert "EUR" not in universe_of(None, "EUR").currencies
    assert len(universe_of(None, "TRY").currencies) == 10


@pytest.mark.parametrize("universe", [["EUR", "EUR"], ["EUR", "EURO"], [], ["USD"], ["EUR", 3], ["EUR", "eur"]])
def test_bad_universes(history: MarketHistory, universe: Any) -> None:
    with pytest.raises(ConfigError):
        run(history, universe=universe)


@pytest.mark.parametrize("account_currency", ["USDX", "", "12A"])
def test_bad_account_currencies(history: MarketHistory, account_currency: str) -> None:
    with pytest.raises(ConfigError, match="account_currency"):
        run(history, account_currency=account_currency)


def test_the_account_currency_is_ranked_only_if_listed(history: MarketHistory) -> None:
    seen = []

    def strategy(view: Any, account: Any) -> dict[str, float]:
        seen.append(view.currencies)
        return {}

    run(history, strategy, universe=["EUR", "USD"])
    assert seen[0] == ("EUR", "USD")
    seen.clear()
    run(history, strategy)
    assert "USD" not in seen[0]


@pytest.mark.ecb
def test_a_currency_without_rates(ecb: MarketHistory) -> None:
    with pytest.raises(MissingDataError, match="no rates for TRY") as caught:
        backtest(Sign(), history=ecb, universe=["EUR", "TRY"])
    assert "never taken to be zero" in caught.value.hint


@pytest.mark.ecb
def test_a_currency_that_stopped(ecb: MarketHistory) -> None:
    with pytest.raises(MissingDataError, match="RUB has no price after 2022-03-01"):
        backtest(Sign(), history=ecb, universe=["EUR", "RUB"])


@pytest.mark.ecb
def test_a_currency_with_a_gap(ecb: MarketHistory) -> None:
    with pytest.raises(MissingDataError, match="ISK has no price between 2008-12"):
        backtest(Sign(), history=ecb, universe=["EUR", "ISK"], start="2005-01-03", end="2019-12-31")
    with pytest.raises(MissingDataError, match="no rates for ISK"):
        backtest(Sign(), history=ecb, universe=["EUR", "ISK"], start="2019-01-02")


@pytest.mark.ecb
def test_a_currency_nobody_has(ecb: MarketHistory) -> None:
    with pytest.raises(MissingDataError, match="XAU"):
        backtest(Sign(), history=ecb, universe=["EUR", "XAU"])


@pytest.mark.ecb
def test_the_default_feed_and_period() -> None:
    outcome = backtest("sign", end="2000-12-29")
    assert str(outcome.nav.index[0].date()) == "1999-01-04"
    assert len(outcome.notes) > 2
    assert set(outcome.universe) == set(G9)


@pytest.mark.ecb
def test_the_default_end_is_the_last_day_of_verified_rates(ecb: MarketHistory) -> None:
    outcome = backtest(Sign(), history=ecb, start="2025-01-02")
    assert outcome.nav.index[-1] == pd.Timestamp("2026-09-07")
    assert any("2026-08-31" in note for note in outcome.notes)
    beyond = backtest(Sign(), history=ecb, start="2025-01-02", end="2026-10-30")
    assert beyond.nav.index[-1] == pd.Timestamp("2026-10-30")
    assert any("verified only until" in note for note in beyond.notes)


# --- late starts and holes -------------------------------------------------------------------------------------------


def with_holes() -> MarketHistory:
    random = np.random.default_rng(1)
    prices = {c: np.exp(random.normal(0, 0.005, 300).cumsum()) for c in ("EUR", "AUD", "NOK")}
    prices["NOK"][:120] = NAN  # a late start
    prices["EUR"][[20, 21, 22, 90]] = NAN
    prices["AUD"][[22, 43, 91, 150]] = NAN
    return market({c: p.tolist() for c, p in prices.items()}, rates={"EUR": 0.01, "AUD": 0.05, "NOK": 0.09})


def test_a_late_start_is_noted_and_not_traded_before() -> None:
    outcome = backtest(Baseline(k=1), history=with_holes(), universe=["EUR", "AUD", "NOK"], rules=[])
    assert any("NOK enters on 2024-07-16" in note for note in outcome.notes)
    nok = outcome.weights["NOK"]
    assert (nok[nok.index < "2024-07-31"] == 0).all()
    assert (nok[nok.index > "2024-08-01"] > 0.9).all()
    assert (outcome.weights["AUD"][outcome.weights.index < "2024-08-01"].iloc[5:] > 0.9).all()


def test_holes_change_nothing_but_when_orders_fill() -> None:
    feed = MemoryFeed(with_holes())
    outcome = backtest(Baseline(k=1), feed=feed, universe=["EUR", "AUD", "NOK"], rebalance="weekly")
    assert np.isfinite(outcome.nav).all()
    gap = outcome.nav.diff().fillna(0.0) - outcome.attribution.sum(axis=1)
    assert gap.abs().max() < 0.005
    history = with_holes()
    trade: Any
    for trade in outcome.trades.itertuples():
        row = int(np.searchsorted(history.times, trade.at.tz_convert(None).to_datetime64(), "right")) - 1
        assert np.isfinite(history.spot[row, ("EURUSD", "AUDUSD", "USDNOK").index(trade.instrument)])


def test_a_hole_on_the_day_of_a_decision_keeps_the_currency_in_the_ranking() -> None:
    # AUD, held since February 1st, has no quote on February 29th. The last one stands; nothing is sold.
    aud = [1.0] * 22 + [NAN] + [1.0] * 7
    eur = [1.0] * 30
    outcome = backtest(
        Baseline(k=1),
        history=market({"AUD": aud, "EUR": eur}, rates={"AUD": 0.05, "EUR": 0.01}),
        universe=["AUD", "EUR"],
        rules=[],
        costs=None,
    )
    assert (outcome.weights["AUD"].iloc[3:] > 0.9).all()


# --- money -----------------------------------------------------------------------------------------------------------


def test_costs_none_trades_at_mid(history: MarketHistory, result: BacktestResult) -> None:
    free = run(history, costs=None)
    assert (free.trades["price"] == free.trades["mid"]).all()
    assert (free.attribution["cost"] == 0).all()
    assert free.stats["costs"] is None
    assert result.stats["costs"]["spread_multiplier"] == 1.0
    assert (result.trades["price"] != result.trades["mid"]).all()
    dear = run(history, costs=Costs(spread_multiplier=10.0), rules=[])
    base = run(history, rules=[])
    assert dear.attribution["cost"].sum() == pytest.approx(10 * base.attribution["cost"].sum(), rel=0.02)


def test_commission_is_a_cost(history: MarketHistory) -> None:
    outcome = run(history, costs=Costs(spread_multiplier=0.0, commission_bps=1.0), rules=[])
    traded = (outcome.trades["units"].abs() * outcome.trades["mid"] * outcome.trades["conversion"]).sum()
    assert -outcome.attribution["cost"].sum() == pytest.approx(traded * 1e-4, rel=1e-6)
    assert outcome.trades["cost"].sum() == pytest.approx(traded * 1e-4, rel=1e-6)


def test_a_currency_without_a_spread_is_an_error() -> None:
    history = market({"EUR": [1.0] * 5, "BRL": [0.2] * 5})
    with pytest.raises(MissingDataError, match="BRL"):
        backtest(Sign(), history=history, universe=["EUR", "BRL"])
    backtest(Sign(), history=history, universe=["EUR", "BRL"], costs=None)


@pytest.mark.parametrize("markup", [-0.01, NAN, float("inf")])
def test_bad_mark_ups(history: MarketHistory, markup: float) -> None:
    with pytest.raises(ConfigError, match="markup"):
        run(history, markup=markup)


@pytest.mark.parametrize("cash", [0, -5, NAN])
def test_bad_cash(history: MarketHistory, cash: float) -> None:
    with pytest.raises(ConfigError, match="cash"):
        run(history, cash=cash)


def test_bad_rebalance(history: MarketHistory) -> None:
    with pytest.raises(ConfigError, match="yearly"):
        run(history, rebalance="yearly")


def test_pair_rates_of_ones_own_need_no_benchmark() -> None:
    history = attrs.evolve(market({"EUR": [1.0] * 30, "TRY": [0.03] * 30}), rates={})
    outcome = backtest(
        lambda view, account: {"EUR": 0.1, "TRY": 0.2},
        history=history,
        universe=["EUR", "TRY"],
        costs=None,
        rules=[],
        financing=PairRateFinancing(-0.01, 0.30),
    )
    assert outcome.attribution["carry"].sum() > 0
    assert outcome.stats["markup"] is None


def test_pair_rates_where_only_some_currencies_have_a_benchmark() -> None:
    history = market({"EUR": [1.0] * 30, "TRY": [0.03] * 30})
    history = attrs.evolve(history, rates={c: r for c, r in history.rates.items() if c != "TRY"})
    outcome = backtest(
        lambda view, account: {"EUR": 0.1, "TRY": 0.2},
        history=history,
        universe=["EUR", "TRY"],
        costs=None,
        rules=[],
        financing=PairRateFinancing(-0.01, 0.30),
    )
    assert outcome.attribution["carry"].sum() > 0


def test_ten_times_the_cash_is_ten_times_the_nav(history: MarketHistory) -> None:
    one, ten = run(history, rules=[]), run(history, rules=[], cash=10_000_000)
    np.testing.assert_allclose(ten.nav / one.nav, 10, rtol=1e-4)
    assert ten.trades["units"].abs().sum() == pytest.approx(10 * one.trades["units"].abs().sum(), rel=1e-4)


# --- rules -----------------------------------------------------------------------------------------------------------


def test_no_rules_and_default_rules(history: MarketHistory, result: BacktestResult) -> None:
    free = run(history, rules=[])
    assert free.stats["rules"] == []
    assert free.weights.abs().max().max() > 0.33
    assert result.rules == default_rules()
    assert result.weights.iloc[25:60].abs().max().max() < 0.33


def test_a_rule_of_ones_own(history: MarketHistory) -> None:
    def never_yen(proposal: Any, view: Any, account: Any, state: Any) -> Verdict:
        caps = np.array([0.0 if "JPY" in leg else np.inf for leg in proposal.legs])
        return Verdict("never-yen", Action.RESIZE, "YEN", caps)

    never_yen.name = "never-yen"  # type: ignore[attr-defined]
    outcome = run(history, rules=[never_yen])
    assert (outcome.weights["JPY"] == 0).all()
    assert outcome.stats["rules"] == ["never-yen"]


def test_the_same_run_twice_is_the_same(history: MarketHistory) -> None:
    one, other = run(history, Optimized(lookback=60)), run(history, Optimized(lookback=60))
    pd.testing.assert_series_equal(one.nav, other.nav)
    pd.testing.assert_frame_equal(one.trades, other.trades)


def test_runs_that_share_a_history_do_not_disturb_each_other(history: MarketHistory, result: BacktestResult) -> None:
    before = history.spot.copy()
    run(history, Sign(), account_currency="EUR", universe=["USD", "JPY"])
    again = run(history)
    pd.testing.assert_series_equal(again.nav, result.nav)
    np.testing.assert_array_equal(history.spot, before)


def test_a_feed_and_its_history_give_the_same(history: MarketHistory, result: BacktestResult) -> None:
    through = backtest(Baseline(), feed=MemoryFeed(history), start="2020-01-08")
    pd.testing.assert_series_equal(through.nav, result.nav)


def test_a_routed_book_has_the_same_exposures_and_pays_less_mark_up(history: MarketHistory) -> None:
    direct, routed = (run(history, rules=[], costs=None, routing=way) for way in ("direct", "least-cost"))
    assert (direct.stats["routing"], routed.stats["routing"]) == ("direct", "least-cost")
    decided = direct.trades["at"].unique()  # fills of the same decisions at the same mids
    assert list(routed.trades["at"].unique()) == list(decided)
    first = pd.Timestamp(decided[0]).tz_localize(None).normalize()
    # Units are those of the decision, and prices moved before the fill: of USDJPY in dollars, of NZDSEK in NZD.
    pd.testing.assert_series_equal(routed.weights.loc[first], direct.weights.loc[first], atol=3e-3, rtol=0)
    crosses = [name for name in routed.trades["instrument"].unique() if "USD" not in name]
    assert crosses
    assert not [name for name in direct.trades["instrument"].unique() if "USD" not in name]
    gross = [run(history, rules=[], costs=None, markup=0.0, routing=way) for way in ("direct", "least-cost")]
    paid = [free.stats["carry"] - net.stats["carry"] for free, net in zip(gross, (direct, routed))]
    assert 0 < paid[1] < 0.75 * paid[0]  # three pairs of six: about half, more once a move has unbalanced them
    assert routed.stats["spot"] + routed.stats["translation"] == pytest.approx(
        direct.stats["spot"] + direct.stats["translation"], abs=2e-3
    )
    with pytest.raises(ConfigError, match="routing is 'cheap'"):
        run(history, routing="cheap")


def test_how_far_the_rules_made_another_portfolio(history: MarketHistory) -> None:
    """Legs of 1/3 are cut to 30 %; legs of 20 % are left alone."""
    rules = [MaxPosition(), Drawdown(0.9)]
    cut, left = (run(history, by_month({"EUR": w, "JPY": -w}), rules=rules) for w in (1 / 3, 0.2))
    count = cut.rule_changes["targets"]
    assert count == 36  # months from January 2020 to December 2022
    assert cut.rule_changes == {"targets": count, "changed": count, "by_rule": {"max-position": count}}
    assert left.rule_changes == {"targets": left.rule_changes["targets"], "changed": 0, "by_rule": {}}
    assert run(history, rules=[]).rule_changes["changed"] == 0
    assert cut.stats["rule_changes"] == cut.rule_changes


def test_variants(history: MarketHistory, result: BacktestResult) -> None:
    others = variants(lambda **more: run(history, **more), result)
    assert set(others) == {"no_rules", "routed", "gross", "spot_only"}
    assert others["gross"].stats["markup"] == 0.0
    assert (others["spot_only"].attribution["carry"] == 0).all()
    assert all(not other.rules for other in others.values())
    assert variants(lambda **more: run(history, **more), others["no_rules"])["no_rules"] is others["no_rules"]


def test_by_venue(history: MarketHistory) -> None:
    """The terms of each venue, whatever the first run had; without rules; and who lacks a spread is left out."""
    asked: list[dict[str, Any]] = []

    def again(**more: Any) -> BacktestResult:
        asked.append(more)
        return run(history, **{"markup": 0.05, "costs": None, **more})

    found = by_venue(again)
    assert list(found) == [f"{v}:{way}" for v in ("interbank", "oanda", "ib") for way in ("direct", "routed")]
    assert all(not one.rules for one in found.values())
    assert found["oanda:direct"].stats["markup"] == 0.01
    assert found["oanda:direct"].nav.equals(run(history, rules=[], venue="oanda").nav)
    assert found["oanda:routed"].stats["carry"] > found["oanda:direct"].stats["carry"]
    assert found["interbank:direct"].stats["carry"] > found["oanda:direct"].stats["carry"]
    balances = (found["ib:direct"].stats["carry"], found["ib:routed"].stats["carry"])
    assert balances[0] == pytest.approx(balances[1], abs=1e-4)

    def without_spreads(**more: Any) -> BacktestResult:
        if more["venue"] == "interbank":
            raise MissingDataError("no spread for DKK in the cost model")
        return found["oanda:direct"]

    assert {name.partition(":")[0] for name in by_venue(without_spreads)} == {"oanda", "ib"}


def test_progress(history: MarketHistory) -> None:
    told: list[tuple[int, int]] = []
    run(history, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 700


def test_a_report_is_one_file(result: BacktestResult, tmp_path: Path) -> None:
    path = result.to_html(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fxcarry.toml"
    path.write_text(
        """
universe = ["EUR", "JPY", "AUD"]
rebalance = "weekly"
cash = 50_000
markup = 0.02
account_currency = "USD"
[costs]
use = "none"
[strategies.mine]
use = "baseline"
k = 1
[[rules]]
use = "max-position"
limit = 0.5
""",
        encoding="utf-8",
    )
    return path


def test_settings_apply_where_no_argument_is_given(history: MarketHistory, config: Path) -> None:
    outcome = run(history, "mine", config=config)
    assert outcome.universe == ("EUR", "JPY", "AUD")
    assert (outcome.cash, outcome.markup, outcome.rebalance) == (50_000, 0.02, "weekly")
    assert outcome.rules == (MaxPosition(limit=0.5),)
    assert outcome.stats["costs"] is None
    assert outcome.stats["strategy"] == "mine"
    assert outcome.weights.abs().max().max() > 0.49


def test_an_argument_goes_before_its_setting_also_at_the_default_value(history: MarketHistory, config: Path) -> None:
    outcome = run(
        history,
        Baseline(),
        config=str(config),
        cash=1_000_000,
        markup=0.01,
        rebalance="monthly",
        rules=[],
        universe=["EUR", "CHF"],
        account_currency="USD",
    )
    assert (outcome.cash, outcome.markup, outcome.rebalance) == (1_000_000, 0.01, "monthly")
    assert outcome.rules == ()
    assert outcome.universe == ("EUR", "CHF")
    assert run(history, "mine", config=config, costs=Costs()).stats["costs"] is not None


def test_a_feed_from_the_configuration(tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    days = pd.bdate_range("2024-01-30", periods=40)
    pd.DataFrame({"EUR": 1.0, "JPY": 0.007}, index=pd.Index(days, name="date")).to_csv(prices)
    rates = tmp_path / "rates.csv"
    rates.write_text("date,EUR,JPY,USD\n2024-01-02,0.03,0.0,0.01\n")
    config = tmp_path / "c.toml"
    config.write_text(
        f"""
universe = ["EUR", "JPY"]
[feed]
use = "file"
prices = {str(prices)!r}
rates = {str(rates)!r}
[costs]
use = "none"
"""
    )
    outcome = backtest("sign", config=config, rules=[], markup=0.0)
    assert outcome.attribution["carry"].sum() > 0
    assert outcome.attribution["spot"].abs().max() == 0
    assert len(outcome.nav) == 40


@pytest.mark.ecb
def test_days_on_which_nobody_trades_are_not_missing() -> None:
    result = backtest("sign", start="1999-01-01", end="1999-03-01")
    assert str(result.books.day[0]) == "1999-01-04"
    with pytest.raises(DataError, match="1998-12-31 is outside"):
        backtest("sign", start="1998-12-31", end="1999-03-01")


@pytest.mark.ecb
def test_a_markup_in_percent_is_refused() -> None:
    with pytest.raises(ConfigError, match="markup is 1"):
        backtest("sign", start="1999-01-04", end="1999-03-01", markup=1)


@pytest.mark.ecb
@pytest.mark.parametrize("account_currency", ["USD", "JPY"])
def test_the_double_entry_books_end_with_the_cash_of_the_venue(account_currency: str) -> None:
    cash = 100_000_000 if account_currency == "JPY" else 1_000_000
    result = backtest("baseline", start="2007-06-01", end="2008-03-31", account_currency=account_currency, cash=cash)
    log = result.journal.log
    assert log is not None
    posted = sum((t.amount for t in log), start=Decimal(cash))
    assert result.ledger.balance(f"Cash:{account_currency}") == posted
    assert result.ledger.balance("Equity:Deposits") == -cash
    assert len(result.ledger.entries) == 1 + len(log)
    carry = -result.ledger.balance("Income:Financing")
    assert float(carry) == pytest.approx(result.attribution["carry"].sum(), abs=0.5 * len(log))
    for currency in {c for _, c in result.ledger.balances}:
        assert sum(a for (_, c), a in result.ledger.balances.items() if c == currency) == pytest.approx(0, abs=1e-6)


def test_a_run_begins_where_every_currency_that_has_a_price_has_a_rate() -> None:
    whole = market_history(("EUR", "JPY"), days=80)
    yen = whole.rates["JPY"]
    later = RateSeries.of("JPY", [(from_ns(whole.times[20]), from_ns(whole.times[30]), float(yen.value[0]))])
    feed = MemoryFeed(attrs.evolve(whole, rates={**whole.rates, "JPY": later}))
    first, known = (str(whole.times[n])[:10] for n in (0, 30))
    result = backtest("sign", feed=feed, universe=("EUR", "JPY"), rules=[])
    assert result.stats["start"] == known
    assert f"prices begin on {first}, the rates of JPY on {known}: so does the run" in result.notes
    with pytest.raises(MissingDataError, match="no rate known for"):
        backtest("sign", feed=feed, universe=("EUR", "JPY"), rules=[], start=first)
    alone = backtest("sign", feed=feed, universe=("EUR",), rules=[])  # its first rate is known an hour after the close
    assert alone.stats["start"] == str(whole.times[1])[:10]
