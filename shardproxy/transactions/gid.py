"""Names of distributed transactions: ``shardproxy:<installation>:<decider>:<participant>:<incarnation>:<number>``.

Invariants:
* A name is shorter than 200 bytes, and no two participants of one installation have the same one.
* The decider, and who coordinates, can be told from the name of any participant alone.
* ``number`` ends with a digest of a proof that only the coordinator knows until it decides; names can be seen by every
  user of a server, and must not be enough to decide what they stand for.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace

__all__ = ["GID_MAX", "Gid", "coded", "new_gid", "parse", "place_of", "prefix", "proof_digest"]

GID_MAX = 199
PREFIX = "shardproxy"
PLACE_MAX = 48
"""A longer name of a place is replaced by a digest of it."""
DIGEST_LEN = 32


@dataclass(frozen=True, slots=True)
class Gid:
    """The name at one participant. Places are coded (see ``coded``)."""

    installation: str
    decider: str
    participant: str
    incarnation: str
    number: str

    def __str__(self) -> str:
        return ":".join((PREFIX, self.installation, self.decider, self.participant, self.incarnation, self.number))

    def at(self, place: str) -> Gid:
        """The same transaction at another place."""
        return replace(self, participant=coded(place))

    @property
    def key(self) -> str:
        """One name for the whole transaction, that of its decider: under this the decision is kept."""
        return str(replace(self, participant=self.decider))


def coded(place: str) -> str:
    """A place as part of a name: as it is if it is short and plain, else a digest."""
    if len(place) <= PLACE_MAX and place.isascii() and place.isprintable() and not set(place) & set(":~'\\"):
        return place
    return "~" + hashlib.sha256(place.encode()).hexdigest()[:24]


def proof_digest(proof: str) -> str:
    """What a name shows of a proof."""
    return hashlib.sha256(proof.encode()).hexdigest()[:DIGEST_LEN]


def new_gid(installation: str, decider: str, incarnation: str, number: int) -> tuple[Gid, str]:
    """A new transaction's name, at its decider, and the proof that goes with it."""
    proof = secrets.token_hex(16)
    place = coded(decider)
    return Gid(installation, place, place, incarnation, f"{number:x}-{proof_digest(proof)}"), proof


def prefix(installation: str) -> str:
    """What all names of an installation begin with."""
    return f"{PREFIX}:{installation}:"


def parse(text: str, installation: str) -> Gid | None:
    """A name of this installation; None for any other text."""
    parts = text.split(":")
    if not text.isascii() or not text.isprintable() or "'" in text or "\\" in text:
        return None  # ours are plain, and are put into statements
    if len(parts) != 6 or parts[0] != PREFIX or parts[1] != installation or not (parts[4] and parts[5]):
        return None
    return Gid(*parts[1:])


def place_of(code: str, places: Iterable[str]) -> str | None:
    """The place that has this code; None if it is none of these."""
    return next((place for place in places if coded(place) == code), None)
