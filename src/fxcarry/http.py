"""HTTP for plugins: one session a plugin, with time-outs, retries that are safe, limits, and secrets kept out of texts.

What failed is one of two things. :class:`NotSent`: nothing was accepted, the call may be made again. :class:`NoAnswer`:
the request may have been carried out, and nobody said so. Reads are repeated in either case, everything else only where
it was not sent. An answer with any other status, 400 for one, is an :class:`Answer`: what it means is the plugin's to
say. Proxies and certificate authorities are those of the environment (``HTTPS_PROXY``, ``NO_PROXY``,
``REQUESTS_CA_BUNDLE``) when the session is opened.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sqlite3
import threading
import time
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import attrs

from fxcarry.errors import ConfigError, FxCarryError
from fxcarry.secrets import Secret, SecretFilter

_LOG = logging.getLogger("fxcarry.http")
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Value = str | int | Secret
Content = tuple[bytes, str]  # and its type
_PART = 12  # characters from which on a part of a secret address is one itself
_SHOWN = 200  # characters of a body that an error repeats


class HttpError(FxCarryError):
    """A call that brought no answer. ``fields`` has ``status`` where there was one."""


class NotSent(HttpError):
    """Nothing was accepted: no connection was made, or the server was too busy (429). The call may be made again."""


class NoAnswer(HttpError):
    """The request may have been carried out: it timed out, the connection broke, or the answer was a server's error."""


class QuotaExceeded(NotSent):
    """A limit of the plugin's own says to wait longer than it may. Nothing was sent."""


@attrs.frozen
class Answer:
    """What a server said: any status below 500 except 429."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    _masked: Callable[[str], str] = attrs.field(default=str, repr=False)

    @property
    def is_good(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON, numbers with a point as Decimal; raises NoAnswer where it is something else."""
        try:
            return json.loads(self.body, parse_float=Decimal)
        except ValueError:
            shown = self.text(_SHOWN)
        raise NoAnswer(
            f"expected JSON, got {shown!r}", hint="is there a proxy or a login page?", fields={"status": self.status}
        )

    def text(self, most: int | None = None) -> str:
        """The body as text, secrets masked; ``most`` characters of it."""
        return self._masked(self.body.decode("utf-8", "replace"))[:most]


class Limit(Protocol):
    """Something that is asked before every call."""

    def take(self) -> None:
        """Wait until one more call is allowed, or raise QuotaExceeded."""
        ...


class Bucket:
    """A token bucket: at most ``calls`` at once, refilled evenly over ``seconds``. For one process, thread-safe.

    Raises QuotaExceeded where the wait would be longer than ``patience`` seconds.
    """

    def __init__(
        self,
        calls: int,
        seconds: float,
        *,
        patience: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if calls < 1 or seconds <= 0:
            raise ConfigError(f"a limit of {calls} calls in {seconds} s is none", hint="both are > 0")
        self._calls, self._each, self._patience = calls, seconds / calls, patience
        self._clock, self._sleep = clock, sleep
        self._free_at = clock() - seconds  # when the bucket was, or will be, empty
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take one token, after the wait it needs."""
        with self._lock:
            now = self._clock()
            begin = max(self._free_at, now - self._calls * self._each)
            wait = begin + self._each - now
            if wait > self._patience:
                raise QuotaExceeded(f"the next call is allowed in {wait:.0f} s", fields={"wait": wait})
            self._free_at = begin + self._each
        if wait > 1e-9:
            self._sleep(wait)


class DailyQuota:
    """At most ``calls`` a day (UTC), counted in the file ``path``: processes that share the file share the quota."""

    def __init__(
        self, path: str | Path, calls: int, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.path, self.calls = Path(path), calls
        self._now = now

    def take(self) -> None:
        """Count one call, on the disk before it is made; raises QuotaExceeded where the day has none left."""
        day = self._now().date()
        with closing(self._file()) as file:
            taken = file.execute(
                "INSERT INTO used VALUES (?, 1) ON CONFLICT (day) DO UPDATE SET calls = calls + 1 WHERE calls < ? "
                "RETURNING calls",
                (str(day), self.calls),
            ).fetchall()
            file.execute("DELETE FROM used WHERE day < ?", (str(day),))
        if not taken or self.calls < 1:
            again = datetime.combine(day + timedelta(1), datetime.min.time(), UTC)
            raise QuotaExceeded(
                f"all {self.calls} calls of {day} are used", hint=f"there are new ones at {again:%Y-%m-%d %H:%M} UTC"
            )

    def left(self) -> int:
        """How many calls today has left."""
        with closing(self._file()) as file:
            rows = file.execute("SELECT calls FROM used WHERE day = ?", (str(self._now().date()),)).fetchall()
        return self.calls - (rows[0][0] if rows else 0)

    def _file(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = sqlite3.connect(self.path, isolation_level=None, timeout=10)
            file.execute("CREATE TABLE IF NOT EXISTS used (day TEXT PRIMARY KEY, calls INTEGER NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"calls cannot be counted in {self.path}: {error}", hint="may it be written?") from error
        return file


class Http:
    """Calls to one server.

    Args:
        url: what every path is appended to; a Secret where it opens a door by itself, as a webhook does.
        bearer: the token of the Authorization header, read anew for each call.
        basic: user and password of HTTP Basic authentication, in place of a bearer.
        headers, params: what every call carries; a Secret among them is revealed for each call.
        connect_timeout, timeout: seconds until there must be a connection, and from one byte to the next.
        attempts: how often a call is made at most, where it may be made again.
        patience: the longest wait, in seconds, that a server's Retry-After may ask for.
        deadline: seconds after which a call, with its repetitions, has ended whatever the server does: an answer that
            comes a byte at a time is left behind. None = as long as that takes. Streams have none.
        limits: asked in their order before every call.
    """

    def __init__(
        self,
        url: str | Secret,
        *,
        bearer: Secret | None = None,
        basic: tuple[Value, Secret] | None = None,
        headers: Mapping[str, Value] | None = None,
        params: Mapping[str, Value] | None = None,
        connect_timeout: float = 5.0,
        timeout: float = 10.0,
        attempts: int = 4,
        patience: float = 10.0,
        deadline: float | None = None,
        limits: Sequence[Limit] = (),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        given = [url, bearer, *(basic or ()), *(headers or {}).values(), *(params or {}).values()]
        secrets = [secret for secret in given if isinstance(secret, Secret)]
        self._address = url if isinstance(url, Secret) else _address(url, repr(url), is_private=bool(secrets))
        self.url = "(secret)" if isinstance(url, Secret) else str(self._address)
        self._bearer, self._basic = bearer, basic
        self._headers, self._params = dict(headers or {}), dict(params or {})
        self._timeout, self._attempts, self._patience = (connect_timeout, timeout), attempts, patience
        self._deadline = deadline
        self._limits, self._sleep = tuple(limits), sleep
        self._mask = _Masked(secrets)
        self._session: Any = None

    def __repr__(self) -> str:
        return f"Http({self.url!r})"

    def masked(self, text: str) -> str:
        """``text`` without any secret of this session."""
        return self._mask.redact(text)

    def get(self, path: str, params: Mapping[str, Value] | None = None) -> Answer:
        """Read; repeated where it failed, with a growing wait."""
        return self._repeated("GET", path, params, (NotSent, NoAnswer))

    def send(
        self,
        method: Method,
        path: str,
        body: Any = None,
        params: Mapping[str, Value] | None = None,
        *,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Change something, with ``body`` as JSON or ``form`` as the fields of a form; repeated only where it was not
        sent.
        """
        content = None
        if form is not None:
            content = urlencode(form).encode(), "application/x-www-form-urlencoded"
        elif body is not None:
            content = json.dumps(body, allow_nan=False).encode(), "application/json"
        return self._repeated(method, path, params, (NotSent,), content)

    @contextmanager
    def stream(
        self, path: str, params: Mapping[str, Value] | None = None, *, silence: float = 10.0
    ) -> Iterator[Iterator[bytes]]:
        """The lines of an answer that does not end. NoAnswer where it is no good one, none came for ``silence`` seconds
        or it broke.
        """
        response = self._call("GET", path, params, None, is_stream=True, read_timeout=silence)
        try:
            if not 200 <= response.status_code < 300:
                status, shown = response.status_code, self.masked(response.text)[:_SHOWN]
                raise NoAnswer(f"GET {self.url}{path}: {status}: {shown}", fields={"status": status})
            yield self._lines(response)
        finally:
            response.close()

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
            logging.getLogger("urllib3.connectionpool").removeFilter(self._mask)

    # -- one call --------------------------------------------------------------------------------------------------

    def _where(self) -> str:
        """The address, told anew where it is a secret; ConfigError where it is none."""
        if not isinstance(self._address, Secret):
            return self._address
        what = f"the secret in {self._address.source} {self._address.where!r}"
        return _address(self._address.reveal().strip(), what, is_private=True)

    def _open(self) -> Any:
        if self._session is None:
            import requests

            session = requests.Session()
            session.trust_env = False  # a ~/.netrc would take the place of the token; and once is enough for the rest
            session.proxies = dict(requests.utils.get_environ_proxies(self._where()))
            session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
            logging.getLogger("urllib3.connectionpool").addFilter(self._mask)  # it logs addresses with their query
            self._session = session
        return self._session

    def _repeated(
        self,
        method: Method,
        path: str,
        params: Mapping[str, Value] | None,
        errors: tuple[type[HttpError], ...],
        content: Content | None = None,
    ) -> Answer:
        if self._deadline is None:
            return self._retried(method, path, params, errors, content, math.inf)
        results: list[Answer | Exception] = []
        begin_by = time.monotonic() + self._deadline - self._timeout[1]

        def run() -> None:
            try:
                results.append(self._retried(method, path, params, errors, content, begin_by))
            except Exception as error:
                results.append(error)

        thread = threading.Thread(target=run, name="http", daemon=True)
        thread.start()
        thread.join(self._deadline)
        result = results[0] if results else NoAnswer("the answer did not end", hint="it may have been carried out")
        if isinstance(result, Exception):
            raise result
        return result

    def _retried(
        self,
        method: Method,
        path: str,
        params: Mapping[str, Value] | None,
        errors: tuple[type[HttpError], ...],
        content: Content | None,
        begin_by: float,
    ) -> Answer:
        """A call and its repetitions, of which none begins after ``begin_by`` by the clock that only counts."""
        import tenacity

        jitter = tenacity.wait_exponential(multiplier=0.2, max=5.0) + tenacity.wait_random(0.0, 0.1)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            asked = error.fields.get("retry_after") if isinstance(error, HttpError) else None
            return float(jitter(state)) if asked is None else float(asked)

        def may_repeat(error: BaseException) -> bool:
            if not isinstance(error, errors) or isinstance(error, QuotaExceeded):
                return False
            asked = float(error.fields.get("retry_after") or 0.0)
            return asked <= self._patience and time.monotonic() + asked <= begin_by

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._attempts),
            retry=tenacity.retry_if_exception(may_repeat),
            wait=wait,
            sleep=self._sleep,
            reraise=True,
        )
        answer: Answer = retrying(self._answer, method, path, params, content, begin_by)
        return answer

    def _answer(
        self,
        method: Method,
        path: str,
        params: Mapping[str, Value] | None,
        content: Content | None,
        begin_by: float,
    ) -> Answer:
        began = time.monotonic()
        response = self._call(method, path, params, content, begin_by=begin_by)
        took = time.monotonic() - began
        _LOG.debug("%s %s: %d in %.0f ms", method, self.masked(path), response.status_code, took * 1000)
        return Answer(response.status_code, response.headers, response.content, self.masked)

    def _call(
        self,
        method: Method,
        path: str,
        params: Mapping[str, Value] | None,
        content: Content | None,
        *,
        is_stream: bool = False,
        read_timeout: float | None = None,
        begin_by: float = math.inf,
    ) -> Any:
        """A response whose status is no failure; raises NotSent or NoAnswer, with every text masked."""
        for limit in self._limits:
            limit.take()
        if time.monotonic() > begin_by:
            raise QuotaExceeded(f"{method} {self.url}{path} was not taken in time", hint="try again later")
        session, address, (connect, read) = self._open(), self._where(), self._timeout
        headers = {name: _revealed(value) for name, value in self._headers.items()}
        if self._bearer is not None:
            headers["Authorization"] = f"Bearer {_token(self._bearer)}"
        if self._basic is not None:
            pair = f"{_revealed(self._basic[0])}:{_token(self._basic[1])}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        data = None
        if content is not None:
            data, headers["Content-Type"] = content
        response, failure = None, None
        try:
            response = session.request(
                method,
                address + path,
                params={name: _revealed(value) for name, value in {**self._params, **(params or {})}.items()},
                data=data,
                headers=headers,
                timeout=(connect, read if read_timeout is None else read_timeout),
                allow_redirects=False,
                stream=is_stream,
            )
        except Exception as error:
            failure = self._failure(error, f"{method} {self.url}{path}")
        if failure is not None:  # raised here, so that no error chain holds the request and its headers
            raise failure
        assert response is not None
        self._check_status(response, f"{method} {self.url}{path}")
        return response

    def _failure(self, error: Exception, call: str) -> Exception:
        """What an error of requests means; an error that is not one of its own is returned as it is."""
        import requests
        import urllib3

        if not isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError | OSError):
            return error
        what = self.masked(f"{call}: {type(error).__name__}: {error}")
        if is_unsent(error):
            return NotSent(what, hint="nothing was sent: check the network, proxy and address")
        return NoAnswer(what, hint="it may have been carried out")

    def _check_status(self, response: Any, call: str) -> None:
        status = response.status_code
        if status != 429 and status < 500:
            return
        with response:
            shown = self.masked(response.content.decode("utf-8", "replace"))[:_SHOWN]
        fields = {"status": status, "retry_after": _retry_after(response.headers.get("Retry-After"))}
        what = self.masked(f"{call}: {status}: {shown}")
        if status == 429:
            raise NotSent(what, hint="too many calls: wait", fields=fields)
        raise NoAnswer(what, hint="it may have been carried out", fields=fields)

    def _lines(self, response: Any) -> Iterator[bytes]:
        lines = response.iter_lines(chunk_size=512)
        while True:
            failure: Exception | None = None
            line = None
            try:
                line = next(lines, None)
            except Exception as error:
                failure = self._failure(error, f"GET {self.url}: the stream")
            if failure is not None:
                raise failure
            if line is None:
                raise NoAnswer(f"GET {self.url}: the stream ended")
            if line:
                yield line


class _Masked(SecretFilter):
    """A log filter that also knows a secret as it is written in an address."""

    def redact(self, text: str) -> str:
        """``text`` with every secret masked."""
        text = super().redact(text)
        for value in {value.strip() for secret in self._secrets for value in secret.revealed}:
            written = {value, quote(value, safe=""), quote_plus(value)}
            if "://" in value:  # errors name the host and the rest of an address apart
                parts = urlsplit(value)
                written |= {parts.path.rstrip("/"), f"{parts.path}?{parts.query}"} - {"", "?"}
                written |= {part for part in parts.path.split("/") if len(part) >= _PART}
            for one in sorted(written - {""}, key=len, reverse=True):
                text = text.replace(one, "********")
        return text


def _token(secret: Secret) -> str:
    """A token as it may stand in a header; ConfigError, without repeating it, where it may not."""
    token = secret.reveal().strip()
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError(
            f"the secret in {secret.source} {secret.where!r} has characters that no token has", hint="copy it again"
        )
    return token


def _address(text: str, what: str, *, is_private: bool) -> str:
    """``text`` as an address that paths are appended to; ConfigError calls it ``what``. What ``is_private`` leaves this
    machine encrypted, or not at all.
    """
    if not text.startswith(("https://", "http://")):
        raise ConfigError(f"{what} is no address", hint="it begins with https://")
    if is_private and text.startswith("http://") and not _is_here(text):
        raise ConfigError(f"{what} would send a secret that everybody can read", hint="it begins with https://")
    return text.rstrip("/")


def is_unsent(error: BaseException) -> bool:
    """Whether an error of requests or urllib3 says that no byte of the request has left: there was no connection, or it
    broke while it was being encrypted. An error of TLS alone says nothing: one may come in the middle of an answer.
    """
    import requests
    import urllib3

    kinds = (requests.ConnectTimeout, requests.exceptions.ProxyError, requests.exceptions.InvalidURL)
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return (
        isinstance(error, (*kinds, ConnectionRefusedError))
        or isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)
        or "do_handshake" in _frames(error)
    )


def _frames(error: BaseException) -> set[str]:
    """The names of the functions that an error, and those it came from, went through."""
    seen: set[int] = set()
    names: set[str] = set()
    left: list[Any] = [error]
    while left:
        one = left.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        left += [one.__cause__, getattr(one, "reason", None), *one.args]  # no __context__: that may be another call
        names |= {frame.f_code.co_name for frame, _ in traceback.walk_tb(one.__traceback__)}
    return names


def _is_here(address: str) -> bool:
    """Whether the host of an address is this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _revealed(value: Value) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)


def _retry_after(text: str | None) -> float | None:
    """Seconds, from a Retry-After header in either of its forms."""
    if text is None:
        return None
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
