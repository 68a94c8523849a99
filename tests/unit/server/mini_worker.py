"""A small real worker process: it speaks the control protocol and echoes what clients send.

Started by the tests of the parent in the place of ``shardproxy.server.worker``. Clients talk lines to it: ``pid`` is
answered with its process id, ``hold`` opens a transaction, ``end`` ends it, ``call METHOD JSON`` calls the parent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

from shardproxy.server.control import Endpoint
from shardproxy.server.figures import COUNTERS, connection_id
from shardproxy.server.worker_api import DRAIN_SERVERS, PoolKey, WorkerApi, handlers
from shardproxy.server.worker_transactions import TransactionOperations
from shardproxy.topology.board_cy import Board
from shardproxy.transactions.coordination import Transactions


class Client:
    """One connection of a client."""

    def __init__(self, number: int, writer: asyncio.StreamWriter) -> None:
        self.id, self.writer, self.busy = number, writer, False


class MiniWorker(TransactionOperations):
    """Implements WorkerApi with as little as the parent's tests need."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.endpoint: Endpoint | None = None
        self.transactions = Transactions(self._parent)
        self.told: list[Any] = []
        self.clients: dict[int, Client] = {}
        self.servers: list[asyncio.Server] = []
        self.queries, self.made = 0, 0
        self.over, self.known = asyncio.Event(), asyncio.Event()
        self.mode = ""

    def _parent(self) -> Endpoint:
        assert self.endpoint is not None
        return self.endpoint

    async def start(self, config_json: str, worker_index: int, secrets: Mapping[str, str]) -> None:
        assert worker_index == self.index and len(secrets["boot"]) == 32
        self.config = json.loads(config_json)
        if os.environ.get("MINI_WORKER") == "refuse":
            sys.exit(3)

    async def reload(self, config: str) -> None:
        self.config = json.loads(config)
        self.told.append("reload")

    async def topology(self, view: Mapping[str, Any]) -> None:
        self.told.append(["topology", sorted(view["databases"])])
        self.known.set()

    async def layout(self, database: str, layout: Mapping[str, Any]) -> None:
        self.told.append(["layout", database, layout["epoch"]])

    async def facts(self, database: str, facts: Mapping[str, Any], epoch: int) -> None:
        self.told.append(["facts", database, epoch])

    async def show(self, what: str) -> list[dict[str, Any]]:
        if what == "stats":
            return [{"database": "shop", **dict.fromkeys(COUNTERS, 0), "query_count": self.queries}]
        if what == "counts":
            return [{"clients": len(self.clients), "login_clients": 0, "servers": 0}]
        if what == "clients":
            return [self._client(client) for client in self.clients.values()]
        if what == "pools":
            return [{"database": "shop", "user": "app", "pool_mode": "transaction",
                     "cl_active": len(self.clients), "maxwait_us": self.index}]
        return []

    def _client(self, client: Client) -> dict[str, Any]:
        return {"id": client.id, "user": "app", "database": "shop", "state": "idle", "connect_time": 1.0}

    async def kill(self, client_id: int) -> bool:
        client = self.clients.pop(client_id, None)
        if client is not None:
            client.writer.close()
        return client is not None

    async def kill_database(self, database: str | None) -> int:
        return sum([await self.kill(client_id) for client_id in list(self.clients)])

    async def pause(self, database: str | None) -> None:
        self.told.append(["pause", database])

    async def resume(self, database: str | None) -> None:
        self.told.append(["resume", database])

    async def hold_tables(self, database: str, transfer: str, tables: list[list[str]], seconds: float,
                          asking: int = 0) -> bool:
        self.told.append(["hold_tables", database, transfer])
        return True

    async def release_tables(self, database: str, transfer: str) -> None:
        self.told.append(["release_tables", database, transfer])

    async def set_moving(self, database: str, moving: dict[str, Any]) -> None:
        self.told.append(["set_moving", database, moving])

    async def enable(self, database: str, enabled: bool) -> None:
        self.told.append(["enable", database, enabled])

    async def reconnect(self, database: str | None) -> None:
        self.told.append(["reconnect", database])

    async def wait_close(self, database: str | None) -> None:
        self.told.append(["wait_close", database])

    async def drain(self, server_id: str) -> None:
        self.told.append(["drain", server_id])

    async def cancel(self, pid: int, secret_hex: str) -> bool:
        return pid == self.index

    async def stop_accepting(self) -> None:
        for server in self.servers:
            server.close()

    async def aim(self, pid: int) -> list[Any] | None:
        return None

    async def signal_sent_to(self, pid: int) -> None:
        self.told.append(["signal_sent_to", pid])

    async def vacate(self, names: list[str]) -> None:
        self.told.append(["vacate", names])

    async def shutdown(self, grace_s: float | None, mode: str) -> None:
        self.mode = mode
        await self.stop_accepting()
        if mode == DRAIN_SERVERS:
            for client in list(self.clients.values()):
                if not client.busy:
                    await self.kill(client.id)
        if mode != "now" and (grace_s is None or grace_s > 0):
            try:
                async with asyncio.timeout(grace_s):
                    while self.clients:
                        await asyncio.sleep(0.01)
            except TimeoutError:
                pass
        self.over.set()

    async def permit(self, pool: PoolKey) -> None:
        self.told.append(["permit", pool])

    async def reclaim(self, pool: PoolKey, count: int, owed: bool = False) -> int:
        self.told.append(["reclaim", pool, count, owed])
        return 0

    async def ping(self) -> str:
        return "pong"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, line by line."""
        self.made += 1
        client = Client(connection_id(self.index, self.made), writer)
        self.clients[client.id] = client
        try:
            while line := (await reader.readline()).decode().strip():
                self.queries += 1
                writer.write(f"{await self._answer(client, line)}\n".encode())
                await writer.drain()
                if self.mode == DRAIN_SERVERS and not client.busy:
                    return
        except OSError:
            pass
        finally:
            self.clients.pop(client.id, None)
            writer.close()

    async def _answer(self, client: Client, line: str) -> str:
        word, _, rest = line.partition(" ")
        if word == "pid":
            return str(os.getpid())
        if word in ("hold", "end"):
            client.busy = word == "hold"
        elif word == "told":
            return json.dumps(self.told)
        elif word == "call":
            method, _, params = rest.partition(" ")
            assert self.endpoint is not None
            try:
                return json.dumps(await self.endpoint.call(method, **json.loads(params or "{}")))
            except Exception as error:
                return f"error {error}"
        elif word == "garbage":
            assert self.endpoint is not None
            self.endpoint._writer.write(b"\0\0\0\1{")  # what a broken worker might send
        return word


async def main() -> None:
    """Be a worker until the control channel ends or ``shutdown`` is done."""
    parser = argparse.ArgumentParser()
    for name in ("--control", "--board", "--index"):
        parser.add_argument(name, type=int)
    parser.add_argument("--listen", type=json.loads)
    arguments = parser.parse_args()
    worker = MiniWorker(arguments.index)
    Board.attach(arguments.board)
    table = handlers(worker, WorkerApi)
    endpoint = worker.endpoint = await Endpoint.over(socket.socket(fileno=arguments.control), table, "parent")
    running = asyncio.create_task(endpoint.run())
    await worker.known.wait()
    for fd, _, _ in arguments.listen:
        worker.servers.append(await asyncio.start_server(worker.serve, sock=socket.socket(fileno=fd)))
    await endpoint.call("ready", listeners=[address for _, _, address in arguments.listen])
    await asyncio.wait([running, asyncio.create_task(worker.over.wait())], return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    asyncio.run(main())
