"""INSERT into a sharded table, cut into its clauses and planned.

Invariants:
* A row goes to the shard of the key that will be stored in it, or the plan makes the rows on the coordinator first.
* A statement that PostgreSQL refuses for its form runs at the coordinator, whose shell refuses it in PostgreSQL's words
  (and takes no row).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shardproxy.catalog.tables import Column, Table
from shardproxy.topology.layout import TableLayout

from .expressions import Hazard, Judge, assigned, hazards, span, storable_as_given, with_clocks
from .lexemes import Lexeme, Unreadable, close_of, find, is_op, lex, name_at, quote, split, word
from .plan import (
    COORDINATOR,
    InsertFrom,
    InsertRow,
    InsertRows,
    KeyValue,
    Parts,
    Plan,
    Refusal,
    ShardFilter,
    Single,
    Value,
    Write,
)

__all__ = ["Insert", "Staged", "default_of", "parse_insert", "plan_values", "refused_conflict", "tail_of"]

Staged = Callable[[], "InsertFrom | Refusal"]
"""Makes the plan that evaluates all rows on the coordinator."""

Range = tuple[int, int]


@dataclass(slots=True)
class Insert:
    """Index ranges of the clauses. ``body``: VALUES or a query; ``kind``: values, default, query. ``columns`` None:
    no list. ``conflict``, ``returning``: empty if there is none. ``start``: of INSERT itself, behind WITH."""

    text: str
    lexemes: list[Lexeme]
    start: int
    name: tuple[str | None, str]
    target: Range
    columns: tuple[str, ...] | None
    columns_at: int
    overriding: str
    body: Range
    kind: str
    conflict: Range
    returning: Range

    def cut(self, start: int, end: int) -> str:
        """The text of a range."""
        return span(self.text, self.lexemes, start, end)


def parse_insert(text: str, lexemes: list[Lexeme], start: int = 0) -> Insert:
    """The INSERT at ``start``. Raises Unreadable."""
    size = len(lexemes)
    while size and is_op(lexemes, size - 1, ";"):
        size -= 1
    if word(lexemes, start) != "insert" or word(lexemes, start + 1) != "into":
        raise Unreadable("insert")
    name, at = name_at(lexemes, start + 2)
    if word(lexemes, at) == "as":
        at += 2
    target = (start + 2, at)
    columns: tuple[str, ...] | None = None
    columns_at = at
    if is_op(lexemes, at, "(") and word(lexemes, at + 1) not in ("select", "with", "values", "table") \
            and not is_op(lexemes, at + 1, "("):
        end = close_of(lexemes, at)
        columns = tuple(lexemes[first].text for first, _ in split(lexemes, at + 1, end))
        columns_at, at = end, end + 1
    overriding = ""
    if word(lexemes, at) == "overriding":
        overriding, at = word(lexemes, at + 1), at + 3
    body_end = _body_end(lexemes, at, size)
    returning = find(lexemes, ("returning",), body_end, size)
    kind = {"values": "values", "default": "default"}.get(word(lexemes, at), "query")
    if kind == "values" and find(lexemes, ("order", "limit", "offset", "union", "intersect", "except", "fetch"),
                                 at, body_end) < body_end:
        kind = "query"
    return Insert(text, lexemes, start, name, target, columns, columns_at, overriding, (at, body_end), kind,
                  (body_end, returning), (returning, size))


def _body_end(lexemes: Sequence[Lexeme], start: int, size: int) -> int:
    """Where ON CONFLICT or RETURNING begins."""
    at = start
    while at < size:
        at = find(lexemes, ("on", "returning"), at, size)
        if at == size or word(lexemes, at) == "returning" or word(lexemes, at + 1) == "conflict":
            return at
        at += 1
    return size


# -- rows of VALUES


@dataclass(slots=True)
class _Rows:
    """What is found out while the rows are looked at. ``clocks``: some value is the time."""

    added: list[tuple[str, str]]
    rows: list[InsertRow]
    staged: bool = False
    clocks: bool = False
    local: bool = True


def plan_values(insert: Insert, table: Table, layout: TableLayout, judge: Judge, staged: Staged) -> Plan:
    """INSERT ... VALUES or DEFAULT VALUES."""
    columns = insert.columns if insert.columns is not None else table.names
    if any(table.column(name) is None for name in columns):
        return Single(COORDINATOR, "a column is not known")
    if (refusal := refused_conflict(insert, table, layout, judge)) is not None:
        return refusal
    items = _items(insert, table)
    width = max(map(len, items))
    if width > len(columns) or (insert.columns is not None and width < len(columns)) or min(map(len, items)) < width:
        return Single(COORDINATOR, "the numbers of columns and values differ")
    columns = columns[:width]
    state = _Rows([], [])
    plan = _Planned(insert, table, layout, judge, columns, len(items), state)
    omitted = plan.omitted()
    for row in items:
        plan.row(row, omitted)
    if state.staged:
        return _whole(plan, staged())
    conflict = insert.conflict[0] < insert.conflict[1]
    if plan.always_given:
        return Single(COORDINATOR, "a value for a column that is always generated")
    rows = InsertRows((table.schema, table.name), layout.keyspace, plan.head(omitted), tuple(state.rows),
                      tail_of(insert), tuple(state.added), insert.returning[0] < insert.returning[1], conflict)
    return _whole(plan, rows)


def _items(insert: Insert, table: Table) -> list[list[Range | None]]:
    """Ranges of the items of each row; None: DEFAULT that stands nowhere."""
    if insert.kind == "default":
        return [[None] * len(table.columns)]
    found: list[list[Range | None]] = []
    for first, end in split(insert.lexemes, insert.body[0] + 1, insert.body[1]):
        if not is_op(insert.lexemes, first, "(") or close_of(insert.lexemes, first) != end - 1:
            raise Unreadable("values")
        found.append(list(split(insert.lexemes, first + 1, end - 1)))
    if not found:
        raise Unreadable("values")
    return found


class _Planned:
    """Looks at the rows one by one."""

    def __init__(self, insert: Insert, table: Table, layout: TableLayout, judge: Judge, columns: tuple[str, ...],
                 count: int, state: _Rows) -> None:
        self.insert, self.table, self.layout, self.judge = insert, table, layout, judge
        self.columns, self.count, self.state = columns, count, state
        self.always_given = self.always_added = False

    def omitted(self) -> list[tuple[Column, int]]:
        """Columns that the text does not name and whose default must be evaluated here, with their holes."""
        found = []
        for column in self.table.columns:
            if column.name not in self.columns and (hole := self._hole(column)) is not None:
                found.append((column, hole))
        return found

    def _hole(self, column: Column) -> int | None:
        """The hole for the default of a column; None if the shard may evaluate it."""
        expression = default_of(column, column.name in self.layout.key, self.count > 1, self.judge)
        if expression is None:
            return None
        if column.identity or hazards(lex(expression), 0, len(lex(expression)), self.judge) & (
                Hazard.SEQUENCE | Hazard.UNKNOWN | Hazard.QUERY):
            self.state.local = False
        self.always_added = self.always_added or column.identity == "a"
        entry = (column.name, expression)
        if entry not in self.state.added:
            self.state.added.append(entry)
        return self.state.added.index(entry)

    def row(self, items: Sequence[Range | None], omitted: Sequence[tuple[Column, int]]) -> None:
        """Take in one row."""
        parts: list[bytes | int] = []
        keys: dict[str, KeyValue | int | None] = {
            name: _constant_default(self.table.column(name)) for name in self.layout.key}
        keys |= {column.name: hole for column, hole in omitted if column.name in keys}
        for name, item in zip(self.columns, items, strict=True):
            column = self.table.column(name)
            if column is None:
                raise Unreadable(name)
            if parts:
                parts.append(b", ")
            key = self._item(parts, column, item)
            if name in keys:
                keys[name] = key
        for _, hole in omitted:
            parts += [b", ", hole] if parts else [hole]
        if any(key is None for key in keys.values()):
            self.state.staged = True
            return
        self.state.rows.append(InsertRow(_joined(parts), tuple(key for key in keys.values() if key is not None)))

    def _item(self, parts: list[bytes | int], column: Column, item: Range | None) -> KeyValue | int | None:
        """Add an item to the row; gives its value as a key, None if that is not known."""
        lexemes = self.insert.lexemes
        by_user = self.insert.overriding == "user" and column.identity
        if item is None or by_user or (item[1] - item[0] == 1 and word(lexemes, item[0]) == "default"):
            hole = self._hole(column)
            parts.append(b"DEFAULT" if hole is None else hole)
            return hole if hole is not None else _constant_default(column)
        if column.identity == "a" and not self.insert.overriding:
            self.always_given = True
        found = hazards(lexemes, *item, self.judge)
        if found & (Hazard.QUERY | Hazard.UNKNOWN | Hazard.SEQUENCE) or (
                self.count > 1 and found & Hazard.CLOCK_WITHIN):
            self.state.staged = True
            self.state.local = self.state.local and not found & (Hazard.SEQUENCE | Hazard.QUERY)
        if self.count > 1 and found & Hazard.CLOCK:
            parts += with_clocks(self.insert.text, lexemes, *item)
        else:
            parts.append(self.insert.cut(*item).encode("utf-8", "surrogateescape"))
        return assigned(lexemes, *item, column)

    def head(self, omitted: Sequence[tuple[Column, int]]) -> bytes:
        """What stands before the rows, the added columns in the list."""
        insert, text = self.insert, self.insert.text
        names = [quote(column.name) for column, _ in omitted]
        behind = insert.lexemes[insert.columns_at - (insert.columns is None)].end
        before = text[:behind]
        if insert.columns is not None:
            before = before[:-1] + "".join(f", {name}" for name in names) + ")"
        elif names or insert.kind == "default":
            before += f" ({', '.join([*map(quote, self.columns), *names])})"
        system = insert.overriding or self.always_added
        return f"{before}{' OVERRIDING SYSTEM VALUE' if system else ''} VALUES ".encode("utf-8", "surrogateescape")


def _joined(parts: Sequence[bytes | int]) -> Parts:
    """Neighbouring pieces of text as one."""
    found: list[bytes | int] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, bytes) and isinstance(last, bytes):
            found[-1] = last + part
        else:
            found.append(part)
    return tuple(found)


def _whole(plan: _Planned, spread: InsertRows | InsertFrom | Refusal) -> Plan:
    """The statement as it came, if no row needs the coordinator and all go to one shard."""
    state, key = plan.state, plan.layout.key
    rows = [tuple(value for value in row.key if isinstance(value, KeyValue)) for row in state.rows]
    columns = [plan.table.column(name) for name in key]
    if not state.local or not rows or len(rows) != plan.count or any(len(row) != len(key) for row in rows) or any(
            column is None or not storable_as_given(column) for column in columns):
        return spread
    filter_ = ShardFilter(plan.layout.keyspace, (plan.table.schema, plan.table.name), tuple(rows))
    return Write(filter_, spread)


def tail_of(insert: Insert) -> Parts:
    """ON CONFLICT and RETURNING, clocks as holes."""
    found = with_clocks(insert.text, insert.lexemes, insert.conflict[0], insert.returning[1])
    return (b" ", *found) if found else ()


# -- defaults


def default_of(column: Column, key: bool, several: bool, judge: Judge) -> str | None:
    """The default of a column if it must be evaluated on the coordinator; None: the shard may do it (or there is none).

    ``key``: it is part of the sharding key. ``several``: several shards may take rows of the statement.
    """
    if column.generated:
        return None
    if column.sequence and (column.identity or "nextval" in (column.default or "")):
        return "nextval('{}'::regclass)".format(column.sequence.replace("'", "''"))
    if column.default is None:
        return None
    lexemes = lex(column.default)
    found = hazards(lexemes, 0, len(lexemes), judge)
    if found & (Hazard.SEQUENCE | Hazard.UNKNOWN | Hazard.QUERY):
        return column.default
    if several and found & (Hazard.CLOCK | Hazard.CLOCK_WITHIN):
        return column.default
    return column.default if key and _constant_default(column) is None else None


def _constant_default(column: Column | None) -> KeyValue | None:
    """What a key column becomes by its default, if that is a constant."""
    if column is None or column.generated or column.identity:
        return None
    if column.default is None:
        return KeyValue(Value())
    lexemes = lex(column.default)
    return assigned(lexemes, 0, len(lexemes), column)


# -- ON CONFLICT


def refused_conflict(insert: Insert, table: Table, layout: TableLayout, judge: Judge) -> Plan | None:
    """A plan that refuses ON CONFLICT, or None if each shard can do it for itself."""
    start, end = insert.conflict
    if start == end:
        return None
    lexemes, at = insert.lexemes, start + 2
    uniques = [set(columns) for columns in (table.primary_key, *table.uniques) if columns]
    if is_op(lexemes, at, "("):
        close = close_of(lexemes, at)
        names = {lexemes[first].text for first, _ in split(lexemes, at + 1, close)}
        if not set(layout.key) <= names:
            return (_no_key(layout, "ON CONFLICT") if names in uniques
                    else Single(COORDINATOR, "no unique index has these columns"))
    elif any(not set(layout.key) <= unique for unique in uniques):
        return _no_key(layout, "ON CONFLICT ON CONSTRAINT" if word(lexemes, at) == "on" else "ON CONFLICT of any index")
    do = find(lexemes, ("do",), at, end)
    if word(lexemes, do + 1) != "update":
        return None
    if hazards(lexemes, do, end, judge) & (
            Hazard.QUERY | Hazard.UNKNOWN | Hazard.SEQUENCE | Hazard.CLOCK_WITHIN):
        return Refusal("ON CONFLICT DO UPDATE with subqueries, sequences or functions that may read tables",
                       "Compute the values first, or update the rows in a second statement.")
    return _changed_key(insert, layout, do, end)


def _no_key(layout: TableLayout, construct: str) -> Refusal:
    return Refusal(f'{construct} without the sharding key of table "{layout.name}"',
                   f"Rows are compared within a shard only: name a unique index with ({', '.join(layout.key)}).")


def _changed_key(insert: Insert, layout: TableLayout, do: int, end: int) -> Refusal | None:
    """Refusal if DO UPDATE gives the key another value. ``key = EXCLUDED.key`` leaves it as it is."""
    lexemes = insert.lexemes
    where = find(lexemes, ("where",), do, end)
    for first, last in split(lexemes, do + 3, where):
        equals = next((i for i in range(first, last) if is_op(lexemes, i, "=")), last)
        names = [lexemes[i].text for i in range(first, equals) if lexemes[i].kind in ("word", "quoted")]
        same = [one.text for one in lexemes[equals + 1:last]] == ["excluded", ".", *names]
        if set(names) & set(layout.key) and not same:
            return Refusal(f'ON CONFLICT DO UPDATE that changes the sharding key of table "{layout.name}"',
                           "Delete the row and insert it again.")
    return None
