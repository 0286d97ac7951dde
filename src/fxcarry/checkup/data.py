"""The feed: whether it answers, how old its prices and rates are, and what it has for every currency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np

from fxcarry.build import feed_of
from fxcarry.checkup.records import Sheet, Status
from fxcarry.config import Config
from fxcarry.conventions import open_minutes
from fxcarry.errors import DataError, FxCarryError, MissingDataError
from fxcarry.journal.books import conversion
from fxcarry.market import MarketHistory, to_ns
from fxcarry.model import Pair, Snapshot
from fxcarry.protocols import DataFeed
from fxcarry.risk import Staleness
from fxcarry.universe import universe_of

LATELY = timedelta(days=30)
"""How much of the history is asked for; where there is none, all of it."""

RATES_DAYS = 45
"""Days after which a table of rates that was complete then may lack a decision: central banks meet every six weeks."""

_DAILY = timedelta(days=1)
_MOMENT = timedelta(microseconds=1)


def members_of(settings: Config, now: datetime) -> tuple[str, ...]:
    """The currencies held today, if only one may be."""
    return universe_of(settings.universe, settings.account_currency).members_at(now.date())


def look_at_feed(sheet: Sheet, settings: Config, now: datetime) -> Snapshot | None:
    """Everything about the configured feed; the market now, None where it has no prices."""
    own = None if settings.feed is None else settings.feed.component.name
    component = f"feed {own or 'ecb'}"
    with sheet.asked(component, "made"):
        feed = feed_of(settings)
        try:
            return _look(sheet, component, settings, feed, now)
        finally:
            feed.close()
    return None


def _look(sheet: Sheet, component: str, settings: Config, feed: DataFeed, now: datetime) -> Snapshot | None:
    note, snapshot = sheet.about(component), None
    with sheet.asked(component, "prices now"):
        snapshot = feed.snapshot(now)
        _check_instants(snapshot)
        if not snapshot.quotes:
            raise MissingDataError("it has no quote at all", hint="does the account have market data?")
        note("prices now", "pass", f"{len(snapshot.quotes)} quotes, {len(snapshot.rates)} rates")
    with sheet.asked(component, "history"):
        history = _history(feed, now)
        note("history", "pass", f"{len(history)} rows from {history.start:%Y-%m-%d} to {history.end:%Y-%m-%d}")
        _rates(sheet, component, history, now)
        if snapshot is not None:
            with sheet.asked(component, "point in time"):
                _point_in_time(sheet, component, settings, history, snapshot)
    for source in getattr(feed, "health", tuple)():
        name, serves = (
            f"source {source.name}",
            " and ".join(filter(None, map(", ".join, (source.prices, source.rates)))),
        )
        if source.is_healthy:
            note(name, "pass", f"serves {serves}" if serves else "answers; others come before it")
        else:
            note(name, "warn", source.reason, "another source stands in where it can; mend this one before it must")
    if snapshot is not None:
        with sheet.asked(component, "age of prices"):
            _ages(sheet, component, settings, feed, snapshot, now)
        for currency in (*members_of(settings, now), settings.account_currency):
            with sheet.asked(component, currency):
                _currency(sheet, component, currency, settings.account_currency, snapshot, now)
    return snapshot


def _check_instants(snapshot: Snapshot) -> None:
    """Raise DataError for a price or rate from the future."""
    early = [str(pair) for pair, quote in snapshot.quotes.items() if quote.as_of > snapshot.at]
    early += [f"the rate of {c}" for c, rate in snapshot.rates.items() if rate.available_at > snapshot.at]
    if early:
        raise DataError(
            f"not known yet at {snapshot.at:%Y-%m-%d %H:%M} UTC: {', '.join(early)}",
            hint="is this machine's clock right? Else do not use this feed: it looks ahead",
        )


def _history(feed: DataFeed, now: datetime) -> MarketHistory:
    try:
        return feed.history(now - LATELY, now + _MOMENT)
    except MissingDataError:
        return feed.history(None, now + _MOMENT)


def _rates(sheet: Sheet, component: str, history: MarketHistory, now: datetime) -> None:
    """How old the rates are, and whether they say when they became known."""
    note = sheet.about(component)
    if not history.rates:
        note("rates", "fail", "it has no interest rates", "without rates there is no carry: configure a source of them")
        return
    verified = history.rates_verified_until
    if verified is None:
        youngest = max(series.as_of.max() for series in history.rates.values() if len(series.as_of))
        age, said = (to_ns(now) - youngest) / np.timedelta64(1, "D"), f"the last is of {str(youngest)[:10]}"
    else:
        age, said = (now - verified) / _DAILY, f"complete to {verified:%Y-%m-%d}"
    is_old = age > RATES_DAYS
    note(
        "age of rates",
        "warn" if is_old else "pass",
        f"{said}, {age:,.0f} days ago",
        "a change since then is not known: carry may be wrong; upgrade the plugin, or use rates of your own"
        if is_old
        else "",
    )


def _point_in_time(sheet: Sheet, component: str, settings: Config, history: MarketHistory, snapshot: Snapshot) -> None:
    """Whether the history, as known now, says of every rate that counts what the feed says of it now."""
    at, wrong = snapshot.at, []
    wanted = {*members_of(settings, at), settings.account_currency}
    for currency in sorted(wanted & snapshot.rates.keys()):
        series = history.rates.get(currency)
        known = None if series is None else series.get(at)
        if known is None or known.value != snapshot.rates[currency].value:
            wrong.append(currency)
    if wrong:
        raise DataError(
            f"the history as known at {at:%Y-%m-%d %H:%M} UTC has another rate than the feed now: {', '.join(wrong)}",
            hint="a backtest would not decide what live trading does: do not use this feed",
        )
    detail = f"{len(history.rates)} series say when a rate became known, and agree with now"
    sheet.note(component, "point in time", "pass", detail)


def _ages(sheet: Sheet, component: str, settings: Config, feed: DataFeed, snapshot: Snapshot, now: datetime) -> None:
    """How old prices of what is traded are, in minutes in which the market was open."""
    wanted = {*members_of(settings, now), settings.account_currency}
    ages: dict[str, float] = {}  # by currency: of its youngest quote
    for pair, quote in snapshot.quotes.items():
        for currency in wanted & {*pair}:
            ages[currency] = min(open_minutes(quote.as_of, now), ages.get(currency, math.inf))
    if not ages:
        raise MissingDataError("no quote is of a currency of the universe", hint="name others, or another feed")
    minutes = next((r.settings.minutes for r in settings.rules or () if r.component.name == "staleness"), None)
    budget = (Staleness() if minutes is None else Staleness(minutes)).budget(feed.interval)
    stale = sorted(currency for currency, age in ages.items() if age >= budget)
    detail = f"{min(ages.values()):,.0f} to {max(ages.values()):,.0f} open-market minutes, {budget:,.0f} allowed"
    status: Status = "pass"
    if stale:
        is_live = feed.interval < _DAILY and settings.mode != "backtest"
        status, detail = "fail" if is_live else "warn", f"{detail}; too old: {', '.join(stale)}"
    advice = "in real time nothing is opened on these; good enough for backtests and replays" if stale else ""
    sheet.note(component, "age of prices", status, detail, advice)


def _currency(
    sheet: Sheet, component: str, currency: str, account_currency: str, snapshot: Snapshot, now: datetime
) -> None:
    """Whether a currency has a price in account currency, and a rate."""
    mids: Mapping[Pair, Decimal] = {pair: quote.mid for pair, quote in snapshot.quotes.items()}
    found, missing = [], []
    try:
        worth = conversion(currency, account_currency, mids)
        if currency != account_currency:
            found.append(f"price {float(worth):.5g} {account_currency}")
    except FxCarryError:
        missing.append(f"no price against {account_currency}")
    rate = snapshot.rates.get(currency)
    if rate is None:
        missing.append("no rate")
    else:
        found.append(f"rate {rate.value * 100:.2f} % of {rate.as_of:%Y-%m-%d}")
    advice = f"leave {currency} out of universe, or use a feed that has it; nothing is taken to be zero"
    sheet.note(
        component, currency, "fail" if missing else "pass", ", ".join(missing + found), advice if missing else ""
    )
