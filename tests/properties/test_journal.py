"""What holds of fxcarry.journal for every book: it alone gives back what the venue says, whatever was imported when."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.costs import Costs
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import MemoryJournal, SqliteJournal, ledger_from, nav_from, tax_lots
from fxcarry.model import (
    Order,
    OrderResult,
    OrderStatus,
    Pair,
    Quote,
    Rate,
    RiskState,
    Snapshot,
    TradingState,
    Transaction,
    to_decimal,
)
from fxcarry.simulation import SimBroker

few = settings(max_examples=8, deadline=None, derandomize=True)
PRICE = {"EURUSD": 1.1, "GBPUSD": 1.25, "USDCAD": 1.4, "USDJPY": 150.0}
WORTH = {"EUR": 1.1, "GBP": 1.25, "CAD": 0.71, "JPY": 1 / 150, "USD": 1.0}
TRADED = ("EURUSD", "USDJPY", "USDCAD", "EURGBP", "GBPJPY")
CASH = 1_000_000
LONG_AGO = datetime(2004, 1, 1, tzinfo=UTC)
texts = st.text(max_size=12)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
decimals = st.decimals(allow_nan=False, allow_infinity=False)
floats = st.floats(allow_nan=False, allow_infinity=False)


@contextmanager
def on_disk() -> Iterator[SqliteJournal]:
    with tempfile.TemporaryDirectory() as folder, SqliteJournal(Path(folder) / "j.db", account_id="A1") as journal:
        yield journal


def again(journal: SqliteJournal) -> SqliteJournal:
    journal.close()
    return journal


def lived(seed: int, journal: Any) -> tuple[SimBroker, Snapshot]:
    """A venue after some weeks at random, told to a journal as it went: now and then, in pieces, some of it twice."""
    random = np.random.default_rng(seed)
    broker = SimBroker(
        cash=CASH,
        financing=BenchmarkFinancing(markup=0.01),
        costs=Costs(spread_multiplier=0.0, commission_bps=float(random.choice([0.0, 0.3]))),
    )
    broker.get_instruments([Pair.parse(p) for p in TRADED])
    at = datetime(2005, 1, 3, tzinfo=UTC) + timedelta(days=int(random.integers(0, 8_000)))
    price = dict(PRICE)
    rates = {c: Rate(value=round(random.uniform(-0.01, 0.08), 4), as_of=LONG_AGO, available_at=LONG_AGO) for c in WORTH}
    for n in range(12):
        at += timedelta(seconds=int(random.choice([60, 3600, 40_000, 90_000, 300_000])))
        quotes = {}
        for name in PRICE:
            price[name] *= float(np.exp(random.normal(0, 0.005)))
            bid, ask = (to_decimal(round(price[name] * (1 + s * 1e-4), 6)) for s in (-1, 1))
            quotes[Pair.parse(name)] = Quote(bid, ask, at)
        snapshot = Snapshot(at, quotes, rates)
        with journal.atomic():
            journal.observe(snapshot)
            broker.sync(snapshot)
            for name in random.permutation(TRADED)[: random.integers(0, 4)].tolist():
                units = Decimal(int(random.normal(0, 0.3) * CASH / WORTH[name[:3]]) or 1)
                order = Order(client_id=f"{n}-{name}", instrument=name, units=units)
                journal.intend([order])
                journal.record([broker.place_market_order(order)])
            if random.random() < 0.5:
                since = journal.last_transaction_id() if random.random() < 0.7 else None
                journal.import_transactions(broker.transactions(since))
    journal.import_transactions(broker.transactions(journal.last_transaction_id()))
    journal.record(broker.find_orders(journal.unresolved()).values())
    return broker, snapshot


@few
@given(st.integers(0, 2**32 - 1))
def test_the_journal_alone_gives_the_venues_balance_and_nav(seed: int) -> None:
    with on_disk() as journal:
        broker, snapshot = lived(seed, journal)
        found = again(journal)
        transactions = found.transactions()
        assert transactions == list(broker.transactions(None))
        books = ledger_from(transactions, "USD", opening=Decimal(CASH))
        assert books.balance("Cash:USD") == broker.get_account_balance()
        held = {name: position.units for name, position in broker.get_positions().items()}
        for name in TRADED:
            assert books.balance(f"Position:{name}", name[:3]) == held.get(name, 0)
        nav = nav_from(found, "USD", opening=Decimal(CASH))
        assert float(nav) == pytest.approx(float(broker.account().nav), abs=1e-4)
        assert found.quotes() == snapshot.quotes
        waiting = [r.client_id for r in broker.get_orders() if r.status is OrderStatus.WORKING]
        assert found.unresolved() == [o.client_id for o in found.orders if o.client_id in waiting]


@few
@given(st.integers(0, 2**32 - 1))
def test_both_journals_say_the_same(seed: int) -> None:
    memory = MemoryJournal()
    with on_disk() as disk:
        lived(seed, memory)
        lived(seed, disk)
        found = again(disk)
        assert found.transactions() == memory.transactions()
        assert found.orders == memory.orders
        assert found.results == memory.recorded
        assert found.unresolved() == memory.unresolved()
        assert found.quotes() == memory.quotes()
        assert nav_from(found, "USD") == nav_from(memory, "USD")


@few
@given(st.integers(0, 2**32 - 1))
def test_lots_lose_no_unit_and_no_cent(seed: int) -> None:
    memory = MemoryJournal()
    lived(seed, memory)
    transactions = memory.transactions()
    found = tax_lots(transactions)
    for kind in ("financing", "commission"):
        booked = sum(t.amount for t in transactions if t.kind == kind)
        rest = sum(t.amount for t in found.unallocated if t.kind == kind)
        assert sum(getattr(lot, kind) for lot in found.lots) + rest == pytest.approx(booked, abs=Decimal("1e-18"))
    for name in TRADED:
        lots = [lot for lot in found.lots if lot.instrument == name]
        fills = [t for t in transactions if t.kind == "fill" and t.instrument == name]
        still = [lot for lot in lots if lot.closed_at is None]
        assert sum(lot.units for lot in still) == sum(t.units for t in fills)
        assert len({lot.units > 0 for lot in still}) <= 1
        assert sum(abs(lot.units) * (1 if lot.closed_at is None else 2) for lot in lots) == sum(
            abs(t.units) for t in fills
        )
        assert all(lot.closed_at is None or lot.closed_at >= lot.opened_at for lot in lots)
        if name.endswith("USD") and not still:
            booked = sum(t.amount for t in fills)
            assert sum(lot.realised for lot in lots) == pytest.approx(booked, abs=Decimal("0.005") * len(fills))


@few
@given(
    st.builds(
        Transaction,
        id=texts,
        at=moments,
        kind=st.sampled_from(["fill", "financing", "commission", "fee", "transfer"]),
        amount=decimals,
        currency=texts,
        instrument=texts,
        units=decimals,
        price=st.none() | decimals,
        mid=st.none() | decimals,
        conversion=st.none() | decimals,
        trade_date=st.none() | st.dates(),
        days=st.integers(0, 400),
        client_id=texts,
    ),
    st.builds(
        RiskState,
        trading=st.sampled_from(TradingState),
        day_start=floats,
        high_water=floats,
        halt_until=st.none() | moments,
        halted_at=st.none() | moments,
        latch=texts,
        stopped=st.frozensets(st.tuples(texts, st.sampled_from([1, -1]))),
    ),
    st.builds(
        OrderResult,
        client_id=texts,
        instrument=texts,
        status=st.sampled_from(OrderStatus),
        filled_units=decimals,
        price=st.none() | decimals,
        reason=texts,
    ),
    st.builds(
        Order,
        client_id=texts,
        instrument=texts,
        units=decimals,
        type=st.sampled_from(["market", "limit"]),
        limit_price=st.none() | decimals,
        is_reducing=st.booleans(),
        stop_fraction=st.none() | floats,
        reason=texts,
    ),
    st.dictionaries(texts, floats),
)
def test_every_record_comes_back_to_the_last_digit(
    transaction: Transaction, state: RiskState, result: OrderResult, order: Order, weights: dict[str, float]
) -> None:
    with on_disk() as journal:
        journal.import_transactions([transaction])
        journal.transition(transaction.at, state)
        journal.record([result])
        journal.intend([order])
        journal.keep_intention(transaction.at, weights, 3, order.reason)
        found = again(journal)
        assert found.import_transactions([transaction]) == 0
        for record, copy in (
            (transaction, found.transactions()[0]),
            (state, found.state()),
            (result, found.results[0]),
            (order, found.orders[0]),
        ):
            assert copy == record
            for field in attrs.fields(type(record)):  # 1.0 and 1.00 are equal, but not the same text
                if not isinstance(getattr(record, field.name), frozenset):
                    assert str(getattr(copy, field.name)) == str(getattr(record, field.name))
        standing = found.intention()
        assert standing is not None
        assert standing.weights == weights
