"""fxcarry.occasions: what a person is told of trades, closed positions, milestones, rolls, days and weeks."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest

from fxcarry.alerts import Alerts, AlertSettings, Occasions
from fxcarry.alerts.words import words
from fxcarry.conventions import next_weekday, session_end
from fxcarry.costs import Costs
from fxcarry.daemon import Daemon, replay_instants
from fxcarry.engine import Engine
from fxcarry.errors import ConfigError
from fxcarry.feeds import MemoryFeed
from fxcarry.financing import BenchmarkFinancing
from fxcarry.journal import Journal, JournalLock, MemoryJournal, SqliteJournal, nav_from
from fxcarry.ledger import attribute
from fxcarry.market import MarketHistory
from fxcarry.model import Alert, Pair, Quote, Snapshot, Transaction
from fxcarry.occasions import Look, Night, Teller, last_finished, report_html
from fxcarry.risk import DailyLoss, Drawdown, default_rules
from fxcarry.simulation import SimBroker
from fxcarry.strategies import Sign
from fxcarry.testing import market_history

HOUR = timedelta(hours=1)
KINDS = ("trade-executed", "position-closed", "milestone", "rollover-tonight", "digest")
EVERYTHING = AlertSettings(digest=("daily", "weekly"), rollover="every")


def end(day: int, month: int = 3) -> datetime:
    return session_end(date(2025, month, day))


class Desk:
    """An account by hand: what the venue books and quotes, and a look that tells of it. It holds 100,000 USD."""

    def __init__(self, journal: Journal, wanted: Occasions = EVERYTHING, currency: str = "USD") -> None:
        self.journal, self.wanted, self.currency = journal, wanted, currency
        self.mids: dict[Pair, Decimal] = {}
        self.fresh: list[Transaction] = []
        self.opening, self.count = Decimal(100_000), 0
        self.nights: Sequence[Night] = ()
        self.since: datetime | None = None
        self.asked = 0
        self.restart()

    def restart(self) -> None:
        """Another process takes up the journal."""
        self.alerts = Alerts(self.journal)
        self.teller = Teller(self.journal, self.alerts, self.currency, self.wanted)

    def book(self, kind: Any, at: datetime, amount: str = "0", instrument: str = "", **facts: Any) -> None:
        self.count += 1
        t = Transaction(
            id=f"{self.count:04}",
            at=at,
            kind=kind,
            amount=Decimal(amount),
            currency=facts.pop("currency", self.currency),
            instrument=instrument,
            **facts,
        )
        self.fresh.append(t)

    def fill(
        self, at: datetime, units: int, price: str, mid: str | None, amount: str = "0", name: str = "EURUSD"
    ) -> None:
        known = None if mid is None else Decimal(mid)
        facts = {"units": Decimal(units), "price": Decimal(price), "mid": known, "conversion": Decimal(1)}
        self.book("fill", at, amount, name, **facts)

    def look(self, at: datetime, *, is_day_over: bool = False, nav: float | None = None, **mids: str) -> list[Alert]:
        """Look; what was told."""
        self.mids |= {Pair.parse(pair): Decimal(mid) for pair, mid in mids.items()}
        snapshot = Snapshot(at, {pair: Quote(mid, mid, at) for pair, mid in self.mids.items()})
        self.journal.import_transactions(self.fresh)
        self.journal.observe(snapshot)
        self.journal.beat(at)
        if nav is None:
            nav = float(nav_from(self.journal, self.currency, mids=self.mids, opening=self.opening))
        look = Look(
            at=at,
            since=self.since,
            nav=nav,
            snapshot=snapshot,
            fresh=self.fresh,
            nights=self._nights,
            headroom=lambda: {"drawdown": (0.15, "% of NAV"), "sides": (2.0, "currencies"), "own": (0.1234567, "")},
            next_rebalance=lambda day: date(2025, 3, 31),
        )
        self.teller.look(look, is_day_over=is_day_over)
        before = {kind: len(self.journal.alerts_of(kind)) for kind in KINDS}
        self.alerts.flush()
        self.fresh, self.since = [], at
        return [alert for kind in KINDS for alert in self.journal.alerts_of(kind)[before[kind] :]]

    def _nights(self, day: date) -> Sequence[Night]:
        self.asked += 1
        return self.nights

    def told(self, kind: str) -> list[Alert]:
        return self.journal.alerts_of(kind)


@pytest.fixture
def desk(journal: Journal) -> Desk:
    made = Desk(journal)
    assert made.look(end(10) - 8 * HOUR, EURUSD="1.1000") == []
    return made


def only(alerts: Sequence[Alert], kind: str) -> Alert:
    [found] = [alert for alert in alerts if alert.kind == kind]
    return found


def parts(fields: Mapping[str, Any], *names: str) -> list[Decimal]:
    return [Decimal(str(fields[name])) for name in names or ("pnl", "spot", "carry", "cost", "translation", "other")]


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("digest", ("hourly",)),
        ("milestone_step", -0.01),
        ("milestone_step", float("nan")),
        ("new_high_step", True),
        ("rollover", "always"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        Occasions(**{name: value})


def test_no_digest_is_told_unless_somebody_asks() -> None:
    assert Occasions().digest is None


# -- trades -----------------------------------------------------------------------------------------------------------


def test_one_trade_is_one_line(desk: Desk) -> None:
    """10,000 EUR at 1.1001, half a pip and a half above the mid of 1.1000: 1 USD."""
    at = end(10) - 7 * HOUR
    desk.fill(at, 10_000, "1.1001", "1.1000")
    [told] = desk.look(at)
    assert (told.kind, told.severity) == ("trade-executed", "info")
    assert told.message == "bought 10,000 EURUSD at 1.1001, cost -1.00 USD"
    assert told.fields == {
        "trades": [{"instrument": "EURUSD", "units": 10_000.0, "price": 1.1001}],
        "notional": 11_001.0,
        "cost": -1.0,
        "currency": "USD",
    }


def test_several_trades_are_summed_up_first(desk: Desk) -> None:
    at = end(10) - 7 * HOUR
    desk.fill(at, 10_000, "1.1001", "1.1000")
    desk.fill(at, -5_000, "0.6500", "0.6504", name="AUDUSD")
    [told] = desk.look(at, AUDUSD="0.6504")
    assert told.message.splitlines() == [
        "2 trades, 14,251.00 USD notional, cost -3.00 USD",
        "bought 10,000 EURUSD at 1.1001, cost -1.00 USD",
        "sold 5,000 AUDUSD at 0.6500, cost -2.00 USD",
    ]


def test_a_cost_that_is_not_known_is_no_zero(desk: Desk) -> None:
    at = end(10) - 7 * HOUR
    desk.fill(at, 10_000, "1.1001", None)
    [told] = desk.look(at)
    assert told.message.endswith("cost against the mid not known")
    assert told.fields["cost"] is None


def test_the_past_of_an_account_is_not_told_as_trades(journal: Journal) -> None:
    desk = Desk(journal)
    desk.fill(end(7), 10_000, "1.09", "1.09")
    assert desk.look(end(10) - 8 * HOUR, EURUSD="1.1000") == []


# -- positions that are closed ----------------------------------------------------------------------------------------


def test_what_came_of_a_position_adds_up(desk: Desk) -> None:
    """Bought at 1.1001 over a mid of 1.1000, sold at 1.1049 under 1.1050: 50 pips of 10,000 less 2 of spread, a night
    paid 0.55, commissions of 0.30.
    """
    at = end(10) - 7 * HOUR
    desk.fill(at, 10_000, "1.1001", "1.1000")
    desk.book("commission", at, "-0.20", "EURUSD")
    desk.look(at)
    desk.book("financing", end(10), "0.55", "EURUSD", trade_date=date(2025, 3, 10), days=1)
    desk.look(end(10), is_day_over=True, EURUSD="1.1020")
    desk.fill(end(11) - HOUR, -10_000, "1.1049", "1.1050", "48.00")
    desk.book("commission", end(11) - HOUR, "-0.10", "EURUSD")
    told = only(desk.look(end(11) - HOUR, EURUSD="1.1050"), "position-closed")
    assert parts(told.fields, "spot", "carry", "cost", "profit") == [
        Decimal("50.0"), Decimal("0.55"), Decimal("-2.3"), Decimal("48.25"),
    ]  # fmt: skip
    assert told.message.splitlines() == [
        "long 10,000 EURUSD closed: +48.25 USD (spot +50.00, carry +0.55, cost -2.30)",
        "held 30.0 hours, since 2025-03-10 14:00 UTC",
    ]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_first_in_first_out_and_to_the_other_side(desk: Desk, is_restarted: bool) -> None:
    """5,000 + 5,000 bought, 4,000 sold before: what is closed by the turn is the rest, 1,000 at 1.10 and 5,000 at 1.11,
    sold at 1.12: 20 + 50. The venue's own profit is another matter.
    """
    day = end(10) - 7 * HOUR
    desk.fill(day, 5_000, "1.10", "1.10")
    desk.fill(day, 5_000, "1.11", "1.11")
    assert [a.kind for a in desk.look(day)] == ["trade-executed"]
    desk.fill(day + HOUR, -4_000, "1.12", "1.12", "60.00")
    assert [a.kind for a in desk.look(day + HOUR)] == ["trade-executed"]  # it is still open
    if is_restarted:
        desk.restart()
    desk.fill(day + 2 * HOUR, -9_000, "1.12", "1.12", "90.00")
    told = only(desk.look(day + 2 * HOUR), "position-closed")
    assert (told.fields["units"], told.fields["profit"], told.fields["cost"]) == (6_000, 70.0, 0.0)
    desk.fill(day + 3 * HOUR, 3_000, "1.13", "1.13", "-30.00")
    told = only(desk.look(day + 3 * HOUR), "position-closed")
    assert (told.fields["units"], told.fields["profit"], told.fields["held"]) == (-3_000, -30.0, "1.0 hours")
    assert told.message.startswith("short 3,000 EURUSD closed: -30.00 USD")


def test_a_position_that_is_closed_twice_at_one_look_is_told_once(desk: Desk) -> None:
    """Long 1,000 from 1.10 to 1.12, then 2,000 from 1.12 to 1.13: 20 + 20, one alert."""
    at = end(10) - 7 * HOUR
    desk.fill(at, 1_000, "1.10", "1.10")
    desk.look(at)
    desk.fill(at + HOUR, -1_000, "1.12", "1.12", "20.00")
    desk.fill(at + HOUR, 2_000, "1.12", "1.12")
    desk.fill(at + HOUR, -2_000, "1.13", "1.13", "20.00")
    told = only(desk.look(at + HOUR), "position-closed")
    assert (told.fields["units"], told.fields["profit"]) == (3_000, 40.0)


# -- days -------------------------------------------------------------------------------------------------------------


def test_a_day_by_hand(desk: Desk) -> None:
    """Long 10,000 at 1.1001 over 1.1000; the day ends at 1.1020: +20 spot, -1 spread; 0.55 for the night."""
    at = end(10) - 7 * HOUR
    desk.fill(at, 10_000, "1.1001", "1.1000")
    desk.look(at)
    desk.nights = [Night(instrument="EURUSD", units=10_000.0, value=11_020.0, days=1, amount=0.57)]
    desk.book("financing", end(10), "0.55", "EURUSD", trade_date=date(2025, 3, 10), days=1)
    told = only(desk.look(end(10), is_day_over=True, EURUSD="1.1020"), "digest")
    assert parts(told.fields) == [Decimal(p) for p in ("19.55", "20.0", "0.55", "-1.0", "0.0", "0.0")]
    assert (told.fields["nav"], told.fields["return"]) == (100_019.55, pytest.approx(0.0001955))
    assert told.message.splitlines() == [
        "2025-03-10: NAV 100,019.55 USD, +0.02 % today, +19.55 USD: spot +20.00, carry +0.55, cost -1.00; 1 "
        "position; next roll 2025-03-11 +0.57 for 1 day",
        "EURUSD 10,000: +11,020.00 USD, next roll +0.57",
        "headroom: drawdown 15.00 % of NAV, sides 2 currencies, own 0.1235",
        "next rebalance 2025-03-31; closes for the weekend 2025-03-14 21:00 UTC",
    ]
    assert told.fields["positions"] == [
        {"instrument": "EURUSD", "units": 10_000.0, "value": 11_020.0, "weight": pytest.approx(0.11018, abs=1e-5)}
    ]
    assert words(told).subject.startswith(
        "fxcarry info: digest: 2025-03-10: NAV 100,019.55 USD, +0.02 % today, +19.55 USD"
    )


def test_translation_by_hand(journal: Journal) -> None:
    """1,000,000 yen short of the euro: 10,000 EURJPY at 150 with USDJPY at 150 is worth nothing; the next day EURJPY is
    153 (open +30,000 JPY = +200 USD), and the day after the yen alone falls to 160: 187.50 USD, so -12.50.
    """
    desk = Desk(journal)
    desk.look(end(10) - 8 * HOUR, EURJPY="150", USDJPY="150")
    facts = {"units": Decimal(10_000), "price": Decimal(150), "mid": Decimal(150)}
    desk.book("fill", end(10) - HOUR, "0", "EURJPY", conversion=1 / Decimal(150), **facts)
    desk.look(end(10), is_day_over=True)
    told = only(desk.look(end(11), is_day_over=True, EURJPY="153"), "digest")
    assert parts(told.fields, "pnl", "spot", "translation", "other") == [200, 200, 0, 0]
    told = only(desk.look(end(12), is_day_over=True, USDJPY="160"), "digest")
    assert parts(told.fields, "pnl", "spot", "translation", "other") == [Decimal("-12.5"), 0, Decimal("-12.5"), 0]


def test_a_deposit_is_no_performance(desk: Desk) -> None:
    """+1 % on 100,000, then 100,000 come in, then +1 % of 201,000: a unit is worth 1.0201."""
    desk.fill(end(10) - 7 * HOUR, 100_000, "1.10", "1.10")
    desk.look(end(10) - 7 * HOUR)
    desk.look(end(10), is_day_over=True, EURUSD="1.11")
    desk.book("transfer", end(11) - 5 * HOUR, "100000")
    desk.look(end(11) - 5 * HOUR)
    told = only(desk.look(end(11), is_day_over=True, EURUSD="1.1301"), "digest")
    assert parts(told.fields, "pnl", "flows", "spot") == [2010, 100_000, 2010]
    assert told.fields["return"] == pytest.approx(0.01)
    assert told.fields["return_since_start"] == pytest.approx(0.0201)
    assert "deposits less withdrawals +100,000.00" in told.message


def test_an_account_that_is_filled_later_begins_with_what_came_in(journal: Journal) -> None:
    """50,000 and 50,000 before anything is traded are the start: 1,000 of profit are 1 %."""
    desk = Desk(journal)
    desk.opening = Decimal(0)
    desk.book("transfer", end(10) - 9 * HOUR, "50000")
    desk.look(end(10) - 8 * HOUR, EURUSD="1.1000")
    desk.book("transfer", end(10) - 8 * HOUR, "50000")
    desk.fill(end(10) - 7 * HOUR, 100_000, "1.10", "1.10")
    desk.look(end(10) - 7 * HOUR)
    told = only(desk.look(end(10), is_day_over=True, EURUSD="1.11"), "digest")
    assert told.fields["return_since_start"] == pytest.approx(0.01)


def test_a_day_without_a_price_says_so(desk: Desk) -> None:
    desk.fill(end(10) - 7 * HOUR, 10_000, "0.65", "0.65", name="NZDUSD")  # which nobody quotes
    desk.look(end(10) - 7 * HOUR, nav=100_000.0)
    told = only(desk.look(end(10), is_day_over=True, nav=100_010.0), "digest")
    assert told.fields["spot"] is None
    assert "where it came from is not known, a price is missing" in told.message


def test_a_day_is_told_once_and_after_a_restart_too(desk: Desk) -> None:
    desk.look(end(10), is_day_over=True)
    assert len(desk.told("digest")) == 1
    desk.restart()
    assert desk.look(end(10) + HOUR) == []
    told = only(desk.look(end(11), is_day_over=True), "digest")
    assert told.fields["date"] == "2025-03-11"


def test_a_day_whose_alert_was_lost_is_told_at_the_next_start(desk: Desk) -> None:
    desk.fill(end(10) - 7 * HOUR, 10_000, "1.1000", "1.1000")
    desk.look(end(10) - 7 * HOUR)
    desk.alerts.flush = lambda: None  # type: ignore[method-assign]  # the process dies before it tells
    desk.look(end(10), is_day_over=True, EURUSD="1.1020")
    assert desk.told("digest") == []
    desk.restart()
    told = only(desk.look(end(10) + HOUR, EURUSD="1.1500"), "digest")
    assert (told.fields["date"], told.fields["pnl"]) == ("2025-03-10", 20.0)


def test_a_day_nobody_looked_at_is_told_at_the_next_look(desk: Desk) -> None:
    desk.look(end(10), is_day_over=True)
    told = only(desk.look(end(12) + 3 * HOUR, is_day_over=True), "digest")  # Tuesday and Wednesday went by
    assert told.fields["date"] == "2025-03-12"
    assert len(desk.told("digest")) == 2


def test_a_week_has_its_days(desk: Desk) -> None:
    desk.fill(end(10) - 7 * HOUR, 10_000, "1.1000", "1.1000")
    desk.look(end(10) - 7 * HOUR)
    for day, mid in zip(range(10, 15), ("1.101", "1.103", "1.102", "1.105", "1.110")):
        if day == 13:
            desk.restart()
        last = desk.look(end(day), is_day_over=True, EURUSD=mid)
    told = [a for a in last if a.fields.get("period") == "weekly"]
    assert [(d["date"], d["pnl"]) for d in told[0].fields["days"]] == [
        ("2025-03-10", 10.0), ("2025-03-11", 20.0), ("2025-03-12", -10.0), ("2025-03-13", 30.0), ("2025-03-14", 50.0),
    ]  # fmt: skip
    assert told[0].fields["pnl"] == 100.0
    assert "Tue 2025-03-11: +0.02 %, +20.00 USD: spot +20.00, carry +0.00, cost +0.00" in told[0].message.splitlines()
    assert told[0].message.startswith("2025-03-14: NAV 100,100.00 USD, +0.10 % this week, +100.00 USD: spot +100.00")


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (end(10), 10),
        (end(10) - timedelta(microseconds=1), 7),
        (datetime(2025, 3, 9, 22, tzinfo=UTC), 7),
        (datetime(2025, 3, 11, 12, tzinfo=UTC), 10),
    ],
)
def test_the_last_day_that_is_over(at: datetime, day: int) -> None:
    assert last_finished(at) == date(2025, 3, day)


def test_the_next_weekday() -> None:
    assert next_weekday(date(2025, 3, 14)) == date(2025, 3, 17)
    assert next_weekday(date(2025, 3, 10)) == date(2025, 3, 11)


def test_an_account_with_a_past_is_measured_from_the_first_look(journal: Journal) -> None:
    """What was earned before anybody looked is no result of the day, over a restart either."""
    desk = Desk(journal)
    desk.fill(end(3), 10_000, "1.0500", "1.0500")
    desk.look(end(10) - 8 * HOUR, EURUSD="1.1000")
    desk.restart()
    desk.look(end(10) - 7 * HOUR, EURUSD="1.1010")
    told = only(desk.look(end(10), is_day_over=True, EURUSD="1.1020"), "digest")
    assert (told.fields["pnl"], told.fields["spot"]) == (20.0, 20.0)
    desk.restart()
    told = only(desk.look(end(11), is_day_over=True, EURUSD="1.1050"), "digest")
    assert (told.fields["pnl"], told.fields["spot"]) == (30.0, 30.0)


def test_what_happened_while_nobody_looked_belongs_to_the_next_day_told(desk: Desk) -> None:
    """A stop that filled before a day's end and became known after it had been told."""
    desk.fill(end(10) - 7 * HOUR, 10_000, "1.1000", "1.1000")
    desk.look(end(10) - 7 * HOUR)
    desk.look(end(10), is_day_over=True, EURUSD="1.1020")
    desk.restart()
    desk.fill(end(10) - HOUR, -10_000, "1.0990", "1.0990", "-10.00")
    told = desk.look(end(10) + HOUR)
    assert [a.kind for a in told] == ["trade-executed", "position-closed"]
    assert only(told, "position-closed").fields["profit"] == -10.0
    told = desk.look(end(11), is_day_over=True)
    assert only(told, "digest").fields["pnl"] == -30.0  # +20 were told the day before
    assert desk.told("digest")[0].fields["pnl"] == 20.0


# -- milestones -------------------------------------------------------------------------------------------------------


def rise(desk: Desk, navs: Sequence[float], first: int = 10) -> list[list[dict[str, Any]]]:
    """The milestones told as NAV ends the days so, in thousands; there is one position of 100,000 from 1.10 on."""
    found = []
    for day, nav in enumerate(navs, first):
        mid = Decimal("1.10") + (Decimal(str(nav)) - 100) / 100
        told = desk.look(end(day), is_day_over=True, EURUSD=str(mid))
        found.append([dict(a.fields) for a in told if a.kind == "milestone"])
    return found


@pytest.fixture
def steps(journal: Journal) -> Desk:
    made = Desk(journal, Occasions(new_high_step=0, month_end=False))
    made.look(end(10) - 8 * HOUR, EURUSD="1.1000")
    made.fill(end(10) - 7 * HOUR, 100_000, "1.10", "1.10")
    made.look(end(10) - 7 * HOUR)
    return made


def levels(told: list[list[dict[str, Any]]]) -> list[float | None]:
    return [round(one[0]["level"], 10) if one else None for one in told]


def test_each_level_is_told_once_until_the_next_was_reached(steps: Desk) -> None:
    assert levels(rise(steps, [104.9, 105, 104.9, 105.2, 104.8])) == [None, 0.05, None, None, None]
    steps.restart()
    assert levels(rise(steps, [105.3, 100.1, 100, 104, 105], 17)) == [None, None, 0.0, None, 0.05]
    steps.restart()
    assert levels(rise(steps, [116, 94, 96, 95], 24)) == [0.15, -0.05, None, None]


def test_a_level_says_which_way(steps: Desk) -> None:
    rise(steps, [110.5, 104])
    assert [a.message for a in steps.told("milestone")] == [
        "up past +10.00 %: +10.50 % since the start, NAV 110,500.00 USD",
        "down past +5.00 %: +4.00 % since the start, NAV 104,000.00 USD",
    ]


def test_a_new_high_is_so_much_above_the_last_one_told(journal: Journal) -> None:
    desk = Desk(journal, Occasions(milestone_step=0, month_end=False))
    desk.look(end(10) - 8 * HOUR, EURUSD="1.1000")
    desk.fill(end(10) - 7 * HOUR, 100_000, "1.10", "1.10")
    told = rise(desk, [100.9, 101, 101.9, 100])
    desk.restart()
    told += rise(desk, [102.0, 102.01, 102.9], 17)
    highs = [[round(one["high"], 6) for one in day] for day in told]
    assert highs == [[], [1.01], [], [], [], [1.0201], []]  # 1 % above 1.01 is 1.0201


def test_a_deposit_is_no_milestone(steps: Desk) -> None:
    steps.book("transfer", end(10) - 5 * HOUR, "50000")
    steps.look(end(10) - 5 * HOUR)
    assert steps.look(end(10), is_day_over=True) == []


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_month_with_its_split(desk: Desk, is_restarted: bool) -> None:
    """From the 10th on: +100 spot, -1 cost, 5 x 0.50 of carry: 101.50 of 100,000."""
    desk.wanted = desk.teller.wanted = Occasions()
    desk.fill(end(10) - 7 * HOUR, 10_000, "1.1001", "1.1000")
    desk.look(end(10) - 7 * HOUR)
    for day in (10, 11, 17, 25, 31):
        if is_restarted:
            desk.restart()
        desk.book("financing", end(day), "0.50", "EURUSD", trade_date=date(2025, 3, day), days=1)
        last = desk.look(end(day), is_day_over=True, EURUSD=f"1.1{day - 21:02}" if day == 31 else "1.1050")
    told = only(last, "milestone")
    assert told.message == "2025-03: +0.10 %, +101.50 USD: spot +100.00, carry +2.50, cost -1.00"
    assert (told.fields["month"], told.fields["pnl"]) == ("2025-03", 101.5)
    assert told.fields["month_return"] == pytest.approx(0.001015)
    assert desk.look(end(1, 4), is_day_over=True) == []


def test_a_month_whose_end_nobody_saw_is_told_as_it_was_seen_last(desk: Desk) -> None:
    desk.wanted = desk.teller.wanted = Occasions()
    desk.fill(end(10) - 7 * HOUR, 10_000, "1.1000", "1.1000")
    desk.look(end(10), is_day_over=True)
    desk.look(end(27), is_day_over=True, EURUSD="1.1100")
    desk.restart()
    told = only(desk.look(end(2, 4), is_day_over=True, EURUSD="1.2000"), "milestone")
    assert (told.fields["month"], told.fields["pnl"]) == ("2025-03", 100.0)


# -- tonight ----------------------------------------------------------------------------------------------------------

GOOD = Night(instrument="EURUSD", units=10_000.0, value=11_000.0, days=1, amount=0.57)
TRIPLE = attrs.evolve(GOOD, days=3, amount=1.71)
COSTLY = Night(instrument="AUDUSD", units=-5_000.0, value=-3_250.0, days=1, amount=-0.8)
UNKNOWN = attrs.evolve(COSTLY, amount=None)


def roll(journal: Journal, nights: Sequence[Night], rollover: Any = "notable") -> list[Alert]:
    desk = Desk(journal, Occasions(rollover=rollover))
    desk.nights = nights
    desk.look(end(12) - 2 * HOUR, EURUSD="1.1")
    assert desk.asked == 0
    return desk.look(end(12) - HOUR) + desk.look(end(12) - HOUR / 2)


def test_a_triple_roll(journal: Journal) -> None:
    [told] = roll(journal, [TRIPLE, COSTLY])
    assert told.message.splitlines() == [
        "tonight's roll: +0.91 USD for 1 to 3 days",
        "EURUSD 10,000: +1.71 USD, 3 days",
        "AUDUSD -5,000: -0.80 USD, 1 day",
    ]
    assert told.fields == {
        "roll_date": "2025-03-12",
        "roll_days": {"EURUSD": 3, "AUDUSD": 1},
        "tonight": 0.91,
        "amount": {"EURUSD": 1.71, "AUDUSD": -0.8},
        "currency": "USD",
    }


def test_a_rate_that_is_missing_is_no_zero(journal: Journal) -> None:
    [told] = roll(journal, [GOOD, UNKNOWN])
    assert told.message.splitlines()[0] == "tonight's roll: an amount that is not known for 1 day"
    assert told.fields["tonight"] is None
    assert told.fields["amount"] == {"EURUSD": 0.57, "AUDUSD": None}


@pytest.mark.parametrize(
    ("nights", "rollover", "count"),
    [
        ([GOOD], "notable", 0),
        ([GOOD], "every", 1),
        ([TRIPLE], "off", 0),
        ([TRIPLE], "notable", 1),
        ([GOOD, COSTLY], "notable", 1),
        ([], "every", 0),
        ([attrs.evolve(GOOD, days=None)], "notable", 1),
        ([attrs.evolve(GOOD, days=0, amount=0.0)], "notable", 0),
    ],
)
def test_what_is_notable(journal: Journal, nights: Sequence[Night], rollover: Any, count: int) -> None:
    assert len(roll(journal, nights, rollover)) == count


def test_tonight_is_told_once_over_a_restart(desk: Desk) -> None:
    desk.nights = [TRIPLE]
    desk.wanted = desk.teller.wanted = Occasions()
    assert len(desk.look(end(12) - HOUR)) == 1
    desk.restart()
    assert desk.look(end(12) - HOUR / 2) == []
    assert len(desk.look(end(13) - HOUR)) == 1


# -- what it costs and what it may not do -----------------------------------------------------------------------------


def test_a_look_that_brings_nothing_reads_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transactions", "quotes", "alerts_of"):
        monkeypatch.setattr(type(desk.journal), name, None)
    look = Look(
        at=end(10) - 7 * HOUR,
        since=end(10) - 8 * HOUR,
        nav=100_000.0,
        snapshot=Snapshot(end(10), {}),
        fresh=(),
        nights=desk._nights,
        headroom=dict,
        next_rebalance=lambda day: None,
    )
    desk.teller.look(look, is_day_over=False)
    assert desk.asked == 0


def test_what_cannot_be_told_stops_nothing(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    assert desk.look(end(10), is_day_over=True, nav=float("nan")) == []
    assert "could not be told" in caplog.text
    assert only(desk.look(end(11), is_day_over=True), "digest").fields["nav"] == 100_000.0


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_of_a_week(desk: Desk) -> None:
    desk.nights = [attrs.evolve(GOOD, instrument="EURUSD", amount=None)]
    for day in range(10, 15):
        desk.look(end(day), is_day_over=True)
    weekly = desk.told("digest")[-1]
    rooms = {"<script>alert(1)</script>": 0.5, "drawdown": 0.1391}
    page = report_html({**weekly.fields, "headroom": rooms, "headroom_units": {"drawdown": "% of NAV"}})
    assert "<td>drawdown</td><td>13.91 % of NAV</td>" in re.sub(r"\s*class=\"[^\"]*\"", "", page)
    assert "weekly digest 2025-03-14: NAV 100,000.00 USD" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "not known USD" in page
    assert page.count("<tr><td>2025-03-1") == 5
    assert not re.search(r"(src|href)=", page)


def test_the_page_of_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match="not the fields of a digest"):
        report_html({"nav": 1.0})


# -- a replay ---------------------------------------------------------------------------------------------------------

UNIVERSE = ("AUD", "EUR", "JPY")


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    return market_history(UNIVERSE, days=75, seed=2)


def engine_on(
    history: MarketHistory,
    journal: Journal,
    broker: SimBroker,
    alerting: AlertSettings = EVERYTHING,
    rules: Sequence[Any] = (),
) -> Engine:
    return Engine(
        feed=MemoryFeed(history),
        broker=broker,
        strategy=Sign(),
        rules=rules,
        universe=UNIVERSE,
        rebalance="weekly",
        journal=journal,
        costs=Costs(),
        alerting=alerting,
    )


def replayed(history: MarketHistory, folder: Path, *restarts: int) -> tuple[Engine, SqliteJournal]:
    """Looks at each day's end, by as many processes as there are restarts and one."""
    instants = replay_instants(history.in_currency("USD", UNIVERSE), None, None, "weekly")[3:]
    journal = SqliteJournal(folder / "journal.sqlite", account_id="simulated")
    broker = SimBroker(costs=Costs(), financing=BenchmarkFinancing(0.01))
    for until in (*restarts, len(instants)):
        engine = engine_on(history, journal, broker, AlertSettings(digest=("daily", "weekly")))
        daemon = Daemon(
            engine=engine, journal=journal, lock=JournalLock(journal.path), performance=folder / "performance_log.csv"
        )
        daemon.run(instants[:until])
    return engine, journal


def test_every_day_of_a_replay_is_split_as_a_backtest_splits_it(history: MarketHistory, tmp_path: Path) -> None:
    engine, journal = replayed(history, tmp_path)
    daily = [a.fields for a in journal.alerts_of("digest") if a.fields["period"] == "daily"]
    assert engine.broker.log is not None
    truth = attribute(engine.broker.log)
    assert [f["date"] for f in daily] == [str(day) for day in truth.day]
    assert len(daily) == 72
    before = Decimal(1_000_000)
    for n, fields in enumerate(daily):
        assert sum(parts(fields)[1:]) == parts(fields)[0]
        assert before + parts(fields)[0] == Decimal(str(fields["nav"]))
        before = Decimal(str(fields["nav"]))
        for name in ("spot", "cost", "translation"):
            assert fields[name] == pytest.approx(getattr(truth, name)[n], abs=0.006), (name, fields["date"])
        assert fields["carry"] == pytest.approx(truth.carry[n], abs=0.02)  # as it was booked, in cents
        assert abs(fields["other"]) <= 0.05
    lines = [line.split(",") for line in (tmp_path / "performance_log.csv").read_text("utf-8").splitlines()[1:]]
    assert [(f["date"], f["nav"], f["carry"]) for f in daily] == [(x[0], float(x[1]), float(x[3])) for x in lines]
    nights = [(eve["tonight"], day["carry"]) for eve, day in pairwise(daily) if not day["cost"]]
    assert len(nights) > 50
    assert sum(abs(eve - day) > 0.55 for eve, day in nights) <= 3  # rates change every 21 days, prices every night
    assert max(abs(day) for _, day in nights) > 20


@pytest.mark.ecb
def test_half_a_year_of_the_stored_history(tmp_path: Path) -> None:
    """January to June 2025 with all rules: what the digests say adds up to what the backtest of it says, by term."""
    from fxcarry_ecb import EcbFeed

    universe = ("AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK")
    feed = EcbFeed()
    with SqliteJournal(tmp_path / "journal.sqlite", account_id="simulated") as journal:
        engine = Engine(
            feed=feed,
            broker=SimBroker(costs=Costs(), financing=BenchmarkFinancing(0.01)),
            strategy=Sign(),
            rules=default_rules(),
            universe=universe,
            rebalance="monthly",
            journal=journal,
            costs=Costs(),
            alerting=AlertSettings(digest=("daily",)),
        )
        start, end_ = datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 6, 30, tzinfo=UTC)
        instants = replay_instants(feed.history(None, None).in_currency("USD", universe), start, end_, "monthly")
        daemon = Daemon(
            engine=engine, journal=journal, lock=JournalLock(journal.path), performance=tmp_path / "performance.csv"
        )
        looks = daemon.run(instants)
        daily = [a.fields for a in journal.alerts_of("digest")]
        months = [a.fields for a in journal.alerts_of("milestone") if "month" in a.fields]
    assert len(daily) == looks > 120
    assert engine.broker.log is not None
    truth = attribute(engine.broker.log)
    for fields, nav in zip(daily, truth.nav):
        assert sum(parts(fields)[1:]) == parts(fields)[0]
        assert fields["nav"] == pytest.approx(nav, abs=0.005 + 1e-9)
    for name in ("spot", "cost", "translation", "carry"):
        assert sum(f[name] for f in daily) == pytest.approx(getattr(truth, name).sum(), abs=1.5), name
        for month in months:
            of_month = [parts(f, name)[0] for f in daily if f["date"].startswith(month["month"])]
            assert sum(of_month) == parts(month, name)[0]
    assert abs(truth.carry.sum()) > 100
    assert abs(truth.translation.sum()) > 100
    assert [m["month"] for m in months] == [f"2025-{n:02}" for n in range(1, 7)]
    with (tmp_path / "performance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["date"], float(r["nav"]), float(r["financing"])) for r in rows] == [
        (f["date"], f["nav"], f["carry"]) for f in daily
    ]


def test_restarts_change_nothing_of_what_is_told(history: MarketHistory, tmp_path: Path) -> None:
    kinds = ("digest", "milestone", "trade-executed", "position-closed")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    _, one = replayed(history, tmp_path / "one")
    _, two = replayed(history, tmp_path / "two", 7, 8, 20, 43)
    for kind in kinds:
        assert [a.message for a in two.alerts_of(kind)] == [a.message for a in one.alerts_of(kind)]
    assert {a.kind for kind in kinds for a in one.alerts_of(kind)} == set(kinds)


def test_a_backtest_tells_nothing(history: MarketHistory) -> None:
    journal = MemoryJournal()
    engine = engine_on(history, journal, SimBroker(costs=Costs(), financing=BenchmarkFinancing(0.01)))
    engine.run(start=datetime(2020, 1, 9, tzinfo=UTC))
    assert journal.alerts == []
    assert journal.orders


# -- as the engine looks ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def looked(history: MarketHistory) -> MemoryJournal:
    """Looks half an hour before each day's end and at it, from 20 January on."""
    journal = MemoryJournal()
    rules = (Drawdown(0.5), DailyLoss(0.2))
    engine = engine_on(history, journal, SimBroker(costs=Costs(), financing=BenchmarkFinancing(0.01)), rules=rules)
    for at in replay_instants(history.in_currency("USD", UNIVERSE), None, None, "weekly")[10:40]:
        engine.step(at - HOUR / 2)
        engine.step(at)
    return journal


def test_each_night_is_told_before_and_booked_as_told(looked: MemoryJournal) -> None:
    """What was expected half an hour before is what is booked, but for the price of 16:59, a rate that changes
    then, and the rounding.
    """
    assert looked.log is not None
    booked: dict[str, dict[str, float]] = {}
    for t in looked.log:
        if t.kind == "financing":
            booked.setdefault(str(t.trade_date), {})[t.instrument] = float(t.amount)
    nights = {a.fields["roll_date"]: a.fields["amount"] for a in looked.alerts_of("rollover-tonight")}
    assert len(nights) > 15
    for day, amounts in nights.items():
        paid = {name: amount for name, amount in amounts.items() if amount}
        assert booked.get(day, {}) == pytest.approx(paid, rel=0.05, abs=0.011)


def test_a_wednesday_is_three_days_and_a_holiday_moves_them(looked: MemoryJournal) -> None:
    """Tuesday 11 February 2020 is a holiday in Japan: traded on Thursday the yen is due on Monday, traded on Friday it
    is due on Wednesday, so that Thursday night counts two days.
    """
    days = {a.fields["roll_date"]: a.fields["roll_days"] for a in looked.alerts_of("rollover-tonight")}
    assert days["2020-01-29"] == {"AUDUSD": 3, "EURUSD": 3, "USDJPY": 3}
    assert days["2020-02-06"] == {"AUDUSD": 1, "EURUSD": 1, "USDJPY": 2}


def test_a_digest_has_what_is_ahead(looked: MemoryJournal) -> None:
    [told] = [a for a in looked.alerts_of("digest") if a.fields["date"] == "2020-02-05"]
    assert told.fields["next"] == {
        "rebalance": "2020-02-07",
        "multi_day_roll": "2020-02-06",
        "holiday": "2020-02-11 JPY",
        "weekend_close": "2020-02-07 22:00 UTC",
    }
    assert told.fields["headroom"].keys() == {"drawdown", "daily-loss"}
    assert told.fields["headroom_units"] == {"drawdown": "% of NAV", "daily-loss": "% of NAV"}
    assert 0.4 < told.fields["headroom"]["drawdown"] <= 0.5
    assert {p["instrument"] for p in told.fields["positions"]} == {"AUDUSD", "EURUSD", "USDJPY"}
    gross = sum(abs(p["weight"]) for p in told.fields["positions"])
    assert gross == pytest.approx(1.0, abs=0.05)


def test_a_restart_within_a_day_forgets_no_trade(history: MarketHistory, looked: MemoryJournal) -> None:
    fills = [t for t in looked.transactions() if t.kind == "fill"]
    told = [one for a in looked.alerts_of("trade-executed") for one in a.fields["trades"]]
    assert [(t.instrument, float(t.units)) for t in fills] == [(one["instrument"], one["units"]) for one in told]
