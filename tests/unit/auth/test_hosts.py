"""Host rules: the first that fits decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.errors import ClientError
from shardproxy.hosts import HostRule, HostRules, Peer

APP = Peer("10.1.2.3", "app", "shop")


@pytest.mark.parametrize(
    ("source", "address", "fits"),
    [
        ("all", "10.1.2.3", True),
        ("all", "::1", True),
        ("all", None, True),
        ("unix", None, True),
        ("unix", "10.1.2.3", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),  # IPv4 over an IPv6 socket
        ("10.0.0.0/8", "::1", False),
        ("10.0.0.0/8", None, False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.9/8", "10.1.2.3", True),  # PostgreSQL takes host bits too
        ("0.0.0.0/0", "::1", False),
        ("::/0", "10.1.2.3", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("::1/128", "::1", True),
        ("10.0.0.0/8", "no address", False),
        ("all", "no address", True),
    ],
)
def test_sources(source: str, address: str | None, fits: bool) -> None:
    rules = HostRules([HostRule(source=source, method="md5")])
    peer = Peer(address, "app", "shop")
    if fits:
        assert rules.method_for(peer) == "md5"
    else:
        with pytest.raises(ClientError, match="no host rule of shardproxy for host"):
            rules.method_for(peer)


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        (HostRule(user="app"), True),
        (HostRule(user="other"), False),
        (HostRule(database="shop"), True),
        (HostRule(database="Shop"), False),
        (HostRule(tls=False), True),
        (HostRule(tls=True), False),
        (HostRule(source="10.0.0.0/8", user="app", database="shop", tls=False), True),
        (HostRule(source="10.0.0.0/8", user="app", database="other", tls=False), False),
    ],
)
def test_conditions(rule: HostRule, fits: bool) -> None:
    rules = HostRules([rule, HostRule(method="trust")])
    assert rules.method_for(APP) == ("scram-sha-256" if fits else "trust")


def test_first_match_and_reject() -> None:
    rules = HostRules(
        [HostRule(user="app", method="md5"), HostRule(source="10.0.0.0/8", method="reject"), HostRule()]
    )
    assert rules.method_for(APP) == "md5"
    assert rules.method_for(Peer(None, "other", "shop")) == "scram-sha-256"
    with pytest.raises(ClientError) as caught:
        rules.method_for(Peer("10.1.2.3", "other", "shop", tls=True))
    assert caught.value.sqlstate == "28000"
    assert caught.value.message == (
        "a host rule of shardproxy rejects connection "
        'for host "10.1.2.3", user "other", database "shop", SSL encryption'
    )


def test_refusal_tells_what_was_seen() -> None:
    with pytest.raises(ClientError) as caught:
        HostRules([HostRule(user="other")]).method_for(Peer(None, "app", "shop"))
    assert caught.value.message == (
        'no host rule of shardproxy for host "[local]", user "app", database "shop", no encryption'
    )


def test_without_rules_the_default_method_holds() -> None:
    assert HostRules((), "cert").method_for(APP) == "cert"


@pytest.mark.parametrize("source", ["", "10.0.0.0/33", "example.com", "All"])
def test_bad_sources(source: str) -> None:
    with pytest.raises(ValueError, match="is not an address or a network"):
        HostRules([HostRule(source=source)])


@given(st.text(), st.text(), st.text())
def test_any_peer_gets_an_answer(address: str, user: str, database: str) -> None:
    rules = HostRules(
        [HostRule(source="10.0.0.0/8", method="trust"), HostRule(source="::/0", method="reject")]
    )
    try:
        rules.method_for(Peer(address, user, database))
    except ClientError:
        pass
