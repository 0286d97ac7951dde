"""Files on disk: all of a run or none of it, never half."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import EACCES, EISDIR, ENOTDIR
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fxcarry.errors import ConfigError
from fxcarry.report.page import page
from fxcarry.report.text import summary

if TYPE_CHECKING:
    import pandas as pd

    from fxcarry.backtest import BacktestResult

FILES = ("nav.csv", "weights.csv", "trades.csv", "summary.json", "report.html")
"""What :func:`write_files` writes, no more and no less."""


def write_files(
    result: BacktestResult,
    others: Mapping[str, BacktestResult],
    folder: str | Path,
    *,
    card: Mapping[str, Any] | None = None,
    crash: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run as five files into ``folder``, which is made if need be, and return it.

    ``nav.csv``: date, nav and the day's signed spot, carry, cost, translation and rounding in account currency, which
    sum to the change of nav (on the first row: from the opening cash). ``weights.csv``: date and a column a currency,
    net exposure as a fraction of NAV. ``trades.csv``: the fills. ``summary.json``: :func:`~fxcarry.report.summary` as
    strict JSON, with ``card`` (:func:`fxcarry.evidence.report_card`) in it. ``report.html``: the page, with ``others``
    (the variants), ``card`` and ``crash`` (:func:`fxcarry.stress.crash_panel`) in it.

    Everything is made beside ``folder`` and moved in when it is complete: an interrupted run leaves the files of the
    run before, or none. Raises ConfigError where that is not possible.
    """
    target = Path(folder)
    check_folder(target)
    with _explained(target):
        real = target.resolve()
        for name in FILES:
            if (real / name).is_dir():
                raise IsADirectoryError(EISDIR, f"{name} in it is a folder")
        with _staging(real) as staging:
            _write_nav(result, staging / "nav.csv")
            _write_table(result.weights, staging / "weights.csv")
            _write_trades(result, staging / "trades.csv")
            _write(
                staging / "summary.json", json.dumps(summary(result, others, card), indent=2, allow_nan=False) + "\n"
            )
            _write(
                staging / "report.html",
                page([result], {result.strategy: others}, {result.strategy: card}, {result.strategy: crash}),
            )
            real.mkdir(exist_ok=True)
            _move(staging, real)
    return target


def write_html(
    results: Sequence[BacktestResult],
    path: str | Path,
    others: Mapping[str, Mapping[str, BacktestResult]] | None = None,
    *,
    cards: Mapping[str, Mapping[str, Any] | None] | None = None,
    crashes: Mapping[str, Mapping[str, Any] | None] | None = None,
) -> Path:
    """Write one self-contained HTML page about one or more runs and return its path.

    ``others`` are the variants of each strategy by its name (see :func:`fxcarry.backtest.variants`), ``cards`` their
    :func:`~fxcarry.evidence.report_card` and ``crashes`` their :func:`~fxcarry.stress.crash_panel`. The page needs no
    script and no other file, and follows the reader's light or dark theme. The file appears complete or not at all.
    Raises ConfigError without results or where the file cannot be written.
    """
    return write_page(page(results, others or {}, cards or {}, crashes or {}), path)


def write_page(text: str, path: str | Path) -> Path:
    """Write the text of a page to ``path``, complete or not at all; ConfigError where it cannot be written."""
    target = Path(path)
    with _explained(target):
        real = target.resolve()
        with _staging(real) as staging:
            _write(staging / real.name, text)
            os.replace(staging / real.name, real)
    return target


def check_folder(folder: str | Path) -> None:
    """Raise ConfigError unless files can be written into ``folder``, which need not exist yet. Changes nothing."""
    target = Path(folder)
    with _explained(target):
        nearest = target.resolve()
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.is_dir():
            raise NotADirectoryError(ENOTDIR, f"{nearest} is a file")
        if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(EACCES, f"no permission to read and write in {nearest}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What the system refuses, as a ConfigError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"cannot write to {path}: {error.strerror or error}",
            hint="choose another place, or remove what is in the way",
            fields={"path": str(path)},
        ) from error


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target``, on the same disk; removed again, whatever happens."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as staging:
        yield Path(staging)


def _move(staging: Path, folder: Path) -> None:
    try:
        for name in FILES:
            os.replace(staging / name, folder / name)
    except BaseException:  # interrupted between two moves: finish, so that no files of two runs stand side by side
        for name in FILES:
            if (staging / name).exists():
                os.replace(staging / name, folder / name)
        raise


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_nav(result: BacktestResult, path: Path) -> None:
    table = result.attribution.copy()
    table.insert(0, "nav", result.nav)
    _write_table(table, path)


def _write_table(table: pd.DataFrame, path: Path) -> None:
    """Dated numbers with six decimals; ``-0.000000`` is zero."""
    row = ",".join(["%s"] + ["%.6f"] * table.shape[1])
    dates = table.index.strftime("%Y-%m-%d")  # type: ignore[attr-defined]
    lines = [row % (day, *values) for day, values in zip(dates, (table.to_numpy().round(6) + 0.0).tolist())]
    _write(path, "\n".join([",".join(["date", *table.columns]), *lines, ""]))


def _write_trades(result: BacktestResult, path: Path) -> None:
    result.trades.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ", lineterminator="\n", encoding="utf-8")
