"""The ECB feed against the published fixings, the announced policy rates and, where it is there, the shared source."""

import csv
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from io import StringIO
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from currency_converter.currency_converter import CURRENCY_FILE

import fxcarry_ecb
from fxcarry.errors import DataError, MissingDataError
from fxcarry.feeds import coverage
from fxcarry.market import MarketHistory, RateSeries, to_ns
from fxcarry.model import Pair
from fxcarry.protocols import DataFeed
from fxcarry_ecb.feed import EcbFeed
from fxcarry_ecb.fixings import read_fixings
from fxcarry_ecb.policy_rates import VERIFIED_UNTIL, read_policy_rates

G10 = {"USD", "EUR", "JPY", "GBP", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK"}
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the source of the table is not next to the project")


@pytest.fixture(scope="module")
def feed() -> EcbFeed:
    return EcbFeed()


@pytest.fixture(scope="module")
def history(feed: EcbFeed) -> MarketHistory:
    return feed.history(None, None)


@pytest.fixture(scope="module")
def published() -> list[dict[str, str]]:
    """The lines of the ECB's file, oldest first, read another way."""
    with zipfile.ZipFile(CURRENCY_FILE) as archive:
        return list(csv.DictReader(StringIO(archive.read("eurofxref-hist.csv").decode())))[::-1]


def new_york(day: str, hour: int = 17, minute: int = 0) -> datetime:
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), ZoneInfo("America/New_York")).replace(
        hour=hour, minute=minute
    )


def per_euro(history: MarketHistory, currency: str, day: str) -> float:
    row = int(np.flatnonzero(history.times.astype("datetime64[D]") == np.datetime64(day))[0])
    return float(1.0 / history.spot[row, history.currencies.index(currency)])


@lru_cache
def policy_rates() -> dict[str, RateSeries]:
    return read_policy_rates()


def rate(currency: str, day: str) -> float:
    """Percent in force at 17:00 New York of a day."""
    found = policy_rates()[currency].get(new_york(day))
    assert found is not None
    return round(found.value * 100, 6)


# --- fixings ---------------------------------------------------------------------------------------------------------


def test_every_fixing_of_the_file_is_there_and_nothing_else(
    history: MarketHistory, published: list[dict[str, str]]
) -> None:
    assert len(history) == len(published) > 7000
    assert history.times.astype("datetime64[D]").astype(str).tolist() == [line["Date"] for line in published]
    assert set(history.currencies) == set(published[0]) - {"Date", "", "TRL", "ROL"}
    for currency in set(history.currencies) - {"TRY", "RON"}:
        cells = np.array([float(line[currency].replace("N/A", "nan")) for line in published])
        np.testing.assert_allclose(1 / history.spot[:, history.currencies.index(currency)], cells, rtol=1e-15)


@pytest.mark.parametrize(
    ("currency", "day", "fixing"),
    [
        ("USD", "1999-01-04", 1.1789),
        ("JPY", "1999-01-04", 133.73),
        ("USD", "2000-10-26", 0.8252),  # the lowest ever
        ("USD", "2008-07-15", 1.5990),  # the highest ever
        ("CHF", "2015-01-14", 1.2010),
        ("CHF", "2015-01-15", 1.0280),
    ],
)
def test_known_fixings(history: MarketHistory, currency: str, day: str, fixing: float) -> None:
    assert per_euro(history, currency, day) == pytest.approx(fixing, rel=1e-12)


def test_fixings_are_at_a_quarter_past_two_in_frankfurt(history: MarketHistory) -> None:
    assert history.start == datetime(1999, 1, 4, 13, 15, tzinfo=UTC)
    frankfurt = ZoneInfo("Europe/Berlin")
    for at in history.times[::97].astype("datetime64[s]").tolist():
        local = at.replace(tzinfo=UTC).astimezone(frankfurt)
        assert (local.hour, local.minute) == (14, 15)


def test_lira_and_leu_continue_across_their_redenomination(history: MarketHistory) -> None:
    assert per_euro(history, "TRY", "2004-12-31") == pytest.approx(1.8362)  # 1,836,200 TRL
    assert per_euro(history, "TRY", "2005-01-03") == pytest.approx(1.8150)
    assert per_euro(history, "RON", "2005-06-30") == pytest.approx(3.6030)  # 36,030 ROL
    assert per_euro(history, "RON", "2005-07-01") == pytest.approx(3.6030)
    for currency in ("TRY", "RON"):
        spot = history.spot[:, history.currencies.index(currency)]
        assert not np.isnan(spot).any()
        assert np.abs(np.diff(np.log(spot))).max() < 0.6  # the lira's 0.52 on 2001-02-22; a wrong unit gives 9 or more


def test_what_there_is_of_each_currency(history: MarketHistory) -> None:
    found = coverage(history)
    days = {c: (f.first.date().isoformat(), f.last.date().isoformat()) for c, f in found.items() if f.first and f.last}
    assert days["RUB"] == ("2005-04-01", "2022-03-01")
    assert days["HRK"] == ("2005-04-01", "2022-12-30")
    assert days["SIT"] == ("1999-01-04", "2006-12-29")
    assert days["BRL"][0] == days["MXN"][0] == "2008-01-02"
    assert [(a.date(), b.date()) for a, b in found["ISK"].gaps] == [(date(2008, 12, 9), date(2018, 2, 1))]
    for currency in G10 - {"EUR"}:
        assert found[currency].quotes == len(history)
        assert found[currency].gaps == ()
    assert [c for c, f in found.items() if f.gaps] == ["ISK"]


def test_a_missing_fixing_is_never_filled_in_the_history(history: MarketHistory) -> None:
    spot = history.spot[:, history.currencies.index("RUB")]
    assert np.isnan(spot[history.times > np.datetime64("2022-03-02")]).all()
    assert np.isnan(spot[history.times < np.datetime64("2005-04-01")]).all()


def test_the_history_says_what_it_is(history: MarketHistory) -> None:
    assert (history.numeraire, history.calendar, history.interval) == ("EUR", "EUR", timedelta(days=1))
    assert "European Central Bank" in history.source
    assert history.rates_verified_until == VERIFIED_UNTIL == new_york("2026-08-31")
    text = " ".join(history.notes)
    assert all(word in text for word in ("10-30 bp", "RUB", "ISK", "deposit facility", "2026-08-31", "TRY"))


def test_a_file_that_is_not_the_ecbs_is_an_error_with_its_path_and_cause(tmp_path: Path) -> None:
    def zipped(text: str) -> Path:
        with zipfile.ZipFile(tmp_path / "fixings.zip", "w") as archive:
            archive.writestr("eurofxref-hist.csv", text)
        return tmp_path / "fixings.zip"

    head = "Date,USD,ROL,RON,TRL,TRY,\n"
    good = zipped(head + "2005-01-03,1.3507,39390,N/A,N/A,1.8150,\n2004-12-31,1.3621,39390,N/A,1836200,N/A,\n")
    np.testing.assert_allclose(1 / read_fixings(good).spot, [[1.3621, 3.939, 1.8362], [1.3507, 3.939, 1.8150]])
    (tmp_path / "rubbish.zip").write_bytes(b"rubbish")
    assert_refused(tmp_path / "rubbish.zip")
    assert_refused(tmp_path / "absent.zip")
    for text in (
        "",
        head,
        head + "2005-01-03,abc,39390,N/A,N/A,1.8150,\n",
        head + "2005-01-03,1.3507,39390,N/A,\n",
        head + "3 Jan,1.3507,39390,N/A,N/A,1.8150,\n",
        "Date,USD,\n2005-01-03,1.3507,\n",
    ):
        assert_refused(zipped(text))


def assert_refused(path: Path) -> None:
    with pytest.raises(DataError, match=path.name) as caught:
        read_fixings(path)
    assert caught.value.__cause__ is not None


# --- policy rates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "day", "percent"),
    [
        ("USD", "1999-01-04", 4.75),
        ("USD", "2001-01-30", 6.5),  # the cut of 3 January to 6.0 is not in the table, that of the 31st is
        ("USD", "2001-01-31", 5.5),
        ("USD", "2008-12-15", 1.0),
        ("USD", "2008-12-16", 0.125),  # the middle of 0 to 0.25
        ("EUR", "2008-09-30", 4.25),  # main refinancing rate
        ("EUR", "2008-10-01", 3.25),  # deposit facility from here on
        ("EUR", "2008-10-08", 2.75),
        ("EUR", "2008-10-15", 3.25),  # not the refinancing rate, 3.75
        ("EUR", "2014-06-10", 0.0),
        ("EUR", "2014-06-11", -0.1),  # not 0.15
        ("EUR", "2019-09-18", -0.5),
        ("EUR", "2023-09-20", 4.0),  # not 4.5
        ("EUR", "2024-09-18", 3.5),
        ("GBP", "2009-03-05", 0.5),
        ("JPY", "2016-02-16", -0.1),
        ("CHF", "2014-12-17", 0.125),
        ("CHF", "2014-12-18", -0.25),
        ("CHF", "2015-01-15", -0.75),
        ("AUD", "2020-11-03", 0.1),
        ("NZD", "2008-07-24", 8.0),
    ],
)
def test_announced_policy_rates(currency: str, day: str, percent: float) -> None:
    assert rate(currency, day) == percent


def test_a_rate_is_invisible_before_it_was_known(feed: EcbFeed) -> None:
    before, after = (feed.snapshot(new_york("2008-12-16", *at)) for at in ((16, 59), (17, 0)))
    assert before.rates["USD"].value == 0.01
    assert after.rates["USD"].value == 0.00125
    assert after.rates["USD"].available_at == new_york("2008-12-16")
    assert feed.history(None, new_york("2008-12-16")).rates["USD"].value[-1] == 0.01


def test_no_row_is_in_force_or_known_before_its_date() -> None:
    for series in policy_rates().values():
        assert (series.available_at >= series.as_of).all()
        assert (np.diff(series.as_of) > np.timedelta64(0, "ns")).all()
        assert series.as_of[0] < np.datetime64("1999-01-04")
        assert series.available_at[-1] <= np.datetime64(VERIFIED_UNTIL.replace(tzinfo=None))
        assert (np.abs(series.value) < 0.1).all()


def test_each_series_carries_the_deposit_day_count_and_its_source() -> None:
    series = policy_rates()
    assert set(series) == G10
    assert {c for c, s in series.items() if s.day_count == 365} == {"GBP", "AUD", "NZD", "CAD"}
    assert {c for c, s in series.items() if s.day_count == 360} == {"USD", "EUR", "JPY", "CHF", "NOK", "SEK"}
    assert {s.tenor for s in series.values()} == {"policy"}
    assert all("BIS" in s.source for s in series.values())


def source(name: str) -> Iterator[tuple[str, str, float]]:
    """(currency, date, percent) of a file of the shared source."""
    with (SHARED / name).open(newline="") as file:
        for row in csv.DictReader(file):
            yield row.get("currency", "EUR"), row["effective_date"], float(row.get("rate_pct") or row["dfr_pct"])


def by_the_euro_rule() -> dict[str, dict[str, float]]:
    """The source's change points by currency, with the deposit facility for the euro from 2008-10 on."""
    levels: dict[str, dict[str, float]] = {c: {} for c in G10}
    for currency, day, percent in source("policy_rate_changes.csv"):
        if currency != "EUR" or day < "2008-10":
            levels[currency][day] = percent
    for currency, day, percent in source("eur_deposit_facility_changes.csv"):
        if day >= "2008-10":
            levels[currency][day] = percent
    # The source has the date of the quarterly meeting; the cut was announced a week later.
    levels["CHF"]["2014-12-18"] = levels["CHF"].pop("2014-12-11")
    return levels


@needs_shared
def test_every_change_of_the_source_is_reproduced() -> None:
    levels = by_the_euro_rule()
    assert sum(map(len, levels.values())) == 632
    for currency, changes in levels.items():
        assert {day: rate(currency, day) for day in changes} == changes
    # One more row than the source: the switch of the euro series on 2008-10-01.
    assert {c: len(s.value) for c, s in policy_rates().items()} == {
        c: len(changes) + (c == "EUR") for c, changes in levels.items()
    }


@needs_shared
def test_month_end_levels_are_those_of_the_source() -> None:
    series = policy_rates()
    ends = [date(year, month, 1) - timedelta(1) for year in range(1999, 2027) for month in range(1, 13)]
    ends = [day for day in ends if date(1999, 1, 31) <= day <= date(2026, 8, 31)]
    for currency, changes in by_the_euro_rule().items():
        days = np.array(sorted(changes), "datetime64[D]")
        values = np.array([changes[str(day)] for day in days])
        expected = values[np.searchsorted(days, np.array(ends, "datetime64[D]"), "right") - 1]
        actual = series[currency].values(np.array([to_ns(new_york(str(day))) for day in ends]))
        np.testing.assert_allclose(actual * 100, expected, rtol=0, atol=1e-12, err_msg=currency)


@needs_shared
def test_the_two_euro_rates_are_the_same_from_the_day_the_source_changes_over() -> None:
    one = {d: v for c, d, v in source("policy_rate_changes.csv") if c == "EUR" and d >= "2024-09"}
    assert one == {d: v for _, d, v in source("eur_deposit_facility_changes.csv") if d >= "2024-09"}


# --- the feed and the plugin -----------------------------------------------------------------------------------------


def test_the_feed_follows_the_protocol(feed: EcbFeed) -> None:
    assert isinstance(feed, DataFeed)
    assert (feed.name, feed.interval) == ("ecb", timedelta(days=1))
    feed.close()


def test_a_snapshot_has_the_fixing_of_the_day_and_the_rates_known(feed: EcbFeed) -> None:
    snapshot = feed.snapshot(new_york("2015-01-15"))
    quote = snapshot.quotes[Pair("CHF", "EUR")]
    assert float(1 / quote.mid) == pytest.approx(1.0280, rel=1e-12)
    assert quote.as_of == datetime(2015, 1, 15, 13, 15, tzinfo=UTC)
    assert set(snapshot.rates) == G10
    assert snapshot.quotes[Pair("ISK", "EUR")].as_of.date() == date(2008, 12, 9)
    assert Pair("BRL", "EUR") not in feed.snapshot(new_york("2007-12-31")).quotes


def test_a_fixing_is_invisible_before_a_quarter_past_two(feed: EcbFeed) -> None:
    early = feed.snapshot(datetime(2015, 1, 15, 13, 14, 59, tzinfo=UTC)).quotes[Pair("CHF", "EUR")]
    assert float(1 / early.mid) == pytest.approx(1.2010, rel=1e-12)


def test_before_the_euro_there_is_nothing(feed: EcbFeed) -> None:
    with pytest.raises(MissingDataError, match=r"'ecb'.*1999-01-04"):
        feed.snapshot(datetime(1998, 12, 31, tzinfo=UTC))


def test_the_hook_offers_the_feed_and_builds_it() -> None:
    (component,) = fxcarry_ecb.fxcarry_components()
    assert (component.kind, component.name) == ("feed", "ecb")
    assert isinstance(component.factory(component.config()), EcbFeed)
    assert fxcarry_ecb.EcbFeed is EcbFeed
    with pytest.raises(AttributeError, match="no attribute 'Feed'"):
        fxcarry_ecb.Feed  # noqa: B018 - the access is what is tested


def test_importing_the_hook_loads_no_data_library() -> None:
    code = "import sys, fxcarry_ecb; print(sorted({'numpy', 'pandas', 'currency_converter'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
