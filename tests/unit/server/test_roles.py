"""Who is the primary: by hand for the cases that matter, and the invariants for any observations."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.dialects.replication import Observation, Position
from shardproxy.server.roles import Memory, decide

_runs = itertools.count()


def seen(writable: bool, timeline: int = 1, system: str = "A", instance: str = "") -> Observation:
    return Observation(writable, system, instance or f"run {next(_runs)}", Position(100, timeline))


NEW = Memory()


def test_the_writable_one() -> None:
    decision = decide([seen(False), seen(True), None], NEW)
    assert (decision.primary, decision.roles) == (1, ("replica", "primary", "down"))
    assert (decision.system, decision.timeline) == ("A", 1)


def test_an_old_primary_is_fenced() -> None:
    decision = decide([seen(True, 1), seen(True, 2), seen(False, 1)], NEW)
    assert (decision.primary, decision.roles) == (1, ("fenced", "primary", "replica"))


def test_a_primary_older_than_one_that_was_written_to() -> None:
    decision = decide([seen(True, 2), None], Memory("A", {"A": 3}))
    assert decision.primary is None
    assert decision.roles == ("fenced", "down")
    assert not decision.conflict
    assert "older than 3" in decision.why


def test_two_on_one_timeline() -> None:
    both = [seen(True, 2), seen(True, 2), seen(False, 2)]
    decision = decide(both, NEW)
    assert decision.primary is None
    assert decision.conflict
    assert decision.roles == ("fenced", "fenced", "replica")
    assert decide(both, NEW, preferred=2).primary is None       # a hint alone makes no primary
    hinted = decide(both, NEW, preferred=1)
    assert (hinted.primary, hinted.roles) == (1, ("fenced", "primary", "replica"))


def test_one_server_under_two_addresses_is_no_conflict() -> None:
    decision = decide([seen(True, instance="x"), seen(True, instance="x")], NEW)
    assert (decision.primary, decision.roles) == (0, ("primary", "down"))


def test_another_installation() -> None:
    known = Memory("A", {"A": 2})
    decision = decide([seen(True, 2), seen(True, 9, "B"), seen(False, 9, "B")], known)
    assert (decision.primary, decision.roles) == (0, ("primary", "fenced", "fenced"))
    assert decide([None, seen(True, 1, "B")], known).primary is None        # the known one may come back
    assert decide([seen(False, 1, "B"), seen(True, 1, "B")], known).primary == 1    # all were replaced
    unknown = decide([seen(True, 1, "A"), seen(True, 1, "B")], NEW)
    assert unknown.primary is None
    assert unknown.conflict


OBSERVED = st.none() | st.builds(seen, st.booleans(), st.integers(1, 4), st.sampled_from("AB"),
                                 st.sampled_from(["", "x"]))


@given(st.lists(OBSERVED, min_size=1, max_size=5), st.sampled_from(["", "A", "B"]), st.integers(0, 4),
       st.none() | st.integers(0, 4))
def test_invariants(servers: list[Observation | None], system: str, timeline: int, preferred: int | None) -> None:
    decision = decide(servers, Memory(system, {"A": timeline}), preferred)
    assert len(decision.roles) == len(servers)
    assert decision.roles.count("primary") == (decision.primary is not None)
    for one, role in zip(servers, decision.roles, strict=True):
        assert (one is None) <= (role == "down")
        assert (role == "replica") <= (one is not None and not one.writable)
    if decision.primary is None:
        assert decision.why
        return
    primary = servers[decision.primary]
    assert primary is not None
    assert primary.writable
    assert primary.system != "A" or primary.position.timeline >= timeline
    for number, one in enumerate(servers):
        if one is not None and one.writable and one.system == primary.system and number != decision.primary:
            assert one.position.timeline <= primary.position.timeline
            assert decision.roles[number] in ("fenced", "down")


@pytest.mark.parametrize("nothing", [[None], [None, None], [seen(False), None]])
def test_nobody_to_write_to(nothing: list[Observation | None]) -> None:
    decision = decide(nothing, NEW)
    assert decision.primary is None
    assert not decision.conflict
