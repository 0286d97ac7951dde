"""The broker Acme and its prices for fxcarry. Importing this connects to nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from fxcarry.plugins import Component, hookimpl
from fxcarry.secrets import Secret

__all__ = ["AcmeConfig", "fxcarry_components"]


@attrs.frozen(kw_only=True)
class AcmeConfig:
    """The keys of a section with ``use = "acme"``. ``timeout`` is in seconds."""

    token: Secret
    account: str = ""
    url: str = "https://api.acme.example"
    timeout: float = 10.0


def _broker(config: AcmeConfig) -> Any:
    from fxcarry.errors import ConfigError
    from fxcarry_acme.broker import AcmeBroker

    if not config.account:
        raise ConfigError("broker.account: required", hint="write the account as Acme shows it")
    return AcmeBroker(url=config.url, account=config.account, token=config.token, timeout=config.timeout)


def _feed(config: AcmeConfig) -> Any:
    from fxcarry_acme.feed import AcmeFeed

    return AcmeFeed(url=config.url, token=config.token, timeout=config.timeout)


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="broker",
            name="acme",
            config=AcmeConfig,
            factory=_broker,
            summary="an account at Acme",
            suite="fxcarry_acme.testing:AcmeBrokerSuite",
        ),
        Component(
            kind="feed",
            name="acme",
            config=AcmeConfig,
            factory=_feed,
            summary="prices and rates of Acme",
            suite="fxcarry_acme.testing:AcmeFeedSuite",
        ),
    ]
