"""Gathered rows inside the statement's own text, where no temporary table can be made: in READ ONLY transactions.

Invariant: each pull is a common table expression with the types and collations that its table would have. What would
be lost all the same, a key or too many rows, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from shardproxy.dialects.postgres import wire
from shardproxy.dialects.postgres.wire import quote_ident
from shardproxy.planner.lexemes import Unreadable, lex
from shardproxy.planner.plan import Gather, Pull

from .errors import PgError, refused
from .reading import stop, together, watched
from .staging import Staging
from .writing import fill, literal

__all__ = ["inlined"]

ROWS_MAX, BYTES_MAX = 20_000, 4 * 1024 * 1024
Cells = list[bytes | None]
HINT = "Run it in a transaction that may write, or outside one."


async def inlined(staging: Staging, plan: Gather) -> bytes:
    """The plan's text with its rows."""
    start, recursive = _start(plan)
    rows = await _rows(staging, await staging.timed(plan.pulls))
    names = {number: f"shardproxy_g{number}".encode() for number in range(len(plan.pulls))}
    tables = b", ".join(names[number] + b"(" + ", ".join(map(quote_ident, pull.columns)).encode() + b") AS ("
                        + _table(staging, pull, rows[number]) + b")" for number, pull in enumerate(plan.pulls))
    text = fill(plan.text, names)
    if start == 0:
        return b"WITH " + tables + b" " + text
    return b"WITH " + (b"RECURSIVE " if recursive else b"") + tables + b", " + text[start:]


def _start(plan: Gather) -> tuple[int, bool]:
    """Where the text goes on behind WITH (0: it has none), and whether that is recursive."""
    head = plan.text[0] if plan.text and isinstance(plan.text[0], bytes) else b""
    try:
        lexemes = lex(head.decode("utf-8", "surrogateescape"))
    except Unreadable:
        lexemes = []
    words = [one.text if one.kind in ("word", "op") else "" for one in lexemes[:2]]
    if words[:1] == ["with"]:
        recursive = words[1:] == ["recursive"]
        end = lexemes[1 if recursive else 0].end
        return len(head.decode("utf-8", "surrogateescape")[:end].encode("utf-8", "surrogateescape")), recursive
    if words[:1] not in (["select"], ["("], ["values"], ["table"]):
        raise refused("this statement over several shards in a READ ONLY transaction", HINT)
    return 0, False


async def _rows(staging: Staging, pulls: Sequence[Pull]) -> list[list[Cells]]:
    """Text cells of each pull; all that a shard gives comes from one statement."""
    _, texts = staging.united(pulls, [staging.places_of(pull) for pull in pulls])
    legs = await staging.tx.all(list(texts))
    replies = [leg.rows(texts[leg.place], staging.statement.bind) for leg in legs]
    found: list[list[Cells]] = [[] for _ in pulls]
    count = size = 0

    async def read(index: int) -> None:
        nonlocal count, size
        async for payload in replies[index]:
            count += 1
            size += len(payload)
            if count > ROWS_MAX or size > BYTES_MAX:
                raise PgError.of("54000", hint=HINT, text="the statement needs too many rows of several shards in a "
                                                          "READ ONLY transaction")
            cells = wire.parse_data_row(payload)
            found[int(cells[0] or b"0")].append(cells[1:])

    async def read_all() -> None:
        await together([read(index) for index in range(len(replies))])

    try:
        await watched(read_all(), replies)
    except BaseException:
        await stop(legs, replies)
        raise
    return found


def _table(staging: Staging, pull: Pull, rows: Sequence[Cells]) -> bytes:
    """A query that gives the rows."""
    names = [f"c{number}" for number in range(len(pull.columns))]
    table = staging.statement.tables.get(*pull.like) if pull.like is not None else None
    columns = [table.column(name) if table is not None else None for name in pull.columns]
    cells = []
    for name, kind, column in zip(names, staging.types_of(pull), columns, strict=True):
        collation = column.collation if column is not None and column.collation not in ("", "default") else ""
        cells.append(f"v.{name}::{kind}" + (f" COLLATE {quote_ident(collation)}" if collation else ""))
    head = f"SELECT {', '.join(cells)} FROM (VALUES ".encode()
    body = [b"(" + b", ".join(literal(cell) + b"::text" for cell in row[:len(names)]) + b")" for row in rows]
    empty = b"" if rows else b" WHERE false"
    nulls = b"(" + b", ".join([b"NULL::text"] * len(names)) + b")"
    return head + b", ".join(body or [nulls]) + f") AS v({', '.join(names)})".encode() + empty
