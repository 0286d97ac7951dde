"""``fxcarry plugins new``: what it writes is a plugin that installs and conforms, under any name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fxcarry.cli import cli
from fxcarry.cli.extending import _template
from fxcarry.errors import ConfigError

TUTORIAL = Path(__file__).resolve().parents[1] / "docs" / "tutorial" / "broker-plugin.md"
MAIN = "import sys; from fxcarry.cli import main; main(sys.argv[1:])"


def new(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["plugins", "new", *arguments])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_spelling_of_the_name_is_replaced(tmp_path: Path) -> None:
    done = new("my-bank")
    assert done.exit_code == 0
    assert f"$ fxcarry plugins new my-bank\n{done.output}```" in TUTORIAL.read_text("utf-8")
    assert done.output == (
        'wrote fxcarry-my-bank\nnext: pip install -e "fxcarry-my-bank[testing]"; fxcarry conformance broker my-bank\n'
    )
    folder = tmp_path / "fxcarry-my-bank"
    modules = {f"src/fxcarry_my_bank/{name}.py" for name in ("__init__", "broker", "calls", "feed", "testing")}
    assert files(folder) == modules | {
        "README.md", "pyproject.toml", "src/fxcarry_my_bank/py.typed", "tests/test_contract.py",
    }  # fmt: skip
    for path in folder.rglob("*"):
        if path.is_file():
            assert not re.search("acme", path.read_text("utf-8"), re.IGNORECASE), path
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == "fxcarry-my-bank"
    assert project["entry-points"] == {"fxcarry": {"my-bank": "fxcarry_my_bank"}}
    assert "class MyBankBroker:" in (folder / "src/fxcarry_my_bank/broker.py").read_text("utf-8")
    assert "MY_BANK_TEST_TOKEN" in (folder / "src/fxcarry_my_bank/testing.py").read_text("utf-8")


def test_the_folder_may_be_given_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert new("bank", "empty").exit_code == 0
    assert new("bank", "deep/er").exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = new("bank2", "empty")
    assert isinstance(again.exception, ConfigError)
    assert "is there already" in again.exception.message
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (tmp_path / "file").write_text("x", "utf-8")
    assert "is there already" in str(new("bank", "file").exception)
    assert "cannot write" in str(new("bank", "file/below").exception)


@pytest.mark.parametrize("name", ["MyBank", "my_bank", "1bank", "my--bank", "../bank", ""])
def test_a_name_is_kebab_case(name: str) -> None:
    assert "is not kebab-case" in str(new(name).exception)


@pytest.mark.parametrize(("name", "kind"), [("simulated", "broker"), ("file", "feed")])
def test_a_name_that_is_taken_is_refused(name: str, kind: str) -> None:
    assert f"there is a {kind} '{name}' already, of fxcarry" in str(new(name).exception)


def test_the_group_still_lists() -> None:
    assert "broker    simulated" in CliRunner().invoke(cli, ["plugins"]).output
    assert {"components", "broken"} == json.loads(CliRunner().invoke(cli, ["plugins", "--json"]).output).keys()


def test_without_a_template_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fxcarry.__file__", str(tmp_path / "a" / "b" / "fxcarry" / "__init__.py"))
    with pytest.raises(ConfigError, match="template of plugins is not installed"):
        _template()


def test_what_is_written_installs_and_conforms(tmp_path: Path) -> None:
    for tool in ("pip", "hatchling"):
        pytest.importorskip(tool, reason=f"{tool} is not installed")
    assert new("my-bank").exit_code == 0
    site, folder = tmp_path / "site", tmp_path / "fxcarry-my-bank"
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    offline = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    python("-m", "pip", "install", *offline, "--target", str(site), str(folder))
    listed = json.loads(python("-c", MAIN, "plugins", "--json"))
    assert not listed["broken"]
    assert {"broker", "feed"} == {c["kind"] for c in listed["components"] if c["from"] == "fxcarry-my-bank 0.1.0"}
    broker = python("-c", MAIN, "conformance", "broker", "my-bank")
    assert broker.endswith("\n19 passed, 1 skipped, 0 failed\n")
    assert f"$ fxcarry conformance broker my-bank\n{broker}```" in TUTORIAL.read_text("utf-8")
    feed = python("-c", MAIN, "conformance", "feed", "my-bank").splitlines()
    assert feed[-1] == "12 passed, 0 skipped, 0 failed"
    own = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not test_B and not test_F", str(folder))
    assert "11 passed" in own
