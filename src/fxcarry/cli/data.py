"""Commands about stored market data: ``data update``, ``data show``, ``data verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fxcarry.cli.desk import STATE
from fxcarry.cli.shared import FOUND, config_option, emit, json_option, load
from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from fxcarry.config import Config
    from fxcarry.protocols import DataFeed

_store_option = click.option(
    "--store", "path", metavar="FILE", help="The store (default: that of the configured feed, or market.sqlite in "
    f"{STATE})."
)  # fmt: skip


def _path(settings: Config, given: str | None) -> Path:
    section = settings.feed
    own = section is not None and section.component.name in {"store", "recorder"}
    return Path(given or (section.settings.path if section is not None and own else f"{STATE}/market.sqlite"))


def _source(settings: Config) -> DataFeed:
    """The feed to update from: the configured one, or that behind a store or recorder."""
    from fxcarry.build import feed_of, make

    section = settings.feed
    if section is None or section.component.name not in {"store", "recorder"}:
        return feed_of(settings)
    if section.settings.source is None:
        raise ConfigError("the configured feed is the store itself", hint="name what fills it under [feed.source]")
    feed: DataFeed = make(section.settings.source)
    return feed


@click.group()
def data() -> None:
    """Market data in a file: fill it from a feed, see what is in it, check it."""


@data.command()
@_store_option
@config_option
@json_option
def update(path: str | None, config_path: str | None, as_json: bool) -> None:
    """Write what the configured feed has up to now and the store has not, and say what that was.

    The first time everything is asked for, then what came since. A price that is told otherwise than before is kept
    aside; what is served does not change.
    """
    from datetime import UTC, datetime

    from fxcarry.store import Store

    settings = load(config_path)
    feed = _source(settings)
    store = Store(_path(settings, path))
    try:
        added = store.update(feed, datetime.now(UTC))
    finally:
        store.close()
        feed.close()
    if as_json:
        emit(
            {
                "store": str(store.path),
                "source": added.source,
                "until": added.until.isoformat(),
                "prices": dict(added.prices),
                "rates": dict(added.rates),
                "told_otherwise": added.retold,
            }
        )
        return
    if added.is_empty:
        click.echo(f"{store.path} has all that {added.source} has up to {added.until:%Y-%m-%d %H:%M} UTC")
        return
    click.echo(f"{store.path}, from {added.source} up to {added.until:%Y-%m-%d %H:%M} UTC")
    for what, counts in (("prices", added.prices), ("rates", added.rates)):
        told = ", ".join(f"{currency} {count}" for currency, count in sorted(counts.items()))
        click.echo(f"  new {what}: {told or 'none'}")
    if added.retold:
        click.echo(f"  told otherwise than before, kept aside: {added.retold} prices")


def _age(minutes: float | None) -> str:
    if minutes is None:
        return "-"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h" if minutes < 2880 else _days(minutes)


def _days(minutes: float) -> str:
    return f"{minutes / 1440:.0f} d"


@data.command()
@_store_option
@config_option
@json_option
def show(path: str | None, config_path: str | None, as_json: bool) -> None:
    """What is in the store of each currency: from when to when, from whom, how old, where it has gaps, the last rate.

    Ages are in open market time: a weekend ages nothing.
    """
    from datetime import UTC, datetime

    from fxcarry.store import Store

    settings = load(config_path)
    store = Store(_path(settings, path), is_new_allowed=False)
    try:
        rows = store.held(datetime.now(UTC))
        facts = store.facts()
        [(fetches,)] = store.read("SELECT count(*) FROM fetches")
    finally:
        store.close()
    if as_json:
        emit(
            {
                "store": str(store.path),
                "bytes": store.path.stat().st_size,
                "numeraire": facts.get("numeraire"),
                "fetches": fetches,
                "currencies": [_plain(row) for row in rows],
            }
        )
        return
    click.echo(f"{store.path}: {store.path.stat().st_size / 1e6:.1f} MB, {fetches} fetches with something new\n")
    click.echo("         prices  first       last                 age  gaps   rate %  of          known       from")
    for row in rows:
        first, last = _day(row.first), "-" if row.last is None else f"{row.last:%Y-%m-%d %H:%M}"
        rate = "-" if row.rate is None else f"{row.rate * 100:.3f}"
        click.echo(
            f"{row.currency:6} {row.prices:8}  {first:10}  {last:16} {_age(row.age):>7} {len(row.gaps):5} {rate:>8}  "
            f"{_day(row.rate_as_of):10}  {_day(row.rate_known):10}  {', '.join(row.sources) or '-'}"
        )


def _day(at: Any) -> str:
    return "-" if at is None else f"{at:%Y-%m-%d}"


def _plain(row: Any) -> dict[str, Any]:
    import attrs

    return attrs.asdict(row, value_serializer=lambda _, __, v: v.isoformat() if hasattr(v, "isoformat") else v)


@data.command()
@_store_option
@config_option
@json_option
@click.pass_context
def verify(ctx: click.Context, path: str | None, config_path: str | None, as_json: bool) -> None:
    """Check the store: the file itself, every price and rate, their dates, and trade dates without a price.

    Gaps count for the currencies of the configured universe; those of others are shown. Exits with 8 where something
    is wrong.
    """
    from fxcarry.store import Store
    from fxcarry.universe import universe_of

    settings = load(config_path)
    universe = universe_of(settings.universe, settings.account_currency)
    store = Store(_path(settings, path), is_new_allowed=False)
    try:
        wrong, told = store.verify({*universe.currencies, settings.account_currency})
    finally:
        store.close()
    if as_json:
        emit({"store": str(store.path), "ok": not wrong, "wrong": wrong, "notes": told})
    else:
        for line in wrong:
            click.echo(f"wrong  {line}")
        for line in told:
            click.echo(f"note   {line}")
        click.echo(f"{store.path}: {f'{len(wrong)} things are wrong' if wrong else 'nothing is wrong'}")
    if wrong:
        ctx.exit(FOUND)
