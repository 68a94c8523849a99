"""A bank over three real databases, tellers who move money, and ways for a commit to be interrupted.

The proxy's own user (``keeper``) is no superuser and no teller. What is under test is the real thing: the commit, the
worker's and the parent's side of it, recovery, on a real server; only the control channel is a plain call.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg

from shardproxy import dialects
from shardproxy.config.model import Config, Database
from shardproxy.dialects.postgres.sharded.decisions import COORDINATOR_SQL, PLACE_SQL
from shardproxy.dialects.postgres.sharded.errors import PgError
from shardproxy.dialects.postgres.sharded.two_phase import commit_legs
from shardproxy.log import get_logger
from shardproxy.server.incarnations import Incarnations
from shardproxy.server.place_links import PlaceLinks
from shardproxy.server.recovery import Recovery
from shardproxy.server.worker_transactions import TransactionOperations
from shardproxy.tools.cluster import Node
from shardproxy.topology.view import PRIMARY, DatabaseView, ServerView, TopologyView
from shardproxy.transactions.coordination import Transactions

__all__ = ["PLACES", "Bank", "Fault", "Killed", "Process", "TestLeg"]

PLACES = ("", "customer/s0", "customer/s1")
START = 100
_numbers = itertools.count(1)


class Killed(BaseException):
    """The process that runs this is dead: nothing of it may handle this."""


@dataclass
class Fault:
    """Strikes at the command with number `at` of a commit.

    ``when``: "before" it is sent, after it is "sent", after it is "answered". ``kill``: the whole process; else that
    one connection is cut (``down``: and its place cannot be reached until it is repaired).
    """

    at: int = -1
    when: str = "before"
    kill: bool = True
    down: bool = False
    count: int = 0
    legs: list[TestLeg] = field(default_factory=list)
    struck: str = ""

    def strikes(self, when: str, sql: str) -> bool:
        hit = self.count == self.at and self.when == when
        if hit:
            self.struck = sql
        return hit


class TestLeg:
    """A ``Leg`` over a plain connection."""

    __test__ = False

    def __init__(self, bank: Bank, place: str, connection: asyncpg.Connection, fault: Fault) -> None:
        self.bank, self.place, self.connection, self.fault = bank, place, connection, fault
        self.wrote = self.temporary = False
        self.dead = False
        fault.legs.append(self)

    async def run(self, sql: str) -> None:
        """Before the commit: no faults."""
        await self.connection.execute(sql)

    async def command(self, sql: str) -> str:
        if self.dead:
            raise Killed
        self.fault.count += 1
        if self.fault.strikes("before", sql):
            self.strike()
        if self.fault.strikes("sent", sql):
            sending = asyncio.ensure_future(self.connection.execute(sql))
            await asyncio.sleep(0)
            self.connection.terminate()
            await asyncio.gather(sending, return_exceptions=True)
            self.strike()
        number = self.fault.count
        try:
            tag = await self.connection.execute(sql)
        except (asyncpg.PostgresError, OSError, asyncpg.InterfaceError) as error:
            raise self.error(error) from error
        if number == self.fault.at and self.fault.when == "answered":
            self.fault.struck = sql
            self.strike()
        if self.dead:
            raise Killed
        return str(tag)

    def strike(self) -> None:
        if self.fault.kill:
            for leg in self.fault.legs:
                leg.dead = True
                leg.connection.terminate()
            raise Killed
        self.connection.terminate()
        if self.fault.down:
            self.bank.down.add(self.place)
        raise self.lost()

    def error(self, error: Exception) -> BaseException:
        if self.dead:
            return Killed()
        if not isinstance(error, asyncpg.PostgresError) or error.sqlstate.startswith("08"):
            return self.lost()
        fields = {"S": error.severity, "V": error.severity_en or error.severity, "C": error.sqlstate,
                  "M": str(error), "n": error.constraint_name or ""}
        return PgError({code: str(value) for code, value in fields.items()})

    def lost(self) -> PgError:
        error = PgError.of("08006", "the connection was lost")
        error.lost = True
        return error


class Process(TransactionOperations):
    """A worker's side of transactions; calls to the parent are calls of ``Recovery``."""

    def __init__(self, bank: Bank, index: int) -> None:
        self.bank, self.index = bank, index
        self.transactions = Transactions(lambda: self)
        self.databases = {}
        self.killed = False

    async def call(self, method: str, /, timeout: float | None = 10, **params: Any) -> Any:
        if self.killed:
            raise Killed
        return await getattr(self.bank.recovery, method)(**params)

    def notify(self, method: str, /, **params: Any) -> None:
        if not self.killed:
            self.bank.tasks.append(asyncio.ensure_future(getattr(self.bank.recovery, method)(**params)))


class Workers:
    """The parent's calls to its workers."""

    def __init__(self) -> None:
        self.all: dict[int, Process] = {}
        self.tasks: list[asyncio.Future[Any]] = []

    async def call(self, index: int, method: str, /, timeout: float | None = 10, **params: Any) -> Any:
        return await getattr(self.all[index], method)(**params)

    def notify(self, index: int, method: str, /, **params: Any) -> None:
        self.tasks.append(asyncio.ensure_future(getattr(self.all[index], method)(**params)))


class Bank:
    """``name``: of the coordinator's database; those of the shards begin with it."""

    def __init__(self, node: Node, folder: Any) -> None:
        self.node, self.name = node, f"bank{next(_numbers)}"
        self.down: set[str] = set()
        self.workers = Workers()
        self.tasks: list[asyncio.Future[Any]] = []
        server = f"{node.host}:{node.port}"
        self.config = Config.model_validate({"databases": {self.name: {
            "primary": server, "server_user": f"{self.name}_keeper", "server_password": "keeper"}}})
        self.folder = folder
        self.recovery = self.new_recovery()

    def new_recovery(self) -> Recovery:
        """Another parent, on this host."""
        self.incarnations = Incarnations(self.folder)
        self.links = PlaceLinks(lambda: self.config.databases, self.view, dialects.get)
        self.recovery = Recovery(self.links, self.incarnations, self.workers, get_logger("recovery"))
        return self.recovery

    @property
    def entry(self) -> Database:
        return self.config.databases[self.name]

    def dbname(self, place: str) -> str:
        return f"{self.name}_{place[-2:]}" if place else self.name

    def view(self) -> TopologyView:
        """All places are on one server; those in ``down`` have no primary."""
        views = {}
        for number, place in enumerate(PLACES):
            name = f"{self.name}/{place}" if place else self.name
            server = ServerView(f"{name}/0", number, self.node.host, self.node.port, self.dbname(place),
                                role=PRIMARY, healthy=True)
            view = DatabaseView(name, number, False, server.id, (server,), owner=self.name if place else "")
            views[name] = replace(view, primary=None, hold=True) if place in self.down else view
        return TopologyView(1, views)

    async def build(self) -> None:
        keeper, teller = f"{self.name}_keeper", f"{self.name}_teller"
        await self.node.sql(f"create role {keeper} login password 'keeper'")
        await self.node.sql(f"create role {teller} login password 'teller'")
        await self.node.sql(f"grant {teller} to {keeper}")
        await self.node.sql(f"grant pg_monitor to {keeper}")
        for place in PLACES:
            await self.node.sql(f"create database {self.dbname(place)} owner {keeper}")
            connection = await self.connect(place, keeper)
            await connection.execute(PLACE_SQL + ("" if place else COORDINATOR_SQL))
            await connection.execute(f"create table account (id int primary key, money int not null); "
                                     f"insert into account values (1, {START}); grant all on account to {teller}")
            await connection.close()

    async def remove(self) -> None:
        self.links.close()
        self.incarnations.close()
        for place in PLACES:
            await self.node.sql(f"drop database {self.dbname(place)} with (force)")
        for role in ("keeper", "teller"):
            await self.node.sql(f"drop role {self.name}_{role}")

    async def connect(self, place: str, user: str = "") -> asyncpg.Connection:
        user = user or f"{self.name}_teller"
        return await asyncpg.connect(host=self.node.host, port=self.node.port, user=user, ssl=False,
                                     password=user.rpartition("_")[2], database=self.dbname(place))

    # -- workers

    async def worker(self, index: int = 0) -> Process:
        """A worker that has been told everything."""
        self.workers.all[index] = process = Process(self, index)
        self.recovery.introduce(index)
        await self.recovery.round()
        await asyncio.gather(*self.workers.tasks)
        assert process.transactions.of(self.name).installation
        return process

    def kill(self, process: Process) -> None:
        """It is dead, and the parent hears of it."""
        process.killed = True
        del self.workers.all[process.index]
        self.recovery.gone(process.index)

    # -- money

    async def legs(self, fault: Fault, amounts: Mapping[str, int], readers: Sequence[str] = ()) -> list[TestLeg]:
        """A transaction that adds these amounts, ready to be committed."""
        legs = []
        for place in (*amounts, *readers):
            leg = TestLeg(self, place, await self.connect(place), fault)
            await leg.run("begin")
            if place in amounts:
                await leg.run(f"update account set money = money + {amounts[place]}")
                leg.wrote = True
            else:
                await leg.run("select * from account")
            legs.append(leg)
        return legs

    async def commit(self, process: Process, legs: Sequence[TestLeg]) -> tuple[str, ...]:
        return await commit_legs(legs, process.transactions.of(self.name))

    async def close(self, legs: Sequence[TestLeg]) -> None:
        for leg in legs:
            leg.connection.terminate()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def value(self, place: str, sql: str) -> Any:
        return await self.node.value(sql, dbname=self.dbname(place))

    async def balances(self) -> list[int]:
        return [await self.value(place, "select money from account") for place in PLACES]

    async def prepared(self) -> int:
        """How many prepared transactions of this bank there are."""
        names = ", ".join(f"'{self.dbname(place)}'" for place in PLACES)
        return int(await self.value("", f"select count(*) from pg_prepared_xacts where database in ({names})"))

    async def sessions(self) -> int:
        """How many connections of tellers the server still has."""
        return int(await self.value("", f"select count(*) from pg_stat_activity where usename = '{self.name}_teller'"))

    async def settled(self, timeout: float = 15) -> None:
        """Recovery goes on until no teller is connected and nothing is prepared."""
        async with asyncio.timeout(timeout):
            while True:
                gone = not await self.sessions()
                await self.recovery.round()
                if gone and not await self.prepared():
                    return
                await asyncio.sleep(0.02)
