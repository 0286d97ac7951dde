"""What holds of fxcarry.ledger for every book: the parts are the whole, and every entry balances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.costs import Costs
from fxcarry.errors import LedgerError
from fxcarry.financing import BenchmarkFinancing, PairRateFinancing
from fxcarry.ledger import Attribution, Ledger, attribute
from fxcarry.lots import MATCHINGS
from fxcarry.model import Order, Pair, Quote, Rate, Snapshot, Transaction, minor_digits, to_decimal
from fxcarry.simulation import SimBroker

quick = settings(max_examples=25, deadline=None, derandomize=True)
PRICE = {"EURUSD": 1.1, "GBPUSD": 1.25, "AUDUSD": 0.65, "USDCAD": 1.4, "USDJPY": 150.0}
WORTH = {"EUR": 1.1, "GBP": 1.25, "AUD": 0.65, "CAD": 0.71, "JPY": 1 / 150, "USD": 1.0}
TRADED = ("EURUSD", "USDJPY", "USDCAD", "AUDJPY", "EURGBP", "CADJPY", "GBPAUD")
CASH = {"USD": 1_000_000, "EUR": 1_000_000, "JPY": 150_000_000}
LONG_AGO = datetime(2004, 1, 1, tzinfo=UTC)

accounts = st.sampled_from(sorted(CASH))
seeds = st.integers(0, 2**32 - 1)
matchings = st.sampled_from(MATCHINGS)


def lived(account: str, seed: int, leverage: float = 2.0, lots: Any = "average") -> SimBroker:
    """A venue after some weeks of snapshots at odd times, with spreads, orders, rolls and holidays at random."""
    random = np.random.default_rng(seed)
    long, short = ({p: round(random.uniform(-0.1, 0.1), 4) for p in TRADED} for _ in range(2))
    financing = BenchmarkFinancing(markup=0.01) if random.integers(2) else PairRateFinancing(long, short)
    broker = SimBroker(
        cash=CASH[account],
        account_currency=account,
        financing=financing,
        costs=Costs(spread_multiplier=0.0, commission_bps=float(random.choice([0.0, 0.3]))),
        lots=lots,
    )
    broker.get_instruments([Pair.parse(p) for p in TRADED])
    at = datetime(2005, 1, 3, tzinfo=UTC) + timedelta(days=int(random.integers(0, 24 * 365)))
    price = dict(PRICE)
    known = {
        c: Rate(
            value=round(random.uniform(-0.01, 0.08), 4),
            day_count=365 if c in ("GBP", "AUD", "CAD") else 360,
            as_of=LONG_AGO,
            available_at=LONG_AGO,
        )
        for c in WORTH
    }
    for n in range(14):
        at += timedelta(seconds=int(random.choice([60, 3600, 40_000, 90_000, 300_000])))
        quotes = {}
        for pair in PRICE:
            price[pair] *= float(np.exp(random.normal(0, 0.005)))
            half = float(random.choice([0.0, 1e-4, 1e-3]))
            bid, ask = (to_decimal(round(price[pair] * (1 + s * half), 6)) for s in (-1, 1))
            quotes[Pair.parse(pair)] = Quote(bid, ask, at)
        broker.sync(Snapshot(at, quotes, known))
        for name in random.permutation(TRADED)[: random.integers(0, 4)].tolist():
            size = random.normal(0, leverage / 5) * CASH[account] * WORTH[account] / WORTH[name[:3]]
            units = Decimal(int(size) + (1000 if size > 0 else -1000))
            stop = 0.004 if random.random() < 0.2 else None
            reducing = bool(random.random() < 0.3)
            broker.place_market_order(
                Order(client_id=f"{n}-{name}", instrument=name, units=units, stop_fraction=stop, is_reducing=reducing)
            )
    return broker


def marks_of(columns: Any) -> list[int]:
    """The last tick of each day, and of the whole."""
    ends = np.flatnonzero(columns.is_day_end).tolist()
    last = len(columns.at) - 1
    return ends if ends and ends[-1] == last else [*ends, last]


@quick
@given(accounts, seeds, st.sampled_from([2.0, 20.0]), matchings)
def test_the_parts_are_the_whole_to_the_cent(account: str, seed: int, leverage: float, lots: str) -> None:
    broker = lived(account, seed, leverage, lots)
    books, transactions = attribute(broker.log), list(broker.transactions(None))
    half = 0.5 / 10 ** minor_digits(account)
    change = np.diff(books.nav, prepend=float(CASH[account]))
    explained = sum(getattr(books, term) for term in Attribution.TERMS)
    np.testing.assert_allclose(explained, change, atol=half / 10)
    assert books.nav[-1] == pytest.approx(float(broker.account().nav), abs=1e-6)
    # No part is what is left over: each is what the transactions say it is.
    financing = [t for t in transactions if t.kind == "financing"]
    assert books.carry.sum() == pytest.approx(float(sum(t.amount for t in financing)), abs=half * (len(financing) + 70))
    assert abs(books.rounding).sum() <= half * (len(transactions) + 7 * len(books.day) + 14)
    assert books.carry_by_instrument.sum() == pytest.approx(books.carry.sum(), abs=1e-6)
    assert books.cost_by_instrument.sum() == pytest.approx(books.cost.sum(), abs=1e-6)
    assert books.spot_by_instrument.sum() == pytest.approx((books.spot + books.translation).sum(), abs=1e-4)


@quick
@given(accounts, seeds)
def test_each_part_by_its_own_formula(account: str, seed: int) -> None:
    broker = lived(account, seed)
    books, columns = attribute(broker.log), broker.log.columns()
    marks = marks_of(columns)
    assert [str(d) for d in books.day] == [str(columns.day[m]) for m in marks]
    instants = [columns.at[m] for m in marks]
    fills = [t for t in broker.transactions(None) if t.kind == "fill"]
    bps = broker.costs.commission_bps * 1e-4
    spot, cost, translation = (np.zeros(len(marks)) for _ in range(3))
    for j, name in enumerate(TRADED):
        units = average = 0.0
        for d, mark in enumerate(marks):
            before = marks[d - 1] if d else mark
            mid, rate = columns.mid[mark, j], columns.conversion[mark, j]
            open_profit = units * (columns.mid[before, j] - average)
            spot[d] += (mid - columns.mid[before, j]) * units * rate
            translation[d] += open_profit * (rate - columns.conversion[before, j])
            for t in fills:
                at = np.datetime64(t.at.replace(tzinfo=None), "ns")
                if t.instrument != name or not (d == 0 or at > instants[d - 1]) or at > instants[d]:
                    continue
                assert t.price is not None
                assert t.mid is not None
                assert t.conversion is not None
                price, traded, x = float(t.price), float(t.units), float(t.conversion)
                spot[d] += (mid - float(t.mid)) * traded * rate
                cost[d] -= (price - float(t.mid)) * traded * rate + bps * abs(traded) * price * x
                after = units + traded
                if units * traded < 0:
                    realized = (price - average) * min(abs(traded), abs(units)) * np.sign(units)
                    translation[d] += realized * (x - rate)
                    average = average if abs(traded) < abs(units) else price
                else:
                    average = (units * average + traded * price) / after
                units = after
    np.testing.assert_allclose(books.spot, spot, atol=1e-4)
    np.testing.assert_allclose(books.cost, cost, atol=1e-4)
    np.testing.assert_allclose(books.translation, translation, atol=1e-4)


def posted(broker: SimBroker) -> Ledger:
    """The log in double entry, with the opening deposit."""
    account = broker.account_currency
    ledger = Ledger(account, broker.log.lots)
    deposit = Decimal(CASH[account])
    ledger.post(Transaction(id="0", at=LONG_AGO, kind="transfer", amount=deposit, currency=account))
    for transaction in broker.log:
        ledger.post(transaction)
    return ledger


@quick
@given(accounts, seeds)
def test_every_transaction_balances_in_every_currency(account: str, seed: int) -> None:
    ledger = posted(lived(account, seed))
    for _, entries in ledger.entries:
        for currency in {e.currency for e in entries}:
            assert abs(sum((e.amount for e in entries if e.currency == currency), Decimal(0))) <= Decimal("1e-12")
    totals: dict[str, Decimal] = {}
    for (_, currency), amount in ledger.balances.items():
        totals[currency] = totals.get(currency, Decimal(0)) + amount
    assert max(map(abs, totals.values())) <= Decimal("1e-9")


@quick
@given(accounts, seeds, st.sampled_from([2.0, 20.0]))
def test_cash_is_the_same_in_the_ledger_the_log_and_at_the_venue(account: str, seed: int, leverage: float) -> None:
    broker = lived(account, seed, leverage)
    ledger, transactions = posted(broker), list(broker.transactions(None))
    cash = broker.get_account_balance()
    assert ledger.balance(f"Cash:{account}") == cash
    assert CASH[account] + sum(t.amount for t in transactions) == cash
    assert cash == round(cash, minor_digits(account))
    assert {t.currency for t in transactions} <= {account}
    assert len({t.id for t in transactions}) == len(transactions)
    assert [t.at for t in transactions] == sorted(t.at for t in transactions)


@quick
@given(accounts, seeds, matchings)
def test_nav_from_the_ledger_alone(account: str, seed: int, lots: str) -> None:
    broker = lived(account, seed, lots=lots)
    ledger, columns = posted(broker), broker.log.columns()
    nav = float(ledger.balance(f"Cash:{account}"))
    for j, name in enumerate(TRADED):
        pair = Pair.parse(name)
        base, quote = ledger.balance(f"Position:{name}", pair.base), ledger.balance(f"Position:{name}", pair.quote)
        held = broker.get_positions().get(name)
        assert base == (held.units if held else 0)
        assert ledger.balance(f"Trading:{name}", pair.base) == -base
        nav += float(base) * columns.base_value[-1, j] + float(quote) * columns.conversion[-1, j]
    assert nav == pytest.approx(float(broker.account().nav), abs=1e-4)
    half = Decimal(5) / 10 ** (minor_digits(account) + 1)
    fills = sum(t.kind == "fill" for t in broker.log)
    assert abs(ledger.balance("Rounding")) <= half * fills + Decimal("1e-6")


@quick
@given(accounts, seeds, st.integers(0, 10**6), st.sampled_from([1, -1]))
def test_a_minor_unit_that_comes_from_nowhere_is_found(account: str, seed: int, where: int, sign: int) -> None:
    broker = lived(account, seed)
    columns = broker.log.columns()
    marks, nav = marks_of(columns), columns.nav.copy()
    nav[marks[where % len(marks)] :] += sign / 10 ** minor_digits(account)
    with pytest.raises(LedgerError, match="do not balance"):
        attribute(broker.log, attrs.evolve(columns, nav=nav))
