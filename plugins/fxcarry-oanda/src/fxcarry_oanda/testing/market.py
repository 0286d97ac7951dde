"""Instruments, prices, opening hours and conversions of the fake venue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import attrs

from fxcarry.model import Snapshot

NEW_YORK = ZoneInfo("America/New_York")
CLOSING = time(17)
LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)

INSTRUMENTS = re.findall(
    r"\w+",
    "AUD_CAD AUD_CHF AUD_HKD AUD_JPY AUD_NZD AUD_SGD AUD_USD CAD_CHF CAD_HKD CAD_JPY CAD_SGD CHF_HKD CHF_JPY CHF_ZAR "
    "EUR_AUD EUR_CAD EUR_CHF EUR_CZK EUR_DKK EUR_GBP EUR_HKD EUR_HUF EUR_JPY EUR_NOK EUR_NZD EUR_PLN EUR_SEK EUR_SGD "
    "EUR_TRY EUR_USD EUR_ZAR GBP_AUD GBP_CAD GBP_CHF GBP_HKD GBP_JPY GBP_NZD GBP_PLN GBP_SGD GBP_USD GBP_ZAR HKD_JPY "
    "NZD_CAD NZD_CHF NZD_HKD NZD_JPY NZD_SGD NZD_USD SGD_CHF SGD_JPY TRY_JPY USD_CAD USD_CHF USD_CNH USD_CZK USD_DKK "
    "USD_HKD USD_HUF USD_JPY USD_MXN USD_NOK USD_PLN USD_SEK USD_SGD USD_THB USD_TRY USD_ZAR ZAR_JPY",
)
"""Currency pairs as the venue names them."""

# Round figures of overnight rates, from which the venue's own rates are made with a mark-up.
_RATES = {
    "AUD": "0.0385", "CAD": "0.0275", "CHF": "0.0025", "CNH": "0.0160", "CZK": "0.0350", "DKK": "0.0180",
    "EUR": "0.0200", "GBP": "0.0420", "HKD": "0.0330", "HUF": "0.0650", "JPY": "0.0050", "MXN": "0.0800",
    "NOK": "0.0425", "NZD": "0.0325", "PLN": "0.0500", "SEK": "0.0200", "SGD": "0.0200", "THB": "0.0175",
    "TRY": "0.4300", "USD": "0.0430", "ZAR": "0.0700",
}  # fmt: skip
_MARKUP = Decimal("0.0100")
_THREE_DIGITS = frozenset({"JPY", "HUF", "THB"})
_MARGIN = {"TRY": "0.25", "ZAR": "0.07", "MXN": "0.07", "THB": "0.05", "HUF": "0.05", "CZK": "0.05", "PLN": "0.05"}
_FACTOR = Decimal("1E-10")
_MONEY = Decimal("0.0001")


def plain(number: Decimal) -> str:
    """A number as the venue writes it: all digits, no exponent."""
    return format(number, "f")


def cents(number: Decimal) -> Decimal:
    """Money as the venue books it: four decimals, half to even."""
    return number.quantize(_MONEY) + 0  # no minus before a zero


def stamp(at: datetime) -> str:
    """A time as the venue writes it: RFC 3339 with nine decimals and Z."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}000Z"


def moment(text: str) -> datetime:
    """A time as a client writes it, RFC 3339 or UNIX seconds; ValueError where it is neither."""
    if text.replace(".", "", 1).isdigit():
        whole, _, part = text.partition(".")
        return datetime.fromtimestamp(int(whole), UTC) + timedelta(microseconds=int(f"{part:0<6.6}"))
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return at.astimezone(UTC)


def is_open(at: datetime) -> bool:
    """Whether the market is open: Sunday 17:00 to Friday 17:00 New York."""
    local = at.astimezone(NEW_YORK)
    is_late = local.time() >= CLOSING
    return {4: not is_late, 5: False, 6: is_late}.get(local.weekday(), True)


def closings(after: datetime, until: datetime) -> Iterator[tuple[date, datetime]]:
    """Every 17:00 New York in (after, until], weekends too, with the New York date it falls on."""
    day = after.astimezone(NEW_YORK).date()
    while (at := datetime.combine(day, CLOSING, NEW_YORK).astimezone(UTC)) <= until:
        if at > after:
            yield day, at
        day += timedelta(days=1)


@attrs.define
class Terms:
    """What can be traded, and on which terms. Change it to change the venue."""

    name: str
    display_precision: int
    margin_rate: Decimal
    units_precision: int = 0
    minimum_units: Decimal = Decimal(1)
    maximum_units: Decimal = Decimal(100_000_000)
    is_tradeable: bool = True

    @classmethod
    def of(cls, name: str) -> Terms:
        """The usual terms of a pair."""
        digits = 3 if name[4:] in _THREE_DIGITS else 5
        margin = max([Decimal(_MARGIN[c]) for c in (name[:3], name[4:]) if c in _MARGIN], default=Decimal("0.0333"))
        return cls(name, digits, margin)

    @property
    def base(self) -> str:
        """The currency that units are counted in."""
        return self.name[:3]

    @property
    def quote(self) -> str:
        """The currency that prices are in."""
        return self.name[4:]

    def rounded(self, price: Decimal) -> Decimal:
        """A price at the venue's precision."""
        return price.quantize(Decimal(1).scaleb(-self.display_precision))


def default_rates() -> dict[str, tuple[str, str]]:
    """(longRate, shortRate) of every instrument: the difference of two overnight rates less 1 % on either side."""
    rates = {}
    for name in INSTRUMENTS:
        carry = Decimal(_RATES[name[:3]]) - Decimal(_RATES[name[4:]])
        rates[name] = (plain(carry - _MARKUP), plain(-carry - _MARKUP))
    return rates


@attrs.frozen
class Price:
    """Bid and ask at the venue's precision, and since when."""

    bid: Decimal
    ask: Decimal
    at: datetime

    @property
    def mid(self) -> Decimal:
        """Half way between bid and ask."""
        return (self.bid + self.ask) / 2


class Market:
    """Prices of every instrument, moved on by snapshots; ``home`` is the currency of the account.

    ``conversion_fee`` is the fraction of the mid price the venue keeps when it converts P&L and financing into
    ``home``.
    """

    def __init__(self, home: str, conversion_fee: Decimal) -> None:
        self.home = home
        self.conversion_fee = conversion_fee
        self.at = LONG_AGO
        self.terms = {name: Terms.of(name) for name in INSTRUMENTS}
        self.prices: dict[str, Price] = {}
        self.ticks: dict[str, list[Price]] = {}
        self.halted: set[str] = set()
        self.liquidity: dict[str, int] = {}
        self._legs: dict[tuple[str, str], Price] = {}

    def quote(self, snapshot: Snapshot) -> None:
        """Take over the quotes of a snapshot, whichever way round; derive the crosses that nobody ever quoted."""
        self.at = snapshot.at
        for (base, quote), given in snapshot.quotes.items():
            price = Price(given.bid, given.ask, min(given.as_of, snapshot.at))
            if f"{base}_{quote}" not in self.terms and f"{quote}_{base}" in self.terms:
                base, quote, price = quote, base, Price(1 / given.ask, 1 / given.bid, price.at)
            if (terms := self.terms.get(f"{base}_{quote}")) is not None:
                price = Price(terms.rounded(price.bid), terms.rounded(price.ask), price.at)
            self._legs[base, quote] = price
        for name, terms in self.terms.items():
            found = self._between(terms.base, terms.quote)
            if found is None:
                continue
            price = Price(terms.rounded(found.bid), terms.rounded(found.ask), found.at)
            if self.prices.get(name) != price:
                self.prices[name] = price
                self.ticks.setdefault(name, []).append(price)

    def is_tradeable(self, name: str) -> bool:
        """Whether an order in the instrument would be dealt now."""
        terms = self.terms[name]
        return (
            name in self.prices
            and name not in self.halted
            and is_open(self.at)
            and all(self.can_value(currency) for currency in (terms.base, terms.quote))
        )

    def can_value(self, currency: str) -> bool:
        """Whether a currency can be converted into account currency."""
        return currency == self.home or self._between(currency, self.home) is not None

    def value(self, currency: str) -> Decimal:
        """Account currency per unit of a currency, at mid."""
        if currency == self.home:
            return Decimal(1)
        found = self._between(currency, self.home)
        assert found is not None, f"{currency} cannot be converted into {self.home}"
        return found.mid.quantize(_FACTOR)

    def factors(self, currency: str) -> tuple[Decimal, Decimal]:
        """Account currency per unit of a currency for a gain and for a loss, after the venue's fee."""
        if currency == self.home:
            return Decimal(1), Decimal(1)
        mid = self.value(currency)
        return (mid * (1 - self.conversion_fee)).quantize(_FACTOR), (mid * (1 + self.conversion_fee)).quantize(_FACTOR)

    def into_home(self, amount: Decimal, currency: str) -> Decimal:
        """An amount converted by the factor for its sign, not rounded."""
        gain, loss = self.factors(currency)
        return amount * (gain if amount > 0 else loss)

    def _leg(self, base: str, quote: str) -> Price | None:
        """A quoted pair, whichever way round."""
        if (price := self._legs.get((base, quote))) is not None:
            return price
        if (price := self._legs.get((quote, base))) is not None:
            return Price(1 / price.ask, 1 / price.bid, price.at)
        return None

    def _between(self, base: str, quote: str) -> Price | None:
        """The price of one currency in another: quoted, or across USD, EUR or any other currency."""
        if (price := self._leg(base, quote)) is not None:
            return price
        for middle in dict.fromkeys(("USD", "EUR", *(c for pair in self._legs for c in pair))):
            one, other = self._leg(base, middle), self._leg(middle, quote)
            if one is not None and other is not None:
                return Price(one.bid * other.bid, one.ask * other.ask, min(one.at, other.at))
        return None
