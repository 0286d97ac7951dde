"""What is installed: versions, dependencies, and every file in the archives that has to be there."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import fxcarry

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"fxcarry": ROOT, **{path.parent.name: path.parent for path in ROOT.glob("plugins/fxcarry-*/pyproject.toml")}}
PROJECTS = {
    name: tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"] for name, folder in FOLDERS.items()
}
IMPORTED_AS = {"attr": "attrs", "currency_converter": "currencyconverter", "dateutil": "python-dateutil"}
OPTIONAL = {"aiosmtpd": "testing", "pyarrow": "parquet", "pytest": "the user's own tests", "trustme": "testing"}
ESSENTIAL = {
    "fxcarry": {
        "fxcarry/py.typed",
        "fxcarry/report/template.html",
        "fxcarry/templates/env",
        "fxcarry/templates/fxcarry.toml",
    },
    "fxcarry-alphavantage": {"fxcarry_alphavantage/py.typed", "fxcarry_alphavantage/testing/fake.py"},
    "fxcarry-apprise": {"fxcarry_apprise/py.typed", "fxcarry_apprise/testing/fake.py"},
    "fxcarry-ecb": {"fxcarry_ecb/py.typed", "fxcarry_ecb/policy_rates.csv"},
    "fxcarry-email": {"fxcarry_email/page.html", "fxcarry_email/py.typed", "fxcarry_email/testing/fake.py"},
    "fxcarry-fred": {"fxcarry_fred/py.typed", "fxcarry_fred/testing/fake.py"},
    "fxcarry-oanda": {"fxcarry_oanda/py.typed", "fxcarry_oanda/testing/fake.py"},
    "fxcarry-paper": {"fxcarry_paper/py.typed"},
    "fxcarry-slack": {"fxcarry_slack/py.typed", "fxcarry_slack/testing/fake.py"},
    "fxcarry-sms": {"fxcarry_sms/py.typed", "fxcarry_sms/testing/fake.py"},
}


def lines(name: str) -> list[str]:
    text = (ROOT / name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def sources(name: str) -> list[Path]:
    """The files of a distribution's import package, relative to its source folder."""
    folder = FOLDERS[name] / "src"
    return [
        path.relative_to(folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    ]


def template() -> list[str]:
    """The files of the template that plugins start from, relative to its folder."""
    folder = ROOT / "plugins" / "TEMPLATE"
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return [path.as_posix() for path in found if not {"__pycache__", ".pytest_cache"} & {*path.parts}]


def test_all_distributions_share_one_version() -> None:
    assert {project["version"] for project in PROJECTS.values()} == {fxcarry.__version__}
    assert all(project["name"] == name for name, project in PROJECTS.items())


@pytest.mark.parametrize("name", sorted(set(PROJECTS) - {"fxcarry"}))
def test_a_plugin_is_tied_to_the_minor_series_of_the_core(name: str) -> None:
    major, minor = map(int, fxcarry.__version__.split(".")[:2])
    assert f"fxcarry>={major}.{minor},<{major}.{minor + 1}" in PROJECTS[name]["dependencies"]


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_imported_is_declared_and_what_is_declared_is_imported(name: str) -> None:
    imported = set()
    for path in sources(name):
        if path.suffix == ".py":
            for node in ast.walk(ast.parse((FOLDERS[name] / "src" / path).read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.split(".")[0])
    outside = imported - sys.stdlib_module_names - OPTIONAL.keys() - {name.replace("-", "_")}
    declared = {re.split("[<>=~! ]", line)[0] for line in PROJECTS[name]["dependencies"]}
    assert {IMPORTED_AS.get(package, package) for package in outside} == declared


@pytest.mark.parametrize("name", PROJECTS)
def test_dependencies_have_a_lower_bound_and_no_needless_upper_one(name: str) -> None:
    optional = [line for extra in PROJECTS[name].get("optional-dependencies", {}).values() for line in extra]
    for line in [*PROJECTS[name]["dependencies"], *optional]:
        pattern = r"fxcarry>=[\d.]+,<[\d.]+" if line.startswith("fxcarry") else r"[a-z0-9-]+>=[\d.]+(post\d+)?"
        assert re.fullmatch(pattern, line), line


@pytest.mark.parametrize("name", PROJECTS)
def test_entry_points_name_modules_that_are_there(name: str) -> None:
    own = PROJECTS[name]["entry-points"]["fxcarry"]
    for module in own.values():
        assert Path(*module.split(".")) in {path.with_suffix("") for path in sources(name)} | {
            path.parent for path in sources(name) if path.name == "__init__.py"
        }
    if name == "fxcarry":
        assert PROJECTS[name]["scripts"] == {"fxcarry": "fxcarry.cli:main"}
        assert own.items() <= {(entry.name, entry.value) for entry in entry_points(group="fxcarry")}


def test_requirements_install_this_tree_and_nothing_else() -> None:
    paths = [".", *sorted(f"./{folder.relative_to(ROOT)}" for name, folder in FOLDERS.items() if name != "fxcarry")]
    needless = {f"./plugins/fxcarry-{name}" for name in ("apprise", "email", "slack", "sms")}  # for the main job
    assert lines("requirements.txt") == [path for path in paths if path not in needless]
    editable = [line.removeprefix("-e ") for line in lines("requirements-dev.txt") if line.startswith("-e ")]
    assert [re.sub(r"\[.*\]", "", path) for path in editable] == paths
    tools = [line for line in lines("requirements-dev.txt") if not line.startswith("-e ")]
    pinned = [line for line in tools if not re.fullmatch(r"[A-Za-z-]+>=[\d.]+", line)]  # no address, no option
    assert pinned == ["oandapyV20==0.7.2", "v20==3.0.25.0"]  # what nobody maintains is held where it was tried
    assert {"pytest", "nox", "mypy", "ruff", "sphinx"} <= {line.split(">=")[0] for line in tools}


@pytest.mark.parametrize("marker", ["run", "test"])
def test_the_readme_has_its_two_commands(marker: str) -> None:
    """`.ci/run` finds them by their marker and runs them as they are."""
    text = (ROOT / "README.md").read_text("utf-8")
    [(command,)] = [
        block.splitlines() for block in re.findall(rf"^<!-- {marker} -->\n```\w*\n(.*?)```$", text, re.M | re.S)
    ]
    name = {"run": "requirements.txt", "test": "requirements-dev.txt"}[marker]
    assert command.startswith(f"python3 -m venv .venv && .venv/bin/pip install -r {name} && .venv/bin/")


def test_ci_is_an_executable_script() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text("utf-8").startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script.read_text("utf-8")
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("name", ESSENTIAL)
def test_files_are_found_where_the_code_looks(name: str) -> None:
    if importlib.util.find_spec(name.replace("-", "_")) is None:
        pytest.skip(f"{name} is not installed")
    for path in ESSENTIAL[name]:
        package, _, rest = path.partition("/")
        assert files(package).joinpath(rest).is_file(), path


@pytest.fixture(scope="module", params=list(PROJECTS))
def archives(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name, names in the source distribution, names in the wheel that is made from it."""
    for tool in ("build", "hatchling"):
        pytest.importorskip(tool, reason=f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("dist")
    run = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(FOLDERS[request.param])],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    [source], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tarfile.open(source) as archive:
        sdist = {name.split("/", 1)[1] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as archive:
        return request.param, sdist, set(archive.namelist())


def test_the_archives_hold_every_source_file_and_nothing_strange(archives: tuple[str, set[str], set[str]]) -> None:
    name, sdist, wheel = archives
    wanted = {path.as_posix() for path in sources(name)}
    assert {f"src/{path}" for path in wanted} <= sdist
    if name == "fxcarry":
        assert {f"plugins/TEMPLATE/{path}" for path in template()} <= sdist
        wanted |= {f"fxcarry/templates/plugin/{path}" for path in template()}
    assert wanted >= ESSENTIAL[name]
    info = f"{name.replace('-', '_')}-{fxcarry.__version__}.dist-info/"
    assert {path for path in wheel if not path.startswith(info)} == wanted
    assert {"PKG-INFO", "README.md", "pyproject.toml"} <= sdist
    assert {f"{info}METADATA", f"{info}RECORD", f"{info}entry_points.txt"} <= wheel


def test_the_license_comes_along(archives: tuple[str, set[str], set[str]]) -> None:
    _, sdist, wheel = archives
    assert "LICENSE" in sdist
    assert [path for path in wheel if path.endswith(".dist-info/licenses/LICENSE")]
