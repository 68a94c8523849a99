"""The proxy as users run it: ``shardproxy serve`` in a process of its own, with a generated configuration.

Its working directory lies in the cluster's folder, so the cluster's watchdog ends it too if this process is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import shardproxy
from shardproxy.errors import ShardproxyError

from ..cluster import Cluster
from ..cluster.place import HOST, free_port

__all__ = ["DATABASE", "PASSWORD", "USER", "Proxy"]

DATABASE, USER, PASSWORD, ADMIN = "shop", "app", "demo", "admin"
READY_S = 30.0
STOP_S = 15.0


class Proxy:
    """``start`` returns when clients can connect; ``stop`` when the process has ended."""

    def __init__(self, cluster: Cluster, pool_size: int, workers: int) -> None:
        self.folder = cluster.folder / "proxy"
        self.port, self.http_port = free_port(), free_port()
        self.config = self.folder / "shardproxy.toml"
        self.log = self.folder / "shardproxy.log"
        self._text = _config(cluster, self.port, self.http_port, pool_size, workers)
        self._process: asyncio.subprocess.Process | None = None

    def url(self, database: str = DATABASE, user: str = USER) -> str:
        """What an application is given."""
        return f"postgresql://{user}:{PASSWORD}@{HOST}:{self.port}/{database}"

    @property
    def admin_url(self) -> str:
        """The admin console."""
        return self.url("shardproxy", ADMIN)

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


def _config(cluster: Cluster, port: int, http_port: int, pool_size: int, workers: int) -> str:
    primary, *replicas = (f"{node.host}:{node.port}/{DATABASE}" for node in cluster.nodes)
    settings = cluster.settings
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

[databases.{DATABASE}]
server_user = "{settings.user}"
server_password = "{settings.password}"
consistency = "database"
primary = "{primary}"
replicas = {_list(replicas)}
"""


def _list(items: Sequence[str]) -> str:
    return json.dumps(list(items))
