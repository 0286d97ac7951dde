"""One talk with a mail server, step by step, within a deadline.

A step that fails says whether the mail was handed over: before its last line is sent, it was certainly not.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from fxcarry.errors import DeliveryUnknown, NotifierError

_GOODBYE = 1.0  # seconds that the answer to QUIT is waited for
_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?\r?\n", re.DOTALL)
_LONGEST, _MOST = 8192, 100  # bytes of a line, lines of an answer
_SHOWN = 300  # characters of an answer that an error repeats


class Busy(NotifierError):
    """The server took nothing for now (4xx): the same may be tried again."""


class Deadline:
    """The end of a call: from then on every socket that is watched is cut."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, at least a few thousandths."""
        return max(self._end - time.monotonic(), 0.005)

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._end

    @contextmanager
    def watching(self, session: Session) -> Iterator[None]:
        """Cut the session's connection at the end, whatever it waits for."""
        timer = threading.Timer(self.left, session.cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


class Session(smtplib.SMTP):
    """A connection that speaks SMTP. ``where`` names the server in errors, ``mask`` takes secrets out of them."""

    def __init__(self, sock: socket.socket, *, where: str, mask: Callable[[str], str]) -> None:
        address = str(sock.getsockname()[0]).partition("%")[0]  # without the interface of a link-local one
        name = f"[IPv6:{address}]" if ":" in address else f"[{address}]"  # RFC 5321, 4.1.3: no name is looked up
        super().__init__(local_hostname=name)
        self.sock = sock
        self._where, self._mask = where, mask

    def cut(self) -> None:
        """End the connection from another thread. Nothing is sent in clear text where TLS was."""
        sock = self.sock
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def getreply(self) -> tuple[int, bytes]:
        """One whole answer: code and text. What ends in the middle of a line is none, whatever its beginning says.

        Raises SMTPServerDisconnected, with the connection closed, where there is none.
        """
        said = []
        try:
            if self.file is None:
                assert self.sock is not None
                self.file = self.sock.makefile("rb")
            for _ in range(_MOST):
                line = self.file.readline(_LONGEST)
                if not line.endswith(b"\n"):
                    raise smtplib.SMTPServerDisconnected("the connection ended, or a line that does not")
                match = _LINE.fullmatch(line)
                if match is None:
                    raise smtplib.SMTPServerDisconnected(f"{line[:80]!r} is no answer of a mail server")
                said.append((match[3] or b"").strip())
                if match[2] != b"-":
                    return int(match[1]), b"\n".join(said)
            raise smtplib.SMTPServerDisconnected("an answer without an end")
        except smtplib.SMTPServerDisconnected:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise smtplib.SMTPServerDisconnected(str(error)) from None

    # -- steps: each raises NotifierError, Busy for 4xx, is_final for 5xx --------------------------------------------

    def greet(self) -> None:
        """Read the banner and say EHLO."""
        with self._step("greeting"):
            self._need(self.getreply(), 220, "greeting")
        self._hello()

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Go on encrypted. A server that does not offer it is left: there is no way to go on in clear text."""
        if not self.has_extn("starttls"):
            raise NotifierError(
                f"{self._where} offers no STARTTLS; nothing is sent unencrypted",
                hint='where the server encrypts from the start (port 465), set security = "ssl"',
            )
        with self._step("STARTTLS"):
            self._need(self.docmd("STARTTLS"), 220, "STARTTLS")
            self.secure(context, host)
        self._hello()

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Encrypt the connection from here on; what was read before is forgotten."""
        if self.file is not None:
            self.file.close()
            self.file = None
        assert self.sock is not None
        with tls_errors(self._where):
            self.sock = context.wrap_socket(self.sock, server_hostname=host)

    def log_in(self, user: str, password: str) -> None:
        """AUTH PLAIN, or LOGIN where that is not offered."""
        offered = self.esmtp_features.get("auth", "").upper().split()
        with self._step("AUTH"):
            if "PLAIN" in offered:
                answer = self.docmd("AUTH", f"PLAIN {_base64(f'{chr(0)}{user}{chr(0)}{password}')}")
            elif "LOGIN" in offered:
                answer = self.docmd("AUTH", f"LOGIN {_base64(user)}")
                if answer[0] == 334:
                    answer = self.docmd(_base64(password))
            else:
                raise NotifierError(
                    f"{self._where} offers no login that is known here ({' '.join(offered) or 'none at all'})",
                    hint="PLAIN or LOGIN; leave out user and password where the server wants none",
                    fields={"is_final": True},
                )
            if answer[0] in (534, 535):
                raise NotifierError(
                    f"{self._where} refused user and password: {self._said(answer)}",
                    hint="many services want an app password here, not the one of the account",
                    fields={"is_final": True},
                )
            self._need(answer, 235, "AUTH")

    def hand_over(self, sender: str, to: Sequence[str], data: bytes) -> dict[str, str]:
        """Hand over a mail. Returns whom the server refused, and why, where it took it for somebody else.

        Raises NotifierError where it was not taken, and DeliveryUnknown where nobody can tell: the connection broke,
        or no answer came, after the mail was begun.
        """
        most = self.esmtp_features.get("size", "")
        if most.isdigit() and 0 < int(most) < len(data):
            raise NotifierError(
                f"{self._where} takes mails of {int(most):,} bytes at most, this one has {len(data):,}",
                hint="ask whoever runs the server for more",
                fields={"is_final": True},
            )
        with self._step("MAIL"):
            self._need(self.mail(sender, [f"SIZE={len(data)}"] if most else []), 250, f"the sender {sender}")
        refused = self._recipients(to)
        with self._step("DATA"):
            self._need(self.docmd("DATA"), 354, "DATA")
        try:
            self.send(re.sub(rb"(?m)^\.", b"..", data))
            self.send(b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n")
            answer = self.getreply()
            is_clear = 200 <= answer[0] < 300 or 400 <= answer[0] < 600
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryUnknown(
                f"{self._where} did not say whether it took the mail: {self._mask(str(error))}",
                hint="it may arrive",
            ) from None
        if not is_clear:
            raise DeliveryUnknown(f"{self._where} did not say whether it took the mail: {self._said(answer)}")
        self._need(answer, answer[0] if answer[0] < 300 else 250, "the mail")
        return refused

    def look(self) -> None:
        """NOOP: whether it answers."""
        with self._step("NOOP"):
            self._need(self.noop(), 250, "NOOP")

    def leave(self) -> None:
        """Say QUIT and close, whatever comes of it, within a second."""
        if self.sock is not None:
            with suppress(OSError, smtplib.SMTPException), Deadline(_GOODBYE).watching(self):
                self.quit()
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _hello(self) -> None:
        with self._step("EHLO"):
            answer = self.ehlo()
            if 500 <= answer[0] < 600:  # it knows only the old greeting, which has no extensions
                answer = self.helo()
            self._need(answer, 250, "EHLO")

    def _recipients(self, to: Sequence[str]) -> dict[str, str]:
        refused, is_busy = {}, False
        with self._step("RCPT"):
            for address in to:
                answer = self.rcpt(address)
                if answer[0] not in (250, 251, 252):
                    refused[address] = self._said(answer)
                    is_busy |= 400 <= answer[0] < 500
                    if answer[0] == 421:  # it closes the connection
                        self._need(answer, 250, f"the recipient {address}")
        if len(refused) == len(to):
            why = "; ".join(f"{address}: {said}" for address, said in refused.items())
            if is_busy:
                raise Busy(f"{self._where} takes nothing for any recipient now: {why}")
            raise NotifierError(
                f"{self._where} refused every recipient: {why}", hint="check to", fields={"is_final": True}
            )
        return refused

    def _need(self, answer: tuple[int, bytes], code: int, what: str) -> None:
        """Raise unless the server answered ``code``."""
        if answer[0] == code:
            return
        message = f"{self._where} refused {what}: {self._said(answer)}"
        if 400 <= answer[0] < 500:
            raise Busy(message)
        hint = "it wants a login, or encryption: set user and password, and security" if answer[0] == 530 else ""
        is_final = 500 <= answer[0] < 600
        raise NotifierError(message, hint=hint, fields={"is_final": True} if is_final else {})

    def _said(self, answer: tuple[int, bytes]) -> str:
        code, text = answer
        return self._mask(f"{code} {' '.join(text.decode('utf-8', 'replace').split())}")[:_SHOWN]

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, smtplib.SMTPException) as error:
            raise NotifierError(
                f"{self._where} did not get through {name}: {self._mask(str(error))}",
                hint="fxcarry check --only notifier shows whether it answers",
            ) from None


@contextmanager
def tls_errors(where: str) -> Iterator[None]:
    """What goes wrong while a connection is encrypted, as NotifierError."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise NotifierError(
            f"the certificate of {where} is not trusted: {error.verify_message}",
            hint="for a company's own authority set ca_file; the name must be that of host",
        ) from None
    except (OSError, ValueError) as error:
        raise NotifierError(
            f"{where} and this machine found no encryption: {error}",
            hint='security = "ssl" is for port 465, "starttls" for 587',
        ) from None


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")
