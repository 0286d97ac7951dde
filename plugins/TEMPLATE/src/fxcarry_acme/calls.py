"""The calls of Acme's API, and what their failures mean.

A call ends in one of four ways: with an answer; with BrokerUnavailable, where nothing was accepted or nothing could be
read; with OrderOutcomeUnknown, where something may have been changed; with ConfigError, where the token is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fxcarry.errors import BrokerUnavailable, ConfigError, OrderOutcomeUnknown, OrderRejected
from fxcarry.http import Http, Method, NoAnswer, NotSent
from fxcarry.secrets import Secret


class Calls:
    """One session with Acme. ``Http`` sets time-outs, waits as a 429 asks for, and repeats only what is safe."""

    def __init__(self, url: str, token: Secret, timeout: float) -> None:
        self._http = Http(url, bearer=token, timeout=timeout)

    def __repr__(self) -> str:
        return f"Calls({self._http.url!r})"  # never the token

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        self._http.close()

    def read(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """What a path says, asked again where that failed: a read changes nothing."""
        try:
            answer = self._http.get(path, params)
            if answer.status in (401, 403):
                raise ConfigError(f"Acme refused the token ({answer.status})", hint="is it revoked?")
            if not answer.is_good:
                raise BrokerUnavailable(f"Acme did not answer {path} ({answer.status}): {answer.text(200)}")
            return answer.json()
        except (NotSent, NoAnswer) as error:
            raise BrokerUnavailable(f"Acme cannot be read: {error.message}", hint=error.hint) from None

    def change(self, method: Method, path: str, body: Any = None) -> Any:
        """Ask for a change, once: only what was certainly not sent is sent again.

        NotSent (no connection, 429): nothing was accepted. NoAnswer (time-out, reset, 5xx): it may have been done.
        """
        try:
            answer = self._http.send(method, path, body)
            if answer.status in (401, 403):
                raise BrokerUnavailable(f"Acme refused the token ({answer.status}): nothing was accepted")
            said = answer.json()
        except NotSent as error:
            raise BrokerUnavailable(error.message, hint=error.hint) from None
        except NoAnswer as error:
            raise OrderOutcomeUnknown(error.message, hint="the account's orders will tell") from None
        if not answer.is_good:
            raise OrderRejected(f"Acme refused it ({answer.status}): {said.get('reason', 'no reason given')}")
        return said
