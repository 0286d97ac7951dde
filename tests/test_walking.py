"""The command ``fxcarry walkforward`` and the options that choose a venue and pairs, on made-up prices."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from fxcarry.cli import main
from fxcarry.testing import market_history
from fxcarry.trials import TrialRegistry

G9 = ("AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK")
YEARS = ("--train-years", "2")
LATE = ("--start", "2021-01-04", "--end", "2021-12-31")


class Run(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)


def command(*arguments: str) -> Run:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as done:
        main(list(arguments))
    assert isinstance(done.value.code, int)
    return Run(done.value.code, out.getvalue(), err.getvalue())


def walk(*arguments: str) -> Any:
    return command("walkforward", "--json", *YEARS, *arguments).data


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five years of made-up prices and rates as files."""
    folder = tmp_path_factory.mktemp("market")
    days = np.busday_offset(np.datetime64("2018-01-01"), np.arange(1304)).tolist()
    history = market_history(G9, days=len(days), start=date(2018, 1, 1))
    head = ",".join(["date", *G9])
    rows = [",".join(map(str, (d, *map(float, row)))) for d, row in zip(days, history.spot)]
    (folder / "prices.csv").write_text("\n".join([head, *rows, ""]), "utf-8")
    codes = sorted(history.rates)
    rates = zip(*(history.rates[c].value for c in codes))
    rows = [",".join(map(str, (d, *map(float, row)))) for d, row in zip(days[::21], rates)]
    (folder / "rates.csv").write_text("\n".join([",".join(["date", *codes]), *rows, ""]), "utf-8")
    return folder


@pytest.fixture(autouse=True)
def _desk(market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "fxcarry.toml").write_text(
        f'[feed]\nuse = "file"\nprices = "{market}/prices.csv"\nrates = "{market}/rates.csv"\n'
        '[strategies.baseline]\nuse = "baseline"\n[strategies.optimized]\nuse = "optimized"\n',
        "utf-8",
    )


def test_the_table_by_strategy_and_the_paired_difference(tmp_path: Path) -> None:
    [group] = walk()
    first, second = group["results"]
    assert (group["venue"], first["strategy"], second["strategy"]) == (None, "baseline", "optimized")
    assert [row["kind"] for row in first["table"]] == ["traded", "no_rules", "routed", "gross", "spot_only"]
    for row in (*first["table"], *second["table"]):
        assert {"annual_return", "sharpe", "sharpe_se", "max_drawdown", "win_rate"} <= row.keys()
        assert (row["sharpe"] is None) == (row["sharpe_se"] is None)
        assert row["start"].startswith("2020-01-0")
    assert len(first["candidates"]) == 1
    assert len(second["candidates"]) == 6
    assert {w["setting"]["risk_aversion"] for w in second["windows"]} <= {4.0, 8.0, 16.0}
    assert [row["kind"] for row in group["comparison"]] == ["traded", "no_rules"]
    assert {"difference", "standard_error", "p_value", "equal"} <= group["comparison"][0].keys()
    folder = tmp_path / "fxcarry-walkforward"
    assert sorted(p.name for p in folder.iterdir()) == ["walkforward.html", "walkforward.json"]
    assert json.loads((folder / "walkforward.json").read_text("utf-8")) == [group]
    page = (folder / "walkforward.html").read_text("utf-8")
    assert page.rstrip().endswith("</html>")
    assert "<script" not in page


def test_it_prints_what_it_found_within_the_width() -> None:
    run = command("walkforward", *YEARS, "--fixed", "--strategy", "baseline", "--strategy", "sign")
    assert run.code == 0, run
    assert max(map(len, run.out.splitlines())) <= 120
    assert "baseline, out of sample 2020-01-0" in run.out
    assert "sign less baseline, without rules" in run.out
    assert "without rules, cheapest pairs" in run.out
    assert "Files: fxcarry-walkforward/walkforward.json, fxcarry-walkforward/walkforward.html" in run.out
    for line in run.out.splitlines():
        if re.match(r"  with(out)? rules", line):
            assert " ± " in line


def test_each_venue_has_its_own_group_and_page(tmp_path: Path) -> None:
    groups = walk("--fixed", "--venue", "interbank", "--venue", "ib", "--no-rules")
    assert [g["venue"] for g in groups] == ["interbank", "ib"]
    assert {r["venue"] for r in groups[1]["results"]} == {"ib"}
    cheap, dear = (g["results"][0]["table"][0]["annual_return"] for g in groups)
    assert cheap > dear
    names = sorted(p.name for p in (tmp_path / "fxcarry-walkforward").iterdir())
    assert names == ["walkforward-ib.html", "walkforward-interbank.html", "walkforward.json"]


def test_what_is_tried_is_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FXCARRY_TRIALS", str(tmp_path / "counted.jsonl"))
    [group] = walk("--try", "k=2,3", "--no-rules", "--universe", "EUR,JPY,AUD,CAD,CHF")
    assert [[c["k"] for c in r["candidates"]] for r in group["results"]] == [[2, 3], [2, 3]]
    assert TrialRegistry().count() == 6  # two settings of each, and two ways of choosing
    [group] = walk("--try", "optimized:band=0.0,0.2", "--try", "optimized:crosses=true,false", "--no-rules")
    assert group["results"][0]["candidates"] == [{}]
    assert group["results"][1]["candidates"][0] == {"band": 0.0, "crosses": True}
    assert len(group["results"][1]["candidates"]) == 4


def test_an_interrupted_run_is_taken_up_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fxcarry.walkforward import run as running

    asked: list[str] = []
    real = running.backtest

    def counted(strategy: Any, **about: Any) -> Any:
        asked.append(type(getattr(strategy, "inner", strategy)).__name__)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(strategy, **about)

    monkeypatch.setattr(running, "backtest", counted)
    arguments = ("--strategy", "baseline", "--try", "k=1,2,3,4", "--no-rules", "--resume")
    assert command("walkforward", *YEARS, *arguments).code == 130
    assert not (tmp_path / "fxcarry-walkforward" / "walkforward.json").exists()
    first = len(asked)
    [group] = walk(*arguments)
    assert asked[first:].count("Baseline") == 2  # of the four, two had been run
    monkeypatch.setattr(running, "backtest", real)
    assert walk(*arguments[:-1], "--output", "whole")[0]["results"][0]["table"] == group["results"][0]["table"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fixed", "--try", "k=2,3"), "--fixed chooses nothing"),
        (("--try", "k"), "--try 'k' is not a setting with values"),
        (("--try", "rank:k=2,3"), "is for 'rank', which is not run"),
        (("--try", "leverage=2,3"), "no strategy has a setting leverage"),
        (("--try", "baseline:leverage=2,3"), "Baseline has no setting leverage"),
        (("--try", "k=0,1"), "k is 0"),
        (("--venue", "onda"), 'did you mean "oanda"?'),
        (("--train-years", "20"), "20"),
        (("--strategy", "baselin"), "baseline"),
    ],
)
def test_what_is_wrong_is_told(arguments: tuple[str, ...], said: str) -> None:
    run = command("walkforward", *YEARS, *arguments)
    assert run.code not in (0, 1), run
    assert said in run.err
    assert "Traceback" not in run.err


# -- the options of backtest that came with venues and routing -------------------------------------------------------


def summary(*arguments: str) -> Any:
    [one] = command("backtest", "--json", "--strategy", "baseline", "--no-rules", *LATE, *arguments).data
    return one


def test_backtest_at_a_venue_and_in_the_cheapest_pairs() -> None:
    plain, oanda = summary(), summary("--venue", "oanda")
    assert (plain["venue"], oanda["venue"]) == (None, "oanda")
    assert oanda["final_nav"] == plain["final_nav"]  # its terms for the G10 are the defaults
    bank = summary("--venue", "interbank")
    assert bank["carry"] > oanda["carry"]
    routed = summary("--routing", "least-cost", "--venue", "oanda")
    assert routed["routing"] == "least-cost"
    assert routed["carry"] > oanda["carry"] + 0.003
    assert routed["final_nav"] == summary("--venue", "oanda")["variants"]["routed"]["final_nav"]


def test_a_universe_by_name_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(
        "currency,enters,leaves,note\nEUR,always,,\nJPY,always,2021-06-30,sold\n", "utf-8"
    )
    one = summary("--universe", "own.csv")
    assert one["universe"] == ["EUR", "JPY"]
    assert any("JPY leaves the universe on 2021-06-30: sold" in note for note in one["notes"])
    assert summary("--universe", "g10")["universe"] == list(summary()["universe"])
    run = command("backtest", "--strategy", "baseline", "--universe", "em")
    assert run.code == 4, run  # there are no prices of these
    assert "BGN" in run.err


def test_it_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    fxcarry = Path(sys.executable).with_name("fxcarry")
    done = subprocess.run(
        [str(fxcarry), "walkforward", "--json", "--fixed", "--strategy", "sign", *YEARS],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["results"][0]["strategy"] == "sign"
