"""The channel: a mail for each alert."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage

from fxcarry.alerts import printable
from fxcarry.errors import ConfigError, DeliveryUnknown, NotifierError
from fxcarry.model import Alert
from fxcarry_email import EmailConfig
from fxcarry_email.addresses import parse
from fxcarry_email.message import compose
from fxcarry_email.session import Busy, Deadline, Session

_LOG = logging.getLogger("fxcarry.email")
_WAITS = (0.5, 1.0)  # seconds before the second and the third try of a server that is busy
_TIMEOUTS = 4  # the whole of a call ends within so many time-outs
_SOON = 14  # days before its end that a certificate is worth a word
_MASK = "********"


class EmailNotifier:
    """Alerts as mails through one server; a connection for each. Nothing is kept, and no connection is made before."""

    name = "email"

    def __init__(
        self,
        config: EmailConfig,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config = config
        self._sender = parse(config.sender, "sender")
        self._to = [parse(address, "to") for address in config.to]
        self._where = f"{config.host}:{config.used_port}"
        self._sleep, self._now = sleep, now
        if config.ca_file:
            _trusting(config.ca_file)

    def notify(self, alert: Alert) -> None:
        """Send the mail of an alert. A server that is busy (4xx) is tried three times, with short waits.

        Where it cannot be told whether the server took the mail, it is sent once more with the same Message-ID, which
        is one mail for mail programs; DeliveryUnknown where that cannot be told either. A recipient that is refused
        while another is served is a warning in the log.
        """
        message = compose(alert, self._sender, self._to, self._now().astimezone(UTC))
        deadline = Deadline(_TIMEOUTS * self._config.timeout)
        try:
            self._send(message, deadline)
        except DeliveryUnknown as unknown:
            try:
                self._send(message, deadline)
            except DeliveryUnknown:
                raise
            except NotifierError as error:
                raise DeliveryUnknown(f"{unknown.message}; and then: {error.message}", hint=unknown.hint) from None

    def check(self) -> str:
        """Connect, encrypt, log in and leave; no mail. Says what was found, or raises NotifierError or ConfigError."""
        config = self._config
        with self._session(Deadline(_TIMEOUTS * config.timeout)) as session:
            session.look()
            parts = [self._where, _encryption(config, session.sock)]
            parts.append(f"logged in as {config.user}" if config.user else "no login")
            return ", ".join(parts) + _ending(session.sock, self._now())

    # -- inside ------------------------------------------------------------------------------------------------------

    def _send(self, message: EmailMessage, deadline: Deadline) -> None:
        data = message.as_bytes()
        for wait in (*_WAITS, None):
            try:
                with self._session(deadline) as session:
                    refused = session.hand_over(self._sender.addr_spec, [to.addr_spec for to in self._to], data)
            except Busy as error:
                if wait is None or deadline.left <= wait:
                    raise NotifierError(error.message, hint="the server is busy; it is tried again later") from None
                self._sleep(wait)
            else:
                for address, why in refused.items():
                    _LOG.warning("%s took a mail, but not for %s: %s", self._where, address, why)
                return

    @contextmanager
    def _session(self, deadline: Deadline) -> Iterator[Session]:
        """A session that is encrypted and logged in as the settings say."""
        config = self._config
        password = config.password.reveal() if config.password is not None else ""
        session = Session(self._connect(deadline), where=self._where, mask=_masking(config.user, password))
        try:
            with deadline.watching(session):
                if config.security == "ssl":
                    session.secure(_trusting(config.ca_file), config.host)
                session.greet()
                if config.security == "starttls":
                    session.start_tls(_trusting(config.ca_file), config.host)
                if config.user:
                    session.log_in(config.user, password)
                yield session
        finally:
            session.leave()

    def _connect(self, deadline: Deadline) -> socket.socket:
        if deadline.is_over:
            raise NotifierError(f"{self._where} took too long", hint="it is tried again later")
        config = self._config
        address = (config.host, config.used_port)
        try:
            sock = socket.create_connection(address, min(config.timeout, deadline.left))
        except socket.gaierror as error:
            raise NotifierError(
                f"the name {config.host} cannot be resolved: {error.strerror}", hint="check host, and the network"
            ) from None
        except OSError as error:
            raise NotifierError(
                f"{self._where} cannot be reached: {error.strerror or error}",
                hint="check host and port; many networks close port 25",
            ) from None
        sock.settimeout(config.timeout)
        return sock


def _trusting(ca_file: str) -> ssl.SSLContext:
    """TLS that trusts the authorities in ``ca_file``, or else the system's, as they are now: they are renewed."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"ca_file {ca_file!r} cannot be used: {error}", hint="a file of certificates in PEM"
        ) from None


def _masking(user: str, password: str) -> Callable[[str], str]:
    """What takes a password out of a text, also as the server was sent it, and makes the text printable."""
    forms = [password, *(b64encode(form.encode()).decode() for form in (f"\0{user}\0{password}", password))]

    def mask(text: str) -> str:
        for form in sorted(filter(None, forms if password else []), key=len, reverse=True):
            text = text.replace(form, _MASK)
        return printable(text)

    return mask


def _encryption(config: EmailConfig, sock: socket.socket | None) -> str:
    if isinstance(sock, ssl.SSLSocket):
        return f"{'STARTTLS' if config.security == 'starttls' else 'TLS'} ({sock.version()})"
    return "not encrypted"


def _ending(sock: socket.socket | None, now: datetime) -> str:
    """A word on a certificate that ends soon."""
    if not isinstance(sock, ssl.SSLSocket):
        return ""
    until = str((sock.getpeercert() or {}).get("notAfter", ""))
    if not until:
        return ""
    days = (ssl.cert_time_to_seconds(until) - now.timestamp()) / 86400
    return f"; its certificate ends in {days:.0f} days ({until})" if days < _SOON else ""
