"""What goes wrong on the way: each ends in an error that says what to do, or in what is known; the key is nowhere."""

from __future__ import annotations

import logging
import socket
import traceback
from datetime import timedelta
from typing import Any

import pytest

from fxcarry.errors import ConfigError, DataError, FxCarryError, MissingDataError
from fxcarry.model import Pair
from fxcarry_alphavantage.client import PremiumOnly

EURUSD = Pair("EUR", "USD")

BODIES = {
    "premium": (PremiumOnly, "not in this key's plan"),
    "demo": (ConfigError, "refused the key"),
    "bad-key": (ConfigError, r"refused the key from env 'FXCARRY_FAKE_ALPHAVANTAGE_KEY'.*is it complete"),
    "invalid": (MissingDataError, "has no CURRENCY_EXCHANGE_RATE EUR USD"),
    "empty": (MissingDataError, "is empty"),
    "unknown": (DataError, r"has no data: Something else, \*\*\*\*\*\*\*\*"),
    "list": (DataError, "has no data"),
    "login": (DataError, "is there a proxy or a login page|expected JSON"),
}
"""Each answer without data that is no limit, and what it means."""


@pytest.mark.parametrize("failure", BODIES)
def test_an_answer_without_data_is_a_failure(desk: Any, failure: Any) -> None:
    error, match = BODIES[failure]
    desk.fake.say(failure, times=2)
    with pytest.raises(error, match=match) as raised:
        desk.feed().snapshot(desk.fake.at)
    assert type(raised.value) is error
    desk.fake._script.clear()
    assert desk.feed().snapshot(desk.fake.at).quotes, "it goes on by itself"


@pytest.mark.parametrize("failure", ["premium", "demo", "bad-key", "invalid", "empty", "unknown", "list", "login"])
def test_no_failure_leaves_anything_behind(desk: Any, failure: Any) -> None:
    feed = desk.feed()
    for ask in (lambda: feed.snapshot(desk.fake.at), lambda: feed.history(desk.fake.at - timedelta(days=20), None)):
        desk.fake.say(failure, times=2)
        with pytest.raises(FxCarryError):
            ask()
        desk.fake._script.clear()
    assert feed._store.quote(EURUSD) is None
    assert feed._store.span("EURUSD daily") is None


@pytest.mark.parametrize("fault", ["lost", "unanswered", "hangs", "reset", "failed", "unavailable", "garbled"])
def test_a_call_that_goes_wrong_is_a_data_error_and_the_next_one_is_good(desk: Any, fault: Any) -> None:
    desk.timeout = 1.0 if fault == "hangs" else desk.timeout
    feed = desk.feed()
    desk.server.fail("*", fault, times=2)
    with pytest.raises(DataError, match="cannot be read") as raised:
        feed.snapshot(desk.fake.at)
    assert raised.value.hint
    desk.server.clear()
    assert feed.snapshot(desk.fake.at).quotes[EURUSD].as_of == desk.fake.at


def test_one_that_goes_wrong_once_is_repeated(desk: Any) -> None:
    desk.server.fail("*", "unavailable")
    assert desk.feed().snapshot(desk.fake.at).quotes


def test_nobody_listening_is_a_data_error(desk: Any) -> None:
    feed = desk.feed()
    with desk.server.refuse(), pytest.raises(DataError, match=r"cannot be reached: .*check the network, proxy"):
        feed.snapshot(desk.fake.at)
    assert feed.snapshot(desk.fake.at).quotes


def test_a_name_that_is_not_resolved_is_a_data_error(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    feed = desk.feed()
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", fails)
        with pytest.raises(DataError, match=r"cannot be reached.*check the network"):
            feed.snapshot(desk.fake.at)
    assert feed.snapshot(desk.fake.at).quotes


@pytest.mark.parametrize("rows", [None, [], "x"])
def test_rows_of_another_shape_are_a_data_error(desk: Any, monkeypatch: pytest.MonkeyPatch, rows: Any) -> None:
    meta = {"5. Last Refreshed": "2026-01-23", "6. Time Zone": "UTC", "7. Time Zone": "UTC"}
    bodies = {"Meta Data": meta, "Time Series FX (Daily)": rows, "Time Series FX (5min)": rows}
    bodies["Realtime Currency Exchange Rate"] = rows
    monkeypatch.setattr(desk.fake, "_found", lambda query: bodies)
    for interval in ("daily", "5min"):
        with pytest.raises(DataError, match="no rows where they belong"):
            desk.feed(interval=interval).history(None, None)
    with pytest.raises(DataError, match="lacks"):
        desk.feed().snapshot(desk.fake.at)


def test_a_proxy_that_is_not_there_is_a_data_error(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(DataError, match="cannot be reached"):
        desk.feed().snapshot(desk.fake.at)
    assert not desk.server.requests


def test_a_proxy_that_refuses_is_named(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fxcarry.testing.wire import Reply

    page = f"<html>Proxy Authentication Required for ?apikey={desk.fake.key}</html>".encode()
    monkeypatch.setattr(desk.server, "_handle", lambda request: Reply(407, page))
    with pytest.raises(DataError, match=r"was answered 407: <html>.*is there a proxy") as raised:
        desk.feed().snapshot(desk.fake.at)
    assert desk.fake.key not in str(raised.value)


def test_a_key_that_is_revoked_in_mid_run_ends_it_clearly(desk: Any) -> None:
    feed = desk.feed()
    feed.history(None, None)
    feed.snapshot(desk.fake.at)
    desk.fake.is_revoked = True
    desk.fake.at += timedelta(days=3)
    for ask in (lambda: feed.snapshot(desk.fake.at), lambda: feed.history(None, None)):
        with pytest.raises(ConfigError, match="refused the key from env"):
            ask()
    desk.fake.is_revoked = False
    assert feed.snapshot(desk.fake.at).quotes


def test_a_key_that_is_not_there_is_named_by_its_place(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FXCARRY_FAKE_ALPHAVANTAGE_KEY")
    with pytest.raises(ConfigError, match="set the environment variable FXCARRY_FAKE_ALPHAVANTAGE_KEY"):
        desk.feed().snapshot(desk.fake.at)


def test_an_answer_to_another_question_is_refused(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = desk.fake._rate
    monkeypatch.setattr(desk.fake, "_rate", lambda base, quote: answer("GBP", "USD"))
    with pytest.raises(DataError, match="asked for EURUSD, Alpha Vantage answered GBPUSD"):
        desk.feed().snapshot(desk.fake.at)


# -- the key ----------------------------------------------------------------------------------------------------------

EVERY = ["echo", "note", "information", "burst", *BODIES]


@pytest.mark.parametrize("key", ["FAKE7KEYQ2ZX9WPL", "a/b+c&d e%f=g"])
def test_the_key_is_nowhere(desk: Any, files: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    from urllib.parse import quote, quote_plus

    desk.fake.key = key
    monkeypatch.setenv("FXCARRY_FAKE_ALPHAVANTAGE_KEY", key)
    caplog.set_level(logging.DEBUG)
    feed, told = desk.feed(), []
    told += [repr(feed.snapshot(desk.fake.at)), repr(feed.history(None, None)), repr(feed._client), repr(feed.__dict__)]
    desk.fake.at += timedelta(days=3)
    for failure in EVERY:
        desk.fake.say(failure, times=2)
        client = desk.client()
        try:
            client.ask("FX_DAILY", {"from_symbol": "EUR", "to_symbol": "USD"}, "Time Series FX (Daily)")
        except FxCarryError as error:
            told += [str(error), repr(error.fields), "".join(traceback.format_exception(error))]
        else:
            pytest.fail(f"{failure} is a success")
        desk.fake._script.clear()
    for fault in ("lost", "failed", "garbled", "unavailable"):
        desk.server.fail("*", fault, times=2)
        with pytest.raises(DataError) as raised:
            feed.snapshot(desk.fake.at)
        told.append("".join(traceback.format_exception(raised.value)))
    with desk.server.refuse(), pytest.raises(DataError) as raised:
        feed.snapshot(desk.fake.at)
    told.append("".join(traceback.format_exception(raised.value)))
    told += [caplog.text, files().decode("latin-1")]
    assert any("********" in text for text in told), "nothing was masked: the fake echoes no key"
    assert len(caplog.records) > 20
    assert key in desk.server.requests[0].query.values(), "it was not sent at all"
    for text in told:
        for written in {key, key.lower(), quote(key, safe=""), quote_plus(key)}:
            assert written not in text
