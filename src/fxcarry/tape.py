"""The market as the simulator sees it: ticks × instruments, from stored history or from a live snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import le

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.balances import BalanceRolls
from fxcarry.clock import SteppedClock, just_before
from fxcarry.conventions import day_count, roll_days_table, session_ends, trade_dates
from fxcarry.costs import Costs
from fxcarry.errors import MissingDataError
from fxcarry.financing import BenchmarkFinancing, CurrencyBalanceFinancing, PairRateFinancing, RollInputs
from fxcarry.frictions import Frictions
from fxcarry.market import MarketHistory, RateSeries, TimeArray, forward_filled, to_ns
from fxcarry.model import FloatArray, Pair, Snapshot

LinearFinancing = PairRateFinancing | BenchmarkFinancing | CurrencyBalanceFinancing
"""The financing that the simulator books."""


@attrs.frozen(kw_only=True, eq=False)
class Tape:
    """The market in tick order. Arrays are ticks × instruments unless said.

    ``mid`` is quote per base; ``worth`` what one unit is worth in account currency, of base and of quote side by side
    (all 0 before a first quote); ``closing`` what the venue deals at, side by side as (bid, −ask), so that being at or
    past a stop is one comparison. ``is_fresh`` marks quotes observed since the tick before. ``rolls`` is the account
    currency a unit receives at this tick's 17:00 roll, in minor units (0 elsewhere): one held long and one held short,
    side by side. ``rolls_first`` (ticks) marks rolls at the very instant of the quote: what is filled then does not
    take part. ``moments`` are the ticks as naive UTC datetimes. ``span`` (ticks) numbers the stretches between
    decisions; ``highest`` and ``lowest`` are the extremes of base values and of ``closing`` in each. With interest on
    currency balances, ``balances`` has the rolls by currency, and ``rolls`` is 0 and as wide (currencies, twice).
    """

    at: TimeArray
    moments: Sequence[datetime]
    day: NDArray[np.datetime64]
    is_day_end: NDArray[np.bool_]
    mid: FloatArray
    worth: FloatArray
    closing: FloatArray
    is_fresh: NDArray[np.bool_]
    any_fresh: Sequence[bool]
    roll_days: NDArray[np.int64]
    rolls: FloatArray
    rolls_first: Sequence[bool]
    span: Sequence[int]
    highest: Sequence[Sequence[float]]
    lowest: Sequence[Sequence[float]]
    balances: BalanceRolls | None = None

    @classmethod
    def at_rest(cls, at: datetime, mid: FloatArray, worth: FloatArray, closing: FloatArray) -> Tape:
        """One tick at which nothing is new: the market as it stood at ``at``, by instrument."""
        instants = np.array([to_ns(at)])
        count = len(mid)
        return cls(
            at=instants,
            moments=instants.astype("datetime64[us]").tolist(),
            day=trade_dates(just_before(instants)),
            is_day_end=np.zeros(1, bool),
            mid=mid[None],
            worth=worth[None],
            closing=closing[None],
            is_fresh=np.zeros((1, count), bool),
            any_fresh=[False],
            roll_days=np.zeros((1, count), np.int64),
            rolls=np.zeros((1, 2 * count)),
            rolls_first=[False],
            span=[0],
            highest=[worth[:count].tolist()],
            lowest=[closing.tolist()],
        )

    @property
    def base_value(self) -> FloatArray:
        """Account currency per unit of base."""
        return self.worth[:, : self.mid.shape[1]]

    @property
    def conversion(self) -> FloatArray:
        """Account currency per unit of quote."""
        return self.worth[:, self.mid.shape[1] :]

    def instant(self, tick: int) -> datetime:
        """When a tick is."""
        return self.moments[tick].replace(tzinfo=UTC)

    def highest_values(self, first: int, last: int) -> Sequence[float]:
        """By instrument, what no base value of the ticks ``first`` to ``last`` (both included) exceeds."""
        one, other = self.span[first], self.span[last]
        return self.highest[one] if one == other else [*map(max, *self.highest[one : other + 1])]

    def lowest_closing(self, first: int, last: int) -> Sequence[float]:
        """As ``closing``, what no tick of ``first`` to ``last`` (both included) falls below."""
        one, other = self.span[first], self.span[last]
        return self.lowest[one] if one == other else [*map(min, *self.lowest[one : other + 1])]


def extremes(values: FloatArray) -> tuple[float, float]:
    """The smallest and the largest; of a few values sooner found in a list than in an array."""
    if len(values) > 100:
        return float(values.min()), float(values.max())
    few = values.tolist()
    return min(few), max(few)


@attrs.define(eq=False)
class Block:
    """A stretch of ticks with constant positions, for screening rules. Arrays are by tick, or ticks × instruments.

    ``units`` and ``average`` are what is held. No position is larger than ``size_bound`` at any tick, nor is their sum
    larger than ``gross_bound`` (account currency): with ``nav_min`` and ``nav_max`` they let a rule pass a quiet block
    at a glance. ``day_start`` and ``high_water`` are the risk state before the first tick, ``closeout`` is the NAV at
    which the venue closes out per notional of each instrument; the engine sets all three.
    """

    tape: Tape
    first: int
    nav: FloatArray
    units: Sequence[float]
    average: Sequence[float]
    day_start: float = np.nan
    high_water: float = np.nan
    closeout: Sequence[float] = ()
    nav_min: float = attrs.field(init=False)
    nav_max: float = attrs.field(init=False)
    size_bound: float = attrs.field(init=False)
    gross_bound: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.nav_min, self.nav_max = extremes(self.nav)
        highest = self.tape.highest_values(self.first, self.first + len(self.nav) - 1)
        sizes = [abs(units) * value for units, value in zip(self.units, highest)]
        self.size_bound = max(sizes) if sizes else 0.0
        self.gross_bound = sum(sizes) * (1 + 1e-12)

    def __len__(self) -> int:
        return len(self.nav)

    @property
    def size(self) -> FloatArray:
        """Position sizes in account currency, ticks × instruments."""
        return self.tape.base_value[self.ticks] * np.abs(self.units)

    @property
    def gross(self) -> FloatArray:
        """The sum of all position sizes at each tick."""
        return self.tape.base_value[self.ticks] @ np.abs(self.units)

    def weighted(self, per_notional: Sequence[float]) -> FloatArray:
        """The sum of all position sizes at each tick, each times its instrument's number: a margin rate, say."""
        total: FloatArray = self.tape.base_value[self.ticks] @ (np.abs(self.units) * np.array(per_notional))
        return total

    @property
    def ticks(self) -> slice:
        """Where on the tape the block lies."""
        return slice(self.first, self.first + len(self.nav))

    @property
    def is_day_end(self) -> NDArray[np.bool_]:
        """Ticks at a 17:00 New York."""
        return self.tape.is_day_end[self.ticks]

    def first_adverse(self, fraction: float) -> int | None:
        """The first tick at which a position's closing price is ``fraction`` worse than its average entry."""
        units, average = np.array(self.units), np.array(self.average)
        slack = 1 + 1e-12
        return self.first_through(
            [
                *np.where(units > 0, average * (1 - fraction) * slack, -np.inf).tolist(),
                *np.where(units < 0, average * (1 + fraction) / -slack, -np.inf).tolist(),
            ]
        )

    def first_through(self, limits: Sequence[float], after: int = 0) -> int | None:
        """The first tick (not before ``after``) whose ``Tape.closing`` is at or past limits of the same order.

        A limit on a short is the negative price; −∞ is none.
        """
        first, last = self.first + after, self.first + len(self.nav)
        if first >= last or not any(map(le, self.tape.lowest_closing(first, last - 1), limits)):
            return None
        through = np.logical_or.reduce(self.tape.closing[first:last] <= np.array(limits), axis=1)
        at = int(through.argmax())
        return at + after if through[at] else None


@attrs.frozen(kw_only=True, eq=False)
class TapeMaker:
    """What a tape is made with: the pairs of the book, the account currency, what trading costs and holding earns.

    ``scale`` is minor units per unit of account currency; ``frictions`` widen spreads, close markets and keep a share
    of what is converted.
    """

    pairs: tuple[Pair, ...]
    account_currency: str
    costs: Costs
    financing: LinearFinancing | None
    scale: int
    frictions: Frictions = attrs.field(factory=Frictions)

    @property
    def names(self) -> tuple[str, ...]:
        """Instrument names."""
        return tuple(map(str, self.pairs))

    def of_history(self, history: MarketHistory, clock: SteppedClock) -> Tape:
        """The tape of stored history (in account currency, one column a currency) at the ticks of a clock."""
        row, fresh = clock.row, clock.is_fresh
        return self.make(
            currencies=history.currencies,
            spot=_known(forward_filled(history.spot)[row]),
            is_fresh=np.isfinite(history.spot)[row] & fresh[:, None],
            half_spread=None if history.half_spread is None else history.half_spread[row],
            at=clock.at,
            day=clock.day,
            is_day_end=clock.is_day_end,
            rolls_first=fresh & (history.times[row] == clock.at),
            rates=history,
            starts=np.flatnonzero(clock.is_due[:-1]) + 1,
        )

    def of_snapshot(self, snapshot: Snapshot, previous: Snapshot | None, closing: FloatArray | None = None) -> Tape:
        """The ticks from the previous snapshot to this one: every 17:00 New York between, and now.

        A roll is priced with the quotes and rates that were known at its own instant; ``closing`` are the closing
        prices at the previous snapshot.
        """
        at = to_ns(snapshot.at)
        instants = np.array([at], "datetime64[ns]")
        since = at if previous is None else to_ns(previous.at)
        first, last = trade_dates(just_before(np.array([since, at], "datetime64[ns]")))
        weekdays = np.arange(first, last + 1)
        ends = session_ends(weekdays[np.is_busday(weekdays)])
        if previous is not None:
            instants = np.union1d(ends[(ends > since) & (ends <= at)], instants)
        currencies = sorted({c for p in self.pairs for c in p} - {self.account_currency})
        shape = (len(instants), len(currencies))
        spot, half, fresh = np.empty(shape), np.zeros(shape), np.zeros(shape, bool)
        for i, currency in enumerate(currencies):
            spot[:, i], half[:, i], seen = _quoted(snapshot, currency, self.account_currency)
            fresh[-1, i] = True
            if previous is not None:
                before, _, last_seen = _quoted(previous, currency, self.account_currency)
                spot[instants < to_ns(seen), i] = before
                fresh[-1, i] = seen > last_seen
        own, own_half = np.zeros((len(instants), len(self.pairs))), np.zeros((len(instants), len(self.pairs)))
        for j, pair in enumerate(self.pairs):
            leg, earlier = _leg(snapshot, *pair), None if previous is None else _leg(previous, *pair)
            if leg is not None:
                own[:, j], own_half[:, j], seen = leg
                if previous is not None:  # 0 = made of its legs, where the pair itself had no quote then
                    own[instants < to_ns(seen), j] = 0.0 if earlier is None else earlier[0]
        newest = max(to_ns(quote.as_of) for quote in snapshot.quotes.values())
        is_last = np.arange(len(instants)) == len(instants) - 1
        return self.make(
            currencies=currencies,
            spot=spot,
            is_fresh=fresh,
            half_spread=half,
            at=instants,
            day=trade_dates(just_before(instants)),
            is_day_end=np.isin(instants, ends),
            rolls_first=is_last & (newest == at),
            rates=_rates_of(snapshot, previous),
            quoted=(own, own_half),
            before=closing,
        )

    def make(
        self,
        *,
        currencies: Sequence[str],
        spot: FloatArray,
        is_fresh: NDArray[np.bool_],
        half_spread: FloatArray | None,
        at: TimeArray,
        day: NDArray[np.datetime64],
        is_day_end: NDArray[np.bool_],
        rolls_first: NDArray[np.bool_],
        rates: MarketHistory,
        quoted: tuple[FloatArray, FloatArray] | None = None,
        starts: NDArray[np.intp] | None = None,
        before: FloatArray | None = None,
    ) -> Tape:
        """A tape from account currency per unit of each currency and the rates known (ticks × currencies).

        ``quoted`` are mid and relative half spread of the pairs' own quotes (ticks × instruments, 0 = none), ``starts``
        the ticks after the first at which a span begins, ``before`` the closing prices of the tick before.
        """
        column = {c: i for i, c in enumerate(currencies)}
        ones, always = np.ones(len(at)), np.ones(len(at), bool)

        def value(currency: str) -> FloatArray:
            return ones if currency == self.account_currency else spot[:, column[currency]]

        def fresh(currency: str) -> NDArray[np.bool_]:
            return always if currency == self.account_currency else is_fresh[:, column[currency]]

        conversion = _columns(value(p.quote) for p in self.pairs)
        with np.errstate(divide="ignore", invalid="ignore"):
            mid = _known(_columns(value(p.base) for p in self.pairs) / conversion)
        seen = np.zeros(mid.shape)
        if half_spread is not None:
            seen = _columns(half_spread[:, [column[c] for c in p if c in column]].sum(1) for p in self.pairs)
        if quoted is not None:  # the pair's own quote is better than one made of two
            mid, seen = np.where(quoted[0] > 0, quoted[0], mid), np.where(quoted[0] > 0, quoted[1], seen)
        assumed = [0.0 if s.all() else self.costs.half_spread(p) for p, s in zip(self.pairs, (seen > 0).T)]
        multiple, deals = self.frictions.spread_multiple(at), self.frictions.deals(at)
        usual = np.array(assumed) if multiple is None else np.array(assumed) * multiple[:, None]
        half = np.where(seen > 0, seen, usual) + self.costs.slippage_bps * 1e-4
        pair_fresh = np.stack([fresh(p.base) & fresh(p.quote) for p in self.pairs], 1)
        if deals is not None:
            pair_fresh &= deals[:, None]
        roll_days = np.stack([_days_at(p, day, is_day_end) for p in self.pairs], 1)
        closing, base_value = np.hstack([mid * (1 - half), -mid * (1 + half)]), mid * conversion
        if not all(self.account_currency in p for p in self.pairs):
            closing = _at_last_quote(closing, np.hstack([pair_fresh, pair_fresh]), before)
        balances = None
        if isinstance(self.financing, CurrencyBalanceFinancing):
            foreign = sorted({c for p in self.pairs for c in p} - {self.account_currency})
            worth = {c: value(c) for c in (*foreign, self.account_currency)}
            covered = np.where(is_day_end, np.where((day.astype("datetime64[D]").astype(int) + 3) % 7 == 4, 3, 1), 0)
            balances = BalanceRolls.of(self.financing, self.pairs, worth, rates, at, covered, self.scale)
        edges = np.concatenate([[0], [] if starts is None else starts]).astype(np.intp)
        return Tape(
            at=at,
            moments=at.astype("datetime64[us]").tolist(),
            day=day,
            is_day_end=is_day_end,
            mid=mid,
            worth=np.hstack([base_value, conversion]),
            closing=closing,
            is_fresh=pair_fresh,
            any_fresh=np.asarray(pair_fresh.any(1)).tolist(),
            roll_days=roll_days,
            rolls=self._rolls(rates, at, mid, conversion, roll_days)
            if balances is None
            else np.zeros((len(at), 2 * len(balances.currencies))),
            rolls_first=(rolls_first & is_day_end).tolist(),
            span=np.repeat(np.arange(len(edges)), np.diff(edges, append=len(at))).tolist(),
            highest=np.maximum.reduceat(base_value, edges, axis=0).tolist(),
            lowest=np.minimum.reduceat(closing, edges, axis=0).tolist(),
            balances=balances,
        )

    def _rolls(
        self, rates: MarketHistory, at: TimeArray, mid: FloatArray, conversion: FloatArray, days: NDArray[np.int64]
    ) -> FloatArray:
        if self.financing is None or isinstance(self.financing, CurrencyBalanceFinancing):
            return np.zeros((len(at), 2 * len(self.pairs)))
        rolls = self._inputs(rates, at, mid, days.astype(float))
        unknown = ~np.isfinite(rolls.base_rate + rolls.quote_rate)
        has_unknown = bool(unknown.any())
        if has_unknown:
            unknown &= (mid > 0) & (days > 0)
            if unknown.any():
                tick, j = (int(x[0]) for x in np.nonzero(unknown))
                raise MissingDataError(
                    f"no rate known for {self.names[j]} at the roll of {str(at[tick])[:10]}",
                    hint="start later, or supply the rate; a missing rate is never taken to be zero",
                )
        long, short = self.financing.per_unit(rolls)
        in_minor = conversion * self.scale
        amounts = np.hstack([long * in_minor, short * in_minor])
        if self.frictions.conversion_fee:
            kept = [self.frictions.conversion_fee * (p.quote != self.account_currency) for p in self.pairs]
            amounts -= np.abs(amounts) * np.array([*kept, *kept])
        return _known(amounts) if has_unknown else amounts

    def annual(self, rates: MarketHistory, at: TimeArray) -> tuple[FloatArray, FloatArray]:
        """What being long and being short each pair earns in 365 days, as a fraction (ticks × instruments)."""
        ones = np.ones((len(at), len(self.pairs)))
        if self.financing is None:
            return ones * np.nan, ones * np.nan
        inputs = self._inputs(rates, at, ones, ones * 365.0)
        if isinstance(self.financing, CurrencyBalanceFinancing):
            return self.financing.marginal(inputs, self.pairs, self.account_currency)
        return self.financing.per_unit(inputs)

    def markup(self) -> FloatArray:
        """What the broker keeps of each pair's financing, either side: −(long + short) / 2, annual, >= 0.

        Interest on balances is nobody's pair's: the balances are the same whatever pairs hold them.
        """
        if self.financing is None or isinstance(self.financing, CurrencyBalanceFinancing):
            return np.zeros(len(self.pairs))
        ones, years = np.ones((1, len(self.pairs))), np.full(len(self.pairs), 365.0)
        nothing = 0.0 * ones
        long, short = self.financing.per_unit(
            RollInputs(
                names=self.names,
                price=ones,
                days=ones * 365.0,
                base_rate=nothing,
                quote_rate=nothing,
                base_day_count=years,
                quote_day_count=years,
            )
        )
        kept: FloatArray = np.maximum(-(long + short) / 2, 0.0)[0]
        return kept

    def _inputs(self, rates: MarketHistory, at: TimeArray, price: FloatArray, days: FloatArray) -> RollInputs:
        known: dict[str, FloatArray] = {}
        if not isinstance(self.financing, PairRateFinancing):  # pair rates are the broker's own and need no benchmark
            needed = sorted({c for pair in self.pairs for c in pair})
            known = dict(zip(needed, rates.rate_matrix(at, needed).T))
        nothing = np.zeros(len(at))
        series = rates.rates

        def side(place: int) -> tuple[FloatArray, FloatArray]:
            codes = [pair[place] for pair in self.pairs]
            basis = [float(series[c].day_count if c in series else day_count(c)) for c in codes]
            return _columns(known.get(c, nothing) for c in codes), np.array(basis)

        (base_rate, base_days), (quote_rate, quote_days) = side(0), side(1)
        return RollInputs(
            names=self.names,
            price=price,
            days=days,
            base_rate=base_rate,
            quote_rate=quote_rate,
            base_day_count=base_days,
            quote_day_count=quote_days,
        )


def _known(values: FloatArray) -> FloatArray:
    """Values with 0 for what is not a number: where there is no quote yet nothing can be held."""
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, 0.0)


def _at_last_quote(closing: FloatArray, is_fresh: NDArray[np.bool_], before: FloatArray | None) -> FloatArray:
    """Closing prices as last quoted, ``before`` at first: a cross of which one leg alone is new has no new quote."""
    rows = np.where(is_fresh, np.arange(len(closing))[:, None] + 1, 0)
    np.maximum.accumulate(rows, axis=0, out=rows)
    return np.take_along_axis(np.vstack([closing[:1] if before is None else before, closing]), rows, axis=0)


def _columns(vectors: Iterable[FloatArray]) -> FloatArray:
    stacked: FloatArray = np.stack(list(vectors), 1)
    return stacked


def _days_at(pair: Pair, day: NDArray[np.datetime64], is_day_end: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Roll days of each tick that is a 17:00, 0 at any other."""
    days = np.zeros(len(day), np.int64)
    if is_day_end.any():
        ends = day[is_day_end]
        weekdays, table = roll_days_table(pair, ends[0].item(), ends[-1].item())
        days[is_day_end] = table if len(weekdays) == len(ends) else table[np.searchsorted(weekdays, ends)]
    return days


def _quoted(snapshot: Snapshot, currency: str, account_currency: str) -> tuple[float, float, datetime]:
    """(account currency per unit, relative half spread, observed at), directly or through one common currency."""
    direct = _leg(snapshot, currency, account_currency)
    if direct is not None:
        return direct
    for via in sorted({c for pair in snapshot.quotes for c in pair}):
        first, second = _leg(snapshot, currency, via), _leg(snapshot, account_currency, via)
        if first is not None and second is not None:
            return first[0] / second[0], first[1] + second[1], min(first[2], second[2])
    raise MissingDataError(
        f"no quote leads from {currency} to {account_currency}",
        hint="a missing conversion is never taken to be 1; add a pair that joins them",
        fields={"currency": currency},
    )


def _leg(snapshot: Snapshot, base: str, quote: str) -> tuple[float, float, datetime] | None:
    found = snapshot.quotes.get(Pair(base, quote))
    inverted = None if found is not None else snapshot.quotes.get(Pair(quote, base))
    known = found or inverted
    if known is None:
        return None
    bid, ask = float(known.bid), float(known.ask)
    mid = bid if bid == ask else (bid + ask) / 2
    return (mid if found is not None else 1 / mid), (ask - bid) / (ask + bid), known.as_of


def _rates_of(snapshot: Snapshot, previous: Snapshot | None) -> MarketHistory:
    known = {} if previous is None else previous.rates
    rows = {c: [r, *([known[c]] if c in known and known[c] != r else [])] for c, r in snapshot.rates.items()}
    return MarketHistory(
        times=np.array([], "datetime64[ns]"),
        currencies=(),
        spot=np.empty((0, 0)),
        numeraire="",
        rates={
            c: RateSeries.of(c, [(r.as_of, r.available_at, r.value) for r in own], day_count=own[0].day_count)
            for c, own in rows.items()
        },
        source="the snapshot",
    )
