"""FRED as a feed for fxcarry: H.10 spot, and rates as they were known. Importing this opens no connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import attrs

from fxcarry.plugins import Component, hookimpl
from fxcarry.secrets import Secret

if TYPE_CHECKING:
    from fxcarry_fred.feed import FredFeed

__all__ = ["FredConfig", "FredFeed", "fxcarry_components"]

_KEY = Secret("env", "FRED_API_KEY")
G10 = ("EUR", "JPY", "GBP", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK")


@attrs.frozen(kw_only=True)
class FredConfig:
    """Spot and rates of ``currencies``, with the ``key`` of an account at FRED.

    ``rates`` says which are tried first. ``cache`` is a folder for what was read ("" = none). ``revised`` takes the
    last value of every rate instead of the one that was known: research only. ``url`` takes the place of FRED's host.
    """

    key: Secret = _KEY
    currencies: tuple[str, ...] = G10
    rates: Literal["3m", "overnight"] = "3m"
    cache: str = ""
    revised: bool = False
    url: str = ""
    timeout: float = attrs.field(default=20.0, validator=attrs.validators.gt(0))


def _feed(config: FredConfig) -> FredFeed:
    from fxcarry_fred.client import URL, Client
    from fxcarry_fred.feed import FredFeed

    return FredFeed(
        Client(config.key, url=config.url or URL, timeout=config.timeout),
        currencies=config.currencies,
        rates=config.rates,
        cache=config.cache or None,
        is_revised=config.revised,
    )


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="feed",
            name="fred",
            config=FredConfig,
            factory=_feed,
            summary="the Federal Reserve's H.10 spot and interest rates from FRED, each as it was known",
            suite="fxcarry_fred.testing.suites:FredFeedSuite",
        ),
    ]


def __getattr__(name: str) -> Any:
    if name == "FredFeed":
        from fxcarry_fred.feed import FredFeed

        return FredFeed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
