"""What holds of fxcarry.stress for every book, shock and account currency."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.costs import Costs
from fxcarry.model import Pair, Position, minor_digits, to_decimal
from fxcarry.stress import Scenario, StressRow, stress

quick = settings(max_examples=40, deadline=None, derandomize=True)
DOLLARS = {"EUR": 1.1, "GBP": 1.25, "AUD": 0.65, "CHF": 1.12, "JPY": 0.0067, "USD": 1.0}
PAIRS = ("EURUSD", "USDJPY", "AUDJPY", "EURGBP", "GBPCHF", "EURJPY", "AUDUSD", "USDCHF")
NAV = {"USD": 1e6, "EUR": 1e6, "JPY": 1.5e8}

accounts = st.sampled_from(sorted(NAV))
weights = st.dictionaries(st.sampled_from(sorted(DOLLARS)), st.floats(-0.8, 0.8).map(lambda w: round(w, 3)))
moves = st.fixed_dictionaries({c: st.floats(-0.4, 0.4).map(lambda m: round(m, 4)) for c in DOLLARS if c != "USD"})
multipliers = st.sampled_from([0.0, 1.0, 10.0])
stops = st.sampled_from([None, 0.02, 0.05, 0.2])
units = st.integers(-80_000, 80_000).map(float)
books = st.dictionaries(st.sampled_from(PAIRS), st.tuples(units, st.floats(0.9, 1.1)), max_size=5)


def shock(by_currency: dict[str, float], multiplier: float = 1.0) -> Scenario:
    return Scenario(name="shock", moves=by_currency, spread_multiplier=multiplier)


def run(book: Any, by_currency: dict[str, float], multiplier: float = 1.0, **about: Any) -> StressRow:
    (row,) = stress(book, scenarios=[shock(by_currency, multiplier)], **about).rows
    return row


def prices_in(account: str) -> dict[str, float]:
    return {c: p / DOLLARS[account] for c, p in DOLLARS.items()}


def positions(book: dict[str, tuple[float, float]]) -> dict[str, Position]:
    """Entries a little off the market: the second number is entry / price."""
    held = {}
    for name, (size, off) in book.items():
        pair = Pair.parse(name)
        entry = DOLLARS[pair.base] / DOLLARS[pair.quote] * off
        held[name] = Position(instrument=name, units=to_decimal(size), average_price=to_decimal(entry))
    return held


@quick
@given(weights, moves, accounts)
def test_the_book_flipped_flips_the_sign_and_twice_the_book_is_twice_the_loss(
    book: dict[str, float], by_currency: dict[str, float], account: str
) -> None:
    about = {"account_currency": account, "nav": NAV[account], "stop": None}
    row = run(book, by_currency, **about)
    flipped = run({c: -w for c, w in book.items()}, by_currency, **about)
    twice = run({c: 2 * w for c, w in book.items()}, by_currency, **about)
    assert row.pnl is not None
    assert flipped.pnl == pytest.approx(-row.pnl, abs=1e-6)
    assert twice.pnl == pytest.approx(2 * row.pnl, abs=1e-6)
    assert sum(row.by_currency.values()) == pytest.approx(row.pnl, abs=1e-9)


@quick
@given(weights, weights, moves, accounts)
def test_losses_add_up_over_books(
    one: dict[str, float], other: dict[str, float], by_currency: dict[str, float], account: str
) -> None:
    about = {"account_currency": account, "nav": NAV[account], "stop": None}
    both = {c: one.get(c, 0.0) + other.get(c, 0.0) for c in {*one, *other}}
    first, second = run(one, by_currency, **about).pnl, run(other, by_currency, **about).pnl
    assert first is not None
    assert second is not None
    assert run(both, by_currency, **about).pnl == pytest.approx(first + second, abs=1e-6)


@quick
@given(books, moves, accounts, multipliers, stops)
def test_money_by_hand(
    book: dict[str, tuple[float, float]],
    by_currency: dict[str, float],
    account: str,
    multiplier: float,
    stop: float | None,
) -> None:
    """Every position revalued in dollars, stops and close-out decided with plain arithmetic."""
    held, before = positions(book), prices_in(account)
    dollars = {c: p * (1 + by_currency.get(c, 0.0)) for c, p in DOLLARS.items()}
    after = {c: p / dollars[account] for c, p in dollars.items()}
    costs = Costs()
    row = run(held, by_currency, multiplier, prices=before, nav=NAV[account], account_currency=account, stop=stop)

    cent, fills = 10.0 ** -minor_digits(account), 0
    nav, gross, hit, open_ = NAV[account], 0.0, set(), {}
    pnl = 0.0
    for name, position in held.items():
        pair, size, entry = Pair.parse(name), float(position.units), float(position.average_price)
        if not size:
            continue
        gained = size * (after[pair.base] - entry * after[pair.quote])
        pnl += gained - size * (before[pair.base] - entry * before[pair.quote])
        mid = after[pair.base] / after[pair.quote]
        side = 1 if size > 0 else -1
        closing = mid * (1 - side * costs.half_spread(pair) * multiplier)
        level = entry * (1 - side * (stop or 0))
        if stop is not None and abs(closing / level - 1) < 1e-9:
            return  # on the edge the last bit decides
        spread = abs(size) * abs(mid - closing) * after[pair.quote]
        gross += abs(size) * after[pair.base]
        if stop is not None and side * closing <= side * level:
            hit.add(name)
            nav -= spread
            fills += 1
        else:
            open_[name] = (size, spread, abs(size) * after[pair.base])
    nav += pnl
    margin = sum(m for _, _, m in open_.values()) / 30
    closed = bool(open_) and nav <= 0.5 * margin
    if closed:
        nav -= sum(s for _, s, _ in open_.values())
        fills += len(open_)
    assert row.pnl == pytest.approx(pnl, abs=1e-6 * NAV[account])
    assert row.pnl == pytest.approx(pnl, rel=1e-9, abs=1e-3)
    assert set(row.stops) == hit
    assert row.is_closed_out == closed
    assert row.margin_used == pytest.approx(gross / 30)
    assert row.nav_after == pytest.approx(nav, abs=cent * (fills + 1))
    assert row.remaining == ({} if closed else {name: size for name, (size, _, _) in open_.items()})


@quick
@given(books, moves, multipliers, stops)
def test_on_one_gap_nothing_the_venue_does_helps(
    book: dict[str, tuple[float, float]], by_currency: dict[str, float], multiplier: float, stop: float | None
) -> None:
    row = run(positions(book), by_currency, multiplier, prices=DOLLARS, nav=1e6, stop=stop)
    assert row.nav_after is not None
    assert row.pnl is not None
    assert row.nav_after <= 1e6 + row.pnl + 0.01 * (len(book) + 1)
    if not row.stops and not row.is_closed_out:
        assert row.nav_after == pytest.approx(1e6 + row.pnl, abs=0.011)


@quick
@given(st.dictionaries(st.sampled_from(PAIRS), units, max_size=5), moves)
def test_an_account_in_euro_earns_the_dollars_at_the_moved_price(
    book: dict[str, float], by_currency: dict[str, float]
) -> None:
    """Positions entered at the market: P&L in EUR = P&L in USD / EURUSD after."""
    held = positions({name: (size, 1.0) for name, size in book.items()})
    dollars = run(held, by_currency, prices=DOLLARS, nav=1.1e6, stop=None)
    euros = run(held, by_currency, prices=prices_in("EUR"), nav=1e6, account_currency="EUR", stop=None)
    assert dollars.pnl is not None
    assert euros.pnl is not None
    assert euros.pnl == pytest.approx(dollars.pnl / (1.1 * (1 + by_currency["EUR"])), rel=1e-7, abs=1e-4)


@quick
@given(weights, accounts, multipliers)
def test_a_gap_by_side_costs_the_gross(book: dict[str, float], account: str, multiplier: float) -> None:
    gap = Scenario(name="gap", by_side=(-0.2, 0.2), spread_multiplier=multiplier)
    (row,) = stress(book, account_currency=account, nav=NAV[account], scenarios=[gap], stop=None).rows
    assert row.change == pytest.approx(-0.2 * sum(abs(w) for c, w in book.items() if c != account), abs=1e-9)


@quick
@given(weights, accounts, stops, st.sampled_from(["report", "zero"]))
def test_a_report_is_plain_json_without_nan(
    book: dict[str, float], account: str, stop: float | None, missing: Any
) -> None:
    report = stress(book, account_currency=account, nav=NAV[account], stop=stop, missing=missing)
    assert "nan" not in report.to_text().lower()
    rows = json.loads(json.dumps(report.to_dict(), allow_nan=False))["rows"]
    assert len(rows) == 16
    after = [row["nav_after"] for row in rows if row["is_computable"]]
    assert after == sorted(after)
    if missing == "zero":
        assert len(after) == 16
