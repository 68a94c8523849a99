"""What lies in the tables, looked at directly on the servers: every row where it belongs, and nothing anywhere else.

* Rows of a sharded table on all shards together equal those of the plain database; the coordinator's shell has none.
* Reference tables are equal everywhere. Unsharded tables are on the coordinator.
* The slot of a key, as ``satisfies_hash_partition`` has it, leads to one shard, the same for all tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg

from tests.fixtures.sharded import Keys, System

__all__ = ["Contents", "Judge", "mentioned"]

SLOTS = 1024
_NOW = re.compile(rf"{datetime.now(UTC):%Y-%m}-\d\d \d\d:\d\d:\d\d(\.\d+)?([+-]\d\d)?")
"""Times of this run, which defaults put into rows; all other rows are older or newer."""
PARENTS = {"customers": ("orders", "items"), "orders": ("items",), "countries": ("customers", "orders", "items"),
           "statuses": ("orders", "items")}
"""What a change of a table may change too."""
VIEWS = {"active_customers": "customers"}


class Judge:
    """Slots of keys, by PostgreSQL's own judgement, in a database that is used for nothing else."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)
        self.known: dict[tuple[tuple[str, ...], tuple[str | None, ...]], int] = {}

    def slots(self, types: tuple[str, ...], keys: Iterable[tuple[str | None, ...]]) -> list[int]:
        """Slots of keys given as text."""
        name = "judge_" + "_".join(types)
        columns = ", ".join(f"k{number} {kind}" for number, kind in enumerate(types))
        names = ", ".join(f"k{number}" for number in range(len(types)))
        values = ", ".join(f"%s::{kind}" for kind in types)
        found = []
        for key in keys:
            if (types, key) not in self.known:
                self.connection.execute("set client_min_messages = error")
                self.connection.execute(
                    f"create table if not exists {name} ({columns}) partition by hash ({names})")
                query = (f"select m from generate_series(0, {SLOTS - 1}) m where "
                         f"satisfies_hash_partition('{name}'::regclass, {SLOTS}, m, {values})")
                row = self.connection.execute(query, key).fetchone()
                assert row is not None
                self.known[types, key] = row[0]
            found.append(self.known[types, key])
        return found

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class Contents:
    """The tables of one system, compared with what they were at first, or with those of another system."""

    def __init__(self, system: System, judge: Judge) -> None:
        self.system, self.judge = system, judge
        self.keys: Keys = system.keys
        self.owners: dict[tuple[int, int], str] = {}
        self.first = {place: {table: self.rows(place, table) for table in self.tables(place)}
                      for place in system.places}
        self.sequences = self._sequences()

    # -- reading

    def tables(self, place: str) -> list[str]:
        """Tables of a real database, in the schema public."""
        query = ("select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' "
                 "order by 1")
        return [row[0] for row in self.system.direct(place).execute(query)]

    def rows(self, place: str, table: str) -> list[str]:
        """All rows of a table as text, sorted."""
        cursor = self.system.direct(place).execute(
            f'select t::text from only public."{table}" t')
        return sorted(_NOW.sub("NOW", row[0]) if _NOW.search(row[0]) else row[0] for row in cursor)

    def _sequences(self) -> dict[str, tuple[int, bool]]:
        cursor = self.system.direct(self.system.name).execute(
            "select sequencename, coalesce(last_value, start_value), last_value is not null from pg_sequences "
            "where schemaname = 'public'")
        return {name: (value, called) for name, value, called in cursor}

    def everywhere(self, tables: Iterable[str]) -> dict[str, dict[str, list[str]]]:
        """Rows by table and place; a place without the table is left out."""
        there = {place: set(self.tables(place)) for place in self.system.places}
        return {table: {place: self.rows(place, table) for place in self.system.places if table in there[place]}
                for table in tables}

    # -- comparing

    def problems(self, right: Mapping[str, list[str] | None]) -> list[str]:
        """What is not as in the plain database, whose rows by table are given (None: no such table)."""
        found: list[str] = []
        for table, places in self.everywhere(sorted(right)).items():
            rows = right[table]
            if rows is not None:
                found += self._compare(table, places, rows)
            elif places:
                found.append(f"{table} exists in {sorted(places)}, but not in the plain database")
        return found

    def _compare(self, table: str, places: dict[str, list[str]], right: list[str]) -> list[str]:
        main = places.get(self.system.name)
        if main is None:
            return [f"{table} is not on the coordinator"]
        if not self.system.count or (table not in self.keys and main == right):
            return difference(f"{table} on {self.system.name}", main, right)
        if table not in self.keys:      # made by the case
            wanted = [place for place in places if place != self.system.name]
        elif missing := [place for place in self.system.shards(table) if place not in places]:
            return [f"{table} is not on {missing}"]
        elif not self.keys[table]:
            return [line for place, rows in places.items() for line in difference(f"{table} on {place}", rows, right)]
        else:
            wanted = self.system.shards(table)
        found = difference(f"{table} on all shards", sorted(row for place in wanted for row in places[place]), right)
        if main:
            found.append(f"the shell of {table} has rows: {main[:3]}")
        return found + (self._misplaced(table) if table in self.keys else [])

    def _misplaced(self, table: str) -> list[str]:
        """Rows on a shard where the slot of their key does not live."""
        columns, types = zip(*self.keys[table], strict=True)
        found = []
        names = ", ".join(f'"{column}"::text' for column in columns)
        for place in self.system.shards(table):
            keys = [tuple(row) for row in self.system.direct(place).execute(
                f"select distinct {names} from public.{table}")]
            for key, slot in zip(keys, self.judge.slots(types, keys), strict=True):
                if self.owners.setdefault((len(key), slot), place) != place:
                    owner = self.owners[len(key), slot]
                    found.append(f"{table} {key}: slot {slot} is on {owner}, the row is on {place}")
        return found

    # -- restoring

    def restore(self, tables: Iterable[str]) -> None:
        """Rows and sequences as they were at first, past the proxy."""
        now = self._sequences()
        for name, value in self.sequences.items():
            if name in now and now[name] != value:
                self.system.direct(self.system.name).execute("select setval(%s, %s, %s)", [name, *value])
        for place in self.system.places:
            for table in tables:
                first = self.first[place].get(table)
                if first is not None and self.rows(place, table) != first:
                    self._refill(self.system.direct(place), table, first)

    @staticmethod
    def _refill(connection: psycopg.Connection[Any], table: str, rows: list[str]) -> None:
        with connection.transaction():
            connection.execute("set local session_replication_role = replica")
            connection.execute(f"delete from only public.{table}")
            generated = connection.execute(
                "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped "
                "and attgenerated = '' order by attnum", [f"public.{table}"]).fetchall()
            names = ", ".join(f'"{row[0]}"' for row in generated)
            picked = ", ".join(f'(r).\"{row[0]}\"' for row in generated)
            connection.execute(
                f"insert into public.{table} ({names}) overriding system value select {picked} from "
                f"(select unnest(%s::text[])::public.{table} r) rows", [rows])


def difference(what: str, got: list[str] | None, right: list[str]) -> list[str]:
    """Rows that are too many and too few."""
    if got == right:
        return []
    rest, missing = list(got or ()), []
    for row in right:
        if row in rest:
            rest.remove(row)
        else:
            missing.append(row)
    return [f"{what}: {len(got or ())} rows, not {len(right)}; too many {rest[:4]}, missing {missing[:4]}"]


def mentioned(text: str, tables: Iterable[str]) -> set[str]:
    """Tables whose names are in a text, and those that depend on them."""
    words = set(text.replace(".", " ").replace("(", " ").replace(",", " ").replace(";", " ").replace('"', " ").split())
    known = set(tables)
    found = (words & known) | {VIEWS[word] for word in words & set(VIEWS)} & known
    return found.union(*(PARENTS.get(table, ()) for table in found))
