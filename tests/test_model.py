"""fxcarry.model: pairs, quotes, positions and the state that survives a deposit."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import attrs
import numpy as np
import pytest

from fxcarry.errors import BadQuoteError, ConfigError
from fxcarry.model import (
    Account,
    Action,
    Pair,
    Position,
    Positions,
    Posting,
    Quote,
    RiskState,
    Snapshot,
    check_currency,
    minor_digits,
    to_decimal,
)

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["AUDUSD", "AUD/USD", "AUD_USD", "AUD.USD", " audusd ", "aud/usd"])
def test_a_pair_is_read_in_every_usual_spelling(text: str) -> None:
    pair = Pair.parse(text)
    assert pair == Pair("AUD", "USD")
    assert str(pair) == "AUDUSD"
    assert pair.inverse == Pair("USD", "AUD")
    assert pair.inverse.inverse == pair


@pytest.mark.parametrize(
    "text", ["", "AUD", "AUDUS", "AUDUSDX", "AUD//USD", "USDUSD", "AUD USD", "12/USD", "ÄUDUSD", "AU/DUSD", "AUDUSD/"]
)
def test_anything_else_is_not_a_pair(text: str) -> None:
    with pytest.raises(ConfigError):
        Pair.parse(text)


@pytest.mark.parametrize(
    ("one", "other", "pair"),
    [
        ("USD", "EUR", "EURUSD"),
        ("USD", "GBP", "GBPUSD"),
        ("EUR", "GBP", "EURGBP"),
        ("AUD", "USD", "AUDUSD"),
        ("NZD", "AUD", "AUDNZD"),
        ("USD", "NZD", "NZDUSD"),
        ("USD", "CAD", "USDCAD"),
        ("CHF", "CAD", "CADCHF"),
        ("CHF", "USD", "USDCHF"),
        ("NOK", "USD", "USDNOK"),
        ("TRY", "USD", "USDTRY"),
        ("JPY", "USD", "USDJPY"),
        ("JPY", "TRY", "TRYJPY"),
        ("PLN", "EUR", "EURPLN"),
        ("JPY", "AUD", "AUDJPY"),
    ],
)
def test_market_order(one: str, other: str, pair: str) -> None:
    assert str(Pair.market(one, other)) == pair
    assert str(Pair.market(other, one)) == pair


def test_market_order_of_two_currencies_outside_the_list_is_one_order() -> None:
    assert Pair.market("NOK", "SEK") == Pair.market("SEK", "NOK")


def test_no_market_pair_of_a_currency_with_itself() -> None:
    with pytest.raises(ConfigError, match="same"):
        Pair.market("USD", "USD")


def test_pips() -> None:
    assert Pair.parse("EURUSD").pip == Decimal("0.0001")
    for text in ("USDJPY", "USDHUF", "USDTHB", "USDKRW"):
        assert Pair.parse(text).pip == Decimal("0.01")


def test_currencies_are_three_letters() -> None:
    assert check_currency("usd") == "USD"
    for bad in ("US", "US1", "DOLLAR", ""):
        with pytest.raises(ConfigError, match="universe"):
            check_currency(bad, "universe")


def test_minor_units() -> None:
    assert [minor_digits(c) for c in ("USD", "EUR", "HUF", "JPY", "KRW", "CLP", "ISK")] == [2, 2, 2, 0, 0, 0, 0]


def test_numbers_become_decimals_by_their_text() -> None:
    assert to_decimal(0.1) == Decimal("0.1")
    assert to_decimal(np.float64(0.1)) == Decimal("0.1")
    assert to_decimal(np.int64(3)) == Decimal(3)  # type: ignore[arg-type]
    assert to_decimal("0.10") == Decimal("0.10")
    assert to_decimal(7) == Decimal(7)
    exact = Decimal("1.23")
    assert to_decimal(exact) is exact


def test_a_quote_is_two_prices() -> None:
    quote = Quote(Decimal("97.48"), Decimal("97.52"), NOON)
    assert quote.mid == Decimal("97.50")
    assert Quote(Decimal(1), Decimal(1), NOON).mid == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        quote.bid = Decimal(1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("bid", "ask"), [("NaN", "1"), ("1", "NaN"), ("0", "1"), ("-1", "1"), ("1.1", "1.0"), ("1", "Infinity")]
)
def test_a_bad_quote_says_what_and_when(bid: str, ask: str) -> None:
    with pytest.raises(BadQuoteError, match="2025-03-12 12:00:00") as error:
        Quote(Decimal(bid), Decimal(ask), NOON)
    assert set(error.value.fields) == {"bid", "ask"}
    assert error.value.exit_code == 4


def test_positions_by_name() -> None:
    book = Positions(("EURUSD", "AUDJPY", "USDCAD"), np.array([100_000.0, 0.0, -50.0]), np.array([1.085, 0.0, 1.44]))
    assert len(book) == 2
    assert list(book) == ["EURUSD", "USDCAD"]
    assert book["EURUSD"] == Position(instrument="EURUSD", units=Decimal(100_000), average_price=Decimal("1.085"))
    assert str(book["EURUSD"].units) == "100000"
    assert book["USDCAD"].units == -50
    assert "AUDJPY" not in book
    with pytest.raises(KeyError):
        book["AUDJPY"]
    again = Positions.of(dict(book))
    assert dict(again) == dict(book)
    assert "AUDJPY" not in repr(book)


def test_an_account_is_cash_and_free_margin() -> None:
    account = Account(
        id="a",
        at=NOON,
        currency="USD",
        nav=Decimal(10_000),
        balances={"USD": Decimal(9_000), "JPY": Decimal(5)},
        positions={},
        margin_used=Decimal("7333.33"),
    )
    assert account.cash == 9_000
    assert account.margin_available == Decimal("2666.67")
    assert attrs.evolve(account, balances={}).cash == 0


def test_a_posting_is_unique_by_account_instrument_side_and_day() -> None:
    day = NOON.date()
    posting = Posting(
        account_id="a",
        instrument="AUDJPY",
        side="long",
        trade_date=day,
        days=3,
        units=Decimal(1),
        rate=Decimal(0),
        amount=Decimal(1),
        currency="JPY",
    )
    assert posting.key == ("a", "AUDJPY", "long", day)
    assert attrs.evolve(posting, amount=Decimal(2)).key == posting.key
    assert attrs.evolve(posting, side="short").key != posting.key


def test_a_deposit_leaves_returns_and_drawdown_as_they_were() -> None:
    state = RiskState(day_start=100_000.0, high_water=100_000.0)
    after = state.after_flow(97_500.0, 10_000.0)
    assert after.high_water == pytest.approx(110_256.41, abs=0.005)
    assert 107_500 / after.day_start - 1 == pytest.approx(-0.025)
    assert 107_500 / after.high_water - 1 == pytest.approx(-0.025)


def test_actions_are_ordered_by_severity() -> None:
    assert sorted(Action) == list(Action)
    assert max(Action.RESIZE, Action.KILL, Action.ALLOW) is Action.KILL
    assert Action.HALT_OPENING < Action.FLATTEN_HALT


def test_a_snapshot_needs_no_rates() -> None:
    assert Snapshot(NOON, {}).rates == {}
