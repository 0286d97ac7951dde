"""fxcarry.golive: what a journal of paper trading has to show before real money, and ``fxcarry check``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from click.testing import CliRunner

import fxcarry.cli.golive
import fxcarry.journal.sqlite
from fxcarry.cli import cli
from fxcarry.conventions import session_end
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.golive import (
    CONFIRMATIONS,
    GoLiveReport,
    Requirement,
    check_go_live,
    check_live_keys,
    confirm,
    minimum_capital,
)
from fxcarry.journal import SqliteJournal
from fxcarry.model import Alert, Instrument, Pair, Quote, RiskState, Snapshot, TradingState, Transaction

FIRST = date(2026, 1, 5)  # a Monday
DAYS = [d for d in np.arange("2026-01-05", "2026-04-11", dtype="datetime64[D]").tolist() if d.weekday() < 5]
START = datetime(2026, 1, 4, 22, 30, tzinfo=UTC)  # on the wall, when the first run began
NOW = session_end(DAYS[-1]) + timedelta(hours=2)
EUR, AUD = Pair("EUR", "USD"), Pair("AUD", "USD")
RULES = '[[rules]]\nuse = "drawdown"\nlimit = 0.15\n'
INSTRUMENTS = {str(pair): Instrument(name=str(pair), exposure=pair) for pair in (EUR, AUD)}
MIDS = {EUR: Decimal("1.10"), AUD: Decimal("0.70")}
NAMES = [
    "time on paper", "no gaps", "Sharpe ratio", "drawdown", "emergency liquidation", "alerts delivered",
    "limits documented", "slippage", "capital fraction", "minimum capital", "backup connection", "broker contact",
]  # fmt: skip


def good_navs() -> list[float]:
    """A rise of about 8 % a year with small steps back."""
    return [1_000_000 * (1 + 0.0004 * i + 0.001 * (i % 2)) for i in range(len(DAYS))]


@contextmanager
def wall(at: datetime) -> Iterator[None]:
    """The journal's clock on the wall stands at ``at``."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return at

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fxcarry.journal.sqlite, "datetime", Stopped)
        yield


def fill(
    number: int, at: datetime, units: int, pair: Pair = EUR, over: str = "0.00007", *, mid: bool = True
) -> Transaction:
    """A fill ``over`` mid, as a buyer or seller."""
    price = MIDS[pair] + Decimal(over) * (1 if units > 0 else -1)
    return Transaction(
        id=f"f{number:03}", at=at, kind="fill", amount=Decimal(0), currency="USD", instrument=str(pair),
        units=Decimal(units), price=price, mid=MIDS[pair] if mid else None, conversion=Decimal(1),
    )  # fmt: skip


def noon(day: date) -> datetime:
    return session_end(day) - timedelta(hours=5)


def good_fills() -> list[Transaction]:
    """Something bought and sold every few days; all closed for the drill of day 40, and bought back."""
    steps = [(5, 1000, EUR), (10, 500, EUR), (15, 800, AUD), (20, -300, AUD), (25, 200, EUR), (30, -100, EUR)]
    steps += [(41, -1600, EUR), (41, -500, AUD), (45, 900, EUR), (50, 300, AUD), (55, -50, EUR), (60, 70, AUD)]
    return [fill(i, noon(DAYS[day]), units, pair) for i, (day, units, pair) in enumerate(steps)]


def halted(nav: float) -> RiskState:
    return RiskState(day_start=nav, high_water=nav, trading=TradingState.HALTED, latch="OPERATOR")


def paper(
    path: Path,
    *,
    started: datetime = START,
    days: Sequence[date] = DAYS,
    navs: Sequence[float] | None = None,
    booked: Sequence[Transaction] | None = None,
    drill: Callable[[SqliteJournal], None] | None = None,
    config: str = RULES,
    channels: Sequence[tuple[str, str]] = (("console", ""), ("telegram", "")),
    confirmed: Sequence[str] = tuple(CONFIRMATIONS),
) -> SqliteJournal:
    """The journal of an account that has earned it, but for what is changed."""
    journal = SqliteJournal(path, account_id="P1", config=config)
    navs = good_navs() if navs is None else navs
    with wall(started), journal.atomic():
        quotes = {pair: Quote(mid - Decimal("0.00005"), mid + Decimal("0.00005"), NOW) for pair, mid in MIDS.items()}
        journal.observe(Snapshot(session_end(days[-1]), quotes))
        journal.import_transactions(good_fills() if booked is None else booked)
        journal.keep_intention(session_end(DAYS[4]), {"EUR": 0.3, "AUD": -0.25, "NOK": 0.001}, 0, "decided")
        journal.end_intention(session_end(DAYS[4]), "acted on")
        number = journal.alert(Alert(at=noon(DAYS[20]), kind="stop-loss", severity="warning", message="out"))
        for channel, error in channels:
            journal.delivery(number, channel, noon(DAYS[20]), "failed" if error else "delivered", error)
        (a_good_drill if drill is None else drill)(journal)
        for day, nav in zip(days, navs):
            journal.beat(noon(day))
            journal.transition(session_end(day), RiskState(day_start=nav, high_water=max(navs)))
            journal.beat(session_end(day))
    for what in confirmed:
        confirm(journal, what, by="anna", at=noon(DAYS[-20]), reason="tried")
    return journal


def a_good_drill(journal: SqliteJournal) -> None:
    at, later = noon(DAYS[40]), noon(DAYS[42])
    flatten = journal.command("flatten", by="anna", at=at - timedelta(seconds=9), reason="drill")
    journal.take(flatten, at)
    journal.transition(at, halted(1.0))
    journal.take(journal.command("resume", by="anna", at=later, reason="drill over"), later)


def checked(journal: SqliteJournal, **changes: Any) -> GoLiveReport:
    facts: dict[str, Any] = {
        "costs": Costs(),
        "instruments": INSTRUMENTS,
        "capital_fraction": 0.1,
        "intended_capital": 100_000.0,
        "now": NOW,
    }
    return check_go_live(journal, **{**facts, **changes})


def one(report: GoLiveReport, name: str) -> Requirement:
    [found] = [r for r in report.requirements if r.name == name]
    return found


def test_an_account_that_has_earned_it(tmp_path: Path) -> None:
    report = checked(paper(tmp_path / "j"))
    assert [r.name for r in report.requirements] == NAMES
    assert [r for r in report.requirements if not r.is_met] == []
    assert report.is_ready
    assert all(r.found and r.needed and not r.what_to_do for r in report.requirements)
    assert report.days == len(DAYS) - 1
    told = json.loads(json.dumps(report.to_dict()))
    assert (told["account_id"], told["is_ready"], len(told["requirements"])) == ("P1", True, 12)


def test_an_empty_journal_meets_nothing_but_the_fraction(tmp_path: Path) -> None:
    report = checked(SqliteJournal(tmp_path / "j", account_id="P1"))
    assert [r.name for r in report.requirements if r.is_met] == ["capital fraction"]
    assert all(r.what_to_do for r in report.missing)
    assert report.days == 0


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("started", [NOW, session_end(DAYS[-1]), noon(DAYS[-1]) + timedelta(minutes=6)])
def test_a_replay_of_the_same_days_counts_for_nothing(started: datetime, tmp_path: Path) -> None:
    """The same records, written on one afternoon after the days they are of."""
    report = checked(paper(tmp_path / "j", started=started))
    assert not one(report, "time on paper").is_met
    assert "looks of a replay do not count" in one(report, "time on paper").found
    assert report.days == 0
    for name in (
        "Sharpe ratio",
        "drawdown",
        "emergency liquidation",
        "alerts delivered",
        "slippage",
        "minimum capital",
    ):
        assert not one(report, name).is_met, name


def test_looks_dated_after_now_are_a_replay_too(tmp_path: Path) -> None:
    journal = paper(tmp_path / "j")
    report = checked(journal, now=START + timedelta(hours=1))
    assert one(report, "time on paper").found == f"no look in real time; {2 * len(DAYS)} looks of a replay do not count"


def test_real_days_after_a_replay_count_alone(tmp_path: Path) -> None:
    """The folder was first used for a replay of 2007, which lost half of the account."""
    path, old = tmp_path / "j", [date(2007, 6, 4), date(2007, 6, 5)]
    with SqliteJournal(path, account_id="P1", config=RULES) as journal, wall(START - timedelta(days=1)):
        journal.import_transactions([fill(900, noon(old[1]), 10, over="0.5")])
        for day, nav in zip(old, (2e6, 1e6)):
            journal.transition(session_end(day), RiskState(day_start=nav, high_water=2e6))
            journal.beat(session_end(day))
    alone = checked(paper(tmp_path / "alone"))
    report = checked(paper(path))
    assert one(report, "time on paper").found == (
        one(alone, "time on paper").found + "; 2 looks of a replay do not count"
    )
    assert one(report, "Sharpe ratio") == one(alone, "Sharpe ratio")
    assert one(report, "drawdown") == one(alone, "drawdown")
    assert one(report, "slippage") == one(alone, "slippage")


@pytest.mark.parametrize(("last", "is_met"), [(date(2026, 4, 3), False), (date(2026, 4, 6), True)])
def test_three_months_are_three_months_by_the_calendar(last: date, is_met: bool, tmp_path: Path) -> None:
    days = [d for d in DAYS if d <= last]
    found = one(checked(paper(tmp_path / "j", days=days), now=session_end(last)), "time on paper")
    assert found.is_met is is_met
    assert found.found == f"2026-01-05 to {last}, {(last - FIRST).days} days"


def test_the_last_day_of_a_month_has_no_counterpart_in_a_shorter_one(tmp_path: Path) -> None:
    from fxcarry.golive import _months_after

    assert _months_after(date(2025, 11, 30), 3) == date(2026, 2, 28)
    assert _months_after(date(2025, 11, 28), 3) == date(2026, 2, 28)
    assert _months_after(date(2025, 12, 31), 3) == date(2026, 3, 31)


def test_a_gap_counts_as_missing_and_is_named(tmp_path: Path) -> None:
    days = DAYS[:30] + DAYS[34:]  # 4 of 70
    found = one(checked(paper(tmp_path / "j", days=days)), "no gaps")
    assert not found.is_met
    gone = ", ".join(map(str, DAYS[30:33]))
    assert found.found == f"94.3% of 70 business days until now; none on {gone} and 1 more"
    few = one(checked(paper(tmp_path / "few", days=DAYS[:30] + DAYS[33:])), "no gaps")
    assert few.is_met  # 95.7 %
    assert few.found.endswith(f"none on {gone}")


def test_days_since_it_stopped_are_missing_too(tmp_path: Path) -> None:
    journal = paper(tmp_path / "j")
    assert one(checked(journal, now=NOW + timedelta(days=3)), "no gaps").is_met  # Monday has not ended
    late = one(checked(journal, now=NOW + timedelta(days=9)), "no gaps")
    assert (late.is_met, late.found[:30]) == (False, "93.3% of 75 business days unti")


def test_christmas_is_no_gap(tmp_path: Path) -> None:
    days = [date(2025, 12, d) for d in (22, 23, 24, 26, 29, 30, 31)] + [date(2026, 1, 2)]
    journal = paper(tmp_path / "j", days=days, started=session_end(date(2025, 12, 19)), drill=lambda _: None, booked=())
    found = one(checked(journal, now=session_end(days[-1])), "no gaps")
    assert found.found == "100.0% of 8 business days until now"


# --- what it earned --------------------------------------------------------------------------------------------------


def by_hand(returns: Any, periods: float = 260.0) -> tuple[float, float]:
    """Annual Sharpe ratio and its standard error (Mertens 2002), from the moments as they are written there."""
    r = np.asarray(returns)
    ratio = r.mean() / r.std(ddof=1)
    z = (r - r.mean()) / r.std()
    variance = (1 - ratio * (z**3).mean() + ((z**4).mean() - 1) / 4 * ratio**2) / len(r)
    return float(ratio * math.sqrt(periods)), float(math.sqrt(variance * periods))


def test_the_sharpe_ratio_is_that_of_the_daily_navs(tmp_path: Path) -> None:
    navs = [1_000_000 * (1 + 0.0002 * i + 0.004 * math.sin(i)) for i in range(len(DAYS))]
    ratio, error = by_hand(np.diff(navs) / navs[:-1])
    found = one(checked(paper(tmp_path / "j", navs=navs)), "Sharpe ratio")
    assert found.found == f"{ratio:.2f} ± {error:.2f} ({len(DAYS) - 1} daily returns)"
    assert found.is_met is (ratio > 0.5)
    worse = one(checked(paper(tmp_path / "k", navs=navs[::-1])), "Sharpe ratio")
    assert not worse.is_met
    assert worse.found.startswith("-")


def test_what_is_paid_in_is_not_earned(tmp_path: Path) -> None:
    navs = good_navs()
    paid = [nav + 50_000 * (i >= 30) for i, nav in enumerate(navs)]
    transfer = Transaction(id="t1", at=noon(DAYS[30]), kind="transfer", amount=Decimal(50_000), currency="USD")
    journal = paper(tmp_path / "j", navs=paid, booked=[*good_fills(), transfer])
    returns = [(paid[i] - 50_000 * (i == 30)) / paid[i - 1] - 1 for i in range(1, len(paid))]
    ratio, error = by_hand(returns)
    assert one(checked(journal), "Sharpe ratio").found == f"{ratio:.2f} ± {error:.2f} ({len(DAYS) - 1} daily returns)"
    out = attrs.evolve(transfer, amount=Decimal(-400_000))
    drawn = [nav - 400_000 * (i >= 30) for i, nav in enumerate(navs)]
    without = paper(tmp_path / "k", navs=drawn, booked=good_fills())
    assert one(checked(without), "drawdown").found.startswith("39.")
    known = paper(tmp_path / "l", navs=drawn, booked=[*good_fills(), out])
    assert one(checked(known), "drawdown").found == "0.1% of end-of-day NAV"


def test_a_transfer_in_another_currency_needs_its_conversion(tmp_path: Path) -> None:
    transfer = Transaction(id="t1", at=noon(DAYS[30]), kind="transfer", amount=Decimal(1000), currency="EUR")
    with pytest.raises(MissingDataError, match=r"transfer t1 of 1000 EUR has no conversion to USD"):
        checked(paper(tmp_path / "j", booked=[transfer]))
    navs = [1_000_000 + 1100.0 * (i >= 30) + (i % 2) for i in range(len(DAYS))]
    converted = attrs.evolve(transfer, conversion=Decimal("1.1"))
    report = checked(paper(tmp_path / "k", navs=navs, booked=[*good_fills(), converted]))
    assert one(report, "drawdown").found == "0.0% of end-of-day NAV"
    assert float(one(report, "Sharpe ratio").found.split(" ")[0]) < 0.5


def test_days_without_a_record_make_fewer_returns_a_year(tmp_path: Path) -> None:
    """One return over five days is one return; the year has as many as were found."""
    days, navs = DAYS[:30] + DAYS[34:], good_navs()[:30] + good_navs()[34:]
    ratio, error = by_hand(np.diff(navs) / navs[:-1], 260 * (len(days) - 1) / (len(DAYS) - 1))
    found = one(checked(paper(tmp_path / "j", days=days, navs=navs)), "Sharpe ratio").found
    assert found == f"{ratio:.2f} ± {error:.2f} (65 daily returns over 69 business days)"


def test_a_day_that_was_missed_is_told_by_the_next_look_and_by_nobody_else(tmp_path: Path) -> None:
    """17:00 was missed: the look after it records NAV. An emergency from another process records the NAV of before."""
    journal = paper(tmp_path / "j", days=DAYS[:-2])
    before = checked(journal, now=session_end(DAYS[-2]))
    elsewhere, late = session_end(DAYS[-2]) + timedelta(hours=1), session_end(DAYS[-2]) + timedelta(hours=3)
    with wall(elsewhere):
        journal.transition(elsewhere, halted(1.0))
        assert checked(journal, now=elsewhere).days == before.days
        nav = good_navs()[len(DAYS) - 3] * 0.7
        journal.transition(late, halted(1.0))  # a command, before the look
        journal.transition(late, RiskState(day_start=nav, high_water=1e6))
        journal.beat(late)
    after = checked(journal, now=late)
    assert after.days == before.days + 1
    assert one(after, "drawdown").found == "30.0% of end-of-day NAV"
    with wall(late):  # resumed at noon: the day is measured anew, its start is not a day's end
        journal.transition(late + timedelta(hours=9), RiskState(day_start=9e6, high_water=9e6))
        journal.beat(late + timedelta(hours=9))
    assert one(checked(journal, now=late + timedelta(hours=9)), "drawdown") == one(after, "drawdown")


@pytest.mark.parametrize(("low", "is_met"), [(0.801, True), (0.799, False)])
def test_a_drawdown_of_a_fifth_is_too_much(low: float, is_met: bool, tmp_path: Path) -> None:
    navs = [1e6] * len(DAYS)
    navs[40] = low * 1e6
    found = one(checked(paper(tmp_path / "j", navs=navs)), "drawdown")
    assert (found.is_met, found.found) == (is_met, f"{1 - low:.1%} of end-of-day NAV")


def test_nav_that_stands_still_has_no_sharpe_ratio(tmp_path: Path) -> None:
    found = one(checked(paper(tmp_path / "j", navs=[1e6] * len(DAYS))), "Sharpe ratio")
    assert (found.is_met, found.found) == (False, "none: NAV did not move (69 daily returns)")


def test_an_account_that_lost_everything_has_no_returns(tmp_path: Path) -> None:
    navs = [1e6] * 60 + [0.0] * (len(DAYS) - 60)
    with pytest.raises(DataError, match=f"NAV at the end of {DAYS[60]} is 0.00"):
        checked(paper(tmp_path / "j", navs=navs))


# --- slippage --------------------------------------------------------------------------------------------------------


def test_slippage_is_measured_in_basis_points_of_mid(tmp_path: Path) -> None:
    """Seven tenths of a pip of EURUSD at 1.10 and of AUDUSD at 0.70, against half of 1.3 and 2.0 bp."""
    real = [0.00007 / float(MIDS[Pair.parse(t.instrument)]) * 1e4 for t in good_fills()]
    estimate = [{"EURUSD": 0.65, "AUDUSD": 1.0}[t.instrument] for t in good_fills()]
    error = np.std(np.subtract(real, estimate), ddof=1) / math.sqrt(12)
    found = one(checked(paper(tmp_path / "j")), "slippage")
    assert (
        found.found == f"{np.mean(real):.2f} ± {error:.2f} bp a fill, {np.mean(estimate):.2f} bp estimated (12 fills)"
    )
    assert found.is_met


@pytest.mark.parametrize(
    ("over", "slippage_bps", "is_met"),
    [
        ("0.00010", 0.0, True),  # 1.00 bp where 0.65 are estimated: 1.5 times is 0.975, but AUD is far below its own
        ("0.00012", 0.0, False),
        ("0.00012", 0.5, True),
        ("-0.00002", 0.0, True),
    ],
)
def test_fills_may_cost_one_and_a_half_times_the_estimate(
    over: str, slippage_bps: float, is_met: bool, tmp_path: Path
) -> None:
    fills = [fill(i, noon(DAYS[i + 5]), 100 if i % 2 else -100, EUR, over) for i in range(10)]
    found = one(checked(paper(tmp_path / "j", booked=fills), costs=Costs(slippage_bps=slippage_bps)), "slippage")
    paid = float(over) / 1.10 * 1e4
    assert found.found.startswith(f"{paid:.2f} ± 0.00 bp a fill, {0.65 + slippage_bps:.2f} bp estimated")
    assert found.is_met is (paid <= 1.5 * (0.65 + slippage_bps)) is is_met


def test_what_cannot_be_told_from_the_estimate_passes(tmp_path: Path) -> None:
    """Costs of -4 and +8 bp by turns are 2 on average, 3 times the estimate, but with an error of 2."""
    fills = [fill(i, noon(DAYS[i + 5]), 100, EUR, "0.00088" if i % 2 else "-0.00044") for i in range(10)]
    found = one(checked(paper(tmp_path / "j", booked=fills)), "slippage")
    assert found.found == "2.00 ± 2.00 bp a fill, 0.65 bp estimated (10 fills)"
    assert found.is_met


def test_too_few_fills_or_fills_without_a_mid_show_nothing(tmp_path: Path) -> None:
    nine = [fill(i, noon(DAYS[i + 5]), 100) for i in range(9)]
    few = one(checked(paper(tmp_path / "j", booked=nine)), "slippage")
    assert (few.is_met, few.found) == (False, "9 fills are too few")
    blind = [*nine, fill(9, noon(DAYS[20]), 100, mid=False)]
    found = one(checked(paper(tmp_path / "k", booked=blind)), "slippage")
    assert (found.is_met, found.found) == (False, "1 of 10 fills have no mid")


def test_free_trading_as_estimated_is_no_slippage(tmp_path: Path) -> None:
    fills = [fill(i, noon(DAYS[i + 5]), 100, over="0") for i in range(10)]
    assert one(checked(paper(tmp_path / "j", booked=fills), costs=Costs.none()), "slippage").is_met


def test_a_pair_without_a_spread_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no spread for AUD"):
        checked(paper(tmp_path / "j"), costs=Costs(spread_bps={"EUR": 1.0, "USD": 0.0}))


def test_the_brokers_own_names_stand_for_their_pairs(tmp_path: Path) -> None:
    named = {"SPOT.17": Instrument(name="SPOT.17", exposure=EUR)}
    fills = [attrs.evolve(fill(i, noon(DAYS[i + 5]), 100), instrument="SPOT.17") for i in range(10)]
    found = one(checked(paper(tmp_path / "j", booked=fills), instruments=named), "slippage")
    assert "0.65 bp estimated" in found.found


# --- the drill -------------------------------------------------------------------------------------------------------


def test_a_drill_is_told_with_who_and_when(tmp_path: Path) -> None:
    found = one(checked(paper(tmp_path / "j")), "emergency liquidation")
    first, closed, resumed = (f"{noon(DAYS[i]):%Y-%m-%d %H:%M}" for i in (40, 41, 42))
    assert found.found == f"{first} by anna: 2 positions closed by {closed}, resumed {resumed}"


def without_resume(journal: SqliteJournal) -> None:
    journal.take(journal.command("flatten", by="anna", at=noon(DAYS[40]), reason="drill"), noon(DAYS[40]))
    journal.transition(noon(DAYS[40]), halted(1.0))


def without_halt(journal: SqliteJournal) -> None:
    journal.take(journal.command("flatten", by="anna", at=noon(DAYS[40]), reason="drill"), noon(DAYS[40]))
    drawdown = attrs.evolve(halted(1.0), latch="DRAWDOWN")
    journal.transition(noon(DAYS[40]), drawdown)
    journal.take(journal.command("resume", by="anna", at=noon(DAYS[42]), reason="x"), noon(DAYS[42]))


def too_early(journal: SqliteJournal) -> None:
    at = noon(DAYS[2])
    journal.take(journal.command("flatten", by="anna", at=at, reason="drill"), at)
    journal.transition(at, halted(1.0))
    journal.take(journal.command("resume", by="anna", at=at, reason="x"), at + timedelta(hours=1))


def too_soon_resumed(journal: SqliteJournal) -> None:
    at = noon(DAYS[40])
    journal.take(journal.command("flatten", by="anna", at=at, reason="drill"), at)
    journal.transition(at, halted(1.0))
    journal.take(journal.command("resume", by="anna", at=at, reason="x"), at + timedelta(hours=1))


def not_taken(journal: SqliteJournal) -> None:
    journal.command("flatten", by="anna", at=noon(DAYS[40]), reason="drill")


def only_paused(journal: SqliteJournal) -> None:
    journal.take(journal.command("pause", by="anna", at=noon(DAYS[40]), reason="drill"), noon(DAYS[40]))


@pytest.mark.parametrize(
    ("drill", "said"),
    [
        (without_resume, f"2 positions closed by {noon(DAYS[41]):%Y-%m-%d %H:%M}, not resumed"),
        (without_halt, "it did not halt"),
        (too_early, "nothing was held"),
        (too_soon_resumed, "still held afterwards: EURUSD 1,600, AUDUSD 500"),
        (not_taken, "never"),
        (only_paused, "never"),
    ],
)
def test_half_a_drill_is_none(drill: Callable[[SqliteJournal], None], said: str, tmp_path: Path) -> None:
    found = one(checked(paper(tmp_path / "j", drill=drill)), "emergency liquidation")
    assert not found.is_met
    assert found.found.endswith(said)


def test_positions_closed_one_after_the_other_are_closed_with_the_last(tmp_path: Path) -> None:
    fills = good_fills()
    fills[7] = attrs.evolve(fills[7], at=fills[7].at + timedelta(hours=2))
    found = one(checked(paper(tmp_path / "j", booked=fills)), "emergency liquidation")
    assert f"closed by {noon(DAYS[41]) + timedelta(hours=2):%Y-%m-%d %H:%M}" in found.found
    fills[7] = attrs.evolve(fills[7], units=Decimal(-499))
    one_left = one(checked(paper(tmp_path / "k", booked=fills)), "emergency liquidation")
    assert one_left.found.endswith("still held afterwards: AUDUSD 1")


def test_a_second_drill_makes_good_for_the_first(tmp_path: Path) -> None:
    def twice(journal: SqliteJournal) -> None:
        too_early(journal)
        a_good_drill(journal)
        at = noon(DAYS[60])
        journal.take(journal.command("flatten", by="ben", at=at, reason="in earnest"), at)

    assert one(checked(paper(tmp_path / "j", drill=twice)), "emergency liquidation").is_met


# --- alerts ----------------------------------------------------------------------------------------------------------


def test_the_console_alone_wakes_nobody(tmp_path: Path) -> None:
    found = one(checked(paper(tmp_path / "j", channels=[("console", "")])), "alerts delivered")
    assert not found.is_met
    assert found.found == "none of 1 warnings reached a channel other than the console"
    failed = one(checked(paper(tmp_path / "k", channels=[("console", ""), ("telegram", "401")])), "alerts delivered")
    assert not failed.is_met


def test_one_channel_that_took_it_is_enough(tmp_path: Path) -> None:
    channels = [("telegram", "TimeoutError"), ("mail", "")]
    assert one(checked(paper(tmp_path / "j", channels=channels)), "alerts delivered").is_met


@pytest.mark.parametrize(
    ("day", "severity", "errors", "is_met"),
    [
        (60, "critical", ["down"], False),  # within the last 30 days
        (60, "critical", [], False),
        (60, "critical", ["down", ""], True),
        (60, "info", ["down"], True),
        (30, "critical", ["down"], True),  # long ago
        (10, "critical", ["down"], True),  # before the channel was there
    ],
)
def test_every_warning_of_the_last_month_must_have_reached_somebody(
    day: int, severity: Any, errors: list[str], is_met: bool, tmp_path: Path
) -> None:
    journal = paper(tmp_path / "j")
    number = journal.alert(Alert(at=noon(DAYS[day]), kind="feed-error", severity=severity, message="silent"))
    for i, error in enumerate(errors):
        journal.delivery(number, f"channel-{i}", noon(DAYS[day]), "failed" if error else "delivered", error)
    journal.delivery(number, "console", noon(DAYS[day]), "delivered")
    assert one(checked(journal), "alerts delivered").is_met is is_met


# --- limits and what a person says -----------------------------------------------------------------------------------


def test_the_limits_are_those_kept_with_the_run(tmp_path: Path) -> None:
    found = one(checked(paper(tmp_path / "j")), "limits documented")
    assert found.is_met
    assert found.found == f"drawdown limit=0.15. anna, {DAYS[-20]}: tried"


def test_the_default_set_is_named_with_its_limits(tmp_path: Path) -> None:
    found = one(checked(paper(tmp_path / "j", config='mode = "paper"\n')), "limits documented")
    assert found.is_met
    assert found.found.startswith(
        "the default set: max-position limit=0.3 currency_limit=0.6 drift_limit=0.33, stop-loss limit=0.05, "
        "max-currencies-per-side limit=3 threshold=0.01, max-exposure limit=2.0 drift_limit=2.2 hard_limit=2.5, "
        "daily-loss limit=0.03 flatten=False, drawdown limit=0.15, staleness minutes=60.0. anna"
    )


def test_the_rules_of_a_strategy_are_named_as_its(tmp_path: Path) -> None:
    config = '[strategies.mine]\nuse = "baseline"\n[[strategies.mine.rules]]\nuse = "stop-loss"\nlimit = 0.02\n'
    found = one(checked(paper(tmp_path / "j", config=config)), "limits documented")
    assert found.found.startswith("mine: stop-loss limit=0.02. anna")
    both = config + '[strategies.other]\nuse = "rank"\n' + RULES
    found = one(checked(paper(tmp_path / "k", config=both)), "limits documented")
    assert found.found.startswith("mine: stop-loss limit=0.02; drawdown limit=0.15. anna")


@pytest.mark.parametrize(
    "config",
    ["", "no TOML", "rules = []\n", '[strategies.a]\nuse = "rank"\nrules = []\n[strategies.b]\nuse = "rank"\n'],
)
def test_no_rules_are_no_limits(config: str, tmp_path: Path) -> None:
    found = one(checked(paper(tmp_path / "j", config=config)), "limits documented")
    assert not found.is_met
    assert found.found.startswith("no rules are kept with the run. anna")


def test_limits_that_changed_are_confirmed_again(tmp_path: Path) -> None:
    journal = paper(tmp_path / "j")
    for at, config, is_met in (
        (DAYS[-10], RULES + "# a new run\n", True),
        (DAYS[-8], RULES.replace("0.15", "0.25"), False),
        (DAYS[-6], RULES.replace("0.15", "0.25"), False),
        (DAYS[-4], RULES, False),  # back again, but not as it was confirmed
    ):
        journal.begin_run(config, ())
        with wall(noon(at)):
            journal.beat(session_end(at))
        assert one(checked(journal), "limits documented").is_met is is_met, at
    assert ". before they changed: anna, " in one(checked(journal), "limits documented").found
    confirm(journal, "limits", by="ben", at=noon(DAYS[-2]), reason="meant")
    assert one(checked(journal), "limits documented").found == f"drawdown limit=0.15. ben, {DAYS[-2]}: meant"


@pytest.mark.parametrize("what", CONFIRMATIONS)
def test_what_nobody_confirmed_is_missing(what: str, tmp_path: Path) -> None:
    journal = paper(tmp_path / "j", confirmed=[c for c in CONFIRMATIONS if c != what])
    [missing] = checked(journal).missing
    assert missing.found.endswith("not confirmed")
    assert f"fxcarry check --confirm {what} --reason" in missing.what_to_do


def test_a_confirmation_expires_and_is_renewed(tmp_path: Path) -> None:
    journal = paper(tmp_path / "j")
    given = noon(DAYS[-20])
    assert one(checked(journal, now=given + timedelta(days=90)), "broker contact").is_met
    late = given + timedelta(days=90, seconds=1)
    expired = one(checked(journal, now=late), "broker contact")
    assert (expired.is_met, expired.found) == (False, f"expired: anna, {given:%Y-%m-%d}: tried")
    confirm(journal, "broker-contact", by="ben", at=late, reason=" called them ")
    assert one(checked(journal, now=late), "broker contact").found == f"ben, {late:%Y-%m-%d}: called them"


@pytest.mark.parametrize(("what", "reason", "said"), [("luck", "x", "'luck' is nothing"), ("limits", " ", "a reason")])
def test_what_cannot_be_confirmed(what: str, reason: str, said: str, tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j", account_id="P1")
    with pytest.raises(ConfigError, match=said):
        confirm(journal, what, by="anna", at=NOW, reason=reason)
    assert journal.table("confirmations") == []


# --- capital ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "is_met"), [(0.05, True), (0.2, True), (0.21, False), (1.0, False)])
def test_one_begins_with_a_fifth_at_most(fraction: float, is_met: bool, tmp_path: Path) -> None:
    found = one(checked(paper(tmp_path / "j"), capital_fraction=fraction), "capital fraction")
    assert (found.is_met, found.found) == (is_met, f"{fraction:.0%} of the intended capital")


def test_the_minimum_capital_by_hand() -> None:
    """Steps of 1000 EUR off by less than 5 % are 20,000 EUR: 22,000 USD, which is a quarter of 88,000."""
    broker = [
        Instrument(name="E", exposure=EUR, unit_step=Decimal(1000), minimum_units=Decimal(1000)),
        Instrument(name="A", exposure=AUD, unit_step=Decimal(1), minimum_units=Decimal(25_000)),
        Instrument(name="J", exposure=Pair("USD", "JPY"), unit_step=Decimal(1000)),
    ]
    assert minimum_capital(0.25, broker, "USD", MIDS) == (Decimal(88_000), broker[0])
    assert minimum_capital(0.25, broker[1:2], "USD", MIDS) == (Decimal(70_000), broker[1])  # its minimum
    assert minimum_capital(0.25, broker[2:], "USD", {}) == (Decimal(80_000), broker[2])  # its base is the account's
    in_euro = minimum_capital(
        0.1, broker[1:], "EUR", {**MIDS, Pair("EUR", "AUD"): Decimal("1.6")} | {EUR: Decimal("1.1")}
    )
    assert float(in_euro[0]) == pytest.approx(20_000 / 1.1 / 0.1)  # USDJPY; 25,000 AUD / 1.6 are less


def test_rounding_at_the_minimum_capital_is_within_its_bound() -> None:
    """Held as the engine holds it: whole steps, rounded towards zero."""
    from fxcarry.orders import whole

    instrument = Instrument(name="E", exposure=EUR, unit_step=Decimal(1000))
    for weight in (0.0173, 0.1, 0.3):
        nav = float(minimum_capital(weight, [instrument], "USD", MIDS)[0])
        for more in (1.0, 1.0499, 1.7):
            units = weight * nav * more / 1.10
            assert 1 - whole([units], [1000.0])[0] / units < 0.05


@pytest.mark.parametrize(("weight", "instruments"), [(0.0, [INSTRUMENTS["EURUSD"]]), (math.inf, []), (0.1, [])])
def test_no_weight_or_nothing_to_trade_has_no_minimum(weight: float, instruments: list[Instrument]) -> None:
    with pytest.raises(ConfigError):
        minimum_capital(weight, instruments, "USD", MIDS)


def test_a_conversion_that_is_missing_is_an_error(tmp_path: Path) -> None:
    nok = Instrument(name="NOKUSD", exposure=Pair("NOK", "USD"))
    with pytest.raises(MissingDataError, match="no price of USDNOK"):
        checked(paper(tmp_path / "j"), instruments={**INSTRUMENTS, "NOKUSD": nok})


@pytest.mark.parametrize(("intended", "is_met"), [(880.0, True), (879.0, False), (None, False)])
def test_what_one_begins_with_must_hold_the_smallest_weight(
    intended: float | None, is_met: bool, tmp_path: Path
) -> None:
    """20 EUR are 22 USD, a quarter of 88 USD, a tenth of 880; the 0.1 % of NOK do not count."""
    found = one(checked(paper(tmp_path / "j"), intended_capital=intended), "minimum capital")
    assert found.is_met is is_met
    assert found.needed == "88.00 USD to hold 25.0% of NAV in EURUSD"
    assert found.found == (
        "[live] has no intended_capital" if intended is None else f"{intended / 10:.2f} USD to begin with"
    )


# --- three keys ------------------------------------------------------------------------------------------------------

KEYS: dict[str, Any] = {
    "mode": "live", "environ": {"FXCARRY_LIVE": "1"}, "account_id": "A-7", "broker_account_id": "A-7",
}  # fmt: skip


def test_three_keys_open_the_door() -> None:
    check_live_keys(**KEYS)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"mode": "paper"}, ['mode = "live" in the configuration (it is "paper")']),
        ({"environ": {}}, ["FXCARRY_LIVE=1 in the environment"]),
        ({"environ": {"FXCARRY_LIVE": "true"}}, ["FXCARRY_LIVE=1 in the environment"]),
        ({"account_id": None}, ["the account id on the command line"]),
        ({"account_id": "", "broker_account_id": ""}, ["the account id on the command line"]),
        ({"account_id": "A-8"}, ["the broker's account id on the command line ('A-8' was given)"]),
        (
            {"mode": "backtest", "environ": {}, "account_id": None},
            [
                'mode = "live" in the configuration (it is "backtest")',
                "FXCARRY_LIVE=1 in the environment",
                "the account id on the command line",
            ],
        ),
    ],
)
def test_each_key_that_is_missing_is_named(changes: dict[str, Any], missing: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_live_keys(**{**KEYS, **changes})
    assert list(caught.value.fields["missing"]) == missing
    assert all(key in caught.value.message for key in missing)
    assert "A-7" not in caught.value.message  # the account to name is for a person to know


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("fxcarry_paper", reason="the paper account is a plugin")

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return NOW

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(fxcarry.cli.golive, "datetime", Stopped)
    (tmp_path / "fxcarry-state").mkdir()
    (tmp_path / "fxcarry.toml").write_text(
        'universe = ["EUR", "AUD"]\n[live]\nintended_capital = 100000\n[feed]\nuse = "file"\nprices = "none.csv"\n',
        "utf-8",
    )
    return tmp_path / "fxcarry-state" / "journal.sqlite"


def said(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["check", *arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["check", *arguments])
    assert isinstance(done.exception, ConfigError)
    return str(done.exception)


def test_the_command_says_what_is_missing_with_exit_code_8(desk: Path) -> None:
    paper(desk, confirmed=["limits", "broker-contact"], channels=[("console", "")]).close()
    told = json.loads(said("--go-live", "--json", code=8))
    missing = [r["name"] for r in told["requirements"] if not r["is_met"]]
    assert missing == ["alerts delivered", "backup connection"]
    shown = said("--go-live", code=8)
    assert max(map(len, shown.splitlines())) <= 100
    assert shown.splitlines()[0] == "account P1 as of 2026-04-10 23:00 UTC"
    assert shown.splitlines()[-1] == "2 of 12 are missing"
    assert "FAIL  alerts delivered" in shown
    assert "pass  drawdown" in shown
    assert "-> add a channel under [[notifiers]]" in shown


def test_a_confirmation_is_kept_with_who_and_why_and_the_gate_opens(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "carla")
    paper(desk, confirmed=["limits", "broker-contact"]).close()
    shown = said("--confirm", "backup-connection", "--reason", "mobile router, tested 3 May")
    assert shown == "backup-connection: confirmed by carla; it is kept in the journal\n"
    told = json.loads(said("--go-live", "--json"))
    assert told["is_ready"]
    last = told["requirements"][10]
    assert last["found"] == "carla, 2026-04-10: mobile router, tested 3 May"
    assert said("--go-live").splitlines()[-1] == "all 12 are met; whether to begin is for you"


def test_both_at_once_and_as_json(desk: Path) -> None:
    paper(desk, confirmed=["limits", "broker-contact"]).close()
    told = json.loads(said("--go-live", "--confirm", "backup-connection", "--reason", "a second line", "--json"))
    assert told["is_ready"]
    given = json.loads(said("--confirm", "limits", "--reason", "read", "--json"))
    assert (given["confirmed"], given["reason"], given["at"]) == ("limits", "read", NOW.isoformat())


def test_the_configuration_decides_the_fraction_and_the_costs(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paper(desk).close()
    monkeypatch.setenv("FXCARRY__LIVE__CAPITAL_FRACTION", "0.5")
    monkeypatch.setenv("FXCARRY__LIVE__INTENDED_CAPITAL", "100.0")
    monkeypatch.setenv("FXCARRY__COSTS__SPREAD_MULTIPLIER", "0.1")
    told = json.loads(said("--go-live", "--json", code=8))
    assert [r["name"] for r in told["requirements"] if not r["is_met"]] == [
        "slippage", "capital fraction", "minimum capital",
    ]  # fmt: skip


def test_a_currency_without_a_quote_is_an_error_not_a_pass(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paper(desk).close()
    monkeypatch.setenv("FXCARRY__UNIVERSE", '["EUR", "AUD", "GBP"]')
    done = CliRunner().invoke(cli, ["check", "--go-live"])
    assert isinstance(done.exception, MissingDataError)
    assert "no price of GBPUSD" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reason", "x"), "--reason without --confirm"),
        (("--confirm", "limits"), "limits needs a reason"),
        (("--confirm", "luck", "--reason", "x"), "one of backup-connection, broker-contact, limits"),
        (("--go-live", "--state", "nowhere"), "there is no journal nowhere"),
    ],
)
def test_what_is_wrong_with_a_check_is_told(arguments: Sequence[str], message: str, desk: Path) -> None:
    paper(desk).close()
    assert message in refused(*arguments)


def test_a_check_touches_nothing(desk: Path) -> None:
    """Another process may be trading on it; and where the account's file is missing, none is made."""
    paper(desk).close()
    said("--go-live")
    assert [path.name for path in desk.parent.iterdir()] == [desk.name]
    with SqliteJournal.existing(desk) as journal:
        assert len(journal.table("runs")) == 1


# --- what a real engine writes ---------------------------------------------------------------------------------------


class Mail:
    """A channel that takes everything."""

    name = "mail"

    def notify(self, alert: Alert) -> None:
        """Nothing to do."""


@pytest.mark.ecb
def test_the_journal_of_an_engine_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """Four months of 2007 by the daemon, as if the clock on the wall had been there, with a drill in the middle."""
    pytest.importorskip("fxcarry_paper", reason="the paper account is a plugin")
    from fxcarry.build import build, paper_broker
    from fxcarry.config import effective, load_config, to_toml
    from fxcarry.daemon import Daemon, replay_instants
    from fxcarry.engine import Engine
    from fxcarry.journal import JournalLock
    from fxcarry.plugins import load

    settings = load_config(None, load({}), {})
    broker = paper_broker(settings, tmp_path / "paper.sqlite")
    journal = SqliteJournal(tmp_path / "j", account_id="paper", config=to_toml(effective(settings)))
    engine = build(settings, strategy="baseline", journal=journal, broker=broker, notifiers=[Mail()])
    assert engine.feed is not None
    history = engine.feed.history(None, None).in_currency("USD", engine.universe)
    start, until = datetime(2007, 4, 2, tzinfo=UTC), datetime(2007, 7, 20, tzinfo=UTC)
    orders = {datetime(2007, 5, 10, 21, tzinfo=UTC): "flatten", datetime(2007, 5, 16, 21, tzinfo=UTC): "resume"}
    navs: dict[datetime, float] = {}

    def told(at: datetime, engine: Engine) -> None:
        navs[at] = engine.broker.nav
        if at in orders:
            journal.command(orders[at], by="anna", at=at, reason="drill")  # type: ignore[arg-type]

    performance = tmp_path / "performance.csv"
    with wall(start):
        daemon = Daemon(engine=engine, journal=journal, lock=JournalLock(journal.path), performance=performance)
        daemon.run(replay_instants(history, start, until, "monthly"), told=told)
    last = max(navs)
    instruments = broker.get_instruments([Pair.market(c, "USD") for c in engine.universe])
    report = checked(journal, instruments=instruments, now=last)

    nav = np.array(list(navs.values()))
    ratio, error = by_hand(nav[1:] / nav[:-1] - 1)
    assert report.days == len(nav) - 1 == 79
    assert one(report, "Sharpe ratio").found == f"{ratio:.2f} ± {error:.2f} (79 daily returns)"
    logged = [float(line.split(",")[1]) for line in performance.read_text("utf-8").splitlines()[1:]]
    assert nav == pytest.approx(logged, abs=0.01)
    deepest = (1 - nav / np.maximum.accumulate(nav)).max()
    assert one(report, "drawdown").found == f"{deepest:.1%} of end-of-day NAV"
    assert one(report, "time on paper").found == "2007-04-02 to 2007-07-20, 109 days"
    assert one(report, "no gaps").found == "100.0% of 80 business days until now"
    assert one(report, "emergency liquidation").found == (
        "2007-05-11 21:00 by anna: 6 positions closed by 2007-05-14 21:00, resumed 2007-05-17 21:00"
    )
    assert one(report, "alerts delivered").is_met
    assert "the default set: max-position" in one(report, "limits documented").found
    assert one(report, "slippage").is_met
    assert one(report, "slippage").found == "1.48 ± 0.00 bp a fill, 1.48 bp estimated (24 fills)"  # the venue's own
    assert one(report, "minimum capital").needed == "123.20 USD to hold 33.3% of NAV in GBPUSD"  # 60 x 1.3803 / 0.6722
    assert [r.name for r in report.missing] == ["limits documented", "backup connection", "broker contact"]

    again = checked(journal, instruments=instruments, now=datetime(2007, 4, 2, tzinfo=UTC) - timedelta(days=1))
    assert again.days == 0
