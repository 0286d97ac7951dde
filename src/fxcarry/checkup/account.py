"""The broker: whether its account answers, and whether it trades the way the strategy needs it to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from fxcarry.build import broker_named, paper_broker
from fxcarry.checkup.data import members_of
from fxcarry.checkup.records import Sheet
from fxcarry.checkup.round_trip import look_at_round_trip
from fxcarry.config import Config
from fxcarry.errors import ConfigError
from fxcarry.journal.books import conversion
from fxcarry.model import Account, Instrument, Pair, Snapshot
from fxcarry.orders import market_pairs
from fxcarry.protocols import Broker, Capability
from fxcarry.simulation import SimBroker


def look_at_broker(
    sheet: Sheet,
    settings: Config,
    folder: Path,
    snapshot: Snapshot | None,
    environ: Mapping[str, str],
    now: datetime,
    *,
    round_trip: bool = False,
) -> None:
    """Everything about the configured broker. Nothing is traded without ``round_trip``.

    Of a simulated account a copy in memory is looked at, and none is made.
    """
    component = "broker" if settings.broker is None else f"broker {settings.broker.component.name}"
    with sheet.asked(component, "made"):
        broker = _broker(sheet, component, settings, folder)
        try:
            _look(sheet, component, settings, broker, snapshot, environ, now, folder if round_trip else None)
        finally:
            broker.close()


def _broker(sheet: Sheet, component: str, settings: Config, folder: Path) -> SimBroker | Broker:
    path = folder / "paper.sqlite"
    if settings.broker is None:
        raise ConfigError("no broker is configured and its default is not installed", hint="add a [broker] section")
    name = settings.broker.component.name
    if name != "simulated":
        return broker_named(settings, name, folder)
    if ("broker", "paper") not in settings.registry.components:
        sheet.note(component, "paper account", "warn", "fxcarry run keeps it in a file", "pip install fxcarry-paper")
    elif path.exists():
        kept = paper_broker(settings, path)
        try:
            assert isinstance(kept, SimBroker)
            found = kept.twin()
        finally:
            kept.close()
        sheet.note(component, "paper account", "pass", f"{path} is readable, NAV {found.nav:,.2f}")
        return found
    else:
        sheet.note(component, "paper account", "skip", f"there is no {path} yet; fxcarry run makes it")
    return broker_named(settings, name, folder)


def _look(
    sheet: Sheet,
    component: str,
    settings: Config,
    broker: SimBroker | Broker,
    snapshot: Snapshot | None,
    environ: Mapping[str, str],
    now: datetime,
    tried_in: Path | None,
) -> None:
    note = sheet.about(component)
    _money(sheet, component, settings, broker, environ)
    is_connected = False
    with sheet.asked(component, "connection"):
        broker.connect()
        is_connected = True
        kind = "hedging" if Capability.HEDGING in broker.capabilities else "netting"
        note("connection", "pass", f"account {getattr(broker, 'account_id', broker.name)}, {kind}")
    if not is_connected:
        note("account", "skip", "nothing else can be asked of the account before it is connected")
        return
    _capabilities(sheet, component, broker)
    pairs = market_pairs(members_of(settings, now), settings.account_currency)
    instruments: Mapping[str, Instrument] = {}
    with sheet.asked(component, "instruments"):
        instruments = broker.get_instruments(pairs)
        _instruments(sheet, component, broker, pairs, instruments)
    account = None
    with sheet.asked(component, "account"):
        account = _account(sheet, component, settings, broker, snapshot, now)
    with sheet.asked(component, "positions and orders"):
        held, orders = broker.get_positions(), broker.get_orders()
        shown = ", ".join(f"{name} {position.units:+,f}" for name, position in held.items()) or "flat"
        note("positions and orders", "pass", f"{shown}; {len(orders)} orders and stops at work")
    if snapshot is not None:
        with sheet.asked(component, "conversion"):
            mids = {pair: quote.mid for pair, quote in snapshot.quotes.items()}
            known = {c: conversion(c, settings.account_currency, mids) for pair in pairs for c in pair}
            note("conversion", "pass", f"{', '.join(known)} into {settings.account_currency}")
    if tried_in is not None:
        look_at_round_trip(sheet, component, broker, instruments, account, snapshot, now, tried_in)


def _money(
    sheet: Sheet, component: str, settings: Config, broker: SimBroker | Broker, environ: Mapping[str, str]
) -> None:
    """Whose money it is, and whether the mode is of that kind, as ``fxcarry run`` will ask."""
    note, is_live = sheet.about(component), settings.mode == "live"
    is_simulated, is_practice = isinstance(broker, SimBroker), getattr(broker, "is_practice", False) is True
    what = "a simulated account" if is_simulated else "a practice account" if is_practice else "real money"
    found = f'{what}, mode = "{settings.mode}"'
    if is_simulated or is_practice:
        advice = 'mode = "paper"; mode = "live" is for the account of real money' if is_live else ""
        note("money", "fail" if is_live else "pass", found, advice)
        return
    if not is_live:
        advice = 'use a practice account, or mode = "live" and its three keys; fxcarry check --go-live first'
        note("money", "fail", found, advice)
        return
    is_set = environ.get("FXCARRY_LIVE") == "1"
    keys = f'keys: mode = "live" is given, FXCARRY_LIVE=1 is {"set" if is_set else "not set"}'
    advice = "the third key is fxcarry run --account ID, as the broker reports it"
    note(
        "money",
        "warn",
        f"{found}; {keys}",
        advice if is_set else f"fxcarry run refuses without FXCARRY_LIVE=1; {advice}",
    )


def _capabilities(sheet: Sheet, component: str, broker: SimBroker | Broker) -> None:
    if Capability.NATIVE_STOPS in broker.capabilities:
        sheet.note(component, "stops", "pass", "kept by the venue, from the moment an order fills")
    else:
        advice = "a stop works only while fxcarry runs and is connected; prefer a venue that keeps stops"
        sheet.note(component, "stops", "warn", "the venue keeps none", advice)


def _instruments(
    sheet: Sheet,
    component: str,
    broker: SimBroker | Broker,
    pairs: tuple[Pair, ...],
    instruments: Mapping[str, Instrument],
) -> None:
    note, found = sheet.about(component), {one.exposure: one for one in instruments.values()}
    missing = [str(pair) for pair in pairs if pair not in found and pair.inverse not in found]
    terms = [
        f"{one.name} step {one.unit_step:f} least {one.minimum_units:f} margin {float(one.margin_rate) * 100:.3g} %"
        for one in instruments.values()
    ]
    detail = f"not traded: {', '.join(missing)}; " if missing else ""
    note(
        "instruments",
        "fail" if missing else "pass",
        detail + ("; ".join(terms) or "none"),
        "leave these currencies out of universe, or ask the broker for them" if missing else "",
    )
    if isinstance(broker, SimBroker):
        note(
            "financing", "pass", "booked here every night from the rates of the feed, less the mark-up or as the venue"
        )
        return
    silent = [one.name for one in instruments.values() if None in (one.financing_long, one.financing_short)]
    scheduled = [one.name for one in instruments.values() if one.financing_days is not None]
    days = f"days of a roll published for {len(scheduled)} of {len(instruments)}, else by value date"
    if silent:
        note(
            "financing",
            "warn",
            f"rates are not published for {', '.join(silent)}; {days}",
            "what holding pays there is estimated from the rates between banks; compare with fxcarry financing",
        )
    else:
        note("financing", "pass", f"rates published for both sides of all {len(instruments)}; {days}")


def _account(
    sheet: Sheet,
    component: str,
    settings: Config,
    broker: SimBroker | Broker,
    snapshot: Snapshot | None,
    now: datetime,
) -> Account | None:
    """The account as the broker states it; what it raises says that the clocks differ, or what else is wrong."""
    note = sheet.about(component)
    if snapshot is None and isinstance(broker, SimBroker):
        note("account", "skip", "a simulated account needs prices, and the feed has none")
        return None
    account = broker.sync(Snapshot(now, {}) if snapshot is None else snapshot)
    note("account", "pass", f"{account.id}: NAV {account.nav:,.2f} {account.currency}")
    wanted = settings.account_currency
    if account.currency == wanted:
        note("currency", "pass", f"{wanted}, as configured")
    else:
        advice = f'account_currency = "{account.currency}", or an account in {wanted}'
        note("currency", "fail", f"the account is in {account.currency}, the configuration says {wanted}", advice)
    return account
