"""``Tables``: columns, keys and definitions of a database's relations, as planners of cross-shard statements need them.

It is part of the facts of a database that has sharded tables (``"tables"`` in that JSON), read on the coordinator.

Invariants: names are as the catalog has them (folded, unquoted); SQL texts (defaults, definitions) name everything
with its schema, so they mean the same under any search path. Of functions with one name the most careful counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Column", "ForeignKey", "Function", "Table", "Tables"]


@dataclass(frozen=True, slots=True)
class Column:
    """``type``: OID on the coordinator, of a domain its own; ``base``: what its values travel as.

    ``type_name``: SQL text of the type, with its modifier. ``type_kind``: ``b`` base, ``d`` domain, ``e`` enum,
    ``c`` composite, ``r`` range, ``m`` multirange. ``collation``: its name, "" if the type has none.
    ``bytewise``: it compares bytes (C, POSIX, C.UTF-8), or has no collation. ``deterministic``: equal means same bytes.
    ``default``: SQL text, of a generated column its expression. ``identity``: "", "a" (always) or "d" (by default).
    ``sequence``: qualified and quoted name of the sequence that belongs to it, "" if none does.
    """

    name: str
    type: int
    type_name: str
    typmod: int = -1
    base: int = 0
    type_kind: str = "b"
    collation: str = ""
    bytewise: bool = True
    deterministic: bool = True
    not_null: bool = False
    default: str | None = None
    identity: str = ""
    generated: bool = False
    sequence: str = ""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``columns`` refer to ``target_columns`` of ``target``, a (schema, name). Actions: ``a`` none, ``r`` restrict,
    ``c`` cascade, ``n`` set null, ``d`` set default."""

    name: str
    columns: tuple[str, ...]
    target: tuple[str, str]
    target_columns: tuple[str, ...]
    on_delete: str = "a"
    on_update: str = "a"


@dataclass(frozen=True, slots=True)
class Table:
    """A relation. ``kind``: ``r`` table, ``p`` partitioned, ``v`` view, ``m`` materialized view, ``f`` foreign table.

    ``uniques``: columns of further unique indexes that hold for all rows (not partial, no expressions, not deferred).
    ``kept``: columns of unique indexes without the sharding key, whose values the coordinator keeps.
    ``definition``: the query of a view. ``triggers``: it has enabled triggers of the user. ``shell``: it has no rows
    and reading it raises; the shards have them. ``partition``: it is one of a partitioned table. ``parents``: it
    inherits or is a partition. ``secured``: it has row security. ``owner``: the role. ``indexes``: their names.
    """

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    definition: str = ""
    security_invoker: bool = False
    triggers: bool = False
    rules: bool = False
    secured: bool = False
    partition: bool = False
    parents: tuple[tuple[str, str], ...] = ()
    shell: bool = False
    owner: str = ""
    indexes: tuple[str, ...] = ()
    kept: tuple[tuple[str, ...], ...] = ()

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in their order."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class Function:
    """All functions of one name that did not come with the server.

    ``volatility``: ``v``, ``s`` or ``i``, the most careful. ``touches``: names of relations that its body, or what that
    calls or reads, mentions. ``opaque``: its body cannot be read or makes up SQL, so it may touch any relation.
    """

    volatility: str
    languages: tuple[str, ...]
    touches: frozenset[str] = frozenset()
    opaque: bool = False


class Tables:
    """All relations of the user and what functions touch them.

    ``refused``: by (schema, name), why statements on a table are refused (55000), for example because its shards
    define it differently.
    """

    def __init__(self, tables: Collection[Table], functions: Mapping[str, Function] | None = None,
                 refused: Mapping[tuple[str, str], str] | None = None) -> None:
        self.refused: Mapping[tuple[str, str], str] = refused or {}
        self._qualified = {(table.schema, table.name): table for table in tables}
        self._oids = {table.oid: table for table in tables}
        self.functions: Mapping[str, Function] = functions or {}
        self.functions_opaque = frozenset(name for name, one in self.functions.items() if one.opaque)
        self.functions_touching = self.touching({table.name for table in tables if table.shell})

    def get(self, schema: str | None, name: str, search_path: Sequence[str] = ("public",)) -> Table | None:
        """The relation of that name; without a schema the first along ``search_path``."""
        if schema is not None:
            return self._qualified.get((schema, name))
        return next((found for one in search_path if (found := self._qualified.get((one, name))) is not None), None)

    def by_oid(self, oid: int) -> Table | None:
        """The relation with that OID on the coordinator."""
        return self._oids.get(oid)

    def touching(self, relations: Collection[str]) -> frozenset[str]:
        """Names of functions whose bodies mention one of these relations. ``functions_opaque`` may touch them too."""
        wanted = frozenset(relations)
        return frozenset(name for name, one in self.functions.items() if one.touches & wanted)

    def __iter__(self) -> Iterator[Table]:
        return iter(self._qualified.values())

    def __len__(self) -> int:
        return len(self._qualified)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tables:
        """From what ``to_json`` gave."""
        functions = {name: Function(volatility, tuple(languages), frozenset(touches), opaque)
                     for name, (volatility, languages, touches, opaque) in data["functions"].items()}
        refused = {(schema, name): why for schema, name, why in data.get("refused", ())}
        return cls([_table(one) for one in data["relations"]], functions, refused)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts, equal for equal catalogs."""
        return {
            "relations": [_json_of(self._qualified[key]) for key in sorted(self._qualified)],
            "functions": {name: [one.volatility, list(one.languages), sorted(one.touches), one.opaque]
                          for name, one in sorted(self.functions.items())},
            "refused": [[*name, why] for name, why in sorted(self.refused.items())],
        }


_COLUMN = Column.__slots__
_KEY = ForeignKey.__slots__


def _json_of(table: Table) -> dict[str, Any]:
    data: dict[str, Any] = {name: getattr(table, name) for name in Table.__slots__}
    data["columns"] = [[getattr(column, name) for name in _COLUMN] for column in table.columns]
    data["primary_key"] = list(table.primary_key)
    data["uniques"] = [list(columns) for columns in table.uniques]
    data["foreign_keys"] = [[list(value) if isinstance(value, tuple) else value
                             for value in (getattr(key, name) for name in _KEY)] for key in table.foreign_keys]
    data["parents"] = [list(parent) for parent in table.parents]
    data["indexes"] = list(table.indexes)
    data["kept"] = [list(columns) for columns in table.kept]
    return data


def _table(data: Mapping[str, Any]) -> Table:
    def key_of(values: Sequence[Any]) -> ForeignKey:
        named: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                 for name, value in zip(_KEY, values, strict=True)}
        return ForeignKey(**named)

    return Table(**{
        **data,
        "columns": tuple(Column(*column) for column in data["columns"]),
        "primary_key": tuple(data["primary_key"]),
        "uniques": tuple(tuple(columns) for columns in data["uniques"]),
        "foreign_keys": tuple(key_of(key) for key in data["foreign_keys"]),
        "parents": tuple((schema, name) for schema, name in data["parents"]),
        "indexes": tuple(data["indexes"]),
        "kept": tuple(tuple(columns) for columns in data["kept"]),
    })
