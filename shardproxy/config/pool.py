"""[pool]: server connections, who may use them and for how long. Names and meanings are PgBouncer's
where it has them.

Invariant: every limit holds over all workers together; 0 switches a limit or a timeout off.
"""

from __future__ import annotations

from typing import Literal

from .listen import TcpOptions
from .values import Count, Seconds, setting

__all__ = ["Pool", "PoolMode"]

PoolMode = Literal["transaction", "session"]


class Pool(TcpOptions):
    """Defaults of all pools. A pool belongs to one server and one user on it."""

    mode: PoolMode = setting(
        "transaction",
        "When a server connection goes back to the pool: at the end of a transaction, or when the client "
        "leaves.")
    size: int = setting(20, "Server connections of one pool.", ge=1, strict=True)
    min_size: Count = setting(0, "Server connections of a used pool that are kept open when idle.")
    reserve_size: Count = setting(
        0,
        "Server connections above size that a pool may open when a client has waited for reserve_timeout.")
    reserve_timeout: Seconds = setting(
        5.0, "How long a client waits before the reserve is used. 0: no reserve.")
    max_db_connections: Count = setting(
        0, "Server connections of one database to one server, all users together. 0: no limit.")
    max_user_connections: Count = setting(
        0, "Server connections of one user, all databases together. 0: no limit.")
    max_client_conn: int = setting(10_000, "Client connections, all listeners together.", ge=1, strict=True)
    max_db_client_connections: Count = setting(0, "Client connections of one database. 0: no limit.")
    max_user_client_connections: Count = setting(0, "Client connections of one user. 0: no limit.")
    query_wait_timeout: Seconds = setting(
        120.0, "How long a statement may wait for a server connection. 0: no limit.")
    server_idle_timeout: Seconds = setting(
        600.0, "An unused server connection is closed after this. 0: never.")
    server_lifetime: Seconds = setting(
        3600.0, "A server connection is closed at its next release after this. 0: never.")
    server_connect_timeout: Seconds = setting(15.0, "Time to connect and log in to a server. 0: no limit.")
    server_login_retry: Seconds = setting(
        1.0,
        "Time between attempts after a server refused or failed. (PgBouncer: 15; shorter here, because "
        "health checks keep the load off a dead server.)")
    client_login_timeout: Seconds = setting(60.0, "Time that a client has to log in. 0: no limit.")
    client_idle_timeout: Seconds = setting(
        0.0, "A client that sends nothing for this long is closed. 0: never.")
    idle_transaction_timeout: Seconds = setting(
        0.0, "A client that is idle inside a transaction for this long is closed. 0: never.")
    transaction_timeout: Seconds = setting(0.0, "A transaction that lasts longer is ended. 0: never.")
    query_timeout: Seconds = setting(0.0, "A statement that lasts longer is cancelled. 0: never.")
    cancel_abandoned: Literal["uncommitted", "all"] = setting(
        "uncommitted",
        "What is cancelled at the server when its client has gone. uncommitted: what would be rolled back, or "
        "changes nothing: reads, and transactions that are not being committed. all: also statements that are "
        "transactions of their own; never a COMMIT.")
    cancel_wait_timeout: Seconds = setting(
        10.0, "How long a cancel request may wait for a connection. 0: no limit.")
    max_prepared_statements: int = setting(
        500,
        "Prepared statements kept on one server connection, the least recently used dropped first.",
        ge=1, strict=True)
    server_reset_query: str | None = setting(
        None,
        "What is run on a server connection before another client gets it in session mode. Default: the "
        "dialect's own (PostgreSQL: DISCARD ALL). An empty text: nothing.")
