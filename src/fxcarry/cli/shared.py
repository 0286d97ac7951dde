"""What the commands share: the configuration they read, the options they have in common, how they print."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from fxcarry.config import Config

CONFIG_FILE = "fxcarry.toml"
FOUND = 8
"""The exit code of a check that found something."""


def emit(value: Any) -> None:
    """Print JSON."""
    click.echo(json.dumps(value, indent=2, allow_nan=False, default=str))


rebalance_option = click.option(
    "--rebalance", metavar="WHEN", help="When to decide: monthly, weekly, daily or a cron line. [monthly]"
)


def load(path: str | None) -> Config:
    """The configuration in ``path``, or in the working directory, or the defaults; ``.env`` is read before."""
    from fxcarry import plugins
    from fxcarry.config import load_config

    env_file = Path(".env")
    if env_file.is_file():
        from fxcarry.secrets import read_env_file

        for key, value in read_env_file(env_file).items():
            os.environ.setdefault(key, value)
    chosen = path or (CONFIG_FILE if Path(CONFIG_FILE).is_file() else None)
    return load_config(chosen, plugins.load())


def strategies_of(settings: Config, names: tuple[str, ...], config_path: str | None) -> tuple[str, ...]:
    """The strategies named, else all of the configuration file, else baseline and optimized."""
    if len(set(names)) != len(names):
        raise ConfigError(f"--strategy names one strategy twice: {', '.join(names)}")
    is_configured = config_path is not None or Path(CONFIG_FILE).is_file()
    return names or (tuple(settings.strategies) if is_configured else ()) or ("baseline", "optimized")


def numbers(text: str, option: str) -> list[float]:
    """``60,125`` as numbers; ConfigError names the option."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option} {text!r} is not a list of numbers", hint="write it like 60,125") from None


config_option = click.option(
    "--config", "config_path", metavar="FILE", help=f"Configuration (default: {CONFIG_FILE} if there is one)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
start_option = click.option("--start", metavar="DATE", help="First trade date (default: all there is).")
universe_option = click.option(
    "--universe",
    metavar="EUR,JPY,…",
    help="Currencies to rank and hold, a name (g10, em, all), or a file of memberships (default: the other G10).",
)
account_option = click.option("--account-currency", metavar="CCY", help="Currency of the account. [USD]")
markup_option = click.option(
    "--markup", type=float, help="The broker's annual mark-up on each side's financing. [0.01]"
)
venue_option = click.option(
    "--venue", metavar="NAME", help="A cost profile: interbank, oanda or ib. It sets costs and financing."
)
routing_option = click.option(
    "--routing",
    type=click.Choice(["direct", "least-cost"]),
    help="Hold currencies in pairs against the account currency, or in the cheapest pairs. [direct]",
)


def folder_name(strategy: str) -> str:
    """A strategy's name as that of a folder: ``own/mine.py:best`` as ``own-mine.py-best``."""
    return re.sub(r"[/\\:]+", "-", strategy).strip("-") if ":" in strategy else strategy


def width() -> int:
    """Columns to print in: the terminal's where there is one (80 to 120), else 100."""
    from shutil import get_terminal_size

    return min(max(get_terminal_size((100, 24)).columns, 80), 120)


class Progress:
    """A progress bar on a terminal, nothing anywhere else."""

    def __init__(self, runs: int, *, is_shown: bool) -> None:
        self._runs = runs
        self._is_shown = is_shown and sys.stderr.isatty()
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> Progress:
        if self._is_shown:
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("backtest", total=float(self._runs))
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def steps(self, name: str) -> Any:
        """What several runs in one call with (runs done, runs in all)."""
        base = self._done

        def progress(done: int, total: int) -> None:
            self._done = base + done
            if self._bar is not None:
                self._bar.update(self._task, description=name, completed=self._done)

        return progress

    def step(self, name: str) -> Any:
        """What the next run calls with (done, in all)."""
        base = self._done
        self._done += 1

        def progress(done: int, total: int) -> None:
            if self._bar is not None:
                self._bar.update(self._task, description=name, completed=base + done / max(total, 1))

        return progress
