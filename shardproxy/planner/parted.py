"""Statements whose WITH writes, over several shards: a part at a time, what it returns in a temporary table.

Invariants:
* No part sees what another one wrote, as in one database: what reads a table runs before what writes it. A query at the
  end has its rows taken before anything is written. Where no order does that, the statement is refused.
* A name counts as read wherever it is a word of a part: too many reads are seen, never too few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shardproxy.catalog.tables import Column, Table, Tables

from .analysis import Unplannable, analyse
from .expressions import Hazard, hazards
from .lexemes import Lexeme, Unreadable, find, is_op, lex, name_at, quote, word
from .nodes import Cte
from .part_order import Part, in_order, names_read, written_by
from .plan import Gather, Parted, Plan, Refusal, Step, Write
from .target import Scope

__all__ = ["plan_parted"]

STAGE = "shardproxy_p"
TEMPORARY = "pg_temp"
HINT = "Run the parts as statements of their own, in a transaction."

Planner = Callable[[str, Tables], Plan]


@dataclass(slots=True)
class _Stage:
    """Where the rows of a part are kept. ``columns``: their names, as the part returns them."""

    table: Table
    columns: tuple[str, ...]

    @property
    def body(self) -> str:
        """The query that takes the part's place."""
        listed = ", ".join(f"{ours.name} AS {quote(name)}"
                           for ours, name in zip(self.table.columns, self.columns, strict=True))
        return f"SELECT {listed} FROM {TEMPORARY}.{self.table.name}"


def plan_parted(scope: Scope, ctes: Sequence[Cte], recursive: bool, write: Planner, read: Planner) -> Parted | Refusal:
    """The plan. ``write`` plans a change of rows, ``read`` a query that the coordinator answers."""
    if STAGE in scope.text:
        return Refusal(f"a WITH query that writes, in a statement with the word {STAGE}", HINT)
    try:
        return _Planner(scope, ctes, recursive, write, read).plan()
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)
    except (Unreadable, IndexError):
        return Refusal("a WITH query that writes and is not understood", HINT)


class _Planner:
    def __init__(self, scope: Scope, ctes: Sequence[Cte], recursive: bool, write: Planner, read: Planner) -> None:
        self.scope, self.ctes, self.recursive, self.write, self.read = scope, ctes, recursive, write, read
        self.tables = scope.tables
        self.stages: dict[str, _Stage] = {}
        self.named: dict[str, set[str]] = {}
        """What each query of WITH names of the others."""

    def plan(self) -> Parted | Refusal:
        parts = [self._part(cte, self.scope.text[cte.inner_start:cte.inner_end], cte.name)
                 for cte in self.ctes if cte.query is None]
        main = self._part(None, self.scope.text[self.ctes[-1].end:], "")
        self._check(parts, main)
        steps: list[Step] = []
        for part in in_order([*parts, main]):
            if part is main and main.kind == "select":
                continue                                # after all others: its rows were taken before them
            step = self._step(part)
            if isinstance(step, Refusal):
                return step
            steps.append(step)
        if main.kind != "select":
            return Parted(tuple(steps), None)
        plan = self.read(self._with(main) + main.body, self.tables)
        if isinstance(plan, Gather):
            return Parted(tuple(steps), plan)
        return plan if isinstance(plan, Refusal) else Refusal("a WITH query that writes, over several shards", HINT)

    # -- parts

    def _part(self, cte: Cte | None, body: str, name: str) -> Part:
        lexemes = lex(body)
        while lexemes and is_op(lexemes, len(lexemes) - 1, ";"):
            lexemes.pop()
        body = body[:lexemes[-1].end]
        kind = word(lexemes, 0)
        if kind == "merge" or (kind == "with" and cte is not None):
            raise Unplannable(f"{kind.upper()} in a WITH query, over several shards", HINT)
        kind = kind if kind in ("insert", "update", "delete", "merge") else "select"
        needs = self._needs(lexemes, cte)
        around = [lex(self._text_of(one)) for one in self.ctes if one.name in needs and one.query is not None]
        target, own = _target(lexemes, kind)
        reads = names_read(self.scope.tables, [lexemes[:own[0]] + lexemes[own[1]:], *around])
        conflict = kind == "insert" and any(word(lexemes, i) == "on" and word(lexemes, i + 1) == "conflict"
                                            for i in range(len(lexemes)))
        if target and (kind != "insert" or conflict):
            reads |= {target}
        writes, parents = written_by(self.scope.tables, target, kind) if target else (frozenset(), frozenset())
        return Part(name, kind, body, lexemes, frozenset(needs), frozenset(reads), writes, target, parents, conflict)

    def _text_of(self, cte: Cte) -> str:
        return self.scope.text[cte.inner_start:cte.inner_end] if cte.query is None else (
            self.scope.text[cte.start:cte.end])

    def _needs(self, lexemes: Sequence[Lexeme], cte: Cte | None) -> set[str]:
        """Queries of WITH that a part names, itself or in those it names."""
        known: list[Cte] = []
        for one in self.ctes:
            if one is cte:
                break
            known.append(one)
        if not self.named:
            for number, one in enumerate(self.ctes):
                words = {item.text for item in lex(self._text_of(one)) if item.kind in ("word", "quoted")}
                later = {other.name for other in self.ctes[number + 1:]}
                if self.recursive and words & later:
                    raise Unplannable("WITH RECURSIVE that writes and names a query defined after it", HINT)
                self.named[one.name] = words & {other.name for other in self.ctes[:number]}
        names = {one.name for one in known}
        found: set[str] = set()
        left = {item.text for item in lexemes if item.kind in ("word", "quoted")} & names
        while left:
            name = left.pop()
            found.add(name)
            if next(one for one in known if one.name == name).query is not None:
                left |= self.named[name] - found
        return found

    def _check(self, parts: Sequence[Part], main: Part) -> None:
        """Raises for what has no right order, or would be evaluated more than once."""
        if main.kind == "select" and (both := {one for part in parts for one in part.writes} & main.reads):
            layouts = {table.name: table for table in self.scope.layout.tables()}
            for name in sorted(both):
                if name not in layouts or layouts[name].reference:
                    raise Unplannable(f'a WITH query that writes table "{name}", which the query at the end reads',
                                      HINT)
        for cte in self.ctes:
            users = [part for part in (*parts, main) if cte.name in part.needs]
            if cte.query is None or len(users) < 2:
                continue
            lexemes = lex(self._text_of(cte))
            found = hazards(lexemes, 0, len(lexemes), self.scope.judge)
            if found & (Hazard.VOLATILE | Hazard.SEQUENCE | Hazard.UNKNOWN) or any(
                    one.kind == "word" and one.text in ("limit", "fetch", "offset", "distinct", "over", "for")
                    for one in lexemes):
                raise Unplannable(f'the query "{cte.name}" of a WITH that writes, read by several of its parts', HINT)
            if any(self._reads(lexemes) & part.writes for part in (*parts, main)):
                raise Unplannable(f'a table that a WITH query writes and "{cte.name}" reads for several parts', HINT)

    def _reads(self, lexemes: Sequence[Lexeme]) -> frozenset[str]:
        return frozenset(names_read(self.scope.tables, [list(lexemes)]))

    # -- texts

    def _with(self, part: Part) -> str:
        """The WITH clause that a part needs, written parts replaced by their rows."""
        found = []
        for cte in self.ctes:
            if cte.name not in part.needs:
                continue
            if cte.query is not None:
                found.append(self.scope.text[cte.start:cte.end])
                continue
            stage = self.stages.get(cte.name)
            if stage is None:
                raise Unplannable(f'WITH query "{cte.name}", which returns nothing and is named again', HINT)
            columns = f" ({', '.join(map(quote, cte.columns))})" if cte.columns else ""
            found.append(f"{quote(cte.name)}{columns} AS ({stage.body})")
        return f"WITH {'RECURSIVE ' if self.recursive else ''}{', '.join(found)} " if found else ""

    def _step(self, part: Part) -> Step | Refusal:
        before = self._with(part)
        text = before + part.body
        plan = self.write(text, self.tables)
        if isinstance(plan, Refusal):
            return plan
        clock = hazards(part.lexemes, 0, len(part.lexemes), self.scope.judge) & (Hazard.CLOCK | Hazard.CLOCK_WITHIN)
        if isinstance(plan, Write) and clock:           # the time is the coordinator's, for all parts
            plan = plan.spread
            if isinstance(plan, Refusal):
                return plan
        shape = "" if not part.name else self._shape(part, before)
        stage = self._stage(part, shape) if shape else None
        cte = next((one for one in self.ctes if one.name == part.name), None)
        shown = f"{self.scope.text[:cte.end]} SELECT * FROM {quote(cte.name)}" if cte is not None else self.scope.text
        return Step(_raw(text), plan, stage.table.name if stage else "", _raw(shape),
                    stage.table.names if stage else (), _raw(shown), client=cte is None)

    def _shape(self, part: Part, before: str) -> str:
        """A query with the columns of RETURNING; empty if there is none."""
        lexemes, size = part.lexemes, len(part.lexemes)
        returning = find(lexemes, ("returning",), 0, size)
        if returning >= size:
            return ""
        items = part.body[lexemes[returning].end:]
        return f"{before}SELECT {items} FROM {_sources(part, returning)}"

    def _stage(self, part: Part, shape: str) -> _Stage:
        """Its table, from now on known to the planner."""
        scope = self.scope
        query = scope.knowledge.parse(shape)
        if query is None:
            raise Unreadable("returning")
        found = analyse(query, scope.layout, self.tables, scope.search_path, scope.knowledge)
        outputs = found.root.outputs if found.root is not None else None
        if outputs is None:
            raise Unplannable(f'RETURNING of WITH query "{part.name}", whose columns are not known',
                              "Name the columns.")
        columns = []
        for number, (_, term) in enumerate(outputs):
            table = found.relations[term[0]].table if term is not None else None
            known = table.column(term[1]) if table is not None and term is not None else None
            columns.append(Column(f"c{number}", known.type if known is not None else 0,
                                  known.type_name if known is not None else "text",
                                  base=known.base if known is not None else 0))
        stage = _Stage(Table(0, TEMPORARY, f"{STAGE}{len(self.stages)}", "r", tuple(columns)),
                       tuple(name for name, _ in outputs))
        self.stages[part.name] = stage
        self.tables = Tables([*self.tables, stage.table], self.tables.functions, self.tables.refused)
        return stage


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _target(lexemes: list[Lexeme], kind: str) -> tuple[str, tuple[int, int]]:
    """The table that a part writes, and where it is named."""
    if kind == "select":
        return "", (0, 0)
    at = 1 if kind == "update" else 2
    at += word(lexemes, at) == "only"
    at += is_op(lexemes, at, "(")
    (_, name), behind = name_at(lexemes, at)
    return name, (at, behind)


def _sources(part: Part, returning: int) -> str:
    """What RETURNING may name, as FROM has it."""
    lexemes, body = part.lexemes, part.body
    _, (first, behind) = _target(lexemes, part.kind)
    if part.kind == "insert":
        end = behind + 2 * (word(lexemes, behind) == "as")
        return body[lexemes[first].start:lexemes[end - 1].end]
    words = ("set",) if part.kind == "update" else ("using", "where", "returning")
    start = 1 if part.kind == "update" else 2
    end = find(lexemes, words, behind, returning)
    found = body[lexemes[start].start:lexemes[end - 1].end]
    more = find(lexemes, ("from",) if part.kind == "update" else ("using",), end, returning)
    while more < returning and word(lexemes, more - 1) == "distinct":
        more = find(lexemes, ("from",), more + 1, returning)
    if more < returning:
        last = find(lexemes, ("where",), more, returning)
        found += ", " + body[lexemes[more].end:lexemes[last - 1].end]
    return found
