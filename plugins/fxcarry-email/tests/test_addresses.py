"""Addresses: what is one, what is none, and what is said of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcarry.errors import ConfigError
from fxcarry_email.addresses import parse


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("me@example.com", "", "me@example.com"),
        (" me@example.com ", "", "me@example.com"),
        ("<me@example.com>", "", "me@example.com"),
        ("Me <me@example.com>", "Me", "me@example.com"),
        ("Me<me@example.com>", "Me", "me@example.com"),
        ('"Me, myself" <me@example.com>', "Me, myself", "me@example.com"),
        ('"a \\"b\\" c" <me@example.com>', 'a "b" c', "me@example.com"),
        ("Jürgen Groß <j.g+alerts@example.co.uk>", "Jürgen Groß", "j.g+alerts@example.co.uk"),
        ("日本 <a@localhost>", "日本", "a@localhost"),
        ("o'neil@example.com", "", "o'neil@example.com"),
        ("me@Bücher.example", "", "me@xn--bcher-kva.example"),
        ("me@xn--bcher-kva.example", "", "me@xn--bcher-kva.example"),
    ],
)
def test_an_address_is_taken(text: str, name: str, address: str) -> None:
    found = parse(text, "to")
    assert (found.display_name, found.addr_spec) == (name, address)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no @"),
        ("me", "there is no @"),
        ("Me <me>", "there is no @"),
        ("me@", "is no address"),
        ("@example.com", "is no address"),
        ("me@example..com", "is no address"),
        ("me@-example.com", "is no address"),
        ("me@exa mple.com", "is no address"),
        ("me.@example.com", "is no address"),
        ("a..b@example.com", "is no address"),
        ("a b@example.com", "is no address"),
        ("a@b@example.com", "is no address"),
        ("a@example.com, b@example.com", "is no address"),
        ("Me <a@example.com> <b@example.com>", "is no address"),
        ("me@example.com\r\nBcc: evil@example.com", "does not print"),
        ("Me\nBcc: evil@example.com <me@example.com>", "does not print"),
        ("Me\u202e <me@example.com>", "does not print"),
        ("Me\x00 <me@example.com>", "does not print"),
        ("jürgen@example.com", "not ASCII"),
        ("me@straße.example", "domain that cannot be written in ASCII"),
        (f"{'a' * 250}@example.com", "is no address"),
        (f"me@{'a' * 64}.com", "is no address"),
        (f"me@{'ä' * 64}.com", "domain"),
        ("=?utf-8?q?a=0D=0ABcc:_evil@example.com?= <me@example.com>", "encoded already"),
    ],
)
def test_what_is_none_is_refused_with_the_setting_and_what_to_do(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        parse(text, "sender")
    assert error.value.message.startswith("sender: ")
    assert error.value.hint


@given(st.text())
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    for tried in (text, f"{text}@example.com", f"me@{text}", f"{text} <me@example.com>"):
        try:
            found = parse(tried, "to")
        except ConfigError:
            continue
        assert found.addr_spec.isascii()
        assert not {*"\r\n"} & {*str(found)}
