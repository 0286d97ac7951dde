"""The calls of Alpha Vantage's API, and what its failures mean.

It answers failures with HTTP 200 and a text. An answer without the key that its data are under is a failure, whatever
else it says; the text only chooses the error. Some texts repeat the API key: it is masked before anyone sees them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fxcarry.errors import ConfigError, DataError, MissingDataError, StaleDataError
from fxcarry.http import Bucket, DailyQuota, Http, NoAnswer, NotSent, QuotaExceeded
from fxcarry.secrets import Secret

URL = "https://www.alphavantage.co"
_LIMIT = re.compile(r"rate limit|call frequency|spread(ing)? out", re.IGNORECASE)
_ECHO = re.compile(r"(?i)(api key as )[^\s.,;]+")
_SHOWN = 300  # characters of a text that an error repeats
_PAUSES = {True: timedelta(hours=1), False: timedelta(minutes=1)}  # after a refusal, by whether it is the day's


class NoCallsLeft(StaleDataError):
    """No call may be made now: what is known stays as old as it is."""


class PremiumOnly(ConfigError):
    """The key's plan does not include what was asked."""


def now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


class Client:
    """Calls with one key, counted by the day in the file ``quota`` and limited by the minute and the second.

    A server that says its limit is reached is not asked again for an hour where it is the limit of the day, else for a
    minute.
    """

    def __init__(
        self,
        *,
        key: Secret,
        quota: Path,
        url: str = URL,
        calls_a_day: int = 25,
        calls_a_minute: int = 5,
        per_second: int = 1,
        timeout: float = 30.0,
        clock: Callable[[], datetime] = now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._key, self._clock = key, clock
        self.quota = DailyQuota(quota, calls_a_day, now=clock)
        limits = (self.quota, Bucket(calls_a_minute, 60.0, sleep=sleep), Bucket(per_second, 1.0, sleep=sleep))
        self._http = Http(url, params={"apikey": key}, timeout=timeout, attempts=2, limits=limits, sleep=sleep)
        self._paused: tuple[datetime, str] | None = None  # until when, and what the server said

    def __repr__(self) -> str:
        return f"Client({self._http.url!r})"

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        self._http.close()

    def ask(self, function: str, params: Mapping[str, str], data: str) -> Mapping[str, Any]:
        """What the API says, which has the key ``data``.

        Raises NoCallsLeft where a limit is reached, ConfigError where the key is wrong, PremiumOnly where its plan is,
        MissingDataError where there is no such thing, DataError where the answer is none.
        """
        if self._paused is not None and self._clock() < self._paused[0]:
            raise _limited(f"it said {self._paused[1]!r}", f"it is asked again at {_stated(self._paused[0])}")
        what = " ".join([function, *(str(value) for value in params.values())])
        try:
            answer = self._http.get("/query", {"function": function, **params})
            if not answer.is_good:
                raise DataError(
                    f"Alpha Vantage cannot be read: {what} was answered {answer.status}: {self._masked(answer.text())}",
                    hint="is there a proxy or a login page?",
                )
            said = answer.json()
        except QuotaExceeded as error:
            raise _limited(error.message, error.hint) from None
        except NotSent as error:
            if error.fields.get("status") == 429:
                raise self._pause("429, too many calls") from None
            raise DataError(
                f"Alpha Vantage cannot be reached: {self._masked(error.message)}", hint=error.hint
            ) from None
        except NoAnswer as error:
            message = self._masked(error.message)
            raise DataError(f"Alpha Vantage cannot be read: {message}", hint="it is asked again later") from None
        if isinstance(said, Mapping) and data in said:
            return said
        raise self._failure(what, said)

    def _failure(self, what: str, said: Any) -> Exception:
        """The error that an answer without data means."""
        texts = [value for value in said.values() if isinstance(value, str)] if isinstance(said, Mapping) else []
        text = self._masked(" ".join(texts))
        lower = text.lower()
        if _LIMIT.search(lower):
            return self._pause(text)
        if "premium" in lower:
            return PremiumOnly(f"{what} is not in this key's plan: {text}", hint="leave it out, or change the plan")
        if "apikey" in lower or "api key" in lower:
            return ConfigError(
                f"Alpha Vantage refused the key from {self._key.source} {self._key.where!r}: {text}",
                hint="is it complete, and yours? alphavantage.co/support gives out new ones",
            )
        if "invalid api call" in lower:
            return MissingDataError(f"Alpha Vantage has no {what}: {text}", hint="leave the currency out of currencies")
        if not said:
            return MissingDataError(f"Alpha Vantage's answer to {what} is empty", hint="it is asked again later")
        shown = text or self._masked(str(said))
        return DataError(f"Alpha Vantage's answer to {what} has no data: {shown}", hint="it is asked again later")

    def _pause(self, text: str) -> NoCallsLeft:
        text = text[:_SHOWN]
        lower = text.lower()
        is_daily = "per day" in lower and "per second" not in lower and "per minute" not in lower
        self._paused = self._clock() + _PAUSES[is_daily], text
        return _limited(f"it said {text!r}", f"it is asked again at {_stated(self._paused[0])}")

    def _masked(self, text: str) -> str:
        """``text`` without the key, in whatever case it is repeated."""
        text = self._http.masked(text)
        for value in self._key.revealed:
            if value.strip():
                text = re.sub(re.escape(value.strip()), "********", text, flags=re.IGNORECASE)
        return _ECHO.sub(r"\1********", text)[:_SHOWN]


def _limited(why: str, hint: str) -> NoCallsLeft:
    return NoCallsLeft(f"Alpha Vantage allows no call now: {why}", hint=hint)


def _stated(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
