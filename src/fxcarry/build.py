"""``build()``: the only place that joins configuration, plugins and the engine."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from fxcarry import plugins
from fxcarry.alerts import AlertSettings, Channel
from fxcarry.builtins import SimulatedConfig
from fxcarry.config import Config, load_config
from fxcarry.engine import Engine
from fxcarry.errors import ConfigError, PluginError
from fxcarry.journal import Journal
from fxcarry.plugins import Section
from fxcarry.protocols import Broker, DataFeed, Notifier, RiskRule, Strategy
from fxcarry.risk import default_rules
from fxcarry.routing import routing_of
from fxcarry.simulation import SimBroker
from fxcarry.universe import universe_of


@attrs.frozen(kw_only=True)
class Parts:
    """What a configuration and a strategy's name resolve to. ``config`` is None where there was none.

    ``venue`` are the settings of a simulated broker, by the names of :class:`~fxcarry.simulation.SimBroker`'s
    arguments.
    """

    strategy: Strategy
    rules: tuple[RiskRule, ...] | None
    config: Config | None
    venue: dict[str, Any]


def make(section: Section) -> Any:
    """The object a section of the configuration stands for; PluginError chains what its factory raised."""
    try:
        return section.component.factory(section.settings)
    except ImportError as error:
        raise PluginError(
            f"{section.component.kind} {section.component.name!r} cannot be made: {error}",
            hint="install what it needs",
        ) from error


def channels_of(settings: Config) -> list[Channel]:
    """The configured channels of alerts, by the names that routes call them."""
    return [Channel.of(make(section), section.name, section.per_hour) for section in settings.notifiers]


def feed_of(config: Config | None) -> DataFeed:
    """The configured feed, or ``ecb``."""
    if config is not None and config.feed is not None:
        feed: DataFeed = make(config.feed)
        return feed
    made: DataFeed = (plugins.load() if config is None else config.registry).get("feed", "ecb").with_defaults()
    return made


def find_object(reference: str, kind: str) -> Any:
    """A user's own strategy or factory, given as ``path/to/file.py:name`` or ``package.module:name``.

    A file is run anew each time; what stands beside it may be imported. A module is looked for in the working directory
    too. A class is called without arguments and stands for the object it makes. ``kind`` is how an error calls it.
    Raises ConfigError where the file or name is missing, the module cannot be imported, or what it names cannot be
    called.
    """
    place, _, name = reference.rpartition(":")
    if not (place and name):
        raise ConfigError(f"{kind} {reference!r} is incomplete", hint="write it like path/to/file.py:name")
    module = _module(place, kind)
    found: Any = getattr(module, name, None)
    if found is None:
        own = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise ConfigError(f"{place} has no {name!r}", hint=f"it has {', '.join(own) or 'nothing that can be called'}")
    if isinstance(found, type):
        try:
            found = found()
        except Exception as error:
            raise ConfigError(
                f"{reference} cannot be made without arguments: {error}",
                hint=f"name an object instead: made = {name}(…)",
            ) from error
    if not callable(found):
        raise ConfigError(
            f"{reference} is {found!r}, which cannot be called",
            hint="a strategy is a callable (view, account) -> weights, a factory makes one from a history",
        )
    return found


def _module(place: str, kind: str) -> ModuleType:
    path = Path(place).expanduser()
    is_file = path.suffix == ".py" or path.parent != Path()
    if is_file and not path.is_file():
        raise ConfigError(f"{kind} file {place} does not exist", hint="write it like path/to/file.py:name")
    try:
        if not is_file:
            with _importable(Path.cwd()):
                return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(f"_fxcarry_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ConfigError(f"{kind} file {place} is not Python", hint="its name ends in .py")
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
        with _importable(path.resolve().parent):
            spec.loader.exec_module(module)
        return module
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{'file' if is_file else 'module'} {place} cannot be imported: {type(error).__name__}: {error}",
            hint="mend it; fxcarry --debug … shows where" if is_file else "is the name right, and the module here?",
        ) from error


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules in ``folder`` can be imported meanwhile."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def resolve(config: Config | str | Path | None, strategy: str | Strategy) -> Parts:
    """Look up a strategy by name and its rules: a section of the configuration first, then ``file.py:name`` or
    ``module:name`` (see :func:`find_object`), then a component."""
    registry = config.registry if isinstance(config, Config) else plugins.load()
    settings = config if isinstance(config, Config) else None if config is None else load_config(config, registry)
    rules = None if settings is None or settings.rules is None else tuple(make(s) for s in settings.rules)
    chosen: Any = strategy
    if isinstance(strategy, str):
        section = None if settings is None else settings.strategies.get(strategy)
        if section is not None:
            chosen = make(section)
            rules = rules if section.rules is None else tuple(make(s) for s in section.rules)
        elif ":" in strategy:
            chosen = find_object(strategy, "strategy")
        else:
            chosen = registry.get("strategy", strategy).with_defaults()
    venue: dict[str, Any] = {}
    if settings is not None and settings.broker is not None and isinstance(settings.broker.settings, SimulatedConfig):
        venue = settings.broker.settings.venue()
    return Parts(strategy=chosen, rules=rules, config=settings, venue=venue)


def the_strategy(settings: Config) -> str:
    """The name of the only strategy that is configured; ConfigError where there is not one."""
    if len(settings.strategies) != 1:
        raise ConfigError(
            f"the configuration has {len(settings.strategies)} strategies",
            hint=f"say which (--strategy): {', '.join(settings.strategies) or 'none is configured'}",
        )
    return next(iter(settings.strategies))


def build(
    config: Config | str | Path | None = None,
    *,
    strategy: str | Strategy | None = None,
    feed: DataFeed | None = None,
    broker: SimBroker | Broker | None = None,
    rules: Sequence[RiskRule] | None = None,
    journal: Journal | None = None,
    notifiers: Sequence[Notifier] | None = None,
    alerting: AlertSettings | None = None,
    beside: Sequence[RiskRule] = (),
) -> Engine:
    """An Engine from a configuration file (or none: the defaults). Any part may be replaced by a plain object.

    ``strategy`` names a section or component, or is a callable; by default the only strategy of the configuration.
    ``beside`` are rules that are in force too, each where there are rules and none of its kind.
    Raises ConfigError with every mistake in the file, PluginError where a named plugin is missing or broken.
    """
    settings = config if isinstance(config, Config) else load_config(config, plugins.load())
    parts = resolve(settings, the_strategy(settings) if strategy is None else strategy)
    chosen_rules = parts.rules if rules is None else tuple(rules)
    in_force = default_rules() if chosen_rules is None else chosen_rules
    if in_force:
        new = (rule for rule in beside if not any(isinstance(other, type(rule)) for other in in_force))
        in_force = (*in_force, *new)
    chosen_broker = broker or _broker(settings)
    return Engine(
        feed=feed or feed_of(settings),
        broker=chosen_broker,
        strategy=parts.strategy,
        rules=in_force,
        universe=universe_of(settings.universe, settings.account_currency),
        rebalance=settings.rebalance,
        journal=journal,
        costs=settings.costs,
        routing=routing_of(settings.routing),
        notifiers=channels_of(settings) if notifiers is None else notifiers,
        alerting=settings.alerts if alerting is None else alerting,
        account_currency=settings.account_currency,
        financing=None if isinstance(chosen_broker, SimBroker) else settings.financing,
    )


def broker_named(settings: Config, name: str, folder: Path) -> SimBroker | Broker:
    """The configured broker where it is the one of that name, else that one on its default settings; to read from.

    A simulated one is a copy in memory. ``paper`` that is not configured is the account in ``folder``, as
    :func:`paper_broker` makes it. ConfigError where there is no such broker, or it cannot do without settings.
    """
    section = settings.broker
    if section is None or section.component.name != name:
        component = settings.registry.get("broker", name)
        try:
            own = component.config(**({"path": str(folder / "paper.sqlite")} if name == "paper" else {}))
        except TypeError as error:
            raise ConfigError(
                f"the broker {name} has settings that must be given: {error}", hint=f'[broker] with use = "{name}"'
            ) from error
        section = Section(component=component, settings=own)
    if not isinstance(section.settings, SimulatedConfig):
        broker: Broker = make(section)
        return broker
    made = _simulated(section.settings, settings)
    path: Path | None = getattr(made, "path", None)
    is_there = path is None or path.exists()  # reading makes no account
    found = made.twin() if is_there else SimBroker(account_currency=settings.account_currency)
    found.name = name
    return found


def _broker(settings: Config) -> SimBroker | Broker:
    section = _present(settings.broker, "broker")
    if not isinstance(section.settings, SimulatedConfig):
        broker: Broker = make(section)
        return broker
    return _simulated(section.settings, settings)


def _simulated(own: SimulatedConfig, settings: Config) -> SimBroker:
    """A simulated broker on its own settings and the general ones."""
    broker: SimBroker = own.broker(
        {
            "cash": settings.cash if own.cash is None else own.cash,
            "account_currency": settings.account_currency,
            "costs": settings.costs,
            "financing": settings.financing,
        }
    )
    return broker


def paper_broker(settings: Config, path: Path) -> SimBroker | Broker:
    """The configured broker; where that is the simulated one, which forgets, the paper account in the file ``path`` on
    the same terms. PluginError where ``fxcarry-paper`` is not installed.
    """
    section = settings.broker
    if section is not None and section.component.name != "simulated":
        return _broker(settings)
    if ("broker", "paper") not in settings.registry.components:
        raise PluginError("there is no paper broker", hint="pip install fxcarry-paper")
    given = {} if section is None else attrs.asdict(section.settings)
    given.pop("account_id", None)
    config = settings.registry.get("broker", "paper").config
    return _simulated(config(path=str(path), **given), settings)


def _present(part: Any, name: str) -> Any:
    if part is None:
        raise ConfigError(f"no {name} is configured and its default is not installed", hint=f"add a [{name}] section")
    return part
