"""The carry table: what each currency pays, after the broker's mark-up, and what a position would book tonight."""

from __future__ import annotations

from typing import Any

import numpy as np

from fxcarry.conventions import roll_days, trade_date
from fxcarry.covariance import ewma_volatility
from fxcarry.engine import Engine
from fxcarry.financing import BenchmarkFinancing
from fxcarry.market import MarketView
from fxcarry.model import Pair
from fxcarry.periods import Day, period_of
from fxcarry.protocols import DataFeed
from fxcarry.report import PERIODS
from fxcarry.simulation import SimBroker
from fxcarry.strategies import Sign
from fxcarry.universe import UniverseLike, universe_of

NOTIONAL = 100_000


def carry_table(
    feed: DataFeed,
    *,
    at: Day | None = None,
    universe: UniverseLike | None = None,
    account_currency: str = "USD",
    markup: float = 0.01,
) -> dict[str, Any]:
    """One row a currency, best carry first, as known at 17:00 New York on the trade date ``at`` (default: the last).

    ``rate``, ``carry`` (differential to the account currency), ``volatility`` (EWMA, decay 0.94, 260 days) and
    ``financing_long``/``financing_short`` (after ``markup``, > 0 received) are annual decimals; ``spot`` is account
    currency per unit; ``tonight_long`` and ``tonight_short`` are what 100,000 of account currency would be booked at
    the coming roll of ``roll_days`` days. Raises DataError for dates outside the data and currencies without price or
    rate. A currency that is no member of ``universe`` on that day has no row.
    """
    history = feed.history(None, None)
    members = universe_of(universe, account_currency)
    first, last, members, notes = period_of(
        history, None, at or trade_date(history.end), members, account_currency, needs_rates=True
    )
    broker = SimBroker(account_currency=account_currency, financing=BenchmarkFinancing(markup))
    engine = Engine(feed=feed, broker=broker, strategy=Sign(), rules=(), universe=members, rebalance="daily")
    engine.prepare(first, last, history=history.in_currency(account_currency, members.currencies))
    tick = len(engine.clock) - 1
    view = MarketView(engine.columns, tick)
    day = engine.clock.day[tick].astype("datetime64[D]").item()
    returns = np.diff(np.log(view.spot_rows(251)), axis=0)
    rows: list[dict[str, Any]] = []
    for i, currency in enumerate(members.currencies):
        if currency == account_currency or not view.is_member[i]:
            continue
        j = list(engine.book.column).index(i)
        usable = np.isfinite(returns[:, i])
        volatility = None
        if usable.sum() >= 60:
            volatility = float(ewma_volatility(returns[usable, i])) * float(np.sqrt(PERIODS))
        carry = float(view.values("carry")[i])
        long, short = engine.tape.rolls[tick, j], engine.tape.rolls[tick, j + len(engine.book.names)]
        both = (long, short) if engine.book.holdings[j].is_base else (short, long)
        held = NOTIONAL / float(engine.tape.base_value[tick, j]) / broker.maker.scale  # rolls are in minor units
        pair = Pair.market(currency, account_currency)
        rows.append(
            {
                "currency": currency,
                "pair": str(pair),
                "spot": float(view.values("spot")[i]),
                "rate": float(view.values("rates")[i]),
                "carry": carry,
                "volatility": volatility,
                "carry_to_risk": carry / volatility if volatility else None,
                "financing_long": float(view.values("financing_long")[i]),
                "financing_short": float(view.values("financing_short")[i]),
                "roll_days": roll_days(pair, day),
                "tonight_long": float(both[0]) * held + 0.0,  # no −0.0
                "tonight_short": float(both[1]) * held + 0.0,
            }
        )
    own = float(history.rate_matrix(engine.clock.at[-1:], [account_currency])[0, 0])
    rows.sort(key=lambda row: (-row["carry"], row["currency"]))
    return {
        "date": str(day),
        "account_currency": account_currency,
        "account_rate": own,
        "markup": markup,
        "notional": NOTIONAL,
        "rows": rows,
        "notes": [
            f"{account_currency} pays {own:.2%}. long %, short %: a year's financing of either side, after a mark-up "
            f"of {markup:.2%} a year; tonight: what {NOTIONAL:,} {account_currency} held long is booked at the "
            "coming roll.",
            *history.notes,
            *notes,
        ],
    }
