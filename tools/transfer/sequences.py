"""Sequences of tables that move: they stay on the coordinator, and go on with some headroom.

Invariant: a value that was given out before the switch is not given out after it, however many sessions had values in
reserve; a sequence that would run over its end is left as it is, and named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .fence import quoted
from .move import Table

__all__ = ["HEADROOM", "advance"]

HEADROOM = 100

_OWNED = """
select distinct format('%I.%I', n.nspname, s.relname) as name, q.seqincrement as step, q.seqmax as most,
       q.seqmin as least, q.seqcycle as cycles
  from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
  join pg_namespace n on n.oid = s.relnamespace join pg_sequence q on q.seqrelid = s.oid
 where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
   and d.refobjid = any(select to_regclass(one) from unnest($1::text[]) one) and d.deptype in ('a', 'i')
"""


async def advance(coordinator: Any, tables: Sequence[Table], headroom: int = HEADROOM) -> list[str]:
    """Advance all sequences of these tables; names of those that have not enough left."""
    rows = [row for row in await coordinator.fetch(_OWNED, [quoted(table) for table in tables]) if not row["cycles"]]
    if not rows:
        return []
    last = await coordinator.fetchrow("select " + ", ".join(f"(select last_value from {row['name']})" for row in rows))
    wanted = {row["name"]: value + headroom * row["step"] for row, value in zip(rows, last, strict=True)}
    short = [row["name"] for row in rows if not row["least"] <= wanted[row["name"]] <= row["most"]]
    enough = {name: value for name, value in wanted.items() if name not in short}
    await coordinator.fetch("select setval(name::regclass, value) from unnest($1::text[], $2::bigint[]) "
                            "enough (name, value)", list(enough), list(enough.values()))
    return short
