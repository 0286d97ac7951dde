"""fxcarry.trials: what counts as a trial, what survives a crash, and several processes at once."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fxcarry
from fxcarry import statistics, trials
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.trials import Trial, TrialRegistry, default_path, family_of

R = [0.012, -0.008, 0.015, 0.004, -0.031, 0.009, 0.011, -0.004, 0.018, -0.052, 0.021, 0.007]
BASE = {"strategy": "baseline", "k": 3, "universe": ["EUR", "JPY", "AUD"], "account_currency": "USD"}


@pytest.fixture
def registry(tmp_path: Path) -> TrialRegistry:
    return TrialRegistry(tmp_path / "deep" / "trials.jsonl")


def without_system_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "fcntl", None)


# --- where -----------------------------------------------------------------------------------------------------------


def test_the_default_path(monkeypatch, tmp_path):
    monkeypatch.delenv("FXCARRY_TRIALS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert default_path() == tmp_path / ".fxcarry" / "trials.jsonl"
    monkeypatch.setenv("FXCARRY_TRIALS", "  ")
    assert default_path() == tmp_path / ".fxcarry" / "trials.jsonl"
    monkeypatch.setenv("FXCARRY_TRIALS", "~/mine.jsonl")
    assert default_path() == tmp_path / "mine.jsonl"
    assert TrialRegistry().path == default_path()
    assert TrialRegistry(str(tmp_path / "x")).path == tmp_path / "x"


def test_importing_making_and_reading_write_nothing(tmp_path):
    code = (
        "import fxcarry, fxcarry.trials as t\n"
        "r = t.TrialRegistry()\n"
        "assert (r.count(), r.trials(), r.sharpes(260), r.variance(260), r.notes) == (0, [], [], None, ())\n"
    )
    environment = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_a_path_that_cannot_be_written_or_read(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "trials.jsonl", tmp_path):  # below a file; a folder
        with pytest.raises(ConfigError, match="no trial can be recorded") as caught:
            TrialRegistry(path).record(BASE, R, 12)
        assert str(path) in str(caught.value)
        assert "FXCARRY_TRIALS" in caught.value.hint
        with pytest.raises(ConfigError, match="cannot be read"):
            TrialRegistry(path).count()


# --- what is recorded ------------------------------------------------------------------------------------------------


def test_a_line_says_what_was_tried_and_what_came_of_it(registry):
    before = datetime.now(UTC)
    made = registry.record(BASE, pd.Series(R), 12)
    [line] = registry.path.read_text(encoding="utf-8").splitlines()
    fields = json.loads(line)
    assert list(fields) == [
        "key", "name", "configuration", "n", "sharpe", "skew", "kurtosis", "periods", "recorded_at", "version",
    ]  # fmt: skip
    canonical = '{"account_currency":"USD","k":3,"strategy":"baseline","universe":["EUR","JPY","AUD"]}'
    assert fields["key"] == hashlib.sha256(canonical.encode()).hexdigest()
    assert fields["configuration"] == BASE
    assert (fields["name"], fields["n"], fields["periods"]) == ("baseline", 12, 12)
    assert fields["sharpe"] == pytest.approx(0.0266940759 / math.sqrt(12), abs=1e-9)
    assert fields["skew"] == pytest.approx(-1.4160347012, abs=1e-9)
    assert fields["kurtosis"] == pytest.approx(3.9582760446, abs=1e-9)
    assert fields["version"] == fxcarry.__version__
    at = datetime.fromisoformat(fields["recorded_at"])
    assert at.utcoffset() == timedelta(0)
    assert before <= at <= datetime.now(UTC)
    assert registry.trials() == [made]
    assert type(made) is Trial


def test_the_same_configuration_counts_once_and_its_latest_figures_stand(registry):
    registry.record(BASE, R, 12)
    registry.record({**BASE, "k": 2}, R, 12)
    respelled = dict(reversed(list(BASE.items()))) | {"k": 3.0, "universe": ("EUR", "JPY", "AUD")}
    registry.record(respelled, R[:6], 12, name="again")
    assert registry.count() == 2
    first, second = registry.trials()
    assert (first.n, first.name, second.n) == (6, "again", 12)
    assert first.sharpe == statistics.sharpe(R[:6], 1)
    assert len(registry.path.read_bytes().splitlines()) == 3  # nothing is ever taken away


@pytest.mark.parametrize(
    "change", [{"k": 4}, {"k": 3.5}, {"k": True}, {"k": "3"}, {"k": None}, {"more": [1, {"a": 2}]}]
)
def test_another_setting_is_another_trial(registry, change):
    registry.record(BASE, R, 12)
    registry.record({**BASE, **change}, R, 12)
    assert registry.count() == 2


def test_numpy_numbers_are_numbers(registry):
    registry.record({"k": np.int64(3), "markup": np.float64(0.01)}, R, 12)
    registry.record({"k": 3, "markup": 0.01}, R, 12)
    assert registry.count() == 1


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"a": math.nan}, "configuration.a"),
        ({"a": [1, math.inf]}, r"configuration.a\[1\]"),
        ({"a": {"b": object()}}, "configuration.a.b"),
        ({1: 2}, "configuration is"),
        ({"a": {1, 2}}, "configuration.a"),
    ],
)
def test_a_configuration_that_is_not_json(registry, bad, where):
    with pytest.raises(ConfigError, match=where):
        registry.record(bad, R, 12)
    assert not registry.path.exists()


def test_returns_that_cannot_be_recorded_leave_no_line(registry):
    with pytest.raises(MissingDataError, match="nan"):
        registry.record(BASE, [0.01, math.nan], 12)
    with pytest.raises(DataError, match="too few"):
        registry.record(BASE, [0.01], 12)
    with pytest.raises(ConfigError, match="periods a year"):
        registry.record(BASE, R, 0)
    assert not registry.path.exists()


def test_returns_that_never_move_are_a_trial_without_a_ratio(registry):
    made = registry.record(BASE, [0.0] * 20, 260)
    assert (made.sharpe, made.skew, made.kurtosis) == (None, None, None)
    assert registry.count() == 1
    assert registry.sharpes(260) == []
    assert registry.variance(260) is None
    assert registry.trials() == [made]


# --- what it is for --------------------------------------------------------------------------------------------------


def test_ratios_and_variance_in_the_units_asked_for(registry):
    daily = np.random.default_rng(0).normal(0.0005, 0.01, (4, 500))
    for k, r in enumerate(daily):
        registry.record({**BASE, "k": k}, r, 260)
    registry.record({**BASE, "k": "monthly"}, R, 12)
    annual = [statistics.sharpe(r, 260) for r in daily] + [statistics.sharpe(R, 12)]
    assert registry.sharpes(1) == pytest.approx(annual)
    assert registry.sharpes(260) == pytest.approx([s / math.sqrt(260) for s in annual])
    assert registry.sharpes(12)[-1] == pytest.approx(statistics.sharpe(R, 1))
    assert registry.variance(1) == pytest.approx(np.var(annual, ddof=1))
    assert registry.variance(260) == pytest.approx(np.var(annual, ddof=1) / 260)


def test_a_family_is_a_universe_in_an_account_currency(registry):
    assert family_of(BASE) == "USD: AUD,EUR,JPY"
    assert family_of({**BASE, "universe": "JPY, EUR,AUD", "rules": ["drawdown"]}) == "USD: AUD,EUR,JPY"
    assert family_of({"k": 1}) == "?: "
    registry.record(BASE, R, 12)
    registry.record({**BASE, "k": 2, "costs": None}, R[:8], 12)
    registry.record({**BASE, "universe": ["EUR", "JPY"]}, R, 12)
    registry.record({**BASE, "account_currency": "EUR"}, R, 12)
    family = family_of(BASE)
    assert registry.count() == 4
    assert registry.count(family) == 2
    assert [t.family for t in registry.trials(family)] == [family] * 2
    assert len(registry.sharpes(12, family)) == 2
    assert registry.variance(12, family) == pytest.approx(
        (statistics.sharpe(R, 1) - statistics.sharpe(R[:8], 1)) ** 2 / 2
    )
    assert registry.variance(12, "USD: EUR,JPY") is None
    assert registry.count("GBP: ") == 0


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_an_unfinished_last_line_is_skipped_noted_and_removed(registry, kept):
    registry.record(BASE, R, 12)
    whole = registry.path.read_bytes()
    registry.record({**BASE, "k": 2}, R, 12)
    torn = registry.path.read_bytes()[len(whole) :][:kept]
    registry.path.write_bytes(whole + torn)
    assert registry.count() == 1
    assert registry.notes == (f"{registry.path}: line 2 is unfinished and was skipped",)
    registry.record({**BASE, "k": 4}, R, 12)
    assert registry.path.read_bytes().startswith(whole)
    assert [t.configuration["k"] for t in registry.trials()] == [3, 4]
    assert registry.notes == ()


def test_a_torn_first_line_longer_than_one_read(registry):
    registry.path.parent.mkdir()
    registry.path.write_bytes(b'{"key": "' + b"x" * 200_000)
    assert registry.count() == 0
    registry.record(BASE, R, 12)
    assert len(registry.path.read_bytes()) < 1000
    assert registry.count() == 1


def test_a_last_line_that_lacks_only_its_newline_counts(registry):
    registry.record(BASE, R, 12)
    registry.path.write_bytes(registry.path.read_bytes().rstrip(b"\n"))
    assert (registry.count(), registry.notes) == (1, ())
    registry.record({**BASE, "k": 2}, R, 12)
    assert (registry.count(), registry.notes) == (2, ())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line[:30],
        lambda line: b"{}",
        lambda line: b"[1, 2]",
        lambda line: b"\xff\xfe",
        lambda line: line.replace(b'"n": 12', b'"n": "many"'),
        lambda line: line.replace(b'"periods": 12.0', b'"periods": -12.0'),
        lambda line: line.replace(b'"sharpe": 0', b'"sharpe": NaN, "x": 0'),
        lambda line: line.replace(b"+00:00", b""),
        lambda line: line.replace(b'"configuration": {', b'"configuration": 3, "other": {'),
    ],
)
def test_a_broken_line_in_the_middle_is_an_error_that_names_it(registry, spoil):
    for k in range(3):
        registry.record({**BASE, "k": k}, R, 12)
    lines = registry.path.read_bytes().splitlines()
    spoiled = spoil(lines[1])
    assert spoiled != lines[1]
    registry.path.write_bytes(b"\n".join([lines[0], spoiled, lines[2], b""]))
    with pytest.raises(DataError, match="line 2") as caught:
        registry.count()
    assert caught.value.fields == {"path": str(registry.path), "line": 2}
    assert "copy" in caught.value.hint
    registry.path.write_bytes(b"\n".join([lines[0], spoiled, b""]))  # whole, so no crash left it
    with pytest.raises(DataError, match="line 2"):
        registry.count()


def test_a_full_disk_leaves_the_file_as_it_was(registry, monkeypatch):
    registry.record(BASE, R, 12)
    before = registry.path.read_bytes()
    write = trials.os.write
    monkeypatch.setattr(trials.os, "write", lambda file, line: write(file, line[:10]))
    with pytest.raises(ConfigError, match="disk is full"):
        registry.record({**BASE, "k": 2}, R, 12)
    monkeypatch.undo()
    assert registry.path.read_bytes() == before


# --- several processes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_locks", [True, False])
def test_several_processes_record_at_once(registry, has_locks):
    pytest.importorskip("fcntl")
    code = (
        "import sys\n"
        "from fxcarry import trials\n"
        f"trials.fcntl = trials.fcntl if {has_locks} else None\n"
        f"r = trials.TrialRegistry({str(registry.path)!r})\n"
        "for i in range(40):\n"
        "    r.record({'who': sys.argv[1], 'i': i, 'text': 'x' * 3000}, [0.01, 0.02, -0.01], 12)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(who)]) for who in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert registry.count() == 120
    assert registry.notes == ()
    assert [path.name for path in registry.path.parent.iterdir()] == ["trials.jsonl"]


def test_a_lock_file_left_behind_is_named(registry, monkeypatch):
    without_system_locks(monkeypatch)
    registry.record(BASE, R, 12)
    monkeypatch.setattr(trials, "_PATIENCE", 0.02)
    lock = registry.path.with_name("trials.jsonl.lock")
    lock.touch()
    with pytest.raises(ConfigError, match=r"trials.jsonl.lock has been there") as caught:
        registry.record({**BASE, "k": 2}, R, 12)
    assert "delete it" in caught.value.hint
    lock.unlink()
    registry.record({**BASE, "k": 2}, R, 12)
    assert registry.count() == 2
    assert not lock.exists()
