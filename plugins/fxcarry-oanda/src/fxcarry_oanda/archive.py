"""The broker's financing rates, kept a day at a time: OANDA publishes today's only."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from fxcarry_oanda.words import Terms

_LOG = logging.getLogger("fxcarry.oanda")
_COLUMNS = ("trade_date", "instrument", "long_rate", "short_rate", "days_charged")


class Archive:
    """A CSV file with a line for each instrument and trade date: annual decimals, > 0 received by the holder, and the
    days charged from Monday to Sunday. A day that is in the file is left as it was first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: str | None = None

    def keep(self, day: date, terms: Iterable[Terms]) -> None:
        """Add a day's rates. A file that cannot be written is told in the log, and nothing else stops for it."""
        if self._last == str(day):
            return
        try:
            if str(day) not in self._days():
                is_new = not self.path.exists() or not self.path.stat().st_size
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", newline="", encoding="utf-8") as file:
                    lines = csv.writer(file, lineterminator="\n")
                    if is_new:
                        lines.writerow(_COLUMNS)
                    lines.writerows(_row(day, one) for one in terms)
        except OSError as error:
            _LOG.error("the financing rates of %s are not kept in %s: %s", day, self.path, error)
        else:
            self._last = str(day)

    def _days(self) -> set[str]:
        if not self.path.exists():
            return set()
        with self.path.open(newline="", encoding="utf-8") as file:
            return {row["trade_date"] for row in csv.DictReader(file)}


def _row(day: date, one: Terms) -> tuple[str, ...]:
    days = "" if one.days is None else " ".join(str(one.days.get(weekday, 0)) for weekday in range(7))
    rates = ("" if rate is None else f"{rate:f}" for rate in (one.long_rate, one.short_rate))
    return (str(day), str(one.pair), *rates, days)
