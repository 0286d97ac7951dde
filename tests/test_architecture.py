"""The shape of the house, read from its source: imports point down, nothing heavy at the top, no hidden state."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "src"
PLUGINS = {path.name: path / "src" for path in sorted((ROOT / "plugins").iterdir()) if (path / "src").is_dir()}

# Within a tier, left may import right. backtest() takes a strategy by name, so it stands above build, not below.
TIERS = {
    9: ["cli"],
    8: [
        "checkup",
        "screen",
        "stress",
        "walkforward",
        "daemon",
        "parity",
        "golive",
        "lookahead",
        "ensemble",
        "evidence",
        "backtest",
        "periods",
        "build",
        "builtins",
        "config",
        "plugins",
    ],
    7: ["report", "trials", "statistics"],
    6: ["engine", "live", "deciding"],
    5: [
        "remote",
        "occasions",
        "leak",
        "gap",
        "preview",
        "routing",
        "simulation",
        "blotter",
        "alerts",
        "reconcile",
        "journal",
        "ledger",
        "lots",
        "regimes",
        "strategies",
        "answers",
        "risk",
        "orders",
        "tape",
        "balances",
    ],
    4: [
        "scenarios",
        "venues",
        "allocation",
        "covariance",
        "costs",
        "universe",
        "frictions",
        "clock",
        "store",
        "composite",
        "feeds",
        "http",
    ],
    3: ["protocols", "market"],
    2: ["financing", "carry"],
    1: ["conventions", "model", "plain", "secrets"],
    0: ["errors"],
}
PLACE = {module: n for n, module in enumerate(module for tier in TIERS.values() for module in tier)}
NOT_FOR_TESTING = {"cli", "build"}
NOT_FOR_PLUGINS = {"engine", "live", "deciding", "build", "cli"}
NOT_FOR_ENGINE = {"pluggy", "cattrs", "click", "requests"}
HEAVY = {
    "pandas",
    "scipy",
    "matplotlib",
    "requests",
    "tenacity",
    "holidays",
    "jinja2",
    "rich",
    "pyarrow",
    "piqp",
    "dateutil",
} | {
    "hmmlearn",
    "sklearn",
    "statsmodels",
}
CHANGES = {
    "add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "sort", "update",
}  # fmt: skip


class Import(NamedTuple):
    """One import statement's name: ``module`` is fxcarry's own module or an outside package, at line ``line``."""

    module: str
    name: str
    line: int
    is_at_top: bool


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def walk(node: ast.AST, depth: int = 0) -> Iterator[tuple[ast.AST, int]]:
    """Every node that runs, with the number of functions around it; what only a type checker reads is left out."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(node) and isinstance(node, ast.If) and child in node.body:
            continue
        yield child, depth
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from walk(child, depth + is_function)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imports(path: Path) -> list[Import]:
    found: list[Import] = []
    for node, depth in walk(parsed(path)):
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, "", node.lineno, depth == 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = node.module == "fxcarry" and alias.name in PLACE
                found.append(Import(whole if is_module else str(node.module), alias.name, node.lineno, depth == 0))
    return found


def sources(root: Path = CORE) -> list[Path]:
    return sorted(root.rglob("*.py"))


def top(path: Path) -> str:
    """The module of the table a file belongs to: ``report`` for report/page.py, ``fxcarry`` for the package itself."""
    parts = path.relative_to(CORE / "fxcarry").with_suffix("").parts
    return "fxcarry" if parts == ("__init__",) else parts[0]


def own(module: str) -> str | None:
    """``report`` for ``fxcarry.report.page``; None for what is not fxcarry's or is only the lazy package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == "fxcarry" and len(parts) > 1 else None


def places(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_module_has_its_tier() -> None:
    there = {top(path) for path in sources()} - {"fxcarry", "testing"}
    assert there == set(PLACE)
    assert sum(map(len, TIERS.values())) == len(PLACE)


def test_imports_point_down() -> None:
    wrong = []
    for path in sources():
        module = top(path)
        if module in {"fxcarry", "testing"}:
            continue
        for found in imports(path):
            target = own(found.module)
            if (module, target) == ("cli", "testing"):  # it runs the suites
                continue
            if target is not None and target != module and PLACE.get(target, -1) <= PLACE[module]:
                wrong.append(f"{places(path)}:{found.line} imports {target}")
    assert wrong == []


def test_no_module_imports_itself_in_a_circle() -> None:
    files = {".".join(p.relative_to(CORE).with_suffix("").parts).removesuffix(".__init__"): p for p in sources()}
    graph = {}
    for name, path in files.items():
        wanted = {f"{found.module}.{found.name}" for found in imports(path)}
        wanted |= {found.module for found in imports(path) if f"{found.module}.{found.name}" not in files}
        graph[name] = (wanted & files.keys()) - {name, "fxcarry"}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(PLACE)  # raises CycleError where there is one


def test_the_package_itself_imports_nothing_of_its_own() -> None:
    assert [found for found in imports(CORE / "fxcarry" / "__init__.py") if own(found.module)] == []


def test_testing_stays_below_build_and_nothing_leans_on_it() -> None:
    for path in sources():
        used = {own(found.module) for found in imports(path)}
        if top(path) == "testing":
            assert not used & NOT_FOR_TESTING, places(path)
        elif top(path) != "cli":  # which runs the suites
            assert "testing" not in used, places(path)


def test_heavy_imports_are_inside_functions() -> None:
    wrong = [
        f"{places(path)}:{found.line} imports {found.module} at the top"
        for root in (CORE, *PLUGINS.values())
        for path in sources(root)
        for found in imports(path)
        if found.is_at_top and found.module.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_the_engine_knows_no_files_and_no_plugins() -> None:
    below = [module for n, tier in TIERS.items() if n <= 6 for module in tier]
    for path in sources():
        if top(path) in below and top(path) != "http":  # which nothing below the plugins uses
            outside = {found.module.split(".")[0] for found in imports(path)}
            assert not outside & NOT_FOR_ENGINE, places(path)
    code = f"import sys, fxcarry.engine; print(sorted({NOT_FOR_ENGINE!r} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_uses_public_names_only(plugin: str) -> None:
    for path in sources(PLUGINS[plugin]):
        for found in imports(path):
            if found.module.split(".")[0] == "fxcarry":
                where = f"{places(path)}:{found.line}"
                assert not {own(found.module), found.name} & NOT_FOR_PLUGINS, where
                assert not any(part.startswith("_") for part in (*found.module.split("."), found.name)), where


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Public functions and classes of a module, and the public methods of these classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            is_magic = node.name.startswith("__") and node.name.endswith("__")
            if is_magic or not node.name.startswith("_"):
                yield f"{prefix}{node.name}", node
                if isinstance(node, ast.ClassDef):
                    yield from definitions(node, f"{node.name}.")
        elif isinstance(node, ast.If) and not is_type_checking(node):
            yield from definitions(node, prefix)


def test_public_signatures_say_what_they_take() -> None:
    wrong = [
        f"{places(path)}:{node.lineno} {name} takes **{node.args.kwarg.arg}"
        for root in (CORE, *PLUGINS.values())
        for path in sources(root)
        for name, node in definitions(parsed(path))
        if isinstance(node, ast.FunctionDef) and node.args.kwarg is not None
    ]
    assert wrong == []


def test_everything_public_has_a_docstring() -> None:
    wrong = []
    for root in (CORE, *PLUGINS.values()):
        for path in sources(root):
            if not ast.get_docstring(parsed(path)):
                wrong.append(f"{places(path)}: the module")
            for name, node in definitions(parsed(path)):
                is_magic = node.name.startswith("__")
                is_overload = any(ast.unparse(d).endswith("overload") for d in node.decorator_list)
                is_setter = any(ast.unparse(d).endswith(".setter") for d in node.decorator_list)
                if not (is_magic or is_overload or is_setter or ast.get_docstring(node)):
                    wrong.append(f"{places(path)}:{node.lineno} {name}")
    assert wrong == []


def test_no_star_imports_and_no_base_helpers() -> None:
    for root in (CORE, *PLUGINS.values()):
        for path in sources(root):
            assert all(found.name != "*" for found in imports(path)), places(path)
            for name, node in definitions(parsed(path)):
                if isinstance(node, ast.ClassDef):
                    assert not name.endswith(("Manager", "Helper", "Utils", "Base", "Data")), f"{places(path)} {name}"


def changes_to_globals(path: Path) -> Iterator[str]:
    """Where a function changes a name its module defined: ``global``, an item set or deleted, a changing method."""
    tree = parsed(path)
    defined = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.Lambda):
            continue
        nodes = list(ast.walk(function))
        local = {node.arg for node in nodes if isinstance(node, ast.arg)}
        local |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}

        def is_shared(value: ast.expr, names: set[str] = defined - local) -> bool:
            return isinstance(value, ast.Name) and value.id in names

        for node in nodes:
            where = f"{places(path)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Global):
                yield f"{where} global {', '.join(node.names)}"
            elif isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
                if is_shared(node.value):
                    yield f"{where} sets a part of {ast.unparse(node.value)}"
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in CHANGES
                and is_shared(node.func.value)
            ):
                yield f"{where} {ast.unparse(node.func)}()"


def test_no_function_changes_a_global() -> None:
    paths = [path for root in (CORE, *PLUGINS.values()) for path in sources(root)]
    assert [line for path in paths for line in changes_to_globals(path)] == []


@pytest.mark.parametrize("package", ["fxcarry", "fxcarry.report", "fxcarry.testing"])
def test_all_resolves(package: str) -> None:
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        _ = module.no_such_name


def test_public_names_show_before_they_are_loaded() -> None:
    code = "import fxcarry; assert set(dir(fxcarry)) == set(fxcarry.__all__)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_backtest_and_build_stay_functions_whatever_is_imported_first() -> None:
    code = (
        "import fxcarry.backtest, fxcarry.build, fxcarry, sys\n"
        "from fxcarry import backtest, build\n"
        "assert callable(backtest) and callable(build), (backtest, build)\n"
        "assert fxcarry.backtest is backtest is sys.modules['fxcarry.backtest'].backtest\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
