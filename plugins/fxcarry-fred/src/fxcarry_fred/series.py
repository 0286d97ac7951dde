"""Which series of FRED stand for which currency: spot with its quoting direction, and rates in the order to try."""

from __future__ import annotations

from datetime import date, timedelta
from types import MappingProxyType
from typing import Literal, TypeVar

import attrs

from fxcarry.conventions import day_count
from fxcarry.errors import ConfigError
from fxcarry.model import FloatArray

Kind = Literal["3m", "overnight"]
Frequency = Literal["daily", "monthly"]

BUDGETS = MappingProxyType({"daily": timedelta(days=10), "monthly": timedelta(days=100)})
"""How long after the last day that it speaks of an observation may be used, by frequency."""


@attrs.frozen
class Spot:
    """A series of the Federal Reserve's H.10 release: noon buying rates in New York, daily.

    ``is_usd_per_unit``: whether it is USD per unit of the currency; otherwise it is units of the currency per USD.
    """

    id: str
    is_usd_per_unit: bool = False


@attrs.frozen
class RateSource:
    """A series of interest rates, in percent a year.

    ``basis`` is the days in the year of the rate as it is published, ``is_discount`` whether it is a bank discount.
    A monthly value is the average of the month whose first day it is dated.
    """

    id: str
    frequency: Frequency
    tenor: Kind
    basis: int
    is_discount: bool = False

    @property
    def budget(self) -> timedelta:
        """How old its last observation may be."""
        return BUDGETS[self.frequency]

    def last_day(self, observed: date) -> date:
        """The last day that an observation speaks of: its own, or the last of its month."""
        if self.frequency == "daily":
            return observed
        return (observed.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)


@attrs.frozen
class CurrencySeries:
    """What FRED has of one currency. ``spot`` is None where H.10 has none, ``three_month`` and ``overnight`` may be
    empty.
    """

    spot: Spot | None
    three_month: tuple[RateSource, ...] = ()
    overnight: tuple[RateSource, ...] = ()

    def candidates(self, kind: Kind) -> tuple[RateSource, ...]:
        """The rates in the order to be tried: those of ``kind``, then the others."""
        both = (self.three_month, self.overnight) if kind == "3m" else (self.overnight, self.three_month)
        return (*both[0], *both[1])


_Rate = TypeVar("_Rate", float, FloatArray)
DISCOUNT_DAYS = 91
"""Days to maturity of the bill that DTB3 is about: thirteen weeks."""


def simple_yield(discount: _Rate, days: int = DISCOUNT_DAYS) -> _Rate:
    """The simple money-market yield (ACT/360) of a bill from its bank discount, both annual decimals.

    The bill costs P = 1 − d·t/360 and pays 1, so r = (1/P − 1)·360/t = d / (1 − d·t/360). P is the price formula of
    31 CFR part 356, appendix B, section V; r is the money-market (CD-equivalent) yield of Stigum, *Money Market
    Calculations*.
    """
    return discount / (1 - discount * days / 360)


def _monthly(area: str, tenor: Kind, basis: int) -> RateSource:
    family = "IR3TIB01" if tenor == "3m" else "IRSTCI01"
    return RateSource(f"{family}{area}M156N", "monthly", tenor, basis)


def _oecd(currency: str, spot: str | None, *, has_3m: bool = True, call_basis: int | None = None) -> CurrencySeries:
    """A currency whose rates are the OECD's monthly ones."""
    area, basis = currency[:2], day_count(currency)
    return CurrencySeries(
        None if spot is None else Spot(spot),
        (_monthly(area, "3m", basis),) if has_3m else (),
        (_monthly(area, "overnight", call_basis or basis),),
    )


def _usd_per(currency: str, spot: str) -> CurrencySeries:
    return attrs.evolve(_oecd(currency, spot), spot=Spot(spot, is_usd_per_unit=True))


_DAILY_GBP = RateSource("IUDSOIA", "daily", "overnight", 365)
TABLE: MappingProxyType[str, CurrencySeries] = MappingProxyType(
    {
        "USD": CurrencySeries(
            None,
            (
                RateSource("DTB3", "daily", "3m", 360, is_discount=True),
                RateSource("DGS3MO", "daily", "3m", 365),
                _monthly("US", "3m", 360),
            ),
            (
                RateSource("DFF", "daily", "overnight", 360),
                RateSource("EFFR", "daily", "overnight", 360),
                RateSource("SOFR", "daily", "overnight", 360),
                RateSource("FEDFUNDS", "monthly", "overnight", 360),
            ),
        ),
        "EUR": CurrencySeries(
            Spot("DEXUSEU", is_usd_per_unit=True),
            (_monthly("EZ", "3m", 360),),
            (
                RateSource("ECBESTRVOLWGTTRMDMNRT", "daily", "overnight", 360),
                RateSource("ECBDFR", "daily", "overnight", 360),
            ),
        ),
        "GBP": CurrencySeries(Spot("DEXUSUK", is_usd_per_unit=True), (_monthly("GB", "3m", 365),), (_DAILY_GBP,)),
        "AUD": _usd_per("AUD", "DEXUSAL"),
        "NZD": _usd_per("NZD", "DEXUSNZ"),
        "JPY": _oecd("JPY", "DEXJPUS", call_basis=365),
        "CHF": _oecd("CHF", "DEXSZUS"),
        "CAD": _oecd("CAD", "DEXCAUS"),
        "NOK": _oecd("NOK", "DEXNOUS"),
        "SEK": _oecd("SEK", "DEXSDUS"),
        "DKK": _oecd("DKK", "DEXDNUS"),
        "MXN": _oecd("MXN", "DEXMXUS"),
        "ZAR": _oecd("ZAR", "DEXSFUS"),
        "KRW": _oecd("KRW", "DEXKOUS"),
        "CNY": _oecd("CNY", "DEXCHUS"),
        "BRL": _oecd("BRL", "DEXBZUS", has_3m=False),
        "INR": _oecd("INR", "DEXINUS", has_3m=False),
        **{currency: _oecd(currency, None) for currency in ("TRY", "PLN", "HUF", "CZK", "ILS", "CLP")},
        "SGD": CurrencySeries(Spot("DEXSIUS")),
        "HKD": CurrencySeries(Spot("DEXHKUS")),
        "THB": CurrencySeries(Spot("DEXTHUS")),
        "TWD": CurrencySeries(Spot("DEXTAUS")),
        "MYR": CurrencySeries(Spot("DEXMAUS")),
    }
)
"""What FRED has, by currency."""


def series_of(currency: str) -> CurrencySeries:
    """What FRED has of a currency; ConfigError where it has nothing that is known here."""
    try:
        return TABLE[currency]
    except KeyError:
        raise ConfigError(
            f"no series of FRED is known for {currency}", hint=f"there are series for {', '.join(sorted(TABLE))}"
        ) from None
