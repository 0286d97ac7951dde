"""The command, as a person uses it: what it prints, writes and returns, and how it refuses."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fxcarry
from fxcarry.cli import main
from fxcarry.conventions import roll_days, trade_date, value_date
from fxcarry.model import Order, Pair, Quote, Rate, Snapshot
from fxcarry.testing import market_history
from fxcarry.universe import universe_of

FILES = ["nav.csv", "report.html", "summary.json", "trades.csv", "weights.csv"]
KEYS = {
    "strategy", "start", "end", "universe", "account_currency", "markup", "costs", "rules", "annual_return",
    "volatility", "sharpe", "sharpe_se", "max_drawdown", "win_rate", "turnover", "spot", "carry", "cost", "variants",
    "card",
}  # fmt: skip
OTHERS = list(universe_of(None, "USD").currencies)
FIRST, LAST = date(2020, 1, 6), date(2021, 12, 31)
PERIOD = ("--start", "2020-06-01", "--end", "2021-06-30")
COMMAND = Path(sys.executable).with_name("fxcarry")


class Run(NamedTuple):
    """What a command returned and printed."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)


def fxcarry_(*arguments: str) -> Run:
    """The command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as done:
        main(list(arguments))
    assert isinstance(done.value.code, int)
    return Run(done.value.code, out.getvalue(), err.getvalue())


def installed(*arguments: str, path: Path | None = None, **options: Any) -> Run:
    """The installed command in a process of its own; ``path`` is one more folder to import from."""
    environ = {**os.environ, "COLUMNS": "200", **({} if path is None else {"PYTHONPATH": str(path)})}
    run = subprocess.run(
        [str(COMMAND), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environ,
        timeout=120,
        **options,
    )
    return Run(run.returncode, run.stdout, run.stderr)


def backtest(*arguments: str) -> dict[str, Any]:
    """The summary of one strategy, baseline where none is named, over a year of made-up prices."""
    strategy = () if "--strategy" in arguments else ("--strategy", "baseline")
    period = () if "--start" in arguments else PERIOD
    [summary] = fxcarry_("backtest", "--json", *strategy, *period, *arguments).data
    assert isinstance(summary, dict)
    return summary


def table(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines)
    return head, rows


def write_table(path: Path, head: Sequence[str], times: Sequence[object], values: Any) -> None:
    rows = [",".join(map(str, (t, *(repr(float(v)) for v in row)))) for t, row in zip(times, values)]
    path.write_text("\n".join([",".join(["date", *head]), *rows, ""]), "utf-8")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two years of made-up prices and rates as files of a person's own."""
    folder = tmp_path_factory.mktemp("market")
    days = np.busday_offset(np.datetime64(FIRST), np.arange(520)).tolist()
    assert days[-1] == LAST
    history = market_history(OTHERS, days=len(days), start=FIRST)
    write_table(folder / "prices.csv", OTHERS, days, history.spot)
    codes = sorted(history.rates)
    write_table(folder / "rates.csv", codes, days[::21], zip(*(history.rates[c].value for c in codes)))
    return folder


@pytest.fixture(autouse=True)
def _desk(market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command runs in a folder of its own, whose configuration names those files, on a wide screen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "fxcarry.toml").write_text(
        f'[feed]\nuse = "file"\nprices = "{market}/prices.csv"\nrates = "{market}/rates.csv"\n', "utf-8"
    )


Install = Callable[[str, str], Path]


@pytest.fixture
def install(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a plugin ``fxcarry-<name>`` with the given source where Python looks, and returns the folder."""
    folder = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)

    def write(name: str, source: str) -> Path:
        (folder / f"fxcarry_{name}.py").write_text(source, "utf-8")
        info = folder / f"fxcarry_{name}-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fxcarry-{name}\nVersion: 0.1\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[fxcarry]\n{name} = fxcarry_{name}\n", "utf-8")
        importlib.invalidate_caches()
        return folder

    yield write
    for module in set(sys.modules) - before:
        if module.startswith("fxcarry_"):
            del sys.modules[module]


STRATEGY = """
import attrs
from fxcarry.plugins import Component, hookimpl

@attrs.frozen
class Odd:
    def __call__(self, view, account):
        {body}

@hookimpl
def fxcarry_components():
    return [Component(kind="strategy", name="odd", config=Odd, factory=lambda s: s, summary="An odd one.")]
"""


# --- help


def test_help_names_every_command() -> None:
    run = fxcarry_("--help")
    assert run.code == 0
    for command in (
        "backtest", "lookahead", "warmup", "stress", "carry", "roll", "plugins", "init", "config",
    ):  # fmt: skip
        assert re.search(rf"^  {command} ", run.out, re.MULTILINE), command
    assert fxcarry_("-h") == run


@pytest.mark.parametrize(
    "command",
    [[c] for c in ("backtest", "lookahead", "warmup", "stress", "carry", "roll", "plugins", "init")]
    + [["config", "show"]],
)
def test_every_command_explains_itself(command: list[str]) -> None:
    run = fxcarry_(*command, "--help")
    assert run.code == 0
    assert run.out.startswith(f"Usage: fxcarry {' '.join(command)} [OPTIONS]")
    assert run.err == ""


def test_the_version_is_that_of_the_library() -> None:
    assert fxcarry_("--version").out.split()[-1] == fxcarry.__version__
    assert installed("--version") == Run(0, fxcarry_("--version").out, "")


def test_no_command_shows_the_help() -> None:
    run = fxcarry_()
    assert run.code in {0, 2}  # click 8.1 and 8.2 differ
    assert "Commands:" in run.out + run.err


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    run = fxcarry_("backtst")
    assert run.code == 2
    assert "Did you mean 'backtest'?" in run.err


# --- backtest


def test_backtest_prints_a_table_and_writes_five_files_a_strategy(tmp_path: Path) -> None:
    run = fxcarry_("backtest", "--strategy", "baseline", "--strategy", "optimized", *PERIOD)
    assert run.code == 0, run.err
    assert run.err == ""  # no progress bar but on a terminal
    for heading in ("return", "vol", "Sharpe ± SE", "max DD", "win", "turn", "spot", "carry", "cost"):
        assert heading in run.out.splitlines()[0] + run.out.splitlines()[1]
    for row in ("baseline", "optimized", "with rules", "without rules, no mark-up", "without rules, spot only"):
        # Two of each, one a strategy; a name heads its rows, and stands once more by venue.
        assert len(re.findall(rf"^{row}", run.out.split("Run:")[0], re.MULTILINE)) == 2, row
    assert re.search(r"^By venue, no rules +interbank +oanda +ib$", run.out, re.MULTILINE)
    by_venue = r"^optimized +([+-]?\d+\.\d\d% +-?\d+\.\d\d ± \d\.\d\d *){3}\n +cheapest pairs "
    assert re.search(by_venue, run.out, re.MULTILINE)
    said = " ".join(run.out.split())
    for what in (
        r"mark-up of 1\.00 ?% a year on each side",
        r"full spread against USD in basis points",
        r"1,000,000 USD at the start; it earns nothing",
        r"Past results promise nothing\. For education only, no advice\.",
        r"baseline: Leaving interest out turns",
        r"fxcarry-results/baseline, fxcarry-results/optimized",
    ):
        assert re.search(what, said), what
    results = tmp_path / "fxcarry-results"
    assert sorted(p.name for p in results.iterdir()) == ["baseline", "optimized"]
    for folder in results.iterdir():
        assert sorted(p.name for p in folder.iterdir()) == FILES


def test_json_is_what_the_files_say(tmp_path: Path) -> None:
    run = fxcarry_(
        "backtest", "--json", "--strategy", "baseline", "--strategy", "sign", *PERIOD, "--output", "here/and/there"
    )
    assert [summary["strategy"] for summary in run.data] == ["baseline", "sign"]
    for summary in run.data:
        folder = tmp_path / "here/and/there" / summary["strategy"]
        assert json.loads((folder / "summary.json").read_text("utf-8")) == summary


def test_the_summary_has_the_promised_keys() -> None:
    summary = backtest()
    assert set(summary) >= KEYS
    assert summary["start"] == "2020-06-01"
    assert summary["end"] == "2021-06-30"
    assert summary["universe"] == OTHERS
    assert summary["account_currency"] == "USD"
    assert summary["markup"] == 0.01
    assert len(summary["rules"]) == 7
    assert set(summary["variants"]) == {"no_rules", "routed", "gross", "spot_only"}
    parts = ("spot", "carry", "cost", "translation", "rounding")
    for figures in (summary, *summary["variants"].values()):
        assert set(figures) >= {"annual_return", "volatility", "sharpe", "sharpe_se", *parts}
        assert sum(figures[part] for part in parts) == pytest.approx(figures["annual_return"], abs=1e-12)
        assert figures["cost"] <= 0
        assert -1 < figures["max_drawdown"] <= 0
    assert summary["variants"]["spot_only"]["carry"] == 0
    assert summary["variants"]["gross"]["carry"] > summary["variants"]["no_rules"]["carry"]


CARD = {
    "strategy", "start", "end", "universe", "account_currency", "days", "periods", "track_record_years", "sharpe", "se",
    "se_iid", "autocorrelation_adjusted_sharpe", "lags", "interval", "interval_level", "mean_block", "newey_west_t",
    "skew", "kurtosis", "trials", "trial_variance", "psr", "dsr", "min_track_record_years", "spot", "carry", "cost",
    "other", "annual_return", "carry_capture", "worst_days", "against", "candidates", "pbo", "variants", "placebo",
    "reasons", "notes",
}  # fmt: skip


def test_the_report_card_is_in_the_summary_and_printed(tmp_path: Path) -> None:
    arguments = ("backtest", "--strategy", "baseline", "--strategy", "optimized", *PERIOD)
    first, second = fxcarry_(*arguments, "--json").data
    for summary in (first, second):
        card = summary["card"]
        assert set(card) == CARD
        assert (card["sharpe"], card["se"]) == (summary["sharpe"], pytest.approx(summary["sharpe_se"]))
        assert card["trials"] == 4  # two strategies: with rules and without
        assert card["dsr"] < card["psr"]
        assert card["candidates"] == ["baseline", "optimized"]
        assert 0 <= card["pbo"] <= 1
        assert set(card["variants"]) == {"no_rules", "routed", "gross", "spot_only"}
        assert len(card["worst_days"]) == 10
        assert card["placebo"] is None
    assert first["card"]["against"] is None
    assert second["card"]["against"]["strategy"] == "baseline"
    run = fxcarry_(*arguments)
    said = " ".join(run.out.split())
    assert said.index("Report card of baseline") < said.index("Report card of optimized") < said.index("Files: ")
    assert f"{first['sharpe']:.2f} ± {first['sharpe_se']:.2f} a year" in said
    assert "as the best of 4 tried on the same market (DSR)" in said
    assert "Sharpe ratio less that of baseline: " in said
    assert f"Trials: counted in {os.environ['FXCARRY_TRIALS']}" in said
    page = (tmp_path / "fxcarry-results/optimized/report.html").read_text("utf-8")
    assert "as the best of 4 tried on the same market (DSR)" in page
    assert "What a crash would do to it" in page
    assert page.count("carry-gap") == 1


def test_a_sharpe_ratio_is_never_printed_without_its_error() -> None:
    run = fxcarry_("backtest", "--strategy", "baseline", *PERIOD, "--placebo", "2")
    ratios = re.findall(r"Sharpe ratio (?:less that of \w+: )?(\S+) (\S+)", run.out)
    assert ratios
    assert [sign for value, sign in ratios if re.fullmatch(r"-?\d+\.\d\d", value)] == ["±"] * len(ratios) != []
    for line in run.out.splitlines():
        if re.match("with(out)? rules", line):
            assert re.search(r"-?\d\.\d\d ± \d\.\d\d", line), line


def trials() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(os.environ["FXCARRY_TRIALS"]).read_text("utf-8").splitlines()]


def test_every_configuration_is_counted_once(own: str) -> None:
    assert backtest()["card"]["trials"] == 2
    assert backtest()["card"]["trials"] == 2
    assert len(trials()) == 4  # recorded again, counted once
    assert backtest("--markup", "0.02")["card"]["trials"] == 4
    assert backtest("--no-rules")["card"]["trials"] == 4  # it was the variant before
    assert backtest("--universe", "EUR,JPY,AUD")["card"]["trials"] == 2  # another family
    assert backtest("--strategy", f"{own}:Half", "--no-rules")["card"]["trials"] == 5
    assert trials()[-1]["configuration"]["strategy"] == "own/mine.py:Half"


@pytest.mark.parametrize("content", [None, "no trial\n"])
def test_trials_that_cannot_be_recorded_do_not_fail_a_run(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "trials"
    place.mkdir() if content is None else place.write_text(content, "utf-8")
    monkeypatch.setenv("FXCARRY_TRIALS", str(place))
    card = backtest()["card"]
    [note] = [note for note in card["notes"] if note.startswith("This run was not counted as a trial: ")]
    assert str(place) in note
    assert (card["trials"], card["dsr"]) == (1, None)
    run = fxcarry_("backtest", "--strategy", "baseline", *PERIOD)
    assert run.code == 0
    assert "Note: This run was not counted as a trial" in run.out
    assert "Trials:" not in run.out


@pytest.mark.parametrize("routing", ["direct", "least-cost"])
def test_the_placebo_is_asked_for(routing: str, tmp_path: Path) -> None:
    file = tmp_path / "fxcarry.toml"
    file.write_text(f'routing = "{routing}"\n{file.read_text("utf-8")}', "utf-8")
    card = backtest("--placebo", "3")["card"]
    assert card["placebo"]["draws"] == 3
    assert card["placebo"]["sharpe"] == card["sharpe"]  # run with the same rules, costs, pairs and dates
    assert {t["configuration"]["routing"] for t in trials()} == {routing}


def test_the_parts_of_each_day_are_the_change_of_nav(tmp_path: Path) -> None:
    backtest()
    head, rows = table(tmp_path / "fxcarry-results/baseline/nav.csv")
    assert head == ["date", "nav", "spot", "carry", "cost", "translation", "rounding"]
    assert [rows[0][0], rows[-1][0]] == ["2020-06-01", "2021-06-30"]
    assert len(rows) == np.busday_count("2020-06-01", "2021-07-01")
    figures = np.array([[float(cell) for cell in row[1:]] for row in rows])
    nav = np.concatenate([[1_000_000.0], figures[:, 0]])
    np.testing.assert_allclose(np.diff(nav), figures[:, 1:].sum(1), atol=1e-5)
    assert figures[:, 1:5].any(0).tolist() == [True, True, True, True]
    assert (figures[:, 3] <= 0).all()


def test_weights_and_trades_are_by_currency_and_by_fill(tmp_path: Path) -> None:
    backtest("--no-rules")
    folder = tmp_path / "fxcarry-results/baseline"
    head, rows = table(folder / "weights.csv")
    assert head == ["date", *OTHERS]
    held = [[float(cell) for cell in row[1:]] for row in rows]
    assert sorted(np.sign(np.round(held[-1], 3)).tolist()) == [-1, -1, -1, 0, 0, 0, 1, 1, 1]
    assert not any(held[0])  # nothing is held before the first decision
    head, rows = table(folder / "trades.csv")
    assert head[:3] == ["at", "instrument", "units"]
    assert all(re.fullmatch(r"202\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[0]) for row in rows)
    assert {row[1] for row in rows} <= {str(Pair.market(c, "USD")) for c in OTHERS}


def test_the_report_is_one_file(tmp_path: Path) -> None:
    backtest()
    page = (tmp_path / "fxcarry-results/baseline/report.html").read_text("utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert page.count("<svg") >= 4
    assert "<script" not in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|@import|url\(\s*["']?https?:""", page)


def test_without_rules(tmp_path: Path) -> None:
    summary = backtest("--no-rules")
    assert summary["rules"] == []
    assert summary["variants"]["no_rules"]["final_nav"] == summary["final_nav"]
    assert backtest()["variants"]["no_rules"]["final_nav"] == summary["final_nav"]


def test_without_costs() -> None:
    summary = backtest("--no-costs", "--no-rules")
    assert summary["costs"] is None
    assert summary["cost"] == 0
    with_costs = backtest("--no-rules")
    assert with_costs["cost"] < 0
    assert summary["final_nav"] > with_costs["final_nav"]


def test_the_markup_is_taken_from_what_is_held() -> None:
    none, some = backtest("--markup", "0", "--no-rules"), backtest("--markup", "0.03", "--no-rules")
    assert (none["markup"], some["markup"]) == (0.0, 0.03)
    # 3 % a year on each of six positions of 1/3 of NAV, held for 12 of the 13 months
    assert none["carry"] - some["carry"] == pytest.approx(0.03 * 2 * 12 / 13, rel=0.08)
    assert none["variants"]["gross"]["carry"] == none["carry"]


def test_the_universe_is_what_is_ranked(tmp_path: Path) -> None:
    summary = backtest("--universe", "eur, JPY,GBP,CHF,AUD,CAD")
    assert summary["universe"] == ["EUR", "JPY", "GBP", "CHF", "AUD", "CAD"]
    assert table(tmp_path / "fxcarry-results/baseline/weights.csv")[0] == ["date", *summary["universe"]]


def test_another_account_currency(tmp_path: Path) -> None:
    summary = backtest("--account-currency", "EUR", "--cash", "500000")
    assert summary["account_currency"] == "EUR"
    assert summary["cash"] == 500_000
    assert summary["universe"] == list(universe_of(None, "EUR").currencies)
    _, rows = table(tmp_path / "fxcarry-results/baseline/nav.csv")
    assert float(rows[0][1]) == 500_000


def test_deciding_more_often_trades_more() -> None:
    quarter = ("--start", "2021-04-01", "--end", "2021-06-30", "--no-rules")
    turnover = [backtest("--rebalance", r, *quarter)["turnover"] for r in ("monthly", "weekly", "daily")]
    assert turnover == sorted(turnover)
    assert turnover[0] < turnover[1]


def test_the_end_is_the_last_trade_date_at_or_before_it() -> None:
    summary = backtest("--start", "2020-05-30", "--end", "2021-05-30")  # a Saturday and a Sunday
    assert (summary["start"], summary["end"]) == ("2020-06-01", "2021-05-28")


def test_the_same_command_gives_the_same_files(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        backtest("--output", folder)
    for name in FILES:
        assert (tmp_path / "one/baseline" / name).read_bytes() == (tmp_path / "two/baseline" / name).read_bytes(), name


def test_settings_come_from_the_file_the_environment_and_the_command_in_that_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "fxcarry.toml").open("a", encoding="utf-8") as file:
        file.write('[costs]\nuse = "none"\n[strategies.wide]\nuse = "baseline"\nk = 4\n[[rules]]\nuse = "drawdown"\n')
    wide = backtest("--strategy", "wide")
    assert wide["costs"] is None
    assert wide["rules"] == ["drawdown"]
    assert wide["markup"] == 0.01
    _, rows = table(tmp_path / "fxcarry-results/wide/weights.csv")
    assert np.count_nonzero(np.round([float(cell) for cell in rows[-1][1:]], 3)) == 8
    (tmp_path / ".env").write_text("FXCARRY__MARKUP=0.02\n", "utf-8")
    assert backtest("--strategy", "wide")["markup"] == 0.02
    monkeypatch.setenv("FXCARRY__MARKUP", "0.03")
    assert backtest("--strategy", "wide")["markup"] == 0.03
    assert backtest("--strategy", "wide", "--markup", "0.04")["markup"] == 0.04


# --- refusals


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--strategy", "basline"], 2, "no strategy 'basline'.*did you mean \"baseline\""),
        (["--strategy", "baseline", "--strategy", "baseline"], 2, "one strategy twice: baseline"),
        (["--start", "2021-06-01", "--end", "2021-01-01"], 2, "start 2021-06-01 is after end 2021-01-01"),
        (["--start", "2010-01-01"], 4, "2010-01-01 is outside the data: prices run from 2020-01-06 to 2021-12-31"),
        (["--end", "2030-01-01"], 4, "2030-01-01 is outside the data: prices run from 2020-01-06 to 2021-12-31"),
        (["--start", "yesterday"], 2, "start 'yesterday' is not a date.*write it like"),
        (["--universe", "EUR,TRY"], 4, "no prices for TRY in .*prices.csv.*it has AUD"),
        (["--universe", "EUR,XXX"], 4, "no prices for XXX in .*prices.csv.*it has AUD"),
        (["--universe", "EUR,euro"], 2, "'euro' is not a three-letter currency code"),
        (["--universe", "EUR,EUR"], 2, "lists a currency twice: EUR, EUR"),
        (["--universe", "USD"], 2, "no currency to trade"),
        (["--account-currency", "XXX"], 4, "no prices for XXX"),
        (["--markup", "-0.01"], 2, "markup is -0.01"),
        (["--markup", "nan"], 2, "markup is nan"),
        (["--markup", "much"], 2, "'much' is not a valid float"),
        (["--cash", "0"], 2, "cash is 0"),
        (["--cash", "nan"], 2, "cash is nan"),
        (["--rebalance", "hourly"], 2, "rebalance is 'hourly'"),
        (["--config", "none.toml"], 2, "none.toml does not exist.*fxcarry init"),
        (["--nonsense"], 2, "No such option:? '?--nonsense"),
    ],
)
def test_what_is_wrong_is_told(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    run = fxcarry_("backtest", *arguments)
    assert run.code == code
    assert re.search(said, run.err, re.DOTALL), run.err
    assert "Traceback" not in run.err
    assert run.out == ""
    assert not (tmp_path / "fxcarry-results").exists()


@pytest.mark.parametrize("folder", ["taken", "taken/below"])
def test_a_file_in_the_way_of_the_output_is_found_before_the_run(folder: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine", "utf-8")
    run = fxcarry_("backtest", "--output", folder, "--strategy", "no-such")  # the strategy is not even looked up
    assert run.code == 2
    assert re.search(rf"cannot write to {folder}: .*taken is a file.*choose another place", run.err, re.DOTALL)
    assert (tmp_path / "taken").read_text("utf-8") == "mine"


def test_an_output_without_permission_is_found_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, *_: not str(path).endswith("closed"))  # root may write everywhere
    run = fxcarry_("backtest", "--output", "closed/below", "--strategy", "no-such")
    assert run.code == 2
    assert re.search(r"cannot write to closed/below: no permission .*/closed", run.err)


def test_every_mistake_of_a_configuration_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('marckup = 1\n[feed]\nuse = "file"\nprice = "x"\n', "utf-8")
    run = fxcarry_("backtest", "--config", "mine.toml")
    assert run.code == 2
    assert 'marckup: unknown key, did you mean "markup"?' in run.err
    assert "feed.file.prices: required" in run.err
    (tmp_path / "mine.toml").write_text("markup = = 1", "utf-8")
    run = fxcarry_("carry", "--config", "mine.toml")
    assert run.code == 2
    assert "mine.toml" in run.err


def _cell(row: int, column: int, value: str) -> Callable[[list[str]], None]:
    def spoil(lines: list[str]) -> None:
        cells = lines[row].split(",")
        cells[column] = value
        lines[row] = ",".join(cells)

    return spoil


def _gap(lines: list[str]) -> None:
    for row in range(200, 260):
        _cell(row, 1, "NaN")(lines)


def _swap(lines: list[str]) -> None:
    lines.insert(200, lines.pop(201))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_cell(199, 1, "0"), "row 200, column AUD: 0.0 is not a price"),
        (_cell(199, 2, "-1.1"), "row 200, column CAD: -1.1 is not a price"),
        (_cell(199, 1, "inf"), "row 200, column AUD: inf is not a finite number"),
        (_cell(199, 1, "n.a."), "row 200, column AUD: 'n.a.' is not a number"),
        (_cell(199, 0, "10/8/20x"), "row 200, column date: '10/8/20x' is not a date"),
        (_gap, "AUD has no price between 2020-10-0"),
        (lambda lines: lines.insert(200, lines[199]), "row 201: 2020-10-08 is there twice"),
        (_swap, "row 202: 2020-10-09 is out of order"),
        (lambda lines: lines.insert(200, "2020-10-08,1.1"), "row 201: 2 fields, the header has 10"),
        (lambda lines: lines.clear(), "prices.csv is empty"),
        (lambda lines: lines.__delitem__(slice(1, None)), "prices.csv has no rows"),
        (lambda lines: lines.insert(0, "\udcff\udcfe\x00"), "not a CSV file"),
    ],
)
def test_prices_that_cannot_be_used_are_told(
    spoil: Callable[[list[str]], object], said: str, market: Path, tmp_path: Path
) -> None:
    lines = (market / "prices.csv").read_text("utf-8").splitlines()
    spoil(lines)
    text = "\n".join([*lines, ""]) if lines else ""
    (tmp_path / "prices.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    settings = (tmp_path / "fxcarry.toml").read_text("utf-8").replace(f"{market}/prices", "prices")
    (tmp_path / "fxcarry.toml").write_text(settings, "utf-8")
    run = fxcarry_("backtest", *PERIOD)
    assert run.code == 4, run
    assert said in run.err
    assert not (tmp_path / "fxcarry-results").exists()


def test_a_currency_without_rates_is_refused(market: Path, tmp_path: Path) -> None:
    lines = (market / "rates.csv").read_text("utf-8").splitlines()
    assert lines[0].split(",")[1] == "AUD"
    (tmp_path / "rates.csv").write_text("\n".join(",".join(row.split(",")[:1] + row.split(",")[2:]) for row in lines))
    settings = (tmp_path / "fxcarry.toml").read_text("utf-8").replace(f"{market}/rates", "rates")
    (tmp_path / "fxcarry.toml").write_text(settings, "utf-8")
    run = fxcarry_("backtest", *PERIOD)
    assert run.code == 4
    assert "no rates for AUD" in run.err
    assert "a missing rate is never taken to be zero" in run.err


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("return {'EUR': float('nan')}", 4, "weight for EUR at 20.* is not a number"),
        ("return {'ZAR': 0.1}", 2, "a weight for 'ZAR' at 20.*the universe is AUD"),
    ],
)
def test_a_strategy_that_answers_nonsense_is_told(install: Install, body: str, code: int, said: str) -> None:
    install("odd", STRATEGY.format(body=body))
    run = fxcarry_("backtest", "--strategy", "odd", *PERIOD)
    assert run.code == code
    assert re.search(said, run.err, re.DOTALL), run.err


def test_a_bug_in_a_strategy_is_told_without_a_traceback(install: Install) -> None:
    path = install("odd", STRATEGY.format(body="return {}['nothing']"))
    run = installed("backtest", "--strategy", "odd", *PERIOD, path=path)
    assert run.code == 1
    assert "KeyError: 'nothing'" in run.err
    assert "--debug" in run.err
    assert "Traceback" not in run.err


def test_debug_shows_where_an_error_comes_from() -> None:
    run = installed("--debug", "backtest", "--strategy", "nope")
    assert run.code != 0
    assert "Traceback (most recent call last)" in run.err
    assert "no strategy 'nope'" in run.err


# --- interrupted


def test_an_interrupted_run_leaves_no_file(install: Install, tmp_path: Path) -> None:
    body = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's & ignores it
    body += "; os.kill(os.getpid(), signal.SIGINT); return {}"
    folder = install("odd", STRATEGY.format(body=body))
    before = sorted(tmp_path.iterdir())
    run = installed("backtest", "--strategy", "baseline", "--strategy", "odd", *PERIOD, path=folder)
    assert run.code == 130
    assert "interrupted" in run.err
    assert "Traceback" not in run.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("step", ["_write_nav", "_write_trades", "page", "_move"])
def test_an_interrupted_write_leaves_the_files_of_the_run_before(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    backtest("--output", "old")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(f"fxcarry.report.files.{step}", stop)
    for folder in ("old", "new"):
        run = fxcarry_("backtest", "--strategy", "baseline", *PERIOD, "--markup", "0.02", "--output", folder)
        assert run.code == 130
        assert "interrupted" in run.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("arguments", [["plugins"], ["--help"], ["backtest", *PERIOD]])
def test_a_reader_that_stops_reading_is_no_error(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        run = subprocess.run([str(COMMAND), *arguments], stdout=write, stderr=subprocess.PIPE, text=True, timeout=120)
    finally:
        os.close(write)
    assert run.stderr == ""


# --- plugins


def test_plugins_lists_what_is_installed() -> None:
    found = fxcarry_("plugins", "--json").data
    assert found["broken"] == []
    names = {(c["kind"], c["name"]) for c in found["components"]}
    assert names >= {("strategy", "baseline"), ("strategy", "optimized"), ("feed", "file"), ("broker", "simulated")}
    assert {c["from"] for c in found["components"]} >= {f"fxcarry {fxcarry.__version__}"}
    lines = fxcarry_("plugins").out.splitlines()
    assert len(lines) == len(found["components"])
    for component in found["components"]:
        assert component["summary"]
        assert any(line.split()[:2] == [component["kind"], component["name"]] for line in lines)


BREAKAGES = {
    "import": "raise RuntimeError('boom')",
    "syntax": "def",
    "exit": "raise SystemExit(3)",
    "hook": "from fxcarry.plugins import hookimpl\n@hookimpl\ndef fxcarry_components():\n    return [1 / 0]",
}


@pytest.mark.parametrize("source", BREAKAGES.values(), ids=BREAKAGES.keys())
def test_a_broken_plugin_is_a_line_and_every_command_works(install: Install, source: str) -> None:
    install("acme", source)
    run = fxcarry_("plugins")
    assert run.code == 0
    [line] = [line for line in run.out.splitlines() if line.startswith("broken")]
    assert line.split()[1:3] == ["acme", "fxcarry-acme"]
    [broken] = fxcarry_("plugins", "--json").data["broken"]
    assert broken["plugin"] == "acme"
    for command in (
        ["backtest", "--strategy", "baseline", *PERIOD],
        ["carry"],
        ["roll", "EURUSD", "2025-01-15"],
        ["config", "show"],
        ["init", "new"],
        ["--help"],
        ["--version"],
    ):
        assert fxcarry_(*command).code == 0, command
    named = fxcarry_("backtest", "--strategy", "acme", *PERIOD)
    assert named.code == 3
    assert "plugin 'acme' of fxcarry-acme is broken" in named.err


def test_a_broken_plugin_is_one_warning(install: Install) -> None:
    run = installed("backtest", "--strategy", "baseline", *PERIOD, path=install("acme", BREAKAGES["import"]))
    assert run.code == 0
    assert run.err.splitlines() == ["plugin 'acme' of fxcarry-acme is broken: RuntimeError: boom"]


def test_a_plugin_may_bring_a_command(install: Install) -> None:
    path = install(
        "acme",
        "from fxcarry.plugins import hookimpl\n"
        "@hookimpl\n"
        "def fxcarry_commands(cli):\n"
        "    import click\n"
        "    @cli.command()\n"
        "    def greet():\n"
        "        click.echo('good morning')\n",
    )
    assert installed("greet", path=path) == Run(0, "good morning\n", "")
    assert "Did you mean 'greet'?" in fxcarry_("gret").err


def test_without_plugins_the_default_feed_is_told_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fxcarry.toml").unlink()
    monkeypatch.setenv("FXCARRY_PLUGINS", "off")
    run = fxcarry_("backtest")
    assert run.code == 2
    assert "no feed 'ecb'" in run.err
    assert run.out == ""


# --- carry


def test_the_carry_table_is_sorted_and_adds_up() -> None:
    found = fxcarry_("carry", "--json").data
    assert found["date"] == str(LAST)
    assert found["account_currency"] == "USD"
    rows = found["rows"]
    assert sorted(row["currency"] for row in rows) == sorted(OTHERS)
    assert [row["carry"] for row in rows] == sorted((row["carry"] for row in rows), reverse=True)
    for row in rows:
        assert row["pair"] == str(Pair.market(row["currency"], "USD"))
        assert row["carry"] == pytest.approx(row["rate"] - found["account_rate"])
        assert row["roll_days"] == roll_days(Pair.parse(row["pair"]), LAST)
        assert row["financing_long"] + row["financing_short"] == pytest.approx(-0.02, abs=1e-3)
        # a night's interest on 100,000 USD; day counts of 360 and 365 are 1.4 % apart
        for side in ("long", "short"):
            nights = found["notional"] * row["roll_days"] / 365
            assert row[f"tonight_{side}"] == pytest.approx(nights * row[f"financing_{side}"], rel=0.02, abs=0.01)


def test_the_carry_table_is_printed() -> None:
    run = fxcarry_("carry", "--universe", "EUR,JPY")
    assert run.code == 0
    assert run.err == ""
    assert f"as known at 17:00 New York on {LAST}" in run.out
    assert all(pair in run.out for pair in ("EURUSD", "USDJPY"))
    assert "GBPUSD" not in run.out
    assert re.search(r"after a mark-up of 1\.00 ?%", " ".join(run.out.split()))


@pytest.mark.parametrize("columns", ["80", "100"])
def test_no_figure_is_cut_off_on_a_narrow_screen(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert "…" not in fxcarry_("carry").out
    assert "…" not in fxcarry_("backtest", *PERIOD).out


def test_carry_of_another_day_account_and_markup() -> None:
    there = fxcarry_("carry", "--json", "--at", "2020-09-16", "--account-currency", "JPY", "--markup", "0").data
    assert there["date"] == "2020-09-16"
    assert there["account_currency"] == "JPY"
    assert "USD" in {row["currency"] for row in there["rows"]}
    assert "JPY" not in {row["currency"] for row in there["rows"]}
    for row in there["rows"]:
        assert row["financing_long"] == pytest.approx(-row["financing_short"], abs=1e-3)


BROKER = """
import attrs
from decimal import Decimal
from fxcarry.model import Instrument, Pair, Position
from fxcarry.plugins import Component, hookimpl

@attrs.frozen
class Config:
    units: int{default}

@attrs.define
class Paying:
    config: Config
    name = "acme"

    def connect(self):
        pass

    def close(self):
        print("closed")

    def get_positions(self):
        held = Position(instrument="EUR_USD", units=Decimal(self.config.units), average_price=Decimal(1))
        return {{"EUR_USD": held}} if self.config.units else {{}}

    def get_instruments(self, pairs):
        pair = Pair("EUR", "USD")
        return {{"EUR_USD": Instrument(name="EUR_USD", exposure=pair, financing_long=-0.0365, financing_short=0.0073)}}

@hookimpl
def fxcarry_components():
    return [Component(kind="broker", name="acme", config=Config, factory=Paying, summary="A broker of Acme.")]
"""


def test_what_a_broker_pays_is_printed(install: Install, tmp_path: Path) -> None:
    install("acme", BROKER.format(default=" = 0"))
    run = fxcarry_("carry", "--broker", "acme", "--universe", "EUR,JPY", "--at", "2021-06-29")
    assert run.code == 0, run.err
    closed, heading, empty, head, euro, *_ = run.out.splitlines()
    assert (closed, empty) == ("closed", "")
    assert heading == "What acme pays, for the roll of 2021-06-29; amounts in USD"
    assert head.split()[:6] == ["pair", "long", "%", "short", "%", "rates"]
    cells = euro.split()
    assert cells[:3] == ["EURUSD", "-3.65", "+0.73"]
    assert cells[4] == "+1.46"  # (0.0365 - 0.0073) / 2
    assert cells[-3:] == ["1", "-10.00", "+2.00"]  # 100,000 x 3.65 % / 365
    assert re.search(r"^nothing +\+0\.00$", run.out, re.MULTILINE)
    assert "acme does not trade USDJPY" in run.out


def test_the_configured_broker_is_the_one_that_is_asked(install: Install, tmp_path: Path) -> None:
    install("acme", BROKER.format(default=""))
    run = fxcarry_("carry", "--broker", "acme")
    assert run.code == 2
    assert "the broker acme has settings that must be given" in run.err
    with (tmp_path / "fxcarry.toml").open("a", encoding="utf-8") as file:
        file.write('\n[broker]\nuse = "acme"\nunits = -100000\n')
    run = fxcarry_("carry", "--broker", "acme", "--at", "2021-06-29", "--json")
    found = json.loads(run.out.removeprefix("closed\n"))
    [held] = found["book"]
    assert (held["instrument"], held["units"]) == ("EUR_USD", -100_000)
    assert held["tonight"] == found["tonight"] > 0
    assert fxcarry_("carry", "--broker", "simulated", "--json").data["broker"] == "simulated"


def test_a_simulated_broker_says_that_it_publishes_nothing(tmp_path: Path) -> None:
    run = fxcarry_("carry", "--broker", "paper", "--universe", "EUR", "--at", "2021-06-29")
    assert run.code == 0, run.err
    assert re.search(r"^EURUSD +- +- +[+-]\d", run.out, re.MULTILINE)
    assert "paper does not publish what it pays for EURUSD" in " ".join(run.out.split())
    assert not (tmp_path / "fxcarry-state").exists()  # looking makes no account


def test_a_paper_account_is_read_where_run_keeps_it_and_not_changed(tmp_path: Path) -> None:
    from fxcarry_paper import PaperBroker

    folder = tmp_path / "fxcarry-state"
    folder.mkdir()
    broker = PaperBroker(folder / "paper.sqlite")
    instant = datetime(2021, 6, 28, 12, tzinfo=UTC)
    broker.get_instruments([Pair("EUR", "USD")])
    rate = Rate(value=0.0, as_of=instant, available_at=instant)
    for minute in range(2):
        at = instant + timedelta(minutes=minute)
        quotes = {Pair("EUR", "USD"): Quote(Decimal("1.19"), Decimal("1.19"), at)}
        broker.sync(Snapshot(at, quotes, {"EUR": rate, "USD": rate}))
        if not minute:
            broker.place_market_order(Order(client_id="one", instrument="EURUSD", units=Decimal(5000)))
    broker.close()
    before = broker.path.read_bytes()
    found = fxcarry_("carry", "--broker", "paper", "--universe", "JPY", "--at", "2021-06-29", "--json").data
    assert found["book"] == [{"instrument": "EURUSD", "units": 5000.0, "tonight": None}]
    assert found["tonight"] is None
    assert broker.path.read_bytes() == before


def test_what_is_wrong_with_the_broker_of_carry_is_told() -> None:
    run = fxcarry_("carry", "--broker", "papr")
    assert run.code == 2
    assert 'did you mean "paper"' in run.err
    run = fxcarry_("carry", "--broker", "paper", "--markup", "0.01")
    assert run.code == 2
    assert "--markup with --broker" in run.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--at", "2031-01-01"], 4, "2031-01-01 is outside the data"),
        (["--at", "2019-01-01"], 4, "2019-01-01 is outside the data"),
        (["--at", "soon"], 2, "'soon' is not a date"),
        (["--universe", "XXX"], 4, "no prices for XXX"),
    ],
)
def test_what_is_wrong_with_carry_is_told(arguments: list[str], code: int, said: str) -> None:
    run = fxcarry_("carry", *arguments)
    assert run.code == code
    assert said in run.err


# --- roll


@pytest.mark.parametrize(
    ("pair", "day", "value", "days"),
    [  # published conventions: a US holiday on Monday 2025-01-20, T+1 for USDCAD, a cross waits for the dollar
        ("EURUSD", "2025-03-12", "2025-03-14", 3),
        ("EURUSD", "2025-01-15", "2025-01-17", 4),
        ("EUR/USD", "2025-01-16", "2025-01-21", 0),
        ("AUD_JPY", "2025-01-15", "2025-01-17", 4),
        ("USDCAD", "2025-03-13", "2025-03-14", 3),
        ("USDCAD", "2025-01-16", "2025-01-17", 4),
        ("eurusd", "2025-01-17", "2025-01-21", 1),
    ],
)
def test_roll_days(pair: str, day: str, value: str, days: int) -> None:
    row = fxcarry_("roll", pair, day, "--json").data
    assert (row["pair"], row["trade_date"], row["value_date"]) == (str(Pair.parse(pair)), day, value)
    assert row["roll_days"] == days
    run = fxcarry_("roll", pair, day)
    assert run.out.split() == [
        row["pair"], "trade", "date", day, row["weekday"], "value", "date", value, "roll", "days", str(days),
    ]  # fmt: skip
    assert fxcarry_("roll", day, pair) == run


def test_roll_of_several_days_leaves_weekends_out() -> None:
    rows = fxcarry_("roll", "EURUSD", "2025-01-13", "--days", "6", "--json").data
    assert [row["weekday"] for row in rows] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Mon"]
    assert [row["roll_days"] for row in rows] == [1, 1, 4, 0, 1, 1]
    assert len(fxcarry_("roll", "EURUSD", "2025-01-13", "--days", "6").out.splitlines()) == 6


def test_roll_without_a_date_is_of_today() -> None:
    eurusd = Pair.parse("EURUSD")
    before = trade_date(datetime.now(UTC))
    row = fxcarry_("roll", "EURUSD", "--json").data
    assert date.fromisoformat(row["trade_date"]) in {before, trade_date(datetime.now(UTC))}
    day = date.fromisoformat(row["trade_date"])
    assert row["value_date"] == str(value_date(eurusd, day))
    assert row["roll_days"] == roll_days(eurusd, day)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["EURUSD", "2025-01-18"], "2025-01-18 is a Saturday, not a trade date"),
        (["EURUSD", "2025-13-01"], "'2025-13-01' is not a date"),
        (["EUR", "2025-01-15"], "'EUR' is not a currency pair"),
        (["EURUSD", "2025-01-15", "--days", "0"], "0 is not in the range"),
        ([], "Missing argument 'PAIR'"),
    ],
)
def test_what_is_wrong_with_roll_is_told(arguments: list[str], said: str) -> None:
    run = fxcarry_("roll", *arguments)
    assert run.code == 2
    assert said in run.err
    assert run.out == ""


# --- init and config


def test_init_writes_two_files_once(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert fxcarry_("init", "new").code == 0
    assert sorted(p.name for p in folder.iterdir()) == [".env", "fxcarry.toml"]
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    for name in ("ALPHAVANTAGE_API_KEY", "FRED_API_KEY", "BROKER"):
        assert name in (folder / ".env").read_text("utf-8")
    settings = tomllib.loads((folder / "fxcarry.toml").read_text("utf-8"))
    assert set(settings["strategies"]) == {"baseline", "optimized"}
    (folder / ".env").write_text("ALPHAVANTAGE_API_KEY=mine\n", "utf-8")
    again = fxcarry_("init", "new")
    assert again.code == 2
    assert re.search(r"is there already.*--force", again.err, re.DOTALL)
    assert (folder / ".env").read_text("utf-8") == "ALPHAVANTAGE_API_KEY=mine\n"
    assert fxcarry_("init", "new", "--force").code == 0
    assert "mine" not in (folder / ".env").read_text("utf-8")


def test_init_keeps_an_env_file_that_is_there_alone(tmp_path: Path) -> None:
    (tmp_path / "fxcarry.toml").unlink()
    (tmp_path / ".env").write_text("FRED_API_KEY=mine\n", "utf-8")
    assert fxcarry_("init").code == 2
    assert (tmp_path / ".env").read_text("utf-8") == "FRED_API_KEY=mine\n"
    assert not (tmp_path / "fxcarry.toml").exists()


def test_init_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    run = fxcarry_("init", "taken/new")
    assert run.code == 2
    assert "cannot write to taken/new" in run.err


def test_the_shown_configuration_is_one(tmp_path: Path) -> None:
    shown = fxcarry_("config", "show")
    assert shown.code == 0
    settings = tomllib.loads(shown.out)
    assert settings["account_currency"] == "USD"
    assert settings["feed"]["use"] == "file"
    assert settings["universe"] == OTHERS
    (tmp_path / "shown.toml").write_text(shown.out, "utf-8")
    assert fxcarry_("config", "show", "--config", "shown.toml") == shown
    assert fxcarry_("config", "show", "--json").data == settings


def test_an_unknown_key_in_the_env_file_is_told_and_never_its_value(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FXCARRY__MARCKUP=hunter2\n", "utf-8")
    run = fxcarry_("config", "show")
    assert run.code == 2
    assert "marckup: unknown key" in run.err
    assert "hunter2" not in run.err
    (tmp_path / ".env").write_text("hunter2\n", "utf-8")
    run = fxcarry_("config", "show")
    assert run.code == 2
    assert ".env, line 1" in run.err
    assert "hunter2" not in run.err


# --- a strategy of one's own

OWN = """
from __future__ import annotations
import dataclasses
import numpy as np

@dataclasses.dataclass
class Half:
    weight: float = 0.5
    def __call__(self, view, account):
        return {"AUD": self.weight}

def peek(history):
    end = dict(zip(history.currencies, history.spot[-1]))
    def ask(view, account):
        return {c: 0.1 * float(np.sign(end[c] - view.spot[c])) for c in ("AUD", "JPY")}
    return ask

def counting(view, account, calls=[]):
    calls.append(1)
    return {"AUD": 0.001 * len(calls)}

def average(view, account):
    past = view.spot_rows(2000)[:, 0]
    return {"AUD": float(np.nanmean(past)) / 10}

def flat(view, account):
    return {}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    """The path of a file with strategies of one's own."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(OWN, "utf-8")
    return "own/mine.py"


def test_a_strategy_of_ones_own_is_backtested_under_the_name_it_was_given(own: str, tmp_path: Path) -> None:
    summary = backtest("--strategy", f"{own}:Half", "--no-rules")
    assert summary["strategy"] == "own/mine.py:Half"
    head, rows = table(tmp_path / "fxcarry-results/own-mine.py-Half/weights.csv")
    assert float(rows[-1][1 + head[1:].index("AUD")]) == pytest.approx(0.5, abs=0.05)
    assert sorted(p.name for p in (tmp_path / "fxcarry-results").iterdir()) == ["own-mine.py-Half"]


# --- lookahead and warmup

YEAR = ("--start", "2020-06-01", "--every", "6")


def found(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and reports of a check."""
    run = fxcarry_(*arguments, "--json")
    assert run.err == ""
    reports = json.loads(run.out)
    assert isinstance(reports, list)
    return run.code, reports


def test_the_built_in_strategies_do_not_look_ahead() -> None:
    code, reports = found("lookahead", "--strategy", "baseline", "--strategy", "optimized", *YEAR)
    assert code == 0
    assert [report["strategy"] for report in reports] == ["baseline", "optimized"]
    for report in reports:
        assert set(report) == {"strategy", "decisions", "is_clean", "findings", "notes"}
        assert report["is_clean"]
        assert report["decisions"] == 4  # 19 months, each sixth
    run = fxcarry_("lookahead", "--strategy", "baseline", *YEAR)
    assert run.code == 0
    assert run.out.startswith("baseline: 4 decisions asked twice, with and without the future: no difference.\n")


def test_who_peeks_is_found_with_the_first_date_and_its_currencies(own: str) -> None:
    code, [report] = found("lookahead", "--factory", f"{own}:peek", "--universe", "AUD,JPY", *YEAR)
    assert code == 8
    assert report["strategy"] == "own/mine.py:peek"
    first = report["findings"][0]
    assert set(first) == {"at", "kind", "weights", "message"}
    assert (first["kind"], first["at"][:10]) == ("look-ahead", "2020-06-30")
    assert set(first["weights"]) <= {"AUD", "JPY"}
    run = installed("lookahead", "--factory", f"{own}:peek", "--universe", "AUD,JPY", *YEAR)
    assert (run.code, run.err) == (8, "")
    assert "own/mine.py:peek: looks ahead. First at 2020-06-30: " in run.out
    assert "knowing the future" in run.out


def test_whoever_answers_differently_is_not_clean_either(own: str) -> None:
    code, [report] = found("lookahead", "--strategy", f"{own}:counting", *YEAR)
    assert code == 8
    assert {finding["kind"] for finding in report["findings"]} == {"unstable"}


def test_a_configured_strategy_is_checked_as_it_is_configured(tmp_path: Path) -> None:
    with (tmp_path / "fxcarry.toml").open("a", encoding="utf-8") as file:
        file.write('[strategies.wide]\nuse = "baseline"\nk = 4\n')
    code, [report] = found("warmup", "--lengths", "60,125")
    assert code == 0
    assert report["strategy"] == "wide"
    assert sum(1 for weight in report["answers"][-1]["weights"].values() if weight) == 8


def test_warmup_says_from_how_many_rows_on(own: str) -> None:
    code, [report] = found("warmup", "--strategy", "optimized", "--lengths", "60,250,251,300", "--at", "2021-11-30")
    assert code == 0
    assert set(report) == {"strategy", "lengths", "tolerance", "is_settled", "rows", "needed", "answers"}
    assert report["rows"] == 251  # 250 returns
    assert report["answers"][-1]["at"][:10] == "2021-11-30"
    run = installed("warmup", "--strategy", f"{own}:average", "--lengths", "60,250", "--at", "2021-11-30")
    assert (run.code, run.err) == (8, "")
    assert "own/mine.py:average: the weights never settle within 250 rows of history: AUD." in run.out


@pytest.mark.parametrize("command", ["lookahead", "warmup", "backtest"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.py:best", "strategy file none.py does not exist"),
        ("own/mine.py:best", "own/mine.py has no 'best'.*it has Half, peek, counting"),
        ("none_such:best", "module none_such cannot be imported: ModuleNotFoundError"),
        ("own/mine.py:OWN", "own/mine.py has no 'OWN'"),
        ("own/mine.py:np", "which cannot be called"),
        ("own/mine.py:", "strategy 'own/mine.py:' is incomplete.*write it like"),
        ("basline", "no strategy 'basline'"),
    ],
)
def test_a_strategy_that_cannot_be_had_is_told(command: str, name: str, said: str, own: str, tmp_path: Path) -> None:
    run = fxcarry_(command, "--strategy", name)
    assert run.code == 2
    assert re.search(said, run.err, re.DOTALL), run.err
    assert run.out == ""
    assert not (tmp_path / "fxcarry-results").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["lookahead", "--every", "0"], 2, "0 is not in the range"),
        (["lookahead", "--start", "2010-01-01"], 4, "2010-01-01 is outside the data"),
        (["lookahead", "--strategy", "sign", "--strategy", "sign"], 2, "one strategy twice"),
        (["warmup", "--lengths", "60,many"], 2, "--lengths '60,many' is not a list of numbers"),
        (["warmup", "--lengths", "60.5"], 2, "whole numbers of rows"),
        (["warmup"], 4, "1000"),  # the data have 520 rows
        (["warmup", "--at", "soon"], 2, "at 'soon' is not a date"),
    ],
)
def test_what_is_wrong_with_a_check_is_told(arguments: list[str], code: int, said: str) -> None:
    run = fxcarry_(*arguments)
    assert run.code == code
    assert said in run.err
    assert run.out == ""


# --- stress

ROW = {
    "scenario", "start", "end", "is_hypothetical", "note", "is_computable", "worst_currency", "pnl", "change",
    "by_currency", "margin_used", "margin_available", "margin_ratio", "stops", "is_closed_out", "nav_after",
    "remaining", "missing", "assumed_zero",
}  # fmt: skip


def test_a_book_of_ones_own_is_stressed_by_hand() -> None:
    """yen-2024: AUD fell by 3.6 %, the yen rose by 10.8 %: half of each is 7.2 % of NAV."""
    told = fxcarry_("stress", "--weights", "aud=0.5, JPY=-0.5", "--scenario", "yen-2024", "--json").data
    assert set(told) == {"strategy", "date", "weights", "nav", "account_currency", "rows", "assumptions"}
    assert (told["strategy"], told["date"], told["nav"]) == (None, None, 1_000_000)
    assert told["weights"] == {"AUD": 0.5, "JPY": -0.5}
    [row] = told["rows"]
    assert set(row) == ROW
    assert row["pnl"] == pytest.approx(-72_000)
    assert row["by_currency"] == pytest.approx({"AUD": -18_000, "JPY": -54_000})
    assert row["stops"] == ["USDJPY"]
    assert not row["is_closed_out"]


def test_the_book_of_a_strategy_is_stressed_worst_first() -> None:
    told = fxcarry_("stress", "--at", "2021-06-30", "--json").data
    assert (told["strategy"], told["date"]) == ("baseline", "2021-06-30")
    assert sorted(round(3 * w) for w in told["weights"].values()) == [-1, -1, -1, 1, 1, 1]
    assert len(told["rows"]) == 16
    after = [row["nav_after"] for row in told["rows"] if row["is_computable"]]
    assert after == sorted(after)
    assert told["rows"][0]["scenario"] == "carry-gap"
    # 20 % against each of six thirds, before open profits
    assert told["rows"][0]["change"] == pytest.approx(-0.4, abs=0.03)
    last = fxcarry_("stress", "--strategy", "sign", "--json").data
    assert (last["strategy"], last["date"]) == ("sign", str(LAST))


def test_the_table_of_a_stress_test_in_a_process_of_its_own(own: str) -> None:
    run = installed("stress", "--strategy", f"{own}:Half", "--at", "2021-06-30")
    assert (run.code, run.err) == (0, "")
    first, *lines = run.out.splitlines()
    assert re.match(
        r"The book of own/mine.py:Half at the end of 2021-06-30, without risk rules: AUD \+0\.\d\d\.", first
    )
    assert re.match(r"scenario +dates +P&L +worst +stops +closed +NAV after +ratio", lines[1])
    assert lines[2].startswith("crash-quarter-2008")
    assert sum(line.startswith(("lira", "peso", "covid", "yen", "carry")) for line in lines) == 9
    assert "nothing is held" in fxcarry_("stress", "--strategy", f"{own}:flat").out


def test_the_scenarios_are_listed() -> None:
    listed = fxcarry_("stress", "--list", "--json").data
    assert len(listed) == 16
    assert set(listed[0]) == {
        "scenario", "start", "end", "is_hypothetical", "moves", "by_side", "spread_multiplier", "note",
    }  # fmt: skip
    assert listed[0]["moves"]["JPY"] == 0.094
    text = fxcarry_("stress", "--list").out
    assert all(row["scenario"] in text for row in listed)
    assert "carry-gap          hypothetical" in text
    assert len(fxcarry_("stress", "--list", "--scenario", "yen-2024", "--json").data) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--scenario", "yen2024"], 2, "no scenario 'yen2024'.*did you mean 'yen-2024'"),
        (["--weights", "AUD"], 2, "--weights has 'AUD'.*AUD=0.3,JPY=-0.3"),
        (["--weights", "AUD=0.1,aud=0.2"], 2, "--weights names AUD twice"),
        (["--weights", "AUD=nan"], 2, "weight of AUD"),
        (["--weights", "AUD=0.1", "--at", "2021-06-30"], 2, "--weights is a book already"),
        (["--weights", "AUD=70"], 2, "close-out level already"),
        (["--at", "2031-01-01"], 4, "2031-01-01 is outside the data"),
    ],
)
def test_what_is_wrong_with_a_stress_test_is_told(arguments: list[str], code: int, said: str) -> None:
    run = fxcarry_("stress", *arguments)
    assert run.code == code
    assert re.search(said, run.err, re.DOTALL), run.err
    assert run.out == ""


# --- the main job, on its own data


@pytest.mark.ecb
def test_the_main_job_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "fxcarry.toml").unlink()
    run = installed("backtest", "--start", "2015-01-01", "--end", "2016-12-30", "--json", "--output", "out")
    assert run.err == ""
    assert [summary["strategy"] for summary in run.data] == ["baseline", "optimized"]
    for summary in run.data:
        folder = tmp_path / "out" / summary["strategy"]
        assert sorted(path.name for path in folder.iterdir()) == FILES
        assert json.loads((folder / "summary.json").read_text("utf-8")) == summary
        assert set(summary) >= KEYS
        assert (summary["start"], summary["end"]) == ("2015-01-01", "2016-12-30")
        assert sorted(summary["universe"]) == OTHERS
        assert summary["turnover"] > 0
    # the franc was let go on 2015-01-15, and that is in these prices
    _, rows = table(tmp_path / "out/baseline/weights.csv")
    assert rows[0][0] == "2015-01-01"


@pytest.mark.ecb
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--universe", "EUR,TRY"], 4, "no rates for TRY"),
        (["--universe", "EUR,XXX"], 4, "no prices for XXX"),
        (["--start", "1998-01-01"], 4, "1998-01-01 is outside the data: prices run from 1999-01-0"),
        (["--end", "2099-01-01"], 4, "2099-01-01 is outside the data"),
        (["--universe", "EUR,ISK", "--start", "2009-06-01", "--end", "2010-06-01"], 4, "ISK"),
    ],
)
def test_what_the_ecb_data_cannot_carry_is_told(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "fxcarry.toml").unlink()
    run = fxcarry_("backtest", *arguments)
    assert run.code == code
    assert said in run.err
    assert not (tmp_path / "fxcarry-results").exists()


@pytest.mark.ecb
def test_what_init_writes_is_what_holds_without_it(tmp_path: Path) -> None:
    (tmp_path / "fxcarry.toml").unlink()
    short = ("--start", "2015-01-01", "--end", "2015-06-30", "--json")
    without = fxcarry_("backtest", *short).data
    assert fxcarry_("init").code == 0
    with_file = fxcarry_("backtest", *short).data
    assert [s["strategy"] for s in with_file] == [s["strategy"] for s in without]
    for a, b in zip(with_file, without):
        assert a["markup"] == b["markup"]
        assert a["rules"] == b["rules"]
        assert sorted(a["universe"]) == sorted(b["universe"])
        assert a["final_nav"] == pytest.approx(b["final_nav"], abs=0.05)


@pytest.mark.ecb
def test_the_carry_table_of_a_known_day(tmp_path: Path) -> None:
    """2008-06-30: the Fed at 2.00 %, the RBA at 7.25, the Bank of Japan at 0.50; EURUSD fixed at 1.5764."""
    (tmp_path / "fxcarry.toml").unlink()
    rows = {row["currency"]: row for row in fxcarry_("carry", "--at", "2008-06-30", "--json").data["rows"]}
    assert rows["AUD"]["rate"] == pytest.approx(0.0725)
    assert rows["AUD"]["carry"] == pytest.approx(0.0525)
    assert rows["JPY"]["carry"] == pytest.approx(-0.015)
    assert rows["EUR"]["spot"] == pytest.approx(1.5764)
