"""What a worker asks of PostgreSQL: how to open, serve and refuse connections. Heavy modules are imported when used."""

from __future__ import annotations

from typing import Any

from shardproxy.errors import ClientError

__all__ = ["Proxying"]

ALPN = ("postgresql",)


class Proxying:
    """The part of the dialect that serves clients; see ``dialects.base.ServingDialect``."""

    alpn = ALPN

    def warm_up(self) -> None:
        """Import and try what the first client would otherwise wait for."""
        from sqlglot import parse_one

        from . import client_link_cy, connect, console, login, server_events, session  # noqa: F401
        from .sql import reads  # noqa: F401

        parse_one("SELECT a FROM t WHERE b = 1", dialect="postgres")
        self.new_router(0).route(b"SELECT a FROM t WHERE b = 1")

    def new_client(self, pump: Any, sock: Any) -> Any:
        """A client connection that has just been accepted."""
        from .client_link_cy import ClientLink

        return ClientLink(pump, sock)

    def arrival(self, link: Any, address: str | None, port: int, local_address: str, local_port: int) -> Any:
        """What ``log_in`` is given of a connection."""
        from .login import Arrival

        return Arrival(link, address, port, local_address, local_port)

    async def log_in(self, arrival: Any, worker: Any, refusal: ClientError | None = None) -> None:
        """From the first byte to the relay; or, once the client can hear it, to ``refusal``."""
        from .login import log_in

        await log_in(arrival, worker, refusal)

    async def console(self, arrival: Any, startup: Any, worker: Any) -> None:
        """Serve the admin console on this connection."""
        from .console import serve

        await serve(arrival, startup, worker)

    def new_router(self, index: int) -> Any:
        """A router for one database."""
        from shardproxy.router.router_cy import Router

        return Router(self, index)  # type: ignore[arg-type]

    def new_events(self, database: Any) -> Any:
        """The slow path of the server connections of a database."""
        from .server_events import ServerEvents

        return ServerEvents(database)

    def new_session(self, link: Any, database: Any, user: str, server_user: str, registry: Any) -> Any:
        """The slow path of one client."""
        from shardproxy.session.settings import EMPTY

        link.settings = link.parameters = EMPTY
        link.database = database
        link.router = database.router
        session: Any
        if getattr(database, "layout", None) is not None:
            from .sharded.session import ShardedSession

            session = ShardedSession
        else:
            from .session import PgSession

            session = PgSession
        link.session = session(link, database, user, server_user, EMPTY, registry)
        return link.session

    def held(self, database: Any, tables: Any) -> Any:
        """What of a database's statements touches these tables, which are held."""
        from .sharded.holding import Held

        return Held(database, tables)

    async def connect(self, pump: Any, address: Any, user: str, database: str, credential: Any, tls: Any,
                      wanted: Any = None) -> Any:  # fmt: skip
        """A server connection; see ``connect.connect``."""
        from .connect import connect

        return await connect(pump, address, user, database, credential, tls, wanted)

    async def send_cancel(self, link: Any, tls: Any, timeout: float) -> None:
        """Cancel what a server connection runs."""
        from .connect import send_cancel

        await send_cancel(link, tls, timeout)

    async def aim_at(self, link: Any) -> Any:
        """The connection that a signal to this client has to go to."""
        from .stand_in import aim_at

        return await aim_at(link)

    def server_tls(self, entry: Any) -> Any:
        """The TLS settings towards the servers of a database, loaded."""
        from shardproxy.tls import Holder, load_server_tls

        return Holder(lambda: load_server_tls(entry.server_tls, alpn=ALPN))

    def secret(self, text: str) -> Any:
        """A password, verifier or hash, understood. ValueError if it is damaged."""
        from .auth import Secret

        return Secret.parse(text)

    async def ask_secret(self, server: Any, user: str, password: Any, entry: Any, sql: str, name: str) -> str | None:
        """Run ``auth_query`` for ``name``; what it returns as the password, or None."""
        import asyncpg

        tls = self.server_tls(entry).current
        connection = await asyncpg.connect(
            host=server.unix or server.host, port=server.port, user=user, database=server.dbname,
            password=password.reveal() if password is not None else None,
            ssl=(tls.context if tls.required else ("prefer" if tls.context is not None else False)),
        )  # fmt: skip
        try:
            row = await connection.fetchrow(sql, name)
        finally:
            await connection.close(timeout=2)
        return None if row is None or len(row) < 2 or row[1] is None else str(row[1])
