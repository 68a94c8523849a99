"""Push and merge: the query runs on each shard as it is, apart from ORDER BY and LIMIT, which are completed here.

Invariant: the merged rows are those of one database, in its order; where that is not sure, ``Apart`` is raised.
"""

from __future__ import annotations

from .analysis import Analysis, Apart
from .colocated import home, rows_home
from .conditions import bare
from .edits import Edit, edited, whole
from .keys import filter_of
from .nodes import Expr, Query, Sort
from .output import column_of, output_index, sort_type
from .plan import Fold, KeyValue, Scatter, ShardFilter, SortKey, Value
from .safety import check_pushed
from .scopes import Block

__all__ = ["constant_limit", "folded", "merged_filter", "scatter"]

LIMIT_MAX = 2**62


def scatter(text: str, found: Analysis) -> Scatter:
    """The plan, or ``Apart``."""
    root = found.root
    assert root is not None
    edits = check_pushed(found)
    if home(found, root, top=True).key is None:
        raise Apart("no rows of shards")
    query = root.query
    if query.ties:
        raise Apart("WITH TIES needs the rows of all shards")
    if not query.order and _ordered_within(root):
        raise Apart("a query within is ordered, and nothing sorts its rows again")
    keys, hidden = _order(text, found, root, edits)
    limit, offset = _limits(query, edits)
    serial = found.locks and (limit is not None or offset is not None) and not keys
    if found.skip_locked and limit is not None and keys:
        raise Apart("SKIP LOCKED with ORDER BY and LIMIT would lock rows that are not returned")
    return Scatter(merged_filter(found), whole(edited(text, edits)), keys, hidden, limit, offset,
                   serial=serial, why="all rows that belong together are on one shard")


def merged_filter(found: Analysis) -> ShardFilter:
    """Shards with rows of any of the tables; all of them, unless the keys of each table are known."""
    filters = [filter_of(relation) for relation in found.sharded]
    rows: dict[tuple[KeyValue, ...], None] = {}
    for one in filters:
        if one.keys is None:
            same = all(other.keys is None and other.bounds == one.bounds for other in filters)
            return ShardFilter(filters[0].keyspace, filters[0].table, None, one.bounds if same else ())
        rows.update(dict.fromkeys(one.keys))
    return ShardFilter(filters[0].keyspace, filters[0].table, tuple(rows))


# -- ORDER BY

def _ordered_within(block: Block) -> bool:
    """Whether rows come in the order of a query that they are taken from."""
    if block.select is not None and (block.aggregated or block.select.distinct):
        return False
    inner = [*block.parts, *(one.block for one in block.relations.values() if one.block is not None)]
    return any(one.query.order or _ordered_within(one) for one in inner)


def _order(text: str, found: Analysis, root: Block, edits: list[Edit]) -> tuple[tuple[SortKey, ...], int]:
    keys: list[SortKey] = []
    added: list[str] = []
    query = root.query
    for sort in query.order:
        if sort.using:
            raise Apart("ORDER BY USING")
        index = output_index(found, root, sort.expr) if root.select is not None else None
        if index is not None:
            column, type_oid = index[0], _type_of_output(found, root, *index)
        elif root.select is None:
            column, type_oid = _of_operation(found, root, sort)
        else:
            column, type_oid = _hide(text, found, root, sort, added)
        if not type_oid:
            raise Apart("ORDER BY needs a comparison that only the database has")
        keys.append(SortKey(column, type_oid, sort.descending, sort.nulls_first))
    if added and root.select is not None:
        end = root.select.list_end
        edits.append((end, end, ("".join(f", {one}" for one in added),)))
    return tuple(keys), len(added)


def _type_of_output(found: Analysis, root: Block, number: int, written: Expr | None) -> int:
    assert root.outputs is not None
    term = root.outputs[number][1]
    column = column_of(found, term) if term is not None else None
    if column is not None:
        return found.knowledge.sort_type(column)
    return sort_type(found, root.scope, written) if written is not None else 0


def _hide(text: str, found: Analysis, root: Block, sort: Sort, added: list[str]) -> tuple[int, int]:
    """Appends what is sorted by to the select list."""
    assert root.select is not None
    if root.outputs is None:
        raise Apart("the number of columns is not known")
    inner = bare(sort.expr)
    if root.select.distinct or inner.kind == "const" or any(one.command for one in root.select.sources):
        raise Apart("ORDER BY something that is not selected")
    if sort.expr.kind == "column" and root.scope.resolve(sort.expr.names) is None:
        raise Apart("ORDER BY a name that is not clear")
    added.append(text[sort.expr.start:sort.expr.end])
    return len(root.outputs) + len(added) - 1, sort_type(found, root.scope, sort.expr)


def _of_operation(found: Analysis, root: Block, sort: Sort) -> tuple[int, int]:
    """ORDER BY of a set operation: a number or a name; the type must be the same on both sides."""
    outputs, expr = root.outputs, sort.expr
    number = -1
    if outputs is not None and expr.kind == "const" and expr.how == "number" and (expr.value or "").isdigit():
        number = int(expr.value or "0") - 1
    elif outputs is not None and expr.kind == "column" and len(expr.names) == 1:
        named = [place for place, (name, _) in enumerate(outputs) if name == expr.name]
        number = named[0] if len(named) == 1 else -1
    if outputs is None or not 0 <= number < len(outputs):
        raise Apart("ORDER BY of a set operation")
    kinds = {kind for part in root.parts for kind in _kinds(found, part, number)}
    return number, kinds.pop() if len(kinds) == 1 else 0


def _kinds(found: Analysis, block: Block, number: int) -> set[int]:
    if block.parts:
        return {kind for part in block.parts for kind in _kinds(found, part, number)}
    if block.select is None or block.outputs is None:
        return {0}
    items = block.select.items
    written = items[number].expr if number < len(items) and all(item.expr.kind != "star" for item in items) else None
    return {_type_of_output(found, block, number, written)}


# -- LIMIT

def constant_limit(expr: Expr | None) -> Value | None:
    """A literal or a parameter; None: there is none. ``Apart`` if it is something else."""
    if expr is None:
        return None
    inner = bare(expr)
    if inner.kind == "cast" and inner.name in ("bigint", "int8", "int", "integer", "int4"):
        inner = bare(inner.args[0])
    if inner.kind == "param":
        return Value(inner.param)
    if inner.kind == "const" and inner.how == "number" and (inner.value or "").isdigit() and (
            int(inner.value or "0") < LIMIT_MAX):
        return Value(0, inner.value)
    raise Apart("a LIMIT that is computed")


def _limits(query: Query, edits: list[Edit]) -> tuple[Value | None, Value | None]:
    limit, offset = constant_limit(query.limit), constant_limit(query.offset)
    if offset is None:
        return limit, None
    if query.limit_start <= query.lock_start <= query.limit_end:
        raise Apart("a row lock between LIMIT and OFFSET")
    edits.append((query.limit_start, query.limit_end, (_sum(limit, offset),)))
    return limit, offset


def _sum(limit: Value | None, offset: Value) -> str:
    """LIMIT for each shard: all that the rows to skip and the rows to return may be."""
    if limit is None:
        return ""
    if limit.text is not None and offset.text is not None:
        return f"LIMIT {int(limit.text) + int(offset.text)}"
    return "LIMIT " + " + ".join(one.text or f"(${one.param})::bigint" for one in (limit, offset))


# -- one row

def folded(text: str, found: Analysis) -> Scatter:
    """A query of aggregates over all rows, whose rows of the shards become one."""
    root = found.root
    assert root is not None
    select = root.select
    clocks = check_pushed(found)
    if select is None or select.grouped or select.having is not None or select.distinct or root.windows or (
            root.query.order or root.query.limit is not None or root.query.offset is not None):
        raise Apart("not one plain row")
    here = rows_home(found, root)
    if not here.key and here.key != ():
        raise Apart("no rows of shards")
    folds = tuple(_fold(found, root, item.expr) for item in select.items)
    if not folds:
        raise Apart("nothing is selected")
    return Scatter(merged_filter(found), whole(edited(text, clocks)), folds=folds,
                   why="one row of each shard becomes one")


def _fold(found: Analysis, root: Block, expr: Expr) -> Fold:
    call = bare(expr)
    if call.kind != "call" or call.over is not None or call.order or not call.plain or len(call.args) != 1 or (
            not found.knowledge.aggregate(call) or call.name in found.tables.functions):
        raise Apart("more than an aggregate")
    arg = bare(call.args[0])
    term = root.scope.resolve(arg.names) if arg.kind == "column" else None
    if call.distinct and not (call.name in ("min", "max") or _is_key(found, root, term)):
        raise Apart("DISTINCT values of all shards")
    column = column_of(found, term) if term is not None else None
    how, oid = found.knowledge.folds(call.name, column)
    if not how:
        raise Apart("an aggregate that needs the rows")
    return Fold(how, oid)


def _is_key(found: Analysis, root: Block, term: tuple[int, str] | None) -> bool:
    """Whether equal values of a column are on one shard."""
    here = rows_home(found, root)
    return term is not None and here.key is not None and len(here.key) == 1 and root.context.same(here.key[0], term)
