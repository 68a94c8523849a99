"""What recovery finishes, what it leaves alone, and what it leaves behind: nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from shardproxy import dialects
from shardproxy.dialects.postgres.sharded.decisions import decide_sql
from shardproxy.dialects.postgres.sharded.errors import PgError
from shardproxy.log import get_logger
from shardproxy.server import recovery as recovery_module
from shardproxy.server.incarnations import Incarnations
from shardproxy.server.place_links import PlaceLinks
from shardproxy.server.recovery import Recovery
from shardproxy.transactions.gid import new_gid

from .bank import PLACES, START, Bank, Fault, Killed, TestLeg

MOVES = {"": -5, "customer/s0": 3, "customer/s1": 2}
BEFORE, AFTER = [START] * 3, [START - 5, START + 3, START + 2]


class Gate(Fault):
    """Stops a commit before its command number `at` until ``open`` is set."""

    def __init__(self, at: int) -> None:
        super().__init__(-1)
        self.gate_at, self.reached, self.open = at, asyncio.Event(), asyncio.Event()


class GatedLeg(TestLeg):
    """A leg that waits at the gate."""

    async def command(self, sql: str) -> str:
        assert isinstance(self.fault, Gate)
        if self.fault.count + 1 == self.fault.gate_at:
            self.fault.reached.set()
            await self.fault.open.wait()
        return await super().command(sql)


async def gated(bank: Bank, at: int) -> tuple[Gate, list[TestLeg]]:
    gate = Gate(at)
    legs = await bank.legs(gate, MOVES)
    for leg in legs:
        leg.__class__ = GatedLeg
    return gate, legs


async def rows(bank: Bank, place: str) -> int:
    return int(await bank.value(place, "select count(*) from shardproxy.decisions"))


async def test_decisions_are_forgotten(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "TIDY_EVERY", 2)
    process = await bank.worker()
    legs = await bank.legs(Fault(), MOVES)
    await bank.commit(process, legs)
    assert await rows(bank, "") == 1
    async with asyncio.timeout(5):
        while await rows(bank, ""):
            await asyncio.sleep(0.02)
    await bank.close(legs)
    for at in (3, 5):       # an abort and a commit of a process that is dead
        process = await bank.worker()
        legs = await bank.legs(Fault(at), MOVES)
        with pytest.raises(Killed):
            await bank.commit(process, legs)
        bank.kill(process)
        await bank.settled()
        assert await rows(bank, "") == 1
        async with asyncio.timeout(5):
            while await rows(bank, ""):
                await bank.recovery.round()
        await bank.close(legs)


async def test_an_abort_is_kept_while_an_older_transaction_runs_at_the_decider(
        bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "TIDY_EVERY", 2)
    older = await bank.connect("")
    await older.execute("begin; select 1")
    process = await bank.worker()
    legs = await bank.legs(Fault(3), MOVES)
    with pytest.raises(Killed):
        await bank.commit(process, legs)
    bank.kill(process)
    async with asyncio.timeout(10):
        while await bank.prepared():
            await bank.recovery.round()
    for _ in range(8):
        await bank.recovery.round()
    assert await rows(bank, "") == 1
    await older.close()
    async with asyncio.timeout(5):
        while await rows(bank, ""):
            await bank.recovery.round()
    await bank.close(legs)


async def test_names_of_others_are_left_alone(bank: Bank) -> None:
    await bank.worker()
    teller = await bank.connect("customer/s0")
    installation = await bank.value("", "select id from shardproxy.installation")
    names = ["mine", "shardproxy:someone:::else:1", f"shardproxy:{installation}:nowhere:customer/s0:0123456789abcdef:1"]
    for name in names:
        await teller.execute(f"begin; create temp table t (n int) on commit drop; rollback; begin; select 1; "
                             f"prepare transaction '{name}'")
    for _ in range(3):
        await bank.recovery.round()
    assert await bank.prepared() == 3
    assert [one.gid for one in bank.recovery.in_doubt()] == [names[2]]
    for name in names:
        await teller.execute(f"rollback prepared '{name}'")
    await bank.recovery.round()
    assert bank.recovery.in_doubt() == []
    await teller.close()


async def test_a_commit_under_way_is_left_alone(bank: Bank) -> None:
    process = await bank.worker()
    gate, legs = await gated(bank, 3)
    work = asyncio.ensure_future(bank.commit(process, legs))
    await gate.reached.wait()
    assert await bank.prepared() == 2
    for _ in range(3):
        await bank.recovery.round()
    assert await bank.prepared() == 2
    gate.open.set()
    assert await work == ()
    assert await bank.balances() == AFTER
    await bank.close(legs)


async def other_proxy(bank: Bank, folder: Path) -> Recovery:
    """Recovery of a proxy on another host, which has no workers."""
    links = PlaceLinks(lambda: bank.config.databases, bank.view, dialects.get)
    return Recovery(links, Incarnations(folder), bank.workers, get_logger("recovery"))


async def test_another_proxy_waits_for_the_lease_and_then_decides(bank: Bank, tmp_path: Path) -> None:
    process = await bank.worker()
    gate, legs = await gated(bank, 3)
    work = asyncio.ensure_future(bank.commit(process, legs))
    await gate.reached.wait()
    other = await other_proxy(bank, tmp_path / "other")
    await other.round()
    assert await bank.prepared() == 2, "its coordinator has a lease"
    await bank.node.sql("update shardproxy.incarnations set renewed_at = now() - interval '1 hour' "
                        f"where id = '{bank.incarnations.own}'", dbname=bank.name)
    await other.round()
    assert await bank.prepared() == 0
    gate.open.set()         # the coordinator lives after all, and cannot decide any more
    with pytest.raises(PgError) as caught:
        await work
    assert (caught.value.sqlstate, await bank.balances()) == ("40001", BEFORE)
    other._links.close()
    await bank.close(legs)


async def test_who_is_cancelled_carries_through(bank: Bank) -> None:
    process = await bank.worker()
    gate, legs = await gated(bank, 4)
    work = asyncio.ensure_future(bank.commit(process, legs))
    await gate.reached.wait()
    work.cancel()
    await asyncio.sleep(0.05)
    work.cancel()
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (await bank.balances(), await bank.prepared()) == (AFTER, 0)
    await bank.close(legs)


async def test_temporary_objects_make_the_decider(bank: Bank) -> None:
    process = await bank.worker()
    legs = await bank.legs(Fault(), MOVES)
    await legs[2].run("create temp table mine (n int) on commit drop")
    legs[2].temporary = True
    await bank.commit(process, legs)
    assert (await bank.balances(), await rows(bank, "customer/s1"), await rows(bank, "")) == (AFTER, 1, 0)
    await bank.close(legs)
    legs = await bank.legs(Fault(), MOVES)
    legs[1].temporary = legs[2].temporary = True
    with pytest.raises(PgError) as caught:
        await bank.commit(process, legs)
    assert (caught.value.sqlstate, await bank.balances()) == ("0A000", AFTER)
    assert not any(leg.connection.is_in_transaction() for leg in legs)
    await bank.close(legs)


async def test_readers_and_one_writer_need_one_phase(bank: Bank) -> None:
    process, fault = await bank.worker(), Fault()
    legs = await bank.legs(fault, {"customer/s0": 7}, readers=["", "customer/s1"])
    await bank.commit(process, legs)
    assert fault.count == 3
    assert (await bank.balances(), await rows(bank, "customer/s0")) == ([START, START + 7, START], 0)
    await bank.close(legs)
    fault = Fault(1, "sent", kill=False)
    legs = await bank.legs(fault, {"customer/s0": 7}, readers=["customer/s1"])
    with pytest.raises(PgError) as caught:
        await bank.commit(process, legs)
    assert caught.value.sqlstate == "08007"
    await bank.close(legs)


async def test_nothing_is_committed_before_the_coordinator_was_reached(bank: Bank) -> None:
    process = await bank.worker()
    process.transactions.of(bank.name).installation = ""
    legs = await bank.legs(Fault(), MOVES)
    with pytest.raises(PgError) as caught:
        await bank.commit(process, legs)
    assert (caught.value.sqlstate, await bank.balances(), await bank.prepared()) == ("57P03", BEFORE, 0)
    await bank.close(legs)


async def test_users_cannot_decide_for_others(bank: Bank) -> None:
    """Names can be seen by everybody; the proof cannot."""
    teller = await bank.connect("")
    gid, proof = new_gid("x", "", "0123456789abcdef0001", 1)
    for sql in ("select * from shardproxy.decisions", "insert into shardproxy.decisions values ('a', true)",
                "delete from shardproxy.decisions", "create table shardproxy.t (n int)",
                "select * from shardproxy.installation", decide_sql(gid.key, "0" * 32)):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await teller.execute(sql)
    with pytest.raises(asyncpg.NoActiveSQLTransactionError):
        await teller.execute(decide_sql(gid.key, proof))
    await teller.execute("create temp table decisions (gid text, committed boolean)")
    await teller.execute("begin; set local search_path = pg_temp; set local synchronous_commit = off")
    await teller.execute(decide_sql(gid.key, proof))
    assert await teller.fetchval("show synchronous_commit") == "on"
    await teller.execute("commit")
    assert (await rows(bank, ""), await teller.fetchval("select count(*) from pg_temp.decisions")) == (1, 0)
    await teller.close()


async def test_a_restore_point_waits_for_commits(bank: Bank) -> None:
    process = await bank.worker()
    await bank.node.sql(f"grant execute on function pg_create_restore_point to {bank.name}_keeper")
    for place in PLACES:
        await bank.node.sql(f"grant execute on function pg_create_restore_point to {bank.name}_keeper",
                            dbname=bank.dbname(place))
    gate, legs = await gated(bank, 3)
    work = asyncio.ensure_future(bank.commit(process, legs))
    await gate.reached.wait()
    point = asyncio.ensure_future(bank.recovery.restore_point(bank.name, "noon"))
    await asyncio.sleep(0.05)
    assert not point.done()
    gate.open.set()
    await work
    assert [place for place, _ in await point] == list(PLACES)
    await asyncio.gather(*bank.workers.tasks)
    await bank.close(legs)
    legs = await bank.legs(Fault(), MOVES)      # commits are not held any more
    await bank.commit(process, legs)
    await bank.close(legs)
    for place in PLACES:
        await bank.node.sql(f"revoke all on function pg_create_restore_point from {bank.name}_keeper",
                            dbname=bank.dbname(place))
    await bank.node.sql(f"revoke all on function pg_create_restore_point from {bank.name}_keeper")


async def test_the_coordinator_is_down_and_a_worker_dies(bank: Bank) -> None:
    """What a dead worker left at the shards is finished without the coordinator, if a shard decides."""
    process = await bank.worker()
    legs = await bank.legs(Fault(2, "answered"), {"customer/s0": 3, "customer/s1": -3})
    with pytest.raises(Killed):
        await bank.commit(process, legs)
    bank.kill(process)
    bank.down.add("")
    await bank.settled()
    bank.down.clear()
    assert await bank.balances() == BEFORE
    await bank.close(legs)
