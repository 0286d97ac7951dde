"""The trial registry: every configuration ever run, so that a good result can be deflated by how many were tried.

A JSON Lines file, one line a trial, only ever appended to. Importing this module, making a registry and reading one
write nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from fxcarry import __version__, statistics
from fxcarry.errors import ConfigError, DataError
from fxcarry.statistics import Returns

fcntl: Any
try:
    fcntl = import_module("fcntl")
except ImportError:  # Windows has none
    fcntl = None

_PATIENCE = 10.0  # seconds to wait for another process
_HINT = "set FXCARRY_TRIALS to a file you may write"


def default_path() -> Path:
    """The file named by the environment variable ``FXCARRY_TRIALS``, else ``~/.fxcarry/trials.jsonl``."""
    named = os.environ.get("FXCARRY_TRIALS", "").strip()
    return Path(named).expanduser() if named else Path.home() / ".fxcarry" / "trials.jsonl"


def family_of(configuration: Mapping[str, Any]) -> str:
    """What a trial is deflated against: ``"USD: AUD,CAD,…"``, its account currency and its universe in order.

    Trials in one family look for profit in the same returns, so the best of them is a best of many. Another universe or
    account currency is another question. The rules, costs and dates do not divide families: trying them is trying.
    Settings without a universe or account currency share the family ``"?: "`` or that of what they have.
    """
    universe = configuration.get("universe") or ()
    members = universe.split(",") if isinstance(universe, str) else universe
    return f"{configuration.get('account_currency', '?')}: {','.join(sorted(str(c).strip() for c in members))}"


@attrs.frozen(kw_only=True)
class Trial:
    """One configuration and what came of it: ``sharpe`` per period of which a year has ``periods``, from ``n`` returns.

    ``key`` is the SHA-256 of the configuration as canonical JSON. ``skew`` and ``kurtosis`` (normal = 3) are of the
    population. The three are None where the returns had no volatility. ``recorded_at`` is aware UTC, ``version``
    fxcarry's own.
    """

    key: str
    name: str
    configuration: Mapping[str, Any]
    n: int
    sharpe: float | None
    skew: float | None
    kurtosis: float | None
    periods: float
    recorded_at: datetime
    version: str

    @property
    def family(self) -> str:
        """:func:`family_of` its configuration."""
        return family_of(self.configuration)


@attrs.frozen
class TrialRegistry:
    """The trials kept in one file, :func:`default_path` unless told. Several processes may record at once.

    A trial is a configuration: recorded again it counts once, and its latest figures stand. Reading raises DataError
    naming a line that is not a trial. An unfinished last line, which a crash in the middle of writing leaves, is
    skipped with a note in ``notes`` and removed by the next recording. Raises ConfigError where the file cannot be
    read or written.
    """

    path: Path = attrs.field(factory=default_path, converter=Path)

    def record(self, configuration: Mapping[str, Any], returns: Returns, periods: float, *, name: str = "") -> Trial:
        """Append a trial; returns what was recorded.

        ``configuration`` is whatever defines the run, as plain JSON (2 and 2.0 are the same); ``returns`` are simple
        returns of which a year has ``periods``; ``name`` is for people, by default ``configuration["strategy"]``.
        Returns that never move are a trial like any other, without a Sharpe ratio.
        """
        plain = _canonical(configuration, "configuration")
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        ratio = statistics.sharpe(returns, 1)
        statistics.sharpe(returns, periods)  # refuses periods that no year has
        trial = Trial(
            key=hashlib.sha256(text.encode()).hexdigest(),
            name=name or str(plain.get("strategy", "")),
            configuration=plain,
            n=len(returns),
            sharpe=None if math.isnan(ratio) else ratio,
            skew=None if math.isnan(ratio) else statistics.skewness(returns),
            kurtosis=None if math.isnan(ratio) else statistics.kurtosis(returns),
            periods=float(periods),
            recorded_at=datetime.now(UTC),
            version=__version__,
        )
        fields = {**attrs.asdict(trial), "recorded_at": trial.recorded_at.isoformat()}
        self._append(json.dumps(fields, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        return trial

    def trials(self, family: str | None = None) -> list[Trial]:
        """The trials, of one :func:`family <family_of>` or all, in the order first recorded, each with its latest
        figures. Empty where there is no file yet."""
        latest = {trial.key: trial for trial in self._read()[0]}
        return [t for t in latest.values() if family in (None, t.family)]

    def count(self, family: str | None = None) -> int:
        """How many configurations were tried."""
        return len(self.trials(family))

    def sharpes(self, periods: float, family: str | None = None) -> list[float]:
        """The trials' Sharpe ratios per period of which a year has ``periods``; those that never moved are left out."""
        return [t.sharpe * math.sqrt(t.periods / periods) for t in self.trials(family) if t.sharpe is not None]

    def variance(self, periods: float, family: str | None = None) -> float | None:
        """Sample variance of :meth:`sharpes`, for :func:`fxcarry.statistics.deflated_sharpe`; None for fewer than
        two."""
        ratios = self.sharpes(periods, family)
        return float(np.var(ratios, ddof=1)) if len(ratios) > 1 else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the file as it is now."""
        return self._read()[1]

    def _read(self) -> tuple[list[Trial], tuple[str, ...]]:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return [], ()
        except OSError as error:
            raise ConfigError(f"the trials in {self.path} cannot be read: {error.strerror}", hint=_HINT) from error
        lines = data.split(b"\n")
        found: list[Trial] = []
        for number, line in enumerate(lines, 1):
            try:
                if line:
                    found.append(_trial(line))
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):  # no newline after it
                    return found, (f"{self.path}: line {number} is unfinished and was skipped",)
                raise DataError(
                    f"{self.path}, line {number}, is not a trial: {error!r}",
                    hint="restore the file from a copy, or delete that line: its trial then no longer counts",
                    fields={"path": str(self.path), "line": number},
                ) from error
        return found, ()

    def _append(self, line: bytes) -> None:
        """One write of a whole line at the end, under a lock; an unfinished last line is removed before."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path) as file:
                size = os.fstat(file).st_size
                whole = _whole(file, size)
                if whole < 0:
                    line = b"\n" + line  # complete, only its newline is missing
                elif whole < size:
                    os.ftruncate(file, whole)
                before = os.fstat(file).st_size
                if os.write(file, line) != len(line):
                    os.ftruncate(file, before)
                    raise OSError(0, "the disk is full")
        except OSError as error:
            raise ConfigError(f"no trial can be recorded in {self.path}: {error.strerror}", hint=_HINT) from error


def _whole(file: int, size: int) -> int:
    """How many bytes of the file are whole lines; -1 where the last line is a trial that lacks only its newline."""
    tail, start = b"", size
    while start and b"\n" not in tail:
        step = min(65536, start)
        start -= step
        os.lseek(file, start, os.SEEK_SET)
        tail = os.read(file, step) + tail
    last = tail[tail.rfind(b"\n") + 1 :]
    if last:
        try:
            _trial(last)
        except (ValueError, KeyError, TypeError):
            return size - len(last)
        return -1
    return size


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file open for reading and appending, for this process alone."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)  # closing the file unlocks it
            yield file
        else:
            with _lock_file(path.with_name(path.name + ".lock")):
                yield file
    finally:
        os.close(file)


@contextmanager
def _lock_file(path: Path) -> Iterator[None]:
    """Where the system has no file locks: a file that only one process can create."""
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            break
        except (FileExistsError, PermissionError) as error:  # Windows refuses while the other one deletes it
            if time.monotonic() > give_up:
                raise ConfigError(
                    f"{path} has been there for {_PATIENCE:g} seconds", hint="delete it if no other fxcarry is running"
                ) from error
            time.sleep(0.005)
    try:
        yield
    finally:
        path.unlink()


def _trial(line: bytes) -> Trial:
    """A line as a trial; ValueError, KeyError or TypeError where it is none."""
    fields = json.loads(line)
    trial = Trial(**{**fields, "recorded_at": datetime.fromisoformat(fields["recorded_at"])})
    numbers = (trial.n, trial.periods, *((trial.sharpe,) if trial.sharpe is not None else ()))
    if not (isinstance(trial.configuration, dict) and isinstance(trial.key, str) and trial.recorded_at.tzinfo):
        raise ValueError("its key, configuration or recorded_at")
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers) or trial.periods <= 0:
        raise ValueError("its n, periods or sharpe")
    return trial


def _canonical(value: Any, where: str) -> Any:
    """Plain JSON of which equal settings have one spelling: tuples are lists, whole floats are integers."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.floating | np.integer) and math.isfinite(value):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _canonical(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise ConfigError(
        f"{where} is {value!r}", hint="a configuration is plain JSON: text, finite numbers, lists, tables"
    )
