"""fxcarry.engine: one item through the loop, on markets small enough to check by hand.

The ticks are the 17:00s of New York; the quotes of a day are those of its 16:59. January 31st, February 29th and March
29th 2024 are the decision days of a monthly schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry import Engine, MemoryFeed, SimBroker
from fxcarry.conventions import session_ends
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.financing import BenchmarkFinancing
from fxcarry.ledger import Fill, attribute
from fxcarry.market import MarketHistory, RateSeries, from_ns
from fxcarry.model import Action, OrderStatus, Proposal, RiskState, TradingState, Verdict
from fxcarry.orders import client_id
from fxcarry.risk import DailyLoss, Drawdown, MaxCurrenciesPerSide, MaxPosition, Staleness, StopLoss, default_rules

NAN = float("nan")
CASH = 1_000_000
START = date(2024, 1, 30)  # a Tuesday: the second tick decides, the third fills


def market(
    prices: Mapping[str, Sequence[float]],
    *,
    start: date = START,
    rates: Mapping[str, float] | None = None,
    minutes: Sequence[int] = (1,),
    interval: timedelta = timedelta(days=1),
) -> MarketHistory:
    """USD per unit, one price a weekday (or one for each of ``minutes`` before 17:00, largest first)."""
    count = len(next(iter(prices.values())))
    days = np.busday_offset(np.datetime64(start), np.arange(-(-count // len(minutes))), roll="forward")
    times = (session_ends(days)[:, None] - np.array(minutes, "timedelta64[m]")).ravel()[:count]
    known = np.array(["2020-01-01"], "datetime64[ns]")
    return MarketHistory(
        times.astype("datetime64[ns]"),
        tuple(prices),
        np.array(list(prices.values())).T,
        "USD",
        {c: RateSeries(c, known, known, np.array([r])) for c, r in (rates or {}).items()},
        interval=interval,
    )


def always(**weights: float) -> Callable[[Any, Any], dict[str, float]]:
    return lambda view, account: dict(weights)


def watch(seen: list[Any], look: Callable[[Any, Any], Any], **weights: float) -> Callable[[Any, Any], dict[str, float]]:
    """A strategy that notes something of what it is shown, and always wants the same."""

    def strategy(view: Any, account: Any) -> dict[str, float]:
        seen.append(look(view, account))
        return dict(weights)

    return strategy


def by_month(*books: Mapping[str, float]) -> Callable[[Any, Any], Mapping[str, float]]:
    """The first book at the first decision, and so on; the last one from then on."""
    seen: list[datetime] = []

    def strategy(view: Any, account: Any) -> Mapping[str, float]:
        seen.append(view.as_of)
        return books[min(len(seen), len(books)) - 1]

    return strategy


def engine_of(
    history: MarketHistory,
    strategy: Any,
    rules: Sequence[Any] = (),
    *,
    rebalance: Any = "monthly",
    universe: Sequence[str] | None = None,
    **broker: Any,
) -> Engine:
    return Engine(
        feed=MemoryFeed(history),
        broker=SimBroker(**{"cash": CASH, **broker}),
        strategy=strategy,
        rules=rules,
        universe=universe or history.currencies,
        rebalance=rebalance,
    )


def run(
    history: MarketHistory, strategy: Any, rules: Sequence[Any] = (), *, stepped: bool = False, **about: Any
) -> Engine:
    engine = engine_of(history, strategy, rules, **about)
    engine.run(stepped=stepped)
    return engine


def fills(engine: Engine) -> list[Fill]:
    return engine.broker.log.fills


def traded(engine: Engine) -> list[tuple[str, str, int]]:
    """(day, instrument, units) of every fill."""
    log = engine.broker.log
    return [(str(f.at)[:10], log.names[f.instrument], int(f.units)) for f in log.fills]


def units(engine: Engine) -> dict[str, int]:
    return {name: int(p.units) for name, p in engine.broker.get_positions().items()}


def states(engine: Engine) -> list[tuple[str, TradingState]]:
    return [(f"{at:%Y-%m-%d}", state.trading) for at, state in engine.journal.states]


@attrs.frozen
class Third:
    """A third party's rule: any object with a name and a call."""

    say: Callable[[Proposal, Any], Verdict | None]
    name: str = "third-party"

    def __call__(self, proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        return self.say(proposal, view) or Verdict(self.name, Action.ALLOW)


def on(day: str, action: Action, *, stage: str | None = None, **about: Any) -> Third:
    """Says ``action`` at the tick of one day."""

    def say(proposal: Proposal, view: Any) -> Verdict | None:
        if f"{view.as_of:%Y-%m-%d}" == day and stage in (None, proposal.stage):
            return Verdict("third-party", action, "THIRD_PARTY", **about)
        return None

    return Third(say)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_of_the_strategy_ends_the_run_as_it_is() -> None:
    def broken(view: Any, account: Any) -> Any:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run(market({"EUR": [1.0] * 4}), broken)


# --- from decision to fill -------------------------------------------------------------------------------------------


def test_a_decision_fills_at_the_next_quote() -> None:
    engine = run(market({"EUR": [1.0, 1.1, 1.3, 1.4], "AUD": [0.5, 0.6, 0.7, 0.8]}), always(EUR=0.11, AUD=-0.3))
    assert traded(engine) == [("2024-02-01", "EURUSD", 100_000), ("2024-02-01", "AUDUSD", -500_000)]
    assert [f.price for f in fills(engine)] == [1.3, 0.7]
    assert engine.broker.nav == pytest.approx(CASH + 100_000 * 0.1 - 500_000 * 0.1)


def test_a_decision_without_a_quote_next_day_waits_for_one() -> None:
    engine = run(market({"EUR": [1.0, 1.0, NAN, NAN, 1.2]}), always(EUR=0.1))
    assert traded(engine) == [("2024-02-05", "EURUSD", 100_000)]
    assert fills(engine)[0].price == 1.2


def test_a_strategy_is_asked_when_due_and_sees_nothing_later() -> None:
    seen: list[tuple[str, float, int]] = []

    def strategy(view: Any, account: Any) -> dict[str, float]:
        seen.append((f"{view.as_of:%Y-%m-%d %H:%M}", view.spot["EUR"], len(view.history(1000))))
        assert account.at == view.as_of
        return {}

    prices = (1 + np.arange(50) / 100).tolist()
    run(market({"EUR": prices}), strategy)
    assert seen == [("2024-01-31 22:00", 1.01, 2), ("2024-02-29 22:00", 1.22, 23), ("2024-03-29 21:00", 1.43, 44)]


@pytest.mark.parametrize(("rebalance", "asked"), [("daily", 10), ("weekly", 2), ("monthly", 1)])
def test_schedules(rebalance: str, asked: int) -> None:
    seen: list[Any] = []
    run(market({"EUR": [1.0] * 10}), watch(seen, lambda view, account: view.as_of), rebalance=rebalance)
    assert len(seen) == asked


def test_the_account_currency_in_the_universe_is_the_residual() -> None:
    history = market({"EUR": [1.0] * 6}, rates={"EUR": 0.01, "USD": 0.05})
    seen: list[Any] = []

    def strategy(view: Any, account: Any) -> dict[str, float]:
        seen.append(view)
        return {"USD": 0.7, "EUR": -0.3}

    engine = run(history, strategy, universe=("USD", "EUR"))
    assert units(engine) == {"EURUSD": -300_000}
    assert seen[0].carry.to_dict() == {"USD": 0.0, "EUR": pytest.approx(-0.04)}
    assert seen[0].spot.to_dict() == {"USD": 1.0, "EUR": 1.0}
    assert seen[0].currencies == ("USD", "EUR")


def test_the_target_is_reached_to_a_unit_when_prices_stand_still() -> None:
    books = [{"EUR": 0.2, "AUD": -0.3, "JPY": 0.1}, {"EUR": -0.2, "AUD": -0.1, "JPY": 0.15}, {"AUD": 0.05}]
    history = market({"EUR": [1.1] * 60, "AUD": [0.66] * 60, "JPY": [1 / 150] * 60})
    seen: list[Any] = []
    strategy = by_month(*books)

    def look(view: Any, account: Any) -> Any:
        seen.append(dict(account.current_weights))
        return strategy(view, account)

    engine = run(history, look, rebalance="monthly")
    reached = [*seen[1:], dict(engine.broker.account().current_weights)]
    for wanted, held in zip(books, reached):
        for currency in ("EUR", "AUD", "JPY"):
            assert held.get(currency, 0.0) == pytest.approx(wanted.get(currency, 0.0), abs=2e-6)


def test_scaling_the_account_scales_units() -> None:
    random = np.random.default_rng(5)
    prices = {c: np.exp(random.normal(0, 0.01, 60).cumsum()).tolist() for c in ("EUR", "AUD", "NZD")}
    weights = always(EUR=0.4, AUD=-0.2, NZD=0.3)
    small, large = (run(market(prices), weights, default_rules(), cash=cash) for cash in (10_000, 10_000_000))
    a, b = traded(small), traded(large)
    assert [x[:2] for x in a] == [x[:2] for x in b]
    for (*_, one), (*_, thousand) in zip(a, b):
        assert one == pytest.approx(thousand / 1000, abs=2.5)


def test_costs_are_what_the_strategy_sees_and_the_broker_charges() -> None:
    costs = Costs(spread_bps={"EUR": 10.0, "USD": 0.0})
    seen: list[Any] = []
    engine = engine_of(market({"EUR": [1.0] * 6}), watch(seen, lambda view, account: view, EUR=0.5), costs=costs)
    engine = Engine(
        feed=engine.feed, broker=engine.broker, strategy=engine.strategy, rules=(), universe=("EUR",), costs=costs
    )
    engine.run()
    assert seen[0].trading_cost["EUR"] == pytest.approx(5e-4)
    assert engine.broker.nav == pytest.approx(CASH - 500_000 * 5e-4)


def test_financing_seen_is_financing_booked() -> None:
    history = market({"EUR": [1.0] * 12}, rates={"EUR": 0.01, "USD": 0.06})
    seen: list[Any] = []
    engine = run(history, watch(seen, lambda view, account: view, EUR=-1.0), financing=BenchmarkFinancing(0.01))
    assert seen[0].financing_short["EUR"] == pytest.approx(0.05 * 365 / 360 - 0.01)
    assert seen[0].financing_long["EUR"] == pytest.approx(-0.05 * 365 / 360 - 0.01)
    books = attribute(engine.broker.log)
    # Filled on Thursday February 1st, before its roll; the last Wednesday skips Presidents' Day as well.
    days = (books.carry / (CASH * (0.05 / 360 - 0.01 / 365))).round(6)
    assert days.tolist() == [0, 0, 1, 1, 1, 1, 3, 1, 1, 1, 1, 4]


# --- orders waiting --------------------------------------------------------------------------------------------------


def test_a_daily_strategy_does_not_send_again_what_is_waiting() -> None:
    # Two days without a quote: every day decides the same book. It must be bought once.
    engine = run(market({"EUR": [1.0, NAN, NAN, 1.0, 1.0, 1.0]}), always(EUR=0.1), rebalance="daily")
    largest = np.abs(engine.broker.log.columns().units).max()
    assert largest == 100_000
    assert traded(engine) == [("2024-02-02", "EURUSD", 100_000)]


def test_a_trim_is_not_sent_again_while_it_waits() -> None:
    # Bought at 30 %; the dollar price rises by a fifth, so 34.6 % at the end of the day; then no quotes.
    prices = [1.0, 1.0, 1.0, 1.2, NAN, NAN, 1.2, 1.2]
    for stepped in (False, True):
        engine = run(market({"EUR": prices}), always(EUR=0.3), [MaxPosition(drift_limit=0.33)], stepped=stepped)
        held = engine.broker.account().current_weights["EUR"]
        assert held == pytest.approx(0.30, abs=1e-5)


def test_an_order_waiting_when_trading_is_halted_does_not_open() -> None:
    # EUR fills on February 1st and falls by a fifth on the 5th; AUD has no quote from the 1st to the 5th.
    prices = {"EUR": [1.0, 1.0, 1.0, 1.0, 0.8, 0.8, 0.8, 0.8], "AUD": [1.0, 1.0, NAN, NAN, NAN, 1.0, 1.0, 1.0]}
    for stepped in (False, True):
        engine = run(market(prices), always(EUR=1.0, AUD=0.5), [Drawdown()], stepped=stepped)
        assert engine.state.trading is TradingState.HALTED
        assert all(day < "2024-02-05" or number < 0 for day, _, number in traded(engine)), traded(engine)


def test_an_order_waiting_when_a_daily_loss_halts_opening_does_not_open() -> None:
    prices = {"EUR": [1.0, 1.0, 1.0, 1.0, 0.96, 0.96, 0.96], "AUD": [1.0, 1.0, NAN, NAN, NAN, 1.0, 1.0]}
    engine = run(market(prices), always(EUR=1.0, AUD=0.5), [DailyLoss()])
    # Halted from the 5th to 17:00 of the 6th; the quote of the 6th comes while nothing may open.
    assert states(engine)[0] == ("2024-02-05", TradingState.REDUCING)
    assert ("2024-02-06", "AUDUSD", 500_000) not in traded(engine)


def test_closing_orders_are_sent_once_while_they_wait() -> None:
    prices = {"EUR": [1.0, 1.0, 1.0, 0.8, NAN, NAN, NAN, 0.8, 0.8]}
    engine = run(market(prices), always(EUR=1.0), [Drawdown()])
    assert [x for x in traded(engine) if x[2] < 0] == [("2024-02-08", "EURUSD", -1_000_000)]
    assert [o.units for o in engine.journal.orders if o.units < 0] == [-1_000_000]


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize("wanted", [0.1, 0.0, -0.2])
def test_a_trim_does_not_replace_a_larger_reduction_that_waits(wanted: float, stepped: bool) -> None:
    # 34 % at the decision of February 29th, which wants less. No quote on March 1st, when the rule would trim to 30 %.
    prices = [1.0] * 22 + [1.2, NAN] + [1.2] * 4
    engine = run(market({"EUR": prices}), by_month({"EUR": 0.3}, {"EUR": wanted}), [MaxPosition()], stepped=stepped)
    assert engine.broker.account().current_weights.get("EUR", 0.0) == pytest.approx(wanted, abs=1e-5)


def test_a_trim_does_not_replace_the_rest_of_a_decision_that_waits() -> None:
    # AUD has no quote on March 1st either; its order is another instrument's and stays.
    prices = {"EUR": [1.0] * 22 + [1.2, NAN] + [1.2] * 4, "AUD": [1.0] * 23 + [NAN] + [1.0] * 4}
    engine = run(market(prices), by_month({"EUR": 0.3}, {"EUR": 0.1, "AUD": 0.2}), [MaxPosition()])
    weights = engine.broker.account().current_weights
    assert weights == pytest.approx({"EUR": 0.1, "AUD": 0.2}, abs=1e-5)


# --- halts -----------------------------------------------------------------------------------------------------------


def halted_market(after: Sequence[float] = (1.0, 1.0)) -> MarketHistory:
    """EUR falls by 4 % on February 29th, a decision day; that decision fills on March 1st, its retry on the 4th."""
    days = 22
    return market({"EUR": [1.0] * days + [0.96] * (1 + len(after)), "AUD": [1.0] * (days + 1) + list(after)})


BOOKS = ({"EUR": 1.0, "AUD": -0.5}, {"EUR": 0.5, "AUD": -0.8})


def test_a_daily_loss_halt_lapses_at_the_next_17_new_york_and_the_intention_is_retried() -> None:
    engine = run(halted_market(), by_month(*BOOKS), [DailyLoss()])
    assert states(engine) == [("2024-02-29", TradingState.REDUCING), ("2024-03-01", TradingState.ACTIVE)]
    assert engine.journal.states[0][1].halt_until == datetime(2024, 3, 1, 22, tzinfo=UTC)
    assert engine.state.halt_until is None
    wanted = {("2024-03-01", "EURUSD"), ("2024-03-04", "AUDUSD")}  # the reduction at once, the opening a day later
    assert {x[:2] for x in traded(engine) if x[0] > "2024-02-05"} == wanted
    assert units(engine) == {"EURUSD": pytest.approx(500_000, abs=1), "AUDUSD": pytest.approx(-768_000, abs=1)}


def test_a_retry_has_a_new_client_id() -> None:
    engine = run(halted_market(), by_month(*BOOKS), [DailyLoss()])
    ids = [o.client_id for o in engine.journal.orders]
    assert len(set(ids)) == len(ids)
    retried = engine.journal.orders[-1]
    assert retried.instrument == "AUDUSD"
    sent = datetime(2024, 3, 1, 22, tzinfo=UTC)
    assert retried.client_id == client_id("simulated", sent, "AUDUSD", "open", 1)


def test_the_same_run_derives_the_same_client_ids() -> None:
    one, other = (run(halted_market(), by_month(*BOOKS), [DailyLoss()]) for _ in range(2))
    assert [o.client_id for o in one.journal.orders] == [o.client_id for o in other.journal.orders]
    mine = run(halted_market(), by_month(*BOOKS), [DailyLoss()], account_id="other")
    assert not {o.client_id for o in one.journal.orders} & {o.client_id for o in mine.journal.orders}


def test_a_loss_on_the_next_day_halts_again() -> None:
    prices = [1.0] * 22 + [0.96, 0.92, 0.92, 0.92]
    engine = run(market({"EUR": prices, "AUD": [1.0] * 26}), by_month(*BOOKS), [DailyLoss()])
    reducing = [day for day, state in states(engine) if state is TradingState.REDUCING]
    assert reducing == ["2024-02-29", "2024-03-01"]
    assert [x for x in traded(engine) if x[1] == "AUDUSD"][-1][0] == "2024-03-05"


def intraday(noon: Sequence[float], close: Sequence[float]) -> MarketHistory:
    """Two quotes a day, 12:00 and 16:59 New York."""
    prices = [p for both in zip(noon, close) for p in both]
    return market({"EUR": prices, "AUD": [1.0] * len(prices)}, minutes=(300, 1), interval=timedelta(hours=5))


def test_a_loss_at_noon_halts_to_17_of_the_same_day() -> None:
    # 97,000.00 halts; 97,500 is still halted; at 17:00 the new day starts from 97,500.
    engine = run(intraday([1.0, 1.0, 1.0, 0.97, 0.975], [1.0, 1.0, 1.0, 0.975, 0.975]), always(EUR=1.0), [DailyLoss()])
    at = [(f"{when:%m-%d %H:%M}", state.trading) for when, state in engine.journal.states]
    assert at == [("02-02 17:00", TradingState.REDUCING), ("02-02 22:00", TradingState.ACTIVE)]
    assert engine.state.day_start == pytest.approx(975_000)


def test_a_halt_ends_at_17_also_where_the_loss_has_stayed() -> None:
    engine = run(intraday([1.0, 1.0, 1.0, 0.96, 0.96], [1.0, 1.0, 1.0, 0.96, 0.96]), always(EUR=1.0), [DailyLoss()])
    # Monday noon belongs to a new day, which starts from 960,000 and has lost nothing.
    at = [(f"{when:%m-%d %H:%M}", state.trading) for when, state in engine.journal.states]
    assert at == [("02-02 17:00", TradingState.REDUCING), ("02-02 22:00", TradingState.ACTIVE)]


def test_a_drawdown_halt_latches_and_stays_flat_to_the_end() -> None:
    prices = [1.0, 1.0, 1.0, 1.05, 0.90, 0.85] + [1.2] * 80  # 1.05 is the high water; 0.8925 is 15 % below it
    asked: list[Any] = []
    engine = run(market({"EUR": prices}), watch(asked, lambda view, account: view.as_of, EUR=1.0), [Drawdown()])
    assert states(engine) == [("2024-02-06", TradingState.HALTED)]
    assert (engine.state.latch, engine.state.halt_until) == ("DRAWDOWN", None)
    assert traded(engine) == [("2024-02-01", "EURUSD", 1_000_000), ("2024-02-07", "EURUSD", -1_000_000)]
    assert fills(engine)[-1].price == 1.2
    assert len(asked) == 1
    assert units(engine) == {}
    assert len(set(engine.broker.log.columns().nav[6:].tolist())) == 1


@pytest.mark.parametrize("action", [Action.KILL, Action.FLATTEN_HALT])
def test_a_third_party_rule_can_stop_everything(action: Action) -> None:
    engine = run(market({"EUR": [1.0] * 60}), always(EUR=0.5), [on("2024-02-06", action)])
    assert states(engine) == [("2024-02-06", TradingState.HALTED)]
    assert engine.state.latch == "THIRD_PARTY"
    assert traded(engine) == [("2024-02-01", "EURUSD", 500_000), ("2024-02-07", "EURUSD", -500_000)]


@pytest.mark.parametrize("action", [Action.KILL, Action.FLATTEN_HALT])
def test_a_stop_at_the_stage_of_orders_halts_as_well(action: Action) -> None:
    engine = run(market({"EUR": [1.0] * 60}), always(EUR=0.5), [on("2024-01-31", action, stage="orders")])
    assert engine.state.trading is TradingState.HALTED
    assert traded(engine) == []


def test_a_halt_of_opening_at_the_stage_of_orders_is_a_state() -> None:
    engine = run(market({"EUR": [1.0] * 6}), always(EUR=0.5), [on("2024-01-31", Action.HALT_OPENING, stage="orders")])
    assert states(engine)[:1] == [("2024-01-31", TradingState.REDUCING)]


@pytest.mark.parametrize("stage", ["target", "orders"])
def test_a_rejected_leg_is_tried_again_at_the_next_tick(stage: str) -> None:
    engine = run(market({"EUR": [1.0] * 8}), always(EUR=0.5), [on("2024-01-31", Action.REJECT, stage=stage)])
    assert traded(engine) == [("2024-02-02", "EURUSD", 500_000)]


def test_a_new_decision_replaces_an_intention_held_back() -> None:
    def say(proposal: Proposal, view: Any) -> Verdict | None:
        return Verdict("third-party", Action.REJECT, "NO") if view.as_of < datetime(2024, 3, 1, tzinfo=UTC) else None

    engine = run(market({"EUR": [1.0] * 30}), by_month({"EUR": 0.5}, {"EUR": -0.2}), [Third(say)])
    assert traded(engine) == [("2024-03-04", "EURUSD", -200_000)]


def test_of_two_halts_the_longer_counts_whatever_the_order_of_rules() -> None:
    day = datetime(2024, 1, 31, 22, tzinfo=UTC)
    rules = [on("2024-01-31", Action.HALT_OPENING, until=day + timedelta(days=n)) for n in (1, 6)]
    runs = [run(market({"EUR": [1.0] * 12}), always(EUR=0.5), order) for order in (rules, rules[::-1])]
    assert traded(runs[0]) == traded(runs[1]) == [("2024-02-07", "EURUSD", 500_000)]


def test_a_later_shorter_halt_does_not_shorten_one_that_runs() -> None:
    until = datetime(2024, 2, 6, 22, tzinfo=UTC)
    rules = [on("2024-01-31", Action.HALT_OPENING, until=until), on("2024-02-01", Action.HALT_OPENING)]
    engine = run(market({"EUR": [1.0] * 12}), always(EUR=0.5), rules)
    assert traded(engine) == [("2024-02-07", "EURUSD", 500_000)]


def test_a_latched_halt_of_opening_waits_for_a_person() -> None:
    engine = run(market({"EUR": [1.0] * 40}), always(EUR=0.5), [on("2024-01-31", Action.HALT_OPENING, latch=True)])
    assert traded(engine) == []
    assert engine.state.latch


# --- stops -----------------------------------------------------------------------------------------------------------


def test_a_stop_fills_in_the_quote_that_crosses_and_blocks_until_the_next_rebalance() -> None:
    prices = [1.0, 1.0, 1.0, 0.96, 0.94] + [1.0] * 40
    for stepped in (False, True):
        engine = run(market({"EUR": prices}), always(EUR=0.3), [StopLoss()], stepped=stepped)
        assert traded(engine)[:3] == [
            ("2024-02-01", "EURUSD", 300_000),
            ("2024-02-05", "EURUSD", -300_000),
            ("2024-03-01", "EURUSD", 294_600),
        ]
        assert fills(engine)[1].price == 0.94
        stopped = [(f"{at:%m-%d}", state.stopped) for at, state in engine.journal.states]
        assert stopped == [("02-05", frozenset({("EURUSD", 1)})), ("02-29", frozenset())]


def test_a_stopped_short_is_blocked_as_a_short() -> None:
    engine = run(market({"JPY": [1 / 150] * 3 + [1 / 158] * 4}), always(JPY=0.3), [StopLoss()])
    assert engine.state.stopped == {("USDJPY", -1)}  # long yen was short dollars


def test_the_stop_is_at_the_limit_exactly() -> None:
    kept = run(market({"EUR": [1.0, 1.0, 1.0, 0.950001, 1.0]}), always(EUR=0.3), [StopLoss()])
    assert units(kept) == {"EURUSD": 300_000}
    gone = run(market({"EUR": [1.0, 1.0, 1.0, 0.95, 1.0]}), always(EUR=0.3), [StopLoss()])
    assert units(gone) == {}


def stop_only_at_the_engine(proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
    return StopLoss()(proposal, view, account, state)


stop_only_at_the_engine.name = "second-line"  # type: ignore[attr-defined]


def test_the_rule_is_the_second_line_where_there_is_no_native_stop() -> None:
    prices = [1.0, 1.0, 1.0, 0.94, 0.90, 0.90]
    native = run(market({"EUR": prices}), always(EUR=0.3), [StopLoss()])
    rule = run(market({"EUR": prices}), always(EUR=0.3), [stop_only_at_the_engine])
    assert (traded(native)[1][0], fills(native)[1].price) == ("2024-02-02", 0.94)
    assert (traded(rule)[1][0], fills(rule)[1].price) == ("2024-02-05", 0.90)
    assert fills(rule)[1].order.reason == "stop loss"


@pytest.mark.parametrize("stop", [StopLoss(), stop_only_at_the_engine])
def test_what_was_stopped_is_not_bought_again_by_an_open_intention(stop: Any) -> None:
    # AUD has no quote, so the intention of January 31st stays open; EUR is bought at once and stopped on February 2nd.
    prices = {"EUR": [1.0] * 3 + [0.94] * 27, "AUD": [1.0] + [NAN] * 9 + [1.0] * 20}
    engine = run(market(prices), always(EUR=0.3, AUD=0.1), [stop, Staleness()])
    assert [x[1] for x in traded(engine)].count("AUDUSD") == 1
    bought = [x[0] for x in traded(engine) if x[1] == "EURUSD" and x[2] > 0]
    assert bought == ["2024-02-01", "2024-03-01"]


# --- margin ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [(), default_rules()[1:2]])
def test_a_margin_close_out_halts_on_its_day(rules: Sequence[Any]) -> None:
    prices = [1.0, 1.0, 1.0, 1.0, 0.965, 0.965, 0.965, 0.965] + [1.0] * 30
    runs = [run(market({"EUR": prices}), always(EUR=25.0), rules, stepped=stepped) for stepped in (False, True)]
    for engine in runs:
        assert engine.state.trading is TradingState.HALTED
        assert units(engine) == {}
        assert [x[0] for x in traded(engine)] == ["2024-02-01", "2024-02-05"]
        assert states(engine)[-1] == ("2024-02-05", TradingState.HALTED)


# --- staleness -------------------------------------------------------------------------------------------------------


def test_a_stale_leg_waits_until_it_is_quoted() -> None:
    prices = {"EUR": [1.0] * 10, "AUD": [1.0, NAN, NAN, NAN, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1]}
    history = market(prices, start=date(2024, 1, 29))  # AUD quoted on the 29th, then not before February 2nd
    engine = run(history, always(EUR=0.1, AUD=0.1), [Staleness()])
    assert traded(engine)[0] == ("2024-02-01", "EURUSD", 100_000)
    assert traded(engine)[1] == ("2024-02-05", "AUDUSD", 90_909)
    assert any(v.code == "QUOTE_STALE" for _, d in engine.journal.decisions for v in d.findings)


def test_an_age_of_exactly_the_budget_is_stale() -> None:
    # Quotes every 30 minutes; AUD stops 60 minutes before the decision.
    minutes = (120, 90, 60, 30)
    count = 5 * len(minutes)
    aud = np.ones(count)
    aud[7] = NAN  # January 31st 16:30; the last is 16:00
    history = market({"EUR": [1.0] * count, "AUD": aud.tolist()}, minutes=minutes, interval=timedelta(minutes=30))
    engine = run(history, always(EUR=0.1, AUD=0.1), [Staleness()])
    stale = [v.facts["stale"] for _, d in engine.journal.decisions for v in d.findings if v.code == "QUOTE_STALE"]
    assert stale[:1] == [["AUDUSD"]]


def test_rates_not_verified_any_more_open_nothing() -> None:
    history = attrs.evolve(
        market({"EUR": [1.0] * 30}, rates={"EUR": 0.0, "USD": 0.0}),
        rates_verified_until=datetime(2024, 2, 14, tzinfo=UTC),
    )
    engine = run(history, by_month({"EUR": 0.5}, {"EUR": 0.8}), [Staleness()])
    assert units(engine) == {"EURUSD": 500_000}
    down = run(history, by_month({"EUR": 0.5}, {"EUR": 0.2}), [Staleness()])
    assert units(down) == {"EURUSD": 200_000}


# --- rules of any make -----------------------------------------------------------------------------------------------


def test_a_plain_function_with_a_name_is_a_rule() -> None:
    def half(proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
        return Verdict("half", Action.RESIZE, "HALF", np.array(proposal.sizes) / 2 if proposal.is_due else None)

    half.name = "half"  # type: ignore[attr-defined]
    engine = run(market({"EUR": [1.0] * 6}), always(EUR=0.4), [half])
    # Asked about the target, the merged result and the orders: halved more than once is fine, enlarged never.
    assert 0 < units(engine)["EURUSD"] <= 200_000


def test_a_rule_sees_the_market_the_account_and_the_state() -> None:
    seen: list[tuple[str, str, float, int]] = []

    class Look:
        name = "look"

        def __call__(self, proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
            assert view.as_of == account.at
            assert state.trading is TradingState.ACTIVE
            assert float(account.nav) == pytest.approx(proposal.nav)
            seen.append((f"{view.as_of:%m-%d}", proposal.stage, proposal.gross, len(account.positions)))
            return Verdict("look", Action.ALLOW)

    run(market({"EUR": [1.0] * 5}), always(EUR=0.4), [Look()])
    assert seen == [
        ("01-30", "held", 0.0, 0),
        ("01-31", "target", 0.4, 0),
        ("01-31", "orders", 0.4, 0),
        ("02-01", "held", 0.4, 1),
        ("02-02", "held", 0.4, 1),
        ("02-05", "held", 0.4, 1),
    ]


def test_a_rule_that_raises_ends_the_run_before_anything_is_sent() -> None:
    def say(proposal: Proposal, view: Any) -> Verdict | None:
        if proposal.stage == "target":
            raise ZeroDivisionError("broken rule")
        return None

    engine = engine_of(market({"EUR": [1.0] * 6}), always(EUR=0.4), [Third(say)])
    with pytest.raises(ZeroDivisionError, match="broken rule"):
        engine.run()
    assert engine.journal.orders == []
    assert list(engine.broker.get_orders()) == []


def test_a_rule_is_asked_only_at_its_stages() -> None:
    asked: list[Any] = []

    class Once:
        name = "once"
        stages = ("orders",)

        def __call__(self, proposal: Proposal, view: Any, account: Any, state: RiskState) -> Verdict:
            asked.append(proposal.stage)
            return Verdict("once", Action.RESIZE, "SMALL", np.array([0.1]))

    engine = run(market({"EUR": [1.0] * 5}), always(EUR=0.4), [Once()])
    assert set(asked) == {"orders"}
    assert units(engine) == {"EURUSD": 100_000}


def test_the_number_of_currencies_holds_on_every_day_of_a_daily_run() -> None:
    random = np.random.default_rng(11)
    currencies = ("AUD", "CAD", "CHF", "EUR", "GBP")
    rates = dict.fromkeys((*currencies, "USD"), 0.01) | {"AUD": 0.05, "CAD": 0.04, "EUR": 0.03}
    prices = {c: np.exp(random.normal(0, 0.006, 80).cumsum()).tolist() for c in currencies}
    books = [dict.fromkeys(random.permutation(currencies)[:4].tolist(), 0.15) for _ in range(80)]
    engine = run(market(prices, rates=rates), by_month(*books), [MaxCurrenciesPerSide()], rebalance="daily")
    columns = engine.broker.log.columns()
    held = (columns.units * columns.base_value / columns.nav[:, None]) @ np.diag(engine.book.side)
    assert int((held > 0.011).sum(1).max()) <= 3


# --- the journal -----------------------------------------------------------------------------------------------------


def test_the_journal_holds_intentions_decisions_and_what_became_of_them() -> None:
    engine = run(market({"EUR": [1.0] * 6}), always(EUR=0.4), default_rules())
    (order,) = engine.journal.orders
    assert (order.instrument, order.units, order.reason, order.stop_fraction) == (
        "EURUSD",
        Decimal(300_000),
        "rebalance",
        0.05,
    )
    targets = [d for stage, d in engine.journal.decisions if stage == "target"]
    assert [v.code for v in targets[0].findings] == ["POSITION_TOO_LARGE"]
    assert engine.journal.log is engine.broker.log
    (result,) = engine.broker.find_orders([order.client_id]).values()
    assert (result.status, result.filled_units) == (OrderStatus.FILLED, Decimal(300_000))


def test_the_journal_holds_the_results_of_orders() -> None:
    engine = run(market({"EUR": [1.0] * 6}), always(EUR=0.4))
    assert [r.client_id for r in engine.journal.results] == [o.client_id for o in engine.journal.orders]


def test_every_fill_has_an_intention_written_before() -> None:
    engine = run(halted_market(), by_month(*BOOKS), default_rules())
    intended = {o.client_id for o in engine.journal.orders}
    for fill in fills(engine):
        assert fill.order.client_id in intended or fill.order.reason in ("stop", "margin close-out")


# --- accounts are records --------------------------------------------------------------------------------------------


def test_an_account_kept_by_a_strategy_does_not_change_afterwards() -> None:
    kept: list[Any] = []
    engine = engine_of(market({"EUR": [1.0, 1.0, 1.0, 1.5, 1.5]}), watch(kept, lambda view, account: account, EUR=0.4))
    engine.run()
    (account,) = kept
    assert list(account.working_orders) == []
    assert account.nav == CASH
    assert not account.positions
    assert account.cash == CASH
    assert account.margin_available == CASH


def test_a_sub_account_can_be_derived_from_an_account() -> None:
    made: list[Any] = []
    run(market({"EUR": [1.0] * 4}), watch(made, lambda view, account: attrs.evolve(account, nav=account.nav / 2)))
    assert made[0].nav == CASH / 2
    assert made[0].currency == "USD"


# --- running ---------------------------------------------------------------------------------------------------------


def test_a_period_has_both_ends() -> None:
    engine = engine_of(market({"EUR": [1.0] * 30}), always())
    engine.run(datetime(2024, 2, 1, 12, tzinfo=UTC), datetime(2024, 2, 7, 21, 59, tzinfo=UTC))
    days = [str(d) for d in engine.broker.log.columns().day]
    assert days == ["2024-02-01", "2024-02-02", "2024-02-05", "2024-02-06", "2024-02-07"]


def test_quotes_before_the_start_are_history_not_ticks() -> None:
    seen: list[Any] = []
    engine = engine_of(market({"EUR": [1.0] * 40}), watch(seen, lambda view, account: len(view.spot_rows(1000))))
    engine.run(datetime(2024, 2, 26, 12, tzinfo=UTC))
    assert seen[0] == 23


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    engine = engine_of(market({"EUR": [1.0] * 50}), always())
    engine.run(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (50, 50)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_without_feed_or_history_there_is_nothing_to_run() -> None:
    engine = Engine(feed=None, broker=SimBroker(), strategy=always(), rules=(), universe=("EUR",))
    with pytest.raises(ConfigError, match="history"):
        engine.run()
    engine = Engine(feed=None, broker=SimBroker(), strategy=always(), rules=(), universe=("EUR",))
    engine.run(history=market({"EUR": [1.0] * 4}))


def test_a_period_without_a_trading_day_is_an_error() -> None:
    engine = engine_of(market({"EUR": [1.0] * 40}), always())
    with pytest.raises(MissingDataError, match="no trading day"):
        engine.run(datetime(2024, 2, 3, 6, tzinfo=UTC), datetime(2024, 2, 3, 12, tzinfo=UTC))


def test_a_weight_of_a_currency_without_a_price_yet_is_an_error() -> None:
    with pytest.raises(MissingDataError, match="AUD"):
        run(market({"EUR": [1.0] * 5, "AUD": [NAN, NAN, NAN, NAN, 1.0]}), always(AUD=0.1))


def test_books_balance_to_the_cent_through_stops_and_halts() -> None:
    random = np.random.default_rng(2)
    prices = {c: np.exp(random.normal(0, 0.015, 300).cumsum()).tolist() for c in ("EUR", "AUD", "JPY", "NOK")}
    rates = {"EUR": 0.01, "AUD": 0.05, "JPY": 0.0, "NOK": 0.03, "USD": 0.02}
    engine = run(
        market(prices, rates=rates),
        always(EUR=-0.3, AUD=0.3, JPY=-0.3, NOK=0.3),
        default_rules(),
        rebalance="weekly",
        costs=Costs(),
        financing=BenchmarkFinancing(0.01),
    )
    books = attribute(engine.broker.log)
    parts = sum(getattr(books, term) for term in books.TERMS)
    assert np.abs(np.diff(books.nav, prepend=CASH) - parts).max() < 0.005
    assert len(engine.journal.states) > 0
    assert from_ns(engine.tape.at[-1]) == engine.broker.at
