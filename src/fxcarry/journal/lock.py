"""One engine per account: an exclusive lock beside the journal, and a fence that shuts out whoever had it before.

The lock is one of the operating system: it ends with the process that holds it, however that ends, and a pid that was
used again means nothing. The fence is a file that only grows, a line each time somebody takes the account; its length
is the token. Taking it needs no lock, so that a process that hangs anywhere cannot prevent it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from fxcarry.errors import ConfigError, JournalError, JournalLocked

_TRIES, _PAUSE = 10, 0.02  # a holder that has only just begun may not have written its name yet


@attrs.frozen
class Holder:
    """Who holds a lock: the process, when it began (in the operating system's own count, "" where it keeps none), and
    on which host.
    """

    pid: int
    started: str
    host: str

    @classmethod
    def me(cls) -> Self:
        """This process."""
        return cls(os.getpid(), _started(os.getpid()), socket.gethostname())

    def is_alive(self) -> bool:
        """Whether that very process still runs on this host; another one with its pid does not count."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _started(self.pid) == self.started

    def kill(self) -> bool:
        """Kill that very process with SIGKILL, which a stopped one obeys too; False where it no longer runs.

        JournalError where it is not ours to kill. Call this only after :meth:`JournalLock.seize`.
        """
        opened = getattr(os, "pidfd_open", None)
        try:
            handle = None if opened is None else opened(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.is_alive():
                return False
            if handle is None:
                os.kill(self.pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(handle, signal.SIGKILL)  # this process and no other, even if it ends now
        except ProcessLookupError:
            return False
        except PermissionError as error:
            raise JournalError(f"process {self.pid} may not be killed", hint="use the account it runs under") from error
        finally:
            if handle is not None:
                os.close(handle)
        return True


class JournalLock:
    """The right to send orders for the account of a journal.

    :meth:`acquire` it for as long as an engine runs, and :meth:`check` before every order. An emergency in another
    process calls :meth:`seize` instead: from then on the engine's checks fail.
    """

    def __init__(self, journal_path: str | Path) -> None:
        self.path = Path(f"{journal_path}.lock")
        self.fence = Path(f"{journal_path}.fence")
        self.token: int | None = None
        self._file: int | None = None
        self._owner = 0

    def acquire(self) -> int:
        """Take the lock and a new token. Raises JournalLocked, naming the holder, where another process has it."""
        if self._file is not None:
            raise JournalLocked(f"{self.path} is held by this very object")
        for attempt in range(_TRIES):
            with self._explained():
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if self._flock(file):
                break
            os.close(file)
            holder = self.holder()
            if (holder is not None and holder.is_alive()) or attempt == _TRIES - 1:
                raise self._refused(holder)
            time.sleep(_PAUSE)
        self._file, self._owner = file, os.getpid()
        try:
            with self._explained():
                os.ftruncate(file, 0)
                os.pwrite(file, json.dumps(attrs.asdict(Holder.me())).encode() + b"\n", 0)
                os.fsync(file)
            self.token = self._raise_fence()
        except BaseException:
            self.release()
            raise
        os.register_at_fork(after_in_child=_forgetting(weakref.ref(self)))
        return self.token

    def seize(self) -> int:
        """Take a new token without the lock: every earlier holder's :meth:`check` fails from now on.

        This never waits. A holder that hangs between its check and its send is beyond any token: ``holder().kill()``.
        """
        self.token = self._raise_fence()
        return self.token

    def check(self) -> None:
        """Raise JournalLocked unless the account is still ours; to be called before every send."""
        if self.token is None or (self._file is not None and self._owner != os.getpid()):
            raise JournalLocked(f"{self.path} is not held", hint="acquire it first")
        try:
            newest = os.stat(self.fence).st_size
            is_there = self._file is None or os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except OSError as error:
            raise JournalLocked(
                f"the lock of the journal cannot be seen any more: {error.strerror}: {error.filename}",
                hint="nothing was sent; restart the engine",
            ) from error
        if newest != self.token or not is_there:
            raise JournalLocked(
                f"another process took over the account ({self.fence} has token {newest}, ours is {self.token})",
                hint="nothing was sent; this engine must stop",
                fields={"token": self.token, "newest": newest},
            )

    def holder(self) -> Holder | None:
        """Who took the lock last and has not released it, alive or not; None where nobody."""
        try:
            return Holder(**json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def release(self) -> None:
        """Give the lock back. The token stays void for good."""
        file, self._file, self.token = self._file, None, None
        if file is not None:
            if self._owner == os.getpid():
                with contextlib.suppress(OSError):  # the name on a lock nobody holds misleads no one for long
                    os.ftruncate(file, 0)
            os.close(file)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _raise_fence(self) -> int:
        line = f"{json.dumps(attrs.asdict(Holder.me()))}\n".encode()
        with self._explained():
            file = os.open(self.fence, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, line)
                os.fsync(file)
                return os.lseek(file, 0, os.SEEK_CUR)  # where this line ended: no two writers get the same
            finally:
                os.close(file)

    def _flock(self, file: int) -> bool:
        try:
            import fcntl
        except ImportError as error:
            os.close(file)
            raise ConfigError("this system has no file locks that end with a process", hint="use Linux or macOS") from (
                error
            )
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            os.close(file)
            raise JournalError(
                f"{self.path} cannot be locked: {error.strerror}", hint="keep the journal on a local disk"
            ) from error
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(file))  # else somebody replaced the file just now
        except FileNotFoundError:
            return False

    def _refused(self, holder: Holder | None) -> JournalLocked:
        who = "a process that did not say its name" if holder is None else f"process {holder.pid} on {holder.host}"
        return JournalLocked(
            f"the account is traded by {who} ({self.path})",
            hint="one engine per account: stop that one first",
            fields={} if holder is None else attrs.asdict(holder),
        )

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except OSError as error:
            raise JournalError(
                f"the lock {error.filename or self.path} cannot be written: {error.strerror}",
                hint="check the folder's permissions and the disk's space; nothing was sent",
                fields={"path": str(self.path)},
            ) from error


def _forgetting(lock: weakref.ref[JournalLock]) -> Callable[[], None]:
    """A child is not the engine: were its copy of the file left open, it would keep the lock when the engine dies."""

    def forget() -> None:
        held = lock()
        if held is not None:
            held.release()

    return forget


def _started(pid: int) -> str:
    """When a process began, in clock ticks since boot, with the boot it was in; "" where the system does not say.

    One that has ended and that nobody has waited for yet ("Z") began never: it is no process any more.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "ended" if state == "Z" else f"{boot}/{rest[18]}"
