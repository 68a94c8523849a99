"""The journal of all transfers, in the schema ``shardproxy`` on the coordinator's primary.

Invariants: a record changes only where its version is the one that was read, so of two processes one loses and sees
it; whoever takes the lease raises the version, so a runner that was thought dead cannot save any more. An object (a
slot, a publication, a table) is noted before it is made and crossed out after it is gone. A request is carried out by
the runner, in the order of their ids, and answered in its row.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, cast

import asyncpg

from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ShardproxyError

from .move import Move

__all__ = ["FINAL", "STATES", "Conflict", "Event", "Journal", "JournalError", "Object", "Record", "Request", "State"]

State = Literal["PLANNED", "PREPARED", "COPYING", "CATCHING_UP", "REPLICATING", "VERIFYING", "READY", "READS_SWITCHED",
                "CUTOVER", "SWITCHED", "REVERSED", "RESYNC", "CANCELLED", "DONE"]
STATES: tuple[State, ...] = ("PLANNED", "PREPARED", "COPYING", "CATCHING_UP", "REPLICATING", "VERIFYING", "READY",
                             "READS_SWITCHED", "CUTOVER", "SWITCHED", "REVERSED", "RESYNC", "CANCELLED", "DONE")
FINAL: frozenset[str] = frozenset({"CANCELLED", "DONE"})
"""States that nothing follows."""

ATTEMPTS, PAUSE_S = 60, 0.5
"""A statement on the journal is tried again while the coordinator has no primary, for half a minute."""

_LOCK = 0x5368_7472
"""Of the making of the tables: two processes may start at once."""
_TABLES = """
create schema if not exists shardproxy;
create table if not exists shardproxy.transfers (
    name text primary key, version bigint not null, state text not null, body jsonb not null, runner text,
    lease_until timestamptz, created_at timestamptz not null default now(),
    changed_at timestamptz not null default now());
create table if not exists shardproxy.transfer_log (
    id bigint generated always as identity primary key, name text not null,
    at timestamptz not null default clock_timestamp(), event text not null, fields jsonb not null);
create table if not exists shardproxy.transfer_objects (
    name text not null, place text not null, kind text not null, object text not null,
    made_at timestamptz not null default now(), primary key (name, place, kind, object));
create table if not exists shardproxy.transfer_requests (
    id bigint generated always as identity primary key, name text not null, verb text not null, args jsonb not null,
    asked_at timestamptz not null default now(), answered_at timestamptz, answer jsonb);
create index if not exists transfer_log_name on shardproxy.transfer_log (name, id);
create index if not exists transfer_requests_open on shardproxy.transfer_requests (name, id) where answered_at is null
"""
_READ = """
select name, version, state, body, runner, lease_until, lease_until > clock_timestamp() as alive, created_at, changed_at
  from shardproxy.transfers
"""
_CREATE = """
insert into shardproxy.transfers (name, version, state, body) values ($1, 1, $2, $3)
    on conflict (name) do nothing returning version
"""
_RESTART = """
update shardproxy.transfers set version = version + 1, state = $2, body = $3, runner = null, lease_until = null,
       created_at = now(), changed_at = now()
 where name = $1 and state in ('CANCELLED', 'DONE') returning version
"""
_SAVE = """
update shardproxy.transfers set version = version + 1, state = $3, body = $4, changed_at = clock_timestamp()
 where name = $1 and version = $2 returning version
"""
_LEASE = """
update shardproxy.transfers
   set lease_until = clock_timestamp() + make_interval(secs => $3), runner = $2,
       version = version + case when runner = $2 then 0 else 1 end
 where name = $1 and (runner is null or runner = $2 or runner = $4 or lease_until is null
                      or lease_until < clock_timestamp())
returning version
"""
_RELEASE = "update shardproxy.transfers set runner = null, lease_until = null where name = $1 and runner = $2"
_LOG = "insert into shardproxy.transfer_log (name, event, fields) values ($1, $2, $3)"
_LOGGED = """
select id, at, event, fields from shardproxy.transfer_log where name = $1 and id > $2 order by id limit $3
"""
_NOTE = """
insert into shardproxy.transfer_objects (name, place, kind, object) values ($1, $2, $3, $4) on conflict do nothing
"""
_FORGET = "delete from shardproxy.transfer_objects where name = $1 and place = $2 and kind = $3 and object = $4"
_OBJECTS = """
select name, place, kind, object, made_at from shardproxy.transfer_objects
 where $1::text is null or name = $1 order by made_at, kind, object
"""
_ASK = "insert into shardproxy.transfer_requests (name, verb, args) values ($1, $2, $3) returning id"
_ASKED = """
select id, name, verb, args, answered_at, answer from shardproxy.transfer_requests
 where name = $1 and answered_at is null order by id
"""
_REQUEST = "select id, name, verb, args, answered_at, answer from shardproxy.transfer_requests where id = $1"
_ANSWER = """
update shardproxy.transfer_requests set answered_at = clock_timestamp(), answer = $2
 where id = $1 and answered_at is null
"""
_SETTINGS = """
set synchronous_commit = on; set search_path = pg_catalog; set statement_timeout = '30s'; set lock_timeout = '10s'
"""
_MISSING = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)
_LOST = (OSError, TimeoutError, LinkError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError,
         asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError,
         asyncpg.ReadOnlySQLTransactionError, asyncpg.InternalClientError)


class JournalError(ShardproxyError):
    """The journal cannot be read or written."""


class Conflict(JournalError):
    """Somebody else has changed the record, or there is one of that name already."""


@dataclass(frozen=True)
class Record:
    """One transfer as it was read. ``body``: see ``Body`` keys in ``report``; ``move`` is ``Move.to_json()``."""

    name: str
    version: int
    state: State
    body: Mapping[str, Any]
    runner: str | None = None
    alive: bool = False
    """The lease of its runner has not ended."""
    created_at: datetime | None = None
    changed_at: datetime | None = None

    @property
    def move(self) -> Move:
        """What is moved."""
        return Move.from_json(self.body["move"])

    def with_body(self, **changes: Any) -> Record:
        """With other values in its body; not saved by this."""
        return replace(self, body={**self.body, **changes})


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the log."""

    id: int
    at: datetime
    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Object:
    """Something that a transfer made on a server, or was about to make. ``name``: the transfer's."""

    name: str
    place: str
    kind: str
    object: str
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A verb that somebody asked for. ``answer`` has ``code`` (an exit code) and ``text``."""

    id: int
    name: str
    verb: str
    args: Mapping[str, Any]
    answer: Mapping[str, Any] | None = None


class Journal:
    """``connect`` gives a new asyncpg connection to the coordinator's primary of the moment, and may raise."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], *, attempts: int = ATTEMPTS) -> None:
        self._connect, self._attempts = connect, attempts
        self._connection: Any = None
        self._lock = asyncio.Lock()
        self._made = False

    async def create(self, name: str, state: State, body: Mapping[str, Any]) -> Record:
        """A new record, or a finished one of that name anew. Conflict: it is under way."""
        text = json.dumps(body)
        version = await self._value(_CREATE, name, state, text)
        if version is None:
            version = await self._value(_RESTART, name, state, text)
        if version is None:
            raise Conflict(f"there is a transfer {name} already")
        return Record(name, version, state, json.loads(text))

    async def load(self, name: str) -> Record | None:
        """The record of that name."""
        found = await self._rows(f"{_READ} where name = $1", name)
        return _record(found[0]) if found else None

    async def records(self) -> list[Record]:
        """All, the oldest first."""
        return [_record(row) for row in await self._rows(f"{_READ} order by created_at, name")]

    async def save(self, record: Record) -> Record:
        """Store state and body. Conflict: the stored version is another one."""
        version = await self._value(_SAVE, record.name, record.version, record.state, json.dumps(record.body))
        if version is None:
            raise Conflict(f"the transfer {record.name} was changed by another process")
        return replace(record, version=version)

    async def take_lease(self, name: str, runner: str, seconds: float, dead: str = "") -> bool:
        """Become, or stay, the one who runs it. False: another one is alive. Load the record again after the first.

        ``dead``: a runner that is known to be dead, although its lease has not ended.
        """
        return await self._value(_LEASE, name, runner, seconds, dead) is not None

    async def release_lease(self, name: str, runner: str) -> None:
        """Let another process run it at once."""
        await self._value(_RELEASE, name, runner)

    async def log(self, name: str, event: str, **fields: Any) -> None:
        """Write a line of the log."""
        await self._value(_LOG, name, event, json.dumps(fields, default=str))

    async def logged(self, name: str, after: int = 0, limit: int = 10_000) -> list[Event]:
        """Lines of the log with ids above ``after``."""
        return [Event(row["id"], row["at"], row["event"], json.loads(row["fields"]))
                for row in await self._rows(_LOGGED, name, after, limit)]

    async def note_object(self, name: str, place: str, kind: str, what: str) -> None:
        """To be called, and awaited, before the object is made."""
        await self._value(_NOTE, name, place, kind, what)

    async def forget_object(self, name: str, place: str, kind: str, what: str) -> None:
        """The object is gone."""
        await self._value(_FORGET, name, place, kind, what)

    async def objects(self, name: str | None = None) -> list[Object]:
        """What a transfer, or all of them, have made and not dropped, the oldest first."""
        return [Object(**dict(row)) for row in await self._rows(_OBJECTS, name)]

    async def request(self, name: str, verb: str, args: Mapping[str, Any]) -> int:
        """Ask the runner for something; the id of the request."""
        return cast(int, await self._value(_ASK, name, verb, json.dumps(args)))

    async def requests(self, name: str) -> list[Request]:
        """Requests without an answer, in their order."""
        return [_request(row) for row in await self._rows(_ASKED, name)]

    async def answered(self, number: int) -> Request:
        """One request, with its answer if there is one."""
        return _request((await self._rows(_REQUEST, number))[0])

    async def answer(self, number: int, code: int, text: str, **fields: Any) -> None:
        """Answer a request; a second answer changes nothing."""
        await self._value(_ANSWER, number, json.dumps({"code": code, "text": text, **fields}, default=str))

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _value(self, sql: str, *args: Any) -> Any:
        rows = await self._rows(sql, *args)
        return rows[0][0] if rows else None

    async def _rows(self, sql: str, *args: Any) -> Sequence[Any]:
        """Run one statement; again on a new connection if the old one was lost.

        A statement whose answer was lost may run twice. All of them bear that: a save then finds another version, and
        is a conflict, after which the runner reads the record again.
        """
        async with self._lock:
            for number in range(1, self._attempts + 1):
                try:
                    return cast("Sequence[Any]", await (await self._open()).fetch(sql, *args))
                except _MISSING:
                    await self._make()
                except _LOST as error:
                    await self.close()
                    if number == self._attempts:
                        raise JournalError(f"the coordinator cannot be reached: {error or type(error).__name__}") \
                            from error
                    await asyncio.sleep(PAUSE_S)
                except asyncpg.PostgresError as error:
                    raise JournalError(f"schema shardproxy on the coordinator: {error}") from error
        raise JournalError("schema shardproxy on the coordinator cannot be made")

    async def _open(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
            await self._connection.execute(_SETTINGS)
        return self._connection

    async def _make(self) -> None:
        """Make the tables."""
        async with self._connection.transaction():
            await self._connection.execute(f"select pg_advisory_xact_lock({_LOCK})")
            await self._connection.execute(_TABLES)


def _record(row: Any) -> Record:
    return Record(row["name"], row["version"], row["state"], json.loads(row["body"]), row["runner"],
                  bool(row["alive"]), row["created_at"], row["changed_at"])


def _request(row: Any) -> Request:
    answer = row["answer"]
    return Request(row["id"], row["name"], row["verb"], json.loads(row["args"]),
                   None if answer is None else json.loads(answer))
