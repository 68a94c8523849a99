"""Addresses: every documented form, round trips, and no crash on any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.config.addresses import Address, ListenAddress, parse_address, parse_listen
from shardproxy.config.values import SettingError


@pytest.mark.parametrize(("text", "expected"), [
    ("127.0.0.1:25000/shop", Address("127.0.0.1", 25000, "shop")),
    ("db1.internal:5432", Address("db1.internal", 5432)),
    ("[::1]:5432/db", Address("::1", 5432, "db")),
    ("unix:/run/postgresql:5432/db", Address("", 5432, "db", "/run/postgresql")),
    ("/run/postgresql:5432/db", Address("", 5432, "db", "/run/postgresql")),
    ("/run/postgresql:5432", Address("", 5432, "", "/run/postgresql")),
    ("/tmp/a:b:5433/my db", Address("", 5433, "my db", "/tmp/a:b")),
    ("host:1/with/slash", Address("host", 1, "with/slash")),
    ("my_host:1/ünï", Address("my_host", 1, "ünï")),
])
def test_server_address(text: str, expected: Address) -> None:
    assert parse_address(text) == expected
    assert parse_address(str(expected)) == expected


@pytest.mark.parametrize(("text", "problem"), [
    ("localhost", "has no port"), ("localhost:", "has no port"), ("localhost:x", "valid port"), ("a:0", "port 0"),
    ("a:65536", "valid port"), ("a:-1", "valid port"), ("::1:5432", "more than one"), ("[::g]:1", "IPv6"),
    ("[::1]", "has no port"), ("[::1]5432", "more than one"), ("999.1.1.1:5", "IPv4"), (":5432", "host"),
    ("*:5432", "host"), ("a b:1", "host"), ("a:1/", 'ends with "/"'), ("/run/postgresql", "unix socket"),
    ("unix:relative:5", "unix socket"), ("postgres://u:p@h/d", "URL"), ("", "has no port"), ("a:1/\0", "zero byte"),
    ("-a:1", "host"), ("a:５", "valid port"),
])
def test_wrong_server_address(text: str, problem: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_address(text)
    assert problem in caught.value.problem
    assert caught.value.remedy


def test_url_with_a_password_is_not_repeated() -> None:
    with pytest.raises(SettingError) as caught:
        parse_address("postgres://user:hush@host/db")
    assert "hush" not in caught.value.problem + caught.value.remedy


@pytest.mark.parametrize(("text", "expected"), [
    ("127.0.0.1:6432", ListenAddress("127.0.0.1", 6432)), ("*:6432", ListenAddress("*", 6432)),
    ("[::]:0", ListenAddress("::", 0)), ("localhost:6432", ListenAddress("localhost", 6432)),
])
def test_listen_address(text: str, expected: ListenAddress) -> None:
    assert parse_listen(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("value", [5432, None, ["a:1"], "a:1/db", "/run/x"])
def test_wrong_listen_address(value: object) -> None:
    with pytest.raises(SettingError):
        parse_listen(value)


_names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
_ports = st.integers(1, 65535)
_hosts = st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z]([a-z0-9-]*[a-z0-9])?", fullmatch=True))
_tcp = st.builds(Address, _hosts,
                 _ports, st.one_of(st.just(""), _names.filter(lambda name: "://" not in name)))


@given(_tcp)
def test_round_trip(address: Address) -> None:
    assert parse_address(str(address)) == address


@given(st.text())
def test_any_text_gives_an_address_or_a_setting_error(text: str) -> None:
    for parse in (parse_address, parse_listen):
        try:
            address = parse(text)
        except SettingError:
            continue
        assert parse(str(address)) == address


def test_the_requested_name_fills_a_missing_database() -> None:
    assert parse_address("a:1").with_dbname("x").dbname == "x"
    assert parse_address("a:1/own").with_dbname("x").dbname == "own"
