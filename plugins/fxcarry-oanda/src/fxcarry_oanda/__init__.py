"""OANDA v20 as a broker and a feed for fxcarry. Importing this opens no connection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import attrs

from fxcarry.plugins import Component, hookimpl
from fxcarry.secrets import Secret

if TYPE_CHECKING:
    from fxcarry_oanda.broker import OandaBroker
    from fxcarry_oanda.client import Client
    from fxcarry_oanda.feed import OandaFeed

__all__ = ["OandaBroker", "OandaConfig", "OandaFeed", "OandaFeedConfig", "fxcarry_components"]

G10 = ("EUR", "JPY", "GBP", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK")
Granularity = Literal["M1", "M5", "M15", "M30", "H1", "H2", "H4", "D"]


@attrs.frozen(kw_only=True)
class _Access:
    """An account and how it is reached. ``url`` and ``stream_url`` take the place of the hosts of ``environment``."""

    account: str
    token: Secret
    environment: Literal["practice", "live"] = "practice"
    url: str = ""
    stream_url: str = ""
    timeout: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))

    def client(self) -> Client:
        """What talks to the account; nothing is opened yet."""
        from fxcarry_oanda.client import HOSTS, Client

        rest, stream = HOSTS[self.environment]
        return Client(
            account=self.account,
            token=self.token,
            url=self.url or rest,
            stream_url=self.stream_url or self.url or stream,
            timeout=self.timeout,
        )


@attrs.frozen(kw_only=True)
class OandaConfig(_Access):
    """An account to trade on.

    ``hedging`` says what kind of account it is meant to be: another kind is refused. ``stream`` listens to the
    account's transactions between looks. ``archive`` is the file that each day's financing rates are added to ("" =
    none), ``{account}`` in it is the account.
    """

    hedging: bool = False
    stream: bool = False
    archive: str = "oanda-financing-{account}.csv"


@attrs.frozen(kw_only=True)
class OandaFeedConfig(_Access):
    """Prices of ``currencies`` against USD. ``granularity`` is how far apart the rows of the history are, of which
    there are ``days`` days. ``rates`` names the feed that interest rates come from, which OANDA does not have.
    ``stream`` keeps the last prices of the price stream at hand, so that a look asks for none.
    """

    currencies: tuple[str, ...] = G10
    granularity: Granularity = "H1"
    days: int = attrs.field(default=400, validator=attrs.validators.gt(0))
    rates: str = "ecb"
    stream: bool = False


def _broker(config: OandaConfig) -> OandaBroker:
    from fxcarry_oanda.broker import OandaBroker

    return OandaBroker(
        config.client(),
        is_practice=config.environment == "practice",
        is_hedging=config.hedging,
        streams=config.stream,
        archive=config.archive.format(account=config.account) or None,
    )


def _feed(config: OandaFeedConfig) -> OandaFeed:
    from fxcarry import plugins
    from fxcarry_oanda.feed import OandaFeed

    return OandaFeed(
        config.client(),
        currencies=config.currencies,
        granularity=config.granularity,
        days=config.days,
        rates=plugins.load().get("feed", config.rates).with_defaults(),
        streams=config.stream,
    )


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="broker",
            name="oanda",
            config=OandaConfig,
            factory=_broker,
            summary="an OANDA v20 account, practice or live: spot FX with stops at the venue and daily financing",
            suite="fxcarry_oanda.testing.suites:OandaBrokerSuite",
        ),
        Component(
            kind="feed",
            name="oanda",
            config=OandaFeedConfig,
            factory=_feed,
            summary="OANDA's prices, live and as candles, with interest rates of another feed",
            suite="fxcarry_oanda.testing.suites:OandaFeedSuite",
        ),
    ]


def __getattr__(name: str) -> Any:
    if name == "OandaBroker":
        from fxcarry_oanda.broker import OandaBroker

        return OandaBroker
    if name == "OandaFeed":
        from fxcarry_oanda.feed import OandaFeed

        return OandaFeed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
