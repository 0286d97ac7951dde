"""``fxcarry plan``, ``apply``, and what a running account leaves in its folder, as commands."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from fxcarry.cli import cli
from fxcarry.cli.desk import may_trade
from fxcarry.cli.shared import load
from fxcarry.errors import ConfigError
from fxcarry.journal import SqliteJournal, export
from fxcarry.model import Instrument, Pair
from fxcarry.secrets import Secret

pytest.importorskip("fxcarry_paper", reason="the paper account is a plugin")
pytest.importorskip("fxcarry_ecb", reason="the market is that of a plugin")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two weeks leave."""
    folder = tmp_path_factory.mktemp("two-weeks") / "fxcarry-state"
    told("run", "--strategy", "baseline", "--replay", "2007-06-25", "--until", "2007-07-10", "--state", str(folder))
    return folder


@pytest.fixture
def desk(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(state, tmp_path / "fxcarry-state")
    return tmp_path


def told(*arguments: str, code: int = 0) -> Any:
    done = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_a_plan_is_shown_kept_and_carried_out(desk: Path) -> None:
    plan = told("plan", "--at", "2007-07-12")
    assert plan["trading"] == "active"
    assert {o["instrument"] for o in plan["orders"]} <= plan["held"].keys()
    assert plan["cost"] >= 0
    assert plan["carry_week"] > 0
    done = told("apply", plan["plan"], "--at", "2007-07-12")
    assert done == {"plan": plan["plan"], "command": 1, "by": "this process", "carried_out": True, "why": None}
    with SqliteJournal.existing(desk / "fxcarry-state" / "journal.sqlite") as journal:
        sent = {o.instrument: float(o.units) for o in journal.orders[-len(plan["orders"]) :]}
        assert sent == {o["instrument"]: o["units"] for o in plan["orders"]}
        assert [(r["kind"], r["reason"]) for r in journal.table("commands")] == [("apply", plan["plan"])]


def test_a_plan_of_another_day_is_refused_with_exit_code_8(desk: Path) -> None:
    plan = told("plan", "--at", "2007-07-12")
    done = told("apply", plan["plan"], "--at", "2007-07-13", code=8)
    assert done["carried_out"] is False
    assert "more than 0:15:00 from now" in done["why"]
    status = told("status")
    assert any("plan-refused" in line for line in status["alerts"])


def test_the_text_of_a_plan_reads_like_a_ticket(desk: Path) -> None:
    shown = CliRunner().invoke(cli, ["plan", "--at", "2007-07-12"], catch_exceptions=False).stdout
    lines = shown.splitlines()
    assert lines[0].endswith("of 2007-07-12 21:00 UTC; trading is active")
    assert lines[1].startswith("NAV ")
    assert any(line.startswith("  max-position") for line in lines)
    assert "carry of the book in the week after" in shown
    assert lines[-1].startswith("carry it out within 15 minutes with: fxcarry apply ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("apply", "nope"), "there is no plan 'nope'"),
        (("plan", "--at", "soon"), "--at 'soon' is no date or instant"),
        (("plan", "--at", "2007-07-12T12:00"), "has no offset"),
        (("plan", "--strategy", "nonesuch"), "nonesuch"),
    ],
)
def test_what_is_wrong_is_said(arguments: Sequence[str], message: str, desk: Path) -> None:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code != 0
    assert message in str(result.exception)


def test_the_folder_has_a_log_of_json_lines_and_a_performance_log(desk: Path) -> None:
    folder = desk / "fxcarry-state"
    records = [json.loads(line) for line in (folder / "trading_system.log").read_text("utf-8").splitlines()]
    assert {"at", "level", "logger", "message"} <= records[0].keys()
    assert records[0]["message"] == "engine-start: the engine runs on paper"
    assert records[-1]["message"].startswith("engine-stop: the engine stopped after ")
    days = (folder / "performance_log.csv").read_text("utf-8").splitlines()
    assert days[1].startswith("2007-06-25,1000000.0,")
    assert days[-1].startswith("2007-07-10,")


def test_no_secret_is_in_the_journal_the_log_or_an_export(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that a part has revealed, and that comes back in the venue's errors, commands and reasons."""
    from fxcarry.alerts import AlertKind
    from fxcarry.cli.desk import engine_on, logged_to, open_desk
    from fxcarry.cli.shared import load
    from fxcarry.daemon import Daemon
    from fxcarry.errors import BrokerUnavailable
    from fxcarry.journal import JournalLock

    monkeypatch.setenv("ACME_TOKEN", "hunter2-hunter2")
    secret = Secret("env", "ACME_TOKEN")
    settings = load(None)
    monkeypatch.setattr(type(settings), "secrets", (secret,))
    secret.reveal()
    journal, broker, strategy = open_desk(settings, "fxcarry-state", "baseline")
    with journal, logged_to(Path("fxcarry-state") / "trading_system.log", settings):
        engine = engine_on(settings, journal, broker, strategy)

        def refused(*_: Any) -> Any:
            raise BrokerUnavailable("401: the token hunter2-hunter2 has expired")

        monkeypatch.setattr(engine.broker, "sync", refused)
        engine.alerts.tell(*(start := (instant(), AlertKind.OPERATOR, "info")), "it is hunter2-hunter2")  # type: ignore[arg-type]
        journal.command("pause", by="me", at=start[0], reason="hunter2-hunter2 leaked")
        Daemon(engine=engine, journal=journal, lock=JournalLock(journal.path)).run([instant()])
    export(Path("fxcarry-state") / "journal.sqlite", "exported")
    files = [path for path in desk.rglob("*") if path.is_file()]
    assert len(files) > 6
    for path in files:
        assert b"hunter2" not in path.read_bytes(), path
    assert "401: the token" in (Path("fxcarry-state") / "trading_system.log").read_text("utf-8")


def instant() -> Any:
    from fxcarry.cli.desk import instant_of

    return instant_of("2007-07-11")


def test_sighup_reloads_rules_and_refuses_what_needs_a_restart(desk: Path) -> None:
    """A process: the configuration file is changed under it."""
    config = desk / "fxcarry.toml"
    config.write_text('[strategies.baseline]\nuse = "baseline"\n', "utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", "from fxcarry.cli import main; main()", "run", "--json", "--replay", "2007-07-11",
         "--until", "2007-08-31", "--speed", "400000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert "engine-start" in process.stderr.readline()
    config.write_text('cash = 5\n[strategies.baseline]\nuse = "baseline"\n', "utf-8")
    os.kill(process.pid, signal.SIGHUP)
    assert "the new configuration is not taken: cash changed" in next(
        line for line in process.stderr if "configuration" in line
    )
    config.write_text(
        '[[rules]]\nuse = "max-position"\nlimit = 0.05\n[strategies.baseline]\nuse = "baseline"\n', "utf-8"
    )
    os.kill(process.pid, signal.SIGHUP)
    assert "the new configuration is in force" in next(line for line in process.stderr if "configuration" in line)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["looks"] > 20
    with SqliteJournal.existing(desk / "fxcarry-state" / "journal.sqlite") as journal:
        configs = [row["config"] for row in journal.table("runs")]
    assert "limit = 0.05" in configs[-1]
    assert "limit = 0.05" not in configs[-2]


class Dealing:
    """A broker that deals, as far as the three keys can see."""

    name = "acme"

    def connect(self) -> None:
        pass

    def sync(self, snapshot: Any) -> Any:
        from fxcarry.testing import account

        return attrs.evolve(account(at=snapshot.at), id="A-7")


@pytest.mark.parametrize(
    ("mode", "environ", "given", "message"),
    [
        ("paper", "1", "A-7", 'acme is not simulated, its account is not for practice, and mode is "paper"'),
        ("live", "", None, "missing: FXCARRY_LIVE=1 in the environment; the account id on the command line"),
        ("live", "1", "A-8", "'A-8' was given"),
        ("live", "1", "A-7", ""),
    ],
)
def test_a_broker_that_deals_needs_three_keys(
    mode: str, environ: str, given: str | None, message: str, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FXCARRY__MODE", mode)
    settings = load(None)
    monkeypatch.setenv("FXCARRY_LIVE", environ)
    broker: Any = Dealing()
    if not message:
        may_trade(settings, broker, given)
        return
    with pytest.raises(ConfigError, match=message):
        may_trade(settings, broker, given)


@pytest.mark.parametrize("mode", ["paper", "backtest"])
def test_a_practice_account_trades_without_keys(mode: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXCARRY__MODE", mode)
    monkeypatch.delenv("FXCARRY_LIVE", raising=False)
    broker: Any = Dealing()
    broker.is_practice = True
    broker.connect = broker.sync = None  # nobody is asked
    may_trade(load(None), broker, None)


def test_a_practice_account_is_no_place_for_real_money(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXCARRY__MODE", "live")
    monkeypatch.setenv("FXCARRY_LIVE", "1")
    broker: Any = Dealing()
    broker.is_practice = True
    with pytest.raises(ConfigError, match='mode = "live" on a practice account of the broker acme') as caught:
        may_trade(load(None), broker, "A-7")
    assert 'mode = "paper"' in caught.value.hint


@pytest.mark.parametrize("said", [False, None, "yes", 1])
def test_what_does_not_say_practice_clearly_is_real_money(
    said: object, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker: Any = Dealing()
    broker.is_practice = said
    with pytest.raises(ConfigError, match="its account is not for practice"):
        may_trade(load(None), broker, "A-7")


def test_live_is_no_mode_for_a_simulated_account(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXCARRY__MODE", "live")
    monkeypatch.setenv("FXCARRY_LIVE", "1")
    result = CliRunner().invoke(cli, ["run", "--strategy", "baseline", "--account", "paper"])
    assert 'mode = "live" on the paper broker' in str(result.exception)


def test_stored_history_is_not_traded_with_real_money(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXCARRY__MODE", "live")
    monkeypatch.setenv("FXCARRY_LIVE", "1")
    monkeypatch.setattr(importlib.import_module("fxcarry.build"), "paper_broker", lambda *_: Dealing())
    live = ["run", "--strategy", "baseline", "--account", "A-7", "--replay", "2007-07-10"]
    result = CliRunner().invoke(cli, live)
    assert isinstance(result.exception, ConfigError)
    assert '--replay with mode = "live"' in str(result.exception)


def test_a_plan_is_not_carried_out_with_real_money_without_the_keys(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = told("plan", "--at", "2007-07-12")
    monkeypatch.setattr(importlib.import_module("fxcarry.build"), "paper_broker", lambda *_: Dealing())
    result = CliRunner().invoke(cli, ["apply", plan["plan"], "--at", "2007-07-12"])
    assert isinstance(result.exception, ConfigError), result.output
    assert "acme is not simulated" in str(result.exception)
    with SqliteJournal.existing(desk / "fxcarry-state" / "journal.sqlite") as journal:
        assert journal.commands() == []  # no engine that starts later finds it either


def test_in_real_time_the_roll_is_avoided_unless_there_are_no_rules(desk: Path) -> None:
    from fxcarry.cli.desk import engine_on, open_desk
    from fxcarry.cli.shared import load

    def names(in_real_time: bool) -> list[str]:
        settings = load(None)
        journal, broker, strategy = open_desk(settings, "fxcarry-state", "baseline")
        with journal:
            return [
                rule.name for rule in engine_on(settings, journal, broker, strategy, in_real_time=in_real_time).rules
            ]

    assert "rollover-window" not in names(False)
    assert names(True) == [*names(False), "rollover-window"]
    (desk / "fxcarry.toml").write_text("rules = []\n", "utf-8")
    assert names(True) == []
    (desk / "fxcarry.toml").write_text('[[rules]]\nuse = "rollover-window"\nafter = 60.0\n', "utf-8")
    assert names(True) == ["rollover-window"]


def test_the_books_are_exported(desk: Path) -> None:
    done = told("export", "books")
    assert done["files"] == ["trades.csv", "lots.csv", "financing.csv", "decisions.csv"]
    assert sorted(p.name for p in (desk / "books").iterdir()) == sorted(done["files"])
    with SqliteJournal.existing(desk / "fxcarry-state" / "journal.sqlite") as journal:
        fills = sum(t.kind == "fill" for t in journal.transactions())
    assert len((desk / "books" / "trades.csv").read_text("utf-8").splitlines()) == fills + 1 > 5
    result = CliRunner().invoke(cli, ["export", "books", "--state", "nowhere"])
    assert "there is no journal" in str(result.exception)


# --- what the nights book --------------------------------------------------------------------------------------------


def test_the_nights_of_a_simulated_account_are_shown_without_an_expectation(desk: Path) -> None:
    found = told("financing", "--rolls", "2")
    assert found["account_currency"] == "USD"
    assert len({row["trade_date"] for row in found["rolls"]}) == 2
    with SqliteJournal.existing(desk / "fxcarry-state" / "journal.sqlite") as journal:
        paid = [t for t in journal.transactions() if t.kind == "financing" and t.trade_date is not None]
    last = found["rolls"][-1]["trade_date"]
    assert last == max(t.trade_date for t in paid).isoformat()
    assert {r["instrument"]: r["booked"] for r in found["rolls"] if r["trade_date"] == last} == {
        t.instrument: float(t.amount) for t in paid if t.trade_date.isoformat() == last
    }
    assert {(row["expected"], row["difference"], row["cumulative"]) for row in found["rolls"]} == {(None, None, 0.0)}
    assert found["warnings"] == []
    assert told("status")["financing"].startswith(f"{last}: expected not known, booked ")
    text = CliRunner().invoke(cli, ["financing", "--rolls", "1"], catch_exceptions=False).stdout
    assert "no rate of it was on record before the roll" in text.splitlines()[-1]
    assert last in text


def test_a_leak_is_shown_in_the_table_in_status_and_below(desk: Path) -> None:
    path = desk / "fxcarry-state" / "journal.sqlite"
    with SqliteJournal.existing(path) as journal:
        held = {t.instrument for t in journal.transactions() if t.kind == "fill"}
        begins = datetime.fromisoformat(journal.table("heartbeats")[0]["at"]) - timedelta(days=1)
        journal.publish(
            [Instrument(name=n, exposure=Pair.parse(n), financing_long=0.2, financing_short=0.2) for n in held], begins
        )
    found = told("financing")
    rows = [row for row in found["rolls"] if row["expected"] is not None]
    assert rows
    assert found["leak"] == pytest.approx(sum(row["booked"] - row["expected"] for row in rows))
    assert found["rolls"][-1]["cumulative"] == found["leak"] < -1000
    one = rows[0]
    assert one["rate"] == 0.2
    assert one["difference"] == pytest.approx(one["booked"] - one["expected"])
    assert any("less than expected over 5 rolls" in line for line in found["warnings"])
    text = CliRunner().invoke(cli, ["financing"], catch_exceptions=False).stdout
    assert found["warnings"][-1] in text
    assert f"{found['leak']:+,.2f}" in text
    assert "booked less expected over the last 5 rolls -" in told("status")["financing"]


def test_an_account_that_held_nothing_has_no_nights(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with SqliteJournal(tmp_path / "new" / "journal.sqlite", account_id="A1"):
        pass
    found = told("financing", "--state", str(tmp_path / "new"))
    assert (found["rolls"], found["leak"], found["warnings"]) == ([], 0.0, [])
    text = CliRunner().invoke(cli, ["financing", "--state", str(tmp_path / "new")]).stdout
    assert "nothing was held through a roll" in text
