"""Feeds over stored data. Rates by vintage are vector V18."""

import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from fxcarry.errors import BadQuoteError, ConfigError, DataError, MissingDataError
from fxcarry.feeds import FileFeed, MemoryFeed, coverage
from fxcarry.market import MarketHistory, RateSeries
from fxcarry.model import Pair, Quote
from fxcarry.protocols import DataFeed

NEW_YORK = ZoneInfo("America/New_York")
EUR, JPY = Pair("EUR", "USD"), Pair("JPY", "USD")


def new_york(year: int, month: int, day: int, hour: int = 17, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=NEW_YORK)


def utc(day: int, hour: int = 0) -> datetime:
    return datetime(2024, 1, day, hour, tzinfo=UTC)


def history(**changes: Any) -> MarketHistory:
    """Three rows; JPY has no quote in the first and in the last."""
    fields: dict[str, Any] = {
        "times": np.array(["2024-01-02", "2024-01-03", "2024-01-04"], "datetime64[ns]"),
        "currencies": ("EUR", "JPY"),
        "spot": np.array([[1.10, np.nan], [1.11, 0.007], [1.12, np.nan]]),
        "numeraire": "USD",
        "rates": {"USD": RateSeries.of("USD", [(utc(1), utc(3), 0.05)])},
    }
    return MarketHistory(**(fields | changes))


def frame(days: list[str], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns, index=pd.DatetimeIndex(days))


def spot_of(feed: MemoryFeed | FileFeed) -> np.ndarray[Any, Any]:
    return feed.history(None, None).spot


# --- snapshots -------------------------------------------------------------------------------------------------------


def test_feeds_follow_the_protocol() -> None:
    feeds: list[DataFeed] = [MemoryFeed(history()), FileFeed("prices.csv", "rates.csv")]
    assert all(isinstance(feed, DataFeed) for feed in feeds[:1])
    assert [feed.name for feed in feeds] == ["memory", "file"]
    feeds[0].close()
    assert feeds[0].snapshot(utc(5)).at == utc(5)


def test_snapshot_is_the_last_row_at_or_before_the_instant() -> None:
    feed = MemoryFeed(history())
    assert feed.snapshot(utc(3)).quotes[EUR] == Quote(Decimal("1.11"), Decimal("1.11"), utc(3))
    assert feed.snapshot(utc(3) - timedelta(microseconds=1)).quotes[EUR].mid == Decimal("1.1")


def test_a_quote_that_stopped_keeps_its_own_time_and_one_that_never_was_is_absent() -> None:
    feed = MemoryFeed(history())
    assert set(feed.snapshot(utc(2)).quotes) == {EUR}
    later = feed.snapshot(utc(20)).quotes
    assert later[JPY] == Quote(Decimal("0.007"), Decimal("0.007"), utc(3))
    assert later[EUR].as_of == utc(4)


def test_half_spread_makes_bid_and_ask_around_the_mid() -> None:
    half = np.array([[0.001, np.nan], [0.001, 0.002], [0.001, np.nan]])
    quote = MemoryFeed(history(half_spread=half)).snapshot(utc(4)).quotes[JPY]
    assert (quote.bid, quote.ask) == (Decimal("0.006986"), Decimal("0.007014"))


def test_a_price_without_its_half_spread_is_an_error() -> None:
    feed = MemoryFeed(history(half_spread=np.full((3, 2), np.nan)))
    with pytest.raises(MissingDataError, match=r"EUR at 2024-01-02.*no half_spread"):
        feed.snapshot(utc(2))


def test_snapshot_holds_only_rates_known_by_then() -> None:
    feed = MemoryFeed(history())
    assert feed.snapshot(utc(2)).rates == {}
    assert feed.snapshot(utc(3)).rates["USD"].value == 0.05


def test_snapshot_before_the_first_row_names_the_range() -> None:
    with pytest.raises(MissingDataError, match=r"'memory'.*2024-01-01.*2024-01-02 to 2024-01-04"):
        MemoryFeed(history()).snapshot(utc(1))


def test_snapshot_of_an_empty_history_says_so() -> None:
    empty = history().between(utc(20), None)
    with pytest.raises(MissingDataError, match="no row"):
        MemoryFeed(empty).snapshot(utc(20))


def test_a_naive_instant_is_an_error() -> None:
    with pytest.raises(DataError, match="no time zone"):
        MemoryFeed(history()).snapshot(datetime(2024, 1, 3))


def test_history_ends_before_end_for_rows_and_rates() -> None:
    feed = MemoryFeed(history())
    cut = feed.history(utc(2), utc(3))
    assert len(cut) == 1
    assert len(cut.rates["USD"].value) == 0
    assert len(feed.history(utc(3), None)) == 2
    assert len(feed.history(None, None).rates["USD"].value) == 1
    with pytest.raises(MissingDataError, match="2024-01-02 to 2024-01-04"):
        feed.history(utc(10), utc(11))


# --- frames ----------------------------------------------------------------------------------------------------------


def test_pairs_are_turned_into_numeraire_per_unit() -> None:
    spot = frame(["2024-01-02", "2024-01-03"], USDJPY=[125.0, 100.0], EURUSD=[1.1, 1.2], GBP=[1.25, None])
    feed = MemoryFeed.from_frames(spot)
    stored = feed.history(None, None)
    assert stored.currencies == ("JPY", "EUR", "GBP")
    assert stored.numeraire == "USD"
    np.testing.assert_array_equal(stored.spot, [[1 / 125, 1.1, 1.25], [0.01, 1.2, np.nan]])


def test_another_numeraire() -> None:
    feed = MemoryFeed.from_frames(frame(["2024-01-02"], EURUSD=[1.25], JPY=[0.0064]), numeraire="EUR", name="mine")
    assert {str(p): q.mid for p, q in feed.snapshot(utc(3)).quotes.items()} == {
        "USDEUR": Decimal("0.8"),
        "JPYEUR": Decimal("0.0064"),
    }
    assert feed.name == feed.history(None, None).source == "mine"


@pytest.mark.parametrize("day", ["2024-01-31", "2024-07-31"])  # winter and summer time
def test_a_date_is_the_last_minute_before_the_new_york_close(day: str) -> None:
    feed = MemoryFeed.from_frames(frame([day], EUR=[1.1]), frame([day], USD=[0.05]))
    at = date.fromisoformat(day)
    snapshot = feed.snapshot(new_york(at.year, at.month, at.day, 16, 59))
    assert snapshot.quotes[EUR].as_of == new_york(at.year, at.month, at.day, 16, 59)
    assert snapshot.rates == {}
    assert feed.snapshot(new_york(at.year, at.month, at.day)).rates["USD"].value == 0.05


def test_dates_may_be_text_or_dates() -> None:
    expected = np.array(["2024-01-02T21:59"], "datetime64[ns]")
    for index in (["2024-01-02"], [date(2024, 1, 2)]):
        feed = MemoryFeed.from_frames(pd.DataFrame({"EUR": [1.1]}, index=pd.Index(index, dtype=object)))
        np.testing.assert_array_equal(feed.history(None, None).times, expected)


def test_times_with_a_zone_are_instants() -> None:
    index = pd.DatetimeIndex(["2024-01-02 09:00", "2024-01-02 10:00"], tz="Europe/Berlin")
    feed = MemoryFeed.from_frames(pd.DataFrame({"EUR": [1.1, 1.2]}, index=index))
    assert feed.history(None, None).start == utc(2, 8)
    assert feed.interval == timedelta(hours=1)


@pytest.mark.parametrize(
    ("days", "interval"),
    [
        (["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"], 1),
        (["2024-01-05", "2024-01-12", "2024-01-19"], 7),
        (["2024-01-05"], 1),
    ],
)
def test_the_interval_is_the_usual_step(days: list[str], interval: int) -> None:
    assert MemoryFeed.from_frames(frame(days, EUR=[1.1] * len(days))).interval == timedelta(days=interval)


def test_wide_rates_leave_out_empty_cells_and_carry_the_day_count() -> None:
    rates = frame(["2024-01-02", "2024-01-03"], USD=[0.05, None], GBP=[None, 0.04], SEK=[None, None])
    series = MemoryFeed.from_frames(frame(["2024-01-02"], EUR=[1.1]), rates).history(None, None).rates
    assert set(series) == {"USD", "GBP"}
    assert series["USD"].value.tolist() == [0.05]
    assert (series["USD"].day_count, series["GBP"].day_count) == (360, 365)
    assert series["GBP"].get(new_york(2024, 1, 3, 16)) is None


def test_rates_may_be_series_or_absent() -> None:
    spot, usd = frame(["2024-01-02"], EUR=[1.1]), RateSeries.of("USD", [(utc(1), utc(1), 0.05)], tenor="policy")
    assert MemoryFeed.from_frames(spot, {"USD": usd}).snapshot(utc(3)).rates["USD"].tenor == "policy"
    assert MemoryFeed.from_frames(spot).snapshot(utc(3)).rates == {}


@pytest.mark.parametrize(
    ("spot", "message"),
    [
        (frame(["2024-01-02", "2024-01-03"], EUR=["1.1", "abc"]), r"spot, row 2, column EUR: 'abc' is not a number"),
        (frame(["2024-01-02", "2024-01-03"], EUR=[True, False]), r"row 1, column EUR: 'True' is not a number"),
        (frame(["2024-01-02", "2024-01-03"], EUR=[1.1, 0.0]), r"row 2, column EUR: 0.0 is not a price"),
        (frame(["2024-01-02", "2024-01-03"], EUR=[-1.1, 1.0]), r"row 1, column EUR: -1.1 is not a price"),
        (
            frame(["2024-01-02", "2024-01-03"], USDJPY=[150, np.inf]),
            r"row 2, column USDJPY: inf is not a finite number",
        ),
        (frame(["2024-01-02", "2024-01-02"], EUR=[1.1, 1.2]), r"row 2: 2024-01-02.* is there twice"),
        (frame(["2024-01-03", "2024-01-02"], EUR=[1.1, 1.2]), r"row 2: 2024-01-02.* is out of order"),
        (frame([], EUR=[]), r"spot has no rows"),
        (frame(["2024-01-02"]), r"spot has no column but the time"),
        (frame(["2024-01-02"], quantity=[1.1]), r"column 'quantity' is neither a currency nor a pair"),
        (frame(["2024-01-02"], EURJPY=[160.0]), r"column 'EURJPY' does not price a currency in USD"),
        (frame(["2024-01-02"], USD=[1.0]), r"column 'USD' does not price a currency in USD"),
        (frame(["2024-01-02"], EUR=[1.1], EURUSD=[1.1]), r"column EURUSD: a second column for EUR"),
        (frame(["2024-01-02 10:00"], EUR=[1.1]), r"row 1, column date: 2024-01-02 10:00:00 has no time zone"),
        (pd.DataFrame({"EUR": [1.1]}), r"row 1, column date: 0 is not a date"),
        (pd.DataFrame({"EUR": [1.1]}, index=pd.DatetimeIndex([pd.NaT])), r"row 1, column date: NaT is not a date"),
        (pd.DataFrame({"EUR": [1.1]}, index=["0204-01-02"]), r"row 1, column date: '0204-01-02' is not a date"),
    ],
)
def test_bad_prices_are_named_by_row_column_and_value(spot: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        MemoryFeed.from_frames(spot)


def test_a_bad_price_is_a_bad_quote() -> None:
    with pytest.raises(BadQuoteError):
        MemoryFeed.from_frames(frame(["2024-01-02"], EUR=[0.0]))


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (frame(["2024-01-02"], DOLLAR=[0.05]), r"rates, column DOLLAR: 'DOLLAR' is not a currency"),
        (frame(["2024-01-02"], USD=[-np.inf]), r"rates, row 1, column USD: -inf is not a finite number"),
        (frame(["2024-01-02"], USD=["5%"]), r"rates, row 1, column USD: '5%' is not a number"),
        (frame(["2024-01-02"], USD=[5.25], EUR=[4.0]), r"the median rate is 462.50% a year.*rates_in_percent"),
        (frame(["2024-01-03", "2024-01-02"], USD=[0.05, 0.05]), r"rates, row 2: .* is out of order"),
        (frame(["2024-01-02"], usd=[0.05], USD=[0.05]), r"rates, row 1: a second USD rate of the same dates"),
        (frame(["2024-01-02"], XAU=[0.05]), r"no day count is known for XAU"),
    ],
)
def test_bad_rates_are_named(rates: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        MemoryFeed.from_frames(frame(["2024-01-02"], EUR=[1.1]), rates)


# --- files -----------------------------------------------------------------------------------------------------------

PRICES = "date,EURUSD,USDJPY\n2024-01-02,1.1,125\n2024-01-03,1.2,N/A\n"
RATES = "date,USD,EUR\n2024-01-02,5.25,4\n2024-01-03,,3.75\n"
VINTAGES = """currency,as_of,available_at,value
USD,2025-01-01,2025-02-17,0.0420
USD,2025-02-01,2025-03-17,0.0410
USD,2025-03-01,2025-04-15,0.0405
USD,2025-03-01,2025-05-15,0.0407
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_files_in_percent(tmp_path: Path) -> None:
    feed = FileFeed(write(tmp_path / "p.csv", PRICES), str(write(tmp_path / "r.CSV", RATES)), rates_in_percent=True)
    np.testing.assert_array_equal(spot_of(feed), [[1.1, 1 / 125], [1.2, np.nan]])
    snapshot = feed.snapshot(new_york(2024, 1, 3))
    assert {c: r.value for c, r in snapshot.rates.items()} == {"USD": 0.0525, "EUR": 0.0375}
    assert feed.interval == timedelta(days=1)
    assert feed.history(None, None).source.endswith("p.csv")
    feed.close()


def test_the_rates_file_may_be_left_out(tmp_path: Path) -> None:
    assert FileFeed(write(tmp_path / "p.csv", PRICES)).snapshot(new_york(2024, 1, 3)).rates == {}


def test_v18_rates_by_vintage_are_never_known_early(tmp_path: Path) -> None:
    feed = FileFeed(
        write(tmp_path / "p.csv", "date,EUR\n2025-03-03,1.05\n"), write(tmp_path / "vintages.csv", VINTAGES)
    )
    expected = {(3, 16): 0.0420, (3, 17): 0.0410, (4, 30): 0.0405, (5, 15): 0.0407}
    assert {day: feed.snapshot(new_york(2025, *day)).rates["USD"].value for day in expected} == expected
    series = feed.history(None, new_york(2025, 5, 15)).rates["USD"]
    assert series.value.tolist() == [0.0420, 0.0410, 0.0405]


def test_vintage_rows_may_come_in_any_order_and_blank_values_are_no_rows(tmp_path: Path) -> None:
    head, *rows = VINTAGES.splitlines()
    text = "\n".join([head, *reversed(rows), "USD,2025-04-01,2025-05-16,"])
    feed = FileFeed(write(tmp_path / "p.csv", "date,EUR\n2025-03-03,1.05\n"), write(tmp_path / "v.csv", text))
    assert feed.snapshot(new_york(2025, 6, 1)).rates["USD"].value == 0.0407


def test_instants_blank_lines_byte_order_mark_and_a_comma_at_the_end(tmp_path: Path) -> None:
    text = "\ufefftime,EUR,\n\n2024-01-02T09:00:00+01:00,1.1,\n2024-01-02T09:00:00Z,1.2,\n\n"
    stored = FileFeed(write(tmp_path / "p.csv", text)).history(None, None)
    assert (stored.start, stored.end) == (utc(2, 8), utc(2, 9))


def test_parquet_as_pandas_writes_it_and_with_a_date_column(tmp_path: Path) -> None:
    spot = frame(["2024-01-02", "2024-01-03"], USDJPY=[125.0, 100.0])
    spot.to_parquet(tmp_path / "p.parquet")
    spot.reset_index(names="date")[["USDJPY", "date"]].to_parquet(tmp_path / "q.parquet")
    pd.DataFrame(
        {"currency": ["USD"], "as_of": [date(2024, 1, 1)], "available_at": [date(2024, 1, 2)], "value": [0.05]}
    ).to_parquet(tmp_path / "r.parquet")
    for name in ("p", "q"):
        feed = FileFeed(tmp_path / f"{name}.parquet", tmp_path / "r.parquet")
        np.testing.assert_array_equal(spot_of(feed), [[1 / 125], [0.01]])
        assert feed.snapshot(new_york(2024, 1, 2)).rates["USD"].value == 0.05


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame(["2024-01-02"], EUR=[1.1]).to_parquet(tmp_path / "p.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'fxcarry\[parquet\]'") as caught:
        FileFeed(tmp_path / "p.parquet").snapshot(utc(3))
    assert isinstance(caught.value.__cause__, ImportError)


def test_nothing_is_read_before_first_use_and_only_once_after(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    feed = FileFeed(path)
    write(path, PRICES)
    first = feed.history(None, None)
    path.unlink()
    assert feed.history(None, None).spot.tolist()[0] == first.spot.tolist()[0]


def test_a_missing_file_is_a_configuration_error_with_its_path_and_cause(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.csv: cannot be read") as caught:
        FileFeed(tmp_path / "absent.csv").snapshot(utc(3))
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_an_unknown_suffix_or_numeraire_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"prices\.xlsx: suffix '\.xlsx'"):
        FileFeed("prices.xlsx")
    with pytest.raises(ConfigError, match="numeraire: 'dollar'"):
        FileFeed("prices.csv", numeraire="dollar")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"p\.csv is empty"),
        ("date,EUR\n", r"p\.csv has no rows"),
        ("date\n2024-01-02\n", r"p\.csv has no column but the time"),
        ("date,EUR\n2024-01-02,1.1\n2024-01-03,x\n", r"p\.csv, row 3, column EUR: 'x' is not a number"),
        ("date,EUR\n\n2024-01-02,0\n", r"p\.csv, row 3, column EUR: 0.0 is not a price"),
        ("date,EUR\n01/02/2024,1.1\n", r"p\.csv, row 2, column date: '01/02/2024' is not a date"),
        ("date,EUR\n2024-01-02T10:00,1.1\n", r"row 2, column date: .*has no time zone"),
        ("date,EUR\n2024-01-02,1.1\n2024-01-02,1.2\n", r"p\.csv, row 3: 2024-01-02 is there twice"),
        ("date,EUR\n2024-01-03,1.1\n2024-01-02,1.2\n", r"p\.csv, row 3: 2024-01-02 is out of order"),
        ("date,EUR,JPY\n2024-01-02,1.1,0.007\n2024-01-03,1.", r"p\.csv, row 3: 2 fields, the header has 3"),
        ("date,EUR\n2024-01-02,1,1\n", r"p\.csv, row 2: 3 fields, the header has 2"),
        ("date,EUR,EUR\n2024-01-02,1,1\n", r"p\.csv, row 1: a column name is there twice"),
        ('date,EUR\n2024-01-02,"1.1\n', r"p\.csv, row \d: not a CSV file"),
        ("date,EUR,\n2024-01-02,1.1,7\n", r"p\.csv, column '' is neither a currency nor a pair"),
    ],
)
def test_bad_files_are_named_by_path_row_column_and_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        FileFeed(write(tmp_path / "p.csv", text)).snapshot(utc(3))


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_binary_rubbish_is_a_data_error_with_its_cause(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00rubbish\x9d" * 50)
    with pytest.raises(DataError, match=name) as caught:
        FileFeed(tmp_path / name).snapshot(utc(3))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VINTAGES + "USD,2025-03-01,2025-05-15,0.05\n", r"r\.csv, row 6: a second USD rate of the same dates"),
        (VINTAGES + "dollar,2025-03-01,2025-05-15,0.05\n", r"r\.csv, row 6, column currency: 'dollar'"),
        (VINTAGES + "EUR,2025-03-01,soon,0.05\n", r"r\.csv, row 6, column available_at: 'soon' is not a date"),
        (VINTAGES + "EUR,,2025-03-01,0.05\n", r"r\.csv, row 6, column as_of: '' is not a date"),
        (VINTAGES + "EUR,2025-03-01,2025-03-01,inf\n", r"r\.csv, row 6, column value: inf is not a finite number"),
        ("currency,as_of,available_at,value,note\nUSD,2025-03-01,2025-03-01,0.05,x\n", r"unknown column 'note'"),
    ],
)
def test_bad_vintages_are_named(tmp_path: Path, text: str, message: str) -> None:
    feed = FileFeed(write(tmp_path / "p.csv", PRICES), write(tmp_path / "r.csv", text))
    with pytest.raises(DataError, match=message):
        feed.snapshot(utc(3))


# --- coverage --------------------------------------------------------------------------------------------------------


def test_coverage_names_first_last_and_the_long_gaps() -> None:
    days = np.array([f"2024-01-{d:02}" for d in (1, 2, 10, 11, 22)], "datetime64[ns]")
    spot = np.array([[1.1, np.nan, np.nan], [1.1, 1, np.nan], [1.1, 1, np.nan], [np.nan, 1, np.nan], [1.1, 1, np.nan]])
    found = coverage(history(times=days, spot=spot, currencies=("EUR", "GBP", "SEK")))
    assert (found["EUR"].first, found["EUR"].last, found["EUR"].quotes) == (utc(1), utc(22), 4)
    # The 1st is a Monday: five business days without a quote from the 2nd to the 10th, seven from the 10th to the 22nd.
    assert found["EUR"].gaps == ((utc(10), utc(22)),)
    assert found["GBP"].first == utc(2)
    assert found["GBP"].gaps == ((utc(11), utc(22)),)
    assert (found["SEK"].first, found["SEK"].last, found["SEK"].quotes, found["SEK"].gaps) == (None, None, 0, ())
