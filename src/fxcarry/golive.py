"""May it trade for real? What paper trading has shown, one requirement after the other, from the journal alone.

Only time that really passed counts. A replay of months of stored history writes the same journal in minutes: a look
that is dated before its run began on the wall clock, or after now, is a replay's, and neither it nor what was booked
before the first real look is counted.
"""

from __future__ import annotations

import calendar
import itertools
import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.alerts import ConsoleNotifier
from fxcarry.clock import just_before
from fxcarry.conventions import is_open, session_end, trade_dates
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.journal import SqliteJournal
from fxcarry.journal.books import conversion
from fxcarry.model import FloatArray, Instrument, Pair, TradingState, Transaction
from fxcarry.risk import default_rules
from fxcarry.statistics import max_drawdown, sharpe, sharpe_standard_error

MONTHS = 3
"""How long it must have run on paper, from the first real look to the last."""

SHARE_OF_DAYS = 0.95
"""The share of the business days since the first look, until now, that need a look."""

SHARPE = 0.5
"""What the annual Sharpe ratio must be above."""

DRAWDOWN = 0.20
"""What the deepest fall of end-of-day NAV must be below, as a fraction."""

SLIPPAGE = 1.5
"""What fills may cost, times the estimate."""

FILLS = 10
"""How many fills it takes to say what they cost."""

ROUNDING = 0.05
"""What rounding to whole units may change of a position, as a fraction of it."""

CAPITAL_FRACTION = 0.20
"""The largest share of the intended capital to begin with."""

VALID_DAYS = 90
"""How long a person's confirmation is good for."""

ALERT_DAYS = 30
"""How far back every alert must have reached somebody."""

CONFIRMATIONS: Mapping[str, str] = {
    "backup-connection": "a second way to the broker, tried out: a mobile router, another machine",
    "broker-contact": "the telephone number of the broker's dealing desk and what it asks for, at hand",
    "limits": "the limits of the risk rules, read and meant",
}
"""What a person has to vouch for, since no program can see it."""

_CLOCKS = np.timedelta64(5, "m")  # how far a look may lie from the clock on the wall
_PERIODS = 260.0  # trading days a year, as in every report
_SMALL = 0.01  # of NAV: what the rules do not count as an exposure either
_MOMENT = timedelta(microseconds=1)


@attrs.frozen(kw_only=True)
class Requirement:
    """One thing that must be so: what was ``found``, what is ``needed``, and ``what_to_do`` (empty where it is met)."""

    name: str
    is_met: bool
    found: str
    needed: str
    what_to_do: str = ""


@attrs.frozen(kw_only=True)
class GoLiveReport:
    """What was found of an account at an instant; ``days`` are the daily returns that counted."""

    at: datetime
    account_id: str
    days: int
    requirements: tuple[Requirement, ...]

    @property
    def missing(self) -> tuple[Requirement, ...]:
        """The requirements that are not met."""
        return tuple(one for one in self.requirements if not one.is_met)

    @property
    def is_ready(self) -> bool:
        """Whether every requirement is met."""
        return not self.missing

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "at": self.at.isoformat(),
            "account_id": self.account_id,
            "days": self.days,
            "is_ready": self.is_ready,
            "requirements": [attrs.asdict(one) for one in self.requirements],
        }


def check_go_live(
    journal: SqliteJournal,
    *,
    costs: Costs,
    instruments: Mapping[str, Instrument],
    capital_fraction: float,
    intended_capital: float | None = None,
    now: datetime | None = None,
) -> GoLiveReport:
    """Whether the account of a journal has earned real money, requirement by requirement.

    Args:
        journal: of an account that traded on paper.
        costs: what trading was expected to cost, to compare fills with.
        instruments: what the broker trades of the universe, by name, with steps and minimums.
        capital_fraction: the share of ``intended_capital`` to begin with.
        intended_capital: in account currency; None is not decided yet, which is not enough.
        now: the clock on the wall.

    Raises MissingDataError where a quote, conversion or spread is missing that a figure needs, DataError for a NAV that
    is not positive: nothing is taken to be zero or fine.
    """
    now = now or datetime.now(UTC)
    looks = _Looks.of(journal, now)
    transactions = journal.transactions()
    booked = [t for t in transactions if looks.first is not None and t.at >= looks.first]
    ended, returns = daily_returns(journal, booked, looks.at)
    mids = {pair: quote.mid for pair, quote in journal.quotes().items()}
    requirements = (
        _time(looks),
        _continuity(looks, now),
        _sharpe(ended, returns),
        _drawdown(returns),
        _emergency(journal, transactions, looks.first),
        _alerts(journal, looks.first, now),
        _limits(journal, looks, now),
        _slippage(booked, costs, instruments),
        _fraction(capital_fraction),
        _capital(journal, looks.first, instruments, mids, capital_fraction, intended_capital),
        _confirmed(journal, "backup-connection", now),
        _confirmed(journal, "broker-contact", now),
    )
    return GoLiveReport(at=now, account_id=journal.account_id, days=len(returns), requirements=requirements)


def confirm(journal: SqliteJournal, what: str, *, by: str, at: datetime, reason: str) -> None:
    """Record that somebody vouches for one of :data:`CONFIRMATIONS`; ConfigError without a reason."""
    if what not in CONFIRMATIONS:
        raise ConfigError(f"{what!r} is nothing to confirm", hint=f"one of {', '.join(CONFIRMATIONS)}")
    if not reason.strip():
        raise ConfigError(
            f"{what} needs a reason", hint="say what was done and when; it is kept in the journal and shown"
        )
    journal.confirm(what, by=by, at=at, reason=reason.strip())


def check_live_keys(*, mode: str, environ: Mapping[str, str], account_id: str | None, broker_account_id: str) -> None:
    """Raise ConfigError, naming what is missing, unless all three keys to live trading are turned: ``mode`` "live" in
    the file, ``FXCARRY_LIVE=1`` in the environment, and on the command line the account id that the broker reports.
    """
    missing = []
    if mode != "live":
        missing.append(f'mode = "live" in the configuration (it is "{mode}")')
    if environ.get("FXCARRY_LIVE") != "1":
        missing.append("FXCARRY_LIVE=1 in the environment")
    if not account_id:
        missing.append("the account id on the command line")
    elif account_id != broker_account_id:
        missing.append(f"the broker's account id on the command line ({account_id!r} was given)")
    if missing:
        raise ConfigError(
            f"live trading needs three keys; missing: {'; '.join(missing)}",
            hint='without all three it is paper: mode = "paper"',
            fields={"missing": tuple(missing)},
        )


# --- time that passed ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, eq=False)
class _Looks:
    """The instants of the looks made in real time, those runs' numbers, and how many looks were a replay's."""

    at: NDArray[np.datetime64]
    runs: frozenset[int]
    replayed: int

    @classmethod
    def of(cls, journal: SqliteJournal, now: datetime) -> _Looks:
        """Told by the wall clock of each run's first record."""
        started = {row["seq"]: row["started"] for row in journal.table("runs")}
        beats = journal.table("heartbeats")
        at = _instants(row["at"] for row in beats)
        began = _instants(started[row["run"]] for row in beats)
        is_real = (at >= began - _CLOCKS) & (at <= _instant(now) + _CLOCKS)
        runs = frozenset(row["run"] for row, real in zip(beats, is_real.tolist()) if real)
        return cls(at=np.sort(at[is_real]), runs=runs, replayed=int((~is_real).sum()))

    @property
    def first(self) -> datetime | None:
        """The first of them; None where there is none."""
        return _moment(self.at[0]) if len(self.at) else None


def _instants(texts: Iterable[str]) -> NDArray[np.datetime64]:
    """Instants as a journal writes them, ISO in UTC with microseconds."""
    return np.array([text[:26] for text in texts], "datetime64[us]")


def _instant(at: datetime) -> np.datetime64:
    return np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "us")


def _moment(at: np.datetime64) -> datetime:
    found: datetime = at.astype("datetime64[us]").item()
    return found.replace(tzinfo=UTC)


def daily_returns(
    journal: SqliteJournal, booked: Sequence[Transaction], looks: NDArray[np.datetime64]
) -> tuple[NDArray[np.datetime64], FloatArray]:
    """The trade dates at whose end, 17:00 New York, NAV was recorded, and the returns between them (one fewer).

    NAV is the venue's own, as the look at 17:00, or the first after it, recorded it in the risk state at one of the
    instants ``looks``. What was paid in or out (``transfer`` among ``booked``, in account currency) is taken off at the
    end of its day. A return over days without a record is one return.
    """
    states = journal.states
    at = _instants(at.isoformat(timespec="microseconds") for at, _ in states)
    nav = np.array([state.day_start for _, state in states], float)
    is_told = np.isin(at, looks) & np.isfinite(nav)  # what another process writes has the NAV of the look before
    order = np.flatnonzero(is_told)[np.argsort(at[is_told], kind="stable")]
    at, nav = at[order], nav[order]
    is_last = np.append(at[1:] != at[:-1], True)[: len(at)]
    at, nav = at[is_last], nav[is_last]
    if not len(at):
        return np.array([], "datetime64[D]"), np.array([])
    ended, place = np.unique(np.busday_offset(trade_dates(at.astype("datetime64[ns]")), -1), return_index=True)
    at, nav = at[place], nav[place]
    if not (nav > 0).all():
        where = int(np.flatnonzero(nav <= 0)[0])
        raise DataError(
            f"NAV at the end of {ended[where]} is {nav[where]:,.2f}", hint="the account has lost everything"
        )
    flows = np.zeros(len(at))
    for t in booked:
        if t.kind == "transfer":
            place_of = int(np.searchsorted(at, _instant(t.at)))
            if place_of < len(flows):
                flows[place_of] += float(_in_account_currency(t, journal.account_currency))
    return ended, (nav[1:] - flows[1:]) / nav[:-1] - 1.0


def _in_account_currency(t: Transaction, currency: str) -> Decimal:
    if t.currency == currency:
        return t.amount
    if t.conversion is None:
        raise MissingDataError(
            f"transfer {t.id} of {t.amount} {t.currency} has no conversion to {currency}",
            hint="returns cannot be told from what was paid in without it",
        )
    return t.amount * t.conversion


def _time(looks: _Looks) -> Requirement:
    replay = f"; {looks.replayed:,} looks of a replay do not count" if looks.replayed else ""
    found, is_met = f"no look in real time{replay}", False
    if looks.first is not None:
        first, last = looks.first, _moment(looks.at[-1])
        is_met = last.date() >= _months_after(first.date(), MONTHS)
        found = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}, {(last - first).days} days{replay}"
    return _requirement(
        "time on paper", is_met, found, f"{MONTHS} months in real time", "go on with fxcarry run, without --replay"
    )


def _months_after(day: date, months: int) -> date:
    """The same day of a later month, or that month's last."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def _continuity(looks: _Looks, now: datetime) -> Requirement:
    found, is_met = "no look in real time", False
    if len(looks.at):
        seen = np.unique(trade_dates(just_before(looks.at)))
        today = trade_dates(np.array([_instant(now)], "datetime64[ns]"))[0]  # it has not ended
        days = [day for day in np.arange(seen[0], max(today, seen[-1] + 1)).tolist() if _is_session(day)]
        gone = [day for day in days if day not in set(seen.tolist())]
        share = 1 - len(gone) / max(len(days), 1)
        is_met = share >= SHARE_OF_DAYS
        found = f"{share:.1%} of {len(days)} business days until now"
        if gone:
            found += f"; none on {', '.join(map(str, gone[:3]))}{f' and {len(gone) - 3} more' * (len(gone) > 3)}"
    return _requirement(
        "no gaps",
        is_met,
        found,
        f"a look on {SHARE_OF_DAYS:.0%} of business days",
        "let it run day and night, as a service",
    )


def _is_session(day: date) -> bool:
    return is_open(session_end(day) - _MOMENT)


# --- what it earned --------------------------------------------------------------------------------------------------


def _sharpe(ended: NDArray[np.datetime64], returns: FloatArray) -> Requirement:
    ratio = math.nan
    found = f"{len(returns)} daily returns are too few"
    if len(returns) >= 2:
        days = int(np.busday_count(ended[0], ended[-1]))
        periods = _PERIODS * len(returns) / days  # fewer a year where days are missing
        ratio = sharpe(returns, periods)
        error = sharpe_standard_error(returns, "mertens") * math.sqrt(periods)
        over = "" if days == len(returns) else f" over {days} business days"
        shown = "none: NAV did not move" if math.isnan(ratio) else f"{ratio:.2f} ± {error:.2f}"
        found = f"{shown} ({len(returns)} daily returns{over})"
    return _requirement(
        "Sharpe ratio",
        ratio > SHARPE,
        found,
        f"above {SHARPE}",
        "go on, or think again: with a large error it is luck, either way",
    )


def _drawdown(returns: FloatArray) -> Requirement:
    needed = f"below {DRAWDOWN:.0%}"
    if len(returns) < 2:
        return _requirement("drawdown", False, f"{len(returns)} daily returns are too few", needed, "go on")
    deepest = -max_drawdown(returns)
    return _requirement(
        "drawdown",
        deepest < DRAWDOWN,
        f"{deepest:.1%} of end-of-day NAV",
        needed,
        "less exposure, a lower drawdown limit, and begin anew",
    )


def _slippage(booked: Sequence[Transaction], costs: Costs, instruments: Mapping[str, Instrument]) -> Requirement:
    """Each fill's distance from mid, on the losing side, over mid, against half a spread and slippage as estimated."""
    fills = [t for t in booked if t.kind == "fill"]
    measured = [(t, t.price, t.mid) for t in fills if t.price is not None and t.mid is not None]
    needed = f"at most {SLIPPAGE} x the estimate, over {FILLS} fills or more"
    if len(measured) < len(fills):
        found, is_met = f"{len(fills) - len(measured)} of {len(fills)} fills have no mid", False
    elif len(fills) < FILLS:
        found, is_met = f"{len(fills)} fills are too few", False
    else:
        real = np.array([float((price / mid - 1) * (1 if t.units > 0 else -1)) for t, price, mid in measured]) * 1e4
        pairs = [_pair_of(t.instrument, instruments) for t in fills]
        wanted = np.array([costs.half_spread(pair) * 1e4 + costs.slippage_bps for pair in pairs])
        over = real - wanted
        error = float(over.std(ddof=1)) / math.sqrt(len(over))
        paid, estimate = float(real.mean()), float(wanted.mean())
        is_met = paid <= SLIPPAGE * estimate + 1e-6 or paid - estimate <= 2 * error
        found = f"{paid:.2f} ± {error:.2f} bp a fill, {estimate:.2f} bp estimated ({len(fills)} fills)"
    return _requirement(
        "slippage", is_met, found, needed, "trade more, or put the true spreads into [costs] and test again"
    )


def _pair_of(name: str, instruments: Mapping[str, Instrument]) -> Pair:
    return instruments[name].exposure if name in instruments else Pair.parse(name)


# --- what was tried out ----------------------------------------------------------------------------------------------


def _emergency(journal: SqliteJournal, booked: Sequence[Transaction], since: datetime | None) -> Requirement:
    """A ``flatten`` that was taken while something was held, after which the book was flat, halted, and resumed."""
    given = {row["seq"]: row for row in journal.table("commands")}
    taken = [(datetime.fromisoformat(row["at"]), given[row["command"]]) for row in journal.table("taken")]
    found, is_met = "never", False
    for i, (at, command) in enumerate(taken):
        if command["kind"] == "flatten" and since is not None and at >= since and not is_met:
            resumed = next((later for later, other in taken[i + 1 :] if other["kind"] == "resume"), None)
            is_met, became = _outcome(journal, booked, at, resumed)
            found = f"{at:%Y-%m-%d %H:%M} by {command['who']}: {became}"
    return _requirement(
        "emergency liquidation",
        is_met,
        found,
        "flatten, flat, halted, resumed",
        "with positions open: fxcarry flatten --reason drill; when all is closed: fxcarry resume --reason drill",
    )


def _outcome(
    journal: SqliteJournal, booked: Sequence[Transaction], at: datetime, resumed: datetime | None
) -> tuple[bool, str]:
    """Whether an emergency at ``at`` did all that it should, and what it did."""
    until = resumed or datetime.max.replace(tzinfo=UTC)
    fills = sorted((t for t in booked if t.kind == "fill" and t.at <= until), key=lambda t: t.at)
    held: dict[str, Decimal] = {}

    def book(some: Iterable[Transaction]) -> int:
        for t in some:
            held[t.instrument] = held.get(t.instrument, Decimal(0)) + t.units
        return sum(map(bool, held.values()))

    count = book(t for t in fills if t.at <= at)
    if not count:
        return False, "nothing was held"
    later = itertools.groupby((t for t in fills if t.at > at), key=lambda t: t.at)
    flat = next((moment for moment, some in later if not book(some)), None)
    if flat is None:
        left = ", ".join(f"{name} {units:,f}" for name, units in held.items() if units)
        return False, f"still held afterwards: {left}"
    halts = [s for said, s in journal.states if at <= said <= until and s.trading is TradingState.HALTED]
    if not any(state.latch == "OPERATOR" for state in halts):
        return False, "it did not halt"
    if resumed is None:
        return False, f"{count} positions closed by {flat:%Y-%m-%d %H:%M}, not resumed"
    return True, f"{count} positions closed by {flat:%Y-%m-%d %H:%M}, resumed {resumed:%Y-%m-%d %H:%M}"


def _alerts(journal: SqliteJournal, since: datetime | None, now: datetime) -> Requirement:
    """An alert reached somebody where a channel other than the console took it: nobody watches a console at night."""
    took = {
        row["alert"]
        for row in journal.table("deliveries")
        if row["state"] in ("", "delivered") and not row["error"] and row["channel"] != ConsoleNotifier.name
    }
    told = [
        (datetime.fromisoformat(row["at"]), row["seq"] in took)
        for row in journal.table("alerts")
        if row["severity"] != "info"
    ]
    told = [(at, reached) for at, reached in told if since is not None and at >= since]
    reached = [at for at, is_reached in told if is_reached]
    if reached:
        recent = max(min(reached), now - timedelta(days=ALERT_DAYS))
        lost = sum(not is_reached for at, is_reached in told if at >= recent)
        found, is_met = f"{len(reached)} reached a person, {lost} of the last {ALERT_DAYS} days did not", not lost
    else:
        found, is_met = f"none of {len(told)} warnings reached a channel other than the console", False
    return _requirement(
        "alerts delivered",
        is_met,
        found,
        f"one warning or more; all of the last {ALERT_DAYS} days",
        "add a channel under [[notifiers]]; fxcarry pause and resume send a warning each",
    )


# --- what a person decides -------------------------------------------------------------------------------------------


def _limits(journal: SqliteJournal, looks: _Looks, now: datetime) -> Requirement:
    """The rules of the last real run, and a confirmation of them since they have been these."""
    runs = [row for row in journal.table("runs") if row["seq"] in looks.runs]
    found, is_met = "no run in real time", False
    if runs:
        listed = _listed(runs[-1]["config"])
        began = runs[-1]["started"]
        for row in reversed(runs):
            if _listed(row["config"]) != listed:
                break
            began = row["started"]
        is_confirmed, said = _confirmation(journal, "limits", now, since=datetime.fromisoformat(began))
        is_met = is_confirmed and listed is not None
        found = f"{listed or 'no rules are kept with the run'}. {said}"
    return _requirement(
        "limits documented",
        is_met,
        found,
        "rules, confirmed since they changed",
        'read them, then: fxcarry check --confirm limits --reason "…"',
    )


def _listed(config: str) -> str | None:
    """The rules of a configuration as it is kept with a run, with their limits; None where there are none."""
    try:
        tables = tomllib.loads(config)
    except tomllib.TOMLDecodeError:
        tables = {}
    if not tables:
        return None
    strategies = tables.get("strategies", {})
    sets = {f"{name}: ": section["rules"] for name, section in strategies.items() if "rules" in section}
    if not strategies or len(sets) < len(strategies):
        sets[""] = tables.get("rules")
    if any(rules == [] for rules in sets.values()):
        return None
    shown = []
    for name, rules in sets.items():
        if rules is None:
            own = [(r.name, attrs.asdict(r, filter=lambda a, _: a.init)) for r in default_rules()]  # type: ignore[arg-type]
            shown.append(f"{name}the default set: {_rules(own)}")
        else:
            shown.append(f"{name}{_rules((r['use'], {k: v for k, v in r.items() if k != 'use'}) for r in rules)}")
    return "; ".join(shown)


def _rules(rules: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    return ", ".join(" ".join([name, *(f"{k}={v}" for k, v in limits.items())]) for name, limits in rules)


def _confirmed(journal: SqliteJournal, what: str, now: datetime) -> Requirement:
    is_met, found = _confirmation(journal, what, now)
    return _requirement(
        what.replace("-", " "),
        is_met,
        found,
        f"confirmed within {VALID_DAYS} days",
        f'{CONFIRMATIONS[what]}; then: fxcarry check --confirm {what} --reason "…"',
    )


def _confirmation(
    journal: SqliteJournal, what: str, now: datetime, *, since: datetime | None = None
) -> tuple[bool, str]:
    """Whether the last confirmation is good, and who gave it when and why."""
    said = [row for row in journal.table("confirmations") if row["what"] == what]
    if not said:
        return False, "not confirmed"
    at = datetime.fromisoformat(said[-1]["at"])
    is_old, is_before = now - at > timedelta(days=VALID_DAYS), since is not None and at < since
    doubt = "expired: " if is_old else "before they changed: " if is_before else ""
    return not doubt, f"{doubt}{said[-1]['who']}, {at:%Y-%m-%d}: {said[-1]['reason']}"


def _fraction(fraction: float) -> Requirement:
    return _requirement(
        "capital fraction",
        0 < fraction <= CAPITAL_FRACTION,
        f"{fraction:.0%} of the intended capital",
        f"at most {CAPITAL_FRACTION:.0%} to begin with",
        "set capital_fraction in [live] to between 0.1 and 0.2",
    )


def minimum_capital(
    smallest_weight: float, instruments: Iterable[Instrument], account_currency: str, mids: Mapping[Pair, Decimal]
) -> tuple[Decimal, Instrument]:
    """The NAV, in account currency, that a weight so small can be held with in each of these, and the dearest of them.

    Units are rounded towards zero to whole steps, so a position is off by less than one step: at that NAV it has at
    least step / :data:`ROUNDING` units, and not fewer than the minimum. NAV = units × account currency per unit of base
    / weight. ConfigError unless 0 < weight, and for no instrument; MissingDataError for a base that ``mids`` cannot
    convert.
    """
    if not 0 < smallest_weight < math.inf:
        raise ConfigError(f"a weight of {smallest_weight} needs no capital", hint="a fraction of NAV above zero")
    needs = []
    for instrument in instruments:
        units = max(instrument.unit_step / Decimal(str(ROUNDING)), instrument.minimum_units)
        worth = conversion(instrument.exposure.base, account_currency, mids)
        needs.append((units * worth / Decimal(str(smallest_weight)), instrument))
    if not needs:
        raise ConfigError("the broker offers none of the universe", hint="choose another universe or broker")
    return max(needs, key=lambda need: need[0])


def _capital(
    journal: SqliteJournal,
    since: datetime | None,
    instruments: Mapping[str, Instrument],
    mids: Mapping[Pair, Decimal],
    fraction: float,
    intended: float | None,
) -> Requirement:
    smallest = _smallest_weight(journal, since)
    currency = journal.account_currency
    begin = None if intended is None else Decimal(str(intended)) * Decimal(str(fraction))
    found = "[live] has no intended_capital" if begin is None else f"{begin:,.2f} {currency} to begin with"
    if smallest is None:
        is_met, needed = False, f"no weight above {_SMALL:.0%} was decided yet"
    else:
        least, dearest = minimum_capital(smallest, instruments.values(), currency, mids)
        is_met = begin is not None and begin >= least
        needed = f"{least:,.2f} {currency} to hold {smallest:.1%} of NAV in {dearest.name}"
    return _requirement(
        "minimum capital",
        is_met,
        found,
        needed,
        "set intended_capital in [live]; more capital, fewer currencies or a broker with smaller units",
    )


def _smallest_weight(journal: SqliteJournal, since: datetime | None) -> float | None:
    """The smallest size of a weight the strategy decided, of those that count."""
    found: list[float] = []
    for row in journal.table("intentions"):
        if row["weights"] is not None and since is not None and datetime.fromisoformat(row["at"]) >= since:
            found += [abs(weight) for weight in json.loads(row["weights"]).values() if abs(weight) > _SMALL]
    return min(found, default=None)


def _requirement(name: str, is_met: bool, found: str, needed: str, what_to_do: str) -> Requirement:
    return Requirement(
        name=name, is_met=bool(is_met), found=found, needed=needed, what_to_do="" if is_met else what_to_do
    )
