"""Weights → orders: the border between fractions of NAV and whole units. Pure.

A currency is traded in its market pair against the account currency. Units are rounded towards zero to the instrument's
step, so an order never exceeds what was decided; what cannot be traded in whole steps stays undone.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import NamedTuple, Self, overload

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.model import FloatArray, Instrument, Order, Pair, to_decimal


def market_pairs(currencies: Sequence[str], account_currency: str) -> tuple[Pair, ...]:
    """The market pair of each currency against the account currency, which itself is left out."""
    return tuple(Pair.market(c, account_currency) for c in currencies if c != account_currency)


def all_pairs(currencies: Sequence[str], account_currency: str) -> tuple[Pair, ...]:
    """The market pairs against the account currency, then every cross between two of the currencies."""
    direct = market_pairs(currencies, account_currency)
    traded = [c for c in currencies if c != account_currency]
    return *direct, *(Pair.market(*couple) for couple in itertools.combinations(traded, 2))


class Holding(NamedTuple):
    """One instrument against the account currency: ``currency`` (its place in the universe) is what it stands for,
    ``side`` its sign there.

    ``is_base`` says whether that currency is the pair's base.
    """

    name: str
    currency: int
    side: float
    is_base: bool


@attrs.frozen(eq=False)
class Book:
    """Which instruments a book of currency weights is held in: one a currency, and after these the crosses offered.

    ``exposure`` (currencies × instruments) is +1 where the currency is the pair's base, −1 where it is the quote, the
    account currency left out. ``holdings`` are the instruments against the account currency, ``column`` and ``side``
    theirs as arrays; a plain book holds no cross. Vectors by instrument are plain lists: a book is small, and a
    decision handles each of its numbers once.
    """

    currencies: tuple[str, ...]
    account_currency: str
    instruments: tuple[Instrument, ...]
    names: tuple[str, ...]
    holdings: tuple[Holding, ...]
    exposure: FloatArray
    column: NDArray[np.intp]
    side: FloatArray
    steps: tuple[float, ...]
    minimums: tuple[float, ...]

    @classmethod
    def of(cls, currencies: Sequence[str], account_currency: str, instruments: Mapping[str, Instrument]) -> Self:
        """One instrument a currency, and crosses between them; ConfigError where a currency has no instrument."""
        by_pair = {i.exposure: i for i in instruments.values()}
        order = list(currencies)
        traded = [c for c in order if c != account_currency]
        chosen: list[Instrument] = []
        for currency in traded:
            pair = Pair.market(currency, account_currency)
            if pair not in by_pair:
                raise ConfigError(f"the broker offers no instrument for {pair}", hint=f"leave {currency} out")
            chosen.append(by_pair.pop(pair))
        chosen.extend(i for pair, i in by_pair.items() if {*pair} <= {*traded})
        exposure = np.zeros((len(order), len(chosen)))
        for j, instrument in enumerate(chosen):
            for currency, sign in zip(instrument.exposure, (1.0, -1.0)):
                if currency in traded:
                    exposure[order.index(currency), j] = sign
        holdings = tuple(
            Holding(
                name=i.name,
                currency=order.index(c),
                side=1.0 if i.exposure.base == c else -1.0,
                is_base=i.exposure.base == c,
            )
            for c, i in zip(traded, chosen)
        )
        return cls(
            currencies=tuple(order),
            account_currency=account_currency,
            instruments=tuple(chosen),
            names=tuple(i.name for i in chosen),
            holdings=holdings,
            exposure=exposure,
            column=np.array([h.currency for h in holdings], dtype=np.intp),
            side=np.array([h.side for h in holdings]),
            steps=tuple(float(i.unit_step) for i in chosen),
            minimums=tuple(float(i.minimum_units) for i in chosen),
        )

    def target_units(self, weights: FloatArray, nav: float, held: Lot) -> list[float]:
        """Signed units of each instrument for currency weights, not yet rounded.

        The target is the net exposure of the currency, open P&L included (base at market, quote at cost): what is added
        trades at market, what is reduced gives back its share of the cost. A currency whose weight is not zero but
        which has no price is an error.
        """
        wishes = weights.tolist()
        targets = []
        for (name, currency, side, is_base), units, average, base, conversion in zip(self.holdings, *held):
            wanted = wishes[currency] * nav
            if wanted == 0:
                targets.append(0.0)
                continue
            if base <= 0:
                raise MissingDataError(f"no price for {name}", hint="a currency without a price cannot have a weight")
            now = side * units * (base if is_base else average * conversion)
            if wanted * now <= 0:
                targets.append(side * wanted / base)
            elif abs(wanted) <= abs(now):
                targets.append(units * (wanted / now))
            else:
                targets.append(units + side * (wanted - now) / base)
        return targets + [0.0] * (len(self.names) - len(targets))

    def allowed_units(self, units: Sequence[float], weights: FloatArray, allowed: FloatArray) -> list[float]:
        """Units cut to the allowed weights, in whole steps rounded towards zero."""
        if allowed is weights:
            return whole(units, self.steps)
        cuts = zip(units, weights.tolist(), allowed.tolist())
        return whole([u * (cut / weight) if abs(cut) < abs(weight) else u for u, weight, cut in cuts], self.steps)


class Lot(NamedTuple):
    """What is held and what it is worth, by instrument: signed units, average entry, account currency per base and
    quote.
    """

    units: list[float]
    average: list[float]
    base_value: list[float]
    conversion: list[float]

    def fractions(self, units: Sequence[float], nav: float) -> FloatArray:
        """The notional of ``units`` at these values, as fractions of NAV."""
        return np.array([u * value / nav for u, value in zip(units, self.base_value)])


def adverse_moves(units: Sequence[float], average: Sequence[float], closing: Sequence[float]) -> list[float]:
    """Each position's move against its entry on the closing side, as a fraction; > 0 loses, NaN where flat.

    ``closing`` are the bids and then the negative asks, as in ``Tape.closing``.
    """
    bids, asks = closing[: len(units)], closing[len(units) :]
    return [
        1 - bid / entry if held > 0 else -ask / entry - 1 if held < 0 else math.nan
        for held, entry, bid, ask in zip(units, average, bids, asks)
    ]


def units_by_instrument(orders: Iterable[Order]) -> dict[str, float]:
    """Signed units of orders, summed by instrument."""
    total: dict[str, float] = {}
    for order in orders:
        total[order.instrument] = total.get(order.instrument, 0.0) + float(order.units)
    return total


def net_exposures(pairs: Sequence[Pair], held: Lot, account_currency: str) -> dict[str, float]:
    """Net exposure by currency in account currency: base at market, quote at cost; the account's own left out."""
    net: dict[str, float] = {}
    for (base, quote), units, average, value, conversion in zip(pairs, *held):
        if units:
            net[base] = net.get(base, 0.0) + units * value
            net[quote] = net.get(quote, 0.0) - units * average * conversion
    net.pop(account_currency, None)
    return net


def whole(units: Sequence[float], steps: Sequence[float]) -> list[float]:
    """Units in whole steps, rounded towards zero (with slack for the last bits of a float)."""
    rounded = []
    for wanted, step in zip(units, steps):
        count = abs(wanted) / step
        size = math.floor(count + (1e-9 if count < 1000 else 1e-12 * count)) * step
        rounded.append(size if wanted > 0 else -size if size else 0.0)
    return rounded


def client_id(account_id: str, at: datetime, instrument: str, leg: str, attempt: int) -> str:
    """A deterministic order id: the same decision derives it again after a restart, a second attempt another."""
    text = f"{account_id}|{at.isoformat()}|{instrument}|{leg}|{attempt}"
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


Leg = tuple[int, str, float, str, bool]
"""One order of a plan before it is an object: the instrument's place in the book, its name, signed units, what kind of
leg it is, and whether it reduces. A plain tuple, since a run makes thousands."""


class Plan(Sequence[Order]):
    """The orders of one decision, in columns; an :class:`~fxcarry.model.Order` is made when one is asked for."""

    def __init__(
        self,
        legs: Sequence[Leg],
        *,
        account_id: str,
        at: datetime,
        reason: str,
        stop_fraction: float | None = None,
        attempt: int = 0,
    ) -> None:
        self.legs = legs
        self.account_id = account_id
        self.at = at
        self.reason = reason
        self.stop_fraction = stop_fraction
        self.attempt = attempt

    @cached_property
    def _orders(self) -> list[Order]:
        return [
            Order(
                client_id=client_id(self.account_id, self.at, name, kind, self.attempt),
                instrument=name,
                units=to_decimal(int(units) if units == int(units) else units),
                is_reducing=is_reducing,
                stop_fraction=None if is_reducing else self.stop_fraction,
                reason=self.reason,
            )
            for _, name, units, kind, is_reducing in self.legs
        ]

    def __len__(self) -> int:
        return len(self.legs)

    @overload
    def __getitem__(self, index: int) -> Order: ...
    @overload
    def __getitem__(self, index: slice) -> list[Order]: ...
    def __getitem__(self, index: int | slice) -> Order | list[Order]:
        return self._orders[index]


def plan(book: Book, target: Sequence[float], held: Sequence[float]) -> list[Leg]:
    """What takes ``held`` units to ``target`` units, reductions first.

    A change of sign becomes two legs, one that closes and one that opens. A difference below the instrument's minimum
    is left alone unless it closes the position.
    """
    reducing: list[Leg] = []
    opening: list[Leg] = []
    for j, (want, have) in enumerate(zip(target, held)):
        if want == have:
            continue
        name, minimum = book.names[j], book.minimums[j]
        if want * have < 0:
            reducing.append((j, name, -have, "close", True))
            opening.append((j, name, want, "open", False))
        elif want == 0 or abs(want - have) >= minimum:
            if abs(want) < abs(have):
                reducing.append((j, name, want - have, "reduce", True))
            else:
                opening.append((j, name, want - have, "open", False))
    return reducing + opening
