"""Sessions of nox, each in an environment of its own. ``nox`` lists them; ``nox -s lint types`` runs two.

In an environment that has requirements-dev.txt already: ``nox --no-venv --no-install -s lint types docs examples``.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.stop_on_first_error = True
nox.options.sessions = []

ROOT = Path(__file__).parent
ALPHAVANTAGE = "./plugins/fxcarry-alphavantage"
APPRISE = "./plugins/fxcarry-apprise"
ECB = "./plugins/fxcarry-ecb"
EMAIL = "./plugins/fxcarry-email"
FRED = "./plugins/fxcarry-fred"
OANDA = "./plugins/fxcarry-oanda"
PAPER = "./plugins/fxcarry-paper"
SMS = "./plugins/fxcarry-sms"
DISTRIBUTIONS = (".", ALPHAVANTAGE, APPRISE, ECB, EMAIL, FRED, OANDA, PAPER, SMS)
PRISM = "@stoplight/prism-cli@5.14.2"
DEVELOPMENT = "requirements-dev.txt"
TOOLS = [line for line in (ROOT / DEVELOPMENT).read_text("utf-8").splitlines() if line and line[0] not in "#-"]


def tools(*names: str) -> list[str]:
    """Lines of requirements-dev.txt, by the name of the package."""
    return [line for line in TOOLS if re.split("[<>=]", line)[0] in names]


@nox.session
def tests(session: nox.Session) -> None:
    """Every test, of the core and of the plugins."""
    session.install("-r", DEVELOPMENT)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def core(session: nox.Session) -> None:
    """The core alone: no plugin is installed, what needs one is skipped and says so."""
    session.install("-e", ".[parquet]", *TOOLS)
    session.run("python", "-m", "pytest", "tests", *session.posargs)


def as_installed(session: nox.Session, plugin: str, *oracles: str) -> None:
    """Its tests on the plugin as its users have it: both wheels, no development tree on the path."""
    session.install(".", plugin, *tools("hypothesis", "pytest", "pytest-socket", *oracles))
    session.run("python", "-m", "pytest", plugin, *session.posargs)


@nox.session(name="plugin-alphavantage")
def plugin_alphavantage(session: nox.Session) -> None:
    """The Alpha Vantage plugin as installed."""
    as_installed(session, ALPHAVANTAGE)


@nox.session(name="plugin-apprise")
def plugin_apprise(session: nox.Session) -> None:
    """The Apprise plugin as installed."""
    as_installed(session, APPRISE)


@nox.session(name="plugin-ecb")
def plugin_ecb(session: nox.Session) -> None:
    """The ECB plugin as installed."""
    as_installed(session, ECB)


@nox.session(name="plugin-email")
def plugin_email(session: nox.Session) -> None:
    """The e-mail plugin as installed."""
    as_installed(session, EMAIL, "aiosmtpd", "trustme")


@nox.session(name="plugin-fred")
def plugin_fred(session: nox.Session) -> None:
    """The FRED plugin as installed."""
    as_installed(session, FRED)


@nox.session(name="plugin-oanda")
def plugin_oanda(session: nox.Session) -> None:
    """The OANDA plugin as installed."""
    as_installed(session, OANDA, "oandapyV20", "v20")


@nox.session(name="plugin-paper")
def plugin_paper(session: nox.Session) -> None:
    """The paper plugin as installed."""
    as_installed(session, PAPER)


@nox.session(name="plugin-sms")
def plugin_sms(session: nox.Session) -> None:
    """The text message plugin as installed."""
    as_installed(session, SMS)


@nox.session
def lowest(session: nox.Session) -> None:
    """Every test with the lowest version of each dependency that the distributions declare."""
    declared = [tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8")) for folder in DISTRIBUTIONS]
    wanted = {line for project in declared for line in project["project"]["dependencies"]}
    for extra in ("ml", "parquet"):
        wanted |= set(declared[0]["project"]["optional-dependencies"][extra])
    pins = sorted(re.sub(r">=([^,]+).*", r"==\1", line) for line in wanted if not line.startswith("fxcarry"))
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text("\n".join([*pins, ""]), "utf-8")
    session.install("-c", str(constraints), "-r", DEVELOPMENT)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and mistakes that can be seen."""
    session.install(*tools("ruff"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly."""
    session.install("-r", DEVELOPMENT)
    session.run("mypy", "src", *(f"{folder}/src" for folder in DISTRIBUTIONS[1:]), "plugins/TEMPLATE/src")


@nox.session
def contracts(session: nox.Session) -> None:
    """Fake venues against the official schemas, with Prism in between; needs Node.js, and ../shared/specs."""
    session.install("-r", DEVELOPMENT)
    folder = Path(session.create_tmp()).resolve() / "prism"
    prism = folder / "node_modules" / ".bin" / "prism"
    if not prism.exists():
        session.run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), PRISM, external=True)
    tests = sorted(map(str, (ROOT / "plugins").glob("*/tests/test_contract_v*.py")))
    session.run("python", "-m", "pytest", *tests, *session.posargs, env={"FXCARRY_PRISM": str(prism)})


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation; a link that leads nowhere is an error."""
    session.install("-r", DEVELOPMENT)
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session
def examples(session: nox.Session) -> None:
    """Every example runs as it is, in an empty folder."""
    session.install("-r", "requirements.txt")
    for script in sorted((ROOT / "examples").glob("*.py")):
        with session.chdir(session.create_tmp()):
            session.run("python", "-W", "error", str(script), silent=True)


@nox.session
def torture(session: nox.Session) -> None:
    """A replay on paper is killed 500 times at random moments; it takes four minutes."""
    session.install("-r", DEVELOPMENT)
    test = "tests/faults/test_run.py::test_killed_at_random_it_ends_with_the_same_account_and_no_order_twice"
    session.run("python", "-m", "pytest", "-q", test, env={"TORTURE_KILLS": "500"})


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmark prints its lines."""
    session.install("-r", "requirements.txt")
    for script in sorted((ROOT / "benchmarks").glob("j*.py")):
        session.run("python", str(script))


@nox.session
def build(session: nox.Session) -> None:
    """Source distributions, wheels made from them, and a run of what the wheels install."""
    session.install(*tools("build"))
    folder = Path(session.create_tmp()).resolve() / "dist"
    for distribution in DISTRIBUTIONS:
        session.run("python", "-m", "build", "--outdir", str(folder), distribution)
    session.install(*map(str, sorted(folder.glob("*.whl"))))
    with session.chdir(folder):
        session.run("fxcarry", "--version")
        session.run("fxcarry", "plugins")
        session.run("fxcarry", "init", "--force")
        session.run("fxcarry", "backtest", "--start", "2015-01-01", "--end", "2015-12-31", silent=True)
    session.install("-r", DEVELOPMENT)
    session.run("python", "-m", "pytest", "tests/test_packaging.py")
