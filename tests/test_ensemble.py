"""fxcarry.ensemble: shares that add up to the one book, and by hand what netting saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry import backtest
from fxcarry.backtest import BacktestResult
from fxcarry.costs import Costs
from fxcarry.ensemble import EnsembleAttribution, attribute_ensemble
from fxcarry.errors import ConfigError, DataError
from fxcarry.market import MarketHistory, MarketView
from fxcarry.risk import MaxPosition
from fxcarry.strategies import Blend, Dollar, Neutral, NoTradeBand, Optimized, Rank, Sign
from fxcarry.testing import market_history

START = {"start": "2020-01-08", "rules": []}
COLUMNS = ["spot", "carry", "cost", "other", "return"]


@attrs.frozen(eq=False)
class Always:
    weights: Mapping[str, float]
    reads_account = False

    def __call__(self, view: MarketView, account: Any) -> Mapping[str, float]:
        return self.weights


def always(**weights: float) -> Always:
    return Always(weights)


def still(history: MarketHistory) -> MarketHistory:
    """Prices that never move."""
    return attrs.evolve(history, spot=np.ones_like(history.spot))


def runs(history: MarketHistory, **about: Any) -> Callable[..., BacktestResult]:
    return partial(backtest, history=history, **{**START, **about})


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    return market_history(days=520, seed=3)


@pytest.fixture(scope="module")
def found(history: MarketHistory) -> EnsembleAttribution:
    mix = Blend({"neutral": Neutral(Rank()), "dollar": Dollar(), "best": Optimized(lookback=60)}, lookback=60)
    return attribute_ensemble(mix, runs(history))


def test_every_column_adds_up_to_the_ensemble(found):
    table = found.table
    assert list(table.columns) == COLUMNS
    assert list(table.index) == ["neutral", "dollar", "best", "netting", "total"]
    np.testing.assert_allclose(table.iloc[:-1].sum(), table.loc["total"], atol=1e-15)
    np.testing.assert_allclose(table[COLUMNS[:-1]].sum(axis=1), table["return"], atol=1e-15)
    stats = found.ensemble.stats
    assert table.loc["total", "return"] == pytest.approx(stats["annual_return"], abs=1e-12)
    for name in ("spot", "carry", "cost"):
        assert table.loc["total", name] == pytest.approx(stats[name], abs=1e-15)
    assert table.loc["total", "other"] == pytest.approx(stats["translation"] + stats["rounding"], abs=1e-15)


def test_the_days_add_up_too(found):
    daily = found.daily
    np.testing.assert_allclose(daily["total"], found.ensemble.returns, atol=1e-14)
    np.testing.assert_allclose(daily.drop(columns="total").sum(axis=1), daily["total"], atol=1e-15)
    np.testing.assert_allclose(daily.mean() * 260, found.table["return"], atol=1e-15)


def test_the_ensemble_is_the_plain_backtest_of_it(found, history):
    mix = Blend({"neutral": Neutral(Rank()), "dollar": Dollar(), "best": Optimized(lookback=60)}, lookback=60)
    plain = backtest(mix, history=history, **START)
    np.testing.assert_array_equal(found.ensemble.books.nav, plain.books.nav)
    assert found.ensemble.strategy == plain.strategy == "Blend"
    assert {name: book.strategy for name, book in found.books.items()} == {n: n for n in ("neutral", "dollar", "best")}


def test_the_units_of_the_shares_are_those_of_the_book(found):
    """In pairs quoted in account currency; a whole unit is lost to rounding in each book at most."""
    whole = found.ensemble.columns.units
    parts = sum(book.columns.units for book in found.books.values())
    names = found.ensemble.journal.log.names
    quoted = [i for i, name in enumerate(names) if name.endswith("USD")]
    assert len(quoted) == 4
    assert np.abs(whole[:, quoted]).max() > 100_000
    assert np.abs(whole - parts)[:, quoted].max() <= 4


def test_netting_saves_and_never_costs(found):
    """Mark-up and spread are on sizes, and |a + b| is at most |a| + |b|."""
    netting = found.table.loc["netting"]
    assert netting["carry"] > 0.0005
    assert netting["cost"] > 0
    assert abs(netting["spot"]) + abs(netting["other"]) < 5e-4


def test_two_that_want_the_opposite_by_hand():
    """A quarter of NAV each way in one currency whose price stands still: the book is flat, the shares are not.

    Each pays 1 % of a quarter a year, so the mark-up saved is 0.5 % a year less the days before the first fill; each
    trades a quarter once, so the cost saved is half of what moving a weight by 1 costs.
    """
    history = still(market_history(days=520, seed=3))
    mix = Blend({"bull": always(AUD=0.5), "bear": always(AUD=-0.5)}, lookback=600)
    costs = Costs()
    result = attribute_ensemble(mix, runs(history, costs=costs, markup=0.01))
    table, days = result.table, len(result.ensemble.returns)
    assert not result.ensemble.trades.size
    assert not table.loc["total"].any()
    first = np.datetime64(result.books["bull"].trades["at"].iloc[0].tz_localize(None), "D")
    held = (result.ensemble.books.day[-1].astype("datetime64[D]") - first).astype(int)
    assert table.loc["netting", "carry"] == pytest.approx(0.01 * 0.5 * held / 365 * 260 / days, rel=0.01)
    moving = float(costs.trading_cost(("AUD",), "USD")[0])
    assert table.loc["netting", "cost"] == pytest.approx(0.5 * moving * 260 / days, rel=1e-3)
    assert table.loc["bull", "carry"] != pytest.approx(table.loc["bear", "carry"], rel=0.1)  # one earns, one pays
    np.testing.assert_allclose(table["spot"], 0, atol=1e-15)


def test_two_that_hold_different_currencies_have_nothing_to_net(history):
    mix = Blend({"aussie": always(AUD=0.8), "euro": always(EUR=-0.8)}, lookback=600)
    table = attribute_ensemble(mix, runs(history)).table
    np.testing.assert_allclose(table.loc["netting"], 0, atol=2e-6)  # rounding to cents and units
    assert table.loc["aussie", "spot"] != 0
    assert table.loc["euro", "spot"] != 0


def test_a_share_is_sized_on_the_nav_of_the_ensemble(history):
    """The aussie makes the ensemble rich: the share of the euro grows with it, though the euro stands still."""
    spot = history.spot.copy()
    spot[:, history.currencies.index("AUD")] = np.exp(np.linspace(0, 1, len(history)))
    spot[:, history.currencies.index("EUR")] = 1.0
    rising = attrs.evolve(history, spot=spot)
    mix = Blend({"aussie": always(AUD=1.0), "euro": always(EUR=0.5)}, {"aussie": 3.0, "euro": 1.0}, lookback=600)
    result = attribute_ensemble(mix, runs(rising))
    euro = result.books["euro"]
    column = next(i for i, name in enumerate(euro.journal.log.names) if name.startswith("EUR"))
    last = int(np.flatnonzero(np.diff(euro.columns.units[:, column]))[-1])  # the tick whose NAV sized the last fill
    assert result.ensemble.columns.nav[last] > 1.7e6
    assert euro.columns.units[-1, column] == pytest.approx(0.25 * 0.5 * result.ensemble.columns.nav[last], rel=1e-5)


def test_a_part_that_reads_the_account_sees_the_ensemble(history):
    seen: list[dict[str, float]] = []

    def reader(view: MarketView, account: Any) -> Mapping[str, float]:
        seen.append(dict(account.current_weights))
        return {"AUD": 0.5}

    attribute_ensemble(Blend({"reader": reader, "yen": always(JPY=-0.5)}, lookback=600), runs(history))
    assert len(seen) == 24  # once a month: the shares are not asked again
    assert seen[0] == {} or not any(seen[0].values())
    assert all(weights["JPY"] < 0 < weights["AUD"] for weights in seen[1:])


def test_a_flat_part_is_a_line_of_zeros(history):
    table = attribute_ensemble(Blend({"rank": Rank(), "nothing": always()}), runs(history)).table
    assert not table.loc["nothing"].any()
    np.testing.assert_allclose(table.loc["rank"], table.loc["total"], atol=1e-9)


@pytest.mark.parametrize("account_currency", ["EUR", "JPY"])
def test_in_another_account_currency(history, account_currency):
    mix = Blend({"sign": Sign(), "rank": Rank()}, lookback=60)
    run = runs(history, account_currency=account_currency, universe=("USD", "GBP", "AUD", "CHF", "NOK"))
    table = attribute_ensemble(mix, run).table
    np.testing.assert_allclose(table.iloc[:-1].sum(), table.loc["total"], atol=1e-15)
    assert table.loc["netting", "carry"] >= -1e-6
    assert table.loc["netting", "cost"] >= -1e-7


def test_routed_through_crosses(history):
    mix = Blend({"sign": Sign(), "rank": Rank()}, lookback=60)
    table = attribute_ensemble(mix, runs(history, routing="least-cost")).table
    np.testing.assert_allclose(table.iloc[:-1].sum(), table.loc["total"], atol=1e-15)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_what_has_no_parts(history):
    for strategy in (Rank(), NoTradeBand(Blend({"rank": Rank()}))):
        with pytest.raises(ConfigError, match="has no parts"):
            attribute_ensemble(strategy, runs(history))  # type: ignore[arg-type]


def test_rules_are_refused(history):
    with pytest.raises(ConfigError, match="has the rules max-position"):
        attribute_ensemble(Blend({"rank": Rank()}), runs(history, rules=[MaxPosition()]))


@pytest.mark.parametrize("name", ["netting", "total"])
def test_a_name_that_is_a_line_of_its_own(history, name):
    with pytest.raises(ConfigError, match=f"called '{name}'"):
        attribute_ensemble(Blend({name: Rank()}), runs(history))


def test_a_share_that_the_venue_closes_out(history):
    """Twenty times NAV each way: together nothing, apart more than any margin bears."""
    mix = Blend({"bull": always(NOK=40.0), "bear": always(NOK=-40.0)}, lookback=600)
    with pytest.raises(DataError, match=r"the share of b.*, as a book of its own, lost too much"):
        attribute_ensemble(mix, runs(history))


def test_an_ensemble_that_the_venue_closes_out(history):
    with pytest.raises(DataError, match="the ensemble lost too much"):
        attribute_ensemble(Blend({"bull": always(NOK=25.0)}, lookback=600), runs(history))


def test_a_run_that_is_not_the_same_each_time(history):
    ends = iter(["2021-06-30", "2021-09-30"])

    def run(strategy: Any) -> BacktestResult:
        return backtest(strategy, history=history, end=next(ends), **START)

    with pytest.raises(ConfigError, match="the same each time"):
        attribute_ensemble(Blend({"rank": Rank()}), run)


def test_a_shorter_second_run_is_an_error_too(history):
    ends = iter(["2021-06-30", "2021-03-31"])

    def run(strategy: Any) -> BacktestResult:
        return backtest(strategy, history=history, end=next(ends), **START)

    with pytest.raises(ConfigError, match="different days"):
        attribute_ensemble(Blend({"rank": Rank()}), run)
