"""A commit over three places is interrupted at every arrow: all or nothing, nothing left behind, nothing guessed."""

from __future__ import annotations

import pytest

from shardproxy.dialects.postgres.sharded.errors import PgError

from .bank import START, Bank, Fault, Killed

WHENS = ("before", "sent", "answered")
BEFORE = [START] * 3
AFTER = [START - 5, START + 3, START + 2]
MOVES = {"": -5, "customer/s0": 3, "customer/s1": 2}
COMMANDS = 6
"""Two PREPARE, the decision, COMMIT, two COMMIT PREPARED."""


async def test_without_a_fault(bank: Bank) -> None:
    process, fault = await bank.worker(), Fault()
    legs = await bank.legs(fault, MOVES)
    assert await bank.commit(process, legs) == ()
    assert (fault.count, await bank.balances(), await bank.prepared()) == (COMMANDS, AFTER, 0)
    assert not process.transactions.of(bank.name).active
    await bank.close(legs)


@pytest.mark.parametrize("when", WHENS)
async def test_the_proxy_is_killed(bank: Bank, when: str) -> None:
    for at in range(1, COMMANDS + 1):
        process, fault = await bank.worker(), Fault(at, when)
        before = await bank.balances()
        legs = await bank.legs(fault, MOVES)
        with pytest.raises(Killed):
            await bank.commit(process, legs)
        assert fault.struck
        bank.kill(process)
        await bank.settled()
        moved = [now - then for now, then in zip(await bank.balances(), before, strict=True)]
        assert moved in ([0, 0, 0], list(MOVES.values())), fault
        if at > 4 or (at == 4 and when == "answered"):
            assert any(moved), f"the decision was made: {fault}"
        if at < 4 or (at == 4 and when == "before"):
            assert not any(moved), f"nothing was decided: {fault}"
        await bank.close(legs)


@pytest.mark.parametrize("when", WHENS)
async def test_the_whole_proxy_is_replaced(bank: Bank, when: str) -> None:
    """The next process on this host knows at once that the one before has ended."""
    for at in range(1, COMMANDS + 1):
        process, fault = await bank.worker(), Fault(at, when)
        before = await bank.balances()
        legs = await bank.legs(fault, MOVES)
        with pytest.raises(Killed):
            await bank.commit(process, legs)
        process.killed = True
        bank.workers.all.clear()
        bank.links.close()
        bank.incarnations.close()
        bank.new_recovery()
        await bank.settled()
        moved = [now - then for now, then in zip(await bank.balances(), before, strict=True)]
        assert moved in ([0, 0, 0], list(MOVES.values())), fault
        await bank.close(legs)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("when", WHENS)
async def test_a_server_is_lost(bank: Bank, when: str, down: bool) -> None:
    """The proxy lives. What it tells the client is what happened."""
    for at in range(1, COMMANDS + 1):
        process, fault = await bank.worker(), Fault(at, when, kill=False, down=down)
        before = await bank.balances()
        legs = await bank.legs(fault, MOVES)
        told = ""
        try:
            warnings = await bank.commit(process, legs)
        except PgError as error:
            told = error.sqlstate
        doubts = set(process.transactions.of(bank.name).in_doubt)
        if down and not told:
            assert warnings and doubts == bank.down, fault
        bank.down.clear()
        await bank.close(legs)
        await bank.settled()
        await bank.recovery.round()
        moved = any(now != then for now, then in zip(await bank.balances(), before, strict=True))
        assert sum(await bank.balances()) == sum(BEFORE)
        assert told in ("", "08007", "08006", "40001"), fault
        if told != "08007":
            assert moved == (not told), (fault, told)
        elif not down:
            raise AssertionError(f"the decider could be asked: {fault}")
        assert not process.transactions.of(bank.name).in_doubt
        bank.kill(process)


async def test_a_deferred_constraint_fails_at_the_decider(bank: Bank) -> None:
    keeper = await bank.connect("", f"{bank.name}_keeper")
    await keeper.execute("create table rule (n int unique deferrable initially deferred); grant all on rule to public")
    await keeper.close()
    process, fault = await bank.worker(), Fault()
    legs = await bank.legs(fault, MOVES)
    await legs[0].run("insert into rule values (1), (1)")
    with pytest.raises(PgError) as caught:
        await bank.commit(process, legs)
    assert (caught.value.sqlstate, await bank.balances(), await bank.prepared()) == ("23505", BEFORE, 0)
    await bank.close(legs)


async def test_a_deferred_constraint_fails_at_a_participant(bank: Bank) -> None:
    keeper = await bank.connect("customer/s1", f"{bank.name}_keeper")
    await keeper.execute("create table rule (n int unique deferrable initially deferred); grant all on rule to public")
    await keeper.close()
    process, fault = await bank.worker(), Fault()
    legs = await bank.legs(fault, MOVES)
    await legs[2].run("insert into rule values (1), (1)")
    with pytest.raises(PgError) as caught:
        await bank.commit(process, legs)
    assert (caught.value.sqlstate, await bank.balances(), await bank.prepared()) == ("23505", BEFORE, 0)
    await bank.close(legs)
