"""J7: what 10,000 alerts in a minute cost the engine, with a channel that hangs and one that fails.

The looks of J5, ten a second for a minute, three times: without an alert, with 10,000 alerts (one in 100 critical) to
one good channel, and with the same to a channel that hangs, one that fails and, as their fallback, a good one. Times
every look with the alerts that are told in it. Prints one JSON line: p50 and p99 in milliseconds, what arrived, and how
much memory the process took more.

    python benchmarks/j7.py
"""

from __future__ import annotations

import json
import logging
import resource
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fxcarry.alerts import AlertKind, AlertSettings, Route
from fxcarry.build import build, paper_broker
from fxcarry.config import load_config
from fxcarry.daemon import replay_instants
from fxcarry.errors import NotifierError
from fxcarry.journal import SqliteJournal
from fxcarry.model import Alert
from fxcarry.plugins import load

LOOKS, EVERY, ALERTS = 600, 0.1, 10_000


class Good:
    """Takes everything at once."""

    name = "good"

    def __init__(self) -> None:
        self.critical, self.others, self.held_back = 0, 0, 0

    def notify(self, alert: Alert) -> None:
        self.held_back += alert.fields.get("count", 0) if alert.kind == AlertKind.HELD_BACK else 0
        self.critical += alert.severity == "critical"
        self.others += alert.severity != "critical" and alert.kind != AlertKind.HELD_BACK


class Failing:
    """Takes nothing."""

    name = "failing"

    def notify(self, alert: Alert) -> None:
        raise NotifierError("the service is down")


class Hanging:
    """Never comes back."""

    name = "hanging"

    def notify(self, alert: Alert) -> None:
        threading.Event().wait()


def run(channels: list[Any], routes: tuple[Route, ...], each: int) -> tuple[dict[str, float], int]:
    """A minute of looks, with ``each`` alerts a look."""
    settings = load_config(None, load())
    with tempfile.TemporaryDirectory() as folder:
        broker = paper_broker(settings, Path(folder) / "paper.sqlite")
        journal = SqliteJournal(Path(folder) / "journal.sqlite", account_id=broker.account_id)
        engine = build(settings, strategy="baseline", journal=journal, broker=broker, notifiers=channels,
                       alerting=AlertSettings(routes=routes))  # fmt: skip
        assert engine.feed is not None
        history = engine.feed.history(None, None).in_currency("USD", engine.universe)
        ends = datetime(2007, 6, 1, tzinfo=UTC), datetime(2010, 3, 31, tzinfo=UTC)
        instants = replay_instants(history, *ends, "monthly")[:LOOKS]
        assert len(instants) == LOOKS
        times, told, began = [], 0, time.perf_counter()
        for n, at in enumerate(instants):
            time.sleep(max(0.0, began + n * EVERY - time.perf_counter()))
            start = time.perf_counter()
            for _ in range(min(each, ALERTS - told) if each else 0):
                is_critical = told % 100 == 0
                kind = AlertKind.ORDER_UNKNOWN if is_critical else AlertKind.FEED_ERROR
                engine.alerts.tell(at, kind, "critical" if is_critical else "info", f"alert {told} of a flood")
                told += 1
            engine.step(at)
            times.append(1000 * (time.perf_counter() - start))
        engine.alerts.close(5.0)
        journal.close()
    found = np.array(times)
    return {f"p{q}": round(float(np.percentile(found, q)), 2) for q in (50, 99)}, told


def main() -> None:
    """Run the job and print its line."""
    logging.getLogger("fxcarry").setLevel(logging.CRITICAL + 1)
    each = -(-ALERTS // LOOKS)
    quiet, _ = run([], (), 0)
    healthy, _ = run([Good()], (), each)
    before, good = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Good()
    routes = (Route(severities=("critical",), to=("hanging", "failing"), then=("good",)), Route(to=("good",)))
    broken, told = run([Hanging(), Failing(), good], routes, each)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    arrived = {"critical": good.critical, "others": good.others, "held_back": good.held_back}
    print(json.dumps({"job": "j7", "unit": "ms", "alerts": told, "no_alerts": quiet, "one_good_channel": healthy,
                      "hanging_and_failing": broken, "arrived": arrived, "more_memory_kb": more}))  # fmt: skip


if __name__ == "__main__":
    main()
