"""What must hold of trade dates, open minutes and roll days for any input."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.conventions import (
    is_open,
    open_minutes,
    open_minutes_array,
    roll_days,
    roll_days_table,
    session_end,
    session_ends,
    trade_date,
    trade_dates,
    value_date,
)

PAIRS = ("EURUSD", "USDJPY", "USDCAD", "CADUSD", "AUDJPY", "EURCAD", "NOKSEK", "USDMXN", "USDTRY", "USDBRL")

pairs = st.sampled_from(PAIRS)
weekdays = st.dates(date(1999, 1, 1), date(2030, 12, 31)).filter(lambda d: d.weekday() < 5)
instants = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)) | st.builds(
    # near the session ends, where it matters
    lambda day, seconds: session_end(day) + timedelta(seconds=seconds),
    st.dates(date(1990, 1, 1), date(2039, 12, 31)),
    st.integers(-2, 2),
)
calendars = st.dictionaries(
    st.sampled_from(["USD", "EUR", "JPY", "CAD", "MXN"]),
    st.frozensets(st.dates(date(2025, 1, 1), date(2025, 3, 31)), max_size=40),
)
quarter = st.dates(date(2025, 1, 1), date(2025, 3, 31)).filter(lambda d: d.weekday() < 5)


def to_array(*times):
    return np.array([t.astimezone(UTC).replace(tzinfo=None) for t in times], "datetime64[ns]")


@given(instants)
def test_trade_date_contains_the_instant(at):
    day = trade_date(at)
    assert day.weekday() < 5
    assert at < session_end(day)
    previous = day - timedelta(days=3 if day.weekday() == 0 else 1)
    assert at >= session_end(previous)
    if is_open(at):
        assert at >= session_end(day - timedelta(days=1))


@given(st.lists(instants, min_size=1, max_size=5))
def test_arrays_agree_with_scalars(times):
    array = to_array(*times)
    assert trade_dates(array).tolist() == [trade_date(t) for t in times]
    days = [trade_date(t) for t in times]
    assert (session_ends(np.array(days, "datetime64[D]")) == to_array(*(session_end(d) for d in days))).all()
    minutes = open_minutes_array(array[:, None], array[None, :])
    expected = [[open_minutes(start, end) for end in times] for start in times]
    np.testing.assert_allclose(minutes, expected, rtol=1e-12, atol=1e-6)


@given(st.dates(date(1970, 1, 1), date(2099, 12, 31)))
def test_session_ends_at_five_in_new_york(day):
    local = session_end(day).astimezone(ZoneInfo("America/New_York"))
    assert (local.date(), local.hour, local.minute) == (day, 17, 0)


@given(st.tuples(instants, instants, instants).map(sorted))
def test_open_minutes_add_up(times):
    start, middle, end = times
    whole = open_minutes(start, end)
    assert whole == pytest.approx(open_minutes(start, middle) + open_minutes(middle, end), rel=1e-12, abs=1e-6)
    assert 0 <= whole <= (end - start) / timedelta(minutes=1) + 1e-6
    assert open_minutes(end, start) == 0


@given(pairs, weekdays, weekdays)
def test_roll_days_sum_to_the_distance_of_the_value_dates(pair, one, other):
    start, end = sorted((one, other))
    days, rolls = roll_days_table(pair, start, end)
    assert (rolls >= 0).all()
    assert days[0].item() == start
    assert rolls[:-1].sum() == (value_date(pair, end) - value_date(pair, start)).days
    for i in {0, len(days) // 2, len(days) - 1}:
        assert rolls[i] == roll_days(pair, days[i].item())


@given(st.sampled_from(["EURUSD", "USDCAD", "EURJPY", "USDMXN"]), quarter, calendars)
def test_value_dates_follow_the_given_holidays(pair, trade, holidays):
    value = value_date(pair, trade, holidays)
    assert value > trade
    assert value.weekday() < 5
    assert not any(value in holidays.get(c, ()) for c in (pair[:3], pair[3:], "USD"))
    assert value == value_date(pair[3:] + pair[:3], trade, holidays)
    _, rolls = roll_days_table(pair, trade, date(2025, 6, 30), holidays)
    assert rolls.sum() == (value_date(pair, date(2025, 7, 1), holidays) - value).days


@given(pairs, st.dates(date(1980, 1, 1), date(2060, 1, 1)))
def test_a_plain_week_has_seven_days(pair, day):
    monday = day - timedelta(days=day.weekday())
    _, rolls = roll_days_table(pair, monday, monday + timedelta(days=6), {})
    triple = 3 if "USD" in pair and {"CAD", "TRY"} & {pair[:3], pair[3:]} else 2
    assert rolls.tolist() == [3 if i == triple else 1 for i in range(5)]
