"""``fxcarry conformance``: the right suite runs on the right part, alone, and says what came of each case."""

from __future__ import annotations

import builtins
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from fxcarry import plugins
from fxcarry.cli import cli
from fxcarry.errors import ConfigError, PluginError
from fxcarry.feeds import MemoryFeed
from fxcarry.plugins import Component, Origin, Registry
from fxcarry.testing import FeedSuite, StrategySuite, market_history
from fxcarry.testing.conformance import SUITES, CaseResult, Conformance, case_numbers, conformance, suite_for


@attrs.frozen(kw_only=True)
class Settings:
    pass


@attrs.frozen(kw_only=True)
class Demanding:
    path: str
    days: int = 5


def component(kind: str = "feed", **changes: Any) -> Component:
    def made(settings: Settings) -> MemoryFeed:
        return MemoryFeed(market_history(days=120))

    facts = {"kind": kind, "name": "acme", "config": Settings, "factory": made, "summary": "x"}
    return Component(**{**facts, **changes})


class Forgetful(MemoryFeed):
    """A feed without a name."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(market_history(days=120), name="")


class Shipped(FeedSuite):
    """A suite as a plugin ships one."""

    @pytest.fixture
    def feed(self, tmp_path: Path) -> MemoryFeed:
        assert tmp_path.is_dir()
        return MemoryFeed(market_history(days=120), name="shipped")

    def test_of_its_own(self) -> None:
        raise AssertionError("no numbered case")


class Unclean(Shipped):
    """Its fixture fails on the way out."""

    @pytest.fixture
    def feed(self) -> Any:
        yield MemoryFeed(market_history(days=120))
        raise RuntimeError("the door stuck\nand stays so")


class Unready(Shipped):
    """Its fixture fails on the way in."""

    @pytest.fixture
    def feed(self) -> Any:
        raise RuntimeError("nobody home")


class Unwilling(Shipped):
    """Its fixture skips everything."""

    @pytest.fixture
    def feed(self) -> Any:
        pytest.skip("not today")


HERE = "conformance_suites"


@pytest.fixture
def suites(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suites above under a name that can be imported."""
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


def outcomes(result: Conformance) -> dict[str, str]:
    return {case.number: str(case) for case in result.cases}


def test_a_right_part_passes_every_case_of_its_kind() -> None:
    result = conformance(component())
    assert [case.number for case in result.cases] == [f"F{n:02}" for n in range(1, 13)]
    assert str(result) == "12 passed, 0 skipped, 0 failed"
    assert result.is_conforming
    assert result.cases[0] == CaseResult("F01", "it has a name and a positive interval", "passed")


def test_a_wrong_part_fails_its_case_and_the_message_says_why() -> None:
    result = conformance(component(factory=Forgetful))
    assert outcomes(result)["F01"] == "failed: name is empty"
    assert str(result) == "11 passed, 0 skipped, 1 failed"
    assert not result.is_conforming


def test_one_case_alone() -> None:
    result = conformance(component(factory=Forgetful), ["F02", "F12"])
    assert outcomes(result) == {"F02": "passed", "F12": "passed"}
    with pytest.raises(ConfigError, match="no case 'F13'") as caught:
        conformance(component(), ["F01", "F13"])
    assert caught.value.hint == "there are F01 to F12"


def test_a_strategy_is_made_from_its_defaults_and_skips_are_told() -> None:
    def hold(view: Any, account: Any) -> dict[str, float]:
        return {}

    result = conformance(component("strategy", factory=lambda settings: hold))
    assert outcomes(result)["S09"] == "skipped: the strategy reads the account"
    assert str(result) == "8 passed, 1 skipped, 0 failed"


@pytest.mark.usefixtures("suites")
def test_the_suite_a_plugin_ships_is_the_one_that_runs() -> None:
    def never(settings: Settings) -> Any:
        raise AssertionError("the suite has its own fixture")

    result = conformance(component(suite=f"{HERE}:Shipped", factory=never))
    assert str(result) == "12 passed, 0 skipped, 0 failed"
    assert suite_for(component(suite=f"{HERE}:Shipped")) is Shipped


@pytest.mark.usefixtures("suites")
@pytest.mark.parametrize(
    ("name", "counts", "first"),
    [
        ("Unclean", "0 passed, 0 skipped, 12 failed", "failed: in teardown: RuntimeError: the door stuck"),
        ("Unready", "0 passed, 0 skipped, 12 failed", "failed: in setup: RuntimeError: nobody home"),
        ("Unwilling", "0 passed, 12 skipped, 0 failed", "skipped: not today"),
    ],
)
def test_what_does_not_run_to_its_end_is_no_pass(name: str, counts: str, first: str) -> None:
    result = conformance(component(suite=f"{HERE}:{name}"))
    assert str(result) == counts
    assert outcomes(result)["F01"] == first
    assert not result.is_conforming


@pytest.mark.usefixtures("suites")
@pytest.mark.parametrize(
    ("suite", "said"),
    [
        ("no_such_module:Suite", "cannot be imported: No module named"),
        (f"{HERE}:Nobody", "cannot be imported"),
        (f"{HERE}:HERE", "is 'conformance_suites'"),
        ("fxcarry.testing:BrokerSuite", "is <class 'fxcarry.testing.brokers.BrokerSuite'>"),
    ],
)
def test_a_suite_that_is_none_is_refused(suite: str, said: str) -> None:
    with pytest.raises(PluginError, match=r"the suite .* of feed 'acme'") as caught:
        conformance(component(suite=suite))
    assert said in caught.value.message


def test_a_suite_that_pytest_cannot_collect_is_an_error(suites: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Made(Shipped):
        @property
        def pytestmark(self) -> Any:
            raise RuntimeError("no")

    monkeypatch.setattr(sys.modules[__name__], "Made", Made, raising=False)
    with pytest.raises(PluginError, match="could not be run"):
        conformance(component(suite=f"{HERE}:Made"))


def test_settings_that_have_no_default_are_named() -> None:
    with pytest.raises(ConfigError, match="cannot be made without settings: path"):
        conformance(component(config=Demanding))


def test_no_broker_is_traded_on_from_its_defaults() -> None:
    with pytest.raises(ConfigError, match="broker 'acme' ships no suite, and the cases trade"):
        conformance(component("broker"))


@pytest.mark.parametrize("suite", ["Shipped", "a.b", "a:b:c", ":Shipped", "a b:C", 3, None])
def test_a_suite_is_written_as_module_and_class(suite: Any) -> None:
    with pytest.raises(PluginError, match="suite is"):
        component(suite=suite)


def test_nothing_of_the_users_own_pytest_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither files beside it nor the environment; and nothing is left behind."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text("raise RuntimeError\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--also-no-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_module")
    before = dict(os.environ)
    assert conformance(component(), ["F01"]).is_conforming
    assert dict(os.environ) == before
    assert Path.cwd() == tmp_path
    assert sorted(p.name for p in tmp_path.iterdir()) == ["conftest.py", "pytest.ini"]


def test_without_pytest_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "pytest":
            raise ImportError("No module named 'pytest'")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(PluginError, match="need pytest") as caught:
        conformance(component())
    assert caught.value.hint == 'pip install "fxcarry[testing]"'


def test_case_numbers_are_those_of_the_suite() -> None:
    assert case_numbers(StrategySuite) == [f"S{n:02}" for n in range(1, 10)]


# --- the command


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Component], None]:
    def install(*parts: Component) -> None:
        keys = [(part.kind, part.name) for part in parts]
        origin = Origin("acme", "fxcarry-acme", "1.2")
        found = Registry(
            components=MappingProxyType(dict(zip(keys, parts))), origins=MappingProxyType(dict.fromkeys(keys, origin))
        )
        monkeypatch.setattr(plugins, "load", lambda: found)

    return install


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["conformance", *arguments])


def test_the_command_prints_a_table_and_a_last_line(installed: Callable[[Component], None]) -> None:
    installed(component())
    done = run("feed", "acme")
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[0] == "feed acme of fxcarry-acme 1.2"
    assert lines[2].startswith("F01  it has a name and a positive interval  ")
    assert lines[2].endswith("passed")
    assert lines[-1] == "12 passed, 0 skipped, 0 failed"


def test_a_failure_is_the_exit_code_and_markdown_is_a_table(installed: Callable[[Component], None]) -> None:
    installed(component(factory=Forgetful))
    done = run("feed", "acme", "--markdown", "--case", "F01", "--case", "F02")
    assert done.exit_code == 8
    assert done.output == (
        "| case | what | result |\n|---|---|---|\n"
        "| F01 | it has a name and a positive interval | failed: name is empty |\n"
        "| F02 | its methods have the signatures of the protocol | passed |\n"
        "\n1 passed, 0 skipped, 1 failed\n"
    )


def test_json(installed: Callable[[Component], None]) -> None:
    installed(component(factory=Forgetful))
    found = json.loads(run("feed", "acme", "--json", "--case", "F01").output)
    what = "it has a name and a positive interval"
    assert found == {
        "kind": "feed", "name": "acme", "from": "fxcarry-acme 1.2", "passed": 0, "skipped": 0, "failed": 1,
        "cases": [{"number": "F01", "what": what, "outcome": "failed", "message": "name is empty"}],
    }  # fmt: skip


def test_without_a_name_it_lists_what_can_be_run() -> None:
    every = run()
    assert every.exit_code == 0
    assert "broker    simulated                fxcarry.testing.builtin:SimulatedSuite" in every.output.splitlines()
    assert "strategy  rank                     fxcarry.testing:StrategySuite" in every.output.splitlines()
    feeds = json.loads(run("feed", "--json").output)
    assert {"kind": "feed", "name": "file", "suite": "fxcarry.testing.builtin:FileFeedSuite"} in feeds
    assert {row["kind"] for row in feeds} == {"feed"}


def test_unknown_parts_are_refused_as_the_registry_says() -> None:
    assert isinstance(run("feed", "fil").exception, ConfigError)
    assert 'did you mean "file"?' in str(run("feed", "fil").exception.hint)
    assert "there is no kind 'bank'" in run("bank", "acme").exception.message


@pytest.mark.parametrize(
    ("kind", "name", "counts"),
    [
        ("broker", "simulated", "19 passed, 1 skipped, 0 failed"),
        ("feed", "file", "12 passed, 0 skipped, 0 failed"),
        ("strategy", "rank", "9 passed, 0 skipped, 0 failed"),
    ],
)
def test_built_in_parts_conform(kind: str, name: str, counts: str) -> None:
    done = run(kind, name)
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, counts)


def test_every_kind_that_has_a_suite_names_one() -> None:
    import fxcarry.testing

    assert all(issubclass(getattr(fxcarry.testing, name), fxcarry.testing.Suite) for name in SUITES.values())
