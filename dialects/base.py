"""What the engine asks of a database dialect.

A dialect is stateless: whatever it must know of a running database is handed to it (``FactsView``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .facts import ANY_TABLE, UNKNOWN_TABLE, FactsView
from .replication import Replication

__all__ = ["ANY_TABLE", "UNKNOWN_TABLE", "Adopted", "Analysis", "Dialect", "FactsView", "PlaceError"]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a statement text is. ``flags``: bits of ``dialects.flags``.

    ``read_slots``: where the tables of a read were last written (``()``: only catalogs or nothing, which still waits
    for writes to unknown tables). ``write_slots``: what the text may change; ``()`` changes no table.
    ``kind``: command word of the first statement, as in the server's command tag. ``hints``: texts of hint comments.
    ``settings``: names of settings that may have been set for the session and that no server lists, so a probe must ask
    for each (PostgreSQL: names with a dot). Only with PROBE or PROXY_SET.
    """

    flags: int
    kind: str = ""
    read_slots: tuple[int, ...] = ()
    write_slots: tuple[int, ...] = ()
    statements: int = 1
    names: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    note: str = ""
    rewrite: bytes | None = None


@dataclass
class Adopted:
    """What was found of tables with a layout, by (schema, name). ``made``: became shells. ``pending``: not yet as the
    layout says, and why; unsharded until they are moved. ``refused``: statements on these are refused, and why.
    ``warnings``: for the log."""

    made: list[tuple[str, str]] = field(default_factory=list)
    pending: dict[tuple[str, str], str] = field(default_factory=dict)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class PlaceError(Exception):
    """A server's database cannot be prepared. ``remedy``: SQL for somebody with more rights."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.remedy = remedy


class Dialect(Protocol):
    """One database. The session's codecs are asked for elsewhere; these are for routing."""

    name: str

    def digest(self, sql: bytes) -> bytes:
        """The key of a statement text: texts with one key are routed alike."""

    def analyse(self, key: bytes, facts: FactsView | None) -> Analysis:
        """What the text with this digest is. Never raises; without facts nothing is proven."""

    def display(self, key: bytes) -> str:
        """A digest for people: slots as question marks."""

    @property
    def replication(self) -> Replication:
        """How the monitor observes its servers."""

    def partition_hash(self, types: Sequence[int], values: Sequence[bytes | tuple[bytes, int] | None]) -> int | None:
        """The hash that deals a key to slots, as the database itself deals rows to partitions. ``types``: OIDs of the
        key's columns. A value: None (NULL), bytes in text format, or (bytes, format). None: cannot be computed."""

    def key_value(self, type_oid: int, value: bytes | tuple[bytes, int] | None) -> Any:
        """A value of a key in a form that compares and hashes as in the database; None: cannot be read."""

    def warm_catalog(self) -> None:
        """Import what ``catalog_load`` needs, so that nobody waits for it later."""

    async def catalog_load(self, connection: Any, harmless: Iterable[str] = (),
                           tables: bool = False) -> dict[str, Any]:
        """Read what ``Facts`` is made of, as JSON; ``harmless``: functions that the user declares harmless reads.

        ``tables``: with the columns and keys that planners of a sharded database need.
        """

    async def prepare_place(self, connection: Any, coordinator: bool) -> None:
        """Make what transactions over several servers need in one's database, if missing. PlaceError: it cannot be."""

    async def adopt(self, coordinator: Any, shards: Mapping[str, Any], tables: Sequence[Any]) -> Adopted:
        """Compare tables (``TableLayout``) on the coordinator and the shards (connections by place), and give the
        coordinator what it needs of those that only the shards have."""

    async def fill_lookup(self, coordinator: Any, shards: Mapping[str, Any], layout: Any,
                          ) -> dict[tuple[str, str], str]:
        """Note on the coordinator where the keys of keyspaces with ``lookup`` are, of tables that were not looked
        through before. Gives the tables that cannot be served, and why."""

    async def exchange(self, connection: Any, name: str, how: str, tables: Sequence[tuple[str, str]]) -> None:
        """At a cutover: what these names stand for. ``how``: ``shell`` or ``table`` on the coordinator, ``swap`` with
        copies that were made beside, ``unswap``. In one transaction; of one ``name``, once only."""

    async def settle_layout(self, connection: Any, store: Callable[[Sequence[Any]], Awaitable[None]]) -> bool:
        """Call ``store`` with the changes of the layout (``LayoutChange``) that committed DDL has left on the
        coordinator, and forget them when it returns. Gives whether there were any."""

    def explain_offline(self, text: str, schema: str, layout: Any) -> list[str]:
        """The plan of a statement as lines, by a schema (SQL) and a ``Layout``, without a server. ShardproxyError."""
