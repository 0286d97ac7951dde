"""The calls of OANDA's v20 API, and what their failures mean.

Every call tells one of four things apart: an answer; BrokerUnavailable, where nothing was accepted or nothing could be
read; OrderOutcomeUnknown, where something may have been changed; ConfigError, where the token or the account is wrong
and no repetition helps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from fxcarry.errors import BrokerUnavailable, ConfigError, OrderOutcomeUnknown
from fxcarry.http import Answer, Bucket, Http, Method, NoAnswer, NotSent
from fxcarry.secrets import Secret

HOSTS = {
    "practice": ("https://api-fxpractice.oanda.com", "https://stream-fxpractice.oanda.com"),
    "live": ("https://api-fxtrade.oanda.com", "https://stream-fxtrade.oanda.com"),
}
"""REST and stream host by environment."""

SILENCE = 10.0  # seconds; a heartbeat comes every 5


class Client:
    """One account at OANDA, spoken to over one keep-alive session.

    ``timeout`` and ``silence`` are the seconds after which an answer and a stream are given up. At most ``per_second``
    calls are made, of the 120 that OANDA allows an address.
    """

    def __init__(
        self,
        *,
        account: str,
        token: Secret,
        url: str,
        stream_url: str,
        timeout: float = 10.0,
        silence: float = SILENCE,
        per_second: int = 100,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.account = account
        self.silence = silence
        self._home = f"/v3/accounts/{quote(account, safe='')}"
        headers = {"Accept-Datetime-Format": "RFC3339"}
        limits = [Bucket(per_second, 1.0)]
        self._rest = Http(url, bearer=token, headers=headers, timeout=timeout, limits=limits, attempts=3, sleep=sleep)
        self._streams = Http(stream_url, bearer=token, headers=headers, limits=[Bucket(2, 1.0)], attempts=1)

    def __repr__(self) -> str:
        return f"Client({self.account!r} at {self._rest.url!r})"

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        self._rest.close()
        self._streams.close()

    def accounts(self) -> list[str]:
        """The accounts that the token gives access to."""
        said, _ = self._read("/v3/accounts")
        return [account["id"] for account in said["accounts"]]

    def read(self, path: str, params: Mapping[str, str] | None = None) -> tuple[Mapping[str, Any], datetime | None]:
        """What a path of the account says, and the venue's clock as its answer states it."""
        return self._read(self._home + path, params)

    def find(self, path: str) -> Mapping[str, Any] | None:
        """As :meth:`read`, None where there is no such thing."""
        answer = self._get(self._home + path, None)
        return None if answer.status == 404 else self._good(answer)

    def candles(self, instrument: str, params: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Candles of one instrument."""
        found: list[Mapping[str, Any]] = self._read(f"/v3/instruments/{instrument}/candles", params)[0]["candles"]
        return found

    def change(self, method: Method, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Mapping[str, Any]]:
        """Ask for a change, once: the status, below 500, and what was said.

        BrokerUnavailable: it was not accepted. OrderOutcomeUnknown: it may have been done.
        """
        try:
            answer = self._rest.send(method, self._home + path, body)
            if answer.status in (401, 403):
                raise BrokerUnavailable(f"OANDA refused the token ({answer.status}): nothing was accepted")
            said: Mapping[str, Any] = answer.json()
        except NotSent as error:
            raise BrokerUnavailable(error.message, hint=error.hint) from None
        except NoAnswer as error:
            raise OrderOutcomeUnknown(error.message, hint="the account's transactions will tell") from None
        return answer.status, said

    @contextmanager
    def stream(self, path: str, params: Mapping[str, str] | None = None) -> Iterator[Iterator[bytes]]:
        """The lines of a stream of the account; NoAnswer or NotSent where it breaks or is silent."""
        with self._streams.stream(self._home + path, params, silence=self.silence) as lines:
            yield lines

    def _get(self, path: str, params: Mapping[str, str] | None) -> Answer:
        try:
            return self._rest.get(path, params)
        except (NotSent, NoAnswer) as error:
            raise BrokerUnavailable(f"OANDA cannot be read: {error.message}", hint=error.hint) from None

    def _read(self, path: str, params: Mapping[str, str] | None = None) -> tuple[Mapping[str, Any], datetime | None]:
        answer = self._get(path, params)
        return self._good(answer), _clock(answer.headers.get("Date"))

    def _good(self, answer: Answer) -> Mapping[str, Any]:
        """The JSON of a good answer."""
        if answer.status == 401:
            raise ConfigError(
                f"OANDA at {self._rest.url} refused the token (401)",
                hint="is it revoked, or of the other environment? A practice token works on practice accounts only",
            )
        if answer.status in (403, 404):
            raise ConfigError(
                f"OANDA does not give access to account {self.account} ({answer.status}): {answer.text(200)}",
                hint="write the account as OANDA shows it: 101-004-1234567-001",
            )
        try:
            said = answer.json()
        except NoAnswer as error:
            raise BrokerUnavailable(f"OANDA cannot be read: {error.message}", hint=error.hint) from None
        if not answer.is_good:
            raise BrokerUnavailable(f"OANDA refused to answer ({answer.status}): {answer.text(200)}")
        found: Mapping[str, Any] = said
        return found


def _clock(text: str | None) -> datetime | None:
    try:
        return None if text is None else parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None
