"""``check --online`` against real servers: what is right, and everything that can be wrong, each made on purpose."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from shardproxy.config.load import load
from shardproxy.tools.check import EXIT_FAILED, EXIT_OK, Finding, check, check_online
from shardproxy.tools.cluster import Cluster
from shardproxy.tools.postgres_binaries import Binaries
from tests.fixtures.postgres import MakeCluster

Ask = Callable[..., Awaitable[list[Finding]]]


def text_for(cluster: Cluster, *, users: str = "", more: str = "", user: str = "postgres") -> str:
    """A configuration for a cluster whose servers ask for passwords."""
    replicas = ", ".join(f'"{node.host}:{node.port}/postgres"' for node in cluster.replicas)
    return f"""
        [listen]
        postgres = "127.0.0.1:0"
        [auth.users]
        {users or 'postgres = { password = "not-a-secret" }'}
        [databases.postgres]
        server_user = "{user}"
        server_password = "not-a-secret"
        primary = "{cluster.primary.host}:{cluster.primary.port}/postgres"
        replicas = [{replicas}]
        {more}
        """


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """All findings about a text."""

    async def ask_it(text: str) -> list[Finding]:
        path = tmp_path / "shardproxy.toml"
        path.write_text(text)
        return await check_online(load(path, {}))

    return ask_it


async def streaming(cluster: Cluster) -> None:
    """Wait until all replicas receive changes."""
    for replica in cluster.replicas:
        await replica.until("select exists (select from pg_stat_wal_receiver where status = 'streaming')")


def said(findings: list[Finding], level: str) -> str:
    """Everything that was said at one level."""
    return "\n".join(str(finding) for finding in findings if finding.level == level)


async def test_a_good_cluster(fresh_cluster: MakeCluster, ask: Ask) -> None:
    cluster = await fresh_cluster(replicas=1, auth="scram-sha-256", synchronous="ANY 1 (*)")
    await streaming(cluster)
    findings = await ask(text_for(cluster))
    assert said(findings, "error") + said(findings, "warn") == ""
    ok = said(findings, "ok")
    assert "primary, timeline 1, wal_level logical" in ok
    assert "replica, timeline 1" in ok
    assert "replicates from postgres/main/main/0" in ok
    assert "synchronous replication: ANY 1 (*)" in ok
    assert "1 user can log in to 2 servers" in ok


async def test_asynchronous_replication_is_warned_of(cluster: Cluster, ask: Ask) -> None:
    findings = await ask(text_for(cluster))
    assert "acknowledged writes may be lost at a failover" in said(findings, "warn")
    assert said(findings, "error") == ""


async def test_the_command(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "shardproxy.toml"
    for more, code in (("", EXIT_OK), ('[auth.users.nobody]\npassword = "x"\n', EXIT_FAILED)):
        path.write_text(text_for(cluster, more=more))
        out = io.StringIO()
        assert await asyncio.to_thread(check, path, online=True, env={}, out=out) == code
        assert ("\nok\n" in out.getvalue()) == (code == EXIT_OK)


async def test_roles_and_rights(fresh_cluster: MakeCluster, ask: Ask) -> None:
    cluster = await fresh_cluster(replicas=0, auth="scram-sha-256")
    primary = cluster.primary
    await primary.sql("create role weak login password 'not-a-secret'; create role app login password 'right';"
                      "create role other login password 'right'; create role locked login password 'right';"
                      "create role asleep nologin")
    await primary.sql("create database closed")
    await primary.sql("revoke connect on database closed from public; grant connect on database closed to weak")
    verifier = await primary.value("select rolpassword from pg_authid where rolname = 'other'")
    users = f"""
        app = {{ password = "wrong" }}
        asleep = {{ password = "x" }}
        renamed = {{ server_user = "app", password = "any", server_password = "right" }}
        other = {{ verifier = "{verifier}" }}
        locked = {{ verifier = "{verifier}" }}
        """
    findings = await ask(text_for(cluster, users=users))
    errors = said(findings, "error")
    assert "user app cannot log in: password authentication failed" in errors
    assert "user asleep: there is no role asleep" in errors
    assert "user locked: the verifier is not that of the role" in errors
    assert "renamed" not in errors
    assert "other" not in errors
    assert not any(secret in errors for secret in (verifier, "wrong", "right"))

    findings = await ask(text_for(cluster, users=users, user="weak"))
    assert 'GRANT pg_monitor TO "weak"' in said(findings, "error")
    assert "may not read them" in said(findings, "warn")

    shut = text_for(cluster, users=f'other = {{ verifier = "{verifier}" }}').replace("/postgres", "/closed")
    assert "user other: may not connect to the database closed" in said(await ask(shut), "error")


async def test_auth_query(cluster: Cluster, ask: Ask) -> None:
    for query, level, words in (
            ("SELECT usename, passwd FROM pg_shadow WHERE usename = $1", "ok", "runs"),
            ("SELECT usename FROM pg_user WHERE usename = $1", "error", "gives 1 column"),
            ("SELECT x, y FROM nowhere WHERE usename = $1", "error", 'relation "nowhere" does not exist')):
        findings = await ask(text_for(cluster, more=f'[auth]\nauth_query = "{query}"\n'))
        assert any(words in finding.text for finding in findings
                   if finding.level == level and finding.subject.startswith("auth.auth_query"))


async def test_servers_that_do_not_fit(fresh_cluster: MakeCluster, ask: Ask) -> None:
    one, two = await fresh_cluster(replicas=2), await fresh_cluster(replicas=1)
    await streaming(one)
    stranger = one.replicas[1]
    text = text_for(one).replace(f":{stranger.port}/", f":{two.replicas[0].port}/")
    assert "another system identifier" in said(await ask(text), "error")
    text = text_for(one).replace(f":{stranger.port}/", f":{two.primary.port}/")
    assert "several servers accept writes" in said(await ask(text), "error")
    text = text_for(two).replace(f":{two.primary.port}/", f":{one.replicas[0].port}/")
    assert "no server is a primary" in said(await ask(text), "error")
    text = text_for(one)
    await stranger.kill9()
    assert f"{stranger.host}:{stranger.port}: server_user postgres cannot ask it" in said(await ask(text), "error")


async def test_after_a_failover(fresh_cluster: MakeCluster, ask: Ask) -> None:
    cluster = await fresh_cluster(replicas=2)
    await streaming(cluster)
    text, left = text_for(cluster), cluster.replicas[1]
    await cluster.primary.kill9()
    await cluster.replicas[0].promote()
    findings = await ask(text)
    assert "is the primary, though configured as a replica" in said(findings, "warn")
    assert f"{left.port}: receives no changes from its primary" in said(findings, "warn")


async def test_pools_that_are_too_large(cluster: Cluster, ask: Ask) -> None:
    findings = await ask(text_for(cluster, more="pool_size = 500"))
    assert "may need 500 connections" in said(findings, "warn")
    assert "may need" not in said(await ask(text_for(cluster, more="pool_size = 500\nmax_db_connections = 50")), "warn")


async def test_tls_towards_the_servers(binaries: Binaries, fresh_cluster: MakeCluster, ask: Ask) -> None:
    cluster = await fresh_cluster(replicas=0, tls=binaries.tls)
    cases = [('mode = "require"', "" if binaries.tls else "rejected SSL upgrade")]
    if binaries.tls:
        cases += [(f'mode = "verify-full", ca = "{cluster.folder}/ca.crt"', ""),
                  (f'mode = "verify-ca", ca = "{cluster.folder}/server.crt"', "certificate verify failed")]
    for server_tls, words in cases:
        errors = said(await ask(text_for(cluster, more=f"server_tls = {{ {server_tls} }}")), "error")
        assert words in errors
        assert bool(words) == bool(errors)


async def test_any_other_database(cluster: Cluster, ask: Ask) -> None:
    text = text_for(cluster).replace("[databases.postgres]", '[databases."*"]').replace("/postgres", "")
    findings = await ask(text)
    assert "*/main/main/0" in said(findings, "ok")
    assert said(findings, "error") == ""
