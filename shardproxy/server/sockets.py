"""Listening sockets: opened by the parent, used by workers, kept when a worker dies.

Every worker has a TCP socket of its own for each address (SO_REUSEPORT: the kernel deals connections out); a unix
socket is shared by all workers. Invariant: a socket is closed by the parent only when the proxy ends, so that
connections wait in its queue while a worker is replaced or while a new process takes over.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shardproxy.config.model import Config
from shardproxy.errors import ShardproxyError

__all__ = ["HTTP", "ListenError", "Listener", "open_all"]

HTTP = "http"
"""Stands in the place of a dialect for the listeners of the parent itself."""

DEFAULT_UNIX_PORT = 6432
UNIX_NAME = ".s.PGSQL.{port}"
"""Where PostgreSQL clients look for a unix socket."""


class ListenError(ShardproxyError):
    """An address cannot be listened on."""


@dataclass(slots=True)
class Listener:
    """One address, with the sockets that listen on it. `address` is what is printed and compared."""

    kind: str
    address: str
    sockets: list[socket.socket] = field(default_factory=list)
    unix: Path | None = None

    def for_worker(self, index: int, workers: int) -> list[socket.socket]:
        """The sockets that the worker with this index accepts on; none is left out, whatever their number."""
        return self.sockets if self.unix is not None else self.sockets[index::workers]

    def close(self, remove: bool = True) -> None:
        """Stop listening. `remove`: and remove the file of a unix socket (not if another process goes on with it)."""
        for sock in self.sockets:
            sock.close()
        if self.unix is not None and remove:
            self.unix.unlink(missing_ok=True)


def open_all(config: Config, taken_over: list[Listener] | None = None) -> list[Listener]:
    """All listeners of a configuration. Those that were taken over are used where the address is the same.

    ListenError names the address and the reason; nothing stays open in this process then.
    """
    old = {(listener.kind, listener.address): listener for listener in taken_over or ()}
    opened: list[Listener] = []
    try:
        for kind, host, port in _tcp_wanted(config):
            _open_host(kind, host, port, config, old, opened)
        if config.listen.unix is not None:
            path = config.listen.unix.directory / UNIX_NAME.format(port=config.listen.unix.port or _port_of(opened))
            listener = old.pop(("postgres", str(path)), None)
            opened.append(listener or _open_unix(path, config.listen.unix.mode_bits, config.listen.backlog))
    except BaseException:
        for listener in opened:
            listener.close(remove=False)
        raise
    for unwanted in old.values():
        unwanted.close()
    return opened


def _tcp_wanted(config: Config) -> Iterator[tuple[str, str, int]]:
    for kind, addresses in (("postgres", config.listen.postgres), ("mysql", config.listen.mysql),
                            (HTTP, config.listen.http)):
        for address in addresses:
            yield kind, address.host, address.port


def _port_of(opened: list[Listener]) -> int:
    """The port number in a unix socket's name: that of the first TCP listener for clients."""
    for listener in opened:
        if listener.kind != HTTP:
            return int(listener.sockets[0].getsockname()[1])
    return DEFAULT_UNIX_PORT


def _open_host(kind: str, host: str, port: int, config: Config, old: dict[tuple[str, str], Listener],
               opened: list[Listener]) -> None:
    """One listener for each address of a host: IPv4 and IPv6."""
    count = 1 if kind == HTTP else config.listen.workers
    failures: list[ListenError] = []
    found = 0
    for family, (numeric, _) in _resolve(host, port):
        address = (numeric, port)  # a port that the system chose for the first holds for the others too
        listener = old.pop((kind, _text(address)), None)
        try:
            if listener is None:
                listener = _open_tcp(kind, family, address, count, config.listen.backlog)
            else:
                _add_sockets(listener, count, config.listen.backlog)
        except ListenError as error:
            if not _no_such_family(error):
                raise
            failures.append(error)
            continue
        found += 1
        opened.append(listener)
        if port == 0:
            port = listener.sockets[0].getsockname()[1]
    if not found:
        raise failures[0]


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    if host == "*":
        return [(socket.AF_INET, ("0.0.0.0", port)), (socket.AF_INET6, ("::", port))]
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    found = [(family, (str(address[0]), int(address[1]))) for family, _, _, _, address in infos]
    return sorted(set(found), key=lambda item: item[0] != socket.AF_INET)


def _open_tcp(kind: str, family: int, address: tuple[str, int], count: int, backlog: int) -> Listener:
    # With SO_REUSEPORT a second proxy of the same user could bind to the same address and take half of the
    # clients: so the first socket is bound without it, which fails if anyone listens there.
    probe = _bind(family, address, shared=False)
    bound = (address[0], int(probe.getsockname()[1]))
    probe.close()
    listener = Listener(kind, _text(bound))
    _add_sockets(listener, count, backlog, family, bound)
    return listener


def _add_sockets(listener: Listener, count: int, backlog: int, family: int = 0,
                 address: tuple[str, int] = ("", 0)) -> None:
    """Bring a listener to at least `count` sockets; surplus ones stay, dealt out to the workers there are."""
    if listener.sockets:
        family, address = listener.sockets[0].family, listener.sockets[0].getsockname()[:2]
    try:
        while len(listener.sockets) < count:
            sock = _bind(family, address, shared=True)
            listener.sockets.append(sock)
            sock.listen(backlog)
    except ListenError:
        listener.close()
        raise


def _bind(family: int, address: tuple[str, int], shared: bool) -> socket.socket:
    sock: socket.socket | None = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise ListenError(f"cannot listen on {_text(address)}: {_reason(error)}") from error
    return sock


def _open_unix(path: Path, mode: int, backlog: int) -> Listener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.setblocking(False)
        sock.bind(str(path))
        os.chmod(path, mode)  # before listen: no one can connect with other permissions
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {path}: {_reason(error)}") from error
    return Listener("postgres", str(path), [sock], path)


def _remove_stale(path: Path) -> None:
    """Remove a socket file that no process listens on."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the address is in use by another process (stop it, choose another port, or take over from it)"
        case errno.EACCES:
            return "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address"
        case errno.ENOENT:
            return "the folder does not exist"
        case _:
            return error.strerror or str(error)


def _no_such_family(error: ListenError) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
