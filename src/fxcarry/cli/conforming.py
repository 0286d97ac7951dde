"""The command ``conformance``: does an installed part keep its promises?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, get_args

import click

from fxcarry.cli.shared import FOUND, emit, json_option
from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from fxcarry.plugins import Kind, Registry
    from fxcarry.testing.conformance import Conformance


@click.command()
@click.argument("kind", required=False, metavar="[KIND]")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--case", "cases", multiple=True, metavar="NUMBER", help="Only this case, such as B05; may be repeated.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown, for a README.")
@json_option
@click.pass_context
def conformance(
    ctx: click.Context, kind: str | None, name: str | None, cases: tuple[str, ...], markdown: bool, as_json: bool
) -> None:
    """Run the suite of its kind on an installed part: `fxcarry conformance broker paper`. Without a NAME, list them."""
    from fxcarry import plugins
    from fxcarry.testing.conformance import conformance as run

    registry = plugins.load()
    if kind is not None and kind not in get_args(plugins.Kind):
        raise ConfigError(f"there is no kind {kind!r}", hint=f"one of {', '.join(get_args(plugins.Kind))}")
    if name is None:
        _show(registry, kind, as_json)
        return
    component = registry.get(cast("Kind", kind), name)
    result = run(component, cases)
    origin = registry.origins[component.kind, component.name]
    if as_json:
        emit(_as_json(result, f"{origin.distribution} {origin.version}"))
    elif markdown:
        click.echo("| case | what | result |\n|---|---|---|")
        for case in result.cases:
            click.echo(f"| {case.number} | {case.what} | {str(case).replace('|', chr(92) + '|')} |")
        click.echo(f"\n{result}")
    else:
        click.echo(f"{result.kind} {result.name} of {origin.distribution} {origin.version}\n")
        wide = max((len(case.what) for case in result.cases), default=0)
        for case in result.cases:
            click.echo(f"{case.number}  {case.what:{wide}}  {case}")
        click.echo(f"\n{result}")
    if not result.is_conforming:
        ctx.exit(FOUND)


def _as_json(result: Conformance, origin: str) -> dict[str, Any]:
    import attrs

    counts = {outcome: result.count(outcome) for outcome in ("passed", "skipped", "failed")}
    cases = [attrs.asdict(case) for case in result.cases]
    return {"kind": result.kind, "name": result.name, "from": origin, **counts, "cases": cases}


def _show(registry: Registry, kind: str | None, as_json: bool) -> None:
    """What could be run."""
    from fxcarry.testing.conformance import SUITES

    rows = [
        {"kind": c.kind, "name": c.name, "suite": c.suite or f"fxcarry.testing:{SUITES[c.kind]}"}
        for _, c in sorted(registry.components.items())
        if kind in (None, c.kind)
    ]
    if as_json:
        emit(rows)
        return
    for row in rows:
        click.echo(f"{row['kind']:9} {row['name']:24} {row['suite']}")
