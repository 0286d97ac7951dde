"""The carry table: what each currency pays, after the broker's mark-up, and what a position would book tonight.

And the table of one broker: what it pays, beside what the same is worth between banks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from fxcarry.conventions import roll_days, trade_date
from fxcarry.covariance import ewma_volatility
from fxcarry.engine import Engine
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.financing import BenchmarkFinancing
from fxcarry.gap import CarryGap, days_charged, gap_of, overnight_in
from fxcarry.journal.books import conversion
from fxcarry.market import MarketView
from fxcarry.model import Instrument, Pair
from fxcarry.orders import market_pairs
from fxcarry.periods import Day, period_of
from fxcarry.protocols import Broker, DataFeed
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


def broker_table(
    broker: Broker,
    feed: DataFeed,
    *,
    at: datetime,
    universe: UniverseLike | None = None,
    account_currency: str = "USD",
) -> dict[str, Any]:
    """What a broker pays each side of the pairs of a universe, and what its account earns tonight. Nothing is changed.

    The broker says its rates and positions as they are now; prices, rates between banks and the days of the coming
    roll are those of ``at``. One row a pair: ``pays_long``, ``pays_short``, ``differential``, ``middle``, ``markup``,
    ``gap_long`` and ``gap_short`` as in :class:`~fxcarry.gap.CarryGap`, and ``tonight_long`` and ``tonight_short`` what
    100,000 of account currency on either side would be booked. ``book`` has a row for each position, and ``tonight`` is
    their sum, all in account currency and > 0 received. What is not published or not known is None, and so is a sum of
    which any part is. A pair that the broker does not trade has no row, and a note. Raises what the broker and the feed
    raise; MissingDataError where a price or conversion is missing for what has a rate.
    """
    day = trade_date(at - timedelta(microseconds=1))
    snapshot = feed.snapshot(at)
    mids = {pair: quote.mid for pair, quote in snapshot.quotes.items()}
    members = universe_of(universe, account_currency).members_at(day)
    asked = market_pairs(members, account_currency)
    broker.connect()
    held = {name: position.units for name, position in broker.get_positions().items() if position.units}
    found = broker.get_instruments(tuple(dict.fromkeys((*asked, *_pairs_of(held)))))
    of_pair = {instrument.exposure: instrument for instrument in found.values()}
    rows = [
        _broker_row(of_pair[pair], gap_of(of_pair[pair], snapshot.rates), mids, account_currency, day)
        for pair in asked
        if pair in of_pair
    ]
    book: list[dict[str, Any]] = []
    for name, units in held.items():
        instrument = found.get(name)
        earns = None if instrument is None else _tonight(instrument, units, mids, account_currency, day)
        book.append({"instrument": name, "units": float(units), "tonight": earns})
    known = [row["tonight"] for row in book if row["tonight"] is not None]
    notes = [
        f"long %, short %: what {broker.name} pays a year on either side, > 0 received. rates %: base less quote "
        "between banks, each on its own day count. mark-up: -(long + short) / 2. gap: what a side is paid less what "
        f"it would be paid between banks. tonight: what {NOTIONAL:,} {account_currency} on either side are booked at "
        f"17:00 New York of {day}."
    ]
    unpublished = [row["pair"] for row in rows if row["pays_long"] is None or row["pays_short"] is None]
    if unpublished:
        notes.append(
            f"{broker.name} does not publish what it pays for {', '.join(unpublished)}: what a night earns there is "
            "not known before it is booked. A simulated account pays the differential less its mark-up: that is the "
            "table without --broker."
        )
    strange = [row["pair"] for row in rows if row["differential"] is None]
    if strange:
        notes.append(f"no rate between banks is known for {', '.join(strange)}: the gap is not known")
    absent = [str(pair) for pair in asked if pair not in of_pair]
    if absent:
        notes.append(f"{broker.name} does not trade {', '.join(absent)}")
    lost = [row["instrument"] for row in book if row["tonight"] is None]
    if lost:
        notes.append(f"what {', '.join(lost)} earns tonight is not known, so neither is the sum")
    seen = {c: max(q.as_of for p, q in snapshot.quotes.items() if c in p) for c in {c for p in mids for c in p}}
    used = sorted((seen[c], c) for pair in asked for c in pair if c in seen)
    if used:
        notes.append(f"the oldest price is that of {used[0][1]}, of {used[0][0]:%Y-%m-%d %H:%M} UTC")
    verified = _verified_until(feed, at)
    if verified is not None and verified < at:
        notes.append(f"rates between banks are verified only until {verified:%Y-%m-%d}: later ones are the last known")
    return {
        "broker": broker.name,
        "at": at.isoformat(),
        "trade_date": str(day),
        "account_currency": account_currency,
        "notional": NOTIONAL,
        "rows": rows,
        "book": book,
        "tonight": None if lost else sum(known, 0.0),
        "notes": notes,
    }


def _verified_until(feed: DataFeed, at: datetime) -> datetime | None:
    try:
        return feed.history(at - timedelta(days=14), at).rates_verified_until
    except MissingDataError:  # no price for so long: what is old is told already
        return None


def _pairs_of(names: Mapping[str, Decimal]) -> list[Pair]:
    """The pairs that instruments are called after; one with another kind of name is left out."""
    found = []
    for name in names:
        try:
            found.append(Pair.parse(name))
        except ConfigError:
            continue
    return found


def _broker_row(
    instrument: Instrument, gap: CarryGap, mids: Mapping[Pair, Decimal], currency: str, day: date
) -> dict[str, Any]:
    size = Decimal(NOTIONAL)
    if instrument.exposure.base != currency:
        size /= conversion(instrument.exposure.base, currency, mids)
    return {
        "pair": str(gap.pair),
        "instrument": gap.instrument,
        "pays_long": gap.pays_long,
        "pays_short": gap.pays_short,
        "differential": gap.differential,
        "middle": gap.middle,
        "markup": gap.markup,
        "gap_long": gap.gap_long,
        "gap_short": gap.gap_short,
        "roll_days": days_charged(instrument, day),
        "tonight_long": _tonight(instrument, size, mids, currency, day),
        "tonight_short": _tonight(instrument, -size, mids, currency, day),
    }


def _tonight(
    instrument: Instrument, units: Decimal, mids: Mapping[Pair, Decimal], currency: str, day: date
) -> float | None:
    """What units are booked at the coming roll, None where the rate of their side is not published."""
    if (instrument.financing_long if units > 0 else instrument.financing_short) is None:
        return None
    return float(overnight_in(currency, instrument, units, mids, day)) + 0.0  # no −0.0
