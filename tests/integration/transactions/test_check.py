"""``check --online`` of a sharded database: prepared transactions, and who may finish them."""

from __future__ import annotations

from pathlib import Path

from shardproxy.config.load import load
from shardproxy.tools.check import Finding, check_online
from tests.fixtures.postgres import MakeCluster

from .bank import PLACES, Bank


async def ask(bank: Bank, path: Path, more: str = "") -> list[Finding]:
    """The findings about a configuration with the bank's places."""
    server = f"{bank.node.host}:{bank.node.port}"
    path.write_text(f"""
        [listen]
        postgres = "127.0.0.1:0"
        [auth.users]
        {bank.name}_teller = {{ password = "teller" }}
        [databases.{bank.name}]
        server_user = "{bank.name}_keeper"
        server_password = "keeper"
        default_keyspace = "main"
        {more}
        keyspaces.main.shards.main.primary = "{server}/{bank.dbname("")}"
        keyspaces.customer.shards.s0.primary = "{server}/{bank.dbname(PLACES[1])}"
        keyspaces.customer.shards.s1.primary = "{server}/{bank.dbname(PLACES[2])}"
        keyspaces.customer.tables.account.key = "id"
        """)
    return await check_online(load(path, {}))


def said(findings: list[Finding], level: str) -> str:
    """What was said about transactions at one level."""
    return "\n".join(str(one) for one in findings if one.level == level and "transactions" in str(one))


async def test_all_is_well(bank: Bank, tmp_path: Path) -> None:
    findings = await ask(bank, tmp_path / "shardproxy.toml")
    assert said(findings, "error") + said(findings, "warn") == ""
    assert said(findings, "ok").count("50 prepared transactions at a time") == 3
    assert any("restore points" in one.text and one.level == "warn" for one in findings)


async def test_a_user_who_is_not_granted(bank: Bank, tmp_path: Path) -> None:
    keeper, teller = f"{bank.name}_keeper", f"{bank.name}_teller"
    await bank.node.sql(f"revoke {teller} from {keeper}")
    findings = await ask(bank, tmp_path / "shardproxy.toml")
    assert said(findings, "error").count(f'GRANT "{teller}" TO "{keeper}"') == 3
    refused = await ask(bank, tmp_path / "refuse.toml", 'transactions = "refuse"')
    assert said(refused, "error") == ""


async def test_nothing_can_be_prepared(fresh_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = await fresh_cluster(replicas=0, extra={"max_prepared_transactions": "0"})
    bank = Bank(cluster.primary, None)
    await bank.build()
    findings = await ask(bank, tmp_path / "shardproxy.toml")
    assert said(findings, "error").count("max_prepared_transactions is 0") == 3
