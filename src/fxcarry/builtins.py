"""The built-in components, registered through the same hook as any plugin's."""

from __future__ import annotations

from typing import Any

import attrs

from fxcarry import risk, strategies
from fxcarry.costs import Costs
from fxcarry.plugins import Component, hookimpl


@attrs.frozen(kw_only=True)
class SimulatedConfig:
    """The simulated broker; ``cash`` None is the general setting of that name."""

    cash: float | None = None
    margin_rate: float = 1 / 30
    closeout_level: float = 0.5
    account_id: str = "simulated"


@attrs.frozen(kw_only=True)
class FileFeedConfig:
    """Your own prices and rates as CSV or Parquet files."""

    prices: str
    rates: str | None = None
    numeraire: str = "USD"
    rates_in_percent: bool = False


def _simulated(settings: SimulatedConfig) -> Any:
    from fxcarry.simulation import SimBroker

    venue = {name: value for name, value in attrs.asdict(settings).items() if value is not None}
    return SimBroker(costs=Costs(), **venue)


def _file_feed(settings: FileFeedConfig) -> Any:
    from fxcarry.feeds import FileFeed

    return FileFeed(
        settings.prices, settings.rates, numeraire=settings.numeraire, rates_in_percent=settings.rates_in_percent
    )


def _itself(settings: Any) -> Any:
    return settings


@hookimpl
def fxcarry_components() -> list[Component]:
    """Strategies, risk rules, the simulated broker and the file feed."""
    strategy: list[tuple[str, type, str]] = [
        ("baseline", strategies.Baseline, "long the 3 highest carries, short the 3 lowest, equal weights"),
        ("optimized", strategies.Optimized, "mean-variance on carry, costs in the objective, volatility target"),
        ("rank", strategies.Rank, "weights linear in the rank of carry"),
        ("sign", strategies.Sign, "long what pays more than the account currency, short what pays less"),
    ]
    rules: list[tuple[str, type, str]] = [
        ("max-position", risk.MaxPosition, "no position above 30 % of NAV"),
        ("stop-loss", risk.StopLoss, "close a position 5 % against its entry"),
        ("max-currencies-per-side", risk.MaxCurrenciesPerSide, "at most 3 currencies long and 3 short"),
        ("max-exposure", risk.MaxExposure, "gross exposure at most 2 x NAV"),
        ("daily-loss", risk.DailyLoss, "open nothing more after losing 3 % in a day"),
        ("drawdown", risk.Drawdown, "close everything and halt 15 % below the high-water mark"),
        ("staleness", risk.Staleness, "open nothing on a quote older than 60 open-market minutes"),
    ]
    return [
        *(Component(kind="strategy", name=n, config=c, factory=_itself, summary=s) for n, c, s in strategy),
        *(Component(kind="rule", name=n, config=c, factory=_itself, summary=s) for n, c, s in rules),
        Component(
            kind="broker",
            name="simulated",
            config=SimulatedConfig,
            factory=_simulated,
            summary="fills at the next quote, financing, margin, native stops",
        ),
        Component(
            kind="feed",
            name="file",
            config=FileFeedConfig,
            factory=_file_feed,
            summary="your own prices and rates from CSV or Parquet files",
        ),
    ]
