"""A fake venue with quotes, and a client that talks to it; no network but loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_socket
from fakes import Client, snapshot

from fxcarry_oanda.testing import FakeOanda


@pytest.fixture(autouse=True)
def _no_network() -> None:
    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture
def serve() -> Iterator[Callable[..., Client]]:
    """Makes a client of a fake that is served, at the first snapshot."""
    with ExitStack() as stack:

        def served(fake: FakeOanda, **levels: Any) -> Client:
            server = stack.enter_context(fake.serve())
            fake.move_to(snapshot(**levels))
            client = Client(server.url, fake)
            stack.enter_context(client.session)
            return client

        yield served


@pytest.fixture
def fake() -> FakeOanda:
    return FakeOanda()


@pytest.fixture
def client(fake: FakeOanda, serve: Callable[..., Client]) -> Client:
    return serve(fake)
