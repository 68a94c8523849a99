"""Plans without a server: from a schema file and a layout.

Invariant: a statement that names something that the schema does not define is not planned.
"""

from __future__ import annotations

from collections.abc import Iterator

from shardproxy.dialects.postgres.sql.query_scan import Unreadable, scan
from shardproxy.dialects.postgres.sql.schema_text import Schema, read_schema
from shardproxy.dialects.postgres.sql.sharding import KNOWLEDGE
from shardproxy.errors import ShardproxyError
from shardproxy.planner.describe import Node, describe, named
from shardproxy.planner.plan import COORDINATOR, Parts, Plan, Single
from shardproxy.planner.queries import plan_query
from shardproxy.planner.views import tables_in
from shardproxy.planner.writes import plan_write
from shardproxy.topology.layout import Layout

from .statement import Statement

__all__ = ["explain_offline"]

PATH = ("public",)
WRITES = ("insert", "update", "delete", "merge", "copy")


def explain_offline(text: str, schema: str, layout: Layout) -> list[str]:
    """The plan of one query or write, a tree of lines. ShardproxyError: something cannot be read."""
    try:
        read = read_schema(schema)
    except Unreadable as error:
        raise ShardproxyError(f"the schema cannot be read: {error}") from None
    missing = [f"{one.schema}.{one.name}" for one in layout.tables() if (one.schema, one.name) not in read.tables]
    if missing:
        raise ShardproxyError(f"the schema does not define {', '.join(missing)}, which the configuration shards")
    text = text.strip().rstrip(";")
    plan = _plan(text, read, layout)
    statement = Statement(text.encode(), layout, read.with_shells(layout))
    return list(_lines(describe(plan, text.encode(), statement.shards)))


def _plan(text: str, read: Schema, layout: Layout) -> Plan:
    tables = read.with_shells(layout)
    try:
        tokens = scan(text)
    except Unreadable as error:
        raise ShardproxyError(f"the statement cannot be read: {error}") from None
    names = {token.text for token in tokens if token.kind in ("word", "quoted")}
    unread = sorted(names & read.skipped)
    if unread:
        raise ShardproxyError(f"{', '.join(unread)}: only tables are read from a schema file, no views or functions")
    words = [token.text for token in tokens if token.kind == "word"]
    if words[:1] == ["explain"]:
        raise ShardproxyError("give the statement without EXPLAIN")
    query = KNOWLEDGE.parse(text)
    if query is not None:
        for source, hidden in tables_in(query):
            place = source.names[0] if len(source.names) > 1 else None
            if (place is not None or source.names[-1] not in hidden) and tables.get(place, source.names[-1]) is None:
                raise ShardproxyError(f'the schema does not define table "{".".join(source.names)}"')
    elif not set(words) & set(WRITES):
        raise ShardproxyError("only queries, INSERT, UPDATE, DELETE, MERGE and COPY are planned without a server")
    if not names & {one.name for one in layout.tables()}:
        return Single(COORDINATOR, "no sharded table is named")
    if query is not None:
        return plan_query(text, None, layout, tables, PATH, KNOWLEDGE)
    return plan_write(text, None, layout, tables, PATH, KNOWLEDGE)


def _lines(node: Node, indent: str = "") -> Iterator[str]:
    yield f"{indent}{node.title}"
    deeper = " " * len(indent) + "  "
    for note in node.notes:
        yield f"{deeper}{note}"
    if node.places:
        yield f"{deeper}on: {', '.join(map(named, node.places))}"
    if node.text:
        yield f"{deeper}text: {_shown(node.text)}"
    for child in node.children:
        yield from _lines(child, deeper + "-> ")


def _shown(text: Parts) -> str:
    """A text on one line."""
    return " ".join("".join(part.decode("utf-8", "replace") if isinstance(part, bytes) else f"<pull {part}>"
                            for part in text).split())
