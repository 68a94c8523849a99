"""The console commands that do something. Each is a function of the state and the command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from shardproxy.errors import ClientError
from shardproxy.server.command import Command, Word, suggest
from shardproxy.server.figures import worker_of
from shardproxy.server.settings import changed
from shardproxy.server.state import State
from shardproxy.server.table import Reply
from shardproxy.server.worker_api import DRAIN_CLIENTS, DRAIN_NOW, DRAIN_SERVERS

__all__ = ["VERBS", "Verb"]


@dataclass(frozen=True, slots=True)
class Verb:
    """One command: how it is written, what it is for, what does it."""

    usage: str
    purpose: str
    run: Callable[[State, Command], Awaitable[Reply]]


async def _pause(state: State, command: Command) -> Reply:
    database = _database(state, command.argument("database"))
    _mark(state, database, True)
    await state.workers.broadcast("pause", timeout=None, database=database)
    return Reply(tag="PAUSE")


async def _resume(state: State, command: Command) -> Reply:
    database = _database(state, command.argument("database"))
    if database is None and not state.paused_all and not state.paused:
        raise ClientError("55000", "nothing is paused")
    if database is not None and not state.is_paused(database):
        raise ClientError("55000", f"{database} is not paused")
    if database is not None and state.paused_all:
        raise ClientError("55000", "all databases were paused together", hint="RESUME without a name")
    _mark(state, database, False)
    await state.workers.broadcast("resume", database=database)
    return Reply(tag="RESUME")


async def _able(state: State, command: Command) -> Reply:
    name = command.required("database")
    database = _database(state, name)
    assert database is not None
    enabled = command.verb == "ENABLE"
    (state.disabled.discard if enabled else state.disabled.add)(database)
    await state.workers.broadcast("enable", database=database, enabled=enabled)
    return Reply(tag=command.verb)


async def _reconnect(state: State, command: Command) -> Reply:
    database = _database(state, command.argument("database"))
    await state.workers.broadcast("reconnect", database=database)
    return Reply(tag="RECONNECT")


async def _wait_close(state: State, command: Command) -> Reply:
    database = _database(state, command.argument("database"))
    await state.workers.broadcast("wait_close", timeout=None, database=database)
    return Reply(tag="WAIT_CLOSE")


async def _kill(state: State, command: Command) -> Reply:
    """KILL 1027 and KILL CLIENT 1027: a client. KILL [db]: all clients and server connections, as in PgBouncer."""
    words = list(command.words)
    if words and (words[0].keyword == "CLIENT" and len(words) == 2):
        words.pop(0)
        return await _kill_client(state, words[0])
    if command.verb == "KILL_CLIENT":
        return await _kill_client(state, Word(command.required("client id")))
    name = command.argument("client id or database")
    if name is not None and words[0].plain and name.isdigit():
        return await _kill_client(state, words[0])
    database = _database(state, name)
    _mark(state, database, True)
    await asyncio.gather(  # in this order: paused first, so that no one gets in again
        state.workers.broadcast("pause", timeout=None, database=database),
        state.workers.broadcast("kill_database", database=database))
    return Reply(tag="KILL", notices=["clients wait until RESUME"])


async def _kill_client(state: State, word: Word) -> Reply:
    if not word.value.isdigit() or len(word.value) > 18:
        raise ClientError("22023", f"{word.value!r} is not the id of a client", hint="see column id of SHOW CLIENTS")
    client = int(word.value)
    index = worker_of(client)
    alive = {process[0] for process in state.workers.processes if process[1]}
    if index not in alive or not await state.workers.call(index, "kill", client_id=client):
        raise ClientError("42704", f"there is no client {client}", hint="see column id of SHOW CLIENTS")
    return Reply(tag="KILL")


async def _drain(state: State, command: Command) -> Reply:
    server = _server(state, command.required("server"))
    await state.actions.drain(server, on=command.verb == "DRAIN")
    return Reply(tag=command.verb)


async def _ban(state: State, command: Command) -> Reply:
    words = [word.value for word in command.words]
    if not 1 <= len(words) <= 2 or (len(words) == 2 and not words[1].isdigit()):
        raise ClientError("42601", "BAN needs a server, and perhaps seconds", hint="BAN shop/main/main/1 600")
    await state.actions.ban(_server(state, words[0]), float(words[1]) if len(words) == 2 else None)
    return Reply(tag="BAN")


async def _unban(state: State, command: Command) -> Reply:
    await state.actions.unban(_server(state, command.required("server")))
    return Reply(tag="UNBAN")


async def _reload(state: State, command: Command) -> Reply:
    command.argument("nothing")
    result = await state.actions.reload()
    notices = [f"applied: {change}" for change in result.applied]
    notices += [f"needs a restart, not applied: {change}" for change in result.needs_restart]
    return Reply(tag="RELOAD", notices=notices or ["nothing has changed"])


async def _set(state: State, command: Command) -> Reply:
    words = [word.value for word in command.words]
    if len(words) < 3 or words[1].upper() not in ("=", "TO"):
        raise ClientError("42601", "SET needs a setting and a value", hint="SET query_wait_timeout = 30")
    await state.actions.apply(changed(state.config, words[0], " ".join(words[2:])))
    return Reply(tag="SET", notices=["until the next RELOAD: the configuration file is unchanged"])


async def _shutdown(state: State, command: Command) -> Reply:
    how = (command.argument("mode") or "").upper()
    modes = {"": (DRAIN_NOW, 0.0), "WAIT_FOR_SERVERS": (DRAIN_SERVERS, None),
             "WAIT_FOR_CLIENTS": (DRAIN_CLIENTS, None)}
    if how not in modes:
        raise ClientError("42601", f"SHUTDOWN does not know {how}",
                          hint=suggest(how, modes, "SHUTDOWN, WAIT_FOR_SERVERS or WAIT_FOR_CLIENTS"))
    state.actions.shut_down(*modes[how])
    return Reply(tag="SHUTDOWN")


async def _suspend(state: State, command: Command) -> Reply:
    raise ClientError("0A000", "SUSPEND is not needed here",
                      hint="`shardproxy serve --takeover` starts a new process that takes the listeners over")


def _mark(state: State, database: str | None, paused: bool) -> None:
    if database is None:
        state.paused_all = paused
        if not paused:
            state.paused.clear()
    elif paused:
        state.paused.add(database)
    else:
        state.paused.discard(database)


def _database(state: State, name: str | None) -> str | None:
    """A database that clients can ask for, or None for all."""
    if name is not None and state.config.database_for(name) is None:
        raise ClientError("3D000", f"there is no database {name!r}",
                          hint=suggest(name, state.config.databases, "see SHOW DATABASES"))
    return name


def _server(state: State, name: str) -> str:
    """A server by its id, or by host:port if that is unique."""
    found: dict[str, str] = {}
    for database in state.entries():
        for server in database.servers:
            found[server.id] = server.id
            place = f"{server.unix or server.host}:{server.port}"
            found[place] = server.id if found.get(place, server.id) == server.id else ""
    if not found.get(name):
        reason = f"{name} stands for several servers" if name in found else f"there is no server {name!r}"
        raise ClientError("42704", reason, hint=suggest(name, found, "see column server of SHOW LAG"))
    return found[name]


VERBS: Mapping[str, Verb] = {
    "PAUSE": Verb("PAUSE [database]", "let transactions end, then close all server connections", _pause),
    "RESUME": Verb("RESUME [database]", "end PAUSE or KILL", _resume),
    "DISABLE": Verb("DISABLE database", "refuse new clients", _able),
    "ENABLE": Verb("ENABLE database", "end DISABLE", _able),
    "RELOAD": Verb("RELOAD", "read the configuration file again, apply what can be applied", _reload),
    "SET": Verb("SET setting = value", "change a setting until the next RELOAD (see SHOW CONFIG)", _set),
    "RECONNECT": Verb("RECONNECT [database]", "replace server connections as they are released", _reconnect),
    "WAIT_CLOSE": Verb("WAIT_CLOSE [database]", "wait until RECONNECT or RELOAD has taken effect", _wait_close),
    "DRAIN": Verb("DRAIN server", "give a server nothing new and close its connections when free", _drain),
    "UNDRAIN": Verb("UNDRAIN server", "end DRAIN", _drain),
    "BAN": Verb("BAN server [seconds]", "send no reads to a server", _ban),
    "UNBAN": Verb("UNBAN server", "end BAN", _unban),
    "KILL": Verb("KILL client_id | KILL [database]", "close a client, or everything; the latter until RESUME",
                 _kill),
    "KILL_CLIENT": Verb("KILL_CLIENT client_id", "close a client (see SHOW CLIENTS)", _kill),
    "SHUTDOWN": Verb("SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]", "end the proxy", _shutdown),
    "SUSPEND": Verb("SUSPEND", "not needed: a new process can take over", _suspend),
}
