"""Plans for people: the tree that EXPLAIN shows.

Invariant: every text that a server will run stands in the tree with the places that run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .plan import (
    COORDINATOR,
    NOW,
    STATEMENT_NOW,
    CopyIn,
    CopyOut,
    Gather,
    InsertFrom,
    InsertRows,
    Overview,
    Parted,
    Parts,
    Plan,
    Pull,
    Push,
    Reference,
    Refusal,
    Scatter,
    Select,
    ShardFilter,
    Single,
    Step,
    Value,
    Write,
    WriteBack,
)

__all__ = ["Node", "describe", "named"]

_CLOCKS = {NOW: b"now()", STATEMENT_NOW: b"statement_timestamp()"}
Places = Callable[[ShardFilter], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Node:
    """``text``: what each of ``places`` runs; with holes for temporary tables. ``children``: what comes first."""

    title: str
    notes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    text: Parts = ()
    children: tuple[Node, ...] = ()


def named(place: str) -> str:
    """A place as people call it."""
    return place or "the coordinator"


def describe(plan: Plan | Scatter, text: bytes, places: Places) -> Node:
    """The tree of a plan. ``text``: the client's. ``places``: the shards that a filter comes down to."""
    if isinstance(plan, Select | Write):
        whole = tuple(places(plan.whole)) if plan.whole is not None else ()
        if len(whole) == 1:
            own = plan.text if isinstance(plan, Select) and plan.text is not None else text
            return Node(f"Route to {whole[0]}", ("the sharding key names one shard",), whole, (own,))
        return describe(plan.spread, text, places)
    if isinstance(plan, Single):
        return Node(f"Route to {named(plan.place)}", _why(plan.why), (plan.place,), (text,))
    if isinstance(plan, Overview):
        asked = ", ".join(sorted(plan.needs))
        return Node("Route to the coordinator", (f"the shards are asked first: {asked}",) if asked else (),
                    (COORDINATOR,), (plan.text,))
    if isinstance(plan, Refusal):
        return Node(f"Refused ({plan.sqlstate}): {plan.construct}", (plan.hint,) if plan.hint else ())
    if isinstance(plan, Scatter):
        return _scatter(plan, places)
    if isinstance(plan, Gather):
        return Node("Gather into the coordinator", _why(plan.why), (COORDINATOR,), plan.text,
                    _pulls(plan.pulls, places))
    return _write(plan, text, places)


def _why(why: str) -> tuple[str, ...]:
    return (why,) if why else ()


def _value(value: Value) -> str:
    return f"${value.param}" if value.param else str(value.text)


def _scatter(plan: Scatter, places: Places) -> Node:
    notes = list(_why(plan.why))
    title = "Scatter, one shard after the other" if plan.serial else "Scatter"
    if plan.folds:
        title = "Scatter and fold"
        notes.append("folds: " + ", ".join(fold.how for fold in plan.folds))
    elif plan.order:
        title = "Scatter and merge"
        notes.append("merge key: " + ", ".join(f"column {key.column + 1}{' DESC' if key.descending else ''}"
                                               for key in plan.order))
    if plan.limit is not None:
        notes.append(f"limit: {_value(plan.limit)}")
    if plan.offset is not None:
        notes.append(f"offset: {_value(plan.offset)}")
    return Node(title, tuple(notes), tuple(places(plan.filter)), _parts(plan.text))


def _parts(text: bytes | Parts) -> Parts:
    """A text whose clocks are read where it runs: only its plan is wanted."""
    pieces = (text,) if isinstance(text, bytes) else text
    return tuple(_CLOCKS.get(piece, piece) if isinstance(piece, int) else piece for piece in pieces)


def _pulls(pulls: Sequence[Pull], places: Places) -> tuple[Node, ...]:
    found = []
    for number, pull in enumerate(pulls):
        where = tuple(places(pull.filter))
        name = ".".join(pull.like) if pull.like else "computed rows"
        notes = ("rows are locked",) if pull.lock else ()
        found.append(Node(f"Pull {number}: {name} ({', '.join(pull.columns)})", notes,
                          where[:1] if pull.one else where, _parts(pull.text)))
    return tuple(found)


def _step(step: Step, places: Places) -> Node:
    """A part, by what it does: its text may name tables that are there only while the statement runs."""
    node = describe(step.plan, step.text, places)
    kept = (f"its rows are kept as {step.stage}",) if step.stage else ()
    return Node(node.title, (*node.notes, *kept), node.places, (),
                tuple(Node(child.title, child.notes, child.places) for child in node.children))


def _write(plan: Plan, text: bytes, places: Places) -> Node:
    if isinstance(plan, Parted):
        pulls = () if plan.main is None else _pulls(plan.main.pulls, places)
        return Node("A part of WITH at a time", (), children=(*pulls, *(_step(one, places) for one in plan.steps)))
    if isinstance(plan, Push):
        return Node(f"{plan.kind} on each shard", _why(plan.why), tuple(places(plan.filter)), plan.text or (text,))
    if isinstance(plan, Reference):
        return Node(f"{plan.kind} of a reference table, at every copy", (f"keyspace {plan.keyspace}",))
    if isinstance(plan, InsertRows):
        return Node("Insert, each row on its shard", (f"rows: {len(plan.rows)}", ".".join(plan.table)))
    if isinstance(plan, InsertFrom):
        return Node("Insert rows that the coordinator makes, each on its shard", (".".join(plan.table),),
                    children=_pulls(plan.pulls, places))
    if isinstance(plan, WriteBack):
        return Node(f"{plan.kind} on a copy, the difference written back", (*_why(plan.why), ".".join(plan.table)),
                    children=_pulls(plan.pulls, places))
    if isinstance(plan, CopyIn):
        return Node("Copy, each row to its shard" if plan.split else "Copy to every copy", (".".join(plan.table),))
    if isinstance(plan, CopyOut):
        children = () if plan.query is None else (describe(plan.query, text, places),)
        where = tuple(places(plan.filter)) if plan.filter is not None else ()
        return Node("Copy from each shard, one after the other" if where else "Copy of gathered rows", (), where,
                    children=children)
    raise TypeError(f"no description of {type(plan).__name__}")
