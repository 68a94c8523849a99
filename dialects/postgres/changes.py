"""Copying rows and following changes: what ``dialects.changes`` asks of PostgreSQL.

Invariant: a field as COPY writes it in text format and its value are one to one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from shardproxy.dialects.changes import Changes, Cutter, Stream, TableSql
from shardproxy.dialects.replication import Target

from .change_stream import ChangeStream
from .moved_tables import table_sql
from .partition_hash_cy import hash_int, partition_hash
from .sharded.copy_format import CopyFormat
from .sharded.copy_rows_cy import RowCutter

__all__ = ["CHANGES", "PostgresChanges"]

_TAB, _BACKSLASH = 9, 92
_WORD = (1 << 64) - 1
_OFFSET = (partition_hash((23,), (b"0",)) - hash_int(0)) & _WORD
_SEED = 0x7A5B22367996DCFD
_FORMAT = CopyFormat(False, b"\t", b"\\N", b'"', b'"', frozenset(), frozenset())
_special = re.compile(rb"[\\\t\n\r]").search


class PostgresChanges:
    """A ``Changes``."""

    async def open(self, target: Target, timeout: float = 10.0) -> Stream:
        return await ChangeStream.open(target, timeout)

    def cutter(self, positions: Sequence[int]) -> Cutter:
        return cast(Cutter, RowCutter(False, _TAB, 0, 0, positions))

    def slot_of_int(self, value: int) -> int:
        return int(hash_int(value) + _OFFSET) & _WORD

    def slot_sql(self, column: str, slots: int) -> str:
        word = _WORD + 1
        return (f"coalesce(mod(mod(hashint8extended({column}::int8, {_SEED})::numeric + {word + _OFFSET}, {word}), "
                f"{slots}), 0)::int")

    async def table_sql(self, connection: Any, table: tuple[str, str],
                        into: Mapping[tuple[str, str], str]) -> TableSql | None:
        return await table_sql(connection, table, into)

    def values(self, field: bytes) -> bytes | None:
        return _FORMAT.value(field, 0)

    def field(self, value: bytes | None) -> bytes:
        if value is None:
            return b"\\N"
        return _FORMAT.written(value) if _special(value) else value


CHANGES: Changes = PostgresChanges()
