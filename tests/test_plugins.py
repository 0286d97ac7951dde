"""The loader, against real distributions written to disk: a module and a .dist-info with its entry points."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import pytest

from fxcarry.errors import ConfigError, PluginError
from fxcarry.plugins import BrokenPlugin, Component, Origin, Registry, load

FEED = """
import attrs
from fxcarry.plugins import Component, hookimpl

@attrs.frozen
class Settings:
    path: str = "x"

@hookimpl
def fxcarry_components():
    return [Component(kind="feed", name="{name}", config=Settings, factory=lambda s: s, summary="A feed.")]
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution ``fxcarry-<name>`` whose module ``fxcarry_<name>`` has the given source."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name: str, source: str, *, distribution: str = "", version: str = "0.3.1", entries: str = "") -> None:
        distribution = distribution or f"fxcarry-{name}"
        module = f"fxcarry_{name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[fxcarry]\n{entries or f'{name} = {module}'}\n")
        importlib.invalidate_caches()

    # A core distribution of our own shadows the installed one, so these tests do not depend on what it registers.
    write(
        "core", FEED.format(name="core-feed"), distribution="fxcarry", version="9.9", entries="builtin = fxcarry_core"
    )
    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def ours(**environ: str) -> Registry:
    """Load what the tests installed, whatever else is in this environment."""
    return load({f"FXCARRY_{k}": v for k, v in environ.items()})


def warnings_of(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    records = [r for r in caplog.records if r.name == "fxcarry.plugins" and r.levelno == logging.WARNING]
    return [r.getMessage() for r in records if f"'{name}'" in r.getMessage()]


def broken(registry: Registry, name: str) -> BrokenPlugin:
    [found] = [plugin for plugin in registry.broken if plugin.name == name]
    return found


# --- what works


def test_a_plugin_registers_its_components_with_their_origin(install: Install) -> None:
    install("acme", FEED.format(name="acme"))
    registry = ours(PLUGINS="acme")
    component = registry.get("feed", "acme")
    assert component.factory(component.config()).path == "x"
    assert registry.origins["feed", "acme"] == Origin("acme", "fxcarry-acme", "0.3.1")
    assert str(registry.origins["feed", "acme"]) == "fxcarry-acme 0.3.1 (entry point 'acme')"
    assert [c.name for c in registry.of("feed")] == ["acme", "core-feed"]
    assert registry.of("notifier") == []
    assert registry.broken == ()


def test_all_plugins_load_by_default_and_each_load_is_fresh(install: Install) -> None:
    install("acme", FEED.format(name="acme"))
    first = ours()
    install("best", FEED.format(name="best"))
    second = ours()
    assert ("feed", "best") in second.components
    assert ("feed", "best") not in first.components
    assert ("feed", "acme") in first.components


def test_the_environment_chooses_plugins(install: Install) -> None:
    install("acme", FEED.format(name="acme"))
    install("best", FEED.format(name="best"))
    assert {name for _, name in ours(PLUGINS="off").components} == {"core-feed"}
    assert {name for _, name in ours(PLUGINS="best").components} == {"core-feed", "best"}
    assert {name for _, name in ours(PLUGINS=" acme, best,").components} == {"core-feed", "acme", "best"}
    assert {"acme", "best"} <= {name for _, name in ours(PLUGINS="").components}
    with pytest.raises(PluginError, match=r"asks for 'acmee', which is not installed .*acme"):
        ours(PLUGINS="acmee")


def test_a_plugin_that_is_switched_off_is_not_imported(install: Install) -> None:
    install("acme", "raise RuntimeError('imported')")
    assert ours(PLUGINS="off").broken == ()


def test_the_built_ins_load_without_a_core_distribution(install: Install, tmp_path: Path) -> None:
    """As when run from a source tree: no metadata, but the module is there."""
    code = """
import importlib.metadata, sys, types
importlib.metadata.distributions = lambda **_: iter(())
module = types.ModuleType("fxcarry.builtins")
exec(open(sys.argv[1]).read(), module.__dict__)
sys.modules["fxcarry.builtins"] = module
from fxcarry import __version__
from fxcarry.plugins import load
registry = load({"FXCARRY_STRICT_PLUGINS": "1"})
assert str(registry.origins["feed", "core-feed"]) == f"fxcarry {__version__} (entry point 'builtin')"
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "fxcarry_core.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_real_built_ins_load_strictly() -> None:
    registry = load({"FXCARRY_PLUGINS": "off", "FXCARRY_STRICT_PLUGINS": "1"})
    assert registry.get("strategy", "baseline").kind == "strategy"
    assert {origin.distribution for origin in registry.origins.values()} == {"fxcarry"}


def test_commands_are_added_to_a_group(install: Install) -> None:
    install(
        "acme",
        """
import click
from fxcarry.plugins import hookimpl

@hookimpl
def fxcarry_commands(cli):
    @cli.command()
    def hello():
        click.echo("hello from acme")
""",
    )
    registry = ours(PLUGINS="acme")
    group = click.Group()
    for add in registry.commands:
        add(group)
    assert list(group.commands) == ["hello"]


def test_a_failing_command_hook_is_one_warning(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install(
        "acme",
        "from fxcarry.plugins import hookimpl\n@hookimpl\ndef fxcarry_commands(cli):\n    raise SystemExit('no')\n",
    )
    for add in ours(PLUGINS="acme").commands:
        add(click.Group())
    assert len(warnings_of(caplog, "acme")) == 1
    [add] = ours(PLUGINS="acme", STRICT_PLUGINS="1").commands
    with pytest.raises(PluginError, match="SystemExit: no"):
        add(click.Group())


# --- what is broken is isolated

HOOK = "from fxcarry.plugins import Component, hookimpl\n@hookimpl\ndef fxcarry_components():\n    "

BROKEN = {
    "a module that raises": ("raise ValueError('bad module')", ValueError, "bad module"),
    "a missing dependency": ("import no_such_sdk", ModuleNotFoundError, "no_such_sdk"),
    "a module that exits": ("raise SystemExit('good-bye')", SystemExit, "good-bye"),
    "a syntax error": ("def (", SyntaxError, "invalid syntax"),
    "a hook that raises": (HOOK + "raise OSError('no disk')", OSError, "no disk"),
    "a hook that exits": (HOOK + "raise SystemExit(3)", SystemExit, "3"),
    "a hook that gives nothing": (HOOK + "pass", TypeError, "NoneType"),
    "a hook that gives no component": (HOOK + "return ['acme']", PluginError, "fxcarry_components() gave 'acme'"),
    "a generator that fails half way": (HOOK + "yield from ()\n    raise KeyError('half')", KeyError, "half"),
    "a component that is none": (
        HOOK + "return [Component(kind='feed', name='Acme', config=int, factory=int, summary='x')]",
        PluginError,
        "not kebab-case",
    ),
    "an unknown hook": (
        "from fxcarry.plugins import hookimpl\n@hookimpl\ndef fxcarry_component():\n    return []",
        Exception,
        "unknown hook 'fxcarry_component'",
    ),
    "an unknown argument": (
        "from fxcarry.plugins import hookimpl\n@hookimpl\ndef fxcarry_commands(cli, parser):\n    pass",
        Exception,
        "parser",
    ),
    "no hook at all": ("def fxcarry_components():\n    return []", PluginError, "it implements no hook"),
}


@pytest.mark.parametrize(("source", "error", "text"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_is_isolated(
    install: Install, caplog: pytest.LogCaptureFixture, source: str, error: type[BaseException], text: str
) -> None:
    install("aaa", source)
    install("zzz", FEED.format(name="zzz"))
    registry = ours(PLUGINS="aaa,zzz")
    assert {name for _, name in registry.components} == {"core-feed", "zzz"}
    plugin = broken(registry, "aaa")
    assert plugin.distribution == "fxcarry-aaa"
    assert isinstance(plugin.error, error)
    assert text in str(plugin.error)
    [warning] = warnings_of(caplog, "aaa")
    assert text in warning
    assert "fxcarry-aaa" in warning
    with pytest.raises(PluginError) as strict:
        ours(PLUGINS="aaa,zzz", STRICT_PLUGINS="1")
    assert isinstance(strict.value.__cause__, error)


def test_an_entry_point_without_a_module_is_isolated(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("acme", "", entries="gone = fxcarry_no_such_module\nodd = not a module!")
    registry = ours(PLUGINS="gone,odd")
    assert {plugin.name for plugin in registry.broken} == {"gone", "odd"}
    assert len(warnings_of(caplog, "gone")) == len(warnings_of(caplog, "odd")) == 1


def test_an_interrupt_is_not_swallowed(install: Install) -> None:
    install("acme", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        ours(PLUGINS="acme")


def test_a_distribution_without_metadata_still_loads(install: Install, tmp_path: Path) -> None:
    install("acme", FEED.format(name="acme"))
    (tmp_path / "fxcarry_acme-0.3.1.dist-info" / "METADATA").write_text("\n")
    assert str(ours(PLUGINS="acme").origins["feed", "acme"]) == "unknown unknown (entry point 'acme')"


@pytest.mark.parametrize("name", ["core-feed", "acme"])
def test_a_name_offered_twice_is_an_error_that_names_both(install: Install, name: str) -> None:
    install("acme", FEED.format(name="acme"))
    install("copy-cat", FEED.format(name=name))
    first = "fxcarry 9.9" if name == "core-feed" else "fxcarry-acme 0.3.1"
    with pytest.raises(PluginError, match=rf"feed '{name}' is offered twice: by {first} .* by fxcarry-copy-cat 0.3.1"):
        ours(PLUGINS="acme,copy-cat")
    assert ("feed", "acme") in ours(PLUGINS="acme").components


# --- asking for a component


def test_an_unknown_name_suggests_the_nearest(install: Install) -> None:
    install("acme", FEED.format(name="acme"))
    registry = ours(PLUGINS="acme")
    with pytest.raises(
        ConfigError, match=r'there is no feed \'acne\' \(did you mean "acme"\? there are acme, core-feed\)'
    ):
        registry.get("feed", "acne")
    with pytest.raises(ConfigError, match=r"there is no broker 'acme' \(no broker is installed\)"):
        registry.get("broker", "acme")


def test_a_broken_plugin_that_was_asked_for_is_an_error_with_its_cause(install: Install) -> None:
    install("acme", "import no_such_sdk")
    registry = ours(PLUGINS="acme")
    for name in ("acme", "fxcarry-acme"):
        with pytest.raises(
            PluginError, match=r"broker .* cannot be used: plugin 'acme' of fxcarry-acme is broken"
        ) as raised:
            registry.get("broker", name)
        assert isinstance(raised.value.__cause__, ModuleNotFoundError)
    with pytest.raises(ConfigError, match=r"no broker 'zeta' .*plugin 'acme' is broken"):
        registry.get("broker", "zeta")


def test_broken_built_ins_explain_every_missing_name(install: Install, tmp_path: Path) -> None:
    (tmp_path / "fxcarry_core.py").write_text("raise ImportError('core is broken')")
    importlib.invalidate_caches()
    with pytest.raises(PluginError, match="core is broken"):
        ours(PLUGINS="off").get("strategy", "baseline")


# --- the records


@attrs.frozen
class Settings:
    k: int = 3


def component(**changes: Any) -> Component:
    about: dict[str, Any] = {"kind": "rule", "name": "max-position", "config": Settings, "factory": Settings}
    return Component(**{**about, "summary": "One line.", **changes})


@attrs.frozen
class TakesUse:
    use: str = "x"


@attrs.frozen
class TakesRules:
    rules: str = "x"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "dashboard"}, "one of feed, broker, strategy, rule, notifier"),
        ({"name": "MaxPosition"}, "kebab-case"),
        ({"name": "max_position"}, "kebab-case"),
        ({"name": "max-"}, "kebab-case"),
        ({"name": ""}, "kebab-case"),
        ({"name": None}, "kebab-case"),
        ({"config": dict}, "attrs class"),
        ({"config": Settings()}, "attrs class"),
        ({"config": TakesUse}, "a field use"),
        ({"kind": "strategy", "config": TakesRules}, "a field rules"),
        ({"factory": None}, "callable"),
        ({"summary": "two\nlines"}, "one line"),
        ({"summary": " "}, "one line"),
    ],
)
def test_a_wrong_component_says_what_is_wrong(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(PluginError, match=text):
        component(**changes)


def test_a_component_and_a_registry_are_frozen(install: Install) -> None:
    one = component(config=TakesRules)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.name = "other"  # type: ignore[misc]
    registry = ours(PLUGINS="off")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        registry.broken = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        registry.components["feed", "x"] = one  # type: ignore[index]


def test_the_module_is_light() -> None:
    code = "import sys, fxcarry.plugins; print(sorted({'numpy', 'pandas', 'click', 'cattrs'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_component_on_its_defaults_is_made_unless_some_setting_has_none() -> None:
    registry = load({"FXCARRY_PLUGINS": "off"})
    assert registry.get("notifier", "console").demanded == ()
    assert registry.get("notifier", "console").with_defaults().name == "console"
    with pytest.raises(ConfigError, match="feed 'file' cannot be made without settings: prices"):
        registry.get("feed", "file").with_defaults()
