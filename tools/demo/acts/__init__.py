"""The walk-through, one act a file."""

from . import failover, lag, many_clients, replica, routing
from .act import Act

__all__ = ["ACTS", "Act"]

ACTS: tuple[Act, ...] = (routing.ACT, lag.ACT, replica.ACT, failover.ACT, many_clients.ACT)
"""In this order: the later ones change who the primary is."""
