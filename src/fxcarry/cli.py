"""The ``fxcarry`` command. Thin: it reads arguments, calls the library, and shows what came back.

Nothing heavy is imported before a command runs, so ``fxcarry --help`` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxcarry import __version__
from fxcarry.errors import ConfigError, FxCarryError

if TYPE_CHECKING:
    from fxcarry.config import Config

CONFIG_FILE = "fxcarry.toml"
RESULTS = "fxcarry-results"


class _Commands(click.Group):
    """The built-in commands; those of plugins are looked up only when one is asked for."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None:
            from fxcarry import plugins

            for add in plugins.load().commands:
                add(self)
            command = super().get_command(ctx, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fxcarry")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """FX carry, the same way in a backtest, on paper and live - and where the money came from.

    Start with `fxcarry backtest`: it needs no key and no account. Commands of plugins are listed by `fxcarry plugins`.
    """
    ctx.obj = debug


def main(args: list[str] | None = None) -> None:
    """Run the command; an error is a line on standard error and an exit code, not a traceback."""
    arguments = sys.argv[1:] if args is None else args
    try:
        code = cli.main(arguments, prog_name="fxcarry", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        _fail("interrupted", "nothing half-written is left behind", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except FxCarryError as error:
        if "--debug" in arguments:
            raise
        _fail(error.message, error.hint, error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", "nothing half-written is left behind", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # a bug, here or in a plugin or strategy
        if "--debug" in arguments:
            raise
        _fail(f"{type(error).__name__}: {error}", "this is a bug; fxcarry --debug … shows where", 1)


def _fail(message: str, hint: str, code: int) -> None:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"  hint: {hint}", err=True)
    sys.exit(code)


def _emit(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, allow_nan=False, default=str))


def _load(path: str | None) -> Config:
    from fxcarry import plugins
    from fxcarry.config import load_config

    env_file = Path(".env")
    if env_file.is_file():
        from fxcarry.secrets import read_env_file

        for key, value in read_env_file(env_file).items():
            os.environ.setdefault(key, value)
    chosen = path or (CONFIG_FILE if Path(CONFIG_FILE).is_file() else None)
    return load_config(chosen, plugins.load())


_config_option = click.option(
    "--config", "config_path", metavar="FILE", help=f"Configuration (default: {CONFIG_FILE} if there is one)."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@cli.command()
@click.option("--strategy", "names", multiple=True, metavar="NAME", help="May be repeated. [baseline, optimized]")
@click.option("--start", metavar="DATE", help="First trade date (default: all there is).")
@click.option("--end", metavar="DATE", help="Last trade date.")
@click.option("--universe", metavar="EUR,JPY,…", help="Currencies to rank and hold (default: the other G10).")
@click.option("--account-currency", metavar="CCY", help="Currency of the account. [USD]")
@click.option("--cash", type=float, help="Opening balance. [1000000]")
@click.option("--markup", type=float, help="The broker's annual mark-up on each side's financing. [0.01]")
@click.option("--rebalance", type=click.Choice(["monthly", "weekly", "daily"]), help="When to decide. [monthly]")
@click.option("--no-costs", is_flag=True, help="Trade at mid, without commission.")
@click.option("--no-rules", is_flag=True, help="Switch the risk rules off.")
@click.option("--output", metavar="DIR", default=RESULTS, show_default=True, help="Where the files go.")
@_config_option
@_json_option
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

    settings = _load(config_path)
    is_configured = config_path is not None or Path(CONFIG_FILE).is_file()
    chosen = names or (tuple(settings.strategies) if is_configured else ()) or ("baseline", "optimized")
    if len(set(chosen)) != len(chosen):
        raise ConfigError(f"--strategy names one strategy twice: {', '.join(chosen)}")
    report.check_folder(Path(output))
    common: dict[str, Any] = {
        "config": settings,
        "history": feed_of(settings).history(None, None),
        "start": start,
        "end": end,
        "universe": None if universe is None else universe.split(","),
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
    with _Progress(len(chosen) * 4, is_shown=not as_json) as bar:
        results = []
        for name in chosen:
            result = run(name, **common, progress=bar.step(name))
            fixed = {**common, "start": result.stats["start"], "end": result.stats["end"]}

            def again(name: str = name, fixed: dict[str, Any] = fixed, **change: Any) -> Any:
                return run(name, **{**fixed, **change}, progress=bar.step(name))

            results.append((result, variants(again, result)))
        for result, others in results:
            done.append(report.summary(result, others))
            report.write_files(result, others, Path(output) / result.strategy)
    if as_json:
        _emit(done)
        return
    click.echo(report.render(done, _width()))
    click.echo(f"Files: {', '.join(str(Path(output) / r.strategy) for r, _ in results)}")


def _width() -> int:
    """Columns to print in: the terminal's where there is one (80 to 120), else 100."""
    from shutil import get_terminal_size

    return min(max(get_terminal_size((100, 24)).columns, 80), 120)


class _Progress:
    """A progress bar on a terminal, nothing anywhere else."""

    def __init__(self, runs: int, *, is_shown: bool) -> None:
        self._runs = runs
        self._is_shown = is_shown and sys.stderr.isatty()
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> _Progress:
        if self._is_shown:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("backtest", total=float(self._runs))
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, name: str) -> Any:
        base = self._done
        self._done += 1

        def progress(done: int, total: int) -> None:
            if self._bar is not None:
                self._bar.update(self._task, description=name, completed=base + done / max(total, 1))

        return progress


@cli.command()
@click.option("--at", "day", metavar="DATE", help="As known on this trade date (default: the last there is).")
@click.option("--universe", metavar="EUR,JPY,…", help="Currencies (default: the other G10).")
@click.option("--account-currency", metavar="CCY", help="Against which currency. [USD]")
@click.option("--markup", type=float, help="The broker's annual mark-up on each side. [0.01]")
@_config_option
@_json_option
def carry(
    day: str | None,
    universe: str | None,
    account_currency: str | None,
    markup: float | None,
    config_path: str | None,
    as_json: bool,
) -> None:
    """What each currency pays against the account currency: rate, carry, volatility, carry-to-risk, tonight's roll."""
    from fxcarry.build import feed_of
    from fxcarry.screen import carry_table

    settings = _load(config_path)
    account = account_currency or settings.account_currency
    if markup is None and (markup := settings.markup) is None:
        raise ConfigError(
            f"the carry table shows one mark-up for every pair, venue {settings.venue} has none", hint="give --markup"
        )
    table = carry_table(
        feed_of(settings),
        at=day,
        universe=universe.split(",") if universe else None,
        account_currency=account,
        markup=markup,
    )
    if as_json:
        _emit(table)
        return
    import textwrap

    click.echo(f"Carry against {table['account_currency']}, as known at 17:00 New York on {table['date']}\n")
    click.echo("      pair         spot  rate %  carry %  vol %  carry/risk  long %  short %  days     tonight")
    for row in table["rows"]:
        volatility = "-" if row["volatility"] is None else f"{row['volatility'] * 100:.1f}"
        to_risk = "-" if row["carry_to_risk"] is None else f"{row['carry_to_risk']:+.2f}"
        click.echo(
            f"{row['currency']:5} {row['pair']:6} {row['spot']:10.5g} {row['rate'] * 100:7.2f} "
            f"{row['carry'] * 100:+8.2f} {volatility:>6} {to_risk:>11} {row['financing_long'] * 100:+7.2f} "
            f"{row['financing_short'] * 100:+8.2f} {row['roll_days']:5} {row['tonight_long']:+11,.2f}"
        )
    click.echo("")
    for note in table["notes"]:
        click.echo(textwrap.fill(note, _width(), subsequent_indent="  "))


@cli.command()
@click.argument("first", metavar="PAIR")
@click.argument("second", metavar="[DATE]", required=False)
@click.option("--days", type=click.IntRange(1, 400), default=1, show_default=True, help="How many weekdays to show.")
@_json_option
def roll(first: str, second: str | None, days: int, as_json: bool) -> None:
    """Value date and roll days of PAIR on trade date DATE (default: today's trade date)."""
    from datetime import UTC, datetime, timedelta

    from fxcarry.backtest import as_day
    from fxcarry.conventions import roll_days, trade_date, value_date
    from fxcarry.model import Pair

    if second is not None and first[:4].isdigit():
        first, second = second, first
    pair = Pair.parse(first)
    day = trade_date(datetime.now(UTC)) if second is None else as_day(second, "DATE")
    rows: list[dict[str, Any]] = []
    while len(rows) < days:
        if not rows or day.weekday() < 5:
            rows.append(
                {
                    "pair": str(pair),
                    "trade_date": str(day),
                    "weekday": day.strftime("%a"),
                    "value_date": str(value_date(pair, day)),
                    "roll_days": roll_days(pair, day),
                }
            )
        day += timedelta(1)
    if as_json:
        _emit(rows[0] if days == 1 else rows)
        return
    for row in rows:
        click.echo(
            f"{row['pair']}  trade date {row['trade_date']} {row['weekday']}  "
            f"value date {row['value_date']}  roll days {row['roll_days']}"
        )


@cli.command()
@_json_option
def plugins(as_json: bool) -> None:
    """What is installed: feeds, brokers, strategies, rules, notifiers - and plugins that are broken."""
    from fxcarry import plugins as registry_of

    registry = registry_of.load()
    found = [
        {
            "kind": c.kind,
            "name": c.name,
            "summary": c.summary,
            "from": f"{registry.origins[key].distribution} {registry.origins[key].version}",
        }
        for key, c in sorted(registry.components.items())
    ]
    broken = [
        {"plugin": b.name, "from": b.distribution, "error": f"{type(b.error).__name__}: {b.error}"}
        for b in registry.broken
    ]
    if as_json:
        _emit({"components": found, "broken": broken})
        return
    for row in found:
        click.echo(f"{row['kind']:9} {row['name']:24} {row['from']:20} {row['summary']}")
    for row in broken:
        click.echo(f"{'broken':9} {row['plugin']:24} {row['from']:20} {row['error']}")


@cli.command()
@click.argument("folder", default=".", metavar="[DIR]")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def init(folder: str, force: bool) -> None:
    """Write a commented fxcarry.toml and a .env template. Both work as they are, without a key."""
    from importlib.resources import files

    target = Path(folder)
    templates = {CONFIG_FILE: "fxcarry.toml", ".env": "env"}
    present = [name for name in templates if (target / name).exists()]
    if present and not force:
        raise ConfigError(f"{target / present[0]} is there already", hint="--force overwrites it")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, template in templates.items():
            (target / name).write_text((files("fxcarry") / "templates" / template).read_text("utf-8"), "utf-8")
            if name == ".env":
                (target / name).chmod(0o600)
    except OSError as error:
        raise ConfigError(f"cannot write to {target}: {error}", hint="choose another directory") from error
    for name in templates:
        click.echo(f"wrote {target / name}")
    click.echo("next: fxcarry config show; fxcarry backtest")


@cli.group()
def config() -> None:
    """The configuration."""


@config.command()
@_config_option
@_json_option
def show(config_path: str | None, as_json: bool) -> None:
    """Print the effective configuration, secrets masked."""
    from fxcarry.config import effective, to_toml

    settings = effective(_load(config_path))
    if as_json:
        _emit(settings)
    else:
        click.echo(to_toml(settings), nl=False)
