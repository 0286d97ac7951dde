"""fxcarry.journal.lock: one engine per account, however the one before ended, and a fence for one that hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from fxcarry.errors import JournalError, JournalLocked
from fxcarry.journal import Holder, JournalLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


ENGINE = """
    import os, sys, time
    from fxcarry.errors import JournalLocked
    from fxcarry.journal import JournalLock

    lock = JournalLock(sys.argv[1])
    try:
        print("token", lock.acquire(), flush=True)
    except JournalLocked as error:
        print("refused", error.fields.get("pid"), flush=True)
        sys.exit()
"""


@contextmanager
def engine(path: Path, code: str = "time.sleep(60)") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that took the lock, and what it said."""
    whole = textwrap.dedent(ENGINE) + textwrap.dedent(code)
    process = subprocess.Popen([sys.executable, "-c", whole, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def test_a_second_engine_is_refused_with_the_pid_of_the_first(path: Path) -> None:
    with engine(path) as (process, said):
        assert said.startswith("token ")
        lock = JournalLock(path)
        with pytest.raises(JournalLocked, match=f"the account is traded by process {process.pid} on ") as caught:
            lock.acquire()
        assert caught.value.fields["pid"] == process.pid
        assert "stop that one first" in caught.value.hint
        holder = lock.holder()
        assert holder is not None
        assert holder.is_alive()
        with pytest.raises(JournalLocked, match="is not held"):
            lock.check()
        with engine(path) as (_, second):
            assert second == f"refused {process.pid}"


def test_the_lock_ends_with_its_process_however_that_ends(path: Path) -> None:
    with engine(path) as (process, _):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        lock = JournalLock(path)
        dead = lock.holder()
        assert dead is not None
        assert (dead.pid, dead.is_alive()) == (process.pid, False)
        lock.acquire()
        assert lock.holder() == Holder.me()
        lock.check()
        lock.release()
    with engine(path, "") as (process, said):
        assert said.startswith("token ")
        process.wait()
        JournalLock(path).acquire()


def test_it_is_released_and_taken_again_with_a_larger_token(path: Path) -> None:
    tokens = []
    for _ in range(3):
        with JournalLock(path) as lock:
            lock.check()
            assert lock.token is not None
            tokens.append(lock.token)
        assert lock.holder() is None
        with pytest.raises(JournalLocked, match="is not held"):
            lock.check()
    assert tokens == sorted(set(tokens))


def test_it_excludes_within_a_process_too(path: Path) -> None:
    with JournalLock(path) as lock:
        with pytest.raises(JournalLocked, match=f"process {os.getpid()} on"):
            JournalLock(path).acquire()
        with pytest.raises(JournalLocked, match="by this very object"):
            lock.acquire()
        lock.check()
        with JournalLock(path.with_name("other.db")) as other:
            other.check()


def test_a_pid_that_was_used_again_means_nothing(path: Path) -> None:
    """The file names a process that is alive, but began at another time: it never had the lock."""
    other = attrs.evolve(Holder.me(), started="long ago")
    assert not other.is_alive()
    assert not other.kill()
    lock = JournalLock(path)
    lock.path.write_text(json.dumps(attrs.asdict(other)))
    lock.acquire()
    lock.check()
    assert lock.holder() == Holder.me()


@pytest.mark.parametrize("text", ["", "nonsense", '{"pid": 1}', "[]"])
def test_a_lock_file_that_says_nothing_is_no_obstacle(path: Path, text: str) -> None:
    lock = JournalLock(path)
    lock.path.write_text(text)
    assert lock.holder() is None
    lock.acquire()
    lock.check()


def test_a_holder_on_another_host_is_never_called_alive_or_killed() -> None:
    far = attrs.evolve(Holder.me(), host="elsewhere")
    assert not far.is_alive()
    assert not far.kill()


def test_a_seizure_shuts_the_engine_out_and_the_next_engine_shuts_that_out(path: Path) -> None:
    with JournalLock(path) as running:
        emergency = JournalLock(path)
        running.check()
        assert running.token is not None
        assert emergency.seize() > running.token
        emergency.check()
        with pytest.raises(JournalLocked, match="another process took over the account") as caught:
            running.check()
        assert caught.value.fields == {"token": running.token, "newest": emergency.token}
        second = JournalLock(path)
        second.seize()
        with pytest.raises(JournalLocked, match="took over"):
            emergency.check()
    with JournalLock(path) as fresh:
        fresh.check()
        with pytest.raises(JournalLocked, match="took over"):
            second.check()


def test_a_stopped_engine_is_shut_out_without_waiting_and_can_be_killed(path: Path) -> None:
    code = """
        sys.stdin.readline()
        while True:
            try:
                lock.check()
            except JournalLocked:
                print("shut out", flush=True)
                break
            time.sleep(0.01)
        time.sleep(60)
    """
    whole = textwrap.dedent(ENGINE) + textwrap.dedent(code)
    process = subprocess.Popen(
        [sys.executable, "-c", whole, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        process.stdout.readline()
        process.stdin.write("go\n")
        process.stdin.flush()
        os.kill(process.pid, signal.SIGSTOP)
        emergency = JournalLock(path)
        began = time.monotonic()
        emergency.seize()
        assert time.monotonic() - began < 10  # to wait for it would take for ever
        emergency.check()
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout.readline() == "shut out\n"
        os.kill(process.pid, signal.SIGSTOP)
        holder = emergency.holder()
        assert holder is not None
        assert holder.pid == process.pid
        assert holder.kill()  # a stopped process obeys SIGKILL too
        assert process.wait(10) == -signal.SIGKILL
        assert not holder.kill()
        emergency.check()
        emergency.acquire()
        emergency.check()
    finally:
        process.kill()
        process.communicate()


def test_no_two_seizures_get_the_same_token(path: Path) -> None:
    def seize(_: int) -> int:
        return JournalLock(path).seize()

    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(seize, range(64)))
    assert len(set(tokens)) == 64
    fence = JournalLock(path).fence
    assert fence.stat().st_size == max(tokens)
    lines = fence.read_text().splitlines()
    assert len(lines) == 64
    assert all(json.loads(line)["pid"] == os.getpid() for line in lines)  # who took it, for the record


def test_a_child_does_not_keep_the_lock_of_a_dead_engine(path: Path) -> None:
    code = """
        child = os.fork()
        if child == 0:
            try:
                lock.check()
            except JournalLocked:
                os.write(1, b"child may not send\\n")
            time.sleep(10)
            os._exit(0)
        os.write(1, b"child %d\\n" % child)
        time.sleep(60)
    """
    with engine(path, code) as (process, said):
        assert said.startswith("token ")
        assert process.stdout is not None
        lines = sorted(process.stdout.readline().strip() for _ in range(2))
        child = int(lines[0].split()[1])
        assert lines[1] == "child may not send"
        try:
            with pytest.raises(JournalLocked, match=f"process {process.pid} on"):
                JournalLock(path).acquire()
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            with JournalLock(path) as lock:
                lock.check()
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_file_that_was_removed_or_replaced_stops_the_engine(path: Path) -> None:
    with JournalLock(path) as lock:
        lock.check()
        lock.path.unlink()
        with pytest.raises(JournalLocked, match="cannot be seen any more"):
            lock.check()
        lock.path.touch()
        with pytest.raises(JournalLocked, match="took over"):
            lock.check()
    with JournalLock(path) as lock:
        lock.fence.unlink()
        with pytest.raises(JournalLocked, match="nothing was sent"):
            lock.check()


@pytest.mark.parametrize("name", ["acquire", "seize"])
def test_a_place_where_nothing_can_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    lock = JournalLock(tmp_path / "none" / "journal.db")
    with pytest.raises(JournalError, match="cannot be written: No such file") as caught:
        getattr(lock, name)()
    assert not isinstance(caught.value, JournalLocked)
    assert str(lock.path) == caught.value.fields["path"]


def test_a_full_disk_leaves_nothing_locked(path: Path) -> None:
    lock = JournalLock(path)
    lock.fence.symlink_to("/dev/full")
    with pytest.raises(JournalError, match="No space left"):
        lock.acquire()
    with pytest.raises(JournalLocked, match="is not held"):
        lock.check()
    lock.fence.unlink()
    JournalLock(path).acquire()


def test_a_process_of_somebody_else_cannot_be_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("signal.pidfd_send_signal", refuse)
    with pytest.raises(JournalError, match="may not be killed"):
        Holder.me().kill()


def test_a_check_is_cheap(path: Path) -> None:
    with JournalLock(path) as lock:
        began = time.process_time()
        for _ in range(1_000):
            lock.check()
        assert time.process_time() - began < 1  # about 10 ms: far less than an order takes
