"""Made-up markets, views and accounts for tests: deterministic, no files, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import numpy as np

from fxcarry.clock import SteppedClock
from fxcarry.conventions import session_ends
from fxcarry.costs import Costs
from fxcarry.errors import MissingDataError
from fxcarry.market import MarketColumns, MarketHistory, MarketView, RateSeries, TimeArray, from_ns, to_ns
from fxcarry.model import Account, to_decimal

G10 = ("EUR", "JPY", "GBP", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK")
"""The nine G10 currencies other than USD."""

_DAILY_VOLATILITY = 0.006


def market_history(
    currencies: Sequence[str] = G10, days: int = 260, seed: int = 0, *, start: date = date(2020, 1, 6)
) -> MarketHistory:
    """A random walk in USD per unit: ``days`` weekdays from ``start``, each observed at 16:59 New York.

    Every currency and USD has a rate (annual decimal, -0.5 % to 5 %) that changes every 21 weekdays and is known one
    hour after it is in force. The same arguments give the same numbers; more days or currencies leave the first ones
    as they are.
    """
    ends = session_ends(np.busday_offset(np.datetime64(start), np.arange(days), roll="forward"))
    at: TimeArray = (ends - np.timedelta64(60, "s")).astype("datetime64[ns]")
    columns, rates = [], {}
    for currency in (*currencies, "USD"):
        random = np.random.default_rng([seed, *currency.encode()])
        level = 0.009 if currency == "JPY" else random.uniform(0.5, 1.5)
        columns.append(level * np.exp(np.cumsum(random.normal(0.0, _DAILY_VOLATILITY, days))))
        changes = at[::21]
        random = np.random.default_rng([seed, 1, *currency.encode()])
        values = random.uniform(-0.005, 0.05) + np.cumsum(random.normal(0.0, 0.001, len(changes)))
        rates[currency] = RateSeries(
            currency, changes, changes + np.timedelta64(1, "h"), np.clip(values, -0.005, 0.06), source="factory"
        )
    return MarketHistory(
        times=at,
        currencies=tuple(currencies),
        spot=np.stack(columns[:-1], 1),
        numeraire="USD",
        rates=rates,
        source="fxcarry.testing",
    )


def view_at(
    history: MarketHistory,
    at: datetime | None = None,
    *,
    account_currency: str = "USD",
    currencies: Sequence[str] | None = None,
    markup: float = 0.01,
) -> MarketView:
    """The view at the last tick of ``history`` at or before ``at`` (None = its last tick).

    ``currencies`` is the universe (None = those of the history, without the account currency); ``markup`` is what the
    broker takes on each side of financing (annual decimal); trading costs are the default ones.
    Raises MissingDataError where there is no such tick.
    """
    if currencies is None:
        currencies = [c for c in history.currencies if c != account_currency]
    clock = SteppedClock.over(history)
    tick = len(clock) - 1 if at is None else int(np.searchsorted(clock.at, to_ns(at), "right")) - 1
    if tick < 0:
        raise MissingDataError(f"the history has no tick at or before {at}", hint=f"it begins {history.start}")
    rates = history.rate_matrix(clock.at, currencies)
    carry = rates - history.rate_matrix(clock.at, [account_currency])
    columns = MarketColumns(
        currencies=tuple(currencies),
        account_currency=account_currency,
        times=history.times,
        quoted=history.in_currency(account_currency, currencies).spot,
        at=clock.at,
        row=clock.row,
        rates=rates,
        carry=carry,
        financing=lambda: (carry - markup, -carry - markup),
        trading_cost=Costs().trading_cost(currencies, account_currency),
    )
    return MarketView(columns, tick)


def last_tick(history: MarketHistory) -> datetime:
    """The instant of the last tick of ``history``."""
    return from_ns(SteppedClock.over(history).at[-1])


def account(
    nav: Decimal | int | str | float = 1_000_000,
    *,
    currency: str = "USD",
    at: datetime,
    weights: Mapping[str, float] | None = None,
) -> Account:
    """An account of that NAV in cash; ``weights`` are its exposures by currency, as fractions of NAV."""
    return Account(
        id="test",
        at=at,
        currency=currency,
        nav=to_decimal(nav),
        balances={currency: to_decimal(nav)},
        positions={},
        current_weights=dict(weights or {}),
    )
