"""What a transfer moves: tables, the places that lose rows and those that gain them, the layout before and after.

Invariants:
* Where a row lives is computed by the router's own code (``KeyspaceLayout.shard_of``).
* A table that is in use is never a target. A shard that loses or gains slots gets a whole new copy of it beside it, in
  schema ``shardproxy_new``, its staying rows too (none, if it loses all its slots): it is source and target. The
  cutover exchanges the two names, and the old table, in ``shardproxy_old``, is the target of the way back (``into``).
* ``reversed`` exchanges the two sides; ``to_json`` and ``from_json`` are inverses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from shardproxy.errors import ShardproxyError
from shardproxy.topology.layout import Layout, TableLayout

__all__ = ["COORDINATOR", "NEW", "OLD", "Move", "NoPlace", "Place", "Table", "Tool"]

COORDINATOR = ""
"""Name of the place of unsharded tables."""

NEW, OLD = "shardproxy_new", "shardproxy_old"
"""Schemas of the tables that are not in use yet, and of those that are not any more."""

Table = tuple[str, str]
"""Schema and name."""

Tool = Literal["reshard", "federate"]


class NoPlace(ShardproxyError):
    """A row that no shard of the layout takes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows live. ``name``: ``""`` is the coordinator, else ``keyspace/shard``. The server is the configured
    primary; which one it is at the moment is found out when it is connected to (see ``servers``)."""

    name: str
    host: str
    port: int
    unix: str | None
    dbname: str

    def __str__(self) -> str:
        return self.name or "the coordinator"


@dataclass(frozen=True)
class Move:
    """See the module.

    ``tables`` move; ``references`` are whole copies for the places that have none yet, read from the coordinator, which
    has and keeps one. ``types``: for each table of ``tables``, OIDs of the types of its key's columns (() if it has
    none).
    """

    name: str
    tool: Tool
    database: str
    tables: tuple[Table, ...]
    sources: tuple[Place, ...]
    targets: tuple[Place, ...]
    before: Layout
    after: Layout
    references: tuple[Table, ...] = ()
    types: tuple[tuple[int, ...], ...] = ()
    coordinator: Place | None = None
    is_reversed: bool = field(default=False)

    def key_of(self, table: Table) -> tuple[str, ...]:
        """The columns by which a table is split, before or after; () if it is whole in both."""
        for layout in (self.after, self.before):
            found = layout.table(*table)
            if found is not None and found.key:
                return found.key
        return ()

    def types_of(self, table: Table) -> tuple[int, ...]:
        """OIDs of the types of its key's columns."""
        return self._types.get(table, ())

    def target_of(self, table: Table, key_values: Sequence[bytes | None]) -> Place:
        """Where a row lives after the move; its own source if it stays. Values are in text format. NoPlace."""
        return self._place(self.after, table, key_values)

    def source_of(self, table: Table, key_values: Sequence[bytes | None]) -> Place:
        """Where a row lives before the move. NoPlace."""
        return self._place(self.before, table, key_values)

    def sources_of(self, table: Table) -> tuple[Place, ...]:
        """The places that have rows of a table which may leave them."""
        if table in self.references:
            return (self.coordinator,) if self.coordinator is not None else ()
        return tuple(place for place in self.sources if place.name in self.homes(self.before, table))

    def targets_of(self, table: Table) -> tuple[Place, ...]:
        """The places that may get rows of a table."""
        if table in self.references:
            return tuple(place for place in self.targets if place.name not in self.homes(self.before, table))
        if self.is_between:
            return self.targets
        return tuple(place for place in self.targets if place.name in self.homes(self.after, table))

    @property
    def into(self) -> str:
        """The schema in which the targets have what is copied to them, until the cutover; empty: the table's own.

        The coordinator has a shell in the table's place.
        """
        if any(place.name == COORDINATOR for place in self.targets):
            return OLD
        return (OLD if self.is_reversed else NEW) if self.is_between else ""

    @cached_property
    def is_between(self) -> bool:
        """Whether slots move between the shards of a keyspace."""
        pairs = [(self.before.table(*table), self.after.table(*table)) for table in self.tables]
        return any(old is not None and new is not None and old.keyspace == new.keyspace for old, new in pairs)

    def homes(self, layout: Layout, table: Table) -> tuple[str, ...]:
        """Names of all places that may have rows of a table in one of the layouts."""
        found = layout.table(*table)
        if found is None:
            return (COORDINATOR,)
        space = layout.keyspaces[found.keyspace]
        return tuple(space.places()[index] for index in space.used())

    def place(self, name: str) -> Place:
        """The place of that name. KeyError: no source and no target."""
        return self._named[name]

    def streams(self) -> tuple[Place, ...]:
        """The places whose changes are followed: all sources, and the coordinator if references are copied."""
        extra = [self.coordinator] if self.references and self.coordinator is not None else []
        return tuple({place.name: place for place in (*self.sources, *extra)}.values())

    def applied(self, now: Layout) -> Layout:
        """A stored layout with the change of this move, and nothing else of it changed: what the cutover stores."""
        made = now
        for schema, name in self.tables:
            made = made.without_table(schema, name)
        spaces = dict(made.keyspaces)
        for name in {name.partition("/")[0] for name in self._named if name != COORDINATOR}:
            wanted = self.after.keyspaces.get(name)
            if wanted is None:
                continue
            own = spaces.get(name, replace(wanted, tables=()))
            spaces[name] = replace(wanted, tables=own.tables)
        made = replace(made, keyspaces=spaces)
        for table in self.tables:
            found = self.after.table(*table)
            made = made if found is None else made.with_table(found)
        return made

    def reversed(self) -> Move:
        """The way back. Reference tables stay whole everywhere: they have none."""
        return replace(self, sources=self.targets, targets=self.sources, before=self.after, after=self.before,
                       references=(), is_reversed=not self.is_reversed)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the journal."""
        return {"name": self.name, "tool": self.tool, "database": self.database,
                "tables": [list(table) for table in self.tables],
                "references": [list(table) for table in self.references],
                "types": [list(types) for types in self.types],
                "sources": [asdict(place) for place in self.sources],
                "targets": [asdict(place) for place in self.targets],
                "coordinator": None if self.coordinator is None else asdict(self.coordinator),
                "before": self.before.to_json(), "after": self.after.to_json(), "reversed": self.is_reversed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Move:
        """The move that ``to_json`` described."""
        return cls(
            data["name"], data["tool"], data["database"], _tables(data["tables"]),
            tuple(Place(**place) for place in data["sources"]), tuple(Place(**place) for place in data["targets"]),
            Layout.from_json(data["before"]), Layout.from_json(data["after"]), _tables(data["references"]),
            tuple(tuple(types) for types in data["types"]),
            None if data["coordinator"] is None else Place(**data["coordinator"]), data["reversed"])

    def _place(self, layout: Layout, table: Table, values: Sequence[bytes | None]) -> Place:
        found = layout.table(*table)
        if found is None:
            return self._at(COORDINATOR)
        space = layout.keyspaces[found.keyspace]
        index = _single(space.used(), found) if not found.key else space.shard_of(self.types_of(table), values)
        if index is None:
            raise NoPlace(f"no shard of keyspace {space.name} takes the key {list(values)!r} of {'.'.join(table)}")
        return self._at(space.places()[index])

    def _at(self, name: str) -> Place:
        found = self._named.get(name)
        if found is None:
            raise NoPlace(f"{name or 'the coordinator'} has no part in the transfer {self.name}")
        return found

    @cached_property
    def _named(self) -> Mapping[str, Place]:
        extra = [] if self.coordinator is None else [self.coordinator]
        return {place.name: place for place in (*extra, *self.sources, *self.targets)}

    @cached_property
    def _types(self) -> Mapping[Table, tuple[int, ...]]:
        return dict(zip(self.tables, self.types, strict=False))


def _single(used: tuple[int, ...], table: TableLayout) -> int:
    """The only shard of a table that is not split."""
    if len(used) != 1:
        raise NoPlace(f"table {table.schema}.{table.name} has no key, and its keyspace has {len(used)} shards")
    return used[0]


def _tables(data: Sequence[Sequence[str]]) -> tuple[Table, ...]:
    return tuple((schema, name) for schema, name in data)
