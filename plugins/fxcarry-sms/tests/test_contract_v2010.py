"""The channel and the fake against Twilio's published schema: Prism stands between them, and checks both ways.

Needs the command ``prism`` (npm package @stoplight/prism-cli): ``nox -s contracts`` brings it. It is looked for at
FXCARRY_PRISM, on the PATH and in node_modules of the tree.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from fxcarry.errors import NotifierError
from fxcarry.testing import WireServer
from fxcarry_sms.channel import SmsNotifier
from fxcarry_sms.testing import FakeTwilio
from fxcarry_sms.testing.suites import SECRET_VARIABLE, SmsNotifierSuite, channel_of

from .conftest import FIRST, SECOND, alert

ROOT = Path(__file__).resolve().parents[3]
SPEC = ROOT.parent / "shared" / "specs" / "twilio_api_v2010.json"
PRISM = (
    os.environ.get("FXCARRY_PRISM") or shutil.which("prism") or shutil.which("prism", path=ROOT / "node_modules/.bin")
)
ACCOUNTS = "/2010-04-01/Accounts"
PATHS = (
    f"{ACCOUNTS}/{{AccountSid}}/Messages.json",
    f"{ACCOUNTS}/{{Sid}}.json",
    f"{ACCOUNTS}/{{AccountSid}}/Balance.json",
)

pytestmark = [
    pytest.mark.skipif(not SPEC.is_file(), reason=f"there is no {SPEC}"),
    pytest.mark.skipif(PRISM is None, reason="there is no prism: npm install @stoplight/prism-cli@5.14.2"),
]


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


class Line:
    """A proxy at ``url`` before a server; the server answers as the ``fake`` of the moment."""

    def __init__(self) -> None:
        self.fake = FakeTwilio()
        self.server = WireServer(lambda request: self.fake.answer(request))
        self.url = ""
        self.said: list[str] = []

    @contextmanager
    def open(self, spec: Path) -> Iterator[None]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["-h", "127.0.0.1", "-p", str(port), "--errors", "--multiprocess", "false"]
        command = [str(PRISM), "proxy", *options, str(spec), self.server.url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = process.stdout
        assert said is not None
        reader = threading.Thread(target=lambda: self.said.extend(iter(said.readline, "")))
        reader.start()
        try:
            deadline = time.monotonic() + 60
            while not any("Prism is listening" in line for line in self.said):
                assert process.poll() is None, "".join(self.said)
                assert time.monotonic() < deadline, "".join(self.said)
                time.sleep(0.05)
            self.url = f"http://127.0.0.1:{port}"
            yield
        finally:
            process.terminate()
            process.wait(10)
            reader.join(10)
            said.close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    path = tmp_path_factory.mktemp("spec") / "v2010.json"
    path.write_text(json.dumps(corrected(json.loads(SPEC.read_text("utf-8")))), "utf-8")
    line = Line()
    with line.server, line.open(path):
        yield line


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[requests.Response]]:
    """What the channel was answered. Nothing in it may break the contract, in either direction."""
    answers: list[requests.Response] = []
    send = requests.Session.send

    def sent(session: requests.Session, prepared: Any, **options: Any) -> requests.Response:
        answers.append(send(session, prepared, **options))
        return answers[-1]

    monkeypatch.setattr(requests.Session, "send", sent)
    yield answers
    assert [a.text for a in answers if a.status_code in (422, 500) or "sl-violations" in a.headers] == []


@pytest.fixture
def fake(proxy: Line, monkeypatch: pytest.MonkeyPatch) -> FakeTwilio:
    proxy.fake = FakeTwilio()
    monkeypatch.setenv(SECRET_VARIABLE, proxy.fake.secret)
    return proxy.fake


def channel(proxy: Line, **settings: Any) -> SmsNotifier:
    return channel_of(proxy.fake, proxy.url, **{"timeout": 10.0, **settings})


def test_messages(proxy: Line, fake: FakeTwilio, answers: list[requests.Response]) -> None:
    channel(proxy, to=(FIRST, SECOND)).notify(alert("NAV −1 % & 日本円 = +"))
    channel(proxy, sender="FX Carry").notify(alert("🚨" * 300, is_over=True))
    channel(proxy, messaging_service="MG" + "1" * 32, segments=10).notify(alert("日" * 2000))
    assert [a.status_code for a in answers] == [201] * 4
    assert [text.to for text in fake.texts] == [FIRST, SECOND, FIRST, FIRST]


@pytest.mark.parametrize("settings", [{}, {"messaging_service": "MG" + "1" * 32}])
def test_the_list(proxy: Line, fake: FakeTwilio, answers: list[requests.Response], settings: dict[str, Any]) -> None:
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
def test_refusals(proxy: Line, fake: FakeTwilio, answers: list[requests.Response], code: int) -> None:
    fake.refuse(FIRST, code)
    with pytest.raises(NotifierError, match=f"Twilio refused with {code}"):
        channel(proxy).notify(alert())
    assert [a.json()["code"] for a in answers] == [code]


def test_check(proxy: Line, fake: FakeTwilio, answers: list[requests.Response]) -> None:
    assert "the balance is 20.00 USD" in channel(proxy).check()
    fake.type, fake.balance = "Trial", None
    assert "a trial" in channel(proxy).check()
    fake.api_key = "SK" + "2" * 32
    fake.balance = "1"
    channel(proxy).notify(alert())
    assert "below 5" in channel(proxy).check()
    assert [a.status_code for a in answers] == [200, 200, 200, 404, 201, 200, 200]


def test_the_schema_refuses_what_it_should(proxy: Line, fake: FakeTwilio) -> None:
    url = f"{proxy.url}{ACCOUNTS}/{fake.account_sid}/Messages.json"
    for form in ({"Body": "x", "From": FIRST}, {"To": FIRST, "MessagingServiceSid": "MG1"}):
        answer = requests.post(url, data=form, auth=(fake.account_sid, fake.secret), timeout=10)
        assert answer.status_code == 422, form
    assert requests.post(url, data={"To": FIRST}, timeout=10).status_code == 401
    assert fake.texts == []


class TestSmsNotifierBehindTheProxy(SmsNotifierSuite):
    """The channel passes its suite with the schema between it and the fake."""

    @pytest.fixture
    def fake(self, proxy: Line, monkeypatch: pytest.MonkeyPatch) -> FakeTwilio:
        proxy.fake = FakeTwilio()
        monkeypatch.setenv(SECRET_VARIABLE, proxy.fake.secret)
        return proxy.fake

    @pytest.fixture
    def notifier(self, proxy: Line, fake: FakeTwilio, answers: list[requests.Response]) -> SmsNotifier:
        return channel(proxy)
