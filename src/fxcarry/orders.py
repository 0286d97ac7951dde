"""Weights → orders: the border between fractions of NAV and whole units. Pure.

A currency is traded in its market pair against the account currency. Units are rounded towards zero to the instrument's
step, so an order never exceeds what was decided; what cannot be traded in whole steps stays undone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, overload

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.model import FloatArray, Instrument, Order, Pair, to_decimal


def market_pairs(currencies: Sequence[str], account_currency: str) -> tuple[Pair, ...]:
    """The market pair of each currency against the account currency, which itself is left out."""
    return tuple(Pair.market(c, account_currency) for c in currencies if c != account_currency)


@attrs.frozen(eq=False)
class Book:
    """Which instruments a book of currency weights is held in.

    ``exposure`` (currencies × instruments) is +1 where the currency is the pair's base, −1 where it is the quote, the
    account currency left out. ``column`` is the currency each instrument stands for and ``side`` its sign there.
    """

    currencies: tuple[str, ...]
    account_currency: str
    instruments: tuple[Instrument, ...]
    names: tuple[str, ...]
    exposure: FloatArray
    column: NDArray[np.intp]
    side: FloatArray
    is_base: NDArray[np.bool_]
    step: FloatArray
    minimum: Sequence[float]

    @classmethod
    def of(cls, currencies: Sequence[str], account_currency: str, instruments: Mapping[str, Instrument]) -> Book:
        """One instrument a currency; ConfigError where a currency has none."""
        by_pair = {i.exposure: i for i in instruments.values()}
        traded = [c for c in currencies if c != account_currency]
        chosen: list[Instrument] = []
        for currency in traded:
            pair = Pair.market(currency, account_currency)
            if pair not in by_pair:
                raise ConfigError(f"the broker offers no instrument for {pair}", hint=f"leave {currency} out")
            chosen.append(by_pair[pair])
        exposure = np.zeros((len(currencies), len(chosen)))
        for j, instrument in enumerate(chosen):
            for currency, sign in zip(instrument.exposure, (1.0, -1.0)):
                if currency in traded:
                    exposure[list(currencies).index(currency), j] = sign
        column = np.array([list(currencies).index(c) for c in traded], dtype=np.intp)
        return cls(
            currencies=tuple(currencies),
            account_currency=account_currency,
            instruments=tuple(chosen),
            names=tuple(i.name for i in chosen),
            exposure=exposure,
            column=column,
            side=exposure[column, np.arange(len(chosen))],
            is_base=np.array([i.exposure.base != account_currency for i in chosen], dtype=bool),
            step=np.array([float(i.unit_step) for i in chosen]),
            minimum=[float(i.minimum_units) for i in chosen],
        )

    def exposures(
        self, units: FloatArray, average: FloatArray, base_value: FloatArray, conversion: FloatArray
    ) -> FloatArray:
        """Net exposure of each instrument's currency in account currency, signed: base at market, quote at cost."""
        return self.side * units * np.where(self.is_base, base_value, average * conversion)

    def by_currency(self, values: NDArray[Any]) -> FloatArray:
        """Values by instrument as values by currency of the universe, 0 for the account currency."""
        spread = np.zeros(len(self.currencies))
        spread[self.column] = values
        return spread

    def target_units(
        self,
        weights: FloatArray,
        nav: float,
        *,
        held: FloatArray,
        average: FloatArray,
        base_value: FloatArray,
        conversion: FloatArray,
    ) -> FloatArray:
        """Signed units of each instrument for currency weights, whole steps, rounded towards zero.

        The target is the net exposure of the currency, open P&L included: what is added trades at market, what is
        reduced gives back its share of the cost. ``base_value`` and ``conversion`` are account currency per unit of each
        instrument's base and quote. A currency whose weight is not zero but which has no price is an error.
        """
        wanted = weights[self.column] * nav
        priced = base_value > 0
        if not priced.all() and (wanted[~priced] != 0).any():
            missing = self.names[int(np.flatnonzero(~priced & (wanted != 0))[0])]
            raise MissingDataError(f"no price for {missing}", hint="a currency without a price cannot have a weight")
        now = self.exposures(held, average, base_value, conversion)
        per_unit = np.where(priced, base_value, 1.0)
        anew = self.side * wanted / per_unit
        ratio = np.divide(wanted, now, out=np.zeros(len(now)), where=now != 0)
        added = held + self.side * (wanted - now) / per_unit
        units = np.where(ratio <= 0, anew, np.where(ratio <= 1, held * ratio, added))
        return self.whole(units)

    def whole(self, units: FloatArray) -> FloatArray:
        """Units in whole steps, rounded towards zero (with 1e-9 of a step of slack)."""
        steps = units / self.step
        return np.copysign(np.floor(np.abs(steps) + 1e-9), steps) * self.step


def client_id(account_id: str, at: datetime, instrument: str, leg: str, attempt: int) -> str:
    """A deterministic order id: the same decision derives the same id after a restart, a true second attempt another."""
    text = f"{account_id}|{at.isoformat()}|{instrument}|{leg}|{attempt}"
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


class Leg(NamedTuple):
    """One order of a plan before it is an object: ``column`` is the instrument's place in the book."""

    column: int
    name: str
    units: float
    kind: str
    is_reducing: bool


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
                client_id=client_id(self.account_id, self.at, leg.name, leg.kind, self.attempt),
                instrument=leg.name,
                units=to_decimal(int(leg.units) if leg.units == int(leg.units) else leg.units),
                is_reducing=leg.is_reducing,
                stop_fraction=None if leg.is_reducing else self.stop_fraction,
                reason=self.reason,
            )
            for leg in self.legs
        ]

    def __len__(self) -> int:
        return len(self.legs)

    @overload
    def __getitem__(self, index: int) -> Order: ...
    @overload
    def __getitem__(self, index: slice) -> list[Order]: ...
    def __getitem__(self, index: int | slice) -> Order | list[Order]:
        return self._orders[index]


def plan(book: Book, target: FloatArray, held: FloatArray) -> list[Leg]:
    """What takes ``held`` units to ``target`` units, reductions first.

    A change of sign becomes two legs, one that closes and one that opens. A difference below the instrument's minimum
    is left alone unless it closes the position.
    """
    reducing: list[Leg] = []
    opening: list[Leg] = []
    for j, (want, have) in enumerate(zip(target.tolist(), held.tolist())):
        if want == have:
            continue
        name = book.names[j]
        if want * have < 0:
            reducing.append(Leg(j, name, -have, "close", True))
            opening.append(Leg(j, name, want, "open", False))
        elif want == 0 or abs(want - have) >= book.minimum[j]:
            if abs(want) < abs(have):
                reducing.append(Leg(j, name, want - have, "reduce", True))
            else:
                opening.append(Leg(j, name, want - have, "open", False))
    return reducing + opening
