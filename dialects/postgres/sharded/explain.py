"""EXPLAIN over several servers: the proxy's own plan, and under it what each server says of its part.

Invariants:
* Without ANALYZE nothing of the statement runs. With it only reads do: a write over several shards is refused, for its
  parts alone are not the statement.
* Each server is asked with the client's own options and parameters.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shardproxy.dialects.postgres import wire
from shardproxy.planner.describe import Node, describe, named
from shardproxy.planner.lexemes import Unreadable, lex
from shardproxy.planner.plan import COORDINATOR, Gather, Parts, Select, Single

from .errors import PgError, refused
from .output import Output
from .reading import together
from .staging import Bounds, Staging
from .statement import Statement
from .writing import fill

__all__ = ["Explain", "read_explain", "run_explain"]

OFF = frozenset({"off", "false", "0"})
Said = dict[tuple[int, str], list[bytes]]


@dataclass(frozen=True, slots=True)
class Explain:
    """``head``: EXPLAIN with its options, as it came; ``query``: the statement behind it."""

    head: bytes
    query: bytes
    analyze: bool = False
    form: str = "text"


def read_explain(text: str) -> Explain:
    """Options and statement. Raises PgError if it cannot be read."""
    try:
        lexemes = lex(text)
    except Unreadable:
        raise PgError.of("42601", "the statement cannot be read") from None
    words: dict[str, str] = {}
    at = 1
    if len(lexemes) > 1 and lexemes[1].text == "(":
        while at < len(lexemes) and lexemes[at].text != ")":
            if lexemes[at].text in ("(", ","):
                name = lexemes[at + 1].text.lower() if at + 1 < len(lexemes) else ""
                value = lexemes[at + 2].text.lower() if at + 2 < len(lexemes) else ""
                words[name] = "" if value in (",", ")") else value
            at += 1
        at += 1
    else:
        while at < len(lexemes) and lexemes[at].text in ("analyze", "analyse", "verbose"):
            words[lexemes[at].text] = ""
            at += 1
    if at >= len(lexemes):
        raise PgError.of("42601", "EXPLAIN of nothing")
    start = lexemes[at].start
    analyze = next((words[word] not in OFF for word in ("analyze", "analyse") if word in words), False)
    return Explain(text[:start].encode("utf-8", "surrogateescape"), text[start:].encode("utf-8", "surrogateescape"),
                   analyze, words.get("format") or "text")


async def run_explain(session: Any, statement: Statement, out: Output) -> None:
    """Answer EXPLAIN."""
    asked = read_explain(statement.text.decode("utf-8", "surrogateescape"))
    route = session.link.router.route(asked.query)
    sharding = session.places.sharding
    if sharding.plain(route):
        await session.runner.statements.at_coordinator(session.link.router.route(statement.text), statement, out)
        return
    if asked.form not in ("text", "json"):
        raise refused(f"EXPLAIN (FORMAT {asked.form}) over several shards", "Use FORMAT TEXT or JSON.")
    plan = sharding.plan(asked.query, route, statement.search_path).plan
    if asked.analyze and not isinstance(plan, Single | Select):
        raise refused("EXPLAIN ANALYZE of a write over several shards", "EXPLAIN it without ANALYZE.")
    inner = replace(statement, text=asked.query, formats=())
    tree = describe(plan, asked.query, inner.shards)
    asking = _Asking(session.tx, asked, inner)
    said = await asking.all(tree, plan.spread if isinstance(plan, Select) else plan)
    rows = _as_json(tree, asking, said) if asked.form == "json" else _as_lines(tree, asking, said)
    _answer(rows, statement, out, 114 if asked.form == "json" else 25)


def _answer(rows: Sequence[bytes], statement: Statement, out: Output, oid: int) -> None:
    form = statement.formats[0] if statement.formats else 0
    out.description(wire.row_description([("QUERY PLAN", oid, -1, form)])[5:])
    for row in rows:
        out.row(b"\0\1" + len(row).to_bytes(4, "big") + row)
    out.complete("EXPLAIN")


class _Asking:
    """Asks every place of a tree for its own plan. ``took``: milliseconds, by node and place."""

    def __init__(self, tx: Any, asked: Explain, statement: Statement) -> None:
        self.tx, self.asked, self.statement = tx, asked, statement
        self.took: dict[tuple[int, str], float] = {}
        self.said: Said = {}

    async def all(self, tree: Node, plan: Any) -> Said:
        """What they say, by node (its ``id``) and place."""
        for child in tree.children:
            await self._ask(child, child.text)
        if isinstance(plan, Gather) and tree.children:
            await self._ask_coordinator(tree, plan)
        elif not tree.children:
            await self._ask(tree, tree.text)
        return self.said

    async def _ask(self, node: Node, text: Parts) -> None:
        if text and all(isinstance(part, bytes) for part in text):
            await self.tx.all(node.places)
            await together([self._one(node, place, fill(text, {})) for place in node.places])

    async def _one(self, node: Node, place: str, text: bytes) -> None:
        leg = await self.tx.leg(place)
        begun = time.monotonic()
        rows = await leg.rows(self.asked.head + text, self.statement.bind).all()
        self.took[id(node), place] = (time.monotonic() - begun) * 1000
        self.said[id(node), place] = [wire.parse_data_row(row)[0] or b"" for row in rows]

    async def _ask_coordinator(self, tree: Node, plan: Gather) -> None:
        """Its part needs the temporary tables: filled with ANALYZE, else empty."""
        leg = await self.tx.leg(COORDINATOR)
        own = not (self.tx.in_block or self.tx.atomic)
        if not own and (await leg.run("SHOW transaction_read_only"))[0][0] == b"on":
            return
        bounds = self.tx.database.entry.gather
        staging = Staging(self.tx, leg, self.statement, Bounds(bounds.max_rows, bounds.max_bytes))
        if own:
            await leg.command("BEGIN")
        tables = await (staging.pull(plan.pulls) if self.asked.analyze else staging.empty(plan.pulls))
        holes: Mapping[int, bytes] = {number: table.name.encode() for number, table in enumerate(tables)}
        await self._one(tree, COORDINATOR, fill(plan.text, holes))
        if own:
            await leg.command("ROLLBACK")
            leg.temporary = False
        else:
            await staging.drop()


def _shown(text: Parts) -> str:
    """A text on one line."""
    parts = [part.decode("utf-8", "replace") if isinstance(part, bytes) else f"<pull {part}>" for part in text]
    return " ".join("".join(parts).split())


def _as_lines(tree: Node, asking: _Asking, said: Said, indent: str = "") -> list[bytes]:
    lines = [f"{indent}{tree.title}"]
    deeper = indent + "  "
    lines += [f"{deeper}{note}" for note in tree.notes]
    if tree.text and len(tree.places) != 1:
        lines.append(f"{deeper}shards: {len(tree.places)}")
    if tree.text:
        lines.append(f"{deeper}text: {_shown(tree.text)}")
    found = [line.encode() for line in lines]
    for child in tree.children:
        found += _as_lines(child, asking, said, deeper + "-> ")
    for place in tree.places:
        rows = said.get((id(tree), place))
        if rows is None:
            continue
        took = f" ({asking.took[id(tree), place]:.3f} ms)" if asking.asked.analyze else ""
        margin = " " * len(deeper)
        found.append(f"{margin}on {named(place)}{took}:".encode())
        found += [f"{margin}  ".encode() + row for row in rows]
    return found


def _as_json(tree: Node, asking: _Asking, said: Said) -> list[bytes]:
    return [json.dumps([{"Plan": _node_json(tree, asking, said)}], indent=2).encode()]


def _node_json(tree: Node, asking: _Asking, said: Said) -> dict[str, Any]:
    found: dict[str, Any] = {"Node Type": tree.title}
    if tree.notes:
        found["Notes"] = list(tree.notes)
    if tree.text:
        found["Text"] = _shown(tree.text)
    places = []
    for place in tree.places:
        rows = said.get((id(tree), place))
        one: dict[str, Any] = {"Place": named(place)}
        if rows is not None:
            one["Plan"] = json.loads(b"\n".join(rows))
            if asking.asked.analyze:
                one["Actual Time"] = round(asking.took[id(tree), place], 3)
        places.append(one)
    if places:
        found["Places"] = places
    if tree.children:
        found["Plans"] = [_node_json(child, asking, said) for child in tree.children]
    return found
