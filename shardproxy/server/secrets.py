"""What users prove themselves with: from the configuration, or asked of the database (``auth_query``).

Invariant: a secret is never logged and never leaves the worker; what ``auth_query`` answers is kept for seconds only.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from shardproxy import dialects
from shardproxy.errors import ClientError
from shardproxy.log import get_logger

__all__ = ["Secrets"]

_log = get_logger(__name__)
KEPT_S = 5.0
KEPT_MAX = 10_000


class Secrets:
    """Looks secrets up for one worker."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._asked: dict[tuple[str, str], tuple[float, Any]] = {}
        self._dialect = dialects.serving("postgres")
        self._own = {name: self._parse(name, user) for name, user in worker.config.auth.users.items()}

    def _parse(self, name: str, user: Any) -> Any:
        text = user.verifier or user.password
        secret = self._dialect.secret(text.reveal()) if text else None
        if secret is not None:
            secret.verifier(name, self._worker.salt_key)  # derived now, not at the first login
        return secret

    async def of(self, user: str, database: str) -> Any:
        """The user's secret, or None."""
        auth = self._worker.config.auth
        if user in auth.users or not auth.auth_query:
            return self._own.get(user)
        where = auth.auth_dbname or database
        kept = self._asked.get((user, where))
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        secret = await self._ask(user, where, auth)
        if len(self._asked) >= KEPT_MAX:
            self._asked.clear()
        self._asked[(user, where)] = (time.monotonic() + KEPT_S, secret)
        return secret

    async def _ask(self, user: str, database: str, auth: Any) -> Any:
        entry = self._worker.config.database_for(database)
        view = self._worker.view.database(database) if entry is not None else None
        server = view.primary_server or next(iter(view.servers), None) if view is not None else None
        if entry is None or server is None:
            return None
        asker = auth.auth_user or entry.server_user
        own = auth.users.get(asker)
        password = (own.server_password or own.password) if own is not None else entry.server_password
        try:
            async with asyncio.timeout(self._worker.config.pool.server_connect_timeout or 15):
                text = await self._dialect.ask_secret(server, asker, password, entry, auth.auth_query, user)
        except Exception as error:  # any failure of the lookup is the same to the client
            _log.error("auth_query failed", database=database, error=str(error))
            raise ClientError("08006", "the user could not be looked up") from None
        try:
            return self._dialect.secret(text) if text else None
        except ValueError as error:
            _log.error("auth_query returned what is no password", user=user, error=str(error))
            return None

    def towards_server(self, user: Any, credential: Any) -> Any:
        """What logs in to the servers for a client: configured, else what the client itself proved."""
        configured = user.server_password if user is not None else None
        if configured is not None:
            return self._dialect.secret(configured.reveal()).server_credential(None)
        return credential
