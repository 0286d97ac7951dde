"""Few calls a day: they are counted across processes, what is known is served with its own time, and it goes on."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fxcarry.errors import StaleDataError
from fxcarry.http import Bucket
from fxcarry.model import Pair
from fxcarry.secrets import Secret
from fxcarry_alphavantage.client import Client, NoCallsLeft
from fxcarry_alphavantage.testing.suites import KEY_VARIABLE

EURUSD = Pair("EUR", "USD")
LIMITS = ("note", "information", "echo", "burst")


def test_with_no_call_left_what_is_known_keeps_its_time_and_the_next_day_it_goes_on(desk: Any, caplog: Any) -> None:
    desk.fake.calls_a_day = 4
    feed = desk.feed(calls_a_day=4)
    began = desk.fake.at
    first = feed.snapshot(began)
    feed.history(None, None)  # with which the four calls are used
    desk.fake.at += timedelta(hours=7)
    feed.pace = timedelta(minutes=1)
    with caplog.at_level(logging.WARNING):
        later = feed.snapshot(desk.fake.at)
    assert later.quotes[EURUSD] == first.quotes[EURUSD]
    assert (later.at, later.quotes[EURUSD].as_of) == (desk.fake.at, began)
    assert "all 4 calls of 2026-01-23 are used (there are new ones at 2026-01-24 00:00 UTC)" in caplog.text
    assert not desk.fake.refused, "no call is spent on being refused"
    desk.fake.at = datetime(2026, 1, 26, 9, tzinfo=UTC)
    assert feed.snapshot(desk.fake.at).quotes[EURUSD].as_of == desk.fake.at


def test_with_nothing_known_and_no_call_left_it_is_an_error_that_says_when_there_are_new_ones(desk: Any) -> None:
    feed = desk.feed(calls_a_day=1)
    for ask in (lambda: feed.snapshot(desk.fake.at), lambda: feed.history(None, None)):
        with pytest.raises(StaleDataError, match=r"no call now: all 1 calls .*new ones at 2026-01-24 00:00 UTC"):
            ask()
    desk.fake.at = datetime(2026, 1, 26, 9, tzinfo=UTC)  # and with a call a day, the second currency comes on day two
    assert feed.snapshot(desk.fake.at).quotes.keys() == {EURUSD, Pair("USD", "JPY")}


def test_the_history_ends_where_it_did_when_the_calls_are_used(desk: Any) -> None:
    feed = desk.feed(calls_a_day=2)
    before = feed.history(None, None)
    desk.fake.at = datetime(2026, 1, 26, 9, tzinfo=UTC)
    desk.client(2).quota.take()  # another process
    after = feed.history(None, None)  # Friday's bar of one of the two
    assert after.end == datetime(2026, 1, 24, tzinfo=UTC)
    assert [bool(x) for x in (after.spot[-1] > 0)] == [True, False]
    assert (after.spot[:-1] == before.spot).all()
    desk.fake.at += timedelta(hours=15)
    assert (feed.history(None, datetime(2026, 1, 25, tzinfo=UTC)).spot > 0).all()


@pytest.mark.parametrize("failure", LIMITS)
def test_a_limit_that_the_server_states_is_one(desk: Any, failure: Any) -> None:
    feed = desk.feed()
    first = feed.snapshot(desk.fake.at)
    desk.fake.at += timedelta(hours=1)
    desk.new_calls()
    desk.fake.say(failure)
    assert feed.snapshot(desk.fake.at).quotes == first.quotes
    assert len(desk.fake.refused) == 1, "it goes on asking a server that has said no"
    pause = timedelta(hours=1) if failure in ("information", "echo") else timedelta(minutes=1)
    desk.fake.at += pause - timedelta(seconds=1)
    assert feed.snapshot(desk.fake.at).quotes == first.quotes
    assert not desk.new_calls()
    desk.fake.at += timedelta(seconds=2)
    assert feed.snapshot(desk.fake.at).quotes[EURUSD].as_of > first.quotes[EURUSD].as_of
    desk.fake.say(failure)
    with pytest.raises(NoCallsLeft, match="it is asked again at 2026-01-"):
        desk.client().ask("FX_DAILY", {"from_symbol": "EUR", "to_symbol": "USD"}, "Time Series FX (Daily)")


def test_429_is_a_limit_too(desk: Any) -> None:
    desk.server.fail("*", "busy", times=2)
    feed = desk.feed()
    with pytest.raises(NoCallsLeft, match="429, too many calls"):
        feed.snapshot(desk.fake.at)
    desk.fake.at += timedelta(minutes=2)
    assert feed.snapshot(desk.fake.at).quotes


def test_the_server_s_own_limits_are_kept_by_whoever_counts_right(desk: Any) -> None:
    desk.fake.calls_a_minute = 1
    with pytest.raises(NoCallsLeft, match="calls per minute"):
        desk.feed().snapshot(desk.fake.at)
    assert len(desk.fake.calls) == len(desk.fake.refused) == 1


def test_calls_are_spaced_by_the_second_and_the_minute(desk: Any) -> None:
    slept: list[float] = []
    clock = [100.0]

    def sleep(seconds: float) -> None:
        slept.append(round(seconds))
        clock[0] += seconds

    client = Client(
        key=Secret("env", KEY_VARIABLE),
        quota=desk.folder / "calls.sqlite",
        url=desk.server.url,
        clock=lambda: desk.fake.at,
        sleep=sleep,
    )
    for limit in client._http._limits:
        if isinstance(limit, Bucket):
            limit._clock = lambda: clock[0]
            limit._free_at = clock[0] - limit._calls * limit._each
    for _ in range(7):
        client.ask(
            "CURRENCY_EXCHANGE_RATE", {"from_currency": "EUR", "to_currency": "USD"}, "Realtime Currency Exchange Rate"
        )
    client.close()
    # one a second for the first five; then one in 12 s, from when the five were taken
    assert slept == [1, 1, 1, 1, 8, 12]


_OTHER = """
import sys
from datetime import datetime
from pathlib import Path
from fxcarry.http import QuotaExceeded
from fxcarry.secrets import Secret
from fxcarry_alphavantage.client import Client, NoCallsLeft

at = datetime.fromisoformat(sys.argv[3])
client = Client(key=Secret("env", sys.argv[4]), quota=Path(sys.argv[2]), url=sys.argv[1], calls_a_day=25,
                calls_a_minute=10**6, per_second=10**4, clock=lambda: at)
made = 0
while True:
    try:
        client.ask("CURRENCY_EXCHANGE_RATE", {"from_currency": "EUR", "to_currency": "USD"},
                   "Realtime Currency Exchange Rate")
        made += 1
    except NoCallsLeft:
        break
print(made)
"""


def test_two_processes_share_the_day_s_calls(desk: Any) -> None:
    command = [sys.executable, "-c", _OTHER, desk.server.url, str(desk.folder / "calls.sqlite"), str(desk.fake.at)]
    running = [
        subprocess.Popen([*command, KEY_VARIABLE], env={**os.environ}, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    made = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(made) == len(desk.fake.calls) == 25
    assert not desk.fake.refused
    assert Path(desk.folder / "calls.sqlite").exists()
