"""A small shop over two shards, and what the tests of the planner of queries need to look at a plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pglast

from shardproxy.catalog.tables import Column, Function, Table, Tables
from shardproxy.dialects.postgres.sql.sharding import KNOWLEDGE
from shardproxy.planner.plan import Gather, Parts, Plan, Scatter, Select, Single
from shardproxy.planner.queries import plan_query
from shardproxy.topology.layout import KeyspaceLayout, Layout, TableLayout

__all__ = ["LAYOUT", "TABLES", "keys", "plan", "targets", "texts", "tier"]

_TYPES = {"i": (23, "integer"), "b": (20, "bigint"), "t": (25, "text"), "n": (1700, "numeric(12,2)"),
          "d": (1082, "date"),
          "z": (1184, "timestamp with time zone"), "f": (701, "double precision"), "o": (16, "boolean")}


def _table(oid: int, name: str, columns: str, key: tuple[str, ...] = (), shell: bool = False, kind: str = "r",
           definition: str = "", schema: str = "public", secured: bool = False) -> Table:
    described = [(column, *_TYPES[kind[0]], kind[1:]) for column, kind in (one.split(":") for one in columns.split())]
    made = tuple(Column(column, oid, text, base=oid, collation="default" if oid == 25 else "",
                        bytewise=flag != "l") for column, oid, text, flag in described)
    return Table(oid, schema, name, kind, made, key, shell=shell, definition=definition, secured=secured)


TABLES = Tables([
    _table(1, "orders", "id:b customer_id:b total:n note:t at:z", ("id",), True),
    _table(2, "customers", "id:b name:tl code:t country:i", ("id",), True),
    _table(3, "items", "tenant:i n:i sku:t price:f", ("tenant", "n"), True),
    _table(4, "countries", "id:i name:t", ("id",)),
    _table(5, "local", "a:i b:t"),
    _table(6, "big", "id:b total:n", kind="v",
           definition="SELECT orders.id, orders.total FROM public.orders WHERE orders.total > 100;"),
    _table(7, "bigger", "id:b", kind="v", definition="SELECT big.id FROM public.big;"),
    _table(8, "orders", "id:b", schema="other"),
    _table(9, "private", "id:b owner:b", ("id",), True, secured=True),
    _table(10, "leaked", "id:b", kind="v", definition="SELECT private.id FROM public.private;"),
], {"touching": Function("s", ("sql",), frozenset({"orders"})), "dynamic": Function("v", ("plpgsql",), opaque=True),
    "pure": Function("i", ("sql",)), "median": Function("i", ("internal",))})

LAYOUT = Layout(1, "main", {"shop": KeyspaceLayout("shop", ("s0", "s1"), "hash", 4, (0, 0, 1, 1), (
    TableLayout("public", "orders", "shop", ("customer_id",)), TableLayout("public", "customers", "shop", ("id",)),
    TableLayout("public", "items", "shop", ("tenant", "n")), TableLayout("public", "private", "shop", ("owner",)),
    TableLayout("public", "countries", "shop", (), True)))})


def plan(text: str, layout: Layout = LAYOUT, tables: Tables = TABLES) -> Plan:
    """The plan of a query."""
    return plan_query(text, None, layout, tables, ("public",), KNOWLEDGE)


def tier(found: Plan) -> str:
    """How a query is carried out if it is not on one shard: one, scatter, fold, partial, gather, refused."""
    if isinstance(found, Single):
        return "one"
    spread = found.spread if isinstance(found, Select) else None
    if isinstance(spread, Scatter):
        return "fold" if spread.folds else "scatter"
    if isinstance(spread, Gather):
        return "partial" if any(pull.types for pull in spread.pulls) else "gather"
    return "refused"


def keys(found: Plan) -> list[str] | None:
    """Keys of the one shard that a query may need, as text; None if it needs all."""
    if not isinstance(found, Select) or found.whole is None or found.whole.keys is None:
        return None
    return sorted("/".join(f"${cell.value.param}" if cell.value.param else str(cell.value.text)
                           for cell in row) for row in found.whole.keys)


def texts(found: Plan) -> Iterator[str]:
    """Every text of a plan, holes filled with a name."""
    if not isinstance(found, Select):
        return
    for spread in (found.spread, getattr(found.spread, "otherwise", None)):
        if isinstance(spread, Scatter):
            yield _with_clocks(spread.text)
        elif isinstance(spread, Gather):
            yield "".join(f"hole_{part}" if isinstance(part, int) else part.decode() for part in spread.text)
            for pull in spread.pulls:
                yield _with_clocks(pull.text)


def _with_clocks(text: bytes | Parts) -> str:
    pieces = (text,) if isinstance(text, bytes) else text
    return "".join("now()" if isinstance(piece, int) else piece.decode() for piece in pieces)


def targets(text: str) -> list[str | None]:
    """Names of the columns of a query as far as its text gives them; of a bare column its own."""
    tree: Any = pglast.parse_sql(text)[0].stmt
    while tree.targetList is None and tree.larg is not None:
        tree = tree.larg
    return [_name(one) for one in tree.targetList or ()]


def _name(target: Any) -> str | None:
    if target.name is not None:
        return str(target.name)
    value: Any = target.val
    kind = type(value).__name__
    if kind == "ColumnRef":
        last = value.fields[-1]
        return str(last.sval) if type(last).__name__ == "String" else "*"
    return str(value.funcname[-1].sval) if kind == "FuncCall" else None
