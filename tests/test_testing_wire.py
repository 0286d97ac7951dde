"""The server of fake venues: what a real HTTP client sees of each fault, and what reached the venue."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from fxcarry.errors import ConfigError
from fxcarry.testing import Reply, Request, WireServer


class Venue:
    """Counts what it is asked; streams count up."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.is_streaming = True
        self.is_at_once = 0

    def answer(self, request: Request) -> Reply:
        self.is_at_once += 1
        assert self.is_at_once == 1, "two threads at once"
        time.sleep(0.001)
        self.is_at_once -= 1
        self.asked.append(request)
        if request.path == "/stream":
            return Reply(body=self.count())
        if request.path == "/broken":
            raise ZeroDivisionError("the venue has a mistake")
        return Reply.json({"path": request.path, "n": len(self.asked)}, 201, {"RequestID": "7"})

    def count(self) -> Iterator[bytes]:
        n = 0
        while self.is_streaming:
            n += 1
            yield b"%d\n" % n
            yield b""
            time.sleep(0.005)


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
def server(venue: Venue) -> Iterator[WireServer]:
    with WireServer(venue.answer) as server:
        yield server


@pytest.fixture
def line(server: WireServer) -> Iterator[http.client.HTTPConnection]:
    with closing(connect(server)) as line:
        yield line


def connect(server: WireServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]), timeout=5)


def ask(
    line: http.client.HTTPConnection, method: str = "GET", path: str = "/a", body: bytes | None = None
) -> tuple[int, bytes]:
    line.request(method, path, body)
    answer = line.getresponse()
    return answer.status, answer.read()


def test_a_request_arrives_whole_and_its_answer_too(
    venue: Venue, server: WireServer, line: http.client.HTTPConnection
) -> None:
    line.request("POST", "/v3/a%20b?x=1%2C2&y=", b'{"units": "1"}', {"Authorization": "Bearer t", "X-Y": "z"})
    answer = line.getresponse()
    assert (answer.status, answer.getheader("RequestID"), answer.read()) == (201, "7", b'{"path": "/v3/a b", "n": 1}')
    (got,) = venue.asked
    assert server.requests == [got]
    assert (got.method, got.path, got.query) == ("POST", "/v3/a b", {"x": "1,2", "y": ""})
    assert got.json() == {"units": "1"}
    assert (got.headers["authorization"], got.headers["x-y"]) == ("Bearer t", "z")


def test_the_token_is_not_in_the_repr_of_a_request(
    venue: Venue, server: WireServer, line: http.client.HTTPConnection
) -> None:
    line.request("GET", "/a", headers={"Authorization": "Bearer secret"})
    line.getresponse().read()
    assert "secret" not in repr(server.requests)


def test_a_connection_is_kept(venue: Venue, line: http.client.HTTPConnection) -> None:
    assert ask(line)[0] == 201
    first = line.sock
    assert [ask(line, method)[0] for method in ("PUT", "PATCH", "DELETE", "GET")] == [201] * 4
    assert line.sock is first is not None


@pytest.mark.parametrize("fault", ["lost", "unanswered"])
def test_closed_without_an_answer(
    venue: Venue, server: WireServer, line: http.client.HTTPConnection, fault: str
) -> None:
    server.fail("POST /a", fault)  # type: ignore[arg-type]
    with pytest.raises(http.client.RemoteDisconnected):
        ask(line, "POST", body=b"{}")
    assert len(server.requests) == 1
    assert len(venue.asked) == (fault == "unanswered")
    assert ask(line)[0] == 201


def test_it_hangs_until_the_client_gives_up(venue: Venue, server: WireServer, line: http.client.HTTPConnection) -> None:
    server.fail("* /a", "hangs")
    line.timeout = 0.5
    with pytest.raises(TimeoutError):
        ask(line, "PUT")
    assert len(venue.asked) == 1


def test_a_client_that_hangs_does_not_hold_up_the_end(venue: Venue) -> None:
    with WireServer(venue.answer) as server:
        server.fail("*", "hangs")
        host = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        with socket.create_connection(host, timeout=5) as hanging, socket.create_connection(host, timeout=5) as idle:
            hanging.sendall(b"GET /a HTTP/1.1\r\n\r\n")
            while not venue.asked:
                time.sleep(0.001)
            begin = time.monotonic()
            server.__exit__(None, None, None)
            assert time.monotonic() - begin < 1
            assert hanging.recv(10) == b"" == idle.recv(10)


def test_reset_in_the_middle_of_the_answer(venue: Venue, server: WireServer, line: http.client.HTTPConnection) -> None:
    server.fail("GET /a", "reset")
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        ask(line)
    line.close()
    assert len(venue.asked) == 1
    assert ask(line) == (201, b'{"path": "/a", "n": 2}')


@pytest.mark.parametrize(
    ("fault", "status", "is_handled", "text"),
    [
        ("failed", 502, True, b"<html>"),
        ("unavailable", 503, False, b"<html>"),
        ("busy", 429, False, b'{"errorMessage"'),
        ("garbled", 200, True, b'{"last'),
    ],
)
def test_answers_that_are_no_answer(
    venue: Venue,
    server: WireServer,
    line: http.client.HTTPConnection,
    fault: str,
    status: int,
    is_handled: bool,
    text: bytes,
) -> None:
    server.fail("GET /a", fault)  # type: ignore[arg-type]
    found, body = ask(line)
    assert (found, len(venue.asked)) == (status, is_handled)
    assert body.startswith(text)
    with pytest.raises(ValueError):
        Request("GET", "/a", body=body if status != 429 else b"").json()
    assert ask(line)[0] == 201


def test_busy_says_how_long_to_wait(server: WireServer, line: http.client.HTTPConnection) -> None:
    server.retry_after = 3
    server.fail("*", "busy")
    line.request("GET", "/a")
    answer = line.getresponse()
    answer.read()
    assert answer.getheader("Retry-After") == "3"


def test_the_script_goes_in_order_by_method_and_path(server: WireServer, line: http.client.HTTPConnection) -> None:
    server.fail("POST /accounts/*/orders", "unavailable", times=2)
    server.fail("POST /accounts/*", "failed")
    server.fail("*", "busy")
    calls = [
        ("POST", "/accounts/1/orders?x=1"),
        ("GET", "/accounts/1/orders"),
        ("POST", "/accounts/2/orders"),
        ("POST", "/accounts/1/orders"),
        ("POST", "/accounts/1/orders"),
        ("GET", "/"),
    ]
    assert [ask(line, *call)[0] for call in calls] == [503, 429, 503, 502, 201, 201]


def test_what_was_scripted_is_forgotten(server: WireServer, line: http.client.HTTPConnection) -> None:
    server.fail("*", "busy", times=3)
    assert ask(line)[0] == 429
    server.clear()
    assert ask(line)[0] == 201


def test_what_is_no_fault_or_no_call_is_refused(server: WireServer) -> None:
    with pytest.raises(ConfigError, match="'slow' is no fault"):
        server.fail("*", "slow")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'/a' is no call"):
        server.fail("/a", "lost")


def test_refused_and_back_at_the_same_port(venue: Venue, server: WireServer, line: http.client.HTTPConnection) -> None:
    assert ask(line)[0] == 201
    with server.refuse():
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            ask(line)  # the connection that was kept is gone
        line.close()
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                line.connect()
    assert ask(line)[0] == 201
    assert len(venue.asked) == 2


def test_a_stream_does_not_hold_up_other_requests_and_ends_with_its_iterator(
    venue: Venue, server: WireServer, line: http.client.HTTPConnection
) -> None:
    line.request("GET", "/stream")
    stream = line.getresponse()
    assert [stream.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
    with closing(connect(server)) as other:
        assert ask(other)[0] == 201
    venue.is_streaming = False
    assert not stream.read().strip(b"0123456789\n"), "the end of the stream is not a clean one"
    assert ask(line)[0] == 201


def test_a_stream_is_cut_by_the_fault_and_by_a_connection_error(
    venue: Venue, server: WireServer, line: http.client.HTTPConnection
) -> None:
    server.fail("GET /stream", "reset")
    line.request("GET", "/stream")
    stream = line.getresponse()
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        stream.read()
    line.close()

    def cut() -> Iterator[bytes]:
        yield b"1\n"
        raise ConnectionAbortedError

    venue.answer = lambda request: Reply(body=cut())  # type: ignore[method-assign]
    with WireServer(venue.answer) as again:
        other = connect(again)
        other.request("GET", "/stream")
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            other.getresponse().read()
        other.close()


def test_no_thread_outlives_the_server(venue: Venue) -> None:
    before = set(threading.enumerate())
    with WireServer(venue.answer) as server:
        line = connect(server)
        line.request("GET", "/stream")
        assert line.getresponse().readline() == b"1\n"
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) <= before
    line.close()


def test_a_mistake_of_the_venue_is_told_at_the_end(venue: Venue) -> None:
    server = WireServer(venue.answer)
    with suppress(ZeroDivisionError), server:
        with closing(connect(server)) as line:
            assert ask(line, path="/broken")[0] == 500
        with pytest.raises(ZeroDivisionError, match="the venue has a mistake"):
            server.__exit__(None, None, None)


def test_a_mistake_in_a_stream_is_told_at_the_end() -> None:
    def broken() -> Iterator[bytes]:
        yield b"1\n"
        raise KeyError("the stream has a mistake")

    server = WireServer(lambda request: Reply(body=broken()))
    with suppress(KeyError), server:
        with closing(connect(server)) as line:
            line.request("GET", "/stream")
            with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
                line.getresponse().read()
        with pytest.raises(KeyError, match="the stream has a mistake"):
            server.__exit__(None, None, None)


def test_another_mistake_goes_first(venue: Venue) -> None:
    with pytest.raises(AssertionError, match="mine"):
        fail_inside(WireServer(venue.answer))


def fail_inside(server: WireServer) -> None:
    with server, closing(connect(server)) as line:
        ask(line, path="/broken")
        raise AssertionError("mine")
