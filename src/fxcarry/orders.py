"""Weights → orders: the border between fractions of NAV and whole units. Pure.

A currency is traded in its market pair against the account currency. Units are rounded towards zero to the instrument's
step, so an order never exceeds what was decided; what cannot be traded in whole steps stays undone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

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
    minimum: FloatArray

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
            minimum=np.array([float(i.minimum_units) for i in chosen]),
        )

    def exposures(
        self, units: FloatArray, average: FloatArray, base_value: FloatArray, conversion: FloatArray
    ) -> FloatArray:
        """Net exposure of each instrument's currency in account currency, signed: base at market, quote at cost."""
        return self.side * units * np.where(self.is_base, base_value, average * conversion)

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


def plan(
    book: Book,
    target: FloatArray,
    held: FloatArray,
    *,
    account_id: str,
    at: datetime,
    reason: str,
    stop_fraction: float | None = None,
    attempt: int = 0,
) -> list[Order]:
    """Orders that take ``held`` units to ``target`` units, reductions first.

    A change of sign becomes two orders, one that closes and one that opens. A difference below the instrument's minimum
    is left alone unless it closes the position.
    """
    reducing: list[Order] = []
    opening: list[Order] = []
    change = target - held
    for j in np.flatnonzero(change).tolist():
        want, have, name = float(target[j]), float(held[j]), book.names[j]
        legs: list[tuple[str, float, bool]] = []
        if want * have < 0:
            legs = [("close", -have, True), ("open", want, False)]
        elif abs(change[j]) >= book.minimum[j] or want == 0:
            is_reducing = abs(want) < abs(have)
            legs = [("reduce" if is_reducing else "open", want - have, is_reducing)]
        for leg, units, is_reducing in legs:
            order = Order(
                client_id=client_id(account_id, at, name, leg, attempt),
                instrument=name,
                units=to_decimal(int(units) if units == int(units) else units),
                is_reducing=is_reducing,
                stop_fraction=None if is_reducing else stop_fraction,
                reason=reason,
            )
            (reducing if is_reducing else opening).append(order)
    return reducing + opening
