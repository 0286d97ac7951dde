"""The built-in components, registered through the same hook as any plugin's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from fxcarry import risk, strategies
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError
from fxcarry.lots import Matching
from fxcarry.plugins import Component, FeedSection, hookimpl


@attrs.frozen(kw_only=True)
class SimulatedConfig:
    """The simulated broker; ``cash`` None is the general setting of that name. ``margin_rates`` are by pair,
    ``margin_rate`` is that of every other. ``lots`` is what a partial close is matched against.

    A plugin's broker that is simulated too has a configuration derived from this one: then backtests run on the same
    venue, and :func:`fxcarry.build` gives it the general settings.
    """

    cash: float | None = None
    margin_rate: float = 1 / 30
    closeout_level: float = 0.5
    account_id: str = "simulated"
    margin_rates: Mapping[str, float] | None = None
    lots: Matching = "average"

    def venue(self) -> dict[str, Any]:
        """Arguments of :class:`~fxcarry.simulation.SimBroker`."""
        return {
            "cash": self.cash,
            "margin_rate": self.margin_rate,
            "closeout_level": self.closeout_level,
            "account_id": self.account_id,
            "margin_rates": self.margin_rates,
            "lots": self.lots,
        }

    def arguments(self, terms: Mapping[str, Any]) -> dict[str, Any]:
        """:meth:`venue` and these terms, which win; what is none is left to the broker's own default."""
        return {name: value for name, value in {**self.venue(), **terms}.items() if value is not None}

    def broker(self, terms: Mapping[str, Any]) -> Any:
        """The broker on these terms, arguments that are not settings of its own."""
        from fxcarry.simulation import SimBroker

        return SimBroker(**self.arguments(terms))


@attrs.frozen(kw_only=True)
class FileFeedConfig:
    """Your own prices and rates as CSV or Parquet files."""

    prices: str
    rates: str | None = None
    numeraire: str = "USD"
    rates_in_percent: bool = False


def _simulated(settings: SimulatedConfig) -> Any:
    return settings.broker({"costs": Costs()})


def _file_feed(settings: FileFeedConfig) -> Any:
    from fxcarry.feeds import FileFeed

    return FileFeed(
        settings.prices, settings.rates, numeraire=settings.numeraire, rates_in_percent=settings.rates_in_percent
    )


@attrs.frozen(kw_only=True)
class CompositeConfig:
    """Feeds in order, each a table with its own ``use``; without ``rates``, those of the sources of prices. The other
    keys are those of :class:`~fxcarry.composite.Checks`.
    """

    prices: tuple[FeedSection, ...]
    rates: tuple[FeedSection, ...] = ()
    numeraire: str = "USD"
    minutes: float = 60.0
    pair_minutes: Mapping[str, float] | None = None
    rate_days: float = 50.0
    source_rate_days: Mapping[str, float] | None = None
    sigmas: float = 6.0
    jump: float = 0.03
    tolerance: float = 0.005
    pause: float = 60.0
    longest_pause: float = 3600.0

    def __attrs_post_init__(self) -> None:
        if not self.prices:
            raise ConfigError("no source of prices", hint="write one or more [[feed.prices]]")
        self.checks()

    def checks(self) -> Any:
        """The keys that are those of :class:`~fxcarry.composite.Checks`."""
        from fxcarry.composite import Checks

        own = {a.name: getattr(self, a.name) for a in attrs.fields(Checks)}
        return Checks(**{name: value for name, value in own.items() if value is not None})


def _composite(settings: CompositeConfig) -> Any:
    from fxcarry.composite import CompositeFeed

    made: list[tuple[FeedSection, Any]] = []

    def feed(section: FeedSection) -> Any:
        for known, other in made:
            if known == section:  # one feed for prices and rates
                return other
        made.append((section, section.component.factory(section.settings)))
        return made[-1][1]

    prices, rates = [feed(s) for s in settings.prices], [feed(s) for s in settings.rates]
    return CompositeFeed(prices, rates, numeraire=settings.numeraire, checks=settings.checks())


@attrs.frozen(kw_only=True)
class StoreConfig:
    """What is in a file of market data; ``source`` is the feed that ``fxcarry data update`` fills it from."""

    path: str
    source: FeedSection | None = None


def _store(settings: StoreConfig) -> Any:
    from fxcarry.store import StoredFeed

    return StoredFeed(settings.path)


@attrs.frozen(kw_only=True)
class RecorderConfig:
    """A feed, and the file that all it says is written to."""

    source: FeedSection
    path: str


def _recorder(settings: RecorderConfig) -> Any:
    from fxcarry.store import RecordingFeed

    return RecordingFeed(settings.source.component.factory(settings.source.settings), settings.path)


@attrs.frozen(kw_only=True)
class EnsembleConfig:
    """Strategies in one book by risk budget, each by its component's name and with its defaults; ``budgets`` are equal
    unless given, one a member.
    """

    members: tuple[str, ...] = ("rank", "dollar")
    budgets: tuple[float, ...] | None = None


@attrs.frozen(kw_only=True)
class OverlaidConfig:
    """A strategy by its component's name, with its defaults, and what is put around it, in this order."""

    strategy: str = "baseline"
    net_carry: bool = False
    neutral: bool = False
    volatility_target: float | None = None
    tranches: int = 1
    band: float | None = None


@attrs.frozen(kw_only=True)
class ConsoleConfig:
    """Alerts on the console have no settings."""


def _console(settings: ConsoleConfig) -> Any:
    from fxcarry.alerts import ConsoleNotifier

    return ConsoleNotifier()


def _named(name: str) -> Any:
    from fxcarry import plugins

    return plugins.load().get("strategy", name).with_defaults()


def _ensemble(settings: EnsembleConfig) -> Any:
    members, budgets = settings.members, settings.budgets
    if len(set(members)) != len(members):
        raise ConfigError(f"members names a strategy twice: {', '.join(members)}")
    if budgets is not None and len(budgets) != len(members):
        raise ConfigError(f"{len(budgets)} budgets for {len(members)} members", hint="one a member")
    return strategies.Blend(
        {name: _named(name) for name in members}, None if budgets is None else dict(zip(members, budgets))
    )


def _overlaid(settings: OverlaidConfig) -> Any:
    made = _named(settings.strategy)
    if settings.net_carry:
        made = strategies.NetCarry(made)
    if settings.neutral:
        made = strategies.Neutral(made)
    if settings.volatility_target is not None:
        made = strategies.VolatilityTarget(made, settings.volatility_target)
    if settings.tranches != 1:
        made = strategies.Staggered(made, settings.tranches)
    return made if settings.band is None else strategies.NoTradeBand(made, settings.band)


def _itself(settings: Any) -> Any:
    return settings


@hookimpl
def fxcarry_components() -> list[Component]:
    """Strategies, risk rules, the simulated broker and the file feed."""
    strategy: list[tuple[str, type, str]] = [
        ("baseline", strategies.Baseline, "long the 3 highest carries, short the 3 lowest, equal weights"),
        ("carry-momentum-value", strategies.CarryMomentumValue, "weights linear in carry, momentum and value"),
        (
            "carry-to-volatility",
            strategies.CarryToVolatility,
            "long the 3 highest carries per volatility, short the 3 lowest",
        ),
        ("dollar", strategies.Dollar, "all long or all short, by what they pay on average over the account currency"),
        ("equal-risk", strategies.EqualRisk, "the names of baseline, each with the same risk in its side"),
        ("inverse-volatility", strategies.InverseVolatility, "the names of baseline, the calm ones larger"),
        ("linear", strategies.Linear, "weights linear in carry, outliers pulled in"),
        ("minimum-variance", strategies.MinimumVariance, "most carry per unit of variance, scaled to a volatility"),
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
        ("max-currency-exposure", risk.MaxCurrencyExposure, "no currency above 60 %, no bloc above 100 % of NAV, net"),
        ("peg-limit", risk.PegLimit, "at most 10 % of NAV in a pegged, capped or managed currency"),
        ("margin-distance", risk.MarginDistance, "NAV at least 3 x the close-out level to open, 1.5 x to hold"),
        ("expected-shortfall", risk.ExpectedShortfall, "expected shortfall of a day at most 3 % of NAV"),
        ("stress-loss", risk.StressLoss, "loss in the worst scenario at most 15 % of NAV"),
        ("weekend", risk.Weekend, "gross exposure at most 1.5 x NAV over a weekend, and nothing opened in it"),
        ("price-sanity", risk.PriceSanity, "open nothing on a price that jumped and is not confirmed"),
        ("spread-guard", risk.SpreadGuard, "open nothing at more than 4 x the usual spread"),
        ("rollover-window", risk.RolloverWindow, "open nothing from 16:45 to 17:30 New York"),
        ("financing-flip", risk.FinancingFlip, "hold nothing that costs after the mark-up, at a rebalance"),
        ("fat-finger", risk.FatFinger, "no order above 30 % of NAV or 20 x the median opening"),
        ("order-rate", risk.OrderRate, "at most 10 orders a minute and 200 a day, none twice"),
    ]
    return [
        *(Component(kind="strategy", name=n, config=c, factory=_itself, summary=s) for n, c, s in strategy),
        Component(
            kind="strategy",
            name="ensemble",
            config=EnsembleConfig,
            factory=_ensemble,
            summary="several strategies in one book by risk budget",
        ),
        Component(
            kind="strategy",
            name="overlaid",
            config=OverlaidConfig,
            factory=_overlaid,
            summary="a strategy neutral, at a volatility, staggered, or with a no-trade band",
        ),
        *(Component(kind="rule", name=n, config=c, factory=_itself, summary=s) for n, c, s in rules),
        Component(
            kind="broker",
            name="simulated",
            config=SimulatedConfig,
            factory=_simulated,
            summary="fills at the next quote, financing, margin, native stops",
            suite="fxcarry.testing.builtin:SimulatedSuite",
        ),
        Component(
            kind="notifier",
            name="console",
            config=ConsoleConfig,
            factory=_console,
            summary="alerts as lines on the standard error stream",
            suite="fxcarry.testing.builtin:ConsoleSuite",
        ),
        Component(
            kind="feed",
            name="file",
            config=FileFeedConfig,
            factory=_file_feed,
            summary="your own prices and rates from CSV or Parquet files",
            suite="fxcarry.testing.builtin:FileFeedSuite",
        ),
        Component(
            kind="feed",
            name="composite",
            config=CompositeConfig,
            factory=_composite,
            summary="several feeds in order: each price and rate from the first that has a usable one",
            suite="fxcarry.testing.builtin:CompositeSuite",
        ),
        Component(
            kind="feed",
            name="store",
            config=StoreConfig,
            factory=_store,
            summary="prices and rates that were recorded or updated into a file",
            suite="fxcarry.testing.builtin:StoreSuite",
        ),
        Component(
            kind="feed",
            name="recorder",
            config=RecorderConfig,
            factory=_recorder,
            summary="another feed, with all it says written to a file",
            suite="fxcarry.testing.builtin:RecorderSuite",
        ),
    ]
