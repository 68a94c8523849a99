"""COPY of sharded and reference tables: what is copied, and in which format.

Invariant: the options that a shard gets are rendered from what was read here; an option that is not known is refused.
"""

from __future__ import annotations

from shardproxy.catalog.tables import Table
from shardproxy.topology.layout import TableLayout

from .expressions import Hazard, hazards
from .insert import default_of
from .lexemes import Lexeme, Unreadable, close_of, find, is_op, name_at, quote, quoted, split, word
from .plan import COORDINATOR, CopyIn, CopyOut, Gather, Parted, Plan, Refusal, ShardFilter, Single, Write
from .target import Scope

__all__ = ["plan"]

_FLAGS = frozenset(("header", "freeze"))
_LISTS = frozenset(("force_quote", "force_not_null", "force_null"))
_STRINGS = frozenset(("delimiter", "null", "quote", "escape", "encoding", "default", "on_error", "log_verbosity"))
_ENCODINGS = frozenset(("utf8", "utf-8", "unicode"))


def plan(scope: Scope, lexemes: list[Lexeme]) -> Plan:
    """The plan of one COPY."""
    while is_op(lexemes, len(lexemes) - 1, ";"):
        lexemes = lexemes[:-1]
    at = 1 + (word(lexemes, 1) == "binary")
    if is_op(lexemes, at, "("):
        return _of_query(scope, lexemes, at)
    name, at = name_at(lexemes, at)
    layout, table = scope.target(name)
    columns: tuple[str, ...] | None = None
    if is_op(lexemes, at, "("):
        close = close_of(lexemes, at)
        columns, at = tuple(lexemes[i].text for i, _ in split(lexemes, at + 1, close)), close + 1
    if layout is None or table is None:
        return Single(COORDINATOR, "the table is not sharded")
    if columns is not None and any(table.column(one) is None for one in columns):
        return Single(COORDINATOR, "a column is not known")
    way, end = word(lexemes, at), word(lexemes, at + 1)
    if end not in ("stdin", "stdout"):
        return Refusal("COPY of a sharded table from or to a file or program", "Use STDIN and STDOUT.")
    where = find(lexemes, ("where",), at + 2, len(lexemes))
    options = _options(lexemes, at + 2, where)
    if word(lexemes, 1) == "binary":
        options["format"] = "binary"
    if options.get("encoding", "utf8").lower() not in _ENCODINGS:
        return Refusal("COPY of a sharded table in another encoding than UTF8", "SET client_encoding instead.")
    if way == "from":
        return _in(scope, lexemes, where, table, layout, columns, options)
    return _out(table, layout, columns, options)


def _options(lexemes: list[Lexeme], at: int, end: int) -> dict[str, str]:
    """By lower-case name: flags are ``true`` or ``false``, lists of columns are quoted names."""
    found: dict[str, str] = {"format": "text"}
    at += word(lexemes, at) == "with"
    if is_op(lexemes, at, "("):
        for first, last in split(lexemes, at + 1, close_of(lexemes, at)):
            _option(found, lexemes, first, last)
        return found
    while at < end:
        at = _old_option(found, lexemes, at)
    return found


def _option(found: dict[str, str], lexemes: list[Lexeme], first: int, last: int) -> None:
    name = lexemes[first].text
    value = lexemes[first + 1].text if last > first + 1 else "true"
    if name in _LISTS:
        if value == "*":
            found[name] = "*"
        elif is_op(lexemes, first + 1, "("):
            found[name] = _names(lexemes, first + 2, close_of(lexemes, first + 1))
        else:
            raise Unreadable(name)
    elif name == "format" and value.lower() in ("text", "csv", "binary"):
        found[name] = value.lower()
    elif name in _FLAGS:
        truth = {"true": "true", "on": "true", "1": "true", "false": "false", "off": "false", "0": "false"}
        found[name] = "match" if name == "header" and value.lower() == "match" else truth[value.lower()] \
            if value.lower() in truth else _unknown(name)
    elif name in _STRINGS and last == first + 2:
        found[name] = _string(lexemes[first + 1])
    else:
        _unknown(name)


def _string(lexeme: Lexeme) -> str:
    """The value of a literal; a backslash is one."""
    if lexeme.kind in ("string", "word", "quoted"):
        return lexeme.text
    if lexeme.kind == "other" and lexeme.text.startswith("'"):
        return lexeme.text[1:-1].replace("''", "'")
    return _unknown(lexeme.text)


def _unknown(name: str) -> str:
    raise Unreadable(name)


def _names(lexemes: list[Lexeme], start: int, end: int) -> str:
    return ", ".join(quote(lexemes[i].text) for i, _ in split(lexemes, start, end))


def _old_option(found: dict[str, str], lexemes: list[Lexeme], at: int) -> int:
    """Options as they were written before PostgreSQL 9; gives the index behind."""
    name = word(lexemes, at)
    if name in ("binary", "csv"):
        found["format"] = name
        return at + 1
    if name in _FLAGS:
        found[name] = "true"
        return at + 1
    if name in ("delimiter", "delimiters", "null", "quote", "escape", "encoding"):
        at += 1 + (word(lexemes, at + 1) == "as")
        if at >= len(lexemes):
            raise Unreadable(name)
        found[name.removesuffix("s")] = _string(lexemes[at])
        return at + 1
    if name == "force":
        long = word(lexemes, at + 1) == "not"
        kind = "force_not_null" if long else f"force_{word(lexemes, at + 1)}"
        at += 3 if long else 2
        if is_op(lexemes, at, "*"):
            found[kind] = "*"
            return at + 1
        names = []
        while True:
            names.append(quote(lexemes[at].text))
            at += 1
            if not is_op(lexemes, at, ","):
                break
            at += 1
        found[kind] = ", ".join(names)
        return at
    raise Unreadable(name)


def _rendered(options: dict[str, str]) -> str:
    """As SQL."""
    found = []
    for name, value in options.items():
        if name == "encoding":
            continue
        if name in _LISTS:
            found.append(f"{name.upper()} {'*' if value == '*' else f'({value})'}")
        elif name in _STRINGS:
            escaped = value.replace("\\", "\\\\").replace("'", "''")
            found.append(f"{name.upper()} E'{escaped}'")
        else:
            found.append(f"{name.upper()} {value}")
    return f" WITH ({', '.join(found)})"


def _in(scope: Scope, lexemes: list[Lexeme], where: int, table: Table, layout: TableLayout,
        columns: tuple[str, ...] | None, options: dict[str, str]) -> Plan:
    given = columns if columns is not None else tuple(one.name for one in table.columns if not one.generated)
    if hazards(lexemes, where, len(lexemes), scope.judge) & ~Hazard.NONE:
        return Refusal("COPY FROM ... WHERE with subqueries or functions that are not immutable")
    if "default" in options or "on_error" in options:
        return Refusal(f"COPY FROM with the option {'DEFAULT' if 'default' in options else 'ON_ERROR'} "
                       "into a sharded table")
    options.pop("freeze", None)
    added = []
    for column in table.columns:
        if column.name not in given:
            expression = default_of(column, column.name in layout.key or layout.reference, True, scope.judge)
            if expression is None and column.name in layout.key and column.default is not None:
                expression = column.default
            if expression is not None:
                added.append((column.name, expression))
    text = _rendered(options)
    if where < len(lexemes):
        text += " " + scope.text[lexemes[where].start:lexemes[-1].end]
    return CopyIn((table.schema, table.name), layout.keyspace, given, options,
                  text.encode("utf-8", "surrogateescape"), tuple(added), not layout.reference)


def _out(table: Table, layout: TableLayout, columns: tuple[str, ...] | None, options: dict[str, str]) -> Plan:
    if layout.reference:
        return Single(COORDINATOR, "a reference table")
    if table.kind == "p":
        return Single(COORDINATOR, "COPY of a partitioned table")        # PostgreSQL refuses it
    listed = f" ({', '.join(map(quote, columns))})" if columns is not None else ""
    head = f"COPY {quoted((table.schema, table.name))}{listed} TO STDOUT"
    rest = {name: value for name, value in options.items() if name != "header"}
    return CopyOut(ShardFilter(layout.keyspace, (table.schema, table.name)),
                   (head + _rendered(options)).encode("utf-8", "surrogateescape"),
                   (head + _rendered(rest)).encode("utf-8", "surrogateescape"), options["format"] == "binary")


def _of_query(scope: Scope, lexemes: list[Lexeme], at: int) -> Plan:
    """COPY (query) TO STDOUT: the query's plan, gathered, inside the COPY."""
    from .queries import gathered, plan_query

    close = close_of(lexemes, at)
    start, end = lexemes[at].end, lexemes[close].start
    inner = scope.text[start:end]
    plan = plan_query(inner, None, scope.layout, scope.tables, scope.search_path, scope.knowledge)
    if isinstance(plan, Refusal | Single):
        return plan
    if isinstance(plan, Write | Parted):
        return Refusal("COPY of a query that writes")
    if word(lexemes, close + 2) != "stdout":
        return Refusal("COPY of sharded tables to a file or program", "Use STDOUT.")
    spread = plan.spread if isinstance(plan.spread, Gather) else gathered(
        inner, scope.layout, scope.tables, scope.search_path, scope.knowledge, "COPY of a query")
    if isinstance(spread, Refusal):
        return spread
    before = scope.text[:start].encode("utf-8", "surrogateescape")
    behind = scope.text[end:].encode("utf-8", "surrogateescape")
    options = _options(lexemes, close + 3, len(lexemes))
    own = b"" if plan.text is None else before + plan.text + behind
    return CopyOut(plan.whole, own, binary=options["format"] == "binary", query=Gather(
        spread.pulls, (before, *spread.text, behind), spread.why))
