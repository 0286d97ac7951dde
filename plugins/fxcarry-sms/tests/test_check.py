"""What ``fxcarry check`` is told, and that nothing is sent for it."""

from __future__ import annotations

import pytest

from fxcarry.errors import ConfigError, NotifierError
from fxcarry.testing import Reply, WireServer
from fxcarry_sms.testing.suites import SECRET_VARIABLE, channel_of

from .conftest import FIRST, SECOND, Line


def test_who_would_be_told_and_what_is_left(line: Line) -> None:
    said = line.channel(FIRST, SECOND).check()
    assert said == "the account is active; the balance is 20.00 USD; would tell +41…567, +14…123"
    assert line.calls("POST") == 0


def test_little_is_left(line: Line) -> None:
    line.fake.balance = "4.994"
    assert "the balance is 4.99 USD, which is below 5: top it up" in line.channel().check()


@pytest.mark.parametrize("balance", [None, "much", "NaN"])
def test_a_balance_that_cannot_be_read_is_no_matter(line: Line, balance: str | None) -> None:
    line.fake.balance = balance
    assert line.channel().check() == "the account is active; would tell +41…567"


def test_a_trial(line: Line) -> None:
    line.fake.type = "Trial"
    assert "(a trial: verified numbers only)" in line.channel().check()


@pytest.mark.parametrize("status", ["suspended", "closed"])
def test_an_account_that_is_not_active(line: Line, status: str) -> None:
    line.fake.status = status
    with pytest.raises(NotifierError, match=f"the Twilio account is {status}") as told:
        line.channel().check()
    assert told.value.fields["is_final"] is True


def test_a_key_that_may_not_read_the_account(line: Line) -> None:
    line.fake.api_key = "SK" + "2" * 32
    said = line.channel().check()
    assert said == "the key may read messages; the balance is 20.00 USD; would tell +41…567"
    assert [r.path.rpartition("/")[2] for r in line.server.requests] == ["Messages.json", "Balance.json"]


def test_a_wrong_secret(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "wrong")
    with pytest.raises(NotifierError, match="Twilio refused with 20003: Authenticate") as told:
        line.channel().check()
    assert "api_key and secret" in told.value.hint
    monkeypatch.delenv(SECRET_VARIABLE)
    with pytest.raises(ConfigError, match=SECRET_VARIABLE):
        line.channel().check()


def test_nobody_answers(line: Line) -> None:
    line.server.fail("*", "hangs", times=9)
    with pytest.raises(NotifierError, match="ReadTimeout"):
        line.channel(timeout=0.5).check()
    with line.server.refuse(), pytest.raises(NotifierError, match="refused"):
        line.channel().check()


def test_the_token_that_the_account_shows_is_not_repeated(line: Line) -> None:
    reply = Reply.json({"auth_token": "the-other-token", "status": "odd\nstate"})
    with (
        WireServer(lambda request: reply) as server,
        pytest.raises(NotifierError, match="account is odd state") as told,
    ):
        channel_of(line.fake, server.url).check()
    assert "the-other-token" not in str(told.value)
