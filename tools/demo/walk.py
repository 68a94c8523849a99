"""The walk-through from an empty machine to a summary; on a terminal everything stays up afterwards.

Exit codes: 0 every fact is as promised, 1 one is not or the demo could not run. Invariant: nothing is left behind,
however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Iterator

from rich.console import Console
from rich.markup import escape

from shardproxy import _compiled
from shardproxy.errors import ShardproxyError

from ..cluster.place import HOST
from . import shop
from .acts import ACTS, Act
from .facts import Facts
from .load import FAILURES
from .size import Size
from .stage import Stage

__all__ = ["demo"]

ACT_S = 120.0
WIDTH = 110
KILLED = 'ended="signal 9"'
"""In the log after a kill -9 of a worker, which the demo does itself, and counts."""


def demo(once: bool = False, size: Size | None = None) -> int:
    """Run the walk-through; with ``once`` end after it. The exit code."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    try:
        return asyncio.run(_run(console, once, size or Size()))
    except KeyboardInterrupt:
        console.print("\nended early; nothing is left behind")
        return 1
    except ShardproxyError as error:
        print(f"shardproxy demo: {error}", file=sys.stderr)
        return 1


async def _run(console: Console, once: bool, size: Size) -> int:
    main = asyncio.current_task()
    assert main is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, main.cancel)
    facts = Facts(console)
    try:
        async with Stage(size) as stage:
            await _set_up(stage, facts)
            for act in ACTS:
                await _play(act, stage, facts)
            code = _conclude(stage, facts)
            if not once:
                await _stay(stage, console)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    return code


async def _set_up(stage: Stage, facts: Facts) -> None:
    facts.console.print(f"[bold]shardproxy[/bold] demo, {_compiled.summary()}")
    facts.console.print(f"[dim]{escape(str(stage.cluster.binaries))}[/dim]")
    with _timed(facts, "a primary and two streaming replicas, synchronous_standby_names = 'ANY 1 (*)'"):
        await stage.start_cluster()
    with _timed(facts, "the proxy before them"):
        await stage.start_proxy()
    with _timed(facts, "sample data, through the proxy"):
        counts = await shop.fill(stage)
    wanted = {"customers": stage.size.customers, "products": stage.size.products, "orders": stage.size.orders}
    facts.add(
        "rows loaded through the proxy",
        ", ".join(f"{count} {table}" for table, count in counts.items()),
        all(counts[table] == count for table, count in wanted.items())
        and counts["order_items"] >= stage.size.orders,
    )
    with _timed(facts, "replicas have it, and the proxy knows the new tables"):
        await stage.cluster.caught_up()
        for table in counts:
            await stage.until_replicas_read(f"select count(*) from {table}")


@contextlib.contextmanager
def _timed(facts: Facts, what: str) -> Iterator[None]:
    began = time.monotonic()
    with facts.console.status(escape(what)):
        yield
    facts.say(f"{what}: {time.monotonic() - began:.1f} s")


async def _play(act: Act, stage: Stage, facts: Facts) -> None:
    """An act that breaks off is a fact that is not met; the others are played all the same."""
    facts.act(act.title, act.about)
    try:
        async with asyncio.timeout(ACT_S):
            await act.play(stage, facts)
    except (*FAILURES, ShardproxyError, LookupError, AssertionError) as error:
        facts.add("this part could be shown to its end", f"{type(error).__name__}: {error}", False)


def _conclude(stage: Stage, facts: Facts) -> int:
    facts.act("The proxies themselves", "What they wrote to their logs meanwhile.")
    for what, proxy in stage.proxies.items():
        found = [line for line in proxy.internal_errors() if KILLED not in line]
        facts.add(
            f"errors in the log of the proxy before {what}",
            "; ".join([str(len(found)), *found[:1]]),
            not found,
        )
    console, failed = facts.console, facts.failed
    console.print()
    console.print(facts.summary())
    if failed:
        console.print(
            f"[bold red]{len(failed)} of {len(facts.all)} facts FAILED.[/bold red] The ends of the logs:"
        )
        console.print(*(proxy.log_tail(40) for proxy in stage.proxies.values()), sep="\n\n", markup=False)
        return 1
    console.print(f"[bold green]All {len(facts.all)} facts are as promised.[/bold green]")
    return 0


async def _stay(stage: Stage, console: Console) -> None:
    """Until Ctrl-C."""
    psql = "psql" if shutil.which("psql") else stage.cluster.binaries.program("psql")
    console.print("\nEverything stays up. Try it in another terminal:")
    for what, proxy in stage.proxies.items():
        tries = {
            "the shop": f"{psql} '{proxy.url()}'",
            "the admin console": f"{psql} '{proxy.admin_url}' -c 'SHOW HELP'",
            "metrics": f"curl http://{HOST}:{proxy.http_port}/metrics",
            "configuration": str(proxy.config),
            "log": str(proxy.log),
        }
        console.print(f"\n  With {what}:")
        for name, command in tries.items():
            console.print(f"    {name:18} {command}", markup=False, soft_wrap=True)
    console.print("\nCtrl-C ends it and removes everything.", markup=False)
    ended: Awaitable[None] = asyncio.get_running_loop().create_future()
    with contextlib.suppress(asyncio.CancelledError):
        await ended
