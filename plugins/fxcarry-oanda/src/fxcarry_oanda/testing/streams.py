"""The pricing and transaction streams of the fake venue: a JSON object a line, and heartbeats."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from threading import Condition

from fxcarry_oanda.testing.log import Record

_LOOK = 0.05  # seconds after which a stream looks whether it is to end


class Streams:
    """What the streams of an account say, and whether they go on.

    ``are_held_back``: heartbeats come and nothing else, though things happen. ``are_silent``: the lines are open and
    nothing comes. ``are_repeating``: each transaction is told twice. ``interval``: seconds between heartbeats.
    """

    def __init__(self, changed: Condition) -> None:
        self.changed = changed
        self.are_held_back = False
        self.are_silent = False
        self.are_repeating = False
        self.interval = 0.05
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
                if self.are_held_back or self.are_silent:
                    told = []
                if not self.are_silent and time.monotonic() >= beat_at:
                    told.append(heartbeat())
                    beat_at = time.monotonic() + self.interval
            yield b"".join(json.dumps(record).encode() + b"\n" for record in told)
