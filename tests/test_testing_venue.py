"""The fake venue's script, each fault as a broker meets it over the socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from fxcarry.errors import BrokerUnavailable, ConfigError, OrderOutcomeUnknown, OrderRejected
from fxcarry.model import OrderStatus
from fxcarry.testing import BrokerSuite, FakeBroker, FakeVenue, serve
from fxcarry.testing.brokers import Desk


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with serve(FakeVenue(takes_an_id_once=False)) as address:
        broker = FakeBroker(address, takes_an_id_once=False)
        yield broker
        broker.close()


@pytest.fixture
def desk(broker: FakeBroker) -> Desk:
    return Desk(broker)


class TestFakeBroker(BrokerSuite):
    """Without a script it is a broker like any other, also where something was posted."""

    @pytest.fixture
    def broker(self) -> Iterator[FakeBroker]:
        with serve(FakeVenue()) as address:
            broker = FakeBroker(address)
            yield broker
            broker.close()


@pytest.mark.parametrize(("fault", "said"), [("busy", "429: .*Retry-After"), ("unavailable", "503")])
def test_a_venue_that_refuses_before_it_accepts_took_nothing(
    broker: FakeBroker, desk: Desk, fault: Any, said: str
) -> None:
    broker.fail("place_market_order", fault)
    with pytest.raises(BrokerUnavailable, match=said):
        desk.place(1000)
    assert not broker.find_orders(["a"])
    assert not broker.accepted()
    assert desk.place(1000).status is OrderStatus.FILLED  # the same id may be sent again
    assert broker.accepted() == {"a": 1}


@pytest.mark.parametrize(("fault", "accepted"), [("lost", 0), ("unanswered", 1), ("failed", 1)])
def test_silence_is_unknown_and_the_venue_knows(broker: FakeBroker, desk: Desk, fault: Any, accepted: int) -> None:
    broker.fail("place_market_order", fault)
    with pytest.raises(OrderOutcomeUnknown):
        desk.place(1000)
    assert len(broker.find_orders(["a"])) == accepted == broker.accepted()["a"]
    assert desk.units() == 1000 * accepted


def test_on_stale_quotes_orders_are_accepted_and_cancelled_and_the_account_says_of_when_it_is(
    broker: FakeBroker, desk: Desk
) -> None:
    desk.place(1000)
    before = desk.account.at
    broker.fail("sync", "stale")
    account = desk.next(0.05)
    assert before <= account.at < desk.market.at
    assert float(account.nav) == pytest.approx(1_000_000, abs=1)  # the move of 5 % has not been seen
    answer = desk.place(500, "b")
    assert (answer.status, answer.filled_units) == (OrderStatus.CANCELLED, Decimal(0))
    assert answer.reason.startswith("no price since 13:0")
    assert desk.find("b").status is OrderStatus.CANCELLED
    assert broker.accepted() == {"a": 1, "b": 1}
    assert float(desk.next(0.05).nav) == pytest.approx(1_000_055, abs=1)
    assert desk.place(500, "c").status is OrderStatus.FILLED


def test_a_cut_connection_answers_once_more_and_the_next_call_finds_it_gone(broker: FakeBroker, desk: Desk) -> None:
    broker.fail("get_positions", "disconnects", 2)
    assert desk.units() == 0
    with pytest.raises(BrokerUnavailable):
        desk.units()
    assert desk.units() == 0  # a new connection, cut again
    with pytest.raises(OrderOutcomeUnknown):
        desk.place(1000)
    assert not broker.find_orders(["a"])
    assert not broker.accepted()


def test_transactions_can_come_twice_under_the_same_id(broker: FakeBroker, desk: Desk) -> None:
    desk.place(1000)
    once = list(broker.transactions(None))
    broker.fail("transactions", "twice")
    assert list(broker.transactions(None)) == [one for one in once for _ in range(2)]
    assert list(broker.transactions(None)) == once


def test_what_the_venue_posts_is_in_the_balance_and_in_its_place(broker: FakeBroker, desk: Desk) -> None:
    desk.place(1000)
    fee = broker.post("fee", Decimal("-12.50"))
    again = broker.post("financing", Decimal("3.25"), "EURUSD", 1)
    assert (fee.kind, fee.amount, fee.currency, fee.trade_date) == ("fee", Decimal("-12.50"), "USD", None)
    assert (again.instrument, again.days, again.trade_date) == ("EURUSD", 1, date(2025, 3, 12))
    desk.place(-400, "b")
    booked = list(broker.transactions(None))
    kinds = [one.kind for one in booked if one.kind != "commission"]
    assert kinds == ["fill", "fee", "financing", "fill"]
    for n, one in enumerate(booked):
        assert list(broker.transactions(one.id)) == booked[n + 1 :]
    balance = broker.get_account_balance()
    assert balance == 1_000_000 + sum(one.amount for one in booked)
    account = desk.next()
    assert account.cash == balance
    assert account.current_weights["EUR"] == pytest.approx(600 * 1.1 / float(account.nav), rel=1e-3)


def test_a_restart_keeps_the_account_and_forgets_the_script_and_the_quotes(broker: FakeBroker, desk: Desk) -> None:
    desk.place(1000)
    desk.limit(500, Decimal("0.5"), "waits")
    broker.fail("get_positions", "unavailable")
    broker.restart()
    with pytest.raises(BrokerUnavailable):  # the connection went with it
        desk.units()
    assert desk.units() == 1000
    assert [r.client_id for r in broker.get_orders()] == ["waits"]
    assert broker.accepted() == {"a": 1, "waits": 1}
    with pytest.raises(OrderRejected, match="no quote yet"):
        desk.place(500, "b")
    desk.next()
    assert desk.place(500, "c").status is OrderStatus.FILLED


def test_only_known_faults_can_be_scripted() -> None:
    with pytest.raises(ConfigError, match="'tired' is no fault"):
        FakeVenue().fail("sync", "tired")  # type: ignore[arg-type]
