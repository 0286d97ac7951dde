"""Whatever is sent, and whenever it is asked for, nothing is known before it was over or published."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.conventions import holidays_of, session_end
from fxcarry_alphavantage.rates import published
from fxcarry_alphavantage.words import daily_bars

ZONES = st.sampled_from(["UTC", "US/Eastern", "Europe/London", "Asia/Tokyo", "Pacific/Auckland"])
INSTANTS = st.datetimes(datetime(2000, 1, 3), datetime(2028, 12, 31), timezones=st.just(UTC))
steady = settings(derandomize=True, deadline=None, max_examples=150)


@steady
@given(ZONES, INSTANTS, st.sets(st.integers(-3, 30), min_size=1), st.booleans())
def test_a_daily_bar_is_over_when_it_is_known_and_lasts_its_date(
    zone: str, asked: datetime, days_ago: set[int], has_time: bool
) -> None:
    local = asked.astimezone(ZoneInfo(zone))
    days = {local.date() - timedelta(days=n) for n in days_ago}
    meta = {"5. Last Refreshed": f"{local:%Y-%m-%d %H:%M:%S}"[: 19 if has_time else 10], "6. Time Zone": zone}
    said = {"Meta Data": meta, "Time Series FX (Daily)": {str(day): {"4. close": "1.1"} for day in days}}
    bars = daily_bars(said, asked)
    ends = [ended for ended, _ in bars]
    assert ends == sorted(set(ends))
    assert all(ended <= asked for ended in ends)
    known = [ended.astimezone(ZoneInfo(zone)) for ended in ends]
    assert all((ended.hour, ended.minute, ended.second) == (0, 0, 0) for ended in known)
    dates = {ended.date() - timedelta(days=1) for ended in known}
    assert dates <= {day for day in days if day.weekday() < 5}
    missing = {day for day in days if day.weekday() < 5 and day < local.date()} - dates
    assert missing <= {max(days)}, "a day that was over is left out though it is not the newest"


@steady
@given(st.dates(date(1999, 1, 1), date(2030, 11, 30)))
def test_a_rate_is_published_on_a_business_day_after_its_date(day: date) -> None:
    at = published(day)
    on = at.astimezone(ZoneInfo("America/New_York")).date()
    assert at == session_end(on)
    assert on > day
    assert on.weekday() < 5
    assert on not in holidays_of("USD")
    between = [day + timedelta(days=n) for n in range(1, (on - day).days)]
    assert all(one.weekday() > 4 or one in holidays_of("USD") for one in between)
