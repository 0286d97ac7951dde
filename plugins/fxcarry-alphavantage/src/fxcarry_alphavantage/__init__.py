"""Alpha Vantage as a feed for fxcarry. Importing this opens no connection and no file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from fxcarry.plugins import Component, hookimpl
from fxcarry.secrets import Secret

if TYPE_CHECKING:
    from fxcarry_alphavantage.feed import AlphaVantageFeed

__all__ = ["AlphaVantageConfig", "AlphaVantageFeed", "fxcarry_components"]

G10 = ("EUR", "JPY", "GBP", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK")


@attrs.frozen(kw_only=True)
class AlphaVantageConfig:
    """Prices of ``currencies`` against USD, asked for with ``key``.

    ``interval`` is how far apart the rows of the history are. ``rates`` names the feed that interest rates come from;
    ``usd_rate`` takes Alpha Vantage's own for USD. ``calls_a_day`` and ``calls_a_minute`` are what the key's plan
    allows. ``cache`` is the folder of what was asked ("" = ``~/.fxcarry``), ``quota`` the file in which the day's calls
    are counted ("" = in that folder); processes may share both. ``url`` takes the place of the host.
    """

    key: Secret
    currencies: tuple[str, ...] = G10
    interval: Literal["daily", "1min", "5min", "15min", "30min", "60min"] = "daily"
    rates: str = "ecb"
    usd_rate: Literal["none", "federal-funds", "3month"] = "none"
    calls_a_day: int = attrs.field(default=25, validator=attrs.validators.gt(0))
    calls_a_minute: int = attrs.field(default=5, validator=attrs.validators.gt(0))
    cache: str = ""
    quota: str = ""
    timeout: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    url: str = ""


def _feed(config: AlphaVantageConfig) -> AlphaVantageFeed:
    from fxcarry import plugins
    from fxcarry_alphavantage.client import URL, Client
    from fxcarry_alphavantage.feed import AlphaVantageFeed

    folder = Path(config.cache).expanduser() if config.cache else Path.home() / ".fxcarry"
    client = Client(
        key=config.key,
        quota=Path(config.quota).expanduser() if config.quota else folder / "alphavantage-calls.sqlite",
        url=config.url or URL,
        calls_a_day=config.calls_a_day,
        calls_a_minute=config.calls_a_minute,
        timeout=config.timeout,
    )
    return AlphaVantageFeed(
        client,
        currencies=config.currencies,
        rates=plugins.load().get("feed", config.rates).with_defaults(),
        cache=folder / "alphavantage.sqlite",
        interval=config.interval,
        usd=None if config.usd_rate == "none" else config.usd_rate,
    )


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="feed",
            name="alphavantage",
            config=AlphaVantageConfig,
            factory=_feed,
            summary="Alpha Vantage's exchange rates: a daily source and a backup, with interest rates of another feed",
            suite="fxcarry_alphavantage.testing.suites:AlphaVantageFeedSuite",
        )
    ]


def __getattr__(name: str) -> Any:
    if name == "AlphaVantageFeed":
        from fxcarry_alphavantage.feed import AlphaVantageFeed

        return AlphaVantageFeed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
