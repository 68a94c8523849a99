"""From changes to what is left to do: against a model that carries them out one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shardproxy import dialects
from shardproxy.dialects.changes import UNCHANGED, Cell, Column, Delete, Insert, Relation, Row, Update
from shardproxy.tools.transfer.changes import Batch, Collector, Side
from shardproxy.tools.transfer.chunks import Chunk, ChunkMap, Snapshot
from shardproxy.tools.transfer.move import Move, Place
from shardproxy.tools.transfer.routing import Routing
from shardproxy.tools.transfer.tables import MovedTable, changes_of
from shardproxy.topology.layout import KeyspaceLayout, Layout, TableLayout

MAIN = Place("", "h", 1, None, "d")
SHARDS = (Place("shop/s0", "h", 1, None, "e"), Place("shop/s1", "h", 1, None, "f"))
TABLE = MovedTable(("public", "t"), ("public", "t"), ("id", "owner", "v"), ("integer", "integer", "text"), (23, 23, 25),
                   ("id",), ("owner",), "r", "d", True)
SPACE = KeyspaceLayout("shop", ("s0", "s1"), "hash", 8, (0, 1) * 4)
BEFORE = Layout(1, "main", {"shop": SPACE})
MOVE = Move("m", "reshard", "d", (("public", "t"),), (MAIN,), SHARDS, BEFORE,
            BEFORE.with_table(TableLayout("public", "t", "shop", ("owner",))), (), ((23,),), MAIN)
READ: Any = dialects.get("postgres").key_value
COPIED = Chunk(None, None, 1, Snapshot.parse("1:1:"))
COLUMNS = tuple(Column(number == 0, name, oid, -1) for number, (name, oid) in
                enumerate(zip(TABLE.columns, TABLE.oids, strict=True)))
State = dict[Cell, Row]


def collector() -> Collector:
    sides = [Side(1, {TABLE.text: ChunkMap(TABLE, [COPIED], READ)}, set()) for _ in SHARDS]
    routing = Routing(MOVE, MAIN, TABLE, changes_of(), SHARDS)
    made = Collector([TABLE], {TABLE.text: routing}, sides, {TABLE.text: [0, 1]})
    made.relation(Relation(1, "public", "t", "d", COLUMNS))
    return made


def owner(row: Row) -> str:
    return MOVE.target_of(TABLE.table, [None if cell is None else bytes(cell) for cell in row[1:2]
                                        if cell is not UNCHANGED]).name


def carry_out(batch: Batch, targets: dict[str, State]) -> None:
    """As a target does it: what lacks a value has it from where the row was before."""
    before = {name: dict(state) for name, state in targets.items()}
    for place, tables in zip(SHARDS, batch.rows, strict=True):
        for todo in tables.values():
            assert not todo.gone & todo.put.keys()
            for key in todo.gone:
                targets[place.name].pop(key[0], None)
            for key, row in todo.put.items():
                if UNCHANGED in row:
                    was = todo.was[key][0]
                    old = next(state[was] for state in before.values() if was in state)
                    row = tuple(had if cell is UNCHANGED else cell for cell, had in zip(row, old, strict=True))
                targets[place.name][key[0]] = row


steps = st.lists(st.tuples(st.sampled_from("iuukod"), st.integers(0, 4), st.integers(0, 4), st.integers(0, 5),
                           st.booleans(), st.booleans()), max_size=25)


def change(found: Collector, source: State, step: tuple[str, int, int, int, bool, bool]) -> None:
    """Carry out a step at the source, if it can be, and tell of it as the server does."""
    kind, one, two, value, toasted, _ = step
    key, other = str(one).encode(), str(two).encode()
    if kind == "i" and key not in source:
        source[key] = (key, str(value).encode(), b"v%d" % value)
        found.change(Insert(1, source[key]))
    elif kind == "d" and key in source:
        del source[key]
        found.change(Delete(1, (key, None, None), False))
    elif kind in "uo" and key in source:
        text = source[key][2] if toasted else b"w%d" % value
        source[key] = (key, str(value).encode(), text)
        told: Row = (key, source[key][1], UNCHANGED if toasted else text)
        found.change(Update(1, None, False, told))
    elif kind == "k" and key in source and other not in source:
        old = source.pop(key)
        source[other] = (other, str(value).encode(), old[2])
        found.change(Update(1, (key, None, None), False, (other, source[other][1], UNCHANGED if toasted else old[2])))


@settings(max_examples=300)
@given(steps)
def test_batches_give_what_the_source_has(found: list[tuple[str, int, int, int, bool, bool]]) -> None:
    made, source = collector(), dict[Cell, Row]()
    targets: dict[str, State] = {place.name: {} for place in SHARDS}
    for number, step in enumerate(found):
        made.begin(10 + number, number)
        change(made, source, step)
        made.commit(11 + number)
        if step[5]:
            carry_out(made.take(), targets)
    carry_out(made.take(), targets)
    expected: dict[str, State] = {place.name: {} for place in SHARDS}
    for key, row in source.items():
        expected[owner(row)][key] = row
    assert targets == expected


def test_a_target_leaves_out_what_it_has() -> None:
    made = collector()
    made.sides[0].position = 100
    made.begin(50, 7)
    for value in range(8):
        made.change(Insert(1, (str(value).encode(), str(value).encode(), None)))
    made.commit(60)
    batch = made.take()
    assert not batch.rows[0]
    assert batch.rows[1]
    assert batch.position == 60


def test_a_transaction_of_ours_is_left_out_and_passed() -> None:
    made = collector()
    made.begin(50, 7)
    made.ignore()
    made.change(Insert(1, (b"1", b"1", None)))
    made.commit(60)
    assert made.take().empty
    assert made.batch.position == 60


def test_what_is_not_copied_yet_is_left_to_the_copy() -> None:
    made = collector()
    for side in made.sides:
        side.chunks = {TABLE.text: ChunkMap(TABLE, [Chunk(None, None)], READ)}
    made.begin(50, 7)
    made.change(Insert(1, (b"1", b"1", None)))
    made.commit(60)
    assert not any(rows.put for tables in made.take().rows for rows in tables.values())
    assert made.sides[0].skipped == {7}
