"""fxcarry.clock: every 17:00 New York is a tick, whether there was a quote or not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from fxcarry.clock import Frequency, SteppedClock, check_frequency, is_due
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.market import MarketHistory, to_ns
from fxcarry.testing import market_history


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def history(*times: str, hours: float = 24) -> MarketHistory:
    at = np.array([to_ns(utc(t)) for t in times], "datetime64[ns]")
    return MarketHistory(at, ("EUR",), np.full((len(at), 1), 1.1), "USD", interval=timedelta(hours=hours))


def texts(values: Any) -> list[str]:
    return [str(v)[:16] for v in values]


def test_a_week_across_the_change_to_summer_time() -> None:
    clock = SteppedClock.over(history("2025-03-06T20:00", "2025-03-07T20:00", "2025-03-10T20:00", "2025-03-11T20:00"))
    assert texts(clock.at) == ["2025-03-06T22:00", "2025-03-07T22:00", "2025-03-10T21:00", "2025-03-11T21:00"]
    assert [str(d) for d in clock.day] == ["2025-03-06", "2025-03-07", "2025-03-10", "2025-03-11"]
    assert clock.row.tolist() == [0, 1, 2, 3]
    assert clock.is_fresh.all()
    assert clock.is_day_end.all()
    assert len(clock) == 4


def test_a_day_without_a_quote_is_still_a_tick() -> None:
    # Good Friday and Easter Monday 2025: no fixing, two rolls.
    clock = SteppedClock.over(history("2025-04-16T12:15", "2025-04-17T12:15", "2025-04-22T12:15"))
    assert [str(d) for d in clock.day] == ["2025-04-16", "2025-04-17", "2025-04-18", "2025-04-21", "2025-04-22"]
    assert clock.row.tolist() == [0, 1, 1, 1, 2]
    assert clock.is_fresh.tolist() == [True, True, False, False, True]


def test_what_is_observed_at_1700_belongs_to_the_day_it_ends_and_later_to_the_next() -> None:
    clock = SteppedClock.over(history("2025-03-12T20:00", "2025-03-13T21:00", "2025-03-14T20:59", "2025-03-17T21:01"))
    assert [str(d) for d in clock.day] == ["2025-03-12", "2025-03-13", "2025-03-14", "2025-03-17", "2025-03-18"]
    assert clock.row.tolist() == [0, 1, 2, 2, 3]


def test_a_history_of_1700_closes_has_the_days_it_closes() -> None:
    clock = SteppedClock.over(history("2025-03-11T21:00", "2025-03-12T21:00", "2025-03-13T21:00"))
    assert texts(clock.at) == ["2025-03-11T21:00", "2025-03-12T21:00", "2025-03-13T21:00"]
    assert [str(d) for d in clock.day] == ["2025-03-11", "2025-03-12", "2025-03-13"]
    assert clock.row.tolist() == [0, 1, 2]


def test_a_period_that_ends_at_1700_ends_with_that_day() -> None:
    data = history(*(f"2025-03-{d}T14:00" for d in (10, 11, 12, 13)))
    clock = SteppedClock.over(data, utc("2025-03-10T21:00"), utc("2025-03-12T21:00"))
    assert [str(d) for d in clock.day] == ["2025-03-10", "2025-03-11", "2025-03-12"]


def test_intraday_rows_are_ticks_too() -> None:
    rows = ("2025-03-12T14:00", "2025-03-12T20:59", "2025-03-12T21:00", "2025-03-13T14:00")
    clock = SteppedClock.over(history(*rows, hours=1))
    assert texts(clock.at) == [*rows, "2025-03-13T21:00"]
    assert [str(d) for d in clock.day] == ["2025-03-12"] * 3 + ["2025-03-13"] * 2
    assert clock.is_day_end.tolist() == [False, False, True, False, True]
    assert clock.row.tolist() == [0, 1, 2, 3, 3]
    assert clock.is_fresh.tolist() == [True, True, True, True, False]


def test_intraday_history_that_opens_on_sunday() -> None:
    clock = SteppedClock.over(history("2025-03-14T20:00", "2025-03-16T22:00", hours=1))
    assert [str(d) for d in clock.day] == ["2025-03-14", "2025-03-14", "2025-03-17", "2025-03-17"]
    assert clock.is_day_end.tolist() == [False, True, False, True]


def test_rows_never_come_from_after_the_tick() -> None:
    data = history(*(f"2025-03-{d:02}T{h:02}:30" for d in (10, 11, 12, 13) for h in (3, 9, 15, 20, 21)), hours=6)
    clock = SteppedClock.over(data)
    assert (data.times[clock.row] <= clock.at).all()
    following = np.minimum(clock.row + 1, len(data) - 1)
    assert ((data.times[following] > clock.at) | (following == clock.row)).all()
    assert (np.diff(clock.at.astype(np.int64)) > 0).all()


def test_a_part_of_the_history() -> None:
    rows = [f"2025-03-{d}T20:00" for d in (10, 11, 12, 13, 14)]
    clock = SteppedClock.over(history(*rows), utc("2025-03-11T04:00"), utc("2025-03-13T20:59:59"))
    assert [str(d) for d in clock.day] == ["2025-03-11", "2025-03-12", "2025-03-13"]
    assert clock.row.tolist() == [1, 2, 3]
    assert clock.is_fresh.all()
    wide = SteppedClock.over(history(*rows), utc("2020-01-01T00:00"), utc("2030-01-01T00:00"))
    assert len(wide) == 5


def test_a_first_tick_on_an_old_quote_is_not_fresh() -> None:
    clock = SteppedClock.over(history("2025-04-17T12:15", "2025-04-22T12:15"), utc("2025-04-21T04:00"))
    assert [str(d) for d in clock.day] == ["2025-04-21", "2025-04-22"]
    assert clock.is_fresh.tolist() == [False, True]


def test_outside_the_history_there_are_no_ticks() -> None:
    data = history("2025-03-10T20:00", "2025-03-11T20:00")
    assert len(SteppedClock.over(data, start=utc("2025-04-01T00:00"))) == 0
    assert len(SteppedClock.over(data, end=utc("2025-03-01T00:00"))) == 0


def weekdays(first: date, last: date) -> np.ndarray:
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    return days[np.is_busday(days)]


@pytest.mark.parametrize(
    ("frequency", "due"),
    [
        ("monthly", ["2025-01-31", "2025-02-28", "2025-03-31", "2025-05-30"]),
        ("weekly", ["2025-01-31", "2025-02-28", "2025-04-18", "2025-05-30"]),
        ("daily", ["2025-01-30", "2025-01-31", "2025-02-03", "2025-05-30"]),
    ],
)
def test_decision_days(frequency: Frequency, due: list[str]) -> None:
    days = weekdays(date(2025, 1, 27), date(2025, 5, 30))
    picked = {str(d) for d in days[is_due(days, frequency)]}
    assert set(due) <= picked
    assert len(picked) == {"monthly": 5, "weekly": 18, "daily": len(days)}[frequency]


def test_a_month_end_on_a_weekend_is_decided_on_the_friday() -> None:
    days = weekdays(date(2025, 5, 26), date(2025, 6, 3))
    assert [str(d) for d in days[is_due(days, "monthly")]] == ["2025-05-30"]


def test_only_a_day_end_is_due() -> None:
    data = history("2025-02-28T14:00", "2025-02-28T20:00", "2025-03-03T14:00", hours=1)
    clock = SteppedClock.over(data, frequency="daily")
    assert (clock.is_due == clock.is_day_end).all()
    monthly = SteppedClock.over(data)
    assert [str(d) for d in monthly.day[monthly.is_due]] == ["2025-02-28"]
    assert texts(monthly.at[monthly.is_due]) == ["2025-02-28T22:00"]


def test_errors() -> None:
    with pytest.raises(ConfigError, match="fortnightly"):
        is_due(weekdays(date(2025, 1, 1), date(2025, 1, 3)), "fortnightly")
    with pytest.raises(MissingDataError, match="empty"):
        SteppedClock.over(history())
    with pytest.raises(DataError, match="time zone"):
        SteppedClock.over(history("2025-03-10T20:00"), start=datetime(2025, 3, 10))


# -- cron --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 17 15 * *", ["2025-01-15", "2025-02-17", "2025-03-17", "2025-04-15"]),  # 15 February and March: Saturdays
        ("0 17 15 3,6,9,12 *", ["2025-03-17"]),
        ("0 17 * 1 5", ["2025-01-03", "2025-01-10", "2025-01-17", "2025-01-24", "2025-01-31"]),
        ("0 17 1-7 2-3 *", ["2025-02-03", "2025-02-04", "2025-02-05", "2025-02-06", "2025-02-07", "2025-03-03",
                            "2025-03-04", "2025-03-05", "2025-03-06", "2025-03-07"]),
        ("0 17 20 1 1", ["2025-01-06", "2025-01-13", "2025-01-20", "2025-01-27"]),  # either, as cron has it
        ("0 17 */10 4 *", ["2025-04-01", "2025-04-11", "2025-04-21"]),
        ("0 17 * 4 7", ["2025-04-07", "2025-04-14", "2025-04-21", "2025-04-28"]),  # a Sunday moves to Monday
        ("0 17 * 4 0", ["2025-04-07", "2025-04-14", "2025-04-21", "2025-04-28"]),
    ],
)  # fmt: skip
def test_a_cron_line_names_days_and_one_of_a_weekend_moves_on(line: str, expected: list[str]) -> None:
    days = weekdays(date(2025, 1, 1), date(2025, 4, 30))
    assert [str(d) for d in days[is_due(days, line)]] == expected


def test_every_weekday_of_cron_is_daily() -> None:
    days = weekdays(date(2024, 1, 1), date(2025, 12, 31))
    assert is_due(days, "0 17 * * *").all()
    assert (is_due(days, "0 17 * * 1-5") == is_due(days, "daily")).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 9 * * 1", "decisions are made at 17:00 New York"),
        ("0 17 * *", "rebalance is '0 17 \\* \\*'"),
        ("0 17 32 * *", "'32' is not within 1 to 31"),
        ("0 17 0 * *", "'0' is not within 1 to 31"),
        ("0 17 7-1 * *", "'7-1' is not within 1 to 31"),
        ("0 17 * 13 *", "'13' is not within 1 to 12"),
        ("0 17 * * 8", "'8' is not within 0 to 7"),
        ("0 17 */0 * *", "is not within"),
        ("0 17 L * *", "'L' is no field"),
    ],
)
def test_a_cron_line_that_is_wrong_is_an_error_that_says_where(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_frequency(line)


def test_a_schedule_over_a_history_follows_a_cron_line() -> None:
    days = market_history(("EUR",), days=80, start=date(2025, 1, 1))
    clock = SteppedClock.over(days, frequency="0 17 15 * *")
    assert [str(d) for d in clock.day[clock.is_due]] == ["2025-01-15", "2025-02-17", "2025-03-17", "2025-04-15"]
