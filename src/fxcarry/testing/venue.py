"""A venue that keeps an account, fails on command, and can live in another process behind a socket.

:class:`FakeVenue` is the account: it deals at once at the quotes it was last given, pays financing at 17:00 New York,
keeps stops, and does what its script says. :func:`serve` runs one in a process of its own, and :class:`FakeBroker`
is the broker that talks to it over loopback.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Literal, get_args

import attrs

from fxcarry.conventions import trade_date
from fxcarry.costs import Costs
from fxcarry.errors import BrokerError, BrokerUnavailable, ConfigError, OrderOutcomeUnknown, OrderRejected
from fxcarry.financing import BenchmarkFinancing
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
    TransactionKind,
)
from fxcarry.protocols import Capability
from fxcarry.simulation import SimBroker

Fault = Literal[
    "lost", "unanswered", "failed", "unavailable", "busy", "rejected", "partial", "rests", "stale", "empty",
    "fills-late", "twice", "disconnects",
]  # fmt: skip
"""What goes wrong with a call. ``lost``: it never arrives and nobody answers. ``unanswered``: it is done and nobody
answers. ``failed``: it is done and the answer is a server's error. ``unavailable``: refused before anything is
accepted. ``busy``: likewise, because there were too many calls (429). ``rejected``: the order is refused for good.
``partial``: half of the order fills, the rest waits without end. ``rests``: the order waits without end. ``stale``, of
``sync``: the venue's own quotes stay where they are, and until the next sync every order is accepted and cancelled.
``empty``: the answer has no position. ``fills-late``: the cancelled order is filled afterwards. ``twice``: every entry
of the answer is in it twice. ``disconnects``: it is done and answered, and then the connection is cut.
"""

_ORDERS = ("place_market_order", "place_limit_order")
_MOMENT = timedelta(microseconds=1)


@attrs.define
class _Resting:
    """An order that waits: what is left of it, and what of it was dealt under an id of its own."""

    order: Order
    left: Decimal
    dealt: OrderResult | None


class FakeVenue:
    """An account in USD.

    ``takes_an_id_once`` says whether an order whose client id is known already is the same order; else it is another
    one, as at many venues. ``accepted`` counts the orders taken by client id. :meth:`post` books what the venue books
    of its own accord.
    """

    def __init__(self, *, cash: int = 1_000_000, takes_an_id_once: bool = True) -> None:
        self.takes_an_id_once = takes_an_id_once
        self.accepted: Counter[str] = Counter()
        self._account = SimBroker(cash=cash, costs=Costs(), financing=BenchmarkFinancing(0.01), account_id="fake")
        self._script: list[tuple[str, Fault, int]] = []
        self._resting: dict[str, _Resting] = {}
        self._late: list[Order] = []
        self._posted: list[tuple[int, Transaction]] = []  # each after so many transactions of the account
        self._snapshot: Snapshot | None = None
        self._is_stale = False

    def fail(self, method: str, fault: Fault, times: int = 1) -> None:
        """The next ``times`` calls of ``method`` ("*" = any) go wrong in this way."""
        if fault not in get_args(Fault):
            raise ConfigError(f"{fault!r} is no fault", hint=f"one of {', '.join(get_args(Fault))}")
        self._script.append((method, fault, times))

    def next_fault(self, method: str) -> Fault | None:
        """What goes wrong with this call; it is crossed off the script."""
        for i, (name, fault, times) in enumerate(self._script):
            if name in (method, "*"):
                self._script[i] = (name, fault, times - 1)
                if times == 1:
                    del self._script[i]
                return fault
        return None

    def post(self, kind: TransactionKind, amount: Decimal, instrument: str = "", days: int = 0) -> Transaction:
        """Book ``amount`` (USD, > 0 received) now: a correction of financing, a fee, a transfer."""
        at = self._account.at
        made = Transaction(
            id=f"posted-{len(self._posted) + 1}",
            at=at,
            kind=kind,
            amount=amount,
            currency=self._account.account_currency,
            instrument=instrument,
            trade_date=trade_date(at) if kind == "financing" else None,
            days=days,
        )
        self._posted.append((len(self._account.transactions(None)), made))
        return made

    def restart(self) -> None:
        """Start anew: the account is kept, the script is gone, and there is no quote before the next sync."""
        self._script.clear()
        self._snapshot = None
        self._is_stale = False

    # -- the calls of a broker -------------------------------------------------------------------------------------

    def sync(self, snapshot: Snapshot) -> Account:
        """Move the market on to a snapshot, and state the account."""
        self._snapshot = snapshot
        self._is_stale = False
        self._account.sync(snapshot)
        for order in self._late:
            self._deal(order)
        self._late = []
        return self.account()

    def account(self) -> Account:
        """The account as it stands."""
        account = self._account.account()
        resting = [attrs.evolve(r.order, units=r.left) for r in self._resting.values()]
        facts = {f.name: getattr(account, f.name) for f in attrs.fields(Account)}
        facts |= {"working_orders": [*resting, *account.working_orders], "positions": self.get_positions()}
        if self._posted:
            nav = account.nav + self._extra
            weights = {c: w * float(account.nav / nav) for c, w in account.current_weights.items()}
            balances = {account.currency: account.cash + self._extra}
            facts |= {"nav": nav, "balances": balances, "current_weights": weights}
        return Account(**facts)

    @property
    def _extra(self) -> Decimal:
        return sum((posted.amount for _, posted in self._posted), Decimal(0))

    def get_account_balance(self) -> Decimal:
        """Cash."""
        return self._account.get_account_balance() + self._extra

    def get_positions(self) -> dict[str, Position]:
        """Open positions."""
        return dict(self._account.get_positions())

    def get_orders(self) -> list[OrderResult]:
        """Orders that wait, and stops."""
        return [self._result(i) for i in self._resting] + list(self._account.get_orders())

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        """One a pair."""
        return self._account.get_instruments(pairs)

    def place_market_order(self, order: Order) -> OrderResult:
        """Deal at the quotes at hand."""
        return self._take(order, None)

    def place_limit_order(self, order: Order) -> OrderResult:
        """Deal at the limit or better, now or later."""
        return self._take(order, None)

    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        """Set or remove the stop of a position."""
        return self._account.set_stop(instrument, price)

    def cancel_order(self, client_id: str) -> OrderResult:
        """Cancel an order that waits."""
        return self._cancel(client_id, None)

    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """What is known of these orders."""
        known = dict(self._account.find_orders(client_ids))
        return {**known, **{i: self._result(i) for i in client_ids if i in self._resting}}

    def transactions(self, since: str | None) -> list[Transaction]:
        """Everything booked after ``since``."""
        if not self._posted:
            return list(self._account.transactions(since))
        booked = list(self._account.transactions(None))
        for place, posted in reversed(self._posted):
            booked.insert(place, posted)
        ids = [one.id for one in booked]
        return booked[ids.index(since) + 1 :] if since in ids else booked

    def close_all_positions(self) -> list[OrderResult]:
        """Cancel what waits and close everything, now."""
        for client_id in list(self._resting):
            self._cancel(client_id, None)
        closing = [r.client_id for r in self._account.close_all_positions()]
        self._tick()
        return list(self._account.find_orders(closing).values())

    # -- what happens inside ---------------------------------------------------------------------------------------

    def answer(self, method: str, arguments: Sequence[Any], fault: Fault | None) -> Any:
        """The result of a call on which ``fault`` has its effect; the faults of the wire are not for here."""
        if fault == "unavailable":
            raise BrokerUnavailable("503: the venue is down for maintenance")
        if fault == "busy":
            raise BrokerUnavailable("429: too many requests; Retry-After: 1")
        if fault == "rejected":
            raise OrderRejected("insufficient margin")
        if fault == "stale":
            self._is_stale = True
            return self.account()
        if method in _ORDERS:
            return self._take(arguments[0], fault)
        if method == "cancel_order":
            return self._cancel(arguments[0], fault)
        result = getattr(self, method)(*arguments)
        if fault == "twice":
            return [one for one in result for _ in range(2)]
        if fault == "empty":
            return attrs.evolve(result, positions={}) if isinstance(result, Account) else {}
        return result

    def _take(self, order: Order, fault: Fault | None) -> OrderResult:
        if self.accepted[order.client_id] and self.takes_an_id_once:
            return self.find_orders([order.client_id])[order.client_id]
        self.accepted[order.client_id] += 1
        if self._is_stale:
            result = OrderResult.unfilled(order, OrderStatus.CANCELLED, f"no price since {self._account.at:%H:%M:%S}")
            self._account.remember(order, result)
            return result
        if fault == "rests":
            self._resting[order.client_id] = _Resting(order, order.units, None)
        elif fault == "partial":
            half = Decimal(int(order.units) // 2)
            dealt = self._deal(attrs.evolve(order, units=half))
            self._resting[order.client_id] = _Resting(order, order.units - half, dealt)
        else:
            number = self.accepted[order.client_id]
            return self._deal(order if number == 1 else attrs.evolve(order, client_id=f"{order.client_id}#{number}"))
        return self._result(order.client_id)

    def _cancel(self, client_id: str, fault: Fault | None) -> OrderResult:
        if client_id not in self._resting:
            return self._account.cancel_order(client_id)
        resting = self._resting.pop(client_id)
        if fault == "fills-late":
            again = client_id if resting.dealt is None else f"{client_id}/late"
            self._late.append(attrs.evolve(resting.order, units=resting.left, client_id=again))
        elif resting.dealt is None:  # keep what became of it
            self._account.remember(resting.order, self._ended(resting))
        return self._ended(resting)

    def _ended(self, resting: _Resting) -> OrderResult:
        blank = OrderResult.unfilled(resting.order, OrderStatus.CANCELLED, "")
        return attrs.evolve(resting.dealt or blank, status=OrderStatus.CANCELLED, reason="cancelled")

    def _result(self, client_id: str) -> OrderResult:
        resting = self._resting[client_id]
        if resting.dealt is not None:
            return attrs.evolve(resting.dealt, status=OrderStatus.PARTIAL)
        return attrs.evolve(self._ended(resting), status=OrderStatus.WORKING, reason="")

    def _deal(self, order: Order) -> OrderResult:
        """Fill an order at the quotes at hand."""
        self._account.place_market_order(order)
        self._tick()
        return self._account.find_orders([order.client_id])[order.client_id]

    def _tick(self) -> None:
        """The same quotes once more, a moment later."""
        if self._snapshot is None:
            raise OrderRejected("there is no quote yet")
        at = self._account.at + _MOMENT
        quotes = {p: Quote(q.bid, q.ask, at) for p, q in self._snapshot.quotes.items()}
        self._account.sync(Snapshot(at, quotes, self._snapshot.rates))


def _serve(venue: FakeVenue, listener: Listener) -> None:
    """Answer calls until somebody says stop; a caller that goes away is no matter."""
    while True:
        with listener.accept() as caller:
            while True:
                try:
                    method, *arguments = caller.recv()
                except (EOFError, OSError):
                    break
                if method == "stop":
                    return
                if method == "ask":  # about the venue itself, which never fails
                    caller.send(getattr(venue, arguments[0]))
                    continue
                if method in ("fail", "post", "restart"):  # a script, not a call of a broker
                    caller.send(getattr(venue, method)(*arguments))
                    if method == "restart":
                        break
                    continue
                fault = venue.next_fault(method)
                try:
                    answer: Any = None if fault == "lost" else venue.answer(method, arguments, fault)
                except BrokerError as error:
                    answer = error
                if fault in ("lost", "unanswered"):
                    break  # the connection is gone, and nothing was said
                try:
                    caller.send(RuntimeError("500: internal server error") if fault == "failed" else answer)
                except OSError:
                    break
                if fault == "disconnects":
                    break


@contextmanager
def serve(venue: FakeVenue) -> Iterator[Any]:
    """Run ``venue`` in a process of its own; the address is for :class:`FakeBroker`."""
    context = multiprocessing.get_context("fork")
    listener = Listener(("127.0.0.1", 0), backlog=8)
    process = context.Process(target=_serve, args=(venue, listener), daemon=True)
    process.start()
    address = listener.address
    listener.close()
    try:
        yield address
    finally:
        with FakeBroker(address).line() as line:
            line.send(["stop"])
        process.join(timeout=10)
        process.kill()


class FakeBroker:
    """The broker that talks to a venue in another process."""

    name = "fake"

    def __init__(self, address: Any, *, takes_an_id_once: bool = True) -> None:
        self.address = address
        own = {Capability.UNIQUE_CLIENT_IDS} if takes_an_id_once else set()
        self.capabilities = frozenset(
            own | {Capability.NATIVE_STOPS, Capability.PARTIAL_FILLS, Capability.SPOT_FX, Capability.FINANCING}
        )
        self._line: Connection | None = None

    def line(self) -> Connection:
        """The connection, opened if need be."""
        if self._line is None:
            try:
                self._line = Client(self.address)
            except OSError as error:
                raise BrokerUnavailable(f"the venue cannot be reached: {error}") from error
        return self._line

    def _call(self, method: str, *arguments: Any) -> Any:
        line = self.line()
        try:
            line.send([method, *arguments])
            answer = line.recv()
        except (EOFError, OSError) as error:
            self.close()
            if method in (*_ORDERS, "cancel_order", "set_stop", "close_all_positions"):
                raise OrderOutcomeUnknown(f"{method} was not answered", hint="ask with find_orders") from error
            raise BrokerUnavailable(f"{method} was not answered") from error
        if isinstance(answer, BrokerError):
            raise answer
        if isinstance(answer, Exception):
            kind = OrderOutcomeUnknown if method in _ORDERS else BrokerUnavailable
            raise kind(str(answer))
        return answer

    def fail(self, method: str, fault: Fault, times: int = 1) -> None:
        """Let the next calls of ``method`` go wrong."""
        self._call("fail", method, fault, times)

    def post(self, kind: TransactionKind, amount: Decimal, instrument: str = "", days: int = 0) -> Transaction:
        """Let the venue book something of its own accord: see :meth:`FakeVenue.post`."""
        made: Transaction = self._call("post", kind, amount, instrument, days)
        return made

    def restart(self) -> None:
        """Let the venue start anew; this connection is gone with it."""
        self._call("restart")

    def accepted(self) -> Counter[str]:
        """How many orders the venue took, by client id."""
        found: Counter[str] = self._call("ask", "accepted")
        return found

    # -- the Broker protocol ---------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open the connection."""
        self.line()

    def close(self) -> None:
        """Release the connection; the next call opens another."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def sync(self, snapshot: Snapshot) -> Account:
        """Tell the venue where the market is, and read the account."""
        account: Account = self._call("sync", snapshot)
        return account

    def get_account_balance(self) -> Decimal:
        """Cash."""
        balance: Decimal = self._call("get_account_balance")
        return balance

    def get_positions(self) -> Mapping[str, Position]:
        """Open positions."""
        found: Mapping[str, Position] = self._call("get_positions")
        return found

    def get_orders(self) -> Sequence[OrderResult]:
        """Orders that wait, and stops."""
        found: Sequence[OrderResult] = self._call("get_orders")
        return found

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        """One a pair."""
        found: Mapping[str, Instrument] = self._call("get_instruments", tuple(pairs))
        return found

    def place_market_order(self, order: Order) -> OrderResult:
        """Deal now."""
        result: OrderResult = self._call("place_market_order", order)
        return result

    def place_limit_order(self, order: Order) -> OrderResult:
        """Deal at the limit or better."""
        result: OrderResult = self._call("place_limit_order", order)
        return result

    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        """Set or remove the stop of a position."""
        result: OrderResult = self._call("set_stop", instrument, price)
        return result

    def cancel_order(self, client_id: str) -> OrderResult:
        """Cancel an order that waits."""
        result: OrderResult = self._call("cancel_order", client_id)
        return result

    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """What the venue knows of these orders."""
        found: Mapping[str, OrderResult] = self._call("find_orders", tuple(client_ids))
        return found

    def transactions(self, since: str | None) -> Sequence[Transaction]:
        """Everything booked after ``since``."""
        found: Sequence[Transaction] = self._call("transactions", since)
        return found

    def close_all_positions(self) -> Sequence[OrderResult]:
        """Cancel what waits and close everything."""
        found: Sequence[OrderResult] = self._call("close_all_positions")
        return found
