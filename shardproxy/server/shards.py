"""The shards of a database in one worker: hidden databases with pools of their own, behind the one clients ask for.

Invariant: a shard's runtime has its parent's settings, credentials and facts, always; no client is ever a session of
it. It exists exactly as long as the topology has an entry for it.
"""

from __future__ import annotations

from typing import Any

from .database import DatabaseRuntime

__all__ = ["sync_shards"]


def sync_shards(worker: Any, parent: DatabaseRuntime) -> None:
    """Make, update and end the shards of a database as the worker's topology says now."""
    parent.gate.close()
    entries = {entry.place: entry for entry in worker.view.shards_of(parent.name)}
    for place, shard in list(parent.shards.items()):
        if place not in entries:
            for pool in shard.pools.values():
                pool.retire_all()
            del parent.shards[place]
            worker.databases.pop(shard.name, None)
    for place, entry in entries.items():
        known = parent.shards.get(place)
        if known is not None:
            known.set_view(entry)
            continue
        made = DatabaseRuntime(worker, entry.name, parent.entry, parent.config, entry, parent.dialect)
        made.parent, made.credentials, made.paused = parent, parent.credentials, parent.paused
        if parent.router.facts is not None:
            made.router.set_facts(parent.router.facts, parent.router.epoch)
        parent.shards[place] = worker.databases[entry.name] = made
