"""SHOW WORKERS, LISTENERS, STATE, VERSION, MEM, DNS_*, PEERS: the proxy itself."""

from __future__ import annotations

import os
from pathlib import Path

from shardproxy import __version__
from shardproxy.server.state import State
from shardproxy.server.table import FLOAT, INT, TEXT, Reply

__all__ = ["dns_hosts", "dns_zones", "listeners", "mem", "memory_of", "peer_pools", "peers", "state", "version",
           "workers"]


def memory_of(pid: int) -> int:
    """Resident memory of a process; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


async def workers(proxy: State) -> Reply:
    """One row for each worker process."""
    counts = dict(await proxy.workers.show("counts"))
    rows = [[index, pid or None, round(seconds, 1), restarts, counts.get(index, {}).get("clients", 0),
             counts.get(index, {}).get("servers", 0), memory_of(pid)]
            for index, pid, seconds, restarts in proxy.workers.processes]
    columns = (("worker", INT), ("pid", INT), ("age_s", FLOAT), ("restarts", INT), ("clients", INT),
               ("servers", INT), ("memory_bytes", INT))
    return Reply(columns=columns, rows=rows)


async def listeners(proxy: State) -> Reply:
    """Where clients can connect."""
    rows = [[listener.kind, listener.address, len(listener.sockets)] for listener in proxy.listeners]
    return Reply(columns=(("kind", TEXT), ("address", TEXT), ("sockets", INT)), rows=rows)


async def state(proxy: State) -> Reply:
    """Whether statements are served."""
    paused = proxy.paused_all
    yes_no = {True: "yes", False: "no"}
    rows = [["active", yes_no[not paused and not proxy.draining]], ["paused", yes_no[paused]],
            ["suspended", "no"], ["draining", yes_no[proxy.draining]]]
    return Reply(columns=(("key", TEXT), ("value", TEXT)), rows=rows)


async def version(proxy: State) -> Reply:
    """Name and version."""
    return Reply(columns=(("version", TEXT),), rows=[[f"shardproxy {__version__}"]])


async def mem(proxy: State) -> Reply:
    """Resident memory of each process."""
    columns = (("name", TEXT), ("size", INT), ("used", INT), ("free", INT), ("memtotal", INT))
    processes = [("parent", os.getpid())]
    processes += [(f"worker_{index}", pid) for index, pid, _, _ in proxy.workers.processes if pid]
    rows = [[name, memory, 1, 0, memory] for name, pid in processes for memory in (memory_of(pid),)]
    return Reply(columns=columns, rows=[list(row) for row in rows])


async def dns_hosts(proxy: State) -> Reply:
    """Names are resolved by the system; nothing is cached here."""
    return Reply(columns=(("hostname", TEXT), ("ttl", INT), ("addrs", TEXT)))


async def dns_zones(proxy: State) -> Reply:
    """Names are resolved by the system; nothing is cached here."""
    return Reply(columns=(("zonename", TEXT), ("serial", INT), ("count", INT)))


async def peers(proxy: State) -> Reply:
    """Workers pass cancel requests to each other by themselves: there are no peers to configure."""
    return Reply(columns=(("peer_id", INT), ("host", TEXT), ("port", INT), ("pool_size", INT)))


async def peer_pools(proxy: State) -> Reply:
    """See peers."""
    names = ("peer_id", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active_cancel", "sv_login")
    return Reply(columns=[(name, INT) for name in names])
