"""Plugins: the records they hand out, the hooks they fill, and the loader that survives a broken one.

A plugin is an entry point of group ``fxcarry`` that names a *light* module with one hook::

    from fxcarry.plugins import Component, hookimpl

    @hookimpl
    def fxcarry_components():
        return [Component(kind="feed", name="acme", config=AcmeFeed, factory=open_feed, summary="Acme's prices.")]

What the core brings itself is registered the same way, by ``fxcarry.builtins``.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs
import pluggy

from fxcarry.errors import ConfigError, PluginError

if TYPE_CHECKING:
    import click

Kind = Literal["feed", "broker", "strategy", "rule", "notifier"]

GROUP = "fxcarry"
"""The entry-point group, the name of the core distribution, and the marker of the hooks."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

_logger = logging.getLogger("fxcarry.plugins")
_BUILTIN = EntryPoint("builtin", "fxcarry.builtins", GROUP)
_KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_OWN_KEYS = {"strategy": {"use", "rules"}}  # keys of a section that belong to fxcarry, not to the component


@attrs.frozen(kw_only=True)
class Component:
    """One thing a plugin offers, named by ``use = "<name>"`` in a section of the configuration.

    ``name`` is kebab-case and unique in its ``kind``. ``config`` is the attrs class the section's other keys are
    structured into; ``factory`` takes an instance of it and returns the feed, broker, strategy, rule or notifier.
    Heavy imports belong inside ``factory``. ``summary`` is one line for ``fxcarry plugins``.

    ``suite`` is for ``fxcarry conformance``: ``"module:Class"``, a suite of :mod:`fxcarry.testing` with its fixtures.
    It is imported only then. Without one the suite of the kind runs on ``factory(config())``; a broker needs one.

    Raises PluginError where one of these is not so.
    """

    kind: Kind
    name: str
    config: type
    factory: Callable[[Any], Any]
    summary: str
    suite: str = ""

    def __attrs_post_init__(self) -> None:
        def check(is_right: bool, what: str, hint: str) -> None:
            if not is_right:
                raise PluginError(f"component {self.name!r}: {what}", hint=hint)

        kinds = get_args(Kind)
        check(self.kind in kinds, f"kind is {self.kind!r}", f"one of {', '.join(kinds)}")
        is_kebab = isinstance(self.name, str) and _KEBAB.fullmatch(self.name) is not None
        check(is_kebab, "the name is not kebab-case", 'write it like "max-position"')
        is_record = isinstance(self.config, type) and attrs.has(self.config)
        check(is_record, f"config is {self.config!r}", "give an attrs class, the schema of its section")
        taken = sorted({a.name for a in attrs.fields(self.config)} & _OWN_KEYS.get(self.kind, {"use"}))
        check(not taken, f"its config has a field {', '.join(taken)}", "these keys belong to fxcarry; rename it")
        check(callable(self.factory), f"factory is {self.factory!r}", "give a callable that takes the config")
        is_line = isinstance(self.summary, str) and bool(self.summary.strip()) and "\n" not in self.summary
        check(is_line, f"summary is {self.summary!r}", "give one line")
        is_place = isinstance(self.suite, str) and (not self.suite or _PLACE.fullmatch(self.suite) is not None)
        check(is_place, f"suite is {self.suite!r}", 'write it as "module:Class", or leave it out')

    @property
    def demanded(self) -> tuple[str, ...]:
        """The keys of its config that have no default."""
        return tuple(a.name for a in attrs.fields(self.config) if a.init and a.default is attrs.NOTHING)

    def with_defaults(self) -> Any:
        """What it is without any settings; ConfigError where some must be given."""
        if self.demanded:
            raise ConfigError(
                f"{self.kind} {self.name!r} cannot be made without settings: {', '.join(self.demanded)}",
                hint="give it a section of its own",
            )
        return self.factory(self.config())


@attrs.frozen(kw_only=True)
class Section:
    """A part chosen in the configuration: the component and its settings, an instance of ``component.config``."""

    component: Component
    settings: Any


@attrs.frozen(kw_only=True)
class FeedSection(Section):
    """A feed within the settings of another, for the fields of a component's config: a table with its own ``use``."""


class Hooks:
    """What a plugin may implement. Mark an implementation with :data:`hookimpl`; both hooks are optional."""

    @hookspec
    def fxcarry_components(self) -> Iterable[Component]:
        """The components the plugin offers."""
        raise NotImplementedError

    @hookspec
    def fxcarry_commands(self, cli: click.Group) -> None:
        """Add sub-commands to the ``fxcarry`` command."""


@attrs.frozen
class Origin:
    """Where a component comes from: the entry point ``plugin`` of a distribution and its version."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.plugin!r})"


@attrs.frozen(eq=False)
class BrokenPlugin:
    """A plugin that could not be loaded, and why. ``name`` is its entry point."""

    name: str
    distribution: str
    error: BaseException


@attrs.frozen(kw_only=True, eq=False)
class Registry:
    """What is installed: components and origins by (kind, name), broken plugins, and commands.

    Each of ``commands`` takes a click group and lets one plugin add to it; a failure there is one warning in the log,
    or a PluginError where plugins are strict.
    """

    components: Mapping[tuple[str, str], Component]
    origins: Mapping[tuple[str, str], Origin]
    broken: tuple[BrokenPlugin, ...] = ()
    commands: tuple[Callable[[click.Group], None], ...] = ()

    def of(self, kind: Kind) -> list[Component]:
        """The components of one kind, by name."""
        return [component for key, component in sorted(self.components.items()) if key[0] == kind]

    def get(self, kind: Kind, name: str) -> Component:
        """The component of that kind and name.

        Raises PluginError, with the cause chained, where a broken plugin stands for the name (its entry point or its
        distribution is called so, or the broken plugin is the built-in one), else ConfigError with the nearest name
        and all there are.
        """
        if (kind, name) in self.components:
            return self.components[kind, name]
        for plugin in self.broken:
            if name in {plugin.name, plugin.distribution, plugin.distribution.removeprefix(f"{GROUP}-")} or (
                plugin.distribution == GROUP
            ):
                raise _refusal(plugin, f"{kind} {name!r} cannot be used: ") from plugin.error
        names = [component.name for component in self.of(kind)]
        near = difflib.get_close_matches(str(name), names, 1)
        raise ConfigError(
            f"there is no {kind} {name!r}",
            hint=(f'did you mean "{near[0]}"? ' if near else "")
            + (f"there are {', '.join(names)}" if names else f"no {kind} is installed")
            + "".join(f"; plugin {plugin.name!r} is broken" for plugin in self.broken),
            fields={"kind": kind, "name": name},
        )


def load(environ: Mapping[str, str] = os.environ) -> Registry:
    """Load every installed plugin. One that is broken becomes a line in ``Registry.broken`` and one warning in the log.

    ``FXCARRY_PLUGINS=off`` loads the built-ins only, ``FXCARRY_PLUGINS=a,b`` the built-ins and the entry points ``a``
    and ``b``; ``FXCARRY_STRICT_PLUGINS=1`` makes a broken plugin an error. Each plugin is loaded, registered with a
    pluggy manager of its own and checked by itself, so none can spoil another.

    Raises PluginError where two plugins offer the same (kind, name), where ``FXCARRY_PLUGINS`` asks for one that is not
    installed, and, if strict, for a broken one.
    """
    is_strict = environ.get("FXCARRY_STRICT_PLUGINS", "").strip() == "1"
    components: dict[tuple[str, str], Component] = {}
    origins: dict[tuple[str, str], Origin] = {}
    broken: list[BrokenPlugin] = []
    commands: list[Callable[[click.Group], None]] = []
    for entry in _chosen(environ.get("FXCARRY_PLUGINS", "").strip()):
        origin = _origin(entry)
        try:
            manager = pluggy.PluginManager(GROUP)
            manager.add_hookspecs(Hooks)
            manager.register(entry.load(), entry.name)
            manager.check_pending()
            offered = _components(manager)
        except (Exception, SystemExit) as error:
            plugin = BrokenPlugin(entry.name, origin.distribution, error)
            _report(plugin, is_strict)
            broken.append(plugin)
            continue
        for component in offered:
            key = (component.kind, component.name)
            if key in components:
                raise PluginError(
                    f"{component.kind} {component.name!r} is offered twice: by {origins[key]} and by {origin}",
                    hint="uninstall one of them, or name the plugins to load in FXCARRY_PLUGINS",
                    fields={"origins": (origins[key], origin)},
                )
            components[key], origins[key] = component, origin
        if manager.hook.fxcarry_commands.get_hookimpls():
            commands.append(_command(manager, entry.name, origin.distribution, is_strict))
    return Registry(
        components=MappingProxyType(components),
        origins=MappingProxyType(origins),
        broken=tuple(broken),
        commands=tuple(commands),
    )


def _chosen(wanted: str) -> list[EntryPoint]:
    """The entry points to load, the built-in one first, the others by name."""
    found = list(entry_points(group=GROUP))
    builtin = [e for e in found if _origin(e).distribution == GROUP] or [_BUILTIN]
    others = sorted((e for e in found if _origin(e).distribution != GROUP), key=lambda e: (e.name, str(_origin(e))))
    if not wanted:
        return builtin + others
    if wanted == "off":
        return builtin
    names = {name.strip() for name in wanted.split(",") if name.strip()}
    missing = sorted(names - {e.name for e in builtin + others})
    if missing:
        raise PluginError(
            f"FXCARRY_PLUGINS asks for {missing[0]!r}, which is not installed",
            hint=f"installed are {', '.join(e.name for e in builtin + others)}",
        )
    return builtin + [e for e in others if e.name in names]


def _origin(entry: EntryPoint) -> Origin:
    if entry.dist is not None:
        metadata = entry.dist.metadata
        name, version = ((metadata.get_all(key) or ["unknown"])[0] for key in ("Name", "Version"))
        return Origin(entry.name, re.sub(r"[-_.]+", "-", name).lower(), version)
    from fxcarry import __version__

    return Origin(entry.name, GROUP, __version__)


def _components(manager: pluggy.PluginManager) -> list[Component]:
    """What the one plugin of ``manager`` offers; raises PluginError where it is not components."""
    implementations = manager.hook.fxcarry_components.get_hookimpls()
    if not implementations and not manager.hook.fxcarry_commands.get_hookimpls():
        raise PluginError("it implements no hook", hint="mark fxcarry_components with fxcarry.plugins.hookimpl")
    offered: list[Component] = []
    for implementation in implementations:
        answer: Any = implementation.function()
        for component in answer:
            if not isinstance(component, Component):
                raise PluginError(
                    f"fxcarry_components() gave {component!r}", hint="return a list of fxcarry.plugins.Component"
                )
            offered.append(component)
    return offered


def _command(
    manager: pluggy.PluginManager, name: str, distribution: str, is_strict: bool
) -> Callable[[click.Group], None]:
    def add_commands(cli: click.Group) -> None:
        try:
            manager.hook.fxcarry_commands(cli=cli)
        except (Exception, SystemExit) as error:
            _report(BrokenPlugin(name, distribution, error), is_strict)

    return add_commands


def _report(plugin: BrokenPlugin, is_strict: bool) -> None:
    if is_strict:
        raise _refusal(plugin) from plugin.error
    _logger.warning("%s", _refusal(plugin).message)


def _refusal(plugin: BrokenPlugin, prefix: str = "") -> PluginError:
    return PluginError(
        f"{prefix}plugin {plugin.name!r} of {plugin.distribution} is broken: "
        f"{type(plugin.error).__name__}: {plugin.error}",
        hint=f"reinstall or uninstall {plugin.distribution}",
        fields={"plugin": plugin.name, "distribution": plugin.distribution},
    )
