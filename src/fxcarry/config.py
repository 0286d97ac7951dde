"""Configuration: a TOML file becomes frozen records, and every mistake in it is reported at once, with its path.

Each section names its component with ``use = "…"``; its other keys belong to that component's own attrs class. A
secret is a reference (``{ env = "NAME" }``, ``{ file = "…" }``, ``{ keyring = "service/user" }``), never a literal.
"""

from __future__ import annotations

import difflib
import enum
import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence, Set
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, TypeGuard, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override
from cattrs.strategies import configure_union_passthrough

from fxcarry.alerts import AlertSettings, ConsoleNotifier
from fxcarry.clock import Frequency, check_frequency
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, FxCarryError
from fxcarry.financing import BenchmarkFinancing, CurrencyBalanceFinancing
from fxcarry.model import check_currency
from fxcarry.plugins import FeedSection, Kind, Registry, Section
from fxcarry.secrets import SOURCES, Secret, read_text
from fxcarry.universe import universe_of
from fxcarry.venues import Venue, venue, venues

T = TypeVar("T")
Names = tuple[str, ...] | str


_PREFIX = "FXCARRY__"


@attrs.frozen(kw_only=True)
class StrategySection(Section):
    """A strategy, and its own rules in place of the general ones (None = the general ones)."""

    rules: tuple[Section, ...] | None = None


def _check_per_hour(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 1:
        raise ConfigError(f"expected 1 alert an hour or more, got {value}", hint="mute a channel by a route instead")


@attrs.frozen(kw_only=True)
class ChannelKeys:
    """What every channel of alerts can be told besides its own settings."""

    name: str = ""
    per_hour: int | None = attrs.field(default=None, validator=_check_per_hour)


@attrs.frozen(kw_only=True)
class ChannelSection(Section):
    """A channel of alerts: the ``name`` that routes call it by (by default the component's), and how many alerts that
    are not critical it is told an hour at most (None = its own limit).
    """

    name: str
    per_hour: int | None


def _check_capital(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and value <= 0:
        raise ConfigError(f"expected an amount > 0, got {value}")


def _check_fraction(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 < value <= 1:
        raise ConfigError(f"expected a fraction above 0 and up to 1, got {value}", hint="0.1 = 10 %")


@attrs.frozen(kw_only=True)
class Live:
    """What real trading begins with: ``capital_fraction`` of ``intended_capital``, in account currency (None = not
    decided). The go-live check asks for at most a fifth (:mod:`fxcarry.golive`).
    """

    intended_capital: float | None = attrs.field(default=None, validator=_check_capital)
    capital_fraction: float = attrs.field(default=0.1, validator=_check_fraction)


@attrs.frozen(kw_only=True)
class Config:
    """The whole configuration.

    ``universe`` (codes, or the name or path of a :class:`~fxcarry.universe.Universe`) defaults to the other G10
    currencies; ``cash`` is in account currency; ``markup`` is the broker's annual decimal on each side of financing.
    ``venue`` names a profile of :mod:`fxcarry.venues`: then ``costs`` are that venue's with what ``[costs]`` changes,
    and ``markup`` is None unless it is given, in place of the venue's financing. ``feed`` and ``broker`` are None only
    where their section is left out and
    the default (``ecb``, ``simulated``) is not installed. ``rules`` None is the default set, empty is none.
    """

    mode: Literal["backtest", "paper", "live"]
    account_currency: str
    universe: Names
    rebalance: Frequency
    cash: float
    venue: str | None
    markup: float | None
    routing: Literal["direct", "least-cost"]
    costs: Costs
    feed: Section | None
    broker: Section | None
    strategies: Mapping[str, StrategySection]
    rules: tuple[Section, ...] | None
    notifiers: tuple[ChannelSection, ...]
    alerts: AlertSettings
    live: Live
    registry: Registry = attrs.field(repr=False, eq=False)

    @property
    def financing(self) -> BenchmarkFinancing | CurrencyBalanceFinancing:
        """What the simulated broker books overnight: the benchmark less ``markup``, or as the venue does."""
        if self.markup is not None:
            return BenchmarkFinancing(self.markup)
        assert self.venue is not None
        return venue(self.venue).financing

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret referred to, for :class:`SecretFilter`."""
        return tuple(_secrets(self))


def _check_currency(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    check_currency(value, attribute.name)


def _check_universe(_: object, attribute: attrs.Attribute[Any], value: Names | None) -> None:
    if isinstance(value, str):
        universe_of(value, "")
        return
    codes = [check_currency(code, attribute.name) for code in value or ()]
    twice = [code for i, code in enumerate(codes) if code in codes[:i]]
    if twice:
        raise ConfigError(f"{twice[0]} is listed twice")
    if value is not None and not codes:
        raise ConfigError("no currency is listed", hint="leave it out for the other G10 currencies")


def _check_rebalance(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    check_frequency(value)


def _check_cash(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if value <= 0:
        raise ConfigError(f"expected an amount > 0, got {value}")


def _check_venue(_: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None:
        _one_of(value, list(venues()))


def _check_markup(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 <= value < 1:
        raise ConfigError(f"expected an annual decimal, got {value}", hint="0.01 = 1 % a year")


@attrs.frozen(kw_only=True)
class _General:
    """The keys above the first section."""

    mode: Literal["backtest", "paper", "live"] = "paper"
    account_currency: str = attrs.field(default="USD", validator=_check_currency)
    universe: Names | None = attrs.field(default=None, validator=_check_universe)
    rebalance: Frequency = attrs.field(default="monthly", validator=_check_rebalance)
    cash: float = attrs.field(default=1_000_000.0, validator=_check_cash)
    venue: str | None = attrs.field(default=None, validator=_check_venue)
    markup: float | None = attrs.field(default=None, validator=_check_markup)
    routing: Literal["direct", "least-cost"] = "direct"


_GENERAL_KEYS = tuple(a.name for a in attrs.fields(_General))
_SECTIONS = ("costs", "feed", "broker", "strategies", "rules", "notifiers", "alerts", "live")


def structure(data: Mapping[str, Any], registry: Registry, source: str = "the configuration") -> Config:
    """Turn plain tables into a Config, with the components of ``registry``; ``source`` is what an error calls them.

    Raises ConfigError with one line for each mistake, each with its path (``broker.oanda.account: required``), and
    PluginError where a section asks for a plugin that is broken.
    """
    reader = _Reader(registry)
    general = reader.record(_General, {k: v for k, v in data.items() if k not in _SECTIONS}, "")
    named = data.get("venue")
    costs = reader.costs(data.get("costs", {}), venues().get(named) if isinstance(named, str) else None)
    feed = reader.section("feed", data.get("feed"), "feed", default="ecb")
    broker = reader.section("broker", data.get("broker"), "broker", default="simulated")
    strategies = reader.strategies(data.get("strategies"))
    rules = reader.sections("rule", data["rules"], "rules") if "rules" in data else None
    notifiers = reader.channels(data.get("notifiers", []))
    alerts = reader.alerts(data.get("alerts", {}), [section.name for section in notifiers])
    live = reader.table(Live, data.get("live", {}), "live")
    if reader.problems or general is None or costs is None or alerts is None or live is None:
        raise ConfigError(
            "\n".join([f"{source} has mistakes:", *(f"  {p}" for p in reader.problems)]),
            fields={"problems": tuple(reader.problems)},
        )
    account_currency = general.account_currency.upper()
    return Config(
        mode=general.mode,
        account_currency=account_currency,
        universe=_universe(general.universe, account_currency),
        rebalance=general.rebalance,
        cash=general.cash,
        venue=general.venue,
        markup=0.01 if general.markup is None and general.venue is None else general.markup,
        routing=general.routing,
        costs=costs,
        feed=feed,
        broker=broker,
        strategies=strategies,
        rules=rules,
        notifiers=notifiers,
        alerts=alerts,
        live=live,
        registry=registry,
    )


def _universe(universe: Names | None, account_currency: str) -> Names:
    """A name or path as it is written, so that its table is dated where it is used; codes in capitals."""
    if universe is not None and not isinstance(universe, str):
        return tuple(code.upper() for code in universe)
    found = universe_of(universe, account_currency)
    return universe if isinstance(universe, str) and found.is_dated else found.currencies


class _Reader:
    """Structures sections one after the other and collects what is wrong with them."""

    def __init__(self, registry: Registry) -> None:
        self.problems: list[str] = []
        self._registry = registry
        self._converter = _converter()
        self._converter.register_structure_hook(FeedSection, lambda value, _: self._nested(value))

    def record(self, cls: type[T], values: object, path: str) -> T | None:
        """``values`` as an instance of ``cls``, or None after noting the mistakes."""
        try:
            return self._converter.structure(values, cls)
        except Exception as error:
            self.problems.extend(_explain(error, path))
            return None

    def table(self, cls: type[T], values: object, path: str) -> T | None:
        """A section without ``use``, as an instance of ``cls``."""
        return self.record(cls, values, path) if self.is_table(values, path) else None

    def section(self, kind: Kind, table: object, path: str, default: str) -> Section | None:
        """A section that may be left out; then the default, or None where that is not installed."""
        if table is None:
            if (kind, default) not in self._registry.components:
                return None
            table = {}
        if not self.is_table(table, path):
            return None
        table = {"use": default, **table}
        return self._component(kind, table, path, f"{path}.{table['use']}")

    def sections(self, kind: Kind, tables: object, path: str) -> tuple[Section, ...]:
        """A list of sections, each with its ``use``."""
        found = [
            self._component(kind, table, place, f"{place}.{table.get('use', '')}")
            for place, table in self._listed(tables, path)
        ]
        return tuple(section for section in found if section is not None)

    def channels(self, tables: object) -> tuple[ChannelSection, ...]:
        """``[[notifiers]]``: each with its component's keys, and those of :class:`ChannelKeys`."""
        common = [field.name for field in attrs.fields(ChannelKeys)]
        found: dict[str, ChannelSection] = {}
        for place, table in self._listed(tables, "notifiers"):
            own = {k: v for k, v in table.items() if k not in common}
            section = self._component("notifier", own, place, f"{place}.{table.get('use', '')}")
            keys = self.record(ChannelKeys, {k: table[k] for k in common if k in table}, place)
            if section is None or keys is None:
                continue
            name = keys.name or section.component.name
            if name in found:
                self.problems.append(
                    f"{place}.name: another channel is called {name!r} (give this one a name of its own)"
                )
            found[name] = ChannelSection(
                component=section.component, settings=section.settings, name=name, per_hour=keys.per_hour
            )
        return tuple(found.values())

    def _listed(self, tables: object, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The tables of a list, each with its place; what is none is noted."""
        if not isinstance(tables, list | tuple):
            self.problems.append(f"{path}: expected a list of tables, got {_show(tables)} (write [[{path}]])")
            return
        for i, table in enumerate(tables):
            if self.is_table(table, f"{path}[{i}]"):
                yield f"{path}[{i}]", table

    def alerts(self, table: object, names: Sequence[str]) -> AlertSettings | None:
        """``[alerts]``: its routes may name these channels, or the console where there is none."""
        settings = self.table(AlertSettings, table, "alerts")
        if settings is not None and not any(problem.startswith("notifiers") for problem in self.problems):
            for path, problem in settings.problems(names or [ConsoleNotifier.name]):
                self.problems.append(f"alerts.{path}: {problem}")
        return settings

    def strategies(self, tables: object) -> dict[str, StrategySection]:
        """``[strategies.NAME]`` sections; left out, the one called baseline."""
        if tables is None:
            tables = {"baseline": {"use": "baseline"}} if ("strategy", "baseline") in self._registry.components else {}
        found: dict[str, StrategySection] = {}
        if not self.is_table(tables, "strategies"):
            return found
        for name, table in tables.items():
            path = f"strategies.{name}"
            if not self.is_table(table, path):
                continue
            own = {k: v for k, v in table.items() if k != "rules"}
            section = self._component("strategy", own, path, path)
            rules = self.sections("rule", table["rules"], f"{path}.rules") if "rules" in table else None
            if section is not None:
                found[name] = StrategySection(component=section.component, settings=section.settings, rules=rules)
        return found

    def costs(self, table: object, chosen: Venue | None) -> Costs | None:
        """``[costs]``: ``use = "retail"`` with its keys (``spread_bps`` adds to the default table), or ``"none"``.

        Where a venue is chosen, ``use = "venue"`` is the default and its costs are those the keys change.
        """
        if not self.is_table(table, "costs"):
            return None
        keys = {k: v for k, v in table.items() if k != "use"}
        known = ["retail", "none"] if chosen is None else ["venue", "retail", "none"]
        use = table.get("use", known[0])
        if use == "none":
            self.problems.extend(f'costs.{key}: unknown key where use = "none"' for key in keys)
            return Costs.none()
        if use not in known:
            self.problems.append(f"costs.use: expected {' or '.join(map(_show, known))}, got {_show(use)}")
        base = chosen.costs if chosen is not None and use == "venue" else Costs()
        spreads = keys.get("spread_bps", {})
        if isinstance(spreads, Mapping):
            keys["spread_bps"] = {**base.spread_bps, **{str(k).upper(): v for k, v in spreads.items()}}
        keys = {**attrs.asdict(base), **keys}
        return self.record(Costs, keys, "costs")

    def is_table(self, table: object, path: str) -> TypeGuard[Mapping[str, Any]]:
        if isinstance(table, Mapping):
            return True
        self.problems.append(f"{path}: expected a table, got {_show(table)}")
        return False

    def _component(self, kind: Kind, table: Mapping[str, Any], path: str, keys_path: str) -> Section | None:
        use = table.get("use")
        if not isinstance(use, str):
            self.problems.append(
                f"{path}.use: " + ("required" if use is None else f"expected a string, got {_show(use)}")
            )
            return None
        try:
            component = self._registry.get(kind, use)
        except ConfigError as error:
            self.problems.append(f"{path}.use: {error}")
            return None
        settings = self.record(component.config, {k: v for k, v in table.items() if k != "use"}, keys_path)
        return None if settings is None else Section(component=component, settings=settings)

    def _nested(self, table: object) -> FeedSection:
        """A feed within the settings of another; what is wrong with it is raised, for its path is not known here."""
        if not isinstance(table, Mapping):
            raise ConfigError(f"expected a table, got {_show(table)}")
        use = table.get("use")
        try:
            if not isinstance(use, str):
                raise ConfigError("required" if use is None else f"expected a string, got {_show(use)}")
            component = self._registry.get("feed", use)
        except ConfigError as error:
            error.add_note(AttributeValidationNote("", "use", str))
            raise IterableValidationError("", [error], FeedSection) from None
        settings: Any = self._converter.structure({k: v for k, v in table.items() if k != "use"}, component.config)
        return FeedSection(component=component, settings=settings)


def load_config(path: str | Path | None, registry: Registry, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a TOML file (None = all defaults), apply overrides from the environment, and structure it.

    ``FXCARRY__BROKER__USE=simulated`` sets ``use`` in ``[broker]``: a double underscore goes down one table, case does
    not matter, ``_`` also stands for ``-``. The value is read as TOML where it is TOML (``true``, ``0.02``,
    ``["EUR", "JPY"]``), else as text. A section whose ``use`` is changed this way loses the keys that belonged to the
    component before.

    Raises ConfigError where the file cannot be read or is no TOML (with the line), and as :func:`structure` does.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = tomllib.loads(read_text(Path(path), "the configuration"))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} is not TOML: {error}", hint='texts need quotes: use = "ecb"') from error
    changed = sorted(
        (k for k in environ if k.upper().startswith(_PREFIX)), key=lambda k: (k.upper()[-5:] != "__USE", k)
    )
    for variable in changed:
        _set(data, variable, environ[variable])
    sources = [str(path)] * (path is not None) + changed
    return structure(data, registry, source=", ".join(sources) or "the default configuration")


def _set(data: dict[str, Any], variable: str, text: str) -> None:
    """Put the value of one environment variable where its name says."""
    *tables, key = variable[len(_PREFIX) :].lower().split("__")
    if not all((*tables, key)):
        raise ConfigError(f"{variable} names no setting", hint="write it like FXCARRY__BROKER__USE")

    def known(table: dict[str, Any], part: str) -> str:
        return next((k for k in table if k.lower().replace("-", "_") == part.replace("-", "_")), part)

    table = data
    for part in tables:
        table = table.setdefault(known(table, part), {})
        if not isinstance(table, dict):
            raise ConfigError(f"{variable}: {part} is not a table", hint="change lists in the file")
    value = _from_text(text)
    if key == "use" and table.get("use", value) != value:
        for other in table.keys() - {"rules"}:
            del table[other]
    table[known(table, key)] = value


def _from_text(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


# --- from values to records -----------------------------------------------------------------------------------------

_SEQUENCES: Mapping[Any, Callable[[Iterable[Any]], Any]] = {
    tuple: tuple, list: list, set: set, frozenset: frozenset,
    Sequence: tuple, Collection: tuple, Iterable: tuple, Set: frozenset,
}  # fmt: skip
_TABLES = (dict, Mapping, MutableMapping)


def _converter() -> cattrs.Converter:
    """A converter that takes what TOML holds and nothing else: no "3" for 3, no 1 for true, no "EUR" for a list."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    configure_union_passthrough(bool | int | float | str | date | time | None, converter)

    def plain(cls: type[Any], word: str, read: Callable[[Any], Any]) -> None:
        def hook(value: Any, wanted: Any) -> Any:
            if issubclass(wanted, enum.Enum):  # of strings or integers
                return enumerated(value, wanted)
            try:
                return read(value)
            except (TypeError, ValueError, InvalidOperation):
                quotes = f' (write "{value}")' if cls is str and type(value) in {int, float} else ""
                raise ConfigError(f"expected {word}, got {_show(value)}{quotes}") from None

        converter.register_structure_hook(cls, hook)

    def enumerated(value: Any, cls: Any) -> Any:
        return cls(_one_of(value, [member.value for member in cls]))

    plain(bool, "true or false", lambda v: _only(v, bool))
    plain(int, "an integer", lambda v: _only(v, int))
    plain(float, "a number", lambda v: _finite(float(_only(v, int, float))))
    plain(str, "a string", lambda v: _only(v, str))
    plain(Decimal, "a number", lambda v: _finite(Decimal(str(_only(v, int, float, str)))))
    plain(Path, "a path", lambda v: Path(_only(v, str)).expanduser())
    plain(datetime, "a date with time", lambda v: v if isinstance(v, datetime) else datetime.fromisoformat(v))
    plain(date, "a date", lambda v: v if type(v) is date else date.fromisoformat(v))
    plain(time, "a time", lambda v: v if isinstance(v, time) else time.fromisoformat(v))

    def items(value: Any, cls: Any) -> Any:
        if not isinstance(value, list | tuple | Set):
            raise ConfigError(f"expected a list, got {_show(value)}")
        kind, args = _kind(cls), get_args(cls)
        types = args if kind is tuple and args and args[-1] is not ... else [args[0] if args else Any] * len(value)
        if len(types) != len(value):
            raise ConfigError(f"expected {len(types)} values, got {len(value)}")
        return _SEQUENCES[kind](each(cls, enumerate(value), types))

    def table(value: Any, cls: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ConfigError(f"expected a table, got {_show(value)}")
        key_type, value_type = get_args(cls) or (str, Any)
        keys = each(cls, ((k, k) for k in value), [key_type] * len(value))
        return dict(zip(keys, each(cls, value.items(), [value_type] * len(value))))

    def each(cls: Any, pairs: Iterable[tuple[Any, Any]], types: Sequence[Any]) -> list[Any]:
        done, errors = [], []
        for (index, value), item_type in zip(pairs, types):
            try:
                done.append(converter.structure(value, item_type))
            except Exception as error:
                error.add_note(IterableValidationNote("", index, item_type))
                errors.append(error)
        if errors:
            raise IterableValidationError("", errors, cls)
        return done

    def record(cls: Any) -> Callable[[Any, Any], Any]:
        attrs.resolve_types(cls)
        checked: Any = {a.name: override(struct_hook=checking(a)) for a in attrs.fields(cls) if a.init and a.validator}
        make = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **checked)

        def hook(value: Any, _: Any) -> Any:
            if not isinstance(value, Mapping):
                raise ConfigError(f"expected a table, got {_show(value)}")
            return make(value, cls)

        return hook

    def checking(field: attrs.Attribute[Any]) -> Callable[[Any, Any], Any]:
        """Validates one value by itself, so that every wrong one of a record is found, not only the first."""

        def hook(value: Any, _: Any) -> Any:
            kind: Any = field.type
            value = converter.structure(value, kind)
            if field.validator is not None and field.converter is None:
                with suppress(AttributeError):  # it looks at the whole record, so attrs runs it when that is made
                    field.validator(None, field, value)
            return value

        return hook

    converter.register_structure_hook_func(lambda t: _kind(t) in _SEQUENCES, items)
    converter.register_structure_hook_func(
        lambda t: t == Names | None,
        lambda v, _: v if v is None or isinstance(v, str) else converter.structure(v, tuple[str, ...]),
    )
    converter.register_structure_hook_func(lambda t: _kind(t) in _TABLES, table)
    converter.register_structure_hook_func(lambda t: _kind(t) is Literal, lambda v, t: _one_of(v, get_args(t)))
    converter.register_structure_hook(enum.Enum, enumerated)
    converter.register_structure_hook_factory(attrs.has, record)
    converter.register_structure_hook(Secret, lambda value, _: Secret.parse(value))
    return converter


def _only(value: Any, *types: type) -> Any:
    if type(value) not in types:
        raise TypeError
    return value


def _finite(value: T) -> T:
    if not math.isfinite(value):  # type: ignore[arg-type]  # a float or a Decimal
        raise ValueError
    return value


def _kind(cls: Any) -> Any:
    return get_origin(cls) or cls


def _one_of(value: Any, choices: Sequence[Any]) -> Any:
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ConfigError(
            f"expected one of {', '.join(map(_show, choices))}, got {_show(value)}"
            + _nearest(value, [c for c in choices if isinstance(c, str)])
        )
    return value


def _show(value: object) -> str:
    """A value as the file writes it, cut to a line."""
    if isinstance(value, Mapping | list | tuple):
        return "a table" if isinstance(value, Mapping) else "a list"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nearest(wrong: object, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(wrong), list(known), 1)
    return f', did you mean "{near[0]}"?' if near else ""


def _explain(error: BaseException, path: str) -> Iterator[str]:
    """The mistakes behind an error, each as ``path: what is wrong``."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _explain(inner, _path_of(inner, path))
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [a.name for a in attrs.fields(error.cl)]
        for key in sorted(error.extra_fields):
            is_general = bool(path) and key in _GENERAL_KEYS
            near = _nearest(key, known if path else [*known, *_SECTIONS])
            yield f"{_join(path, key)}: unknown key" + (
                ", it belongs above the first [section]" if is_general else near
            )
    elif isinstance(error, KeyError) and path.endswith(str(error.args[0])):
        yield f"{path}: required"
    else:
        is_told = isinstance(error, FxCarryError) or not (error.args and isinstance(error.args[0], str))
        text = str(error) if is_told else error.args[0]
        yield text if path and text.startswith(path) else f"{path}: {text}"


def _path_of(error: BaseException, path: str) -> str:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return _join(path, note.name)
        if isinstance(note, IterableValidationNote):
            return f"{path}[{note.index}]" if isinstance(note.index, int) else _join(path, note.index)
    return path


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


# --- from records to values and text --------------------------------------------------------------------------------


def effective(config: Config) -> dict[str, Any]:
    """The configuration in force as plain tables, every default written out, secrets as references.

    ``structure(effective(config), registry)`` is the same configuration again. Raises ConfigError for a setting that no
    configuration file can hold.
    """
    general = {name: getattr(config, name) for name in _GENERAL_KEYS}
    tables: dict[str, Any] = {name: _plain(value, name) for name, value in general.items() if value is not None}
    is_free = config.costs == Costs.none()
    tables["costs"] = (
        {"use": "none"}
        if is_free
        else {
            "use": "retail" if config.venue is None else "venue",
            **_plain(config.costs, "costs"),
        }
    )
    for name in ("feed", "broker", "strategies", "rules", "notifiers", "alerts", "live"):
        value = getattr(config, name)
        if value is not None:
            tables[name] = _plain(value, name)
    return tables


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, Secret):
        return {value.source: value.where}
    if isinstance(value, Section):
        own = getattr(value, "rules", None)
        more: dict[str, Any] = {} if own is None else {"rules": _plain(own, f"{path}.rules")}
        if isinstance(value, ChannelSection):
            more = {"name": value.name, **({} if value.per_hour is None else {"per_hour": value.per_hour})}
        return {"use": value.component.name, **_plain(value.settings, path), **more}
    if attrs.has(type(value)):
        value = {a.name: getattr(value, a.name) for a in attrs.fields(type(value)) if a.init}
    if isinstance(value, Mapping):
        return {str(k): _plain(v, _join(path, str(k))) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Set):
        return sorted((_plain(item, path) for item in value), key=str)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Decimal | Path):
        return str(value)
    if isinstance(value, bool | int | float | str | date | time):
        return value
    raise ConfigError(f"{path} is a {type(value).__name__}", hint="a configuration file cannot hold that")


def _secrets(value: Any) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from _secrets(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple | Set):
        for item in value:
            yield from _secrets(item)


def to_toml(tables: Mapping[str, Any]) -> str:
    """Plain tables, as :func:`effective` gives, as TOML text; ``tomllib.loads`` reads the same tables again."""
    return "\n".join(_toml_lines(tables, "")).strip() + "\n"


def _toml_lines(table: Mapping[str, Any], path: str) -> Iterator[str]:
    below = {key: value for key, value in table.items() if _is_table(value) or _is_tables(value)}
    for key, value in table.items():
        if key not in below:
            yield f"{_toml_key(key)} = {_toml_value(value)}"
    for key, value in below.items():
        name = _join(path, _toml_key(key))
        if _is_table(value):
            if not value or any(not (_is_table(v) or _is_tables(v)) for v in value.values()):
                yield from ("", f"[{name}]")
            yield from _toml_lines(value, name)
        else:
            for item in value:
                yield from ("", f"[[{name}]]")
                yield from _toml_lines(item, name)


def _is_table(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and not (len(value) == 1 and value.keys() <= SOURCES)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        pairs = (f"{_toml_key(k)} = {_toml_value(v)}" for k, v in value.items())
        return "{ " + ", ".join(pairs) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
