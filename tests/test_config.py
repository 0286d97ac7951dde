"""Configuration: what a file may say, how mistakes are told, and that secrets never show."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import sys
import tomllib
import types
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.alerts import AlertSettings, Route
from fxcarry.build import channels_of
from fxcarry.config import Config, effective, load_config, structure, to_toml
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, PluginError
from fxcarry.financing import BenchmarkFinancing
from fxcarry.plugins import BrokenPlugin, Component, FeedSection, Kind, Registry, Section
from fxcarry.secrets import Secret, SecretFilter, read_env_file
from fxcarry.venues import venue


class Side(StrEnum):
    LONG = "long"
    SHORT = "short"


class Level(Enum):
    LOW = 1
    HIGH = 2


@attrs.frozen(kw_only=True)
class Plain:
    pass


@attrs.frozen(kw_only=True)
class Leg:
    weight: float
    name: str = ""


@attrs.frozen(kw_only=True)
class MaxPosition:
    cap: float = attrs.field(default=0.3, validator=attrs.validators.gt(0))
    floor: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))

    def __attrs_post_init__(self) -> None:
        if self.floor > self.cap:
            raise ConfigError(f"floor {self.floor} is above cap {self.cap}")


def _not_more_than_cap(instance: Any, attribute: Any, value: float) -> None:
    if value > instance.cap:
        raise ValueError("soft is above cap")


@attrs.frozen(kw_only=True)
class Rich:
    """One field of every type a plugin may want."""

    account: str
    token: Secret
    other_token: Secret | None = None
    k: int = 3
    ratio: float = 1.0
    is_on: bool = False
    side: Side = Side.LONG
    level: Level = Level.LOW
    unit: Literal["lot", "unit"] = "unit"
    tags: tuple[str, ...] = ()
    window: tuple[int, float] = (1, 2.0)
    legs: Sequence[Leg] = ()
    spread: Mapping[str, float] = attrs.field(factory=dict)
    amount: Decimal = Decimal("1.5")
    folder: Path = Path("data")
    day: date | None = None
    at: datetime | None = None
    roll: time | None = None
    names: frozenset[str] = frozenset()
    free: int | str = 0
    anything: Any = None
    cap: float = attrs.field(default=1.0, converter=float, validator=attrs.validators.ge(0))
    soft: float = attrs.field(default=0.5, validator=_not_more_than_cap)


@attrs.frozen(kw_only=True)
class Several:
    """A feed over feeds."""

    sources: tuple[FeedSection, ...]
    other: FeedSection | None = None


def component(kind: Kind, name: str, config: type) -> Component:
    return Component(kind=kind, name=name, config=config, factory=lambda settings: settings, summary="For tests.")


COMPONENTS = (
    component("feed", "ecb", Plain),
    component("feed", "rich", Rich),
    component("feed", "several", Several),
    component("broker", "simulated", Plain),
    component("broker", "oanda", Rich),
    component("strategy", "baseline", Plain),
    component("strategy", "optimized", MaxPosition),
    component("rule", "max-position", MaxPosition),
    component("notifier", "console", Plain),
)
REGISTRY = Registry(
    components={(c.kind, c.name): c for c in COMPONENTS},
    origins={},
    broken=(BrokenPlugin("ib", "fxcarry-ib", ImportError("no module named ib_async")),),
)
OANDA = {"use": "oanda", "account": "101-004", "token": {"env": "OANDA_TOKEN"}}


def problems(**data: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        structure(data, REGISTRY)
    found = list(raised.value.fields["problems"])
    assert str(raised.value).splitlines()[1:] == [f"  {problem}" for problem in found]
    return found


def broker(**keys: Any) -> Any:
    section = structure({"broker": {**OANDA, **keys}}, REGISTRY).broker
    assert section is not None
    return section.settings


# --- defaults and the general keys


def test_nothing_gives_the_defaults() -> None:
    config = structure({}, REGISTRY)
    assert (config.mode, config.account_currency, config.rebalance) == ("paper", "USD", "monthly")
    assert config.universe == ("AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK")
    assert (config.cash, config.markup, config.costs) == (1_000_000.0, 0.01, Costs())
    assert config.feed == Section(component=REGISTRY.get("feed", "ecb"), settings=Plain())
    assert config.broker is not None
    assert config.broker.component.name == "simulated"
    assert {n: s.component.name for n, s in config.strategies.items()} == {"baseline": "baseline"}
    assert config.rules is None
    assert config.notifiers == ()


def test_without_the_default_components_their_sections_are_empty() -> None:
    config = structure({}, Registry(components={}, origins={}))
    assert config.feed is config.broker is None
    assert config.strategies == {}
    assert "feed" not in effective(config)


def test_the_universe_leaves_out_the_account_currency_unless_listed() -> None:
    config = structure({"account_currency": "eur"}, REGISTRY)
    assert config.account_currency == "EUR"
    assert config.universe == ("AUD", "CAD", "CHF", "GBP", "JPY", "NOK", "NZD", "SEK", "USD")
    assert len(structure({"account_currency": "SGD"}, REGISTRY).universe) == 10
    assert structure({"universe": ["usd", "JPY"]}, REGISTRY).universe == ("USD", "JPY")


def test_every_general_mistake_is_reported_at_once() -> None:
    assert problems(mode="Live", account_currency="dollar", universe=3, rebalance=1, cash=0, markup=1.5, cahs=1) == [
        'mode: expected one of "backtest", "paper", "live", got "Live", did you mean "live"?',
        "account_currency: 'dollar' is not a three-letter currency code (write it like \"EUR\")",
        "universe: expected a list, got 3",
        'rebalance: expected a string, got 1 (write "1")',
        "cash: expected an amount > 0, got 0.0",
        "markup: expected an annual decimal, got 1.5 (0.01 = 1 % a year)",
        'cahs: unknown key, did you mean "cash"?',
    ]


def test_the_universe_is_checked() -> None:
    assert problems(universe=["EUR", "eur"]) == ["universe: EUR is listed twice"]
    assert problems(universe=[]) == ["universe: no currency is listed (leave it out for the other G10 currencies)"]
    assert problems(universe=["EUR", 1]) == ['universe[1]: expected a string, got 1 (write "1")']
    assert problems(universe=["EURO"])[0].startswith("universe: 'EURO' is not a three-letter currency code")


def test_a_misspelled_section_suggests_the_nearest() -> None:
    assert problems(strategy={}, brokers={}) == [
        'brokers: unknown key, did you mean "broker"?',
        'strategy: unknown key, did you mean "strategies"?',
    ]


# --- costs


def test_costs_are_retail_or_none() -> None:
    assert structure({"costs": {}}, REGISTRY).costs == Costs()
    assert structure({"costs": {"use": "none"}}, REGISTRY).costs == Costs.none()
    costs = structure({"costs": {"slippage_bps": 1, "spread_bps": {"eur": 0.5, "BRL": 20}}}, REGISTRY).costs
    assert costs.slippage_bps == 1.0
    assert (costs.spread_bps["EUR"], costs.spread_bps["BRL"], costs.spread_bps["JPY"]) == (0.5, 20.0, 1.3)


def test_mistakes_in_costs() -> None:
    assert problems(costs={"use": "retial", "commission_bps": -1, "spread_bps": {"EUR": "x"}, "spread": 1}) == [
        'costs.use: expected "retail" or "none", got "retial"',
        'costs.spread_bps.EUR: expected a number, got "x"',
        "costs.commission_bps is -1.0 (basis points, >= 0)",
        'costs.spread: unknown key, did you mean "spread_bps"?',
    ]
    assert problems(costs={"use": "none", "slippage_bps": 1}) == ['costs.slippage_bps: unknown key where use = "none"']
    assert problems(costs=3) == ["costs: expected a table, got 3"]


# --- sections


RICH = {"use": "rich", "account": "1", "token": {"env": "RICH_TOKEN"}}


def test_a_feed_may_hold_feeds() -> None:
    config = structure({"feed": {"use": "several", "sources": [{"use": "ecb"}, RICH], "other": RICH}}, REGISTRY)
    assert config.feed is not None
    settings = config.feed.settings
    assert [s.component.name for s in settings.sources] == ["ecb", "rich"]
    assert settings.sources[1] == settings.other
    assert settings.other.settings == Rich(account="1", token=Secret("env", "RICH_TOKEN"))
    assert [secret.where for secret in config.secrets] == ["RICH_TOKEN", "RICH_TOKEN"]
    text = to_toml(effective(config))
    assert '[[feed.sources]]\nuse = "ecb"' in text
    assert structure(tomllib.loads(text), REGISTRY) == config


def test_what_is_wrong_with_a_feed_within_a_feed_is_told_with_its_path() -> None:
    bad = [{"use": "ebc"}, {}, {"use": 3}, "ecb", {**RICH, "k": "x", "tokn": 1}, {"use": "rich"}]
    other = {"use": "several", "sources": [{"use": "ecb", "mode": 1}]}
    assert problems(feed={"use": "several", "sources": bad, "other": other}) == [
        "feed.several.sources[0].use: there is no feed 'ebc' "
        "(did you mean \"ecb\"? there are ecb, rich, several; plugin 'ib' is broken)",
        "feed.several.sources[1].use: required",
        "feed.several.sources[2].use: expected a string, got 3",
        'feed.several.sources[3]: expected a table, got "ecb"',
        'feed.several.sources[4].k: expected an integer, got "x"',
        'feed.several.sources[4].tokn: unknown key, did you mean "token"?',
        "feed.several.sources[5].account: required",
        "feed.several.sources[5].token: required",
        "feed.several.other.sources[0].mode: unknown key, it belongs above the first [section]",
    ]


def test_a_section_is_structured_into_the_components_own_class() -> None:
    settings = broker(
        k=5, ratio=2, is_on=True, side="short", level=2, unit="lot", tags=["a", "b"], window=[3, 4],
        legs=[{"weight": 1}], spread={"EUR": 2}, amount=0.1, folder="out", day=date(2024, 1, 31),
        at="2024-01-31T17:00:00+00:00", roll="17:00", names=["x"], free="text", anything=[1], cap=2, soft=2,
    )  # fmt: skip
    assert settings == Rich(
        account="101-004", token=Secret("env", "OANDA_TOKEN"), k=5, ratio=2.0, is_on=True, side=Side.SHORT,
        level=Level.HIGH, unit="lot", tags=("a", "b"), window=(3, 4.0), legs=(Leg(weight=1.0),), spread={"EUR": 2.0},
        amount=Decimal("0.1"), folder=Path("out"), day=date(2024, 1, 31), at=datetime(2024, 1, 31, 17, tzinfo=UTC),
        roll=time(17), names=frozenset({"x"}), free="text", anything=[1], cap=2.0, soft=2.0,
    )  # fmt: skip
    assert isinstance(settings.ratio, float)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("account", 101, 'expected a string, got 101 (write "101")'),
        ("k", "three", 'expected an integer, got "three"'),
        ("k", 3.0, "expected an integer, got 3.0"),
        ("k", True, "expected an integer, got true"),
        ("ratio", "1", 'expected a number, got "1"'),
        ("ratio", float("nan"), "expected a number, got nan"),
        ("ratio", float("inf"), "expected a number, got inf"),
        ("is_on", 1, "expected true or false, got 1"),
        ("is_on", "no", 'expected true or false, got "no"'),
        ("side", "lnog", 'expected one of "long", "short", got "lnog", did you mean "long"?'),
        ("level", "1", 'expected one of 1, 2, got "1"'),
        ("level", True, "expected one of 1, 2, got true"),
        ("tags", "abc", 'expected a list, got "abc"'),
        ("window", [1], "expected 2 values, got 1"),
        ("spread", [1], "expected a table, got a list"),
        ("amount", "much", 'expected a number, got "much"'),
        ("folder", 1, "expected a path, got 1"),
        ("day", "2024-02-30", 'expected a date, got "2024-02-30"'),
        ("at", 2024, "expected a date with time, got 2024"),
        ("roll", "25:00", 'expected a time, got "25:00"'),
        ("cap", -1, "'cap' must be >= 0: -1.0"),
    ],
)
def test_a_wrong_value_is_told_with_its_path(key: str, value: object, text: str) -> None:
    found = problems(broker={**OANDA, key: value})
    assert len(found) == 1
    assert found[0].endswith(text)
    assert found[0].startswith((f"broker.oanda.{key}: ", "broker.oanda: "))


def test_mistakes_in_nested_values_have_their_paths() -> None:
    assert problems(
        broker={
            **OANDA,
            "legs": [{"weight": 1}, {"name": 2, "wieght": 1}, 3],
            "spread": {"EUR": "x"},
            "tags": ["a", 1],
            "free": [],
        }
    ) == [
        'broker.oanda.tags[1]: expected a string, got 1 (write "1")',
        "broker.oanda.legs[1].weight: required",
        'broker.oanda.legs[1].name: expected a string, got 2 (write "2")',
        'broker.oanda.legs[1].wieght: unknown key, did you mean "weight"?',
        "broker.oanda.legs[2]: expected a table, got 3",
        'broker.oanda.spread.EUR: expected a number, got "x"',
        "broker.oanda.free: [] (<class 'list'>) not part of int | str",
    ]


def test_mistakes_of_all_sections_come_together() -> None:
    assert problems(
        cash=-1,
        feed={"use": "ebc"},
        broker={"use": "oanda", "acount": "1", "token": {"env": "T"}, "cash": 5},
        strategies={"mine": {"use": "optimized", "cap": "three"}, "bad": 3, "none": {}},
        rules=[{"use": "max-position", "cap": 0, "floor": -1}, {"use": "max-postion"}, {}, 4],
        notifiers={"use": "console"},
    ) == [
        "cash: expected an amount > 0, got -1.0",
        "feed.use: there is no feed 'ebc' (did you mean \"ecb\"? there are ecb, rich, several; plugin 'ib' is broken)",
        "broker.oanda.account: required",
        'broker.oanda.acount: unknown key, did you mean "account"?',
        "broker.oanda.cash: unknown key, it belongs above the first [section]",
        'strategies.mine.cap: expected a number, got "three"',
        "strategies.bad: expected a table, got 3",
        "strategies.none.use: required",
        "rules[0].max-position.cap: 'cap' must be > 0: 0.0",
        "rules[0].max-position.floor: 'floor' must be >= 0: -1.0",
        "rules[1].use: there is no rule 'max-postion' (did you mean \"max-position\"? there are max-position; "
        "plugin 'ib' is broken)",
        "rules[2].use: required",
        "rules[3]: expected a table, got 4",
        "notifiers: expected a list of tables, got a table (write [[notifiers]])",
    ]


def test_channels_have_names_and_limits_and_routes_know_them() -> None:
    config = structure(
        {
            "notifiers": [{"use": "console", "name": "desk", "per_hour": 9}, {"use": "console"}],
            "alerts": {"time_zone": "Asia/Tokyo", "routes": [{"to": ["desk"], "severities": ["critical"]}]},
        },
        REGISTRY,
    )
    assert [(n.name, n.per_hour) for n in config.notifiers] == [("desk", 9), ("console", None)]
    assert config.alerts == AlertSettings(
        time_zone="Asia/Tokyo", routes=(Route(to=("desk",), severities=("critical",)),)
    )
    assert [(c.name, c.per_hour) for c in channels_of(config)] == [("desk", 9), ("console", 60)]
    assert structure({"alerts": {"routes": [{"to": ["console"]}]}}, REGISTRY).notifiers == ()  # the one there is


def test_mistakes_of_channels_and_routes_are_told_with_their_places() -> None:
    console = {"use": "console"}
    assert problems(notifiers=[console, console, {"use": "console", "name": "a", "per_hour": 0}, {"name": "b"}]) == [
        "notifiers[1].name: another channel is called 'console' (give this one a name of its own)",
        "notifiers[2].per_hour: expected 1 alert an hour or more, got 0 (mute a channel by a route instead)",
        "notifiers[3].use: required",
    ]
    assert problems(
        notifiers=[console],
        alerts={"routes": [{"to": ["mail"]}, {"to": ["console"], "then": ["console", "sms"]}], "time_zone": "UTC"},
    ) == [
        "alerts.routes[0].to: there is no channel 'mail' (console configured under [[notifiers]])",
        "alerts.routes[1].then: there is no channel 'sms' (console configured under [[notifiers]])",
    ]
    assert problems(
        alerts={"routes": [{"severities": ["fatal"], "hours": "9-5"}], "dedupe": 3, "time_zone": "Mars"}
    ) == [
        "alerts.routes[0].to: required",
        'alerts.routes[0].severities[0]: expected one of "info", "warning", "critical", got "fatal"',
        "alerts.routes[0].hours: '9-5' are no hours (write \"22:00-07:00\")",
        "alerts.time_zone: there is no time zone 'Mars' (write it like \"Europe/Zurich\"; without, UTC)",
        'alerts.dedupe: unknown key, did you mean "dedupe_minutes"?',
    ]


def test_checks_over_a_whole_record_are_told_too() -> None:
    assert problems(rules=[{"use": "max-position", "cap": 0.1, "floor": 0.2}]) == [
        "rules[0].max-position: floor 0.2 is above cap 0.1"
    ]
    assert problems(broker={**OANDA, "soft": 3.0}) == ["broker.oanda: soft is above cap"]


def test_a_section_that_is_no_table() -> None:
    assert problems(feed="ecb", strategies=[], rules=3) == [
        'feed: expected a table, got "ecb"',
        "strategies: expected a table, got a list",
        "rules: expected a list of tables, got 3 (write [[rules]])",
    ]
    assert problems(feed={"use": 3}) == ["feed.use: expected a string, got 3"]


def test_rules_are_the_default_set_none_or_those_listed() -> None:
    assert structure({}, REGISTRY).rules is None
    assert structure({"rules": []}, REGISTRY).rules == ()
    rules = structure({"rules": [{"use": "max-position", "cap": 0.2}, {"use": "max-position"}]}, REGISTRY).rules
    assert rules is not None
    assert [rule.settings.cap for rule in rules] == [0.2, 0.3]


def test_a_strategy_may_have_its_own_rules() -> None:
    tables = {"a": {"use": "baseline", "rules": [{"use": "max-position"}]}, "b": {"use": "baseline"}}
    strategies = structure({"strategies": tables}, REGISTRY).strategies
    assert strategies["a"].rules == (Section(component=REGISTRY.get("rule", "max-position"), settings=MaxPosition()),)
    assert strategies["b"].rules is None
    bad = {"a": {"use": "baseline", "rules": [{"use": "max-position", "cap": "x"}]}}
    assert problems(strategies=bad) == ['strategies.a.rules[0].max-position.cap: expected a number, got "x"']


def test_a_broken_plugin_in_use_is_a_plugin_error_with_its_cause() -> None:
    with pytest.raises(PluginError, match="broker 'ib' cannot be used") as raised:
        structure({"broker": {"use": "ib"}}, REGISTRY)
    assert isinstance(raised.value.__cause__, ImportError)


# --- files and the environment


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fxcarry.toml"
    path.write_text(text, encoding="utf-8")
    return path


EXAMPLE = """
mode = "live"
cash = 50_000

[broker]
use = "oanda"
account = "101-004"
token = { env = "OANDA_TOKEN" }

[strategies.My-Own]
use = "optimized"
cap = 0.5
"""


def test_a_file_is_read(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, EXAMPLE), REGISTRY, {})
    assert (config.mode, config.cash) == ("live", 50_000.0)
    assert config.strategies["My-Own"].settings == MaxPosition(cap=0.5)
    assert load_config(str(write(tmp_path, "\ufeffcash = 7")), REGISTRY, {}).cash == 7.0
    assert load_config(None, REGISTRY, {}) == structure({}, REGISTRY)


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml does not exist .*fxcarry init"):
        load_config(tmp_path / "no.toml", REGISTRY, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, REGISTRY, {})
    with pytest.raises(ConfigError, match=r"fxcarry\.toml is not TOML: .*line 3"):
        load_config(write(tmp_path, "mode = 'paper'\n\nuse = ecb\n"), REGISTRY, {})
    (tmp_path / "fxcarry.toml").write_bytes(b"mode = '\xff'")
    with pytest.raises(ConfigError, match=r"is not UTF-8 text \(byte 8\)"):
        load_config(tmp_path / "fxcarry.toml", REGISTRY, {})
    with pytest.raises(ConfigError, match=r"fxcarry\.toml, FXCARRY__MODE has mistakes:"):
        load_config(write(tmp_path, "csh = 1"), REGISTRY, {"FXCARRY__MODE": "paper"})


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, EXAMPLE),
        REGISTRY,
        {
            "FXCARRY__MODE": "paper",
            "fxcarry__cash": "2.5e4",
            "FXCARRY__UNIVERSE": '["EUR", "JPY"]',
            "FXCARRY__BROKER__IS_ON": "true",
            "FXCARRY__BROKER__TOKEN__ENV": "OTHER_TOKEN",
            "FXCARRY__BROKER__ACCOUNT": "001-2",
            "FXCARRY__STRATEGIES__MY_OWN__CAP": "0.25",
            "FXCARRY__COSTS__SPREAD_BPS__EUR": "0.7",
            "FXCARRY_LIVE": "1",
            "HOME": "/nowhere",
        },
    )
    assert (config.mode, config.cash, config.universe) == ("paper", 25_000.0, ("EUR", "JPY"))
    assert config.broker is not None
    settings = config.broker.settings
    assert (settings.is_on, settings.account, settings.token) == (True, "001-2", Secret("env", "OTHER_TOKEN"))
    assert config.strategies["My-Own"].settings.cap == 0.25
    assert config.costs.spread_bps["EUR"] == 0.7


def test_another_component_from_the_environment_drops_the_keys_of_the_first(tmp_path: Path) -> None:
    path = write(tmp_path, EXAMPLE)
    config = load_config(path, REGISTRY, {"FXCARRY__BROKER__USE": "simulated"})
    assert config.broker == Section(component=REGISTRY.get("broker", "simulated"), settings=Plain())
    same = load_config(path, REGISTRY, {"FXCARRY__BROKER__USE": "oanda", "FXCARRY__BROKER__K": "9"})
    assert same.broker is not None
    assert (same.broker.settings.account, same.broker.settings.k) == ("101-004", 9)


@pytest.mark.parametrize("variable", ["FXCARRY__", "FXCARRY__BROKER__", "FXCARRY____USE"])
def test_a_variable_that_names_no_setting(variable: str) -> None:
    with pytest.raises(ConfigError, match=f"{variable} names no setting"):
        load_config(None, REGISTRY, {variable: "x"})


def test_a_variable_below_something_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"FXCARRY__CASH__EUR: cash is not a table"):
        load_config(write(tmp_path, EXAMPLE), REGISTRY, {"FXCARRY__CASH__EUR": "1"})


def test_a_value_with_more_than_one_line_is_text() -> None:
    with pytest.raises(ConfigError, match=r"mode: expected one of"):
        load_config(None, REGISTRY, {"FXCARRY__MODE": '"paper"\ncash = 1'})


# --- secrets

VALUE = "s3cr3t-t0k3n"


@pytest.mark.parametrize(
    "literal", [VALUE, 12345678, [VALUE], {"value": VALUE}, {"env": 3}, {"env": ""}, {}, None, True]
)
def test_a_literal_secret_is_refused_without_repeating_it(literal: object) -> None:
    [text] = problems(broker={**OANDA, "token": literal})
    assert text.startswith("broker.oanda.token: ")
    assert '{ env = "NAME" }' in text
    assert VALUE not in text
    assert "12345678" not in text
    assert problems(broker={**OANDA, "token": {"env": "A", "file": "B"}})


def test_a_keyring_entry_needs_service_and_user() -> None:
    for where in ("service", "/user", "service/"):
        assert "service/user" in problems(broker={**OANDA, "token": {"keyring": where}})[0]


def test_a_secret_is_read_when_revealed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = Secret.parse({"env": "FXCARRY_TEST_TOKEN"})
    monkeypatch.delenv("FXCARRY_TEST_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="set the environment variable FXCARRY_TEST_TOKEN"):
        secret.reveal()
    monkeypatch.setenv("FXCARRY_TEST_TOKEN", VALUE)
    assert secret.reveal() == VALUE
    monkeypatch.setenv("FXCARRY_TEST_TOKEN", "rotated")
    assert secret.reveal() == "rotated"
    assert secret.revealed == {VALUE, "rotated"}

    path = tmp_path / "token"
    with pytest.raises(ConfigError, match=r"secret file .*token does not exist"):
        Secret("file", str(path)).reveal()
    path.write_text(f"{VALUE}\n")
    assert Secret("file", str(path)).reveal() == VALUE
    path.write_text("\n")
    with pytest.raises(ConfigError, match="missing or empty"):
        Secret("file", str(path)).reveal()


def test_a_secret_from_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    class KeyringError(Exception):
        pass

    def get_password(service: str, user: str) -> str | None:
        if service == "locked":
            raise KeyringError("locked")
        return {("a/service", "user"): VALUE}.get((service, user))

    keyring = types.ModuleType("keyring")
    keyring.__dict__.update(get_password=get_password, errors=types.SimpleNamespace(KeyringError=KeyringError))
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert Secret("keyring", "a/service/user").reveal() == VALUE
    with pytest.raises(ConfigError, match="keyring 'service/nobody' is missing or empty"):
        Secret("keyring", "service/nobody").reveal()
    with pytest.raises(ConfigError, match="cannot be read: locked"):
        Secret("keyring", "locked/user").reveal()
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match="pip install keyring"):
        Secret("keyring", "a/b").reveal()


def test_a_secret_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OANDA_TOKEN", VALUE)
    config = structure({"broker": OANDA}, REGISTRY)
    assert config.broker is not None
    token = config.broker.settings.token
    assert token.reveal() == VALUE
    shown = [repr(token), str(token), f"{token}", repr(config), str(attrs.asdict(config)), str(effective(config))]
    assert not [text for text in shown if VALUE in text]
    assert VALUE not in to_toml(effective(config))
    assert VALUE.encode() not in pickle.dumps(token)
    assert pickle.loads(pickle.dumps(token)) == token == copy.deepcopy(token)
    assert len({token, Secret("env", "OANDA_TOKEN"), Secret("file", "OANDA_TOKEN")}) == 2
    assert not hasattr(token, "__dict__")
    assert config.secrets == (token,)


def test_secrets_are_found_wherever_they_are() -> None:
    one, two, three = (Secret("env", n) for n in "ABC")

    @attrs.frozen
    class Deep:
        many: tuple[Secret, ...]
        table: Mapping[str, Secret]

    section = Section(component=COMPONENTS[0], settings=Deep((one,), {"x": two}))
    config = attrs.evolve(structure({}, REGISTRY), feed=section, notifiers=(attrs.evolve(section, settings=three),))
    assert set(config.secrets) == {one, two, three}


def test_the_log_filter_masks_what_was_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", VALUE)
    monkeypatch.setenv("B", f"{VALUE}-longer")
    secrets = (Secret("env", "A"), Secret("env", "B"))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(url)s", defaults={"url": ""}))
    handler.addFilter(SecretFilter(secrets))
    logger = logging.Logger("test")
    logger.addHandler(handler)

    logger.warning("before %s", VALUE)
    assert VALUE in stream.getvalue()  # not revealed yet: not known to be one
    stream.truncate(0)
    for secret in secrets:
        secret.reveal()
    logger.warning(f"message {VALUE}")
    logger.warning("argument %s %d", f"Bearer {VALUE}", 7)
    logger.warning("object %r", {"token": VALUE})
    logger.warning("longer %s", f"{VALUE}-longer")
    logger.warning("extra", extra={"url": f"https://x/?key={VALUE}"})
    logger.warning("does not fit %d", VALUE)
    try:
        raise ValueError(f"401 for {VALUE}")
    except ValueError:
        logger.exception("failed")
    text = stream.getvalue()
    assert VALUE not in text
    assert "-longer" not in text
    assert "argument Bearer ******** 7" in text
    assert "ValueError: 401 for ********" in text
    assert "does not fit" in text


# --- what is in force, as tables and as text

FULL = {
    "mode": "backtest",
    "account_currency": "EUR",
    "costs": {"slippage_bps": 0.5, "spread_bps": {"BRL": 20.0}},
    "broker": {
        **OANDA,
        "other_token": {"file": "~/x"},
        "tags": ["a"],
        "legs": [{"weight": 1.0}, {"weight": 2.0, "name": 'q"\\\x7f\n€'}],
        "spread": {"EUR": 2.0, "odd key.": 1.0},
        "day": date(2024, 1, 31),
        "at": datetime(2024, 1, 31, 17, tzinfo=UTC),
        "roll": time(17),
        "names": ["b", "a"],
        "side": "short",
    },
    "strategies": {
        "a b": {"use": "baseline", "rules": [{"use": "max-position"}]},
        "c": {"use": "baseline", "rules": []},
    },
    "rules": [],
    "notifiers": [{"use": "console"}, {"use": "console", "name": "b", "per_hour": 3}],
    "alerts": {
        "routes": [{"to": ["b"], "then": ["console"], "hours": "22:00-07:00", "escalate_minutes": 5}, {"to": []}]
    },
}


@pytest.mark.parametrize(
    "data",
    [
        {},
        FULL,
        {"costs": {"use": "none"}},
        {"rules": [{"use": "max-position"}]},
        {"venue": "ib"},
        {"venue": "interbank", "markup": 0.002, "costs": {"slippage_bps": 0.5}},
        {"venue": "oanda", "costs": {"use": "none"}},
    ],
)
def test_the_effective_configuration_is_the_same_again(data: dict[str, Any]) -> None:
    config = structure(data, REGISTRY)
    tables = effective(config)
    assert structure(tables, REGISTRY) == config
    assert tomllib.loads(to_toml(tables)) == tables


def test_a_venue_sets_costs_and_financing() -> None:
    config = structure({"venue": "ib"}, REGISTRY)
    assert (config.venue, config.markup, config.costs) == ("ib", None, venue("ib").costs)
    assert config.financing == venue("ib").financing
    assert structure({"venue": "ib", "markup": 0.02}, REGISTRY).financing == BenchmarkFinancing(0.02)
    assert structure({}, REGISTRY).financing == BenchmarkFinancing(0.01)
    assert problems(venue="onada") == [
        'venue: expected one of "interbank", "oanda", "ib", got "onada", did you mean "oanda"?'
    ]
    assert problems(costs={"use": "venue"}) == ['costs.use: expected "retail" or "none", got "venue"']


def test_the_effective_configuration_writes_defaults_out() -> None:
    tables = effective(structure(FULL, REGISTRY))
    assert tables["cash"] == 1_000_000.0
    assert tables["broker"]["token"] == {"env": "OANDA_TOKEN"}
    assert tables["broker"]["k"] == 3
    assert tables["broker"]["amount"] == "1.5"
    assert tables["broker"]["names"] == ["a", "b"]
    assert "anything" not in tables["broker"]
    assert tables["strategies"]["c"] == {"use": "baseline", "rules": []}
    assert effective(structure({"costs": {"use": "none"}}, REGISTRY))["costs"] == {"use": "none"}
    assert "rules" not in effective(structure({}, REGISTRY))


def test_a_setting_no_file_can_hold_is_an_error() -> None:
    config: Config = structure({"broker": {**OANDA, "anything": object()}}, REGISTRY)
    with pytest.raises(ConfigError, match=r"broker\.anything is a object"):
        effective(config)


def test_the_text_is_readable() -> None:
    tables = {
        "cash": 1.0,
        "rules": [{"use": "x", "cap": {"EUR": 1}}],
        "broker": {"token": {"env": "T"}, "on": True},
        "strategies": {"mine": {"k": 3}, "yours": {}},
    }
    assert to_toml(tables).splitlines() == [
        "cash = 1.0", "", "[[rules]]", 'use = "x"', "", "[rules.cap]", "EUR = 1", "", "[broker]",
        'token = { env = "T" }', "on = true", "", "[strategies.mine]", "k = 3", "", "[strategies.yours]",
    ]  # fmt: skip


_SCALARS = (
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.dates()
    | st.times().map(lambda t: t.replace(tzinfo=None))
    | st.datetimes(timezones=st.just(UTC))
)
_KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_VALUES = st.recursive(
    _SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(_KEYS, v, max_size=3), max_leaves=12
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_any_tables_survive_the_text(tables: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(tables)) == tables


# --- .env


def test_an_env_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        '# comment\n\nA=1\nexport B = two words  # comment\nC=\'sin#gle $x\'\nD="dou\\nble \\"q\\" \\\\ \\x" # c\nE=\n'
        "F=a#b\nG=x=y\nH= # nothing\n",
        encoding="utf-8",
    )
    assert read_env_file(path) == {
        "A": "1", "B": "two words", "C": "sin#gle $x", "D": 'dou\nble "q" \\ \\x', "E": "", "F": "a#b", "G": "x=y",
        "H": "",
    }  # fmt: skip


@pytest.mark.parametrize("line", ["no-equals", "1A=x", "=x", "A B=x", 'A="open', "A='open", 'A="x" y'])
def test_a_wrong_line_is_named_without_its_value(tmp_path: Path, line: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"OK=1\n{line}{VALUE if '=' in line else ''}\n")
    with pytest.raises(ConfigError, match=r"\.env, line 2: ") as raised:
        read_env_file(path)
    assert VALUE not in str(raised.value)
    with pytest.raises(ConfigError, match="does not exist"):
        read_env_file(tmp_path / "none")
