"""The proxy as users run it: ``shardproxy serve`` in a process of its own, with a generated configuration.

Its working directory lies in a cluster's folder, so the cluster's watchdog ends it too if this process is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import asyncpg

import shardproxy
from shardproxy.errors import ShardproxyError

from ..cluster import Cluster
from ..cluster.place import HOST, free_port
from .load import OPERATION_S

__all__ = ["DATABASE", "PASSWORD", "USER", "Proxy", "replicated", "sharded"]

DATABASE, USER, PASSWORD, ADMIN = "shop", "app", "demo", "admin"
READY_S = 30.0
STOP_S = 15.0


class Proxy:
    """``start`` returns when clients can connect; ``stop`` when the process has ended."""

    def __init__(self, parent: Path, database: str, servers: str, pool_size: int, workers: int) -> None:
        """``servers``: the lines of the database's section that say where it lives."""
        self.folder = parent / "proxy"
        self.port, self.http_port = free_port(), free_port()
        self.database = database
        self.config = self.folder / "shardproxy.toml"
        self.log = self.folder / "shardproxy.log"
        self._text = (
            _config(self.port, self.http_port, pool_size, workers) + f"\n[databases.{database}]\n{servers}"
        )
        self._process: asyncio.subprocess.Process | None = None

    def url(self, database: str = "", user: str = USER) -> str:
        """What an application is given."""
        return f"postgresql://{user}:{PASSWORD}@{HOST}:{self.port}/{database or self.database}"

    @property
    def admin_url(self) -> str:
        """The admin console."""
        return self.url("shardproxy", ADMIN)

    async def connect(self) -> Any:
        """A connection of the application."""
        return await asyncpg.connect(self.url(), ssl=False, timeout=OPERATION_S, command_timeout=OPERATION_S)

    async def console(self, command: str) -> list[dict[str, Any]]:
        """Rows that the admin console answers."""
        connection = await asyncpg.connect(self.admin_url, ssl=False, timeout=OPERATION_S)
        try:
            return [dict(row) for row in await connection.fetch(command, timeout=OPERATION_S)]
        finally:
            connection.terminate()

    async def start(self) -> None:
        """Write the configuration and wait for the ready line."""
        self.folder.mkdir(mode=0o700)
        self.config.write_text(self._text)
        self.config.chmod(0o600)
        path = os.pathsep.join(
            filter(None, (str(Path(shardproxy.__file__).parents[1]), os.environ.get("PYTHONPATH")))
        )
        command = (sys.executable, "-m", "shardproxy.tools.cli", "serve", "--config", str(self.config))
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": path},
                start_new_session=True,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                while not (line := await self._process.stdout.readline()).startswith(b"ready postgres"):
                    if not line:
                        raise ShardproxyError(f"the proxy did not start:\n{self.log_tail()}")
        except TimeoutError:
            raise ShardproxyError(f"the proxy was not ready in {READY_S:.0f} s:\n{self.log_tail()}") from None

    async def stop(self) -> int | None:
        """SIGTERM, and SIGKILL if that is not enough; the exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
        return await process.wait()

    def internal_errors(self) -> list[str]:
        """Lines of its log that a bug has left."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return [line for line in text.splitlines() if " ERROR " in line or line.startswith("Traceback")]

    def log_tail(self, lines: int = 20) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:]) or "(no log)"


def _config(port: int, http_port: int, pool_size: int, workers: int) -> str:
    return f"""[listen]
postgres = "{HOST}:{port}"
http = "{HOST}:{http_port}"
workers = {workers}
shutdown_timeout = 2

[auth]
method = "scram-sha-256"
admin_users = ["{ADMIN}"]
users.{USER} = {{ password = "{PASSWORD}" }}
users.{ADMIN} = {{ password = "{PASSWORD}" }}

[pool]
mode = "transaction"
size = {pool_size}

[log]
connections = false
disconnections = false
"""


def replicated(cluster: Cluster, dbname: str) -> str:
    """A primary with its replicas."""
    primary, *replicas = (f"{node.host}:{node.port}/{dbname}" for node in cluster.nodes)
    return f"""{_server_user(cluster)}consistency = "database"
primary = "{primary}"
replicas = {json.dumps(replicas)}
"""


def sharded(
    main: Cluster,
    shards: Mapping[str, Cluster],
    empty: Collection[str],
    dbname: str,
    tables: Mapping[str, str],
) -> str:
    """Unsharded tables at ``main``, and ``tables`` over the shards: by a column, or "" for a reference table.

    Shards that are ``empty`` get no slots at the start.
    """

    def server(cluster: Cluster, more: str = "") -> str:
        return f'{{ primary = "{cluster.primary.host}:{cluster.primary.port}/{dbname}"{more} }}'

    lines = [
        'default_keyspace = "main"',
        f"keyspaces.main.shards.main = {server(main)}",
        *(
            f"keyspaces.customer.shards.{name} = {server(cluster, ', empty = true' * (name in empty))}"
            for name, cluster in shards.items()
        ),
        *(
            f"keyspaces.customer.tables.{name} = "
            + (f'{{ key = "{key}" }}' if key else "{ reference = true }")
            for name, key in tables.items()
        ),
    ]
    return _server_user(main) + "".join(f"{line}\n" for line in lines)


def _server_user(cluster: Cluster) -> str:
    settings = cluster.settings
    return f'server_user = "{settings.user}"\nserver_password = "{settings.password}"\n'
