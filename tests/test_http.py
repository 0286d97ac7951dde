from __future__ import annotations

import logging
import multiprocessing
import pickle
import socket
import ssl
import threading
import time
import traceback
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from fxcarry.errors import ConfigError, FxCarryError
from fxcarry.http import Bucket, DailyQuota, Http, HttpError, NoAnswer, NotSent, QuotaExceeded
from fxcarry.secrets import Secret
from fxcarry.testing import Reply, Request, WireServer

TOKEN = "abc+def/0123456789=secret"
READ_FAULTS = ("lost", "unanswered", "failed", "unavailable", "busy", "reset")
UNKNOWN = ("unanswered", "failed", "reset", "hangs", "lost", "unavailable")


class Counter:
    """A server that counts what it carried out."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, request: Request) -> Reply:
        self.done.append(f"{request.method} {request.path}")
        if request.path == "/stream":
            return Reply(body=iter([b'{"n": 1}\n', b'{"n"', b": 2}\n\n"]))
        if request.path == "/moved":
            return Reply(302, b"", {"Location": "/elsewhere"})
        if request.path == "/quiet":
            return Reply(body=(b"" for _ in _slowly()))
        if request.path == "/denied":
            return Reply.json({"errorMessage": f"no access for {request.headers['authorization']}"}, 401)
        return Reply.json({"price": 1.10, "seen": dict(request.query), "body": request.body.decode()})


def _slowly() -> Iterator[int]:
    import time

    for n in range(200):
        time.sleep(0.02)
        yield n


@pytest.fixture
def venue() -> Counter:
    return Counter()


@pytest.fixture
def server(venue: Counter) -> Iterator[WireServer]:
    with WireServer(venue) as server:
        server.retry_after = 0
        yield server


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Secret:
    monkeypatch.setenv("TEST_TOKEN", TOKEN)
    return Secret("env", "TEST_TOKEN")


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def http(server: WireServer, token: Secret, waits: list[float]) -> Iterator[Http]:
    made = Http(server.url, bearer=token, params={"apikey": token}, timeout=10.0, sleep=waits.append)
    yield made
    made.close()


@pytest.fixture
def hasty(server: WireServer, token: Secret) -> Iterator[Http]:
    """One that soon gives up on a server that hangs."""
    made = Http(server.url, bearer=token, params={"apikey": token}, timeout=0.4, sleep=lambda seconds: None)
    yield made
    made.close()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def test_an_answer_has_its_status_and_its_numbers_as_decimal(http: Http, server: WireServer) -> None:
    answer = http.get("/quote", {"pair": "EUR USD"})
    assert (answer.status, answer.is_good) == (200, True)
    assert answer.json()["price"] == Decimal("1.1")
    assert answer.json()["seen"] == {"apikey": TOKEN, "pair": "EUR USD"}
    [request] = server.requests
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_one_connection_is_kept_for_every_call(http: Http) -> None:
    for _ in range(6):
        http.get("/a")
    [pool] = http._open().adapters["http://"].poolmanager.pools._container.values()
    assert (pool.num_connections, pool.num_requests) == (1, 6)


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_a_read_is_repeated(http: Http, server: WireServer, waits: list[float], fault: Any) -> None:
    server.fail("GET /quote", fault, times=2)
    assert http.get("/quote").is_good
    assert len(server.requests) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_a_read_is_given_up(hasty: Http, server: WireServer, fault: Any) -> None:
    server.fail("GET /quote", fault, times=9)
    with pytest.raises(HttpError):
        hasty.get("/quote")
    assert len(server.requests) == 4


@pytest.mark.parametrize("fault", UNKNOWN)
def test_an_order_that_may_have_been_taken_is_never_sent_again(
    hasty: Http, server: WireServer, venue: Counter, fault: Any
) -> None:
    server.fail("POST /orders", fault)
    with pytest.raises(NoAnswer):
        hasty.send("POST", "/orders", {"units": "1"})
    assert len(server.requests) == 1
    assert len(venue.done) == (0 if fault in ("lost", "unavailable") else 1)


def test_an_order_that_was_not_sent_is_sent_when_it_can_be(http: Http, server: WireServer, venue: Counter) -> None:
    server.fail("POST /orders", "busy", times=2)
    assert http.send("POST", "/orders", {"units": "1"}).json()["body"] == '{"units": "1"}'
    assert venue.done == ["POST /orders"]


def test_refused_connections_are_not_sent_and_come_back(http: Http, server: WireServer, venue: Counter) -> None:
    assert http.get("/quote").is_good
    with server.refuse(), pytest.raises(NotSent, match="nothing was sent"):
        http.send("POST", "/orders", {})
    assert http.send("POST", "/orders", {}).is_good
    assert venue.done == ["GET /quote", "POST /orders"]


def test_a_server_that_comes_back_meanwhile_is_reached(server: WireServer, venue: Counter, token: Secret) -> None:
    with ExitStack() as down:
        down.enter_context(server.refuse())
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                down.close()

        http = Http(server.url, bearer=token, sleep=wait)
        assert http.send("POST", "/orders", {}).is_good
        http.close()
    assert venue.done == ["POST /orders"]
    assert 0.2 <= waits[0] < waits[1]


def test_a_name_that_is_none_is_not_sent(token: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(host: str, *rest: Any, **named: Any) -> Any:
        raise socket.gaierror(-2, f"Name or service not known: {host}")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(NotSent, match="nothing was sent"):
        Http("https://nowhere.invalid", bearer=token, attempts=1).get("/")


def test_retry_after_is_waited_for_unless_it_is_too_long(http: Http, server: WireServer, waits: list[float]) -> None:
    server.retry_after = 7
    server.fail("GET /quote", "busy")
    http.get("/quote")
    assert waits == [7.0]
    server.retry_after = 3600
    server.fail("GET /quote", "busy")
    with pytest.raises(NotSent) as told:
        http.get("/quote")
    assert told.value.fields["retry_after"] == 3600
    assert waits == [7.0]


def test_retry_after_may_be_a_date(server: WireServer, token: Secret) -> None:
    at = datetime.now(UTC) + timedelta(seconds=30)
    limited = WireServer(lambda request: Reply(429, b"", {"Retry-After": at.strftime("%a, %d %b %Y %H:%M:%S GMT")}))
    with limited, pytest.raises(NotSent) as told:
        Http(limited.url, bearer=token).get("/quote")
    assert 25 < told.value.fields["retry_after"] <= 30
    odd = WireServer(lambda request: Reply(429, b"", {"Retry-After": "soon"}))
    with odd, pytest.raises(NotSent) as told:
        Http(odd.url, bearer=token, attempts=1).get("/quote")
    assert told.value.fields["retry_after"] is None


def test_a_body_that_is_no_json_is_no_answer(http: Http, server: WireServer) -> None:
    server.fail("GET /quote", "garbled")
    with pytest.raises(NoAnswer, match="expected JSON"):
        http.get("/quote").json()


def test_a_redirection_is_not_followed(http: Http, venue: Counter) -> None:
    assert http.get("/moved").status == 302
    assert venue.done == ["GET /moved"]


def test_a_hanging_server_is_given_up_after_the_time_out(hasty: Http, server: WireServer) -> None:
    server.fail("POST /orders", "hangs")
    began = datetime.now(UTC)
    with pytest.raises(NoAnswer, match="may have been carried out"):
        hasty.send("POST", "/orders", {})
    assert datetime.now(UTC) - began < timedelta(seconds=3)


def test_a_stream_gives_its_lines_and_says_that_it_ended(http: Http) -> None:
    with http.stream("/stream") as lines:
        assert [next(lines), next(lines)] == [b'{"n": 1}', b'{"n": 2}']
        with pytest.raises(NoAnswer, match="ended"):
            next(lines)


def test_a_silent_stream_is_given_up(http: Http) -> None:
    with http.stream("/quiet", silence=0.2) as lines, pytest.raises(NoAnswer):
        next(lines)


def test_a_stream_that_is_refused_says_so(http: Http) -> None:
    with pytest.raises(NoAnswer, match="401") as told, http.stream("/denied"):
        pass
    assert told.value.fields["status"] == 401
    assert TOKEN not in str(told.value)


# -- secrets ---------------------------------------------------------------------------------------------------------


def everything_of(error: BaseException) -> str:
    """All that a log or a debugger could show of an error."""
    chain, seen = [], error
    while seen is not None:
        chain += [repr(seen), str(seen), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__  # type: ignore[assignment]
    return "\n".join([*chain, *traceback.format_exception(error)])


@pytest.mark.parametrize("fault", ["lost", "unanswered", "failed", "unavailable", "busy", "reset", "hangs", "refused"])
def test_no_error_shows_a_secret(hasty: Http, server: WireServer, fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hasty.get("/quote")
    with ExitStack() as stack:
        if fault == "refused":
            stack.enter_context(server.refuse())
        else:
            server.fail("POST /orders", fault, times=9)
        with pytest.raises(HttpError) as told:
            hasty.send("POST", "/orders", {"a": 1})
    shown = everything_of(told.value) + repr(hasty) + caplog.text
    assert "orders" in shown
    for form in (TOKEN, "abc%2Bdef%2F0123456789%3Dsecret", "abc+def%2F"):
        assert form not in shown


def test_an_answer_that_repeats_the_token_is_masked(http: Http, caplog: pytest.LogCaptureFixture) -> None:
    answer = http.get("/denied")
    assert answer.status == 401
    assert answer.text() == '{"errorMessage": "no access for Bearer ********"}'
    assert TOKEN not in repr(answer.text(40))


def test_what_is_logged_of_addresses_is_masked(http: Http, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        http.get("/quote")
    assert "apikey=********" in caplog.text
    assert "GET /quote: 200" in caplog.text
    http.close()
    assert http._mask not in logging.getLogger("urllib3.connectionpool").filters


@pytest.mark.parametrize("value", ["two words", "new\nline", "umläut", "with\ttab"])
def test_a_token_that_is_none_is_refused_and_not_shown(
    server: WireServer, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TEST_TOKEN", value)
    with pytest.raises(ConfigError, match="characters that no token has") as told:
        Http(server.url, bearer=Secret("env", "TEST_TOKEN")).get("/quote")
    assert value not in everything_of(told.value)
    assert server.requests == []


def test_a_netrc_does_not_take_the_place_of_the_token(
    http: Http, server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    http.get("/quote")
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_new_token_is_used_from_the_next_call_on(
    http: Http, server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.get("/quote")
    monkeypatch.setenv("TEST_TOKEN", "another-token")
    http.get("/quote")
    assert server.requests[1].headers["authorization"] == "Bearer another-token"
    assert http.masked(f"{TOKEN} another-token") == "******** ********"


def test_a_proxy_of_the_environment_is_used(token: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = WireServer(lambda request: Reply.json({"through": "proxy"}))
    with proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        http = Http("http://venue.example")
        assert http.get("/quote").json() == {"through": "proxy"}
        http.close()


def test_a_certificate_authority_of_the_environment_is_used(
    token: Secret, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    http = Http(f"https://127.0.0.1:{free_port()}", bearer=token, attempts=1)
    with pytest.raises(FxCarryError, match=r"none\.pem"):
        http.get("/quote")
    http.close()


def test_a_secret_leaves_this_machine_encrypted_only(token: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("http://venue.example", "http://192.168.0.7:8080/api", "http://localhost.example"):
        for given in (
            {"bearer": token},
            {"basic": ("u", token)},
            {"params": {"key": token}},
            {"headers": {"X": token}},
        ):
            with pytest.raises(ConfigError, match=r"would send a secret that everybody can read.*https://"):
                Http(url, **given)  # type: ignore[arg-type]
        monkeypatch.setenv("HOOK", f"{url}/sEcReT")
        filters = list(logging.getLogger("urllib3.connectionpool").filters)
        with pytest.raises(ConfigError, match="the secret in env 'HOOK' would send a secret") as told:
            Http(Secret("env", "HOOK")).send("POST", "", {})
        assert "sEcReT" not in str(told.value)
        assert logging.getLogger("urllib3.connectionpool").filters == filters, "it was not even opened"
    for url in ("https://venue.example", "http://localhost:1", "http://[::1]:1", "http://127.0.0.9"):
        Http(url, bearer=token)


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no address"):
        Http("api.example.com")


# -- limits ----------------------------------------------------------------------------------------------------------


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 9))
        self.now += seconds


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    time = Time()
    bucket = Bucket(3, 1.5, clock=lambda: time.now, sleep=time.sleep)
    for _ in range(6):
        bucket.take()
    assert time.slept == [0.5, 0.5, 0.5]
    time.now += 60
    for _ in range(4):
        bucket.take()
    assert time.slept == [0.5, 0.5, 0.5, 0.5]


def test_a_bucket_never_lets_more_through_than_it_says() -> None:
    time = Time()
    bucket = Bucket(5, 1.0, clock=lambda: time.now, sleep=time.sleep)
    taken = []
    for n in range(60):
        bucket.take()
        taken.append(time.now)
        time.now += 0.03 * (n % 7)
    for first in taken:
        assert sum(first <= at < first + 1 - 1e-9 for at in taken) <= 10  # a full bucket, and what is refilled


def test_a_bucket_that_would_wait_too_long_says_so() -> None:
    time = Time()
    bucket = Bucket(1, 100, patience=30, clock=lambda: time.now, sleep=time.sleep)
    bucket.take()
    with pytest.raises(QuotaExceeded, match="allowed in 100 s"):
        bucket.take()
    assert time.slept == []


def test_a_bucket_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 calls"):
        Bucket(0, 1)


def take(path: Path, count: int) -> int:
    quota, got = DailyQuota(path, 25), 0
    for _ in range(count):
        try:
            quota.take()
            got += 1
        except QuotaExceeded:
            pass
    return got


def test_a_daily_quota_is_shared_by_processes(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(3) as pool:
        got = pool.starmap(take, [(tmp_path / "quota.sqlite", 20)] * 3)
    assert sum(got) == 25
    assert DailyQuota(tmp_path / "quota.sqlite", 25).left() == 0


def test_a_daily_quota_begins_anew_each_day(tmp_path: Path) -> None:
    now = [datetime(2026, 1, 5, 23, 59, tzinfo=UTC)]
    quota = DailyQuota(tmp_path / "deep" / "quota.sqlite", 2, now=lambda: now[0])
    assert quota.left() == 2
    quota.take()
    quota.take()
    with pytest.raises(QuotaExceeded, match="2026-01-06 00:00 UTC"):
        quota.take()
    now[0] += timedelta(minutes=1)
    quota.take()
    assert quota.left() == 1


def test_a_quota_that_cannot_be_counted_sends_nothing(tmp_path: Path, server: WireServer) -> None:
    (tmp_path / "file").write_text("in the way")
    http = Http(server.url, limits=[DailyQuota(tmp_path / "file" / "quota.sqlite", 5)])
    with pytest.raises(ConfigError, match="cannot be counted"):
        http.get("/quote")
    assert server.requests == []


def test_an_exhausted_quota_is_not_waited_for(tmp_path: Path, server: WireServer, waits: list[float]) -> None:
    http = Http(server.url, limits=[DailyQuota(tmp_path / "quota.sqlite", 1)], sleep=waits.append)
    assert http.get("/quote").is_good
    with pytest.raises(QuotaExceeded, match="all 1 calls"):
        http.get("/quote")
    assert (len(server.requests), waits) == (1, [])
    http.close()


def test_a_repeated_call_counts_every_time(tmp_path: Path, server: WireServer) -> None:
    quota = DailyQuota(tmp_path / "quota.sqlite", 10)
    http = Http(server.url, limits=[quota], sleep=lambda seconds: None)
    server.fail("GET /quote", "failed", times=2)
    http.get("/quote")
    assert quota.left() == 7
    http.close()


def test_errors_survive_a_process_boundary(http: Http, server: WireServer) -> None:
    server.fail("GET /quote", "failed", times=9)
    with pytest.raises(NoAnswer) as told:
        http.get("/quote")
    assert str(pickle.loads(pickle.dumps(told.value))).startswith("GET http://127.0.0.1")


# --- other ways to say who one is -------------------------------------------------------------------------------------


def test_basic_authentication_and_a_form(server: WireServer, token: Secret) -> None:
    http = Http(server.url, basic=("AC1", token))
    http.send("POST", "/messages", form={"To": "+41791234567", "Body": "NAV −1 % & more"})
    [request] = server.requests
    assert b64decode(request.headers["authorization"].removeprefix("Basic ")).decode() == f"AC1:{TOKEN}"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(request.body.decode())) == {"To": "+41791234567", "Body": "NAV −1 % & more"}
    http.close()


def test_an_address_may_be_the_secret(
    server: WireServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOOK", f"{server.url}/services/T0/sEcReTsEcReT?key=more")
    http = Http(Secret("env", "HOOK"), timeout=0.5, attempts=1, sleep=lambda seconds: None)
    assert http.send("POST", "", {"text": "x"}).is_good
    assert [request.path for request in server.requests] == ["/services/T0/sEcReTsEcReT"]
    said = [repr(http)]
    server.fail("POST *", "hangs")
    with pytest.raises(NoAnswer) as hung:
        http.send("POST", "", {"text": "x"})
    with server.refuse(), pytest.raises(NotSent) as refused:
        http.send("POST", "", {"text": "x"})
    said += [str(hung.value), str(refused.value), caplog.text]
    assert not [text for text in said if "sEcReT" in text or "key=more" in text]
    http.close()


def test_a_secret_that_is_no_address_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "sEcReT")
    with pytest.raises(ConfigError, match="the secret in env 'HOOK' is no address") as caught:
        Http(Secret("env", "HOOK")).send("POST", "", {})
    assert "sEcReT" not in str(caught.value)


# --- a deadline for the whole of it -----------------------------------------------------------------------------------


def trickle(is_over: threading.Event) -> Iterator[bytes]:
    while not is_over.wait(0.05):
        yield b" "


def test_an_answer_that_does_not_end_is_left_behind_and_may_have_been_carried_out() -> None:
    is_over = threading.Event()
    with WireServer(lambda request: Reply(200, trickle(is_over))) as slow:
        http = Http(slow.url, timeout=0.5, deadline=0.8)
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="did not end"):
            http.send("POST", "/orders", {"units": "1"})
        assert time.monotonic() - began < 4.0
        assert len(slow.requests) == 1
        is_over.set()
        http.close()


def test_a_wait_that_ends_too_late_is_left_to_the_caller(server: WireServer, venue: Counter) -> None:
    http = Http(server.url, timeout=2.0, deadline=2.6)
    server.retry_after = 1
    server.fail("POST /orders", "busy", times=9)
    with pytest.raises(NotSent) as caught:
        http.send("POST", "/orders", {"units": "1"})
    assert caught.value.fields["retry_after"] == 1.0
    assert (len(server.requests), venue.done) == (1, [])
    http.close()


def test_a_call_whose_turn_comes_too_late_is_not_made(server: WireServer) -> None:
    limit = Bucket(1, 1.5)
    http = Http(server.url, timeout=2.0, deadline=2.5, limits=[limit])
    assert http.get("/quote").is_good
    with pytest.raises(QuotaExceeded, match=r"GET .*/quote was not taken in time"):
        http.get("/quote")
    assert len(server.requests) == 1
    http.close()


def test_within_the_deadline_it_is_as_without(server: WireServer, token: Secret) -> None:
    http = Http(server.url, bearer=token, timeout=5.0, deadline=20.0, sleep=lambda seconds: None)
    server.fail("GET /quote", "busy", times=2)
    assert http.get("/quote").json()["price"] == Decimal("1.1")
    server.fail("POST /orders", "unanswered")
    with pytest.raises(NoAnswer):
        http.send("POST", "/orders", {"units": "1"})
    http.close()


# --- an error of TLS --------------------------------------------------------------------------------------------------


@contextmanager
def tls_server(end: str) -> Iterator[tuple[str, Path, list[bytes]]]:
    """A server that breaks each connection: while it is being encrypted, or after a request, in the middle of the
    answer. Its address, its authority, and the requests it took.
    """
    trustme = pytest.importorskip("trustme")
    authority, taken, is_over = trustme.CA(), list[bytes](), threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def serve() -> None:
        while not is_over.is_set():
            connection, _ = listening.accept()
            with connection:
                if end == "close":
                    connection.recv(9999)
                elif end == "hang":
                    is_over.wait(1.0)
                elif end == "damaged":
                    raw = connection.dup()
                    with suppress(OSError), raw, context.wrap_socket(connection, server_side=True) as encrypted:
                        taken.append(encrypted.recv(9999))
                        raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
                        is_over.wait(0.2)

    with socket.create_server(("127.0.0.1", 0)) as listening, authority.cert_pem.tempfile() as path:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://localhost:{listening.getsockname()[1]}", Path(path), taken
        is_over.set()
        with suppress(OSError):
            socket.create_connection(listening.getsockname(), 1).close()
        thread.join(5)


@pytest.mark.parametrize("end", ["close", "hang"])
def test_what_breaks_while_it_is_being_encrypted_was_not_sent(end: str, token: Secret) -> None:
    with tls_server(end) as (url, _, taken):
        http = Http(url, bearer=token, attempts=2, timeout=0.4, sleep=lambda seconds: None)
        with pytest.raises(NotSent, match="nothing was sent"):
            http.send("POST", "/orders", {"units": "1"})
        http.close()
    assert taken == []


def test_an_answer_that_is_damaged_leaves_a_doubt_and_nothing_is_sent_again(
    token: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls_server("damaged") as (url, authority, taken):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        http = Http(url, bearer=token, timeout=5.0, sleep=lambda seconds: None)
        with pytest.raises(NoAnswer, match=r"SSL.*may have been carried out"):
            http.send("POST", "/orders", {"units": "1"})
        http.close()
    assert len(taken) == 1
    assert taken[0].startswith(b"POST /orders")
