"""Structured logs: one line per event, as text or JSON, on standard error or in a file.

    log = get_logger("session").bind(client=1027)
    log.info("logged in", user="app", database="shop")

    2026-01-02T03:04:05.678Z INFO  worker-0 session: logged in client=1027 user=app database=shop
    {"time": "2026-01-02T03:04:05.678Z", "level": "info", "process": "worker-0", "logger": "session",
     "event": "logged in", "client": 1027, "user": "app", "database": "shop"}

Invariants: an event is one line, whatever a client puts in its names; a field whose name says that it is a
secret, and a password inside a statement or connection string, are masked. Standard output is never used:
`serve` talks there.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Log", "LogSettings", "Plain", "get_logger", "mask", "setup"]

ROOT = "shardproxy"

_SECRET_NAME = re.compile(r"passw|secret|verifier|token|private|scram|_key$|^key$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"""(?ix) ( \b password \s* (?: = | : | \s ) \s* )           # password = ..., PASSWORD '...'
              (?! null\b | _file\b | _env\b )
              ( e? ' (?: [^'\\] | '' | \\. )* ' | " (?: [^"\\] | \\. )* " | [^\s'",;)]+ )
      | ( \b (?: SCRAM-SHA-256\$ | md5 (?= [0-9a-f]{32}\b ) ) ) ( [^\s'"]+ )
      | ( ://[^\s:/@]+: ) ( [^\s@]+ ) (?= @ )                    # postgres://user:...@host
    """)
_PASSWORD_PROSE = re.compile(
    r"\bpassword\s+(?:authentication|for|is|was|does|of|in|and|or|from|needed|required)\b", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
_PLAIN = re.compile(r"[^\s\"'=]+\Z")


def mask(text: str) -> str:
    """`text` with passwords and verifiers replaced by ``***``."""
    if _PASSWORD_PROSE.search(text) and "'" not in text and "=" not in text:
        return text
    return _SECRET_TEXT.sub(lambda found: next(filter(None, found.group(1, 3, 5))) + "***", text)


class Log:
    """A logger with fields. Cheap to make and to `bind`; nothing is formatted below the level."""

    __slots__ = ("_fields", "_logger")

    def __init__(self, logger: logging.Logger, fields: dict[str, Any] | None = None) -> None:
        self._logger, self._fields = logger, fields or {}

    def bind(self, **fields: Any) -> Log:
        """A logger that adds these fields to every event."""
        return Log(self._logger, {**self._fields, **fields})

    def enabled(self, level: int) -> bool:
        return self._logger.isEnabledFor(level)

    def debug(self, event: str, /, **fields: Any) -> None:
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, *, exc_info: BaseException | None = None, **fields: Any) -> None:
        """`exc_info`: an exception whose traceback is wanted."""
        self._log(logging.ERROR, event, fields, exc_info)

    def exception(self, event: str, /, **fields: Any) -> None:
        """An error, with the traceback of the exception being handled."""
        self._log(logging.ERROR, event, fields, exc_info=True)

    def _log(self, level: int, event: str, fields: dict[str, Any],
             exc_info: BaseException | bool | None = None) -> None:
        if self._logger.isEnabledFor(level):
            extra = {"fields": {**self._fields, **fields}}
            self._logger.log(level, "%s", event, exc_info=exc_info, extra=extra)


def get_logger(name: str) -> Log:
    """The logger of one part of the program: ``get_logger("session")``, or ``get_logger(__name__)``."""
    if name == "__main__":  # `python -m package.module`: the module has another name than when it is imported
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        name = spec.name if spec is not None else name
    return Log(logging.getLogger(name if name.partition(".")[0] == ROOT else f"{ROOT}.{name}"))


class LogSettings(Protocol):
    """``config.log``, as far as it is needed here."""

    @property
    def level(self) -> str:
        """debug, info, warning or error."""

    @property
    def format(self) -> str:
        """text or json."""

    @property
    def file(self) -> Path | None:
        """None: standard error."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Settings for programs without a configuration."""

    level: str = "info"
    format: str = "text"
    file: Path | None = None


def setup(settings: LogSettings = Plain(), process: str = "main") -> None:
    """Send the logs of this process where the configuration says. May be called again after a reload.

    A log file that was moved or removed is opened anew at the next event, so rotation needs no signal.
    """
    handler: logging.Handler
    handler = (logging.handlers.WatchedFileHandler(settings.file) if settings.file is not None
               else logging.StreamHandler(sys.stderr))
    handler.setFormatter(_Json(process) if settings.format == "json" else _Text(process))
    root = logging.getLogger(ROOT)
    for old in root.handlers[:]:
        root.removeHandler(old)
        if isinstance(old, logging.FileHandler):
            old.close()
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    root.propagate = False
    logging.captureWarnings(True)
    for noisy in ("py.warnings", "asyncio", "aiohttp", "sqlglot"):
        other = logging.getLogger(noisy)
        other.handlers, other.propagate = [handler], False
        other.setLevel(logging.WARNING)


class _Formatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def _parts(self, record: logging.LogRecord) -> tuple[str, str, str, dict[str, Any]]:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        moment += f".{int(record.msecs):03d}Z"
        fields = {name: _value(name, value) for name, value in getattr(record, "fields", {}).items()}
        if record.exc_info:
            fields["traceback"] = mask(self.formatException(record.exc_info))
        return moment, record.name.removeprefix(f"{ROOT}."), mask(record.getMessage()), fields


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment, name, event, fields = self._parts(record)
        line = {"time": moment, "level": record.levelname.lower(), "process": self._process,
                "logger": name, "event": event}
        return json.dumps({**line, **{key: fields[key] for key in fields if key not in line}}, default=str)


class _Text(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment, name, event, fields = self._parts(record)
        traceback = fields.pop("traceback", "")
        line = f"{moment} {record.levelname:<7} {self._process} {name}: {event}"
        line += "".join(f" {key}={value if _PLAIN.match(str(value)) else json.dumps(str(value))}"
                        for key, value in fields.items())
        line = _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), line)
        return f"{line}\n{traceback}" if traceback else line


def _value(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name) and value:
        return "***"
    return mask(value) if isinstance(value, str) else value
