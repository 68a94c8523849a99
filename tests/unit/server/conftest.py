"""A running parent with small workers, and clients of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


class Proxy:
    """A ``serve`` process. `ready` are its lines on standard output, `log` what it wrote to standard error."""

    def __init__(self, config: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.config, self.ready, self._log = config, list[str](), list[str]()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("mini_serve.py")), str(config), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=config.parent)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._log.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    @property
    def log(self) -> str:
        return "".join(self._log)

    def wait_ready(self, lines: int) -> None:
        """Until this many listeners are ready."""
        assert self.process.stdout is not None
        while len(self.ready) < lines:
            line = self.process.stdout.readline()
            assert line, self.log
            self.ready.append(line.rstrip("\n"))

    def address(self, kind: str = "postgres") -> tuple[str, int]:
        for line in self.ready:
            word, found, address = line.split(" ", 2)
            if (word, found) == ("ready", kind) and ":" in address:
                host, _, port = address.rpartition(":")
                return host.strip("[]"), int(port)
        raise AssertionError(f"no {kind} listener in {self.ready}")

    def client(self, timeout: float = 10) -> Client:
        return Client(self.address(), timeout)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def exit_code(self, timeout: float = 20) -> int:
        code = self.process.wait(timeout)
        self._reader.join(5)
        return code

    def wait_log(self, text: str, timeout: float = 20) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.log:
            assert time.monotonic() < deadline, f"{text!r} is not in:\n{self.log}"
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                self._reader.join(5)
                stream.close()


class Client:
    """Talks lines to a small worker."""

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        self.sock = socket.create_connection(address, timeout)
        self._received = b""

    def ask(self, line: str) -> str:
        """The answer to one line; "" if the connection has ended."""
        try:
            self.sock.sendall(f"{line}\n".encode())
            while b"\n" not in self._received:
                more = self.sock.recv(1 << 16)
                if not more:
                    return ""
                self._received += more
        except ConnectionError:
            return ""
        answer, _, self._received = self._received.partition(b"\n")
        return answer.decode()

    def ended(self) -> bool:
        """Wait for the end of the connection."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()


CONFIG = """
[listen]
postgres = "127.0.0.1:0"
http = "127.0.0.1:0"
workers = {workers}
shutdown_timeout = 2
[auth]
method = "scram-sha-256"
admin_users = ["admin"]
stats_users = ["stats"]
users.admin.password = "a secret that no one may see"
users.stats.password = "another one"
[databases.shop]
primary = "127.0.0.1:{dead}/shop"
health_interval = 0.5
"""

Start = Callable[..., Proxy]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a proxy; all are stopped at the end."""
    running: list[Proxy] = []

    def begin(*arguments: str, workers: int = 2, lines: int = 2, extra: str = "", config: Path | None = None,
              env: dict[str, str] | None = None) -> Proxy:
        path = config or tmp_path / "proxy.toml"
        if config is None:
            with socket.socket() as dead:
                dead.bind(("127.0.0.1", 0))
                port = dead.getsockname()[1]
            path.write_text(CONFIG.format(workers=workers, dead=port) + extra)
        proxy = Proxy(path, *arguments, env=env)
        running.append(proxy)
        if lines:
            proxy.wait_ready(lines)
        return proxy

    yield begin
    for proxy in running:
        proxy.stop()
