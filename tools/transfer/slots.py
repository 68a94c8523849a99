"""Who owns which slots after a change of shards: even shares with the fewest moved slots.

Invariant: every slot has one of the wanted shards; a slot changes its owner only if its old one is not wanted any more
or would have more than its share.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["dealt", "fewest_moves", "level", "moved"]

TOLERANCE = 0.05
"""A shard this much above the mean is not worth another move."""


def dealt(slots: int, shards: Sequence[int]) -> tuple[int, ...]:
    """Even shares of neighbouring slots, as a first start deals them."""
    return tuple(shards[slot * len(shards) // slots] for slot in range(slots))


def moved(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """The slots whose owner is another one."""
    return [slot for slot, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]


def fewest_moves(owners: Sequence[int], shards: Sequence[int]) -> tuple[int, ...]:
    """New owners: numbers of slots that differ by at most one, over ``shards`` only."""
    shares = _shares(owners, shards)
    made = list(owners)
    kept = dict.fromkeys(shards, 0)
    free: list[int] = []
    for slot, owner in enumerate(owners):
        if owner in shares and kept[owner] < shares[owner]:
            kept[owner] += 1
        else:
            free.append(slot)
    for shard in shards:
        while kept[shard] < shares[shard]:
            made[free.pop(0)] = shard
            kept[shard] += 1
    return tuple(made)


def level(owners: Sequence[int], shards: Sequence[int], weights: Sequence[float]) -> tuple[int, ...]:
    """New owners, so that the weights of the shards come near each other: few, heavy slots are moved.

    Slots of shards that are not wanted go first, the heaviest to the lightest shard.
    """
    made = list(owners)
    load = dict.fromkeys(shards, 0.0)
    homeless = [slot for slot, owner in enumerate(owners) if owner not in load]
    for slot, owner in enumerate(owners):
        if owner in load:
            load[owner] += weights[slot]
    for slot in sorted(homeless, key=lambda slot: -weights[slot]):
        made[slot] = min(shards, key=lambda shard: (load[shard], shard))
        load[made[slot]] += weights[slot]
    mean = sum(load.values()) / len(shards)
    while True:
        heavy = max(shards, key=lambda shard: (load[shard], -shard))
        light = min(shards, key=lambda shard: (load[shard], shard))
        room = min(load[heavy] - mean, mean - load[light])
        most = 2 * room * (1 - 1e-6)        # a slot of twice the room would only change the roles of the two
        fits = [slot for slot, owner in enumerate(made) if owner == heavy and 0 < weights[slot] < most]
        if load[heavy] <= mean * (1 + TOLERANCE) or not fits:
            return tuple(made)
        # of those that do not overshoot the heaviest; else the lightest of all that still lessens the difference
        slot = max((slot for slot in fits if weights[slot] <= room), key=lambda slot: weights[slot],
                   default=min(fits, key=lambda slot: weights[slot]))
        made[slot] = light
        load[heavy] -= weights[slot]
        load[light] += weights[slot]


def _shares(owners: Sequence[int], shards: Sequence[int]) -> dict[int, int]:
    """How many slots each gets: who has most now gets one more, if it does not come out even."""
    small, larger = divmod(len(owners), len(shards))
    ranked = sorted(shards, key=lambda shard: (-owners.count(shard), shards.index(shard)))
    return {shard: small + (rank < larger) for rank, shard in enumerate(ranked)}
