"""What a plan can be. A planner makes it from a text once; values of parameters are filled in at every execution.

Invariants:
* A plan is made of the client's own text, cut and joined at byte offsets; nothing of it was rendered from a tree.
* ``Place`` names a server group: ``""`` is the coordinator, ``keyspace/shard`` a shard.
* Whoever cannot prove a plan right returns a ``Refusal``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["COORDINATOR", "NOW", "STATEMENT_NOW", "Bound", "CopyIn", "CopyOut", "Fold", "Gather", "InsertFrom",
           "InsertRow", "InsertRows", "KeyValue", "Overview", "Parted", "Parts", "Place", "Plan", "Pull", "Push",
           "Reference", "Refusal", "Scatter", "Select", "ShardFilter", "Single", "SortKey", "Step", "Value", "Write",
           "WriteBack", "places_of", "settled"]

Place = str
COORDINATOR: Place = ""

Parts = tuple[bytes | int, ...]
"""A text with holes: an integer is the number of a ``Pull``, filled with the name of its temporary table.

``NOW`` and ``STATEMENT_NOW`` are holes for the time of the transaction and of the statement, as typed literals: one
value for all servers."""

NOW, STATEMENT_NOW = -1, -2


def settled(text: bytes | Parts) -> bytes:
    """A text whose holes were filled."""
    if not isinstance(text, bytes):
        raise ValueError("the holes of a text are not filled")
    return text


@dataclass(frozen=True, slots=True)
class Value:
    """A constant of the text or a parameter. ``param``: its number from 1; 0: the constant ``text`` (None: NULL)."""

    param: int = 0
    text: str | None = None


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A value of one key column. ``array``: the parameter or literal is an array, each element of it a candidate.

    ``cast``: type that the text gives it explicitly ("" if none). Only casts that keep the key's equality are here.
    """

    value: Value
    array: bool = False
    cast: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """A key of one column is at least (``low``) or at most ``value``, and not NULL."""

    low: bool
    value: KeyValue


@dataclass(frozen=True, slots=True)
class ShardFilter:
    """Which shards may hold the rows. ``keys``: candidates, each a value for every key column; None: all shards.

    No candidates (``()``) means no row can match. ``table``: (schema, name) whose key it is, for the types. ``bounds``:
    all of them hold of a key that is not among candidates; what the shards make of it depends on the function.
    """

    keyspace: str
    table: tuple[str, str]
    keys: tuple[tuple[KeyValue, ...], ...] | None = None
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """``construct`` is named in the message; ``hint`` says what to do. SQLSTATE 0A000 unless told otherwise."""

    construct: str
    hint: str = ""
    sqlstate: str = "0A000"


@dataclass(frozen=True, slots=True)
class Single:
    """Runs whole, as it came, at one place (the coordinator, or any one copy of reference tables)."""

    place: Place
    why: str = ""


@dataclass(frozen=True, slots=True)
class SortKey:
    """Column of the shards' rows (from 0), as in ORDER BY. ``type_oid``: what is compared; only types that
    ``dialect`` can compare exactly are ever here."""

    column: int
    type_oid: int
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Fold:
    """How the values in one column of one row per shard become one: ``sum``, ``min``, ``max``, ``and``, ``or``."""

    how: str
    type_oid: int


@dataclass(frozen=True, slots=True)
class Scatter:
    """Push and merge: ``text`` runs on every shard of ``filter``; rows are streamed to the client.

    ``order`` empty: shard after shard or as they come. ``hidden``: trailing columns that the client does not see.
    ``limit``, ``offset``: applied after the merge. ``folds``: one row per shard becomes one row, column by column.
    ``fallback``: the same by gathering, or what plans it, for cursors and where types turn out not to be comparable.
    ``serial``: one shard after the other, stopping at the limit (FOR UPDATE SKIP LOCKED LIMIT). The holes of ``text``
    are clocks.
    """

    filter: ShardFilter
    text: bytes | Parts
    order: tuple[SortKey, ...] = ()
    hidden: int = 0
    limit: Value | None = None
    offset: Value | None = None
    folds: tuple[Fold, ...] = ()
    serial: bool = False
    why: str = ""
    fallback: Gather | Callable[[], Gather | None] | None = None

    @property
    def otherwise(self) -> Gather | None:
        """The same by gathering, if that may be."""
        return self.fallback() if callable(self.fallback) else self.fallback


@dataclass(frozen=True, slots=True)
class Pull:
    """Rows that go to a temporary table of the coordinator.

    ``text``: SELECT that each shard of ``filter`` runs; its holes are clocks. ``like``: (schema, name) of the shell
    whose column types, collations and primary key the temporary table gets for ``columns``; None: a computed row, whose
    columns are ``columns`` with the types in ``types`` (SQL text). ``one``: one copy suffices (a reference table).
    """

    filter: ShardFilter
    text: bytes | Parts
    columns: tuple[str, ...]
    like: tuple[str, str] | None = None
    types: tuple[str, ...] = ()
    one: bool = False
    lock: bool = False


@dataclass(frozen=True, slots=True)
class Gather:
    """Gather into the coordinator: fill temporary tables, then run ``text`` there.

    ``writes``: the text writes to tables of the coordinator (INSERT INTO unsharded SELECT FROM sharded).
    """

    pulls: tuple[Pull, ...]
    text: Parts
    why: str = ""
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """A query over sharded tables. If ``whole`` (not None) comes down to one shard, it runs there whole; else
    ``spread`` is carried out. ``text``: what runs on one shard, if it is not the text that came: views are on the
    coordinator only. ``locks``: it locks rows, so it is a write of no tables."""

    whole: ShardFilter | None
    spread: Scatter | Gather | Refusal
    locks: bool = False
    text: bytes | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """A write whose every row is changed where it lives: ``text`` on each shard of ``filter``; counts are summed, rows
    of RETURNING concatenated. ``text`` None: as it came; its holes are clocks. ``own``: no shard can run what came."""

    filter: ShardFilter
    text: Parts | None = None
    kind: str = "UPDATE"
    why: str = ""
    own: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A write to reference tables: at every shard of the keyspace and the coordinator; one copy's count and rows.
    ``text`` None: as it came; its holes are clocks."""

    keyspace: str
    kind: str = "UPDATE"
    text: Parts | None = None


@dataclass(frozen=True, slots=True)
class InsertRow:
    """One row of VALUES: the text between its parentheses, in which an integer is a hole for the value of that number
    in ``added``; and its key: values that the text shows, or the number in ``added``."""

    text: Parts
    key: tuple[KeyValue | int, ...]


@dataclass(frozen=True, slots=True)
class InsertRows:
    """INSERT ... VALUES whose keys are constants or parameters: split by key, the rest of the text copied.

    Statement for a shard: ``head`` + ``"(" + row.text with its holes filled + ")"``, ... + ``tail``.
    ``added``: (column, SQL expression evaluated on the coordinator for each row that has its hole, such as
    ``nextval('s')``): their values are put in as quoted literals. ``conflict``: rows may be left out (ON CONFLICT).
    """

    table: tuple[str, str]
    keyspace: str
    head: bytes
    rows: tuple[InsertRow, ...]
    tail: Parts
    added: tuple[tuple[str, str], ...] = ()
    returning: bool = False
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class InsertFrom:
    """Any other INSERT: the rows are made on the coordinator in a temporary table like the shell (with its defaults),
    read back as text, and split by key. ``stage`` has the number ``len(pulls)`` as the hole of that table.
    ``keyspace``'s copies all get all rows if the table is a reference table, and the coordinator too.

    Statement for a shard: INSERT INTO table (columns) OVERRIDING SYSTEM VALUE VALUES (literals), ... ``tail``.
    """

    table: tuple[str, str]
    keyspace: str
    pulls: tuple[Pull, ...]
    stage: Parts
    columns: tuple[str, ...]
    tail: Parts = ()
    returning: bool = False
    conflict: bool = False
    alias: str = ""


@dataclass(frozen=True, slots=True)
class WriteBack:
    """UPDATE, DELETE or MERGE that one shard alone cannot decide: the candidate rows are locked and pulled (``pulls``;
    ``target`` is the number of the target's), the text runs on the copy (``text``: command tag and RETURNING are its
    own), and the difference is written to the shards by primary key. A row may move to another shard.
    ``columns``: those that an update sets. ``keyless``: the table has no primary key; the target's pull has one column
    more, the place of each row on its server, and rows with equal values are as good as each other."""

    table: tuple[str, str]
    keyspace: str
    pulls: tuple[Pull, ...]
    target: int
    text: Parts
    kind: str
    why: str = ""
    columns: tuple[str, ...] = ()
    keyless: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a statement: ``plan`` is that of ``text``. Its rows go to the temporary table ``stage`` with these
    ``columns``, made like the query ``shape``; without one it has none. ``client``: its rows and tag are the client's.
    ``shown``: a query with the part's columns, for those who ask what their types are."""

    text: bytes
    plan: Plan
    stage: str
    shape: bytes
    columns: tuple[str, ...]
    shown: bytes
    client: bool = False


@dataclass(frozen=True, slots=True)
class Parted:
    """A statement whose WITH writes: the rows that ``main`` pulls are taken, then each step is carried out, then
    ``main`` answers. None: one of the steps does."""

    steps: tuple[Step, ...]
    main: Gather | None


@dataclass(frozen=True, slots=True)
class Write:
    """A write that runs as it came if ``whole`` comes down to one shard; else ``spread`` is carried out."""

    whole: ShardFilter
    spread: Push | InsertRows | InsertFrom | WriteBack | Gather | Parted | Refusal


@dataclass(frozen=True, slots=True)
class CopyIn:
    """COPY table FROM STDIN, split by key, or to every copy of a reference table (without ``split``).

    ``columns``: as the data has them. ``options``: by lower-case name. ``text``: the options and WHERE as SQL.
    ``added``: columns whose defaults the coordinator evaluates for every row, with the expressions.
    """

    table: tuple[str, str]
    keyspace: str
    columns: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    text: bytes = b""
    added: tuple[tuple[str, str], ...] = ()
    split: bool = True


@dataclass(frozen=True, slots=True)
class CopyOut:
    """COPY ... TO STDOUT: what the shards of ``filter`` give is concatenated, one header and one trailer kept.
    ``text``: for the first shard; ``rest``: for the others. ``query``: it is gathered instead, and is a COPY itself;
    ``text``: what the one shard of ``filter`` runs then, if not the text that came."""

    filter: ShardFilter | None
    text: bytes
    rest: bytes = b""
    binary: bool = False
    query: Gather | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """A statement of the coordinator about what all servers have (sizes, activity): it runs there as ``text``, after
    ``needs`` were asked of the shards. ``writes``: into tables of the coordinator. ``copies``: it is a COPY."""

    text: bytes
    needs: frozenset[str] = frozenset()
    writes: bool = False
    copies: bool = False


Plan = (Single | Overview | Select | Push | Reference | InsertRows | InsertFrom | Write | WriteBack | Gather | Parted
        | CopyIn | CopyOut | Refusal)


def places_of(keyspace: str, shards: Sequence[str]) -> tuple[Place, ...]:
    """Places of a keyspace's shards."""
    return tuple(f"{keyspace}/{shard}" for shard in shards)
