"""Streams that lose lines, fall silent and break: nothing is missed, nothing stale is used."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fxcarry_oanda.streams import PriceStream, TransactionStream
from fxcarry_oanda.testing.suites import client_of


def heard(desk: Any) -> list[str]:
    """The client ids of fills that the log has, without asking the venue."""
    log = desk.broker._log
    with log._lock:
        return [t["clientOrderID"] for t in log._told if t["type"] == "ORDER_FILL"]


@pytest.fixture
def transactions(desk: Any, soon: Any) -> Iterator[TransactionStream]:
    client = client_of(desk.fake, desk.server, silence=0.5)
    stream = TransactionStream(client, desk.broker._log)
    stream.start()
    assert soon(lambda: stream.is_live)
    yield stream
    stream.stop()
    client.close()


def send(desk: Any, client_id: str) -> None:
    """An order that the broker's own log does not see being placed."""
    extensions = {"id": client_id}
    body = {"type": "MARKET", "instrument": "EUR_USD", "units": "1", "timeInForce": "FOK"}
    desk.broker._client.change("POST", "/orders", {"order": {**body, "clientExtensions": extensions}})


def test_transactions_are_heard_as_they_happen(desk: Any, transactions: TransactionStream, soon: Any) -> None:
    send(desk, "one")
    send(desk, "two")
    assert soon(lambda: heard(desk) == ["one", "two"])
    desk.broker.transactions(None)
    assert heard(desk) == ["one", "two"]


def test_what_happened_while_the_stream_was_down_is_read_first(
    desk: Any, transactions: TransactionStream, soon: Any
) -> None:
    send(desk, "one")
    assert soon(lambda: heard(desk) == ["one"])
    desk.server.fail("GET */transactions/stream", "unavailable")
    desk.fake.stop_streams()
    send(desk, "two")
    assert soon(lambda: heard(desk) == ["one", "two"])
    assert soon(lambda: transactions.is_live)


def test_after_a_gap_heartbeats_alone_tell_that_something_is_missing(
    desk: Any, transactions: TransactionStream, soon: Any
) -> None:
    desk.fake.streams.speech = "heartbeats"
    send(desk, "one")
    assert soon(lambda: heard(desk) == ["one"])


def test_a_stream_that_is_silent_is_connected_again(desk: Any, transactions: TransactionStream, soon: Any) -> None:
    desk.fake.streams.speech = "nothing"
    assert soon(lambda: not transactions.is_live)
    send(desk, "one")
    desk.fake.streams.speech = "all"
    assert soon(lambda: transactions.is_live)
    assert heard(desk) == ["one"]


def test_prices_are_those_of_the_stream_while_it_is_heard(desk: Any, soon: Any) -> None:
    client = client_of(desk.fake, desk.server, silence=0.5)
    stream = PriceStream(client, ["EUR_USD", "USD_JPY"])
    stream.start()
    assert soon(lambda: len(stream.prices()) == 2)
    desk.next("1.20000")
    assert soon(lambda: stream.prices()["EURUSD"][:2] == (Decimal("1.1999"), Decimal("1.2001")))
    desk.fake.streams.speech = "nothing"
    assert soon(lambda: stream.prices() == {})
    stream.stop()
    client.close()


def test_a_stopped_stream_leaves_no_thread(desk: Any, soon: Any) -> None:
    client = client_of(desk.fake, desk.server, silence=0.5)
    stream = PriceStream(client, ["EUR_USD"])
    stream.start()
    stream.start()
    assert soon(lambda: stream.is_live)
    thread = stream._thread
    stream.stop()
    assert thread is not None
    assert not thread.is_alive()
    client.close()
