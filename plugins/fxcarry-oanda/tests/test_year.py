"""A year of ECB fixings traded on the fake account while its wire fails at random: the books are the same in the end."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fxcarry import plugins
from fxcarry.daemon import replay_instants
from fxcarry.engine import Engine
from fxcarry.errors import BrokerError, DataError
from fxcarry.feeds import MemoryFeed
from fxcarry.journal import SqliteJournal
from fxcarry.model import TradingState
from fxcarry.risk import default_rules

CALLS = (
    "POST */orders",
    "GET */sinceid",
    "GET /v3/accounts/101-*",
    "GET */pricing",
    "PUT */trades/*/orders",
    "GET */orders/@*",
)
FAULTS = ("lost", "unanswered", "hangs", "reset", "failed", "unavailable", "busy", "garbled")
SCHEDULE = "0 17 * * 3"  # Wednesdays: 17:00 of a Friday finds the market closed


def paid(told: list[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    """Financing as the venue's own log has it: id, instrument and amount of every row."""
    rows: Counter[tuple[str, str, str]] = Counter()
    for one in told:
        for row in one.get("positionFinancings", ()):
            rows[one["id"], row["instrument"].replace("_", ""), f"{Decimal(row['financing']):f}"] += 1
    return rows


@pytest.mark.ecb
@pytest.mark.parametrize("seed", [1, 2])
def test_a_year_with_a_failing_wire_ends_with_the_books_of_the_venue(make_desk: Any, tmp_path: Path, seed: int) -> None:
    found = plugins.load().get("feed", "ecb")
    ecb = found.factory(found.config())
    begin, end = datetime(2023, 6, 1, tzinfo=UTC), datetime(2025, 1, 20, tzinfo=UTC)
    feed = MemoryFeed(ecb.history(begin, end), "ecb")
    desk = make_desk(timeout=0.25, at=begin, is_quick=True)
    journal = SqliteJournal(tmp_path / "journal.sqlite", account_id=desk.fake.account_id, account_currency="USD")
    engine = Engine(
        feed=feed,
        broker=desk.broker,
        strategy="",  # type: ignore[arg-type]  # set below
        rules=default_rules(),
        universe=("EUR", "JPY", "GBP", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK"),
        rebalance=SCHEDULE,
        journal=journal,
    )
    engine.strategy = (
        plugins.load().get("strategy", "baseline").factory(plugins.load().get("strategy", "baseline").config())
    )
    looks = replay_instants(feed.history(None, None), datetime(2024, 1, 2, tzinfo=UTC), end, SCHEDULE)
    looks = [look for at in looks for look in (at, at + timedelta(minutes=30)) if look.weekday() < 5]
    dice, failed, faults = random.Random(seed), 0, 0
    engine.recover(looks[0])
    for number, at in enumerate(looks):
        if number < len(looks) - 12:  # the last days are quiet
            for _ in range(dice.choice((0, 0, 1, 1, 2))):
                desk.server.fail(dice.choice(CALLS), dice.choice(FAULTS), times=dice.choice((1, 1, 2, 4)))
                faults += 1
        else:
            desk.server.clear()
        try:
            engine.step(at)
        except (BrokerError, DataError):
            failed += 1
            if dice.random() < 0.1:  # a restart: a new engine on the same journal and account
                desk.broker._log.__init__(desk.broker._client, desk.broker._days)
                desk.broker.connect() if number >= len(looks) - 12 else None
    assert faults > 300
    assert failed > 50, "the faults did not bite"

    sent = Counter(
        one["clientExtensions"]["id"]
        for one in desk.fake.transactions
        if one["type"] == "MARKET_ORDER" and one.get("clientExtensions")
    )
    assert len(sent) > 100, "hardly anything was traded"
    assert {client_id for client_id, count in sent.items() if count > 1} == set()
    assert journal.unresolved() == []

    booked = list(journal.transactions())
    venue = {name.replace("_", ""): units for name, units in desk.fake.positions.items() if units}
    ours: dict[str, Decimal] = {}
    for one in booked:
        if one.kind == "fill":
            ours[one.instrument] = ours.get(one.instrument, Decimal(0)) + one.units
    assert {name: units for name, units in ours.items() if units} == venue != {}
    assert sum((one.amount for one in booked), Decimal(0)) == desk.fake.balance
    assert engine.state.locked == frozenset()
    assert engine.state.trading is TradingState.ACTIVE

    rows = Counter(
        (one.id.partition("/")[0], one.instrument, f"{one.amount:f}") for one in booked if one.kind == "financing"
    )
    assert rows == paid(desk.fake.transactions)
    assert sum(rows.values()) > 1000
    assert len({one.id for one in booked}) == len(booked)
    stops = {o.instrument for o in desk.broker.get_orders() if o.client_id.startswith("stop-")}
    assert stops == venue.keys()
    journal.close()
