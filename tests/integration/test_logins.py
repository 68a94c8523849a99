"""Logins from end to end: a client through the proxy to servers that ask for a password themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Cluster
from shardproxy.tools.cluster.certificates import Authority
from shardproxy.tools.postgres_binaries import Binaries
from tests.fixtures.proxy import Proxy, StartProxy

SECRET = "correct horse"
AUTH: dict[str, Any] = {"method": "scram-sha-256", "admin_users": None}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(binaries: Binaries) -> AsyncIterator[Cluster]:
    """A server that asks for SCRAM, with the user ``app``; with TLS if it can."""
    settings: dict[str, Any] = {"auth": "scram-sha-256", "password": "admin secret", "tls": binaries.tls}
    async with Cluster(0, binaries=binaries, **settings) as made:
        await made.primary.sql(f"create role app login password '{SECRET}'")
        yield made


def entry(cluster: Cluster, **more: Any) -> dict[str, Any]:
    primary = cluster.primary
    return {"*": {"primary": f"{primary.host}:{primary.port}", "server_password": "admin secret", **more}}


async def who(proxy: Proxy, password: str, user: str = "app", **options: Any) -> str:
    async with await psycopg.AsyncConnection.connect(
        proxy.dsn("postgres", user, password.replace(" ", "%20")), autocommit=True, **options
    ) as connection:
        row = await (await connection.execute("select current_user")).fetchone()
    assert row is not None
    return str(row[0])


async def refused(proxy: Proxy, password: str, user: str = "app", **options: Any) -> str:
    with pytest.raises(psycopg.OperationalError) as error:
        await who(proxy, password, user, **options)
    return str(error.value)


async def test_a_verifier_is_enough_to_log_in_to_the_server(
    cluster: Cluster, start_proxy: StartProxy
) -> None:
    """SCRAM pass-through: the proxy knows no password, only the key that the client proves."""
    verifier = str(await cluster.primary.value("select rolpassword from pg_authid where rolname = 'app'"))
    proxy = start_proxy(auth=AUTH | {"users": {"app": {"verifier": verifier}}}, databases=entry(cluster))
    assert await who(proxy, SECRET) == "app"
    assert "password authentication failed" in await refused(proxy, "wrong")
    assert "password authentication failed" in await refused(proxy, SECRET, user="nobody_known")
    assert SECRET not in proxy.log and verifier not in proxy.log


async def test_auth_query_finds_users(cluster: Cluster, start_proxy: StartProxy) -> None:
    query = "select usename, passwd from pg_shadow where usename = $1"
    proxy = start_proxy(auth=AUTH | {"auth_query": query}, databases=entry(cluster))
    assert await who(proxy, SECRET) == "app"
    assert "password authentication failed" in await refused(proxy, "wrong")
    assert "password authentication failed" in await refused(proxy, SECRET, user="nobody_known")


async def test_the_servers_see_another_user_if_told_so(cluster: Cluster, start_proxy: StartProxy) -> None:
    users = {"front": {"password": "front door", "server_user": "app", "server_password": SECRET}}
    proxy = start_proxy(auth=AUTH | {"method": "md5", "users": users}, databases=entry(cluster))
    assert await who(proxy, "front door", user="front") == "app"
    assert "password authentication failed" in await refused(proxy, "back door", user="front")


async def test_a_server_that_refuses_us_is_told_to_the_client(
    cluster: Cluster, start_proxy: StartProxy
) -> None:
    """The proxy lets the user in, the server does not: its own words, at once."""
    users = {"app": {"password": SECRET, "server_password": "out of date"}}
    proxy = start_proxy(auth=AUTH | {"users": users}, databases=entry(cluster))
    assert 'password authentication failed for user "app"' in await refused(proxy, SECRET, connect_timeout=10)


async def test_a_database_that_is_not_there(cluster: Cluster, start_proxy: StartProxy) -> None:
    proxy = start_proxy(auth=AUTH | {"users": {"app": {"password": SECRET}}}, databases=entry(cluster))
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        await psycopg.AsyncConnection.connect(
            proxy.dsn("nowhere", "app", SECRET.replace(" ", "%20")), connect_timeout=10
        )


async def test_tls_with_channel_binding_on_both_sides(
    cluster: Cluster, start_proxy: StartProxy, binaries: Binaries, tmp_path: Path
) -> None:
    if not binaries.tls:
        pytest.skip("this PostgreSQL was built without TLS")
    certificate, key = Authority().issue("localhost", hosts=("localhost", "127.0.0.1"))
    (tmp_path / "proxy.crt").write_text(certificate)
    (tmp_path / "proxy.key").write_text(key)
    (tmp_path / "proxy.key").chmod(0o600)
    tls = {"mode": "require", "certificate": str(tmp_path / "proxy.crt"), "key": str(tmp_path / "proxy.key")}
    proxy = start_proxy(
        auth=AUTH | {"users": {"app": {"password": SECRET}}, "tls": tls},
        databases=entry(cluster, server_tls={"mode": "verify-ca", "ca": str(cluster.folder / "ca.crt")}),
    )
    assert await who(proxy, SECRET, sslmode="require", channel_binding="require") == "app"
    assert "encrypted connections" in await refused(proxy, SECRET, sslmode="disable")
    encrypted = (
        "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'app'"
    )
    assert await cluster.primary.value(encrypted) is True
