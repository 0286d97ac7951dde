"""What goes wrong between an order and its answer: in the end there is one order, and the book is the venue's."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fxcarry.errors import BrokerUnavailable, ConfigError, OrderOutcomeUnknown, OrderRejected
from fxcarry.model import OrderStatus

AFTER = ("hangs", "unanswered", "reset", "failed", "garbled")
"""The order is taken, and its answer is lost in these ways."""

BEFORE = ("lost", "unavailable")
"""The order is not taken, which nobody can know."""


def booked(desk: Any) -> dict[str, int]:
    """Units by instrument as the account's transactions add them up."""
    total: dict[str, int] = {}
    for one in desk.broker.transactions(None):
        if one.kind == "fill":
            total[one.instrument] = total.get(one.instrument, 0) + int(one.units)
    return {f"{name[:3]}_{name[3:]}": units for name, units in total.items() if units}


@pytest.mark.parametrize("fault", AFTER)
def test_an_order_that_was_taken_and_not_answered_is_one_order(desk: Any, fault: Any) -> None:
    desk.server.fail("POST */orders", fault)
    with pytest.raises(OrderOutcomeUnknown):
        desk.buy(1000)
    assert desk.broker.find_orders(["a"])["a"].status is OrderStatus.FILLED
    assert desk.buy(1000).status is OrderStatus.FILLED  # the same id again is the same order
    assert desk.posts() == 1
    assert desk.held() == booked(desk) == {"EUR_USD": 1000}
    assert [str(t.units) for t in desk.broker.transactions(None) if t.client_id == "a"] == ["1000"]


@pytest.mark.parametrize("fault", AFTER)
def test_a_restart_in_between_finds_the_order_too(desk: Any, make_desk: Any, fault: Any) -> None:
    desk.next()
    known = [t.id for t in desk.broker.transactions(None)][-1]
    desk.server.fail("POST */orders", fault)
    with pytest.raises(OrderOutcomeUnknown):
        desk.buy(1000)
    again = type(desk.broker)(desk.fake, desk.broker._client)
    again.connect()
    fresh = again.transactions(known)
    assert [(t.kind, t.client_id) for t in fresh] == [("fill", "a")]
    assert again.find_orders(["a"])["a"].filled_units == 1000


@pytest.mark.parametrize("fault", BEFORE)
def test_an_order_that_never_arrived_is_absent_from_a_complete_log(desk: Any, fault: Any) -> None:
    desk.server.fail("POST */orders", fault)
    with pytest.raises(OrderOutcomeUnknown):
        desk.buy(1000)
    assert desk.broker.find_orders(["a"]) == {}
    assert desk.held() == booked(desk) == {}


def test_a_log_that_cannot_be_read_does_not_say_that_an_order_is_absent(desk: Any) -> None:
    desk.server.fail("POST */orders", "unanswered")
    with pytest.raises(OrderOutcomeUnknown):
        desk.buy(1000)
    for again in (lambda: desk.broker.find_orders(["a"]), lambda: desk.buy(1000)):
        desk.server.fail("GET */sinceid", "failed", times=3)
        with pytest.raises(BrokerUnavailable):
            again()
    assert desk.posts() == 1


@pytest.mark.parametrize("fault", ["busy", "refused"])
def test_what_was_not_accepted_may_be_sent_again(desk: Any, fault: str) -> None:
    if fault == "busy":
        desk.server.fail("POST */orders", "busy", times=3)
        with pytest.raises(BrokerUnavailable):
            desk.buy(1000)
    else:
        with desk.server.refuse(), pytest.raises(BrokerUnavailable):
            desk.buy(1000)
    assert desk.buy(1000).status is OrderStatus.FILLED
    assert desk.held() == booked(desk) == {"EUR_USD": 1000}


def test_oanda_takes_a_client_id_twice_and_so_the_plugin_does_not_send_it_twice(desk: Any) -> None:
    body = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "500", "timeInForce": "FOK"}}
    body["order"]["clientExtensions"] = {"id": "twin"}  # type: ignore[assignment]
    for _ in range(2):
        assert desk.broker._client.change("POST", "/orders", body)[0] == 201
    assert desk.held() == {"EUR_USD": 1000}, "this venue would be one that takes an id once"
    result = desk.buy(500, "twin")
    assert (result.status, result.filled_units) == (OrderStatus.FILLED, 1000)  # both of them, as they are
    assert desk.held() == booked(desk) == {"EUR_USD": 1000}


def test_a_201_that_is_a_cancel_is_no_fill(desk: Any) -> None:
    desk.fake.halted.add("EUR_USD")
    result = desk.buy(1000)
    assert (result.status, result.filled_units, result.reason) == (OrderStatus.CANCELLED, 0, "MARKET_HALTED")
    assert desk.broker.find_orders(["a"])["a"] == result
    assert desk.held() == booked(desk) == {}


def test_the_weekend_is_a_cancel_too(desk: Any) -> None:
    desk.next(after=timedelta(days=3))  # Saturday
    assert desk.buy(1000).reason == "MARKET_HALTED"
    assert desk.held() == {}


def test_no_margin_is_a_refusal(desk: Any) -> None:
    result = desk.buy(90_000_000)
    assert (result.status, result.reason) == (OrderStatus.REJECTED, "INSUFFICIENT_MARGIN")
    assert desk.broker.find_orders(["a"])["a"].status is OrderStatus.REJECTED


@pytest.mark.parametrize(
    ("units", "instrument", "match"),
    [
        (200_000_000, "EURUSD", "UNITS_LIMIT_EXCEEDED"),
        (1000, "XXXYYY", "does not trade 'XXXYYY'"),
        (0, "EURUSD", "less than OANDA deals in"),
    ],
)
def test_what_oanda_refuses_is_rejected_in_its_words(desk: Any, units: int, instrument: str, match: str) -> None:
    with pytest.raises(OrderRejected, match=match):
        desk.buy(units, instrument=instrument)
    assert desk.held() == {}


# -- stops, cancels and closing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*AFTER, *BEFORE])
def test_a_stop_that_was_not_answered_is_put_where_it_belongs(desk: Any, fault: Any) -> None:
    desk.buy(1000)
    desk.server.fail("PUT */trades/*/orders", fault)
    assert desk.broker.set_stop("EURUSD", Decimal("1.045")).price == Decimal("1.04500")
    assert [(o.client_id, o.price) for o in desk.broker.get_orders()] == [("stop-EURUSD", Decimal("1.04500"))]
    stops = [o for o in desk.fake.orders if o["type"] == "STOP_LOSS"]
    assert len(stops) == 1


@pytest.mark.parametrize("fault", [*AFTER, *BEFORE])
def test_a_cancel_that_was_not_answered_cancels(desk: Any, fault: Any) -> None:
    desk.buy(1000, type="limit", limit_price=Decimal("1.05"))
    desk.server.fail("PUT */cancel", fault)
    assert desk.broker.cancel_order("a").status is OrderStatus.CANCELLED
    assert desk.broker.get_orders() == []
    desk.next("1.04")
    assert desk.held() == {}


def test_a_cancel_that_comes_too_late_tells_of_the_fill(desk: Any) -> None:
    desk.buy(1000, type="limit", limit_price=Decimal("1.05"))
    desk.next("1.04")
    result = desk.broker.cancel_order("a")
    assert (result.status, result.filled_units) == (OrderStatus.FILLED, 1000)
    with pytest.raises(OrderRejected, match="knows no order nobody"):
        desk.broker.cancel_order("nobody")


@pytest.mark.parametrize("fault", [*AFTER, *BEFORE])
def test_closing_everything_goes_on_where_an_answer_is_lost(desk: Any, fault: Any) -> None:
    desk.buy(1000)
    desk.buy(-700, "yen", "USDJPY")
    desk.buy(100, "later", type="limit", limit_price=Decimal("1.0"))
    for path in ("PUT */close", "PUT */cancel"):
        desk.server.fail(path, fault)
    results = desk.broker.close_all_positions()
    assert {r.instrument: r.status for r in results} == {"EURUSD": OrderStatus.FILLED, "USDJPY": OrderStatus.FILLED}
    assert desk.held() == booked(desk) == {}
    assert desk.broker.get_orders() == []


def test_closing_everything_in_a_closed_market_says_what_stays_open(desk: Any) -> None:
    desk.buy(1000)
    desk.buy(-700, "yen", "USDJPY")
    desk.fake.halted.add("EUR_USD")
    results = {r.instrument: (r.status, r.reason) for r in desk.broker.close_all_positions()}
    assert results["EURUSD"] == (OrderStatus.CANCELLED, "MARKET_HALTED")
    assert results["USDJPY"][0] is OrderStatus.FILLED
    assert desk.held() == {"EUR_USD": 1000}


def test_closing_everything_at_a_venue_out_of_reach_says_so(desk: Any) -> None:
    desk.buy(1000)
    with desk.server.refuse(), pytest.raises(BrokerUnavailable):
        desk.broker.close_all_positions()
    desk.server.fail("PUT */close", "lost", times=9)
    with pytest.raises(OrderOutcomeUnknown):
        desk.broker.close_all_positions()
    assert desk.held() == {"EUR_USD": 1000}


@pytest.mark.parametrize("fault", ["failed", "unavailable", "lost", "garbled", "unanswered"])
def test_a_read_that_fails_is_no_flat_account(desk: Any, fault: Any) -> None:
    desk.buy(1000)
    desk.server.fail("GET */accounts/*", fault, times=9)
    for read in (desk.broker.get_positions, desk.broker.get_orders, desk.next):
        with pytest.raises(BrokerUnavailable):
            read()


# -- what is wrong with the account ------------------------------------------------------------------------------------


def test_a_wrong_token_is_told_and_does_not_appear(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXCARRY_FAKE_OANDA_TOKEN", "wrong-token-0123456789")
    with pytest.raises(ConfigError, match="refused the token") as told:
        desk.broker.connect()
    assert "practice token works on practice accounts only" in told.value.hint
    assert "wrong-token-0123456789" not in repr(vars(told.value)) + str(told.value)


def test_a_revoked_token_stops_the_looks_and_accepts_no_order(desk: Any) -> None:
    desk.buy(1000)
    desk.fake.revoke()
    with pytest.raises(ConfigError, match="refused the token"):
        desk.next()
    with pytest.raises((ConfigError, BrokerUnavailable)):
        desk.buy(1000, "b")
    assert desk.held() == {"EUR_USD": 1000}


def test_a_token_that_is_revoked_when_an_order_is_sent_accepted_nothing(desk: Any) -> None:
    desk.fake.revoke()
    with pytest.raises(BrokerUnavailable, match="nothing was accepted"):
        desk.broker._client.change("POST", "/orders", {"order": {}})


def test_another_account_is_told_with_those_there_are(desk: Any) -> None:
    desk.broker.account_id = "101-004-7654321-001"
    with pytest.raises(ConfigError, match="does not give access to account '101-004-7654321-001'") as told:
        desk.broker.connect()
    assert desk.fake.account_id in told.value.hint


@pytest.mark.parametrize("is_hedging", [True, False])
def test_an_account_of_the_other_kind_is_refused(make_desk: Any, is_hedging: bool) -> None:
    desk = make_desk(is_hedging=is_hedging)
    desk.broker._is_hedging = not is_hedging
    kind = "a hedging account" if is_hedging else "one that nets positions"
    with pytest.raises(ConfigError, match=f"is {kind}, the configuration says") as told:
        desk.broker.connect()
    assert f"hedging = {str(is_hedging).lower()}" in told.value.hint


@pytest.mark.parametrize("minutes", [-2, 2])
def test_clocks_that_differ_stop_the_look(desk: Any, minutes: int) -> None:
    desk.fake.clock_skew = timedelta(minutes=minutes)
    with pytest.raises(BrokerUnavailable, match="OANDA's clock says") as told:
        desk.next()
    assert "NTP" in told.value.hint
    desk.fake.clock_skew = timedelta(seconds=5)
    desk.next()
