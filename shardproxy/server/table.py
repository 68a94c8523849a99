"""What a console command answers: a table, a plain tag, or an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shardproxy.errors import ClientError

__all__ = ["BOOL", "FLOAT", "INT", "TEXT", "Reply", "failure"]

TEXT, INT, FLOAT, BOOL = "text", "int8", "float8", "bool"
"""Types of columns; a dialect maps these names to its own types."""


@dataclass(slots=True)
class Reply:
    """`columns` empty: only the tag is sent."""

    tag: str = "SHOW"
    columns: Sequence[tuple[str, str]] = ()
    rows: list[list[Any]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """In the form of the ``admin`` call."""
        found: dict[str, Any] = {"columns": [list(column) for column in self.columns],
                                 "rows": [list(row) for row in self.rows], "tag": self.tag}
        if self.notices:
            found["notices"] = self.notices
        return found


def failure(error: ClientError) -> dict[str, Any]:
    """A refused command, in the form of the ``admin`` call."""
    return {"error": [error.sqlstate, error.message, error.hint]}
