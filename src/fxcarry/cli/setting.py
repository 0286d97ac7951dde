"""Commands about settings: ``init``, ``config show``."""

from __future__ import annotations

from pathlib import Path

import click

from fxcarry.cli.shared import CONFIG_FILE, config_option, emit, json_option, load
from fxcarry.errors import ConfigError


@click.command()
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
    click.echo("next: fxcarry check; fxcarry backtest")


@click.group()
def config() -> None:
    """The configuration."""


@config.command()
@config_option
@json_option
def show(config_path: str | None, as_json: bool) -> None:
    """Print the effective configuration, secrets masked."""
    from fxcarry.config import effective, to_toml

    settings = effective(load(config_path))
    if as_json:
        emit(settings)
    else:
        click.echo(to_toml(settings), nl=False)
