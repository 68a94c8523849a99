"""Garbage collection: what transfers made on servers and did not drop, because a server or the tool was gone.

Invariant: only objects that a transfer has noted are dropped, and only of transfers that have ended or that have no
record; a place that cannot be reached keeps its notes, so the next run finds them again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from shardproxy.errors import ShardproxyError

from .dropping import drop_object
from .journal import FINAL, Journal, Object
from .servers import FAILURES, Servers

__all__ = ["collect"]


async def collect(servers: Servers, journal: Journal, dry_run: bool) -> AsyncIterator[tuple[str, bool]]:
    """What was dropped, line by line, and whether it went well. The youngest object first."""
    states = {record.name: record.state for record in await journal.records() if record.body.get("started")}
    found = 0
    for one in reversed(await journal.objects()):
        state = states.get(one.name)
        if state is not None and state not in FINAL:
            continue
        if one.kind == "table" and state != "CANCELLED":
            if state == "DONE":         # it is in use
                await journal.forget_object(one.name, one.place, one.kind, one.object)
            continue
        found += 1
        where = one.place or "the coordinator"
        text = f"{one.kind} {one.object} at {where}, of {one.name}"
        if dry_run:
            yield f"would drop {text}", True
            continue
        failed = await _drop(servers, journal, one)
        yield (f"{text}: {failed}", False) if failed else (f"dropped {text}", True)
    if not found:
        yield "nothing to collect", True


async def _drop(servers: Servers, journal: Journal, one: Object) -> str:
    """Why it could not be dropped; empty: it is gone."""
    try:
        async with servers.connected(one.place) as connection:
            await drop_object(connection, one.kind, one.object)
        await journal.forget_object(one.name, one.place, one.kind, one.object)
    except KeyError:
        return "its place is in the configuration no more"
    except (ShardproxyError, *FAILURES) as error:
        return f"{error}" or type(error).__name__
    except Exception as error:      # LinkError: connecting failed
        return f"{error}"
    return ""
