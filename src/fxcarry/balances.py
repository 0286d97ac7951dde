"""Interest on currency balances in the simulator: what each 17:00 books, by currency.

A spot position is two balances: ``units`` of base, and ``−units × average entry`` of quote. With the cash they are all
a spot account holds. The project's account cash earns nothing, so that returns of NAV are excess returns; here too, and
so the account currency is booked as *excess over an idle account*: the interest on its balance less the interest that
NAV, left as cash at the same venue, would have earned. A flat account books exactly nothing, and a long position paid
from own cash costs the interest forgone.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from fxcarry.errors import MissingDataError
from fxcarry.financing import CurrencyBalanceFinancing
from fxcarry.market import MarketHistory, TimeArray
from fxcarry.model import FloatArray, Pair


@attrs.frozen(kw_only=True, eq=False)
class BalanceRolls:
    """The rolls of a tape by currency, the account currency last.

    ``worth`` is account currency per unit, ``rates`` annual decimals (both ticks × currencies); ``days`` the calendar
    days that a tick's roll covers (0 = no roll), from its trade date to the next weekday. Balances accrue from the
    trade date, as if they had settled.
    """

    financing: CurrencyBalanceFinancing
    pairs: tuple[Pair, ...]
    currencies: tuple[str, ...]
    worth: FloatArray
    rates: FloatArray
    day_counts: Sequence[int]
    days: Sequence[int]
    scale: int

    @classmethod
    def of(
        cls,
        financing: CurrencyBalanceFinancing,
        pairs: tuple[Pair, ...],
        worth: dict[str, FloatArray],
        rates: MarketHistory,
        at: TimeArray,
        days: np.ndarray,
        scale: int,
    ) -> BalanceRolls:
        """The rolls at the instants ``at``; MissingDataError where a currency has a price and no rate at a roll."""
        currencies = tuple(worth)
        known, values = rates.rate_matrix(at, currencies), np.stack(list(worth.values()), 1)
        unknown = ~np.isfinite(known) & (values > 0) & (days[:, None] > 0)
        if unknown.any():
            tick, i = (int(x[0]) for x in np.nonzero(unknown))
            raise MissingDataError(
                f"no rate known for {currencies[i]} at the roll of {str(at[tick])[:10]}",
                hint="start later, or supply the rate; a missing rate is never taken to be zero",
            )
        return cls(
            financing=financing,
            pairs=pairs,
            currencies=currencies,
            worth=values,
            rates=known,
            day_counts=[rates.rates[c].day_count for c in currencies],
            days=days.tolist(),
            scale=scale,
        )

    def legs(self, units: Sequence[float], average: Sequence[float]) -> FloatArray:
        """What each instrument adds to each currency's balance (instruments × currencies), in that currency."""
        legs = np.zeros((len(self.pairs), len(self.currencies)))
        for j, (pair, held, entry) in enumerate(zip(self.pairs, units, average)):
            legs[j, self.currencies.index(pair.base)] += held
            legs[j, self.currencies.index(pair.quote)] -= held * entry
        return legs

    def book(
        self,
        first: int,
        last: int,
        held: tuple[Sequence[float], Sequence[float]],
        cash: int,
        exact: FloatArray,
        balance: FloatArray,
        allocated: FloatArray,
    ) -> list[int]:
        """Write the interest of the ticks ``first`` to ``last`` (not included) and return what each adds to ``cash``.

        ``cash`` and amounts are in minor units. ``exact`` receives interest before rounding, on credit balances and on
        debit balances side by side; ``balance`` what it was paid on; ``allocated`` the same interest by instrument.

        A foreign currency's interest goes to the instruments that hold it, in proportion to their absolute balances.
        Of the account currency's, each instrument is given the credit rate on its own leg, and what remains (a debit's
        larger charge, the free balance, open P&L) is spread in proportion to position sizes.
        """
        exact[:], balance[:], allocated[:] = 0.0, 0.0, 0.0
        booked = [0] * (last - first)
        if not any(held[0]):
            return booked
        legs = self.legs(*held)
        balances = legs.sum(0).tolist()
        foreign = [(i, b) for i, b in enumerate(balances[:-1]) if b]
        home, own = len(balances) - 1, balances[-1]
        worth, rates, days = self.worth[first:last].tolist(), self.rates[first:last].tolist(), self.days[first:last]
        interest, scale, basis = self.financing.interest, self.scale, self.day_counts
        marginal = np.zeros(len(booked))
        for tick, (values, known, covered) in enumerate(zip(worth, rates, days)):
            if not covered:
                continue
            account = own + cash / scale
            nav = account + sum([b * values[i] for i, b in foreign])
            row = {}
            for i, b in foreign:
                paid, _ = interest(b, known[i], basis[i], covered, worth=values[i], nav=nav)
                row[i if b > 0 else i + home + 1] = paid * values[i] * scale
            paid, _ = interest(account, known[home], basis[home], covered, worth=1.0, nav=nav)
            idle, annual = interest(nav, known[home], basis[home], covered, worth=1.0, nav=nav)
            row[home if account > 0 else 2 * home + 1] = (paid - idle) * scale
            marginal[tick] = annual * covered / basis[home] * scale
            exact[tick, list(row)] = list(row.values())
            balance[tick] = balances
            balance[tick, home] = account
            booked[tick] = sum(map(round, row.values()))
            cash += booked[tick]
        by_currency = exact[:, : home + 1] + exact[:, home + 1 :]
        absolute = np.abs(legs[:, :-1])
        total = absolute.sum(0)
        share = np.divide(absolute, total, out=np.zeros_like(absolute), where=total > 0)
        sizes = np.abs(held[0]) * self.worth[first:last, [self.currencies.index(p.base) for p in self.pairs]]
        sizes /= sizes.sum(1, keepdims=True)
        given = marginal[:, None] * legs[:, -1]
        rest = by_currency[:, -1] - given.sum(1)
        np.copyto(allocated, by_currency[:, :-1] @ share.T + given + rest[:, None] * sizes)
        return booked
