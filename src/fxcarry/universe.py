"""Universes: which currencies may be held, from when to when and why, and which of them are pegged, capped or barred.

A universe is a table of dated memberships. A currency enters after twelve months of its own data, or on a date given,
and leaves on the date of an event (a currency union, a market that closed), never because it lost money. Outside its
membership its carry is NaN and no strategy may hold it.

Pegs, caps and non-deliverable currencies are facts beside the table: they exclude nothing, they are named in the notes
of every result. Sources: the announcements of the central banks, the Council decisions on the adoption of the euro, the
ECB's list of euro reference rates.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.clock import Frequency, is_due
from fxcarry.conventions import G10, holidays_of
from fxcarry.errors import ConfigError
from fxcarry.market import MarketHistory
from fxcarry.model import check_currency
from fxcarry.secrets import read_text

ALWAYS = date.min
"""The ``enters`` of a currency that needs no history of its own: it is a member from the first row."""

_DAY = np.timedelta64(1, "D")


@attrs.frozen
class Membership:
    """One stay of a currency in a universe, ``enters`` <= day < ``leaves``.

    ``enters`` None means twelve months after the first day on which the history has both a price and a rate of it;
    ``leaves`` is the first day on which it can no longer be traded, None while it stays. ``note`` is the reason.
    Raises ConfigError for a bad code or a stay that ends before it begins.
    """

    currency: str = attrs.field(converter=check_currency)
    enters: date | None = None
    leaves: date | None = None
    note: str = ""

    def __attrs_post_init__(self) -> None:
        if self.leaves is not None and self.leaves <= (self.enters or ALWAYS):
            raise ConfigError(
                f"{self.currency} leaves on {self.leaves}, which is not after it enters on {self.enters}",
                hint="a stay is enters <= day < leaves",
            )

    def covers(self, day: date) -> bool:
        """Whether ``day`` lies in the stay by its dates alone; without ``enters`` the data must say when it begins."""
        return (self.enters or ALWAYS) <= day < (self.leaves or date.max)


def _tuple(members: Iterable[Membership]) -> tuple[Membership, ...]:
    return tuple(members)


@attrs.frozen
class Universe:
    """A named table of memberships. A currency may be listed again for a later stay, never for two at a time.

    Raises ConfigError for no currency at all and for overlapping stays.
    """

    name: str
    members: tuple[Membership, ...] = attrs.field(converter=_tuple)

    def __attrs_post_init__(self) -> None:
        if not self.members:
            raise ConfigError(f"the universe {self.name} has no currency", hint="list at least one")
        for i, one in enumerate(self.members):
            for other in self.members[:i]:
                if one.currency == other.currency and not (
                    (one.leaves or date.max) <= (other.enters or ALWAYS)
                    or (other.leaves or date.max) <= (one.enters or ALWAYS)
                ):
                    raise ConfigError(
                        f"universe lists a currency twice: {', '.join(m.currency for m in self.members)}",
                        hint=f"two stays of {one.currency} may not overlap",
                    )

    @classmethod
    def of(cls, currencies: Sequence[str], name: str = "list") -> Universe:
        """The undated universe of some currencies: members throughout."""
        return cls(name, tuple(Membership(check_currency(c, "universe"), ALWAYS) for c in currencies))

    @property
    def currencies(self) -> tuple[str, ...]:
        """Every currency that is ever a member, in the order of the table."""
        return tuple(dict.fromkeys(m.currency for m in self.members))

    @property
    def is_dated(self) -> bool:
        """Whether any membership begins or ends."""
        return any(m.enters != ALWAYS or m.leaves is not None for m in self.members)

    def members_at(self, day: date) -> tuple[str, ...]:
        """The members on a day by the table's dates; one without ``enters`` counts as a member until it leaves."""
        return tuple(dict.fromkeys(m.currency for m in self.members if m.covers(day)))

    def without(self, currency: str) -> Universe:
        """The same table without one currency."""
        return attrs.evolve(self, members=tuple(m for m in self.members if m.currency != currency))

    def between(self, first: date, last: date) -> Universe:
        """The stays that touch the days ``first`` to ``last``: nothing is asked of the data for any other."""
        return attrs.evolve(
            self,
            members=tuple(
                m for m in self.members if (m.enters or ALWAYS) <= last and (m.leaves is None or m.leaves > first)
            ),
        )

    def spans(self, currency: str) -> tuple[tuple[date, date], ...]:
        """From and until when (excluded) a currency may need a price."""
        return tuple((m.enters or ALWAYS, m.leaves or date.max) for m in self.members if m.currency == currency)

    def mask(
        self, history: MarketHistory, days: NDArray[np.datetime64], frequency: Frequency
    ) -> NDArray[np.bool_] | None:
        """Which currency may be held after a decision on each trade date: days × currencies; None = all always.

        A currency may be held after a decision only if the trade of the next one still comes before it leaves: so the
        last decision that can be acted on closes it. This needs the dates of the table and the weekdays and holidays
        of the source, never a later price. Without ``enters``, twelve months must have passed since the first day with
        both a price and a rate in the history; a history without any rate (spot only) counts prices.
        """
        if not self.is_dated:
            return None
        held = {currency: np.zeros(len(days), bool) for currency in self.currencies}
        exits = exit_days(days, frequency, history.calendar)
        for member in self.members:
            begins = _seasoned(history, member.currency) if member.enters is None else np.datetime64(member.enters, "D")
            stay = days >= begins
            if member.leaves is not None:
                stay &= exits < np.datetime64(member.leaves, "D")
            held[member.currency] |= stay
        return np.stack([held[c] for c in self.currencies], 1)

    def notes(self, first: date, last: date) -> list[str]:
        """What a reader of a run over these days must know: who enters or leaves, pegs, caps, non-deliverables."""
        found = []
        for m in self.members:
            why = f": {m.note}" if m.note else ""
            if m.enters is None:
                found.append(f"{m.currency} is held only after twelve months of its own prices and rates")
            elif first < m.enters <= last:
                found.append(f"{m.currency} enters the universe on {m.enters}{why}")
            if m.leaves is not None and first < m.leaves <= last:
                found.append(f"{m.currency} leaves the universe on {m.leaves}{why}; it is closed before")
        for currency in self.currencies:
            found += [str(flag) for flag in flags(currency, first, last) if flag.kind != "non-deliverable"]
        barred = [c for c in self.currencies if c in NON_DELIVERABLE]
        if barred:
            found.append(
                f"{', '.join(barred)}: non-deliverable offshore, so a policy rate is not what an offshore trader earns"
            )
        return found


def exit_days(days: NDArray[np.datetime64], frequency: Frequency, calendar: str = "") -> NDArray[np.datetime64]:
    """When what is decided at the next decision after each day is traded: the quote day after that decision.

    ``calendar`` names the currency whose holidays the source of the quotes keeps; "" = it misses only 25 December and
    1 January.
    """
    days = np.asarray(days, "datetime64[D]")
    if not len(days):
        return days
    ahead = np.arange(days.min(), days.max() + 70)
    ahead = ahead[np.is_busday(ahead)]
    decisions = ahead[is_due(ahead, frequency)]
    following = decisions[np.searchsorted(decisions, days, "right")]
    closed = np.array([], "datetime64[D]")
    if calendar:
        closed = np.array(sorted(holidays_of(calendar)), "datetime64[D]")
    years = np.arange(days.min().astype("datetime64[Y]"), days.max().astype("datetime64[Y]") + 2)
    yearly = np.concatenate([years.astype("datetime64[D]"), (years + 1).astype("datetime64[D]") - 7 * _DAY])
    traded: NDArray[np.datetime64] = np.busday_offset(
        following + _DAY, 0, roll="forward", holidays=np.concatenate([closed, yearly])
    )
    return traded


def _seasoned(history: MarketHistory, currency: str) -> np.datetime64:
    """Twelve months after the first day with a price and a rate; NaT (never reached) where there is none."""
    known = np.ones(len(history), bool)
    if currency in history.currencies:
        known = np.isfinite(history.spot[:, history.currencies.index(currency)])
    rows = np.flatnonzero(known)
    if not len(rows):
        return np.datetime64("NaT")
    first = history.times[rows[0]]
    if history.rates:
        series = history.rates.get(currency)
        if series is None or not len(series.value):
            return np.datetime64("NaT")
        first = max(first, np.maximum(series.as_of, series.available_at).min())
    day = first.astype("datetime64[D]")
    month = day.astype("datetime64[M]")
    return np.datetime64((month + 12).astype("datetime64[D]") + (day - month.astype("datetime64[D]")), "D")


# --- pegs, caps, non-deliverables ------------------------------------------------------------------------------------


@attrs.frozen
class Flag:
    """Why a currency's price or rate is not a free market's: ``first`` to ``last`` (None = to this day)."""

    currency: str
    kind: str
    text: str
    first: date
    last: date | None = None

    def __str__(self) -> str:
        until = f"to {self.last}" if self.last else "on"
        since = "" if self.first == ALWAYS else f" {self.first} {until}" if self.last else f" from {self.first} {until}"
        return f"{self.currency}: {self.text}{since}"


FLAGS = (
    Flag("CHF", "cap", "floor against EUR", date(2011, 9, 6), date(2015, 1, 15)),
    Flag("CZK", "cap", "floor of EUR against it at 27", date(2013, 11, 7), date(2017, 4, 6)),
    Flag("DKK", "peg", "ERM II band of 2.25 % around 7.46038 to EUR", date(1999, 1, 1)),
    Flag("HKD", "peg", "linked to USD at 7.80, since 2005-05-18 within 7.75 to 7.85", date(1983, 10, 17)),
    Flag("SAR", "peg", "fixed to USD at 3.75", date(1986, 6, 1)),
    Flag("BGN", "peg", "currency board, 1.95583 to EUR", date(1999, 1, 1), date(2025, 12, 31)),
    Flag("CNY", "peg", "held near 8.28 per USD", date(1994, 1, 1), date(2005, 7, 21)),
    Flag("CNY", "managed", "managed within a daily band around a fixing", date(2005, 7, 21)),
    Flag("CNH", "managed", "the offshore price of CNY, which is managed", date(2010, 7, 19)),
    Flag("MYR", "peg", "fixed to USD at 3.80", date(1998, 9, 2), date(2005, 7, 21)),
    Flag("HRK", "peg", "ERM II around 7.5345 to EUR", date(2020, 7, 10), date(2022, 12, 31)),
    Flag("RUB", "barred", "no offshore market", date(2022, 3, 2)),
    Flag("TRY", "caution", "offshore overnight rates beyond 1000 % in March 2019, shorts could not be funded",
         date(2018, 8, 13)),
    Flag("ARS", "caution", "exchange controls and several exchange rates", date(2011, 10, 31), date(2015, 12, 17)),
    Flag("ARS", "caution", "exchange controls and several exchange rates", date(2019, 9, 1)),
)  # fmt: skip
"""Pegs, caps and markets that were not free, by currency and date."""

NON_DELIVERABLE = frozenset(
    {"PHP", "BRL", "CLP", "COP", "PEN", "ARS", "KRW", "TWD", "INR", "IDR", "MYR", "EGP", "KZT", "NGN", "VND", "CNY"}
)
"""Currencies traded offshore as forwards settled in USD: their implied rate differs from the onshore policy rate."""


def flags(currency: str, start: date, end: date) -> tuple[Flag, ...]:
    """What is not free about a currency on any day from ``start`` to ``end``, both included."""
    code = check_currency(currency)
    found = [f for f in FLAGS if f.currency == code and f.first <= end and (f.last is None or f.last >= start)]
    if code in NON_DELIVERABLE:
        found.append(Flag(code, "non-deliverable", "a policy rate is not what an offshore trader earns", ALWAYS))
    return tuple(found)


def peg_of(currency: str, day: date) -> Flag | None:
    """The peg, cap or managed regime of a currency on a day, or None where it floats."""
    found = [f for f in flags(currency, day, day) if f.kind in {"peg", "cap", "managed"}]
    return found[-1] if found else None


# --- built-in universes ----------------------------------------------------------------------------------------------

_FLOATED = {
    "AUD": (date(1983, 12, 12), "floats since 1983-12-12"),
    "CAD": (date(1970, 6, 1), "floats since 1970-06-01"),
    "CHF": (date(1973, 1, 23), "floats since 1973-01-23"),
    "EUR": (date(1999, 1, 1), "exists since 1999-01-01"),
    "GBP": (date(1992, 9, 17), "left the ERM on 1992-09-16"),
    "JPY": (date(1973, 2, 14), "floats since 1973-02-14"),
    "NOK": (date(1992, 12, 10), "floats since 1992-12-10"),
    "NZD": (date(1985, 3, 4), "floats since 1985-03-04"),
    "SEK": (date(1992, 11, 19), "floats since 1992-11-19"),
    "USD": (date(1973, 3, 19), "floats since 1973-03-19"),
}

_EM_NOTES = {
    "BGN": "Bulgaria adopted the euro on 2026-01-01",
    "HRK": "Croatia adopted the euro on 2023-01-01",
    "RUB": "sanctions closed the offshore market; the last ECB reference rate is of 2022-03-01",
    "CNY": "onshore; offshore the deliverable CNH is traded instead",
    "TRY": "deliverable, but offshore funding can vanish",
}
_EM_LEAVES = {"BGN": date(2026, 1, 1), "HRK": date(2023, 1, 1), "RUB": date(2022, 3, 2)}
_EM = (
    "BGN", "BRL", "CNY", "CZK", "HRK", "HUF", "IDR", "ILS", "INR", "KRW", "MXN", "MYR", "PHP", "PLN", "RON", "RUB",
    "THB", "TRY", "ZAR",
)  # fmt: skip
_LEGACY = ("ATS", "BEF", "DEM", "ESP", "FIM", "FRF", "IEP", "ITL", "LUF", "NLG", "PTE")

BUILT_IN: Mapping[str, Universe] = {
    "g10": Universe("g10", tuple(Membership(c, *_FLOATED[c][:1], None, _FLOATED[c][1]) for c in G10)),
    "em": Universe("em", tuple(Membership(c, None, _EM_LEAVES.get(c), _EM_NOTES.get(c, "")) for c in _EM)),
    "legacy": Universe(
        "legacy", tuple(Membership(c, ALWAYS, date(1999, 1, 1), "became the euro on 1999-01-01") for c in _LEGACY)
    ),
}
"""The universes that have a name: ``g10``, ``em`` (those with ECB reference rates) and ``legacy`` (now the euro)."""


# --- the resolver ----------------------------------------------------------------------------------------------------


UniverseLike = Sequence[str] | str | Path | Universe
"""What a ``universe`` argument takes: codes, ``"EUR,JPY"``, ``"em"``, ``"g10+em"``, a Universe, a path to a file."""


def universe_of(universe: UniverseLike | None, account_currency: str) -> Universe:
    """The universe an argument means; ``None`` = the G10 without the account currency, undated.

    A text is a built-in name (``"g10"``, ``"em"``, ``"legacy"``, ``"all"`` = ``"g10+em"``, several joined by ``+``),
    a path (it ends in ``.toml`` or ``.csv``, or has a ``/``) or codes separated by commas. By name the account
    currency is left out; in a list or table of your own it is ranked if you list it. Raises ConfigError for a bad,
    repeated or lone currency, an unknown name and a file that cannot be used (with the line and the value).
    """
    if universe is None:
        return Universe.of([c for c in G10 if c != account_currency], "g10")
    if isinstance(universe, Universe):
        found = universe
    elif isinstance(universe, Path) or (isinstance(universe, str) and _is_path(universe)):
        found = read_universe(universe)
    elif isinstance(universe, str):
        found = _named(universe, account_currency) or _listed(universe.split(","))
    else:
        found = _listed(universe)
    if not [c for c in found.currencies if c != account_currency]:
        raise ConfigError(
            "the universe has no currency to trade", hint="list at least one besides the account currency"
        )
    return found


def _is_path(text: str) -> bool:
    return text.strip().lower().endswith((".toml", ".csv")) or "/" in text or "\\" in text


def _named(text: str, account_currency: str) -> Universe | None:
    name = text.strip().lower()
    parts = ["g10", "em"] if name == "all" else [part.strip() for part in name.split("+")]
    if not all(part in BUILT_IN for part in parts):
        if "," not in text and len(name) != 3:
            raise ConfigError(
                f"universe {text!r} is neither a name nor a three-letter currency code",
                hint=f"names are {', '.join([*BUILT_IN, 'all'])}; a file ends in .toml or .csv",
            )
        return None
    members = [m for part in dict.fromkeys(parts) for m in BUILT_IN[part].members if m.currency != account_currency]
    return Universe(name, members)


def _listed(codes: Sequence[Any]) -> Universe:
    members = [check_currency(c.strip() if isinstance(c, str) else c, "universe") for c in codes]
    if not members:
        raise ConfigError(
            "the universe has no currency to trade", hint="list at least one besides the account currency"
        )
    return Universe.of(members)


# --- files -----------------------------------------------------------------------------------------------------------

_COLUMNS = ("currency", "enters", "leaves", "note")


def read_universe(path: str | Path) -> Universe:
    """A universe from a file of memberships, ``currency, enters, leaves, note`` each; all but the first may be empty.

    CSV has these as columns; TOML has them in ``[[members]]`` tables. Dates are written 2007-06-29; ``enters`` may also
    be ``always``, and empty means twelve months of data. Raises ConfigError with the file, the line (or the table's
    number) and the value.
    """
    file = Path(path).expanduser()
    text = read_text(file, "the universe")
    rows = _toml_rows(text, file) if file.suffix.lower() == ".toml" else _csv_rows(text, file)
    members: list[Membership] = []
    for where, row in rows:
        unknown = [key for key in row if key not in _COLUMNS]
        if unknown:
            raise ConfigError(f"{where}: unknown column {unknown[0]!r}", hint=f"there are {', '.join(_COLUMNS)}")
        try:
            note = row.get("note") or ""
            if not isinstance(note, str):
                raise ConfigError(f"note {note!r} is not a text")
            code = row.get("currency")
            member = Membership(
                check_currency(code.strip() if isinstance(code, str) else code),  # type: ignore[arg-type]
                _date(row.get("enters"), "enters"),
                _date(row.get("leaves"), "leaves"),
                note.strip(),
            )
            Universe(file.stem, (*members, member))
        except ConfigError as error:
            raise ConfigError(f"{where}: {error.message}", hint=error.hint) from None
        members.append(member)
    if not members:
        raise ConfigError(f"{file} lists no currency", hint=f"the columns are {', '.join(_COLUMNS)}")
    return Universe(file.stem, members)


def _toml_rows(text: str, file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}", hint='texts need quotes: currency = "MXN"') from error
    rows = tables.get("members")
    if tables.keys() - {"members"} or not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise ConfigError(f"{file} holds something else than [[members]]", hint='[[members]] currency = "MXN"')
    return [(f"{file}, member {i}", row) for i, row in enumerate(rows, 1)]


def _csv_rows(text: str, file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(StringIO(text), restkey="too many cells", strict=True)
    rows: list[tuple[str, Mapping[str, Any]]] = []
    try:
        if "currency" not in (reader.fieldnames or ()):
            raise ConfigError(f"{file}, line 1: no column currency", hint=f"the columns are {', '.join(_COLUMNS)}")
        for row in reader:
            rows.append((f"{file}, line {reader.line_num}", row))
    except csv.Error as error:
        raise ConfigError(f"{file}, line {reader.reader.line_num}: {error}", hint="a comma-separated table") from error
    return rows


def _date(value: Any, name: str) -> date | None:
    text = value.strip() if isinstance(value, str) else value
    if text is None or text == "":
        return None
    if type(text) is date:
        return text
    if name == "enters" and text == "always":
        return ALWAYS
    try:
        if isinstance(text, datetime):
            raise ValueError
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} {value!r} is not a date", hint="write it like 2007-06-29") from None
