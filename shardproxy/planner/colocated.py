"""Whether a query, run on each shard over the shard's own rows, gives the parts of its result.

Invariant: ``home`` answers only if the results of all shards, put together, are the result of the query: each row of
it comes from one shard, the one where the rows that it is made of live. Else it raises ``Apart`` with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from .analysis import Analysis, Apart
from .conditions import bare
from .contexts import Context, Term
from .nodes import Expr, Source
from .safety import moves
from .scopes import Block, Relation

__all__ = ["Home", "group_terms", "home", "meant", "rows_home"]


Key = tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Home:
    """``key``: the columns that say on which shard a row is; None: every shard has the same rows, or (``local``) those
    that belong to the row around it. ``()``: each row is on one shard, but no column says on which. ``positions``: of
    the key among the columns of the result, if the terms mean nothing outside."""

    key: Key | None = None
    local: bool = False
    positions: tuple[int, ...] | None = None


SAME = Home()
LOCAL = Home(local=True)


def home(found: Analysis, block: Block, around: tuple[Key, ...] = (), top: bool = False) -> Home:
    """Where the rows of a block's result are. ``around``: keys of the rows that it is evaluated for.

    ``top``: its LIMIT is somebody else's concern.
    """
    if block.operation:
        here = _operation(found, block, around)
    else:
        here = _select(found, block, around)
    query = block.query
    if not top and (query.limit is not None or query.offset is not None) and not here.local:
        raise Apart("a LIMIT within the query is about rows of all shards")
    return here


def _operation(found: Analysis, block: Block, around: tuple[Key, ...]) -> Home:
    homes = [home(found, part, around) for part in block.parts]
    if block.subs:
        raise Apart("a subquery in VALUES")
    if block.operation == "paren":
        return homes[0]
    if block.operation == "values" or all(one.key is None for one in homes):
        return LOCAL if any(one.local for one in homes) else SAME
    if any(one.key is None for one in homes):
        raise Apart(f"{block.operation.upper()} of rows of one shard and rows of all shards")
    places = [_positions(part, one) for part, one in zip(block.parts, homes, strict=True)]
    same = places[0] if places[0] is not None and places.count(places[0]) == len(places) else None
    if same is None and block.operation != "union all":
        raise Apart(f"{block.operation.upper()} compares rows of different shards")
    return Home((), positions=same)


def _positions(block: Block, here: Home) -> tuple[int, ...] | None:
    """Which columns of the result are the key."""
    if here.positions is not None:
        return here.positions
    if not here.key or block.outputs is None:
        return None
    found: list[int] = []
    for term in here.key:
        place = next((number for number, (_, output) in enumerate(block.outputs)
                      if output is not None and block.context.same(output, term)), None)
        if place is None:
            return None
        found.append(place)
    return tuple(found)


# -- SELECT

def _select(found: Analysis, block: Block, around: tuple[Key, ...]) -> Home:
    here = rows_home(found, block, around)
    select = block.select
    assert select is not None
    if here.local:
        return here
    if here.key is None:
        if select.distinct == "on" or block.windows:
            raise Apart("rows of a reference table are numbered or chosen, each shard may do it differently")
        return SAME
    if block.aggregated and (select.grouping or not _covers(block, here.key, group_terms(block))):
        raise Apart("groups have rows of several shards")
    for window in block.windows:
        if not _covers(block, here.key, [_column(block, one) for one in _partition(block, window)]):
            raise Apart("a window spans rows of several shards")
    if select.distinct == "all" and _positions(block, here) is None:
        raise Apart("DISTINCT compares rows of several shards")
    if select.distinct == "on" and not _covers(block, here.key, [_column(block, one) for one in select.distinct_on]):
        raise Apart("DISTINCT ON compares rows of several shards")
    return here


def rows_home(found: Analysis, block: Block, around: tuple[Key, ...] = ()) -> Home:
    """Where the rows are that FROM and WHERE give, before they are grouped; subqueries are answered there."""
    assert block.select is not None
    here = SAME
    for source in block.select.sources:
        keys = (*around, here.key) if here.key else around
        here = _joined(block.context, here, _source(found, block, source, block.context, keys))
    keys = (*around, here.key) if here.key else around
    for sub in block.subs:
        inner = home(found, sub.block, keys)
        if inner.key is not None:
            raise Apart("a subquery reads rows of other shards than the rows it is evaluated for")
    return here


def _partition(block: Block, window: Expr) -> list[Expr]:
    assert block.select is not None
    base = block.select.windows.get(window.name) if window.name else None
    return [*window.args, *(_partition(block, base) if base is not None else ())]


def group_terms(block: Block) -> list[Term | None]:
    """The columns that rows are grouped by."""
    assert block.select is not None
    return [_column(block, meant(block, one)) for one in block.select.group]


def meant(block: Block, expr: Expr) -> Expr:
    """What an element of GROUP BY means: an output column by its number or name, or itself."""
    assert block.select is not None
    inner = bare(expr)
    items = block.select.items
    if inner.kind == "const" and inner.how == "number" and inner.value is not None and inner.value.isdigit():
        if any(item.expr.kind == "star" for item in items) or not 0 < int(inner.value) <= len(items):
            return inner
        return bare(items[int(inner.value) - 1].expr)
    if inner.kind == "column" and len(inner.names) == 1 and block.scope.resolve(inner.names) is None:
        named = [item for item in items if item.alias == inner.name]
        known = all(one.columns is not None for one in block.scope.relations)
        if len(named) == 1 and known and not any(inner.name in (one.columns or ()) for one in block.scope.relations):
            return bare(named[0].expr)
    return inner


def _column(block: Block, expr: Expr) -> Term | None:
    expr = bare(expr)
    return block.scope.resolve(expr.names) if expr.kind == "column" else None


def _covers(block: Block, key: Key, terms: list[Term | None]) -> bool:
    """Whether all columns of the key are among the terms."""
    return bool(key) and all(any(one is not None and block.context.same(one, term) for one in terms) for term in key)


# -- FROM

def _joined(context: Context, left: Home, right: Home) -> Home:
    if left.key is None or right.key is None:
        if left.key is None and right.key is None:
            return LOCAL if left.local or right.local else SAME
        return left if left.key is not None else right
    if not left.key or len(left.key) != len(right.key) or not all(
            context.same(a, b) for a, b in zip(left.key, right.key, strict=True)):
        raise Apart("a join is not on the sharding key")
    return left


def _source(found: Analysis, block: Block, source: Source, context: Context, around: tuple[Key, ...]) -> Home:
    if source.kind == "join":
        return _join(found, block, source, context, around)
    relation = block.relations[id(source)]
    if relation.kind == "function":
        if not all(moves(found, call) for call in source.calls):
            raise Apart("a function in FROM is evaluated once for all shards")
        return SAME
    if relation.kind == "table":
        return _table(found, relation, around)
    if relation.block is None:
        raise Apart("a recursive query reads rows of all shards")
    if relation.shared:
        here = home(found, relation.block)
        places = _positions(relation.block, here)
    else:
        here = home(found, relation.block, around)
        places = here.positions
    if here.key is None or (here.key and not relation.shared):
        return here
    if places is None or relation.columns is None:
        return Home(())
    return Home(tuple(relation.term(relation.columns[place]) for place in places))


def _table(found: Analysis, relation: Relation, around: tuple[Key, ...]) -> Home:
    first = next(one.layout for one in found.sharded if one.layout is not None)
    if relation.layout is None or relation.layout.keyspace != first.keyspace:
        raise Apart(f'table "{relation.source.names[-1]}" is not on the same shards')
    if not relation.sharded:
        return SAME
    key = relation.key()
    for one in around:
        if one and len(one) == len(key) and all(
                relation.context.same(a, b) for a, b in zip(one, key, strict=True)):
            return LOCAL
    return Home(key)


def _join(found: Analysis, block: Block, source: Source, context: Context, around: tuple[Key, ...]) -> Home:
    assert source.left is not None and source.right is not None
    left = _source(found, block, source.left, context, around)
    keys = (*around, left.key) if left.key else around
    if source.join in ("right", "full"):
        keys = around
    right = _source(found, block, source.right, context, keys)
    inner = block.nullable[id(source)]
    if source.join in ("inner", "cross"):
        return _joined(context, left, right)
    kept, other = (right, left) if source.join == "right" else (left, right)
    if kept.key is None and other.key is not None:
        raise Apart("an outer join keeps all rows of a reference table, on every shard")
    if source.join == "full":
        if left.key is None and right.key is None:
            return SAME if not (left.local or right.local) else LOCAL
        if right.key is None:
            raise Apart("a full join keeps all rows of a reference table, on every shard")
        _joined(inner, left, right)
        return Home(())
    if other.key is not None:
        _joined(inner, kept, other)
    return kept if kept.key is not None else LOCAL if kept.local or other.local else SAME
