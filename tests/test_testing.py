"""The suites: a right part passes every case, a wrong one fails exactly the case made for its mistake."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest

import fxcarry.testing
from fxcarry.errors import BrokerUnavailable, DataError, MissingDataError, OrderOutcomeUnknown, OrderRejected
from fxcarry.feeds import MemoryFeed
from fxcarry.market import MarketHistory, MarketView, from_ns
from fxcarry.model import (
    Account,
    Instrument,
    Order,
    OrderResult,
    OrderStatus,
    Pair,
    Position,
    Quote,
    Snapshot,
    Transaction,
)
from fxcarry.protocols import Broker, DataFeed, Notifier
from fxcarry.simulation import SimBroker
from fxcarry.testing import (
    BrokerSuite,
    FeedSuite,
    NotifierSuite,
    RuleSuite,
    StrategySuite,
    account,
    market_history,
    signature_problems,
    view_at,
)
from fxcarry.testing.brokers import Desk

# --- a right feed and its wrong cousins


class RightFeed(MemoryFeed):
    """A stored feed for which a span without rows is an error."""

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        found = super().history(start, end)
        if not len(found):
            raise MissingDataError(f"no rows from {start} to {end}")
        return found


class TestRightFeed(FeedSuite):
    @pytest.fixture
    def feed(self) -> DataFeed:
        return RightFeed(market_history(days=120))


class TestInvertedQuotesFeed(FeedSuite):
    """Quotes in the market's own direction are right too; and ``at`` may be given."""

    @pytest.fixture
    def at(self) -> datetime:
        return datetime(2020, 4, 15, 12, tzinfo=UTC)

    @pytest.fixture
    def feed(self) -> DataFeed:
        class Feed(RightFeed):
            def snapshot(self, at: datetime) -> Snapshot:
                found = super().snapshot(at)
                quotes = {p.inverse: Quote(1 / q.ask, 1 / q.bid, q.as_of) for p, q in found.quotes.items()}
                return attrs.evolve(found, quotes=quotes)

        return Feed(market_history(days=120))


class Nameless(RightFeed):
    def __init__(self, history: MarketHistory) -> None:
        super().__init__(history, name="")


class Timeless(RightFeed):
    def __init__(self, history: MarketHistory) -> None:
        super().__init__(history)
        self.interval = timedelta(0)


class WrongSignature(RightFeed):
    def snapshot(self, when: datetime) -> Snapshot:
        return super().snapshot(when)


class Asynchronous(RightFeed):
    async def close(self) -> None:  # type: ignore[override]
        pass


class IncludesEnd(RightFeed):
    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        return super().history(start, None if end is None else end + timedelta(microseconds=1))


class IgnoresStart(RightFeed):
    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        return super().history(None, end)


class Unsorted(RightFeed):
    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        found = super().history(start, end)
        return attrs.evolve(found, times=found.times[::-1])


class NotAHistory(RightFeed):
    def history(self, start: datetime | None, end: datetime | None) -> Any:
        return attrs.asdict(super().history(start, end))


class LeaksRates(RightFeed):
    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        return attrs.evolve(super().history(start, end), rates=self._history.rates)


class NoRates(RightFeed):
    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        return attrs.evolve(super().history(start, end), rates={})


class Rescales(RightFeed):
    """Prices adjusted to the last one: the past depends on when it is asked for."""

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        found = super().history(start, end)
        return attrs.evolve(found, spot=found.spot / found.spot[-1])


class ChangesRates(RightFeed):
    """Rates shifted by their last value, as a vendor does who rebases a series."""

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        found = super().history(start, end)
        rates = {c: attrs.evolve(r, value=r.value - r.value[-1]) for c, r in found.rates.items()}
        return attrs.evolve(found, rates=rates)


class Peeks(RightFeed):
    """Tomorrow's quotes today."""

    def snapshot(self, at: datetime) -> Snapshot:
        return attrs.evolve(super().snapshot(at + timedelta(days=7)), at=at)


class Relabels(RightFeed):
    def snapshot(self, at: datetime) -> Snapshot:
        return attrs.evolve(super().snapshot(at), at=at + timedelta(seconds=1))


class Disagrees(RightFeed):
    def snapshot(self, at: datetime) -> Snapshot:
        found = super().snapshot(at)
        quotes = {
            p: Quote(q.bid * Decimal("1.001"), q.ask * Decimal("1.001"), q.as_of) for p, q in found.quotes.items()
        }
        return attrs.evolve(found, quotes=quotes)


class UpsideDown(RightFeed):
    """USD per EUR labeled as EUR per USD, seconds later than the history's last row."""

    def snapshot(self, at: datetime) -> Snapshot:
        found = super().snapshot(at)
        quotes = {p.inverse: Quote(q.bid, q.ask, at) for p, q in found.quotes.items() if p.base == "JPY"}
        return attrs.evolve(found, quotes=quotes)


class OldQuotes(RightFeed):
    def snapshot(self, at: datetime) -> Snapshot:
        return attrs.evolve(super().snapshot(at - timedelta(days=7)), at=at)


class OtherRates(RightFeed):
    def snapshot(self, at: datetime) -> Snapshot:
        found = super().snapshot(at)
        return attrs.evolve(found, rates={c: attrs.evolve(r, value=r.value + 0.01) for c, r in found.rates.items()})


class GuessesZone(RightFeed):
    def snapshot(self, at: datetime) -> Snapshot:
        return super().snapshot(at if at.tzinfo else at.replace(tzinfo=UTC))


class GuessesZoneOfEnd(RightFeed):
    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        return super().history(start, end.replace(tzinfo=UTC) if end else end)


class EmptySnapshot(RightFeed):
    def snapshot(self, at: datetime) -> Snapshot:
        try:
            return super().snapshot(at)
        except MissingDataError:
            return Snapshot(at, {})


class Fickle(RightFeed):
    calls = 0

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        self.calls += 1
        found = super().history(start, end)
        return attrs.evolve(found, spot=found.spot * (1 + 1e-12 * self.calls))


class EmptyHistory(MemoryFeed):
    """Passes off a period without a row as a success."""

    def __init__(self, history: MarketHistory) -> None:
        super().__init__(history)
        self._all = history

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        return self._all.between(start, end)


class ClosesOnce(RightFeed):
    is_closed = False

    def close(self) -> None:
        if self.is_closed:
            raise DataError("closed already")
        self.is_closed = True


@pytest.mark.parametrize(
    ("feed", "number"),
    [
        (Nameless, "F01"), (Timeless, "F01"), (WrongSignature, "F02"), (Asynchronous, "F02"), (IncludesEnd, "F03"),
        (IgnoresStart, "F03"), (Unsorted, "F03"), (NotAHistory, "F03"), (LeaksRates, "F04"), (NoRates, "F04"),
        (Rescales, "F05"), (ChangesRates, "F05"), (Peeks, "F06"), (Relabels, "F06"), (Disagrees, "F07"),
        (UpsideDown, "F07"), (OldQuotes, "F07"), (OtherRates, "F07"), (GuessesZone, "F08"), (GuessesZoneOfEnd, "F08"),
        (EmptySnapshot, "F09"), (EmptyHistory, "F10"), (Fickle, "F11"), (ClosesOnce, "F12"),
    ],
)  # fmt: skip
def test_a_wrong_feed_fails_its_case(feed: Callable[[MarketHistory], DataFeed], number: str) -> None:
    history = market_history(days=120)
    at = from_ns(history.times[90])
    with pytest.raises((AssertionError, pytest.fail.Exception, DataError, TypeError)):
        _run(FeedSuite(), number, feed=feed(history), at=at)


def _run(suite: object, number: str, **fixtures: object) -> None:
    [case] = [getattr(suite, name) for name in dir(suite) if name.startswith(f"test_{number}_")]
    case(**{name: fixtures[name] for name in inspect.signature(case).parameters})


# --- a right broker is the simulated one (tests/contracts); these are its wrong cousins


class NamelessBroker(SimBroker):
    name = " "


class WrongPlace(SimBroker):
    def place_market_order(self, instruction: Order) -> OrderResult:
        return super().place_market_order(instruction)


class InDebt(SimBroker):
    def get_account_balance(self) -> Decimal:
        return -super().get_account_balance()


class NoSteps(SimBroker):
    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        found = super().get_instruments(pairs)
        return {name: attrs.evolve(i, unit_step=Decimal(0)) for name, i in found.items()}


class TellsTheMid(SimBroker):
    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        return {i: attrs.evolve(r, price=Decimal("1.111")) for i, r in super().find_orders(client_ids).items()}


class CountsOpenProfit(SimBroker):
    def sync(self, snapshot: Snapshot) -> Account:
        found = super().sync(snapshot)
        facts = {a.name: getattr(found, a.name) for a in attrs.fields(Account)}
        return Account(**{**facts, "balances": {"USD": found.nav}})


class Doubles(SimBroker):
    def place_market_order(self, order: Order) -> OrderResult:
        if super().find_orders([order.client_id]):
            super().place_market_order(attrs.evolve(order, client_id=f"{order.client_id}-{self._next_serial()}"))
        return super().place_market_order(order)


class Guesses(SimBroker):
    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        unknown = {i: OrderResult(client_id=i, instrument="", status=OrderStatus.REJECTED) for i in client_ids}
        return {**unknown, **super().find_orders(client_ids)}


class RejectsAsUnavailable(SimBroker):
    def place_market_order(self, order: Order) -> OrderResult:
        try:
            return super().place_market_order(order)
        except OrderRejected as error:
            raise BrokerUnavailable(error.message) from error


class Enlarges(SimBroker):
    def place_market_order(self, order: Order) -> OrderResult:
        return super().place_market_order(attrs.evolve(order, is_reducing=False))


class HidesOrders(SimBroker):
    def get_orders(self) -> Sequence[OrderResult]:
        return ()


class IgnoresLimits(SimBroker):
    def place_limit_order(self, order: Order) -> OrderResult:
        return super().place_market_order(attrs.evolve(order, limit_price=None))


class IgnoresStops(SimBroker):
    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        return OrderResult(client_id="stop", instrument=instrument, status=OrderStatus.WORKING)


class KeepsStops(SimBroker):
    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        return super().set_stop(instrument, price or Decimal("1.05"))


class ForgetsStops(SimBroker):
    def place_market_order(self, order: Order) -> OrderResult:
        return super().place_market_order(attrs.evolve(order, stop_fraction=None))


class LeavesOrders(SimBroker):
    def drop(self, reason: str, *, instrument: str | None = None, opening_only: bool = False) -> int:
        return 0


class RepeatsTheLast(SimBroker):
    def transactions(self, since: str | None) -> Sequence[Transaction]:
        return [t for t in super().transactions(None) if since is None or t.id >= since]


class FlatWhenDown(SimBroker):
    is_down = False

    def get_positions(self) -> Mapping[str, Position]:
        return {} if self.is_down else super().get_positions()


class RejectsWhenDown(FlatWhenDown):
    def get_positions(self) -> Mapping[str, Position]:
        return SimBroker.get_positions(self)

    def place_market_order(self, order: Order) -> OrderResult:
        if self.is_down:
            raise OrderRejected("down")
        return super().place_market_order(order)


class AcceptsSilently(RejectsWhenDown):
    def place_market_order(self, order: Order) -> OrderResult:
        answer = SimBroker.place_market_order(self, order)
        if self.is_down:
            raise BrokerUnavailable("time-out")
        return answer


class MovesOnOldNews(SimBroker):
    def sync(self, snapshot: Snapshot) -> Account:
        at = self.at + timedelta(seconds=1) if snapshot.at <= self.at else snapshot.at
        return super().sync(attrs.evolve(snapshot, at=at))


@pytest.mark.parametrize(
    ("broker", "number"),
    [
        (NamelessBroker, "B01"), (WrongPlace, "B02"), (InDebt, "B03"), (NoSteps, "B04"), (TellsTheMid, "B05"),
        (CountsOpenProfit, "B06"), (Doubles, "B07"), (Guesses, "B08"), (RejectsAsUnavailable, "B09"),
        (Enlarges, "B10"), (HidesOrders, "B11"), (IgnoresLimits, "B12"), (IgnoresStops, "B13"), (KeepsStops, "B14"),
        (ForgetsStops, "B15"), (LeavesOrders, "B16"), (RepeatsTheLast, "B17"), (SimBroker, "B18"),
        (FlatWhenDown, "B19"), (RejectsWhenDown, "B19"), (AcceptsSilently, "B19"), (MovesOnOldNews, "B20"),
    ],
)  # fmt: skip
def test_a_wrong_broker_fails_its_case(broker: Callable[[], Any], number: str) -> None:
    made = broker()

    @contextmanager
    def down() -> Iterator[None]:
        made.is_down = True
        yield
        made.is_down = False

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        _run(BrokerSuite(), number, broker=made, desk=Desk(made), unavailable=down)


def test_a_broker_that_owns_up_to_a_time_out_passes() -> None:
    class OwnsUp(AcceptsSilently):
        def place_market_order(self, order: Order) -> OrderResult:
            try:
                return super().place_market_order(order)
            except BrokerUnavailable as error:
                raise OrderOutcomeUnknown(error.message) from error

    made = OwnsUp()

    @contextmanager
    def down() -> Iterator[None]:
        made.is_down = True
        yield
        made.is_down = False

    _run(BrokerSuite(), "B19", desk=Desk(made), unavailable=down)


# --- strategies


def high_carry(view: MarketView, account: Account) -> pd.Series:
    """Long the three of highest carry, short the three of lowest, of those that have a price."""
    carry = view.carry.where(view.spot.notna()).dropna().sort_values()
    weights = pd.Series(0.0, carry.index)
    weights.iloc[:3], weights.iloc[-3:] = -1 / 3, 1 / 3
    return weights


class TestRightStrategy(StrategySuite):
    @pytest.fixture
    def strategy(self) -> Any:
        return high_carry


class TestRightArrayStrategy(StrategySuite):
    @pytest.fixture
    def strategy(self) -> Any:
        return lambda view, account: np.where(np.isfinite(view.values("spot")), np.sign(view.values("carry")), 0.0)


def takes_three(view: MarketView, account: Account, feed: object) -> dict[str, float]:
    return {}


async def coroutine(view: MarketView, account: Account) -> dict[str, float]:
    return {}


def unknown_currency(view: MarketView, account: Account) -> dict[str, float]:
    return {"XAU": 0.1}


def not_finite(view: MarketView, account: Account) -> dict[str, float]:
    return {"EUR": float("nan")}


def a_number(view: MarketView, account: Account) -> float:
    return 0.5


def wrong_length(view: MarketView, account: Account) -> Any:
    return np.zeros(3)


def first_column(view: MarketView, account: Account) -> dict[str, float]:
    return {view.currencies[0]: 1.0}


def peeks(view: MarketView, account: Account) -> Any:
    """Reaches behind the view for the last price there is."""
    return np.sign(view._columns.spot[-1] / view.values("spot") - 1.0)


def counts_what_is_to_come(view: MarketView, account: Account) -> dict[str, float]:
    return {"EUR": 100.0 / len(view._columns.at)}


def fixed_amount(view: MarketView, account: Account) -> dict[str, float]:
    return {"EUR": 10_000 / float(account.nav)}


def ignores_gaps(view: MarketView, account: Account) -> Any:
    return np.sign(view.values("carry"))


def spoiled_by_a_gap(view: MarketView, account: Account) -> Any:
    spot = view.values("spot")
    return spot / spot.sum()


def trips_over_positions(view: MarketView, account: Account) -> Any:
    return dict.fromkeys(account.current_weights, 0.0)


class ReadsAfterAll:
    """Promises not to read the account, and does."""

    reads_account = False

    def __call__(self, view: MarketView, account: Account) -> Any:
        return {"AUD": 0.5 if account.current_weights else 0.1}


class Forgetful:
    """Decides by how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, view: MarketView, account: Account) -> dict[str, float]:
        self.calls += 1
        return {"EUR": 1.0 / self.calls}


@pytest.mark.parametrize(
    ("strategy", "number"),
    [
        (takes_three, "S01"), (coroutine, "S01"), ("baseline", "S01"), (unknown_currency, "S02"), (not_finite, "S02"),
        (a_number, "S02"), (wrong_length, "S02"), (Forgetful(), "S03"), (first_column, "S04"), (peeks, "S05"),
        (counts_what_is_to_come, "S05"), (fixed_amount, "S06"), (ignores_gaps, "S07"), (spoiled_by_a_gap, "S07"),
        (trips_over_positions, "S08"), (ReadsAfterAll(), "S09"),
    ],
)  # fmt: skip
def test_a_wrong_strategy_fails_its_case(strategy: Any, number: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        _run(StrategySuite(), number, strategy=strategy)


def test_a_failed_case_says_what_is_wrong() -> None:
    with pytest.raises(AssertionError, match=r"EUR gets .* knowing what came next"):
        _run(StrategySuite(), "S05", strategy=counts_what_is_to_come)
    with pytest.raises(AssertionError, match=r"snapshot: expected the arguments \(at\), got \(when"):
        _run(FeedSuite(), "F02", feed=WrongSignature(market_history(days=120)))


# --- a suite cannot be weakened in silence


def test_replacing_a_case_needs_a_reason() -> None:
    def case(self: Any, feed: Any) -> None: ...

    name = next(n for n in dir(FeedSuite) if n.startswith("test_F03_"))
    with pytest.raises(TypeError, match=r"Mine replaces test_F03_.*say why"):
        type("Mine", (FeedSuite,), {name: case})
    with pytest.raises(TypeError, match="replaces test_F03_"):
        type("Mine", (FeedSuite,), {name: None})
    mixin = type("Mixin", (), {name: case})
    with pytest.raises(TypeError, match="replaces test_F03_"):
        type("Mine", (mixin, FeedSuite), {})
    with pytest.raises(TypeError, match="give a reason"):
        type("Mine", (FeedSuite,), {name: case, "replaces": {"F03": " "}})
    with pytest.raises(TypeError, match="F99"):
        type("Mine", (FeedSuite,), {"replaces": {"F99": "no such case"}})
    mine = type("Mine", (FeedSuite,), {name: case, "replaces": {"F03": "one row only"}})
    assert issubclass(type("Ours", (mine,), {}), FeedSuite)
    assert issubclass(type("More", (FeedSuite,), {"test_F90_own_case": case, "helper": case}), FeedSuite)


SUITES = (*zip((BrokerSuite, FeedSuite, NotifierSuite, RuleSuite, StrategySuite), "BFNRS", (20, 12, 12, 13, 9)),)


def test_case_numbers_are_unique_and_without_gaps() -> None:
    for suite, letter, count in SUITES:
        numbers = [name[5:8] for name in dir(suite) if name.startswith("test_")]
        assert numbers == [f"{letter}{i:02}" for i in range(1, count + 1)]


# --- signatures


def test_signatures_of_any_protocol_are_compared() -> None:
    class Channel:
        name = "channel"

        def notify(self, alert: object, retries: int = 3, *rest: object, **more: object) -> None: ...

    class KeywordOnly(Channel):
        def notify(self, *, alert: object) -> None: ...  # type: ignore[override]

    class Demanding(Channel):
        def notify(self, alert: object, text: str) -> None: ...  # type: ignore[override]

    class NoMethod(Channel):
        notify = "by mail"  # type: ignore[assignment]

    assert signature_problems(Notifier, Channel()) == []
    assert signature_problems(Notifier, KeywordOnly())[0].startswith("notify: expected the arguments (alert)")
    assert signature_problems(Notifier, Demanding()) == ["notify: it demands text, which nobody gives"]
    assert signature_problems(Notifier, NoMethod()) == ["notify: expected a method, got 'by mail'"]
    assert signature_problems(Notifier, object()) == ["name is missing", "notify is missing"]
    assert "set_stop is missing" in signature_problems(Broker, Channel())


# --- factories


@pytest.fixture
def history() -> MarketHistory:
    return market_history(("EUR", "JPY"), days=60, seed=3)


def test_a_market_is_the_same_for_the_same_arguments(history: MarketHistory) -> None:
    again = market_history(("EUR", "JPY"), days=60, seed=3)
    assert np.array_equal(again.spot, history.spot)
    assert not np.array_equal(market_history(("EUR", "JPY"), days=60, seed=4).spot, history.spot)
    longer = market_history(("JPY", "EUR", "GBP"), days=80, seed=3)
    assert np.allclose(longer.spot[:60, [1, 0]], history.spot, rtol=1e-12)
    assert np.array_equal(longer.rates["EUR"].value[:3], history.rates["EUR"].value)


def test_a_market_has_weekday_rows_and_rates(history: MarketHistory) -> None:
    assert history.start == datetime(2020, 1, 6, 21, 59, tzinfo=UTC)  # 16:59 New York
    assert len(history) == 60
    assert all(from_ns(t).weekday() < 5 for t in history.times)
    assert history.rates.keys() == {"EUR", "JPY", "USD"}
    rate = history.rates["EUR"].get(datetime(2020, 2, 10, tzinfo=UTC))
    assert rate is not None
    assert -0.005 <= rate.value <= 0.06
    assert rate.available_at - rate.as_of == timedelta(hours=1)
    assert market_history(("EUR",), 5, start=date(2021, 5, 1)).start.date() == date(2021, 5, 3)


def test_a_view_shows_the_market_at_its_tick(history: MarketHistory) -> None:
    view = view_at(history, datetime(2020, 2, 11, tzinfo=UTC))
    assert view.as_of == datetime(2020, 2, 10, 22, tzinfo=UTC)
    row = 25  # 10 February is the 26th weekday from 6 January
    assert view.spot["EUR"] == history.spot[row, 0]
    usd, eur = (history.rates[c].get(view.as_of) for c in ("USD", "EUR"))
    assert usd is not None
    assert eur is not None
    assert view.carry["EUR"] == pytest.approx(eur.value - usd.value)
    assert view.financing_long["EUR"] == pytest.approx(view.carry["EUR"] - 0.01)
    assert view.financing_short["EUR"] == pytest.approx(-view.carry["EUR"] - 0.01)
    assert view_at(history).spot["JPY"] == history.spot[-1, 1]


def test_a_view_in_another_account_currency(history: MarketHistory) -> None:
    view = view_at(history, account_currency="EUR", currencies=("USD", "JPY"), markup=0.0)
    assert view.spot["USD"] == pytest.approx(1 / history.spot[-1, 0])
    assert view.spot["JPY"] == pytest.approx(history.spot[-1, 1] / history.spot[-1, 0])
    assert view.financing_long["USD"] == view.carry["USD"] == -view.financing_short["USD"]
    assert view_at(history, account_currency="EUR").currencies == ("JPY",)


def test_a_view_before_the_first_tick_is_an_error(history: MarketHistory) -> None:
    with pytest.raises(MissingDataError, match="no tick at or before 2020-01-01"):
        view_at(history, datetime(2020, 1, 1, tzinfo=UTC))


def test_an_account_holds_its_nav_in_cash() -> None:
    at = datetime(2020, 1, 1, tzinfo=UTC)
    made = account("2500.50", currency="EUR", at=at, weights={"JPY": -0.5})
    assert made.nav == made.cash == made.margin_available == Decimal("2500.50")
    assert (made.currency, made.current_weights, made.at) == ("EUR", {"JPY": -0.5}, at)


def test_the_package_hands_out_its_public_names_without_pytest() -> None:
    for name in fxcarry.testing.__all__:
        assert getattr(fxcarry.testing, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        fxcarry.testing.nothing  # noqa: B018
    code = "import sys, fxcarry.testing; print(sorted({'pytest', 'numpy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
