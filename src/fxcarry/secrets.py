"""Secrets: references that never print, a log filter that masks what was revealed, and ``.env`` files."""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from fxcarry.errors import ConfigError

SOURCES = frozenset({"env", "file", "keyring"})
"""Where a secret may be kept."""

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?|\'([^\']*)\'\s*(?:#.*)?|((?!["\']).*)')
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_MASK = "********"


class Secret:
    """A reference to a secret: where it is, not what it is. It never prints.

    In TOML ``{ env = "NAME" }``, ``{ file = "path" }`` (relative to the working directory, ``~`` is home) or
    ``{ keyring = "service/user" }``. The value is read when :meth:`reveal` is called, every time.
    """

    __slots__ = ("_revealed", "source", "where")

    def __init__(self, source: Literal["env", "file", "keyring"], where: str) -> None:
        self.source = source
        self.where = where
        self._revealed: set[str] = set()

    @classmethod
    def parse(cls, value: object) -> Secret:
        """From a table with one key. Raises ConfigError, without repeating the value, for anything else."""
        if isinstance(value, Mapping) and len(value) == 1:
            [(source, where)] = value.items()
            if source in SOURCES and isinstance(where, str) and where.strip():
                if source == "keyring" and not all(where.rpartition("/")):
                    raise ConfigError("a keyring entry is service/user", hint='{ keyring = "service/user" }')
                return cls(source, where)
        literal = "a secret cannot be written here" if isinstance(value, str | int) else "this is no secret"
        raise ConfigError(
            literal, hint='say where it is: { env = "NAME" }, { file = "…" } or { keyring = "service/user" }'
        )

    def reveal(self) -> str:
        """The secret itself. Raises ConfigError, naming the variable, file or entry, where it is missing or empty."""
        value = {"env": self._from_env, "file": self._from_file, "keyring": self._from_keyring}[self.source]()
        if not value:
            raise ConfigError(
                f"the secret in {self.source} {self.where!r} is missing or empty",
                hint={"env": f"set the environment variable {self.where}"}.get(self.source, "store it there"),
                fields={"source": self.source, "where": self.where},
            )
        self._revealed.add(value)
        return value

    @property
    def revealed(self) -> frozenset[str]:
        """The values handed out so far; :class:`SecretFilter` removes them from the log."""
        return frozenset(self._revealed)

    def _from_env(self) -> str:
        return os.environ.get(self.where, "")

    def _from_file(self) -> str:
        path = Path(self.where).expanduser()
        return read_text(path, "the secret file").rstrip("\r\n")

    def _from_keyring(self) -> str:
        try:
            keyring: Any = importlib.import_module("keyring")
        except ImportError as error:
            raise ConfigError(
                f"the secret in keyring {self.where!r} needs keyring", hint="pip install keyring"
            ) from error
        service, _, user = self.where.rpartition("/")
        try:
            return keyring.get_password(service, user) or ""
        except keyring.errors.KeyringError as error:
            raise ConfigError(f"keyring {self.where!r} cannot be read: {error}", hint="unlock the keyring") from error

    def __repr__(self) -> str:
        return f"Secret({self.source}={self.where!r}, value={_MASK!r})"

    def __str__(self) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self.source, self.where) == (other.source, other.where)

    def __hash__(self) -> int:
        return hash((self.source, self.where))

    def __reduce__(self) -> tuple[type[Secret], tuple[str, str]]:
        return Secret, (self.source, self.where)


class SecretFilter(logging.Filter):
    """Replaces every revealed value of ``secrets`` in log records: message, arguments, traceback and extra fields.

    Add it to the handlers (a filter on a logger does not see its children's records).
    """

    def __init__(self, secrets: Collection[Secret]) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def redact(self, text: str) -> str:
        """``text`` with every revealed secret masked."""
        values = {value for secret in self._secrets for value in secret.revealed}
        for value in sorted(values, key=len, reverse=True):
            text = text.replace(value, _MASK)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record in place; every record passes."""
        if any(secret.revealed for secret in self._secrets):
            try:
                record.msg, record.args = record.getMessage(), None
            except (TypeError, ValueError, KeyError):  # the arguments do not fit the message: logging will say so
                record.msg, record.args = f"{record.msg} {record.args!r}", None
            if record.exc_info:
                record.exc_text = logging.Formatter().formatException(record.exc_info)
            for key, value in list(vars(record).items()):
                if isinstance(value, str):
                    setattr(record, key, self.redact(value))
        return True


def read_text(path: Path, what: str) -> str:
    """A UTF-8 text file; ConfigError calls it ``what``."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{what} {path} does not exist", hint="check the path, or make one with: fxcarry init"
        ) from error
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}", hint="check its permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} {path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from error


def read_env_file(path: str | Path) -> dict[str, str]:
    """The variables of a ``.env`` file: ``KEY=VALUE`` lines, with optional ``export``, quotes and ``#`` comments.

    Double quotes know the escapes ``\\n \\t \\" \\\\``, single quotes none; an unquoted value ends at `` #``.
    Nothing is put into the environment. Raises ConfigError with the line number, never with the value.
    """
    variables = {}
    for number, line in enumerate(read_text(Path(path), "the environment file").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name = name.strip()
        if not equals or not _ENV_NAME.fullmatch(name):
            raise ConfigError(f"{path}, line {number}: this is not KEY=VALUE", hint="comments begin with #")
        match = _ENV_VALUE.fullmatch(value.strip())
        if match is None:
            raise ConfigError(f"{path}, line {number}: the quotes of {name} do not close", hint="close them")
        double, single, bare = match.groups()
        if double is not None:
            variables[name] = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), double)
        else:
            variables[name] = single if single is not None else re.sub(r"(^|\s)#.*", "", bare).strip()
    return variables
