"""What has been run, kept in a file, so that an interrupted walk-forward goes on where it stopped."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry import __version__
from fxcarry.answers import ask
from fxcarry.errors import ConfigError, DataError
from fxcarry.market import MarketHistory, MarketView
from fxcarry.model import Account, FloatArray
from fxcarry.protocols import Strategy
from fxcarry.walkforward.windows import Window

_ERROR = "error"


@attrs.frozen(eq=False)
class Track:
    """The daily returns of one configuration, by trade date."""

    day: NDArray[np.datetime64]
    returns: FloatArray


class Saved:
    """Tracks by name, each run once; in a file too, if there is one. A run that raised a DataError is kept as that.

    Of a run that is on its way the file keeps what the strategy has answered, window by window.
    """

    seconds = 1.0
    """How long after a write the next window's end is not written: a quick run has no need of it."""

    def __init__(self, path: Path | None, key: str) -> None:
        self._path, self._key = path, key
        self._errors: dict[str, DataError] = {}
        self._tracks: dict[str, Any] = {}
        self._answers: dict[str, dict[str, list[float]]] = {}
        self._written = time.monotonic()
        if path is not None:
            self._tracks, self._answers = self._read(path)

    def remembered(self, name: str, strategy: Strategy, windows: Sequence[Window]) -> Strategy:
        """The strategy, asked for each decision of the run ``name`` once: what it answered before is not asked again.

        After an interruption a run starts again, but only its arithmetic: the strategy is asked from the window on that
        was not finished.
        """
        if self._path is None:
            return strategy
        return _Remembered(strategy, self._answers.setdefault(name, {}), [w.test_end for w in windows], self._keep)

    def _keep(self) -> None:
        if self._path is not None and time.monotonic() - self._written >= self.seconds:
            self._write(self._path)

    def get(self, name: str, run: Callable[[], Track]) -> Track:
        """The track of that name, from ``run`` where it is not there yet; raises the DataError it ended in."""
        if name not in self._tracks:
            try:
                track = run()
                self._tracks[name] = {"day": [str(d) for d in track.day], "returns": track.returns.tolist()}
            except DataError as error:
                self._tracks[name] = {_ERROR: error.message, "hint": error.hint}
                self._errors[name] = error
            self._answers.pop(name, None)
            if self._path is not None:
                self._write(self._path)
        found = self._tracks[name]
        if _ERROR in found:
            raise self._errors.get(name) or DataError(found[_ERROR], hint=found["hint"])
        return Track(np.array(found["day"], "datetime64[D]"), np.array(found["returns"], float))

    def _read(self, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        hint = "name another file, or delete this one to start again"
        try:
            found = json.loads(path.read_text("utf-8"))
            key, tracks, answers = found["key"], dict(found["tracks"]), dict(found["answers"])
        except FileNotFoundError:
            return {}, {}
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is not a file of an interrupted walk-forward", hint=hint) from error
        if key != self._key:
            raise ConfigError(
                f"{path} belongs to another run: the strategy, grid, settings, data or version differ", hint=hint
            )
        return tracks, answers

    def _write(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False, encoding="utf-8") as f:
                try:
                    json.dump({"key": self._key, "tracks": self._tracks, "answers": self._answers}, f)
                    f.close()
                    os.replace(f.name, path)
                except BaseException:
                    f.close()
                    Path(f.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}", hint="name another file") from error
        self._written = time.monotonic()


class _Remembered:
    """A strategy whose answers are kept by the instant of the decision."""

    def __init__(
        self, inner: Strategy, answers: dict[str, list[float]], ends: Sequence[date], keep: Callable[[], None]
    ) -> None:
        self.inner, self._answers, self._ends, self._keep = inner, answers, ends, keep
        self._window = 0
        self.reads_account = getattr(inner, "reads_account", True)

    def __call__(self, view: MarketView, account: Account) -> Any:
        at = view.as_of.isoformat()
        if at not in self._answers:
            self._answers[at] = ask(self.inner, view, account).tolist()
        window = bisect_right(self._ends, view.as_of.date())
        if window > self._window:  # the first decision after a window's end
            self._window = window
            self._keep()
        return np.array(self._answers[at])


def key_of(settings: Mapping[str, Any], history: MarketHistory) -> str:
    """SHA-256 of everything a run depends on: settings, data and version.

    Raises ConfigError for a setting of which that cannot be known, such as a plain function.
    """
    text = json.dumps([__version__, _told(settings, "settings")], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    arrays = [history.times.astype("datetime64[ns]"), history.spot]
    arrays += [] if history.half_spread is None else [history.half_spread]
    names = [
        history.numeraire,
        history.calendar,
        str(history.interval),
        str(history.rates_verified_until),
        *history.currencies,
    ]
    for currency, series in sorted(history.rates.items()):
        names.append(f"{currency} {series.day_count}")
        arrays += [series.as_of, series.available_at, series.value]
        arrays += [] if series.until is None else [series.until]
    digest.update(json.dumps(names).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _told(value: Any, where: str) -> Any:
    """A setting as plain JSON that changes whenever it does."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _told(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_told(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if attrs.has(type(value)):
        fields = {a.name: _told(getattr(value, a.name), f"{where}.{a.name}") for a in attrs.fields(type(value))}
        return {"type": f"{type(value).__module__}.{type(value).__qualname__}", "code": _code(type(value)), **fields}
    raise ConfigError(
        f"{where} is {value!r}, of which it cannot be known whether it has changed since",
        hint="to resume a run, use attrs classes and plain settings; or leave resume out",
    )


def _code(kind: type) -> str:
    """The source of a class of somebody else's; fxcarry's own is known by its version."""
    if kind.__module__.split(".")[0] == "fxcarry":
        return ""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError) as error:
        raise ConfigError(
            f"the source of {kind.__qualname__} cannot be read", hint="put it into a file, or leave resume out"
        ) from error
