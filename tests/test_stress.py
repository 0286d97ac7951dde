"""fxcarry.stress: the library of scenarios, and what a gap does to a book, against hand-computed money."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry import MemoryFeed, backtest
from fxcarry.conventions import session_ends
from fxcarry.costs import Costs
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.market import MarketHistory, RateSeries
from fxcarry.model import Pair, Position
from fxcarry.risk import Drawdown
from fxcarry.simulation import closeout_price
from fxcarry.strategies import Baseline
from fxcarry.stress import (
    Scenario,
    StressReport,
    StressRow,
    crash_panel,
    replay,
    scenario,
    scenarios,
    stress,
    stress_of,
)
from fxcarry.testing import market_history

G10 = ("AUD", "NZD", "CAD", "NOK", "SEK", "EUR", "GBP", "CHF", "JPY")
CARRY = {"AUD": 1 / 3, "NZD": 1 / 3, "NOK": 1 / 3, "JPY": -1 / 3, "CHF": -1 / 3, "EUR": -1 / 3}


def position(pair: str, units: float, average: float) -> dict[str, Position]:
    return {
        pair: Position(instrument=pair, units=Decimal(repr(units)), average_price=Decimal(repr(average))),
    }


def shock(spread_multiplier: float = 1.0, **moves: float) -> Scenario:
    return Scenario(name="shock", moves=moves, spread_multiplier=spread_multiplier, is_hypothetical=True)


def only(report: StressReport) -> StressRow:
    (row,) = report.rows
    return row


# --- the library -----------------------------------------------------------------------------------------------------


def test_names_are_unique_and_dates_in_order() -> None:
    names = [s.name for s in scenarios()]
    assert len(set(names)) == len(names) == 16
    past = [s for s in scenarios() if not s.is_hypothetical]
    assert [s.end for s in past] == sorted(s.end for s in past if s.end)
    for s in past:
        assert s.start is not None
        assert s.end is not None
        assert s.start < s.end
        assert s.note.endswith("Computed from daily closes.")
        assert scenario(s.name) is s


def test_the_facts_of_the_table() -> None:
    assert dict(scenario("crash-quarter-2008").moves) == dict(
        zip(G10, (-0.291, -0.206, -0.155, -0.237, -0.221, -0.184, -0.190, -0.096, 0.096))
    )
    assert scenario("crash-quarter-2008").start == date(2008, 7, 31)
    assert scenario("yen-1998").moves["JPY"] == 0.094
    assert dict(scenario("yen-week-1998").moves) == {"JPY": 0.151}
    assert scenario("franc-2015").moves["CHF"] == 0.193
    assert scenario("brexit-2016").moves["GBP"] == -0.09
    assert dict(scenario("lira-2018").moves) == {"TRY": -0.275, "ZAR": -0.105, "BRL": -0.101}
    assert dict(scenario("lira-2021").moves) == {"TRY": -0.25}
    assert set(scenario("crash-month-2008").moves) == {*G10, "TRY", "ZAR", "MXN", "HUF", "PLN", "BRL", "KRW"}
    assert scenario("covid-month-2020").moves["MXN"] == -0.184
    assert scenario("peso-2024").moves["MXN"] == -0.055
    gap = scenario("carry-gap")
    assert (gap.by_side, gap.spread_multiplier, gap.is_hypothetical, gap.start) == ((-0.2, 0.2), 10.0, True, None)


def test_the_cross_of_august_2024_is_the_published_thirteen_percent() -> None:
    moves = scenario("yen-2024").moves
    assert (1 + moves["AUD"]) / (1 + moves["JPY"]) - 1 == pytest.approx(-0.13, abs=0.001)


@pytest.mark.ecb
def test_the_moves_agree_with_central_bank_fixings() -> None:
    """Fixings are of the early afternoon in Frankfurt, the moves of closes: days of panic differ by the hours."""
    from fxcarry_ecb import EcbFeed

    history = EcbFeed().history(None, None)
    days = history.times.astype("datetime64[D]")
    off = []
    for s in scenarios():
        if s.start is None or s.end is None or s.start.year < 1999:
            continue
        spot = history.in_currency("USD", tuple(s.moves)).spot
        first, last = (int(np.searchsorted(days, np.datetime64(d), "right")) - 1 for d in (s.start, s.end))
        for move, fixed in zip(s.moves.values(), spot[last] / spot[first] - 1):
            off.append(abs(move - float(fixed)))
            if abs(move) > 0.05:
                assert np.sign(move) == np.sign(fixed), s.name
    assert len(off) == 97
    assert max(off) < 0.055
    assert np.mean(off) < 0.011


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"franc-2051.*did you mean 'franc-2015'"):
        scenario("franc-2051")
    with pytest.raises(ConfigError, match=r"one of yen-1998"):
        scenario("???")


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"moves": {"EUR": -1.0}}, "EUR"),
        ({"moves": {"EUR": float("nan")}}, "EUR"),
        ({"moves": {"euro": -0.1}}, "three-letter"),
        ({"moves": {"USD": 0.1, "EUR": 0.1}}, "against USD"),
        ({}, "either moves"),
        ({"moves": {"EUR": 0.1}, "by_side": (-0.1, 0.1)}, "not both"),
        ({"by_side": (-1.0, 0.1)}, "by_side"),
        ({"moves": {"EUR": 0.1}, "spread_multiplier": -1.0}, "spread_multiplier"),
        ({"moves": {"EUR": 0.1}, "spread_multiplier": float("inf")}, "spread_multiplier"),
        ({"moves": {"EUR": 0.1}, "start": date(2020, 1, 2), "end": date(2020, 1, 2)}, "ends on"),
    ],
)
def test_a_bad_scenario_is_refused(about: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Scenario(name="bad", **about)


def test_a_scenario_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        scenario("franc-2015").moves["CHF"] = 0.0  # type: ignore[index]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        scenario("franc-2015").name = "other"  # type: ignore[misc]


# --- the plain re-mark -----------------------------------------------------------------------------------------------

PRICES = {"EUR": 1.0850, "JPY": 1 / 155.0, "AUD": 0.6600, "GBP": 1.27}
NETTED = {
    **position("AUDJPY", 100_000, 102.30),
    **position("EURUSD", -50_000, 1.0850),
    **position("USDJPY", 80_000, 155.0),
    **position("GBPUSD", -40_000, 1.27),
}


def test_exposures_of_a_netted_book() -> None:
    """+100,000 AUDJPY, −50,000 EURUSD, +80,000 USDJPY, −40,000 GBPUSD: net AUD 66,000, JPY −146,000, …"""
    row = only(
        stress(NETTED, prices=PRICES, nav=1e6, stop=None, scenarios=[shock(AUD=0.01, JPY=0.01, EUR=0.01, GBP=0.01)])
    )
    exposures = {c: pnl / 0.01 for c, pnl in row.by_currency.items()}
    assert exposures == pytest.approx({"AUD": 66_000, "JPY": -146_000, "EUR": -54_250, "GBP": -50_800}, abs=1e-6)
    assert row.pnl == pytest.approx(0.01 * (66_000 - 146_000 - 54_250 - 50_800), abs=1e-6)
    assert row.margin_used == pytest.approx((66_660 + 54_792.5 + 80_000 + 51_308) / 30, abs=1e-6)
    assert row.pnl is not None
    assert row.margin_used is not None
    assert row.margin_available == pytest.approx(1e6 + row.pnl - row.margin_used)
    assert row.margin_ratio == pytest.approx((1e6 + row.pnl) / row.margin_used)
    assert row.worst_currency == "JPY"


def test_a_revaluation_by_hand_with_entries_elsewhere() -> None:
    """Long AUDJPY bought at 97.52, USD account: u·(V_AUD − entry·V_JPY) before and after, nothing linearized."""
    prices = {"AUD": 0.66, "JPY": 1 / 150}
    row = only(
        stress(
            position("AUDJPY", 100_000, 97.52), prices=prices, nav=50_000, stop=None, scenarios=[scenario("yen-2024")]
        )
    )
    before = 100_000 * (0.66 - 97.52 / 150)
    after = 100_000 * (0.66 * 0.964 - 97.52 / 150 * 1.108)
    assert row.pnl == pytest.approx(after - before, abs=1e-8)
    assert row.nav_after == pytest.approx(50_000 + after - before, abs=0.01)
    assert row.remaining == {"AUDJPY": 100_000}


def test_weights_are_fractions_whatever_the_prices() -> None:
    for shown in (None, {"AUD": 0.65, "NZD": 0.6, "NOK": 0.1, "JPY": 0.0067, "CHF": 1.12, "EUR": 1.1}):
        report = stress(CARRY, prices=shown, nav=250_000, stop=None)
        by_name = {row.scenario.name: row for row in report.rows}
        for s in scenarios():
            if set(CARRY) <= set(s.moves):
                assert by_name[s.name].change == pytest.approx(sum(w * s.moves[c] for c, w in CARRY.items()))
        assert by_name["carry-gap"].change == pytest.approx(-0.4)


def test_an_account_in_another_currency() -> None:
    """Weights against EUR: each move is the cross's, (1 + m) / (1 + m_EUR) − 1, and USD has one too."""
    s = scenario("crash-quarter-2008")
    row = only(stress({"AUD": 0.5, "USD": -0.5}, account_currency="EUR", stop=None, scenarios=[s]))
    aud, usd = (1 - 0.291) / (1 - 0.184) - 1, 1 / (1 - 0.184) - 1
    assert row.change == pytest.approx(0.5 * aud - 0.5 * usd)
    assert row.by_currency == pytest.approx({"AUD": 0.5e6 * aud, "USD": -0.5e6 * usd})
    assert row.change is not None
    assert row.nav_after == pytest.approx(1e6 * (1 + row.change), abs=0.02)


def test_the_hypothetical_gap_hits_either_book() -> None:
    for side in (1, -1):
        for account in ("USD", "JPY", "EUR"):
            row = only(
                stress(
                    {"AUD": 0.5 * side, "CHF": -0.25 * side},
                    account_currency=account,
                    stop=None,
                    scenarios=[scenario("carry-gap")],
                )
            )
            assert row.change == pytest.approx(-0.15)


def test_an_empty_book_loses_nothing() -> None:
    for empty in ({}, {"AUD": 0.0}, {"USD": 1.0}, position("EURUSD", 0, 1.1)):
        report = stress(empty)
        assert all(row.is_computable for row in report.rows)
        assert {row.pnl for row in report.rows} == {0}
        assert {row.nav_after for row in report.rows} == {1_000_000}
        assert {row.margin_ratio for row in report.rows} == {None}
        assert report.worst.worst_currency is None


# --- what the venue does ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "published"), [(0.5, 1.067796610), (1.0, 1.086206897)])
def test_the_close_out_comes_at_its_published_price(level: float, published: float) -> None:
    assert closeout_price(10_000, 200_000, 1.1, 1 / 30, level) == pytest.approx(published, abs=1e-9)
    held = position("EURUSD", 200_000, 1.1)

    def at(price: float) -> StressRow:
        shocks = [shock(EUR=price / 1.1 - 1)]
        return only(
            stress(held, prices={"EUR": 1.1}, nav=10_000, scenarios=shocks, closeout_level=level, stop=None, costs=None)
        )

    above, below = at(published + 1e-6), at(published - 1e-6)
    assert not above.is_closed_out
    assert above.remaining == {"EURUSD": 200_000}
    assert below.is_closed_out
    assert below.remaining == {}
    assert below.margin_ratio == pytest.approx(level, abs=1e-3)
    assert below.nav_after == pytest.approx(10_000 + 200_000 * (published - 1.1), abs=0.3)
    if level == 0.5:
        assert below.nav_after == pytest.approx(3_559.32, abs=0.3)


def test_a_close_out_pays_the_widened_spread() -> None:
    row = only(
        stress(
            position("EURUSD", 200_000, 1.1),
            prices={"EUR": 1.1},
            nav=10_000,
            stop=None,
            costs=Costs(spread_bps={"EUR": 2.0, "USD": 0.0}, slippage_bps=0.5, commission_bps=0.25),
            scenarios=[shock(10.0, EUR=-0.03)],
        )
    )
    mid, half = 1.1 * 0.97, 10 * 1e-4 + 0.5e-4 + 0.25e-4
    assert row.is_closed_out
    assert row.nav_after == pytest.approx(10_000 + 200_000 * (mid * (1 - half) - 1.1), abs=0.01)
    assert row.pnl == pytest.approx(-6_600)


def test_a_gap_fills_a_stop_at_the_price_behind_it() -> None:
    """Long 100,000 EURCHF at 1.2010, stop 1.14095, next quote 1.0300: P&L −17,100 CHF, −14.238 %."""
    row = only(
        stress(
            position("EURCHF", 100_000, 1.2010),
            prices={"EUR": 1.2010},
            nav=120_100,
            account_currency="CHF",
            costs=None,
            scenarios=[shock(EUR=0.0, CHF=1.2010 / 1.03 - 1)],
        )
    )
    assert row.stops == ("EURCHF",)
    assert row.remaining == {}
    assert row.nav_after == pytest.approx(120_100 - 17_100, abs=0.01)
    assert row.change == pytest.approx(-0.14238, abs=1e-5)
    assert row.by_currency == pytest.approx({"EUR": -17_100})


def test_a_stop_is_measured_from_the_entry_on_the_closing_side() -> None:
    costs = Costs(spread_bps={"EUR": 20.0, "USD": 0.0})  # half spread 10 bp

    def stops(side: int, entry: float, move: float, stop: float | None = 0.05) -> tuple[str, ...]:
        held = position("EURUSD", 1000 * side, entry)
        return only(
            stress(held, prices={"EUR": 1.0}, nav=1e4, costs=costs, stop=stop, scenarios=[shock(EUR=move)])
        ).stops

    assert stops(1, 1.0, -0.0495) == ("EURUSD",)  # bid 0.9495·0.999 = 0.94855 <= 0.95
    assert stops(1, 1.0, -0.0485) == ()
    assert stops(-1, 1.0, 0.0495) == ("EURUSD",)
    assert stops(-1, 1.0, 0.0485) == ()
    assert stops(1, 1.03, -0.022) == ("EURUSD",)  # bought higher: 0.978·0.999 <= 0.9785
    assert stops(1, 0.97, -0.07) == ()
    assert stops(1, 1.0, -0.5, None) == ()


def test_stops_and_close_out_together_leave_what_was_not_hit() -> None:
    book = {"EUR": 0.5, "GBP": 0.5}
    row = only(stress(book, costs=None, scenarios=[shock(EUR=-0.10, GBP=-0.01)]))
    assert row.stops == ("EURUSD",)
    assert not row.is_closed_out
    assert set(row.remaining) == {"GBPUSD"}
    big = {"EUR": 10.0, "GBP": 10.0}  # the stop takes EUR: NAV 0.05 is then 0.15 of the margin GBP needs
    row = only(stress(big, costs=None, scenarios=[shock(EUR=-0.08, GBP=-0.015)]))
    assert row.stops == ("EURUSD",)
    assert row.is_closed_out
    assert row.remaining == {}
    assert row.nav_after == pytest.approx(50_000, abs=0.02)


def test_more_than_everything_can_be_lost() -> None:
    row = only(stress({"TRY": 5.0}, costs=None, scenarios=[scenario("lira-2018")]))
    assert row.change == pytest.approx(-1.375)
    assert row.nav_after == pytest.approx(-375_000, abs=0.01)
    assert row.margin_ratio is not None
    assert row.margin_ratio < 0


# --- what cannot be computed -----------------------------------------------------------------------------------------


def test_a_scenario_without_a_move_says_so_and_the_others_go_on() -> None:
    report = stress({"TRY": 0.1, "AUD": 0.1})
    rows = {row.scenario.name: row for row in report.rows}
    assert rows["crash-month-2008"].change == pytest.approx(0.1 * -0.17 + 0.1 * -0.157)
    assert rows["lira-2018"].missing == ("AUD",)
    assert rows["franc-2015"].missing == ("TRY",)
    assert rows["franc-2015"].pnl is None
    assert rows["franc-2015"].nav_after is None
    assert rows["franc-2015"].worst_currency is None
    computable = [row.is_computable for row in report.rows]
    assert computable == sorted(computable, reverse=True)
    assert "not computable: no move for TRY" in report.to_text()


def test_the_account_currency_needs_a_move_too() -> None:
    row = only(stress({"TRY": 0.1}, account_currency="EUR", scenarios=[scenario("lira-2018")]))
    assert row.missing == ("EUR",)


def test_unmoved_only_when_asked_for() -> None:
    report = stress({"TRY": 0.1, "AUD": 0.1}, missing="zero", scenarios=[scenario("franc-2015")])
    row = only(report)
    assert row.change == pytest.approx(0.1 * 0.006)
    assert row.assumed_zero == ("TRY",)
    assert row.is_computable
    assert "* no move known for TRY: taken as unmoved." in report.to_text()


def test_no_worst_row_where_none_is_computable() -> None:
    with pytest.raises(MissingDataError, match="no scenario is computable"):
        _ = stress({"THB": 0.1}, scenarios=[scenario("franc-2015")]).worst
    with pytest.raises(MissingDataError):
        _ = stress({"EUR": 0.1}, scenarios=[]).worst


EURUSD = position("EURUSD", 1000, 1.1)


@pytest.mark.parametrize(
    ("book", "about", "error", "words"),
    [
        ({"EUR": float("nan")}, {}, ConfigError, "weight of EUR"),
        ({"EUR": "much"}, {}, ConfigError, "weight of EUR"),
        ({"EURO": 0.1}, {}, ConfigError, "three-letter"),
        ({"EUR": 0.1, **EURUSD}, {}, ConfigError, "mixes"),
        ({"EUR": 0.1, "eur": 0.1}, {}, ConfigError, "twice"),
        ({**EURUSD, "EUR/USD": EURUSD["EURUSD"]}, {"prices": {"EUR": 1.1}}, ConfigError, "twice"),
        (position("EUROUSD", 1, 1.1), {"prices": {"EUR": 1.1}}, ConfigError, "not a currency pair"),
        (position("EURUSD", 1, -1.1), {"prices": {"EUR": 1.1}}, ConfigError, "EURUSD holds"),
        (EURUSD, {}, MissingDataError, "no price for EUR"),
        (position("AUDJPY", 1, 97), {"prices": {"AUD": 0.66}}, MissingDataError, "no price for JPY"),
        ({"EUR": 0.1}, {"prices": {"AUD": 0.66}}, MissingDataError, "no price for EUR"),
        (EURUSD, {"prices": {"EUR": 0.0}}, ConfigError, "price of EUR"),
        (EURUSD, {"prices": {"EUR": float("nan")}}, ConfigError, "price of EUR"),
        ({"EUR": 0.1}, {"nav": 0}, ConfigError, "nav"),
        ({"EUR": 0.1}, {"nav": float("nan")}, ConfigError, "nav"),
        ({"EUR": 0.1}, {"account_currency": "dollar"}, ConfigError, "account_currency"),
        ({"EUR": 0.1}, {"margin_rate": 0}, ConfigError, "margin_rate"),
        ({"EUR": 0.1}, {"closeout_level": -0.1}, ConfigError, "closeout_level"),
        ({"EUR": 0.1}, {"stop": 1.5}, ConfigError, "stop"),
        ({"EUR": 0.1}, {"stop": 0.0}, ConfigError, "stop"),
        ({"EUR": 0.1}, {"missing": "ignore"}, ConfigError, "missing"),
        ({"EUR": 70.0}, {}, ConfigError, "close-out level already"),
        (position("EURUSD", 1000, 0.1), {"prices": {"EUR": 1.1}, "nav": 900}, ConfigError, "open profit"),
        ({"BRL": 0.1}, {"scenarios": [scenario("lira-2018")]}, MissingDataError, "no spread for BRL"),
        (
            {"EUR": 0.1},
            {"costs": Costs(spread_multiplier=5000.0), "scenarios": [scenario("carry-gap")]},
            ConfigError,
            "below mid in scenario carry-gap",
        ),
    ],
)
def test_bad_input_is_refused(book: Any, about: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        stress(book, **about)


# --- the report ------------------------------------------------------------------------------------------------------


def test_rows_are_worst_first_and_plain_json() -> None:
    report = stress(CARRY, missing="zero")
    after = [row.nav_after for row in report.rows if row.nav_after is not None]
    assert after == sorted(after)
    assert len(after) == 16
    assert report.worst is report.rows[0]
    assert report.worst.scenario.name == "carry-gap"
    again = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert again["nav"] == 1_000_000
    assert len(again["rows"]) == 16
    first = again["rows"][0]
    assert first["scenario"] == "carry-gap"
    assert first["start"] is None
    assert first["worst_currency"] == report.worst.worst_currency
    assert sum(first["by_currency"].values()) == pytest.approx(first["pnl"])
    assert set(first) >= {f.name for f in attrs.fields(StressRow)} - {"scenario"}
    assert again["rows"][1]["start"] == "2008-07-31"


def test_the_table_reads_and_fits() -> None:
    report = stress(CARRY)
    for width in (100, 140, 20):
        lines = report.to_text(width).splitlines()
        assert max(map(len, lines)) <= max(width, 100)
    assert lines[0].split() == ["scenario", "dates", "P&L", "worst", "stops", "closed", "NAV", "after", "ratio"]
    gap = next(line for line in lines if line.startswith("carry-gap"))
    assert "hypothetical" in gap
    assert "-40.0%" in gap
    text = " ".join(report.to_text().split())
    for words in ("one gap", "moves are against USD", "no interest", "Stops 5.0%", "costs included"):
        assert words in text
    free = " ".join(stress(CARRY, costs=None, stop=None).to_text().split())
    assert "No stops." in free
    assert "at mid, free of cost" in free


BEGIN = "2020-01-07"  # the first day with a rate


# --- the book of a backtest ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["USD", "EUR", "JPY"])
def test_the_book_of_a_result_moves_by_its_last_weights(account: str) -> None:
    result = backtest(
        "sign",
        history=market_history(days=120),
        rules=[],
        start=BEGIN,
        account_currency=account,
        universe=("USD", *G10),
    )
    weights = result.weights.iloc[-1]
    assert (weights.drop(account) != 0).sum() == 9
    report = stress_of(result, stop=None)
    assert report.nav == pytest.approx(float(result.nav.iloc[-1]))
    assert report.account_currency == account
    computable = [row for row in report.rows if row.is_computable and row.scenario.moves]
    assert len(computable) == 10
    for row in computable:
        known: dict[Any, float] = {**row.scenario.moves, "USD": 0.0}
        own = 1 + known[account]
        expected = sum(w * ((1 + known[c]) / own - 1) for c, w in weights.items() if c != account)
        assert row.change == pytest.approx(expected, abs=1e-9)


def test_the_stops_of_a_result_are_measured_from_its_own_entries() -> None:
    result = backtest("sign", history=market_history(days=120), rules=[], start=BEGIN)
    last = dict(zip(result.journal.log.names, result.columns.average[-1]))  # type: ignore[union-attr]
    s = scenario("crash-month-2008")
    row = only(stress_of(result, scenarios=[s]))
    expected = set()
    for j, (name, average) in enumerate(last.items()):
        pair, units = Pair.parse(name), result.columns.units[-1, j]
        known = {**s.moves, "USD": 0.0}
        mid = result.columns.mid[-1, j] * (1 + known[pair.base]) / (1 + known[pair.quote])
        half = Costs().half_spread(pair)
        if (units > 0 and mid * (1 - half) <= average * 0.95) or (units < 0 and mid * (1 + half) >= average * 1.05):
            expected.add(name)
    assert set(row.stops) == expected
    assert 0 < len(expected) < 9


def test_a_strategy_is_run_without_rules_first() -> None:
    history = market_history(days=120)
    by_name = stress_of("baseline", history=history, start=BEGIN)
    assert by_name.to_dict() == stress_of(backtest("baseline", history=history, rules=[], start=BEGIN)).to_dict()
    own = stress_of(lambda view, account: {"EUR": 1.0}, history=history, universe=("EUR",), start=BEGIN, stop=None)
    assert own.rows[0].by_currency.keys() == {"EUR"}
    with pytest.raises(ConfigError, match="own history"):
        stress_of(backtest("baseline", history=history, start=BEGIN), history=history)


# --- the daily path --------------------------------------------------------------------------------------------------

DAYS = np.busday_offset("2014-10-01", np.arange(110), roll="forward").astype("datetime64[D]")
FRANC = Scenario(name="gap", start=date(2015, 1, 14), end=date(2015, 1, 16), moves={"CHF": 0.20, "EUR": -0.02})


def path(**changes: dict[str, float]) -> MarketHistory:
    """Flat prices but for factors from given days on; every rate is 0, so that nothing but prices earns."""
    level = {"EUR": 1.2, "CHF": 1.0, "JPY": 0.0085, "USD": 1.0}
    currencies = ("EUR", "CHF", "JPY")
    spot = np.tile([level[c] for c in currencies], (len(DAYS), 1))
    for currency, factors in changes.items():
        for day, factor in factors.items():
            spot[np.datetime64(day) <= DAYS, currencies.index(currency)] *= factor
    known = np.array(["2010-01-01"], "datetime64[ns]")
    times = (session_ends(DAYS) - np.timedelta64(60, "s")).astype("datetime64[ns]")
    rates = {c: RateSeries(c, known, known, np.array([0.0])) for c in level}
    return MarketHistory(times, currencies, spot, "USD", rates)


BOOK = {"CHF": -0.6, "EUR": 0.5}
FREE: dict[str, Any] = {"costs": None, "markup": 0.0}


def test_one_jump_on_the_path_is_the_gap() -> None:
    history = path(CHF={"2015-01-15": 1.2}, EUR={"2015-01-15": 0.98})
    for stop in (None, 0.05):
        told = replay(BOOK, FRANC, history, stop=stop, **FREE)
        assert told.gap.change == pytest.approx(-0.6 * 0.2 - 0.5 * 0.02)
        assert told.change == pytest.approx(told.gap.change, abs=2e-5)  # whole units
        assert told.spot == pytest.approx(told.change, abs=1e-6)
        assert told.carry == told.cost == 0
        assert told.stops == told.gap.stops == (() if stop is None else ("USDCHF",))
        assert not told.is_closed_out
        assert str(told.result.nav.index[0].date()) == "2015-01-13"
        assert str(told.result.nav.index[-1].date()) == "2015-01-16"
        assert told.lowest == pytest.approx(told.change)
    assert len(told.result.trades) == 3


def test_a_stop_on_the_way_is_better_than_a_gap() -> None:
    """Up 6 % on one day, 13.2 % on the next: the stop takes the first, the gap both."""
    history = path(CHF={"2015-01-15": 1.06, "2015-01-16": 1.2 / 1.06})
    told = replay({"CHF": -0.6}, FRANC, history, **FREE)
    assert told.change == pytest.approx(-0.6 * 0.06, abs=2e-5)
    assert told.gap.change == pytest.approx(-0.6 * 0.2)
    held = replay({"CHF": -0.6}, FRANC, history, stop=None, **FREE)
    assert held.change == pytest.approx(-0.6 * 0.2, abs=2e-5)


def test_moves_before_the_start_are_not_in_it_and_a_recovery_is_seen() -> None:
    history = path(EUR={"2015-01-14": 0.9, "2015-01-15": 0.96, "2015-01-16": 1.02})
    told = replay({"EUR": 0.5}, FRANC, history, **FREE)
    filled = 0.5 * 0.9  # units were decided on the eve, at the price before the fall of the 14th
    assert told.change == pytest.approx(filled * (0.96 * 1.02 - 1), abs=2e-5)
    assert told.lowest == pytest.approx(filled * -0.04, abs=2e-5)
    assert told.stops == ()


def test_the_book_is_entered_once_and_never_rebalanced() -> None:
    history = path(EUR={"2015-01-15": 1.3})
    told = replay({"EUR": 0.5, "CHF": -0.1, "JPY": 0.0}, FRANC, history, markup=0.02)
    assert len(told.result.trades) == 2
    assert told.cost == pytest.approx(-0.5 * 0.65e-4 - 0.1 * 1.0e-4, rel=1e-3)
    assert told.carry < 0
    assert told.weights == {"EUR": 0.5, "CHF": -0.1}


def test_a_close_out_on_the_path() -> None:
    told = replay({"CHF": -10.0}, FRANC, path(CHF={"2015-01-15": 1.2}), stop=None, **FREE)
    assert told.is_closed_out
    assert told.gap.is_closed_out
    assert told.change == pytest.approx(-2.0, abs=2e-4)


def test_a_strategy_is_replayed_with_the_book_it_held() -> None:
    history = path(CHF={"2015-01-15": 1.2})

    def short(view: Any, account: Any) -> dict[str, float]:
        assert view.as_of.date() < FRANC.start
        return {"CHF": -0.6}

    told = replay(short, FRANC, history, universe=("CHF", "EUR"), **FREE)
    assert told.weights == pytest.approx({"CHF": -0.6}, abs=1e-5)
    assert told.change == pytest.approx(-0.12, abs=2e-5)


def test_what_cannot_be_replayed_is_an_error() -> None:
    history = path()
    with pytest.raises(ConfigError, match="carry-gap has no dates"):
        replay(BOOK, scenario("carry-gap"), history)
    with pytest.raises(ConfigError, match="no position"):
        replay({"USD": 1.0, "EUR": 0.0}, FRANC, history)
    with pytest.raises(ConfigError, match="weight of EUR"):
        replay({"EUR": float("inf")}, FRANC, history)
    with pytest.raises(DataError, match="outside the data"):
        replay(BOOK, scenario("yen-1998"), history)
    with pytest.raises(MissingDataError, match="TRY"):
        replay({"TRY": 0.1}, FRANC, history)
    closed = attrs.evolve(history, spot=np.where(np.arange(len(DAYS))[:, None] < 90, history.spot, np.nan))
    with pytest.raises(DataError):
        replay(BOOK, attrs.evolve(FRANC, start=date(2015, 2, 16), end=date(2015, 2, 18)), closed)


@pytest.mark.ecb
def test_the_franc_on_real_fixings() -> None:
    from fxcarry_ecb import EcbFeed

    history = EcbFeed().history(None, None)
    told = replay({"CHF": -0.3, "AUD": 0.3}, scenario("franc-2015"), history)
    usd = history.in_currency("USD", ("CHF", "AUD"))
    days = usd.times.astype("datetime64[D]").tolist()
    first, jump = (days.index(date(2015, 1, d)) for d in (14, 15))
    (stopped,) = told.stops
    assert stopped == "USDCHF"
    chf = usd.spot[jump, 0] / usd.spot[first, 0] - 1
    assert chf > 0.1
    fall = told.result.nav.iloc[2] / told.result.nav.iloc[1] - 1
    aud = usd.spot[jump, 1] / usd.spot[first, 1] - 1
    assert fall == pytest.approx(-0.3 * chf + 0.3 * aud, abs=3e-4)
    assert told.gap.change == pytest.approx(-0.3 * 0.193 + 0.3 * 0.006)


def test_a_feed_of_ones_own_is_a_history() -> None:
    feed = MemoryFeed(market_history(days=120))
    report = stress_of("sign", history=feed.history(None, None), start=BEGIN, end="2020-04-30")
    assert len(report.rows) == 16


# --- the panel of a report


def test_the_panel_is_of_the_book_at_the_end():
    history = market_history(days=300)
    result = backtest(Baseline(), history=history, start="2020-01-08", rules=[])
    panel = crash_panel(result)
    assert json.loads(json.dumps(panel, allow_nan=False)) == panel
    assert {k: panel[k] for k in stress_of(result).to_dict()} == stress_of(result).to_dict()
    assert (panel["date"], panel["has_rules"], panel["missing"]) == (str(result.books.day[-1]), False, None)
    assert panel["weights"] == pytest.approx({c: w for c, w in result.weights.iloc[-1].items() if w})
    one = crash_panel(result, scenarios=[scenario("yen-2024")])
    assert [row["scenario"] for row in one["rows"]] == ["yen-2024"]


def test_a_halted_run_is_told_by_the_one_without_rules():
    history = market_history(days=300)
    halted = backtest(Baseline(), history=history, start="2020-01-08", rules=[Drawdown(limit=1e-4)])
    free = backtest(Baseline(), history=history, start="2020-01-08", rules=[])
    assert not halted.weights.iloc[-1].any()
    assert crash_panel(halted, free) == crash_panel(free)
    alone = crash_panel(halted)
    assert (alone["weights"], alone["has_rules"]) == ({}, True)
    assert {row["change"] for row in alone["rows"]} == {0.0}


def test_a_book_that_cannot_be_stressed_has_a_reason():
    result = backtest(Baseline(), history=market_history(days=120), start="2020-01-08", rules=[])
    panel = crash_panel(result, scenarios=[Scenario(name="dear", by_side=(-0.1, 0.1), spread_multiplier=1e6)])
    assert "below mid in scenario dear" in panel["missing"]
    assert "rows" not in panel
