"""What the fake venue serves: who may ask, prices, candles, pages of transactions, streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from plain_oanda import BEGIN, HOUR, Client, snapshot
from plain_oanda import client as client
from plain_oanda import fake as fake
from plain_oanda import serve as serve

from fxcarry_oanda.testing import FakeOanda
from fxcarry_oanda.testing.candles import GRANULARITIES, begin, end

MINUTE = timedelta(minutes=1)


# --- who may ask -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer ", "Basic practice-token-0123456789abcdef", ""])
def test_a_wrong_token_is_refused(client: Client, header: str) -> None:
    client.session.headers["Authorization"] = header
    answer = client.call("GET", "/summary")
    assert answer.status_code == 401
    assert answer.json() == {"errorMessage": "Insufficient authorization to perform request."}


def test_a_revoked_token_is_refused(fake: FakeOanda, client: Client) -> None:
    client.get("/summary")
    fake.revoke()
    client.get("/summary", status=401)
    assert client.call("POST", "/orders", {}).status_code == 401


def test_other_accounts_addresses_and_methods(client: Client) -> None:
    client.get("/v3/accounts/101-004-7654321-001/summary", status=403)
    client.get("/v3/accounts/mine/summary", status=400)
    client.get("/nothing", status=404)
    assert client.call("POST", "/summary").status_code == 405
    client.get("/instruments", instruments="EUR_USD,XXX_YYY", status=400)
    client.get("/pricing", status=400)
    client.get("/positions/XXX_YYY", status=400)
    client.get("/positions/EUR_USD", status=404)
    answer = client.session.post(f"{client.url}/orders", data=b"{", timeout=5)
    assert (answer.status_code, "JSON" in answer.json()["errorMessage"]) == (400, True)


def test_every_answer_has_a_request_id_and_the_clock_of_the_venue(fake: FakeOanda, client: Client) -> None:
    fake.clock_skew = timedelta(minutes=5)
    answer = client.call("GET", "/pricing", params={"instruments": "EUR_USD"})
    assert answer.headers["RequestID"].isdigit()
    assert answer.headers["Date"] == "Wed, 12 Mar 2025 13:05:00 GMT"
    assert answer.json()["time"] == "2025-03-12T13:05:00.000000000Z" == answer.json()["prices"][0]["time"]
    assert client.market("1")["orderFillTransaction"]["time"] == "2025-03-12T13:05:00.000000000Z"
    told = client.call("POST", "/orders", {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}})
    number = told.json()["orderCreateTransaction"]["id"]
    assert told.headers["Location"].endswith(f"/v3/accounts/{fake.account_id}/orders/{number}")
    assert told.json()["orderFillTransaction"]["requestID"] == told.headers["RequestID"]


def test_a_request_may_bring_its_own_id(client: Client) -> None:
    client.session.headers["ClientRequestID"] = "mine"
    assert client.market("1")["orderFillTransaction"]["requestID"] == "mine"


# --- market ----------------------------------------------------------------------------------------------------------


def test_instruments_state_precision_margin_and_rates(fake: FakeOanda, client: Client) -> None:
    fake.rates["USD_JPY"] = ("0.0312", "-0.0525")
    (found,) = client.get("/instruments", instruments="USD_JPY")["instruments"]
    assert (found["displayPrecision"], found["pipLocation"], found["tradeUnitsPrecision"]) == (3, -2, 0)
    assert (found["minimumTradeSize"], found["maximumOrderUnits"], found["marginRate"]) == ("1", "100000000", "0.0333")
    assert (found["financing"]["longRate"], found["financing"]["shortRate"]) == ("0.0312", "-0.0525")
    assert [d["daysCharged"] for d in found["financing"]["financingDaysOfWeek"]] == [1, 1, 3, 1, 1, 0, 0]
    fake.has_financing_rates = False
    assert "financing" not in client.get("/instruments", instruments="USD_JPY")["instruments"][0]
    for long, short in fake.rates.values():
        assert Decimal(long) + Decimal(short) < 0, "the venue pays more than it takes"


def test_an_earlier_or_equal_snapshot_changes_nothing(fake: FakeOanda, client: Client) -> None:
    fake.move_to(snapshot(HOUR, EURUSD="1.2"))
    for after in (HOUR, MINUTE):
        fake.move_to(snapshot(after, EURUSD="1.3"))
    assert fake.at == BEGIN + HOUR
    assert client.get("/pricing", instruments="EUR_USD")["prices"][0]["closeoutBid"] == "1.19990"


def test_at_the_weekend_prices_stay_and_are_not_tradeable(fake: FakeOanda, client: Client) -> None:
    fake.move_to(snapshot(timedelta(days=3)))
    (price,) = client.get("/pricing", instruments="EUR_USD")["prices"]
    assert (price["tradeable"], price["status"], price["closeoutBid"]) == (False, "non-tradeable", "1.09990")


def test_conversions_state_gain_loss_and_mid(client: Client) -> None:
    told = client.get("/pricing", instruments="EUR_GBP", includeHomeConversions="true")
    names = ("accountGain", "accountLoss", "positionValue")
    rows = {row["currency"]: tuple(row[name] for name in names) for row in told["homeConversions"]}
    assert rows == {
        "EUR": ("1.0945000000", "1.1055000000", "1.1000000000"),
        "GBP": ("1.2935000000", "1.3065000000", "1.3000000000"),
        "USD": ("1", "1", "1"),
    }


def test_candles_are_made_of_the_prices_there_were(fake: FakeOanda, client: Client) -> None:
    for n, level in enumerate(("1.2", "1.0", "1.15"), start=1):
        fake.move_to(snapshot(n * 20 * MINUTE, EURUSD=level))
    told = client.get("/instruments/EUR_USD/candles", granularity="H1", price="MBA")
    first, second = told["candles"]
    assert (first["time"], first["complete"], first["volume"]) == ("2025-03-12T13:00:00.000000000Z", True, 3)
    assert first["mid"] == {"o": "1.10000", "h": "1.20000", "l": "1.00000", "c": "1.00000"}
    assert (first["bid"]["h"], first["ask"]["h"]) == ("1.19990", "1.20010")
    assert (second["complete"], second["mid"]["o"]) == (False, "1.15000")
    assert (
        client.get("/v3/instruments/EUR_USD/candles", granularity="H1", count="1")["candles"][0]["time"][11:13] == "14"
    )
    window = {"from": "2025-03-12T13:00:00Z", "to": "2025-03-12T14:00:00Z"}
    assert len(client.get("/instruments/EUR_USD/candles", granularity="M5", **window)["candles"]) == 3
    client.get("/instruments/EUR_USD/candles", granularity="H1", count="5", **window, status=400)
    client.get("/instruments/EUR_USD/candles", granularity="H5", status=400)
    client.get("/instruments/EUR_USD/candles", count="5001", status=400)
    client.get("/instruments/EUR_USD/candles", price="X", status=400)
    assert client.get("/instruments/USD_TRY/candles", granularity="D")["candles"] == []


@pytest.mark.parametrize(
    ("granularity", "start", "stop"),
    [
        ("S5", "2025-03-12T13:00:05", "2025-03-12T13:00:10"),
        ("M30", "2025-03-12T13:00:00", "2025-03-12T13:30:00"),
        ("H4", "2025-03-12T12:00:00", "2025-03-12T16:00:00"),
        ("D", "2025-03-11T21:00:00", "2025-03-12T21:00:00"),
        ("W", "2025-03-07T22:00:00", "2025-03-14T21:00:00"),  # clocks change in between
        ("M", "2025-03-01T22:00:00", "2025-04-01T21:00:00"),
    ],
)
def test_where_a_candle_begins_and_ends(granularity: str, start: str, stop: str) -> None:
    at = BEGIN + timedelta(seconds=7)
    found = begin(at, granularity)
    assert found == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert end(found, granularity) == datetime.fromisoformat(stop).replace(tzinfo=UTC)
    assert granularity in GRANULARITIES


# --- transactions ----------------------------------------------------------------------------------------------------


def test_transactions_since_an_id_in_a_range_and_by_kind(fake: FakeOanda, client: Client) -> None:
    for _ in range(3):
        client.market("1")
    assert client.get("/transactions/sinceid", id="0")["transactions"] == fake.transactions
    assert [t["id"] for t in client.get("/transactions/sinceid", id="7")["transactions"]] == ["8", "9"]
    assert client.get("/transactions/sinceid", id="9") == {"transactions": [], "lastTransactionID": "9"}
    client.get("/transactions/sinceid", id="10", status=416)
    client.get("/transactions/sinceid", status=400)
    found = client.get("/transactions/idrange", **{"from": "2", "to": "6", "type": "FUNDING,ORDER_FILL"})
    assert [t["type"] for t in found["transactions"]] == ["TRANSFER_FUNDS", "ORDER_FILL"]
    client.get("/transactions/idrange", **{"from": "6", "to": "2"}, status=416)
    assert client.get("/transactions/4")["transaction"] == fake.transactions[3]
    client.get("/transactions/10", status=404)


def test_pages_are_addresses_on_the_hosts_of_oanda(fake: FakeOanda, client: Client) -> None:
    for _ in range(4):
        client.market("1")
    told = client.get("/transactions", **{"from": "2025-01-01T00:00:00Z", "pageSize": "3", "type": "ORDER_FILL"})
    assert (told["count"], told["pageSize"], len(told["pages"])) == (4, 3, 3)
    found = []
    for page in told["pages"]:
        address = urlsplit(page)
        assert address.netloc == "api-fxpractice.oanda.com"
        found += client.get(address.path, **dict(parse_qsl(address.query)))["transactions"]
    assert found == [t for t in fake.transactions if t["type"] == "ORDER_FILL"]
    client.get("/transactions", pageSize="1001", status=400)
    client.get("/transactions", **{"from": "yesterday"}, status=400)


def test_changes_tell_what_transactions_did(client: Client) -> None:
    client.market("100", stopLossOnFill={"price": "1.05"})
    since = client.get("/summary")["lastTransactionID"]
    client.market("-30")
    client.limit("1", "0.9")
    told = client.get("/changes", sinceTransactionID=since)
    changes = told["changes"]
    assert [len(changes[f"orders{name}"]) for name in ("Created", "Filled", "Cancelled")] == [2, 1, 0]
    assert [t["currentUnits"] for t in changes["tradesReduced"]] == ["70"]
    assert (changes["tradesOpened"], changes["tradesClosed"]) == ([], [])
    assert told["state"]["NAV"] == client.get("/summary")["account"]["NAV"]


# --- streams ---------------------------------------------------------------------------------------------------------


@contextmanager
def stream(client: Client, path: str, **params: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """Open a stream; the function gives its next line."""
    answer = client.call("GET", path, params=params, stream=True)
    assert answer.status_code == 200
    lines = answer.iter_lines(chunk_size=1)
    with answer:
        yield lambda: json.loads(next(lines))


def consume(line: Callable[[], Any]) -> None:
    for _ in range(100):
        line()


@pytest.fixture(autouse=True)
def _quick(fake: FakeOanda) -> None:
    fake.streams.interval = 0.02


def test_the_pricing_stream_begins_with_prices_and_goes_on(fake: FakeOanda, client: Client) -> None:
    with stream(client, "/pricing/stream", instruments="EUR_USD,USD_JPY") as line:
        assert [line()["instrument"] for _ in range(2)] == ["EUR_USD", "USD_JPY"]
        assert line() == {"type": "HEARTBEAT", "time": "2025-03-12T13:00:00.000000000Z"}
        fake.move_to(snapshot(MINUTE, EURUSD="1.2"))
        told = line()
        while told["type"] == "HEARTBEAT":
            told = line()
        assert (told["instrument"], told["closeoutBid"], told["time"][11:16]) == ("EUR_USD", "1.19990", "13:01")


def test_the_transaction_stream_tells_what_is_new(fake: FakeOanda, client: Client) -> None:
    client.market("1")
    with stream(client, "/transactions/stream") as line:
        assert line()["lastTransactionID"] == "5"
        client.market("1", clientExtensions={"id": "x"})
        told = [t for _ in range(12) if (t := line())["type"] != "HEARTBEAT"]
    assert told == fake.transactions[5:]


def test_a_stream_may_be_held_back_be_silent_repeat_itself_or_break(fake: FakeOanda, client: Client) -> None:
    with stream(client, "/transactions/stream") as line:
        line()
        fake.streams.speech = "heartbeats"
        client.market("1")
        told = [line() for _ in range(4)]
        assert {t["type"] for t in told} == {"HEARTBEAT"}
        assert told[-1]["lastTransactionID"] == "5", "a heartbeat does not tell that something is missing"
        fake.streams.speech, fake.streams.is_repeating = "all", True
        client.market("1")
        told = [t["id"] for _ in range(12) if (t := line())["type"] != "HEARTBEAT"]
        assert told == ["6", "6", "7", "7"], "what was held back never comes, the rest comes twice"
        fake.stop_streams()
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            consume(line)
    fake.streams.speech = "nothing"
    answer = client.session.get(f"{client.url}/transactions/stream", stream=True, timeout=1.0)
    with answer, pytest.raises(requests.ConnectionError):
        next(answer.iter_lines(chunk_size=1))


def test_a_revoked_token_ends_the_streams(fake: FakeOanda, client: Client) -> None:
    with stream(client, "/transactions/stream") as line:
        line()
        fake.revoke()
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            consume(line)
    client.get("/transactions/stream", status=401)
