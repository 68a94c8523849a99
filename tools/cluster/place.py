"""Where and as whom a cluster's servers run: a folder of their own, a user that PostgreSQL accepts, free ports.

Invariant: whatever happens to this process, the watchdog stops the servers and removes the folder. PostgreSQL refuses
root, so root starts it in a user namespace, where files stay root's; where that is forbidden, as ``nobody``.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from shardproxy.errors import ShardproxyError

from ..postgres_binaries import Binaries

__all__ = ["HOST", "Place", "free_port"]

HOST = "127.0.0.1"
NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
PORT_FIRST = 15000


def free_port() -> int:
    """A port that nothing listens on, below the range from which the kernel takes ports of outgoing connections.

    So no connection can take it while its server is down.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(200):
        port = random.randrange(PORT_FIRST, low) if low > PORT_FIRST + 2000 else 0
        try:
            with socket.create_server((HOST, port)) as trial:
                return int(trial.getsockname()[1])
        except OSError:
            continue
    raise ShardproxyError(f"no free port from {PORT_FIRST} to {low}")


def environment() -> dict[str, str]:
    """Ours without what would redirect PostgreSQL's programs; their messages in English."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C", "LANG": "C", "PGCONNECT_TIMEOUT": "20"}


class Place:
    """The folder and the way to run programs in it. ``close`` leaves nothing behind."""

    def __init__(self, binaries: Binaries, parent: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="shardproxy-", dir=parent)).resolve()
        self._watchdog = self._start_watchdog()
        try:
            self.prefix = self._choose_prefix(binaries)
        except BaseException:
            self.close()
            raise

    def _start_watchdog(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("watchdog.py")
        return subprocess.Popen([sys.executable, "-I", str(script), str(self.folder)], stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL, cwd="/", start_new_session=True)

    def _choose_prefix(self, binaries: Binaries) -> tuple[str, ...]:
        if os.geteuid() != 0:
            return ()
        reasons: list[str] = []
        for prefix in (NAMESPACE, NOBODY):
            try:
                done = subprocess.run([*prefix, binaries.program("initdb"), "--version"], capture_output=True,
                                      text=True, timeout=30, cwd="/")
            except (OSError, subprocess.TimeoutExpired) as error:
                reasons.append(f"{prefix[0]}: {error}")
                continue
            if done.returncode == 0:
                if prefix == NOBODY:
                    shutil.chown(self.folder, "nobody")
                return prefix
            reasons.append(f"{prefix[0]}: {done.stderr.strip()}")
        raise ShardproxyError("PostgreSQL does not run as root, and no other way works here: " + "; ".join(reasons))

    @property
    def sockets(self) -> Path | None:
        """Folder of the unix sockets; None if its name is too long for one."""
        return self.folder if len(str(self.folder)) < 80 else None

    def write(self, path: Path, text: str, mode: int = 0o600) -> None:
        """Write a file that the servers can read and that is theirs."""
        path.write_text(text)
        path.chmod(mode)
        if self.prefix == NOBODY:
            shutil.chown(path, "nobody")

    async def run(self, *command: str, env: dict[str, str] | None = None, timeout: float = 120) -> str:
        """Run a program to its end; anything but success is an error that shows what was printed."""
        process = await asyncio.create_subprocess_exec(
            *self.prefix, *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, cwd=self.folder, env=environment() | (env or {}))
        try:
            async with asyncio.timeout(timeout):
                out, _ = await process.communicate()
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        said = out.decode(errors="replace").strip()
        if process.returncode:
            raise ShardproxyError(f"{Path(command[0]).name} ended with {process.returncode}: {said[-2000:]}")
        return said

    def spawn(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a server in a session of its own, so that a Ctrl-C in the terminal does not reach it."""
        with log.open("ab") as out:
            return subprocess.Popen([*self.prefix, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                    cwd=self.folder, env=environment(), start_new_session=True)

    def close(self) -> None:
        """Let the watchdog stop what still runs and remove the folder, and wait for that."""
        if self._watchdog.stdin:
            self._watchdog.stdin.close()
        self._watchdog.wait()
