"""Later policy rates: what files say beyond the table, what is refused, and what the feed makes of it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import fxcarry_ecb
from fxcarry.conventions import session_end
from fxcarry.errors import ConfigError, DataError
from fxcarry.secrets import Secret
from fxcarry.testing import Reply, Request, WireServer
from fxcarry_ecb import EcbFeed
from fxcarry_ecb.policy_rates import CURRENCIES, TABLE_UNTIL, VERIFIED_UNTIL, read_changes, read_policy_rates
from fxcarry_ecb.refresh import (
    SERIES,
    Change,
    age,
    compare,
    default_path,
    fetch,
    read_later,
    read_series,
    verified_until,
    write_later,
)

TODAY = date(2026, 11, 25)
LEVEL = {currency: percent for currency, _, _, percent in read_changes()}  # the last row of each wins
QUARTER = Decimal("0.25")


def fred(
    series: str, first: date, levels: list[tuple[date, Any]], last: date = TODAY, header: str = "observation_date"
) -> str:
    """A daily series as FRED writes it: a level holds until the next."""
    lines, day, steps = [f"{header},{series}"], first, dict(levels)
    value: Any = "."
    while day <= last:
        value = steps.get(day, value)
        lines.append(f"{day},{value}")
        day += timedelta(days=1)
    return "\n".join([*lines, ""])


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write


def of_euro(file: Any, after: Decimal, day: date = date(2026, 10, 29)) -> Path:
    text = fred("ECBDFR", date(2026, 8, 1), [(date(2026, 8, 1), LEVEL["EUR"]), (day, after)])
    found: Path = file("ECBDFR.csv", text)
    return found


# -- reading ----------------------------------------------------------------------------------------------------------


def test_fred_csv_in_both_headers_and_json_say_the_same(file: Any) -> None:
    rows = [(date(2026, 11, 20), "2.00"), (date(2026, 11, 23), "."), (date(2026, 11, 24), "1.75")]
    expected = {
        "ECBDFR": {**{date(2026, 11, d): Decimal("2.00") for d in (20, 21, 22)}}
        | {date(2026, 11, d): Decimal("1.75") for d in (24, 25)}
    }
    for header in ("observation_date", "DATE"):
        assert read_series(file("a.csv", fred("ECBDFR", date(2026, 11, 20), rows, header=header))) == expected
    observations = [{"date": str(d), "value": str(v)} for d, v in expected["ECBDFR"].items()]
    observations.append({"date": "2026-11-23", "value": "."})
    assert read_series(file("ecbdfr.json", json.dumps({"observations": observations}))) == expected


def test_own_rows_may_have_remarks(file: Any) -> None:
    path = file(
        "own.csv", "# mine\ncurrency,date,rate_pct\nAUD,2026-11-03,3.85\n\nAUD,2026-11-24,3.85\nJPY,2026-11-01,1\n"
    )
    assert read_series(path) == {
        "AUD": {date(2026, 11, 3): Decimal("3.85"), date(2026, 11, 24): Decimal("3.85")},
        "JPY": {date(2026, 11, 1): Decimal(1)},
    }


@pytest.mark.parametrize(
    ("name", "text", "error", "match"),
    [
        ("a.csv", "DATE,GDP\n2026-01-01,5\n", ConfigError, "'GDP', which is no policy rate.*understood are ECBDFR"),
        ("a.csv", "time,value\n", ConfigError, "begins with 'time,value'.*expected currency,date,rate_pct"),
        ("a.csv", "", ConfigError, "begins with ''"),
        ("a.json", '{"observations": []}', ConfigError, "does not say which series it is"),
        ("ECBDFR.json", '{"observations": [{"date"', DataError, "is no answer of FRED"),
        ("ECBDFR.json", '{"error_code": 400}', DataError, "is no answer of FRED"),
        ("a.csv", "DATE,ECBDFR\n2026-13-01,2\n", DataError, "'2026-13-01', '2' is no date and rate"),
        ("a.csv", "DATE,ECBDFR\n2026-01-01,NaN\n", DataError, "is no date and rate"),
        ("a.csv", "currency,date,rate_pct\nXXX,2026-01-01,2\n", ConfigError, "line 2: 'XXX,2026-01-01,2'"),
        ("a.csv", "currency,date,rate_pct\nAUD,2026-01-01\n", ConfigError, "line 2"),
        ("a.csv", "currency,date,rate_pct\nAUD,2026-01-01,\n", DataError, "line 2: .*has no rate"),
        (
            "a.csv",
            "currency,date,rate_pct\nAUD,2026-01-01,1\nAUD,2026-01-01,2\n",
            DataError,
            "line 3: .*a date that was",
        ),
    ],
)
def test_what_does_not_read_is_an_error_with_its_place(file: Any, name: str, text: str, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        read_series(file(name, text))


# -- comparing --------------------------------------------------------------------------------------------------------


def test_a_change_after_the_table_is_found_with_its_date(file: Any) -> None:
    after = LEVEL["EUR"] - QUARTER
    found = compare(read_series(of_euro(file, after)), {}, TODAY)
    assert found.changes == (Change("EUR", date(2026, 10, 29), LEVEL["EUR"], after),)
    assert found.verified["EUR"] == TODAY
    assert found.remarks == ()
    assert {c: d for c, d in found.verified.items() if c != "EUR"} == {c: TABLE_UNTIL for c in CURRENCIES if c != "EUR"}


def test_without_a_change_a_currency_is_known_for_longer(file: Any) -> None:
    found = compare(read_series(of_euro(file, LEVEL["EUR"])), {}, TODAY)
    assert (found.changes, found.verified["EUR"]) == ((), TODAY)


def test_dates_that_have_not_come_are_left_out(file: Any) -> None:
    found = compare(read_series(of_euro(file, LEVEL["EUR"] - 1)), {}, date(2026, 10, 20))
    assert (found.changes, found.verified["EUR"]) == ((), date(2026, 10, 20))


def test_the_federal_reserve_s_rate_is_the_middle_of_its_range(file: Any) -> None:
    eighth, day = Decimal("0.125"), date(2026, 9, 17)
    series = {}
    for name, side in (("DFEDTARL", -eighth), ("DFEDTARU", eighth)):
        text = fred(
            name, date(2026, 8, 1), [(date(2026, 8, 1), LEVEL["USD"] + side), (day, LEVEL["USD"] + side - QUARTER)]
        )
        series.update(read_series(file(f"{name}.csv", text)))
    found = compare(series, {}, TODAY)
    assert found.changes == (Change("USD", day, LEVEL["USD"], LEVEL["USD"] - QUARTER),)
    with pytest.raises(ConfigError, match="DFEDTARU is one side of the range"):
        compare({"DFEDTARU": series["DFEDTARU"]}, {}, TODAY)


def test_a_series_that_is_another_rate_or_has_a_gap_is_left_out_and_said(file: Any) -> None:
    other = read_series(file("a.csv", fred("ECBDFR", date(2026, 8, 1), [(date(2026, 8, 1), LEVEL["EUR"] + 1)])))
    found = compare(other, {}, TODAY)
    assert (found.changes, found.verified["EUR"]) == ((), TABLE_UNTIL)
    assert "another rate?" in found.remarks[0]
    late = read_series(file("a.csv", fred("ECBDFR", date(2026, 9, 20), [(date(2026, 9, 20), LEVEL["EUR"])])))
    found = compare(late, {}, TODAY)
    assert (found.changes, found.verified["EUR"]) == ((), TABLE_UNTIL)
    assert "what was between 2026-08-31 and then is not known" in found.remarks[0]
    old = read_series(file("a.csv", fred("ECBDFR", date(2026, 8, 1), [(date(2026, 8, 1), 2)], date(2026, 8, 30))))
    assert compare(old, {}, TODAY).remarks == ("ECBDFR: nothing later than 2026-08-31",)


def test_an_overnight_rate_shows_a_move_and_is_never_taken_for_the_policy_rate(file: Any) -> None:
    first, level = date(2026, 8, 1), LEVEL["GBP"] - Decimal("0.03")
    moved = read_series(file("a.csv", fred("IUDSOIA", first, [(first, level), (date(2026, 11, 6), level - QUARTER)])))
    found = compare(moved, {}, TODAY)
    assert (found.changes, found.verified["GBP"]) == ((), TABLE_UNTIL)
    assert "moved -0.25 since 2026-08-31: look up the GBP policy rate" in found.remarks[0]
    still = read_series(
        file("a.csv", fred("IUDSOIA", first, [(first, level), (date(2026, 11, 6), level + Decimal("0.01"))]))
    )
    assert "seems unchanged" in compare(still, {}, TODAY).remarks[0]


def test_a_level_in_decimals_is_remarked(file: Any) -> None:
    path = file("own.csv", f"currency,date,rate_pct\nAUD,2026-11-03,{LEVEL['AUD'] / 100}\n")
    assert "is it in percent?" in compare(read_series(path), {}, TODAY).remarks[0]


# -- the user's file --------------------------------------------------------------------------------------------------


def test_what_is_written_reads_back_and_a_second_time_nothing_is_new(file: Any, tmp_path: Path) -> None:
    path, after = tmp_path / "deep" / "later.csv", LEVEL["EUR"] - QUARTER
    series = read_series(of_euro(file, after))
    write_later(path, compare(series, {}, TODAY), {})
    later = read_later(path)
    assert later == {"EUR": {date(2026, 10, 29): after, TODAY: after}}
    assert verified_until(later)["EUR"] == TODAY
    again = compare(series, later, TODAY)
    assert again.changes == ()
    write_later(path, again, later)
    assert read_later(path) == later
    assert [p.name for p in path.parent.iterdir()] == ["later.csv"]
    more = file("own.csv", f"currency,date,rate_pct\nAUD,2026-11-03,1.5\nEUR,2026-12-17,{after}\n")
    write_later(path, compare(read_series(more), later, date(2026, 12, 20)), later)
    assert read_later(path) == {
        "AUD": {date(2026, 11, 3): Decimal("1.5")},
        "EUR": {date(2026, 10, 29): after, date(2026, 12, 17): after},
    }


def test_rows_that_the_table_covers_are_not_used(file: Any) -> None:
    path = file("later.csv", f"currency,date,rate_pct\nEUR,2020-01-01,9\nEUR,{TABLE_UNTIL},9\nAUD,2026-09-01,4\n")
    assert read_later(path) == {"AUD": {date(2026, 9, 1): Decimal(4)}}
    with pytest.raises(ConfigError, match="the columns are not"):
        read_later(file("later.csv", "what,ever\n"))


def test_a_later_level_counts_from_the_evening_of_its_date_and_from_monday_after_a_weekend() -> None:
    later = {"EUR": {date(2026, 10, 29): Decimal("1.5"), date(2026, 11, 7): Decimal("1.25")}}  # a Saturday
    euro = read_policy_rates(later)["EUR"]

    def level(at: datetime) -> float:
        rate = euro.get(at)
        assert rate is not None
        return round(rate.value * 100, 6)

    second = timedelta(seconds=1)
    assert level(session_end(date(2026, 10, 29)) - second) == float(LEVEL["EUR"])
    assert level(session_end(date(2026, 10, 29))) == 1.5
    assert level(session_end(date(2026, 11, 9)) - second) == 1.5
    assert level(session_end(date(2026, 11, 9))) == 1.25
    built_in = read_policy_rates()["EUR"]
    assert (euro.value[: len(built_in.value)] == built_in.value).all(), "the past changes"


def test_the_feed_goes_on_from_the_table_and_is_as_old_as_its_oldest_currency(
    file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = {**LEVEL, "EUR": Decimal("1.5")}
    rows = "".join(f"{c},2026-11-20,{levels[c]}\n" for c in CURRENCIES if c != "NOK")
    path = file("later.csv", f"currency,date,rate_pct\nEUR,2026-10-29,1.5\n{rows}")
    monkeypatch.setenv("FXCARRY_POLICY_RATES", str(path))
    assert default_path() == path
    history = EcbFeed().history(None, None)
    assert history.rates_verified_until == VERIFIED_UNTIL
    assert history.rates["EUR"].value[-1] == pytest.approx(0.015)
    assert str(path) in history.notes[-1]
    with path.open("a") as text:
        text.write(f"NOK,2026-11-18,{LEVEL['NOK']}\n")
    history = EcbFeed().history(None, None)
    assert history.rates_verified_until == session_end(date(2026, 11, 18))
    assert "complete to 2026-11-18" in history.notes[-2]


def test_age_is_of_the_oldest() -> None:
    assert age({}, TODAY) == "policy rates are complete to 2026-08-31, 86 days ago"
    later = {c: {TODAY: LEVEL[c]} for c in CURRENCIES}
    assert age(later, TODAY) == "policy rates are complete to 2026-11-25"


def test_the_default_path_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FXCARRY_POLICY_RATES")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert default_path() == tmp_path / ".fxcarry" / "policy-rates.csv"
    assert read_later() == {}


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("FXCARRY_POLICY_RATES", str(tmp_path / "state" / "later.csv"))
    monkeypatch.setattr("fxcarry_ecb.commands._today", lambda: TODAY)
    group = click.Group()
    fxcarry_ecb.fxcarry_commands(group)

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(group, ["rates", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_the_command_says_how_old_the_table_is(run: Any, tmp_path: Path) -> None:
    first, *rest = run().splitlines()
    assert first == "policy rates are complete to 2026-08-31, 86 days ago"
    assert "  EUR  known to 2026-08-31" in rest
    assert not (tmp_path / "state").exists()


def test_the_command_shows_a_diff_and_writes_it_only_when_told(run: Any, file: Any, tmp_path: Path) -> None:
    day, after = date(2026, 9, 10), LEVEL["EUR"] - QUARTER
    path = file("ECBDFR.csv", fred("ECBDFR", date(2026, 8, 1), [(date(2026, 8, 1), LEVEL["EUR"]), (day, after)]))
    shown = run("--file", str(path))
    assert f"EUR  {day}  {LEVEL['EUR']} -> {after}" in shown
    assert "nothing is written; --apply writes to" in shown
    assert not (tmp_path / "state").exists()
    said = json.loads(run("--file", str(path), "--apply", "--json"))
    assert (said["written"], said["changes"]) == (
        True,
        [{"currency": "EUR", "date": str(day), "before": str(LEVEL["EUR"]), "after": str(after)}],
    )
    assert said["verified"]["EUR"] == str(TODAY)
    assert "no change is new" in run("--file", str(path))
    with pytest.raises(ConfigError, match="--apply without --file"):
        run("--apply")


# -- over the network --------------------------------------------------------------------------------------------------


class Fred:
    """FRED's series/observations, for the series that are understood; ``key`` is the good one."""

    def __init__(self) -> None:
        self.key = "0123456789abcdef0123456789abcdef"
        self.levels = {name: [(TABLE_UNTIL, "1.00")] for name in SERIES}

    def __call__(self, request: Request) -> Reply:
        if request.query["api_key"] != self.key:
            said = "Bad Request.  The value for variable api_key is not registered."
            return Reply.json({"error_code": 400, "error_message": said}, 400)
        told = [
            {"date": str(day), "value": value}
            for day, value in self.levels[request.query["series_id"]]
            if str(day) >= request.query["observation_start"]
        ]
        return Reply.json({"observations": told})


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Any:
    venue = Fred()
    monkeypatch.setenv("FRED_API_KEY", venue.key)
    with WireServer(venue) as server:
        monkeypatch.setattr("fxcarry_ecb.refresh.fetch.__defaults__", (server.url,))
        yield venue, server


def test_what_fred_says_is_shown_and_applied(online: Any, run: Any) -> None:
    venue, server = online
    level, later = LEVEL["EUR"], TABLE_UNTIL + timedelta(days=20)
    venue.levels["ECBDFR"] = [(TABLE_UNTIL, str(level)), (later, str(level - QUARTER))]
    text = run("--fetch")
    assert f"EUR  {later}  {level} -> {level - QUARTER}" in text
    assert "nothing is written" in text
    assert [r.query["series_id"] for r in server.requests] == list(SERIES)
    run("--fetch", "--apply")
    assert read_later(default_path())["EUR"][later] == level - QUARTER


@pytest.mark.parametrize("fault", ["failed", "lost", "refused", "garbled"])
def test_without_a_network_it_says_how_old_the_table_is(online: Any, fault: Any) -> None:
    venue, server = online
    with ExitStack() as stack:
        if fault == "refused":
            stack.enter_context(server.refuse())
        else:
            server.fail("GET *", fault, times=9)
        with pytest.raises(DataError) as told:
            fetch(Secret("env", "FRED_API_KEY"))
    assert venue.key not in str(told.value) + repr(vars(told.value))
    if fault != "garbled":
        assert f"complete to {TABLE_UNTIL}" in told.value.hint


def test_a_refused_key_is_told_and_not_shown(online: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRED_API_KEY", "f" * 32)
    with pytest.raises(ConfigError, match="FRED refuses the key") as told:
        fetch(Secret("env", "FRED_API_KEY"))
    assert "f" * 32 not in str(told.value)
