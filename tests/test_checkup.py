"""fxcarry.checkup and ``fxcarry check``: what is wrong is told with what to do, and one failure stops no other."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import forked
import numpy as np
import pytest
from click.testing import CliRunner

from fxcarry import plugins
from fxcarry.checkup import COMPONENTS, KNOWN_VARIABLES, Check, CheckUp, check_up
from fxcarry.cli import cli
from fxcarry.composite import CompositeFeed
from fxcarry.conventions import session_end
from fxcarry.errors import BrokerUnavailable, ConfigError, DataError, NotifierError, OrderOutcomeUnknown, OrderRejected
from fxcarry.feeds import MemoryFeed
from fxcarry.journal import Holder, JournalLock, SqliteJournal
from fxcarry.model import Alert, Order, OrderResult, RiskState, Snapshot, TradingState
from fxcarry.plugins import BrokenPlugin, Component, Registry
from fxcarry.protocols import Capability
from fxcarry.secrets import Secret
from fxcarry.testing import FakeVenue, market_history

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2025, 3, 12, 13, tzinfo=UTC)  # a Wednesday
HISTORY = market_history(("EUR", "JPY"), days=40, start=date(2025, 1, 15))  # to Tuesday 2025-03-11, 16:59 New York
UNIVERSE = 'universe = ["EUR", "JPY"]\n'
PARTS = '[feed]\nuse = "held"\n[broker]\nuse = "venue"\n'
SECRET = "s3cret-0123456789"


@attrs.frozen(kw_only=True)
class NoSettings:
    """Nothing can be set."""


@attrs.frozen(kw_only=True)
class Keyed:
    """A part that wants a key."""

    key: Secret


class Venue(FakeVenue):
    """An account in this process, of play money unless said."""

    name = "venue"
    is_practice: Any = True
    account_id = "fake"
    capabilities = frozenset({Capability.NATIVE_STOPS, Capability.SPOT_FX, Capability.FINANCING})

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False
        self.sent: list[Order] = []

    def connect(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        self.is_closed = True

    def place_market_order(self, order: Order) -> OrderResult:
        self.sent.append(order)
        return super().place_market_order(order)


class Channel:
    """A channel that keeps what it was given."""

    name = "pager"

    def __init__(self, error: Exception | None = None) -> None:
        self.alerts: list[Alert] = []
        self.error = error

    def notify(self, alert: Alert) -> None:
        if self.error is not None:
            raise self.error
        self.alerts.append(alert)


def registry_with(
    feed: Any = None, broker: Any = None, notifier: Any = None, config: type = NoSettings, **more: Any
) -> Registry:
    """What is installed, and a feed "held", a broker "venue" and a channel "pager" that are these objects."""
    known = plugins.load()

    def giving(made: Any) -> Callable[[Any], Any]:
        return lambda settings: made(settings) if isinstance(made, type(giving)) else made

    parts = (
        Component(kind="feed", name="held", config=config, factory=giving(feed or MemoryFeed(HISTORY)), summary="-"),
        Component(kind="broker", name="venue", config=NoSettings, factory=giving(broker or Venue()), summary="-"),
        Component(kind="notifier", name="pager", config=NoSettings, factory=giving(notifier or Channel()), summary="-"),
    )
    components = {**known.components, **{(part.kind, part.name): part for part in parts}}
    return Registry(components=components, origins=known.origins, **more)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and of our variables one: the plugins that these tests need."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FXCARRY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FXCARRY_PLUGINS", "ecb,paper")
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def looked(*only: str, toml: str | None = UNIVERSE + PARTS, **more: Any) -> CheckUp:
    """A check-up of a configuration, on Wednesday; of all components but the machine, whose clock is another."""
    if toml is not None:
        Path("fxcarry.toml").write_text(toml, "utf-8")
    facts: dict[str, Any] = {
        "only": only or COMPONENTS[1:],
        "environ": {},
        "now": NOW,
        **more,
    }
    if "registry" not in facts:
        facts["registry"] = registry_with()
    return check_up(**facts)


def one(report: CheckUp, component: str, name: str) -> Check:
    [found] = [c for c in report.checks if (c.component, c.name) == (component, name)]
    return found


def failed(report: CheckUp) -> list[str]:
    return [f"{c.component}: {c.name}" for c in report.checks if c.status == "fail"]


# --- from nothing, as a newcomer does ---------------------------------------------------------------------------------


def ran(*arguments: str) -> tuple[int, str]:
    """The command in a process of its own: exit code and what it printed."""
    process = forked.start(*arguments)
    out, err = process.communicate(60)
    assert "Traceback" not in err
    assert process.returncode is not None
    return process.returncode, out


@pytest.mark.ecb
def test_with_nothing_configured_it_says_in_order_how_to_reach_paper_trading() -> None:
    code, out = ran("check")
    assert code == 8
    steps = [out.index(step) for step in ("1. fxcarry init", "2. fxcarry check", "3. fxcarry run", "4. for paper")]
    assert steps == sorted(steps)
    assert re.search(r"✗ file +nothing is configured", out)
    assert ", 1 failed, " in out.splitlines()[-1]
    assert re.search(r"✓ EUR +price 1\.\d+ USD, rate", out)  # and everything else is looked at all the same
    assert not Path("fxcarry-state").exists()


@pytest.mark.ecb
def test_what_init_writes_passes_without_a_key_before_and_after_a_replay() -> None:
    assert ran("init")[0] == 0
    code, out = ran("check", "--json")
    told = json.loads(out)
    assert (code, told["ok"], told["counts"]["fail"]) == (0, True, 0)
    assert told["counts"] == {
        status: sum(c["status"] == status for c in told["checks"]) for status in ("pass", "warn", "fail", "skip")
    }
    assert [*dict.fromkeys(c["component"].split()[0] for c in told["checks"])] == list(COMPONENTS)
    assert ran("run", "--strategy", "baseline", "--replay", "2024-06-26", "--until", "2024-07-02")[0] == 0
    before = contents()
    code, out = ran("check")
    assert code == 0, out
    assert re.search(r"✓ paper account +fxcarry-state/paper.sqlite is readable, NAV [\d,.]+", out)
    assert re.search(r"✓ orders +every order has an outcome", out)
    assert contents() == before


def contents() -> dict[str, str]:
    """Every database of the state folder as SQL."""
    found = {}
    for path in Path("fxcarry-state").glob("*.sqlite"):
        file = sqlite3.connect(path)
        found[path.name] = "\n".join(file.iterdump())
        file.close()
    assert len(found) == 2
    return found


def test_the_variables_that_are_known_are_those_of_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(FXCARRY_[A-Z_]+)` \|", text, re.MULTILINE))
    assert documented - {"FXCARRY__SECTION__KEY"} == set(KNOWN_VARIABLES)


# --- how it is told ---------------------------------------------------------------------------------------------------


def test_the_table_has_marks_advice_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    checks = (
        Check(component="feed acme", name="prices now", status="pass", detail="9 quotes"),
        Check(component="feed acme", name="rates", status="fail", detail="none " * 30, advice="ask\nthem " * 2),
        Check(component="journal", name="file", status="skip", detail="there is none"),
        Check(component="journal", name="a name that is longer than its column", status="warn", detail=""),
    )
    monkeypatch.setattr("fxcarry.checkup.check_up", lambda *a, **k: CheckUp(at=NOW, checks=checks))
    done = CliRunner().invoke(cli, ["check"])
    assert done.exit_code == 8
    lines = done.output.splitlines()
    assert lines[:2] == ["feed acme", "  ✓ prices now                  9 quotes"]
    assert lines[2].startswith("  ✗ rates                       none none")
    assert "        -> ask" in lines
    assert "           them ask" in lines
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "1 passed, 1 warnings, 1 failed, 1 skipped"
    monkeypatch.setattr("fxcarry.cli.checkup._is_written", lambda text: False)
    plain = CliRunner().invoke(cli, ["check"]).output
    assert plain.isascii()
    assert "  x rates" in plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "brokers"), "there is no component 'brokers' (one of machine, environment, plugins"),
        (("--round-trip", "--go-live"), "do not go with --go-live"),
        (("--only", "feed", "--confirm", "limits", "--reason", "x"), "do not go with --go-live"),
        (("--reason", "x"), "--reason without --confirm"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(cli, ["check", *arguments])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


def test_only_the_components_asked_for_are_told() -> None:
    report = looked("plugins", "broker")
    assert {c.component for c in report.checks} == {"plugins", "broker venue"}
    assert report.is_good


# --- the machine ------------------------------------------------------------------------------------------------------


def test_this_machine_is_fine() -> None:
    report = looked("machine", now=datetime.now(UTC))
    assert failed(report) == []
    assert "numpy " in one(report, "machine", "packages").detail


@pytest.mark.parametrize(
    ("free", "status"), [(10**9, "pass"), (10**9 - 1, "warn"), (10**8, "warn"), (10**8 - 1, "fail")]
)
def test_a_full_disk_is_told(free: int, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    assert one(looked("machine"), "machine", "state folder").status == status


def test_a_folder_that_cannot_be_written_to_is_told(here: Path) -> None:
    (here / "taken").write_text("", "utf-8")
    found = one(looked("machine", folder="taken/state"), "machine", "state folder")
    assert (found.status, "cannot be written to" in found.detail) == ("fail", True)
    assert "choose a folder" in found.advice


def test_a_clock_that_is_behind_is_told() -> None:
    found = one(looked("machine", now=datetime(2001, 1, 1, tzinfo=UTC)), "machine", "clock")
    assert (found.status, "NTP" in found.advice) == ("fail", True)
    soon = datetime.fromtimestamp(Path("fxcarry.toml").stat().st_mtime, UTC) - timedelta(minutes=4)
    assert one(looked("machine", toml=None, now=soon), "machine", "clock").status == "pass"


def test_missing_or_wrong_time_zones_and_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import zoneinfo

    def missing(name: str) -> Any:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {name}")

    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["no-such-thing>=1", "attrs", 'x; extra == "y"'])
    monkeypatch.setattr("zoneinfo.ZoneInfo", missing)
    report = looked("machine", now=datetime.now(UTC))
    assert failed(report) == ["machine: packages", "machine: time zones"]
    assert one(report, "machine", "packages").advice == "pip install no-such-thing"
    assert one(report, "machine", "time zones").advice == "pip install tzdata"
    monkeypatch.setattr("zoneinfo.ZoneInfo", lambda name: UTC)
    assert "the time zone data is wrong" in one(looked("machine"), "machine", "time zones").detail


def test_an_old_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1, "final", 0))
    found = one(looked("machine"), "machine", "python")
    assert (found.status, found.advice) == ("fail", "fxcarry needs Python >=3.11")


# --- the environment --------------------------------------------------------------------------------------------------


def test_unknown_variables_are_told_by_name_never_by_value() -> None:
    environ = {"FXCARRY_PLUGIN": SECRET, "FXCARRY_LIVE": "1", "FXCARRY__CASH": "5000", "FXCARRY_UNHEARD": SECRET}
    report = looked("environment", environ=environ)
    near = one(report, "environment", "FXCARRY_PLUGIN")
    assert (near.status, near.advice) == ("warn", "did you mean FXCARRY_PLUGINS?")
    assert "two underscores" in one(report, "environment", "FXCARRY_UNHEARD").advice
    assert one(report, "environment", "variables").detail == "set: FXCARRY_LIVE, FXCARRY__CASH"
    assert SECRET not in repr(report)


def test_the_env_file_is_read_and_who_may_read_it_is_told(here: Path) -> None:
    path, environ = here / ".env", {"FXCARRY__CASH": "5000"}
    path.write_text(f"FXCARRY__MODE=paper\nFXCARRY__CASH=1\nMINE={SECRET}\n", "utf-8")
    path.chmod(0o640)
    report = looked("environment", environ=environ)
    found = one(report, "environment", ".env")
    assert (found.status, found.advice) == ("warn", "chmod 600 .env")
    assert environ == {"FXCARRY__CASH": "5000", "FXCARRY__MODE": "paper", "MINE": SECRET}
    path.chmod(0o600)
    assert one(looked("environment"), "environment", ".env").detail == "3 variables, readable by you only"
    assert SECRET not in repr(report)


def test_an_env_file_that_cannot_be_read_stops_nothing_else(here: Path) -> None:
    (here / ".env").mkdir()
    report = looked()
    assert failed(report) == ["environment: .env"]
    (here / ".env").rmdir()
    (here / ".env").write_text(f"A={SECRET}\nthis is not one {SECRET}\n", "utf-8")
    found = one(looked("environment"), "environment", ".env")
    assert "line 2" in found.detail
    assert SECRET not in repr(found)


def test_every_secret_is_there_or_told_and_its_value_never(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml = UNIVERSE + '[feed]\nuse = "held"\nkey = { env = "FXCARRY_MY_KEY" }\n[broker]\nuse = "venue"\n'

    def leaking(settings: Any) -> Any:
        raise ConfigError(f"the key {settings.key.reveal()} is refused (403)", hint=f"renew {settings.key.reveal()}")

    registry = registry_with(feed=leaking, config=Keyed)
    found = one(looked("environment", toml=toml, registry=registry), "environment", "secret env FXCARRY_MY_KEY")
    assert (found.status, found.advice) == ("fail", "set the environment variable FXCARRY_MY_KEY")
    monkeypatch.setenv("FXCARRY_MY_KEY", SECRET)
    report = looked(toml=toml, registry=registry, environ=dict(os.environ))
    assert one(report, "environment", "secret env FXCARRY_MY_KEY").status == "pass"
    assert one(report, "environment", "variables").detail == "set: FXCARRY_MY_KEY, FXCARRY_PLUGINS"
    refused = one(report, "feed held", "made")
    assert refused.detail == "the key ******** is refused (403)"
    assert refused.advice.startswith("renew ********\n403: the key is known, but its rights do not cover this")
    assert SECRET not in repr(report)
    (here / "key").mkdir()
    unreadable = looked("environment", toml=toml.replace('env = "FXCARRY_MY_KEY"', 'file = "key"'), registry=registry)
    assert one(unreadable, "environment", "secret file key").advice == "check its permissions"


# --- plugins and configuration ----------------------------------------------------------------------------------------


def test_a_broken_plugin_is_told_and_the_others_are_used() -> None:
    broken = BrokenPlugin("acme", "fxcarry-acme", ImportError("no module named acme"))
    report = looked(registry=registry_with(broken=(broken,)))
    assert failed(report) == ["plugins: acme"]
    found = one(report, "plugins", "acme")
    assert found.detail == "of fxcarry-acme is broken: ImportError: no module named acme"
    assert found.advice == "reinstall or uninstall fxcarry-acme"


def test_two_plugins_that_offer_the_same_are_told_and_the_rest_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = EntryPoint("twin", "fxcarry.builtins", "fxcarry")
    real = plugins._chosen
    monkeypatch.setattr(plugins, "_chosen", lambda wanted: [*real(wanted), twice])
    report = looked(registry=None)
    assert failed(report) == ["plugins: loaded"]
    found = one(report, "plugins", "loaded")
    assert "is offered twice" in found.detail
    assert "uninstall one of them" in found.advice
    assert one(report, "broker", "all").status == "skip"
    assert one(report, "journal", "file").status == "skip"


def test_all_mistakes_of_a_configuration_are_told_with_their_paths() -> None:
    toml = 'mode = "papre"\ncash = "much"\n[broker]\nuse = "acme"\n[rules]\n'
    report = looked("journal", "feed", toml=toml)
    found = one(report, "configuration", "valid")
    assert found.status == "fail"
    assert [line.split(":")[0].strip() for line in found.detail.splitlines()[1:]] == [
        "mode", "cash", "broker.use", "rules",
    ]  # fmt: skip
    assert one(report, "feed", "all").status == "skip"
    assert {c.component for c in report.checks} == {"plugins", "configuration", "feed", "journal"}
    assert (
        one(looked(path="none.toml"), "configuration", "valid").detail == "the configuration none.toml does not exist"
    )
    assert "is not TOML" in one(looked(toml="mode = paper"), "configuration", "valid").detail


def test_a_configuration_of_variables_alone_is_one() -> None:
    report = looked("configuration", toml=None, environ={"FXCARRY__MODE": "paper"})
    found = one(report, "configuration", "file")
    assert (found.status, "changed by FXCARRY__MODE" in found.detail) == ("pass", True)


def test_strategies_and_rules_that_cannot_be_made_are_told() -> None:
    toml = (
        UNIVERSE + 'rules = []\n[strategies.a]\nuse = "overlaid"\nstrategy = "nobody"\n'
        '[strategies.b]\nuse = "baseline"\nrules = [{ use = "max-position" }]\n' + PARTS
    )
    report = looked("configuration", toml=toml)
    assert failed(report) == ["configuration: strategy a"]
    assert one(report, "configuration", "strategy b").detail.endswith(", 1 rules of its own")
    assert one(report, "configuration", "rules").status == "warn"
    assert failed(looked("configuration", toml=UNIVERSE + "strategies = {}\n" + PARTS)) == ["configuration: strategies"]


def test_a_universe_without_a_member_today_is_told(here: Path) -> None:
    (here / "mine.csv").write_text("currency,enters,leaves\nEUR,2001-01-01,2002-01-01\n", "utf-8")
    found = one(looked("configuration", toml='universe = "mine.csv"\n' + PARTS), "configuration", "universe")
    assert (found.status, found.detail) == ("fail", "no currency is a member on 2025-03-12")


# --- the feed ---------------------------------------------------------------------------------------------------------


def feed_of(**changes: Any) -> MemoryFeed:
    return MemoryFeed(attrs.evolve(HISTORY, **changes), "held")


def test_ages_are_in_minutes_of_open_market_and_decide_by_mode_and_kind_of_feed() -> None:
    """Tuesday 16:59 New York to Wednesday 09:00, summer time: 16 h 1 min of open market."""
    daily = one(looked("feed"), "feed held", "age of prices")
    assert (daily.status, daily.detail) == ("pass", "961 to 961 open-market minutes, 1,440 allowed")
    late = one(looked("feed", now=session_end(date(2025, 3, 12))), "feed held", "age of prices")
    assert (late.status, late.detail.endswith("; too old: EUR, JPY, USD")) == ("warn", True)
    live = registry_with(feed=feed_of(interval=timedelta(minutes=1)))
    stale = one(looked("feed", registry=live), "feed held", "age of prices")
    assert (stale.status, "961 open-market minutes, 60 allowed" in stale.detail) == ("fail", True)
    stored = one(
        looked("feed", registry=live, toml='mode = "backtest"\n' + UNIVERSE + PARTS), "feed held", "age of prices"
    )
    assert stored.status == "warn"
    rule = UNIVERSE + PARTS + '[[rules]]\nuse = "staleness"\nminutes = 962\n'
    assert one(looked("feed", registry=live, toml=rule), "feed held", "age of prices").status == "pass"


def test_the_sources_behind_a_feed_are_looked_at_one_by_one() -> None:
    class Down(MemoryFeed):
        def snapshot(self, at: datetime) -> Any:
            raise DataError("503: down for maintenance")

    feed = CompositeFeed([Down(HISTORY, "first"), feed_of()], numeraire="USD")
    report = looked("feed", registry=registry_with(feed=feed))
    first, second = one(report, "feed held", "source first"), one(report, "feed held", "source held")
    assert (first.status, first.detail) == ("warn", "503: down for maintenance")
    assert "another source stands in" in first.advice
    assert second.status == "pass"
    assert "EURUSD" in second.detail


def test_a_currency_without_price_or_rate_is_told_and_the_others_pass() -> None:
    rates = {c: series for c, series in HISTORY.rates.items() if c != "JPY"}
    toml = 'universe = ["EUR", "JPY", "CHF"]\n' + PARTS
    report = looked("feed", toml=toml, registry=registry_with(feed=feed_of(rates=rates)))
    assert failed(report) == ["feed held: JPY", "feed held: CHF"]
    assert one(report, "feed held", "JPY").detail.startswith("no rate, price 0.0")
    assert one(report, "feed held", "CHF").detail == "no price against USD, no rate"
    assert "leave CHF out of universe" in one(report, "feed held", "CHF").advice
    assert one(report, "feed held", "USD").status == "pass"


@pytest.mark.parametrize(("days", "status"), [(45, "pass"), (46, "warn")])
def test_the_age_of_rates_is_told(days: int, status: str) -> None:
    feed = feed_of(rates_verified_until=NOW - timedelta(days=days))
    found = one(looked("feed", registry=registry_with(feed=feed)), "feed held", "age of rates")
    assert (found.status, found.detail.endswith(f"{days} days ago")) == (status, True)
    last = max(series.as_of.max() for series in HISTORY.rates.values())
    unsaid = one(looked("feed"), "feed held", "age of rates").detail
    assert unsaid.startswith(f"the last is of {str(last)[:10]}")


def test_no_rates_no_prices_and_the_future_are_told() -> None:
    report = looked("feed", registry=registry_with(feed=feed_of(rates={})))
    assert "feed held: rates" in failed(report)
    empty = SimpleNamespace(
        interval=timedelta(1), snapshot=lambda at: Snapshot(at, {}), history=lambda *_: HISTORY, close=lambda: None
    )
    report = looked("feed", "broker", registry=registry_with(feed=empty))
    assert one(report, "feed held", "prices now").detail == "it has no quote at all"
    assert one(report, "feed held", "history").status == "pass"
    assert one(report, "broker venue", "connection").status == "pass"
    early = MemoryFeed(HISTORY)
    ahead = SimpleNamespace(
        **{**vars(empty), "snapshot": lambda at: attrs.evolve(early.snapshot(at), at=at - timedelta(2))}
    )
    found = one(looked("feed", registry=registry_with(feed=ahead)), "feed held", "prices now")
    assert found.detail.startswith("not known yet at 2025-03-10 13:00 UTC: EURUSD, JPYUSD")
    assert "looks ahead" in found.advice


def test_a_history_with_other_rates_than_now_is_told() -> None:
    """A table that was revised: the history has the value of today at an instant when it was another."""
    euro = HISTORY.rates["EUR"]
    revised = attrs.evolve(
        HISTORY, rates={**HISTORY.rates, "EUR": attrs.evolve(euro, value=np.array(euro.value) + 0.01)}
    )
    feed = MemoryFeed(HISTORY)
    both = SimpleNamespace(
        interval=feed.interval, snapshot=feed.snapshot, history=lambda *_: revised, close=lambda: None
    )
    found = one(looked("feed", registry=registry_with(feed=both)), "feed held", "point in time")
    assert (found.status, found.detail.endswith("than the feed now: EUR")) == ("fail", True)


def test_a_history_that_ended_long_ago_is_read_all_the_same() -> None:
    found = one(looked("feed", now=NOW + timedelta(days=400)), "feed held", "history")
    assert found.detail == "40 rows from 2025-01-15 to 2025-03-11"


@pytest.mark.parametrize("error", [ValueError("odd"), KeyError("x"), SystemExit(3), ImportError("no acme")])
def test_whatever_a_part_raises_the_others_are_looked_at(error: BaseException) -> None:
    def broken(settings: Any) -> Any:
        raise error

    report = looked(registry=registry_with(feed=broken, broker=broken, notifier=broken))
    assert failed(report) == ["feed held: made", "broker venue: made"]
    assert one(report, "journal", "file").status == "skip"
    assert one(report, "feed held", "made").advice


def test_what_ends_the_process_ends_it() -> None:
    def interrupted(settings: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        looked("feed", registry=registry_with(feed=interrupted))


# --- the broker -------------------------------------------------------------------------------------------------------


def at_venue(venue: Any, *, toml: str = UNIVERSE + PARTS, **more: Any) -> CheckUp:
    return looked("broker", toml=toml, registry=registry_with(broker=venue), **more)


def test_a_practice_account_is_looked_at_and_nothing_is_sent() -> None:
    venue = Venue()
    report = at_venue(venue)
    assert failed(report) == []
    assert one(report, "broker venue", "connection").detail == "account fake, netting"
    assert one(report, "broker venue", "account").detail == "fake: NAV 1,000,000.00 USD"
    assert one(report, "broker venue", "positions and orders").detail == "flat; 0 orders and stops at work"
    assert one(report, "broker venue", "instruments").detail == (
        "EURUSD step 1 least 1 margin 3.33 %; USDJPY step 1 least 1 margin 3.33 %"
    )
    assert one(report, "broker venue", "conversion").detail == "EUR, USD, JPY into USD"
    assert (venue.sent, venue.is_closed) == ([], True)


def venue_with(**members: Any) -> Venue:
    venue = Venue()
    for name, value in members.items():
        setattr(venue, name, value)
    return venue


@pytest.mark.parametrize(
    ("mode", "is_practice", "environ", "status", "said"),
    [
        ("paper", True, {}, "pass", 'a practice account, mode = "paper"'),
        ("paper", False, {}, "fail", 'real money, mode = "paper"'),
        ("paper", "yes", {}, "fail", 'real money, mode = "paper"'),
        ("backtest", True, {}, "pass", 'a practice account, mode = "backtest"'),
        ("live", True, {}, "fail", 'a practice account, mode = "live"'),
        ("live", False, {}, "warn", "FXCARRY_LIVE=1 is not set"),
        ("live", False, {"FXCARRY_LIVE": "1"}, "warn", "FXCARRY_LIVE=1 is set"),
    ],
)
def test_whose_money_it_is_and_the_three_keys(
    mode: str, is_practice: Any, environ: dict[str, str], status: str, said: str
) -> None:
    toml = f'mode = "{mode}"\n{UNIVERSE}{PARTS}'
    found = one(at_venue(venue_with(is_practice=is_practice), toml=toml, environ=environ), "broker venue", "money")
    assert (found.status, said in found.detail) == (status, True)
    assert bool(found.advice) is (status != "pass")


def test_live_on_the_simulated_broker_is_told() -> None:
    toml = 'mode = "live"\n' + UNIVERSE + '[feed]\nuse = "held"\n'
    assert failed(looked("broker", toml=toml)) == ["broker simulated: money"]


def test_a_connection_that_fails_is_told_with_what_its_status_means() -> None:
    def refused() -> None:
        raise ConfigError("the venue refused the token (401)", hint="is it revoked?")

    report = at_venue(venue_with(connect=refused))
    assert failed(report) == ["broker venue: connection"]
    advice = one(report, "broker venue", "connection").advice
    assert advice.splitlines()[0] == "is it revoked?"
    assert advice.splitlines()[1].startswith("401: who asks is not known there")
    assert one(report, "broker venue", "account").status == "skip"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("refused (403): no such right", "403: the key is known"),
        ("the server said HTTP 401", "401: who asks is not known"),
        ("the price was 1.401 and 403 rows came", ""),
    ],
)
def test_what_a_status_says_of_rights(message: str, said: str) -> None:
    def refused(*_: Any) -> Any:
        raise BrokerUnavailable(message)

    advice = one(at_venue(venue_with(get_instruments=refused)), "broker venue", "instruments").advice
    assert advice.startswith(said)
    assert bool(advice) is bool(said)


def test_each_reading_that_fails_is_told_and_the_others_are_made() -> None:
    def unavailable(*_: Any) -> Any:
        raise BrokerUnavailable("the venue's clock says 13:05, this machine's 13:00", hint="set this machine's clock")

    report = at_venue(venue_with(sync=unavailable, get_orders=unavailable))
    assert failed(report) == ["broker venue: account", "broker venue: positions and orders"]
    assert one(report, "broker venue", "account").advice == "set this machine's clock"
    assert one(report, "broker venue", "conversion").status == "pass"


def test_kind_of_account_stops_and_financing_are_told() -> None:
    venue = venue_with(capabilities=frozenset({Capability.HEDGING}))
    report = at_venue(venue)
    assert one(report, "broker venue", "connection").detail == "account fake, hedging"
    assert one(report, "broker venue", "stops").status == "warn"
    unpublished = one(report, "broker venue", "financing")
    assert (unpublished.status, unpublished.detail) == (
        "warn",
        "rates are not published for EURUSD, USDJPY; days of a roll published for 0 of 2, else by value date",
    )
    real = Venue.get_instruments

    def published(pairs: Any) -> Mapping[str, Any]:
        rates = {"financing_long": 0.01, "financing_short": -0.03, "financing_days": {2: 3}}
        return {name: attrs.evolve(i, **rates) for name, i in real(venue, pairs).items()}

    venue.get_instruments = published  # type: ignore[method-assign]
    assert one(at_venue(venue), "broker venue", "financing").detail == (
        "rates published for both sides of all 2; days of a roll published for 2 of 2, else by value date"
    )


def test_a_pair_that_is_not_traded_and_another_currency_are_told() -> None:
    venue = Venue()
    real, read = venue.get_instruments, venue.sync
    venue.get_instruments = lambda pairs: {"EURUSD": real(pairs)["EURUSD"]}  # type: ignore[method-assign]
    venue.sync = lambda snapshot: attrs.evolve(read(snapshot), currency="EUR")  # type: ignore[method-assign]
    report = at_venue(venue)
    assert failed(report) == ["broker venue: instruments", "broker venue: currency"]
    assert one(report, "broker venue", "instruments").detail.startswith("not traded: USDJPY; EURUSD step 1")
    assert one(report, "broker venue", "currency").advice == 'account_currency = "EUR", or an account in USD'


# --- the round trip ---------------------------------------------------------------------------------------------------


def test_the_smallest_order_is_dealt_seen_and_closed_again() -> None:
    venue = Venue()
    report = at_venue(venue, round_trip=True)
    assert failed(report) == []
    assert [c.name for c in report.checks if c.name.startswith("round trip")] == [
        "round trip: order", "round trip: position", "round trip: closed", "round trip: transactions",
    ]  # fmt: skip
    assert [(o.instrument, o.units, o.is_reducing, o.stop_fraction) for o in venue.sent] == [
        ("EURUSD", Decimal(1), False, 0.10),
        ("EURUSD", Decimal(-1), True, None),
    ]
    assert (dict(venue.get_positions()), venue.get_orders()) == ({}, [])
    assert one(report, "broker venue", "round trip: transactions").detail.startswith("2 fills booked, ")


def test_the_order_is_the_least_the_venue_takes_in_whole_steps() -> None:
    venue = Venue()
    real = venue.get_instruments
    venue.get_instruments = lambda pairs: {  # type: ignore[method-assign]
        name: attrs.evolve(i, unit_step=Decimal(100), minimum_units=Decimal(1050)) for name, i in real(pairs).items()
    }
    assert failed(at_venue(venue, round_trip=True)) == []
    assert [o.units for o in venue.sent] == [Decimal(1100), Decimal(-1100)]


@pytest.mark.parametrize("is_practice", [False, None, "yes", 1])
@pytest.mark.parametrize("mode", ["paper", "live"])
def test_nothing_is_sent_on_real_money(is_practice: Any, mode: str) -> None:
    venue = venue_with(is_practice=is_practice)
    report = at_venue(venue, round_trip=True, toml=f'mode = "{mode}"\n{UNIVERSE}{PARTS}', environ={"FXCARRY_LIVE": "1"})
    found = one(report, "broker venue", "round trip")
    assert (found.status, found.detail.startswith("refused")) == ("fail", True)
    assert venue.sent == []


def test_nothing_is_sent_while_an_engine_runs_in_a_closed_market_or_beside_what_is_held(here: Path) -> None:
    venue, folder = Venue(), here / "state"
    folder.mkdir()
    with JournalLock(folder / "journal.sqlite"):
        busy = one(at_venue(venue, round_trip=True, folder=folder), "broker venue", "round trip")
    assert (busy.status, "the account is traded by process" in busy.detail) == ("fail", True)
    weekend = one(at_venue(venue, round_trip=True, now=NOW + timedelta(days=3)), "broker venue", "round trip")
    assert (weekend.status, "closed" in weekend.detail) == ("skip", True)
    assert venue.sent == []
    for name in ("EURUSD", "USDJPY"):
        venue.place_market_order(Order(client_id=name, instrument=name, units=Decimal(7)))
    assert one(at_venue(venue, round_trip=True), "broker venue", "round trip").status == "skip"
    assert len(venue.sent) == 2
    assert {p.units for p in venue.get_positions().values()} == {Decimal(7)}


def test_what_is_held_before_is_held_after() -> None:
    venue = Venue()
    at_venue(venue)
    venue.place_market_order(Order(client_id="mine", instrument="EURUSD", units=Decimal(7), stop_fraction=0.05))
    report = at_venue(venue, round_trip=True)
    assert failed(report) == []
    assert [o.instrument for o in venue.sent] == ["EURUSD", "USDJPY", "USDJPY"]
    assert {n: p.units for n, p in venue.get_positions().items()} == {"EURUSD": Decimal(7)}


def test_a_refused_order_is_told_and_nothing_is_left() -> None:
    venue = Venue()

    def refuse(order: Order) -> OrderResult:
        raise OrderRejected("INSUFFICIENT_MARGIN")

    venue.place_market_order = refuse  # type: ignore[method-assign]
    report = at_venue(venue, round_trip=True)
    assert failed(report) == ["broker venue: round trip: order"]
    assert one(report, "broker venue", "round trip: closed").status == "pass"


def test_an_order_without_an_answer_is_asked_for_never_sent_again() -> None:
    venue = Venue()
    real = venue.place_market_order

    def unanswered(order: Order) -> OrderResult:
        real(order)
        raise OrderOutcomeUnknown("no answer")

    venue.place_market_order = unanswered  # type: ignore[method-assign]
    assert failed(at_venue(venue, round_trip=True)) == []
    assert len(venue.sent) == 2


def test_a_missing_stop_is_told_and_the_position_is_closed() -> None:
    venue = Venue()
    real = venue.place_market_order
    venue.place_market_order = lambda order: real(attrs.evolve(order, stop_fraction=None))  # type: ignore[method-assign]
    report = at_venue(venue, round_trip=True)
    assert failed(report) == ["broker venue: round trip: position"]
    assert one(report, "broker venue", "round trip: position").detail == "there is no stop behind EURUSD"
    assert dict(venue.get_positions()) == {}


def test_a_position_that_cannot_be_closed_is_told_with_what_is_left() -> None:
    venue = Venue()
    real = venue.place_market_order

    def opens_only(order: Order) -> OrderResult:
        if order.is_reducing:
            raise OrderRejected("MARKET_HALTED")
        return real(order)

    venue.place_market_order = opens_only  # type: ignore[method-assign]
    report = at_venue(venue, round_trip=True)
    assert failed(report) == ["broker venue: round trip: closed", "broker venue: round trip: transactions"]
    assert "close EURUSD at the broker by hand" in one(report, "broker venue", "round trip: closed").advice


def test_an_order_that_waits_without_end_is_cancelled() -> None:
    venue = Venue()
    real = venue.place_market_order
    venue.place_market_order = lambda order: (  # type: ignore[method-assign]
        real(order) if order.is_reducing else venue.answer("place_market_order", [order], "rests")
    )
    report = at_venue(venue, round_trip=True)
    assert failed(report) == ["broker venue: round trip: order"]
    assert "is working" in one(report, "broker venue", "round trip: order").detail
    assert one(report, "broker venue", "round trip: closed").status == "pass"
    assert venue.get_orders() == []


def test_of_a_simulated_account_it_is_a_copy(here: Path) -> None:
    from fxcarry_paper import PaperBroker

    (here / "fxcarry-state").mkdir()
    path = here / "fxcarry-state" / "paper.sqlite"
    account = PaperBroker(path, cash=5000)
    account.connect()
    account.close()
    before = path.read_bytes()
    report = looked("broker", toml=UNIVERSE + '[feed]\nuse = "held"\n', round_trip=True)
    assert failed(report) == []
    assert one(report, "broker simulated", "paper account").detail.endswith("is readable, NAV 5,000.00")
    assert one(report, "broker simulated", "round trip: position").status == "pass"
    assert path.read_bytes() == before


def test_a_paper_account_that_is_damaged_is_told_and_a_missing_one_is_not_made(here: Path) -> None:
    toml = UNIVERSE + '[feed]\nuse = "held"\n[broker]\nuse = "paper"\npath = "own.sqlite"\n'
    assert failed(looked("broker", toml=toml)) == []
    assert not (here / "own.sqlite").exists()
    (here / "own.sqlite").write_text("not a database, but long enough to look at" * 100, "utf-8")
    report = looked("broker", toml=toml)
    assert failed(report) == ["broker paper: made"]
    assert "is no paper account" in one(report, "broker paper", "made").detail


# --- channels and journal ---------------------------------------------------------------------------------------------

PAGER = '[[notifiers]]\nuse = "pager"\n'


def test_the_console_is_tried_and_others_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    report = looked("notifier")
    assert [(c.component, c.status) for c in report.checks] == [("notifier", "warn"), ("notifier console", "pass")]
    assert "info: self-test: fxcarry check: this channel works" in capsys.readouterr().err
    channel = Channel()
    toml, registry = UNIVERSE + PARTS + PAGER, registry_with(notifier=channel)
    assert one(looked("notifier", toml=toml, registry=registry), "notifier pager", "alert").status == "skip"
    assert channel.alerts == []
    assert one(looked("notifier", toml=toml, registry=registry, send=True), "notifier pager", "alert").status == "pass"
    [alert] = channel.alerts
    assert (alert.kind, alert.at, alert.severity) == ("self-test", NOW, "info")


def test_a_channel_that_fails_is_told_and_the_next_is_tried() -> None:
    registry = registry_with(notifier=Channel(NotifierError("refused (401)", hint="a new token")))
    toml = UNIVERSE + PARTS + PAGER + '[[notifiers]]\nuse = "console"\n'
    report = looked("notifier", toml=toml, registry=registry, send=True)
    found = one(report, "notifier pager", "alert")
    assert (found.status, found.detail, found.advice.splitlines()[0]) == ("fail", "refused (401)", "a new token")
    assert one(report, "notifier console", "alert").status == "pass"


@pytest.fixture
def journal(here: Path) -> SqliteJournal:
    """A journal in the state folder, whose engine looked last a minute ago."""
    (here / "fxcarry-state").mkdir()
    made = SqliteJournal(here / "fxcarry-state" / "journal.sqlite", account_id="A1", account_currency="USD")
    with made:
        made.beat(NOW - timedelta(minutes=1))
    return made


def test_a_good_journal_is_told_and_not_touched(journal: SqliteJournal) -> None:
    before = journal.path.read_bytes()
    report = looked("journal")
    assert {c.name: c.status for c in report.checks} == {
        "file": "pass", "lock": "pass", "account": "pass", "last look": "pass", "orders": "pass",
    }  # fmt: skip
    assert one(report, "journal", "account").detail == "of account A1 in USD"
    assert one(report, "journal", "last look").detail == "2025-03-12 12:59 UTC"
    assert journal.path.read_bytes() == before


def test_who_trades_on_it_and_whether_it_hangs(journal: SqliteJournal) -> None:
    with JournalLock(journal.path):
        lock = one(looked("journal"), "journal", "lock")
        assert (lock.status, f"process {os.getpid()} on" in lock.detail) == ("pass", True)
        assert one(looked("journal", now=NOW + timedelta(minutes=9)), "journal", "last look").status == "pass"
        hangs = one(looked("journal", now=NOW + timedelta(minutes=10)), "journal", "last look")
        assert (hangs.status, "fxcarry status" in hangs.advice) == ("fail", True)
    gone = attrs.asdict(attrs.evolve(Holder.me(), started="before"))
    Path(f"{journal.path}.lock").write_text(json.dumps(gone), "utf-8")
    assert one(looked("journal"), "journal", "lock").status == "warn"


def test_what_is_open_in_it_is_told(journal: SqliteJournal) -> None:
    with journal:
        journal.intend([Order(client_id="o1", instrument="EURUSD", units=Decimal(5))])
        halted = RiskState(trading=TradingState.HALTED, day_start=1.0, high_water=1.0, latch="DRAWDOWN")
        journal.transition(NOW, halted)
        journal.beat(NOW + timedelta(days=1))
    report = looked("journal", toml='account_currency = "EUR"\nuniverse = ["JPY"]\n' + PARTS)
    assert failed(report) == ["journal: account"]
    assert one(report, "journal", "orders").detail == "1 without an outcome: o1"
    assert one(report, "journal", "trading").detail == "halted DRAWDOWN"
    assert one(report, "journal", "last look").status == "warn"


def test_a_file_that_is_no_sound_journal_is_told(here: Path, journal: SqliteJournal) -> None:
    good = journal.path.read_bytes()
    journal.path.write_bytes(b"not a database, but long enough to look at" * 100)
    assert failed(looked("journal")) == ["journal: file"]
    journal.path.unlink()
    with sqlite3.connect(journal.path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    assert "is no journal" in one(looked("journal"), "journal", "file").detail
    journal.path.write_bytes(good)
    with sqlite3.connect(journal.path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    found = one(looked("journal"), "journal", "file")
    assert "upgrade fxcarry" in found.advice
    with sqlite3.connect(journal.path) as older:
        older.execute("PRAGMA user_version = 1")
    older.close()
    assert one(looked("journal"), "journal", "records").status == "skip"
