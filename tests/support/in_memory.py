"""``tmp_path`` in memory, for tests whose point is not the disk: a conftest.py or a test module imports it by name.

What a process wrote before it was killed is in the kernel's page cache, on a disk or not; only a power failure tells
the two apart. SQLite waits for a disk after every commit, and these tests commit thousands of times.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

MEMORY = Path("/dev/shm")
ROOM = 64 << 20  # a container may have little


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder of the test's own, in memory where the system has room for it there; it is gone after the test."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM:
        yield tmp_path
        return
    with TemporaryDirectory(dir=MEMORY, prefix="fxcarry-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
