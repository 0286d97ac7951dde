"""What every broker has to do, as test cases B01 to B20, on a made-up market of EURUSD and USDJPY."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fxcarry.errors import BrokerError, BrokerUnavailable, OrderOutcomeUnknown, OrderRejected
from fxcarry.model import Account, Order, OrderResult, OrderStatus, Pair, Quote, Rate, Snapshot, Transaction
from fxcarry.protocols import Broker, Capability
from fxcarry.testing import Suite, signature_problems

EURUSD, USDJPY = Pair("EUR", "USD"), Pair("USD", "JPY")
_BEGIN = datetime(2025, 3, 12, 13, tzinfo=UTC)  # a Wednesday; 17:00 New York is 21:00
_LEVEL = {EURUSD: Decimal("1.10"), USDJPY: Decimal("150")}
_HALF_SPREAD = Decimal("0.0001")
_RATES = {"EUR": 0.02, "USD": 0.05, "JPY": 0.001}


class MovingMarket:
    """A made-up market: each call is the next snapshot, with new quotes of both pairs and rates."""

    def __init__(self) -> None:
        self.at = _BEGIN
        self.bid, self.ask = self._sides(EURUSD, Decimal(0))

    def __call__(self, move: float = 0.0, *, after: timedelta = timedelta(minutes=1)) -> Snapshot:
        """The next snapshot: ``after`` the last one, EURUSD ``move`` (a fraction) above where it began."""
        self.at += after
        moves = {EURUSD: Decimal(str(move)), USDJPY: Decimal(0)}
        quotes = {pair: Quote(*self._sides(pair, by), self.at) for pair, by in moves.items()}
        self.bid, self.ask = quotes[EURUSD].bid, quotes[EURUSD].ask
        rates = {c: Rate(value=v, as_of=_BEGIN, available_at=_BEGIN) for c, v in _RATES.items()}
        return Snapshot(self.at, quotes, rates)

    @staticmethod
    def _sides(pair: Pair, move: Decimal) -> tuple[Decimal, Decimal]:
        mid, tick = _LEVEL[pair] * (1 + move), pair.pip / 10  # venues quote in tenths of a pip
        return (mid * (1 - _HALF_SPREAD)).quantize(tick), (mid * (1 + _HALF_SPREAD)).quantize(tick)


class BrokerSuite(Suite):
    """Required fixture: ``broker``, a new Broker with an account in USD that is flat and trades on given snapshots.

    Optional: ``unavailable``, which makes a context manager; inside it the venue cannot be reached (B19 is skipped
    without it). What a broker does not claim in its capabilities is skipped.
    """

    @pytest.fixture
    def unavailable(self) -> Callable[[], AbstractContextManager[Any]] | None:
        """Makes a context in which the venue cannot be reached; None = cannot be simulated."""
        return None

    @pytest.fixture
    def desk(self, broker: Broker) -> Iterator[Desk]:
        """The broker and its market."""
        yield Desk(broker)
        broker.close()

    def test_B01_it_has_a_name_and_capabilities(self, broker: Broker) -> None:
        """A name to report, and members of Capability."""
        assert isinstance(broker.name, str), f"name is {broker.name!r}, expected a text"
        assert broker.name.strip(), "name is empty"
        assert isinstance(broker.capabilities, frozenset), f"capabilities are a {type(broker.capabilities).__name__}"
        unknown = [c for c in broker.capabilities if not isinstance(c, Capability)]
        assert not unknown, f"{unknown} is no Capability"

    def test_B02_its_methods_have_the_signatures_of_the_protocol(self, broker: Broker) -> None:
        """The engine calls them by these arguments."""
        problems = signature_problems(Broker, broker)
        assert not problems, "; ".join(problems)

    def test_B03_a_new_account_is_flat_and_has_money(self, desk: Desk) -> None:
        """No position, no order, a balance; NAV is the balance."""
        broker, account = desk.broker, desk.account
        assert isinstance(account, Account), f"sync() gave {type(account).__name__}, expected an Account"
        assert account.at == desk.market.at, f"the account is of {account.at}, the snapshot of {desk.market.at}"
        assert dict(broker.get_positions()) == {} == dict(account.positions), "the account is not flat"
        assert not broker.get_orders(), "an order is waiting"
        balance = broker.get_account_balance()
        assert isinstance(balance, Decimal), f"the balance is a {type(balance).__name__}, expected a Decimal"
        assert balance > 0, f"the balance is {balance}"
        assert account.nav == balance == account.cash, f"flat, NAV {account.nav} is not the balance {balance}"

    def test_B04_instruments_have_steps_and_margin(self, desk: Desk) -> None:
        """By the name of each pair asked for, with positive step, minimum and margin."""
        instruments = desk.broker.get_instruments([EURUSD, USDJPY])
        assert {i.exposure for i in instruments.values()} == {EURUSD, USDJPY}, "not the pairs that were asked for"
        for name, instrument in instruments.items():
            assert instrument.name == name, f"{name} says it is {instrument.name}"
            assert instrument.unit_step > 0, f"{name}: unit_step is {instrument.unit_step}"
            assert instrument.minimum_units > 0, f"{name}: minimum_units is {instrument.minimum_units}"
            assert 0 < instrument.margin_rate <= 1, f"{name}: margin_rate is {instrument.margin_rate}"

    def test_B05_a_market_order_fills_at_the_dealing_side(self, desk: Desk) -> None:
        """A buy at the ask and a sale at the bid, at once or of the next quote, for all of its units."""
        for client_id, units in (("buy", 1000), ("sell", -3000)):
            before = desk.market.ask if units > 0 else desk.market.bid
            answer = desk.place(units, client_id)
            assert answer.client_id == client_id, f"the answer is for {answer.client_id!r}"
            assert answer.status in (OrderStatus.WORKING, OrderStatus.FILLED), f"{client_id} is {answer.status}"
            desk.next(0.01)
            after = desk.market.ask if units > 0 else desk.market.bid
            side = before if answer.status is OrderStatus.FILLED else after
            found = desk.find(client_id)
            assert found.status is OrderStatus.FILLED, f"{client_id} is {found.status}"
            assert found.filled_units == units, f"{found.filled_units} of {units} units are filled"
            assert found.price == pytest.approx(side), f"filled at {found.price}, dealing was at {side}"
        assert desk.units() == -2000, f"{desk.units()} units are held after +1000 and −3000"

    def test_B06_nav_follows_the_market(self, desk: Desk) -> None:
        """A position gains what the mid price moves; cash does not, until it is closed."""
        desk.place(10_000)
        before = desk.next(0.01)
        after = desk.next(0.02)
        gain = float(after.nav - before.nav)
        assert gain == pytest.approx(10_000 * 1.10 * 0.01, abs=0.02), f"10,000 EURUSD gained {gain} in 0.011"
        assert after.cash == before.cash, "open profit is in the cash balance"
        assert after.margin_used > 0, "an open position uses no margin"
        weight = after.current_weights.get("EUR", math.nan)
        assert weight * float(after.nav) == pytest.approx(10_000 * 1.10 * 1.02, rel=1e-3), (
            f"the weight of EUR is {weight}"
        )

    def test_B07_the_same_client_id_is_one_order(self, desk: Desk) -> None:
        """Sent again while it waits, after it filled, and after a cancel: the first order's outcome, one fill."""
        desk.requires(Capability.UNIQUE_CLIENT_IDS)
        desk.place(1000)
        desk.place(1000)
        desk.next()
        assert desk.place(1000).status is OrderStatus.FILLED, "sent again after it filled, it is not the filled order"
        desk.next()
        assert desk.units() == 1000, f"{desk.units()} units are held"
        assert len(desk.fills("a")) == 1, "the order filled more than once"
        for _ in range(2):
            desk.limit(500, Decimal("0.5"), "gone")
            desk.broker.cancel_order("gone")
        desk.next(-0.6)
        assert desk.units() == 1000, "a cancelled order came back to life"

    def test_B08_find_orders_never_guesses(self, desk: Desk) -> None:
        """What was never sent is not in the answer; what was is, whatever became of it."""
        desk.place(1000, "known")
        found = desk.broker.find_orders(["known", "never-sent"])
        assert "never-sent" not in found, f"an order never sent is {found['never-sent'].status}"
        assert "known" in found, "an order that was accepted is not found"
        assert not desk.broker.find_orders([]), "asked for nothing, it answers something"
        desk.next()
        assert desk.find("known").status is OrderStatus.FILLED, "a filled order is not found as filled"

    def test_B09_what_cannot_be_traded_is_rejected(self, desk: Desk) -> None:
        """OrderRejected (or a result that says so), never BrokerUnavailable, and nothing happens."""
        for client_id, units, instrument in (("zero", 0, "EURUSD"), ("unknown", 1000, "XXXYYY")):
            try:
                answer = desk.place(units, client_id, instrument=instrument)
            except OrderRejected:
                continue
            except BrokerError as error:
                pytest.fail(f"{client_id}: {type(error).__name__}, expected OrderRejected")
            assert answer.status is OrderStatus.REJECTED, f"{client_id}: {answer.status}, expected a rejection"
        desk.next()
        assert not desk.broker.get_positions(), "a rejected order was filled"

    def test_B10_reduce_only_never_enlarges(self, desk: Desk) -> None:
        """Too large it closes and stops there; on a flat account or on the same side it does nothing."""
        for side in (1, -1):
            desk.place(-side * 500, f"flat{side}", is_reducing=True)
            desk.next()
            assert desk.units() == 0, "reduce-only opened a position"
            desk.place(side * 1000, f"open{side}")
            desk.next()
            desk.place(side * 500, f"same{side}", is_reducing=True)
            desk.next()
            assert desk.units() == side * 1000, "reduce-only enlarged a position"
            desk.place(-side * 400, f"less{side}", is_reducing=True)
            desk.next()
            assert desk.units() == side * 600, "reduce-only did not reduce by its size"
            desk.place(-side * 5000, f"all{side}", is_reducing=True)
            desk.next()
            assert desk.units() == 0, f"reduce-only went through zero to {desk.units()}"

    def test_B11_an_order_that_waits_is_shown_and_can_be_cancelled(self, desk: Desk) -> None:
        """A limit far away: in get_orders and in the account until it is cancelled, and never filled after."""
        desk.limit(1000, Decimal("0.5"))
        account = desk.next()
        assert [r.client_id for r in desk.broker.get_orders()] == ["a"], "get_orders does not show it"
        assert [o.client_id for o in account.working_orders] == ["a"], "the account does not show it"
        assert desk.find("a").status is OrderStatus.WORKING, f"it is {desk.find('a').status}"
        for _ in range(2):
            assert desk.broker.cancel_order("a").status is OrderStatus.CANCELLED, "it is not cancelled"
        assert not desk.broker.get_orders(), "get_orders shows a cancelled order"
        desk.next(-0.6)
        assert desk.units() == 0, "a cancelled order was filled"
        assert desk.find("a").status is OrderStatus.CANCELLED, "a cancelled order is forgotten"

    def test_B12_a_limit_fills_at_its_price_or_better(self, desk: Desk) -> None:
        """Not before the dealing side is there; a gap is for the better."""
        desk.limit(1000, Decimal("1.05"))
        desk.next(-0.04)  # 1.056
        assert desk.units() == 0, "a limit of 1.05 filled at 1.056"
        desk.next(-0.10)
        assert desk.units() == 1000, "a limit of 1.05 did not fill at 0.99"
        price = desk.find("a").price
        assert price is not None, "a filled order has no price"
        assert price == pytest.approx(desk.market.ask), f"filled at {price}, dealing was at {desk.market.ask}"

    def test_B13_a_stop_closes_the_whole_position(self, desk: Desk) -> None:
        """At the first quote through it, at that quote, however far it jumped; it is shown until then, and its fill is
        seen to be one.
        """
        desk.requires(Capability.NATIVE_STOPS)
        for side in (1, -1):
            client_id = f"open{side}"
            desk.place(side * 1000, client_id)
            desk.next()
            level = Decimal("1.10") * (1 - side * Decimal("0.05"))
            desk.broker.set_stop("EURUSD", level)
            shown = [r.price for r in desk.broker.get_orders() if r.client_id.startswith("stop-")]
            assert [float(p or 0) for p in shown] == [pytest.approx(float(level))], f"get_orders shows stops at {shown}"
            desk.next(-0.04 * side)
            assert desk.units() == side * 1000, "the stop filled before its price was there"
            desk.next(-0.08 * side)
            assert desk.units() == 0, "the stop did not close the position"
            last = desk.fills()[-1]
            dealt = desk.market.bid if side > 0 else desk.market.ask
            assert last.units == -side * 1000, f"the stop traded {last.units} units"
            assert last.client_id.startswith("stop-"), f"the stop's fill is of {last.client_id!r}, not of stop-…"
            assert last.price is not None, "a fill has no price"
            assert last.price == pytest.approx(dealt), f"filled at {last.price}, the quote that crossed was {dealt}"
            desk.next()
            assert desk.units() == 0, "the stop filled twice"

    def test_B14_a_stop_can_be_removed_and_goes_with_its_position(self, desk: Desk) -> None:
        """None removes it; a stop of a closed position does not touch the next one."""
        desk.requires(Capability.NATIVE_STOPS)
        desk.place(1000)
        desk.next()
        desk.broker.set_stop("EURUSD", Decimal("1.05"))
        desk.broker.set_stop("EURUSD", None)
        desk.next(-0.08)
        assert desk.units() == 1000, "a stop that was removed has filled"
        desk.broker.set_stop("EURUSD", Decimal("0.9"))
        desk.place(-1000, "close", is_reducing=True)
        desk.next()
        desk.place(1000, "again")
        desk.next()
        desk.next(-0.3)
        assert desk.units() == 1000, "the stop of a closed position closed another one"

    def test_B15_an_order_brings_its_stop_along(self, desk: Desk) -> None:
        """``stop_fraction`` is measured from the average entry, from the moment it fills."""
        desk.requires(Capability.NATIVE_STOPS)
        desk.place(1000, stop_fraction=0.05)
        desk.next()
        desk.next(-0.045)
        assert desk.units() == 1000, "a stop of 5 % filled at a loss of 4.5 %"
        desk.next(-0.055)
        assert desk.units() == 0, "a stop of 5 % did not fill at a loss of 5.5 %"

    def test_B16_closing_everything_ends_flat(self, desk: Desk) -> None:
        """What waits is cancelled, every position closed; on a flat account there is nothing to do."""
        desk.place(1000)
        desk.place(-700, "yen", instrument="USDJPY")
        desk.next()
        desk.limit(400, Decimal("0.5"), "later")
        results = desk.broker.close_all_positions()
        assert {r.instrument for r in results} == {"EURUSD", "USDJPY"}, "not one result a position"
        assert desk.find("later").status is OrderStatus.CANCELLED, "a waiting order was not cancelled"
        account = desk.next()
        assert not desk.broker.get_positions(), "a position is left"
        assert not account.positions, "the account shows a position that is closed"
        assert not desk.broker.get_orders(), "an order is left"
        assert not desk.broker.close_all_positions(), "flat, something was closed"
        desk.next()
        assert not desk.broker.get_positions(), "closing a flat account opened a position"

    def test_B17_transactions_are_those_after_an_id(self, desk: Desk) -> None:
        """Each has an id of its own, in the order of booking; they add up to the change of the balance."""
        opening, before = desk.broker.get_account_balance(), len(desk.broker.transactions(None))
        for n, units in enumerate((1000, -400, -900, 300)):
            desk.place(units, f"{n}")
            desk.next(0.01 * n)
        booked = list(desk.broker.transactions(None))
        ids = [t.id for t in booked]
        assert len({*ids}) == len(ids) >= 4, "two transactions share an id, or one is missing"
        assert booked == sorted(booked, key=lambda t: t.at), "they are not in the order of booking"
        for n, transaction_id in enumerate(ids):
            later = [t.id for t in desk.broker.transactions(transaction_id)]
            assert later == ids[n + 1 :], f"after {transaction_id} come {later}"
        total = sum((t.amount for t in booked[before:]), Decimal(0))
        assert opening + total == desk.broker.get_account_balance(), "they do not add up to the balance"
        assert [t.units for t in desk.fills()] == [1000, -400, -900, 300], "the fills are not those of the orders"

    def test_B18_financing_is_booked_once_a_trade_date(self, desk: Desk) -> None:
        """At 17:00 New York on what is held then, also where no snapshot was seen at that moment."""
        desk.requires(Capability.FINANCING)
        desk.place(-100_000)
        desk.next()
        desk.next(after=timedelta(hours=33))  # Wednesday's and Thursday's
        desk.broker.sync(desk.last)
        desk.next()
        desk.place(100_000, "close")
        desk.next()
        desk.next(after=timedelta(hours=72))
        dates = [f"{t.trade_date:%a}" for t in desk.broker.transactions(None) if t.kind == "financing"]
        assert dates == ["Wed", "Thu"], f"financing was booked for {dates}"

    def test_B19_unavailable_is_not_rejected_and_not_flat(
        self, desk: Desk, unavailable: Callable[[], AbstractContextManager[Any]] | None
    ) -> None:
        """A read answers the truth or raises BrokerUnavailable; an order that was not accepted can be sent again."""
        if unavailable is None:
            pytest.skip("no fixture makes the venue unavailable")
        desk.place(1000)
        desk.next()
        with unavailable():
            with suppress(BrokerUnavailable):
                assert desk.units() == 1000, "what cannot be read is taken for flat"
            is_unknown = False
            try:
                desk.place(500, "later")
                pytest.fail("an order was accepted by a venue that cannot be reached")
            except OrderOutcomeUnknown:
                is_unknown = True
            except BrokerUnavailable:
                pass
            except BrokerError as error:
                pytest.fail(f"{type(error).__name__}, expected BrokerUnavailable or OrderOutcomeUnknown")
        found = desk.broker.find_orders(["later"])
        assert is_unknown or not found, "BrokerUnavailable was said of an order that was accepted"
        if not found:
            desk.place(500, "later")
        desk.next()
        assert desk.units() == 1500, f"{desk.units()} units are held, expected 1500"

    def test_B20_an_old_snapshot_changes_nothing_and_closing_twice_does_no_harm(self, desk: Desk) -> None:
        """The same snapshot again, or an earlier one, is not the market moving; a caller may close too."""
        first = desk.last
        desk.place(1000)
        account = desk.next(0.01)
        booked = len(desk.broker.transactions(None))
        for snapshot in (desk.last, first):
            again = desk.broker.sync(snapshot)
            assert (again.at, again.nav, again.cash) == (account.at, account.nav, account.cash), "the account moved"
        assert len(desk.broker.transactions(None)) == booked, "something was booked"
        desk.broker.close()
        desk.broker.close()


class Desk:
    """A broker and the market it trades on, for the cases: connected, with a first snapshot seen."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.market = MovingMarket()
        broker.connect()
        broker.get_instruments([EURUSD, USDJPY])
        self.next()

    def next(self, move: float = 0.0, *, after: timedelta = timedelta(minutes=1)) -> Account:
        """The account at the next snapshot."""
        self.last = self.market(move, after=after)
        self.account = self.broker.sync(self.last)
        return self.account

    def requires(self, capability: Capability) -> None:
        """Skip the case where the broker does not claim this."""
        if capability not in self.broker.capabilities:
            pytest.skip(f"the broker does not claim {capability.value}")

    def place(
        self,
        units: int,
        client_id: str = "a",
        *,
        instrument: str = "EURUSD",
        is_reducing: bool = False,
        stop_fraction: float | None = None,
    ) -> OrderResult:
        """Place a market order."""
        return self.broker.place_market_order(
            Order(
                client_id=client_id,
                instrument=instrument,
                units=Decimal(units),
                is_reducing=is_reducing,
                stop_fraction=stop_fraction,
            )
        )

    def limit(self, units: int, price: Decimal, client_id: str = "a") -> OrderResult:
        """Place a limit order."""
        order = Order(client_id=client_id, instrument="EURUSD", units=Decimal(units), type="limit", limit_price=price)
        return self.broker.place_limit_order(order)

    def find(self, client_id: str) -> OrderResult:
        """What the broker knows of an order it accepted."""
        found = self.broker.find_orders([client_id])
        assert client_id in found, f"order {client_id!r} is not found"
        return found[client_id]

    def units(self) -> int:
        """Units of EURUSD held."""
        positions = self.broker.get_positions()
        return int(positions["EURUSD"].units) if "EURUSD" in positions else 0

    def fills(self, client_id: str | None = None) -> list[Transaction]:
        """Fills, of one order or of all."""
        booked = self.broker.transactions(None)
        return [t for t in booked if t.kind == "fill" and client_id in (None, t.client_id)]
