"""Commands about plugins: ``plugins``, ``plugins new``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from fxcarry.cli.shared import emit, json_option
from fxcarry.errors import ConfigError

_KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_NO_PART = {"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", "dist"}


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """What is installed: feeds, brokers, strategies, rules, notifiers - and plugins that are broken."""
    if ctx.invoked_subcommand is not None:
        return
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
        emit({"components": found, "broken": broken})
        return
    for row in found:
        click.echo(f"{row['kind']:9} {row['name']:24} {row['from']:20} {row['summary']}")
    for row in broken:
        click.echo(f"{'broken':9} {row['plugin']:24} {row['from']:20} {row['error']}")


@plugins.command()
@click.argument("name", metavar="NAME")
@click.argument("folder", required=False, metavar="[DIR]")
def new(name: str, folder: str | None) -> None:
    """Write a plugin for the broker NAME, with a feed, a fake venue and tests. It passes its suites as it is.

    The folder is DIR, else fxcarry-NAME. There is a template for a broker with a feed only.
    """
    from fxcarry import plugins as registry_of

    if not _KEBAB.fullmatch(name):
        raise ConfigError(f"{name!r} is not kebab-case", hint='write it like "my-bank"')
    taken = registry_of.load().origins
    for kind in ("broker", "feed"):
        if (kind, name) in taken:
            raise ConfigError(f"there is a {kind} {name!r} already, of {taken[kind, name]}", hint="choose another name")
    target = Path(folder or f"fxcarry-{name}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} is there already", hint="give another DIR")
    template = _template()
    try:
        for source in sorted(template.rglob("*")):
            place = source.relative_to(template)
            if source.is_file() and not _NO_PART & {*place.parts}:
                path = target / _renamed(str(place), name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_renamed(source.read_text("utf-8"), name), "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write to {target}: {error}", hint="choose another directory") from error
    click.echo(f"wrote {target}")
    click.echo(f'next: pip install -e "{target}[testing]"; fxcarry conformance broker {name}')


def _template() -> Path:
    """The folder of the template: in the package where it is installed, in the source tree else."""
    import fxcarry

    package = Path(fxcarry.__file__).parent
    for folder in (package / "templates" / "plugin", package.parents[1] / "plugins" / "TEMPLATE"):
        if folder.is_dir():
            return folder
    raise ConfigError("the template of plugins is not installed", hint="reinstall fxcarry")


def _renamed(text: str, name: str) -> str:
    """``text`` with the template's name, in each of its spellings, replaced."""
    snake = name.replace("-", "_")
    camel = "".join(part.capitalize() for part in name.split("-"))
    spellings = {"fxcarry_acme": f"fxcarry_{snake}", "Acme": camel, "ACME": snake.upper(), "acme": name}
    for old, new_one in spellings.items():
        text = text.replace(old, new_one)
    return text
