"""Running a suite against an installed component, and what came of it: ``fxcarry conformance``."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import attrs

from fxcarry import testing
from fxcarry.errors import ConfigError, PluginError
from fxcarry.plugins import Component

SUITES = {
    "broker": "BrokerSuite",
    "feed": "FeedSuite",
    "notifier": "NotifierSuite",
    "rule": "RuleSuite",
    "strategy": "StrategySuite",
}
"""The suite of each kind of component, by its name in :mod:`fxcarry.testing`. Its fixture is called as the kind."""

_CLASS = "TestConformance"
_CASE = re.compile(r"test_([A-Z][0-9]{2})_(\w+)")
_PLAIN = (  # nothing of the user's own pytest: no configuration, no conftest, no plugins, no files left behind
    *("-c", "pytest.ini", "--rootdir", ".", "--noconftest", "--import-mode=importlib"),
    *("-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:faulthandler"),
)


@attrs.frozen
class CaseResult:
    """What came of one case. ``message`` is why it was skipped or how it failed."""

    number: str
    what: str
    outcome: Literal["passed", "skipped", "failed"]
    message: str = ""

    def __str__(self) -> str:
        return f"{self.outcome}: {self.message}" if self.message else self.outcome


@attrs.frozen
class Conformance:
    """The cases of a suite, by number, as one component did them."""

    kind: str
    name: str
    cases: tuple[CaseResult, ...]

    def count(self, outcome: str) -> int:
        """How many cases ended so."""
        return sum(case.outcome == outcome for case in self.cases)

    @property
    def is_conforming(self) -> bool:
        """Whether no case failed and at least one passed."""
        return self.count("passed") > 0 and not self.count("failed")

    def __str__(self) -> str:
        return ", ".join(f"{self.count(outcome)} {outcome}" for outcome in ("passed", "skipped", "failed"))


def suite_for(component: Component) -> type[testing.Suite]:
    """The suite to run on ``component``: the one it names, else that of its kind on ``factory(config())``.

    A broker has to name one: the cases trade and close every position, so the account is never taken from defaults.
    Raises PluginError where the named one cannot be imported or is no suite of the kind, ConfigError where there is
    none and the component is a broker or has settings without defaults.
    """
    _need_pytest()
    base: type[testing.Suite] = getattr(testing, SUITES[component.kind])
    if component.suite:
        return _named(component, base)
    if component.kind == "broker":
        raise ConfigError(
            f"broker {component.name!r} ships no suite, and the cases trade: on which account is not guessed",
            hint="Component(suite=…) names a BrokerSuite whose fixture is a broker on a venue made for tests",
        )
    if component.demanded:
        raise ConfigError(
            f"{component.kind} {component.name!r} cannot be made without settings: {', '.join(component.demanded)}",
            hint="its plugin can ship a suite with a fixture that sets them: Component(suite=…)",
        )
    import pytest

    def made(self: Any) -> Any:
        return component.with_defaults()

    return type(_CLASS, (base,), {component.kind: pytest.fixture(name=component.kind)(made)})


def case_numbers(suite: type[testing.Suite]) -> list[str]:
    """The numbers of a suite's cases, in order."""
    return sorted(found[1] for name in dir(suite) if (found := _CASE.match(name)))


def conformance(component: Component, cases: Collection[str] = ()) -> Conformance:
    """Run the suite of ``component``, or only the ``cases`` of these numbers.

    It runs in this process and away from the user's own pytest: neither configuration nor conftest, plugins or
    options of pytest change it. Raises what :func:`suite_for` raises, and ConfigError for an unknown number.
    """
    suite = suite_for(component)
    known = case_numbers(suite)
    unknown = sorted({*cases} - {*known})
    if unknown:
        raise ConfigError(f"there is no case {unknown[0]!r}", hint=f"there are {known[0]} to {known[-1]}")
    import pytest

    observer = _Observer(suite, cases or known)
    with tempfile.TemporaryDirectory() as folder, _alone(Path(folder)):
        code = pytest.main([*_PLAIN, "--basetemp", str(Path(folder, "tmp")), "test_conformance.py"], [observer])
    if code == pytest.ExitCode.INTERRUPTED and not observer.problem:
        raise KeyboardInterrupt
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise PluginError(
            f"the suite of {component.kind} {component.name!r} could not be run: {observer.problem or code}",
            hint=f"look at {suite.__module__}:{suite.__qualname__}",
        )
    results = tuple(sorted(observer.results.values(), key=lambda case: case.number))
    return Conformance(component.kind, component.name, results)


def _need_pytest() -> None:
    try:
        import pytest  # noqa: F401  # only to know whether it is there
    except ImportError as error:
        raise PluginError("the conformance suites need pytest", hint='pip install "fxcarry[testing]"') from error


def _named(component: Component, base: type[testing.Suite]) -> type[testing.Suite]:
    module, _, name = component.suite.partition(":")
    where = f"the suite {component.suite!r} of {component.kind} {component.name!r}"
    try:
        suite = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{where} cannot be imported: {error}", hint='write it as "module:Class"') from error
    if not (isinstance(suite, type) and issubclass(suite, base)):
        raise PluginError(f"{where} is {suite!r}", hint=f"derive it from fxcarry.testing.{base.__name__}")
    return suite


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """In ``folder``, with an empty configuration, and with nothing in the environment that steers pytest."""
    Path(folder, "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    Path(folder, "test_conformance.py").write_text("", encoding="utf-8")
    steering = [key for key in os.environ if key.startswith("PYTEST_")]
    kept = {key: os.environ.pop(key) for key in steering}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        for key in [key for key in os.environ if key.startswith("PYTEST_")]:
            del os.environ[key]
        os.environ.update(kept)


class _Observer:
    """A pytest plugin: hands it the suite, and keeps what came of each case."""

    def __init__(self, suite: type[testing.Suite], cases: Collection[str]) -> None:
        self.suite = suite
        self.cases = cases
        self.results: dict[str, CaseResult] = {}
        self.problem = ""

    def pytest_pycollect_makemodule(self, module_path: Path, parent: Any) -> Any:
        import pytest

        found: Any = pytest.Module.from_parent(parent, path=module_path)
        module: Any = ModuleType("test_conformance")
        setattr(module, _CLASS, self.suite)
        found.obj = module
        return found

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        numbered = [(item, _CASE.match(item.name)) for item in items]
        items[:] = [item for item, number in numbered if number and number[1] in self.cases]

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.problem = str(report.longrepr)

    def pytest_internalerror(self, excrepr: Any) -> None:
        self.problem = str(excrepr.reprcrash.message if excrepr.reprcrash else excrepr)

    def pytest_runtest_logreport(self, report: Any) -> None:
        found = _CASE.match(report.nodeid.rpartition("::")[2])
        assert found is not None  # the others were not collected
        number, name = found.groups()
        if report.outcome == "passed" and (report.when != "call" or number in self.results):
            return
        case = CaseResult(number, name.replace("_", " "), report.outcome, _message(report))
        if number not in self.results or case.outcome == "failed":
            self.results[number] = case


def _message(report: Any) -> str:
    """Why a case was skipped, or the first line of what it failed with."""
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(report.longrepr if crash is None else crash.message).strip()
    variant = report.nodeid.partition("[")[2].rstrip("]")
    where = "".join(f"in {part}: " for part in (report.when, variant) if part not in ("call", ""))
    return where + text.splitlines()[0].removeprefix("AssertionError: ").removeprefix("Failed: ")
