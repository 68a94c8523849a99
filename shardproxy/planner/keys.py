"""Which shards hold what a query reads.

Invariant: a filter names at least all shards with rows that matter. In doubt it names all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from .analysis import Analysis
from .contexts import Context, Term
from .plan import Bound, KeyValue, ShardFilter
from .scopes import Relation

__all__ = ["candidates", "filter_of", "whole_filter"]

ROWS_MAX = 4000

Rows = tuple[tuple[KeyValue, ...], ...]


def candidates(context: Context, key: Sequence[Term]) -> Rows | None:
    """The keys that rows may have, as far as the facts of a context say; None: any."""
    roots = [context.root(term) for term in key]
    best: Rows | None = None
    single: list[Rows | None] = [None] * len(roots)
    for constant in context.known():
        places = [context.root(term) for term in constant.terms]
        if all(root in places for root in roots):
            order = [places.index(root) for root in roots]
            rows = tuple(dict.fromkeys(tuple(row[place] for place in order) for row in constant.rows))
            best = _fewer(best, rows)
        for number, root in enumerate(roots):
            if len(roots) > 1 and root in places:
                place = places.index(root)
                single[number] = _fewer(single[number], tuple(dict.fromkeys((row[place],) for row in constant.rows)))
    parts = [one for one in single if one is not None]
    if len(roots) > 1 and len(parts) == len(roots):
        count = 1
        for one in parts:
            count *= len(one)
        if count <= ROWS_MAX:
            best = _fewer(best, tuple(tuple(cell[0] for cell in row) for row in product(*parts)))
    return best


def _fewer(left: Rows | None, right: Rows) -> Rows:
    """Rows that are in both, if both are literals; else the shorter list, which is never wrong."""
    if left is None:
        return right
    if _literal(left) and _literal(right):
        values = {tuple(cell.value.text for cell in row) for row in right}
        both = tuple(row for row in left if tuple(cell.value.text for cell in row) in values)
        if both or _canonical(left, right):
            return both
    if any(cell.array for row in left for cell in row):
        return right
    return left if len(left) <= len(right) or any(cell.array for row in right for cell in row) else right


def _literal(rows: Rows) -> bool:
    return all(not cell.value.param and not cell.array and cell.value.text is not None for row in rows for cell in row)


def _canonical(left: Rows, right: Rows) -> bool:
    """Whether equal values are equal texts here: whole numbers as everybody writes them."""
    return all((text := cell.value.text) is not None and text.lstrip("-").isascii() and text.lstrip("-").isdigit()
               and str(int(text)) == text for rows in (left, right) for row in rows for cell in row)


def filter_of(relation: Relation) -> ShardFilter:
    """The shards with the rows of one relation that can matter."""
    assert relation.layout is not None
    where = relation.layout
    key = relation.key()
    keys = candidates(relation.context, key)
    bounds = relation.context.bounded(key[0]) if keys is None and len(key) == 1 else ()
    return ShardFilter(where.keyspace, (where.schema, where.name), keys, bounds)


def whole_filter(found: Analysis, ranges: bool = False) -> ShardFilter | None:
    """The shards that the query as a whole needs; None if it cannot run on one shard whatever its constants are.

    ``ranges``: also where bounds of the key may leave one shard."""
    sharded = found.sharded
    if not sharded or sharded[0].layout is None:
        return None
    keyspace = sharded[0].layout.keyspace
    if _alone(found, keyspace):
        return ShardFilter(keyspace, (sharded[0].layout.schema, sharded[0].layout.name))
    rows: dict[tuple[KeyValue, ...], None] = {}
    bounds: set[tuple[Bound, ...]] = set()
    for relation in found.relations:
        if relation.kind == "table":
            if relation.layout is None or relation.layout.keyspace != keyspace:
                return None
            if not relation.sharded:
                continue
            here = filter_of(relation)
            bounds.add(here.bounds if here.keys is None else ())
            keys = () if here.bounds else here.keys
            if keys is None or len(relation.key()) != len(sharded[0].key()) or _families(found, relation) != (
                    _families(found, sharded[0])):
                return None
            rows.update(dict.fromkeys(keys))
    table = (sharded[0].layout.schema, sharded[0].layout.name)
    if bounds == {()}:
        return ShardFilter(keyspace, table, tuple(rows))
    return ShardFilter(keyspace, table, None, bounds.pop()) if ranges and len(bounds) == 1 else None


def _alone(found: Analysis, keyspace: str) -> bool:
    """Whether all tables of the query are of one keyspace, and one shard has all of it."""
    return len(found.layout.keyspaces[keyspace].used()) == 1 and all(
        relation.layout is not None and relation.layout.keyspace == keyspace
        for relation in found.relations if relation.kind == "table")


def _families(found: Analysis, relation: Relation) -> list[str]:
    return [found.family(term) for term in relation.key()]
