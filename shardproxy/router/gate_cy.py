# cython: annotation_typing=False
"""Whether batches of a database may take the short way to their shard, by one value alone.

Invariant: it is open only while nothing but that value decides: no held tables, no place in doubt, no replica to choose
from; whoever changes one of these, the plans or the pools closes it before the change counts.
"""

__all__ = ["Gate"]


class Gate:
    """``generation``: of the plans that it is open for; -1: closed. ``epoch`` grows with each closing."""

    def __init__(self):
        self.generation = -1
        self.epoch = 0

    def close(self):
        """Something else may decide from now on."""
        self.generation = -1
        self.epoch += 1
