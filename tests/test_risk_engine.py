"""The rules through a running engine: the worked examples, in whole units and at the venue's prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fxcarry import Engine, SimBroker
from fxcarry.conventions import session_ends
from fxcarry.costs import Costs
from fxcarry.financing import BenchmarkFinancing
from fxcarry.market import MarketHistory, RateSeries, from_ns
from fxcarry.model import Action, Proposal, RiskState, TradingState, Verdict
from fxcarry.orders import client_id
from fxcarry.risk import (
    Code,
    DailyLoss,
    Drawdown,
    FatFinger,
    FinancingFlip,
    MarginDistance,
    MaxExposure,
    MaxPosition,
    OrderRate,
    RolloverWindow,
    SpreadGuard,
    Staleness,
    StopLoss,
    StressLoss,
    Weekend,
    default_rules,
    professional_rules,
)
from fxcarry.scenarios import scenario

STEPPED = pytest.mark.parametrize("stepped", [False, True])


def instants(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """New York wall clock."""
    stamps = pd.DatetimeIndex([pd.Timestamp(t, tz="America/New_York") for t in texts])
    return stamps.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ns]")


def daily(prices: Mapping[str, Sequence[float]], start: str = "2024-01-30", **about: Any) -> MarketHistory:
    """One quote a weekday at 16:59 New York. January 31st 2024 decides, February 1st fills."""
    count = len(next(iter(prices.values())))
    days = np.busday_offset(start, np.arange(count), roll="forward")
    return history(session_ends(days) - np.timedelta64(1, "m"), prices, **about)


def history(times: Any, prices: Mapping[str, Sequence[float]], **about: Any) -> MarketHistory:
    """USD per unit."""
    known = np.array(["2020-01-01"], "datetime64[ns]")
    rates = {c: RateSeries(c, known, known, np.array([r])) for c, r in about.pop("rates", {}).items()}
    return MarketHistory(
        times.astype("datetime64[ns]"), tuple(prices), np.array(list(prices.values()), float).T, "USD", rates, **about
    )


def always(**weights: float) -> Callable[[Any, Any], dict[str, float]]:
    return lambda view, account: dict(weights)


def books(*weights: Mapping[str, float]) -> Callable[[Any, Any], Mapping[str, float]]:
    """The first at the first decision, and so on; the last one from then on."""
    asked: list[Any] = []

    def strategy(view: Any, account: Any) -> Mapping[str, float]:
        asked.append(view)
        return weights[min(len(asked), len(weights)) - 1]

    return strategy


def run(
    market: MarketHistory,
    strategy: Any,
    rules: Sequence[Any],
    *,
    stepped: bool = False,
    rebalance: Any = "monthly",
    costs: Costs | None = None,
    **broker: Any,
) -> Engine:
    engine = Engine(
        feed=None,
        broker=SimBroker(**{"cash": 100_000, "costs": costs or Costs.none(), **broker}),
        strategy=strategy,
        rules=rules,
        universe=market.currencies,
        rebalance=rebalance,
    )
    engine.run(history=market, stepped=stepped)
    return engine


def traded(engine: Engine) -> list[tuple[str, str, int]]:
    """(New York time, instrument, units) of every fill."""
    log = engine.broker.log
    when = [pd.Timestamp(f.at).tz_localize("UTC").tz_convert("America/New_York") for f in log.fills]
    return [(f"{at:%m-%d %H:%M}", log.names[f.instrument], round(f.units)) for at, f in zip(when, log.fills)]


def units(engine: Engine) -> dict[str, int]:
    return {name: int(p.units) for name, p in engine.broker.get_positions().items()}


def codes(engine: Engine) -> list[str]:
    return [v.code for _, d in engine.journal.decisions for v in d.findings]


class Until:
    """A third party's rule that opens nothing before a moment."""

    name = "until"

    def __init__(self, moment: str) -> None:
        (at,) = instants([moment])
        self.moment = from_ns(at)

    def __call__(self, proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        if account.at >= self.moment or proposal.stage == "held":
            return Verdict(self.name, Action.ALLOW)
        return Verdict(self.name, Action.REJECT, "TOO_EARLY")


class Once:
    """A rule in force from a day on."""

    def __init__(self, day: str, rule: Any) -> None:
        self.name, self.day, self.rule = rule.name, day, rule

    def __call__(self, proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        if f"{account.at:%Y-%m-%d}" < self.day:
            return Verdict(self.name, Action.ALLOW)
        return self.rule(proposal, view, account, state)  # type: ignore[no-any-return]


# --- margin ----------------------------------------------------------------------------------------------------------


@STEPPED
def test_the_venue_closes_out_at_half_of_the_margin(stepped: bool) -> None:
    # 200,000 at 1.1000 on 10,000 and a margin of 1/30: 1.067796610, where NAV is 3,559.32.
    for price, is_open in ((1.067797, True), (1.067796, False)):
        prices = [1.1, 1.1, 1.1, price, price]
        engine = run(daily({"EUR": prices}), always(EUR=22.0), [], stepped=stepped, cash=10_000)
        assert units(engine) == ({"EURUSD": 200_000} if is_open else {})
        assert engine.broker.nav == pytest.approx(3_559.32, abs=0.2)


@STEPPED
def test_margin_blocks_opening_and_then_closes_before_the_venue_does(stepped: bool) -> None:
    # 20 times NAV is what leaves three times the level: 181,818. One and a half times it is reached at
    # (200,000 - 10,000) / (181,818 · (1 - 0.025)) = 1.0717959.
    for price, closed in ((1.0718, 0), (1.0717, 1)):
        prices = [1.1, 1.1, 1.1, price, price, price]
        engine = run(daily({"EUR": prices}), always(EUR=22.0), [MarginDistance()], stepped=stepped, cash=10_000)
        nav = 10_000 + 181_818 * (price - 1.1)
        wanted = int(20 * nav / price) if closed else 181_818
        assert units(engine) == {"EURUSD": wanted}
        assert traded(engine)[:1] == [("02-01 17:00", "EURUSD", 181_818)]
        assert codes(engine)[:1] == [Code.MARGIN_NEAR_CLOSEOUT]
        assert engine.state.trading is TradingState.ACTIVE
        assert engine.state.stopped == frozenset()  # trimmed, not stopped out


# --- sessions and clocks ---------------------------------------------------------------------------------------------


def test_days_end_at_17_new_york_over_the_change_of_clocks() -> None:
    engine = run(daily({"EUR": [1.0] * 7}, start="2025-03-05"), always(), [], rebalance="daily")
    ends = [from_ns(at) for at in engine.clock.at]
    assert ends[2] == datetime(2025, 3, 7, 22, tzinfo=UTC)
    assert ends[3] == datetime(2025, 3, 10, 21, tzinfo=UTC)
    assert [str(day) for day in engine.clock.day[2:4]] == ["2025-03-07", "2025-03-10"]


def test_a_tick_before_17_belongs_to_its_day_and_one_after_to_the_next() -> None:
    times = np.array(["2025-03-12T20:59:59", "2025-03-12T21:00:00", "2025-03-12T21:00:01"], "datetime64[ns]")
    engine = run(history(times, {"EUR": [1.0] * 3}, interval=timedelta(seconds=1)), always(), [])
    by_tick = dict(zip(engine.clock.at.tolist(), engine.clock.day.astype(str).tolist()))
    days = [by_tick[at] for at in times.tolist()]
    assert days == ["2025-03-12", "2025-03-12", "2025-03-13"]  # 17:00:00 itself ends the day


WEEK = ["2025-03-06 12:00", "2025-03-07 12:00", "2025-03-07 16:59:30"]


@pytest.mark.parametrize(
    ("first", "is_stale"), [("2025-03-09 17:30", False), ("2025-03-09 17:59", False), ("2025-03-09 18:00", True)]
)
def test_age_counts_open_minutes_over_a_weekend(first: str, is_stale: bool) -> None:
    # Friday 16:59:30 was the last quote of EUR: 30.5 minutes at Sunday 17:30, 60.5 at 18:00.
    times = instants([*WEEK, first, "2025-03-09 18:01", "2025-03-09 18:02"])
    prices = {"EUR": [1.0] * 3 + [np.nan] * 3, "AUD": [1.0] * 6}
    market = history(times, prices, interval=timedelta(minutes=1))
    rules = [Staleness(), Until(first)]
    engine = run(market, always(EUR=0.1, AUD=0.1), rules, rebalance="weekly")
    assert (Code.QUOTE_STALE in codes(engine)) is is_stale
    placed = {order.instrument for order in engine.journal.orders}
    assert placed == ({"AUDUSD"} if is_stale else {"AUDUSD", "EURUSD"})


def test_a_weekend_delays_an_opening_to_sunday_18() -> None:
    later = ["2025-03-09 17:10", "2025-03-09 18:00", "2025-03-09 18:05", "2025-03-10 12:00"]
    market = history(instants([*WEEK, *later]), {"EUR": [1.0] * 7}, interval=timedelta(minutes=5))
    engine = run(market, always(EUR=0.2), [Weekend()], rebalance="weekly")
    assert traded(engine) == [("03-09 18:05", "EURUSD", 20_000)]  # decided at 18:00
    assert set(codes(engine)) == {Code.WEEKEND_OPENING}
    assert traded(run(market, always(EUR=0.2), [], rebalance="weekly")) == [("03-09 17:10", "EURUSD", 20_000)]


def test_the_rollover_delays_an_opening_to_half_past_five() -> None:
    later = ["2025-03-09 17:10", "2025-03-09 17:30", "2025-03-09 17:40", "2025-03-10 12:00"]
    market = history(instants([*WEEK, *later]), {"EUR": [1.0] * 7}, interval=timedelta(minutes=5))
    engine = run(market, always(EUR=0.2), [RolloverWindow()], rebalance="weekly")
    assert traded(engine) == [("03-09 17:40", "EURUSD", 20_000)]


@STEPPED
def test_a_daily_book_is_trimmed_on_friday(stepped: bool) -> None:
    # Decided on Wednesday January 31st, filled on Thursday; looked at on Thursday 17:00, trimmed at Friday's quote.
    engine = run(daily({"EUR": [1.0] * 8, "AUD": [1.0] * 8}), always(EUR=1.0, AUD=-0.8), [Weekend()], stepped=stepped)
    assert traded(engine)[2:] == [("02-02 17:00", "EURUSD", -16_667), ("02-02 17:00", "AUDUSD", 13_334)]
    assert units(engine) == {"EURUSD": 83_333, "AUDUSD": -66_666}
    assert [order.reason for order in engine.journal.orders][2:] == ["weekend exposure"] * 2


# --- the worked examples of the risk rules ---------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [default_rules(), [MaxPosition()]])
@pytest.mark.parametrize(
    ("currency", "price", "weight", "wanted"),
    [
        ("AUD", 0.66, 0.396, {"AUDUSD": 45_454}),
        ("JPY", 1 / 155, -0.40, {"USDJPY": 30_000}),
        ("EUR", 1.085, 0.3255, {"EURUSD": 27_649}),
    ],
)
def test_a_position_is_resized_to_30_percent(
    rules: Any, currency: str, price: float, weight: float, wanted: dict[str, int]
) -> None:
    engine = run(daily({currency: [price] * 5}), always(**{currency: weight}), rules)
    assert units(engine) == wanted
    assert codes(engine)[0] == Code.POSITION_TOO_LARGE


def test_what_is_opened_is_scaled_alike() -> None:
    # 1.9 times NAV is held, 10,000 and 20,000 more are wanted: a third of each, not first come first served.
    prices = {c: [1.0] * 40 for c in ("EUR", "AUD", "GBP", "NZD")}
    held = {"EUR": 1.0, "AUD": -0.9}
    engine = run(daily(prices), books(held, {**held, "GBP": 0.1, "NZD": -0.2}), [MaxExposure()])
    assert units(engine) == {"EURUSD": 100_000, "AUDUSD": -90_000, "GBPUSD": 3_333, "NZDUSD": -6_666}


@STEPPED
@pytest.mark.parametrize(
    ("currency", "weight", "entry", "price", "is_stopped"),
    [
        ("AUD", 0.2, 0.65, 0.617501, False),
        ("AUD", 0.2, 0.65, 0.6175, True),
        ("EUR", -0.2, 1.0850, 1.13924, False),
        ("EUR", -0.2, 1.0850, 1.13925, True),
    ],
)
def test_a_stop_at_5_percent(
    stepped: bool, currency: str, weight: float, entry: float, price: float, is_stopped: bool
) -> None:
    prices = [entry] * 3 + [price] * 20
    engine = run(daily({currency: prices}), always(**{currency: weight}), [StopLoss()], stepped=stepped)
    assert (units(engine) == {}) is is_stopped
    # Not bought again before the rebalance of February 29th.
    assert len(traded(engine)) == 1 + is_stopped


@STEPPED
def test_a_gap_fills_where_the_market_is_and_not_at_the_stop(stepped: bool) -> None:
    # Long 100,000 EUR at 1.2010, stop 1.14095, the next quote is 1.0300.
    prices = [1.2010] * 3 + [1.0300] * 20 + [1.03] * 3
    engine = run(daily({"EUR": prices}), always(EUR=0.1201), [StopLoss()], stepped=stepped, cash=1_000_000)
    fills = engine.broker.log.fills
    assert [(round(f.units), f.price) for f in fills[:2]] == [(100_000, 1.2010), (-100_000, 1.0300)]
    assert fills[1].posted == pytest.approx(-17_100 * 100)  # in cents
    assert traded(engine)[2][0] == "03-01 17:00"  # the rebalance of February 29th
    assert engine.journal.states[0][1].stopped == {("EURUSD", 1)}


@STEPPED
@pytest.mark.parametrize("flatten", [False, True])
def test_a_daily_loss_halts_to_the_end_of_the_next_day(stepped: bool, flatten: bool) -> None:
    # 100,000 units: 97,000.01 is let pass and 97,000.00 is not; 97,500 on the next day is still halted.
    prices = [1.0, 1.0, 1.0, 0.97, 0.975, 0.975, 0.975]
    calm = run(daily({"EUR": [1.0, 1.0, 1.0, 0.9700001, 0.975, 0.975]}), always(EUR=1.0), [DailyLoss()])
    assert calm.journal.states == []
    engine = run(daily({"EUR": prices}), always(EUR=1.0), [DailyLoss(flatten=flatten)], stepped=stepped)
    assert [(f"{at:%m-%d}", s.trading) for at, s in engine.journal.states] == [
        ("02-02", TradingState.REDUCING),
        ("02-05", TradingState.ACTIVE),
    ]
    if flatten:
        assert traded(engine)[1:] == [("02-05 17:00", "EURUSD", -100_000)]
    else:
        assert engine.state.day_start == pytest.approx(97_500)
        assert len(traded(engine)) == 1


def test_a_daily_loss_halt_of_friday_afternoon_ends_at_friday_17() -> None:
    later = ["2025-03-07 16:59:45", "2025-03-09 17:30", "2025-03-10 12:00"]
    market = history(instants(["2025-02-28 12:00", "2025-03-03 12:00", *WEEK[1:], *later]),
                     {"EUR": [1.0, 1.0, 1.0, 0.9699, 0.975, 0.975, 0.975]}, interval=timedelta(minutes=5))  # fmt: skip
    engine = run(market, always(EUR=1.0), [DailyLoss()], rebalance="monthly")
    moments = [(f"{at:%m-%d %H:%M}", s.trading) for at, s in engine.journal.states]
    assert moments == [("03-07 21:59", TradingState.REDUCING), ("03-07 22:00", TradingState.ACTIVE)]
    assert engine.state.day_start == pytest.approx(97_500)


@STEPPED
def test_a_drawdown_latches(stepped: bool) -> None:
    # 104,000 is the highest NAV; 88,400.01 passes and 88,400.00 does not.
    prices = [1.0, 1.0, 1.0, 1.04, 0.8840001, 0.884, 0.95, 1.2] + [1.2] * 30
    engine = run(daily({"EUR": prices}), always(EUR=1.0), [Drawdown()], stepped=stepped)
    assert [(f"{at:%m-%d}", s.trading, s.latch) for at, s in engine.journal.states] == [
        ("02-06", TradingState.HALTED, Code.DRAWDOWN)
    ]
    assert traded(engine)[1:] == [("02-07 17:00", "EURUSD", -100_000)]  # and nothing on the next days, nor in March
    assert engine.state.high_water == pytest.approx(104_000)


@pytest.mark.parametrize(("weight", "wanted"), [(0.5, [-50_000]), (-0.5, [-100_000, -50_000])])
def test_a_reduction_passes_a_halt_and_a_change_of_sign_is_split(weight: float, wanted: list[int]) -> None:
    # February 29th loses 3 %: the decision of that day reduces at once, and opens the other side a day later.
    engine = run(daily({"EUR": [1.0] * 22 + [0.97] * 5}), books({"EUR": 1.0}, {"EUR": weight}), [DailyLoss()])
    assert engine.journal.states[0][1].trading is TradingState.REDUCING
    after = traded(engine)[1:]
    assert [row[0] for row in after] == ["03-01 17:00", "03-04 17:00"][: len(wanted)]
    assert [row[2] for row in after] == wanted


def test_a_reduction_passes_where_it_leaves_more_than_a_cap() -> None:
    engine = run(daily({"EUR": [1.0] * 40}), books({"EUR": 1.5}, {"EUR": 1.2}), [Once("2024-02-01", MaxExposure(1.0))])
    assert units(engine) == {"EURUSD": 120_000}


# --- a crash ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 0.15])
def test_a_crash_costs_what_the_scenario_says(limit: float | None) -> None:
    # The prices of October 2008 from one quote to the next: ΔNAV = Σ exposure · move, and stops fill in the gap.
    moves = scenario("crash-month-2008").moves
    book = {"AUD": 0.3, "NZD": 0.3, "NOK": 0.3, "JPY": -0.3, "CHF": -0.3, "SEK": 0.3}
    prices = {c: [1.0] * 3 + [1.0 + moves[c]] * 2 for c in book}
    rules = [StopLoss()] if limit is None else [StopLoss(), StressLoss(limit, ("crash-month-2008",))]
    engine = run(daily(prices), always(**book), rules, cash=1_000_000)
    loss = -sum(w * moves[c] for c, w in book.items())
    assert loss > 0.15
    wanted = loss if limit is None else limit
    assert 1 - engine.broker.nav / 1_000_000 == pytest.approx(wanted, abs=1e-5)
    # AUD, NZD, NOK and SEK are past 5 %, at the quotes after the gap; the yen too, on the side that loses.
    closed = {
        engine.broker.log.names[f.instrument]: f.price for f in engine.broker.log.fills if f.order.reason == "stop"
    }
    assert set(closed) == {"AUDUSD", "NZDUSD", "USDNOK", "USDJPY", "USDSEK"}
    assert closed["AUDUSD"] == pytest.approx(1 - 0.157)


# --- orders ----------------------------------------------------------------------------------------------------------


def test_more_than_ten_orders_go_out_in_two_minutes() -> None:
    currencies = ("AUD", "NZD", "EUR", "GBP", "CAD", "CHF", "JPY")
    count = 30
    times = np.sort(np.concatenate([
        session_ends(np.busday_offset("2024-01-31", np.arange(count), roll="forward")) - np.timedelta64(m, "m")
        for m in (10, 0)
    ]))  # fmt: skip
    prices = {c: [1.0] * len(times) for c in currencies}
    market = history(times, prices, interval=timedelta(minutes=10))
    strategy = books(dict.fromkeys(currencies, 0.1), dict.fromkeys(currencies, -0.1))
    engine = run(market, strategy, [OrderRate()])
    turn = [row for row in traded(engine) if row[0] >= "02-29"]
    counts = pd.Series([row[0] for row in turn]).value_counts(sort=False).to_dict()
    # Seven close and three open at the quote after the decision; the other four at the one after that.
    assert list(counts.values()) == [10, 4]
    assert {name: round(u / 100_000, 1) for name, u in units(engine).items() if name.endswith("USD")} == {
        f"{c}USD": -0.1 for c in ("AUD", "NZD", "EUR", "GBP")
    }
    assert len(units(engine)) == 7
    assert codes(engine) == [Code.ORDER_RATE]


def test_a_size_never_seen_before_is_rejected_whole() -> None:
    book = dict.fromkeys(("AUD", "NZD", "EUR", "GBP", "CAD"), 0.01)
    turned = {c: -w for c, w in book.items()}
    prices = {c: [1.0] * 30 for c in (*book, "JPY")}
    engine = run(
        daily(prices, start="2024-01-31"), books(book, turned, {**turned, "JPY": -0.201}), [FatFinger()],
        rebalance="weekly",
    )  # fmt: skip
    assert "USDJPY" not in units(engine)
    assert set(codes(engine)) == {Code.ORDER_TOO_LARGE}
    let_pass = run(
        daily(prices, start="2024-01-31"), books(book, turned, {**turned, "JPY": -0.199}), [FatFinger()],
        rebalance="weekly",
    )  # fmt: skip
    assert units(let_pass)["USDJPY"] == 19_900


def test_an_order_that_was_sent_is_remembered_by_its_client_id() -> None:
    seen: list[Any] = []

    def look(proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        if proposal.stage == "orders":
            seen.append(list(proposal.recent))
        return Verdict("look", Action.ALLOW)

    look.name = "look"  # type: ignore[attr-defined]
    engine = run(daily({"EUR": [1.0] * 30}), books({"EUR": 0.2}, {"EUR": -0.1}), [look])
    (first,) = seen[-1]
    at = datetime(2024, 1, 31, 22, tzinfo=UTC)
    assert seen[0] == []
    assert (first.at, first.size, first.is_new) == (at, 0.2, True)
    assert first.client_id == client_id("simulated", at, "EURUSD", "open", 0) == engine.journal.orders[0].client_id


# --- quotes and financing --------------------------------------------------------------------------------------------


def test_a_wide_spread_holds_an_opening_up_until_it_is_narrow() -> None:
    count = 12
    days = session_ends(np.busday_offset("2024-01-22", np.arange(count), roll="forward"))
    half = np.full((count, 2), 1e-4)
    half[7, 0] = 4.1e-4  # January 31st, the day of the decision
    market = history(days - np.timedelta64(1, "m"), {"EUR": [1.0] * count, "AUD": [1.0] * count}, half_spread=half)
    engine = run(market, always(EUR=0.2, AUD=0.2), [SpreadGuard()])
    first = {name: when for when, name, _ in reversed(traded(engine))}
    assert first == {"AUDUSD": "02-01 17:00", "EURUSD": "02-02 17:00"}
    assert codes(engine) == [Code.SPREAD_WIDE]


def test_what_costs_after_the_mark_up_is_dropped_at_the_rebalance() -> None:
    market = daily({"EUR": [1.0] * 10, "AUD": [1.0] * 10}, rates={"EUR": 0.025, "AUD": 0.05, "USD": 0.02})
    engine = run(market, always(EUR=0.3, AUD=0.3), [FinancingFlip()], financing=BenchmarkFinancing(0.01))
    assert units(engine) == {"AUDUSD": 30_000}
    assert set(codes(engine)) == {Code.FINANCING_NEGATIVE}


# --- all of them -----------------------------------------------------------------------------------------------------


def test_with_all_rules_every_limit_holds_at_every_decision() -> None:
    random = np.random.default_rng(12)
    currencies = ("AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK")
    rates = dict(zip(currencies, random.uniform(0.0, 0.08, 9))) | {"USD": 0.03}
    prices = {c: np.exp(random.normal(0, 0.007, 400).cumsum()).tolist() for c in currencies}
    engine = run(
        daily(prices, start="2022-06-01", rates=rates),
        lambda view, account: dict(zip(currencies, random.normal(0, 0.4, 9))),
        professional_rules(), rebalance="weekly", cash=1_000_000, financing=BenchmarkFinancing(0.005),
    )  # fmt: skip
    assert len(engine.broker.log.fills) > 100
    targets = [d for stage, d in engine.journal.decisions if stage == "target"]
    for decision in targets:
        assert np.abs(decision.weights).max() <= 0.30 + 1e-9
        assert np.abs(decision.weights).sum() <= 1.5 + 1e-9
        assert [v.rule for v in decision.verdicts] == [r.name for r in professional_rules() if "target" in r.stages]  # type: ignore[attr-defined]
    assert {Code.STRESS_LOSS, Code.POSITION_TOO_LARGE, Code.FINANCING_NEGATIVE, Code.HISTORY_TOO_SHORT} <= set(
        codes(engine)
    )
