"""Facts: names, unions, bounds."""

from __future__ import annotations

import pytest

from shardproxy.catalog.facts import SLOTS_MAX, Facts, Relation, slot_of
from shardproxy.dialects.facts import ANY_TABLE, READ_SESSION, READABLE, UNKNOWN_TABLE, WRITE_SESSION
from shardproxy.topology.board_cy import SLOTS
from tests.fixtures.facts import DATA, FACTS


def test_slots_are_those_of_tables() -> None:
    assert all(2 <= slot_of(oid) < SLOTS for oid in range(16384, 40000, 7))
    assert len({slot_of(oid) for oid in range(16384, 16384 + 3000, 3)}) > 500


def test_look_up_by_schema_and_without() -> None:
    assert FACTS.relation("t2") == FACTS.relation("t2", "s")
    assert FACTS.relation("t2", "public") is None
    assert FACTS.relation("nowhere") is None
    assert FACTS.function("nowhere") is None


def test_one_name_is_one_thing_and_the_careful_one_decides() -> None:
    both = FACTS.relation("twice")
    assert both == Relation(READABLE, tuple(sorted((slot_of(16801), slot_of(16802)))),
                            tuple(sorted((slot_of(16801), slot_of(16802)))))
    half = FACTS.relation("half")
    assert half is not None and not half.bits & READABLE
    one, other = Relation(READABLE | WRITE_SESSION, (5,), (5,)), Relation(READABLE, (6,), UNKNOWN_TABLE)
    assert one | other == Relation(READABLE | WRITE_SESSION, (5, 6), UNKNOWN_TABLE)


def test_many_tables_of_one_name_are_any_table() -> None:
    relations = [[f"tenant{i}", "t", READABLE, [20000 + i], [20000 + i]] for i in range(SLOTS_MAX * 3)]
    facts = Facts({**DATA, "relations": relations})
    assert facts.relation("t") == Relation(READABLE, ANY_TABLE, UNKNOWN_TABLE)
    assert facts.relation("t", "tenant1") == Relation(READABLE, (slot_of(20001),), (slot_of(20001),))


def test_risky_relations() -> None:
    assert FACTS.risky_relations == {"v_set", "v_next"}
    found = FACTS.relation("v_set")
    assert found is not None and found.bits == READ_SESSION


def test_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version"):
        Facts({**DATA, "version": 99})
