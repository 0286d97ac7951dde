"""When currencies trade and settle: the FX week, 17:00 New York trade dates, value dates, roll days, day counts.

A *trade date* ends at 17:00 New York; every Monday to Friday is one, holidays included. A *value date* is when a spot
trade settles. Financing is charged for the calendar days by which the value date moves from one trade date to the
next, the *roll days*; over any span they sum to the distance between the first and the last value date.

Settlement holidays and trading hours are different things: the market trades through every holiday of a currency
but 25 December and 1 January.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.model import Pair, check_currency

DateArray = NDArray[np.datetime64]
InstantArray = NDArray[np.datetime64]
Holidays = Mapping[str, Collection[date]]

G10 = ("AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK", "USD")
"""The ten most traded currencies of developed markets."""

NEW_YORK = ZoneInfo("America/New_York")
SESSION_END = time(17)
"""New York wall-clock time at which a trade date ends."""

T_PLUS_1 = frozenset({"CAD", "TRY", "RUB", "PHP"})
"""Currencies that settle against USD one day after trading; every other pair settles after two."""

USD_HOLIDAY_COUNTS = frozenset({"MXN", "BRL", "CLP", "COP", "PEN", "ARS"})
"""Currencies for which a USD holiday on the day between trade and settlement moves the value date."""

CALENDAR_START, CALENDAR_END = date(1998, 12, 1), date(2030, 12, 31)
"""First and last trade date the built-in calendars serve."""

_COVERED_UNTIL = date(2031, 1, 31)  # value dates of the last trade dates fall in January 2031

_DAY = timedelta(days=1)
_ONE = np.timedelta64(1, "D")
_EPOCH = np.datetime64("1900-01-01", "D")
_CLOSED = ((12, 25), (1, 1))
_OPEN_SESSIONS = np.busdaycalendar(
    holidays=np.array([f"{year}-{m:02}-{d:02}" for year in range(1900, 2263) for m, d in _CLOSED], "datetime64[D]")
)

# ACT/360 or ACT/365F. BRL counts business days over 252, which make up one calendar year.
_DAY_COUNT = {
    **dict.fromkeys(("USD", "EUR", "JPY", "CHF", "NOK", "SEK", "DKK"), 360),
    **dict.fromkeys(("RON", "BGN", "HRK"), 360),
    **dict.fromkeys(("MXN", "TRY", "HUF", "CZK", "PHP", "CLP", "COP", "PEN", "ARS", "CNY", "CNH"), 360),
    **dict.fromkeys(("GBP", "AUD", "NZD", "CAD"), 365),
    **dict.fromkeys(("ZAR", "PLN", "ILS", "SGD", "HKD", "THB", "RUB", "BRL", "KRW", "TWD", "INR", "IDR", "MYR"), 365),
}


# --- trade dates and the FX week -------------------------------------------------------------------------------------


def trade_date(at: datetime) -> date:
    """The trade date an instant belongs to: the New York date, one later from 17:00 on.

    In closed hours (Friday 17:00 to Sunday 17:00 New York) it is Monday, the next session's. Raises DataError if
    ``at`` has no time zone.
    """
    day = _session_day(at)
    return day + (7 - day.weekday()) * _DAY if day.weekday() > 4 else day


def next_weekday(day: date) -> date:
    """The weekday after a date: of a trade date the next one, also where its session is closed."""
    day += _DAY
    return day + (7 - day.weekday()) * _DAY if day.weekday() > 4 else day


def trade_dates(times: InstantArray) -> DateArray:
    """:func:`trade_date` of an array of UTC instants (datetime64, any shape), as datetime64[D]."""
    days: DateArray = np.busday_offset(_session_days(_to_ns(times)), 0, roll="forward")
    return days


def is_open(at: datetime) -> bool:
    """Whether the FX market trades at ``at``: Sunday 17:00 to Friday 17:00 New York, start included, end excluded.

    The sessions of trade dates 25 December and 1 January are closed. The few minutes that brokers pause around 17:00
    are not known here. Raises DataError if ``at`` has no time zone.
    """
    day = _session_day(at)
    return day.weekday() < 5 and (day.month, day.day) not in _CLOSED


def open_minutes(start: datetime, end: datetime) -> float:
    """Minutes between two aware instants during which the market is open (see :func:`is_open`); 0 if end <= start.

    Raises DataError if either has no time zone.
    """
    return max(_open_time(end) - _open_time(start), 0 * _DAY) / timedelta(minutes=1)


def open_minutes_array(
    start: InstantArray | np.datetime64, end: InstantArray | np.datetime64
) -> NDArray[np.float64] | np.float64:
    """:func:`open_minutes` of UTC instants (datetime64), broadcast against each other; 0 where end <= start."""
    opened = _open_times(_to_ns(end)) - _open_times(_to_ns(start))
    minutes: NDArray[np.float64] = np.maximum(opened, np.timedelta64(0)) / np.timedelta64(1, "m")
    return minutes


def session_end(day: date) -> datetime:
    """The UTC instant, 17:00 New York, at which trade date ``day`` ends."""
    return datetime.combine(day, SESSION_END, NEW_YORK).astimezone(UTC)


def session_ends(days: DateArray) -> InstantArray:
    """:func:`session_end` of an array of dates (datetime64, any shape), as UTC datetime64[ns]."""
    days = np.asarray(days, "datetime64[D]")
    if np.isnat(days).any():
        raise DataError("a date is missing (NaT)", hint="drop the rows without a date or time")
    if not days.size:
        return days.astype("datetime64[ns]")
    years = range(days.min().item().year, days.max().item().year + 1)
    table = np.concatenate([_session_ends_of(year) for year in years])
    ends: InstantArray = table[(days - np.datetime64(f"{years[0]:04}", "D")).astype(np.int64)]
    return ends


@cache
def _session_ends_of(year: int) -> InstantArray:
    """The session end of every day of a year."""
    days: DateArray = np.arange(f"{year:04}", f"{year + 1:04}", dtype="datetime64[D]")
    offsets = [datetime.combine(day, SESSION_END, NEW_YORK).utcoffset() for day in days.tolist()]
    wall = days.astype("datetime64[ns]") + np.timedelta64(SESSION_END.hour, "h")
    ends: InstantArray = wall - np.array(offsets, "timedelta64[ns]")
    return ends


def _session_day(at: datetime) -> date:
    """The day whose 17:00 ends the 24 hours that ``at`` lies in; a Saturday or Sunday in closed hours."""
    if at.tzinfo is None:
        raise DataError(f"{at!r} has no time zone", hint="use an aware UTC datetime")
    local = at.astimezone(NEW_YORK)
    return local.date() + (_DAY if local.time() >= SESSION_END else 0 * _DAY)


def _session_days(times: InstantArray) -> DateArray:
    days = times.astype("datetime64[D]")  # 17:00 New York is 21:00 or 22:00 UTC of the same date
    later: DateArray = days + (times >= session_ends(days)).astype("timedelta64[D]")
    return later


def _open_time(at: datetime) -> timedelta:
    """Time the market was open from a fixed origin to ``at``.

    Whole sessions have 24 hours each: US clocks change on Sundays at 02:00, outside of them.
    """
    day = _session_day(at)
    whole = int(np.busday_count(_EPOCH, day, busdaycal=_OPEN_SESSIONS)) * _DAY
    return whole + (at - session_end(day - _DAY)) if is_open(at) else whole


def _open_times(times: InstantArray) -> NDArray[np.timedelta64]:
    days = _session_days(times)
    whole = np.busday_count(_EPOCH, days, busdaycal=_OPEN_SESSIONS) * _ONE.astype("timedelta64[ns]")
    within = np.where(np.is_busday(days, busdaycal=_OPEN_SESSIONS), times - session_ends(days - _ONE), 0 * _ONE)
    opened: NDArray[np.timedelta64] = whole + within
    return opened


def _to_ns(times: InstantArray | np.datetime64) -> InstantArray:
    return np.asarray(times, "datetime64[ns]")


# --- value dates and roll days ---------------------------------------------------------------------------------------


def spot_lag(pair: Pair | str) -> int:
    """Business days from trade to spot settlement: 1 for USDCAD, USDTRY, USDRUB and USDPHP (either way round), else 2.

    The lag belongs to the pair: EURCAD and CADJPY are 2.
    """
    currencies = set(_pair(pair))
    return 1 if "USD" in currencies and currencies & T_PLUS_1 else 2


def value_date(pair: Pair | str, trade_date: date, holidays: Holidays | None = None) -> date:
    """The spot value date of ``pair`` traded on ``trade_date`` (a weekday; a holiday is a trade date too).

    Lag 2: the next day good for the currencies other than USD (a USD holiday is ignored, except with a Latin American
    currency), and from there the next day good for both currencies and USD, for crosses too. Lag 1: the next day good
    for both currencies. Good = Monday to Friday and no holiday.

    ``holidays`` are dates by currency, ``{"USD": {date(2025, 1, 20)}}``; a currency that is not in the mapping has
    none. None = the built-in calendars (:func:`holidays_of`), for trade dates December 1998 to December 2030.

    Raises ConfigError if ``trade_date`` is no weekday, DataError outside the built-in calendars, MissingDataError for
    a currency without one.
    """
    day = _weekday(trade_date)
    value: date = _value_dates(_pair(pair), np.array([day], "datetime64[D]"), holidays)[0].item()
    return value


def roll_days(pair: Pair | str, trade_date: date, holidays: Holidays | None = None) -> int:
    """Calendar days of financing charged at the end of ``trade_date``: value date of the next weekday minus its own.

    1 on most days, 3 on a plain Wednesday (Thursday for lag 1), 0 to 6 and more around holidays; never negative. Over
    a span the days sum to the distance between its value dates. Arguments and errors as :func:`value_date`.
    """
    day = _weekday(trade_date)
    return int(roll_days_table(pair, day, day, holidays)[1][0])


def roll_days_table(
    pair: Pair | str, first: date, last: date, holidays: Holidays | None = None
) -> tuple[DateArray, NDArray[np.int64]]:
    """Every trade date from ``first`` to ``last`` (both included) as datetime64[D], and its :func:`roll_days`."""
    if holidays is None:
        return _built_in_table(_pair(pair), _day(first), _day(last))
    return _table(_pair(pair), _day(first), _day(last), holidays)


@lru_cache(maxsize=256)
def _built_in_table(pair: Pair, first: date, last: date) -> tuple[DateArray, NDArray[np.int64]]:
    days, rolls = _table(pair, first, last, None)
    days.setflags(write=False)
    rolls.setflags(write=False)
    return days, rolls


def _table(pair: Pair, first: date, last: date, holidays: Holidays | None) -> tuple[DateArray, NDArray[np.int64]]:
    days = np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + _ONE)
    days = days[np.is_busday(days)]
    if not days.size:
        return days, np.empty(0, np.int64)
    values = _value_dates(pair, days, holidays, and_next=True)
    return days, np.diff(values).astype(np.int64)


def _value_dates(pair: Pair, days: DateArray, holidays: Holidays | None, *, and_next: bool = False) -> DateArray:
    """Value dates of weekdays in ascending order; with ``and_next`` also that of the weekday after the last."""
    if holidays is None:
        for day in (days[0].item(), days[-1].item()):
            if not CALENDAR_START <= day <= CALENDAR_END:
                raise DataError(
                    f"{pair} on {day}: the built-in settlement calendars cover trade dates {CALENDAR_START} to "
                    f"{CALENDAR_END}",
                    hint="pass holidays={'USD': {...}, ...} for other dates",
                    fields={"pair": str(pair), "trade_date": day},
                )
        middle, final = _built_in_calendars(pair)
    else:
        middle, final = _calendars(pair, holidays)
    if and_next:
        days = np.append(days, np.busday_offset(days[-1], 1))
    if spot_lag(pair) == 2:
        days = np.busday_offset(days + _ONE, 0, roll="forward", busdaycal=middle)
    values: DateArray = np.busday_offset(days + _ONE, 0, roll="forward", busdaycal=final)
    return values


def _calendars(pair: Pair, holidays: Holidays) -> tuple[np.busdaycalendar, np.busdaycalendar]:
    """The days that count for the step between trade and settlement, and for settlement."""
    final = {*pair, "USD"}
    middle = final if final & USD_HOLIDAY_COUNTS else final - {"USD"}
    closed = {check_currency(currency, "holidays"): days for currency, days in holidays.items()}

    def joint(currencies: set[str]) -> np.busdaycalendar:
        days = [_to_days(currency, closed[currency]) for currency in currencies if currency in closed]
        return np.busdaycalendar(holidays=np.concatenate([np.empty(0, "datetime64[D]"), *days]))

    return joint(middle), joint(final)


def _to_days(currency: str, days: Collection[date]) -> DateArray:
    try:  # by way of ordinals, for numpy is slow to read date objects
        ordinals = np.array([day.toordinal() for day in days], np.int64)
    except AttributeError:
        raise ConfigError(
            f"holidays of {currency} are not all dates, such as {next(iter(days))!r}", hint="use datetime.date"
        ) from None
    return (ordinals - date(1970, 1, 1).toordinal()).astype("datetime64[D]")


@cache
def _built_in_calendars(pair: Pair) -> tuple[np.busdaycalendar, np.busdaycalendar]:
    return _calendars(pair, {currency: holidays_of(currency) for currency in {*pair, "USD"}})


def _pair(pair: Pair | str) -> Pair:
    return pair if isinstance(pair, Pair) else Pair.parse(pair)


def _day(day: date) -> date:
    if isinstance(day, datetime) or not isinstance(day, date):
        raise ConfigError(f"trade date {day!r} is not a date", hint="trade_date(at) gives the trade date of an instant")
    return day


def _weekday(day: date) -> date:
    if _day(day).weekday() > 4:
        raise ConfigError(
            f"{day} is a {day:%A}, not a trade date",
            hint="trade dates are Monday to Friday; trade_date(at) gives the one of an instant",
            fields={"trade_date": day},
        )
    return day


# --- currencies ------------------------------------------------------------------------------------------------------


def day_count(currency: str) -> int:
    """Days in the year of the currency's deposit and FX-implied rates, 360 or 365. A default: a rate carries its own.

    BRL counts business days over 252, a calendar year of them, and gives 365. Raises MissingDataError if unknown.
    """
    try:
        return _DAY_COUNT[check_currency(currency)]
    except KeyError:
        raise MissingDataError(
            f"no day count is known for {currency}",
            hint="give the rate its own day_count",
            fields={"currency": currency},
        ) from None


@attrs.frozen
class _Center:
    """Where the ``holidays`` package keeps a currency's bank holidays, and the settlement holidays it lacks.

    ``fixed`` are (month, day, first year), ``easter`` (days after Easter Sunday, first year), ``dates`` single days.
    """

    country: str
    subdivision: str | None = None
    categories: tuple[str, ...] = ("public",)
    fixed: tuple[tuple[int, int, int], ...] = ()
    easter: tuple[tuple[int, int], ...] = ()
    dates: tuple[date, ...] = ()

    def added(self, year: int) -> Iterator[date]:
        from dateutil.easter import easter  # type: ignore[import-untyped]  # its stubs are not a dependency

        yield from (date(year, month, day) for month, day, since in self.fixed if year >= since)
        yield from (easter(year) + days * _DAY for days, since in self.easter if year >= since)
        yield from (day for day in self.dates if day.year == year)


_CENTERS = {
    "USD": _Center("US"),
    "GBP": _Center("GB", "ENG"),
    "JPY": _Center("JP", None, ("public", "bank")),
    "CHF": _Center("CH", "ZH", fixed=((1, 2, 0),)),
    "AUD": _Center(
        "AU",
        "NSW",
        ("public", "bank"),
        dates=(  # in lieu of a Saturday or Sunday, before the act of 2010
            date(1999, 12, 28),
            date(2000, 1, 3),
            date(2002, 1, 28),
            date(2004, 12, 28),
            date(2005, 1, 3),
            date(2008, 1, 28),
            date(2009, 12, 28),
            date(2010, 12, 28),
        ),
    ),
    "NZD": _Center("NZ", "WGN"),
    "CAD": _Center("CA", "ON", ("public", "government", "optional")),
    "SEK": _Center("SE", None, ("public", "de_facto")),
    "NOK": _Center("NO", fixed=((12, 24, 2002),)),
    "DKK": _Center("DK", fixed=((6, 5, 0), (12, 24, 0), (12, 31, 0)), easter=((40, 2009),)),
    "MXN": _Center("MX", fixed=((11, 2, 0), (12, 12, 0)), easter=((-3, 0), (-2, 0))),
    "ZAR": _Center("ZA"),
    "TRY": _Center("TR"),
    "PLN": _Center("PL"),
    "HUF": _Center("HU"),
    "CZK": _Center("CZ"),
    "RON": _Center("RO"),
    "BGN": _Center("BG"),
    "HRK": _Center("HR"),
    "ILS": _Center("IL"),
    "SGD": _Center("SG"),
    "HKD": _Center("HK", None, ("public", "optional")),
    "THB": _Center("TH"),
    "RUB": _Center("RU"),
    "PHP": _Center("PH"),
    "BRL": _Center("BR", easter=((-48, 0), (-47, 0), (60, 0))),
    "CLP": _Center("CL", None, ("public", "bank")),
    "COP": _Center("CO"),
    "PEN": _Center("PE"),
    "ARS": _Center("AR", None, ("public", "bank"), easter=((-3, 0),)),
    "KRW": _Center("KR", None, ("public", "bank")),
    "TWD": _Center("TW", fixed=((5, 1, 0),)),
    "INR": _Center("IN", "MH"),
    "IDR": _Center("ID", None, ("public", "government")),
    "MYR": _Center("MY", "14"),
    "CNY": _Center("CN"),
    "CNH": _Center("CN"),
}


@cache
def holidays_of(currency: str) -> frozenset[date]:
    """Built-in settlement holidays of a currency that fall on a weekday, December 1998 to January 2031.

    USD is the Federal Reserve's calendar (open on the Friday before a holiday on a Saturday), EUR the TARGET calendar,
    the others the bank holidays of the financial center, from the ``holidays`` package with the corrections listed in
    docs/reference/calendar-differences.md. Future holidays are what is known today; those that follow the moon are
    estimates. Raises MissingDataError for a currency without a calendar.
    """
    import holidays

    currency = check_currency(currency)
    years = range(CALENDAR_START.year, _COVERED_UNTIL.year + 1)
    if currency == "EUR":
        days = set(holidays.financial_holidays("ECB", years=years))
    elif currency in _CENTERS:
        center = _CENTERS[currency]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some moon-dated days are not tabulated for every year
            days = set(
                holidays.country_holidays(
                    center.country, subdiv=center.subdivision, years=years, categories=center.categories
                )
            )
        days |= {day for year in years for day in center.added(year)}
    else:
        raise MissingDataError(
            f"there is no built-in settlement calendar for {currency}",
            hint=f"pass holidays={{{currency!r}: {{...}}, ...}}; built in are {', '.join(sorted([*_CENTERS, 'EUR']))}",
            fields={"currency": currency},
        )
    if currency == "USD":
        days -= {day - _DAY for day in days if day.weekday() == 5}
    if currency == "CAD":  # Easter Monday is a holiday of the federal civil service, not of banks
        days -= {day for day in days if day.weekday() == 0 and day.month in (3, 4)}
    return frozenset(day for day in days if day.weekday() < 5 and CALENDAR_START <= day <= _COVERED_UNTIL)
