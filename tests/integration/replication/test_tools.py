"""PostgreSQL's own tools, psycopg and a subscription, through the proxy: they get what they would get directly."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psycopg
import pytest

from shardproxy.tools.cluster import Cluster, Node
from shardproxy.tools.postgres_binaries import Binaries
from tests.fixtures.proxy import Proxy, StartProxy

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def run(binaries: Binaries, proxy: Proxy, program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs to its end; what it wrote."""
    process = await asyncio.create_subprocess_exec(
        binaries.program(program), "-h", proxy.host, "-p", str(proxy.port), "-U", "postgres", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PGPASSWORD": "", "PGOPTIONS": ""},
    )  # fmt: skip
    try:
        async with asyncio.timeout(150):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_base_backup(binaries: Binaries, pg: Node, start_proxy: StartProxy, tmp_path: Path) -> None:
    own = start_proxy([pg])
    for number, extra in enumerate((["-X", "stream"], ["-X", "fetch", "-F", "t", "-z"])):
        target = tmp_path / f"backup{number}"
        await run(binaries, own, "pg_basebackup", "-D", str(target), "-c", "fast", *extra)
        assert (target / "backup_manifest").exists()
    verify = await asyncio.create_subprocess_exec(binaries.program("pg_verifybackup"), str(tmp_path / "backup0"))
    assert await verify.wait() == 0


async def test_wal(binaries: Binaries, pg: Node, start_proxy: StartProxy, database: str, tmp_path: Path) -> None:
    """What pg_receivewal has written is what the server has."""
    own = start_proxy([pg])
    (tmp_path / "wal").mkdir()
    await pg.sql("create table t as select generate_series(1, 100000) a", dbname=database)
    await pg.sql("select pg_create_physical_replication_slot('received', true)")  # from here on nothing is removed
    file = await pg.value("select pg_walfile_name(pg_current_wal_lsn())")
    for number in range(3):
        await pg.sql(f"insert into t values ({number})", dbname=database)
        await pg.sql("select pg_switch_wal()")
    await pg.sql("insert into t values (9)", dbname=database)
    end = await pg.value("select pg_current_wal_lsn()::text")
    await run(binaries, own, "pg_receivewal", "-D", str(tmp_path / "wal"), "-S", "received", "--endpos", end, "-n")
    await run(binaries, own, "pg_receivewal", "-S", "received", "--drop-slot")
    whole = [path for path in (tmp_path / "wal").iterdir() if path.suffix != ".partial"]
    assert file in {path.name for path in whole}
    for path in whole:
        served = await pg.value("select pg_read_binary_file('pg_wal/' || $1)", path.name)
        assert path.read_bytes() == served


async def test_logical_decoding(binaries: Binaries, pg: Node, start_proxy: StartProxy, database: str) -> None:
    own = start_proxy([pg])
    await pg.sql("create table t (a int, v text)", dbname=database)
    decode = ("-d", database, "-S", "decoded")
    await run(binaries, own, "pg_recvlogical", *decode, "--create-slot", "-P", "test_decoding")
    await pg.sql("insert into t select i, repeat('x', 1000) from generate_series(1, 5000) i", dbname=database)
    end = await pg.value("select pg_current_wal_insert_lsn()::text")
    out = await run(binaries, own, "pg_recvlogical", *decode, "--start", "--endpos", end, "-n", "-f", "-")
    await run(binaries, own, "pg_recvlogical", *decode, "--drop-slot")
    assert sum(line.startswith("table public.t: INSERT") for line in out.splitlines()) == 5000
    assert out.count("x" * 1000) == 5000


async def test_psycopg(pg: Node, start_proxy: StartProxy, database: str) -> None:
    own = start_proxy([pg])
    async with own.psycopg(database, cursor_factory=psycopg.AsyncClientCursor, replication="database",
                           application_name="decoder") as client:
        found = await (await client.execute("IDENTIFY_SYSTEM")).fetchone()
        assert found == await (await client.execute("IDENTIFY_SYSTEM")).fetchone()
        assert found[3] == database
        assert str(found[0]) == await pg.value("select system_identifier::text from pg_control_system()")
        await client.execute("create table t (a int)")
        async with client.cursor().copy("copy t from stdin") as copy:
            for number in range(50_000):
                await copy.write(f"{number}\n")
        assert await (await client.execute("select count(*) from t")).fetchone() == (50_000,)
        assert await (await client.execute("show application_name")).fetchone() == ("decoder",)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await client.execute("select * from nowhere")
        assert await (await client.execute("select %s", ("still here",))).fetchone() == ("still here",)
    async with own.psycopg(database) as client:  # the usual server connections know nothing of it
        assert await (await client.execute("select count(*) from t where a = %s", (7,))).fetchone() == (1,)


async def test_subscription(binaries: Binaries, pg: Node, start_proxy: StartProxy, database: str) -> None:
    """Its first copies, its stream, and its slot, which it drops in the end."""
    own = start_proxy([pg], pool={"size": 10})
    await pg.sql("create table t (a int primary key); insert into t select generate_series(1, 1000); "
                 "create publication p for table t", dbname=database)
    async with Cluster(binaries=binaries) as other:
        node = other.primary
        await node.sql("create table t (a int primary key)")
        source = f"host={own.host} port={own.port} user=postgres dbname={database}"
        await node.sql(f"create subscription through connection '{source}' publication p")
        await node.until("select count(*) = 1000 from t")
        await pg.sql("insert into t select generate_series(1001, 3000); delete from t where a <= 500", dbname=database)
        await node.until("select count(*) = 2500 from t")
        kinds = {row["replication"] for row in await own.admin("SHOW CLIENTS")}
        assert "logical" in kinds
        assert "logical" in {row["replication"] for row in await own.admin("SHOW SERVERS")}
        await node.sql("drop subscription through")
    assert await pg.value("select count(*) from pg_replication_slots") == 0


async def test_standby(binaries: Binaries, pg: Node, start_proxy: StartProxy, tmp_path: Path) -> None:
    """A standby that streams through the proxy, as pg_stat_replication sees it, and which may be synchronous."""
    async with Cluster(1, binaries=binaries) as cluster:
        own = start_proxy([cluster.primary])
        replica = cluster.replicas[0]
        await cluster.primary.sql("create table t (a int)")
        await cluster.caught_up()
        text = await replica.value("show primary_conninfo")
        changed = text.replace(f"port='{cluster.primary.port}'", f"port='{own.port}'")
        assert changed != text
        await replica.sql("alter system set primary_conninfo = " + "'" + changed.replace("'", "''") + "'")
        replica.reload()
        await cluster.primary.until("select exists (select from pg_stat_replication where client_port is not null)")
        async with asyncio.timeout(30):
            while "physical" not in {row["replication"] for row in await own.admin("SHOW CLIENTS")}:
                await asyncio.sleep(0.1)
        await cluster.set_synchronous("ANY 1 (*)")
        await cluster.primary.sql("insert into t values (1)")
        await replica.until("select count(*) = 1 from t")
