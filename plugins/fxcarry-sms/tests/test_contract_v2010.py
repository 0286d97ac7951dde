"""The channel and the fake against Twilio's published schema: Prism stands between them, and checks both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import prism
import pytest
import requests

from fxcarry.errors import NotifierError
from fxcarry_sms.channel import SmsNotifier
from fxcarry_sms.testing import FakeTwilio
from fxcarry_sms.testing.suites import SECRET_VARIABLE, SmsNotifierSuite, channel_of

from .conftest import FIRST, SECOND, alert

SPEC = "twilio_api_v2010.json"
ACCOUNTS = "/2010-04-01/Accounts"
PATHS = (
    f"{ACCOUNTS}/{{AccountSid}}/Messages.json",
    f"{ACCOUNTS}/{{Sid}}.json",
    f"{ACCOUNTS}/{{AccountSid}}/Balance.json",
)

pytestmark = prism.needed(SPEC)


def corrected(spec: dict[str, Any]) -> dict[str, Any]:
    """The paths that are used, with answers strictly as they are listed: the schema requires no field, forbids no other
    and has no refusals. It calls the links of a list absolute, and its own examples have relative ones.
    """
    spec["paths"] = {path: spec["paths"][path] for path in PATHS}
    for path in spec["paths"].values():
        path.pop("servers", None)
        for call in (path[method] for method in ("get", "post") if method in path):
            content = {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}}
            call["responses"]["default"] = {"description": "refused", "content": content}
    schemas = spec["components"]["schemas"]
    whole = {"type": "integer"}
    text = {"type": "string"}
    schemas["error"] = {
        "type": "object",
        "properties": {"code": whole, "message": text, "more_info": text, "status": whole},
    }
    listed = spec["paths"][PATHS[0]]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    for field in listed["properties"].values():
        if field.get("format") == "uri":
            field["format"] = "uri-reference"
    listed |= {"required": sorted(listed["properties"]), "additionalProperties": False}
    for name in ("error", "api.v2010.account.message", "api.v2010.account", "api.v2010.account.balance"):
        schemas[name] |= {"required": sorted(schemas[name]["properties"]), "additionalProperties": False}
    return spec


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prism.Line]:
    with prism.line(corrected(prism.schema(SPEC)), tmp_path_factory.mktemp("spec"), FakeTwilio()) as line:
        yield line


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[requests.Response]]:
    with prism.unbroken(monkeypatch) as answers:
        yield answers


@pytest.fixture
def fake(proxy: prism.Line, monkeypatch: pytest.MonkeyPatch) -> FakeTwilio:
    proxy.fake = FakeTwilio()
    monkeypatch.setenv(SECRET_VARIABLE, proxy.fake.secret)
    return proxy.fake


def channel(proxy: prism.Line, **settings: Any) -> SmsNotifier:
    return channel_of(proxy.fake, proxy.url, **{"timeout": 10.0, **settings})


def test_messages(proxy: prism.Line, fake: FakeTwilio, answers: list[requests.Response]) -> None:
    channel(proxy, to=(FIRST, SECOND)).notify(alert("NAV −1 % & 日本円 = +"))
    channel(proxy, sender="FX Carry").notify(alert("🚨" * 300, is_over=True))
    channel(proxy, messaging_service="MG" + "1" * 32, segments=10).notify(alert("日" * 2000))
    assert [a.status_code for a in answers] == [201] * 4
    assert [text.to for text in fake.texts] == [FIRST, SECOND, FIRST, FIRST]


@pytest.mark.parametrize("settings", [{}, {"messaging_service": "MG" + "1" * 32}])
def test_the_list(
    proxy: prism.Line, fake: FakeTwilio, answers: list[requests.Response], settings: dict[str, Any]
) -> None:
    line = channel(proxy, **settings)
    line.notify(alert("one"))
    (text,) = fake.texts
    since = text.at.replace(microsecond=0)
    assert line._find(FIRST, text.body, since) is None  # that one is known
    line._taken.clear()
    found = line._find(FIRST, text.body, since)
    assert found is not None
    assert found["sid"] == text.sid
    assert [a.status_code for a in answers] == [201, 200, 200]


@pytest.mark.parametrize("code", [20003, 21211, 21212, 21408, 21606, 21608, 21610, 21614, 21617, 21659])
def test_refusals(proxy: prism.Line, fake: FakeTwilio, answers: list[requests.Response], code: int) -> None:
    fake.refuse(FIRST, code)
    with pytest.raises(NotifierError, match=f"Twilio refused with {code}"):
        channel(proxy).notify(alert())
    assert [a.json()["code"] for a in answers] == [code]


def test_check(proxy: prism.Line, fake: FakeTwilio, answers: list[requests.Response]) -> None:
    assert "the balance is 20.00 USD" in channel(proxy).check()
    fake.type, fake.balance = "Trial", None
    assert "a trial" in channel(proxy).check()
    fake.api_key = "SK" + "2" * 32
    fake.balance = "1"
    channel(proxy).notify(alert())
    assert "below 5" in channel(proxy).check()
    assert [a.status_code for a in answers] == [200, 200, 200, 404, 201, 200, 200]


def test_the_schema_refuses_what_it_should(proxy: prism.Line, fake: FakeTwilio) -> None:
    url = f"{proxy.url}{ACCOUNTS}/{fake.account_sid}/Messages.json"
    for form in ({"Body": "x", "From": FIRST}, {"To": FIRST, "MessagingServiceSid": "MG1"}):
        answer = requests.post(url, data=form, auth=(fake.account_sid, fake.secret), timeout=10)
        assert answer.status_code == 422, form
    assert requests.post(url, data={"To": FIRST}, timeout=10).status_code == 401
    assert fake.texts == []


class TestSmsNotifierBehindTheProxy(SmsNotifierSuite):
    """The channel passes its suite with the schema between it and the fake."""

    @pytest.fixture
    def fake(self, proxy: prism.Line, monkeypatch: pytest.MonkeyPatch) -> FakeTwilio:
        proxy.fake = FakeTwilio()
        monkeypatch.setenv(SECRET_VARIABLE, proxy.fake.secret)
        return proxy.fake

    @pytest.fixture
    def notifier(self, proxy: prism.Line, fake: FakeTwilio, answers: list[requests.Response]) -> SmsNotifier:
        return channel(proxy)
