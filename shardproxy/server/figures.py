"""What a worker answers to ``show(what)``: one TypedDict per noun, added up over the workers by the parent.

Counters only grow while a worker lives; the parent keeps the totals of workers that died. Times of day are
seconds since 1970 (float), durations whole microseconds, sizes bytes. What a worker does not know is 0 or "".

    what          list of
    "clients"     ClientFigures        one per client connection, also those that are still logging in
    "servers"     ServerFigures        one per server connection
    "pools"       PoolFigures          one per (database, user) that has clients or server connections
    "stats"       StatsFigures         one per database
    "routes"      RouteFigures         one per cached route, most used first, at most `ROUTES_SHOWN_MAX`
    "prepared"    PreparedFigures      one per shared prepared statement
    "transactions" TransactionFigures  one per open transaction
    "counts"      CountFigures         one; cheap, whatever the number of connections
"""

from __future__ import annotations

from typing import TypedDict

__all__ = ["COUNTERS", "ROUTES_SHOWN_MAX", "WORKERS_MAX", "ClientFigures", "CountFigures", "PoolFigures",
           "PreparedFigures", "RouteFigures", "ServerFigures", "StatsFigures", "TransactionFigures",
           "connection_id", "worker_of"]

WORKERS_MAX = 256
ROUTES_SHOWN_MAX = 500


def connection_id(worker_index: int, number: int) -> int:
    """The id of a worker's `number`-th connection (client or server): unique over the workers."""
    return number * WORKERS_MAX + worker_index


def worker_of(connection: int) -> int:
    """The index of the worker that owns the connection with this id."""
    return connection % WORKERS_MAX


class CountFigures(TypedDict):
    clients: int                # all client connections
    login_clients: int          # those of them that have not logged in yet
    servers: int                # all server connections


class ClientFigures(TypedDict):
    id: int                     # connection_id(worker_index, n)
    user: str
    database: str
    replication: str            # none | physical | logical
    state: str                  # login | idle | active | waiting | active_cancel_req | waiting_cancel_req
    addr: str                   # "unix" on a Unix socket
    port: int
    local_addr: str
    local_port: int
    connect_time: float
    request_time: float         # of the latest statement; 0 if none yet
    wait_us: int                # how long it has been waiting for a server connection; 0 if it is not
    link: int                   # id of the server connection it uses now, or 0
    remote_pid: int             # Unix socket only
    tls: str                    # e.g. "TLSv1.3/TLS_AES_256_GCM_SHA384", "" without TLS
    application_name: str
    prepared_statements: int
    transaction: bool           # inside a transaction block
    pinned: str                 # why it holds its server connection between transactions; "" if it does not
    consistency: str


class ServerFigures(TypedDict):
    id: int                     # connection_id(worker_index, n), never equal to a client's
    user: str
    database: str               # as in the configuration
    server: str                 # server id of the topology, e.g. "shop/main/main/0"
    replication: str            # of its client: none | physical | logical
    state: str                  # new | active | idle | used | tested | active_cancel | being_canceled
    addr: str
    port: int
    local_addr: str
    local_port: int
    connect_time: float
    request_time: float
    close_needed: bool          # will be closed as soon as it is released
    link: int                   # id of the client that uses it, or 0
    remote_pid: int             # process id on the server
    tls: str
    application_name: str
    prepared_statements: int
    pinned: str


class PoolFigures(TypedDict):
    database: str
    user: str
    pool_mode: str
    cl_active: int              # linked to a server connection, or idle
    cl_waiting: int
    cl_active_cancel_req: int
    cl_waiting_cancel_req: int
    sv_active: int
    sv_active_cancel: int
    sv_being_canceled: int
    sv_idle: int
    sv_used: int
    sv_tested: int
    sv_login: int
    maxwait_us: int             # age of the oldest waiting client


class StatsFigures(TypedDict):
    """Counters since the worker began, per database."""

    database: str
    server_assignment_count: int  # times a server connection was given to a client
    xact_count: int
    query_count: int
    bytes_received: int         # from clients
    bytes_sent: int             # to clients
    xact_time_us: int           # server connection held by a transaction
    query_time_us: int          # a server was executing
    wait_time_us: int           # clients waited for a server connection
    client_parse_count: int
    server_parse_count: int
    bind_count: int
    primary_reads: int          # statements proven to be reads that went to a primary
    replica_reads: int
    primary_writes: int
    retried_reads: int          # run again elsewhere because a server failed before the first byte
    held_statements: int        # waited for a failover
    route_hits: int
    route_misses: int
    client_errors: int          # ErrorResponses made by the proxy itself
    slow_statements: int


COUNTERS: tuple[str, ...] = tuple(name for name in StatsFigures.__annotations__ if name != "database")
"""Names of the figures in StatsFigures that are added up."""


class RouteFigures(TypedDict):
    database: str
    digest: str
    text: str                   # the statement with its literals replaced, at most 500 characters
    kind: str                   # command tag word
    target: str                 # "read" | "write" | "primary"
    why: str                    # what made it so: "function now() is stable", "hint", "FOR UPDATE", ...
    hits: int


class PreparedFigures(TypedDict):
    database: str
    user: str
    name: str                   # on the servers
    text: str                   # at most 500 characters
    clients: int
    servers: int                # server connections that have it now


class TransactionFigures(TypedDict):
    client: int
    user: str
    database: str
    server: str                 # server id, "" while the transaction has not reached one yet
    state: str                  # active | idle | failed | pinned
    begin_time: float
    request_time: float
    read_only: bool
    remote_pid: int
