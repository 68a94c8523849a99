"""[log]: what is logged, and how.

Invariant: no setting makes the log contain a secret; statements are logged only where
``slow_statement_ms`` asks for it.
"""

from __future__ import annotations

from typing import Literal

from .values import FilePath, Flag, Milliseconds, Seconds, Settings, setting

__all__ = ["Log", "LogFormat", "LogLevel"]

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


class Log(Settings):
    """Log records."""

    level: LogLevel = setting("info", "The least severe records that are written.")
    format: LogFormat = setting("text", "One line of text, or one JSON object, per record.")
    file: FilePath | None = setting(
        None, "File to append to; opened again at SIGHUP. Default: standard error.")
    connections: Flag = setting(True, "Log each client that logs in.")
    disconnections: Flag = setting(True, "Log each client that leaves, and why.")
    stats_period: Seconds = setting(60.0, "Time between log records with statistics. 0: none.")
    slow_statement_ms: Milliseconds = setting(
        0.0, "Log statements that take longer than this, without their parameters. 0: none.")
