"""The errors of the whole product.

    ShardproxyError
    ├── ConfigError         the configuration is wrong: every mistake at once (exit code 2)
    ├── ClientError         the client is at fault or refused: has a SQLSTATE, is told to the client
    │   └── ProtocolViolation   the client's bytes are not the protocol: told, then closed
    ├── ServerError         a database server failed us: has a SQLSTATE
    └── ControlError        parent and worker could not talk

The SQLSTATE is a string of five characters; a dialect that has other codes maps from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ClientError", "ConfigError", "ControlClosed", "ControlError", "Mistake", "ProtocolViolation",
           "ServerError", "ShardproxyError"]


class ShardproxyError(Exception):
    """Root of all errors raised on purpose."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with a configuration: where, what, and what would be right."""

    file: str
    key: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.file}: {self.key}: {self.problem}" if self.key else f"{self.file}: {self.problem}"
        return f"{text} ({self.remedy})" if self.remedy else text


class ConfigError(ShardproxyError):
    """All mistakes found in the configuration."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, mistakes)))


class _WithState(ShardproxyError):
    def __init__(self, sqlstate: str, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.sqlstate, self.message, self.hint, self.detail = sqlstate, message, hint, detail


class ClientError(_WithState):
    """Told to the client in the form of its protocol."""


class ProtocolViolation(ClientError):
    """The client sent what the protocol does not allow; the connection is closed after the error."""

    def __init__(self, message: str) -> None:
        super().__init__("08P01", message)


class ServerError(_WithState):
    """A server refused, failed or vanished."""


class ControlError(ShardproxyError):
    """A call between parent and worker failed."""


class ControlClosed(ControlError):
    """The other side of a control connection is gone."""
