"""fxcarry.build and fxcarry.builtins: configuration, plugins and plain objects become an engine."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import fxcarry
from fxcarry import Engine, MemoryFeed, SimBroker, build
from fxcarry.build import find_object, resolve
from fxcarry.builtins import SimulatedConfig, fxcarry_components
from fxcarry.config import load_config
from fxcarry.errors import ConfigError, PluginError
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import MemoryJournal
from fxcarry.market import from_ns
from fxcarry.model import Pair
from fxcarry.plugins import load
from fxcarry.risk import Drawdown, MaxPosition, StopLoss, default_rules, professional_rules
from fxcarry.strategies import Baseline, Optimized, Rank, Sign
from fxcarry.testing import market_history

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(text: str) -> Path:
        path = tmp_path / "fxcarry.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return file


@pytest.fixture(scope="module")
def feed() -> MemoryFeed:
    return MemoryFeed(market_history(("AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK"), 70))


def finish(engine: Engine) -> float:
    """Run from the third row on: the made-up rates are known from the second."""
    assert engine.feed is not None
    engine.run(from_ns(engine.feed.history(None, None).times[2]))
    return engine.broker.nav


# --- parts -----------------------------------------------------------------------------------------------------------


def test_build_is_the_function_and_not_its_module() -> None:
    assert callable(fxcarry.build)
    assert callable(fxcarry.backtest)


def test_without_a_configuration_everything_is_the_default(feed: MemoryFeed) -> None:
    engine = build(strategy="baseline", feed=feed)
    assert isinstance(engine, Engine)
    assert engine.strategy == Baseline()
    assert engine.rules == default_rules()
    assert set(engine.universe) == {"AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK"}
    assert engine.rebalance == "monthly"
    assert engine.broker.account_currency == "USD"
    assert engine.broker.get_account_balance() == 1_000_000
    assert engine.broker.financing == BenchmarkFinancing(0.01)
    assert not engine.broker.costs.is_free
    assert engine.costs == engine.broker.costs
    assert finish(engine) != 1_000_000


def test_every_part_may_be_a_plain_object(feed: MemoryFeed) -> None:
    broker = SimBroker(cash=5_000)
    journal = MemoryJournal()
    rule = MaxPosition(limit=0.1)
    strategy = lambda view, account: {"EUR": 0.5}  # noqa: E731
    engine = build(strategy=strategy, feed=feed, broker=broker, rules=[rule], journal=journal)
    assert engine.feed is feed
    assert engine.broker is broker
    assert engine.strategy is strategy
    assert engine.rules == (rule,)
    assert engine.journal is journal
    finish(engine)
    assert journal.orders
    assert float(journal.orders[0].units) <= 500


def test_a_broker_of_any_make_is_taken_as_it_is(feed: MemoryFeed) -> None:
    class MyBroker(SimBroker):
        name = "mine"

    broker = MyBroker(cash=7)
    assert build(broker=broker, strategy="sign", feed=feed).broker is broker


@pytest.mark.parametrize("rules", [[], ()])
def test_no_rules_is_not_the_default_rules(rules: Any, feed: MemoryFeed) -> None:
    assert build(strategy="sign", rules=rules, feed=feed).rules == ()


@pytest.mark.parametrize(
    ("name", "made"), [("baseline", Baseline()), ("sign", Sign()), ("rank", Rank()), ("optimized", Optimized())]
)
def test_a_strategy_by_name(name: str, made: Any, feed: MemoryFeed) -> None:
    assert build(strategy=name, feed=feed).strategy == made


def test_an_unknown_strategy_suggests_the_nearest(feed: MemoryFeed) -> None:
    with pytest.raises((ConfigError, PluginError)) as caught:
        build(strategy="basline", feed=feed)
    assert "basline" in str(caught.value)
    assert "baseline" in str(caught.value)


# --- files -----------------------------------------------------------------------------------------------------------

FILE = """
account_currency = "EUR"
universe = ["USD", "JPY", "GBP"]
rebalance = "weekly"
cash = 20_000
markup = 0.02

[costs]
spread_multiplier = 2.0

[strategies.mine]
use = "baseline"
k = 1

[[rules]]
use = "max-position"
limit = 0.25

[[rules]]
use = "drawdown"
"""


def test_a_file(write: Write, feed: MemoryFeed) -> None:
    engine = build(write(FILE), feed=feed)
    assert engine.strategy == Baseline(k=1)
    assert engine.universe == ("USD", "JPY", "GBP")
    assert engine.rebalance == "weekly"
    assert engine.rules == (MaxPosition(limit=0.25), Drawdown())
    assert engine.broker.account_currency == "EUR"
    assert engine.broker.get_account_balance() == 20_000
    assert engine.broker.financing == BenchmarkFinancing(0.02)
    assert engine.broker.costs.spread_multiplier == engine.costs.spread_multiplier == 2.0
    finish(engine)
    assert len(engine.journal.plans) > 5


def test_a_path_as_text_and_a_configuration_read_before(write: Write, feed: MemoryFeed) -> None:
    path = write(FILE)
    read = load_config(path, load())
    for config in (str(path), path, read):
        assert build(config, feed=feed).rules == (MaxPosition(limit=0.25), Drawdown())


def test_arguments_replace_what_the_file_says(write: Write, feed: MemoryFeed) -> None:
    broker = SimBroker(cash=1, account_currency="EUR")
    engine = build(write(FILE), feed=feed, broker=broker, strategy="rank", rules=[StopLoss()])
    assert engine.strategy == Rank()
    assert engine.broker is broker
    assert engine.rules == (StopLoss(),)
    assert engine.universe == ("USD", "JPY", "GBP")


def test_rules_switched_off_in_the_file(write: Write, feed: MemoryFeed) -> None:
    assert build(write('rules = []\n[strategies.s]\nuse = "sign"\n'), feed=feed).rules == ()


def test_a_strategy_may_have_its_own_rules(write: Write, feed: MemoryFeed) -> None:
    text = FILE + '\n[strategies.other]\nuse = "sign"\n[[strategies.other.rules]]\nuse = "stop-loss"\nlimit = 0.1\n'
    path = write(text)
    assert build(path, strategy="other", feed=feed).rules == (StopLoss(limit=0.1),)
    assert build(path, strategy="mine", feed=feed).rules == (MaxPosition(limit=0.25), Drawdown())


def test_which_of_several_strategies_has_to_be_said(write: Write, feed: MemoryFeed) -> None:
    text = '[strategies.a]\nuse = "sign"\n[strategies.b]\nuse = "rank"\n'
    with pytest.raises(ConfigError, match="2 strategies") as caught:
        build(write(text), feed=feed)
    assert "a" in caught.value.hint
    assert "b" in caught.value.hint
    with pytest.raises(ConfigError, match="0 strategies"):
        build(write("[strategies]\n"), feed=feed)


def test_without_a_strategy_it_is_the_baseline(write: Write, feed: MemoryFeed) -> None:
    assert build(feed=feed).strategy == Baseline()
    assert build(write('account_currency = "USD"\n'), feed=feed).strategy == Baseline()


def test_the_brokers_own_cash_goes_before_the_general_one(write: Write, feed: MemoryFeed) -> None:
    text = 'cash = 5\n[broker]\nuse = "simulated"\ncash = 77\n[strategies.s]\nuse = "sign"\n'
    assert build(write(text), feed=feed).broker.get_account_balance() == 77


def test_settings_of_the_simulated_venue(write: Write, feed: MemoryFeed) -> None:
    text = '[broker]\nuse = "simulated"\nmargin_rate = 0.1\ncloseout_level = 0.8\n[strategies.s]\nuse = "sign"\n'
    broker = build(write(text), feed=feed).broker
    assert (broker.margin_rate, broker.closeout_level, broker.lots) == (0.1, 0.8, "average")
    terms = 'lots = "fifo"\nmargin_rates = { USDJPY = 0.05, "EUR/USD" = 1 }\n'
    broker = build(write(text.replace("closeout_level", terms + "closeout_level")), feed=feed).broker
    assert (broker.lots, broker.log.lots) == ("fifo", "fifo")
    assert broker.margin_rates == {Pair("USD", "JPY"): 0.05, Pair("EUR", "USD"): 1.0}
    with pytest.raises(ConfigError, match="lots"):
        build(write(text.replace("closeout_level", 'lots = "hifo"\ncloseout_level')), feed=feed)
    with pytest.raises(ConfigError, match=r"margin_rates\.USDJPY"):
        build(write(text + "[broker.margin_rates]\nUSDJPY = true\n"), feed=feed)


def test_mistakes_are_named_with_their_path(write: Write, feed: MemoryFeed) -> None:
    with pytest.raises(ConfigError) as caught:
        build(write('rebalanse = "weekly"\n[strategies.s]\nuse = "baseline"\nkay = 2\n'), feed=feed)
    assert "rebalanse" in str(caught.value)
    assert "kay" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path, feed: MemoryFeed) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        build(tmp_path / "nowhere.toml", feed=feed)


def test_prices_from_files(write: Write, tmp_path: Path) -> None:
    history = market_history(("EUR", "JPY"), 60)
    prices, rates = tmp_path / "prices.csv", tmp_path / "rates.csv"
    days = [str(t)[:10] for t in history.times]
    with prices.open("w", newline="") as file:
        csv.writer(file).writerows([("date", "EUR", "JPY"), *zip(days, *history.spot.T.tolist())])
    with rates.open("w", newline="") as file:
        csv.writer(file).writerows([("date", "EUR", "JPY", "USD"), ("2019-12-31", 2.5, 0.0, 1.0)])
    engine = build(
        write(
            f"""
universe = ["EUR", "JPY"]
rules = []
[feed]
use = "file"
prices = {str(prices)!r}
rates = {str(rates)!r}
rates_in_percent = true
[strategies.s]
use = "sign"
"""
        )
    )
    finish(engine)
    assert {n: float(np.sign(float(p.units))) for n, p in engine.broker.get_positions().items()} == {
        "EURUSD": 1.0,
        "USDJPY": 1.0,
    }


# --- built-in components ---------------------------------------------------------------------------------------------


def test_builtins_come_through_the_same_hook_as_plugins() -> None:
    components = fxcarry_components()
    names = {(c.kind, c.name) for c in components}
    assert len(names) == len(components)
    assert {n for kind, n in names if kind == "strategy"} >= {"baseline", "optimized", "rank", "sign"}
    assert {n for kind, n in names if kind == "rule"} == {r.name for r in professional_rules()}
    assert ("broker", "simulated") in names
    assert ("feed", "file") in names
    registry = load()
    for component in components:
        assert registry.get(component.kind, component.name).config is component.config
        assert component.summary
        assert attrs.has(component.config)


def test_a_rule_made_from_its_defaults_is_the_default_rule() -> None:
    made = {c.name: c.factory(c.config()) for c in fxcarry_components() if c.kind == "rule"}
    assert made == {r.name: r for r in professional_rules()}


def test_the_simulated_brokers_settings_are_checked() -> None:
    (component,) = [c for c in fxcarry_components() if c.kind == "broker"]
    assert component.config is SimulatedConfig
    broker = component.factory(SimulatedConfig(cash=9.0))
    assert isinstance(broker, SimBroker)
    assert broker.get_account_balance() == 9
    with pytest.raises(ConfigError):
        component.factory(SimulatedConfig(cash=-1.0))


# --- a user's own object ---------------------------------------------------------------------------------------------

OWN = """
from __future__ import annotations
from dataclasses import dataclass
import neighbour

@dataclass
class Half:
    weight: float = 0.5
    def __call__(self, view, account):
        return {"EUR": self.weight * neighbour.SCALE}

@dataclass
class Needy:
    weight: float

small = Half(0.1)
number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "neighbour.py").write_text("SCALE = 1.0\n", "utf-8")
    (tmp_path / "own" / "mine.py").write_text(OWN, "utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "own" / "mine.py"
    for name in ("neighbour", "_fxcarry_mine", "_fxcarry_broken", "beside"):
        sys.modules.pop(name, None)


def test_a_file_and_a_name_are_a_strategy(own: Path, feed: MemoryFeed) -> None:
    before = list(sys.path)
    assert find_object("own/mine.py:Half", "strategy").weight == 0.5  # a class is made without arguments
    assert find_object(f"{own}:small", "strategy").weight == 0.1
    assert sys.path == before
    result = fxcarry.backtest(
        "own/mine.py:small", feed=feed, start=str(from_ns(feed.history(None, None).times[2]).date())
    )
    assert result.strategy == "own/mine.py:small"
    assert result.weights["EUR"].iloc[-1] == pytest.approx(0.1, abs=0.02)
    engine = build(strategy="own/mine.py:small", feed=feed)
    assert engine.strategy.weight == 0.1


def test_a_file_is_run_anew(own: Path) -> None:
    assert find_object("own/mine.py:small", "strategy").weight == 0.1
    own.write_text(OWN.replace("Half(0.1)", "Half(0.25)  # changed"), "utf-8")
    assert find_object("own/mine.py:small", "strategy").weight == 0.25


def test_a_module_is_looked_for_in_the_working_directory(tmp_path: Path, own: Path) -> None:
    (tmp_path / "beside.py").write_text("def flat(view, account):\n    return {}\n", "utf-8")
    assert find_object("beside:flat", "strategy")(None, None) == {}
    assert find_object("fxcarry.strategies:Sign", "strategy") == Sign()


@pytest.mark.parametrize(
    ("reference", "said", "hint"),
    [
        ("own/none.py:Half", "strategy file own/none.py does not exist", "path/to/file.py:name"),
        ("own/mine.txt:Half", "strategy file own/mine.txt does not exist", "path/to/file.py:name"),
        ("own/mine.py:", "strategy 'own/mine.py:' is incomplete", "path/to/file.py:name"),
        (":Half", "strategy ':Half' is incomplete", "path/to/file.py:name"),
        ("own/mine.py:none", "own/mine.py has no 'none'", "it has Half, Needy, small"),
        ("own/mine.py:number", "is 3, which cannot be called", "callable"),
        ("own/mine.py:Needy", "cannot be made without arguments: .*weight", r"made = Needy\(…\)"),
        ("no_such_module:x", "module no_such_module cannot be imported: ModuleNotFoundError", "the name right"),
        ("broken.py:x", "file broken.py cannot be imported: SyntaxError", "mend it"),
        ("data.txt:x", "strategy file data.txt does not exist|cannot be imported", ""),
    ],
)
def test_what_is_no_object_is_told(reference: str, said: str, hint: str, own: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def\n", "utf-8")
    with pytest.raises(ConfigError, match=said) as caught:
        find_object(reference, "strategy")
    assert re.search(hint, caught.value.hint)


def test_a_section_of_that_name_comes_first(write: Write, own: Path) -> None:
    config = load_config(write('[strategies."own/mine.py:Half"]\nuse = "sign"\n'), load())
    assert resolve(config, "own/mine.py:Half").strategy == Sign()
