"""INSERT of rows that no text shows: of a query, of expressions, into reference tables, into the coordinator's tables.

Invariant: a query is pushed only if each of its rows is inserted on the shard that it is made on; else the rows are
made on the coordinator, and each goes to its shard from there.
"""

from __future__ import annotations

from shardproxy.catalog.tables import Table
from shardproxy.topology.layout import TableLayout

from .analysis import Analysis, Unplannable
from .edits import Edit, edited, parts
from .expressions import Hazard, hazards, with_clocks
from .gather import column_edits, pull_of, table_edit
from .insert import Insert, default_of, refused_conflict, tail_of
from .keys import filter_of, whole_filter
from .lexemes import Unreadable, word
from .nodes import Query, Select, Source
from .plan import COORDINATOR, Gather, InsertFrom, Plan, Pull, Push, Reference, Refusal, Single, Write
from .readings import analysed, expressions, kinds, near, query_at
from .safety import check_spread
from .scopes import Relation
from .target import Scope

__all__ = ["check_returned", "into_reference", "into_unsharded", "plan", "staged"]


def plan(scope: Scope, insert: Insert, table: Table, layout: TableLayout) -> Plan:
    """INSERT ... SELECT into a sharded table, or any INSERT behind WITH."""
    columns = insert.columns if insert.columns is not None else table.names
    if any(table.column(name) is None for name in columns):
        return Single(COORDINATOR, "a column is not known")
    if (refusal := refused_conflict(insert, table, layout, scope.judge)) is not None:
        return refusal
    try:
        found = _analysis(scope, insert)
        pushed = _pushed(scope, insert, found, table, layout)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)
    if pushed is None:
        return staged(scope, insert, table, layout)
    whole = whole_filter(found)
    return pushed if whole is None or whole == pushed.filter else Write(whole, pushed)


def _analysis(scope: Scope, insert: Insert) -> Analysis:
    """The meaning of the rows' query. DEFAULT among VALUES is read as NULL."""
    lexemes, (first, last) = insert.lexemes, insert.body
    text = scope.text
    if insert.kind == "values":
        for i in range(first, last):
            if word(lexemes, i) == "default":
                text = text[:lexemes[i].start] + "NULL   " + text[lexemes[i].end:]
    if insert.kind == "default":
        nothing = Query(0, len(text))
        nothing.body = Select(0, 0, [], 0, 0)
        return analysed(scope, nothing)
    read = Scope(text, scope.layout, scope.tables, scope.search_path, scope.knowledge, scope.judge)
    before = lexemes[insert.start - 1].end if insert.start else 0
    return analysed(scope, query_at(read, lexemes[first].start, lexemes[last - 1].end, before))


def _pushed(scope: Scope, insert: Insert, found: Analysis, table: Table, layout: TableLayout) -> Push | None:
    """Each shard inserts what it selects; None if that is not proved."""
    columns = insert.columns if insert.columns is not None else table.names
    root, sources = found.root, found.sharded
    if root is None or root.select is None or not root.plain or root.outputs is None or not sources or (
            root.select.distinct or insert.overriding or root.query.order or root.query.locks):
        return None
    check_spread(found)
    anchor = next((one for one in sources if one.context is root.context and one.key() and all(
        _feeds(found, columns, name, own) for name, own in zip(layout.key, one.key(), strict=False))
        and len(one.key()) == len(layout.key)), None)
    if anchor is None or not _same_types(anchor, table, layout):
        return None
    used = kinds(found)
    own = [column for column in table.columns if column.name not in columns[:len(root.outputs)]]
    if not near(found, anchor) or not used <= {"immutable", "stable", "volatile", "clock"} or any(
            default_of(column, column.name in layout.key, True, scope.judge) for column in own):
        return None
    lexemes, size = insert.lexemes, len(insert.lexemes)
    found_hazards = hazards(lexemes, 0, size, scope.judge)
    if found_hazards & Hazard.CLOCK_WITHIN or hazards(lexemes, *insert.returning, scope.judge) & Hazard.CLOCK:
        return None
    text = with_clocks(scope.text, lexemes, 0, size) if found_hazards & Hazard.CLOCK else None
    return Push(filter_of(anchor), text, "INSERT")


def _feeds(found: Analysis, columns: tuple[str, ...], name: str, own: tuple[int, str]) -> bool:
    """Whether the query's output for the column ``name`` is the source's key column ``own``."""
    root = found.root
    if root is None or root.outputs is None or name not in columns or columns.index(name) >= len(root.outputs):
        return False
    term = root.outputs[columns.index(name)][1]
    return term is not None and root.context.same(term, own)


def _same_types(anchor: Relation, table: Table, layout: TableLayout) -> bool:
    """Whether the key of a source is stored in the target as it is."""
    if anchor.table is None or anchor.layout is None or anchor.layout.keyspace != layout.keyspace:
        return False
    pairs = [(anchor.table.column(theirs), table.column(ours))
             for theirs, ours in zip(anchor.layout.key, layout.key, strict=True)]
    return all(a is not None and b is not None and (a.type_name == b.type_name or (
        (a.base or a.type) == (b.base or b.type) and b.typmod < 0)) for a, b in pairs)


def staged(scope: Scope, insert: Insert, table: Table, layout: TableLayout) -> InsertFrom | Refusal:
    """All rows are made on the coordinator, in a temporary table."""
    if insert.overriding == "user":
        return Refusal("OVERRIDING USER VALUE with expressions over several shards", "Leave out the identity columns.")
    if hazards(insert.lexemes, *insert.returning, scope.judge) & (
            Hazard.CLOCK | Hazard.CLOCK_WITHIN | Hazard.QUERY | Hazard.SEQUENCE | Hazard.UNKNOWN):
        return Refusal("RETURNING with subqueries, the time or functions that may read tables over several shards",
                       "Return the columns.")
    try:
        found = _analysis(scope, insert)
        check_spread(found)
        pulls, edits = _pulls(scope, found)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)
    except Unreadable:
        return Refusal("INSERT of rows that are not understood", "Give the values as constants or parameters.")
    first, behind = insert.target
    edits.append((insert.lexemes[first].start, insert.lexemes[behind - 1].end, (len(pulls),)))
    end = insert.lexemes[insert.body[1] - 1].end
    stage = parts(edited(scope.text[:end], edits))
    columns = tuple(column.name for column in table.columns if not column.generated)
    alias = insert.lexemes[behind - 1].text if word(insert.lexemes, behind - 2) == "as" else ""
    return InsertFrom((table.schema, table.name), layout.keyspace, tuple(pulls), stage, columns, tail_of(insert),
                      insert.returning[0] < insert.returning[1], insert.conflict[0] < insert.conflict[1], alias)


def returned(scope: Scope, insert: Insert) -> Analysis | None:
    """The meaning of RETURNING, if there are queries in it."""
    lexemes, (start, end) = insert.lexemes, insert.returning
    if start >= end or not hazards(lexemes, start, end, scope.judge) & Hazard.QUERY:
        return None
    first, behind = insert.target
    names = (insert.name[1],) if insert.name[0] is None else (insert.name[0], insert.name[1])
    alias = lexemes[behind - 1].text if word(lexemes, behind - 2) == "as" else None
    target = Source("table", lexemes[first].start, lexemes[behind - 1].end, names, lexemes[first].start,
                    lexemes[behind - 1].end, alias)
    query = Query(0, len(scope.text))
    at = lexemes[start].start
    query.body = Select(at, len(scope.text), expressions(scope, lexemes[start].end, lexemes[end - 1].end), at, at,
                        sources=[target])
    return analysed(scope, query)


def check_returned(scope: Scope, insert: Insert, layout: TableLayout) -> Refusal | None:
    """A shard answers queries in RETURNING by its own rows: right of reference tables only."""
    try:
        found = returned(scope, insert)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)
    for relation in (found.relations[1:] if found is not None else ()):
        there = relation.layout
        if relation.kind == "table" and (there is None or not there.reference or there.keyspace != layout.keyspace):
            return Refusal("RETURNING with a subquery that reads other tables than reference tables",
                           "Return the columns, and query afterwards.")
    return None


def _pulls(scope: Scope, found: Analysis) -> tuple[list[Pull], list[Edit]]:
    """What the shards send, and holes in the place of the tables' names."""
    pulls: list[Pull] = []
    edits: list[Edit] = []
    for relation in found.sharded:
        pull = pull_of(scope.text, found, relation)
        if pull not in pulls:
            pulls.append(pull)
        edits += table_edit(found, relation, pulls.index(pull))
    return pulls, edits + column_edits(found)


def into_unsharded(scope: Scope, insert: Insert) -> Plan:
    """The target is the coordinator's own; what it reads may be sharded, in RETURNING and ON CONFLICT too."""
    try:
        found = _analysis(scope, insert)
        behind = returned(scope, insert)
        if not found.sharded and (behind is None or not behind.sharded):
            return Single(COORDINATOR, "no sharded table is named")
        check_spread(found)
        pulls, edits = _pulls(scope, found)
        if behind is not None:
            check_spread(behind)
            for relation in behind.sharded:
                pulls.append(pull_of(scope.text, behind, relation))
                edits += table_edit(behind, relation, len(pulls) - 1)
            edits += column_edits(behind)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)
    return Gather(tuple(pulls), parts(edited(scope.text, edits)), "rows of the shards are put together first",
                  writes=True)


def into_reference(scope: Scope, insert: Insert, table: Table, layout: TableLayout) -> Plan:
    """Every copy gets the same rows."""
    columns = insert.columns if insert.columns is not None else table.names
    try:
        found = _analysis(scope, insert)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)
    lexemes, size = insert.lexemes, len(insert.lexemes)
    width = len(found.root.outputs) if found.root is not None and found.root.outputs is not None else len(columns)
    named = columns[:width] if insert.kind != "default" else ()
    defaults = any(default_of(column, True, True, scope.judge) is not None for column in table.columns
                   if column.name not in named or any(word(lexemes, i) == "default" for i in range(*insert.body)))
    copies = all(one.layout is not None and one.layout.reference and one.layout.keyspace == layout.keyspace
               for one in found.relations if one.kind == "table")
    used, all_hazards = kinds(found), hazards(lexemes, 0, size, scope.judge)
    bad = Hazard.VOLATILE | Hazard.SEQUENCE | Hazard.UNKNOWN | Hazard.CLOCK_WITHIN
    ordered = insert.kind != "query" or not hazards(lexemes, *insert.body, scope.judge) & bad
    if copies and not defaults and ordered and used <= {"immutable", "stable", "clock"} and not all_hazards & bad:
        text = with_clocks(scope.text, lexemes, 0, size) if all_hazards & Hazard.CLOCK else None
        return Reference(layout.keyspace, "INSERT", text)
    if hazards(lexemes, *insert.conflict, scope.judge) & (bad | Hazard.QUERY):
        return Refusal(f'ON CONFLICT with such expressions on reference table "{layout.name}"',
                       "Compute the values first.")
    return staged(scope, insert, table, layout)
