"""An SMTP server on loopback that keeps what it was sent and fails where it is told to."""

from __future__ import annotations

import asyncio
import email
import importlib
import ssl
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Literal, Self

import attrs

from fxcarry.errors import ConfigError

Step = Literal["connect", "EHLO", "STARTTLS", "AUTH", "NOOP", "MAIL", "RCPT", "DATA", "body", "end", "QUIT"]
_STEPS = ("EHLO", "STARTTLS", "AUTH", "NOOP", "MAIL", "RCPT", "DATA", "QUIT")
_SILENT = ("drop", "hang", "trickle")
_TRICKLE = 0.02  # seconds between two bytes


@attrs.frozen
class Mail:
    """A mail as it arrived: the envelope, the message, and its bytes."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    data: bytes

    @property
    def text(self) -> str:
        """Subject and text part, as a reader sees them."""
        body = self.message.get_body(("plain",))
        said = body.get_content() if body is not None else ""
        return f"{self.message['Subject']}\n{said}".replace("\r\n", "\n")

    @property
    def html(self) -> str:
        """The HTML part."""
        body = self.message.get_body(("html",))
        return str(body.get_content()) if body is not None else ""


@attrs.define
class _Fault:
    step: Step
    how: str
    left: int | None
    only: str


class FakeMailServer:
    """A mail server at ``host`` and ``port``, a context manager. ``mails`` are what it took, oldest first.

    With ``user`` it wants a login before a mail. Its certificate is for localhost and 127.0.0.1, from an authority of
    its own: clients trust it with ``ca_file``. ``size`` is the largest mail it takes, in bytes, 0 = it does not say.
    ``days`` is how long the certificate is good for.

    Raises ConfigError where aiosmtpd or trustme is not installed.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        security: Literal["starttls", "ssl", "none"] = "starttls",
        user: str = "",
        password: str = "",
        mechanisms: Sequence[str] = ("PLAIN", "LOGIN"),
        size: int = 0,
        days: float = 365.0,
    ) -> None:
        self._smtp = _need("aiosmtpd.smtp")
        self._trust = _need("trustme") if security != "none" else None
        self.security, self.user, self.password = security, user, password
        self.mechanisms, self.size, self.days = tuple(mechanisms), size, days
        self.port = 0
        self.ca_file = ""
        self.mails: list[Mail] = []
        self.connections = 0
        self._faults: list[_Fault] = []
        self._open: set[Any] = set()

    def fail(self, step: Step, how: str, *, times: int | None = None, only: str = "") -> None:
        """At a step, ``times`` times or always: answer ``how`` ("451 busy"), or "drop" the connection, or "hang".

        "trickle" answers a byte at a time and never ends. ``only`` is for steps whose argument has that in it (one
        recipient). The step "body" is in the middle of a mail; "end" is after it, where what is no refusal keeps it.
        """
        self._faults.append(_Fault(step, how, times, only))

    def heal(self) -> None:
        """Fail no more."""
        self._faults.clear()

    def texts(self) -> list[str]:
        """Subject and text of each mail, oldest first."""
        return [mail.text for mail in self.mails]

    def __enter__(self) -> Self:
        context = self._context()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        served = self._loop.create_server(
            lambda: self._protocol(context), self.host, 0, ssl=context if self.security == "ssl" else None
        )
        self._server = asyncio.run_coroutine_threadsafe(served, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self.ca_file:
            Path(self.ca_file).unlink()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _context(self) -> ssl.SSLContext | None:
        if self._trust is None:
            return None
        authority = self._trust.CA()
        until = datetime.now(UTC) + timedelta(days=self.days)
        with tempfile.NamedTemporaryFile(suffix=".pem", delete=False) as file:
            file.write(authority.cert_pem.bytes())
        self.ca_file = file.name
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", self.host, not_after=until).configure_cert(context)
        return context

    def _protocol(self, context: ssl.SSLContext | None) -> Any:
        """A protocol of aiosmtpd for one connection; the class is made here, for aiosmtpd is imported late."""
        fake, smtp = self, self._smtp

        class Session(smtp.Session):  # type: ignore[misc, name-defined]
            login_data = None  # to set it is a warning otherwise, at every login

        class Protocol(smtp.SMTP):  # type: ignore[misc, name-defined]
            def connection_made(self, transport: Any) -> None:
                fake._open.add(transport)
                super().connection_made(transport)

            def _create_session(self) -> Any:
                return Session(self.loop)

            async def _handle_client(self) -> None:
                fake.connections += 1
                fault = fake._fault("connect", "")
                if fault is None:
                    await super()._handle_client()
                else:
                    await self.fail(fault)
                    self.transport.close()

            async def fail(self, how: str) -> None:
                if how == "drop":
                    self.transport.abort()
                if how in ("drop", "hang"):
                    await asyncio.sleep(3600)
                while how == "trickle":
                    self._writer.write(b"2")
                    await self._writer.drain()
                    await asyncio.sleep(_TRICKLE)
                await self.push(how.encode())

        def step(name: str) -> Any:
            usual = getattr(smtp.SMTP, f"smtp_{name}")

            async def answer(self: Any, arg: str | None) -> None:
                fault = fake._fault(name, arg or "")
                if fault is not None:
                    await self.fail(fault)
                elif name == "MAIL" and fake.user and not self.session.authenticated:
                    await self.push("530 5.7.0 Authentication required")
                elif name == "DATA" and (half := fake._fault("body", "")) is not None:
                    await self.push("354 go on")
                    await self._reader.readuntil(b"\r\n")
                    await self.fail(half)
                else:
                    await usual(self, arg)

            return answer

        for name in _STEPS:
            setattr(Protocol, f"smtp_{name}", step(name))
        return Protocol(
            _Handler(self),
            loop=self._loop,
            hostname="fake.example",
            data_size_limit=self.size or None,
            tls_context=context if self.security == "starttls" else None,
            authenticator=self._login,
            auth_require_tls=self.security == "starttls",
            auth_exclude_mechanism={"PLAIN", "LOGIN"} - set(self.mechanisms),
        )

    def _login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        given = (data.login.decode(), data.password.decode())
        return self._smtp.AuthResult(success=given == (self.user, self.password), handled=False)

    def _fault(self, step: str, argument: str) -> str | None:
        for fault in self._faults:
            if fault.step == step and fault.only in argument and fault.left != 0:
                if fault.left is not None:
                    fault.left -= 1
                return fault.how
        return None

    async def _end(self) -> None:
        self._server.close()
        for transport in self._open:
            transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)


class _Handler:
    """What aiosmtpd asks once a mail is complete."""

    def __init__(self, fake: FakeMailServer) -> None:
        self._fake = fake

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> bytes:
        how = self._fake._fault("end", "")
        if how is None or how[:1] not in ("4", "5"):
            data = bytes(envelope.original_content)
            message = email.message_from_bytes(data, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self._fake.mails.append(Mail(envelope.mail_from, tuple(envelope.rcpt_tos), message, data))
        if how in _SILENT:
            await server.fail(how)
        return b"250 2.0.0 taken" if how is None else how.encode()


def _need(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ConfigError(
            f"the fake mail server needs {package}", hint="pip install 'fxcarry-email[testing]'"
        ) from error
