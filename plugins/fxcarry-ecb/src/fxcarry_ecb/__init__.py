"""ECB euro reference rates and G10 policy rates as a feed for fxcarry. Importing this loads no data and no numpy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from fxcarry.plugins import Component, hookimpl

if TYPE_CHECKING:
    import click

    from fxcarry_ecb.feed import EcbFeed

__all__ = ["EcbConfig", "EcbFeed", "fxcarry_commands", "fxcarry_components"]


@attrs.frozen
class EcbConfig:
    """The feed has no settings."""


def _build(config: EcbConfig) -> EcbFeed:
    from fxcarry_ecb.feed import EcbFeed

    return EcbFeed()


@hookimpl
def fxcarry_components() -> Iterable[Component]:
    """What this distribution adds to fxcarry."""
    return [
        Component(
            kind="feed",
            name="ecb",
            config=EcbConfig,
            factory=_build,
            summary="ECB euro reference rates since 1999 and G10 policy rates, offline and without a key",
        )
    ]


@hookimpl
def fxcarry_commands(cli: click.Group) -> None:
    """Add ``fxcarry rates``."""
    from fxcarry_ecb.commands import rates

    cli.add_command(rates)


def __getattr__(name: str) -> object:
    if name == "EcbFeed":
        from fxcarry_ecb.feed import EcbFeed

        return EcbFeed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
