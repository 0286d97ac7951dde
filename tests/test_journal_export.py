"""fxcarry.journal: the books recomputed, tax lots, and what is exported; numbers worked out by hand."""

from __future__ import annotations

import csv
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.errors import ConfigError, DataError, LedgerError, MissingDataError
from fxcarry.journal import (
    FILES,
    MemoryJournal,
    SqliteJournal,
    append_performance,
    export,
    ledger_from,
    nav_from,
    tax_lots,
)
from fxcarry.model import (
    Action,
    Decision,
    Order,
    Pair,
    Quote,
    RiskState,
    Snapshot,
    TradingState,
    Transaction,
    TransactionKind,
    Verdict,
)

AT = datetime(2025, 3, 12, 15, tzinfo=UTC)
D = Decimal
EURUSD, USDJPY = Pair("EUR", "USD"), Pair("USD", "JPY")


def fill(identity: str, units: str, price: str, amount: str = "0.00", **changes: Any) -> Transaction:
    plain = Transaction(
        id=identity,
        at=AT + timedelta(minutes=int(identity)),
        kind="fill",
        amount=D(amount),
        currency="USD",
        instrument="EURUSD",
        units=D(units),
        price=D(price),
        mid=D(price) - D("0.0001"),
        conversion=D(1),
        client_id=f"order-{identity}",
    )
    return attrs.evolve(plain, **changes)


def cash(identity: str, kind: TransactionKind, amount: str, **changes: Any) -> Transaction:
    plain = Transaction(
        id=identity, at=AT + timedelta(minutes=int(identity)), kind=kind, amount=D(amount), currency="USD"
    )
    return attrs.evolve(plain, **changes)


def roll(identity: str, amount: str, **changes: Any) -> Transaction:
    days = {"instrument": "EURUSD", "trade_date": date(2025, 3, 12), "days": 3, **changes}
    return cash(identity, "financing", amount, **days)


STORY = [
    cash("01", "transfer", "10000.00"),
    fill("02", "1000", "1.1000"),
    roll("03", "1.00"),
    fill("04", "500", "1.2000"),
    cash("05", "commission", "-0.75", instrument="EURUSD", client_id="order-04"),
    roll("06", "-3.00"),
    # The broker's average is (1100 + 600) / 1500; it books (1.25 - 1.13333) * 1200 = 140.00.
    fill("07", "-1200", "1.2500", "140.00"),
    cash("08", "commission", "-1.20", instrument="EURUSD", client_id="order-07"),
    roll("09", "0.30"),
    fill("10", "-400", "1.3000", "50.00", client_id="order-10"),  # closes 300 and sells 100
    roll("11", "-0.07"),
    roll("12", "5.00", instrument="EUR"),  # interest on a balance belongs to no lot
]


def test_lots_are_closed_first_in_first_out() -> None:
    first, second, third, open_ = tax_lots(STORY).lots
    assert [(x.units, x.open_price, x.close_price) for x in (first, second, third, open_)] == [
        (D(1000), D("1.1"), D("1.25")),
        (D(200), D("1.2"), D("1.25")),
        (D(300), D("1.2"), D("1.3")),
        (D(-100), D("1.3"), None),
    ]
    assert [x.realised for x in (first, second, third, open_)] == [150, 10, 30, 0]
    assert [(x.open_id, x.close_id) for x in (first, second, third, open_)] == [
        ("02", "07"),
        ("04", "07"),
        ("04", "10"),
        ("10", ""),
    ]
    # 1.00, then -3.00 shared as 1000 : 500, then 0.30 on what was left of the second
    assert first.financing == -1
    assert second.financing == D("-0.4")
    assert third.financing == D("-0.6") + D("0.30")
    assert open_.financing == D("-0.07")
    # -0.75 on the 500 opened, -1.20 on the 1200 closed
    assert first.commission == -1
    assert second.commission == D("-0.3") + D("-0.2")
    assert third.commission == D("-0.45")
    assert (first.opened_at, first.closed_at) == (AT + timedelta(minutes=2), AT + timedelta(minutes=7))
    assert open_.closed_at is None
    assert [t.id for t in tax_lots(STORY).unallocated] == ["12"]


def test_the_sums_of_the_lots_are_the_brokers() -> None:
    found = tax_lots(STORY)
    financing = sum(t.amount for t in STORY if t.kind == "financing")
    assert sum(x.financing for x in found.lots) + sum(t.amount for t in found.unallocated) == financing
    assert sum(x.commission for x in found.lots) == D("-1.95")
    assert sum(x.realised for x in found.lots) == sum(t.amount for t in STORY if t.kind == "fill")


def test_a_short_in_another_currency_is_converted_where_it_closes() -> None:
    yen: Any = {"instrument": "USDJPY", "mid": D(150)}
    lots = tax_lots(
        [
            fill("01", "-1000", "150", conversion=D("0.0066"), **yen),
            fill("02", "1000", "145", "34.48", conversion=D("0.0069"), **yen),
        ]
    ).lots
    assert [(x.units, x.realised) for x in lots] == [(D(-1000), D("34.5000"))]


def test_a_thing_to_share_with_nobody_is_left_over() -> None:
    lonely = [roll("01", "1.00"), cash("02", "commission", "-1.00", client_id="x"), cash("03", "fee", "-1.00")]
    assert tax_lots(lonely).lots == []
    assert [t.id for t in tax_lots(lonely).unallocated] == ["01", "02"]


def test_thirds_add_up_to_the_cent() -> None:
    trades = [fill(f"0{n}", "1", "1.1") for n in range(3)]
    lots = tax_lots([*trades, roll("09", "0.01")]).lots
    assert sum(x.financing for x in lots) == D("0.01")


def test_a_fill_without_a_price_cannot_be_a_lot() -> None:
    with pytest.raises(LedgerError, match="fill 02 has no price or conversion"):
        tax_lots([attrs.evolve(fill("02", "1", "1.1"), price=None)])


def journal_of(*transactions: Transaction) -> MemoryJournal:
    journal = MemoryJournal()
    journal.import_transactions(transactions)
    return journal


def test_nav_is_cash_and_open_profit_at_the_mid() -> None:
    books = ledger_from(STORY, "USD")
    # 10000 + 1 - 0.75 - 3 + 140 - 1.20 + 0.30 + 50 - 0.07 + 5
    assert books.balance("Cash:USD") == D("10191.28")
    assert books.balance("Position:EURUSD", "EUR") == -100
    nav = nav_from(journal_of(*STORY), "USD", mids={EURUSD: D("1.28")})
    assert nav == D("10191.28") + D("2")


def test_nav_uses_the_latest_quotes_of_the_journal() -> None:
    journal = journal_of(*STORY)
    for bid in ("1.0", "1.2799"):
        journal.observe(Snapshot(AT, {EURUSD: Quote(D(bid), D("1.2801"), AT)}))
    assert nav_from(journal, "USD") == D("10193.28")
    assert nav_from(journal, "USD", opening=D(7)) == D("10200.28")


def test_nav_converts_and_never_guesses() -> None:
    journal = journal_of(
        fill("01", "-1000", "150", instrument="USDJPY"),
        cash("02", "financing", "100", currency="EUR"),
        cash("03", "transfer", "-10", currency="JPY"),
    )
    mids = {USDJPY: D(160), EURUSD: D("1.25")}
    assert nav_from(journal, "USD", mids=mids) == pytest.approx(D(-10_000) / 160 + 125 - D(10) / 160)
    with pytest.raises(MissingDataError, match="no price of EURUSD"):
        nav_from(journal, "USD", mids={USDJPY: D(160)})
    with pytest.raises(MissingDataError, match="no price of USDJPY"):
        nav_from(journal, "USD")
    assert nav_from(MemoryJournal(), "USD", opening=D(5)) == 5


def test_nav_converts_through_a_common_currency_where_that_is_all_there_is() -> None:
    """A central bank quotes everything against its own currency: 160 JPY a USD is 200 JPY a EUR at 1.25."""
    journal = journal_of(
        fill("01", "-1000", "150", instrument="USDJPY"), cash("02", "financing", "100", currency="CHF")
    )
    mids = {EURUSD: D("1.25"), Pair("JPY", "EUR"): D("0.005"), Pair("CHF", "EUR"): D("0.8")}
    assert nav_from(journal, "USD", mids=mids) == pytest.approx(D(-10_000) / 160 + 100)
    with pytest.raises(MissingDataError, match="no price of USDCHF"):
        nav_from(journal, "USD", mids={EURUSD: D("1.25"), Pair("JPY", "EUR"): D("0.005")})


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with SqliteJournal(tmp_path / "journal.db", account_id="A1") as journal:
        journal.intend([Order(client_id="order-02", instrument="EURUSD", units=D(1000), reason="rebalance, monthly")])
        journal.import_transactions(STORY)
        bite = Verdict("stop-loss", Action.CLOSE, "STOP_LOSS", headroom=-0.01, facts={"limit": 0.1, "worst": 0.11})
        calm = Verdict("max-position", Action.ALLOW, headroom=0.2)
        later = Verdict("max-exposure", Action.RESIZE, "EXPOSURE", until=AT)
        weights = np.array([0.3])
        journal.decide(
            "target",
            Decision(AT, weights, ("EURUSD",), [bite, later], TradingState.ACTIVE, [lambda: bite, lambda: calm]),
        )
        journal.decide("held", Decision(AT, weights, ("EURUSD",), [], TradingState.HALTED))
        yield journal.path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_an_export_is_four_files(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    assert export(path, target) == target
    assert sorted(p.name for p in target.iterdir()) == sorted(FILES)


def test_trades_carry_their_cost_and_commission(path: Path, tmp_path: Path) -> None:
    trades = rows(export(path, tmp_path / "out") / "trades.csv")
    assert len(trades) == 4
    assert trades[0] == {
        "at": "2025-03-12T15:02:00.000000+00:00",
        "id": "02",
        "instrument": "EURUSD",
        "units": "1000",
        "price": "1.1000",
        "mid": "1.0999",
        "conversion": "1",
        "cost": "0.1000",
        "commission": "0",
        "realised": "0.00",
        "reason": "rebalance, monthly",
        "client_id": "order-02",
    }
    assert [t["realised"] for t in trades] == ["0.00", "0.00", "140.00", "50.00"]


def test_the_commission_of_a_fill_is_on_its_line(tmp_path: Path) -> None:
    same: Any = {"at": AT, "client_id": "x", "instrument": "EURUSD"}
    story = [
        fill("01", "1", "1.1", **same),
        cash("02", "commission", "-0.20", **same),
        fill("03", "1", "1.1", **same, mid=None),
        cash("04", "commission", "-0.30", **same),
    ]
    with SqliteJournal(tmp_path / "j.db", account_id="A1") as journal:
        journal.import_transactions(story)
    trades = rows(export(tmp_path / "j.db", tmp_path / "out") / "trades.csv")
    assert sum(D(t["commission"]) for t in trades) == D("-0.50")
    assert [t["cost"] for t in trades] == ["0.0001", ""]


def test_lots_and_financing_add_up_in_the_files_too(path: Path, tmp_path: Path) -> None:
    out = export(path, tmp_path / "out")
    lots, financing = rows(out / "lots.csv"), rows(out / "financing.csv")
    assert [x["realised"] for x in lots] == ["150.0000", "10.0000", "30.0000", "0", "0"]
    assert [x["closed_at"] == "" for x in lots] == [False, False, False, True, True]
    assert lots[-1]["units"] == ""
    assert lots[-1]["instrument"] == "EUR"
    assert sum(D(x["financing"]) for x in lots) == sum(D(x["amount"]) for x in financing) == D("3.23")
    assert financing[0] == {
        "at": "2025-03-12T15:03:00.000000+00:00",
        "id": "03",
        "trade_date": "2025-03-12",
        "days": "3",
        "instrument": "EURUSD",
        "units": "0",
        "mid": "",
        "conversion": "",
        "amount": "1.00",
        "currency": "USD",
    }


def test_the_audit_trail_has_a_line_a_verdict(path: Path, tmp_path: Path) -> None:
    trail = rows(export(path, tmp_path / "out") / "decisions.csv")
    assert [(r["decision"], r["stage"], r["rule"], r["code"], r["is_finding"]) for r in trail] == [
        ("1", "target", "stop-loss", "STOP_LOSS", "1"),
        ("1", "target", "max-position", "OK", "0"),
        ("1", "target", "max-exposure", "EXPOSURE", "1"),
        ("2", "held", "", "", ""),
    ]
    first = trail[0]
    assert (first["action"], first["headroom"], first["limit"]) == ("CLOSE", "-0.01", "0.1")
    assert (first["inputs"], first["weights"]) == ('{"limit":0.1,"worst":0.11}', "[0.3]")
    assert trail[3]["state"] == "halted"
    assert trail[2]["until"] == "2025-03-12T15:00:00.000000+00:00"


def test_numbers_are_written_out() -> None:
    from fxcarry.journal.export import _csv

    assert _csv([[D("1E+3"), D("1E-7"), None, "a,b"]]) == '1000,0.0000001,,"a,b"\n'


def test_an_export_that_fails_leaves_the_one_before(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export(path, tmp_path / "out")
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with SqliteJournal(path, account_id="A1") as journal:
        journal.import_transactions([attrs.evolve(fill("20", "1", "1.1"), price=None)])
    with pytest.raises(LedgerError, match="fill 20"):
        export(path, out)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_an_export_to_nowhere_or_of_nothing_is_an_error(path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written to"):
        export(path, tmp_path / "file")
    with pytest.raises(ConfigError, match="there is no journal"):
        export(tmp_path / "none.db", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- the performance log ---------------------------------------------------------------------------------------------

DAY = date(2025, 3, 12)


def closed(day: date, n: int) -> datetime:
    return datetime(day.year, day.month, day.day, 21, tzinfo=UTC) + timedelta(seconds=n)  # 17:00 in New York


def test_a_day_is_a_line_and_the_header_comes_once(tmp_path: Path) -> None:
    log, journal = tmp_path / "performance_log.csv", journal_of(*STORY)
    journal.import_transactions([cash("50", "fee", "-0.05", at=closed(DAY, 0))])
    journal.import_transactions([cash("51", "fee", "-9.00", at=closed(DAY, 1))])  # of the next day
    assert append_performance(log, journal, DAY, D("10193.23"))
    assert not append_performance(log, journal, DAY, D("10193.23"))
    journal.transition(AT, RiskState(day_start=1.0, high_water=1.0, trading=TradingState.HALTED))
    assert append_performance(log, journal, DAY + timedelta(days=1), D("10184.23"))
    assert log.read_text() == (
        "date,nav,realised,financing,costs,flows,state\n"
        "2025-03-12,10193.23,190.00,3.23,-2.00,10000.00,\n"
        "2025-03-13,10184.23,0,0,-9.00,0,halted\n"
    )


def test_financing_counts_on_its_own_trade_date(tmp_path: Path) -> None:
    journal = journal_of(roll("01", "2.50", at=closed(DAY, 3600), trade_date=DAY))
    append_performance(tmp_path / "log.csv", journal, DAY, D(1))
    assert rows(tmp_path / "log.csv")[0]["financing"] == "2.50"


@pytest.mark.parametrize("torn", ["", "date,na", "date,nav,realised,financing,costs,flows,state\n2025-03-1"])
def test_a_line_that_a_crash_left_unfinished_is_replaced(tmp_path: Path, torn: str) -> None:
    log = tmp_path / "log.csv"
    log.write_text(torn)
    assert append_performance(log, MemoryJournal(), DAY, D("1.50"))
    assert log.read_text() == "date,nav,realised,financing,costs,flows,state\n2025-03-12,1.50,0,0,0,0,\n"


def test_days_are_appended_in_order_to_a_log_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    append_performance(log, MemoryJournal(), DAY, D(1))
    with pytest.raises(DataError, match="ends with 2025-03-12, after 2025-03-11"):
        append_performance(log, MemoryJournal(), DAY - timedelta(days=1), D(1))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="is no performance log"):
        append_performance(tmp_path / "other.csv", MemoryJournal(), DAY, D(1))
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"
    with pytest.raises(ConfigError, match="cannot be written"):
        append_performance(tmp_path / "none" / "log.csv", MemoryJournal(), DAY, D(1))


def test_sums_in_two_currencies_are_not_added(tmp_path: Path) -> None:
    journal = journal_of(cash("01", "fee", "-1.00"), cash("02", "fee", "-1.00", currency="EUR"))
    with pytest.raises(DataError, match="are in EUR, USD"):
        append_performance(tmp_path / "log.csv", journal, DAY, D(1))
    assert not (tmp_path / "log.csv").exists()


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    code = """
import sys
from datetime import date, timedelta
from decimal import Decimal
from fxcarry.errors import ConfigError
from fxcarry.journal import MemoryJournal, append_performance
day = date(2025, 3, 12)
try:
    for n in range(100):
        append_performance(sys.argv[1], MemoryJournal(), day + timedelta(days=n), Decimal("1234567.89"))
except ConfigError as error:
    print(n, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(log)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)),
    )
    count, message = done.stdout.split(" ", 1)
    assert "cannot be written" in message
    assert log.read_bytes().endswith(b"\n")
    assert len(rows(log)) == int(count) > 3
    assert append_performance(log, MemoryJournal(), date(2026, 1, 1), D(1))
    assert os.path.getsize(log) > 400
