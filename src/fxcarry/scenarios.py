"""The scenarios books are stressed with: plain data, the moves of each currency against USD and their dates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from types import MappingProxyType

import attrs

from fxcarry.errors import ConfigError
from fxcarry.model import check_currency

_CLOSES = "Computed from daily closes."


def _moves(value: Mapping[str, float]) -> Mapping[str, float]:
    moves = {check_currency(c, "moves"): float(m) for c, m in value.items()}
    for currency, move in moves.items():
        if not (math.isfinite(move) and move > -1):
            raise ConfigError(f"the move of {currency} is {move}", hint="a decimal above -1, such as -0.12 for -12 %")
    if moves.get("USD", 0.0) != 0:
        raise ConfigError(f"the move of USD is {moves['USD']}", hint="moves are against USD: leave it out")
    return MappingProxyType(moves)


@attrs.frozen(kw_only=True)
class Scenario:
    """One shock: how much each currency gains (> 0) or loses against USD, as a decimal, from ``start`` to ``end``.

    ``start`` is the last day before the shock, both None where it never happened. ``by_side`` stands in for ``moves``
    where the shock depends on the book: the move, against the account currency, of what the book is long, and of what
    it is short. ``spread_multiplier`` widens the spreads of whatever is closed after the gap.
    """

    name: str
    start: date | None = None
    end: date | None = None
    moves: Mapping[str, float] = attrs.field(factory=dict, converter=_moves)
    by_side: tuple[float, float] | None = None
    spread_multiplier: float = 1.0
    is_hypothetical: bool = False
    note: str = ""

    def __attrs_post_init__(self) -> None:
        if not (math.isfinite(self.spread_multiplier) and self.spread_multiplier >= 0):
            raise ConfigError(f"scenario {self.name}: spread_multiplier is {self.spread_multiplier}", hint=">= 0")
        if bool(self.moves) == (self.by_side is not None):
            raise ConfigError(f"scenario {self.name} needs either moves by currency or by_side, and not both")
        if self.by_side is not None and not all(math.isfinite(m) and m > -1 for m in self.by_side):
            raise ConfigError(f"scenario {self.name}: by_side is {self.by_side}", hint="two decimals above -1")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ConfigError(f"scenario {self.name} starts on {self.start} and ends on {self.end}")

    @property
    def dates(self) -> str:
        """The period as text."""
        return f"{self.start}..{self.end}" if self.start else "hypothetical"


_G10 = ("AUD", "NZD", "CAD", "NOK", "SEK", "EUR", "GBP", "CHF", "JPY")


def _past(name: str, start: str, end: str, note: str, g10: Sequence[float] = (), **others: float) -> Scenario:
    """A row of the table: moves in percent, those of the G10 in the order of ``_G10``."""
    percent = {**dict(zip(_G10, g10, strict=bool(g10))), **others}
    return Scenario(
        name=name,
        start=date.fromisoformat(start),
        end=date.fromisoformat(end),
        moves={c: round(p / 100, 6) for c, p in percent.items()},
        note=f"{note} {_CLOSES}",
    )


SCENARIOS = (
    _past("yen-1998", "1998-10-06", "1998-10-08", "Funds that had borrowed yen bought it back within two days.",
          (4.0, 3.3, 0.0, -0.3, 0.4, -1.0, 1.5, 1.7, 9.4)),
    _past("yen-week-1998", "1998-10-05", "1998-10-09", "The whole week of the same squeeze, the yen alone.", JPY=15.1),
    _past("credit-2007", "2007-08-08", "2007-08-16", "Money markets froze and leveraged carry was cut.",
          (-8.2, -10.4, -2.6, -3.7, -4.0, -2.7, -2.7, -1.6, 5.1)),
    _past("crash-quarter-2008", "2008-07-31", "2008-10-31", "Three months of flight into dollar and yen.",
          (-29.1, -20.6, -15.5, -23.7, -22.1, -18.4, -19.0, -9.6, 9.6)),
    _past("crash-month-2008", "2008-09-30", "2008-10-31", "The worst month of it, emerging currencies included.",
          (-15.7, -13.0, -12.2, -12.8, -11.0, -9.7, -9.7, -3.1, 7.8),
          TRY=-17.0, ZAR=-15.3, MXN=-14.6, HUF=-14.4, PLN=-14.4, BRL=-8.3, KRW=-6.5),
    _past("greece-2010", "2010-05-03", "2010-05-20", "Euro area debt, with a flash crash in between.",
          (-11.8, -8.8, -5.6, -9.0, -8.4, -5.4, -5.8, -5.6, 5.4)),
    _past("taper-2013", "2013-05-01", "2013-06-24", "Talk of fewer bond purchases lifted dollar rates.",
          (-10.0, -8.8, -4.0, -6.0, -4.4, -0.5, -0.8, -0.6, -0.3)),
    _past("franc-2015", "2015-01-14", "2015-01-16",
          "The Swiss floor was given up. For minutes it was worse: USDCHF fell by about 28 %, EURCHF to about 0.85.",
          (0.6, 1.2, 0.0, 1.8, -0.6, -1.2, 0.1, 19.3, 1.4)),
    _past("brexit-2016", "2016-06-23", "2016-06-27", "The vote to leave, over a night and a weekend.",
          (-1.1, -0.9, -1.6, -3.5, -3.7, -2.6, -9.0, -1.3, 2.5)),
    _past("lira-2018", "2018-07-31", "2018-08-31", "The lira's August, and what it took along.",
          TRY=-27.5, ZAR=-10.5, BRL=-10.1),
    _past("covid-2020", "2020-03-06", "2020-03-19", "A rush for dollars in which even havens fell.",
          (-12.2, -9.2, -7.3, -13.8, -7.4, -2.3, -10.2, -2.2, -1.9)),
    _past("covid-month-2020", "2020-02-28", "2020-03-31", "The month of it, emerging currencies.",
          MXN=-18.4, ZAR=-13.7, BRL=-13.6, IDR=-12.4),
    _past("lira-2021", "2021-10-29", "2021-11-30",
          "Rate cuts against inflation. In December it won back a third or more within a day.", TRY=-25.0),
    _past("yen-2024", "2024-07-10", "2024-08-05", "Yen carry was closed in a hurry; AUDJPY lost about 13 %.",
          (-3.6, -2.9, -1.8, -3.2, -0.1, 0.9, 0.0, 4.8, 10.8)),
    _past("peso-2024", "2024-07-31", "2024-08-30", "The same August in Mexico.", MXN=-5.5),
    Scenario(
        name="carry-gap",
        by_side=(-0.20, 0.20),
        spread_multiplier=10.0,
        is_hypothetical=True,
        note="All that the book is long falls by 20 %, all that it is short gains 20 %, spreads are ten times wide.",
    ),
)  # fmt: skip
"""The built-in scenarios: the past ones by date, then the hypothetical one."""


def scenarios() -> tuple[Scenario, ...]:
    """The built-in scenarios: the past ones by date, then the hypothetical one."""
    return SCENARIOS


def scenario(name: str) -> Scenario:
    """One built-in scenario; ConfigError with the nearest name where there is none."""
    known = {s.name: s for s in SCENARIOS}
    if name in known:
        return known[name]
    near = get_close_matches(str(name), known, 1, 0.4)
    raise ConfigError(
        f"no scenario {name!r}",
        hint=f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}",
        fields={"name": name},
    )
