"""Listening sockets: addresses, both families, unix sockets, what is in use, what is taken over."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from shardproxy.config.model import Config
from shardproxy.server.sockets import ListenError, open_all


def config(**listen: Any) -> Config:
    return Config.model_validate({"listen": listen})


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), 5)


def test_every_worker_has_a_socket_of_its_own() -> None:
    (listener,) = open_all(config(postgres="127.0.0.1:0", workers=3))
    try:
        assert len({sock.fileno() for sock in listener.sockets}) == 3
        assert [listener.for_worker(index, 3) for index in range(3)] == [[sock] for sock in listener.sockets]
        assert listener.for_worker(0, 2) == [listener.sockets[0], listener.sockets[2]]
        connect(listener.address).close()
    finally:
        listener.close()


def test_both_families_share_a_port() -> None:
    listeners = open_all(config(postgres="*:0"))
    try:
        assert [listener.address.rpartition(":")[0] for listener in listeners][:1] == ["0.0.0.0"]
        assert len({listener.address.rpartition(":")[2] for listener in listeners}) == 1
    finally:
        for listener in listeners:
            listener.close()


def test_an_address_in_use_is_refused_even_for_another_proxy() -> None:
    (first,) = open_all(config(postgres="127.0.0.1:0"))
    try:
        with pytest.raises(ListenError, match=f"cannot listen on {first.address}: the address is in use"):
            open_all(config(postgres=first.address, workers=2))
    finally:
        first.close()


def test_nothing_stays_open_after_a_failure() -> None:
    (taken,) = open_all(config(postgres="127.0.0.1:0"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ListenError):
        open_all(config(postgres=[f"127.0.0.1:{port}", taken.address]))
    taken.close()
    (again,) = open_all(config(postgres=f"127.0.0.1:{port}"))
    again.close()


@pytest.mark.parametrize("address", ["192.0.2.1:6432", "no.such.host.invalid:6432"])
def test_an_address_of_another_machine(address: str) -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        open_all(config(postgres=address))


def test_unix_socket(tmp_path: Path) -> None:
    tcp, unix = open_all(config(postgres="127.0.0.1:0", unix={"directory": tmp_path, "mode": "0700"}, workers=2))
    path = tmp_path / f".s.PGSQL.{tcp.address.rpartition(':')[2]}"
    try:
        assert unix.address == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert unix.for_worker(0, 2) == unix.for_worker(1, 2) == unix.sockets
        with pytest.raises(ListenError, match="in use"):
            open_all(config(unix={"directory": tmp_path, "port": int(path.suffix[1:])}))
    finally:
        tcp.close()
        unix.close()
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        (unix,) = open_all(config(unix=str(tmp_path)))
        unix.close(remove=False)
    assert (tmp_path / ".s.PGSQL.6432").is_socket()


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="the folder does not exist"):
        open_all(config(unix=str(tmp_path / "none")))


def test_sockets_taken_over_are_used_and_the_rest_closed() -> None:
    old = open_all(config(postgres=["127.0.0.1:0", "127.0.0.1:0"], workers=2))
    kept, dropped = old
    sockets = list(kept.sockets)
    (new,) = open_all(config(postgres=kept.address, workers=3), old)
    try:
        assert new.sockets[:2] == sockets
        assert len(new.sockets) == 3
        with pytest.raises(ConnectionRefusedError):
            connect(dropped.address)
    finally:
        new.close()
