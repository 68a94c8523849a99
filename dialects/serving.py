"""What a worker asks of a dialect to serve its clients; ``dialects.serving(name)`` gives it.

The objects that pass through (links, sessions, arrivals, credentials) are the dialect's own; the engine only hands
them on.
"""

from __future__ import annotations

from typing import Any, Protocol

from shardproxy.errors import ClientError

__all__ = ["Serves"]


class Serves(Protocol):
    """See the module; implemented by ``dialects.postgres.proxying``."""

    name: str
    alpn: tuple[str, ...]

    def warm_up(self) -> None:
        """Import and try what the first client would otherwise wait for."""

    def new_client(self, pump: Any, sock: Any) -> Any:
        """A client connection that has just been accepted."""

    def arrival(self, link: Any, address: str | None, port: int, local_address: str, local_port: int) -> Any:
        """What ``log_in`` is given of a connection."""

    async def log_in(self, arrival: Any, worker: Any, refusal: ClientError | None = None) -> None:
        """From the first byte to the relay; or, once the client can hear it, to ``refusal``."""

    async def console(self, arrival: Any, startup: Any, worker: Any) -> None:
        """Serve the admin console on this connection."""

    def new_router(self, index: int) -> Any:
        """A router for one database."""

    def new_events(self, database: Any) -> Any:
        """The slow path of the server connections of a database."""

    def new_session(self, link: Any, database: Any, user: str, server_user: str, registry: Any) -> Any:
        """The slow path of one client."""

    def held(self, database: Any, tables: Any) -> Any:
        """What tells which statements touch these tables, (schema, name), of a database of the worker."""

    async def connect(self, pump: Any, address: Any, user: str, database: str, credential: Any, tls: Any,
                      wanted: Any = None) -> Any:
        """A server connection; ``wanted``: as this one client asked for it. Raises ServerError or OSError."""

    async def send_cancel(self, link: Any, tls: Any, timeout: float) -> None:
        """Cancel what a server connection runs."""

    async def aim_at(self, link: Any) -> Any:
        """(server connection, what has ``sent`` set when a signal to it is sent) of a client, or None."""

    def server_tls(self, entry: Any) -> Any:
        """The TLS settings towards the servers of a database, loaded."""

    def secret(self, text: str) -> Any:
        """A password, verifier or hash, understood. ValueError if it is damaged."""

    async def ask_secret(self, server: Any, user: str, password: Any, entry: Any, sql: str, name: str) -> str | None:
        """Run ``auth_query`` for ``name``; what it returns as the password, or None."""
