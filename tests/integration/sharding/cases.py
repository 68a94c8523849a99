"""Cases of SQL as they stand in ``corpus/*.sql``: paragraphs of statements, run one after the other on one connection.

    -- name of the case
    -- only: simple              modes that it makes sense in (default: all)
    -- flag: ordered             rows of every statement come in a certain order (``unordered``: in none)
    -- finally: drop table x     runs at the end, whatever happened; its answers are not compared
    select 1;
    select $1::int \\bind 5;     parameters as text; a word null is NULL, quotes keep blanks
    select 1 \\; select 2;       one query message with two statements
    copy t from stdin;
    1	a
    \\.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CORPUS", "Case", "Statement", "is_ordered", "load"]

CORPUS = Path(__file__).with_name("corpus")
_COPY_IN = re.compile(r"^\s*copy\b.*\bfrom\s+stdin\b", re.I | re.S)
_READ = re.compile(r"^\s*(select|with|values|table|show|explain)\b(?!.*\b(insert|update|delete|merge|nextval|setval|"
                   r"set_config|into\s+temp|for\s+(no\s+key\s+)?(update|share)|for\s+key))", re.I | re.S)
_TOKEN = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"[^\"]*\"|(\$\w*\$).*?\1|[()]|\border\s+by\b", re.I | re.S)


@dataclass(frozen=True)
class Statement:
    """A text, the values of its parameters, and what is sent when the server asks for data."""

    text: str
    values: tuple[str | None, ...] = ()
    data: str | None = None
    ordered: bool = False

    @property
    def reads(self) -> bool:
        """Surely nothing but a read."""
        return bool(_READ.match(self.text))

    def with_literals(self) -> str:
        """For the simple protocol: literals of unknown type where the parameters stand."""
        def literal(match: re.Match[str]) -> str:
            value = self.values[int(match[1]) - 1]
            return "NULL" if value is None else "'" + value.replace("'", "''") + "'"
        return re.sub(r"\$(\d+)", literal, self.text) if self.values else self.text


@dataclass(frozen=True)
class Case:
    """Statements that belong together."""

    name: str
    statements: tuple[Statement, ...]
    finally_: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()

    @property
    def reads(self) -> bool:
        """Nothing of the database or the session is changed."""
        return all(statement.reads for statement in self.statements)

    @property
    def text(self) -> str:
        """All statements."""
        return ";\n".join(statement.text for statement in self.statements)


def is_ordered(text: str) -> bool:
    """An ORDER BY outside all parentheses decides the order of the rows."""
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        depth += (token == "(") - (token == ")")
        if depth == 0 and token[:1] in "oO":
            return True
    return False


def load(path: Path) -> list[Case]:
    """The cases of a file."""
    found: list[Case] = []
    for paragraph in re.split(r"\n\s*\n", path.read_text()):
        if paragraph.strip() and not paragraph.startswith("---"):
            found.append(_case(paragraph.strip("\n").splitlines(), f"{path.stem}:{len(found) + 1}"))
    names = [case.name for case in found]
    assert len(names) == len(set(names)), f"{path}: {sorted(n for n in names if names.count(n) > 1)}"
    return found


def _case(lines: list[str], number: str) -> Case:
    name, finally_, modes, flags = "", [], (), []   # type: ignore[var-annotated]
    while lines and lines[0].startswith("--"):
        line = lines.pop(0)[2:].strip()
        key, _, value = line.partition(": ")
        if key == "finally":
            finally_.append(value.strip(";"))
        elif key == "only":
            modes = tuple(value.split())    # type: ignore[assignment]
        elif key == "flag":
            flags += value.split()
        else:
            name = line
    statements = tuple(_statements(lines, flags))
    assert statements, number
    return Case(f"{number} {name}".strip(), statements, tuple(finally_), modes)


def _statements(lines: list[str], flags: Iterable[str]) -> Iterable[Statement]:
    text: list[str] = []
    rest = iter(lines)
    for line in rest:
        text.append(line)
        if not line.rstrip().endswith(";"):
            continue
        whole = "\n".join(text).rstrip()[:-1].replace("\\;", ";")
        text.clear()
        whole, _, values = whole.partition("\\bind")
        data = None
        if _COPY_IN.match(whole):
            data = "".join(f"{row}\n" for row in iter(lambda: next(rest), "\\."))
        parameters = tuple(None if value == "null" else value for value in shlex.split(values))
        ordered = "ordered" in flags or (is_ordered(whole) and "unordered" not in flags)
        yield Statement(whole.strip(), parameters, data, ordered)
    assert not "".join(text).strip(), f"without a semicolon: {text}"
