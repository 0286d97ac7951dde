"""Accounting: the transactions of a book, its attribution, and double entry.

:class:`TransactionLog` holds what a venue booked as columns, a :class:`~fxcarry.model.Transaction` is made when one is
asked for. :func:`attribute` splits every day's change of NAV into spot, carry, cost, translation and rounding. Each
term has its own formula, none is the remainder of the others, and their sum is checked against the venue's own NAV.
:class:`Ledger` posts the same transactions as balanced entries, per currency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.errors import LedgerError
from fxcarry.lots import Matching, OpenLots
from fxcarry.market import TimeArray, from_ns
from fxcarry.model import FloatArray, Order, Pair, Transaction, minor_digits, to_decimal

if TYPE_CHECKING:
    from fxcarry.tape import Tape


_NUMBERS = 10  # fields of a fill that are numbers, its first ones


class Fill(NamedTuple):
    """One fill of the order ``orders[place]``; ``tick`` counts the ticks booked before it.

    ``realized`` is in quote currency, ``commission`` in account currency (unrounded, <= 0); ``posted`` and ``charged``
    are what was booked for them, in minor units.
    """

    tick: int
    instrument: int
    units: float
    price: float
    mid: float
    conversion: float
    realized: float
    posted: int
    commission: float
    charged: int
    at: np.datetime64
    orders: Sequence[Order]
    place: int

    @property
    def order(self) -> Order:
        """The order that was filled."""
        return self.orders[self.place]


_FIELDS = len(Fill._fields)


class _Stretch:
    """What was booked over one tape: financing in minor units before rounding (long and short side by side), NAV, and
    positions by segment. Financing is by instrument, or by currency where the tape has balances: then with the
    ``balance`` it was paid on, and ``allocated`` to instruments.
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.exact: FloatArray = np.empty(tape.rolls.shape)
        self.nav = np.empty(len(tape.at))
        is_by_currency = tape.balances is not None
        self.balance: FloatArray | None = np.empty((len(tape.at), tape.rolls.shape[1] // 2)) if is_by_currency else None
        self.allocated: FloatArray | None = np.empty(tape.mid.shape) if is_by_currency else None
        self.count = 0
        self.lengths: list[int] = []
        self.units: list[list[float]] = []
        self.average: list[list[float]] = []

    def financing(self) -> FloatArray:
        """Financing by tick and line (an instrument or a currency), not rounded."""
        count = self.exact.shape[1] // 2
        booked = self.exact[: self.count]
        return booked[:, :count] + booked[:, count:]


class TransactionLog:
    """What the venue booked, append-only, in columns.

    ``first`` is how many ticks were booked before those kept here, ``ticks`` how many were booked in all. ``lots`` is
    how the venue matches a close.
    """

    def __init__(self, account_currency: str, opening_cash: float, lots: Matching = "average") -> None:
        self.account_currency = account_currency
        self.opening_cash = opening_cash
        self.lots = lots
        self.names: tuple[str, ...] = ()
        self.pairs: tuple[Pair, ...] = ()
        self.first = 0
        self.ticks = 0
        self._fills: list[Any] = []  # the fields of every fill, one after the other
        self.book_fill: Callable[[tuple[Any, ...]], None] = self._fills.extend
        """Append one fill, given as the fields of :class:`Fill` in their order."""
        self._stretches: list[_Stretch] = []

    @property
    def fills(self) -> list[Fill]:
        """Every fill, in booking order."""
        return self.fills_since(0)

    def fills_since(self, count: int) -> list[Fill]:
        """The fills after the first ``count``."""
        return list(map(Fill._make, zip(*[iter(self._fills[count * _FIELDS :])] * _FIELDS)))

    def fill_table(self) -> FloatArray:
        """The numbers of every fill (the fields up to ``charged``), a row a fill."""
        return np.array([self._fills[field::_FIELDS] for field in range(_NUMBERS)], float).T

    def open(self, names: tuple[str, ...], pairs: tuple[Pair, ...]) -> None:
        """Fix the instruments of the book."""
        self.names, self.pairs = names, pairs

    def begin_at(self, ticks: int) -> None:
        """Let go of what is kept and go on after ``ticks`` ticks, so that transaction ids go on too."""
        self._fills.clear()
        self._stretches.clear()
        self.first = self.ticks = ticks

    def load(self, tape: Tape) -> None:
        """The market that the next bookings refer to."""
        self._stretches.append(_Stretch(tape))

    def room(self, count: int) -> tuple[FloatArray, FloatArray]:
        """Where the next ``count`` ticks go: financing not yet rounded and NAV, to be written and then booked."""
        here = self._stretches[-1]
        where = slice(here.count, here.count + count)
        return here.exact[where], here.nav[where]

    def balance_room(self, count: int) -> tuple[FloatArray, FloatArray]:
        """As :meth:`room`, where interest is paid on currency balances: the balances, and financing by instrument."""
        here = self._stretches[-1]
        assert here.balance is not None
        assert here.allocated is not None
        where = slice(here.count, here.count + count)
        return here.balance[where], here.allocated[where]

    def book_rolls(self, count: int, units: list[float], average: list[float]) -> None:
        """Append the first ``count`` ticks written to :meth:`room`, at constant ``units`` entered at ``average``."""
        here = self._stretches[-1]
        here.lengths.append(count)
        here.units.append(units)
        here.average.append(average)
        here.count += count
        self.ticks += count

    def __len__(self) -> int:
        charged = int(np.count_nonzero(self.fill_table()[:, -1]))
        rolls = sum(int(np.count_nonzero(np.rint(s.financing()))) for s in self._stretches)
        return len(self._fills) // _FIELDS + charged + rolls

    def __iter__(self) -> Iterator[Transaction]:
        return self._booked("")

    def _booked(self, since: str) -> Iterator[Transaction]:
        """Transactions in booking order, without stretches that ended before the id ``since``."""
        scale = Decimal(10 ** minor_digits(self.account_currency))
        by_tick: dict[int, list[Fill]] = {}
        for fill in self.fills:
            by_tick.setdefault(fill.tick, []).append(fill)
        tick = self.first
        for stretch in self._stretches:
            if f"{tick + stretch.count:08d}" <= since:
                tick += stretch.count
                continue
            tape, posted = stretch.tape, np.rint(stretch.financing())
            held = np.repeat(np.array(stretch.units), stretch.lengths, axis=0) if stretch.units else np.empty((0, 0))
            for here in range(stretch.count):
                for n, fill in enumerate(by_tick.get(tick, ())):
                    yield from self._fill_transactions(fill, n, scale)
                day = tape.day[here].astype("datetime64[D]").item()
                for j in np.flatnonzero(posted[here]).tolist():
                    of, line = tape.balances, self.names
                    if of is None or stretch.balance is None:
                        units = held[here - (tape.rolls_first[here] and here > 0), j]
                        mid, conversion, days = tape.mid[here, j], tape.conversion[here, j], tape.roll_days[here, j]
                    else:
                        units, mid = stretch.balance[here, j], of.worth[here, j]
                        line, conversion, days = of.currencies, mid, of.days[here]
                    yield Transaction(
                        id=f"{tick:08d}-R{j:03d}",
                        at=from_ns(tape.at[here]),
                        kind="financing",
                        amount=Decimal(int(posted[here, j])) / scale,
                        currency=self.account_currency,
                        instrument=line[j],
                        units=to_decimal(float(units)),
                        mid=to_decimal(float(mid)),
                        conversion=to_decimal(float(conversion)),
                        trade_date=day,
                        days=int(days),
                    )
                tick += 1

    def _fill_transactions(self, fill: Fill, n: int, scale: Decimal) -> Iterator[Transaction]:
        yield Transaction(
            id=f"{fill.tick:08d}-F{n:03d}",
            at=from_ns(fill.at),
            kind="fill",
            amount=Decimal(fill.posted) / scale,
            currency=self.account_currency,
            instrument=self.names[fill.instrument],
            units=to_decimal(fill.units),
            price=to_decimal(fill.price),
            mid=to_decimal(fill.mid),
            conversion=to_decimal(fill.conversion),
            client_id=fill.order.client_id,
        )
        if fill.charged:
            yield Transaction(
                id=f"{fill.tick:08d}-F{n:03d}c",
                at=from_ns(fill.at),
                kind="commission",
                amount=Decimal(fill.charged) / scale,
                currency=self.account_currency,
                instrument=self.names[fill.instrument],
                client_id=fill.order.client_id,
            )

    def after(self, since: str | None) -> list[Transaction]:
        """Transactions after the id ``since`` (None = all), in booking order."""
        return [t for t in self._booked(since or "") if since is None or t.id > since]

    def day_end_navs(self) -> FloatArray:
        """NAV at every 17:00 New York booked so far."""
        navs: FloatArray = np.concatenate(
            [s.nav[: s.count][s.tape.is_day_end[: s.count]] for s in self._stretches] or [np.empty(0)]
        )
        return navs

    def columns(self) -> Columns:
        """Everything by tick, joined."""
        stretches = [s for s in self._stretches if s.count]
        if not stretches:
            raise LedgerError("nothing was booked", hint="advance the broker over at least one tick first")

        def joined(part: Any) -> Any:
            parts = [part(s) for s in stretches]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        def of_tape(name: str) -> Any:
            return joined(lambda s: getattr(s.tape, name)[: s.count])

        def by_segment(name: str) -> Any:
            return joined(lambda s: np.repeat(np.array(getattr(s, name)), s.lengths, axis=0))

        exact = joined(lambda s: s.financing())
        return Columns(
            at=of_tape("at"),
            day=of_tape("day"),
            is_day_end=of_tape("is_day_end"),
            mid=of_tape("mid"),
            conversion=of_tape("conversion"),
            base_value=of_tape("base_value"),
            posted=np.rint(exact),
            exact=exact,
            allocated=None if stretches[0].allocated is None else joined(lambda s: s.allocated[: s.count]),
            nav=joined(lambda s: s.nav[: s.count]),
            units=by_segment("units"),
            average=by_segment("average"),
        )


@attrs.frozen(eq=False)
class Columns:
    """A log by tick: the market, positions after it and their average entry, financing posted and exact in
    minor units, NAV. Where financing is by currency, ``allocated`` is the exact amount by instrument; else None.
    """

    at: TimeArray
    day: NDArray[np.datetime64]
    is_day_end: NDArray[np.bool_]
    mid: FloatArray
    conversion: FloatArray
    base_value: FloatArray
    posted: FloatArray
    exact: FloatArray
    allocated: FloatArray | None
    nav: FloatArray
    units: FloatArray
    average: FloatArray


@attrs.frozen(eq=False)
class Attribution:
    """Each day's change of NAV in account currency, by where it came from; ``*_by_instrument`` are totals
    (``spot_by_instrument`` with translation).

    ``nav`` is at the end of each ``day`` (17:00 New York). A cost paid is negative.
    """

    day: NDArray[np.datetime64]
    nav: FloatArray
    spot: FloatArray
    carry: FloatArray
    cost: FloatArray
    translation: FloatArray
    rounding: FloatArray
    names: Sequence[str]
    spot_by_instrument: FloatArray
    carry_by_instrument: FloatArray
    cost_by_instrument: FloatArray

    TERMS = ("spot", "carry", "cost", "translation", "rounding")


def attribute(log: TransactionLog, columns: Columns | None = None) -> Attribution:
    """Split every day's ΔNAV into its sources and prove that they add up.

    With X = account currency per unit of quote at the day's mid, Δu = units traded, B = open P&L in quote currency and
    R = an amount converted at X_R during the day::

        spot        = [(mid − mid₋₁)·u₋₁ + Σ (mid − mid_fill)·Δu]·X
        cost        = −Σ (fill − mid_fill)·Δu·X − commission
        carry       = Σ financing, at the conversion of its roll
        translation = B₋₁·(X − X₋₁) + Σ R·(X_R − X)
        rounding    = Σ (posted − exact)

    Raises LedgerError naming the first day on which the sum differs from the change of the venue's own NAV, or on
    which rounding exceeds half a minor unit for each posting.
    """
    if log.first:
        raise LedgerError(
            f"the log begins after {log.first} ticks, with what was then held",
            hint="attribute a run from its beginning; a venue that was restored keeps what came before elsewhere",
        )
    by_tick = log.columns() if columns is None else columns
    scale = 10 ** minor_digits(log.account_currency)
    marks = np.flatnonzero(by_tick.is_day_end)
    if not len(marks) or marks[-1] != len(by_tick.at) - 1:
        marks = np.append(marks, len(by_tick.at) - 1)
    ends: Any = marks if len(marks) < len(by_tick.at) else slice(None)
    mid, conversion, units = by_tick.mid[ends], by_tick.conversion[ends], by_tick.units[ends]
    days, count = mid.shape

    open_pnl = np.zeros((days, count))
    np.multiply(mid[1:] - mid[:-1], units[:-1], out=open_pnl[1:])
    spot = open_pnl * conversion
    translation = np.zeros((days, count))
    cost = np.zeros((days, count))
    rounding, postings = np.zeros(days), np.zeros(days)
    table = log.fill_table()
    if len(table):
        tick, instrument, traded, price, fill_mid, fill_conversion, realized, posted, commission, charged = table.T
        day = np.searchsorted(marks, tick)
        where = (day, instrument.astype(int))
        at, x = mid[where], conversion[where]
        np.add.at(spot, where, (at - fill_mid) * traded * x)
        np.add.at(cost, where, commission - (price - fill_mid) * traded * x)
        np.add.at(open_pnl, where, (at - price) * traded - realized)
        np.add.at(translation, where, realized * (fill_conversion - x))
        np.add.at(rounding, day, (posted + charged) / scale - realized * fill_conversion - commission)
        np.add.at(postings, day, 1.0 + (commission != 0))
        filled = np.bincount(where[1], traded, count)
        if np.abs(filled - units[-1]).max() > 1e-6:
            raise LedgerError(f"the fills add up to {filled} units, the book holds {units[-1]}")
    np.cumsum(open_pnl, axis=0, out=open_pnl)
    translation[1:] += open_pnl[:-1] * (conversion[1:] - conversion[:-1])
    if days == len(by_tick.at):
        carry, booked = by_tick.exact / scale, by_tick.posted
    else:
        edges = np.concatenate([[0], marks[:-1] + 1])
        carry = np.add.reduceat(by_tick.exact, edges, axis=0) / scale
        booked = np.add.reduceat(by_tick.posted, edges, axis=0)
    ones, every, lines = np.ones(count), np.ones(days), np.ones(carry.shape[1])
    rounding += (booked / scale - carry) @ lines
    postings += (carry != 0) @ lines

    result = Attribution(
        day=by_tick.day[ends],
        nav=by_tick.nav[ends],
        spot=spot @ ones,
        carry=carry @ lines,
        cost=cost @ ones,
        translation=translation @ ones,
        rounding=rounding,
        names=log.names,
        spot_by_instrument=every @ (spot + translation),
        carry_by_instrument=every @ carry if by_tick.allocated is None else by_tick.allocated.sum(0) / scale,
        cost_by_instrument=every @ cost,
    )
    _check(result, log.opening_cash, postings, 0.5 / scale)
    return result


def _check(result: Attribution, opening: float, postings: FloatArray, half_unit: float) -> None:
    change = np.diff(result.nav, prepend=opening)
    explained = sum(getattr(result, term) for term in Attribution.TERMS)
    gap = change - explained
    tolerance = 0.01 * half_unit + 1e-12 * np.abs(result.nav)
    broken = ~(np.abs(gap) <= tolerance)
    if broken.any():
        d = int(broken.argmax())
        raise LedgerError(
            f"the books do not balance on {result.day[d]}: NAV changed by {change[d]:.6f}, "
            f"its parts add up to {explained[d]:.6f}",
            hint="nothing may be reported from this run; please file the run's inputs as a bug",
            fields={"day": str(result.day[d]), "gap": float(gap[d])},
        )
    excess = np.abs(result.rounding) > half_unit * postings * (1 + 1e-9) + 1e-9
    if excess.any():
        d = int(excess.argmax())
        raise LedgerError(
            f"rounding on {result.day[d]} is {result.rounding[d]:.6f} for {postings[d]:.0f} postings",
            fields={"day": str(result.day[d])},
        )


class Entry(NamedTuple):
    """One side of a transaction: ``amount`` in ``currency`` added to ``account``."""

    account: str
    currency: str
    amount: Decimal


class Ledger:
    """Double entry in several currencies. Every transaction balances in every currency, or LedgerError is raised.

    Accounts: ``Cash:USD``; ``Position:AUDJPY`` (base leg, and quote leg at cost) against ``Trading:AUDJPY``;
    ``Income:Trading``, ``Income:Financing``, ``Expense:Commission``, ``Equity:Deposits``, ``Rounding``; a conversion
    goes through ``FXTrading:JPY``. ``lots`` is how the venue matches a close: at the average price, or ``fifo``; with
    another than the venue's, its realised profit ends up in ``Rounding``.
    """

    def __init__(self, account_currency: str, lots: Matching = "average") -> None:
        self.account_currency = account_currency
        self.lots = lots
        self.entries: list[tuple[str, tuple[Entry, ...]]] = []
        self.balances: dict[tuple[str, str], Decimal] = {}
        self._held: dict[str, tuple[Decimal, Decimal]] = {}
        self._open_lots: dict[str, OpenLots[Decimal]] = {}

    def post(self, transaction: Transaction) -> None:
        """Book one transaction."""
        book = {
            "fill": self._fill,
            "financing": self._income("Income:Financing"),
            "commission": self._income("Expense:Commission"),
            "fee": self._income("Expense:Fee"),
            "transfer": self._income("Equity:Deposits"),
        }[transaction.kind]
        entries = tuple(e for e in book(transaction) if e.amount)
        totals: dict[str, Decimal] = {}
        for entry in entries:
            totals[entry.currency] = totals.get(entry.currency, Decimal(0)) + entry.amount
        open_ = {c: a for c, a in totals.items() if abs(a) > Decimal("1e-12")}
        if open_:
            raise LedgerError(f"transaction {transaction.id} does not balance: {open_}")
        for entry in entries:
            key = (entry.account, entry.currency)
            self.balances[key] = self.balances.get(key, Decimal(0)) + entry.amount
        self.entries.append((transaction.id, entries))

    def balance(self, account: str, currency: str | None = None) -> Decimal:
        """The balance of an account in a currency (default: the account currency)."""
        return self.balances.get((account, currency or self.account_currency), Decimal(0))

    def _income(self, name: str) -> Any:
        def book(t: Transaction) -> list[Entry]:
            return [Entry(f"Cash:{t.currency}", t.currency, t.amount), Entry(name, t.currency, -t.amount)]

        return book

    def _fill(self, t: Transaction) -> list[Entry]:
        if t.price is None or t.conversion is None:
            raise LedgerError(f"fill {t.id} has no price or conversion")
        pair = Pair.parse(t.instrument)
        realized, cost = self._matched(t.instrument, t.units, t.price)
        position, trading = f"Position:{t.instrument}", f"Trading:{t.instrument}"
        exact = realized * t.conversion
        account = self.account_currency
        return [
            Entry(position, pair.base, t.units),
            Entry(trading, pair.base, -t.units),
            Entry(position, pair.quote, -cost),
            Entry(trading, pair.quote, cost),
            Entry(f"FXTrading:{pair.quote}", pair.quote, realized),
            Entry("Income:Trading", pair.quote, -realized),
            Entry(f"FXTrading:{pair.quote}", account, -exact),
            Entry(f"Cash:{account}", account, t.amount),
            Entry("Rounding", account, exact - t.amount),
        ]

    def _matched(self, instrument: str, units: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
        """Profit realised, and the change of the quote leg at cost (sign of the units), in quote currency."""
        if self.lots == "fifo":
            lots = self._open_lots.setdefault(instrument, OpenLots())
            before = lots.cost
            realized = lots.trade(units, price)
            return realized, lots.cost - before
        held, average = self._held.get(instrument, (Decimal(0), Decimal(0)))
        sign = 1 if held > 0 else -1
        closed = min(abs(units), abs(held)) if units * held < 0 else Decimal(0)
        opened = units + sign * closed
        realized = (price - average) * closed * sign
        cost = average * -sign * closed + price * opened
        if opened:
            average = price if closed else (average * held + price * opened) / (held + opened)
        self._held[instrument] = (held + units, average)
        return realized, cost
