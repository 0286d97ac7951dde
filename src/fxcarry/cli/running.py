"""The command ``backtest``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxcarry.cli.shared import (
    Progress,
    account_option,
    config_option,
    emit,
    folder_name,
    json_option,
    load,
    markup_option,
    rebalance_option,
    routing_option,
    start_option,
    strategies_of,
    universe_option,
    venue_option,
    width,
)
from fxcarry.errors import FxCarryError

if TYPE_CHECKING:
    from fxcarry.backtest import BacktestResult
    from fxcarry.evidence import Placebo
    from fxcarry.market import MarketHistory
    from fxcarry.protocols import Strategy
    from fxcarry.trials import TrialRegistry

RESULTS = "fxcarry-results"
_PLACEBO = "Compare with this many books in shuffled currencies; 100 is usual. [0: none]"


@click.command()
@click.option(
    "--strategy", "names", multiple=True, metavar="NAME", help="NAME or file.py:name. Repeatable. [baseline, optimized]"
)
@start_option
@click.option("--end", metavar="DATE", help="Last trade date.")
@universe_option
@account_option
@click.option("--cash", type=float, help="Opening balance. [1000000]")
@markup_option
@venue_option
@routing_option
@rebalance_option
@click.option("--no-costs", is_flag=True, help="Trade at mid, without commission.")
@click.option("--no-rules", is_flag=True, help="Switch the risk rules off.")
@click.option("--placebo", "draws", type=click.IntRange(0), default=0, metavar="DRAWS", help=_PLACEBO)
@click.option("--output", metavar="DIR", default=RESULTS, show_default=True, help="Where the files go.")
@config_option
@json_option
def backtest(
    names: tuple[str, ...],
    start: str | None,
    end: str | None,
    universe: str | None,
    account_currency: str | None,
    cash: float | None,
    markup: float | None,
    venue: str | None,
    routing: str | None,
    rebalance: str | None,
    no_costs: bool,
    no_rules: bool,
    draws: int,
    output: str,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Run strategies over history, side by side, and write a report for each.

    Each gets a report card: how sure its Sharpe ratio is, and how much of it may be selection. For that every
    configuration ever run is counted (FXCARRY_TRIALS).

    Without arguments: baseline and optimized, nine G10 currencies against USD, ECB fixings and policy rates since
    1999, typical retail spreads and a mark-up of 1 % a year on financing.
    """
    from fxcarry import report
    from fxcarry.backtest import backtest as run
    from fxcarry.backtest import by_venue, variants
    from fxcarry.build import feed_of, resolve
    from fxcarry.evidence import report_card
    from fxcarry.stress import crash_panel
    from fxcarry.venues import venues

    settings = load(config_path)
    chosen = strategies_of(settings, names, config_path)
    folders = {name: Path(output) / folder_name(name) for name in chosen}
    report.check_folder(Path(output))
    strategies = {name: resolve(settings, name).strategy for name in chosen}
    feed = feed_of(settings)
    revised = getattr(feed, "revised", None)
    hindsight = None if revised is None else revised().history(None, None)
    common: dict[str, Any] = {
        "config": settings,
        "history": feed.history(None, None),
        "start": start,
        "end": end,
        "universe": universe,
        "account_currency": account_currency,
        "cash": cash,
        "markup": markup,
        "venue": venue,
        "routing": routing,
        "rebalance": rebalance,
    }
    if no_costs:
        common["costs"] = None
    if no_rules:
        common["rules"] = []
    shows_venues = venue is None and markup is None and not no_costs and settings.venue is None
    runs = 5 + bool(draws) + (hindsight is not None) + (2 * len(venues()) if shows_venues else 0)
    with Progress(len(chosen) * runs, is_shown=not as_json) as bar:
        results: list[BacktestResult] = []
        others: list[dict[str, BacktestResult]] = []
        for name in chosen:
            result = run(name, **common, progress=bar.step(name))
            fixed = {**common, "start": result.stats["start"], "end": result.stats["end"]}

            def again(name: str = name, fixed: dict[str, Any] = fixed, **change: Any) -> Any:
                return run(name, **{**fixed, **change}, progress=bar.step(name))

            results.append(result)
            others.append(variants(again, result, hindsight) | (by_venue(again) if shows_venues else {}))
        choices = [other["no_rules"] for other in others]
        trials, notes = _recorded(strategies, [*results, *choices])
        done: list[dict[str, Any]] = []
        for result, other in zip(results, others):
            card = report_card(
                result,
                trials=trials,
                against=None if result is results[0] else results[0],
                placebo=_placebo(result, strategies, common["history"], draws, bar) if draws else None,
                variants={kind: other[kind] for kind in report.VARIANTS if kind in other},
                candidates=results,
            )
            card["notes"] += notes
            done.append(report.summary(result, other, card))
            crash = crash_panel(result, other["no_rules"])
            report.write_files(result, other, folders[result.strategy], card=card, crash=crash)
    if as_json:
        emit(done)
        return
    click.echo(report.render(done, width()))
    for one in done:
        own = [note for note in one["card"]["notes"] if note not in one["notes"]]  # the table has told the others
        click.echo(report.card_text({**one["card"], "notes": own}, width()))
    click.echo(f"Files: {', '.join(map(str, folders.values()))}")
    if trials is not None:
        click.echo(f"Trials: counted in {trials.path}")


def _recorded(
    strategies: Mapping[str, Strategy], results: Iterable[BacktestResult]
) -> tuple[TrialRegistry | None, list[str]]:
    """Record what was tried; the registry, or None and why not: a run does not fail for that.

    Without rules is a configuration one could choose. In the cheapest pairs is the same one, and without mark-up or
    interest is nobody's.
    """
    import attrs

    from fxcarry.evidence import configuration_of
    from fxcarry.report import PERIODS
    from fxcarry.trials import TrialRegistry

    try:
        registry = TrialRegistry()
        for result in results:
            strategy = strategies[result.strategy]
            settings = configuration_of(result, strategy if attrs.has(type(strategy)) else None)
            registry.record(settings, result.returns, PERIODS, name=result.strategy)
        registry.count()
    except (FxCarryError, OSError, RuntimeError) as error:
        told = error.message if isinstance(error, FxCarryError) else str(error)
        return None, [f"This run was not counted as a trial: {told}."]
    return registry, []


def _placebo(
    result: BacktestResult, strategies: Mapping[str, Strategy], history: MarketHistory, draws: int, bar: Progress
) -> Placebo | None:
    """The same books in shuffled currencies, run as ``result`` was; None where it never moved."""
    from fxcarry.evidence import placebo_percentile

    if result.stats["sharpe"] is None:
        return None
    return placebo_percentile(
        strategies[result.strategy],
        history=history,
        draws=draws,
        start=result.stats["start"],
        end=result.stats["end"],
        universe=result.universe,
        rules=result.rules,
        costs=result.costs,
        markup=result.markup if result.venue is None else None,
        venue=result.venue,
        cash=result.cash,
        account_currency=result.account_currency,
        rebalance=result.rebalance,
        routing=result.routing,
        progress=bar.step(f"{result.strategy}, placebo"),
    )
