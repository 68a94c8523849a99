"""The walk-through, one act a file."""

from . import bank, failover, lag, many_clients, replica, resharded, routing, same_queries, sharded
from .act import Act

__all__ = ["ACTS", "Act"]

ACTS: tuple[Act, ...] = (
    routing.ACT,
    lag.ACT,
    replica.ACT,
    failover.ACT,
    many_clients.ACT,
    sharded.ACT,
    resharded.ACT,
    same_queries.ACT,
    bank.ACT,
)
"""In this order: the later ones change who the primary is; those of sharding have servers of their own."""
