"""A venue that is elsewhere, as the engine needs it: what is held and what it is worth, and orders with an outcome.

Everything is made of the :class:`~fxcarry.protocols.Broker` protocol. The venue is the truth: each look reads the
account anew. An order that was sent and not answered is *unknown*, whatever the error was; only BrokerUnavailable says
that nothing was accepted, and only OrderRejected that it was refused.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs

from fxcarry.costs import Costs
from fxcarry.errors import BrokerError, BrokerUnavailable, ConfigError, MissingDataError, OrderRejected
from fxcarry.model import (
    Account,
    FloatArray,
    Instrument,
    Order,
    OrderResult,
    OrderStatus,
    Pair,
    Position,
    Snapshot,
    Transaction,
    minor_digits,
)
from fxcarry.orders import Lot, adverse_moves, units_by_instrument
from fxcarry.protocols import Broker, Capability
from fxcarry.tape import LinearFinancing, Tape, TapeMaker

_LOG = logging.getLogger("fxcarry")
_OWN = {"stop-": "stop", "margin-close-out-": "margin close-out"}
"""What a fill of the venue's own accord begins its client id with, and what it was."""

RATES_BUDGET = timedelta(hours=26)
"""How old what a venue said it pays may be: a day and some."""

_HOUR = timedelta(hours=1)


class Remote:
    """A broker that is not simulated in this process.

    Args:
        broker: any object that follows the Broker protocol.
        account_currency: what the account is kept in; ConfigError at the first look where it is not.
        costs, financing: what trading and holding are expected to cost, for the strategy's eyes.
        closeout_level: the share of the margin used at which the venue closes everything.
    """

    log = None

    def __init__(
        self,
        broker: Broker,
        *,
        account_currency: str = "USD",
        costs: Costs | None = None,
        financing: LinearFinancing | None = None,
        closeout_level: float = 0.5,
    ) -> None:
        self.broker = broker
        self.name = broker.name
        self.account_currency = account_currency
        self.costs = costs or Costs.none()
        self.financing = financing
        self.closeout_level = closeout_level
        self.is_dry = False  # nothing is sent
        self.events: list[tuple[str, str, int]] = []
        self.capabilities = broker.capabilities
        self._instruments: tuple[Instrument, ...] = ()
        self._publishes = False
        self._account: Account | None = None
        self._tape: Tape | None = None
        self._units: list[float] = []
        self._average: list[float] = []
        self._marked: dict[str, str] = {}  # orders to cancel, and why
        self._asked: datetime | None = None  # the look at which the venue last said what it pays

    @property
    def maker(self) -> TapeMaker:
        """How quotes become values in account currency."""
        return TapeMaker(
            pairs=tuple(i.exposure for i in self._instruments),
            account_currency=self.account_currency,
            costs=self.costs,
            financing=self.financing,
            scale=10 ** minor_digits(self.account_currency),
        )

    def connect(self) -> None:
        """Open the connection."""
        self.broker.connect()

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        """What stands for each pair at the venue; the book is laid out in this order."""
        found = self.broker.get_instruments(pairs)
        self._instruments = tuple(found.values())
        self._publishes = any(i.financing_long is not None or i.financing_short is not None for i in found.values())
        self._units, self._average = [0.0] * len(found), [0.0] * len(found)
        return found

    def read_financing(self, at: datetime) -> None:
        """Read anew what the venue pays, at the first look of an hour, where it publishes anything and books it.

        Where that fails the rates before stay for :data:`RATES_BUDGET`; then nothing counts as published.
        """
        asked = self._asked
        if asked is None:  # the instruments were read just now
            self._asked = at
        if asked is None or not self.publishes or asked.replace(minute=0, second=0, microsecond=0) + _HOUR > at:
            return
        try:
            now = self.broker.get_instruments([i.exposure for i in self._instruments])
        except BrokerError as error:
            _LOG.warning("%s does not say what it pays: %s", self.name, error)
            if at - asked <= RATES_BUDGET:
                return
            now = {}
        else:
            self._asked = at
        self._instruments = tuple(_paid_as(i, now.get(i.name)) for i in self._instruments)

    @property
    def publishes(self) -> bool:
        """Whether the venue books financing and has said at the start, or since, what it pays for any instrument."""
        return Capability.FINANCING in self.capabilities and self._publishes

    def published(self) -> tuple[Instrument, ...]:
        """The instruments with what the venue says it pays; none where it says nothing."""
        return self._instruments if self.publishes else ()

    def sync(self, snapshot: Snapshot) -> Account:
        """Read the account anew, and value it at the snapshot's quotes."""
        account = attrs.evolve(self.broker.sync(snapshot), at=snapshot.at)
        if account.currency != self.account_currency:
            raise ConfigError(
                f"the account {account.id} is kept in {account.currency}, not in {self.account_currency}",
                hint="set account_currency to the account's own",
            )
        places = {instrument.name: j for j, instrument in enumerate(self._instruments)}
        held: dict[str, Position] = {name: p for name, p in account.positions.items() if p.units}
        units, average = [0.0] * len(places), [0.0] * len(places)
        for name, position in held.items():
            if name in places:
                units[places[name]] = float(position.units)
                average[places[name]] = float(position.average_price)
        self._tape = attrs.evolve(self.maker, financing=None).of_snapshot(snapshot, None)
        self._account, self._units, self._average = account, units, average
        return account

    def note(self, fresh: Sequence[Transaction]) -> None:
        """Take from new transactions what the venue did of its own accord: stops it filled, close-outs it made."""
        for one in fresh:
            for prefix, kind in _OWN.items():
                if one.kind == "fill" and one.client_id.startswith(prefix):
                    self.events.append((one.instrument, kind, -1 if one.units > 0 else 1))

    # -- what the engine asks at a look ----------------------------------------------------------------------------

    def account(self) -> Account:
        """The account as of the last look."""
        if self._account is None:
            raise MissingDataError("the venue has not been looked at yet", hint="call sync() first")
        return self._account

    @property
    def nav(self) -> float:
        """NAV as the venue states it; NaN before the first look."""
        return math.nan if self._account is None else float(self._account.nav)

    @property
    def at(self) -> datetime:
        """The instant of the last look."""
        return datetime.min.replace(tzinfo=UTC) if self._account is None else self._account.at

    @property
    def is_open(self) -> bool:
        """Whether any position of the book is open."""
        return any(self._units)

    @property
    def has_waiting(self) -> bool:
        """Whether any order is at the venue and not filled."""
        return bool(self.account().working_orders)

    def waiting(self) -> dict[str, float]:
        """Units not filled yet of the orders at the venue, by instrument."""
        return units_by_instrument(self.account().working_orders)

    def lot(self) -> Lot:
        """What is held and what it is worth at the last quotes."""
        assert self._tape is not None
        worth = self._tape.worth[-1].tolist()
        return Lot(self._units, self._average, worth[: len(self._units)], worth[len(self._units) :])

    def adverse(self) -> list[float]:
        """Each position's move against its entry on the closing side, as a fraction; > 0 loses, NaN where flat."""
        assert self._tape is not None
        return adverse_moves(self._units, self._average, self._tape.closing[-1].tolist())

    # -- orders ----------------------------------------------------------------------------------------------------

    def mark(self, instrument: str, reason: str) -> None:
        """Mark the orders at the venue in one instrument for :meth:`cancel_marked`."""
        for order in self.account().working_orders:
            if order.instrument == instrument:
                self._marked[order.client_id] = reason

    def cancel_marked(self) -> list[OrderResult]:
        """Cancel what is marked; what the venue said. An order may be filled all the same: the next look tells."""
        marked, self._marked = self._marked, {}
        said = []
        for client_id, reason in marked.items():
            try:
                said.append(self.broker.cancel_order(client_id))
            except BrokerError as error:
                _LOG.warning("%s could not be cancelled (%s): %s", client_id, reason, error)
        return said

    def send(self, orders: Sequence[Order], before_each: Callable[[], None]) -> list[OrderResult]:
        """Send orders one by one; an outcome for each, in their order.

        The first that finds the venue out of reach ends it: that one and the rest were not accepted, CANCELLED. An
        order that was refused is REJECTED; any other failure leaves it UNKNOWN. What ``before_each`` raises is raised.
        """
        results: list[OrderResult] = []
        if self.is_dry:
            raise ConfigError("this engine was made to look ahead", hint="make another one to trade with")
        for order in orders:
            before_each()
            try:
                place = self.broker.place_limit_order if order.type == "limit" else self.broker.place_market_order
                results.append(place(order))
            except OrderRejected as error:
                results.append(OrderResult.unfilled(order, OrderStatus.REJECTED, error.message))
            except BrokerUnavailable as error:
                left = orders[len(results) :]
                results += [
                    OrderResult.unfilled(one, OrderStatus.CANCELLED, f"not sent: {error.message}") for one in left
                ]
                break
            except Exception as error:  # sent, and not answered in any way that says what became of it
                results.append(OrderResult.unfilled(order, OrderStatus.UNKNOWN, f"{type(error).__name__}: {error}"))
        return results

    # -- the rest of the protocol, as it is ------------------------------------------------------------------------

    def get_positions(self) -> Mapping[str, Position]:
        """Open positions by instrument, read now."""
        return self.broker.get_positions()

    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """What the venue knows of these orders."""
        return self.broker.find_orders(client_ids)

    def get_orders(self) -> Sequence[OrderResult]:
        """Working orders and stops."""
        return self.broker.get_orders()

    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        """Set or remove the protective stop of the whole position."""
        return self.broker.set_stop(instrument, price)

    def transactions(self, since: str | None) -> Sequence[Transaction]:
        """The venue's own transactions after ``since``."""
        return self.broker.transactions(since)


def at_venue_rates(
    sides: tuple[FloatArray, FloatArray], instruments: Sequence[Instrument]
) -> tuple[FloatArray, FloatArray]:
    """What being long and being short each instrument earns (ticks × instruments), with what the venue publishes in
    place of what was expected at the last tick; what it does not publish stays as expected.
    """
    long, short = sides
    if instruments:
        long, short = long.copy(), short.copy()
        for j, one in enumerate(instruments):
            if one.financing_long is not None:
                long[-1, j] = one.financing_long
            if one.financing_short is not None:
                short[-1, j] = one.financing_short
    return long, short


def _paid_as(instrument: Instrument, now: Instrument | None) -> Instrument:
    """The instrument with the financing of what the venue says now; with none where it says nothing."""
    said = now or Instrument(name=instrument.name, exposure=instrument.exposure)
    return attrs.evolve(
        instrument,
        financing_long=said.financing_long,
        financing_short=said.financing_short,
        financing_days=said.financing_days,
    )
