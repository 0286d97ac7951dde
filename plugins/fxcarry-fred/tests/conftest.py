"""A fake FRED behind a socket, and feeds on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from typing import Any

import pytest

from fxcarry.testing import WireServer
from fxcarry_fred.feed import FredFeed
from fxcarry_fred.testing import FakeFred
from fxcarry_fred.testing.suites import KEY_VARIABLE, client_of, evening

MakeFeed = Callable[..., FredFeed]
Serve = Callable[[FakeFred], WireServer]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Puts a fake behind a socket; its key is in the environment."""
    with ExitStack() as stack:

        def start(fake: FakeFred) -> WireServer:
            monkeypatch.setenv(KEY_VARIABLE, fake.key)
            server = stack.enter_context(fake.serve())
            server.retry_after = 0
            return server

        yield start


@pytest.fixture
def make_feed(serve: Serve) -> Iterator[MakeFeed]:
    """Makes feeds, each on a server of its own (or on ``server``)."""
    made: list[FredFeed] = []

    def make(fake: FakeFred, *currencies: str, server: WireServer | None = None, **settings: Any) -> FredFeed:
        settings = {"now": lambda: evening(fake), **settings}
        feed = FredFeed(client_of(server or serve(fake)), currencies=currencies, **settings)
        made.append(feed)
        return feed

    yield make
    for feed in made:
        feed.close()


@pytest.fixture
def vintages() -> FakeFred:
    """The British three-month rate around its release on 2025-03-17, beside a daily rate and spot.

    Its first vintage is of 2024-11: what is asked about has releases of its own.
    """
    fake = FakeFred(today=date(2025, 6, 2))
    for observed, value, on in (
        ("2024-10-01", "4.90", "2024-11-18"),
        ("2024-11-01", "4.70", "2024-12-16"),
        ("2024-12-01", "4.60", "2025-01-15"),
        ("2025-01-01", "4.50", "2025-02-17"),
        ("2025-02-01", "4.10", "2025-03-17"),
        ("2025-03-01", "4.05", "2025-04-15"),
        ("2025-03-01", "4.07", "2025-05-15"),
    ):
        fake.release("IR3TIB01GBM156N", date.fromisoformat(observed), value, on=date.fromisoformat(on))
    fake.add("IUDSOIA", frequency="D")
    for day in range(1, 29):
        fake.release("DTB3", date(2025, 2, day), "4.20", on=date(2025, 3, 3))
        fake.release("DEXUSUK", date(2025, 2, day), "1.2500", on=date(2025, 3, 3))
    return fake
