"""``fxcarry run`` as a process of its own: killed at any moment, controlled from another process, refused twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
from forked import Process

import fxcarry
from fxcarry.journal import SqliteJournal
from fxcarry.testing import market_history

pytest.importorskip("fxcarry_paper", reason="the paper account is a plugin")

G9 = ("AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK")
FIRST, UNTIL = "2020-01-08", "2020-06-03"  # no decision waits for its fill then
COMMAND = Path(sys.executable).with_name("fxcarry")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A year of made-up prices and rates as files."""
    folder = tmp_path_factory.mktemp("market")
    days = np.busday_offset(np.datetime64("2020-01-01"), np.arange(262)).tolist()
    history = market_history(G9, days=len(days), start=date(2020, 1, 1), seed=4)
    rows = [",".join(map(str, (d, *map(float, row)))) for d, row in zip(days, history.spot)]
    (folder / "prices.csv").write_text("\n".join([",".join(["date", *G9]), *rows, ""]), "utf-8")
    codes = sorted(history.rates)
    rates = zip(*(history.rates[c].value for c in codes))
    rows = [",".join(map(str, (d, *map(float, row)))) for d, row in zip(days[::21], rates)]
    (folder / "rates.csv").write_text("\n".join([",".join(["date", *codes]), *rows, ""]), "utf-8")
    return folder


@pytest.fixture
def desk(market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fxcarry.toml").write_text(
        f'rebalance = "weekly"\n[feed]\nuse = "file"\nprices = "{market}/prices.csv"\nrates = "{market}/rates.csv"\n'
        '[strategies.baseline]\nuse = "baseline"\n',
        "utf-8",
    )
    return tmp_path


def start(*arguments: str) -> Process:
    return forked.start(*arguments)


def replay(*arguments: str) -> Process:
    return start("run", "--json", "--replay", FIRST, "--until", UNTIL, *arguments)


def finished(process: Process) -> Any:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def told(*arguments: str) -> Any:
    return finished(start(*arguments, "--json"))


def rows(path: Path, query: str) -> Sequence[Any]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return db.execute(query).fetchall()


@cache
def backtested() -> float:
    """The same on every desk."""
    return float(fxcarry.backtest("baseline", config="fxcarry.toml", start=FIRST, end=UNTIL).stats["final_nav"])


def looks(folder: Path) -> int:
    path = folder / "fxcarry-state" / "journal.sqlite"
    try:
        return int(rows(path, "SELECT count(*) FROM heartbeats")[0][0])
    except sqlite3.OperationalError:  # not made yet
        return 0


def await_looks(folder: Path, count: int) -> None:
    until = time.monotonic() + 60
    while looks(folder) < count:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_replay_on_paper_ends_where_the_backtest_ends(desk: Path) -> None:
    run = subprocess.run(  # as it is installed; the other tests fork
        [COMMAND, "run", "--json", "--replay", FIRST, "--until", UNTIL],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    end = json.loads(run.stdout)
    assert end["nav"] == pytest.approx(backtested(), abs=0.005)
    assert end["looks"] > 95
    assert end["orders_unresolved"] == []
    parity = told("parity")
    assert parity["differences"] == []
    assert parity["recorded"] == parity["replayed"] > 300
    again = replay()
    out, err = again.communicate(timeout=60)
    assert json.loads(out)["looks"] == 0
    assert f"nothing to do: the last look was at {end['last_look']}" in err


def kill_at_random(folder: Path, chance: random.Random, most: int) -> int:
    """Start a replay, kill it, start it again, until it comes to its end or ``most`` kills are done; how many were."""
    kills = 0
    while kills < most:
        process = replay()
        until, wanted = time.monotonic() + 60, looks(folder) + chance.randrange(1, 9)
        while looks(folder) < wanted and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.005)
        time.sleep(chance.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        if process.returncode != -signal.SIGKILL:
            break  # it came to its end
        kills += 1
    return kills


def test_killed_at_random_it_ends_with_the_same_account_and_no_order_twice(desk: Path) -> None:
    """Twenty kills; TORTURE_KILLS of them in ``nox -s torture``, a replay after the other."""
    chance, wanted, kills, nav = random.Random(7), int(os.environ.get("TORTURE_KILLS", "20")), 0, backtested()
    while kills < wanted:
        kills += kill_at_random(desk, chance, wanted - kills)
        check_account(desk, nav)
        if kills < wanted:
            shutil.rmtree(desk / "fxcarry-state")
    assert kills == wanted


def check_account(folder: Path, expected: float) -> None:
    """What must be true after a replay that was killed and started again."""
    end = finished(replay())
    state = folder / "fxcarry-state"
    nav = float(rows(state / "journal.sqlite", "SELECT day_start FROM states ORDER BY seq DESC LIMIT 1")[0][0])
    assert nav == pytest.approx(expected, abs=0.005)
    assert end["orders_unresolved"] == []
    for table, column in (("intents", "client_id"), ("transactions", "id")):
        [(every, different)] = rows(state / "journal.sqlite", f"SELECT count(*), count(DISTINCT {column}) FROM {table}")
        assert every == different > 0
    ours = {i for (i,) in rows(state / "journal.sqlite", "SELECT id FROM transactions")}
    venue = {i for (i,) in rows(state / "paper.sqlite", "SELECT id FROM transactions")}
    assert ours == venue
    query = "SELECT count(*), count(DISTINCT instrument || trade_date) FROM transactions WHERE kind = 'financing'"
    [(posted, once)] = rows(state / "journal.sqlite", query)
    assert posted == once > 0  # no night is paid twice


def test_a_second_engine_is_refused_with_the_pid_of_the_first(desk: Path) -> None:
    first = replay("--speed", "1000000")
    try:
        await_looks(desk, 1)
        second = replay()
        _, err = second.communicate(timeout=60)
        assert second.returncode not in (0, 1)
        assert str(first.pid) in err
    finally:
        first.kill()
        first.communicate(timeout=60)


def test_two_state_folders_on_one_account_are_refused_too(desk: Path) -> None:
    with (desk / "fxcarry.toml").open("a", encoding="utf-8") as config:
        config.write('[broker]\nuse = "paper"\npath = "shared.sqlite"\n')
    first = replay("--speed", "1000000")
    try:
        await_looks(desk, 1)
        second = replay("--state", "other")
        _, err = second.communicate(timeout=60)
        assert second.returncode not in (0, 1)
        assert f"the account is traded by process {first.pid}" in err
    finally:
        first.kill()
        first.communicate(timeout=60)
    assert finished(replay())["nav"] == pytest.approx(backtested(), abs=0.005)


def test_sigterm_finishes_the_look_in_hand_and_stops_cleanly(desk: Path) -> None:
    process = replay("--speed", "1000000")
    await_looks(desk, 3)
    process.terminate()
    end = finished(process)
    assert 3 <= end["looks"] < 95
    assert finished(replay())["nav"] == pytest.approx(backtested(), abs=0.005)


def test_pause_resume_and_flatten_from_another_process(desk: Path) -> None:
    process = replay("--speed", "1000000")
    await_looks(desk, 12)
    assert told("status")["pid"] == process.pid
    told("flatten", "--reason", "drill")
    await_looks(desk, looks(desk) + 8)  # a decision is due in these
    process.terminate()
    process.communicate(timeout=120)
    now = told("status")
    assert (now["trading"], now["latch"], now["running"]) == ("halted", "OPERATOR", False)
    assert now["commands_waiting"] == []
    journal = desk / "fxcarry-state" / "journal.sqlite"
    held = rows(journal, "SELECT instrument, SUM(CAST(units AS REAL)) FROM transactions WHERE kind = 'fill' GROUP BY 1")
    assert held
    assert all(abs(units) < 1e-9 for _, units in held)  # everything was closed, and nothing opened since
    assert rows(journal, "SELECT kind, reason FROM commands") == [("flatten", "drill")]
    refused = start("resume", "--json")
    _, err = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert "resume needs a reason" in err


@pytest.mark.parametrize("looked", [9, 14])
def test_flatten_works_while_the_engine_is_stopped(desk: Path, looked: int) -> None:
    """SIGSTOP holds the process wherever it is, in the middle of a write too; it obeys nothing but SIGKILL."""
    process = replay()
    await_looks(desk, looked)
    process.send_signal(signal.SIGSTOP)
    done = told("flatten", "--reason", "it hangs", "--patience", "0.2")
    assert done["killed"] == process.pid
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    now = told("status")
    assert (now["trading"], now["latch"], now["running"]) == ("halted", "OPERATOR", False)
    assert now["commands_waiting"] == []
    end = finished(replay())  # the next engine closes what is left, and opens nothing
    assert (end["trading"], end["latch"]) == ("halted", "OPERATOR")
    paper = rows(desk / "fxcarry-state" / "paper.sqlite", "SELECT state FROM account")
    held = json.loads(paper[0][0])["positions"]
    assert all(units[0] == 0 for units in held.values())


def test_flatten_without_an_engine_closes_from_here(desk: Path) -> None:
    finished(start("run", "--json", "--replay", FIRST, "--until", "2020-02-05"))
    done = told("flatten")
    assert (done["taken_by"], done["killed"]) == ("this process", None)
    assert len(done["closing"]) == len(done["open"]) > 0
    assert told("flatten")["open"].keys() == done["open"].keys()  # again: nothing is sold twice
    finished(replay())
    state = json.loads(rows(desk / "fxcarry-state" / "paper.sqlite", "SELECT state FROM account")[0][0])
    assert all(units[0] == 0 for units in state["positions"].values())


def test_a_pause_opens_nothing_until_it_is_lifted(desk: Path) -> None:
    finished(start("run", "--json", "--replay", FIRST, "--until", "2020-02-05"))
    journal = desk / "fxcarry-state" / "journal.sqlite"
    told("pause", "--reason", "holiday")

    def opened() -> int:
        return int(rows(journal, "SELECT count(*) FROM intents WHERE is_reducing = 0")[0][0])

    before = opened()
    finished(start("run", "--json", "--replay", FIRST, "--until", "2020-03-10"))
    assert told("status")["latch"] == "PAUSE"
    assert opened() == before > 0
    told("resume", "--reason", "back")
    finished(replay())
    assert told("status")["trading"] == "active"
    assert opened() > before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status",), "fxcarry-state"),
        (("pause",), "fxcarry-state"),
        (("run", "--replay", "1990-01-01"), "outside the data"),
        (("run", "--replay", "2020-03-01", "--until", "2020-02-01"), "is after end"),
        (("run", "--strategy", "baselin", "--replay", FIRST), "baselin"),
    ],
)
def test_what_is_wrong_is_told(arguments: tuple[str, ...], said: str, desk: Path) -> None:
    process = start(*arguments)
    _, err = process.communicate(timeout=60)
    assert process.returncode not in (0, 1), err
    assert said in err
    assert "Traceback" not in err


def test_live_mode_is_refused(desk: Path) -> None:
    (desk / "fxcarry.toml").write_text('mode = "live"\n', "utf-8")
    process = start("run", "--strategy", "baseline", "--replay", FIRST)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert 'mode = "live" on the paper broker' in err
    assert not os.path.exists("fxcarry-state/paper.sqlite")


def test_flatten_halts_an_account_that_has_never_been_looked_at(desk: Path) -> None:
    """The journal is there, a state is not: the next engine finds everything closed and itself halted."""
    (desk / "fxcarry-state").mkdir()
    with SqliteJournal(desk / "fxcarry-state" / "journal.sqlite", account_id="paper"):
        pass  # made
    told("flatten", "--reason", "never mind")
    now = told("status")
    assert (now["trading"], now["latch"], now["day_start"]) == ("halted", "OPERATOR", None)
    end = finished(replay())
    assert (end["trading"], end["latch"], end["nav"]) == ("halted", "OPERATOR", 1_000_000.0)
    assert end["day_start"] == 1_000_000.0
