"""One server while it is checked: what it said, and connections to it.

Invariant: a connection is always closed, and every way in which it can fail is in ``FAILURES``.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from shardproxy.config.model import ANY, Database, ServerRef
from shardproxy.tls import load_server_tls

__all__ = ["FAILURES", "Seen", "connect"]

CONNECT_S = 10.0
MAINTENANCE = "postgres"
FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError)


@dataclass(slots=True)
class Seen:
    """What a server said; ``facts`` is ``None`` if it could not be asked, and then ``failure`` says why."""

    server: ServerRef
    facts: Any = None
    failure: str = ""
    roles: dict[str, bool] | None = None
    """Roles that can log in: may they connect to this database?"""
    verifiers: dict[str, str | None] | None = None
    """Their verifiers, if ``server_user`` may read them."""

    @property
    def subject(self) -> str:
        """What findings about it are listed under."""
        return f"{self.server.id} {self.server.unix or self.server.host}:{self.server.port}"


@asynccontextmanager
async def connect(database: Database, server: ServerRef, *, user: str | None = None, password: str | None = None,
                  dbname: str | None = None) -> AsyncIterator[Any]:
    """A connection as ``server_user``, or as another user with his password. Raises one of ``FAILURES``."""
    if user is None and database.server_password is not None:
        password = database.server_password.reveal()
    connection = await asyncpg.connect(
        host=server.unix or server.host, port=server.port, user=user or database.server_user, password=password or "",
        database=dbname or (server.dbname if server.dbname != ANY else MAINTENANCE), ssl=_tls(database, server),
        timeout=CONNECT_S, command_timeout=CONNECT_S, statement_cache_size=0,
        server_settings={"application_name": "shardproxy check"})
    try:
        yield connection
    finally:
        try:
            await connection.close(timeout=1)
        except FAILURES:
            connection.terminate()


def _tls(database: Database, server: ServerRef) -> ssl.SSLContext | str | bool:
    if server.unix is not None:
        return False
    mode = database.server_tls.mode
    return mode if mode == "prefer" else load_server_tls(database.server_tls).context or False
