"""Moved slots: every slot has an owner that is wanted, shares are even, and no plan moves fewer slots."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from shardproxy.tools.transfer.slots import dealt, fewest_moves, level, moved


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Owners of now, and the shards that are wanted."""
    shards = draw(st.integers(1, 8))
    owners = draw(st.lists(st.integers(0, shards - 1), min_size=1, max_size=200))
    wanted = draw(st.lists(st.integers(0, shards + 2), min_size=1, max_size=min(8, len(owners)), unique=True))
    return owners, wanted


@given(requests())
def test_all_slots_are_owned_evenly(request: tuple[list[int], list[int]]) -> None:
    owners, wanted = request
    made = fewest_moves(owners, wanted)
    counts = [made.count(shard) for shard in wanted]
    assert set(made) <= set(wanted) and len(made) == len(owners)
    assert sum(counts) == len(owners) and max(counts) - min(counts) <= 1


@given(requests())
def test_a_slot_moves_only_if_its_owner_has_too_many(request: tuple[list[int], list[int]]) -> None:
    owners, wanted = request
    made = fewest_moves(owners, wanted)
    for slot in moved(owners, made):
        assert owners[slot] not in wanted or owners.count(owners[slot]) > made.count(owners[slot])
    gained = {made[slot] for slot in moved(owners, made)}
    lost = {owners[slot] for slot in moved(owners, made)}
    assert not gained & lost


@given(st.lists(st.integers(0, 2), min_size=3, max_size=6), st.sampled_from([[0, 1], [0, 1, 2], [1, 2], [2]]))
def test_no_plan_moves_fewer(owners: list[int], wanted: list[int]) -> None:
    even = [plan for plan in product(wanted, repeat=len(owners))
            if max(map(plan.count, wanted)) - min(map(plan.count, wanted)) <= 1]
    assert len(moved(owners, fewest_moves(owners, wanted))) == min(len(moved(owners, plan)) for plan in even)


@given(requests())
def test_asked_again_nothing_moves(request: tuple[list[int], list[int]]) -> None:
    owners, wanted = request
    made = fewest_moves(owners, wanted)
    assert fewest_moves(made, wanted) == made


def test_from_two_to_three_a_third_moves() -> None:
    before = dealt(1024, [0, 1])
    made = fewest_moves(before, [0, 1, 2])
    assert len(moved(before, made)) == 341 and {made[slot] for slot in moved(before, made)} == {2}


@given(requests(), st.data())
def test_level_empties_shards_that_are_not_wanted(request: tuple[list[int], list[int]], data: st.DataObject) -> None:
    owners, wanted = request
    weights = data.draw(st.lists(st.floats(0, 1000, width=32), min_size=len(owners), max_size=len(owners)))
    assert set(level(owners, wanted, weights)) <= set(wanted)


@given(requests(), st.data())
def test_level_never_makes_the_heaviest_heavier(request: tuple[list[int], list[int]], data: st.DataObject) -> None:
    owners, wanted = request
    owners = [owner for owner in owners if owner in wanted] or [wanted[0]]
    weights = data.draw(st.lists(st.integers(0, 1000), min_size=len(owners), max_size=len(owners)))
    made = level(owners, wanted, weights)

    def heaviest(plan: list[int] | tuple[int, ...]) -> int:
        return max(sum(weight for owner, weight in zip(plan, weights, strict=True) if owner == shard)
                   for shard in wanted)

    assert heaviest(made) <= heaviest(owners)


def test_level_moves_one_heavy_slot_instead_of_many() -> None:
    assert moved([0, 0, 0, 1], level([0, 0, 0, 1], [0, 1], [10.0, 1.0, 9.0, 0.0])) in ([0], [2])
