"""``build()``: the only place that joins configuration, plugins and the engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from fxcarry import plugins
from fxcarry.builtins import SimulatedConfig
from fxcarry.config import Config, Section, load_config
from fxcarry.engine import Engine
from fxcarry.errors import ConfigError, PluginError
from fxcarry.journal import MemoryJournal
from fxcarry.protocols import DataFeed, RiskRule, Strategy
from fxcarry.risk import default_rules
from fxcarry.simulation import SimBroker


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


def feed_of(config: Config | None) -> DataFeed:
    """The configured feed, or ``ecb``."""
    if config is not None and config.feed is not None:
        feed: DataFeed = make(config.feed)
        return feed
    component = (plugins.load() if config is None else config.registry).get("feed", "ecb")
    made: DataFeed = component.factory(component.config())
    return made


def resolve(config: Config | str | Path | None, strategy: str | Strategy) -> Parts:
    """Look up a strategy by name (a section of the configuration first, then a component) and its rules."""
    registry = config.registry if isinstance(config, Config) else plugins.load()
    settings = config if isinstance(config, Config) else None if config is None else load_config(config, registry)
    rules = None if settings is None or settings.rules is None else tuple(make(s) for s in settings.rules)
    chosen: Any = strategy
    if isinstance(strategy, str):
        section = None if settings is None else settings.strategies.get(strategy)
        if section is not None:
            chosen = make(section)
            rules = rules if section.rules is None else tuple(make(s) for s in section.rules)
        else:
            component = registry.get("strategy", strategy)
            chosen = component.factory(component.config())
    venue: dict[str, Any] = {}
    if settings is not None and settings.broker is not None and isinstance(settings.broker.settings, SimulatedConfig):
        venue = attrs.asdict(settings.broker.settings)
    return Parts(strategy=chosen, rules=rules, config=settings, venue=venue)


def build(
    config: Config | str | Path | None = None,
    *,
    strategy: str | Strategy | None = None,
    feed: DataFeed | None = None,
    broker: SimBroker | None = None,
    rules: Sequence[RiskRule] | None = None,
    journal: MemoryJournal | None = None,
) -> Engine:
    """An Engine from a configuration file (or none: the defaults). Any part may be replaced by a plain object.

    ``strategy`` names a section or component, or is a callable; by default the only strategy of the configuration.
    Raises ConfigError with every mistake in the file, PluginError where a named plugin is missing or broken.
    """
    settings = config if isinstance(config, Config) else load_config(config, plugins.load())
    if strategy is None:
        if len(settings.strategies) != 1:
            raise ConfigError(
                f"the configuration has {len(settings.strategies)} strategies",
                hint=f"say which: {', '.join(settings.strategies) or 'none is configured'}",
            )
        strategy = next(iter(settings.strategies))
    parts = resolve(settings, strategy)
    chosen_rules = parts.rules if rules is None else tuple(rules)
    return Engine(
        feed=feed or feed_of(settings),
        broker=broker or _broker(settings),
        strategy=parts.strategy,
        rules=default_rules() if chosen_rules is None else chosen_rules,
        universe=settings.universe,
        rebalance=settings.rebalance,
        journal=journal,
        costs=settings.costs,
    )


def _broker(settings: Config) -> SimBroker:
    section = _present(settings.broker, "broker")
    if not isinstance(section.settings, SimulatedConfig):
        broker: SimBroker = make(section)
        return broker
    venue = attrs.asdict(section.settings)
    return SimBroker(
        **{**venue, "cash": settings.cash if venue["cash"] is None else venue["cash"]},
        account_currency=settings.account_currency,
        costs=settings.costs,
        financing=settings.financing,
    )


def _present(part: Any, name: str) -> Any:
    if part is None:
        raise ConfigError(f"no {name} is configured and its default is not installed", hint=f"add a [{name}] section")
    return part
