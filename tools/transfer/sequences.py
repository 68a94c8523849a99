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
    short = []
    for row in await coordinator.fetch(_OWNED, [quoted(table) for table in tables]):
        last = await coordinator.fetchval(f"select last_value from {row['name']}")
        wanted = last + headroom * row["step"]
        if row["cycles"]:
            continue
        if not row["least"] <= wanted <= row["most"]:
            short.append(str(row["name"]))
            continue
        await coordinator.fetchval("select setval($1::text::regclass, $2)", row["name"], wanted)
    return short
