"""What goes wrong between the feed and FRED ends in a clear error, and the key is nowhere."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.secrets import Secret
from fxcarry.testing import Reply, Request, WireServer
from fxcarry_fred.client import Client
from fxcarry_fred.feed import FredFeed
from fxcarry_fred.testing import FakeFred, world
from fxcarry_fred.testing.suites import KEY_VARIABLE, client_of, evening

MakeFeed = Callable[..., FredFeed]
Serve = Callable[[FakeFred], WireServer]
TODAY = date(2025, 6, 2)
OBSERVATIONS = "GET /fred/series/observations"


@pytest.fixture
def fake() -> FakeFred:
    return world(TODAY, since=date(2025, 3, 3), currencies=("EUR",))


@pytest.fixture
def server(fake: FakeFred, serve: Serve) -> WireServer:
    return serve(fake)


@pytest.mark.parametrize("fault", ["busy", "unavailable", "failed", "lost", "unanswered", "reset"])
def test_a_fault_that_passes_is_not_seen(fake: FakeFred, server: WireServer, make_feed: MakeFeed, fault: Any) -> None:
    server.fail(OBSERVATIONS, fault, times=2)
    assert make_feed(fake, "EUR", server=server).snapshot(evening(fake)).rates["EUR"].value > 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("busy", "429"),
        ("unavailable", "503"),
        ("failed", "502"),
        ("lost", "ConnectionError"),
        ("reset", "ChunkedEncodingError|ConnectionError"),
        ("garbled", "expected JSON"),
    ],
)
def test_a_fault_that_stays_is_an_error_that_says_what_happened(
    fake: FakeFred, server: WireServer, make_feed: MakeFeed, fault: Any, said: str
) -> None:
    server.fail("*", fault, times=1000)
    with pytest.raises(DataError, match=f"FRED cannot be read .DEXUSEU.: .*({said})") as caught:
        make_feed(fake, "EUR", server=server).snapshot(evening(fake))
    assert caught.value.hint
    assert fake.key not in _everything(caught.value)


def test_silence_and_a_refused_connection_are_errors(fake: FakeFred, server: WireServer, make_feed: MakeFeed) -> None:
    feed = FredFeed(client_of(server, timeout=0.05), currencies=("EUR",), now=lambda: evening(fake))
    server.fail("*", "hangs", times=1000)
    with pytest.raises(DataError, match="FRED cannot be read"):
        feed.snapshot(evening(fake))
    feed.close()
    server.clear()
    with server.refuse(), pytest.raises(DataError, match="refused") as caught:
        make_feed(fake, "EUR", server=server).snapshot(evening(fake))
    assert "nothing was sent" in caught.value.hint


def test_a_proxy_that_is_not_there_is_an_error(
    fake: FakeFred, server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WireServer(fake.answer) as proxy:
        gone = proxy.url
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", gone)
    client = Client(Secret("env", KEY_VARIABLE), url="http://localhost", per_second=1000, sleep=lambda seconds: None)
    with pytest.raises(DataError, match="ProxyError") as caught:
        client.latest("DEXUSEU")
    assert fake.key not in _everything(caught.value)


def test_a_name_that_no_one_knows_is_an_error(fake: FakeFred, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    serve(fake)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    client = Client(Secret("env", KEY_VARIABLE), url="http://localhost", per_second=1000, sleep=lambda seconds: None)
    with pytest.raises(DataError, match=r"resolve|Name or service not known") as caught:
        client.latest("DEXUSEU")
    assert "nothing was sent" in caught.value.hint
    assert fake.key not in _everything(caught.value)


@pytest.mark.parametrize("status", [200, 403])
def test_a_page_in_place_of_an_answer_is_an_error(serve: Serve, fake: FakeFred, status: int) -> None:
    page = b"<html><body>Access to this site is denied</body></html>"
    serve(fake)  # the key is in the environment
    with WireServer(lambda request: Reply(status, page, {"Content-Type": "text/html"})) as server:
        client = client_of(server)
        with pytest.raises(DataError, match="expected JSON, got '<html><body>Access") as caught:
            client.latest("DEXUSEU")
        client.close()
    assert "login page" in caught.value.hint


@pytest.mark.parametrize(
    "said",
    [
        {},
        [],
        {"observations": None},
        {"observations": [{"date": "2025-06-02"}], "count": 1},
        {"observations": [{"date": "x", "realtime_start": "2025-06-02", "value": "1"}], "count": 1},
        {"observations": [{"date": "2025-06-02", "realtime_start": "2025-06-02", "value": "n/a"}], "count": 1},
        {"observations": [{"date": "2025-06-02", "realtime_start": "2025-06-02", "value": "nan"}], "count": 1},
        {"observations": [{"date": "2025-06-02", "realtime_start": "2025-06-02", "value": "1"}]},
        {"observations": [], "count": 5},
    ],
)
def test_an_answer_that_is_none_of_freds_is_an_error(serve: Serve, fake: FakeFred, said: Any) -> None:
    serve(fake)
    with WireServer(lambda request: Reply.json(said)) as server:
        client = client_of(server)
        with pytest.raises(DataError, match="FRED"):
            client.latest("DEXUSEU")
        client.close()


def test_a_key_that_is_wrong_missing_or_revoked_is_told_without_it(
    fake: FakeFred, server: WireServer, make_feed: MakeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "ABC-this-is-no-key")
    with pytest.raises(ConfigError, match="32 character") as caught:
        make_feed(fake, "EUR", server=server).snapshot(evening(fake))
    assert KEY_VARIABLE in caught.value.message
    assert "apikeys" in caught.value.hint
    assert "ABC-this" not in _everything(caught.value)
    monkeypatch.setenv(KEY_VARIABLE, "f" * 32)
    with pytest.raises(ConfigError, match="not registered"):
        make_feed(fake, "EUR", server=server).snapshot(evening(fake))
    monkeypatch.setenv(KEY_VARIABLE, fake.key)
    clock = [evening(fake)]
    feed = make_feed(fake, "EUR", server=server, now=lambda: clock[0])
    feed.snapshot(evening(fake))
    fake.revoke()
    clock[0] += timedelta(hours=7)
    with pytest.raises(ConfigError, match="not registered"):
        feed.snapshot(evening(fake))
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ConfigError, match="missing or empty"):
        make_feed(fake, "EUR", server=server).snapshot(evening(fake))


def test_a_spot_series_that_is_gone_is_missing(fake: FakeFred, server: WireServer, make_feed: MakeFeed) -> None:
    fake.remove("DEXUSEU")
    with pytest.raises(MissingDataError, match="FRED has no series DEXUSEU"):
        make_feed(fake, "EUR", server=server).snapshot(evening(fake))


def test_a_price_that_is_none_is_refused(fake: FakeFred, server: WireServer, make_feed: MakeFeed) -> None:
    fake.release("DEXUSEU", date(2025, 5, 1), "0.0000", on=date(2025, 5, 6))
    with pytest.raises(DataError, match=r"DEXUSEU of 2025-05-01 is 0\.0"):
        make_feed(fake, "EUR", server=server).snapshot(evening(fake))


def test_what_is_at_hand_is_kept_while_fred_is_away_and_replaced_when_it_is_back(
    fake: FakeFred, server: WireServer, make_feed: MakeFeed, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [evening(fake)]
    feed = make_feed(fake, "EUR", server=server, now=lambda: clock[0])
    before = feed.history(None, None)
    asked = len(server.requests)
    assert feed.snapshot(clock[0] - timedelta(days=20)).quotes
    assert len(server.requests) == asked  # what was read is not read again
    fake.release("DTB3", date(2025, 6, 2), "9.99", on=date(2025, 6, 3))
    fake.today = date(2025, 6, 3)
    clock[0] += timedelta(days=1)
    server.fail("*", "unavailable", times=4)
    with caplog.at_level(logging.WARNING, "fxcarry.fred"):
        kept = feed.history(None, None)
    assert len(server.requests) == asked + 4  # one series was tried, and the others not
    assert kept.rates["USD"].value.tolist() == before.rates["USD"].value.tolist()
    assert any("Not the newest: values of 2025-06-02 23:30 UTC are used" in n and "503" in n for n in kept.notes)
    assert "503" in caplog.text
    clock[0] += timedelta(minutes=9)
    assert feed.history(None, None).notes == kept.notes  # not yet
    clock[0] += timedelta(minutes=2)
    new = feed.history(None, None)
    assert new.rates["USD"].value[-1] > 0.09
    assert not any("Not the newest" in note for note in new.notes)


def test_the_cache_saves_calls_survives_damage_and_serves_when_fred_is_away(
    fake: FakeFred, server: WireServer, make_feed: MakeFeed, tmp_path: Path
) -> None:
    folder = tmp_path / "a" / "cache"
    one = make_feed(fake, "EUR", server=server, cache=folder).history(None, None)
    assert {path.stem for path in folder.iterdir()} >= {"DEXUSEU", "DTB3", "IR3TIB01EZM156N"}
    asked = len(server.requests)
    two = make_feed(fake, "EUR", server=server, cache=folder).history(None, None)
    assert len(server.requests) == asked
    assert two.spot.tolist() == one.spot.tolist()
    assert two.rates["EUR"].value.tolist() == one.rates["EUR"].value.tolist()
    for damage in ("", "{", '{"fetched": "2025-06-02T00:00:00+00:00", "rows": [["x"]]}'):
        (folder / "DTB3.json").write_text(damage)
        make_feed(fake, "EUR", server=server, cache=folder).history(None, None)
        asked += 1
        assert len(server.requests) == asked  # that one is read again
        assert json.loads((folder / "DTB3.json").read_text())["rows"]
    with server.refuse():
        later = make_feed(
            fake, "EUR", server=server, cache=folder, now=lambda: datetime(2025, 6, 4, tzinfo=UTC)
        ).history(None, None)
    assert later.spot.tolist() == one.spot.tolist()
    assert any("Not the newest" in note for note in later.notes)


def test_a_cache_that_cannot_be_written_is_told(
    fake: FakeFred, server: WireServer, make_feed: MakeFeed, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"DEXUSEU\.json cannot be written"):
        make_feed(fake, "EUR", server=server, cache=tmp_path / "file").history(None, None)


def test_the_key_is_in_no_log_error_note_or_cache_file(
    fake: FakeFred, server: WireServer, make_feed: MakeFeed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        feed = make_feed(fake, "EUR", server=server, cache=tmp_path)
        history = feed.history(None, None)
        server.fail("*", "unavailable", times=3)
        make_feed(fake, "EUR", server=server).history(None, None)
    assert server.requests[0].query["api_key"] == fake.key  # it was sent
    assert "/fred/series/observations" in caplog.text  # and logged
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    for text in (caplog.text, written, repr(feed), repr(history.notes), repr(client_of(server))):
        assert fake.key not in text


def test_pages_are_put_together(fake: FakeFred, server: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(server)
    whole = client.latest("DEXUSEU")
    monkeypatch.setattr("fxcarry_fred.client._MOST", 7)
    server.requests.clear()
    assert client.latest("DEXUSEU") == whole
    assert len(server.requests) == -(-len(whole) // 7) > 3
    client.close()


# -- the fake --------------------------------------------------------------------------------------------------------


def ask(fake: FakeFred, path: str, **query: str) -> tuple[int, Any]:
    reply = fake.answer(Request("GET", path, {"api_key": fake.key, "file_type": "json", **query}))
    assert isinstance(reply.body, bytes)
    return reply.status, json.loads(reply.body)


def test_the_fake_answers_as_fred_does(vintages: FakeFred) -> None:
    path = "/fred/series/observations"
    series = {"series_id": "IR3TIB01GBM156N"}
    status, said = ask(
        vintages, path, **series, realtime_start="2025-04-20", realtime_end="2025-05-20", sort_order="desc", limit="2"
    )
    assert status == 200
    assert (said["count"], said["limit"], said["offset"], said["output_type"]) == (7, 2, 0, 1)
    assert said["observations"] == [
        {"realtime_start": "2025-05-15", "realtime_end": "2025-05-20", "date": "2025-03-01", "value": "4.07"},
        {"realtime_start": "2025-04-20", "realtime_end": "2025-05-14", "date": "2025-03-01", "value": "4.05"},
    ]
    _, then = ask(vintages, path, **series, realtime_start="2025-03-16", realtime_end="2025-03-16")
    assert [row["date"] for row in then["observations"]][-1] == "2025-01-01"
    _, days = ask(vintages, "/fred/series/vintagedates", **series, offset="4")
    assert days["vintage_dates"] == ["2025-03-17", "2025-04-15", "2025-05-15"]
    _, about = ask(vintages, "/fred/series", **series)
    assert about["seriess"][0]["observation_end"] == "2025-03-01"
    assert ask(vintages, path, series_id="NONE") == (
        400,
        {"error_code": 400, "error_message": "Bad Request.  The series does not exist."},
    )
    for wrong in ({"limit": "0"}, {"limit": "100001"}, {"offset": "x"}, {"realtime_start": "yesterday"}):
        assert ask(vintages, path, **series, **wrong)[0] == 400
    assert ask(vintages, path)[1]["error_message"] == "Bad Request.  Variable series_id is not set."
    assert ask(vintages, "/fred/nothing")[0] == 404
    assert ask(vintages, path, **series, api_key="")[1]["error_message"].startswith("Bad Request.  Variable api_key")
    xml = vintages.answer(Request("GET", path, {"api_key": vintages.key, **series}))
    assert xml.headers["Content-Type"] == "text/xml"


def test_a_series_without_vintages_is_refused_by_the_fake_as_by_fred(vintages: FakeFred, serve: Serve) -> None:
    vintages.forget_vintages("DTB3")
    path = "/fred/series/observations"
    refusal = (400, "Bad Request.  The series does not exist in ALFRED but may exist in FRED.")
    for wanted, query in (
        (path, {"realtime_start": "1776-07-04", "realtime_end": "9999-12-31"}),
        ("/fred/series/vintagedates", {}),
    ):
        status, said = ask(vintages, wanted, series_id="DTB3", **query)
        assert (status, said["error_message"]) == refusal
    client = client_of(serve(vintages))
    assert {row.released for row in client.vintages("DTB3")} == {vintages.today}
    assert len(client.vintages("DTB3")) == 28
    client.close()


def test_the_fake_is_a_server_that_any_client_can_read(vintages: FakeFred, serve: Serve) -> None:
    server = serve(vintages)
    answer = requests.get(f"{server.url}/fred/series", {"series_id": "DTB3"}, timeout=5)
    assert answer.status_code == 400
    assert "api_key is not set" in answer.json()["error_message"]


def _everything(error: BaseException) -> str:
    """An error with everything that hangs on it."""
    chain, text = [error], ""
    while chain:
        one = chain.pop()
        text += f"{one} {one!r} {vars(one)}"
        chain += [e for e in (one.__cause__, one.__context__) if e is not None]
    return text
