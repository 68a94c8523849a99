"""Plans of DDL over several servers, and what a sharded table may not have.

Invariants:
* A sharded table's keys can be checked on one shard: every unique constraint contains the sharding key, every foreign
  key leads to the same shard or to a reference table.
* All steps happen or none, unless ``outside``: then they happen one after the other and a failure names its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardproxy.topology.layout import Layout, TableLayout

from .plan import COORDINATOR, Place, Refusal

__all__ = ["DdlPlan", "ForeignKeyDef", "Step", "UniqueDef", "check_foreign_key", "check_unique",
           "everywhere"]


@dataclass(frozen=True, slots=True)
class Step:
    """``text`` at each of ``places``, in their order. ``forgiving``: where the object does not exist that is no error,
    except on the coordinator. ``duplicates``: nor where it exists already. ``quiet``: without the bodies of functions
    being checked against tables that are not there."""

    places: tuple[Place, ...]
    text: bytes
    forgiving: bool = False
    duplicates: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class DdlPlan:
    """``steps`` in order; the tag is the first step's. ``opened``, ``closed``: shells (schema, name) made ordinary
    tables before, and made shells after the steps. ``outside``: it cannot run in a transaction block. ``once``: for
    each server, not for each database. ``gone``: tables of the layout may have been dropped by the way.
    ``needs_block``: it means nothing outside a transaction block. ``keeps``: tables that may have got unique indexes
    without their key, whose values the coordinator keeps. ``tidies``: such an index may be gone or renamed."""

    kind: str
    steps: tuple[Step, ...]
    opened: tuple[tuple[str, str], ...] = ()
    closed: tuple[tuple[str, str], ...] = ()
    declare: tuple[TableLayout, ...] = ()
    undeclare: tuple[tuple[str, str], ...] = ()
    outside: bool = False
    once: bool = False
    gone: bool = False
    needs_block: bool = False
    keeps: tuple[TableLayout, ...] = ()
    tidies: bool = False
    why: str = ""

    @property
    def places(self) -> tuple[Place, ...]:
        """All places, the coordinator first."""
        found = dict.fromkeys(place for step in self.steps for place in step.places)
        return tuple(sorted(found, key=lambda place: place != COORDINATOR))


@dataclass(frozen=True, slots=True)
class UniqueDef:
    """PRIMARY KEY, UNIQUE or EXCLUDE over these columns; of EXCLUDE only those compared with ``=``."""

    kind: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForeignKeyDef:
    """``target_columns`` empty: the target's primary key. ``sets``: columns that deleting the target's row changes."""

    columns: tuple[str, ...]
    target: tuple[str, str]
    target_columns: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()


def check_unique(table: TableLayout, found: UniqueDef, kept: bool = False) -> Refusal | None:
    """Refused unless each shard can enforce it alone, or it is declared that its values are ``kept``."""
    missing = [column for column in table.key if column not in found.columns]
    if table.reference or not missing or (kept and found.kind != "EXCLUDE"):
        return None
    key = ", ".join(table.key)
    hint = f"add {', '.join(missing)} to its columns: no shard sees the rows of the others"
    if found.kind != "EXCLUDE":
        hint += '; or have the proxy keep its values, with the comment "shardproxy: lookup" or unique in the config'
    return Refusal(f'{found.kind} on sharded table "{table.name}" without its sharding key ({key})', hint)


def check_foreign_key(table: TableLayout | None, name: str, found: ForeignKeyDef, layout: Layout,
                      target_key: Sequence[str] = ()) -> Refusal | None:
    """``table``: the layout of the referring table ``name``, None if it is not sharded. ``target_key``: primary key of
    the target, for a reference that names no columns."""
    target = layout.table(*found.target)
    shown = f'foreign key from "{name}" to "{found.target[1]}"'
    if table is None:
        if target is None or target.reference:
            return None
        return Refusal(f"{shown}, which is sharded", "the coordinator has no rows of it: drop the constraint, or shard "
                       f'"{name}" by the same key')
    if target is not None and target.reference and target.keyspace == table.keyspace:
        return None
    if target is None:
        return Refusal(f"{shown}, which is not on the shards",
                       f'make "{found.target[1]}" a reference table of keyspace "{table.keyspace}"')
    if table.reference:
        return Refusal(f"{shown}: from a reference table to a sharded one", "drop the constraint")
    if target.keyspace != table.keyspace:
        return Refusal(f"{shown}: they are in different keyspaces", "rows that belong together may be on two servers")
    pairs = set(zip(found.columns, found.target_columns or target_key, strict=False))
    if len(table.key) != len(target.key) or any(pair not in pairs for pair in zip(table.key, target.key, strict=True)):
        return Refusal(f"{shown} without the sharding key on both sides",
                       f"refer from ({', '.join(table.key)}, ...) to ({', '.join(target.key)}, ...)")
    if set(found.sets) & set(table.key):
        return Refusal(f"{shown}: ON DELETE SET would change the sharding key", "use ON DELETE CASCADE or NO ACTION")
    return None


def everywhere(layout: Layout) -> tuple[Place, ...]:
    """The coordinator and all shards, in the order that all statements keep."""
    return (COORDINATOR, *layout.places())
