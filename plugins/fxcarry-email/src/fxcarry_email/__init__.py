"""Alerts of fxcarry by e-mail. Importing this opens no connection."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import attrs

from fxcarry.errors import ConfigError
from fxcarry.plugins import Component, hookimpl
from fxcarry.secrets import Secret
from fxcarry_email.addresses import parse

if TYPE_CHECKING:
    from fxcarry_email.notifier import EmailNotifier

__all__ = ["EmailConfig", "EmailNotifier", "fxcarry_components"]

_PORTS = {"starttls": 587, "ssl": 465, "none": 25}


@attrs.frozen(kw_only=True)
class EmailConfig:
    """The mail server ``host`` and whom to write to.

    ``port`` follows from ``security`` where it is left out: 587 with "starttls", 465 with "ssl", 25 with "none".
    ``user`` and ``password`` come together or not at all. ``sender`` and each of ``to`` are addresses, with a name
    where you like: ``"Müller <ops@example.com>"``. ``ca_file`` (PEM) holds the authorities to trust instead of the
    system's. ``timeout`` is in seconds, for each step of the talk; the whole of it ends within four of them.

    Raises ConfigError where one of these is not so, and for a login that would go unencrypted over a network.
    """

    host: str
    sender: str
    to: tuple[str, ...]
    port: int | None = None
    security: Literal["starttls", "ssl", "none"] = "starttls"
    user: str = ""
    password: Secret | None = None
    ca_file: str = ""
    timeout: float = 10.0

    def __attrs_post_init__(self) -> None:
        if not self.host or not self.host.isascii() or not self.host.isprintable() or set(self.host) & set(" /@[]"):
            raise ConfigError(f"host {self.host!r} is no name of a mail server", hint='like "smtp.example.com"')
        if self.security not in _PORTS:
            raise ConfigError(f"security {self.security!r} is not known", hint='"starttls", "ssl" or "none"')
        if self.port is not None and not 0 < self.port < 65536:
            raise ConfigError(f"port {self.port} is none", hint="1 to 65535, or leave it out")
        if not 0 < self.timeout <= 600:
            raise ConfigError(f"timeout {self.timeout} is not > 0 and at most 600", hint="seconds, 10 is usual")
        parse(self.sender, "sender")
        if not self.to:
            raise ConfigError(f"to is {self.to!r}: nobody to write to", hint='a list: to = ["me@example.com"]')
        for address in self.to:
            parse(address, "to")
        if bool(self.user) != (self.password is not None):
            given, missing = ("user", "password") if self.user else ("password", "user")
            raise ConfigError(f"there is a {given} and no {missing}", hint="give both, or neither")
        if "\0" in self.user or "\r" in self.user or "\n" in self.user:
            raise ConfigError(f"user {self.user!r} has a character no user has", hint="one line of text")
        if self.security == "none" and self.user and not _is_loopback(self.host):
            raise ConfigError(
                f'security = "none" would send the password to {self.host} for everybody to read',
                hint='security = "starttls" (port 587) or "ssl" (port 465)',
            )

    @property
    def used_port(self) -> int:
        """``port``, or what ``security`` makes of it."""
        return self.port or _PORTS[self.security]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _notifier(config: EmailConfig) -> EmailNotifier:
    from fxcarry_email.notifier import EmailNotifier

    return EmailNotifier(config)


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="notifier",
            name="email",
            config=EmailConfig,
            factory=_notifier,
            summary="alerts by e-mail over SMTP, encrypted; a digest has its report attached",
            suite="fxcarry_email.testing.suites:EmailNotifierSuite",
        ),
    ]


def __getattr__(name: str) -> Any:
    if name == "EmailNotifier":
        from fxcarry_email.notifier import EmailNotifier

        return EmailNotifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
