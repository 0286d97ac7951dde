"""What is not needed is not loaded: importing the library and asking for help stay light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = [
    "numpy",
    "pandas",
    "scipy",
    "matplotlib",
    "requests",
    "holidays",
    "jinja2",
    "pyarrow",
    "rich",
    "cattrs",
    "attr",
    "hmmlearn",
    "sklearn",
    "statsmodels",
]


def loaded_by(code: str) -> set[str]:
    """The top-level packages a fresh process has loaded after ``code``, which prints nothing on standard error."""
    probe = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(run.stderr)}


def command(*arguments: str) -> str:
    call = f"main({list(arguments)!r})"
    return f"from fxcarry.cli import main\ntry:\n    {call}\nexcept SystemExit as end:\n    assert end.code == 0"


@pytest.mark.parametrize(
    "code",
    [
        "import fxcarry",
        "import fxcarry; dir(fxcarry); fxcarry.__all__; fxcarry.__version__",
        "from fxcarry import FxCarryError",
        command("--help"),
        command("--version"),
        command("backtest", "--help"),
        command("config", "show", "--help"),
    ],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    loaded = loaded_by(code)
    assert "fxcarry" in loaded
    assert sorted(loaded & set(HEAVY)) == []


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("from fxcarry import Pair; Pair.parse('EURUSD')", {"numpy", "attr"}),
        ("from fxcarry import Engine, SimBroker, MemoryFeed, MarketHistory", {"numpy", "attr"}),
        ("import fxcarry.strategies, fxcarry.risk, fxcarry.statistics", {"numpy", "attr"}),
        ("import fxcarry.regimes", {"numpy", "attr"}),
        ("from fxcarry import backtest, build", {"numpy", "attr", "cattrs"}),
        ("from fxcarry import plugins; plugins.load()", {"numpy", "attr"}),
        (command("plugins"), {"numpy", "attr"}),
        (command("roll", "USDCAD", "2025-01-16"), {"numpy", "attr", "holidays", "dateutil"}),
    ],
)
def test_the_rest_loads_only_what_it_uses(code: str, allowed: set[str]) -> None:
    assert sorted((loaded_by(code) & set(HEAVY)) - allowed) == []


def test_the_probe_sees_what_is_loaded() -> None:
    assert {"numpy", "click"} <= loaded_by("import numpy, click")
