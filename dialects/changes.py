"""A stream of changes: what a database did, transaction by transaction, in the order of commits; and where rows go.

Invariants: between ``Begin`` and ``Commit`` stand the changes of one transaction; positions are integers that only
grow; values are bytes in text format. Whatever fails, fails with ``LinkError``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from .replication import LinkError, Target

__all__ = ["UNCHANGED", "Begin", "Cell", "Changes", "Column", "Commit", "Custom", "Cutter", "Delete", "Insert", "Made",
           "Message", "Origin", "Relation", "Row", "SlotLost", "Stream",
           "TableSql", "Transfers", "Truncate", "Type", "Unchanged",
           "Update"]


class Unchanged(Enum):
    """The value of a column that is stored out of line and was not changed: it is not in the message."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
Cell = bytes | None | Unchanged
Row = tuple[Cell, ...]


class Begin(NamedTuple):
    """A transaction; ``lsn`` is where its commit record lies."""

    lsn: int
    at: int
    xid: int


class Commit(NamedTuple):
    """Its end; ``end`` is the position behind the commit record."""

    lsn: int
    end: int
    at: int


class Origin(NamedTuple):
    """Comes after Begin where the transaction was itself applied from elsewhere."""

    lsn: int
    name: str


class Column(NamedTuple):
    """``key``: part of the replica identity."""

    key: bool
    name: str
    type: int
    typmod: int


class Relation(NamedTuple):
    """Comes before the first change of a table, and when it has changed. ``identity``: d, n, f or i."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[Column, ...]


class Type(NamedTuple):
    """A type that is not built in."""

    oid: int
    schema: str
    name: str


class Insert(NamedTuple):
    """A new row."""

    relation: int
    new: Row


class Update(NamedTuple):
    """``old``: the old row (``whole``), or one with its identity only; None: the identity is the same."""

    relation: int
    old: Row | None
    whole: bool
    new: Row


class Delete(NamedTuple):
    """``old`` is the whole row, or (not ``whole``) has the identity only."""

    relation: int
    old: Row
    whole: bool


class Truncate(NamedTuple):
    """All tables that one command emptied."""

    relations: tuple[int, ...]
    cascade: bool
    restart: bool


class Custom(NamedTuple):
    """Of ``pg_logical_emit_message``."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Message = Begin | Commit | Origin | Relation | Type | Insert | Update | Delete | Truncate | Custom


class SlotLost(LinkError):
    """The slot does not exist any more, or the server has removed the WAL that it needs: the copy must start anew."""


class Stream(Protocol):
    """A replication connection; one call at a time.

    ``written``: the end of WAL as the server told it last; ``seen``: all transactions that end before were given out
    by ``read``; ``confirmed``: what the server need not keep.
    """

    written: int
    seen: int
    confirmed: int

    async def create_slot(self, name: str) -> int:
        """A durable slot. Waits for all transactions that write now. Gives the position from which it is whole."""

    async def drop_slot(self, name: str) -> None:
        """Nothing happens if there is none of that name."""

    async def start(self, slot: str, publications: Sequence[str], position: int) -> None:
        """Changes of all transactions that committed after ``position``, or what was confirmed, if that is later."""

    async def read(self, timeout: float) -> list[Message]:
        """All messages that have come, at least one read's worth; none after ``timeout``."""

    def confirm(self, position: int) -> None:
        """Everything before ``position`` is stored for good."""

    def ask(self) -> None:
        """Have the server say at once how far it has read its WAL: ``seen`` grows."""

    def close(self) -> None:
        """Drop the connection. May be called again."""


class Cutter(Protocol):
    """Cuts the text of a copy into rows."""

    def feed(self, data: bytes, final: bool = False) -> tuple[list[bytes], list[bytes | tuple[bytes, ...] | None]]:
        """Whole rows, with their ends, and the fields of the key of each, as they were written."""


class Made(NamedTuple):
    """A part of a table. ``kind`` with ``name``: constraint, index, trigger, function, foreign key, owner; else ""."""

    kind: str
    name: str
    sql: str


class TableSql(NamedTuple):
    """How a table is made: ``first`` before its rows come, ``later`` behind them; ``definition`` compares with
    ``difference``."""

    first: tuple[str, ...]
    later: tuple[Made, ...]
    definition: Any


class Changes(Protocol):
    """The part of a dialect that copies rows and follows changes."""

    async def open(self, target: Target, timeout: float = 10.0) -> Stream:
        """A replication connection."""

    def cutter(self, positions: Sequence[int]) -> Cutter:
        """For rows whose keys stand at these positions."""

    def slot_of_int(self, value: int) -> int:
        """The hash of a key of one integer, unsigned."""

    def slot_sql(self, column: str, slots: int) -> str:
        """SQL of the slot of a key of one integer, as ``slot_of_int(...) % slots`` has it; NULL is in slot 0."""

    async def table_sql(self, connection: Any, table: tuple[str, str],
                        into: Mapping[tuple[str, str], str]) -> TableSql | None:
        """How a table is made at another place; None: there is no such table. ``into``: other schemas of tables."""

    def values(self, field: bytes) -> bytes | None:
        """A field as it was written, as a value; None is NULL."""

    def field(self, value: bytes | None) -> bytes:
        """A value as it is written in a row."""


class Transfers(Protocol):
    """A dialect, as far as moving data needs it."""

    @property
    def changes(self) -> Changes:
        """How rows are copied and changes are followed."""
