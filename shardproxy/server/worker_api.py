"""What parent and worker ask of each other over the control channel: names, parameters and meanings.

``handlers(obj, WorkerApi)`` and ``handlers(obj, ParentApi)`` turn an object that implements one of them into
the handler table of an ``Endpoint``.

The life of a worker: the parent starts ``python -m shardproxy.server.worker --control FD --board FD
--index N --listen JSON`` (JSON: a list of ``[fd, dialect, address]``) and calls ``start``, then ``facts``,
``enable``, ``pause`` and ``layout`` for what holds already, then ``topology``: from then on the worker accepts
clients, and calls ``ready``. At end of file on the control channel a worker exits at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from shardproxy.server.control import Handler

__all__ = ["DRAIN_CLIENTS", "DRAIN_NOW", "DRAIN_SERVERS", "TOKEN", "ParentApi", "PoolKey", "WorkerApi",
           "handlers"]

PoolKey = tuple[str, str, str]
"""(database, server id, user on the server): a list of three texts in JSON."""

TOKEN = ""
"""In the place of a server's id: not a connection, but the right of one session to hold those of several pools."""

DRAIN_SERVERS, DRAIN_CLIENTS, DRAIN_NOW = "servers", "clients", "now"
"""How to shut down: idle clients are closed and transactions may end; or clients leave by themselves; or
everything is closed at once."""


class WorkerApi(Protocol):
    """Implemented by the worker, called by the parent."""

    async def start(self, config_json: str, worker_index: int, secrets: Mapping[str, str]) -> None:
        """``Config.from_worker_json(config_json)``; `secrets` has "boot": 32 hex digits, one for all."""

    async def reload(self, config: str) -> None:
        """A new configuration in the same form; what needs a restart has been left as it was."""

    async def topology(self, view: Mapping[str, Any]) -> None:
        """A new snapshot of servers and roles (contract: topology view)."""

    async def facts(self, database: str, facts: Mapping[str, Any], epoch: int) -> None:
        """What the catalog of a database says, for its router."""

    async def layout(self, database: str, layout: Mapping[str, Any]) -> None:
        """Which table of a database lives where (``Layout.to_json``)."""

    async def show(self, what: str) -> list[dict[str, Any]]:
        """Figures, see figures.py."""

    async def kill(self, client_id: int) -> bool:
        """Close a client (57P01) and the server connection it uses. False: no such client."""

    async def kill_database(self, database: str | None) -> int:
        """Close all clients and server connections of a database (None: of all); says how many clients."""

    async def pause(self, database: str | None) -> None:
        """Give out no server connection and close those released; returns when none is left in use."""

    async def resume(self, database: str | None) -> None:
        """End pause."""

    async def hold_tables(self, database: str, transfer: str, tables: Sequence[Sequence[str]], seconds: float,
                          asking: int = 0) -> bool:
        """Let what touches these tables wait. Answers when nothing is under way on them; False: not within `seconds`.
        What the client with the id `asking` does is no matter.

        They stay held until release_tables, or, should that never come, some seconds later.
        """

    async def release_tables(self, database: str, transfer: str) -> None:
        """End hold_tables."""

    async def set_moving(self, database: str, moving: Mapping[str, tuple[str, Sequence[Sequence[str]]]]) -> None:
        """All transfers of a database that are ready to switch, or have: their tools and tables. No DDL on those."""

    async def enable(self, database: str, enabled: bool) -> None:
        """Refuse (57P03) or allow new clients of a database."""

    async def reconnect(self, database: str | None) -> None:
        """Mark every server connection to be closed when it is released (idle ones: now)."""

    async def wait_close(self, database: str | None) -> None:
        """Returns when no server connection is marked any more."""

    async def drain(self, server_id: str) -> None:
        """Close idle connections to a server now, others when released. The topology keeps new ones away."""

    async def cancel(self, pid: int, secret_hex: str) -> bool:
        """Cancel the statement of the client with this key. False: not one of ours."""

    async def aim(self, pid: int) -> list[Any] | None:
        """Another worker's client is about to signal the client with this id: [process id, address] of the server
        connection that serves it or stands in for it, until ``signal_sent_to``. None: not one of ours."""

    async def signal_sent_to(self, pid: int) -> None:
        """End aim."""

    async def vacate(self, names: Sequence[str]) -> None:
        """Close idle connections to databases of these names."""

    async def shutdown(self, grace_s: float | None, mode: str) -> None:
        """Stop accepting, drain as `mode` says for at most `grace_s` (None: no limit), then exit 0."""

    async def stop_accepting(self) -> None:
        """Close the listening sockets, nothing else (takeover)."""

    async def permit(self, pool: PoolKey) -> None:
        """A notification: a permit is set aside for this worker for a moment; call ``acquire`` to get it."""

    async def reclaim(self, pool: PoolKey, count: int, owed: bool = False) -> int:
        """Close up to `count` idle connections of a pool, release their permits, and say how many they were.

        `owed`: if fewer were idle, close the missing ones as soon as they are released, even if clients here
        wait: another worker has less than its share.
        """

    async def transactions_told(self, database: str, installation: str, incarnation: str,
                                in_doubt: list[str]) -> None:
        """What transactions over several places of a database are named by, and places that must not be used now."""

    async def distributed(self) -> list[dict[str, Any]]:
        """Transactions with connections to places, and the names of those that are being committed.

        {"database", "transaction": number or 0, "legs": [[place, process id], ...], "gid": key or ""}
        """

    async def deadlocked(self, transaction: int, detail: str) -> bool:
        """Its statement is about to be cancelled: report a deadlock. False: it has ended."""

    async def hold_commits(self, seconds: float) -> bool:
        """Let no commit over several places begin, wait for those under way. False: not in time, nothing is held."""

    async def release_commits(self) -> None:
        """End hold_commits."""

    async def ping(self) -> str:
        """Anything; proves that the event loop turns."""


class ParentApi(Protocol):
    """Implemented by the parent, called by a worker."""

    async def ready(self, listeners: list[str]) -> None:
        """The worker accepts clients on these addresses."""

    async def acquire(self, pool: PoolKey, priority: int = 0) -> bool:
        """May this worker open one more connection of a pool? Answers at once.

        After False the worker hears ``permit`` when it is its turn. `priority` above 0: a client has waited
        longer than reserve_timeout, so that the reserve may be used. ``TOKEN`` as the server: see there.
        """

    async def release(self, pool: PoolKey) -> None:
        """A connection that had a permit is closed (or was never opened)."""

    async def admit(self, database: str, user: str) -> str:
        """May one more client come in? Empty: yes, and it is counted. Else the limit that is reached."""

    async def count(self, database: str, user: str) -> None:
        """A client that is there, and was not counted: there was no limit when it came."""

    async def left(self, database: str, user: str) -> None:
        """A client that was counted is gone."""

    async def suspect(self, database: str, server_id: str, reason: str) -> None:
        """A connection attempt failed or a connection died: check that server now."""

    async def need(self, database: str) -> None:
        """A client asked for a database of the wildcard entry: returns when workers have its facts, or soon."""

    async def ddl(self, database: str) -> None:
        """The catalog changed (the board says so already): it is read again, the facts follow."""

    async def admin(self, sql: str, user: str, database: str) -> dict[str, Any]:
        """Run a console command.

        {"columns": [[name, type], ...], "rows": [[value, ...], ...], "tag": text}, with "columns": [] for a
        command without a table, and perhaps "notices": [text, ...] to be sent before it;
        or {"error": [sqlstate, message, hint]}.
        """

    async def cancel(self, pid: int, secret_hex: str) -> bool:
        """A cancel request that belongs to another worker: pass it on."""

    async def aim(self, pid: int) -> Sequence[Any] | None:
        """A client is about to signal another worker's client with this id: see ``WorkerApi.aim``."""

    async def signal_sent(self, pid: int) -> None:
        """The signal is sent."""

    async def vacate(self, names: Sequence[str]) -> None:
        """Databases of these names are about to be dropped or copied: no worker keeps idle connections to them."""

    async def settle_layout(self, database: str) -> None:
        """DDL that changed the layout is committed: stored, and known to all workers, when this returns."""

    async def hold_layout(self, database: str, client: int, tables: Sequence[Sequence[str]],
                          quiet: bool) -> Sequence[Any]:
        """A client's DDL on these tables is about to be committed: nobody begins anything on them before
        ``release_layout``. [name of the hold, whether nothing is under way on them]; `quiet`: wait for that a little.
        """

    async def release_layout(self, name: str) -> None:
        """End hold_layout."""

    async def catalog_known(self, database: str) -> None:
        """DDL is committed: when this returns, all workers know the catalog as it is now."""

    async def resolve(self, database: str, gid: str, places: list[str]) -> dict[str, Any]:
        """What became of a transaction that the worker could not finish at these places; finish it as far as possible.

        {"committed": true, false, or null (not known now), "left": [place, ...]}
        """

    async def forget(self, database: str, keys: list[str]) -> None:
        """These transactions are committed everywhere: their decisions can be deleted."""

    async def log_event(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        """Write a record to the parent's log."""


def handlers(target: object, api: type) -> dict[str, Handler]:
    """The methods of `target` that `api` names, as a handler table."""
    names = [name for name in vars(api) if not name.startswith("_")]
    return {name: getattr(target, name) for name in names}
