"""Financing as cash: three models of what a broker pays or charges for holding a position overnight.

All are evaluated at 17:00 New York on what is open at that instant, post once per (account, instrument, side, trade
date), and use one sign: an amount > 0 is received. Formulas run on Decimal (one posting) and on float64 arrays (a whole
backtest) alike.

Sources: OANDA's published financing example (units × price × rate × days / 365); Interactive Brokers' published FX CFD
example (benchmark ± spread, / 360) and its interest schedule for cash balances.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

import attrs
import numpy as np

from fxcarry.conventions import roll_days
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.model import Account, FloatArray, Pair, Posting, Rate, Snapshot, to_decimal

Number = Decimal | int | str | float


def _accrual(units: Any, price: Any, rate: Any, days: Any, year_days: Any) -> Any:
    """``units × price × rate × days / year_days``, in quote currency, on numbers or arrays."""
    return units * price * rate * days / year_days


class FinancingModel(Protocol):
    """What every model offers. ``pair_of`` maps an instrument name to the pair it stands for."""

    def postings(self, account: Account, snapshot: Snapshot, trade_date: date) -> list[Posting]:
        """The postings of one roll, unrounded; raises MissingDataError rather than post zero for a missing rate."""
        ...


@attrs.frozen(kw_only=True)
class RollInputs:
    """What one or many rolls need, as arrays (rolls × instruments) unless said.

    ``price`` is quote per base at the roll; ``days`` the calendar days it covers; ``base_rate`` and ``quote_rate`` the
    annual rates known then; the day counts are vectors by instrument.
    """

    names: Sequence[str]
    price: FloatArray
    days: FloatArray
    base_rate: FloatArray
    quote_rate: FloatArray
    base_day_count: FloatArray
    quote_day_count: FloatArray


def _require(rate: Rate | None, currency: str, trade_date: date) -> Rate:
    if rate is None or not np.isfinite(rate.value):
        raise MissingDataError(
            f"no {currency} rate for the roll of {trade_date}",
            hint="a missing rate is never taken to be zero; leave the currency out or supply its rate",
            fields={"currency": currency, "trade_date": trade_date},
        )
    return rate


def _positions(account: Account) -> list[tuple[str, Decimal]]:
    return [(name, p.units) for name, p in account.positions.items() if p.units]


def _price(snapshot: Snapshot, pair: Pair, trade_date: date) -> Decimal:
    quote = snapshot.quotes.get(pair)
    if quote is not None:
        return quote.mid
    inverse = snapshot.quotes.get(pair.inverse)
    if inverse is not None:
        return 1 / inverse.mid
    raise MissingDataError(
        f"no {pair} price for the roll of {trade_date}", hint="the roll stays unbooked until there is one"
    )


def _posting(
    account: Account, instrument: str, units: Decimal, trade_date: date, days: int, rate: Decimal, amount: Decimal,
    currency: str,
) -> Posting:  # fmt: skip
    return Posting(
        account_id=account.id,
        instrument=instrument,
        side="long" if units > 0 else "short",
        trade_date=trade_date,
        days=days,
        units=units,
        rate=rate,
        amount=amount,
        currency=currency,
    )


@attrs.frozen
class PairRateFinancing:
    """Model A: an annual rate per pair and side, as OANDA publishes it. A positive rate is a credit on both sides.

    ``long_rate`` and ``short_rate`` are annual decimals, one for every instrument or a mapping by instrument name.
    """

    long_rate: Number | Mapping[str, Number]
    short_rate: Number | Mapping[str, Number]
    year_days: int = 365

    def __attrs_post_init__(self) -> None:
        for name, given in (("long_rate", self.long_rate), ("short_rate", self.short_rate)):
            for where, rate in given.items() if isinstance(given, Mapping) else [("", given)]:
                if not to_decimal(rate).is_finite():
                    raise ConfigError(f"{name} {where} is {rate}", hint="an annual decimal such as -0.03")

    def rate(self, instrument: str, units: Any) -> Decimal:
        """The annual rate that applies to the side held; MissingDataError where a mapping lacks the instrument."""
        table = self.long_rate if units > 0 else self.short_rate
        if not isinstance(table, Mapping):
            return to_decimal(table)
        if instrument not in table:
            raise MissingDataError(f"no financing rate for {instrument}", hint="a missing rate is never zero")
        return to_decimal(table[instrument])

    def accrue(self, units: Number, price: Number, days: int, *, instrument: str = "") -> Decimal:
        """Cash in quote currency for holding ``units`` (signed, base) over a roll of ``days`` at ``price``; > 0
        received.

        Floats are read through their text. Short positions use ``short_rate`` on the absolute size.
        """
        held = to_decimal(units)
        amount: Decimal = _accrual(
            abs(held), to_decimal(price), self.rate(instrument, held), to_decimal(days), self.year_days
        )
        return amount

    def postings(self, account: Account, snapshot: Snapshot, trade_date: date) -> list[Posting]:
        """One posting per open position, in the pair's quote currency."""
        posted = []
        for name, units in _positions(account):
            pair = Pair.parse(name)
            days = roll_days(pair, trade_date)
            amount = self.accrue(units, _price(snapshot, pair, trade_date), days, instrument=name)
            rate = self.rate(name, units)
            posted.append(_posting(account, name, units, trade_date, days, rate, amount, pair.quote))
        return posted

    def per_unit(self, rolls: RollInputs) -> tuple[FloatArray, FloatArray]:
        """Quote currency received per unit held long and per unit held short, for every roll and instrument."""
        long = np.array([float(self.rate(n, 1)) for n in rolls.names])
        short = np.array([float(self.rate(n, -1)) for n in rolls.names])
        return (
            _accrual(1.0, rolls.price, long, rolls.days, self.year_days),
            _accrual(1.0, rolls.price, short, rolls.days, self.year_days),
        )


@attrs.frozen
class BenchmarkFinancing:
    """Model C: the rate differential base − quote, less ``markup`` on each side (annual decimal, >= 0).

    A long earns ``benchmark − markup``, a short pays ``benchmark + markup``. With ``year_days=None`` each currency
    accrues on its own day count and the mark-up on 365; a number (IB: 360) is used for everything.

    ``markup`` is one number, or a mapping by pair name (``"EURTRY"``) and currency (``"TRY"``): a pair that is not
    listed itself pays the higher of its two currencies', and the key ``"default"`` stands for every currency not
    listed.
    """

    markup: float | Mapping[str, float] = 0.0
    year_days: int | None = None

    def __attrs_post_init__(self) -> None:
        for where, markup in self.markup.items() if isinstance(self.markup, Mapping) else [("", self.markup)]:
            if not 0 <= markup < 1:
                raise ConfigError(
                    f"markup {where} is {markup}" if where else f"markup is {markup}",
                    hint="an annual decimal >= 0 and < 1: 0.01 is 1 % a year",
                )

    def markup_of(self, pair: Pair) -> float:
        """The mark-up on either side of a pair; MissingDataError where a mapping names neither it nor a default."""
        table = self.markup
        if not isinstance(table, Mapping):
            return table
        if str(pair) in table:
            return table[str(pair)]
        try:
            return max(table[c] if c in table else table["default"] for c in pair)
        except KeyError:
            raise MissingDataError(
                f"no financing mark-up for {pair}",
                hint=f'list {pair}, both its currencies, or a "default"; a missing mark-up is never zero',
            ) from None

    def _legs(self, price: Any, days: Any, base: Any, quote: Any, base_dc: Any, quote_dc: Any, m: Any) -> Any:
        """(benchmark, mark-up) accrual per unit in quote currency."""
        flat = self.year_days
        benchmark = _accrual(1, price, base, days, flat or base_dc) - _accrual(1, price, quote, days, flat or quote_dc)
        return benchmark, _accrual(1, price, m, days, flat or 365)

    def postings(self, account: Account, snapshot: Snapshot, trade_date: date) -> list[Posting]:
        """One posting per open position, in the pair's quote currency."""
        posted = []
        for name, units in _positions(account):
            pair = Pair.parse(name)
            base = _require(snapshot.rates.get(pair.base), pair.base, trade_date)
            quote = _require(snapshot.rates.get(pair.quote), pair.quote, trade_date)
            days = roll_days(pair, trade_date)
            margin = to_decimal(self.markup_of(pair))
            benchmark, markup = self._legs(
                _price(snapshot, pair, trade_date),
                days,
                to_decimal(base.value),
                to_decimal(quote.value),
                base.day_count,
                quote.day_count,
                margin,
            )
            differential = to_decimal(base.value) - to_decimal(quote.value)
            rate = differential - margin if units > 0 else -differential - margin
            amount = units * benchmark - abs(units) * markup
            posted.append(_posting(account, name, units, trade_date, days, rate, amount, pair.quote))
        return posted

    def per_unit(self, rolls: RollInputs) -> tuple[FloatArray, FloatArray]:
        """Quote currency received per unit held long and per unit held short, for every roll and instrument."""
        margin: Any = self.markup
        if isinstance(margin, Mapping):
            margin = np.array([self.markup_of(Pair.parse(name)) for name in rolls.names])
        benchmark, markup = self._legs(
            rolls.price,
            rolls.days,
            rolls.base_rate,
            rolls.quote_rate,
            rolls.base_day_count,
            rolls.quote_day_count,
            margin,
        )
        return benchmark - markup, -benchmark - markup


@attrs.frozen
class CurrencyBalanceFinancing:
    """Model B: interest on the net settled balance of each currency, as IB pays it on spot FX.

    A credit balance earns ``rate − credit_spread`` (never below zero) on the part above ``free_balance``; a debit
    balance is charged ``rate + debit_spread``. ``free_balance`` is in account currency; below ``full_rate_nav`` the
    credit rate is scaled by NAV / ``full_rate_nav``. Amounts are in the balance's own currency.

    :meth:`postings` are what the venue books. The simulator's account cash earns nothing, so that NAV returns are
    excess returns: it books the account currency's interest less what NAV would have earned as idle cash at the same
    venue (:mod:`fxcarry.balances`), so that a flat account books exactly nothing.
    """

    credit_spread: float = 0.005
    debit_spread: float = 0.015
    free_balance: float = 10_000.0
    full_rate_nav: float = 100_000.0

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"{field.name} is {value}", hint="spreads are annual decimals, amounts money, >= 0")

    def interest(
        self, balance: Any, rate: Any, day_count: int, days: int, *, worth: Any, nav: Any, number: Any = float
    ) -> tuple[Any, Any]:
        """(interest, annual rate) on one balance over ``days``, in its own currency; > 0 received.

        ``worth`` is account currency per unit, ``nav`` in account currency; ``number`` (float or
        :func:`~fxcarry.model.to_decimal`) the kind that all are of.
        """
        if balance > 0:
            bearing = max(balance - number(self.free_balance) / worth, number(0))
            annual = max(rate - number(self.credit_spread), number(0))
            if self.full_rate_nav:
                annual *= min(max(nav / number(self.full_rate_nav), number(0)), number(1))
        else:
            bearing, annual = balance, rate + number(self.debit_spread)
        return _accrual(bearing, 1, annual, number(days), day_count), annual

    def postings(self, account: Account, snapshot: Snapshot, trade_date: date) -> list[Posting]:
        """One posting per currency whose settled balance is not zero, for the calendar days to the next weekday.

        ``account.balances`` must be settled balances: a trade first accrues on its value date.
        """
        if trade_date.weekday() > 4:
            raise ConfigError(f"{trade_date} is not a weekday", hint="every weekday is a trade date, others are not")
        days = 3 if trade_date.weekday() == 4 else 1
        posted = []
        for currency, balance in account.balances.items():
            if not balance:
                continue
            rate = _require(snapshot.rates.get(currency), currency, trade_date)
            worth = Decimal(1)
            if balance > 0 and currency != account.currency:
                worth = _price(snapshot, Pair(currency, account.currency), trade_date)
            amount, annual = self.interest(
                balance, to_decimal(rate.value), rate.day_count, days, worth=worth, nav=account.nav, number=to_decimal
            )
            posted.append(_posting(account, currency, balance, trade_date, days, annual, amount, currency))
        return posted

    def marginal(
        self, rolls: RollInputs, names: Sequence[Pair], account_currency: str
    ) -> tuple[FloatArray, FloatArray]:
        """What being long and being short each pair adds in 365 days, as a fraction of its size (ticks × pairs).

        At full rates, above the free balance, and while the account currency's own balance stays positive: what is
        held earns the credit rate; what is owed is charged the debit rate, but account currency spent only forgoes its
        credit rate.
        """

        def side(rate: FloatArray, day_count: FloatArray, place: int) -> tuple[FloatArray, FloatArray]:
            is_own = np.array([pair[place] == account_currency for pair in names])
            credit = np.maximum(rate - self.credit_spread, 0.0)
            debit = np.where(is_own, credit, rate + self.debit_spread)
            return credit * 365.0 / day_count, debit * 365.0 / day_count

        base_credit, base_debit = side(rolls.base_rate, rolls.base_day_count, 0)
        quote_credit, quote_debit = side(rolls.quote_rate, rolls.quote_day_count, 1)
        return base_credit - quote_debit, quote_credit - base_debit


def carry_and_markup(long_rate: float, short_rate: float) -> tuple[float, float]:
    """Split a pair's two financing rates into (mid carry, mark-up): ((L − S) / 2, −(L + S) / 2), annual decimals."""
    return (long_rate - short_rate) / 2, -(long_rate + short_rate) / 2


class FinancingBook:
    """Remembers what was posted, so that running the 17:00 job twice posts once."""

    def __init__(self, posted: Collection[tuple[str, str, str, date]] = ()) -> None:
        self._posted = set(posted)

    def new(self, postings: Sequence[Posting]) -> list[Posting]:
        """The postings not seen before; they count as posted from now on."""
        fresh = []
        for posting in postings:
            if posting.key not in self._posted:
                self._posted.add(posting.key)
                fresh.append(posting)
        return fresh
