"""Rates as they were known: releases, revisions, lags, and what revised data would have made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import fxcarry
from fxcarry.cli import cli
from fxcarry.conventions import session_end
from fxcarry.errors import MissingDataError
from fxcarry_fred.feed import FredFeed
from fxcarry_fred.testing import FakeFred

MakeFeed = Callable[..., FredFeed]


def gbp(feed: FredFeed, day: str) -> float:
    return feed.rate("GBP", session_end(date.fromisoformat(day))).value


@pytest.mark.parametrize(
    ("day", "value"),
    [
        ("2025-03-16", 0.0450),
        ("2025-03-17", 0.0410),
        ("2025-04-14", 0.0410),
        ("2025-04-30", 0.0405),
        ("2025-05-15", 0.0407),
    ],
)
def test_a_monthly_average_counts_from_its_release_and_a_revision_from_its_own(
    vintages: FakeFred, make_feed: MakeFeed, day: str, value: float
) -> None:
    feed = make_feed(vintages, "GBP")
    instant = session_end(date.fromisoformat(day))
    assert gbp(feed, day) == pytest.approx(value, abs=1e-12)
    assert feed.snapshot(instant).rates["GBP"].value == pytest.approx(value, abs=1e-12)
    history = feed.history(None, instant + timedelta(seconds=1))
    assert history.rates["GBP"].values(np.array([instant.replace(tzinfo=None)], "datetime64[ns]"))[0] == pytest.approx(
        value
    )


def test_the_new_value_is_nowhere_a_moment_before_its_release(vintages: FakeFred, make_feed: MakeFeed) -> None:
    feed = make_feed(vintages, "GBP")
    moment = session_end(date(2025, 3, 17)) - timedelta(microseconds=1)
    assert feed.rate("GBP", moment).value == pytest.approx(0.045)
    assert 0.0410 not in feed.history(None, moment).rates["GBP"].value.round(6)
    assert 0.0410 in feed.history(None, moment + timedelta(seconds=1)).rates["GBP"].value.round(6)


def test_rows_say_what_they_are_of_and_when_they_were_known(vintages: FakeFred, make_feed: MakeFeed) -> None:
    series = make_feed(vintages, "GBP").history(None, None).rates["GBP"]
    rows = [
        (str(o)[:10], str(k)[:16], round(float(v), 4))
        for o, k, v in zip(series.as_of, series.available_at, series.value)
    ]
    assert rows[-3:] == [
        ("2025-02-01", "2025-03-17T21:00", 0.0410),
        ("2025-03-01", "2025-04-15T21:00", 0.0405),
        ("2025-03-01", "2025-05-15T21:00", 0.0407),
    ]
    assert series.day_count == 365


def test_real_time_is_asked_for_and_vintage_date_never_sent(
    vintages: FakeFred, make_feed: MakeFeed, serve: Callable[[FakeFred], fxcarry.testing.WireServer]
) -> None:
    server = serve(vintages)
    make_feed(vintages, "GBP", server=server).history(None, None)
    asked = {r.query["series_id"]: r.query for r in server.requests}
    assert asked["IR3TIB01GBM156N"]["realtime_start"] == "1776-07-04"
    assert asked["IR3TIB01GBM156N"]["realtime_end"] == "9999-12-31"
    assert not any("vintage_date" in name for r in server.requests for name in r.query)


def test_the_fake_answers_vintage_date_with_revised_values_as_fred_does(
    vintages: FakeFred, serve: Callable[[FakeFred], fxcarry.testing.WireServer]
) -> None:
    import requests

    params = {
        "api_key": vintages.key,
        "file_type": "json",
        "series_id": "IR3TIB01GBM156N",
        "vintage_date": "2025-04-30",
    }
    said = requests.get(f"{serve(vintages).url}/fred/series/observations", params=params, timeout=5).json()
    assert said["observations"][-1] == {
        "realtime_start": "2025-06-02",
        "realtime_end": "2025-06-02",
        "date": "2025-03-01",
        "value": "4.07",
    }


def test_what_is_in_the_first_vintage_counts_from_a_lag(make_feed: MakeFeed) -> None:
    fake = _with_spot(date(2025, 6, 2))
    for month in range(1, 7):  # FRED began to keep it in July 2024
        fake.release("IR3TIB01GBM156N", date(2024, month, 1), f"5.{month}0", on=date(2024, 7, 20))
    fake.release("IR3TIB01GBM156N", date(2024, 7, 1), "5.70", on=date(2024, 8, 14))
    feed = make_feed(fake, "GBP")
    series = feed.history(None, None).rates["GBP"]
    known = {str(o)[:7]: str(k)[:10] for o, k in zip(series.as_of, series.available_at)}
    # 45 days after 2024-01-31 and 2024-05-31; June's would be 2024-08-14, but it was there on 2024-07-20
    assert (known["2024-01"], known["2024-05"], known["2024-06"]) == ("2024-03-16", "2024-07-15", "2024-07-20")
    assert known["2024-07"] == "2024-08-14"
    assert any("IR3TIB01GBM156N 2024-07-20" in note for note in feed.history(None, None).notes)


def test_without_vintages_there_is_a_lag_whenever_it_is_asked(make_feed: MakeFeed) -> None:
    fake = _with_spot(date(2025, 2, 10))
    for month in range(1, 13):
        fake.release("IR3TIB01GBM156N", date(2024, month, 1), f"4.{month:02}", on=date(2025, 1, 1))
    fake.release("IR3TIB01GBM156N", date(2024, 11, 1), "4.50", on=date(2025, 2, 1))  # nobody can tell any more
    fake.forget_vintages("IR3TIB01GBM156N")
    feed = make_feed(fake, "GBP")
    known = feed.rate("GBP", datetime(2025, 2, 10, 22, tzinfo=UTC))
    assert (known.as_of.date(), round(known.value, 4)) == (date(2024, 11, 1), 0.0450)
    assert known.available_at.date() == date(2025, 1, 14)  # 45 days after 2024-11-30
    assert any(note.startswith("FRED has no vintages of IR3TIB01GBM156N") for note in feed.history(None, None).notes)
    fake.today = date(2025, 3, 5)
    later = make_feed(fake, "GBP").rate("GBP", datetime(2025, 2, 10, 22, tzinfo=UTC))
    assert later == known  # the day of the fetch makes no difference


def test_a_daily_rate_without_vintages_counts_two_weekdays_later(make_feed: MakeFeed) -> None:
    fake = _with_spot(date(2025, 2, 10))
    fake.release("IUDSOIA", date(2025, 1, 31), "4.70", on=date(2025, 2, 3))  # a Friday
    fake.forget_vintages("IUDSOIA")
    feed = make_feed(fake, "GBP", rates="overnight")
    with pytest.raises(MissingDataError, match="IUDSOIA has no value that was known yet"):
        feed.rate("GBP", session_end(date(2025, 2, 4)) - timedelta(seconds=1))
    assert feed.rate("GBP", session_end(date(2025, 2, 4))).value == pytest.approx(0.047)


def test_a_value_that_is_announced_ahead_waits_for_its_day(make_feed: MakeFeed) -> None:
    fake = _with_spot(date(2025, 2, 10))
    fake.release("IUDSOIA", date(2025, 1, 30), "4.70", on=date(2025, 1, 31))
    fake.release("IUDSOIA", date(2025, 2, 6), "4.45", on=date(2025, 2, 3))  # said on Monday of Thursday
    feed = make_feed(fake, "GBP", rates="overnight")
    thursday = session_end(date(2025, 2, 6))
    assert feed.rate("GBP", thursday - timedelta(seconds=1)).value == pytest.approx(0.047)
    assert str(feed.series(thursday - timedelta(seconds=1))["GBP"].observed) == "2025-01-30"
    assert feed.rate("GBP", thursday).value == pytest.approx(0.0445)


def test_a_series_that_fred_began_to_keep_yesterday_has_no_vintages_yet(make_feed: MakeFeed) -> None:
    fake = _with_spot(date(2025, 2, 10))
    fake.release("IR3TIB01GBM156N", date(2024, 12, 1), "4.70", on=date(2025, 2, 9))
    feed = make_feed(fake, "GBP", now=lambda: datetime(2025, 2, 11, 5, tzinfo=UTC))  # still the 10th in Chicago
    with pytest.raises(MissingDataError):
        feed.rate("GBP", session_end(date(2025, 2, 10)))  # 45 days after 2024-12-31 are 2025-02-14


def test_more_vintages_than_fred_answers_at_once(make_feed: MakeFeed) -> None:
    fake = _with_spot(date(2025, 6, 2))
    days = [date(2017, 1, 1) + timedelta(days=i) for i in range(2500)]
    for i, day in enumerate(days):
        fake.release("IUDSOIA", day, f"{1 + i / 1000:.3f}", on=day + timedelta(days=1))
    series = make_feed(fake, "GBP", rates="overnight").history(None, None).rates["GBP"]
    assert len(series.value) == 2500
    assert series.available_at[2100] == np.datetime64(session_end(days[2100] + timedelta(days=1)).replace(tzinfo=None))
    assert series.value[[0, 2100, 2499]].tolist() == pytest.approx([0.01, 0.031, 0.03499])


def _with_spot(today: date) -> FakeFred:
    """A fake with a rate of USD, a week of the pound and no rate of it."""
    fake = FakeFred(today=today)
    for series in ("IR3TIB01GBM156N", "IUDSOIA"):
        fake.add(series)
    for day in range(3, 8):
        fake.release("DEXUSUK", date(2025, 1, day + 3), "1.2500", on=date(2025, 1, 13))
        fake.release("DTB3", date(2025, 1, day + 3), "4.20", on=date(2025, 1, 13))
    return fake


# -- revised data ------------------------------------------------------------------------------------------------------


def revisions(today: date = date(2025, 6, 2)) -> FakeFred:
    """Two currencies at 1.00 throughout. AUD is first said to pay 5 % and NZD 4 %; forty days later, when there is
    a newer month, 4 % and 8 %."""
    fake = FakeFred(today=today)
    day = date(2024, 1, 1)
    while day < today:
        if day.weekday() < 5:
            for series in ("DEXUSAL", "DEXUSNZ"):
                fake.release(series, day, "1.0000", on=day)
            fake.release("DTB3", day, "0.00", on=day)
        day += timedelta(days=1)
    months = [date(2023, 11, 1), date(2023, 12, 1), *(date(2024, m, 1) for m in range(1, 13))]
    for month in [*months, date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 1)]:
        released = month + timedelta(days=45)
        for series, first, last in (("IR3TIB01AUM156N", "5.00", "4.00"), ("IR3TIB01NZM156N", "4.00", "8.00")):
            fake.release(series, month, first, on=released)
            fake.release(series, month, last, on=released + timedelta(days=40))
    return fake


def carry_of(feed: FredFeed) -> fxcarry.BacktestResult:
    """A year of holding whichever of the two is said to pay more, paid what the rates say."""

    def higher(view: fxcarry.MarketView, account: object) -> dict[str, float]:
        carry = view.carry
        return {carry.idxmax(): 0.5, carry.idxmin(): -0.5}

    return fxcarry.backtest(
        higher,
        feed=feed,
        universe=("AUD", "NZD"),
        start="2024-03-01",
        end="2025-02-28",
        rules=[],
        costs=None,
        markup=0.0,
    )


def test_the_report_of_a_backtest_says_what_revised_rates_would_have_added(
    make_feed: MakeFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = make_feed(revisions(), "AUD", "NZD")
    monkeypatch.setattr(import_module("fxcarry.build"), "feed_of", lambda settings: feed)
    monkeypatch.chdir(tmp_path)
    command = "backtest --strategy sign --universe AUD,NZD --start 2024-04-01 --end 2025-02-28 --markup 0 --no-costs"
    run = CliRunner().invoke(cli, [*command.split(), "--output", str(tmp_path), "--json"])
    assert run.exit_code == 0, run.output
    [summary] = json.loads(run.stdout)
    known, revised = (summary["variants"][name]["annual_return"] for name in ("no_rules", "revised"))
    assert known != revised
    page = (tmp_path / "sign" / "report.html").read_text("utf-8")
    assert "revised rates (hindsight)" in page


def test_a_backtest_on_vintages_differs_from_one_on_revised_data_and_both_say_what_they_used(
    make_feed: MakeFeed,
) -> None:
    as_known, revised = (
        carry_of(make_feed(revisions(), "AUD", "NZD")),
        carry_of(make_feed(revisions(), "AUD", "NZD", is_revised=True)),
    )
    assert any("RESEARCH ONLY: revised data was used" in note for note in revised.notes)
    distance = "Revised rates are from the first released, on average and in percentage points: "
    assert f"{distance}IR3TIB01AUM156N 1.00, IR3TIB01NZM156N 4.00." in revised.notes
    assert not any("RESEARCH ONLY" in note or distance in note for note in as_known.notes)
    # Held from 2024-04-01 to 2025-02-28, 337 days of interest by value dates; spot does not move, nothing costs.
    # As known: half of 5 % less half of 4 %. Revised: half of 8 % less half of 4 %, the other way round.
    gained = [result.nav.iloc[-1] / 1e6 - 1 for result in (as_known, revised)]
    assert gained == pytest.approx([0.005 * 337 / 365, 0.02 * 337 / 365], abs=2e-4)
    assert gained[1] - gained[0] == pytest.approx(0.015 * 337 / 365, abs=2e-4)  # what revised data would have flattered
    held = [result.weights.iloc[-1].round(1).to_dict() for result in (as_known, revised)]
    assert held == [{"AUD": 0.5, "NZD": -0.5}, {"AUD": -0.5, "NZD": 0.5}]
