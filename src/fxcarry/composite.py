"""Several feeds as one: each price and each rate from the first source that has a usable one, and health to look at.

Sources are asked in order. One that fails, is stale or frozen is left alone for a pause that grows, and asked again by
itself. Nothing is made up: what no source has is absent, and what is old says so by its ``as_of``.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from math import log, sqrt
from typing import TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.conventions import day_count, open_minutes, open_minutes_array
from fxcarry.errors import ConfigError, FxCarryError, MissingDataError
from fxcarry.market import LEAST_DAY, MarketHistory, RateSeries, TimeArray, forward_filled, from_ns, to_ns
from fxcarry.model import Pair, Quote, Rate, Snapshot, check_currency
from fxcarry.protocols import DataFeed

_LOG = logging.getLogger("fxcarry")
_Item = TypeVar("_Item", Pair, str)
_Rows = NDArray[np.int64]
_Mask = NDArray[np.bool_]
_TICK = timedelta(microseconds=1)
_LEAD = timedelta(days=7)  # rows before the start that tell how old a quote is at it: more than a long weekend
_TICKS = 3  # that confirm a price nobody else has
_FROZEN = 60.0  # open-market minutes without any change of an intraday source
_NEVER = np.datetime64(2**63 - 1, "ns")
_LOOKS = 5  # at the same prices before a source is frozen: two of them an hour apart say nothing
_LEAST_MOVES = 20  # before volatility is known


@attrs.frozen
class SourceHealth:
    """How a source of a :class:`CompositeFeed` does.

    ``failures`` are those in a row, ``reason`` is the last one's; both are empty while all is well. A source is not
    asked before ``paused_until``. ``prices`` and ``rates`` are what it serves now.
    """

    name: str
    last_success: datetime | None
    failures: int
    paused_until: datetime | None
    reason: str
    prices: tuple[str, ...]
    rates: tuple[str, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether its last answer was of use."""
        return not self.failures


class _Guard:
    """Whether one kind of question may be asked of a source: after each failure in a row it waits twice as long."""

    def __init__(self, what: str, first: timedelta, longest: timedelta) -> None:
        self._what, self._first, self._longest = what, first, longest
        self.last_success: datetime | None = None
        self._failed_at = datetime.min
        self.clear()

    def clear(self) -> None:
        self.failures, self.reason = 0, ""
        self.paused_until: datetime | None = None

    def is_paused(self, at: datetime, is_needed: bool = False) -> bool:
        """Whether it is not asked; where nobody else serves, it is asked again after the first pause's time."""
        if self.paused_until is None:
            return False
        until = min(self.paused_until, self._failed_at + self._first) if is_needed else self.paused_until
        return at < until

    def fail(self, at: datetime, reason: str) -> None:
        if not self.failures:
            _LOG.warning("%s: not used: %s", self._what, reason)
        wait = min(self._first * 2 ** min(self.failures, 20), self._longest)
        self.failures, self.reason, self.paused_until, self._failed_at = self.failures + 1, reason, at + wait, at

    def succeed(self, at: datetime) -> None:
        if self.failures:
            _LOG.warning("%s: in use again after %d failures", self._what, self.failures)
        self.clear()
        self.last_success = at


class _Source:
    """A feed with what it told last."""

    def __init__(self, feed: DataFeed, name: str, numeraire: str, first: timedelta, longest: timedelta) -> None:
        self.feed, self.name, self._numeraire = feed, name, numeraire
        self.quotes = _Guard(f"prices of {name}", first, longest)
        self.rows = _Guard(f"history of {name}", first, longest)
        self._past: tuple[datetime | None, datetime | None, MarketHistory] | None = None
        self.forget()

    def forget(self) -> None:
        """Back to the start, where the clock was set back."""
        self.quotes.clear()
        self.rows.clear()
        self.told: dict[Pair, Quote] = {}
        self.is_frozen = False
        self._same: tuple[dict[Pair, tuple[Decimal, Decimal]], datetime, int] | None = None  # prices, since, looks

    def budget(self, minutes: float) -> float:
        """Open-market minutes a quote may be old: a daily source is not asked to be fresh within the hour."""
        return max(minutes, self.feed.interval / timedelta(minutes=1))

    def look(
        self, at: datetime, is_stale: Callable[[_Source, Pair, Quote, datetime], bool], is_needed: bool
    ) -> dict[Pair, Quote]:
        """What it quotes now; what it told last while it is paused for being stale; nothing where it fails."""
        if self.quotes.is_paused(at, is_needed):
            return self.told
        try:
            snapshot = self.feed.snapshot(at)
            self.told = {p: q for p, q in _market(snapshot.quotes, self._numeraire).items() if q.as_of <= at}
        except Exception as error:  # whatever a source does, the next one is there for it
            self.told = {}
            self.quotes.fail(at, _reason(error))
            return {}
        self._watch(at)
        if not self.told:
            self.quotes.fail(at, "no quote")
        elif self.is_frozen and self._same is not None:
            self.quotes.fail(at, f"no price has moved since {self._same[1]:%Y-%m-%d %H:%M} UTC")
        elif all(is_stale(self, pair, quote, at) for pair, quote in self.told.items()):
            newest = max(quote.as_of for quote in self.told.values())
            self.quotes.fail(at, f"the newest quote is of {newest:%Y-%m-%d %H:%M} UTC")
        else:
            self.quotes.succeed(at)
        return self.told

    def _watch(self, at: datetime) -> None:
        prices = {pair: (quote.bid, quote.ask) for pair, quote in self.told.items()}
        if self._same is None or self._same[0] != prices:
            self._same = prices, at, 0
        _, since, looks = self._same
        self._same = prices, since, looks + 1
        limit = max(_FROZEN, self.feed.interval / timedelta(minutes=1))
        is_still = looks >= _LOOKS and open_minutes(since, at) >= limit
        self.is_frozen = is_still and self.feed.interval < LEAST_DAY

    def history(
        self, start: datetime | None, end: datetime | None, now: datetime | None, *, must: bool = False
    ) -> MarketHistory | None:
        """Its rows, or those it gave last where it gives none, or None; asked only once for what ends at ``now``.

        That it has none is a failure at ``now`` only, and where it had some before or ``must`` have.
        """
        is_now = end is not None and end == now
        if self._past is not None and self._past[:2] == (start, end) and is_now:
            return self._past[2]
        if end is None or not self.rows.is_paused(end):
            try:
                found = self.feed.history(start, end)
                if not len(found):
                    raise MissingDataError("no row")
                self._past = start, end, found
                if end is not None:
                    self.rows.succeed(end - _TICK)
                return found
            except Exception as error:  # whatever a source does, the next one is there for it
                is_empty = isinstance(error, MissingDataError) and not (is_now and (must or self._past is not None))
                if end is None or is_empty:
                    self.rows.reason = _reason(error)
                else:
                    self.rows.fail(end - _TICK, _reason(error))
        if self._past is None or not (self._past[0] is None or (start is not None and self._past[0] <= start)):
            return None
        known = self._past[2].between(start, end)
        return known if len(known) else None


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, FxCarryError) else f"{type(error).__name__}: {error}"


def _inverse(quote: Quote) -> Quote:
    return Quote(1 / quote.ask, 1 / quote.bid, quote.as_of)


def _market(quotes: Mapping[Pair, Quote], numeraire: str) -> dict[Pair, Quote]:
    """Quotes in market order, and every currency against the numeraire where only a third currency links the two."""
    found: dict[Pair, Quote] = {}
    for pair, quote in quotes.items():
        market = Pair.market(*pair)
        if market == pair or market not in found:
            found[market] = quote if market == pair else _inverse(quote)
    for via in sorted({c for pair in found for c in pair} - {numeraire}):
        to_numeraire = _quote(found, Pair(via, numeraire))
        if to_numeraire is None:
            continue
        for currency in sorted({c for pair in found for c in pair} - {numeraire, via}):
            leg, pair = _quote(found, Pair(currency, via)), Pair(currency, numeraire)
            if leg is None or _quote(found, pair) is not None:
                continue
            bid, ask = leg.bid * to_numeraire.bid, leg.ask * to_numeraire.ask
            cross = Quote(bid, ask, min(leg.as_of, to_numeraire.as_of))
            market = Pair.market(*pair)
            found[market] = cross if market == pair else _inverse(cross)
    return found


def _quote(quotes: Mapping[Pair, Quote], pair: Pair) -> Quote | None:
    if pair in quotes:
        return quotes[pair]
    return _inverse(quotes[pair.inverse]) if pair.inverse in quotes else None


def _distance(one: Quote, other: Quote) -> float:
    return abs(log(one.mid / other.mid))


@attrs.define
class _Accepted:
    """The last price of a pair that was served, and the moves that led there as (size, open-market minutes)."""

    quote: Quote
    source: str
    moves: deque[tuple[float, float]] = attrs.field(factory=lambda: deque(maxlen=100))


def _positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{attribute.name} is {value}", hint="give a number > 0")


@attrs.frozen(kw_only=True)
class Checks:
    """How old and how far off a price may be, and how old a rate.

    ``minutes`` of open market is how old a quote may be, or the source's own interval where that is longer;
    ``pair_minutes`` by pair. ``rate_days`` is how long a rate may stand since it was known and in force (for a table of
    changes: since the day up to which it is verified), ``source_rate_days`` by the source's name.

    A quote is a spike where it is more than ``sigmas`` standard deviations, or more than ``jump``, of 15 minutes away
    from the last one served; over a longer time both grow with its square root, and before 20 quotes only ``jump``
    counts. What differs by no more than ``tolerance`` is the same price, whatever the source. A spike is served once a
    second source has the same price, or after three ticks of the same source.

    ``pause`` seconds is the first pause of a source; each in a row is twice as long, up to ``longest_pause``.
    """

    minutes: float = attrs.field(default=60.0, validator=_positive)
    pair_minutes: Mapping[str, float] = attrs.field(factory=dict)
    rate_days: float = attrs.field(default=50.0, validator=_positive)
    source_rate_days: Mapping[str, float] = attrs.field(factory=dict)
    sigmas: float = attrs.field(default=6.0, validator=_positive)
    jump: float = attrs.field(default=0.03, validator=_positive)
    tolerance: float = attrs.field(default=0.005, validator=_positive)
    pause: float = attrs.field(default=60.0, validator=_positive)
    longest_pause: float = attrs.field(default=3600.0, validator=_positive)

    def __attrs_post_init__(self) -> None:
        for pair, minutes in self.pair_minutes.items():
            Pair.parse(pair)
            if not minutes > 0:
                raise ConfigError(f"pair_minutes of {pair} is {minutes}", hint="give a number > 0")
        for name, days in self.source_rate_days.items():
            if not days > 0:
                raise ConfigError(f"source_rate_days of {name} is {days}", hint="give a number > 0")


class CompositeFeed:
    """A DataFeed over ordered sources of prices and of rates, each any DataFeed (``rates`` empty: those of prices).

    **Snapshots.** A pair is served by the first source whose quote is within its budget and no unconfirmed spike (see
    :class:`Checks`). Where no quote is within its budget, or none is newer than the last one served, the newest there
    is stands, with its own ``as_of``, so that what is held can be valued and a :class:`~fxcarry.risk.Staleness` rule
    sees its age. While a spike waits to be confirmed, the last price served stands. Pairs are in market order; a
    currency that a source quotes only through a third one is crossed into ``numeraire``.

    **History.** A currency's row of a source is served where no source before it has a quote of that currency within
    its budget at that instant, frozen rows not counted. That depends on nothing later than the row, nor on how healthy
    a source is: one that does not answer now keeps the rows it gave before (until the process ends: then they are
    missing until it answers again, and the notes say so). Rows are as the sources give them; spikes are held back in
    snapshots only, since a row of the past has no second look.

    **Rates.** A currency's rate at an instant is that of the first source that has one within its budget then; both
    snapshots and history show it, in the currency's own day count. Where no source has one, a snapshot has none, and a
    history says in its notes since when. ``notes`` name each splice.

    MissingDataError with every source's reason where none answers; then all are asked again after the first pause's
    time, however long they were paused for. Clock times are those asked for, so a run over the
    past behaves as it would have then; an instant before the last asked starts anew. Not to be shared between threads.
    """

    name = "composite"

    def __init__(
        self,
        prices: Sequence[DataFeed],
        rates: Sequence[DataFeed] = (),
        *,
        numeraire: str = "USD",
        checks: Checks | None = None,
    ) -> None:
        if not prices:
            raise ConfigError("a composite feed has no source of prices", hint="name one or more feeds in prices")
        self.checks = checks or Checks()
        self.numeraire = check_currency(numeraire, "numeraire")
        first, longest = timedelta(seconds=self.checks.pause), timedelta(seconds=self.checks.longest_pause)
        made: dict[int, _Source] = {}
        names: list[str] = []
        for feed in (*prices, *rates):
            if id(feed) not in made:
                same = sum(name.split(" #")[0] == feed.name for name in names)
                names.append(f"{feed.name} #{same + 1}" if same else feed.name)
                made[id(feed)] = _Source(feed, names[-1], self.numeraire, first, longest)
        self._prices = [made[key] for key in dict.fromkeys(map(id, prices))]
        self._rates = [made[key] for key in dict.fromkeys(map(id, rates or prices))]
        self._sources = list(made.values())
        self._has_rates = bool(rates)
        unknown = sorted(self.checks.source_rate_days.keys() - {source.name for source in self._rates})
        if unknown:
            known = ", ".join(source.name for source in self._rates)
            raise ConfigError(f"source_rate_days names {unknown[0]!r}", hint=f"the sources of rates are {known}")
        self._minutes = {Pair.market(*Pair.parse(p)): m for p, m in self.checks.pair_minutes.items()}
        self._at: datetime | None = None
        self._known: set[Pair] = set()
        self._accepted: dict[Pair, _Accepted] = {}
        self._pending: dict[tuple[Pair, str], tuple[Quote, int]] = {}
        self._serving: dict[Pair, str] = {}
        self._rate_serving: dict[str, str] = {}

    @property
    def interval(self) -> timedelta:
        """That of the first source of prices: what comes from a slower one is seen to be old."""
        return self._prices[0].feed.interval

    @property
    def serving(self) -> Mapping[Pair, str]:
        """Which source serves each pair."""
        return self._serving

    def health(self) -> tuple[SourceHealth, ...]:
        """How each source does, in order."""
        records = []
        for source in self._sources:
            guard = max(source.quotes, source.rows, key=lambda g: g.failures)
            successes = [g.last_success for g in (source.quotes, source.rows) if g.last_success is not None]
            records.append(
                SourceHealth(
                    name=source.name,
                    last_success=max(successes, default=None),
                    failures=guard.failures,
                    paused_until=guard.paused_until,
                    reason=guard.reason if guard.failures else "",
                    prices=tuple(sorted(str(p) for p, name in self._serving.items() if name == source.name)),
                    rates=tuple(sorted(c for c, name in self._rate_serving.items() if name == source.name)),
                )
            )
        return tuple(records)

    def close(self) -> None:
        """Close every source."""
        for source in self._sources:
            source.feed.close()

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def snapshot(self, at: datetime) -> Snapshot:
        """The quotes and rates at ``at``, each from the source whose turn it is."""
        to_ns(at)
        if self._at is not None and at < self._at:
            self._forget()
        self._at = at
        answers = self._answers(at, is_needed=False) or self._answers(at, is_needed=True)
        if not answers:
            raise MissingDataError(
                f"no source has a price at {at:%Y-%m-%d %H:%M:%S %Z}: "
                + "; ".join(f"{source.name}: {source.quotes.reason}" for source in self._prices),
                hint="they are asked again by themselves; health() says when",
                fields={source.name: source.quotes.reason for source in self._prices},
            )
        quotes, serving = {}, {}
        for pair in sorted(self._known):
            chosen = self._choose(pair, answers, at)
            if chosen is not None:
                serving[pair], quotes[pair] = chosen
        if not quotes:
            raise MissingDataError(
                f"no price at {at:%Y-%m-%d %H:%M:%S %Z} is confirmed: the sources differ",
                hint=f"a second source, or {_TICKS} ticks of the same, confirm one",
            )
        self._tell(self._serving, serving, "prices")
        self._serving = serving
        return Snapshot(at, quotes, self._rates_at(at))

    def _answers(self, at: datetime, is_needed: bool) -> dict[str, dict[Pair, Quote]]:
        """What the sources quote, by name; the first alone where it leaves nothing open."""
        answers: dict[str, dict[Pair, Quote]] = {}
        is_first = not self._known  # then all are asked, to learn what they have
        for source in self._prices:
            if answers and not is_first and not self._wants(answers, at):
                break
            found = source.look(at, self._is_stale, is_needed)
            if found:
                answers[source.name] = found
                self._known |= found.keys()
        return answers

    def _forget(self) -> None:
        for source in self._sources:
            source.forget()
        self._known, self._accepted, self._pending = set(), {}, {}
        self._serving, self._rate_serving = {}, {}

    @property
    def _now(self) -> datetime | None:
        """The end of a history that knows what the last snapshot does."""
        return None if self._at is None else self._at + _TICK

    def _is_stale(self, source: _Source, pair: Pair, quote: Quote, at: datetime) -> bool:
        budget = source.budget(self._minutes.get(pair, self.checks.minutes))
        return source.is_frozen or open_minutes(quote.as_of, at) > budget

    def _wants(self, answers: Mapping[str, Mapping[Pair, Quote]], at: datetime) -> bool:
        """Whether a pair has no fresh and likely quote yet, so that a further source must be asked."""
        asked = [source for source in self._prices if source.name in answers]
        for pair in {*self._accepted, *(pair for pair, _ in self._pending)}:
            found = [(s, answers[s.name][pair]) for s in asked if pair in answers[s.name]]
            good = (not self._is_stale(s, pair, q, at) and not self._is_spike(pair, q) for s, q in found)
            if pair not in self._accepted or not any(good):
                return True
        return False

    def _limit(self, last: _Accepted, as_of: datetime) -> float:
        """How far (in logarithms) a quote of ``as_of`` may be from the last that was served."""
        checks = self.checks
        limit, elapsed = checks.jump, sum(minutes for _, minutes in last.moves)
        if len(last.moves) >= _LEAST_MOVES and elapsed > 0:
            variance = sum(move * move for move, _ in last.moves) / elapsed * 15
            limit = min(limit, max(checks.sigmas * sqrt(variance), checks.tolerance))
        return limit * sqrt(max(open_minutes(last.quote.as_of, as_of) / 15, 1.0))

    def _is_spike(self, pair: Pair, quote: Quote) -> bool:
        last = self._accepted.get(pair)
        return last is not None and _distance(quote, last.quote) > self._limit(last, quote.as_of)

    def _choose(
        self, pair: Pair, answers: Mapping[str, Mapping[Pair, Quote]], at: datetime
    ) -> tuple[str, Quote] | None:
        found = [(s, answers[s.name][pair]) for s in self._prices if pair in answers.get(s.name, ())]
        last = self._accepted.get(pair)
        fresh = [(s, q) for s, q in found if not self._is_stale(s, pair, q, at)]
        for source, quote in fresh:
            if last is not None and quote.as_of < last.quote.as_of:
                continue  # a slower source does not take a price back
            others = [q for s, q in fresh if s is not source]
            if self._accepts(pair, source, quote, others):
                return source.name, quote
        old = [] if last is None else [(last.source, last.quote)]
        if not fresh:  # nobody doubts these; they are only old
            old += [(s.name, q) for s, q in found if not self._is_spike(pair, q)]
        return max(old, key=lambda o: o[1].as_of, default=None)

    def _accepts(self, pair: Pair, source: _Source, quote: Quote, others: Sequence[Quote]) -> bool:
        """Whether a quote is served; if so, it is what the next one is compared with."""
        last = self._accepted.get(pair)
        if last is not None and (last.source, last.quote) == (source.name, quote):
            return True
        if last is None:
            is_odd = any(_distance(quote, other) > self.checks.jump for other in others)
        else:
            is_odd = self._is_spike(pair, quote)
        if is_odd and not any(_distance(quote, other) <= self.checks.tolerance for other in others):
            before, count = self._pending.get((pair, source.name), (None, 0))
            if before is None or quote.as_of > before.as_of:
                agrees = before is not None and _distance(quote, before) <= self.checks.jump
                count = count + 1 if agrees else 1
                self._pending[pair, source.name] = quote, count
                if count == 1:
                    _LOG.warning("%s %s of %s is held back until it is confirmed", pair, quote.mid, source.name)
            if count < _TICKS:
                return False
        self._pending.pop((pair, source.name), None)
        if last is None or is_odd:
            self._accepted[pair] = _Accepted(quote, source.name)
        else:
            if last.source == source.name and quote.as_of > last.quote.as_of:
                last.moves.append((_distance(quote, last.quote), open_minutes(last.quote.as_of, quote.as_of)))
            last.quote, last.source = quote, source.name
        return True

    def _tell(self, before: Mapping[_Item, str], now: Mapping[_Item, str], what: str) -> None:
        """Log who serves what now that somebody else served, once."""
        changes: dict[tuple[str, str], list[str]] = {}
        for item, name in now.items():
            old = before.get(item, name)
            if old != name:
                changes.setdefault((old, name), []).append(str(item))
        for (old, name), items in changes.items():
            _LOG.warning("%s of %s are from %s now, no longer from %s", what, ", ".join(sorted(items)), name, old)

    # --- history -----------------------------------------------------------------------------------------------------

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """Rows with start <= time < end, each currency's from the source whose turn it is, and the spliced rates."""
        for instant in (start, end):
            if instant is not None:
                to_ns(instant)
        notes: list[str] = []
        parts: list[tuple[_Source, MarketHistory]] = []
        for source in self._prices:
            lead = _LEAD + source.feed.interval + timedelta(minutes=self.checks.minutes)
            found = source.history(None if start is None else start - lead, end, self._now)
            if found is None:
                notes.append(f"No prices of {source.name}: {source.rows.reason}.")
                continue
            if self.numeraire != found.numeraire and self.numeraire not in found.currencies:
                notes.append(f"No prices of {source.name}: it has none in {self.numeraire}.")
                continue
            currencies = [c for c in (*found.currencies, found.numeraire) if c != self.numeraire]
            parts.append((source, found.in_currency(self.numeraire, currencies)))
        rows = self._merged(parts, start, notes) if parts else None
        if rows is None or not len(rows):
            told = "; ".join(f"{source.name}: {source.rows.reason or 'no row there'}" for source in self._prices)
            raise MissingDataError(f"no source has prices from {start} to {end}: {told}", hint="see health()")
        rates, _, verified, spliced = self._spliced(end)
        calendars = {found.calendar for _, found in parts}
        return attrs.evolve(
            rows,
            rates=rates,
            interval=self.interval,
            rates_verified_until=verified,
            calendar=calendars.pop() if len(calendars) == 1 else "",
            notes=tuple(dict.fromkeys([*notes, *spliced, *(n for _, found in parts for n in found.notes)])),
            source=f"composite of {', '.join(source.name for source, _ in parts)}",
        )

    def _merged(
        self, parts: Sequence[tuple[_Source, MarketHistory]], start: datetime | None, notes: list[str]
    ) -> MarketHistory | None:
        currencies = tuple(dict.fromkeys(c for _, found in parts for c in found.currencies))
        has_spread = all(found.half_spread is not None for _, found in parts)
        taken: list[tuple[str, MarketHistory, int, _Rows]] = []  # currency, its source's rows, column, which
        counts: dict[str, dict[str, int]] = {}
        moving = [_moving(found) for _, found in parts]
        for currency in currencies:
            minutes = self._minutes.get(Pair.market(currency, self.numeraire), self.checks.minutes)
            before: list[tuple[TimeArray, float]] = []
            for (source, found), is_moving in zip(parts, moving):
                if currency not in found.currencies:
                    continue
                column = found.currencies.index(currency)
                rows: _Rows = np.flatnonzero(np.isfinite(found.spot[:, column]) & is_moving)
                for times, budget in before:
                    rows = rows[~_is_fresh(times, found.times[rows], budget)]
                before.append((found.times[np.isfinite(found.spot[:, column]) & is_moving], source.budget(minutes)))
                if start is not None:
                    rows = rows[found.times[rows] >= to_ns(start)]
                taken.append((currency, found, column, rows))
                if len(before) > 1 and len(rows):
                    counts.setdefault(source.name, {})[currency] = len(rows)
        if not taken:
            return None
        times = np.unique(np.concatenate([found.times[rows] for _, found, _, rows in taken]))
        spot = np.full((len(times), len(currencies)), np.nan)
        half = np.full(spot.shape, np.nan) if has_spread else None
        for currency, found, column, rows in taken:
            at = np.searchsorted(times, found.times[rows]), currencies.index(currency)
            spot[at] = found.spot[rows, column]
            if half is not None and found.half_spread is not None:
                half[at] = found.half_spread[rows, column]
        for name, filled in counts.items():
            told = ", ".join(f"{currency} {count}" for currency, count in filled.items())
            notes.append(f"Rows from {name}, where no source before it had a fresh price: {told}.")
        if not has_spread and any(found.half_spread is not None for _, found in parts):
            notes.append("Prices are mid prices: not every source gives a spread.")
        return MarketHistory(times, currencies, spot, self.numeraire, half_spread=half)

    # --- rates -------------------------------------------------------------------------------------------------------

    def _rates_at(self, at: datetime) -> dict[str, Rate]:
        series, serving, _, _ = self._spliced(at + _TICK)
        names = {currency: told.name for currency, told in serving.items()}
        self._tell(self._rate_serving, names, "rates")
        lost = sorted(self._rate_serving.keys() - names.keys())
        if lost:
            _LOG.warning("rates of %s: no source has one within its budget", ", ".join(lost))
        self._rate_serving = names
        rates = {}
        for currency, told in serving.items():
            spliced, own = series[currency].get(at), told.series.get(at)
            if spliced is not None and own is not None:  # its own dates: those of a splice are later
                rates[currency] = attrs.evolve(spliced, as_of=own.as_of, available_at=own.available_at)
        return rates

    def _spliced(
        self, end: datetime | None
    ) -> tuple[dict[str, RateSeries], dict[str, _Told], datetime | None, list[str]]:
        """Each currency's rates, who serves it at the end, the day up to which those from tables of changes are
        verified, and what to say.
        """
        notes: list[str] = []
        told: dict[str, list[_Told]] = {}
        for source in self._rates:
            found = source.history(None, end, self._now, must=self._has_rates)
            if found is None:
                notes.append(f"No rates of {source.name}: {source.rows.reason}.")
                continue
            days = self.checks.source_rate_days.get(source.name, self.checks.rate_days)
            for currency, series in found.rates.items():
                if len(series.value):
                    made = _Told(source.name, series, days, found.rates_verified_until)
                    told.setdefault(currency, []).append(made)
        rates, serving, verified = {}, {}, []
        for currency, sources in told.items():
            spliced = _splice(currency, sources, None if end is None else to_ns(end))
            if spliced is None:
                continue
            rates[currency], now, said = spliced
            notes.extend(said)
            if now is not None:
                serving[currency] = now
                if now.verified is not None:
                    verified.append(now.verified)
        return rates, serving, min(verified, default=None), notes


@attrs.frozen(eq=False)
class _Told:
    """One source's rates of one currency, and how long each may stand."""

    name: str
    series: RateSeries
    days: float
    verified: datetime | None
    usable: TimeArray = attrs.field(init=False)
    best: _Rows = attrs.field(init=False)
    until: TimeArray = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        s = self.series
        usable = np.maximum(s.as_of, s.available_at)
        object.__setattr__(self, "usable", usable)
        rank = np.empty(len(usable), np.int64)
        by_rank = np.lexsort((s.available_at, s.as_of))
        rank[by_rank] = np.arange(len(usable))
        best = by_rank[np.maximum.accumulate(rank)]  # the row in force after each became usable
        object.__setattr__(self, "best", best)
        known = usable[best]
        if self.verified is not None:
            known = np.maximum(known, to_ns(self.verified))
        until = known + np.timedelta64(int(self.days * 86400e6) + 1, "us").astype("m8[ns]")
        if s.until is not None:  # the source itself says from when it is too old
            until = np.minimum(until, s.until[best])
        object.__setattr__(self, "until", until)

    def rows(self, at: TimeArray) -> _Rows:
        """The row in force at each instant, -1 where there is none or it has stood too long."""
        position = np.searchsorted(self.usable, at, "right") - 1
        is_there = (position >= 0) & (at < self.until[position])
        return np.where(is_there, self.best[position], -1)


def _splice(
    currency: str, sources: Sequence[_Told], end: np.datetime64 | None
) -> tuple[RateSeries, _Told | None, list[str]] | None:
    """The rates of the first source within its budget at each instant; who serves last; and what a reader should know.

    Where nobody is within its budget the rate is missing, and at the end a note says since when.
    """
    events = np.unique(np.concatenate([*(s.usable for s in sources), *(s.until for s in sources)]))
    gaps = events[~np.stack([s.rows(events) >= 0 for s in sources]).any(0)]  # from when nobody serves
    last = np.max([s.usable.max() for s in sources]) if end is None else end - np.timedelta64(1, "us")
    events = events[events <= last]
    if not len(events):
        return None
    by_source = np.stack([s.rows(events) for s in sources])
    is_served = by_source >= 0
    first = np.where(is_served.any(0), is_served.argmax(0), -1)
    try:
        target = day_count(currency)
    except MissingDataError:
        target = sources[0].series.day_count
    served = np.flatnonzero(first >= 0)
    if not len(served):
        return None
    index, row = first[served], by_source[first[served], served]
    is_new = np.ones(len(served), bool)
    is_new[1:] = (index[1:] != index[:-1]) | (row[1:] != row[:-1])
    index, row, events = index[is_new], row[is_new], events[served[is_new]]
    as_of, known_at = events.copy(), events.copy()
    value = np.empty(len(events))
    for n, source in enumerate(sources):
        own, series = row[index == n], source.series
        as_of[index == n], known_at[index == n] = series.as_of[own], series.available_at[own]
        told = series.value[own]
        value[index == n] = told if series.day_count == target else told * target / series.day_count
    newest = np.maximum.accumulate(as_of)  # a later row must be for a later day to be the one in force
    is_moved = (as_of != newest) | (np.maximum(as_of, known_at) != events)
    known_at = np.where(is_moved, events, known_at)
    turns = np.flatnonzero(index[1:] != index[:-1]) + 1
    splices = [f"{sources[index[n]].name} from {str(events[n])[:10]}" for n in turns.tolist()]
    serving = sources[int(first[-1])] if first[-1] >= 0 else None
    ended = sources[int(index[-1])]
    notes = []
    if splices:
        shown = "; ".join(splices if len(splices) <= 3 else [*splices[:1], f"… {len(splices) - 2} more", splices[-1]])
        started = sources[int(index[0])].name
        notes.append(f"{currency} rate: {started}, then {shown}.")
    if serving is None:
        notes.append(
            f"{currency} rate: none now, no source has one within its budget; the last, of {ended.name}, was of "
            f"{from_ns(ended.series.as_of[int(row[-1])]):%Y-%m-%d}."
        )
    made = RateSeries(
        currency,
        newest,
        known_at,
        value,
        target,
        ended.series.tenor,
        f"{ended.name}: {ended.series.source}" if ended.series.source else ended.name,
        until=np.append(gaps, _NEVER)[np.searchsorted(gaps, events, "right")],
    )
    return made, serving, notes


def _is_fresh(quoted: TimeArray, at: TimeArray, budget: float) -> _Mask:
    """Whether the last of the quotes is within its budget at each instant."""
    position = np.searchsorted(quoted, at, "right") - 1
    fresh: _Mask = position >= 0
    old = np.flatnonzero(fresh)
    seen = quoted[position[old]]
    is_old = at[old] - seen > np.timedelta64(int(budget * 60e9), "ns")  # on the clock, before what is closed
    old, seen = old[is_old], seen[is_old]
    fresh[old] = np.asarray(open_minutes_array(seen, at[old])) <= budget
    return fresh


def _moving(history: MarketHistory) -> _Mask:
    """Whether each row is of a market that has moved within the last hour; always where there is a row a day."""
    if history.is_daily or len(history) < 2:
        return np.ones(len(history), bool)
    filled = forward_filled(history.spot)
    moved = np.ones(len(history), bool)
    moved[1:] = ((filled[1:] != filled[:-1]) & np.isfinite(filled[1:])).any(1)
    since = np.maximum.accumulate(np.where(moved, np.arange(len(history)), 0))
    limit = max(_FROZEN, history.interval / timedelta(minutes=1))
    still: _Mask = np.asarray(open_minutes_array(history.times[since], history.times)) < limit
    return still
