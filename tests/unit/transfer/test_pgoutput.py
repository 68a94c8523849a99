"""The decoder of changes: every message, and nothing but ValueError for what is none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.dialects.changes import (
    UNCHANGED,
    Begin,
    Cell,
    Column,
    Commit,
    Custom,
    Delete,
    Insert,
    Message,
    Origin,
    Relation,
    Row,
    Truncate,
    Type,
    Update,
)
from shardproxy.dialects.postgres.pgoutput import decode


def row_bytes(row: Row) -> bytes:
    return struct.pack("!H", len(row)) + b"".join(
        b"n" if cell is None else b"u" if cell is UNCHANGED else b"t" + struct.pack("!i", len(cell)) + cell
        for cell in row)


def name(text: str) -> bytes:
    return text.encode() + b"\0"


def encode(found: Message) -> bytes:
    """As the plugin writes it."""
    match found:
        case Begin(lsn, at, xid):
            return b"B" + struct.pack("!QqI", lsn, at, xid)
        case Commit(lsn, end, at):
            return b"C" + struct.pack("!BQQq", 0, lsn, end, at)
        case Origin(lsn, text):
            return b"O" + struct.pack("!Q", lsn) + name(text)
        case Relation(oid, schema, table, identity, columns):
            return (b"R" + struct.pack("!I", oid) + name("" if schema == "pg_catalog" else schema) + name(table)
                    + identity.encode() + struct.pack("!H", len(columns)) + b"".join(
                        struct.pack("!B", one.key) + name(one.name) + struct.pack("!Ii", one.type, one.typmod)
                        for one in columns))
        case Type(oid, schema, text):
            return b"Y" + struct.pack("!I", oid) + name(schema) + name(text)
        case Insert(oid, new):
            return b"I" + struct.pack("!I", oid) + b"N" + row_bytes(new)
        case Update(oid, old, whole, new):
            before = b"" if old is None else (b"O" if whole else b"K") + row_bytes(old)
            return b"U" + struct.pack("!I", oid) + before + b"N" + row_bytes(new)
        case Delete(oid, old, whole):
            return b"D" + struct.pack("!I", oid) + (b"O" if whole else b"K") + row_bytes(old)
        case Truncate(oids, cascade, restart):
            return b"T" + struct.pack(f"!iB{len(oids)}I", len(oids), cascade | restart << 1, *oids)
        case Custom(transactional, lsn, prefix, content):
            head = b"M" + struct.pack("!BQ", transactional, lsn) + name(prefix)
            return head + struct.pack("!i", len(content)) + content


lsns = st.integers(0, (1 << 64) - 1)
oids = st.integers(0, (1 << 32) - 1)
times = st.integers(-(1 << 63), (1 << 63) - 1)
names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=10)
cells: st.SearchStrategy[Cell] = st.one_of(st.none(), st.just(UNCHANGED), st.binary(max_size=30))
rows: st.SearchStrategy[Row] = st.lists(cells, max_size=6).map(tuple)
columns = st.lists(st.builds(Column, st.booleans(), names, oids, st.integers(-1, 1 << 30)), max_size=5).map(tuple)
messages = st.one_of(
    st.builds(Begin, lsns, times, oids), st.builds(Commit, lsns, lsns, times), st.builds(Origin, lsns, names),
    st.builds(Relation, oids, names, names, st.sampled_from("dnfi"), columns), st.builds(Type, oids, names, names),
    st.builds(Insert, oids, rows), st.builds(Update, oids, rows, st.booleans(), rows),
    st.builds(Update, oids, st.none(), st.just(False), rows), st.builds(Delete, oids, rows, st.booleans()),
    st.builds(Truncate, st.lists(oids, max_size=4).map(tuple), st.booleans(), st.booleans()),
    st.builds(Custom, st.booleans(), lsns, names, st.binary(max_size=30)))


@given(messages)
def test_every_message(found: Message) -> None:
    assert decode(encode(found)) == found


@given(messages, st.data())
def test_what_is_cut_or_longer_is_malformed(found: Message, data: st.DataObject) -> None:
    whole = encode(found)
    with pytest.raises(ValueError, match=r"."):
        decode(whole[:data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match=r"."):
        decode(whole + data.draw(st.binary(min_size=1, max_size=5)))


@given(st.one_of(st.binary(max_size=60), st.builds(bytes.__add__, st.sampled_from(
    [b"B", b"C", b"O", b"M", b"R", b"Y", b"I\0\0\0\1N", b"U\0\0\0\1K", b"U\0\0\0\1N", b"D\0\0\0\1O", b"T"]),
    st.binary(max_size=60))))
def test_anything_else_is_malformed(data: bytes) -> None:
    try:
        found = decode(data)
    except ValueError:
        return
    assert len(encode(found)) <= len(data)


@given(messages, st.data())
def test_a_changed_byte_is_another_message_or_malformed(found: Message, data: st.DataObject) -> None:
    whole = bytearray(encode(found))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(whole))
    except ValueError:
        return


def test_binary_values_and_streamed_transactions_are_never_asked_for() -> None:
    for data in (b"I\0\0\0\1N\0\1b\0\0\0\1x", b"S\0\0\0\1\1", b"E", b"c\0", b"A"):
        with pytest.raises(ValueError, match="unknown"):
            decode(data)


def test_names_of_the_catalog_have_no_schema() -> None:
    found = decode(b"R" + struct.pack("!I", 5) + b"\0t\0d\0\0")
    assert found == Relation(5, "pg_catalog", "t", "d", ())
