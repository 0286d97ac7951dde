"""A year of ECB fixings on the fake account while its wire fails at random: the books are the venue's in the end."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fxcarry import plugins
from fxcarry.daemon import replay_instants
from fxcarry.engine import Engine
from fxcarry.errors import BrokerError, DataError
from fxcarry.feeds import MemoryFeed
from fxcarry.journal import SqliteJournal
from fxcarry.leak import rolls_of
from fxcarry.model import TradingState
from fxcarry.risk import default_rules
from fxcarry_oanda.testing.suites import DrivenBroker, client_of

BEGIN, END = datetime(2024, 1, 2, tzinfo=UTC), datetime(2025, 1, 10, tzinfo=UTC)
SCHEDULE = "0 17 * * 3"  # Wednesdays: 17:00 of a Friday finds the market closed
CALLS = (
    "POST */orders",
    "GET */sinceid",
    "GET /v3/accounts/101-004-1234567-001",
    "GET */pricing",
    "PUT */trades/*/orders",
    "GET */orders/@*",
)
FAULTS = ("lost", "unanswered", "hangs", "reset", "failed", "unavailable", "busy", "garbled")
QUIET = 8  # looks at the end without faults


def paid(told: list[dict[str, Any]]) -> Counter[tuple[str, str, Decimal]]:
    """Financing as the venue's own log has it: id, instrument and amount of every row."""
    return Counter(
        (one["id"], row["instrument"].replace("_", ""), Decimal(row["financing"]))
        for one in told
        for row in one.get("positionFinancings", ())
    )


@pytest.mark.skipif(find_spec("fxcarry_ecb") is None, reason="the plugin fxcarry-ecb is not installed")
def test_a_year_with_a_failing_wire_ends_with_the_books_of_the_venue(make_desk: Any, tmp_path: Path) -> None:
    registry = plugins.load()
    ecb, baseline = registry.get("feed", "ecb"), registry.get("strategy", "baseline")
    history = ecb.factory(ecb.config()).history(BEGIN - timedelta(days=300), END)
    feed = MemoryFeed(history, "ecb")
    looks = [
        look
        for at in replay_instants(history, BEGIN, END, SCHEDULE)
        for look in (at, at + timedelta(minutes=30))
        if look == at or at.weekday() == 2  # a second look where something was decided
    ]
    desk = make_desk(at=looks[0] - timedelta(days=1), timeout=0.15)
    journal = SqliteJournal(tmp_path / "journal.sqlite", account_id=desk.fake.account_id, account_currency="USD")

    def engine_on(broker: DrivenBroker) -> Engine:
        return Engine(
            feed=feed,
            broker=broker,
            strategy=baseline.factory(baseline.config()),
            rules=default_rules(),
            universe=("EUR", "JPY", "GBP", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK"),
            rebalance=SCHEDULE,
            journal=journal,
        )

    dice, failed, faults, restarts = random.Random(1), 0, 0, 0
    engine, is_new = engine_on(desk.broker), True
    for number, at in enumerate(looks):
        if number < len(looks) - QUIET:
            for _ in range(dice.choice((0, 0, 1, 1, 2))):
                desk.server.fail(dice.choice(CALLS), dice.choice(FAULTS), times=dice.choice((1, 1, 2, 4)))
                faults += 1
        try:
            if is_new:
                engine.recover(at)
                is_new = False
            engine.step(at)
        except (BrokerError, DataError):
            failed += 1
            if dice.random() < 0.2:  # the process ends here, and another one goes on
                client = client_of(desk.fake, desk.server, timeout=0.15)
                desk.broker.close()
                desk.broker = DrivenBroker(desk.fake, client)
                engine, is_new, restarts = engine_on(desk.broker), True, restarts + 1
    assert faults > 200
    assert failed > 40, "the faults did not bite"
    assert restarts > 5

    sent = Counter(
        one["clientExtensions"]["id"]
        for one in desk.fake.transactions
        if one["type"] == "MARKET_ORDER" and one.get("clientExtensions")
    )
    assert len(sent) > 100, "hardly anything was traded"
    assert [client_id for client_id, count in sent.items() if count > 1] == []
    assert not journal.unresolved()

    booked = list(journal.transactions())
    assert len({one.id for one in booked}) == len(booked)
    assert sum((one.amount for one in booked), Decimal(0)) == desk.fake.balance
    units: dict[str, Decimal] = {}
    for one in booked:
        if one.kind == "fill":
            units[one.instrument] = units.get(one.instrument, Decimal(0)) + one.units
    venue = {name.replace("_", ""): held for name, held in desk.fake.positions.items()}
    assert {name: held for name, held in units.items() if held} == venue != {}
    assert {name: position.units for name, position in desk.broker.get_positions().items()} == venue

    rows = Counter((o.id.partition("/")[0], o.instrument, o.amount) for o in booked if o.kind == "financing")
    assert rows == paid(desk.fake.transactions)
    assert sum(rows.values()) > 1000

    rolls = [roll for roll in rolls_of(journal, "USD", looks[-1]) if roll.difference is not None]
    assert len(rolls) > 1000
    worst = max(abs(roll.difference or 0) / (abs(roll.expected or 0) + 1) for roll in rolls)
    assert worst < Decimal("0.05"), "the venue paid something else than it publishes"

    assert engine.state.locked == frozenset()
    assert engine.state.trading is TradingState.ACTIVE
    stops = {o.instrument for o in desk.broker.get_orders() if o.client_id.startswith("stop-")}
    assert stops == venue.keys()
    journal.close()
