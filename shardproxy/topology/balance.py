"""Which of several servers gets the next read.

    round_robin         one after the other
    least_connections   fewest connections in use, for its weight
    fastest             shortest round trip, times what is already waiting there
    weighted            in proportion to the weights, evenly interleaved
    client_hash         the same server for the same client, as long as it is there

Invariants: only candidates are chosen, and only of the best zone that has any; a server of weight 0 is chosen only if
all are. Nothing is read but the arguments, so the same state and arguments give the same choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

from .board_cy import Board
from .view import DatabaseView, ServerView

__all__ = ["POLICIES", "State", "Sticky", "choose", "in_zone", "pick", "within_lag"]


@dataclass(slots=True)
class State:
    """What a policy remembers between choices: a counter, and the credit of each server."""

    turn: int = 0
    credit: dict[str, float] = field(default_factory=dict)


Score = Callable[[ServerView], float]


def choose(view: DatabaseView, policy: str, client_key: str, in_use: Mapping[str, int], *, state: State | None = None,
           board: Board | None = None, zone: str = "", lag_ms_max: int | None = None, lag_bytes_max: int | None = None,
           eligible: Callable[[ServerView], bool] | None = None) -> ServerView | None:
    """A replica for a read; None if there is none. ``eligible`` is what the session demands (freshness)."""
    candidates: Sequence[ServerView] = view.replicas
    if board is not None and (lag_ms_max is not None or lag_bytes_max is not None):
        candidates = within_lag(candidates, board, lag_ms_max, lag_bytes_max)
    if eligible is not None:
        candidates = [server for server in candidates if eligible(server)]
    return pick(candidates, policy, client_key, in_use, state or State(), board, zone)


def pick(candidates: Sequence[ServerView], policy: str, client_key: str, in_use: Mapping[str, int], state: State,
         board: Board | None = None, zone: str = "") -> ServerView | None:
    """One of these servers, by a policy; None if there is none."""
    if len(candidates) > 1:
        candidates = in_zone([server for server in candidates if server.weight > 0] or candidates, zone)
    if not candidates:
        return None
    if len(candidates) == 1:
        return candidates[0]
    return POLICIES[policy](candidates, client_key, in_use, state, board)


def in_zone(candidates: Sequence[ServerView], zone: str) -> Sequence[ServerView]:
    """Those of the zone, if there are any; all of them otherwise."""
    if not zone:
        return candidates
    return [server for server in candidates if server.zone == zone] or candidates


def within_lag(candidates: Iterable[ServerView], board: Board, lag_ms_max: int | None,
               lag_bytes_max: int | None) -> list[ServerView]:
    """Those that are not further behind than allowed. One whose lag is not known is too far."""
    found: list[ServerView] = []
    for server in candidates:
        figures = board.figures(server.index)
        lag_ms, lag_bytes = figures["lag_ms"], figures["lag_bytes"]
        if board.fresh_as_of(server.index) == 0 or lag_ms < 0:
            continue
        if lag_ms_max is not None and lag_ms > lag_ms_max:
            continue
        if lag_bytes_max is not None and lag_bytes > lag_bytes_max:
            continue
        found.append(server)
    return found


# ------------------------------------------------------------------------------------------------- policies


def _lowest(candidates: Sequence[ServerView], score: Score, state: State) -> ServerView:
    """The lowest score; those that are equal take turns."""
    scores = [score(server) for server in candidates]
    best = min(scores)
    equal = [server for server, its in zip(candidates, scores, strict=True) if its == best]
    return equal[_turn(state) % len(equal)]


def _turn(state: State) -> int:
    state.turn += 1
    return state.turn - 1


def _round_robin(candidates: Sequence[ServerView], client_key: str, in_use: Mapping[str, int], state: State,
                 board: Board | None) -> ServerView:
    return candidates[_turn(state) % len(candidates)]


def _least_connections(candidates: Sequence[ServerView], client_key: str, in_use: Mapping[str, int], state: State,
                       board: Board | None) -> ServerView:
    return _lowest(candidates, lambda server: in_use.get(server.id, 0) / (server.weight or 1.0), state)


def _fastest(candidates: Sequence[ServerView], client_key: str, in_use: Mapping[str, int], state: State,
             board: Board | None) -> ServerView:
    def cost(server: ServerView) -> float:
        latency = board.latency_us(server.index) if board is not None else 0
        return max(1, latency) * (1 + in_use.get(server.id, 0)) / (server.weight or 1.0)

    return _lowest(candidates, cost, state)


def _weighted(candidates: Sequence[ServerView], client_key: str, in_use: Mapping[str, int], state: State,
              board: Board | None) -> ServerView:
    """Everyone earns its weight, the richest is chosen and pays for all: in proportion at every moment."""
    credit = {server.id: state.credit.get(server.id, 0.0) + (server.weight or 1.0) for server in candidates}
    chosen = max(candidates, key=lambda server: credit[server.id])
    credit[chosen.id] -= sum(server.weight or 1.0 for server in candidates)
    state.credit = credit
    return chosen


def _client_hash(candidates: Sequence[ServerView], client_key: str, in_use: Mapping[str, int], state: State,
                 board: Board | None) -> ServerView:
    """Rendezvous hashing: a server that comes or goes moves only its own share of the clients."""
    return max(candidates, key=lambda server: _draw(client_key, server.id) ** (1 / (server.weight or 1.0)))


@lru_cache(maxsize=16384)
def _draw(client_key: str, server_id: str) -> float:
    """A number between 0 and 1 that only depends on the two."""
    digest = blake2b(f"{client_key}\0{server_id}".encode(errors="surrogateescape"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 1) / (2**64 + 1)


POLICIES: Mapping[str, Callable[..., ServerView]] = {
    "round_robin": _round_robin,
    "least_connections": _least_connections,
    "fastest": _fastest,
    "weighted": _weighted,
    "client_hash": _client_hash,
}


# ------------------------------------------------------------------------------------------------- monotonic reads


class Sticky:
    """Where a session reads, so that it never sees time run backwards.

    Invariant: a server is left only for one that shows everything that was visible when the session last read. The
    primary shows everything, so moving there is always right; moving away from it is a move like any other.
    """

    __slots__ = ("last_read_ns", "server_id")

    def __init__(self) -> None:
        self.server_id: str | None = None
        """The replica of the last read; None: the primary, or there was none."""
        self.last_read_ns = 0

    def may_move(self, server: ServerView, board: Board, settled: bool = False) -> bool:
        """Whether the next read may go there.

        ``settled``: all candidates are ``Board.may_read``, and nothing was in flight for the tables before that was
        asked (``Board.settled``). Then none of them shows less than the primary did to clients of this proxy, and the
        primary may be left at once. From one replica to another that is not enough: they may differ in what others
        wrote past the proxy.
        """
        return (server.id == self.server_id or self.last_read_ns == 0 or (settled and self.server_id is None)
                or board.may_read_after(server.index, self.last_read_ns))

    def choose(self, candidates: Sequence[ServerView], board: Board,
               picked: Callable[[Sequence[ServerView]], ServerView | None], *, settled: bool = False,
               ) -> ServerView | None:
        """One of those that the session may read from now. None: the primary has to."""
        return picked([server for server in candidates if self.may_move(server, board, settled)])

    def note(self, server_id: str | None, now_ns: int) -> None:
        """A read on this server (None: the primary) was answered."""
        self.server_id, self.last_read_ns = server_id, max(now_ns, self.last_read_ns)
