"""Statements that their hint sends to one shard: ``/* shardproxy: shard=s1 */``, ``/* shardproxy: key=42 */``.

Invariants:
* A hinted statement runs as it came at the place that it names, on the user's responsibility; what the place does not
  have is an error there. A reference table is never written at one place alone.
* A hint that names no one place is refused, not ignored.
"""

from __future__ import annotations

import re

from shardproxy.catalog.tables import Tables
from shardproxy.planner.plan import Refusal, Single
from shardproxy.topology.layout import Layout

__all__ = ["has_place", "hinted"]

HINT = re.compile(r"/\*\s*shardproxy:(.*?)\*/", re.DOTALL)
ITEM = re.compile(r"(\w+)\s*=\s*(?:'((?:[^']|'')*)'|\"((?:[^\"]|\"\")*)\"|([^\s,]+))")


def has_place(text: str) -> bool:
    """Whether a hint in this text names a shard or a key."""
    return bool(_items(text).keys() & {"shard", "key"})


def _items(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for hint in HINT.findall(text):
        for name, single, double, plain in ITEM.findall(hint):
            found[name.lower()] = single.replace("''", "'") or double.replace('""', '"') or plain
    return found


def hinted(text: str, writes: bool, layout: Layout, tables: Tables) -> Single | Refusal | None:
    """The plan of a hinted statement; None: it has no such hint."""
    items = _items(text)
    if not items.keys() & {"shard", "key"}:
        return None
    place = _place(items, layout, tables)
    if isinstance(place, Refusal):
        return place
    words = set(re.findall(r"[\w$]+", text.lower()))
    copied = [table.name for table in layout.tables() if table.reference and table.name in words]
    if writes and copied:
        return Refusal(f'a hint in a statement that writes and names reference table "{copied[0]}"',
                       "reference tables are the same everywhere: leave the hint out")
    return Single(place, "its hint says so")


def _place(items: dict[str, str], layout: Layout, tables: Tables) -> str | Refusal:
    places = layout.places()
    if "shard" in items:
        wanted = items["shard"]
        found = [place for place in places if wanted in (place, place.partition("/")[2])
                 and items.get("keyspace", place.partition("/")[0]) == place.partition("/")[0]]
        return found[0] if len(found) == 1 else Refusal(
            f'hint shard={wanted}: there is no one shard of that name', f"the shards are {', '.join(places)}", "42704")
    keyspaces = [items["keyspace"]] if "keyspace" in items else list(layout.keyspaces)
    if len(keyspaces) != 1 or keyspaces[0] not in layout.keyspaces:
        return Refusal("hint key=: the keyspace is not clear", "add keyspace=NAME to the hint: "
                       + ", ".join(layout.keyspaces), "42704")
    keyspace = layout.keyspaces[keyspaces[0]]
    value = items["key"].encode()
    for oid in _key_types(keyspace.name, layout, tables):
        index = keyspace.shard_of((oid,), (value,))
        if index is not None:
            return keyspace.places()[index]
    return Refusal(f'hint key={items["key"]}: it is no key of keyspace "{keyspace.name}"', sqlstate="22023")


def _key_types(keyspace: str, layout: Layout, tables: Tables) -> list[int]:
    """What the keys of the keyspace's tables are, in the order of the tables."""
    found: dict[int, None] = {}
    for one in layout.tables():
        table = tables.get(one.schema, one.name)
        column = table.column(one.key[0]) if table is not None and len(one.key) == 1 else None
        if one.keyspace == keyspace and column is not None:
            found[column.base or column.type] = None
    return list(found)
