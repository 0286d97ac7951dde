"""What holds of fxcarry.simulation and fxcarry.financing for every book, market and account currency."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.clock import SteppedClock
from fxcarry.conventions import roll_days, session_ends
from fxcarry.costs import Costs
from fxcarry.errors import MissingDataError
from fxcarry.financing import (
    BenchmarkFinancing,
    CurrencyBalanceFinancing,
    FinancingBook,
    PairRateFinancing,
    RollInputs,
)
from fxcarry.frictions import Frictions
from fxcarry.ledger import attribute
from fxcarry.lots import MATCHINGS
from fxcarry.market import MarketHistory, RateSeries, from_ns
from fxcarry.model import (
    Account,
    Order,
    OrderStatus,
    Pair,
    Position,
    Quote,
    Rate,
    Snapshot,
    Transaction,
    minor_digits,
    to_decimal,
)
from fxcarry.simulation import SimBroker
from fxcarry.tape import Block

quick = settings(max_examples=30, deadline=None, derandomize=True)
LEVEL = {"EUR": 1.1, "GBP": 1.25, "AUD": 0.65, "CAD": 0.7, "JPY": 0.0067, "USD": 1.0}
PAIRS = ("EURUSD", "USDJPY", "USDCAD", "AUDJPY", "EURGBP", "CADJPY", "EURJPY")
CASH = {"USD": 1_000_000, "EUR": 1_000_000, "JPY": 150_000_000}

accounts = st.sampled_from(sorted(CASH))
seeds = st.integers(0, 2**32 - 1)
rates = st.floats(-0.02, 0.3, allow_nan=False).map(lambda r: round(r, 5))
sides = st.sampled_from([1, -1])
matchings = st.sampled_from(MATCHINGS)
margins = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from(PAIRS), st.sampled_from([0.01, 0.02, 0.05, 0.2, 1.0]), min_size=1),
)
cuts = st.sets(st.integers(0, 30), min_size=1)
trade_dates = st.dates(date(2005, 1, 3), date(2029, 12, 31)).filter(lambda day: day.weekday() < 5)


@attrs.frozen
class Case:
    """A market, the orders that were given after each tick, and how the venue is set up."""

    account: str
    history: MarketHistory
    clock: SteppedClock
    orders: dict[int, list[Order]]
    about: dict[str, Any]
    stops: bool


def make(
    account: str,
    seed: int,
    *,
    leverage: float = 3.0,
    spreads: bool = False,
    flat_rates: bool = True,
    balances: bool = False,
) -> Case:
    """A random month somewhere between 2019 and 2027, daily or intraday, with holes, jumps and random orders."""
    random = np.random.default_rng(seed)
    start = np.datetime64("2019-01-01") + int(random.integers(0, 8 * 365))
    ends = session_ends(np.busday_offset(start, np.arange(12), roll="forward"))
    is_daily = bool(random.integers(2))
    early = np.timedelta64(int(random.choice([0, 1, 3600, 7 * 3600])), "s")
    if is_daily:
        times = ends - early
        times = times[random.random(len(times)) > 0.15]
    else:
        hours = np.array([0, 1, 5, 11, 17], "timedelta64[h]")
        times = np.unique((ends[:6, None] - early - hours).ravel())
        times = times[random.random(len(times)) > 0.3]
    currencies = tuple(c for c in LEVEL if c != "USD")
    steps = random.normal(0, 0.01, (len(times), len(currencies)))
    spot = np.array([LEVEL[c] for c in currencies]) * np.exp(steps.cumsum(0))
    spot[1:][random.random(spot[1:].shape) < 0.05] = np.nan
    known = np.datetime64("2018-01-01", "ns")
    table = {}
    for currency in LEVEL:
        changes = np.array([known] if flat_rates else [known, times[len(times) // 2]], "datetime64[ns]")
        values = np.round(random.uniform(-0.01, 0.08, len(changes)), 5)
        table[currency] = RateSeries(currency, changes, changes, values, 365 if currency in ("GBP", "AUD") else 360)
    history = MarketHistory(
        times,
        currencies,
        spot,
        "USD",
        table,
        interval=timedelta(days=1) if is_daily else timedelta(hours=5),
        half_spread=random.uniform(0, 5e-4, spot.shape) if spreads else None,
    ).in_currency(account, tuple(c for c in LEVEL if c != account))
    clock = SteppedClock.over(history)
    stops = bool(random.integers(2))
    orders: dict[int, list[Order]] = {}
    for tick in range(-1, len(clock) - 1):
        for name in random.permutation(PAIRS)[: random.integers(0, 3)].tolist():
            worth = LEVEL[name[:3]] / LEVEL[account]
            units = int(random.normal(0, leverage / 4) * CASH[account] / worth) or 1
            limit = None
            if random.random() < 0.15:
                limit = Decimal(repr(round(LEVEL[name[:3]] / LEVEL[name[3:]] * random.uniform(0.97, 1.03), 5)))
            orders.setdefault(tick, []).append(
                Order(
                    client_id=f"{tick}-{name}",
                    instrument=name,
                    units=Decimal(units),
                    type="market" if limit is None else "limit",
                    limit_price=limit,
                    is_reducing=bool(random.random() < 0.25),
                    stop_fraction=round(random.uniform(0.002, 0.03), 4) if stops and random.random() < 0.5 else None,
                )
            )
    financing = (
        BenchmarkFinancing(markup=float(random.choice([0.0, 0.01])))
        if random.integers(2)
        else PairRateFinancing(
            {p: round(random.uniform(-0.05, 0.05), 4) for p in PAIRS},
            {p: round(random.uniform(-0.05, 0.05), 4) for p in PAIRS},
        )
    )
    if balances:  # the threshold above the account, so that the scaling by NAV bites
        financing = CurrencyBalanceFinancing(0.005, 0.015, CASH[account] / 100, CASH[account] * 1.01)
    costs = Costs(
        spread_bps={c: float(random.uniform(0, 20)) for c in LEVEL},
        slippage_bps=float(random.choice([0.0, 0.5])),
        commission_bps=float(random.choice([0.0, 0.3])),
    )
    about = {"financing": financing, "costs": costs, "cash": CASH[account], "account_currency": account}
    return Case(account, history, clock, orders, about, stops)


def on_terms(case: Case, **terms: Any) -> Case:
    """The same market and orders at a venue of other terms."""
    return attrs.evolve(case, about={**case.about, **terms})


def give(broker: SimBroker, orders: Sequence[Order]) -> None:
    for order in orders:
        if order.limit_price is None:
            broker.place_market_order(order)
        else:
            broker.place_limit_order(order)


def snapshots(case: Case) -> list[Snapshot]:
    """The market of a case, a snapshot a tick."""
    clock, history, found = case.clock, case.history, []
    seen = np.where(np.isfinite(history.spot), np.arange(len(history))[:, None], 0)
    np.maximum.accumulate(seen, axis=0, out=seen)
    for tick, at in enumerate(clock.at):
        quotes = {}
        for i, currency in enumerate(history.currencies):
            row = seen[clock.row[tick], i]
            price = to_decimal(float(history.spot[row, i]))
            quotes[Pair(currency, case.account)] = Quote(price, price, from_ns(history.times[row]))
        known = {c: r for c in LEVEL if (r := history.rates[c].get(from_ns(at))) is not None}
        found.append(Snapshot(from_ns(at), quotes, known))
    return found


Mode = Literal["blocks", "ticks", "screened", "snapshots"]
MODES: tuple[Mode, ...] = ("ticks", "screened", "snapshots")


def run(case: Case, mode: Mode) -> SimBroker:
    """The same market and orders: whole blocks at once, tick by tick, with a screen that stops, or by snapshots."""
    broker = SimBroker(**case.about)
    broker.get_instruments([Pair.parse(p) for p in PAIRS])
    clock, history = case.clock, case.history
    give(broker, case.orders.get(-1, ()))
    if mode == "snapshots":
        for tick, snapshot in enumerate(snapshots(case)):
            broker.sync(snapshot)
            give(broker, case.orders.get(tick, ()))
        return broker
    broker.prepare(history, clock)
    breaks = np.random.default_rng(len(clock))

    def screen(block: Block) -> int | None:
        return int(breaks.integers(len(block.nav))) if breaks.integers(2) else None

    done = 0
    while done < len(clock):
        due = min((t + 1 for t in case.orders if t >= done), default=len(clock))
        stop = done + 1 if mode == "ticks" else due
        done = broker.advance(stop, screen if mode == "screened" else None)
        give(broker, case.orders.get(done - 1, ()))
    return broker


# --- one market, however it is advanced ------------------------------------------------------------------------------


@quick
@given(accounts, seeds, st.sampled_from([3.0, 30.0]), st.booleans(), margins, matchings)
def test_blocks_ticks_and_snapshots_give_the_same_account(
    account: str, seed: int, leverage: float, balances: bool, rates: dict[str, float] | None, lots: str
) -> None:
    case = on_terms(make(account, seed, leverage=leverage, balances=balances), margin_rates=rates, lots=lots)
    blocks = run(case, "blocks")
    wanted = blocks.log.columns()
    booked = [(t.kind, t.at, t.instrument, t.amount, t.trade_date) for t in blocks.transactions(None)]
    for mode in MODES:
        other = run(case, mode)
        columns = other.log.columns()
        assert other.get_account_balance() == blocks.get_account_balance(), mode
        assert (columns.at == wanted.at).all()
        assert (columns.is_day_end == wanted.is_day_end).all()
        np.testing.assert_allclose(columns.nav, wanted.nav, rtol=1e-9)
        np.testing.assert_array_equal(columns.units, wanted.units)
        np.testing.assert_array_equal(columns.posted, wanted.posted)
        assert [(t.kind, t.at, t.instrument, t.amount, t.trade_date) for t in other.transactions(None)] == booked


def parted(case: Case, cuts: set[int]) -> tuple[list[Any], list[Transaction]]:
    """What the account is after every snapshot, and all transactions; after the ticks ``cuts`` the venue is made anew
    from the text of its state, right after the snapshot or after the orders that follow it.
    """

    def anew(broker: SimBroker) -> SimBroker:
        text = json.dumps(broker.state(), allow_nan=False)
        other = SimBroker(**case.about)
        other.restore(json.loads(text))
        assert json.dumps(other.state(), allow_nan=False) == text
        return other

    broker, seen, booked = SimBroker(**case.about), [], []
    broker.get_instruments([Pair.parse(p) for p in PAIRS])
    ids = [order.client_id for orders in case.orders.values() for order in orders]
    given_before = case.orders.get(-1, [])
    give(broker, given_before)
    for tick, snapshot in enumerate(snapshots(case)):
        account = broker.sync(snapshot)
        money = (account.nav, account.balances, account.margin_used, account.current_weights)
        held = (dict(account.positions), broker.adverse(), [*map(list, broker.lot())])
        orders = (account.working_orders, broker.get_orders(), broker.find_orders(ids), broker.waiting())
        seen.append((account.at, money, held, orders, [*broker.events]))
        if tick in cuts and tick % 2:
            booked += broker.transactions(None)
            broker = anew(broker)
            give(broker, given_before)  # a second time: none is accepted
        given_before = case.orders.get(tick, [])
        give(broker, given_before)
        if tick % 3 == 0:
            broker.events.clear()
        if tick in cuts and not tick % 2:
            booked += broker.transactions(None)
            broker = anew(broker)
    return seen, booked + list(broker.transactions(None))


@quick
@given(accounts, seeds, st.sampled_from([3.0, 30.0]), st.booleans(), cuts, st.booleans(), margins, matchings)
def test_a_venue_restored_from_text_goes_on_to_the_bit(
    account: str,
    seed: int,
    leverage: float,
    balances: bool,
    cuts: set[int],
    is_rough: bool,
    rates: dict[str, float] | None,
    lots: str,
) -> None:
    case = on_terms(make(account, seed, leverage=leverage, balances=balances), margin_rates=rates, lots=lots)
    if is_rough:
        rough = Frictions(
            latency=timedelta(hours=7), largest_fill=CASH[account] / 3, reject_rate=0.2, closed_market="wait"
        )
        case = on_terms(case, frictions=rough)
    whole, restored = parted(case, set()), parted(case, cuts)
    for one, other in zip(whole[0], restored[0]):
        assert repr(one) == repr(other)  # NaN, where flat, equals NaN
    assert whole[1] == restored[1]
    assert len({t.id for t in whole[1]}) == len(whole[1])


@quick
@given(accounts, seeds)
def test_the_same_inputs_give_the_same_run(account: str, seed: int) -> None:
    one, other = (run(make(account, seed), "blocks") for _ in range(2))
    assert list(one.transactions(None)) == list(other.transactions(None))
    assert (one.log.columns().nav == other.log.columns().nav).all()


@quick
@given(accounts, seeds, st.booleans())
def test_what_comes_later_changes_nothing_before(account: str, seed: int, spreads: bool) -> None:
    case = make(account, seed, spreads=spreads, flat_rates=False)
    half = len(case.clock) // 2
    spot = case.history.spot.copy()
    spot[case.clock.row[half] + 1 :] *= 1.5
    changed = attrs.evolve(case, history=attrs.evolve(case.history, spot=spot))
    one, other = run(case, "ticks").log.columns(), run(changed, "ticks").log.columns()
    np.testing.assert_array_equal(one.nav[: half + 1], other.nav[: half + 1])
    np.testing.assert_array_equal(one.units[: half + 1], other.units[: half + 1])


# --- financing -------------------------------------------------------------------------------------------------------


@quick
@given(accounts, seeds)
def test_each_roll_is_the_formula_on_what_was_open(account: str, seed: int) -> None:
    case = make(account, seed, flat_rates=False)
    broker = run(case, "ticks")
    columns = broker.log.columns()
    financing, cent = case.about["financing"], 0.5 / 10 ** minor_digits(account)
    rolls = [t for t in broker.transactions(None) if t.kind == "financing"]
    assert len({(t.instrument, t.trade_date) for t in rolls}) == len(rolls)
    for t in rolls:
        tick = int(np.flatnonzero(columns.at == np.datetime64(t.at.replace(tzinfo=None), "ns"))[0])
        j = broker.names.index(t.instrument)
        # What is filled at the instant of the roll does not take part: then it is the book of the tick before.
        at_roll = case.history.times[case.clock.row[tick]] == columns.at[tick]
        units = float(columns.units[max(tick - 1, 0) if at_roll else tick, j])
        pair, price = Pair.parse(t.instrument), float(columns.mid[tick, j])
        assert t.trade_date is not None
        days = roll_days(pair, t.trade_date)
        assert t.days == days
        if isinstance(financing, PairRateFinancing):
            table: Any = financing.long_rate if units > 0 else financing.short_rate
            amount = abs(units) * price * table[t.instrument] * days / 365
        else:
            base, quote = (case.history.rates[c].get(t.at) for c in pair)
            assert base is not None
            assert quote is not None
            earned = base.value / base.day_count - quote.value / quote.day_count
            amount = units * price * days * earned - abs(units) * price * days * financing.markup / 365
        assert abs(float(t.amount) - amount * float(columns.conversion[tick, j])) <= cent * (1 + 1e-6)


@quick
@given(accounts, seeds, st.sampled_from([3.0, 30.0]))
def test_balance_interest_is_what_the_postings_say_less_an_idle_account(
    account: str, seed: int, leverage: float
) -> None:
    case = make(account, seed, leverage=leverage, flat_rates=False, balances=True)
    broker = run(case, "blocks")
    columns, model = broker.log.columns(), case.about["financing"]
    scale = 10 ** minor_digits(account)
    cash, pairs = Decimal(CASH[account]), [Pair.parse(p) for p in PAIRS]
    booked: dict[int, list[Any]] = {}
    for t in broker.transactions(None):
        booked.setdefault(int(t.id[:8]), []).append(t)
    for tick, day in enumerate(columns.day.astype("datetime64[D]").tolist()):
        here = booked.get(tick, [])
        fills = sum((t.amount for t in here if t.kind != "financing"), Decimal(0))
        posted = {t.instrument: t for t in here if t.kind == "financing"}
        at_roll = case.history.times[case.clock.row[tick]] == columns.at[tick] and bool(columns.is_day_end[tick])
        row = tick - 1 if at_roll else tick
        balances = dict.fromkeys(LEVEL, Decimal(0))
        worth = {account: Decimal(1)}
        balances[account] = cash + (0 if at_roll else fills)
        for j, pair in enumerate(pairs):
            worth[pair.base] = to_decimal(float(columns.base_value[tick, j]))
            worth[pair.quote] = to_decimal(float(columns.conversion[tick, j]))
            if row >= 0:
                units, average = (to_decimal(float(x[row, j])) for x in (columns.units, columns.average))
                balances[pair.base] += units
                balances[pair.quote] -= units * average
        nav = sum((b * worth[c] for c, b in balances.items()), Decimal(0))
        at = from_ns(columns.at[tick])
        quotes = {Pair(c, account): Quote(w, w, at) for c, w in worth.items() if c != account}
        market = Snapshot(at, quotes, {c: r for c in LEVEL if (r := case.history.rates[c].get(at)) is not None})

        def interest(market: Snapshot = market, nav: Decimal = nav, day: date = day, **held: Decimal) -> Any:
            book = Account(id="a", at=market.at, currency=account, nav=nav, balances=held, positions={})
            return {p.currency: p for p in model.postings(book, market, day)}

        if not columns.is_day_end[tick] or abs(balances[account] - nav) < Decimal("1e-9") * nav:
            assert not posted or columns.is_day_end[tick]
        else:
            due, idle = interest(**{c: b for c, b in balances.items() if abs(b) > 1e-6}), interest(**{account: nav})
            for currency in LEVEL:
                amount = due[currency].amount * worth[currency] if currency in due else Decimal(0)
                if currency == account:
                    amount -= idle[account].amount if nav else 0
                line = posted.get(currency)
                assert abs(float((line.amount if line else 0) - amount)) <= (0.5 + 1e-6) / scale, (day, currency)
                if line is not None:
                    assert line.days == due[currency].days
                    assert float(line.units) == pytest.approx(float(balances[currency]), rel=1e-9, abs=1e-6)
        cash += fills + sum(t.amount for t in posted.values())
    assert cash == broker.get_account_balance()
    books = attribute(broker.log)  # balances to the cent, or raises
    assert books.carry_by_instrument.sum() == pytest.approx(books.carry.sum(), abs=1e-6)


def one_roll(base: float, quote: float, days: int = 3, count: int = 1) -> RollInputs:
    ones = np.ones((1, count))
    return RollInputs(
        names=("AUDJPY",),
        price=97.5 * ones,
        days=days * ones,
        base_rate=base * ones,
        quote_rate=quote * ones,
        base_day_count=np.array([365.0]),
        quote_day_count=np.array([365.0]),
    )


@quick
@given(rates, rates, st.floats(0, 0.05), st.integers(0, 6), st.sampled_from([None, 360, 365]))
def test_a_markup_always_costs_both_sides(
    base: float, quote: float, markup: float, days: int, year: int | None
) -> None:
    free = BenchmarkFinancing(0.0, year).per_unit(one_roll(base, quote, days))
    marked = BenchmarkFinancing(markup, year).per_unit(one_roll(base, quote, days))
    for without, with_ in zip(free, marked):
        assert float((without - with_).item()) == pytest.approx(97.5 * markup * days / (year or 365), abs=1e-12)
    assert float((free[0] + free[1]).item()) == pytest.approx(0, abs=1e-15)
    assert float((marked[0] + marked[1]).item()) <= 1e-15


@quick
@given(rates, rates, st.floats(0, 0.05), st.floats(0, 0.05), trade_dates, sides)
def test_markups_by_currency_agree_on_arrays_and_on_postings(
    base: float, quote: float, one: float, other: float, day: date, side: int
) -> None:
    model = BenchmarkFinancing({"AUD": one, "default": other})
    at = from_ns(session_ends(np.array([day], "datetime64[D]"))[0])
    price = Quote(Decimal("97.5"), Decimal("97.5"), at)
    known = {c: Rate(value=v, as_of=at, available_at=at, day_count=365) for c, v in (("AUD", base), ("JPY", quote))}
    held = Position(instrument="AUDJPY", units=Decimal(1000 * side), average_price=Decimal(1))
    book = Account(id="a", at=at, currency="USD", nav=Decimal(1), balances={}, positions={"AUDJPY": held})
    (posting,) = model.postings(book, Snapshot(at, {Pair("AUD", "JPY"): price}, known), day)
    long, short = model.per_unit(one_roll(base, quote, posting.days))
    assert float(posting.amount) == pytest.approx(1000 * float((long if side > 0 else short).item()), abs=1e-8)
    free = BenchmarkFinancing().per_unit(one_roll(base, quote, posting.days))
    assert float((free[0] - long).item()) == pytest.approx(97.5 * max(one, other) * posting.days / 365, abs=1e-10)


@quick
@given(rates, rates, sides)
def test_the_side_that_holds_the_higher_rate_is_paid(base: float, quote: float, side: int) -> None:
    long, short = BenchmarkFinancing().per_unit(one_roll(base, quote))
    received = float((long if side > 0 else short).item())
    assert np.sign(received) == np.sign(round(side * (base - quote), 12))


@quick
@given(trade_dates, st.sampled_from(PAIRS), st.integers(1, 10**7), sides, rates, rates, st.sampled_from([0.0, 0.01]))
def test_postings_are_unique_mirrored_and_in_quote_currency(
    day: date, name: str, size: int, side: int, base: float, quote: float, markup: float
) -> None:
    at = from_ns(session_ends(np.array([day], "datetime64[D]"))[0])
    pair = Pair.parse(name)
    price = Quote(Decimal("1.25"), Decimal("1.25"), at)

    def rate(value: float) -> Rate:
        return Rate(value=value, as_of=at, available_at=at)

    snapshot = Snapshot(at, {pair: price}, {pair.base: rate(base), pair.quote: rate(quote)})

    def account(units: int) -> Account:
        held = Position(instrument=name, units=Decimal(units), average_price=Decimal(1))
        return Account(id="a", at=at, currency="USD", nav=Decimal(1), balances={}, positions={name: held})

    model = BenchmarkFinancing(markup)
    (one,) = model.postings(account(side * size), snapshot, day)
    (mirror,) = model.postings(account(-side * size), snapshot, day)
    assert one.currency == pair.quote
    assert one.days == roll_days(pair, day)
    assert float(one.amount + mirror.amount) == pytest.approx(-2 * size * 1.25 * markup * one.days / 365, abs=1e-9)
    (double,) = model.postings(account(2 * side * size), snapshot, day)
    assert float(double.amount) == pytest.approx(2 * float(one.amount), rel=1e-12)
    book = FinancingBook()
    assert [len(book.new([one])), len(book.new([one])), len(book.new([one, mirror]))] == [1, 0, 1]


# --- orders ----------------------------------------------------------------------------------------------------------


@quick
@given(accounts, seeds)
def test_a_reducing_order_never_turns_or_adds(account: str, seed: int) -> None:
    case = make(account, seed)
    broker = run(case, "ticks")
    held = dict.fromkeys(PAIRS, Decimal(0))
    reducing = {o.client_id for orders in case.orders.values() for o in orders if o.is_reducing}
    for t in broker.transactions(None):
        if t.kind == "fill":
            after = held[t.instrument] + t.units
            if t.client_id in reducing or t.client_id.startswith(("stop-", "margin-")):
                assert abs(after) < abs(held[t.instrument])
                assert after * held[t.instrument] >= 0
            held[t.instrument] = after
    assert {n: u for n, u in held.items() if u} == {n: p.units for n, p in broker.get_positions().items()}


@quick
@given(accounts, seeds)
def test_every_order_is_filled_at_most_once_and_never_at_the_quote_it_saw(account: str, seed: int) -> None:
    case = make(account, seed)
    broker = run(case, "ticks")
    placed = {o.client_id: t for t, orders in case.orders.items() for o in orders}
    fills = [t for t in broker.transactions(None) if t.kind == "fill" and t.client_id in placed]
    assert len({t.client_id for t in fills}) == len(fills)
    for t in fills:
        tick = placed[t.client_id]
        assert tick < 0 or np.datetime64(t.at.replace(tzinfo=None)) > case.clock.at[tick]
        result = broker.find_orders([t.client_id])[t.client_id]
        assert (result.status, result.filled_units, result.price) == (OrderStatus.FILLED, t.units, t.price)
    before = list(broker.transactions(None))
    for orders in case.orders.values():
        give(broker, orders)  # the same ids again
    assert len(broker.get_orders()) == len({r.client_id for r in broker.get_orders()})
    assert list(broker.transactions(None)) == before
    final = [o.client_id for o in broker.account().working_orders]
    assert not set(final) & {t.client_id for t in fills}


@quick
@given(accounts, seeds)
def test_a_limit_is_kept(account: str, seed: int) -> None:
    case = make(account, seed)
    limits = {o.client_id: o for orders in case.orders.values() for o in orders if o.limit_price is not None}
    for t in run(case, "blocks").transactions(None):
        if t.kind == "fill" and t.client_id in limits:
            order = limits[t.client_id]
            assert t.price is not None
            assert order.limit_price is not None
            assert (t.price - order.limit_price) * order.units <= 0


# --- the account -----------------------------------------------------------------------------------------------------


@quick
@given(accounts, seeds, st.booleans(), margins, matchings)
def test_nav_is_cash_and_open_profit_and_exposures_sum_to_nothing(
    account: str, seed: int, spreads: bool, rates: dict[str, float] | None, lots: str
) -> None:
    case = on_terms(make(account, seed, spreads=spreads), margin_rates=rates, lots=lots)
    broker = run(case, "ticks")
    state, columns = broker.account(), broker.log.columns()
    worth = {account: 1.0}
    for pair, base, quote in zip(map(Pair.parse, PAIRS), columns.base_value[-1], columns.conversion[-1]):
        worth[pair.base], worth[pair.quote] = float(base), float(quote)
    net = dict.fromkeys(LEVEL, 0.0)
    margin = 0.0
    for name, position in state.positions.items():
        pair = Pair.parse(name)
        net[pair.base] += float(position.units) * worth[pair.base]
        net[pair.quote] -= float(position.units * position.average_price) * worth[pair.quote]
        margin += abs(float(position.units)) * worth[pair.base] * (rates or {}).get(name, 1 / 30)
    nav = float(state.nav)
    # What is owned less what is owed, over all currencies, is the open profit: nothing on the day it was opened.
    assert nav == pytest.approx(float(state.cash) + sum(net.values()), rel=1e-9)
    own = net.pop(account)
    exposure = {c: state.current_weights.get(c, 0.0) * nav for c in net}
    assert exposure == pytest.approx(net, abs=1e-6 * abs(nav))
    assert account not in state.current_weights
    assert sum(exposure.values()) + own + float(state.cash) == pytest.approx(nav, rel=1e-9)
    assert float(state.margin_used) == pytest.approx(margin, rel=1e-9)


@quick
@given(accounts, seeds, margins)
def test_what_is_open_is_above_the_close_out_and_what_was_closed_out_was_not(
    account: str, seed: int, rates: dict[str, float] | None
) -> None:
    case = on_terms(make(account, seed, leverage=30.0), margin_rates=rates)
    broker = run(case, "blocks")
    columns, closed = broker.log.columns(), {}
    required = np.abs(columns.units) * columns.base_value @ np.array([(rates or {}).get(p, 1 / 30) for p in PAIRS])
    assert (columns.nav[required > 0] > 0.5 * required[required > 0] * (1 - 1e-12)).all()
    for fill in broker.log.fills:
        if fill.order.reason == "margin close-out":
            size = abs(fill.units) * columns.base_value[fill.tick, fill.instrument]
            rate = (rates or {}).get(PAIRS[fill.instrument], 1 / 30)
            closed[fill.tick] = closed.get(fill.tick, 0.0) + size * rate
    for tick, margin in closed.items():  # closing costs half a spread at most 20 + 20 bp, and a commission
        assert columns.nav[tick] <= 0.5 * margin


@quick
@given(accounts, seeds, st.booleans())
def test_lots_change_what_is_realised_and_no_more(account: str, seed: int, spreads: bool) -> None:
    case = make(account, seed, spreads=spreads)
    orders = {t: [attrs.evolve(o, stop_fraction=None) for o in given_] for t, given_ in case.orders.items()}
    case = attrs.evolve(case, orders=orders)  # a stop follows the entry, which lots move
    fifo, average = (run(on_terms(case, lots=lots), "blocks") for lots in ("fifo", "average"))
    np.testing.assert_array_equal(fifo.log.columns().units, average.log.columns().units)
    one, other = attribute(fifo.log), attribute(average.log)
    for term in ("spot", "carry", "cost"):
        np.testing.assert_allclose(getattr(one, term), getattr(other, term), rtol=1e-9, atol=1e-5)
    own = [j for j, pair in enumerate(PAIRS) if pair.endswith(account)]
    fills = {name: [f for f in broker.log.fills if f.instrument in own] for name, broker in
             (("fifo", fifo), ("average", average))}  # fmt: skip
    held = average.log.columns().units[-1]
    for j in own:
        realised = {name: sum(f.realized for f in of if f.instrument == j) for name, of in fills.items()}
        if not held[j]:  # once flat, both realised all there was
            assert realised["fifo"] == pytest.approx(realised["average"], rel=1e-9, abs=1e-5)


@quick
@given(st.lists(st.tuples(st.sampled_from(PAIRS), st.integers(-(10**5), 10**5).filter(bool)), min_size=1, max_size=5))
def test_right_after_opening_net_exposures_are_nothing(trades: list[tuple[str, int]]) -> None:
    case = make("USD", 1)
    broker = SimBroker(cash=10**9)
    broker.get_instruments([Pair.parse(p) for p in PAIRS])
    for n, (name, units) in enumerate(trades):
        broker.place_market_order(Order(client_id=f"{n}", instrument=name, units=Decimal(units)))
    at = from_ns(case.clock.at[0])
    quotes = {Pair(c, "USD"): Quote(to_decimal(v), to_decimal(v), at) for c, v in LEVEL.items() if c != "USD"}
    account = broker.sync(Snapshot(at, quotes))
    dollars = sum(
        float(p.units) * (1 if n[:3] == "USD" else 0) - float(p.units * p.average_price) * (1 if n[3:] == "USD" else 0)
        for n, p in account.positions.items()
    )
    assert sum(account.current_weights.values()) * float(account.nav) + dollars == pytest.approx(0, abs=1e-4)
    assert float(account.nav) == pytest.approx(10**9, abs=1e-4)


@quick
@given(seeds, st.sampled_from([2, 3, 10]))
def test_money_scales_with_the_book(seed: int, factor: int) -> None:
    case = make("USD", seed)
    orders = {t: [attrs.evolve(o, units=o.units * factor) for o in given_] for t, given_ in case.orders.items()}
    larger = attrs.evolve(case, orders=orders, about={**case.about, "cash": case.about["cash"] * factor})
    one, many = run(case, "blocks"), run(larger, "blocks")
    profit, scaled = one.log.columns().nav - 10**6, many.log.columns().nav - 10**6 * factor
    postings = len(list(one.transactions(None))) + len(list(many.transactions(None)))
    np.testing.assert_allclose(scaled, profit * factor, atol=0.005 * (factor + 1) * (postings + 1), rtol=1e-9)
    np.testing.assert_array_equal(many.log.columns().units, one.log.columns().units * factor)


@quick
@given(seeds, st.integers(1, 10**6), sides)
def test_long_a_pair_is_short_its_inverse(seed: int, units: int, side: int) -> None:
    # In euro: long EURUSD by so many euro mirrors short USDEUR by the dollars they cost.
    random = np.random.default_rng(seed)
    dollars = np.round(1.1 * np.exp(random.normal(0, 0.01, 8).cumsum()), 5)
    ends = session_ends(np.busday_offset(np.datetime64("2025-03-03"), np.arange(8), roll="forward"))
    flat = {c: RateSeries(c, ends[:1] - 1, ends[:1] - 1, np.array([0.02])) for c in ("EUR", "USD")}
    history = MarketHistory(ends - np.timedelta64(60, "s"), ("USD",), 1 / dollars[:, None], "EUR", flat)
    clock = SteppedClock.over(history)

    def profit(pair: str, size: float) -> np.ndarray:
        broker = SimBroker(account_currency="EUR", cash=10**8)
        broker.get_instruments([Pair.parse(pair)])
        broker.prepare(history, clock)
        broker.place_market_order(Order(client_id="a", instrument=pair, units=to_decimal(size)))
        broker.advance(len(clock))
        nav: np.ndarray = broker.log.columns().nav - 1e8
        return nav

    long, short = profit("EURUSD", side * units), profit("USDEUR", -side * units * float(dollars[0]))
    np.testing.assert_allclose(long, short, atol=1e-5)
    np.testing.assert_allclose(long, side * units * (1 - dollars[0] / dollars), atol=1e-5)


@quick
@given(rates, rates, st.sampled_from([0.0, 0.01]), sides)
def test_the_financing_of_a_pair_mirrors_that_of_its_inverse(
    euro: float, dollar: float, markup: float, side: int
) -> None:
    price = 1.25
    model = BenchmarkFinancing(markup)

    def per_unit(base: float, quote: float, at: float) -> float:
        inputs = attrs.evolve(one_roll(base, quote), price=np.full((1, 1), at))
        return float(model.per_unit(inputs)[0 if side > 0 else 1].item())

    def inverse(base: float, quote: float, at: float) -> float:
        inputs = attrs.evolve(one_roll(base, quote), price=np.full((1, 1), at))
        return float(model.per_unit(inputs)[1 if side > 0 else 0].item())

    in_euro = 1000 * per_unit(euro, dollar, price) / price  # long EURUSD, booked in dollars
    assert in_euro == pytest.approx(1000 * price * inverse(dollar, euro, 1 / price), abs=1e-12)


@quick
@given(accounts, seeds)
def test_trading_costs_only_ever_cost(account: str, seed: int) -> None:
    case = make(account, seed, spreads=bool(seed % 2))
    books = attribute(run(case, "blocks").log)
    assert (books.cost <= 1e-9).all()
    free = attrs.evolve(case, about={**case.about, "costs": None})
    if case.history.half_spread is None:
        assert not np.abs(attribute(run(free, "blocks").log).cost).max() > 1e-6


# --- nothing missing is zero -----------------------------------------------------------------------------------------


@quick
@given(accounts, seeds, st.sampled_from(sorted(LEVEL)), st.booleans())
def test_a_missing_rate_or_quote_is_an_error(account: str, seed: int, currency: str, is_rate: bool) -> None:
    case = make(account, seed)
    broker = SimBroker(**{**case.about, "financing": BenchmarkFinancing()})
    broker.get_instruments([Pair.parse(p) for p in PAIRS])
    used = {c for p in PAIRS for c in Pair.parse(p)}
    at = from_ns(case.clock.at[0])
    quotes = {
        Pair(c, account): Quote(to_decimal(LEVEL[c] / LEVEL[account]), to_decimal(LEVEL[c] / LEVEL[account]), at)
        for c in used - {account}
    }
    known = {c: Rate(value=0.02, as_of=at, available_at=at) for c in used}
    broker.sync(Snapshot(at, quotes, known))
    if is_rate:
        del known[currency]
    elif currency == account:
        return
    else:
        del quotes[Pair(currency, account)]
    with pytest.raises(MissingDataError, match=currency):
        broker.sync(Snapshot(at + timedelta(hours=1), quotes, known))
    assert float(broker.account().nav) == CASH[account]


@quick
@given(accounts, seeds, st.sampled_from(sorted(LEVEL)))
def test_a_history_without_a_rate_is_an_error(account: str, seed: int, currency: str) -> None:
    case = make(account, seed)
    left = {c: r for c, r in case.history.rates.items() if c != currency}
    holes = attrs.evolve(
        case,
        history=attrs.evolve(case.history, rates=left),
        about={**case.about, "financing": BenchmarkFinancing()},
    )
    with pytest.raises(MissingDataError, match=currency):
        run(holes, "blocks")
