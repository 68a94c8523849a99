"""How much of everything the demo does. The defaults take about two minutes on two cores."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SMALL", "Size"]


@dataclass(frozen=True, slots=True)
class Size:
    """Numbers of the walk-through."""

    customers: int = 2000
    products: int = 500
    orders: int = 4000
    reads: int = 3000
    writes: int = 600
    clients: int = 16
    """Connections that work at the same time, but for the last act."""
    lagged: int = 100
    """Writes, each followed by a read, while the replicas stand still."""
    load_s: float = 2.0
    """How long load runs before and after something is killed."""
    many: int = 200
    """Clients of the last act."""
    each: int = 20
    """Statements of each of them."""
    pool_size: int = 10
    """Server connections per server."""
    shoppers: int = 6
    """Clients that work while a shard is added."""
    lookups: int = 300
    """Customers of the sharded shop that are looked up one by one."""
    accounts: int = 300
    movers: int = 12
    """Clients that move money between shards."""
    kills: int = 3
    """Of the worker, while they do."""


SMALL = Size(
    customers=2000,
    products=50,
    orders=200,
    reads=300,
    writes=60,
    clients=6,
    lagged=10,
    load_s=0.5,
    many=40,
    each=5,
    pool_size=5,
    shoppers=4,
    lookups=60,
    accounts=60,
    movers=6,
    kills=2,
)
"""For a test."""
