"""Addresses of mail, checked before anything is written to them."""

from __future__ import annotations

import re
from email.headerregistry import Address

from fxcarry.alerts import printable
from fxcarry.errors import ConfigError

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"  # RFC 5322, 3.2.3
_LOCAL = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAMED = re.compile(r"([^<>]*?)\s*<([^<>]*)>")
_HINT = 'write it like "ops@example.com" or "Name <ops@example.com>"'


def parse(text: str, setting: str) -> Address:
    """An address, with a display name where there is one; a domain in other letters becomes its ASCII form (IDNA).

    Raises ConfigError that names the ``setting``: for a line break or another character that does not print, for what
    has no @, for a name with ``=?`` in it, and for a part before the @ that is not ASCII, which not every server takes.
    """

    def wrong(why: str, hint: str = _HINT) -> ConfigError:
        return ConfigError(f"{setting}: {text!r} {why}", hint=hint)

    if not isinstance(text, str) or printable(text) != text:
        raise wrong("has a character that does not print")
    named = _NAMED.fullmatch(text.strip())
    name, plain = (named[1].strip(), named[2].strip()) if named else ("", text.strip())
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if "=?" in name:  # would be decoded, to line breaks too
        raise wrong("has a name that is encoded already", "write the name as it is read")
    local, at, domain = plain.rpartition("@")
    if not at:
        raise wrong("is no address: there is no @ in it")
    if not local.isascii():
        raise wrong("has letters before the @ that are not ASCII", "use an address that every mail server takes")
    try:
        ascii_domain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
        is_sure = domain.isascii() or ascii_domain.encode().decode("idna") == domain.lower()  # ß would become ss
    except UnicodeError:
        is_sure = False
    if not is_sure:
        raise wrong("has a domain that cannot be written in ASCII with certainty", 'write the form with "xn--"')
    if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(ascii_domain) or len(plain) > 254:
        raise wrong("is no address")
    return Address(display_name=name, username=local, domain=ascii_domain)
