"""What a broker pays for holding a pair beside what its currencies pay between banks: mark-up, gap, tonight's money.

One sign throughout: a rate or an amount above zero is received by whoever holds that side. Rates are annual decimals of
365 days; amounts are units × price × rate × days / 365. What is not published stays unknown, and is never zero.

Source: OANDA's published financing example (the accrual). Mid and mark-up solve ``long = m − k``, ``short = −m − k``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import attrs

from fxcarry.conventions import roll_days
from fxcarry.errors import MissingDataError
from fxcarry.financing import PairRateFinancing, carry_and_markup
from fxcarry.journal.books import conversion
from fxcarry.model import Instrument, Pair, Rate


@attrs.frozen(kw_only=True)
class CarryGap:
    """One pair's financing at a broker beside the interbank differential, in annual decimals.

    ``pays_long`` and ``pays_short`` are what the broker pays either side, None where it publishes nothing;
    ``differential`` is what a long would be paid between banks, base less quote, each on its own day count, None where
    a rate is not known. A short would be paid as much with the other sign.
    """

    instrument: str
    pair: Pair
    pays_long: float | None
    pays_short: float | None
    differential: float | None

    @property
    def middle(self) -> float | None:
        """The differential that the broker's two rates imply, mark-up taken out: (long − short) / 2."""
        both = self._both()
        return None if both is None else carry_and_markup(*both)[0]

    @property
    def markup(self) -> float | None:
        """What the broker keeps on either side: −(long + short) / 2."""
        both = self._both()
        return None if both is None else carry_and_markup(*both)[1]

    @property
    def gap_long(self) -> float | None:
        """What a long is paid beyond the interbank differential; below zero it is paid less."""
        known = self.pays_long is not None and self.differential is not None
        return self.pays_long - self.differential if known else None  # type: ignore[operator]

    @property
    def gap_short(self) -> float | None:
        """What a short is paid beyond the interbank differential of its side; below zero it is paid less."""
        known = self.pays_short is not None and self.differential is not None
        return self.pays_short + self.differential if known else None  # type: ignore[operator]

    def _both(self) -> tuple[float, float] | None:
        long, short = self.pays_long, self.pays_short
        return None if long is None or short is None else (long, short)


def gap_of(instrument: Instrument, rates: Mapping[str, Rate]) -> CarryGap:
    """What a broker's instrument pays beside the rates known by currency."""
    base, quote = (rates.get(currency) for currency in instrument.exposure)
    differential = None
    if base is not None and quote is not None:
        differential = base.value * 365 / base.day_count - quote.value * 365 / quote.day_count
    return CarryGap(
        instrument=instrument.name,
        pair=instrument.exposure,
        pays_long=instrument.financing_long,
        pays_short=instrument.financing_short,
        differential=differential,
    )


def days_charged(instrument: Instrument, trade_date: date) -> int:
    """The days of financing that are booked at the end of a trade date: the venue's own schedule where it has one, else
    the :func:`~fxcarry.conventions.roll_days` of the pair.
    """
    if instrument.financing_days is None:
        return roll_days(instrument.exposure, trade_date)
    try:
        return instrument.financing_days[trade_date.weekday()]
    except KeyError:
        raise MissingDataError(
            f"{instrument.name} has no days of financing for a {trade_date:%A}",
            hint="the venue's schedule must name every weekday, with 0 where nothing is charged",
        ) from None


def overnight(instrument: Instrument, units: Decimal, price: Decimal, trade_date: date) -> Decimal:
    """What a position is booked at the end of a trade date, in quote currency, unrounded; > 0 received.

    ``units`` are signed, ``price`` is quote per base. MissingDataError where the venue does not publish the rate of the
    side that is held.
    """
    rate = instrument.financing_long if units > 0 else instrument.financing_short
    if rate is None:
        raise MissingDataError(
            f"the venue publishes no financing rate for {instrument.name}",
            hint="what it will book is not known; a missing rate is never zero",
        )
    return PairRateFinancing(rate, rate).accrue(units, price, days_charged(instrument, trade_date))


def price_of(pair: Pair, mids: Mapping[Pair, Decimal]) -> Decimal:
    """Quote per base as the pair is quoted, or else as its two currencies are; MissingDataError where they are not."""
    return conversion(pair.base, pair.quote, mids)


def overnight_in(
    currency: str, instrument: Instrument, units: Decimal, mids: Mapping[Pair, Decimal], trade_date: date
) -> Decimal:
    """As :func:`overnight`, in another currency, priced and converted at ``mids``."""
    pair = instrument.exposure
    amount = overnight(instrument, units, price_of(pair, mids), trade_date)
    return amount * conversion(pair.quote, currency, mids)
