"""The command ``walkforward``: parameters chosen on the past, traded in the year after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    width,
)
from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from fxcarry.walkforward import WalkForwardResult

OUTPUT = "fxcarry-walkforward"
TRIED: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "optimized": {"risk_aversion": [4.0, 8.0, 16.0], "lookback": [125, 250]},
}
"""What is tried where nothing is said."""


@click.command()
@click.option(
    "--strategy", "names", multiple=True, metavar="NAME", help="NAME or file.py:name. Repeatable. [baseline, optimized]"
)
@click.option(
    "--try",
    "tries",
    multiple=True,
    metavar="[NAME:]SETTING=V,V",
    help="Values to choose from in train, for one strategy or for all that have the setting. Repeatable. "
    "[optimized:risk_aversion=4,8,16 and lookback=125,250]",
)
@click.option("--fixed", is_flag=True, help="Choose nothing: the settings as they are.")
@start_option
@click.option("--end", metavar="DATE", help="Last trade date.")
@click.option("--train-years", type=click.IntRange(1), default=10, show_default=True, help="Years to choose on.")
@click.option("--test-years", type=click.IntRange(1), default=1, show_default=True, help="Years to trade a choice.")
@click.option("--rolling", is_flag=True, help="Train on the last years only, not on all since the start.")
@click.option("--purge-days", type=click.IntRange(0), default=31, show_default=True, help="Gap before each test.")
@click.option("--embargo-days", type=click.IntRange(0), default=0, show_default=True, help="Gap after each test.")
@universe_option
@account_option
@click.option("--cash", type=float, help="Opening balance. [1000000]")
@markup_option
@click.option(
    "--venue", "venues", multiple=True, metavar="NAME", help="A cost profile: interbank, oanda or ib. Repeatable."
)
@routing_option
@rebalance_option
@click.option("--no-rules", is_flag=True, help="Switch the risk rules off.")
@click.option("--resume", "is_resumed", is_flag=True, help="Keep what was run in the output folder, and go on from it.")
@click.option("--output", metavar="DIR", default=OUTPUT, show_default=True, help="Where the files go.")
@config_option
@json_option
def walkforward(
    names: tuple[str, ...],
    tries: tuple[str, ...],
    fixed: bool,
    start: str | None,
    end: str | None,
    train_years: int,
    test_years: int,
    rolling: bool,
    purge_days: int,
    embargo_days: int,
    universe: str | None,
    account_currency: str | None,
    cash: float | None,
    markup: float | None,
    venues: tuple[str, ...],
    routing: str | None,
    rebalance: str | None,
    no_rules: bool,
    is_resumed: bool,
    output: str,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Choose on the past, trade the year after, and report those years only.

    A table for each strategy (and venue): out-of-sample return, Sharpe ratio, drawdown and win rate, with and without
    rules, in the cheapest pairs, without mark-up, on spot alone; what was chosen each year; how much may be luck; and
    the paired difference from the first strategy, at equal volatility too. An HTML report for each venue.
    """
    from fxcarry import report
    from fxcarry.build import feed_of, resolve
    from fxcarry.walkforward import compare, render, walk_forward, write_html

    settings = load(config_path)
    chosen = strategies_of(settings, names, config_path)
    if fixed and tries:
        raise ConfigError("--fixed chooses nothing, so there is nothing to --try", hint="leave one of them out")
    strategies = {name: resolve(settings, name).strategy for name in chosen}
    grids = {} if fixed else _grids(strategies, tries)
    folder = Path(output)
    report.check_folder(folder)
    history = feed_of(settings).history(None, None)
    groups: dict[str, list[WalkForwardResult]] = {}
    places: tuple[str | None, ...] = venues or (None,)
    runs = len(places) * sum(len(_combinations(grids.get(n))) + 5 for n in chosen)
    with Progress(runs, is_shown=not as_json) as bar:
        for venue in places:
            for name in chosen:
                kept = folder / "resume" / f"{folder_name(name)}-{venue or 'own'}.json"
                if is_resumed:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                found = walk_forward(
                    strategies[name],
                    grid=grids.get(name),
                    start=start,
                    end=end,
                    train_years=train_years,
                    test_years=test_years,
                    is_expanding=not rolling,
                    purge_days=purge_days,
                    embargo_days=embargo_days,
                    universe=universe,
                    rules=[] if no_rules else resolve(settings, name).rules,
                    markup=markup,
                    venue=venue,
                    routing=routing,  # type: ignore[arg-type]
                    cash=cash,
                    account_currency=account_currency,
                    rebalance=rebalance,
                    config=settings,
                    history=history,
                    resume=kept if is_resumed else None,
                    name=name,
                    progress=bar.steps(f"{name} {venue or ''}"),
                )
                groups.setdefault(venue or "own", []).append(found)
    done = [
        {
            "venue": (venues and key) or None,
            "results": [r.to_dict() for r in results],
            "comparison": []
            if len(results) < 2
            else [row for kind in ("traded", "no_rules") for row in compare(results, kind=kind)],
        }
        for key, results in groups.items()
    ]
    pages = {key: folder / (f"walkforward-{key}.html" if venues else "walkforward.html") for key in groups}
    for key, results in groups.items():
        write_html(results, pages[key])
    report.write_page(json.dumps(done, indent=2, allow_nan=False) + "\n", folder / "walkforward.json")
    if as_json:
        emit(done)
        return
    for results in groups.values():
        click.echo(render(results, width()))
    click.echo(f"Files: {', '.join(map(str, [folder / 'walkforward.json', *pages.values()]))}")


def _combinations(grid: Mapping[str, Sequence[Any]] | None) -> list[Any]:
    """What is run to choose from; nothing where there is no choice."""
    from itertools import product

    found = list(product(*(grid or {}).values()))
    return found if len(found) > 1 else []


def _grids(strategies: Mapping[str, Any], tries: Sequence[str]) -> dict[str, dict[str, Sequence[Any]]]:
    """The settings to try by strategy; without any ``--try`` the usual ones."""
    import attrs

    if not tries:
        return {name: dict(TRIED[name]) for name in strategies if name in TRIED}
    grids: dict[str, dict[str, Sequence[Any]]] = {}
    for text in tries:
        left, equals, values = text.partition("=")
        name, colon, setting = left.rpartition(":")
        if not equals or not setting or not values:
            raise ConfigError(f"--try {text!r} is not a setting with values", hint="write it like baseline:k=2,3,4")
        if colon and name not in strategies:
            raise ConfigError(f"--try {text!r} is for {name!r}, which is not run", hint=f"of {', '.join(strategies)}")
        found = False
        for strategy, made in strategies.items():
            kind = type(made)
            fields = [a.name for a in attrs.fields(kind) if a.init] if attrs.has(kind) else []
            if (name or strategy) == strategy and (colon or setting in fields):
                grids.setdefault(strategy, {})[setting] = [_value(part) for part in values.split(",")]
                found = True
        if not found:
            raise ConfigError(f"--try {text!r}: no strategy has a setting {setting}", hint="fxcarry config show")
    return grids


def _value(text: str) -> Any:
    """``3``, ``0.5``, ``true`` as what they are, anything else as text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.strip().lower(), text.strip())
