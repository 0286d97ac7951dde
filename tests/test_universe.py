"""Universes: dated tables, the resolver, files, membership in a run, and what is named as pegged, capped or barred."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry import backtest, plugins
from fxcarry.backtest import BacktestResult
from fxcarry.config import load_config
from fxcarry.conventions import G10
from fxcarry.errors import ConfigError, MissingDataError
from fxcarry.feeds import MemoryFeed
from fxcarry.lookahead import find_look_ahead
from fxcarry.market import MarketHistory, MarketView
from fxcarry.screen import carry_table
from fxcarry.strategies import Baseline
from fxcarry.testing import market_history
from fxcarry.universe import (
    ALWAYS,
    BUILT_IN,
    NON_DELIVERABLE,
    Membership,
    Universe,
    exit_days,
    flags,
    peg_of,
    read_universe,
    universe_of,
)

NAN = float("nan")


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    """CZK has a price from 2020-07-01 on, HUF to 2021-03-30 only; the others from 2020-01-06 to 2021-11-26."""
    whole = market_history(("CZK", "EUR", "HUF", "JPY", "NZD"), days=495, seed=5)
    spot = whole.spot.copy()
    days = whole.times.astype("datetime64[D]")
    spot[days < np.datetime64("2020-07-01"), 0] = NAN
    spot[days > np.datetime64("2021-03-30"), 2] = NAN
    return attrs.evolve(whole, spot=spot)


TABLE = Universe(
    "mine",
    (
        Membership("CZK", note="young"),
        Membership("EUR", ALWAYS),
        Membership("HUF", ALWAYS, date(2021, 3, 31), "its market closed"),
        Membership("JPY", ALWAYS),
        Membership("NZD", date(2020, 4, 15)),
    ),
)


def everything(view: MarketView, account: object) -> dict[str, float]:
    """Wants every currency at all times, member or not."""
    return dict.fromkeys(view.currencies, 0.1)


def run(history: MarketHistory, strategy: Any = everything, universe: Any = TABLE, **about: Any) -> BacktestResult:
    return backtest(strategy, history=history, universe=universe, **{"rules": [], "start": "2020-01-08", **about})


# --- the table -------------------------------------------------------------------------------------------------------


def test_a_stay_is_from_enters_to_the_day_before_leaves() -> None:
    table = Universe("t", [Membership("hrk", date(2006, 4, 1), date(2023, 1, 1)), Membership("EUR", ALWAYS)])
    assert table.currencies == ("HRK", "EUR")
    assert table.members_at(date(2006, 3, 31)) == ("EUR",)
    assert table.members_at(date(2006, 4, 1)) == ("HRK", "EUR")
    assert table.members_at(date(2022, 12, 31)) == ("HRK", "EUR")
    assert table.members_at(date(2023, 1, 1)) == ("EUR",)


def test_a_currency_may_come_back_but_not_be_there_twice() -> None:
    stays = [Membership("ISK", ALWAYS, date(2008, 12, 10)), Membership("ISK", date(2019, 2, 1))]
    table = Universe("t", stays)
    assert table.currencies == ("ISK",)
    assert [table.members_at(date(y, 6, 1)) for y in (2007, 2012, 2020)] == [("ISK",), (), ("ISK",)]
    with pytest.raises(ConfigError, match=r"a currency twice: ISK, ISK .*two stays of ISK"):
        Universe("t", [stays[0], Membership("ISK", date(2008, 12, 9))])


def test_only_the_stays_that_touch_a_period_are_kept() -> None:
    assert TABLE.between(date(2020, 1, 1), date(2020, 4, 14)).currencies == ("CZK", "EUR", "HUF", "JPY")
    assert TABLE.between(date(2021, 3, 30), date(2021, 5, 1)).currencies == TABLE.currencies
    assert TABLE.between(date(2021, 3, 31), date(2021, 5, 1)).currencies == ("CZK", "EUR", "JPY", "NZD")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Membership("EURO"), "'EURO' is not a three-letter"),
        (lambda: Membership("HRK", date(2023, 1, 1), date(2023, 1, 1)), "HRK leaves on 2023-01-01, which is not after"),
        (lambda: Universe("empty", ()), "the universe empty has no currency"),
    ],
)
def test_bad_tables(make: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()


def test_the_built_in_tables_hold_the_events() -> None:
    leaves = {m.currency: m.leaves for table in BUILT_IN.values() for m in table.members if m.leaves}
    assert leaves.pop("HRK") == date(2023, 1, 1)
    assert leaves.pop("BGN") == date(2026, 1, 1)
    assert leaves.pop("RUB") == date(2022, 3, 2)  # the last reference rate is of the day before
    assert set(leaves) == {"ATS", "BEF", "DEM", "ESP", "FIM", "FRF", "IEP", "ITL", "LUF", "NLG", "PTE"}
    assert set(leaves.values()) == {date(1999, 1, 1)}
    assert BUILT_IN["g10"].currencies == G10
    assert BUILT_IN["g10"].members_at(date(1998, 12, 31)) == tuple(c for c in G10 if c != "EUR")
    assert BUILT_IN["g10"].members_at(date(1999, 1, 1)) == G10
    assert not set(BUILT_IN["em"].currencies) & set(G10)
    assert all(m.enters is None for m in BUILT_IN["em"].members)  # after twelve months of data
    assert all(m.note for table in BUILT_IN.values() for m in table.members if m.leaves)


# --- when a decision must close --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "frequency", "traded"),
    [
        ("2022-01-31", "monthly", "2022-03-01"),  # decided on Monday 28 February: RUB still had a fixing the day after
        ("2022-02-28", "monthly", "2022-04-01"),
        ("2022-11-30", "monthly", "2023-01-02"),  # decided on Friday 30 December: too late for HRK
        ("2025-11-28", "monthly", "2026-01-02"),  # New Year's Day has no fixing: too late for BGN
        ("2024-02-29", "monthly", "2024-04-02"),  # decided on Good Friday 29 March, then Easter Monday
        ("2024-03-15", "monthly", "2024-04-02"),
        ("2022-12-16", "weekly", "2022-12-27"),  # the 26th is a TARGET holiday
        ("2022-12-29", "daily", "2023-01-02"),
    ],
)
def test_what_the_next_decision_trades_on(day: str, frequency: Any, traded: str) -> None:
    assert str(exit_days(np.array([day], "datetime64[D]"), frequency, "EUR")[0]) == traded


def test_a_source_without_a_calendar_misses_only_christmas_and_new_year() -> None:
    days = np.array(["2024-02-29", "2024-12-23", "2025-11-28"], "datetime64[D]")
    assert exit_days(days[:1], "monthly").astype(str).tolist() == ["2024-04-01"]
    assert exit_days(days[1:2], "daily").astype(str).tolist() == ["2024-12-26"]
    assert exit_days(days[2:], "monthly").astype(str).tolist() == ["2026-01-02"]
    assert exit_days(days[:0], "monthly").size == 0


def test_membership_by_decision_day(history: MarketHistory) -> None:
    days = np.array(
        ["2020-03-31", "2020-04-30", "2021-01-29", "2021-02-26", "2021-06-30", "2021-07-30"], "datetime64[D]"
    )
    mask = TABLE.mask(history, days, "monthly")
    assert mask is not None
    held = dict(zip(TABLE.currencies, mask.T.tolist()))
    assert held["EUR"] == held["JPY"] == [True] * 6
    assert held["NZD"] == [False] + [True] * 5
    assert held["CZK"] == [False] * 4 + [False, True]  # priced since 2020-07-01
    assert held["HUF"] == [True, True, True, False, False, False]  # 31 March decides too late, so February closes


def test_twelve_months_count_from_the_later_of_price_and_rate(history: MarketHistory) -> None:
    series = history.rates["CZK"]
    late = attrs.evolve(
        series,
        as_of=series.as_of[12:],
        available_at=series.available_at[12:] + np.timedelta64(1, "D"),
        value=series.value[12:],
    )
    first = late.available_at[0].astype("datetime64[D]")
    days = np.arange(np.datetime64("2020-01-06"), np.datetime64("2023-01-01"))
    table = Universe("t", [Membership("CZK")])
    mask = table.mask(attrs.evolve(history, rates={**history.rates, "CZK": late}), days, "daily")
    assert mask is not None
    assert days[mask[:, 0]][0] == np.datetime64(first.item().replace(year=first.item().year + 1))
    for rates in ({"USD": history.rates["USD"]}, {**history.rates, "CZK": late.before(late.available_at[0])}):
        never = table.mask(attrs.evolve(history, rates=rates), days, "daily")
        assert never is not None
        assert not never.any()
    spot_only = table.mask(attrs.evolve(history, rates={}), days, "daily")
    assert spot_only is not None
    assert days[spot_only[:, 0]][0] == np.datetime64("2021-07-01")


def test_an_undated_universe_has_no_mask(history: MarketHistory) -> None:
    assert universe_of(None, "USD").mask(history, np.array(["2020-01-31"], "datetime64[D]"), "monthly") is None
    assert not universe_of("EUR,JPY", "USD").is_dated
    assert TABLE.is_dated


# --- in a run --------------------------------------------------------------------------------------------------------


def test_nothing_is_held_before_it_enters_or_once_it_left(history: MarketHistory) -> None:
    result = run(history)
    held = {c: result.weights.index[np.abs(result.weights[c]) > 1e-9] for c in TABLE.currencies}
    assert str(held["EUR"][0].date()) == "2020-02-03"  # the fill of the first decision, 31 January
    assert str(held["NZD"][0].date()) == "2020-05-01"  # entered on 15 April, decided on the 30th
    assert str(held["CZK"][0].date()) == "2021-08-02"  # twelve months after 1 July 2020, decided on 30 July
    assert str(held["HUF"][0].date()) == "2020-02-03"
    assert str(held["HUF"][-1].date()) == "2021-02-26"  # the decision of that day closes it, at the quote of 1 March
    last = result.trades[result.trades["instrument"] == "USDHUF"].iloc[-1]
    assert str(last["at"].date()) == "2021-03-01"
    row = int(np.flatnonzero(history.times.astype("datetime64[D]") == np.datetime64("2021-03-01"))[0])
    assert last["mid"] == pytest.approx(1 / history.spot[row, 2])
    assert (result.weights["HUF"].loc["2021-03-01":] == 0).all()


def test_daily_decisions_hold_until_the_day_before_the_last_price(history: MarketHistory) -> None:
    weights = run(history, rebalance="daily").weights["HUF"]
    assert str(weights.index[np.abs(weights) > 1e-9][-1].date()) == "2021-03-29"  # closed at the price of the 30th


def test_a_weight_outside_the_universe_is_dropped_and_said(history: MarketHistory) -> None:
    notes = run(history).notes
    assert (
        "the strategy wanted CZK, HUF, NZD while outside the universe: such a weight is taken as 0 "
        "(view.is_member says who may be held)"
    ) in notes
    assert "HUF leaves the universe on 2021-03-31: its market closed; it is closed before" in notes
    assert "NZD enters the universe on 2020-04-15" in notes
    assert "CZK is held only after twelve months of its own prices and rates" in notes
    assert not [note for note in run(history, Baseline(k=1)).notes if "wanted" in note]


def test_the_carry_of_who_is_no_member_is_not_a_number(history: MarketHistory) -> None:
    seen: list[tuple[str, list[str], list[str], bool]] = []

    def strategy(view: MarketView, account: object) -> dict[str, float]:
        outside = [c for c, is_member in zip(view.currencies, view.is_member) if not is_member]
        nan = view.carry.index[view.carry.isna()].tolist()
        assert np.isnan(view.tradable_carry).tolist() == np.isnan(view.values("carry")).tolist()
        seen.append((f"{view.as_of:%Y-%m}", outside, nan, bool(view.rates.notna().all())))
        return {}

    result = run(history, strategy)
    by_month = {month: outside for month, outside, _, _ in seen}
    assert all(outside == nan for _, outside, nan, _ in seen)
    assert all(known for *_, known in seen)  # rates and prices stay to be seen: a signal may learn from them
    assert by_month["2020-02"] == ["CZK", "NZD"]
    assert by_month["2020-12"] == ["CZK"]
    assert by_month["2021-02"] == ["CZK", "HUF"]
    assert by_month["2021-08"] == ["HUF"]
    assert not [note for note in result.notes if "wanted" in note]


@pytest.mark.parametrize("strategy", ["baseline", "sign", "rank", "optimized"])
def test_no_built_in_strategy_asks_for_what_is_no_member(history: MarketHistory, strategy: str) -> None:
    result = run(history, strategy)
    assert (result.weights["CZK"].loc[:"2021-07-30"] == 0).all()
    assert (result.weights["HUF"].loc["2021-03-01":] == 0).all()
    assert not [note for note in result.notes if "wanted" in note]


def test_it_holds_with_risk_rules_too(history: MarketHistory) -> None:
    with_rules = run(history, rules=None)
    assert (with_rules.weights["HUF"].loc["2021-03-01":] == 0).all()
    assert (with_rules.weights["CZK"].loc[:"2021-07-30"] == 0).all()


def test_membership_needs_no_later_data(history: MarketHistory) -> None:
    report = find_look_ahead(everything, history=history, universe=TABLE, start="2020-01-08")
    assert report.findings == ()
    assert report.decisions > 20
    whole = run(history, Baseline(k=1), end="2021-02-26")
    cut = run(
        attrs.evolve(
            history,
            times=history.times[:297],
            spot=history.spot[:297],
            rates={c: s.before(history.times[297]) for c, s in history.rates.items()},
        ),
        Baseline(k=1),
        end="2021-02-23",
    )
    shared = cut.nav.index
    assert len(shared) > 280
    assert whole.nav.loc[shared].tolist() == cut.nav.tolist()


def test_a_price_is_needed_until_the_last_day(history: MarketHistory) -> None:
    later = Universe("t", [*TABLE.members[:2], Membership("HUF", ALWAYS, date(2021, 4, 2))])
    with pytest.raises(
        MissingDataError, match="HUF has no price after 2021-03-30, but leaves the universe only on 2021"
    ):
        run(history, universe=later)
    over = Universe("t", [*TABLE.members[:2], Membership("HUF", ALWAYS)])
    with pytest.raises(MissingDataError, match=r"HUF has no price after 2021-03-30 \(end by"):
        run(history, universe=over)


def test_who_is_never_a_member_in_the_period_needs_no_data(history: MarketHistory) -> None:
    table = Universe("t", [*TABLE.members, Membership("DEM", ALWAYS, date(1999, 1, 1))])
    assert run(history, universe=table).universe == TABLE.currencies
    assert "HUF" not in run(history, universe=table, start="2021-04-01").universe
    with pytest.raises(ConfigError, match="no currency"):
        run(history, universe="legacy")


def test_a_gap_matters_only_inside_a_stay(history: MarketHistory) -> None:
    spot = history.spot.copy()
    days = history.times.astype("datetime64[D]")
    spot[(days >= np.datetime64("2020-06-01")) & (days < np.datetime64("2020-07-01")), 4] = NAN
    gappy = attrs.evolve(history, spot=spot)
    with pytest.raises(MissingDataError, match="NZD has no price between 2020-05-29 and 2020-07-01"):
        run(gappy)
    two = Universe(
        "t", [*TABLE.members[:4], Membership("NZD", ALWAYS, date(2020, 5, 30)), Membership("NZD", date(2020, 7, 1))]
    )
    weights = run(gappy, universe=two).weights["NZD"]
    assert (weights.loc["2020-05-01":"2020-07-31"] == 0).all()
    assert (weights.loc["2020-03-02":"2020-04-30"] > 0).all()
    assert (weights.loc["2020-08-03":] > 0).all()


def test_the_carry_table_leaves_out_who_is_no_member(history: MarketHistory) -> None:
    feed = MemoryFeed(attrs.evolve(history, times=history.times[1:], spot=history.spot[1:]))  # rates are known by then

    def currencies(at: str) -> set[str]:
        return {row["currency"] for row in carry_table(feed, at=at, universe=TABLE)["rows"]}

    assert currencies("2020-03-31") == {"EUR", "HUF", "JPY"}
    assert currencies("2020-04-30") == {"EUR", "HUF", "JPY", "NZD"}
    assert currencies("2021-07-01") == {"CZK", "EUR", "JPY", "NZD"}


# --- the resolver ----------------------------------------------------------------------------------------------------


def test_every_way_to_name_a_universe(tmp_path: Path) -> None:
    assert universe_of(None, "CHF").currencies == tuple(c for c in G10 if c != "CHF")
    assert universe_of(["usd", "JPY"], "USD").currencies == ("USD", "JPY")
    assert universe_of("eur, jpy", "USD").currencies == ("EUR", "JPY")
    assert universe_of("eur", "USD").currencies == ("EUR",)
    assert universe_of(" G10 ", "USD").currencies == tuple(c for c in G10 if c != "USD")
    assert universe_of("em", "MXN").currencies == tuple(c for c in BUILT_IN["em"].currencies if c != "MXN")
    assert universe_of("all", "USD").currencies == universe_of("g10+em", "USD").currencies
    assert len(universe_of("all", "USD").currencies) == 9 + len(BUILT_IN["em"].members)
    assert universe_of(TABLE, "EUR") is TABLE
    file = tmp_path / "mine.csv"
    file.write_text("currency\nMXN\n")
    assert universe_of(file, "USD") == universe_of(str(file), "USD") == Universe("mine", [Membership("MXN")])


@pytest.mark.parametrize(
    ("universe", "match"),
    [
        (
            "emerging",
            "'emerging' is neither a name nor a three-letter currency code .*g10, em, legacy, all; a file ends",
        ),
        ("g10+ems", r"'g10\+ems' is neither"),
        ("", "'' is neither"),
        ("EUR,euro", "'euro' is not a three-letter"),
        ("EUR,EUR", "a currency twice: EUR, EUR"),
        ([], "no currency to trade"),
        (["USD"], "no currency to trade"),
        (["EUR", 3], "3 is not a three-letter"),
        ("nowhere/mine.csv", "the universe nowhere.mine.csv does not exist"),
    ],
)
def test_what_names_no_universe(universe: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        universe_of(universe, "USD")


def test_the_configuration_names_a_universe(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("currency,leaves\nEUR,\nJPY,2030-01-01\n")
    file = tmp_path / "fxcarry.toml"

    def configured(value: str) -> Any:
        file.write_text(f"universe = {value}\n")
        return load_config(file, plugins.load(), environ={}).universe

    assert configured('"em"') == "em"
    assert configured('["eur", "JPY"]') == configured('"eur,jpy"') == ("EUR", "JPY")
    assert configured(f'"{table}"') == str(table)
    with pytest.raises(ConfigError, match="universe 'emerging' is neither"):
        configured('"emerging"')


def test_a_run_uses_the_universe_of_its_configuration(tmp_path: Path, history: MarketHistory) -> None:
    table, file = tmp_path / "mine.csv", tmp_path / "fxcarry.toml"
    table.write_text("currency,enters,leaves\nEUR,always,\nHUF,always,2021-03-31\nNZD,2020-04-15,\n")
    file.write_text(f'universe = "{table}"\n')
    result = run(history, universe=None, config=file)
    assert result.universe == ("EUR", "HUF", "NZD")
    assert (result.weights["HUF"].loc["2021-03-01":] == 0).all()


# --- files -----------------------------------------------------------------------------------------------------------


def test_csv_and_toml_hold_the_same(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(
        "currency,enters,leaves,note\nmxn,,,\n HRK ,2006-04-01,2023-01-01,joined the euro\nZAR, always ,,\n"
    )
    (tmp_path / "mine.toml").write_text(
        '[[members]]\ncurrency = "MXN"\n[[members]]\ncurrency = "HRK"\nenters = 2006-04-01\nleaves = "2023-01-01"\n'
        'note = "joined the euro"\n[[members]]\ncurrency = "ZAR"\nenters = "always"\n'
    )
    wanted = Universe(
        "mine",
        [
            Membership("MXN"),
            Membership("HRK", date(2006, 4, 1), date(2023, 1, 1), "joined the euro"),
            Membership("ZAR", ALWAYS),
        ],
    )
    assert read_universe(tmp_path / "mine.csv") == read_universe(str(tmp_path / "mine.toml")) == wanted


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("u.csv", "currency,enters\nMXN,\nZAR,soon\n", r"u.csv, line 3: enters 'soon' is not a date"),
        ("u.csv", "currency,leaves\nMXN,always\n", r"u.csv, line 2: leaves 'always' is not a date"),
        ("u.csv", "currency\nMXN\nPESO\n", r"u.csv, line 3: currency: 'PESO' is not a three-letter"),
        ("u.csv", "currency\nMXN\nMXN\n", r"u.csv, line 3: universe lists a currency twice: MXN, MXN"),
        ("u.csv", "currency,since\nMXN,\n", r"u.csv, line 2: unknown column 'since' .*enters, leaves, note"),
        ("u.csv", "currency\nMXN,1\n", r"u.csv, line 2: unknown column 'too many cells'"),
        ("u.csv", "code\nMXN\n", r"u.csv, line 1: no column currency"),
        ("u.csv", "", r"u.csv, line 1: no column currency"),
        ("u.csv", "currency\n", r"u.csv lists no currency"),
        ("u.csv", 'currency\n"MXN\n', r"u.csv, line 2: unexpected end"),
        ("u.csv", "currency,enters,leaves\nMXN,2020-01-01,2019-01-01\n", r"u.csv, line 2: MXN leaves on 2019-01-01"),
        ("u.toml", 'members = "MXN"\n', r"u.toml holds something else than \[\[members\]\]"),
        ("u.toml", '[[member]]\ncurrency = "MXN"\n', r"u.toml holds something else"),
        ("u.toml", "[[members]\n", r"u.toml is not TOML: .*line 1"),
        ("u.toml", "[[members]]\ncurrency = 3\n", r"u.toml, member 1: currency: 3 is not a three-letter"),
        ("u.toml", '[[members]]\ncurrency = "MXN"\nnote = 1\n', r"u.toml, member 1: note 1 is not a text"),
        ("u.toml", '[[members]]\ncurrency = "MXN"\nenters = 2020\n', r"u.toml, member 1: enters 2020 is not a date"),
        (
            "u.toml",
            '[[members]]\ncurrency = "MXN"\nenters = 2020-01-01T00:00:00\n',
            r"member 1: enters .* is not a date",
        ),
    ],
)
def test_a_mistake_in_a_file_says_where(tmp_path: Path, name: str, text: str, match: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ConfigError, match=match):
        read_universe(file)


# --- pegs, caps, non-deliverables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "day", "text"),
    [
        ("CHF", "2011-09-05", None),
        ("CHF", "2011-09-06", "CHF: floor against EUR 2011-09-06 to 2015-01-15"),
        ("CHF", "2015-01-15", "CHF: floor against EUR 2011-09-06 to 2015-01-15"),
        ("CHF", "2015-01-16", None),
        ("CZK", "2017-04-06", "CZK: floor of EUR against it at 27 2013-11-07 to 2017-04-06"),
        ("CZK", "2017-04-07", None),
        ("DKK", "2020-01-01", "DKK: ERM II band of 2.25 % around 7.46038 to EUR from 1999-01-01 on"),
        ("HKD", "2020-01-01", "HKD: linked to USD at 7.80, since 2005-05-18 within 7.75 to 7.85 from 1983-10-17 on"),
        ("SAR", "2020-01-01", "SAR: fixed to USD at 3.75 from 1986-06-01 on"),
        ("CNY", "2004-01-01", "CNY: held near 8.28 per USD 1994-01-01 to 2005-07-21"),
        ("CNY", "2020-01-01", "CNY: managed within a daily band around a fixing from 2005-07-21 on"),
        ("BGN", "2025-12-31", "BGN: currency board, 1.95583 to EUR 1999-01-01 to 2025-12-31"),
        ("TRY", "2019-03-27", None),  # a caution, no peg
        ("USD", "2020-01-01", None),
    ],
)
def test_pegs_and_caps_by_day(currency: str, day: str, text: str | None) -> None:
    found = peg_of(currency, date.fromisoformat(day))
    assert (None if found is None else str(found)) == text


def test_flags_of_a_period() -> None:
    assert flags("chf", date(2015, 1, 16), date(2026, 1, 1)) == ()
    assert [f.kind for f in flags("CNY", date(1999, 1, 1), date(2026, 1, 1))] == ["peg", "managed", "non-deliverable"]
    assert [f.kind for f in flags("TRY", date(2019, 3, 1), date(2019, 3, 31))] == ["caution"]
    assert [str(f) for f in flags("BRL", date(2019, 3, 1), date(2019, 3, 31))] == [
        "BRL: a policy rate is not what an offshore trader earns"
    ]
    assert {"PHP", "BRL", "CLP", "COP", "PEN", "ARS", "KRW", "TWD", "INR"} < NON_DELIVERABLE
    assert {"IDR", "MYR", "EGP", "KZT", "NGN", "VND", "CNY"} < NON_DELIVERABLE
    assert len(NON_DELIVERABLE) == 16


# --- with the fixings of the ECB -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ecb() -> MarketHistory:
    from fxcarry_ecb import EcbFeed

    return EcbFeed().history(None, None)


def test_the_default_feed_has_no_emerging_rates_and_says_so(ecb: MarketHistory) -> None:
    with pytest.raises(
        MissingDataError, match=r"no rates for BGN, BRL, CNY, .*ZAR in .*give your own, FileFeed"
    ) as caught:
        backtest("baseline", history=ecb, universe="em")
    assert caught.value.fields["currencies"] == BUILT_IN["em"].currencies
    with pytest.raises(MissingDataError, match="no rates for MXN, ZAR in"):
        backtest("baseline", history=ecb, universe="EUR,MXN,ZAR")


def test_g10_by_name_is_the_default(ecb: MarketHistory) -> None:
    period: dict[str, Any] = {"history": ecb, "start": "2014-06-02", "end": "2015-03-31"}
    named, default = backtest("baseline", universe="g10", **period), backtest("baseline", **period)
    assert named.nav.tolist() == default.nav.tolist()
    floor = "CHF: floor against EUR 2011-09-06 to 2015-01-15"
    assert floor in named.notes
    assert floor in default.notes
    later = backtest("baseline", history=ecb, start="2015-02-02", end="2015-06-30")
    assert not [note for note in later.notes if note.startswith("CHF")]


def test_emerging_currencies_enter_and_leave_with_their_events(ecb: MarketHistory) -> None:
    rate = attrs.evolve(ecb.rates["USD"], value=ecb.rates["USD"].value + 0.05)
    rates = {**ecb.rates, **{c: attrs.evolve(rate, currency=c) for c in BUILT_IN["em"].currencies}}
    full = attrs.evolve(ecb, rates=rates)
    result = backtest(
        everything, history=full, universe="em", start="2008-06-02", end="2026-03-31", rules=[], costs=None
    )
    weights = result.weights
    last = {c: str(weights.index[np.abs(weights[c]) > 1e-9][-1].date()) for c in ("RUB", "HRK", "BGN", "PLN")}
    assert last == {"RUB": "2022-02-28", "HRK": "2022-11-30", "BGN": "2025-11-28", "PLN": "2026-03-31"}
    first = {c: str(weights.index[np.abs(weights[c]) > 1e-9][0].date()) for c in ("BRL", "MXN", "PLN")}
    assert first == {"BRL": "2009-02-02", "MXN": "2009-02-02", "PLN": "2008-07-01"}
    text = "\n".join(result.notes)
    assert "HRK leaves the universe on 2023-01-01: Croatia adopted the euro on 2023-01-01; it is closed before" in text
    assert "BRL, CNY, IDR, INR, KRW, MYR, PHP: non-deliverable offshore" in text
