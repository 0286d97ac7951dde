"""The pricing and transaction streams of the fake venue: a JSON object a line, and heartbeats."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from threading import Condition
from typing import Literal

from fxcarry_oanda.testing.log import Record

_LOOK = 0.05  # seconds after which a stream looks whether it is to end

Speech = Literal["all", "heartbeats", "nothing"]


class Streams:
    """What the streams of an account say, and whether they go on.

    ``speech`` is "all", "heartbeats" (nothing else comes, though things happen) or "nothing" (the line is open and
    silent). ``is_repeating`` tells each transaction twice. ``interval`` is the time between heartbeats in seconds.
    """

    def __init__(self, changed: Condition) -> None:
        self.changed = changed
        self.speech: Speech = "all"
        self.is_repeating = False
        self.interval = 5.0
        self._generation = 0

    def stop(self) -> None:
        """Cut every stream that is open."""
        with self.changed:
            self._generation += 1
            self.changed.notify_all()

    def lines(self, news: Callable[[], list[Record]], heartbeat: Callable[[], Record]) -> Iterator[bytes]:
        """A stream: what ``news`` gives each time it is asked, and heartbeats when they are due."""
        generation, beat_at = self._generation, 0.0
        while True:
            with self.changed:
                told = news()
                if not told:
                    self.changed.wait(min(_LOOK, self.interval))
                    told = news()
                if self._generation != generation:
                    raise ConnectionAbortedError
                if self.speech != "all":
                    told = []
                if self.speech != "nothing" and time.monotonic() >= beat_at:
                    told.append(heartbeat())
                    beat_at = time.monotonic() + self.interval
            yield b"".join(json.dumps(record).encode() + b"\n" for record in told)
