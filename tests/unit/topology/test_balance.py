"""Balancing: each policy does what its name says, with any servers; sessions never see time run backwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.topology.balance import POLICIES, State, Sticky, choose, pick, within_lag
from shardproxy.topology.board_cy import Board
from shardproxy.topology.view import REPLICA, DatabaseView, ServerView

ZONES = st.sampled_from(["", "a", "b"])
WEIGHTS = st.sampled_from([0.0, 0.5, 1.0, 3.0])
POLICY = st.sampled_from(sorted(POLICIES))


def server(number: int, weight: float = 1.0, zone: str = "", draining: bool = False,
           banned: bool = False) -> ServerView:
    return ServerView(f"shop/main/main/{number}", number, "10.0.0.1", 5000 + number, "shop", role=REPLICA,
                      healthy=True, weight=weight, zone=zone, draining=draining, banned=banned)


SERVERS = st.lists(st.tuples(WEIGHTS, ZONES, st.booleans(), st.booleans()), max_size=6).map(
    lambda made: [server(number, weight, zone, draining=draining, banned=banned)
                  for number, (weight, zone, draining, banned) in enumerate(made)])


@given(SERVERS, POLICY, st.text(max_size=5), ZONES, st.dictionaries(st.integers(0, 5), st.integers(0, 9)))
def test_only_what_may_be_chosen_is(servers: list[ServerView], policy: str, client: str, zone: str,
                                    used: dict[int, int]) -> None:
    view = DatabaseView("shop", 0, False, None, tuple(servers))
    in_use = {f"shop/main/main/{number}": count for number, count in used.items()}
    state = State()
    allowed = [one for one in servers if not one.draining and not one.banned]
    allowed = [one for one in allowed if one.weight > 0] or allowed
    if zone:
        allowed = [one for one in allowed if one.zone == zone] or allowed
    for _ in range(5):
        chosen = choose(view, policy, client, in_use, state=state, zone=zone)
        assert chosen in allowed if allowed else chosen is None


def counted(policy: str, servers: Sequence[ServerView], times: int, in_use: Mapping[str, int] | None = None,
            client: str = "c", board: Board | None = None) -> Counter[int]:
    state = State()
    chosen = (pick(servers, policy, client, in_use or {}, state, board) for _ in range(times))
    return Counter(one.index for one in chosen if one is not None)


def test_round_robin_takes_turns() -> None:
    assert counted("round_robin", [server(0), server(1), server(2)], 9) == {0: 3, 1: 3, 2: 3}


def test_least_connections() -> None:
    servers = [server(0), server(1), server(2, weight=3.0)]
    ids = [one.id for one in servers]
    assert counted("least_connections", servers, 4, {ids[0]: 2, ids[1]: 1, ids[2]: 6}) == {1: 4}
    assert counted("least_connections", servers, 4, {ids[0]: 2, ids[1]: 3, ids[2]: 3}) == {2: 4}
    assert counted("least_connections", servers[:2], 4) == {0: 2, 1: 2}


@given(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=5))
def test_weighted_is_in_proportion_at_every_moment(weights: list[float]) -> None:
    servers = [server(number, weight) for number, weight in enumerate(weights)]
    state, seen = State(), Counter[int]()
    for turn in range(1, 61):
        chosen = pick(servers, "weighted", "c", {}, state)
        assert chosen is not None
        seen[chosen.index] += 1
        for one in servers:
            assert abs(seen[one.index] - turn * one.weight / sum(weights)) < len(weights)


def test_fastest_prefers_the_near_and_idle() -> None:
    board = Board.create()
    board.set_figures(0, 0, 0, 0, 0, 200)
    board.set_figures(1, 0, 0, 0, 0, 900)
    servers = [server(0), server(1)]
    assert counted("fastest", servers, 5, board=board) == {0: 5}
    assert counted("fastest", servers, 5, {servers[0].id: 9}, board=board) == {1: 5}


def test_client_hash_moves_only_the_clients_of_a_server_that_left() -> None:
    servers = [server(number) for number in range(4)]
    clients = [f"10.1.{high}.{low}" for high in range(20) for low in range(50)]

    def map_of(present: Sequence[ServerView]) -> dict[str, int]:
        return {client: next(iter(counted("client_hash", present, 1, client=client))) for client in clients}

    before, after = map_of(servers), map_of(servers[:3])
    assert all(after[client] == before[client] for client in clients if before[client] != 3)
    assert all(150 < share < 350 for share in Counter(before.values()).values())
    heavy = Counter(map_of([replace(servers[0], weight=3.0), servers[1]]).values())
    assert 650 < heavy[0] < 850


def test_a_replica_behind_the_limit_is_left_out() -> None:
    board = Board.create()
    servers = [server(number) for number in range(4)]
    for number, (lag_bytes, lag_ms) in enumerate([(0, 0), (2000, 10), (10, 9000), (-1, -1)]):
        board.set_figures(number, 0, 0, lag_bytes, lag_ms, 0)
        board.set_fresh(number, 1)
    assert [one.index for one in within_lag(servers, board, 5000, None)] == [0, 1]
    assert [one.index for one in within_lag(servers, board, None, 1000)] == [0, 2]
    assert [one.index for one in within_lag(servers, board, 5000, 1000)] == [0]
    board.set_fresh(0, 0)       # cannot be measured any more
    view = DatabaseView("shop", 0, False, None, tuple(servers))
    assert choose(view, "round_robin", "c", {}, board=board, lag_ms_max=5000, lag_bytes_max=1000) is None
    assert choose(view, "round_robin", "c", {}, board=board) is not None


def test_what_the_session_demands() -> None:
    view = DatabaseView("shop", 0, False, None, (server(0), server(1)))
    assert choose(view, "round_robin", "c", {}, eligible=lambda one: one.index == 1) == server(1)
    assert choose(view, "round_robin", "c", {}, eligible=lambda one: False) is None


def first(candidates: Sequence[ServerView]) -> ServerView | None:
    return candidates[0] if candidates else None


def test_a_session_stays_and_moves_only_forward() -> None:
    board, sticky = Board.create(), Sticky()
    servers = [server(0), server(1)]
    board.set_fresh(0, 100)
    board.set_fresh(1, 100)
    assert sticky.choose(servers, board, first) == servers[0]
    sticky.note(servers[0].id, 150)
    assert sticky.choose(list(reversed(servers)), board, first) == servers[0]
    assert sticky.choose(servers[1:], board, first) is None             # it may show less than was seen
    assert sticky.choose(servers[1:], board, first, settled=True) is None   # of what was written past the proxy
    board.set_fresh(1, 151)
    assert sticky.choose(servers[1:], board, first) == servers[1]
    sticky.note(None, 200)                                              # on the primary
    assert sticky.choose(servers, board, first) is None
    assert sticky.choose(servers, board, first, settled=True) == servers[0]
    board.set_fresh(0, 201)
    assert sticky.choose(servers, board, first) == servers[0]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_one_candidate_is_chosen_whatever_it_is(policy: str) -> None:
    lame = server(3, weight=0.0, zone="elsewhere")
    assert pick([lame], policy, "c", {}, State(), None, "here") == lame
    assert pick([], policy, "c", {}, State(), None, "here") is None
