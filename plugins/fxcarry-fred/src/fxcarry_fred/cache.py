"""Observations kept in a folder, one JSON file a series: what was read once need not be read again. No key is in it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import attrs

from fxcarry.errors import ConfigError
from fxcarry_fred.client import Observation


@attrs.frozen
class Kept:
    """Observations of a series, and when they were read."""

    fetched: datetime
    rows: tuple[Observation, ...]


class Cache:
    """The folder. ConfigError where it cannot be written."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder).expanduser()

    def get(self, name: str) -> Kept | None:
        """What is kept under a name; None where there is nothing that can be read."""
        try:
            said = json.loads((self._folder / f"{name}.json").read_text("utf-8"))
            return Kept(
                datetime.fromisoformat(said["fetched"]),
                tuple(Observation(date.fromisoformat(o), date.fromisoformat(r), v) for o, r, v in said["rows"]),
            )
        except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: it is read from FRED again
            return None

    def put(self, name: str, fetched: datetime, rows: Sequence[Observation]) -> None:
        """Keep observations, in the place of what was kept before: all of them, or none where it fails."""
        table = [(str(row.observed), str(row.released), row.value) for row in rows]
        path = self._folder / f"{name}.json"
        part = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({"fetched": fetched.isoformat(), "rows": table}), "utf-8")
            part.replace(path)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written: {error.strerror or error}", hint="see cache under [feed]"
            ) from error
