"""The documentation says what the code does: its code runs, and nothing public is missing from the reference."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from click.testing import CliRunner

import fxcarry
from fxcarry import errors, risk
from fxcarry.alerts import AlertSettings, Route
from fxcarry.cli import cli
from fxcarry.config import ChannelKeys, Live, effective, load_config
from fxcarry.costs import Costs
from fxcarry.plugins import Component, load
from fxcarry.testing.conformance import SUITES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
TEXTS = [*PAGES, *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
REFERENCE = DOCS / "reference"
FENCE = re.compile(r"^```(\w+)[ ]?([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str, mark: str) -> list[str]:
    """The code blocks of a page in a language whose fence carries a mark."""
    return [code for found, marks, code in FENCE.findall(read(path)) if found == language and mark in marks.split()]


def sections(path: Path) -> dict[str, str]:
    """The text of a page under each of its headings, headings of any level apart."""
    parts = re.split(r"^#+ (.+)$", read(path), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def runs_python(path: Path) -> bool:
    return bool(blocks(path, "python", "run"))


# --- what runs -------------------------------------------------------------------------------------------------------


@pytest.mark.ecb
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_is_short_runs_offline_and_prints_something(path, tmp_path):
    assert len(read(path).splitlines()) < 60
    work, output = tmp_path / "work", tmp_path / "output"
    work.mkdir()
    output.mkdir()
    command = [sys.executable, "-W", "error", str(path), str(output)]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) >= 4
    assert not list(work.iterdir()), "it writes outside the folder it was given"


def test_the_examples_are_numbered():
    assert [p.stem[:2] for p in EXAMPLES] == [f"{n:02}" for n in range(1, 11)]


@pytest.mark.ecb
@pytest.mark.parametrize("path", [p for p in TEXTS if runs_python(p)], ids=relative)
def test_the_python_of_a_page_runs_in_order(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "page"}
    for number, code in enumerate(blocks(path, "python", "run"), 1):
        exec(compile(code, f"{relative(path)}, block {number}", "exec"), namespace)


@pytest.mark.ecb
@pytest.mark.parametrize("path", [p for p in TEXTS if blocks(p, "console", "run")], ids=relative)
def test_a_console_session_prints_what_the_page_says(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for session in blocks(path, "console", "run"):
        for command, expected in re.findall(
            r"^\$ fxcarry ([^\n]+)\n(.*?)(?=^\$|\Z)", session, re.DOTALL | re.MULTILINE
        ):
            result = CliRunner().invoke(cli, command.split())
            assert (result.exit_code, result.output) == (0, expected)


def test_every_page_that_should_run_something_does():
    wanted = {"quickstart.md", *(f"howto/{p.name}" for p in (DOCS / "howto").glob("*.md"))} - {
        "howto/feed-plugin.md",
        "howto/runbook.md",  # for a person at a terminal
    }
    assert wanted <= {str(p.relative_to(DOCS)) for p in PAGES if runs_python(p)}


def test_the_plugin_of_the_howto_is_found_and_passes_its_suite(tmp_path):
    """Written to disk as a distribution, as ``pip install`` would leave it."""
    page = DOCS / "howto" / "feed-plugin.md"
    for name in ("fxcarry_acme.py", "test_acme.py"):
        [code] = blocks(page, "python", f"file={name}")
        (tmp_path / name).write_text(code, encoding="utf-8")
    assert len(blocks(page, "python", "file=fxcarry_acme.py")[0].splitlines()) <= 50
    info = tmp_path / "fxcarry_acme-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fxcarry-acme\nVersion: 0.1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[fxcarry]\nacme = fxcarry_acme\n", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    listed = json.loads(python("-c", "from fxcarry.cli import main; main(['plugins', '--json'])"))
    assert {"kind": "feed", "name": "acme", "summary": "Prices of Acme.", "from": "fxcarry-acme 0.1.0"} in listed[
        "components"
    ]
    assert not listed["broken"]
    assert "12 passed" in python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme.py")


@pytest.mark.parametrize(
    ("name", "ends"),
    [("run", ".venv/bin/fxcarry backtest"), ("test", ".venv/bin/python -m pytest -n 2 --dist loadfile")],
)
def test_the_readme_has_one_line_to_run_and_one_to_test(name, ends):
    commands = re.findall(rf"^<!-- {name} -->\n```sh\n(.*?)```$", read(ROOT / "README.md"), re.DOTALL | re.MULTILINE)
    assert len(commands) == 1
    assert len(commands[0].splitlines()) == 1
    assert commands[0].startswith("python3 -m venv .venv && .venv/bin/pip install -r requirements")
    assert commands[0].rstrip("\n").endswith(f" && {ends}")


def test_the_readme_has_a_result_table():
    text = read(ROOT / "README.md")
    table = text[text.index("<!-- table:begin -->") : text.index("<!-- table:end -->")]
    for word in ("Sharpe ± SE", "baseline", "optimized", "spot only"):
        assert word in table


# --- what is documented ----------------------------------------------------------------------------------------------


def commands(group: click.Group, prefix: str = "fxcarry") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


@pytest.mark.parametrize(("name", "command"), list(commands(cli)), ids=lambda x: x if isinstance(x, str) else "")
def test_every_command_and_option_is_in_the_reference(name, command):
    [(heading, text)] = [
        (h, t) for h, t in sections(REFERENCE / "command-line.md").items() if f"{h} ".startswith(f"{name} ")
    ]
    documented = set(re.findall(r"^\| `(--[\w-]+)", text, re.MULTILINE))
    options = {o for p in command.params if isinstance(p, click.Option) for o in p.opts if o.startswith("--")}
    assert documented == options
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            assert (parameter.metavar or "").strip("[]") in heading
        elif isinstance(parameter.type, click.Choice):
            assert all(str(choice) in text for choice in parameter.type.choices)


def test_general_options_are_in_the_reference():
    text = read(REFERENCE / "command-line.md")
    for parameter in cli.params:
        assert f"`{parameter.opts[0]}`" in text


def errors_of_the_tree() -> list[type[errors.FxCarryError]]:
    return [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.FxCarryError)]


@pytest.mark.parametrize("error", errors_of_the_tree(), ids=lambda c: c.__name__)
def test_every_error_is_listed_with_its_exit_code(error):
    assert f"| `{error.__name__}` | {error.exit_code} |" in read(REFERENCE / "errors.md")


def test_every_public_name_is_documented():
    table = read(REFERENCE / "api" / "index.md")
    assert set(re.findall(r"^\| `fxcarry\.(\w+)`", table, re.MULTILINE)) == set(fxcarry.__all__)


def test_every_module_has_a_page():
    found = {p.stem for p in (ROOT / "src" / "fxcarry").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    pages = {p.stem for p in (REFERENCE / "api").glob("*.md")} - {"index"}
    assert found - pages == {"__init__", "builtins", "cli"}  # documented as the configuration and the command line
    assert not pages - found


def components() -> list[Component]:
    registry = load({})
    ours = {
        "fxcarry",
        "fxcarry-alphavantage",
        "fxcarry-apprise",
        "fxcarry-ecb",
        "fxcarry-email",
        "fxcarry-fred",
        "fxcarry-oanda",
        "fxcarry-paper",
        "fxcarry-sms",
    }
    return [c for key, c in registry.components.items() if registry.origins[key].distribution in ours]


def written(value: Any) -> str:
    """A default as the configuration page writes it."""
    if value is attrs.NOTHING:
        return "required"
    return "none" if value is None else f"`{json.dumps(value)}`"


def assert_keys(text: str, fields: Mapping[str, Any]) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", text, re.MULTILINE))
    assert rows.keys() == fields.keys()
    for key, default in fields.items():
        if isinstance(default, str | int | float) or default in (None, attrs.NOTHING):
            assert rows[key].split(" | ")[1].strip() == written(default), key


@pytest.mark.parametrize("component", components(), ids=lambda c: f"{c.kind} {c.name}")
def test_every_key_of_a_component_is_on_the_configuration_page(component):
    page, heading = sections(REFERENCE / "configuration.md"), f'use = "{component.name}"'
    text = page.get(f"{heading}, a {component.kind}") or page[heading]
    fields = {a.name: a.default for a in attrs.fields(component.config) if a.init}
    assert_keys(text, fields)
    if not fields:
        assert "No keys" in text


def test_every_general_key_and_section_is_on_the_configuration_page():
    page = sections(REFERENCE / "configuration.md")
    tables = effective(load_config(None, load({}), {}))
    names = {"costs": "[costs]", "feed": "[feed]", "broker": "[broker]", "strategies": "[strategies.NAME]"}
    names |= {"rules": "[[rules]]", "notifiers": "[[notifiers]]", "alerts": "[alerts]", "live": "[live]"}
    assert set(names.values()) <= page.keys()
    general = {"venue": None, **{key: value for key, value in tables.items() if key not in names}}
    assert_keys(page["General keys"], general)
    assert_keys(page["[costs]"], {"use": "retail"} | {a.name: a.default for a in attrs.fields(Costs)})
    assert_keys(page["[alerts]"], {a.name: a.default for a in attrs.fields(AlertSettings)})
    assert_keys(page["[[alerts.routes]]"], {a.name: a.default for a in attrs.fields(Route)})
    assert_keys(page["[[notifiers]]"], {a.name: () for a in attrs.fields(ChannelKeys)})
    assert_keys(page["[live]"], {a.name: a.default for a in attrs.fields(Live)})
    for currency, spread in Costs().spread_bps.items():
        assert currency == "USD" or re.search(rf"\b{currency} {spread:g}\b", " ".join(page["[costs]"].split()))


def test_every_risk_rule_and_code_is_in_the_table():
    text = read(REFERENCE / "risk-rules.md")
    for component in components():
        if component.kind == "rule":
            assert f"| `{component.name}` |" in text
    rows = re.findall(r"^\| (`[\w-]+`|\(the venue\)) \| ([^|]+) \|", text, re.MULTILINE)
    listed = [code for _, codes in rows for code in re.findall(r"`([A-Z_]+)`", codes)]
    assert sorted(listed) == sorted({*risk.Code} - {risk.Code.OK})


def test_every_code_is_used_and_no_rule_invents_one():
    package = ROOT / "src" / "fxcarry" / "risk"
    text = "".join(read(p) for p in package.glob("*.py") if p.name != "shared.py")
    used = set(re.findall(r"\bCode\.([A-Z_]+)", text))
    assert used == {*risk.Code} - {risk.Code.OK, risk.Code.MARGIN_CLOSEOUT}  # what is quiet, and what the venue does
    assert not re.findall(r'"[A-Z]+_[A-Z_]+"', text.replace('"RATE_BUDGET"', ""))


def test_every_column_and_key_of_the_output_is_explained():
    from fxcarry.testing import market_history

    feed = fxcarry.MemoryFeed(market_history(days=60))
    result = fxcarry.backtest("sign", feed=feed, start="2020-01-07")
    text = sections(DOCS / "howto" / "output-files.md")
    for column in ("date", "nav", *result.attribution.columns):
        assert f"`{column}`" in text["nav.csv"]
    for column in result.trades.columns:
        assert f"| `{column}` |" in text["trades.csv"]
    for key in (*result.stats, "variants"):
        assert f"`{key}`" in text["summary.json"]


def test_every_case_of_the_suites_is_in_the_reference():
    page = sections(REFERENCE / "conformance.md")
    for suite in (getattr(fxcarry.testing, name) for name in SUITES.values()):
        cases = {name[5:8]: name for name in dir(suite) if re.match("test_[A-Z][0-9]{2}_", name)}
        expected = []
        for number, name in sorted(cases.items()):
            means = " ".join(inspect.getdoc(getattr(suite, name)).split()).replace("``", "`")
            expected.append(f"| {number} | {name[9:].replace('_', ' ')} | {means} |")
        assert [line for line in page[suite.__name__].splitlines() if re.match(r"\| [A-Z]\d", line)] == expected


# --- the rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*TEXTS, *EXAMPLES, DOCS / "conf.py"], ids=relative)
def test_no_package_index_and_no_path_of_a_machine_is_named(path):
    text = read(path)
    assert not re.search(r"pypi|pythonhosted|anaconda|conda-forge|--index-url|/home/|/Users/|/tmp/|/work/", text, re.I)


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_links_to_files_lead_somewhere(path):
    prose = FENCE.sub("", read(path))
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)", prose):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", [p for p in PAGES if p.name != "calendar-differences.md"], ids=relative)
def test_every_page_carries_or_links_the_disclaimer(path):
    assert "disclaimer" in read(path).lower()


def test_the_built_pages_carry_the_disclaimer_too():
    assert '"announcement": "For education only, no advice.' in read(DOCS / "conf.py")


def test_intersphinx_is_off_unless_asked_for():
    text = read(DOCS / "conf.py")
    assert text.index("FXCARRY_INTERSPHINX") < text.index("sphinx.ext.intersphinx")
