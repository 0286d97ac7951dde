"""The only simulated venue: fills at the next quote, margin, financing, native stops, close-out.

The market is a :class:`Tape`, arrays of ticks × instruments. Between fills the position is constant, so a whole block
of ticks is evaluated at once; a live snapshot is a tape of one tick, and both give the same numbers.

Cash is kept in whole minor units (cents), every posting rounded when it is posted; positions and prices are float64,
exact for whole units. Orders fill at the next fresh quote after they were placed, never at the one they were decided
on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import le
from typing import Any

import attrs
import numpy as np

from fxcarry.blotter import Blotter, Waiting
from fxcarry.clock import SteppedClock
from fxcarry.conventions import is_open
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, MissingDataError, OrderRejected
from fxcarry.frictions import Frictions
from fxcarry.ledger import TransactionLog
from fxcarry.lots import MATCHINGS, Matching, OpenLots
from fxcarry.market import MarketHistory
from fxcarry.model import (
    Account,
    FloatArray,
    Instrument,
    Order,
    OrderResult,
    OrderStatus,
    Pair,
    Position,
    Positions,
    Quote,
    Rate,
    Snapshot,
    Transaction,
    minor_digits,
    to_decimal,
)
from fxcarry.orders import Lot, Plan, adverse_moves, net_exposures, units_by_instrument
from fxcarry.plain import from_plain, to_plain
from fxcarry.protocols import Capability
from fxcarry.tape import Block, LinearFinancing, Tape, TapeMaker

Screen = Callable[[Block], int | None]


_Trade = tuple[int, float, bool, float | None, Sequence[Order], int]
"""What fills: the instrument, signed units, whether it reduces, the stop to place, and the order by its place in a
sequence.
"""


class _AccountView(Account):
    """The simulated account at one tick. What is asked for is computed when it is asked for: most runs never do."""

    @classmethod
    def of(cls, broker: SimBroker) -> _AccountView:
        """The account as it is now."""
        view = cls.__new__(cls)
        waiting = broker._blotter.waiting() if broker._blotter.pending else ()
        view.__dict__.update(  # frozen: attributes are set here and in __getattr__ only
            id=broker.account_id,
            at=broker.at,
            currency=broker.account_currency,
            _then=(broker, broker._tape, max(broker._tick, 0), broker._cash, broker._nav, broker._held, waiting),
        )
        return view

    def __getattr__(self, name: str) -> Any:
        if "_then" not in self.__dict__ or name not in _LAZY:
            raise AttributeError(name)
        broker, tape, tick, cash, nav, (units, average), waiting = self.__dict__.pop("_then")
        facts = self.__dict__
        facts["nav"] = to_decimal(nav)
        facts["balances"] = {self.currency: to_decimal(cash) / broker._scale}
        facts["positions"] = Positions(broker.names, np.array(units), np.array(average))
        facts["working_orders"] = waiting
        facts["current_weights"], facts["margin_used"] = {}, Decimal(0)
        if tape is not None and any(units):
            held = Lot(units, average, *_halves(tape.worth[tick]))
            facts.update(broker._facts(held, nav))
        return facts[name]


def _sides(units: list[float]) -> list[float]:
    """What is held long and what short, side by side."""
    return [u if u > 0 else 0.0 for u in units] + [-u if u < 0 else 0.0 for u in units]


def _halves(row: FloatArray) -> tuple[list[float], list[float]]:
    both, middle = row.tolist(), len(row) // 2
    return both[:middle], both[middle:]


def _picked(values: Sequence[float], places: Sequence[int]) -> FloatArray:
    """The values at these places, 0 where there is none (−1)."""
    return np.array([values[place] if place >= 0 else 0.0 for place in places], float)


def _plain_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "at": snapshot.at.isoformat(),
        "quotes": {str(pair): to_plain(quote) for pair, quote in snapshot.quotes.items()},
        "rates": {currency: to_plain(rate) for currency, rate in snapshot.rates.items()},
    }


def _snapshot_of(values: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        datetime.fromisoformat(values["at"]),
        {Pair.parse(name): from_plain(Quote, quote) for name, quote in values["quotes"].items()},
        {currency: from_plain(Rate, rate) for currency, rate in values["rates"].items()},
    )


def _margin_rate(name: str, rate: float) -> float:
    if not 0 < rate <= 1:
        raise ConfigError(f"{name} is {rate}", hint="margin / notional > 0 and <= 1, such as 1/30")
    return float(rate)


def _margin_rates(rates: Mapping[str, float]) -> dict[Pair, float]:
    found: dict[Pair, float] = {}
    for name, rate in rates.items():
        pair = Pair.parse(name)
        if pair in found or pair.inverse in found:
            raise ConfigError(f"margin_rates names {pair} twice", hint="a pair and its inverse are one")
        found[pair] = _margin_rate(f"margin_rates.{name}", rate)
    return found


_STATE_VERSION = 2
_NO_LOTS = 1  # the version before: a state without lots
_LAZY = frozenset({"nav", "balances", "positions", "working_orders", "current_weights", "margin_used"})


class SimBroker:
    """A simulated margin account in one currency, netting by instrument.

    Args:
        cash: opening balance in account currency.
        account_currency: the currency money is kept in.
        costs: what trading costs where quotes carry no spread of their own; ``None`` = nothing.
        financing: pair rates, benchmark ± mark-up or interest on currency balances; ``None`` = no
            financing (and no rates needed).
        margin_rate: required margin / notional of every instrument that ``margin_rates`` does not name.
        margin_rates: the same by pair, in any spelling and either way round: ``{"USD/JPY": 0.05}``. Pairs that are not
            in the book change nothing.
        closeout_level: everything is closed when NAV <= this share of the margin used.
        account_id: the account's name in postings and client ids.
        frictions: latency, partial fills, refusals, market hours, conversion fee, wider spreads; default: none of it.
        lots: what a partial close realises its profit against: ``average``, the average entry of the position, or
            ``fifo``, its oldest lots. NAV is the same but for rounding, and for the rate at which profit in another
            currency is converted. With ``fifo`` the average entry of what remains moves at a partial close, and a stop
            placed as a fraction follows it.

    A position is one net amount a pair: an order against it reduces it first, and what is left of it opens the other
    side. So no pair is ever held long and short at once.
    """

    name = "simulated"
    capabilities = frozenset(
        {
            Capability.UNIQUE_CLIENT_IDS,
            Capability.NATIVE_STOPS,
            Capability.PARTIAL_FILLS,
            Capability.SPOT_FX,
            Capability.FINANCING,
        }
    )

    def __init__(
        self,
        *,
        cash: float | Decimal = 1_000_000,
        account_currency: str = "USD",
        costs: Costs | None = None,
        financing: LinearFinancing | None = None,
        margin_rate: float = 1 / 30,
        closeout_level: float = 0.5,
        account_id: str = "simulated",
        frictions: Frictions | None = None,
        margin_rates: Mapping[str, float] | None = None,
        lots: Matching = "average",
    ) -> None:
        opening = to_decimal(cash)
        if not (opening.is_finite() and opening > 0):
            raise ConfigError(f"cash is {cash}", hint="a simulated account opens with cash > 0")
        if lots not in MATCHINGS:
            raise ConfigError(f"lots is {lots!r}", hint=f"one of {', '.join(MATCHINGS)}")
        self.account_currency = account_currency
        self.account_id = account_id
        self.costs = costs or Costs.none()
        self.financing = financing
        self.margin_rate = _margin_rate("margin_rate", margin_rate)
        self.margin_rates = _margin_rates(margin_rates or {})
        self.lots = lots
        self.closeout_level = closeout_level
        self.frictions = frictions or Frictions()
        self._scale = 10 ** minor_digits(account_currency)
        self._cash = round(opening * self._scale)
        self._pairs: tuple[Pair, ...] = ()
        self.names: tuple[str, ...] = ()
        self._snapshot: Snapshot | None = None
        self.log = TransactionLog(account_currency, self._cash / self._scale, lots)
        self._allocate()

    def _allocate(self) -> None:
        count = len(self.names)
        self._units = [0.0] * count
        self._average = [0.0] * count
        self._open_lots: list[OpenLots[float]] = [OpenLots() for _ in self.names] if self.lots == "fifo" else []
        self._margin_rates = [self.margin_rate_of(pair) for pair in self._pairs]
        self._largest_margin_rate = max(self._margin_rates, default=0.0)
        self._stop_fraction = [math.nan] * count
        self._stop_level = [-math.inf] * (2 * count)
        self._stopped: set[int] = set()  # the instruments with a stop
        self._commission = self.costs.commission_bps * 1e-4
        fee, own = self.frictions.conversion_fee, self.account_currency
        self._conversion_fee = [fee * (pair.quote != own) for pair in self._pairs]
        self._column = {name: j for j, name in enumerate(self.names)}
        self._ones: FloatArray = np.ones(2 * count)
        self._refresh()
        self._blotter = Blotter(self.log, in_parts=self.frictions.largest_fill is not None)
        self._serial = 0
        self.events: list[tuple[str, str, int]] = []
        self._nav = self._cash / self._scale
        self._tape: Tape | None = None
        self._tick = -1

    # -- the market ------------------------------------------------------------------------------------------------

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        """An instrument per pair; the book is opened for these pairs the first time it is asked."""
        wanted = tuple(pairs)
        if not self._pairs:
            self._open(wanted)
        missing = [str(p) for p in wanted if p not in self._pairs]
        if missing:
            raise ConfigError(f"{', '.join(missing)} cannot be added to an open simulated book")
        return {
            str(p): Instrument(name=str(p), exposure=p, margin_rate=to_decimal(self.margin_rate_of(p))) for p in wanted
        }

    def margin_rate_of(self, pair: Pair) -> float:
        """Required margin / notional of a pair."""
        return self.margin_rates.get(pair, self.margin_rates.get(pair.inverse, self.margin_rate))

    def _open(self, pairs: tuple[Pair, ...]) -> None:
        self._pairs = pairs
        self.names = tuple(map(str, pairs))
        self.log.open(self.names, pairs)
        self._allocate()

    @property
    def maker(self) -> TapeMaker:
        """What this broker's tapes are made with."""
        return TapeMaker(
            pairs=self._pairs,
            account_currency=self.account_currency,
            costs=self.costs,
            financing=self.financing,
            scale=self._scale,
            frictions=self.frictions,
        )

    def prepare(self, history: MarketHistory, clock: SteppedClock) -> Tape:
        """Load stored history (in account currency, one column a currency) as the tape to be advanced over."""
        return self._load(self.maker.of_history(history, clock))

    def sync(self, snapshot: Snapshot) -> Account:
        """Advance to a live snapshot: book every 17:00 roll since the last one, trigger stops, fill what waits."""
        if self._snapshot is not None and snapshot.at <= self._snapshot.at:
            return self.account()
        closing = None if self._tape is None else self._tape.closing[-1:]
        tape = self._load(self.maker.of_snapshot(snapshot, self._snapshot, closing))
        self._snapshot = snapshot
        while self.advance(len(tape.at)) < len(tape.at):  # it pauses after an event of its own
            pass
        return self.account()

    def _load(self, tape: Tape) -> Tape:
        self._tape, self._tick = tape, -1
        self.log.load(tape)
        return tape

    # -- advancing -------------------------------------------------------------------------------------------------

    def advance(self, stop: int, screen: Screen | None = None) -> int:
        """Process ticks up to (not including) ``stop``; return the next tick.

        ``screen`` is shown each block of constant positions and returns the offset of the first tick at which a rule
        might bite; the broker stops after that tick, and after one with an event of its own (a stop, a close-out).
        """
        tape = self._loaded()
        tick = self._tick + 1
        before, settled = self._held, self._cash
        blotter = self._blotter
        while tick < stop:
            if tape.any_fresh[tick]:
                if self._stopped:
                    self._trigger_stops(tick)
                if blotter.pending:
                    self._fill_pending(tick)
            last = stop if not (blotter.pending or self.events) else min(stop, tick + 1)
            cash, nav = self._path(tick, last, before, settled)
            block = Block(tape, tick, nav, *self._held)
            count = len(nav)
            if self._is_open:
                level = self.closeout_level
                if block.gross_bound * self._largest_margin_rate * level >= block.nav_min:
                    below = nav <= block.weighted(self._margin_rates) * level
                    if below[0]:
                        self._close_out(tick)
                        continue
                    if below.any():
                        count = int(below.argmax())
                if self._stopped:
                    count = self._stop_at(block, count)
                if count < len(nav):
                    block = Block(tape, tick, nav[:count], *self._held)
            breach = None if screen is None else screen(block)
            if breach is not None:
                count = breach + 1
            self._cash = int(cash[count - 1])
            self._nav = float(nav[count - 1])
            self.log.book_rolls(count, *self._held)
            tick += count
            self._tick = tick - 1
            before, settled = self._held, self._cash
            if breach is not None or self.events:
                break
        return self._tick + 1

    def _path(
        self, first: int, last: int, before: tuple[list[float], list[float]], settled: int
    ) -> tuple[FloatArray, FloatArray]:
        """Cash in minor units and NAV in account currency, positions constant; financing is written to the log.

        ``before`` and ``settled`` are what was held and the cash before the fills of the first tick.
        """
        tape = self._loaded()
        where = slice(first, last)
        exact, nav = self.log.room(last - first)
        is_before = before is not self._held and tape.rolls_first[first]
        if tape.balances is None:
            np.multiply(tape.rolls[where], self._sides, out=exact)
            if is_before:
                exact[0] = tape.rolls[first] * np.array(_sides(before[0]))
            booked = np.rint(exact).dot(self._ones)  # dot: the quickest call for arrays this small
        else:
            columns, done = (exact, *self.log.balance_room(last - first)), []
            if is_before:
                done = tape.balances.book(first, first + 1, before, settled, *(c[:1] for c in columns))
            rest, after = len(done), [c[len(done) :] for c in columns]
            done += tape.balances.book(first + rest, last, self._held, self._cash + sum(done), *after)
            booked = np.array(done, float)
        booked[0] += self._cash
        cash: FloatArray = np.add.accumulate(booked)
        np.divide(cash, self._scale, out=nav)
        nav += tape.worth[where].dot(self._owned_and_owed)
        return cash, nav

    def adverse(self) -> list[float]:
        """Each position's move against its entry on the closing side, as a fraction; > 0 loses, NaN where flat."""
        return adverse_moves(self._units, self._average, self._loaded().closing[self._tick].tolist())

    def lot(self) -> Lot:
        """What is held and what it is worth at the last tick processed."""
        return Lot(self._units, self._average, *_halves(self._loaded().worth[self._tick]))

    def _stop_at(self, block: Block, count: int) -> int:
        """How many ticks of the block pass before a fresh quote is through a stop."""
        at = 0
        while True:
            hit = block.first_through(self._stop_level, at + 1)
            if hit is None or hit >= count:
                return count
            if self._through_stop(block.first + hit):
                return hit
            at = hit

    def _through_stop(self, tick: int) -> list[int]:
        """The instruments with a fresh quote at or past their stop."""
        tape, count = self._loaded(), len(self.names)
        past = [
            i for i, (price, level) in enumerate(zip(tape.closing[tick].tolist(), self._stop_level)) if price <= level
        ]
        return [i % count for i in past if tape.is_fresh[tick, i % count]]

    def _trigger_stops(self, tick: int) -> None:
        if not any(map(le, self._loaded().lowest_closing(tick, tick), self._stop_level)):
            return
        hit = self._through_stop(tick)
        for j in hit:
            self._close(tick, j, "stop")
            self.drop("position stopped out", instrument=self.names[j])
        if hit:
            self._refresh()

    def _close_out(self, tick: int) -> None:
        self.drop("margin close-out")
        for j, units in enumerate(self._units):
            if units:
                self._close(tick, j, "margin close-out")
        self._refresh()

    def _close(self, tick: int, j: int, reason: str) -> None:
        """Close a position of the venue's own accord; the event names the side that was held."""
        units = -self._units[j]
        self.events.append((self.names[j], reason, -1 if units > 0 else 1))
        order = Order(
            client_id=f"{reason.replace(' ', '-')}-{self.names[j]}-{self._next_serial()}",
            instrument=self.names[j],
            units=to_decimal(units),
            is_reducing=True,
            reason=reason,
        )
        self._blotter.accept((order,))
        self._fill(tick, [(j, units, True, None, (order,), 0)])

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def waiting(self) -> dict[str, float]:
        """Units waiting for a quote, by instrument."""
        return units_by_instrument(self._blotter.waiting())

    def drop(self, reason: str, *, instrument: str | None = None, opening_only: bool = False) -> int:
        """Cancel waiting orders (of one instrument, or only those that open) and say how many."""
        return self._blotter.cancel(
            lambda order: instrument in (None, order.instrument) and not (opening_only and order.is_reducing), reason
        )

    def _fill_pending(self, tick: int) -> None:
        waiting: list[Waiting] = []
        trades: list[_Trade] = []
        tape = self._loaded()
        fresh = tape.is_fresh[tick].tolist()
        for orders, places, earliest in self._blotter.pending:
            if earliest is not None and tape.at[tick] < earliest:
                waiting.append((orders, places, earliest))
                continue
            still = []
            if isinstance(orders, Plan):
                legs, stop = orders.legs, orders.stop_fraction
                for place in places:
                    j, _, units, _, is_reducing = legs[place]
                    if fresh[j]:
                        trades.append((j, units, is_reducing, None if is_reducing else stop, orders, place))
                    else:
                        still.append(place)
            else:
                for place in places:
                    order = orders[place]
                    j = self._column[order.instrument]
                    if fresh[j] and self._is_marketable(tick, j, order):
                        trades.append((j, float(order.units), order.is_reducing, order.stop_fraction, orders, place))
                    else:
                        still.append(place)
            if still:
                waiting.append((orders, still, earliest))
        self._blotter.pending = waiting
        self._fill(tick, trades, self.frictions.largest_fill)
        self._refresh()

    def _is_marketable(self, tick: int, j: int, order: Order) -> bool:
        if order.limit_price is None:
            return True
        closing, limit = self._loaded().closing[tick], float(order.limit_price)
        return bool(-closing[len(self.names) + j] <= limit) if order.units > 0 else bool(closing[j] >= limit)

    def _fill(self, tick: int, trades: Sequence[_Trade], largest: float | None = None) -> None:
        """Fill at the closing side of one tick. ``_refresh`` follows the last fill of a tick.

        Of each trade ``largest`` (account currency, None = all) fills, in whole units and at least one; the rest waits.
        """
        tape, log, rate, scale = self._loaded(), self.log, self._commission, self._scale
        closing, mids, worth = tape.closing[tick].tolist(), tape.mid[tick].tolist(), tape.worth[tick].tolist()
        all_units, entries, fees, count = self._units, self._average, self._conversion_fee, len(mids)
        all_lots = self._open_lots
        for j, traded, is_reducing, stop_fraction, orders, place in trades:
            held, entry = all_units[j], entries[j]
            if is_reducing:  # never more than what is held, never the other way
                if traded * held >= 0:
                    self._blotter.resolve(orders[place], OrderStatus.CANCELLED, "nothing to reduce")
                    continue
                if abs(traded) > abs(held):
                    traded = -held
            if largest is not None and abs(traded) > (most := max(1.0, math.floor(largest / worth[j]))):
                rest = traded - math.copysign(most, traded)
                self._blotter.wait((attrs.evolve(orders[place], units=to_decimal(rest)),))
                traded -= rest
            price, conversion = -closing[count + j] if traded > 0 else closing[j], worth[count + j]
            now, average, realized = held + traded, entry, 0.0
            if all_lots:
                lots = all_lots[j]
                realized = lots.trade(traded, price)
                if not (now and lots):  # flat, or nearly: fractions of a unit add up to dust
                    all_lots[j] = lots = OpenLots([(now, price)] if now else ())
                average = lots.average if now else 0.0
            elif traded * held < 0:
                closed = -traded if abs(traded) < abs(held) else held
                realized = (price - entry) * closed
                if now * held <= 0:
                    average = price if now else 0.0
            else:
                average = (entry * held + price * traded) / now
            posted = round(realized * conversion * scale)
            commission = -rate * abs(traded) * price * conversion
            if fees[j]:
                commission -= fees[j] * abs(realized * conversion)
            charged = round(commission * scale)
            self._cash += posted + charged
            all_units[j], entries[j] = now, average
            if stop_fraction is not None and now:
                self._place_stop(j, average * (1 - stop_fraction if now > 0 else 1 + stop_fraction), stop_fraction)
            elif j in self._stopped:
                kept = self._stop_fraction[j]
                if now * held <= 0:  # flat, or new on this side: the stop was for another position
                    self._place_stop(j, math.nan, math.nan)
                elif average != entry and kept == kept:  # the stop follows the average entry
                    self._place_stop(j, average * (1 - kept if now > 0 else 1 + kept), kept)
            log.book_fill(
                (
                    log.ticks, j, traded, price, mids[j], conversion, realized, posted, commission, charged,
                    tape.at[tick], orders, place,
                )
            )  # fmt: skip

    def _place_stop(self, j: int, price: float, fraction: float) -> None:
        """Keep a stop at ``price`` (NaN = none) behind the position, as a limit on ``Tape.closing``."""
        self._stop_fraction[j] = fraction
        units, count = self._units[j], len(self.names)
        self._stop_level[j] = price * (1 + 1e-12) if units > 0 and price == price else -math.inf
        self._stop_level[count + j] = price * (1e-12 - 1) if units < 0 and price == price else -math.inf
        if units and price == price:
            self._stopped.add(j)
        else:
            self._stopped.discard(j)

    def _refresh(self) -> None:
        """Bring the arrays and what else follows from positions and stops up to date after fills."""
        units, average, count = self._units.copy(), self._average.copy(), len(self._units)
        self._held = (units, average)
        owed = [-u * a for u, a in zip(units, average)]
        table = np.array(_sides(units) + units + owed)
        self._sides, self._owned_and_owed = table[: 2 * count], table[2 * count :]
        self._is_open = any(self._units)

    def _loaded(self) -> Tape:
        if self._tape is None:
            raise MissingDataError("the simulated market has no quote yet", hint="call sync() or prepare() first")
        return self._tape

    # -- stopping and going on -------------------------------------------------------------------------------------

    def state(self, *, with_orders: bool = True) -> dict[str, Any]:
        """All it takes to go on from here, as values that JSON holds exactly: give it to :meth:`restore`.

        Left out are the settings the broker was made with, and the transactions up to here. ``with_orders=False``
        leaves out what became of each order, for who keeps :meth:`accepted` orders and their results elsewhere.
        Raises ConfigError for a broker that stands in stored history, which begins anew instead.
        """
        if self._tape is not None and self._snapshot is None:
            raise ConfigError("a run over stored history has no state to keep", hint="run it again")
        held = zip(self.names, self._units, self._average, self._stop_fraction, *self._stop_levels())
        market = None
        if self._tape is not None:
            rows = [array[self._tick].tolist() for array in (self._tape.mid, self._tape.worth, self._tape.closing)]
            market = {"at": self.at.isoformat(), "mid": rows[0], "worth": rows[1], "closing": rows[2]}
        return {
            "version": _STATE_VERSION,
            "account_id": self.account_id,
            "account_currency": self.account_currency,
            "pairs": list(self.names),
            "cash": self._cash,
            "nav": self._nav,
            "ticks": self.log.ticks,
            "serial": self._serial,
            "positions": {name: [x if math.isfinite(x) else None for x in numbers] for name, *numbers in held},
            "lots": {name: [*map(list, lots)] for name, lots in zip(self.names, self._open_lots)},
            **self._blotter.state(with_orders=with_orders),
            "events": [list(event) for event in self.events],
            "market": market,
            "snapshot": None if self._snapshot is None else _plain_snapshot(self._snapshot),
        }

    def _stop_levels(self) -> tuple[list[float], list[float]]:
        count = len(self.names)
        return self._stop_level[:count], self._stop_level[count:]

    def restore(self, state: Mapping[str, Any], pairs: Collection[Pair] | None = None) -> None:
        """Go on from a :meth:`state`, as if never stopped: the same fills, financing, ids and numbers, to the bit.

        ``pairs`` lays the book out anew (default: the pairs of the state, in its order). Raises ConfigError where the
        state is of another account or currency, or holds or waits for a pair that is not among them. Where lots are
        kept and the state has none, a position is one lot at its average entry.
        """
        version, account, currency = (state.get(name) for name in ("version", "account_id", "account_currency"))
        if version not in (_NO_LOTS, _STATE_VERSION):
            raise ConfigError(f"the state is of version {version}, this is {_STATE_VERSION}")
        if (account, currency) != (self.account_id, self.account_currency):
            raise ConfigError(
                f"the state is of account {account!r} in {currency}, not of {self.account_id!r} in "
                f"{self.account_currency}",
                hint="name that account and currency, or begin another one",
            )
        chosen = tuple(map(Pair.parse, state["pairs"])) if pairs is None else tuple(pairs)
        needed = {name for name, (units, *_) in state["positions"].items() if units}
        needed |= {order["instrument"] for order, _ in state["waiting"]}
        missing = sorted(needed - {*map(str, chosen)})
        if missing:
            raise ConfigError(
                f"the account holds or waits for {', '.join(missing)}, which the book would lack",
                hint="close it first, or keep its currencies in the universe",
            )
        self._open(chosen)
        self.log.begin_at(state["ticks"])
        self._cash, self._serial = state["cash"], state["serial"]
        for name, (units, average, fraction, long, short) in state["positions"].items():
            if name in self._column:
                j = self._column[name]
                self._units[j], self._average[j] = units, average
                if self._open_lots and units:
                    lots = state.get("lots", {}).get(name) or [(units, average)]
                    self._open_lots[j] = OpenLots((size, price) for size, price in lots)
                self._stop_fraction[j] = math.nan if fraction is None else fraction
                for place, level in ((j, long), (len(self.names) + j, short)):
                    if level is not None:
                        self._stop_level[place] = level
                        self._stopped.add(j)
        self._refresh()
        self._blotter.restore(state)
        self.events = [(name, kind, side) for name, kind, side in state["events"]]
        self._nav = state["nav"]
        self._snapshot = None if state["snapshot"] is None else _snapshot_of(state["snapshot"])
        if state["market"] is not None:
            where = {name: j for j, name in enumerate(state["pairs"])}
            places = [where.get(name, -1) for name in self.names]
            self._tape = Tape.at_rest(
                datetime.fromisoformat(state["market"]["at"]),
                _picked(state["market"]["mid"], places),
                *(
                    np.concatenate([_picked(half, places) for half in _halves(np.array(state["market"][part]))])
                    for part in ("worth", "closing")
                ),
            )
            self._tick = 0

    def twin(self) -> SimBroker:
        """A simulated broker in memory with the same terms and account, to try things on. Its book is laid out for the
        pairs that are asked for first.
        """
        other = _Twin(
            account_currency=self.account_currency,
            costs=self.costs,
            financing=self.financing,
            margin_rate=self.margin_rate,
            margin_rates={str(pair): rate for pair, rate in self.margin_rates.items()},
            lots=self.lots,
            closeout_level=self.closeout_level,
            account_id=self.account_id,
            frictions=self.frictions,
        )
        other.restore(self.state())
        return other

    def remember(self, order: Order, result: OrderResult) -> None:
        """Know an order that was accepted in an earlier life, and what became of it."""
        self._blotter.remember(order, result)

    def accepted(self, since: int = 0) -> list[Order]:
        """The orders accepted after the first ``since`` of them, the venue's own among them."""
        return self._blotter.since(since)

    def forget(self) -> None:
        """Let go of the transactions booked so far, which are kept elsewhere; ids go on, orders stay known."""
        self._blotter.forget_fills()
        self.log.begin_at(self.log.ticks)

    # -- the Broker protocol ---------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to release."""

    @property
    def is_open(self) -> bool:
        """Whether any position is open."""
        return self._is_open

    @property
    def has_waiting(self) -> bool:
        """Whether any order waits for a quote."""
        return bool(self._blotter.pending)

    @property
    def nav(self) -> float:
        """NAV at the last tick processed."""
        nav: float = self._nav
        return nav

    @property
    def at(self) -> datetime:
        """The instant of the last tick processed."""
        return datetime.min.replace(tzinfo=UTC) if self._tape is None else self._tape.instant(max(self._tick, 0))

    def account(self) -> Account:
        """The account as of the last tick processed."""
        return _AccountView.of(self)

    def _facts(self, held: Lot, nav: float) -> dict[str, Any]:
        """Net exposure by currency (base at market, quote at cost) as a fraction of NAV, and margin used."""
        net = net_exposures(self._pairs, held, self.account_currency)
        weights = {currency: amount / nav for currency, amount in net.items()}
        margin = sum([abs(u) * value * rate for u, value, rate in zip(held.units, held.base_value, self._margin_rates)])
        return {"current_weights": weights, "margin_used": to_decimal(margin)}

    def get_account_balance(self) -> Decimal:
        """Cash in account currency, to the minor unit."""
        cash: Decimal = to_decimal(self._cash) / self._scale
        return cash

    def get_positions(self) -> Mapping[str, Position]:
        """Open positions by instrument."""
        units, average = self._held
        return Positions(self.names, np.array(units), np.array(average))

    def get_orders(self) -> Sequence[OrderResult]:
        """Orders waiting for a quote, and the stop behind each position."""
        blotter = self._blotter
        return [blotter.result(order) for order in blotter.waiting()] + [
            self._stop_result(j) for j in sorted(self._stopped)
        ]

    def _stop_result(self, j: int) -> OrderResult:
        level = self._stop_level[j] if self._units[j] > 0 else -self._stop_level[len(self.names) + j]
        return OrderResult(
            client_id=f"stop-{self.names[j]}",
            instrument=self.names[j],
            status=OrderStatus.WORKING,
            price=to_decimal(round(level, 10)),  # without the slack it is compared with
        )

    def place_plan(self, plan: Plan) -> Sequence[OrderResult]:
        """Accept the orders of a plan; each fills at the next fresh quote of its instrument. None is accepted twice.

        Returns those that are refused.
        """
        if not self._blotter.accept(plan):
            return ()
        places: Sequence[int] = range(len(plan))
        refused: list[OrderResult] = []
        if self.frictions.reject_rate or self.frictions.closed_market == "reject":
            places = [place for place in places if not self._refuse(plan[place])]
            refused = [self._blotter.result(order) for place, order in enumerate(plan) if place not in places]
        if places:
            self._blotter.wait(plan, places, self._earliest())
        return refused

    def _earliest(self) -> np.datetime64 | None:
        """The first instant at which an order placed now may fill, None for any."""
        if not self.frictions.latency or self._tape is None:
            return None
        latency = np.timedelta64(self.frictions.latency // timedelta(microseconds=1), "us")
        return np.datetime64(self._tape.at[max(self._tick, 0)] + latency, "ns")

    def _refuse(self, order: Order) -> bool:
        """Refuse an order that the venue does not take, and say whether it did."""
        if self.frictions.closed_market == "reject" and self._tape is not None and not is_open(self.at):
            self._blotter.resolve(order, OrderStatus.REJECTED, "the market is closed")
        elif self.frictions.refuses(order.client_id):
            self._blotter.resolve(order, OrderStatus.REJECTED, "refused by the venue")
        else:
            return False
        return True

    def place_market_order(self, order: Order) -> OrderResult:
        """Accept an order; it fills at the next fresh quote. The same client id again returns the first outcome."""
        blotter = self._blotter
        if order.client_id in (known := blotter.known()):
            return blotter.result(known[order.client_id])
        if order.instrument not in self._column:
            raise OrderRejected(f"unknown instrument {order.instrument}", hint=f"one of {', '.join(self.names)}")
        if not (order.units.is_finite() and order.units):
            raise OrderRejected(f"{order.units} units of {order.instrument} cannot be traded")
        blotter.accept((order,))
        if not self._refuse(order):
            blotter.wait((order,), earliest=self._earliest())
        return blotter.result(order)

    def place_limit_order(self, order: Order) -> OrderResult:
        """Accept a limit order; it fills at the first fresh quote at the limit or better."""
        if order.limit_price is None or not order.limit_price > 0:
            raise OrderRejected(f"limit order {order.client_id} has limit price {order.limit_price}")
        return self.place_market_order(order)

    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        """Set or remove (None) the stop of the whole position."""
        if instrument not in self._column:
            raise OrderRejected(f"unknown instrument {instrument}", hint=f"one of {', '.join(self.names)}")
        j = self._column[instrument]
        self._place_stop(j, math.nan if price is None else float(price), math.nan)
        self._refresh()
        status = OrderStatus.CANCELLED if price is None else OrderStatus.WORKING
        return OrderResult(client_id=f"stop-{instrument}", instrument=instrument, status=status, price=price)

    def cancel_order(self, client_id: str) -> OrderResult:
        """Cancel a waiting order; an order already final keeps its outcome."""
        if client_id not in (known := self._blotter.known()):
            raise OrderRejected(f"no order {client_id}")
        self._blotter.cancel(lambda order: order.client_id == client_id, "cancelled")
        return self._blotter.result(known[client_id])

    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """The known ones among these orders."""
        return self._blotter.find(client_ids)

    def transactions(self, since: str | None) -> Sequence[Transaction]:
        """Fills and financing after ``since``."""
        return self.log.after(since)

    def close_all_positions(self) -> Sequence[OrderResult]:
        """Cancel what waits and place a closing order for each position, the largest margin first, to be filled at the
        next fresh quote.
        """
        self.drop("cancelled")
        if not self._is_open:
            return []
        sizes = zip(self._units, self.lot().base_value, self._margin_rates)
        margin = dict(zip(self.names, [abs(units) * value * rate for units, value, rate in sizes]))
        largest_first = sorted(zip(self.names, self._units), key=lambda held: -margin[held[0]])
        return [
            self.place_market_order(
                Order(
                    client_id=f"flatten-{name}-{self._next_serial()}",
                    instrument=name,
                    units=to_decimal(-units),
                    is_reducing=True,
                    reason="flatten",
                )
            )
            for name, units in largest_first
            if units
        ]


class _Twin(SimBroker):
    """What :meth:`SimBroker.twin` makes."""

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        wanted = tuple(pairs)
        if wanted != self._pairs:
            self.restore(self.state(), wanted)
        return super().get_instruments(wanted)


def closeout_price(nav: float, units: float, price: float, margin_rate: float, closeout_level: float = 0.5) -> float:
    """The price of the one open pair (quoted in account currency) at which NAV falls to the close-out level.

    Solves ``nav + units·(P − price) = closeout_level·margin_rate·|units|·P``; ``units`` signed.
    """
    return (units * price - nav) / (units - closeout_level * margin_rate * abs(units))
