"""The settings: from a configuration file to an account, and to the same venue in a backtest."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from fxcarry import Engine, MemoryFeed, SimBroker, backtest, plugins
from fxcarry.build import build, resolve
from fxcarry.clock import SteppedClock
from fxcarry.config import Config, effective, load_config, structure, to_toml
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError
from fxcarry.financing import BenchmarkFinancing
from fxcarry.frictions import Frictions
from fxcarry.market import from_ns
from fxcarry.model import Pair
from fxcarry.plugins import Registry
from fxcarry.risk import default_rules
from fxcarry.strategies import Baseline
from fxcarry.testing import market_history
from fxcarry.testing.factories import G10
from fxcarry_paper import PaperBroker, PaperConfig, fxcarry_components

TEXT = """
cash = 50_000
markup = 0.02

[broker]
use = "paper"
path = "{path}"
margin_rate = 0.05
lots = "fifo"
latency = 2.5
largest_fill = 1_000_000
closed_market = "wait"
conversion_fee = 0.005
rollover_spread = 5
crisis_spread = 3
crises = [["2008-09-15", "2008-12-31"]]

[broker.margin_rates]
USDJPY = 0.1
"EUR/CHF" = 1

[strategies.baseline]
use = "baseline"
"""


@pytest.fixture
def registry() -> Registry:
    """The built-ins and this plugin, installed or not."""
    [component] = fxcarry_components()
    own = plugins.load({"FXCARRY_PLUGINS": "off"})
    return attrs.evolve(own, components={**own.components, ("broker", "paper"): component})


@pytest.fixture
def config(tmp_path: Path, registry: Registry) -> Config:
    file = tmp_path / "fxcarry.toml"
    file.write_text(TEXT.format(path=tmp_path / "paper.sqlite"), encoding="utf-8")
    return load_config(file, registry, {})


def test_an_engine_trades_on_the_account_of_the_file(config: Config, tmp_path: Path) -> None:
    engine = build(config, feed=MemoryFeed(market_history(days=70)))
    broker = engine.broker
    assert isinstance(broker, PaperBroker)
    assert (broker.account_id, broker.account_currency, broker.margin_rate) == ("paper", "USD", 0.05)
    assert (broker.lots, broker.margin_rates) == ("fifo", {Pair("USD", "JPY"): 0.1, Pair("EUR", "CHF"): 1.0})
    assert broker.get_account_balance() == 50_000
    assert (broker.costs, broker.financing) == (config.costs, config.financing)
    assert broker.frictions == Frictions(
        latency=timedelta(seconds=2.5),
        largest_fill=1e6,
        closed_market="wait",
        conversion_fee=0.005,
        rollover_spread=5.0,
        crisis_spread=3.0,
        crises=((date(2008, 9, 15), date(2008, 12, 31)),),
    )
    assert (tmp_path / "paper.sqlite").exists()
    broker.close()


def test_the_settings_in_force_are_written_and_read_again(config: Config, registry: Registry) -> None:
    text = to_toml(effective(config))
    assert "[broker.margin_rates]\nUSDJPY = 0.1\n" in text
    assert structure(tomllib.loads(text), registry) == config


def test_a_backtest_keeps_the_books_of_the_venues_lots(config: Config) -> None:
    feed = MemoryFeed(market_history(days=250))
    run = backtest(Baseline(), config=config, feed=feed, start=from_ns(feed.history(None, None).times[2]))
    assert run.ledger.lots == "fifo"
    assert len(run.trades) > 20
    assert abs(run.ledger.balance("Rounding")) <= len(run.trades) * Decimal("0.005")


def test_a_backtest_runs_on_the_same_venue_without_the_file(config: Config, tmp_path: Path) -> None:
    assert SimBroker(**{**resolve(config, "baseline").venue, "cash": 1}).frictions.conversion_fee == 0.005
    feed = MemoryFeed(market_history(days=120))
    start = from_ns(feed.history(None, None).times[2])
    rough = backtest(Baseline(), config=config, feed=feed, start=start)
    plain = backtest(Baseline(), feed=feed, start=start, cash=50_000, markup=0.02)
    assert rough.stats["cost"] < plain.stats["cost"] < 0  # wider spreads at 17:00, a fee on profit and loss
    assert not (tmp_path / "paper.sqlite").exists()


def test_an_engine_on_paper_ends_where_the_backtest_ends(tmp_path: Path) -> None:
    """To the cent, over a run looked at tick by tick, with the file closed and read anew at every tenth one."""
    history = market_history(days=150)
    start = from_ns(history.times[2])
    ends: dict[str, Engine] = {}
    for name in ("stored", "paper"):
        about: dict[str, Any] = {"cash": 30_000, "costs": Costs(), "financing": BenchmarkFinancing(0.01)}
        broker = (
            SimBroker(**about) if name == "stored" else PaperBroker(tmp_path / "p", account_id="simulated", **about)
        )
        ends[name] = engine = Engine(
            feed=MemoryFeed(history), broker=broker, strategy=Baseline(), rules=default_rules(), universe=G10,
            rebalance="weekly",
        )  # fmt: skip
        if name == "stored":
            engine.run(start)
        else:
            for n, at in enumerate(SteppedClock.over(history, start, frequency="weekly").at):
                engine.step(from_ns(at))
                if n % 10 == 9:
                    broker.close()
    stored, paper = ends["stored"].broker, ends["paper"].broker
    assert paper.get_account_balance() == stored.get_account_balance() != 30_000
    assert paper.nav == pytest.approx(stored.nav, abs=0.005)

    def booked(broker: SimBroker) -> list[Any]:
        return [(t.id, t.kind, t.at, t.instrument, t.units, t.amount, t.client_id) for t in broker.transactions(None)]

    assert booked(paper) == booked(stored)
    assert {t.kind for t in paper.transactions(None)} == {"fill", "financing"}
    paper.close()


def test_the_component_stands_alone(tmp_path: Path) -> None:
    [component] = fxcarry_components()
    assert (component.kind, component.name, component.config) == ("broker", "paper", PaperConfig)
    broker = component.factory(PaperConfig(path=str(tmp_path / "x.sqlite"), cash=7.0))
    assert isinstance(broker, PaperBroker)
    assert not (tmp_path / "x.sqlite").exists()  # nothing is opened before it is needed
    broker.connect()
    assert broker.get_account_balance() == 7
    broker.close()


def test_settings_that_make_no_sense_are_refused(registry: Registry, tmp_path: Path) -> None:
    [component] = fxcarry_components()
    with pytest.raises(ConfigError, match=r"reject_rate is 2\.0"):
        component.factory(PaperConfig(reject_rate=2.0))
    file = tmp_path / "fxcarry.toml"
    file.write_text(TEXT.format(path="x").replace('"wait"', '"sleep"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="closed_market"):
        load_config(file, registry, {})


def test_the_hook_is_light() -> None:
    code = "import fxcarry_paper, sys; assert not {'sqlite3', 'pandas', 'fxcarry_paper.broker'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
