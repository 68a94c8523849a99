"""Host rules: who may connect from where, and by which method; the first rule that fits decides.

Without any rule everyone may try, by the method of [auth]. With rules, a connection that fits none is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from .errors import ClientError

__all__ = ["REJECT", "HostRule", "HostRules", "Peer", "Rule"]

REJECT = "reject"
ALL = "all"
UNIX = "unix"

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Rule(Protocol):
    """What a rule must have; the config's own rules do."""

    @property
    def source(self) -> str:
        """An address or network (CIDR), ``unix``, or ``all`` (unix sockets too)."""

    @property
    def user(self) -> str:
        """A user's name, or ``all``."""

    @property
    def database(self) -> str:
        """A database's name, or ``all``."""

    @property
    def tls(self) -> bool | Literal["any"]:
        """Required, forbidden, or ``any``."""

    @property
    def method(self) -> str:
        """How to prove who one is, or ``reject``."""


@dataclass(frozen=True, slots=True)
class HostRule:
    """One rule."""

    source: str = ALL
    user: str = ALL
    database: str = ALL
    tls: bool | Literal["any"] = "any"
    method: str = "scram-sha-256"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who wants to connect. ``address`` is ``None`` for a unix socket."""

    address: str | None
    user: str
    database: str
    tls: bool = False
    named_only: bool = False
    """What it asks for is more than a database: rules for ``all`` do not allow it, only those that name it."""

    def describe(self) -> str:
        """As PostgreSQL words it in its own refusals."""
        host = "[local]" if self.address is None else self.address
        encryption = "SSL encryption" if self.tls else "no encryption"
        return f'host "{host}", user "{self.user}", database "{self.database}", {encryption}'


class HostRules:
    """Rules made ready: ``method_for`` gives the method, or raises ``ClientError`` (28000)."""

    def __init__(self, rules: Sequence[Rule] = (), default_method: str = "scram-sha-256") -> None:
        """``ValueError`` for a source that is not one."""
        self._default_method = default_method
        self._rules = [(rule, _network(rule.source)) for rule in rules]

    def method_for(self, peer: Peer) -> str:
        """The method by which ``peer`` has to prove who it is."""
        if not self._rules:
            return self._default_method
        address = _address(peer.address)
        for rule, network in self._rules:
            if (
                rule.tls in ("any", peer.tls)
                and rule.user in (ALL, peer.user)
                and (rule.database == peer.database or (rule.database == ALL and not peer.named_only))
                and _contains(network, address)
            ):
                if rule.method == REJECT:
                    raise ClientError(
                        "28000", f"a host rule of shardproxy rejects connection for {peer.describe()}"
                    )
                return rule.method
        raise ClientError("28000", f"no host rule of shardproxy for {peer.describe()}")


def _network(text: str) -> _Network | str:
    if text in (ALL, UNIX):
        return text
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address or a network: {error}") from None


def _address(text: str | None) -> _Address | None:
    """The address without its zone; an IPv4 address that came over an IPv6 socket is an IPv4 address."""
    if text is None:
        return None
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ipaddress.IPv6Address(
            0
        )  # not an address we know: no one's, so that only all-embracing rules fit
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def _contains(network: _Network | str, address: _Address | None) -> bool:
    if isinstance(network, str):
        return network == ALL or address is None
    return address is not None and address in network
