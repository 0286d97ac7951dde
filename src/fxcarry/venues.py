"""Cost profiles of venues, chosen by name: what trading costs there and what holding a position earns or pays.

A profile is data with its sources. Nothing is fetched, and none speaks for the broker whose published terms it follows:
terms change and differ by country and client. Replace a number with ``attrs.evolve`` where you know your own.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from fxcarry.costs import Costs
from fxcarry.errors import ConfigError
from fxcarry.financing import BenchmarkFinancing, CurrencyBalanceFinancing

_INSTITUTIONAL = {
    "USD": 0.0, "EUR": 0.4, "JPY": 0.5, "GBP": 0.8, "AUD": 1.0, "CAD": 0.9, "CHF": 1.0, "NZD": 1.6, "SEK": 3.0,
    "NOK": 3.0, "SGD": 2.0, "CNH": 1.5, "MXN": 3.0, "ZAR": 5.0, "PLN": 4.0, "HUF": 5.0, "CZK": 5.0, "ILS": 6.0,
    "TRY": 10.0,
}  # fmt: skip
_ADMINISTRATIVE_FEE = {
    "default": 0.01, "CZK": 0.02, "HUF": 0.02, "SAR": 0.02, "THB": 0.02, "ZAR": 0.02, "TRY": 0.04,
}  # fmt: skip


@attrs.frozen(kw_only=True)
class Venue:
    """A cost profile.

    ``costs`` is what trading costs, ``financing`` what is booked overnight, ``summary`` one sentence for reports;
    ``sources`` says for each group of numbers where they come from.
    """

    name: str
    costs: Costs
    financing: BenchmarkFinancing | CurrencyBalanceFinancing
    summary: str
    sources: Mapping[str, str]

    def without_markup(self) -> Venue:
        """The same venue keeping nothing of the interest: both sides at the benchmark rates, trading costs as before.

        Balance interest becomes the benchmark differential of the positions: free balances, tiers and the floor of the
        credit rate are part of what the venue keeps.
        """
        return attrs.evolve(
            self,
            financing=BenchmarkFinancing(0.0),
            summary=f"{self.name} without its mark-up on financing: benchmark rates on both sides",
        )


_VENUES = (
    Venue(
        name="interbank",
        costs=Costs(spread_bps=_INSTITUTIONAL),
        financing=BenchmarkFinancing(0.001),
        summary="institutional spreads; financing at the benchmark less 0.10 % a year on each side",
        sources={
            "spreads": "typical institutional spreads, market practice, undated",
            "mark-up 0.10 % a year": "assumption",
        },
    ),
    Venue(
        name="oanda",
        costs=Costs(),
        financing=BenchmarkFinancing(_ADMINISTRATIVE_FEE),
        summary=(
            "OANDA-like: retail spreads; financing at the benchmark less an administrative fee a year on each side of "
            "1 %, 2 % in pairs with CZK, HUF, SAR, THB or ZAR, 4 % with TRY"
        ),
        sources={
            "spreads": "a dealing desk's published averages, undated",
            "administrative fee 1 %, 2 %, 4 % a year": "published fee table (US), undated; 0.8 % is also reported",
            "benchmark rates": "the rates of the data, in place of the desk's own blend of tom-next rates: assumption",
        },
    ),
    Venue(
        name="ib",
        costs=Costs(spread_bps=_INSTITUTIONAL, commission_bps=0.2),
        financing=CurrencyBalanceFinancing(),
        summary=(
            "Interactive Brokers-like: spot as currency balances, credit at the benchmark − 0.5 % above 10,000 and "
            "scaled below a NAV of 100,000, debit at the benchmark + 1.5 %; institutional spreads and 0.2 bp "
            "commission, without its minimum of USD 2 an order, which raises the cost of orders below USD 100,000"
        ),
        sources={
            "spreads": "typical institutional spreads, market practice, undated: assumption for this venue",
            "commission 0.2 bp (minimum USD 2 not charged)": "published fee schedule, lowest volume tier, undated",
            "credit − 0.5 %, debit + 1.5 %": "published schedule, smallest balances, undated; larger tiers left out",
            "10,000 without interest, scaled below NAV 100,000": "published schedule in USD, undated; taken in account "
            "currency: assumption",
        },
    ),
)


def venues() -> Mapping[str, Venue]:
    """Every profile by name (read-only)."""
    return MappingProxyType({v.name: v for v in _VENUES})


def venue(name: str) -> Venue:
    """The profile called ``name``; ConfigError, with the nearest name, where there is none."""
    known = venues()
    if name not in known:
        near = difflib.get_close_matches(str(name).lower(), list(known), 1, cutoff=0.5)
        raise ConfigError(
            f"unknown venue {name!r}" + (f', did you mean "{near[0]}"?' if near else ""),
            hint=f"one of {', '.join(known)}",
        )
    return known[name]
