"""Commands that show what is there: ``carry``, ``roll``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fxcarry.cli.shared import config_option, emit, json_option, load, universe_option, width
from fxcarry.errors import ConfigError

if TYPE_CHECKING:
    from fxcarry.config import Config


@click.command()
@click.option("--at", "day", metavar="DATE", help="As known on this trade date (default: the last there is, or now).")
@click.option("--broker", metavar="NAME", help="What this broker pays, beside the rates between banks.")
@universe_option
@click.option("--account-currency", metavar="CCY", help="Against which currency. [USD]")
@click.option("--markup", type=float, help="The broker's annual mark-up on each side. [0.01]")
@config_option
@json_option
def carry(
    day: str | None,
    broker: str | None,
    universe: str | None,
    account_currency: str | None,
    markup: float | None,
    config_path: str | None,
    as_json: bool,
) -> None:
    """What each currency pays against the account currency: rate, carry, volatility, carry-to-risk, tonight's roll.

    With --broker: what that broker pays each side, its mark-up and the gap to the rates between banks, and what its
    account earns tonight.
    """
    from fxcarry.build import feed_of
    from fxcarry.screen import carry_table

    settings = load(config_path)
    account = account_currency or settings.account_currency
    if broker is not None:
        if markup is not None:
            raise ConfigError("--markup with --broker", hint="the broker's own rates say what it keeps")
        _show_broker(_of_broker(settings, broker, universe, account, day), as_json)
        return
    kept = settings.markup if markup is None else markup
    if kept is None:
        raise ConfigError(
            f"the carry table shows one mark-up for every pair, venue {settings.venue} has none", hint="give --markup"
        )
    table = carry_table(
        feed_of(settings),
        at=day,
        universe=universe,
        account_currency=account,
        markup=kept,
    )
    if as_json:
        emit(table)
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
        click.echo(textwrap.fill(note, width(), subsequent_indent="  "))


def _of_broker(
    settings: Config, name: str, universe: str | None, account_currency: str, day: str | None
) -> dict[str, Any]:
    """The table of a broker, read on a connection of its own."""
    from pathlib import Path

    from fxcarry.build import broker_named, feed_of
    from fxcarry.cli.desk import STATE, instant_of
    from fxcarry.screen import broker_table

    venue = broker_named(settings, name, Path(STATE))
    try:
        return broker_table(
            venue,
            feed_of(settings),
            at=instant_of(day),
            universe=settings.universe if universe is None else universe,
            account_currency=account_currency,
        )
    finally:
        venue.close()


def _show_broker(table: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(table)
        return
    import textwrap

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value * 100:+.2f}"

    def money(value: float | None) -> str:
        return "-" if value is None else f"{value:+,.2f}"

    click.echo(
        f"What {table['broker']} pays, for the roll of {table['trade_date']}; amounts in {table['account_currency']}\n"
    )
    click.echo("pair    long %  short %  rates %  mark-up %  gap long  gap short  days  tonight long  tonight short")
    for row in table["rows"]:
        click.echo(
            f"{row['pair']:6} {percent(row['pays_long']):>7} {percent(row['pays_short']):>8} "
            f"{percent(row['differential']):>8} {percent(row['markup']):>10} {percent(row['gap_long']):>9} "
            f"{percent(row['gap_short']):>10} {row['roll_days']:5} {money(row['tonight_long']):>13} "
            f"{money(row['tonight_short']):>14}"
        )
    click.echo("\nheld                    units       tonight")
    for row in table["book"]:
        click.echo(f"{row['instrument']:14} {row['units']:+14,.0f} {money(row['tonight']):>13}")
    click.echo(f"{'all' if table['book'] else 'nothing':29} {money(table['tonight']):>13}\n")
    for note in table["notes"]:
        click.echo(textwrap.fill(note, width(), subsequent_indent="  "))


@click.command()
@click.argument("first", metavar="PAIR")
@click.argument("second", metavar="[DATE]", required=False)
@click.option("--days", type=click.IntRange(1, 400), default=1, show_default=True, help="How many weekdays to show.")
@json_option
def roll(first: str, second: str | None, days: int, as_json: bool) -> None:
    """Value date and roll days of PAIR on trade date DATE (default: today's trade date)."""
    from datetime import UTC, datetime, timedelta

    from fxcarry.conventions import roll_days, trade_date, value_date
    from fxcarry.model import Pair
    from fxcarry.periods import as_day

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
        emit(rows[0] if days == 1 else rows)
        return
    for row in rows:
        click.echo(
            f"{row['pair']}  trade date {row['trade_date']} {row['weekday']}  "
            f"value date {row['value_date']}  roll days {row['roll_days']}"
        )
