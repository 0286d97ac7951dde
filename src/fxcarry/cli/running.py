"""Commands that run strategies: ``backtest``. A ``walkforward`` belongs here too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from fxcarry.cli.shared import (
    Progress,
    account_option,
    config_option,
    emit,
    json_option,
    listed,
    load,
    markup_option,
    start_option,
    strategies_of,
    universe_option,
    width,
)

RESULTS = "fxcarry-results"


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
@click.option("--rebalance", type=click.Choice(["monthly", "weekly", "daily"]), help="When to decide. [monthly]")
@click.option("--no-costs", is_flag=True, help="Trade at mid, without commission.")
@click.option("--no-rules", is_flag=True, help="Switch the risk rules off.")
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
    rebalance: str | None,
    no_costs: bool,
    no_rules: bool,
    output: str,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Run strategies over history, side by side, and write a report for each.

    Without arguments: baseline and optimized, nine G10 currencies against USD, ECB fixings and policy rates since
    1999, typical retail spreads and a mark-up of 1 % a year on financing.
    """
    from fxcarry import report
    from fxcarry.backtest import backtest as run
    from fxcarry.backtest import variants
    from fxcarry.build import feed_of

    settings = load(config_path)
    chosen = strategies_of(settings, names, config_path)
    folders = {name: Path(output) / _folder(name) for name in chosen}
    report.check_folder(Path(output))
    common: dict[str, Any] = {
        "config": settings,
        "history": feed_of(settings).history(None, None),
        "start": start,
        "end": end,
        "universe": listed(universe),
        "account_currency": account_currency,
        "cash": cash,
        "markup": markup,
        "rebalance": rebalance,
    }
    if no_costs:
        common["costs"] = None
    if no_rules:
        common["rules"] = []
    done: list[dict[str, Any]] = []
    with Progress(len(chosen) * 4, is_shown=not as_json) as bar:
        results = []
        for name in chosen:
            result = run(name, **common, progress=bar.step(name))
            fixed = {**common, "start": result.stats["start"], "end": result.stats["end"]}

            def again(name: str = name, fixed: dict[str, Any] = fixed, **change: Any) -> Any:
                return run(name, **{**fixed, **change}, progress=bar.step(name))

            results.append((result, variants(again, result)))
        for result, others in results:
            done.append(report.summary(result, others))
            report.write_files(result, others, folders[result.strategy])
    if as_json:
        emit(done)
        return
    click.echo(report.render(done, width()))
    click.echo(f"Files: {', '.join(map(str, folders.values()))}")


def _folder(name: str) -> str:
    """A strategy's name as that of a folder: ``own/mine.py:best`` as ``own-mine.py-best``."""
    return re.sub(r"[/\\:]+", "-", name).strip("-") if ":" in name else name
