"""CREATE TABLE and ALTER TABLE over several servers: where they run and what a sharded table may not become.

Invariant: whatever is not understood in a statement about a sharded table is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from shardproxy.dialects.postgres.sql.query_scan import Unreadable
from shardproxy.dialects.postgres.sql.table_clauses import Clause, Cursor, clauses, read_action, read_element
from shardproxy.planner.ddl import DdlPlan, ForeignKeyDef, Step, UniqueDef, check_foreign_key, check_unique
from shardproxy.planner.nodes import Token
from shardproxy.planner.plan import Refusal
from shardproxy.topology.layout import TableLayout

from .ddl_names import HINT, Names

__all__ = ["alter_table", "create_table", "family", "refused_form"]

FAMILIES = {
    **dict.fromkeys(("smallint", "int2", "integer", "int", "int4", "bigint", "int8", "serial", "serial4", "bigserial",
                     "serial8", "smallserial", "serial2"), "integer"),
    **dict.fromkeys(("text", "varchar", "character varying"), "text"),
    **dict.fromkeys(("char", "character", "bpchar"), "character"),
    "uuid": "uuid", "date": "date", "numeric": "numeric", "decimal": "numeric", "bytea": "bytea", "boolean": "boolean",
    "bool": "boolean", "timestamp": "timestamp", "timestamp without time zone": "timestamp",
    "timestamptz": "timestamptz", "timestamp with time zone": "timestamptz",
}
"""Types of sharding keys: those of one family have equal hashes for equal values."""
SERIALS = frozenset(("serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"))
OWN_VALUES = frozenset(("nextval", "identity", "now", "current_timestamp", "current_date", "current_time", "localtime",
                        "localtimestamp", "transaction_timestamp", "statement_timestamp"))
"""In the default of a new column these give other rows on each shard than one database would have."""


def family(type_name: str) -> str:
    """Family of a type that a key may have; empty for any other. ``type_name``: SQL text."""
    plain = re.sub(r"\s*\(.*?\)", "", type_name).strip().lower().removeprefix("pg_catalog . ")
    return FAMILIES.get(" ".join(plain.split()), "")


# -- CREATE TABLE

def create_table(names: Names, cursor: Cursor, default_key: str = "") -> DdlPlan | Refusal | None:
    """``cursor`` is behind CREATE [UNLOGGED] TABLE. None: for the coordinator alone, as it came."""
    _ = cursor.take("if", "not", "exists")
    name = names.new(cursor.name())
    start = cursor.at
    elements = _elements(cursor)
    table = names.layout.table(*name)
    if table is None:
        declared = _declared(names, name, elements, default_key)
        if isinstance(declared, Refusal):
            return declared
        table = declared
    refusal = refused_form(names, cursor.tokens[start:], table, name[1]) or _check_all(
        names, table, name[1], [clause for one in elements for clause in (one, *one.also)])
    if refusal is not None or table is None:
        return refusal
    refusal = _check_likes(names, table, elements)
    if refusal is not None:
        return refusal
    key_columns = {one.columns[0]: one.type for one in elements if one.kind == "column"}
    refusal = _check_key(names, table, key_columns, any(one.kind == "like" for one in elements))
    if refusal is not None:
        return refusal
    new = () if names.layout.table(*name) is not None else (table,)
    keeps = [clause for one in elements for clause in (one, *one.also) if clause.kind in ("primary", "unique") and (
        names.keeps(table, clause.columns))] + [one for one in elements if one.kind == "like" and (
            like := names.sharded((None, one.to))) is not None and names.kept(like)]
    steps = (*names.sequences(table, cursor.tokens), Step(names.places(table), names.text.encode()))
    return DdlPlan("CREATE TABLE", steps, declare=new,
                   closed=() if table.reference else (name,), keeps=(table,) if keeps and not table.reference else (),
                   why=f"{'reference' if table.reference else 'sharded'} table of keyspace {table.keyspace}")


def _elements(cursor: Cursor) -> list[Clause]:
    """Elements between the parentheses; none if there are no parentheses here."""
    if cursor.done or cursor.tokens[cursor.at].text != "(" or cursor.tokens[cursor.at].kind != "op":
        return []
    return [read_element(one) for one in clauses(cursor.group())]


def _declared(names: Names, name: tuple[str, str], elements: Sequence[Clause],
              default_key: str) -> TableLayout | Refusal | None:
    """What a hint in the text, or the session's default key, says of a new table."""
    hints: dict[str, str] = {}
    for text in HINT.findall(names.text):
        for item in text.split():
            word, _, value = item.partition("=")
            hints[word.lower()] = value
    columns = {column for one in elements if one.kind == "column" for column in one.columns}
    if not hints.keys() & {"key", "reference"}:
        wanted = tuple(part.strip() for part in default_key.split(",") if part.strip())
        if not wanted or not columns.issuperset(wanted):
            return None
        key: tuple[str, ...] = wanted
    else:
        key = tuple(_folded(part) for part in hints.get("key", "").split(",") if part.strip())
    keyspaces = sorted(names.layout.keyspaces)
    keyspace = hints.get("keyspace") or (keyspaces[0] if len(keyspaces) == 1 else "")
    if keyspace not in names.layout.keyspaces:
        return Refusal(f'the keyspace of new table "{name[1]}" is not known',
                       f"add keyspace=NAME to the hint: {', '.join(keyspaces)}")
    if "reference" in hints:
        return TableLayout(*name, keyspace, (), True)
    return TableLayout(*name, keyspace, key)


def _check_likes(names: Names, table: TableLayout, elements: Sequence[Clause]) -> Refusal | None:
    """What a new table is to be like has to be on its shards too."""
    for one in elements:
        if one.kind != "like":
            continue
        found = names.sharded((None, one.to))
        if found is None or found.keyspace != table.keyspace:
            return Refusal(f'"{table.name}" LIKE "{one.to}", which is not on the shards of keyspace "{table.keyspace}"',
                           "write its columns")
    return None


def _folded(name: str) -> str:
    name = name.strip()
    return name[1:-1] if name.startswith('"') else name.lower()


def _check_key(names: Names, table: TableLayout, types: dict[str, str], like: bool) -> Refusal | None:
    """Whether the key's columns are there and can be hashed. Tables are co-located if their keys' types are alike."""
    for column in table.key:
        if column not in types:
            if like:
                continue
            return Refusal(f'sharding key "{column}" is not a column of "{table.name}"', "name one of its columns")
        if not family(types[column]):
            return Refusal(f'sharding key "{column}" of type {types[column]}',
                           "use an integer, text, uuid, date, timestamp, numeric, bytea or boolean column")
    return None


def refused_form(names: Names, tokens: Sequence[Token], table: TableLayout | None, name: str) -> Refusal | None:
    """Forms of CREATE TABLE that cannot be told to be right; what stands behind the name in ``tokens``."""
    cursor = Cursor(tokens)
    while not cursor.done:
        if cursor.tokens[cursor.at].kind == "op" and cursor.tokens[cursor.at].text == "(":
            cursor.group()
        elif cursor.take("as") and table is not None:
            return Refusal(f'CREATE TABLE AS into sharded table "{name}"', "create it, then INSERT ... SELECT")
        elif cursor.take("partition", "of"):
            parent = names.sharded(cursor.name())
            if parent is not None or table is not None:
                return Refusal(f'"{name}" as a partition of a sharded table', "shards are partitions already")
        elif cursor.take("inherits"):
            parents = [names.sharded(Cursor(one).name()) for one in clauses(cursor.group())]
            if table is not None or any(parents):
                return Refusal(f'inheritance of sharded table "{name}"', "use LIKE ... INCLUDING ALL")
        elif cursor.take("partition", "by") and table is not None and not table.reference:
            return Refusal(f'PARTITION BY of sharded table "{name}"', "leave it out: its shards are its partitions")
        elif cursor.word() == "as":
            return None
        else:
            cursor.at += 1
    return None


# -- constraints

def _check_all(names: Names, table: TableLayout | None, name: str, found: Sequence[Clause]) -> Refusal | None:
    refusals = (_check(names, table, name, clause) for clause in found)
    return next((one for one in refusals if one is not None), None)


def _check(names: Names, table: TableLayout | None, name: str, clause: Clause) -> Refusal | None:
    """Whether a constraint can be kept."""
    if clause.kind in ("primary", "unique", "exclude") and table is not None:
        kind = {"primary": "PRIMARY KEY", "unique": "UNIQUE", "exclude": "EXCLUDE"}[clause.kind]
        return check_unique(table, UniqueDef(kind, clause.columns), names.keeps(table, clause.columns))
    if clause.kind == "foreign" and clause.reference is not None:
        reference = clause.reference
        target = names.resolve(reference.target)
        known = names.tables.get(*target)
        if target[1] == name and table is not None and names.layout.table(*target) is None:
            return _own(table, clause, name)
        sets = reference.sets or (clause.columns if reference.sets_all else ())
        return check_foreign_key(table, name, ForeignKeyDef(clause.columns, target, reference.columns, sets),
                                 names.layout, known.primary_key if known is not None else ())
    return None


def _own(table: TableLayout, clause: Clause, name: str) -> Refusal | None:
    """A reference of a new table to itself."""
    reference = clause.reference
    assert reference is not None
    pairs = set(zip(clause.columns, reference.columns, strict=False))
    if table.reference or all((column, column) in pairs for column in table.key):
        return None
    return Refusal(f'foreign key from "{name}" to itself without the sharding key on both sides',
                   f"refer from ({', '.join(table.key)}, ...) to ({', '.join(table.key)}, ...)")


# -- ALTER TABLE

def alter_table(names: Names, cursor: Cursor) -> DdlPlan | Refusal | None:
    """``cursor`` is behind ALTER TABLE."""
    if cursor.take("all", "in", "tablespace"):
        return Refusal("ALTER TABLE ALL IN TABLESPACE", "name the tables")
    _ = cursor.take("if", "exists")
    _ = cursor.take("only")
    written = cursor.name()
    cursor.op("*")
    name, table = names.resolve(written), names.sharded(written)
    parts = clauses(cursor.tokens[cursor.at:])
    try:
        actions = [read_action(one) for one in parts]
    except Unreadable:
        if table is None:
            return None
        raise
    if table is None:
        parents = any(one.kind == "inherit" and _names_sharded(names, part)
                      for one, part in zip(actions, parts, strict=True))
        if parents:
            return Refusal(f'inheritance between "{name[1]}" and a sharded table')
        return _check_all(names, None, name[1], [clause for one in actions for clause in (one, *one.also)])
    for action in actions:
        refusal = _check_kept(names, table, action) or _check_action(table, action) or _check_all(
            names, table, name[1], [action, *action.also])
        if refusal is not None:
            return refusal
    return _altered(names, name, table, actions, cursor.tokens)


def _names_sharded(names: Names, tokens: Sequence[Token]) -> bool:
    return any(token.kind in ("word", "quoted") and names.sharded((None, token.text)) is not None for token in tokens)


def _check_kept(names: Names, table: TableLayout, action: Clause) -> Refusal | None:
    """What would make another index of one whose values are kept."""
    if action.kind == "type" and any(set(action.columns) & set(columns) for columns in names.kept(table)):
        return Refusal(f'changing the type of column "{action.columns[0]}", whose unique values are kept',
                       "drop the unique constraint, change the type, and add the constraint again")
    if action.kind == "trigger" and not action.to and names.kept(table):
        return Refusal(f'ENABLE or DISABLE of all triggers of "{table.name}", some of which keep its unique values',
                       "name the triggers")
    return None


def _check_action(table: TableLayout, action: Clause) -> Refusal | None:
    """What may not happen to a sharded or reference table."""
    if action.kind in ("inherit", "rule"):
        return Refusal(f'inheritance, partitions or rules of sharded table "{table.name}"')
    if action.kind == "trigger" and action.to == "shardproxy_no_write":
        return Refusal("the trigger that keeps the coordinator's shell without rows")
    if action.kind in ("drop", "type") and set(action.columns) & set(table.key):
        what = "dropping" if action.kind == "drop" else "changing the type of"
        return Refusal(f'{what} column "{action.columns[0]}", the sharding key of "{table.name}"',
                       "reshard the table by another key first")
    kind = action.type.split()[0] if action.type else ""
    if action.kind == "column" and (kind in SERIALS or action.words & OWN_VALUES):
        return Refusal(f'column "{action.columns[0]}" of sharded table "{table.name}" with values made for each '
                       "row when the table is altered: each server would make its own",
                       "add it without a default, fill it with UPDATE, then SET DEFAULT")
    return None


def _altered(names: Names, name: tuple[str, str], table: TableLayout, actions: Sequence[Clause],
             tokens: Sequence[Token]) -> DdlPlan:
    """Everywhere, with the shell opened; a rename follows the layout."""
    schema, new, key = table.schema, table.name, table.key
    for action in actions:
        if action.kind == "rename_to":
            new = action.to
        elif action.kind == "schema":
            schema = action.to
        elif action.kind == "rename":
            key = tuple(action.to if column == action.columns[0] else column for column in key)
    text = names.text.encode()
    renamed = TableLayout(schema, new, table.keyspace, key, table.reference)
    moved = (schema, new) != (table.schema, table.name)
    shell = not table.reference
    keeps = any(clause.kind in ("primary", "unique") and names.keeps(table, clause.columns)
                for one in actions for clause in (one, *one.also))
    # triggers of the shell fire never; ENABLE or DISABLE of all of them would concern the one that guards it
    on_shell = not any(action.kind == "trigger" and not action.to for action in actions)
    steps = (*names.sequences(table, tokens), Step(names.places(table, on_shell), text))
    return DdlPlan("ALTER TABLE", steps, opened=(name,) if shell and on_shell else (),
                   closed=((schema, new),) if shell and on_shell else (),
                   declare=(renamed,) if renamed != table else (),
                   undeclare=(name,) if moved else (), tidies=bool(names.kept(table)),
                   keeps=(table,) if keeps and shell else (), why=f"everywhere in keyspace {table.keyspace}")
