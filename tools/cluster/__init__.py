"""A throw-away PostgreSQL cluster on this machine, for demo, tests and benchmarks.

    async with Cluster(replicas=2) as cluster:
        await cluster.primary.sql("create table t (i int)")
        await cluster.primary.kill9()
        await cluster.failover()

    binaries (tools/postgres_binaries.py)  which programs
    place.py      folder, user, ports: where and as whom servers run; root is catered for
    watchdog.py   the process that stops the servers and removes the folder when we are gone, however that came
    settings.py   what is asked for, and the configuration files that follow from it
    node.py       one server: init, start, stop, kill, promote, copy, rewind, follow
    cluster.py    a primary with replicas: failover and rejoin
"""

from .cluster import Cluster
from .node import Node, NodeError
from .settings import Settings

__all__ = ["Cluster", "Node", "NodeError", "Settings"]
