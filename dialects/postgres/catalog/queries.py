"""The catalog of one database in a few queries, as plain rows.

All run in one repeatable read transaction with an empty search path, so that texts name everything with its schema.
What came with the server (OIDs below 16384) is left out: ``sql/builtins.py`` knows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["QUERIES", "Rows", "read", "with_columns"]

Rows = Mapping[str, Sequence[Any]]
"""Rows of each query, by its name in ``QUERIES``."""

_OURS = """(n.nspname not in ('pg_catalog', 'information_schema', 'shardproxy', 'pg_shardproxy')
          and n.nspname !~ '^pg_(toast|temp|toast_temp)')"""

QUERIES: dict[str, str] = {
    "relations": f"""
        select c.oid, n.nspname, c.relname, c.relkind::text as kind, c.relpersistence::text as persistence,
               c.relrowsecurity as secured,
               case when c.relkind = 'v' then pg_get_viewdef(c.oid) end as definition
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p', 'v', 'm', 'f') and {_OURS}""",
    "parents": """
        select i.inhrelid as child, i.inhparent as parent
        from pg_inherits i join pg_class c on c.oid = i.inhrelid where c.relkind in ('r', 'p', 'f')""",
    # what views and policies read; what is older than the database is not noted there
    "reads": """
        select distinct coalesce(w.ev_class, p.polrelid) as reader, d.refobjid as read
        from pg_depend d
        left join pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid and w.rulename = '_RETURN'
        left join pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid
        where d.refclassid = 'pg_class'::regclass and d.refobjid <> coalesce(w.ev_class, p.polrelid)""",
    "policies": """
        select polrelid as relation,
               concat_ws(' , ', pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) as text
        from pg_policy""",
    # evaluated for each row that is written
    "expressions": """
        select adrelid as relation, pg_get_expr(adbin, adrelid) as text, true as fills
        from pg_attrdef where adrelid >= 16384
        union all
        select distinct a.attrelid, t.typdefault, true
        from pg_type t join pg_attribute a on a.atttypid = t.oid
        where t.oid >= 16384 and t.typtype = 'd' and t.typdefault is not null and a.attrelid >= 16384 and a.attnum > 0
        union all
        select conrelid, pg_get_constraintdef(oid), false from pg_constraint where contype = 'c' and conrelid >= 16384
        union all
        select distinct a.attrelid, pg_get_constraintdef(k.oid), false
        from pg_constraint k join pg_attribute a on a.atttypid = k.contypid
        where k.contypid >= 16384 and a.attrelid >= 16384 and a.attnum > 0 and not a.attisdropped
        union all
        select ev_class, pg_get_ruledef(oid), false
        from pg_rewrite where rulename <> '_RETURN' and ev_class >= 16384""",
    "identities": """
        select distinct attrelid as relation from pg_attribute where attidentity <> '' and attrelid >= 16384""",
    "rules": "select distinct ev_class as relation from pg_rewrite where rulename <> '_RETURN' and ev_class >= 16384",
    "triggers": """
        select distinct tgrelid as relation, tgfoid as function from pg_trigger
        where not tgisinternal and tgenabled <> 'D' and tgfoid >= 16384 and tgname <> 'shardproxy_no_write'""",
    "cascades": """
        select distinct confrelid as parent, conrelid as child from pg_constraint
        where contype = 'f' and (confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd'))""",
    "functions": """
        select p.oid, p.proname, p.prokind::text as kind, p.provolatile::text as volatility, l.lanname as language,
               case when l.lanname in ('sql', 'plpgsql') then coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)
                    when l.lanname not in ('c', 'internal') then p.prosrc end as body,
               e.extname as extension,
               p.pronargs - p.pronargdefaults <= 1 and p.pronargs >= 1 and (
                   t.typtype = 'c' or t.typtype = 'p' or coalesce(b.typtype = 'c', false)
                   or exists (select from pg_cast k join pg_type s on s.oid = k.castsource
                              where k.oid >= 16384 and s.typtype = 'c')) as attribute
        from pg_proc p join pg_language l on l.oid = p.prolang
        left join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
             and d.refclassid = 'pg_extension'::regclass
        left join pg_extension e on e.oid = d.refobjid
        left join pg_type t on t.oid = p.proargtypes[0] left join pg_type b on b.oid = t.typbasetype
        where p.oid >= 16384""",
    "aggregates": """
        select aggfnoid::oid as aggregate, p.oid as function, p.proname
        from pg_aggregate a join pg_proc p on p.oid in (aggtransfn, aggfinalfn, aggcombinefn, aggserialfn,
                                                        aggdeserialfn, aggmtransfn, aggminvtransfn, aggmfinalfn)
        where aggfnoid >= 16384::oid""",
    "operators": """
        select o.oprname as name, p.oid as function, p.proname, p.provolatile::text as volatility
        from pg_operator o join pg_proc p on p.oid = o.oprcode where o.oid >= 16384""",
    "types": """
        select t.oid, t.typname as name, p.oid as function, p.proname, p.provolatile::text as volatility
        from pg_type t join pg_proc p on p.oid in (t.typinput, t.typoutput, t.typreceive, t.typsend)
        where t.oid >= 16384 and t.typtype in ('b', 'r', 'm') and p.oid >= 16384""",
    "casts": """
        select k.castsource as source, s.typname as source_name, k.casttarget as target, t.typname as target_name,
               p.oid as function, p.proname, p.provolatile::text as volatility
        from pg_cast k join pg_proc p on p.oid = k.castfunc
        join pg_type s on s.oid = k.castsource join pg_type t on t.oid = k.casttarget
        where k.oid >= 16384""",
    "event_triggers": "select oid from pg_event_trigger where evtenabled <> 'D'",
    "catalogs": """
        select relname from pg_class
        where relnamespace = 'pg_catalog'::regnamespace and relkind in ('r', 'v')""",
}

_COLUMNS_OF_TYPES = """
    with recursive bad(type) as (
        select unnest($1::oid[])
        union
        select t.oid from bad join pg_type t on t.typelem = bad.type or t.typbasetype = bad.type
            or exists (select from pg_attribute a
                       where a.attrelid = t.typrelid and a.atttypid = bad.type and a.attnum > 0)
            or exists (select from pg_range r where r.rngtypid = t.oid and r.rngsubtype = bad.type))
    select distinct a.attrelid as relation from pg_attribute a join bad on bad.type = a.atttypid
    where a.attnum > 0 and not a.attisdropped and a.attrelid >= 16384"""


async def with_columns(connection: Any, types: Sequence[int]) -> Sequence[Any]:
    """The relations that have a column of one of these types, or of one that contains it."""
    return list(await connection.fetch(_COLUMNS_OF_TYPES, types)) if types else []


async def read(connection: Any, more: Mapping[str, str] | None = None) -> dict[str, Sequence[Any]]:
    """All rows, as of one moment; ``more``: further queries."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("set local search_path = pg_catalog")
        return {name: await connection.fetch(query) for name, query in {**QUERIES, **(more or {})}.items()}
