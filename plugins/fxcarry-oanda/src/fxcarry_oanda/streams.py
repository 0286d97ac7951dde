"""OANDA's streams: a thread each that listens, notices silence, and connects again.

A stream may lose lines and never says so. Prices are used only while it is heard; transactions are read from the
account's log where the stream's own ids show that one is missing, heartbeats included.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from fxcarry.errors import FxCarryError
from fxcarry_oanda.client import Client
from fxcarry_oanda.log import Log
from fxcarry_oanda.words import instant, own_name

_LOG = logging.getLogger("fxcarry.oanda")
_LONGEST_WAIT = 30.0  # seconds between attempts to connect; the first is after _FIRST_WAIT
_FIRST_WAIT = 0.25


class _Stream:
    """One stream in a thread of its own."""

    def __init__(self, client: Client, path: str, params: Mapping[str, str] | None = None) -> None:
        self._client, self._path, self._params = client, path, params
        self._is_stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._heard: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether a line, a heartbeat at least, was heard lately."""
        heard = self._heard
        return heard is not None and time.monotonic() - heard < self._client.silence

    def start(self) -> None:
        """Begin to listen, unless it does."""
        if self._thread is None or not self._thread.is_alive():
            self._is_stopped.clear()
            self._thread = threading.Thread(target=self._run, name=f"oanda {self._path}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End, at the next line or the silence that would be noticed."""
        self._is_stopped.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._client.silence + 1)

    def _run(self) -> None:
        wait = _FIRST_WAIT
        while not self._is_stopped.is_set():
            try:
                with self._client.stream(self._path, self._params) as lines:
                    self._opened()
                    for line in lines:
                        if self._is_stopped.is_set():
                            return
                        self._take(json.loads(line, parse_float=Decimal))
                        self._heard, wait = time.monotonic(), _FIRST_WAIT
            except (FxCarryError, ValueError, KeyError) as error:
                _LOG.warning("the stream %s is connected again in %.1f s: %s", self._path, wait, error)
            finally:
                self._heard = None
                self._closed()
            self._is_stopped.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _opened(self) -> None:
        """The stream has answered; its first line is still to come."""

    def _closed(self) -> None:
        """The stream is no more."""

    def _take(self, one: Mapping[str, Any]) -> None:
        raise NotImplementedError


class TransactionStream(_Stream):
    """The account's transactions as they happen, into its log. What was missed meanwhile is read first."""

    def __init__(self, client: Client, log: Log) -> None:
        super().__init__(client, "/transactions/stream")
        self._log = log

    def _opened(self) -> None:
        self._log.catch_up()

    def _take(self, one: Mapping[str, Any]) -> None:
        self._log.hear(one)


class PriceStream(_Stream):
    """The last price of each instrument, while the stream is heard."""

    def __init__(self, client: Client, instruments: Sequence[str]) -> None:
        super().__init__(client, "/pricing/stream", {"instruments": ",".join(instruments)})
        self._lock = threading.Lock()
        self._last: dict[str, tuple[Decimal, Decimal, datetime]] = {}

    def prices(self) -> dict[str, tuple[Decimal, Decimal, datetime]]:
        """Bid, ask and instant by instrument; nothing where the stream is not heard."""
        with self._lock:
            return dict(self._last) if self.is_live else {}

    def _closed(self) -> None:
        with self._lock:
            self._last.clear()

    def _take(self, one: Mapping[str, Any]) -> None:
        if one["type"] == "PRICE" and one.get("bids") and one.get("asks"):
            with self._lock:
                bid, ask = Decimal(one["bids"][0]["price"]), Decimal(one["asks"][0]["price"])
                self._last[own_name(one["instrument"])] = bid, ask, instant(one["time"])
