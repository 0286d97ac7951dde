"""fxcarry.remote: a venue behind the Broker protocol alone is traded as a simulated one is, to the cent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.clock import SteppedClock
from fxcarry.conventions import session_ends, trade_dates
from fxcarry.costs import Costs
from fxcarry.engine import Engine
from fxcarry.errors import BrokerUnavailable, ConfigError, MissingDataError, OrderOutcomeUnknown, OrderRejected
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing, PairRateFinancing
from fxcarry.frictions import Frictions
from fxcarry.journal import MemoryJournal, SqliteJournal
from fxcarry.leak import NOT_KNOWN, rolls_of
from fxcarry.market import MarketView, from_ns
from fxcarry.model import Account, Instrument, Order, OrderResult, OrderStatus, Pair, Position, Snapshot, Transaction
from fxcarry.protocols import Broker, Capability
from fxcarry.remote import Remote
from fxcarry.risk import DailyLoss, Drawdown, MaxExposure, MaxPosition, StopLoss
from fxcarry.simulation import SimBroker
from fxcarry.strategies import Baseline
from fxcarry.testing import BrokerSuite, FakeBroker, FakeVenue, market_history, serve

UNIVERSE = ("AUD", "EUR", "GBP", "JPY", "NOK", "NZD")


class Plain:
    """A broker of which the engine can know nothing but the protocol."""

    name = "plain"

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.capabilities: frozenset[Capability] = inner.capabilities
        self.fault: Exception | None = None

    def connect(self) -> None:
        self._inner.connect()

    def close(self) -> None:
        self._inner.close()

    def sync(self, snapshot: Snapshot) -> Account:
        return self._inner.sync(snapshot)  # type: ignore[no-any-return]

    def get_account_balance(self) -> Decimal:
        return self._inner.get_account_balance()  # type: ignore[no-any-return]

    def get_positions(self) -> Mapping[str, Position]:
        return self._inner.get_positions()  # type: ignore[no-any-return]

    def get_orders(self) -> Sequence[OrderResult]:
        return self._inner.get_orders()  # type: ignore[no-any-return]

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        return self._inner.get_instruments(pairs)  # type: ignore[no-any-return]

    def place_market_order(self, order: Order) -> OrderResult:
        if self.fault is not None:
            raise self.fault
        return self._inner.place_market_order(order)  # type: ignore[no-any-return]

    def place_limit_order(self, order: Order) -> OrderResult:
        return self._inner.place_limit_order(order)  # type: ignore[no-any-return]

    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        return self._inner.set_stop(instrument, price)  # type: ignore[no-any-return]

    def cancel_order(self, client_id: str) -> OrderResult:
        return self._inner.cancel_order(client_id)  # type: ignore[no-any-return]

    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        return self._inner.find_orders(client_ids)  # type: ignore[no-any-return]

    def transactions(self, since: str | None) -> Sequence[Transaction]:
        return self._inner.transactions(since)  # type: ignore[no-any-return]

    def close_all_positions(self) -> Sequence[OrderResult]:
        return self._inner.close_all_positions()  # type: ignore[no-any-return]


def run(seed: int, rules: Sequence[Any], wrap: Callable[[SimBroker], Any], frictions: Frictions) -> Any:
    history = market_history(UNIVERSE, days=60, seed=seed)
    broker = SimBroker(costs=Costs(), financing=BenchmarkFinancing(0.01), frictions=frictions)
    engine = Engine(
        feed=MemoryFeed(history),
        broker=wrap(broker),
        strategy=Baseline(k=2),
        rules=rules,
        universe=UNIVERSE,
        rebalance="weekly",
        journal=MemoryJournal(),
        costs=Costs(),
    )
    engine.recover()
    for tick in SteppedClock.over(history, frequency="weekly").at[3:]:
        engine.step(from_ns(tick))
    assert engine.state.locked == frozenset()
    told = [(t.at, t.kind, t.instrument, t.units, t.amount) for t in broker.transactions(None)]
    return told, broker.nav, engine.state


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), is_strict=st.booleans(), reject_rate=st.sampled_from([0.0, 0.1]))
def test_it_is_traded_as_a_simulated_one_is(seed: int, is_strict: bool, reject_rate: float) -> None:
    rules: list[Any] = [MaxPosition(), MaxExposure()]
    if is_strict:
        rules += [StopLoss(0.01), DailyLoss(0.008), Drawdown(0.04)]
    frictions = Frictions(reject_rate=reject_rate, seed=seed)
    ours = run(seed, rules, lambda broker: broker, frictions)
    theirs = run(seed, rules, Plain, frictions)
    assert theirs[0] == ours[0]
    assert theirs[1:] == ours[1:]


# -- sending -----------------------------------------------------------------------------------------------------------


def order(client_id: str, units: int = 1000, **about: Any) -> Order:
    return Order(client_id=client_id, instrument="EURUSD", units=Decimal(units), **about)


@pytest.fixture
def remote() -> Remote:
    made = Remote(Plain(SimBroker()))
    made.get_instruments([Pair("EUR", "USD")])
    return made


def nothing() -> None:
    return None


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (OrderRejected("margin"), OrderStatus.REJECTED),
        (OrderOutcomeUnknown("no answer"), OrderStatus.UNKNOWN),
        (TimeoutError("read"), OrderStatus.UNKNOWN),
        (ValueError("a bug in the plugin"), OrderStatus.UNKNOWN),
    ],
)
def test_only_a_refusal_is_final_every_other_failure_is_unknown(
    fault: Exception, status: OrderStatus, remote: Remote
) -> None:
    assert isinstance(remote.broker, Plain)
    remote.broker.fault = fault
    results = remote.send([order("a"), order("b")], nothing)
    assert [(r.client_id, r.status) for r in results] == [("a", status), ("b", status)]
    assert all(str(fault.args[0]) in r.reason for r in results)


def test_a_venue_out_of_reach_ends_the_sending(remote: Remote) -> None:
    assert isinstance(remote.broker, Plain)
    remote.broker.fault = BrokerUnavailable("503")
    sent: list[str] = []
    results = remote.send([order("a"), order("b")], lambda: sent.append("asked"))
    assert [(r.client_id, r.status, r.reason) for r in results] == [
        ("a", OrderStatus.CANCELLED, "not sent: 503"),
        ("b", OrderStatus.CANCELLED, "not sent: 503"),
    ]
    assert sent == ["asked"]  # the second was not tried


def test_what_is_asked_before_each_order_may_forbid_it(remote: Remote) -> None:
    calls: list[int] = []

    def fence() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise ConfigError("taken over")

    with pytest.raises(ConfigError, match="taken over"):
        remote.send([order("a"), order("b"), order("c")], fence)
    assert set(remote.find_orders(["a", "b", "c"])) == {"a"}


def test_a_remote_that_looks_ahead_sends_nothing(remote: Remote) -> None:
    remote.is_dry = True
    with pytest.raises(ConfigError, match="made to look ahead"):
        remote.send([order("a")], nothing)
    assert remote.find_orders(["a"]) == {}


def test_limit_orders_go_as_limit_orders(remote: Remote) -> None:
    [result] = remote.send([order("a", type="limit", limit_price=Decimal("1.05"))], nothing)
    assert result.status is OrderStatus.WORKING
    with pytest.raises(MissingDataError, match="not been looked at"):
        remote.account()


def test_what_the_venue_did_of_its_own_accord_is_seen_in_its_transactions(remote: Remote) -> None:
    def booked(client_id: str, units: int) -> Transaction:
        return Transaction(
            id=client_id, at=datetime(2025, 1, 2, tzinfo=UTC), kind="fill", amount=Decimal(0), currency="USD",
            instrument="EURUSD", units=Decimal(units), client_id=client_id,
        )  # fmt: skip

    remote.note([booked("stop-17", -1000), booked("ours", 5), booked("margin-close-out-3", 70)])
    assert remote.events == [("EURUSD", "stop", 1), ("EURUSD", "margin close-out", -1)]


# -- the fake venue is a broker ----------------------------------------------------------------------------------------


class TestFakeVenue(BrokerSuite):
    """The venue that the fault tests trade on, over its socket, is what it claims to be."""

    @pytest.fixture
    def broker(self) -> Iterator[Broker]:
        with serve(FakeVenue()) as address:
            yield FakeBroker(address)


# -- what the venue says it pays, and what it books --------------------------------------------------------------------

RATES = {"AUDUSD": (0.012, -0.031), "EURUSD": (-0.024, 0.009), "GBPUSD": (0.002, -0.018), "USDJPY": (0.035, -0.052)}
FOUR = ("AUD", "EUR", "GBP", "JPY")


class Paying(Plain):
    """A venue that publishes its rates and books by them, but for a ``share`` it keeps and nights it does not book."""

    def __init__(self, inner: SimBroker) -> None:
        super().__init__(inner)
        self.rates = dict(RATES)
        self.asked = 0
        self.unheard: Exception | None = None
        self.is_silent = False
        self.share = Decimal(1)

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        self.asked += 1
        if self.unheard is not None:
            raise self.unheard
        found = super().get_instruments(pairs)
        return {
            name: attrs.evolve(one, financing_long=self.rates[name][0], financing_short=self.rates[name][1])
            if name in self.rates
            else one
            for name, one in found.items()
        }

    def sync(self, snapshot: Snapshot) -> Account:
        account = super().sync(snapshot)
        return attrs.evolve(account, nav=self._inner.account().nav)

    def transactions(self, since: str | None) -> Sequence[Transaction]:
        def told(t: Transaction) -> Transaction:
            return attrs.evolve(t, amount=round(t.amount * self.share, 2)) if t.kind == "financing" else t

        found = list(super().transactions(None))
        known = [i for i, t in enumerate(found) if t.id == since]
        fresh = found[known[0] + 1 :] if known else found
        self.held_back = [t for t in fresh if self.is_silent and t.kind == "financing"]
        return [told(t) for t in fresh if t not in self.held_back]


class Nights:
    """An engine that looks at 12:00, just before and an hour after each 17:00 New York of some days."""

    def __init__(self, journal: Any, *, wrap: Any = Paying, rates: Any = None, start: int = 10) -> None:
        self.history = market_history(FOUR, days=60, seed=3)
        terms = PairRateFinancing({n: r[0] for n, r in RATES.items()}, {n: r[1] for n, r in RATES.items()})
        self.venue: Any = wrap(SimBroker(costs=Costs.none(), financing=terms))
        if rates is not None:
            self.venue.rates = rates
        self.journal = journal
        self.day = start
        self.make()

    def make(self) -> None:
        """A process begins."""
        self.engine = Engine(
            feed=MemoryFeed(self.history),
            broker=self.venue,
            strategy=Hold(),
            rules=(),
            universe=FOUR,
            rebalance="weekly",
            journal=self.journal,
            financing=BenchmarkFinancing(0.01),
        )
        self.engine.recover()

    def look(self, days: int = 1) -> None:
        ends = [from_ns(t) for t in session_ends(np.unique(trade_dates(self.history.times)))]
        for end in ends[self.day : self.day + days]:
            for hours in (-5, -1 / 120, 1):
                self.engine.step(end + timedelta(hours=hours))
        self.day += days

    def alerts(self) -> list[str]:
        if isinstance(self.journal, MemoryJournal):
            said = [(a.kind, a.severity, a.message) for a in self.journal.alerts]
        else:
            said = [(r["kind"], r["severity"], r["message"]) for r in self.journal.table("alerts")]
        return [f"{severity}: {message}" for kind, severity, message in said if kind == "financing-leak"]


class Hold:
    """The same book without end."""

    def __call__(self, view: Any, account: Any) -> dict[str, float]:
        return {"AUD": 0.5, "EUR": -0.5, "JPY": -0.4}


def test_a_venue_that_books_what_it_publishes_has_no_leak() -> None:
    nights = Nights(MemoryJournal())
    nights.look(15)
    rolls = rolls_of(nights.journal, "USD", nights.engine.broker.at)
    assert len({row.trade_date for row in rolls}) >= 9
    assert {row.instrument for row in rolls} == {"AUDUSD", "EURUSD", "USDJPY"}
    for row in rolls:
        assert row.difference is not None, row
        assert abs(row.difference) <= Decimal("0.01"), row
        assert row.booked, row
    assert nights.alerts() == []


def test_a_venue_that_keeps_more_than_it_said_is_told_once_and_so_is_its_end() -> None:
    nights = Nights(MemoryJournal())
    nights.look(6)
    nights.venue.share = Decimal("0.7")  # all three are paid, and now less
    nights.look(5)
    told = nights.alerts()
    assert all(line.startswith("warning: the financing of ") and "less than expected" in line for line in told)
    names = [line.split()[4] for line in told]
    assert sorted(names) == sorted(set(names))
    assert set(names) <= {"AUDUSD", "EURUSD", "USDJPY"}
    assert names
    nights.venue.share = Decimal(1)
    nights.look(8)
    assert [line for line in nights.alerts() if "over" in line and line.startswith("info")] == [
        f"info: leak {name}: over, or more than 5 rolls ago" for name in sorted(names)
    ]


def test_a_night_that_is_not_booked_is_told_a_day_later_and_when_it_comes() -> None:
    nights = Nights(MemoryJournal())
    nights.look(6)
    nights.venue.is_silent = True
    nights.look(1)
    assert nights.alerts() == []  # it may come yet
    nights.look(1)
    told = nights.alerts()
    assert told
    assert all(line.endswith("and nothing is booked") for line in told)
    missing = rolls_of(nights.journal, "USD", nights.engine.broker.at, 2)[0]
    assert missing.booked is None
    assert missing.trade_date.isoformat() in told[0]


def test_the_other_sign_is_told() -> None:
    wrong = {name: (-long, -short) for name, (long, short) in RATES.items()}  # the published table has the sign of IB
    nights = Nights(MemoryJournal(), rates=wrong)
    nights.look(8)
    assert any("were expected for the roll of AUDUSD" in line and "are booked" in line for line in nights.alerts())


def test_a_restart_forgets_nothing_of_it(tmp_path: Path) -> None:
    """Expected and booked are read from the journal: whoever starts anew knows as much."""
    with SqliteJournal(tmp_path / "one.sqlite", account_id="simulated") as one:
        steady = Nights(one)
        steady.venue.share = Decimal("0.7")
        steady.look(12)
        kept, told = rolls_of(one, "USD", steady.engine.broker.at), steady.alerts()
    with SqliteJournal(tmp_path / "two.sqlite", account_id="simulated") as two:
        broken = Nights(two)
        broken.venue.share = Decimal("0.7")
        for _ in range(12):
            broken.make()
            broken.look()
        assert rolls_of(two, "USD", broken.engine.broker.at) == kept
        assert set(broken.alerts()) >= set(told)
    assert kept
    assert told


def test_a_venue_that_says_nothing_is_not_judged() -> None:
    nights = Nights(MemoryJournal(), rates={})
    nights.venue.share = Decimal(-3)
    nights.look(10)
    assert nights.alerts() == []
    assert nights.journal.published() == []
    rolls = rolls_of(nights.journal, "USD", nights.engine.broker.at)
    assert {(row.expected, row.why) for row in rolls} == {(None, NOT_KNOWN)}
    assert all(row.booked for row in rolls)


def test_a_venue_that_books_no_financing_is_not_judged() -> None:
    nights = Nights(MemoryJournal())
    remote: Any = nights.engine.broker
    remote.capabilities = remote.capabilities - {Capability.FINANCING}
    nights.venue.is_silent = True
    nights.look(10)
    assert nights.alerts() == []
    assert nights.journal.published() == []


def test_the_rates_are_read_anew_once_an_hour_and_their_changes_kept() -> None:
    nights = Nights(MemoryJournal())
    nights.look(2)
    at = nights.engine.broker.at
    before = nights.venue.asked
    for minutes in (1, 20, 61, 62, 121):
        if minutes == 20:
            nights.venue.rates["EURUSD"] = (-0.03, 0.01)
        nights.engine.step(at + timedelta(minutes=minutes))
    assert nights.venue.asked == before + 2
    published = nights.journal.published()
    assert len(published) == len(FOUR) + 1
    assert published[-1] == (
        at + timedelta(minutes=61),
        Instrument(name="EURUSD", exposure=Pair("EUR", "USD"), financing_long=-0.03, financing_short=0.01),
    )


def test_a_venue_that_does_not_answer_keeps_its_rates_for_a_day() -> None:
    nights = Nights(MemoryJournal())
    nights.look(2)
    remote: Any = nights.engine.broker
    nights.venue.unheard = BrokerUnavailable("503")
    nights.look(1)
    assert {i.financing_long for i in remote.published()} == {long for long, _ in RATES.values()}
    nights.look(1)
    assert {i.financing_long for i in remote.published()} == {None}
    nights.venue.unheard = None
    nights.look(1)
    assert {i.financing_long for i in remote.published()} == {long for long, _ in RATES.values()}


def test_views_know_what_the_venue_pays_now_and_not_that_it_did_before() -> None:
    """From the side of the pair to that of the currency: a long in USDJPY is a short in JPY."""
    nights = Nights(MemoryJournal(), rates={n: r for n, r in RATES.items() if n != "GBPUSD"})
    nights.look(3)
    engine = nights.engine
    columns = engine.columns
    now, earlier = MarketView(columns, len(engine.clock) - 1), MarketView(columns, len(engine.clock) - 2)
    long, short = (dict(zip(FOUR, now.values(f"financing_{side}").tolist())) for side in ("long", "short"))
    assert (long["AUD"], short["AUD"]) == RATES["AUDUSD"]
    assert (long["EUR"], short["EUR"]) == RATES["EURUSD"]
    assert (short["JPY"], long["JPY"]) == RATES["USDJPY"]
    was = dict(zip(FOUR, earlier.values("financing_long").tolist()))
    assert long["GBP"] == pytest.approx(was["GBP"])  # not published: what was expected stays
    assert was["GBP"] == was["GBP"]
    for currency in ("AUD", "EUR", "JPY"):
        assert was[currency] != pytest.approx(long[currency], abs=1e-6)
    past = engine.columns_of(engine.feed.history(None, None).in_currency("USD", FOUR), engine.clock)  # type: ignore[union-attr]
    assert MarketView(past, len(engine.clock) - 1).values("financing_long")[0] != RATES["AUDUSD"][0]


def test_a_strategy_sees_them_and_a_plan_counts_with_them() -> None:
    nights = Nights(MemoryJournal())
    nights.look(2)
    engine = nights.engine
    preview = engine.preview(engine.broker.at + timedelta(minutes=1))
    held = {i.name: u for i, u in zip(engine.book.instruments, engine.broker.lot().units)}
    value = dict(zip(engine.book.names, engine.broker.lot().base_value))
    assert preview.planned
    expected = sum(
        abs(units) * value[name] * RATES[name][0 if units > 0 else 1] * 7 / 365
        for name, units in preview.planned.items()
    )
    assert preview.carry_week == pytest.approx(expected)
    assert held


def test_orders_are_sent_before_the_nights_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is intended is never left unsent because something is wrong with the books of the past."""

    def broken(*_: Any) -> Any:
        raise MissingDataError("no calendar for that year")

    monkeypatch.setattr("fxcarry.live.rolls_of", broken)
    nights = Nights(MemoryJournal())
    while not nights.journal.orders:
        with contextlib.suppress(MissingDataError):
            nights.look()
        nights.day += 1
    sent = {order.client_id for order in nights.journal.orders}
    assert nights.venue.find_orders(sent).keys() == sent  # and nobody has recovered yet
