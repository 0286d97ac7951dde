"""J6: what importing costs. Fresh processes, taken alternately, against ``import numpy``.

Each line gives the median of ``--repeats`` processes after one that warms the disk: ``import_s`` is the statement
itself and ``import_rss_mib`` the peak resident memory (Linux: VmHWM), both measured inside the process; ``wall`` is the
whole process from outside, the interpreter's start included; ``ratio`` divides wall by that of numpy's process of the
same round. ``fxcarry --help`` is the installed command; its ``import_s`` is importing ``fxcarry.cli``, running
``--help`` and nothing else.

    python benchmarks/j6.py [--repeats 15]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

HELP = "from fxcarry.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
JOBS = {
    "numpy": "import numpy",
    "fxcarry": "import fxcarry",
    "fxcarry --help": HELP,
}
PROBE = """
import sys, time
t = time.perf_counter()
{code}
t = time.perf_counter() - t
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(t, int(peak.split()[1]) / 1024, file=sys.stderr)
"""


def inside(code: str) -> tuple[float, float]:
    """Seconds the statements take in a fresh process, and its peak resident MiB."""
    run = subprocess.run([sys.executable, "-c", PROBE.format(code=code)], capture_output=True, text=True, check=True)
    seconds, mib = run.stderr.split()
    return float(seconds), float(mib)


def outside(peer: str) -> float:
    """Seconds of a whole process: the installed command, or the interpreter with the statement."""
    command = [str(Path(sys.executable).with_name("fxcarry")), "--help"]
    arguments = command if peer.endswith("--help") else [sys.executable, "-c", JOBS[peer]]
    began = time.perf_counter()
    subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="J6: import time and memory")
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    import_s: dict[str, list[float]] = {peer: [] for peer in JOBS}
    memory: dict[str, list[float]] = {peer: [] for peer in JOBS}
    wall: dict[str, list[float]] = {peer: [] for peer in JOBS}
    for round_ in range(repeats + 1):
        for peer, code in JOBS.items():
            seconds, mib = inside(code)
            whole = outside(peer)
            if round_:  # the first is a warm-up
                import_s[peer].append(seconds)
                memory[peer].append(mib)
                wall[peer].append(whole)
    for peer in JOBS:
        line = {
            "peer": peer,
            "job": "J6",
            "import_s": round(statistics.median(import_s[peer]), 4),
            "import_rss_mib": round(statistics.median(memory[peer]), 1),
            "wall": round(statistics.median(wall[peer]), 4),
            "ratio": round(statistics.median(a / b for a, b in zip(wall[peer], wall["numpy"])), 3),
            "repeats": repeats,
            "version": version("numpy" if peer == "numpy" else "fxcarry"),
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
