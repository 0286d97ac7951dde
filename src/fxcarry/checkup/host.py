"""The machine and the environment of the process."""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import zoneinfo
from collections.abc import Collection, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fxcarry
from fxcarry.checkup.records import Sheet
from fxcarry.errors import ConfigError
from fxcarry.secrets import Secret, read_env_file

KNOWN_VARIABLES = (
    "FXCARRY_LIVE",
    "FXCARRY_PLUGINS",
    "FXCARRY_POLICY_RATES",
    "FXCARRY_STRICT_PLUGINS",
    "FXCARRY_TRIALS",
)
"""The variables of the environment that fxcarry reads, besides those that override a key (``FXCARRY__…``)."""

SCARCE, FULL = 1_000_000_000, 100_000_000
"""Free bytes below which the disk is a warning, and a failure."""

_OVERRIDE = "FXCARRY__"
_SLACK = timedelta(minutes=5)  # what a file may be younger than the clock: file systems have clocks of their own


def look_at_machine(sheet: Sheet, folder: Path, now: datetime, files: Iterable[Path]) -> None:
    """Python, packages, time zones, the clock, the disk, and how text is written.

    ``files`` were written in the past: the clock is not before them. Nothing is left on the disk.
    """
    note = sheet.about("machine")
    with sheet.asked("machine", "python"):
        _python(sheet)
    with sheet.asked("machine", "time zones", "pip install tzdata"):
        summer = datetime(2024, 7, 1, 17, tzinfo=zoneinfo.ZoneInfo("America/New_York"))
        if summer.astimezone(UTC).hour != 21:
            raise ConfigError("the time zone data is wrong: 17:00 in New York on 2024-07-01 is 21:00 UTC")
        note("time zones", "pass", f"the trading day ends at 17:00 New York; it is {now:%Y-%m-%d %H:%M} UTC")
    with sheet.asked("machine", "clock"):
        _clock(sheet, now, files)
    for name, place in (("working directory", Path.cwd()), ("state folder", folder)):
        with sheet.asked("machine", name, "choose a folder that you may write to"):
            _disk(sheet, name, place)
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    if encoding == "utf8":
        note("text", "pass", "UTF-8")
    else:
        note("text", "warn", f"output is written as {sys.stdout.encoding}", "set PYTHONUTF8=1 or a UTF-8 locale")


def _python(sheet: Sheet) -> None:
    note = sheet.about("machine")
    [wanted] = importlib.metadata.metadata("fxcarry").get_all("Requires-Python") or [""]
    least = re.search(r">=\s*(\d+)\.(\d+)", wanted)
    is_old = least is not None and sys.version_info[:2] < (int(least[1]), int(least[2]))
    note(
        "python",
        "fail" if is_old else "pass",
        f"Python {platform.python_version()} on {platform.system()}, fxcarry {fxcarry.__version__}",
        f"fxcarry needs Python {wanted}" if is_old else "",
    )
    required = [r for r in importlib.metadata.requires("fxcarry") or () if "extra ==" not in r]
    found, missing = [], []
    for name in (re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in required):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        note("packages", "fail", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    else:
        note("packages", "pass", ", ".join(found))


def _clock(sheet: Sheet, now: datetime, files: Iterable[Path]) -> None:
    written = [path.stat().st_mtime for path in (Path(fxcarry.__file__), *files) if path.is_file()]
    last = datetime.fromtimestamp(max(written), UTC)
    if now < last - _SLACK:
        sheet.note(
            "machine",
            "clock",
            "fail",
            f"it says {now:%Y-%m-%d %H:%M} UTC, but a file of yours was written at {last:%Y-%m-%d %H:%M}",
            "set this machine's clock (NTP): ages of prices and orders are measured with it",
        )
    else:
        sheet.note("machine", "clock", "pass", f"{now:%Y-%m-%d %H:%M:%S} UTC is not before anything that is known")


def _disk(sheet: Sheet, name: str, place: Path) -> None:
    """Write into a folder, or into the one it would be made in; what is written is gone at once."""
    there = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"fxcarry")
    except OSError as error:
        raise ConfigError(f"{place} cannot be written to: {error.strerror}") from error
    free = shutil.disk_usage(there).free
    status, advice = ("pass", "") if free >= SCARCE else ("warn" if free >= FULL else "fail", "make room on the disk")
    made = "" if there == place.absolute() else " (fxcarry run makes it)"
    sheet.note("machine", name, status, f"{place}{made}: writable, {free / 1e9:,.1f} GB free", advice)  # type: ignore[arg-type]


def read_environment(sheet: Sheet, env_file: Path, environ: MutableMapping[str, str]) -> None:
    """Put the variables of the ``.env`` file into ``environ``, as every command does; what is set there already stays.

    No value is ever shown.
    """
    note = sheet.about("environment")
    with sheet.asked("environment", ".env"):
        if not os.path.lexists(env_file):
            note(".env", "skip", f"there is none in {env_file.absolute().parent}")
            return
        found = read_env_file(env_file)
        for name, value in found.items():
            environ.setdefault(name, value)
        mode = stat.S_IMODE(env_file.stat().st_mode)
        if os.name == "posix" and mode & 0o077:
            note(".env", "warn", f"others may read it (mode {mode:o})", f"chmod 600 {env_file}")
        else:
            note(".env", "pass", f"{len(found)} variables, readable by you only")


def look_at_variables(sheet: Sheet, environ: Mapping[str, str], secrets: Collection[Secret]) -> None:
    """Which of our variables are set, whether they are known, and whether every secret is there. No value is shown."""
    note = sheet.about("environment")
    own = sorted(name for name in environ if name.upper().startswith("FXCARRY_"))
    referred = {secret.where for secret in secrets if secret.source == "env"}
    overrides = [name for name in own if name.upper().startswith(_OVERRIDE)]
    unknown = [name for name in own if name not in {*overrides, *KNOWN_VARIABLES, *referred}]
    for name in unknown:
        near = difflib.get_close_matches(name.upper(), KNOWN_VARIABLES, 1, cutoff=0.75)
        advice = f"did you mean {near[0]}?" if near else "a key of the configuration has two underscores: FXCARRY__KEY"
        note(name, "warn", "is set, and nothing reads it", advice)
    known = [name for name in own if name not in unknown]
    note("variables", "pass", f"set: {', '.join(known)}" if known else "no FXCARRY variable is set")
    for secret in dict.fromkeys(secrets):
        name = f"secret {secret.source} {secret.where}"
        with sheet.asked("environment", name):
            secret.reveal()
            note(name, "pass", "is there; its value is not shown")
