"""fxcarry.journal: what a journal in memory and one on disk keep, and what the disk may do to the second."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import fxcarry
from fxcarry import Engine, MemoryFeed, SimBroker
from fxcarry.config import effective, load_config, to_toml
from fxcarry.errors import ConfigError, DataError, JournalError, JournalLocked, LedgerError
from fxcarry.journal import Command, Intention, Journal, JournalLock, MemoryJournal, SqliteJournal, export
from fxcarry.ledger import TransactionLog
from fxcarry.model import (
    Action,
    Alert,
    Decision,
    Instrument,
    Order,
    OrderResult,
    OrderStatus,
    Pair,
    Quote,
    RiskState,
    Snapshot,
    TradingState,
    Transaction,
    Verdict,
)
from fxcarry.orders import Plan
from fxcarry.plugins import load
from fxcarry.risk import default_rules
from fxcarry.secrets import Secret
from fxcarry.testing import market_history

AT = datetime(2025, 3, 12, 21, tzinfo=UTC)


def order(client_id: str) -> Order:
    return Order(client_id=client_id, instrument="EURUSD", units=Decimal(10))


def test_it_starts_empty() -> None:
    journal = MemoryJournal()
    for kept in (journal.decisions, journal.plans, journal.states, journal.orders):
        assert len(kept) == 0
    assert list(journal.results) == []
    assert journal.log is None


def test_orders_are_kept_in_the_order_of_intention() -> None:
    journal = MemoryJournal()
    journal.intend([order("a"), order("b")])
    journal.intend([])
    journal.intend([order("c")])
    assert [o.client_id for o in journal.orders] == ["a", "b", "c"]
    assert len(journal.plans) == 3


def test_decisions_are_kept_with_their_stage_and_verdicts() -> None:
    verdict = Verdict("rule", Action.REJECT, "NO")
    decision = Decision(AT, np.zeros(1), ("EURUSD",), [verdict], TradingState.ACTIVE, [lambda: verdict])
    journal = MemoryJournal()
    journal.decide("target", decision)
    journal.decide("orders", decision)
    assert [stage for stage, _ in journal.decisions] == ["target", "orders"]
    assert journal.decisions[0][1].verdicts == [verdict]


def test_states_are_kept_with_their_instant() -> None:
    journal = MemoryJournal()
    state = RiskState(day_start=1.0, high_water=2.0, trading=TradingState.HALTED, latch="DRAWDOWN")
    journal.transition(AT, state)
    assert journal.states == [(AT, state)]


def test_results_are_what_the_venue_says_of_the_orders_intended() -> None:
    said = {
        "a": OrderResult(client_id="a", instrument="EURUSD", status=OrderStatus.FILLED),
        "x": OrderResult(client_id="x", instrument="EURUSD", status=OrderStatus.FILLED),
    }

    def find(ids: Collection[str]) -> Mapping[str, OrderResult]:
        return {c: said[c] for c in ids if c in said}

    journal = MemoryJournal()
    log = TransactionLog("USD", 1_000.0)
    journal.follow(log, find)
    assert journal.log is log
    assert list(journal.results) == []
    journal.intend([order("a"), order("b")])
    assert [r.client_id for r in journal.results] == ["a"]
    said["b"] = OrderResult(client_id="b", instrument="EURUSD", status=OrderStatus.WORKING)
    assert [r.status for r in journal.results] == [OrderStatus.FILLED, OrderStatus.WORKING]


def test_two_journals_share_nothing() -> None:
    one, other = MemoryJournal(), MemoryJournal()
    one.intend([order("a")])
    one.transition(AT, RiskState(day_start=1.0, high_water=1.0))
    assert not other.orders
    assert not other.states


# --- what every journal does -----------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)
STATE = RiskState(
    trading=TradingState.REDUCING,
    day_start=100_000.1,
    high_water=1 / 3,
    halt_until=AT + HOUR,
    halted_at=AT,
    latch="DRAWDOWN",
    stopped=frozenset({("EURUSD", 1), ("USDJPY", -1)}),
    locked=frozenset({"AUDUSD"}),
    rejects=2,
)
EURUSD = Pair("EUR", "USD")


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryJournal()
    else:
        with SqliteJournal(tmp_path / "journal.db", account_id="A1") as opened:
            yield opened


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SqliteJournal]:
    with SqliteJournal(tmp_path / "journal.db", account_id="A1") as opened:
        yield opened


def again(journal: SqliteJournal) -> SqliteJournal:
    """The same journal as another process finds it."""
    journal.close()
    return SqliteJournal(journal.path, account_id="A1")


def said(client_id: str, status: OrderStatus, filled: str = "0") -> OrderResult:
    return OrderResult(client_id=client_id, instrument="EURUSD", status=status, filled_units=Decimal(filled))


def paid(identity: str, amount: str = "1.50", **changes: Any) -> Transaction:
    transaction = Transaction(id=identity, at=AT, kind="transfer", amount=Decimal(amount), currency="USD")
    return attrs.evolve(transaction, **changes)


def decided(at: datetime = AT, *findings: Verdict) -> Decision:
    rules = [lambda verdict=verdict: verdict for verdict in findings]
    return Decision(at, np.array([0.1, -0.2]), ("EURUSD", "USDJPY"), findings, TradingState.ACTIVE, rules)


def test_both_journals_follow_the_protocol(tmp_path: Path) -> None:
    # mypy compares the signatures
    both: list[Journal] = [MemoryJournal(), SqliteJournal(tmp_path / "none.db", account_id="A1")]
    assert all(isinstance(journal, Journal) for journal in both)


def test_a_new_journal_remembers_nothing(journal: Journal) -> None:
    assert journal.state() is None
    assert journal.intention() is None
    assert journal.unresolved() == []
    assert journal.transactions() == []
    assert journal.last_transaction_id() is None
    assert journal.commands() == []
    assert journal.last_beat() is None
    assert journal.quotes() == {}
    assert not journal.has_decided(AT)


def test_the_state_is_the_last_one_recorded_in_every_field(journal: Journal) -> None:
    journal.transition(AT, RiskState(day_start=1.0, high_water=2.0))
    journal.transition(AT + HOUR, STATE)
    found = journal.state()
    assert found == STATE
    assert {f.name for f in attrs.fields(RiskState)} == {
        "trading", "day_start", "high_water", "halt_until", "halted_at", "latch", "stopped", "locked", "rejects",
    }, "a new field: keep it in SqliteJournal.transition, and set it in STATE above"  # fmt: skip
    blank = RiskState(day_start=0.0, high_water=0.0)
    assert all(getattr(STATE, f.name) != getattr(blank, f.name) for f in attrs.fields(RiskState))
    assert [state.latch for _, state in journal.states] == ["", "DRAWDOWN"]  # type: ignore[attr-defined]
    assert [at for at, _ in journal.states] == [AT, AT + HOUR]  # type: ignore[attr-defined]


def test_an_intention_stands_until_it_is_replaced_or_ended(journal: Journal) -> None:
    journal.keep_intention(AT, {"EUR": 0.1, "JPY": -1 / 3}, 0, "halted")
    assert journal.intention() == Intention(AT, {"EUR": 0.1, "JPY": -1 / 3}, 0, "halted")
    journal.keep_intention(AT, {"EUR": 0.2}, 3, "the quote is stale", {"EURUSD"})
    assert journal.intention() == Intention(AT, {"EUR": 0.2}, 3, "the quote is stale", frozenset({"EURUSD"}))
    journal.end_intention(AT + HOUR, "filled")
    assert journal.intention() is None
    journal.keep_intention(AT + HOUR, {}, 0, "a partial fill")
    assert journal.intention() == Intention(AT + HOUR, {}, 0, "a partial fill")


@pytest.mark.parametrize("status", list(OrderStatus))
def test_an_order_is_unresolved_until_its_end_is_known(journal: Journal, status: OrderStatus) -> None:
    journal.intend([order("a"), order("b")])
    assert journal.unresolved() == ["a", "b"]
    journal.record([said("b", status)], AT)
    is_final = status in (OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.CANCELLED)
    assert journal.unresolved() == (["a"] if is_final else ["a", "b"])
    journal.record([said("b", OrderStatus.CANCELLED)], AT)
    journal.record([said("b", OrderStatus.PARTIAL, "3")], AT)  # news that arrives late changes nothing
    assert journal.unresolved() == ["a"]


def test_results_are_kept_in_order_and_not_repeated(journal: Any) -> None:
    journal.intend([order("a")])
    story = [said("a", OrderStatus.WORKING), said("a", OrderStatus.PARTIAL, "4"), said("a", OrderStatus.FILLED, "10")]
    for result in story:
        journal.record([result, result], AT)
        journal.record([result])
    assert (journal.recorded if isinstance(journal, MemoryJournal) else journal.results) == story


def test_a_transaction_imported_twice_is_there_once(journal: Journal) -> None:
    assert journal.import_transactions([paid("7"), paid("3", "-0.10")]) == 2
    assert journal.import_transactions([paid("3", "-0.10"), paid("9"), paid("9")]) == 1
    assert [t.id for t in journal.transactions()] == ["7", "3", "9"]
    assert journal.last_transaction_id() == "9"
    assert [t.id for t in journal.transactions("7")] == ["3", "9"]
    assert journal.transactions("9") == []
    with pytest.raises(JournalError, match="no transaction 'x'"):
        journal.transactions("x")


def test_a_transaction_that_changed_is_an_error_and_nothing_of_the_batch_is_kept(journal: Journal) -> None:
    journal.import_transactions([paid("1", "5.00")])
    with pytest.raises(LedgerError, match=r"transaction 1 was transfer 5.00 USD .* is now transfer 6.00 USD"):
        journal.import_transactions([paid("2"), paid("1", "6.00")])
    assert [t.id for t in journal.transactions()] == ["1"]


def test_only_a_target_decided_at_that_instant_counts(journal: Journal) -> None:
    journal.decide("held", decided(AT))
    assert not journal.has_decided(AT)
    journal.decide("target", decided(AT))
    assert journal.has_decided(AT)
    assert journal.has_decided(AT.astimezone(timezone(HOUR)))
    assert not journal.has_decided(AT + timedelta(microseconds=1))


def test_commands_wait_until_they_are_taken_once(journal: Journal) -> None:
    pause = journal.command("pause", by="anna", at=AT)
    resume = journal.command("resume", by="bert", at=AT + HOUR, reason="the feed is back")
    assert journal.commands() == [pause, resume]
    assert (resume.kind, resume.by, resume.at, resume.reason) == ("resume", "bert", AT + HOUR, "the feed is back")
    assert journal.take(pause, AT + HOUR)
    assert journal.commands() == [resume]
    assert not journal.take(pause, AT + HOUR)
    with pytest.raises(JournalError, match="no command 99"):
        journal.take(Command(99, "pause", "anna", AT), AT)


@pytest.mark.parametrize(
    ("kind", "by", "reason", "message"),
    [
        ("stop", "anna", "x", "'stop' is not a command"),
        ("pause", " ", "x", "nobody is named"),
        ("resume", "anna", " ", "resume needs a reason"),
    ],
)
def test_what_is_no_command_is_refused(journal: Journal, kind: Any, by: str, reason: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        journal.command(kind, by=by, at=AT, reason=reason)
    assert journal.commands() == []


def test_the_last_heartbeat_and_the_last_quotes(journal: Journal) -> None:
    journal.beat(AT)
    journal.beat(AT + HOUR)
    assert journal.last_beat() == AT + HOUR
    old, new = (Quote(Decimal(bid), Decimal("1.2000"), AT) for bid in ("1.1", "1.1990"))
    yen = Quote(Decimal("150.1"), Decimal("150.20"), AT)
    journal.observe(Snapshot(AT, {EURUSD: old, Pair("USD", "JPY"): yen}))
    journal.observe(Snapshot(AT + HOUR, {EURUSD: new}))
    assert journal.quotes() == {EURUSD: new, Pair("USD", "JPY"): yen}


def test_the_books_are_open_while_a_step_is_written(journal: Journal) -> None:
    with journal.atomic():
        journal.decide("target", decided())
        journal.intend([order("a")])
        assert journal.unresolved() == ["a"]
    assert journal.has_decided(AT)


# --- on disk ---------------------------------------------------------------------------------------------------------


def test_everything_is_there_for_another_process(disk: SqliteJournal) -> None:
    disk.transition(AT, STATE)
    disk.keep_intention(AT, {"EUR": 0.1}, 2, "halted")
    limit = Order(
        client_id="b",
        instrument="USDJPY",
        units=Decimal("-1E+3"),
        type="limit",
        limit_price=Decimal("150.10"),
        is_reducing=True,
        stop_fraction=0.1,
        reason="rebalance",
    )
    disk.intend([order("a"), limit])
    done = attrs.evolve(said("b", OrderStatus.FILLED, "-1000"), price=Decimal("150.10"), reason="rebalance")
    disk.record([done], AT)
    full = Transaction(
        id="00000001-F000",
        at=AT,
        kind="fill",
        amount=Decimal("-0.00"),
        currency="USD",
        instrument="USDJPY",
        units=Decimal("-1E+3"),
        price=Decimal("150.100"),
        mid=Decimal("150.1050000000000000000000001"),
        conversion=Decimal("0.006662003"),
        trade_date=date(2025, 3, 12),
        days=3,
        client_id="b",
    )
    disk.import_transactions([full])
    disk.beat(AT)
    pause = disk.command("pause", by="anna", at=AT)
    disk.observe(Snapshot(AT, {EURUSD: Quote(Decimal("1.10"), Decimal("1.11"), AT)}))
    disk.decide("target", decided())
    with again(disk) as found:
        assert found.state() == STATE
        assert found.intention() == Intention(AT, {"EUR": 0.1}, 2, "halted")
        assert found.orders == [order("a"), limit]
        assert found.results == [done]
        assert found.unresolved() == ["a"]
        assert found.transactions() == [full]
        assert [str(x) for x in attrs.astuple(found.transactions()[0])] == [str(x) for x in attrs.astuple(full)]
        assert found.last_transaction_id() == full.id
        assert found.last_beat() == AT
        assert found.commands() == [pause]
        assert found.quotes() == {EURUSD: Quote(Decimal("1.10"), Decimal("1.11"), AT)}
        assert found.has_decided(AT)


def test_money_and_prices_are_exact_text_and_instants_are_utc(disk: SqliteJournal) -> None:
    disk.import_transactions([paid("1", "0.10", at=AT.astimezone(timezone(HOUR)), price=Decimal("1E-7"))])
    [row] = disk.table("transactions")
    assert (row["amount"], row["price"], row["at"]) == ("0.10", "1E-7", "2025-03-12T21:00:00.000000+00:00")
    with sqlite3.connect(disk.path) as raw, pytest.raises(sqlite3.IntegrityError):
        raw.execute(
            "INSERT INTO transactions (run, id, at, kind, amount, currency, instrument, units, days, client_id) "
            "VALUES (1, 'x', '', 'fee', X'00', 'USD', '', '0', 0, '')"
        )
    raw.close()


def test_a_naive_instant_is_an_error_and_nothing_is_kept(disk: SqliteJournal) -> None:
    with pytest.raises(DataError, match="no time zone"):
        disk.beat(datetime(2025, 1, 1))
    with pytest.raises(DataError, match="no time zone"):
        disk.import_transactions([paid("1"), paid("2", at=datetime(2025, 1, 1))])
    assert disk.last_beat() is None
    assert disk.transactions() == []


def test_a_decision_is_kept_with_what_every_rule_said(disk: SqliteJournal) -> None:
    stop = Verdict(
        "stop-loss",
        Action.CLOSE,
        "STOP_LOSS",
        np.array([0.0, np.inf]),
        -0.01,
        latch=True,
        until=AT,
        facts={"limit": 0.1, "moves": np.array([0.11, np.nan]), "since": AT, "names": frozenset({"b", "a"})},
    )
    calm = Verdict("max-position", Action.ALLOW, headroom=0.2)
    disk.decide("target", attrs.evolve(decided(AT, stop), rules=[lambda: stop, lambda: calm]))
    [row] = disk.table("decisions")
    assert (row["stage"], row["state"], row["legs"], row["weights"]) == (
        "target", "active", '["EURUSD","USDJPY"]', "[0.1,-0.2]",
    )  # fmt: skip
    wanted = (
        '{"rule":"stop-loss","action":"CLOSE","code":"STOP_LOSS","headroom":-0.01,"limit":0.1,"latch":true,'
        '"until":"2025-03-12T21:00:00.000000+00:00","caps":[0.0,"inf"],"inputs":{"limit":0.1,"moves":[0.11,"nan"],'
        '"since":"2025-03-12T21:00:00.000000+00:00","names":["a","b"]}}'
    )
    assert row["findings"] == f"[{wanted}]"
    assert row["verdicts"].startswith(f"[{wanted},")
    assert '"rule":"max-position","action":"ALLOW","code":"OK","headroom":0.2,"limit":null' in row["verdicts"]


def test_an_order_is_intended_once_and_a_plan_all_or_not_at_all(disk: SqliteJournal) -> None:
    disk.intend([order("a")])
    with pytest.raises(JournalError, match=r"order a \(10 EURUSD\) was intended before"):
        disk.intend([order("b"), order("a")])
    assert [o.client_id for o in disk.orders] == ["a"]
    plan = Plan([(0, "EURUSD", 10.0, "open", False)], account_id="A1", at=AT, reason="rebalance", attempt=2)
    disk.intend(plan)
    row = disk.table("intents")[-1]
    assert (row["client_id"], row["attempt"], row["planned_at"]) == (
        plan[0].client_id,
        2,
        f"{AT:%Y-%m-%dT%H:%M:%S}.000000+00:00",
    )
    with again(disk) as found, pytest.raises(JournalError, match="was intended before"):
        found.intend(plan)


def test_a_step_is_kept_whole_or_not_at_all(disk: SqliteJournal) -> None:
    def step() -> None:
        disk.decide("target", decided())
        disk.observe(Snapshot(AT, {EURUSD: Quote(Decimal(1), Decimal(2), AT)}))
        disk.keep_intention(AT, {"EUR": 0.1}, 0, "new")
        disk.intend([order("a")])

    def interrupted() -> None:
        with disk.atomic():
            step()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert not disk.has_decided(AT)
    assert disk.intention() is None
    assert disk.orders == []
    assert disk.table("runs") == []
    assert disk.quotes() == {}
    with disk.atomic():
        step()
    assert disk.unresolved() == ["a"]
    assert len(disk.quotes()) == 1
    assert {row["run"] for name in ("decisions", "intents", "quotes") for row in disk.table(name)} == {1}


def test_an_error_inside_a_step_cannot_be_passed_over(disk: SqliteJournal) -> None:
    disk.intend([order("a")])

    def careless() -> None:
        with disk.atomic():
            disk.keep_intention(AT, {"EUR": 0.1}, 0, "new")
            with pytest.raises(JournalError, match="intended before"):
                disk.intend([order("b"), order("a")])

    with pytest.raises(JournalError, match="passed over"):
        careless()
    assert disk.intention() is None
    disk.intend([order("b")])
    assert disk.unresolved() == ["a", "b"]


def test_every_run_is_kept_with_its_version_and_configuration(tmp_path: Path) -> None:
    for text in ("cash = 1", "cash = 2"):
        with SqliteJournal(tmp_path / "j.db", account_id="A1", config=text) as journal:
            journal.commands()  # looking is no run
            journal.command("pause", by="anna", at=AT)  # nor is a control
            journal.beat(AT)
            journal.beat(AT)
    with SqliteJournal.existing(tmp_path / "j.db") as journal:
        rows = journal.table("runs")
        assert [row["run"] for row in journal.table("heartbeats")] == [1, 1, 2, 2]
    assert [row["config"] for row in rows] == ["cash = 1", "cash = 2"]
    assert {row["version"] for row in rows} == {fxcarry.__version__}
    assert {row["pid"] for row in rows} == {os.getpid()}
    assert all(datetime.fromisoformat(row["started"]).tzinfo is UTC for row in rows)


def test_quotes_that_did_not_change_are_kept_once(disk: SqliteJournal) -> None:
    quote = Quote(Decimal("1.10"), Decimal("1.11"), AT)
    for n in range(3):
        disk.observe(Snapshot(AT + n * HOUR, {EURUSD: quote}))
    with again(disk) as found:
        found.observe(Snapshot(AT + 4 * HOUR, {EURUSD: quote}))
        found.observe(Snapshot(AT + 5 * HOUR, {EURUSD: attrs.evolve(quote, as_of=AT + HOUR)}))
        assert [row["used_at"][11:13] for row in found.table("quotes")] == ["21", "02"]


def test_it_follows_a_simulated_venue_like_the_other(disk: SqliteJournal) -> None:
    log = TransactionLog("USD", 1_000.0)
    disk.follow(log, lambda ids: {})
    assert disk.log is log


def test_an_engine_writes_the_same_to_both(disk: SqliteJournal) -> None:
    feed = MemoryFeed(market_history(days=260))
    memory = MemoryJournal()
    currencies = list(feed.history(None, None).currencies)[:3]
    for journal in (memory, disk):
        engine = Engine(
            feed=feed,
            broker=SimBroker(cash=100_000),
            strategy=lambda view, account: {currencies[0]: 0.5, currencies[1]: -0.4},
            rules=default_rules(),
            universe=currencies,
            journal=journal,  # type: ignore[arg-type]
        )
        with journal.atomic():
            engine.run()
            journal.import_transactions(engine.broker.transactions(None))
            journal.record(engine.broker.find_orders(journal.unresolved()).values())
    assert len(memory.orders) > 5
    assert disk.orders == memory.orders
    assert disk.states == memory.states
    assert disk.results == memory.results
    assert disk.transactions() == memory.transactions()
    kept = disk.table("decisions")
    assert [row["stage"] for row in kept] == [stage for stage, _ in memory.decisions]
    assert [len(json.loads(row["verdicts"])) for row in kept] == [len(d.verdicts) for _, d in memory.decisions]
    assert {v["code"] for row in kept for v in json.loads(row["findings"])} >= {"POSITION_TOO_LARGE"}
    assert {row["attempt"] for row in disk.table("intents")} == {0}
    assert all(row["planned_at"] for row in disk.table("intents"))


TABLES = ("account", "runs", "decisions", "intents", "results", "transactions", "states", "intentions", "quotes",
          "heartbeats", "commands", "taken", "alerts", "deliveries", "plans", "confirmations",
          "financing_rates", "acknowledgements")  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_no_record_can_be_changed_removed_or_replaced(disk: SqliteJournal, table: str) -> None:
    disk.decide("target", decided())
    disk.intend([order("a")])
    disk.record([said("a", OrderStatus.FILLED)])
    disk.import_transactions([paid("1")])
    disk.transition(AT, STATE)
    disk.end_intention(AT, "done")
    disk.observe(Snapshot(AT, {EURUSD: Quote(Decimal(1), Decimal(2), AT)}))
    disk.beat(AT)
    disk.take(disk.command("pause", by="anna", at=AT), AT)
    number = disk.alert(Alert(at=AT, kind="feed-error", severity="info", message="back"))
    disk.delivery(number, "console", AT, "delivered")
    disk.acknowledge(number, by="ann", at=AT)
    disk.keep_plan("p1", AT, {})
    disk.confirm("broker-contact", by="ann", at=AT, reason="0800 1")
    disk.publish([PAYING], AT)
    before = disk.table(table)
    assert len(before) == 1
    raw = sqlite3.connect(disk.path, isolation_level=None)
    assert {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} == set(TABLES)
    column = raw.execute(f"SELECT name FROM pragma_table_info('{table}') WHERE cid = 1").fetchone()[0]
    for statement in (
        f"UPDATE {table} SET {column} = {column}",
        f"DELETE FROM {table}",
        f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(statement)
    raw.close()
    assert disk.table(table) == before


# --- what may be wrong with the file ---------------------------------------------------------------------------------


def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    SqliteJournal(tmp_path / "none" / "journal.db", account_id="A1")
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_for_its_owner_alone_and_writes_are_synced(disk: SqliteJournal) -> None:
    assert disk.path.stat().st_mode & 0o777 == 0o600
    raw: Any = disk._db
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert raw.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_another_accounts_journal_is_refused(disk: SqliteJournal) -> None:
    disk.beat(AT)
    for account, currency in (("B2", "USD"), ("A1", "EUR")):
        other = SqliteJournal(disk.path, account_id=account, account_currency=currency)
        with pytest.raises(ConfigError, match=f"journal of account 'A1' in USD, not of '{account}' in {currency}"):
            other.beat(AT)
    assert len(disk.table("heartbeats")) == 1


def test_a_journal_that_is_there_says_whose_it_is(disk: SqliteJournal) -> None:
    with SqliteJournal.existing(disk.path) as found:
        assert (found.account_id, found.account_currency) == ("A1", "USD")
    with pytest.raises(ConfigError, match="there is no journal"):
        SqliteJournal.existing(disk.path.with_name("other.db"))
    assert not disk.path.with_name("other.db").exists()


def test_a_newer_journal_is_refused_untouched(disk: SqliteJournal) -> None:
    disk.close()
    raw = sqlite3.connect(disk.path)
    raw.execute("PRAGMA user_version = 5")
    raw.close()
    with pytest.raises(JournalError, match=r"newer fxcarry \(schema 5, this one knows 4\)") as caught:
        disk.beat(AT)
    assert caught.value.hint == "upgrade fxcarry"


def test_a_journal_of_an_earlier_version_is_brought_up_to_this_one_and_loses_nothing(disk: SqliteJournal) -> None:
    disk.transition(AT, RiskState(day_start=1.0, high_water=2.0, latch="DRAWDOWN"))
    disk.close()
    raw = sqlite3.connect(disk.path)
    for table in ("alerts", "deliveries", "plans", "confirmations", "financing_rates", "acknowledgements"):
        raw.execute(f"DROP TABLE {table}")
    raw.execute("DROP INDEX quotes_index")
    raw.execute("CREATE INDEX quotes_index ON quotes (pair)")
    for table, column in (("states", "locked"), ("states", "rejects"), ("intentions", "rest")):
        raw.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    raw.execute("PRAGMA user_version = 1")
    raw.close()
    with SqliteJournal.existing(disk.path) as found:
        assert found.state() == RiskState(day_start=1.0, high_water=2.0, latch="DRAWDOWN")
        found.transition(AT + HOUR, STATE)
        assert found.state() == STATE
        assert found.alert(Alert(at=AT, kind="feed-error", severity="warning", message="silent")) == 1
    raw = sqlite3.connect(disk.path)
    assert raw.execute("PRAGMA user_version").fetchone() == (4,)
    assert raw.execute("SELECT count(*) FROM financing_rates").fetchone() == (0,)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute("DELETE FROM alerts")
    raw.close()


def without_what_version_4_brought(raw: sqlite3.Connection) -> None:
    raw.execute("DROP TABLE acknowledgements")
    raw.execute("DROP INDEX alerts_index")
    raw.execute("DROP INDEX deliveries_index")
    for table, column in (("alerts", "key"), ("alerts", "is_over"), ("deliveries", "state")):
        raw.execute(f"ALTER TABLE {table} DROP COLUMN {column}")


def test_a_journal_of_the_third_version_tells_what_became_of_its_alerts(disk: SqliteJournal) -> None:
    for number, error in ((1, ""), (2, "401")):
        disk.alert(Alert(at=AT, kind="feed-error", severity="warning", message=f"silent {number}"))
        disk.delivery(number, "mail", AT, "delivered", error)
    disk.close()
    raw = sqlite3.connect(disk.path)
    without_what_version_4_brought(raw)
    raw.execute("PRAGMA user_version = 3")
    raw.close()
    with SqliteJournal.existing(disk.path) as found:
        assert [one.deliveries for one in found.recent_alerts(AT)] == [
            {"mail": ("delivered", "")},
            {"mail": ("failed", "401")},
        ]
        assert found.acknowledge(1, by="ann", at=AT)
        assert [one.alert.key for one in found.recent_alerts(AT)] == ["", ""]


def test_a_journal_of_the_second_version_keeps_its_alerts_and_learns_what_venues_pay(disk: SqliteJournal) -> None:
    disk.alert(Alert(at=AT, kind="feed-error", severity="warning", message="silent"))
    disk.observe(Snapshot(AT, {Pair("EUR", "USD"): Quote(Decimal("1.1"), Decimal("1.2"), AT)}))
    disk.close()
    raw = sqlite3.connect(disk.path)
    raw.execute("DROP TABLE financing_rates")
    without_what_version_4_brought(raw)
    raw.execute("DROP INDEX quotes_index")
    raw.execute("CREATE INDEX quotes_index ON quotes (pair)")
    raw.execute("PRAGMA user_version = 2")
    raw.close()
    with SqliteJournal.existing(disk.path) as found:
        assert [row["message"] for row in found.table("alerts")] == ["silent"]
        assert found.published() == []
        assert found.quotes(by=AT) == found.quotes()
        found.publish([PAYING], AT)
        assert found.published() == [(AT, PAYING)]
    raw = sqlite3.connect(disk.path)
    [(plan,)] = [
        row[3:]
        for row in raw.execute(
            "EXPLAIN QUERY PLAN SELECT seq FROM quotes WHERE pair = 'A' "
            "AND used_at <= 'B' ORDER BY used_at DESC, seq DESC LIMIT 1"
        )
    ]
    assert "quotes_index (pair=? AND used_at<?)" in plan
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute("UPDATE financing_rates SET long = 0")
    raw.close()


PAYING = Instrument(
    name="EUR_USD",
    exposure=Pair("EUR", "USD"),
    financing_long=-0.0312,
    financing_short=0.1 + 0.2,
    financing_days={0: 1, 1: 1, 2: 3, 3: 1, 4: 1},
)


def test_what_a_venue_says_it_pays_is_kept_where_it_changes(journal: Journal) -> None:
    silent = Instrument(name="USD_JPY", exposure=Pair("USD", "JPY"), unit_step=Decimal(1000))
    journal.publish([PAYING, silent], AT)
    journal.publish([PAYING, attrs.evolve(silent, unit_step=Decimal(1))], AT + HOUR)
    later = attrs.evolve(PAYING, financing_long=None, financing_days=None)
    journal.publish([later], AT + 2 * HOUR)
    journal.publish([PAYING], AT + 3 * HOUR)
    kept = Instrument(name="USD_JPY", exposure=Pair("USD", "JPY"))  # its steps are not what is kept
    assert journal.published() == [(AT, PAYING), (AT, kept), (AT + 2 * HOUR, later), (AT + 3 * HOUR, PAYING)]


def test_what_a_venue_pays_is_not_said_twice_after_a_restart(disk: SqliteJournal) -> None:
    disk.publish([PAYING], AT)
    disk.close()
    disk.publish([PAYING], AT + HOUR)

    def fail() -> None:
        with disk.atomic():
            disk.publish([attrs.evolve(PAYING, financing_long=0.0)], AT + HOUR)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert disk.published() == [(AT, PAYING)]
    disk.publish([attrs.evolve(PAYING, financing_long=0.0)], AT + HOUR)  # what was taken back is said again
    assert len(disk.published()) == 2


def test_the_quotes_of_an_instant_are_the_last_that_were_used_by_then(journal: Journal) -> None:
    def at(hour: int, **mids: str) -> Snapshot:
        when = AT + hour * HOUR
        return Snapshot(when, {Pair.parse(p): Quote(Decimal(m), Decimal(m), when) for p, m in mids.items()})

    assert journal.quotes(by=AT) == {}
    for shot in (at(0, EURUSD="1.10"), at(1, EURUSD="1.11", USDJPY="150"), at(3, USDJPY="151"), at(4, AUDUSD="0.65")):
        journal.observe(shot)

    def mids(hour: float) -> dict[str, str]:
        return {str(p): str(q.mid) for p, q in sorted(journal.quotes(by=AT + hour * HOUR).items())}

    assert mids(-1) == {}
    assert mids(0) == {"EURUSD": "1.10"}
    assert mids(0.99) == {"EURUSD": "1.10"}
    assert mids(1) == mids(2) == {"EURUSD": "1.11", "USDJPY": "150"}
    assert mids(3) == {"EURUSD": "1.11", "USDJPY": "151"}
    assert journal.quotes(by=AT + 9 * HOUR) == journal.quotes()


def test_an_alert_and_who_took_it(journal: Journal) -> None:
    said = Alert(at=AT, kind="feed-error", severity="critical", message="silent", fields={"minutes": 5})
    number = journal.alert(said)
    journal.delivery(number, "console", AT, "delivered")
    journal.delivery(number, "email", AT + HOUR, "failed", "no route to host")
    if isinstance(journal, MemoryJournal):
        assert journal.alerts == [said]
        assert journal.deliveries == [(1, "console", "delivered", ""), (1, "email", "failed", "no route to host")]
    else:
        assert isinstance(journal, SqliteJournal)
        [row] = journal.table("alerts")
        assert (row["kind"], row["severity"], row["message"]) == ("feed-error", "critical", "silent")
        assert json.loads(row["fields"]) == {"minutes": 5}
        found = [(r["alert"], r["channel"], r["state"], r["error"]) for r in journal.table("deliveries")]
        assert found == [(1, "console", "delivered", ""), (1, "email", "failed", "no route to host")]


def test_alerts_are_read_with_what_became_of_them_and_who_saw_them(journal: Journal) -> None:
    told = [
        Alert(at=AT + n * HOUR, kind="feed-error", severity="critical", message=f"m {n}", key="feed", is_over=n == 2)
        for n in range(4)
    ]
    assert [journal.alert(alert) for alert in told] == [1, 2, 3, 4]
    for state in ("waiting", "sending", "failed"):
        journal.delivery(2, "mail", AT, state, "no route" if state == "failed" else "")
    journal.delivery(2, "sms", AT, "delivered")
    assert journal.acknowledge(3, by="ann", at=AT, reason="on it")
    assert not journal.acknowledge(3, by="bob", at=AT)
    assert [(n, a.message) for n, a in journal.alerts_from(2, 2)] == [(2, "m 1"), (3, "m 2")]
    assert journal.alerts_from(5, 10) == []
    first, second, _ = journal.recent_alerts(AT + HOUR)
    assert (first.number, first.alert, first.acknowledged_by) == (2, told[1], "")
    assert first.deliveries == {"mail": ("failed", "no route"), "sms": ("delivered", "")}
    assert first.states == {"mail": "failed", "sms": "delivered"}
    assert (second.deliveries, second.acknowledged_by, second.reason) == ({}, "ann", "on it")
    assert [journal.is_acknowledged(n) for n in (2, 3)] == [False, True]
    assert [journal.is_over("feed-error", "feed", n) for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert not journal.is_over("feed-error", "other", 1)


def test_older_alerts_that_still_wait_for_a_channel_are_found_too(journal: Journal) -> None:
    rows = ({"mail": ["waiting"]}, {"mail": ["waiting", "sending"], "sms": ["delivered"]},
            {"mail": ["waiting", "sending", "delivered"]}, {"mail": ["failed"]}, {})  # fmt: skip
    for became in rows:
        number = journal.alert(Alert(at=AT, kind="feed-error", severity="critical", message="silent"))
        for channel, states in became.items():
            for state in states:
                journal.delivery(number, channel, AT, state)
    since = AT + timedelta(days=9)
    assert journal.recent_alerts(since) == []
    found = journal.recent_alerts(since, and_unsent=True)
    assert [one.number for one in found] == [1, 2]
    assert [one.states for one in found] == [{"mail": "waiting"}, {"mail": "sending", "sms": "delivered"}]


@pytest.mark.parametrize(("number", "by", "message"), [(7, "ann", "there is no alert 7"), (1, " ", "nobody is named")])
def test_only_a_person_acknowledges_an_alert_that_is_there(
    journal: Journal, number: int, by: str, message: str
) -> None:
    journal.alert(Alert(at=AT, kind="feed-error", severity="critical", message="silent"))
    with pytest.raises(ConfigError, match=message):
        journal.acknowledge(number, by=by, at=AT)
    assert not journal.is_acknowledged(1)


def test_another_thread_writes_to_the_same_journal_in_the_same_run(journal: Journal) -> None:
    number = journal.alert(Alert(at=AT, kind="feed-error", severity="critical", message="silent"))

    def work() -> None:
        with beside as other, other.atomic():
            other.delivery(number, "mail", AT, "delivered")

    beside = journal.beside()
    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert journal.recent_alerts(AT)[0].states == {"mail": "delivered"}
    if isinstance(journal, SqliteJournal):
        assert len(journal.table("runs")) == 1


def test_a_plan_is_kept_once_and_a_confirmation_each_time(disk: SqliteJournal) -> None:
    disk.keep_plan("p1", AT, {"weights": {"AUD": 0.2}})
    disk.keep_plan("p1", AT + HOUR, {"weights": {"AUD": 0.9}})
    assert disk.plan_of("p1") == {"weights": {"AUD": 0.2}}
    assert disk.plan_of("p2") is None
    for reason in ("0800 1", "0800 2"):
        disk.confirm("broker-contact", by="ann", at=AT, reason=reason)
    assert [(r["what"], r["who"], r["reason"]) for r in disk.table("confirmations")] == [
        ("broker-contact", "ann", "0800 1"),
        ("broker-contact", "ann", "0800 2"),
    ]


def test_a_file_that_is_something_else_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE prices (x)")
    raw.commit()
    raw.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="is no journal"):
        SqliteJournal(path, account_id="A1").beat(AT)
    path.with_name("text.csv").write_text("date,nav\n" * 100)
    with pytest.raises(JournalError, match="is damaged: file is not a database"):
        SqliteJournal(path.with_name("text.csv"), account_id="A1").beat(AT)
    path.with_name("empty.db").touch()
    with pytest.raises(ConfigError, match="is no journal"):
        SqliteJournal.existing(path.with_name("empty.db"))
    assert path.read_bytes() == before


def test_a_damaged_journal_is_refused(disk: SqliteJournal) -> None:
    for n in range(300):
        disk.intend([order(f"{n:040}")])
    disk.close()
    size = disk.path.stat().st_size
    with disk.path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 8192)
    with pytest.raises(JournalError, match=r"journal\.db is damaged") as caught:
        disk.state()
    assert "do not trade" in caught.value.hint
    assert caught.value.exit_code == 9


@pytest.mark.parametrize("place", ["none/journal.db", "."])
def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(JournalError, match=r"cannot be opened: (No such file|unable to open)") as caught:
        SqliteJournal(tmp_path / place, account_id="A1").beat(AT)
    assert caught.value.fields["path"] == str(tmp_path / place)


def test_a_journal_somebody_else_writes_to_is_locked(disk: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxcarry.journal.sqlite._PATIENCE", 0.05)
    disk.beat(AT)
    with again(disk) as waiting:
        waiting.open()
        raw = sqlite3.connect(disk.path, isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalLocked, match="locked by another process") as caught:
            waiting.intend([order("a")])
        assert caught.value.fields == {"path": str(disk.path), "code": "BUSY"}
        assert waiting.last_beat() == AT  # reading goes on
        raw.execute("ROLLBACK")
        raw.close()
        waiting.intend([order("a")])
        assert waiting.unresolved() == ["a"]


def run(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Another process, which has a journal."""
    start = """
        import sys
        from datetime import UTC, datetime
        from decimal import Decimal
        from fxcarry.errors import FxCarryError
        from fxcarry.journal import SqliteJournal
        from fxcarry.model import Order, OrderResult, OrderStatus

        AT = datetime(2025, 3, 12, 21, tzinfo=UTC)

        def order(name):
            return Order(client_id=name, instrument="EURUSD", units=Decimal(10))

        journal = SqliteJournal(sys.argv[1], account_id="A1")
    """
    command = [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def finished(process: subprocess.Popen[str]) -> str:
    out, problems = process.communicate(timeout=120)
    assert problems == ""
    return out


def test_a_full_disk_loses_nothing_and_half_writes_nothing(tmp_path: Path) -> None:
    code = """
        kept = 0
        try:
            for n in range(10_000):
                with journal.atomic():
                    journal.intend([order(f"{n}-{k}") for k in range(20)])
                kept += 1
        except FxCarryError as error:
            print(kept)
            print(type(error).__name__, error.exit_code, error)
            print(len(journal.unresolved()))
    """
    limit = 300_000
    process = run(code, tmp_path / "j.db", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    kept, error, seen = finished(process).splitlines()
    assert int(kept) > 5
    assert error.startswith("JournalError 9 the journal ")
    assert "nothing was written" in error
    assert int(seen) == 20 * int(kept)
    with SqliteJournal(tmp_path / "j.db", account_id="A1") as journal:
        assert len(journal.unresolved()) == 20 * int(kept)
        journal.intend([order("after")])  # and goes on when there is room again


def test_sqlites_word_for_a_full_disk_is_understood(disk: SqliteJournal) -> None:
    disk.beat(AT)
    raw: Any = disk._db
    [(pages,)] = raw.execute("PRAGMA page_count")
    raw.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="database or disk is full") as caught:
        disk.intend([order(f"{n:0200}") for n in range(200)])
    assert "make room" in caught.value.hint
    raw.execute("PRAGMA max_page_count = 1000000")
    assert disk.orders == []
    disk.intend([order("a")])


@pytest.mark.parametrize("is_there", [True, False], ids=["file", "folder"])
def test_what_is_read_only_is_refused(is_there: bool) -> None:
    code = """
        import os
        if os.getuid() == 0:  # to root everything is writable
            os.setgid(65534)
            os.setuid(65534)
        try:
            journal.intend([order("a")])
        except FxCarryError as error:
            print(type(error).__name__, error)
    """
    with tempfile.TemporaryDirectory() as folder:  # not below tmp_path, which may be closed to other users
        path = Path(folder) / "journal.db"
        if is_there:
            with SqliteJournal(path, account_id="A1") as journal:
                journal.beat(AT)
            path.chmod(0o444)
        Path(folder).chmod(0o555)
        answer = finished(run(code, path))
        Path(folder).chmod(0o755)
        assert re.match(rf"JournalError the journal {path} cannot be (opened|written): ", answer)
        assert "permissions" in answer or "writable" in answer
        assert path.exists() == is_there
        if is_there:
            path.chmod(0o644)
            with SqliteJournal(path, account_id="A1") as journal:
                assert journal.orders == []
                assert journal.last_beat() == AT


# --- crashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kills", [1, 2, 3])
def test_what_was_intended_is_known_after_a_kill(tmp_path: Path, kills: int) -> None:
    code = """
        for n in range(int(sys.argv[2])):
            journal.intend([order(f"{sys.argv[3]}-{n}")])
            if n % 2:
                journal.record([OrderResult(client_id=f"{sys.argv[3]}-{n}", instrument="EURUSD",
                                            status=OrderStatus.FILLED)], AT)
        print("sent", flush=True)  # the order is at the venue, its result is not on record
        import time
        time.sleep(60)
    """
    open_: list[str] = []
    for number in range(kills):
        process = run(code, tmp_path / "j.db", number + 1, number)
        assert process.stdout is not None
        assert process.stdout.readline() == "sent\n"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        open_ += [f"{number}-{n}" for n in range(number + 1) if not n % 2]
        with SqliteJournal(tmp_path / "j.db", account_id="A1") as journal:
            assert journal.unresolved() == open_
            assert len(journal.table("runs")) == number + 1


def test_a_kill_at_any_moment_leaves_whole_steps_and_everything_acknowledged(tmp_path: Path) -> None:
    code = """
        for n in range(100_000):
            with journal.atomic():
                journal.keep_intention(AT, {"EUR": 0.1}, n, "new")
                journal.intend([order(f"{sys.argv[2]}-{n}-{k}") for k in range(3)])
                journal.end_intention(AT, "sent")
            print(n, flush=True)
    """
    before = 0
    for number, lines in enumerate((1, 7, 40, 3)):
        process = run(code, tmp_path / "j.db", number)
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        printed = lines + len(process.stdout.read().splitlines())  # communicate() would skip what is buffered here
        process.communicate()
        with SqliteJournal(tmp_path / "j.db", account_id="A1") as journal:
            orders, intentions = len(journal.orders), len(journal.table("intentions"))
            assert journal.intention() is None
        assert orders % 3 == 0
        assert intentions * 3 == orders * 2
        assert printed <= orders // 3 - before <= printed + 1
        before = orders // 3


def test_two_processes_write_to_one_journal(tmp_path: Path) -> None:
    code = """
        for n in range(40):
            journal.intend([order(f"{sys.argv[2]}-{n}")])
    """
    both = [run(code, tmp_path / "j.db", name) for name in "ab"]
    assert [finished(process) for process in both] == ["", ""]
    with SqliteJournal(tmp_path / "j.db", account_id="A1") as journal:
        ids = [o.client_id for o in journal.orders]
        assert sorted(ids) == sorted(f"{name}-{n}" for name in "ab" for n in range(40))
        assert len(journal.table("runs")) == 2


def test_an_engine_stopped_in_the_middle_of_a_write_is_killed_and_the_journal_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        from fxcarry.journal import JournalLock
        JournalLock(sys.argv[1]).acquire()
        with journal.atomic():
            journal.intend([order("half")])
            print("writing", flush=True)
            import time
            time.sleep(60)
    """
    monkeypatch.setattr("fxcarry.journal.sqlite._PATIENCE", 0.05)
    process = run(code, tmp_path / "j.db")
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "writing\n"
        os.kill(process.pid, signal.SIGSTOP)
        emergency = JournalLock(tmp_path / "j.db")
        emergency.seize()
        with SqliteJournal(tmp_path / "j.db", account_id="A1") as journal:
            with pytest.raises(JournalLocked):
                journal.transition(AT, STATE)
            holder = emergency.holder()
            assert holder is not None
            assert holder.kill()
            process.wait(10)
            journal.transition(AT, STATE)
            assert journal.state() == STATE
            assert journal.orders == []
    finally:
        process.kill()
        process.communicate()


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_no_secret_is_found_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter2-swordfish")
    token = Secret("env", "MY_TOKEN")
    value = token.reveal()
    refused = attrs.evolve(said("a", OrderStatus.REJECTED), reason=f"bad token {value}")
    verdict = Verdict("rule", Action.REJECT, "NO", facts={"url": f"https://x/?key={value}"})
    with SqliteJournal(tmp_path / "j.db", account_id="A1", config=f"token = {value}", secrets=[token]) as journal:
        journal.intend([attrs.evolve(order("a"), reason=value)])
        journal.record([refused, refused])
        journal.decide("target", decided(AT, verdict))
        journal.keep_intention(AT, {}, 0, value)
        journal.end_intention(AT, value)
        journal.command("resume", by="anna", at=AT, reason=value)
        everything = b"".join(p.read_bytes() for p in tmp_path.iterdir())
        assert [r.reason for r in journal.results] == ["bad token ********"]
        assert journal.table("runs")[0]["config"] == "token = ********"
    everything += b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert b"intents" in everything
    folder = export(tmp_path / "j.db", tmp_path / "out")
    exported = b"".join(p.read_bytes() for p in folder.iterdir())
    assert b"https://x/?key=********" in exported
    everything += exported
    assert value.encode() not in everything


def test_the_configuration_of_a_run_holds_references_and_not_what_they_refer_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fxcarry.toml").write_text('account_currency = "USD"\n')
    config = load_config(tmp_path / "fxcarry.toml", load({}), {})
    text = to_toml({**effective(config), "broker": {"use": "x", "token": {"env": "MY_TOKEN"}}})
    monkeypatch.setenv("MY_TOKEN", "hunter2-swordfish")
    assert 'token = { env = "MY_TOKEN" }' in text
    with SqliteJournal(tmp_path / "j.db", account_id="A1", config=text, secrets=config.secrets) as journal:
        journal.beat(AT)
        assert journal.table("runs")[0]["config"] == text
        assert b"hunter2" not in b"".join(p.read_bytes() for p in tmp_path.iterdir())


# --- speed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 FROM results WHERE client_id = ''",
        "SELECT 1 FROM intents WHERE client_id = ''",
        "SELECT 1 FROM transactions WHERE id = ''",
        "SELECT 1 FROM decisions WHERE at = ''",
        "SELECT 1 FROM taken WHERE command = 1",
    ],
)
def test_what_is_asked_for_every_order_is_found_by_an_index(disk: SqliteJournal, query: str) -> None:
    assert [row[3].split()[0] for row in disk._rows(f"EXPLAIN QUERY PLAN {query}")] == ["SEARCH"]
