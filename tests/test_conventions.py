"""Trade dates, the FX week, value dates and roll days against worked vectors and QuantLib."""

import random
import re
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import QuantLib as ql

from fxcarry.conventions import (
    CALENDAR_END,
    CALENDAR_START,
    day_count,
    holidays_of,
    is_open,
    open_minutes,
    open_minutes_array,
    roll_days,
    roll_days_table,
    session_end,
    session_ends,
    spot_lag,
    trade_date,
    trade_dates,
    value_date,
)
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.model import Pair

NEW_YORK = ZoneInfo("America/New_York")
DAY = timedelta(days=1)

QUANTLIB = {
    "USD": ql.UnitedStates(ql.UnitedStates.FederalReserve),
    "EUR": ql.TARGET(),
    "GBP": ql.UnitedKingdom(),
    "JPY": ql.Japan(),
    "CHF": ql.Switzerland(),
    "AUD": ql.Australia(),
    "NZD": ql.NewZealand(),
    "CAD": ql.Canada(),
    "SEK": ql.Sweden(),
    "NOK": ql.Norway(),
    "DKK": ql.Denmark(),
    "MXN": ql.Mexico(),
    "BRL": ql.Brazil(),
    "CLP": ql.Chile(),
    "ARS": ql.Argentina(),
    "ZAR": ql.SouthAfrica(),
    "TRY": ql.Turkey(),
    "RUB": ql.Russia(),
    "PLN": ql.Poland(),
    "HUF": ql.Hungary(),
    "CZK": ql.CzechRepublic(),
    "SGD": ql.Singapore(),
    "THB": ql.Thailand(),
    "KRW": ql.SouthKorea(),
}
G10 = ("USD", "EUR", "GBP", "JPY", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK", "DKK")


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def new_york(text):
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def day(text):
    return date.fromisoformat(text)


@cache
def weekdays(first, last):
    return [d.date() for d in pd.bdate_range(first, last)]


@cache
def quantlib_holidays(currency):
    calendar = QUANTLIB[currency]
    return frozenset(
        d
        for d in weekdays(date(1998, 12, 1), date(2031, 1, 31))
        if not calendar.isBusinessDay(ql.Date(d.day, d.month, d.year))
    )


# --- V14: the FX week ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2025-03-12T20:59:59", "2025-03-12"),  # V14
        ("2025-03-12T21:00:00", "2025-03-13"),
        ("2025-03-07T21:59:59", "2025-03-07"),  # Friday, winter time
        ("2025-03-07T22:00:00", "2025-03-10"),  # closed: the next session is Monday's
        ("2025-03-08T12:00:00", "2025-03-10"),
        ("2025-03-09T20:59:59", "2025-03-10"),
        ("2025-03-09T21:00:00", "2025-03-10"),
        ("2025-03-10T20:59:59", "2025-03-10"),  # summer time
        ("2025-03-10T21:00:00", "2025-03-11"),
        ("2024-12-24T23:00:00", "2024-12-25"),  # a holiday is a trade date
    ],
)
def test_trade_date(at, expected):
    assert trade_date(utc(at)) == day(expected)
    assert trade_date(utc(at).astimezone(ZoneInfo("Asia/Tokyo"))) == day(expected)
    assert trade_dates(np.array([at], "datetime64[s]"))[0].item() == day(expected)


@pytest.mark.parametrize(
    ("opens", "closes"),
    [
        ("2025-03-02T22:00:00", "2025-03-07T22:00:00"),  # V14
        ("2025-03-09T21:00:00", "2025-03-14T21:00:00"),
        ("2025-10-26T21:00:00", "2025-10-31T21:00:00"),
        ("2025-11-02T22:00:00", "2025-11-07T22:00:00"),
        ("2006-04-02T21:00:00", "2006-04-07T21:00:00"),  # the rule before 2007
        ("2006-10-29T22:00:00", "2006-11-03T22:00:00"),
    ],
)
def test_week_opens_and_closes(opens, closes):
    second = timedelta(seconds=1)
    opens, closes = utc(opens), utc(closes)
    assert not is_open(opens - second)
    assert is_open(opens)
    assert is_open(closes - second)
    assert not is_open(closes)
    assert open_minutes(opens, closes) == 5 * 24 * 60
    assert session_end(closes.date()) == closes
    assert session_ends(np.array([closes.date()], "datetime64[D]"))[0] == np.datetime64(closes.replace(tzinfo=None))


@pytest.mark.parametrize(("at", "hours"), [("2025-01-15T16:00", 6), ("2025-03-17T16:00", 5)])
def test_london_fix_is_an_hour_nearer_to_the_session_end_while_only_new_york_is_on_summer_time(at, hours):
    fix = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo("Europe/London"))
    assert session_end(trade_date(fix)) - fix.astimezone(UTC) == timedelta(hours=hours)


def test_christmas_and_new_year_sessions_are_closed():
    assert is_open(new_york("2024-12-24T16:59:59"))
    assert not is_open(new_york("2024-12-24T17:00:00"))
    assert not is_open(new_york("2024-12-25T16:59:59"))
    assert is_open(new_york("2024-12-25T17:00:00"))
    assert not is_open(new_york("2024-12-31T17:00:00"))
    assert is_open(new_york("2025-01-01T17:00:00"))
    assert open_minutes(new_york("2024-12-22T17:00"), new_york("2024-12-27T17:00")) == 4 * 24 * 60
    assert open_minutes(new_york("2023-12-24T17:00"), new_york("2023-12-25T17:00")) == 0  # a Monday
    assert open_minutes(new_york("2022-12-19T17:00"), new_york("2022-12-27T17:00")) == 6 * 24 * 60  # a Sunday


def test_open_minutes_skip_the_weekend():
    last_tick = new_york("2025-03-07T16:59:30")  # V15 f
    assert open_minutes(last_tick, new_york("2025-03-09T17:30")) == 30.5
    assert open_minutes(last_tick, new_york("2025-03-09T18:00")) == 60.5
    assert open_minutes(last_tick, last_tick) == 0
    assert open_minutes(new_york("2025-03-10T12:00"), last_tick) == 0


@pytest.mark.parametrize("first", ["2025-03-06", "2024-12-22", "2025-10-30"])
def test_open_minutes_count_the_minutes(first):
    minutes = pd.date_range(first, periods=12 * 24 * 60, freq="min", tz="UTC")
    local = minutes.tz_convert(NEW_YORK)
    hours = local.day_of_week * 24 + local.hour
    is_closed = (hours >= 4 * 24 + 17) & (hours < 6 * 24 + 17)
    ends = local.tz_localize(None) + pd.Timedelta(hours=7)  # 17:00 becomes midnight
    is_closed |= ends.strftime("%m-%d").isin(["12-25", "01-01"])
    opened = np.concatenate([[0], np.cumsum(~is_closed)])
    sample = [0, 1, 977, 4321, 6543, 9876, 12345, len(minutes) - 1]
    for start in sample:
        for end in sample:
            expected = max(0, opened[end] - opened[start])
            assert open_minutes(minutes[start].to_pydatetime(), minutes[end].to_pydatetime()) == expected
    times = minutes.tz_localize(None).to_numpy()
    assert (open_minutes_array(times[0], times) == opened[:-1]).all()


def test_arrays_broadcast_and_keep_their_shape():
    times = np.arange("2025-03-03T12", "2025-03-15T12", 7, dtype="datetime64[h]")
    minutes = open_minutes_array(times[:, None], times[None, :])
    assert minutes.shape == (len(times), len(times))
    assert (np.tril(minutes) == 0).all()
    assert minutes[0, 1] == 7 * 60
    assert trade_dates(times.reshape(-1, 2)[:, :1]).shape == (len(times) // 2, 1)
    assert session_ends(np.empty((0,), "datetime64[D]")).shape == (0,)
    assert session_ends(np.empty((0,), "datetime64[D]")).dtype == np.dtype("datetime64[ns]")


def test_an_instant_needs_a_time_zone():
    naive, aware = datetime(2025, 3, 12, 12), utc("2025-03-12T12:00")
    for call in (
        lambda: trade_date(naive),
        lambda: is_open(naive),
        lambda: open_minutes(naive, aware),
        lambda: open_minutes(aware, naive),
    ):
        with pytest.raises(DataError, match="no time zone"):
            call()
    with pytest.raises(DataError, match="NaT"):
        session_ends(np.array(["2025-03-12", "NaT"], "datetime64[D]"))
    with pytest.raises(DataError, match="NaT"):
        trade_dates(np.array(["NaT"], "datetime64[ns]"))


# --- V3: value dates and roll days -----------------------------------------------------------------------------------

V3_HOLIDAYS = {"USD": {date(2025, 1, 20)}, "JPY": {date(2025, 1, 13)}}
JANUARY = ["2025-01-13", "2025-01-14", "2025-01-15", "2025-01-16", "2025-01-17", "2025-01-20"]
MARCH = ["2025-03-10", "2025-03-11", "2025-03-12", "2025-03-13", "2025-03-14"]
MARCH_T2 = ["2025-03-12", "2025-03-13", "2025-03-14", "2025-03-17", "2025-03-18"]
MARCH_T1 = ["2025-03-11", "2025-03-12", "2025-03-13", "2025-03-14", "2025-03-17"]
JANUARY_T2 = ["2025-01-15", "2025-01-16", "2025-01-17", "2025-01-21", "2025-01-21", "2025-01-22"]
JANUARY_T1 = ["2025-01-14", "2025-01-15", "2025-01-16", "2025-01-17", "2025-01-21", "2025-01-21"]


@pytest.mark.parametrize("holidays", [V3_HOLIDAYS, None], ids=["given", "built-in"])
@pytest.mark.parametrize(
    ("pair", "trades", "values", "rolls"),
    [
        ("EURUSD", MARCH, MARCH_T2, [1, 1, 3, 1, 1]),
        ("USDCAD", MARCH, MARCH_T1, [1, 1, 1, 3, 1]),
        ("EURUSD", JANUARY, JANUARY_T2, [1, 1, 4, 0, 1, 1]),
        ("AUDJPY", JANUARY, JANUARY_T2, [1, 1, 4, 0, 1, 1]),
        ("USDCAD", JANUARY, JANUARY_T1, [1, 1, 1, 4, 0, 1]),
    ],
)
def test_worked_weeks(pair, trades, values, rolls, holidays):
    trades = [day(t) for t in trades]
    assert [value_date(pair, t, holidays) for t in trades] == [day(v) for v in values]
    assert [roll_days(pair, t, holidays) for t in trades] == rolls
    table_days, table_rolls = roll_days_table(pair, trades[0], trades[-1], holidays)
    assert table_days.tolist() == trades
    assert table_rolls.tolist() == rolls


def test_spelling_of_the_pair_does_not_matter():
    t = date(2025, 1, 15)
    for pair in ("USDCAD", "USD/CAD", "CADUSD", Pair("USD", "CAD"), Pair("CAD", "USD")):
        assert value_date(pair, t) == date(2025, 1, 16)
        assert spot_lag(pair) == 1


def test_lag_belongs_to_the_pair():
    assert [spot_lag(p) for p in ("USDCAD", "USDTRY", "USDRUB", "PHPUSD")] == [1, 1, 1, 1]
    assert [spot_lag(p) for p in ("EURUSD", "EURCAD", "CADJPY", "EURTRY", "USDMXN")] == [2] * 5


def test_usd_holiday_between_trade_and_settlement_counts_only_for_latin_america():
    holidays = {"USD": {date(2025, 7, 4)}}  # a Friday
    assert value_date("EURUSD", date(2025, 7, 3), holidays) == date(2025, 7, 7)
    assert value_date("USDMXN", date(2025, 7, 3), holidays) == date(2025, 7, 8)
    assert value_date("EURMXN", date(2025, 7, 3), holidays) == date(2025, 7, 8)


def test_a_holiday_is_a_trade_date_and_a_missing_currency_has_none():
    christmas = date(2024, 12, 25)
    assert value_date("EURUSD", christmas, {"EUR": {christmas}, "USD": {christmas}}) == date(2024, 12, 27)
    assert value_date("EURUSD", date(2024, 12, 23), {}) == christmas
    assert value_date("EURUSD", date(2024, 12, 23), {"usd": [christmas]}) == date(2024, 12, 26)
    assert value_date("EURUSD", date(2050, 6, 1), {}) == date(2050, 6, 3)  # given calendars have no bounds


PAIRS = [
    *("EURUSD", "GBPUSD", "AUDUSD", "NZDUSD", "USDCAD", "USDCHF", "USDNOK", "USDSEK", "USDDKK", "USDJPY"),
    *("EURJPY", "AUDJPY", "EURCAD", "CADJPY", "GBPCHF", "NOKSEK", "AUDNZD", "EURPLN", "EURHUF", "EURMXN", "EURTRY"),
    *("USDMXN", "USDBRL", "USDCLP", "USDARS", "USDZAR", "USDTRY", "USDRUB", "USDPLN", "USDHUF", "USDCZK", "USDSGD"),
    *("USDTHB", "USDKRW"),
]


def quantlib_value_date(pair, trade):
    base, quote = pair[:3], pair[3:]
    calendars = {c: QUANTLIB[c] for c in (base, quote, "USD")}
    settle = ql.JointCalendar(ql.CalendarVector(list(calendars.values())))
    at = ql.Date(trade.day, trade.month, trade.year)
    if "USD" not in pair or pair.replace("USD", "") not in {"CAD", "TRY", "RUB", "PHP"}:
        local = [c for name, c in calendars.items() if name != "USD"]
        if {base, quote} & {"MXN", "BRL", "CLP", "ARS"}:
            local = list(calendars.values())
        at = ql.JointCalendar(ql.CalendarVector(local)).advance(at, 1, ql.Days)
    return settle.advance(at, 1, ql.Days).to_date()


@pytest.mark.parametrize("pair", PAIRS)
def test_value_dates_are_quantlibs_given_its_holidays(pair):
    holidays = {c: quantlib_holidays(c) for c in (pair[:3], pair[3:], "USD")}
    draw = random.Random(pair)
    near_holidays = sorted({h - n * DAY for days in holidays.values() for h in days for n in range(4)})
    trades = draw.sample(weekdays(date(1999, 1, 1), date(2030, 12, 20)), 25)
    trades += [d for d in draw.sample(near_holidays, 50) if d.weekday() < 5 and d.year < 2031]
    for trade in trades:
        assert value_date(pair, trade, holidays) == quantlib_value_date(pair, trade), trade
    for trade in trades[20:30]:
        after = trade + (3 if trade.weekday() == 4 else 1) * DAY
        expected = (quantlib_value_date(pair, after) - quantlib_value_date(pair, trade)).days
        assert roll_days(pair, trade, holidays) == expected, trade


@pytest.mark.parametrize("pair", ["EURUSD", "GBPUSD", "USDCAD", "USDCHF", "USDNOK", "EURSEK", "NZDUSD", "CADCHF"])
def test_built_in_value_dates_are_quantlibs_where_the_calendars_agree(pair):
    for trade in weekdays(date(1999, 1, 1), date(2030, 12, 20))[::11]:
        assert value_date(pair, trade) == quantlib_value_date(pair, trade), trade


def test_eurusd_weeks():
    days, rolls = roll_days_table("EURUSD", date(2004, 1, 5), date(2025, 1, 3))
    weeks = rolls.reshape(-1, 5).sum(1)
    assert days[0].item().weekday() == 0
    assert len(weeks) == 1096
    assert np.count_nonzero(weeks != 7) == 50
    assert set(weeks.tolist()) == {6, 7, 8, 9}


def test_long_closures():
    assert value_date("USDJPY", date(2019, 4, 25)) == date(2019, 5, 7)  # Golden Week of the enthronement
    assert roll_days("USDJPY", date(2019, 4, 24)) == 11


def test_tables_of_no_weekday_are_empty():
    for last in (date(2025, 3, 9), date(2025, 3, 7)):
        days, rolls = roll_days_table("EURUSD", date(2025, 3, 8), last)
        assert len(days) == len(rolls) == 0


def test_a_trade_date_is_a_weekday():
    for call in (value_date, roll_days):
        with pytest.raises(ConfigError, match="2025-03-08 is a Saturday") as caught:
            call("EURUSD", date(2025, 3, 8))
        assert caught.value.fields == {"trade_date": date(2025, 3, 8)}
    for wrong in (datetime(2025, 3, 10, tzinfo=UTC), "2025-03-10"):
        with pytest.raises(ConfigError, match="is not a date"):
            value_date("EURUSD", wrong)
        with pytest.raises(ConfigError, match="is not a date"):
            roll_days_table("EURUSD", wrong, date(2025, 3, 11))
    with pytest.raises(ConfigError, match="not a currency pair"):
        value_date("EURO", date(2025, 3, 10))
    with pytest.raises(ConfigError, match="holidays: 'TARGET'"):
        value_date("EURUSD", date(2025, 3, 10), {"TARGET": set()})
    with pytest.raises(ConfigError, match="holidays of EUR are not all dates, such as '2025-05-01'"):
        value_date("EURUSD", date(2025, 3, 10), {"EUR": ["2025-05-01"]})


def test_built_in_calendars_end():
    assert value_date("EURUSD", CALENDAR_START) == date(1998, 12, 3)
    assert value_date("EURUSD", CALENDAR_END) == date(2031, 1, 3)
    assert roll_days("EURUSD", CALENDAR_END) == 0  # 1 January 2031 settles on the 3rd too
    for outside in (date(1998, 11, 30), date(2031, 1, 1)):
        with pytest.raises(DataError, match=f"EURUSD on {outside}.*pass holidays="):
            value_date("EURUSD", outside)
    with pytest.raises(DataError, match="built-in"):
        roll_days_table("EURUSD", date(2030, 1, 1), date(2031, 6, 1))
    with pytest.raises(MissingDataError, match="settlement calendar for XAU"):
        value_date("XAUUSD", date(2025, 3, 10))


# --- built-in calendars ----------------------------------------------------------------------------------------------


def test_federal_reserve_is_open_on_the_friday_before_a_saturday_holiday():
    usd = holidays_of("USD")
    for friday in ("2021-06-18", "2020-07-03", "2021-12-24", "2021-12-31", "2023-11-10", "2010-12-31"):
        assert day(friday) not in usd
    assert date(2020, 6, 19) not in usd  # Juneteenth did not exist
    assert date(2022, 6, 20) in usd
    assert date(2023, 1, 2) in usd  # a Sunday's holiday is kept on Monday


@pytest.mark.parametrize(
    ("currency", "dates"),
    [
        ("EUR", ["1999-12-31", "2001-12-31", "2025-05-01"]),
        ("GBP", ["2022-09-19", "2023-05-08"]),
        ("JPY", ["2024-12-31", "2025-01-02", "2025-01-03"]),
        ("CHF", ["2025-01-02", "2025-08-01"]),
        ("AUD", ["2024-08-05", "2022-09-22"]),
        ("NZD", ["2025-01-20", "2025-06-20"]),
        ("CAD", ["2024-08-05", "2024-11-11", "2024-12-26", "2024-09-30", "2024-02-19"]),
        ("SEK", ["2024-06-21", "2024-12-24", "2024-12-31"]),
        ("NOK", ["2024-12-24", "2024-05-17"]),
        ("DKK", ["2024-06-05", "2024-05-10", "2024-12-31"]),
        ("MXN", ["2024-12-12", "2024-03-28", "2024-03-29"]),
        ("BRL", ["2024-02-12", "2024-02-13", "2024-05-30"]),
        ("ARS", ["2024-03-28", "2024-11-06"]),
        ("HKD", ["2024-03-29", "2024-04-01"]),
    ],
)
def test_settlement_holidays_that_public_calendars_lack(currency, dates):
    assert {day(d) for d in dates} <= holidays_of(currency)


def test_days_banks_are_open():
    assert date(2024, 4, 1) not in holidays_of("CAD")  # Easter Monday
    assert date(2024, 5, 1) not in holidays_of("DKK")
    assert date(2024, 4, 26) not in holidays_of("DKK")  # Great Prayer Day was abolished


EMERGING = "MXN ZAR TRY PLN HUF CZK ILS SGD HKD THB RUB PHP BRL CLP COP PEN ARS KRW TWD INR IDR MYR CNY CNH"


@pytest.mark.parametrize("currency", [*G10, *EMERGING.split()])
def test_every_calendar_has_weekdays_of_every_year(currency):
    holidays = holidays_of(currency)
    assert all(d.weekday() < 5 for d in holidays)
    assert min(holidays) >= CALENDAR_START
    assert max(holidays) <= date(2031, 1, 31)
    if currency != "EUR":
        assert {d.year for d in holidays} >= set(range(1999, 2031))
    assert holidays_of(currency.lower()) == holidays
    assert day_count(currency) in (360, 365)


def test_differences_from_quantlib_are_the_documented_ones():
    page = Path(__file__).parents[1] / "docs" / "reference" / "calendar-differences.md"
    rows = re.findall(r"^\| ([A-Z]{3}) \|[^|]*\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", page.read_text("utf-8"), re.M)
    assert [row[0] for row in rows] == list(G10)
    for currency, *counts in rows:
        ours = {d for d in holidays_of(currency) if 1999 <= d.year <= 2030}
        theirs = {d for d in quantlib_holidays(currency) if 1999 <= d.year <= 2030}
        assert [int(n) for n in counts] == [len(ours), len(theirs), len(ours - theirs), len(theirs - ours)], currency


def test_day_counts():
    assert {c: day_count(c) for c in ("USD", "EUR", "JPY", "CHF", "NOK", "SEK", "DKK", "MXN")} == dict.fromkeys(
        ("USD", "EUR", "JPY", "CHF", "NOK", "SEK", "DKK", "MXN"), 360
    )
    assert {c: day_count(c) for c in ("GBP", "AUD", "NZD", "CAD", "ZAR", "PLN", "BRL")} == dict.fromkeys(
        ("GBP", "AUD", "NZD", "CAD", "ZAR", "PLN", "BRL"), 365
    )
    assert day_count("gbp") == 365
    with pytest.raises(MissingDataError, match="no day count is known for XAU"):
        day_count("XAU")
    with pytest.raises(ConfigError, match="not a three-letter"):
        day_count("EURO")
