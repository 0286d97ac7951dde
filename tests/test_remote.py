"""fxcarry.remote: a venue behind the Broker protocol alone is traded as a simulated one is, to the cent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.clock import SteppedClock
from fxcarry.costs import Costs
from fxcarry.engine import Engine
from fxcarry.errors import BrokerUnavailable, ConfigError, MissingDataError, OrderOutcomeUnknown, OrderRejected
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.frictions import Frictions
from fxcarry.journal import MemoryJournal
from fxcarry.market import from_ns
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
