"""An HTTP server on loopback for the fake venues of plugins, whose wire fails on command.

The venue is a function from :class:`Request` to :class:`Reply`; :class:`WireServer` puts it behind a real socket::

    with WireServer(venue.answer) as server:
        server.fail("POST /v3/accounts/*/orders", "unanswered")
        broker = AcmeBroker(url=server.url)
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from fxcarry.errors import ConfigError

WireFault = Literal["lost", "unanswered", "hangs", "reset", "failed", "unavailable", "busy", "garbled"]
"""What goes wrong with a call. ``lost``: the connection is closed before the request is handled. ``unanswered``: it is
handled, and the connection is closed without an answer. ``hangs``: it is handled, and nothing is sent until the client
gives up. ``reset``: it is handled, and the connection is reset in the middle of the answer. ``failed``: it is handled,
and a proxy answers 502 with a page. ``unavailable``: 503, not handled. ``busy``: 429 with Retry-After, not handled.
``garbled``: it is handled, and answered 200 with something that is no JSON.
"""

_HOST = "127.0.0.1"
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>\r\n"


@attrs.frozen
class Request:
    """One request as it was received: ``path`` without the query, ``headers`` by lower-case name."""

    method: str
    path: str
    query: Mapping[str, str] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = b""

    def json(self) -> Any:
        """The body read as JSON; ValueError where it is none."""
        return json.loads(self.body)


@attrs.frozen
class Reply:
    """An answer. A ``body`` that is an iterator is a stream: each of its parts is sent at once, as a chunk.

    A stream ends with its iterator. It should give an empty part several times a second where it has nothing to say:
    nothing is sent, but a server that is being closed waits for it. One that raises ConnectionError is cut off.
    """

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        """``value`` as JSON."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


class WireServer:
    """Serves ``handle`` over HTTP/1.1 with keep-alive at a free port of 127.0.0.1, while in its ``with`` block.

    ``handle`` is called by one thread at a time; streams run side by side. ``requests`` are those received, failed or
    not, in order. What ``handle`` raises is answered with 500 and raised again at the end of the block.
    ``retry_after`` is how many seconds the fault "busy" asks for.
    """

    def __init__(self, handle: Callable[[Request], Reply]) -> None:
        self.requests: list[Request] = []
        self.retry_after = 1
        self._handle = handle
        self._lock = threading.Lock()
        self._script: list[tuple[str, WireFault, int]] = []
        self._error: Exception | None = None
        self._port = 0
        self._listening: _Listener | None = None

    @property
    def url(self) -> str:
        """Where it is served, without a slash at the end."""
        return f"http://{_HOST}:{self._port}"

    def fail(self, call: str, fault: WireFault, times: int = 1) -> None:
        """The next ``times`` requests that ``call`` fits go wrong in this way.

        ``call`` is a method and a pattern of the path, in which ``*`` stands for any text: ``"GET /v3/*/summary"``;
        ``"*"`` alone fits every request. Of several that fit, the first that was scripted goes first. Raises
        ConfigError on an unknown fault or a call that is none.
        """
        if fault not in get_args(WireFault):
            raise ConfigError(f"{fault!r} is no fault", hint=f"one of {', '.join(get_args(WireFault))}")
        if call != "*" and len(call.split()) != 2:
            raise ConfigError(f"{call!r} is no call", hint='write it like "POST /orders", or "*" for any')
        with self._lock:
            self._script.append((call, fault, times))

    def clear(self) -> None:
        """Forget what was scripted and has not happened yet."""
        with self._lock:
            self._script.clear()

    @contextmanager
    def refuse(self) -> Iterator[None]:
        """Inside, nobody listens at the port and every connection is gone; afterwards it is served again."""
        self._stop()
        with socket.socket() as held:  # bound without listening: refused, and nobody else can take the port
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((_HOST, self._port))
            try:
                yield
            finally:
                held.close()
                self._start()

    def __enter__(self) -> WireServer:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop()
        if self._error is not None and error is None:
            raise self._error

    def _start(self) -> None:
        self._listening = _Listener(self, self._port)
        self._port = self._listening.server_address[1]

    def _stop(self) -> None:
        if self._listening is not None:
            self._listening.stop()
            self._listening = None

    # -- what the threads of the connections ask -------------------------------------------------------------------

    def receive(self, request: Request) -> tuple[WireFault | None, Reply | None]:
        """What goes wrong with a request, and the answer to it; None where it is not handled."""
        with self._lock:
            self.requests.append(request)
            fault = self._next_fault(request)
            if fault in ("lost", "unavailable", "busy"):
                return fault, None
            try:
                return fault, self._handle(request)
            except Exception as error:
                self.note(error)
                return fault, Reply(500, repr(error).encode())

    def note(self, error: Exception) -> None:
        """Keep the first mistake of the venue itself, to be raised at the end."""
        self._error = self._error or error

    def _next_fault(self, request: Request) -> WireFault | None:
        for i, (call, fault, times) in enumerate(self._script):
            method, _, path = call.partition(" ")
            if call == "*" or (method in (request.method, "*") and fnmatchcase(request.path, path.strip())):
                self._script[i] = (call, fault, times - 1)
                if times <= 1:
                    del self._script[i]
                return fault
        return None


class _Listener(ThreadingTCPServer):
    """The listening socket, and a thread for each connection; none of them outlives it."""

    allow_reuse_address = True
    request_queue_size = 64
    daemon_threads = False  # only these are waited for at the end

    def __init__(self, wire: WireServer, port: int) -> None:
        self.wire = wire
        self.is_closing = False
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__((_HOST, port), _Connection)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="wire", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and wait for the threads."""
        self.shutdown()
        self._thread.join()
        with self._guard:
            self.is_closing = True
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._guard:
            self._open.add(request)
        return True

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no matter."""


class _Connection(BaseHTTPRequestHandler):
    """One connection: request after request, each with its fault."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Listener

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        target = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(target.path),
            query=dict(parse_qsl(target.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        fault, reply = self.server.wire.receive(request)
        if fault in ("lost", "unanswered"):
            self.close_connection = True
        elif fault == "hangs":
            self.close_connection = True
            while self.rfile.read(1):
                pass
        elif fault == "unavailable":
            self._send(Reply(503, _PAGE.format("503 Service Temporarily Unavailable").encode()))
        elif fault == "busy":
            wait = str(self.server.wire.retry_after)
            self._send(Reply.json({"errorMessage": "Too many requests"}, 429, {"Retry-After": wait}))
        elif fault == "failed":
            self._send(Reply(502, _PAGE.format("502 Bad Gateway").encode(), {"Content-Type": "text/html"}))
        elif fault == "garbled":
            self._send(Reply(200, b'{"lastTransactionID": "6', {"Content-Type": "application/json"}))
        elif reply is not None and isinstance(reply.body, bytes):
            self._send(reply, is_cut=fault == "reset")
        elif reply is not None:
            self._stream(reply, is_cut=fault == "reset")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _send(self, reply: Reply, *, is_cut: bool = False) -> None:
        """Send a whole answer in one piece, or the first half of it and a reset."""
        assert isinstance(reply.body, bytes)
        body = reply.body
        self._head(reply, {"Content-Length": str(len(body))})
        self.wfile.write(body[: len(body) // 2] if is_cut else body)
        self.wfile.flush()
        if is_cut:
            self._reset()

    def _stream(self, reply: Reply, *, is_cut: bool) -> None:
        """Send the parts of a stream as they come; a fault cuts it after the first."""
        self._head(reply, {"Transfer-Encoding": "chunked"})
        self.wfile.flush()
        try:
            for part in reply.body:
                if self.server.is_closing:
                    return
                if isinstance(part, bytes) and part:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                    self.wfile.flush()
                    if is_cut:
                        break
            else:
                self.wfile.write(b"0\r\n\r\n")
                self.wfile.flush()
                return
        except ConnectionError:
            pass
        except Exception as error:
            self.server.wire.note(error)
        finally:
            getattr(reply.body, "close", lambda: None)()  # a generator tidies up in the thread that ran it
        self._reset()

    def _head(self, reply: Reply, framing: Mapping[str, str]) -> None:
        self.send_response_only(reply.status)
        own = {"Date": self.date_time_string(), "Content-Type": "text/html"}
        for name, value in {**own, **reply.headers, **framing}.items():
            self.send_header(name, value)
        self.end_headers()

    def _reset(self) -> None:
        """Let the connection end with a reset instead of a farewell."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
