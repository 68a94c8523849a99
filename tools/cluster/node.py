"""One PostgreSQL server of a cluster.

Invariants: the postmaster is our own child and is reaped here, so a killed one leaves no zombie that would keep the
next start from taking the lock file; a node keeps its port for life, so that others can go on naming it. Nothing here
belongs to one event loop: a node made in one may be used in another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import asyncpg

from shardproxy.errors import ShardproxyError

from ..postgres_binaries import Binaries
from . import watchdog
from .place import HOST, Place, free_port
from .settings import Settings, connection_string, hba_text, settings_text

__all__ = ["Node", "NodeError"]

STOPS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
START_S = 60.0
POLL_S = 0.02
PORT_ATTEMPTS = 5


class NodeError(ShardproxyError):
    """A server did not do what it was told; the message ends with the last lines of its log."""


class Node:
    """A server: its data directory, its process and what can be done to it."""

    def __init__(self, name: str, place: Place, binaries: Binaries, settings: Settings) -> None:
        self.name, self.host = name, HOST
        self.port = 0
        self.settings = settings
        self.data = place.folder / name
        self.log = place.folder / f"{name}.log"
        self.upstream: Node | None = None
        self._place, self._binaries = place, binaries
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Node {self.name} port {self.port} {'running' if self.running else 'down'}>"

    # -- facts

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the postmaster; NodeError if it does not run."""
        if self._process is None or not self.running:
            raise self._error("does not run")
        return self._process.pid

    @property
    def sockets(self) -> Path | None:
        """Folder of the unix socket."""
        return self._place.sockets

    def dsn(self, dbname: str = "postgres", user: str | None = None, password: str | None = None) -> str:
        """A connection URL. The password is in it only where the server asks for one."""
        user, secret = user or self.settings.user, password or self.settings.password
        login = user if self.settings.auth == "trust" and password is None else f"{user}:{secret}"
        return f"postgresql://{login}@{self.host}:{self.port}/{dbname}"

    def log_tail(self, lines: int = 15) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return "(no log)"

    def _error(self, text: str) -> NodeError:
        return NodeError(f"{self.name} on port {self.port}: {text}\n{self.log_tail()}")

    # -- life

    async def init(self) -> None:
        """Make an empty database cluster."""
        secret = self.data.with_suffix(".password")
        self._place.write(secret, self.settings.password)
        await self._place.run(self._binaries.program("initdb"), "-D", str(self.data), "-U", self.settings.user,
                              "-A", self.settings.auth, f"--pwfile={secret}", "-N", "-E", "UTF8", "--locale=C")
        secret.unlink()

    async def start(self, timeout: float = START_S) -> None:
        """Start, and return when it answers queries. The first start chooses the port."""
        if self.running:
            raise self._error("runs already")
        fresh = not self.port
        for attempt in range(PORT_ATTEMPTS):
            if fresh:
                self.port = free_port()
            self.write_config()
            mark = self.log.stat().st_size if self.log.exists() else 0
            self._process = self._place.spawn(self._binaries.program("postgres"), "-D", str(self.data), log=self.log)
            if await self._until_ready(timeout):
                return
            with self.log.open(errors="replace") as log:
                log.seek(mark)
                if "Address already in use" not in log.read() or attempt + 1 == PORT_ATTEMPTS:
                    break
            if not fresh:
                await asyncio.sleep(0.2)
        raise self._error("did not start")

    async def _until_ready(self, timeout: float) -> bool:
        """Connect until it works. False if the server ended; NodeError (and no server) after the time."""
        deadline = time.monotonic() + timeout
        while self.running:
            try:
                async with self._control(timeout=5) as connection:
                    if Path(await connection.fetchval("show data_directory")) == self.data:
                        return True         # and not another server that took the port just before
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if time.monotonic() > deadline:
                    await self.kill9()
                    raise self._error(f"is not ready after {timeout} s: {error}") from error
            await asyncio.sleep(POLL_S)
        return False

    async def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast", timeout: float = 60) -> None:
        """Stop and reap; nothing if it does not run. ``immediate`` is like a crash, but tidy."""
        if self._process is None or not self.running:
            return
        self._process.send_signal(STOPS[mode])
        deadline = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > deadline:
                await self.kill9()
                raise self._error(f"did not stop in {timeout} s, killed")
            await asyncio.sleep(POLL_S)

    async def kill9(self) -> None:
        """Kill the postmaster and all its processes, as a crash of the machine would; return when none is left."""
        if self._process is None:
            return
        watchdog.send({self._process.pid: self.data}, signal.SIGKILL)
        while True:
            gone = self._process.poll() is not None
            left = {pid: cwd for pid, cwd in watchdog.inside(self._place.folder).items() if cwd == self.data}
            if gone and not left:
                return
            watchdog.send(left, signal.SIGKILL)
            await asyncio.sleep(0.005)

    async def restart(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        await self.stop(mode)
        await self.start()

    def reload(self) -> None:
        """Write the configuration files again and have the server read them."""
        self.write_config()
        os.kill(self.pid, signal.SIGHUP)

    def freeze(self) -> None:
        """SIGSTOP all processes of the server: connections stay open and nothing answers."""
        watchdog.send(self._processes(), signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo ``freeze``."""
        watchdog.send(self._processes(), signal.SIGCONT)

    def _processes(self) -> dict[int, Path]:
        return {pid: cwd for pid, cwd in watchdog.inside(self._place.folder).items() if cwd == self.data}

    def write_config(self) -> None:
        """Generate postgresql.conf and pg_hba.conf, and say by standby.signal whether this is a replica."""
        upstream = self.upstream.replication_string(self.name) if self.upstream else ""
        text = settings_text(self.settings, port=self.port, sockets=self.sockets, folder=self._place.folder,
                             upstream=upstream, slot=self.name)
        self._place.write(self.data / "postgresql.conf", text)
        self._place.write(self.data / "pg_hba.conf", hba_text(self.settings))

    # -- replication

    def replication_string(self, application: str) -> str:
        """How another server reaches this one."""
        return connection_string({"host": self.host, "port": self.port, "user": self.settings.user,
                                  "password": self.settings.password, "application_name": application})

    async def ensure_slot(self, name: str) -> None:
        """A physical slot; it keeps nothing back until it is used."""
        await self.sql("select pg_create_physical_replication_slot($1) where not exists "
                       "(select from pg_replication_slots where slot_name = $1)", name)

    async def basebackup_from(self, primary: Node) -> None:
        """Copy a running server's data directory; the next start makes this its streaming replica."""
        await primary.ensure_slot(self.name)
        await self._place.run(self._binaries.program("pg_basebackup"), "-d", primary.replication_string(self.name),
                              "-D", str(self.data), "-X", "stream", "-c", "fast", "-S", self.name, "-N")
        self._become_replica_of(primary)

    async def rewind_from(self, source: Node) -> None:
        """Turn a stopped or killed server into a replica of ``source``, giving up what only it had."""
        if self.running:
            raise self._error("runs: stop it before a rewind")
        await source.sql("checkpoint")          # pg_rewind reads the new timeline from the control file
        target = connection_string({"host": source.host, "port": source.port, "dbname": "postgres",
                                    "user": self.settings.user, "password": self.settings.password})
        try:
            await self._place.run(self._binaries.program("pg_rewind"), "-D", str(self.data),
                                  f"--source-server={target}", "-N")
        except ShardproxyError as error:
            raise self._error(str(error)) from error
        await source.ensure_slot(self.name)
        self._become_replica_of(source)

    def _become_replica_of(self, primary: Node) -> None:
        self.upstream = primary
        self._place.write(self.data / "standby.signal", "")
        shutil.rmtree(self.data / "pg_replslot", ignore_errors=True)    # slots of the server that was copied
        (self.data / "pg_replslot").mkdir(mode=0o700)
        if self._place.prefix and self._place.prefix[0] == "setpriv":
            shutil.chown(self.data / "pg_replslot", "nobody")

    async def promote(self, timeout: int = 60) -> None:
        """Make a replica a primary; return when it takes writes."""
        if not await self.value("select pg_promote(true, $1)", timeout):
            raise self._error(f"was not promoted in {timeout} s")
        self.upstream = None

    async def follow(self, new_primary: Node) -> None:
        """Stream from another server from now on, without a restart; return when it streams."""
        await new_primary.ensure_slot(self.name)
        self.upstream = new_primary
        self.reload()
        await self.until("select status = 'streaming' and sender_port = $1 from pg_stat_wal_receiver", new_primary.port)

    async def pause_replay(self) -> None:
        """Let a replica fall behind: it receives, and shows nothing new. Returns when replay has stopped."""
        await self.sql("select pg_wal_replay_pause()")
        await self.until("select pg_get_wal_replay_pause_state() = 'paused'")

    async def resume_replay(self) -> None:
        await self.sql("select pg_wal_replay_resume()")

    async def position(self) -> int:
        """Bytes of log written (primary) or replayed (replica)."""
        return int(await self.value(
            "select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end"
            " - '0/0')::int8"))

    # -- SQL

    @contextlib.asynccontextmanager
    async def connection(self, dbname: str = "postgres", **options: Any) -> AsyncIterator[Any]:
        """An asyncpg connection for a block, over TCP as clients come; options go to ``asyncpg.connect``."""
        login = {"host": self.host, "user": self.settings.user, "password": self.settings.password, "ssl": False}
        connection = await asyncpg.connect(**({"port": self.port, "database": dbname, "timeout": 20} | login | options))
        try:
            yield connection
        finally:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError):
                await connection.close(timeout=5)

    def _control(self, dbname: str = "postgres", timeout: float = 20) -> contextlib.AbstractAsyncContextManager[Any]:
        """Our own connections: the unix socket, where pg_hba.conf lets us in whatever a test has put there."""
        return self.connection(dbname, host=str(self.sockets or self.host), timeout=timeout)

    async def sql(self, query: str, *args: Any, dbname: str = "postgres") -> list[Any]:
        """Run a statement on a connection of its own (several statements if there are no arguments); its rows."""
        async with self._control(dbname) as connection:
            if args:
                return list(await connection.fetch(query, *args))
            if ";" in query.rstrip().rstrip(";"):
                await connection.execute(query)
                return []
            return list(await connection.fetch(query))

    async def value(self, query: str, *args: Any, dbname: str = "postgres") -> Any:
        """First column of the first row; None if there is no row."""
        rows = await self.sql(query, *args, dbname=dbname)
        return rows[0][0] if rows else None

    async def until(self, query: str, *args: Any, timeout: float = 30, dbname: str = "postgres") -> None:
        """Ask until the answer is true."""
        deadline = time.monotonic() + timeout
        async with self._control(dbname) as connection:
            while not await connection.fetchval(query, *args):
                if time.monotonic() > deadline:
                    raise self._error(f"still not true after {timeout} s: {query}")
                await asyncio.sleep(POLL_S)
