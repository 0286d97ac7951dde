"""The broker and the feed pass the suites of the core, and tell the failures of a wire apart."""

from __future__ import annotations

from typing import Any

import pytest

from fxcarry.errors import BrokerUnavailable, ConfigError, OrderOutcomeUnknown, OrderRejected
from fxcarry.model import OrderStatus
from fxcarry.secrets import Secret
from fxcarry.testing.brokers import Desk
from fxcarry_acme import AcmeConfig, fxcarry_components
from fxcarry_acme.testing import ACCOUNT, VARIABLE, AcmeBrokerSuite, AcmeFeedSuite, AcmeServer


class TestAcmeBroker(AcmeBrokerSuite):
    """Every case, and what this venue does besides."""

    @pytest.mark.parametrize("fault", ["unanswered", "reset", "failed", "garbled"])
    def test_what_was_not_answered_is_unknown_and_found(self, server: AcmeServer, desk: Desk, fault: Any) -> None:
        server.wire.fail("POST */orders", fault)
        with pytest.raises(OrderOutcomeUnknown):
            desk.place(1000)
        assert desk.find("a").status is OrderStatus.FILLED
        assert server.venue.accepted == {"a": 1}  # it was not sent again

    @pytest.mark.parametrize("fault", ["lost", "unavailable"])
    def test_what_never_arrived_is_unknown_too_and_is_not_found(
        self, server: AcmeServer, desk: Desk, fault: Any
    ) -> None:
        server.wire.fail("POST */orders", fault)
        with pytest.raises(OrderOutcomeUnknown):
            desk.place(1000)
        assert not desk.broker.find_orders(["a"])
        assert not server.venue.accepted

    def test_too_many_calls_are_waited_for_and_the_order_is_sent_once(self, server: AcmeServer, desk: Desk) -> None:
        server.wire.retry_after = 0
        server.wire.fail("POST */orders", "busy", 2)
        assert desk.place(1000).status is OrderStatus.FILLED
        assert server.venue.accepted == {"a": 1}

    def test_a_refusal_is_final_and_gives_the_reason(self, server: AcmeServer, desk: Desk) -> None:
        server.venue.fail("place_market_order", "rejected")
        with pytest.raises(OrderRejected, match="insufficient margin"):
            desk.place(1000)

    def test_reads_are_repeated_and_then_unavailable_never_flat(self, server: AcmeServer, desk: Desk) -> None:
        desk.place(1000)
        server.wire.fail("GET */positions", "failed", 2)
        assert desk.units() == 1000
        server.wire.fail("GET */positions", "unanswered", 4)
        with pytest.raises(BrokerUnavailable):
            desk.units()

    def test_a_wrong_token_is_a_mistake_of_the_configuration(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "revoked")
        with pytest.raises(ConfigError, match="refused the token"):
            desk.next()
        with pytest.raises(BrokerUnavailable, match="nothing was accepted"):
            desk.place(1000)


class TestAcmeFeed(AcmeFeedSuite):
    """Every case."""


def test_the_components_are_made_from_their_settings() -> None:
    broker, feed = fxcarry_components()
    config = AcmeConfig(token=Secret("env", "NO_SUCH_VARIABLE"), account=ACCOUNT)
    assert broker.factory(config).account_id == ACCOUNT
    assert feed.factory(config).name == "acme"
    with pytest.raises(ConfigError, match=r"broker\.account"):
        broker.factory(AcmeConfig(token=Secret("env", "NO_SUCH_VARIABLE")))
