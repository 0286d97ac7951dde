"""fxcarry.venues and fxcarry.balances: the profiles, and backtests at each of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry import MemoryFeed, backtest
from fxcarry.backtest import BacktestResult, variants
from fxcarry.build import build
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.evidence import configuration_of
from fxcarry.financing import BenchmarkFinancing, CurrencyBalanceFinancing
from fxcarry.ledger import attribute
from fxcarry.market import MarketHistory, MarketView
from fxcarry.model import Order, Pair, Quote, Rate, Snapshot
from fxcarry.report import text
from fxcarry.simulation import SimBroker
from fxcarry.strategies import Baseline
from fxcarry.testing import market_history
from fxcarry.venues import Venue, venue, venues

NAMES = ("interbank", "oanda", "ib")


# --- the profiles ----------------------------------------------------------------------------------------------------


def test_there_are_three_profiles() -> None:
    assert tuple(venues()) == NAMES
    assert [venue(name) for name in NAMES] == list(venues().values())
    with pytest.raises(TypeError):
        venues()["mine"] = venue("ib")  # type: ignore[index]


@pytest.mark.parametrize(
    ("wrong", "near"), [("onada", "oanda"), ("Oanda", "oanda"), ("interbnk", "interbank"), ("IB", "ib")]
)
def test_an_unknown_name_is_an_error_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f'did you mean "{near}"') as raised:
        venue(wrong)
    assert raised.value.hint == "one of interbank, oanda, ib"


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source(name: str) -> None:
    profile = venue(name)
    assert profile.sources["spreads"]
    assert all(profile.sources.values())
    assert profile.summary
    assert "\n" not in profile.summary


def full_spread(name: str, pair: str) -> float:
    return 2e4 * venue(name).costs.half_spread(Pair.parse(pair))


@pytest.mark.parametrize(
    ("pair", "institutional", "retail"),
    [("EURUSD", 0.4, 1.3), ("USDJPY", 0.5, 1.3), ("GBPUSD", 0.8, 1.6), ("AUDUSD", 1, 2), ("USDCAD", 0.9, 1.8),
     ("USDCHF", 1, 2), ("NZDUSD", 1.6, 2.8), ("USDSEK", 3, 8), ("USDNOK", 3, 8), ("USDSGD", 2, 4), ("USDCNH", 1.5, 5),
     ("USDMXN", 3, 10), ("USDZAR", 5, 18), ("USDPLN", 4, 12), ("USDHUF", 5, 14), ("USDCZK", 5, 14), ("USDILS", 6, 18),
     ("USDTRY", 10, 60)],
)  # fmt: skip
def test_spreads(pair: str, institutional: float, retail: float) -> None:
    assert full_spread("interbank", pair) == pytest.approx(institutional)
    assert full_spread("ib", pair) == pytest.approx(institutional)
    assert full_spread("oanda", pair) == pytest.approx(retail)


def test_a_currency_without_an_institutional_spread_is_an_error() -> None:
    with pytest.raises(MissingDataError, match="THB"):
        full_spread("interbank", "USDTHB")


@pytest.mark.parametrize(
    ("pair", "fee"),
    [("EURUSD", 0.01), ("AUDJPY", 0.01), ("USDZAR", 0.02), ("EURHUF", 0.02), ("USDCZK", 0.02), ("USDSAR", 0.02),
     ("USDTHB", 0.02), ("USDTRY", 0.04), ("TRYJPY", 0.04), ("ZARJPY", 0.02), ("TRYZAR", 0.04)],
)  # fmt: skip
def test_the_administrative_fee_is_the_dearer_currency(pair: str, fee: float) -> None:
    model = venue("oanda").financing
    assert isinstance(model, BenchmarkFinancing)
    assert model.markup_of(Pair.parse(pair)) == fee


def test_interbank_and_ib_financing() -> None:
    assert venue("interbank").financing == BenchmarkFinancing(0.001)
    assert venue("ib").financing == CurrencyBalanceFinancing(0.005, 0.015, 10_000, 100_000)
    assert venue("ib").costs.commission_bps == 0.2
    assert "USD 2" in venue("ib").summary


@pytest.mark.parametrize("name", NAMES)
def test_without_markup_only_the_financing_changes(name: str) -> None:
    profile = venue(name)
    free = profile.without_markup()
    assert free.financing == BenchmarkFinancing(0.0)
    assert (free.name, free.costs, free.sources) == (profile.name, profile.costs, profile.sources)
    assert "without" in free.summary


# --- mark-ups by currency --------------------------------------------------------------------------------------------


def test_a_pair_listed_itself_comes_first() -> None:
    model = BenchmarkFinancing({"EURTRY": 0.03, "TRY": 0.04, "default": 0.01})
    fees = [model.markup_of(Pair.parse(p)) for p in ("EURTRY", "USDTRY", "EURUSD")]
    assert fees == [0.03, 0.04, 0.01]


def test_a_missing_markup_is_an_error() -> None:
    model = BenchmarkFinancing({"EUR": 0.01})
    with pytest.raises(MissingDataError, match="EURUSD"):
        model.markup_of(Pair.parse("EURUSD"))


@pytest.mark.parametrize("wrong", [-0.01, 1.0, float("nan")])
def test_every_markup_of_a_mapping_is_checked(wrong: float) -> None:
    with pytest.raises(ConfigError, match="markup TRY is"):
        BenchmarkFinancing({"TRY": wrong, "default": 0.01})


@pytest.mark.parametrize("field", ["credit_spread", "debit_spread", "free_balance", "full_rate_nav"])
def test_balance_terms_are_checked(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        CurrencyBalanceFinancing(**{field: -1.0})


# --- balances: by hand -----------------------------------------------------------------------------------------------

KNOWN = {"USD": (0.043, 360), "EUR": (0.025, 360), "AUD": (0.041, 365), "JPY": (0.003, 365)}
PRICES = {"EURUSD": "1.25", "AUDUSD": "0.64", "USDJPY": "160", "AUDJPY": "102.4"}


def at(day: int, hour: int) -> datetime:
    return datetime(2025, 3, day, hour, tzinfo=UTC)  # 17:00 New York is 21:00


def snapshot(now: datetime, without: str = "") -> Snapshot:
    then = at(3, 0)
    return Snapshot(
        now,
        {Pair.parse(p): Quote(Decimal(v), Decimal(v), now) for p, v in PRICES.items()},
        {c: Rate(value=v, day_count=d, as_of=then, available_at=then) for c, (v, d) in KNOWN.items() if c != without},
    )


def held(units: dict[str, int], *, day: int = 10, **about: Any) -> SimBroker:
    """A million dollars; bought on ``day`` (10 March 2025 is a Monday), and over its roll."""
    broker = SimBroker(cash=1_000_000, financing=about.pop("financing", CurrencyBalanceFinancing()), **about)
    broker.get_instruments([Pair.parse(p) for p in units])
    broker.sync(snapshot(at(day, 13)))
    for name, size in units.items():
        if size:
            broker.place_market_order(Order(client_id=name, instrument=name, units=Decimal(size)))
    broker.sync(snapshot(at(day, 14)))
    broker.sync(snapshot(at(day, 21)))
    return broker


def interest(broker: SimBroker) -> dict[str, Decimal]:
    return {t.instrument: t.amount for t in broker.transactions(None) if t.kind == "financing"}


def test_a_long_paid_from_own_cash_costs_the_interest_forgone() -> None:
    # EUR (100,000 − 8,000)·2 %/360·1.25 = 6.39; USD −125,000·3.8 %/360 = −13.19.
    broker = held({"EURUSD": 100_000})
    assert interest(broker) == {"EUR": Decimal("6.39"), "USD": Decimal("-13.19")}
    assert broker.get_account_balance() == Decimal("999993.20")


def test_a_short_is_charged_the_debit_rate() -> None:
    # EUR −100,000·4 %/360·1.25 = −13.89; USD +125,000·3.8 %/360 = 13.19.
    assert interest(held({"EURUSD": -100_000})) == {"EUR": Decimal("-13.89"), "USD": Decimal("13.19")}


def test_friday_is_three_days_and_the_transaction_says_so() -> None:
    broker = held({"EURUSD": -100_000}, day=14)
    assert interest(broker) == {"EUR": Decimal("-41.67"), "USD": Decimal("39.58")}
    eur, usd = (t for t in broker.transactions(None) if t.kind == "financing")
    assert (eur.days, eur.trade_date, eur.units, eur.conversion) == (3, date(2025, 3, 14), -100_000, Decimal("1.25"))
    assert (usd.instrument, usd.units, usd.conversion, usd.currency) == ("USD", 1_125_000, 1, "USD")


def test_a_cross_leaves_the_account_currency_alone() -> None:
    # AUD (1,000,000 − 15,625)·3.6 %/365·0.64 = 62.1370; JPY −102,400,000·1.8 %/365/160 = −31.5616. With both
    # foreign, the dollar balance is NAV itself: no excess.
    assert interest(held({"AUDJPY": 1_000_000})) == {"AUD": Decimal("62.14"), "JPY": Decimal("-31.56")}


def test_two_legs_net_in_their_currency() -> None:
    # Long AUDJPY and short AUDUSD: no AUD left, JPY owed, dollars received.
    broker = held({"AUDJPY": 1_000_000, "AUDUSD": -1_000_000})
    assert interest(broker) == {"JPY": Decimal("-31.56"), "USD": Decimal("67.56")}  # 640,000·3.8 %/360 = 67.5556


def test_dollars_owed_are_charged_the_debit_rate() -> None:
    # 2,000,000 EUR cost 2,500,000: USD −1,500,000·5.8 %/360 − 990,000·3.8 %/360 = −241.6667 − 104.5 = −346.17.
    assert interest(held({"EURUSD": 2_000_000}))["USD"] == Decimal("-346.17")


def test_a_flat_account_books_nothing() -> None:
    assert interest(held({"EURUSD": 0})) == {}


def test_a_missing_rate_is_an_error() -> None:
    broker = SimBroker(financing=CurrencyBalanceFinancing())
    broker.get_instruments([Pair.parse("AUDJPY")])
    with pytest.raises(MissingDataError, match="no rates for USD"):
        broker.sync(snapshot(at(10, 13), without="USD"))


# --- balances: what the strategy sees --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    return market_history(days=520, seed=5)


def run(history: MarketHistory, **about: Any) -> BacktestResult:
    return backtest(about.pop("strategy", Baseline()), history=history, **{"start": "2020-01-08", "rules": [], **about})


def test_the_strategy_sees_the_marginal_rates(history: MarketHistory) -> None:
    seen: list[tuple[Any, Any, Any]] = []

    def strategy(view: MarketView, account: Any) -> dict[str, float]:
        seen.append((view.rates, view.financing_long, view.financing_short))
        return {}

    run(history, strategy=strategy, venue="ib")
    rates, long, short = seen[-1]
    own = float(history.rates["USD"].values(history.times[-1:])[0])
    basis = {c: history.rates[c].day_count for c in (*rates.index, "USD")}
    forgone = max(own - 0.005, 0) * 365 / basis["USD"]
    for c, rate in rates.items():
        assert long[c] == pytest.approx(max(rate - 0.005, 0) * 365 / basis[c] - forgone, abs=1e-12)
        assert short[c] == pytest.approx(forgone - (rate + 0.015) * 365 / basis[c], abs=1e-12)


# --- backtests at a venue --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_backtest_at_a_venue(name: str, history: MarketHistory) -> None:
    result = run(history, venue=name)
    profile = venue(name)
    assert result.venue == result.stats["venue"] == name
    assert result.costs == profile.costs
    assert result.markup == {"interbank": 0.001, "oanda": 0.01, "ib": None}[name]
    by_hand = run(history, costs=profile.costs, financing=profile.financing)
    assert by_hand.venue is None
    np.testing.assert_array_equal(by_hand.nav, result.nav)
    assert result.attribution.sum().sum() == pytest.approx(result.nav.iloc[-1] - result.cash, abs=1e-6)
    assert result.books.carry_by_instrument.sum() == pytest.approx(result.books.carry.sum(), abs=1e-6)
    assert sum(amount for (a, _), amount in result.ledger.balances.items() if a == "Cash:USD") == pytest.approx(
        Decimal(float(result.columns.nav[-1] - _open_profit(result))), abs=Decimal("0.01")
    )


def _open_profit(result: BacktestResult) -> float:
    last = result.columns
    return float((last.units[-1] * (last.mid[-1] - last.average[-1]) * last.conversion[-1]).sum())


def test_a_dearer_venue_leaves_less(history: MarketHistory) -> None:
    final = {name: run(history, venue=name).nav.iloc[-1] for name in NAMES}
    assert final["interbank"] > final["oanda"]
    assert final["interbank"] > final["ib"]


def test_what_is_given_beside_a_venue_wins(history: MarketHistory) -> None:
    free = run(history, venue="ib", costs=None)
    assert free.costs is None
    assert free.stats["cost"] == 0
    marked = run(history, venue="ib", markup=0.02)
    assert (marked.markup, marked.costs) == (0.02, venue("ib").costs)
    assert marked.notes[-1] == "not the financing of venue ib: others were given in their place"
    assert free.notes[-1].startswith("not the costs of venue ib")
    assert not run(history, venue="ib").notes
    spot = run(history, venue="ib", financing=None)
    assert (spot.stats["carry"], spot.markup, spot.venue) == (0, None, "ib")


def test_the_variants_of_a_venue(history: MarketHistory) -> None:
    for name in NAMES:
        others = variants(
            lambda name=name, **change: run(history, **{"venue": name, **change}), run(history, venue=name)
        )
        gross = run(history, venue=venue(name).without_markup())
        np.testing.assert_array_equal(others["gross"].nav, gross.nav)
        assert others["gross"].markup == 0
        assert others["gross"].nav.iloc[-1] > run(history, venue=name).nav.iloc[-1]
        assert others["spot_only"].stats["carry"] == 0


def test_a_venue_of_your_own(history: MarketHistory) -> None:
    mine = attrs.evolve(venue("oanda"), name="mine", financing=BenchmarkFinancing({"EUR": 0.02, "default": 0.005}))
    result = run(history, venue=mine)
    assert isinstance(mine, Venue)
    assert (result.venue, result.markup) == ("mine", None)  # not one number


def test_interest_is_given_to_the_instruments_without_remainder(history: MarketHistory) -> None:
    result = run(history, venue="ib", costs=None)
    allocated = result.columns.allocated
    assert allocated is not None
    np.testing.assert_allclose(allocated.sum(1), result.columns.exact.sum(1), atol=1e-6)
    flat = result.columns.units == 0
    flat[1:] &= flat[:-1]  # what is filled at the instant of a roll does not take part in it
    assert flat.any()
    assert not allocated[flat].any()


def test_each_leg_is_given_its_own_interest() -> None:
    # Long AUD and long dollars against yen, both out of the same account; by hand, in dollars a day:
    # AUD (500,000 − 15,625)·3.6 %/365·0.64 = 30.5753, its 320,000 USD forgo 3.8 %/360 = −33.7778;
    # JPY −32,000,000·1.8 %/365/160 = −9.8630, its 200,000 USD earn 3.8 %/360 = 21.1111.
    books = attribute(held({"AUDUSD": 500_000, "USDJPY": 200_000}).log)
    assert dict(zip(books.names, books.carry_by_instrument)) == pytest.approx(
        {"AUDUSD": 30.5753 - 33.7778, "USDJPY": -9.8630 + 21.1111}, abs=2e-4
    )


def test_round_trips_include_their_interest() -> None:
    def strategy(view: MarketView, account: Any) -> dict[str, float]:
        return {"EUR": 0.5} if view.as_of.month == 2 else {}

    history = market_history(days=120, seed=5)
    result = run(history, strategy=strategy, venue="ib")
    assert len(result.round_trips) == 1
    assert result.round_trips[0] == pytest.approx(result.nav.iloc[-1] - result.cash, abs=0.5)  # cents of rounding


def test_the_same_book_gross_of_every_spread_is_the_benchmark(history: MarketHistory) -> None:
    # Without spreads, free balance and tiers, balances earn the benchmark on what was paid for them: the differential
    # of the positions, but for interest on open profit.
    balances = run(history, costs=None, financing=CurrencyBalanceFinancing(0.0, 0.0, 0.0, 0.0))
    benchmark = run(history, costs=None, financing=BenchmarkFinancing(0.0))
    assert balances.stats["carry"] == pytest.approx(benchmark.stats["carry"], abs=5e-4)


def test_reports_state_the_venue_and_its_sources(history: MarketHistory) -> None:
    ib, none = (run(history, venue=name).stats for name in ("ib", None))
    told = text.venue(ib)
    assert venue("ib").summary in told
    assert all(f"{what}: {source}" in told for what, source in venue("ib").sources.items())
    assert text.interest(ib) == "booked as the venue does"
    assert any(line == f"Venue: {told}." for line in text.footer([{**ib, "variants": {}}]))
    assert not any(line.startswith("Venue") for line in text.footer([{**none, "variants": {}}]))
    assert text.venue({"venue": "mine"}) == "mine"


def test_the_venue_is_part_of_a_trial(history: MarketHistory) -> None:
    assert configuration_of(run(history, venue="ib"))["venue"] == "ib"
    assert "venue" not in configuration_of(run(history))


# --- configuration ---------------------------------------------------------------------------------------------------


def written(folder: Path, text: str) -> Path:
    path = folder / "fxcarry.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_configured_venue_is_what_backtest_runs(history: MarketHistory, tmp_path: Path) -> None:
    config = written(tmp_path, 'venue = "ib"\n')
    result = run(history, config=config)
    assert result.venue == "ib"
    np.testing.assert_array_equal(result.nav, run(history, venue="ib").nav)
    other = run(history, config=config, venue="oanda")
    np.testing.assert_array_equal(other.nav, run(history, venue="oanda").nav)


def test_costs_of_the_configuration_change_the_venues(history: MarketHistory, tmp_path: Path) -> None:
    text = 'venue = "interbank"\nmarkup = 0.002\n[costs]\nslippage_bps = 0.5\nspread_bps = { EUR = 0.9 }\n'
    result = run(history, config=written(tmp_path, text))
    known = venue("interbank").costs
    assert result.costs == attrs.evolve(known, slippage_bps=0.5, spread_bps={**known.spread_bps, "EUR": 0.9})
    assert (result.venue, result.markup) == ("interbank", 0.002)
    assert run(history, config=written(tmp_path, 'venue = "ib"\n[costs]\nuse = "retail"\n')).costs == Costs()


def test_build_uses_the_venue(history: MarketHistory, tmp_path: Path) -> None:
    feed = MemoryFeed(history)
    engine = build(written(tmp_path, 'venue = "ib"\n'), strategy="sign", feed=feed)
    assert engine.broker.financing == CurrencyBalanceFinancing()
    assert engine.costs == venue("ib").costs


def test_an_unknown_venue_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'venue: expected one of .* did you mean "oanda"'):
        backtest("sign", config=written(tmp_path, 'venue = "onada"\n'))
