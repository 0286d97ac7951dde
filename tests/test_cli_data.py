"""``fxcarry data``: a store is filled from the configured feed, shown and checked."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fxcarry.cli import cli
from fxcarry.errors import ConfigError, MissingDataError

DAYS = [str(day) for day in np.busday_offset("2024-01-02", np.arange(60), roll="forward")]


def write(folder: Path, count: int = 60, skip: tuple[int, ...] = (), bump: float = 0.0) -> None:
    """Prices of EUR and JPY and three rates."""
    rows = [f"{d},{1.1 + n / 1000 + bump},{145 + n / 10}" for n, d in enumerate(DAYS[:count]) if n not in skip]
    (folder / "prices.csv").write_text("\n".join(["date,EURUSD,USDJPY", *rows, ""]), encoding="utf-8")
    (folder / "rates.csv").write_text(f"date,EUR,JPY,USD\n{DAYS[0]},0.04,0.001,0.0525\n", encoding="utf-8")


FILE = 'use = "file"\nprices = "prices.csv"\nrates = "rates.csv"\n'
HEAD = 'universe = ["EUR", "JPY"]\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    (tmp_path / "fxcarry.toml").write_text(f"{HEAD}[feed]\n{FILE}", encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["data", *arguments])


def shown(*arguments: str, code: int = 0) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.output)


def test_a_store_is_filled_then_brought_up_to_date(folder: Path) -> None:
    write(folder, count=40)
    first = shown("update")
    assert (first["source"], first["prices"], first["rates"]) == (
        "file",
        {"EUR": 40, "JPY": 40},
        {"EUR": 1, "JPY": 1, "USD": 1},
    )
    assert first["store"] == "fxcarry-state/market.sqlite"
    assert "has all that file has up to" in run("update").output
    write(folder)
    text = run("update").output
    assert "new prices: EUR 20, JPY 20" in text
    assert "new rates: none" in text


def test_what_is_told_otherwise_is_said(folder: Path) -> None:
    run("update", "--store", "mine.sqlite")
    write(folder, bump=0.01)
    assert shown("update", "--store", "mine.sqlite")["told_otherwise"] == 6  # the week before the last price
    write(folder, bump=0.02)
    assert "told otherwise than before, kept aside: 6 prices" in run("update", "--store", "mine.sqlite").output
    assert shown("verify", "--store", "mine.sqlite")["notes"] == [
        "12 prices were told otherwise later; the first is served"
    ]


def test_the_store_is_shown_by_currency(folder: Path) -> None:
    write(folder, skip=(10, 11, 30))
    run("update")
    found = shown("show")
    assert (found["numeraire"], found["fetches"]) == ("USD", 1)
    euro, yen, dollar = found["currencies"]
    assert (euro["currency"], euro["prices"], euro["sources"]) == ("EUR", 57, ["file"])
    assert euro["gaps"] == [[DAYS[10], DAYS[11]], [DAYS[30], DAYS[30]]]
    assert (yen["rate"], dollar["rate"], dollar["prices"], dollar["last"]) == (0.001, 0.0525, 0, None)
    assert euro["first"] == f"{DAYS[0]}T21:59:00+00:00"
    lines = run("show").output.splitlines()
    [row] = [line for line in lines if line.startswith("EUR")]
    assert row.split()[:3] == ["EUR", "57", DAYS[0]]
    assert "4.000" in row
    assert row.endswith("file")


def test_a_good_store_is_verified() -> None:
    run("update")
    result = run("verify")
    assert result.exit_code == 0
    assert result.output == "fxcarry-state/market.sqlite: nothing is wrong\n"
    assert shown("verify") == {"store": "fxcarry-state/market.sqlite", "ok": True, "wrong": [], "notes": []}


def test_what_is_wrong_is_the_exit_code(folder: Path) -> None:
    write(folder, skip=(10,))
    run("update")
    result = run("verify")
    assert result.exit_code == 8
    assert f"wrong  EUR: no price on {DAYS[10]}\n" in result.output
    assert "2 things are wrong" in result.output
    assert shown("verify", code=8)["ok"] is False
    (folder / "other.toml").write_text(f'universe = ["GBP"]\n[feed]\n{FILE}', encoding="utf-8")
    others = run("verify", "--config", "other.toml")
    assert others.exit_code == 0
    assert "note   EUR: no price" in others.output


def test_a_damaged_price_is_the_exit_code(folder: Path) -> None:
    run("update")
    db = sqlite3.connect(folder / "fxcarry-state" / "market.sqlite")
    db.execute("UPDATE prices SET ask = '0.1' WHERE pair = 'EURUSD'")
    db.commit()
    db.close()
    result = run("verify")
    assert result.exit_code == 8
    assert "is not a price" in result.output


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_store_that_is_not_there_is_not_made(command: str, folder: Path) -> None:
    result = run(command)
    assert isinstance(result.exception, ConfigError)
    assert "fxcarry data update makes one" in str(result.exception)
    assert not (folder / "fxcarry-state").exists()


def test_a_configured_store_is_filled_from_its_source_and_then_used(folder: Path) -> None:
    (folder / "fxcarry.toml").write_text(
        f'{HEAD}[feed]\nuse = "store"\npath = "kept.sqlite"\n[feed.source]\n{FILE}', encoding="utf-8"
    )
    assert shown("update")["store"] == "kept.sqlite"
    from fxcarry import plugins
    from fxcarry.build import feed_of
    from fxcarry.config import load_config

    feed = feed_of(load_config("fxcarry.toml", plugins.load()))
    assert len(feed.history(None, None)) == 60
    feed.close()


def test_a_recorder_is_filled_from_its_source_into_its_own_file(folder: Path) -> None:
    (folder / "fxcarry.toml").write_text(
        f'{HEAD}[feed]\nuse = "recorder"\npath = "kept.sqlite"\n[feed.source]\n{FILE}', encoding="utf-8"
    )
    assert shown("update")["store"] == "kept.sqlite"
    assert shown("show")["currencies"][0]["prices"] == 60


def test_a_store_without_a_source_cannot_be_updated(folder: Path) -> None:
    (folder / "fxcarry.toml").write_text(f'{HEAD}[feed]\nuse = "store"\npath = "kept.sqlite"\n', encoding="utf-8")
    result = run("update")
    assert isinstance(result.exception, ConfigError)
    assert "[feed.source]" in str(result.exception)


def test_a_feed_without_rows_leaves_no_fetch(folder: Path) -> None:
    (folder / "prices.csv").write_text("date,EURUSD,USDJPY\n2099-01-05,1.1,145\n", encoding="utf-8")
    result = run("update")
    assert isinstance(result.exception, MissingDataError)
    assert shown("show")["fetches"] == 0
