"""``fxcarry check`` on the fake account over loopback: it passes, and what is wrong is told with what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from fxcarry import plugins
from fxcarry.checkup import CheckUp, check_up
from fxcarry.cli import cli
from fxcarry.feeds import MemoryFeed
from fxcarry.model import Order, Pair, Quote, Snapshot
from fxcarry.plugins import Component, Registry
from fxcarry.testing import WireServer, market_history
from fxcarry_oanda.testing import FakeOanda
from fxcarry_oanda.testing.suites import TOKEN_VARIABLE

UNIVERSE = ("EUR", "JPY")
WEDNESDAY = datetime(2025, 3, 12, 13, tzinfo=UTC)
OTHER = "101-004-7654321-001"


@attrs.define
class Office:
    """The fake account behind its server, and the configuration that names it."""

    fake: FakeOanda
    server: WireServer

    def configure(self, *, feed: str = "", broker: str = "", general: str = "", account: str = "") -> None:
        """Write ``fxcarry.toml``: the account as broker and feed, with these keys more."""
        access = (
            f'use = "oanda"\naccount = "{account or self.fake.account_id}"\nurl = "{self.server.url}"\n'
            f'token = {{ env = "{TOKEN_VARIABLE}" }}\n'
        )
        Path("fxcarry.toml").write_text(
            f'universe = ["EUR", "JPY"]\n{general}[feed]\n{access}currencies = ["EUR", "JPY"]\n{feed}'
            f'[broker]\n{access}archive = ""\n{broker}',
            "utf-8",
        )

    def move_to(self, at: datetime) -> None:
        mids = {Pair("EUR", "USD"): ("1.1", "0.0001"), Pair("USD", "JPY"): ("150", "0.01")}
        quotes = {
            pair: Quote(Decimal(mid) - Decimal(half), Decimal(mid) + Decimal(half), at)
            for pair, (mid, half) in mids.items()
        }
        self.fake.move_to(Snapshot(at, quotes))

    def changes(self) -> list[str]:
        """What was asked for that changes something."""
        return [request.path for request in self.server.requests if request.method != "GET"]


@contextmanager
def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, fake: FakeOanda) -> Iterator[Office]:
    """An office on a fake account whose market has been open until now; its token is in the environment."""
    pytest.importorskip("fxcarry_ecb", reason="interest rates come from the feed ecb unless another is named")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FXCARRY_PLUGINS", "ecb,oanda")
    monkeypatch.setenv(TOKEN_VARIABLE, fake.token)
    with fake.serve() as server:
        office, now = Office(fake, server), datetime.now(UTC)
        for hours in range(72, -1, -8):
            office.move_to(now - timedelta(hours=hours))
        office.configure()
        yield office


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """An office on an account that nets."""
    with opened(tmp_path, monkeypatch, FakeOanda()) as made:
        yield made


def checked(code: int, *arguments: str) -> dict[tuple[str, str], dict[str, str]]:
    """What the command told, by component and name."""
    done = CliRunner().invoke(cli, ["check", "--json", *arguments])
    assert "practice-token" not in done.output
    told = json.loads(done.stdout)
    assert done.exit_code == code, [c for c in told["checks"] if c["status"] == "fail"]
    assert told["ok"] is (code == 0)
    return {(c["component"], c["name"]): c for c in told["checks"]}


def failures(checks: dict[tuple[str, str], dict[str, str]]) -> list[tuple[str, str]]:
    return [key for key, check in checks.items() if check["status"] == "fail"]


def test_an_account_that_is_as_it_was_said_to_be_passes(office: Office) -> None:
    told = checked(0)
    broker = {name: check["detail"] for (component, name), check in told.items() if component == "broker oanda"}
    assert broker["money"] == 'a practice account, mode = "paper"'
    assert broker["connection"] == "account 101-004-1234567-001, netting"
    assert broker["account"] == "101-004-1234567-001: NAV 1,000,000.00 USD"
    assert broker["financing"].startswith("rates published for both sides of all 2; days of a roll published for 2")
    assert broker["instruments"].startswith("EURUSD step 1 least 1 margin ")
    assert told["environment", f"secret env {TOKEN_VARIABLE}"]["status"] == "pass"
    assert told["feed oanda", "age of prices"]["status"] == "pass"
    assert told["feed oanda", "JPY"]["detail"].startswith("price 0.0066667 USD, rate ")
    assert office.changes() == []


def test_a_wrong_token_is_told_by_feed_and_broker(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "practice-token-of-somebody-else")
    told = checked(8, "--only", "broker", "--only", "feed")
    assert failures(told) == [
        ("feed oanda", "prices now"), ("feed oanda", "history"), ("broker oanda", "connection"),
    ]  # fmt: skip
    found = told["broker oanda", "connection"]
    assert "refused the token (401)" in found["detail"]
    assert "A practice token works on practice accounts only" in found["advice"]
    assert "401: who asks is not known there" in found["advice"]


def test_a_wrong_account_is_told_with_those_there_are(office: Office) -> None:
    office.configure(account=OTHER)
    found = checked(8, "--only", "broker")["broker oanda", "connection"]
    assert found["status"] == "fail"
    assert found["detail"] == f"the token does not give access to account '{OTHER}'"
    assert found["advice"] == "it does to 101-004-1234567-001"


def test_a_missing_token_names_its_variable(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE)
    told = checked(8)
    found = told["environment", f"secret env {TOKEN_VARIABLE}"]
    assert (found["status"], found["advice"]) == ("fail", f"set the environment variable {TOKEN_VARIABLE}")
    assert ("broker oanda", "connection") in failures(told)
    assert told["journal", "file"]["status"] == "skip"


@pytest.mark.parametrize("is_hedging", [True, False])
def test_an_account_of_the_other_kind_is_told(
    is_hedging: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, monkeypatch, FakeOanda(is_hedging=is_hedging)) as office:
        office.configure(broker=f"hedging = {str(not is_hedging).lower()}\n")
        found = checked(8, "--only", "broker")["broker oanda", "connection"]
        assert found["advice"].startswith(f"set hedging = {str(is_hedging).lower()} under [broker]")
        office.configure(broker=f"hedging = {str(is_hedging).lower()}\n")
        kind = "hedging" if is_hedging else "netting"
        assert checked(0, "--only", "broker")["broker oanda", "connection"]["detail"].endswith(kind)


@pytest.mark.parametrize("minutes", [-5, 5])
def test_clocks_that_differ_are_told(minutes: int, office: Office) -> None:
    office.fake.clock_skew = timedelta(minutes=minutes)
    found = checked(8, "--only", "broker")["broker oanda", "account"]
    assert found["status"] == "fail"
    assert "OANDA's clock says" in found["detail"]
    assert "NTP" in found["advice"]


def test_another_currency_and_a_pair_that_is_not_traded_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, monkeypatch, FakeOanda(currency="EUR")) as office:
        name = next(name for name in office.fake.terms if "JPY" in name and "USD" in name)
        del office.fake.terms[name]
        told = checked(8, "--only", "broker")
        assert ("broker oanda", "currency") in failures(told)
        assert told["broker oanda", "instruments"]["detail"].startswith("not traded: USDJPY; ")


def test_a_file_that_cannot_be_read_is_told(office: Office, tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    text = Path("fxcarry.toml").read_text("utf-8")
    Path("fxcarry.toml").write_text(text.replace(f'env = "{TOKEN_VARIABLE}"', 'file = "token"'), "utf-8")
    told = checked(8, "--only", "environment")
    assert told["environment", "secret file token"]["detail"].startswith("the secret file token cannot be read")
    (tmp_path / "other.toml").mkdir()
    found = checked(8, "--config", "other.toml")["configuration", "valid"]
    assert (found["status"], found["advice"]) == ("fail", "check its permissions")


def test_a_venue_that_cannot_be_reached_is_told(office: Office) -> None:
    with office.server.refuse():
        told = checked(8, "--only", "broker")
    assert "cannot be read" in told["broker oanda", "connection"]["detail"]


def test_real_money_is_told_and_never_dealt_with(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.configure(broker='environment = "live"\n')
    assert failures(checked(8, "--only", "broker")) == [("broker oanda", "money")]
    office.configure(broker='environment = "live"\n', general='mode = "live"\n')
    monkeypatch.setenv("FXCARRY_LIVE", "1")
    assert "--account ID" in checked(0, "--only", "broker")["broker oanda", "money"]["advice"]
    found = checked(8, "--only", "broker", "--round-trip")["broker oanda", "round trip"]
    assert found["detail"].startswith("refused")
    assert office.changes() == []


# --- the round trip, on a Wednesday of 2025 ---------------------------------------------------------------------------


def on_wednesday(office: Any, **more: Any) -> CheckUp:
    """A check-up with a round trip on a desk of this plugin."""
    feed = MemoryFeed(market_history(UNIVERSE, days=40, start=date(2025, 1, 15)), "held")
    known = plugins.load()
    parts = (
        Component(kind="feed", name="held", config=NoSettings, factory=lambda settings: feed, summary="-"),
        Component(kind="broker", name="desk", config=NoSettings, factory=lambda settings: office.broker, summary="-"),
    )
    registry = Registry(
        components={**known.components, **{(part.kind, part.name): part for part in parts}}, origins=known.origins
    )
    Path("fxcarry.toml").write_text(
        'universe = ["EUR", "JPY"]\n[feed]\nuse = "held"\n[broker]\nuse = "desk"\n', "utf-8"
    )
    return check_up(only=["broker"], round_trip=True, registry=registry, environ={}, **more)


@attrs.frozen(kw_only=True)
class NoSettings:
    """Nothing can be set."""


@pytest.mark.parametrize("is_hedging", [False, True])
def test_the_smallest_order_is_dealt_and_closed_at_the_venue(
    is_hedging: bool, make_desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    desk = make_desk(is_hedging=is_hedging)
    desk.buy(1000, "mine")
    before = desk.held()
    report = on_wednesday(desk, now=WEDNESDAY)
    steps = {c.name: c.status for c in report.checks if c.name.startswith("round trip")}
    assert steps == {
        "round trip: order": "pass", "round trip: position": "pass", "round trip: closed": "pass",
        "round trip: transactions": "pass",
    }  # fmt: skip
    assert report.is_good
    assert desk.held() == before == {"EUR_USD": 1000}
    dealt = [order for order in desk.fake.orders if order.get("instrument") == "USD_JPY" and order["type"] == "MARKET"]
    assert [order["units"] for order in dealt] == ["1", "-1"]
    assert not [order for order in desk.fake.orders if order["type"] == "STOP_LOSS" and order["state"] == "PENDING"]


def test_an_order_that_is_lost_or_cancelled_is_told_and_nothing_is_left(
    make_desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    desk = make_desk()
    desk.fake.halted.update(desk.fake.terms)
    report = on_wednesday(desk, now=WEDNESDAY)
    [found] = [c for c in report.checks if c.status == "fail"]
    assert (found.name, "MARKET_HALTED" in found.detail) == ("round trip: order", True)
    assert desk.held() == {}


def test_an_account_that_holds_everything_is_left_alone(
    make_desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    desk = make_desk()
    for name in ("EURUSD", "USDJPY"):
        desk.broker.place_market_order(Order(client_id=name, instrument=name, units=Decimal(10)))
    count = len(desk.fake.orders)
    report = on_wednesday(desk, now=WEDNESDAY)
    [found] = [c for c in report.checks if c.name.startswith("round trip")]
    assert (found.status, len(desk.fake.orders)) == ("skip", count)
