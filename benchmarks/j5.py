"""J5: one look of the live engine through journal and paper account, without orders and with.

Replays 2007-06 to 2009-03 of the default job (nine currencies, monthly, all rules) with a journal on disk and the paper
account, and times every :meth:`Engine.step`. Prints one JSON line: p50 and p99 in milliseconds.

    python benchmarks/j5.py
"""

from __future__ import annotations

import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fxcarry.build import build, paper_broker
from fxcarry.config import load_config
from fxcarry.daemon import replay_instants
from fxcarry.journal import SqliteJournal
from fxcarry.plugins import load


def main() -> None:
    """Run the job and print its line."""
    settings = load_config(None, load())
    with tempfile.TemporaryDirectory() as folder:
        broker = paper_broker(settings, Path(folder) / "paper.sqlite")
        journal = SqliteJournal(Path(folder) / "journal.sqlite", account_id=broker.account_id)
        engine = build(settings, strategy="baseline", journal=journal, broker=broker)
        assert engine.feed is not None
        history = engine.feed.history(None, None).in_currency("USD", engine.universe)
        ends = datetime(2007, 6, 1, tzinfo=UTC), datetime(2009, 3, 31, tzinfo=UTC)
        times: dict[bool, list[float]] = {False: [], True: []}
        for at in replay_instants(history, *ends, "monthly"):
            before, began = len(journal.unresolved()), time.perf_counter()
            engine.step(at)
            spent = time.perf_counter() - began
            times[len(journal.unresolved()) > before].append(1000 * spent)
        journal.close()
    told: dict[str, Any] = {"job": "j5", "unit": "ms"}
    for has_orders, name in ((False, "without_orders"), (True, "with_orders")):
        found = np.array(times[has_orders])
        told[name] = {"n": len(found), "p50": round(float(np.percentile(found, 50)), 2),
                      "p99": round(float(np.percentile(found, 99)), 2)}  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main()
