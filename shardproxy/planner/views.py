"""Views over sharded tables are replaced by their queries, in the text.

Invariant: an expanded text reads what the view reads with no more rights than the client has.
"""

from __future__ import annotations

from collections.abc import Iterator

from shardproxy.catalog.tables import Table, Tables
from shardproxy.topology.layout import Layout

from .analysis import Analysis, Unplannable, layout_of
from .edits import Edit, edited
from .gather import command_edit
from .knowledge import Knowledge
from .nodes import Expr, Query, Select, SetOp, Source, Values, walk

__all__ = ["ROUNDS_MAX", "expand", "put_in", "tables_in", "unqualified"]

ROUNDS_MAX = 12


def expand(text: str, query: Query, layout: Layout, tables: Tables, search_path: tuple[str, ...],
           knowledge: Knowledge) -> tuple[str, Query]:
    """The text without views that read sharded tables, and its nodes."""
    for _ in range(ROUNDS_MAX):
        edits: list[Edit] = []
        for source, hidden in tables_in(query):
            view = _view(source, hidden, tables, search_path)
            if view is not None and _reads_shards(view, layout, tables, knowledge, 0):
                edits += _edits(source, view, knowledge)
        if not edits:
            return text, query
        text = "".join(str(piece) for piece in edited(text, edits))
        parsed = knowledge.parse(text)
        if parsed is None:
            raise Unplannable("a view whose query is not understood")
        query = parsed
    raise Unplannable("views nested too deep")


def _view(source: Source, hidden: frozenset[str], tables: Tables, search_path: tuple[str, ...]) -> Table | None:
    if len(source.names) > 2 or (len(source.names) == 1 and source.names[0] in hidden):
        return None
    schema = source.names[0] if len(source.names) == 2 else None
    table = tables.get(schema, source.names[-1], search_path)
    return table if table is not None and table.kind == "v" else None


def _reads_shards(view: Table, layout: Layout, tables: Tables, knowledge: Knowledge, depth: int) -> bool:
    """Whether a view reads a sharded table, itself or through others."""
    query = knowledge.parse(view.definition.rstrip().rstrip(";")) if view.definition and depth < ROUNDS_MAX else None
    if query is None:
        # not understood: the names in it decide
        return any(table.name in view.definition for table in layout.tables() if not table.reference)
    for source, hidden in tables_in(query):
        if len(source.names) == 1 and source.names[0] in hidden:
            continue
        table = tables.get(source.names[0] if len(source.names) == 2 else None, source.names[-1])
        where = layout_of(table, layout, tables)
        if where is not None and not where.reference:
            if table is not None and table.secured and not view.security_invoker:
                raise Unplannable(f'view "{view.name}" with its owner\'s rights over a table with row security',
                                  "Create it WITH (security_invoker).")
            return True
        if table is not None and table.kind == "v" and _reads_shards(table, layout, tables, knowledge, depth + 1):
            return True
    return False


def put_in(text: str, source: Source, view: Table, layout: Layout, tables: Tables, knowledge: Knowledge) -> str:
    """A text with the query of one view in the place of its name."""
    _reads_shards(view, layout, tables, knowledge, 0)           # raises, if that takes rights that the client lacks
    return "".join(str(piece) for piece in edited(text, _edits(source, view, knowledge)))


def _edits(source: Source, view: Table, knowledge: Knowledge) -> list[Edit]:
    if source.only or source.sampled:
        raise Unplannable("ONLY or TABLESAMPLE on a view over sharded tables")
    alias = "" if source.alias is not None else " AS " + knowledge.quote(view.name)
    definition = view.definition.rstrip().rstrip(";")
    return [*command_edit(source), (source.name_start, source.name_end, (f" ({definition}\n){alias}",))]


def unqualified(text: str, found: Analysis) -> str:
    """The text of an expanded query, in which no column names the schema of a view any more."""
    edits: list[Edit] = []
    for column, scope in (*found.columns, *found.stars):
        names = column.names if column.kind == "column" else (*column.names, "*")
        if len(names) == 3 and scope.relation(names[:-1]) is None:
            meant = scope.relation(names[1:2])
            if meant is not None and meant.kind == "query":
                quote = found.knowledge.quote
                last = "*" if column.kind == "star" else quote(names[2])
                edits.append((column.start, column.end, (f"{quote(names[1])}.{last}",)))
    return "".join(str(piece) for piece in edited(text, edits))


def tables_in(query: Query, hidden: frozenset[str] = frozenset()) -> Iterator[tuple[Source, frozenset[str]]]:
    """Every table name in FROM, with the names of CTEs that may be meant there."""
    inside = hidden | {cte.name for cte in query.ctes}
    for cte in query.ctes:
        if cte.query is not None:
            yield from tables_in(cte.query, inside)
    yield from _in_body(query.body, inside)
    for expr in (*(sort.expr for sort in query.order), *(one for one in (query.limit, query.offset) if one)):
        yield from _in_expression(expr, inside)


def _in_body(body: Select | SetOp | Values | Query | None, hidden: frozenset[str]) -> Iterator[
        tuple[Source, frozenset[str]]]:
    if isinstance(body, Query):
        yield from tables_in(body, hidden)
    elif isinstance(body, SetOp):
        yield from tables_in(body.left, hidden)
        yield from tables_in(body.right, hidden)
    elif isinstance(body, Values):
        for row in body.rows:
            for expr in row:
                yield from _in_expression(expr, hidden)
    elif isinstance(body, Select):
        for source in body.sources:
            yield from _in_source(source, hidden)
        for one in (*(item.expr for item in body.items), body.where, *body.group, body.having, *body.distinct_on,
                    *body.windows.values()):
            if one is not None:
                yield from _in_expression(one, hidden)


def _in_source(source: Source, hidden: frozenset[str]) -> Iterator[tuple[Source, frozenset[str]]]:
    if source.kind == "table":
        yield source, hidden
    if source.query is not None:
        yield from tables_in(source.query, hidden)
    for side in (source.left, source.right):
        if side is not None:
            yield from _in_source(side, hidden)
    for expr in (*source.calls, *([source.condition] if source.condition is not None else ())):
        yield from _in_expression(expr, hidden)


def _in_expression(expr: Expr, hidden: frozenset[str]) -> Iterator[tuple[Source, frozenset[str]]]:
    for part in walk(expr):
        if part.query is not None:
            yield from tables_in(part.query, hidden)
