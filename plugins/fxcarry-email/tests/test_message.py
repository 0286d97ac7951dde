"""The mail of an alert: its headers, its parts, and that nothing said in it can be anything but text."""

from __future__ import annotations

import email
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.alerts import AlertKind, words
from fxcarry.errors import ConfigError
from fxcarry.model import Alert
from fxcarry_email.addresses import parse
from fxcarry_email.message import compose

MakeAlert = Callable[..., Alert]
NOW = datetime(2025, 3, 12, 13, 6, tzinfo=UTC)
SENDER = Address(display_name="fxcarry", username="ops", domain="example.com")
TO = [Address(username="me", domain="example.com")]
USUAL = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
THREAD = ["In-Reply-To", "References"]


def arrived(alert: Alert, sender: Address = SENDER, to: list[Address] = TO) -> EmailMessage:
    """The mail of an alert as it is read again from its bytes."""
    data = compose(alert, sender, to, NOW).as_bytes()
    assert max(map(len, data.split(b"\r\n"))) <= 998
    assert data.isascii()
    assert b"\n" not in data.replace(b"\r\n", b"")
    message = email.message_from_bytes(data, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def test_it_has_text_and_html_that_say_the_same(alert: MakeAlert) -> None:
    told = alert(fields={"pair": "EURUSD", "nav": 100_250.5, "currency": "USD"})
    message = arrived(told)
    assert message.get_content_type() == "multipart/alternative"
    assert [p.get_content_type() for p in message.iter_parts()] == ["text/plain", "text/html"]
    text, page = part(message, "plain"), unescape(part(message, "html"))
    assert text.strip() == words(told).text()
    said = words(told)
    for piece in (said.title, said.happened, said.did, said.may, said.at, "nav", "100,250.50 USD", "EURUSD"):
        assert piece in page, piece
    assert message["Subject"] == "fxcarry warning: stop-missing: EURUSD is unprotected"
    assert list(message) == USUAL or sorted(message) == sorted(USUAL)


def test_the_date_is_now_and_the_time_of_the_alert_is_in_the_text(alert: MakeAlert) -> None:
    message = arrived(alert(at=datetime(2025, 3, 11, 23, 30, tzinfo=timezone(timedelta(hours=1)))))
    assert parsedate_to_datetime(message["Date"]) == NOW
    assert "2025-03-11 22:30:00 UTC" in part(message, "plain")


def test_nothing_is_loaded_from_anywhere(alert: MakeAlert) -> None:
    page = part(arrived(alert(fields={"a": "https://example.com/x.png"})), "html")
    assert not re.search(r"""(?i)(src|href|background|action)\s*=|url\(|@import|<(script|img|link|iframe|form)""", page)


@pytest.mark.parametrize(
    ("severity", "headers"),
    [("info", []), ("warning", []), ("critical", [("X-Priority", "1"), ("Importance", "high")])],
)
def test_a_critical_alert_is_important(alert: MakeAlert, severity: str, headers: list[tuple[str, str]]) -> None:
    message = arrived(alert(severity=severity))
    found = [(name, value) for name, value in message.items() if name in ("X-Priority", "Importance")]
    assert found == headers
    assert message["Auto-Submitted"] == "auto-generated"


def test_the_id_follows_from_the_alert(alert: MakeAlert) -> None:
    told = alert(key="stop:EURUSD")
    one = compose(told, SENDER, TO, NOW)["Message-ID"]
    assert compose(told, SENDER, TO, NOW + timedelta(hours=1))["Message-ID"] == one
    assert re.fullmatch(r"<[0-9a-f]{40}@example\.com>", one)
    others = [
        alert("another", key="stop:EURUSD"),
        alert(key="stop:EURUSD", at=told.at + timedelta(microseconds=1)),
        alert(key="stop:EURUSD", kind="stop-loss"),
        alert(key="stop:EURUSD", severity="info"),
        alert(key="stop:GBPUSD"),
        alert(key="stop:EURUSD", is_over=True),
    ]
    ids = [compose(other, SENDER, TO, NOW)["Message-ID"] for other in others]
    sender = Address(username="other", domain="example.com")
    assert len({one, *ids, compose(told, sender, TO, NOW)["Message-ID"]}) == 8


def test_a_condition_and_its_end_are_one_thread(alert: MakeAlert) -> None:
    begun = arrived(alert(key="feed", kind="feed-error"))
    ended = arrived(alert("prices again", key="feed", kind="feed-error", is_over=True, severity="info"))
    another = arrived(alert(key="feed", kind="broker-error"))
    assert begun["References"] == begun["In-Reply-To"] == ended["References"] == ended["In-Reply-To"]
    assert begun["Message-ID"] != ended["Message-ID"]
    assert another["References"] != begun["References"]
    assert not {*THREAD} & {*arrived(alert()).keys()}


DAY = {
    "period": "daily", "date": "2025-03-12", "nav": 100_250.5, "currency": "USD", "pnl": 12.5, "return": 0.0012,
    "spot": 3.0, "carry": 10.0, "cost": -0.5, "translation": 0.0, "other": 0.0, "flows": 0.0, "tonight": None,
    "positions": [{"instrument": "AUDUSD", "units": 1000.0, "value": 660.0, "weight": 0.0066}],
}  # fmt: skip


def test_a_digest_has_its_report_attached_named_by_its_day(alert: MakeAlert) -> None:
    at = datetime(2025, 3, 12, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    told = alert("a quiet day", kind=AlertKind.DIGEST, severity="info", at=at, fields=DAY)
    message = arrived(told)
    assert message.get_content_type() == "multipart/mixed"
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "fxcarry-2025-03-12-daily.html"  # the trade date it is of
    assert attached.get_content_type() == "text/html"
    assert attached.get_content_disposition() == "attachment"
    page = attached.get_content()
    assert page.startswith("<!doctype html>")
    assert "daily digest 2025-03-12: NAV 100,250.50 USD" in page
    assert "+10.00" in page
    assert part(message, "plain").strip() == words(told).text()


def test_a_digest_of_another_make_has_none(alert: MakeAlert) -> None:
    message = arrived(alert("a quiet day", kind=AlertKind.DIGEST, severity="info", fields={"mood": "good"}))
    assert message.get_content_type() == "multipart/alternative"


def test_names_in_any_script_arrive(alert: MakeAlert) -> None:
    sender = parse("Müller, 佐藤 & «Söhne» 🏦 <ops@bücher.example>", "sender")
    to = [parse('"O\'Neil; Ann (desk)" <ann@example.com>', "to"), parse("ünal <b@example.com>", "to")]
    message = arrived(alert(), sender, to)
    (read,) = message["From"].addresses
    assert (read.display_name, read.addr_spec) == ("Müller, 佐藤 & «Söhne» 🏦", "ops@xn--bcher-kva.example")
    names = [(a.display_name, a.addr_spec) for a in message["To"].addresses]
    assert names == [("O'Neil; Ann (desk)", "ann@example.com"), ("ünal", "b@example.com")]


INJECTIONS = [
    "a\r\nBcc: evil@example.com",
    "a\nBcc: evil@example.com\n\nbody",
    "a\rBcc: evil@example.com",
    "a\u2028Bcc: evil@example.com",
    "a\x85Bcc: evil@example.com",
    "a\x0bBcc: evil@example.com\x0c",
    "=?utf-8?q?a=0D=0ABcc:_evil@example.com?=",
    "\x00\x07\x1b[31m\x7f",
    "\u202egnp.exe\u202c",
    "\ud800 lone",
    "🏦👩‍👩‍👧 ¥ 日本円 עברית",
    "",
    " ",
    "\n\n",
    ".\r\n.\r\nQUIT\r\n",
]


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("where", ["message", "kind", "key"])
def test_no_text_makes_a_header(alert: MakeAlert, text: str, where: str) -> None:
    told = alert(**{where: text, "fields": {text or "x": text}})
    message = arrived(told)
    expected = USUAL + (THREAD if told.key else [])
    assert sorted(message.keys()) == sorted(expected)
    assert [a.addr_spec for a in message["To"].addresses] == ["me@example.com"]
    said = part(message, "plain") + part(message, "html") + message["Subject"]
    assert not set(said) & {*map(chr, range(9)), "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\u2028", "\u202e"}


@given(
    message=st.text(max_size=300),
    kind=st.text(max_size=40),
    key=st.text(max_size=40),
    fields=st.dictionaries(st.text(max_size=20), st.text(max_size=40) | st.floats() | st.none(), max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_any_text_arrives_as_it_is_said(message: str, kind: str, key: str, fields: dict[str, object]) -> None:
    told = Alert(at=NOW, kind=kind, severity="critical", message=message, fields=fields, key=key)
    mail = arrived(told)
    expected = [*USUAL, "X-Priority", "Importance", *(THREAD if key else [])]
    assert sorted(mail.keys()) == sorted(expected)
    said = words(told)
    assert part(mail, "plain") == f"{said.text()}\n"
    assert "".join(mail["Subject"].split()) == "".join(said.subject.split())  # folding may lose a blank


@given(name=st.text(max_size=80))
@settings(max_examples=60, deadline=None)
def test_any_name_is_refused_or_arrives(name: str) -> None:
    try:
        sender = parse(f"{name} <ops@example.com>", "sender")
    except ConfigError:
        return
    mail = arrived(Alert(at=NOW, kind="self-test", severity="info", message=""), sender)
    assert sorted(mail.keys()) == sorted(USUAL)
    (read,) = mail["From"].addresses
    assert read.addr_spec == "ops@example.com"
    assert "".join(read.display_name.split()) == "".join(sender.display_name.split())


def test_ten_kilobytes_arrive_whole(alert: MakeAlert) -> None:
    long = "0123456789" * 1024
    message = arrived(alert(long))
    assert long in part(message, "plain")
    assert long in part(message, "html")
    assert len(message["Subject"]) == 150


def test_markup_is_text(alert: MakeAlert) -> None:
    text = "<b>&amp; \"q\" 'q' {{ 7*7 }} {% if %} </table></style><script>alert(1)</script>"
    page = part(arrived(alert(text, kind="<i>", fields={"<u>": "<s>"})), "html")
    assert "<b>" not in page
    assert "<script" not in page
    assert "<u>" not in page
    assert "<s>" not in page
    assert "<i>" not in page
    assert text in unescape(page)
