"""FRED's series, observations and vintage dates, with its error bodies.

It knows JSON, ``output_type`` 1 and the parameters that are about real time, dates, order and paging; what it does not
know it does not look at, as FRED does: a call with ``vintage_date`` is answered with today's values.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from fxcarry.testing import Reply, Request, WireServer

KEY = "0123456789abcdef0123456789abcdef"
_NEVER = "9999-12-31"
_MOST_VINTAGES = 2000
_DAY = timedelta(days=1)


class FakeFred:
    """Series with their vintages. ``today`` is the day it is at FRED; what is released later is not there yet.

    It does not count calls: the :class:`~fxcarry.testing.WireServer` scripts 429 ("busy") where it is wanted.
    """

    def __init__(self, *, today: date, key: str = KEY) -> None:
        self.today, self.key = today, key
        self._is_revoked = False
        self._facts: dict[str, dict[str, str]] = {}
        self._values: dict[str, dict[date, list[tuple[date, str]]]] = {}
        self._without_vintages: set[str] = set()

    def add(self, series: str, *, title: str = "", units: str = "Percent", frequency: str = "M") -> None:
        """A series without observations, or new facts about one."""
        self._facts[series] = {"title": title or series, "units": units, "frequency": frequency}
        self._values.setdefault(series, {})

    def release(self, series: str, observed: date, value: str, *, on: date) -> None:
        """A value ("." = missing) of an observation, published on a day. A second one is a revision."""
        if series not in self._facts:
            self.add(series)
        insort(self._values[series].setdefault(observed, []), (on, value))

    def forget_vintages(self, series: str) -> None:
        """FRED keeps no vintages of this series: it gives values as of today, and refuses to speak of any other day."""
        self._without_vintages.add(series)

    def remove(self, series: str) -> None:
        """There is no such series any more."""
        del self._facts[series], self._values[series]

    def revoke(self) -> None:
        """From now on no key is good."""
        self._is_revoked = True

    def serve(self) -> WireServer:
        """A server of it, to be used as a context manager."""
        return WireServer(self.answer)

    def answer(self, request: Request) -> Reply:
        """What FRED answers."""
        query = request.query
        refusal = self._key_refusal(query.get("api_key", ""))
        if refusal:
            return _bad(refusal)
        routes = {
            "/fred/series": self._series,
            "/fred/series/observations": self._observations,
            "/fred/series/vintagedates": self._vintage_dates,
        }
        if request.path not in routes or request.method != "GET":
            return _bad("Not Found", 404)
        if query.get("file_type") != "json":
            return Reply(200, b'<?xml version="1.0" encoding="utf-8" ?>\n', {"Content-Type": "text/xml"})
        if "series_id" not in query:
            return _bad("Bad Request.  Variable series_id is not set.")
        if query["series_id"] not in self._facts:
            return _bad("Bad Request.  The series does not exist.")
        for name in ("realtime_start", "realtime_end", "observation_start", "observation_end"):
            if name in query and not _is_date(query[name]):
                return _bad(f"Bad Request.  Variable {name} is not a YYYY-MM-DD formatted date (e.g. 2000-02-24).")
        if query["series_id"] in self._without_vintages and not self._is_of_today(request):
            return _bad("Bad Request.  The series does not exist in ALFRED but may exist in FRED.")
        return routes[request.path](query["series_id"], query)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _key_refusal(self, key: str) -> str:
        more = "Read https://fred.stlouisfed.org/docs/api/api_key.html for more information."
        if not key:
            return f"Bad Request.  Variable api_key is not set.  {more}"
        if len(key) != 32 or not key.isalnum() or key != key.lower():
            return (
                "Bad Request.  The value for variable api_key is not a 32 character alpha-numeric lower-case string.  "
                f"{more}"
            )
        if key != self.key or self._is_revoked:
            return f"Bad Request.  The value for variable api_key is not registered.  {more}"
        return ""

    def _is_of_today(self, request: Request) -> bool:
        asked = {request.query.get(name, str(self.today)) for name in ("realtime_start", "realtime_end")}
        return asked == {str(self.today)} and not request.path.endswith("vintagedates")

    def _periods(self, series: str) -> Iterator[tuple[date, str, str, str]]:
        """Observation date, first and last day of the real-time period, value."""
        for observed in sorted(self._values[series]):
            vintages = [v for v in self._values[series][observed] if v[0] <= self.today]
            if series in self._without_vintages:
                vintages = [(self.today, value) for _, value in vintages[-1:]]
            for i, (on, value) in enumerate(vintages):
                end = str(vintages[i + 1][0] - _DAY) if i + 1 < len(vintages) else _NEVER
                yield observed, str(on), end, value

    def _series(self, series: str, query: Mapping[str, str]) -> Reply:
        facts, days = self._facts[series], sorted(self._values[series])
        described = {
            "id": series,
            "realtime_start": str(self.today),
            "realtime_end": str(self.today),
            "title": facts["title"],
            "observation_start": str(days[0]) if days else "",
            "observation_end": str(days[-1]) if days else "",
            "frequency_short": facts["frequency"],
            "units": facts["units"],
            "units_short": "%" if facts["units"] == "Percent" else facts["units"],
            "last_updated": f"{self._days(series)[-1] if days else self.today} 15:01:02-05",
        }
        return Reply.json({"realtime_start": str(self.today), "realtime_end": str(self.today), "seriess": [described]})

    def _days(self, series: str) -> list[str]:
        """The days on which anything was released."""
        return sorted({start for _, start, _, _ in self._periods(series)})

    def _observations(self, series: str, query: Mapping[str, str]) -> Reply:
        start = query.get("realtime_start", str(self.today))
        end = query.get("realtime_end", str(self.today))
        number = sum(start <= day <= end for day in self._days(series))
        if number > _MOST_VINTAGES:
            return _bad(
                f"Bad Request.  There are {number} vintage dates in the specified real-time period: {start} to {end}.  "
                f"This exceeds the maximum number of vintage dates allowed ({_MOST_VINTAGES})."
            )
        first, last = query.get("observation_start", "1776-07-04"), query.get("observation_end", _NEVER)
        rows = [
            {"realtime_start": max(begin, start), "realtime_end": min(until, end), "date": str(day), "value": value}
            for day, begin, until, value in self._periods(series)
            if begin <= end and until >= start and first <= str(day) <= last
        ]
        facts = {"observation_start": first, "observation_end": last, "units": "lin", "output_type": 1}
        return self._page(
            rows,
            "observations",
            query,
            100_000,
            {"realtime_start": start, "realtime_end": end, **facts},
            "observation_date",
        )

    def _vintage_dates(self, series: str, query: Mapping[str, str]) -> Reply:
        start, end = query.get("realtime_start", "1776-07-04"), query.get("realtime_end", _NEVER)
        days = [day for day in self._days(series) if start <= day <= end]
        return self._page(
            days, "vintage_dates", query, 10_000, {"realtime_start": start, "realtime_end": end}, "vintage_date"
        )

    def _page(
        self, rows: list[Any], name: str, query: Mapping[str, str], most: int, facts: Mapping[str, Any], order: str
    ) -> Reply:
        try:
            limit, offset = int(query.get("limit", most)), int(query.get("offset", 0))
        except ValueError:
            limit, offset = 0, 0
        if not 1 <= limit <= most:
            return _bad(f"Bad Request.  Variable limit is not between 1 and {most}.")
        direction = query.get("sort_order", "asc")
        if direction == "desc":
            rows = rows[::-1]
        said = {**facts, "file_type": "json", "order_by": order, "sort_order": direction}
        said |= {"count": len(rows), "offset": offset, "limit": limit, name: rows[offset : offset + limit]}
        return Reply.json(said)


def _bad(message: str, status: int = 400) -> Reply:
    return Reply.json({"error_code": status, "error_message": message}, status)


def _is_date(text: str) -> bool:
    try:
        return str(date.fromisoformat(text)) == text
    except ValueError:
        return False
