"""Accounting: the transactions of a book, its attribution, and double entry.

:class:`TransactionLog` holds what a venue booked as columns, a :class:`~fxcarry.model.Transaction` is made when one is
asked for. :func:`attribute` splits every day's change of NAV into spot, carry, cost, translation and rounding. Each term
has its own formula, none is the remainder of the others, and their sum is checked against the venue's own NAV.
:class:`Ledger` posts the same transactions as balanced entries, per currency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.errors import LedgerError
from fxcarry.market import TimeArray, from_ns
from fxcarry.model import FloatArray, Order, Pair, Transaction, minor_digits, to_decimal

if TYPE_CHECKING:
    from fxcarry.simulation import Tape


class Fill(NamedTuple):
    """One fill: ``tick`` counts the ticks booked before it; amounts in minor units of account currency are integers.

    ``realized`` is in quote currency; ``posted`` and ``charged`` are what was booked for it and for commission
    (``commission`` unrounded, signed, <= 0).
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
    client_id: str
    reason: str


class _Segment(NamedTuple):
    """Ticks with constant positions: ``first`` on its tape, financing posted (minor units) and exact, NAV."""

    tape: Tape
    first: int
    posted: NDArray[np.int64]
    exact: FloatArray
    nav: FloatArray
    units: FloatArray
    cost: FloatArray


class TransactionLog:
    """What the venue booked, append-only, in columns."""

    def __init__(self, account_currency: str, opening_cash: float) -> None:
        self.account_currency = account_currency
        self.opening_cash = opening_cash
        self.names: tuple[str, ...] = ()
        self.pairs: tuple[Pair, ...] = ()
        self.fills: list[Fill] = []
        self._segments: list[_Segment] = []
        self._ticks = 0
        self._tape: Tape | None = None

    @property
    def next_id(self) -> int:
        """A number that no transaction has yet."""
        return self._ticks * 1000 + len(self.fills)

    def open(self, names: tuple[str, ...], pairs: tuple[Pair, ...]) -> None:
        """Fix the instruments of the book."""
        self.names, self.pairs = names, pairs

    def load(self, tape: Tape) -> None:
        """The market that the next bookings refer to."""
        self._tape = tape

    def book_fill(
        self,
        tick: int,
        instrument: int,
        units: float,
        price: float,
        mid: float,
        conversion: float,
        realized: float,
        posted: int,
        commission: float,
        charged: int,
        order: Order,
    ) -> None:
        """Append one fill at ``tick`` of the loaded tape."""
        assert self._tape is not None
        self.fills.append(
            Fill(
                self._ticks,
                instrument,
                units,
                price,
                mid,
                conversion,
                realized,
                posted,
                commission,
                charged,
                self._tape.at[tick],
                order.client_id,
                order.reason,
            )  # fmt: skip
        )

    def book_rolls(
        self,
        first: int,
        posted: NDArray[np.int64],
        exact: FloatArray,
        nav: FloatArray,
        units: FloatArray,
        cost: FloatArray,
    ) -> None:
        """Append the financing and NAV of ticks with constant ``units``, entered at ``cost`` (quote currency)."""
        assert self._tape is not None
        self._segments.append(_Segment(self._tape, first, posted, exact, nav, units, cost))
        self._ticks += len(nav)

    def __len__(self) -> int:
        return len(self.fills) + sum(int(np.count_nonzero(s.posted)) for s in self._segments)

    def __iter__(self) -> Iterator[Transaction]:
        scale = Decimal(10 ** minor_digits(self.account_currency))
        by_tick: dict[int, list[Fill]] = {}
        for fill in self.fills:
            by_tick.setdefault(fill.tick, []).append(fill)
        tick = 0
        for segment in self._segments:
            for offset in range(len(segment.nav)):
                here = segment.first + offset
                for n, fill in enumerate(by_tick.get(tick, ())):
                    yield from self._fill_transactions(fill, n, scale)
                day = segment.tape.day[here].astype("datetime64[D]").item()
                for j in np.flatnonzero(segment.posted[offset]).tolist():
                    yield Transaction(
                        id=f"{tick:08d}-R{j:03d}",
                        at=from_ns(segment.tape.at[here]),
                        kind="financing",
                        amount=Decimal(int(segment.posted[offset, j])) / scale,
                        currency=self.account_currency,
                        instrument=self.names[j],
                        units=to_decimal(float(segment.units[j])),
                        mid=to_decimal(float(segment.tape.mid[here, j])),
                        conversion=to_decimal(float(segment.tape.conversion[here, j])),
                        trade_date=day,
                        days=int(segment.tape.roll_days[here, j]),
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
            client_id=fill.client_id,
        )
        if fill.charged:
            yield Transaction(
                id=f"{fill.tick:08d}-F{n:03d}c",
                at=from_ns(fill.at),
                kind="commission",
                amount=Decimal(fill.charged) / scale,
                currency=self.account_currency,
                instrument=self.names[fill.instrument],
                client_id=fill.client_id,
            )

    def after(self, since: str | None) -> list[Transaction]:
        """Transactions after the id ``since`` (None = all), in booking order."""
        return [t for t in self if since is None or t.id > since]

    def columns(self) -> Columns:
        """Everything by tick, joined."""
        segments = self._segments

        def joined(part: Any) -> Any:
            return np.concatenate([part(s) for s in segments])

        def of_tape(name: str) -> Any:
            return joined(lambda s: getattr(s.tape, name)[s.first : s.first + len(s.nav)])

        lengths = [len(s.nav) for s in segments]
        return Columns(
            at=of_tape("at"),
            day=of_tape("day"),
            is_day_end=of_tape("is_day_end"),
            mid=of_tape("mid"),
            conversion=of_tape("conversion"),
            base_value=of_tape("base_value"),
            posted=joined(lambda s: s.posted),
            exact=joined(lambda s: s.exact),
            nav=joined(lambda s: s.nav),
            units=np.repeat(np.array([s.units for s in segments]), lengths, axis=0),
            cost=np.repeat(np.array([s.cost for s in segments]), lengths, axis=0),
        )


@attrs.frozen(eq=False)
class Columns:
    """A log by tick: the market, positions after it and their cost in quote currency, financing (posted in minor units,
    exact), NAV.
    """

    at: TimeArray
    day: NDArray[np.datetime64]
    is_day_end: NDArray[np.bool_]
    mid: FloatArray
    conversion: FloatArray
    base_value: FloatArray
    posted: NDArray[np.int64]
    exact: FloatArray
    nav: FloatArray
    units: FloatArray
    cost: FloatArray


@attrs.frozen(eq=False)
class Attribution:
    """Each day's change of NAV in account currency, by where it came from; ``*_by_instrument`` are totals.

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
    by_tick = log.columns() if columns is None else columns
    scale = 10 ** minor_digits(log.account_currency)
    marks = np.flatnonzero(by_tick.is_day_end)
    if not len(marks) or marks[-1] != len(by_tick.at) - 1:
        marks = np.append(marks, len(by_tick.at) - 1)
    mid, conversion = by_tick.mid[marks], by_tick.conversion[marks]
    days, count = mid.shape

    fills = log.fills
    shape = (days, count)
    traded, slip, realized = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    moved, kept = np.zeros(shape), np.zeros(shape)
    commission, rounding, postings = np.zeros(shape), np.zeros(days), np.zeros(days)
    if fills:
        tick = np.array([f.tick for f in fills])
        table = np.array(
            [(f.instrument, f.units, f.price, f.mid, f.conversion, f.realized, f.posted, f.commission, f.charged)
             for f in fills]
        )  # fmt: skip
        day = np.searchsorted(marks, tick)
        j = table[:, 0].astype(int)
        units, price, fill_mid, fill_conversion, amount, posted, fee, charged = table[:, 1:].T
        where = (day, j)
        np.add.at(traded, where, units)
        np.add.at(moved, where, (mid[where] - fill_mid) * units)
        np.add.at(slip, where, (price - fill_mid) * units)
        np.add.at(kept, where, (mid[where] - price) * units)
        np.add.at(realized, where, amount)
        at_fill = np.zeros(shape)
        np.add.at(at_fill, where, amount * fill_conversion)
        np.add.at(commission, where, fee)
        np.add.at(rounding, day, (posted + charged) / scale - amount * fill_conversion - fee)
        np.add.at(postings, day, 1.0 + (charged != 0))
    else:
        at_fill = np.zeros(shape)

    held = np.cumsum(traded, 0)
    before = np.vstack([np.zeros((1, count)), held[:-1]])
    change = np.diff(mid, axis=0, prepend=mid[:1]) * before
    open_pnl = np.cumsum(change + kept - realized, 0)
    open_before = np.vstack([np.zeros((1, count)), open_pnl[:-1]])

    spot = (change + moved) * conversion
    cost = -slip * conversion + commission
    translation = open_before * np.diff(conversion, axis=0, prepend=conversion[:1]) + at_fill - realized * conversion
    edges = np.concatenate([[0], marks[:-1] + 1])
    carry = np.add.reduceat(by_tick.exact, edges, axis=0)
    rounding += np.add.reduceat(by_tick.posted.sum(1) / scale - by_tick.exact.sum(1), edges)
    postings += np.add.reduceat(np.count_nonzero(by_tick.exact, axis=1), edges)

    result = Attribution(
        day=by_tick.day[marks],
        nav=by_tick.nav[marks],
        spot=spot.sum(1),
        carry=carry.sum(1),
        cost=cost.sum(1),
        translation=translation.sum(1),
        rounding=rounding,
        names=log.names,
        spot_by_instrument=(spot + translation).sum(0),
        carry_by_instrument=carry.sum(0),
        cost_by_instrument=cost.sum(0),
    )
    _check(result, log.opening_cash, postings, 0.5 / scale)
    return result


def _check(result: Attribution, opening: float, postings: FloatArray, half_unit: float) -> None:
    change = np.diff(result.nav, prepend=opening)
    explained = sum(getattr(result, term) for term in Attribution.TERMS)
    gap = change - explained
    tolerance = 0.01 * half_unit + 1e-10 * np.abs(result.nav)
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
    ``Income:Trading``, ``Income:Financing``, ``Expense:Commission``, ``Equity:Deposits``, ``Rounding``; a conversion goes
    through ``FXTrading:JPY``. Average-price lots.
    """

    def __init__(self, account_currency: str) -> None:
        self.account_currency = account_currency
        self.entries: list[tuple[str, tuple[Entry, ...]]] = []
        self.balances: dict[tuple[str, str], Decimal] = {}
        self._held: dict[str, tuple[Decimal, Decimal]] = {}

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
        held, average = self._held.get(t.instrument, (Decimal(0), Decimal(0)))
        sign = 1 if held > 0 else -1
        closed = min(abs(t.units), abs(held)) if t.units * held < 0 else Decimal(0)
        opened = t.units + sign * closed
        realized = (t.price - average) * closed * sign
        cost = average * -sign * closed + t.price * opened  # change of the quote leg at cost, sign of the units
        if opened:
            average = t.price if closed else (average * held + t.price * opened) / (held + opened)
        self._held[t.instrument] = (held + t.units, average)
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
