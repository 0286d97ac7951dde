"""Commands that put a strategy or a book to the test: ``lookahead``, ``warmup``, ``stress``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from fxcarry.cli.shared import (
    FOUND,
    Progress,
    account_option,
    config_option,
    emit,
    json_option,
    load,
    markup_option,
    numbers,
    rebalance_option,
    start_option,
    strategies_of,
    universe_option,
    width,
)
from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from fxcarry.config import Config
    from fxcarry.lookahead import LookAheadReport, WarmupReport

_strategy_option = click.option(
    "--strategy", "names", multiple=True, metavar="NAME", help="Configured, installed, or file.py:name. Repeatable."
)
_factory_option = click.option(
    "--factory", "factories", multiple=True, metavar="FILE:NAME", help="Makes a strategy from a history. Repeatable."
)


@click.command()
@_strategy_option
@_factory_option
@start_option
@click.option("--end", metavar="DATE", help="Last trade date; what comes later is future.")
@universe_option
@account_option
@markup_option
@rebalance_option
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="3 tests each third decision.")
@config_option
@json_option
@click.pass_context
def lookahead(
    ctx: click.Context,
    names: tuple[str, ...],
    factories: tuple[str, ...],
    start: str | None,
    end: str | None,
    universe: str | None,
    account_currency: str | None,
    markup: float | None,
    rebalance: str | None,
    every: int,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Does a strategy know the future? Every decision is made again without it.

    A strategy that holds data of its own is tested with --factory, which is given the history it may read. Exit code 8
    when anything was found.
    """
    import attrs

    from fxcarry.lookahead import find_look_ahead

    settings = load(config_path)
    common = _common(settings, start, universe, account_currency, markup, rebalance)
    chosen = list(_subjects(settings, names, factories, config_path))
    reports: list[LookAheadReport] = []
    with Progress(len(chosen), is_shown=not as_json) as bar:
        for name, subject in chosen:
            report = find_look_ahead(**subject, **common, end=end, every=every, progress=bar.step(name))
            reports.append(attrs.evolve(report, strategy=name))
    _show(ctx, reports, as_json, all(report.is_clean for report in reports))


@click.command()
@_strategy_option
@_factory_option
@click.option("--at", "days", multiple=True, metavar="DATE", help="Test the decision by this date. Repeatable. [last]")
@click.option("--lengths", metavar="60,125,…", help="Rows of history to try. [60,125,250,500,1000]")
@start_option
@universe_option
@account_option
@markup_option
@rebalance_option
@config_option
@json_option
@click.pass_context
def warmup(
    ctx: click.Context,
    names: tuple[str, ...],
    factories: tuple[str, ...],
    days: tuple[str, ...],
    lengths: str | None,
    start: str | None,
    universe: str | None,
    account_currency: str | None,
    markup: float | None,
    rebalance: str | None,
    config_path: str | None,
    as_json: bool,
) -> None:
    """How much history does a strategy need? A decision is made again with ever more of it.

    Exit code 8 where the weights of a currency never settle.
    """
    import attrs

    from fxcarry.lookahead import check_warmup

    settings = load(config_path)
    common = _common(settings, start, universe, account_currency, markup, rebalance)
    if lengths is not None:
        common["lengths"] = [int(n) if n == int(n) else n for n in numbers(lengths, "--lengths")]
    reports = [
        attrs.evolve(check_warmup(**subject, **common, at=days or None), strategy=name)
        for name, subject in _subjects(settings, names, factories, config_path)
    ]
    _show(ctx, reports, as_json, all(report.is_settled for report in reports))


@click.command()
@click.option("--strategy", "name", metavar="NAME", help="Whose book: configured, installed, or file.py:name.")
@click.option("--weights", metavar="AUD=0.3,…", help="A book of your own instead: signed fractions of NAV.")
@click.option("--scenario", "scenario_names", multiple=True, metavar="NAME", help="May be repeated. [all]")
@click.option("--at", "day", metavar="DATE", help="The strategy's book on this trade date (default: the last).")
@universe_option
@account_option
@markup_option
@click.option("--list", "is_list", is_flag=True, help="List the scenarios and stop.")
@config_option
@json_option
def stress(
    name: str | None,
    weights: str | None,
    scenario_names: tuple[str, ...],
    day: str | None,
    universe: str | None,
    account_currency: str | None,
    markup: float | None,
    is_list: bool,
    config_path: str | None,
    as_json: bool,
) -> None:
    """What would a crash do to a book? The worst scenario comes first.

    Without --weights the book is what a strategy holds at the end of a backtest without risk rules: what it would
    hold, not what a halt has left of it.
    """
    from fxcarry import stress as library

    shocks = [library.scenario(n) for n in scenario_names] or list(library.scenarios())
    if is_list:
        _list_scenarios(shocks, as_json)
        return
    settings = load(config_path)
    account = account_currency or settings.account_currency
    head: dict[str, Any] = {"strategy": None, "date": None}
    if weights is not None:
        if name is not None or day is not None:
            raise ConfigError("--weights is a book already", hint="leave --strategy and --at out")
        book = _weights(weights)
        report = library.stress(
            book, nav=settings.cash, account_currency=account, costs=settings.costs, scenarios=shocks
        )
        told = f"A book of your own, {settings.cash:,.0f} {account}"
    else:
        from fxcarry.backtest import backtest
        from fxcarry.build import feed_of

        [chosen, *_] = strategies_of(settings, () if name is None else (name,), config_path)
        result = backtest(
            chosen,
            config=settings,
            history=feed_of(settings).history(None, None),
            end=day,
            universe=universe,
            account_currency=account_currency,
            markup=markup,
            rules=[],
        )
        report = library.stress_of(result, scenarios=shocks)
        last = result.weights.iloc[-1]
        book = {str(currency): float(weight) for currency, weight in last.items() if weight}
        head = {"strategy": chosen, "date": str(result.books.day[-1])}
        told = f"The book of {chosen} at the end of {head['date']}, without risk rules"
    if as_json:
        emit({**head, "weights": book, **report.to_dict()})
        return
    held = ", ".join(f"{currency} {weight:+.2f}" for currency, weight in book.items()) or "nothing is held"
    click.echo(textwrap.fill(f"{told}: {held}.", width(), subsequent_indent="  ") + "\n")
    click.echo(report.to_text(width()))


def _common(
    settings: Config,
    start: str | None,
    universe: str | None,
    account_currency: str | None,
    markup: float | None,
    rebalance: str | None,
) -> dict[str, Any]:
    """The arguments both detectors take, the settings of the configuration where no option is given."""
    from fxcarry.backtest import DEFAULT_MARKUP
    from fxcarry.build import feed_of

    account = account_currency or settings.account_currency
    own = settings.universe if account == settings.account_currency else None
    return {
        "history": feed_of(settings).history(None, None),
        "start": start,
        "universe": own if universe is None else universe,
        "account_currency": account,
        "markup": next(m for m in (markup, settings.markup, DEFAULT_MARKUP) if m is not None),
        "rebalance": rebalance or settings.rebalance,
    }


def _subjects(
    settings: Config, names: tuple[str, ...], factories: tuple[str, ...], config_path: str | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What to test: the name as it was typed, and the argument of a detector it stands for."""
    from fxcarry.build import find_object, resolve

    for name in () if factories and not names else strategies_of(settings, names, config_path):
        yield name, {"strategy": resolve(settings, name).strategy}
    for name in factories:
        yield name, {"factory": find_object(name, "factory")}


def _show(ctx: click.Context, reports: Sequence[LookAheadReport | WarmupReport], as_json: bool, is_fine: bool) -> None:
    """Print the reports; exit with :data:`FOUND` unless all is fine."""
    if as_json:
        emit([report.to_dict() for report in reports])
    else:
        for report in reports:
            for line in report.to_text().splitlines():
                click.echo(textwrap.fill(line, width(), subsequent_indent="  "))
    if not is_fine:
        ctx.exit(FOUND)


def _list_scenarios(shocks: Any, as_json: bool) -> None:
    if as_json:
        emit(
            [
                {
                    "scenario": s.name,
                    "start": s.start and str(s.start),
                    "end": s.end and str(s.end),
                    "is_hypothetical": s.is_hypothetical,
                    "moves": dict(s.moves),
                    "by_side": s.by_side and list(s.by_side),
                    "spread_multiplier": s.spread_multiplier,
                    "note": s.note,
                }
                for s in shocks
            ]
        )
        return
    for s in shocks:
        moves = ", ".join(f"{c} {m:+.1%}" for c, m in s.moves.items())
        click.echo(f"{s.name:18} {s.dates}")
        click.echo(textwrap.fill(" ".join(filter(None, [moves and f"{moves}.", s.note])), width(), initial_indent="  ",
                                 subsequent_indent="  "))  # fmt: skip


def _weights(text: str) -> dict[str, float]:
    """``AUD=0.3,JPY=-0.3`` as weights by currency."""
    book: dict[str, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        currency, _, weight = part.partition("=")
        code = currency.strip().upper()
        if code in book:
            raise ConfigError(f"--weights names {code} twice", hint="one weight a currency")
        try:
            book[code] = float(weight)
        except ValueError:
            raise ConfigError(f"--weights has {part!r}", hint="write it like AUD=0.3,JPY=-0.3") from None
    return book
