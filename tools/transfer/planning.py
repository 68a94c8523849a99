"""From what an operator asks for to a move. Pure: what the servers know comes in as ``Seen``.

Invariant: all problems of a request are told at once (``PlanError``); a move that comes out has at least one row's
worth of work: a table or a slot that changes its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from shardproxy.config.model import Database
from shardproxy.errors import ShardproxyError
from shardproxy.topology.layout import DEFAULT_SCHEMA, KeyspaceLayout, Layout, Rule, TableLayout

from .move import COORDINATOR, Move, Place, Table
from .slots import dealt, fewest_moves, level, moved

__all__ = ["Ask", "PlanError", "Seen", "federate", "plan", "reshard", "table_name"]

_SLOTS = re.compile(r"(\d+)(?:-(\d+))?=(.+)")
_SPLIT = re.compile(r"(.+)=([^=]+)")


class PlanError(ShardproxyError):
    """What is asked for cannot be planned: every reason, each with what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Ask:
    """What an operator asks for. ``source``: a keyspace's name. ``move``: ``0-127=s2``; ``split``: ``KEY=s2``."""

    database: str
    source: str = ""
    keyspace: str = ""
    tables: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    move: tuple[str, ...] = ()
    split: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What the servers know. ``tables``: all real tables of a place, by name. ``layout``: only tables that really are
    as it says. ``types``: OIDs of the types of columns. ``weights``: of the slots of keyspaces, if they were asked for.
    """

    layout: Layout
    tables: Mapping[str, frozenset[Table]]
    types: Mapping[Table, Mapping[str, int]]
    configured: Layout
    places: Mapping[str, Place]
    weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def table_name(text: str) -> Table:
    """``orders`` or ``app.orders``."""
    schema, dot, name = text.partition(".")
    return (schema, name) if dot else (DEFAULT_SCHEMA, text)


def plan(name: str, tool: str, entry: Database, seen: Seen, ask: Ask) -> Move:
    """A move. PlanError."""
    return reshard(name, entry, seen, ask) if tool == "reshard" else federate(name, entry, seen, ask)


def reshard(name: str, entry: Database, seen: Seen, ask: Ask) -> Move:
    """Tables from the default keyspace into a sharded one, or slots between its shards."""
    main = entry.main_keyspace
    keyspace = ask.keyspace or (entry.sharded[0] if len(entry.sharded) == 1 else "")
    configured = seen.configured.keyspaces.get(keyspace)
    if configured is None:
        known = ", ".join(entry.sharded) or "none"
        raise PlanError([f'--keyspace names no sharded keyspace of {entry.name}: "{keyspace}" (known: {known})'])
    space = seen.layout.keyspaces.get(keyspace, replace(configured, tables=()))
    shards = (*space.shards, *(shard for shard in configured.shards if shard not in space.shards))
    space = replace(space, shards=shards)
    tables = _expand(ask.tables, seen.tables[COORDINATOR] | _split_tables(space))
    problems = [f'--to: keyspace {keyspace} has no shard "{shard}" (known: {", ".join(shards)})'
                for shard in ask.to if shard not in shards]
    new = not set(tables) <= _split_tables(space) if tables else not space.tables
    source = ask.source or (main if new else keyspace)
    if source not in (main, keyspace):
        problems.append(f"--from is {main} (tables that are not split yet) or {keyspace} (its slots move)")
    if problems:
        raise PlanError(problems)
    if source == main:
        return _into(name, entry, seen, ask, space, tables)
    if ask.tables and set(tables) != _split_tables(space):
        raise PlanError([f"--tables: all tables of keyspace {keyspace} move together, since equal keys are on one "
                         "shard; leave --tables out"])
    return _between(name, entry, seen, ask, space)


def federate(name: str, entry: Database, seen: Seen, ask: Ask) -> Move:
    """Whole tables to another keyspace, or back to the default one."""
    to = ask.keyspace or (ask.to[0] if len(ask.to) == 1 else "")
    main = entry.main_keyspace
    if to != main and to not in entry.sharded:
        raise PlanError([f'--to names no keyspace of {entry.name}: "{to}" '
                         f'(known: {", ".join((main, *entry.sharded))})'])
    known = seen.tables[COORDINATOR] | {(table.schema, table.name) for table in seen.layout.tables()}
    tables = _expand(ask.tables, known)
    before = seen.layout
    problems = [] if tables else ["--tables names the tables to move: --tables orders,app.items or --tables app.*"]
    homes: dict[Table, str] = {}
    for table in tables:
        found = before.table(*table)
        homes[table] = main if found is None else found.keyspace
        if found is not None and (found.key or found.reference):
            problems.append(f"table {_text(table)} is split over the shards of {found.keyspace}: use reshard")
        elif homes[table] == to:
            problems.append(f"table {_text(table)} is in keyspace {to} already")
        elif found is None and table not in seen.tables[COORDINATOR]:
            problems.append(f"there is no table {_text(table)} in keyspace {main}")
    if len(set(homes.values())) > 1:
        problems.append("the tables are in several keyspaces, move those of one at a time: " + ", ".join(
            f"{_text(table)} in {home}" for table, home in homes.items()))
    after = before
    if to != main:
        space = before.keyspaces.get(to) or replace(seen.configured.keyspaces[to], tables=())
        if len(space.used()) != 1:
            problems.append(f"keyspace {to} has {len(space.used())} shards in use: tables go there with reshard")
        after = replace(before, keyspaces={**before.keyspaces, to: space})
    if problems:
        raise PlanError(problems)
    for table in tables:
        after = after.without_table(*table)
        after = after if to == main else after.with_table(TableLayout(*table, to))
    return _move(name, "federate", entry, seen, tables, before, after)


def _into(name: str, entry: Database, seen: Seen, ask: Ask, space: KeyspaceLayout, tables: tuple[Table, ...]) -> Move:
    """Tables of the default keyspace become split ones."""
    configured = {(table.schema, table.name): table for table in seen.configured.keyspaces[space.name].tables}
    if not ask.tables:
        tables = tuple(sorted(table for table in configured if seen.layout.table(*table) is None
                              and table in seen.tables[COORDINATOR]))
    problems = [] if tables else [f"no table of keyspace {space.name} is left to be moved; --tables names them"]
    for table in tables:
        found = seen.layout.table(*table)
        if found is not None:
            problems.append(f"table {_text(table)} is in keyspace {found.keyspace} already")
        elif table not in seen.tables[COORDINATOR]:
            problems.append(f"there is no table {_text(table)} in keyspace {entry.main_keyspace}")
        elif table not in configured:
            problems.append(f"table {_text(table)} has no key in the configuration: write databases.{entry.name}."
                            f'keyspaces.{space.name}.tables."{_text(table)}" = {{ key = "..." }}')
        elif not configured[table].reference and not configured[table].key:
            problems.append(f"table {_text(table)} has no key to split it by: give it one, or use federate")
    wanted = [space.shards.index(shard) for shard in ask.to] or list(space.used())
    if set(wanted) != set(space.used()):
        if space.tables:
            problems.append(f"--to: keyspace {space.name} has tables on {', '.join(_names(space, space.used()))} "
                            "already; move its slots first, with --from " + space.name)
        elif space.function == "hash":
            space = replace(space, owners=dealt(space.slots, wanted))
        else:
            space = replace(space, owners=fewest_moves(space.owners, wanted))
    if problems:
        raise PlanError(problems)
    before = replace(seen.layout, keyspaces={**seen.layout.keyspaces, space.name: replace(space)})
    after = before
    for table in tables:
        after = after.with_table(configured[table])
    return _move(name, "reshard", entry, seen, tables, before, after)


def _between(name: str, entry: Database, seen: Seen, ask: Ask, space: KeyspaceLayout) -> Move:
    """Slots of a keyspace get other owners."""
    wanted = [space.shards.index(shard) for shard in ask.to] or list(space.used())
    made = space
    problems: list[str] = []
    for text in ask.split:
        made = _split(made, text, _key_type(seen, space), problems)
    for text in ask.move:
        made = _given(made, text, problems)
    if not ask.split and not ask.move:
        weights = seen.weights.get(space.name)
        owners = level(space.owners, wanted, weights) if weights else fewest_moves(space.owners, wanted)
        made = replace(space, owners=owners)
    if not space.tables:
        problems.append(f"keyspace {space.name} has no tables yet: --from {entry.main_keyspace} --tables ... moves "
                        "some there")
    if not problems and made.slots == space.slots and not moved(space.owners, made.owners):
        problems.append(f"nothing to do: {', '.join(_names(space, space.used()))} own their slots as asked for")
    if problems:
        raise PlanError(problems)
    before = replace(seen.layout, keyspaces={**seen.layout.keyspaces, space.name: space})
    after = replace(before, keyspaces={**before.keyspaces, space.name: made})
    return _move(name, "reshard", entry, seen, tuple(sorted(_split_tables(space))), before, after)


def _given(space: KeyspaceLayout, text: str, problems: list[str]) -> KeyspaceLayout:
    """``0-127=s2``."""
    found = _SLOTS.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
    if not found or not first <= last < space.slots or found[3] not in space.shards:
        problems.append(f'--move "{text}": SLOT=SHARD or FIRST-LAST=SHARD, slots 0 to {space.slots - 1}, shards '
                        f'{", ".join(space.shards)}')
        return space
    owner = space.shards.index(found[3])
    return replace(space, owners=tuple(owner if first <= slot <= last else old
                                       for slot, old in enumerate(space.owners)))


def _split(space: KeyspaceLayout, text: str, oid: int, problems: list[str]) -> KeyspaceLayout:
    """``KEY=s2``: of the range that holds KEY, what is not below it goes to s2."""
    found = _SPLIT.fullmatch(text)
    if not found or space.function != "range" or found[2] not in space.shards:
        problems.append(f'--split "{text}": KEY=SHARD, in a keyspace with function = "range"; '
                        f'shards {", ".join(space.shards)}')
        return space
    slot = space.slot_of((oid,), (found[1].encode(),))
    rule = next((rule for rule in space.rules if rule.slot == slot and not rule.default), None)
    if rule is None or rule.low == found[1]:
        problems.append(f'--split "{text}": the key is in no range, or begins one')
        return space
    upper = Rule(space.slots, low=found[1], high=rule.high)
    rules = tuple(replace(rule, high=found[1]) if one is rule else one for one in space.rules)
    return replace(space, slots=space.slots + 1, rules=(*rules, upper),
                   owners=(*space.owners, space.shards.index(found[2])))


def _key_type(seen: Seen, space: KeyspaceLayout) -> int:
    """The type of the keys of a keyspace, that of its first table; 0: it has none."""
    for table in space.tables:
        if table.key:
            return _types(seen, (table.schema, table.name), table.key)[0]
    return 0


def _move(name: str, tool: str, entry: Database, seen: Seen, tables: tuple[Table, ...], before: Layout,
          after: Layout) -> Move:
    """The places that lose and those that gain rows, from the two layouts."""
    split = tuple(table for table in tables if not _is_reference(after, table))
    looked_up = sorted({found.keyspace for table in split for layout in (before, after)
                        if (found := layout.table(*table)) is not None and found.key
                        and layout.keyspaces[found.keyspace].function == "lookup"})
    if looked_up:
        raise PlanError([f'keyspace {one} has function = "lookup": its tables cannot be moved by this version'
                         for one in looked_up])
    references = tuple(table for table in tables if _is_reference(after, table))
    shells = Move(name, "reshard" if tool == "reshard" else "federate", entry.name, split, (), (), before, after)
    losing, gaining = set[str](), set[str]()
    for table in split:
        old, new = before.table(*table), after.table(*table)
        if old is not None and new is not None and old.keyspace == new.keyspace:
            # who loses or gains slots gets a new table, with the rows that stay, too
            changed = {place for pair in _changes(before.keyspaces[old.keyspace], after.keyspaces[old.keyspace])
                       for place in pair}
            losing.update(changed & set(shells.homes(before, table)))
            gaining.update(changed)
        else:
            losing.update(shells.homes(before, table))
            gaining.update(shells.homes(after, table))
    references += _completed(before, after, gaining)
    for table in references:
        gaining.update(set(shells.homes(after, table)) - set(shells.homes(before, table)) - {COORDINATOR})
    types = tuple(_types(seen, table, shells.key_of(table)) for table in split)
    return replace(shells, sources=tuple(seen.places[place] for place in sorted(losing)),
                   targets=tuple(seen.places[place] for place in sorted(gaining)), references=references,
                   types=types, coordinator=seen.places[COORDINATOR])


def _changes(old: KeyspaceLayout, new: KeyspaceLayout) -> set[tuple[str, str]]:
    """Pairs of places between which slots move; a slot beyond the old ones was split off one of them."""
    pairs = {(old.places()[was], new.places()[now]) for was, now in zip(old.owners, new.owners, strict=False)
             if was != now}
    for slot in range(old.slots, new.slots):
        was, now = old.places()[old.owners[_split_off(slot, old, new)]], new.places()[new.owners[slot]]
        if was != now:
            pairs.add((was, now))
    return pairs


def _split_off(slot: int, old: KeyspaceLayout, new: KeyspaceLayout) -> int:
    """The old slot that a new one was a part of: its range ends where the new one begins."""
    while slot >= old.slots:
        low = next(rule.low for rule in new.rules if rule.slot == slot)
        slot = next(rule.slot for rule in new.rules if rule.high == low)
    return slot


def _completed(before: Layout, after: Layout, gaining: set[str]) -> tuple[Table, ...]:
    """Reference tables that a shard which gets its first slots needs."""
    spaces = {place.partition("/")[0] for place in gaining if place != COORDINATOR}
    needed: list[Table] = []
    for name in sorted(spaces):
        old, new = before.keyspaces[name], after.keyspaces[name]
        if set(new.used()) - set(old.used()):
            needed += [(table.schema, table.name) for table in old.tables if table.reference]
    return tuple(needed)


def _types(seen: Seen, table: Table, key: tuple[str, ...]) -> tuple[int, ...]:
    columns = seen.types.get(table, {})
    missing = [column for column in key if column not in columns]
    if missing:
        raise PlanError([f"table {_text(table)} has no column {', '.join(missing)}, its key"])
    return tuple(columns[column] for column in key)


def _is_reference(layout: Layout, table: Table) -> bool:
    found = layout.table(*table)
    return found is not None and found.reference


def _split_tables(space: KeyspaceLayout) -> set[Table]:
    return {(table.schema, table.name) for table in space.tables if not table.reference}


def _names(space: KeyspaceLayout, indexes: Sequence[int]) -> list[str]:
    return [space.shards[index] for index in indexes]


def _expand(texts: Sequence[str], known: set[Table] | frozenset[Table]) -> tuple[Table, ...]:
    """``app.*`` is every table of the schema app."""
    found: dict[Table, None] = {}
    for text in texts:
        schema, name = table_name(text)
        found |= dict.fromkeys(sorted(table for table in known if table[0] == schema)) if name == "*" \
            else {(schema, name): None}
    return tuple(found)


def _text(table: Table) -> str:
    return table[1] if table[0] == DEFAULT_SCHEMA else ".".join(table)
