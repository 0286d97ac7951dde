"""fxcarry.screen: the carry table, recomputed by hand."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry import MemoryFeed, SimBroker
from fxcarry.conventions import roll_days, session_ends
from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.market import MarketHistory, RateSeries
from fxcarry.model import Instrument, Pair, Position
from fxcarry.screen import broker_table, carry_table

SPOT = {"EUR": 1.10, "JPY": 1 / 150, "AUD": 0.65, "CHF": 1.12}
RATES = {"EUR": (0.025, 360), "JPY": (0.005, 360), "AUD": (0.0435, 365), "CHF": (0.0, 360), "USD": (0.045, 360)}
NOTIONAL = 100_000


def feed(days: int = 300, *, rates: Any = None, step: float = 0.004) -> MemoryFeed:
    """Prices end at SPOT, alternating up and down by ``step`` before; constant rates. The last day is a Tuesday."""
    last = np.datetime64("2025-03-11")
    ends = session_ends(np.busday_offset(last, np.arange(1 - days, 1), roll="backward"))
    walk = np.where(np.arange(days)[::-1] % 2, step, 0.0)
    known = np.array(["2020-01-01"], "datetime64[ns]")
    table = RATES if rates is None else rates
    return MemoryFeed(
        MarketHistory(
            (ends - np.timedelta64(60, "s")).astype("datetime64[ns]"),
            tuple(SPOT),
            np.array(list(SPOT.values())) * np.exp(walk)[:, None],
            "USD",
            {c: RateSeries(c, known, known, np.array([r]), dc) for c, (r, dc) in table.items()},
        )
    )


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return carry_table(feed(), markup=0.01, universe=tuple(SPOT))


@pytest.fixture(scope="module")
def rows(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["currency"]: row for row in table["rows"]}


def test_best_carry_first(table: dict[str, Any]) -> None:
    assert [row["currency"] for row in table["rows"]] == ["AUD", "EUR", "JPY", "CHF"]
    assert table["date"] == "2025-03-11"
    assert (table["account_currency"], table["account_rate"], table["markup"]) == ("USD", 0.045, 0.01)
    assert table["notional"] == NOTIONAL


def test_carry_is_the_differential(rows: dict[str, dict[str, Any]]) -> None:
    for currency, row in rows.items():
        assert row["rate"] == RATES[currency][0]
        assert row["carry"] == pytest.approx(RATES[currency][0] - 0.045)
        assert row["spot"] == pytest.approx(SPOT[currency])
        assert row["pair"] == str(Pair.market(currency, "USD"))


def annual(currency: str) -> float:
    """A year's benchmark of being long the currency against dollars, each on its own day count."""
    rate, basis = RATES[currency]
    return 365 * (rate / basis - 0.045 / 360)


@pytest.mark.parametrize("currency", list(SPOT))
def test_financing_is_the_differential_on_its_day_counts_less_the_mark_up(
    rows: dict[str, dict[str, Any]], currency: str
) -> None:
    row = rows[currency]
    assert row["financing_long"] == pytest.approx(annual(currency) - 0.01)
    assert row["financing_short"] == pytest.approx(-annual(currency) - 0.01)


@pytest.mark.parametrize("currency", list(SPOT))
def test_tonight_is_the_cash_of_the_coming_roll(rows: dict[str, dict[str, Any]], currency: str) -> None:
    row = rows[currency]
    days = roll_days(Pair.market(currency, "USD"), date(2025, 3, 11))
    assert row["roll_days"] == days == 1
    assert row["tonight_long"] == pytest.approx(NOTIONAL * (annual(currency) - 0.01) * days / 365)
    assert row["tonight_short"] == pytest.approx(NOTIONAL * (-annual(currency) - 0.01) * days / 365)


def test_a_wednesday_books_three_days() -> None:
    shifted = feed()
    history = shifted.history(None, None)
    later = MemoryFeed(attrs.evolve(history, times=history.times + np.timedelta64(1, "D")))
    table = carry_table(later, universe=("EUR",))
    (row,) = table["rows"]
    assert (table["date"], row["roll_days"]) == ("2025-03-12", 3)
    assert row["tonight_short"] == pytest.approx(NOTIONAL * 3 * (-(0.025 - 0.045) / 360 - 0.01 / 365))


def test_volatility_is_that_of_the_last_year(rows: dict[str, dict[str, Any]]) -> None:
    for row in rows.values():
        assert row["volatility"] == pytest.approx(0.004 * np.sqrt(260), rel=1e-6)
        assert row["carry_to_risk"] == pytest.approx(row["carry"] / row["volatility"])


def test_without_enough_history_there_is_no_volatility() -> None:
    (row,) = carry_table(feed(40), universe=("EUR",))["rows"]
    assert row["volatility"] is None
    assert row["carry_to_risk"] is None
    assert row["carry"] == pytest.approx(-0.02)


def test_another_account_currency() -> None:
    table = carry_table(feed(), universe=("USD", "JPY", "EUR"), account_currency="JPY", markup=0.0)
    rows = {row["currency"]: row for row in table["rows"]}
    assert set(rows) == {"USD", "EUR"}
    assert rows["USD"]["spot"] == pytest.approx(150)
    assert rows["EUR"]["spot"] == pytest.approx(165)
    assert rows["EUR"]["carry"] == pytest.approx(0.02)
    assert rows["EUR"]["tonight_long"] == pytest.approx(NOTIONAL * 0.02 / 360)
    assert rows["EUR"]["tonight_short"] == pytest.approx(-NOTIONAL * 0.02 / 360)


@pytest.mark.parametrize("at", ["2025-03-05", date(2025, 3, 5), datetime(2025, 3, 5, 12)])
def test_a_day_in_the_past(at: Any) -> None:
    table = carry_table(feed(), at=at, universe=("EUR",))
    assert table["date"] == "2025-03-05"
    assert table["rows"][0]["roll_days"] == 3


def test_a_weekend_is_told_as_the_trading_day_before() -> None:
    assert carry_table(feed(), at="2025-03-09", universe=("EUR",))["date"] == "2025-03-07"


def test_equal_carries_are_in_alphabetical_order() -> None:
    same = dict.fromkeys(("CHF", "AUD", "JPY", "EUR", "USD"), (0.02, 360))
    table = carry_table(feed(rates=same), universe=("JPY", "EUR", "CHF", "AUD"))
    assert [row["currency"] for row in table["rows"]] == ["AUD", "CHF", "EUR", "JPY"]


def test_what_cannot_be_shown_is_an_error() -> None:
    with pytest.raises(DataError, match="outside"):
        carry_table(feed(), at="2030-01-01", universe=("EUR",))
    with pytest.raises(DataError, match="outside"):
        carry_table(feed(), at="2001-01-01", universe=("EUR",))
    with pytest.raises(MissingDataError, match="TRY"):
        carry_table(feed(), universe=("EUR", "TRY"))
    with pytest.raises(MissingDataError, match="CHF"):
        carry_table(feed(rates={c: r for c, r in RATES.items() if c != "CHF"}), universe=("EUR", "CHF"))
    with pytest.raises(ConfigError):
        carry_table(feed(), universe=("EUR",), markup=-0.01)


@pytest.mark.ecb
def test_real_data_agree_with_the_rates_they_are_made_of() -> None:
    from fxcarry_ecb import EcbFeed

    ecb = EcbFeed()
    table = carry_table(ecb, at="2007-06-29")
    rows = {row["currency"]: row for row in table["rows"]}
    assert len(rows) == 9
    assert [row["carry"] for row in table["rows"]] == sorted((r["carry"] for r in rows.values()), reverse=True)
    assert (rows["NZD"]["rate"], rows["JPY"]["rate"], table["account_rate"]) == (0.08, 0.005, 0.0525)
    at = datetime.fromisoformat("2007-06-29T21:00:00+00:00") + timedelta(minutes=1)
    for currency, row in rows.items():
        known = ecb.snapshot(at).rates[currency].value
        assert row["rate"] == known
        assert 0 < row["volatility"] < 0.2
        markup = -(row["financing_long"] + row["financing_short"]) / 2
        assert markup == pytest.approx(0.01)
        assert row["tonight_long"] == pytest.approx(NOTIONAL * row["financing_long"] * row["roll_days"] / 365)


# --- one broker beside the banks -------------------------------------------------------------------------------------

TUESDAY_END = datetime(2025, 3, 11, 21, tzinfo=UTC)
PAID = {
    "EUR_USD": Instrument(name="EUR_USD", exposure=Pair("EUR", "USD"), financing_long=-0.03, financing_short=0.01),
    "USD_JPY": Instrument(name="USD_JPY", exposure=Pair("USD", "JPY"), financing_long=0.03, financing_short=-0.05),
    "AUD_USD": Instrument(name="AUD_USD", exposure=Pair("AUD", "USD")),
    "EUR_JPY": Instrument(name="EUR_JPY", exposure=Pair("EUR", "JPY"), financing_long=0.0073, financing_short=-0.02),
}


class Paying:
    """A broker that only says what it pays and holds."""

    name = "acme"

    def __init__(self, **units: int) -> None:
        self.units, self.is_connected = units, False

    def connect(self) -> None:
        self.is_connected = True

    def get_instruments(self, pairs: Collection[Pair]) -> dict[str, Instrument]:
        assert self.is_connected
        return {name: i for name, i in PAID.items() if i.exposure in set(pairs)}

    def get_positions(self) -> dict[str, Position]:
        return {n: Position(instrument=n, units=Decimal(u), average_price=Decimal(1)) for n, u in self.units.items()}


def of_broker(broker: Any, **options: Any) -> dict[str, Any]:
    return broker_table(broker, feed(), at=TUESDAY_END, **{"universe": ("EUR", "JPY", "AUD", "CHF"), **options})


def test_a_brokers_row_by_hand() -> None:
    found = of_broker(Paying())
    row = {r["pair"]: r for r in found["rows"]}
    assert list(row) == ["EURUSD", "USDJPY", "AUDUSD"]
    euro, yen = row["EURUSD"], row["USDJPY"]
    assert (euro["pays_long"], euro["pays_short"], euro["instrument"]) == (-0.03, 0.01, "EUR_USD")
    assert euro["differential"] == pytest.approx(-0.02 * 365 / 360)
    assert (euro["middle"], euro["markup"]) == (pytest.approx(-0.02), pytest.approx(0.01))
    assert euro["gap_long"] == pytest.approx(-0.03 + 0.0202777778)
    assert euro["gap_short"] == pytest.approx(0.01 - 0.0202777778)
    assert euro["roll_days"] == yen["roll_days"] == 1
    assert euro["tonight_long"] == pytest.approx(-100_000 * 0.03 / 365)
    assert euro["tonight_short"] == pytest.approx(100_000 * 0.01 / 365)
    assert yen["differential"] == pytest.approx(0.04 * 365 / 360)
    assert yen["tonight_long"] == pytest.approx(100_000 * 0.03 / 365)
    assert yen["tonight_short"] == pytest.approx(-100_000 * 0.05 / 365)
    assert (found["broker"], found["trade_date"], found["notional"]) == ("acme", "2025-03-11", NOTIONAL)
    assert (found["book"], found["tonight"]) == ([], 0.0)


def test_what_a_broker_does_not_publish_or_trade_is_said() -> None:
    found = of_broker(Paying())
    silent = next(r for r in found["rows"] if r["pair"] == "AUDUSD")
    unknown = ("pays_long", "pays_short", "middle", "markup", "gap_long", "gap_short", "tonight_long", "tonight_short")
    assert {silent[key] for key in unknown} == {None}
    assert silent["differential"] == pytest.approx(0.0435 - 0.045 * 365 / 360)
    assert any("does not publish what it pays for AUDUSD" in note for note in found["notes"])
    assert "acme does not trade USDCHF" in found["notes"]


def test_what_the_book_earns_tonight_crosses_too() -> None:
    found = of_broker(Paying(EUR_USD=-200_000, USD_JPY=0, EUR_JPY=50_000))
    assert [row["instrument"] for row in found["book"]] == ["EUR_USD", "EUR_JPY"]  # what is flat is not held
    short_euro = 200_000 * 1.10 * 0.01 / 365
    euro_yen = 50_000 * 1.10 * 0.0073 / 365  # units × price is worth as many dollars as the euros are
    assert [row["tonight"] for row in found["book"]] == [pytest.approx(short_euro), pytest.approx(euro_yen)]
    assert found["tonight"] == pytest.approx(short_euro + euro_yen)


@pytest.mark.parametrize("name", ["AUD_USD", "a-future"])
def test_a_position_of_unknown_financing_makes_the_sum_unknown(name: str) -> None:
    found = of_broker(Paying(EUR_USD=1000, **{name: 5}))
    assert [row["tonight"] is None for row in found["book"]] == [False, True]
    assert found["tonight"] is None
    assert f"what {name} earns tonight is not known, so neither is the sum" in found["notes"]


def test_a_rate_between_banks_that_is_missing_leaves_the_gap_open() -> None:
    rates = {c: r for c, r in RATES.items() if c != "JPY"}
    found = broker_table(Paying(), feed(rates=rates), at=TUESDAY_END, universe=("EUR", "JPY"))
    euro, yen = found["rows"]
    assert euro["gap_long"] is not None
    assert (yen["differential"], yen["gap_long"]) == (None, None)
    assert yen["markup"] == pytest.approx(0.01)
    assert any("no rate between banks is known for USDJPY" in note for note in found["notes"])


def test_old_prices_and_rates_are_told() -> None:
    stored = feed()
    history = attrs.evolve(stored.history(None, None), rates_verified_until=datetime(2025, 3, 1, tzinfo=UTC))
    notes = broker_table(
        Paying(),
        MemoryFeed(history),
        at=TUESDAY_END + timedelta(days=1),
        universe=("EUR",),
    )["notes"]
    assert any("the oldest price is that of EUR, of 2025-03-11" in note for note in notes)
    assert "rates between banks are verified only until 2025-03-01: later ones are the last known" in notes
    late = broker_table(Paying(), MemoryFeed(history), at=TUESDAY_END + timedelta(days=60), universe=("EUR",))
    assert not any("verified" in note for note in late["notes"])


def test_a_simulated_account_publishes_nothing() -> None:
    broker = SimBroker()
    found = of_broker(broker)
    assert {row["markup"] for row in found["rows"]} == {None}
    assert len(found["rows"]) == 4
    assert found["tonight"] == 0.0
