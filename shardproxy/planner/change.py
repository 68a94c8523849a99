"""UPDATE, DELETE and MERGE of sharded tables.

Invariants:
* A statement is pushed only if each shard finds, for its own rows, all that the statement matches them with.
* What moves rows, or what a shard cannot decide, works on a copy of the rows: ``WriteBack``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shardproxy.catalog.tables import Table
from shardproxy.topology.layout import TableLayout

from .analysis import Analysis, Unplannable
from .contexts import Term
from .edits import Edit, edited, parts
from .expressions import Hazard, assigned, hazards, storable_as_given, with_clocks
from .gather import column_edits, pull_of, qualified, table_edit
from .keys import candidates, filter_of, whole_filter
from .lexemes import Lexeme, Unreadable, close_of, find, is_op, name_at, split, word
from .nodes import Expr, Item, Query, Select, Source
from .plan import (
    COORDINATOR,
    Gather,
    KeyValue,
    Plan,
    Pull,
    Push,
    Reference,
    Refusal,
    ShardFilter,
    Single,
    Write,
    WriteBack,
)
from .pushdown import conditions_of
from .readings import analysed, expressions, kinds, near, query_at, sources_and_condition
from .rows import check_rows
from .safety import check_spread
from .scopes import Relation
from .target import Scope

__all__ = ["plan"]

Range = tuple[int, int]


@dataclass(slots=True)
class Change:
    """A statement's clauses, as index ranges. ``sets``: column names and the range of their value."""

    scope: Scope
    lexemes: list[Lexeme]
    start: int
    kind: str
    name: tuple[str | None, str]
    source: Source
    behind: int
    sets: list[tuple[tuple[str, ...], Range]] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    where: Expr | None = None
    values: list[Range] = field(default_factory=list)
    returning: Range = (0, 0)
    inserts: list[tuple[tuple[str, ...] | None, list[Range]]] = field(default_factory=list)
    join: str = "inner"


def plan(scope: Scope, lexemes: list[Lexeme], start: int) -> Plan:
    """The plan of one UPDATE, DELETE or MERGE at ``start``."""
    while lexemes and is_op(lexemes, len(lexemes) - 1, ";"):
        lexemes = lexemes[:-1]
    change = _read(scope, lexemes, start)
    layout, table = scope.target(change.name)
    current = next((i for i in range(start, len(lexemes))
                    if word(lexemes, i) == "current" and word(lexemes, i + 1) == "of"), None)
    if current is not None:
        return Refusal("WHERE CURRENT OF on a sharded table", "Name the row by its primary key.")
    try:
        if table is not None and table.kind == "v" and any(one.name in table.definition for one in
                                                            scope.layout.tables()):
            return Refusal(f'view "{table.name}" in a statement that writes', "Name the table that it reads.")
        _conditions(change)
        found = _analysis(change)
        target = next(one for one in found.relations if one.source is change.source)
        if layout is None:
            return _unsharded(change, found)
        if table is None or target.table is None:
            return Single(COORDINATOR, "the table is not known")
        if table.rules:
            return Refusal(f'a write to "{table.name}", which has rules')
        if layout.reference:
            return _reference(change, found, layout)
        return _sharded(change, found, target, table, layout)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)


# -- reading


def _read(scope: Scope, lexemes: list[Lexeme], start: int) -> Change:
    """Target and clauses."""
    kind = lexemes[start].text
    at = start + {"update": 1, "delete": 2, "merge": 2}[kind]
    first = lexemes[at].start
    only = word(lexemes, at) == "only"
    at += only
    inside = is_op(lexemes, at, "(")
    at += inside
    name_start = at
    name, at = name_at(lexemes, at)
    name_end = lexemes[at - 1].end
    at += inside
    at += is_op(lexemes, at, "*")
    alias = None
    if word(lexemes, at) == "as" or (at < len(lexemes) and lexemes[at].kind in ("word", "quoted")
                                     and word(lexemes, at) not in ("set", "using", "where", "returning")):
        at += word(lexemes, at) == "as"
        alias = lexemes[at].text
        at += 1
    names = (name[1],) if name[0] is None else (name[0], name[1])
    source = Source("table", first, lexemes[at - 1].end, names, lexemes[name_start].start, name_end, alias, only=only)
    return Change(scope, lexemes, start, kind, name, source, at)


def _conditions(change: Change) -> None:
    """The rest of the clauses."""
    lexemes, at, size = change.lexemes, change.behind, len(change.lexemes)
    returning = find(lexemes, ("returning",), at, size)
    change.returning = (returning + 1, size) if returning < size else (size, size)
    if change.kind == "merge":
        _merge(change, at, returning)
        return
    tail = at
    if change.kind == "update":
        if word(lexemes, at) != "set":
            raise Unreadable("set")
        tail = at + 1
        while True:
            tail = find(lexemes, ("from", "where"), tail, returning)
            if word(lexemes, tail) != "from" or word(lexemes, tail - 1) != "distinct":
                break
            tail += 1
        change.sets = list(_assignments(lexemes, at + 1, tail))
        change.values = [value for _, value in change.sets]
    if tail < returning:
        keyword = {"using": "from"}.get(word(lexemes, tail), word(lexemes, tail))
        if keyword not in ("from", "where"):
            raise Unreadable(keyword)
        change.sources, change.where = sources_and_condition(
            change.scope, lexemes[tail].start, lexemes[tail].end, lexemes[returning - 1].end, keyword)


def _assignments(lexemes: list[Lexeme], start: int, end: int) -> list[tuple[tuple[str, ...], Range]]:
    """``a = x``, ``(a, b) = (x, y)``: names and the range of the value."""
    found: list[tuple[tuple[str, ...], Range]] = []
    for first, last in split(lexemes, start, end):
        if is_op(lexemes, first, "("):
            close = close_of(lexemes, first)
            names = tuple(lexemes[i].text for i, _ in split(lexemes, first + 1, close))
            equals = close + 1
        else:
            names = (lexemes[first].text,)
            equals = next((i for i in range(first, last) if is_op(lexemes, i, "=")), last)
        if not is_op(lexemes, equals, "="):
            raise Unreadable("assignment")
        value = equals + 1
        if word(lexemes, value) == "row" and is_op(lexemes, value + 1, "("):
            value += 1
        found += _matched(lexemes, names, value, last)
    return found


def _matched(lexemes: list[Lexeme], names: tuple[str, ...], start: int, end: int) -> list[
        tuple[tuple[str, ...], Range]]:
    """The values of a row by themselves, if each column has one; else the row or query as a whole."""
    if len(names) > 1 and is_op(lexemes, start, "(") and close_of(lexemes, start) == end - 1 and (
            word(lexemes, start + 1) not in ("select", "with", "values", "table")):
        values = list(split(lexemes, start + 1, end - 1))
        if len(values) == len(names):
            return [((name,), value) for name, value in zip(names, values, strict=True)]
    return [(names, (start, end))]


def _merge(change: Change, at: int, end: int) -> None:
    """USING source ON condition WHEN ..."""
    lexemes, scope = change.lexemes, change.scope
    if word(lexemes, at) != "using":
        raise Unreadable("using")
    first = find(lexemes, ("when",), at, end)
    on = at
    while (following := find(lexemes, ("on",), on + 1, first)) < first:     # the last: joins have their own
        on = following
    sources, _ = sources_and_condition(scope, lexemes[at].start, lexemes[at].end, lexemes[on - 1].end, "from")
    _, change.where = sources_and_condition(scope, lexemes[on].start, lexemes[on].end, lexemes[first - 1].end, "where")
    change.sources = sources
    while first < end:
        following = find(lexemes, ("when",), first + 1, end)
        then = find(lexemes, ("then",), first, following)
        words = [word(lexemes, i) for i in range(first, then)]
        if words[1:5] == ["not", "matched", "by", "source"]:
            change.join = "full"
        elif words[1:3] == ["not", "matched"] and change.join == "inner":
            change.join = "left"            # rows of the source matter that no row of the target is matched with
        condition = find(lexemes, ("and",), first, then)
        if condition < then:
            change.values.append((condition + 1, then))
        if word(lexemes, then + 1) == "update":
            sets = _assignments(lexemes, then + 3, following)
            change.sets += sets
            change.values += [value for _, value in sets]
        elif word(lexemes, then + 1) == "insert":
            _merge_insert(change, then + 2, following)
        first = following


def _merge_insert(change: Change, at: int, end: int) -> None:
    lexemes = change.lexemes
    columns: tuple[str, ...] | None = None
    if is_op(lexemes, at, "("):
        close = close_of(lexemes, at)
        columns, at = tuple(lexemes[i].text for i, _ in split(lexemes, at + 1, close)), close + 1
    values = find(lexemes, ("values",), at, end)
    if values == end or word(lexemes, values - 1) == "default":
        change.inserts.append(((), []))
        return
    items = list(split(lexemes, values + 2, close_of(lexemes, values + 1)))
    change.inserts.append((columns, items))
    change.values += items


def _analysis(change: Change) -> Analysis:
    """The statement as a query: target and sources, the condition, and all values."""
    scope, lexemes = change.scope, change.lexemes
    items: list[Item] = []
    for first, last in change.values:
        if last - first == 1 and word(lexemes, first) == "default":
            continue
        if last <= first:
            raise Unreadable("value")
        items += expressions(scope, lexemes[first].start, lexemes[last - 1].end)
    if change.returning[0] < change.returning[1]:
        items += expressions(scope, lexemes[change.returning[0]].start, lexemes[change.returning[1] - 1].end)
    start = lexemes[change.start].start
    query = Query(0, len(scope.text))
    if change.start:
        text_end = lexemes[change.start - 1].end
        query = query_at(_with_select(scope, text_end), text_end + 1, text_end + 9, text_end)
    query.body = Select(start, len(scope.text), items, start, start, sources=[change.source, *change.sources],
                        where=change.where)
    if change.kind == "merge" and change.join != "inner":
        query.body.sources, query.body.where = [Source(
            "join", change.source.start, len(scope.text), join=change.join, left=change.sources[0],
            right=change.source, condition=change.where)], None
    query.order, query.locks = [], []
    return analysed(scope, query)


def _with_select(scope: Scope, end: int) -> Scope:
    """The WITH clause before a query that reads nothing."""
    return Scope(scope.text[:end] + " SELECT 1", scope.layout, scope.tables, scope.search_path, scope.knowledge,
                 scope.judge)


# -- planning


def _sharded(change: Change, found: Analysis, target: Relation, table: Table, layout: TableLayout) -> Plan:
    if _sets_given(change, table):
        return Single(COORDINATOR, "a column that takes DEFAULT only")
    moves = _moves(change, target, table, layout)
    used = kinds(found)
    stays = _stays(change, found, target, layout)
    whole = None if moves or used & {"sequence", "oid"} else whole_filter(found)
    if whole is not None and not stays:
        inserted = _inserted_keys(change, target, layout)
        whole = None if inserted is None or whole.keys is None else ShardFilter(
            whole.keyspace, whole.table, (*whole.keys, *inserted))
    spread: Push | WriteBack | Refusal
    try:
        check_spread(found)
        if not moves and stays and near(found, target):
            spread = _push(change, found, target, used) or _write_back(change, found, target, table, layout)
        else:
            spread = _write_back(change, found, target, table, layout)
    except Unplannable as problem:
        spread = Refusal(problem.construct, problem.hint)
    if whole is None or (isinstance(spread, Push) and spread.filter == whole):
        return spread
    return Write(whole, spread)


def _sets_given(change: Change, table: Table) -> bool:
    """Whether a column that is always generated gets a value: an error, which a copy of the rows would not have."""
    given = [(name, value) for names, value in change.sets for name in names]
    if not any(word(change.lexemes, i) == "overriding" for i in range(len(change.lexemes))):
        for names, values in change.inserts:
            given += zip(names if names is not None else table.names, values, strict=False)
    return any(column is not None and (column.generated or column.identity == "a") and not (
        last - first == 1 and word(change.lexemes, first) == "default")
        for column, (first, last) in ((table.column(name), value) for name, value in given))


def _moves(change: Change, target: Relation, table: Table, layout: TableLayout) -> bool:
    """Whether a row may get another key."""
    known = candidates(target.context, target.key())
    for names, (first, last) in change.sets:
        for name in set(names) & set(layout.key):
            column = table.column(name)
            value = assigned(change.lexemes, first, last, column) if len(names) == 1 and column is not None else None
            if value is None or known is None or len(
                    known) != 1 or known[0][layout.key.index(name)].value != value.value:
                return True
    return False


def _stays(change: Change, found: Analysis, target: Relation, layout: TableLayout) -> bool:
    """Whether each row that MERGE inserts belongs to the shard of the source row it is made from."""
    if not change.inserts:
        return True
    scope = found.root.scope if found.root is not None else None
    for columns, items in change.inserts:
        names = columns if columns is not None else target.columns or ()
        if scope is None or any(key not in names or names.index(key) >= len(items) for key in layout.key):
            return False
        terms = []
        for key in layout.key:
            first, last = items[names.index(key)]
            expr = expressions(change.scope, change.lexemes[first].start, change.lexemes[last - 1].end)[0].expr
            terms.append(scope.resolve(expr.names) if expr.kind == "column" else None)
        if not any(one.sharded and one is not target and _is_key(found, one, target, terms) for one in found.relations):
            return False
    return True


def _is_key(found: Analysis, source: Relation, target: Relation, terms: list[Term | None]) -> bool:
    """Whether these columns are the key by which the rows of ``source`` are dealt to the target's shards."""
    key = source.key()
    return len(key) == len(terms) and source.layout is not None and target.layout is not None and (
        source.layout.keyspace == target.layout.keyspace) and all(
            term is not None and source.context.same(term, own) and found.family(own) == found.family(theirs)
            for term, own, theirs in zip(terms, key, target.key(), strict=True))


def _inserted_keys(change: Change, target: Relation, layout: TableLayout) -> list[tuple[KeyValue, ...]] | None:
    """Keys of the rows that MERGE inserts, if all are constants."""
    found = []
    for columns, items in change.inserts:
        names = columns if columns is not None else target.columns or ()
        row = []
        for key in layout.key:
            column = target.table.column(key) if target.table is not None else None
            value = assigned(change.lexemes, *items[names.index(key)], column) if (
                column is not None and key in names and names.index(key) < len(items)) else None
            if column is None or value is None or not storable_as_given(column):
                return None
            row.append(value)
        found.append(tuple(row))
    return found


def _push(change: Change, found: Analysis, target: Relation, used: set[str]) -> Push | None:
    """The text runs on every shard that may have rows; None if it may not."""
    lexemes, scope = change.lexemes, change.scope
    kind, where = change.kind.upper(), _shards(change, found, target)
    if used <= {"immutable", "stable", "volatile"}:
        return Push(where, None, kind)
    if not used <= {"immutable", "stable", "volatile", "clock"}:
        return None
    if hazards(lexemes, 0, len(lexemes), scope.judge) & Hazard.CLOCK_WITHIN or hazards(
            lexemes, *change.returning, scope.judge) & Hazard.CLOCK:
        return None
    return Push(where, with_clocks(scope.text, lexemes, 0, len(lexemes)), kind)


def _shards(change: Change, found: Analysis, target: Relation) -> ShardFilter:
    """The shards with rows that matter: of the target, or (if MERGE looks at unmatched ones, too) of the source."""
    own = filter_of(target)
    if change.join == "inner":
        return own
    source = next((one for one in found.sharded if one is not target), None)
    if change.join == "full":
        return ShardFilter(own.keyspace, own.table)
    return own if source is None else filter_of(source)


def _write_back(change: Change, found: Analysis, target: Relation, table: Table, layout: TableLayout,
                ) -> WriteBack | Refusal:
    """The text runs on a copy of the rows."""
    keyless = not table.primary_key or not set(layout.key) <= set(table.primary_key)
    if keyless and (table.kind != "r" or table.triggers or table.uniques or not found.knowledge.row_id("")):
        return Refusal(f'{change.kind.upper()} over several shards of table "{table.name}", which has triggers, '
                       "partitions or unique columns, but no primary key with the sharding key",
                       "Add a primary key, or name the rows by the sharding key.")
    if any(column.generated for column in table.columns) and change.returning[0] < change.returning[1]:
        return Refusal(f'RETURNING of table "{table.name}", which has generated columns, from several shards',
                       "Read the rows afterwards.")
    if change.inserts and any(word(change.lexemes, i) == "overriding" for i in range(len(change.lexemes))):
        return Refusal("OVERRIDING in a MERGE over several shards", "Insert the rows by INSERT.")
    check_rows(found)
    pulls: list[Pull] = [_target_pull(change, found, target, table, keyless)]
    edits: list[Edit] = [(change.source.start, change.source.name_end, tuple(
        table_edit(found, target, 0)[0][2]))]
    for relation in found.sharded:
        if relation is target:
            continue
        pull = pull_of(change.scope.text, found, relation)
        if pull not in pulls[1:]:
            pulls.append(pull)
        edits += table_edit(found, relation, pulls.index(pull, 1))
    edits += column_edits(found)
    return WriteBack((table.schema, table.name), layout.keyspace, tuple(pulls), 0,
                     parts(edited(change.scope.text, edits)), change.kind.upper(),
                     "the rows that may change are copied, changed and written back",
                     tuple(dict.fromkeys(name for names, _ in change.sets for name in names)), keyless)


def _target_pull(change: Change, found: Analysis, target: Relation, table: Table, keyless: bool) -> Pull:
    """All columns of the rows that may change, locked; and where they are, if no key says which is which."""
    quote, text = found.knowledge.quote, change.scope.text
    stored = table.names
    listed = [f"{quote(target.alias)}.{quote(name)}" for name in stored]
    if keyless:
        listed.append(found.knowledge.row_id(target.alias))
    query = f"SELECT {', '.join(listed)} FROM {qualified(found, target)} AS {quote(target.alias)}"
    conditions = [] if change.join == "full" else conditions_of(found, target)
    if conditions:
        query += " WHERE " + " AND ".join(f"({text[one.start:one.end]}\n)" for one in conditions)
    where = filter_of(target)
    if change.join == "full":
        where = ShardFilter(where.keyspace, where.table)
    locked = f"{query} FOR UPDATE".encode("utf-8", "surrogateescape")
    if not keyless:
        return Pull(where, locked, stored, (table.schema, table.name), lock=True)
    types = [found.knowledge.column_type(column) or column.type_name for column in table.columns]
    names = (*(f"c{number}" for number in range(len(stored))), "place")
    return Pull(where, locked, names, types=(*types, "text"), lock=True)


def _unsharded(change: Change, found: Analysis) -> Plan:
    """The target is the coordinator's own."""
    if not found.sharded:
        return Single(COORDINATOR, "no sharded table is named")
    check_spread(found)
    pulls: list[Pull] = []
    edits: list[Edit] = []
    for relation in found.sharded:
        pull = pull_of(change.scope.text, found, relation)
        if pull not in pulls:
            pulls.append(pull)
        edits += table_edit(found, relation, pulls.index(pull))
    edits += column_edits(found)
    return Gather(tuple(pulls), parts(edited(change.scope.text, edits)), "rows of the shards are put together first",
                  writes=True)


def _reference(change: Change, found: Analysis, layout: TableLayout) -> Plan:
    """The same text at every copy."""
    name, kind = layout.name, change.kind.upper()
    for relation in found.relations:
        if relation.source is change.source or relation.kind != "table":
            continue
        where = relation.layout
        if where is None or not where.reference or where.keyspace != layout.keyspace:
            return Refusal(f'{kind} of reference table "{name}" by other tables than reference tables',
                           "Read the values first, and write them by key.")
    used = kinds(found)
    lexemes = change.lexemes
    if used <= {"immutable", "stable"}:
        return Reference(layout.keyspace, kind)
    if used <= {"immutable", "stable", "clock"} and not hazards(
            lexemes, 0, len(lexemes), change.scope.judge) & Hazard.CLOCK_WITHIN:
        return Reference(layout.keyspace, kind, with_clocks(change.scope.text, lexemes, 0, len(lexemes)))
    return Refusal(f'{kind} of reference table "{name}" with functions that give another value at each copy',
                   "Compute the values first, and write them as constants.")
