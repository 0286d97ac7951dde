"""Prices and rates of Acme as a feed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from fxcarry.errors import BrokerUnavailable, MissingDataError
from fxcarry.model import Snapshot
from fxcarry.secrets import Secret
from fxcarry_acme.calls import Calls

if TYPE_CHECKING:
    from fxcarry.market import MarketHistory

_BACK = timedelta(days=30)  # how far a snapshot looks for the last quotes


class AcmeFeed:
    """One row a day. Every row and every rate carries the instant from which it was known."""

    name = "acme"
    interval = timedelta(days=1)

    def __init__(self, *, url: str, token: Secret, timeout: float = 10.0) -> None:
        self._calls = Calls(url, token, timeout)

    def snapshot(self, at: datetime) -> Snapshot:
        """The last quotes and the rates known at ``at``, and nothing of later."""
        from fxcarry import MemoryFeed

        return MemoryFeed(self.history(at - _BACK, at + timedelta(microseconds=1)), self.name).snapshot(at)

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """Rows with start <= time < end, rates known before ``end``. No row is an error, not an empty history."""
        from fxcarry.market import to_ns

        asked = {"start": start, "end": end}
        for at in filter(None, asked.values()):
            to_ns(at)  # an instant without a time zone is an error
        try:
            said = self._calls.read("/v1/history", {k: v.isoformat() for k, v in asked.items() if v is not None})
        except BrokerUnavailable as error:
            raise MissingDataError(error.message, hint=error.hint) from None
        if not said["times"]:
            raise MissingDataError(f"Acme has no prices from {start} to {end}")
        return _history(said)

    def close(self) -> None:
        """Release the connections."""
        self._calls.close()


def _history(said: Any) -> MarketHistory:
    import numpy as np

    from fxcarry.market import MarketHistory, RateSeries

    def instants(texts: list[str]) -> Any:
        return np.array(texts, "datetime64[ns]")

    rates = {
        currency: RateSeries(
            currency,
            instants(one["as_of"]),
            instants(one["available_at"]),
            np.array([float(value) for value in one["value"]]),
            source="acme",
        )
        for currency, one in said["rates"].items()
    }
    spot = [[np.nan if price is None else float(price) for price in row] for row in said["spot"]]
    return MarketHistory(
        instants(said["times"]), tuple(said["currencies"]), np.array(spot), said["numeraire"], rates, source="acme"
    )
